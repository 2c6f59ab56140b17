"""The result of ``luck``: the gain that chance alone produces."""

from __future__ import annotations

import math

import numpy as np
import pytest
from snapshots import assert_surfaces

from adnn_optuna.results.luck import Luck


def test_surfaces_of_luck() -> None:
    assert_surfaces("luck", Luck(51, 0.0127, 0.0402, 10))


def test_luck_of_observed_runs_is_said_to_be_too_small() -> None:
    rng = np.random.default_rng(0)
    gains = [Luck(50, None, values=rng.normal(size=50).tolist()).expected for _ in range(200)]
    assert np.mean(gains) < Luck(50, 1.0).expected - 0.1
    runs = np.linspace(0.8, 0.9, 40).tolist()
    assert "these numbers are too small" in _line(Luck(10, None, values=runs))
    assert "too small" not in _line(Luck(10, 1.0))


def _line(luck: Luck) -> str:
    return " ".join(str(luck).split())


@pytest.mark.parametrize(
    ("luck", "chances"),
    [
        # 1 - Φ(2)^20 = 1 - 0.97725^20. The value 0.45 is from a simulation.
        (Luck(20, 1.0, 2.0), {"mean": 0.3689, "one": 0.4500}),
        # 1 - Φ(1)^3 = 1 - 0.84134^3. One of three draws beats the single baseline in 3 of 4 cases.
        (Luck(3, 0.5, 0.5), {"mean": 0.4044}),
        (Luck(3, 0.5, 0.0), {"one": 0.75}),
    ],
)
def test_a_claimed_gain_has_a_probability(luck: Luck, chances: dict[str, float]) -> None:
    for baseline, chance in chances.items():
        assert {**luck.chances}[baseline] == pytest.approx(chance, abs=1e-4)
    [table] = luck.document().tables
    assert [row[1] for row in table.rows] == [f"{c:.2f}" for c in luck.chances.values()]


@pytest.mark.parametrize(("claimed", "chance"), [(0.0, ">0.99"), (9.0, "<0.01")])
def test_no_probability_is_printed_as_certain(claimed: float, chance: str) -> None:
    [table] = Luck(51, 1.0, claimed).document().tables
    assert table.rows[0][1] == chance


def test_the_gain_of_the_paper_is_likely_by_luck_in_ten_searches() -> None:
    # MNIST-2 gained 4.02 pp in 51 draws. In its logs, one file per δ, the deviation is 0.0127.
    [table] = Luck(51, 0.0127, 0.0402, 10).document().tables
    assert table.headings[2] == "in at least one of 10"
    assert table.rows[1] == ("over one baseline run", "0.20", "0.90")


def test_an_invalid_gain_or_number_of_searches_is_refused() -> None:
    with pytest.raises((TypeError, ValueError), match="claimed must be a finite"):
        str(Luck(3, 0.5, math.nan))
    with pytest.raises(ValueError, match="files must be"):
        str(Luck(3, 0.5, 0.5, files=0))
