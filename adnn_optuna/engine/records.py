"""Snapshots of searches, read from what their studies store: no model, data or TensorFlow."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, ClassVar

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna.engine.arms import ARMS
from adnn_optuna.engine.objectives import best_trial
from adnn_optuna.engine.search_record import SearchRecord, test_evaluations_of
from adnn_optuna.engine.storages import with_retry
from adnn_optuna.samplers._replicates import (
    Configuration,
    configurations_of,
    ranked,
    recommended,
)
from adnn_optuna.samplers._trials import check_one_objective, is_done, is_feasible


@dataclasses.dataclass(frozen=True)
class FunctionRecord(SearchRecord):
    """The search of any Optuna objective, judged by evaluations of its best trial on new seeds."""

    is_of_function: ClassVar[bool] = True

    @functools.cached_property
    def replicated(self) -> list[Configuration]:
        """The configurations that have replicates, the one with the best mean first."""
        found = configurations_of(self.done_trials).values()
        return ranked((one for one in found if one.repetitions), self.study.direction)

    @property
    def is_restart(self) -> bool:
        """Whether it is random search."""
        return self.sampler == stored.RANDOM

    @property
    def n_new_seeds(self) -> int:
        """On how many new seeds the best trial is evaluated."""
        return int(self.settings.get("confirm", 0))

    @property
    def new_values(self) -> list[float]:
        """The best trial's values on new seeds, by these; NaN of one that failed."""
        number = None if self.best is None else self.best.number
        found: list[float] = []
        while (name := f"{stored.NEW_SEED}/{number}/{len(found)}") in self.attrs:
            value = self.attrs[name]
            found.append(math.nan if value is None else value)
        return found

    @property
    def _is_tested(self) -> bool:
        return self.best is None or len(self.new_values) >= self.n_new_seeds

    @property
    def test_metric(self) -> str:
        """What the test value is."""
        return "value on new seeds" if self.n_new_seeds else "best reported value"

    @property
    def test_value(self) -> float:
        """The mean of the values on new seeds; without any, the best value that was reported."""
        if len(self.new_values) < self.n_new_seeds:
            return math.nan
        return fmean(self.new_values) if self.new_values else self.best_value


@dataclasses.dataclass(frozen=True)
class ControlRecord(SearchRecord):
    """A control: what the same compute gains otherwise, without a search over offsets."""

    is_control: ClassVar[bool] = True

    @property
    def n_networks(self) -> int:
        """How many networks predict together as the best trial: those of an ensemble."""
        if self.best is None or ARMS[self.sampler].reports_by != "network":
            return 1
        return max(self.best.intermediate_values, default=1)

    def _proposer(self, trial: FrozenTrial) -> str:
        # Its sampler is called as another one.
        return super()._proposer(trial) if self._is_added(trial) else self.sampler

    @property
    def test_metric(self) -> str:
        """The metric of the test values: that which a user's own control reports, if it does."""
        return self.settings.get("reported") or super().test_metric

    @property
    def test_value(self) -> float:
        """The metric of the best trial on the test set; a user's own control reports it."""
        if "reported" in self.settings and self.best is not None:
            return float(self.best.user_attrs.get(self.test_metric, math.nan))
        return super().test_value


def _fingerprint(attrs: Mapping[str, Any]) -> Any:
    """Return that of a study's data, by its user attributes; none where there is no such."""
    return attrs.get(stored.CONFIG, {}).get("dataset", {}).get("fingerprint")


def attributes_in(storage: BaseStorage) -> dict[str, dict[str, Any]]:
    """Return the user attributes of all studies of a storage, by name, if they are sound."""
    studies = storage.get_all_studies()
    return {s.study_name: s.user_attrs for s in studies if stored.are_sound(s.user_attrs)}


def _evaluations_elsewhere(
    own: str, attrs: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """Return how often other studies evaluated the same test set, by their names."""
    if not (data := _fingerprint(attrs)):
        return {}
    heads = (f"{name}/" for name, of in others.items() if stored.COMPARISON in of)
    siblings = tuple(head for head in heads if own.startswith(head))
    return {
        name: len(evaluations)
        for name, of in others.items()
        if _fingerprint(of) == data and name != own and not name.startswith(siblings)
        if (evaluations := test_evaluations_of(of))
    }


def confirmation_trials(study: optuna.Study) -> tuple[FrozenTrial, ...]:
    """Return the trials that confirm best trials of a study, if there are any."""
    name = confirmation_name(study)
    try:
        found = optuna.load_study(study_name=name, storage=study._storage)
    except KeyError:  # Its worker died just then, or somebody deleted it.
        return ()
    return tuple(stored.read_study(found)[1])


def confirmation_name(study: optuna.Study) -> str:
    """Return the name of the study that confirms best trials of a study."""
    return f"{study.study_name}/confirmation"


def read_record(
    study: optuna.Study, others: Mapping[str, Mapping[str, Any]] | None = None
) -> SearchRecord:
    """Return what a study that was searched, concluded or not, tells of it at this moment.

    ``others`` are the attributes of the studies of its storage; they are read if :obj:`None`.
    """
    check_one_objective(study)
    attrs, trials = stored.read_study(study)
    best, baseline = best_trial(study, trials), attrs.get(stored.BASELINE, math.nan)
    if best is not None and stored.CONFIG not in attrs:
        # Of another objective: as for MaxGainCallback, the first completed trial is the baseline.
        completed = (t for t in trials if t.state == TrialState.COMPLETE and is_feasible(t))
        baseline = next(completed).value
    elif best is not None:
        baseline = best.user_attrs.get(stored.BASELINE, baseline)
    if others is None:
        others = attributes_in(study._storage) if stored.CONFIG in attrs else {}
    sampler = attrs.get(stored.SEARCH, {}).get("sampler")
    kind = SearchRecord
    if sampler in ARMS and ARMS[sampler].is_control:
        kind = ControlRecord
    elif sampler is not None and stored.CONFIG not in attrs:
        kind = FunctionRecord
    if kind is FunctionRecord:
        leader = recommended(filter(is_done, trials), study.direction)
        best = leader.first if leader else best
    is_confirmed = any(name.startswith(f"{stored.CONFIRMED}/") for name in attrs)
    return kind(
        study,
        attrs,
        attrs.get(stored.CONFIG, {}).get("metric", "value"),
        baseline,
        best,
        tuple(trials),
        confirmation_trials(study) if is_confirmed else (),
        _evaluations_elsewhere(study.study_name, attrs, others),
    )


def records_now(studies: Sequence[optuna.Study]) -> list[SearchRecord]:
    """Return what studies of one storage tell of their searches."""
    others = with_retry(attributes_in, studies[0]._storage)
    return [with_retry(read_record, study, others=others) for study in studies]


def is_of_trial(config: Mapping[str, Any]) -> bool:
    """Return whether the model or the training of a configuration is a function of the trial."""
    return "function" in {config.get(part, {}).get("type") for part in ("model", "training")}
