"""The objective: one trial, or a stack of trials, trained from their init offsets."""

from __future__ import annotations

import dataclasses
import functools
import math
import weakref
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import MedianPruner, NopPruner
from optuna.study import StudyDirection
from optuna.trial import TrialState

from adnn_optuna.architectures import build_architecture
from adnn_optuna.callbacks import BASELINE, DIVERGED
from adnn_optuna.data import Dataset
from adnn_optuna.differences import in_words, objective_differences
from adnn_optuna.models import MLP, Training
from adnn_optuna.offsets import OffsetSpace, RestartSpace, Start
from adnn_optuna.samplers import INTERRUPTED
from adnn_optuna.training import StackedTrainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras
    from optuna.distributions import BaseDistribution

    from adnn_optuna.training import Metrics, Run

Metric = Literal["val_accuracy", "train_accuracy", "val_loss", "train_loss"]
METRICS: tuple[Metric, ...] = ("val_accuracy", "train_accuracy", "val_loss", "train_loss")

# User attributes of a study: what it optimizes, and all metrics of the unmoved network.
CONFIG = "adnn:config"
BASELINE_METRICS = "adnn:baseline_metrics"

# User attribute of a trial: accuracy and loss on the training and validation set at its end.
TRIAL_METRICS = "adnn:metrics"


class InitOffsetObjective:
    """Trains a network from offset initial weights and returns how good it became.

    It is an objective for :meth:`optuna.study.Study.optimize`, on any study with any sampler.
    The first trial of a study also trains the *baseline*, the unmoved network, and stores its
    value in the study (user attribute ``adnn:baseline``), together with the objective's whole
    configuration. If the study was given a pruner, the metric is reported after each epoch, and
    the pruner may end the training. (Optuna gives every study a
    :class:`~optuna.pruners.MedianPruner` with default arguments; that one is not used, as nobody
    asked for it, and half of a walk's steps would have no value.)

    A training is deterministic: the same parameters give the same value, bit for bit, on the
    same machine. One that diverges (a loss that is not finite) returns NaN, which Optuna notes as
    a failed trial, and the study goes on.

    Example:

        .. code-block:: python

            import optuna
            from adnn_optuna import DeltaStepSampler, InitOffsetObjective, MLP, load_dataset

            objective = InitOffsetObjective(MLP(hidden=(64,)), load_dataset("digits"), seed=0)
            study = optuna.create_study(direction="maximize", sampler=DeltaStepSampler())
            study.optimize(objective, n_trials=10)

    Args:
        model:
            An :class:`~adnn_optuna.MLP`, or a callable without arguments that returns a fresh
            ``keras.Model`` with one output for each class.
        dataset:
            The data.
        training:
            How the network is trained.
        space:
            Which initial values move, and how far.
        metric:
            What the search sees: ``"val_accuracy"``, ``"train_accuracy"`` (the paper's), which
            are maximized, ``"val_loss"`` or ``"train_loss"``, which are minimized.
        seed:
            The seed of the initial weights and of the order of the batches.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument's value is wrong, or the model does not fit the data.
    """

    def __init__(
        self,
        model: MLP | Callable[[], keras.Model],
        dataset: Dataset,
        *,
        training: Training | None = None,
        space: OffsetSpace | RestartSpace | None = None,
        metric: Metric = "val_accuracy",
        seed: int = 0,
    ) -> None:
        training = Training() if training is None else training
        space = OffsetSpace() if space is None else space
        for name, value, types in (
            ("dataset", dataset, (Dataset,)),
            ("training", training, (Training,)),
            ("space", space, (OffsetSpace, RestartSpace)),
        ):
            if not isinstance(value, types):
                wanted = " or ".join(t.__name__ for t in types)
                raise TypeError(f"{name} must be a {wanted}, but it is a {type(value).__name__}.")
        if not isinstance(metric, str) or metric not in METRICS:
            raise ValueError(f"metric is {metric!r}, but it must be one of {', '.join(METRICS)}.")
        if metric.startswith("val_") and not len(dataset.x_val):
            raise ValueError(
                f"metric is {metric!r}, but dataset {dataset.name!r} has no validation split; "
                "use metric='train_accuracy' or load the dataset with a validation_size above 0."
            )
        self._model = model
        self.space: OffsetSpace | RestartSpace = space
        self.metric: Metric = metric
        self.seed = _checked_seed(seed)
        self.dataset = dataset
        self.trainer = StackedTrainer(
            build_architecture(model, dataset.x_train.shape[1:], dataset.num_classes),
            training,
            dataset,
        )
        self.distributions = self._distributions()
        self._known_baselines = _KnownBaselines()

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled graphs stay in their process; another one builds its own.
        settings: dict[str, Any] = {
            "training": self.training,
            "space": self.space,
            "metric": self.metric,
            "seed": self.seed,
        }
        return functools.partial(type(self), **settings), (self._model, self.dataset)

    def _distributions(self) -> dict[str, BaseDistribution]:
        return self.space.distributions(self.trainer.architecture.variables)

    def replace(
        self, *, seed: int | None = None, space: OffsetSpace | RestartSpace | None = None
    ) -> InitOffsetObjective:
        """Return the same objective with another seed or space; both share data and graphs."""
        other = object.__new__(type(self))
        other.__dict__ = dict(self.__dict__)
        other.seed = self.seed if seed is None else _checked_seed(seed)
        other.space = self.space if space is None else space
        other.distributions = other._distributions()
        other._known_baselines = _KnownBaselines()
        return other

    @property
    def training(self) -> Training:
        """How the network is trained."""
        return self.trainer.training

    @property
    def direction(self) -> StudyDirection:
        """The direction of a study with this objective."""
        is_loss = self.metric.endswith("_loss")
        return StudyDirection.MINIMIZE if is_loss else StudyDirection.MAXIMIZE

    @property
    def config(self) -> dict[str, Any]:
        """All that determines a trial's value, as JSON holds it."""
        return {
            "model": self.trainer.architecture.config,
            "dataset": self.dataset.config,
            "training": self.training.config,
            "space": self.space.config,
            "metric": self.metric,
            "seed": self.seed,
        }

    @property
    def baseline_start(self) -> Start:
        """What the baseline is trained from."""
        return self.start({})

    def start(self, params: dict[str, Any]) -> Start:
        """Return what a trial with these parameters is trained from."""
        return self.space.start(params, self.trainer.architecture.variables, self.seed)

    def improvement(self, value: float, baseline: float) -> float:
        """Return by how much ``value`` is better than ``baseline``, in units of the metric."""
        return baseline - value if self.direction == StudyDirection.MINIMIZE else value - baseline

    def attach(self, study: optuna.Study) -> Metrics | None:
        """Store the configuration in a study, or check that it is the one stored there.

        Returns:
            The metrics of the study's baseline, :obj:`None` if it was not trained yet.

        Raises:
            ValueError: If the study optimizes in the wrong direction or belongs to an objective
                that differs in model, data, training, space, metric or seed.
        """
        known = self._known_baselines.get(study)
        if known is not None:
            return known
        if len(study.directions) > 1:
            raise ValueError(
                f"The study {study.study_name!r} has {len(study.directions)} objectives, but "
                "InitOffsetObjective has one value."
            )
        if study.direction != self.direction:
            raise ValueError(
                f"The study {study.study_name!r} must be created with "
                f"direction={self.direction.name.lower()!r} for metric={self.metric!r}."
            )
        attrs = study.user_attrs
        if CONFIG not in attrs:
            study.set_user_attr(CONFIG, self.config)
        else:
            differences = objective_differences(attrs[CONFIG], self.config)
            if differences:
                raise ValueError(
                    f"The study {study.study_name!r} belongs to another objective "
                    f"({in_words(differences)}); use another study name or the same settings."
                )
        metrics: Metrics | None = attrs.get(BASELINE_METRICS)
        if metrics is not None:
            self._known_baselines.set(study, metrics)
        return metrics

    def set_baseline(self, study: optuna.Study, run: Run) -> None:
        """Store what the baseline's training came to."""
        metrics = run.history[-1]
        self._known_baselines.set(study, metrics)
        study.set_user_attr(BASELINE_METRICS, metrics)
        study.set_user_attr(BASELINE, metrics[self.metric])

    def __call__(self, trial: optuna.Trial) -> float:
        """Train one trial.

        Returns:
            The metric after the last epoch, NaN if the training diverged.

        Raises:
            optuna.TrialPruned: If the study's pruner ended the training.
        """
        try:
            [outcome] = train_trials([(self, trial)])
        except KeyboardInterrupt:
            mark_interrupted(trial)
            raise
        outcome.note(trial)
        if outcome.state == TrialState.PRUNED:
            raise optuna.TrialPruned(f"Pruned by {type(trial.study.pruner).__name__}.")
        return outcome.value if outcome.value is not None else math.nan


class _KnownBaselines:
    """The baselines' metrics of studies seen before, which only saves reading them again."""

    def __init__(self) -> None:
        self._metrics: weakref.WeakKeyDictionary[Any, dict[int, Metrics]] = (
            weakref.WeakKeyDictionary()
        )

    def get(self, study: optuna.Study) -> Metrics | None:
        return self._metrics.get(study._storage, {}).get(study._study_id)

    def set(self, study: optuna.Study, metrics: Metrics) -> None:
        self._metrics.setdefault(study._storage, {})[study._study_id] = metrics


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
    jobs: Sequence[tuple[InitOffsetObjective, optuna.Trial]], *, deadline: float = math.inf
) -> list[Outcome]:
    """Train several trials as one stack, and the baselines of their studies where missing.

    The outcomes are not told to the studies; only baselines and intermediate values are stored.

    Args:
        jobs:
            The trials, each with its objective; all objectives share their trainer
            (:meth:`InitOffsetObjective.replace`).
        deadline:
            The value of :func:`time.monotonic` after which no further epoch begins.

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
    reported = [i for i, (_, trial) in enumerate(jobs) if _has_chosen_pruner(trial.study)]

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


def _has_chosen_pruner(study: optuna.Study) -> bool:
    """Return whether the study's pruner is not just what Optuna takes where none is given."""
    pruner = study.pruner
    if isinstance(pruner, NopPruner):
        return False
    return type(pruner) is not MedianPruner or vars(pruner) != vars(MedianPruner())


def _outcome(metric: Metric, status: str, metrics: Metrics | None) -> Outcome:
    if metrics is not None and not all(math.isfinite(value) for value in metrics.values()):
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


def _checked_seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, but it is {seed!r}.")
    return int(seed)
