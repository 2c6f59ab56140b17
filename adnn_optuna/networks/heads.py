"""What the outputs of a network are: scores of classes, of one of two classes, or numbers."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Head:
    """The outputs of a network.

    Attributes:
        num_classes: The number of classes; :obj:`None` in a regression.
        size: The number of outputs: one for each class, a single one for the second of two
            classes, or one for each target of a regression.
        are_probabilities: Whether those of classes are probabilities; else they are logits.
    """

    num_classes: int | None
    size: int
    are_probabilities: bool = False

    @property
    def default_loss(self) -> str:
        """The Keras loss where none is given."""
        if self.num_classes is None:
            return "mean_squared_error"
        return "binary_crossentropy" if self.size == 1 else "sparse_categorical_crossentropy"

    @property
    def score(self) -> str:
        """What tells how good a network is on the test set: the mean of :meth:`scores`."""
        return "r2" if self.num_classes is None else "accuracy"

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is known of each split after an epoch, whatever other metrics are asked for."""
        if self.num_classes is None:
            return ("r2", "rmse", "mae", "loss")
        return ("accuracy", "loss")

    @property
    def threshold(self) -> float:
        """Above it, a single output says the second class."""
        return 0.5 if self.are_probabilities else 0.0

    def scores(self, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the score of each example, of shape (n,).

        Of classes it is whether the network is right, bool. In a regression it is one minus the
        squared error in units of the variance of ``y``, of shape (n,) or (n, targets), float64;
        of several targets their mean. The mean over the examples is R².
        """
        if self.num_classes is not None:
            return np.asarray(self.predicted(outputs) == y)
        targets = y.reshape(len(y), -1).astype(np.float64)
        errors = np.square(targets - outputs)
        return np.asarray((1 - errors / targets.var(axis=0)).mean(axis=1))

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Return the number of the class that each example is given, int64 of shape (n,)."""
        if self.size == 1:
            return (outputs[:, 0] > self.threshold).astype(np.int64)
        return np.asarray(outputs.argmax(axis=-1))
