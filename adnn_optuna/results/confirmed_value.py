"""The value of a configuration, estimated by runs on new seeds that selected nothing.

Rechecks and searches of functions share this estimate and its notes.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from adnn_optuna._attributes import Planned, Resampled
from adnn_optuna._units import UNKNOWN, Estimate, Unit, all_of, estimate_around, in_number, percent
from adnn_optuna.render.document import Caution, Detail
from adnn_optuna.results.sentences import (
    differing_share,
    failures_note,
    unseen_notes,
    values_of_runs,
)
from adnn_optuna.stats.intervals import student_half_width
from adnn_optuna.stats.paired_differences import are_equal, is_skewed, share_interval
from adnn_optuna.stats.sequential import (
    AFTER_FIXED,
    ALPHA,
    fewest_sequential_pairs,
    n_claims_of_rank,
    sequential_ends,
)
from adnn_optuna.stats.spread import has_few_values


@dataclass(frozen=True)
class ConfirmedValue:
    """The mean of a configuration's runs on new seeds, with its CI.

    A study may confirm several configurations, one after another. The CI of configuration k is at
    level 1 - 0.05 / 2^(k - 1). If the number of runs was increased, the level is 1 - 0.01 / 2^(k -
    1). In at most 5% of studies, at least one of these CIs is above the true value.

    Attributes:
        runs: The value of each run; a failed run has NaN.
        planned: The declared number of runs, and the configuration's rank k.
        failed: The value of each failed run. If None, a failed run prevents a CI.
        is_seeded: Whether the function takes a seed. If not, it draws its own random numbers.
        n_violated: The number of runs that violate a constraint.
        resampled: The numbers of training and test examples of a split, if each run redraws the
            split of one data set. The CI is then for new data of this kind.
    """

    runs: Sequence[float]
    planned: Planned
    failed: float | None = None
    is_seeded: bool = True
    n_violated: int = 0
    resampled: Resampled | None = None

    @functools.cached_property
    def values(self) -> list[float]:
        """The values of the runs, without failed runs if :attr:`failed` is None."""
        return values_of_runs(self.runs, self.failed)

    @property
    def n_failed(self) -> int:
        """The number of failed runs."""
        return sum(map(math.isnan, self.runs))

    @property
    def n_claims(self) -> int:
        """The divisor of the error rate, because other configurations were confirmed earlier."""
        return n_claims_of_rank(self.planned["rank"])

    @property
    def level(self) -> float:
        """The level of the CI, such as 0.95."""
        n_claims = self.n_claims
        if self._is_raised:
            n_claims *= AFTER_FIXED
        return 1 - ALPHA / n_claims

    @property
    def interval_name(self) -> str:
        """The name of the CI with its level, such as ``"95% CI"``."""
        return f"{percent(self.level)} CI"

    @functools.cached_property
    def estimate(self) -> Estimate:
        """The mean with its CI. Without a CI, the ends are NaN."""
        estimate = mean_interval(
            self.values,
            n_claims=self.n_claims,
            is_raised=self._is_raised,
            resampled=self.resampled,
        )
        has_interval = self._is_complete and not self._has_unplanned_splits
        if has_interval:
            return estimate
        return Estimate(estimate.value)

    @property
    def _is_raised(self) -> bool:
        return self.planned["is_raised"]

    @property
    def _is_complete(self) -> bool:
        return len(self.values) == len(self.runs) >= self.planned["seeds"]

    @property
    def _has_unplanned_splits(self) -> bool:
        """Whether runs redraw splits and the number of runs was increased later.

        There is no CI in this case, because a sequential CI is not valid for new data.
        """
        return self._is_raised and self.resampled is not None

    @property
    def next_run(self) -> Estimate:
        """The mean, with the 95% prediction interval of one more run."""
        value, low, high = mean_interval(self.values)
        if not self._is_complete:
            return Estimate(value)
        # The variance of one more run is n times the variance of the mean, and the two add up.
        half = (high - low) / 2 * math.sqrt(1 + len(self.values))
        return estimate_around(value, half)

    @property
    def n_equal(self) -> int:
        """The number of values if all are equal except for rounding, or else 0."""
        n = len(self.values)
        if n > 1 and are_equal(np.array(self.values)):
            return n
        return 0

    @property
    def _run(self) -> str:
        return "seed" if self.is_seeded else "run"

    @property
    def where(self) -> str:
        """The kind of runs, such as ``"new seeds"``."""
        return f"new {self._run}s"

    def in_words(self, n: int) -> str:
        """Return a number of runs, such as ``"10 new seeds"``."""
        return in_number(n, f"new {self._run}")

    @property
    def no_seed(self) -> str:
        """A note if the function takes no seed and its values differ, or else an empty text."""
        if self.is_seeded or self.n_equal:
            return ""
        return "The runs have no seed, so they cannot be repeated exactly."

    @property
    def no_interval(self) -> str:
        """A short text that says why the value has no CI."""
        if self.n_failed and self.failed is None:
            return f"No CI: {self.n_failed} of {len(self.runs)} {self.where} failed"
        if self.n_equal:
            return f"{all_of(self.n_equal, self.where)} give the same value"
        return "No CI of the value"

    def why_no_interval(self) -> str:
        """Return why the value has no CI, or an empty text if it has one."""
        n = len(self.runs)
        if math.isfinite(self.estimate.low):
            return ""
        if self.n_failed and self.failed is None:
            if self.n_failed == n:
                return f"No run succeeded: all {n} {self.where} failed."
            return f"{self.no_interval}. The value is the mean of the runs that succeeded."
        if n < self.planned["seeds"]:
            return (
                f"No CI of the value yet: {n} of {self.planned['seeds']} {self.where} are "
                "evaluated. Resume, with a larger max_time if you set one."
            )
        if self.n_equal:
            return f"{self.no_interval}. {differing_share(n, self._run)}"
        return f"{self.no_interval}: {self._why_unknown()}."

    def _why_unknown(self) -> str:
        """Return why there is no CI, although all planned runs are made."""
        n = len(self.runs)
        fewest = 2
        if self._is_raised:
            fewest = fewest_sequential_pairs(AFTER_FIXED * self.n_claims)
        if n < fewest:
            return f"{fewest} values on {self.where} are needed"
        if self._has_unplanned_splits:
            return f"for new data, the number of {self.where} must be planned, but it was raised"
        return "the values are not of one distribution"

    def notes(
        self, trial: int, unit: Unit, redrawn: str = "", *, on_same_examples: bool = False
    ) -> list[str]:
        """Return the notes about the runs, such as on violated constraints and on the CI.

        ``redrawn`` is a sentence on the variances that the CI includes; empty if unknown.
        """
        if not self.values:
            return []
        notes = [self._violated_note()]
        notes.append(failures_note(self.n_failed, len(self.runs), self.where, self.failed))
        if math.isfinite(self.estimate.low):
            redrawn = redrawn or self._redrawn
            if not on_same_examples:  # On the same examples, the printed CI is a different one.
                notes += self._assumption()
        notes += [redrawn, *self._level_notes()]
        if not has_few_values(self.values):
            ends = " to ".join(map(unit.value, (min(self.values), max(self.values))))
            of_same = " on the same examples" if on_same_examples else ""
            notes.append(f"Single runs of trial {trial}{of_same} range from {ends}.")
        if not self.n_equal:
            notes += map(Detail, unseen_notes(len(self.values), self._run))
        return notes

    def _assumption(self) -> list[str]:
        """Return what the CI of a fixed design is. Other designs have separate notes."""
        if self._is_raised or self.resampled:
            return []
        if {*self.values} <= {0.0, 1.0}:
            return [Detail("The CI is Clopper and Pearson's, for values of 0 and 1.")]
        if is_skewed(np.array(self.values)):
            return ["The values look skewed, but the CI assumes normal ones."]
        return [Detail("The CI of the value is Student's t, assuming normal values.")]

    def _violated_note(self) -> str:
        """Return a note on runs that violate a constraint, or an empty text."""
        if not self.n_violated:
            return ""
        runs = self.in_words(len(self.runs))
        return Caution(
            f"A constraint is violated on {self.n_violated} of {runs}; these values count, too."
        )

    @property
    def _redrawn(self) -> str:
        if self.resampled is not None:
            return (
                f"The {self._run}s redraw the split, and the CI is for new data of this kind. Its "
                "correction for overlapping splits is approximate (Nadeau and Bengio)."
            )
        if not self.is_seeded:
            return "The CI contains only the variance of what is random in the function."
        return "The CI is for new seeds. All that they do not change stayed the same."

    def _level_notes(self) -> list[str]:
        notes = []
        level = percent(self.level)
        if self._is_raised:
            notes.append(
                f"Sequential: more {self.where} were planned later, so CIs are at "
                f"{level}. They are wider than in a fixed design, because they are valid after "
                f"each {self._run}."
            )
        return [*notes, *rank_notes(self.planned["rank"], self.level)]


def rank_notes(rank: int, level: float) -> list[str]:
    """Return the note that the study confirmed other best trials before, if any."""
    if rank == 1:
        return []
    earlier = in_number(rank - 1, "other trial")
    return [f"The study confirmed {earlier} before, so CIs are at {percent(level)}."]


def mean_interval(
    values: Sequence[float],
    *,
    n_claims: int = 1,
    is_raised: bool = False,
    resampled: Resampled | None = None,
) -> Estimate:
    """Return the mean with its CI by Student's t.

    If all values are 0 or 1, the CI is by Clopper and Pearson (1934). If the number of values was
    increased later (``is_raised``), the CI is sequential. If the values do not vary, the ends are
    NaN.
    """
    if not values:
        return UNKNOWN
    if are_equal(np.array(values)):
        return Estimate(values[0])
    center = mean(values)
    level = 1 - ALPHA / n_claims
    are_binary = {*values} <= {0.0, 1.0}
    if are_binary and not (is_raised or resampled):
        return Estimate(center, *share_interval(center, len(values), level))
    half = student_half_width(values, 0.0, level)
    # Splits of one data set overlap. Nadeau and Bengio (2003) correct for this.
    if resampled is not None:
        n_train, n_test = resampled
        half *= math.sqrt(1 + len(values) * n_test / n_train)
    if is_raised:
        return Estimate(center, *sequential_ends(values, half, n_claims))
    return estimate_around(center, half)
