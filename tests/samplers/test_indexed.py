"""The protocol that assigns indices to trials, tested with workers that die at any call."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial
from simulated_workers import Workers

from adnn_optuna._attributes import ENDED, PROPOSAL
from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    RandomRestartSampler,
    _trials,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "annealing": lambda: AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=20),
    "always": lambda: DeltaStepSampler(deltas=(0.01, 0.02), max_steps=20),
    "improving": lambda: DeltaStepSampler(deltas=(0.1, 0.2), max_steps=20, accept="improving"),
    "random_restart": lambda: RandomRestartSampler(seed=0),
}
N_TRIALS = 12


def value_of(x: float, y: float) -> float:
    return (x - 0.3) ** 2 + (y + 0.2) ** 2


def index_of(trial: FrozenTrial) -> int | None:
    proposal = trial.system_attrs.get(PROPOSAL)
    return proposal["index"] if proposal and proposal["owner"]["trial"] == trial.number else None


def is_result(trial: FrozenTrial) -> bool:
    if (ended := trial.system_attrs.get(ENDED)) is not None:
        return ended != "interrupted"
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def results_of(study: optuna.Study) -> list[FrozenTrial]:
    return [t for t in study.get_trials(deepcopy=False) if is_result(t)]


def work(study: optuna.Study, ends: dict[int, str], batch_size: int) -> None:
    """Run trials until enough are done. Trials whose index is in ``ends`` have no value."""
    while n_done(study) < N_TRIALS:
        trials = [study.ask() for _ in range(batch_size - n_done(study) % batch_size)]
        for trial in trials:
            trial.suggest_int("restart", 0, 1000)
            trial.suggest_float("x", -1, 1)
            trial.suggest_float("y", -1, 1)
        for trial in trials:
            end_trial(study, trial, ends)


def n_done(study: optuna.Study) -> int:
    return len([t for t in results_of(study) if index_of(t) is not None])


def end_trial(study: optuna.Study, trial: optuna.Trial, ends: dict[int, str]) -> None:
    value = value_of(trial.params["x"], trial.params["y"]) + 1e-3 * trial.params["restart"]
    index = index_of(study._storage.get_trial(trial._trial_id))
    end = ends.get(-1 if index is None else index, "complete")
    if end == "interrupted" and trial.number % 2:
        study._storage.set_trial_system_attr(trial._trial_id, ENDED, "interrupted")
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    elif end == "pruned":
        study.tell(trial, state=TrialState.PRUNED)
    elif end == "failed":
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def retry(study: optuna.Study, number: int) -> None:
    """Enqueue a trial again with all its attributes, as Optuna does for retries."""
    trial = study.get_trials(deepcopy=False)[number]
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            system_attrs={
                **trial.system_attrs,
                "failed_trial": trial.number,
                "fixed_params": trial.params,
            },
        )
    )


def run(
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    sampler: str,
    n_workers: int,
    *,
    p_death: float = 0.0,
    p_enqueue: float = 0.0,
    p_retry: float = 0.0,
    ends: dict[int, str] | None = None,
    batch_size: int = 1,
) -> Workers:
    rng = random.Random(seed)
    monkeypatch.setattr(secrets, "choice", rng.choice)  # A seed that fails can be repeated.
    # Runs with an odd seed read trials one by one, as in a long study.
    monkeypatch.setattr(_trials, "_LISTED_MEANWHILE", 1 if seed % 2 else 2_500)
    workers = Workers(
        monkeypatch, SAMPLERS[sampler], lambda study: work(study, ends or {}, batch_size)
    )
    for _ in range(n_workers):
        workers.start()
    try:
        _schedule(workers, rng, p_death, p_enqueue, p_retry)
    finally:
        workers.close()
    return workers


def _schedule(
    workers: Workers, rng: random.Random, p_death: float, p_enqueue: float, p_retry: float
) -> None:
    for _ in range(20_000):
        if not workers.alive:
            return
        process_id = rng.choice(sorted(workers.alive))
        chance = rng.random()
        if chance < p_death:
            workers.kill(process_id)
            workers.start()
        elif chance < p_death + p_enqueue:
            workers.study.enqueue_trial({"x": rng.uniform(-1, 1)})
        elif chance < p_death + p_enqueue + p_retry:
            failed = [t.number for t in workers.study.trials if t.state == TrialState.FAIL]
            if failed:
                retry(workers.study, rng.choice(failed))
        else:
            workers.go_on(process_id)
        _check_holders(workers)
    pytest.fail("It does not end.")


def _check_holders(workers: Workers) -> None:
    """Check that no two live workers train the same index."""
    trained = Counter(
        index
        for trial in workers.storage.get_all_trials(workers.study._study_id, deepcopy=False)
        if (index := index_of(trial)) is not None
        if (trial.state == TrialState.RUNNING and trial.params) or is_result(trial)
        if trial.state.is_finished() or _is_live(workers, trial)
    )
    assert not [index for index, count in trained.items() if count > 1]


def _is_live(workers: Workers, trial: FrozenTrial) -> bool:
    return trial.system_attrs[PROPOSAL]["owner"]["process"] in workers.alive


def outcome(study: optuna.Study) -> dict[int, tuple[dict[str, Any], float | None]]:
    done = [(index_of(trial), trial) for trial in results_of(study)]
    return {index: (trial.params, trial.value) for index, trial in done if index is not None}


common = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("sampler", SAMPLERS)
@common
@given(seed=st.integers(0, 2**32), n_workers=st.integers(2, 5))
def test_no_index_is_kept_by_two_live_workers(
    monkeypatch: pytest.MonkeyPatch, sampler: str, seed: int, n_workers: int
) -> None:
    ends = {2: "pruned", 3: "failed", 4: "interrupted", 7: "pruned"}
    study = run(
        monkeypatch,
        seed,
        sampler,
        n_workers,
        p_death=0.02,
        p_enqueue=0.01,
        p_retry=0.01,
        ends=ends,
    ).study
    indices = [index for t in results_of(study) if (index := index_of(t)) is not None]
    assert len(set(indices)) == len(indices) >= N_TRIALS
    # A live worker may hold a missing index, or have given way to others. A worker that died
    # before it stored its owner counts as a live worker.
    running = [t for t in study.trials if t.state == TrialState.RUNNING]
    assert max(indices) < len(indices) + n_workers + sum(index_of(t) is None for t in running)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_index_is_kept_by_two_of_many_workers_that_die_often(
    monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    for seed in range(200):
        study = run(monkeypatch, seed, sampler, 6, p_death=0.05, p_enqueue=0.01).study
        indices = [index for t in results_of(study) if (index := index_of(t)) is not None]
        assert len(set(indices)) == len(indices) >= N_TRIALS


@pytest.mark.parametrize(
    "sampler",
    ["always", *(pytest.param(s, marks=pytest.mark.slow) for s in SAMPLERS if s != "always")],
)
@common
@given(
    batch_size=st.sampled_from([1, 4]),
    seed=st.integers(0, 2**32),
    p_death=st.sampled_from([0.02, 0.05]),
)
def test_a_worker_killed_at_any_call_changes_no_completed_trial(
    monkeypatch: pytest.MonkeyPatch, sampler: str, batch_size: int, seed: int, p_death: float
) -> None:
    options: dict[str, Any] = {"ends": {2: "pruned", 3: "failed"}, "batch_size": batch_size}
    disturbed = run(monkeypatch, seed, sampler, 1, p_death=p_death, **options).study
    undisturbed = run(monkeypatch, seed, sampler, 1, **options).study
    assert outcome(disturbed) == outcome(undisturbed)


@pytest.mark.parametrize("sampler", ["annealing", "improving"])
@common
@given(seed=st.integers(0, 2**32), n_workers=st.integers(2, 5))
def test_an_index_is_always_proposed_with_the_same_parameters(
    monkeypatch: pytest.MonkeyPatch, sampler: str, seed: int, n_workers: int
) -> None:
    study = run(monkeypatch, seed, sampler, n_workers, p_death=0.03, p_enqueue=0.01).study
    assert all(len(set(points)) == 1 for points in proposed(study).values())


def proposed(study: optuna.Study) -> dict[int, list[tuple[float, float]]]:
    points: dict[int, list[tuple[float, float]]] = {}
    for trial in study.trials:
        index = index_of(trial)
        if index is not None and "y" in trial.params:
            points.setdefault(index, []).append((trial.params["x"], trial.params["y"]))
    return points


ASK, WRITE = "create_new_trial", "set_trial_system_attr"


def propose(workers: Workers, process_id: int) -> None:
    workers.go_on_to(process_id, "set_trial_param")
    workers.go_on_to(process_id, "set_trial_state_values")  # The value is stored next.


def test_a_slow_worker_repeats_the_proposal_of_a_quick_one_that_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers = annealing_workers(monkeypatch)
    first, slow, quick = (workers.start() for _ in range(3))
    propose(workers, first)
    workers.go_on_to(slow, WRITE)
    workers.go_on_to(first, ASK)  # Only the quick worker sees the value.
    propose(workers, quick)
    workers.kill(quick)
    propose(workers, slow)
    points = proposed(workers.study)[1]
    workers.close()
    assert len(points) == 2
    assert points[0] == points[1]


def test_a_worker_that_died_before_its_second_look_proposed_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers = annealing_workers(monkeypatch)
    first, slow, quick = (workers.start() for _ in range(3))
    propose(workers, first)
    workers.go_on_to(slow, ASK)
    workers.go_on(slow)  # The slow worker's lower trial number must not matter.
    workers.go_on_to(quick, WRITE)
    workers.go_on_to(first, ASK)  # Only the slow worker sees the value.
    workers.go_on_to(slow, WRITE)
    propose(workers, quick)
    workers.go_on(slow)
    workers.kill(slow)
    workers.kill(quick)
    propose(workers, workers.start())
    points = proposed(workers.study)[1]
    workers.close()
    assert len(points) == 2
    assert points[0] == points[1]


def annealing_workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    return Workers(monkeypatch, SAMPLERS["annealing"], lambda study: work(study, {}, batch_size=1))


def test_workers_in_lockstep_give_way_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(
        monkeypatch, SAMPLERS["random_restart"], lambda study: work(study, {}, batch_size=1)
    )
    for _ in range(4):
        workers.start()
    try:
        for _ in range(3000):
            for process_id in sorted(workers.alive):
                workers.go_on(process_id)
        assert not workers.alive
    finally:
        workers.close()


@pytest.mark.parametrize("sampler", ["always", "random_restart"])
@common
@given(seed=st.integers(0, 2**32), n_workers=st.integers(2, 5))
def test_independent_trials_are_the_same_with_any_number_of_workers(
    monkeypatch: pytest.MonkeyPatch, sampler: str, seed: int, n_workers: int
) -> None:
    disturbed = outcome(run(monkeypatch, seed, sampler, n_workers, p_death=0.02).study)
    undisturbed = outcome(run(monkeypatch, seed, sampler, 1).study)
    for index in disturbed.keys() & undisturbed.keys():
        assert disturbed[index] == undisturbed[index]
    assert len(disturbed.keys() & undisturbed.keys()) >= N_TRIALS - n_workers


def test_calls_per_trial_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = run(monkeypatch, 0, "annealing", 1)
    n_calls, n_trials = workers.storage.n_calls, len(workers.study.trials)
    # A trial needs two reads and one write. Study.ask, Study.tell and the loop above need the
    # rest.
    assert n_calls["set_trial_system_attr"] == n_trials
    assert n_calls["get_all_trials"] <= 5 * n_trials + 4
