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

from adnn_optuna._attributes import Planned
from adnn_optuna._seeds import confirmation_seeds, confirms, new_seeds
from adnn_optuna._units import UNKNOWN, Estimate, with_class
from adnn_optuna.results.confirmed_value import ConfirmedValue, mean_interval
from adnn_optuna.results.findings import counted
from adnn_optuna.results.overtuning import Overtuning
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.overtuning import on_new_seeds
from adnn_optuna.stats.paired_differences import fewest_pairs, paired_differences
from adnn_optuna.stats.resampling import Resampled, for_new_data

if TYPE_CHECKING:
    import pandas as pd

Role = Literal["choose", "confirm"]  # Seeds choose a trial, or estimate what it reaches.

FIRST_OF_PARAMS = 2**30  # From here on numbers are of parameters that no trial of the study has.
BASELINE_NETWORK = "baseline_network"  # The user attribute of the baseline network's trial.
_UNPLANNED: Planned = {"seeds": 0, "sequential": False, "rank": 1}


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
    seeds: int  # How many choose among the candidates.
    confirm: int  # How many further ones are to evaluate the chosen trial, at least.
    is_seeded: bool  # Whether the evaluation takes the seed, so that it can be repeated.
    failed: float | None = None  # The value that a failed evaluation counts as.
    # Returns how many confirm a chosen trial, by its number; stored before the first of them.
    plan_of: Callable[[int], Planned] | None = field(default=None, repr=False, compare=False)
    is_deterministic: bool = False  # The caller says that nothing in it is random.
    on_same_data: bool = False  # The seed does not change the validation data.
    experiment: Any = field(default=None, repr=False)  # What the seeds follow from.
    resampled: Resampled | None = None  # The sizes of the splits that the seeds redraw.
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
        return len(self.candidates) * self.seeds + n_confirmed * self.planned["seeds"]

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
        """Return how many values a trial has on the seeds that choose, then their mean.

        The stored value was selected: it counts only if these are equal.
        """
        values = self.values(trial, "choose")
        return len(values), self._sign * mean(values) if values else 0.0

    @functools.cached_property
    def planned(self) -> Planned:
        """How many further seeds were declared for the chosen trial, and its rank."""
        if self._chosen is None or self.plan_of is None:
            return {**_UNPLANNED, "seeds": self.confirm}
        return self.plan_of(self._chosen.number)

    @property
    def sequential(self) -> bool:
        """Whether their number was raised after some were evaluated."""
        return self.planned["sequential"]

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
        params, count = self._chosen.params, self.planned["seeds"]
        return confirmation_seeds(self.experiment, params, count, **self._of_function)

    @property
    def _sign(self) -> int:
        return 1 if self.maximize else -1

    @property
    def best(self) -> FrozenTrial:
        """The study's best trial."""
        return self.candidates[0]

    @property
    def trial(self) -> FrozenTrial | None:
        """The trial with the best mean on the seeds that choose; None until all are known."""
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
        if self.trial is None or self.missing or self.overtuned is None or self.resampled:
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
        fixed, ratio = mean_interval(self.confirmed.values), 1.0
        if fixed.low < fixed.high:
            wider = self.on_new_seeds
            ratio = (wider.high - wider.low) / (fixed.high - fixed.low)
        value, *ends = estimate
        return Estimate(value, *(value + ratio * (end - value) for end in ends))

    @functools.cached_property
    def on_new_seeds(self) -> Estimate:
        """Its value on new seeds and the same validation data."""
        if self.is_deterministic:
            return Estimate(*(stored_value(self.best),) * 3)
        return self.confirmed.estimate

    @functools.cached_property
    def confirmed(self) -> ConfirmedValue:
        """The chosen trial's runs on the further seeds; none until all evaluations are made."""
        if self.trial is None or self.missing or self.is_deterministic:
            return ConfirmedValue([], self.planned, is_seeded=self.is_seeded)
        runs = [(self.trial.number, seed) for seed in self._seeds_of("confirm")]
        return ConfirmedValue(
            [self.evaluations[run] for run in runs],
            self.planned,
            self.failed,
            is_seeded=self.is_seeded,
            n_violated=len(self.violated.intersection(runs)),
            resampled=self.resampled,
        )

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
        seeds = self._seeds_of("confirm")
        arms = {
            str(role): [self._sign * self._counted(number, seed) for seed in seeds]
            for role, number in enumerate((self.trial.number, self.against.number))
        }
        n_claims = self.confirmed.n_claims
        rows = paired_differences(
            arms,
            margin=None,
            n_claims=n_claims,
            sequential=self.sequential,
            after_fixed=self.sequential,
        )
        [row] = for_new_data(
            rows,
            arms,
            self.resampled,
            n_planned=len(seeds),
            n_claims=n_claims,
            sequential=self.sequential,
        )
        return row.estimate if row.n_pairs == len(seeds) else UNKNOWN

    @property
    def n_needed(self) -> int:
        """How many new seeds a CI of the gain needs."""
        n_claims, is_raised = self.confirmed.n_claims, self.sequential
        return fewest_pairs(n_claims, sequential=is_raised, after_fixed=is_raised)

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
        return self.confirmed.next_run

    def by_seed(self, trial: FrozenTrial, role: Role) -> dict[int, float]:
        """Return a trial's values by the seeds of a role; of failed ones only if they count."""
        values = {seed: self._counted(trial.number, seed) for seed in self._seeds_of(role)}
        return {seed: value for seed, value in values.items() if not math.isnan(value)}

    def _counted(self, number: int, seed: int) -> float:
        """Return the value of an evaluation; NaN if it failed, and failures have no value."""
        return counted(self.evaluations.get((number, seed)), self.failed)

    def values(self, trial: FrozenTrial, role: Role) -> list[float]:
        """Return a trial's values with the seeds of a role, see :meth:`by_seed`."""
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

    def interval(self, trial: FrozenTrial, role: Role) -> Estimate:
        """Return the mean of a trial's values with its CI."""
        plan = self.planned if role == "confirm" else _UNPLANNED
        wanted = self._wanted([trial.number], role)
        runs = [self.evaluations[run] for run in wanted if run in self.evaluations]
        return ConfirmedValue(runs, plan, self.failed, resampled=self.resampled).estimate

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
