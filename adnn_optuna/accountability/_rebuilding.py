"""From a contract, which is untrusted data, back to the objective that it describes."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import expanded, first_line, is_file
from adnn_optuna.accountability.contract import portable_config
from adnn_optuna.accountability.contract_file import CannotCheckError
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.networks._sources import MNIST_LIKE
from adnn_optuna.networks.data import Dataset, dataset_from_config
from adnn_optuna.networks.differences import in_words, objective_differences
from adnn_optuna.networks.keras_files import (
    check_keras_config,
    check_model_config,
    check_parameter_count,
)
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import model_from_config
from adnn_optuna.networks.offsets import space_from_config

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    import keras


def rebuild_objective(
    contract: dict[str, Any],
    folder: Path,
    data_dir: str | os.PathLike[str] | None,
    dataset: Dataset | None,
    model: MLP | Callable[[], keras.Model] | None,
) -> InitOffsetObjective:
    """Return a contract's objective.

    Raises:
        CannotCheckError: If it cannot be rebuilt, or is not the same any more.
    """
    stored = contract["objective"]
    data = _dataset(stored["dataset"], folder, data_dir, dataset)
    sizes = {name: len(getattr(data, f"y_{name}")) for name in contract["split"]}
    if sizes != contract["split"]:
        raise CannotCheckError(f"split is {contract['split']}, but the data have {sizes}.")
    try:
        optimizer = stored["training"]["optimizer"]
        if isinstance(optimizer, dict):
            where = "objective.training.optimizer.config"
            check_keras_config(optimizer.get("config"), where)
        objective = InitOffsetObjective(
            _model(contract, data) if model is None else model,
            data,
            training=Training(**stored["training"]),
            space=space_from_config(stored["space"]),
            metric=stored["metric"],
            seed=stored["seed"],
        )
    except CannotCheckError:
        raise
    except Exception as error:  # noqa: BLE001 - a network from a file may fail in any way.
        raise CannotCheckError(
            f"objective: what the contract describes cannot be rebuilt ({first_line(error)})."
        ) from None
    rebuilt = {**portable_config(objective.config), "dataset": stored["dataset"]}
    differences = objective_differences(stored, rebuilt, "objective")
    if differences:
        raise CannotCheckError(f"The contract does not describe itself: {in_words(differences)}.")
    _check_params(contract["winner"]["params"], objective)
    return objective


def _dataset(
    config: dict[str, Any],
    folder: Path,
    data_dir: str | os.PathLike[str] | None,
    dataset: Dataset | None,
) -> Dataset:
    where, source = "objective.dataset", config["source"]
    if dataset is not None:
        if dataset.fingerprint != config["fingerprint"]:
            raise CannotCheckError(
                f"{where}.fingerprint is {config['fingerprint']}, but that of the dataset given "
                f"is {dataset.fingerprint}."
            )
        return dataset
    if source == "arrays":
        raise CannotCheckError(
            f"{where}: {config['name']!r} was made of arrays, which a contract does not hold; "
            "give the dataset."
        )
    if source == "built-in" and config["name"] not in {"digits", *MNIST_LIKE}:
        raise CannotCheckError(f"{where}.name: there is no data set {config['name']!r}.")
    if source == "npz" and "path" in config:
        data_folder = folder if data_dir is None else expanded(data_dir)
        found = data_folder / config["path"]
        if not is_file(found):
            raise CannotCheckError(
                f"{where}.path: there is no file {config['path']!r} in {str(data_folder)!r}; "
                "give data_dir."
            )
        check_stays_in(data_folder, found, f"{where}.path")
        config = {**config, "path": str(found)}
    try:
        return dataset_from_config(config, data_dir)
    except (TypeError, ValueError, OSError) as error:
        raise CannotCheckError(f"{where}: {first_line(error)}.") from None


def check_stays_in(folder: Path, file: Path, field: str) -> None:
    """Refuse a link out of a folder."""
    if file.resolve().parent != folder.resolve():
        raise CannotCheckError(f"{field}: {file.name!r} leads out of {str(folder)!r}.")


def _model(contract: dict[str, Any], data: Dataset) -> MLP | Callable[[], keras.Model]:
    """Return the model of a contract, checked before anything is built of it."""
    config, where = contract["objective"]["model"], "objective.model"
    if config.get("type") == "MLP":
        for name in ("kernel_initializer", "bias_initializer"):
            if isinstance(config.get(name), dict):
                initializer = {"module": "keras.initializers", **config[name]}
                check_keras_config(initializer, f"{where}.{name}")
        model = MLP(**{key: value for key, value in config.items() if key != "type"})
        sizes = (math.prod(data.x_train.shape[1:]), *model.hidden, data.num_classes)
        count = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
        check_parameter_count(count, f"{where}.hidden")
        return model
    check_model_config(config["model"], f"{where}.model")
    if not contract["rebuilds_from_config"]:
        raise CannotCheckError(
            f"{where}: its Keras configuration does not hold its initial weights; give the "
            "callable that builds it as model."
        )
    return model_from_config(config)


def _check_params(params: dict[str, Any], objective: InitOffsetObjective) -> None:
    distributions = objective.distributions
    if params.keys() != distributions.keys():
        raise CannotCheckError(
            f"winner.params are {', '.join(params) or 'none'}, but objective.space has "
            f"{', '.join(distributions)}."
        )
    for name, value in params.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not distributions[name]._contains(value):
            raise CannotCheckError(
                f"winner.params.{name} is {value!r}, which is not in objective.space."
            )
