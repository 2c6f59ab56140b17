"""Check other people's contracts in a separate process, which can be ended at any moment."""

import dataclasses
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna

from adnn_optuna._attributes import Json
from adnn_optuna._checks import is_file
from adnn_optuna._units import Estimate
from adnn_optuna.contracts.verification import N_RUNS, verified
from adnn_optuna.experiments.contract_file import CannotCheckError, claim_of
from adnn_optuna.experiments.contract_seeds import as_confirmation, claimed_confirmation
from adnn_optuna.experiments.verdict import Verdict
from adnn_optuna.networks._tensorflow import LOG_LEVEL

_SECONDS_BETWEEN_LOOKS = 0.1
# Each check may use this number of seconds to import TensorFlow, load the data and compile.
_SECONDS = 600.0
_BYTES = 4e9
# The limits grow by these amounts for each row, for each row and weight, and for each byte of a
# file. Ordinary training takes a tenth of these times.
_SECONDS_OF_ROW = 1e-3
_SECONDS_OF_WEIGHT = 6e-9
_BYTES_OF_BYTE = 30


def declared_limits(
    contract: Json, folder: Path, data_dir: str | None, n_seeds: int
) -> tuple[float, float]:
    """Return the limits of a check in seconds and bytes, computed from the contract's sizes."""
    objective = contract["objective"]
    files = [folder / file["name"] for file in contract["files"].values()]
    path = objective["dataset"].get("path")
    if path is not None:
        files.append(Path(data_dir or folder) / path)
    sizes = [file.stat().st_size if is_file(file) else 0 for file in files]
    n_weights = sizes[0] / 4  # The first file holds the weights in float32.
    n_rows = contract["split"]["train"] * objective["training"]["epochs"]
    seconds_of_row = _SECONDS_OF_ROW + _SECONDS_OF_WEIGHT * n_weights
    n_runs = 2 * (1 + N_RUNS + n_seeds)
    seconds = _SECONDS + n_runs * n_rows * seconds_of_row
    n_bytes = _BYTES + _BYTES_OF_BYTE * sum(sizes)
    return seconds, n_bytes


def _resident(process: int) -> int:
    """Return the memory of a process in bytes, or 0 on systems without ``/proc``."""
    with suppress(OSError):
        text = Path(f"/proc/{process}/statm").read_text("ascii")
        n_pages = int(text.split()[1])
        return n_pages * mmap.PAGESIZE
    return 0


def verified_apart(
    contract: Json,
    folder: Path,
    data_dir: str | None,
    limits: tuple[float, float],
    **options: Any,
) -> Verdict:
    """Check a contract in a separate process, within limits of seconds and bytes.

    Raises:
        CannotCheckError: If the process reaches a limit, or ends without a verdict.
        KeyboardInterrupt: If the user interrupts the check. The process has then ended.
    """
    job: str | None = json.dumps(
        {"contract": contract, "folder": str(folder), "data_dir": data_dir, **options}
    )
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    environment.setdefault(LOG_LEVEL, "2")
    # With -P, nothing in the current folder is imported, because the contract may be there.
    command = [sys.executable, "-P", "-m", __name__, str(os.getpid())]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # In a new session, the other process does not receive Ctrl-C. This process receives it, and
    # ends the other at once.
    pipes |= {"env": environment, "start_new_session": True}
    began = time.monotonic()
    answer = None
    with subprocess.Popen(command, **pipes) as process:  # noqa: S603 - it runs this module.
        try:
            while answer is None:
                try:
                    answer, _ = process.communicate(job, timeout=_SECONDS_BETWEEN_LOOKS)
                except subprocess.TimeoutExpired:
                    job = None
                    _check_limits(limits, time.monotonic() - began, _resident(process.pid))
        finally:
            process.kill()
    if process.returncode:
        raise CannotCheckError(
            f"The process that checked it ended without a verdict ({process.returncode}), perhaps "
            "for lack of memory."
        )
    return _received(json.loads(answer), contract)


def _check_limits(limits: tuple[float, float], seconds: float, n_bytes: int) -> None:
    """Raise an error if the process has reached a limit."""
    refusal = "Checking took more than {}. If you trust the file, pass a larger {}."
    if seconds > limits[0]:
        raise CannotCheckError(refusal.format(f"{limits[0]:.3g} seconds", "max_time"))
    if n_bytes > limits[1]:
        raise CannotCheckError(refusal.format(f"{limits[1] / 1e9:.2f} GB of memory", "max_memory"))


def _received(answer: Json, contract: Json) -> Verdict:
    """Return the verdict from JSON.

    The answer does not contain the claims, so they are read from the contract.
    """
    answer["reasons"] = tuple(answer["reasons"])
    answer["stated"] = tuple(answer["stated"])
    if answer["gain"] is not None:
        answer["gain"] = Estimate(*answer["gain"])
    if answer["new_seeds"] is not None:
        answer["new_seeds"] = as_confirmation(answer["new_seeds"])
    if answer["claim"] is not None:
        answer["claim"] = claim_of(contract)
        answer["confirmation"] = claimed_confirmation(contract)
    return Verdict(**answer)


def _end_after(parent: int) -> None:
    """End this process when its parent process is gone."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _main(arguments: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=map(int, arguments), daemon=True).start()
    # Only the verdict goes to stdout. Prints of libraries go to stderr.
    with os.fdopen(os.dup(1), "w") as stdout:
        os.dup2(2, 1)
        job = json.load(sys.stdin)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        verdict = verified(job.pop("contract"), Path(job.pop("folder")), **job)
        json.dump(dataclasses.asdict(verdict), stdout)
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1:])
