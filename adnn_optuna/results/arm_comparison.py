"""Arms that have one value for each seed: which is best, and is that shown?

Comparisons of models and of values measured elsewhere share this module.
"""

import dataclasses
import functools
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adnn_optuna._units import ACCURACY, Unit, in_list, unit_of
from adnn_optuna.render.document import Document, Figure, Line, Table, Verdict
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.differences import (
    N_NAMED,
    Design,
    difference_line,
    difference_notes,
    differences_frame,
    differences_table,
    first_gap,
    interval_figure,
    level_of,
    named,
    other_comparisons_note,
    pair,
    paired_design,
    relation,
    sources_in_words,
    validity_note,
    values_figure,
)
from adnn_optuna.stats.paired_differences import PairedDifference
from adnn_optuna.stats.resampling import Resampled, for_new_data
from adnn_optuna.stats.spread import collapses, known_sd, unit_of_values

if TYPE_CHECKING:
    import pandas as pd

VALUE = "value"  # The name of values of which nothing else is known.
MOST_ARMS = 100  # The CIs of all pairs of more arms are too wide to show anything.


@dataclass(frozen=True, kw_only=True)
class ArmComparison(Printed):
    """The base of comparisons of models and of values, which document the attributes."""

    study_name: str = ""
    margin: float | None = None
    sequential: bool = False
    after_fixed: bool = False
    resampled: Resampled | None = None
    score: str = VALUE
    maximize: bool = True
    per: str = "seed"
    is_paired: bool = True
    sources: tuple[str, ...] = ()
    n_test: int = 0
    like: tuple[str, ...] = ()  # Other comparisons of the same data in the same storage.
    reused: str = dataclasses.field(default="", repr=False, compare=False, kw_only=True)

    arm: ClassVar[str] = "arm"  # The name of an arm in sentences.

    if TYPE_CHECKING:  # Of one subclass it is a field, which an inherited property would hide.

        @property
        def values(self) -> Mapping[str, Sequence[float]]:
            """The values of each arm, by its label."""

    @property
    @abstractmethod
    def on_these_rows(self) -> list[PairedDifference]:
        """The differences on the data as they are."""

    @property
    @abstractmethod
    def value_names(self) -> list[str]:
        """The name of each pair, such as ``"seed 3"``; empty if values are not paired."""

    def nothing_known(self) -> str:
        """Return why no mean is known, if some arm lacks the first value."""
        first = self.value_names[0]
        lacking = [label for label, of_arm in self.compared.items() if not len(of_arm)]
        gap = first_gap(lacking, first, self.per)
        return f"No best mean is known: {gap} {self._fix_of_gap}"

    @property
    def _fix_of_gap(self) -> str:
        """What to do if the first value is missing."""
        reason = "the reason for the gap does not depend on the value"
        return f"Provide this value, or omit {self.value_names[0]} if {reason}."

    @property
    def ranked(self) -> list[str]:
        """The labels of the arms, the best mean first."""
        if not self.n_values:
            return [*self.values]
        means = self._means
        return sorted(means, key=lambda label: means[label], reverse=self.maximize)

    @functools.cached_property
    def _means(self) -> dict[str, float]:
        """The mean of each arm; if the values are paired, of those that all arms have."""
        n = self.n_values if self.is_paired else None
        return {label: float(of_arm[:n].mean()) for label, of_arm in self.compared.items()}

    @property
    def is_of_new_data(self) -> bool:
        """Whether verdicts are for new data of this kind, as splits of one data set overlap."""
        return self.paired_differences is not self.on_these_rows

    @functools.cached_property
    def better(self) -> Mapping[str, Sequence[float]]:
        """The values, of which higher ones are better."""
        return self.values

    @functools.cached_property
    def paired_differences(self) -> list[PairedDifference]:
        """The differences that verdicts are on: for new data if values are of splits."""
        rows = self.on_these_rows
        return for_new_data(
            rows,
            self.better,
            self.resampled,
            n_planned=len(self.value_names),
            n_claims=len(rows),
            sequential=self.sequential,
            most=self.unit.largest,
        )

    @functools.cached_property
    def unit(self) -> Unit:
        """How the values are written."""
        if self.score != VALUE:
            return unit_of(self.score)
        return unit_of_values(self.values.values(), are_paired=self.is_paired)

    @property
    def column(self) -> str:
        """The name of the values in data frames."""
        return VALUE if self.score == VALUE else "test_accuracy"

    @functools.cached_property
    def compared(self) -> dict[str, np.ndarray]:
        """The values that count: if they are paired, up to the first that the arm lacks."""
        arrays = {label: np.asarray(v, dtype=float) for label, v in self.values.items()}
        if not self.is_paired:
            return arrays
        return {
            label: array[: np.logical_and.accumulate(np.isfinite(array)).sum()]
            for label, array in arrays.items()
        }

    @property
    def n_values(self) -> int:
        """How many values all arms have."""
        return min(map(len, self.compared.values()))

    def table(self) -> "pd.DataFrame":
        """Return one row for each arm, with the mean and the standard deviation of its values.

        Returns:
            A data frame with the index :attr:`arm` and the columns ``seeds`` (or what else the
            values are of), and ``value`` (``test_accuracy`` for trained models) with its standard
            deviation in ``value_std``.
        """
        import pandas as pd

        arms = {label: pd.Series(values) for label, values in self.compared.items()}
        columns = {
            f"{self.per}s": {label: arm.count() for label, arm in arms.items()},
            self.column: {label: arm.mean() for label, arm in arms.items()},
            f"{self.column}_std": {label: known_sd(arm.to_numpy()) for label, arm in arms.items()},
        }
        return pd.DataFrame(columns).rename_axis(index=self.arm)

    def differences(self) -> "pd.DataFrame":
        """Return one row for each two arms: how much better the first is.

        Returns:
            A data frame with the index :attr:`arm`, ``other`` and the columns of
            :meth:`Comparison.differences`.
        """
        return differences_frame(self.paired_differences, self.arm)

    def document(self) -> Document:
        """Return everything that the result says."""
        verdict: Verdict = "not known"
        estimates = list[Line]()
        tables = list[Table]()
        notes = list[str]()
        if self.n_values:
            verdict = self._verdict()
            conclusion = self._conclusion()
            estimates = self._estimates()
            tables = self._tables()
            notes = self._notes()
        else:
            conclusion = self.nothing_known()
        return Document(
            title=self._title,
            verdict=verdict,
            conclusion=conclusion,
            scope=self._size(),
            estimates=estimates,
            level=level_of(self._design),
            tables=tables,
            figures=self._figures(),
            notes=notes,
            next_step=self._next_step(),
            fields=self._fields(),
        )

    @property
    def _title(self) -> str:
        return f"Comparison of {len(self.values)} {self.arm}s"

    @property
    def _paired_by(self) -> str:
        return self.per if self.is_paired else ""

    def _size(self) -> str:
        """Return how many values each arm has."""
        if not self.is_paired:
            return f"{in_list([str(len(of_arm)) for of_arm in self.compared.values()])} values"
        return f"{self.n_values} {self.per}{'s' * (self.n_values != 1)}"

    @property
    def _has_gaps(self) -> bool:
        """Whether some arms lack values that others of the same seed have."""
        return self.is_paired and len({*map(len, self.compared.values())}) > 1

    @property
    def _concluded(self) -> Sequence[PairedDifference]:
        """How much better the arm with the best mean is than others."""
        best = self.ranked[0]
        rows = [row for row in self.paired_differences if best in {row.arm, row.other}]
        return [row if row.arm == best else row.turned() for row in rows]

    def _shown(self, rows: Sequence[PairedDifference]) -> Sequence[PairedDifference]:
        """Return differences whose first arm has the better mean, as in the conclusion."""
        rank = self.ranked.index
        return [row if rank(row.arm) < rank(row.other) else row.turned() for row in rows]

    def _verdict(self) -> Verdict:
        verdicts = {row.verdict for row in self._concluded}
        if len(verdicts) == 1 and (verdict := verdicts.pop()):
            return verdict
        are_shown = verdicts <= {"better", "equivalent", "not worse"}
        if verdicts and are_shown:
            return "not worse"
        return "inconclusive"

    def _conclusion(self) -> str:
        unit = self.unit
        best = self.ranked[0]
        mean = unit.value(self._means[best])
        leaders = [label for label in self.ranked if unit.value(self._means[label]) == mean]
        have = "has" if len(leaders) == 1 else "have"
        over = f" over {self._size()}" if self._has_gaps else ""
        best_mean = f"{named(leaders)} {have} the best mean {self.score}, {mean}{over}."
        groups = dict[tuple[str, str], list[PairedDifference]]()
        for row in self._concluded:
            groups.setdefault((row.arm, relation(row, self._paired_by, "")), []).append(row)
        data = "For new data of this kind, " if self.is_of_new_data else ""
        claims = [f"{data}{arm} is {self._relation(rows)}." for (arm, _), rows in groups.items()]
        return " ".join([best_mean, *claims])

    def _relation(self, rows: Sequence[PairedDifference]) -> str:
        """Return the same relation to one or several arms, and their collapses."""
        first = rows[0]
        other_labels = [row.other for row in rows]
        sentence = relation(first, self._paired_by, named(other_labels))
        collapsed = [*filter(None, map(self._collapsed, [first.arm, *other_labels]))]
        if collapsed and first.verdict != "inconclusive":
            sentence = f"{sentence}, with rare collapses ({'; '.join(collapsed)})"
        return sentence

    def _estimates(self) -> list[Line]:
        """Return how much better the best arm is than the next ones."""
        rows = self._concluded[:N_NAMED]
        return [difference_line(row, self.unit, self._paired_by or VALUE) for row in rows]

    def _collapsed(self, label: str) -> str:
        """Return which values of an arm are far worse than its others; empty if none is."""
        names = self.value_names
        collapsed = [
            names[i] if names else f"value {i + 1}"
            for i in collapses(self.compared[label], maximize=self.maximize)
        ]
        if collapsed:
            return f"{label}: {named(collapsed)}"
        return ""

    def _tables(self) -> list[Table]:
        unit = self.unit
        column = unit.heading(self.score)
        rows: list[tuple[str, ...]] = [
            (str(label), unit.bare.value(row[self.column]), _sd(row[f"{self.column}_std"], unit))
            for label, row in self.table().iterrows()
        ]
        headings = [self.arm, f"mean\n{column}", "standard\ndeviation"]
        if self._has_gaps:
            headings.append(f"{self.per}s")
            counts = map(len, self.compared.values())
            rows = [(*row, str(n)) for row, n in zip(rows, counts, strict=True)]
        title = "For new data of this kind" if self._shows_these_rows else ""
        tables = [
            Table(headings, rows),
            self._differences(self.paired_differences, self._design, title),
        ]
        if self._shows_these_rows:
            title = "On these rows alone"
            tables.append(self._differences(self.on_these_rows, self._design_on_these_rows, title))
        return tables

    @property
    def _shows_these_rows(self) -> bool:
        return self.is_of_new_data and self.n_test > 0

    def _differences(self, rows: Sequence[PairedDifference], design: Design, title: str) -> Table:
        return differences_table(
            self._shown(rows), self.unit, design, per=self._paired_by, title=title
        )

    @property
    def _design(self) -> Design:
        if self.is_of_new_data:
            return "new data"
        return self._design_on_these_rows

    @property
    def _design_on_these_rows(self) -> Design:
        if not self.is_paired:
            return "unpaired"
        return paired_design(sequential=self.sequential, after_fixed=self.after_fixed)

    def _notes(self) -> list[str]:
        notes = difference_notes(
            self._shown(self.paired_differences),
            self.unit,
            self._design,
            per=self._paired_by,
            n_claims={f"{self.arm}s": len(self.paired_differences)},
            maximize=self.maximize,
        )
        if self._shows_these_rows:
            validity = validity_note(self._design_on_these_rows, self._paired_by)
            notes.append(f"On these rows alone: {validity}")
        if self.n_test:
            share = f"{100 / self.n_test:.2g} pp"
            each = f": one is {share}" if self.unit is ACCURACY else ""
            notes.append(f"{self.n_test} test examples{each}.")
        if self.sources:
            sources = in_list(sources_in_words(self.sources))
            notes.append(f"Each seed redraws {sources}, alike for all models.")
        if not self.is_of_new_data:
            where = "this data set"
            if self.score == VALUE:
                where = "the source of these values"
            notes.append(f"All verdicts are on {where} only.")
        notes.append(
            f"Selecting one of the {self.arm}s by these values biases its mean: evaluate it on "
            "new data."
        )
        notes += other_comparisons_note("Models of the same data are", self.like)
        return [*notes, self.reused]

    def _next_step(self) -> str:
        return ""

    def _figures(self) -> list[Figure]:
        """Return the values, with a line for each seed, and the differences with their CIs."""
        unit = self.unit
        per = self._paired_by
        by = f" by {per}" if per else ""
        values = values_figure(
            "values",
            f"{self.score[:1].upper()}{self.score[1:]}{by}",
            unit.heading(self.score),
            {label: self.values[label] for label in self.ranked},
            unit,
            names=self.value_names,
            per=per,
            lower_is_better=not self.maximize,
        )
        differences = interval_figure(
            "differences",
            "How much better the first arm is",
            unit.heading(f"difference in {self.score}", is_gain=True),
            {pair(row): row.estimate for row in self._shown(self.paired_differences)},
            unit,
            margin=self.margin or 0.0,
        )
        return [values, differences]

    def _fields(self) -> dict[str, Any]:
        fields = self._attributes("score maximize margin sequential is_paired values")
        return {**fields, "table": self.table(), "differences": self.differences()}


def _sd(value: float, unit: Unit) -> str:
    if math.isnan(value):
        return ""
    return unit.bare.value(value)
