"""Verification: is what a contract says still what comes out?"""

import contextlib
import dataclasses
import itertools
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adnn_optuna import _checks
from adnn_optuna._checks import WrongTypeError
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna._units import printable
from adnn_optuna.contracts import contract as contracts
from adnn_optuna.contracts.contract import BreachedError, CannotCheckError
from adnn_optuna.contracts.fresh import (
    FEWEST_FRESH,
    check_confirmation,
    fresh_pairs,
    not_repeated,
    said_confirmation,
)
from adnn_optuna.engine.controls import EnsembleObjective
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.progress import Bar, progress_bar
from adnn_optuna.engine.test_set import gains_of
from adnn_optuna.networks import keras_files
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.loading import MNIST_LIKE, dataset_from_config
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import hash_weights
from adnn_optuna.networks.offsets import ControlSpace, Start, space_from_config
from adnn_optuna.networks.predictors import Predictor
from adnn_optuna.networks.retraining import Retrained, compared_on_test_set, retrain
from adnn_optuna.networks.scaling import Scaling, use
from adnn_optuna.results.confirmation import Confirmation
from adnn_optuna.results.confirmation_runs import OwnScores
from adnn_optuna.stats.proportions import gain_interval, student_half_width

if TYPE_CHECKING:
    import keras

_N_MOVED = 8  # Trainings of baseline and of winner that tell what last bits do.
_LEVEL = 0.99
_MAX_HALF_WIDTH = 0.005  # Where a gain is known less well, lucky ones and forgeries look alike.

Status = Literal["exact", "within_tolerance", "breached", "cannot_check"]


@dataclasses.dataclass(frozen=True)
class VerdictFacts:
    """What a verification found; see :class:`~adnn_optuna.Verdict`."""

    status: Status
    reasons: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    gain: float | None = None
    half_width: float = 0.0
    interval: tuple[float, float] | None = None
    examples: str = ""
    promised: contracts.Claim | None = None
    confirmation: Confirmation | None = dataclasses.field(default=None, repr=False)
    fresh: Confirmation | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        # Whatever a contract holds, it neither floods a terminal nor is taken for a command.
        for name in ("reasons", "not_checked"):
            texts = (f"{printable(text):.1000}" for text in getattr(self, name)[:100])
            object.__setattr__(self, name, tuple(texts))

    @property
    def holds(self) -> bool:
        """Whether it was trained again and nothing differs, or no more than is tolerated."""
        return self.status in {"exact", "within_tolerance"}

    @property
    def shows_gain(self) -> bool:
        """Whether the winner's offsets gain on the fresh seeds of this verification."""
        return self.fresh is not None and self.fresh.replication.low > 0


def verified(
    path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None,
    *,
    dataset: Dataset | None,
    model: MLP | Callable[..., Any] | None,
    fresh: int | None,
    max_parameters: int,
    show_progress_bar: bool,
) -> VerdictFacts:
    """Check a contract, as :func:`adnn_optuna.verify` says."""
    if dataset is not None and not isinstance(dataset, Dataset):
        raise WrongTypeError(f"dataset must be a Dataset, but it is a {type(dataset).__name__}.")
    _checks.check_integer("max_parameters", max_parameters, low=1)
    if fresh is not None:
        _checks.check_integer("fresh", fresh, low=FEWEST_FRESH)
    path, unlike = _checks.expanded(path), list[str]()
    try:
        contract = contracts.read_contract(path)
        weights = contract["files"]["weights"]
        file = find_in(path.parent, weights["name"], "files.weights.name", "copy it there")
        data = dataset or _dataset(contract["objective"]["dataset"], path.parent, data_dir)
        objective = _rebuild(contract, data, model, max_parameters)
        found = contracts.describe_environment()
        elsewhere = config_differences(contract["environment"], found, "environment")
        half_width, runs, pairs = 0.0, list[Retrained](), None
        with progress_bar(show=show_progress_bar, unit="training", desc="verify") as bar:
            if not elsewhere:
                runs, unlike = _train_here(contract, objective, bar)
            if others := [*elsewhere, *unlike]:
                half_width, runs = _train_elsewhere(contract, objective, bar)
            check_weights(contract, objective, file, runs[-1].weights)
            look, claim = (
                compared_on_test_set(objective.trainer, *runs[:2]),
                contracts.claim_of(contract),
            )
            groups = objective.dataset.test_groups
            own = OwnScores.of(runs[1].scores, groups, claim.metric, look)
            check_confirmation(contract, objective, own)
            if fresh is not None:
                pairs = fresh_pairs(contract, objective, own, fresh, bar)
    except CannotCheckError as error:
        return VerdictFacts("cannot_check", error.args)
    except BreachedError as error:
        return VerdictFacts("breached", (*error.args, *(f"{where}." for where in unlike)))
    except Exception as error:  # noqa: BLE001 - a network from a file may fail in any way.
        why = f"the contract's cannot be rebuilt or trained ({_checks.first_line(error):.300})"
        return VerdictFacts("cannot_check", (f"objective: {why}.",))
    not_checked = {
        "study: how many trials were searched, by which sampler, how long": True,
        "objective: how data and classes were made and are called, its metric and space": True,
        "winner.hyperparameters: that training, and network without model, follow from them": (
            "hyperparameters" in contract["winner"]
        ),
        "the choice of the seed, of the data, of the moment": True,
        "environment, all bits, losses, other metrics: that they came out there": bool(others),
        "confirmation: what its maker's fresh seeds show, how sure; ask for others (fresh=20)": (
            "confirmation" in contract and pairs is None
        ),
        "confirmation: what its maker says besides the mean gain": pairs is not None,
    }
    breach = "" if pairs is None else not_repeated(contract, pairs)
    gain = fmean(gains_of(objective, runs))
    return VerdictFacts(
        "breached" if breach else "within_tolerance" if others else "exact",
        (*filter(None, [breach]), *(f"{where}." for where in others)),
        tuple(what for what, is_so in not_checked.items() if is_so),
        gain,
        half_width,
        gain_interval(look, gains_of(objective, runs[:2])[0]),
        data.unit,
        claim,
        said_confirmation(contract),
        pairs,
    )


def _dataset(
    config: dict[str, Any], folder: Path, data_dir: str | os.PathLike[str] | None
) -> Dataset:
    where, name, source = "objective.dataset", config["name"], config["source"]
    if source == "built-in" and name not in {"digits", *MNIST_LIKE}:
        raise CannotCheckError(f"{where}.name: there is no data set {name!r}.")
    if source == "arrays":
        said = f"{where}: {name!r} was made of arrays, which no contract holds"
        raise CannotCheckError(f"{said}; verify it in Python, and give them as dataset.")
    if "path" in config:
        folder = folder if data_dir is None else _checks.expanded(data_dir)
        file = find_in(folder, config["path"], f"{where}.path", "give data_dir")
        config = {**config, "path": str(file)}
    try:
        return dataset_from_config(config, data_dir)
    except (TypeError, ValueError, OSError) as error:
        raise CannotCheckError(f"{where}: {_checks.first_line(error)}.") from None


def _model(
    config: dict[str, Any], data: Dataset, max_parameters: int
) -> "MLP | Callable[[], keras.Model]":
    """Return the model of a configuration, checked before anything is built of it."""
    where = "objective.model"
    if config.get("type") != "MLP":
        keras_files.check_model_config(config["model"], f"{where}.model", max_parameters)
        return keras_files.model_from_config(config)
    for name in ("kernel_initializer", "bias_initializer"):
        if isinstance(config.get(name), dict):
            initializer = {"module": "keras.initializers", **config[name]}
            keras_files.check_keras_config(initializer, f"{where}.{name}")
    model = keras_files.model_from_config(config)
    assert isinstance(model, MLP)
    keras_files.check_count(
        len(model.hidden), keras_files.OBJECTS, f"{where}.hidden", keras_files.MAX_OBJECTS
    )
    sizes = (math.prod(data.x_train.shape[1:]), *model.hidden, data.n_outputs)
    count = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
    keras_files.check_count(count, "parameters", f"{where}.hidden", max_parameters)
    return model


def _rebuild(
    contract: dict[str, Any],
    data: Dataset,
    model: MLP | Callable[..., Any] | None,
    max_parameters: int,
) -> InitOffsetObjective:
    """Return the objective of a contract, and refuse one that is not as the contract says."""
    stored = contract["objective"]
    for name, said, found in (
        ("objective.dataset.fingerprint", stored["dataset"]["fingerprint"], data.fingerprint),
        ("split", contract["split"], {k: len(getattr(data, f"y_{k}")) for k in contract["split"]}),
        ("objective.dataset.duplicates", stored["dataset"].get("duplicates", {}), data.duplicates),
        ("objective.dataset.task", stored["dataset"].get("task", "classification"), data.task),
    ):
        if said != found:
            raise CannotCheckError(f"{name} is {said}, but that of the data is {found}.")
    if "scaling" in stored:
        # A copy, since the user's data set is not to be scaled by a file's numbers later.
        data = dataclasses.replace(data)
        use(data, stored["model"].get("scale", "auto"), Scaling.from_config(stored["scaling"]))
    keras_files.check_training_config(stored["training"], "objective.training")
    training, offsets = Training(**stored["training"]), space_from_config(stored["space"])
    built = model or _model(stored["model"], data, max_parameters)
    given: Any = {"space": offsets, "metric": stored["metric"], "seed": stored["seed"]}
    averages = isinstance(offsets, ControlSpace) and offsets.parameter == "members"
    kind = EnsembleObjective if averages else InitOffsetObjective
    given["direction"] = stored.get("direction")
    objective: InitOffsetObjective = kind(built, data, training=training, **given)
    objective = objective.of(contract["winner"].get("hyperparameters", {}))
    rebuilt = {**contracts.portable_config(objective.config), "dataset": stored["dataset"]}
    if differing := config_differences(stored, rebuilt, "objective"):
        said = f"The contract does not describe itself: {in_words(differing)}"
        if model is None and not isinstance(built, MLP):
            # Weights that were loaded, or one initializer for several layers, are not stored.
            said += "; where the model's configuration does not hold all, give the callable that "
            said += "builds it as model"
        raise CannotCheckError(f"{said}.")
    if objective.direction.name.lower() != contract["study"]["direction"]:
        raise CannotCheckError("study.direction is not that of objective.metric.")
    params, space = contract["winner"]["params"], objective.distributions
    for name in (*space, *params):
        value = params.get(name)
        is_number = type(value) in {int, float}
        if name not in space or not is_number or not space[name]._contains(value):
            said = f"winner.params.{name} is {value!r}, which is not in objective.space"
            raise CannotCheckError(f"{said}.")
    size = sum(w.size for w in objective.trainer.initial_weights(objective.baseline_start))
    count = int(params.get("members", 1)) * size
    keras_files.check_count(count, "parameters", "winner", max(max_parameters, size))
    return objective


def _train_here(
    contract: dict[str, Any], objective: InitOffsetObjective, bar: Bar | None
) -> tuple[list[Retrained], list[str]]:
    """Train baseline and winner again, and say in a sentence if other bits came out."""
    starts = (objective.starts({}), objective.starts(contract["winner"]["params"]))
    runs = [*retrain(objective.trainer, starts, bar=bar)]
    others, breaches = list[str](), list[str]()
    for role, of_role, run in zip(contracts.ROLES, starts, runs, strict=True):
        found, claimed = contracts.stated(objective, of_role, run), contract[role]
        for name in {**found, **claimed}:
            pair = claimed.get(name), found.get(name)
            if name in {"params", "hyperparameters"} or pair[0] == pair[1]:
                continue
            others.append("{}.{} is {}, but trained again {}".format(role, name, *pair))
            # No environment changes the bits of these.
            if name == "initial_weights_sha256":
                why = "from objective.model, objective.seed and winner.params"
                breaches.append(f"{others[-1]} ({why}).")
    if breaches:
        raise BreachedError(*breaches)
    said = (
        "objective.training: in an environment that looks the same other bits come out, so what "
        f"that does not tell, or the file, is another ({in_words(others)})"
    )
    return runs, [said] if others else []


def _train_elsewhere(
    contract: dict[str, Any], objective: InitOffsetObjective, bar: Bar | None
) -> tuple[float, list[Retrained]]:
    """Train both several times; return how far a gain may be off, and the trainings."""
    arms = [*map(objective.starts, ({}, contract["winner"]["params"]))]
    starts = [
        [_moved(objective, start, (i, role, n)) for n, start in enumerate(arm)]
        for i in range(_N_MOVED)
        for role, arm in enumerate(arms)
    ]
    runs, rows = [*retrain(objective.trainer, starts, bar=bar)], contract["split"]
    gains, claim = gains_of(objective, runs), contracts.claim_of(contract)
    gain, half_width = fmean(gains), student_half_width(gains, claim.resolution, _LEVEL, 1)
    most = _MAX_HALF_WIDTH * claim.scale(fmean(run.score for run in runs))
    found = f"trained {_N_MOVED} times from weights moved in their last bits"
    of_gain = f"{found}, it is {claim.unit.gain(gain, half_width)}"
    if not half_width <= most:
        raise CannotCheckError(
            f"Here this training forgets its gain: {of_gain} with {rows['test']} test "
            f"{objective.dataset.unit}, but it must be known to "
            f"{claim.unit.margin(most)}."
        )
    breaches = []
    # Rounding must not decide about a difference of exactly the tolerance.
    if not abs(claim.gain - gain) <= half_width + 1e-6 * most:
        claimed = f"The claimed gain of {claim.unit.gain(claim.gain)} on the test set"
        breaches.append(f"{claimed} is not reproduced: {of_gain}.")
    for role, of_role in zip(contracts.ROLES, (runs[::2], runs[1::2]), strict=True):
        for split in (name for name in rows if rows[name]):
            name = f"{split}_{objective.trainer.judge}"
            values = [run.metrics[name] for run in of_role]
            size = claim.scale(fmean(values))
            least = max(contracts.LEAST * size, claim.resolution * rows["test"] / rows[split])
            width = student_half_width(values, least, _LEVEL, 1)
            score = contract[role].get(name, math.nan)
            if not abs(score - fmean(values)) <= width + 1e-9 * size:
                here = f"{found}, it is {fmean(values):.4f} ± {width:.4f}"
                breaches.append(f"{role}.{name} is {score}, but is not reproduced: {here}.")
    if breaches:
        raise BreachedError(*breaches)
    return half_width, runs


def _moved(objective: InitOffsetObjective, start: Start, key: tuple[int, int, int]) -> Start:
    """Return a start whose weights and biases differ in their last bits."""
    variables = objective.trainer.architecture.variables
    draws = np.random.default_rng(key).standard_normal(len(variables))
    # The last bits of 1, or more: they must stand for the rounding in each step of a training.
    sizes = [abs(w).max(initial=1) for w in objective.trainer.initial_weights(start)]
    moved = [
        offset if variable.kind == "other" else offset + float(draw * np.spacing(size))
        for variable, offset, draw, size in zip(
            variables, start.offsets, draws, sizes, strict=True
        )
    ]
    return dataclasses.replace(start, offsets=tuple(moved))


def find_in(folder: Path, name: str, field: str, how: str) -> Path:
    """Return a folder's file; refuse a name (of ``field``) or link that leads out of it."""
    file = folder / name
    is_there = _checks.is_file(file)
    if Path(name).name != name or (is_there and file.resolve().parent != folder.resolve()):
        raise CannotCheckError(f"{field}: {name!r} leads out of {str(folder)!r}.")
    if not is_there:
        said = f"there is no file {name!r} in {str(folder)!r}"
        raise CannotCheckError(f"{field}: {said}; {how}.")
    return file


def check_weights(
    contract: dict[str, Any], objective: InitOffsetObjective, file: Path, trained: list[np.ndarray]
) -> None:
    """Refuse a file of other weights than the winner's, or of another test score."""
    winner, said = contract["winner"], f"files.weights: {file.name!r}"
    # An array's header takes some hundred bytes.
    most = sum(values.nbytes + 1000 for values in trained)
    if file.stat().st_size > most + 2**20:
        raise BreachedError(f"{said} is larger than the winner's weights.")
    if contracts.hash_file(file) != contract["files"]["weights"]["sha256"]:
        raise BreachedError(f"{said} is not the file that was written.")
    weights = []
    # A broken archive can raise anything that its readers know.
    with contextlib.suppress(Exception), zipfile.ZipFile(file) as archive:
        if sum(entry.file_size for entry in archive.infolist()) <= most:
            with np.load(file, allow_pickle=False) as arrays:
                weights = [np.asarray(arrays[name]) for name in arrays]
    if hash_weights(weights) != winner["trained_weights_sha256"]:
        raise BreachedError(f"{said} does not hold the weights of winner.trained_weights_sha256.")
    # In another environment than the contract's a training tells nothing of their bits.
    claim = contracts.claim_of(contract)
    claimed, n = winner[claim.metric], len(objective.trainer.architecture.variables)
    networks = [weights[first : first + n] for first in range(0, len(weights), n)]
    predictor = Predictor(objective.trainer, lambda: networks)
    found = predictor.tested()[f"test_{objective.trainer.judge}"]
    if not abs(found - claimed) <= claim.tolerance(found):
        said = f"winner.{claim.metric} is {claimed}, but that of the weights in {file.name!r}"
        raise BreachedError(f"{said} is {found}.")
