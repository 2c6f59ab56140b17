"""Load TensorFlow without the notices that it prints at first."""

import contextlib
import functools
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from adnn_optuna._checks import WrongValueError, check_installed, importing, load

# TensorFlow waits for its parent's threads, which do not exist in a forked process.
FORKED = "TensorFlow waits forever in a fork of a process that has used it"
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Lines that TensorFlow prints while it is loaded on a machine without a GPU.
_NOTICE = re.compile(
    r"(?:WARNING: All log messages before absl|To enable the following instructions"
    r"|I\d{4} |\S+ \S+: I |[EW]\d{4} .*(?:failed call to cuInit|Unable to register cu)).*\n?"
)


def load_tensorflow(what: str) -> None:
    """Import TensorFlow, which ``what`` needs, and hide the notices that it prints at first.

    Later messages of level INFO are hidden, too, unless TF_CPP_MIN_LOG_LEVEL is set.
    """
    check_installed("tensorflow", what)
    level = os.environ.get(LOG_LEVEL)
    if "tensorflow" in sys.modules or level == "0":
        load("keras")
        return
    # TensorFlow reads the level once, during its import. The variable is restored below, so
    # neither the user's code nor its subprocesses see the level.
    os.environ[LOG_LEVEL] = level or "1"
    try:
        with importing(), _without_notices():
            import keras  # noqa: F401 - all code that uses TensorFlow needs Keras, too.
            import tensorflow as tf

            tf.config.list_physical_devices()  # This prints the last notices, about GPUs.
    finally:
        if level is None:
            del os.environ[LOG_LEVEL]


def check_not_forked() -> None:
    """Raise an error if this process is a fork of the process that first called this function."""
    if os.getpid() != _first_process():
        raise WrongValueError(
            f"Training must not run in a forked process: {FORKED}. Start the process by "
            "multiprocessing.get_context('spawn')."
        )


@functools.cache
def _first_process() -> int:
    return os.getpid()


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """Remove notices from stderr. TensorFlow writes some of them at any log level."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines(keepends=True):
                if not _NOTICE.fullmatch(line):
                    os.write(2, line.encode())
