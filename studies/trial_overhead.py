"""What a trial costs beside its training: sampler, storage and bookkeeping.

Four measurements, of each of which every contender has its turn in each repetition:

- ``search``: wall time of :func:`adnn_optuna.search` on an SQLite file less that of its
  trainings (digits, 64-64-10, 5 epochs, 100 trials), for each searcher;
- ``sqlite``: wall time of a trial in ``study.optimize``, of an objective that only asks for two
  parameters, on SQLite with write-ahead logging as ``search`` opens it, after 100 and after 2000
  trials, also in a study with a trial that was asked for at its beginning and never told;
- ``memory``: the processor's time of such a trial in memory, with a callback for each limit, after
  1000, 10,000 and 20,000 trials, and of the first one of a new sampler after these;
- ``calls``: how often such a trial reads the study's trials from its storage, and how often it
  writes to it.

Nothing else should run meanwhile. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import collections
import json
import platform
import statistics
import tempfile
import time
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from _common import TRIED, Results, Study, markdown_table, write_json
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from tqdm import tqdm

import adnn_optuna as adnn
from adnn_optuna.callbacks import LIMITS
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.networks.training import n_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.samplers import BaseSampler

    from adnn_optuna.networks.training import Trainer

SEARCHERS = ("annealing", "greedy", "random_restart")
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "Random": lambda: RandomSampler(seed=0),
    "annealing": lambda: adnn.AdaptiveSimulatedAnnealingSampler(seed=0),
    "greedy": lambda: adnn.DeltaStepSampler(deltas=(2e-5,), max_steps=50_000),
    "random_restart": lambda: adnn.RandomRestartSampler(seed=0),
    "TPE": lambda: TPESampler(seed=0),
}
# TPE's time grows with the study by its nature.
IN_MEMORY: dict[str, Callable[[], BaseSampler]] = {
    **{name: make for name, make in SAMPLERS.items() if name != "TPE"},
    "greedy_improving": lambda: adnn.DeltaStepSampler((2e-5,), 50_000, accept="improving"),
}
STUDIES = ("alone", "abandoned")
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
N_TRIALS_BEFORE = (100, 2000)
N_TRIALS_IN_MEMORY = (1000, 10_000, 20_000)
REPETITIONS = 3


class CountingStorage(InMemoryStorage):
    """Counts the calls of some of its methods."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = collections.Counter[str]()

    def __getattribute__(self, name: str) -> Any:
        if name in READS + WRITES:
            self.calls[name] += 1
        return super().__getattribute__(name)


class TimedTrainer:
    """A trainer that knows how long it has trained."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, and look at the clock."""
        start = time.perf_counter()
        try:
            return self._trainer.train(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - start


class Searches:
    """Searches on digits whose trainings are timed."""

    def __init__(self, epochs: int = 5) -> None:
        self._objective = adnn.InitOffsetObjective(
            adnn.MLP(hidden=(64, 64)),
            adnn.load_dataset("digits"),
            training=adnn.Training(batch_size=32, epochs=epochs),
            space=adnn.OffsetSpace(low=-0.2, high=0.2),
        )
        self._trainer = TimedTrainer(self._objective.trainer)
        self._objective._trainer = self._trainer  # type: ignore[assignment]  # noqa: SLF001
        # The first search compiles, and imports what shows studies.
        self.milliseconds("annealing", 10)

    def milliseconds(self, searcher: str, n_trials: int) -> float:
        """Return what a trial takes beside its training."""
        self._trainer.seconds = 0.0
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            storage = f"sqlite:///{folder}/studies.db"
            adnn.search(self._objective, searcher, storage=storage, max_trial=n_trials)
            seconds = time.perf_counter() - start
        return 1e3 * (seconds - self._trainer.seconds) / n_trials


def objective(trial: optuna.Trial) -> float:
    if isinstance(trial.study.sampler, adnn.RandomRestartSampler):
        return float(trial.suggest_int("restart", 0, 2**31) + trial.suggest_float("x", 0, 1))
    return (trial.suggest_float("x", 0, 1) - 0.3) ** 2 + trial.suggest_float("y", 0, 1)


def milliseconds_on_sqlite(sampler: str, kind: str, before: tuple[int, ...]) -> dict[str, float]:
    """Return the wall time of a trial, by how many there were before."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=open_storage(f"sqlite:///{folder}/study.db"), sampler=SAMPLERS[sampler]()
        )
        if kind == "abandoned":
            with warnings.catch_warnings():
                # That nothing will beat for it, as in `study.optimize`, is what is wanted.
                warnings.simplefilter("ignore", UserWarning)
                study.ask()
        for n_before in before:
            study.optimize(objective, n_trials=n_before - len(study.trials))
            start = time.perf_counter()
            study.optimize(objective, n_trials=N_TRIALS)
            found[str(n_before)] = 1e3 * (time.perf_counter() - start) / N_TRIALS
    return found


def milliseconds_in_memory(sampler: str, before: tuple[int, ...]) -> dict[str, float]:
    """Return the processor's time of a trial, by how many were before, and of a first one."""
    study = optuna.create_study(sampler=IN_MEMORY[sampler]())
    limits = [limit(10**9) for limit in LIMITS]
    found = {}

    def milliseconds(n_trials: int) -> float:
        start = time.process_time()
        study.optimize(objective, n_trials=n_trials, callbacks=limits)
        return 1e3 * (time.process_time() - start) / n_trials

    for n_before in before:
        milliseconds(n_before - len(study.trials))
        # In some of them, Python looks for garbage among all trials.
        found[str(n_before)] = statistics.median(milliseconds(20) for _ in range(5))
    study.sampler = IN_MEMORY[sampler]()
    return {**found, "first": milliseconds(1)}


def calls(sampler: str, n_trials: int) -> dict[str, float]:
    """Return how often a trial reads the trials, and writes."""
    storage = CountingStorage()
    study = optuna.create_study(storage=storage, sampler=SAMPLERS[sampler]())
    # What is stored once is not a trial's.
    study.optimize(objective, n_trials=5)
    storage.calls.clear()
    study.optimize(objective, n_trials=n_trials)
    return {
        kind: sum(storage.calls[name] for name in names) / n_trials
        for kind, names in (("reads", READS), ("writes", WRITES))
    }


def measure(searches: Searches, results: Results) -> Results:
    """Return one repetition of all measurements, in milliseconds."""
    n_trials, before = results["n_trials"], tuple(results["n_trials_before"])
    in_memory = tuple(results["n_trials_in_memory"])
    return {
        "search": {name: searches.milliseconds(name, n_trials) for name in SEARCHERS},
        "sqlite": {
            kind: {name: milliseconds_on_sqlite(name, kind, before) for name in SAMPLERS}
            for kind in STUDIES
        },
        "memory": {name: milliseconds_in_memory(name, in_memory) for name in IN_MEMORY},
        "calls": {name: calls(name, n_trials) for name in SAMPLERS},
    }


def median_and_range(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def in_search(results: Results) -> dict[str, list[float]]:
    """Return the milliseconds of a trial of each searcher, in each repetition."""
    return {name: [r["search"][name] for r in results["repetitions"]] for name in SEARCHERS}


def summary(results: Results) -> str:
    """Return the four measurements as tables."""
    repetitions = results["repetitions"]
    searches = markdown_table(
        ["`search` on SQLite, beside the trainings", "ms a trial"],
        [[name, median_and_range(values)] for name, values in in_search(results).items()],
    )
    cells = [(kind, str(n)) for kind in STUDIES for n in results["n_trials_before"]]

    def times(name: str, kind: str, before: str) -> list[float]:
        return [r["sqlite"][kind][name][before] for r in repetitions]

    def ratios(name: str, kind: str, before: str) -> list[float]:
        random = times("Random", kind, before)
        return [t / r for t, r in zip(times(name, kind, before), random, strict=True)]

    note = {"alone": "", "abandoned": ", beside an abandoned one"}
    sqlite = markdown_table(
        ["`study.optimize`, × Random", *(f"after {n} trials{note[kind]}" for kind, n in cells)],
        [
            ["Random", *(f"{statistics.median(times('Random', *cell)):.3g} ms" for cell in cells)],
            *(
                [name, *(median_and_range(ratios(name, *cell)) for cell in cells)]
                for name in SAMPLERS
                if name != "Random"
            ),
        ],
    )
    sizes = [str(n) for n in results["n_trials_in_memory"]]
    memory = markdown_table(
        [
            "`study.optimize` in memory, ms",
            *(f"after {n} trials" for n in sizes),
            f"the first of a new sampler after {sizes[-1]}",
        ],
        [
            [name, *(median_and_range([r["memory"][name][n] for r in repetitions]) for n in cells)]
            for cells in [[*sizes, "first"]]
            for name in IN_MEMORY
        ],
    )
    counted = markdown_table(
        ["calls of the storage in a trial", "reads of the trials", "writes"],
        [
            [name, *(f"{repetitions[0]['calls'][name][kind]:.3g}" for kind in ("reads", "writes"))]
            for name in SAMPLERS
        ],
    )
    return f"{searches}\n\n{sqlite}\n\n{memory}\n\n{counted}"


def sentence(results: Results) -> str:
    """Return what the page on training says of it."""
    times = {name: median_and_range(values) for name, values in in_search(results).items()}
    return (
        "Not only training counts in a search: sampler, SQLite and bookkeeping take another "
        f"{times['random_restart']} ms\na trial with random restarts, {times['greedy']} with "
        f"greedy and {times['annealing']} with annealing\n(median and range of "
        f"{len(results['repetitions'])} searches of {results['n_trials']} trials, digits; "
        "`python studies/trial_overhead.py`)."
    )


STUDY = Study("trial_overhead", lambda _: {}, summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--quick", action="store_true", help="one repetition of short studies")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    output = STUDY.results_file
    results: Results = {
        "command": "python studies/trial_overhead.py",
        "machine": f"{platform.machine()}, {n_cores()} cores",
        "n_trials": N_TRIALS,
        "n_trials_before": N_TRIALS_BEFORE,
        "n_trials_in_memory": N_TRIALS_IN_MEMORY,
        "repetitions": [],
    }
    n_repetitions = arguments.repetitions
    if arguments.quick:
        TRIED.mkdir(parents=True, exist_ok=True)
        output = TRIED / output.name
        results |= {"n_trials": 10, "n_trials_before": (100, 200)}
        results["n_trials_in_memory"] = (100, 1000)
        n_repetitions = 1
    elif output.exists():
        results = json.loads(output.read_text(encoding="utf-8"))
    searches = Searches()
    for _ in tqdm(range(len(results["repetitions"]), n_repetitions), unit="repetition"):
        results["repetitions"].append(measure(searches, results))
        write_json(output, results)
    print(summary(results))


if __name__ == "__main__":
    main()
