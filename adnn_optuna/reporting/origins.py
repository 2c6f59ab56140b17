"""Where a result comes from: the settings, runs and contract that the reports show."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from adnn_optuna._attributes import CONFIG, SEARCH, RunRecord
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna._units import as_argument
from adnn_optuna.contracts.contract_file import claim_of
from adnn_optuna.contracts.new_seeds import claimed_confirmation
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.reporting.searches_claims import end_in_words
from adnn_optuna.results.verification import claims_tables


def origin(arms: Sequence[Sequence[SearchRecord]]) -> dict[str, Any]:
    """Return what determined the trials' values, where they are stored, and when they were run."""
    firsts = [runs[0] for runs in arms]
    shown = next((record for record in firsts if not record.is_restart), firsts[0])
    config = dict(shown.attrs.get(CONFIG, {}))
    if len(arms) > 1:
        config.pop("seed", None)
    settings = [*_flattened(config)] if config else []
    for record in firsts:
        search = record.attrs.get(SEARCH, {"sampler": "study.optimize"})
        of_arm = f", {search.get('sampler', '')}" if len(arms) > 1 else ""
        settings.append((f"search{of_arm}", _listed(search)))
        settings += [(f"run{of_arm}", _run_in_words(run)) for run in record.runs]
    storage = shown.study._storage
    url = storage_url(storage)
    where = "in memory" if isinstance(storage, InMemoryStorage) else url or type(storage).__name__
    return {
        "settings": [*settings, ("storage", where)],
        "url": url,
        "quoted_url": url and shlex.quote(url),
    }


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _run_in_words(run: RunRecord) -> str:
    """Return when a run of a study began, under which limits, and why it ended."""
    before, after = run["n_trials_before"], run["n_trials"]
    counts = f"from {before} trials on" if after is None else f"from {before} to {after} trials"
    began = f"{run['began'][:16].replace('T', ' ')} UTC"
    limits, end = _listed(run["limits"]) or "no limits", end_in_words(run["stop_reason"])
    return f"{began}, {limits}, {counts}, {end}"


def _flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested dictionaries, each with its path, as text."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flattened(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def shown_contract(record: SearchRecord, contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of a contract; refuse that of another result."""
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
    that = {part: {key: that[part][key] for key in of_part} for part, of_part in this.items()}
    # The study first, since it says most.
    parts = [({part: that[part]}, {part: this[part]}) for part in this]
    if differing := [where for pair in parts for where in config_differences(*pair)]:
        said = f"The contract is of another result ({in_words(differing)})"
        raise WrongValueError(f"{said}; make one of this result.")
    # The name of the weights is that of the contract, and their hash.
    name = f"{Path(Path(contract['files']['weights']['name']).stem).stem}.json"
    return {
        "name": name,
        "quoted_name": as_argument(name),
        "claims": [
            f"{label}: {value} ({table.headings[2]} {ends})"
            for table in claims_tables(claimed_confirmation(contract), claim_of(contract).unit)
            for label, value, ends in table.rows
        ],
        "text": json.dumps(contract, indent=1),
    }
