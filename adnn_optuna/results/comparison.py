"""The result of a comparison of samplers, with paired seeds."""

import dataclasses
import functools
import itertools
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from optuna.study import StudyDirection

from adnn_optuna._attributes import Declaration, DeclaredArm, Resampled, as_sizes
from adnn_optuna._checks import WrongValueError
from adnn_optuna._units import (
    ACCURACY,
    Unit,
    capitalized,
    in_number,
    score_in_words,
)
from adnn_optuna.engine.kinds import kind_of
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.render.document import (
    Advice,
    Caution,
    Detail,
    Figure,
    Line,
    Series,
    Step,
    Table,
    Verdict,
    difference,
)
from adnn_optuna.render.printed import Printed, number_fields
from adnn_optuna.results.declarations import (
    claims_of,
    declared_arm,
    design_of,
    fixed_declaration,
    n_claims_of,
    reference_of,
)
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
    other_comparisons_note,
    relation,
    short_labels,
    why_no_interval,
    with_assumption,
    with_short_labels,
)
from adnn_optuna.results.fields import RUN_FIELDS, Field, Units, numbers_of, seconds_under_way
from adnn_optuna.results.plan import Plan
from adnn_optuna.results.sentences import MAKE_THE_REST, NAME_A_VALUE, settings_fields
from adnn_optuna.results.study import (
    NotesOnRuns,
    StudyResult,
    bests_so_far,
    gains_so_far,
    why_no_best_trial,
)
from adnn_optuna.results.value_figures import best_mean, values_figure
from adnn_optuna.stats.paired_differences import (
    MARGIN,
    OPEN,
    Claim,
    PairedDesign,
    PairedDifference,
    Validity,
    check_margin,
)
from adnn_optuna.stats.power import required_seeds
from adnn_optuna.stats.spread import fitted_unit, known_sd

if TYPE_CHECKING:
    import pandas as pd

_BASELINES = "baseline networks"  # The best networks on new seeds are compared with this arm.
_BASELINE = "baseline"  # The row of the baseline networks in tables and figures.
_REPLICATION = {
    "better": "replicates",
    "worse": "a loss, which replicates",
    "equivalent": "equivalent: no gain that matters",
}
_ABOUT = {
    "random restarts": "Random restarts use no offsets: they gain by choosing among random "
    "initial weights. Only the gain over them is a sampler's own.",
    "random search": "Random search shows the gain from the number of trials alone.",
}


@dataclasses.dataclass(frozen=True)
class ComparisonNumbers:
    """The numbers of a comparison, computed from the records of its runs."""

    records: Mapping[str, Sequence[SearchRecord]]  # Each arm's runs, by seed.
    seeds: tuple[int, ...]
    margin: float | None
    declaration: Declaration  # The seeds and arms, and whether the comparison is sequential.

    def __post_init__(self) -> None:
        if self.margin is not None:
            check_margin(self.margin, self.unit.largest)
        first = self.any_record
        for run in self.runs:
            for name, limit in first.budget.items():
                if run.budget.get(name, limit) != limit:
                    raise WrongValueError(
                        f"Arms must have equal budgets; got {name} {limit} of study "
                        f"{first.study.study_name!r} and {run.budget[name]} of "
                        f"{run.study.study_name!r}. Continue with compare until all are equal."
                    )

    @functools.cached_property
    def _arms(self) -> dict[str, DeclaredArm]:
        stored_arms = self.declaration["arms"]
        return {
            label: stored_arms.get(label, declared_arm(runs[0].arm, runs[0].sampler))
            for label, runs in self.records.items()
        }

    @property
    def reference(self) -> str | None:
        """The label of the reference, such as random restarts, or None if it was not run."""
        return reference_of(self._arms)

    @property
    def samplers(self) -> dict[str, Sequence[SearchRecord]]:
        """The runs of each sampler, including random restarts."""
        return {label: runs for label, runs in self.records.items() if not runs[0].is_control}

    @property
    def controls(self) -> dict[str, Sequence[SearchRecord]]:
        """The runs of each control."""
        return {label: runs for label, runs in self.records.items() if runs[0].is_control}

    @property
    def runs(self) -> list[SearchRecord]:
        """The runs of all arms, arm by arm."""
        return [run for of_arm in self.records.values() for run in of_arm]

    @property
    def any_record(self) -> SearchRecord:
        """The record of any run, for facts that all runs share."""
        return next(iter(self.records.values()))[0]

    @property
    def study_name(self) -> str:
        """The name of the comparison. The names of its studies begin with it."""
        suffix = f"/{next(iter(self.records))}/seed={self.seeds[0]}"
        return self.any_record.study.study_name.removesuffix(suffix)

    @functools.cached_property
    def units(self) -> Units:
        """The units of values of the selection metric and of the test metric."""
        best_values = [[run.best_value for run in runs] for runs in self.records.values()]
        test_values = [[run.test_value for run in runs] for runs in self.records.values()]
        record = self.any_record
        return Units(
            fitted_unit(record.metric, best_values, are_paired=True),
            fitted_unit(record.test_metric, test_values, are_paired=True),
        )

    @property
    def unit(self) -> Unit:
        """The unit in which the scores of arms are written."""
        return self.units.test

    @property
    def score_name(self) -> str:
        """The name of the scores by which arms are compared."""
        return score_in_words(self.any_record.test_metric, self.any_record.positive)

    @property
    def reference_name(self) -> str:
        """The reference in words: "random restarts", or "random search" for functions."""
        return "random restarts" if self.any_record.has_baseline else "random search"

    @property
    def sequential(self) -> bool:
        """Whether the design is sequential, so that CIs are wider and valid after each seed."""
        return self.declaration["sequential"]

    @functools.cached_property
    def n_done(self) -> int:
        """The number of seeds whose runs have all ended and have test scores."""
        of_seeds = zip(*self.records.values(), strict=True)
        return sum(all(run.is_over for run in of_seed) for of_seed in of_seeds)

    @property
    def is_complete(self) -> bool:
        """Whether all declared seeds are done, or further seeds cannot decide a claim."""
        is_decided = self.sequential and not self.may_decide_more
        return is_decided or self.n_done == len(self.declaration["seeds"])

    @functools.cached_property
    def fields(self) -> list[Field]:
        """The fields of every run. Functions have no fields of a baseline."""
        has_baseline = self.any_record.has_baseline
        return [field for field in RUN_FIELDS if has_baseline or not field.needs_baseline]

    def numbers_of(self, label: str) -> list[dict[str, float]]:
        """Return the numbers of each run of an arm, by the keys of :attr:`fields`."""
        return numbers_of(self.records[label], self.fields)

    @functools.cached_property
    def families(self) -> dict[str, list[Claim]]:
        """The two families of claims: on samplers, and on controls."""
        return claims_of(self._arms)

    @property
    def n_claims(self) -> dict[str, int]:
        """The number of claims in each family, including all that were ever declared.

        A claim must not be dropped after its values were seen, because that would be a selection.
        """
        n_declared = n_claims_of(self.declaration["arms"])
        return {what: max(n_declared[what], len(claims)) for what, claims in self.families.items()}

    @functools.cached_property
    def paired_differences(self) -> list[PairedDifference]:
        """The differences of :meth:`Comparison.differences`, with all their statistics."""
        values = {}
        for label, runs in self.records.items():
            values[label] = [run.score for run in runs]
        # The reference comes last, because all other samplers are compared with it.
        samplers = sorted(self.samplers, key=lambda label: label == self.reference)
        of_samplers = {label: values[label] for label in samplers}
        families = self.families
        rows = self._differences_of(of_samplers, self.n_claims["samplers"], families["samplers"])
        if families["controls"]:
            of_controls = {label: values[label] for label in self.controls}
            all_values = {**of_samplers, **of_controls}
            n_claims = self.n_claims["controls"]
            with_controls = self._differences_of(all_values, n_claims, families["controls"])
            rows += [row for row in with_controls if row.verdict is not None]
        # The sort is stable, so rows with a claim come first, and claims on samplers before claims
        # on controls.
        return sorted(rows, key=lambda row: row.verdict is None)

    @functools.cached_property
    def replication(self) -> list[PairedDifference]:
        """For each arm, its best networks' mean gain over baseline networks on new seeds.

        Each best network is trained on one new seed. Arms without such training runs have no row.
        """
        gains_by_arm = {}
        for label, runs in self.records.items():
            gains = [run.gain_on_new_seed for run in runs]
            if math.isfinite(gains[0]):
                gains_by_arm[label] = gains
        # The claims on replication are a separate family. It counts every declared arm that may
        # replicate, even without a result.
        n_declared = sum(arm["may_replicate"] for arm in self.declaration["arms"].values())
        n_claims = max(len(gains_by_arm), n_declared)
        differences = []
        for label, gains in gains_by_arm.items():
            no_gains = [0.0] * len(gains)
            differences += self._differences_of({label: gains, _BASELINES: no_gains}, n_claims)
        return differences

    @functools.cached_property
    def design(self) -> PairedDesign:
        """The design of the comparison, which is the plan of its seeds."""
        return design_of(
            self.declaration, self.n_done, margin=self.margin, resampled=self.resampled
        )

    def _differences_of(
        self,
        values: Mapping[str, Sequence[float]],
        n_claims: int,
        claims: Sequence[Claim] | None = None,
    ) -> list[PairedDifference]:
        """Return the differences of arms.

        In a fixed design, they are inconclusive until all seeds are done.
        """
        n_examples = 0
        if self.unit is ACCURACY:
            n_examples = self.any_record.n_test_examples
        rows = self.design.differences(values, claims, n_claims=n_claims, n_examples=n_examples)
        return self.design.for_new_data(rows, values, n_claims=n_claims, splits=self._splits)

    @property
    def _splits(self) -> dict[str, list[list[float]]] | None:
        """The values of each run's best trial on the new seeds; None for fewer than two seeds.

        All runs of a seed have the same new seeds. If a run has no completed trial, its test value
        replaces each of these values.
        """
        n_new_seeds = self.declaration["arguments"].get("confirm", 0)
        if n_new_seeds < 2:
            return None
        return {
            label: [run.counted_new_values or n_new_seeds * [run.test_value] for run in runs]
            for label, runs in self.records.items()
        }

    @property
    def resampled(self) -> Resampled | None:
        """The numbers of training and test examples, if seeds redraw splits of one data set."""
        return as_sizes(self.declaration["arguments"].get("resampled"))

    @property
    def sampler_rows(self) -> list[PairedDifference]:
        """The differences with a claim on samplers."""
        return self.rows_of(self.families["samplers"])

    @property
    def n_inconclusive(self) -> int:
        """The number of open claims on samplers."""
        return sum(row.verdict in OPEN for row in self.sampler_rows)

    @property
    def may_decide_more(self) -> bool:
        """Whether further seeds may decide a claim on samplers.

        After a missing value, further seeds do not count.
        """
        return any(row.verdict in OPEN and row.n_pairs >= self.n_done for row in self.sampler_rows)

    def rows_of(self, claims: Sequence[Claim]) -> list[PairedDifference]:
        """Return the differences of these claims."""
        return [row for row in self.paired_differences if (row.arm, row.other) in claims]

    @functools.cached_property
    def over_reference(self) -> list[PairedDifference]:
        """The differences of the samplers from the reference, the best sampler first."""
        rows = [row for row in self.sampler_rows if row.other == self.reference and row.n_pairs]
        # A sampler that is shown to be better comes first, even if its mean is lower.
        return sorted(rows, key=lambda row: (row.verdict != "better", -row.mean))

    @property
    def strongest_control(self) -> str | None:
        """The control with the best mean selection metric, or None without controls.

        A choice by the test metric would have a selection bias.
        """

        def rank(label: str) -> tuple[bool, float]:
            best = mean(run.best_value for run in self.records[label])
            # A control without a known mean comes last.
            return math.isfinite(best), self.any_record.improvement(best, 0.0)

        return max(self.controls, key=rank, default=None)

    @property
    def seconds(self) -> float:
        """The seconds in which a trial or an evaluation on a new seed ran."""
        trials = (trial for run in self.runs for trial in (*run.done_trials, *run.confirming))
        return seconds_under_way(trials)


class _Finding(NamedTuple):
    """What a comparison shows about its samplers.

    ``title`` and ``rest`` are a sentence without a period. ``title`` alone is one, too.
    """

    verdict: Verdict
    title: str
    rest: str = ""


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(Printed):
    """The result of a comparison of samplers on the same seeds.

    There are three families of claims. In each family, at most 5% of comparisons contain a false
    claim, counting all claims that were ever declared.

    1. Samplers: each sampler against random restarts, and greedy against annealing.
    2. Controls: each sampler and random restarts against each control.
    3. Replication: each arm's best networks against baseline networks, each on one new seed.

    For functions there is one family: each sampler against random search.

    A comparison is sequential if it stops once all claims are decided, or if it gets further seeds
    or arms later. Its CIs are then wider.

    Attributes:
        results: The results of each arm by its label, in the order of ``seeds``.
        seeds: The seeds, in their declared order.
        margin: The largest difference that does not matter, in the metric on the test set or in a
            function's values. If :obj:`None`, no verdict is *equivalent*.
        declared: The stored declaration: seeds, arms, arguments and design.
        like: The names of other comparisons of the same objective in the same storage.
    """

    results: Mapping[str, Sequence[StudyResult]]
    seeds: tuple[int, ...]
    margin: float | None = MARGIN
    declared: Declaration | None = None
    like: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.numbers  # This raises errors for unequal budgets and wrong margins at once.

    @functools.cached_property
    def numbers(self) -> ComparisonNumbers:
        """All numbers that follow from the results."""
        records = {label: [run.record for run in runs] for label, runs in self.results.items()}
        declaration = self.declared or fixed_declaration(self.seeds)
        return ComparisonNumbers(records, self.seeds, self.margin, declaration)

    @property
    def study_name(self) -> str:
        """The name of the comparison. The names of its studies begin with it."""
        return self.numbers.study_name

    def table(self) -> "pd.DataFrame":
        """Return one row for each arm, with means and standard deviations over the seeds.

        The search selects by ``best``, so ``best`` has a selection bias. No search uses the test
        set. If the seed of a run's own baseline was unlucky, the gain over this baseline is too
        large. So the table also has each gain over the mean baseline of all seeds.

        Returns:
            A data frame with the index ``sampler``. The column ``seeds`` is the number of seeds.
            All other columns are means over the runs, such as ``trials`` and ``seconds``. Means of
            the selection metric are, for example, ``best``, ``baseline``, ``gain`` and
            ``gain_over_mean_baseline``. Means of the same metric on the test set have the prefix
            ``test_``. Each mean of a metric has its sample standard deviation in a column with the
            suffix ``_std``. For functions, ``test_best`` is the best trial's mean on new seeds,
            and there are no baselines.
        """
        import pandas as pd

        numbers = self.numbers
        rows = []
        for label in numbers.records:
            rows += [{"sampler": label, **of_run} for of_run in numbers.numbers_of(label)]
        arms = pd.DataFrame(rows).groupby("sampler", sort=False)
        table = pd.DataFrame({"seeds": arms.size()})
        for field in numbers.fields:
            table[field.key] = arms[field.key].mean()
            if field.metric:
                table[f"{field.key}_std"] = arms[field.key].agg(known_sd)
        return table

    def differences(self) -> "pd.DataFrame":
        """Return one row for each pair of arms: how much better the first arm is.

        The differences are of the selection metric on the test set, or of a function's values on
        new seeds. They are paired by seed, because runs of the same seed have the same data,
        initial weights and batches. A difference above 0 means that the first arm is better, even
        if lower values are better.

        Returns:
            A data frame with the index ``sampler``, ``other``. The column ``pairs`` is the number
            of pairs of runs. ``difference`` is the mean difference, and ``low`` and ``high`` are
            the ends of its CI. ``win_rate`` is the share of pairs in which the first arm is
            better, with a 95% CI from ``win_rate_low`` to ``win_rate_high``. ``worst`` is the
            smallest difference. ``verdict`` is the conclusion. ``reason`` says what the verdict
            assumes, or what limits it, such as a missing value.
        """
        return differences_frame(self.numbers.paired_differences, "sampler")

    def plan(self, gain: float) -> Plan:
        """Return the number of seeds that are needed to show a gain.

        The seeds of this comparison are the pilot.

        Args:
            gain: The difference to show for every claim on samplers. It is a difference of the
                metric on the test set, with accuracies as fractions, or of a function's values.

        Raises:
            ValueError: If there are fewer than two seeds, or the gain is not positive.
        """
        numbers = self.numbers
        pilot = {}
        for arm, other_arm in numbers.families["samplers"]:
            pairs = zip(numbers.records[arm], numbers.records[other_arm], strict=True)
            differences = [run.score - other_run.score for run, other_run in pairs]
            pilot[f"{arm} vs {other_arm}"] = [d for d in differences if math.isfinite(d)]
        if not pilot:
            raise WrongValueError(
                "A plan must have a sampler and random restarts to compare; got "
                f"{', '.join(numbers.records)}. Compare them first."
            )
        after_fixed = numbers.declaration["after_fixed"] or not numbers.sequential
        required = required_seeds(pilot, gain, after_fixed=after_fixed)
        first_seed = max(numbers.declaration["seeds"]) + 1
        seconds_per_seed = numbers.seconds / len(numbers.seeds)
        max_trial = numbers.any_record.budget["max_trial"]
        return Plan(required, first_seed, seconds_per_seed, numbers.unit, max_trial)

    @property
    def _level(self) -> float:
        return level_of(self._validity)

    def _title(self) -> str:
        return f"Comparison {self.study_name!r}"

    def _scope(self) -> str:
        return f"{in_number(len(self.results), 'arm')}, {in_number(len(self.seeds), 'seed')}"

    def _figures(self) -> list[Figure]:
        numbers = self.numbers
        return [self._gains(), _scores(numbers), _trials_figure(numbers)]

    def _verdict(self) -> Verdict:
        return self._on_samplers.verdict

    def _conclusion(self) -> str:
        on_samplers = f"{self._on_samplers.title}{self._on_samplers.rest}"
        claims = [on_samplers, *self._about_rivals(), *self._about_control()]
        rows = [*self._decided, *self._rivals, *self._controls_over_reference[:1]]
        return " ".join(f"{claim}." for claim in with_assumption(claims, rows))

    @property
    def _decided(self) -> Sequence[PairedDifference]:
        """The differences of the samplers about which the conclusion claims something."""
        rows = self.numbers.over_reference
        if self._on_samplers.verdict == "worse":
            return rows
        return [row for row in rows if row.verdict in ("better", "equivalent", "not worse")]

    @property
    def _rivals(self) -> list[PairedDifference]:
        """The differences between the best sampler and the controls."""
        best = [row.arm for row in self.numbers.over_reference[:1]]
        return self.numbers.rows_of([*itertools.product(best, self.numbers.controls)])

    @functools.cached_property
    def _on_samplers(self) -> _Finding:
        """What the comparison shows about the samplers."""
        rows = self.numbers.over_reference
        reference = self.numbers.reference_name
        # Samplers without a value are included.
        verdicts = {row.verdict for row in self._rows_over_reference}
        if self.numbers.reference is None:
            title = f"No {reference} were run, so no gain is distinguishable from selection bias"
            return _Finding("not known", title)
        if not rows:
            return _Finding("not known", self._about_first_gap())
        if rows[0].verdict == "better":
            return _Finding("better", self._about_better_samplers())
        if verdicts == {"worse"}:
            return _Finding("worse", f"Every sampler is worse than {reference} on average")
        verdict: Verdict = "equivalent"
        title = f"No sampler is better than {reference} by more than the margin"
        if verdicts & {*OPEN}:
            verdict = "inconclusive"
            title = f"No sampler is shown to be better than {reference}"
        return _Finding(verdict, title, self._about_alike())

    @property
    def _rows_over_reference(self) -> list[PairedDifference]:
        rows = self.numbers.sampler_rows
        return [row for row in rows if row.other == self.numbers.reference]

    def _about_alike(self) -> str:
        """Return the end of a sentence: which samplers are as good, or have the best mean."""
        rows = self.numbers.over_reference
        for verdict in ("equivalent", "not worse"):
            if alike := [row.arm for row in rows if row.verdict == verdict]:
                return f"; {named_are(alike)} {verdict}"
        return self._best_mean()

    def _about_better_samplers(self) -> str:
        """Return the samplers that are better than the reference, and if this is shown again."""
        rows = self.numbers.over_reference
        reference = self.numbers.reference_name
        verdict = relation(rows[0], labels=reference)
        better = [row.arm for row in rows if relation(row, labels=reference) == verdict]
        sentence = f"{named_are(better)} {verdict}"
        replication = {row.arm: row.verdict for row in self.numbers.replication}
        if open_arms := [arm for arm in better if replication.get(arm, "better") != "better"]:
            offsets = f"the offsets of {named(open_arms)}"
            sentence = f"{sentence}, but {offsets} are not shown to help on new seeds"
        return sentence

    def _best_mean(self) -> str:
        """Return the end of a sentence, about the best mean of the samplers.

        If a value is missing, it is empty, because the table's means are of other seeds.
        """
        rows = self._rows_over_reference
        if any(row.n_pairs < len(self.seeds) for row in rows):
            return ""
        means = {self.numbers.reference_name: 0.0} | {row.arm: row.mean for row in rows}
        highest = max(means.values())
        leaders = [label for label, of_arm in means.items() if of_arm == highest]
        of_samplers = " of the samplers" if self.numbers.controls else ""
        if len(leaders) == len(means):
            return f"; all means{of_samplers} are equal"
        return f"; best mean{of_samplers}: {named(leaders)}"

    def _about_first_gap(self) -> str:
        """Return, without a period, that no sampler was compared and why."""
        runs = {label: of_arm[0] for label, of_arm in self.numbers.samplers.items()}
        lacking = [label for label, run in runs.items() if not math.isfinite(run.score)]
        compared = f"No sampler was compared with {self.numbers.reference_name}"
        if not lacking:
            return compared
        why = "Set a larger max_trial, so that each run finds a finite value."
        if (run := runs[lacking[0]]).best is None:
            why = f"{lacking[0]}: {why_no_best_trial(run)}"
        elif math.isfinite(run.best_value):
            why = f"The best trial failed on new seeds. {NAME_A_VALUE}"
        gap = first_gap(lacking, f"seed {self.seeds[0]}")
        return f"{compared}: {gap} {why.rstrip('.')}"

    def _about_rivals(self) -> list[str]:
        """Return the claims on the best sampler against controls that do not search."""
        claims = []
        for row in self._rivals:
            control = self.numbers.controls[row.other][0].arm
            if control.claims_pair and row.n_pairs:
                claims.append(f"{row.arm} is {relation(row, labels=control.spent)}")
        return claims

    def _about_control(self) -> list[str]:
        """Return the claim on the first control, and on controls with the same verdict."""
        rows = self._controls_over_reference
        if not rows:
            return []
        reference = self.numbers.reference_name
        of_first = relation(rows[0], labels=reference)
        alike = [row.arm for row in rows if relation(row, labels=reference) == of_first]
        spent = [self.numbers.controls[label][0].arm.spent for label in alike]
        return [f"With the same compute, {named_are(spent)} {of_first}"]

    @property
    def _controls_over_reference(self) -> list[PairedDifference]:
        """The controls' differences from the reference.

        Controls that are better come first. Among equal verdicts, the strongest control does.
        """
        numbers = self.numbers
        claims = [(str(numbers.reference), control) for control in numbers.controls]
        rows = [row.turned() for row in numbers.rows_of(claims) if row.n_pairs]
        strongest = numbers.strongest_control
        return sorted(rows, key=lambda row: (row.verdict != "better", row.arm != strongest))

    def _estimates(self) -> list[Line]:
        rows = self.numbers.over_reference[:1] + self._controls_over_reference[:1]
        rows = with_short_labels(rows, self.results)
        lines = [difference_line(row, self.numbers.unit) for row in rows]
        for row in self.numbers.replication:
            word = _REPLICATION.get(str(row.verdict), "not shown to replicate")
            label = f"{short_labels(self.results)[row.arm]}, new seeds"
            copied_settings = self.numbers.records[row.arm][0].arm.copied_settings
            remark = f"{copied_settings}: {word}"
            lines.append(difference(label, row.estimate, self.numbers.unit, remark))
        return lines

    def _tables(self) -> list[Table]:
        title = f"Mean ± standard deviation over {len(self.seeds)} seeds"
        if len(self.seeds) == 1:
            title = "One seed"
        tables = [self._means(title)]
        if rows := self._claimed_rows:
            score = self.numbers.score_name
            title = f"{capitalized(score)}, paired by seed"
            # If there is only one row, it is already among the estimates.
            is_detail = len(rows) == 1
            unit = self.numbers.unit
            table = differences_table(rows, unit, self._validity, title=title, is_detail=is_detail)
            tables.insert(0, table)
        return tables

    @property
    def _claimed_rows(self) -> list[PairedDifference]:
        """The differences with a verdict. Data frames also have differences without one."""
        rows = [row for row in self.numbers.paired_differences if row.verdict is not None]
        return with_short_labels(rows, self.results)

    def _means(self, title: str) -> Table:
        """Return a table with the means over each arm's runs and over the baselines."""
        fields = [field for field in self.numbers.fields if field.is_tabled]
        table = self.table()
        rows = []
        for label, short_label in short_labels(self.results).items():
            means = [self._mean_and_sd(field, table.loc[label]) for field in fields]
            rows.append((short_label, *means))
        if self.numbers.any_record.has_baseline:
            rows.append((_BASELINE, *self._means_of_baselines(fields, table.iloc[0])))
        return Table(("", *map(self._heading, fields)), rows, title)

    def _means_of_baselines(self, fields: Sequence[Field], row: Any) -> list[str]:
        """Return the cells of the baseline networks.

        ``row`` may be from any arm, because all rows agree.
        """
        cells = []
        for field in fields:
            cell = ""
            if field.of_baseline:
                cell = self._mean_and_sd(field._replace(key=field.of_baseline), row)
            cells.append(cell)
        return cells

    def _mean_and_sd(self, field: Field, row: Any) -> str:
        sd = row.get(f"{field.key}_std", math.nan)
        unit = field.unit_in(self.numbers.units).bare
        mean = field.text(row[field.key], unit)
        if math.isnan(sd):
            return mean
        return f"{mean} ± {unit.value(sd)}"

    def _heading(self, field: Field) -> str:
        """Return the heading of a field's column, in one or two lines."""
        unit = field.unit_in(self.numbers.units)
        if field.is_gain:
            data = "test"
            if field.metric == "selection":
                data = self.numbers.any_record.metric.partition("_")[0]
            return f"{unit.heading(f'{data} gain', is_gain=True)}\n{field.label}"
        heading = field.label
        if field.metric == "selection":
            heading = f"{heading} {self.numbers.any_record.metric_label}"
        elif field.metric == "test":
            heading = f"{heading} {self.numbers.score_name}"
        return unit.heading(heading.strip()).replace(" ", "\n", 1)

    def _notes(self) -> list[str]:
        kind = kind_of(self.numbers.any_record.attrs)
        on_runs: NotesOnRuns = kind.load("notes_on_runs")(self.numbers.runs)
        notes = list(on_runs.most_important)
        if not self.numbers.is_complete:
            n_declared = len(self.numbers.declaration["seeds"])
            done = f"{self.numbers.n_done} of {n_declared} declared seeds are done"
            notes.append(Caution(f"Not complete: {done}."))
        notes.append(_ABOUT[self.numbers.reference_name])
        notes += self._notes_on_differences()
        notes += [*on_runs.others, *self._notes_on_arms()]
        if rows := self.numbers.replication:
            level = f" Their {len(rows)} CIs have a joint level of 95%." if rows[1:] else ""
            sentence = (
                "New seeds: each best network, and its baseline network, is trained again from "
                f"one new seed.{level}"
            )
            notes.append(Detail(sentence))
        notes += other_comparisons_note("The same objective is", self.like)
        return [*notes, on_runs.scope]

    @property
    def _validity(self) -> Validity:
        if self.numbers.resampled:
            return "new data"
        return self.numbers.design.validity

    def _notes_on_differences(self) -> list[str]:
        if not self.numbers.paired_differences:
            return []
        return difference_notes(
            with_short_labels(self.numbers.paired_differences, self.results),
            self.numbers.unit,
            self._validity,
            # A family without a current claim has no note. Other notes count all declared claims.
            n_claims={
                what: n for what, n in self.numbers.n_claims.items() if self.numbers.families[what]
            },
            maximize=self.numbers.any_record.study.direction == StudyDirection.MAXIMIZE,
        )

    def _notes_on_arms(self) -> list[str]:
        """Return notes about later costs of controls, and samplers that drew only at random."""
        notes = []
        for label, runs in self.numbers.controls.items():
            costs = [run.later_cost for run in runs if run.later_cost]
            notes += [f"{label}: {cost}." for cost in costs[:1]]
        if not all(math.isfinite(run.test_value) for run in self.numbers.runs):
            notes.append(Caution("Means omit runs without a value."))
        for label, runs in self.numbers.samplers.items():
            arm = runs[0].arm
            n_trials = max(len(run.done_trials) for run in runs)
            if 0 < n_trials <= arm.n_startup:
                sentence = (
                    f"{label}: its first {arm.n_startup} trials are random, so with "
                    f"{in_number(n_trials, 'trial')} it is random search."
                )
                notes.append(Caution(sentence))
        return notes

    def _next_step(self) -> Step:
        numbers = self.numbers
        if not numbers.is_complete:
            return MAKE_THE_REST
        is_open = self._verdict() == "inconclusive"
        # A plan needs differences that vary between seeds.
        has_interval = any(
            math.isfinite(row.low) and not row.is_constant for row in numbers.over_reference
        )
        if not (is_open and has_interval) or numbers.resampled:
            return Step()
        url = storage_url(numbers.any_record.study._storage)
        in_shell = shlex.join(["adnn", "plan", url or "", self.study_name, "--gain"])
        if numbers.margin:  # It is the smallest gain that matters.
            gain = f"{numbers.margin:g}"
            step = Step(f"result.plan(gain={gain})", f"{in_shell} {gain}")
        else:
            gain = "the smallest gain that matters to you. It plans the number of seeds."
            step = Step(Advice(f"Call result.plan with {gain}"), Advice(f"Run {in_shell} {gain}"))
        if url:
            return step
        return Step(step.python)

    def _gains(self) -> Figure:
        """Return a figure of each arm's difference from the reference."""
        numbers = self.numbers
        of_controls = self._controls_over_reference
        rows = numbers.over_reference + of_controls
        title = self._on_samplers.title
        better = [row for row in of_controls if row.verdict == "better"]
        if better:
            title = f"{title}; {named_are([row.arm for row in better])} better"
        [title] = with_assumption([title], [*self._decided, *better])
        short = short_labels(self.results)
        over_reference = f"{numbers.score_name} over {numbers.reference_name}"
        maximize = not numbers.any_record.is_minimized
        return interval_figure(
            "gains",
            title,
            gains_axis(over_reference, numbers.unit, maximize=maximize),
            [
                difference(short[row.arm], row.estimate, numbers.unit, row.verdict or "")
                for row in rows
            ],
            margin=numbers.margin or 0.0,
            level=level_of(numbers.design.validity),
            hollow=[short[control] for control in numbers.controls],
            no_interval=why_no_interval(rows),
            if_empty="No best trial has a test score.",
        )

    def _fields(self) -> dict[str, Any]:
        numbers = self.numbers
        record = numbers.any_record
        results = {}
        for label, runs in numbers.records.items():
            rows = []
            for seed, run, of_run in zip(self.seeds, runs, numbers.numbers_of(label), strict=True):
                name = run.study.study_name
                row = {"seed": seed, "study": name, "stop_reason": run.stop_reason, **of_run}
                rows.append(row)
            results[label] = rows
        settings = {label: settings_fields(runs[0]) for label, runs in numbers.records.items()}
        return {
            "study_name": self.study_name,
            **number_fields(record, "metric test_metric"),
            **number_fields(numbers, "seeds margin is_complete reference"),
            "table": self.table(),
            "differences": self.differences(),
            "replication": {row.arm: row.estimate for row in numbers.replication},
            "results": results,
            "settings": settings,
        }


def _scores(comparison: ComparisonNumbers) -> Figure:
    """Return a figure of each run's score and of the baseline networks' scores."""
    record = comparison.any_record
    values = {}
    if record.has_baseline:
        first_arm = next(iter(comparison.records.values()))
        values[_BASELINE] = [run.test_baseline for run in first_arm]
    for label, runs in comparison.records.items():
        values[label] = [run.test_value for run in runs]
    return values_figure(
        "scores",
        comparison.score_name,
        values,
        comparison.unit,
        names=comparison.design.names,
        controls=[_BASELINE, str(comparison.reference)],
        lower_is_better=record.is_minimized,
    )


def _trials_figure(comparison: ComparisonNumbers) -> Figure:
    """Return a figure of the best gain so far, or a function's best value, against trials."""
    unit = comparison.units.selection
    what = "gain"
    write: Callable[[float], str] = unit.gain
    is_lower_better = False
    label = unit.heading(f"Gain in {comparison.any_record.metric_label}", is_gain=True)
    if not comparison.any_record.has_baseline:
        what = "value"
        write = unit.value
        is_lower_better = comparison.any_record.is_minimized
        label = "Best value"
    score = f"best {what}"

    series = []
    means = {}
    colors = itertools.count()
    for arm, runs in comparison.samplers.items():
        color = None if arm == comparison.reference else next(colors)
        line = mean_series(arm, best_curves(runs), unit, color)
        series.append(line)
        if len(line.y) and math.isfinite(line.y[-1]):
            means[arm] = line.y[-1] / unit.scale
            n_trials = in_number(len(line.y), "trial")
            score = f"{what} in searches of {n_trials} (biased by selection)"
    return Figure(
        "trials",
        best_mean(score, means, write, lower_is_better=is_lower_better),
        "Trials",
        label,
        series,
        "Lines: means over the seeds. Bands: one standard error to each side.",
        lower_is_better=is_lower_better,
        if_empty="No trial is done.",
    )


def best_curves(runs: Sequence[SearchRecord]) -> list[list[float]]:
    """Return each run's best gain, or a function's best value, after each trial.

    A shorter run's curve continues with its last value.
    """
    curves = []
    for run in runs:
        curve = gains_so_far(run) if run.has_baseline else bests_so_far(run)
        if curve:
            curves.append(curve)
    n_trials = max(map(len, curves), default=0)
    return [[*curve, *[curve[-1]] * (n_trials - len(curve))] for curve in curves]


def mean_series(
    label: str, curves: Sequence[Sequence[float]], unit: Unit, color: int | None
) -> Series:
    """Return the mean of curves of equal length, with a band of one standard error."""
    if not curves:
        return Series(label, [], [])
    scaled = unit.scale * np.array(curves)
    mean = scaled.mean(axis=0)
    low = []
    high = []
    if len(curves) > 1:
        sd = np.array([known_sd(column) for column in scaled.T])
        standard_error = sd / math.sqrt(len(curves))
        low = _rounded(mean - standard_error)
        high = _rounded(mean + standard_error)
    trials = [*range(1, len(mean) + 1)]
    return Series(label, trials, _rounded(mean), low=low, high=high, color=color)


def _rounded(numbers: np.ndarray) -> list[float]:
    """Return numbers rounded to seven digits. More digits would only make pages larger."""
    return [float(f"{number:.7g}") for number in numbers]
