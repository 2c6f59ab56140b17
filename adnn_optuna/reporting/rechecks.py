"""How luck is told: what a study said and what fresh seeds say, and what luck alone brings."""

from __future__ import annotations

import functools
import math

from adnn_optuna._units import ACCURACY, params_in_words, unit_of
from adnn_optuna.evidence.proportions import unseen_share
from adnn_optuna.evidence.recheck import (
    FIRST_OF_PARAMS,
    UNMOVED,
    LuckFacts,
    RecheckFacts,
)
from adnn_optuna.plots._estimates import plot_recheck as figure
from adnn_optuna.reporting.pages import Page, so_far, told_page


def claim(facts: RecheckFacts) -> str:
    """Return what the recheck shows: what is there of the gain, then of the value."""
    return " ".join(filter(None, (_gain(facts), _value(facts))))


def _gain(facts: RecheckFacts) -> str:
    """Return what is there on fresh seeds of the gain that the study says; empty without one."""
    trial, against, gain = facts.trial, facts.against, facts.gain
    if trial is None or against is None or facts.missing:
        return ""
    over = f"trial {against.number}"
    if UNMOVED in against.user_attrs:
        over = "the unmoved network"
    elif against.number >= FIRST_OF_PARAMS:
        over = params_in_words(against.params)
    if against.number == trial.number:
        return f"Nothing was gained: the chosen trial is {over} itself."
    if math.isnan(gain.value):
        return f"What it gains over {over} is not known, as some evaluations came to no value."
    unit, width = unit_of(facts.metric), (gain.high - gain.low) / 2
    shown = functools.partial(_rounded, unit.scale, width)
    found = f"{shown(gain.value)}{unit.of_gains}, which so few seeds give no interval of,"
    if math.isfinite(width):
        found = f"{shown(gain.value)}{unit.of_gains} ({shown(gain.low)} to {shown(gain.high)})"
    said = f"On fresh seeds, {found} is what trial {trial.number} gains over {over}"
    if facts.said_gain > 0:
        told = f"{shown(facts.said_gain)}{unit.of_gains} that the study says"
        whose = f"{told} trial {trial.number} gained over {over}"
        said = f"Of the {whose}, {found} is there on fresh seeds"
    return f"{said}{', so no gain is shown' * (not gain.low > 0)}."


def _value(facts: RecheckFacts) -> str:
    """Return what the study said of its best trial, and what fresh seeds say of the chosen one."""
    best, trial, shown = facts.best, facts.trial, functools.partial(_shown, facts)
    excess_shown = functools.partial(_shown, facts, is_gain=True)
    said = f"The study said {shown(best.values[0])} (trial {best.number})"
    if facts.is_deterministic:
        return (
            f"{said}. By whoever called it the evaluation is deterministic, so nothing was "
            "evaluated and no luck of training measured."
        )
    if trial is None or facts.missing:
        return f"{said}; what it is worth is not known yet, {so_far(facts, 'evaluations')}"
    said = f"{said}; trained afresh, trial {trial.number} gives"
    if math.isnan(facts.value):
        return f"{said} no value."
    excess, verb = (facts.overstated, facts.overstated_low, facts.overstated_high), "overstated"
    if facts.overstated < 0:
        excess, verb = (-excess[0], -excess[2], -excess[1]), "understated"
    said = (
        f"{said} {shown(facts.value, facts.low, facts.high)}: the study {verb} by "
        f"{excess_shown(*excess)}{', on the same validation data' * facts.on_same_data}."
    )
    # The word luck is for one and the same trial only.
    again = facts.interval(best, "confirm")
    if trial is not best:
        if not facts.confirm_best or math.isnan(again[0]):
            return said
        said += f" Trial {best.number} itself gives {shown(*again)}."
    luck = facts.excess(again)
    if luck[1] > 0:
        return f"{said} Of trial {best.number}'s value, {excess_shown(*luck)} was luck."
    return f"{said} That trial {best.number} was lucky is not shown."


def caveat(facts: RecheckFacts) -> str:
    """Return what the recheck cannot show, and what came in its way."""
    if facts.is_deterministic:
        return "Whether the value holds on other data, no seed can tell."
    said = "It measures the luck of training on the data that was evaluated on"
    said += (
        "." if facts.on_same_data else "; where the seed redraws these, that of the split, too."
    )
    if n := facts.n_equal:
        said += (
            f" All {n} values of the further seeds are equal, but up to "
            f"{100 * unseen_share(n):.0f} % of seeds may differ; if nothing is random, say so by "
            "deterministic=True."
        )
    if facts.n_lost:
        said += (
            f" {facts.n_lost} of {len(facts.evaluations)} evaluations came to no value (NaN, "
            "infinite or pruned) and are left out, so the value is that of those that succeed."
        )
    if not facts.is_seeded:
        said += " The evaluations take no seed, so they cannot be made again."
    return said


def text(facts: RecheckFacts) -> str:
    """Return the claim and what to mind of it."""
    return f"{claim(facts)}\n{caveat(facts)}"


def page(facts: RecheckFacts) -> Page:
    """Return the report."""
    name = f"Recheck {facts.study_name}"
    return told_page(name, claim(facts), caveat(facts), figure(facts))


def _shown(facts: RecheckFacts, value: float, *interval: float, is_gain: bool = False) -> str:
    """Return a value as text, as exactly as two digits of the interval's width ask for."""
    unit = unit_of(facts.metric)
    rounded = functools.partial(_rounded, unit.scale, (facts.high - facts.low) / 2)
    said = f"{rounded(value)}{unit.of_gains if is_gain else unit.of_values}"
    least = 0.0 if unit is ACCURACY and not is_gain else -unit.largest  # What none can be.
    ends = [rounded(min(max(end, least), unit.largest)) for end in interval]
    return f"{said} ({' to '.join(ends)})" if interval else said


def _rounded(scale: float, width: float, value: float) -> str:
    """Return a value as text, as exactly as two digits of its interval's half width ask for."""
    width, value = scale * width, scale * value
    digits = 1 - math.floor(math.log10(width)) if 0 < width < math.inf else math.inf
    return f"{value:z.{max(digits, 0)}f}" if digits <= 15 else f"{value:z.6g}"


def luck_text(facts: LuckFacts) -> str:
    """Return what luck alone gains, and how likely it makes a gain, over each baseline."""
    draws = f"the best of {facts.n} equally good draws" if facts.n > 1 else "one draw"
    lines = []
    for baseline in facts.baselines:
        over = "the mean" if baseline == "mean" else "one baseline, which is such a draw itself"
        line = (
            f"By luck alone {draws} with a standard deviation of {facts.sd:g} "
            f"is expected to be {facts.expected:.4g} better than {over}"
        )
        if facts.claimed is not None:
            chance = f"{facts.chances[baseline]:.2g}"
            line += f", and {facts.claimed:g} or more with probability {chance}"
            if facts.files != 1:
                chance = f"{facts.chances_of_files[baseline]:.2g}"
                line += (
                    f", in at least one of {facts.files} such searches with probability {chance}"
                )
        lines.append(f"{line}.")
    return "\n".join(lines)
