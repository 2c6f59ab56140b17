"""Living with other workers on the same study: signs of life, and what the dead left behind."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Self

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._heartbeat import BaseHeartbeat, is_heartbeat_enabled
from optuna.trial import TrialState, create_trial

from adnn_optuna._attributes import INTERRUPTED, OWNER, PROPOSAL
from adnn_optuna.samplers import LivenessCheck, current_owner, is_on_one_host, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

# System attribute of a trial that was retried, as Optuna's own retries name it.
_RETRIES = "retry_history"


class Heartbeats:
    """Shows that this process runs its trials, where the storage notes that; a context.

    Args:
        storages: Where the trials are.
    """

    def __init__(self, storages: Iterable[BaseStorage]) -> None:
        # Workers of a storage without heartbeats can be told dead on their own host only.
        self._storages: list[Any] = [s for s in storages if is_heartbeat_enabled(s)]
        self._trials: dict[int, BaseHeartbeat] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeats", daemon=True)

    def __enter__(self) -> Self:
        if self._storages:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _beat(self) -> None:
        interval = min(storage.get_heartbeat_interval() for storage in self._storages)
        while not self._stop.wait(interval):
            for trial_id, storage in self._trials.copy().items():
                # A storage that is away is the training's matter, which is to go on.
                with contextlib.suppress(Exception):
                    storage.record_heartbeat(trial_id)

    def begin(self, trial: optuna.Trial) -> None:
        """Note that a trial runs."""
        storage = trial.study._storage
        if is_heartbeat_enabled(storage):
            assert isinstance(storage, BaseHeartbeat)
            # On one host, nobody waits for a sign.
            if not is_on_one_host(storage):
                storage.record_heartbeat(trial._trial_id)
            self._trials[trial._trial_id] = storage

    def end(self, trial: optuna.Trial) -> None:
        """Note that a trial has ended."""
        self._trials.pop(trial._trial_id, None)


def create_own_trial(study: optuna.Study) -> int:
    """Create a RUNNING trial that says from its first moment who runs it, and return its id."""
    template = create_trial(state=TrialState.RUNNING, system_attrs={OWNER: [*current_owner()]})
    return study._storage.create_new_trial(study._study_id, template_trial=template)


def take_from_queue(study: optuna.Study, waiting: Iterator[FrozenTrial]) -> int | None:
    """Take over the first of the WAITING trials that no other worker takes, and return its id."""
    storage = study._storage
    for trial in waiting:
        with contextlib.suppress(UpdateFinishedTrialError):
            if storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                storage.set_trial_system_attr(trial._trial_id, OWNER, [*current_owner()])
                return trial._trial_id
    return None


def bury(study: optuna.Study, running: Iterable[FrozenTrial]) -> bool:
    """End the trials that dead workers left RUNNING, and see to it that each is done again.

    The samplers of this package give its parameters to the next trial that is asked for. Others
    cannot, so that the trial is enqueued again, once.

    Returns:
        Whether there was any.
    """
    is_alive = LivenessCheck(study)
    dead = [trial for trial in running if not is_alive(trial)]
    for trial in dead:
        try:
            # Only one of all workers succeeds in this.
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            continue
        is_repeated = trial.system_attrs.get(PROPOSAL, {}).get("index") is not None
        if not is_repeated:
            _enqueue_again(study, trial)
    return bool(dead)


def _enqueue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    attrs = trial.system_attrs
    # A training that kills its worker, by taking all memory, is not to kill all others, too.
    if _RETRIES in attrs or not (trial.params or "fixed_params" in attrs):
        return
    others = {key: value for key, value in attrs.items() if key not in (OWNER, PROPOSAL)}
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            system_attrs={**others, "failed_trial": trial.number, _RETRIES: [trial.number]},
        )
    )


def end_unfinished(study: optuna.Study, trial_id: int) -> None:
    """End a trial of this process that says nothing about its parameters; they are free again."""
    storage = study._storage
    with contextlib.suppress(UpdateFinishedTrialError):
        storage.set_trial_system_attr(trial_id, INTERRUPTED, value=True)
        storage.set_trial_state_values(trial_id, TrialState.FAIL)


def end_own_trials(study: optuna.Study) -> None:
    """End the trials that this process has begun and not told; they will be done again."""
    own = [*current_owner()]
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if owner_of(trial) == own:
            end_unfinished(study, trial._trial_id)


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Take SIGTERM, with which clusters end their jobs, as Ctrl-C, unless the user handles it."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
