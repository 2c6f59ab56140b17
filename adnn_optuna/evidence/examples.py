"""A winner beside its unmoved network: how both learned, and what they say of test examples."""

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from adnn_optuna._attributes import Metrics
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.training import Trainer

MOST = 12
"""How many examples are shown of those that changed for the better, and for the worse."""


class Example(NamedTuple):
    """A test example: its number, what it is, what both networks say, and how it is shown.

    Attributes:
        number: Its number in the test set.
        truth: Its label, or its targets.
        unmoved: What the unmoved network says.
        winner: What the winner says.
        pixels: An image, float of shape (height, width) or (height, width, 3) in [0, 1]; else
            :obj:`None`.
        columns: A row's values by their columns' names, before they were scaled; else empty.
    """

    number: int
    truth: Any
    unmoved: Any
    winner: Any
    pixels: np.ndarray | None
    columns: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class WinnerFacts:
    """What came of training winner and unmoved network once more.

    Attributes:
        unmoved: The unmoved network's metrics after each epoch.
        winner: Those of the winner.
        lost: Test examples that the winner is worse on, those that changed the most first.
        won: Those that it is better on. Both are empty while the test set is closed.
    """

    unmoved: Sequence[Metrics]
    winner: Sequence[Metrics]
    lost: Sequence[Example] = ()
    won: Sequence[Example] = ()


def winner_facts(
    record: SearchRecord, objective: InitOffsetObjective, stop: threading.Event
) -> WinnerFacts | None:
    """Train a search's winner and its unmoved network once more, and look at each epoch.

    Return nothing where there is no winner, or where that is an average of networks.

    Raises:
        KeyboardInterrupt: If ``stop`` is set meanwhile.
    """
    if record.best is None:
        return None
    objective, params = objective.as_trained(record.best), record.best.params
    starts = [*objective.starts({}), *objective.starts(params)]
    if len(starts) != 2:
        return None
    trainer = objective.trainer
    unmoved, winner = runs = trainer.train(starts, stop=stop, keep_weights=True)
    if any(run.status == "stopped" for run in runs):
        raise KeyboardInterrupt
    if record.test_look is None:
        return WinnerFacts(unmoved.history, winner.history)
    data, head = trainer.dataset, trainer.architecture.head
    outputs = [trainer.outputs(run.weights or [], data.x_test) for run in runs]
    before, after = (head.scores(some, data.y_test).astype(float) for some in outputs)
    order, differences = np.argsort(after - before, kind="stable"), after - before
    worse = [i for i in order[:MOST].tolist() if differences[i] < 0]
    better = [i for i in order[::-1][:MOST].tolist() if differences[i] > 0]
    lost, won = (_examples(trainer, outputs, some) for some in (worse, better))
    return WinnerFacts(unmoved.history, winner.history, lost, won)


def _examples(
    trainer: Trainer, outputs: Sequence[np.ndarray], numbers: Sequence[int]
) -> list[Example]:
    """Return some test examples with what is said of them."""
    data, head = trainer.dataset, trainer.architecture.head
    said = [data.y_test, *outputs]
    if head.num_classes is not None:
        labels = np.asarray(data.classes or range(head.num_classes))
        said = [labels[of] for of in (data.y_test, *map(head.predicted, outputs))]
    pixels, columns = _pixels(data), _columns(data, numbers)
    examples = []
    for row, i in enumerate(numbers):
        truth, unmoved, winner = (np.squeeze(some[i]).tolist() for some in said)
        image = None if pixels is None else pixels[i]
        examples.append(Example(i, truth, unmoved, winner, image, columns[row] if columns else {}))
    return examples


def _pixels(data: Dataset) -> np.ndarray | None:
    """Return the test images with values from 0 to 1, in gray if not of three channels."""
    x = data.x_test
    if data.unit != "images":
        return None
    if x.ndim == 4 and x.shape[-1] != 3:
        x = x.mean(axis=-1)
    low, high = float(x.min()), float(x.max())
    return (x - low) / ((high - low) or 1.0)


def _columns(data: Dataset, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return test rows by the names of their columns; none of what is no table."""
    if data.x_test.ndim != 2:
        return []
    raw = data.preprocessing.undone(data.x_test[list(numbers)])
    blocks = [*data.preprocessing.blocks()]
    blocks = blocks or [(f"x{i}", None, slice(i, i + 1)) for i in range(raw.shape[1])]
    rows: list[dict[str, Any]] = [{} for _ in numbers]
    for name, categories, block in blocks:
        for row, values in zip(rows, raw[:, block], strict=True):
            known = (*(categories or ()), "other")
            row[name] = float(values[0]) if categories is None else known[int(values.argmax())]
    return rows
