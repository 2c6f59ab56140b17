"""Each stored attribute of this package is either read, or refused with one sentence."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import random
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optuna
import pytest
from search_worker import make_objective
from stored_studies import store_study

import adnn_optuna as adnn
from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongInputError
from adnn_optuna.api.stored import load_comparison
from adnn_optuna.cli import main as cli
from adnn_optuna.cli import output
from adnn_optuna.engine.records import read_record
from adnn_optuna.results.study import result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna.storages import InMemoryStorage

TABLES = {
    "study_user_attributes": "study_id",
    "trial_user_attributes": "trial_id",
    "trial_system_attributes": "trial_id",
}
# All tests share this objective, so it compiles once.
OBJECTIVE = make_objective()


class Cell(NamedTuple):
    """A stored attribute: its table, row, study, name and value."""

    table: str
    row: int
    study: str
    name: str
    value: Any


def quadratic(trial: optuna.Trial, seed: int = 0) -> float:
    return (trial.suggest_float("x", -1, 1) - seed / 10) ** 2


def compare(storage: Any, **changes: Any) -> object:
    arguments: dict[str, Any] = {"max_trial": 2, "seeds": range(2), "confirm": 1, **changes}
    return adnn.compare(quadratic, ("tpe",), storage=storage, study_name="c", **arguments)


def square(seed: int) -> float:
    return float(seed**2 % 7)


def evaluate(trial: optuna.trial.FrozenTrial, seed: int) -> float:
    return sum(trial.params.values()) + seed % 3


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with a study of each kind."""
    path: Path = tmp_path_factory.mktemp("attributes") / "studies.db"
    url = f"sqlite:///{path}"
    # This search stores steps of a walk. It is confirmed, so it also stores scores.
    adnn.search(OBJECTIVE, "greedy", storage=url, study_name="s", max_trial=3, confirm=6)
    # This trial was interrupted.
    cut_off = {stored.ENDED: "interrupted"}
    trial = optuna.create_trial(state=optuna.trial.TrialState.FAIL, system_attrs=cut_off)
    optuna.load_study(study_name="s", storage=url).add_trial(trial)
    compare(url)
    adnn.recheck((url, "s"), evaluate, top=1, choose=1, confirm=2)
    models: Any = {"a": adnn.MLP((2,)), "b": adnn.MLP((3,))}
    training = OBJECTIVE.training
    adnn.compare_models(models, OBJECTIVE.dataset, training=training, seeds=[0], storage=url)
    adnn.measure_variance(square, n=5, storage=url)
    adnn.keep(square, candidate="first", storage=url)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def cells_of(path: Path) -> Iterator[Cell]:
    """Yield each attribute of this package. If a study has equal names, yield only the first."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = dict(connection.execute("SELECT study_id, study_name FROM studies"))
        studies = dict(connection.execute("SELECT trial_id, study_id FROM trials"))
        seen = set()
        for table, column in TABLES.items():
            rows = connection.execute(
                f"SELECT {table[:-1]}_id, {column}, key, value_json FROM {table}"
            )
            for row, owner_id, name, text in rows.fetchall():
                study = names[owner_id if column == "study_id" else studies[owner_id]]
                key = table, study.partition("/")[0], name.partition("/")[0]
                if name.startswith("adnn:") and key not in seen:
                    seen.add(key)
                    yield Cell(table, row, study, name, json.loads(text))


def others_of(value: Any) -> Iterator[Any]:
    """Yield values of other types, and copies of the value with one wrong part."""
    yield from (None, 3, -1, "text", [], [1], {}, {"a": 1}, True, 1.5, 10**400, "x" * 10**6)
    if isinstance(value, dict):
        for key, part in value.items():
            yield {name: nested for name, nested in value.items() if name != key}
            for other_value in (None, -1, 0, 2**62, "text", [], ["x"], {}, {"a": 1}, 10**400):
                yield {**value, key: other_value}
            if isinstance(part, dict):
                for other_value in others_of(part):
                    yield {**value, key: other_value}


def write(path: Path, cell: Cell, value: Any) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f"UPDATE {cell.table} SET value_json = ? WHERE {cell.table[:-1]}_id = ?",
            (json.dumps(value), cell.row),
        )


def readers(url: str, folder: Path) -> dict[str, Callable[[], object]]:
    """Return all functions that read studies, by name."""
    study = optuna.load_study(study_name="s", storage=url, sampler=adnn.DeltaStepSampler())

    def report() -> None:
        result = result_of(read_record(study))
        str(result)
        result.report(folder / "s.html")
        output.as_json("search", result)

    def optimize() -> None:
        callbacks = [adnn.MaxTimeCallback(1e6), adnn.MaxTrialCallback(4), adnn.MaxGainCallback(9)]
        study.optimize(OBJECTIVE, n_trials=1, callbacks=callbacks)

    def load() -> None:
        comparison = load_comparison(url, "c")
        str(comparison)
        comparison.plot()
        comparison.report(folder / "c.html")
        output.as_json("compare", comparison)

    def command(*arguments: str) -> Callable[[], None]:
        def run() -> None:
            code = cli.run([*arguments, "--storage", url, "--json"])
            assert code in (0, output.WRONG_INPUT)

        return run

    searching: Any = {"storage": url, "study_name": "s"}
    rechecking: Any = {"top": 1, "choose": 1, "confirm": 2}
    to_file = ("--output", str(folder / "report.html"))
    return {
        "report": report,
        "search": lambda: adnn.search(OBJECTIVE, "greedy", **searching, max_trial=3),
        "resume": lambda: adnn.resume(url, "s", objective=OBJECTIVE, max_trial=4),
        "recheck": lambda: adnn.recheck((url, "s"), evaluate, **rechecking),
        "optimize": optimize,
        "adnn report": command("report", "--study-name", "s", *to_file),
        "adnn resume": command("resume", "--study-name", "s"),
        "load of a comparison": load,
        "compare": lambda: compare(url),
        "resume of a comparison": lambda: adnn.resume(url, "c", objective=quadratic, max_trial=2),
        "adnn report of a comparison": command("report", "--study-name", "c", *to_file),
        "adnn report of a recheck": command("report", "--study-name", "s/recheck", *to_file),
        "adnn report of models": command("report", "--study-name", "models", *to_file),
        "adnn report of a variance": command("report", "--study-name", "variance", *to_file),
        "adnn report of a loop": command("report", "--study-name", "loop", *to_file),
    }


def reads(reader: str, study: str) -> bool:
    """Return whether a reader reads the attributes of a study."""
    kinds = {"comparison": "c", "compare": "c"}
    kinds |= {kind: kind for kind in ("models", "variance", "loop")}
    return study.startswith(kinds.get(reader.rsplit(maxsplit=1)[-1], "s"))


WRONG: dict[str, Any] = {
    stored.CONFIG: {"model": {}},
    stored.BASELINE: "0.5",
    stored.BASELINE_METRICS: "text",
    stored.SEARCH: {"sampler": "greedy", "n_trials": None, "batch_size": 0},
    stored.RUNS: [],
    stored.TEST: {"evaluated_at": "now"},
    stored.TEST_ROWS: None,
    stored.SCORES: 3,
    stored.REPLICATE: {"trial": 0, "index": None},
    stored.GROUPS: {},
    stored.EXAMPLE_GROUPS: 3,
    stored.EXAMPLES: {"n": 0},
    stored.EXAMPLE_PARTS: {},
    stored.UNSEEDED: 1,
    stored.CONFIRMED: {"began": "now", "trial": 0, "seeds": [-1], "arms": [0]},
    stored.COMPARISON: {
        "seeds": {},
        "sequential": False,
        "after_fixed": False,
        "arms": {},
        "arguments": {},
    },
    stored.EVALUATED: 3,
    stored.LOOP: {"level": 0.01, "n0": 8, "max_runs": 10**6, "failed": None},
    stored.CANDIDATE: {"label": "a", "note": "", "compared": {"candidate": 1, "mean": 0.5}},
    stored.RECHECK: {"study": "s", "top": 0},
    stored.MODELS: {"margin": "0.1"},
    stored.VARIANCE: {"n": 4},
    stored.VIOLATED: 1,
    stored.RESAMPLED: [75],
    stored.PLANNED: {"seeds": -1, "is_raised": False, "rank": 1},
    stored.CODE: [],
    stored.REPLICATE: {"trial": 0, "index": 0, "repetition": 0},
    stored.FAILED: "0",
    stored.STOP_REASON: 3,
    stored.PROPOSAL: {"sampler": "delta_step", "index": 0},
    stored.OWNER: {"trial": 0, "host": 1, "process": 2, "start": "", "run": ""},
    stored.CLAIM: "text",
    stored.ENDED: "bored",
    stored.MADE: None,
    stored.OUTCOME: {"elapsed": 1.0, "metrics": {"val_accuracy": 10**400}},
}
SENTENCE = (
    r"Attribute '{}' of {} must (be|have) .*; got \w+.*\. "
    r"It may be from another version of adnn_optuna; use another study_name\."
)


def test_each_attribute_has_a_type() -> None:
    constants = [value for name, value in vars(stored).items() if name.isupper()]
    names = {
        constant
        for constant in constants
        if isinstance(constant, str) and constant.startswith("adnn:")
    }
    assert names == WRONG.keys() == stored._TYPES.keys()


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("ending", ["", "/1"])
def test_an_attribute_of_another_type_is_refused_by_its_name(name: str, ending: str) -> None:
    study = optuna.create_study(study_name="mine")
    study.set_user_attr(f"{name}{ending}", WRONG[name])
    with pytest.raises(WrongInputError, match=SENTENCE.format(name + ending, "study 'mine'")):
        read_record(study)
    for kind in ("user_attrs", "system_attrs"):
        study = optuna.create_study(study_name="mine")
        trial = optuna.create_trial(value=0.0, **{kind: {f"{name}{ending}": WRONG[name]}})
        study.add_trial(trial)
        sentence = SENTENCE.format(name + ending, "trial 0 of study 'mine'")
        for read in (
            lambda study=study: read_record(study),
            lambda study=study: adnn.MaxTrialCallback(1).reached(study),
            lambda study=study: adnn.recheck(study, quadratic),
        ):
            with pytest.raises(ValueError, match=sentence):
                read()


EVALUATION: Any = {
    "evaluated_at": "now",
    "trial": 0,
    "n_trials": 1,
    "n_images": 10,
    "unit": "images",
    "baseline": 0.5,
    "best": 0.6,
    "metrics": {"accuracy": 0.6},
    "won": 3,
    "lost": 2,
}
RUN: Any = {"began": "now", "sampler": "tpe", "stop_reason": None}
RUN |= {"n_trials": None, "limits": {"max_trial": 3}}
CONFIRMED: Any = {"began": "now", "trial": 0, "seeds": [1], "arms": [0]}
CONTRADICTIONS: list[tuple[str, Any, Any, str]] = [
    (stored.RUNS, RUN, {"limits": {"max_time": 1.0}}, "have max_trial in 'limits'"),
    (stored.CONFIRMED, CONFIRMED, {"seeds": []}, "have a list of at least one in 'seeds'"),
    (stored.CONFIRMED, CONFIRMED, {"arms": [1]}, "have a list with 0 in 'arms'"),
    # The seeds of an evaluation are below 2^31.
    (stored.CONFIRMED, CONFIRMED, {"seeds": [2**31]}, "have a whole number from 0 to 2.15e"),
    *(
        (
            stored.TEST,
            {**EVALUATION, "largest_class": "a"},
            wrong,
            "be a test-set evaluation whose",
        )
        for wrong in (
            {"won": 9},
            {"won": 2**62, "lost": 2**62},
            {"n_groups": 0},
            {"n_groups": 11.0},
            {"n_groups": float("nan")},
            {"n_largest": 11},
        )
    ),
    (stored.TEST, EVALUATION, {"n_largest": 5}, "be a test-set evaluation whose counts agree"),
]


@pytest.mark.parametrize(("name", "value", "wrong", "rule"), CONTRADICTIONS)
def test_contradictory_parts_are_refused(name: str, value: Any, wrong: Any, rule: str) -> None:
    study = optuna.create_study(study_name="mine")
    study.set_user_attr(f"{name}/1", value)
    read_record(study)
    study.set_user_attr(f"{name}/1", {**value, **wrong})
    with pytest.raises(
        WrongInputError, match=SENTENCE.format(f"{name}/1", "study 'mine'")
    ) as error:
        read_record(study)
    assert f" must {rule}" in str(error.value)


def test_a_test_set_evaluation_without_its_counts_is_refused() -> None:
    study = optuna.create_study(study_name="mine")
    study.set_user_attr(
        "adnn:test/1", {name: EVALUATION[name] for name in EVALUATION if name != "won"}
    )
    with pytest.raises(WrongInputError, match="a test-set evaluation whose counts agree"):
        read_record(study)


def test_unknown_attributes_are_ignored() -> None:
    study = optuna.create_study(study_name="mine")
    study.set_user_attr("config", 3)
    study.set_user_attr("adnn:another", 3)
    study.optimize(quadratic, n_trials=1)
    assert read_record(study).best is not None


@pytest.mark.parametrize("name", [stored.PROPOSAL, stored.OWNER, stored.ENDED])
def test_a_refused_attribute_leaves_no_trial_running(name: str) -> None:
    study = optuna.create_study(study_name="mine", sampler=adnn.DeltaStepSampler())
    study.optimize(quadratic, n_trials=2)
    study.add_trial(optuna.create_trial(value=0.0, system_attrs={name: WRONG[name]}))
    with pytest.raises(ValueError, match=SENTENCE.format(name, "trial 2 of study 'mine'")):
        study.optimize(quadratic, n_trials=1)
    states = [trial.state for trial in study.trials]
    assert states == [optuna.trial.TrialState.COMPLETE] * 3 + [optuna.trial.TrialState.FAIL]


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ({"n": 2, "scores": "text"}, "be 2 finite scores, in bits or in float32, as base64"),
        ({"n": 1, "scores": "AADAfw=="}, "be 1 finite scores, in bits or in float32, as base64"),
        ({"n": 9}, "be a mapping with n, scores; got a mapping with n"),
        ({"n": 9, "groups": "0" * 16, "scores": "9"}, "be 9 finite scores"),
        ({"n": 8, "groups": "0" * 16, "scores": "AA=="}, "be an .npz file of its arrays"),
    ],
)
def test_unreadable_scores_of_examples_are_refused(examples: dict[str, Any], said: str) -> None:
    study = optuna.create_study(study_name="mine")
    study.add_trial(optuna.create_trial(value=0.0, user_attrs={stored.EXAMPLES: examples}))
    with pytest.raises(WrongInputError, match=f"of (trial 0 of )?study 'mine' must {said}"):
        adnn.overtuning(study)


def test_groups_that_unpack_to_too_much_are_refused() -> None:
    packed, zeros = io.BytesIO(), np.zeros(2**26, np.uint8)
    np.savez_compressed(packed, zeros)
    examples = {"n": 8, "groups": "0" * 16, "scores": "AA=="}
    study = optuna.create_study(study_name="mine")
    npz = base64.b64encode(packed.getvalue()).decode()
    study.set_user_attr(f"{stored.EXAMPLE_GROUPS}/0", npz)
    study.add_trial(optuna.create_trial(value=0.0, user_attrs={stored.EXAMPLES: examples}))
    with pytest.raises(WrongInputError, match=r"must be an .npz file of its arrays"):
        adnn.overtuning(study)


def test_attributes_of_other_studies_in_the_storage_are_ignored(storage: InMemoryStorage) -> None:
    study, _ = (store_study(f"s{seed}", seed=seed, storage=storage) for seed in (0, 1))
    compare(storage)
    other_study = optuna.create_study(study_name="other", storage=storage)
    for name in (stored.CONFIG, stored.TEST, stored.COMPARISON):
        other_study.set_user_attr(name, 3)
    assert read_record(study).test_evaluations_elsewhere == {"s1": 1}
    assert "other" not in str(load_comparison(storage, "c"))


NAMES = sorted(
    {*WRONG}
    - {
        stored.CLAIM,
        stored.REPLICATE,
        stored.GROUPS,
        stored.UNSEEDED,
        stored.VIOLATED,
        stored.MADE,
    }
    - {stored.EXAMPLE_GROUPS, stored.EXAMPLES, stored.EXAMPLE_PARTS}
)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_any_value_is_read_or_refused(
    name: str, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [cell for cell in cells_of(database) if cell.name.partition("/")[0] == name]
    assert cells
    for cell in cells:
        values = {json.dumps(value): value for value in others_of(cell.value)}
        first, later = [*values.values()][:9], [*values.values()][9:]
        some = first + random.Random(0).sample(later, min(12, len(later)))
        for i, value in enumerate(some):
            for j, reader in enumerate(readers(f"sqlite:///{database}", tmp_path)):
                if reads(reader, cell.study):
                    # Each case has its own file, because SQLite would apply the old log to a
                    # replaced file.
                    case = tmp_path / f"{i}-{j}.db"
                    shutil.copy(database, case)
                    write(case, cell, value)
                    with contextlib.suppress(WrongInputError):
                        readers(f"sqlite:///{case}", tmp_path)[reader]()
                    assert "unexpected" not in capsys.readouterr().err
                    study = optuna.load_study(study_name="s", storage=f"sqlite:///{case}")
                    assert not study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
