"""Scores of single examples that trials store."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest

import adnn_optuna as adnn
from adnn_optuna import _attributes as stored
from adnn_optuna.engine.example_scores import Scored, read_examples
from adnn_optuna.engine.functions import FunctionObjective
from adnn_optuna.engine.loop import Loop

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(0)
SCORES = {
    "bits": RNG.random(1001) < 0.9,
    "0 and 1": (RNG.random(100) < 0.5).astype(int),
    "losses": RNG.exponential(size=500),
    "small spread": 1000 + 0.01 * RNG.random(300),
    "long": RNG.exponential(size=100_000),
    "one": [0.25],
}


def study_of(*scores: Any, groups: Any = None) -> optuna.Study:
    study = optuna.create_study(direction="maximize", study_name="mine")
    for values in scores:
        study.optimize(lambda t, v=values: adnn.log_scores(t, v, groups=groups), n_trials=1)
    return study


@pytest.mark.parametrize("kind", SCORES)
def test_scores_are_read_back_from_short_attributes(kind: str) -> None:
    scores = np.asarray(SCORES[kind])
    study = study_of(scores)
    assert study.best_value == scores.mean()
    examples = read_examples("mine", study.user_attrs, study.trials)
    assert examples.are_right == (set(scores.tolist()) <= {0, 1})
    np.testing.assert_allclose(examples.scores[:, 0], scores, rtol=1e-3, atol=1e-3 * scores.std())
    for value in study.trials[0].user_attrs.values():
        assert len(json.dumps(value)) < 60_000


def test_groups_are_read_back_by_number() -> None:
    study = study_of([0, 1, 1, 0], groups=["b", "a", "b", "c"])
    examples = read_examples("mine", study.user_attrs, study.trials)
    assert examples.groups.tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize(
    ("scores", "groups", "error", "said"),
    [
        ([1, 0, 1], None, ValueError, r"got 3 in trial 1 and 2 in trial 0"),
        ([1, 0], [0, 1], ValueError, r"the same groups .* in trial 1 and None in trial 0"),
        (
            [1.0, np.nan],
            None,
            ValueError,
            "must be finite and at most .*; got 1 of 2 that are not",
        ),
        ([1.0, 1e300], None, ValueError, r"at most 3\.4e\+38 in size; got 1 of 2 that are not"),
        ([], None, TypeError, "must be a list of numbers"),
        ([[1, 0]], None, TypeError, "must be a list of numbers"),
        (["a", "b"], None, TypeError, r"got \['a', 'b'\] of shape \(2,\)"),
        ([1, 0], [0], ValueError, "a label for each of the 2 scores"),
    ],
)
def test_other_examples_are_refused(
    scores: Any, groups: Any, error: type[Exception], said: str
) -> None:
    study = study_of([1, 0])
    with pytest.raises(error, match=said):
        study.optimize(lambda trial: adnn.log_scores(trial, scores, groups=groups), n_trials=1)


def test_workers_with_other_examples_that_began_together_are_refused_later() -> None:
    study = optuna.create_study(study_name="mine")
    trials = [study.ask(), study.ask()]
    values = [
        adnn.log_scores(*trial_and_scores)
        for trial_and_scores in zip(trials, ([1, 0], [1, 0, 1]), strict=True)
    ]
    for trial, value in zip(trials, values, strict=True):
        study.tell(trial, value)
    with pytest.raises(ValueError, match="got 3 in trial 1 and 2 in trial 0"):
        adnn.overtuning(study)


def test_scores_cost_no_further_transaction_in_our_loop() -> None:
    written = []
    for scores in (None, SCORES["bits"]):
        storage = optuna.storages.InMemoryStorage()
        names: list[str] = []
        write = storage.set_trial_user_attr

        def note(
            trial_id: int, name: str, value: Any, *, write: Any = write, to: Any = names
        ) -> None:
            to.append(name)
            write(trial_id, name, value)

        storage.set_trial_user_attr = note  # type: ignore[method-assign]
        study = optuna.create_study(direction="maximize", storage=storage)

        def objective(trial: optuna.Trial, scores: Any = scores) -> float:
            return 0.5 if scores is None else adnn.log_scores(trial, scores)

        loop = FunctionObjective(objective, study.direction, seed=0)
        limits: Any = {"max_trial": 2, "max_time": None, "max_gain": None}
        Loop(study, loop, limits, threading.Event()).run()
        written.append(names)
        if scores is not None:
            assert adnn.overtuning(study).reported == scores.mean()
    assert written[0] == written[1] == [stored.OUTCOME] * 2


def test_without_a_study_only_the_mean_is_returned() -> None:
    assert adnn.log_scores(optuna.trial.FixedTrial({}), [1, 0, 1, 1]) == 0.75


def test_scores_of_many_trials_need_less_than_3_mb(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = optuna.create_study(storage=f"sqlite:///{path}")
    before = path.stat().st_size
    trials = []
    for _ in range(300):
        examples, parts = Scored(RNG.random(10_000) < 0.5, None).attributes
        assert not parts
        trials.append(optuna.create_trial(value=0.5, user_attrs={stored.EXAMPLES: examples}))
    study.add_trials(trials)
    assert path.stat().st_size - before < 3e6
