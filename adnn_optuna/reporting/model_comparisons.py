"""How comparisons of models are told: which is the best, and whether that is shown."""

from __future__ import annotations

import math
import textwrap
from statistics import fmean

import plotly.graph_objects as go

from adnn_optuna._units import unit_of
from adnn_optuna.evidence.comparison import ModelComparisonFacts
from adnn_optuna.plots._comparison import plot_by_seed
from adnn_optuna.reporting import claims, tables
from adnn_optuna.reporting.pages import Page, content_of, so_far

_SOURCES = {
    "initialisation": "the initialisation",
    "order": "the order of the batches",
    "split": "the split of the data",
}
_WORDS = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "undecided": "not shown to differ from",
}


def claim(facts: ModelComparisonFacts) -> str:
    """Return which model is the best, and whether it is better than each other, in a sentence."""
    if not any(facts.accuracies.values()):
        return f"Nothing is known of the models yet, {so_far(facts, 'trainings')}"
    unit = unit_of(facts.score)
    means = {label: fmean(values) for label, values in facts.accuracies.items()}
    best = max(means, key=lambda label: means[label])
    said = []
    for row in facts.paired_differences:
        if best in {row.arm, row.other}:
            shown = row if row.arm == best else row.turned()
            evidence = f"{unit.gain(shown.mean)}, {claims.with_interval(shown, unit)}"
            said.append(f"{_WORDS[str(shown.verdict)]} {shown.other} ({evidence})")
    n_seeds = len(facts.accuracies[best])
    return (
        f"{best} has the best mean {facts.score}, {unit.value(means[best])} over "
        f"{n_seeds} seed{'s' * (n_seeds > 1)}; it is {', '.join(said)}. "
        f"Each verdict is one for most seeds; {claims.unseen(n_seeds)}."
    )


def caveat(facts: ModelComparisonFacts) -> str:
    """Return what to think of the claim."""
    drawn, again = claims.listed([_SOURCES[source] for source in facts.sources]), ""
    if facts.looks_again:
        again = " Seeds were added until all was decided, for which the intervals pay."
    return (
        f"Each seed draws {drawn} afresh, the same for all models.{again} All is said of this "
        "data set, and assumes that differences are symmetric about their centre. Whoever "
        "picks a model by this test has used it: what it gives is no longer that of untouched "
        f"data. {claims.others_in_words('Models of the same data are', facts.like)}"
    ).rstrip()


def rows(facts: ModelComparisonFacts) -> list[tuple[str, str]]:
    """Return each model with its mean test accuracy, as text."""
    unit = unit_of(facts.score)
    return [
        (str(label), tables.mean_and_std(row, "test_accuracy", unit))
        for label, row in facts.table().iterrows()
    ]


def text(facts: ModelComparisonFacts) -> str:
    """Return the table of means and, below it, the verdict on each two models."""
    if not any(facts.accuracies.values()):
        return claim(facts)
    unit, n_seeds = unit_of(facts.score), len(facts.accuracies[facts.labels[0]])
    body = [(tables.shortened(label, 40), mean) for label, mean in rows(facts)]
    size = f"{facts.n_test} test examples"
    if facts.score == "test accuracy":
        size = f"one of {size}: {100 / facts.n_test:.2g} pp"
    differences = facts.paired_differences
    lines = [
        *tables.aligned([("model", unit.heading(facts.score))], body),
        f"{tables.what_is_shown(n_seeds)}; {size}",
        "",
        *tables.verdict_lines(differences, facts.score, facts.equivalence, _intervals(facts)),
    ]
    for row in differences:
        low, high = facts.new_data_interval(row)
        if math.isfinite(low):
            said = f"{tables.pair(row)} {unit.interval(low, high)}"
            lines.append(f"for new data of this kind: {said}")
    return "\n".join([*lines, "", *textwrap.wrap(f"{claim(facts)} {caveat(facts)}", 98)])


def figure(facts: ModelComparisonFacts) -> go.Figure:
    """Return the test accuracies, with a line for each seed."""
    return plot_by_seed(facts.accuracies, facts.score)


def page(facts: ModelComparisonFacts) -> Page:
    """Return the report."""
    shown = {"unit": unit_of(facts.score), "rows": rows(facts), "intervals": _intervals(facts)}
    content = content_of("models", "trainings", facts, figure(facts))
    return Page("models.html.jinja", claim(facts), caveat(facts), content | shown)


def _intervals(facts: ModelComparisonFacts) -> str:
    """Return what the intervals promise."""
    n_claims = {"models": len(facts.paired_differences)}
    return claims.interval_in_words(n_claims, looks_again=facts.looks_again)
