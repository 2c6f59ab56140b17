"""How an ensemble is told: what networks come to averaged, beside what one of them does."""

from __future__ import annotations

import textwrap

from adnn_optuna._units import printable, score_in_words, unit_of
from adnn_optuna.evidence.ensembles import EnsembleFacts
from adnn_optuna.plots._estimates import plot_averages as figure
from adnn_optuna.reporting.pages import Figure, Page, so_far


def claim(facts: EnsembleFacts) -> str:
    """Return what is gained by averaging, in a sentence or two."""
    n, unit, score = facts.n_members, unit_of(facts.score_name), score_in_words(facts.score_name)
    if n < 2:
        return f"What an average comes to is not known yet, {so_far(facts, 'trainings')}"
    gain = facts.gain
    shown = (
        "better than one of them alone"
        if gain.low > 0
        else "worse than one of them alone"
        if gain.high < 0
        else "not shown to be better than one of them alone"
    )
    said = (
        f"The average of {n} networks is {shown}: {unit.value(facts.score)} {score}, "
        f"{unit.gain(gain.value)} over their mean ({unit.interval_of(*gain[1:], 0.95)}); "
        f"predicting costs {n} times as much."
    )
    return f"{said} It is not all yet, {so_far(facts, 'trainings')}" if facts.missing else said


def caveat(facts: EnsembleFacts) -> str:
    """Return what to think of it."""
    said = (
        "The interval is for other test examples, and other networks that are trained so. None "
        "was chosen, by anything. Whether one longer training gains more, a comparison tells: "
        "adnn compare --controls ensemble,longer."
    )
    if facts.n_diverged:
        said += (
            f" {facts.n_diverged} of {facts.n_evaluations} trainings diverged and are left out."
        )
    return said


def text(facts: EnsembleFacts) -> str:
    """Return the claim, what the networks come to, and what to think of it."""
    said = textwrap.wrap(claim(facts), 98)
    if scores := _scores(facts):
        said += [*scores, *textwrap.wrap(caveat(facts), 98)]
    return "\n".join(said)


def _scores(facts: EnsembleFacts) -> list[str]:
    """Return what networks come to alone and averaged, and how far two differ, one a line."""
    if facts.n_members < 2:
        return []
    unit, n_examples = unit_of(facts.score_name), len(facts.dataset.y_test)
    low, high = (unit.bare.value(end(facts.members)) for end in (min, max))
    spread = f"{unit.bare.value(facts.sd)} (standard deviation; {low} to {high})"
    differ = f"mean squared difference {facts.disagreement:.3g} of the targets' variance"
    if facts.head.num_classes is not None:
        of = f"{n_examples} test {printable(facts.dataset.unit)}"
        differ = f"other classes for {100 * facts.disagreement:.1f} % of {of}"
    return [
        f"  alone:      {unit.value(facts.mean)} ± {spread}",
        f"  averaged:   {unit.value(facts.score)}",
        f"  two differ: {differ}",
    ]


def page(facts: EnsembleFacts) -> Page:
    """Return the report."""
    content = {
        "kind": "Networks of",
        "name": facts.study_name,
        "dates": f"{len(facts.evaluations)} trainings",
        "text": "\n".join(_scores(facts)),
        "picture": Figure("averages", figure(facts)),
        "caption": "Points are networks alone; the line is the mean of the averages of as many.",
    }
    return Page("told.html.jinja", claim(facts), content, caveat(facts))
