"""Who runs a trial, and whether that process still lives.

A RUNNING trial is either under way or was left behind by a process that died. Optuna tells the
two apart by heartbeats, which few storages have and which take minutes. A process on this host
can be looked up instead.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from optuna.storages import RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat, is_heartbeat_enabled
from optuna.trial import TrialState

from adnn_optuna._attributes import OWNER, PROPOSAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial


# For so long, a retried trial may still carry the owner of the trial that it repeats.
_SECONDS_TO_NOTE_OWNER = 10.0

# Processes found dead, by process id and start time. They stay dead.
_dead_processes: set[tuple[int, str]] = set()


def _start_time(pid: int) -> str | None:
    """Return when a process started, or :obj:`None` if there is no such process.

    A process id alone is not enough, as the system uses it again.
    """
    if Path("/proc/self/stat").exists():
        # Clock ticks since boot, and which boot. Not `psutil`, whose start times on Linux are in
        # seconds of the system clock: set that clock, and all live workers would look dead.
        try:
            # The second field, the command's name, may itself hold blanks and parentheses.
            fields = (
                Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            )
        except OSError:
            return None
        if fields[0] in "ZX":  # A zombie: dead, but its parent has not asked for its exit code.
            return None
        return f"{fields[19]}@{_boot_id()}"

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.Error:
        return None


@functools.cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@functools.cache
def _owner(pid: int) -> tuple[str, int, str]:
    return f"{socket.gethostname()}#{_place_of_processes()}", pid, _start_time(pid) or ""


def _place_of_processes() -> str:
    """Return what tells hosts of the same name apart, and containers on one host.

    Processes can be looked up only by those who see the same process ids.
    """
    known = []
    with contextlib.suppress(OSError):
        known.append(Path("/etc/machine-id").read_text().strip())
    with contextlib.suppress(OSError):
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    # The id of a machine is to be shown to nobody.
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:8]


def current_owner() -> tuple[str, int, str]:
    """Return host, process id and start time of this process."""
    # The argument makes a forked child look itself up anew.
    return _owner(os.getpid())


def is_on_one_host(storage: BaseStorage) -> bool:
    """Return whether all workers of a storage are on one host, as those of an SQLite file are."""
    backend: Any = getattr(storage, "_backend", storage)
    return isinstance(backend, RDBStorage) and backend.engine.dialect.name == "sqlite"


def owner_of(trial: FrozenTrial) -> Sequence[str | int] | None:
    """Return who runs a trial, or ran it last, if that was noted."""
    attrs = trial.system_attrs
    owner: Sequence[str | int] | None = attrs.get(PROPOSAL, {}).get("owner", attrs.get(OWNER))
    return owner


class LivenessCheck:
    """Tells live RUNNING trials of one study from dead ones.

    Each process is looked up once, and heartbeats are asked for once, so this object is meant
    to be used for one pass over the trials and then dropped.

    Args:
        study: The study of the trials.
        if_unknown: What to answer where neither process nor heartbeat can be looked up.
    """

    def __init__(self, study: Study, *, if_unknown: bool = True) -> None:
        self._study = study
        self._if_unknown = if_unknown
        self._is_process_alive: dict[tuple[int, str], bool] = {}
        self._stale_trial_ids: set[int] | None = None

    def __call__(self, trial: FrozenTrial) -> bool:
        """Return whether the trial is RUNNING and its worker lives."""
        if trial.state != TrialState.RUNNING:
            return False

        owner: Any = owner_of(trial)
        if owner is not None:
            host, pid, start_time = owner
            own_host, own_pid, own_start_time = current_owner()
            if host == own_host:
                if pid == own_pid and start_time == own_start_time:
                    return True
                return self._process_lives(pid, start_time) or _is_just_retried(trial)

        # Nothing can be said of a process on another host but by its heartbeat.
        storage = self._study._storage
        if not isinstance(storage, BaseHeartbeat) or not is_heartbeat_enabled(storage):
            return self._if_unknown
        if self._stale_trial_ids is None:
            self._stale_trial_ids = set(storage._get_stale_trial_ids(self._study._study_id))
        return trial._trial_id not in self._stale_trial_ids

    def _process_lives(self, pid: int, start_time: str) -> bool:
        process = (pid, start_time)
        if process in _dead_processes:
            return False
        if process not in self._is_process_alive:
            self._is_process_alive[process] = _start_time(pid) == start_time
            if not self._is_process_alive[process]:
                _dead_processes.add(process)
        return self._is_process_alive[process]


def _is_just_retried(trial: FrozenTrial) -> bool:
    """Return whether the owner may be that of the dead trial which this one repeats."""
    if "failed_trial" not in trial.system_attrs or trial.datetime_start is None:
        return False
    return time.time() - trial.datetime_start.timestamp() < _SECONDS_TO_NOTE_OWNER


def is_alive(study: Study, trial: FrozenTrial) -> bool:
    """Return whether a trial is RUNNING and the process that runs it still lives.

    On this host, the process is looked up. A trial of another host, or one of a sampler that
    does not note who runs it, is taken for alive unless the storage's heartbeats say otherwise.

    Args:
        study: The study of the trial.
        trial: The trial, as the storage has it now.
    """
    return LivenessCheck(study)(trial)
