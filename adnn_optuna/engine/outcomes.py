"""Training trials of a study, and how each of them ends."""

from __future__ import annotations

import dataclasses
import functools
import gc
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import MedianPruner, NopPruner
from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Ended, Metrics
from adnn_optuna._checks import TOO_LITTLE_MEMORY, is_out_of_memory
from adnn_optuna.engine.storages import patiently
from adnn_optuna.networks.training import Run, is_finite

if TYPE_CHECKING:
    from adnn_optuna.engine.objective import InitOffsetObjective


_logger = optuna.logging.get_logger("optuna.adnn_optuna")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ends: FAIL is that its training diverged.

    If a limit cut it off, it is PRUNED. If the user stopped it, it is not told, but done again.
    ``epochs`` are those trained, where these are not what the study says.
    """

    state: TrialState
    value: float | None = None
    metrics: Metrics | None = None
    is_cut_off: bool = False
    is_stopped: bool = False
    epochs: int | None = None
    seconds: float = math.inf
    """About how long its training takes."""

    def store(self, trial: optuna.Trial, elapsed: float) -> None:
        """Store in a trial, before it is told, what is to be known beside state and value."""
        trial.set_user_attr(stored.ELAPSED, elapsed)
        if self.epochs is not None:
            trial.set_user_attr(stored.EPOCHS, self.epochs)
        if self.metrics is not None:
            trial.set_user_attr(stored.TRIAL_METRICS, self.metrics)
        if self.is_cut_off:
            mark(trial, "interrupted")
            if math.isfinite(self.seconds):
                trial.set_user_attr(stored.SECONDS, self.seconds)
        if self.state == TrialState.FAIL:
            mark(trial, "diverged")


def train_trials(
    objective: InitOffsetObjective,
    trials: Sequence[optuna.Trial],
    *,
    with_default_pruner: bool = True,
    **limits: Any,
) -> list[Outcome]:
    """Train trials of one study side by side, and its baseline where that is missing.

    Nothing is told to the study; only baseline and intermediate values are stored. Where memory
    runs out, the trials are trained one by one. The ``limits`` are ``stop``, ``deadline`` and
    ``meanwhile`` of :meth:`Trainer.train`; ``with_default_pruner`` is whether the pruner that
    Optuna gives every study may prune.
    """
    train = functools.partial(_train, objective, limits, with_default_pruner)
    # Each network of a function of the trial has its own graph.
    parts = [[trial] for trial in trials] if objective.is_of_trial else [trials]
    while True:
        try:
            return [outcome for part in parts for outcome in train(part)]
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(parts) == len(trials):
                raise MemoryError(TOO_LITTLE_MEMORY) from error
        # The error and with it the memory is held by a cycle: its traceback's frames hold the
        # futures, and these hold it.
        gc.collect()
        said = "There is too little memory to train %d networks at once; going on one by one."
        _logger.warning(said, len(trials))
        parts = [[trial] for trial in trials]


def _train(
    objective: InitOffsetObjective,
    limits: dict[str, Any],
    with_default_pruner: bool,  # noqa: FBT001
    trials: Sequence[optuna.Trial],
) -> list[Outcome]:
    study, is_of_trial = trials[0].study, objective.is_of_trial
    objective = objective.of(trials[0].params)
    starts = [objective.start(trial.params) for trial in trials]
    unmoved = objective.baseline_start
    is_first = stored.BASELINE_METRICS not in patiently(lambda: study.user_attrs)
    if is_first and unmoved not in starts:
        starts.append(unmoved)
    pruned: set[int] = set()

    def after_epoch(run: int, epoch: int, metrics: Metrics) -> bool:
        if run >= len(trials):
            return False
        is_last = epoch == objective.training.epochs - 1
        if run not in pruned and _is_to_end(trials[run], metrics[objective.metric], epoch):
            pruned.update(() if is_last else (run,))
        # The baseline is needed to its end.
        return run in pruned and not (is_first and starts[run] == unmoved)

    # What Optuna takes where none is given.
    is_default = type(study.pruner) is MedianPruner and vars(study.pruner) == vars(MedianPruner())
    may_prune = with_default_pruner or not is_default
    runs = objective.trainer.train(
        starts,
        **limits,
        after_epoch=after_epoch if may_prune and not isinstance(study.pruner, NopPruner) else None,
        evaluate_each_epoch=False,
    )
    if is_first:
        baseline = runs[starts.index(unmoved)]
        if baseline.status in ("complete", "diverged"):
            patiently(objective.set_baseline, study, baseline.metrics)
    outcomes = []
    for i, run in enumerate(runs[: len(trials)]):
        outcome = _outcome(objective, run, is_pruned=i in pruned)
        if is_of_trial or run.epochs != objective.training.epochs:
            outcome = dataclasses.replace(outcome, epochs=run.epochs)
        outcomes.append(outcome)
    return outcomes


def _outcome(objective: InitOffsetObjective, run: Run, *, is_pruned: bool) -> Outcome:
    status = "pruned" if is_pruned else run.status
    metrics = run.metrics if run.history else None
    if metrics is not None and not is_finite(metrics):
        return Outcome(TrialState.FAIL, metrics=metrics)
    if metrics is not None and status == "complete":
        return Outcome(TrialState.COMPLETE, metrics[objective.metric], metrics)
    is_cut_off, is_stopped = status == "timeout", status == "stopped"
    seconds = objective.trainer.seconds
    return Outcome(TrialState.PRUNED, None, metrics, is_cut_off, is_stopped, seconds=seconds)


def _is_to_end(trial: optuna.Trial, value: float, epoch: int) -> bool:
    """Report a value and return whether the training is to end after this epoch."""
    known = patiently(trial.study._storage.get_trial, trial._trial_id).intermediate_values
    try:
        # It was reported where this is trained again, as memory had run out.
        if epoch not in known:
            patiently(trial.report, value, epoch)
        return patiently(trial.should_prune)
    except UpdateFinishedTrialError:
        # Another worker took this one for dead; whoever tells the trial will see that, too.
        return True


def mark(trial: optuna.Trial, ended: Ended) -> None:
    """Note why a trial comes to no value, before it is told."""
    trial.study._storage.set_trial_system_attr(trial._trial_id, stored.ENDED, ended)
