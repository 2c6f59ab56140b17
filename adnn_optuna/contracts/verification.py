"""Verify a contract: train its networks again, and compare the results."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna import _checks
from adnn_optuna._attributes import Json
from adnn_optuna._checks import FilePath, printable
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna._units import Estimate
from adnn_optuna.engine.signals import Bar, progress_bar
from adnn_optuna.experiments.confirmation import OwnScores, compared_on_test_set, gains_of
from adnn_optuna.experiments.contract import (
    EMBEDDED_NUMBERS,
    MAX_EMBEDDED,
    outcome,
    portable_config,
)
from adnn_optuna.experiments.contract_file import (
    ROLES,
    BreachedError,
    CannotCheckError,
    claim_of,
    find_in,
    read_arrays,
)
from adnn_optuna.experiments.contract_seeds import (
    check_confirmation,
    claimed_confirmation,
    contradiction,
    new_pairs,
)
from adnn_optuna.experiments.controls import EnsembleObjective
from adnn_optuna.experiments.environment import describe_environment
from adnn_optuna.experiments.network_objective import NetworkObjective
from adnn_optuna.experiments.verdict import TOLERANCE, Status, Verdict
from adnn_optuna.networks import keras_files
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.loading import MNIST_LIKE, dataset_from_config
from adnn_optuna.networks.models import MLP, AnyModel, Training
from adnn_optuna.networks.network import hash_weights
from adnn_optuna.networks.offsets import ControlSpace, Start, space_from_config
from adnn_optuna.networks.predictors import Predictor
from adnn_optuna.networks.retraining import Retrained, retrain
from adnn_optuna.networks.scaling import Scaling, use
from adnn_optuna.stats.intervals import gain_interval, student_half_width

if TYPE_CHECKING:
    import keras

N_RUNS = 8
"""The number of training runs of both networks in another environment."""
_LEVEL = 0.99
# If the CI of the gain is wider, the check cannot distinguish an honest contract from a forged
# one.
_MAX_HALF_WIDTH = 0.005


def verified(
    contract: Json,
    folder: Path,
    data_dir: FilePath | None,
    *,
    seeds: Sequence[int] | None,
    show_progress_bar: bool,
    dataset: Dataset | None = None,
    model: AnyModel | None = None,
) -> Verdict:
    """Check a contract in this process, see :func:`adnn_optuna.verify`.

    ``folder`` is the folder of the contract's file.
    """
    different_results = list[str]()
    pairs = None
    try:
        weights = contract["files"]["weights"]
        file = find_in(folder, weights["name"], "files.weights.name", "copy it there")
        data = dataset or _dataset(contract, folder, data_dir)
        objective = _rebuild(contract, data, model)
        environment = describe_environment()
        environment_differences = config_differences(
            contract["environment"], environment, "environment"
        )
        runs = list[Retrained]()
        half_width = 0.0
        problem = ""
        with progress_bar(show=show_progress_bar, unit="training", desc="verify") as bar:
            if not environment_differences:
                runs, different_results = _train_here(contract, objective, bar)
            mismatches = [*environment_differences, *different_results]
            if mismatches:
                half_width, runs, problem = _train_elsewhere(contract, objective, bar)
            check_weights(contract, objective, file, runs[-1].weights)
            comparison = compared_on_test_set(objective.trainer, *runs[:2])
            claim = claim_of(contract)
            groups = objective.dataset.test_groups
            own_scores = OwnScores.of(runs[1].scores, groups, claim.metric, comparison)
            check_confirmation(contract, objective, own_scores)
            if seeds is not None:
                pairs = new_pairs(contract, objective, own_scores, seeds, bar)
        breach = ""
        if pairs is not None:
            breach = contradiction(contract, pairs)
        if problem:
            problem += " Verify it in the environment of the contract, or pass new seeds."
        gain = fmean(gains_of(objective, runs))
        estimate = None
        if not problem:
            estimate = Estimate(gain, *gain_interval(comparison, gain))
        reasons = [*filter(None, [breach, problem])]
        reasons += [f"{where}." for where in mismatches]
        stated = _stated(contract, has_pairs=pairs is not None, is_exact=not mismatches)
        return Verdict(
            status=_status(breach, problem, mismatches),
            reasons=printable_reasons(reasons),
            stated=stated,
            gain=estimate,
            half_width=half_width,
            claim=claim,
            confirmation=claimed_confirmation(contract),
            new_seeds=pairs,
        )
    except BreachedError as error:
        return Verdict(
            "breached",
            printable_reasons([*error.args, *(f"{where}." for where in different_results)]),
        )
    except CannotCheckError as error:
        return Verdict("cannot_check", printable_reasons(error.args))
    except Exception as error:  # noqa: BLE001 - a network from a file may fail in any way.
        why = f"the contract's cannot be rebuilt or trained ({_checks.first_line(error):.300})"
        return Verdict("cannot_check", printable_reasons([f"objective: {why}."]))


def _status(breach: str, problem: str, mismatches: Sequence[str]) -> Status:
    if breach:
        return "breached"
    if problem:
        return "cannot_check"
    if mismatches:
        return "within_tolerance"
    return "exact"


def _stated(contract: Json, *, has_pairs: bool, is_exact: bool) -> tuple[str, ...]:
    """Return the statements of the contract's maker that this verification did not check."""
    stated = [
        "study: number of trials, sampler and duration of the search",
        "objective: how data and classes were made and named, its metric and space",
    ]
    if "hyperparameters" in contract["best"]:
        stated.append(
            "best.hyperparameters: that training, and network without model, follow from them"
        )
    if not is_exact:
        stated.append("environment: that all bits, losses and other metrics came out there")
    if has_pairs:
        stated.append("confirmation: results other than the mean gain")
    elif "confirmation" in contract:
        stated.append("confirmation: results on new seeds and their CIs")
    return tuple(stated)


def printable_reasons(reasons: Iterable[str]) -> tuple[str, ...]:
    """Cut and escape reasons, because texts of a contract could control a terminal."""
    return tuple(f"{printable(reason):.1000}" for reason in itertools.islice(reasons, 100))


def _dataset(contract: Json, folder: Path, data_dir: FilePath | None) -> Dataset:
    where = "objective.dataset"
    config = contract["objective"]["dataset"]
    name = config["name"]
    source = config["source"]
    if "data" in contract["files"] and source != "built-in":  # Built-in data need no file.
        return _embedded(contract, folder)
    if source == "built-in" and name not in {"digits", *MNIST_LIKE}:
        raise CannotCheckError(f"{where}.name: {name!r} is not a built-in data set.")
    if source == "arrays":
        raise CannotCheckError(
            f"{where}: {name!r} was made of arrays, which are not beside the contract. Pass the "
            'data as dataset, in Python, or ask its maker for contract(data="embed").'
        )
    if "path" in config:
        if data_dir is not None:
            folder = _checks.expanded(data_dir)
        file = find_in(folder, config["path"], f"{where}.path", "pass data_dir")
        config = {**config, "path": str(file)}
    try:
        return dataset_from_config(config, data_dir)
    except (TypeError, ValueError, OSError) as error:
        raise CannotCheckError(f"{where}: {_checks.first_line(error)}.") from None


def _embedded(contract: Json, folder: Path) -> Dataset:
    """Return the embedded data from the contract's folder. Their fingerprint is compared later."""
    entry = contract["files"]["data"]
    config = contract["objective"]["dataset"]
    file = find_in(folder, entry["name"], "files.data.name", "copy it there")
    fields: dict[str, Any] = read_arrays(file, entry["sha256"], "files.data", MAX_EMBEDDED)
    for name in EMBEDDED_NUMBERS & fields.keys():
        fields[name] = int(fields[name])
    labels = tuple(config.get("classes", ()))
    if labels:
        fields["classes"] = labels
        if "positive" in fields:
            fields["positive"] = labels[fields["positive"]]
    fields.setdefault("num_classes", None)
    return Dataset(config["name"], **fields)


def _model(config: Json, data: Dataset) -> "MLP | Callable[[], keras.Model]":
    """Check a configuration and build its model."""
    where = "objective.model"
    if config.get("type") != "MLP":
        keras_files.check_model_config(config["model"], f"{where}.model")
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
    n_inputs = math.prod(data.x_train.shape[1:])
    sizes = (n_inputs, *model.hidden, data.n_outputs)
    count = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
    keras_files.check_count(count, "parameters", f"{where}.hidden", keras_files.MAX_PARAMETERS)
    return model


def _rebuild(
    contract: Json,
    data: Dataset,
    model: AnyModel | None,
) -> NetworkObjective:
    """Return the objective of a contract. Raise an error if it differs from the contract."""
    stored = contract["objective"]
    _check_data(contract, data)
    data = _with_stored_scaling(data, stored)
    keras_files.check_training_config(stored["training"])
    training = Training(**stored["training"])
    space = space_from_config(stored["space"])
    built = model or _model(stored["model"], data)
    objective_class: type[NetworkObjective] = NetworkObjective
    if isinstance(space, ControlSpace) and space.parameter == "members":
        objective_class = EnsembleObjective
    objective: NetworkObjective = objective_class(
        built,
        data,
        training=training,
        space=space,
        metric=stored["metric"],
        seed=stored["seed"],
        direction=stored.get("direction"),
    )
    hyperparameters = contract["best"].get("hyperparameters", {})
    objective = objective.of(hyperparameters)
    # The data were compared above.
    rebuilt = {**portable_config(objective.config), "dataset": stored["dataset"]}
    differing = config_differences(stored, rebuilt, "objective")
    if differing:
        error = f"The contract contradicts itself: {in_words(differing)}."
        if model is None and not isinstance(built, MLP):
            # The contract may be right, because a configuration omits loaded weights, and does not
            # say whether layers share an initializer.
            error += (
                " If the model's configuration does not hold everything, pass the callable that "
                "builds it as model."
            )
        raise CannotCheckError(error)
    if objective.direction.name.lower() != contract["study"]["direction"]:
        raise CannotCheckError("study.direction is not the direction of objective.metric.")
    _check_best(contract["best"]["params"], objective)
    return objective


def _with_stored_scaling(data: Dataset, stored: Json) -> Dataset:
    """Return the data set with the scaling that the contract's objective stores, if any."""
    if "scaling" not in stored:
        return data
    data = dataclasses.replace(data)  # The user's own data set keeps its scaling.
    scaling = Scaling.from_config(stored["scaling"])
    use(data, stored["model"].get("scale", "auto"), scaling)
    return data


def _check_data(contract: Json, data: Dataset) -> None:
    """Raise an error for data that differ from the contract's data."""
    dataset = contract["objective"]["dataset"]
    sizes = {split: len(getattr(data, f"y_{split}")) for split in contract["split"]}
    for name, claimed, in_data in (
        ("objective.dataset.fingerprint", dataset["fingerprint"], data.fingerprint),
        ("split", contract["split"], sizes),
        ("objective.dataset.duplicates", dataset.get("duplicates", {}), data.duplicates),
        ("objective.dataset.task", dataset.get("task", "classification"), data.task),
    ):
        if claimed != in_data:
            raise CannotCheckError(f"{name} is {claimed}, but the data have {in_data}.")


def _check_best(params: Json, objective: NetworkObjective) -> None:
    """Raise an error for parameters outside the space, and for networks that are too large."""
    space = objective.distributions
    for name in (*space, *params):
        value: Any = params.get(name)
        is_number = type(value) in {int, float}
        if name not in space or not is_number or not space[name]._contains(value):
            raise CannotCheckError(
                f"best.params.{name} must be in objective.space; got {value!r}."
            )
    weights = objective.trainer.initial_weights(objective.baseline_start)
    size = sum(values.size for values in weights)
    n_networks = int(params.get("members", 1))
    most = max(keras_files.MAX_PARAMETERS, size)
    keras_files.check_count(n_networks * size, "parameters", "best", most)


def _train_here(
    contract: Json, objective: NetworkObjective, bar: Bar
) -> tuple[list[Retrained], list[str]]:
    """Train both networks again. Return the runs, and a sentence if their bits differ."""
    starts = (objective.starts({}), objective.starts(contract["best"]["params"]))
    runs = [*retrain(objective.trainer, starts, bar=bar)]
    differing = []
    breaches = []
    weights = "trained_weights_sha256"
    for role, of_role, run in zip(ROLES, starts, runs, strict=True):
        trained = outcome(objective, of_role, run)
        claimed = contract[role]
        for name in {**trained, **claimed}:
            pair = claimed.get(name), trained.get(name)
            if name in {"params", "hyperparameters"} or pair[0] == pair[1]:
                continue
            differing.append("{}.{} is {}, but trained again {}".format(role, name, *pair))
            # Initial weights are the same in all environments.
            if name == "initial_weights_sha256":
                why = "from objective.model, objective.seed and best.params"
                breaches.append(f"{differing[-1]} ({why}).")
            elif trained[weights] == claimed[weights]:
                breaches.append(f"{differing[-1]}, with the same trained weights.")
    if breaches:
        raise BreachedError(*breaches)
    why = (
        "objective.training: other bits come out in an environment that seems the same. Either "
        f"the file was changed, or something that is not recorded differs ({in_words(differing)})"
    )
    if differing:
        return runs, [why]
    return runs, []


def _train_elsewhere(
    contract: Json, objective: NetworkObjective, bar: Bar
) -> tuple[float, list[Retrained], str]:
    """Train both networks several times.

    Return the half width of the gain's CI, the runs, and a sentence if the CI is too wide.
    """
    arms = [objective.starts({}), objective.starts(contract["best"]["params"])]
    starts = []
    for i in range(N_RUNS):
        for k, arm in enumerate(arms):
            moved = [_moved(objective, start, (i, k, n)) for n, start in enumerate(arm)]
            starts.append(moved)
    runs = [*retrain(objective.trainer, starts, bar=bar)]
    rows = contract["split"]
    gains = gains_of(objective, runs)
    claim = claim_of(contract)
    gain = fmean(gains)
    half_width = student_half_width(gains, claim.resolution, _LEVEL, 1)
    mean_score = fmean(run.score for run in runs)
    most = _MAX_HALF_WIDTH * claim.scale(mean_score)
    repeats = f"{N_RUNS} runs from weights that differ in their last bits"
    half = claim.unit.size(half_width)
    if not half_width <= most:
        examples = f"{rows['test']} test {objective.dataset.unit}"
        needed = claim.unit.margin(most).lstrip("±")
        problem = (
            f"The gain varies too much here: in {repeats} it is known to within {half} (99%) with "
            f"{examples}, but must be known to within {needed}."
        )
        return half_width, runs, problem
    breaches = []
    # Rounding must not matter if the difference is exactly as large as the tolerance.
    if not abs(claim.gain - gain) <= half_width + 1e-6 * most:
        claimed = claim.unit.gain(claim.gain)
        reproduced = claim.unit.gain(gain)
        breaches.append(
            f"The claimed gain of {claimed} on the test set is not reproduced: in {repeats} it is "
            f"{reproduced}, known to within {half} (99%)."
        )
    for role, of_role in zip(ROLES, (runs[::2], runs[1::2]), strict=True):
        for split in (name for name in rows if rows[name]):
            name = f"{split}_{objective.trainer.judge}"
            values = [run.metrics[name] for run in of_role]
            mean = fmean(values)
            size = claim.scale(mean)
            one_example = claim.resolution * rows["test"] / rows[split]
            tolerance = max(TOLERANCE * size, one_example)
            width = student_half_width(values, tolerance, _LEVEL, 1)
            score = contract[role].get(name, math.nan)
            if not abs(score - mean) <= width + 1e-9 * size:
                breaches.append(
                    f"{role}.{name} is {score}, but is not reproduced: in {repeats} it is "
                    f"{mean:.4f}, known to within {width:.4f} (99%)."
                )
    if breaches:
        raise BreachedError(*breaches)
    return half_width, runs, ""


def _moved(objective: NetworkObjective, start: Start, key: tuple[int, int, int]) -> Start:
    """Return a start whose weights and biases differ from ``start`` in their last bits."""
    trainer = objective.trainer
    variables = trainer.architecture.variables
    weights = trainer.initial_weights(start)
    rng = np.random.default_rng(key)
    draws = rng.standard_normal(len(variables))
    moved = [*start.offsets]
    for i, variable in enumerate(variables):
        if variable.kind != "other":
            # Small weights change by at least the spacing at 1, as by rounding in a training step.
            size = abs(weights[i]).max(initial=1)
            moved[i] += float(draws[i] * np.spacing(size))
    return dataclasses.replace(start, offsets=tuple(moved))


def check_weights(
    contract: Json, objective: NetworkObjective, file: Path, trained: list[np.ndarray]
) -> None:
    """Raise an error for weights that do not fit the best network or its test score."""
    best = contract["best"]
    sha256 = contract["files"]["weights"]["sha256"]
    # The header of an array takes some hundred bytes.
    most = sum(values.nbytes + 1000 for values in trained)
    arrays = read_arrays(file, sha256, "files.weights", most)
    weights = [*arrays.values()]
    if hash_weights(weights) != best["trained_weights_sha256"]:
        raise BreachedError(
            f"files.weights: {file.name!r} does not hold the weights of "
            "best.trained_weights_sha256."
        )
    # In another environment, a new training run cannot show whether the weights are right.
    claim = claim_of(contract)
    claimed = best[claim.metric]
    trainer = objective.trainer
    n = len(trainer.architecture.variables)
    begins = range(0, len(weights), n)
    networks = [weights[begin : begin + n] for begin in begins]
    predictor = Predictor(trainer, lambda: networks)
    score = predictor.tested()[f"test_{trainer.judge}"]
    if not abs(score - claimed) <= claim.tolerance(score):
        raise BreachedError(
            f"best.{claim.metric} is {claimed}, but {score} with the weights in {file.name!r}."
        )
