"""The process that owns a trial, and whether this process is alive.

If a process dies, its trial remains RUNNING. Optuna detects this by heartbeats, which take minutes
and exist in few storages. This module looks up processes on its own host instead.
"""

import contextlib
import functools
import hashlib
import os
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from adnn_optuna._attributes import CLAIM, OWNER, PROPOSAL, Owner

# The active runs of this process, and the run of the current thread. A run is a block of
# `run_of_trials`. A trial that began outside any run is live as long as its process is.
_runs: set[str] = set()
_run: ContextVar[str] = ContextVar("_run", default="")
# In `Study.optimize`, a thread runs one trial of a study at a time. A trial's turn is the time of
# the trial in its thread. For each thread and study, this stores the run of the trial and, until
# `after_trial`, the run around it. A new trial ends the turn of the previous trial, because an
# exception such as SystemExit may have prevented `after_trial`.
_turns: dict[tuple[threading.Thread, str], tuple[str, str | None]] = {}


def begin_turn(study: Study) -> None:
    """Begin the turn of a new trial, if this thread is in the study's `Study.optimize`.

    This also ends the turn of the thread's previous trial.
    """
    _forget_turn(study)
    if study._thread_local.in_optimize_loop:
        token = secrets.token_hex(4)
        _turns[threading.current_thread(), study.study_name] = token, _run.get()
        _run.set(token)
    elif _run.get() not in _runs:
        _run.set("")  # An exception ended the trial's run.


def end_turn(study: Study) -> None:
    """Assign this thread's next trials to the run outside its trial in `Study.optimize`.

    The trial itself stays live until the next trial, because Optuna tells it after `after_trial`.
    """
    key = threading.current_thread(), study.study_name
    token, around = _turns.get(key, ("", None))
    if around is not None:
        _turns[key] = token, None
        _run.set(around)


def _forget_turn(study: Study) -> None:
    end_turn(study)
    _turns.pop((threading.current_thread(), study.study_name), None)


def _is_under_way(run: str) -> bool:
    turns = {turn for (thread, _), (turn, _) in [*_turns.items()] if thread.is_alive()}
    return not run or run in _runs or run in turns


def heartbeat_interval(study: Study) -> int | None:
    """Return the seconds between the storage's heartbeats, or :obj:`None` without heartbeats."""
    return getattr(study._storage, "get_heartbeat_interval", lambda: None)()


def is_watched(study: Study) -> bool:
    """Return whether this thread's run, or Optuna, ends trials of dead workers."""
    return _run.get() in _runs or heartbeat_interval(study) is not None


@contextlib.contextmanager
def run_of_trials(study: Study) -> Iterator[None]:
    """Assign the trials that this thread begins in this context to a new run.

    When the context ends, its unfinished trials are no longer live.
    """
    _forget_turn(study)
    token = secrets.token_hex(4)
    _runs.add(token)
    reset = _run.set(token)
    try:
        yield
    finally:
        _run.reset(reset)
        _runs.discard(token)


def _start_time(process_id: int) -> str | None:
    """Return a process's start time. An id alone does not identify a process: ids are reused.

    Return :obj:`None` if no such process exists, and an empty text if its start is hidden.
    """
    if sys.platform == "linux":
        # The start is stored in clock ticks since a boot, with the boot's id. The start times of
        # `psutil` depend on the system clock: after the clock is set, all live workers would seem
        # dead. The second field, the command's name, may contain blanks and parentheses.
        fields = _text(f"/proc/{process_id}/stat").rpartition(")")[2].split()
        if fields:  # A zombie has ended, but its parent has not read the exit code yet.
            boot = _text("/proc/sys/kernel/random/boot_id")
            return None if fields[0] in "ZX" else f"{fields[19]}@{boot}"
        return None if _is_gone(process_id) else ""
    try:
        process = psutil.Process(process_id)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return repr(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return ""


def _is_gone(process_id: int) -> bool:
    """Return whether a process without an entry in ``/proc`` has ended.

    A system may hide other users' processes in ``/proc``, or the whole folder. If the folder is
    hidden, the process may be in another container, so the answer is no.
    """
    if not Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(process_id, 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


@functools.cache
def _host() -> str:
    """Return a text that differs between hosts, and between containers with own process ids."""
    identifiers = [_text("/etc/machine-id")]
    with contextlib.suppress(OSError):
        identifiers.append(str(Path("/proc/self/ns/pid").readlink()))
    # The machine's id must stay secret, so it is hashed.
    digest = hashlib.sha256(" ".join(identifiers).encode()).hexdigest()[:8]
    return f"{socket.gethostname()}#{digest}"


@functools.cache
def _own_start_time(process_id: int) -> str:
    return _start_time(process_id) or ""


def ownership(trial: FrozenTrial | Trial) -> Owner:
    """Return the owner to store for a trial that this process runs."""
    pid = os.getpid()  # The id is not cached, because a forked child has another id.
    start = _own_start_time(pid)
    return {
        "trial": trial.number,
        "host": _host(),
        "process": pid,
        "start": start,
        "run": _run.get(),
    }


def owned_template(number: int, **parts: Any) -> FrozenTrial:
    """Return a RUNNING trial of this process, to be created with this number."""
    template = create_trial(state=TrialState.RUNNING, **parts)
    template.number = number
    template.system_attrs[OWNER] = ownership(template)
    return template


def claim_of(trial: FrozenTrial | Trial) -> str:
    """Return the attribute by which this run claims a waiting trial. Several runs may claim it."""
    return f"{CLAIM}/{ownership(trial)['run']}"


def owner_of(trial: FrozenTrial) -> Owner | None:
    """Return the last known owner of a trial. If several runs claim it, prefer a live one.

    A retry begins with a copy of another trial's attributes, so owners of other trials are
    ignored.
    """
    attrs = trial.system_attrs
    proposal = attrs.get(PROPOSAL) or {}
    claimants: list[Owner] = [
        owner for name, owner in attrs.items() if name.startswith(CLAIM) and owner
    ]
    claimants.sort(key=lambda owner: _lives(owner) is False)
    for owner in (proposal.get("owner"), attrs.get(OWNER), *claimants):
        if owner and owner["trial"] == trial.number:
            return owner
    return None


def is_own(trial: FrozenTrial) -> bool:
    """Return whether a trial belongs to this process and to the run of this thread."""
    return owner_of(trial) == ownership(trial)


def is_alive(trial: FrozenTrial) -> bool | None:
    """Return whether a trial's owner is alive, or :obj:`None` if this host does not know."""
    owner = owner_of(trial)
    if owner is None:
        return None
    return _lives(owner)


def _lives(owner: Owner) -> bool | None:
    if owner["host"] != _host():
        return None
    if (owner["process"], owner["start"]) == (os.getpid(), _own_start_time(os.getpid())):
        return _is_under_way(owner["run"])
    start = _start_time(owner["process"])
    if "" in {start, owner["start"]}:
        return None
    return start == owner["start"]


def end_trial(study: Study, trial: FrozenTrial | Trial) -> None:
    """End an unfinished trial with the state FAIL, without the mark of a failed objective.

    The storage needs one transaction. If another worker has ended or deleted the trial since the
    read, nothing happens.
    """
    with contextlib.suppress(UpdateFinishedTrialError, KeyError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
