"""What the reports of a search and of a comparison share: settings, and numbers as text."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from adnn_optuna._attributes import CONFIG, SEARCH
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.evidence.claims import points
from adnn_optuna.evidence.page import Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adnn_optuna.engine.records import SearchRecord

# How to read the figure of an annealing.
ANNEALING = "Temperature 1 moves a parameter everywhere; green is the way that it went."


def settings_section(records: Sequence[SearchRecord]) -> Section:
    """Return what determined the trials' values."""
    shown = next((record for record in records if not record.is_restart), records[0])
    config = dict(shown.study.user_attrs.get(CONFIG, {}))
    if len(records) > 1:
        config.pop("seed", None)
    rows = [(key, value) for key, value in flattened(config)]
    for record in records:
        stored = record.study.user_attrs.get(SEARCH, {})
        text = ", ".join(f"{key} {value}" for key, value in stored.items() if value is not None)
        label = "search" if len(records) == 1 else f"search, {stored.get('sampler', '')}"
        rows.append((label, text))
    url = storage_url(shown.study._storage)
    rows.append(("storage", url or "in memory"))
    codes = []
    if url is not None:
        codes.append(f"optuna-dashboard {url}")
    return Section(
        "Settings",
        "All that determines the trials' values; the studies hold the same.",
        tables=[Table("", (), rows, is_text=True)],
        codes=codes,
    )


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested dictionaries, each with its path, as text."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flattened(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def dates(records: Sequence[SearchRecord]) -> str:
    """Return on which days the trials ran."""
    days = {
        day
        for record in records
        for trial in record.done_trials
        for moment in (trial.datetime_start, trial.datetime_complete)
        if moment is not None and (day := f"{moment:%Y-%m-%d}")
    }
    return "no trials" if not days else f"trained {' to '.join(sorted({min(days), max(days)}))}"


def footer() -> str:
    """Return what the report was made with."""
    packages = ("adnn_optuna", "optuna", "keras", "tensorflow", "numpy", "scipy")
    return "Report by " + ", ".join(f"{name} {version(name)}" for name in packages)


def percentage(value: float) -> str:
    """Return an accuracy in percent."""
    return "unknown" if math.isnan(value) else f"{100 * value:.2f} %"


def metric_value(value: float, *, percent: bool) -> str:
    """Return a value of the selection metric."""
    return percentage(value) if percent else _number(value, ".4f")


def metric_gain(record: SearchRecord, gain: float) -> str:
    """Return a gain in units of the selection metric."""
    return points(gain) if record.has_accuracy else _number(gain, "+.4f")


def _number(value: float, form: str) -> str:
    return "unknown" if math.isnan(value) else format(value, form)
