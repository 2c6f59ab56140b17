"""A result never changes, and printing a result does not read a database."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import sqlalchemy
from search_worker import make_objective

import adnn_optuna as adnn
from adnn_optuna.cli import output
from adnn_optuna.engine.records import read_record
from adnn_optuna.results.study import result_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OBJECTIVE = make_objective()


@contextlib.contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the SQL statements of all databases within the block."""
    executed: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        executed.append(statement)

    event = sqlalchemy.engine.Engine, "before_cursor_execute", note
    sqlalchemy.event.listen(*event)
    try:
        yield executed
    finally:
        sqlalchemy.event.remove(*event)


def quadratic(trial: optuna.Trial, seed: int = 0) -> float:
    x, y, z = (trial.suggest_float(name, -1, 1) for name in "xyz")
    return x**2 + y + z / 10 - seed / 10


def evaluate(trial: optuna.trial.FrozenTrial, seed: int) -> float:
    return sum(trial.params.values()) + seed % 3


def tell(result: Any, folder: Path) -> None:
    """Show a result in all ways that do not train."""
    str(result)
    repr(result)
    result._repr_html_()
    output.as_json("verb", result)
    if not isinstance(result, adnn.SearchResult):  # A search's report needs training.
        if hasattr(result, "plot"):
            result.plot()
        result.report(folder / "report.html")
    for method in ("table", "differences"):
        if callable(method_of := getattr(result, method, None)):
            method_of()


def test_printing_a_search_reads_no_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    result = adnn.search(OBJECTIVE, "greedy", storage=url, study_name="s", max_trial=12, confirm=6)
    stored = result_of(read_record(result.study))
    assert result.confirmation is not None
    with statements() as method_of:
        for shown_result in (result, stored):
            tell(shown_result, tmp_path)
            shown_result.confirmation  # noqa: B018
        result.plot()
        result.model()
        result.report(tmp_path / "report.html")
    assert method_of == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_printing_other_results_reads_no_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    study = optuna.create_study(study_name="q", storage=url)
    study.optimize(quadratic, n_trials=12)
    results = [
        adnn.compare(quadratic, ("tpe",), storage=url, max_trial=12, seeds=range(3), confirm=2),
        adnn.compare(
            OBJECTIVE, ("greedy",), storage=url, study_name="n", max_trial=2, seeds=[0, 1]
        ),
        adnn.recheck(study, evaluate, top=2, choose=2, confirm=2),
        adnn.measure_variance(lambda seed: seed % 7, n=5, storage=url),
        adnn.compare_models(
            {"a": lambda seed: seed % 7, "b": lambda seed: seed % 5}, seeds=range(6), storage=url
        ),
        result_of(read_record(study)),
    ]
    with statements() as method_of:
        for result in results:
            tell(result, tmp_path)
    assert method_of == []


def test_a_result_does_not_change_with_its_study() -> None:
    study_name = "s"
    storage = optuna.storages.InMemoryStorage()
    closed = adnn.search(
        OBJECTIVE, "annealing", storage=storage, study_name=study_name, max_trial=3, test=False
    )
    before = str(closed), repr(closed), output.as_json("search", closed)
    tested = closed.test()
    confirmed = tested.confirm(6)
    assert confirmed.confirmation is not None
    assert tested.confirmation is None
    assert tested.record.test_evaluation is not None
    after_test = str(tested)
    assert closed.record.test_evaluation is None
    adnn.search(OBJECTIVE, "annealing", storage=storage, study_name=study_name, max_trial=6)
    assert (str(closed), repr(closed), output.as_json("search", closed)) == before
    assert str(tested) == after_test
    assert len(closed.record.done_trials) == 3
    assert len(read_record(closed.study).done_trials) == 6
    with pytest.raises(AttributeError):
        closed.baseline = 0.0  # type: ignore[misc]


def test_a_contract_does_not_change_an_earlier_result() -> None:
    result = adnn.search(OBJECTIVE, "greedy", max_trial=2, confirm=0)
    before = str(result)
    assert "confirmation" in result.contract().content
    assert str(result) == before
    assert read_record(result.study).confirming


def test_trials_and_best_trial_are_from_one_read() -> None:
    study = optuna.create_study(study_name="s")
    study.optimize(quadratic, n_trials=2)

    storage: Any = study._storage
    read = storage.get_all_trials

    def read_and_go_on(*args: Any, **options: Any) -> Any:
        """Read a result; afterwards another worker tells a better trial."""
        trials = read(*args, **options)
        study.add_trial(optuna.create_trial(value=-100.0 - len(trials)))
        return trials

    storage.get_all_trials = read_and_go_on
    record = read_record(study)
    assert len(record.done_trials) == 2
    assert record.best in record.trials
