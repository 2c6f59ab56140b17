"""How accountability is told: what contracts claim, verdicts mean and audits find."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import plotly.graph_objects as go

from adnn_optuna._units import ACCURACY, printable, unit_of
from adnn_optuna.accountability.audit import AuditFacts, in_words, seed_in_words
from adnn_optuna.accountability.contract import ROLES, Claim, ContractFacts, claim_of
from adnn_optuna.accountability.verification import Status, VerdictFacts
from adnn_optuna.engine.retraining import Source
from adnn_optuna.evidence.proportions import student_half_width
from adnn_optuna.plots._estimates import plot_gains
from adnn_optuna.reporting.pages import Figure, Page
from adnn_optuna.reporting.searches_claims import (
    duplicates_in_words,
    not_moved_in_words,
    params_in_words,
)

_MEANING: dict[Status, str] = {
    "exact": "trained again, baseline and winner have the same bits",
    "within_tolerance": "trained again in another environment, all is within the tolerance",
    "breached": "the contract does not hold",
    "cannot_check": "the contract cannot be checked",
}
_SOURCES: dict[Source, tuple[str, str]] = {
    "initialisations": ("fresh initialisations", "initialisation"),
    "orders": ("fresh orders of the batches", "order of batches"),
}


def contract_text(facts: ContractFacts) -> str:
    """Return the scores of baseline and winner, and which gain is certified."""
    content, winner = facts.content, facts.content["winner"]
    study, data = content["study"], content["objective"]["dataset"]["name"]
    head = f"Contract of study {study['name']!r} on {data}, {study['sampler']}: "
    lines = [f"{head}trial {study['best_trial']} of {study['trials']}"]
    for name in winner:
        if name.endswith(("_accuracy", "_r2")):
            before, after = (content[role][name] for role in ROLES)
            form = ".4f" if name.endswith("r2") else ".2%"
            line = f"  {name:<15} baseline {before:{form}}  winner {after:{form}}  gain "
            lines.append(f"{line}{unit_of(name).gain(after - before)}")
    if twice := duplicates_in_words(content["objective"]["dataset"]):
        lines.append(f"  {twice}")
    lines.append(f"  offsets: {params_in_words(winner['params'])}")
    certified = content.get("certified", {})
    lines += [f"  {line}" for line in transfer_in_words(claim_of(content), certified)]
    return "\n".join([*lines, f"  trained weights: SHA-256 {winner['trained_weights_sha256']}"])


def transfer_in_words(claim: Claim, gains: Mapping[Source, Sequence[float]]) -> list[str]:
    """Return what a winner's test gain is with fresh random numbers, and what that makes of it.

    Args:
        claim: The winner's test gain, in its own initialisation and order of batches.
        gains: What :func:`~adnn_optuna.engine.retraining.retrain_afresh` returned for each source.
    """
    lines, own, is_shown, unit = [], [], True, claim.unit
    for source, values in gains.items():
        mean, low, high = _mean_of(values, claim)
        means, this = _SOURCES[source]
        said = f"with {len(values)} {means} the gain is {unit.gain(mean)}"
        lines.append(f"{said} (95 % interval {unit.interval(low, high)})")
        is_shown &= low > 0
        own += [this] * (low <= 0 < claim.gain and high < claim.gain)
    if own:
        whose = f"belongs to this one {' and '.join(own)}"
        this = f"{100 * claim.gain:.1f} pp" if claim.resolution else f"{claim.gain:.4f}"
        lines.append(f"a lucky draw: the gain of {this} {whose}")
    elif lines:
        lines.append(
            "the gain transfers" if is_shown else "it is not shown that the gain transfers"
        )
    return lines


def _mean_of(gains: Sequence[float], claim: Claim) -> tuple[float, float, float]:
    """Return the mean of gains with fresh random numbers, and its 95 % interval."""
    mean, half = fmean(gains), student_half_width(gains, claim.resolution, 0.95)
    return mean, mean - half, mean + half


def verdict_text(facts: VerdictFacts) -> str:
    """Return what the status means, why, what was found, and what was not checked."""
    lines = [_claim(facts)]
    lines += [f"  - {line}" for line in (*facts.reasons, *_findings(facts))]
    lines += [f"  - not checked: {what}" for what in facts.not_checked]
    return "\n".join(map(printable, lines))


def verdict_figure(facts: VerdictFacts) -> go.Figure:
    """Return the gains that the contract promises, and those that were measured."""
    gains: dict[str, tuple[float, ...]] = {}
    claim = facts.promised
    if claim is not None and facts.gain is not None and facts.interval is not None:
        gains["promised"] = (claim.gain, math.nan, math.nan)
        gains["trained again"] = (facts.gain, *facts.interval)
        for source, fresh in facts.fresh.items():
            for kind, values in (("promised", facts.certified[source]), ("trained", fresh)):
                gains[f"{kind} with {_SOURCES[source][0]}"] = _mean_of(values, claim)
    title = "What the contract promises, and what comes out"
    return plot_gains(gains, title, ACCURACY if claim is None else claim.unit)


def verdict_page(facts: VerdictFacts) -> Page:
    """Return the report."""
    content = {
        "kind": "Verification",
        "name": "of a contract",
        # The first line is the claim.
        "text": verdict_text(facts).partition("\n")[2],
        "picture": Figure("gains", verdict_figure(facts)),
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


def audit_text(facts: AuditFacts) -> str:
    """Return the table of the variables, that of the layers that draw, and the warnings."""
    import pandas as pd

    kinds = [variable.distribution.kind for variable in facts.variables]
    counts = ", ".join(f"{kinds.count(k)} {k}" for k in ("random", "fixed", "unknown"))
    parts = [f"{len(kinds)} variables: {counts}", facts.to_dataframe().to_string(index=False)]
    rows = [
        {
            "layer": layer.path,
            "class": layer.layer,
            "draws": layer.when,
            "with": in_words(layer.parameters),
            "seed": seed_in_words(layer),
        }
        for layer in facts.layers
    ]
    if rows:
        table = pd.DataFrame(rows).to_string(index=False)
        parts += [f"\n{len(rows)} layers with random states", table]
    if facts.not_moved:
        parts.append(f"\n{not_moved_in_words(facts.not_moved)}")
    return "\n".join([*parts, "", *(f"! {warning}" for warning in facts.warnings)]).rstrip()
