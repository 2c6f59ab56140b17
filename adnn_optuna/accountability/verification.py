"""Verification: is what a contract says still what comes out?"""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna._checks import expanded, first_line, is_file
from adnn_optuna.accountability import contract_file
from adnn_optuna.accountability.contract import (
    ROLES,
    measure_tolerance,
    portable_config,
    train_again,
)
from adnn_optuna.accountability.contract_file import BreachedError, CannotCheckError
from adnn_optuna.accountability.environment import describe_environment
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.networks import keras_files
from adnn_optuna.networks._sources import MNIST_LIKE
from adnn_optuna.networks.data import Dataset, dataset_from_config
from adnn_optuna.networks.differences import (
    config_differences,
    in_words,
)
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import model_from_config
from adnn_optuna.networks.offsets import space_from_config

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import keras
    import numpy as np

# A change of one of these may give other initial weights; all else in an environment may not.
_DRAWS_DEPEND_ON = ("environment.versions", "environment.processor", "environment.system")

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

    ``"exact"``: the same bits, in the same environment. ``"within_tolerance"``: in another
    environment, accuracies and losses within the tolerance. ``"breached"``: something differs.
    ``"cannot_check"``: the file, the data or the model is missing, not readable or not the
    contract's. The reasons are a sentence for each thing that differs, or that was not checked,
    with its field.
    """

    status: Status
    reasons: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the contract was checked and holds."""
        return self.status in {"exact", "within_tolerance"}

    def __str__(self) -> str:
        lines = [f"{self.status}: {_MEANING[self.status]}."]
        return "\n".join(lines + [f"  - {_printable(reason)}" for reason in self.reasons])


def _printable(text: str) -> str:
    """Return a text from a file so that no terminal takes a part of it for a command."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def verify(
    path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    dataset: Dataset | None = None,
    model: MLP | Callable[[], keras.Model] | None = None,
) -> Verdict:
    """Check a contract: rebuild everything, train baseline and winner again, and compare.

    What is checked, in this order:

    1. The file is a contract of a known version, each field of the right type and within bounds.
       It is data: nothing in it is executed or unpickled, and nothing outside its folder is read
       because it says so.
    2. Its SHA-256. This finds accidents and careless edits; who edits with care computes a new
       one, and is found by what follows.
    3. The weights and the model beside it, if they are there, are the files that were written.
    4. The data have the contract's fingerprint.
    5. Baseline and winner, trained again: the SHA-256 of initial and trained weights, and all
       accuracies and losses. In the environment of the contract (versions, processor, threads,
       oneDNN) every bit must be the same, in another one accuracies and losses within the
       tolerance: the contract's, or the one that is measured here where that is smaller.
    6. The weights and the model beside it are the winner's: by the SHA-256 and the test accuracy
       of their weights, by the names of arrays, and by the model's configuration, unless another
       version of Keras wrote it.

    What no training can show (how many trials were searched, by which sampler, where) rests on
    the contract's SHA-256 alone.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn

            verdict = adnn.verify("fashion.contract.json")
            print(verdict.status, verdict.reasons)

    Args:
        path:
            The contract's file.
        data_dir:
            Where the dataset is, see :func:`~adnn_optuna.load_dataset`. Data from an ``.npz``
            file are looked up here by the file's name, or else beside the contract.
        dataset:
            The data, where they came from arrays.
        model:
            The callable, where the model cannot be rebuilt from its Keras configuration.

    Returns:
        The verdict. Whatever the file holds, no error is raised.

    Raises:
        TypeError: If an argument is of the wrong type.
    """
    if dataset is not None and not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a Dataset, but it is a {type(dataset).__name__}.")
    path = Path(path)
    try:
        contract = contract_file.read_contract(path)
        if contract_file.contract_sha256(contract) != contract["sha256"]:
            raise BreachedError("The contract was edited after it was written.")  # noqa: TRY301
        files, notes = contract_file.files_as_written(contract, path.parent)
        objective = _rebuild(contract, path.parent, data_dir, dataset, model)
        elsewhere = config_differences(
            {"environment": contract["environment"]}, {"environment": describe_environment()}
        )
        drifts, trained = _train_and_compare(contract, objective, elsewhere)
        if "weights" in files:
            contract_file.check_weights(contract, objective, files["weights"], trained)
        if "model" in files:
            notes += contract_file.check_model(contract, objective, files["model"], trained)
    except CannotCheckError as error:
        return Verdict("cannot_check", (str(error),))
    except RecursionError:
        return Verdict("cannot_check", ("The contract is nested too deeply.",))
    except BreachedError as error:
        return Verdict("breached", error.args)
    if not elsewhere:
        return Verdict("exact", tuple(notes))
    return Verdict("within_tolerance", (*(f"{where}." for where in elsewhere), *drifts, *notes))


def _rebuild(
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
            keras_files.check_keras_config(optimizer.get("config"), where)
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
    differences = config_differences(stored, rebuilt, "objective")
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
        contract_file.check_stays_in(data_folder, found, f"{where}.path")
        config = {**config, "path": str(found)}
    try:
        return dataset_from_config(config, data_dir)
    except (TypeError, ValueError, OSError) as error:
        raise CannotCheckError(f"{where}: {first_line(error)}.") from None


def _model(contract: dict[str, Any], data: Dataset) -> MLP | Callable[[], keras.Model]:
    """Return the model of a contract, checked before anything is built of it."""
    config, where = contract["objective"]["model"], "objective.model"
    if config.get("type") == "MLP":
        for name in ("kernel_initializer", "bias_initializer"):
            if isinstance(config.get(name), dict):
                initializer = {"module": "keras.initializers", **config[name]}
                keras_files.check_keras_config(initializer, f"{where}.{name}")
        model = MLP(**{key: value for key, value in config.items() if key != "type"})
        sizes = (math.prod(data.x_train.shape[1:]), *model.hidden, data.num_classes)
        count = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
        keras_files.check_parameter_count(count, f"{where}.hidden")
        return model
    keras_files.check_model_config(config["model"], f"{where}.model")
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


def _train_and_compare(
    contract: dict[str, Any], objective: InitOffsetObjective, elsewhere: list[str]
) -> tuple[list[str], list[np.ndarray]]:
    """Train again; return what differs within the tolerance, and the winner's weights."""
    starts = (objective.baseline_start, objective.start(contract["winner"]["params"]))
    tolerance = contract["tolerance"]
    try:
        trained, weights = train_again(objective, starts)
        differing = [
            (role, name, contract[role].get(name), metrics.get(name))
            for role, metrics in zip(ROLES, trained, strict=True)
            for name in [*metrics, *(contract[role].keys() - metrics.keys() - {"params"})]
            if contract[role].get(name) != metrics.get(name)
        ]
        if elsewhere and not all(name.endswith("_sha256") for _, name, *_ in differing):
            # Who states other results could state a tolerance that allows them.
            measured = measure_tolerance(objective, starts, trained)
            tolerance = {kind: min(tolerance[kind], measured[kind]) for kind in tolerance}
    except Exception as error:  # noqa: BLE001 - a network from a file may fail in any way.
        raise CannotCheckError(
            f"objective: what the contract describes cannot be trained ({first_line(error)})."
        ) from None
    breaches, drifts = [], []
    for role, name, claimed, found in differing:
        difference = f"{role}.{name} is {claimed}, but trained again it is {found}"
        if elsewhere and _is_allowed(name, claimed, found, tolerance, elsewhere):
            drifts.append(f"{difference}.")
        else:
            breaches.append(f"{difference}{_FOLLOWS_FROM.get(name, '')}.")
    if breaches:
        raise BreachedError(*breaches)
    return drifts, weights[1]


def _is_allowed(
    name: str, claimed: Any, found: Any, tolerance: dict[str, float], elsewhere: list[str]
) -> bool:
    """Return whether another environment explains a difference."""
    if name == "initial_weights_sha256":
        return any(where.startswith(_DRAWS_DEPEND_ON) for where in elsewhere)
    if name == "trained_weights_sha256" or None in {claimed, found}:
        return name == "trained_weights_sha256"
    if name.endswith("_loss"):
        # Relative, but not of next to nothing: the loss of data learnt by heart.
        return math.isclose(claimed, found, rel_tol=tolerance["relative_loss"], abs_tol=1e-3)
    # Rounding must not decide about a difference of exactly the tolerance.
    return bool(abs(claimed - found) <= tolerance["accuracy"] + 1e-9)
