"""Stacked training: many initialisations of one network, trained at once in one compiled graph.

Every network of a stack is a *slot*. The variables of all slots are held as one array with a
leading slot axis, an epoch is one call of a compiled TensorFlow function, and a product of
matrices is a batched product over the slots. What is computed in a slot does not depend on the
others, nor on their number: a training gives the same bits alone and in any stack.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna.architectures import MLPArchitecture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import tensorflow as tf

    from adnn_optuna.architectures import Architecture
    from adnn_optuna.data import Dataset
    from adnn_optuna.models import Training
    from adnn_optuna.offsets import Start


# Rows that are evaluated at once. The memory of an evaluation grows with it, its speed hardly.
_EVALUATION_ROWS = 1000

Metrics = dict[str, float]
"""``train_accuracy``, ``train_loss``, ``val_accuracy`` and ``val_loss`` after an epoch."""


@dataclasses.dataclass
class Run:
    """What came of one training.

    Args:
        history:
            The metrics after each epoch that was trained.
        status:
            ``"complete"``; ``"pruned"`` where ``after_epoch`` said so; ``"timeout"`` where the
            deadline passed; ``"diverged"`` where a loss was not finite.
        weights:
            The trained variables, if they were asked for.
    """

    history: list[Metrics] = dataclasses.field(default_factory=list)
    status: str = "running"
    weights: list[np.ndarray] | None = None


class _Network(abc.ABC):
    """The variables of a stack of networks and their forward pass."""

    slots: int
    variables: list[Any]
    from_logits: bool
    # Smaller batches are filled up to this number of rows with rows that have no weight; if it
    # is 0, no batch is filled up.
    min_rows: int

    @property
    def trainable_variables(self) -> list[Any]:
        return self.variables

    @abc.abstractmethod
    def assign(self, weights: Sequence[Sequence[np.ndarray]]) -> None:
        """Set the variables of all slots."""

    @abc.abstractmethod
    def weights(self, slot: int) -> list[np.ndarray]:
        """Return the variables of one slot."""

    @abc.abstractmethod
    def __call__(self, x: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Return outputs of shape (slots, rows, classes) for rows shared by all slots or own."""


class _MLPNetwork(_Network):
    """A stack of MLPs: kernels (slots, inputs, units), biases (slots, 1, units)."""

    from_logits = True
    # XLA has several ways to multiply small matrices, which differ in the last bit, and picks one
    # by the shape of the whole stack.
    min_rows = 32

    def __init__(self, architecture: MLPArchitecture, slots: int) -> None:
        import keras

        self.slots = slots
        self._activation = keras.activations.get(architecture.mlp.activation)
        self._features = math.prod(architecture.input_shape)
        self._shapes = architecture.shapes
        self.variables = [
            keras.Variable(np.zeros(self._stacked(shape), np.float32)) for shape in self._shapes
        ]

    def _stacked(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.slots, *shape) if len(shape) == 2 else (self.slots, 1, *shape)

    def assign(self, weights: Sequence[Sequence[np.ndarray]]) -> None:
        for j, (variable, shape) in enumerate(zip(self.variables, self._shapes, strict=True)):
            variable.assign(np.stack([w[j] for w in weights]).reshape(self._stacked(shape)))

    def weights(self, slot: int) -> list[np.ndarray]:
        return [
            variable.numpy()[slot].reshape(shape)
            for variable, shape in zip(self.variables, self._shapes, strict=True)
        ]

    def __call__(self, x: tf.Tensor, *, training: bool) -> tf.Tensor:  # noqa: ARG002
        import tensorflow as tf

        rows = x.shape[:-1] if x.shape[-1] == self._features else None
        assert rows is not None, "the trainer flattens the examples of an MLP"
        h = tf.broadcast_to(x, (self.slots, rows[-1], self._features))
        for j in range(0, len(self.variables), 2):
            h = _add_bias(tf.matmul(h, self.variables[j].value), self.variables[j + 1].value)
            if j + 2 < len(self.variables):
                h = self._activation(h)
        return h


class _KerasNetwork(_Network):
    """A Keras model of the user's: one slot, its own forward pass."""

    slots = 1
    # Rows without weight would change the statistics of a batch normalization.
    min_rows = 0

    def __init__(self, architecture: Architecture) -> None:
        self._model = architecture.build(0, 0)
        self.variables = self._model.variables
        last = self._model.layers[-1]
        activation = getattr(last, "activation", None)
        self.from_logits = getattr(activation, "__name__", "linear") != "softmax"

    @property
    def trainable_variables(self) -> list[Any]:
        return list(self._model.trainable_variables)

    def assign(self, weights: Sequence[Sequence[np.ndarray]]) -> None:
        for variable, value in zip(self.variables, weights[0], strict=True):
            variable.assign(value)

    def weights(self, slot: int) -> list[np.ndarray]:  # noqa: ARG002
        return [np.array(variable.numpy()) for variable in self.variables]

    def __call__(self, x: tf.Tensor, *, training: bool) -> tf.Tensor:
        return self._model(x, training=training)[None]


class _CompiledStack:
    """A network, its optimizer and the compiled functions for one number of slots."""

    def __init__(
        self, architecture: Architecture, training: Training, slots: int, num_classes: int
    ) -> None:
        import tensorflow as tf

        self.network: _Network = (
            _MLPNetwork(architecture, slots)
            if isinstance(architecture, MLPArchitecture)
            else _KerasNetwork(architecture)
        )
        self.slots = slots
        self._batch_size = training.batch_size
        self._optimizer = training.build_optimizer()
        self._optimizer.build(self.network.trainable_variables)
        self._optimizer_start = [np.array(v.numpy()) for v in self._optimizer.variables]
        self._loss = _loss_function(training.loss, num_classes, self.network.from_logits)
        self._train_epoch = tf.function(self._trace_epoch, jit_compile=True, autograph=False)
        self._evaluate = tf.function(self._trace_evaluation, jit_compile=True, autograph=False)
        self.compile_seconds: float | None = None
        self.epoch_seconds = math.inf

    def start(self, weights: Sequence[Sequence[np.ndarray]]) -> None:
        """Begin a training of all slots from ``weights``."""
        self.network.assign(weights)
        for variable, value in zip(self._optimizer.variables, self._optimizer_start, strict=True):
            variable.assign(value)

    def train_epoch(self, x: tf.Tensor, y: tf.Tensor, order: np.ndarray) -> None:
        """Train one epoch with batches in the given order, of shape (n,) or (slots, n)."""
        import tensorflow as tf

        began = time.perf_counter()
        padding = [
            *([(0, 0)] * (order.ndim - 1)),
            (0, max(self._batch_size, self.network.min_rows)),
        ]
        self._train_epoch(x, y, tf.constant(np.pad(order, padding)))
        seconds = time.perf_counter() - began
        if self.compile_seconds is None:
            self.compile_seconds = seconds
        else:
            self.epoch_seconds = min(self.epoch_seconds, seconds)

    def evaluate(self, x: tf.Tensor, y: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return accuracy and mean loss of each slot, two float64 arrays of shape (slots,)."""
        correct, losses = self._evaluate(x, y)
        # Summed here, in float64 and in one order.
        return correct.numpy() / len(y), losses.numpy().mean(axis=-1, dtype=np.float64)

    def _trace_epoch(self, x: tf.Tensor, y: tf.Tensor, order: tf.Tensor) -> None:
        import tensorflow as tf

        n = y.shape[0]
        size = min(self._batch_size, n)
        full_batches, rest = divmod(n, size)

        def train(batch: tf.Tensor | int, count: tf.Tensor | int, rows: int) -> None:
            leading = order.shape[:-1]
            begin = [*([0] * len(leading)), batch * size]
            self._train_batch(x, y, tf.slice(order, begin, [*leading, rows]), count)

        def step(i: tf.Tensor) -> tf.Tensor:
            train(i, tf.minimum(size, n - i * size), max(size, self.network.min_rows))
            return i + 1

        steps = full_batches + (1 if rest and self.network.min_rows else 0)
        tf.while_loop(lambda i: i < steps, step, (tf.constant(0),))
        if rest and steps == full_batches:
            train(full_batches, rest, rest)

    def _train_batch(
        self, x: tf.Tensor, y: tf.Tensor, rows: tf.Tensor, count: tf.Tensor | int
    ) -> None:
        """Train on the first ``count`` of ``rows``; the others have no weight."""
        import tensorflow as tf

        weights = tf.where(tf.range(rows.shape[-1]) < count, 1.0 / tf.cast(count, tf.float32), 0.0)
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self.network(tf.gather(x, rows), training=True)
            losses = self._loss(tf.gather(y, rows), outputs)
            # The sum over slots: each slot's gradient is that of its own mean.
            loss = tf.reduce_sum(weights * losses)
        gradients = tape.gradient(loss, [v.value for v in variables])
        self._optimizer.apply(gradients, variables)

    def _trace_evaluation(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        import tensorflow as tf

        n = x.shape[0]
        size = min(_EVALUATION_ROWS, n)
        full_chunks, rest = divmod(n, size)

        def outputs_of(begin: tf.Tensor | int, rows: int) -> tf.Tensor:
            xs = tf.slice(x, [begin, *([0] * (len(x.shape) - 1))], [rows, *x.shape[1:]])
            return self.network(xs, training=False)

        outputs = tf.map_fn(
            lambda i: outputs_of(i * size, size),
            tf.range(full_chunks),
            fn_output_signature=tf.float32,
        )
        slots, classes = self.network.slots, outputs.shape[-1]
        outputs = tf.reshape(tf.transpose(outputs, [1, 0, 2, 3]), [slots, -1, classes])
        if rest:
            outputs = tf.concat([outputs, outputs_of(full_chunks * size, rest)], axis=1)

        def score(of_slot: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            hits = tf.argmax(of_slot, axis=-1, output_type=tf.int32) == y
            return tf.reduce_sum(tf.cast(hits, tf.int32)), self._loss(y, of_slot)

        # One slot after the other: compiled for the whole stack, the sum over classes in a loss
        # would be vectorized by the shape of the stack and differ in its last bit.
        return tf.map_fn(score, outputs, fn_output_signature=(tf.int32, tf.float32))


def _sum_over(x: tf.Tensor, axis: int) -> tf.Tensor:
    """Sum over an axis, which stays with length 1, in an order that is written down here.

    XLA chooses the order of a `reduce_sum` by the shape of the whole array, so a slot's sum would
    depend on the number of slots. Additions of halves leave it no choice, and batched matrix
    products keep to themselves; these are all the sums that a training needs.
    """
    import tensorflow as tf

    length = x.shape[axis]
    while length > 1:
        half = (length + 1) // 2
        first, second = tf.split(x, [half, length - half], axis=axis)
        if length % 2:
            paddings = [[0, 0]] * len(x.shape)
            paddings[axis] = [0, 1]
            second = tf.pad(second, paddings)
        x, length = first + second, half
    return x


def _add_bias(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Add a bias (slots, 1, units) to (slots, rows, units)."""
    import tensorflow as tf

    @tf.custom_gradient
    def add(x: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        return x + bias, lambda upstream: (upstream, _sum_over(upstream, axis=1))

    result: tf.Tensor = add(x, bias)
    return result


def _softmax_crossentropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy per example, with its sums in an order of their own.

    The gradients of Keras's other losses on logits are element-wise; only this one has a sum.
    """
    import tensorflow as tf

    one_hot = tf.one_hot(tf.broadcast_to(labels, logits.shape[:-1]), logits.shape[-1])

    @tf.custom_gradient
    def crossentropy(logits: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        shifted = logits - tf.reduce_max(logits, axis=-1, keepdims=True)
        exponentials = tf.exp(shifted)
        total = _sum_over(exponentials, axis=-1)
        # All terms but one are 0, so the order of this sum does not matter.
        loss = tf.reduce_sum(one_hot * (tf.math.log(total) - shifted), axis=-1)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return (exponentials * (1.0 / total) - one_hot) * upstream[..., None]

        return loss, gradient

    result: tf.Tensor = crossentropy(logits)
    return result


def _loss_function(
    name: str,
    num_classes: int,
    from_logits: bool,  # noqa: FBT001
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return the Keras loss per example, given integer labels, which are broadcast to the outputs.

    Raises:
        ValueError: If Keras knows no such loss.
    """
    import inspect

    import keras
    import tensorflow as tf

    try:
        loss = keras.losses.get(name)
    except ValueError:
        raise ValueError(
            f"Keras knows no loss {name!r}; see keras.losses for the names."
        ) from None
    loss = getattr(loss, "fn", loss)
    if from_logits and name in ("sparse_categorical_crossentropy", "categorical_crossentropy"):
        return _softmax_crossentropy
    options = (
        {"from_logits": from_logits} if "from_logits" in inspect.signature(loss).parameters else {}
    )
    sparse = "sparse" in name.lower()

    def per_example(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        labels = tf.broadcast_to(labels, outputs.shape[:-1])
        targets = labels if sparse else tf.one_hot(labels, num_classes)
        return loss(targets, outputs, **options)

    return per_example


class StackedTrainer:
    """Trains initialisations of one network on one dataset, several at once.

    A stack is compiled once for each number of slots and then used again. It holds the dataset
    once; its memory is that of the data, plus slots x parameters, plus slots x batch.

    Args:
        architecture:
            The network.
        training:
            The training settings.
        dataset:
            The data. Training set and validation set are evaluated after each epoch, the test set
            only by :meth:`evaluate`.
    """

    def __init__(self, architecture: Architecture, training: Training, dataset: Dataset) -> None:
        self.architecture = architecture
        self.training = training
        self._dataset = dataset
        self._stacks: dict[int, _CompiledStack] = {}
        # Names are checked here, before any training.
        training.build_optimizer()
        _loss_function(training.loss, dataset.num_classes, from_logits=True)

    @functools.cached_property
    def _train(self) -> tuple[tf.Tensor, tf.Tensor]:
        return self._tensors(self._dataset.x_train, self._dataset.y_train)

    @functools.cached_property
    def _val(self) -> tuple[tf.Tensor, tf.Tensor] | None:
        if not len(self._dataset.x_val):
            return None
        return self._tensors(self._dataset.x_val, self._dataset.y_val)

    def _tensors(self, x: np.ndarray, y: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        import tensorflow as tf

        if isinstance(self.architecture, MLPArchitecture):
            x = x.reshape(len(x), -1)
        return tf.convert_to_tensor(x), tf.convert_to_tensor(y)

    def train(
        self,
        starts: Sequence[Start],
        *,
        deadline: float = math.inf,
        after_epoch: Callable[[int, int, Metrics], bool] | None = None,
        keep_weights: bool = False,
    ) -> list[Run]:
        """Train from each of ``starts``, all of them at once where the network allows it.

        Args:
            starts:
                What to train from.
            deadline:
                The value of :func:`time.monotonic` after which no further epoch begins.
            after_epoch:
                Called with (index in ``starts``, epoch from 0, metrics); where it returns
                :obj:`True`, that training ends as ``"pruned"``.
            keep_weights:
                Whether to return the trained weights.

        Returns:
            What came of each, in the order of ``starts``.
        """
        if not starts:
            return []
        if isinstance(self.architecture, MLPArchitecture):
            return self._train_stack(starts, deadline, after_epoch, keep_weights)
        runs = []
        for i, start in enumerate(starts):
            hook = None if after_epoch is None else functools.partial(_at, after_epoch, i)
            runs += self._train_stack([start], deadline, hook, keep_weights)
        return runs

    def _train_stack(
        self,
        starts: Sequence[Start],
        deadline: float,
        after_epoch: Callable[[int, int, Metrics], bool] | None,
        keep_weights: bool,  # noqa: FBT001
    ) -> list[Run]:
        stack = self._stack_for(len(starts))
        # Unused slots repeat the last start.
        slots = [*starts, *[starts[-1]] * (stack.slots - len(starts))]
        stack.start([self.initial_weights(start) for start in slots])
        runs = [Run() for _ in starts]
        for epoch in range(self.training.epochs):
            if time.monotonic() >= deadline:
                for run in _running(runs):
                    run.status = "timeout"
            if not _running(runs):
                break
            stack.train_epoch(*self._train, self._order(slots, epoch))
            metrics = self._metrics(stack)
            for i, run in enumerate(runs):
                if run.status != "running":
                    continue
                run.history.append({name: float(values[i]) for name, values in metrics.items()})
                if not all(math.isfinite(v) for v in run.history[-1].values()):
                    run.status = "diverged"
                elif epoch == self.training.epochs - 1:
                    run.status = "complete"
                if (
                    after_epoch is not None
                    and run.status != "diverged"
                    and after_epoch(i, epoch, run.history[-1])
                ):
                    run.status = "pruned"
        if keep_weights:
            for i, run in enumerate(runs):
                run.weights = stack.network.weights(i)
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
        accuracies: list[float] = []
        tensors = self._tensors(x, y)
        size = len(weights) if isinstance(self.architecture, MLPArchitecture) else 1
        for begin in range(0, len(weights), size):
            part = weights[begin : begin + size]
            stack = self._stack_for(len(part))
            stack.network.assign([*part, *[part[-1]] * (stack.slots - len(part))])
            accuracies += stack.evaluate(*tensors)[0][: len(part)].tolist()
        return accuracies

    def _metrics(self, stack: _CompiledStack) -> dict[str, np.ndarray]:
        accuracy, loss = stack.evaluate(*self._train)
        metrics = {"train_accuracy": accuracy, "train_loss": loss}
        if self._val is not None:
            accuracy, loss = stack.evaluate(*self._val)
            metrics |= {"val_accuracy": accuracy, "val_loss": loss}
        return metrics

    def _order(self, starts: Sequence[Start], epoch: int) -> np.ndarray:
        """Return the order of the training rows: int32, (n,) if all seeds are equal, or (slots, n)."""
        n = len(self._dataset.x_train)
        if not self.training.shuffle:
            return np.arange(n, dtype=np.int32)
        seeds = [start.seed for start in starts]
        orders = {seed: _permutation(n, seed, epoch) for seed in dict.fromkeys(seeds)}
        if len(orders) == 1:
            return orders[seeds[0]]
        return np.stack([orders[seed] for seed in seeds])

    def _stack_for(self, count: int) -> _CompiledStack:
        """Return a stack with room for ``count`` networks, compiled if that costs less."""
        if not isinstance(self.architecture, MLPArchitecture):
            count = 1
        roomy = [s for slots, s in self._stacks.items() if slots >= count]
        stack = min(roomy, key=lambda s: s.slots, default=None)
        if stack is not None and (
            stack.slots == count
            # Empty slots cost their share of the epochs; a new stack costs its compilation.
            or stack.epoch_seconds * self.training.epochs * (1 - count / stack.slots)
            <= (stack.compile_seconds or math.inf)
        ):
            return stack
        self._stacks[count] = _CompiledStack(
            self.architecture, self.training, count, self._dataset.num_classes
        )
        return self._stacks[count]


def _at(
    after_epoch: Callable[[int, int, Metrics], bool], i: int, _: int, epoch: int, metrics: Metrics
) -> bool:
    return after_epoch(i, epoch, metrics)


def _running(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.status == "running"]


@functools.lru_cache(maxsize=256)
def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of ``n`` rows in an epoch; counter-based, so no epoch needs the earlier."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
    return generator.permutation(n).astype(np.int32)
