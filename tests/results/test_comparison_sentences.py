"""The sentences of a comparison: when each one appears, and how often claims are false."""

from __future__ import annotations

import dataclasses
import functools
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from snapshots import assert_states, assert_surfaces
from stored_studies import (
    changed,
    declaration,
    four_arms,
    read_again,
    read_result,
    store_classes,
    store_comparison,
    store_head,
    store_study,
    store_test_evaluation,
    with_replication,
)

from adnn_optuna.api.stored import load_comparison
from adnn_optuna.experiments.controls import ARMS
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.declarations import declared_arm

CONTROLS = [name for name, arm in ARMS.items() if arm.is_control]


if TYPE_CHECKING:
    from collections.abc import Sequence

NOISE = np.random.default_rng(0).normal(0, 0.004, (4, 12))


def with_control(sampler: str, gains: Sequence[float], **others: Sequence[float]) -> Comparison:
    """Return a comparison whose arm ``mine`` is the named control."""
    comparison = store_comparison({**others, "mine": gains})
    for run in comparison.results["mine"]:
        changed(run, "adnn:search", sampler=sampler)
    return read_again(comparison)


GAINS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "better": ({"a": NOISE[0] + 0.02, "b": NOISE[1] + 0.03, "c": NOISE[3] + 0.01}, "better"),
    "all worse": ({"a": NOISE[0] - 0.02, "b": NOISE[1] - 0.03}, "worse"),
    "equivalent": ({"a": NOISE[2], "b": NOISE[2] - 0.01}, "equivalent"),
    "nothing shown": ({"a": NOISE[0]}, "inconclusive"),
    # A sampler that is shown to be better comes first, even if another sampler's mean is higher.
    "one better": ({"steady": NOISE[0] + 0.008, "noisy": 30 * NOISE[1] + 0.05}, "better"),
    # The verdict is "worse" only if every sampler is shown to be worse.
    "one worse": ({"worse": NOISE[0] - 0.01, "noisy": 30 * NOISE[1] - 0.03}, "inconclusive"),
}


@functools.cache
def of_gains(name: str) -> Comparison:
    return store_comparison({**GAINS[name][0], "random_restart": NOISE[2]})


def without_best_trials() -> Comparison:
    arms = {
        arm: [read_result(store_study(f"c/{arm}/seed=0", sampler=arm, values=[math.nan] * 3))]
        for arm in ("greedy", "random_restart")
    }
    for [record] in arms.values():
        record.study.set_user_attr("adnn:baseline", math.nan)
    return read_again(Comparison(arms, (0,)))


def interrupted() -> Comparison:
    """Return a comparison of three seeds whose last run was interrupted."""
    storage, arms = optuna.storages.InMemoryStorage(), ("greedy", "random_restart")
    store_head(storage, "c", declaration(range(3), *arms))
    for seed in range(3):
        for arm in arms:
            study = store_study(f"c/{arm}/{seed=}", sampler=arm, seed=seed, storage=storage)
    assert load_comparison(storage, "c").numbers.is_complete
    study.set_user_attr("adnn:stop_reason", "interrupted")
    return load_comparison(storage, "c")


def evaluated_again() -> Comparison:
    comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
    run = comparison.results["random_restart"][0]
    store_test_evaluation(run.study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
    # The two evaluations tested different best trials.
    run.study.enqueue_trial({})
    run.study.tell(run.study.ask(), 2.0)
    store_test_evaluation(run.study, "2026-11-25T14:00:00+00:00", 0.9, 0.005)
    return read_again(comparison)


def tried_on_new_seeds() -> Comparison:
    names = ("greedy", "mine", "rates", "random_restart")
    before = store_comparison(dict.fromkeys(names, NOISE[2]))
    assert before.numbers.replication == []
    for run in before.results["rates"]:
        changed(run, "adnn:search", sampler="learning_rate")
    gains = {"greedy": NOISE[0], "mine": NOISE[1] * 0, "rates": NOISE[3] + 0.05}
    return with_replication(before, gains)


def states() -> dict[str, Comparison]:
    """Return comparisons in all states that have different sentences."""
    comparisons = {name: of_gains(name) for name in GAINS}
    for control in CONTROLS:
        n = 8 if control == "longer" else 1
        gains = {"greedy": [0.02] * n, "random_restart": [0.01] * n}
        comparisons[control] = with_control(control, [0.07] * n, **gains)
    searched = {"greedy": NOISE[0] + 0.02, "random_restart": NOISE[2]}
    for constant in (0.03, 0.02, 0.0):
        comparison = with_control("constant", NOISE[3] + constant, **searched)
        comparisons[f"a constant of {constant}"] = comparison
    for n in (10, 11):
        arms = {
            name: [read_result(store_study(f"{name}/seed=0", sampler=name, values=[0.9] * n))]
            for name in ("tpe", "random_restart")
        }
        comparisons[f"{n} trials"] = Comparison(arms, (0,))
    two_arms = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
    ensemble = store_study("mine/seed=0", sampler="ensemble", gain=0.07, steps=(1, 2, 3))
    grouped = [changed(run, "adnn:test/", n_groups=800) for run in two_arms.results["greedy"]]
    gap = store_comparison({"greedy": [0.01] * 8, "random_restart": [0.0] * 8})
    attrs = gap.results["greedy"][2].record.attrs
    attrs.pop(next(name for name in attrs if name.startswith("adnn:test/")))
    uneven = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
    store_classes(uneven.results["greedy"][0].study, [970, 30])
    gains = {"greedy": [0.02] * 8, "random_restart": [0.01] * 8}
    return {
        **comparisons,
        "one seed": two_arms,
        "no best trial": without_best_trials(),
        "R²": store_comparison(gains, metric="val_r2"),
        "loss": store_comparison(gains, metric="val_loss"),
        "ensemble": Comparison({**two_arms.results, "mine": [read_result(ensemble)]}, (0,)),
        "new seeds": tried_on_new_seeds(),
        "better, but not on new seeds": with_replication(
            of_gains("one better"), {"steady": NOISE[0]}
        ),
        "not complete": interrupted(),
        "a run without a value": dataclasses.replace(gap),
        "one of many": dataclasses.replace(two_arms, like=tuple("abcdefg")),
        "tested again": evaluated_again(),
        "uneven classes": read_again(uneven),
        "groups": Comparison({**two_arms.results, "greedy": grouped}, (0,)),
    }


def test_surfaces_of_states() -> None:
    assert_states("comparison", states())


class TestVerdict:
    @pytest.mark.parametrize("name", GAINS)
    def test_is_that_of_the_best_sampler(self, name: str) -> None:
        comparison = of_gains(name)
        turned = dict(reversed(comparison.results.items()))
        for with_direction in (comparison, dataclasses.replace(comparison, results=turned)):
            assert with_direction.document().verdict == GAINS[name][1]

    def test_of_three_seeds_or_fewer_is_inconclusive(self) -> None:
        for n in (1, 3):
            gains = {"greedy": NOISE[0][:n] + 0.02, "random_restart": NOISE[1][:n]}
            document = store_comparison(gains).document()
            assert document.verdict == "inconclusive"
            assert document.estimates[0].ends == ""

    @pytest.mark.parametrize(("gains", "is_planned"), [(NOISE[2], False), (NOISE[0], True)])
    def test_leads_to_a_plan_only_if_differences_vary(
        self, gains: np.ndarray, *, is_planned: bool
    ) -> None:
        comparison = store_comparison({"a": gains, "random_restart": NOISE[2]}, margin=None)
        step = comparison.document().next_step
        assert ("plan" in step.python) == is_planned

    def test_leads_to_a_plan_for_the_margin(self) -> None:
        comparison = store_comparison({"a": NOISE[0], "random_restart": NOISE[2]}, margin=1e-4)
        assert comparison.document().next_step.python == "result.plan(gain=0.0001)"

    def test_is_not_known_without_a_reference_or_a_sampler(self) -> None:
        for arm in ("greedy", "random_restart"):
            assert store_comparison({arm: [0.01] * 2}).document().verdict == "not known"

    def test_is_not_known_without_a_best_trial(self) -> None:
        comparison = without_best_trials()
        assert comparison.document().verdict == "not known"
        assert "nan" not in str(comparison)

    def test_of_r2_has_no_percentage_points(self) -> None:
        gains = {"greedy": [0.02] * 8, "random_restart": [0.01] * 8}
        comparison = store_comparison(gains, metric="val_r2")
        text = str(comparison)
        assert not any(wrong in text for wrong in ("accuracy", " pp", "[%]"))

    def test_of_a_lower_loss_is_better(self) -> None:
        gains = {"greedy": [0.01] * 8, "random_restart": [0.0] * 8}
        assert store_comparison(gains, metric="val_loss").document().verdict == "better"


class TestReplication:
    @pytest.mark.slow
    def test_offsets_without_effect_are_seldom_said_to_replicate(self) -> None:
        rng, n_runs, n_shown = np.random.default_rng(0), 150, 0
        comparison = store_comparison(dict.fromkeys(("a", "b", "random_restart"), [0.0] * 8))
        for _ in range(n_runs):
            # Even if a best network gains nothing on new seeds, it gains on its own seed.
            gains = dict(zip("ab", rng.normal(0, 0.01, (2, 8)), strict=True))
            rows = with_replication(comparison, gains).numbers.replication
            n_shown += any(row.verdict == "better" for row in rows)
        assert n_shown / n_runs <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / n_runs)


def with_gains(gains: dict[str, np.ndarray], before: Comparison, **changes: Any) -> Comparison:
    """Return the given arms of a comparison, whose test values gain the given amounts."""
    for label, of_arm in gains.items():
        for run, gain in zip(before.results[label], of_arm, strict=True):
            [name] = [name for name in run.record.attrs if name.startswith("adnn:test/")]
            run.record.attrs[name] |= {"baseline": 0.9, "best": 0.9 + float(gain)}
    results = {label: before.results[label] for label in gains}
    return dataclasses.replace(before, results=results, **changes)


class TestInference:
    """Simulations with known true differences, which count false claims."""

    @pytest.mark.slow
    def test_comparing_again_with_the_best_arm_alone_keeps_the_number_of_claims(self) -> None:
        rng, n_runs = np.random.default_rng(0), 120
        labels = ("a", "b", "c", "d", "random_restart")
        before = store_comparison({label: [0.0] * 8 for label in labels})
        arms = {label: declared_arm(ARMS["tpe"]) for label in "abcd"}
        arms["random_restart"] = declared_arm(ARMS["random_restart"])
        declared: Any = {**declaration(range(8)), "arms": arms}
        false = {"declared": 0, "forgotten": 0}
        for _ in range(n_runs):
            gains = dict(zip(labels, rng.normal(0, 0.01, (5, 8)), strict=True))
            best = max("abcd", key=lambda label: gains[label].mean())
            few = {label: gains[label] for label in (best, "random_restart")}
            for name, declared_arms in (("declared", declared), ("forgotten", None)):
                [row] = with_gains(few, before, declared=declared_arms).numbers.over_reference
                false[name] += row.verdict == "better"
        assert false["declared"] / n_runs <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / n_runs)
        # Without the declaration, too many claims are false.
        assert false["forgotten"] / n_runs > 0.06

    @pytest.mark.slow
    def test_rare_collapses_are_rarer_than_the_note_names(self) -> None:
        rng, n_runs, unseen = np.random.default_rng(1), 60, 0
        before = store_comparison({"a": [0.0] * 10, "random_restart": [0.0] * 10})
        for _ in range(n_runs):
            # The arms are about equal, except that arm a loses 5 points on 5% of seeds.
            collapses = rng.random(10) < 0.05
            gains = rng.normal(0, 1e-4, 10) - 0.05 * collapses
            comparison = with_gains({"a": gains, "random_restart": np.zeros(10)}, before)
            document = comparison.document()
            unseen += document.verdict == "equivalent"
            rare = "10 seeds may miss a collapse on up to 26% of seeds (95% confidence)."
            assert rare in document.notes
            [row] = comparison.numbers.over_reference
            assert (row.worst < -0.04) == collapses.any()
        assert unseen / n_runs > 0.45


def whole() -> Comparison:
    """Return a comparison of four arms with replication on new seeds."""
    noise = np.random.default_rng(3).normal(0, 0.004, (3, 10))
    gains = {"greedy": noise[0] + 0.01, "annealing": noise[1], "rates": noise[2] + 0.03}
    comparison = with_replication(four_arms(), gains)
    began = datetime(2026, 11, 25)  # noqa: DTZ001 - as Optuna's
    for i, trial in enumerate(trial for run in comparison.numbers.runs for trial in run.trials):
        trial.datetime_start = began + timedelta(seconds=2 * i)
        trial.datetime_complete = began + timedelta(seconds=2 * i + 1)
    return comparison


def test_surfaces_of_a_comparison() -> None:
    assert_surfaces("comparison", whole())
