"""How variances are told: how far a value varies from run to run, and from what."""

from __future__ import annotations

import math
import textwrap

from adnn_optuna._units import ACCURACY, unit_of
from adnn_optuna.evidence.proportions import unseen_share
from adnn_optuna.evidence.variance import ALL, SHARES, VarianceFacts
from adnn_optuna.plots._estimates import plot_variance as figure
from adnn_optuna.reporting.claims import listed
from adnn_optuna.reporting.pages import Page, so_far, told_page
from adnn_optuna.reporting.tables import aligned


def claim(facts: VarianceFacts) -> str:
    """Return how far the value varies, in a sentence or two."""
    name, n = facts.value_name, len(facts.values)
    if math.isnan(facts.total.sd):
        return f"How far {name} varies is not known yet, {so_far(facts, 'runs')}"
    if facts.total.sd == 0:
        share = f"{100 * unseen_share(n):.0f} % of all runs"
        return f"All {n} runs came to the same {name}, but up to {share} may differ."
    said = (
        f"From run to run {name} has a standard deviation of {_shown(facts, *facts.total)}; two "
        f"single runs that differ by less than {_shown(facts, facts.least_difference)} show no "
        "difference."
    )
    if math.isnan(facts.own_luck):
        return said
    unit, luck = unit_of(name), "lucky" if facts.own_luck > 0 else "unlucky"
    own = unit.value(facts.own_value) if unit is ACCURACY else f"{facts.own_value:.4g}"
    return (
        f"{said} Seed {facts.seed}, the one in use, came to {own}: {luck} by "
        f"{abs(facts.own_luck):.1f} standard deviations."
    )


def caveat(facts: VarianceFacts) -> str:
    """Return what to think of it."""
    said = f"Of {len(facts.values)} runs with all sources drawn afresh, intervals of 95 %."
    if len(facts.sources) > 1:
        said += " Each source is redrawn alone, with its interactions, so shares need not add up "
        said += "to 100 %."
    if facts.total.sd > 0 and (still := [k for k, part in facts.parts.items() if part.sd == 0]):
        said += (
            f" Where redrawing {listed(still)} changed nothing, it may in up to "
            f"{100 * max(unseen_share(len(facts.differences[k])) for k in still):.0f} % of runs."
        )
    if facts.n_lost:
        said += (
            f" {facts.n_lost} of {len(facts.evaluations)} runs came to no value and are left "
            "out, so it is the variance of those that succeed."
        )
    return said


def text(facts: VarianceFacts) -> str:
    """Return the claim, and a table where there is something to show."""
    return "\n".join([*textwrap.wrap(claim(facts), 98), *_details(facts)])


def _details(facts: VarianceFacts) -> list[str]:
    """Return each source with its standard deviation and share, and what to think of it."""
    if math.isnan(facts.total.sd):
        return []
    rows = []
    for source, row in facts.to_dataframe().iterrows():
        share = ""
        if source != ALL and math.isfinite(row["share"]):
            share = "{:.0f} % ({:.0f} to {:.0f})".format(*100 * row[SHARES])
        rows.append((str(source), _shown(facts, row["sd"], row["low"], row["high"]), share))
    table = aligned([("source", "standard deviation", "share of the variance")], rows)
    return ["", *table, *textwrap.wrap(caveat(facts), 98)]


def page(facts: VarianceFacts) -> Page:
    """Return the report."""
    name, details = f"Variance {facts.study_name}", "\n".join(_details(facts))
    return told_page(name, claim(facts), details, figure(facts))


def _shown(facts: VarianceFacts, spread: float, *interval: float) -> str:
    """Return a difference or a standard deviation as text."""
    unit = unit_of(facts.value_name)
    said = f"{unit.scale * spread:.3g}{unit.of_gains}" if math.isfinite(spread) else "unknown"
    if not interval or math.isnan(spread):
        return said
    low, high = (f"{unit.scale * end:.3g}" for end in interval)
    return f"{said} ({low} to {high})"
