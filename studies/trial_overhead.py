"""What a trial costs beside its training: sampler, storage and bookkeeping.

Three measurements, of each of which every contender has its turn in each repetition:

- ``search``: wall time of :func:`adnn_optuna.search` on an SQLite file less that of its
  trainings (digits, 64-64-10, 5 epochs, 100 trials), for each searcher;
- ``sqlite``: wall time of ``study.optimize`` on Optuna's own SQLite storage, with an objective
  that only asks for D parameters, for samplers of ours and of Optuna;
- ``memory``: processor time of the same in memory (D = 4), after 100, 1000 and 10,000 trials.

Nothing else should run meanwhile. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from _common import TRIED, Results, Study, markdown_table, write_json
from optuna.samplers import RandomSampler, TPESampler
from tqdm import tqdm

import adnn_optuna as adnn
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.samplers import BaseSampler

SEARCHERS = ("annealing", "greedy", "random_restart")
DIMENSIONS = (2, 4, 8)
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "Random": lambda: RandomSampler(seed=0),
    "annealing": lambda: adnn.AdaptiveSimulatedAnnealingSampler(seed=0),
    "greedy": lambda: adnn.DeltaStepSampler(deltas=(5e-5,), max_steps=20_000),
    "TPE": lambda: TPESampler(seed=0),
}
N_TRIALS = 100
# TPE takes hundreds of milliseconds a trial after 10,000 trials.
N_TRIALS_BEFORE = {
    name: (100, 1000) if name == "TPE" else (100, 1000, 10_000) for name in SAMPLERS
}
REPETITIONS = 5


class Searches:
    """Searches on digits whose trainings are timed."""

    def __init__(self, epochs: int = 5) -> None:
        self._objective = adnn.InitOffsetObjective(
            adnn.MLP(hidden=(64, 64)),
            adnn.load_dataset("digits"),
            training=adnn.Training(batch_size=32, epochs=epochs),
            space=adnn.OffsetSpace(low=-0.2, high=0.2),
        )
        self._seconds_trained = 0.0
        # The first search compiles, and imports what shows studies.
        self.milliseconds("annealing", 10)

    def milliseconds(self, searcher: str, n_trials: int) -> float:
        """Return what a trial takes beside its training."""
        train = Trainer.train

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return train(*args, **kwargs)
            finally:
                self._seconds_trained += time.perf_counter() - start

        self._seconds_trained = 0.0
        Trainer.train = timed  # type: ignore[method-assign]
        try:
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                storage = f"sqlite:///{folder}/studies.db"
                adnn.search(self._objective, searcher, storage=storage, max_trial=n_trials)
                seconds = time.perf_counter() - start
        finally:
            Trainer.train = train  # type: ignore[method-assign]
        return 1e3 * (seconds - self._seconds_trained) / n_trials


def objective(n_dims: int) -> Callable[[optuna.Trial], float]:
    def squares(trial: optuna.Trial) -> float:
        return sum((trial.suggest_float(f"x{i}", 0, 1) - 0.3) ** 2 for i in range(n_dims))

    return squares


def milliseconds_on_sqlite(sampler: str, n_dims: int, n_trials: int) -> float:
    """Return the wall time of a trial."""
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/study.db", sampler=SAMPLERS[sampler]()
        )
        study.optimize(objective(n_dims), n_trials=5)
        start = time.perf_counter()
        study.optimize(objective(n_dims), n_trials=n_trials)
        return 1e3 * (time.perf_counter() - start) / n_trials


def milliseconds_in_memory(sampler: str, n_trials: int) -> dict[str, float]:
    """Return the processor time of a trial, by how many there were before."""
    study = optuna.create_study(sampler=SAMPLERS[sampler]())
    found = {}
    for n_before in N_TRIALS_BEFORE[sampler]:
        study.optimize(objective(4), n_trials=n_before - len(study.trials))
        start = time.process_time()
        study.optimize(objective(4), n_trials=n_trials)
        found[str(n_before)] = 1e3 * (time.process_time() - start) / n_trials
    return found


def measure(searches: Searches, n_trials: int) -> Results:
    """Return one repetition of all measurements, in milliseconds."""
    return {
        "search": {name: searches.milliseconds(name, n_trials) for name in SEARCHERS},
        "sqlite": {
            str(n_dims): {
                name: milliseconds_on_sqlite(name, n_dims, n_trials) for name in SAMPLERS
            }
            for n_dims in DIMENSIONS
        },
        "memory": {name: milliseconds_in_memory(name, n_trials) for name in SAMPLERS},
    }


def median_and_range(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def in_search(results: Results) -> dict[str, list[float]]:
    """Return the milliseconds of a trial of each searcher, in each repetition."""
    return {name: [r["search"][name] for r in results["repetitions"]] for name in SEARCHERS}


def summary(results: Results) -> str:
    """Return the three measurements as tables."""
    repetitions = results["repetitions"]
    searches = markdown_table(
        ["`search` on SQLite, beside the trainings", "ms a trial"],
        [[name, median_and_range(values)] for name, values in in_search(results).items()],
    )
    of_sqlite = []
    for name in SAMPLERS:
        ratios = [
            [r["sqlite"][str(d)][name] / r["sqlite"][str(d)]["Random"] for r in repetitions]
            for d in DIMENSIONS
        ]
        mean = np.exp(np.mean([np.log(statistics.median(of_d)) for of_d in ratios]))
        of_sqlite.append([name, *map(median_and_range, ratios), f"{mean:.3g}"])
    header = [f"D = {d}" for d in DIMENSIONS]
    sqlite = markdown_table(
        ["`study.optimize` on SQLite, × Random", *header, "geometric mean"], of_sqlite
    )
    memory = markdown_table(
        ["in memory, ms of processor time a trial after", "100 trials", "1000", "10,000"],
        [
            [
                name,
                *(
                    median_and_range([r["memory"][name][str(n)] for r in repetitions])
                    if n in N_TRIALS_BEFORE[name]
                    else "–"
                    for n in (100, 1000, 10_000)
                ),
            ]
            for name in SAMPLERS
        ],
    )
    return f"{searches}\n\n{sqlite}\n\n{memory}"


def sentence(results: Results) -> str:
    """Return what the project's README says of it."""
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
    parser.add_argument("--quick", action="store_true", help="one repetition of 10 trials each")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    output = STUDY.results_file
    results: Results = {
        "command": "python studies/trial_overhead.py",
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "n_trials": N_TRIALS,
        "repetitions": [],
    }
    n_repetitions = arguments.repetitions
    if arguments.quick:
        TRIED.mkdir(parents=True, exist_ok=True)
        output = TRIED / output.name
        results["n_trials"], n_repetitions = 10, 1
    elif output.exists():
        results = json.loads(output.read_text(encoding="utf-8"))
    searches = Searches()
    for _ in tqdm(range(len(results["repetitions"]), n_repetitions), unit="repetition"):
        results["repetitions"].append(measure(searches, results["n_trials"]))
        write_json(output, results)
    print(summary(results))


if __name__ == "__main__":
    main()
