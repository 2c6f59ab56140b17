"""The global random sources, from which Keras draws the seeds that are not given."""

from __future__ import annotations

import contextlib
import contextvars
import random
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

# They are the process's, so two threads must not build models at once. What the holder calls may
# ask for them again, also in a thread that it starts with its context and waits for.
_lock = threading.Lock()
_is_held = contextvars.ContextVar("is_held", default=False)


@contextlib.contextmanager
def undisturbed(seed: int | None = None) -> Iterator[None]:
    """Put the states of Python's and NumPy's global sources back at the end.

    Args:
        seed: What they are seeded with meanwhile; by default they go on as they are.
    """
    with contextlib.nullcontext() if _is_held.get() else _lock:
        token = _is_held.set(True)
        python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed)  # noqa: NPY002
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            _is_held.reset(token)


def derived_seed(*key: int) -> int:
    """Return a 31-bit seed for ``key``; different keys give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1)[0] >> 1)
