"""How contracts are told: what they claim, and what fresh random numbers make of the gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from adnn_optuna._units import unit_of
from adnn_optuna.accountability.contract import ROLES, ContractFacts
from adnn_optuna.accountability.contract_file import Claim, claim_of
from adnn_optuna.engine.retraining import Source
from adnn_optuna.evidence.proportions import student_half_width
from adnn_optuna.reporting.searches_claims import params_in_words

SOURCES: dict[Source, tuple[str, str]] = {
    "initialisations": ("fresh initialisations", "initialisation"),
    "orders": ("fresh orders of the batches", "order of batches"),
}


def text(facts: ContractFacts) -> str:
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
        mean, half = fmean(values), student_half_width(values, claim.resolution, 0.95)
        means, this = SOURCES[source]
        lines.append(
            f"with {len(values)} {means} the gain is {unit.gain(mean)} (95 % interval "
            f"{unit.interval(mean - half, mean + half)})"
        )
        is_shown &= mean - half > 0
        own += [this] * (mean - half <= 0 < claim.gain and mean + half < claim.gain)
    if own:
        whose = f"belongs to this one {' and '.join(own)}"
        this = f"{100 * claim.gain:.1f} pp" if claim.resolution else f"{claim.gain:.4f}"
        lines.append(f"a lucky draw: the gain of {this} {whose}")
    elif lines:
        lines.append(
            "the gain transfers" if is_shown else "it is not shown that the gain transfers"
        )
    return lines
