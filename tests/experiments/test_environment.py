"""The machine, versions and threads of a contract."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import keras
import numpy as np
import optuna
import pytest
import tensorflow as tf

import adnn_optuna as adnn
from adnn_optuna.experiments import environment
from adnn_optuna.experiments.environment import describe_environment, n_threads

if TYPE_CHECKING:
    from pathlib import Path


X86 = """processor\t: 0
model name\t: Swift: 3 GHz
flags\t\t: fpu sse ssse3 avx2 avx512f fma f16c amx_tile vme my_sse

processor\t: 1
model name\t: Slow
flags\t\t: sse4_1
"""
ARM = """processor\t: 0
Features\t: fp asimd sve2 fphp bf16 i8mm aes
"""


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [(X86, "Swift: 3 GHz"), (ARM, platform.processor()), (None, platform.processor())],
    ids=["x86", "ARM", "no Linux"],
)
def test_environment_states_the_processor(
    cpuinfo: str | None, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    monkeypatch.setattr(environment, "Path", {"/proc/cpuinfo": file}.__getitem__)
    assert describe_environment()["processor"] == {
        "machine": os.uname().machine,
        "model": model,
    }


def test_environment_states_versions_and_devices() -> None:
    environment = describe_environment()
    assert environment["versions"] == {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "optuna": optuna.__version__,
        "adnn_optuna": adnn.__version__,
    }
    assert environment["system"] == os.uname().sysname
    assert environment["devices"] == ["CPU"]


@pytest.mark.parametrize(
    ("value", "is_used"),
    [(None, True), ("1", True), ("0", False), ("false", False), ("FALSE", False)],
)
def test_environment_states_settings_of_the_shell(
    value: str | None, is_used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("XLA_FLAGS", "TF_XLA_FLAGS")
    for name in ("TF_ENABLE_ONEDNN_OPTS", *names):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    environment = describe_environment()
    assert environment["onednn"] == is_used
    assert environment["flags"] == dict.fromkeys(names, value or "")


def test_environment_states_the_threads_that_tensorflow_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_cpus = len(os.sched_getaffinity(0))
    for kind in ("INTRA", "INTER"):
        for value, expected in (("7", 7), ("0", n_cpus), ("many", n_cpus), (None, n_cpus)):
            monkeypatch.delenv(f"TF_NUM_{kind}OP_THREADS", raising=False)
            if value is not None:
                monkeypatch.setenv(f"TF_NUM_{kind}OP_THREADS", value)
            assert describe_environment()[f"{kind.lower()}_op_threads"] == expected
            # Settings in Python take precedence.
            assert n_threads(3, f"{kind}OP") == 3
