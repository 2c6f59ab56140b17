"""The fields of a contract, one in each row: the rule that the code checks, and the meaning."""

from __future__ import annotations

from typing import Any

from adnn_optuna import Training
from adnn_optuna.cli.docstrings import arguments
from adnn_optuna.experiments.contract_file import _FIELDS as FIELDS

_SCORES = {
    "accuracy": "The share of correct predictions on the {} part.",
    "loss": "The loss on the {} part.",
    "r2": "R² of a regression on the {} part.",
}
_PARTS = {"train": "training", "val": "validation", "test": "test"}
_OF_ROLE = {
    "initial_weights_sha256": "The SHA-256 of its initial weights.",
    "trained_weights_sha256": "The SHA-256 of its trained weights.",
    **{
        f"{split}_{score}": said.format(part)
        for split, part in _PARTS.items()
        for score, said in _SCORES.items()
    },
}
_INTERVAL = "value, and the ends of its CI"
MEANINGS = {
    "format": "The kind of file.",
    "format_version": "The version of the format.",
    "sha256": "The hash of all other fields, as JSON with sorted keys and without spaces.",
    "study.name": "The name of the study.",
    "study.sampler": "The sampler of the best trial. No training run shows it.",
    "study.trials": "The number of trials. No training run shows it.",
    "study.completed_trials": "The number of completed trials. No training run shows it.",
    "study.best_trial": "The number of the best trial. No training run shows it.",
    "study.stop_reason": "The reason of the search's end. No training run shows it.",
    "study.direction": "Whether the metric is maximized or minimized.",
    "objective.model": "The model: the arguments of `MLP`, or Keras's configuration.",
    "objective.space": "The search space, with its limits.",
    "objective.metric": "The metric of the selection, and of the test score.",
    "objective.direction": "The direction of the metric, if its name does not say it.",
    "objective.positive": "The positive class of the metric, if it has one.",
    "objective.seed": "The seed of the initial weights and of the order of the batches.",
    "objective.dataset.name": "The name of the data.",
    "objective.dataset.source": "The source of the data: built in, a file, or arrays.",
    "objective.dataset.fingerprint": "The SHA-256 of all samples in all parts.",
    "objective.dataset.path": "The file's name, without its folder.",
    "objective.dataset.target": "The column of the labels.",
    "objective.dataset.task": "`regression`, if the data are not classified.",
    "objective.dataset.class_weight": "The weights of the classes.",
    "objective.dataset.sample_weight": "The column of the samples' weights.",
    "objective.dataset.groups": "The column of the groups that are split together.",
    "objective.dataset.missing": "The treatment of missing values.",
    "objective.dataset.rare": "The treatment of rare and unknown categories.",
    "objective.dataset.positive": "The label of the positive one of two classes.",
    "objective.dataset.classes": "The user's own labels, in the order of the outputs.",
    "objective.dataset.preprocessing": "The encoding of a table's columns as numbers.",
    "objective.scaling": "The numbers by which an `MLP` scales inputs and targets.",
    "objective.dataset.duplicates": "The number of samples in two parts, or twice in the test.",
    "objective.dataset.validation_size": "The share, or the number, of validation samples.",
    "objective.dataset.test_size": "The share, or the number, of test samples.",
    "objective.dataset.seed": "The seed of the split.",
    **{
        f"objective.training.{name}": said.partition(". ")[0].rstrip(".") + "."
        for name, said in arguments(Training).items()
    },
    **{f"split.{split}": f"The number of {part} samples." for split, part in _PARTS.items()},
    **{f"{role}.{name}": said for role in ("baseline", "best") for name, said in _OF_ROLE.items()},
    "best.params": "The offsets of the best network, by their names.",
    "best.hyperparameters": "Its other parameters, for functions of the trial.",
    "environment": "Versions, system, processor, devices, threads, flags.",
    "confirmation.rank": "The number of confirmed best trials of the study, this one included.",
    "confirmation.test_score": f"The test score: {_INTERVAL}.",
    "confirmation.vs_baselines": f"Its difference from new baseline networks: {_INTERVAL}.",
    "confirmation.replication": f"The mean gain of the offsets on new seeds: {_INTERVAL}.",
    "confirmation.hyperparameters": f"The gain of the best hyperparameters: {_INTERVAL}.",
    "confirmation.seeds": "The new seeds.",
    "confirmation.baselines": "The score of the baseline network with each seed.",
    "confirmation.gains": "The gain of the offsets with each seed; missing without offsets.",
    "files.weights.name": "The file of the trained weights; its name has their SHA-256's start.",
    "files.weights.sha256": "The SHA-256 of the file.",
    "files.data.name": "The file of embedded data; its name has their SHA-256's start.",
    "files.data.sha256": "The SHA-256 of this file.",
}
_ANY = 1e30  # Larger bounds are not shown.
_TYPES = {str: "text", dict: "object", list: "list", object: "any", str | None: "text or null"}


def table() -> str:
    """Return a row for each field.

    Raises:
        KeyError: If a field is missing in ``MEANINGS``.
    """
    rows = ["| field | must be | may be missing | meaning |", "| --- | --- | --- | --- |"]
    named = {".".join(path): field for path, field in FIELDS.items()}
    for name in sorted(named, key=[*MEANINGS].index):
        wanted, is_optional = named[name]
        cells = (f"`{name}`", _in_words(wanted), "yes" * is_optional, MEANINGS[name])
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _in_words(wanted: Any) -> str:
    if isinstance(wanted, range):
        return f"{' to '.join(f'{n:,}' for n in sorted({wanted[0], wanted[-1]}))} numbers"
    if isinstance(wanted, tuple):
        low, high = (f"{bound:,g}" if abs(bound) < _ANY else "" for bound in wanted)
        of = {(True, True): f", {low} to {high}", (True, False): f", at least {low}"}
        of |= {(False, True): f", at most {high}", (False, False): ""}
        kind = "whole number" if isinstance(wanted[0], int) else "number"
        return f"{kind}{of[bool(low), bool(high)]}"
    return _TYPES[wanted]
