"""Snapshots of searches, read from their stored studies: no model, data or TensorFlow."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from statistics import mean
from typing import Any, Self

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import (
    Confirmed,
    Metrics,
    Planned,
    RunRecord,
    TestEvaluation,
    planned_of,
)
from adnn_optuna._seeds import confirmation_seeds, experiment_fingerprint
from adnn_optuna._units import with_class
from adnn_optuna.engine.arms import ARMS, CONTROLS
from adnn_optuna.engine.objectives import best_trial
from adnn_optuna.engine.test_evaluations import (
    attributes_in,
    evaluations_elsewhere,
    test_evaluations_of,
)
from adnn_optuna.networks.network import derived_seed
from adnn_optuna.networks.offsets import RESTARTS
from adnn_optuna.samplers._evaluations import evaluation_trials, made_evaluations
from adnn_optuna.samplers._owners import owner_of
from adnn_optuna.samplers._replicates import Configuration, replicated
from adnn_optuna.samplers._trials import check_one_objective, is_done, is_feasible

# The numbers of an evaluation on new seeds: of a function's trial, and of an arm of a network's.
# The arms are the baseline network, with the best trial's hyperparameters; the best network; and
# the baseline network with the first trial's, if hyperparameters were searched, too.
NEW_SEED_NAMES = ("trial", "seed")
CONFIRMATION_NAMES = ("trial", "arm", "seed")
BASELINE, BEST, FIRST = range(3)


@dataclasses.dataclass(frozen=True, repr=False)
class SearchRecord:
    """A snapshot of a study and its search, without the objective; nothing is read later."""

    study: optuna.Study
    attrs: dict[str, Any]  # Its user attributes.
    metric: str  # Of the selection.
    baseline: float  # NaN if its training was cut off. Of functions of the trial the best one's.
    best: FrozenTrial | None
    trials: tuple[FrozenTrial, ...]
    confirming: tuple[FrozenTrial, ...]  # The evaluations of best trials on new seeds.
    # How many evaluations of the same test set other studies of the storage had, by their names; a
    # comparison's studies count as one.
    test_evaluations_elsewhere: Mapping[str, int]
    # How many other searches of the same function the storage holds.
    n_searches_elsewhere: int = dataclasses.field(default=0, compare=False, kw_only=True)
    # How many of its trials were stored before the call that returned it, in words.
    reused: str = dataclasses.field(default="", repr=False, compare=False, kw_only=True)
    # What follows from the rest, only to save time.
    known: dict[str, Any] = dataclasses.field(default_factory=dict, init=False, compare=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.study.study_name!r}, best={self.best_value:.6g})"

    def _with_stored(self, values: Mapping[str, Any]) -> Self:
        """Store attributes in the study, and return the record with them."""
        for name, value in values.items():
            self.study.set_user_attr(name, value)
        return dataclasses.replace(self, attrs={**self.attrs, **values})

    def _refreshed(self, *kinds: str) -> Self:
        """Return the record with the study's present attributes of these kinds."""
        attrs, _ = stored.read_study(self.study)
        news = {name: value for name, value in attrs.items() if name.partition("/")[0] in kinds}
        return dataclasses.replace(self, attrs={**self.attrs, **news})

    def _of_best(self, kind: str, default: Any) -> Any:
        """Return the study's attribute of this kind that is of the best trial."""
        return self.attrs.get(f"{kind}/{self.best.number}", default) if self.best else default

    @property
    def sampler(self) -> str:
        """The sampler, as the study stores it; empty if :func:`search` did not run it."""
        return str(self.settings.get("sampler", ""))

    @property
    def is_control(self) -> bool:
        """Whether it is another use of the same compute, without a search over offsets."""
        return self.sampler in CONTROLS

    @property
    def settings(self) -> Mapping[str, Any]:
        """How the study is searched: :class:`SearchSettings`; empty if it does not say so."""
        settings: Mapping[str, Any] = self.attrs.get(stored.SEARCH, {})
        return settings

    @property
    def is_restart(self) -> bool:
        """Whether it only draws at random: new initial weights, or random search of a function."""
        return bool(self.attrs.get(stored.CONFIG, {}).get("space") == RESTARTS.config)

    @property
    def n_networks(self) -> int:
        """How many networks predict together as the best trial: those of an ensemble."""
        arm = ARMS.get(self.sampler)
        if self.best is None or arm is None or not arm.later:
            return 1
        return max(self.best.intermediate_values, default=1)

    @property
    def is_unseeded(self) -> bool:
        """Whether no seed changes the training of the best trial, as far as that was noted."""
        return bool(self._of_best(stored.UNSEEDED, default=False))

    @property
    def runs(self) -> list[RunRecord]:
        """The runs that had something to do, in the order in which they began."""
        runs = [run for name, run in self.attrs.items() if name.startswith(f"{stored.RUNS}/")]
        return sorted(runs, key=lambda run: run["began"])

    @property
    def budget(self) -> dict[str, Any]:
        """The limits of the last run; those that it is to have where there was none yet."""
        if runs := self.runs:
            return runs[-1]["limits"]
        return {"max_trial": self.settings.get("n_trials", len(self.done_trials))}

    @property
    def stop_reason(self) -> str | None:
        """Which limit ended the study, or ``"exhausted"`` (no step left), ``"interrupted"``."""
        return self.attrs.get(stored.STOP_REASON)

    @property
    def is_over(self) -> bool:
        """Whether it ended by itself, and its best trial, if there is one, was tested."""
        return self.stop_reason not in (None, "interrupted") and self._is_tested

    @property
    def _is_tested(self) -> bool:
        return self.best is None or not math.isnan(self.test_value)

    @property
    def done_trials(self) -> list[FrozenTrial]:
        """The trials that were run to an end, whatever came of them, by number."""
        return [trial for trial in self.trials if is_done(trial)]

    @property
    def best_is_added(self) -> bool:
        """Whether the best trial was stored by ``study.add_trial``, and not evaluated here."""
        return self.best is not None and self._is_added(self.best)

    def _is_added(self, trial: FrozenTrial) -> bool:
        """Return whether a trial has no worker, and no time of an objective that ran it here."""
        is_search = stored.CONFIG in self.attrs or stored.SEARCH in self.attrs
        # A copy has the owner of what it was copied from, by that trial's number.
        is_copied = not {stored.OWNER, stored.PROPOSAL}.isdisjoint(trial.system_attrs)
        is_timed = "elapsed" in stored.outcome_of(trial.user_attrs) and not is_copied
        return is_search and owner_of(trial) is None and not is_timed

    def proposer(self, trial: FrozenTrial) -> str:
        """Return who proposed a trial that was run to an end: the sampler or another one."""
        proposal = trial.system_attrs.get(stored.PROPOSAL)
        if self._is_added(trial):
            return "study.add_trial"
        if self.is_control:  # Its sampler is called as another one.
            return self.sampler
        if proposal is None:
            return self.sampler if stored.OWNER in trial.system_attrs else "study.optimize"
        kind = str(proposal["sampler"]).partition(":")[0]
        walks = (stored.GREEDY, stored.GREEDY_IMPROVING)
        is_walk = kind == "delta_step" and self.sampler in walks
        # It is keyed by what `search` makes of a name or a factory, which a study has one of.
        return self.sampler if is_walk or kind == "keyed" else kind

    @property
    def best_value(self) -> float:
        """The selection metric of the best trial; NaN if there is none, or it is infinite."""
        value = math.nan if self.best is None or self.best.value is None else self.best.value
        return value if math.isfinite(value) else math.nan

    @property
    def gain(self) -> float:
        """By how much the best trial is better than the baseline; negative if none is better."""
        return self.improvement(self.best_value, self.baseline)

    @property
    def is_minimized(self) -> bool:
        """Whether lower values are better."""
        return bool(self.study.direction == StudyDirection.MINIMIZE)

    def improvement(self, value: float, baseline: float) -> float:
        """Return by how much ``value`` is better than ``baseline``, in units of the metric."""
        return baseline - value if self.is_minimized else value - baseline

    @functools.cached_property
    def valued(self) -> list[tuple[int, float]]:
        """The feasible completed trials with a finite value, by number, and these."""
        completed = [t for t in self.done_trials if t.state == TrialState.COMPLETE]
        values = [(trial.number, trial.value) for trial in completed if is_feasible(trial)]
        return [(n, value) for n, value in values if value is not None and math.isfinite(value)]

    @functools.cached_property
    def values(self) -> list[float]:
        """The finite values of the completed trials, by number."""
        return [value for _, value in self.valued]

    @functools.cached_property
    def gains(self) -> dict[int, float]:
        """The gain of each completed trial with a finite value, by number; it may be negative."""
        gains = {n: self.improvement(value, self.baseline) for n, value in self.valued}
        return {number: gain for number, gain in gains.items() if math.isfinite(gain)}

    @property
    def hyperparameter_gain(self) -> float:
        """The gain of the best trial's hyperparameters over the first one's; NaN if fixed."""
        if self.best is None or stored.BASELINE not in self.best.user_attrs:
            return math.nan
        return self.improvement(self.baseline, self.attrs.get(stored.BASELINE, math.nan))

    @property
    def test_metric(self) -> str:
        """The metric of the test values: the one of the selection, on the test set."""
        return test_metric(self.metric)

    @property
    def positive(self) -> Any:
        """The class, of two, that the metric is of; :obj:`None` if it is not of one class."""
        return self.attrs.get(stored.CONFIG, {}).get("positive")

    @property
    def metric_label(self) -> str:
        """The metric of the selection with the class that it is of, if it is of one."""
        return with_class(self.metric, self.positive)

    @property
    def test_metrics(self) -> Metrics:
        """All metrics of the best network on the test set, such as ``accuracy``; empty before."""
        return self.test_evaluation["metrics"] if self.test_evaluation else {}

    @property
    def test_evaluations(self) -> list[TestEvaluation]:
        """All test-set evaluations, in their order."""
        return test_evaluations_of(self.attrs)

    @property
    def test_evaluation(self) -> TestEvaluation | None:
        """The last test-set evaluation of the best trial; :obj:`None` if there is none."""
        number = None if self.best is None else self.best.number
        return next((one for one in self.test_evaluations[::-1] if one["trial"] == number), None)

    @property
    def test_baseline(self) -> float:
        """The metric of the baseline on the test set; NaN if its training diverged."""
        return self.test_evaluation["baseline"] if self.test_evaluation else math.nan

    @property
    def test_value(self) -> float:
        """The metric of the best trial on the test set; NaN while that was not evaluated."""
        return self.test_evaluation["best"] if self.test_evaluation else math.nan

    @property
    def test_gain(self) -> float:
        """By how much the best trial is better than the baseline on the test set."""
        return self.improvement(self.test_value, self.test_baseline)

    @property
    def score(self) -> float:
        """The values by which arms are compared; higher ones are better."""
        return self.improvement(self.test_value, 0.0)

    @property
    def confirmations(self) -> dict[int, Confirmed]:
        """The first declared confirmation of each best trial, by its number, in their order."""
        declared: list[Confirmed] = [
            of for name, of in self.attrs.items() if name.startswith(f"{stored.CONFIRMED}/")
        ]
        first = dict[int, Confirmed]()
        for confirmed in sorted(declared, key=lambda of: (of["began"], of["trial"])):
            first.setdefault(confirmed["trial"], confirmed)
        return first

    @property
    def repeated(self) -> float:
        """The best trial's gain over its baseline network on a new seed; NaN if untried."""
        if self.best is None or stored.CONFIG not in self.attrs:
            return math.nan
        made = made_evaluations(self.confirming, CONFIRMATION_NAMES)
        experiment = experiment_fingerprint(self.attrs[stored.CONFIG])
        [seed] = confirmation_seeds(experiment, self.best.params, 1)
        baseline = made.get((self.best.number, BASELINE, seed), math.nan)
        best = made.get((self.best.number, BEST, seed), math.nan)
        return self.improvement(best, baseline)


def test_metric(metric: str) -> str:
    """Return the metric of the test set for a metric that selected, such as ``val_auc``."""
    return f"test_{metric.partition('_')[2]}"


class FunctionRecord(SearchRecord):
    """The search of any Optuna objective, judged by evaluations of its best trial on new seeds."""

    @functools.cached_property
    def replicated(self) -> list[Configuration]:
        """The configurations with two or more values, the one with the best mean first."""
        return replicated(self.done_trials, self.study.direction, self.failed)

    @property
    def failed(self) -> float | None:
        """The value that a failed run counts as, if the user named one."""
        return self.attrs.get(stored.FAILED)

    @property
    def best_value(self) -> float:
        """The study's best value, as of Optuna; the recommended trial may have another one."""
        best_of = min if self.is_minimized else max
        return best_of(self.values, default=math.nan)

    @property
    def is_restart(self) -> bool:
        """Whether it is random search."""
        return self.sampler == stored.RANDOM

    @property
    def n_new_seeds(self) -> int:
        """On how many new seeds the best trial is evaluated."""
        return int(self.settings.get("confirm", 0))

    @property
    def planned(self) -> Planned:
        """How many new seeds were declared for the best trial, and whether that was raised."""
        default: Planned = {"seeds": self.n_new_seeds, "sequential": False, "rank": 1}
        return self._declared or default

    @property
    def _declared(self) -> Planned | None:
        return None if self.best is None else planned_of(self.attrs, self.best.number)

    @property
    def resampled(self) -> tuple[int, int] | None:
        """The numbers of training and test examples, if seeds redraw the split of one data set."""
        sizes = self.attrs.get(stored.RESAMPLED)
        return None if sizes is None else (sizes[0], sizes[1])

    @property
    def new_seeds(self) -> list[int]:
        """The declared new seeds of the best trial; all arms of a unit have the same."""
        if self._declared is None:
            return []
        seed = self.settings.get("seed", 0)
        return [derived_seed(seed, 1, place) for place in range(self.planned["seeds"])]

    @functools.cached_property
    def _on_new_seeds(self) -> list[FrozenTrial]:
        """The evaluations of the best trial on new seeds, by these."""
        made = evaluation_trials(self.confirming, NEW_SEED_NAMES)
        number = -1 if self.best is None else self.best.number
        return [made[number, seed] for seed in self.new_seeds if (number, seed) in made]

    @property
    def new_values(self) -> list[float]:
        """The best trial's values on new seeds, by these; NaN of one that failed."""
        values = (trial.value for trial in self._on_new_seeds)
        return [math.nan if value is None else value for value in values]

    @property
    def n_violated(self) -> int:
        """On how many new seeds the best trial violates a constraint."""
        return sum(stored.VIOLATED in trial.system_attrs for trial in self._on_new_seeds)

    @property
    def _is_tested(self) -> bool:
        return self.best is None or len(self.new_values) >= self.n_new_seeds

    @property
    def test_metric(self) -> str:
        """The metric of the test value."""
        return "value on new seeds" if self.n_new_seeds else "best reported value"

    @property
    def test_value(self) -> float:
        """The mean of the values on new seeds; without any, the best value that was reported.

        A search all of whose trials failed has the value of a failure.
        """
        if self.best is None and self.done_trials:
            return math.nan if self.failed is None else self.failed
        if len(self.new_values) < self.n_new_seeds:
            return math.nan
        if not self.new_values:
            return self.best_value
        return mean(self.counted_new_values)

    @property
    def counted_new_values(self) -> list[float]:
        """The best trial's values on new seeds, with the value of a failure if it has one."""
        failed = math.nan if self.failed is None else self.failed
        return [failed if math.isnan(value) else value for value in self.new_values]


def confirmation_trials(storage: BaseStorage, study_name: str) -> tuple[FrozenTrial, ...]:
    """Return the evaluations of a study's best trials on new seeds, if there are any."""
    try:
        study = optuna.load_study(study_name=confirmation_name(study_name), storage=storage)
    except KeyError:
        return ()
    attrs, trials = stored.read_study(study)
    return tuple(trials) if stored.EVALUATED in attrs else ()


def confirmation_name(study_name: str) -> str:
    """Return the name of the study of best trials' evaluations on new seeds."""
    return f"{study_name}/confirmation"


def read_record(
    study: optuna.Study, others: Mapping[str, Mapping[str, Any]] | None = None
) -> SearchRecord:
    """Return the record of a searched study, concluded or not, as of this moment.

    ``others`` are the attributes of the studies of its storage; they are read if :obj:`None`.
    """
    check_one_objective(study)
    attrs, trials = stored.read_study(study)
    best, baseline = best_trial(trials, study.direction), attrs.get(stored.BASELINE, math.nan)
    if best is not None and stored.CONFIG not in attrs:
        # Of another objective: as for MaxGainCallback, the first completed trial is the baseline.
        completed = (t for t in trials if t.state == TrialState.COMPLETE and is_feasible(t))
        baseline = next(completed).value
    elif best is not None:
        baseline = best.user_attrs.get(stored.BASELINE, baseline)
    is_search = stored.CONFIG in attrs or stored.SEARCH in attrs
    if others is None:
        others = attributes_in(study._storage) if is_search else {}
    kind = SearchRecord
    if stored.SEARCH in attrs and stored.CONFIG not in attrs:
        kind = FunctionRecord
        leaders = replicated(filter(is_done, trials), study.direction, attrs.get(stored.FAILED))
        if leaders:
            best = leaders[0].first
    return kind(
        study,
        attrs,
        attrs.get(stored.CONFIG, {}).get("metric", "value"),
        baseline,
        best,
        tuple(trials),
        confirmation_trials(study._storage, study.study_name) if is_search else (),
        evaluations_elsewhere(study, attrs, others),
        n_searches_elsewhere=_n_searches_elsewhere(study.study_name, attrs, others),
    )


def _n_searches_elsewhere(
    own_name: str, attrs: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
) -> int:
    """Return how many other studies are searches of the same function, but of no comparison."""
    code = attrs.get(stored.CODE)
    comparisons = tuple(f"{name}/" for name, of in others.items() if stored.COMPARISON in of)
    if code is None or own_name.startswith(comparisons):
        return 0
    return sum(
        stored.SEARCH in of and of.get(stored.CODE) == code
        for name, of in others.items()
        if name != own_name and not name.startswith(comparisons)
    )
