"""What is there on disk, asked so that names that no file can have are not there."""

from __future__ import annotations

import os


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file exists; ``Path.is_file`` raises where its name is too long."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a folder exists; ``Path.is_dir`` raises where its name is too long."""
    return os.path.isdir(path)  # noqa: PTH112
