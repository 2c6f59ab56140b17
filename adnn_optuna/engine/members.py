"""The networks of an ensemble, each trained once by whichever worker, and kept in its trial."""

import dataclasses
import math
import threading
import time
from collections.abc import Sequence

import numpy as np
import optuna

from adnn_optuna._attributes import WEIGHTS
from adnn_optuna.callbacks import MaxTimeCallback, is_done
from adnn_optuna.engine.evaluations import CutOffError, Measured, evaluation_of
from adnn_optuna.engine.experiment import Experiment
from adnn_optuna.engine.scores import as_attributes, from_attributes
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.predictors import predictions
from adnn_optuna.networks.training import is_finite

NAMES = ("seed",)
_MOST_BYTES = 2**25  # Larger networks are not kept, but trained again where they are needed.


class Members:
    """Trains fresh networks, nothing moved, by their seeds, and keeps what is known of them.

    By the seed, ``weights`` are the variables of each, and ``predicted`` is what it predicts on
    the test set, see :func:`predictions`. The ``max_time`` holds over all calls.
    """

    def __init__(
        self,
        objective: Experiment,
        study: optuna.Study,
        stop: threading.Event,
        max_time: float | None,
    ) -> None:
        self.weights: dict[int, list[np.ndarray]] = {}
        self.predicted: dict[int, np.ndarray] = {}
        self._objective, self._study, self._stop = objective, study, stop
        self._limit = None if max_time is None else MaxTimeCallback(max_time)

    def train(self, seed: int) -> Measured:
        """Return the test score of a network, and its weights as they are kept."""
        trainer = self._objective.trainer
        left = math.inf if self._limit is None else self._limit.seconds_left(self._study)
        deadline = time.monotonic() + left
        [run] = trainer.train_in_turn([self._start(seed)], stop=self._stop, deadline=deadline)
        if run.status == "stopped":
            raise KeyboardInterrupt
        if run.status == "timeout":
            raise CutOffError
        if not is_finite(run.metrics):
            return Measured(math.nan, {})
        numbers = _as_numbers(run.weights or [])
        is_kept = numbers.nbytes <= _MOST_BYTES
        outputs = self._know(seed, run.weights or [])
        scores = trainer.architecture.head.scores(outputs, trainer.dataset.y_test)
        attributes = as_attributes(WEIGHTS, numbers) if is_kept else {}
        return Measured(float(scores.mean()), attributes)

    def load(self, seeds: Sequence[int]) -> None:
        """Make known what other processes or earlier calls trained; train again what none kept."""
        trainer = self._objective.trainer
        like = trainer.architecture.initial_weights(0, 0)
        n = len(_as_numbers(like))
        for trial in filter(is_done, self._study.get_trials(deepcopy=False)):
            [seed] = evaluation_of(trial, NAMES)
            is_kept = f"{WEIGHTS}/0" in trial.system_attrs
            if is_kept and seed in seeds and seed not in self.weights:
                numbers = from_attributes(trial.system_attrs, WEIGHTS, n, np.int32)
                self._know(seed, _as_weights(numbers, like))
        missing = [seed for seed in seeds if seed not in self.weights]
        runs = trainer.train_in_turn([*map(self._start, missing)], stop=self._stop)
        for seed, run in zip(missing, runs, strict=True):
            self._know(seed, run.weights or [])

    def _know(self, seed: int, weights: list[np.ndarray]) -> np.ndarray:
        """Note a network, and return its outputs on the test set."""
        trainer = self._objective.trainer
        outputs = trainer.outputs(weights, trainer.dataset.x_test)
        self.weights[seed] = weights
        self.predicted[seed] = predictions(trainer.architecture.head, outputs)
        return outputs

    def _start(self, seed: int) -> Start:
        return dataclasses.replace(self._objective.baseline_start, seed=seed)


def _as_numbers(weights: Sequence[np.ndarray]) -> np.ndarray:
    """Return the bytes of arrays, whatever their types, as int32 of shape (n,)."""
    data = b"".join(array.tobytes() for array in weights)
    return np.frombuffer(data + bytes(-len(data) % 4), np.int32)


def _as_weights(numbers: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return arrays of the same shapes and types as others, from their bytes."""
    data, weights, at = numbers.tobytes(), [], 0
    for array in like:
        flat = np.frombuffer(data[at : at + array.nbytes], array.dtype)
        weights.append(flat.reshape(array.shape))
        at += array.nbytes
    return weights
