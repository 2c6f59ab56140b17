"""The model card of a search, which names its contract."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from adnn_optuna._attributes import CONFIG
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna._files import check_output_file, write_text
from adnn_optuna._units import as_argument
from adnn_optuna.contracts.contract import who_can_verify
from adnn_optuna.contracts.contract_file import read_contract
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.render.document import Document
from adnn_optuna.render.model_card import to_model_card
from adnn_optuna.results.search import NetworkSearch

File = str | os.PathLike[str]


def write_model_card(result: NetworkSearch, path: File, contract: File | None = None) -> None:
    """Write the model card of a search's best network."""
    check_output_file("The model card", path)
    document = _with_contract(result, contract)
    if result.best is None:
        raise WrongValueError(f"There is no model to write a card of. {document.conclusion}")
    write_text(path, to_model_card(document, result.card_metadata()))


def _with_contract(result: NetworkSearch, path: File | None) -> Document:
    """Return the document of a result, with its contract; refuse that of another result."""
    document = result.document()
    if path is None:
        return document
    contract = read_contract(Path(path))
    _check_is_contract_of(result, contract)
    # The file's name is that of its weights, without their hash.
    name = f"{Path(Path(contract['files']['weights']['name']).stem).stem}.json"
    verify = f"adnn verify {as_argument(name)}"
    reproduced = (
        f"{verify} trains both networks of the contract again and names each difference. That "
        "reproduces this one network. For replication on your own seeds, add --new-seeds 20."
    )
    who = who_can_verify(contract, has_data="data" in contract["files"])
    not_shown = (
        "A contract cannot show how many trials were run, whether the baseline was trained well, "
        "or whether data, metric, seed or moment were chosen after seeing results. The SHA-256 "
        f"of this one is {contract['sha256']}."
    )
    return dataclasses.replace(document, notes=[*document.notes, reproduced, who, not_shown])


def _check_is_contract_of(record: SearchRecord, contract: Mapping[str, Any]) -> None:
    """Refuse the contract of another result."""
    states = [trial.state for trial in record.done_trials]
    this: dict[str, dict[str, Any]] = {
        "study": {
            "name": record.study.study_name,
            "trials": len(states),
            "completed_trials": states.count(TrialState.COMPLETE),
            "best_trial": record.best and record.best.number,
        },
        "best": {"params": record.best and record.best.params},
        "objective": {"seed": record.attrs.get(CONFIG, {}).get("seed")},
    }
    params = {**contract["best"]["params"], **contract["best"].get("hyperparameters", {})}
    that = {**contract, "best": {"params": params}}
    that = {part: {key: that[part][key] for key in keys} for part, keys in this.items()}
    if differing := config_differences(that, this):
        raise WrongValueError(
            f"The contract must be of this result; it differs in {in_words(differing)}. Make the "
            "contract of this result."
        )
