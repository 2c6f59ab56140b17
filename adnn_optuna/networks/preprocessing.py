"""How raw inputs become those of a network: columns of a table, and a scale for each feature."""

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._checks import WrongValueError
from adnn_optuna.networks._arrays import checked_inputs, collected, named

if TYPE_CHECKING:
    import pandas as pd

_MAX_CATEGORIES = 1000
# Categories of fewer training rows, or of a smaller share of them, are rare.
_LEAST_ROWS, _LEAST_SHARE = 2, 0.01
# A range so narrow beside the values is that of their rounding errors.
_LEAST_RANGE = 1e-12


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How raw inputs become a network's: x = raw * factor + offset, in float64, then float32."""

    # One number for all inputs (1/255 of uint8 pixels), or learned from the training part: one for
    # each feature or channel, or a single one for all pixels.
    factor: float | tuple[float, ...] = 1.0
    offset: float | tuple[float, ...] = 0.0
    # Of tables, each column and its categories, which are features of 0 and 1; None of numbers.
    columns: tuple[tuple[str, tuple[str, ...] | None], ...] | None = None
    # Of standardised targets, in the training part.
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    # What stands for a missing value of each feature; empty where these are refused.
    fill: tuple[float, ...] = ()
    # Of tables, the columns whose rare categories are one more feature, as unknown ones are then;
    # unknown ones of other columns are 0 in all. None where these are refused.
    others: tuple[str, ...] | None = None

    @property
    def is_learned(self) -> bool:
        """Whether the scale was learned from the training part."""
        return isinstance(self.factor, tuple)

    def blocks(self) -> Iterator[tuple[str, tuple[str, ...] | None, slice]]:
        """Yield each column of a table, its categories, and where its features are."""
        end = 0
        for name, categories in self.columns or ():
            begin = end
            end += 1 if categories is None else len(categories) + (name in (self.others or ()))
            yield name, categories, slice(begin, end)

    @property
    def config(self) -> dict[str, Any]:
        """What a study stores, JSON-able."""
        # JSON makes lists of tuples.
        fields: dict[str, Any] = json.loads(json.dumps(vars(self)))
        return {k: v for k, v in fields.items() if v not in ([], None) or k == "columns"}

    def transform(self, raw: Any) -> NDArray[np.float32]:
        """Return inputs of a network for an array, or a table, as the data set was made of."""
        # A copy, as `scaled` returns what cannot be written to, or what it was given.
        return self.scaled("raw", self.encoded(raw)).astype(np.float32)

    def encoded(
        self, raw: Any, where: str = "Inputs", name: str = "raw", *, may_lack: bool = False
    ) -> NDArray[Any]:
        """Return an array's or a table's finite numbers, not yet scaled; NaN if some may lack."""
        may_lack |= bool(self.fill)
        if self.columns is not None:
            raw = self._numbers(where, name, raw, may_lack=may_lack)
        return self.filled(checked_inputs(where, name, raw, may_lack=may_lack))

    def _numbers(self, where: str, name: str, raw: Any, *, may_lack: bool) -> NDArray[np.float64]:
        """Return a table's columns as numbers, one feature for each category; NaN if missing."""
        import pandas as pd

        columns = self.columns or ()
        found = Counter(map(str, getattr(raw, "columns", ())))
        found.subtract({column for column, _ in columns})
        if wrong := [column for column, n in found.items() if n]:
            raise WrongValueError(
                f"{where}: {name} must be a table of the data set's columns, each once, but "
                f"differs in {named(sorted(wrong))}: rename, add or drop some."
            )
        table = raw.set_axis(raw.columns.map(str), axis=1).infer_objects()
        if not may_lack and (missing := {c: n for c, n in table.isna().sum().items() if n}):
            said = ", ".join(f"{column!r} ({n} rows)" for column, n in missing.items())
            raise WrongValueError(
                f"{where}: {name} lacks values in {said}: fill them in, give missing='impute', or "
                "leave these rows or columns out."
            )
        features = []
        for column, categories in columns:
            values = table[column]
            lacks = values.isna().to_numpy()
            if categories is None:
                numbers = pd.to_numeric(values)
                features.append(numbers.to_numpy(np.float64, na_value=np.nan)[:, None])
                continue
            text = values.astype(object).astype(str)
            # Whole numbers are floats in a column where some are missing.
            if values.dtype.kind == "f" and not text[~lacks].isin(categories).all():
                text = values.convert_dtypes().astype(str)
            unknown = sorted(set(text[~lacks]) - set(categories))
            if unknown and self.others is None:
                raise WrongValueError(
                    f"{where}: the column {column!r} of {name} has the categories "
                    f"{named(unknown)}, but those known are {named(categories)}."
                )
            # That of an unknown one is -1.
            codes = pd.Index(categories).get_indexer(text)[:, None]
            known = [*range(len(categories)), *([-1] if column in (self.others or ()) else [])]
            features.append(np.where(lacks[:, None], np.nan, codes == known))
        return np.concatenate(features, axis=1) if features else np.empty((len(table), 0))

    def filled(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return numbers of which those that are missing are filled in, if they are to be."""
        # Another number of features is refused by what comes next.
        if array.dtype.kind != "f" or len(self.fill) != array.shape[-1]:
            return array
        return np.where(np.isnan(array), self.fill, array)

    def scaled(self, where: str, array: NDArray[Any]) -> NDArray[Any]:
        """Return numbers scaled, those that need no scale as they are."""
        if self.factor == 1:
            return array.astype(np.float32) if array.dtype == np.uint8 else array
        if isinstance(self.factor, tuple) and len(self.factor) not in {1, array.shape[-1]}:
            raise WrongValueError(
                f"{where} has {array.shape[-1]} features, where {len(self.factor)} were learned."
            )
        factor, offset = np.asarray(self.factor), np.asarray(self.offset)
        # Kept by a data set as it is, so that none is held twice.
        parts = (factor * rows + offset for rows in _chunks(array))
        return collected(parts, array.shape, np.float32)

    def undone(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return numbers before they were scaled, but for rounding."""
        raw: NDArray[np.float64] = x.astype(np.float64) - np.asarray(self.offset)
        raw /= np.asarray(self.factor)
        return raw

    def without(self, features: Collection[int]) -> Self:
        """Return the same that leaves some features, or channels, as they are."""
        if not features:
            return self
        if not isinstance(self.factor, tuple) or len(self.factor) in {1, len(features)}:
            return dataclasses.replace(self, factor=1.0, offset=0.0)
        factor, offset = np.array(self.factor), np.array(self.offset)
        factor[[*features]], offset[[*features]] = 1, 0
        return self._with_scale(factor, offset)

    def _with_scale(self, factor: NDArray[np.float64], offset: NDArray[np.float64]) -> Self:
        factors, offsets = tuple(factor.tolist()), tuple(offset.tolist())
        return dataclasses.replace(self, factor=factors, offset=offsets)

    def learn(self, x_train: NDArray[Any]) -> Self:
        """Return the same with a scale by mean and standard deviation of the training part."""
        # Images, which are of uint8 or as high as wide, have one; sequences one for each feature.
        has_one_scale = x_train.dtype == np.uint8 or x_train.shape[1] == x_train.shape[-1]
        if isinstance(self.factor, tuple):
            has_one_scale = len(self.factor) == 1
        axes = None if x_train.ndim == 3 and has_one_scale else (*range(x_train.ndim - 1),)
        ends = x_train.min(axis=axes), x_train.max(axis=axes)
        low, high = (np.atleast_1d(end).astype(np.float64) for end in ends)
        # Squares of what is very large would overflow.
        unit = np.maximum(np.abs(low), np.abs(high))
        unit[unit == 0] = 1
        is_constant = high / unit - low / unit <= _LEAST_RANGE
        n, chunks = x_train.size / unit.size, _chunks(x_train)
        mean = sum((rows / unit).sum(axis=axes) for rows in chunks) / n
        variance = sum(((rows / unit - mean) ** 2).sum(axis=axes) for rows in chunks) / n
        std = np.where(is_constant, 1, np.sqrt(variance) * unit)
        # Rounded, since the sums of other processors differ in their last bits.
        factor = np.array([float(f"{value:.9g}") for value in 1 / std])
        # What is constant becomes 0.
        offset = np.where(is_constant, -low, np.round(-mean * unit * factor, 6))
        for _, categories, block in self.blocks():
            if categories is not None:
                factor[block], offset[block] = 1, 0
        return self._with_scale(factor, offset)

    def learn_targets(self, y_train: NDArray[Any]) -> Self:
        """Return the same with mean and standard deviation of each target in the training part."""
        targets = y_train.reshape(len(y_train), -1).astype(np.float64)
        std = targets.std(axis=0)
        std[std == 0] = 1
        # Rounded as the scale of inputs is.
        mean, std = ([float(f"{v:.9g}") for v in values] for values in (targets.mean(axis=0), std))
        return dataclasses.replace(self, target_mean=tuple(mean), target_std=tuple(std))

    def target_units(self, size: int) -> NDArray[np.float32]:
        """Return mean and standard deviation of each output's target, of shape (2, outputs)."""
        units = [self.target_mean or [0] * size, self.target_std or [1] * size]
        return np.array(units, np.float32)


PIXELS = Preprocessing(factor=1 / 255)


def columns_of(where: str, table: Any, train: NDArray[np.intp], *, merges: bool) -> Preprocessing:
    """Return the columns of a pandas DataFrame with their categories, of anything else none.

    If it ``merges`` them, those that are rare in the training rows become one, as unknown ones.
    """
    pd = sys.modules.get("pandas")  # Who has none did not import it.
    if pd is None or not isinstance(table, pd.DataFrame):
        return Preprocessing()
    columns, others = list[tuple[str, tuple[str, ...] | None]](), list[str]()
    for name, values in table.infer_objects().items():
        kind = values.dtype
        categories: Any = None
        if isinstance(kind, pd.CategoricalDtype):
            categories = values.cat.categories.astype(str).tolist()
        elif pd.api.types.is_string_dtype(kind):
            categories = _categories(where, str(name), values)
        elif not pd.api.types.is_numeric_dtype(kind):
            raise WrongValueError(
                f"{where}: the column {str(name)!r} is of the dtype {kind}: make numbers or "
                "categories of it, or leave it out."
            )
        if merges and categories is not None:
            counts = values.iloc[train].dropna().astype(object).astype(str).value_counts()
            least = max(_LEAST_ROWS, _LEAST_SHARE * len(train))
            categories = [c for c in categories if counts.get(c, 0) >= least]
            # A feature that is 0 in the whole training part would have weights of chance.
            others += [str(name)] if counts.sum() > counts[categories].sum() else []
        if categories is not None and len(categories) > _MAX_CATEGORIES:
            raise WrongValueError(
                f"{where}: the column {str(name)!r} has {len(categories)} categories, more than "
                f"{_MAX_CATEGORIES}: merge some, or leave it out."
            )
        columns.append((str(name), None if categories is None else tuple(categories)))
    return Preprocessing(columns=tuple(columns), others=tuple(others) if merges else None)


def _categories(where: str, name: str, values: "pd.Series[Any]") -> list[str] | None:
    """Return the categories of a column of strings; none where all are numbers."""
    import pandas as pd

    text = values.dropna().astype(str)
    others = text[pd.to_numeric(text, errors="coerce").isna()]
    if 0 < len(others) < len(values) / 2:
        raise WrongValueError(
            f"{where}: the column {name!r} holds numbers, but in {len(others)} rows "
            f"{named(sorted(set(others)))}: replace what is missing, or make it pandas' category."
        )
    return sorted(set(text)) if len(others) or not len(text) else None


def fitted(
    where: str,
    columns: Preprocessing,
    inputs: Mapping[str, NDArray[Any]],
    targets: NDArray[Any] | None,
    *,
    scale: str,
    impute: bool,
) -> tuple[Preprocessing, dict[str, NDArray[Any]]]:
    """Return the preprocessing that the training part asks for, and so the inputs of all splits.

    ``columns`` are those of a table, if it is one; ``targets`` are those to be standardised.
    """
    inputs = dict(inputs)
    if impute:
        rows = inputs["train"].reshape(-1, inputs["train"].shape[-1])
        fill = np.nanmedian(rows, axis=0)
        for _, categories, block in columns.blocks():
            if categories is not None:
                counts = np.nansum(rows[:, block], axis=0)
                fill[block] = np.arange(len(counts)) == counts.argmax()
        columns = dataclasses.replace(columns, fill=tuple(fill.tolist()))
        inputs = {split: columns.filled(x) for split, x in inputs.items()}
    found = columns if targets is None else columns.learn_targets(targets)
    x_train, are_pixels = inputs["train"], {x.dtype == np.uint8 for x in inputs.values()}
    if scale == "auto" and len(are_pixels) > 1:
        raise WrongValueError(
            f"{where}: inputs of some splits are uint8 pixels and those of others are not: "
            "give all the same, or a scale."
        )
    if scale == "auto" and are_pixels == {True}:
        found = dataclasses.replace(found, factor=PIXELS.factor)
    elif scale == "standard" or (scale == "auto" and not _is_in_unit_range(x_train)):
        found = found.learn(x_train)
    return found, {s: found.scaled(f"{where}: x_{s}", x) for s, x in inputs.items()}


def _is_in_unit_range(x: NDArray[Any]) -> bool:
    # As close as float32 is, since scalers make 1 + 2e-16 of 1.
    return x.dtype.kind in "bf" and x.min() >= 0 and x.max() <= 1 + 2**-24


def _chunks(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Return views of some rows each, few enough to be converted to float64 in little memory."""
    return np.array_split(array, max(array.size >> 22, 1))
