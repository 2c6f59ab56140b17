"""How to go on from what a command showed: command lines that run as printed, by what for."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import WrongInputError, masked
from adnn_optuna.cli import options as opt

if TYPE_CHECKING:
    from adnn_optuna.api.search import SearchResult
    from adnn_optuna.results.comparison import Comparison


def of_search(
    result: SearchResult, storage: str, data_dir: Path | None, *, test: bool
) -> dict[str, str]:
    """Return how to search on to twice the limit that was met, and how to look at the study."""
    from adnn_optuna.callbacks import LIMITS

    study, more = result.study, {}
    limit = next((limit for limit in LIMITS if limit.reason == result.stop_reason), None)
    if limit is not None:
        named = {"storage": masked(storage), "study_name": study.study_name, "data_dir": data_dir}
        further = {limit.reason: f"{2 * limit(1).used(study):g}", "test": test and None}
        more["Go on"] = _adnn("resume", **named, **further)
    return _of_stored(storage, more)


def of_comparison(comparison: Comparison, storage: str) -> dict[str, str]:
    """Return a comparison's name, how to report it and to plan more seeds, and how to look."""
    name, where = comparison.study_name, masked(storage)
    more = {"Named": name, "Report it": _adnn("report", storage=where, study_name=name)}
    if len(comparison.seeds) > 1 and not comparison.is_of_function:
        more["Plan more"] = _adnn("plan", where, name, gain=0.003)
    return _of_stored(storage, more)


def of_plan(
    comparison: Comparison,
    n_seeds: int,
    options: Mapping[str, Any] | None,
    *,
    storage: str,
    data_dir: Path | None,
) -> dict[str, str]:
    """Return the comparison with so many fresh seeds that a plan asks for.

    ``options`` are those of the pilot's network; without, they are those that a stored one tells.
    """
    from adnn_optuna.engine.arms import CONTROLS, SAMPLERS
    from adnn_optuna.results.declarations import MAX_SEEDS
    from adnn_optuna.stats.paired_differences import MARGIN

    if n_seeds > MAX_SEEDS:
        return {"New seeds": f"{n_seeds:,} are more than a comparison takes; plan a larger gain"}
    first = max(comparison.declaration["seeds"]) + 1
    fresh = {"seeds": f"{first}-{first + n_seeds - 1}"}
    fresh["study_name"] = f"{comparison.study_name}-planned"
    arms, arguments = comparison.declaration["arms"], dict(comparison.declaration["arguments"])
    if options is None:
        options = _network_of(comparison, data_dir)
        arguments["controls"] = ",".join(arm for arm in arms if arm in CONTROLS) or "none"
    is_named = all(arm == of and of in (*SAMPLERS, *CONTROLS) for arm, of in arms.items())
    if options is None or not is_named:
        same = "compare with the same options, and"
        return {"New seeds": _adnn("compare", **fresh).replace("compare", same, 1)}
    if (at_once := arguments.pop("batch_size")) != "auto":
        arguments["trials_at_once"] = at_once
    if arguments["margin"] in (MARGIN, None):
        del arguments["margin"]
    if arguments.pop("stop_when_decided"):
        del arguments["max_time"]  # Of all runs.
    arguments["samplers"] = ",".join(arm for arm in arms if arm in SAMPLERS)
    return {
        "New seeds": _adnn("compare", **arguments, **options, **fresh, storage=masked(storage))
    }


def _network_of(comparison: Comparison, data_dir: Path | None) -> dict[str, Any] | None:
    """Return the options that make the network of a stored comparison, if there are any."""
    from adnn_optuna._attributes import CONFIG
    from adnn_optuna._differences import config_differences
    from adnn_optuna.networks.offsets import OffsetSpace

    configs = [runs[0].attrs.get(CONFIG, {}) for runs in comparison.results.values()]
    # Controls and random restarts have other spaces.
    searched = (c for c in configs if c.get("space", {}).get("type") == OffsetSpace.__name__)
    if (config := next(searched, None)) is None:
        return None
    parts = [config[part] for part in ("dataset", "model", "training", "space")]
    known = {key: value for part in (*parts, config) for key, value in part.items()}
    known["dataset"] = parts[0].get("path", parts[0]["name"])
    options = opt.not_default({**known, "data_dir": data_dir})
    options.pop("seed", None)  # Of one run.
    # Of these the defaults come to what is stored, which nobody need say again.
    resolved = ("metric", "validation_size", "test_size")
    fewer = {name: value for name, value in options.items() if name not in resolved}
    for given in (fewer, options):
        with contextlib.suppress(WrongInputError, TypeError, AttributeError):
            made = opt.make_objective(**{k: _as_given(v) for k, v in given.items()}).config
            if not config_differences({**config, "seed": made["seed"]}, made):
                return given
    return None


def _of_stored(storage: str, more: dict[str, str]) -> dict[str, str]:
    """Return what is to be done of a storage that outlasts this process, and how to look at it."""
    from adnn_optuna.engine.storages import is_in_memory

    if is_in_memory(storage):
        return {}
    return {**more, "Look at it": shlex.join(["optuna-dashboard", masked(storage)])}


def _as_given(value: Any) -> Any:
    """Return an option's value as a command gets it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else value


def _adnn(verb: str, *words: str, **options: Any) -> str:
    """Return a command line that runs as printed; an option without a value is left out."""
    given: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            given.append(option if value else option.replace("--", "--no-", 1))
        elif value is not None:
            given += [option, str(_as_given(value))]
    return shlex.join(["adnn", verb, *words, *given])
