"""Which of several arms is better, by values that were measured elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
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
from adnn_optuna.evidence.arm_values import MOST_ARMS, ValueComparisonFacts

# Where a table's first column has numbers, it tells by its name that these are no arm's.
_NAMES_OF_ROWS = (
    "seed random_state run trial repeat repetition replicate replication rep iteration epoch unit "
    "fold split dataset data_set task problem instance index id name #"
)


class ValueComparison(Told, ValueComparisonFacts):
    """What values of several arms show; printed, it is the table of means and each verdict.

    All claims together are wrong in at most 5 % of all comparisons.

    Attributes:
        values: The values of each arm, by its label.
        names: What they are of, by name: seeds, data sets; empty where they are not paired.
        per: What these are called.
        paired_differences: The statistics from which all tables and sentences come.
    """

    _telling = "model_comparisons"


def compare_values(
    values: pd.DataFrame | Mapping[str, Sequence[float]] | str | os.PathLike[str],
    *,
    minimize: bool = False,
    margin: float | None = None,
    baseline: str | None = None,
    sequential: bool = False,
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
        values: The values of two or more arms by their labels, in the same order of seeds, or
            with these as index or keys; or a data frame, or a CSV file, whose columns are arms and
            whose rows are seeds, with NaN or nothing where a value is missing. A first column of
            words, or one called ``seed`` or the like, names the rows.
        minimize: Whether lower values are better.
        margin: The difference, in the values' unit, up to which two arms are as good as each
            other. If :obj:`None`, no verdict is *equivalent*.
        baseline: The label of an arm, with which alone each other arm is compared: n arms make
            n - 1 claims instead of all pairs, so their intervals are narrower.
        sequential: Whether you looked at fewer values before, or will add further ones. Then the
            intervals are wider, and valid after each row.
        paired: Whether the values of a row belong together. If not, arms may have different
            numbers of values, which must be planned before any is seen: the intervals are Welch's.

    Returns:
        What the values show.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is wrong: there are fewer than two arms or more than 100, arms
            or rows of one name, values that are no numbers, or missing ones that are not paired.
        FileNotFoundError: If there is no such file.
    """
    if margin is not None:
        check_positive("margin", margin)
    if sequential and not paired:
        raise WrongValueError(
            "sequential must be False if paired is False; got True. Omit sequential, or pair the "
            "values: intervals of unpaired values are valid for planned numbers of values only."
        )
    if isinstance(values, str | os.PathLike):
        table = _read_csv(Path(values))
    elif isinstance(values, Mapping):
        table = _frame(values, paired=paired)
    else:
        wanted = "a mapping, a data frame or the name of a CSV file"
        check_type("values", values, pd.DataFrame, wanted)
        table = _with_named_rows(values)
    arms = {str(label): _numbers(label, table.iloc[:, i]) for i, label in enumerate(table)}
    if len(arms) < table.shape[1]:
        raise WrongValueError(f"values has two arms of one name: {', '.join(map(str, table))}.")
    if len(arms) < 2 or not len(table):
        raise WrongValueError(
            f"values has {len(arms)} arms and {len(table)} rows, but it takes two arms to compare."
        )
    if len(arms) > MOST_ARMS:
        raise WrongValueError(
            f"values must have at most {MOST_ARMS} arms; got {len(arms)}. Compare fewer: the more "
            "claims, the wider each interval."
        )
    if baseline is not None and baseline not in arms:
        raise WrongValueError(
            f"baseline must be the label of an arm; got {baseline!r}. Available: "
            f"{', '.join(map(repr, arms))}."
        )
    names = [str(name) for name in table.index]
    per = "seed" if table.index.name is None else str(table.index.name)
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
        looks_again=sequential,
        is_paired=paired,
        baseline=baseline,
    )


def _frame(values: Mapping[str, Sequence[float]], *, paired: bool) -> pd.DataFrame:
    """Return values by their arms as a data frame, where they have indices paired by these."""
    columns = {label: pd.Series(of_arm) for label, of_arm in values.items()}
    if paired:
        if len({*map(len, columns.values())}) > 1:
            counts = ", ".join(f"{label!r} has {len(of)}" for label, of in columns.items())
            raise WrongValueError(
                f"{counts} values: give one for each seed, NaN where it is missing; or say "
                "paired=False, if they have no seeds in common."
            )
        return pd.DataFrame(columns)
    for label, column in columns.items():
        _check_none_is_missing(label, _numbers(label, column))
    return pd.DataFrame({k: column.reset_index(drop=True) for k, column in columns.items()})


def _numbers(label: object, column: pd.Series[Any]) -> np.ndarray:
    """Return the values of an arm, NaN where one is missing; refuse what is no number."""
    numbers = pd.to_numeric(column, errors="coerce")
    # To pandas, dates are numbers.
    is_wrong = (numbers.isna() & column.notna()) | (column.dtype.kind in "cmM")
    if is_wrong.any():
        raise WrongTypeError(
            f"values must be numbers, but {str(label)!r} has {column[is_wrong].iloc[0]!r:.100}; "
            "give its values as numbers, or leave it out."
        )
    return numbers.to_numpy(dtype=float, na_value=math.nan)


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
    table = pd.DataFrame()
    try:
        for separator in ",;\t":
            # As text, for names of rows are none as numbers.
            table = pd.read_csv(
                file, sep=separator, encoding="utf-8-sig", dtype=str, skipinitialspace=True
            )
            if table.shape[1] > 1:
                break
    except Exception as error:  # noqa: BLE001 - of whatever unpacks a file that is packed
        raise WrongValueError(
            f"The file {str(file)!r} is no table of comma-separated values ({first_line(error)})."
        ) from None
    is_number = pd.to_numeric(pd.Series(table.columns), errors="coerce").notna()
    # Where rows have more cells than the header, pandas takes the first ones for an index.
    if is_number.all() or not isinstance(table.index, pd.RangeIndex):
        raise WrongValueError(
            f"The file {str(file)!r} has no header for all columns; name them in the first line."
        )
    return _with_named_rows(table.dropna(axis=1, how="all"))


def _with_named_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without its first column, if that names the rows, by these names."""
    if not table.shape[1]:
        return table
    # As pandas calls a column without a name.
    first = str(table.columns[0]).lower().replace(" ", "_").removeprefix("unnamed:_0")
    column = table.iloc[:, 0]
    is_named = first.removesuffix("_id").removesuffix("s") in ("", *_NAMES_OF_ROWS.split())
    if is_named or (column.notna().any() and pd.to_numeric(column, errors="coerce").isna().all()):
        return table.iloc[:, 1:].set_axis(pd.Index([*map(str, column)], name=first or None))
    return table
