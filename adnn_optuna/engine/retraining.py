"""Baseline and winner trained again: as they were, or with fresh random numbers."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

import numpy as np

from adnn_optuna._attributes import Metrics
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.networks.offsets import Start

Source = Literal["initialisations", "orders"]

_IN_WORDS: dict[Source, tuple[str, str]] = {
    "initialisations": ("fresh initialisations", "initialisation"),
    "orders": ("fresh orders of the batches", "order of batches"),
}


class Retrained(NamedTuple):
    """What came of a training: metrics, also of the test set, weights, which images are right."""

    metrics: Metrics
    weights: list[np.ndarray]
    hits: np.ndarray


class Sample(NamedTuple):
    """Values that differ by chance alone, and what is known of them at best: one image."""

    values: Sequence[float]
    resolution: float

    def half_width(self, level: float, n_others: float = math.inf) -> float:
        """Return how far the mean of so many other values may be, by Student's t; or the true."""
        from scipy.stats import t

        n = len(self.values)
        spread = float(t.ppf((1 + level) / 2, n - 1)) * stdev(self.values)
        return max(spread * math.sqrt(1 / n + 1 / n_others), self.resolution)


def retrain(objective: InitOffsetObjective, starts: Sequence[Start]) -> Iterator[Retrained]:
    """Train from each of ``starts``, to save memory only one on each core at a time."""
    trainer, data, n = objective.trainer, objective.dataset, len(os.sched_getaffinity(0))
    for first in range(0, len(starts), n):
        some = starts[first : first + n]
        for run in trainer.train(some, evaluate_each_epoch=False, keep_weights=True):
            weights = run.weights or []
            [hits] = trainer.evaluate([weights], data.x_test, data.y_test)
            metrics = {**run.history[-1], "test_accuracy": float(hits.mean())}
            yield Retrained(metrics, weights, hits)


def retrain_afresh(
    objective: InitOffsetObjective, params: dict[str, Any], source: Source, seeds: Sequence[int]
) -> list[float]:
    """Return the winner's test gains over the baseline where each seed redraws random numbers.

    Args:
        objective: What was searched.
        params: The winner's parameters; its offsets move fresh initialisations, too.
        source: What is redrawn: the orders of the batches, or with them the initialisations.
        seeds: One for each pair of baseline and winner.
    """
    starts = []
    for seed, of_role in itertools.product(seeds, ({}, params)):
        if source == "initialisations":
            starts.append(objective.replace(seed=seed).start(of_role))
        else:
            starts.append(dataclasses.replace(objective.start(of_role), order_seed=seed))
    return gains_of([run.hits for run in retrain(objective, starts)])


def gains_of(hits: Sequence[np.ndarray]) -> list[float]:
    """Return the test gains by the ``hits`` of baseline and winner by turns."""
    pairs = zip(hits[::2], hits[1::2], strict=True)
    return [(int(after.sum()) - int(before.sum())) / len(after) for before, after in pairs]


def points(gain: float, half_width: float = 0.0) -> str:
    """Return a gain in percentage points, with how far it may be off."""
    spread = f" ± {100 * half_width:.2f}" if half_width else ""
    # Adding 0 makes a rounded -0.00 a +0.00.
    return f"{round(100 * gain, 2) + 0.0:+.2f}{spread} pp"


def transfer_in_words(
    gain: float, n_images: int, gains: Mapping[Source, Sequence[float]]
) -> list[str]:
    """Return what a winner's test gain is with fresh random numbers, and what that makes of it.

    Args:
        gain: The winner's test gain, in its own initialisation and order of batches.
        n_images: The number of test images.
        gains: What :func:`retrain_afresh` returned for each source.
    """
    lines, own, is_shown = [], [], True
    for source, values in gains.items():
        mean, half = fmean(values), Sample(values, 1 / n_images).half_width(0.95)
        means, this = _IN_WORDS[source]
        lines.append(
            f"with {len(values)} {means} the gain is {points(mean)} (95 % interval "
            f"{points(mean - half)[:-3]} to {points(mean + half)})"
        )
        is_shown &= mean - half > 0
        own += [this] * (mean - half <= 0 < gain and mean + half < gain)
    if own:
        whose = f"belongs to this one {' and '.join(own)}"
        lines.append(f"a lucky draw: the gain of {100 * gain:.1f} pp {whose}")
    elif lines:
        lines.append(
            "the gain transfers" if is_shown else "it is not shown that the gain transfers"
        )
    return lines
