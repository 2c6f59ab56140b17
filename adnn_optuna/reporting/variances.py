"""How variances are told: how far a value varies from run to run, and from what."""

from __future__ import annotations

import functools
import math
import textwrap

from adnn_optuna._units import ACCURACY, unit_of
from adnn_optuna.evidence.proportions import unseen_share
from adnn_optuna.evidence.variance import ALL, SHARES, VarianceFacts
from adnn_optuna.plots._estimates import plot_variance as figure
from adnn_optuna.reporting.claims import listed
from adnn_optuna.reporting.pages import Page, content_of, so_far
from adnn_optuna.reporting.tables import aligned


def claim(facts: VarianceFacts) -> str:
    """Return how far the value varies, in a sentence or two."""
    name, shown = facts.value_name, functools.partial(_shown, facts)
    if math.isnan(facts.total.sd):
        return f"How far {name} varies is not known yet, {so_far(facts, 'runs')}"
    if facts.total.sd == 0:
        n = len(facts.values)
        return (
            f"All {n} runs came to the same {name}, but up to {100 * unseen_share(n):.0f} % of "
            "all runs may differ."
        )
    said = (
        f"From run to run {name} has a standard deviation of {shown(*facts.total)}; two single "
        f"runs that differ by less than {shown(facts.least_difference)} show no difference."
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


def rows(facts: VarianceFacts) -> list[tuple[str, str, str]]:
    """Return each source with its standard deviation and share, as text."""
    return [
        (
            str(source),
            _shown(facts, row["sd"], row["low"], row["high"]),
            "{:.0f} % ({:.0f} to {:.0f})".format(*100 * row[SHARES])
            if source != ALL and math.isfinite(row["share"])
            else "",
        )
        for source, row in facts.to_dataframe().iterrows()
    ]


def text(facts: VarianceFacts) -> str:
    """Return the claim, and a table where there is something to show."""
    if math.isnan(facts.total.sd):
        return claim(facts)
    header = [("source", "standard deviation", "share of the variance")]
    said, notes = (textwrap.wrap(part, 98) for part in (claim(facts), caveat(facts)))
    return "\n".join([*said, "", *aligned(header, rows(facts)), *notes])


def page(facts: VarianceFacts) -> Page:
    """Return the report."""
    content = content_of("variance", "runs", facts, figure(facts)) | {"rows": rows(facts)}
    return Page("variance.html.jinja", claim(facts), content, caveat(facts))


def _shown(facts: VarianceFacts, spread: float, *interval: float) -> str:
    """Return a difference or a standard deviation as text."""
    unit = unit_of(facts.value_name)
    said = f"{unit.scale * spread:.3g}{unit.of_gains}" if math.isfinite(spread) else "unknown"
    if not interval or math.isnan(spread):
        return said
    low, high = (f"{unit.scale * end:.3g}" for end in interval)
    return f"{said} ({low} to {high})"
