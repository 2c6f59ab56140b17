"""Telling that memory ran out, whoever says so."""

from __future__ import annotations

import sys

TOO_LITTLE_MEMORY = (
    "There is too little memory to train even one network; take a smaller model, batch_size or "
    "dataset."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, NumPy or TensorFlow says that memory ran out."""
    # Where TensorFlow was not imported, it did not raise anything.
    tensorflow = sys.modules.get("tensorflow")
    return isinstance(error, MemoryError) or (
        tensorflow is not None and isinstance(error, tensorflow.errors.ResourceExhaustedError)
    )
