"""Networks whose predictions are averaged as one after the other is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._attributes import Metrics
from adnn_optuna.networks.predictors import head_of_predictions, predictions
from adnn_optuna.networks.training import Run, Trainer


class Average:
    """The average of the predictions of networks, without their weights.

    Args:
        trainer: What trains them.
        splits: On which of ``"train"`` and ``"val"`` they are averaged, besides the test set.

    Attributes:
        n: How many networks there are so far.
    """

    def __init__(self, trainer: Trainer, splits: Sequence[str]) -> None:
        from adnn_optuna.networks._scores import Scores

        data, loss = trainer.dataset, trainer.training.loss or ""
        self.n: int = 0
        self._trainer, self._head = trainer, head_of_predictions(trainer.architecture.head)
        self._scores = Scores(self._head, loss, trainer.training.metrics)
        self._scores_of_one = Scores(trainer.architecture.head, loss, ())
        known = {"train": (data.x_train, data.y_train), "val": (data.x_val, data.y_val)}
        self._splits = {split: known[split] for split in splits}
        self._sums: dict[str, NDArray[np.float64] | float] = dict.fromkeys((*splits, "test"), 0.0)
        # What the layers of the networks add to their losses, such as regularizers.
        self._own_losses = dict.fromkeys(splits, 0.0)

    def add(self, run: Run) -> None:
        """Add a network that was trained to its end."""
        import tensorflow as tf

        head, weights = self._trainer.architecture.head, run.weights or []
        self.n += 1
        for split, (x, y) in self._splits.items():
            outputs = self._trainer.outputs(weights, x)
            if self._trainer.architecture.adds_losses:
                losses = self._scores_of_one.loss(tf.constant(y), tf.constant(outputs))
                own_loss = run.metrics[f"{split}_loss"] - float(np.mean(losses))
                self._own_losses[split] += own_loss
            self._sums[split] += predictions(head, outputs)
        outputs = self._trainer.outputs(weights, self._trainer.dataset.x_test)
        self._sums["test"] += predictions(head, outputs)

    @property
    def metrics(self) -> Metrics:
        """The metrics of the average on each split but the test set.

        What layers add to the loss is averaged, too.
        """
        import tensorflow as tf

        metrics: Metrics = {}
        for split, (_, y) in self._splits.items():
            mean = tf.constant(self._mean(split), tf.float32)
            own_loss = self._own_losses[split] / self.n
            totals = self._scores.add(tf.constant(y), mean, [own_loss], self._scores.nothing)
            metrics |= self._scores.results(split, totals, y)
        return metrics

    @property
    def test_scores(self) -> NDArray[np.floating] | NDArray[np.bool_]:
        """The score of the average on each example of the test set, see :meth:`Head.scores`."""
        return self._head.scores(self._mean("test"), self._trainer.dataset.y_test)

    def _mean(self, split: str) -> NDArray[np.float64]:
        return np.asarray(self._sums[split] / self.n)
