"""Parts of sentences."""

from __future__ import annotations

import math
from typing import Any

from adnn_optuna._units import ACCURACY, PLAIN
from adnn_optuna.reporting import parts
from adnn_optuna.stats.paired_differences import PairedDifference


def difference(**changes: Any) -> PairedDifference:
    settings: dict[str, Any] = {"arm": "a", "other": "b", "n_pairs": 8, "verdict": "inconclusive"}
    settings |= {"mean": 0.01, "low": -0.002, "high": 0.02}
    settings |= {"win_rate": 0.625, "win_rate_low": 0.245, "win_rate_high": 0.915}
    return PairedDifference(**{**settings, **changes})


def test_parts_of_sentences() -> None:
    assert parts.interval(difference(), ACCURACY) == "-0.20 to +2.00 pp"
    assert parts.interval(difference(), PLAIN) == "-0.0020 to +0.0200"
    assert ACCURACY.interval(-1e-9, -0.0) == "-0.00 to +0.00 pp"
    infinite = difference(low=-math.inf, high=math.inf)
    assert parts.interval(infinite, ACCURACY) == "none"
    assert parts.with_interval(infinite, ACCURACY) == "no interval yet"
    # Of pairs that contradict each other; more pairs bring none back.
    assert parts.with_interval(difference(low=math.nan, high=math.nan), PLAIN) == "no interval"
    ends = (
        ACCURACY.interval_of(0.01, 0.025, 0.975),
        PLAIN.interval_of(0.5, 0.75, 0.95, is_gain=False),
    )
    assert ends == ("97.5% interval +1.00 to +2.50 pp", "95% interval 0.5000 to 0.7500")
    assert parts.with_interval(difference(), ACCURACY) == "interval -0.20 to +2.00 pp"
    least = difference(smallest=-0.004)
    assert parts.with_interval(least, ACCURACY) == "interval -0.20 to +2.00 pp, smallest -0.40 pp"
    assert parts.unseen(5) == (
        "5 seeds: what befalls fewer than 45% of seeds may not have been seen"
    )
    assert parts.win_rate(difference()) == "62 % (24 to 92)"
    unknown = {"win_rate_low": math.nan, "win_rate_high": math.nan}
    assert parts.win_rate(difference(**unknown)) == "62%"
    assert parts.win_rate(difference(n_pairs=0)) == "unknown"
    assert [parts.listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert parts.interval_in_words({"searchers": 3, "controls": 0}, sequential=False) == (
        "interval: 95% for the 3 claims on searchers together, from inverted sign flips, for the "
        "planned seeds"
    )
    assert parts.interval_in_words({"searchers": 1, "controls": 2}, sequential=True) == (
        "interval: 95% for the claim on searchers and the 2 claims on controls together, from an "
        "e-process: holds however often one looks and adds seeds"
    )
