"""The conversion of a table's columns to numbers, and the replacement of missing values."""

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._attributes import Json
from adnn_optuna._checks import WrongValueError
from adnn_optuna.networks._arrays import Array, Indices, check_is_array, checked_inputs, named

if TYPE_CHECKING:
    import pandas as pd

_MAX_CATEGORIES = 1000
# A category is rare if it has fewer training rows than the first number, or a smaller share than
# the second.
_LEAST_ROWS = 2
_LEAST_SHARE = 0.01


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Rules for converting raw inputs to numbers: one feature per column or category."""

    # Each column of a table, with its categories. Each category becomes a feature of 0 and 1. A
    # column of numbers has None instead of categories. A category is None if redrawn splits do not
    # use its feature. If inputs are not a table, `columns` is None.
    columns: tuple[tuple[str, tuple[str | None, ...] | None], ...] | None = None
    # For each feature, the number that replaces missing values; empty if missing values are not
    # allowed.
    fill: tuple[float, ...] = ()
    # The columns with one more feature, for rare and for unknown categories. In other columns, all
    # features of an unknown category are 0. If `others` is None, unknown categories raise an
    # error.
    others: tuple[str, ...] | None = None

    def blocks(self) -> Iterator[tuple[str, tuple[str | None, ...] | None, slice]]:
        """Yield each column of a table, its categories, and the slice of its features."""
        end = 0
        for name, categories in self.columns or ():
            begin = end
            if categories is None:
                end += 1
            else:
                end += len(categories) + (name in (self.others or ()))
            yield name, categories, slice(begin, end)

    @property
    def config(self) -> Json:
        """The configuration in JSON that a study stores."""
        fields: Json = json.loads(json.dumps(vars(self)))  # JSON turns tuples into lists.
        return {k: v for k, v in fields.items() if v not in ([], None) or k == "columns"}

    def feature(self, index: int) -> str:
        """Return the name of a feature's column or, without columns, the feature's number."""
        names = [name for name, _, block in self.blocks() if block.start <= index < block.stop]
        if names:
            return repr(names[0])
        return str(index)

    def encoded(self, raw: Any, name: str = "inputs", *, may_lack: bool = False) -> Array:
        """Return an array or a table as finite numbers. With ``may_lack``, NaN is allowed.

        For a data set from a table, an array must have numbers that are already encoded.
        """
        may_lack |= bool(self.fill)
        check_is_array(name, raw)
        if self.columns is not None and not isinstance(raw, np.ndarray):
            raw = self._numbers(name, raw, may_lack=may_lack)
        return self.filled(checked_inputs(name, raw, may_lack=may_lack))

    def _numbers(self, name: str, raw: Any, *, may_lack: bool) -> NDArray[np.float64]:
        """Return a table's columns as numbers, one feature for each category.

        Missing values are NaN.
        """
        import pandas as pd

        columns = self.columns or ()
        expected = {column for column, _ in columns}
        names = map(str, getattr(raw, "columns", ()))
        column_counts = Counter(names)
        column_counts.subtract(expected)
        wrong = [column for column, n in column_counts.items() if n]
        if wrong:
            raise WrongValueError(
                f"{name} must be a table of the data set's columns, each once, but differs in "
                f"{named(sorted(wrong))}. Rename, add or drop some."
            )
        table = raw.set_axis(raw.columns.map(str), axis=1).infer_objects()
        n_missing = table.isna().sum()
        if not may_lack and n_missing.any():
            missing = n_missing[n_missing > 0]
            texts = [f"{column!r} ({n} rows)" for column, n in missing.items()]
            lacking = ", ".join(texts)
            raise WrongValueError(
                f"{name} lacks values in {lacking}. Replace them, pass missing='impute', or omit "
                "these rows or columns."
            )
        features = [np.empty((len(table), 0))]
        for column, categories in columns:
            if categories is None:
                numbers = pd.to_numeric(table[column])
                features.append(numbers.to_numpy(np.float64, na_value=np.nan)[:, None])
            else:
                features.append(self._indicators(name, table[column], categories))
        return np.concatenate(features, axis=1)

    def _indicators(
        self, name: str, values: "pd.Series[Any]", categories: Sequence[str | None]
    ) -> NDArray[np.float64]:
        """Return a column's features of 0 and 1, one for each category. Missing values are NaN."""
        lacks = values.isna().to_numpy()
        text = values.astype(object).astype(str)
        # In a column with missing values, pandas stores whole numbers as floats.
        if values.dtype.kind == "f" and not text[~lacks].isin(categories).any():
            text = values.convert_dtypes().astype(str)
        unknown = sorted(set(text[~lacks]) - set(categories))
        if unknown and self.others is None:
            raise WrongValueError(
                f"The column {values.name!r} of {name} has the categories {named(unknown)}, but "
                f"those known are {named(categories)}."
            )
        indices = {category: i for i, category in enumerate(categories)}
        codes = np.array([indices.get(category, -1) for category in text])
        category_codes = [*range(len(categories))]
        if values.name in (self.others or ()):
            category_codes.append(-1)
        has_category = codes[:, None] == category_codes
        return np.where(lacks[:, None], np.nan, has_category)

    def filled(self, array: Array) -> Array:
        """Return numbers with missing values replaced by ``fill``, if it is set."""
        # A wrong number of features raises an error later.
        if array.dtype.kind != "f" or len(self.fill) != array.shape[-1]:
            return array
        return np.where(np.isnan(array), self.fill, array)


def columns_of(table: Any, train: Indices, layout: Preprocessing) -> Preprocessing:
    """Return the columns of a pandas DataFrame with their categories, or None for other types.

    With ``layout.others``, unknown categories and categories that are rare in the training rows
    have a common feature. Each column in the layout keeps its number of features.
    """
    pd = sys.modules.get("pandas")  # If pandas is not imported, table is not a DataFrame.
    if pd is None or not isinstance(table, pd.DataFrame):
        return Preprocessing()
    name_counts = Counter(map(str, table.columns))
    repeated = [name for name, n in name_counts.items() if n > 1]
    if repeated:
        raise WrongValueError(
            f"x must have different names of columns; got {named(repeated)} more than once. "
            "Rename or omit one."
        )
    columns = []
    with_rare = []
    sizes = {name: len(categories or ()) for name, categories in layout.columns or ()}
    renamed = table.infer_objects().set_axis(table.columns.map(str), axis=1)
    for name, values in renamed.items():
        categories = _categories(name, values)
        if layout.others is not None and categories is not None:
            categories, has_rare = _frequent(categories, values.iloc[train], sizes.get(name))
            if has_rare:
                with_rare.append(name)
        if categories is not None and len(categories) > _MAX_CATEGORIES:
            raise WrongValueError(
                f"The column {name!r} has {len(categories)} categories, more than "
                f"{_MAX_CATEGORIES}. Merge some, or omit it."
            )
        columns.append((name, None if categories is None else tuple(categories)))
    columns_with_rare = layout.others
    if columns_with_rare is not None and not sizes:
        columns_with_rare = tuple(with_rare)
    return Preprocessing(columns=tuple(columns), others=columns_with_rare)


def _frequent(
    categories: Sequence[str], trained: "pd.Series[Any]", size: int | None
) -> tuple[list[str | None], bool]:
    """Return the frequent categories in the training rows, and whether others are rare.

    With a ``size``, the list has this length: it has the most frequent categories, and is padded
    with None.
    """
    values = trained.dropna().astype(object)
    counts = values.astype(str).value_counts()
    least = max(_LEAST_ROWS, _LEAST_SHARE * len(trained))
    frequent = [category for category in categories if counts.get(category, 0) >= least]
    counts_of_frequent = counts[frequent]
    # Without rare training rows, the weights of this feature would not be trained.
    has_rare = bool(counts.sum() > counts_of_frequent.sum())
    if size is None:
        return [*frequent], has_rare
    most = counts_of_frequent.nlargest(size).index
    columns = [category for category in frequent if category in most]
    n_empty = size - len(columns)
    return columns + [None] * n_empty, has_rare


def _categories(name: str, values: "pd.Series[Any]") -> list[Any] | None:
    """Return the categories of a column, or None for a column of numbers."""
    import pandas as pd

    kind = values.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return values.cat.categories.astype(str).tolist()
    if pd.api.types.is_string_dtype(kind):
        return _categories_of_strings(name, values)
    if not pd.api.types.is_numeric_dtype(kind):
        raise WrongValueError(
            f"The column {name!r} must hold numbers or categories; got the dtype {kind}. "
            "Convert or omit it."
        )
    return None


def _categories_of_strings(name: str, values: "pd.Series[Any]") -> list[str] | None:
    """Return the categories of a column of strings, or None if all values are numbers."""
    import pandas as pd

    text = values.dropna().astype(str)
    are_texts = pd.to_numeric(text, errors="coerce").isna()
    texts = text[are_texts]
    if 0 < len(texts) < len(values) / 2:
        raise WrongValueError(
            f"The column {name!r} holds numbers, but in {len(texts)} rows "
            f"{named(sorted(set(texts)))}. Replace them, or convert it to pandas' category."
        )
    if len(text) and not len(texts):
        return None
    categories = sorted(set(text))
    if 1 < len(categories) == len(values):
        raise WrongValueError(
            f"The column {name!r} must have texts that repeat; got another one in each of "
            f"{len(values)} rows. Omit it, or make numbers of it."
        )
    return categories


def imputed(
    columns: Preprocessing, inputs: dict[str, Array]
) -> tuple[Preprocessing, dict[str, Array]]:
    """Return the columns' replacements for missing values, and the inputs without gaps.

    The replacements come from the training part.
    """
    x_train = inputs["train"]
    rows = x_train.reshape(-1, x_train.shape[-1])
    fill = np.nanmedian(rows, axis=0)
    for _, categories, block in columns.blocks():
        if categories is not None:
            counts = np.nansum(rows[:, block], axis=0)
            most_frequent = counts.argmax()
            fill[block] = np.arange(len(counts)) == most_frequent
    numbers = tuple(fill.tolist())
    columns = dataclasses.replace(columns, fill=numbers)
    filled = {split: columns.filled(x) for split, x in inputs.items()}
    return columns, filled
