"""What determined the values of trials, as the reports list it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adnn_optuna._attributes import CONFIG, SEARCH, RunRecord
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.storages import storage_url


def origin(arms: Sequence[Sequence[SearchRecord]]) -> dict[str, Any]:
    """Return what determined the trials' values, where they are stored, and when they were run."""
    firsts = [runs[0] for runs in arms]
    shown = next((record for record in firsts if not record.is_restart), firsts[0])
    study, config = shown.study, dict(shown.attrs.get(CONFIG, {}))
    if len(arms) > 1:
        config.pop("seed", None)
    settings = [*flattened(config)]
    for record in firsts:
        search = record.attrs.get(SEARCH, {})
        of_arm = f", {search.get('sampler', '')}" if len(arms) > 1 else ""
        settings.append((f"search{of_arm}", _listed(search)))
        settings += [(f"run{of_arm}", _run_in_words(run)) for run in record.runs]
    url = storage_url(study._storage)
    trials = [trial for runs in arms for record in runs for trial in record.done_trials]
    moments = [m for trial in trials for m in (trial.datetime_start, trial.datetime_complete) if m]
    days = sorted({f"{moment:%Y-%m-%d}" for moment in moments})
    return {
        "settings": [*settings, ("storage", url or "in memory")],
        "url": url,
        "dates": f"trained {' to '.join(sorted({days[0], days[-1]}))}" if days else "no trials",
    }


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _run_in_words(run: RunRecord) -> str:
    """Return when a run of a study began, under which limits, and why it ended."""
    limits = {name: run[name] for name in ("max_time", "max_trial", "max_gain")}
    before, after = run["n_trials_before"], run["n_trials"]
    counts = f"from {before} trials on" if after is None else f"from {before} to {after} trials"
    end = "not ended" if run["stop_reason"] is None else f"ended by {run['stop_reason']}"
    began = f"{run['began'][:16].replace('T', ' ')} UTC"
    return ", ".join([began, _listed(limits) or "no limits", counts, end])


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested dictionaries, each with its path, as text."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flattened(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
