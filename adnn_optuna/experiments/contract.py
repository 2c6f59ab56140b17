"""Contracts: files with which other people can repeat and check a search's result."""

import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import Json
from adnn_optuna._checks import FilePath, WrongValueError
from adnn_optuna._differences import BEHAVIOUR
from adnn_optuna._files import check_output_file, replacing
from adnn_optuna._units import ACCURACY, params_in_words
from adnn_optuna.experiments.confirmation import retrain_best_trial
from adnn_optuna.experiments.contract_file import FORMAT, ROLES, SPLITS, claim_of, contract_sha256
from adnn_optuna.experiments.contract_seeds import claimed_confirmation
from adnn_optuna.experiments.environment import describe_environment
from adnn_optuna.experiments.network_objective import NetworkObjective
from adnn_optuna.experiments.records import NetworkRecord
from adnn_optuna.experiments.verdict import claims_tables
from adnn_optuna.networks import duplicates
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.network import hash_weights
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.retraining import Retrained
from adnn_optuna.networks.training import is_finite
from adnn_optuna.render.document import Advice, Detail, Step, Table, Verdict, shortened
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.sentences import study_in_words

MAX_EMBEDDED = 50_000_000
"""The maximum size in bytes of the data that are written beside a contract."""
EMBEDDED_NUMBERS = {"num_classes", "positive"}
# The parts of a model that are not rebuilt from a file: lambdas and custom classes or functions.
_OF_OTHERS = re.compile(r'"module": (?!"keras)|"class_name": "Lambda"')
_ARRAYS = [f"{kind}_{split}" for kind in "xy" for split in SPLITS]
_EMBEDDED = (*_ARRAYS, "weight_train", "groups_test", "num_classes")


@dataclasses.dataclass(frozen=True)
class Contract(Printed):
    """The result of a search, with everything that others need to train its two networks again.

    Attributes:
        content: The content of the file as JSON. The reference describes each field.
        weights: The trained weights of the best network, by their path in the model.
        data: The arrays of the dataset to write beside the contract; empty without embedded data.
    """

    content: Json
    weights: dict[str, np.ndarray] = dataclasses.field(repr=False)
    data: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def from_search(
        cls,
        record: NetworkRecord,
        objective: NetworkObjective,
        confirmation: Json | None,
        data: dict[str, np.ndarray],
    ) -> Self:
        """Train a search's baseline and best network again, and return the contract."""
        best = record.best
        assert best is not None, "There is a best network, which was tested."
        objective, starts, runs = retrain_best_trial(record, objective)
        for role, run in zip(ROLES, runs, strict=True):
            if not is_finite(run.metrics):
                raise WrongValueError(
                    f"The training run of the {role} network diverged, so no contract can be made."
                )
        params = {name: best.params[name] for name in objective.distributions}
        trained = {"params": params, **outcome(objective, starts[1], runs[1])}
        # From these parameters, the user's functions of the trial made the model and the training.
        hyperparameters = {name: v for name, v in best.params.items() if name not in params}
        if hyperparameters:
            trained["hyperparameters"] = hyperparameters
        split = {name: len(getattr(objective.dataset, f"y_{name}")) for name in SPLITS}
        content = {
            **FORMAT,
            "study": _entries_of_study(record, best, objective),
            "objective": portable_config(objective.config),
            "split": split,
            "baseline": outcome(objective, starts[0], runs[0]),
            "best": trained,
            "environment": describe_environment(),
        }
        if confirmation is not None:
            content["confirmation"] = confirmation
            claim = claim_of(content)
            tested = confirmation["test_score"][0]
            score = trained[claim.metric]
            if not math.isclose(tested, score, rel_tol=1e-6, abs_tol=claim.tolerance(score)):
                raise WrongValueError(
                    f"The best network's {claim.metric} is {tested}, but {score} when it is "
                    "trained again here. Make the contract on the machine where it was tested."
                )
        # The content is converted to its form after reading from a file, in which tuples are
        # lists.
        content = json.loads(json.dumps(content, allow_nan=False))
        return cls(content, _weights_by_path(objective, runs[1].weights), data)

    def save(self, path: FilePath) -> None:
        """Write the contract, and the best network's trained weights in the same folder.

        Beside ``fashion.contract.json``, the weights are in ``fashion.contract.HASH.npz``. The
        name of each array is its path in the model. Embedded data are in
        ``fashion.contract.data.HASH.npz``. HASH is the beginning of the file's SHA-256. If you
        replace a contract, the old files with other hashes remain. Delete them unless you keep a
        copy of the old contract.

        Raises:
            ValueError: If the name of ``path`` does not end in ``.json``.
            FileNotFoundError: If the folder does not exist.
            OSError: If a file cannot be written. The previous contract then remains unchanged.
        """
        check_output_file("path", path, ".json")
        path = Path(path)
        named = {}
        files = {}
        for kind, arrays, middle in (("weights", self.weights, ""), ("data", self.data, ".data")):
            if arrays:
                archive = io.BytesIO()
                np.savez(archive, allow_pickle=False, **arrays)
                sha256 = hashlib.sha256(archive.getbuffer()).hexdigest()
                file = path.with_suffix(f"{middle}.{sha256[:16]}.npz")
                named[kind] = {"name": file.name, "sha256": sha256}
                files[file] = archive.getvalue()
        content = {**self.content, "files": named}
        content["sha256"] = contract_sha256(content)
        with contextlib.ExitStack() as replaced:
            # The contract is replaced last, so the files that it names always exist.
            text = json.dumps(content, indent=1) + "\n"
            replaced.enter_context(replacing(path)).write_text(text, encoding="utf-8")
            for file, archived in files.items():
                replaced.enter_context(replacing(file)).write_bytes(archived)

    def _title(self) -> str:
        return f"Contract of {study_in_words(self.content['study']['name'])}"

    def _verdict(self) -> Verdict:
        return "claimed"

    def _conclusion(self) -> str:
        claim = claim_of(self.content)
        gain = claim.unit.gain(claim.gain)
        return (
            f"Its maker claims a gain of {gain} in {claim.score} over the baseline network. "
            "Nothing is checked yet."
        )

    def _scope(self) -> str:
        study = self.content["study"]
        data_name = self.content["objective"]["dataset"]["name"]
        searched = shortened(f"{data_name}, {study['sampler']}", 40)
        return f"{searched}: trial {study['best_trial']} of {study['trials']}"

    def _next_step(self) -> Step:
        return Step(
            'contract.save("study.contract.json")',
            Advice("Hand over the file and its weights: others verify them with the data."),
        )

    def _fields(self) -> dict[str, Any]:
        return {"content": self.content}

    def _tables(self) -> list[Table]:
        claim = claim_of(self.content)
        of_claim = claim.metric.removeprefix("test")
        baseline = self.content["baseline"]
        best = self.content["best"]
        rows = []
        for name in best:
            unit = ACCURACY
            sign = 1
            if name.endswith(of_claim):
                unit = claim.unit
                sign = claim.sign
            elif not name.endswith("_accuracy"):
                continue
            gain = unit.gain(sign * (best[name] - baseline[name]))
            rows.append((name, unit.value(baseline[name]), unit.value(best[name]), gain))
        metrics = Table(("metric", "baseline network", "best network", "gain"), rows)
        return [metrics, *claims_tables(claimed_confirmation(self.content), claim.unit)]

    def _notes(self) -> list[str]:
        best = self.content["best"]
        params = best["params"]
        notes = []
        counts = self.content["objective"]["dataset"].get("duplicates", {})
        repeated = duplicates.in_words(counts)
        if repeated:
            notes.append(f"The data have {repeated}.")
        notes.append(who_can_verify(self.content, has_data=bool(self.data)))
        named = "Offsets"
        if "members" in params:
            named = "Networks"
        notes.append(f"{named}: {params_in_words(params)}.")
        sha256 = best["trained_weights_sha256"]
        notes.append(Detail(f"SHA-256 of the trained weights: {sha256}"))
        return notes


def _entries_of_study(
    record: NetworkRecord, best: FrozenTrial, objective: NetworkObjective
) -> Json:
    """Return a contract's entries for the study of the search."""
    states = [trial.state for trial in record.done_trials]
    return {
        "name": record.study.study_name,
        "sampler": record.proposer(best),
        "trials": len(states),
        "completed_trials": states.count(TrialState.COMPLETE),
        "best_trial": best.number,
        "stop_reason": record.stop_reason,
        "direction": objective.direction.name.lower(),
    }


def _weights_by_path(
    objective: NetworkObjective, weights: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the weights by their paths. Each network of an average has its own weights."""
    paths = [variable.path for variable in objective.trainer.architecture.variables]
    n = len(weights) // len(paths)
    if n > 1:
        paths = [f"network_{i}/{path}" for i in range(n) for path in paths]
    return dict(zip(paths, weights, strict=True))


def embedded(data: Dataset) -> dict[str, np.ndarray]:
    """Return the arrays from which the dataset can be rebuilt, or raise if they are too large."""
    values = {name: getattr(data, name) for name in _EMBEDDED}
    values["positive"] = data.positive_number
    arrays = {name: np.asarray(value) for name, value in values.items() if value is not None}
    size = sum(array.nbytes for array in arrays.values())
    if size > MAX_EMBEDDED - 2**16:
        raise WrongValueError(
            f"Data to embed must have at most {MAX_EMBEDDED / 1e6:.0f} MB; these have "
            f"{size / 1e6:.0f} MB. Give others the data in a file and omit data."
        )
    return arrays


def who_can_verify(content: Json, *, has_data: bool) -> str:
    """Return a sentence on who can check a contract, which depends on its model and data."""
    dataset = content["objective"]["dataset"]
    if _OF_OTHERS.search(json.dumps(content["objective"].get("model"))):
        return (
            "Only people with the code of the model, and the data, can verify it: "
            "adnn.verify(path, model=function)."
        )
    if has_data:
        return "Anyone can verify it: the data are beside the contract."
    if "path" in dataset:
        return f"Only people with the data file {dataset['path']!r} can verify it."
    if dataset.get("source") == "built-in":
        return f"Anyone can verify it: {dataset['name']} is public."
    return (
        "Only people with the data can verify it: adnn.verify(path, dataset=dataset). To let "
        'anyone verify it, pass contract(data="embed"), which writes the data beside it.'
    )


def outcome(objective: NetworkObjective, starts: Sequence[Start], run: Retrained) -> Json:
    """Return a contract's entries for a training run, or for runs that are averaged."""
    initial = itertools.chain(*map(objective.trainer.initial_weights, starts))
    return {
        "initial_weights_sha256": hash_weights([*initial]),
        "trained_weights_sha256": hash_weights(run.weights),
        **run.metrics,
    }


def portable_config(config: Json) -> Json:
    """Return an objective's configuration without folders and without sketches of behaviour."""
    # A contract has hashes of the weights, so sketches would add nothing.
    with_settings = {key: value for key, value in config.items() if key != BEHAVIOUR}
    portable: Json = json.loads(json.dumps(with_settings))
    if "path" in portable["dataset"]:
        portable["dataset"]["path"] = Path(portable["dataset"]["path"]).name
    return portable
