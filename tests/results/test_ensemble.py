"""Ensembles: their numbers, and claims that are true as often as their CI promises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from snapshots import assert_surfaces

import adnn_optuna as adnn
from adnn_optuna.networks.network import Head
from adnn_optuna.results.ensemble import EnsembleScores
from adnn_optuna.stats.example_scores import gain_of_average

if TYPE_CHECKING:
    from adnn_optuna._units import Estimate


def facts_of(predicted: list[np.ndarray], y: Any, **options: Any) -> EnsembleScores:
    """Return what is known of networks, by what they predict for test examples with labels y."""
    x = np.arange(len(y), dtype=np.float32)[:, np.newaxis]
    task = options.pop("task", "classification")
    data = adnn.Dataset.from_arrays(x, y, x_val=x, y_val=y, x_test=x, y_test=y, task=task)
    seeds = tuple(range(options.pop("n", len(predicted))))
    return EnsembleScores(
        options.pop("evaluations", {(seed,): 0.5 for seed in range(len(predicted))}),
        "ensemble",
        seeds,
        Head(data.num_classes, predicted[0].shape[1] if predicted else 2),
        data,
        dict(enumerate(predicted)),
    )


def said(facts: EnsembleScores) -> str:
    """Return what an ensemble prints, as one line."""
    return " ".join(str(facts).split())


def test_an_average_that_gains_nothing_is_seldom_called_better() -> None:
    rng = np.random.default_rng(0)
    n, n_better, n_worse, repetitions = 200, 0, 0, 400
    y = np.tile([0, 1], n // 2)
    facts = facts_of([np.eye(2)[y]] * 2, y)
    for _ in range(repetitions):
        # Of two, the average says what the surer one does, which knows no more than the other.
        difficulty = rng.beta(4, 1, n)
        right = rng.random((2, n)) < difficulty
        sure = rng.uniform(0.5, 1, (2, n))
        of_true = np.where(right, sure, 1 - sure)
        chances = [np.stack([np.where(y == c, p, 1 - p) for c in (0, 1)], 1) for p in of_true]
        known = EnsembleScores(
            facts.evaluations, "e", (0, 1), facts.head, facts.dataset, dict(enumerate(chances))
        )
        document = known.document()
        n_better += "is better than the mean" in document.conclusion
        n_worse += "is worse than the mean" in document.conclusion
        assert document.verdict in ("better", "worse", "not shown")
    assert (n_better + n_worse) / repetitions < 0.075


def test_numbers_are_those_of_the_predictions() -> None:
    y = np.array([0, 1, 0, 1])
    first = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.1, 0.9]])
    second = np.array([[0.2, 0.8], [0.1, 0.9], [0.7, 0.3], [0.3, 0.7]])
    facts = facts_of([first, second], y)
    assert facts.members == (0.75, 0.75)
    # Together: .55, .35, .75 and .2 for the first class.
    assert facts.score == 1.0
    assert facts.gain.value == pytest.approx(0.25)
    assert facts.disagreement == pytest.approx(0.5)
    assert facts.scores_by_number == [0.75, 1.0]
    assert "disagreement 50.0% of 4 test examples" in said(facts)


def test_a_regression_is_told_in_its_own_terms() -> None:
    y = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    networks = [y[:, None] + d for d in (0.5, -0.5, 0.3)]
    facts = facts_of(networks[:2], y, task="regression")
    assert facts.score == pytest.approx(1.0)
    assert facts.members == pytest.approx((0.8, 0.8))
    assert facts.disagreement == pytest.approx(0.8)
    assert "average 1.0000 test R²" in said(facts)
    assert "gain +0.2000 average over mean network" in said(facts)
    assert "No CI of the gain yet: three networks are needed." in said(facts)
    assert "disagreement 0.800 target variances" in said(facts)
    three = facts_of(networks, y, task="regression")
    assert "gain +0.1493 (95% CI" in said(three)
    assert "is better than the mean single network" in said(three)
    assert facts_of([networks[0]] * 3, y, task="regression").gain == (0, 0, 0)


def test_a_network_that_diverged_is_omitted_and_counted() -> None:
    y = np.tile([0, 1], 4)
    right = np.eye(2)[y] * 0.8 + 0.1
    known = {(0,): 1.0, (1,): 1.0, (2,): math.nan}
    facts = facts_of([right, right], y, evaluations=known, n=3)
    assert facts.missing == []
    assert "1 of 3 training runs diverged and are omitted." in said(facts)
    assert "not shown to be better than the mean single network" in said(facts)
    waiting = facts_of([right, right], y, n=4).document()
    assert waiting.conclusion.endswith("More networks follow: 2 of 4 training runs are made.")
    assert "make the same call again" in waiting.next_step


def test_of_one_network_nothing_is_known() -> None:
    y = np.tile([0, 1], 4)
    one = facts_of([np.eye(2)[y] * 0.8 + 0.1], y, n=2).document()
    assert (one.verdict, one.estimates) == ("not known", ())
    assert one.conclusion.endswith("not known yet: 1 of 2 training runs are made.")


def test_surfaces() -> None:
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 50)
    chances = rng.uniform(0, 1, (3, 100)) * 0.5 + 0.4 * y
    assert_surfaces("ensemble", facts_of([np.stack([1 - p, p], 1) for p in chances], y))


class TestAverageOfNumbers:
    """Networks of a regression that differ in a few directions, or at each example."""

    HEAD = Head(None, 1)

    def gain(self, rng: np.random.Generator, n_networks: int, n: int, world: str) -> Estimate:
        x = rng.normal(size=(n, 5))
        truth = x[:, 0] + np.sin(2 * x[:, 1])
        if world == "few directions":
            directions = np.stack([x[:, 2], np.cos(x[:, 3]), x[:, 4] ** 2 - 1, np.ones(n)])
            apart = rng.normal(size=(n_networks, 4)) * [0.4, 0.3, 0.2, 0.1] @ directions
        else:
            apart = 0.4 * rng.normal(size=(n_networks, n))
        if world == "skewed targets":
            truth, apart = np.exp(truth / 1.5), apart * np.exp(truth / 3)
        y = truth + 0.5 * rng.normal(size=n)
        p = (truth + apart)[:, :, np.newaxis]
        without = [self.HEAD.scores((p.sum(axis=0) - of) / (n_networks - 1), y) for of in p]
        alone = np.stack([self.HEAD.scores(of, y) for of in p])
        return gain_of_average(self.HEAD.scores(p.mean(axis=0), y), alone, np.stack(without))

    def test_is_known_from_three_networks_that_differ(self) -> None:
        gains = [self.gain(np.random.default_rng(0), k, 100, "independent") for k in (2, 3)]
        assert [math.isnan(low) for _, low, _ in gains] == [True, False]
        two_equal = np.array([[0.5, 0.6], [0.5, 0.6], [0.1, 0.2]])
        without = np.array([[0.45, 0.5], [0.45, 0.5], [0.5, 0.6]])
        found = gain_of_average(np.array([0.5, 0.55]), two_equal, without)
        assert (found.low, found.high) == (0, math.inf)

    @pytest.mark.slow
    @pytest.mark.parametrize("world", ["few directions", "independent", "skewed targets"])
    @pytest.mark.parametrize(("n_networks", "n"), [(3, 300), (5, 100), (5, 1000), (20, 300)])
    def test_is_covered(self, n_networks: int, n: int, world: str) -> None:
        rng = np.random.default_rng(n)
        found = np.array([self.gain(rng, n_networks, n, world) for _ in range(1000)])
        truth = found[:, 0].mean()
        # Of difference_from_mean, it was 0.65 to 0.97.
        assert ((found[:, 1] <= truth) & (truth <= found[:, 2])).mean() >= 0.93
