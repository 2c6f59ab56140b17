"""Tables as text and as data frames."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from adnn_optuna._units import ACCURACY, PLAIN
from adnn_optuna.reporting import parts
from adnn_optuna.stats.paired_differences import PairedDifference

ROWS = [
    PairedDifference("one", "two", 8, 0.0123, 0.001, 0.02, 1.0, 0.631, 1.0, "better", "", 0.004),
    PairedDifference(
        *("a name that is long", "18 characters long", 3, *[math.nan] * 3, 0.5),
        *(math.nan, math.nan, None, "too few"),
    ),
]


PRINTED = """\
                                 difference
test accuracy of                       [pp]        interval    least           superior   verdict
-------------------------------------------------------------------------------------------------
one - two                             +1.23  +0.10 to +2.00    +0.40  100 % (63 to 100)    better
a name that i… - 18 characters…     unknown            none  unknown               50%  no claim
-------------------------------------------------------------------------------------------------
paired by seed; equivalent: within ±0.5 pp; superior: share of seeds, ties half, 95% each
least: the smallest difference; each verdict is on the mean difference; 3 seeds: what befalls
fewer than 63% of seeds may not have been seen
interval: of many words of many words of many words of many words of many words of many words of
many words of many words
too few"""


def test_whole_text() -> None:
    interval = "interval: " + "of many words " * 8
    lines = parts.verdict_lines([*ROWS, ROWS[1]], "test accuracy", 0.005, interval, unit=ACCURACY)
    twice = PRINTED.splitlines()
    assert lines[:-1] == [*twice[:5], *twice[4:-1]]
    of = "a name that i… - 18 characters…"
    assert lines[-1] == f"{of}, {of}: too few"  # A reason is given once.
    lines = parts.verdict_lines([ROWS[1]], "test accuracy", 0.005, interval, unit=ACCURACY)
    assert lines[-1] == "too few"
    lines = parts.verdict_lines(ROWS, "test R²", None, interval, unit=PLAIN, per="fold")
    assert "test R² of" in lines[1]
    assert "one - two" in lines[3]
    assert "+0.0123" in lines[3]
    assert "paired by fold; superior: share of folds, ties half, 95% each" in lines
    lines = parts.verdict_lines(ROWS, "value", 0.1, interval, unit=PLAIN, per="")
    assert (
        "not paired; equivalent: within ±0.1; superior: share of all pairs of values, ties half, "
        "95% each" in lines
    )


def test_columns_are_aligned_below_their_headings() -> None:
    assert parts.aligned([("x", "yy")], [("aaa", "b"), ("a", "bbb")]) == [
        "x     yy",
        "--------",
        "aaa    b",
        "a    bbb",
        "--------",
    ]


def test_labels_are_cut_where_they_are_too_long() -> None:
    assert parts.shortened("abcde", 5) == "abcde"
    assert parts.shortened("abcdef", 5) == "abcd…"


def test_means_with_and_without_a_spread() -> None:
    row: Any = pd.Series({"best": 0.9, "best_std": 0.012, "gain": 0.02, "gain_std": math.nan})
    assert parts.mean_and_std(row, "best", ACCURACY) == "90.00 ± 1.20"
    assert parts.mean_and_std(row, "gain", ACCURACY) == "+2.00"
    assert parts.mean_and_std(row, "best", PLAIN) == "0.9000 ± 0.0120"
    assert parts.what_is_shown(2) == "mean ± standard deviation over 2 seeds"
    assert parts.what_is_shown(1) == "one seed"
