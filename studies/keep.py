"""Loops that keep changes: of 100 changes without effect, how many does each rule keep?

Whole loops are simulated in arrays, with noise of several kinds. The rules are ``adnn.keep`` and
three rules that people use. One keeps a change if its run is better than the best so far. One also
requires two better reruns. One compares the mean of three runs. Each change starts from the best
version so far.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from _common import (
    COLORS,
    CONTROL_COLOR,
    HERE,
    TRIED,
    Results,
    Study,
    markdown_table,
    panels,
    write_json,
)

from adnn_optuna.stats.keeping import Standard, judged, threshold

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL, N0, MAX_RUNS = 0.01, 8, 8
CANDIDATES = 100
LOOPS = 1000  # The number of loops in the committed results.
NORMAL = "normal"
UNEQUAL = "half of the changes 1.5 sd"
FAILING = "a tenth of the runs fail"
LAWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    NORMAL: lambda rng, shape: rng.standard_normal(shape),
    "t3": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "exponential, upward": lambda rng, shape: rng.exponential(size=shape) - 1,
    "exponential, downward": lambda rng, shape: 1 - rng.exponential(size=shape),
    UNEQUAL: lambda rng, shape: rng.standard_normal(shape),
    FAILING: lambda rng, shape: np.where(
        rng.random(shape) < 0.1, np.nan, rng.standard_normal(shape)
    ),
}
GAINS = (0, 2, 3)  # The gain of every tenth change, in sd. With 0, no change has an effect.


class Judgement(NamedTuple):
    """A rule's decision on one change in each loop: whether it is kept, runs, reported gain.

    ``best`` is the rule's state in the loops that keep the change.
    """

    kept: np.ndarray
    n_runs: np.ndarray
    gain: np.ndarray
    best: Any


class Keep:
    """The rule of ``adnn.keep``. Its state is the best runs' mean, number and worst value."""

    n_first, n_runs = N0, MAX_RUNS

    def begin(self, values: np.ndarray) -> np.ndarray:
        """Return the state after the runs of the baseline."""
        self._squares = np.zeros(len(values))
        self._degrees = np.zeros(len(values), dtype=int)
        return self._state(values, np.ones(len(values), dtype=bool))

    def judge(self, best: np.ndarray, values: np.ndarray) -> Judgement:
        """Judge one change in each loop; the rule may use only some of the runs."""
        mean, n_best, worst = best
        cases = np.stack([n_best.astype(int), self._degrees])
        unique, places = np.unique(cases, axis=1, return_inverse=True)
        thresholds = [threshold(LEVEL, MAX_RUNS, int(n), int(df)) for n, df in unique.T]
        needed = np.array(thresholds)[places.ravel()]
        sd = np.sqrt(self._squares / self._degrees)
        n_made = np.full(len(values), MAX_RUNS)
        kept, _, n_runs = judged(values, n_made, Standard(mean, worst, sd, needed))
        state = self._state(values, kept)
        return Judgement(kept, n_runs, state[0] - mean, state)

    def _state(self, values: np.ndarray, kept: np.ndarray) -> np.ndarray:
        n = np.sum(~np.isnan(values), axis=1)
        means = np.nansum(values, axis=1) / np.maximum(n, 1)
        squares = np.nansum((values - means[:, np.newaxis]) ** 2, axis=1)
        self._squares += np.where(kept, squares, 0)
        self._degrees += np.where(kept, n - 1, 0)
        worst = np.where(np.isnan(values), np.inf, values).min(axis=1)
        return np.stack([means, n, worst])


class KeepIfBetter:
    """Keeps a change if the mean of its runs is better than the mean of the best so far."""

    def __init__(self, n_runs: int = 1) -> None:
        self.n_first = self.n_runs = n_runs

    def begin(self, values: np.ndarray) -> np.ndarray:
        """Return the state after the runs of the baseline."""
        return np.nanmean(values, axis=1)[np.newaxis]

    def judge(self, best: np.ndarray, values: np.ndarray) -> Judgement:
        """Judge one change in each loop; a change with a failed run is not kept."""
        means = values.mean(axis=1)
        n_runs = np.full(len(values), self.n_runs)
        return Judgement(means > best[0], n_runs, means - best[0], means[np.newaxis])


class TwoReruns(KeepIfBetter):
    """Keeps a change if its run and then two reruns are better than the best so far."""

    def __init__(self) -> None:
        super().__init__(3)

    def judge(self, best: np.ndarray, values: np.ndarray) -> Judgement:
        """Judge one change in each loop; a change with a failed run is not kept."""
        better = values > best[0][:, np.newaxis]
        means = values.mean(axis=1)
        n_runs = np.where(better[:, 0], 3, 1)
        return Judgement(better.all(axis=1), n_runs, means - best[0], means[np.newaxis])


OURS = "adnn.keep"
RULES: dict[str, Callable[[], Any]] = {
    "keep if better": KeepIfBetter,
    "two reruns": TwoReruns,
    "mean of three": lambda: KeepIfBetter(3),
    OURS: Keep,
}


def simulate(name: str, law: str, gain: float, loops: int, seed: int = 0) -> dict[str, float]:
    """Return a rule's rates in whole loops; every tenth change gains ``gain`` sd."""
    rng = np.random.default_rng(seed)
    rule = RULES[name]()
    first = LAWS[law](rng, (loops, rule.n_first))
    while (empty := np.isnan(first).sum(axis=1) > rule.n_first - min(rule.n_first, 3)).any():
        first[empty] = LAWS[law](rng, (int(empty.sum()), rule.n_first))
    best = rule.begin(first)
    true_mean = np.zeros(loops)
    n_false, n_real, n_runs, reported = 0, 0, 0, []
    for place in range(CANDIDATES):
        is_real = place % 10 == 9 and gain > 0
        means = true_mean + gain * is_real
        sds = np.ones((loops, 1))
        if law == UNEQUAL:
            sds = rng.choice([1.0, 1.5], (loops, 1))
        values = means[:, np.newaxis] + sds * LAWS[law](rng, (loops, rule.n_runs))
        judgement = rule.judge(best, values)
        kept = judgement.kept
        n_runs += int(judgement.n_runs.sum())
        if is_real:
            n_real += int(kept.sum())
        else:
            n_false += int(kept.sum())
            reported.append(judgement.gain[kept])
        best = np.where(kept, judgement.best, best)
        true_mean = np.where(kept, means, true_mean)
    return {
        "false": n_false / loops,
        "real": n_real / (loops * CANDIDATES / 10),
        "runs": n_runs / (loops * CANDIDATES),
        "reported": float(np.concatenate(reported).sum()) / loops,
    }


def run(loops: int) -> Results:
    """Simulate all rules with all kinds of noise."""
    rows = []
    for name, law, gain in itertools.product(RULES, LAWS, GAINS):
        rows.append({"rule": name, "noise": law, "gain": gain, **simulate(name, law, gain, loops)})
    return {"setting": {"loops": loops}, "rows": rows}


def _cell(results: Results, name: str, law: str, gain: int) -> dict[str, float]:
    rows = results["rows"]
    [row] = [r for r in rows if (r["rule"], r["noise"], r["gain"]) == (name, law, gain)]
    return dict(row)


def summary(results: Results) -> str:
    """Return the rates of each rule, for each kind of noise, as a table."""
    lines = []
    for law, name in itertools.product(LAWS, RULES):
        nothing, two, three = (_cell(results, name, law, gain) for gain in GAINS)
        false, reported = f"{nothing['false']:.1f}", f"{nothing['reported']:.1f}"
        power = f"{100 * two['real']:.0f}%", f"{100 * three['real']:.0f}%"
        beside = f"{three['false']:.1f}"
        runs = f"{nothing['runs']:.1f}", f"{three['runs']:.1f}"
        lines.append([f"{law}: {name}", false, reported, *power, beside, *runs])
    header = ["noise: rule", "kept of 100 that do nothing", "gain reported for them [sd]"]
    header += ["2 sd kept", "3 sd kept", "false ones beside 3 sd", "runs", "runs beside 3 sd"]
    return markdown_table(header, lines)


def figures(results: Results) -> dict[str, go.Figure]:
    """Return the changes that each rule keeps: changes without effect, and changes that gain."""
    titles = ("changes that do nothing, kept of 100", "changes of 2 sd, kept [%]")
    figure = panels(titles, "", "", columns=2)
    false = {}
    for name in RULES:
        false[name] = [_cell(results, name, law, 0)["false"] for law in LAWS]
        power = [100 * _cell(results, name, law, 2)["real"] for law in LAWS]
        color = COLORS[0] if name == OURS else CONTROL_COLOR
        for column, y in enumerate((false[name], power), 1):
            points = go.Scatter(x=[name] * len(y), y=y, mode="markers", hovertext=[*LAWS])
            figure.add_trace(points.update(marker={"color": color, "size": 11}), row=1, col=column)
    most = max(false.pop(OURS))
    least = min(map(min, false.values()))
    title = f"{OURS} keeps at most {most:.1f} of 100 changes that do nothing, "
    title = f"{title}others at least {least:.1f}"
    caption = f"Points: {len(LAWS)} kinds of noise, {results['setting']['loops']:,} loops each."
    figure.update_layout(title={"text": title, "subtitle": {"text": caption}}, showlegend=False)
    figure.update_layout(margin={"t": 120, "b": 50})
    figure.update_yaxes(rangemode="tozero")
    return {"": figure}


STUDY = Study("keep", figures, summary)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 loops")
    parser.add_argument("--output", type=Path, help="folder of the results")
    args = parser.parse_args()
    loops = 10 if args.quick else LOOPS
    folder = args.output or (TRIED if args.quick else HERE)
    folder.mkdir(parents=True, exist_ok=True)
    results = run(loops)
    write_json(folder / "keep.json", results)
    print(summary(results))
