"""Compare arms by values that were measured elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import FilePath, WrongValueError, check_positive
from adnn_optuna._units import in_number
from adnn_optuna.api._calls import are_labels, called_by_users
from adnn_optuna.api._splits import ResampledArgument, checked_resampling
from adnn_optuna.results.arm_comparison import MOST_ARMS, ValueComparison, ValueTable
from adnn_optuna.stats.paired_differences import PairedDesign

if TYPE_CHECKING:
    import pandas as pd


@called_by_users
def compare_values(
    values: pd.DataFrame | Mapping[str, Any] | FilePath,
    *,
    minimize: bool = False,
    margin: float | None = None,
    baseline: str | None = None,
    baseline_file: FilePath | None = None,
    sequential: bool = False,
    order: str | None = None,
    resampled: ResampledArgument = None,
    folds: bool = False,
    paired: bool = True,
    groups: str | Sequence[object] | None = None,
) -> ValueComparison:
    """Compare arms by values that were measured elsewhere.

    The values in a row belong to the same seed, data set, fold or problem. So effects that the
    arms of a row share cancel in their differences. All pairs of arms are compared. At most 5% of
    comparisons contain a false claim.

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
        values: The values of two or more arms by their labels. The values of each arm are in the
            same order of seeds, or have the seeds as index or keys. You can also pass a data frame
            or a CSV file, whose columns are arms and whose rows are seeds. A missing value is NaN
            or an empty cell. Columns such as ``seed``, ``repeat`` and ``fold`` name the rows. A
            first column of words names them, too. An arm may also be the result of scikit-learn's
            ``cross_validate``.
        minimize: Whether lower values are better.
        margin: The largest difference of two arms that does not matter to you, in the values'
            unit. If :obj:`None`, no verdict is *equivalent* or *not worse*.
        baseline: The label of the arm with which every other arm is compared. Other pairs are not
            compared, so there are fewer claims, and their CIs are narrower.
        baseline_file: A CSV file with the baseline's values. ``values`` is then a CSV file, too.
            Each file has one column of numbers, and each arm is named after its file. Rows are
            paired by a column that names them, such as ``seed``, or by position if there is none.
        sequential: Whether you will repeat this comparison with further rows. Set it from the
            first comparison on. The CIs are then wider, and valid after each row.
        order: The column that tells the order in which the rows of a sequential design were
            measured, or ``"rows"`` if the rows are already in this order.
        resampled: The numbers of training and test examples of a split, as ``(n_train, n_test)``,
            if rows are splits or folds of one data set. Splits overlap, so the CIs are wider. Pass
            False if each row has independent data.
        folds: Whether rows are the folds of a single k-fold cross-validation, in which each
            example is tested once.
        paired: Whether the values in a row belong together. Unpaired arms may have different
            numbers of values. Plan these numbers before you see a value. Verdicts then assume that
            arms differ only in their means.
        groups: The group of each row, such as a patient with several rows. Pass the name of a
            column, or one label for each row. Rows of one group are not independent, so the means
            of the groups are compared.

    Returns:
        The comparison of the arms.

    Raises:
        TypeError: If a value is not a number, or an argument has a wrong type.
        ValueError: If an argument is wrong. If rows are called ``split``, ``fold``, ``cv`` or
            ``data``. In this case, pass ``resampled`` or ``folds``. If sequential rows seem
            sorted. In this case, pass ``order``.
        FileNotFoundError: If a CSV file does not exist.
    """
    if margin is not None:
        check_positive("margin", margin)
        margin = float(margin)
    designs = {
        "sequential": sequential,
        "folds": folds,
        "resampled": bool(resampled),
        "groups": groups is not None,
    }
    chosen = [name for name, is_chosen in designs.items() if is_chosen]
    _check_designs(chosen, paired=paired)
    if order is not None and not sequential:
        raise WrongValueError(
            "order must be omitted in a fixed design, whose rows have no order; got one. Omit it, "
            "or pass sequential=True."
        )
    from adnn_optuna.api import _tables  # This imports pandas, which is slow.

    table = _tables.table_of(values, baseline_file, order, groups, paired=paired)
    if baseline_file is not None:
        baseline = str(table.columns[-1])
    levels = _tables.levels_of(table.index)
    if levels == [""]:  # Labels such as "fold 1" may name a split.
        levels += [f"row {label}" for label in table.index]
    overlap = checked_resampling("values", levels, resampled, folds=folds, sequential=sequential)
    if folds and table.index.nlevels > 1:
        raise WrongValueError(
            f"folds must be omitted for rows of several names; got {' and '.join(levels)}. For a "
            "repeated cross-validation, pass resampled=(n_train, n_test)."
        )
    arms = {}
    for label, column in table.items():
        arms[str(label)] = _tables.numbers_of(label, column)
    _check_arms(arms, table, baseline)
    index = table.index
    if groups is not None:
        arms, index = _tables.means_of_groups(arms, index, groups)
    per, names = _tables.rows_in_words(index)
    for name, n in Counter(names).items():
        if n > 1:
            raise WrongValueError(
                f"values must have each row once; got two rows of {per} {name}. Rename one, or "
                f"pass groups={per!r} if the rows belong together."
            )
    if not paired:
        names = []
        arms = {label: _tables.filled(label, array) for label, array in arms.items()}
    if sequential and order is None:
        _tables.check_is_unsorted(arms)
    names_of_rows = [f"{per} {name}" for name in names]
    design = PairedDesign(
        names=names_of_rows,
        n_planned=len(names),
        margin=margin,
        sequential=sequential,
        resampled=overlap,
    )
    values_by_arm = {label: array.tolist() for label, array in arms.items()}
    numbers = ValueTable(
        values_by_arm,
        design,
        per=_tables.counted(per, are_groups=groups is not None),
        maximize=not minimize,
        baseline=baseline,
        is_paired=paired,
    )
    n_rows = 0 if groups is None else len(table)
    return ValueComparison(numbers, tuple(names), n_rows)


def _check_designs(chosen: Sequence[str], *, paired: bool) -> None:
    """Raise an error for designs that exclude each other. ``chosen`` are the user's designs."""
    if chosen and not paired:
        raise WrongValueError(
            f"{chosen[0]} must be omitted with paired=False; got both. Pair the values: "
            "intervals of unpaired values are valid for planned numbers of independent values "
            "only."
        )
    if "groups" in chosen and {"folds", "resampled"} & {*chosen}:
        raise WrongValueError(
            f"groups must be omitted if {chosen[0]} is set; got both. Pass groups for rows that "
            "are not splits of one data set."
        )


def _check_arms(arms: Mapping[str, Any], table: pd.DataFrame, baseline: str | None) -> None:
    """Raise an error for too few or too many arms, and for wrong names."""
    n_rows, n_columns = table.shape
    n_arms = len(arms)
    if n_arms < n_columns or not are_labels(arms):
        labels = ", ".join(repr(str(label)) for label in table)
        raise WrongValueError(
            f"Arms must have different names, none of them empty; got {labels}. Rename one."
        )
    if n_arms < 2 or not n_rows:
        raise WrongValueError(
            "values must have at least two arms and one row; got "
            f"{in_number(n_arms, 'arm')} and {in_number(n_rows, 'row')}. Each arm is a column: "
            "pass baseline_file=FILE, or, if a column names the arms, pass table.pivot(index=..., "
            "columns=..., values=...)."
        )
    if n_arms > MOST_ARMS:
        raise WrongValueError(
            f"values must have at most {MOST_ARMS} arms; got {n_arms}. Compare fewer: the more "
            "claims, the wider each interval."
        )
    if baseline is not None and baseline not in arms:
        available = ", ".join(map(repr, arms))
        raise WrongValueError(
            f"baseline must be the label of an arm; got {baseline!r}. Available: {available}."
        )
