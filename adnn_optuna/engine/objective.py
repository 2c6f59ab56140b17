"""The objective: a trial is trained from its init offsets."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from adnn_optuna._attributes import BASELINE, BASELINE_METRICS, CONFIG, ENDED, Metrics
from adnn_optuna._checks import WrongValueError, check_type, checked_seed
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna.callbacks import MaxTimeCallback
from adnn_optuna.engine.outcomes import mark, train_trials
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.display import Shown
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.offsets import OffsetSpace, RestartSpace, Space, Start
from adnn_optuna.networks.training import Trainer, is_finite

if TYPE_CHECKING:
    import keras
    from optuna.distributions import BaseDistribution


# How many networks an objective keeps, of functions of the trial.
_N_NETWORKS = 32


class InitOffsetObjective(Shown):
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
            ``keras.Model`` with one output for each class (or a single one for two classes), or
            for each target of a regression. Or a function of the trial that returns one of these,
            whose suggestions are searched together with the offsets.
        dataset: The data.
        training: How the network is trained; or a function of the trial that returns it.
        space: Which initial values move, and how far.
        metric: What the search sees, of the validation or the training split: ``"val_accuracy"``
            (the default; of a regression ``"val_r2"``), ``"train_accuracy"`` (the paper's),
            ``"val_loss"``, of a regression ``"val_rmse"`` or ``"val_mae"``, or any Keras metric by
            name, such as ``"val_auc"``. It may be such an object. Losses and errors are minimized.
        seed: The seed of the initial weights and of the order of the batches.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument's value is wrong, or the model does not fit the data.
    """

    def __init__(
        self,
        model: MLP | Callable[..., Any],
        dataset: Dataset,
        *,
        training: Training | Callable[[Any], Training] | None = None,
        space: Space | None = None,
        metric: str | keras.metrics.Metric | None = None,
        seed: int = 0,
    ) -> None:
        training = Training() if training is None else training
        space = OffsetSpace() if space is None else space
        check_type("dataset", dataset, Dataset, "a Dataset")
        if not _takes_trial(training):
            wanted = "a Training, or a function of a trial that returns one"
            check_type("training", training, Training, wanted)
        check_type("space", space, Space, "an OffsetSpace or RestartSpace")
        self._model, self._training = model, training
        self.seed: int = checked_seed(seed)
        self.dataset: Dataset = dataset
        self.space: Space = space
        self.distributions: dict[str, BaseDistribution] = {}
        # Only asked for the working time; its limit does not matter.
        self._clock = MaxTimeCallback(1.0)
        self._metric: Any = f"val_{'accuracy' if dataset.num_classes else 'r2'}"
        if metric is not None:
            self._metric = metric
        if isinstance(self._metric, str):
            self.metric: str = self._metric
        else:
            [self._metric] = Training().with_metric(metric).metrics
            self.metric = f"val_{self._metric['config']['name']}"
        self.is_of_trial: bool = _takes_trial(model) or _takes_trial(training)
        # Of functions of a trial: the objective of each network that was made of them.
        self._of_networks: dict[str, InitOffsetObjective] = {}
        if self.is_of_trial:
            return
        self._architecture = build_architecture(
            cast("Any", model), dataset.x_train.shape[1:], dataset.num_classes, dataset.n_outputs
        )
        self._train_by(cast("Training", training))
        self._search_in(space)

    def _train_by(self, training: Training) -> None:
        """Make the trainer, which knows the metric."""
        if isinstance(self._metric, dict):
            training = training.with_metric(self._metric)
        split, _, name = self.metric.partition("_")
        if split == "val" and not len(self.dataset.x_val):
            raise WrongValueError(
                f"metric is {self.metric!r}, but dataset {self.dataset.name!r} has no validation "
                f"split; use metric='train_{name}' or load the dataset with a validation_size "
                "above 0."
            )
        self._trainer = Trainer(self._architecture, training, self.dataset)
        if self.metric not in self._trainer.metrics and split in ("train", "val"):
            training = training.with_metric(name)
            try:
                self._trainer = Trainer(self._architecture, training, self.dataset)
            except WrongValueError as error:
                if not str(error).startswith("Keras knows no metric"):
                    raise
        if self.metric not in self._trainer.metrics:
            raise WrongValueError(
                f"metric is {self.metric!r}, but must be one of "
                f"{', '.join(self._trainer.metrics)}, or val_ or train_ with the name of a Keras "
                "metric."
            )

    def _facts(self) -> dict[str, object]:
        model: object = self._model
        if not isinstance(model, MLP):
            model = getattr(model, "__name__", type(model).__name__)
        facts = {"model": model, "data": self.dataset.name, "metric": self.metric}
        return {**facts, "seed": self.seed}

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled graphs stay in their process; another one builds its own.
        settings: Any = {"space": self.space, "metric": self._metric, "seed": self.seed}
        settings["training"] = self._training
        return functools.partial(type(self), **settings), (self._model, self.dataset)

    def _search_in(self, space: Space) -> None:
        architecture = self.trainer.architecture
        if isinstance(space, RestartSpace) and not architecture.depends_on_seed:
            raise WrongValueError(
                "The model starts from the same weights whatever the seed, so random restarts "
                "would train one network again and again and show no luck: give its initializers "
                "no seed of their own, and load no weights."
            )
        self.space = space
        self.distributions = space.distributions(architecture.variables)

    def replace(
        self,
        *,
        seed: int | None = None,
        space: Space | None = None,
        training: Training | None = None,
    ) -> InitOffsetObjective:
        """Return the same objective with another seed, space or training of the same network."""
        other = object.__new__(type(self))
        other.__dict__ = dict(self.__dict__)
        other.seed = self.seed if seed is None else checked_seed(seed)
        other.space = self.space if space is None else space
        if training is not None and training != self._training:
            other._training = training
            other._train_by(training)
        if not self.is_of_trial:
            other._search_in(other.space)
        return other

    def of(self, params: Mapping[str, Any]) -> InitOffsetObjective:
        """Return the objective whose model and training are those of a trial's parameters.

        It is the same where neither is a function of the trial.
        """
        if not self.is_of_trial:
            return self
        # Each tells afterwards what was suggested by it.
        of_model, of_training = FixedTrial(dict(params)), FixedTrial(dict(params))
        model, training = cast("Any", self._model), cast("Any", self._training)
        training = training(of_training) if _takes_trial(training) else training
        check_type("What training returns", training, Training, "a Training")
        made = model(of_model) if _takes_trial(model) else model
        key = repr(sorted(of_model.params.items()))
        if (found := self._of_networks.get(key)) is None:
            if hasattr(made, "stateless_call"):  # A model of Keras, which is to be a fresh one.
                made = functools.partial(_call, model, dict(params))
            settings: Any = {"space": self.space, "metric": self._metric, "seed": self.seed}
            found = type(self)(made, self.dataset, training=training, **settings)
            while len(self._of_networks) >= _N_NETWORKS:
                self._of_networks.pop(next(iter(self._of_networks)))
            self._of_networks[key] = found
        return found.replace(seed=self.seed, space=self.space, training=training)

    def suggest(self, trial: optuna.Trial | FixedTrial | FrozenTrial) -> InitOffsetObjective:
        """Let a trial suggest all its parameters, and return the objective of these."""
        objective = self
        if self.is_of_trial:
            for function in filter(_takes_trial, (self._model, self._training)):
                cast("Any", function)(trial)
            objective = self.of(trial.params)
        for name, distribution in objective.distributions.items():
            trial._suggest(name, distribution)
        return objective

    @property
    def trainer(self) -> Trainer:
        """What trains the network.

        Raises:
            ValueError: If model or training is a function of the trial.
        """
        if self.is_of_trial:
            raise WrongValueError(
                "The objective's model or training is a function of the trial, so it has no one "
                "network: use objective.of(params), with the parameters of a trial."
            )
        return self._trainer

    @property
    def training(self) -> Training:
        """How the network is trained."""
        return self.trainer.training

    @property
    def direction(self) -> StudyDirection:
        """The direction of a study with this objective."""
        training = Training() if self.is_of_trial else self.training
        if isinstance(self._metric, dict):
            training = training.with_metric(self._metric)
        is_minimized = training.is_minimized(self.metric)
        return StudyDirection.MINIMIZE if is_minimized else StudyDirection.MAXIMIZE

    @property
    def config(self) -> dict[str, Any]:
        """All that determines a trial's value, as JSON holds it."""
        model, training = self._model, self._training
        return {
            "model": _described(model) if self.is_of_trial else self.trainer.architecture.config,
            "dataset": self.dataset.config,
            "training": _described(training) if self.is_of_trial else self.training.config,
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
                if not self.is_of_trial and trial.params.keys() != self.distributions.keys():
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
            objective = self.suggest(trial)
            params = {name: trial.params[name] for name in objective.distributions}
            [run] = objective.trainer.train([objective.start(params)], evaluate_each_epoch=False)
            return self.value(run.metrics)
        study, trial_id = trial.study, trial._trial_id
        if study._storage.get_trial_system_attrs(trial_id).get(ENDED) == "interrupted":
            raise optuna.TrialPruned("What it was to repeat has been done meanwhile.")
        try:
            self.attach(study)
            began, elapsed = time.monotonic(), self._clock.used(study)
            self.suggest(trial)
            [outcome] = self.train([trial], with_default_pruner=False)
            outcome.store(trial, elapsed + time.monotonic() - began)
        except BaseException as error:
            # Whatever the storage says, the error is what matters.
            with contextlib.suppress(Exception):
                mark(trial, "interrupted")
                if not isinstance(error, Exception | KeyboardInterrupt):
                    # Optuna would leave it running.
                    study._storage.set_trial_state_values(trial_id, TrialState.FAIL)
            raise
        if outcome.state == TrialState.PRUNED:
            raise optuna.TrialPruned(f"Pruned by {type(study.pruner).__name__}.")
        return math.nan if outcome.value is None else outcome.value


def _takes_trial(function: object) -> bool:
    """Return whether this is a function of a trial: it needs one argument, and no more."""
    if not callable(function) or isinstance(function, type) or hasattr(function, "stateless_call"):
        return False
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # Not every function of an extension module tells it.
        return False
    return len([p for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]) == 1


def _call(function: Callable[[Any], keras.Model], params: dict[str, Any]) -> keras.Model:
    return function(FixedTrial(params))


def _described(given: Any) -> dict[str, Any]:
    """Return what a study stores of a model or training where one is a function of the trial."""
    if isinstance(given, MLP | Training):
        return given.config
    return {"type": "function", "name": getattr(given, "__qualname__", type(given).__name__)}
