"""Workers that share a study and die: no trial is lost, repeated or counted twice."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import scale
from optuna.trial import TrialState

import adnn_optuna as adnn
from adnn_optuna._attributes import OWNER
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.samplers._owners import _start_time, is_alive, owned_template, owner_of

if TYPE_CHECKING:
    from postgresql import Server

    from adnn_optuna import InitOffsetObjective

TESTS = Path(__file__).parents[1]


def leave_a_trial_running(url: str, *command: str) -> None:
    """Begin a trial of the study ``s`` at (0.1, -0.1) in a process that then dies."""
    program = f"""
import os, signal, optuna
from optuna.distributions import FloatDistribution
from adnn_optuna.engine.storages import open_storage
from adnn_optuna._attributes import OWNER
from adnn_optuna.samplers._owners import ownership
study = optuna.load_study(study_name="s", storage=open_storage({url!r}))
study.enqueue_trial(dict(weight_offset_0=0.1, bias_offset_0=-0.1))
space = FloatDistribution(-0.2, 0.2)
trial = study.ask(dict(weight_offset_0=space, bias_offset_0=space))
owner = ownership(study._storage.get_trial(trial._trial_id))
study._storage.set_trial_system_attr(trial._trial_id, OWNER, owner)
study._storage.record_heartbeat(trial._trial_id)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([*command, sys.executable, "-c", program], check=False)
    assert run.returncode == -signal.SIGKILL


def test_a_dead_workers_trial_is_retried_once_with_its_parameters(
    objective: InitOffsetObjective, url: str
) -> None:
    sampler = optuna.samplers.RandomSampler(seed=0)
    search = {"storage": url, "study_name": "s"}
    adnn.search(objective, sampler, max_trial=1, **search)
    for _ in range(2):
        leave_a_trial_running(url)
    result = adnn.search(objective, sampler, max_trial=5, **search)
    states = [trial.state for trial in result.study.trials]
    assert states.count(TrialState.COMPLETE) == 5
    assert states.count(TrialState.FAIL) == 2
    assert len(states) == 7
    again = [t for t in result.study.trials if t.params["weight_offset_0"] == 0.1]
    assert [t.state for t in again] == [TrialState.FAIL] * 2 + [TrialState.COMPLETE] * 2
    assert all(owner_of(t)["process"] == os.getpid() for t in again[2:])


def test_a_process_of_this_host_lives_whatever_its_heartbeats(url: str) -> None:
    storage: Any = open_storage(url)
    worker = subprocess.Popen(["sleep", "600"])
    seen = []

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 3:
            seen.append(trial.study.trials[1].state)
            worker.kill()
            worker.wait()
        return trial.suggest_float("x", 0, 1)

    search = functools.partial(adnn.search, objective, storage=storage, study_name="s")
    study = search(max_trial=1).study
    begun = owned_template(1)
    owner = {"process": worker.pid, "start": _start_time(worker.pid), "run": "other"}
    begun.system_attrs[OWNER] |= owner
    trial_id = storage.create_new_trial(study._study_id, begun)
    storage.record_heartbeat(trial_id)
    with storage._backend.engine.begin() as connection:  # Pretend that the database was away.
        connection.exec_driver_sql(
            "UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-1 hour')"
        )
    states = [trial.state.name for trial in search(max_trial=4).study.trials]
    assert seen == [TrialState.RUNNING]
    assert states == ["COMPLETE", "FAIL", *["COMPLETE"] * 3]


def test_a_worker_of_another_host_is_dead_without_heartbeats(
    objective: InitOffsetObjective, postgresql: Server
) -> None:
    command = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$0" "$@"']
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine cannot pretend to be another host (unshare --uts)")
    storage = open_storage(postgresql.url)
    sampler = optuna.samplers.RandomSampler(seed=0)
    adnn.search(objective, sampler, storage=storage, study_name="s", max_trial=1)
    leave_a_trial_running(postgresql.url, *command)
    study = optuna.load_study(study_name="s", storage=storage)
    running = study.trials[-1]
    assert running.system_attrs[OWNER]["host"].startswith("elsewhere#")
    assert is_alive(running) is None
    storage._backend.grace_period = 1
    with storage._backend.engine.begin() as connection:  # Pretend that an hour has passed.
        connection.exec_driver_sql(
            "UPDATE trial_heartbeats SET heartbeat = heartbeat - INTERVAL '1 hour'"
        )
    result = adnn.search(objective, sampler, storage=storage, study_name="s", max_trial=2)
    *_, dead, again = result.study.trials
    assert (dead.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert dead.params == again.params


def test_a_worker_that_was_taken_for_dead_does_not_count_twice(
    objective: InitOffsetObjective, url: str
) -> None:

    class Undertaker(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            if trial.number == 1 and trial.state == TrialState.RUNNING:
                open_storage(url).set_trial_state_values(trial._trial_id, TrialState.FAIL)
            return False

    result = adnn.search(
        objective,
        "annealing",
        storage=url,
        study_name="s",
        max_trial=4,
        pruner=Undertaker(),
    )
    assert result.study.trials[1].state == TrialState.FAIL
    assert len([t for t in result.study.trials if t.state == TrialState.COMPLETE]) == 4


@pytest.mark.slow
def test_sigterm_is_handled_like_ctrl_c(url: str) -> None:
    worker = begin_worker(url, "greedy", 1000, 1)
    wait_for_trials(url, 2, worker)
    worker.terminate()
    _, errors = worker.communicate()
    message, traceback = errors.split("Traceback (most recent call last):")
    assert "Interrupted; all trials are kept." in message
    assert traceback.rstrip().endswith("KeyboardInterrupt")
    # The traceback shows the line of the call, without lines of the package.
    assert re.findall(r'File "(.*?)"', traceback) == [str(TESTS / "search_worker.py")]
    study = optuna.load_study(study_name="killed", storage=url)
    assert study.user_attrs["adnn:stop_reason"] == "interrupted"
    assert TrialState.RUNNING not in [trial.state for trial in study.trials]


@pytest.mark.slow
def test_ctrl_c_is_reported_once_and_leaves_no_trial_running(url: str) -> None:
    worker = begin_worker(url, "random_restart", 1000, 4)
    wait_for_trials(url, 6, worker)
    worker.send_signal(signal.SIGINT)
    _, errors = worker.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    study = optuna.load_study(study_name="killed", storage=url)
    assert study.user_attrs["adnn:stop_reason"] == "interrupted"
    assert {t.state for t in study.trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    done = [t.params["restart"] for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(done) == len(set(done)) >= 4


def begin_worker(url: str, sampler: str, max_trial: int, batch_size: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            TESTS / "search_worker.py",
            url,
            sampler,
            str(max_trial),
            str(batch_size),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_trials(url: str, count: int, worker: subprocess.Popen[str]) -> None:
    storage = open_storage(url)
    while not (
        optuna.get_all_study_names(storage)
        and len(optuna.load_study(study_name="killed", storage=storage).trials) > count
    ):
        assert worker.poll() is None
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("sampler", "n_workers", "max_trial", "batch_size"),
    [
        pytest.param("greedy", 2, 12, 3, marks=pytest.mark.slow),
        pytest.param("greedy", 4, 101, 8, marks=pytest.mark.slow),
        pytest.param("annealing", 4, 60, 1, marks=pytest.mark.slow),
        pytest.param("random_restart", 4, 100, 8, marks=pytest.mark.slow),
    ],
)
def test_workers_repeat_no_trial_and_stop_at_the_limit(
    sampler: str, n_workers: int, max_trial: int, batch_size: int, url: str
) -> None:
    workers = [begin_worker(url, sampler, max_trial, batch_size) for _ in range(n_workers)]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    study = optuna.load_study(study_name="killed", storage=url)
    assert study.user_attrs["adnn:stop_reason"] == "max_trial"
    indices = [
        t.system_attrs["adnn:proposal"]["index"]
        for t in study.trials
        if t.state == TrialState.COMPLETE
    ]
    assert len(indices) == max_trial
    assert len(set(indices)) == max_trial
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))


@pytest.mark.slow
def test_killed_workers_leave_no_trace(postgresql: Server, tmp_path: Path) -> None:
    log = tmp_path / "log"
    study, killed = scale.supervise(
        postgresql.url, "scale", n_workers=3, n_trials=24, kill_every=8, log=log
    )
    assert len(killed) == 2
    summary = "24 trials completed, 0 steps done twice,\n0 trials left running, 2 workers killed."
    assert summary in scale.table(study, killed)
    printed = log.read_text()
    assert "Error" not in printed
    assert "p@ss" not in printed
    assert "p%40ss" not in printed


INTERRUPTED_AT_ONCE = """
import os, signal, sys, weakref
sys.path.insert(0, {tests!r})
import adnn_optuna as adnn
from adnn_optuna.engine import studies
from search_worker import make_objective


class Thing:
    pass


def interrupt(_):
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):  # Until the handler has run.
        pass


def open_studies(*args):
    thing = Thing()
    watch = weakref.ref(thing, interrupt)
    del thing  # As SQLAlchemy ends its connections.
    return opened(*args)


objective, opened = make_objective(), studies.open_studies
studies.open_studies = open_studies
adnn.search(objective, max_trial=20)
print("swallowed")
"""


@pytest.mark.slow
def test_ctrl_c_counts_even_if_python_drops_its_exception() -> None:
    program = INTERRUPTED_AT_ONCE.format(tests=str(TESTS))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert not done.stdout, done.stderr
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
