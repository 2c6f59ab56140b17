"""The loss and the metrics of a training run, within a graph; loads TensorFlow."""

import contextlib
import copy
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adnn_optuna._attributes import Metrics
from adnn_optuna._checks import WrongValueError, first_line
from adnn_optuna.networks.network import Head

Score = tuple[tf.Tensor, ...]
Settings = str | dict[str, Any]

PerRow = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# A metric, and the function that makes its arguments of labels and outputs.
_Adapt = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
_Metric = tuple[keras.metrics.Metric, _Adapt]

# Metrics of one class among others: of two classes, of the positive one.
_OF_ONE_CLASS = (
    *("AUC", "Precision", "Recall", "FBetaScore", "BinaryIoU", "TruePositives", "TrueNegatives"),
    *("FalsePositives", "FalseNegatives", "PrecisionAtRecall", "RecallAtPrecision"),
    *("SensitivityAtSpecificity", "SpecificityAtSensitivity"),
)

# Errors of losses and metrics that are tried on arguments of a wrong kind.
_REFUSALS = TypeError, ValueError, NotImplementedError, tf.errors.OpError


class Scores:
    """Sums over the examples of a split, batch by batch, and the metrics that follow from them.

    These are the head's own (how many are correct; of a regression squared errors of each target
    and absolute ones), the loss, and the states of the Keras metrics.
    """

    def __init__(self, head: Head, loss: Settings, metrics: Sequence[Settings]) -> None:
        self._head = head
        function, takes_integers = loss_function(loss, head)
        self.loss: Callable[..., tf.Tensor] = function
        self.takes_integers: bool = takes_integers
        self._metrics: list[_Metric] = []
        self._r2_names: list[str] = []
        self.names: list[str] = [*head.metrics]
        for settings in metrics:
            if settings in head.metrics:
                continue
            metric, adapt = keras_metric(settings, head)
            # Those that a head knows itself are not computed twice.
            if metric.name in head.metrics:
                continue
            if metric.name in self.names:
                raise WrongValueError(
                    f"metrics has two called {metric.name!r}, of which only one could be told. "
                    "Rename or omit one of them."
                )
            self.names.append(metric.name)
            if head.num_classes is None and isinstance(metric, keras.metrics.R2Score):
                if metric.class_aggregation != "uniform_average" or metric.num_regressors:
                    said = f"The metric {metric.name!r} must have its default arguments"
                    raise WrongValueError(f"{said}, for which it is computed in float64.")
                self._r2_names.append(metric.name)
            else:
                self._metrics.append((metric, adapt))
        zero = tf.constant(0.0, tf.float64)
        is_regression = head.num_classes is None
        own = [tf.zeros(head.size, tf.float64), zero] if is_regression else [tf.constant(0)]
        self._n_own = len(own)
        states = (tf.convert_to_tensor(v.value) for m, _ in self._metrics for v in m.variables)
        self.nothing: Score = (*own, zero, *states)

    @property
    def of_positive(self) -> list[str]:
        """The names of the metrics that are of the positive one of two classes."""
        return [m.name for m, _ in self._metrics if _is_of_positive(m, self._head)]

    def check(self, y: Mapping[str, np.ndarray], classes: Sequence[Any] | None) -> None:
        """Refuse metrics that mean nothing for a split, or are of neither of two classes."""
        n = self._head.num_classes
        names = [m.name for m, _ in self._metrics if _is_of_one_class(m)] if n else ["r2"]
        labels = classes or range(n or 0)
        if self.of_positive and self._head.positive is None:
            one, other = labels
            raise WrongValueError(
                f"The metric {self.of_positive[0]!r} must be of one of the classes {one!r} and "
                f"{other!r}. Pass positive={one!r} or positive={other!r} to the data set."
            )
        for split, of_split in y.items():
            if names and (of_split == of_split[0]).all(axis=0).any():
                value = labels[of_split[0]] if n else of_split[0].tolist()
                raise WrongValueError(
                    f"{split}_{names[0]} means nothing if all {len(of_split)} labels of the "
                    f"split are {value!r}. Draw a larger split, or omit it."
                )

    def add(
        self, labels: tf.Tensor, outputs: tf.Tensor, own_losses: Sequence[Any], totals: Score
    ) -> Score:
        """Return the sums with a batch; ``own_losses`` are those that the model's layers add."""
        loss = tf.reduce_sum(tf.cast(self.loss(labels, outputs), tf.float64))
        # As in Keras, the loss is that of the training.
        loss = with_own_losses(loss, own_losses, labels.shape[0])
        own = self._own(labels, outputs)
        sums = [total + value for total, value in zip(totals, (*own, loss), strict=False)]
        for metric, adapt, state in self._states(totals):
            sums += metric.stateless_update_state(state, *adapt(labels, outputs))
        return tuple(sums)

    def _states(self, totals: Score) -> Iterator[tuple[keras.metrics.Metric, _Adapt, list[Any]]]:
        """Yield each Keras metric with the maker of its arguments, and its state in the sums."""
        states = iter(totals[self._n_own + 1 :])
        for metric, adapt in self._metrics:
            yield metric, adapt, [next(states) for _ in metric.variables]

    def _own(self, labels: tf.Tensor, outputs: tf.Tensor) -> list[tf.Tensor]:
        head = self._head
        if head.num_classes is None:
            errors = _targets(head, labels, tf.float64) - tf.cast(outputs, tf.float64)
            return [tf.reduce_sum(errors**2, axis=0), tf.reduce_sum(tf.abs(errors))]
        if head.size == 1:
            predicted = tf.cast(outputs[:, 0] > head.threshold, tf.int32)
        else:
            predicted = tf.argmax(outputs, axis=-1, output_type=tf.int32)
        return [tf.reduce_sum(tf.cast(predicted == labels, tf.int32))]

    def results(self, split: str, totals: Score, y: np.ndarray) -> Metrics:
        """Return the metrics of a split, of which ``y`` are the labels or targets."""
        head, n = self._head, len(y)
        if head.num_classes is None:
            squared, absolute = totals[0].numpy() / n, float(totals[1]) / n / head.size
            variances = y.reshape(n, -1).var(axis=0, dtype=np.float64)
            r2 = float((1 - squared / variances).mean())
            metrics = {"r2": r2, "rmse": float(squared.mean()) ** 0.5, "mae": absolute}
            # Keras sums squares of targets in float32, which is wrong for targets around 1e9.
            metrics |= dict.fromkeys(self._r2_names, r2)
        else:
            metrics = {"accuracy": int(totals[0]) / n}
        metrics["loss"] = float(totals[self._n_own]) / n
        for metric, _, state in self._states(totals):
            metrics[metric.name] = np.asarray(_result(metric, state)).item()
        return {f"{split}_{name}": value for name, value in metrics.items()}

    def metrics(self, split: str, outputs: np.ndarray, y: np.ndarray, own_loss: float) -> Metrics:
        """Return the metrics of a split by a network's outputs for it, see :meth:`tested`."""
        totals = self.add(tf.constant(y), tf.constant(outputs), [own_loss], self.nothing)
        return self.results(split, totals, y)

    def tested(
        self, name: str, outputs: np.ndarray, y: np.ndarray, own_loss: float
    ) -> tuple[Metrics, np.ndarray]:
        """Return all metrics of a test set, and the scores of its examples by one of them.

        Of the accuracy, a score is whether the network is right. Of any other metric, it is the
        metric plus the example's influence value (Hampel 1974, JASA 69:383-393): the mean of all
        is the metric, and their spread shows how far it would vary on other examples. They are
        NaN if a Keras metric has no derivative.

        Args:
            name: The metric, without a split.
            outputs: The network's outputs, of shape (n, outputs).
            y: The labels or targets.
            own_loss: The loss that the network's layers add to that of an example.
        """
        metrics = self.metrics("test", outputs, y, own_loss)
        if name == "accuracy":
            return metrics, self._head.predicted(outputs) == y
        if name in ("r2", "rmse", "mae", *self._r2_names):
            influence = _influence_of_errors(name, outputs, y.reshape(len(y), -1))
        elif name == "loss":
            influence = np.asarray(self.loss(tf.constant(y), tf.constant(outputs)), np.float64)
        else:
            influence = self._influence_by_weights(name, tf.constant(y), tf.constant(outputs))
        return metrics, metrics[f"test_{name}"] + influence - influence.mean()

    def _influence_by_weights(
        self, name: str, labels: tf.Tensor, outputs: tf.Tensor
    ) -> np.ndarray:
        """Return the derivative of a Keras metric for the weight of each example, times n."""
        [(metric, adapt, nothing)] = (m for m in self._states(self.nothing) if m[0].name == name)
        weights, derivative = tf.ones(len(labels)), None
        # A metric of the user's may take no weights, or have no derivative, such as IoU.
        with contextlib.suppress(*_REFUSALS, LookupError), tf.GradientTape() as tape:
            tape.watch(weights)
            arguments = adapt(labels, outputs)
            state = metric.stateless_update_state(nothing, *arguments, sample_weight=weights)
            derivative = tape.gradient(_result(metric, state), weights)
        if derivative is None:
            return np.full(len(labels), np.nan)
        return np.asarray(len(labels) * derivative, np.float64)


def _result(metric: keras.metrics.Metric, state: Sequence[tf.Tensor]) -> tf.Tensor:
    # Not by `stateless_result`, which hands out a variable itself without its value.
    with keras.StatelessScope(zip(metric.variables, state, strict=True)):
        result = metric.result()
        return result.value if isinstance(result, keras.Variable) else result


def _influence_of_errors(name: str, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the influence values of a regression's metric, up to a constant."""
    targets = targets.astype(np.float64)
    squared = np.square(targets - outputs)
    if name == "mae":
        return np.asarray(np.sqrt(squared).mean(axis=1))
    if name == "rmse":
        return np.asarray(squared.mean(axis=1) / (2 * math.sqrt(squared.mean()) or 1.0))
    # Other examples would also vary otherwise, by which R² divides.
    deviations, variances = np.square(targets - targets.mean(axis=0)), targets.var(axis=0)
    relative = squared.mean(axis=0) / variances
    return np.asarray(((relative * deviations - squared) / variances).mean(axis=1))


def with_own_losses(loss: tf.Tensor, own_losses: Sequence[Any], n: int = 1) -> tf.Tensor:
    """Return a sum of ``n`` losses with the own losses of a model's layers, as Keras does."""
    for own_loss in own_losses:
        loss += n * tf.reduce_sum(tf.cast(own_loss, loss.dtype))
    return loss


def _is_of_one_class(metric: keras.metrics.Metric) -> bool:
    kinds = tuple(getattr(keras.metrics, name) for name in _OF_ONE_CLASS)
    is_of_several = getattr(metric, "average", None) or getattr(metric, "multi_label", False)
    return isinstance(metric, kinds) and not is_of_several


def _is_of_positive(metric: keras.metrics.Metric, head: Head) -> bool:
    # Else it is of the class with the number that it was given.
    is_free = getattr(metric, "class_id", None) is None
    return head.num_classes == 2 and is_free and _is_of_one_class(metric)


def _targets(head: Head, labels: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Return labels as targets of the shape of the outputs."""
    if head.num_classes is not None and head.size > 1:
        return tf.one_hot(labels, head.size)
    return tf.reshape(tf.cast(labels, dtype), (-1, head.size))


def _example(head: Head) -> tuple[tf.Tensor, tf.Tensor]:
    """Return labels and outputs of a batch, to try a loss or metric on."""
    n = head.size + 2  # Other than the number of outputs, so that no wrong axes fit.
    labels = tf.zeros((n, head.size)) if head.num_classes is None else tf.range(n) % 2
    return labels, tf.fill((n, head.size), 0.5)


def made(kind: Any, settings: Settings, head: Head) -> tuple[Any, str]:
    """Return a loss or metric of a head and its name; ``kind`` is Keras's module of such."""
    name = settings if isinstance(settings, str) else str(settings["class_name"])
    what = "loss" if kind is keras.losses else "metric"
    settings = copy.deepcopy(settings)  # Keras fills it in.
    if head.num_classes and isinstance(settings, dict) and "from_logits" in settings["config"]:
        settings["config"]["from_logits"] = not head.are_probabilities
    own = keras.saving.get_registered_object(settings) if isinstance(settings, str) else None
    try:
        part = own or kind.get("f1_score" if settings == "f1" else settings)
        return part() if isinstance(part, type) else part, name.rpartition(">")[2]
    except (TypeError, ValueError) as error:  # A class that needs arguments has a name, too.
        raise WrongValueError(
            f"Keras knows no {what} {name!r} with these arguments ({first_line(error):.200}); see "
            f"keras.{kind.__name__.rpartition('.')[2]}. If it is your own, it is not registered: "
            "decorate it by keras.saving.register_keras_serializable."
        ) from None


def loss_function(settings: Settings, head: Head) -> tuple[PerRow, bool]:
    """Return a Keras loss as a function of integer labels and outputs, one value per example.

    Also whether the loss itself takes integers, and no one-hot rows.
    """
    loss, name = made(keras.losses, settings, head)
    known = {"reduction": ("mean", "sum_over_batch_size", "auto"), "ignore_class": (None,)}
    for option, values in known.items():
        value = getattr(loss, option, values[0])
        if isinstance(settings, dict) and value not in values:
            raise WrongValueError(
                f"loss {name!r} has {option}={value!r}, but the mean over all of a batch is "
                f"minimized. Omit the {option}."
            )
    if isinstance(loss, keras.losses.Loss):
        loss = getattr(loss, "fn", loss.call) if isinstance(settings, str) else loss.call
    takes_logits = head.num_classes and "from_logits" in inspect.signature(loss).parameters
    options = {"from_logits": not head.are_probabilities} if takes_logits else {}

    def per_row(labels: tf.Tensor, outputs: tf.Tensor, *, takes_integers: bool) -> tf.Tensor:
        # Targets and outputs in the user's units are float64, as float32 may merge them. Some
        # losses of users do not take it.
        is_double = takes_double and labels.dtype == outputs.dtype == tf.float64
        dtype = tf.float64 if is_double else tf.float32
        targets = labels if takes_integers else _targets(head, labels, dtype)
        losses = loss(targets, tf.cast(outputs, dtype), **options)
        if losses.shape.rank == 0:  # As in Keras, that of a whole batch is that of each example.
            losses = tf.broadcast_to(losses, tf.shape(outputs)[:1])
        for _ in losses.shape[1:]:  # As in Keras, of each output.
            losses = tf.reduce_mean(losses, -1)
        return losses

    labels, outputs = _example(head)
    takes_double = head.num_classes is None
    if takes_double:
        try:
            doubles = (tf.cast(tensor, tf.float64) for tensor in (labels, outputs))
            per_row(*doubles, takes_integers=False)
        except _REFUSALS:
            takes_double = False
    is_own = ">" in (settings if isinstance(settings, str) else settings["class_name"])
    are_integers = [True, False] if is_own else ["sparse" in name.lower()]
    for takes_integers in are_integers if head.num_classes and head.size > 1 else [False]:
        function = functools.partial(per_row, takes_integers=takes_integers)
        with contextlib.suppress(Exception):  # Code of the user's may raise anything.
            if function(labels, outputs).shape == labels.shape[:1]:
                return function, takes_integers
    kind = "regression" if head.num_classes is None else "classifier"
    raise WrongValueError(
        f"The loss {name!r} must return one value per example of a {kind} with {head.size} "
        f"outputs. Pass one that does, such as {head.default_loss!r}."
    )


def keras_metric(settings: Settings, head: Head) -> _Metric:
    """Return a Keras metric, and the function that makes its arguments."""
    metric, name = made(keras.metrics, settings, head.of_predictions)
    # Several labels of an example are a regression on 0 and 1, with an accuracy of each.
    is_of_all = "accuracy" in name.lower() and "binary" not in name.lower()
    if head.num_classes is None and (is_of_all or _is_of_one_class(metric)):
        said = f"The metric {name!r} is of classes, which a regression has none of"
        raise WrongValueError(f"{said}. Choose r2, rmse, mae or another metric of numbers.")
    if not isinstance(metric, keras.metrics.Metric):
        metric = keras.metrics.MeanMetricWrapper(metric, name=name)
    elif isinstance(settings, str):
        # As in Keras, but for the numbers of names.
        own_name = name if settings.islower() else re.sub(r"_\d+$", "", metric.name)
        metric = type(metric)(name=own_name)
    if head.num_classes is None:
        # Float32 would merge values around 1e9. A metric of the user's may take no dtype.
        with contextlib.suppress(*_REFUSALS):
            metric = type(metric).from_config(metric.get_config() | {"dtype": "float64"})
    is_sparse = "sparse" in f"{name} {metric.name}".lower()
    is_of_positive, column = _is_of_positive(metric, head), head.positive or 0
    is_f_score = isinstance(metric, keras.metrics.FBetaScore)
    if is_f_score and is_of_positive and metric.threshold is None:
        # Else it is the largest output of a row, which a single one always is.
        metric.threshold = 0.5

    def adapt(labels: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        dtype = tf.float64 if metric.dtype == "float64" else tf.float32
        targets = labels if is_sparse else _targets(head, labels, dtype)
        outputs = tf.cast(outputs, dtype)
        if head.num_classes is not None and not head.are_probabilities:
            outputs = tf.sigmoid(outputs) if head.size == 1 else tf.nn.softmax(outputs)
        if head.size == 1 and (is_of_positive or is_f_score):  # An F-score averages both classes.
            targets, outputs = (tf.concat([1 - of, of], 1) for of in (targets, outputs))
        if is_of_positive:
            targets, outputs = (of[:, column : column + 1] for of in (targets, outputs))
        return targets, outputs

    try:
        # Some make their variables by the first examples.
        metric.update_state(*adapt(*_example(head)))
        is_number = np.size(metric.result()) == 1
        metric.reset_state()
    except (*_REFUSALS, AttributeError):
        is_number = False
    if not is_number:
        raise WrongValueError(
            f"The metric {name!r} must be one number for a split and {head.size} outputs. Pass an "
            "average, such as average='macro', or omit it."
        )
    return metric, adapt
