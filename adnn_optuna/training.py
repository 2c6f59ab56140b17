"""Stacked training: many initialisations of one network, trained in one compiled graph.

Every training of a stack is a *slot*. The state of a slot (the network's and the optimizer's
variables) is a row of arrays with a leading slot axis. One call of a compiled TensorFlow function
takes all slots through one epoch and evaluates them, slot after slot.

Slot after slot, not all at once: XLA chooses the order of sums, and what it fuses, by the shapes
of arrays, so in products and sums over a whole stack the last bits of a slot depend on the number
of slots (measured, in about one setting of eight). Here what is compiled for a slot does not know
of the stack at all: a training gives the same bits alone and in any stack, whatever the network
and the optimizer are.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import tensorflow as tf

    from adnn_optuna.architectures import Architecture
    from adnn_optuna.data import Dataset
    from adnn_optuna.models import Training
    from adnn_optuna.offsets import Start

    Data = tuple[tf.Tensor, tf.Tensor]

# With a deadline, no more slots are trained in one call than take this long, in seconds.
_SECONDS_BETWEEN_LOOKS = 0.5

# Rows that are evaluated at once. The memory of an evaluation grows with it, its speed hardly.
_EVALUATION_ROWS = 1000

Metrics = dict[str, float]
"""``train_accuracy``, ``train_loss``, ``val_accuracy`` and ``val_loss`` after an epoch."""


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


class _Program:
    """An epoch of a network, and its evaluation, as compiled functions of its state."""

    def __init__(self, architecture: Architecture, training: Training, num_classes: int) -> None:
        self._model = architecture.build(0, 0)
        self._optimizer = training.build_optimizer()
        self._optimizer.build(self._model.trainable_variables)
        self.optimizer_state = [np.array(v.numpy()) for v in self._optimizer.variables]
        self._batch_size = training.batch_size
        self._loss = loss_function(
            training.loss, num_classes, from_logits=not architecture.ends_in_probabilities
        )
        self.train_epoch = _compiled(self._trace_epoch)
        self.evaluate = _compiled(self._trace_evaluation)

    def _trace_epoch(  # noqa: PLR0917 - a compiled function takes its tensors by position.
        self,
        slots: tf.Tensor,
        count: tf.Tensor,
        orders: tf.Tensor,
        evaluate: tf.Tensor,
        state: list[tf.Tensor],
        splits: list[Data],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Train one epoch of the first ``count`` of ``slots`` and evaluate them if asked to.

        Args:
            slots:
                Indices of slots, int32 of shape (slots,).
            count:
                How many of them count. XLA must not know it, lest it unrolls the loop.
            orders:
                The order of the training rows for each slot, int32 of shape (slots, rows).
            evaluate:
                Whether to evaluate, a bool.
            state:
                The variables of all slots.
            splits:
                The training set and, if there is one, the validation set.

        Returns:
            The new state, and what :meth:`_score` says on each split. Slots that are not trained
            have zeros there, and so have scores that were not asked for.
        """
        import tensorflow as tf

        variables = [*self._model.variables, *self._optimizer.variables]

        def train_slot(i: tf.Tensor, *results: tf.TensorArray) -> tuple[Any, ...]:
            slot = slots[i]
            for variable, values in zip(variables, state, strict=True):
                variable.assign(values[slot])
            self._train_batches(*splits[0], orders[slot])
            scores = tf.cond(
                evaluate,
                lambda: [score for split in splits for score in self._score(*split)],
                lambda: [tf.constant(0), tf.constant(0.0, tf.float64)] * len(splits),
            )
            values = [tf.convert_to_tensor(v.value) for v in variables] + scores
            written = [r.write(slot, v) for r, v in zip(results, values, strict=True)]
            return i + 1, *written

        shapes = [(values.dtype, values.shape[1:]) for values in state]
        shapes += [(tf.int32, ()), (tf.float64, ())] * len(splits)
        results = [
            tf.TensorArray(dtype, slots.shape[0], element_shape=shape) for dtype, shape in shapes
        ]
        _, *results = tf.while_loop(
            lambda i, *_: i < count, train_slot, (tf.constant(0), *results), parallel_iterations=1
        )
        stacked = [result.stack() for result in results]
        return stacked[: len(state)], stacked[len(state) :]

    def _train_batches(self, x: tf.Tensor, y: tf.Tensor, order: tf.Tensor) -> None:
        import tensorflow as tf

        rows = order.shape[0]
        size = min(self._batch_size, rows)

        def step(i: tf.Tensor) -> tf.Tensor:
            self._train_batch(x, y, tf.slice(order, [i * size], [size]))
            return i + 1

        tf.while_loop(lambda i: i < rows // size, step, (tf.constant(0),), parallel_iterations=1)
        if rows % size:
            self._train_batch(x, y, order[rows - rows % size :])

    def _train_batch(self, x: tf.Tensor, y: tf.Tensor, rows: tf.Tensor) -> None:
        import tensorflow as tf

        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self._model(tf.gather(x, rows), training=True)
            loss = tf.reduce_mean(self._loss(tf.gather(y, rows), outputs))
            # What the model's own layers add, such as a regularizer.
            for own_loss in self._model.losses:
                loss += tf.cast(own_loss, loss.dtype)
        gradients = tape.gradient(loss, [v.value for v in variables])
        self._optimizer.apply(gradients, variables)

    def _trace_evaluation(self, weights: list[tf.Tensor], data: Data) -> Data:
        for variable, values in zip(self._model.variables, weights, strict=True):
            variable.assign(values)
        return self._score(*data)

    def _score(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the count of correct rows (int32) and the sum of losses (float64)."""
        import tensorflow as tf

        rows = y.shape[0]
        size = min(_EVALUATION_ROWS, rows)

        def score(begin: tf.Tensor | int, size: int) -> tuple[tf.Tensor, tf.Tensor]:
            labels = tf.slice(y, [begin], [size])
            xs = tf.slice(x, [begin, *[0] * (len(x.shape) - 1)], [size, *x.shape[1:]])
            outputs = self._model(xs, training=False)
            hits = tf.argmax(outputs, axis=-1, output_type=tf.int32) == labels
            losses = tf.cast(self._loss(labels, outputs), tf.float64)
            return tf.reduce_sum(tf.cast(hits, tf.int32)), tf.reduce_sum(losses)

        def step(i: tf.Tensor, correct: tf.Tensor, loss: tf.Tensor) -> tuple[tf.Tensor, ...]:
            more_correct, more_loss = score(i * size, size)
            return i + 1, correct + more_correct, loss + more_loss

        _, correct, loss = tf.while_loop(
            lambda i, *_: i < rows // size,
            step,
            (tf.constant(0), tf.constant(0), tf.constant(0.0, tf.float64)),
            parallel_iterations=1,
        )
        if rows % size:
            more_correct, more_loss = score(rows - rows % size, rows % size)
            correct, loss = correct + more_correct, loss + more_loss
        return correct, loss


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile by XLA or, where a model has an operation that XLA lacks, by TensorFlow alone."""
    import tensorflow as tf

    # Several sizes of stacks and splits are expected; TensorFlow would warn of them.
    options = {"autograph": False, "reduce_retracing": False}
    chosen = tf.function(function, jit_compile=True, **options)
    worked = False

    def call(*args: Any) -> Any:
        nonlocal chosen, worked
        try:
            result = chosen(*args)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            if worked:
                raise
            # An error of the model's own comes again, in plainer words.
            chosen = tf.function(function, **options)
            result = chosen(*args)
        worked = True
        return result

    return call


def loss_function(
    name: str, num_classes: int, *, from_logits: bool
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return a Keras loss as a function of integer labels and outputs, with one value per row.

    Args:
        name:
            The Keras name.
        num_classes:
            The number of outputs.
        from_logits:
            Whether the outputs are logits, not probabilities, for losses that can take both.

    Raises:
        ValueError: If Keras knows no such loss, or it does not suit a classifier.
    """
    import keras
    import tensorflow as tf

    try:
        loss = keras.losses.get(name)
    except ValueError:
        raise ValueError(
            f"Keras knows no loss {name!r}; see keras.losses for the names."
        ) from None
    loss = getattr(loss, "fn", loss)
    options = (
        {"from_logits": from_logits} if "from_logits" in inspect.signature(loss).parameters else {}
    )
    is_sparse = "sparse" in name.lower()

    def per_row(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        targets = labels if is_sparse else tf.one_hot(labels, num_classes)
        return loss(targets, tf.cast(outputs, tf.float32), **options)

    try:
        shape = per_row(tf.constant([0, 1, 0]), tf.fill((3, num_classes), 0.5)).shape
    except (TypeError, ValueError, tf.errors.OpError):
        shape = None
    if shape != (3,):
        raise ValueError(
            f"The loss {name!r} does not give one value per example of a classifier; use one that "
            "does, such as 'sparse_categorical_crossentropy'."
        )
    return per_row


class StackedTrainer:
    """Trains initialisations of one network on one dataset, several in one call.

    The graph is compiled for the first stack, and again only for a larger one. In memory there
    are, beside the dataset's own arrays, TensorFlow's copy of the training and validation set
    (one, whatever the number of slots), the states of all slots (twice while an epoch runs) and
    the activations of one batch. Several threads may train at once; they take turns by epochs.

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
        self._capacities: set[int] = set()
        self._slot_epoch_seconds = math.inf
        # The compiled functions share their variables.
        self._lock = threading.Lock()
        # Names are checked here, before any training.
        training.build_optimizer()
        loss_function(training.loss, dataset.num_classes, from_logits=True)

    @functools.cached_property
    def _program(self) -> _Program:
        return _Program(self.architecture, self.training, self._dataset.num_classes)

    @functools.cached_property
    def _splits(self) -> list[Data]:
        """The training set and, if there is one, the validation set."""
        data = self._dataset
        splits = [_tensors(data.x_train, data.y_train)]
        if len(data.y_val):
            splits.append(_tensors(data.x_val, data.y_val))
        return splits

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
                Called with (index in ``starts``, epoch from 0, metrics); where it returns
                :obj:`True`, that training ends as ``"pruned"``, and its slot costs no more.
            evaluate_each_epoch:
                Whether to evaluate after each epoch, and not only after the last one. It is
                implied by ``after_epoch``.
            keep_weights:
                Whether to return the trained weights.

        Returns:
            What came of each, in the order of ``starts``.
        """
        # An epoch of all slots is one call, which a deadline cannot end before it is over.
        size = max(len(starts), 1)
        if math.isfinite(deadline):
            size = min(size, max(int(_SECONDS_BETWEEN_LOOKS / self._slot_epoch_seconds), 1))
        runs = []
        for begin in range(0, len(starts), size):
            runs += self._train_together(
                starts[begin : begin + size],
                deadline,
                None if after_epoch is None else functools.partial(_shifted, after_epoch, begin),
                evaluate_each_epoch=evaluate_each_epoch or after_epoch is not None,
                keep_weights=keep_weights,
            )
        return runs

    def _train_together(
        self,
        starts: Sequence[Start],
        deadline: float,
        after_epoch: Callable[[int, int, Metrics], bool] | None,
        *,
        evaluate_each_epoch: bool,
        keep_weights: bool,
    ) -> list[Run]:
        runs = [Run() for _ in starts]
        active = list(range(len(starts)))
        state = self._first_state(starts)
        for epoch in range(self.training.epochs):
            if not active or time.monotonic() >= deadline:
                break
            is_last = epoch == self.training.epochs - 1
            evaluate = evaluate_each_epoch or is_last
            state, metrics = self._train_epoch(state, active, starts, epoch, evaluate=evaluate)
            for i in active if evaluate else ():
                run = runs[i]
                run.history.append({name: values[i] for name, values in metrics.items()})
                if not all(math.isfinite(value) for value in run.history[-1].values()):
                    run.status = "diverged"
                elif is_last:
                    run.status = "complete"
                if (
                    after_epoch is not None
                    and run.status != "diverged"
                    and after_epoch(i, epoch, run.history[-1])
                ):
                    run.status = "pruned"
                if run.status != "running" and keep_weights:
                    run.weights = self._weights(state, i)
            active = [i for i in active if runs[i].status == "running"]
        for i in active:
            runs[i].status = "timeout"
            if keep_weights:
                runs[i].weights = self._weights(state, i)
        return runs

    def initial_weights(self, start: Start) -> list[np.ndarray]:
        """Return the values that a training starts from, the offsets added in float32."""
        weights = self.architecture.initial_weights(start.seed, start.restart)
        return [
            w + np.float32(offset) if offset else w
            for w, offset in zip(weights, start.offsets, strict=True)
        ]

    def evaluate(
        self, weights: Sequence[Sequence[np.ndarray]], x: np.ndarray, y: np.ndarray
    ) -> list[float]:
        """Return the accuracy on (x, y) of each of several trained networks."""
        data = _tensors(x, y)
        accuracies = []
        for of_network in weights:
            with self._lock:
                correct, _ = self._program.evaluate(_as_tensors(of_network), data)
            accuracies.append(int(correct) / len(y))
        return accuracies

    def _first_state(self, starts: Sequence[Start]) -> list[tf.Tensor]:
        """Return the state of a stack with room for ``starts``; further slots stay unused."""
        with self._lock:
            optimizer_state = self._program.optimizer_state
        count = len(starts)
        # Unused slots are not trained: they only cost their memory.
        capacity = min((c for c in self._capacities if c >= count), default=count)
        self._capacities.add(capacity)
        rows = [[*self.initial_weights(start), *optimizer_state] for start in starts]
        rows += [rows[-1]] * (capacity - count)
        return _as_tensors([np.stack(values) for values in zip(*rows, strict=True)])

    def _train_epoch(
        self,
        state: list[tf.Tensor],
        active: Sequence[int],
        starts: Sequence[Start],
        epoch: int,
        *,
        evaluate: bool,
    ) -> tuple[list[tf.Tensor], dict[str, list[float]]]:
        """Return the state after one more epoch of the active slots, and their metrics."""
        import tensorflow as tf

        capacity = state[0].shape[0]
        slots = np.zeros(capacity, np.int32)
        slots[: len(active)] = active
        orders = np.zeros((capacity, len(self._dataset.y_train)), np.int32)
        for i in active:
            orders[i] = self._order(starts[i].seed, epoch)
        with self._lock:
            began = time.monotonic()
            state, scores = self._program.train_epoch(
                tf.constant(slots),
                tf.constant(len(active)),
                tf.constant(orders),
                tf.constant(evaluate),
                state,
                self._splits,
            )
            # The first time, this includes the compilation.
            seconds = (time.monotonic() - began) / len(active)
            self._slot_epoch_seconds = min(self._slot_epoch_seconds, seconds)
        metrics = {}
        splits = {"train": self._dataset.y_train, "val": self._dataset.y_val}
        for (split, y), correct, loss in zip(
            splits.items(), scores[::2], scores[1::2], strict=False
        ):
            metrics[f"{split}_accuracy"] = (correct.numpy() / len(y)).tolist()
            metrics[f"{split}_loss"] = (loss.numpy() / len(y)).tolist()
        return state, metrics

    def _weights(self, state: Sequence[tf.Tensor], slot: int) -> list[np.ndarray]:
        variables = len(self.architecture.variables)
        return [values[slot].numpy() for values in state[:variables]]

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the order of the training rows in an epoch: int32, of shape (rows,)."""
        rows = len(self._dataset.y_train)
        if not self.training.shuffle:
            return np.arange(rows, dtype=np.int32)
        return _permutation(rows, seed, epoch)


def _tensors(x: np.ndarray, y: np.ndarray) -> Data:
    return cast("Data", tuple(_as_tensors([x, y])))


def _shifted(
    after_epoch: Callable[[int, int, Metrics], bool], begin: int, i: int, *rest: Any
) -> bool:
    return after_epoch(begin + i, *rest)


def _as_tensors(arrays: Sequence[np.ndarray]) -> list[tf.Tensor]:
    import tensorflow as tf

    # On the CPU, where it can share memory with NumPy.
    with tf.device("CPU"):
        return [tf.convert_to_tensor(array) for array in arrays]


@functools.lru_cache(maxsize=256)
def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of ``n`` rows in an epoch; counter-based, so no epoch needs the earlier."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
    return generator.permutation(n).astype(np.int32)
