"""Functions that train networks again and score them on the test set."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adnn_optuna._attributes import Metrics
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.predictors import Average
from adnn_optuna.networks.training import Trainer, TrainingRun, is_finite

if TYPE_CHECKING:
    from tqdm import tqdm


class Retrained(NamedTuple):
    """A training run's metrics, including test metrics, with its weights and test scores."""

    metrics: Metrics
    weights: list[np.ndarray]
    scores: np.ndarray  # The scores of the test examples, see :meth:`Scores.tested`.
    score: float  # The test-set metric that judges the network.


def retrain(
    trainer: Trainer,
    starts: Sequence[Sequence[Start]],
    stop: threading.Event | None = None,
    bar: tqdm[Any] | None = None,
) -> Iterator[Retrained]:
    """Train from each group of ``starts``, and yield each group's average after its test.

    The average omits diverged networks. If all networks of a group diverged, the first network is
    tested. The weights of a group's networks are concatenated. The ``bar`` counts the groups. If
    ``stop`` is set, KeyboardInterrupt is raised.
    """
    runs = trainer.train_in_turn([*itertools.chain(*starts)], stop=stop)
    splits = ["train"]
    if len(trainer.dataset.y_val):
        splits = ["train", "val"]
    if bar is not None:
        bar.total = (bar.total or 0) + len(starts)
    for group in starts:
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
            average.add(run.weights)
        weights = [array for run in finite_runs for array in run.weights]
        yield tested(trainer, average)._replace(weights=weights)


def tested(trainer: Trainer, network: TrainingRun | Average) -> Retrained:
    """Return the metrics of a training run or of an average, including the test set."""
    weights = []
    if isinstance(network, Average):
        metrics, scores = network.tested()
    else:
        weights = network.weights
        metrics, scores = trainer.tested(weights)
    return Retrained(network.metrics | metrics, weights, scores, metrics[f"test_{trainer.judge}"])


def random_sources(trainer: Trainer) -> tuple[str, ...]:
    """Return a training run's random sources: initialization, order of the batches, split."""
    sources = {
        "initialisation": trainer.architecture.depends_on_seed,
        "order": trainer.training.shuffle,
        "split": bool(trainer.dataset.drawn),
    }
    return tuple(source for source, is_source in sources.items() if is_source)


def not_redrawn(trainer: Trainer) -> tuple[str, ...]:
    """Return the names of what stays the same in all runs, such as "the test split"."""
    data = trainer.dataset
    random = random_sources(trainer)
    names = {"initialisation": "the initial weights", "order": "the order of the batches"}
    splits = {"val": "the validation split", "test": "the test split"}
    stay = [name for source, name in names.items() if source not in random]
    stay += [name for split, name in splits.items() if split not in data.drawn]
    return tuple(stay)


class Redrawing:
    """Trains baseline networks on new seeds, with one seed for each source of randomness."""

    def __init__(self, dataset: Dataset) -> None:
        # Several runs use the same split. A larger cache would keep more copies of the data.
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
        """Train a baseline network once, and test it.

        By default, ``initialisation`` and ``order`` equal ``seed``. Splits are redrawn only if
        ``split`` is set.
        """
        offsets = (0.0,) * len(trainer.architecture.variables)
        if initialisation is None:
            initialisation = seed
        if order is None:
            order = seed
        start = Start(initialisation, 0, offsets, order_seed=order)
        if split is not None:
            data = self._split(split)
            trainer = Trainer(trainer.architecture, trainer.training, data, trainer.judge)
        [run] = retrain(trainer, [[start]], stop)
        return run
