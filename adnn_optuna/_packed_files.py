"""Files packed by gzip or zip: none may unpack to more than a file of data needs."""

import gzip
import io
import zipfile
from pathlib import Path

from adnn_optuna._checks import WrongValueError

# How many bytes a file may unpack to, or how many times as many as it has.
_MOST_UNPACKED, _MOST_TIMES = 2**26, 100


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
    """Refuse a zip file of arrays that unpacks to more than is read; other files raise any error.

    No more than these sizes can be read from it.
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
