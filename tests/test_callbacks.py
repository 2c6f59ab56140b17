"""The callbacks that limit a study."""

from __future__ import annotations

import cProfile
import gc
import math
import pickle
import time
import weakref
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import RDBStorage
from optuna.trial import TrialState

import adnn_optuna
from adnn_optuna import callbacks
from adnn_optuna._attributes import BASELINE, ENDED, OUTCOME, PROPOSAL, REPLICATE
from adnn_optuna.callbacks import (
    MaxGainCallback,
    MaxStaleCallback,
    MaxTimeCallback,
    MaxTrialCallback,
)
from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    RandomRestartSampler,
)
from adnn_optuna.samplers._trials import TrialReader

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

NOON = datetime(2026, 5, 4, 12)  # noqa: DTZ001
SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


def add_trial(
    study: optuna.Study,
    start: float = 0.0,
    end: float | None = None,
    state: TrialState = TrialState.COMPLETE,
    value: float = 0.5,
    **attrs: Any,
) -> None:
    """Add a finished trial that ran from ``start`` to ``end``, in seconds after noon."""
    trial = optuna.create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params={"x": 0.5},
        distributions=SPACE,
        **attrs,
    )
    trial.datetime_start = NOON + timedelta(seconds=start)
    trial.datetime_complete = NOON + timedelta(seconds=start + 1 if end is None else end)
    study.add_trial(trial)


def constraints(violation: float) -> dict[str, Any]:
    """Return the attributes that Optuna 5 and Optuna 4 store for a constraint."""
    return {"constraints:c": violation, "constraints": [violation]}


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


class TestMaxTrial:
    def test_starts_no_trial_once_it_is_reached(self) -> None:
        study = optuna.create_study()
        limit = MaxTrialCallback(10)
        assert not limit.reached(study)
        study.optimize(objective, n_trials=6, callbacks=[limit])
        assert "adnn:stop_reason" not in study.user_attrs
        study.optimize(objective, callbacks=[limit])
        assert len(study.trials) == 10
        assert study.user_attrs["adnn:stop_reason"] == "max_trial"
        assert limit.reached(study)
        assert MaxTrialCallback(10).reached(study)
        assert not MaxTrialCallback(11).reached(study)

    def test_counts_trials_that_ended_by_themselves(self) -> None:
        study = optuna.create_study()
        limit = MaxTrialCallback(4)
        add_trial(study)
        add_trial(study, state=TrialState.PRUNED)
        add_trial(study, state=TrialState.FAIL, system_attrs={ENDED: "diverged"})
        add_trial(study, state=TrialState.FAIL)
        add_trial(study, state=TrialState.PRUNED, system_attrs={ENDED: "interrupted"})
        add_trial(study, state=TrialState.FAIL, system_attrs={ENDED: "interrupted"})
        study.ask()
        study.enqueue_trial({"x": 0.5})
        assert not limit.reached(study)
        add_trial(study)
        assert limit.reached(study)

    @pytest.mark.parametrize("max_trial", [0, -1])
    def test_refuses_values_below_1(self, max_trial: int) -> None:
        with pytest.raises(ValueError, match=f"max_trial must be at least 1; got {max_trial}"):
            MaxTrialCallback(max_trial)

    @pytest.mark.parametrize("max_trial", [True, 1.5, "10", None])
    def test_refuses_other_types(self, max_trial: Any) -> None:
        with pytest.raises(TypeError, match="max_trial must be an integer"):
            MaxTrialCallback(max_trial)


class TestMaxTime:
    @settings(deadline=None)
    @given(
        intervals=st.lists(st.tuples(st.integers(0, 60), st.integers(-5, 20)), max_size=20),
        order=st.randoms(),
    )
    def test_measures_the_longest_sequence_of_trials(
        self, intervals: list[tuple[int, int]], order: random.Random
    ) -> None:
        """The times of trials determine the result, and the order of their numbers does not."""
        study = optuna.create_study()
        order.shuffle(intervals)
        for start, length in intervals:
            add_trial(study, start, start + length)
        ended: list[tuple[int, int]] = []
        for start, length in sorted(intervals, key=sum):
            before = max((seconds for end, seconds in ended if end <= start), default=0)
            ended.append((start + length, before + max(length, 0)))
        longest = max((seconds for _, seconds in ended), default=0)
        limit = MaxTimeCallback(1)
        assert limit.used(study) == pytest.approx(longest)
        assert limit.reached(study) == (longest >= 1)

    def test_repeated_measurements_agree_with_a_single_one(self) -> None:
        study, limit = optuna.create_study(), MaxTimeCallback(1000)
        rows = [(0, 10, 10), (5, 12, 10), (10, 20, 20), (13, 30, 27), (0, 3, 27), (30, 31, 28)]
        for start, end, elapsed in rows:
            add_trial(study, start, end)
            assert limit.used(study) == MaxTimeCallback(1).used(study)
            assert limit.used(study) == pytest.approx(elapsed)
        assert MaxTimeCallback(28).reached(study)
        assert not MaxTimeCallback(28.001).reached(study)

    def test_stops_the_study(self) -> None:
        study = optuna.create_study()
        limit = MaxTimeCallback(90.2)
        add_trial(study, 0, 60)
        add_trial(study, 4000, 4030)  # The hour between the two trials does not count.
        study.optimize(objective, n_trials=1, callbacks=[limit])
        assert "adnn:stop_reason" not in study.user_attrs
        assert 90 <= limit.used(study) < 90.1
        study.optimize(objective, callbacks=[limit])
        assert study.user_attrs["adnn:stop_reason"] == "max_time"
        assert limit.used(study) >= 90.2

    def test_elapsed_times_stored_by_trials_have_precedence(self) -> None:
        study = optuna.create_study()
        add_trial(study, 0, 1000, user_attrs={OUTCOME: {"elapsed": 7.0}})
        add_trial(study, 0, 900, user_attrs={OUTCOME: {"elapsed": 5.0}})
        assert MaxTimeCallback(1).used(study) == 7
        add_trial(study, 950, 953)  # For this trial, the objective stores no time.
        assert MaxTimeCallback(1).used(study) == pytest.approx(5 + 3)

    def test_a_dead_trial_takes_no_time(self) -> None:
        study = optuna.create_study()

        def add(start: float, end: float, **attrs: Any) -> None:
            owner = {"trial": len(study.trials), "host": "elsewhere", "process": 1, "start": ""}
            proposal = {"sampler": "annealing", "index": 0, "owner": {**owner, "run": ""}}
            proposal |= {"before": 0, "unfinished": [], "n_pending": 0, "step": None}
            attrs["system_attrs"] = {PROPOSAL: proposal, **attrs.get("system_attrs", {})}
            add_trial(study, start, end, TrialState.FAIL, **attrs)

        add_trial(study, 0, 10)
        add(10, 86400)  # This trial was found dead a day later.
        assert MaxTimeCallback(1).used(study) == pytest.approx(10)
        add(20, 25, system_attrs={ENDED: "error"})
        add(30, 32, system_attrs={ENDED: "interrupted"})
        add_trial(study, 40, 41, TrialState.FAIL)
        add(50, 54, system_attrs={ENDED: "diverged"})
        assert MaxTimeCallback(1).used(study) == pytest.approx(10 + 5 + 2 + 1 + 4)

    def test_running_trials_take_no_time(self) -> None:
        study = optuna.create_study(sampler=RandomRestartSampler())
        study._storage.get_trial(study.ask()._trial_id).datetime_start = NOON
        study.sampler = optuna.samplers.RandomSampler()
        study.ask()
        add_trial(study, 0, 10)
        assert MaxTimeCallback(1).used(study) == pytest.approx(10)

    def test_an_abandoned_trial_does_not_slow_measurements(self) -> None:
        """The test counts function calls, which do not depend on other processes."""

        def calls(n_trials: int) -> int:
            study = optuna.create_study(sampler=RandomRestartSampler())
            study.ask()
            for i in range(n_trials):
                add_trial(study, 1e9 + 2 * i)
            limit = MaxTimeCallback(1e9)
            limit.used(study)
            profile = cProfile.Profile()
            add_trial(study, 2e9)
            profile.runcall(limit.used, study)
            return sum(entry.callcount for entry in profile.getstats())

        assert calls(2000) == calls(20)

    def test_reads_the_trials_once_per_trial(self) -> None:
        """A read takes as long as a write, and longer in a long study."""
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
        profile = cProfile.Profile()
        profile.runcall(study.optimize, lambda _: 0.0, 5, callbacks=[MaxTimeCallback(1e9)])
        code = TrialReader.read.__code__
        assert sum(e.callcount for e in profile.getstats() if e.code is code) == 5

    def test_a_dead_trial_in_a_storage_with_heartbeats_takes_no_time(self, url: str) -> None:
        storage = RDBStorage(url, heartbeat_interval=60)
        study = optuna.create_study(storage=storage)
        add_trial(study, 0, 10)
        add_trial(study, 10, 86400, TrialState.FAIL)
        assert MaxTimeCallback(1).used(study) == pytest.approx(10)

    @pytest.mark.parametrize("max_time", [0, -1.0, math.nan, math.inf])
    def test_refuses_values_that_are_not_positive_and_finite(self, max_time: float) -> None:
        with pytest.raises(ValueError, match="max_time must be"):
            MaxTimeCallback(max_time)


class TestMaxGain:
    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("baseline", ["argument", "stored", "first trial"])
    def test_stops_at_the_first_trial_that_reaches_it(self, sign: int, baseline: str) -> None:
        study = optuna.create_study(direction="maximize" if sign == 1 else "minimize")
        limit = MaxGainCallback(0.2, baseline=sign * 0.1 if baseline == "argument" else None)
        if baseline == "stored":
            study.set_user_attr("adnn:baseline", sign * 0.1)
        values = iter([0.1, 0.0, 0.25, 0.3, 0.9])  # 0.3 - 0.1 is rounded to less than 0.2.
        study.optimize(lambda _: sign * next(values), callbacks=[limit])
        assert len(study.trials) == 4
        assert study.user_attrs["adnn:stop_reason"] == "max_gain"
        assert limit.reached(study)

    def test_decimal_gains_are_reached_in_spite_of_rounding(self) -> None:
        for best in range(1, 60):
            study = optuna.create_study(direction="maximize")
            add_trial(study, value=best / 100)
            for baseline in range(best):
                gain = (best - baseline) / 100
                assert MaxGainCallback(gain, baseline=baseline / 100).reached(study)
                assert not MaxGainCallback(gain + 1e-9, baseline=baseline / 100).reached(study)

    def test_the_baseline_is_the_first_trial_even_if_it_ends_last(self) -> None:
        study = optuna.create_study(direction="maximize")
        limit = MaxGainCallback(0.25)
        trials = [study.ask() for _ in range(3)]
        for number, value, is_reached in [(2, 0.5, False), (1, 0.75, False), (0, 0.5, True)]:
            study.tell(trials[number], value)
            assert limit.reached(study) == is_reached
        add_trial(study, value=0.25)
        assert limit.reached(study)

    def test_ignores_trials_without_a_final_value(self) -> None:
        study = optuna.create_study(direction="maximize")
        limit = MaxGainCallback(0.1)
        assert not limit.reached(study)
        add_trial(study, state=TrialState.FAIL)
        add_trial(study, state=TrialState.PRUNED)
        add_trial(study, value=9.0, system_attrs={ENDED: "interrupted"})
        add_trial(study, value=0.5)
        add_trial(study, value=-math.inf)
        pruned = study.ask()
        pruned.report(0.9, step=0)
        study.tell(pruned, state=TrialState.PRUNED)
        assert study.trials[-1].value == 0.9
        assert not limit.reached(study)
        add_trial(study, value=0.6)
        assert limit.reached(study)

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    @pytest.mark.parametrize("baseline", [math.inf, -math.inf])
    def test_an_infinite_baseline_allows_no_gain(self, direction: str, baseline: float) -> None:
        study = optuna.create_study(direction=direction)
        for value in (baseline, 3.0, baseline, -3.0):
            add_trial(study, value=value)
            assert not MaxGainCallback(1).reached(study)

    def test_an_infinite_value_is_a_gain_on_a_finite_baseline(self) -> None:
        study = optuna.create_study(direction="maximize")
        for value, is_reached in [(-math.inf, False), (0.5, False), (math.inf, True)]:
            add_trial(study, value=value)
            assert MaxGainCallback(1, baseline=0.0).reached(study) == is_reached

    def test_ignores_infeasible_trials(self) -> None:
        study = optuna.create_study(direction="maximize")
        limit = MaxGainCallback(0.2)
        for value, violation in [(0.9, 1.0), (0.5, 0.0), (0.8, 1e-9), (0.8, math.nan)]:
            add_trial(study, value=value, system_attrs=constraints(violation))
            assert not limit.reached(study)
        add_trial(study, value=0.75, system_attrs=constraints(-1.0))
        assert study.best_value == 0.75
        assert limit.reached(study)

    def test_a_baseline_that_is_stored_later_counts(self) -> None:
        study, limit = optuna.create_study(direction="maximize"), MaxGainCallback(0.3)
        add_trial(study, value=0.5)
        assert not limit.reached(study)
        study.set_user_attr(BASELINE, 0.75)
        add_trial(study, value=1.0)
        assert not limit.reached(study)
        add_trial(study, value=1.25)
        assert limit.reached(study)

    @pytest.mark.parametrize("baseline", [None, "0.5", True])
    def test_refuses_a_stored_baseline_that_is_no_number(self, baseline: object) -> None:
        study = optuna.create_study(direction="maximize")
        study.set_user_attr("adnn:baseline", baseline)
        add_trial(study, value=0.5)
        with pytest.raises(ValueError, match=r"Attribute .adnn:baseline. of study .* a number"):
            MaxGainCallback(0.2).reached(study)

    @pytest.mark.parametrize("max_gain", [0, -0.1, math.nan, math.inf])
    def test_refuses_values_that_are_not_positive_and_finite(self, max_gain: float) -> None:
        with pytest.raises(ValueError, match="max_gain must be"):
            MaxGainCallback(max_gain)

    def test_refuses_a_baseline_that_is_no_finite_number(self) -> None:
        with pytest.raises(ValueError, match="baseline must be a finite number; got nan"):
            MaxGainCallback(0.1, baseline=math.nan)
        with pytest.raises(TypeError, match="baseline must be a number"):
            MaxGainCallback(0.1, baseline="0.9")  # type: ignore[arg-type]


class TestMaxStale:
    def test_ends_after_the_given_number_of_trials_without_improvement(self) -> None:
        study = optuna.create_study()
        values = [5.0, 3.0, 4.0, 3.0, 2.0, 2.0, 9.0, 2.5, 1.0]
        study.optimize(lambda _: values.pop(0), callbacks=[MaxStaleCallback(3)])
        assert [trial.value for trial in study.trials] == [5, 3, 4, 3, 2, 2, 9, 2.5]
        assert study.user_attrs["adnn:stop_reason"] == "max_stale"

    def test_an_improvement_below_the_minimum_does_not_count(self) -> None:
        study = optuna.create_study(direction="maximize")
        for value in (0.5, 0.55, 0.6, 0.64):
            add_trial(study, value=value)
        assert not MaxStaleCallback(3).reached(study)
        assert MaxStaleCallback(3, min_improvement=0.2).reached(study)
        # Several small improvements together exceed min_improvement.
        assert not MaxStaleCallback(3, min_improvement=0.1).reached(study)

    def test_counts_trials_without_a_value_and_of_earlier_runs(self) -> None:
        study = optuna.create_study()
        limit = MaxStaleCallback(3)
        add_trial(study)
        add_trial(study, state=TrialState.PRUNED)
        add_trial(study, state=TrialState.FAIL, system_attrs={ENDED: "diverged"})
        add_trial(study, state=TrialState.FAIL)
        assert limit.used(study) == 2
        add_trial(study, state=TrialState.PRUNED)
        assert limit.reached(study)
        assert MaxStaleCallback(3).reached(study)

    def test_a_replicate_is_no_improvement(self) -> None:
        study = optuna.create_study()
        add_trial(study, value=1.0)
        replicate = {"trial": 0, "index": None, "repetition": 1}
        add_trial(study, value=0.5, system_attrs={REPLICATE: replicate})
        add_trial(study, value=1.0)
        assert MaxStaleCallback(9).used(study) == 1
        assert not MaxGainCallback(0.3).reached(study)

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 3))
    def test_agrees_with_a_count_trial_by_trial(self, values: list[int], least: int) -> None:
        study = optuna.create_study()
        for value in values:
            add_trial(study, value=value)
        n_stale = next(
            n
            for n in range(len(values))
            if n + 1 == len(values) or (min(values[: len(values) - 1 - n]) - min(values) > least)
        )
        assert MaxStaleCallback(1, min_improvement=least).used(study) == n_stale

    def test_refuses_a_negative_improvement(self) -> None:
        with pytest.raises(ValueError, match="min_improvement must be at least 0; got -1"):
            MaxStaleCallback(3, min_improvement=-1)


LIMITS: Sequence[Any] = [
    MaxTimeCallback(5.0),
    MaxTrialCallback(2),
    MaxGainCallback(0.1),
    MaxStaleCallback(2),
]


def test_every_limit_is_public() -> None:
    assert {limit.__name__ for limit in callbacks.LIMITS} <= {*adnn_optuna.__all__}


@pytest.mark.parametrize("limit", LIMITS)
def test_studies_with_several_objectives_are_refused(limit: Any) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    text = "must have one objective; got 2"
    with pytest.raises(ValueError, match=text):
        limit.reached(study)
    with pytest.raises(ValueError, match=text):
        limit(study, study.trials)


@pytest.mark.parametrize("limit", LIMITS[:3])
def test_one_limit_serves_several_studies_and_can_be_pickled(limit: Any) -> None:
    full, empty = optuna.create_study(), optuna.create_study()
    add_trial(full, 0, 3, value=0.9)
    add_trial(full, 3, 6, value=0.4)
    for _ in range(2):
        assert limit.reached(full)
        assert not limit.reached(empty)
        limit = pickle.loads(pickle.dumps(limit))


def test_repr_shows_all_arguments() -> None:
    assert [*map(repr, LIMITS)] == [
        "MaxTimeCallback(max_time=5.0)",
        "MaxTrialCallback(max_trial=2)",
        "MaxGainCallback(max_gain=0.1, baseline=None)",
        "MaxStaleCallback(max_stale=2, min_improvement=0.0)",
    ]


def test_a_limit_keeps_no_trials_of_earlier_studies() -> None:
    trials = []
    for limit in [*LIMITS] * 3:
        study = optuna.create_study()
        add_trial(study)
        assert not limit.reached(study)
        trials.append(weakref.ref(study.get_trials(deepcopy=False)[0]))
    del study
    gc.collect()
    assert {trial() for trial in trials} == {None}


@pytest.mark.parametrize("limit", LIMITS[:3])
def test_a_limit_recognizes_a_study_with_the_name_of_a_deleted_one(limit: Any, url: str) -> None:
    storage = RDBStorage(url)
    for n_trials in (3, 0, 1):
        study = optuna.create_study(storage=storage, study_name="s")
        # All studies use one storage object, like a worker that runs for a long time.
        study._storage = storage
        assert not limit.reached(study)
        for i in range(n_trials):
            add_trial(study, 10 * i, 10 * i + 4, value=-i)
        assert limit.reached(study) == (n_trials == 3)
        optuna.delete_study(study_name="s", storage=storage)


@pytest.mark.parametrize(
    "limit",
    [
        MaxTimeCallback(0.05),
        MaxTrialCallback(5),
        MaxGainCallback(0.1, baseline=0.5),
        MaxStaleCallback(8),
    ],
)
def test_limits_stop_a_study_under_a_hyperband_pruner(limit: Any) -> None:
    study = optuna.create_study(
        direction="maximize",
        sampler=RandomRestartSampler(seed=0),
        pruner=optuna.pruners.HyperbandPruner(max_resource=9),
    )

    def reporting(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        time.sleep(0.005)
        for step in range(9):
            trial.report(x, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    study.optimize(reporting, n_trials=200, callbacks=[limit])
    assert study.user_attrs["adnn:stop_reason"] == limit.name
    assert len(study.trials) < 100


@pytest.mark.parametrize(
    "sampler",
    [
        AdaptiveSimulatedAnnealingSampler(seed=0),
        DeltaStepSampler((1e-3,), 100),
        DeltaStepSampler((1e-3,), 100, accept="improving"),
        RandomRestartSampler(seed=0),
    ],
    ids=str,
)
def test_a_trial_takes_few_transactions(sampler: optuna.samplers.BaseSampler, url: str) -> None:
    """Each transaction is one round trip. Random search takes 6 transactions, and one per
    parameter.
    """
    storage = RDBStorage(url)
    study = optuna.create_study(storage=storage, sampler=sampler)
    limits = [MaxTimeCallback(1e9), MaxTrialCallback(10**9), MaxGainCallback(1e9)]

    def suggest(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)

    study.optimize(suggest, 1, callbacks=limits)
    begun: list[object] = []
    sqlalchemy.event.listen(storage.engine, "begin", begun.append)
    study.optimize(suggest, 10, callbacks=limits)
    assert len(begun) <= 10 * (9 + 2)
