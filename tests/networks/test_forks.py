"""In a fork of a process that has trained, training is refused, because it would wait forever."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = """
import os, signal, sys
import adnn_optuna as adnn

def objective():
    training = adnn.Training(epochs=1)
    return adnn.InitOffsetObjective(adnn.MLP((4,)), adnn.load_dataset("digits"), training=training)

def search(of, storage=None):
    return adnn.search(of, storage=storage, study_name="s", max_trial=1, confirm=0)

before = objective()
result = search(before)
verbs = {
    "search": lambda: search(before, f"sqlite:///{sys.argv[1]}/a.db"),
    "new objective": lambda: search(objective()),
    "optimize": lambda: result.study.optimize(before, n_trials=1),
    "predict": lambda: result.predict(before.dataset.x_test),
    "model": result.model,
    "contract": result.contract,
}
for name, verb in verbs.items():
    if (child := os.fork()) == 0:
        signal.alarm(60)  # What waits forever is killed.
        try:
            verb()
        except ValueError as error:
            print(f"{name}: {error}", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
print("here:", len(result.predict(before.dataset.x_test)))
"""


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_training_in_a_fork_of_a_process_that_trained_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAIN, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    *refusals, here = output.splitlines()
    assert [refusal.partition(":")[0] for refusal in refusals] == [
        *("search", "new objective", "optimize"),
        *("predict", "model", "contract"),
    ]
    for refusal in refusals:
        assert "must not run in a forked process: TensorFlow waits forever" in refusal
        assert "get_context('spawn')" in refusal
    assert here == "here: 359"
    # The refusal comes before anything is stored.
    assert not list(tmp_path.iterdir())
