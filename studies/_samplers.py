"""Code that the sampler benchmarks share: `adnn.compare` runs their cells one by one.

A cell is the result of one sampler on one seed of a problem, in a number of trials. Each cell is
written when it is complete, so an interrupted benchmark continues. The results use all written
cells.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import itertools
import json
import math
import pathlib
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
from _common import HERE, TRIED, Results, Study, markdown_table
from _rivals import CatCMAwMSampler, ConfOptSampler, SMACSampler
from _stopwatch import Stopwatch
from optuna import samplers
from scipy import stats
from tqdm import tqdm

import adnn_optuna as adnn
from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from _case import Case
    from optuna.samplers import BaseSampler

    from adnn_optuna.engine.arms import SamplerSpec

OURS, RANDOM = "annealing", "random"
_SMALLEST = 1e-12  # Smaller regrets are set to this value.


@dataclasses.dataclass(frozen=True)
class Method:
    """A sampler, and the way to run it.

    Args:
        sampler: A function of a case. It returns the sampler, or a factory of samplers.
        needs: The package that the sampler needs.
        takes: A function that returns whether the sampler runs for a case. Some samplers are slow,
            and some do not support conditions.
        batch_size: The number of trials that are proposed before any of them is told.
    """

    sampler: Callable[[Case], SamplerSpec]
    needs: str = "optuna"
    takes: Callable[[Case], bool] = lambda _: True
    batch_size: int = 1


def seeded(kind: Callable[..., BaseSampler], **options: Any) -> Callable[[Case], SamplerSpec]:
    """Return a function of a case that returns a factory of samplers with a seed."""
    return lambda _: lambda seed, _: kind(seed=seed, **options)


def annealing(_: Case) -> SamplerSpec:
    """Return the factory of our sampler, whose schedule depends on the number of trials."""
    return AdaptiveSimulatedAnnealingSampler


def is_short(case: Case) -> bool:
    """Return whether a case is short enough for samplers that need seconds per trial."""
    return case.trials in (30, 100)


def is_short_and_flat(case: Case) -> bool:
    """Return whether a case is short enough and has no conditions."""
    return is_short(case) and not case.is_conditional


METHODS: dict[str, Method] = {
    OURS: Method(annealing),
    "TPE": Method(seeded(samplers.TPESampler)),
    "CMA-ES": Method(seeded(samplers.CmaEsSampler, warn_independent_sampling=False), "cmaes"),
    "CatCMAwM": Method(CatCMAwMSampler, "cmaes", lambda case: not case.is_conditional),
    "GP": Method(seeded(samplers.GPSampler), "torch", is_short),
    "SMAC": Method(SMACSampler, "smac", is_short),
    "ConfOpt": Method(ConfOptSampler, "confopt", is_short_and_flat),
    "QMC": Method(seeded(samplers.QMCSampler, scramble=True)),
    RANDOM: Method(seeded(samplers.RandomSampler)),
}


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the finished cells, without lines that were cut off."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def run(path: pathlib.Path, cases: Sequence[Case], methods: Mapping[str, Method]) -> None:
    """Run the cells that are missing in the file."""
    made = {tuple(cell.values())[:5] for cell in read(path)}
    with path.open("a", encoding="utf-8") as file:
        file.write("\n")  # The last line may have been cut off.
        for case in tqdm(cases):
            todo = [
                name
                for name, method in methods.items()
                if method.takes(case) and tuple(case.key(name).values()) not in made
            ]
            alone = [name for name in todo if methods[name].batch_size > 1]
            for names in ([n for n in todo if n not in alone], *([name] for name in alone)):
                for cell in _compared(case, {name: methods[name] for name in names}):
                    file.write(json.dumps(cell) + "\n")
                file.flush()


def _compared(case: Case, arms: Mapping[str, Method]) -> Iterator[dict[str, Any]]:
    """Compare samplers that have the same batch size, and yield their cells."""
    if not arms:
        return
    method, storage = next(iter(arms.values())), optuna.storages.InMemoryStorage()
    # `compare` always adds random search under its own name, without measuring its time.
    labels = {name: f"{name}, measured" for name in arms}
    watches = {name: Stopwatch() for name in arms}
    for label in {*labels.values(), RANDOM} if case.start else ():
        name = f"compare/{label}/seed={case.seed}"
        optuna.create_study(storage=storage, study_name=name).enqueue_trial(dict(case.start or {}))
    with warnings.catch_warnings():
        # The warnings say that one seed decides nothing, and that some samplers are experimental.
        warnings.simplefilter("ignore")
        comparison = adnn.compare(
            case.objective,
            {labels[name]: watches[name].watched(arms[name].sampler(case)) for name in arms},
            max_trial=case.trials,
            seeds=[case.seed],
            confirm=1,
            storage=storage,
            batch_size=method.batch_size,
        )
    for name in arms:
        [found] = comparison.results[labels[name]]
        best = np.minimum.accumulate([trial.value for trial in found.study.trials])
        curve = {n: float(best[n - 1]) for n in case.at}
        seconds = round(watches[name].seconds, 4)
        key = case.key(name)
        yield {**key, "regret": found.record.test_value, "curve": curve, "seconds": seconds}
        if case.again is not None:
            chosen = adnn.recheck(found.study, case.again, top=5, choose=4, confirm=2).trial
            key["group"] = f"{case.group}, rechecked"
            regret = case.objective(chosen, 0)
            yield {**key, "regret": regret, "curve": {}, "seconds": seconds}


def rows_of(
    cells: Sequence[Mapping[str, Any]],
    *,
    geometric: bool = False,
    of: tuple[str, ...] = ("seed",),
) -> list[dict[str, Any]]:
    """Return each sampler's results and differences from ours, by group and number of trials.

    Samplers without runs on some problems or seeds have no rank. Problems and seeds without runs
    of our sampler do not count.

    Args:
        cells: The finished cells.
        geometric: Whether mean regrets are geometric means.
        of: The levels that are random for the CI of mean ranks; see :func:`mean_over`.
    """
    rows = []
    for (group, trials), found in (
        pd.DataFrame(cells).groupby(["group", "trials"]) if cells else ()
    ):
        regrets = found.pivot_table("regret", ["problem", "seed"], "method")
        if OURS not in regrets:
            continue
        regrets = regrets[regrets[OURS].notna()].clip(lower=0.0)
        ranks, logs = regrets.dropna(axis=1).rank(axis=1), np.log(regrets.clip(lower=_SMALLEST))
        seconds = found.groupby("method")["seconds"].mean()
        for name in regrets:
            values = (logs if geometric else regrets)[name].dropna()
            means = {"": values.mean(), **values.groupby("problem").mean()}
            means = {key: float(np.exp(v) if geometric else v) for key, v in means.items()}
            ratio = mean_over((logs[OURS] - logs[name]).dropna())
            difference = (regrets[OURS] - regrets[name]).dropna().groupby("seed").mean()
            rows.append(
                {
                    "group": group,
                    "trials": trials,
                    "method": name,
                    "n_seeds": len(values.groupby("seed")),
                    "regret": means.pop(""),
                    "regrets": means,
                    "mean_rank": mean_over(ranks[name], of) if name in ranks else None,
                    "ours_over_it": [None if end is None else math.exp(end) for end in ratio],
                    "ours_minus_it": [float(difference.mean()), _or_none(difference.sem())],
                    "seconds": float(seconds[name]),
                }
            )
    return rows


def _or_none(value: float) -> float | None:
    """Return a number, or None if it is not finite. A standard error of one seed is not finite."""
    return float(value) if math.isfinite(value) else None


def mean_over(values: pd.Series, of: tuple[str, ...] = ("seed",)) -> list[float | None]:
    """Return a mean and the ends of its 95% CI; with one seed or problem, the ends are None.

    Seeds are independent, and the CI is valid for the benchmark's own problems. If ``of`` also
    names the problems, the CI is valid for other problems, too. The squared standard error then
    has three terms: over problems, plus over seeds, minus over all values (Cameron, Gelbach and
    Miller 2011, for two-way clusters).
    """
    by = [values.groupby(level).mean() for level in of]
    mean, n = float(by[-1].mean()), min(map(len, by))
    if n < 2:
        return [mean, None, None]
    variances = [means.sem() ** 2 for means in by]
    variance = sum(variances) - (len(of) - 1) * values.sem() ** 2
    half = float(stats.t.ppf(0.975, n - 1) * math.sqrt(max(variance, *variances)))
    return [mean, mean - half, mean + half]


def methods_of(results: Results) -> list[str]:
    """Return the names of the samplers, ours first."""
    names = dict.fromkeys(row["method"] for row in results["rows"])
    return sorted(names, key=lambda name: (not name.startswith(OURS), name))


def label_of(row: Mapping[str, Any]) -> str:
    """Return the name of a row of the results."""
    return f"{row['group']}, {row['trials']}" if row["group"] else str(row["trials"])


def with_interval(mean: Sequence[float | None], form: str) -> str:
    """Return a mean and its 95% CI as text."""
    value, *ends = (None if end is None else format(end, form) for end in mean)
    return str(value) if None in ends else f"{value} ({' to '.join(map(str, ends))})"


def rank_tables(results: Results) -> str:
    """Return mean ranks, seconds, and mean regrets on each problem, as tables.

    A table's cell is empty if a sampler has no runs on some problems or seeds.
    """
    names = methods_of(results)
    ranks, regrets = [], []
    for label, of in itertools.groupby(results["rows"], key=label_of):
        rows = {row["method"]: row for row in of if row["mean_rank"]}
        first = rows[OURS]
        texts = {name: with_interval(row["mean_rank"], ".2f") for name, row in rows.items()}
        ranks.append([f"{label} ({first['n_seeds']})", *(texts.get(name, "") for name in names)])
        for problem in first["regrets"]:
            means = {name: row["regrets"][problem] for name, row in rows.items()}
            texts = {name: f"{1000 * mean:.3g}" for name, mean in means.items()}
            texts |= {n: f"**{texts[n]}**" for n in means if means[n] == min(means.values())}
            regrets.append([f"{problem}, {label}", *(texts.get(name, "") for name in names)])
    tables = {"mean rank after trials (seeds)": ranks, "regret × 1000": regrets}
    shown = [markdown_table([corner, *names], of) for corner, of in tables.items()]
    return "\n\n".join([shown[0], *seconds_table(results), shown[1]])


def differences(results: Results) -> list[str]:
    """Return a table of our mean regret minus each other sampler's, or an empty list."""
    others = methods_of(results)[1:]
    found = {
        (label_of(row), row["method"]): row["ours_minus_it"]
        for row in results["rows"]
        if "ours_minus_it" in row
    }
    lines = []
    for label in dict.fromkeys(label for label, _ in found):
        texts = (found.get((label, name)) for name in others)
        lines.append([label, *("" if of is None else with_error(*of) for of in texts)])
    corner = f"regret of {OURS} − its (standard error)"
    return [markdown_table([corner, *others], lines)] if lines else []


def with_error(mean: float, error: float | None) -> str:
    """Return a mean and its standard error as text."""
    return f"{mean:+.3f}" if error is None else f"{mean:+.3f} ({error:.3f})"


def seconds_table(results: Results) -> list[str]:
    """Return the seconds that proposals take as a table, or an empty list without measurements."""
    names = methods_of(results)
    # A recheck proposes nothing, so its rows have no seconds.
    measured = [r for r in results["rows"] if "seconds" in r and "rechecked" not in r["group"]]
    lines = []
    for label, of in itertools.groupby(measured, key=label_of):
        seconds = {row["method"]: f"{row['seconds']:.2g}" for row in of}
        lines.append([label, *(seconds.get(name, "") for name in names)])
    corner = "mean seconds of proposing a run"
    return [markdown_table([corner, *names], lines)] if lines else []


def parser_of(description: str, seeds: int) -> argparse.ArgumentParser:
    """Return a parser with the options that all sampler benchmarks have."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=seeds, help="number of seeds; 0 only sums up")
    parser.add_argument("--methods", nargs="*", help="run only these samplers")
    parser.add_argument("--quick", action="store_true", help="a few cells, in build/studies")
    parser.add_argument("--cells", type=pathlib.Path, help="file of finished cells to continue")
    parser.add_argument("--write", action="store_true", help="write the results")
    return parser


def main(
    study: Study,
    arguments: argparse.Namespace,
    methods: Mapping[str, Method],
    cases: Iterable[Case],
    summed_up: Callable[[list[dict[str, Any]]], Results],
) -> None:
    """Run a benchmark by its command line, print its summary, and write results on request."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    missing = {n: m.needs for n, m in methods.items() if not importlib.util.find_spec(m.needs)}
    for name, package in missing.items():
        print(f"Without {name}: the package {package} is not installed.")
    chosen = set(arguments.methods or methods) - missing.keys()
    output = (TRIED if arguments.quick else HERE) / study.results_file.name
    output.parent.mkdir(parents=True, exist_ok=True)
    path = arguments.cells or output.with_suffix(".jsonl")
    try:
        run(path, list(cases), {name: of for name, of in methods.items() if name in chosen})
    except KeyboardInterrupt:
        print(f"\nInterrupted; run it again to go on with {path}.")
    cells = read(path)
    if not cells:
        print(f"There is no finished cell in {path}: nothing is written.")
        return
    results = summed_up(cells)
    packages = {methods[name].needs for name in chosen}
    results["settings"] |= {
        "versions": {name: version(name) for name in sorted({"numpy", "optuna", *packages})},
        "not installed": missing,
    }
    print(study.summary(results))
    if arguments.write:
        output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
