"""An experiment: a network, its data, its training, its initial values and its metric."""

import dataclasses
import functools
import hashlib
import inspect
import json
import math
from collections.abc import Callable
from typing import Any, Literal, Self, cast

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FixedTrial

from adnn_optuna._attributes import Json, Made, Metrics, Params
from adnn_optuna._checks import WrongValueError, as_integer, check_type, logger
from adnn_optuna._units import SHARE, unit_of
from adnn_optuna.engine.objectives import Catch, Caught, checked_catch, checked_direction
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.keras_files import undisturbed
from adnn_optuna.networks.models import MLP, AnyModel, Training
from adnn_optuna.networks.network import Architecture, build_architecture
from adnn_optuna.networks.offsets import RESTARTS, OffsetSpace, Space, Start
from adnn_optuna.networks.scaling import warn_of_large_numbers
from adnn_optuna.networks.training import Trainer, is_finite

# If the model is a function of the trial, at most this number of its networks stay in memory. Each
# network keeps at most _N_TRAINERS trainers.
_N_NETWORKS = 32
_N_TRAINERS = 8


_say_once = functools.cache(logger.info)  # Each message is logged once per process.


class Network:
    """A model and its dataset, with the trainers that all its experiments share."""

    def __init__(self, model: AnyModel, dataset: Dataset) -> None:
        self.model: AnyModel = model
        self.dataset: Dataset = dataset
        # If the model is a function of the trial, its networks, by the suggested parameters.
        self.of_params: dict[str, Network] = {}
        self._trainers: list[tuple[tuple[Training, str], Trainer]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled graphs cannot be pickled, so each process compiles its own graphs.
        return type(self), (self.model, self.dataset)

    @functools.cached_property
    def architecture(self) -> Architecture:
        """The network's variables and initializers. Warn if numbers in the data are too large."""
        x = self.dataset.x_train
        classes = self.dataset.num_classes
        architecture = build_architecture(
            self.model, x.shape[1:], classes, self.dataset.n_outputs, x.dtype.name
        )
        warn_of_large_numbers(
            self.dataset,
            inputs=not architecture.scales_inputs,
            targets=not architecture.scales_outputs,
        )
        return architecture

    def trainer(self, training: Training, metric: str) -> Trainer:
        """Return the trainer of the network for these settings and this metric."""
        for settings, trainer in self._trainers:
            if settings == (training, metric):
                return trainer
        split, _, name = metric.partition("_")
        if split == "val" and not len(self.dataset.x_val):
            raise WrongValueError(
                f"metric must be of the training data, as dataset {self.dataset.name!r} has no "
                f"validation split; got {metric!r}. Pass metric='train_{name}', or load the "
                "dataset with a validation_size above 0."
            )
        trainer = Trainer(self.architecture, training, self.dataset, name)
        if metric not in trainer.metrics and split in ("train", "val"):
            trainer = Trainer(self.architecture, training.with_metric(name), self.dataset, name)
        if metric not in trainer.metrics:
            raise WrongValueError(
                f"metric must be one of {', '.join(trainer.metrics)}, or val_ or train_ with the "
                f"name of a Keras metric; got {metric!r}."
            )
        latest = self._trainers[1 - _N_TRAINERS :]
        self._trainers = [*latest, ((training, metric), trainer)]
        return trainer


class Experiment:
    """A network, the space in which its initial values move, and the metric of its training.

    The arguments are those of :class:`~adnn_optuna.InitOffsetObjective`, a subclass.
    """

    # If this is a control, the experiment that it is compared with; both have the same baseline
    # network.
    compared: Self | None = None

    def __init__(
        self,
        model: AnyModel | Network,
        dataset: Dataset,
        *,
        training: Training | Callable[[Any], Training] | None = None,
        space: Space | None = None,
        metric: str | None = None,
        direction: Literal["minimize", "maximize"] | StudyDirection | None = None,
        seed: int = 0,
        catch: Catch = (),
        store_scores: bool = True,
    ) -> None:
        if training is None:
            training = Training()
        if space is None:
            space = OffsetSpace()
        check_type("dataset", dataset, Dataset, "a Dataset, such as Dataset.from_arrays(x, y)")
        if not takes_trial(training):
            training_rule = "a Training, or a function of a trial that returns one"
            check_type("training", training, Training, training_rule)
        check_type("space", space, Space, "an OffsetSpace or RESTARTS")
        direction = checked_direction(direction)
        if metric is None:
            metric = "val_r2"
            if dataset.num_classes:
                metric = "val_accuracy"
        check_type("metric", metric, str, "a metric's name behind val_ or train_, as 'val_auc'")
        if isinstance(model, Network) and model.dataset is not dataset:
            model = model.model
        if not isinstance(model, Network):
            model = Network(model, dataset)
        self.model: Network = model
        self.dataset: Dataset = dataset
        self.training: Training | Callable[[Any], Training] = training
        self.space: Space = space
        self.metric: str = metric
        self.seed: int = as_integer("seed", seed, 0, math.inf)
        self.catch: Caught = checked_catch(catch)
        self.store_scores: bool = store_scores
        self.direction: StudyDirection = direction or self._default_direction
        if self.is_of_trial:
            return
        name = metric.partition("_")[2]
        metrics = self.trainer.training.metrics
        if direction is None and any(_is_own(settings, name) for settings in metrics):
            message = (
                "%s is a metric of your own, so direction=%r is assumed. If that is wrong, "
                "pass direction."
            )
            _say_once(message, metric, self.direction.name.lower())
        self._set_mode()
        if space == RESTARTS and not self.trainer.architecture.depends_on_seed:
            raise WrongValueError(
                "The model must start from other weights with another seed; got the same weights. "
                "Random restarts would train one network many times. Omit seeds in initializers, "
                "and load no weights."
            )

    def _set_mode(self) -> None:
        """If training monitors the metric, let the direction decide when training ends early."""
        settings = self.trainer.training
        is_auto = settings.patience is not None and settings.mode == "auto"
        if is_auto and settings.monitor == self.metric and not self._has_default_direction:
            mode: Any = self.direction.name.lower().removesuffix("imize")
            self.training = dataclasses.replace(cast("Training", self.training), mode=mode)

    def __repr__(self) -> str:
        model = self.model.model
        model_text = model if isinstance(model, MLP) else _name(model)
        arguments = (
            f"{model_text!s}, {self.dataset.name!r}, metric={self.metric!r}, seed={self.seed}"
        )
        return f"{type(self).__name__}({arguments})"

    @functools.cached_property
    def is_of_trial(self) -> bool:
        """Whether model or training is a function of the trial."""
        return takes_trial(self.model.model) or takes_trial(self.training)

    @property
    def _default_direction(self) -> StudyDirection:
        """The direction that follows from the metric."""
        training = Training() if self.is_of_trial else self.trainer.training
        if training.is_minimized(self.metric):
            return StudyDirection.MINIMIZE
        return StudyDirection.MAXIMIZE

    @property
    def _has_default_direction(self) -> bool:
        return self.direction == self._default_direction

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that create the same experiment again."""
        return {name: getattr(self, name) for name in inspect.signature(Experiment).parameters}

    @functools.cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distributions of the offsets, by name.

        If the model or training is a function of the trial, this is empty.
        """
        if self.is_of_trial:
            return {}
        return self.space.distributions(self.trainer.architecture.variables)

    def replace(self, **parts: Any) -> Self:
        """Return the experiment with other arguments. A new metric sets the direction, too."""
        if "metric" in parts:
            parts.setdefault("direction", None)
        changed = type(self)(**{**self.arguments, **parts})
        changed.compared = self.compared
        return changed

    def of(self, params: Params) -> Self:
        """Return the experiment with the model and training for a trial's parameters."""
        if not self.is_of_trial:
            return self
        # This collects the parameters that the model suggests.
        of_model = FixedTrial(dict(params))
        model: Any = self.model.model
        training: Any = self.training
        networks = self.model.of_params
        # Layers draw seeds from global random sources when they are built. This must not change
        # the seeds of models that other threads build.
        with undisturbed():
            model_of_trial = model
            if takes_trial(model):
                model_of_trial = model(of_model)
            if takes_trial(training):
                training = training(FixedTrial(dict(params)))
        check_type("What training returns", training, Training, "a Training")
        key = repr(sorted(of_model.params.items()))
        network = networks.get(key)
        if network is None:
            # Each call builds a new Keras model, because training changes a model.
            if hasattr(model_of_trial, "stateless_call"):
                model_of_trial = functools.partial(model, FixedTrial(dict(params)))
            network = Network(model_of_trial, self.dataset)
            while len(networks) >= _N_NETWORKS:
                networks.pop(next(iter(networks)))
            networks[key] = network
        direction = None if self._has_default_direction else self.direction
        objective = self.replace(model=network, training=training, direction=direction)
        if objective.direction != self.direction:
            goal = objective.direction.name.lower()
            raise WrongValueError(
                f"direction must be {goal!r}, because your function returns a metric "
                f"{self.metric!r} that is {goal}d; got {self.direction.name.lower()!r}. Pass "
                f"direction={goal!r}."
            )
        return objective

    @property
    def trainer(self) -> Trainer:
        """The network's trainer. Raise an error if the model is a function of the trial."""
        if self.is_of_trial:
            raise WrongValueError(
                "The model or training is a function of the trial, so it has several networks. "
                "Use objective.of(params) with a trial's parameters, or omit the control."
            )
        return self.model.trainer(cast("Training", self.training), self.metric)

    @property
    def fixed_learning_rate(self) -> float | None:
        """The learning rate of all training runs, or None if a schedule or a trial sets it."""
        training: Any = self.training
        if not self.is_of_trial:
            training = self.trainer.training
        if takes_trial(training):
            return None
        return training.fixed_learning_rate

    @property
    def positive(self) -> Any:
        """The positive class of the metric, or :obj:`None`."""
        # If the model is a function of the trial, only the metric's name is known.
        is_of_class = unit_of(self.metric) is SHARE
        if not self.is_of_trial:
            is_of_class = self.trainer.is_of_positive
        if is_of_class:
            return self.dataset.positive
        return None

    @property
    def config(self) -> Json:
        """The configuration as JSON. It determines the value of each trial."""
        config: Json = {}
        if self.is_of_trial:
            config["model"] = _described(self.model.model)
            config["training"] = _described(self.training)
        else:
            config = self.trainer.config
            scaling = self.trainer.scaling.config
            if scaling:
                config["scaling"] = scaling
        if not self._has_default_direction:
            config["direction"] = self.direction.name.lower()
        if self.positive is not None:
            config["positive"] = self.positive
        config["dataset"] = self.dataset.config
        config["space"] = self.space.config
        config["metric"] = self.metric
        config["seed"] = self.seed
        return config

    @property
    def made(self) -> Made:
        """The model and training for a trial's parameters, in a short form that a study stores."""
        # The form is the same as after reading from a study.
        config = json.loads(json.dumps(self.trainer.config))
        model = config["model"]
        if "model" in model:
            text = json.dumps(model["model"], sort_keys=True)
            model["model"] = {"sha256": hashlib.sha256(text.encode()).hexdigest()}
        return config

    @property
    def baseline_experiment(self) -> Self:
        """The experiment whose baseline network this experiment uses.

        It differs only for a control that changes the training. Such a control uses the baseline
        network of the experiment that it is compared with.
        """
        compared = self.compared
        if compared is None or compared.trainer is self.trainer:
            return self
        return compared

    @property
    def baseline_start(self) -> Start:
        """The start of the baseline network."""
        return self.start({})

    def start(self, params: Json) -> Start:
        """Return the start of a trial with these parameters."""
        return self.space.start(params, self.trainer.architecture.variables, self.seed)

    def starts(self, params: Json) -> list[Start]:
        """Return the starts of a trial's networks. Only ensembles have several."""
        return [self.start(params)]

    def has_offsets_or_ensemble(self, params: Json) -> bool:
        """Return whether parameters change initial values or average networks.

        The parameters of a random restart do neither.
        """
        return len(self.starts(params)) > 1 or any(self.start(params).offsets)

    def improvement(self, value: float, baseline: float) -> float:
        """Return the improvement of ``value`` over ``baseline``, in units of the metric."""
        if self.direction == StudyDirection.MINIMIZE:
            return baseline - value
        return value - baseline

    def value(self, metrics: Metrics) -> float:
        """Return the selection metric of a training run, or NaN if the run diverged."""
        # A network with NaN weights would still have an accuracy.
        if is_finite(metrics):
            return metrics[self.metric]
        return math.nan


def takes_trial(function: object) -> bool:
    """Return whether this is a function of a trial: it has exactly one required argument."""
    if not callable(function) or isinstance(function, type) or hasattr(function, "stateless_call"):
        return False
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind < p.VAR_POSITIONAL]
    needed = [p for p in positional if p.default is p.empty]
    return len(needed) == 1


def _is_own(metric: str | Json, name: str) -> bool:
    """Return whether a metric is user-defined and has this name.

    The registered name of a user's class contains a ``>``.
    """
    if isinstance(metric, str):
        return metric.endswith(f">{name}")
    return ">" in metric["class_name"] and metric["config"]["name"] == name


def _described(given: Any) -> Json:
    """Return the stored form of a model or training, which may be a function of the trial."""
    if isinstance(given, MLP | Training):
        return given.config
    return {"type": "function", "name": _name(given)}


def is_of_trial(config: Json) -> bool:
    """Return whether the model or the training of a configuration is a function of the trial."""
    return "function" in {config.get(part, {}).get("type") for part in ("model", "training")}


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
