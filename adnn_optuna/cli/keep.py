"""The command ``adnn keep``: it judges changes of a program in any language, by running it.

Importing this module loads nothing but Typer.
"""

import contextlib
import dataclasses
import hashlib
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import adnn_optuna as adnn
from adnn_optuna._checks import WrongValueError, check_positive, logger, shown
from adnn_optuna.cli import output as out

_SEED = "{seed}"
_SECONDS_BETWEEN_LOOKS = 0.05


def keep(
    command: Annotated[
        list[str],
        typer.Argument(
            help="The command to run, after --. It prints its value. Write {seed} in place of "
            "the seed of a run."
        ),
    ],
    *,
    metric: Annotated[
        str,
        "A regular expression with a group. The group of its last match in the command's output "
        "is the value.",
    ],
    candidate: Annotated[
        str | None,
        "The version's name; by default, a fingerprint of the command and of the files that git "
        "tracks.",
    ] = None,
    study_name: Annotated[str, "Name of the loop."] = "loop",
    timeout: Annotated[
        float | None, "The seconds that a run may take. A longer run is killed and fails."
    ] = None,
    **options: Any,
) -> out.Answer:
    """Judge whether a changed script is better than the best version before it.

    The first call measures the baseline. Each further call runs the changed command
    on new seeds until it is kept or given up. A run that fails or prints no number
    never helps. The exit code is 0 if the version was kept or is the measured
    baseline, and 1 otherwise.

    \b
    Examples:
      adnn keep --metric 'val_acc=([0-9.]+)' -- python train.py --seed {seed}
      adnn keep --metric 'loss: (\\S+)' --direction minimize -- ./train.sh {seed}
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run = _Command(tuple(command), _checked_pattern(metric), _checked_timeout(timeout))
    _check_command(command)
    if candidate is None:
        candidate = _fingerprint([*command, metric])
    result = adnn.keep(run, candidate=candidate, study_name=study_name, **options)
    code = 0
    if not result.kept or result.standard() is None:
        code = out.NOT_MET
    return out.Answer(result, code=code)


@dataclasses.dataclass(frozen=True)
class _Command:
    """A command as a function of a seed. All its processes end when ``stop`` is set."""

    arguments: Sequence[str]
    pattern: re.Pattern[str]
    timeout: float
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)

    def __call__(self, seed: int) -> float:
        """Run the command. Return the number in the last match, or NaN if the run fails."""
        arguments = [argument.replace(_SEED, str(seed)) for argument in self.arguments]
        with tempfile.TemporaryFile() as printed:
            # The command has its own process group, so that all its processes end together.
            process = subprocess.Popen(  # noqa: S603 - the user's own command.
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                is_over = self._wait(process)
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            printed.seek(0)
            text = printed.read().decode(errors="replace")
        fault = ""
        if not is_over:
            fault = f"it was killed after {self.timeout:g} s"
        elif process.returncode:
            fault = f"exit code {process.returncode}"
        last_line = (text.strip().splitlines() or ["(nothing)"])[-1]
        if not fault and not self.pattern.search(text):
            raise WrongValueError(
                f"--metric must match what the command prints; got {self.pattern.pattern!r}, and "
                f"the command printed at last: {last_line:.200}. Fix one of the two."
            )
        value = self._value(text)
        if not fault and math.isnan(value):
            fault = f"it printed no number that matches {self.pattern.pattern!r}"
        if fault:
            logger.warning(
                "The run with seed %d failed: %s. Last line: %.200s", seed, fault, last_line
            )
            return math.nan
        return value

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        """Return whether the command ended in time."""
        began = time.monotonic()
        while process.poll() is None:
            if self.stop.is_set():
                raise KeyboardInterrupt
            if time.monotonic() - began > self.timeout:
                return False
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_BETWEEN_LOOKS)
        return True

    def _value(self, text: str) -> float:
        """Return the number in the last match, or NaN if the matched text is not a number."""
        value = math.nan
        for match in self.pattern.finditer(text):
            value = math.nan
            with contextlib.suppress(ValueError, TypeError):
                value = float(match[1])
        return value


def _checked_pattern(metric: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(metric)
    except re.error as error:
        raise WrongValueError(
            f"--metric must be a regular expression ({error}); got {shown(metric)}. Write one "
            "such as 'val_acc=([0-9.]+)'."
        ) from None
    if not pattern.groups:
        raise WrongValueError(
            f"--metric must have a group in parentheses, the value; got {shown(metric)}. Write "
            "one such as 'val_acc=([0-9.]+)'."
        )
    return pattern


def _checked_timeout(timeout: float | None) -> float:
    if timeout is None:
        return math.inf
    check_positive("timeout", timeout)
    return timeout


def _check_command(command: Sequence[str]) -> None:
    """Raise an error for a command that does not use a seed or cannot run."""
    if not any(_SEED in argument for argument in command):
        raise WrongValueError(
            f"COMMAND must contain {_SEED}; got {shown(' '.join(command))}. Write it where the "
            "command takes its seed."
        )
    if shutil.which(command[0]) is None:
        raise WrongValueError(
            f"COMMAND must begin with a program; got {shown(command[0])}, which is not found. "
            "Write its path, such as ./train.sh, and make it executable."
        )


def _fingerprint(parts: Sequence[str]) -> str:
    """Return a digest of texts and of the current content of all files that git tracks."""
    digest = hashlib.sha256(repr(list(parts)).encode())
    folder = Path(os.fsdecode(_git(Path.cwd(), "rev-parse", "--show-toplevel")).rstrip("\n"))
    for name in sorted(filter(None, _git(folder, "ls-files", "-z").split(b"\0"))):
        file = folder / os.fsdecode(name)
        content = b""
        if file.is_symlink():
            content = os.fsencode(file.readlink())
        elif file.is_file():
            content = file.read_bytes()
        digest.update(name + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(  # noqa: S603 - the arguments are fixed.
            ["git", *arguments],  # noqa: S607 - the folder of git differs between systems.
            cwd=folder,
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        raise WrongValueError(
            "--candidate must be set outside a git repository; got none. Pass --candidate LABEL, "
            "another one for each version."
        ) from None
