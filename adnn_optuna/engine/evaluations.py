"""Evaluations that findings ask for, each made once by whichever worker, as trials of a study."""

import contextlib
import dataclasses
import hashlib
import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from contextvars import copy_context
from typing import Any, NamedTuple, TypeVar

import numpy as np
import optuna
from optuna.distributions import IntDistribution
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import ELAPSED, ENDED, EVALUATED, OWNER, read_study
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna.callbacks import MaxTimeCallback, is_done
from adnn_optuna.engine.outcomes import number
from adnn_optuna.engine.progress import Bar, progress_bar
from adnn_optuna.engine.signals import heartbeats, interruptible, without_warnings
from adnn_optuna.engine.storages import open_storage, patiently
from adnn_optuna.engine.studies import check_study_name, open_declared
from adnn_optuna.samplers import _owners
from adnn_optuna.samplers._trials import TrialReader

Evaluation = tuple[int, ...]
"""What is evaluated: numbers below 2^31, such as those of a trial and a seed."""


class Measured(NamedTuple):
    """The value of an evaluation, with what is stored besides: its trial's system attributes."""

    value: float
    attrs: Mapping[str, Any]


class CutOffError(Exception):
    """An evaluation was cut off by the limit of time: it counts for nothing, but for its time."""


_SECONDS_BETWEEN_LOOKS = 0.1
_NUMBERS = IntDistribution(0, 2**31 - 1)


@dataclasses.dataclass
class Findings:
    """What is known of something by its evaluations so far.

    Args:
        evaluations: The values of those that were made. NaN: it came to no value.
        study_name: The study that they are about, or that holds them.

    Attributes:
        missing: Those to be made next, all independent of each other; none at the end.
        n_evaluations: How many there are to be in all, at the most.
    """

    evaluations: Mapping[Evaluation, float] = dataclasses.field(repr=False)
    study_name: str
    missing: list[Evaluation] = dataclasses.field(init=False, repr=False, compare=False)
    n_evaluations: int = dataclasses.field(init=False, repr=False, compare=False)


F = TypeVar("F", bound=Findings)


def fresh_seeds(of: str, role: str, count: int) -> tuple[int, ...]:
    """Return seeds below 2^31, by which nothing was chosen; a larger count only adds some.

    They follow from a text, so they are none of the small ones that people use. Those to choose
    by are even and those to confirm by odd, so no seed does both.
    """
    data = f"{of} {role}".encode()
    words = np.frombuffer(hashlib.shake_128(data).digest(4 * count), dtype="<u4")
    return tuple(int(word) // 4 * 2 + (role == "confirm") for word in words)


def seeds_to_confirm(experiment: Any, params: Mapping[str, Any], count: int) -> tuple[int, ...]:
    """Return the fresh seeds that confirm parameters of an experiment, given as JSON holds it."""
    of = json.dumps([experiment, dict(params)], sort_keys=True, default=str)
    return fresh_seeds(of, "confirm", count)


def open_evaluations(
    storage: str | BaseStorage | None, name: str, direction: StudyDirection, evaluated: Any
) -> optuna.Study:
    """Create or load the study of evaluations; ``evaluated`` says of what, as JSON holds it."""
    check_study_name(name)
    study = open_declared(open_storage(storage), name, direction, EVALUATED, evaluated)
    known = {"evaluated": read_study(study)[0].get(EVALUATED)}
    if differences := config_differences(known, {"evaluated": evaluated}):
        raise WrongValueError(
            f"The study {name!r} is a search or a comparison, or holds evaluations of something "
            f"else ({in_words(differences)}); delete it, or give another name or storage."
        )
    return study


def make_evaluations(
    findings_of: Callable[[Mapping[Evaluation, float]], F],
    study: optuna.Study,
    names: Sequence[str],
    evaluate: Callable[..., float | Measured],
    *,
    stop: threading.Event | None = None,
    n_jobs: int = 1,
    max_time: float | None = None,
    show_progress_bar: bool = False,
) -> F:
    """Make the evaluations that findings ask for, and return what is found then.

    None is made twice: the same call goes on where one ended, and any number of processes may
    work together. ``names`` are what the numbers of an evaluation mean. ``stop`` is set when those
    under way are to end, :obj:`None` if they do not heed it. After ``max_time`` seconds, over all
    runs, no more begin; ``evaluate`` may raise :class:`CutOffError` then.
    """
    # An evaluation that heeds no event is interrupted wherever it is.
    until_stopped = contextlib.nullcontext() if stop is None else interruptible(stop)
    limit = MaxTimeCallback(1e9 if max_time is None else max_time)  # Thirty years are none.
    interval, stop = _owners.heartbeat_interval(study), stop or threading.Event()
    worker = _Worker(findings_of, study, names, evaluate, stop, limit, interval)
    shown: Any = {"show": show_progress_bar, "unit": "evaluation", "desc": study.study_name}
    with (
        until_stopped,
        progress_bar(**shown) as bar,
        _owners.run_of_trials(study),
        heartbeats(study._storage, interval, worker.begun),
        futures.ThreadPoolExecutor(n_jobs, "evaluations") as threads,
    ):
        others = [threads.submit(copy_context().run, worker.work) for _ in range(n_jobs - 1)]
        # In the thread that Ctrl-C interrupts; so no other one waits for the bar's lock.
        worker.work(bar)
        for other in others:
            other.result()
    patiently(worker.reader.read, study)
    return findings_of(made_evaluations(study, names, [*worker.reader.trials.values()]))


def made_evaluations(
    study: optuna.Study, names: Sequence[str], trials: Sequence[FrozenTrial] | None = None
) -> dict[Evaluation, float]:
    """Return what trials tell, all by default; of two of one evaluation, the first counts."""
    values: dict[Evaluation, float] = {}
    for trial in filter(is_done, study.get_trials(deepcopy=False) if trials is None else trials):
        value = math.nan if trial.value is None else trial.value
        values.setdefault(evaluation_of(trial, names), value)
    return values


def evaluation_of(trial: FrozenTrial, names: Sequence[str]) -> Evaluation:
    """Return which evaluation a trial is of."""
    return tuple(trial.params[name] for name in names)


@dataclasses.dataclass
class _Worker:
    """Makes evaluations, alone or beside others in any process.

    An evaluation is a trial that is created RUNNING, with parameters that say which one it is, and
    with its owner and number. Of two workers that begin one at the same moment, maybe the same,
    the later one gets another number, and gives its own up.
    """

    findings_of: Callable[[Mapping[Evaluation, float]], Findings]
    study: optuna.Study
    names: Sequence[str]
    evaluate: Callable[..., float | Measured]
    stop: threading.Event
    limit: MaxTimeCallback
    interval: int | None
    # The ids of the trials under way here.
    begun: set[int] = dataclasses.field(default_factory=set)
    # Of the study, also while a cache shows trials that were deleted.
    reader: TrialReader = dataclasses.field(default_factory=TrialReader)
    # Held to look and to begin, one thread at a time.
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def work(self, bar: Bar | None = None) -> None:
        """Make evaluations, also those of the dead, until none is left or time is up."""
        try:
            while not self.stop.is_set():
                with self._lock:
                    trials, missing = patiently(self._look, bar)
                    if not missing:  # Those that were begun are made.
                        return
                    trial = patiently(self._begin, trials, missing)
                if trial is None:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                else:
                    self._make(trial)
        except BaseException:
            self.stop.set()
            raise

    def _look(self, bar: Bar | None) -> tuple[list[FrozenTrial], list[Evaluation]]:
        """Return the trials, none RUNNING that nobody runs, and what is to be made next."""
        if self.interval is not None:
            with without_warnings():  # Of workers elsewhere, nothing else tells that they died.
                optuna.storages.fail_stale_trials(self.study)
        self.reader.read(self.study)
        running = [t for t in self.reader.unfinished.values() if t.state == TrialState.RUNNING]
        for trial in (t for t in running if t._trial_id not in self.begun):
            # One of our own was begun in vain; one whose number is not its owner's is given up.
            is_nobodys = _owners.owner_of(trial) is None or _owners.is_own(trial)
            if is_nobodys or _owners.is_alive(trial) is False:
                _owners.end_trial(self.study, trial)
        self.reader.read(self.study)
        trials = [*self.reader.trials.values()]
        findings = self.findings_of(made_evaluations(self.study, self.names, trials))
        if bar is not None:
            bar.total = findings.n_evaluations
            bar.update(len(findings.evaluations) - bar.n)
        return trials, [] if self.limit.reached(self.study) else findings.missing

    def _begin(self, trials: list[FrozenTrial], missing: list[Evaluation]) -> FrozenTrial | None:
        """Begin one of the missing evaluations, if there is one to begin now."""
        running = [t for t in trials if t.state == TrialState.RUNNING]
        begun = {evaluation_of(trial, self.names) for trial in running}
        free = [evaluation for evaluation in missing if evaluation not in begun]
        if not free:
            return None
        # Not the same as others, who begin at the same moment.
        evaluation = secrets.choice(free[: len(begun) + 1])
        template = optuna.create_trial(
            state=TrialState.RUNNING,
            params=dict(zip(self.names, evaluation, strict=True)),
            distributions=dict.fromkeys(self.names, _NUMBERS),
        )
        # Who owns a trial is told by its number, which it gets unless others begin one now. Behind
        # the newest trial, as some may have been deleted.
        newest = self.reader.ids[-1:]
        template.number = 1 + max((self.reader.trials[i].number for i in newest), default=-1)
        template.system_attrs[OWNER] = _owners.ownership(template)
        storage: Any = self.study._storage
        trial_id = storage.create_new_trial(self.study._study_id, template)
        trial: FrozenTrial = storage.get_trial(trial_id)
        if _owners.owner_of(trial) is None:
            _owners.end_trial(self.study, trial)
            return None
        if self.interval is not None:
            storage.record_heartbeat(trial_id)
        self.begun.add(trial_id)  # Last: where the storage fails before, it is in vain.
        return trial

    def _make(self, trial: FrozenTrial) -> None:
        storage, began = self.study._storage, time.monotonic()
        try:
            elapsed = patiently(self.limit.used, self.study)
            value, attrs = self._measured(evaluation_of(trial, self.names))
            values = [value] if math.isfinite(value) else None
            state = TrialState.COMPLETE if values else TrialState.PRUNED
            # One that somebody took for dead, or deleted, is made again.
            with contextlib.suppress(UpdateFinishedTrialError, KeyError):
                for name, of_name in attrs.items():
                    patiently(storage.set_trial_system_attr, trial._trial_id, name, of_name)
                elapsed += time.monotonic() - began
                patiently(storage.set_trial_user_attr, trial._trial_id, ELAPSED, elapsed)
                patiently(storage.set_trial_state_values, trial._trial_id, state, values)
        except BaseException:
            with contextlib.suppress(Exception):
                _owners.end_trial(self.study, trial)
            raise
        finally:
            self.begun.discard(trial._trial_id)

    def _measured(self, evaluation: Evaluation) -> Measured:
        """Return what an evaluation comes to, NaN if to no value."""
        try:
            value: Any = self.evaluate(*evaluation)
            return value if isinstance(value, Measured) else Measured(number(value), {})
        except TrialPruned:
            return Measured(math.nan, {})
        except CutOffError:
            return Measured(math.nan, {ENDED: "interrupted"})
