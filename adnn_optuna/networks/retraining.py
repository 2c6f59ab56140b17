"""Networks trained again, and their test scores."""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._attributes import Metrics, TestEvaluation
from adnn_optuna.networks._arrays import Indices
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.predictors import Average
from adnn_optuna.networks.training import Trainer, TrainingRun, is_finite

if TYPE_CHECKING:
    from tqdm import tqdm


class Retrained(NamedTuple):
    """A training run's metrics, including the test set's, its weights and its test scores."""

    metrics: Metrics
    weights: list[np.ndarray]
    scores: np.ndarray  # Of the test examples, see :meth:`Scores.tested`.
    judge: str  # The metric of the scores, without a split.

    @property
    def score(self) -> float:
        """The test-set metric that judges the network."""
        return self.metrics[f"test_{self.judge}"]


def retrain(
    trainer: Trainer,
    starts: Sequence[Start | Sequence[Start]],
    stop: threading.Event | None = None,
    bar: tqdm[Any] | None = None,
) -> Iterator[Retrained]:
    """Train from each of ``starts``, to save memory only one on each core at a time.

    Several starts in the place of one are averaged. The metrics are of the average without
    diverged networks, and the weights follow network by network. A ``bar`` counts the training
    runs. If ``stop`` is set, it raises KeyboardInterrupt.
    """
    groups = [[start] if isinstance(start, Start) else start for start in starts]
    runs = trainer.train_in_turn([*itertools.chain(*groups)], stop=stop)
    splits = ["train"]
    if len(trainer.dataset.y_val):
        splits = ["train", "val"]
    if bar is not None:
        bar.total = (bar.total or 0) + len(groups)
    for group in groups:
        of_group = [next(runs) for _ in group]
        if bar is not None:
            bar.update()
        if not all(run.history for run in of_group):
            raise KeyboardInterrupt
        finite_runs = [run for run in of_group if is_finite(run.metrics)]
        if len(group) == 1 or not finite_runs:
            yield tested(trainer, of_group[0])
            continue
        average = Average(trainer, splits)
        for run in finite_runs:
            average.add(run.weights or [])
        weights = [array for run in finite_runs for array in run.weights or []]
        yield tested(trainer, average)._replace(weights=weights)


def tested(trainer: Trainer, of: TrainingRun | Average) -> Retrained:
    """Return the metrics of a training run, or an average of several, with the test set's."""
    weights: list[np.ndarray] = []
    if isinstance(of, Average):
        metrics, scores = of.tested()
    else:
        weights = of.weights or []
        metrics, scores = trainer.tested(weights)
    return Retrained(of.metrics | metrics, weights, scores, trainer.judge)


def compared_on_test_set(trainer: Trainer, baseline: Retrained, best: Retrained) -> TestEvaluation:
    """Return the test-set evaluation of a baseline and a best network."""
    n_classes = trainer.architecture.head.num_classes
    data = trainer.dataset
    differences = best.scores.astype(float) - baseline.scores
    metrics = {}
    for name, value in best.metrics.items():
        if name.startswith("test_"):
            metrics[name.removeprefix("test_")] = value
    baseline_score = math.nan
    if is_finite(baseline.metrics):
        baseline_score = baseline.score
    evaluation: TestEvaluation = {
        "looked": "",
        "trial": 0,
        "n_trials": 0,
        "n_images": len(differences),
        "unit": data.unit,
        "baseline": baseline_score,
        "best": best.score,
        "metrics": metrics,
    }
    if data.test_groups.max() + 1 < len(differences):
        evaluation["n_groups"] = effective_number(data.test_groups)
    if best.judge == "accuracy":
        evaluation["won"] = int((differences > 0).sum())
        evaluation["lost"] = int((differences < 0).sum())
    else:
        evaluation["standard_error"] = variance_of_mean(differences, data.test_groups) ** 0.5
    if n_classes is not None:
        sizes = np.bincount(data.y_test, minlength=n_classes)
        largest = int(sizes.argmax())
        labels = data.classes or range(n_classes)
        evaluation["n_classes"] = n_classes
        evaluation["largest_class"] = str(labels[largest])
        evaluation["n_largest"] = int(sizes[largest])
    return evaluation


def random_sources(trainer: Trainer) -> tuple[str, ...]:
    """Return a training run's random sources: initialization, order of the batches, split."""
    sources = {
        "initialisation": trainer.architecture.depends_on_seed,
        "order": trainer.training.shuffle,
        "split": bool(trainer.dataset.drawn),
    }
    return tuple(source for source, is_source in sources.items() if is_source)


def not_redrawn(trainer: Trainer) -> tuple[str, ...]:
    """Return in words which sources of randomness stay the same in all runs."""
    data = trainer.dataset
    random = random_sources(trainer)
    names = {"initialisation": "the initial weights", "order": "the order of the batches"}
    splits = {"val": "the validation split", "test": "the test split"}
    stay = [name for source, name in names.items() if source not in random]
    stay += [name for split, name in splits.items() if split not in data.drawn]
    return tuple(stay)


class Redrawing:
    """Trains baseline networks with their sources of randomness redrawn, each by a seed."""

    def __init__(self, dataset: Dataset) -> None:
        # A split serves several runs; more of them would hold the data as many times.
        self._split = functools.lru_cache(maxsize=2)(dataset.redrawn)

    def train(
        self,
        trainer: Trainer,
        seed: int,
        *,
        initialisation: int | None = None,
        order: int | None = None,
        split: int | None = None,
        stop: threading.Event | None = None,
    ) -> Retrained:
        """Train once; a source without its own seed follows ``seed``, or the data's split."""
        offsets = (0.0,) * len(trainer.architecture.variables)
        if initialisation is None:
            initialisation = seed
        if order is None:
            order = seed
        start = Start(initialisation, 0, offsets, order_seed=order)
        if split is not None:
            data = self._split(split)
            trainer = Trainer(trainer.architecture, trainer.training, data, trainer.judge)
        [run] = retrain(trainer, [start], stop)
        return run


def effective_number(groups: Indices) -> float:
    """Return the number of independent samples that groups amount to: (Σ n)² / Σ n².

    It is exact if the samples of a group are equal (Kish 1965, Survey Sampling); otherwise it is
    too small.
    """
    sizes = np.bincount(groups).astype(float)
    squares = sizes**2
    return float(sizes.sum() ** 2 / squares.sum())


def variance_of_mean(values: NDArray[np.floating], groups: Indices) -> float:
    """Return the variance of the mean of samples' values, if values in a group are alike.

    It is the variance of the groups' sums about their share of the mean, times G / (G - 1) for G
    groups. So it is the usual variance if each sample is a group. It is NaN for a single group.
    """
    residuals = np.bincount(groups, values - values.mean())
    n = len(residuals)
    if n == 1:
        return np.nan
    variance = (residuals**2).sum() / len(values) ** 2
    return float(variance * n / (n - 1))
