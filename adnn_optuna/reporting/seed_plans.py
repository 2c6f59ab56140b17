"""How plans are told: how many seeds, and how many hours, it takes to show a gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adnn_optuna.evidence.power import POWER, SeedPlanFacts

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from adnn_optuna.reporting.pages import Page


def text(facts: SeedPlanFacts) -> str:
    """Return the numbers of seeds and hours, planned and looking again."""
    return f"{_aim(facts)}:\n{_numbers(facts)}"


def figure(facts: SeedPlanFacts) -> go.Figure:
    """Return the power against the number of seeds, planned and looking again."""
    from adnn_optuna.plots._comparison import plot_power

    curves = {"planned": facts.power, "looking again": facts.power_looking_again}
    gain = f"{facts.unit.scale * facts.gain:+.4g}{facts.unit.of_gains}"
    return plot_power(curves, f"Power to show {gain}", POWER)


def page(facts: SeedPlanFacts) -> Page:
    """Return the report."""
    from adnn_optuna.reporting.pages import Figure, Page

    content = {
        "kind": "Plan",
        "name": f"from {facts.n_pilot} pilot seeds",
        "picture": Figure("power", figure(facts)),
        "caption": f"The dotted line is the power of {POWER:.0%} that is planned for.",
        "text": _numbers(facts),
    }
    return Page("told.html.jinja", f"{_aim(facts)}.", "", content)


def _aim(facts: SeedPlanFacts) -> str:
    of_claims = "" if facts.n_claims == 1 else f", for each of {facts.n_claims} claims"
    gain = f"{facts.unit.scale * facts.gain:.4g}{facts.unit.of_gains}"
    return f"To show a gain of {gain} with a power of {POWER:.0%}{of_claims}"


def _numbers(facts: SeedPlanFacts) -> str:
    again = "far more seeds than planned: do not"
    if facts.seeds_looking_again is not None and facts.hours_looking_again is not None:
        again = (
            f"{facts.seeds_looking_again} seeds in all, {_in_words(facts.hours_looking_again)} "
            "more, or fewer if all is decided before"
        )
    sd = f"{facts.unit.scale * facts.sd:.2g}{facts.unit.of_gains}"
    return (
        f"  planned, fresh seeds: {facts.seeds} seeds, {_in_words(facts.hours)}\n"
        f"  going on and looking again: {again}\n"
        f"The standard deviation of {sd} is that of {facts.n_pilot} pilot "
        f"seeds: it may take {facts.seeds_low} to {facts.seeds_high} planned seeds."
    )


def _in_words(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.2g} minutes"
    return f"{hours:.2g} hours" if hours < 10 else f"{hours:.0f} hours"
