"""The numbers of a recheck, computed from its evaluations, and its printed result.

A study's best value is too good, because it is the best of many noisy values. A few evaluations on
new seeds show the size of this excess. The first new seeds choose one of the best trials. The
other new seeds were not used for selection, so their mean estimates the value of the chosen trial
without selection bias.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import Baseline, Planned, RecheckSettings, Resampled, as_sizes
from adnn_optuna._seeds import confirmation_seeds, confirms, new_seeds
from adnn_optuna._units import (
    UNKNOWN,
    Estimate,
    Unit,
    capitalized,
    excess_over,
    in_list,
    in_number,
    params_in_words,
    score_sign,
    unit_of,
)
from adnn_optuna.engine.evaluations import NO_STORED_TRIAL
from adnn_optuna.render.document import (
    Advice,
    Caution,
    Detail,
    Figure,
    Line,
    Step,
    Table,
    Verdict,
)
from adnn_optuna.render.printed import TRIAL, Printed, number_fields
from adnn_optuna.results.confirmed_value import ConfirmedValue, mean_interval
from adnn_optuna.results.sentences import (
    MAKE_THE_REST,
    study_in_words,
    value_of_run,
    values_of_runs,
)
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.paired_differences import (
    NO_SPREAD,
    NORMAL,
    PairedDesign,
    PairedDifference,
    are_equal,
    fewest_pairs,
    is_by_t,
)
from adnn_optuna.stats.spread import fitted, outliers

if TYPE_CHECKING:
    import pandas as pd

    from adnn_optuna.results.overtuning import Overtuning

# A stored value is far from the runs if its distance from their mean is at least this number of
# half widths. These are half widths of the 95% prediction interval of one more run.
_FAR = 10
_FEWEST_TO_TELL = 5  # With fewer runs, the prediction interval may be far too narrow by chance.

_DECIDES_FIRST = ("replicates", "worse")  # A shown gain or loss precedes a shown overstatement.

Role = Literal["choose", "confirm"]  # A seed either chooses a trial or estimates its value.


class Row(NamedTuple):
    """An evaluation of a trial. ``stored`` is the trial's value in the study."""

    trial: int
    stored: float | None
    role: Role
    seed: int
    value: float


@dataclass(frozen=True)
class RecheckNumbers:
    """The numbers of a recheck, computed from its evaluations."""

    settings: RecheckSettings
    evaluations: Mapping[Evaluation, float]
    trials: Sequence[FrozenTrial]  # All completed trials, the best first.
    maximize: bool
    metric: str  # The name of the values.
    experiment: Any  # The key that determines the new seeds.
    # The plan of further seeds of each trial that was ever chosen, by the trial's number.
    plans: Mapping[int, Planned] = field(default_factory=dict)
    # The scores of single examples, for evaluations that store scores.
    scores: Mapping[Evaluation, np.ndarray] = field(default_factory=dict, compare=False)
    # The evaluations that violate a constraint.
    violated: frozenset[Evaluation] = field(default=frozenset(), compare=False)
    # The overtuning by the stored scores, or None unless both study and evaluations have scores.
    overtuned: "Overtuning | None" = field(default=None, compare=False)

    @functools.cached_property
    def candidates(self) -> list[FrozenTrial]:
        """The study's best trials that are evaluated again, best first."""
        return [self._by_number[number] for number in self.settings["candidates"]]

    @functools.cached_property
    def baselines_by_candidate(self) -> dict[int, FrozenTrial]:
        """The baseline of each candidate that has one, by the candidate's number."""
        baselines = {}
        for trial, against in zip(self.candidates, self.settings["baselines"], strict=True):
            if against is not None:
                stored_trial = self._by_number.get(against["number"])
                baselines[trial.number] = stored_trial or _trial_of_params(against, trial)
        return baselines

    @functools.cached_property
    def evaluated(self) -> dict[int, FrozenTrial]:
        """The candidates and their baselines, by number."""
        trials = (*self.candidates, *self.baselines_by_candidate.values())
        return {trial.number: trial for trial in trials}

    @functools.cached_property
    def _by_number(self) -> dict[int, FrozenTrial]:
        return {trial.number: trial for trial in self.trials}

    @property
    def is_deterministic(self) -> bool:
        """Whether the caller said that the evaluation uses no random numbers."""
        return self.settings["is_deterministic"]

    @functools.cached_property
    def choosing(self) -> list[Evaluation]:
        """The evaluations that choose a trial.

        They do not depend on each other. With a single candidate or a deterministic evaluation,
        there are none.
        """
        if self.is_deterministic or len(self.candidates) == 1:
            return []
        return self._evaluations_on(self.settings["candidates"], "choose")

    @functools.cached_property
    def confirming(self) -> list[Evaluation]:
        """The evaluations of the chosen trial and its baseline.

        Before the choice, there are none.
        """
        trials = (self.trial, self.against)
        return self._evaluations_on(
            dict.fromkeys(trial.number for trial in trials if trial), "confirm"
        )

    @property
    def needed(self) -> list[Evaluation]:
        """The evaluations of the recheck. Before the choice, only those that choose."""
        return self.choosing + self.confirming

    @functools.cached_property
    def missing(self) -> list[Evaluation]:
        """The needed evaluations that have not been made. They do not depend on each other."""
        return [evaluation for evaluation in self.needed if evaluation not in self.evaluations]

    @property
    def n_made(self) -> int:
        """The number of needed evaluations that are made."""
        return len(self.needed) - len(self.missing)

    @functools.cached_property
    def trial(self) -> FrozenTrial | None:
        """The candidate with the best mean, or None until all choosing seeds are evaluated."""
        if any(evaluation not in self.evaluations for evaluation in self.choosing):
            return None
        if self.is_deterministic:
            return self.best
        # Of equal trials, the first is chosen, as in Optuna.
        return max(self.candidates, key=self._rank)

    def _rank(self, trial: FrozenTrial) -> tuple[int, float]:
        """Return a trial's number of values on the seeds that choose, and their mean.

        The study's stored values were selected, so they only decide between equal ranks.
        """
        values = self.values(trial, "choose")
        return len(values), self._sign * mean(values or [0.0])

    @functools.cached_property
    def planned(self) -> Planned:
        """The number of further seeds for the chosen trial, and its rank."""
        default: Planned = {"seeds": self.settings["confirm"], "is_raised": False, "rank": 1}
        if self.trial is None:
            return default
        return self.plans.get(self.trial.number, default)

    def _evaluations_on(self, trial_numbers: Iterable[int], role: Role) -> list[Evaluation]:
        seeds = self._seeds_of(role)
        return [(number, seed) for number in trial_numbers for seed in seeds]

    def _seeds_of(self, role: Role) -> tuple[int, ...]:
        # A recheck and a search confirm networks on the same new seeds.
        draws_data = self.settings["draws_data"]
        if role == "choose":
            subject = json.dumps(self.experiment, sort_keys=True, default=str)
            return new_seeds(subject, "choose", self.settings["choose"], draws_data=draws_data)
        if self.trial is None or self.is_deterministic:
            return ()
        params = self.trial.params
        count = self.planned["seeds"]
        return confirmation_seeds(self.experiment, params, count, draws_data=draws_data)

    @property
    def _sign(self) -> int:
        return score_sign(maximize=self.maximize)

    @property
    def best(self) -> FrozenTrial:
        """The study's best trial."""
        return self.candidates[0]

    @property
    def against(self) -> FrozenTrial | None:
        """The baseline of the chosen trial, or None without a baseline or before the choice."""
        if self.trial is None or self.is_deterministic:
            return None
        return self.baselines_by_candidate.get(self.trial.number)

    @property
    def is_of_best(self) -> bool:
        """Whether the chosen trial is the study's best trial."""
        return self.trial is not None and self.trial.number == self.best.number

    @property
    def is_against_itself(self) -> bool:
        """Whether the chosen trial is its own baseline."""
        if self.trial is None or self.against is None:
            return False
        return self.trial.number == self.against.number

    @property
    def against_label(self) -> str:
        """The label of the chosen trial's baseline, such as "trial 0"."""
        assert self.trial is not None
        against = self.settings["baselines"][self.candidates.index(self.trial)]
        assert against is not None
        return against["label"]

    @property
    def resampled(self) -> Resampled | None:
        """The numbers of training and test examples, if seeds redraw splits of one data set."""
        return as_sizes(self.settings["resampled"])

    @functools.cached_property
    def estimate(self) -> Estimate:
        """The chosen trial's value with its CI, or NaN until all evaluations are made."""
        if self.on_new_data is None:
            return self.on_new_seeds
        return self.on_new_data

    @functools.cached_property
    def on_new_data(self) -> Estimate | None:
        """The chosen trial's value on new data and new seeds, or None without example scores."""
        overtuned = self.overtuned
        if self.trial is None or self.missing or overtuned is None or self.resampled:
            return None
        seeds = self.by_seed(self.trial, "confirm")
        evaluations = [(self.trial.number, seed) for seed in seeds]
        runs = [self.scores[run] for run in evaluations if run in self.scores]
        has_all_scores = len(runs) == len(evaluations)
        if len(runs) < 2 or not has_all_scores:
            return None
        if any(len(scores) != overtuned.n_examples for scores in runs):
            return None
        value, low, high = overtuned.on_new_seeds(runs)
        wider = self._width_over_fixed
        return Estimate(value, value + wider * (low - value), value + wider * (high - value))

    @property
    def _width_over_fixed(self) -> float:
        """The width of the CI on new seeds, divided by the width of a fixed design's 95% CI.

        It is above 1 if the number of seeds was raised or other trials were confirmed before.
        """
        fixed = mean_interval(self.confirmed.values)
        if not fixed.low < fixed.high:
            return 1.0
        actual = self.on_new_seeds
        return (actual.high - actual.low) / (fixed.high - fixed.low)

    @functools.cached_property
    def on_new_seeds(self) -> Estimate:
        """The chosen trial's value on new seeds and the same validation data."""
        if self.is_deterministic:
            return Estimate(*(stored_value(self.best),) * 3)
        return self.confirmed.estimate

    @functools.cached_property
    def confirmed(self) -> ConfirmedValue:
        """The chosen trial's runs on the further seeds; empty until all runs are made."""
        if self.trial is None or self.missing or self.is_deterministic:
            return ConfirmedValue([], self.planned, is_seeded=self.settings["is_seeded"])
        runs = [(self.trial.number, seed) for seed in self._seeds_of("confirm")]
        return ConfirmedValue(
            [self.evaluations[run] for run in runs],
            self.planned,
            self.settings["failed"],
            is_seeded=self.settings["is_seeded"],
            n_violated=len(self.violated.intersection(runs)),
            resampled=self.resampled,
        )

    @property
    def gain(self) -> Estimate:
        """The chosen trial's mean gain over its baseline, with its CI.

        Values are paired by further seed.
        """
        if self._difference is None:
            return UNKNOWN
        return self._difference.estimate

    @property
    def has_equal_differences(self) -> bool:
        """Whether the chosen trial has the same gain over its baseline on each further seed."""
        return self._difference is not None and self._difference.is_constant

    @functools.cached_property
    def _difference(self) -> PairedDifference | None:
        """The chosen trial compared with its baseline, or None unless all values are known."""
        if self.trial is None or self.against is None or self.missing:
            return None
        seeds = self._seeds_of("confirm")
        values = {}
        for role, trial in (("chosen", self.trial), ("against", self.against)):
            counted_values = [self._value_of(trial.number, seed) for seed in seeds]
            values[role] = [self._sign * value for value in counted_values]
        design = PairedDesign(
            names=[],
            n_planned=len(seeds),
            sequential=self.planned["is_raised"],
            after_fixed=self.planned["is_raised"],
            resampled=self.resampled,
        )
        n_claims = self.confirmed.n_claims
        rows = design.differences(values, n_claims=n_claims)
        [row] = design.for_new_data(rows, values, n_claims=n_claims)
        if row.n_pairs == len(seeds):
            return row
        return None

    @property
    def n_needed(self) -> int:
        """The smallest number of new seeds for which the gain has a CI."""
        n_claims = self.confirmed.n_claims
        is_raised = self.planned["is_raised"]
        return fewest_pairs(n_claims, sequential=is_raised, after_fixed=is_raised)

    @property
    def reported_gain(self) -> float:
        """The gain between the values that the study stores, or NaN if one is missing."""
        if not (self.trial and self.against and self.against.state == TrialState.COMPLETE):
            return math.nan
        return self._sign * (stored_value(self.trial) - stored_value(self.against))

    @property
    def is_of_other_values(self) -> bool:
        """Whether the stored values of candidates seem to be of another kind than new values.

        If all stored values are very far away, selection alone does not explain the distance: the
        best of many runs is still near the other runs.
        """
        if len(self.confirmed.values) < _FEWEST_TO_TELL:
            return False
        _, low, high = self.confirmed.next_run
        if math.isnan(low):  # The new values do not vary, or some values are missing.
            return False
        for trial in self.candidates:
            values = self.values(trial, "choose") or self.values(trial, "confirm")
            if values and abs(stored_value(trial) - mean(values)) <= _FAR * (high - low) / 2:
                return False
        return True

    @property
    def overstatement(self) -> Estimate:
        """The study's best value minus the chosen trial's value.

        If the best value is too good, it is positive.
        """
        return excess_over(self.estimate, stored_value(self.best), maximize=self.maximize)

    def by_seed(self, trial: FrozenTrial, role: Role) -> dict[int, float]:
        """Return a trial's values by seed, for the seeds of a role.

        If failures have no value, failed evaluations are omitted.
        """
        values = {seed: self._value_of(trial.number, seed) for seed in self._seeds_of(role)}
        return {seed: value for seed, value in values.items() if not math.isnan(value)}

    def _value_of(self, number: int, seed: int) -> float:
        """Return the value of an evaluation, or NaN if it has none.

        It has none if it was not made, or if it failed and failures have no value.
        """
        return value_of_run(self.evaluations.get((number, seed)), self.settings["failed"])

    def values(self, trial: FrozenTrial, role: Role) -> list[float]:
        """Return the values of :meth:`by_seed` without their seeds."""
        return [*self.by_seed(trial, role).values()]

    @property
    def n_lost(self) -> int:
        """The number of needed evaluations that failed."""
        values = (self.evaluations.get(evaluation, 0.0) for evaluation in self.needed)
        return sum(map(math.isnan, values))

    def rows(self) -> list[Row]:
        """Return a row for each evaluation, sorted by trial, role and seed."""
        trials = {trial.number: trial for trial in self.candidates}
        if self.against is not None:
            trials.setdefault(self.against.number, self.against)
        draws_data = self.settings["draws_data"]
        rows = []
        for (number, seed), value in self.evaluations.items():
            if number in trials:
                role: Role = "confirm" if confirms(seed, draws_data=draws_data) else "choose"
                rows.append(Row(number, trials[number].value, role, seed, value))
        places = [*trials]
        # The roles are sorted as words, so "choose" comes before "confirm".
        return sorted(rows, key=lambda row: (places.index(row.trial), row.role, row.seed))


def _trial_of_params(against: Baseline, like: FrozenTrial) -> FrozenTrial:
    """Return a trial with the baseline's parameters and another trial's distributions."""
    value = against["value"]
    return FrozenTrial(
        number=against["number"],
        trial_id=NO_STORED_TRIAL,
        state=TrialState.WAITING if value is None else TrialState.COMPLETE,
        value=value,
        datetime_start=None,
        datetime_complete=None,
        params=against["params"],
        distributions=dict(like.distributions),
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def stored_value(trial: FrozenTrial) -> float:
    """Return the value of a completed trial."""
    assert trial.value is not None  # A completed trial has a value.
    return trial.value


class _Finding(NamedTuple):
    """What the new seeds show about the gain: a verdict and a sentence."""

    verdict: Verdict
    sentence: str


class _OnBestValue(NamedTuple):
    """What the new seeds show about the study's best value.

    The figure has the title ``title``. In the figure, ``distance`` is the label of the distance
    between the best value and the mean on new seeds.
    """

    verdict: Verdict
    sentence: str
    title: str
    distance: str


@dataclass(frozen=True, repr=False)
class Recheck(Printed):
    """The result of a recheck: how much of a study's best value and gain remains on new seeds.

    Attributes:
        numbers: The evaluations on new seeds, and all numbers that follow from them.
    """

    numbers: RecheckNumbers
    _report_command: str = field(default="", compare=False)

    @property
    def trial(self) -> FrozenTrial | None:
        """The chosen trial, which has the best mean on the seeds that choose.

        Before all these evaluations are made, it is None.
        """
        return self.numbers.trial

    @property
    def value(self) -> float:
        """The chosen trial's mean on the further seeds, or NaN until all evaluations are made.

        If the study and the evaluations store the scores of single validation examples, the value
        is also corrected for new data.
        """
        return self.numbers.estimate.value

    @property
    def low(self) -> float:
        """The lower end of the 95% CI of :attr:`value`.

        If the number of further seeds was increased, all CIs are at 99%. If earlier rechecks chose
        other trials, each of these trials halves the error rate.
        """
        return self.numbers.estimate.low

    @property
    def high(self) -> float:
        """The upper end of the CI of :attr:`value`."""
        return self.numbers.estimate.high

    @property
    def against(self) -> FrozenTrial | None:
        """The trial with which the chosen trial is compared, or None."""
        return self.numbers.against

    @property
    def gain(self) -> Estimate:
        """The chosen trial's mean gain over :attr:`against` on the further seeds, with its CI.

        Differences are paired by seed.
        """
        return self.numbers.gain

    @property
    def overstatement(self) -> Estimate:
        """The study's best value minus the chosen trial's value, with its CI.

        If the best value is too good, it is positive, even if lower values are better.
        """
        return self.numbers.overstatement

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row for each evaluation.

        Returns:
            A data frame with the columns ``trial``, ``stored`` (the trial's value in the study),
            ``role`` (``"choose"`` or ``"confirm"``), ``seed`` and ``value``.
        """
        import pandas as pd

        return pd.DataFrame(self.numbers.rows(), columns=[*Row._fields])

    @property
    def _level(self) -> float:
        return self.numbers.confirmed.level

    def _title(self) -> str:
        return f"Recheck of {study_in_words(self.numbers.settings['study'])}"

    def _scope(self) -> str:
        numbers = self.numbers
        if numbers.is_deterministic:
            return ""
        scope = in_number(len(numbers.candidates), "trial")
        seeds = str(numbers.planned["seeds"])
        if numbers.choosing:
            seeds = f"{numbers.settings['choose']} + {seeds}"
        return f"{scope}, {seeds} {numbers.confirmed.where}"

    @property
    def _is_confirmed(self) -> bool:
        """Whether the chosen trial has a value from evaluations on new seeds."""
        return not (self.numbers.is_deterministic or math.isnan(self.value))

    def _verdict(self) -> Verdict:
        if not self._is_confirmed:
            return "not known"
        on_gain = self._on_gain.verdict
        on_best_value = self._on_best_value.verdict
        if on_gain in _DECIDES_FIRST:
            return on_gain
        if on_gain == "not shown" and on_best_value == "not known":
            return on_gain
        return on_best_value

    def _conclusion(self) -> str:
        numbers = self.numbers
        best = f"The study reported {self._best_in_words}"
        if numbers.is_deterministic:
            return f"{best}. You declared the evaluation deterministic, so nothing was evaluated."
        if self.trial is None or numbers.missing:
            # Before the choice, only the chosen trial's number of evaluations is known.
            n_needed = len(numbers.choosing) + (
                len(numbers.confirming) or numbers.planned["seeds"]
            )
            progress = f"{numbers.n_made} of {n_needed} evaluations are made"
            return f"{best}. Its value on {numbers.confirmed.where} is not known yet: {progress}."
        if math.isnan(self.value):
            return f"{best}. {numbers.confirmed.why_no_interval()}"
        findings = [self._on_best_value.sentence, self._on_gain.sentence]
        if self._on_gain.verdict in _DECIDES_FIRST:
            findings.reverse()
        sentences = [
            *findings,
            self._about_outliers(),
            numbers.confirmed.no_seed,
        ]
        return " ".join(filter(None, sentences))

    @functools.cached_property
    def _on_gain(self) -> _Finding:
        """What the new seeds show about the gain. Without a baseline, the sentence is empty."""
        numbers = self.numbers
        if self.trial is None or self.against is None:
            return _Finding("not known", "")
        baseline = numbers.against_label
        if numbers.is_against_itself:
            sentence = f"The chosen trial is {baseline} itself: nothing was gained."
            return _Finding("not shown", sentence)
        if self.trial.params == self.against.params != {}:
            trials = f"{capitalized(baseline)} and trial {self.trial.number}"
            sentence = (
                f"{trials} have the same parameters: their difference in the study is chance."
            )
            return _Finding("not shown", sentence)
        if math.isnan(self.gain.value):
            sentence = f"The gain over {baseline} is not known, because some evaluations failed."
            return _Finding("not known", sentence)
        return self._on_known_gain(self.trial, self.against)

    def _on_known_gain(self, trial: FrozenTrial, against: FrozenTrial) -> _Finding:
        numbers = self.numbers
        chosen = f"trial {trial.number}"
        baseline = numbers.against_label
        where = numbers.confirmed.where
        reported = ""
        if numbers.reported_gain > 0 and not numbers.is_of_other_values:
            size = self._unit.size(numbers.reported_gain)
            reported = f"; the study reported a gain of {size}"
        size = self._gain_line.unit.size(self.gain.value)
        if self.gain.low > 0:
            sentence = f"{capitalized(chosen)} beats {baseline} by {size} on {where}{reported}."
            return _Finding("replicates", sentence)
        if self.gain.high < 0:
            is_worse = f"{capitalized(chosen)} is worse than {baseline} by {size}"
            return _Finding("worse", f"{is_worse} on {where}{reported}.")
        values = numbers.values(against, "confirm")
        finding = f"No gain of {chosen} over {baseline} is shown on {where}"
        if numbers.values(trial, "confirm") == values:
            finding = f"All differences of {chosen} and {baseline} are 0 on {where}"
        elif numbers.confirmed.n_equal and are_equal(np.array(values)):
            side = "better" if self.gain.value > 0 else "worse"
            finding = f"On all {len(values)} {where}, {chosen} is {side} by {size}"
        return _Finding("not shown", f"{finding}{reported}.")

    @property
    def _best_in_words(self) -> str:
        return f"{self._best_line.value} (trial {self.numbers.best.number})"

    @functools.cached_property
    def _on_best_value(self) -> _OnBestValue:
        """What the new seeds show about the study's best value."""
        numbers = self.numbers
        excess = self._overstatement_line
        low = excess.estimate.low
        not_shown = (
            f"The study's best value, {self._best_in_words}, is not shown to be overstated."
        )
        if math.isnan(low):
            sentence = numbers.confirmed.why_no_interval() or not_shown
            label = f"luck: {excess.value}"
            return _OnBestValue("not shown", sentence, numbers.confirmed.no_interval, label)
        if numbers.is_of_other_values:
            sentence = (
                "The study's values of all rechecked trials are far from their new values: "
                "evaluate seems to be another function, or on another scale. So overstatement is "
                "not known."
            )
            return _OnBestValue("not known", sentence, "", "")
        if low <= 0 <= excess.estimate.high:
            ci = f"{numbers.confirmed.interval_name} {excess.ends}"
            title = f"Luck is not shown: {excess.value} ({ci})"
            label = f"luck: {excess.value}\N{NO-BREAK SPACE}(not shown)"
            return _OnBestValue("not shown", not_shown, title, label)
        return self._on_shown_distance(excess)

    def _on_shown_distance(self, excess: Line) -> _OnBestValue:
        """Return what a best value shows that is too good, or worse than the new values.

        If another trial than the best one is chosen, the best trial itself may be as good as it
        seems.
        """
        numbers = self.numbers
        assert self.trial is not None
        best = self._best_in_words
        low = excess.estimate.low
        size = excess.unit.size(excess.estimate.value)
        side = "too good" if excess.estimate.value > 0 else "too pessimistic"
        title = f"The best value is {size} {side}"
        if low > 0 and numbers.is_of_best:
            sentence = f"The study's best value, {best}, is overstated."
            return _OnBestValue("overstated", sentence, title, f"luck: {size}")
        if low > 0:
            expected = self._chosen_line.value
            sentence = (
                f"Expect {expected} from trial {self.trial.number}, not the best value, {best}."
            )
            title = f"Expect {expected}, not the best value, {self._best_line.value}"
            return _OnBestValue("overstated", sentence, title, f"luck: {size}")
        if numbers.is_of_best:
            sentence = f"The study's best value, {best}, is understated."
            return _OnBestValue("understated", sentence, title, f"{size} {side}")
        is_better = f"Trial {self.trial.number} is better than the study's best value, {best},"
        sentence = f"{is_better} on {numbers.confirmed.where}."
        return _OnBestValue("not shown", sentence, title, f"{size} {side}")

    def _about_outliers(self) -> str:
        """Return a sentence on seeds with far worse values of the chosen trial, if any."""
        assert self.trial is not None
        by_seed = self.numbers.by_seed(self.trial, "confirm")
        seeds = [*by_seed]
        places = outliers([*by_seed.values()], maximize=self.numbers.maximize)
        if not places:
            return ""
        named = in_list([f"seed {seeds[place]}" for place in places])
        return f"Trial {self.trial.number} is far worse on {named} than on the others."

    @property
    def _unit(self) -> Unit:
        numbers = self.numbers
        values = values_of_runs(numbers.confirmed.runs, numbers.settings["failed"])
        return fitted(numbers.metric, values).rounded_to(numbers.estimate)

    def _estimates(self) -> list[Line]:
        numbers = self.numbers
        if not self._is_confirmed:
            return []
        lines = [self._best_line, self._chosen_line]
        if not numbers.is_of_other_values:
            lines.append(self._overstatement_line)
        if not (numbers.is_against_itself or math.isnan(self.gain.value)):
            lines.append(self._gain_line)
        return lines

    def _subject(self) -> str:
        if self.trial is None or not (self._is_confirmed and self.trial.params):
            return ""
        return f"Chosen trial {self.trial.number}: {params_in_words(self.trial.params)}"

    @property
    def _best_line(self) -> Line:
        best = self.numbers.best
        reported = Estimate(stored_value(best))
        label = f"trial {best.number}, best"
        return Line(label, reported, self._unit, remark="reported by the study")

    @property
    def _chosen_line(self) -> Line:
        numbers = self.numbers
        assert self.trial is not None
        new_runs = numbers.confirmed.in_words(len(numbers.confirmed.values))
        remark = f"mean of {new_runs}"
        if numbers.on_new_data:
            remark = f"{new_runs}, estimated for new data"
        return Line(
            f"trial {self.trial.number}, chosen", numbers.estimate, self._unit, remark=remark
        )

    @property
    def _overstatement_line(self) -> Line:
        unit = self._unit
        difference = unit.difference(stored_value(self.numbers.best), self.value)
        remark = "best - chosen"
        if not self.numbers.maximize:
            difference = -difference
            remark = "chosen - best"
        excess = self.overstatement._replace(value=difference)
        return Line("overstatement", excess, unit, is_difference=True, remark=remark)

    @property
    def _gain_line(self) -> Line:
        unit = self._unit
        of_gain = unit.rounded_to(self.gain)
        # A narrow CI has at most one digit more than the values in the same column.
        digits = min(of_gain.digits, unit.digits + 1)
        remark = f"chosen over {self.numbers.against_label}"
        if self.numbers.settings["is_seeded"]:
            remark = f"{remark}, paired"
        of_gain = unit._replace(digits=digits)
        return Line("gain", self.gain, of_gain, is_difference=True, remark=remark)

    def _notes(self) -> list[str]:
        numbers = self.numbers
        if numbers.is_deterministic:
            return ["The trial was selected by its value. On other data, it may be worse."]
        notes = list[str]()
        confirmed = numbers.confirmed
        n = len(confirmed.values)
        if len(numbers.trials) == 1:
            notes.append("The study has one trial, so its value is one run, not the best of many.")
        if self.trial is not None and n:
            n_choosing = numbers.settings["choose"]
            sentence = f"Values are means of {confirmed.in_words(n)}, which selected nothing."
            if numbers.on_new_data:
                sentence = (
                    f"The value is the mean of {confirmed.in_words(n)}, minus the estimated bias "
                    "from selection on these examples."
                )
            if len(numbers.candidates) > 1:
                count = n_choosing if n_choosing > 1 else "one"
                sentence = f"{sentence} Another {count} chose the trial."
            notes.append(Detail(sentence))
            notes += confirmed.notes(
                self.trial.number,
                self._unit,
                self._about_data(),
                on_same_examples=numbers.on_new_data is not None,
            )
            if confirmed.n_equal:
                notes.append(self._about_equal_values())
        if not math.isnan(self.gain.value):
            notes.append(self._about_gain_interval())
        if numbers.n_lost > confirmed.n_failed:
            lost = f"{numbers.n_lost} of {len(numbers.needed)} evaluations failed"
            notes.append(Caution(f"In all, {lost}."))
        is_new = numbers.on_new_data or numbers.resampled
        if n and numbers.settings["draws_data"] and not is_new:
            notes.append(
                Detail(
                    "For the value on new data, return adnn.log_scores(trial, scores) from the "
                    "objective."
                )
            )
        return notes

    def _about_equal_values(self) -> str:
        """Return the advice if all seeds give the same value, unless other trials vary."""
        assert self.trial is not None
        value = self.numbers.confirmed.estimate.value
        stored = stored_value(self.trial)
        if math.isclose(value, stored):
            if any(row.stored not in (None, row.value) for row in self.numbers.rows()):
                return ""
            advice = "If nothing is random, set the option deterministic."
            if self.numbers.settings["is_seeded"]:
                return f"Does evaluate use the seed? {advice}"
            return advice
        write = self._unit.value
        return Caution(
            f"All new values of trial {self.trial.number} are {write(value)}, but the study "
            f"reported {write(stored)}: evaluate may not be the study's objective."
        )

    def _about_gain_interval(self) -> str:
        """Return why the gain has no CI, or what its CI assumes.

        A CI from sign flips assumes little, so its text is empty.
        """
        numbers = self.numbers
        n = numbers.planned["seeds"]
        if math.isfinite(self.gain.low):
            if numbers.has_equal_differences:
                return (
                    f"All {n} differences are equal. So the CI of the gain is widened by the "
                    "smallest gap between two values."
                )
            if numbers.planned["is_raised"] or not is_by_t(n, numbers.confirmed.n_claims):
                return ""
            return f"The CI of the gain is Student's t, assuming {NORMAL}."
        if n < numbers.n_needed:
            return f"No CI of the gain: {numbers.n_needed} {numbers.confirmed.where} are needed."
        return f"{capitalized(NO_SPREAD)}."

    def _about_data(self) -> str:
        """Return which variances the CI of the value includes.

        If seeds may draw data, it is empty.
        """
        if self.numbers.on_new_data:
            sentence = (
                "The CI of the value contains the variance of seeds, of examples, and of the "
                "selection on these examples."
            )
            if math.isfinite(self.gain.value):
                sentence = f"{sentence} The gain is measured on the same examples."
            return sentence
        if not self.numbers.settings["draws_data"]:
            sentence = "Only training randomness was redrawn; the validation data are the same."
            if math.isfinite(self.low):
                sentence = f"{sentence} The CI does not contain the variance of examples."
            return sentence
        return ""

    def _next_step(self) -> Step:
        if self.numbers.missing:
            return MAKE_THE_REST
        if self.numbers.is_deterministic:
            return Step()
        if not self._is_confirmed:
            return Step(
                Advice("Correct evaluate, and pass another study_name."),
                Advice("Correct the function, and pass another --study-name."),
            )
        return Step('result.report("recheck.html")', self._report_command, writes_report=True)

    def _tables(self) -> list[Table]:
        numbers = self.numbers
        if self.trial is None or not numbers.choosing:
            return []
        write = self._unit.value
        n = numbers.settings["choose"]
        rows = []
        for trial in numbers.candidates:
            values = numbers.values(trial, "choose")
            new_mean = write(mean(values or [math.nan]))
            if len(values) < n:
                new_mean = f"{new_mean} ({len(values)} of {n})"
            rows.append((f"trial {trial.number}", write(stored_value(trial)), new_mean))
        new_runs = numbers.confirmed.in_words(n)
        headings = ("", "reported", f"mean of\n{new_runs}")
        return [Table(headings, rows, "Choice of the trial", is_detail=True)]

    def _figures(self) -> list[Figure]:
        if not self._is_confirmed or self.numbers.is_of_other_values:
            return []
        return [self._selection_figure()]

    def _selection_figure(self) -> Figure:
        """Return a figure of all trials, the best value, and the chosen trial on new seeds."""
        # This import is here, because a result that is only printed does not need it.
        from adnn_optuna.results.value_figures import NewValues, selection_figure

        numbers = self.numbers
        on_best_value = self._on_best_value
        assert self.trial is not None
        where = numbers.confirmed.in_words(len(numbers.confirmed.values))
        reported = None
        if not numbers.is_of_best:
            stored = Estimate(stored_value(self.trial))
            reported = Line(f"trial {self.trial.number}", stored, self._unit)
        compared = None
        if self.against is not None and not numbers.is_against_itself:
            values = numbers.values(self.against, "confirm")
            if values:
                line = Line(
                    f"{numbers.against_label}, compared", Estimate(mean(values)), self._unit
                )
                compared = NewValues(f"{numbers.against_label}, {where}", line, values)
        figure = selection_figure(
            "selection",
            on_best_value.title,
            unit_of(numbers.metric).heading(numbers.metric),
            trials=[stored_value(trial) for trial in numbers.trials],
            best=self._best_line,
            chosen=NewValues(where, self._chosen_line, numbers.confirmed.values),
            compared=compared,
            level=numbers.confirmed.level,
            reported=reported,
            excess=on_best_value.distance,
            maximize=numbers.maximize,
        )
        caption = f"{figure.caption} {self._on_gain.sentence}".rstrip()
        return dataclasses.replace(figure, caption=caption)

    def _fields(self) -> dict[str, Any]:
        numbers = self.numbers
        trials = {"best": numbers.best, "trial": self.trial, "against": self.against}
        return {
            "study_name": numbers.settings["study"],
            **number_fields(numbers, "metric maximize"),
            **{role: trial and number_fields(trial, TRIAL) for role, trial in trials.items()},
            **number_fields(self, "value low high"),
            **number_fields(numbers, "gain reported_gain overstatement"),
            **number_fields(numbers.confirmed, "level next_run"),
            "is_deterministic": numbers.is_deterministic,
            "sequential": numbers.planned["is_raised"],
            "failed": numbers.settings["failed"],
            "n_lost": numbers.n_lost,
            "evaluations": numbers.rows(),
        }
