"""Simulated shares of false claims and of CIs that miss, and errors of estimates.

Guides and docs/how/statistics.md quote these rates. The package's own functions judge simulated
data with known true values. Each finished case is a line of a file, so the study continues after a
kill. All cases take about half an hour, and with ``--quick`` about 15 seconds.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import optuna
import scipy
from _common import HERE, TRIED, Results, Study, markdown_table, write_json
from scipy.special import ndtr, ndtri

import adnn_optuna as adnn
from adnn_optuna.stats.overtuning import Means, Metric, RandomSplits, random_splits
from adnn_optuna.stats.paired_differences import (
    DECIMALS,
    Ends,
    PairedDesign,
    paired_differences,
    planned_intervals,
    student_ends,
    verdict_of,
)
from adnn_optuna.stats.sequential import AFTER_FIXED, ALPHA, e_process, sequential_interval
from adnn_optuna.stats.spread import outliers
from adnn_optuna.stats.unpaired_differences import unpaired_differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Rates = dict[str, np.ndarray]
"""For each measured quantity, the outcome in each simulated world: true or false, or a number."""


def planned(differences: np.ndarray) -> list[Ends]:
    """Return the CI of each row of differences in a fixed design."""
    return planned_intervals(differences, 1, DECIMALS, [0.0] * len(differences))


def has_claim(ends: Ends) -> bool:
    """Return whether a CI excludes 0."""
    return verdict_of(ends, None) in ("better", "worse")


def are_claimed(differences: np.ndarray) -> np.ndarray:
    """Return for each row of differences whether its CI in a fixed design excludes 0."""
    return np.array([has_claim(ends) for ends in planned(differences)])


def accuracies(n_examples: int, n_disputed: int) -> Callable[..., np.ndarray]:
    """Return a function that draws accuracies of two arms, which differ on disputed examples."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        of_seeds = rng.binomial(n_examples - n_disputed, 0.8, n)
        return (of_seeds + rng.binomial(n_disputed, 0.8, (2, n))) / n_examples

    return draw


ARMS: Mapping[str, Callable[..., np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal((2, n)),
    "uniform": lambda rng, n: rng.random((2, n)),
    "exponential": lambda rng, n: rng.exponential(size=(2, n)),
    "t2": lambda rng, n: rng.standard_t(2, (2, n)),
    "10% collapses": lambda rng, n: with_collapses(rng, (2, n)),
    "20 examples": accuracies(20, 20),
    "100 examples": accuracies(100, 100),
    "20 examples, 2 disputed": accuracies(20, 2),
}


def with_collapses(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return normal values; a tenth of them is lower by 15 standard deviations."""
    return rng.standard_normal(shape) - 15 * (rng.random(shape) < 0.1)


def few_pairs(rng: np.random.Generator, worlds: int) -> Rates:
    rates = {}
    for name, draw in ARMS.items():
        for n in range(4, 8):
            verdicts = []
            for _ in range(worlds):
                one, two = draw(rng, n)
                [row] = paired_differences({"one": one, "two": two}, margin=None)
                verdicts.append(row.verdict)
            rates[f"{name}, {n} pairs"] = np.isin(verdicts, ["better", "worse"])
    return rates


def looks(rng: np.random.Generator, worlds: int) -> Rates:
    differences = rng.standard_normal((worlds, 30))
    is_claimed = np.zeros(worlds, bool)
    for n in range(4, 31):
        open_worlds = np.flatnonzero(~is_claimed)
        is_claimed[open_worlds] = are_claimed(differences[open_worlds, :n])
    return {"ordinary CI, read after each of 30 pairs": is_claimed}


def later_pairs(rng: np.random.Generator, worlds: int) -> Rates:
    differences = rng.standard_normal((worlds, 20))
    first = are_claimed(differences[:, :10])
    return {
        "10 pairs": first,
        "10 pairs, and 10 more without a claim": first | are_claimed(differences),
    }


def added_seeds(rng: np.random.Generator, worlds: int) -> Rates:
    differences = rng.standard_normal((worlds, 100))
    is_better = np.array([ends.low > 0 for ends in planned(differences[:, :10])])
    largest = e_process(differences).max(axis=1)
    later = {}
    for n_shares in (AFTER_FIXED, 1):
        later[n_shares] = np.zeros(worlds, bool)
        # A CI contains 0 unless the e-process for 0 reached the threshold.
        for world in np.flatnonzero(largest >= n_shares / ALPHA):
            low, _ = sequential_interval(differences[world], n_shares)
            later[n_shares][world] = low > 0
    return {
        "better by the first CI": is_better,
        "better by any CI, later CIs at 99%": is_better | later[AFTER_FIXED],
        "better by any CI, if later CIs were at 95%": is_better | later[1],
        "better by any CI of a sequential design at 95%": later[1],
    }


def unpaired(rng: np.random.Generator, worlds: int) -> Rates:
    rates: dict[str, list[bool]] = {}
    for _ in range(worlds):
        collapsing = with_collapses(rng, (10,)), with_collapses(rng, (30,))
        drawn = {
            "normal, 10 and 10 values": rng.standard_normal((2, 10)),
            "10% collapses, 10 and 30 values": collapsing,
            "exponential, and normal with a tenth of the spread, 10 and 10 values": (
                rng.exponential(size=10),
                rng.normal(1, 0.1, 10),
            ),
        }
        for name, (one, two) in drawn.items():
            [row] = unpaired_differences({"one": one, "two": two}, margin=None)
            rates.setdefault(name, []).append(row.verdict in ("better", "worse"))
        welch = scipy.stats.ttest_ind(*collapsing, equal_var=False).pvalue < ALPHA
        rates.setdefault("10% collapses, 10 and 30 values, Welch's CI alone", []).append(welch)
    return {name: np.array(of_name) for name, of_name in rates.items()}


N_EXAMPLES, N_FEATURES = 300, 5


class EqualModels:
    """Two linear classifiers that use different but equally good features of one data set."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._x = rng.standard_normal((N_EXAMPLES, 2, N_FEATURES))
        signal = self._x.sum(axis=(1, 2)) / math.sqrt(2 * N_FEATURES)
        self._y = np.sign(signal + rng.standard_normal(N_EXAMPLES))

    def differences(self, is_test: np.ndarray) -> np.ndarray:
        """Train both on the other rows of each split; return differences of test accuracies.

        ``is_test`` has the shape (splits, examples).
        """
        weights = (~is_test).astype(float)
        n_test = is_test.sum(axis=1)
        shares = []
        for x in self._x.swapaxes(0, 1):
            products = (x[:, :, np.newaxis] * x[:, np.newaxis]).reshape(N_EXAMPLES, -1)
            squares = (weights @ products).reshape(-1, N_FEATURES, N_FEATURES)
            targets = weights @ (x * self._y[:, np.newaxis])
            fits = np.linalg.solve(squares, targets[:, :, np.newaxis])[:, :, 0]
            is_right = np.sign(fits @ x.T) == self._y
            shares.append((is_right & is_test).sum(axis=1) / n_test)
        return shares[0] - shares[1]

    def random_splits(self, n: int) -> np.ndarray:
        """Return the test rows of random splits; each split tests a fifth of all rows."""
        places = self._rng.permuted(np.tile(np.arange(N_EXAMPLES), (n, 1)), axis=1)
        return places < N_EXAMPLES // 5

    def folds(self, n_folds: int, repeats: int) -> np.ndarray:
        """Return the test rows of repeated cross-validations."""
        places = self._rng.permuted(np.tile(np.arange(N_EXAMPLES), (repeats, 1)), axis=1)
        return np.concatenate([places % n_folds == fold for fold in range(n_folds)])


def for_new_data(differences: np.ndarray) -> bool:
    """Return whether the CI of Nadeau and Bengio excludes 0; a fifth of the rows are for tests."""
    n = len(differences)
    error = math.sqrt((1 / n + 1 / 4) * differences.var(ddof=1))
    return has_claim(student_ends(float(differences.mean()), error, n - 1, 1))


def redrawn_splits(rng: np.random.Generator, worlds: int) -> Rates:
    drawn = []
    for _ in range(worlds):
        models = EqualModels(rng)
        drawn.append(models.differences(models.random_splits(60)))
    differences = np.array(drawn)
    read_often = [any(for_new_data(row[:n]) for n in range(7, 61)) for row in differences]
    return {
        "60 splits, sign flips": are_claimed(differences),
        "60 splits, Nadeau and Bengio": np.array([for_new_data(row) for row in differences]),
        "Nadeau and Bengio, read after each of 7 to 60 splits": np.array(read_often),
    }


def five_splits(rng: np.random.Generator, worlds: int) -> Rates:
    n_seeds, n_splits = 10, 5
    design = PairedDesign([], n_seeds, resampled=(N_EXAMPLES * 4 // 5, N_EXAMPLES // 5))
    claimed = []
    for _ in range(worlds):
        models = EqualModels(rng)
        drawn = models.differences(models.random_splits(n_seeds * n_splits))
        splits = {"one": drawn.reshape(n_seeds, -1), "two": np.zeros((n_seeds, n_splits))}
        means = {arm: of_arm.mean(axis=1) for arm, of_arm in splits.items()}
        rows = design.differences(means)
        lists = {arm: of_arm.tolist() for arm, of_arm in splits.items()}
        [row] = design.for_new_data(rows, means, n_claims=1, splits=lists)
        claimed.append(row.verdict in ("better", "worse"))
    return {"10 seeds of five splits, as in compare": np.array(claimed)}


def repeated_folds(rng: np.random.Generator, worlds: int) -> Rates:
    rates = {}
    for n_folds, repeats in ((10, 1), (5, 3), (10, 10)):
        drawn = []
        for _ in range(worlds):
            models = EqualModels(rng)
            drawn.append(models.differences(models.folds(n_folds, repeats)))
        rates[f"{n_folds} folds, {repeats} times, sign flips"] = are_claimed(np.array(drawn))
    return rates


def grouped_rows(rng: np.random.Generator, worlds: int) -> Rates:
    n_passages, n_questions = 55, 4
    of_passages = rng.standard_normal((worlds, 2, n_passages, 1))
    of_questions = rng.standard_normal((worlds, 2, n_passages, n_questions))
    is_right = of_passages + of_questions > -1
    one, two = is_right.astype(float).swapaxes(0, 1)
    differences = one - two
    return {
        "by question": are_claimed(differences.reshape(worlds, -1)),
        "by the means of passages": are_claimed(differences.mean(axis=2)),
    }


def gates(rng: np.random.Generator, worlds: int) -> Rates:
    def passes(losses: np.ndarray) -> np.ndarray:
        passing = ("equivalent", "better", "not worse")
        return np.array([verdict_of(ends, 1.0) in passing for ends in planned(-losses)])

    rates = {}
    for n in (4, 6, 8, 10):
        noise = rng.standard_normal((worlds, n))
        rates[f"equal, {n} seeds"] = passes(noise)
        rates[f"worse by the margin, {n} seeds"] = passes(noise + 1)
    collapses = (rng.random((worlds, 10)) < 0.08) / 0.08
    rates["worse by the margin, by collapses on 8% of seeds, 10 seeds"] = passes(noise + collapses)
    return rates


def rare_outliers(rng: np.random.Generator, worlds: int) -> Rates:
    rates = {}
    for n in (8, 20):
        samples = rng.standard_normal((worlds, n))
        rates[f"{n} normal values"] = np.array([bool(outliers(values)) for values in samples])
    return rates


def rechecks(rng: np.random.Generator, worlds: int) -> Rates:
    chosen, best, covered = [], [], []
    for world in range(worlds):
        values = rng.standard_normal(50)
        study = optuna.create_study(direction="maximize")
        for value in values + rng.standard_normal(50):
            study.add_trial(optuna.trial.create_trial(value=value))

        def evaluate(trial: optuna.Trial, seed: int) -> float:
            noise = np.random.default_rng([world, trial.number, seed]).standard_normal()  # noqa: B023
            return float(values[trial.number] + noise)  # noqa: B023

        result = adnn.recheck(study, evaluate, show_progress_bar=False)
        true_value = values[result.trial.number]
        chosen.append(values.max() - true_value)
        best.append(values.max() - values[study.best_trial.number])
        covered.append(result.low <= true_value <= result.high)
    return {
        "regret of the chosen trial": np.array(chosen),
        "regret of the study's best trial": np.array(best),
        "CI covers the true value": np.array(covered),
    }


class World(NamedTuple):
    """A study of trials on validation examples.

    Attributes:
        n: The number of examples.
        n_trials: The number of trials.
        spread: The standard deviation of the trials' true values.
        common: The share of the variance of an example's scores that is common to all trials.
        level: The mean true value.
        is_loss: Whether scores are log-normal losses; otherwise, scores are right or wrong
            answers.
        copies: The share of trials that are near copies of other trials.
        group: The number of examples in a group.
    """

    n: int
    n_trials: int
    spread: float
    common: float = 0.6
    level: float = 0.85
    is_loss: bool = False
    copies: float = 0.0
    group: int = 1

    def __str__(self) -> str:
        """Return the settings that differ from their defaults, and the sizes."""
        words = f"{self.n} examples, {self.n_trials} trials, spread {self.spread:g}"
        for name, default in self._field_defaults.items():
            value = getattr(self, name)
            if value != default:
                words = f"{words}, {name} {value:g}"
        return words.replace("is_loss 1", "losses")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the scores (n, trials), the true values, and the groups of the examples."""
        groups = np.arange(self.n) // self.group
        copied = np.arange(self.n_trials)
        n_originals = round(self.n_trials * (1 - self.copies))
        copied[n_originals:] = rng.integers(n_originals, size=self.n_trials - n_originals)
        truth = self.level + self.spread * rng.standard_normal(self.n_trials)
        truth = truth[copied] if self.is_loss else np.minimum(truth, 0.995)[copied]
        own_noise = self._noise(rng, groups, self.n_trials)[:, copied]
        own_noise = np.sqrt(0.95) * own_noise + np.sqrt(0.05) * rng.standard_normal(
            own_noise.shape
        )
        latent = np.sqrt(self.common) * self._noise(rng, groups, 1)
        latent = latent + np.sqrt(1 - self.common) * own_noise
        if self.is_loss:
            return truth * np.exp(latent - 0.5), truth, groups
        return latent + ndtri(truth) > 0, truth, groups

    def _noise(self, rng: np.random.Generator, groups: np.ndarray, count: int) -> np.ndarray:
        share = 0.3 if self.group > 1 else 0.0
        of_groups = rng.standard_normal((groups[-1] + 1, count))[groups]
        of_examples = rng.standard_normal((self.n, count))
        return np.asarray(np.sqrt(share) * of_groups + np.sqrt(1 - share) * of_examples)


def found_in(world: World, seed: int, n_splits: int) -> tuple[RandomSplits, float, float]:
    """Return the result of random splits, the reported value and the true value in a world."""
    scores, truth, groups = world.draw(np.random.default_rng(seed))
    measure = Means(
        scores.astype(np.float32),
        groups if world.group > 1 else None,
        are_right=not world.is_loss,
    )
    measure.n_splits = n_splits
    result = random_splits(measure, maximize=not world.is_loss)
    best = measure.values.argmin() if world.is_loss else measure.values.argmax()
    return result, float(measure.values[best]), float(truth[best])


WORLDS = [
    World(200, 20, 0.0),
    World(200, 200, 0.03),
    World(200, 100, 0.01, copies=0.8),
    World(400, 60, 0.02, group=5),
    World(200, 60, 0.02, is_loss=True, level=0.4),
    World(1000, 100, 0.0),
]
MORE_WORLDS = [
    World(200, 300, 0.0, 0.3),
    World(200, 300, 0.02, 0.5),
    World(200, 50, 0.02, 0.8, 0.97),
    World(200, 100, 0.08, 0.3, 0.7),
    World(1000, 20, 0.01),
    World(1000, 300, 0.02, 0.5),
    World(1000, 200, 0.0, copies=0.9),
    World(1000, 100, 0.0, group=10),
    World(1000, 100, 0.02, is_loss=True, level=0.4, group=5),
    World(5000, 20, 0.005),
    World(5000, 300, 0.0, 0.5),
    World(5000, 100, 0.01, 0.5),
]


def means_on_new_data(_: np.random.Generator, worlds: int) -> Rates:
    rates = {}
    for world in WORLDS + MORE_WORLDS:
        covered = []
        for seed in range(worlds):
            result, _, truth = found_in(world, seed, Means.n_splits)
            covered.append(result.new_data.low <= truth <= result.new_data.high)
        rates[str(world)] = np.array(covered)
    return rates


class Predictions(NamedTuple):
    """Labels of examples, predictions (examples, trials), and each trial's true metric."""

    labels: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray


N_TRIED = 25  # The number of trials in a study with a metric.


def shared_noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return normal noise of shape (examples, trials); trials share 60% of its variance."""
    of_examples, own = rng.standard_normal((n, 1)), rng.standard_normal((n, N_TRIED))
    return math.sqrt(0.6) * of_examples + math.sqrt(0.4) * own


def of_scores(rng: np.random.Generator) -> Predictions:
    """Return scores of 60 examples, 6 of them positive. The true metric is the AUC."""
    separation = 2.2 + 0.3 * rng.standard_normal(N_TRIED)
    labels = (np.arange(60) < 6).astype(int)
    predicted = labels[:, np.newaxis] * separation + shared_noise(rng, 60)
    return Predictions(labels, predicted, ndtr(separation / math.sqrt(2)))


def of_classes(rng: np.random.Generator) -> Predictions:
    """Return predicted classes of 60 examples, 6 of them positive. The true metric is F1."""
    labels, scores, auc = of_scores(rng)
    threshold, positive = 1.5, 0.1
    separation = math.sqrt(2) * ndtri(auc)
    right = positive * ndtr(separation - threshold)
    wrong = (1 - positive) * ndtr(-threshold)
    return Predictions(labels, (scores > threshold).astype(int), 2 * right / (right + wrong + 0.1))


def of_answers(rng: np.random.Generator) -> Predictions:
    """Return predicted classes of 200 examples. The true metric is the accuracy."""
    truth = np.minimum(0.85 + 0.02 * rng.standard_normal(N_TRIED), 0.995)
    labels = rng.integers(0, 2, 200)
    is_right = shared_noise(rng, 200) + ndtri(truth) > 0
    predicted = np.where(is_right.T, labels, 1 - labels).T
    return Predictions(labels, predicted, truth)


def of_errors(rng: np.random.Generator, scales: np.ndarray, mean_square: float) -> Predictions:
    """Return predicted numbers whose errors have these scales. The true metric is the RMSE."""
    sds = 1 + 0.05 * rng.standard_normal(N_TRIED)
    errors = sds * scales[:, np.newaxis] * shared_noise(rng, len(scales))
    return Predictions(np.zeros(len(scales)), errors, np.abs(sds) * math.sqrt(mean_square))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    is_above = scores[labels == 1, np.newaxis] > scores[labels == 0]
    if not is_above.size:
        raise ValueError("The AUC needs two classes.")
    return float(is_above.mean())


def f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    total = labels.sum() + predicted.sum()
    return float(2 * (labels * predicted).sum() / max(total, 1))


def rmse(labels: np.ndarray, predicted: np.ndarray) -> float:
    return math.sqrt(float(((labels - predicted) ** 2).mean()))


class MetricCase(NamedTuple):
    """A metric, and the worlds in which it is estimated."""

    name: str
    examples: str
    function: Callable[[np.ndarray, np.ndarray], float]
    draw: Callable[[np.random.Generator], Predictions]
    maximize: bool = True


def large_errors(rng: np.random.Generator) -> Predictions:
    return of_errors(rng, np.where(rng.random(60) < 0.1, 3.0, 1.0), 0.9 + 0.1 * 9)


def errors_of_t3(rng: np.random.Generator) -> Predictions:
    return of_errors(rng, np.sqrt(3 / rng.chisquare(3, 60)), 3.0)


METRICS = (
    MetricCase("AUC", "60, 6 positive", auc, of_scores),
    MetricCase("F1", "60, 6 positive", f1, of_classes),
    MetricCase("accuracy", "200", lambda y, p: float((y == p).mean()), of_answers),
    MetricCase("RMSE, a tenth of large errors", "60", rmse, large_errors, maximize=False),
    MetricCase("RMSE, t with 3 degrees of freedom", "60", rmse, errors_of_t3, maximize=False),
)
OF_METRIC = ("covered", "reported", "estimate")


def metrics_on_new_data(rng: np.random.Generator, worlds: int) -> Rates:
    rates = {}
    for case in METRICS:
        sign = 1 if case.maximize else -1
        outcomes = []
        for _ in range(worlds):
            labels, predicted, truth = case.draw(rng)
            measure = Metric(case.function, labels, predicted, None)
            value, low, high = random_splits(measure, maximize=case.maximize).new_data
            best = int((sign * measure.values).argmax())
            reported = sign * (measure.values[best] - truth[best])
            outcomes.append((low <= truth[best] <= high, reported, sign * (value - truth[best])))
        covered, reported_errors, errors = np.array(outcomes).T
        of_case = (covered.astype(bool), reported_errors, errors)
        for what, values in zip(OF_METRIC, of_case, strict=True):
            rates[f"{case.name}; {case.examples}; {what}"] = values
    return rates


def small_steps(rng: np.random.Generator, worlds: int) -> Rates:
    n, n_trials = 200, 200
    rates = {}
    for n_params in (5, 20):
        reported, estimated = [], []
        for _ in range(worlds):
            # Far from 0, fewer examples are classified correctly, but each example has its own
            # best direction.
            effects = rng.standard_normal((n, n_params))
            noise = rng.standard_normal(n)
            tried = [rng.standard_normal(n_params) / math.sqrt(n_params)]
            is_right = []
            best = 0
            for trial in range(n_trials):
                square = float(tried[trial] @ tried[trial])
                latent = 1.2 - 0.2 * square + 0.5 * effects @ tried[trial] + noise
                is_right.append(latent > 0)
                if is_right[trial].mean() > is_right[best].mean():
                    best = trial
                tried.append(tried[best] + 0.1 * rng.standard_normal(n_params))
            square = float(tried[best] @ tried[best])
            truth = ndtr((1.2 - 0.2 * square) / math.sqrt(1 + 0.25 * square))
            measure = Means(np.array(is_right, np.float32).T, None, are_right=True)
            estimate = random_splits(measure, maximize=True).new_data.value
            reported.append(measure.values[best] - truth)
            estimated.append(estimate - truth)
        rates[f"{n_params} parameters, reported"] = np.array(reported)
        rates[f"{n_params} parameters, estimate"] = np.array(estimated)
    return rates


def searches(_: np.random.Generator, worlds: int) -> Rates:
    objective = adnn.InitOffsetObjective(
        adnn.MLP(hidden=(64, 64)),
        adnn.load_dataset("digits"),
        training=adnn.Training(optimizer="sgd", learning_rate=0.05, epochs=5),
    )
    replicated = []
    for seed in range(worlds):
        result = adnn.search(objective.replace(seed=seed), "annealing", max_trial=30)
        replicated.append(result.confirmation.replication.low > 0)
    return {"the gain replicates": np.array(replicated)}


class Case(NamedTuple):
    """Rates that one function simulates, and the number of worlds in the committed results."""

    title: str
    setting: str
    simulate: Callable[[np.random.Generator, int], Rates]
    worlds: int


METRIC_CASE = "Metrics on new data"
CASES = (
    Case(
        "Few pairs",
        "False claims between two equal arms, by Student's t. The arms' values are normal, "
        "uniform, exponential, of Student's t with 2 degrees of freedom (t2), normal with 10% "
        "collapses by 15 sd, or accuracies of 20 or 100 examples. In the last rows, both arms "
        "have equal answers except on 2 of 20 examples.",
        few_pairs,
        20_000,
    ),
    Case(
        "Repeated looks",
        "Comparisons of equal arms that claim a difference at any look from the fourth pair on. "
        "Differences are normal.",
        looks,
        6_000,
    ),
    Case(
        "Later pairs",
        "Comparisons of equal arms that claim a difference, by ordinary CIs. Differences are "
        "normal.",
        later_pairs,
        20_000,
    ),
    Case(
        "Added seeds",
        "Comparisons of equal arms that claim *better*. The first CI has 10 pairs. Later CIs are "
        "sequential, after each pair up to 100. Differences are normal.",
        added_seeds,
        100_000,
    ),
    Case(
        "Values that are not paired",
        "Comparisons of two arms of equal means that claim a difference. Collapses are by 15 sd.",
        unpaired,
        10_000,
    ),
    Case(
        "Redrawn splits",
        "Comparisons of two equally good linear classifiers that claim a difference. Both train "
        "on 240 of 300 examples, and 60 examples test them. Each has 5 of the 10 features, all "
        "of which are equally informative.",
        redrawn_splits,
        10_000,
    ),
    Case("Splits of each seed", "The same data and classifiers.", five_splits, 10_000),
    Case("Folds", "The same data and classifiers, in cross-validations.", repeated_folds, 5_000),
    Case(
        "Questions on one passage",
        "Comparisons of two equal models that claim a difference, on 55 passages of 4 questions. "
        "A latent score decides whether an answer is right. The passage causes half of its "
        "variance, for each model separately.",
        grouped_rows,
        5_000,
    ),
    Case(
        "Gates",
        "Models that pass a gate, whose margin is one sd of the differences. Differences are "
        "normal; collapses are added in the last row.",
        gates,
        40_000,
    ),
    Case("Outliers", "Samples that seem to have an outlier.", rare_outliers, 20_000),
    Case(
        "Rechecks",
        "Rechecks of studies of 50 trials. True values and the noise of a run are standard "
        "normal, so regrets are in sd of the noise.",
        rechecks,
        8_000,
    ),
    Case(
        "Means on new data",
        "How often the CI of `overtuning` covers the true value of the best trial. Scores are "
        "right or wrong answers, with a mean true value of 0.85, or log-normal losses. *Spread* "
        "is the sd of the trials' true values. Trials share 60% of the variance of an example "
        "(*common*).",
        means_on_new_data,
        300,
    ),
    Case(
        METRIC_CASE,
        "`overtuning` of studies of 25 trials, which share 60% of the variance of an example. "
        "*Covered*: the CI contains the true value. *Reported* and *estimate*: by how much these "
        "values are too good. Large errors are three times as large.",
        metrics_on_new_data,
        1_000,
    ),
    Case(
        "Small steps",
        "By how much accuracies on 200 examples are too good after 200 trials, each of which "
        "changes the best trial by a normal step of 0.1 in each parameter.",
        small_steps,
        2_000,
    ),
    Case(
        "Searches of initial weights",
        "The README's search on digits, with the seeds 0, 1, …; the others of its settings are "
        "the same.",
        searches,
        40,
    ),
)


def run(file: Path, cases: tuple[Case, ...], most: int | None = None) -> Iterator[Results]:
    """Yield the rates of each case, from at most ``most`` worlds.

    If the file contains a case, the case is not simulated again.
    """
    done = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            done[found["case"], found["worlds"]] = found
    for case in cases:
        worlds = min(case.worlds, most or case.worlds)
        key = (case.title, worlds)
        if key not in done:
            done[key] = {"case": case.title, "worlds": worlds, "rates": measured(case, worlds)}
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(done[key]) + "\n")
        yield done[key]


def measured(case: Case, worlds: int) -> list[dict[str, object]]:
    """Return the mean and the standard error of each rate of a case."""
    rows: list[dict[str, object]] = []
    for name, values in case.simulate(np.random.default_rng(0), worlds).items():
        mean, error = float(np.mean(values)), float(np.std(values)) / math.sqrt(len(values))
        rows.append({"name": name, "mean": mean, "error": error, "is_share": values.dtype == bool})
    return rows


def rate(row: Mapping[str, float]) -> str:
    """Return a rate with its standard error as text. A share is in percent."""
    factor, unit = (100, "%") if row["is_share"] else (1, "")
    mean, error = factor * row["mean"], factor * row["error"]
    if error == 0:
        return f"{mean:g}{unit}"
    # The error has one significant digit, or two if the first digit is 1, and at most 3 decimals.
    decimals = min(max(math.ceil(math.log10(2 / error) - 1e-9), 0), 3)
    return f"{mean:.{decimals}f} ± {error:.{decimals}f}{unit}"


def summary(results: Results) -> str:
    """Return a section for each case, with its setting and its rates."""
    found = {of_case["case"]: of_case for of_case in results["cases"]}
    sections = []
    for case in CASES:
        of_case = found[case.title]
        rows = [[row["name"], rate(row)] for row in of_case["rates"]]
        table = markdown_table([f"{of_case['worlds']:,} worlds", "rate"], rows)
        sections.append(f"## {case.title}\n\n{case.setting}\n\n{table}")
    return "\n\n".join(sections)


def metrics(results: Results) -> str:
    """Return the rates of metrics, with a row for each metric."""
    [of_case] = [found for found in results["cases"] if found["case"] == METRIC_CASE]
    cells: dict[str, list[str]] = {}
    for row in of_case["rates"]:
        metric, examples, _ = row["name"].split("; ")
        text = rate(row) if row["is_share"] else rate(row).partition(" ")[0]
        cells.setdefault(metric, [metric, examples]).append(text)
    return markdown_table(["metric", "examples", *OF_METRIC], [*cells.values()], right=False)


STUDY = Study("error_rates", lambda _: {}, summary)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two worlds of each case")
    parser.add_argument("--output", type=Path, help="folder of the results")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = args.output or (TRIED if args.quick else HERE)
    runs = args.output or TRIED
    for needed in (folder, runs):
        needed.mkdir(parents=True, exist_ok=True)
    results = {"cases": [*run(runs / "error_rates.jsonl", CASES, 2 if args.quick else None)]}
    write_json(folder / "error_rates.json", results)
    print(summary(results))
