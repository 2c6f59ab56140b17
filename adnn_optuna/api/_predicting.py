"""Results that predict: what a search found, and what an ensemble is."""

from __future__ import annotations

import abc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna._checks import WrongValueError, check_output_file
from adnn_optuna.networks.predictors import Predictor

if TYPE_CHECKING:
    import keras


class Predicting(abc.ABC):
    """A result that predicts as one trained network, or as the average of several."""

    @abc.abstractmethod
    def _predictor(self) -> Predictor:
        """Return what predicts; refuse where there is nothing."""

    def model(self) -> keras.Model:
        """Return what predicts as one compiled ``keras.Model``.

        It takes inputs as the dataset was made of (of a table the numbers that
        ``dataset.preprocessing.encoded`` makes of it), which it scales itself, and ends in
        probabilities, of a regression in numbers.

        Raises:
            ValueError: If there is nothing that predicts, as no training came to an end.
        """
        return self._predictor().model()

    def predict(self, x: Any) -> np.ndarray:
        """Return what :meth:`model` predicts.

        Args:
            x: Inputs as the dataset was made of, also a table: n of them.

        Returns:
            The labels of the user's own, of shape (n,); of a regression numbers, (n,) or
            (n, targets).

        Raises:
            ValueError: As of :meth:`model`, or if the inputs are not such as the dataset's.
        """
        return self._predictor().predict(x)

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return how probable each class is by :meth:`model`.

        Args:
            x: As for :meth:`predict`.

        Returns:
            Probabilities of shape (n, classes), in the order of ``dataset.classes``.

        Raises:
            ValueError: If it is a regression, or as of :meth:`predict`.
        """
        return self._predictor().predict_proba(x)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`model` to a ``.keras`` file.

        Raises:
            ValueError: If there is no model, the file cannot be written, or Keras cannot save it.
        """
        check_output_file("path", Path(path), ".keras")
        try:
            self.model().save(path)
        except NotImplementedError:
            raise WrongValueError(
                "Keras cannot save the model, as one of its classes has arguments that no "
                "configuration can hold; give that class a get_config method."
            ) from None
