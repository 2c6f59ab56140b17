"""What TensorFlow says of itself when it is imported."""

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


def test_notices_are_left_out_and_all_else_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    with _tensorflow._without_notices():
        os.write(2, f"{NOTICES}{OTHERS}".encode())
    assert capfd.readouterr().err == OTHERS


@pytest.mark.slow
@pytest.mark.parametrize("level", [None, "0", "3"])
def test_they_come_only_where_the_user_asks_for_them(level: str | None) -> None:
    code = """if True:
        import os
        import adnn_optuna as adnn

        adnn.InitOffsetObjective(adnn.MLP((4,)), adnn.load_dataset("digits"))
        print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
    """
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == f"{level}\n"
    assert bool(done.stderr) == (level == "0")
