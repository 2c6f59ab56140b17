"""A search's best network beside its baseline network: learning curves and changed predictions."""

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Metrics
from adnn_optuna._units import unit_of
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.networks.training import Trainer
from adnn_optuna.render.document import Document, Figure, Gallery, Picture, Series, Table

MOST = 12
"""How many examples are shown of those that changed for the better, and for the worse."""
_N_COLUMNS = 6  # Of a row of a table.


@dataclasses.dataclass(frozen=True)
class Example:
    """A test example, and the predictions of both networks."""

    number: int
    truth: Any
    baseline: Any
    best: Any
    pixels: np.ndarray | None  # An image of shape (height, width[, 3]), values from 0 to 1.
    columns: dict[str, Any]  # The values of a row by the names of its columns.


@dataclasses.dataclass(frozen=True)
class BestNetwork:
    """The metrics of both networks by epochs, and the test examples that changed most."""

    metric: str  # That of the selection, without its split.
    is_regression: bool
    baseline: Sequence[Metrics]  # After each epoch.
    best: Sequence[Metrics]
    worse: Sequence[Example] = ()  # None before the test set is evaluated.
    better: Sequence[Example] = ()
    n_worse: int = 0  # Shown or not.
    n_better: int = 0

    def added_to(self, document: Document) -> Document:
        """Return the document of the search with learning curves and changed examples."""
        titles = ("Right before, wrong now", "Wrong before, right now")
        if self.is_regression:
            titles = ("Farther from the target now", "Nearer to the target now")
        galleries, tables = list[Gallery](), list[Table]()
        for title, examples, n in (
            (titles[0], self.worse, self.n_worse),
            (titles[1], self.better, self.n_better),
        ):
            counted = f"{title}: {len(examples)} of {n} test examples"
            if examples and examples[0].pixels is not None:
                galleries.append(Gallery(counted, [_picture(example) for example in examples]))
            elif examples:
                tables.append(_table(counted, examples))
        return dataclasses.replace(
            document,
            draw=lambda: [*document.draw(), self._learning_figure()],
            galleries=[*document.galleries, *galleries],
            tables=[*document.tables, *tables],
        )

    def _learning_figure(self) -> Figure:
        unit, series = unit_of(self.metric), list[Series]()
        for split, part in (("val", "validation"), ("train", "training")):
            key = f"{split}_{self.metric}"
            for color, (name, epochs) in enumerate(
                (("best network", self.best), ("baseline network", self.baseline))
            ):
                values = [unit.scale * metrics[key] for metrics in epochs if key in metrics]
                mark: Any = "line" if split == "val" else "dashes"
                x = range(1, len(values) + 1)
                series.append(Series(f"{name}, {part}", x, values, mark, color=color))
        return Figure(
            "learning",
            "Learning curves",
            "Epoch",
            unit.heading(self.metric),
            series,
            "Best and baseline network, trained once more. Dashed: on the training data.",
        )


def _picture(example: Example) -> Picture:
    caption = f"is {example.truth}, baseline {example.baseline}, best {example.best}"
    return Picture(example.pixels, caption)


def _table(title: str, examples: Sequence[Example]) -> Table:
    columns = [*examples[0].columns][:_N_COLUMNS]
    rows = [
        [
            str(example.number),
            *map(_cell, (example.truth, example.baseline, example.best)),
            *(_cell(example.columns[name]) for name in columns),
        ]
        for example in examples
    ]
    return Table(["row", "is", "baseline", "best", *columns], rows, title, is_detail=True)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def best_network(
    record: SearchRecord, objective: InitOffsetObjective, stop: threading.Event
) -> BestNetwork | None:
    """Train the best and the baseline network once more, and compare them by epochs and examples.

    Return :obj:`None` without a best trial, or if several networks are averaged.
    """
    if record.best is None:
        return None
    objective = objective.as_trained(record.best)
    starts = [*objective.starts({}), *objective.starts(record.best.params)]
    if len(starts) != 2:
        return None
    trainer = objective.trainer
    baseline, best = runs = trainer.train(starts, stop=stop, keep_weights=True)
    if any(run.status == "stopped" for run in runs):
        raise KeyboardInterrupt
    found = BestNetwork(
        metric=record.test_metric.removeprefix("test_"),
        is_regression=record.attrs[stored.CONFIG]["dataset"].get("task") == "regression",
        baseline=baseline.history,
        best=best.history,
    )
    if record.test_evaluation is None:
        return found
    data, head = trainer.dataset, trainer.architecture.head
    outputs = [trainer.outputs(run.weights or [], data.x_test) for run in runs]
    before, after = (head.scores(some, data.y_test).astype(float) for some in outputs)
    order = np.argsort(differences := after - before, kind="stable").tolist()
    worse = [i for i in order[:MOST] if differences[i] < 0]
    better = [i for i in order[::-1][:MOST] if differences[i] > 0]
    return dataclasses.replace(
        found,
        worse=_examples(trainer, outputs, worse),
        better=_examples(trainer, outputs, better),
        n_worse=int((differences < 0).sum()),
        n_better=int((differences > 0).sum()),
    )


def _examples(
    trainer: Trainer, outputs: Sequence[np.ndarray], numbers: Sequence[int]
) -> list[Example]:
    data, head = trainer.dataset, trainer.architecture.head
    told = [data.y_test, *outputs]
    if head.num_classes is not None:
        labels = np.asarray(data.classes or range(head.num_classes))
        told = [labels[of] for of in (data.y_test, *map(head.predicted, outputs))]
    x, blocks = data.x_test, [*data.preprocessing.blocks()]
    if x.ndim == 2:
        blocks = blocks or [(f"x{i}", None, slice(i, i + 1)) for i in range(x.shape[1])]
    pixels = None
    if data.unit == "images":
        pixels = x.mean(axis=-1) if x.ndim == 4 and x.shape[-1] != 3 else x
        pixels = (pixels - pixels.min()) / (np.ptp(pixels) or 1.0)
    examples = []
    for i in numbers:
        truth, baseline, best = (np.squeeze(some[i]).tolist() for some in told)
        columns: dict[str, Any] = {}
        for name, known, at in blocks:
            cells = x[i, at]
            # An unknown category may have no feature.
            which = -1 if known is None or not cells.any() else cells.argmax()
            columns[name] = float(cells[0]) if known is None else [*known, "other"][which]
        image = None if pixels is None else pixels[i]
        examples.append(Example(i, truth, baseline, best, image, columns))
    return examples
