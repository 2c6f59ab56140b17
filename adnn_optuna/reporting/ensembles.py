"""How an ensemble is told: what networks come to averaged, beside what one of them does."""

from __future__ import annotations

import textwrap

from adnn_optuna._units import printable, score_in_words, unit_of
from adnn_optuna.evidence.ensembles import EnsembleFacts
from adnn_optuna.plots._estimates import plot_averages as figure
from adnn_optuna.reporting.pages import Page, so_far, told_page


def claim(facts: EnsembleFacts) -> str:
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


def caveat(facts: EnsembleFacts) -> str:
    """Return what to think of it."""
    said = (
        "The interval is for other test examples, and other networks that are trained so. None "
        "was chosen, by anything. Whether one longer training gains more, a comparison tells: "
        "adnn compare --controls ensemble,longer."
    )
    if n := facts.n_diverged:
        said += f" {n} of {facts.n_evaluations} trainings diverged and are left out."
    return said


def text(facts: EnsembleFacts) -> str:
    """Return the claim, what the networks come to, and what to think of it."""
    return "\n".join([*textwrap.wrap(claim(facts), 98), *_details(facts)])


def _details(facts: EnsembleFacts) -> list[str]:
    """Return what networks come to alone and averaged, and how far two differ, one a line."""
    if facts.n_members < 2:
        return []
    unit, differ = unit_of(facts.score_name), facts.disagreement
    low, high, sd = map(unit.bare.value, (min(facts.members), max(facts.members), facts.sd))
    said = f"mean squared difference {differ:.3g} of the targets' variance"
    if facts.head.num_classes is not None:
        examples = f"{len(facts.dataset.y_test)} test {printable(facts.dataset.unit)}"
        said = f"other classes for {100 * differ:.1f} % of {examples}"
    return [
        f"  alone:      {unit.value(facts.mean)} ± {sd} (standard deviation; {low} to {high})",
        f"  averaged:   {unit.value(facts.score)}",
        f"  two differ: {said}",
        *textwrap.wrap(caveat(facts), 98),
    ]


def page(facts: EnsembleFacts) -> Page:
    """Return the report."""
    name, details = f"Networks of {facts.study_name}", "\n".join(_details(facts))
    return told_page(name, claim(facts), details, figure(facts))
