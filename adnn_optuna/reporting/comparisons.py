"""How a comparison is told, and how a plan for one: what it prints, its figure and its report."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import plotly.graph_objects as go

from adnn_optuna import plots
from adnn_optuna._units import ACCURACY, score_in_words
from adnn_optuna.plots._comparison import plot_power
from adnn_optuna.plots._estimates import plot_gains
from adnn_optuna.reporting import comparisons_claims as claims
from adnn_optuna.reporting import parts
from adnn_optuna.reporting.origins import origin
from adnn_optuna.reporting.pages import Figure, Page, told_page
from adnn_optuna.reporting.parts import REPEATS, n_examples, others_in_words
from adnn_optuna.reporting.searches_claims import to_mind
from adnn_optuna.results.comparison import ComparisonFacts
from adnn_optuna.results.numbers import numbers_of
from adnn_optuna.stats.power import POWER, SeedPlanFacts


def text(comparison: ComparisonFacts) -> str:
    """Return the table of means, below it each verdict, and what is claimed."""
    record = comparison.any_record
    look, score = record.test_evaluation, score_in_words(record.test_metric, record.positive)
    header, body = _mean_rows(comparison)
    columns = [["", *heading.split("\n")][-2:] for heading in header]
    n_seeds = len(comparison.seeds)
    notes = parts.what_is_shown(n_seeds)
    runs = [run for of_arm in comparison.results.values() for run in of_arm]
    if not all(math.isfinite(run.test_value) for run in runs):
        notes += " but for runs that came to no value"
    if comparison.is_of_function:
        direction = f"{record.study.direction.name.lower()}d"
        notes += f"; {direction}; a difference: how much better the first is"
        if n_fresh := record.settings.get("confirm"):
            times = f"{n_fresh} time{'s' * (n_fresh > 1)} more, after it was chosen"
            notes += f"\nfresh value: a run's best trial evaluated {times}"
    if comparison.unit is ACCURACY:
        notes += "; pp = percentage points"
        if look:
            notes += f"; one of {n_examples(look)}: {100 / look['n_images']:.2g} pp"
    lines = parts.aligned(
        [("", *(first for first, _ in columns)), ("sampler", *(last for _, last in columns))],
        [(parts.shortened(label, 22), *values) for label, *values in body],
    )
    lines += [notes, ""]
    if missing := claims.what_is_missing(comparison):
        lines += [missing, ""]
    if rows := comparison.paired_differences:
        intervals = claims.intervals_in_words(comparison)
        margin, unit = comparison.equivalence, comparison.unit
        lines += parts.verdict_lines(rows, score, margin, intervals, unit=unit)
        lines += [*claims.later_costs(comparison), ""]
    said = claims.claim_of_comparison(comparison)
    lines += textwrap.wrap(
        f"{said} {others_in_words('The same objective is', comparison.like)}", 98
    )
    if said := claims.repeats_in_words(comparison):
        lines += textwrap.wrap(f"{REPEATS}: {said}", 98)
    return "\n".join(lines)


def _mean_rows(comparison: ComparisonFacts) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the headings of the means, and each arm with them, as text."""
    record = comparison.any_record
    shown = parts.numbers_at("function" if comparison.is_of_function else "means")
    units = [
        comparison.unit if comparison.is_of_function and number.metric else number.unit_of(record)
        for number in shown
    ]
    rows = [
        (
            str(arm),
            *(parts.mean_and_std(row, n.name, u) for n, u in zip(shown, units, strict=True)),
        )
        for arm, row in comparison.table().iterrows()
    ]
    return [parts.filled(number.heading, number, record) for number in shown], rows


def figure(comparison: ComparisonFacts) -> go.Figure:
    """Return the best gain so far against trials, the mean over seeds with its spread."""
    return plots.plot_best_against_trials(comparison.searchers)


def picture(comparison: ComparisonFacts) -> go.Figure:
    """Return what each arm gains beyond luck, as far as that is known."""
    known, luck = claims.against_control(comparison), str(comparison.restarts)
    rows = comparison.rows_of([(luck, label) for label in comparison.controls])
    known += [row.turned() for row in rows if row.n_pairs]
    gains: dict[str, tuple[float, ...]] = {row.arm: (row.mean, row.low, row.high) for row in known}
    if gains and comparison.restarts is not None:
        gains[luck] = (0.0, math.nan, math.nan)
    record = comparison.any_record
    return plot_gains(
        gains,
        "What is gained beyond luck, and how far it may be off",
        comparison.unit,
        over=f" over {claims.luck_in_words(comparison)}",
        open_dots=[*comparison.controls, luck],
        region=comparison.equivalence or 0.0,
        of=score_in_words(record.test_metric, record.positive),
    )


def page(comparison: ComparisonFacts) -> Page:
    """Return the report: claim, evidence, figures, settings."""
    results, record = comparison.searchers, comparison.any_record
    averaged = [runs for runs in comparison.controls.values() if runs[0].n_networks > 1]
    where = origin([*comparison.results.values()])
    is_of_function = comparison.is_of_function
    header, rows = _mean_rows(comparison)
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
        "score": score_in_words(record.test_metric, record.positive),
        "unit": comparison.unit,
        "means": {"header": header, "rows": rows},
        "runs": _run_rows(comparison),
        "figures": figures,
        **where,
    }
    all_runs = [run for runs in comparison.results.values() for run in runs]
    mind = "" if is_of_function else to_mind(all_runs)
    claim, caveat = claims.claim_of_comparison(comparison), claims.caveat_of_comparison(comparison)
    return Page("comparison.html.jinja", claim, content, caveat, mind)


def _run_rows(comparison: ComparisonFacts) -> dict[str, Any]:
    """Return the headings of the table of every run, and its rows."""
    record = comparison.any_record
    shown = parts.numbers_at("function" if comparison.is_of_function else "runs")
    headings = [parts.filled(n.heading, n, record, with_unit=False) for n in shown]
    rows = [
        [
            run.study.study_name,
            run.stop_reason or "",
            *(parts.told(number, values[number.name], run) for number in shown),
        ]
        for runs in comparison.results.values()
        for run, values in zip(runs, numbers_of(runs), strict=True)
    ]
    return {"header": ["study", "ended by", *headings], "rows": rows}


def plan_text(facts: SeedPlanFacts) -> str:
    """Return how many seeds, and hours, it takes to show a gain, planned and looking again."""
    unit = facts.unit
    gain, sd = f"{unit.scale * facts.gain:.4g}", f"{unit.scale * facts.sd:.2g}"
    again = "far more seeds than planned: do not"
    if facts.seeds_looking_again is not None and facts.hours_looking_again is not None:
        again = (
            f"{facts.seeds_looking_again} seeds in all, {_in_words(facts.hours_looking_again)} "
            "more, or fewer if all is decided before"
        )
    of_claims, pooled = "", ""
    if facts.n_claims > 1:
        of_claims, pooled = f", for each of {facts.n_claims} claims", ", pooled over the claims"
    each = ""
    if len({*facts.seeds_by_claim.values()}) > 1:
        pooled = ", the largest of the claims"
        needed = (f"{claim} {n}" for claim, n in facts.seeds_by_claim.items())
        each = (
            f"\nThe claims vary unequally and need unequal numbers of seeds: {', '.join(needed)}."
        )
    return (
        f"To show a gain of {gain}{unit.of_gains} with a power of {POWER:.0%}{of_claims}:\n"
        f"  planned, fresh seeds: {facts.seeds} seeds, {_in_words(facts.hours)}\n"
        f"  going on and looking again: {again}\n"
        f"The standard deviation of {sd}{unit.of_gains} is that of {facts.n_pilot} pilot "
        f"seeds{pooled}: it may take {facts.seeds_low} to {facts.seeds_high} planned seeds."
        f"{each}"
    )


def plan_figure(facts: SeedPlanFacts) -> go.Figure:
    """Return the power against the number of seeds, planned and looking again."""
    curves = {"planned": facts.power, "looking again": facts.power_looking_again}
    gain = f"{facts.unit.scale * facts.gain:+.4g}{facts.unit.of_gains}"
    return plot_power(curves, f"Power to show {gain}", POWER)


def plan_page(facts: SeedPlanFacts) -> Page:
    """Return the report of a plan."""
    aim, numbers = plan_text(facts).split(":\n", 1)
    name, claim = f"Plan from {facts.n_pilot} pilot seeds", f"{aim}: {facts.seeds} planned seeds."
    return told_page(name, claim, plan_figure(facts), text=numbers)


def _in_words(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.2g} minutes"
    return f"{hours:.2g} hours" if hours < 10 else f"{hours:.0f} hours"
