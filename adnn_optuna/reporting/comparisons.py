"""How a comparison is told: what it prints, its figure and its report."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import plotly.graph_objects as go

from adnn_optuna import plots
from adnn_optuna._units import ACCURACY, score_in_words
from adnn_optuna.evidence.comparison import ComparisonFacts
from adnn_optuna.evidence.numbers import numbers_of
from adnn_optuna.plots._estimates import plot_gains
from adnn_optuna.reporting import comparisons_claims as claims
from adnn_optuna.reporting import tables
from adnn_optuna.reporting.claims import n_examples, others_in_words
from adnn_optuna.reporting.origins import origin
from adnn_optuna.reporting.pages import Figure, Page
from adnn_optuna.reporting.searches_claims import to_mind


def text(comparison: ComparisonFacts) -> str:
    """Return the table of means, below it each verdict, and what is claimed."""
    record = comparison.any_record
    look, score = record.test_look, score_in_words(record.test_metric)
    header, body = _mean_rows(comparison, "function" if comparison.is_of_function else "means")
    columns = [["", *heading.split("\n")][-2:] for heading in header]
    n_seeds = len(comparison.seeds)
    notes = tables.what_is_shown(n_seeds)
    if any(claims.n_known(comparison, arm) < n_seeds for arm in comparison.results):
        notes += " but for runs that came to no value"
    if comparison.is_of_function:
        direction = claims.direction_in_words(comparison)
        notes += f"; {direction}; a difference: how much better the first is"
        if n_fresh := record.n_fresh:
            times = f"{n_fresh} time{'s' * (n_fresh > 1)}"
            notes += (
                f"\nfresh value: a run's best trial evaluated {times} more, after it was chosen"
            )
    if comparison.unit is ACCURACY:
        notes += "; pp = percentage points"
        if look:
            notes += f"; one of {n_examples(look)}: {100 / look['n_images']:.2g} pp"
    lines = tables.aligned(
        [("", *(first for first, _ in columns)), ("sampler", *(last for _, last in columns))],
        [(tables.shortened(label, 22), *values) for label, *values in body],
    )
    lines += [notes, ""]
    if missing := claims.what_is_missing(comparison):
        lines += [missing, ""]
    if rows := comparison.paired_differences:
        intervals = claims.intervals_in_words(comparison)
        margin, unit = comparison.equivalence, comparison.unit
        lines += tables.verdict_lines(rows, score, margin, intervals, unit=unit)
        lines += [*(f"{label}: {c}" for label, c in claims.later_costs(comparison).items()), ""]
    said = claims.claim_of_comparison(comparison)
    others = others_in_words("The same objective is", comparison.like)
    for paragraph in (f"{said} {others}", claims.repeats_in_words(comparison)):
        lines += textwrap.wrap(paragraph, 98)
    return "\n".join(lines)


def _mean_rows(comparison: ComparisonFacts, place: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the headings of the means that a place shows, and each arm with them, as text."""
    record = comparison.any_record
    is_twice = record.val_metric == record.metric  # What was selected by.
    shown = [n for n in tables.numbers_at(place) if not (is_twice and n.metric == "val_metric")]
    units = [
        comparison.unit if comparison.is_of_function and number.metric else number.unit_of(record)
        for number in shown
    ]
    rows = [
        (
            str(arm),
            *(tables.mean_and_std(row, n.name, u) for n, u in zip(shown, units, strict=True)),
        )
        for arm, row in comparison.table().iterrows()
    ]
    return [tables.filled(number.heading, number, record) for number in shown], rows


def figure(comparison: ComparisonFacts) -> go.Figure:
    """Return the best gain so far against trials, the mean over seeds with its spread."""
    return plots.plot_best_against_trials(comparison.searchers)


def picture(comparison: ComparisonFacts) -> go.Figure:
    """Return what each arm gains beyond luck, as far as that is known."""
    gains: dict[str, tuple[float, ...]] = {}
    for row in [*claims.against_control(comparison), *claims.controls_against_luck(comparison)]:
        gains[row.arm] = (row.mean, row.low, row.high)
    title = "What is gained beyond luck, and how far it may be off"
    luck = [comparison.restarts] if gains and comparison.restarts is not None else []
    told: Any = {"region": comparison.equivalence or 0.0}
    told["open_dots"] = [*comparison.controls, *luck]
    if comparison.is_of_function:
        told["of"] = score_in_words(comparison.any_record.test_metric)
    gains |= dict.fromkeys(luck, (0.0, math.nan, math.nan))
    over = f" over {claims.luck_in_words(comparison)}"
    return plot_gains(gains, title, comparison.unit, over=over, **told)


def page(comparison: ComparisonFacts) -> Page:
    """Return the report: claim, evidence, figures, settings."""
    results, record = comparison.searchers, comparison.any_record
    first = next(iter(results.values()))[0]
    best = next(iter(claims.against_control(comparison)), None)
    averaged = [runs for runs in comparison.controls.values() if runs[0].n_networks > 1]
    where = origin([*comparison.results.values()])
    is_of_function = comparison.is_of_function
    header, rows = _mean_rows(comparison, "function" if is_of_function else "means page")
    figures = [Figure("test-accuracy", plots.plot_test_accuracy(comparison.results))]
    if is_of_function:
        figures.append(Figure("trials", figure(comparison)))
    else:
        figures += [
            Figure("compute", plots.plot_best_against_compute(comparison.results)),
            Figure("price-of-luck", plots.plot_price_of_luck(results)),
            *(Figure("members", plots.plot_gain_against_members(runs)) for runs in averaged),
        ]
    content = {
        "name": comparison.study_name,
        "comparison": comparison,
        "answers": claims.answers_of_comparison(comparison, where["url"]),
        "picture": Figure("gains", picture(comparison)),
        "intervals": claims.intervals_in_words(comparison),
        "score": score_in_words(record.test_metric),
        "unit": comparison.unit,
        "means": {"header": header, "rows": rows},
        "runs": _run_rows(comparison),
        "figures": figures,
        **where,
    }
    mind = "" if is_of_function else to_mind(results[best.arm] if best else [first])
    claim = claims.verdict_of_comparison(comparison, in_short=True)
    caveat = claims.caveat_of_comparison(comparison)
    return Page("comparison.html.jinja", claim, content, caveat, mind)


def _run_rows(comparison: ComparisonFacts) -> dict[str, Any]:
    """Return the headings of the table of every run, and its rows."""
    record = comparison.any_record
    shown = tables.numbers_at("function" if comparison.is_of_function else "runs")
    headings = [tables.filled(n.heading, n, record, with_unit=False) for n in shown]
    rows = [
        [
            run.study.study_name,
            run.stop_reason or "",
            *(tables.told(number, values[number.name], run) for number in shown),
        ]
        for runs in comparison.results.values()
        for run, values in zip(runs, numbers_of(runs), strict=True)
    ]
    return {"header": ["study", "ended by", *headings], "rows": rows}
