"""The report of a comparison: one HTML file that opens from disk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from adnn_optuna import plots
from adnn_optuna.evidence._report_parts import (
    ANNEALING,
    dates,
    footer,
    metric_gain,
    metric_value,
    percentage,
    settings_section,
)
from adnn_optuna.evidence.claims import (
    against_control,
    caveat_of_comparison,
    claim_of_comparison,
    interval,
    points,
)
from adnn_optuna.evidence.page import Card, Figure, Page, Section, Table
from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler, DeltaStepSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from adnn_optuna.evidence.comparison import Comparison


def comparison_page(comparison: Comparison) -> Page:
    """Return the report of a comparison."""
    everything = [run for runs in comparison.results.values() for run in runs]
    name = everything[0].study.study_name.removesuffix(f"/seed={comparison.seeds[0]}")
    name = name.removesuffix(f"/{next(iter(comparison.results))}")
    return Page(
        title=f"{name} - adnn_optuna",
        kind=f"Comparison {name} · {len(comparison.seeds)} seeds · {dates(everything)}",
        claim=claim_of_comparison(comparison),
        lead=caveat_of_comparison(comparison),
        cards=list(_cards_of_comparison(comparison)),
        sections=[
            _evidence_section(comparison),
            Section("Figures", figures=_figures_of_comparison(comparison)),
            settings_section([runs[0] for runs in comparison.results.values()]),
            Section(
                "Every run",
                "So that each number above can be checked.",
                tables=[_runs_table(comparison)],
            ),
        ],
        footer=footer(),
    )


def _cards_of_comparison(comparison: Comparison) -> Iterator[Card]:
    test_gain = comparison.table()["test_gain"].to_dict()
    rows = against_control(comparison)
    lucky_label, lucky = max(
        ((label, run) for label, runs in comparison.results.items() for run in runs),
        key=lambda pair: -math.inf if math.isnan(pair[1].gain) else pair[1].gain,
    )
    yield Card(
        "What one lucky run would claim",
        metric_gain(lucky, lucky.gain),
        f"the largest gain of all runs, of {lucky_label}, in {lucky.metric}, by which it was "
        "selected, over its own baseline",
    )
    if rows:
        arm = rows[0].arm
        yield Card(
            f"What {arm} gains",
            points(test_gain[arm]),
            f"test accuracy over the unmoved networks, mean of {rows[0].n_pairs} seeds",
        )
    if comparison.control is not None:
        yield Card(
            "What luck gains by itself",
            points(test_gain[comparison.control]),
            "the same for random restarts, which move nothing",
        )
    if rows:
        yield Card(
            f"What {rows[0].arm} is worth",
            points(rows[0].mean),
            f"the difference; 95 % interval {interval(rows[0])}: {rows[0].verdict}",
        )


def _evidence_section(comparison: Comparison) -> Section:
    region = f"±{100 * comparison.equivalence:g}\u00a0pp"
    verdicts = Table(
        f"Differences of test accuracy between runs of the same seed. The interval is a 95 % BCa "
        f"bootstrap; p is that of a sign-flip test, after Holm. Equivalent: within {region}.",
        ("", "verdict", "difference", "95 % interval", "p", "superior in"),
        [
            (
                f"{row.arm} against {row.other}",
                row.verdict,
                points(row.mean),
                interval(row),
                f"{row.p_holm:.4f}",
                f"{100 * row.superiority:.0f} %",
            )
            for row in comparison.paired_differences
        ],
    )
    accuracy = comparison.any_record.has_accuracy
    scale = 100 if accuracy else 1
    table = comparison.table()
    header = (
        "",
        f"{comparison.metric}, best",
        "gain" if not accuracy else "gain [pp]",
        "validation [%]",
        "test [%]",
        "test gain [pp]",
        "over mean baseline [pp]",
    )
    means = Table(
        "Means ± standard deviations over the seeds, and the trials' own selection metric first. "
        "A run's gain is over its own baseline; over the mean of all seeds' baselines, an unlucky "
        "baseline no longer looks like a gain.",
        header,
        [
            (
                str(label),
                _mean_and_std(row, "best", scale),
                _mean_and_std(row, "gain", scale, sign="+"),
                _mean_and_std(row, "val_best", 100),
                _mean_and_std(row, "test_best", 100),
                _mean_and_std(row, "test_gain", 100, sign="+"),
                _mean_and_std(row, "test_gain_over_mean_baseline", 100, sign="+"),
            )
            for label, row in table.iterrows()
        ],
    )
    return Section(
        "Evidence",
        "Runs of the same seed have the same data split, initial weights and batches, so their "
        "differences are the searchers' own. Better needs both a test and an interval beyond "
        f"{region}; undecided is what the seeds leave open.",
        figures=[
            Figure(
                "test-accuracy",
                "Each point is a network, each line a seed; dashed, the mean.",
                plots.plot_test_accuracy(comparison.studies),
            ),
            Figure(
                "price-of-luck",
                "Dashed, what the searchers' winners reached, on the data they selected by. Where "
                "a dashed line meets the curve, as many random draws do as well.",
                plots.plot_price_of_luck(comparison.studies),
            ),
        ],
        tables=[verdicts, means] if verdicts.rows else [means],
    )


def _figures_of_comparison(comparison: Comparison) -> list[Figure]:
    studies = comparison.studies
    draws = [s for label, runs in studies.items() for s in runs if label == comparison.control]
    figures = [
        Figure(
            "trials",
            "On the data that is selected by. The band is one standard deviation.",
            plots.plot_best_against_trials(studies),
        ),
        Figure(
            "seconds",
            "The same against time. Runs that were trained in one stack share its seconds.",
            plots.plot_best_against_seconds(studies),
        ),
        Figure(
            "target",
            "The target is what random restarts come to in the mean.",
            plots.plot_target_share(studies),
        ),
        Figure(
            "distribution",
            "How far random numbers alone move this model, before any search.",
            plots.plot_accuracy_distribution(
                draws or [s for runs in studies.values() for s in runs]
            ),
        ),
    ]
    for i, (label, runs) in enumerate(comparison.results.items()):
        of_arm = studies[label]
        sampler = runs[0].sampler
        if isinstance(sampler, DeltaStepSampler):
            caption = "Each faint line is a seed; every offset is the same."
            figures.append(Figure(f"walk-{i}", caption, plots.plot_walk(of_arm), label))
        if isinstance(sampler, AdaptiveSimulatedAnnealingSampler):
            caption = f"The run of seed {comparison.seeds[0]}. {ANNEALING}"
            figures.append(
                Figure(f"annealing-{i}", caption, plots.plot_annealing(of_arm[0]), label)
            )
        if not runs[0].is_restart:
            caption = "Where the trials of all seeds went."
            figures.append(Figure(f"offsets-{i}", caption, plots.plot_offsets(of_arm), label))
    return figures


def _runs_table(comparison: Comparison) -> Table:
    percent = comparison.any_record.has_accuracy
    mean_baseline = float(
        np.nanmean([r.baseline for runs in comparison.results.values() for r in runs])
    )
    rows = [
        (
            run.study.study_name,
            str(len(run.done_trials)),
            run.stop_reason or "",
            metric_value(run.baseline, percent=percent),
            metric_value(run.best_value, percent=percent),
            metric_gain(run, run.gain),
            metric_gain(run, run.improvement(run.best_value, mean_baseline)),
            percentage(run.test_baseline),
            percentage(run.test_value),
            points(run.test_gain),
        )
        for runs in comparison.results.values()
        for run in runs
    ]
    header = (
        "study",
        "trials",
        "ended by",
        "baseline",
        f"best {comparison.metric}",
        "gain",
        "over mean baseline",
        "test baseline",
        "test",
        "test gain",
    )
    return Table(f"{len(rows)} runs", header, rows, is_folded=True)


def _mean_and_std(row: pd.Series[float], name: str, scale: float, *, sign: str = "") -> str:
    mean = round(scale * row[name], 2) + 0.0
    return f"{mean:{sign}.2f} ± {scale * row[f'{name}_std']:.2f}"
