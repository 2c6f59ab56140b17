"""A worker is killed after a call of its storage; each call is tested."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import random
import signal
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

import adnn_optuna as adnn
from adnn_optuna._attributes import OWNER, PROPOSAL
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine.arms import Arms
from adnn_optuna.engine.functions import FunctionObjective
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.objectives import Outcome
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.signals import interruptible
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import StudySpec, open_studies
from adnn_optuna.experiments.controls import ARMS
from adnn_optuna.results.study import result_of
from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    RandomRestartSampler,
)
from adnn_optuna.samplers._owners import ownership
from adnn_optuna.samplers._trials import is_done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

X = FloatDistribution(-1, 1)
WRITES = [name for name in dir(RDBStorage) if name.startswith(("create_", "set_", "record_"))]


class Quick(FunctionObjective):
    """An objective with a baseline, like the objective of a network."""

    # Random restarts have indices, but do not learn from values.
    arms = Arms(ARMS, ("random",), "random")

    distributions = {"x": X}  # noqa: RUF012
    baseline_params = {"x": 0.0}  # noqa: RUF012

    def suggest(self, trial: optuna.Trial) -> None:
        trial._suggest("x", X)


def quick(trial: optuna.Trial) -> float:
    return (trial.params["x"] - 0.3) ** 2


def tpe(seed: int, _: int | None) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=2)


def loop_of(
    storage: str | BaseStorage,
    sampler: Any,
    objective: Any = None,
    batch_size: int = 1,
    max_trial: int = 4,
    *,
    stop: threading.Event | None = None,
) -> tuple[Loop, optuna.Study]:
    objective = objective or Quick(quick, StudyDirection.MINIMIZE, seed=3)
    plan = StudySpec(objective, "s", sampler, checked_limits(max_trial=max_trial), batch_size)
    [study] = open_studies([plan], open_storage(storage))
    stop = stop or threading.Event()
    return Loop(study, plan.plan.objective, plan.limits, stop, n_threads=plan.n_threads), study


def search(
    storage: str | BaseStorage, sampler: Any, batch_size: int = 1, max_trial: int = 4
) -> optuna.Study:
    """Search as `adnn_optuna.search` does, with an objective that needs no TensorFlow."""
    run, study = loop_of(storage, sampler, None, batch_size, max_trial)
    run.run()
    return study


def _killing(function: Callable[..., Any], calls: Iterator[int], after: int) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        returned = function(*args, **kwargs)
        if next(calls) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        return returned

    return call


def killed(url: str, work: Callable[[], object], call: str, after: int) -> bool:
    """Return whether a process was killed right after the storage's call with this number."""
    storages: Any = type(open_storage(url)), type(optuna.storages.get_storage(url))
    if (process := os.fork()) == 0:
        calls = count(1)
        for name in WRITES if call == "any write" else [call]:
            for storage in storages:
                setattr(storage, name, _killing(getattr(storage, name), calls, after))
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


def done(study: optuna.Study) -> list[tuple[float, float | None]]:
    return [(trial.params["x"], trial.value) for trial in study.trials if is_done(trial)]


def is_finished(study: optuna.Study) -> bool:
    return all(trial.state.is_finished() for trial in study.trials)


@pytest.mark.parametrize("sampler", [pytest.param(tpe, marks=pytest.mark.slow), "annealing"])
def test_a_trial_that_had_only_begun_is_done_by_the_next_worker(
    sampler: Any, tmp_path: Path
) -> None:
    """Otherwise, the trial would stay RUNNING without an owner, and an enqueued trial would be
    lost.
    """
    url, whole = (f"sqlite:///{tmp_path / name}.db" for name in ("killed", "whole"))
    state, trial = "set_trial_state_values", "create_new_trial"
    # The worker that finds the trial also dies, before and after it ends the trial.
    for write, after in ((state, 1), (trial, 1), (state, 1), (trial, 2)):
        assert killed(url, lambda: search(url, sampler), write, after)
    study = search(url, sampler)
    assert done(study) == done(search(whole, sampler))
    assert is_finished(study)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "batch_size"), [(tpe, 1), ("annealing", 2), ("greedy_improving", 1)]
)
def test_a_kill_after_any_write_leaves_no_trace(
    sampler: Any, batch_size: int, tmp_path: Path
) -> None:
    expected = done(search(f"sqlite:///{tmp_path / 'whole'}.db", sampler, batch_size))
    for after in count(1):
        url = f"sqlite:///{tmp_path / str(after)}.db"
        if not killed(url, lambda url=url: search(url, sampler, batch_size), "any write", after):
            break
        study = search(url, sampler, batch_size)
        assert done(study) == expected, after
        assert is_finished(study), after
    assert after > 20


def test_what_ctrl_c_interrupts_is_done_by_the_next_run() -> None:
    """An enqueued trial is repeated, too, such as a baseline that the sampler does not propose."""

    def interrupts(_: optuna.Trial) -> float:
        raise KeyboardInterrupt

    storage, objective = InMemoryStorage(), Quick(interrupts, StudyDirection.MINIMIZE, 3)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            loop_of(storage, "random", objective, max_trial=2)[0].run()
    study = search(storage, "random", max_trial=2)
    assert done(study)[0] == (0.0, quick(study.trials[3]))
    assert study.trials[3].system_attrs["failed_trial"] == 0
    assert study.trials[3].system_attrs["retry_history"] == [0, 1, 2]
    assert is_finished(study)


def test_a_factory_may_wrap_a_sampler_of_ours() -> None:
    """Both samplers assign indices, but only the inner sampler's indices are stored."""

    def fixed(seed: int, _: int | None) -> optuna.samplers.BaseSampler:
        inner = AdaptiveSimulatedAnnealingSampler(seed=seed)
        return optuna.samplers.PartialFixedSampler({"y": 0.0}, inner)

    run, study = loop_of(InMemoryStorage(), fixed, max_trial=6)
    run.run()
    assert len(dict(done(study))) == 6


def test_an_objective_can_stop_its_study_as_in_optimize() -> None:
    def stops(trial: optuna.Trial) -> float:
        trial.study.stop()
        return 0.0

    objective = Quick(stops, StudyDirection.MINIMIZE, 3)
    run, study = loop_of(InMemoryStorage(), "annealing", objective)
    run.run()
    assert (len(done(study)), read_record(study).stop_reason) == (1, "stopped")
    study.optimize(lambda _: 0.0, n_trials=1)  # The study is no longer in a loop.


def test_a_trial_that_a_limit_cut_off_is_repeated_when_the_study_resumes() -> None:
    class CutOff(Quick):
        def train(self, trials: Sequence[optuna.Trial], **_: Any) -> list[Outcome]:
            if trials[0].number:
                raise KeyboardInterrupt
            return [Outcome("timeout")]

    storage = InMemoryStorage()
    run, study = loop_of(storage, "random", CutOff(quick, StudyDirection.MINIMIZE, 3), max_trial=2)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert study.trials[0].state == TrialState.PRUNED
    study = search(storage, "random", max_trial=2)
    assert done(study)[0] == (0.0, quick(study.trials[2]))
    assert is_finished(study)


def test_workers_that_begin_at_the_same_moment_enqueue_one_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, enqueue = InMemoryStorage(), optuna.Study.enqueue_trial

    def late(self: optuna.Study, *args: Any) -> None:
        monkeypatch.undo()
        loop_of(storage, "random")
        enqueue(self, *args)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", late)
    loop_of(storage, "random")
    study = search(storage, "random", max_trial=2)
    assert [x for x, _ in done(study)].count(0.0) == 1
    assert is_finished(study)


def test_a_dead_workers_enqueued_trial_is_done_by_any_worker_that_finds_it() -> None:
    """The sampler may also find it, as after each trial of a walk."""

    def beside_others(trial: optuna.Trial) -> float:
        if trial.number == 1:
            study, storage = trial.study, trial.study._storage
            study.enqueue_trial({"x": 0.7})
            dead_trial = study.trials[2]
            storage.set_trial_state_values(dead_trial._trial_id, TrialState.RUNNING)
            owner = {**ownership(dead_trial), "run": "died"}
            storage.set_trial_system_attr(dead_trial._trial_id, OWNER, owner)
        return quick(trial)

    objective = Quick(beside_others, StudyDirection.MINIMIZE, 3)
    run, study = loop_of(InMemoryStorage(), "greedy", objective)
    run.run()
    assert 0.7 in [x for x, _ in done(study)]


def test_a_trial_that_was_told_meanwhile_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One worker has read the trial as running. Meanwhile, the trial's worker tells it and
    ends.
    """
    run, study = loop_of(InMemoryStorage(), optuna.samplers.RandomSampler(seed=0), max_trial=2)
    study.enqueue_trial({"x": 0.7})
    begun = study.ask({"x": X})
    owner = {**ownership(begun), "run": "died"}
    study._storage.set_trial_system_attr(begun._trial_id, OWNER, owner)
    read = InMemoryStorage.get_all_trials

    def told_meanwhile(self: InMemoryStorage, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        trials = copy.deepcopy(read(self, *args, **kwargs))
        if trials[0].state == TrialState.RUNNING:
            study.tell(0, 1.0)
        return trials

    monkeypatch.setattr(InMemoryStorage, "get_all_trials", told_meanwhile)
    run.run()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert [x for x, _ in done(study)].count(0.7) == 1


def begins_later(
    monkeypatch: pytest.MonkeyPatch, begin: Callable[[], object], *, after_reads: int = 1
) -> None:
    """Let another worker begin trials right after this number of reads of all trials."""
    read, reads = InMemoryStorage.get_all_trials, count(1)

    def late(self: InMemoryStorage, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        trials = copy.deepcopy(read(self, *args, **kwargs))
        if next(reads) == 1 + after_reads:  # The first read comes before the run begins.
            thread = threading.Thread(target=begin)
            thread.start()
            thread.join()
        return trials

    monkeypatch.setattr(InMemoryStorage, "get_all_trials", late)


def test_a_study_is_not_exhausted_while_other_workers_run_its_last_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = InMemoryStorage()
    run, study = loop_of(storage, DeltaStepSampler(deltas=[0.1], max_steps=1))
    other_workers = [
        loop_of(storage, DeltaStepSampler(deltas=[0.1], max_steps=1))[1] for _ in range(2)
    ]
    waits = []

    def end_others(_: float) -> None:
        waits.append([trial.state for trial in study.get_trials(deepcopy=False)])
        for number in range(2):
            study.tell(number, 0.0, skip_if_finished=True)

    begins_later(
        monkeypatch, lambda: [other_worker.ask({"x": X}) for other_worker in other_workers]
    )
    monkeypatch.setattr("adnn_optuna.engine.loop.time.sleep", end_others)
    run.run()
    # This worker had also begun a trial, and gave it back.
    assert waits[0] == [TrialState.RUNNING, TrialState.RUNNING, TrialState.FAIL]
    assert read_record(study).stop_reason == "exhausted"
    assert len(done(study)) == 2


def test_a_trial_begun_elsewhere_counts_even_if_its_state_was_read_too_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class StateReadFirst(InMemoryStorage):
        def get_all_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
            trials = copy.deepcopy(super().get_all_trials(*args, **kwargs))
            for trial in trials[:1]:
                if trial.state == TrialState.RUNNING:
                    trial.state = TrialState.WAITING
            return trials

    sampler = optuna.samplers.RandomSampler(seed=0)
    run, study = loop_of(StateReadFirst(), sampler, max_trial=1)
    begun_trial = study.ask({"x": X})
    owner = {**ownership(begun_trial), "host": "elsewhere"}
    study._storage.set_trial_system_attr(begun_trial._trial_id, OWNER, owner)
    monkeypatch.setattr(
        "adnn_optuna.engine.loop.time.sleep",
        lambda _: study.tell(0, 0.0, skip_if_finished=True),
    )
    given_back = []
    monkeypatch.setattr(
        "adnn_optuna.engine.loop.mark",
        lambda trial, _: (given_back.append(trial.number), study.tell(0, 0.0)),
    )
    run.run()
    assert given_back == [1]
    assert [number for number, t in enumerate(study.trials) if is_done(t)] == [0]


def test_an_enqueued_trial_counts_before_it_has_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = InMemoryStorage()
    run, study = loop_of(storage, "random_restart", max_trial=1)

    def begin() -> None:
        study.enqueue_trial({"x": 0.5})
        study.ask()

    begins_later(monkeypatch, begin)
    monkeypatch.setattr(
        "adnn_optuna.engine.loop.time.sleep",
        lambda _: study.tell(0, 0.0, skip_if_finished=True),
    )
    run.run()
    assert [number for number, t in enumerate(study.trials) if is_done(t)] == [0]


def test_a_trial_that_two_workers_retry_is_done_once() -> None:
    run, study = loop_of(InMemoryStorage(), "random_restart")
    study.enqueue_trial({"x": 0.5})
    study.tell(study.ask(), state=TrialState.FAIL)
    retry = {"fixed_params": {"x": 0.5}, "failed_trial": 0, "retry_history": [0]}
    for _ in range(2):
        study.add_trial(optuna.create_trial(state=TrialState.WAITING, system_attrs=retry))
    run.run()
    assert [x for x, _ in done(study)].count(0.5) == 1
    assert is_finished(study)


def test_a_retry_copied_from_another_study_is_done() -> None:
    run, study = loop_of(InMemoryStorage(), optuna.samplers.RandomSampler(seed=0))
    copied = optuna.create_trial(
        state=TrialState.WAITING,
        params={"x": 0.5},
        distributions={"x": X},
        system_attrs={"failed_trial": 7, "retry_history": [7]},
    )
    study.add_trial(copied)
    run.run()
    assert 0.5 in [x for x, _ in done(study)]


def in_three(trial: optuna.Trial, dies_after: str = "", numbers: Sequence[int] = ()) -> float:
    values = []
    for name in "wxyz":
        values.append(trial.suggest_float(name, -1, 1))
        if name == dies_after and trial.number in numbers:
            os.kill(os.getpid(), signal.SIGKILL)
    return sum(values)


@pytest.mark.parametrize(
    ("sampler", "dies_after"),
    [
        ("tpe", "w"),
        pytest.param("tpe", "y", marks=pytest.mark.slow),
        pytest.param("annealing", "w", marks=pytest.mark.slow),
        ("annealing", "y"),
    ],
)
def test_a_partly_enqueued_trial_draws_the_same_after_a_death(
    sampler: str, dies_after: str, tmp_path: Path
) -> None:
    completed = []
    for name, numbers in (("whole", ()), ("killed", (2,))):
        url = f"sqlite:///{tmp_path / name}.db"
        search = functools.partial(adnn.search, storage=url, study_name="s", direction="minimize")
        study = search(in_three, sampler, max_trial=2).study
        study.enqueue_trial({"x": 0.5})
        dying = functools.partial(in_three, dies_after=dies_after, numbers=numbers)
        if numbers and (process := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                search(dying, sampler, max_trial=6, reuse=True)
            os._exit(0)
        if numbers:
            assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
        trials = search(in_three, sampler, max_trial=6, reuse=True).study.trials
        completed.append([t.params for t in trials if t.state == TrialState.COMPLETE])
    assert completed[0][2]["x"] == 0.5
    assert completed[0] == completed[1]


def test_an_error_of_after_trial_is_raised() -> None:
    class Failing(optuna.samplers.RandomSampler):
        def after_trial(self, *_: Any) -> None:
            raise ValueError("Constraint values cannot be NaN.")

    run, study = loop_of(InMemoryStorage(), Failing(seed=0))
    with pytest.raises(ValueError, match="cannot be NaN"):
        run.run()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def index_of(trial: Any) -> int:
    index: int = trial.system_attrs[PROPOSAL]["index"]
    return index


@pytest.mark.parametrize(("index", "kept"), [(0, []), (1, [0])])
def test_the_last_trial_has_the_smallest_index(
    index: int, kept: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of two new trials may have given way to the other one."""
    run, study = loop_of(InMemoryStorage(), "random_restart", max_trial=1)

    def begin() -> None:
        study.ask({"x": X})
        [first_trial] = study.trials
        proposal = {**first_trial.system_attrs[PROPOSAL], "index": index}
        study._storage.set_trial_system_attr(first_trial._trial_id, PROPOSAL, proposal)

    begins_later(monkeypatch, begin)
    monkeypatch.setattr(
        "adnn_optuna.engine.loop.time.sleep",
        lambda _: study.tell(0, state=TrialState.PRUNED, skip_if_finished=True),
    )
    run.run()
    done_here = [trial for trial in study.trials[1:] if is_done(trial)]
    assert [index_of(trial) for trial in done_here] == kept


def begin(work: Callable[[], object]) -> int:
    """Work in another process, in which Ctrl-C and `SystemExit` end the work."""
    if (process := os.fork()) == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            work()
        os._exit(0)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random_restart", "annealing", "greedy_improving"])
def test_each_index_is_done_once_and_none_is_missing(sampler: Any, tmp_path: Path) -> None:
    """Ctrl-C, kills and `SystemExit` end workers. Others replace them, up to the limit."""
    chance, n_trials, statuses = random.Random(3), 12, set()

    def quits(trial: optuna.Trial) -> float:
        if random.random() < 0.1:
            raise SystemExit
        return quick(trial)

    for url in (f"sqlite:///{tmp_path}/{number}.db" for number in range(6)):
        objective = Quick(quits, StudyDirection.MINIMIZE, seed=3)

        def work(url: str = url, objective: Any = objective) -> None:
            random.seed()
            with interruptible() as stop:
                loop_of(url, sampler, objective, max_trial=n_trials, stop=stop)[0].run()

        workers = [begin(work) for _ in range(6)]
        for how in (signal.SIGINT, signal.SIGKILL, signal.SIGINT):
            time.sleep(chance.uniform(0.05, 0.4))
            os.kill(ended := workers.pop(0), how)
            statuses.add(os.waitpid(ended, 0)[1])
            workers.append(begin(work))
        for worker in workers:
            os.waitpid(worker, 0)
        study = search(url, sampler, max_trial=n_trials)
        finished = filter(is_done, study.trials)
        assert sorted(map(index_of, finished)) == [*range(n_trials)], url
        assert is_finished(study)
    assert statuses == {0, signal.SIGKILL}


def test_a_seed_stays_with_its_index_after_any_death(tmp_path: Path) -> None:
    url, begun = f"sqlite:///{tmp_path}/s.db", tmp_path / "begun"

    def seeds(of: Callable[[int], object], url: str) -> dict[int, tuple[float, int]]:
        def function(trial: optuna.Trial, seed: int) -> float:
            trial.set_user_attr("seed", seed)
            of(trial.number)
            return trial.suggest_float("x", -1, 1)

        objective = FunctionObjective(function, StudyDirection.MINIMIZE, seed=3)
        run, study = loop_of(url, "random", objective)
        run.run()
        done = filter(is_done, study.trials)
        return {index_of(t): (t.params["x"], t.user_attrs["seed"]) for t in done}

    def wait(number: int) -> None:
        if number == 1:
            begun.touch()
            time.sleep(60)

    waiting_process = begin(lambda: seeds(wait, url))
    while not begun.exists():
        time.sleep(0.01)

    def kill(number: int) -> None:
        # Here, the index of the waiting worker becomes free while this worker runs another index.
        if number == 2:
            os.kill(waiting_process, signal.SIGKILL)
            os.waitpid(waiting_process, 0)

    seed_by_index = seeds(kill, url)
    assert seed_by_index == seeds(lambda _: None, f"sqlite:///{tmp_path}/whole.db")
    assert len({seed for _, seed in seed_by_index.values()}) == 4


def optimize(url: str) -> None:
    sampler = RandomRestartSampler(seed=0)
    study = optuna.load_study(study_name="s", storage=url, sampler=sampler)
    study.optimize(lambda trial: trial.suggest_int("restart", 0, 9), n_trials=1)


def test_in_optimize_a_dead_workers_trial_is_ended_if_its_owner_is_known_or_else_named(
    url: str,
) -> None:
    study = optuna.create_study(study_name="s", storage=url)
    assert killed(url, lambda: optimize(url), "set_trial_system_attr", 1)
    optimize(url)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "RUNNING" not in str(result_of(read_record(study)))
    for _ in range(2):
        assert killed(url, lambda: optimize(url), "create_new_trial", 1)
    notes = result_of(read_record(study)).document().notes
    assert any(note.startswith("Trials 2 and 3 are RUNNING") for note in notes)
    study.tell(2, state=TrialState.FAIL)  # The note gives this advice.
    notes = result_of(read_record(study)).document().notes
    assert any(note.startswith("Trial 3 is RUNNING") for note in notes)
