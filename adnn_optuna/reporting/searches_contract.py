"""What the report of a search shows of its contract."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from adnn_optuna._attributes import CONFIG
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.proportions import transfer_in_words
from adnn_optuna.reporting.settings import flattened


def shown_contract(record: SearchRecord, contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of a contract.

    Raises:
        ValueError: If it is of another result: another study, other trials or another winner.
    """
    states, config = [trial.state for trial in record.done_trials], record.attrs.get(CONFIG, {})
    this: dict[str, dict[str, Any]] = {
        "study": {
            "name": record.study.study_name,
            "trials": len(states),
            "completed_trials": states.count(TrialState.COMPLETE),
            "best_trial": record.best and record.best.number,
        },
        "winner": {"params": record.best and record.best.params},
        "objective": {key: config.get(key) for key in ("seed", "metric", "training", "space")},
    }
    differing = [
        difference
        for part, of_part in this.items()
        for difference in config_differences(
            {key: contract[part][key] for key in of_part}, of_part, part
        )
    ]
    if differing:
        said = f"The contract is of another result ({in_words(differing)})"
        raise WrongValueError(f"{said}; make one of this result.")
    baseline, winner = (contract[role][record.test_metric] for role in ("baseline", "winner"))
    gain, is_r2 = winner - baseline, record.test_metric == "test_r2"
    resolution = 0.0 if is_r2 else 1 / contract["split"]["test"]
    # The files of a contract bear its name.
    name = Path(contract["files"]["weights"]["name"]).with_suffix(".json").name
    certified = contract.get("certified", {})
    transfer = transfer_in_words(gain, resolution, certified)
    promised = {key: contract[key] for key in ("winner", "baseline", "environment")}
    text = json.dumps(contract, indent=1) + "\n"
    return {
        "name": name,
        "quoted_name": shlex.quote(name),
        "promised": [*flattened(promised)],
        "transfer": transfer,
        "is_an_image": gain < 1.5 * resolution,
        "text": text,
        "base64": base64.b64encode(text.encode()).decode(),
    }
