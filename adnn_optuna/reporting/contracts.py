"""How accountability is told: what contracts claim, verdicts mean and audits find."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from adnn_optuna._units import ACCURACY, params_in_words, score_in_words
from adnn_optuna.contracts.audit import AuditFacts, in_words, seed_in_words
from adnn_optuna.contracts.contract import ROLES, Claim, ContractFacts, claim_of
from adnn_optuna.contracts.fresh import said_confirmation
from adnn_optuna.contracts.verification import Status, VerdictFacts
from adnn_optuna.plots._estimates import plot_gains
from adnn_optuna.reporting.pages import Page, told_page
from adnn_optuna.reporting.searches_claims import (
    duplicates_in_words,
    estimate_in_words,
    not_moved_in_words,
    repeats_in_words,
)
from adnn_optuna.results.confirmation import Confirmation

_MEANING: dict[Status, str] = {
    "exact": "reproduced; trained again, baseline and winner have the same bits",
    "within_tolerance": (
        "reproduced; trained again in another environment, all is within the tolerance"
    ),
    "breached": "the contract does not hold",
    "cannot_check": "the contract cannot be checked",
}


def contract_text(facts: ContractFacts) -> str:
    """Return the scores of baseline and winner, and what fresh seeds showed its maker."""
    content, winner = facts.content, facts.content["winner"]
    study, data = content["study"], content["objective"]["dataset"]
    head = f"Contract of study {study['name']!r} on {data['name']}, {study['sampler']}: "
    lines = [f"{head}trial {study['best_trial']} of {study['trials']}"]
    claim = claim_of(content)
    judge = claim.metric.removeprefix("test")
    for name in winner:
        if name.endswith(("_accuracy", judge)):
            before, after = (content[role][name] for role in ROLES)
            unit, sign = (claim.unit, claim.sign) if name.endswith(judge) else (ACCURACY, 1)
            shown = f"baseline {unit.value(before)}  winner {unit.value(after)}"
            lines.append(f"  {name:<15} {shown}  gain {unit.gain(sign * (after - before))}")
    if twice := duplicates_in_words(data):
        lines.append(f"  {twice}")
    named = "networks" if "members" in winner["params"] else "offsets"
    lines.append(f"  {named}: {params_in_words(winner['params'])}")
    lines.append(f"  judged by: {score_in_words(claim.metric, claim.positive)}")
    lines += [f"  by its maker, {s}" for s in claims_in_words(said_confirmation(content), claim)]
    return "\n".join([*lines, f"  trained weights: SHA-256 {winner['trained_weights_sha256']}"])


def claims_in_words(facts: Confirmation | None, claim: Claim) -> list[str]:
    """Return what a contract's maker says of fresh seeds: numbers, and nothing that they show."""
    if facts is None:
        return []
    (held, low, high), n, unit, of = facts.test_score, len(facts.seeds), claim.unit, claim.of
    interval = unit.interval_of(low, high, facts.level, is_gain=False)
    repeats = "nothing, it moves nothing"
    if facts.gains:
        said = estimate_in_words(facts.replication, facts.level, unit, of)
        repeats = f"{said} in the mean of {n} fresh seeds"
    usual = estimate_in_words(facts.vs_baselines, facts.level, unit, of)
    claims = [
        f"what you hold: {unit.value(held)} ({interval})",
        f"what is usual: {usual} over the mean of {n} fresh unmoved networks",
        f"what repeats: {repeats}",
    ]
    if facts.hyperparameters is not None:
        said = estimate_in_words(facts.hyperparameters, facts.level, unit, of)
        claims.append(f"the winner's hyperparameters over the first trial's, unmoved: {said}")
    return claims


def verdict_text(facts: VerdictFacts) -> str:
    """Return what the status means, why, what was found, and what was not checked."""
    claim, said = f"{facts.status}: {_MEANING[facts.status]}.", [*facts.reasons]
    if facts.promised is not None and facts.gain is not None and facts.interval is not None:
        unit, of, fresh = facts.promised.unit, facts.promised.of, facts.fresh
        if fresh is not None:
            by = f"{'shown by' if facts.shows_gain else 'by'} {len(fresh.seeds)} seeds drawn here"
            usual = estimate_in_words(fresh.vs_baselines, fresh.level, unit, of)
            said += [
                f"what repeats, {by}: {repeats_in_words(fresh, unit, of)}",
                f"what is usual, by these seeds: {usual} over the mean of fresh unmoved networks",
                f"the seeds drawn here: {', '.join(map(str, fresh.seeds))}",
            ]
        said.append(
            "gain of this one winner on the test set: "
            f"{unit.gain(facts.gain, facts.half_width)}{of}, reproduced (95% interval from the "
            f"test {facts.examples} {unit.interval(*facts.interval)})"
        )
        said += [f"by its maker, {s}" for s in claims_in_words(facts.confirmation, facts.promised)]
    said += [f"not checked: {what}" for what in facts.not_checked]
    return "\n".join([claim, *(f"  - {line}" for line in said)])


def verdict_figure(facts: VerdictFacts) -> go.Figure:
    """Return the gains that the contract promises, and those that were measured."""
    gains: dict[str, tuple[float, ...]] = {}
    claim = facts.promised
    if claim is not None and facts.gain is not None and facts.interval is not None:
        gains["promised"] = (claim.gain, math.nan, math.nan)
        gains["trained again"] = (facts.gain, *facts.interval)
        if facts.confirmation is not None:
            gains["promised to repeat"] = facts.confirmation.replication
        if facts.fresh is not None:
            gains["on fresh seeds here"] = facts.fresh.replication
    title = "What the contract promises, and what comes out"
    if claim is None:
        return plot_gains(gains, title, ACCURACY)
    return plot_gains(gains, title, claim.unit, of=score_in_words(claim.metric, claim.positive))


def verdict_page(facts: VerdictFacts) -> Page:
    """Return the report."""
    claim, _, text = verdict_text(facts).partition("\n")
    return told_page("Verification of a contract", claim, verdict_figure(facts), text=text)


def audit_text(facts: AuditFacts) -> str:
    """Return the table of the variables, that of the layers that draw, and the warnings."""
    import pandas as pd

    kinds = [variable.distribution.kind for variable in facts.variables]
    counts = ", ".join(f"{kinds.count(k)} {k}" for k in ("random", "fixed", "unknown"))
    parts = [f"{len(kinds)} variables: {counts}"]
    if facts.variables:
        parts.append(facts.to_dataframe().to_string(index=False))
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
