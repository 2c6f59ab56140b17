"""A snapshot of a search, from what its study stores."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Metrics, RunRecord, TestEvaluation
from adnn_optuna._units import with_class
from adnn_optuna.engine.storages import with_retry
from adnn_optuna.networks.offsets import RESTARTS
from adnn_optuna.samplers._owners import owner_of
from adnn_optuna.samplers._trials import is_done


@dataclasses.dataclass(frozen=True)
class SearchRecord:
    """A snapshot of a study and its search, without the objective; nothing is read later.

    Args:
        study: The study.
        attrs: Its user attributes.
        metric: The metric of the selection.
        baseline: The metric of the baseline network, NaN if its training was cut off. If model or
            training is a function of the trial, it is that of the best trial.
        best: The best trial, :obj:`None` if none was completed.
        trials: All trials.
        confirming: The trials that confirm the best one.
        test_evaluations_elsewhere: How many evaluations of the same test set other studies of the
            storage had, by their names; a comparison's studies count as one.
        known: What follows from the rest, only to save time.
    """

    is_of_function: ClassVar[bool] = False
    is_control: ClassVar[bool] = False

    study: optuna.Study = dataclasses.field(repr=False)
    attrs: dict[str, Any] = dataclasses.field(repr=False)
    metric: str
    baseline: float
    best: FrozenTrial | None = dataclasses.field(repr=False)
    trials: tuple[FrozenTrial, ...] = dataclasses.field(repr=False)
    confirming: tuple[FrozenTrial, ...] = dataclasses.field(repr=False)
    test_evaluations_elsewhere: Mapping[str, int] = dataclasses.field(repr=False)
    known: dict[str, Any] = dataclasses.field(
        default_factory=dict, kw_only=True, repr=False, compare=False
    )

    def _with_stored(self, values: Mapping[str, Any]) -> Self:
        """Store attributes in the study, and return the record with them."""
        for name, value in values.items():
            with_retry(self.study.set_user_attr, name, value)
        return self._changed(attrs={**self.attrs, **values})

    def _refreshed(self, *kinds: str) -> Self:
        """Return the record with the study's present attributes of these kinds."""
        attrs, _ = with_retry(stored.read_study, self.study)
        news = {name: value for name, value in attrs.items() if name.partition("/")[0] in kinds}
        return self._changed(attrs={**self.attrs, **news})

    def _changed(self, **parts: Any) -> Self:
        """Return the record with other parts."""
        return dataclasses.replace(self, **parts, known={})

    @property
    def sampler(self) -> str:
        """What searched, as the study stores it; empty if :func:`search` did not run it."""
        return str(self.settings.get("sampler", ""))

    @property
    def settings(self) -> Mapping[str, Any]:
        """How the study is searched: :class:`SearchSettings`; empty if it does not say so."""
        settings: Mapping[str, Any] = self.attrs.get(stored.SEARCH, {})
        return settings

    @property
    def is_restart(self) -> bool:
        """Whether it is luck alone: new initial weights each time; of a function random search."""
        return bool(self.attrs.get(stored.CONFIG, {}).get("space") == RESTARTS.config)

    @property
    def n_networks(self) -> int:
        """How many networks predict together as the best trial."""
        return 1

    @property
    def is_unseeded(self) -> bool:
        """Whether no seed changes the training of the best trial, as far as that was noted."""
        return self.best is not None and f"{stored.UNSEEDED}/{self.best.number}" in self.attrs

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
    def unowned_trials(self) -> list[int]:
        """The numbers of the trials that run, if nothing else happened: nothing tells who does.

        Those of Optuna's samplers in ``study.optimize`` tell nothing.
        """
        running = (trial for trial in self.trials if trial.state == TrialState.RUNNING)
        return [trial.number for trial in running if owner_of(trial) is None]

    @property
    def proposers(self) -> dict[int, str]:
        """Who proposed each trial that was run to an end: the sampler or another one."""
        return {trial.number: self._proposer(trial) for trial in self.done_trials}

    @property
    def best_is_added(self) -> bool:
        """Whether the best trial was stored by ``study.add_trial``, and not evaluated here."""
        return self.best is not None and self._is_added(self.best)

    def _is_added(self, trial: FrozenTrial) -> bool:
        """Return whether a trial has no worker, and no time of an objective that ran it here."""
        is_search = stored.CONFIG in self.attrs or stored.SEARCH in self.attrs
        # A copy has the owner of what it was copied from, by that trial's number.
        is_copied = not {stored.OWNER, stored.PROPOSAL}.isdisjoint(trial.system_attrs)
        is_timed = stored.elapsed_of(trial.user_attrs) is not None and not is_copied
        return is_search and owner_of(trial) is None and not is_timed

    def _proposer(self, trial: FrozenTrial) -> str:
        proposal = trial.system_attrs.get(stored.PROPOSAL)
        if self._is_added(trial):
            return "study.add_trial"
        if proposal is None:
            return self.sampler if stored.OWNER in trial.system_attrs else "study.optimize"
        kind = str(proposal["sampler"]).partition(":")[0]
        walks = (stored.GREEDY, stored.GREEDY_IMPROVING)
        is_walk = kind == "delta_step" and self.sampler in walks
        # It is keyed by what `search` makes of a name or a factory, which a study has one of.
        return self.sampler if is_walk or kind == "keyed" else kind

    @property
    def best_value(self) -> float:
        """The selection metric of the best trial; NaN where there is none, or it is infinite."""
        value = math.nan if self.best is None or self.best.value is None else self.best.value
        return value if math.isfinite(value) else math.nan

    @property
    def gain(self) -> float:
        """By how much the best trial is better than the baseline; negative if none is better."""
        return self.improvement(self.best_value, self.baseline)

    def improvement(self, value: float, baseline: float) -> float:
        """Return by how much ``value`` is better than ``baseline``, in units of the metric."""
        is_loss = self.study.direction == StudyDirection.MINIMIZE
        return baseline - value if is_loss else value - baseline

    @functools.cached_property
    def valued(self) -> list[tuple[int, float]]:
        """The completed trials with a finite value, by number, and these."""
        completed = [t for t in self.done_trials if t.state == TrialState.COMPLETE]
        values = [(trial.number, trial.value) for trial in completed]
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
        """What the best trial's model and training gain without offsets over the first trial's.

        NaN where they are no functions of the trial.
        """
        if self.best is None or stored.BASELINE not in self.best.user_attrs:
            return math.nan
        return self.improvement(self.baseline, self.attrs.get(stored.BASELINE, math.nan))

    @property
    def baseline_metrics(self) -> Metrics:
        """All metrics of the baseline network; empty if it was not trained."""
        of_best = {} if self.best is None else self.best.user_attrs
        metrics: Metrics = {**self.attrs, **of_best}.get(stored.BASELINE_METRICS, {})
        return metrics

    @property
    def test_metric(self) -> str:
        """What the test values are: the metric of the selection, on the test set."""
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
        evaluation = self.test_evaluation
        return evaluation["baseline"] if evaluation else math.nan

    @property
    def test_value(self) -> float:
        """The metric of the best trial on the test set; NaN while that was not evaluated."""
        evaluation = self.test_evaluation
        return evaluation["best"] if evaluation else math.nan

    @property
    def test_gain(self) -> float:
        """By how much the best trial is better than the baseline on the test set."""
        return self.improvement(self.test_value, self.test_baseline)

    @property
    def score(self) -> float:
        """What arms are compared by; higher ones are better."""
        return self.improvement(self.test_value, 0.0)

    @property
    def repeated(self) -> float:
        """What the best trial gains over its baseline network on a new seed; NaN if untried."""
        name = f"{stored.REPLICATED}/{self.best.number}" if self.best else ""
        return float(self.attrs.get(name, math.nan))


def test_evaluations_of(attrs: Mapping[str, Any]) -> list[TestEvaluation]:
    """Return the test-set evaluations that a study stores, in their order."""
    found = [value for name, value in attrs.items() if name.startswith(f"{stored.TEST}/")]
    found.sort(key=lambda one: one["looked"])
    # Workers that end together evaluate the same.
    return [*{(one["trial"], one["n_trials"]): one for one in found}.values()]


def test_metric(metric: str) -> str:
    """Return the metric of the test set for a metric that selected, such as ``val_auc``."""
    return f"test_{metric.partition('_')[2]}"
