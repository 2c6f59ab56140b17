"""The notices that TensorFlow prints when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from adnn_optuna.networks import _tensorflow

NOTICES = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795811150.578716   16060 port.cc:153] oneDNN custom operations are on.\n"
    "2026-11-27 20:26:00.062: I tensorflow/core/util/port.cc:153] oneDNN custom operations.\n"
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.\n"
    "E0000 00:00:1795811158.945319   16060 cuda_platform.cc:52] failed call to cuInit: INTERNAL\n"
)
OTHERS = "W0000 00:00:1795811158.945319   16060 a.cc:1] an old driver\nmine: größer\nno end"


def test_notices_are_removed_and_all_else_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    with _tensorflow._without_notices():
        os.write(2, f"{NOTICES}{OTHERS}".encode())
    assert capfd.readouterr().err == OTHERS


MODEL = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "name": "network",
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "InputLayer",
                "config": {"batch_shape": [1, 4], "name": "inputs"},
            },
            {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}},
        ],
    },
}
OPTIMIZER = {"module": "keras.optimizers", "class_name": "Adam", "config": {}}
# Any of these calls may be the first in a process to load Keras.
FIRST = {
    "objective": "adnn.InitOffsetObjective(adnn.MLP((4,)), adnn.load_dataset('digits'))",
    "model": f"keras_files.check_model_config({MODEL}, 'model')",
    "optimizer": f"keras_files.check_keras_config({OPTIMIZER}, 'optimizer')",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "first"),
    [(None, first) for first in FIRST] + [("0", "objective"), ("3", "objective")],
)
def test_notices_are_shown_only_if_the_user_asks_for_them(level: str | None, first: str) -> None:
    code = f"""if True:
        import os, sys
        import adnn_optuna as adnn
        from adnn_optuna.networks import keras_files

        {FIRST[first]}
        assert "keras" in sys.modules
        print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
    """
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == f"{level}\n"
    assert bool(done.stderr) == (level == "0")
