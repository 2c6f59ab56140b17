"""No verb changes what all code in a process shares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.tensorflow
def test_no_verb_leaves_anything_behind_in_the_process(tmp_path: Path) -> None:
    worker = Path(__file__).with_name("process_worker.py")
    command = [sys.executable, str(worker), str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output == "18 verbs, 0 statements\n"
