"""Trials that are trained as one stack, and how each of them ends."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import MedianPruner, NopPruner
from optuna.trial import TrialState

from adnn_optuna._attributes import DIVERGED, INTERRUPTED, TRIAL_METRICS
from adnn_optuna.networks.training import is_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    from optuna.pruners import BasePruner

    from adnn_optuna._attributes import Metrics
    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.networks.metrics import Metric
    from adnn_optuna.networks.offsets import Start


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ends.

    Args:
        state:
            COMPLETE; PRUNED, by a pruner or the deadline; FAIL, where the training diverged.
        value:
            The metric of a COMPLETE trial, else :obj:`None`.
        timed_out:
            Whether the deadline cut the training off.
        metrics:
            Accuracy and loss at its end, :obj:`None` if it was cut off before.
    """

    state: TrialState
    value: float | None = None
    timed_out: bool = False
    metrics: Metrics | None = None

    def note(self, trial: optuna.Trial) -> None:
        """Store in a trial what is to be known of it beside state and value."""
        if self.metrics is not None:
            trial.set_user_attr(TRIAL_METRICS, self.metrics)
        if self.timed_out:
            mark_interrupted(trial)
        if self.state == TrialState.FAIL:
            trial.set_user_attr(DIVERGED, value=True)


def train_trials(
    jobs: Sequence[tuple[InitOffsetObjective, optuna.Trial]],
    *,
    deadline: float = math.inf,
    with_default_pruner: bool = True,
) -> list[Outcome]:
    """Train several trials as one stack, and the baselines of their studies where missing.

    The outcomes are not told to the studies; only baselines and intermediate values are stored.

    Args:
        jobs:
            The trials, each with its objective; all objectives share their trainer
            (:meth:`InitOffsetObjective.replace`).
        deadline:
            The value of :func:`time.monotonic` after which no further epoch begins.
        with_default_pruner:
            Whether the pruner that Optuna gives every study may prune.

    Returns:
        How each trial ends, in the order of ``jobs``.
    """
    trainer = jobs[0][0].trainer
    assert all(objective.trainer is trainer for objective, _ in jobs)

    # Equal starts are trained once: the baseline is often a trial, too.
    trials_of: dict[Start, list[int]] = {}
    baselines: list[Metrics | None] = []
    for i, (objective, trial) in enumerate(jobs):
        baselines.append(objective.attach(trial.study))
        if baselines[i] is None:
            trials_of.setdefault(objective.baseline_start, [])
        for name, distribution in objective.distributions.items():
            trial._suggest(name, distribution)
        start = objective.start(trial.params)
        if baselines[i] is None or start != objective.baseline_start:
            trials_of.setdefault(start, []).append(i)

    starts = list(trials_of)
    pruned: set[int] = set()
    reported = [
        i
        for i, (_, trial) in enumerate(jobs)
        if not isinstance(pruner := trial.study.pruner, NopPruner)
        and (with_default_pruner or not _is_default(pruner))
    ]

    def after_epoch(run: int, epoch: int, metrics: Metrics) -> bool:
        is_last = epoch == trainer.training.epochs - 1
        members = trials_of[starts[run]]
        for i in set(members).intersection(reported) - pruned:
            objective, trial = jobs[i]
            if _is_to_end(trial, metrics[objective.metric], epoch) and not is_last:
                pruned.add(i)
        is_baseline = any(starts[run] == objective.baseline_start for objective, _ in jobs)
        return bool(members) and not is_baseline and pruned.issuperset(members)

    runs = dict(
        zip(
            starts,
            trainer.train(
                starts,
                deadline=deadline,
                after_epoch=after_epoch if reported else None,
                evaluate_each_epoch=False,
            ),
            strict=True,
        )
    )

    outcomes = []
    for i, (objective, trial) in enumerate(jobs):
        if baselines[i] is None and objective.attach(trial.study) is None:
            run = runs[objective.baseline_start]
            if run.status in ("complete", "diverged"):
                objective.set_baseline(trial.study, run)
        run_of_trial = runs.get(objective.start(trial.params))
        metrics = run_of_trial.history[-1] if run_of_trial and run_of_trial.history else None
        if run_of_trial is None:
            metrics = baselines[i]
        outcomes.append(
            _outcome(
                objective.metric,
                "pruned" if i in pruned else run_of_trial.status if run_of_trial else "complete",
                metrics,
            )
        )
    return outcomes


def _is_to_end(trial: optuna.Trial, value: float, epoch: int) -> bool:
    """Report a value and return whether the training is to end after this epoch."""
    try:
        # A stack that was too large for the memory is trained again, with the same values.
        if epoch not in trial._cached_frozen_trial.intermediate_values:
            trial.report(value, epoch)
        return trial.should_prune()
    except UpdateFinishedTrialError:
        # Another worker took this one for dead; whoever tells the trial will see that, too.
        return True


def _is_default(pruner: BasePruner) -> bool:
    """Return whether a pruner is what Optuna takes where none is given."""
    return type(pruner) is MedianPruner and vars(pruner) == vars(MedianPruner())


def _outcome(metric: Metric, status: str, metrics: Metrics | None) -> Outcome:
    if metrics is not None and not is_finite(metrics):
        status = "diverged"
    match status:
        case "complete":
            assert metrics is not None
            return Outcome(TrialState.COMPLETE, metrics[metric], metrics=metrics)
        case "pruned":
            return Outcome(TrialState.PRUNED, metrics=metrics)
        case "timeout":
            return Outcome(TrialState.PRUNED, timed_out=True, metrics=metrics)
        case _:
            return Outcome(TrialState.FAIL, metrics=metrics)


def mark_interrupted(trial: optuna.Trial) -> None:
    """Note that a trial was cut off and says nothing about its parameters: it is done again."""
    trial.study._storage.set_trial_system_attr(trial._trial_id, INTERRUPTED, True)  # noqa: FBT003
