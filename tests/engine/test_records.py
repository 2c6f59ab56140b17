"""What a search says of itself: no gain that is none, and who proposed what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState
from search_worker import make_objective, quick_training
from stored_studies import store_look, store_study

import adnn_optuna as adnn
from adnn_optuna.engine.records import record_of
from adnn_optuna.reporting.pages import search_page

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna import InitOffsetObjective


@pytest.fixture(scope="module")
def objective() -> InitOffsetObjective:
    return make_objective()


def test_a_gain_below_the_baseline_is_negative(objective: InitOffsetObjective) -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"weight_offset_0": -0.2, "bias_offset_0": -0.2})
    study.enqueue_trial({"weight_offset_0": -0.1, "bias_offset_0": -0.2})
    study.optimize(objective, n_trials=2)
    record = record_of(study)
    assert record.gain == record.best_value - record.baseline < 0
    assert f"gain {100 * record.gain:+.2f} pp" in str(record)
    assert record.gains_so_far()[-1] == record.gain


def test_a_training_that_is_too_long_is_named() -> None:
    objective = make_objective(training=quick_training(epochs=10**6, batch_size=7))
    result = adnn.search(objective, "annealing", max_time=0.5)
    result = adnn.search(objective, "annealing", max_time=1)
    said = (
        r"No trial was finished: .* but one training takes about \d+ s; resume .* longer max_time"
    )
    for text in (str(result), search_page(result).claim):
        assert re.search(said, text)
        assert "nan" not in text
    search_page(result).render()


def test_without_a_completed_trial_it_says_what_came_of_all() -> None:
    study = store_study("s")
    copy = optuna.create_study(direction="maximize")
    for name, value in study.user_attrs.items():
        if not name.startswith("adnn:test"):
            copy.set_user_attr(name, value)
    copy.add_trials([optuna.create_trial(state=TrialState.PRUNED) for _ in range(2)])
    said = "No trial was completed: 2 were pruned, 0 diverged; let the pruner wait for longer."
    assert said in str(record_of(copy))
    assert "nan" not in str(record_of(copy))


def test_each_sampler_is_named_with_its_trials(
    objective: InitOffsetObjective, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, storage=url, study_name="mixed"
    )
    study.enqueue_trial({"weight_offset_0": 0.0, "bias_offset_0": 0.0})
    study.optimize(objective, n_trials=4)
    result = adnn.resume(url, "mixed", sampler="annealing", max_trial=6, objective=objective)
    assert result.best is not None
    who = "study.optimize" if result.best.number < 4 else "annealing"
    said = (
        "Proposed were trials 0–3 by study.optimize, 4–5 by annealing; "
        f"the best one, {result.best.number}, by {who}."
    )
    assert said in str(result)
    assert said in search_page(result).render()
    assert result.contract().content["study"]["sampler"] == who
    alone = adnn.search(objective, optuna.samplers.TPESampler(seed=0), max_trial=2)
    assert "Proposed" not in str(alone)


def test_a_better_trial_after_the_test_contradicts_nothing() -> None:
    study = store_study("s")
    best = study.best_trial
    study.add_trial(
        optuna.create_trial(params=best.params, distributions=best.distributions, value=1.0)
    )
    study.set_user_attr("adnn:stop_reason", None)
    page = search_page(record_of(study)).render()
    assert "on data that the search never saw it was not tested yet" in page
    assert "only an earlier winner was tested" in page
    assert "The test set was used once, after 12 trials, for an earlier winner" in page
    assert "nothing yet" not in page
    store_look(study, "2026-11-25T12:00:02+00:00", 0.9, 0.01)
    assert "of 1000 test examples" in search_page(record_of(study)).claim
