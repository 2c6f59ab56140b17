"""Which of several arms is better, by values that were measured elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adnn_optuna._checks import (
    NoSuchFileError,
    WrongTypeError,
    WrongValueError,
    check_positive,
    check_type,
    first_line,
    is_file,
)
from adnn_optuna.api._told import Told
from adnn_optuna.evidence.arm_values import ValueComparisonFacts

# Where a table's first column has numbers, it tells by its name that these are no arm's.
_NAMES_OF_ROWS = (
    "seed random_state run trial repeat repetition replicate replication rep iteration epoch unit "
    "fold split dataset data_set task problem instance index id name #"
)
_LARGEST = 1e300


class ValueComparison(Told, ValueComparisonFacts):
    """What values of several arms show; printed, it is the table of means and each verdict.

    All claims together are wrong in at most 5 % of all comparisons.

    Args:
        values: The values of each arm, by its label.
        names: What they are of, by name: seeds, data sets; empty where they are not paired.
        per: What these are called.
        maximize: Whether higher values are better.
        equivalence: The difference up to which two arms are as good as each other, if any.
        looks_again: Whether the intervals pay for looking again after each seed.
        is_paired: Whether the values of all arms are of the same seeds.

    Attributes:
        paired_differences: The statistics from which all tables and sentences come.
    """

    _telling = "model_comparisons"


def compare_values(
    values: pd.DataFrame | Mapping[str, Sequence[float]] | str | os.PathLike[str],
    *,
    minimize: bool = False,
    margin: float | None = None,
    planned: bool = True,
    paired: bool = True,
) -> ValueComparison:
    """Tell which of several arms is better, by values that were measured elsewhere.

    The values of a row, one of each arm, are of the same seed, or data set, fold, problem: what
    these have in common goes out of the differences. Each two arms are compared, and all claims
    together are wrong in at most 5 % of all comparisons.

    Example:

        .. testcode::

            import adnn_optuna as adnn

            small = [0.871, 0.868, 0.874, 0.866, 0.879, 0.870]
            wide = [0.884, 0.879, 0.881, 0.880, 0.886, 0.882]
            found = adnn.compare_values({"small": small, "wide": wide})
            print(found.differences()["verdict"].iloc[0])

        .. testoutput::

            worse

    Args:
        values: The values of two or more arms by their labels, in the same order of seeds; or a
            data frame, or a CSV file, whose columns are arms and whose rows are seeds, with NaN or
            nothing where a value is missing. A first column of words, or one called ``seed`` or
            the like, names the rows.
        minimize: Whether lower values are better.
        margin: The difference, in the values' unit, up to which two arms are as good as each
            other. If :obj:`None`, no verdict is *equivalent*.
        planned: Whether the number of values was planned before any was seen. Whoever looked, and
            went on until it pleased, or will go on, pays for it with wider intervals.
        paired: Whether the values of a row belong together. If not, arms may have different
            numbers of values, which must have been planned: the intervals are Welch's.

    Returns:
        What the values show.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is wrong: there are less than two arms, arms or rows of one
            name, values that are no numbers, or missing ones that are not paired.
        FileNotFoundError: If there is no such file.
    """
    check_type("minimize", minimize, bool, "True or False")
    check_type("planned", planned, bool, "True or False")
    check_type("paired", paired, bool, "True or False")
    if margin is not None:
        check_positive("margin", margin)
    if not (planned or paired):
        raise WrongValueError(
            "planned is False and so is paired, but intervals of values that are not paired hold "
            "for planned numbers of them only; pair them, or plan."
        )
    if isinstance(values, str | os.PathLike):
        values = _read_csv(Path(values))
    elif isinstance(values, Mapping):
        values = _frame(values, paired=paired)
    elif isinstance(values, pd.DataFrame) and values.shape[1]:
        values = _with_named_rows(values, map(str, values.iloc[:, 0]))
    check_type("values", values, pd.DataFrame, "a mapping, a data frame or the name of a CSV file")
    if not len(values) and values.shape[1]:
        raise WrongValueError("values has no rows, but it takes at least one.")
    arms = {str(label): _numbers(str(label), values.iloc[:, i]) for i, label in enumerate(values)}
    if len(arms) < values.shape[1]:
        raise WrongValueError(f"values has two arms of one name: {', '.join(map(str, values))}.")
    if len(arms) < 2:
        raise WrongValueError(f"values has {len(arms)} arms, but it takes two to compare.")
    names = [str(name) for name in values.index]
    per = "seed" if values.index.name is None else str(values.index.name)
    if (is_again := pd.Index(names).duplicated()).any():
        raise WrongValueError(
            f"values has {per} {names[is_again.argmax()]} twice, but each is to count once; leave "
            "one out, or give them names of their own."
        )
    if not paired:
        names, arms = [], {label: _filled(label, array) for label, array in arms.items()}
    return ValueComparison(
        {label: array.tolist() for label, array in arms.items()},
        tuple(names),
        per,
        maximize=not minimize,
        equivalence=None if margin is None else float(margin),
        looks_again=not planned,
        is_paired=paired,
    )


def _frame(values: Mapping[str, Sequence[float]], *, paired: bool) -> pd.DataFrame:
    """Return values by their arms as a data frame; refuse those of different seeds."""
    columns = {}
    for label, of_arm in values.items():
        try:
            # Of a set pandas says that it has no order.
            is_known = isinstance(of_arm, pd.Series | Mapping | AbstractSet)
            columns[label] = pd.Series(of_arm if is_known else [*of_arm])
        except TypeError:
            raise WrongTypeError(
                f"The values of {label!r} must be a sequence of numbers, but are {of_arm!r:.100}."
            ) from None
    first = next(iter(columns.values()), pd.Series())
    if paired:
        for label, column in columns.items():
            if len(column) != len(first):
                raise WrongValueError(
                    f"{label!r} has {len(column)} values, but {next(iter(columns))!r} has "
                    f"{len(first)}: give one for each seed, NaN where it is missing; or say "
                    "paired=False, if they have no seeds in common."
                )
            if not column.index.equals(first.index):
                raise WrongValueError(
                    f"The values of {label!r} and {next(iter(columns))!r} have different indices, "
                    "so they are of other seeds; give a data frame."
                )
        return pd.DataFrame(columns)
    for label, column in columns.items():
        _check_none_is_missing(label, _numbers(label, column))
    return pd.DataFrame({k: column.reset_index(drop=True) for k, column in columns.items()})


def _numbers(label: str, column: pd.Series[Any]) -> np.ndarray:
    """Return the values of an arm, NaN where one is missing; refuse what is no number."""
    numbers, is_known = np.full(len(column), math.nan), column.notna()
    for i in np.flatnonzero(is_known):
        # To pandas, dates are numbers.
        if not isinstance(value := column.iloc[i], Real | Decimal | np.bool_):
            raise WrongTypeError(
                f"values must be numbers, but {label!r} has {value!r:.100}; give its values as "
                "numbers, or leave it out."
            )
        size: Any = abs(value)
        if _LARGEST < size != math.inf:
            raise WrongValueError(
                f"{label!r} has a value above {_LARGEST:g}, of which differences are no numbers; "
                "give all values in a larger unit."
            )
        numbers[i] = value
    return numbers


def _filled(label: str, array: np.ndarray) -> np.ndarray:
    """Return unpaired values without the end that only fills up a table."""
    known = array[: len(array) - int(np.isnan(array[::-1]).cumprod().sum())]
    _check_none_is_missing(label, known)
    return known


def _check_none_is_missing(label: str, array: np.ndarray) -> None:
    """Refuse unpaired values one of which is missing."""
    if not len(array) or not np.isfinite(array).all():
        raise WrongValueError(
            f"{label!r} lacks a finite value, which may depend on what it would be: measure it, "
            "or leave it out if you know why it is missing."
        )


def _read_csv(file: Path) -> pd.DataFrame:
    """Return the table of a CSV file, whose first column may name its rows."""
    if not is_file(file):
        raise NoSuchFileError(f"There is no file {str(file)!r}; give a CSV file.")
    try:
        # As text, for pandas gives two columns of one name different ones.
        options: Any = {"header": None, "dtype": str, "skipinitialspace": True}
        for separator in ",;\t":
            cells = pd.read_csv(file, sep=separator, encoding="utf-8-sig", **options)
            if cells.shape[1] > 1:
                break
    except Exception as error:  # noqa: BLE001 - of whatever unpacks a file that is packed
        raise WrongValueError(
            f"The file {str(file)!r} is no table of comma-separated values ({first_line(error)})."
        ) from None
    cells = cells.dropna(axis=1, how="all")
    header = cells.iloc[0].fillna("").str.strip()
    numbers = cells.iloc[1:].apply(pd.to_numeric, errors="coerce")
    if pd.to_numeric(header, errors="coerce").notna().all():
        raise WrongValueError(
            f"The file {str(file)!r} has no header; name its arms in the first line."
        )
    # What is no number stays what it is, so that it can be told.
    is_known = numbers.notna() | cells.iloc[1:].isna()
    table: pd.DataFrame = numbers.where(is_known, cells.iloc[1:]).set_axis(header, axis=1)
    return _with_named_rows(table.reset_index(drop=True), cells.iloc[1:, 0].fillna("").str.strip())


def _with_named_rows(table: pd.DataFrame, rows: Iterable[str]) -> pd.DataFrame:
    """Return a table without its first column, if that names the rows, by these names."""
    # As pandas calls a column without a name.
    first = str(table.columns[0]).lower().replace(" ", "_").removeprefix("unnamed:_0")
    column = table.iloc[:, 0]
    is_named = first.removesuffix("_id").removesuffix("s") in ("", *_NAMES_OF_ROWS.split())
    if is_named or (column.notna().any() and pd.to_numeric(column, errors="coerce").isna().all()):
        return table.iloc[:, 1:].set_axis(pd.Index([*rows], name=first or None))
    return table
