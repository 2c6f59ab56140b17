"""What is there on disk, asked so that names that no file can have are not there."""

from __future__ import annotations

import os
from pathlib import Path

# File systems take names of 255 bytes, and what is written meanwhile has a longer one.
_MAX_NAME_BYTES = 200


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file exists; ``Path.is_file`` raises where its name is too long."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a folder exists; ``Path.is_dir`` raises where its name is too long."""
    return os.path.isdir(path)  # noqa: PTH112


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with a user's home for ``~``; ``Path.expanduser`` raises without that user."""
    try:
        return Path(os.path.expanduser(path))  # noqa: PTH111
    except ValueError:
        # No user's name has a null or half a character.
        return Path(path)


def check_output_file(what: str, path: Path, suffix: str = "") -> None:
    """Refuse a file that cannot be written, before there is anything to write.

    Args:
        what:
            What it is, for the message.
        path:
            The file.
        suffix:
            What its name must end in, if anything.

    Raises:
        ValueError: If its name is wrong, it is a folder, or its folder cannot be written to.
        FileNotFoundError: If its folder does not exist.
    """
    if suffix and path.suffix != suffix:
        raise ValueError(f"{what} must be the name of a {suffix} file, but it is {str(path)!r}.")
    refused, folder = f"{what} {str(path)!r} cannot be written", path.absolute().parent
    if not is_folder(folder):
        raise FileNotFoundError(
            f"{refused}: there is no folder {str(folder)!r}; make it, or name another file."
        )
    if len(os.fsencode(path.name)) > _MAX_NAME_BYTES:
        raise ValueError(
            f"{refused}: its name is longer than {_MAX_NAME_BYTES} bytes; shorten it."
        )
    if is_folder(path):
        raise ValueError(f"{refused}: it is a folder; name another file.")
    if not os.access(folder, os.W_OK):
        raise ValueError(
            f"{refused}: you may not write to the folder {str(folder)!r}; name a file in another."
        )
