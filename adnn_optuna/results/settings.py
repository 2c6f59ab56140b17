"""Settings, runs and trials as JSON has them."""

from typing import Any

from optuna.trial import FrozenTrial

from adnn_optuna._attributes import CONFIG, SEARCH
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.storages import storage_url


def settings_fields(record: SearchRecord) -> dict[str, Any]:
    """Return the settings of a search, the runs that made its trials, and their storage."""
    storage = record.study._storage
    return {
        "config": record.attrs.get(CONFIG),
        "search": record.attrs.get(SEARCH),
        "runs": record.runs,
        "storage": storage_url(storage) or type(storage).__name__,
    }


def trial_fields(trial: FrozenTrial | None) -> dict[str, Any] | None:
    """Return a trial as JSON; :obj:`None` without one."""
    if trial is None:
        return None
    return {"number": trial.number, "value": trial.value, "params": trial.params}
