"""Variances: simulations with known true values, and the sentences of results."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from snapshots import assert_states, assert_surfaces

from adnn_optuna.results.variance import ALL, Variance, VarianceNumbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from adnn_optuna.samplers._evaluations import Evaluation

SOURCES = ("initialisation", "order", "split")


def measured(
    f: Callable[..., float], n: int = 20, name: str = "study", value_name: str = "value"
) -> Variance:
    """Return the variance of a function that takes one seed per source."""
    arguments = (name, value_name, SOURCES, n, None, True)
    missing = of_runs({}, *arguments).numbers.missing
    return of_runs({e: f(*e) for e in missing}, *arguments)


def of_runs(evaluations: Mapping[Evaluation, float], *arguments: Any) -> Variance:
    return Variance(VarianceNumbers(evaluations, *arguments))


def with_numbers(found: Variance, **changes: Any) -> Variance:
    return Variance(dataclasses.replace(found.numbers, **changes))


def draw(seed: int, source: int) -> float:
    return float(np.random.default_rng([seed, source]).standard_normal())


def of_accuracies(value_name: str = "val_accuracy") -> Variance:
    """Return the variance of values that depend on two of three sources; seed 7 is in use."""
    arguments = ("study", value_name, SOURCES, 20, 7, True)
    missing = of_runs({}, *arguments).numbers.missing
    values = {e: 0.9 + 0.01 * draw(e[0], 0) + 0.002 * draw(e[1], 1) for e in missing}
    return of_runs({**values, missing[0]: 0.92}, *arguments)


def with_seed_in_use(*, maximize: bool) -> Variance:
    """Return the variance of ten runs; seed 3, with the high value 0.95, is in use."""
    arguments = ("study", "val_accuracy", SOURCES, 10, 3, maximize)
    missing = of_runs({}, *arguments).numbers.missing
    evaluations = {e: 0.9 + 0.01 * draw(sum(e) % 1000, 0) for e in missing}
    return of_runs({**evaluations, missing[0]: 0.95}, *arguments)


def test_intervals_contain_the_parts_of_known_sources() -> None:
    # The effects of the function have the variances 4, 1 and 0.25. The interaction has the
    # variance 1.
    truth = {"initialization": math.sqrt(5), "order": math.sqrt(2), "split": 0.5}
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
    # The intervals assume normal values, and products are not normal.
    assert np.min(np.mean(inside, axis=0)) >= 0.82
    assert np.min(np.mean(shares, axis=0)) >= 0.9
    assert np.mean(means, axis=0) == pytest.approx([sd**2 for sd in truth.values()], rel=0.2)


def test_the_numbers_of_two_active_sources_follow_from_their_definitions() -> None:
    variance = of_accuracies()
    assert variance.numbers.n_evaluations == 1 + 20 * 4
    table = variance.to_dataframe()
    sds = {source: variance.sd_by_source[source].value for source in SOURCES} | {
        ALL: variance.sd.value
    }
    assert [*table.index] == ["initialization", "order", "split", ALL]
    assert table["sd"].tolist() == [*sds.values()]
    assert variance.sd.value == pytest.approx(variance.numbers.run_values.std(ddof=1))
    for source, row in variance.numbers.differences.items():
        assert sds[source] == pytest.approx(math.sqrt(np.mean(row**2) / 2))
    share = (sds["order"] / variance.sd.value) ** 2
    ends = [variance.sd_by_source["order"], variance.sd]
    width = math.sqrt(sum(math.log(s.high / s.low) ** 2 for s in ends))
    assert table.loc["order", ["share", "share_low", "share_high"]].tolist() == pytest.approx(
        [share, share * math.exp(-width), share * math.exp(width)]
    )
    assert variance.critical_difference == pytest.approx(
        2.093024 * math.sqrt(2) * variance.sd.value
    )


def test_two_runs_exceed_the_critical_difference_in_a_twentieth_of_cases() -> None:
    rng = np.random.default_rng(1)
    limits = [
        measured(lambda a, b, c: draw(a, 0), n=10, name=f"{i}").critical_difference
        for i in range(200)
    ]
    pairs = np.abs(np.subtract(*rng.standard_normal((2, 200, 50))))
    assert 0.03 < np.mean(pairs > np.array(limits)[:, np.newaxis]) < 0.07


def test_scores_that_look_skewed_are_noted_and_normal_ones_rarely() -> None:
    skewed = measured(lambda a, b, c: math.exp(2 * draw(a, 0)))
    assert "The scores look skewed." in str(skewed)
    normal = [measured(lambda a, b, c: draw(a, 0), name=f"{i}") for i in range(100)]
    assert sum("skewed" in str(variance) for variance in normal) <= 5


def test_the_seed_in_use_is_compared_with_the_mean_of_the_other_runs() -> None:
    variance = with_seed_in_use(maximize=True)
    assert len(variance.numbers.run_values) == 10
    assert 0.95 not in variance.numbers.run_values
    assert variance.numbers.seed_z_score == pytest.approx(
        (0.95 - variance.numbers.run_values.mean()) / variance.numbers.run_values.std(ddof=1)
    )
    unlucky = with_seed_in_use(maximize=False)
    assert unlucky.numbers.seed_z_score == -variance.numbers.seed_z_score


def test_lost_runs_are_left_out_and_counted() -> None:
    lost = measured(lambda a, *_: math.nan if a % 4 else draw(a, 0), n=30)
    assert 0 < lost.numbers.n_lost == sum(map(math.isnan, lost.numbers.evaluations.values())) < 120
    assert len(lost.numbers.run_values) == sum(
        e[0] % 4 == 0 for e in [*lost.numbers.evaluations][::4]
    )


def test_one_source_has_all_the_variance_and_two_are_redrawn_separately() -> None:
    single = of_runs({}, "s", "v", ("only",), 6, None, True)
    assert (len(single.numbers.missing), single.numbers.n_evaluations) == (6, 6)
    values = dict(zip(single.numbers.missing, [1.0, 2.0, 4.0, 3.0, 1.0, 5.0], strict=True))
    single = of_runs(values, "s", "v", ("only",), 6, None, True)
    assert single.sd_by_source["only"] == single.sd
    assert single.to_dataframe()["share"].tolist() == [1.0, 1.0]
    arguments = ("s", "v", ("a", "b"), 5, None, True)
    missing = of_runs({}, *arguments).numbers.missing
    two = of_runs({e: float(e[0] % 97) for e in missing}, *arguments)
    assert len(missing) == 15
    assert two.sd_by_source["a"].value > 0
    assert two.sd_by_source["b"] == (0, 0, 0)
    # Each further run differs from the first run in one source.
    for run, first, second in zip(missing[::3], missing[1::3], missing[2::3], strict=True):
        assert (first[0] != run[0], first[1]) == (True, run[1])
        assert (second[0], second[1] != run[1]) == (run[0], True)


@pytest.mark.parametrize("sources", [("seed",), SOURCES])
def test_values_that_never_vary_have_no_shares(sources: tuple[str, ...]) -> None:
    arguments = ("s", "v", sources, 5, None, True)
    variance = of_runs(dict.fromkeys(of_runs({}, *arguments).numbers.missing, 0.5), *arguments)
    assert variance.sd.value == 0
    assert variance.to_dataframe()["share"].isna().all()
    tables = variance.document().tables
    # With a single source, there is no table, as its only row would repeat the numbers above.
    assert len(tables) == (len(sources) > 1)
    for table in tables:
        assert [row[0] for row in table.rows] == [*variance.to_dataframe().index]
        assert {cell for row in table.rows for cell in row[3:]} == {""}


def test_surfaces_of_a_variance() -> None:
    assert_surfaces("variance", of_accuracies())


def states() -> dict[str, Variance]:
    """Return variances in all states that have different sentences."""
    usual, arguments = of_accuracies(), ("s", "v", ("only",), 6, None, True)
    seeds = of_runs({}, *arguments).numbers.missing
    lost = measured(lambda *e: math.nan if e[0] % 2 else draw(sum(e), 0), n=30)
    run = [*usual.numbers.evaluations][1]  # The first evaluation belongs to the seed in use.
    collapsed = with_numbers(usual, evaluations={**usual.numbers.evaluations, run: 0.5})
    return {
        "a better seed in use": with_seed_in_use(maximize=True),
        "a worse seed in use": with_seed_in_use(maximize=False),
        "nothing yet": of_runs({}, "s", "v", SOURCES, 20, None, True),
        "all failed": measured(lambda *_: math.nan),
        "failed": lost,
        "failures that count": with_numbers(lost, failed=-1.0),
        "an outlier": collapsed,
        "a lucky run of a loss": with_numbers(collapsed, maximize=False),
        "two sources that changed nothing": measured(lambda a, *_: draw(a, 0), n=5),
        "all sources changed something": measured(lambda *e: draw(sum(e), 0), n=5),
        "nothing varies": measured(lambda *_: 0.5),
        "a part not redrawn": with_numbers(usual, not_redrawn=("the test split",)),
        "no accuracies": of_accuracies("loss"),
        "one source": of_runs({e: float(i) for i, e in enumerate(seeds)}, *arguments),
        "two values": of_runs({e: float(i % 2) for i, e in enumerate(seeds)}, *arguments),
        "at chance": with_numbers(usual, chance_limit=0.95),
        "better than chance": with_numbers(usual, chance_limit=0.85),
    }


def test_surfaces_of_states() -> None:
    assert_states("variance", states())


def test_failures_may_count_as_a_value() -> None:
    lost, counted = (states()[name] for name in ("failed", "failures that count"))
    assert len(counted.numbers.run_values) == 30
    assert counted.mean < lost.mean


def test_the_figure_shows_each_source_once() -> None:
    variance = of_accuracies()
    [figure] = variance.document().figures()
    assert figure.rows == ("initialization", "order", "split", ALL)
    sds = [*variance.sd_by_source.values(), variance.sd]
    rows = [(*series.x, *series.low, *series.high) for series in figure.series]
    np.testing.assert_allclose(rows, 100 * np.array(sds))
    assert figure.title.endswith(f" of {figure.series[-1].label}")
