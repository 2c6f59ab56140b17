"""Tables as text, and how the numbers of a result stand in them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adnn_optuna._units import Unit, printable, score_in_words
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.numbers import NUMBERS, Number
from adnn_optuna.evidence.paired_differences import PairedDifference
from adnn_optuna.reporting.claims import interval, scope, superiority

if TYPE_CHECKING:
    import pandas as pd


def numbers_at(place: str) -> list[Number]:
    """Return the numbers that are shown in a place."""
    return [number for number in NUMBERS if place in number.shown]


def filled(text: str, number: Number, record: SearchRecord, *, with_unit: bool = True) -> str:
    """Return the heading or the label of a number, with what its braces stand for."""
    unit = number.unit_of(record).heading("", is_gain=number.is_gain) if with_unit else ""
    score = score_in_words(record.test_metric)
    lines = text.format(metric=printable(record.metric), score=score, unit=unit).split("\n")
    return "\n".join(" ".join(line.split()) for line in lines)


def told(number: Number, value: float, record: SearchRecord) -> str:
    """Return a number as text, with its unit."""
    unit = number.unit_of(record)
    return unit.gain(value) if number.is_gain else unit.value(value)


def what_is_shown(n: int, per: str = "seed") -> str:
    """Return what the numbers of a table are, by the number of seeds."""
    return f"mean ± standard deviation over {n} {per}s" if n > 1 else f"one {per}"


def verdict_lines(
    rows: Sequence[PairedDifference],
    score: str,
    equivalence: float | None,
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
            unit.bare.gain(row.smallest),
            superiority(row),
            row.verdict or "no claim",
        )
        for row in rows
    ]
    known = [f"paired by {per}" if per else "not paired"]
    if equivalence is not None:
        known.append(f"equivalent: within {unit.margin(equivalence)}")
    each = "" if all(math.isnan(row.superiority_low) for row in rows) else ", 95 % each"
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
