"""Snapshots of stored searches. Reading a search needs no model, data or TensorFlow."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from statistics import mean
from typing import Any, ClassVar, Self

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import (
    CODE,
    COMPARISON,
    CONFIG,
    EVALUATED,
    FAILED,
    GREEDY,
    GREEDY_IMPROVING,
    NEW_SEED_NAMES,
    OWNER,
    PLANNED,
    PROPOSAL,
    RESAMPLED,
    SEARCH,
    STOP_REASON,
    VIOLATED,
    Attributes,
    Json,
    Planned,
    Resampled,
    RunRecord,
    as_sizes,
    confirmation_name,
    first_fault,
    outcome_of,
    planned_of,
    read_study,
    runs_of,
)
from adnn_optuna._seeds import seeds_of_best_trial
from adnn_optuna.engine.arms import SAMPLERS, Arm
from adnn_optuna.engine.kinds import OTHER_KIND, kind_of
from adnn_optuna.engine.storages import StudyRead
from adnn_optuna.samplers._evaluations import evaluation_trials, value_of
from adnn_optuna.samplers._owners import owner_of
from adnn_optuna.samplers._replicates import Configuration, replicated
from adnn_optuna.samplers._trials import best_trial, check_one_objective, is_done, may_be_best

# The arm of a user's own sampler.
_USERS_OWN = Arm("", lambda *_: optuna.samplers.RandomSampler())


@dataclasses.dataclass(frozen=True)
class SearchRecord:
    """A snapshot of a study and its search, without the objective.

    The storage is read once, when the snapshot is made.
    """

    study: optuna.Study
    attrs: Attributes  # The study's user attributes.
    metric: str  # The selection metric.
    baseline: float  # The value over which gains are measured, or NaN if it is unknown.
    best: FrozenTrial | None
    trials: tuple[FrozenTrial, ...]
    confirming: tuple[FrozenTrial, ...]  # The evaluations of best trials on new seeds.

    arms: ClassVar[Mapping[str, Arm]] = SAMPLERS  # The keys are the names that studies store.
    has_baseline: ClassVar[bool] = True  # Whether gains are over a baseline.

    @classmethod
    def of(cls, read: StudyRead) -> Self:
        """Return the record of a study. As in MaxGainCallback, the first value is the baseline."""
        study = read.study
        trials = read.trials
        candidates = filter(may_be_best, trials)
        baseline = next((trial.values[0] for trial in candidates), math.nan)
        best = best_trial(trials, study.direction)
        confirming = confirmation_trials(study._storage, study.study_name)
        return cls(study, read.attrs, "value", baseline, best, tuple(trials), confirming)

    def with_stored(self, values: Mapping[str, Any]) -> Self:
        """Store attributes in the study, and return the record with them."""
        for name, value in values.items():
            self.study.set_user_attr(name, value)
        return dataclasses.replace(self, attrs={**self.attrs, **values})

    def refreshed(self, *kinds: str) -> Self:
        """Return the record with the study's current attributes of these ``kinds``."""
        attrs, _ = read_study(self.study)
        names = [name for name in attrs if name.partition("/")[0] in kinds]
        news = {name: attrs[name] for name in names}
        return dataclasses.replace(self, attrs={**self.attrs, **news})

    def with_new_seeds(self) -> Self:
        """Return the record with the current evaluations of its best trials on new seeds."""
        confirming = confirmation_trials(self.study._storage, self.study.study_name)
        return dataclasses.replace(self.refreshed(PLANNED), confirming=confirming)

    @property
    def sampler(self) -> str:
        """The sampler's name in the study; empty if :func:`search` did not run the study."""
        return self.settings.get("sampler", "")

    @property
    def arm(self) -> Arm:
        """The known facts about the sampler."""
        return self.arms.get(self.sampler, _USERS_OWN)

    @property
    def is_control(self) -> bool:
        """Whether the arm is a control, which uses the same compute in another way."""
        return self.arm.is_control

    @property
    def is_as_passed(self) -> bool:
        """Whether the study stores the user's own objective, not a control's variant of it."""
        return True

    @property
    def settings(self) -> Mapping[str, Any]:
        """The :class:`SearchSettings` that the study stores, or empty settings."""
        return self.attrs.get(SEARCH, {})

    @property
    def runs(self) -> list[RunRecord]:
        """The runs that began trials, in chronological order."""
        return runs_of(self.attrs)

    @property
    def budget(self) -> Json:
        """The limits of the last run or, before the first run, the planned limits."""
        runs = self.runs
        if runs:
            return runs[-1]["limits"]
        return {"max_trial": self.settings.get("n_trials", len(self.done_trials))}

    @property
    def stop_reason(self) -> str | None:
        """The limit that ended the study, or another reason.

        It is ``"exhausted"`` if no trial was left, ``"stopped"`` if the objective stopped the
        study, ``"interrupted"`` after Ctrl-C, and None if the study has not ended.
        """
        return self.attrs.get(STOP_REASON)

    @property
    def is_over(self) -> bool:
        """Whether the study ended by itself, and its best trial, if any, was tested."""
        return self.stop_reason not in (None, "interrupted") and self._is_tested

    @property
    def _is_tested(self) -> bool:
        return self.best is None or not math.isnan(self.test_value)

    @property
    def done_trials(self) -> list[FrozenTrial]:
        """The trials that ran to their end, with or without a value, by number."""
        return [trial for trial in self.trials if is_done(trial)]

    @property
    def best_is_added(self) -> bool:
        """Whether ``study.add_trial`` stored the best trial, so that it was not evaluated here."""
        return self.best is not None and self._is_added(self.best)

    def _is_added(self, trial: FrozenTrial) -> bool:
        """Return whether a trial was added with its value, instead of run by this study."""
        is_search = CONFIG in self.attrs or SEARCH in self.attrs
        # A copied trial keeps the original trial's owner, and the owner has another trial number.
        is_copied = not {OWNER, PROPOSAL}.isdisjoint(trial.system_attrs)
        is_timed = "elapsed" in outcome_of(trial.user_attrs) and not is_copied
        return is_search and owner_of(trial) is None and not is_timed

    def proposer(self, trial: FrozenTrial) -> str:
        """Return what created a finished trial: a sampler, or a method of the study."""
        proposal = trial.system_attrs.get(PROPOSAL)
        if self._is_added(trial):
            return "study.add_trial"
        if self.is_control:  # A control's trials store the name of another sampler.
            return self.sampler
        if proposal is None:
            if OWNER in trial.system_attrs:
                return self.sampler
            return "study.optimize"
        kind = str(proposal["sampler"]).partition(":")[0]
        walks = (GREEDY, GREEDY_IMPROVING)
        is_walk = kind == "delta_step" and self.sampler in walks
        # `search` makes keyed samplers from names and from factories. A study has only one
        # sampler, so all its keyed trials are from it.
        if is_walk or kind == "keyed":
            return self.sampler
        return kind

    @property
    def best_value(self) -> float:
        """The selection metric of the best trial, or NaN if it is missing or infinite."""
        if self.best is not None and math.isfinite(self.best.values[0]):
            return self.best.values[0]
        return math.nan

    @property
    def gain(self) -> float:
        """The best trial's improvement over the baseline; negative if no trial is better."""
        return self.improvement(self.best_value, self.baseline)

    @property
    def is_minimized(self) -> bool:
        """Whether lower values are better."""
        return self.study.direction == StudyDirection.MINIMIZE

    def improvement(self, value: float, baseline: float) -> float:
        """Return the improvement of ``value`` over ``baseline``, in units of the metric."""
        if self.is_minimized:
            return baseline - value
        return value - baseline

    @functools.cached_property
    def numbered_values(self) -> list[tuple[int, float]]:
        """The numbers and values of the feasible completed trials with finite values."""
        candidates = filter(may_be_best, self.done_trials)
        values = [(trial.number, trial.values[0]) for trial in candidates]
        return [(number, value) for number, value in values if math.isfinite(value)]

    @functools.cached_property
    def values(self) -> list[float]:
        """The finite values of the completed trials, by number."""
        return [value for _, value in self.numbered_values]

    @functools.cached_property
    def gains(self) -> dict[int, float]:
        """The gain of each completed trial with a finite value, by number; it may be negative."""
        gains = {n: self.improvement(value, self.baseline) for n, value in self.numbered_values}
        return {number: gain for number, gain in gains.items() if math.isfinite(gain)}

    @property
    def metric_label(self) -> str:
        """The selection metric as results show it."""
        return self.metric

    @property
    def positive(self) -> Any:
        """The positive class of the metric, or :obj:`None`."""
        return None

    @property
    def hyperparameter_gain(self) -> float:
        """The gain of the best hyperparameters over the first trial's, or NaN if unknown."""
        return math.nan

    @property
    def n_test_evaluations(self) -> float:
        """The number of test-set evaluations by all studies, or NaN without a test set."""
        return math.nan

    @property
    def n_test_examples(self) -> int:
        """The number of test examples in the test value, or 0 if it is unknown."""
        return 0

    @property
    def counted_new_values(self) -> list[float]:
        """The best trial's values on new seeds, if their mean is the test value."""
        return []

    @property
    def later_cost(self) -> str:
        """The extra cost of using the best trial, such as "prediction costs 3 times as much".

        If there is no extra cost, the text is empty.
        """
        return ""

    @property
    def gain_on_new_seed(self) -> float:
        """The gain of the best trial over the baseline, both evaluated on one new seed.

        Without such evaluations, it is NaN.
        """
        return math.nan

    @property
    def test_metric(self) -> str:
        """The metric of the test value."""
        return "best reported value"

    @property
    def test_value(self) -> float:
        """The best trial's value on data or seeds without selection, or NaN if unknown."""
        return math.nan

    @property
    def test_baseline(self) -> float:
        """The baseline's value on the same data or seeds, or NaN if unknown."""
        return math.nan

    @property
    def test_gain(self) -> float:
        """The improvement of the best trial's test value over the baseline's test value."""
        return self.improvement(self.test_value, self.test_baseline)

    @property
    def score(self) -> float:
        """The value by which samplers are compared; higher is better."""
        return self.improvement(self.test_value, 0.0)


@dataclasses.dataclass(frozen=True)
class FunctionRecord(SearchRecord):
    """The record of a function's search. Its test value is the mean of values on new seeds."""

    # The number of other searches of the same function in the storage.
    n_searches_elsewhere: int = dataclasses.field(default=0, compare=False)

    has_baseline: ClassVar[bool] = False

    @classmethod
    def of(cls, read: StudyRead) -> Self:
        """Return the record of a study. With replicates, the best trial has the best mean."""
        record = super().of(read)
        leader = record.best
        if record.replicated:
            leader = record.replicated[0].first
        n_elsewhere = _n_searches_elsewhere(read.study.study_name, read.attrs, read.others)
        return dataclasses.replace(record, best=leader, n_searches_elsewhere=n_elsewhere)

    @functools.cached_property
    def replicated(self) -> list[Configuration]:
        """The configurations with two or more values, from the best mean to the worst."""
        return replicated(self.done_trials, self.study.direction, self.failed)

    @property
    def failed(self) -> float | None:
        """The user's value for a failed run, or None."""
        return self.attrs.get(FAILED)

    @property
    def best_value(self) -> float:
        """The best value of the study's trials, even if another trial is recommended."""
        best_of = min if self.is_minimized else max
        return best_of(self.values, default=math.nan)

    @property
    def n_new_seeds(self) -> int:
        """The number of new seeds on which the best trial is evaluated."""
        return self.settings.get("confirm", 0)

    @property
    def planned(self) -> Planned:
        """The plan of new seeds for the best trial, and whether it was extended later."""
        default: Planned = {"seeds": self.n_new_seeds, "is_raised": False, "rank": 1}
        return self._stored_plan or default

    @property
    def _stored_plan(self) -> Planned | None:
        if self.best is None:
            return None
        return planned_of(self.attrs, self.best.number)

    @property
    def resampled(self) -> Resampled | None:
        """The numbers of training and test examples, if seeds redraw the split of one data set."""
        return as_sizes(self.attrs.get(RESAMPLED))

    @property
    def new_seeds(self) -> list[int]:
        """The planned new seeds of the best trial. Searches with the same seed share them."""
        if self._stored_plan is None:
            return []
        seed = self.settings.get("seed", 0)
        return seeds_of_best_trial(seed, self.planned["seeds"])

    @functools.cached_property
    def _on_new_seeds(self) -> list[FrozenTrial]:
        """The finished evaluations of the best trial on new seeds, ordered by seed."""
        trials_by_evaluation = evaluation_trials(self.confirming, NEW_SEED_NAMES)
        number = -1 if self.best is None else self.best.number
        return [
            trials_by_evaluation[number, seed]
            for seed in self.new_seeds
            if (number, seed) in trials_by_evaluation
        ]

    @property
    def new_values(self) -> list[float]:
        """The best trial's values on new seeds, ordered by seed. A failed run has NaN."""
        return [*map(value_of, self._on_new_seeds)]

    @property
    def n_violated(self) -> int:
        """The number of new seeds on which the best trial violates a constraint."""
        return sum(VIOLATED in trial.system_attrs for trial in self._on_new_seeds)

    @property
    def _is_tested(self) -> bool:
        return self.best is None or len(self.new_values) >= self.n_new_seeds

    @property
    def test_metric(self) -> str:
        """The metric of the test value."""
        if self.n_new_seeds:
            return "value on new seeds"
        return "best reported value"

    @property
    def test_value(self) -> float:
        """The mean of the values on new seeds or, without them, the best reported value.

        If all trials failed, it is the user's value for a failed run.
        """
        if self.best is None and self.done_trials:
            if self.failed is None:
                return math.nan
            return self.failed
        if len(self.new_values) < self.n_new_seeds:
            return math.nan
        if not self.new_values:
            return self.best_value
        return mean(self.counted_new_values)

    @property
    def counted_new_values(self) -> list[float]:
        """The best trial's values on new seeds.

        The value of a failed run is the user's value for failures, or NaN.
        """
        failed = math.nan if self.failed is None else self.failed
        return [failed if math.isnan(value) else value for value in self.new_values]


def confirmation_trials(storage: BaseStorage, study_name: str) -> tuple[FrozenTrial, ...]:
    """Return the evaluations of a study's best trials on new seeds."""
    try:
        study = optuna.load_study(study_name=confirmation_name(study_name), storage=storage)
    except KeyError:
        return ()
    attrs, trials = read_study(study)
    if EVALUATED in attrs:
        return tuple(trials)
    return ()


def attributes_in(storage: BaseStorage) -> dict[str, Json]:
    """Return the valid user attributes of all studies in a storage, by study name."""
    attrs = {study.study_name: study.user_attrs for study in storage.get_all_studies()}
    return {name: each for name, each in attrs.items() if first_fault(each) is None}


def read_record(
    study: optuna.Study, others: Mapping[str, Attributes] | None = None
) -> SearchRecord:
    """Return the current record of a search, which may still be running.

    ``others`` maps the storage's studies to their attributes. If :obj:`None`, the function reads
    them.
    """
    check_one_objective(study)
    read = StudyRead.of(study)
    kind = kind_of(read.attrs)
    if kind is OTHER_KIND:
        others = {}
    elif others is None:
        others = attributes_in(study._storage)
    return kind.load("record").of(read._replace(others=others))


def beginnings_of_runs(attrs_of_studies: Mapping[str, Attributes]) -> list[str]:
    """Return the prefixes of the names of comparisons' runs."""
    return [f"{name}/" for name, attrs in attrs_of_studies.items() if COMPARISON in attrs]


def _n_searches_elsewhere(
    own_name: str, attrs: Attributes, others: Mapping[str, Attributes]
) -> int:
    """Return the number of other studies, outside comparisons, that search the same function."""
    code = attrs.get(CODE)
    heads = tuple(beginnings_of_runs(others))
    if code is None or own_name.startswith(heads):
        return 0
    n_searches = 0
    for name, attrs_of_study in others.items():
        if name == own_name or name.startswith(heads):
            continue
        is_same_function = attrs_of_study.get(CODE) == code
        if is_same_function and SEARCH in attrs_of_study:
            n_searches += 1
    return n_searches
