"""What a search shows, in sentences that claim no more than that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from adnn_optuna._units import Estimate, Unit, printable
from adnn_optuna.networks.duplicates import in_words
from adnn_optuna.reporting import parts
from adnn_optuna.results.confirmation import Confirmation

# So many times as frequent as the others in their mean is a class that makes a test set uneven:
# always naming it is then right as many times as often as always naming another one.
_UNEVEN = 1.5
_NAMED = 5  # Of variables that do not move.


def repeats_in_words(facts: Confirmation, unit: Unit, of: str) -> str:
    """Return what repeats, by the gains over fresh seeds; it claims nothing of rare seeds.

    ``of`` are the words behind a gain that say what it is in, see :func:`in_metric`.
    """
    if not facts.gains:
        return "nothing, it moves nothing."
    n, (mean, low, high) = len(facts.seeds), facts.replication
    if math.isnan(mean):
        return "not known, as a training on fresh seeds came to no number."
    gain = f"{unit.gain(mean)}{of} in the mean of {n} fresh seeds"
    gain += f" ({unit.interval_of(low, high, facts.level)})"
    if low <= 0 <= high:
        return f"Nothing is shown to repeat: the offsets gain {gain}."
    return f"the offsets {'gain' if low > 0 else 'lose: they gain'} {gain}; {parts.unseen(n)}."


def estimate_in_words(estimate: Estimate, level: float, unit: Unit, of: str) -> str:
    """Return a difference with what it is in and its interval."""
    if math.isnan(estimate.value):
        return "unknown, as a training came to no number"
    return f"{unit.gain(estimate.value)}{of} ({unit.interval_of(*estimate[1:], level)})"


def duplicates_in_words(dataset: Mapping[str, Any]) -> str:
    """Return which samples of data are there twice, by their configuration; empty if none is."""
    found = in_words(dataset.get("duplicates", {}))
    return printable(f"Mind that the data have {found}.") if found else ""


def not_moved_in_words(variables: Sequence[str]) -> str:
    """Return which variables no offset moves, a sentence; empty where each one may move."""
    if not variables:
        return ""
    more = f" and {len(variables) - _NAMED} more" if len(variables) > _NAMED else ""
    some = f"{', '.join(variables[:_NAMED])}{more}"
    return f"No offset moves {some}: only what is called kernel, embeddings or bias moves."
