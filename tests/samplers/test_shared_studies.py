"""Indices of trials in shared studies whose workers die, fail, are interrupted or restart."""

from __future__ import annotations

import copy
import cProfile
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from adnn_optuna._attributes import ENDED, PROPOSAL
from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, MaxTrialCallback
from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    IndexedSampler,
    RandomRestartSampler,
)
from adnn_optuna.samplers._indices import Indices
from adnn_optuna.samplers._owners import is_alive, run_of_trials

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


def kill(study: optuna.Study, trial: optuna.Trial) -> None:
    """Make a trial look as if its process had died."""
    proposal = study._storage.get_trial(trial._trial_id).system_attrs[PROPOSAL]
    # No process with this id has this start time.
    dead = {**proposal, "owner": {**proposal["owner"], "start": "before the Big Bang"}}
    study._storage.set_trial_system_attr(trial._trial_id, PROPOSAL, dead)


def index_of(trial: optuna.Trial | FrozenTrial) -> int | None:
    if isinstance(trial, optuna.Trial):
        trial = trial.storage.get_trial(trial._trial_id)
    proposal = trial.system_attrs[PROPOSAL]
    return proposal["index"] if proposal["owner"]["trial"] == trial.number else None


def suggest(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    y = trial.suggest_float("y", -1, 1)
    return (x - 0.3) ** 2 + 2 * (y - 0.2) ** 2


def annealing() -> BaseSampler:
    return AdaptiveSimulatedAnnealingSampler(seed=3, n_trials=20)


def annealing_from_x0() -> BaseSampler:
    return AdaptiveSimulatedAnnealingSampler(seed=3, x0={"x": 0.1})


def greedy() -> BaseSampler:
    return DeltaStepSampler(deltas=(0.01, 0.017), max_steps=30)


def greedy_improving() -> BaseSampler:
    return DeltaStepSampler(deltas=(0.1, 0.13), max_steps=30, accept="improving")


def random_restart() -> BaseSampler:
    return RandomRestartSampler(seed=3)


SAMPLERS = [
    annealing,
    annealing_from_x0,
    greedy,
    greedy_improving,
    random_restart,
]
all_samplers = pytest.mark.parametrize("make_sampler", SAMPLERS)


@all_samplers
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=st.lists(
        st.sampled_from(
            ["tell", "tell", "fail", "prune", "kill", "interrupt", "cut off", "new sampler"]
        ),
        min_size=8,
        max_size=24,
    )
)
def test_deaths_and_interruptions_change_no_other_trial(
    make_sampler: Callable[[], BaseSampler], events: Sequence[str]
) -> None:
    """Deaths and interruptions of workers do not affect trials that end by themselves."""

    def run(events: Sequence[str]) -> list[Any]:
        study = optuna.create_study(sampler=make_sampler())
        for event in events:
            if event == "new sampler":
                study.sampler = make_sampler()
                continue
            trial = study.ask()
            value = suggest(trial)
            if event == "kill":
                kill(study, trial)
            elif event in ("interrupt", "cut off"):
                study._storage.set_trial_system_attr(trial._trial_id, ENDED, "interrupted")
                state = TrialState.FAIL if event == "interrupt" else TrialState.PRUNED
                study.tell(trial, state=state)
            elif event == "fail":
                study.tell(trial, state=TrialState.FAIL)
            elif event == "prune":
                trial.report(0.0, step=0)
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, value)
        return [
            (trial.state, trial.params, trial.value)
            for trial in study.trials
            if trial.state.is_finished() and trial.system_attrs.get(ENDED) != "interrupted"
            if trial.state != TrialState.FAIL or ENDED in trial.system_attrs
        ]

    deaths = ("kill", "interrupt", "cut off", "new sampler")
    assert run([*events, "tell"]) == run([e for e in [*events, "tell"] if e not in deaths])


class Interleavings(RuleBasedStateMachine):
    """Workers that ask, tell, fail, prune, die and restart, in any order."""

    make_sampler: Callable[[], BaseSampler]

    def __init__(self) -> None:
        super().__init__()
        self.study = optuna.create_study(sampler=self.make_sampler())
        self.running: list[optuna.Trial] = []

    @rule()
    def ask(self) -> None:
        # A new sampler on a copy of the study proposes the same trial.
        twin_study = copy.deepcopy(self.study)
        twin_study.sampler = self.make_sampler()
        twin, trial = twin_study.ask(), self.study.ask()
        assert suggest(twin) == suggest(trial)
        assert index_of(twin) == index_of(trial)
        self.running.append(trial)

    @rule(which=st.integers(0, 9), value=st.floats(allow_nan=False))
    def tell(self, which: int, value: float) -> None:
        if self.running:
            self.study.tell(self.running.pop(which % len(self.running)), value)

    @rule(which=st.integers(0, 9), state=st.sampled_from([TrialState.FAIL, TrialState.PRUNED]))
    def end(self, which: int, state: TrialState) -> None:
        if self.running:
            self.study.tell(self.running.pop(which % len(self.running)), state=state)

    @rule(which=st.integers(0, 9))
    def die(self, which: int) -> None:
        if self.running:
            kill(self.study, self.running.pop(which % len(self.running)))

    @rule(which=st.integers(0, 9), state=st.sampled_from([TrialState.FAIL, TrialState.PRUNED]))
    def interrupt(self, which: int, state: TrialState) -> None:
        if self.running:
            trial = self.running.pop(which % len(self.running))
            self.study._storage.set_trial_system_attr(trial._trial_id, ENDED, "interrupted")
            self.study.tell(trial, state=state)

    @rule()
    def start_anew(self) -> None:
        self.study.sampler = self.make_sampler()

    @rule(params=st.sampled_from([{"x": 0.5, "y": -0.5}, {"x": 0.5}]))
    def enqueue(self, params: dict[str, float]) -> None:
        self.study.enqueue_trial(params)

    @rule(value=st.floats(-1, 1))
    def add(self, value: float) -> None:
        distributions = {"x": optuna.distributions.FloatDistribution(-1, 1)}
        trial = optuna.create_trial(params={"x": value}, distributions=distributions, value=value)
        self.study.add_trial(trial)

    def indices(self) -> list[int]:
        """Return the indices of all trials that ended by themselves or are running."""
        indices = [
            index_of(trial)
            for trial in self.study.get_trials(deepcopy=False)
            if PROPOSAL in trial.system_attrs and not self.is_lost(trial)
        ]
        return [index for index in indices if index is not None]

    def n_lost(self) -> int:
        """Return the number of trials whose worker died or was interrupted."""
        return sum(map(self.is_lost, self.study.get_trials(deepcopy=False)))

    def is_lost(self, trial: FrozenTrial) -> bool:
        if trial.state == TrialState.RUNNING:
            return not is_alive(trial)
        ended = trial.system_attrs.get(ENDED)
        return ended == "interrupted" or (trial.state == TrialState.FAIL and ended is None)

    @invariant()
    def no_index_is_taken_twice(self) -> None:
        indices = self.indices()
        assert len(set(indices)) == len(indices)
        # A missing index belonged to a lost trial, and is assigned next.
        assert max(indices, default=-1) < len(indices) + self.n_lost()

    def teardown(self) -> None:
        """Check that indices of lost trials are assigned again, and that no index is missing."""
        n_waiting = len(self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
        for _ in range(n_waiting + self.n_lost()):
            self.study.tell(self.study.ask(), 0.0)
        indices = self.indices()
        assert sorted(indices) == list(range(len(indices)))


@pytest.mark.parametrize(
    "make_sampler",
    [annealing, greedy]
    + [pytest.param(s, marks=pytest.mark.slow) for s in SAMPLERS if s not in (annealing, greedy)],
)
def test_interleavings_of_workers_give_each_index_once(
    make_sampler: Callable[[], BaseSampler],
) -> None:
    machine = type("Machine", (Interleavings,), {"make_sampler": staticmethod(make_sampler)})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=30, stateful_step_count=25, deadline=None)
    )


class StateReadFirst(InMemoryStorage):
    """A storage that reads a trial's state before its attributes, as some databases do."""

    def get_all_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        trials = copy.deepcopy(super().get_all_trials(*args, **kwargs))
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                trial.state = TrialState.WAITING
        return trials


def test_a_trial_that_was_read_while_it_began_keeps_its_index() -> None:
    study = optuna.create_study(storage=StateReadFirst(), sampler=RandomRestartSampler(seed=0))
    assert [index_of(study.ask()) for _ in range(3)] == [0, 1, 2]


class SlowToTell(InMemoryStorage):
    """A storage with the delay of another host, so threads see trials between two states."""

    def set_trial_state_values(self, *args: Any, **kwargs: Any) -> bool:
        time.sleep(0.01)
        return super().set_trial_state_values(*args, **kwargs)


@all_samplers
def test_threads_share_a_study(make_sampler: Callable[[], BaseSampler]) -> None:
    study = optuna.create_study(sampler=make_sampler(), storage=SlowToTell())
    study.optimize(suggest, n_trials=40, n_jobs=4)
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert sorted(index_of(trial) or 0 for trial in study.trials) == list(range(40))


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_retried_trial_keeps_its_index(url: str) -> None:
    storage = RDBStorage(
        url,
        heartbeat_interval=1,
        grace_period=1,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
    )
    study = optuna.create_study(storage=storage, sampler=greedy())
    study.optimize(suggest, n_trials=2)
    trial = study.ask()
    value = suggest(trial)
    kill(study, trial)
    # This is `optuna.storages.fail_stale_trials` without the wait.
    storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
    RetryHeartbeatStaleTrialCallback()(study, study.trials[2])
    other_trial = study.ask()  # Optuna returns the enqueued retry.
    assert suggest(other_trial) == value
    assert (index_of(other_trial), other_trial.number) == (2, 3)
    assert is_alive(study.trials[3])
    next_trial = study.ask()
    assert index_of(next_trial) == 3
    study.tell(other_trial, value)
    assert index_of(study.ask()) == 4


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_enqueued_trials_of_dead_workers_are_left_to_a_storage_with_heartbeats(url: str) -> None:
    """The storage's callback enqueues only trials that the storage itself fails."""
    storage = RDBStorage(url, heartbeat_interval=60)
    study = optuna.create_study(storage=storage, sampler=greedy())
    study.enqueue_trial({"x": 0.5})
    for _ in range(2):
        trial = study.ask()
        suggest(trial)
        kill(study, trial)
    suggest(study.ask())
    states = [TrialState.RUNNING, TrialState.FAIL, TrialState.RUNNING]
    assert [trial.state for trial in study.trials] == states


def test_enqueued_trials_are_not_counted() -> None:
    study = optuna.create_study(sampler=greedy())
    study.optimize(suggest, n_trials=3)
    study.enqueue_trial({"x": 0.5, "y": 0.5})
    study.enqueue_trial({"x": 0.5})
    study.optimize(suggest, n_trials=3)
    assert [index_of(trial) for trial in study.trials] == [0, 1, 2, None, None, 3]
    assert study.trials[3].params == {"x": 0.5, "y": 0.5}
    assert study.trials[4].params == {"x": 0.5, "y": 0.0}


def test_waiting_trials_with_parameters_are_not_counted() -> None:
    study = optuna.create_study(sampler=greedy())
    study.optimize(suggest, n_trials=2)
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params={"x": 0.5, "y": 0.5},
            distributions=study.trials[0].distributions,
        )
    )
    study.optimize(suggest, n_trials=2)
    assert [index_of(trial) for trial in study.trials] == [0, 1, None, 2]
    assert study.trials[2].params == {"x": 0.5, "y": 0.5}


@all_samplers
def test_a_trial_sent_to_another_process_is_the_same(
    make_sampler: Callable[[], BaseSampler],
) -> None:
    study = optuna.create_study(sampler=make_sampler())
    study.optimize(suggest, n_trials=2)
    twin = copy.deepcopy(study).ask()
    trial_id = study.ask()._trial_id
    study.sampler = make_sampler()
    trial = optuna.Trial(study, trial_id)
    assert suggest(trial) == suggest(twin)
    study.tell(trial, 0.0)
    assert index_of(trial) == 2
    assert MaxTrialCallback(3).reached(study)


@all_samplers
def test_trials_begun_with_another_sampler_have_no_index(
    make_sampler: Callable[[], BaseSampler],
) -> None:
    study = optuna.create_study(sampler=make_sampler())
    study.optimize(suggest, n_trials=2)
    study.sampler = RandomSampler(seed=0)
    trials = [study.ask() for _ in range(2)]
    study.sampler = make_sampler()
    xs = [trial.suggest_float("x", -1, 1) for trial in trials]
    # A walk places these trials at its origin, but does not count them as steps.
    is_walk = make_sampler in (greedy, greedy_improving)
    assert xs == [0.0, 0.0] if is_walk else xs[0] != xs[1]
    for trial, x in zip(trials, xs, strict=True):
        study.tell(trial, x)
    assert index_of(study.ask()) == 2


def test_samplers_on_one_study_count_separately() -> None:
    study = optuna.create_study(sampler=greedy())
    study.optimize(suggest, n_trials=2)
    study.sampler = annealing()
    study.optimize(suggest, n_trials=2)
    study.sampler = greedy()
    study.optimize(suggest, n_trials=2)
    assert [index_of(trial) for trial in study.trials] == [0, 1, 0, 1, 2, 3]


def test_later_results_do_not_change_an_earlier_proposal() -> None:
    def make_sampler() -> BaseSampler:
        # Without a model, proposals stay near the best point.
        return AdaptiveSimulatedAnnealingSampler(seed=3, n_trials=20, n_candidates=1)

    study = optuna.create_study(sampler=make_sampler())
    study.optimize(suggest, n_trials=5)
    study.enqueue_trial({"x": 0.3, "y": 0.2})
    enqueued = study.ask()
    suggest(enqueued)
    trial = study.ask()
    suggest(trial)
    kill(study, trial)
    # Both values are the best so far, but the dead trial's proposal did not use them.
    study.tell(enqueued, -2.0)
    added = optuna.create_trial(params=trial.params, distributions=trial.distributions, value=-1.0)
    added.datetime_start = added.datetime_complete = study.trials[0].datetime_start
    study.add_trial(added)
    study.sampler = make_sampler()
    again = study.ask()
    suggest(again)
    assert again.params == trial.params
    study.tell(again, 10.0)

    # Later trials are near the best point.
    after = [study.ask() for _ in range(9)]
    assert all(suggest(trial) is not None for trial in after)
    assert sorted(abs(trial.params["x"] - 0.3) for trial in after)[4] < 0.2


def completed_params(study: optuna.Study) -> list[dict[str, Any]]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial.params for trial in complete]


def test_ctrl_c_in_a_foreign_objective_counts_as_a_failed_step() -> None:
    def interrupted(trial: optuna.Trial) -> float:
        suggest(trial)
        raise KeyboardInterrupt

    study = optuna.create_study(sampler=greedy())
    study.optimize(suggest, n_trials=3)
    with pytest.raises(KeyboardInterrupt):
        study.optimize(interrupted, n_trials=1)
    study.optimize(suggest, n_trials=2)
    assert [index_of(trial) for trial in study.trials] == [0, 1, 2, 3, 4, 5]


@all_samplers
def test_a_dead_trial_is_repeated_even_if_it_was_told_and_another_one_runs(
    make_sampler: Callable[[], BaseSampler],
) -> None:
    study = optuna.create_study(sampler=make_sampler())
    study.optimize(suggest, n_trials=2)
    study.ask()
    dead = study.ask()
    value = suggest(dead)
    kill(study, dead)
    study.tell(dead.number, state=TrialState.FAIL)
    assert suggest(study.ask()) == value


def numbers_of_results(sampler: IndexedSampler, study: optuna.Study) -> list[int]:
    results = sampler._read(study).results
    return [results[index].number for index in sorted(results)]


def test_of_two_results_with_one_index_the_lower_trial_number_counts() -> None:
    """A suspended worker that is declared dead and then continues causes this."""
    study = optuna.create_study(sampler=annealing())
    trials = [study.ask() for _ in range(2)]
    values = [suggest(trial) for trial in trials]
    study.tell(trials[0], values[0])
    twice = study.trials[1]
    proposal = twice.system_attrs[PROPOSAL]
    proposal = {**proposal, "owner": {**proposal["owner"], "trial": 2}}
    study.add_trial(
        optuna.create_trial(
            params=twice.params,
            distributions=twice.distributions,
            value=-1.0,
            system_attrs={PROPOSAL: proposal},
        )
    )
    study.optimize(suggest, n_trials=3)
    sampler = study.sampler
    assert isinstance(sampler, AdaptiveSimulatedAnnealingSampler)
    assert numbers_of_results(sampler, study) == [0, 2, 3, 4, 5]
    dead = study.ask()
    suggest(dead)
    kill(study, dead)
    study.tell(trials[1], values[1])
    assert numbers_of_results(sampler, study) == [0, 1, 3, 4, 5]
    twin_study = copy.deepcopy(study)
    twin_study.sampler = annealing()
    assert suggest(study.ask()) == suggest(twin_study.ask())


@all_samplers
def test_a_sampler_separates_the_studies_of_different_storages(
    make_sampler: Callable[[], BaseSampler],
) -> None:
    shared = make_sampler()
    studies = [optuna.create_study(sampler=shared) for _ in range(2)]
    # Both studies have trials with equal ids.
    studies[0].optimize(suggest, n_trials=3)
    studies[1].enqueue_trial({"x": 0.9, "y": 0.9})
    studies[1].optimize(suggest, n_trials=3)
    trials = [study.ask() for study in studies]
    alone = optuna.create_study(sampler=make_sampler())
    alone.optimize(suggest, n_trials=3)
    assert suggest(trials[0]) == suggest(alone.ask())


def test_a_retry_of_a_trial_that_was_repeated_meanwhile_does_not_count(url: str) -> None:
    storage = RDBStorage(url)
    study = optuna.create_study(storage=storage, sampler=annealing())
    study.optimize(suggest, n_trials=4)
    dead = study.ask()
    suggest(dead)
    kill(study, dead)
    # On its own host, the sampler sees a death at once. Optuna's heartbeat needs its grace period.
    study.optimize(suggest, n_trials=2)
    assert study.trials[4].state == TrialState.FAIL
    RetryHeartbeatStaleTrialCallback()(study, study.trials[4])
    study.optimize(suggest, n_trials=3)

    whole = optuna.create_study(sampler=annealing())
    whole.optimize(suggest, n_trials=8)
    params = completed_params(study)
    # Trial 7 retries trial 4 and equals its repetition, trial 5. All other trials are as usual.
    assert params.pop(6) == params[4]
    assert params == completed_params(whole)
    assert MaxTrialCallback(8).reached(study)
    assert not MaxTrialCallback(9).reached(study)


def test_trials_copied_from_another_study_are_adopted() -> None:
    def run(attrs: dict[str, Any]) -> optuna.Study:
        study = optuna.create_study(
            sampler=AdaptiveSimulatedAnnealingSampler(seed=3, n_trials=30, n_candidates=1)
        )
        study.optimize(suggest, n_trials=25)
        distributions = study.trials[0].distributions
        best = optuna.create_trial(
            params={"x": -0.77, "y": 0.77},
            distributions=distributions,
            value=-100.0,
            system_attrs=attrs,
        )
        study.add_trial(best)
        study.optimize(suggest, n_trials=5)
        return study

    other_study = optuna.create_study(sampler=AdaptiveSimulatedAnnealingSampler(seed=4))
    other_study.optimize(suggest, n_trials=10)
    copied = run(other_study.trials[9].system_attrs)
    assert completed_params(copied) == completed_params(run({}))
    assert abs(copied.trials[-1].params["x"] + 0.77) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("make_sampler", [annealing, greedy, greedy_improving, random_restart])
def test_a_trial_that_never_ends_does_not_slow_later_ones(
    make_sampler: Callable[[], BaseSampler],
) -> None:
    study = optuna.create_study(sampler=make_sampler())
    suggest(study.ask())

    def n_calls_of_twenty_trials() -> int:
        # Unlike times, counts of calls are the same in each run.
        profile = cProfile.Profile()
        profile.runcall(study.optimize, suggest, n_trials=20)
        return sum(entry.callcount for entry in profile.getstats())

    study.optimize(suggest, n_trials=30)
    early = n_calls_of_twenty_trials()
    study.optimize(suggest, n_trials=300)
    assert n_calls_of_twenty_trials() < 1.5 * early


def long_greedy() -> BaseSampler:
    return DeltaStepSampler(deltas=(1e-4,), max_steps=9_000)


def long_greedy_improving() -> BaseSampler:
    return DeltaStepSampler(deltas=(1e-4,), max_steps=9_000, accept="improving")


long_samplers = pytest.mark.parametrize(
    "make_sampler", [annealing, long_greedy, long_greedy_improving, random_restart]
)


@pytest.mark.slow
@long_samplers
def test_a_trial_costs_the_same_in_a_long_study(make_sampler: Callable[[], BaseSampler]) -> None:
    study = optuna.create_study(sampler=make_sampler())
    limits = [MaxTimeCallback(1e9), MaxTrialCallback(10**9), MaxGainCallback(1e9)]

    def cost_of_twenty_trials() -> tuple[int, int]:
        """Return the number of function calls, and the number of calls that list all trials."""
        profile = cProfile.Profile()
        profile.runcall(study.optimize, suggest, n_trials=20, callbacks=limits)
        counts = [(entry.code, entry.callcount) for entry in profile.getstats()]
        listing = InMemoryStorage.get_all_trials.__code__
        n_listed = sum(count for code, count in counts if code is listing)
        # Optuna lists trials once per trial, to find waiting trials.
        return sum(count for _, count in counts), n_listed - 20

    study.optimize(suggest, n_trials=300)
    early, n_listed = cost_of_twenty_trials()
    assert n_listed == 60
    study.add_trials([optuna.create_trial(value=1e9)] * 7_000)
    study.optimize(suggest, n_trials=1, callbacks=limits)
    late, n_listed = cost_of_twenty_trials()
    assert late < 1.3 * early
    assert n_listed == 0


@long_samplers
def test_the_cost_of_an_index_does_not_grow(
    make_sampler: Callable[[], BaseSampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_asked = 0
    sampler = make_sampler()
    study = optuna.create_study(sampler=sampler)
    study.optimize(suggest, n_trials=100)
    assert isinstance(sampler, IndexedSampler)
    is_proposed = Indices.is_proposed

    def counting(self: Indices, index: int) -> bool:
        nonlocal n_asked
        n_asked += 1
        return is_proposed(self, index)

    for kind in (Indices, *Indices.__subclasses__()):
        monkeypatch.setattr(kind, "is_proposed", counting)
    study.optimize(suggest, n_trials=10)
    assert n_asked <= 60


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs `unshare` of util-linux")
def test_a_process_in_a_container_is_not_looked_up_on_the_host() -> None:
    """A container may have the name of its host, but its process ids are different."""
    program = (
        "import optuna; from adnn_optuna.samplers._owners import ownership; "
        "print(*list(ownership(optuna.create_trial(value=0.0)).values())[1:])"
    )
    container = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    ran = subprocess.run(
        [*container, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        pytest.skip(f"no process id namespaces here: {ran.stderr.strip()}")
    study = optuna.create_study(sampler=greedy())
    trial = study.ask()
    host, pid, start_time = ran.stdout.split()
    owner = {"trial": 0, "host": host, "process": int(pid), "start": start_time}
    there = {"sampler": "", "index": 0, "owner": owner}
    study._storage.set_trial_system_attr(trial._trial_id, PROPOSAL, there)
    assert is_alive(study.trials[0]) is None


def test_workers_without_a_seed_agree_on_one(url: str) -> None:
    optuna.create_study(storage=url, study_name="s")

    def ask() -> tuple[optuna.Study, optuna.Trial, float]:
        sampler = AdaptiveSimulatedAnnealingSampler()
        study = optuna.load_study(study_name="s", storage=url, sampler=sampler)
        trial = study.ask()
        return study, trial, suggest(trial)

    first, second = ask(), ask()
    assert first[2] != second[2]
    kill(second[0], second[1])
    assert ask()[2] == second[2]


@pytest.mark.parametrize("pruner", [optuna.pruners.HyperbandPruner(), optuna.pruners.NopPruner()])
def test_a_walk_stops_its_study_with_any_pruner(pruner: optuna.pruners.BasePruner) -> None:
    sampler = DeltaStepSampler(deltas=(0.1,), max_steps=4)
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=20)
    assert len(study.trials) == 5


@all_samplers
def test_trials_with_a_time_zone_are_accepted(make_sampler: Callable[[], BaseSampler]) -> None:
    study = optuna.create_study(sampler=make_sampler())
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    trial = copy.deepcopy(study.trials[1])
    trial.datetime_start = trial.datetime_complete = datetime.now(UTC)
    trial.system_attrs = {}
    study.add_trial(trial)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 7


@all_samplers
def test_global_random_numbers_are_unchanged(make_sampler: Callable[[], BaseSampler]) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]  # noqa: NPY002
    optuna.create_study(sampler=make_sampler()).optimize(suggest, n_trials=5, n_jobs=2)
    after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]  # noqa: NPY002
    assert before == after


@pytest.mark.parametrize("make_sampler", [annealing, greedy, greedy_improving, random_restart])
def test_a_trial_of_an_ended_run_is_repeated(
    make_sampler: Callable[[], BaseSampler], url: str
) -> None:
    """If a notebook's cell runs again, its first run ends, and the cell creates new objects."""

    def study() -> optuna.Study:
        return optuna.create_study(
            storage=url,
            study_name="s",
            sampler=make_sampler(),
            load_if_exists=True,
        )

    def objective(trial: optuna.Trial) -> float:
        value = suggest(trial)
        if trial.number == 2:
            raise SystemExit
        # Another study inside the objective has no effect.
        inner = optuna.create_study(sampler=make_sampler())
        inner.optimize(suggest, n_trials=1)
        return value

    with pytest.raises(SystemExit):
        study().optimize(objective, n_trials=10)
    with run_of_trials(study()):  # A later run sees that the trial is dead.
        assert is_alive(study().trials[2]) is False
    study().optimize(objective, n_trials=3)
    trials = study().trials
    assert trials[2].state == TrialState.FAIL
    assert [index_of(trial) for trial in trials] == [0, 1, 2, 2, 3, 4]
    # If a trial was asked for outside a run, it counts as running until it is told.
    begun = study().ask()
    study().optimize(objective, n_trials=1)
    assert study().trials[begun.number].state == TrialState.RUNNING
    study().tell(begun, 1.0)


@pytest.mark.parametrize(
    "sampler", [DeltaStepSampler, AdaptiveSimulatedAnnealingSampler, RandomRestartSampler]
)
def test_a_waiting_trial_begun_by_two_workers_counts_once(
    sampler: Callable[[], IndexedSampler], url: str
) -> None:
    """In a plain SQLite database, Optuna does not lock trials, so the later worker gets an
    error.
    """
    space = {"x": FloatDistribution(-1, 1)}
    optuna.create_study(storage=url, study_name="s").enqueue_trial({"x": 0.5})
    # Each study has its own connection, as in two processes.
    first, second = (
        optuna.load_study(storage=RDBStorage(url), study_name="s", sampler=sampler())
        for _ in range(2)
    )
    begun: list[optuna.Trial] = []

    def before(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("UPDATE trials") and not begun:
            begun.append(second.ask(space))

    engine = optuna.storages.get_storage(first._storage)._backend.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "before_cursor_execute", before)
    begun.append(first.ask(space))
    assert [trial.number for trial in begun] == [0, 0]
    first.tell(begun[1], 1.0)
    with pytest.raises((ValueError, optuna.exceptions.UpdateFinishedTrialError)):
        second.tell(begun[0], 2.0)
    limit = MaxTrialCallback(4)
    for study in (first, second):
        study.optimize(lambda trial: trial.suggest_float("x", -1, 1), n_trials=1)
    second.optimize(lambda trial: trial.suggest_float("x", -1, 1), callbacks=[limit])
    indices = [trial.system_attrs[PROPOSAL]["index"] for trial in second.trials]
    assert indices == [None, 0, 1, 2]
    assert second.trials[0].value == 1.0
    assert all(trial.state == TrialState.COMPLETE for trial in second.trials)
