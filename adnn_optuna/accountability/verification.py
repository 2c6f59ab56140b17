"""Verification: is what a contract says still what comes out?"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna._checks import WrongTypeError, expanded, first_line
from adnn_optuna.accountability import contract as contracts
from adnn_optuna.accountability import contract_file
from adnn_optuna.accountability.contract_file import BreachedError, CannotCheckError
from adnn_optuna.accountability.environment import describe_environment
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.networks import differences, keras_files
from adnn_optuna.networks._sources import MNIST_LIKE
from adnn_optuna.networks.data import Dataset, dataset_from_config
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import model_from_config
from adnn_optuna.networks.offsets import space_from_config

if TYPE_CHECKING:
    import keras
    import numpy as np

_FOLLOWS_FROM = {
    "initial_weights_sha256": " (from objective.model, objective.seed and winner.params)",
    "trained_weights_sha256": " (from the initial weights, objective.training and its dataset)",
}

Status = Literal["exact", "within_tolerance", "breached", "cannot_check"]

_MEANING: dict[Status, str] = {
    "exact": "trained again, baseline and winner have the same bits",
    "within_tolerance": "trained again in another environment, all is within the tolerance",
    "breached": "the contract does not hold",
    "cannot_check": "the contract cannot be checked",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What :func:`verify` found.

    The reasons are a sentence for each thing that differs or was not checked, with its field. With
    ``"cannot_check"`` the file, the data or the model is missing, unreadable or another one.
    """

    status: Status
    reasons: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it was trained again and nothing differs, or no more than is tolerated."""
        return self.status in {"exact", "within_tolerance"}

    def __str__(self) -> str:
        lines = [f"{self.status}: {_MEANING[self.status]}."]
        for reason in self.reasons:
            # No terminal may take a part of what a file says for a command.
            escaped = (c if c.isprintable() else ascii(c)[1:-1] for c in reason)
            lines.append(f"  - {''.join(escaped)}")
        return "\n".join(lines)


def verify(
    path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    dataset: Dataset | None = None,
    model: MLP | Callable[[], keras.Model] | None = None,
) -> Verdict:
    """Check a contract: rebuild everything, train baseline and winner again, and compare.

    In the environment of the contract (versions, processor, threads, oneDNN) every bit must be
    the same; in another one accuracies and losses must be within the tolerance: the contract's, or
    the one measured here where that is smaller. Weights and model beside it must be the winner's.
    Nothing in the file is executed. What no training shows (the number of trials, the sampler)
    rests on the contract's SHA-256 alone.

    Example:

        .. code-block:: python

            verdict = adnn_optuna.verify("fashion.contract.json")
            print(verdict.status, verdict.reasons)

    Args:
        path: The contract's file.
        data_dir: Where the dataset is, see :func:`~adnn_optuna.load_dataset`; data from an
            ``.npz`` file are looked up here, or else beside the contract, by the file's name.
        dataset: The data, where they came from arrays.
        model: The callable, where the model cannot be rebuilt from its Keras configuration.

    Returns:
        The verdict. Whatever the file holds, no error is raised.

    Raises:
        TypeError: If an argument is of the wrong type.
    """
    if dataset is not None and not isinstance(dataset, Dataset):
        raise WrongTypeError(f"dataset must be a Dataset, but it is a {type(dataset).__name__}.")
    path = Path(path)
    try:
        contract = contract_file.read_contract(path)
        if contract_file.contract_sha256(contract) != contract["sha256"]:
            raise BreachedError("The contract was edited after it was written.")  # noqa: TRY301
        files, notes = contract_file.files_as_written(contract, path.parent)
        data = dataset or _dataset(contract["objective"]["dataset"], path.parent, data_dir)
        objective = _rebuild(contract, data, model)
        found = describe_environment()
        elsewhere = differences.config_differences(contract["environment"], found, "environment")
        drifts, trained = _train_and_compare(contract, objective, elsewhere=bool(elsewhere))
        if "weights" in files:
            contract_file.check_weights(contract, objective, files["weights"], trained)
        if "model" in files:
            notes += contract_file.check_model(contract, objective, files["model"], trained)
    except CannotCheckError as error:
        return Verdict("cannot_check", error.args)
    except BreachedError as error:
        return Verdict("breached", error.args)
    except Exception as error:  # noqa: BLE001 - a network from a file may fail in any way.
        why = f"the contract's cannot be rebuilt or trained ({first_line(error):.300})"
        return Verdict("cannot_check", (f"objective: {why}.",))
    if not elsewhere:
        return Verdict("exact", tuple(notes))
    return Verdict("within_tolerance", (*(f"{where}." for where in elsewhere), *drifts, *notes))


def _dataset(
    config: dict[str, Any], folder: Path, data_dir: str | os.PathLike[str] | None
) -> Dataset:
    """Return the data of a contract that is in ``folder``."""
    where, name = "objective.dataset", config["name"]
    match config["source"]:
        case "built-in" if name not in {"digits", *MNIST_LIKE}:
            raise CannotCheckError(f"{where}.name: there is no data set {name!r}.")
        case "npz" if "path" in config:
            folder = folder if data_dir is None else expanded(data_dir)
            file = contract_file.find_in(folder, config["path"], f"{where}.path")
            if file is None:
                said = f"there is no file {config['path']!r} in {str(folder)!r}"
                raise CannotCheckError(f"{where}.path: {said}; give data_dir.")
            config = {**config, "path": str(file)}
    try:
        return dataset_from_config(config, data_dir)
    except (TypeError, ValueError, OSError) as error:
        raise CannotCheckError(f"{where}: {first_line(error)}.") from None


def _model(contract: dict[str, Any], data: Dataset) -> MLP | Callable[[], keras.Model]:
    """Return the model of a contract, checked before anything is built of it."""
    config, where = contract["objective"]["model"], "objective.model"
    if config.get("type") != "MLP":
        keras_files.check_model_config(config["model"], f"{where}.model")
        if not contract["rebuilds_from_config"]:
            raise CannotCheckError(
                f"{where}: its Keras configuration does not hold its initial weights; give the "
                "callable that builds it as model."
            )
        return model_from_config(config)
    for name in ("kernel_initializer", "bias_initializer"):
        if isinstance(config.get(name), dict):
            initializer = {"module": "keras.initializers", **config[name]}
            keras_files.check_keras_config(initializer, f"{where}.{name}")
    model = MLP(**{key: value for key, value in config.items() if key != "type"})
    sizes = (math.prod(data.x_train.shape[1:]), *model.hidden, data.num_classes)
    count = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
    keras_files.check_parameter_count(count, f"{where}.hidden")
    return model


def _rebuild(
    contract: dict[str, Any], data: Dataset, model: MLP | Callable[[], keras.Model] | None
) -> InitOffsetObjective:
    """Return the objective of a contract, and refuse one that is not as the contract says."""
    stored = contract["objective"]
    for name, said, found in (
        ("objective.dataset.fingerprint", stored["dataset"]["fingerprint"], data.fingerprint),
        ("split", contract["split"], {k: len(getattr(data, f"y_{k}")) for k in contract["split"]}),
    ):
        if said != found:
            raise CannotCheckError(f"{name} is {said}, but that of the data is {found}.")
    optimizer = stored["training"]["optimizer"]
    config = optimizer.get("config") if isinstance(optimizer, dict) else None
    keras_files.check_keras_config(config, "objective.training.optimizer.config")
    model = model or _model(contract, data)
    training, offsets = Training(**stored["training"]), space_from_config(stored["space"])
    objective = InitOffsetObjective(
        model, data, training=training, space=offsets, metric=stored["metric"], seed=stored["seed"]
    )
    rebuilt = {**contracts.portable_config(objective.config), "dataset": stored["dataset"]}
    differing = differences.config_differences(stored, rebuilt, "objective")
    if differing:
        said = differences.in_words(differing)
        raise CannotCheckError(f"The contract does not describe itself: {said}.")
    params, space = contract["winner"]["params"], objective.distributions
    for name in (*space, *params):
        value = params.get(name)
        is_number = type(value) in {int, float}
        if name not in space or not is_number or not space[name]._contains(value):
            raise CannotCheckError(
                f"winner.params.{name} is {value!r}, which is not in objective.space."
            )
    return objective


def _train_and_compare(
    contract: dict[str, Any], objective: InitOffsetObjective, *, elsewhere: bool
) -> tuple[list[str], list[np.ndarray]]:
    """Train again; return what differs within the tolerance, and the winner's weights."""
    starts = (objective.baseline_start, objective.start(contract["winner"]["params"]))
    trained, weights = contracts.train_again(objective, starts)
    differing = [
        (role, name, contract[role].get(name), metrics.get(name))
        for role, metrics in zip(contracts.ROLES, trained, strict=True)
        for name in {**metrics, **contract[role]}
        if name != "params" and contract[role].get(name) != metrics.get(name)
    ]
    tolerance = contract["tolerance"]
    if elsewhere and not all(name.endswith("_sha256") for _, name, *_ in differing):
        # Who states other results could state a tolerance that allows them.
        measured = contracts.measure_tolerance(objective, starts, trained)
        tolerance = {kind: min(tolerance[kind], measured[kind]) for kind in measured}
    breaches, drifts = [], []
    for role, name, claimed, found in differing:
        difference = f"{role}.{name} is {claimed}, but trained again it is {found}"
        is_within = elsewhere and name.endswith("_sha256")
        if elsewhere and not is_within and claimed is not None and found is not None:
            kind, apart = contracts.distance(name, claimed, found)
            # Rounding must not decide about a difference of exactly the tolerance.
            is_within = apart <= tolerance[kind] + 1e-9
        if is_within:
            drifts.append(f"{difference}.")
        else:
            breaches.append(f"{difference}{_FOLLOWS_FROM.get(name, '')}.")
    if breaches:
        raise BreachedError(*breaches)
    return drifts, weights[1]
