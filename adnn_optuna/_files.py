"""Functions that read, check and replace files.

A file is replaced completely or not at all, even if the process is killed. A packed file must not
unpack to more bytes than a data file needs.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import math
import os
import re
import secrets
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from adnn_optuna._checks import (
    FilePath,
    NoSuchFileError,
    WrongInputError,
    WrongValueError,
    check_type,
    exists,
    first_line,
    is_file,
    is_folder,
    shown,
)

if TYPE_CHECKING:
    import pandas as pd

# A file may unpack to this number of bytes, or to this multiple of its own size.
_MOST_UNPACKED = 2**26
_MOST_TIMES = 100


class NotWrittenError(OSError):
    """A file could not be written. Its previous content is unchanged."""


def check_output_file(what: str, path: FilePath, suffix: str = "") -> None:
    """Before the work begins, raise an error for a wrong suffix or a file that is not writable."""
    check_type(what, path, str | os.PathLike, "the name of a file")
    path = Path(path)
    if suffix and path.suffix != suffix:
        raise WrongValueError(f"{what} must be the name of a {suffix} file; got {str(path)!r}.")
    refused = f"{what} {str(path)!r} cannot be written"
    folder = path.absolute().parent
    if not is_folder(folder):
        raise NoSuchFileError(
            f"{refused}: there is no folder {str(folder)!r}. Create it, or name another file."
        )
    fault = ""
    if is_folder(path):
        fault = "it is a folder"
    elif exists(path) and not is_file(path):
        fault = "it is a device or a pipe"
    elif is_file(path) and not os.access(path, os.W_OK):
        fault = "it is read-only"
    elif not os.access(folder, os.W_OK):
        fault = f"you may not write to the folder {str(folder)!r}"
    if fault:
        raise WrongValueError(f"{refused}: {fault}. Name another file.")


@contextlib.contextmanager
def replacing(path: FilePath) -> Iterator[Path]:
    """Yield a temporary file to write to. At the end of the block, it replaces ``path``.

    If writing raises an exception, nothing is replaced. If the process is killed, the temporary
    file stays in the folder.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If the name is not valid for a file.
    """
    if "\0" in os.fspath(path):
        raise WrongValueError(
            f"The name of a file must have no null character; got {shown(os.fspath(path))}."
        )
    file = Path(os.path.realpath(path))  # This replaces the target of a link, not the link itself.
    # The temporary file has the same suffix, because Keras and NumPy need it.
    temporary = file.with_name(f".adnn-{secrets.token_hex(8)}{file.suffix}")
    try:
        # `tempfile` is not suitable, because only the owner could read its files.
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            if file.exists():
                shutil.copymode(file, temporary)
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise NotWrittenError(
            f"{os.fspath(path)!r} cannot be written ({error.strerror or error}); its previous "
            "content is unchanged. Free disk space or choose another folder."
        ) from error


def write_text(path: FilePath, text: str) -> None:
    """Replace a file by a text in UTF-8. Characters that cannot be encoded are escaped."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_unpacked(file: Path) -> bytes:
    """Return the content of a file, unpacked if its name ends in ``.gz``."""
    if file.suffix.lower() != ".gz":
        return file.read_bytes()
    most = _most_unpacked(file.stat().st_size)
    with gzip.open(file) as packed:
        content = packed.read(most + 1)
    if len(content) > most:
        raise WrongValueError(
            f"{str(file)!r} must unpack to at most {most:,} bytes; got more. Unpack it, and pass "
            "the unpacked file."
        )
    return content


def check_npz(file: Path | io.BytesIO) -> None:
    """Raise an error for an ``.npz`` file whose arrays unpack to too many bytes.

    A file that is not a valid zip file raises another error. No array can be larger than the size
    that the file declares.
    """
    n_bytes = file.stat().st_size if isinstance(file, Path) else len(file.getbuffer())
    most = _most_unpacked(n_bytes)
    with zipfile.ZipFile(file) as archive:
        n_unpacked = sum(entry.file_size for entry in archive.infolist())
    if n_unpacked > most:
        raise WrongValueError(
            f"{str(file)!r} must unpack to at most {most:,} bytes; got {n_unpacked:,}. Write it "
            "with numpy.savez."
        )


def _most_unpacked(n_bytes: int) -> int:
    return max(_MOST_UNPACKED, _MOST_TIMES * n_bytes)


def read_csv(
    file: Path, separators: str = ",", *, most_columns: float = math.inf, **options: Any
) -> pd.DataFrame:
    """Return the table of a CSV file, split by the first separator that gives several columns.

    ``options`` are arguments of :func:`pandas.read_csv`.
    """
    import pandas as pd

    try:
        content = io.BytesIO(read_unpacked(file))
        separator, names = _header(content, separators)
        _check_names(file, names, most_columns)
        table: pd.DataFrame = pd.read_csv(content, sep=separator, **options)
    except WrongInputError:
        raise
    # Unpacking and reading a file may raise any error.
    except Exception as error:
        raise WrongValueError(
            f"{str(file)!r} must be a valid CSV file ({first_line(error)}). Write it again."
        ) from error
    return table


def _header(content: IO[bytes], separators: str) -> tuple[str, list[str]]:
    """Return the separator and the names of the columns; pandas would rename repeated names."""
    text = io.TextIOWrapper(content, "utf-8-sig", newline="")
    separator = separators[0]
    names = []
    for separator in separators:
        rows = csv.reader(text, delimiter=separator, skipinitialspace=True)
        names = next(filter(None, rows), [])
        text.seek(0)
        if len(names) > 1:
            break
    text.detach()
    return separator, names


def _check_names(file: Path, names: list[str], most: float) -> None:
    file_text = repr(str(file))
    if len(names) > most:
        raise WrongValueError(
            f"{file_text} must have at most {most} columns; got {len(names)}. Omit some."
        )
    counts = Counter(filter(None, names))
    repeated = [name for name, n in counts.items() if n > 1]
    if not repeated:
        return
    are_numbers = all(re.fullmatch(r"[\d.+-]*", name) for name in names)
    if are_numbers:
        raise WrongValueError(
            f"{file_text} must have a header for all columns. Name them in the first line."
        )
    raise WrongValueError(
        f"{file_text} must have different names of columns; got {shown(repeated[0])} more than "
        "once. Rename or omit one."
    )
