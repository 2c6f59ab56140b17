"""The numbers of a recheck: the evaluations that it takes, and their findings.

A study's best value is too high, because it is the best of many noisy ones. A few evaluations on
new seeds show by how much: some select among the best trials, and others, which selected nothing,
estimate the selected trial's value.
"""

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._seeds import confirmation_seeds, confirms, new_seeds
from adnn_optuna._units import UNKNOWN, Estimate, with_class
from adnn_optuna.results.overtuning import Overtuning
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.overtuning import on_new_seeds
from adnn_optuna.stats.paired_differences import fewest_pairs, paired_differences
from adnn_optuna.stats.proportions import student_half_width
from adnn_optuna.stats.sequential import sequential_ends

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["choose", "confirm"]  # Seeds choose a trial, or estimate what it reaches.

FIRST_OF_PARAMS = 2**30  # From here on numbers are of parameters that no trial of the study has.
BASELINE_NETWORK = "baseline_network"  # The user attribute of the baseline network's trial.
_ROUNDING = 1e-12  # Values of size 1 that differ by less are equal.


class Row(NamedTuple):
    """An evaluation of a trial, whose value in the study is ``stored``."""

    trial: int
    stored: float | None
    role: Role
    seed: int
    value: float


@dataclass(frozen=True)
class RecheckNumbers:
    """The findings of a recheck, see :class:`Recheck`."""

    evaluations: Mapping[Evaluation, float] = field(repr=False)
    study_name: str
    maximize: bool
    candidates: Sequence[FrozenTrial] = field(repr=False)
    study_values: Sequence[float] = field(repr=False)  # Of all completed trials.
    seeds: int  # How many choose among the candidates.
    confirm: int  # How many further ones evaluate the chosen trial.
    is_seeded: bool  # Whether the evaluation takes the seed, so that it can be repeated.
    sequential: bool = False  # Whether `confirm` was raised after some were evaluated.
    is_deterministic: bool = False  # The caller says that nothing in it is random.
    on_same_data: bool = False  # The seed does not change the validation data.
    experiment: Any = field(default=None, repr=False)  # What the seeds follow from.
    against_of: Callable[[FrozenTrial], FrozenTrial | None] = field(
        default=lambda _: None, repr=False, compare=False
    )
    # Of single examples, of the evaluations that store them.
    scores: Mapping[Evaluation, np.ndarray] = field(
        default_factory=dict, repr=False, compare=False
    )
    # Those in which a constraint is violated.
    violated: frozenset[Evaluation] = field(default=frozenset(), repr=False, compare=False)
    # What the study's stored scores show; None without scores of both.
    overtuned: Overtuning | None = field(default=None, repr=False, compare=False)
    reused: str = field(default="", repr=False, compare=False, kw_only=True)

    @functools.cached_property
    def missing(self) -> list[Evaluation]:
        """The evaluations to make next, independent of each other; empty at the end."""
        if self.is_deterministic:
            return []
        wanted = self._choosing + self._wanted(self._confirmed, "confirm")
        return [evaluation for evaluation in wanted if evaluation not in self.evaluations]

    @functools.cached_property
    def n_evaluations(self) -> int:
        """How many evaluations the recheck takes in all, as far as is known."""
        if self.is_deterministic:
            return 0
        n_confirmed = len(self._confirmed) or 1
        return len(self.candidates) * self.seeds + n_confirmed * self.confirm

    @property
    def _choosing(self) -> list[Evaluation]:
        return self._wanted([trial.number for trial in self.candidates], "choose")

    @functools.cached_property
    def _chosen(self) -> FrozenTrial | None:
        """The candidate with the best mean; None until all seeds to choose by are evaluated."""
        if any(evaluation not in self.evaluations for evaluation in self._choosing):
            return None
        # The first of equals, as the study's best is.
        return max(self.candidates, key=self._rank)

    def _rank(self, trial: FrozenTrial) -> tuple[int, float]:
        """Return first how many values a trial has, then their mean, the stored one included."""
        values = [stored_value(trial), *self.values(trial, "choose")]
        return len(values), mean(values) * self._sign

    @property
    def _confirmed(self) -> list[int]:
        """The numbers of the trials that the further seeds evaluate."""
        return [*dict.fromkeys(t.number for t in (self._chosen, self.against) if t)]

    def _wanted(self, numbers: Sequence[int], role: Role) -> list[Evaluation]:
        return [(number, seed) for number in numbers for seed in self._seeds_of(role)]

    @property
    def _of_function(self) -> dict[str, bool]:
        # Networks are confirmed by the seeds by which their search is.
        return {"of_function": not self.on_same_data}

    def _seeds_of(self, role: Role) -> tuple[int, ...]:
        if role == "choose":
            of = json.dumps(self.experiment, sort_keys=True, default=str)
            return new_seeds(of, "choose", self.seeds, **self._of_function)
        if self._chosen is None:
            return ()
        params = self._chosen.params
        return confirmation_seeds(self.experiment, params, self.confirm, **self._of_function)

    @property
    def _sign(self) -> int:
        return 1 if self.maximize else -1

    @property
    def best(self) -> FrozenTrial:
        """The study's best trial."""
        return self.candidates[0]

    @property
    def trial(self) -> FrozenTrial | None:
        """The trial with the best mean, its stored value included; None until all are known."""
        return self.best if self.is_deterministic else self._chosen

    @functools.cached_property
    def against(self) -> FrozenTrial | None:
        """The trial that the chosen one is compared with, if any."""
        return self.against_of(self._chosen) if self._chosen else None

    @property
    def metric(self) -> str:
        """The name of the values; ``"value"`` if the study does not say."""
        if not isinstance(self.experiment, dict):
            return "value"
        return with_class(str(self.experiment["metric"]), self.experiment.get("positive"))

    @functools.cached_property
    def estimate(self) -> Estimate:
        """The chosen trial's value with its 95% CI; NaN until all evaluations are made."""
        return self.on_new_data or self.on_new_seeds

    @functools.cached_property
    def on_new_data(self) -> Estimate | None:
        """Its value on new data and new seeds; None without the scores of single examples."""
        if self.trial is None or self.missing or self.overtuned is None:
            return None
        number, overtuned = self.trial.number, self.overtuned
        known = [self.scores.get((number, seed)) for seed in self.by_seed(self.trial, "confirm")]
        runs = [run for run in known if run is not None]
        examples = overtuned.examples
        n = len(examples.scores)
        if not 1 < len(runs) == len(known) or any(len(run) != n for run in runs):
            return None
        optimism = self._sign * overtuned.optimism.value
        estimate = on_new_seeds(np.array(runs), examples.scores, overtuned.splits, optimism)
        # Wider by as much as the CI on new seeds is.
        fixed = mean_interval(self.values(self.trial, "confirm"), self._resolution)
        half, wider = fixed.high - fixed.low, self.on_new_seeds
        ratio = (wider.high - wider.low) / half if self.sequential and half else 1.0
        value, *ends = estimate
        return Estimate(value, *(value + ratio * (end - value) for end in ends))

    @functools.cached_property
    def on_new_seeds(self) -> Estimate:
        """Its value on new seeds and the same validation data."""
        if self.is_deterministic:
            return Estimate(*(stored_value(self.best),) * 3)
        if self.trial is None or self.missing:
            return UNKNOWN
        return self.interval(self.trial, "confirm")

    @property
    def value(self) -> float:
        """The chosen trial's mean on the further seeds."""
        return self.estimate.value

    @property
    def low(self) -> float:
        """The lower end of its 95% CI."""
        return self.estimate.low

    @property
    def high(self) -> float:
        """The upper end of its 95% CI."""
        return self.estimate.high

    @functools.cached_property
    def gain(self) -> Estimate:
        """The chosen trial's mean paired gain over the other one on the further seeds."""
        if self.trial is None or self.against is None or self.missing:
            return UNKNOWN
        arms = {
            str(role): [self._sign * self.evaluations[n, s] for s in self._seeds_of("confirm")]
            for role, n in enumerate((self.trial.number, self.against.number))
        }
        [row] = paired_differences(
            arms, margin=None, sequential=self.sequential, after_fixed=self.sequential
        )
        return row.estimate if row.n_pairs == self.confirm else UNKNOWN

    @property
    def n_needed(self) -> int:
        """How many new seeds a CI of the gain needs."""
        return fewest_pairs(1, sequential=self.sequential, after_fixed=self.sequential)

    @property
    def reported_gain(self) -> float:
        """The same gain by the study's own values; NaN if it has none."""
        if not (self.trial and self.against and self.against.state == TrialState.COMPLETE):
            return math.nan
        return self._sign * (stored_value(self.trial) - stored_value(self.against))

    @property
    def overstatement(self) -> Estimate:
        """How much better the study's best value is than the chosen trial's value."""
        value, *ends = (self._sign * (stored_value(self.best) - end) for end in self.estimate)
        return Estimate(value, min(ends), max(ends))

    @property
    def next_run(self) -> Estimate:
        """The chosen trial's value with the ends of a 95% prediction interval of one more run."""
        values = self.values(self.trial, "confirm") if self.trial and not self.missing else []
        value, low, high = mean_interval(values, self._resolution)
        n = len(values)
        # Student's t: the variance of a further value adds to that of the mean.
        half = (high - low) / 2 * math.sqrt(1 + n)
        return Estimate(value, value - half, value + half)

    def by_seed(self, trial: FrozenTrial, role: Role) -> dict[int, float]:
        """Return a trial's values by the seeds of a role, without failed ones."""
        known = self.evaluations
        values = {seed: known.get((trial.number, seed), math.nan) for seed in self._seeds_of(role)}
        return {seed: value for seed, value in values.items() if not math.isnan(value)}

    def values(self, trial: FrozenTrial, role: Role) -> list[float]:
        """Return a trial's values with the seeds of a role, without failed ones."""
        return [*self.by_seed(trial, role).values()]

    @functools.cached_property
    def used(self) -> dict[Evaluation, float]:
        """The evaluations of the present candidates and their baseline."""
        others = filter(None, map(self.against_of, self.candidates))
        numbers = {trial.number for trial in (*self.candidates, *others)}
        return {e: value for e, value in self.evaluations.items() if e[0] in numbers}

    @property
    def n_lost(self) -> int:
        """How many of the evaluations failed."""
        return sum(map(math.isnan, self.used.values()))

    @property
    def n_equal(self) -> int:
        """How many values the further seeds gave, if all are equal; else 0."""
        values = self.values(self.trial, "confirm") if self.trial else []
        return len(values) if len(values) > len({*values}) == 1 else 0

    def interval(self, trial: FrozenTrial, role: Role) -> Estimate:
        """Return the mean of a trial's values with its 95% CI."""
        is_sequential = self.sequential and role == "confirm"
        return mean_interval(self.values(trial, role), self._resolution, sequential=is_sequential)

    @functools.cached_property
    def _resolution(self) -> float:
        return resolution_of([*self.study_values, *self.used.values()])

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row for each evaluation.

        Returns:
            A data frame with the columns ``trial``, ``stored`` (the trial's value in the study),
            ``role`` (choose or confirm), ``seed`` and ``value``.
        """
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=[*Row._fields])

    def rows(self) -> list[Row]:
        """Return one row for each evaluation, by the trials and the seeds."""
        trials = {trial.number: trial for trial in (*self.candidates, self.against) if trial}
        roles: dict[int, Role] = {
            seed: "confirm" if confirms(seed, **self._of_function) else "choose"
            for _, seed in self.used
        }
        # Seeds to choose by come first.
        ordered = sorted(self.used.items(), key=lambda item: (roles[item[0][1]], item[0][1]))
        return [
            Row(number, trial.value, roles[seed], seed, value)
            for number, trial in trials.items()
            for (of, seed), value in ordered
            if of == number
        ]


def stored_value(trial: FrozenTrial) -> float:
    """Return the value of a completed trial."""
    assert trial.value is not None  # It was completed.
    return trial.value


def resolution_of(values: Sequence[float]) -> float:
    """Return the smallest difference of values: of accuracies, one example or more."""
    known = np.unique(values)
    gaps, sizes = np.diff(known), np.maximum(np.abs(known[1:]), np.abs(known[:-1]))
    return float(min(gaps[gaps > _ROUNDING * sizes], default=0.0))


def violated_note(n: int, n_seeds: int) -> str:
    """Return on how many new seeds a constraint is violated; empty if on none."""
    of = f"{n} of {n_seeds} new seed{'s' * (n_seeds != 1)}"
    return f"A constraint is violated on {of}; these values count, too." if n else ""


def mean_interval(
    values: Sequence[float], resolution: float, *, sequential: bool = False
) -> Estimate:
    """Return the mean with its 95% CI, Student's or sequential; NaN for one value."""
    if len(values) < 2:
        return Estimate(*values) if values else UNKNOWN
    center, half = mean(values), student_half_width(values, 0.0, 0.95)
    if sequential and max(values) - min(values) >= resolution:
        return Estimate(center, *sequential_ends(values, half))
    # The CI of equal values, except for rounding, is as wide as their smallest difference.
    if max(values) - min(values) < resolution or not half:
        half = resolution / 2
    return Estimate(center, center - half, center + half)
