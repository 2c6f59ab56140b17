"""How to go on from what a command showed: command lines that run as printed, by what for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import masked

if TYPE_CHECKING:
    from adnn_optuna.api.comparisons import Comparison
    from adnn_optuna.api.search import SearchResult


def of_search(
    result: SearchResult, storage: str, data_dir: Path | None, *, test: bool
) -> dict[str, str]:
    """Return how to search on to twice the limit that was met, and how to look at the study."""
    from adnn_optuna.callbacks import LIMITS

    study, more = result.study, {}
    limit = next((limit for limit in LIMITS if limit.reason == result.stop_reason), None)
    if limit is not None:
        more["Go on"] = _adnn(
            "resume",
            storage=storage,
            study_name=study.study_name,
            data_dir=data_dir,
            **{limit.reason: f"{2 * limit(1).used(study):g}"},
            test=test and None,
        )
    return _of_stored(storage, more)


def of_comparison(comparison: Comparison, storage: str) -> dict[str, str]:
    """Return a comparison's name, how to report it and to plan more seeds, and how to look."""
    name = comparison.study_name
    more = {"Named": name, "Report it": _adnn("report", storage=storage, study_name=name)}
    if len(comparison.seeds) > 1 and not comparison.is_of_function:
        more["Plan more"] = _adnn("plan", masked(storage), name, gain=0.003)
    return _of_stored(storage, more)


def of_plan(comparison: Comparison, n_seeds: int) -> dict[str, str]:
    """Return the comparison with so many fresh seeds that a plan asks for."""
    first = max(comparison.declaration["seeds"]) + 1
    name = shlex.quote(f"{comparison.study_name}-planned")
    seeds = f"--seeds {first}-{first + n_seeds - 1} --study-name {name}"
    return {"Fresh seeds": f"adnn compare with the same options, and {seeds}"}


def _adnn(verb: str, *words: str, **options: Any) -> str:
    """Return a command line; an option without a value is left out."""
    given: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            given.append(option if value else option.replace("--", "--no-", 1))
        elif value is not None:
            given += [option, masked(value) if name == "storage" else str(value)]
    return shlex.join(["adnn", verb, *words, *given])


def _of_stored(storage: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return what is to be done of a storage that outlasts this process, and how to look at it."""
    from adnn_optuna.engine.storages import is_in_memory

    if is_in_memory(storage):
        return {}
    return {**more, "Look at it": shlex.join(["optuna-dashboard", masked(storage)])}
