"""The environment of this process, on which the bits of a training run depend."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path

from adnn_optuna._attributes import Json
from adnn_optuna._checks import n_cores
from adnn_optuna.networks._tensorflow import load_tensorflow

_PACKAGES = ("numpy", "tensorflow", "keras", "optuna", "adnn_optuna")


def describe_environment() -> Json:
    """Return the environment as JSON: versions, processor, devices, threads and flags."""
    load_tensorflow("Training a network")
    import tensorflow as tf

    # Only Linux has this file.
    path = Path("/proc/cpuinfo")
    cpuinfo = ""
    if path.exists():
        cpuinfo = path.read_text(encoding="utf-8")
    model = platform.processor()
    model_line = re.search(r"^model name\s*: (.+)", cpuinfo, re.MULTILINE)
    if model_line:
        model = model_line[1]
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    devices = tf.config.list_physical_devices()
    n_intra_op = tf.config.threading.get_intra_op_parallelism_threads()
    n_inter_op = tf.config.threading.get_inter_op_parallelism_threads()
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")
    device_types = [device.device_type for device in devices]
    flags = {name: os.environ.get(name, "") for name in ("XLA_FLAGS", "TF_XLA_FLAGS")}
    processor = {"machine": platform.machine(), "model": model}
    has_onednn = onednn.lower() not in {"0", "false"}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "system": platform.system(),
        "processor": processor,
        "devices": sorted(device_types),
        "intra_op_threads": n_threads(n_intra_op, "INTRAOP"),
        "inter_op_threads": n_threads(n_inter_op, "INTEROP"),
        "onednn": has_onednn,
        "flags": flags,
    }


def n_threads(configured: int, kind: str) -> int:
    """Return the number of threads that TensorFlow uses.

    Python code or an environment variable may set it. The default is the number of cores.
    """
    threads_of_shell = os.environ.get(f"TF_NUM_{kind}_THREADS", "")
    by_shell = 0
    if threads_of_shell.isdigit():
        by_shell = int(threads_of_shell)
    return configured or by_shell or n_cores()
