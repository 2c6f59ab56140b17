"""The sentences, the table and the figure of variances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from known_facts import SOURCES, draw, measured, of_accuracies, with_seed_in_use

from adnn_optuna.reporting.findings import (
    variance_caveat,
    variance_claim,
    variance_figure,
    variance_page,
    variance_text,
)
from adnn_optuna.results.variance import ALL, VarianceFacts

PRINTED = """\
From run to run val_accuracy has a standard deviation of 1.08 pp (0.813 to 1.58); two single runs
that differ by less than 3.19 pp show no difference. Seed 7, the one in use, came to 92.00%:
lucky by 1.8 standard deviations.

source                 standard deviation  share of the variance
----------------------------------------------------------------
initialisation   0.908 pp (0.721 to 1.27)       71 % (30 to 100)
order           0.213 pp (0.181 to 0.278)           4 % (2 to 9)
split                       0 pp (0 to 0)           0 % (0 to 0)
all together      1.08 pp (0.813 to 1.58)
----------------------------------------------------------------
Of 20 runs with all sources drawn afresh, intervals of 95%. Each source is redrawn alone, with
its interactions, so shares need not add up to 100%. Where redrawing split changed nothing, it
may in up to 14% of runs."""


def test_whole_text() -> None:
    assert variance_text(of_accuracies()) == PRINTED


def test_luck_of_the_seed_in_use_is_told() -> None:
    said = variance_claim(with_seed_in_use(maximize=True))
    assert "Seed 3, the one in use, came to 95.00%: lucky by" in said
    assert "unlucky" in variance_claim(with_seed_in_use(maximize=False))


def test_says_what_is_not_known_nothing_varies_or_is_lost() -> None:
    said = "How far v varies is not known yet, with 0 of 80 runs made. The same call goes on."
    assert variance_text(VarianceFacts({}, "s", "v", SOURCES, 20, None, True)) == said
    none = measured(lambda *_: math.nan)
    said = "How far value varies is not known yet, with 80 of 80 runs made: too few have a value."
    assert variance_text(none) == said
    assert variance_page(none).content["tables"] == ()
    same = "All 20 runs came to the same value, but up to 14% of all runs may differ."
    assert variance_claim(measured(lambda *_: 0.5)) == same
    assert variance_text(measured(lambda *_: 0.5)).startswith(same)
    lost = measured(lambda *e: math.nan if e[0] % 4 else draw(sum(e), 0), n=30)
    n_lost = sum(map(math.isnan, lost.evaluations.values()))
    assert variance_caveat(lost) == (
        f"Of {len(lost.values)} runs with all sources drawn afresh, intervals of 95%. Each "
        "source is redrawn alone, with its interactions, so shares need not add up to 100%. "
        f"{n_lost} of 120 runs came to no value and are left out, so it is the variance of those "
        "that succeed."
    )


def test_a_source_that_changed_nothing_may_yet_do_so() -> None:
    said = "Where redrawing order and split changed nothing, it may in up to 45% of runs."
    assert said in variance_caveat(measured(lambda a, *_: draw(a, 0), n=5))
    for all_or_none in (lambda *e: draw(sum(e), 0), lambda *_: 0.5):
        assert "changed nothing" not in variance_caveat(measured(all_or_none, n=5))


def test_figure_shows_deviations_and_the_seed_in_use() -> None:
    found = of_accuracies()
    figure = variance_figure(found)
    assert [*figure.layout.yaxis.ticktext] == [*SOURCES, ALL]
    runs = [trace for trace in figure.data if trace.name == "" and trace.opacity != 1]
    points = [np.array(trace.x) for trace in runs if len(trace.x) == 20]
    for source, shown in zip(SOURCES, points, strict=False):
        np.testing.assert_allclose(
            shown, 100 * found.differences[source] / math.sqrt(2), atol=1e-6
        )
    np.testing.assert_allclose(points[-1], 100 * (found.values - found.values.mean()), atol=1e-6)
    [own] = [trace for trace in figure.data if trace.name == "the seed in use"]
    assert [*own.x] == pytest.approx([100 * (0.92 - found.values.mean())])


def test_values_that_are_no_accuracies_have_no_percent() -> None:
    found = of_accuracies("loss")
    assert "Seed 7, the one in use, came to 0.92: lucky by" in variance_claim(found)
    assert "has a standard deviation of 0.0108 (0.00813 to 0.0158); two" in variance_claim(found)


def test_single_source_is_drawn_once() -> None:
    arguments = ("s", "v", ("only",), 6, None, True)
    wanted = VarianceFacts({}, *arguments).missing
    one = VarianceFacts({e: float(i) for i, e in enumerate(wanted)}, *arguments)
    assert [len(t.x) for t in variance_figure(one).data if not t.name] == [6]
    assert variance_caveat(one) == "Of 6 runs with all sources drawn afresh, intervals of 95%."
    assert "redrawn alone" not in variance_page(one).render()
