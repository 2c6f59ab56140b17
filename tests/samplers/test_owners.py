"""Owners of trials: which process runs a trial, and whether that process is alive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from adnn_optuna._attributes import OWNER, PROPOSAL
from adnn_optuna.samplers._owners import (
    _start_time,
    claim_of,
    end_trial,
    is_alive,
    is_own,
    owner_of,
    ownership,
    run_of_trials,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.trial import FrozenTrial


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process whose name resembles the state of a zombie in Linux's list of fields."""
    program = Path(sys.executable)
    if sys.platform == "linux":
        program = tmp_path / "a) Z 1 (b"
        program.symlink_to(sys.executable)
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([program, "-c", code], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def trial_of(owner: dict[str, Any] | None, number: int = 0) -> FrozenTrial:
    trial = optuna.create_trial(state=TrialState.RUNNING)
    trial.number = number
    if owner is not None:
        trial.system_attrs = {PROPOSAL: {"sampler": "", "index": 0, "owner": owner}}
    return trial


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_start_times_agree_with_psutil_and_zombies_have_none(
    process: subprocess.Popen[bytes],
) -> None:
    start = _start_time(process.pid)
    assert start != _start_time(os.getpid())
    ticks, boot_id = start.split("@")
    seconds = psutil.boot_time() + int(ticks) / os.sysconf("SC_CLK_TCK")
    assert seconds == pytest.approx(psutil.Process(process.pid).create_time(), abs=2)
    assert boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}").exists()
    assert _start_time(process.pid) is None  # The process is a zombie.
    process.wait()
    assert _start_time(process.pid) is None


def test_a_process_lives_until_it_ends(process: subprocess.Popen[bytes]) -> None:
    own_ownership = ownership(trial_of(None))
    assert own_ownership["process"] == os.getpid()
    foreign = {**own_ownership, "process": process.pid, "start": _start_time(process.pid)}
    assert is_own(trial_of({**own_ownership}))
    assert not is_own(trial_of(foreign))
    assert is_alive(trial_of(foreign)) is True
    # If the start time is earlier, the process is another one with the same id.
    assert is_alive(trial_of({**foreign, "start": "before"})) is False
    assert is_alive(trial_of({**foreign, "host": "elsewhere"})) is None
    # An owner that was copied from another trial does not count.
    assert owner_of(trial_of(foreign, number=1)) is None
    assert is_alive(trial_of(foreign, number=1)) is None
    process.kill()
    process.wait()
    assert is_alive(trial_of(foreign)) is False


HIDDEN = """
import json, os, sys, optuna
from adnn_optuna._attributes import OWNER
from adnn_optuna.samplers._owners import is_alive
trial = optuna.create_trial(value=0.0)
trial.number, trial.system_attrs = 0, {OWNER: json.loads(sys.argv[1])}
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print(is_alive(trial))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs `unshare` of util-linux")
def test_a_process_that_the_system_hides_is_not_declared_dead(
    process: subprocess.Popen[bytes],
) -> None:
    """Administrators of shared machines hide processes with the mount option ``hidepid``."""
    owner = {**ownership(trial_of(None)), "process": process.pid}
    owner["start"] = _start_time(process.pid)
    hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$0" "$@"'
    command = ["unshare", "--mount", "sh", "-c", hide, sys.executable, "-c", HIDDEN]

    def seen_from_there() -> str:
        run = [*command, json.dumps(owner)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this user cannot hide processes: {done.stderr.strip()}")
        return done.stdout.strip()

    assert seen_from_there() == "None"
    process.kill()
    process.wait()
    assert seen_from_there() == "False"


def test_trials_without_a_proposal_may_have_an_owner() -> None:
    trial = trial_of(None)
    assert owner_of(trial) is None
    assert is_alive(trial) is None
    trial.system_attrs = {OWNER: ownership(trial)}
    assert owner_of(trial) == ownership(trial)
    assert is_alive(trial) is True


def test_a_claim_is_withdrawn_without_the_claims_of_others() -> None:
    trial = trial_of(None)
    with run_of_trials(study := optuna.create_study()):
        ownership_by_claim = {claim_of(trial): ownership(trial)}
    with run_of_trials(study):
        late = claim_of(trial)
        trial.system_attrs = {**ownership_by_claim, late: ownership(trial)}
        assert is_alive(trial) is True
        trial.system_attrs = {**ownership_by_claim, late: None}
        assert is_alive(trial) is False


def test_dead_trials_fail_unless_they_ended_meanwhile() -> None:
    study = optuna.create_study()
    for start in ("dead", "dead", None):
        trial = study.ask()
        owner = ownership(study.trials[trial.number])
        dead = owner if start is None else {**owner, "start": start}
        study._storage.set_trial_system_attr(trial._trial_id, OWNER, dead)
    trials = study.trials
    # This trial ends after it was read, so it keeps its value.
    study.tell(1, 2.0)
    assert [trial.number for trial in trials if is_alive(trial) is False] == [0, 1]
    for trial in trials[:2]:
        end_trial(study, trial)
    states = [TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING]
    assert [trial.state for trial in study.trials] == states
