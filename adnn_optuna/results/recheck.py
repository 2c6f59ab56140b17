"""How much of a best value is luck: of equally good draws, and what a recheck of a study shows.

A study's best value is too high, because it is the best of many noisy ones. A few evaluations with
fresh seeds show by how much: some choose among the best trials, others, by which nothing was
chosen, tell what the chosen one is worth.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy import integrate, special, stats

from adnn_optuna._checks import WrongValueError, as_integer, check_number, check_positive
from adnn_optuna._units import with_class
from adnn_optuna.engine.evaluations import Evaluation, Findings, confirmation_seeds, new_seeds
from adnn_optuna.results.confirmation import UNKNOWN, Estimate
from adnn_optuna.stats.paired_differences import paired_differences
from adnn_optuna.stats.proportions import student_half_width

if TYPE_CHECKING:
    import pandas as pd

Baseline = Literal["mean", "one"]
"""What a gain is measured from: the mean of all draws, or one draw."""

FIRST_OF_PARAMS = 2**30
"""From here on numbers are of parameters that no trial of the study has."""
UNMOVED = "unmoved"  # The user attribute of such a trial, if it is the unmoved network.
_FEWEST_RUNS = 5  # Of fewer observed runs, the best says nothing of the best of many.
_ROUNDING = 1e-12  # Values of size 1 that differ by less are equal.
_DRAWS = np.linspace(-40.0, 40.0, 16_001)  # In standard deviations; of 1e308, the best is at 37.6.


@dataclasses.dataclass
class RecheckFacts(Findings):
    """What a recheck of a study shows, see :class:`~adnn_optuna.Recheck`."""

    maximize: bool
    candidates: Sequence[FrozenTrial] = dataclasses.field(repr=False)
    study_values: Sequence[float] = dataclasses.field(repr=False)
    seeds: int
    confirm: int
    confirm_best: bool
    is_seeded: bool
    is_deterministic: bool = False
    on_same_data: bool = False
    experiment: Any = dataclasses.field(default=None, repr=False)
    against_of: Callable[[FrozenTrial], FrozenTrial | None] = dataclasses.field(
        default=lambda _: None, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self.trial: FrozenTrial | None = None
        self.against: FrozenTrial | None = None
        self._sign = 1 if self.maximize else -1
        self.best: FrozenTrial = self.candidates[0]
        # The study may have had other best trials before it went on.
        others = filter(None, map(self.against_of, self.candidates))
        numbers = {trial.number for trial in (*self.candidates, *others)}
        self.evaluations: dict[Evaluation, float] = {
            e: v for e, v in self.evaluations.items() if e[0] in numbers
        }
        self.n_lost: int = sum(map(math.isnan, self.evaluations.values()))
        choosing = json.dumps(self.experiment, sort_keys=True, default=str)
        self._seeds = {"choose": new_seeds(choosing, "choose", self.seeds), "confirm": ()}
        self.missing: list[Evaluation] = []
        self.n_evaluations: int = 0
        if self.is_deterministic:
            self.trial = self.best
        else:
            self._choose()

        # The least difference of values: of accuracies, one image or more.
        known = np.unique([*self.study_values, *self.evaluations.values()])
        gaps, sizes = np.diff(known), np.maximum(np.abs(known[1:]), np.abs(known[:-1]))
        self._resolution = float(min(gaps[gaps > _ROUNDING * sizes], default=0.0))
        estimate = UNKNOWN
        self.gain: Estimate = UNKNOWN
        if self.is_deterministic:
            estimate = Estimate(*(_stored(self.best),) * 3)
        elif self.trial and not self.missing:
            estimate = self.interval(self.trial, "confirm")
            self.gain = self._gain(self.trial)
        self.value: float
        self.low: float
        self.high: float
        self.value, self.low, self.high = estimate
        # Student's t of one further value: its spread comes to that of the mean.
        n = len(self.values(self.trial, "confirm")) if self.trial else 0
        further = (self.high - self.low) / 2 * math.sqrt(1 + n)
        self.next_low: float = self.value - further
        self.next_high: float = self.value + further
        self.overstated: float
        self.overstated_low: float
        self.overstated_high: float
        self.overstated, self.overstated_low, self.overstated_high = self.excess(estimate)

    def _choose(self) -> None:
        """Choose a trial as soon as that is possible, and see what is missing to judge it."""
        self.missing = self._missing([trial.number for trial in self.candidates], "choose")
        n_confirmed = 1 + self.confirm_best
        if not self.missing:
            # The first of equals, as the study's best is.
            self.trial = chosen = max(self.candidates, key=self._rank)
            self.against = self.against_of(chosen)
            seeds = confirmation_seeds(self.experiment, chosen.params, self.confirm)
            self._seeds["confirm"] = seeds
            confirmed = (chosen, self.best if self.confirm_best else None, self.against)
            numbers = [*dict.fromkeys(trial.number for trial in confirmed if trial)]
            self.missing, n_confirmed = self._missing(numbers, "confirm"), len(numbers)
        self.n_evaluations = len(self.candidates) * self.seeds + n_confirmed * self.confirm

    def _missing(self, numbers: Sequence[int], role: str) -> list[Evaluation]:
        wanted: list[Evaluation] = [(n, seed) for n in numbers for seed in self._seeds[role]]
        return [evaluation for evaluation in wanted if evaluation not in self.evaluations]

    def _rank(self, trial: FrozenTrial) -> tuple[int, float]:
        values = [_stored(trial), *self.values(trial, "choose")]
        return len(values), fmean(values) * self._sign

    def _gain(self, trial: FrozenTrial) -> Estimate:
        """Return what a trial gains over the other one; unknown where a pair is."""
        if self.against is None:
            return UNKNOWN
        arms = {
            str(role): [self._sign * self.evaluations[n, s] for s in self._seeds["confirm"]]
            for role, n in enumerate((trial.number, self.against.number))
        }
        [row] = paired_differences(arms, equivalence=None)
        return Estimate(row.mean, row.low, row.high) if row.n_pairs == self.confirm else UNKNOWN

    @property
    def metric(self) -> str:
        """What the values are; of a study that does not tell, they are values."""
        if not isinstance(self.experiment, dict):
            return "value"
        return with_class(str(self.experiment["metric"]), self.experiment.get("positive"))

    @property
    def said_gain(self) -> float:
        """What the study says that the chosen trial gained over the other one; NaN if nothing."""
        if not (self.trial and self.against and self.against.state == TrialState.COMPLETE):
            return math.nan
        return self._sign * (_stored(self.trial) - _stored(self.against))

    def by_seed(self, trial: FrozenTrial, role: str) -> dict[int, float]:
        """Return the values that a trial came to with the seeds of a role, in their order."""
        known = {s: self.evaluations.get((trial.number, s), math.nan) for s in self._seeds[role]}
        return {seed: value for seed, value in known.items() if not math.isnan(value)}

    def values(self, trial: FrozenTrial, role: str) -> list[float]:
        """Return the same without the seeds."""
        return [*self.by_seed(trial, role).values()]

    @property
    def n_equal(self) -> int:
        """How many values there are by which nothing was chosen, if all are equal; else 0."""
        values = self.values(self.trial, "confirm") if self.trial else []
        return len(values) if len(values) > len({*values}) == 1 else 0

    def interval(self, trial: FrozenTrial, role: str) -> Estimate:
        """Return the mean of these values with its interval."""
        return mean_interval(self.values(trial, role), self._resolution)

    def excess(self, estimate: Estimate) -> Estimate:
        """Return how much better the study's best value is than an estimate of it."""
        value, *ends = (self._sign * (_stored(self.best) - bound) for bound in estimate)
        return Estimate(value, min(ends), max(ends))

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row for each evaluation; ``stored`` is what the study said of the trial."""
        import pandas as pd

        # First the seeds to choose by, which are even.
        ordered = sorted(self.evaluations.items(), key=lambda item: (item[0][1] % 2, item[0][1]))
        trials = {trial.number: trial for trial in (*self.candidates, self.against) if trial}
        rows = [
            (number, trial.value, "confirm" if seed % 2 else "choose", seed, value)
            for number, trial in trials.items()
            for (of, seed), value in ordered
            if of == number
        ]
        return pd.DataFrame(rows, columns=["trial", "stored", "role", "seed", "value"])


def _stored(trial: FrozenTrial) -> float:
    assert trial.value is not None  # It was completed.
    return trial.value


def mean_interval(values: Sequence[float], resolution: float) -> Estimate:
    """Return the mean with Student's t interval of 95 %, infinite for one value, NaN for none."""
    if not values:
        return UNKNOWN
    if len(values) == 1:
        return Estimate(values[0], -math.inf, math.inf)
    mean, half = fmean(values), student_half_width(values, 0.0, 0.95)
    # Of ties, but for rounding, it is as wide as the least difference that values can have.
    if max(values) - min(values) < resolution or not half:
        half = resolution / 2
    return Estimate(mean, mean - half, mean + half)


def expected_luck(
    n: int, sd: float | None = None, *, values: Sequence[float] | None = None
) -> float:
    """Return what the best of n equally good draws gains over their mean, by luck alone.

    For normal scores, that is the mean of the largest of n independent values with mean 0. If you
    have observed runs, pass their values: n of them are drawn, each as often as the others.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            adnn.expected_luck(50, sd=0.0096)  # 0.0216: 2.25 standard deviations

    Args:
        n: The number of draws.
        sd: Their standard deviation, for normal scores.
        values: Observed runs of one configuration, higher being better, in place of ``sd``.

    Raises:
        TypeError: If ``sd`` is no number.
        ValueError: If ``n`` is not a whole number of at least 1, ``sd`` not above 0, or not one of
            ``sd`` and ``values`` is set.
    """
    n = as_integer("n", n)
    if (sd is None) == (values is None):
        raise WrongValueError("Set either sd, for normal scores, or values, of observed runs.")
    if sd is None:
        assert values is not None
        observed = _checked_runs(values)
        # The largest of n draws is at most the i-th of k with a probability of (i / k)ⁿ.
        at_most = np.linspace(0, 1, len(observed) + 1) ** n
        return float(np.diff(at_most) @ observed - observed.mean())
    check_positive("sd", sd)
    # Of the largest draw: as a logarithm, that loses nothing however many there are.
    log_density = math.log(n) + stats.norm.logpdf(_DRAWS) + (n - 1.0) * special.log_ndtr(_DRAWS)
    mean = float(integrate.trapezoid(_DRAWS * np.exp(log_density), _DRAWS))
    return float(sd) * max(mean, 0.0)


def _checked_runs(values: Sequence[float]) -> np.ndarray:
    """Return the values of observed runs in ascending order."""
    observed = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if len(observed) < _FEWEST_RUNS or not np.isfinite(observed).all():
        raise WrongValueError(
            f"values must be at least {_FEWEST_RUNS} finite numbers; got {len(observed)} values. "
            "Measure more runs, or set sd for normal scores."
        )
    return observed


def chance_of_luck(
    n: int,
    sd: float | None,
    claimed: float,
    baseline: Baseline = "mean",
    files: int = 1,
    *,
    values: Sequence[float] | None = None,
) -> float:
    """Return how likely the best of n such draws is that much better, or more, by luck alone.

    Better than their ``"mean"``, or than ``"one"`` further draw, as a paper with one training
    before its search measures; at least once in ``files`` such searches.
    """
    check_number("claimed", claimed)
    files = as_integer("files", files)
    if values is not None:
        observed = _checked_runs(values)
        drawn = observed if baseline == "one" else observed.mean()
        below = np.searchsorted(observed, drawn + claimed - _ROUNDING * np.abs(observed).max())
        chance = 1 - float(np.mean((below / len(observed)) ** n))
        return -math.expm1(files * math.log1p(-chance)) if chance < 1 else 1.0
    assert sd is not None
    chance = -math.expm1(n * float(special.log_ndtr(claimed / sd)))
    if baseline == "one":
        over_draw = -np.expm1(n * special.log_ndtr(claimed / sd + _DRAWS))
        chance = float(integrate.trapezoid(over_draw * stats.norm.pdf(_DRAWS), _DRAWS))
    return -math.expm1(files * math.log1p(-chance)) if chance < 1 else 1.0


@dataclasses.dataclass(frozen=True)
class LuckFacts:
    """What luck alone gains, and how likely it makes a claimed gain, over either baseline."""

    n: int
    sd: float | None
    claimed: float | None = None
    baseline: Baseline | None = None
    files: int = 1
    values: Sequence[float] | None = None

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """What gains are measured from."""
        return ("mean", "one") if self.baseline is None else (self.baseline,)

    @property
    def expected(self) -> float:
        """What the best of the draws is expected to gain."""
        return expected_luck(self.n, self.sd, values=self.values)

    @property
    def chances(self) -> dict[Baseline, float]:
        """By each baseline, how likely one search gains what is claimed, or more."""
        return dataclasses.replace(self, files=1).chances_of_files

    @property
    def chances_of_files(self) -> dict[Baseline, float]:
        """By each baseline, how likely at least one of the searches does."""
        if self.claimed is None:
            return {}
        told = (self.n, self.sd, self.claimed)
        return {
            b: chance_of_luck(*told, b, self.files, values=self.values) for b in self.baselines
        }
