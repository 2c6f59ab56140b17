"""CSV files, packed by gzip or not: their tables, and which files are refused."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

from adnn_optuna._checks import WrongInputError, WrongValueError, first_line
from adnn_optuna._packed_files import read_unpacked

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def read_csv(
    file: Path, separators: str = ",", *, most_columns: float = math.inf, **options: Any
) -> pd.DataFrame:
    """Return the table of a CSV file; its separator is the first that separates columns.

    The ``options`` are those of :func:`pandas.read_csv`.
    """
    import pandas as pd

    try:
        content = io.BytesIO(read_unpacked(file))
        separator, names = _header(content, separators)
        _check_names(file, names, most_columns)
        table: pd.DataFrame = pd.read_csv(content, sep=separator, **options)
    except WrongInputError:
        raise
    # Whatever unpacks and reads a file raises anything.
    except Exception as error:
        raise WrongValueError(
            f"{str(file)!r} must be a valid CSV file; got {first_line(error)}. Write it again."
        ) from error
    return table


def _header(content: IO[bytes], separators: str) -> tuple[str, list[str]]:
    """Return the separator and the names as they stand there: pandas numbers those that repeat."""
    text = io.TextIOWrapper(content, "utf-8-sig", newline="")
    separator, names = separators[0], list[str]()
    for separator in separators:
        rows = csv.reader(text, delimiter=separator, skipinitialspace=True)
        names = next(filter(None, rows), [])
        text.seek(0)
        if len(names) > 1:
            break
    text.detach()
    return separator, names


def _check_names(file: Path, names: list[str], most: float) -> None:
    if len(names) > most:
        raise WrongValueError(
            f"{str(file)!r} must have at most {most} columns; got {len(names)}. Omit some."
        )
    repeated = [name for name, n in Counter(names).items() if n > 1 and name]
    if repeated and all(re.fullmatch(r"[\d.+-]*", name) for name in names):
        raise WrongValueError(
            f"{str(file)!r} must have a header for all columns. Name them in the first line."
        )
    if repeated:
        raise WrongValueError(
            f"{str(file)!r} must have different names of columns; got {repeated[0]!r:.100} more "
            "than once. Rename or omit one."
        )
