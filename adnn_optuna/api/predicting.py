"""Predictions as of one network: the best of a search, or the average of several."""

import abc
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna._files import check_output_file, replacing
from adnn_optuna.networks.predictors import Predictor

if TYPE_CHECKING:
    import keras


class Predicting(abc.ABC):
    """A result that predicts as one trained network, or as the average of several."""

    @abc.abstractmethod
    def _predictor(self) -> Predictor:
        """Return the predictor; raise an error if there is none."""

    def model(self) -> "keras.Model":
        """Return the network, or the average, as a model; a best network is trained again.

        It takes inputs as the dataset holds them, such as ``dataset.x_test``; for a new table
        these are ``dataset.preprocessing.encoded(table)``. It returns probabilities, or the
        numbers of a regression in your units. Its variables have the same bits as in a contract.
        """
        return self._predictor().model()

    def predict(self, x: Any) -> np.ndarray:
        """Return the predictions of :meth:`model`.

        Args:
            x: n inputs as the dataset holds them, such as ``dataset.x_test``; or a table of the
                same columns.

        Returns:
            The labels of the user's own, of shape (n,); of a regression numbers, (n,) or
            (n, targets).

        Raises:
            ValueError: If the inputs are not such as the dataset's.
        """
        return self._predictor().predict(x)

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return how probable each class is by :meth:`model`.

        Args:
            x: As for :meth:`predict`.

        Returns:
            Probabilities of shape (n, classes), in the order of ``dataset.classes``.

        Raises:
            ValueError: If it is a regression.
        """
        return self._predictor().predict_proba(x)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`model` to a ``.keras`` file."""
        check_output_file("path", path, ".keras")
        model = self.model()
        with replacing(path) as temporary:
            model.save(temporary)
