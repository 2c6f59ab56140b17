"""Results that are read from storage equal the results of the call, and can be resumed."""

from __future__ import annotations

import functools
import html
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage

import adnn_optuna as adnn
from adnn_optuna import _attributes as stored
from adnn_optuna.api.stored import load_result
from adnn_optuna.cli import main as cli
from adnn_optuna.results.sentences import MAKE_THE_REST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adnn_optuna.render.printed import Printed

KINDS = ("recheck", "recheck against", "models", "variance")
interrupted_at: list[int] = []  # The count of the evaluation at which the user interrupts.


def counted(value: float) -> float:
    if interrupted_at:
        interrupted_at[0] -= 1
        if not interrupted_at[0]:
            interrupted_at.clear()
            raise KeyboardInterrupt
    return value


def evaluate(trial: Any, seed: int) -> float:
    scores = trial.suggest_float("x", 0, 1) + np.arange(30) % (seed % 7 + 2) / 7
    return float(adnn.log_scores(trial, scores * counted(1)))


def value(first: int, second: int) -> float:
    return counted(first % 7 + second % 3)


def call(kind: str, storage: Any) -> Printed:
    """Call the public function with this name."""
    study = optuna.create_study(storage=storage, study_name="study", load_if_exists=True)
    if not study.trials:
        study.enqueue_trial({"x": 0.5})
        study.optimize(lambda trial: evaluate(trial, 0), n_trials=4)
    recheck = functools.partial(
        adnn.recheck, (storage, "study"), evaluate, top=2, choose=2, confirm=6, failed=0.0
    )
    verbs: dict[str, Callable[[], Printed]] = {
        "recheck": recheck,
        "recheck against": lambda: recheck(against={"x": 2.0}, study_name="recheck against"),
        "models": lambda: adnn.compare_models(
            {"a": lambda seed: counted(seed % 5), "b": lambda seed: seed % 3 - 0.5},
            seeds=8,
            margin=0.5,
            storage=storage,
        ),
        "variance": lambda: adnn.measure_variance(value, n=5, storage=storage),
    }
    return verbs[kind]()


def name_of(kind: str) -> str:
    return "study/recheck" if kind == "recheck" else kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_result_equals_the_result_of_the_call(kind: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    document = call(kind, url).document()
    read = load_result(url, name_of(kind))
    assert repr(read.document()) == repr(document)
    output = tmp_path / "report.html"
    arguments = ["report", "--storage", url, "--study-name", name_of(kind)]
    assert cli.run([*arguments, "--output", str(output)]) == 0
    assert document.title in html.unescape(output.read_text())


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.slow] * ("against" in k)) for k in KINDS]
)
def test_an_interrupted_result_is_resumed(kind: str, url: str) -> None:
    undisturbed = InMemoryStorage()  # A storage in memory is faster than a database.
    whole = call(kind, undisturbed).document()
    optuna.copy_study(from_study_name="study", from_storage=undisturbed, to_storage=url)
    interrupted_at.append(4)
    with pytest.raises(KeyboardInterrupt):
        call(kind, url)
    name = name_of(kind)
    assert load_result(url, name).document().next_step == MAKE_THE_REST
    with pytest.raises(ValueError, match=r"does not store its|is not one of"):
        adnn.resume(url, name)
    with pytest.raises(ValueError, match="max_trial must be omitted for the evaluations"):
        adnn.resume(url, name, max_trial=3)
    if kind == "models":
        return
    function = value if kind == "variance" else evaluate
    resumed = adnn.resume(url, name, objective=function)
    assert resumed.document().conclusion == whole.conclusion
    # The next command names the storage.
    loaded = load_result(url, name).document()
    assert repr(replace(loaded, next_step=whole.next_step)) == repr(whole)


def test_a_variance_of_a_network_is_resumed_without_its_objective(
    objective: adnn.InitOffsetObjective,
) -> None:
    storage = InMemoryStorage()
    call = functools.partial(adnn.measure_variance, objective, n=5, storage=storage)
    call(max_time=1e-9)
    resumed = adnn.resume(storage, "variance").document()
    assert not resumed.next_step.python
    assert len(resumed.estimates) == 4  # The fourth estimate is about the seed in use.
    assert load_result(storage, "variance").document().estimates == resumed.estimates


@pytest.mark.parametrize("subject", ["text", {"models": {"a": 3}}, {"a": {}}])
@pytest.mark.parametrize("kind", ["models", "variance"])
def test_evaluations_of_another_type_of_subject_are_refused(kind: str, subject: Any) -> None:
    storage = InMemoryStorage()
    adnn.measure_variance(value, n=5, storage=storage)
    adnn.compare_models(
        {"a": lambda seed: seed, "b": lambda seed: -seed}, seeds=1, storage=storage
    )
    study = optuna.load_study(study_name=kind, storage=storage)
    study.set_user_attr(stored.EVALUATED, subject)
    if kind == "variance":
        study.set_user_attr(stored.VARIANCE, {**study.user_attrs[stored.VARIANCE], "seed": 0})
    read = adnn.resume if kind == "variance" else load_result
    with pytest.raises(ValueError, match=r"Attribute .adnn:evaluated"):
        read(storage, kind)
