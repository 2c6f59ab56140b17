"""An experiment: what is trained, on which data, how, from where, and by what it is judged."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from optuna.study import StudyDirection
from optuna.trial import FixedTrial

from adnn_optuna._attributes import Made, Metrics
from adnn_optuna._checks import WrongValueError, as_integer, check_type, say_once
from adnn_optuna._units import SHARE, unit_of
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.keras_files import undisturbed
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import Architecture, build_architecture
from adnn_optuna.networks.offsets import RESTARTS, OffsetSpace, Space, Start
from adnn_optuna.networks.scaling import warn_of_large_inputs
from adnn_optuna.networks.training import Trainer, is_finite

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


# How many networks an experiment keeps, of functions of the trial.
_N_NETWORKS = 32


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Experiment:
    """A network whose initial values move in a space, and the metric that tells how good it is.

    The arguments are those of :class:`~adnn_optuna.InitOffsetObjective`, its Optuna side.
    """

    metric: str
    dataset: Dataset
    space: Space
    seed: int
    store_scores: bool
    catch: tuple[type[Exception], ...]
    """The errors in a search that end their own trial as one without a value."""
    is_of_trial: bool
    _model: Any
    _training: Any
    _direction: str | None
    _trainer: Trainer | None
    # If it is of a trial: the experiment of each network that was made of its functions.
    _of_networks: dict[str, Self]

    def __init__(
        self,
        model: MLP | Callable[..., Any],
        dataset: Dataset,
        *,
        training: Training | Callable[[Any], Training] | None = None,
        space: Space | None = None,
        metric: str | None = None,
        direction: Literal["minimize", "maximize"] | None = None,
        seed: int = 0,
        store_scores: bool = True,
    ) -> None:
        training = Training() if training is None else training
        space = OffsetSpace() if space is None else space
        check_type("dataset", dataset, Dataset, "a Dataset")
        if not takes_trial(training):
            wanted = "a Training, or a function of a trial that returns one"
            check_type("training", training, Training, wanted)
        check_type("space", space, Space, "an OffsetSpace or RESTARTS")
        if direction not in (None, "minimize", "maximize"):
            raise WrongValueError(
                f"direction is {direction!r}, but it must be 'minimize', 'maximize' or None."
            )
        if metric is None:
            metric = "val_accuracy" if dataset.num_classes else "val_r2"
        check_type("metric", metric, str, "a metric's name behind val_ or train_, as 'val_auc'")
        vars(self).update(
            metric=metric,
            dataset=dataset,
            space=space,
            seed=as_integer("seed", seed, low=0),
            store_scores=store_scores,
            catch=(),
            is_of_trial=takes_trial(model) or takes_trial(training),
            _model=model,
            _training=training,
            _direction=direction,
            _trainer=None,
            _of_networks={},
        )
        if not self.is_of_trial:
            architecture = build_architecture(
                model,
                dataset.x_train.shape[1:],
                dataset.num_classes,
                dataset.n_outputs,
                dataset.x_train.dtype.name,
            )
            if not architecture.scales_inputs:
                warn_of_large_inputs(dataset)
            vars(self)["_trainer"] = self._made_trainer(architecture, cast("Training", training))
            self._check_space()

    def _made_trainer(self, architecture: Architecture, training: Training) -> Trainer:
        """Return a trainer that knows the metric."""
        split, _, name = self.metric.partition("_")
        is_auto = training.patience is not None and training.mode == "auto"
        if self._direction and is_auto and training.monitor == self.metric:
            mode: Any = self._direction.removesuffix("imize")
            training = dataclasses.replace(training, mode=mode)
        if split == "val" and not len(self.dataset.x_val):
            raise WrongValueError(
                f"metric is {self.metric!r}, but dataset {self.dataset.name!r} has no validation "
                f"split; use metric='train_{name}' or load the dataset with a validation_size "
                "above 0."
            )
        trainer = Trainer(architecture, training, self.dataset, name)
        if self.metric not in trainer.metrics and split in ("train", "val"):
            trainer = Trainer(architecture, training.with_metric(name), self.dataset, name)
        if self.metric not in trainer.metrics:
            known = ", ".join(trainer.metrics)
            raise WrongValueError(
                f"metric is {self.metric!r}, but must be one of {known}, or val_ or train_ with "
                "the name of a Keras metric."
            )
        if not self._direction and any(_is_own(m, name) for m in trainer.training.metrics):
            towards = "minimize" if trainer.training.is_minimized(self.metric) else "maximize"
            said = "Of %s, a metric of your own, direction=%r is taken; if that is wrong, give it."
            say_once(said, self.metric, towards)
        return trainer

    def __repr__(self) -> str:
        model = self._model if isinstance(self._model, MLP) else _name(self._model)
        of = f"{model!s}, {self.dataset.name!r}, metric={self.metric!r}, seed={self.seed}"
        return f"{type(self).__name__}({of})"

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that build the same experiment."""
        given: dict[str, Any] = {"model": self._model, "training": self._training}
        given |= {"dataset": self.dataset, "space": self.space, "seed": self.seed}
        given |= {"metric": self.metric, "direction": self._direction}
        return {**given, "store_scores": self.store_scores}

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled graphs stay in their process; another one builds its own.
        return _remade, (type(self), self.settings, self.catch)

    def _check_space(self) -> None:
        if self.space == RESTARTS and not self.trainer.architecture.depends_on_seed:
            raise WrongValueError(
                "The model starts from the same weights whatever the seed, so random restarts "
                "would train one network again and again and show no luck: give its initializers "
                "no seed of their own, and load no weights."
            )

    @functools.cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The parameters of the space; none are known of a function of the trial."""
        if self.is_of_trial:
            return {}
        return self.space.distributions(self.trainer.architecture.variables)

    @classmethod
    def _changed(cls, other: Experiment, **parts: Any) -> Self:
        """Return another experiment as one of this class, with other parts, on its network."""
        made = object.__new__(cls)
        vars(made).update({**vars(other), **parts})
        vars(made).pop("distributions", None)
        if not made.is_of_trial:
            made._check_space()
        return made

    def replace(
        self,
        *,
        seed: int | None = None,
        space: Space | None = None,
        training: Training | None = None,
    ) -> Self:
        """Return the same experiment with another seed, space or training of the same network."""
        parts: dict[str, Any] = {} if space is None else {"space": space}
        if seed is not None:
            parts["seed"] = as_integer("seed", seed, low=0)
        if training is not None and training != self._training:
            trainer = self._made_trainer(self.trainer.architecture, training)
            parts |= {"_training": training, "_trainer": trainer}
        return self._changed(self, **parts)

    def of(self, params: Mapping[str, Any]) -> Self:
        """Return the experiment whose model and training are those of a trial's parameters.

        It is the same where neither is a function of the trial.
        """
        if not self.is_of_trial:
            return self
        of_model = FixedTrial(dict(params))  # It tells afterwards what was suggested by it.
        model, training = self._model, self._training
        # What layers draw meanwhile is not to disturb those that another thread builds.
        with undisturbed():
            made = model(of_model) if takes_trial(model) else model
            if takes_trial(training):
                training = training(FixedTrial(dict(params)))
        check_type("What training returns", training, Training, "a Training")
        key = repr(sorted(of_model.params.items()))
        if (found := self._of_networks.get(key)) is None:
            if hasattr(made, "stateless_call"):  # A model of Keras, which is to be a new one.
                made = functools.partial(model, FixedTrial(dict(params)))
            found = type(self)(**{**self.settings, "model": made, "training": training})
            while len(self._of_networks) >= _N_NETWORKS:
                self._of_networks.pop(next(iter(self._of_networks)))
            self._of_networks[key] = found
        found = found.replace(seed=self.seed, space=self.space, training=training)
        if found.direction != self.direction:
            wanted = found.direction.name.lower()
            raise WrongValueError(
                f"{self.metric!r} is to be {wanted}d, as the metric in what your function returns "
                f"tells, but not its name: give direction={wanted!r}."
            )
        return found

    @property
    def trainer(self) -> Trainer:
        """What trains the network; one that is a function of the trial has none."""
        if self._trainer is None:
            raise WrongValueError(
                "The model or training is a function of the trial, so it has no one network: use "
                "objective.of(params), with the parameters of a trial, or leave out the control."
            )
        return self._trainer

    @property
    def training(self) -> Training:
        """How the network is trained."""
        return self.trainer.training

    @property
    def fixed_learning_rate(self) -> float | None:
        """The learning rate of all training runs; None if a schedule or a trial determines it."""
        training = self._training if self.is_of_trial else self.training
        return None if takes_trial(training) else training.fixed_learning_rate

    @property
    def direction(self) -> StudyDirection:
        """The direction of a study with this objective."""
        direction = self._direction
        if direction is None:
            training = Training() if self.is_of_trial else self.training
            direction = "minimize" if training.is_minimized(self.metric) else "maximize"
        return StudyDirection[direction.upper()]

    @property
    def positive(self) -> Any:
        """The class, of two, that the metric is of; :obj:`None` if it is not of one class."""
        is_of_class = unit_of(self.metric) is SHARE  # As far as its name tells.
        if not self.is_of_trial:
            is_of_class = self.trainer.is_of_positive
        return self.dataset.positive if is_of_class else None

    @property
    def config(self) -> dict[str, Any]:
        """All that determines a trial's value, as JSON holds it."""
        dataset = self.dataset.config
        if self.is_of_trial:
            parts = {"model": self._model, "training": self._training}
            config: dict[str, Any] = {name: _described(part) for name, part in parts.items()}
        else:
            config = self.trainer.config
            if scaling := self.trainer.scaling.config:
                config["scaling"] = scaling
        if self._direction is not None:
            config["direction"] = self._direction
        if self.positive is not None:
            config["positive"] = self.positive
        config |= {"dataset": dataset, "space": self.space.config}
        return {**config, "metric": self.metric, "seed": self.seed}

    @property
    def made(self) -> Made:
        """What the user's functions made of a trial's parameters, short enough for each trial."""
        made = json.loads(json.dumps(self.trainer.config))  # As it comes back from a study.
        if "model" in made["model"]:
            described = json.dumps(made["model"]["model"], sort_keys=True).encode()
            made["model"]["model"] = {"sha256": hashlib.sha256(described).hexdigest()}
        return cast("Made", made)

    @property
    def baseline_start(self) -> Start:
        """What the baseline is trained from."""
        return self.start({})

    def start(self, params: dict[str, Any]) -> Start:
        """Return what a trial with these parameters is trained from."""
        return self.space.start(params, self.trainer.architecture.variables, self.seed)

    def starts(self, params: dict[str, Any]) -> list[Start]:
        """Return what the networks of a trial are trained from: one, unless they are averaged."""
        return [self.start(params)]

    def moves(self, params: dict[str, Any]) -> bool:
        """Return whether parameters move any initial value, or average; a restart does neither."""
        return len(self.starts(params)) > 1 or any(self.start(params).offsets)

    def improvement(self, value: float, baseline: float) -> float:
        """Return by how much ``value`` is better than ``baseline``, in units of the metric."""
        return baseline - value if self.direction == StudyDirection.MINIMIZE else value - baseline

    def value(self, metrics: Metrics) -> float:
        """Return the selection metric of a training, NaN where it diverged."""
        # Even weights that are no numbers have an accuracy.
        return metrics[self.metric] if is_finite(metrics) else math.nan


def _remade(kind: type[Experiment], settings: dict[str, Any], catch: Any) -> Experiment:
    return kind._changed(kind(**settings), catch=catch)


def takes_trial(function: object) -> bool:
    """Return whether this is a function of a trial: it needs one argument, and no more."""
    if not callable(function) or isinstance(function, type) or hasattr(function, "stateless_call"):
        return False
    parameters = inspect.signature(function).parameters.values()
    return len([p for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]) == 1


def _is_own(metric: str | dict[str, Any], name: str) -> bool:
    """Return whether a metric has this name and is of the user's: those are registered by a >."""
    if isinstance(metric, str):
        return metric.endswith(f">{name}")
    return ">" in metric["class_name"] and metric["config"]["name"] == name


def _described(given: Any) -> dict[str, Any]:
    """Return what a study stores of a model or training where one is a function of the trial."""
    is_known = isinstance(given, MLP | Training)
    return given.config if is_known else {"type": "function", "name": _name(given)}


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
