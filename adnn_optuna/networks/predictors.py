"""What users get of trainings: networks of raw inputs that predict, alone or averaged."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.special import expit, softmax

from adnn_optuna._checks import WrongValueError
from adnn_optuna.networks.network import Head
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    import keras


_logger = optuna.logging.get_logger("optuna.adnn_optuna")


def predictions(head: Head, outputs: np.ndarray) -> NDArray[np.float64]:
    """Return what is averaged of a network's outputs: probabilities, of a regression as they are.

    Averages of logits would let the network that is surest of itself decide.
    """
    numbers = outputs.astype(np.float64)
    if head.num_classes is None or head.are_probabilities:
        return numbers
    return np.asarray(expit(numbers) if head.size == 1 else softmax(numbers, axis=1))


def head_of_predictions(head: Head) -> Head:
    """Return the head whose outputs are the predictions of another one."""
    return dataclasses.replace(head, are_probabilities=head.num_classes is not None)


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained network, or several of one trainer, whose predictions are averaged.

    Args:
        trainer: What they are trained by.
        train: What returns the variables of each of them; it is called once, if they are needed.
    """

    trainer: Trainer
    train: Callable[[], Sequence[Sequence[np.ndarray]]]

    @classmethod
    def of_arrays(cls, trainer: Trainer, arrays: Sequence[np.ndarray]) -> Predictor:
        """Return what predicts by the variables of networks, one's after the other's."""
        n = len(trainer.architecture.variables)
        networks = [arrays[first : first + n] for first in range(0, len(arrays), n)]
        return cls(trainer, lambda: networks)

    @functools.cached_property
    def weights(self) -> Sequence[Sequence[np.ndarray]]:
        """The variables of each of the networks."""
        return self.train()

    @property
    def head(self) -> Head:
        """What :meth:`outputs` are: those of one network as they are, lest ties arise."""
        head = self.trainer.architecture.head
        return head if len(self.weights) == 1 else head_of_predictions(head)

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """Return the outputs of one network, or the mean predictions of several."""
        of_each = [self.trainer.outputs(weights, inputs) for weights in self.weights]
        if len(of_each) == 1:
            return of_each[0]
        head = self.trainer.architecture.head
        return np.asarray(np.mean([predictions(head, of_one) for of_one in of_each], axis=0))

    def predict(self, raw: Any) -> np.ndarray:
        """Return the labels of the user's own, or a regression's numbers, for raw inputs."""
        dataset = self.trainer.dataset
        outputs = self.outputs(dataset.preprocessing.transform(raw))
        if dataset.num_classes is None:
            return outputs.reshape(-1, *dataset.y_train.shape[1:])
        numbers = self.head.predicted(outputs)
        return numbers if dataset.classes is None else np.asarray(dataset.classes)[numbers]

    def predict_proba(self, raw: Any) -> np.ndarray:
        """Return the probability of each class, of shape (n, classes), for raw inputs."""
        dataset = self.trainer.dataset
        if dataset.num_classes is None:
            raise WrongValueError("A regression has no probabilities of classes; call predict.")
        encoded = dataset.preprocessing.encoded(raw)
        chances = self._compiled().predict(encoded, verbose=0)
        # A single output is the second of two classes.
        chances = np.hstack([1 - chances, chances]) if chances.shape[1] == 1 else chances
        return np.asarray(chances)

    def model(self) -> keras.Model:
        """Return the network, or the average of all, as one compiled model of raw inputs.

        Its inputs are scaled as the dataset's were; those of a table are the features of
        :meth:`Preprocessing.encoded`, which ``predict`` alone makes of a table by itself. Where a
        network ends in logits, its outputs become probabilities; those of a regression are in the
        user's units. Its variables are those of the networks, in the same order.
        """
        model, preprocessing = self._compiled(), self.trainer.dataset.preprocessing
        if preprocessing.columns is not None:
            import pandas as pd

            predict_numbers = model.predict

            def predict(x: Any, *args: Any, **options: Any) -> Any:
                x = preprocessing.encoded(x) if isinstance(x, pd.DataFrame) else x
                return predict_numbers(x, *args, **options)

            model.predict = predict
            _logger.info(
                "Only predict of this model takes a table, as result.predict does: all else, also "
                "once it is saved, takes numbers, dataset.preprocessing.encoded(table)."
            )
        return model

    def _compiled(self) -> keras.Model:
        import keras

        from adnn_optuna.networks._scores import made

        models = [self._model(weights) for weights in self.weights]
        [model] = models if len(models) == 1 else [self._average(models)]
        training, head = self.trainer.training, self.trainer.architecture.head
        metrics: list[Any] = [] if head.num_classes is None else ["accuracy"]
        metrics += [made(keras.metrics, m, takes_logits=False)[0] for m in training.metrics]
        loss, _ = made(keras.losses, training.loss or "", takes_logits=False)
        model.compile(training.build_optimizer(), loss, metrics=metrics)
        # Else Keras warns of a file's optimizer whenever it loads the file.
        model.optimizer.build(model.trainable_variables)
        return model

    def _average(self, models: Sequence[keras.Model]) -> keras.Model:
        """Return a model of the mean of what several return."""
        import keras

        inputs = keras.Input(
            self.trainer.dataset.x_train.shape[1:], dtype="float32", name="inputs"
        )
        for i, model in enumerate(models):
            model.compiled = False  # The whole is.
            model.name = f"network_{i}"
        outputs = [model(inputs) for model in models]
        mean = keras.layers.Average(dtype="float32", name="average")(outputs)
        return keras.Model(inputs, mean, name="ensemble")

    def _model(self, weights: Sequence[np.ndarray]) -> keras.Model:
        """Return one of the networks as a model of raw inputs."""
        import keras

        architecture, dataset = self.trainer.architecture, self.trainer.dataset
        network = architecture.build(0, 0)
        for variable, values in zip(network.variables, weights, strict=True):
            variable.assign(values)
        head, scaling = architecture.head, dataset.preprocessing
        before: list[Any] = []
        after: list[Any] = []
        if scaling.factor != 1:
            numbers = (np.asarray(v).tolist() for v in (scaling.factor, scaling.offset))
            before = [keras.layers.Rescaling(*numbers, dtype="float32", name="scaling")]
        if head.num_classes is not None and not head.are_probabilities:
            activation = "sigmoid" if head.size == 1 else "softmax"
            after = [keras.layers.Activation(activation, dtype="float32", name="probabilities")]
        if scaling.target_mean:
            of_targets = [*scaling.target_std], [*scaling.target_mean]
            after = [keras.layers.Rescaling(*of_targets, dtype="float32", name="units")]
        if not before and not after:
            return network
        network.compiled = False  # The whole is.
        layers = network.layers if isinstance(network, keras.Sequential) else [network]
        inputs = keras.Input(dataset.x_train.shape[1:], dtype="float32", name="inputs")
        return keras.Sequential([inputs, *before, *layers, *after], name=network.name)
