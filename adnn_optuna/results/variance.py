"""The variation of a value from run to run, and the share of each source of randomness.

All sources of randomness are redrawn in each of n runs. Each run is repeated once for each source,
and only this source is redrawn. Half the mean squared difference between a run and its repetition
is the variance that the source causes, including its interactions (Jansen 1999, Computer Physics
Communications 117:35). So the sources' variances do not have to add up to the whole variance.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._seeds import new_seeds
from adnn_optuna._units import Estimate, Unit, all_of, in_list, in_number, unit_of
from adnn_optuna.render.document import (
    Caution,
    Detail,
    Figure,
    Line,
    Series,
    Step,
    Table,
)
from adnn_optuna.render.printed import Printed, number_fields
from adnn_optuna.results.difference_words import sources_in_words
from adnn_optuna.results.sentences import (
    MAKE_THE_REST,
    differing_share,
    failures_note,
    made_so_far,
    unseen_notes,
    value_of_run,
)
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.intervals import t_quantile, unseen_share
from adnn_optuna.stats.paired_differences import is_skewed
from adnn_optuna.stats.spread import FEWEST, fitted, has_few_values, outliers, standard_deviation

if TYPE_CHECKING:
    import pandas as pd

AS_GIVEN = 2**31 - 1  # If a seed has this value, its source is not redrawn.
ALL = "all sources"
SHARES = ["share", "share_low", "share_high"]


@dataclass(frozen=True)
class VarianceNumbers:
    """The runs of a measured variance, and the numbers that follow from them.

    Attributes:
        evaluations: The values of the finished runs, by the seeds of the sources.
        study_name: The name of the study that stores the runs.
        value_name: The name of the value.
        sources: The names of the sources of randomness that are redrawn.
        n: The number of runs with all sources redrawn.
        seed: The objective's own seed, or :obj:`None` for a function. Its run is not one of the
            ``n`` runs.
        maximize: Whether higher values are better.
        not_redrawn: Sources that may be random but are the same in all runs, in words.
        failed: The value of each failed run, or None.
        chance_limit: The highest accuracy that does not differ from always predicting the largest
            class. It is NaN for other metrics.
    """

    evaluations: Mapping[Evaluation, float] = field(repr=False)
    study_name: str
    value_name: str
    sources: tuple[str, ...]
    n: int
    seed: int | None
    maximize: bool
    not_redrawn: tuple[str, ...] = ()
    failed: float | None = None
    chance_limit: float = field(default=math.nan, repr=False)

    @property
    def _redrawn_alone(self) -> tuple[str, ...]:
        # With a single source, the n runs already redraw only this source.
        return self.sources if len(self.sources) > 1 else ()

    @functools.cached_property
    def _runs(self) -> list[list[Evaluation]]:
        """The evaluations of each run: first all sources redrawn, then each source alone."""
        seeds_of = functools.partial(new_seeds, count=self.n, draws_data=self.seed is None)
        first_seeds = [seeds_of(self.study_name, source) for source in self.sources]
        other_seeds = [seeds_of(self.study_name, f"{source} again") for source in self.sources]
        runs = []
        for i in range(self.n):
            all_redrawn = tuple(seeds[i] for seeds in first_seeds)
            run = [all_redrawn]
            for place in range(len(self._redrawn_alone)):
                seeds = [*all_redrawn]
                seeds[place] = other_seeds[place][i]
                run.append(tuple(seeds))
            runs.append(run)
        return runs

    @property
    def _as_given(self) -> Evaluation:
        return (AS_GIVEN,) * len(self.sources)

    @functools.cached_property
    def needed(self) -> list[Evaluation]:
        """All evaluations of the measurement, finished or missing."""
        in_use = [self._as_given] if self.seed is not None else []
        return in_use + [evaluation for of_run in self._runs for evaluation in of_run]

    @functools.cached_property
    def missing(self) -> list[Evaluation]:
        """The evaluations to make next; empty if none is missing."""
        return [evaluation for evaluation in self.needed if evaluation not in self.evaluations]

    @property
    def n_evaluations(self) -> int:
        """The number of all evaluations."""
        return len(self.needed)

    @property
    def n_lost(self) -> int:
        """The number of failed evaluations."""
        return sum(math.isnan(self.evaluations.get(e, 0.0)) for e in self.needed)

    @functools.cached_property
    def _table(self) -> NDArray[np.float64]:
        """The values of each run in a row: all sources redrawn, then each source alone.

        Missing values are NaN.
        """
        return np.array([[*map(self._value, of_run)] for of_run in self._runs])

    def _value(self, evaluation: Evaluation) -> float:
        """Return the value of an evaluation, or NaN if it is missing."""
        return value_of_run(self.evaluations.get(evaluation), self.failed)

    @functools.cached_property
    def run_values(self) -> NDArray[np.float64]:
        """The known values of the runs with all sources redrawn."""
        values = self._table[:, 0]
        return values[~np.isnan(values)]

    @functools.cached_property
    def outliers(self) -> list[str]:
        """The seeds of runs with far worse values than the other runs, in words."""
        is_known = ~np.isnan(self._table[:, 0])
        seeds = np.array([of_run[0] for of_run in self._runs])[is_known]
        return [
            ", ".join(f"{source}={seed}" for source, seed in zip(self.sources, run, strict=True))
            for run in seeds[outliers(self.run_values, maximize=self.maximize)]
        ]

    @property
    def mean(self) -> float:
        """The mean of :attr:`run_values`, or NaN without values."""
        if len(self.run_values):
            return float(self.run_values.mean())
        return math.nan

    @functools.cached_property
    def sd(self) -> Estimate:
        """The standard deviation of :attr:`run_values`, with its 95% CI."""
        return standard_deviation(self.run_values)

    @functools.cached_property
    def differences(self) -> dict[str, NDArray[np.float64]]:
        """For each source, the changes of the runs when only this source is redrawn."""
        rows = (self._table[:, 1:] - self._table[:, :1]).T
        return {
            source: row[~np.isnan(row)]
            for source, row in zip(self._redrawn_alone, rows, strict=True)
        }

    @functools.cached_property
    def sd_by_source(self) -> dict[str, Estimate]:
        """The standard deviation that each source causes alone, with its 95% CI."""
        if not self._redrawn_alone:
            return dict.fromkeys(self.sources, self.sd)
        return {
            source: standard_deviation(row, are_differences=True)
            for source, row in self.differences.items()
        }

    @property
    def critical_difference(self) -> float:
        """The critical difference of two single runs.

        For normal values, noise alone exceeds it in 5% of pairs of runs.
        """
        if (n := len(self.run_values)) < FEWEST:
            return math.nan
        return t_quantile(n - 1, 0.975) * math.sqrt(2) * self.sd.value

    @property
    def seed_value(self) -> float:
        """The value with the objective's own seed, or NaN if it is missing."""
        return self._value(self._as_given)

    @property
    def seed_z_score(self) -> float:
        """The own seed's value minus the mean, in standard deviations; positive if better.

        If the values do not vary, it is NaN.
        """
        better = self.seed_value - self.mean
        if not self.maximize:
            better = -better
        if self.sd.value > 0:
            return better / self.sd.value
        return math.nan

    def share(self, part: Estimate) -> dict[str, float]:
        """Return the share of a source's variance in the whole variance, with its 95% CI."""
        whole = self.sd
        if not whole.value > 0:
            return dict.fromkeys(SHARES, math.nan)
        if part is whole:
            return dict.fromkeys(SHARES, 1.0)
        share = (part.value / whole.value) ** 2
        width = 0.0
        if part.value > 0:
            # Both standard deviations are treated as independent, so the CI is too wide.
            width = math.hypot(math.log(part.high / part.low), math.log(whole.high / whole.low))
        low = share * math.exp(-width)
        high = share * math.exp(width)
        return {"share": min(share, 1.0), "share_low": min(low, 1.0), "share_high": min(high, 1.0)}


@dataclass(frozen=True, repr=False)
class Variance(Printed):
    """The variation of a value from run to run, and the share of each source of randomness.

    Attributes:
        numbers: The values of the runs, and all numbers that follow from them.
    """

    numbers: VarianceNumbers

    @property
    def mean(self) -> float:
        """The mean of the runs with all sources redrawn."""
        return self.numbers.mean

    @property
    def sd(self) -> Estimate:
        """The standard deviation of the runs with all sources redrawn, with its 95% CI."""
        return self.numbers.sd

    @property
    def sd_by_source(self) -> dict[str, Estimate]:
        """The standard deviation that each source causes alone, with its 95% CI."""
        return self.numbers.sd_by_source

    @property
    def critical_difference(self) -> float:
        """The critical difference of two single runs.

        For normal values, noise alone exceeds it in 5% of pairs of runs.
        """
        return self.numbers.critical_difference

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row for each source, and one row for all sources.

        Returns:
            A data frame with the index ``source``. The column ``sd`` is the standard deviation,
            with its 95% CI from ``low`` to ``high``. ``share`` is the source's share of the whole
            variance, at most 1, with its 95% CI from ``share_low`` to ``share_high``. The shares
            are NaN if the values do not vary.
        """
        import pandas as pd

        sds = {**self.numbers.sd_by_source, ALL: self.numbers.sd}
        rows = [
            {"sd": sd.value, "low": sd.low, "high": sd.high, **self.numbers.share(sd)}
            for sd in sds.values()
        ]
        return pd.DataFrame(rows, index=pd.Index(sources_in_words(sds), name="source"))

    @property
    def _is_known(self) -> bool:
        return not math.isnan(self.numbers.sd.value)

    def _title(self) -> str:
        return f"Variance of {self.numbers.value_name}"

    def _scope(self) -> str:
        return in_number(len(self.numbers.run_values), "run")

    def _next_step(self) -> Step:
        return MAKE_THE_REST if self.numbers.missing else Step()

    def _conclusion(self) -> str:
        numbers = self.numbers
        name = numbers.value_name
        n = len(numbers.run_values)
        if not self._is_known:
            progress = made_so_far(len(numbers.evaluations), numbers.n_evaluations, "runs")
            return f"The variance of {name} is not known yet: {progress}."
        if numbers.sd.value == 0:
            return f"{all_of(n, 'runs')} reached the same {name}. {differing_share(n, 'run')}"
        sentence = self._indistinguishable
        if math.isnan(numbers.seed_z_score):
            return sentence
        own = f"Seed {numbers.seed}, which is in use,"
        distance = f"{abs(numbers.seed_z_score):.1f}"
        if float(distance) == 0:
            return f"{sentence} {own} reaches the mean."
        side = "better" if numbers.seed_z_score > 0 else "worse"
        return f"{sentence} {own} is {distance} standard deviations {side} than the mean."

    @property
    def _may_reach_critical(self) -> bool:
        """Whether two runs can differ by the critical difference.

        If there are only two different values, their difference may be smaller.
        """
        values = self.numbers.run_values
        return not has_few_values(values.tolist()) or bool(
            np.ptp(values) >= self.numbers.critical_difference
        )

    @property
    def _indistinguishable(self) -> str:
        if not self._may_reach_critical:
            return "No two single runs are distinguishable from each other."
        return (
            f"Two single runs that differ by less than {self._critical} are not distinguishable "
            "from each other."
        )

    @property
    def _critical(self) -> str:
        return self._sd_unit.value(self.numbers.critical_difference)

    @property
    def _sds(self) -> dict[str, Estimate]:
        """The standard deviation of each source, and of all sources if there are several."""
        if len(self.numbers.sources) > 1:
            return {**self.numbers.sd_by_source, ALL: self.numbers.sd}
        return self.numbers.sd_by_source

    @property
    def _sd_unit(self) -> Unit:
        """The unit of a standard deviation. For percentages, it is percentage points."""
        unit = unit_of(self.numbers.value_name)
        return unit._replace(of_values=unit.of_gains).rounded_to(self.numbers.sd)

    def _estimates(self) -> list[Line]:
        numbers = self.numbers
        unit = self._sd_unit
        of_values = fitted(numbers.value_name, numbers.run_values.tolist())
        critical = Estimate(numbers.critical_difference)
        sd = numbers.sd
        if sd.value == 0:  # Equal values do not show how much other values would vary.
            sd = Estimate(0.0)
        lines = [
            Line("standard deviation", sd, unit),
            Line("critical difference", critical, unit),
            Line("mean", Estimate(numbers.mean), of_values),
        ]
        if not math.isnan(numbers.seed_value):
            value_in_use = Estimate(numbers.seed_value)
            lines.append(
                Line(f"seed {numbers.seed}", value_in_use, of_values, remark="the seed in use")
            )
        return lines

    def _tables(self) -> list[Table]:
        numbers = self.numbers
        if len(numbers.sources) == 1:
            return []
        unit = self._sd_unit.bare
        rows = []
        for source, sd in self._sds.items():
            share, low, high = (100 * value for value in numbers.share(sd).values())
            # By definition, the share of all sources together is 100%.
            cells = [
                *sources_in_words([source]),
                unit.value(sd.value),
                f"{unit.value(sd.low)} to {unit.value(sd.high)}",
            ]
            if source != ALL and math.isfinite(share):
                cells += [f"{share:.0f}%", f"{low:.0f} to {high:.0f}"]
            else:
                cells += ["", ""]
            rows.append(tuple(cells))
        in_unit = f"\n{unit_of(numbers.value_name).heading('', is_gain=True)}".rstrip()
        sd_heading = f"standard deviation{in_unit}"
        headings = ("source", sd_heading, "95% CI", "share of\nvariance", "95% CI")
        return [Table(headings, rows, "Standard deviation by source")]

    def _notes(self) -> list[str]:
        numbers = self.numbers
        notes = list[str]()
        if numbers.mean <= numbers.chance_limit:
            limit = unit_of(numbers.value_name).value(numbers.chance_limit)
            sentence = (
                f"The network is at chance: accuracies up to {limit} are not distinguishable from "
                "always predicting the largest class."
            )
            notes.append(Caution(sentence))
        if numbers.sd.value > 0 and self._may_reach_critical:
            sentence = (
                "If scores are normal, 5% of pairs of runs differ by more than the critical "
                "difference."
            )
            if is_skewed(np.array(numbers.run_values)):
                sentence = Caution(f"The scores look skewed. {sentence}")
            notes.append(sentence)
        notes.append(Detail(f"Redrawn: {in_list(sources_in_words(numbers.sources))}."))
        if numbers.not_redrawn:
            notes.append(f"Not redrawn: {in_list(numbers.not_redrawn)}.")
        if len(numbers.sources) > 1:
            sds = numbers.sd_by_source.values()
            if 0 < max(sd.low for sd in sds) <= min(sd.high for sd in sds):
                notes.append("The CIs of all sources overlap: their order is not shown.")
            notes.append(
                "A source's share includes its interactions with others, so shares need not add "
                "up to 100%. Larger estimates of a share are written as 100%."
            )
        if numbers.outliers:
            runs = "; ".join(numbers.outliers)
            notes.append(Caution(f"Outliers, far worse than the other runs: {runs}."))
        if numbers.sd.value > 0:
            notes += map(Detail, unseen_notes(len(numbers.run_values), "run"))
        still = [source for source, sd in numbers.sd_by_source.items() if sd.value == 0]
        if numbers.sd.value > 0 and still:
            most = max(unseen_share(len(numbers.differences[source])) for source in still)
            redrawing = f"Redrawing {in_list(sources_in_words(still))}"
            notes.append(
                f"{redrawing} changed nothing here. It may change up to {100 * most:.0f}% of runs."
            )
        notes.append(
            failures_note(numbers.n_lost, len(numbers.evaluations), "runs", numbers.failed)
        )
        if numbers.n_lost and numbers.failed is None:
            notes.append(Caution("The variance is over the runs that succeeded."))
        return notes

    def _figures(self) -> list[Figure]:
        """Return a figure of the standard deviations of each source and of all sources."""
        numbers = self.numbers
        unit = unit_of(numbers.value_name)
        known_sds = {source: sd for source, sd in self._sds.items() if not math.isnan(sd.value)}
        sds = known_sds.values()
        series = []
        for row, sd in enumerate(sds):
            x, low, high = ([unit.scale * end] for end in sd)
            label = self._sd_unit.value(sd.value)
            series.append(Series(label, x, [row], "squares", low, high))
        title = "Standard deviation by source of randomness"
        caption = "Bars: 95% CIs."
        if numbers.sd.value > 0:
            title = (
                f"Single runs have a standard deviation of {self._sd_unit.value(numbers.sd.value)}"
            )
            caption = f"{caption} {self._indistinguishable}"
        name = f"standard deviation of {numbers.value_name}"
        figure = Figure(
            key="variance",
            title=title,
            x_label=unit.heading(name, is_gain=True),
            y_label="",
            series=series,
            caption=caption,
            rows=sources_in_words(known_sds),
            from_zero=True,
            if_empty="No run has a value yet.",
        )
        return [figure]

    def _fields(self) -> dict[str, Any]:
        numbers = self.numbers
        spread = "mean sd sd_by_source critical_difference seed_value seed_z_score"
        return {
            **number_fields(numbers, "study_name value_name sources not_redrawn n seed"),
            "values": numbers.run_values,
            **number_fields(numbers, f"{spread} failed n_lost"),
        }
