"""TensorFlow, without its first notices."""

import contextlib
import functools
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from adnn_optuna._checks import WrongValueError, check_installed, importing, load

# A forked process lacks the threads of the other one, and TensorFlow waits for them.
FORKED = "TensorFlow waits forever in a fork of a process that has used it"
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Notices on a machine without a GPU, and the rest of their lines.
_NOTICE = re.compile(
    r"(?:WARNING: All log messages before absl|To enable the following instructions"
    r"|I\d{4} |\S+ \S+: I |[EW]\d{4} .*(?:failed call to cuInit|Unable to register cu)).*\n?"
)


def load_tensorflow(what: str) -> None:
    """Import TensorFlow, which ``what`` needs, without its notices about itself.

    Its later messages of level INFO are omitted, too, unless TF_CPP_MIN_LOG_LEVEL is set.
    """
    check_installed("tensorflow", what)
    level = os.environ.get(LOG_LEVEL)
    if "tensorflow" in sys.modules or level == "0":
        load("keras")
        return
    # It is read once, at the import: neither the user's code nor a process of theirs finds it.
    os.environ[LOG_LEVEL] = level or "1"
    try:
        with importing(), _without_notices():
            import keras  # noqa: F401 - as all that uses TensorFlow does.
            import tensorflow as tf

            tf.config.list_physical_devices()  # The last notices are about looking for a GPU.
    finally:
        if level is None:
            del os.environ[LOG_LEVEL]


def check_not_forked() -> None:
    """Raise in a fork of the process that called this function first, as TensorFlow was used."""
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
    """Filter file descriptor 2, as TensorFlow writes to it before it reads any log level."""
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
