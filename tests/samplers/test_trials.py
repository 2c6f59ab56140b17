"""A reader of a study's trials continues its last read, or starts again."""

from __future__ import annotations

import gc
import weakref
from datetime import datetime, timedelta

import optuna
import pytest
from optuna.storages import get_storage
from optuna.trial import TrialState

from adnn_optuna.callbacks import MaxTrialCallback
from adnn_optuna.samplers import DeltaStepSampler
from adnn_optuna.samplers._trials import TrialReader

NOON = datetime(2026, 5, 4, 12)  # noqa: DTZ001


@pytest.mark.parametrize("n_added", [3, 5])
def test_a_study_with_the_ids_of_a_deleted_one_is_read_again(url: str, n_added: int) -> None:
    storage = get_storage(url)
    limit = MaxTrialCallback(4)
    sampler = DeltaStepSampler(deltas=(0.1,), max_steps=4)
    old = optuna.create_study(storage=storage, study_name="s", sampler=sampler)
    old.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert not limit.reached(old)
    optuna.delete_study(storage=storage, study_name="s")

    new = optuna.create_study(storage=storage, study_name="s", sampler=sampler)
    for _ in range(n_added):
        new.add_trial(optuna.create_trial(state=TrialState.PRUNED))
    assert new._study_id == old._study_id
    assert new.trials[0]._trial_id == 1
    assert limit.reached(new) == (n_added == 5)
    assert new.ask().suggest_float("x", 0, 1) == 0.0


class Storage:
    """A storage whose trials the test sets."""

    def __init__(self) -> None:
        self.trials: list[optuna.trial.FrozenTrial] = []

    def get_all_trials(self, *_: object, **__: object) -> list[optuna.trial.FrozenTrial]:
        return self.trials.copy()


def trial_that_started(start: datetime | None) -> optuna.trial.FrozenTrial:
    trial = optuna.create_trial(state=TrialState.WAITING)
    trial.datetime_start = start
    return trial


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        (NOON, NOON, True),
        (None, NOON, True),
        (NOON, None, False),
        (NOON, NOON + timedelta(microseconds=1), False),
        (NOON, NOON + timedelta(seconds=1), False),
    ],
)
def test_a_changed_start_of_a_trial_resets_the_reader(
    old: datetime | None, new: datetime | None, *, is_same: bool
) -> None:
    study, reader = optuna.create_study(), TrialReader()
    study._storage = storage = Storage()  # type: ignore[assignment]
    storage.trials = [trial_that_started(old)]
    assert reader.read(study) == storage.trials
    storage.trials = [trial_that_started(new)]
    assert reader.read(study) == storage.trials
    assert reader.was_reset != is_same
    storage.trials = []
    reader.read(study)
    assert reader.was_reset


def test_a_sampler_used_for_many_studies_keeps_none_of_them() -> None:
    sampler = DeltaStepSampler(deltas=(0.001,), max_steps=100)
    trials = []
    for _ in range(3):
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
        trials.append(weakref.ref(study.get_trials(deepcopy=False)[0]))
        del study
    gc.collect()
    assert [trial() for trial in trials] == [None, None, None]
