"""A winner beside its unmoved network: how both learned, and what they say of test examples."""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from adnn_optuna._attributes import Metrics
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.networks.training import Trainer

MOST = 12
"""How many examples are shown of those that changed for the better, and for the worse."""


class Example(NamedTuple):
    """A test example: its number, its label or targets, what both networks say, how it looks."""

    number: int
    truth: Any
    unmoved: Any
    winner: Any
    pixels: np.ndarray | None  # Float of shape (height, width) or (height, width, 3) in [0, 1].
    columns: dict[str, Any]  # A row's values by their columns' names.


class WinnerFacts(NamedTuple):
    """The metrics of both networks after each epoch, and the test examples that changed most."""

    unmoved: Sequence[Metrics]
    winner: Sequence[Metrics]
    lost: Sequence[Example] = ()  # None while the test set is closed.
    won: Sequence[Example] = ()
    n_lost: int = 0  # How many changed, shown or not.
    n_won: int = 0


def winner_facts(
    record: SearchRecord, objective: InitOffsetObjective, stop: threading.Event
) -> WinnerFacts | None:
    """Train a winner, if it is one network, and the unmoved one again, and look at each epoch."""
    if record.best is None:
        return None
    objective = objective.as_trained(record.best)
    starts = [*objective.starts({}), *objective.starts(record.best.params)]
    if len(starts) != 2:
        return None
    trainer = objective.trainer
    unmoved, winner = runs = trainer.train(starts, stop=stop, keep_weights=True)
    if any(run.status == "stopped" for run in runs):
        raise KeyboardInterrupt
    if record.test_evaluation is None:
        return WinnerFacts(unmoved.history, winner.history)
    data, head = trainer.dataset, trainer.architecture.head
    outputs = [trainer.outputs(run.weights or [], data.x_test) for run in runs]
    before, after = (head.scores(some, data.y_test).astype(float) for some in outputs)
    order = np.argsort(differences := after - before, kind="stable").tolist()
    lost = [i for i in order[:MOST] if differences[i] < 0]
    won = [i for i in order[::-1][:MOST] if differences[i] > 0]
    return WinnerFacts(
        unmoved.history,
        winner.history,
        _examples(trainer, outputs, lost),
        _examples(trainer, outputs, won),
        int((differences < 0).sum()),
        int((differences > 0).sum()),
    )


def _examples(
    trainer: Trainer, outputs: Sequence[np.ndarray], numbers: Sequence[int]
) -> list[Example]:
    data, head = trainer.dataset, trainer.architecture.head
    said = [data.y_test, *outputs]
    if head.num_classes is not None:
        labels = np.asarray(data.classes or range(head.num_classes))
        said = [labels[of] for of in (data.y_test, *map(head.predicted, outputs))]
    x, blocks = data.x_test, [*data.preprocessing.blocks()]
    if x.ndim == 2:
        blocks = blocks or [(f"x{i}", None, slice(i, i + 1)) for i in range(x.shape[1])]
    pixels = None
    if data.unit == "images":
        pixels = x.mean(axis=-1) if x.ndim == 4 and x.shape[-1] != 3 else x
        pixels = (pixels - pixels.min()) / (np.ptp(pixels) or 1.0)
    examples = []
    for i in numbers:
        truth, unmoved, winner = (np.squeeze(some[i]).tolist() for some in said)
        columns: dict[str, Any] = {}
        for name, known, at in blocks:
            cells = x[i, at]
            columns[name] = float(cells[0]) if known is None else [*known, "other"][cells.argmax()]
        image = None if pixels is None else pixels[i]
        examples.append(Example(i, truth, unmoved, winner, image, columns))
    return examples
