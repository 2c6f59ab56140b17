"""A training run as a compiled function of its initial values. This module loads TensorFlow."""

import dataclasses
import functools
import json
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adnn_optuna._checks import WrongValueError, logger
from adnn_optuna.networks._arrays import as_tensor, values_of
from adnn_optuna.networks._scores import Score, Scores, with_own_losses
from adnn_optuna.networks.behaviour import behaviour
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.network import EVALUATION_ROWS, Architecture, Weights

Data = tuple[tf.Tensor, ...]

# The number of compiled programs that this process keeps.
_N_PROGRAMS = 8


class Program:
    """A network's training and evaluation, compiled once for all data with the same shapes.

    Several threads may call the methods at once.

    ``splits`` has data of these shapes: the training set and, if it exists, the validation set. A
    split has inputs, and labels or targets. The training set may also have weights of examples.
    Each call of ``train`` gets the orders of the training rows in ``epochs`` epochs. If the metric
    ``judge`` is a mean over single examples, the validation set's totals include each example's
    value.
    """

    def __init__(
        self,
        architecture: Architecture,
        training: Training,
        splits: Sequence[Data],
        epochs: int,
        judge: str,
    ) -> None:
        self._model = architecture.build(0, 0)
        self._optimizer = training.build_optimizer()
        if architecture.scales_loss:
            self._optimizer = keras.optimizers.LossScaleOptimizer(self._optimizer)
        self._optimizer.build(self._model.trainable_variables)
        self._variables = [*self._model.variables, *self._optimizer.variables]
        self._batch_size = training.batch_size
        self.scores = Scores(architecture.head, training.loss, training.metrics)
        self._judge = judge
        # The totals of each split before its first batch.
        self.empty_totals: list[Score] = [self.scores.empty_totals] * len(splits)
        if len(splits) > 1 and self.scores.is_mean(judge):
            n = len(splits[1][1])
            size = min(EVALUATION_ROWS, n)
            dtype = tf.bool if judge == "accuracy" else tf.float64
            self.empty_totals[1] += (tf.zeros((math.ceil(n / size), size), dtype),)
        self._in_thread = threading.local()
        self._evaluating = threading.Lock()

        self._optimizer_state = values_of(self._optimizer.variables)
        if any(np.ptp(v.numpy().astype(float)) for v in self._optimizer_state if v.shape.rank):
            raise WrongValueError(
                "The optimizer begins with a copy of the weights, but it serves many training "
                "runs. Let it copy them in its first step."
            )
        orders = tf.zeros((epochs, len(splits[0][1])), tf.int32)
        # This example trains on one batch and scores no rows.
        bounds = tf.constant([0, 1, 0, 1, *[0] * 2 * len(splits)])
        self._is_regression = architecture.head.is_regression
        self._scales_targets = self._is_regression and architecture.scale != "none"
        n_targets = 0
        if self._scales_targets:
            n_targets = architecture.head.size
        data = splits, tf.ones((2, n_targets), tf.float64)
        example = (values_of(self._variables), data, orders, bounds, self.empty_totals)
        try:
            self._compile(example, jit_compile=training.jit_compile is True)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            # Either XLA lacks an operation, or the model is wrong. For a wrong model, TensorFlow's
            # error without XLA is easier to understand.
            self._compile(example, jit_compile=False)

    def _compile(self, example: tuple[Any, ...], *, jit_compile: bool) -> None:
        options = {"autograph": False, "jit_compile": jit_compile}
        train = tf.function(self._trace_training, **options).get_concrete_function(*example)
        # A call locks all variables that it uses, so each thread has its own variables.
        spec = tf.TensorSpec((), tf.resource)
        for i, variable in enumerate(self._variables):
            handle = functools.partial(self._handle_of_thread, i)
            train.replace_capture_with_deferred_capture(variable.value.handle, handle, spec)
        runs = [tf.nest.flatten(train(*example)) for _ in range(2)]
        for first, again in zip(*runs, strict=True):
            values = first.numpy().astype(float)
            if not np.allclose(values, again.numpy().astype(float), equal_nan=True):
                raise WrongValueError(
                    "The training must be deterministic; got other weights from its second run. "
                    "Create all variables by add_weight of a layer, and pass the SeedGenerator of "
                    "a layer to keras.random."
                )
        self.train: Callable[..., tuple[list[tf.Tensor], list[Score]]] = train
        self._evaluate = tf.function(self._trace_evaluation, **options)
        self._evaluations: dict[int, Any] = {}  # The graph for each number of rows.

    def _handle_of_thread(self, index: int) -> tf.Tensor:
        if not hasattr(self._in_thread, "variables"):
            self._in_thread.variables = [tf.Variable(v.value) for v in self._variables]
        return self._in_thread.variables[index].handle

    def first_variables(self, weights: Weights, learning_rate: float | None) -> list[tf.Tensor]:
        """Return the values of all variables before the first training step.

        If ``learning_rate`` is None, the optimizer uses its own rate or schedule.
        """
        optimizer_state = [*self._optimizer_state]
        if learning_rate is not None:
            rate = self._optimizer.learning_rate
            [rate_index] = (i for i, v in enumerate(self._optimizer.variables) if v is rate)
            optimizer_state[rate_index] = tf.convert_to_tensor(learning_rate, rate.dtype)
        return [*map(as_tensor, weights), *optimizer_state]

    def weights(self, state: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Return the model's variables in a state, averaged if the optimizer averages weights."""
        if not getattr(self._optimizer, "inner_optimizer", self._optimizer).use_ema:
            return state[: len(self._model.variables)]
        with self._evaluating:
            self._assign(state)
            self._optimizer.finalize_variable_values(self._model.trainable_variables)
            return values_of(self._model.variables)

    def compile_outputs(self, n_rows: int, inputs: tf.Tensor) -> None:
        """Compile :meth:`outputs` for ``n_rows`` rows like ``inputs``, unless it is compiled."""
        weights = values_of(self._model.variables)
        sizes = {min(n_rows, EVALUATION_ROWS), n_rows % EVALUATION_ROWS}
        for size in sizes - {0, *self._evaluations}:
            self.outputs(weights, tf.gather(inputs, tf.range(size) % len(inputs)))

    def outputs(self, weights: list[tf.Tensor], x: tf.Tensor) -> tuple[np.ndarray, float]:
        """Return outputs, float32 of shape (n, outputs), and the mean loss that layers add."""
        outputs = []
        own_loss = 0.0
        with self._evaluating:
            for first in range(0, max(len(x), 1), EVALUATION_ROWS):
                rows = x[first : first + EVALUATION_ROWS]
                if len(rows) not in self._evaluations:
                    # If tf.function chose the graph, TensorFlow would take longer, and warn about
                    # many shapes.
                    evaluate = self._evaluate.get_concrete_function(weights, rows)
                    self._evaluations[len(rows)] = evaluate
                of_rows, added = self._evaluations[len(rows)](weights, rows)
                outputs.append(of_rows.numpy())
                own_loss += float(added) * len(rows) / max(len(x), 1)
        return np.concatenate(outputs), own_loss

    def _trace_training(
        self,
        state: list[tf.Tensor],
        data: tuple[Sequence[Data], tf.Tensor],
        orders: tf.Tensor,
        bounds: tf.Tensor,
        totals: Sequence[Score],
    ) -> tuple[list[tf.Tensor], list[Score]]:
        """Train from these values of all variables, and return the new values and the totals.

        ``data`` has the splits and, if the network scales targets, their mean and standard
        deviation. Targets and scores are in the user's units. ``orders`` has the order of the
        training rows in each epoch. ``bounds`` has pairs (first number, end): one pair for epochs,
        one pair for the batches of an epoch, and one pair for each split. The pair of a split is
        for batches of a thousand rows, whose scores are added to ``totals``.
        """
        begin, end, first, last, *of_splits = tf.unstack(bounds)
        self._assign(state)
        splits, units = data

        def train_epoch(epoch: tf.Tensor) -> tf.Tensor:
            train_batch = functools.partial(self._train_batch, splits[0], units, orders[epoch])
            _in_batches(orders.shape[1], self._batch_size, (first, last), train_batch)
            return epoch + 1

        # The number of epochs is a tensor, because XLA would unroll a loop of known length.
        tf.while_loop(lambda epoch: epoch < end, train_epoch, (begin,), parallel_iterations=1)
        # The values are read before scoring, because scoring advances the seeds of Keras's
        # recurrent layers.
        trained = values_of(self._variables)
        self._optimizer.finalize_variable_values(self._model.trainable_variables)
        not_trained = self._model.non_trainable_variables
        fixed = [*zip(not_trained, values_of(not_trained), strict=True)]

        bounds_of_splits = zip(of_splits[::2], of_splits[1::2], strict=True)
        scores = []
        for (x, y, *_), rows, total in zip(splits, bounds_of_splits, totals, strict=True):
            score = functools.partial(self._score, fixed, (x, y), units)
            scores.append(_in_batches(y.shape[0], EVALUATION_ROWS, rows, score, *total))
        return trained, scores

    def _assign(self, values: Sequence[tf.Tensor]) -> None:
        # The values may be only for the model's variables, which come first.
        for variable, value in zip(self._variables, values, strict=False):
            variable.assign(value)

    def _train_batch(
        self, data: Data, units: tf.Tensor, order: tf.Tensor, first: tf.Tensor, size: int
    ) -> tuple[()]:
        rows = tf.slice(order, [first], [size])
        x, y, *weights = (tf.gather(array, rows) for array in data)
        if self._scales_targets:
            y = (tf.reshape(y, (size, -1)) - units[0]) / units[1]
        if self._is_regression:  # Keras's `fit` also converts targets to float32.
            y = tf.cast(y, tf.float32)
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            losses = self.scores.loss(y, self._model(x, training=True))
            for weight in weights:
                losses *= weight
            loss = with_own_losses(tf.reduce_mean(losses), self._model.losses)
            loss = self._optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, [v.value for v in variables])
        self._optimizer.apply(gradients, variables)
        return ()

    def _trace_evaluation(
        self, weights: list[tf.Tensor], x: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        self._assign(weights)
        outputs = tf.cast(self._model(x, training=False), tf.float32)
        return outputs, with_own_losses(tf.constant(0.0, tf.float64), self._model.losses)

    def _score(
        self,
        fixed: Sequence[tuple[keras.Variable, tf.Tensor]],
        split: Data,
        units: tf.Tensor,
        first: tf.Tensor,
        size: int,
        *totals: tf.Tensor,
    ) -> Score:
        # Some models draw random numbers in evaluation. Their state is reset, so all batches get
        # the same numbers.
        for variable, value in fixed:
            variable.assign(value)
        xs, labels = (
            tf.slice(a, [first, *[0] * (len(a.shape) - 1)], [size, *a.shape[1:]]) for a in split
        )
        outputs = tf.cast(self._model(xs, training=False), tf.float32)
        if self._scales_targets:
            outputs = tf.cast(outputs, tf.float64) * units[1] + units[0]
        sums = self.scores.add(labels, outputs, self._model.losses, totals)
        if len(totals) == len(sums):
            return sums
        terms = totals[-1]
        of_batch = self.scores.terms(self._judge, labels, outputs)
        padded = tf.pad(of_batch, [[0, terms.shape[1] - size]])
        row = tf.reshape(first // terms.shape[1], (1, 1))
        return (*sums, tf.tensor_scatter_nd_update(terms, row, padded[None]))


def _in_batches(
    rows: int,
    size: int,
    bounds: tuple[tf.Tensor, tf.Tensor],
    function: Callable[..., tuple[tf.Tensor, ...]],
    *totals: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """Trace ``function(first row, size, *totals)`` for each batch within the bounds.

    ``function`` returns the totals after its batch. Return the totals after the last batch.
    """
    first, last = bounds
    size = min(size, rows)
    n_whole, n_remaining = divmod(rows, size)
    batches = [(first, n_whole, size)]
    if n_remaining:
        # The smaller last batch is a loop of at most one pass. A condition would need one more
        # branch, for a batch that is not within the bounds.
        batches.append((tf.maximum(first, n_whole), n_whole + 1, n_remaining))
    for begin, end, n in batches:
        _, *totals = tf.while_loop(
            lambda i, *_, end=end: i < tf.minimum(last, end),
            lambda i, *totals, n=n: (i + 1, *function(i * size, n, *totals)),
            (begin, *totals),
            parallel_iterations=1,
        )
    return tuple(totals)


# The programs that were used last. A key has everything that is compiled into its program.
_programs: dict[tuple[Any, ...], Program] = {}
_compiling = threading.Lock()


def compiled(
    architecture: Architecture,
    training: Training,
    splits: Sequence[Data],
    epochs: int,
    judge: str,
) -> Program:
    """Return the program that trains a network on data with these shapes.

    If the program is new, compile it.
    """
    # A program serves any number of epochs, and any fixed learning rate.
    compiled_in = dataclasses.replace(training, epochs=1)
    if training.fixed_learning_rate is not None:
        optimizer: Any = training.optimizer
        if isinstance(optimizer, dict):
            optimizer = {**optimizer, "config": optimizer["config"] | {"learning_rate": 0.0}}
        compiled_in = dataclasses.replace(compiled_in, learning_rate=None, optimizer=optimizer)
    shapes = tuple((*array.shape, array.dtype) for arrays in splits for array in arrays)
    head = dataclasses.astuple(architecture.head)
    sketches = behaviour(architecture, compiled_in)
    described = [architecture.config, head, compiled_in.config, sketches]
    key = json.dumps(described, sort_keys=True), architecture.own_code, shapes, epochs, judge
    with _compiling:
        if (program := _programs.pop(key, None)) is None:
            logger.info("Compiling the training of the network, once for all its trials.")
            program = Program(architecture, training, splits, epochs, judge)
        _programs[key] = program
        if len(_programs) > _N_PROGRAMS:
            del _programs[next(iter(_programs))]
        return program


@functools.lru_cache(maxsize=32)
def orders_of(rows: int, seed: int | None, first: int, count: int) -> tf.Tensor:
    """Return the order of training rows in ``count`` epochs, beginning with epoch ``first``.

    The result is int32 of shape (count, rows).
    """
    orders = np.tile(np.arange(rows, dtype=np.int32), (count, 1))
    for i in range(count):
        # Philox is counter-based, so the order of an epoch does not depend on earlier epochs.
        if seed is not None:
            words = np.random.Philox(np.random.SeedSequence((seed, first + i)))
            orders[i] = np.random.Generator(words).permutation(rows)
    return as_tensor(orders)
