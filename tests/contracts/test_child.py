"""A separate process checks contracts of other people, and can always be ended."""

from __future__ import annotations

import copy
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from contract_files import few_digits, forged, is_exact, put

import adnn_optuna as adnn
from adnn_optuna.contracts.child import declared_limits

if TYPE_CHECKING:
    from adnn_optuna import SearchResult


# Processes in the background ignore Ctrl-C, and so do their child processes.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from adnn_optuna.cli.main import main
main()
"""


@pytest.fixture
def hostile(content: Any, path: Path) -> Path:
    """Write a contract that takes minutes of linear algebra, and gigabytes of memory."""
    put(content, "objective.model.hidden", [9000, 9000])
    initializer = {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": None}}
    put(content, "objective.model.kernel_initializer", initializer)
    return forged(content, path.with_name("hostile.json"))


def processes_of(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [*map(int, text.split())]


@pytest.mark.skipif(sys.platform != "linux", reason="It looks into /proc")
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_check_of_a_hostile_file(number: signal.Signals, hostile: Path) -> None:
    command = [sys.executable, "-c", COMMAND, "verify", str(hostile)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as verifying:
        child = 0
        try:
            # At this size, the process computes the initial weights.
            while not child or memory(child) < 5e8:
                assert verifying.poll() is None
                child = next(iter(processes_of(verifying.pid)), 0)
                time.sleep(0.05)
            verifying.send_signal(number)
            _, err = verifying.communicate(timeout=5)
        finally:
            verifying.kill()
    expected = -number if number == signal.SIGKILL else 130
    assert verifying.returncode == expected
    assert "Traceback" not in err
    for _ in range(300):  # The process checks each second whether its parent is alive.
        if not Path(f"/proc/{child}/statm").exists():
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("The process that checks goes on.")


def memory(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


def test_running_out_of_time_or_memory_is_not_a_breach(hostile: Path) -> None:
    verdict = adnn.verify(hostile, max_time=0.1)
    assert verdict.status == "cannot_check"
    [reason] = verdict.reasons
    assert reason.startswith("Checking took more than 0.1 seconds.")
    if sys.platform == "linux":
        verdict = adnn.verify(hostile, max_memory=1e8)
        assert verdict.status == "cannot_check"
        [reason] = verdict.reasons
        assert reason.startswith("Checking took more than 0.10 GB of memory.")
        assert "pass a larger max_memory" in reason


@pytest.mark.slow
def test_checks_in_another_and_in_this_process_agree(path: Path, result: SearchResult) -> None:
    verdict = adnn.verify(path, new_seeds=20)
    seeds = verdict.new_seeds.seeds
    here = adnn.verify(path, dataset=result._objective.dataset, seeds=seeds)
    assert here == adnn.Verdict(**vars(verdict) | {"are_drawn": False})
    assert verdict.status == "exact"


def test_limits_follow_from_the_declared_contents_of_the_contract(
    content: Any, path: Path
) -> None:
    def limits(field: str = "", value: Any = None, n_seeds: int = 0) -> tuple[float, float]:
        changed = copy.deepcopy(content)
        if field:
            put(changed, field, value)
        return declared_limits(changed, path.parent, None, n_seeds)

    seconds, n_bytes = limits()
    assert 600 < seconds < 1200
    assert limits("objective.training.epochs", 1000)[0] > 2 * seconds
    assert limits("split.train", 10**6)[0] > 2 * seconds
    assert limits(n_seeds=1000)[0] > 2 * seconds
    size = path.with_name(content["objective"]["dataset"]["path"]).stat().st_size
    _, without = limits("objective.dataset.path", "no such file.npz")
    assert n_bytes - without == pytest.approx(30 * size)
    assert 4e9 < without < 5e9


@pytest.mark.parametrize("name", ["max_time", "max_memory"])
def test_limits_are_refused_if_the_check_runs_in_this_process(name: str, path: Path) -> None:
    data = adnn.Dataset.from_arrays(*few_digits())
    options: Any = {name: 10}
    with pytest.raises(ValueError, match=rf"^{name} must be omitted with dataset or model"):
        adnn.verify(path, dataset=data, **options)
    options[name] = 0
    with pytest.raises(ValueError, match=f"{name} must be greater than 0"):
        adnn.verify(path, **options)


def test_a_check_imports_nothing_from_the_folder_of_the_contract(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "optuna.py").write_text("raise SystemExit('executed')")
    (tmp_path / "adnn_optuna.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    assert is_exact(adnn.verify(path))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_check_shows_a_bar_on_a_terminal(path: Path) -> None:
    import pty
    import termios

    reading, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    command = [sys.executable, "-m", "adnn_optuna", "verify", str(path)]
    process = subprocess.run(
        command, stderr=terminal, stdout=subprocess.PIPE, check=True, text=True
    )
    assert process.stdout.startswith("Reproduced bit for bit")
    # The bar shows all training runs and the remaining time.
    assert re.search(r"verify:.* \d+/\d+ \[\d+:\d+<", os.read(reading, 10_000).decode())
