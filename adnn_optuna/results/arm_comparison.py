"""The result of a comparison of arms that have a value for each seed, and its numbers.

The comparison of values that were measured elsewhere is in this module. The comparison of models
has the same base class.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adnn_optuna._units import ACCURACY, Unit, in_list, in_number, score_sign, unit_of
from adnn_optuna.render.document import Caution, Detail, Figure, Line, Table, Verdict, difference
from adnn_optuna.render.printed import Printed, number_fields
from adnn_optuna.render.text import MAX_ESTIMATES
from adnn_optuna.results.difference_words import (
    difference_line,
    difference_notes,
    differences_frame,
    differences_table,
    first_gap,
    gains_axis,
    interval_figure,
    level_of,
    named,
    named_are,
    pair,
    relation,
    short_labels,
    validity_notes,
    why_no_interval,
    with_assumption,
    with_short_labels,
)
from adnn_optuna.stats.paired_differences import (
    FEWEST_PLANNED,
    PairedDesign,
    PairedDifference,
    Validity,
)
from adnn_optuna.stats.spread import OUTLIER_DISTANCE, known_sd, outliers, unit_of_values

if TYPE_CHECKING:
    import pandas as pd

VALUE = "value"  # The name of values without a known name.
MOST_ARMS = 100  # With more arms, CIs of all pairs are too wide to show anything.


@dataclass(frozen=True)
class ValueTable:
    """A value for each arm and seed, and all numbers that follow from these values.

    Attributes:
        arms: The values of each arm, by its label.
        design: The plan of the values. Its ``names`` are empty if values are not paired.
        per: The name of what a pair's values share, such as ``"seed"``.
        score: The name of the values.
        maximize: Whether higher values are better.
        baseline: The arm with which all other arms are compared. If None, all pairs are compared.
        is_paired: Whether values at the same position belong together.
        n_test: The number of test examples behind each value, or 0 if it is unknown.
    """

    arms: Mapping[str, Sequence[float]] = field(repr=False)
    design: PairedDesign
    per: str = "seed"
    score: str = VALUE
    maximize: bool = True
    baseline: str | None = None
    is_paired: bool = True
    n_test: int = 0

    @functools.cached_property
    def _better(self) -> Mapping[str, Sequence[float]]:
        """The values, negated if lower values are better. The baseline is the last arm.

        So each difference is another arm's value minus the baseline's value.
        """
        sign = score_sign(maximize=self.maximize)
        labels = sorted(self.arms, key=lambda label: label == self.baseline)
        return {label: [sign * value for value in self.arms[label]] for label in labels}

    @functools.cached_property
    def on_these_rows(self) -> list[PairedDifference]:
        """The differences of arms on these rows only, not for new data."""
        pairs = itertools.combinations(self._better, 2)
        claims = [pair for pair in pairs if self.baseline is None or self.baseline in pair]
        if not self.is_paired:
            # This import is here, because most comparisons are paired and do not need it.
            from adnn_optuna.stats.unpaired_differences import unpaired_differences

            return unpaired_differences(self._better, claims, margin=self.design.margin)
        n_examples = 0
        if self.unit is ACCURACY:
            n_examples = self.n_test
        rows = self.design.differences(self._better, claims, n_examples=n_examples)
        return [row for row in rows if row.verdict is not None]

    @functools.cached_property
    def differences(self) -> list[PairedDifference]:
        """The differences behind the verdicts.

        If the values are of splits, the differences are for new data.
        """
        rows = self.on_these_rows
        most = self.unit.largest
        return self.design.for_new_data(rows, self._better, n_claims=len(rows), most=most)

    @property
    def is_of_new_data(self) -> bool:
        """Whether the verdicts are for new data, because values are of splits of one data set."""
        return self.design.resampled is not None

    @functools.cached_property
    def unit(self) -> Unit:
        """The unit in which the values are written."""
        if self.score != VALUE:
            return unit_of(self.score)
        return unit_of_values(self.arms.values(), are_paired=self.is_paired)

    @functools.cached_property
    def compared(self) -> dict[str, np.ndarray]:
        """The counted values of each arm.

        Paired values count only before the arm's first missing value.
        """
        arrays = {label: np.asarray(v, dtype=float) for label, v in self.arms.items()}
        if not self.is_paired:
            return arrays
        return {
            label: array[: np.logical_and.accumulate(np.isfinite(array)).sum()]
            for label, array in arrays.items()
        }

    @property
    def n_values(self) -> int:
        """The number of counted values in the arm with the fewest, except arms without any.

        If fewer than two arms have values, it is 0.
        """
        counts = [len(values) for values in self.compared.values() if len(values)]
        if len(counts) < 2:
            return 0
        return min(counts)

    @property
    def n_before_gap(self) -> int:
        """The number of rows before the first missing value of any arm."""
        return min(map(len, self.compared.values()))

    @property
    def n_all(self) -> int:
        """The number of values in the arm with the most, with those that do not count."""
        return max(map(len, self.arms.values()))

    @property
    def in_all_arms(self) -> dict[str, np.ndarray]:
        """The values that count in all arms, except arms without any.

        Paired values count only before the first missing value of any of these arms.
        """
        n = self.n_values if self.is_paired else None
        return {label: array[:n] for label, array in self.compared.items()}

    @functools.cached_property
    def means(self) -> dict[str, float]:
        """The mean of each arm over :attr:`in_all_arms`. Without a value, it is NaN."""
        means = dict.fromkeys(self.arms, math.nan)
        for label, array in self.in_all_arms.items():
            if len(array):
                means[label] = float(array.mean())
        return means

    @property
    def ranked(self) -> list[str]:
        """The labels of the arms, the best mean first, and arms without a value last."""
        means = self.means
        known = [label for label in self.arms if not math.isnan(means[label])]
        known.sort(key=lambda label: means[label], reverse=self.maximize)
        return [*known, *(label for label in self.arms if label not in known)]

    def outliers(self, label: str) -> list[str]:
        """Return the names of an arm's values that are far worse than its other values.

        If the other arms are as bad at the same position, a paired value is omitted.
        """
        places = outliers(self.compared[label], maximize=self.maximize)
        if self.is_paired and len(places):
            places = self._not_shared(label, places)
        if self.design.names:
            return [self.design.names[i] for i in places]
        return [f"value {i}" for i in places]

    def _not_shared(self, label: str, places: Sequence[int]) -> list[int]:
        """Return the positions at which an arm is bad and the other arms are not.

        The median of the other arms is subtracted from the arm's values. A value is returned if
        more than half of its distance from the arm's median remains.
        """
        in_all_arms = self.in_all_arms
        values = in_all_arms.pop(label)
        others = [array for array in in_all_arms.values() if len(array)]
        if not others:
            return [*places]
        over_others = values - np.median(others, axis=0)
        distances = np.median(values) - values
        own_distances = np.median(over_others) - over_others
        return [i for i in places if i < len(values) and own_distances[i] / distances[i] > 0.5]

    @property
    def column(self) -> str:
        """The name of the column of values in data frames."""
        return VALUE if self.score == VALUE else "test_accuracy"


_DECIDED = ("better", "worse")


@dataclass(frozen=True, repr=False)
class ArmComparison(Printed):
    """The base class of the comparisons of models and of values.

    Attributes:
        numbers: The values of each arm, and all numbers that follow from them.
    """

    numbers: ValueTable

    _arm: ClassVar[str] = "arm"  # The name of an arm in sentences.

    def _why_nothing_is_shown(self) -> str:
        """Return the sentences on why too few values count for a verdict."""
        numbers = self.numbers
        n = numbers.n_before_gap
        nothing = f"No {self._arm} is shown to be better"
        if n == numbers.n_all or not numbers.is_paired:
            return f"{nothing}, because there are too few {self._paired_by or 'value'}s."
        lacking = [label for label, values in numbers.compared.items() if len(values) == n]
        gap = first_gap(lacking, numbers.design.names[n], numbers.per)
        return f"{nothing}: {gap} {self._fix_of_gap}"

    @property
    def _fix_of_gap(self) -> str:
        """The advice if a value is missing."""
        numbers = self.numbers
        reason = "the reason for the gap does not depend on the value"
        gap = numbers.design.names[numbers.n_before_gap]
        return f"Provide this value, or omit {gap} if {reason}."

    def table(self) -> "pd.DataFrame":
        """Return one row for each arm, with the mean and the standard deviation of its values.

        Returns:
            A data frame with the index ``arm`` or ``model``. The column ``seeds`` is the number of
            values. If rows are not seeds, it has another name, such as ``folds``. The column
            ``value`` is the mean, and ``value_std`` the standard deviation. For trained models,
            the names of these two columns begin with ``test_accuracy``.
        """
        import pandas as pd

        numbers = self.numbers
        rows = []
        for label, values in numbers.compared.items():
            row = {
                self._arm: label,
                f"{numbers.per}s": len(values),
                numbers.column: values.mean() if len(values) else math.nan,
                f"{numbers.column}_std": known_sd(values),
            }
            rows.append(row)
        return pd.DataFrame(rows).set_index(self._arm)

    def differences(self) -> "pd.DataFrame":
        """Return one row for each pair of arms, with the difference of the first arm.

        Returns:
            A data frame with the columns of :meth:`Comparison.differences`. Its index is ``arm``
            (or ``model``) and ``other``.
        """
        return differences_frame(self.numbers.differences, self._arm)

    @property
    def _is_known(self) -> bool:
        return self.numbers.n_values > 0

    @property
    def _has_few(self) -> bool:
        """Whether there are too few values for a sentence on the best arm."""
        has_interval = any(math.isfinite(row.low) for row in self._concluded)
        n_pairs = max(row.n_pairs for row in self._concluded)
        return n_pairs < FEWEST_PLANNED and not has_interval

    @property
    def _level(self) -> float:
        return level_of(self._validity)

    def _title(self) -> str:
        return f"Comparison of {len(self.numbers.arms)} {self._arm}s"

    @property
    def _paired_by(self) -> str:
        return self.numbers.per if self.numbers.is_paired else ""

    def _scope(self) -> str:
        """Return the number of values per arm in words."""
        numbers = self.numbers
        if not numbers.is_paired:
            counts = [str(len(values)) for values in numbers.compared.values()]
            return f"{in_list(counts)} values"
        if numbers.n_values < numbers.n_all:
            return f"{numbers.n_values} of {in_number(numbers.n_all, numbers.per)}"
        return in_number(numbers.n_values, numbers.per)

    @property
    def _concluded(self) -> Sequence[PairedDifference]:
        """The differences that the conclusion is about.

        Without a baseline, the arm with the best mean is compared with all others, sorted from the
        best to the worst. With a baseline, all arms are compared with the baseline, in the same
        order.
        """
        numbers = self.numbers
        rank = numbers.ranked.index
        if numbers.baseline:
            return sorted(numbers.differences, key=lambda row: rank(row.arm))
        best = numbers.ranked[0]
        of_best = [row for row in numbers.differences if best in {row.arm, row.other}]
        rows = [row if row.arm == best else row.turned() for row in of_best]
        return sorted(rows, key=lambda row: rank(row.other))

    def _better_arm_first(self, rows: Sequence[PairedDifference]) -> Sequence[PairedDifference]:
        """Return the differences, exchanged so that the first arm has the better mean.

        With a baseline, the second arm is always the baseline.
        """
        if not self.numbers.baseline:
            rank = self.numbers.ranked.index
            rows = [row if rank(row.arm) < rank(row.other) else row.turned() for row in rows]
        return with_short_labels(rows, self.numbers.arms)

    def _verdict(self) -> Verdict:
        verdicts = {row.verdict for row in self._concluded}
        if len(verdicts) == 1 and (verdict := verdicts.pop()):
            return verdict
        are_shown = verdicts <= {"better", "equivalent", "not worse"}
        if verdicts and are_shown:
            return "not worse"
        if verdicts & {*_DECIDED}:
            return "mixed"
        return "inconclusive"

    def _conclusion(self) -> str:
        numbers = self.numbers
        if self._has_few:
            return self._why_nothing_is_shown()
        unit = numbers.unit
        best = numbers.ranked[0]
        mean = unit.value(numbers.means[best])
        leaders = [label for label in numbers.ranked if unit.value(numbers.means[label]) == mean]
        have = "has" if len(leaders) == 1 else "share"
        best_mean = f"{named(leaders)} {have} the best mean {numbers.score}, {mean}."
        claims = with_assumption(self._claims(), self._concluded)
        sentences = [f"{claim}." for claim in claims]
        if numbers.is_of_new_data and not self._is_open:
            sentences = [f"For new data of this kind: {'; '.join(self._claims())}."]
        if numbers.baseline or self._is_open:
            sentences = [*sentences, best_mean]
        else:
            sentences = [best_mean, *sentences]
        if len(self._concluded) > MAX_ESTIMATES:
            sentences.append(f"The {MAX_ESTIMATES} best others are compared below.")
        return " ".join(sentences)

    @property
    def _is_open(self) -> bool:
        """Whether there is no baseline and all verdicts are inconclusive."""
        return self.numbers.baseline is None and {
            row.verdict for row in self.numbers.differences
        } == {"inconclusive"}

    def _claims(self, write: Callable[[str], str] = str) -> list[str]:
        """Return the verdicts as sentences. Equal verdicts are joined.

        Args:
            write: Returns the name of an arm from its label.
        """
        if self._is_open:
            sentence = f"No {self._arm} is shown to be better"
            if self.numbers.is_of_new_data:
                sentence = f"{sentence} for new data of this kind"
            return [sentence]
        rows_alike = dict[str, list[PairedDifference]]()
        for row in sorted(self._concluded, key=lambda row: row.verdict not in _DECIDED):
            rows_alike.setdefault(relation(row, ""), []).append(row)
        claims = []
        for rows in rows_alike.values():
            # Without a baseline, all first arms are the best arm. With a baseline, all second arms
            # are the baseline.
            arms = [*dict.fromkeys(row.arm for row in rows)]
            others = [*dict.fromkeys(row.other for row in rows)]
            rivals = named([*map(write, others)])
            claims.append(f"{named_are([*map(write, arms)])} {relation(rows[0], rivals)}")
        return claims

    def _estimates(self) -> list[Line]:
        """Return lines with the differences between the best arm and the next arms."""
        rows = with_short_labels(self._concluded[:MAX_ESTIMATES], self.numbers.arms)
        return [difference_line(row, self.numbers.unit) for row in rows]

    def _outliers_note(self) -> str:
        """Return the note on values that are far worse than the rest, or an empty text."""
        outliers = {label: self.numbers.outliers(label) for label in self.numbers.ranked}
        by_arm = [f"{label}: {named(places)}" for label, places in outliers.items() if places]
        if not by_arm:
            return ""
        worse = f"{OUTLIER_DISTANCE} robust standard deviations worse than their arm's median"
        return Caution(f"Check the outliers ({'; '.join(by_arm)}): they are more than {worse}.")

    def _tables(self) -> list[Table]:
        numbers = self.numbers
        unit = numbers.unit
        column = unit.heading(numbers.score)
        headings = [self._arm, f"mean\n{column}", "standard\ndeviation"]
        rows = [
            (label, unit.bare.value(numbers.means[label]), _sd(known_sd(values), unit))
            for label, values in numbers.in_all_arms.items()
        ]
        title = "For new data of this kind" if self._shows_these_rows else "All differences"
        tables = [
            Table(headings, rows, f"Means over {self._scope()}"),
            self._differences(numbers.differences, self._validity, title),
        ]
        if self._shows_these_rows:
            title = "On these rows alone"
            validity = self._validity_on_these_rows
            tables.append(self._differences(numbers.on_these_rows, validity, title))
        return tables

    @property
    def _shows_these_rows(self) -> bool:
        return self.numbers.is_of_new_data and self.numbers.n_test > 0

    def _differences(
        self, rows: Sequence[PairedDifference], validity: Validity, title: str
    ) -> Table:
        return differences_table(
            self._better_arm_first(rows),
            self.numbers.unit,
            validity,
            per=self._paired_by,
            title=title,
            is_detail=True,
        )

    @property
    def _validity(self) -> Validity:
        if self.numbers.is_of_new_data:
            return "new data"
        return self._validity_on_these_rows

    @property
    def _validity_on_these_rows(self) -> Validity:
        if not self.numbers.is_paired:
            return "unpaired"
        return self.numbers.design.validity

    def _notes(self) -> list[str]:
        numbers = self.numbers
        arm = self._arm
        notes = [self._outliers_note()]
        is_chosen_before = numbers.baseline is not None and len(numbers.arms) == 2
        if not is_chosen_before:
            choosing = f"If you choose one {arm} by these values, its mean is biased."
            notes.append(f"{choosing} Evaluate the chosen {arm} on new data.")
        notes += difference_notes(
            self._better_arm_first(numbers.differences),
            numbers.unit,
            self._validity,
            per=self._paired_by,
            n_claims={f"{self._arm}s": len(numbers.differences)},
            maximize=numbers.maximize,
        )
        if self._shows_these_rows:
            rows = numbers.on_these_rows
            for note in validity_notes(rows, self._validity_on_these_rows, self._paired_by):
                notes.append(Detail(f"On these rows alone: {note}"))
        notes += self._about_data()
        if not numbers.is_of_new_data and numbers.score != VALUE:
            notes.append("All verdicts are on this data set only.")
        return notes

    def _about_data(self) -> list[str]:
        """Return the notes about the examples and splits behind the values."""
        return []

    def _figures(self) -> list[Figure]:
        """Return a figure of the differences with their CIs, and a figure of the values."""
        # This import is here, because a comparison that is only printed does not need it.
        from adnn_optuna.results.value_figures import values_figure

        numbers = self.numbers
        unit = numbers.unit
        score = numbers.score
        rows = with_short_labels(self._concluded, numbers.arms)
        finding = "How much better the first arm is"
        if numbers.n_values:
            claims = self._claims(short_labels(numbers.arms).__getitem__)
            [finding] = with_assumption(claims[:1] or [finding], rows)
        values = values_figure(
            "values",
            score,
            {label: numbers.in_all_arms[label].tolist() for label in numbers.ranked},
            unit,
            names=numbers.design.names,
            lower_is_better=not numbers.maximize,
        )
        differences = interval_figure(
            "differences",
            finding,
            gains_axis(f"difference in {score}", unit, maximize=numbers.maximize),
            [difference(pair(row), row.estimate, unit, row.verdict or "") for row in rows],
            margin=numbers.design.margin or 0.0,
            level=self._level,
            no_interval=why_no_interval(rows),
        )
        if not differences.series:
            return [values, differences]
        return [differences, values]

    def _fields(self) -> dict[str, Any]:
        numbers = self.numbers
        return {
            **number_fields(numbers, "score maximize"),
            **number_fields(numbers.design, "margin sequential"),
            "is_paired": numbers.is_paired,
            "values": numbers.arms,
            "table": self.table(),
            "differences": self.differences(),
        }


@dataclass(frozen=True, repr=False)
class ValueComparison(ArmComparison):
    """The result of a comparison of arms by values that were measured elsewhere.

    At most 5% of comparisons contain a false claim.

    Attributes:
        numbers: The values of each arm, and all numbers that follow from them.
        names: The name of each row, such as its seed or data set; empty if values are not paired.
        n_rows: The number of rows behind the means of groups, or 0 without groups.
    """

    names: tuple[str, ...] = ()
    n_rows: int = 0

    def _scope(self) -> str:
        if self.n_rows:
            return f"{super()._scope()} ({self.n_rows} rows)"
        return super()._scope()

    def _about_data(self) -> list[str]:
        if self.n_rows:
            per = self.numbers.per
            return [f"The rows of each {per} are averaged, so each {per} counts once."]
        return []

    def _fields(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "per": self.numbers.per,
            "baseline": self.numbers.baseline,
            "n_rows": self.n_rows,
            **super()._fields(),
        }


def _sd(value: float, unit: Unit) -> str:
    if math.isnan(value):
        return ""
    return unit.bare.value(value)
