"""Public functions do not change the global state of the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.tensorflow
def test_no_verb_changes_global_state(tmp_path: Path) -> None:
    worker = Path(__file__).with_name("process_worker.py")
    command = [sys.executable, str(worker), str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output == "18 verbs, 0 statements\n"
