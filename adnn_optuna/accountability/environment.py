"""What the bits of a training depend on, beside its settings: versions, processor, threads."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

from adnn_optuna._checks import check_installed
from adnn_optuna.networks.training import n_cores

# Of a processor's features, those that say which vector instructions a compiler may use.
_VECTOR_FEATURES = re.compile(r"s?sse|avx|fma|f16c|amx|asimd|sve|neon|fphp|bf16|i8mm")


def describe_environment() -> dict[str, Any]:
    """Return what this process trains with, as JSON holds it."""
    check_installed("tensorflow", "Training a network")
    import tensorflow as tf

    packages = ("numpy", "tensorflow", "keras", "optuna", "adnn_optuna")
    # Only Linux has it: elsewhere the processor's features are not known.
    path = Path("/proc/cpuinfo")
    first = path.read_text(encoding="utf-8").split("\n\n", 1)[0] if path.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    cpuinfo = {key.strip(): value.strip() for key, _, value in pairs}
    # By their names on x86 and on ARM.
    features = cpuinfo.get("flags", cpuinfo.get("Features", "")).split()
    threading, onednn = tf.config.threading, os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "system": platform.system(),
        "processor": {
            "machine": platform.machine(),
            "model": cpuinfo.get("model name", platform.processor()),
            "features": sorted({f for f in features if _VECTOR_FEATURES.match(f)}),
        },
        "devices": sorted(device.device_type for device in tf.config.list_physical_devices()),
        "intra_op_threads": _threads(threading.get_intra_op_parallelism_threads(), "INTRAOP"),
        "inter_op_threads": _threads(threading.get_inter_op_parallelism_threads(), "INTEROP"),
        "onednn": onednn.lower() not in {"0", "false"},
        "flags": {name: os.environ.get(name, "") for name in ("XLA_FLAGS", "TF_XLA_FLAGS")},
    }


def _threads(configured: int, kind: str) -> int:
    """Return a number of threads as TensorFlow chooses it: by Python, the shell or the CPUs."""
    wanted = os.environ.get(f"TF_NUM_{kind}_THREADS", "")
    by_shell = int(wanted) if wanted.isdigit() else 0
    return configured or by_shell or n_cores()
