"""Calls every public function, and prints the global state of the process that it changed."""

from __future__ import annotations

import contextlib
import decimal
import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
import scipy.stats  # noqa: F401 - so that its own filters of warnings are there before.

import adnn_optuna as adnn

if TYPE_CHECKING:
    from collections.abc import Callable

# TensorFlow, h5py and scikit-learn set these variables once for their native libraries.
NATIVE = {"KMP_", "TF2_", "TPU_", "HDF5_", "ENABLE_RUNTIME_UPTIME_TELEMETRY"}
# These loggers exist before the package is imported, so users may have set their levels.
LOGGERS = ("", "absl", "alembic", "h5py", "optuna", "sqlalchemy", "tensorflow", "urllib3")


def state() -> dict[str, Any]:
    """Return all global state of the process."""
    now: dict[str, Any] = {
        "filters of warnings": list(warnings.filters),
        "how warnings are shown": (warnings.showwarning, warnings.formatwarning),
        "levels": {name: logging.getLogger(name).level for name in LOGGERS},
        "handlers of the root logger": list(logging.root.handlers),
        "what is logged at all": (logging.root.manager.disable, logging.getLoggerClass()),
        "environment": {k: v for k, v in os.environ.items() if not k.startswith(tuple(NATIVE))},
        "working folder": Path.cwd(),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "random numbers": random.getstate(),
        "random numbers of NumPy": repr(np.random.get_state()),  # noqa: NPY002
        "errors of NumPy": (np.geterr(), np.geterrcall()),
        "printing of NumPy": np.get_printoptions(),
        "display of pandas": pd.options.display.max_rows,
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook),
        "tracing": (sys.gettrace(), sys.getprofile(), sys.getrecursionlimit()),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "path": list(sys.path),
        "locale": locale.setlocale(locale.LC_ALL),
        "decimal": repr(decimal.getcontext()),
        "collection of garbage": (gc.isenabled(), gc.get_threshold()),
        "timeout of sockets": socket.getdefaulttimeout(),
        "verbosity of Optuna": optuna.logging.get_verbosity(),
        "threads": {t for t in threading.enumerate() if not t.name.startswith("training_")},
    }
    if plotly := sys.modules.get("plotly.io"):
        now["template of plotly"] = plotly.templates.default
    if keras := sys.modules.get("keras"):
        now["Keras"] = keras.config.dtype_policy().name, keras.config.image_data_format()
    return now


class Statements(logging.Handler):
    """Counts the SQL statements that SQLAlchemy logs to the root logger at level INFO."""

    n = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a message of SQLAlchemy or Alembic."""
        self.n += record.name.startswith(("sqlalchemy", "alembic"))


def verbs(folder: Path) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Return one call per public function; each call takes the results of the earlier calls."""
    storage = f"sqlite:///{folder / 'a.db'}"
    where: dict[str, Any] = {"storage": storage, "max_trial": 2}
    # XLA would only make the training slower.
    training = adnn.Training(epochs=1, jit_compile=False)

    def function(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1)

    def of_seed(seed: int) -> float:
        return float(seed)

    def objective() -> adnn.InitOffsetObjective:
        return adnn.InitOffsetObjective(
            adnn.MLP((4,)), adnn.load_dataset("digits"), training=training
        )

    return {
        "objective": lambda _: objective(),
        "search": lambda m: adnn.search(m["objective"], study_name="s", confirm=10, **where),
        "print": lambda m: str(m["search"]),
        "plot": lambda m: m["search"].plot().to_html(),
        "report": lambda m: m["search"].report(folder / "report.html"),
        "model": lambda m: m["search"].model(),
        "save": lambda m: m["search"].model().save(folder / "m.keras"),
        "contract": lambda m: m["search"].contract().save(folder / "c.json"),
        "verify": lambda _: adnn.verify(folder / "c.json").report(folder / "v.html"),
        "audit": lambda m: str(adnn.audit_randomness(m["model"])),
        "resume": lambda _: adnn.resume(storage, "s", max_trial=3),
        "variance": lambda _: adnn.measure_variance(of_seed, n=5),
        "compare": lambda _: adnn.compare(
            function, ["annealing"], seeds=range(2), direction="maximize", **where
        ),
        "compare_models": lambda _: adnn.compare_models(
            {"a": of_seed, "b": of_seed}, seeds=range(6)
        ),
        "compare_values": lambda _: str(adnn.compare_values({"a": [1, 2], "b": [2, 4]})),
        "recheck": lambda m: adnn.recheck(m["search"].study, m["objective"]),
    }


def main(folder: Path) -> None:
    """Print each change of global state on a line, and the number of logged SQL statements."""
    logging.root.setLevel(logging.INFO)
    logging.root.addHandler(statements := Statements())
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    results: dict[str, Any] = {}
    before = state()
    for name, verb in verbs(folder).items():
        with contextlib.suppress(UserWarning):
            results[name] = verb(results)
        after = state()
        for part, value in after.items():
            if value != before.get(part, value):
                sys.stdout.write(f"{name}: {part}: {before[part]!r:.300} -> {value!r:.300}\n")
        before = after
    sys.stdout.write(f"{len(results)} verbs, {statements.n} statements\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
