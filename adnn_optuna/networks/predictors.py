"""Trained networks that predict from raw inputs, and averages of networks during training."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from adnn_optuna._attributes import Metrics
from adnn_optuna._checks import WrongValueError
from adnn_optuna.networks.network import Head, Weights
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    import keras


def predictions(head: Head, outputs: np.ndarray) -> NDArray[np.float64]:
    """Return predictions that can be averaged: probabilities, or a regression's numbers.

    In averages of logits, the network with the largest logits would decide.
    """
    numbers = outputs.astype(np.float64)
    if head.is_regression or head.are_probabilities:
        return numbers
    if head.size == 1:
        return scipy.special.expit(numbers)
    return scipy.special.softmax(numbers, axis=1)


class Average:
    """The average prediction of the networks added so far, on the test set and ``splits``."""

    def __init__(self, trainer: Trainer, splits: Sequence[str]) -> None:
        from adnn_optuna.networks._scores import Scores

        self.n: int = 0
        self._trainer = trainer
        self._head = trainer.architecture.head
        training = trainer.training
        self._scores = Scores(self._head.of_predictions, training.loss, training.metrics)
        self._sums: dict[str, Any] = dict.fromkeys((*splits, "test"), 0.0)
        # The losses of the networks' own layers, such as regularizers.
        self._own_losses = dict.fromkeys(self._sums, 0.0)

    def add(self, weights: Weights) -> None:
        """Add a trained network. ``weights`` are the values of its variables."""
        self.n += 1
        for split in self._sums:
            x = getattr(self._trainer.dataset, f"x_{split}")
            outputs, own_loss = self._trainer.outputs_and_loss(weights, x)
            self._dtype = outputs.dtype
            self._sums[split] += predictions(self._head, outputs)
            self._own_losses[split] += own_loss

    def _predicted(self, split: str) -> tuple[np.ndarray, np.ndarray, float]:
        """Return a split's mean outputs, its labels, and the mean loss that layers add."""
        outputs = (self._sums[split] / self.n).astype(self._dtype)
        y: np.ndarray = getattr(self._trainer.dataset, f"y_{split}")
        return outputs, y, self._own_losses[split] / self.n

    @property
    def metrics(self) -> Metrics:
        """The metrics of the average on each split except the test set."""
        metrics: Metrics = {}
        for split in [s for s in self._sums if s != "test"]:
            metrics |= self._scores.metrics(split, *self._predicted(split))
        return metrics

    def tested(self) -> tuple[Metrics, np.ndarray]:
        """Return the metrics of the average on the test set, and the examples' scores."""
        return self._scores.tested(self._trainer.judge, *self._predicted("test"))


@dataclasses.dataclass(frozen=True)
class Predictor:
    """One trained network, or several networks of one trainer with averaged predictions."""

    trainer: Trainer
    train: Callable[[], Sequence[Weights]]  # This returns the variables of each network.

    @functools.cached_property
    def weights(self) -> Sequence[Weights]:
        """The variables of each network."""
        return self.train()

    @property
    def head(self) -> Head:
        """The head of :meth:`outputs`.

        A single network keeps its own head, because different logits may have equal probabilities.
        """
        head = self.trainer.architecture.head
        if len(self.weights) == 1:
            return head
        return head.of_predictions

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """Return the outputs of one network, or the mean predictions of several networks."""
        shape = inputs.shape[1:]
        expected_shape = self.trainer.dataset.x_train.shape[1:]
        if shape != expected_shape:
            raise WrongValueError(
                f"A sample must have the shape {expected_shape}, but one has {shape}."
            )
        outputs = [self.trainer.outputs(weights, inputs) for weights in self.weights]
        if len(outputs) == 1:
            return outputs[0]
        head = self.trainer.architecture.head
        return np.mean([predictions(head, each) for each in outputs], axis=0)

    def tested(self) -> Metrics:
        """Return the metrics of the test set."""
        if len(self.weights) == 1:
            return self.trainer.tested(self.weights[0])[0]
        average = Average(self.trainer, ())
        for weights in self.weights:
            average.add(weights)
        return average.tested()[0]

    def _outputs_for(self, raw: Any) -> np.ndarray:
        dataset = self.trainer.dataset
        inputs = dataset.preprocessing.encoded(raw)
        dtype = np.result_type(inputs, dataset.x_train)
        if dtype.kind == "f":
            dtype = np.dtype(np.float32)
        return self.outputs(inputs.astype(dtype))

    def predict(self, raw: Any) -> np.ndarray:
        """Return the user's labels, or a regression's numbers, for a table or arrays."""
        dataset = self.trainer.dataset
        outputs = self._outputs_for(raw)
        if dataset.num_classes is None:
            return outputs.reshape(-1, *dataset.y_train.shape[1:])
        numbers = self.head.predicted(outputs)
        return numbers if dataset.classes is None else np.asarray(dataset.classes)[numbers]

    def predict_proba(self, raw: Any) -> np.ndarray:
        """Return the probability of each class, of shape (n, classes), for raw inputs."""
        if self.head.is_regression:
            raise WrongValueError("A regression has no probabilities of classes; call predict.")
        chances = predictions(self.head, self._outputs_for(raw))
        # A single output is for the second of two classes.
        if chances.shape[1] == 1:
            return np.hstack([1 - chances, chances])
        return chances

    def model(self) -> keras.Model:
        """Return the network, or the average of all networks, as one model of raw inputs.

        For a table, the raw inputs are the numbers of ``dataset.preprocessing.encoded``. The
        model's outputs are probabilities or numbers in the user's units. The model shares its
        variables with the networks.
        """
        import keras

        from adnn_optuna.networks._losses import loss_or_metric
        from adnn_optuna.networks._metrics import is_own

        models = [self._model(weights) for weights in self.weights]
        model = models[0] if len(models) == 1 else self._average(models)
        training = self.trainer.training
        head = self.trainer.architecture.head.of_predictions
        metrics: list[Any] = [] if head.is_regression else ["accuracy"]
        loss, _ = loss_or_metric(keras.losses, training.loss or "", head)
        takes_integers = self.trainer.scores.takes_integers
        for settings in training.metrics:
            metric, name = loss_or_metric(keras.metrics, settings, head)
            # Keras passes labels to metrics in the form for the loss: class numbers, or one-hot
            # rows.
            takes_labels = head.size == 1 or ("sparse" in name.lower()) == takes_integers
            if is_own(settings):  # A user's metric of logits cannot use probabilities.
                takes_labels = not head.ends_in_logits
            if takes_labels:
                metrics.append(metric)
        model.compile(training.build_optimizer(), loss, metrics=metrics)
        # Otherwise, Keras warns about the optimizer whenever it loads the saved model.
        model.optimizer.build(model.trainable_variables)
        return model

    def _average(self, models: Sequence[keras.Model]) -> keras.Model:
        import keras

        inputs = self._input(models[0])
        for i, model in enumerate(models):
            model.compiled = False  # Only the whole model is compiled.
            model.name = f"network_{i}"
        outputs = [model(inputs) for model in models]
        dtype = "float64" if self.trainer.scaling.target_mean else "float32"
        mean = keras.layers.Average(dtype=dtype, name="average")(outputs)
        return keras.Model(inputs, mean, name="ensemble")

    def _model(self, weights: Weights) -> keras.Model:
        import keras

        scaling = self.trainer.scaling
        head = self.trainer.architecture.head
        layers = keras.layers
        network = self.trainer.architecture.build(0, 0)
        for variable, values in zip(network.variables, weights, strict=True):
            variable.assign(values)
        before = []
        after = []
        # Float32 would merge large numbers, such as times in seconds. Keras converts lists, but
        # keeps arrays unchanged.
        if scaling.factor:
            numbers = np.array([scaling.factor, scaling.offset])
            before = [layers.Rescaling(*numbers, dtype="float64", name="scaling")]
        if not head.is_regression and not head.are_probabilities:
            activation = "sigmoid" if head.size == 1 else "softmax"
            after = [layers.Activation(activation, dtype="float32", name="probabilities")]
        if scaling.target_mean:
            numbers = np.array([scaling.target_std, scaling.target_mean])
            after = [layers.Rescaling(*numbers, dtype="float64", name="units")]
        if not before and not after:
            return network
        network.compiled = False  # Only the whole model is compiled.
        of_network = [network]
        if isinstance(network, keras.Sequential):
            of_network = network.layers
        parts = [self._input(network), *before, *of_network, *after]
        return keras.Sequential(parts, name=network.name)

    def _input(self, model: keras.Model) -> Any:
        import keras

        x = self.trainer.dataset.x_train
        declared = getattr(model, "inputs", None)
        dtype = declared[0].dtype if declared else x.dtype.name
        if self.trainer.scaling.factor and x.dtype.kind in "iu" and x.dtype.itemsize > 2:
            dtype = "float64"  # Float32 merges large integers.
        return keras.Input(x.shape[1:], dtype=dtype, name="inputs")
