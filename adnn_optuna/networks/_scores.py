"""The loss and the metrics of a training run, within a graph. This module loads TensorFlow."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adnn_optuna._attributes import Metrics
from adnn_optuna._checks import WrongValueError
from adnn_optuna.networks._arrays import values_of
from adnn_optuna.networks._losses import REFUSALS, loss_function, targets_of
from adnn_optuna.networks._metrics import (
    Adapt,
    KerasMetric,
    is_of_one_class,
    is_of_positive,
    keras_metric,
    result_of_state,
)
from adnn_optuna.networks.models import Settings
from adnn_optuna.networks.network import Head

Score = tuple[tf.Tensor, ...]


class Scores:
    """Sums over a split's examples, batch by batch, and the metrics that follow from the sums.

    There are three kinds of sums: the head's sums, the sum of the losses, and the states of Keras
    metrics. A classifier's head counts the correct examples. A regression's head sums the squared
    errors of each target, and all absolute errors.
    """

    def __init__(self, head: Head, loss: Settings | None, metrics: Sequence[Settings]) -> None:
        self._head = head
        function, takes_integers = loss_function(loss or "", head)
        self.loss: Callable[..., tf.Tensor] = function
        self.takes_integers: bool = takes_integers
        self._metrics: list[KerasMetric] = []
        self._r2_names: list[str] = []
        self.names: list[str] = [*head.metrics]
        for settings in metrics:
            if settings in head.metrics:
                continue
            metric, adapt = keras_metric(settings, head, takes_integers=takes_integers)
            # The head itself computes this metric.
            if metric.name in head.metrics:
                continue
            if metric.name in self.names:
                raise WrongValueError(
                    f"metrics must have different names; got {metric.name!r} twice. Rename or "
                    "omit one of them."
                )
            self.names.append(metric.name)
            if head.is_regression and isinstance(metric, keras.metrics.R2Score):
                if metric.class_aggregation != "uniform_average" or metric.num_regressors:
                    raise WrongValueError(
                        f"The metric {metric.name!r} must have its default arguments; got others. "
                        "Omit them."
                    )
                self._r2_names.append(metric.name)
            else:
                self._metrics.append((metric, adapt))
        zero = tf.constant(0.0, tf.float64)
        head_totals = [tf.constant(0)]
        if head.is_regression:
            head_totals = [tf.zeros(head.size, tf.float64), zero]
        self._n_own = len(head_totals)
        variables = [variable for metric, _ in self._metrics for variable in metric.variables]
        self.empty_totals: Score = (*head_totals, zero, *values_of(variables))

    @property
    def of_positive(self) -> list[str]:
        """The names of the metrics about the positive class of two classes."""
        return [m.name for m, _ in self._metrics if is_of_positive(m, self._head)]

    def check(self, y: Mapping[str, np.ndarray], classes: Sequence[Any] | None) -> None:
        """Raise an error for metrics that are undefined on a split, or need a positive class."""
        n = self._head.num_classes
        names = ["r2"]
        if n:
            names = [m.name for m, _ in self._metrics if is_of_one_class(m)]
        labels = classes or range(n or 0)
        of_positive = self.of_positive
        if of_positive and self._head.positive is None:
            first, second = labels
            raise WrongValueError(
                f"The metric {of_positive[0]!r} must be of one of the classes "
                f"{first!r} and {second!r}. Pass positive={first!r} or positive={second!r} to "
                "the data set."
            )
        if not names:
            return
        for split, of_split in y.items():
            label = of_split[0]
            is_constant = (of_split == label).all(axis=0)
            if is_constant.any():
                value = label.tolist()
                if n:
                    value = labels[label]
                raise WrongValueError(
                    f"{split}_{names[0]} means nothing if all {len(of_split)} labels of the "
                    f"split are {value!r}. Draw a larger split, or omit it."
                )

    def add(
        self, labels: tf.Tensor, outputs: tf.Tensor, own_losses: Sequence[Any], totals: Score
    ) -> Score:
        """Return the sums after one more batch. ``own_losses`` are losses that layers add."""
        losses = tf.cast(self.loss(labels, outputs), tf.float64)
        loss = tf.reduce_sum(losses)
        # As in Keras, the loss includes the losses that layers add.
        loss = with_own_losses(loss, own_losses, labels.shape[0])
        of_batch = [*self._own(labels, outputs), loss]
        sums = [total + value for total, value in zip(totals, of_batch, strict=False)]
        for metric, adapt, state in self._states(totals):
            arguments = adapt(labels, outputs)
            sums += metric.stateless_update_state(state, *arguments, sample_weight=None)
        return tuple(sums)

    def _states(self, totals: Score) -> Iterator[tuple[keras.metrics.Metric, Adapt, list[Any]]]:
        """Yield each Keras metric, the function for its arguments, and its state in ``totals``."""
        states = iter(totals[self._n_own + 1 :])
        for metric, adapt in self._metrics:
            yield metric, adapt, [next(states) for _ in metric.variables]

    def _own(self, labels: tf.Tensor, outputs: tf.Tensor) -> list[tf.Tensor]:
        if self._head.is_regression:
            errors = self._errors(labels, outputs)
            squared = tf.reduce_sum(errors**2, axis=0)
            absolute = tf.reduce_sum(tf.abs(errors))
            return [squared, absolute]
        is_correct = self._is_correct(labels, outputs)
        return [tf.reduce_sum(tf.cast(is_correct, tf.int32))]

    def _errors(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        predicted = tf.cast(outputs, tf.float64)
        return targets_of(self._head, labels, tf.float64) - predicted

    def _is_correct(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        head = self._head
        if head.size == 1:
            is_second = outputs[:, 0] > head.threshold
            predicted = tf.cast(is_second, tf.int32)
        else:
            predicted = tf.argmax(outputs, axis=-1, output_type=tf.int32)
        return predicted == labels

    def is_mean(self, name: str) -> bool:
        """Return whether a metric is a mean over single examples."""
        return name in self._head.metrics and name in ("accuracy", "loss", "mae")

    def terms(self, name: str, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return a value for each example, as bool or float64. Their mean is the metric."""
        if name == "accuracy":
            return self._is_correct(labels, outputs)
        if name == "loss":
            return tf.cast(self.loss(labels, outputs), tf.float64)
        return tf.reduce_mean(tf.abs(self._errors(labels, outputs)), axis=1)

    def results(self, split: str, totals: Score, y: np.ndarray) -> Metrics:
        """Return the metrics of a split with labels or targets ``y``."""
        head = self._head
        n = len(y)
        if head.is_regression:
            squared = totals[0].numpy() / n
            mae = float(totals[1]) / n / head.size
            rmse = float(squared.mean()) ** 0.5
            targets = y.reshape(n, -1)
            variances = targets.var(axis=0, dtype=np.float64)
            explained = 1 - squared / variances
            r2 = float(explained.mean())
            metrics = {"r2": r2, "rmse": rmse, "mae": mae}
            # Keras sums squares of targets in float32, which is inexact for targets around 1e9.
            metrics |= dict.fromkeys(self._r2_names, r2)
        else:
            metrics = {"accuracy": int(totals[0]) / n}
        metrics["loss"] = float(totals[self._n_own]) / n
        for metric, _, state in self._states(totals):
            result = np.asarray(result_of_state(metric, state))
            metrics[metric.name] = result.item()
        return {f"{split}_{name}": value for name, value in metrics.items()}

    def metrics(self, split: str, outputs: np.ndarray, y: np.ndarray, own_loss: float) -> Metrics:
        """Return the metrics of a network's outputs on a split. See :meth:`tested`."""
        totals = self.add(tf.constant(y), tf.constant(outputs), [own_loss], self.empty_totals)
        return self.results(split, totals, y)

    def tested(
        self, name: str, outputs: np.ndarray, y: np.ndarray, own_loss: float
    ) -> tuple[Metrics, np.ndarray]:
        """Return all metrics of a test set, and the examples' scores for one of the metrics.

        :meth:`of_examples` computes the scores.

        Args:
            name: The metric of the scores, without the split's name.
            outputs: The network's outputs, of shape (n, outputs).
            y: The labels or targets.
            own_loss: The loss that the network's layers add to the loss of an example.
        """
        metrics = self.metrics("test", outputs, y, own_loss)
        return metrics, self.of_examples(name, outputs, y, metrics[f"test_{name}"])

    def of_examples(
        self, name: str, outputs: np.ndarray, y: np.ndarray, value: float
    ) -> np.ndarray:
        """Return a score for each example. ``value`` is the metric over all examples.

        For the accuracy, the score says whether the prediction is correct. For any other metric,
        the score is ``value`` plus the example's influence value (Hampel 1974, JASA 69:383-393).
        The mean of the scores is ``value``, and their spread shows how much the metric would vary
        on other examples. The scores are NaN if a Keras metric has no derivative.
        """
        if name == "accuracy":
            return self._head.predicted(outputs) == y
        labels = tf.constant(y)
        outputs_as_tensor = tf.constant(outputs)
        if name in ("r2", "rmse", "mae", *self._r2_names):
            influence = _influence_of_errors(name, outputs, y.reshape(len(y), -1))
        elif name == "loss":
            influence = np.asarray(self.loss(labels, outputs_as_tensor), np.float64)
        else:
            influence = self._influence_by_weights(name, labels, outputs_as_tensor)
        return value + influence - influence.mean()

    def _influence_by_weights(
        self, name: str, labels: tf.Tensor, outputs: tf.Tensor
    ) -> np.ndarray:
        """Return n times a Keras metric's derivative with respect to each example's weight."""
        states = self._states(self.empty_totals)
        [(metric, adapt, empty_state)] = (state for state in states if state[0].name == name)
        weights = tf.ones(len(labels))
        derivative = None
        # A user-defined metric may not accept weights. Some metrics, such as IoU, have no
        # derivative.
        with contextlib.suppress(*REFUSALS, LookupError), tf.GradientTape() as tape:
            tape.watch(weights)
            arguments = adapt(labels, outputs)
            state = metric.stateless_update_state(empty_state, *arguments, sample_weight=weights)
            derivative = tape.gradient(result_of_state(metric, state), weights)
        if derivative is None:
            return np.full(len(labels), np.nan)
        return np.asarray(len(labels) * derivative, np.float64)


def _influence_of_errors(name: str, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the influence values of a regression's metric, up to a constant."""
    targets = targets.astype(np.float64)
    squared = np.square(targets - outputs)
    if name == "mae":
        influence = np.sqrt(squared)
    elif name == "rmse":
        rmse = math.sqrt(squared.mean())
        means = squared.mean(axis=1)
        return means / (2 * rmse or 1.0)
    else:
        # R² divides by the variance of the targets, which also varies between samples of examples.
        deviations = np.square(targets - targets.mean(axis=0))
        variances = targets.var(axis=0)
        relative = squared.mean(axis=0) / variances
        influence = (relative * deviations - squared) / variances
    return influence.mean(axis=1)


def with_own_losses(loss: tf.Tensor, own_losses: Sequence[Any], n: int = 1) -> tf.Tensor:
    """Return the sum of ``n`` losses plus ``n`` times the losses that layers add, as in Keras."""
    for own_loss in own_losses:
        loss += n * tf.reduce_sum(tf.cast(own_loss, loss.dtype))
    return loss
