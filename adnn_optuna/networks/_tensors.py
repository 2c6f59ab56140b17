"""Data and the orders in which a training takes them, as TensorFlow reads them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from adnn_optuna.networks._arrays import writable

if TYPE_CHECKING:
    import tensorflow as tf


@functools.lru_cache(maxsize=32)
def orders_of(rows: int, seed: int | None, first: int, count: int) -> tf.Tensor:
    """Return the orders of the training rows from an epoch on: int32, of shape (count, rows)."""
    permutations = [
        np.arange(rows, dtype=np.int32) if seed is None else _permutation(rows, seed, epoch)
        for epoch in range(first, first + count)
    ]
    return as_tensor(np.stack(permutations))


def _permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of the rows in an epoch; counter-based, so no epoch needs the earlier."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
    return generator.permutation(rows).astype(np.int32)


def as_tensor(array: np.ndarray) -> tf.Tensor:
    """Return a dataset's array as a tensor on the same memory, any other as a copy."""
    import tensorflow as tf

    memory = writable(array)
    if memory is not None and memory.size:
        return tf.experimental.dlpack.from_dlpack(memory.__dlpack__())
    with tf.device("CPU"):
        return tf.convert_to_tensor(array)
