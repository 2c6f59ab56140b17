"""How far a value varies, and from what: simulations of known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_facts import SOURCES, draw, measured, of_accuracies, with_seed_in_use
from scipy import stats

from adnn_optuna.reporting.findings import variance_text
from adnn_optuna.results.variance import ALL, VarianceFacts, spread_of


def test_parts_of_known_sources_are_in_their_intervals() -> None:
    # Of a² + b² + (ab)², with a of variance 4, b of 1 and ab of 1.
    truth = {"initialisation": math.sqrt(5), "order": math.sqrt(2), "split": 0.5}
    truth[ALL] = math.sqrt(6.25)
    inside, shares, means = [], [], []
    for i in range(80):

        def f(a: int, b: int, c: int) -> float:
            x, y, z = draw(a, 0), draw(b, 1), draw(c, 2)
            return 2 * x + y + x * y + z / 2

        table = measured(f, name=f"{i}").to_dataframe()
        inside.append([table["low"][s] <= sd <= table["high"][s] for s, sd in truth.items()])
        share = (table["low"] * 0 + [sd**2 / 6.25 for sd in truth.values()]).clip(upper=1)
        shares.append((table["share_low"] <= share) & (share <= table["share_high"]))
        means.append(table["sd"] ** 2)
    assert np.min(np.mean(inside, axis=0)) >= 0.82  # Of products, which are not normal.
    assert np.min(np.mean(shares, axis=0)) >= 0.9
    assert np.mean(means, axis=0) == pytest.approx([sd**2 for sd in truth.values()], rel=0.2)


@pytest.mark.parametrize("differences", [True, False])
def test_interval_of_a_standard_deviation_covers_it(differences: bool) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        values = rng.standard_normal(20)
        if differences:
            values -= rng.standard_normal(20)
        spread = spread_of(values, are_differences=differences)
        covered.append(spread.low <= 1 <= spread.high)
    assert 0.93 <= np.mean(covered) <= 0.96


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=30),
    st.floats(0.001, 1000),
    st.booleans(),
)
def test_spread_scales_with_the_values_and_is_in_its_interval(
    values: list[float], scale: float, differences: bool
) -> None:
    array = np.array(values)
    spread, scaled = (spread_of(a, are_differences=differences) for a in (array, scale * array))
    assert spread.low <= spread.sd * (1 + 1e-9)
    assert spread.high >= spread.sd * (1 - 1e-9)
    if spread.sd > 1e-3:
        assert scaled == pytest.approx(tuple(scale * x for x in spread), rel=1e-6)


@pytest.mark.parametrize("n", [5, 6, 20])
def test_spread_is_that_of_bonett(n: int) -> None:
    values = np.random.default_rng(n).exponential(size=n)
    z = stats.norm.isf(0.025)
    center = stats.trim_mean(values, 0.5 / math.sqrt(n - 4))
    kurtosis = n * np.sum((values - center) ** 4) / np.sum((values - values.mean()) ** 2) ** 2
    c = n / (n - z)
    error = c * math.sqrt((kurtosis - (n - 3) / n) / (n - 1))
    variances = [1, c * math.exp(-z * error), c * math.exp(z * error)] * np.array(
        values.var(ddof=1)
    )
    assert spread_of(values) == pytest.approx(tuple(np.sqrt(variances)))


def test_spread_of_differences_is_that_of_one_of_the_two() -> None:
    d, n, z = np.array([1.0, -2.0, 0.5, 3.0, -0.5, 2.0]), 6, stats.norm.isf(0.025)
    # The mean is known to be 0, so no degree of freedom is lost: Σd² = 18.5, Σd⁴ = 114.125.
    c = n / (n - z)
    error = c * math.sqrt((n * 114.125 / 18.5**2 - 0.5) / n)
    variances = [
        18.5 / 12 * factor for factor in (1, c * math.exp(-z * error), c * math.exp(z * error))
    ]
    spread = spread_of(d, are_differences=True)
    assert spread == pytest.approx(tuple(map(math.sqrt, variances)))
    # Also where all are alike, unless they are nothing.
    alike = spread_of(np.full(5, -3.0), are_differences=True)
    assert alike.sd == pytest.approx(3 / math.sqrt(2))
    assert 0 < alike.low < alike.sd < alike.high
    for nothing in (
        spread_of(np.zeros(5), are_differences=True),
        spread_of(np.full(5, -3.0)),
    ):
        assert nothing == (0, 0, 0)
    for are_differences in (False, True):
        assert np.isnan(spread_of(d[:4], are_differences=are_differences)).all()


def test_numbers_of_two_of_three_sources() -> None:
    found = of_accuracies()
    shown = (
        "VarianceFacts(study_name='study', value_name='val_accuracy', sources=('initialisation', "
    )
    assert repr(found).startswith(shown)
    assert "Spread" not in repr(found)
    assert found.n_evaluations == 1 + 20 * 4
    table = found.to_dataframe()
    sds = {source: found.parts[source].sd for source in SOURCES} | {ALL: found.total.sd}
    assert table["sd"].to_dict() == sds
    assert found.total.sd == pytest.approx(found.values.std(ddof=1))
    for source, row in found.differences.items():
        assert sds[source] == pytest.approx(math.sqrt(np.mean(row**2) / 2))
    share = (sds["order"] / found.total.sd) ** 2
    ends = [found.parts["order"], found.total]
    width = math.sqrt(sum(math.log(s.high / s.low) ** 2 for s in ends))
    assert table.loc["order", ["share", "share_low", "share_high"]].tolist() == pytest.approx(
        [share, share * math.exp(-width), share * math.exp(width)]
    )
    assert found.least_difference == pytest.approx(2.093024 * math.sqrt(2) * found.total.sd)


def test_two_runs_differ_by_more_than_said_in_a_twentieth_of_cases() -> None:
    rng = np.random.default_rng(1)
    limits = [
        measured(lambda a, b, c: draw(a, 0), n=10, name=f"{i}").least_difference
        for i in range(200)
    ]
    pairs = np.abs(np.subtract(*rng.standard_normal((2, 200, 50))))
    assert 0.03 < np.mean(pairs > np.array(limits)[:, np.newaxis]) < 0.07


def test_seed_in_use_is_none_of_the_runs_and_its_luck_is_told() -> None:
    found = with_seed_in_use(maximize=True)
    assert len(found.values) == 10
    assert 0.95 not in found.values
    assert found.own_luck == pytest.approx((0.95 - found.values.mean()) / found.values.std(ddof=1))
    unlucky = with_seed_in_use(maximize=False)
    assert unlucky.own_luck == -found.own_luck


def test_lost_runs_are_left_out_and_counted() -> None:
    lost = measured(lambda a, *_: math.nan if a % 4 else draw(a, 0), n=30)
    assert 0 < lost.n_lost == sum(map(math.isnan, lost.evaluations.values())) < 120
    assert len(lost.values) == sum(e[0] % 4 == 0 for e in [*lost.evaluations][::4])


def test_single_source_is_all_sources_and_two_are_two() -> None:
    one = VarianceFacts({}, "s", "v", ("only",), 6, None, True)
    assert (len(one.missing), one.n_evaluations) == (6, 6)
    values = dict(zip(one.missing, [1.0, 2.0, 4.0, 3.0, 1.0, 5.0], strict=True))
    one = VarianceFacts(values, "s", "v", ("only",), 6, None, True)
    assert one.parts["only"] == one.total
    assert one.to_dataframe()["share"].tolist() == [1.0, 1.0]
    arguments = ("s", "v", ("a", "b"), 5, None, True)
    wanted = VarianceFacts({}, *arguments).missing
    two = VarianceFacts({e: float(e[0] % 97) for e in wanted}, *arguments)
    assert len(wanted) == 15
    assert two.parts["a"].sd > 0
    assert two.parts["b"] == (0, 0, 0)
    # Each source is redrawn alone.
    for run, first, second in zip(wanted[::3], wanted[1::3], wanted[2::3], strict=True):
        assert (first[0] != run[0], first[1]) == (True, run[1])
        assert (second[0], second[1] != run[1]) == (run[0], True)


@pytest.mark.parametrize("sources", [("seed",), SOURCES])
def test_what_never_varies_has_no_shares(sources: tuple[str, ...]) -> None:
    arguments = ("s", "v", sources, 5, None, True)
    found = VarianceFacts(dict.fromkeys(VarianceFacts({}, *arguments).missing, 0.5), *arguments)
    assert found.total.sd == 0
    assert found.to_dataframe()["share"].isna().all()
    lines = variance_text(found).splitlines()
    rows = [line for line in lines if line.startswith((*sources, "all together"))]
    assert len(rows) == len(found.to_dataframe())
    assert not [row for row in rows if "nan" in row or "%" in row]
