"""Stacked training: many initialisations of one network, by one compiled graph.

Every training of a stack is a *slot*. The compiled function takes one slot through some epochs,
and threads, one for each core, take one slot after the other.

Not all slots at once in one graph: XLA chooses the order of sums, and what it fuses, by the shapes
of arrays, so in products and sums over a whole stack the last bits of a slot depend on the number
of slots (measured, in about one setting of eight). Here what is compiled does not know of the
stack at all: a training gives the same bits alone and in any stack, whatever the network and the
optimizer are. It is also faster: a small network leaves no core without work, and the numbers of a
slot stay in the processor's cache.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import numpy as np

from adnn_optuna.networks._arrays import writable_view
from adnn_optuna.networks._program import Program, loss_function

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import tensorflow as tf

    from adnn_optuna.networks._architecture import Architecture
    from adnn_optuna.networks.data import Dataset
    from adnn_optuna.networks.models import Training
    from adnn_optuna.networks.offsets import Start

# No call of a compiled function takes longer than this, in seconds, unless one epoch does: Ctrl-C
# and a deadline must wait for its end.
_SECONDS_BETWEEN_LOOKS = 0.5

# How many row numbers the orders for one call hold at the most, unless one epoch has more: 1 MB.
_ROWS_IN_ORDERS = 2**18

Metrics = dict[str, float]
"""``train_accuracy``, ``train_loss``, ``val_accuracy`` and ``val_loss`` after an epoch."""


def is_finite(metrics: Metrics) -> bool:
    """Return whether a training has not diverged: even then it has accuracies."""
    return all(math.isfinite(value) for value in metrics.values())


@dataclasses.dataclass
class Run:
    """What came of one training.

    Args:
        history:
            The metrics after each epoch that was evaluated.
        status:
            ``"complete"``; ``"pruned"`` where ``after_epoch`` said so; ``"timeout"`` where the
            deadline passed; ``"diverged"`` where a loss was not finite.
        weights:
            The variables as the last epoch left them, if they were asked for.
    """

    history: list[Metrics] = dataclasses.field(default_factory=list)
    status: str = "running"
    weights: list[np.ndarray] | None = None


@dataclasses.dataclass
class _Slot:
    """A training under way: its epochs so far, and the values of all variables after them."""

    start: Start
    run: Run = dataclasses.field(default_factory=Run)
    epochs: int = 0
    state: list[tf.Tensor] = dataclasses.field(default_factory=list)


class StackedTrainer:
    """Trains initialisations of one network on one dataset, several at a time.

    The graph is compiled once, for the first training. In memory there are the dataset, which is
    held once, as TensorFlow uses its arrays in place; for each core the variables of the network
    and the optimizer, a few times, and the activations of a batch; and the orders of the rows for
    the last 32 calls (1 MB, or one epoch's, each). Trainings that wait for their turn hold their
    initial weights, and where ``after_epoch`` looks at all of them after each epoch, each has its
    variables.

    Several threads may train at once.

    Args:
        architecture:
            The network.
        training:
            The training settings.
        dataset:
            The data. Training set and validation set are evaluated after each epoch, the test set
            only by :meth:`evaluate`.

    Raises:
        ValueError: If Keras does not know the optimizer or the loss.
    """

    def __init__(self, architecture: Architecture, training: Training, dataset: Dataset) -> None:
        self.architecture = architecture
        self.training = training
        self._dataset = dataset
        self._orders_epochs = min(max(_ROWS_IN_ORDERS // len(dataset.y_train), 1), training.epochs)
        self._epoch_seconds = math.inf
        self._lock = threading.Lock()
        # Names are checked here, before any training.
        training.build_optimizer()
        loss_function(training.loss, dataset.num_classes, from_logits=True)

    @functools.cached_property
    def _program(self) -> Program:
        data = self._dataset
        splits = [(_shared(data.x_train), _shared(data.y_train))]
        if len(data.y_val):
            splits.append((_shared(data.x_val), _shared(data.y_val)))
        return Program(self.architecture, self.training, splits, self._orders_epochs)

    def train(
        self,
        starts: Sequence[Start],
        *,
        deadline: float = math.inf,
        after_epoch: Callable[[int, int, Metrics], bool] | None = None,
        evaluate_each_epoch: bool = True,
        keep_weights: bool = False,
    ) -> list[Run]:
        """Train from each of ``starts``.

        Args:
            starts:
                What to train from.
            deadline:
                The value of :func:`time.monotonic` after which no further epoch begins.
            after_epoch:
                Called with (index in ``starts``, epoch from 0, metrics), for all trainings before
                any goes on to its next epoch; where it returns :obj:`True`, that training ends as
                ``"pruned"``.
            evaluate_each_epoch:
                Whether to evaluate after each epoch, and not only after the last one. It is
                implied by ``after_epoch``.
            keep_weights:
                Whether to return the trained weights.

        Returns:
            What came of each, in the order of ``starts``.
        """
        with self._lock:
            self._program  # noqa: B018 - compiled here, where its errors are the caller's.
        slots = [_Slot(start) for start in starts]
        epochs = self.training.epochs
        looks = (epochs,) if after_epoch is None else range(1, epochs + 1)
        evaluate = evaluate_each_epoch or after_epoch is not None
        stop = threading.Event()
        futures: list[Future[None]] = []

        def advance(slot: _Slot, look: int) -> None:
            while slot.run.status == "running" and slot.epochs < look:
                if stop.is_set() or time.monotonic() >= deadline:
                    slot.run.status = "timeout"
                else:
                    count = 1 if evaluate else self._epochs_at_once(deadline)
                    self._train_epochs(slot, count, evaluate=evaluate)

        try:
            for look in looks:
                running = [(i, s) for i, s in enumerate(slots) if s.run.status == "running"]
                futures = []
                for _, slot in running:
                    # In this thread: settings of Keras, such as its global policy, are a thread's.
                    slot.state = slot.state or self._initial_state(slot.start)
                    futures.append(_threads().submit(advance, slot, look))
                for (i, slot), future in zip(running, futures, strict=True):
                    future.result()
                    run = slot.run
                    if (
                        after_epoch is not None
                        and run.status in {"running", "complete"}
                        and after_epoch(i, look - 1, run.history[-1])
                    ):
                        run.status = "pruned"
                    if run.status != "running":
                        if keep_weights:
                            run.weights = self._weights(slot)
                        slot.state = []
        except Exception:
            # Where memory ran out, the others' is free before the caller tries again.
            stop.set()
            wait(futures)
            raise
        finally:
            # Where this thread was interrupted, those that train were not.
            stop.set()
        return [slot.run for slot in slots]

    def _epochs_at_once(self, deadline: float) -> int:
        """Return how many epochs a call may take."""
        seconds = min(_SECONDS_BETWEEN_LOOKS, deadline - time.monotonic())
        return max(int(seconds / self._epoch_seconds), 1)

    def _train_epochs(self, slot: _Slot, count: int, *, evaluate: bool) -> None:
        """Train at most ``count`` more epochs by one call; evaluate if asked to or at the end."""
        begin = slot.epochs % self._orders_epochs
        end = min(begin + count, self._orders_epochs, begin + self.training.epochs - slot.epochs)
        orders = _orders(
            len(self._dataset.y_train),
            slot.start.seed if self.training.shuffle else None,
            slot.epochs - begin,
            self._orders_epochs,
        )
        slot.epochs += end - begin
        is_last = slot.epochs == self.training.epochs
        began = time.monotonic()
        slot.state, scores = self._program.train(
            slot.state, orders, begin, end, evaluate=evaluate or is_last
        )
        seconds = (time.monotonic() - began) / (end - begin)
        self._epoch_seconds = min(self._epoch_seconds, seconds)
        if scores:
            slot.run.history.append(self._metrics(scores))
            if not is_finite(slot.run.history[-1]):
                slot.run.status = "diverged"
            elif is_last:
                slot.run.status = "complete"

    def _metrics(self, scores: Sequence[tuple[int, float]]) -> Metrics:
        metrics = {}
        splits = {"train": self._dataset.y_train, "val": self._dataset.y_val}
        for (split, y), (correct, loss) in zip(splits.items(), scores, strict=False):
            metrics[f"{split}_accuracy"] = correct / len(y)
            metrics[f"{split}_loss"] = loss / len(y)
        return metrics

    def initial_weights(self, start: Start) -> list[np.ndarray]:
        """Return the values that a training starts from, the offsets added in float32."""
        weights = self.architecture.initial_weights(start.seed, start.restart)
        return [
            (w + np.float32(offset)).astype(w.dtype) if offset else w
            for w, offset in zip(weights, start.offsets, strict=True)
        ]

    def _initial_state(self, start: Start) -> list[tf.Tensor]:
        return [*map(_as_tensor, self.initial_weights(start)), *self._program.optimizer_state]

    def _weights(self, slot: _Slot) -> list[np.ndarray]:
        return [values.numpy() for values in slot.state[: len(self.architecture.variables)]]

    def evaluate(
        self, weights: Sequence[Sequence[np.ndarray]], x: np.ndarray, y: np.ndarray
    ) -> list[float]:
        """Return the accuracy on (x, y) of each of several trained networks."""
        data = _shared(x), _shared(y)
        with self._lock:
            scores = [self._program.evaluate([*map(_as_tensor, w)], data) for w in weights]
        return [correct / len(y) for correct, _ in scores]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="training")


@functools.lru_cache(maxsize=32)
def _orders(rows: int, seed: int | None, first: int, count: int) -> tf.Tensor:
    """Return the orders of the training rows from an epoch on: int32, of shape (count, rows)."""
    orders = [
        np.arange(rows, dtype=np.int32) if seed is None else _permutation(rows, seed, epoch)
        for epoch in range(first, first + count)
    ]
    return _as_tensor(np.stack(orders))


def _permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of the rows in an epoch; counter-based, so no epoch needs the earlier."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
    return generator.permutation(rows).astype(np.int32)


def _shared(array: np.ndarray) -> tf.Tensor:
    """Return a dataset's array as a tensor on the same memory, any other as a copy."""
    import tensorflow as tf

    view = writable_view(array)
    if view is None or not view.size:
        return _as_tensor(array)
    # The tensor keeps the array alive, and nothing writes to it.
    return tf.experimental.dlpack.from_dlpack(view.__dlpack__())


def _as_tensor(array: np.ndarray) -> tf.Tensor:
    import tensorflow as tf

    with tf.device("CPU"):
        return tf.convert_to_tensor(array)
