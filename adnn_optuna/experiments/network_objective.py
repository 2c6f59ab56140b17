"""Train the networks of trials, each from the initial values that its parameters determine."""

import contextlib
import dataclasses
import math
import time
import weakref
from collections.abc import Sequence
from typing import Any, Self, cast

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import MedianPruner, NopPruner
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna import _checks
from adnn_optuna._attributes import Metrics, Params, Status, Trained
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna.callbacks import working_time
from adnn_optuna.engine.example_scores import Scored, collecting, log_scores
from adnn_optuna.engine.objectives import Outcome, catching, has_ended, mark
from adnn_optuna.experiments.experiment import Experiment, takes_trial
from adnn_optuna.networks.keras_files import undisturbed
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.training import TrainingRun, is_finite
from adnn_optuna.samplers._trials import best_trial, check_direction

# Studies that are known to store a baseline. The set saves a read, which is a transaction.
_KNOWN_TO_HAVE_ONE: weakref.WeakSet[optuna.Study] = weakref.WeakSet()
_LONGEST = 10_000  # The maximum number of bytes for a trial's scores.
_ANOTHER = "{} belongs to another objective ({}); use another study name or the same settings."


class NetworkObjective(Experiment):
    """Trains the networks of trials, each from the initial values that its parameters determine.

    It is the base of :class:`~adnn_optuna.InitOffsetObjective` and of the controls' objectives.
    """

    def suggest(self, trial: optuna.Trial | FixedTrial | FrozenTrial) -> Self:
        """Let a trial suggest all its parameters, and return the objective with them."""
        objective: Self = self
        if self.is_of_trial:
            caught = self.catch if isinstance(trial, optuna.Trial) else ()
            with catching(caught, f"Trial {trial.number}"):
                with undisturbed():
                    for function in filter(takes_trial, (self.model.model, self.training)):
                        cast("Any", function)(trial)
                objective = self.of(trial.params)
            # A function raised a caught error, so no network can be trained.
            if objective is self:
                mark(cast("optuna.Trial", trial), "diverged")
                return self
        for name, distribution in objective.distributions.items():
            trial._suggest(name, distribution)
        return objective

    @property
    def baseline_params(self) -> Params:
        """The parameters of the baseline network."""
        return dict.fromkeys(self.distributions, self.space.unmoved)

    def attach(self, study: optuna.Study) -> None:
        """Store the configuration in a study. Raise an error for a study of another objective."""
        self.check(study)
        facts = {
            stored.CONFIG: self.config,
            stored.TEST_ROWS: self.dataset.test_fingerprint,
        }
        for name, value in facts.items():
            if name not in study.user_attrs:
                study.set_user_attr(name, value)

    def check(self, study: optuna.Study) -> None:
        """Raise an error for a study with another direction, other parameters or objective."""
        named = f"The study {study.study_name!r}"
        check_direction(study, self.direction)
        attrs = study.user_attrs
        stored.check(study.study_name, attrs)
        if stored.CONFIG in attrs:
            differences = config_differences(attrs[stored.CONFIG], self.config)
            if differences:
                raise WrongValueError(_ANOTHER.format(named, in_words(differences)))
        elif not self.is_of_trial:
            # A study with this name may have been created for another purpose.
            for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
                if trial.params.keys() != self.distributions.keys():
                    raise WrongValueError(
                        f"{named} has trials of another objective: trial {trial.number} has "
                        f"{', '.join(trial.params) or 'no parameters'}, not "
                        f"{', '.join(self.distributions)}; use another study name."
                    )
        if self.is_of_trial:
            for trial in study.get_trials(deepcopy=False):
                if stored.MADE in trial.user_attrs:
                    self.as_trained(trial, named)
                    break

    def as_trained(self, trial: FrozenTrial, named: str = "The study") -> Self:
        """Return the objective of a stored trial's parameters.

        If the user's functions return another model or training than before, raise an error.
        """
        stored_made = trial.user_attrs.get(stored.MADE)
        objective = self.of(trial.params)
        if stored_made is not None:
            differences = config_differences(stored_made, objective.made)
            if differences:
                changes = f"of trial {trial.number}, {in_words(differences)}"
                raise WrongValueError(_ANOTHER.format(named, changes))
        return objective

    def set_baseline(self, owner: optuna.Study | optuna.Trial, metrics: Metrics) -> None:
        """Store the metrics of the baseline network of a study or trial."""
        owner.set_user_attr(stored.BASELINE, self.value(metrics))
        # The metrics are stored last, so if they exist, the value exists, too.
        owner.set_user_attr(stored.BASELINE_METRICS, metrics)

    def train(
        self, trials: Sequence[optuna.Trial], *, may_prune: bool = True, **limits: Any
    ) -> list[Outcome]:
        """Train several trials of a study at once and, if it is missing, the baseline network.

        The study stores only the baseline and intermediate values. Results are returned, not told.
        ``limits`` are the arguments ``stop`` and ``deadline`` of :meth:`Trainer.train`.
        """
        # If the model is a function of the trial, networks have different graphs, so they are
        # trained one by one.
        if len(trials) > 1 and not self.is_of_trial:
            with catching(self.catch, f"Training of {[trial.number for trial in trials]}"):
                return self._train_together(trials, limits, may_prune=may_prune)
            # One by one, an error in ``catch`` ends only its own trial.
        return [self._train_alone(trial, limits, may_prune=may_prune) for trial in trials]

    def _train_alone(
        self, trial: optuna.Trial, limits: dict[str, Any], *, may_prune: bool
    ) -> Outcome:
        """Train one trial. After an error in ``catch``, the trial has diverged."""
        # If a trial diverged while it suggested parameters, it has no network. Its attributes are
        # read only if errors are caught, because a read is a transaction.
        if self.catch and _ending(trial) == "diverged":
            return Outcome("diverged")
        with catching(self.catch, f"Training of {[trial.number]}"):
            [outcome] = self._train_together([trial], limits, may_prune=may_prune)
            return outcome
        return Outcome("diverged")

    def _train_together(
        self, trials: Sequence[optuna.Trial], limits: dict[str, Any], *, may_prune: bool
    ) -> list[Outcome]:
        """Train trials of the same graph at once. Name what to do if the memory is too small."""
        try:
            return self._outcomes(trials, limits, may_prune=may_prune)
        except UpdateFinishedTrialError:
            if not all(map(has_ended, trials)):
                raise
            # Another worker has ended the trials.
            return [Outcome("pruned") for _ in trials]
        except Exception as error:
            if not _checks.is_out_of_memory(error):
                raise
            raise MemoryError(_checks.TOO_LITTLE_MEMORY) from error

    def __call__(self, trial: optuna.Trial | FixedTrial | FrozenTrial) -> float:
        """Train a trial and return its metric, or NaN if the training diverged.

        A finished trial, such as ``study.best_trial``, is trained again, and nothing is stored.
        """
        if not isinstance(trial, optuna.Trial):
            objective = self.suggest(trial)
            params = {name: trial.params[name] for name in objective.distributions}
            start = objective.start(params)
            [run] = objective.trainer.train([start])
            if self._stores_scores and run.examples is not None and is_finite(run.metrics):
                log_scores(trial, run.examples)
            return self.value(run.metrics)
        study = trial.study
        pruner = study.pruner
        if _ending(trial) == "interrupted":
            raise optuna.TrialPruned("The trial that it was to repeat is done meanwhile.")
        # Optuna sets its default pruner even if the user does not want a pruner.
        is_default = type(pruner) is MedianPruner and vars(pruner) == vars(MedianPruner())
        try:
            self.attach(study)
            began = time.monotonic()
            elapsed = working_time(study)
            self.suggest(trial)
            [outcome] = self.train([trial], may_prune=not is_default)
            outcome.store(trial, elapsed + time.monotonic() - began)
        except BaseException as error:
            # This error is more important than an error of the storage.
            with contextlib.suppress(Exception):
                mark(trial, "interrupted")
                if not isinstance(error, Exception | KeyboardInterrupt):
                    # Otherwise, Optuna would leave the trial in the state RUNNING.
                    study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            raise
        if outcome.state == TrialState.PRUNED:
            raise optuna.TrialPruned(f"Pruned by {type(pruner).__name__}.")
        if outcome.value is None:
            return math.nan
        return outcome.value

    def take_tested(self, params: Params) -> Sequence[Any] | None:  # noqa: ARG002
        """Return the baseline and the best network if they are in memory, or None.

        Only an ensemble keeps networks in memory.
        """
        return None

    def _outcomes(
        self, trials: Sequence[optuna.Trial], limits: dict[str, Any], *, may_prune: bool
    ) -> list[Outcome]:
        """Train trials of the same graph and, if it is missing, their baseline network."""
        study = trials[0].study
        objective = self.of(trials[0].params)
        if self.is_of_trial:
            trials[0].set_user_attr(stored.MADE, objective.made)
        starts = [objective.start(trial.params) for trial in trials]
        study_needs_baseline = not _has_baseline(study)
        pruning = None
        if may_prune and not isinstance(study.pruner, NopPruner):
            pruning = _Pruning(trials, self.metric)
            if study_needs_baseline:
                baseline_start = objective.baseline_experiment.baseline_start
                pruning.runs_to_complete = [
                    run for run, start in enumerate(starts) if start == baseline_start
                ]
        runs = objective.trainer.train(starts, **limits, after_epoch=pruning)
        outcomes = []
        for i, run in enumerate(runs):
            is_pruned = pruning is not None and run.epochs > pruning.epochs.get(i, run.epochs)
            outcomes.append(objective._outcome(run, trials[i], is_pruned=is_pruned))

        # The study and the trial that have no stored baseline network yet.
        without_baseline: list[optuna.Study | optuna.Trial] = []
        if study_needs_baseline:
            without_baseline.append(study)
        has_own_baseline = self.is_of_trial and self.compared is None
        is_best = has_own_baseline and self._is_best(trials[0], outcomes[0].value)
        if is_best:
            without_baseline.append(trials[0])
        if not without_baseline:
            return outcomes
        baseline = objective._run_of_baseline(starts, runs, limits)
        if baseline.status in ("complete", "diverged"):
            for owner in without_baseline:
                objective.set_baseline(owner, baseline.metrics)
        elif is_best:
            return [objective._outcome(baseline, trials[0])]
        return outcomes

    def _run_of_baseline(
        self, starts: list[Start], runs: list[TrainingRun], limits: dict[str, Any]
    ) -> TrainingRun:
        """Return the baseline network's run, which is one of ``runs`` from ``starts``, or new."""
        baseline_experiment = self.baseline_experiment
        if baseline_experiment is self and self.baseline_start in starts:
            return runs[starts.index(self.baseline_start)]
        [run] = baseline_experiment.trainer.train([baseline_experiment.baseline_start], **limits)
        return run

    @property
    def _stores_scores(self) -> bool:
        # If samples have groups, the groups of the validation samples are unknown.
        is_grouped = self.dataset.groups_test is not None
        return self.store_scores and self.metric.startswith("val_") and not is_grouped

    def _is_best(self, trial: optuna.Trial, value: float | None) -> bool:
        """Return whether a trial with this value is the best trial.

        Of equal trials, the first one is the best.
        """
        best = best_trial(trial.study.get_trials(deepcopy=False), self.direction)
        if value is None or best is None:
            return value is not None
        gain = self.improvement(value, best.values[0])
        return gain > 0 or (gain == 0 and trial.number < best.number)

    def _outcome(
        self, run: TrainingRun, trial: optuna.Trial, *, is_pruned: bool = False
    ) -> Outcome:
        status: Status = "pruned" if is_pruned else run.status
        trained: Trained = {"seconds": run.seconds, "epochs": run.epochs}
        if not is_finite(run.metrics):
            status = "diverged"
        value = None
        examples = None
        if status == "complete":
            value = run.metrics[self.metric]
            if self._stores_scores and run.examples is not None:
                examples = _short_scores(trial, run.examples)
        metrics = run.metrics if run.history else None
        return Outcome(status, value, metrics, trained, examples=examples)


@dataclasses.dataclass
class _Pruning:
    """Asks the pruner of a study after each epoch of its trials."""

    trials: Sequence[optuna.Trial]
    metric: str
    # The baseline networks, which complete their training even if their trials are pruned.
    runs_to_complete: Sequence[int] = ()
    # The number of epochs after which each pruned run was pruned.
    epochs: dict[int, int] = dataclasses.field(default_factory=dict)

    def __call__(self, run: int, epoch: int, metrics: Metrics) -> bool:
        """Return whether a run ends after an epoch. Both are numbered from 0."""
        if run not in self.epochs and _is_to_end(self.trials[run], metrics[self.metric], epoch):
            self.epochs[run] = epoch + 1
        return run in self.epochs and run not in self.runs_to_complete


def _short_scores(trial: optuna.Trial, scores: np.ndarray) -> Scored | None:
    """Return the scores of the validation examples, or None if they are too long."""
    with collecting(trial) as logged:
        log_scores(trial, scores)
    examples, _ = logged[-1].attributes
    if len(examples["scores"]) < _LONGEST:
        return logged[-1]
    return None


def _has_baseline(study: optuna.Study) -> bool:
    """Return whether the baseline of a study is stored."""
    if study not in _KNOWN_TO_HAVE_ONE and stored.BASELINE_METRICS in study.user_attrs:
        _KNOWN_TO_HAVE_ONE.add(study)
    return study in _KNOWN_TO_HAVE_ONE


def _ending(trial: optuna.Trial) -> str | None:
    """Return the stored reason why a trial must end without a value, or None."""
    attrs = trial.study._storage.get_trial_system_attrs(trial._trial_id)
    return attrs.get(stored.ENDED)


def _is_to_end(trial: optuna.Trial, value: float, epoch: int) -> bool:
    """Report a value, and return whether the training must end after this epoch."""
    try:
        trial.report(value, epoch)
        return trial.should_prune()
    except (UpdateFinishedTrialError, KeyError):
        # Another worker took this worker for dead, or a user deleted the trial.
        return True
