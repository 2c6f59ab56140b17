"""Errors of reported values and of estimates for new data, measured on held-out data.

TPE, annealing and random search tune decision trees on four data sets of scikit-learn, with small,
middle and large validation parts. The true value is the value on all examples that were used
neither for training nor for validation. Each run is a line of a file, so the study continues after
a kill. It takes an hour, or a minute with ``--quick``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import plotly.graph_objects as go
from _common import COLORS, HERE, TRIED, Results, Study, markdown_table, write_json
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import adnn_optuna as adnn
from adnn_optuna.stats.intervals import Z

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = ("breast_cancer", "diabetes", "digits", "wine")
# The shares of the examples that are for validation.
PARTS = {"small": 0.1, "middle": 0.2, "large": 0.4}
TRAINING = 0.25
SAMPLERS = ("annealing", "random", "tpe")
TRIALS = (30, 200)
REPETITIONS = 50  # The number in the committed results.


class Tuning:
    """The tuning of a tree on one split of a data set. A regression's scores are absolute errors.

    Args:
        name: The data set.
        part: The share of the examples that are for validation.
        repetition: The seed of the split.
    """

    def __init__(self, name: str, part: float, repetition: int) -> None:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        self.is_loss = name == "diabetes"
        if self.is_loss:
            y = (y - y.mean()) / y.std()
        train, rest = train_test_split(
            np.arange(len(y)), train_size=TRAINING, random_state=repetition
        )
        self._x, self._y, self._train = x, y, train
        n_val = round(part * len(y))
        self.parts = {"val": rest[:n_val], "new": rest[n_val:]}
        self.models: dict[int, Any] = {}

    def __call__(self, trial: optuna.Trial) -> float:
        """Train the tree of a trial, and store the scores of the validation examples."""
        kind = DecisionTreeRegressor if self.is_loss else DecisionTreeClassifier
        model = kind(
            max_depth=trial.suggest_int("max_depth", 2, 20),
            min_samples_leaf=trial.suggest_int("min_samples_leaf", 1, 20),
            max_features=trial.suggest_float("max_features", 0.1, 1.0),
            ccp_alpha=trial.suggest_float("ccp_alpha", 1e-5, 0.05, log=True),
            random_state=trial.number,
        )
        self.models[trial.number] = model.fit(self._x[self._train], self._y[self._train])
        return adnn.log_scores(trial, self.scores(trial.number, "val"))

    def scores(self, number: int, part: str) -> np.ndarray:
        """Return the scores of a part's examples, by the tree of a trial."""
        rows = self.parts[part]
        predicted = self.models[number].predict(self._x[rows])
        if self.is_loss:
            return np.asarray(np.abs(predicted - self._y[rows]))
        return np.asarray(predicted == self._y[rows])


def sampler_of(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return a sampler by its name."""
    if name == "annealing":
        return adnn.AdaptiveSimulatedAnnealingSampler(seed=seed)
    kind = optuna.samplers.TPESampler if name == "tpe" else optuna.samplers.RandomSampler
    return kind(seed=seed)


def run_cell(name: str, part: str, sampler: str, trials: int, repetition: int) -> dict[str, Any]:
    """Tune once; return the errors of the reported and of the expected value, and more.

    A positive error means that the value is better than the true value.
    """
    tuning = Tuning(name, PARTS[part], repetition)
    study = optuna.create_study(
        direction="minimize" if tuning.is_loss else "maximize",
        sampler=sampler_of(sampler, repetition),
    )
    study.optimize(tuning, n_trials=trials)
    found = adnn.overtuning(study)
    value, low, high = found.new_data
    scores = tuning.scores(study.best_trial.number, "new")
    sign = -1 if tuning.is_loss else 1
    true, error = float(scores.mean()), float(scores.std() / len(scores) ** 0.5)
    return {
        "data": name,
        "part": part,
        "sampler": sampler,
        "trials": trials,
        "repetition": repetition,
        "n": len(tuning.parts["val"]),
        "error": error,
        "reported": sign * (found.reported - true),
        "expected": sign * (value - true),
        "half_width": (high - low) / 2,
    }


def cells(
    file: Path, repetitions: int, numbers: tuple[int, ...] = TRIALS
) -> Iterator[dict[str, Any]]:
    """Yield all runs; runs in the file are not repeated."""
    made = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            cell = json.loads(line)
            made[
                tuple(cell[key] for key in ("data", "part", "sampler", "trials", "repetition"))
            ] = cell
    for repetition, *of in itertools.product(range(repetitions), DATA, PARTS, SAMPLERS, numbers):
        key = (*of, repetition)
        if key not in made:
            made[key] = run_cell(*key)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(made[key]) + "\n")
        yield made[key]


def summed_up(made: list[dict[str, Any]]) -> Results:
    """Return bias and coverage by data set, validation part, sampler and number of trials."""
    rows = []
    for of in itertools.product(DATA, PARTS, SAMPLERS, TRIALS):
        group = [c for c in made if (c["data"], c["part"], c["sampler"], c["trials"]) == of]
        if group:
            means = {
                key: float(np.mean([cell[key] for cell in group]))
                for key in ("n", "reported", "expected", "half_width", "error")
            }
            # The true value has an error, too, because there are few held-out examples.
            allowed = [math.hypot(cell["half_width"], Z * cell["error"]) for cell in group]
            errors = [abs(cell["expected"]) for cell in group]
            means["covers"] = float(np.mean(np.less_equal(errors, allowed)))
            names = dict(zip(("data", "part", "sampler", "trials"), of, strict=True))
            rows.append({**names, "repetitions": len(group), **means})
    repetitions = min(row["repetitions"] for row in rows)
    return {"setting": {"repetitions": repetitions}, "rows": rows}


def summary(results: Results) -> str:
    """Return bias and coverage by validation part, sampler and number of trials, as a table."""
    lines = []
    all_of = ("all", "all", "all")
    for part, sampler, trials in [*itertools.product(PARTS, SAMPLERS, TRIALS), all_of]:
        rows = [
            row
            for row in results["rows"]
            if (part, sampler, trials) in (all_of, (row["part"], row["sampler"], row["trials"]))
        ]
        if not rows:
            continue
        reported, expected, covers = (
            np.mean([row[key] for row in rows]) for key in ("reported", "expected", "covers")
        )
        values = f"{100 * reported:+.1f}", f"{100 * expected:+.1f}", f"{100 * covers:.0f}%"
        lines.append([part, sampler, str(trials), *values])
    header = [
        "validation part",
        "sampler",
        "trials",
        "reported (pp)",
        "on new data (pp)",
        "covers",
    ]
    return markdown_table(header, lines)


def errors(results: Results) -> str:
    """Return the mean errors of the reported and the estimated value as text."""
    rows = results["rows"]
    reported, expected, covers = (
        np.mean([row[key] for row in rows]) for key in ("reported", "expected", "covers")
    )
    return (
        f"mean error: reported {100 * reported:+.1f} pp, estimated {100 * expected:+.1f} pp; its "
        f"CI covers the true value in {100 * covers:.0f}% of runs"
    )


def headline(results: Results) -> str:
    """Return the mean errors of the reported and the estimated value in a sentence."""
    reported, expected = (
        np.mean([row[key] for row in results["rows"]]) for key in ("reported", "expected")
    )
    side = "low"
    if expected > 0:
        side = "high"
    return (
        f"The best value of tuned trees is {100 * reported:.1f} pp too good on average; "
        f"the estimate of `overtuning` is {abs(100 * expected):.1f} pp too {side}."
    )


def size(results: Results) -> str:
    """Return the numbers of data sets and runs as text."""
    n_runs = sum(row["repetitions"] for row in results["rows"])
    return f"{len(DATA)} data sets, {n_runs:,} runs"


def figures(results: Results) -> dict[str, go.Figure]:
    """Return the bias of both values by the number of validation examples."""
    figure = go.Figure()
    rows = results["rows"]
    means = []
    for key, name, color in (
        ("reported", "reported", COLORS[1]),
        ("expected", "on new data", COLORS[0]),
    ):
        means.append(f"{100 * np.mean([row[key] for row in rows]):+.1f} pp")
        x, y = [row["n"] for row in rows], [100 * row[key] for row in rows]
        hover = [f"{row['data']}, {row['sampler']}, {row['trials']} trials" for row in rows]
        points = go.Scatter(x=x, y=y, mode="markers", name=name, hovertext=hover)
        figure.add_trace(points.update(marker_color=color))
    figure.update_xaxes(title="validation examples", type="log", tickvals=[20, 50, 100, 200, 500])
    figure.add_hline(0, line_color="grey", line_width=1)
    figure.update_yaxes(title="value − held-out value [pp]")
    reported, expected = means
    title = f"Mean error of reported values: {reported}; of values on new data: {expected}"
    figure.update_layout(title=title, height=430)
    return {"": figure}


STUDY = Study("overtuning", figures, summary)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one repetition of 30 trials")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--output", type=Path, help="folder of the runs and the results")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    repetitions, numbers = (1, TRIALS[:1]) if args.quick else (args.repetitions, TRIALS)
    folder = args.output or (HERE if repetitions == REPETITIONS else TRIED)
    runs = args.output or TRIED
    for needed in (folder, runs):
        needed.mkdir(parents=True, exist_ok=True)
    results = summed_up([*cells(runs / "overtuning.jsonl", repetitions, numbers)])
    write_json(folder / "overtuning.json", results)
    print(summary(results))
