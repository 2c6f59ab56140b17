"""How findings are told: of variances, of ensembles."""

from __future__ import annotations

import math
import textwrap

from adnn_optuna._units import ACCURACY, printable, score_in_words, unit_of
from adnn_optuna.plots._estimates import plot_averages as ensemble_figure
from adnn_optuna.plots._estimates import plot_variance as variance_figure
from adnn_optuna.reporting.pages import Page, so_far, told_page
from adnn_optuna.reporting.parts import aligned, listed
from adnn_optuna.results.ensembles import EnsembleFacts
from adnn_optuna.results.variance import ALL, SHARES, VarianceFacts
from adnn_optuna.stats.proportions import unseen_share


def variance_claim(facts: VarianceFacts) -> str:
    """Return how far the value varies, in a sentence or two."""
    name, n = facts.value_name, len(facts.values)
    if math.isnan(facts.total.sd):
        return f"How far {name} varies is not known yet, {so_far(facts, 'runs')}"
    if facts.total.sd == 0:
        share = f"{100 * unseen_share(n):.0f}% of all runs"
        return f"All {n} runs came to the same {name}, but up to {share} may differ."
    said = (
        f"From run to run {name} has a standard deviation of {_spread(facts, *facts.total)}; two "
        f"single runs that differ by less than {_spread(facts, facts.least_difference)} show no "
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


def variance_caveat(facts: VarianceFacts) -> str:
    """Return what to think of it."""
    drawn = "all sources drawn afresh,"
    if facts.not_redrawn:
        drawn = f"{listed(facts.sources)} redrawn, but not {listed(facts.not_redrawn)};"
    said = f"Of {len(facts.values)} runs with {drawn} intervals of 95%."
    if len(facts.sources) > 1:
        said += " Each source is redrawn alone, with its interactions, so shares need not add up "
        said += "to 100%."
    if facts.total.sd > 0 and (still := [k for k, part in facts.parts.items() if part.sd == 0]):
        said += (
            f" Where redrawing {listed(still)} changed nothing, it may in up to "
            f"{100 * max(unseen_share(len(facts.differences[k])) for k in still):.0f}% of runs."
        )
    if facts.n_lost:
        said += (
            f" {facts.n_lost} of {len(facts.evaluations)} runs came to no value and are left "
            "out, so it is the variance of those that succeed."
        )
    return said


_VARIANCES = ("source", "standard deviation", "share of the variance")


def variance_text(facts: VarianceFacts) -> str:
    """Return the claim, and a table where there is something to show."""
    said = textwrap.wrap(variance_claim(facts), 98)
    if rows := _variance_rows(facts):
        said += ["", *aligned([_VARIANCES], rows), *textwrap.wrap(variance_caveat(facts), 98)]
    return "\n".join(said)


def _variance_rows(facts: VarianceFacts) -> list[tuple[str, ...]]:
    """Return each source with its standard deviation and share, as text."""
    if math.isnan(facts.total.sd):
        return []
    rows = list[tuple[str, ...]]()
    for source, row in facts.to_dataframe().iterrows():
        share = ""
        if source != ALL and math.isfinite(row["share"]):
            share = "{:.0f} % ({:.0f} to {:.0f})".format(*100 * row[SHARES])
        rows.append((str(source), _spread(facts, row["sd"], row["low"], row["high"]), share))
    return rows


def variance_page(facts: VarianceFacts) -> Page:
    """Return the report."""
    name, rows = f"Variance {facts.study_name}", _variance_rows(facts)
    told = variance_claim(facts), variance_figure(facts), variance_caveat(facts) if rows else ""
    return told_page(name, *told, tables=[("", _VARIANCES, rows)] if rows else ())


def _spread(facts: VarianceFacts, spread: float, *interval: float) -> str:
    """Return a difference or a standard deviation as text."""
    unit = unit_of(facts.value_name)
    said = f"{unit.scale * spread:.3g}{unit.of_gains}" if math.isfinite(spread) else "unknown"
    if not interval or math.isnan(spread):
        return said
    low, high = (f"{unit.scale * end:.3g}" for end in interval)
    return f"{said} ({low} to {high})"


def ensemble_claim(facts: EnsembleFacts) -> str:
    """Return what is gained by averaging, in a sentence or two."""
    n, unit, gain = facts.n_members, unit_of(facts.score_name), facts.gain
    if n < 2:
        return f"What an average comes to is not known yet, {so_far(facts, 'trainings')}"
    shown = "not shown to be better than"
    if gain.low > 0 or gain.high < 0:
        shown = "better than" if gain.low > 0 else "worse than"
    said = (
        f"The average of {n} networks is {shown} one of them alone: {unit.value(facts.score)} "
        f"{score_in_words(facts.score_name)}, {unit.gain(gain.value)} over their mean "
        f"({unit.interval_of(*gain[1:], 0.95)}); predicting costs {n} times as much."
    )
    return f"{said} It is not all yet, {so_far(facts, 'trainings')}" if facts.missing else said


def ensemble_caveat(facts: EnsembleFacts) -> str:
    """Return what to think of it."""
    said = (
        "The interval is for other test examples, and other networks that are trained so. None "
        "was chosen, by anything. Whether one longer training gains more, a comparison tells: "
        "adnn compare --controls ensemble,longer."
    )
    if n := facts.n_diverged:
        said += f" {n} of {facts.n_evaluations} trainings diverged and are left out."
    return said


def ensemble_text(facts: EnsembleFacts) -> str:
    """Return the claim, what the networks come to, and what to think of it."""
    return "\n".join([*textwrap.wrap(ensemble_claim(facts), 98), *_ensemble_details(facts)])


def _ensemble_details(facts: EnsembleFacts) -> list[str]:
    """Return what networks come to alone and averaged, and how far two differ, one a line."""
    if facts.n_members < 2:
        return []
    unit, differ = unit_of(facts.score_name), facts.disagreement
    low, high, sd = map(unit.bare.value, (min(facts.members), max(facts.members), facts.sd))
    said = f"mean squared difference {differ:.3g} of the targets' variance"
    if facts.head.num_classes is not None:
        examples = f"{len(facts.dataset.y_test)} test {printable(facts.dataset.unit)}"
        said = f"other classes for {100 * differ:.1f}% of {examples}"
    return [
        f"  alone:      {unit.value(facts.mean)} ± {sd} (standard deviation; {low} to {high})",
        f"  averaged:   {unit.value(facts.score)}",
        f"  two differ: {said}",
        *textwrap.wrap(ensemble_caveat(facts), 98),
    ]


def ensemble_page(facts: EnsembleFacts) -> Page:
    """Return the report."""
    name, details = f"Networks of {facts.study_name}", "\n".join(_ensemble_details(facts))
    return told_page(name, ensemble_claim(facts), ensemble_figure(facts), text=details)
