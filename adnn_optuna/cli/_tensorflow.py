"""TensorFlow for the command line: loaded without the notices that it starts with."""

from __future__ import annotations

import os
import sys
import tempfile


def load_tensorflow() -> None:
    """Import TensorFlow without its start-up notices.

    It writes some of them before it looks at any log level, straight to file descriptor 2. That
    descriptor is a temporary file for so long, which is shown if the import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # A user's Keras configuration may name another one.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notices:
        stderr = os.dup(2)
        os.dup2(notices.fileno(), 2)
        try:
            import tensorflow as tf

            # Looking for a GPU is what the last notices are about.
            tf.config.list_physical_devices()
        except Exception:
            notices.seek(0)
            os.write(stderr, notices.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
