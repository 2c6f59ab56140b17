"""Settings and runs as a table; and a trial as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import CONFIG, SEARCH, RunRecord
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.render.document import Table


def settings_table(arms: Sequence[Sequence[SearchRecord]]) -> Table:
    """Return the settings of the searches of one or several arms, and their storage."""
    firsts = [runs[0] for runs in arms]
    shown = next((record for record in firsts if not record.is_restart), firsts[0])
    config = dict(shown.attrs.get(CONFIG, {}))
    if len(arms) > 1:
        config.pop("seed", None)  # Each run has its own.
    rows = [*_flattened(config)] if config else []
    for record in firsts:
        search = record.attrs.get(SEARCH, {"sampler": "study.optimize"})
        of_arm = f", {search.get('sampler', '')}" if len(arms) > 1 else ""
        rows.append((f"search{of_arm}", _listed(search)))
        rows += [(f"run{of_arm}", _run_in_words(run)) for run in record.runs]
    storage = shown.study._storage
    where = storage_url(storage) or type(storage).__name__
    if isinstance(storage, InMemoryStorage):
        where = "in memory"
    return Table(("setting", "value"), [*rows, ("storage", where)], "Settings", is_detail=True)


def trial_fields(trial: FrozenTrial | None) -> dict[str, Any] | None:
    """Return a trial as JSON; :obj:`None` without one."""
    if trial is None:
        return None
    return {"number": trial.number, "value": trial.value, "params": trial.params}


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _run_in_words(run: RunRecord) -> str:
    """Return when a run of a study began, under which limits, and why it ended."""
    before, after, reason = run["n_trials_before"], run["n_trials"], run["stop_reason"]
    counts = f"from {before} trials on" if after is None else f"from {before} to {after} trials"
    began = f"{run['began'][:16].replace('T', ' ')} UTC"
    end = "not ended" if reason is None else f"ended by {reason}"
    return f"{began}, {_listed(run['limits']) or 'no limits'}, {counts}, {end}"


def _flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested dictionaries, each with its path, as text."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flattened(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
