"""How verdicts on contracts are told: what they mean, why, and the gain promised and measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING

from adnn_optuna._units import ACCURACY
from adnn_optuna.accountability.verification import Status, VerdictFacts
from adnn_optuna.evidence.proportions import student_half_width
from adnn_optuna.reporting.contracts import SOURCES, transfer_in_words

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from adnn_optuna.reporting.pages import Page

_MEANING: dict[Status, str] = {
    "exact": "trained again, baseline and winner have the same bits",
    "within_tolerance": "trained again in another environment, all is within the tolerance",
    "breached": "the contract does not hold",
    "cannot_check": "the contract cannot be checked",
}


def text(facts: VerdictFacts) -> str:
    """Return what the status means, why, what was found, and what was not checked."""
    lines = [_claim(facts)]
    lines += [f"  - {line}" for line in (*facts.reasons, *_findings(facts))]
    lines += [f"  - not checked: {what}" for what in facts.not_checked]
    # No terminal may take a part of what a file says for a command.
    return "\n".join(
        "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines
    )


def figure(facts: VerdictFacts) -> go.Figure:
    """Return the gains that the contract promises, and those that were measured."""
    from adnn_optuna.plots._luck import plot_gains

    gains: dict[str, tuple[float, ...]] = {}
    claim = facts.promised
    if claim is not None and facts.gain is not None and facts.interval is not None:
        gains["promised"] = (claim.gain, math.nan, math.nan)
        gains["trained again"] = (facts.gain, *facts.interval)
        for source, fresh in facts.fresh.items():
            for kind, values in (("promised", facts.certified[source]), ("trained", fresh)):
                mean, half = fmean(values), student_half_width(values, claim.resolution, 0.95)
                gains[f"{kind} with {SOURCES[source][0]}"] = (mean, mean - half, mean + half)
    title = "What the contract promises, and what comes out"
    return plot_gains(gains, title, ACCURACY if claim is None else claim.unit)


def page(facts: VerdictFacts) -> Page:
    """Return the report."""
    from adnn_optuna.reporting.pages import Figure, Page

    content = {
        "kind": "Verification",
        "name": "of a contract",
        "text": text(facts),
        "picture": Figure("gains", figure(facts)),
        "caption": "Gains on the test set, each with its interval of 95 %, where it has one.",
    }
    return Page("told.html.jinja", _claim(facts), "", content)


def _claim(facts: VerdictFacts) -> str:
    return f"{facts.status}: {_MEANING[facts.status]}."


def _findings(facts: VerdictFacts) -> Iterator[str]:
    """Yield what was found of the gain, and what fresh random numbers make of it."""
    if facts.promised is None or facts.gain is None or facts.interval is None:
        return
    unit, is_shown = facts.promised.unit, f"{'' if facts.shows_gain else 'not '}shown"
    said = f"gain on the test set: {unit.gain(facts.gain, facts.half_width)}, {is_shown} in this"
    interval = unit.interval(*facts.interval)
    yield f"{said} environment (95 % interval from the test {facts.examples} {interval})"
    yield from transfer_in_words(facts.promised, facts.fresh)
