"""Write files in forked processes, and kill each process before another step."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adnn_optuna._files import replacing
from adnn_optuna.experiments.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable


def kill_before(step: int, folder: Path) -> None:
    """Let this process be killed after this number of steps: opened, moved or removed files."""
    n_steps = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal n_steps
        if event in {"open", "os.rename", "os.remove"} and str(folder) in str(arguments[0]):
            if n_steps == step:
                os.kill(os.getpid(), signal.SIGKILL)
            n_steps += 1

    sys.addaudithook(count)


def killed_before(step: int, folder: Path, write: Callable[[], None]) -> bool:
    """Write in a process that is killed before a step; return whether the step was reached."""
    if (child := os.fork()) == 0:
        kill_before(step, folder)
        write()
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def contract_of(folder: Path) -> str:
    """Return the version of the stored contract, and whether the contract names its weights
    file.
    """
    content = json.loads((folder / "a.json").read_text())
    weights = folder / content["files"]["weights"]["name"]
    is_whole = (
        hashlib.sha256(weights.read_bytes()).hexdigest() == content["files"]["weights"]["sha256"]
    )
    return f"{content['version']}, whole: {is_whole}"


def main(what: str, folder: Path) -> None:
    """For each step, let a process die before it; print the contents and the number of new
    files.
    """

    def write(version: str, size: int) -> None:
        if what == "text":
            with replacing(folder / "a.json") as temporary, temporary.open("w") as file:
                for _ in range(2):
                    file.write(version * (size // 2))
                    file.flush()
                    sys.audit("open", str(folder))  # At this step, a half-written file exists.
        else:
            weights = {"kernel": np.full(size, len(version))}
            Contract({"version": version}, weights).save(folder / "a.json")

    for step in range(1000):
        for file in folder.iterdir():
            file.unlink()
        write("old", 10_000)
        n_before = len(list(folder.iterdir()))
        was_killed = killed_before(step, folder, lambda: write("newer", 20_000))
        text = (folder / "a.json").read_text()
        shortened = text.replace("newer", "n").replace("old", "o") if what == "text" else ""
        contents = {"o" * 10_000: "old", "n" * 20_000: "newer"}.get(shortened) or contract_of(
            folder
        )
        whole_files = [file for file in folder.iterdir() if not file.name.startswith(".adnn-")]
        n_more = len(whole_files) - n_before
        sys.stdout.write(f"{contents}, {n_more} more files\n")
        if not was_killed:
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
