"""The scaling of an MLP's inputs and targets, fitted on the training part once per data set."""

import dataclasses
import weakref
from typing import Self

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._attributes import Json
from adnn_optuna._checks import logger
from adnn_optuna.networks._arrays import Array, collected
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import Scale

# A feature with a smaller range, relative to its values, is constant up to rounding errors.
_LEAST_RANGE = 1e-12
# Networks do not learn well from inputs with a larger standard deviation.
_LARGE_STD = 100


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Inputs become x * factor + offset; outputs become y * target_std + target_mean.

    The computation is in float64. Factor and offset have one number for all inputs, or one number
    for each feature or channel. The target's fields have a number for each target. Unused fields
    are empty.
    """

    factor: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()

    @property
    def config(self) -> Json:
        """The numbers in JSON."""
        return {name: list(numbers) for name, numbers in vars(self).items() if numbers}

    @classmethod
    def from_config(cls, config: Json) -> Self:
        """Return the scaling of a ``config``, with its numbers as floats."""
        return cls(**{name: (*map(float, numbers),) for name, numbers in config.items()})

    @property
    def target_units(self) -> NDArray[np.float64]:
        """Mean and standard deviation of each target, of shape (2, targets)."""
        return np.array([self.target_mean, self.target_std])

    def inputs(self, x: Array) -> Array:
        """Return scaled inputs as float32, or x itself if inputs are not scaled."""
        if not self.factor:
            return x
        factor = np.asarray(self.factor)
        offset = np.asarray(self.offset)
        parts = (factor * rows + offset for rows in _chunks(x))
        return collected(parts, x.shape, np.float32)


PIXELS = Scaling(factor=(1 / 255,), offset=(0.0,))
"""The scaling of uint8 pixels to [0, 1]."""

# Caches of fitted numbers and scaled arrays. An entry exists as long as its data set.
_fitted = weakref.WeakKeyDictionary[Dataset, dict[str, Scaling]]()
_scaled = weakref.WeakKeyDictionary[Dataset, dict[tuple[str, Scaling], Array]]()
_warned = weakref.WeakKeyDictionary[Dataset, set[str]]()


def fitted(dataset: Dataset, scale: Scale) -> Scaling:
    """Return the scaling that is fitted on the training part, from a cache by data set."""
    scalings = _fitted.setdefault(dataset, {})
    if scale not in scalings:
        scalings[scale] = _fit(dataset, scale)
    return scalings[scale]


def use(dataset: Dataset, scale: Scale, scaling: Scaling) -> None:
    """From now on, scale a data set by these numbers instead of fitted ones."""
    _fitted[dataset] = {scale: scaling}


def scaled_inputs(dataset: Dataset, split: str, scaling: Scaling) -> Array:
    """Return a split's inputs as the network takes them, from a cache."""
    scaled_splits = _scaled.setdefault(dataset, {})
    if (split, scaling) not in scaled_splits:
        scaled_splits[split, scaling] = scaling.inputs(getattr(dataset, f"x_{split}"))
    return scaled_splits[split, scaling]


def warn_of_large_numbers(dataset: Dataset, *, inputs: bool, targets: bool) -> None:
    """Warn once about inputs or targets that are too large for a model without scaling."""
    warned = _warned.setdefault(dataset, set())
    if inputs and "inputs" not in warned:
        warned.add("inputs")
        _warn_of_large_inputs(dataset)
    if targets and dataset.task == "regression" and "targets" not in warned:
        warned.add("targets")
        _warn_of_large_targets(dataset)


def _warn_of_large_inputs(dataset: Dataset) -> None:
    x = dataset.x_train
    # A standard deviation is at most half of the range.
    if np.subtract(x.max(), x.min(), dtype=float) <= 2 * _LARGE_STD:
        return
    stds = 1 / np.asarray(fitted(dataset, "standard").factor)
    if stds.max() > _LARGE_STD:
        index = int(stds.argmax())
        subject = "the inputs"
        if len(stds) > 1:
            subject = f"feature {dataset.preprocessing.feature(index)}"
        logger.warning(
            "Dataset %r: %s has a standard deviation of %.3g, and the model does not scale it. "
            "In the function that builds the model, add this as its first layer:\n"
            "    normalization = keras.layers.Normalization()\n"
            "    normalization.adapt(dataset.x_train)",
            *(dataset.name, subject, stds[index]),
        )


def _warn_of_large_targets(dataset: Dataset) -> None:
    targets = dataset.y_train.reshape(len(dataset.y_train), -1)
    stds = targets.std(axis=0)
    means = np.abs(targets.mean(axis=0))
    size = np.maximum(stds, means).max()
    if size > _LARGE_STD:
        logger.warning(
            "Dataset %r: the targets are of size %.3g, and the model does not scale its outputs. "
            "In the function that builds the model, add this as its last layer:\n"
            "    y = dataset.y_train\n"
            "    keras.layers.Rescaling(y.std(axis=0), offset=y.mean(axis=0))",
            *(dataset.name, size),
        )


def _fit(dataset: Dataset, scale: Scale) -> Scaling:
    x = dataset.x_train
    scaling = Scaling()
    if scale == "none":
        return scaling
    if dataset.task == "regression":
        targets = dataset.y_train.reshape(len(x), -1)
        std = targets.std(axis=0)
        std[std == 0] = 1
        std = _rounded(std)
        relative_mean = targets.mean(axis=0) / std
        mean = np.round(relative_mean, 6) * std
        scaling = Scaling(target_mean=tuple(mean.tolist()), target_std=tuple(std.tolist()))
    if scale == "auto" and x.dtype == np.uint8:
        return dataclasses.replace(scaling, factor=PIXELS.factor, offset=PIXELS.offset)
    # Inputs count as within [0, 1] up to an error of float32's precision, because scalers may turn
    # 1 into 1 + 2e-16.
    highest = 1 + 2**-24
    is_in_unit_range = x.dtype.kind in "bf" and x.min() >= 0 and x.max() <= highest
    if scale == "auto" and is_in_unit_range:
        return scaling
    factor, offset = _standardising(x)
    for _, categories, block in dataset.preprocessing.blocks():
        if categories is not None:
            factor[block] = 1
            offset[block] = 0
    factors = tuple(factor.tolist())
    offsets = tuple(offset.tolist())
    return dataclasses.replace(scaling, factor=factors, offset=offsets)


def _standardising(x: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the factor and offset that give inputs mean 0 and standard deviation 1."""
    # An array of rank 3 contains images if it is uint8, or if each example's height equals its
    # width. Such images have one factor for all pixels. All other inputs have a factor for each
    # channel or feature.
    is_image = x.ndim == 3 and (x.dtype == np.uint8 or x.shape[1] == x.shape[2])
    axes = None
    if not is_image:
        axes = tuple(range(x.ndim - 1))
    low = np.array(x.min(axis=axes), np.float64, ndmin=1)
    high = np.array(x.max(axis=axes), np.float64, ndmin=1)
    size = np.maximum(np.abs(low), np.abs(high))
    is_constant = high - low <= _LEAST_RANGE * size
    n = x.size / size.size
    # In float64, the square of a float32 cannot overflow.
    mean = sum(rows.sum(axis=axes, dtype=np.float64) for rows in _chunks(x)) / n
    squares = sum(np.square(rows - mean).sum(axis=axes) for rows in _chunks(x))
    std = np.array(np.sqrt(squares / n), ndmin=1)
    std[is_constant] = 1
    factor = _rounded(1 / std)
    offset = np.round(-mean * factor, 6)
    # Constant features become 0.
    offset[is_constant] = -low[is_constant]
    return factor, offset


def _rounded(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers rounded to nine digits, because the last bits differ between processors."""
    rounded = [float(f"{number:.9g}") for number in numbers]
    return np.array(rounded)


def _chunks(array: Array) -> list[Array]:
    """Return views of a few rows each, so that a conversion to float64 needs little memory."""
    n_chunks = max(array.size >> 21, 1)
    return np.array_split(array, n_chunks)
