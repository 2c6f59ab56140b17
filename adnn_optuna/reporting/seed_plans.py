"""How plans are told: how many seeds, and how many hours, it takes to show a gain."""

from __future__ import annotations

import plotly.graph_objects as go

from adnn_optuna.evidence.power import POWER, SeedPlanFacts
from adnn_optuna.plots._comparison import plot_power
from adnn_optuna.reporting.pages import Figure, Page


def text(facts: SeedPlanFacts) -> str:
    """Return the numbers of seeds and hours, planned and looking again."""
    of_claims = "" if facts.n_claims == 1 else f", for each of {facts.n_claims} claims"
    again = "far more seeds than planned: do not"
    if facts.seeds_looking_again is not None and facts.hours_looking_again is not None:
        again = (
            f"{facts.seeds_looking_again} seeds in all, {_in_words(facts.hours_looking_again)} "
            "more, or fewer if all is decided before"
        )
    gain, sd = (
        f"{facts.unit.scale * value:.{digits}g}{facts.unit.of_gains}"
        for value, digits in ((facts.gain, 4), (facts.sd, 2))
    )
    pooled = ", pooled over the claims" if facts.n_claims > 1 else ""
    return (
        f"To show a gain of {gain} with a power of {POWER:.0%}{of_claims}:\n"
        f"  planned, fresh seeds: {facts.seeds} seeds, {_in_words(facts.hours)}\n"
        f"  going on and looking again: {again}\n"
        f"The standard deviation of {sd} is that of {facts.n_pilot} pilot "
        f"seeds{pooled}: it may take {facts.seeds_low} to {facts.seeds_high} planned seeds."
    )


def figure(facts: SeedPlanFacts) -> go.Figure:
    """Return the power against the number of seeds, planned and looking again."""
    curves = {"planned": facts.power, "looking again": facts.power_looking_again}
    gain = f"{facts.unit.scale * facts.gain:+.4g}{facts.unit.of_gains}"
    return plot_power(curves, f"Power to show {gain}", POWER)


def page(facts: SeedPlanFacts) -> Page:
    """Return the report."""
    aim, numbers = text(facts).split(":\n", 1)
    content = {
        "kind": "Plan",
        "name": f"from {facts.n_pilot} pilot seeds",
        "picture": Figure("power", figure(facts)),
        "caption": f"The dotted line is the power of {POWER:.0%} that is planned for.",
        "text": numbers,
    }
    return Page("told.html.jinja", f"{aim}: {facts.seeds} planned seeds.", content)


def _in_words(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.2g} minutes"
    return f"{hours:.2g} hours" if hours < 10 else f"{hours:.0f} hours"
