"""Many workers on one study, some of them killed: the demonstration behind ``make scale``.

Worker processes search the same study, a walk of δ steps on digits. Repeatedly, a worker is killed
(SIGKILL) in the middle of its trial, and a new worker replaces it. At the end, the study has each
step exactly once, as with a single worker. The script starts a PostgreSQL server, unless
``--storage`` names a database.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
from optuna.trial import TrialState
from postgresql import Server

import adnn_optuna as adnn
from adnn_optuna._checks import masked
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.samplers._owners import owner_of

# By default, TensorFlow starts one thread per core in each process. With more processes than
# cores, the threads would slow each other down.
_ENVIRONMENT = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

# The URL contains the database's password. A command line would show it to all users of the
# machine.
_URL_VARIABLE = "ADNN_SCALE_STORAGE"


def work(storage: str, study_name: str, n_trials: int) -> None:
    """Search as one of the workers."""
    objective = adnn.InitOffsetObjective(
        adnn.MLP(hidden=(32,)),
        adnn.load_dataset("digits"),
        training=adnn.Training(optimizer="sgd", learning_rate=0.05, epochs=2),
    )
    adnn.search(
        objective,
        adnn.DeltaStepSampler(deltas=(0.0005, -0.0005), max_steps=-(-n_trials // 2)),
        storage=storage,
        study_name=study_name,
        max_trial=n_trials,
    )


def supervise(
    storage: str, study_name: str, *, n_workers: int, n_trials: int, kill_every: int, log: Path
) -> tuple[optuna.Study, list[int]]:
    """Run the workers and kill one every ``kill_every`` trials; return the killed processes."""
    command = [
        sys.executable,
        __file__,
        f"--study-name={study_name}",
        f"--trials={n_trials}",
        "--work",
    ]
    environment = {**os.environ, **_ENVIRONMENT, _URL_VARIABLE: storage}
    opened = open_storage(storage)
    killed: list[int] = []
    with log.open("ab") as output, contextlib.ExitStack() as processes:

        def start() -> subprocess.Popen[bytes]:
            return processes.enter_context(
                subprocess.Popen(command, env=environment, stdout=output, stderr=output)
            )

        workers = [start() for _ in range(n_workers)]
        while any(worker.poll() is None for worker in workers):
            time.sleep(0.02)
            if study_name not in optuna.get_all_study_names(opened):
                continue
            trials = optuna.load_study(study_name=study_name, storage=opened).get_trials(
                deepcopy=False
            )
            n_done = sum(trial.state == TrialState.COMPLETE for trial in trials)
            if n_done >= n_trials or n_done < kill_every * (len(killed) + 1):
                continue
            # Only a worker in the middle of a trial is killed.
            owners = [owner_of(trial) for trial in trials if trial.state == TrialState.RUNNING]
            running = {owner["process"] for owner in owners if owner is not None}
            busy = [w for w in workers if w.pid in running and w.poll() is None]
            if busy:
                busy[0].kill()
                busy[0].wait()
                killed.append(busy[0].pid)
                workers[workers.index(busy[0])] = start()
    return optuna.load_study(study_name=study_name, storage=opened), killed


def table(study: optuna.Study, killed: list[int]) -> str:
    """Return the number of trials of each process, and a summary, as text."""
    trials = study.get_trials(deepcopy=False)
    states: dict[int, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for trial in trials:
        owner = owner_of(trial)
        states[owner["process"] if owner else 0][trial.state.name] += 1
    lines = ["process     completed  ended unfinished", "-" * 41]
    for process, count in states.items():
        unfinished = sum(count.values()) - count["COMPLETE"]
        note = "  killed" if process in killed else ""
        lines.append(f"{process:<10}{count['COMPLETE']:>11}{unfinished:>18}{note}")
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    distinct = len({tuple(trial.params.values()) for trial in completed})
    n_running = sum(trial.state == TrialState.RUNNING for trial in trials)
    lines += [
        "-" * 41,
        f"{'all':<10}{len(completed):>11}{len(trials) - len(completed):>18}",
        "",
        f"{len(completed)} trials completed, {len(completed) - distinct} steps done twice,",
        f"{n_running} trials left running, {len(killed)} workers killed.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--storage", help="database URL (default: a PostgreSQL server of its own)")
    parser.add_argument("--study-name", default=f"scale-{int(time.time())}")
    parser.add_argument("--workers", type=int, default=4, help="number of processes")
    parser.add_argument("--trials", type=int, default=200, help="number of trials of the study")
    parser.add_argument(
        "--kill-every", type=int, default=100, help="kill a worker after every K trials"
    )
    parser.add_argument("--log", type=Path, default=Path("scale.log"), help="log of the workers")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()

    if args.work:
        work(os.environ[_URL_VARIABLE], args.study_name, args.trials)
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with contextlib.ExitStack() as stack:
        storage = args.storage or stack.enter_context(Server()).url
        print(
            f"{args.workers} workers, {args.trials} trials on {masked(storage)}; a worker is "
            f"killed after each {args.kill_every} trials.\n"
        )
        begin = time.monotonic()
        study, killed = supervise(
            storage,
            args.study_name,
            n_workers=args.workers,
            n_trials=args.trials,
            kill_every=args.kill_every,
            log=args.log,
        )
        print(table(study, killed))
        print(f"{time.monotonic() - begin:.0f} s. What the workers printed is in {args.log}.")


if __name__ == "__main__":
    main()
