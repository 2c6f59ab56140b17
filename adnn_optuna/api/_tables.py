"""Read values of several arms from mappings, data frames and CSV files."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy

from adnn_optuna._checks import (
    FilePath,
    NoSuchFileError,
    WrongTypeError,
    WrongValueError,
    check_type,
    is_file,
    shown,
)
from adnn_optuna._files import read_csv
from adnn_optuna.api._splits import is_of_splits
from adnn_optuna.results.arm_comparison import MOST_ARMS

# Columns with these names are not arms, because they name the rows. pandas gives the first of
# these names to the first column of a file without a header.
_NAMES_OF_ROWS = (
    "unnamed:_0 seed random_state run trial repeat repetition replicate replication rep iteration "
    "dataset data_set task problem instance index id name item question passage example sample "
    "document subject patient user #"
)
_IRREGULAR = ("s", "x", "z", "y", "h")  # The plural of a word with such an end may be irregular.
_GROUP = "group"  # The name of the groups' column, if the user passed labels as a sequence.
_FEWEST_FOR_ORDER = 7  # With fewer rows, rows are too often sorted by chance.
_P_OF_SORTED = 0.001


def table_of(
    values: Any,
    baseline_file: FilePath | None,
    order: str | None,
    groups: str | Sequence[object] | None,
    *,
    paired: bool,
) -> pd.DataFrame:
    """Return a table. Its columns are arms, and its index has the names and groups of rows.

    The last column is the arm of a ``baseline_file``.
    """
    if baseline_file is not None:
        return _in_order(_of_two_files(values, baseline_file, groups, paired=paired), order)
    if isinstance(values, str | os.PathLike):
        table = _read_csv(Path(values))
    elif isinstance(values, Mapping):
        table = _frame(values, paired=paired)
    else:
        table_rule = "a mapping, a data frame or the name of a CSV file"
        check_type("values", values, pd.DataFrame, table_rule)
        table = values
        if table.shape[1] > 2 * MOST_ARMS:  # Some columns may name the rows.
            raise WrongValueError(
                f"values must have at most {2 * MOST_ARMS} columns; got {table.shape[1]}. Compare "
                "fewer: the more claims, the wider each interval."
            )
    table, column = _with_groups(table, groups)
    return _with_named_rows(_in_order(table, order), column)


def _with_groups(
    table: pd.DataFrame, groups: str | Sequence[object] | None
) -> tuple[pd.DataFrame, str | None]:
    """Return a table that contains its groups, and the name of their column or index level."""
    if groups is None:
        return table, None
    if isinstance(groups, str):
        names = [name for name in (*table.index.names, *table) if name is not None]
        if groups not in names:
            available = ", ".join(map(str, names))
            raise WrongValueError(
                f"groups must be a column, or one label a row; got {shown(groups)}. Available: "
                f"{available}."
            )
        return table, groups
    labels = [*groups]
    n_labels = len(labels)
    n_rows = len(table)
    if n_labels != n_rows or _GROUP in table:
        raise WrongValueError(
            f"groups must be one label for each of the {n_rows} rows, or the name of a column; "
            f"got {n_labels} labels."
        )
    column = pd.Series(labels, index=table.index)
    return table.assign(**{_GROUP: column}), _GROUP


def means_of_groups(
    arms: Mapping[str, np.ndarray], index: pd.Index[Any], groups: str | Sequence[object]
) -> tuple[dict[str, np.ndarray], pd.Index[Any]]:
    """Return the mean of each arm in each group, and the groups.

    If a value is missing, the mean is NaN.
    """
    name_of_groups = _GROUP
    if isinstance(groups, str):
        name_of_groups = groups
    level = _row_name(name_of_groups)
    numbers, labels = pd.factorize(index.get_level_values(level))
    sizes = np.bincount(numbers)
    means = {label: np.bincount(numbers, array) / sizes for label, array in arms.items()}
    return means, pd.Index(labels, name=level)


def _as_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as numbers. Cells without a number or a truth value become NaN."""
    column = column.replace({"True": "1", "False": "0"})
    try:
        return pd.to_numeric(column, errors="coerce")
    except OverflowError:  # An integer is larger than any float.
        return pd.to_numeric(column.astype(str), errors="coerce")


def _in_order(table: pd.DataFrame, order: str | None) -> pd.DataFrame:
    """Sort the rows of a table by the column ``order``, and remove this column."""
    if order in (None, "rows"):
        return table
    columns = table.reset_index() if order in table.index.names else table
    if order not in columns:
        raise WrongValueError(
            f"order must be 'rows' or a column; got {order!r}. Available: "
            f"{', '.join(map(str, columns))}."
        )
    times = _as_numbers(columns[order])
    if times.isna().any():
        times = pd.to_datetime(columns[order], errors="coerce")
    if times.isna().any():
        raise WrongValueError(
            f"order must be a column of numbers or times; got {order!r}. Name another column."
        )
    ordered = table.iloc[np.argsort(times.to_numpy(), kind="stable")]
    return ordered.drop(columns=order, errors="ignore")


def _of_two_files(
    values: Any,
    baseline_file: FilePath,
    groups: str | Sequence[object] | None,
    *,
    paired: bool,
) -> pd.DataFrame:
    """Return the table of two files, each with one column of numbers."""
    check_type("values", values, (str | os.PathLike), "a CSV file, as baseline_file is set")
    file = Path(values)
    baseline = Path(baseline_file)
    if is_file(file) and is_file(baseline) and file.samefile(baseline):
        raise WrongValueError(
            f"baseline_file must be another file than values; got {str(file)!r} twice. Pass the "
            "file with the baseline's values."
        )
    labels = file.stem, baseline.stem
    if file.stem == baseline.stem:
        labels = str(file), str(baseline)
    if not (groups is None or isinstance(groups, str)):
        raise WrongValueError(
            "groups must be the name of a column of both files if baseline_file is set; got "
            f"{type(groups).__name__}."
        )
    columns = _column_of(file, groups), _column_of(baseline, groups)
    rows, baseline_rows = (column.index for column in columns)
    if paired and not rows.isin(baseline_rows).any():
        raise WrongValueError(
            f"values and baseline_file must have common rows; got {shown([*rows])} and "
            f"{shown([*baseline_rows])}. Use the same seeds, or pass paired=False."
        )
    return _frame(dict(zip(labels, columns, strict=True)), paired=paired)


def _column_of(file: Path, groups: str | None = None) -> pd.Series[Any]:
    """Return the only column of numbers in a file. Its index names the rows and groups."""
    name = str(file)
    table, column = _with_groups(_read_csv(file), groups)
    table = _with_named_rows(table, column)
    n_columns = table.shape[1]
    if n_columns != 1:
        raise WrongValueError(
            f"{name!r} must have one column of numbers; got {n_columns}. Remove the others."
        )
    index = table.index
    if not index.is_unique:
        twice = index[index.duplicated()][0]
        raise WrongValueError(
            f"{name!r} must name each row once; got {shown(twice)} twice. Rename one, or add a "
            "column such as item."
        )
    return table.iloc[:, 0]


def runs_of(file: Path) -> list[float]:
    """Return the values of a file with one column of numbers."""
    return [float(value) for value in numbers_of(file.stem, _column_of(file))]


def _frame(values: Mapping[str, Any], *, paired: bool) -> pd.DataFrame:
    """Return the arms' values as a data frame, paired by index if the arms have an index."""
    columns = {}
    for label, of_arm in values.items():
        if isinstance(of_arm, Mapping) and "test_score" in of_arm:  # A result of scikit-learn.
            columns[label] = _column(label, of_arm["test_score"]).rename_axis("fold")
        else:
            columns[label] = _column(label, of_arm)
    # pandas drops the name of an index if only some arms have it.
    names = itertools.chain.from_iterable(column.index.names for column in columns.values())
    named = [name for name in names if name is not None]
    if paired:
        sizes = {label: len(column) for label, column in columns.items()}
        if len({*sizes.values()}) > 1:
            counts = ", ".join(f"{label!r} has {size}" for label, size in sizes.items())
            raise WrongValueError(
                f"Arms must have the same number of values; got {counts}. Pass NaN, or leave the "
                "cell empty, for a missing value, or paired=False if arms share no seeds."
            )
    else:
        for label, column in columns.items():
            _check_none_is_missing(label, numbers_of(label, column))
            columns[label] = column.reset_index(drop=True)  # Arms may have different lengths.
    table = pd.DataFrame(columns)
    if named and table.index.nlevels == 1:
        table.index.name = named[0]
    return table


def _column(label: object, of_arm: Any) -> pd.Series[Any]:
    """Return the values of an arm as a column. Raise an error for sets and other dimensions."""
    is_ordered = isinstance(of_arm, Iterable) and not isinstance(of_arm, AbstractSet)
    if not is_ordered or getattr(of_arm, "ndim", 1) != 1:
        of_shape = ""
        if hasattr(of_arm, "shape"):
            of_shape = f" of shape {of_arm.shape}"
        raise WrongTypeError(
            f"values[{label!r}] must be a sequence of numbers; got {type(of_arm).__name__}"
            f"{of_shape}. Pass a list with one number for each seed."
        )
    return pd.Series(of_arm)


def _read_csv(file: Path) -> pd.DataFrame:
    """Return the table of a CSV file, in which some columns may name the rows."""
    if not is_file(file):
        raise NoSuchFileError(f"{str(file)!r} must be a file that exists. Pass a CSV file.")
    # Cells are read as text, because a row may have a name such as 007.
    options = {"encoding": "utf-8-sig", "dtype": str, "skipinitialspace": True}
    table = read_csv(file, ",;\t", most_columns=2 * MOST_ARMS, **options)
    is_number = _as_numbers(pd.Series(table.columns)).notna()
    # If rows have more cells than the header, pandas makes the first cells the index.
    if is_number.all() or not isinstance(table.index, pd.RangeIndex):
        raise WrongValueError(
            f"{str(file)!r} must have a header for all columns. Name them in the first line."
        )
    return table.dropna(axis=1, how="all")


def _row_name(label: object) -> str:
    return str(label).lower().replace(" ", "_")


def _with_named_rows(table: pd.DataFrame, groups: str | None) -> pd.DataFrame:
    """Return a table whose columns of row names and groups have become its index."""
    in_index = []
    if groups is not None and groups in table.index.names:
        in_index = [*table.index.names]
        table = table.reset_index()
    levels = {}
    arms = []
    for i, label in enumerate(table):
        name = _row_name(label)
        column = table.iloc[:, i]
        if label == groups and column.isna().any():
            raise WrongValueError(
                f"groups must label each row; got gaps in {groups!r}. Fill them."
            )
        is_chosen = label == groups or label in in_index
        is_named = name.removesuffix("_id").removesuffix("s") in _NAMES_OF_ROWS.split()
        has_numbers = _as_numbers(column).notna().any()
        is_first_text = i == 0 and column.notna().any() and not has_numbers
        if is_chosen or is_named or is_of_splits(str(label)) or is_first_text:
            levels[name.removeprefix("unnamed:_0")] = [*map(str, column)]
        else:
            arms.append(i)
    if not levels:
        return table
    rows = table.iloc[:, arms]
    if len(levels) == 1:
        [(name, of_rows)] = levels.items()
        return rows.set_axis(pd.Index(of_rows, name=name or None))
    return rows.set_axis(pd.MultiIndex.from_arrays([*levels.values()], names=[*levels]))


def numbers_of(label: object, column: pd.Series[Any]) -> np.ndarray:
    """Return an arm's values as floats, NaN for missing values. Other texts raise an error."""
    numbers = _as_numbers(column)
    # pandas converts dates to numbers.
    is_wrong = (numbers.isna() & column.notna()) | (column.dtype.kind in "cmM")
    if is_wrong.any():
        name = repr(str(label))
        first = column[is_wrong].iloc[0]
        is_label = str(first)[:1].isalpha()  # Unlike "80%" and "0,9".
        if is_wrong.all() and is_label and column.duplicated().any():
            raise WrongTypeError(
                "Each arm must have a column of its own, and each seed a row; got text in column "
                f"{name}. Pass table.pivot(index='seed', columns={name}, values=...)."
            )
        raise WrongTypeError(
            f"Values must be numbers such as 0.81; got {shown(first)} in {name}. Correct the "
            "values, or omit the arm."
        )
    return numbers.to_numpy(dtype=float, na_value=math.nan)


def filled(label: str, array: np.ndarray) -> np.ndarray:
    """Return the unpaired values of an arm, without empty cells at the end of its column."""
    is_missing = np.isnan(array)
    n_missing_at_end = int(is_missing[::-1].cumprod().sum())
    measured = array[: len(array) - n_missing_at_end]
    _check_none_is_missing(label, measured)
    return measured


def _check_none_is_missing(label: str, array: np.ndarray) -> None:
    """Refuse unpaired values that contain a missing or infinite value."""
    if not len(array) or not np.isfinite(array).all():
        raise WrongValueError(
            f"Unpaired values must be finite; got a missing or infinite one in {label!r}. Measure "
            "it, or omit it if it is missing for a reason that does not depend on it."
        )


def levels_of(index: pd.Index[Any]) -> list[str]:
    """Return the names of an index's levels. A level without a name has an empty text."""
    return ["" if name is None else str(name) for name in index.names]


def rows_in_words(index: pd.Index[Any]) -> tuple[str, list[str]]:
    """Return the name of the innermost level, and for each row its labels on all levels."""
    *outer_levels, last = levels_of(index)
    if not outer_levels:
        return last or "row", [*map(str, index)]
    names = []
    for *outer_labels, label in index:
        outer = zip(outer_levels, outer_labels, strict=True)
        outer_names = ", ".join(f"{level} {name}" for level, name in outer)
        names.append(f"{label} of {outer_names}")
    return last, names


def counted(name: str, *, are_groups: bool) -> str:
    """Return what sentences call rows with this name: the name, if its plural only adds an s."""
    if not name.endswith(_IRREGULAR):
        return name
    return "group" if are_groups else "row"


def check_is_unsorted(arms: Mapping[str, np.ndarray]) -> None:
    """Raise an error for rows that seem sorted by an arm, or by the difference of two arms.

    If rows are sorted by value, a sequential design finds effects that do not exist.
    """
    pairs = [*itertools.combinations(arms, 2)]
    columns = [(label, array, _P_OF_SORTED) for label, array in arms.items()]
    for a, b in pairs:
        difference = arms[a] - arms[b]
        columns.append((f"{a} - {b}", difference, _P_OF_SORTED / len(pairs)))
    for label, array, limit in columns:
        measured = array[np.isfinite(array)]
        n_measured = len(measured)
        if n_measured < _FEWEST_FOR_ORDER or not np.ptp(measured):
            continue
        correlation = scipy.stats.spearmanr(np.arange(n_measured), measured)
        if correlation.pvalue < limit:
            raise WrongValueError(
                "The rows of a sequential design must be in the order in which they were "
                f"measured; got rows that seem sorted by {label!r}. Pass order='COLUMN', or "
                "order='rows' if they were measured in this order."
            )
