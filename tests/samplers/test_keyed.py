"""Optuna's samplers, with random numbers that follow from the study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.samplers import BaseSampler, CmaEsSampler, GridSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from adnn_optuna.samplers import KeyedSampler, RandomRestartSampler
from adnn_optuna.samplers._keyed import KeyedIndexSampler

if TYPE_CHECKING:
    from collections.abc import Callable


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    return (x - 0.3) ** 2 + trial.suggest_float("y", -1, 1) ** 2


def tpe(seed: int, n_trials: int | None) -> BaseSampler:
    return TPESampler(seed=seed, n_startup_trials=n_trials or 5)


def cma_es(seed: int, n_trials: int | None) -> BaseSampler:
    return CmaEsSampler(seed=seed, n_startup_trials=n_trials or 1)


@pytest.mark.parametrize("factory", [tpe, cma_es, lambda seed, _: RandomSampler(seed=seed)])
def test_a_resumed_study_equals_one_that_never_stopped(
    factory: Callable[[int, int | None], BaseSampler],
) -> None:
    whole = optuna.create_study(sampler=KeyedSampler(factory, seed=1))
    whole.optimize(objective, n_trials=20)
    study = optuna.create_study()
    for _ in range(20):
        study.sampler = KeyedSampler(factory, seed=1)
        study.optimize(objective, n_trials=1)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]
    assert len({t.params["x"] for t in whole.trials}) == 20
    other_study = optuna.create_study(sampler=KeyedSampler(factory, seed=2))
    other_study.optimize(objective, n_trials=1)
    assert other_study.trials[0].params != whole.trials[0].params


def test_seeds_that_the_inner_sampler_refuses_are_accepted() -> None:
    study = optuna.create_study(sampler=KeyedSampler(tpe, seed=2**64 - 1))
    study.optimize(objective, n_trials=2)
    assert str(study.sampler) == "KeyedSampler(TPESampler)"


def test_workers_with_one_seed_repeat_nothing() -> None:
    study = optuna.create_study()
    trials = []
    for _ in range(4):  # All trials begin before any value is known.
        study.sampler = KeyedSampler(tpe, seed=1)
        trials.append(study.ask())
        objective(trials[-1])
    assert len({trial.params["x"] for trial in trials}) == 4
    # A new sampler object can tell the trials of others.
    for trial in trials:
        study.tell(trial, 1.0)


def test_factories_of_unsuitable_samplers_are_refused() -> None:
    for factory in (
        lambda seed, _: RandomRestartSampler(seed),
        lambda seed, _: GridSampler({"x": [1, 2]}, seed),
        lambda *_: "tpe",
    ):
        with pytest.raises(TypeError, match="must make an Optuna sampler that draws at random"):
            KeyedSampler(factory, seed=0)  # type: ignore[arg-type]


def test_in_a_search_a_sampler_sees_the_stored_state_of_its_trial() -> None:
    seen = []

    class Writing(RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            study._storage.set_trial_system_attr(trial._trial_id, "mine", 1)

        def sample_independent(
            self, study: optuna.Study, trial: optuna.trial.FrozenTrial, *asked: Any
        ) -> Any:
            seen.append((trial.system_attrs.get("mine"), [*trial.params]))
            return super().sample_independent(study, trial, *asked)

    keyed = KeyedSampler(lambda seed, _: Writing(seed=seed), seed=0)
    optuna.create_study(sampler=KeyedIndexSampler(keyed)).optimize(objective, n_trials=1)
    assert seen == [(1, []), (1, ["x"])]


def test_a_trial_that_was_drawn_in_part_is_completed_with_the_same_values() -> None:
    """The trial's worker died after it drew one of two parameters."""

    def trial_of(study: optuna.Study) -> optuna.Trial:
        random = KeyedSampler(lambda seed, _: RandomSampler(seed=seed), seed=1)
        study.sampler = KeyedIndexSampler(random)
        return study.ask()

    whole, study = trial_of(optuna.create_study()), optuna.create_study()
    objective(whole)
    in_part = trial_of(study)
    in_part.suggest_float("x", -1, 1)
    study._storage.set_trial_state_values(in_part._trial_id, TrialState.FAIL)
    again = trial_of(study)
    objective(again)
    assert again.params == whole.params
