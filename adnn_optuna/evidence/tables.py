"""Comparisons as text: the tables that are printed, and their numbers."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adnn_optuna.evidence.claims import claim_of_comparison, interval, interval_in_words

if TYPE_CHECKING:
    import pandas as pd

    from adnn_optuna.evidence.comparison import Comparison


def comparison_as_text(comparison: Comparison) -> str:
    """Return the table of means, that of the differences, and the claim."""
    any_record = comparison.any_record
    unit = "[pp]" if any_record.has_accuracy else "[loss]"
    header = [
        ("", "best", f"gain {unit} over", "test accuracy", "test gain [pp]", "test gain [pp]"),
        ("sampler", any_record.metric, "own baseline", "[%]", "own baseline", "mean baseline"),
    ]
    body = [
        (_shortened(label, 22), best, gain, *of_test)
        for label, best, gain, _, *of_test in means_in_words(comparison)
    ]
    n_seeds = len(comparison.seeds)
    what = f"mean ± standard deviation over {n_seeds} seeds" if n_seeds > 1 else "one seed"
    look = any_record.test_look
    size = (
        f"; one of {look['n_images']} test images: {100 / look['n_images']:.2g} pp" if look else ""
    )
    lines = [*_aligned(header, body), f"{what}; pp = percentage points{size}"]
    if comparison.paired_differences:
        lines += ["", *_verdict_lines(comparison)]
    return "\n".join([*lines, "", *textwrap.wrap(claim_of_comparison(comparison), 98)])


def means_in_words(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return each searcher's label and the shown columns of :meth:`Comparison.table`, as text."""
    scales = dict.fromkeys(("best", "gain"), 100 if comparison.any_record.has_accuracy else 1)
    accuracies = ("val_best", "test_best", "test_gain", "test_gain_over_mean_baseline")
    scales |= dict.fromkeys(accuracies, 100)
    return [
        (str(label), *(_mean_and_std(row, name, scale) for name, scale in scales.items()))
        for label, row in comparison.table().iterrows()
    ]


def _verdict_lines(comparison: Comparison) -> list[str]:
    header = [
        ("", "difference", "", "", ""),
        ("test accuracy of", "[pp]", "interval", "superior", "verdict"),
    ]
    body = [
        (
            f"{_shortened(row.arm, 18)} - {_shortened(row.other, 18)}",
            f"{100 * row.mean:+.2f}",
            interval(row, unit=""),
            f"{100 * row.superiority:.0f} %",
            row.verdict or "no claim",
        )
        for row in comparison.paired_differences
    ]
    region = f"equivalent: within ±{100 * comparison.equivalence:g} pp"
    notes = [f"paired by seed; {region}; superior: share of seeds, ties half"]
    reasons = dict.fromkeys(row.reason for row in comparison.paired_differences if row.reason)
    notes += [*textwrap.wrap(interval_in_words(comparison), 98), *reasons]
    return [*_aligned(header, body), *notes]


def _aligned(header: Sequence[Sequence[str]], body: Sequence[Sequence[str]]) -> list[str]:
    """Return a table's lines, the first column to the left and all others to the right."""
    rows = [*header, *body]
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    cells = [(row[0].ljust(first), *map(str.rjust, row[1:], others)) for row in rows]
    lines = ["  ".join(row).rstrip() for row in cells]
    rule = "-" * max(map(len, lines))
    return [*lines[: len(header)], rule, *lines[len(header) :], rule]


def _shortened(label: str, width: int) -> str:
    return label if len(label) <= width else f"{label[: width - 1]}…"


def _mean_and_std(row: pd.Series[float], name: str, scale: float) -> str:
    mean, std = scale * row[name], scale * row[f"{name}_std"]
    if math.isnan(mean):
        return "unknown"
    # Adding 0 makes a rounded -0.00 a +0.00.
    shown = f"{round(mean, 2) + 0.0:{'+' if 'gain' in name else ''}.2f}"
    return shown if math.isnan(std) else f"{shown} ± {std:.2f}"
