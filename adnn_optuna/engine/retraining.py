"""Baseline and winner trained again: as they were, or with fresh random numbers."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from adnn_optuna._attributes import Metrics
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.paired_proportions import Source
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.training import Run, Trainer


class Retrained(NamedTuple):
    """What came of a training: metrics, also of the test set, weights, which images are right."""

    metrics: Metrics
    weights: list[np.ndarray]
    hits: np.ndarray


def retrain(objective: InitOffsetObjective, starts: Sequence[Start]) -> Iterator[Retrained]:
    """Train from each of ``starts``, to save memory only one on each core at a time."""
    trainer, n = objective.trainer, len(os.sched_getaffinity(0))
    for first in range(0, len(starts), n):
        some = starts[first : first + n]
        for run in trainer.train(some, evaluate_each_epoch=False, keep_weights=True):
            yield _retrained(trainer, run)


def _retrained(trainer: Trainer, run: Run) -> Retrained:
    weights, data = run.weights or [], trainer.dataset
    [hits] = trainer.evaluate([weights], data.x_test, data.y_test)
    metrics = {**run.history[-1], "test_accuracy": float(hits.mean())}
    return Retrained(metrics, weights, hits)


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


def random_sources(trainer: Trainer) -> tuple[str, ...]:
    """Return what is random in a training: initialisation, order of the batches, split."""
    is_random = {
        "initialisation": trainer.architecture.depends_on_seed,
        "order": trainer.training.shuffle,
        "split": bool(trainer.dataset.drawn),
    }
    return tuple(source for source, is_source in is_random.items() if is_source)


class Redrawing:
    """Trains unmoved networks with their sources of randomness drawn afresh, each by a seed."""

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
        """Train once; what has no seed of its own is as of ``seed``, or as the data are split.

        Raises:
            KeyboardInterrupt: If ``stop`` is set meanwhile.
        """
        offsets = (0.0,) * len(trainer.architecture.variables)
        start = Start(seed if initialisation is None else initialisation, 0, offsets)
        start = dataclasses.replace(start, order_seed=seed if order is None else order)
        trainer = trainer if split is None else trainer.on(self._split(split))
        [run] = trainer.train([start], evaluate_each_epoch=False, keep_weights=True, stop=stop)
        if not run.history:
            raise KeyboardInterrupt
        return _retrained(trainer, run)
