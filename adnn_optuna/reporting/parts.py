"""Parts of what is told: of sentences, and tables as text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from adnn_optuna._attributes import TestEvaluation
from adnn_optuna._units import Unit, printable
from adnn_optuna.stats.paired_differences import PairedDifference
from adnn_optuna.stats.proportions import n_counted, unseen_share

if TYPE_CHECKING:
    import pandas as pd

FOR_NEW_DATA = "for new data of this kind, after Nadeau and Bengio, at the planned {per}s"
HOLD, USUAL, REPEATS = "What you hold", "What is usual", "What repeats"
OTHERWISE, CHECK = NEXT = ("What else could be done?", "How to check it?")
"""What somebody asks who knows what was found."""


def n_examples(look: TestEvaluation) -> str:
    """Return how many examples a test set has, as how many they count, and what they are."""
    said = f"{look['n_images']} test {printable(look['unit'])}"
    return f"{said} that count as {n_counted(look):.0f}" if "n_groups" in look else said


def interval(difference: PairedDifference, unit: Unit) -> str:
    """Return the interval of a difference of values that are shown so."""
    low, high = difference.low, difference.high
    return unit.interval(low, high) if math.isfinite(low) or math.isfinite(high) else "none"


def win_rate(difference: PairedDifference, of: str = "") -> str:
    """Return in how many of all seeds the arm is better, with the interval if there is one."""
    if not difference.n_pairs:
        return "unknown"
    share, low = f"{100 * difference.win_rate:.0f}%{of}", difference.win_rate_low
    if math.isnan(low):
        return share
    return f"{share} ({100 * low:.0f} to {100 * difference.win_rate_high:.0f})"


def interval_in_words(
    n_claims: Mapping[str, int], *, sequential: bool, of_new_data: bool = False, how: str = ""
) -> str:
    """Return what the intervals of so many claims of each family promise, and at what price."""
    which = " and ".join(
        f"the {n} claims on {what} together" if n > 1 else f"the claim on {what}"
        for what, n in n_claims.items()
        if n
    )
    how = how or (
        "from an e-process: holds however often one looks and adds seeds"
        if sequential
        else "from inverted sign flips, for the planned seeds"
    )
    if of_new_data:
        how = (
            "for new data of this kind, after Nadeau and Bengio, read once, at the planned seeds; "
            f"on these rows alone {how}"
        )
    return f"interval: 95% for {which}, {how}"


def with_interval(difference: PairedDifference, unit: Unit) -> str:
    """Return the interval of a difference as a part of a sentence."""
    shown = interval(difference, unit)
    # More pairs bring none back where they contradict each other.
    yet = "" if math.isnan(difference.low) else " yet"
    said = f"no interval{yet}" if shown == "none" else f"interval {shown}"
    if difference.n_pairs < 2 or math.isnan(difference.worst):
        return said
    return f"{said}, smallest {unit.gain(difference.worst)}"


def unseen(n: int, per: str = "seed") -> str:
    """Return how rare that may be which no verdict on so many seeds can tell of."""
    return (
        f"{n} {per}{'s' * (n != 1)}: what befalls fewer than "
        f"{100 * unseen_share(n):.0f}% of {per}s may not have been seen"
    )


def scope(rows: Sequence[PairedDifference], per: str = "seed") -> str:
    """Return what verdicts are on, by what their values are paired by, if they are."""
    on = "the mean difference" if per else "the difference of means"
    return f"each verdict is on {on}; {unseen(min(row.n_pairs for row in rows), per or 'value')}"


def in_most(row: PairedDifference, per: str = "seed") -> str:
    """Return whether a difference is one for most seeds, or on average, by its win rate."""
    is_better = row.mean > 0
    if row.win_rate_low > 0.5 if is_better else row.win_rate_high < 0.5:
        return f"for most {per}s"
    if row.win_rate == 0.5 or (row.win_rate > 0.5) == is_better or not per:
        return "on average"
    only = "only " if is_better else ""
    return f"on average, although it wins in {only}{win_rate(row, f' of {per}s')}"


def others_in_words(what: str, names: Sequence[str]) -> str:
    """Return in how many other comparisons something is compared, too; empty if in none."""
    if not names:
        return ""
    return (
        f"{what} compared in {len(names)} more of this storage, such as {names[0]!r}: each is "
        "wrong in 5% for itself, so the best of several is wrong more often."
    )


def listed(names: Sequence[str]) -> str:
    """Return names as a part of a sentence: one, one and another, or more."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def what_is_shown(n: int, per: str = "seed") -> str:
    """Return what the numbers of a table are, by the number of seeds."""
    return f"mean ± standard deviation over {n} {per}s" if n > 1 else f"one {per}"


def verdict_lines(
    rows: Sequence[PairedDifference],
    score: str,
    margin: float | None,
    intervals: str,
    *,
    unit: Unit,
    per: str = "seed",
) -> list[str]:
    """Return the differences, paired by ``per`` if by anything, and what to know of them."""
    header = [
        ("", "difference", "", "", "", ""),
        (
            f"{score} of",
            unit.heading("", is_gain=True),
            *("interval", "least", "superior", "verdict"),
        ),
    ]
    body = [
        (
            pair(row),
            unit.bare.gain(row.mean),
            interval(row, unit.bare),
            unit.bare.gain(row.worst),
            win_rate(row),
            row.verdict or "no claim",
        )
        for row in rows
    ]
    known = [f"paired by {per}" if per else "not paired"]
    if margin is not None:
        shown = unit.margin(margin)
        known.append(f"equivalent: within {shown}")
        if any(row.verdict == "not worse" for row in rows):
            known.append(f"not worse: above {shown.replace('±', '-')}")
    each = "" if all(math.isnan(row.win_rate_low) for row in rows) else ", 95% each"
    of = f"{per}s" if per else "all pairs of values"
    known.append(f"superior: share of {of}, ties half{each}")
    notes = ["; ".join(known)]
    for note in (f"least: the smallest difference; {scope(rows, per)}", intervals):
        notes += textwrap.wrap(note, 98)
    for reason in dict.fromkeys(row.reason for row in rows if row.reason):
        pairs = [pair(row) for row in rows if row.reason == reason]
        of = f"{', '.join(pairs)}: " if len(pairs) < len(rows) else ""
        notes += textwrap.wrap(f"{of}{reason}", 98)
    return [*aligned(header, body), *notes]


def aligned(header: Sequence[Sequence[str]], body: Sequence[Sequence[str]]) -> list[str]:
    """Return a table's lines, the first column to the left and all others to the right."""
    rows = [*header, *body]
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    cells = [(row[0].ljust(first), *map(str.rjust, row[1:], others)) for row in rows]
    lines = ["  ".join(row).rstrip() for row in cells]
    rule = "-" * max(map(len, lines))
    return [*lines[: len(header)], rule, *lines[len(header) :], rule]


def pair(row: PairedDifference) -> str:
    """Return which two arms a difference is of."""
    return f"{shortened(row.arm, 14)} - {shortened(row.other, 14)}"


def shortened(label: str, width: int) -> str:
    """Return a label that is at most so wide."""
    label = printable(label)
    return label if len(label) <= width else f"{label[: width - 1]}…"


def mean_and_std(row: pd.Series[float], name: str, unit: Unit) -> str:
    """Return a mean of a table with its standard deviation, as text without the unit."""
    mean, std, shown = row[name], row.get(f"{name}_std", math.nan), unit.bare
    said = shown.gain(mean) if "gain" in name else shown.value(mean)
    return said if math.isnan(std) else f"{said} ± {shown.value(std)}"
