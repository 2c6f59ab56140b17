"""Train networks with all randomness redrawn, for comparisons and variances."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
from optuna.study import StudyDirection

from adnn_optuna._attributes import Json
from adnn_optuna._checks import WrongTypeError, WrongValueError, check_type, n_cores
from adnn_optuna._units import with_class
from adnn_optuna.experiments.experiment import Network
from adnn_optuna.experiments.init_offset_objective import InitOffsetObjective
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.retraining import Redrawing, not_redrawn, random_sources
from adnn_optuna.networks.training import Trainer
from adnn_optuna.results.variance import AS_GIVEN
from adnn_optuna.stats.intervals import chance_limit


class RedrawnObjective:
    """Trains the baseline network of an objective with redrawn sources of randomness."""

    n_at_once: int = n_cores()
    functions: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, objective: InitOffsetObjective) -> None:
        self._objective = objective
        self._redrawing = Redrawing(objective.dataset)
        self.stop: threading.Event = threading.Event()
        self.sources: Sequence[str] = random_sources(objective.trainer)
        self.evaluated: Mapping[str, Any] = objective.config
        self.direction: StudyDirection = objective.direction
        self.settings: Any = {
            "value_name": with_class(objective.metric, objective.positive),
            "seed": objective.seed,
            "not_redrawn": [*not_redrawn(objective.trainer)],
            **self._chance_limit(),
        }

    def __call__(self, *seeds: int) -> float:
        """Train with a seed for each source, and return the metric.

        The seed ``AS_GIVEN`` leaves a source unchanged.
        """
        named = zip(self.sources, seeds, strict=True)
        redrawn = {name: seed for name, seed in named if seed != AS_GIVEN}
        trainer = self._objective.trainer
        seed = self._objective.seed
        run = self._redrawing.train(trainer, seed, stop=self.stop, **redrawn)
        return self._objective.value(run.metrics)

    def _chance_limit(self) -> dict[str, float]:
        """Return the highest accuracy that does not show that a network learned anything.

        For other metrics, the result is empty.
        """
        split, _, name = self._objective.metric.partition("_")
        if name != "accuracy":
            return {}
        labels = getattr(self._objective.dataset, f"y_{split}")
        counts = np.bincount(labels)
        limit = chance_limit(counts.max(), counts.sum())
        return {"chance_limit": limit}


class TrainedModels:
    """Trains Keras models on the same data, each with a seed."""

    def __init__(
        self,
        models: Mapping[str, Any],
        dataset: Dataset | None,
        training: Training | Mapping[str, Training] | None,
    ) -> None:
        self._trainers = _trainers(models, dataset, training)
        data = cast("Dataset", dataset)
        self._dataset = data
        self._redrawing = Redrawing(data)
        self.stop: threading.Event = threading.Event()
        self.test_rows: str = data.test_fingerprint
        self.n_train: int = len(data.y_train)
        self.config: Json = data.config
        configs = {}
        sources: dict[str, None] = {}
        for label, trainer in self._trainers.items():
            configs[label] = trainer.config
            sources |= dict.fromkeys(random_sources(trainer))
        self.configs: Mapping[str, Any] = configs
        self.sources: dict[str, None] = sources
        if not sources:
            raise WrongValueError(
                "models must be trained with randomness; got training runs without any. Compare "
                "one run of each."
            )

    @property
    def settings(self) -> Json:
        """The sizes of the splits, whether seeds redraw the splits, and the name of the values."""
        data = self._dataset
        n_test = len(data.y_test)
        resampled = None
        if "test" in data.drawn:
            resampled = (self.n_train, n_test)
        return {
            "resampled": resampled,
            "n_train": self.n_train,
            "n_test": n_test,
            "score": "test R²" if data.task == "regression" else "test accuracy",
        }

    def train(self, label: str, seed: int) -> float:
        """Train a model with all randomness from a seed, and return its score on the test set."""
        trainer = self._trainers[label]
        split = seed if self._dataset.drawn else None
        return self._redrawing.train(trainer, seed, split=split, stop=self.stop).score


def _trainers(
    models: Mapping[str, Any],
    dataset: Dataset | None,
    training: Training | Mapping[str, Training] | None,
) -> dict[str, Trainer]:
    """Return the trainer of each Keras model, by the model's label."""
    if dataset is None:
        label, model = next(iter(models.items()))
        name = getattr(model, "__name__", type(model).__name__)
        raise WrongTypeError(
            f"models[{label!r}] must have a parameter for a seed, without a default; got {name}. "
            "For Keras models, pass dataset=."
        )
    check_type("dataset", dataset, Dataset, "a Dataset")
    trainings: Mapping[str, Any] = dict.fromkeys(models, training)
    if isinstance(training, Mapping):
        trainings = training
    if trainings.keys() != models.keys():
        raise WrongValueError(
            f"training must have the labels {[*models]}; got {[*trainings]}. Pass one Training "
            "for each model, or one for all."
        )
    trainers = {}
    for label, model in models.items():
        settings = trainings[label]
        if settings is None:
            settings = Training()
        check_type(f"training of {label!r}", settings, Training, "a Training")
        network = Network(model, dataset)
        trainers[label] = Trainer(network.architecture, settings, dataset)
    return trainers
