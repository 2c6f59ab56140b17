"""The cost of a trial apart from training: sampler, storage and bookkeeping.

There are four measurements. In each measurement, the contenders alternate:

- ``search``: for each sampler, the wall time of :func:`adnn_optuna.search` on an SQLite file minus
  the wall time of its training (digits, 64-64-10, 5 epochs, 100 trials);
- ``growth``: the CPU time of a trial in ``study.optimize``, after 1000 and after 20,000 trials.
  The objective only suggests two parameters, and there is a callback for each limit. The storage
  is in memory, or SQLite as ``search`` opens it (with earlier trials copied from memory). Two
  further measurements have a trial that was never told, and the first trial of a new sampler;
- ``calls``: the number of times that such a trial reads the study's trials and writes to the
  storage;
- ``transactions``: the transactions and statements of a trial with two parameters (one in
  ``search`` with random restarts), in ``study.optimize`` with a callback for each limit, and in
  ``search``. The database is SQLite and, if PostgreSQL is installed, a separate PostgreSQL server.

Nothing else should run at the same time. The study takes about ten minutes.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import platform
import statistics
import tempfile
import time
import warnings
from typing import TYPE_CHECKING, Any

import optuna
import sqlalchemy
from _common import TRIED, Results, Study, markdown_table, write_json
from optuna.samplers import CmaEsSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from postgresql import Server, find_binaries
from sqlalchemy.engine import Engine
from tqdm import tqdm

import adnn_optuna as adnn
from adnn_optuna._checks import n_cores
from adnn_optuna.callbacks import LIMITS
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

SEARCHED = ("annealing", "greedy", "random_restart")
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "Random": lambda: RandomSampler(seed=0),
    "annealing": lambda: adnn.AdaptiveSimulatedAnnealingSampler(seed=0),
    "greedy": lambda: adnn.DeltaStepSampler(deltas=(2e-5,), max_steps=50_000),
    "random_restart": lambda: adnn.RandomRestartSampler(seed=0),
    "greedy_improving": lambda: adnn.DeltaStepSampler((2e-5,), 50_000, accept="improving"),
}
OTHERS: dict[str, Callable[[], BaseSampler]] = {
    "TPE": lambda: TPESampler(seed=0),
    "CMA-ES": lambda: CmaEsSampler(seed=0),
}
# The samplers' names in `search`.
NAMES = {**{name: name for name in SAMPLERS}, "Random": "random", "TPE": "tpe", "CMA-ES": "cmaes"}
STORAGES = ("memory", "sqlite")
READS = ("get_all_trials",)
WRITES = (
    "create_new_trial",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_system_attr",
    "set_trial_user_attr",
)
N_TRIALS = 100
SIZES = (1000, 20_000)
N_SEARCHES = 3
# The number of trials in a round, and the number of rounds. In some rounds, Python collects
# garbage.
N_AT_ONCE, N_ROUNDS = 20, 7


class CountingStorage(InMemoryStorage):
    """A storage that counts the calls of some of its methods."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = collections.Counter[str]()

    def __getattribute__(self, name: str) -> Any:
        if name in READS + WRITES:
            self.calls[name] += 1
        return super().__getattribute__(name)


class Searches:
    """Searches on digits that measure their training time."""

    def __init__(self, epochs: int = 5) -> None:
        self._objective = adnn.InitOffsetObjective(
            adnn.MLP(hidden=(64, 64)),
            adnn.load_dataset("digits"),
            training=adnn.Training(batch_size=32, epochs=epochs),
            space=adnn.OffsetSpace(low=-0.2, high=0.2),
        )
        trainer = self._objective.trainer
        self._train, self._seconds = trainer.train, 0.0
        vars(trainer)["train"] = self._timed
        # The first search compiles the network and imports the modules that show studies.
        self.milliseconds("annealing", 10)

    def _timed(self, *args: Any, **options: Any) -> Any:
        """Train, and add the time of the training."""
        start = time.perf_counter()
        try:
            return self._train(*args, **options)
        finally:
            self._seconds += time.perf_counter() - start

    def milliseconds(self, sampler: str, n_trials: int) -> float:
        """Return the milliseconds of a trial apart from its training."""
        self._seconds = 0.0
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            storage = f"sqlite:///{folder}/studies.db"
            limits: Any = {"max_trial": n_trials, "confirm": 0, "test": False}
            adnn.search(self._objective, sampler, storage=storage, **limits)
            seconds = time.perf_counter() - start
        return 1e3 * (seconds - self._seconds) / n_trials


def objective(trial: optuna.Trial) -> float:
    if isinstance(trial.study.sampler, adnn.RandomRestartSampler):
        return float(trial.suggest_int("restart", 0, 2**31) + trial.suggest_float("x", 0, 1))
    return (trial.suggest_float("x", 0, 1) - 0.3) ** 2 + trial.suggest_float("y", 0, 1)


class Growing:
    """A sampler's study that grows, with a callback for each limit."""

    def __init__(self, sampler: str, storage: BaseStorage) -> None:
        self._make = SAMPLERS[sampler]
        self._study = optuna.create_study(storage=storage, sampler=self._make())
        self._limits = [limit(10**9) for limit in LIMITS]
        self.seconds: list[float] = []

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials as they are stored."""
        return self._study.get_trials(deepcopy=False)

    def grow(self, n_trials: int) -> None:
        """Run trials until the study has ``n_trials`` trials."""
        self._study.optimize(objective, n_trials - len(self.trials), callbacks=self._limits)

    def copy(self, trials: list[FrozenTrial]) -> None:
        """Copy trials that this study does not have yet."""
        for trial in trials[len(self.trials) :]:
            self._study._storage.create_new_trial(self._study._study_id, trial)  # noqa: SLF001

    def run(self, n_trials: int = N_AT_ONCE) -> float:
        """Run trials and return their CPU time in milliseconds per trial."""
        start = time.process_time()
        self._study.optimize(objective, n_trials, callbacks=self._limits)
        return 1e3 * (time.process_time() - start) / n_trials

    def abandon(self) -> None:
        """Ask for a trial that is never told."""
        with warnings.catch_warnings():
            # Optuna warns that the trial gets no heartbeats, which is intended.
            warnings.simplefilter("ignore", UserWarning)
            self._study.ask()

    def renew(self) -> None:
        """Continue with a new sampler."""
        self._study.sampler = self._make()


def growth(sizes: tuple[int, ...], n_rounds: int) -> Results:
    """Return the milliseconds of a trial by storage, sampler and number of earlier trials."""
    found: Results = {storage: {name: {} for name in SAMPLERS} for storage in STORAGES}
    with tempfile.TemporaryDirectory() as folder:
        studies = {
            name: {
                "memory": Growing(name, InMemoryStorage()),
                "sqlite": Growing(name, open_storage(f"sqlite:///{folder}/{name}.db")),
            }
            for name in SAMPLERS
        }
        each = [(name, storage) for storage in STORAGES for name in SAMPLERS]

        def measure(what: str) -> None:
            times: dict[tuple[str, str], list[float]] = {one: [] for one in each}
            # The first round warms up.
            for _ in range(1 + n_rounds):
                for name, storage in each:
                    times[name, storage].append(studies[name][storage].run())
            for name, storage in each:
                found[storage][name][what] = statistics.median(times[name, storage][1:])

        for size in sizes:
            for of_name in tqdm(studies.values(), desc=f"{size} trials", unit="sampler"):
                of_name["memory"].grow(size)
                of_name["sqlite"].copy(of_name["memory"].trials)
            measure(str(size))
        for name, storage in each:
            studies[name][storage].abandon()
        measure("abandoned")
        for name, storage in each:
            studies[name][storage].renew()
            found[storage][name]["first"] = studies[name][storage].run(1)
    return found


def calls(sampler: str, n_trials: int) -> dict[str, float]:
    """Return how many times a trial reads the study's trials, and how many times it writes."""
    storage = CountingStorage()
    study = optuna.create_study(storage=storage, sampler=SAMPLERS[sampler]())
    # The first trials also make calls that happen once per study, which do not count.
    study.optimize(objective, n_trials=5)
    storage.calls.clear()
    study.optimize(objective, n_trials=n_trials)
    return {
        kind: sum(storage.calls[name] for name in names) / n_trials
        for kind, names in (("reads", READS), ("writes", WRITES))
    }


@contextlib.contextmanager
def counted() -> Iterator[collections.Counter[str]]:
    """Count the transactions and statements of all databases."""
    counts = collections.Counter[str]()
    listeners: list[tuple[str, Callable[..., None]]] = [
        ("begin", lambda *_: counts.update(["transactions"])),
        ("before_cursor_execute", lambda *_: counts.update(["statements"])),
    ]
    for name, listener in listeners:
        sqlalchemy.event.listen(Engine, name, listener)
    try:
        yield counts
    finally:
        for name, listener in listeners:
            sqlalchemy.event.remove(Engine, name, listener)


def of_trial(run: Callable[[int], object], n_trials: int) -> dict[str, float]:
    """Return a trial's mean numbers of transactions and statements.

    Transactions and statements that happen once per study do not count.
    """
    n_first, found = 2, []
    for n in (n_first, n_first + n_trials):
        with counted() as counts:
            run(n)
        found.append(counts)
    fewer, more = found
    return {name: (more[name] - fewer[name]) / n_trials for name in ("transactions", "statements")}


def in_optimize(url: str, sampler: str, n_trials: int) -> dict[str, float]:
    """Return the transactions and statements of a trial of `study.optimize`."""

    def run(n: int) -> None:
        study = optuna.create_study(storage=url, sampler={**SAMPLERS, **OTHERS}[sampler]())
        study.optimize(objective, n, callbacks=[limit(10**9) for limit in LIMITS])

    return of_trial(run, n_trials)


def in_search(url: str, sampler: str, n_trials: int) -> dict[str, float]:
    """Return the transactions and statements of a trial of `search`."""
    quick = adnn.InitOffsetObjective(
        adnn.MLP(hidden=(4,)),
        adnn.load_dataset("digits"),
        training=adnn.Training(batch_size=500, epochs=1),
    )
    limits: Any = {"max_time": 1e9, "max_gain": 0.99, "confirm": 0, "test": False}

    def run(n: int) -> None:
        adnn.search(quick, NAMES[sampler], storage=url, max_trial=n, **limits)

    return of_trial(run, n_trials)


def transactions(n_trials: int) -> Results:
    """Return the transactions and statements of a trial by database, function and sampler."""
    verbs = {"study.optimize": in_optimize, "search": in_search}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls = {"SQLite": f"sqlite:///{folder}/transactions.db"}
        if find_binaries() is not None:
            urls["PostgreSQL"] = stack.enter_context(Server()).url
        return {
            database: {
                verb: {name: count(url, name, n_trials) for name in (*SAMPLERS, *OTHERS)}
                for verb, count in verbs.items()
            }
            for database, url in urls.items()
        }


def median_and_range(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def grown_by(of_storage: Results, name: str, what: str, sizes: list[str]) -> float:
    """Return the factor by which a trial's time grows, minus the growth of random search."""
    random = of_storage["Random"]
    return (of_storage[name][what] - random[what] + random[sizes[0]]) / of_storage[name][sizes[0]]


def summary(results: Results) -> str:
    """Return the measurements as tables."""
    searches = markdown_table(
        ["`search` on SQLite, beside training", "ms a trial"],
        [[name, median_and_range(values)] for name, values in results["search"].items()],
    )
    sizes = [str(size) for size in results["sizes"]]
    named = {"memory": "in memory", "sqlite": "on SQLite"}
    grown = markdown_table(
        [
            "`study.optimize`, ms a trial",
            *(f"after {size} trials" for size in sizes),
            "× (without Random's growth)",
            "with an abandoned trial",
            "first trial of a new sampler",
        ],
        [
            [
                f"{name}, {named[storage]}",
                *(f"{times[size]:.3g}" for size in sizes),
                f"{grown_by(of_storage, name, sizes[-1], sizes):.2f}",
                *(f"{times[what]:.3g}" for what in ("abandoned", "first")),
            ]
            for storage, of_storage in results["growth"].items()
            for name, times in of_storage.items()
        ],
    )
    of_calls = markdown_table(
        ["calls of the storage in a trial", "reads of the trials", "writes"],
        [
            [name, *(f"{of_name[kind]:.3g}" for kind in ("reads", "writes"))]
            for name, of_name in results["calls"].items()
        ],
    )
    tables = [searches, grown, of_calls]
    for database, verbs in results.get("transactions", {}).items():
        counts = [(verb, what) for verb in verbs for what in ("transactions", "statements")]
        names = next(iter(verbs.values()))
        rows = [
            [name, *(f"{verbs[verb][name][what]:.1f}" for verb, what in counts)] for name in names
        ]
        heads = [f"{verb}, {what}" for verb, what in counts]
        tables.append(markdown_table([f"a trial on {database}", *heads], rows))
    return "\n\n".join(tables)


def sentence(results: Results) -> str:
    """Return a sentence for the page on training about a search's time apart from training."""
    times = {name: statistics.median(values) for name, values in results["search"].items()}
    return (
        "In each trial, the sampler, SQLite and bookkeeping take "
        f"{times['random_restart']:.3g} ms with random restarts, {times['greedy']:.3g} ms\nwith "
        f"greedy and {times['annealing']:.3g} ms with annealing. These are medians of "
        f"{len(results['search']['greedy'])} searches of {results['n_trials']}\ntrials on digits "
        "(`python studies/trial_overhead.py`)."
    )


STUDY = Study("trial_overhead", lambda _: {}, summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short studies, in build/studies")
    quick = parser.parse_args().quick
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    TRIED.mkdir(parents=True, exist_ok=True)
    file = STUDY.results_file
    n_trials, sizes = (10, (50, 100)) if quick else (N_TRIALS, SIZES)
    searches = Searches()
    in_search: dict[str, list[float]] = {name: [] for name in SEARCHED}
    for _ in range(1 if quick else N_SEARCHES):
        for name in SEARCHED:
            in_search[name].append(searches.milliseconds(name, n_trials))
    results: Results = {
        "command": "python studies/trial_overhead.py",
        "machine": f"{platform.machine()}, {n_cores()} cores",
        "n_trials": n_trials,
        "sizes": sizes,
        "search": in_search,
        "growth": growth(sizes, 1 if quick else N_ROUNDS),
        "calls": {name: calls(name, n_trials) for name in SAMPLERS},
        "transactions": transactions(4 if quick else 80),
    }
    write_json(TRIED / file.name if quick else file, results)
    print(summary(results))


if __name__ == "__main__":
    main()
