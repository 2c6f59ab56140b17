"""Verification: is what a contract says still what comes out?"""

from __future__ import annotations

import dataclasses
import io
import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adnn_optuna._checks import first_line, is_file
from adnn_optuna.accountability._rebuilding import check_stays_in, rebuild_objective
from adnn_optuna.accountability.contract import (
    LEAST_TOLERANCE,
    ROLES,
    measure_tolerance,
    train_again,
)
from adnn_optuna.accountability.contract_file import (
    BreachedError,
    CannotCheckError,
    contract_sha256,
    hash_file,
    read_contract,
)
from adnn_optuna.accountability.environment import describe_environment
from adnn_optuna.networks._architecture import hash_weights
from adnn_optuna.networks._stored_model import is_same_but_for_numbers
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.differences import config_differences
from adnn_optuna.networks.keras_files import read_model_config, without_compilation

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import keras

    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.networks.models import MLP

# A change of one of these may give other initial weights; all else in an environment may not.
_DRAWS_DEPEND_ON = ("environment.versions", "environment.processor", "environment.system")

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

    Args:
        status:
            ``"exact"``: the same bits, in the same environment. ``"within_tolerance"``: in
            another environment, accuracies and losses within the tolerance.
            ``"breached"``: something differs. ``"cannot_check"``: the file, the data or the model
            is missing, not readable or not the contract's.
        reasons:
            A sentence for each thing that differs, or that was not checked, with its field.
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
    2. Its SHA-256: it is as it was written. This finds accidents and careless edits; who edits
       with care computes a new one, and is found by what follows.
    3. The weights and the model beside it, if they are there, are those that were written.
    4. The data have the contract's fingerprint, and the weights its SHA-256 and the names of the
       model's variables.
    5. Baseline and winner, trained again: the SHA-256 of initial and trained weights, and all
       accuracies and losses. In the environment of the contract (versions, processor, threads,
       oneDNN) every bit must be the same, in another one accuracies and losses within the
       tolerance: the contract's, or the one that is measured here where that is smaller.
    6. The model beside it, if it is there, is the winner: its configuration, unless another
       version of Keras wrote it, and its weights. The weights have the winner's test accuracy.

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
        contract = read_contract(path)
        if contract_sha256(contract) != contract["sha256"]:
            raise BreachedError("The contract was edited after it was written.")  # noqa: TRY301
        files, notes = _check_files(contract, path.parent)
        objective = rebuild_objective(contract, path.parent, data_dir, dataset, model)
        weights = _check_weights(contract, objective, files.get("weights"))
        elsewhere = config_differences(
            {"environment": contract["environment"]}, {"environment": describe_environment()}
        )
        drifts, trained = _train_and_compare(contract, objective, elsewhere)
        if "model" in files:
            notes += _check_model(contract, objective, files["model"], trained)
        if weights:
            _check_accuracy(contract, objective, weights)
    except CannotCheckError as error:
        return Verdict("cannot_check", (str(error),))
    except RecursionError:
        return Verdict("cannot_check", ("The contract is nested too deeply.",))
    except BreachedError as error:
        return Verdict("breached", error.args)
    if not elsewhere:
        return Verdict("exact", tuple(notes))
    return Verdict("within_tolerance", (*(f"{where}." for where in elsewhere), *drifts, *notes))


def _check_files(contract: dict[str, Any], folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the files that are there beside a contract, as written, and a note for the others."""
    files, notes, changed = {}, [], []
    for kind, file in contract["files"].items():
        name, found = file["name"], folder / file["name"]
        if not is_file(found):
            notes.append(f"files.{kind}: {name!r} is not there, so it was not checked.")
            continue
        check_stays_in(folder, found, f"files.{kind}.name")
        files[kind] = found
        if hash_file(found) != file["sha256"]:
            changed.append(f"files.{kind}: {name!r} is not the file that was written.")
    if changed:
        raise BreachedError(*changed)
    return files, notes


def _check_weights(
    contract: dict[str, Any], objective: InitOffsetObjective, file: Path | None
) -> list[np.ndarray]:
    """Return the arrays beside a contract, which are by their bits those that it states."""
    if file is None:
        return []
    architecture = objective.trainer.architecture
    like = objective.trainer.initial_weights(objective.baseline_start)
    try:
        arrays = _read_arrays(file, sum(w.nbytes for w in like))
    # A broken archive can raise anything that zipfile, zlib and NumPy's header parser know.
    except Exception:  # noqa: BLE001
        arrays = {}
    weights, reason = [*arrays.values()], ""
    if hash_weights(weights) != contract["winner"]["trained_weights_sha256"]:
        reason = "does not hold the weights of winner.trained_weights_sha256"
    elif [(w.shape, w.dtype) for w in weights] != [(w.shape, w.dtype) for w in like]:
        reason = "does not hold the weights of objective.model"
    elif not _are_names(
        [*arrays],
        [variable.path for variable in architecture.variables],
        are_ours=architecture.config["type"] == "MLP",
    ):
        reason = "holds its arrays by other names than the model's"
    if reason:
        raise BreachedError(f"files.weights: {file.name!r} {reason}.")
    return weights


def _read_arrays(file: Path, expected_bytes: int) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file that is no larger than a model's weights."""
    content = file.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        # An array's header takes some hundred bytes.
        if sum(entry.file_size for entry in entries) > expected_bytes + 1000 * len(entries):
            raise ValueError(f"{file.name!r} is larger than the model's weights.")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _are_names(names: list[str], paths: list[str], *, are_ours: bool) -> bool:
    """Return whether these are the paths of a model's variables.

    Of other models than MLPs they may be Keras's, which are numbered otherwise in each process;
    layers that Keras made from a configuration also leave out what they are in.
    """
    if are_ours or len(names) != len(paths):
        return names == paths
    parts = [(name.split("/"), path.split("/")) for name, path in zip(names, paths, strict=True)]
    return is_same_but_for_numbers(
        [name[-len(path) :] for name, path in parts],
        [path[-len(name) :] for name, path in parts],
    )


def _check_accuracy(
    contract: dict[str, Any], objective: InitOffsetObjective, weights: list[np.ndarray]
) -> None:
    """Refuse weights with another test accuracy than a contract states.

    In another environment than the contract's a training tells nothing of their bits.
    """
    data = objective.dataset
    [found] = objective.trainer.evaluate([weights], data.x_test, data.y_test)
    # Another processor may round the outputs of a row or two to another class.
    allowed = max(LEAST_TOLERANCE["accuracy"], 2 / len(data.y_test))
    claimed = contract["winner"]["test_accuracy"]
    if not abs(found - claimed) <= allowed:
        name = contract["files"]["weights"]["name"]
        raise BreachedError(
            f"winner.test_accuracy is {claimed}, but that of the weights in {name!r} is {found}."
        )


def _check_model(
    contract: dict[str, Any],
    objective: InitOffsetObjective,
    file: Path,
    trained: Sequence[np.ndarray],
) -> list[str]:
    """Refuse another model than the winner; return what was not compared of it.

    Nothing is made of the file's configuration: it is compared with that of the winner, rebuilt.
    """
    import keras

    written = contract["environment"]["versions"].get("keras")
    is_comparable = written == keras.__version__
    winner = contract["winner"]
    start = objective.start(winner["params"])
    model = objective.trainer.architecture.build(start.seed, start.restart)
    difference = ""
    try:
        if is_comparable and not is_same_but_for_numbers(
            without_compilation(read_model_config(file)),
            without_compilation(keras.saving.serialize_keras_object(model)),
        ):
            difference = "its configuration is another one"
        else:
            model.load_weights(file)
    except Exception as error:  # noqa: BLE001 - a file from others may fail in any way.
        difference = f"it cannot be read ({first_line(error)})"
    # The file holds no states of random layers: a training alone tells them.
    held = {id(variable) for variable in model.weights}
    values = [
        variable.numpy() if id(variable) in held else state
        for variable, state in zip(model.variables, trained, strict=True)
    ]
    if not difference and hash_weights(values) != winner["trained_weights_sha256"]:
        difference = "its weights are not those of winner.trained_weights_sha256"
    if difference:
        raise BreachedError(f"files.model: {file.name!r} is not the winner's model: {difference}.")
    if is_comparable:
        return []
    note = f"files.model: {file.name!r} was written by Keras {written}, whose configurations may "
    return [f"{note}differ, so only its weights were compared."]


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
            breaches.append(f"{difference}{_follows_from(role, name)}.")
    if breaches:
        raise BreachedError(*breaches)
    return drifts, weights[1]


def _is_allowed(
    name: str, claimed: Any, found: Any, tolerance: dict[str, float], elsewhere: list[str]
) -> bool:
    """Return whether another environment explains a difference."""
    if name == "trained_weights_sha256":
        return True
    if name == "initial_weights_sha256":
        return any(where.startswith(_DRAWS_DEPEND_ON) for where in elsewhere)
    if claimed is None or found is None:
        return False
    if name.endswith("_loss"):
        # Relative, but not of next to nothing: the loss of data learnt by heart.
        return math.isclose(claimed, found, rel_tol=tolerance["relative_loss"], abs_tol=1e-3)
    # Rounding must not decide about a difference of exactly the tolerance.
    return bool(abs(claimed - found) <= tolerance["accuracy"] + 1e-9)


def _follows_from(role: str, name: str) -> str:
    if name == "initial_weights_sha256":
        params = " and winner.params" if role == "winner" else ""
        return f" (from objective.model, objective.seed{params})"
    if name == "trained_weights_sha256":
        return " (from the initial weights, objective.training and objective.dataset)"
    return ""
