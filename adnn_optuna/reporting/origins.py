"""Where a result comes from: the settings, runs and contract that the reports show."""

from __future__ import annotations

import base64
import json
import re
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
from adnn_optuna.accountability.contract import claim_of
from adnn_optuna.accountability.fresh import said_confirmation
from adnn_optuna.engine.records import SearchRecord, is_of_trial
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.reporting.accountability import claims_in_words
from adnn_optuna.reporting.claims import listed
from adnn_optuna.reporting.searches_claims import end_in_words

# What somebody asks for first: of which part of a configuration which settings.
_ASKED = {
    "network": ("model", ("type", "hidden", "activation")),
    "data": ("dataset", ("name", "source")),
    "training": ("training", ("optimizer", "learning_rate", "batch_size", "epochs")),
    "what moves": ("space", ("parameter", "low", "high", "scope")),
}


def origin(arms: Sequence[Sequence[SearchRecord]]) -> dict[str, Any]:
    """Return what determined the trials' values, where they are stored, and when they were run."""
    firsts = [runs[0] for runs in arms]
    shown = next((record for record in firsts if not record.is_restart), firsts[0])
    study, config = shown.study, dict(shown.attrs.get(CONFIG, {}))
    if len(arms) > 1:
        config.pop("seed", None)
    settings = [*_flattened(config)] if config else []
    for record in firsts:
        search = record.attrs.get(SEARCH, {"sampler": "study.optimize"})
        of_arm = f", {search.get('sampler', '')}" if len(arms) > 1 else ""
        settings.append((f"search{of_arm}", _listed(search)))
        settings += [(f"run{of_arm}", _run_in_words(run)) for run in record.runs]
    url, storage = storage_url(study._storage), study._storage
    where = "in memory" if isinstance(storage, InMemoryStorage) else url or type(storage).__name__
    trials = [trial for runs in arms for record in runs for trial in record.done_trials]
    moments = [m for trial in trials for m in (trial.datetime_start, trial.datetime_complete) if m]
    days = sorted({f"{moment:%Y-%m-%d}" for moment in moments})
    searchers = [record.searcher or "study.optimize" for record in firsts]
    limits = shown.budget if SEARCH in shown.attrs else {}
    return {
        "in_words": [
            *_in_words(config),
            ("search", f"{listed(searchers)}, {_listed(limits) or 'no limits'}"),
        ],
        "settings": [*settings, ("storage", where)],
        "url": url,
        "quoted_url": url and shlex.quote(url),
        "dates": f"trained {' to '.join(sorted({days[0], days[-1]}))}" if days else "no trials",
    }


def _in_words(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the first settings of a configuration that somebody asks for, as text."""
    for title, (part, names) in _ASKED.items():
        known = {name.replace("_", " "): config.get(part, {}).get(name) for name in names}
        # An optimizer may be as Keras writes it.
        told = {k: v.get("class_name") if isinstance(v, dict) else v for k, v in known.items()}
        if said := _listed(told):
            yield title, re.sub(r"^(type|name|parameter|optimizer) ", "", said)
    if "metric" in config:
        yield "selected by", str(config["metric"])


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
    """Return what is shown of a contract.

    Raises:
        ValueError: If it is of another result: another study, other trials or another winner.
    """
    states, config = [trial.state for trial in record.done_trials], record.attrs.get(CONFIG, {})
    # The training that a function of the trial makes of the winner's parameters no study holds.
    settings = ("seed", "metric", "space", *(() if is_of_trial(config) else ("training",)))
    winner = contract["winner"]
    params = {**winner["params"], **winner.get("hyperparameters", {})}
    that = {**contract, "winner": {"params": params}}
    this: dict[str, dict[str, Any]] = {
        "study": {
            "name": record.study.study_name,
            "trials": len(states),
            "completed_trials": states.count(TrialState.COMPLETE),
            "best_trial": record.best and record.best.number,
        },
        "winner": {"params": record.best and record.best.params},
        "objective": {key: config.get(key) for key in settings},
    }
    differing = [
        difference
        for part, of_part in this.items()
        for difference in config_differences(
            {key: that[part][key] for key in of_part}, of_part, part
        )
    ]
    if differing:
        said = f"The contract is of another result ({in_words(differing)})"
        raise WrongValueError(f"{said}; make one of this result.")
    # The files of a contract bear its name.
    name = f"{Path(contract['files']['weights']['name']).stem}.json"
    promised = {key: contract[key] for key in ("winner", "baseline", "environment")}
    text = json.dumps(contract, indent=1) + "\n"
    return {
        "name": name,
        "quoted_name": as_argument(name),
        "promised": [*_flattened(promised)],
        "claims": claims_in_words(said_confirmation(contract), claim_of(contract).unit),
        "text": text,
        "base64": base64.b64encode(text.encode()).decode(),
    }
