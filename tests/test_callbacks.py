"""The limits of a study."""

from __future__ import annotations

import math
import pickle
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from adnn_optuna._attributes import FAILED, INTERRUPTED, PROPOSAL
from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, MaxTrialCallback
from adnn_optuna.samplers import RandomRestartSampler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOON = datetime(2026, 5, 4, 12)  # noqa: DTZ001
SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}
OWNER = {"sampler": "annealing", "index": 0, "owner": ["elsewhere", 1, ""]}


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


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


class TestMaxTrial:
    def test_runs_nothing_when_reached(self) -> None:
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

    def test_counts_what_was_tried_to_its_end(self) -> None:
        study = optuna.create_study()
        limit = MaxTrialCallback(4)
        add_trial(study)
        add_trial(study, state=TrialState.PRUNED)
        add_trial(study, state=TrialState.FAIL, user_attrs={"adnn:diverged": True})
        add_trial(study, state=TrialState.FAIL)
        add_trial(study, state=TrialState.PRUNED, system_attrs={INTERRUPTED: True})
        add_trial(study, state=TrialState.FAIL, system_attrs={INTERRUPTED: True})
        study.ask()
        study.enqueue_trial({"x": 0.5})
        assert not limit.reached(study)
        add_trial(study)
        assert limit.reached(study)

    def test_sees_trials_that_finish_late(self) -> None:
        study = optuna.create_study()
        limit = MaxTrialCallback(3)
        trials = [study.ask() for _ in range(3)]
        for trial in reversed(trials):
            assert not limit.reached(study)
            study.tell(trial, 1.0)
        assert limit.reached(study)

    @pytest.mark.parametrize("max_trial", [0, -1])
    def test_refuses_what_is_no_count(self, max_trial: int) -> None:
        with pytest.raises(
            ValueError, match=f"`max_trial` must be at least 1, but is {max_trial}"
        ):
            MaxTrialCallback(max_trial)

    @pytest.mark.parametrize("max_trial", [True, 1.5, "10", None])
    def test_refuses_other_types(self, max_trial: Any) -> None:
        with pytest.raises(TypeError, match="`max_trial` must be an integer"):
            MaxTrialCallback(max_trial)


class TestMaxTime:
    @settings(deadline=None)
    @given(
        intervals=st.lists(st.tuples(st.integers(0, 60), st.integers(-5, 20)), max_size=30),
        n_before=st.integers(0, 30),
    )
    def test_measures_the_union(self, intervals: list[tuple[int, int]], n_before: int) -> None:
        study = optuna.create_study()
        limit = MaxTimeCallback(1)
        for i, (start, length) in enumerate(intervals):
            if i == n_before:
                limit.elapsed(study)  # The rest is added to what is known.
            add_trial(study, start, start + length)
        busy = {second for start, length in intervals for second in range(start, start + length)}
        assert limit.elapsed(study) == pytest.approx(len(busy))
        assert limit.reached(study) == (len(busy) >= 1)
        assert limit.remaining(study) == pytest.approx(max(1 - len(busy), 0))

    def test_stops_the_study(self) -> None:
        study = optuna.create_study()
        limit = MaxTimeCallback(100)
        add_trial(study, 0, 60)
        add_trial(study, 4000, 4030)  # The hour in between does not count.
        study.optimize(objective, n_trials=1, callbacks=[limit])
        assert "adnn:stop_reason" not in study.user_attrs
        assert 9.9 < limit.remaining(study) <= 10
        add_trial(study, 9000, 9010)
        study.optimize(objective, callbacks=[limit])
        assert len(study.trials) == 5
        assert study.user_attrs["adnn:stop_reason"] == "max_time"
        assert limit.remaining(study) == 0

    def test_deaths_cost_no_time(self) -> None:
        study = optuna.create_study()
        add_trial(study, 0, 10)
        # Found dead a day later.
        add_trial(study, 10, 86400, TrialState.FAIL, system_attrs={PROPOSAL: OWNER})
        add_trial(study, 20, 25, TrialState.FAIL, system_attrs={PROPOSAL: OWNER, FAILED: True})
        add_trial(
            study, 30, 32, TrialState.FAIL, system_attrs={PROPOSAL: OWNER, INTERRUPTED: True}
        )
        add_trial(study, 40, 41, TrialState.FAIL)
        assert MaxTimeCallback(1).elapsed(study) == pytest.approx(10 + 5 + 2 + 1)

    def test_running_trials_count_while_they_run(self) -> None:
        study = optuna.create_study(sampler=RandomRestartSampler())
        limit = MaxTimeCallback(1000)

        def move_start(trial: optuna.Trial, seconds: float) -> None:
            frozen = study._storage.get_trial(trial._trial_id)
            frozen.datetime_start = datetime.now() - timedelta(seconds=seconds)  # noqa: DTZ005

        move_start(study.ask(), 100)
        assert limit.elapsed(study) == pytest.approx(100, abs=1)
        move_start(study.ask(), 200)
        assert limit.elapsed(study) == pytest.approx(200, abs=1)
        ended = study.ask()
        move_start(ended, 300)
        study.tell(ended, 1.0)
        assert limit.elapsed(study) == pytest.approx(300, abs=1)

        # One that died, and one of which nobody knows.
        dead = study.ask()
        move_start(dead, 900)
        owner = {**OWNER, "owner": [*study.trials[0].system_attrs[PROPOSAL]["owner"][:2], ""]}
        study._storage.set_trial_system_attr(dead._trial_id, PROPOSAL, owner)
        study.sampler = optuna.samplers.RandomSampler()
        move_start(study.ask(), 900)
        assert limit.elapsed(study) == pytest.approx(300, abs=1)

    def test_adds_up_over_processes(self, tmp_path: Path) -> None:
        storage = f"sqlite:///{tmp_path / 'study.db'}"
        for start in (0, 1000):
            study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
            add_trial(study, start, start + 10)
        assert MaxTimeCallback(1).elapsed(study) == pytest.approx(20)

    def test_with_heartbeats(self, tmp_path: Path) -> None:
        storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}", heartbeat_interval=60)
        study = optuna.create_study(storage=storage)
        add_trial(study, 0, 10)
        add_trial(study, 10, 86400, TrialState.FAIL)
        assert MaxTimeCallback(1).elapsed(study) == pytest.approx(10)

    @pytest.mark.parametrize("n_jobs", [1, 3])
    def test_own_failures_count_with_heartbeats(self, tmp_path: Path, n_jobs: int) -> None:
        storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}", heartbeat_interval=60)
        study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler())
        limit = MaxTimeCallback(0.2)

        def fail(_: optuna.Trial) -> float:
            time.sleep(0.05)
            raise ArithmeticError

        study.optimize(fail, n_trials=60, n_jobs=n_jobs, catch=ArithmeticError, callbacks=[limit])
        assert len(study.trials) < 60
        assert study.user_attrs["adnn:stop_reason"] == "max_time"

    def test_a_failure_that_another_thread_saw_first_counts_once(self, tmp_path: Path) -> None:
        storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}", heartbeat_interval=60)
        study = optuna.create_study(storage=storage)
        limit = MaxTimeCallback(100)
        add_trial(study, 0, 10, TrialState.FAIL)
        assert limit.elapsed(study) == 0
        for _ in range(2):
            limit(study, study.trials[0])
            assert limit.elapsed(study) == pytest.approx(10)

    @pytest.mark.parametrize("max_time", [0, -1.0, math.nan, math.inf])
    def test_refuses_what_is_no_time(self, max_time: float) -> None:
        with pytest.raises(ValueError, match="`max_time` must be"):
            MaxTimeCallback(max_time)

    @pytest.mark.parametrize("max_time", [True, "60", None])
    def test_refuses_other_types(self, max_time: Any) -> None:
        with pytest.raises(TypeError, match="`max_time` must be a number"):
            MaxTimeCallback(max_time)


class TestMaxGain:
    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("baseline", ["argument", "stored", "first trial"])
    def test_stops_at_the_first_trial_that_reaches_it(self, sign: int, baseline: str) -> None:
        study = optuna.create_study(direction="maximize" if sign == 1 else "minimize")
        limit = MaxGainCallback(0.2, baseline=sign * 0.1 if baseline == "argument" else None)
        if baseline == "stored":
            study.set_user_attr("adnn:baseline", sign * 0.1)
        values = iter([0.1, 0.0, 0.25, 0.3, 0.9])  # 0.3 - 0.1 is less than 0.2, by rounding.
        study.optimize(lambda _: sign * next(values), callbacks=[limit])
        assert len(study.trials) == 4
        assert study.user_attrs["adnn:stop_reason"] == "max_gain"
        assert limit.reached(study)

    def test_a_gain_just_short_is_none(self) -> None:
        study = optuna.create_study(direction="maximize")
        add_trial(study, value=0.2999999)
        assert not MaxGainCallback(0.2, baseline=0.1).reached(study)
        assert not MaxGainCallback(1e-300, baseline=0.3).reached(study)

    def test_ignores_what_has_no_value(self) -> None:
        study = optuna.create_study(direction="maximize")
        limit = MaxGainCallback(0.1)
        assert not limit.reached(study)
        add_trial(study, state=TrialState.FAIL)
        add_trial(study, state=TrialState.PRUNED)
        add_trial(study, value=9.0, system_attrs={INTERRUPTED: True})
        add_trial(study, value=0.5)
        add_trial(study, value=-math.inf)
        assert not limit.reached(study)
        add_trial(study, value=0.6)
        assert limit.reached(study)

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    @pytest.mark.parametrize("baseline", [math.inf, -math.inf])
    def test_there_is_no_gain_on_an_infinite_baseline(
        self, direction: str, baseline: float
    ) -> None:
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
            add_trial(study, value=value, system_attrs={"constraints:c": violation})
            assert not limit.reached(study)
        add_trial(study, value=0.75, system_attrs={"constraints:c": -1.0})
        assert study.best_value == 0.75
        assert limit.reached(study)

    def test_a_stored_baseline_of_none_is_none(self) -> None:
        study = optuna.create_study(direction="maximize")
        study.set_user_attr("adnn:baseline", None)
        add_trial(study, value=0.5)
        assert not MaxGainCallback(0.2).reached(study)
        add_trial(study, value=0.7)
        assert MaxGainCallback(0.2).reached(study)

    @pytest.mark.parametrize("stored", ["0.5", [1], True])
    def test_refuses_a_stored_baseline_that_is_no_number(self, stored: object) -> None:
        study = optuna.create_study()
        study.set_user_attr("adnn:baseline", stored)
        add_trial(study, value=0.5)
        with pytest.raises(TypeError, match="'adnn:baseline' of the study must be a number"):
            MaxGainCallback(0.2).reached(study)

    @pytest.mark.parametrize("max_gain", [0, -0.1, math.nan, math.inf])
    def test_refuses_what_is_no_gain(self, max_gain: float) -> None:
        with pytest.raises(ValueError, match="`max_gain` must be"):
            MaxGainCallback(max_gain)

    def test_refuses_a_baseline_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="`baseline` must be a finite number, but is nan"):
            MaxGainCallback(0.1, baseline=math.nan)
        with pytest.raises(TypeError, match="`baseline` must be a number"):
            MaxGainCallback(0.1, baseline="0.9")  # type: ignore[arg-type]


LIMITS: Sequence[Any] = [MaxTimeCallback(5.0), MaxTrialCallback(2), MaxGainCallback(0.1)]


@pytest.mark.parametrize("limit", LIMITS)
def test_multi_objective(limit: Any) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    with pytest.raises(ValueError, match="this study has 2"):
        limit.reached(study)


@pytest.mark.parametrize("limit", LIMITS)
def test_several_studies_and_pickling(limit: Any) -> None:
    full, empty = optuna.create_study(), optuna.create_study()
    add_trial(full, 0, 3, value=0.9)
    add_trial(full, 3, 6, value=0.4)
    for _ in range(2):
        assert limit.reached(full)
        assert not limit.reached(empty)
        limit = pickle.loads(pickle.dumps(limit))
    assert repr(limit).startswith(type(limit).__name__)
