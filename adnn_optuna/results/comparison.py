"""The result of a comparison of samplers, in sentences, tables and figures."""

import dataclasses
import math
from typing import Any

from optuna.study import StudyDirection

from adnn_optuna._units import ACCURACY, score_in_words
from adnn_optuna.engine.arms import ARMS
from adnn_optuna.engine.records import FunctionRecord
from adnn_optuna.render.document import Document, Line, Table, Verdict, shortened
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.comparison_figures import figures_of
from adnn_optuna.results.comparison_numbers import ComparisonNumbers
from adnn_optuna.results.differences import (
    LABEL_WIDTH,
    Design,
    difference_line,
    difference_notes,
    differences_table,
    first_gap,
    for_most,
    level_of,
    other_comparisons_note,
    paired_design,
    relation,
)
from adnn_optuna.results.fields import Field
from adnn_optuna.results.findings import failures_note
from adnn_optuna.results.search_notes import chance_notes, data_notes, why_no_best_trial
from adnn_optuna.results.settings import settings_fields
from adnn_optuna.stats.paired_differences import OPEN, PairedDifference, VerdictName
from adnn_optuna.stats.proportions import n_counted

_REPLICATION = {
    "better": "replicates",
    "worse": "a loss, which replicates",
    "equivalent": "equivalent: no gain that matters",
}
_ABOUT_RESTARTS = (
    "Random restarts use no offsets, only other initial weights, so their gain is selection bias. "
    "Only the gain over them is a sampler's own."
)
_ABOUT_RANDOM_SEARCH = "Random search shows the gain from the number of trials alone."
_ABOUT_BUDGETS = (
    "Budgets are equal in trials, not in seconds: a faster sampler can run more trials in the "
    "same time."
)


@dataclasses.dataclass(frozen=True)
class Comparison(ComparisonNumbers, Printed):
    """How samplers compare, each on the same seeds.

    There are three families of claims, each wrong in at most 5% of all comparisons: each sampler
    against random restarts, and greedy against annealing; all of these against the controls, which
    spend the same compute in other ways; and replication, the gain of each arm's best networks
    over baseline networks, on one new seed each. For functions there is one family, each sampler
    against random search. CIs are wider if the comparison is sequential: it
    stops once all claims are decided, or it got further seeds or arms later. All claims that were
    ever declared count.

    Attributes:
        results: The results of each arm, by its label, in the order of ``seeds``.
        seeds: The seeds, in their declared order.
        margin: The difference up to which two arms are equivalent: of the metric of the selection
            on the test set, or of a function's values. If :obj:`None`, no arms are.
        like: The names of other comparisons of the same objective in the same storage.
    """

    def document(self) -> Document:
        """Return everything that the result says."""
        n_seeds = len(self.seeds)
        return Document(
            title=f"Comparison {self.study_name!r}",
            verdict=self._verdict(),
            conclusion=self._conclusion(),
            scope=f"{len(self.results)} arms, {n_seeds} seed{'s' * (n_seeds > 1)}",
            estimates=self._estimates(),
            level=level_of(self._design),
            tables=self._tables(),
            figures=figures_of(self, self._reference),
            notes=self._notes(),
            next_step=self._next_step(),
            fields=self._fields(),
        )

    @property
    def _reference(self) -> str:
        return "random search" if self.is_of_function else "random restarts"

    def _verdict(self) -> Verdict:
        rows = self.over_reference
        if not rows:
            return "not known"
        best, verdicts = rows[0].verdict, self._verdicts
        if best in ("better", "not worse"):
            return best
        if verdicts == {"worse"}:
            return "worse"
        return "inconclusive" if verdicts & {*OPEN} else "equivalent"

    @property
    def _verdicts(self) -> set[VerdictName | None]:
        """The verdicts of all samplers against the reference, also of those without any pair."""
        rows = self.rows_of(self.families["samplers"])
        return {row.verdict for row in rows if row.other == self.reference}

    def _conclusion(self) -> str:
        return " ".join([self._about_samplers(), *self._about_rivals(), *self._about_control()])

    def _about_samplers(self) -> str:
        """Return whether the best sampler is better than the reference."""
        rows, reference = self.over_reference, self._reference
        if self.reference is None:
            return f"No {reference} were run, so no gain is distinguishable from selection bias."
        if not rows:
            return self._about_first_gap()
        best, verdicts = rows[0], self._verdicts
        if best.verdict == "better":
            return f"{best.arm} is {relation(best, others=reference)}."
        shown = f"No sampler is shown to be better than {reference}"
        if verdicts == {"worse"}:
            for_which = {*map(for_most, rows)}
            how = "for most seeds" if for_which == {"for most seeds"} else "on average"
            return f"Every sampler is worse than {reference} {how}."
        if not verdicts & {*OPEN}:
            shown = f"No sampler is better than {reference} by more than the margin"
        if best.verdict in ("equivalent", "not worse"):
            return f"{shown}; {best.arm} is {best.verdict}."
        return f"{shown}; best mean: {best.arm if best.mean > 0 else reference}."

    def _about_first_gap(self) -> str:
        """Return which samplers lack the first value, if any was run, and why the first does."""
        runs = {label: of_arm[0] for label, of_arm in self.samplers.items()}
        lacking = [label for label, run in runs.items() if not math.isfinite(run.score)]
        compared = f"No sampler was compared with {self._reference}"
        if not lacking:
            return f"{compared}."
        why = "Set a larger max_trial, so that each run finds a finite value."
        if (run := runs[lacking[0]]).best is None:
            why = f"{lacking[0]}: {why_no_best_trial(run)}"
        return f"{compared}: {first_gap(lacking, f'seed {self.seeds[0]}')} {why}"

    def _about_rivals(self) -> list[str]:
        """Return how the best sampler compares with controls that take no search."""
        sentences = []
        for label, [run, *_] in self.controls.items():
            rival = ARMS[run.sampler].rival
            rows = self.rows_of([(row.arm, label) for row in self.over_reference[:1]])
            if rival and rows and rows[0].n_pairs:
                sentences.append(f"{rows[0].arm} is {relation(rows[0], others=rival)}.")
        return sentences

    def _about_control(self) -> list[str]:
        """Return how the strongest other use of the same compute compares with the reference."""
        if (row := self._control_over_reference()) is None:
            return []
        spent = ARMS[self.controls[row.arm][0].sampler].spent or row.arm
        shown = relation(row, others=self._reference)
        return [f"The same compute, spent on {spent}, is {shown}."]

    def _control_over_reference(self) -> PairedDifference | None:
        """Return how much better than the reference the strongest control is, if that is known."""
        rows = self.rows_of([(str(self.reference), str(self.strongest_control))])
        return rows[0].turned() if rows and rows[0].n_pairs else None

    def _estimates(self) -> list[Line]:
        rows = self.over_reference[:1]
        if (row := self._control_over_reference()) is not None:
            rows = [*rows, row]
        lines = [difference_line(row, self.unit) for row in rows]
        for row in self.replication:
            word = _REPLICATION.get(str(row.verdict), "not shown to replicate")
            how = f" {for_most(row)}" if row.verdict in ("better", "worse") else ""
            label = f"{shortened(row.arm, LABEL_WIDTH)}, new seeds"
            remark = f"{self._replicated(row.arm)}: {word}{how}"
            lines.append(Line(label, row.estimate, self.unit, is_difference=True, remark=remark))
        return lines

    def _replicated(self, label: str) -> str:
        """Return the part of an arm's best trials that was used with other seeds."""
        name = self.results[label][0].sampler
        return ARMS[name].replicates if name in ARMS else "offsets"

    def _tables(self) -> list[Table]:
        tables = [self._means()]
        if rows := self.paired_differences:
            score = self._score[:1].upper() + self._score[1:]
            title = f"{score}, paired by seed"
            tables.insert(0, differences_table(rows, self.unit, self._design, title=title))
        return tables

    @property
    def _score(self) -> str:
        return score_in_words(self.any_record.test_metric, self.any_record.positive)

    def _means(self) -> Table:
        n_seeds, table = len(self.seeds), self.table()
        title = f"Mean ± standard deviation over {n_seeds} seeds" if n_seeds > 1 else "One seed"
        rows = [
            (
                shortened(label, LABEL_WIDTH),
                *(self._mean_and_sd(field, table.loc[label]) for field in self.fields),
            )
            for label in self.results
        ]
        return Table(("", *map(self._heading, self.fields)), rows, title)

    def _mean_and_sd(self, field: Field, row: Any) -> str:
        sd, unit = row.get(f"{field.key}_std", math.nan), field.unit_in(self.units).bare
        mean = field.text(row[field.key], unit)
        return mean if math.isnan(sd) else f"{mean} ± {unit.value(sd)}"

    def _heading(self, field: Field) -> str:
        """Return the heading of a number's column, in one or two lines."""
        unit = field.unit_in(self.units)
        if field.is_gain:
            gain = "test gain" if field.metric == "test" else "gain"
            return f"{unit.heading(gain, is_gain=True)}\n{field.label}"
        name = self._score if field.metric == "test" else self.any_record.metric_label
        words = [field.label, name if field.metric else ""]
        return "\n".join(unit.heading(" ".join(filter(None, words))).split(" ", 1))

    def _notes(self) -> list[str]:
        notes = chance_notes(self.runs)
        if not self.is_complete:
            n_declared = len(self.declaration["seeds"])
            notes.append(f"Not complete: {self.n_done} of {n_declared} declared seeds are done.")
        notes += self._notes_on_differences()
        notes.append(_ABOUT_RANDOM_SEARCH if self.is_of_function else _ABOUT_RESTARTS)
        notes += [*self._notes_on_scores(), *self._notes_on_arms()]
        if rows := self.replication:
            level = f" Their {len(rows)} CIs have a joint level of 95%." if rows[1:] else ""
            notes.append(
                "New seeds: each arm's best network of each seed is trained again from one new "
                f"seed, beside its baseline network.{level}"
            )
        notes += data_notes(self.runs)
        notes += other_comparisons_note("The same objective is", self.like)
        notes.append(self.reused)
        if self.is_of_function:
            return [*notes, _ABOUT_BUDGETS, "All results are for this objective."]
        return [*notes, "All results are for this data set and this training."]

    @property
    def _design(self) -> Design:
        if self.resampled:
            return "new data"
        after_fixed = self.declaration["after_fixed"]
        return paired_design(sequential=self.sequential, after_fixed=after_fixed)

    def _notes_on_differences(self) -> list[str]:
        if not self.paired_differences:
            return []
        return difference_notes(
            self.paired_differences,
            self.unit,
            self._design,
            # A family without any claim left promises nothing; others count as declared.
            n_claims={what: n for what, n in self.n_claims.items() if self.families[what]},
            maximize=self.any_record.study.direction == StudyDirection.MAXIMIZE,
        )

    def _notes_on_scores(self) -> list[str]:
        notes, tested = [], self.any_record.test_evaluation
        if self.unit is ACCURACY:
            one = ""
            if tested:
                n, counted = tested["n_images"], n_counted(tested)
                one = f" One of {n} test {tested['unit']} is {100 / n:.2g} pp."
                one += f" They count as {counted:.0f}, as some repeat others." * (counted < n)
            notes.append(f"pp: percentage points.{one}")
        elif tested:
            notes.append(f"Test scores are of {tested['n_images']} test {tested['unit']}.")
        if not all(math.isfinite(run.test_value) for run in self.runs):
            notes.append("Means omit runs without a value.")
        if self.is_of_function:
            notes += [self._note_on_new_seeds(), self._note_on_failures()]
        return notes

    def _note_on_failures(self) -> str:
        """Return how many evaluations of best trials on new seeds failed; empty if none did."""
        runs = [run for run in self.runs if isinstance(run, FunctionRecord)]
        values = [value for run in runs for value in run.new_values]
        n_failed = sum(map(math.isnan, values))
        return failures_note(n_failed, len(values), "evaluations on new seeds", runs[0].failed)

    def _note_on_new_seeds(self) -> str:
        record = self.any_record
        if n := record.n_new_seeds if isinstance(record, FunctionRecord) else 0:
            times = f"{n} more time{'s' * (n > 1)}"
            return (
                f"Each run's best trial was evaluated {times} on new seeds, after its selection."
            )
        return (
            "Reported best values are too good (selection bias), most of all for samplers that "
            "repeat similar trials. Pass confirm=5 to evaluate best trials on new seeds."
        )

    def _notes_on_arms(self) -> list[str]:
        """Return the later costs of controls, and which samplers drew all trials at random."""
        notes = [
            f"{label}: {ARMS[runs[0].sampler].later.format(n=n)}."
            for label, runs in self.controls.items()
            if (n := max(run.n_networks for run in runs)) > 1
        ]
        for label, runs in self.samplers.items():
            arm = ARMS.get(runs[0].sampler)
            n_trials = max(len(run.done_trials) for run in runs)
            if arm and 0 < n_trials <= arm.n_startup:
                notes.append(
                    f"{label}: its first {arm.n_startup} trials are random, so with {n_trials} "
                    "trials it is random search."
                )
        return notes

    def _next_step(self) -> str:
        if not self.is_complete:
            return "continue with adnn.compare, or with adnn.resume and the comparison's name."
        if not self.is_of_function and not self.controls:
            return 'compare other uses of the compute: controls=("longer", "learning_rate").'
        if self._verdict() == "inconclusive" and len(self.seeds) > 1 and not self.resampled:
            return "plan the seeds that show a gain: comparison.plan(gain=...), or adnn plan"
        return ""

    def _fields(self) -> dict[str, Any]:
        record = self.any_record
        results = {
            label: [
                {"seed": seed, "study": run.study.study_name, "stop_reason": run.stop_reason}
                | numbers
                for seed, run, numbers in zip(
                    self.seeds, runs, self.numbers_of(label), strict=True
                )
            ]
            for label, runs in self.results.items()
        }
        return {
            "study_name": self.study_name,
            "metric": record.metric,
            "test_metric": record.test_metric,
            **self._attributes("seeds margin is_complete reference"),
            "table": self.table(),
            "differences": self.differences(),
            "replication": {row.arm: row.estimate for row in self.replication},
            "results": results,
            "settings": {label: settings_fields(runs[0]) for label, runs in self.results.items()},
        }
