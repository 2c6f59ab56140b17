"""The numbers of a comparison of samplers: means, paired differences and verdicts."""

import dataclasses
import functools
import math
import operator
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from adnn_optuna._attributes import Declaration
from adnn_optuna._checks import WrongValueError
from adnn_optuna._units import ACCURACY, PLAIN, Unit, unit_of
from adnn_optuna.engine.arms import may_replicate
from adnn_optuna.engine.records import FunctionRecord, SearchRecord
from adnn_optuna.results.declarations import Claim, claims_of, n_claims_of, planned, reference_of
from adnn_optuna.results.differences import differences_frame
from adnn_optuna.results.fields import RUN_FIELDS, Field, Units, numbers_of, seconds_under_way
from adnn_optuna.results.plan import Plan, plan_seeds
from adnn_optuna.stats import paired_differences as paired
from adnn_optuna.stats.paired_differences import PairedDifference
from adnn_optuna.stats.resampling import Resampled, for_new_data
from adnn_optuna.stats.spread import known_sd, unit_of_values

if TYPE_CHECKING:
    import pandas as pd

_BASELINES = "baseline networks"  # The rivals of best networks on new seeds.


@dataclasses.dataclass(frozen=True)
class ComparisonNumbers:
    """The numbers of a :class:`adnn_optuna.Comparison`, which documents the attributes."""

    results: Mapping[str, Sequence[SearchRecord]] = dataclasses.field(repr=False)
    seeds: tuple[int, ...]
    margin: float | None = paired.MARGIN
    declared: Declaration | None = None
    like: tuple[str, ...] = ()
    reused: str = dataclasses.field(default="", repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.margin is not None:
            paired.check_margin(self.margin, self.unit.largest)
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
    def declaration(self) -> Declaration:
        """The declared seeds and arms, and whether the comparison is sequential."""
        return self.declared or planned(self.seeds)

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        return {label: runs[0].sampler for label, runs in self.results.items()}

    @property
    def reference(self) -> str | None:
        """The label of the arm that claims are against, if it was run."""
        return reference_of(self._names)

    @property
    def samplers(self) -> dict[str, Sequence[SearchRecord]]:
        """The results of the samplers, including random restarts."""
        return {label: runs for label, runs in self.results.items() if not runs[0].is_control}

    @property
    def controls(self) -> dict[str, Sequence[SearchRecord]]:
        """The results of other uses of the same compute."""
        return {label: runs for label, runs in self.results.items() if runs[0].is_control}

    @property
    def runs(self) -> list[SearchRecord]:
        """All runs, arm by arm."""
        return [run for of_arm in self.results.values() for run in of_arm]

    @property
    def any_record(self) -> SearchRecord:
        """One of the runs, for what is the same for all of them."""
        return next(iter(self.results.values()))[0]

    @property
    def study_name(self) -> str:
        """The beginning of the names of its studies."""
        suffix = f"/{next(iter(self.results))}/seed={self.seeds[0]}"
        return self.any_record.study.study_name.removesuffix(suffix)

    @property
    def is_of_function(self) -> bool:
        """Whether the samplers search any Optuna objective, and not init offsets of networks."""
        return isinstance(self.any_record, FunctionRecord)

    @functools.cached_property
    def units(self) -> Units:
        """How values of the metric of the selection are written, and those on the test set."""
        record, runs = self.any_record, self.runs
        return Units(
            self._fitted(record.metric, [run.best_value for run in runs]),
            self._fitted(record.test_metric, [run.test_value for run in runs]),
        )

    @property
    def unit(self) -> Unit:
        """How the scores by which arms are compared are written."""
        return self.units.test

    def _fitted(self, metric: str, values: Sequence[float]) -> Unit:
        """Return the unit of a metric, with as many digits as the values of all runs need."""
        unit, n = unit_of(metric), len(self.seeds)
        arms = [values[start : start + n] for start in range(0, len(values), n)]
        return unit_of_values(arms, are_paired=True) if unit is PLAIN else unit

    @property
    def sequential(self) -> bool:
        """Whether the CIs are wider to allow for reading them after each seed."""
        return self.declaration["sequential"]

    @functools.cached_property
    def n_done(self) -> int:
        """The number of seeds whose runs have all ended and have a test score."""
        of_seeds = zip(*self.results.values(), strict=True)
        return sum(all(run.is_over for run in of_seed) for of_seed in of_seeds)

    @property
    def is_complete(self) -> bool:
        """Whether all declared seeds are done, or further sequential ones would decide nothing."""
        is_decided = self.sequential and not self.may_decide_more
        return is_decided or self.n_done == len(self.declaration["seeds"])

    @functools.cached_property
    def fields(self) -> list[Field]:
        """The numbers that each run has."""
        return [
            field for field in RUN_FIELDS if not (field.needs_baseline and self.is_of_function)
        ]

    def numbers_of(self, label: str) -> list[dict[str, float]]:
        """Return the numbers of each run of an arm, by the keys of :attr:`fields`."""
        return numbers_of(self.results[label], self.fields)

    def table(self) -> "pd.DataFrame":
        """Return one row for each arm, with means and standard deviations over the seeds.

        ``best`` is the value that the search selected by, so it has a selection bias; no search
        saw the test set. A gain over a run's own baseline is large if the baseline's seed was
        unlucky, so each gain is also given over the mean baseline of all seeds.

        Returns:
            A data frame with the index ``sampler`` and the number of ``seeds``. For the metric of
            the selection it has the means of ``best``, ``baseline``, ``gain`` and
            ``gain_over_mean_baseline``, for the same metric on the test set those that begin with
            ``test_``; each has its sample standard deviation in a column ``…_std``. ``trials``
            and ``seconds`` are means over the runs. For functions, ``test_best`` is the best
            trial's mean on new seeds, and there are no baselines.
        """
        import pandas as pd

        rows = [
            {"sampler": label, **numbers}
            for label in self.results
            for numbers in self.numbers_of(label)
        ]
        arms = pd.DataFrame(rows).groupby("sampler", sort=False)
        table = pd.DataFrame({"seeds": arms.size()})
        for field in self.fields:
            table[field.key] = arms[field.key].mean()
            if field.metric:
                table[f"{field.key}_std"] = arms[field.key].agg(known_sd)
        return table

    def differences(self) -> "pd.DataFrame":
        """Return one row for each pair of arms: by how much the first is better on the test set.

        Runs of the same seed have the same data, initial weights and batches, so differences are
        paired by seed. They are of the metric of the selection on the test set, and above 0 if
        the first arm is better, also if lower values are.

        Returns:
            A data frame with the index ``sampler``, ``other`` and the columns ``pairs`` (of
            runs), ``difference`` (the mean), ``low`` and ``high`` (the ends of its CI),
            ``win_rate`` (the share of pairs in which the first is better) with the ends of its
            95% CI in ``win_rate_low`` and ``win_rate_high``, ``worst`` (the smallest
            difference), ``verdict`` and ``reason``.
        """
        return differences_frame(self.paired_differences, "sampler")

    @functools.cached_property
    def families(self) -> dict[str, list[Claim]]:
        """The claims on samplers, and those on controls; each family shares one error rate."""
        return claims_of(self._names)

    @property
    def n_claims(self) -> dict[str, int]:
        """How many claims of each family share an error rate: all that were ever declared.

        A family that shrinks after it was seen would be a selection by its values.
        """
        declared = n_claims_of(self.declaration["arms"])
        return {what: max(declared[what], len(made)) for what, made in self.families.items()}

    @functools.cached_property
    def paired_differences(self) -> list[PairedDifference]:
        """The statistics behind :meth:`differences`."""
        # The reference and the controls come last: all others are compared with them.
        labels = sorted(self.samplers, key=lambda label: label == self.reference)
        values = {
            label: [run.score for run in self.results[label]]
            for label in (*labels, *self.controls)
        }
        searched = {label: values[label] for label in labels}
        rows = self._compared(searched, self.n_claims["samplers"], self.families["samplers"])
        if of_controls := self.families["controls"]:
            others = self._compared(values, self.n_claims["controls"], of_controls)
            rows += [row for row in others if row.verdict is not None]
        # Claims come first, those that may end a sequential comparison at the top.
        return sorted(rows, key=lambda row: row.verdict is None)

    @functools.cached_property
    def replication(self) -> list[PairedDifference]:
        """The gains of each arm's best networks over baseline networks on one new seed each.

        It has a row for each arm for which that was computed.
        """
        gains = {label: [run.repeated for run in runs] for label, runs in self.results.items()}
        known = {label: of_arm for label, of_arm in gains.items() if math.isfinite(of_arm[0])}
        # A family of claims of their own, of all arms that were ever declared.
        n_claims = max(len(known), sum(map(may_replicate, self.declaration["arms"].values())))
        pairs = [{arm: values, _BASELINES: [0.0] * len(values)} for arm, values in known.items()]
        return [row for pair in pairs for row in self._compared(pair, n_claims)]

    def _compared(
        self,
        values: Mapping[str, Sequence[float]],
        n_claims: int,
        claims: Sequence[Claim] | None = None,
    ) -> list[PairedDifference]:
        """Return differences; inconclusive ones if planned seeds are missing."""
        tested = self.any_record.test_evaluation
        rows = paired.paired_differences(
            values,
            margin=self.margin,
            claims=claims,
            n_claims=n_claims,
            sequential=self.sequential,
            after_fixed=self.declaration["after_fixed"],
            names=[f"seed {seed}" for seed in self.seeds],
            n_examples=tested["n_images"] if tested and self.unit is ACCURACY else 0,
        )
        n_seeds = len(self.declaration["seeds"])
        if not self.sequential and (missing := n_seeds - self.n_done):
            reason = f"no CI yet: {missing} of {n_seeds} planned seeds are missing"
            return paired.inconclusive(rows, reason)
        return for_new_data(
            rows,
            values,
            self.resampled,
            n_planned=n_seeds,
            n_claims=n_claims,
            sequential=self.sequential,
            splits=self._splits,
        )

    @property
    def _splits(self) -> dict[str, list[list[float]]] | None:
        """The values on single new seeds, which all arms of a seed share, if there are several.

        A search all of whose trials failed has the same value on each of them.
        """
        n_new_seeds = self.declaration["arguments"].get("confirm", 0)
        if n_new_seeds < 2:
            return None
        return {
            label: [
                run.counted_new_values or n_new_seeds * [run.test_value]
                for run in runs
                if isinstance(run, FunctionRecord)
            ]
            for label, runs in self.results.items()
        }

    @property
    def resampled(self) -> Resampled | None:
        """The numbers of training and test examples, if seeds redraw splits of one data set."""
        numbers = self.declaration["arguments"].get("resampled")
        if numbers is None:
            return None
        n_train, n_test = numbers
        return n_train, n_test

    @property
    def n_inconclusive(self) -> int:
        """How many of the claims on samplers are not decided."""
        rows = self.rows_of(self.families["samplers"])
        return sum(row.verdict in paired.OPEN for row in rows)

    @property
    def may_decide_more(self) -> bool:
        """Whether further seeds may decide a claim on samplers: none counts after a gap."""
        rows = self.rows_of(self.families["samplers"])
        return any(row.verdict in paired.OPEN and row.n_pairs >= self.n_done for row in rows)

    def rows_of(self, claims: Sequence[Claim]) -> list[PairedDifference]:
        """Return the differences behind some claims."""
        return [row for row in self.paired_differences if (row.arm, row.other) in claims]

    @functools.cached_property
    def over_reference(self) -> list[PairedDifference]:
        """How much better than the reference each sampler is, the best first."""
        rows = self.rows_of(self.families["samplers"])
        known = [row for row in rows if row.other == self.reference and row.n_pairs]
        # Samplers that are shown to be better come first, whatever the means.
        return sorted(known, key=lambda row: (row.verdict != "better", -row.mean))

    @property
    def strongest_control(self) -> str | None:
        """The control with the best selection metric; the best on the test set would be biased."""

        def rank(label: str) -> tuple[bool, float]:
            best = mean(run.best_value for run in self.results[label])
            # An unknown mean ranks below all others.
            return math.isfinite(best), self.any_record.improvement(best, 0.0)

        return max(self.controls, key=rank, default=None)

    def plan(self, gain: float) -> Plan:
        """Return how many seeds it takes to show a gain, with these seeds as a pilot.

        Args:
            gain: The difference of the metric on the test set (accuracies are fractions) to show
                for every sampler against the reference, and for greedy against annealing.

        Raises:
            ValueError: If there are fewer than two seeds, or the gain is not positive.
        """
        scores = {label: [run.score for run in runs] for label, runs in self.results.items()}
        pairs = {
            f"{arm} - {other}": [
                d for d in map(operator.sub, scores[arm], scores[other]) if math.isfinite(d)
            ]
            for arm, other in self.families["samplers"]
        }
        if not pairs:
            raise WrongValueError(
                "A plan must have a sampler and random restarts to compare; got "
                f"{', '.join(self.results)}. Compare them first."
            )
        seconds = self.seconds / len(self.seeds)
        first_seed = max(self.declaration["seeds"]) + 1
        return plan_seeds(
            pairs,
            gain=gain,
            after_fixed=self.declaration["after_fixed"] or not self.sequential,
            seconds_per_seed=seconds,
            first_seed=first_seed,
            unit=self.unit,
        )

    @property
    def seconds(self) -> float:
        """The seconds in which any trial ran, or its evaluation on a new seed."""
        trials = (trial for run in self.runs for trial in (*run.done_trials, *run.confirming))
        return seconds_under_way(trials)
