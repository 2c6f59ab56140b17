"""The objective: a trial is trained from its init offsets."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from adnn_optuna._attributes import BASELINE, BASELINE_METRICS, CONFIG, INTERRUPTED, Metrics
from adnn_optuna._checks import WrongValueError, check_type
from adnn_optuna.callbacks import MaxTimeCallback
from adnn_optuna.engine.outcomes import mark_interrupted, train_trials
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.differences import config_differences, in_words
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.offsets import OffsetSpace, RestartSpace, Space, Start
from adnn_optuna.networks.training import Trainer, is_finite

if TYPE_CHECKING:
    import keras


class InitOffsetObjective:
    """Trains a network from offset initial weights and returns how good it became.

    It is an objective for :meth:`optuna.study.Study.optimize`, with any sampler. The first trial
    of a study also trains the *baseline*, the unmoved network, and stores its value (user
    attribute ``adnn:baseline``). A pruner that the study was given sees the metric after each
    epoch, but for the :class:`~optuna.pruners.MedianPruner` that Optuna gives every study.

    The same parameters give the same value, bit for bit, on the same machine. A training that
    diverges (a loss that is not finite) returns NaN, which Optuna notes as a failed trial.

    Example:

        .. code-block:: python

            import optuna
            from adnn_optuna import DeltaStepSampler, InitOffsetObjective, MLP, load_dataset
            objective = InitOffsetObjective(MLP(hidden=(64,)), load_dataset("digits"), seed=0)
            study = optuna.create_study(direction="maximize", sampler=DeltaStepSampler())
            study.optimize(objective, n_trials=10)

    Args:
        model: An :class:`~adnn_optuna.MLP`, or a callable without arguments that returns a fresh
            ``keras.Model`` with one output for each class.
        dataset: The data.
        training: How the network is trained.
        space: Which initial values move, and how far.
        metric: What the search sees, of the validation or the training split: ``"val_accuracy"``
            (the default; of a regression ``"val_r2"``), ``"train_accuracy"`` (the paper's),
            ``"val_loss"``, of a regression ``"val_rmse"`` or ``"val_mae"``, or any Keras metric by
            name, such as ``"val_auc"``, or as an object. Losses and errors are minimized.
        seed: The seed of the initial weights and of the order of the batches.

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
        space: Space | None = None,
        metric: str | keras.metrics.Metric | None = None,
        seed: int = 0,
    ) -> None:
        training = Training() if training is None else training
        space = OffsetSpace() if space is None else space
        check_type("dataset", dataset, Dataset, "a Dataset")
        check_type("training", training, Training, "a Training")
        check_type("space", space, Space, "an OffsetSpace or RestartSpace")
        self._model = model
        self.seed = checked_seed(seed)
        self.dataset = dataset
        n_targets = math.prod(dataset.y_train.shape[1:])
        architecture = build_architecture(
            model, dataset.x_train.shape[1:], dataset.num_classes, n_targets
        )
        head = architecture.head
        if metric is not None and not isinstance(metric, str):
            training = training.with_metric(metric)
            metric = f"val_{[*training.kinds_of_metrics][-1]}"
        self.metric = f"val_{head.score}" if metric is None else metric
        split, _, name = self.metric.partition("_")
        if split == "val" and not len(dataset.x_val):
            raise WrongValueError(
                f"metric is {self.metric!r}, but dataset {dataset.name!r} has no validation "
                f"split; use metric='train_{name}' or load the dataset with a validation_size "
                "above 0."
            )
        self.trainer = Trainer(architecture, training, dataset)
        if self.metric not in self.trainer.metrics and split in ("train", "val"):
            with contextlib.suppress(WrongValueError):  # Keras may not know it either.
                self.trainer = Trainer(architecture, training.with_metric(name), dataset)
        if self.metric not in self.trainer.metrics:
            raise WrongValueError(
                f"metric is {metric!r}, but it must be one of {', '.join(self.trainer.metrics)}, "
                "or val_ or train_ with the name of a Keras metric."
            )
        # Only asked for the working time; its limit does not matter.
        self._clock = MaxTimeCallback(1.0)
        self._search_in(space)

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled graphs stay in their process; another one builds its own.
        names = ("training", "space", "metric", "seed")
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        return functools.partial(type(self), **settings), (self._model, self.dataset)

    def _search_in(self, space: Space) -> None:
        architecture = self.trainer.architecture
        if isinstance(space, RestartSpace) and not architecture.depends_on_seed:
            raise WrongValueError(
                "The model starts from the same weights whatever the seed, so random restarts "
                "would train one network again and again and show no luck: give its initializers "
                "no seed of their own, and load no weights."
            )
        self.space: Space = space
        self.distributions = space.distributions(architecture.variables)

    def replace(
        self, *, seed: int | None = None, space: Space | None = None
    ) -> InitOffsetObjective:
        """Return the same objective with another seed or space; both share the compiled graph."""
        other = object.__new__(type(self))
        other.__dict__ = dict(self.__dict__)
        other.seed = self.seed if seed is None else checked_seed(seed)
        other._search_in(self.space if space is None else space)
        return other

    @property
    def training(self) -> Training:
        """How the network is trained."""
        return self.trainer.training

    @property
    def direction(self) -> StudyDirection:
        """The direction of a study with this objective."""
        is_minimized = self.training.is_minimized(self.metric)
        return StudyDirection.MINIMIZE if is_minimized else StudyDirection.MAXIMIZE

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

    def attach(self, study: optuna.Study) -> None:
        """Store the configuration in a study, or check that it is the one stored there.

        Raises:
            ValueError: If the study has another direction, trials or objective.
        """
        named, n_values = f"The study {study.study_name!r}", len(study.directions)
        if n_values > 1:
            raise WrongValueError(
                f"{named} has {n_values} objectives, but InitOffsetObjective has one value."
            )
        if study.direction != self.direction:
            raise WrongValueError(
                f"{named} must be created with direction={self.direction.name.lower()!r} for "
                f"metric={self.metric!r}."
            )
        attrs = study.user_attrs
        if CONFIG not in attrs:
            # Another study of the same name may have values of something else.
            for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
                if trial.params.keys() != self.distributions.keys():
                    raise WrongValueError(
                        f"{named} has trials of another objective: trial {trial.number} has "
                        f"{', '.join(trial.params) or 'no parameters'}, not "
                        f"{', '.join(self.distributions)}; use another study name."
                    )
            study.set_user_attr(CONFIG, self.config)
        elif differences := config_differences(attrs[CONFIG], self.config):
            raise WrongValueError(
                f"{named} belongs to another objective ({in_words(differences)}); use another "
                "study name or the same settings."
            )

    def set_baseline(self, study: optuna.Study, metrics: Metrics) -> None:
        """Store what the baseline's training came to."""
        study.set_user_attr(BASELINE_METRICS, metrics)
        study.set_user_attr(BASELINE, self.value(metrics))

    def value(self, metrics: Metrics) -> float:
        """Return the selection metric of a training, NaN where it diverged."""
        # Even weights that are no numbers have an accuracy.
        return metrics[self.metric] if is_finite(metrics) else math.nan

    train = train_trials

    def __call__(self, trial: optuna.Trial | FixedTrial | FrozenTrial) -> float:
        """Train one trial and return its metric, NaN if the training diverged.

        One of no running study, such as ``study.best_trial``, is trained again, and nothing is
        stored.

        Raises:
            optuna.TrialPruned: If the study's pruner ended the training, or another worker has
                done meanwhile what the trial is to repeat.
        """
        if not isinstance(trial, optuna.Trial):
            params = {name: trial._suggest(name, d) for name, d in self.distributions.items()}
            [run] = self.trainer.train([self.start(params)], evaluate_each_epoch=False)
            return self.value(run.metrics)
        study, trial_id = trial.study, trial._trial_id
        if study._storage.get_trial_system_attrs(trial_id).get(INTERRUPTED):
            raise optuna.TrialPruned("What it was to repeat has been done meanwhile.")
        try:
            self.attach(study)
            began, elapsed = time.monotonic(), self._clock.elapsed(study)
            for name, distribution in self.distributions.items():
                trial._suggest(name, distribution)
            [outcome] = self.train([trial], with_default_pruner=False)
            outcome.store(trial, elapsed + time.monotonic() - began)
        except BaseException as error:
            # Whatever the storage says, the error is what matters.
            with contextlib.suppress(Exception):
                mark_interrupted(trial)
                if not isinstance(error, Exception | KeyboardInterrupt):
                    # Optuna would leave it running.
                    study._storage.set_trial_state_values(trial_id, TrialState.FAIL)
            raise
        if outcome.state == TrialState.PRUNED:
            raise optuna.TrialPruned(f"Pruned by {type(study.pruner).__name__}.")
        return math.nan if outcome.value is None else outcome.value


def checked_seed(seed: object) -> int:
    """Return a seed as a Python integer; refuse what is none."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise WrongValueError(f"seed must be a whole number of at least 0, but it is {seed!r}.")
    return int(seed)
