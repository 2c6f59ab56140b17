"""The sentence on what luck alone brings."""

from __future__ import annotations

import math

import pytest

from adnn_optuna.reporting.luck import luck_in_words


def test_luck_in_words_tells_how_likely_a_gain_is() -> None:
    # 1 - Φ(2)^20 = 1 - 0.97725^20.
    assert luck_in_words(20, 1.0, 2.0) == (
        "By luck alone the best of 20 equally good draws with a standard deviation of 1 is "
        "expected to be 1.867 better than the mean, and 2 or more with probability 0.37."
    )
    assert luck_in_words(1, 0.5) == (
        "By luck alone one draw with a standard deviation of 0.5 is expected to be 0 better than "
        "the mean."
    )
    # 1 - Φ(1)^3 = 1 - 0.84134^3.
    assert luck_in_words(3, 0.5, 0.5).endswith(", and 0.5 or more with probability 0.4.")
    assert luck_in_words(3, 0.5, 0.0).endswith(", and 0 or more with probability 0.88.")
    with pytest.raises((TypeError, ValueError), match="`claimed` must be a finite"):
        luck_in_words(3, 0.5, math.nan)
