"""In which units a network learns the targets of a regression: standardised, or the user's own."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import optuna
from numpy.typing import NDArray

from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.network import Architecture
from adnn_optuna.networks.preprocessing import Preprocessing

if TYPE_CHECKING:
    from adnn_optuna.networks._scores import PerRow

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


def units_of(scaling: Preprocessing, size: int) -> NDArray[np.float32]:
    """Return mean and standard deviation of each output's target, of shape (2, outputs)."""
    mean, std = scaling.target_mean or [0] * size, scaling.target_std or [1] * size
    return np.array([mean, std], np.float32)


def as_learned(dataset: Dataset, architecture: Architecture, loss: PerRow) -> Dataset:
    """Return the data with targets in the user's units if they cannot be learned in others."""
    scaling = dataset.preprocessing
    if not scaling.target_mean:
        return dataset
    if _suits_all_units(loss, architecture.head.size) and architecture.gives_any_numbers():
        return dataset
    _say_it(dataset.name)
    own = dataclasses.replace(scaling, target_mean=(), target_std=())
    return dataclasses.replace(dataset, preprocessing=own)


def _suits_all_units(loss: PerRow, size: int) -> bool:
    """Return whether a loss is the least for the same network in all units.

    So it is where it stays as targets and outputs are shifted, and is scaled as they are.
    """
    y, outputs = (np.full((3, size), column, np.float32) for column in _EXAMPLE)
    value = np.asarray(loss(y, outputs))
    shifted, scaled = np.asarray(loss(y + 8, outputs + 8)), np.asarray(loss(y * 16, outputs * 16))
    return np.allclose(shifted, value) and np.allclose(scaled, value * (scaled[0] / value[0]))


# Targets and outputs of three examples, with errors of several sizes and either sign.
_EXAMPLE = [[0.5], [1.5], [2.5]], [[1.0], [1.0], [4.0]]


@functools.cache
def _say_it(name: str) -> None:
    _logger.info(
        "Dataset %r: the targets are learned in your units, as the network's last layers bound or "
        "scale its outputs, or its loss would have another minimum in other units.",
        name,
    )
