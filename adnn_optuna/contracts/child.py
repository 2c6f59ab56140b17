"""A contract from others is checked in a process of its own, which can be ended at any moment."""

import dataclasses
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna

from adnn_optuna._units import Estimate
from adnn_optuna.contracts.contract_file import (
    CannotCheckError,
    claim_of,
)
from adnn_optuna.contracts.new_seeds import as_confirmation, claimed_confirmation
from adnn_optuna.contracts.verification import N_RUNS, verified
from adnn_optuna.networks._tensorflow import LOG_LEVEL
from adnn_optuna.results.verification import Verdict

_SECONDS_BETWEEN_LOOKS = 0.1
# What any check takes: importing TensorFlow, a data set, compiling.
_SECONDS, _BYTES = 600.0, 4e9
# Ordinary training takes a tenth of it: of a row, of a row and a weight, of a byte in a file.
_SECONDS_OF_ROW, _SECONDS_OF_WEIGHT, _BYTES_OF_BYTE = 1e-3, 6e-9, 30


@dataclasses.dataclass(frozen=True)
class Limits:
    """The most seconds, and bytes of resident memory, that a check may take."""

    seconds: float
    n_bytes: float

    @classmethod
    def of(
        cls, contract: Mapping[str, Any], folder: Path, data_dir: str | None, n_seeds: int
    ) -> "Limits":
        """Return the limits that follow from what a contract declares, and from its files."""
        named = [file["name"] for file in contract["files"].values()]
        sizes = [_size(folder / name) for name in named]
        path = contract["objective"]["dataset"].get("path")
        if path is not None:
            sizes.append(_size(Path(data_dir or folder) / path))
        rows = contract["split"]["train"] * contract["objective"]["training"]["epochs"]
        of_row = _SECONDS_OF_ROW + _SECONDS_OF_WEIGHT * sizes[0] / 4
        n_runs = 2 * (1 + N_RUNS + n_seeds)
        return cls(_SECONDS + n_runs * rows * of_row, _BYTES + _BYTES_OF_BYTE * sum(sizes))

    def check(self, process: int, seconds: float) -> None:
        """Refuse to go on with a process that has run out of one of them."""
        if seconds > self.seconds:
            raise CannotCheckError(
                f"Checking took more than {self.seconds:.3g} seconds. If you trust the file, pass "
                "a larger max_time."
            )
        if _resident(process) > self.n_bytes:
            raise CannotCheckError(
                f"Checking took more than {self.n_bytes / 1e9:.2f} GB of memory. If you trust the "
                f"file, pass a larger max_memory, in bytes."
            )


def _size(file: Path) -> int:
    with suppress(OSError, ValueError):
        return file.stat().st_size
    return 0


def _resident(process: int) -> int:
    """Return the bytes of memory that a process has; 0 on systems without ``/proc``."""
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1]) * mmap.PAGESIZE
    return 0


def verified_apart(
    contract: dict[str, Any],
    folder: Path,
    data_dir: str | None,
    limits: Limits,
    **options: Any,
) -> Verdict:
    """Check a contract in a process of its own, within limits.

    Raises:
        CannotCheckError: If the process runs out of a limit, or ends without a verdict.
        KeyboardInterrupt: If the user interrupts; the process has ended then.
    """
    job: str | None = json.dumps(
        {"contract": contract, "folder": str(folder), "data_dir": data_dir, **options}
    )
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    environment.setdefault(LOG_LEVEL, "2")
    process = subprocess.Popen(  # noqa: S603 - this module is what it runs.
        # Nothing in the current folder is imported, which may be that of the contract.
        [sys.executable, "-P", "-m", __name__, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which ends the other one at once.
    )
    began, answer = time.monotonic(), None
    try:
        while answer is None:
            try:
                answer, _ = process.communicate(job, timeout=_SECONDS_BETWEEN_LOOKS)
            except subprocess.TimeoutExpired:
                job = None
                limits.check(process.pid, time.monotonic() - began)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise CannotCheckError(
            f"The process that checked it ended without a verdict ({process.returncode}), perhaps "
            "for lack of memory."
        )
    return _received(json.loads(answer), contract)


def _received(found: dict[str, Any], contract: dict[str, Any]) -> Verdict:
    """Return a verdict from JSON; what the contract claims is read here."""
    for name in ("reasons", "not_checked"):
        found[name] = tuple(found[name])
    if found["gain"] is not None:
        found["gain"] = Estimate(*found["gain"])
    if found["new_seeds"] is not None:
        found["new_seeds"] = as_confirmation(found["new_seeds"])
    if found["claim"] is not None:
        found |= {"claim": claim_of(contract), "confirmation": claimed_confirmation(contract)}
    return Verdict(**found)


def _end_after(parent: int) -> None:
    """End this process when the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _main(arguments: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=map(int, arguments), daemon=True).start()
    # Only the verdict goes to stdout, whatever is printed by libraries.
    with os.fdopen(os.dup(1), "w") as stdout:
        os.dup2(2, 1)
        job = json.load(sys.stdin)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        verdict = verified(job.pop("contract"), Path(job.pop("folder")), **job)
        json.dump(dataclasses.asdict(verdict), stdout)
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1:])
