"""How a file is checked, and replaced: at once or not at all, also if the process is killed."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adnn_optuna._checks import (
    NoSuchFileError,
    WrongValueError,
    check_type,
    exists,
    is_file,
    is_folder,
)

fcntl: Any = None
with contextlib.suppress(ImportError):  # Windows does not have it.
    import fcntl

# The end is that of the file to be replaced: Keras and NumPy look at it.
_TEMPORARY = re.compile(r"\.adnn-[0-9a-f]{16}(\.[^.]*)?")


class NotWrittenError(OSError):
    """A file could not be written; its previous content is unchanged."""


def check_output_file(what: str, path: str | os.PathLike[str], suffix: str = "") -> None:
    """Refuse a file that cannot be written, or lacks the suffix, before it is needed."""
    check_type(what, path, str | os.PathLike, "the name of a file")
    path = Path(path)
    if suffix and path.suffix != suffix:
        raise WrongValueError(f"{what} must be the name of a {suffix} file; got {str(path)!r}.")
    refused, folder = f"{what} {str(path)!r} cannot be written", path.absolute().parent
    if not is_folder(folder):
        raise NoSuchFileError(
            f"{refused}: there is no folder {str(folder)!r}. Create it, or name another file."
        )
    faults = {
        "it is a folder": is_folder(path),
        "it is a device or a pipe": exists(path) and not is_file(path),
        "it is read-only": is_file(path) and not os.access(path, os.W_OK),
        f"you may not write to the folder {str(folder)!r}": not os.access(folder, os.W_OK),
    }
    for fault, is_so in faults.items():
        if is_so:
            raise WrongValueError(f"{refused}: {fault}. Name another file.")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file to write to, which then replaces ``path`` at once.

    If writing raises an exception, nothing is replaced. If the process is killed, the temporary
    file stays in the folder until the next file there is replaced.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If no file can have this name.
    """
    if "\0" in os.fspath(path):
        raise WrongValueError(
            f"The name of a file must have no null character; got {os.fspath(path)!r:.100}."
        )
    file = Path(os.path.realpath(path))  # A link stays a link.
    try:
        _remove_abandoned(file.parent)
        with _locked_file(file.parent, file.suffix) as temporary:
            yield temporary
            if file.exists():
                shutil.copymode(file, temporary)
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(file)
    except OSError as error:
        raise NotWrittenError(
            f"{os.fspath(path)!r} cannot be written ({error.strerror or error}); its previous "
            "content is unchanged. Free disk space or choose another folder."
        ) from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replace a file by a text in UTF-8; bytes of file names that are no text are escaped."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def _locked_file(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield a new file, which is locked as long as this process lives; remove it at the end."""
    while True:
        temporary = folder / f".adnn-{secrets.token_hex(8)}{suffix}"
        # Not by `tempfile`, whose files only their owner may read.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            os.close(descriptor)  # On Windows, an open file cannot be moved.
            break
        with contextlib.suppress(OSError):  # Some network disks have no locks.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            break
        os.close(descriptor)  # Another writer found it before it was locked.
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        if fcntl is not None:
            os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files whose writers were killed: they are not locked."""
    if fcntl is None:
        return
    for file in folder.iterdir():
        if not _TEMPORARY.fullmatch(file.name):
            continue
        # It is locked, its writer has just moved it, or it is another user's.
        with contextlib.suppress(OSError):
            descriptor = os.open(file, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()
            finally:
                os.close(descriptor)
