"""What a comparison says: each sentence in the case in which it is true, and when it is false."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from snapshots import assert_surfaces
from stored_studies import (
    changed,
    declaration,
    four_arms,
    read_again,
    store_classes,
    store_comparison,
    store_head,
    store_look,
    store_study,
    with_replication,
)

from adnn_optuna.api.comparisons import load_comparison
from adnn_optuna.engine.arms import ARMS, CONTROLS
from adnn_optuna.engine.records import read_record
from adnn_optuna.results.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

NOISE = np.random.default_rng(0).normal(0, 0.004, (4, 12))


def with_control(sampler: str, gains: Sequence[float], **others: Sequence[float]) -> Comparison:
    """Return a comparison in which an arm ``mine`` is a control."""
    comparison = store_comparison({**others, "mine": gains})
    for run in comparison.results["mine"]:
        changed(run, "adnn:search", sampler=sampler)
    return read_again(comparison)


class TestVerdict:
    @pytest.mark.parametrize(
        ("gains", "verdict", "claim"),
        [
            (
                {"a": NOISE[0] + 0.02, "b": NOISE[1] + 0.03, "c": NOISE[3] + 0.01},
                "better",
                "b is better",
            ),
            (
                {"a": NOISE[0] - 0.02, "b": NOISE[1] - 0.03},
                "worse",
                "Every sampler is worse",
            ),
            (
                {"a": NOISE[2], "b": NOISE[2] - 0.01},
                "equivalent",
                "a is equivalent",
            ),
            ({"a": NOISE[0]}, "inconclusive", "best mean: a"),
            # A sampler that is better comes first, whatever the mean of one that may not be.
            (
                {"steady": NOISE[0] + 0.008, "noisy": 30 * NOISE[1] + 0.05},
                "better",
                "steady is better",
            ),
            # Every sampler is worse only if that is shown of each.
            (
                {"worse": NOISE[0] - 0.01, "noisy": 30 * NOISE[1] - 0.03},
                "inconclusive",
                "best mean: random restarts",
            ),
        ],
    )
    def test_is_that_of_the_best_sampler(
        self, gains: dict[str, np.ndarray], verdict: str, claim: str
    ) -> None:
        for arms in (
            {**gains, "random_restart": NOISE[2]},
            {"random_restart": NOISE[2], **gains},
        ):
            document = store_comparison(arms).document()
            assert document.verdict == verdict
            assert claim in document.conclusion

    def test_of_one_or_few_seeds_is_inconclusive(self) -> None:
        for n in (1, 3):
            gains = {"greedy": NOISE[0][:n] + 0.02, "random_restart": NOISE[1][:n]}
            document = store_comparison(gains).document()
            assert document.verdict == "inconclusive"
            assert document.estimates[0].ends == ""

    def test_is_not_known_without_a_reference_or_a_sampler(self) -> None:
        for arm in ("greedy", "random_restart"):
            assert store_comparison({arm: [0.01] * 2}).document().verdict == "not known"

    def test_without_a_best_trial_says_how_the_trials_ended(self) -> None:
        arms = {
            arm: [read_record(store_study(f"c/{arm}/seed=0", sampler=arm, values=[math.nan] * 3))]
            for arm in ("greedy", "random_restart")
        }
        for [record] in arms.values():
            record.study.set_user_attr("adnn:baseline", math.nan)
        comparison = read_again(Comparison(arms, (0,)))
        document = comparison.document()
        assert document.verdict == "not known"
        assert "3 failed" in document.conclusion
        assert "nan" not in str(comparison)

    def test_of_r2_has_no_percentage_points(self) -> None:
        gains = {"greedy": [0.02] * 8, "random_restart": [0.01] * 8}
        comparison = store_comparison(gains, metric="val_r2")
        text = str(comparison)
        assert "greedy - random_restart  +0.0100" in text
        assert not any(wrong in text for wrong in ("accuracy", " pp", "[%]"))

    def test_of_a_loss_is_by_how_much_it_is_lower(self) -> None:
        gains = {"greedy": [0.01] * 8, "random_restart": [0.0] * 8}
        comparison = store_comparison(gains, metric="val_loss")
        assert comparison.document().verdict == "better"
        assert "test loss" in str(comparison)


class TestControls:
    @pytest.mark.parametrize("control", CONTROLS)
    def test_each_says_on_what_its_compute_is_spent(self, control: str) -> None:
        for n, relation in ((1, "not shown to differ from"), (8, "better than")):
            gains = {"greedy": [0.02] * n, "random_restart": [0.01] * n}
            comparison = with_control(control, [0.07] * n, **gains)
            said = f"The same compute, spent on {ARMS[control].spent}, is {relation} random"
            assert said in comparison.document().conclusion
            assert comparison.document().estimates[1].value == "+6.00 pp"
            assert comparison.document().next_step == ""

    @pytest.mark.parametrize(
        ("constant", "relation"),
        [
            (0.03, "worse than one offset for all layers (no search) for most seeds"),
            (0.02, "not shown to differ from one offset for all layers (no search)"),
            (0.00, "better than one offset for all layers (no search) for most seeds"),
        ],
    )
    def test_a_search_must_beat_no_search(self, constant: float, relation: str) -> None:
        gains = {"greedy": NOISE[0] + 0.02, "random_restart": NOISE[2]}
        comparison = with_control("constant", NOISE[3] + constant, **gains)
        conclusion = comparison.document().conclusion
        assert conclusion.startswith(
            f"greedy is better than random restarts for most seeds. greedy is {relation}."
        )

    def test_an_ensemble_says_what_it_costs_later(self) -> None:
        results = {**store_comparison({"greedy": [0.02], "random_restart": [0.01]}).results}
        study = store_study("mine/seed=0", sampler="ensemble", gain=0.07, steps=(1, 2, 3))
        comparison = Comparison({**results, "mine": [read_record(study)]}, (0,))
        assert "mine: prediction costs 3 times as much." in comparison.document().notes

    def test_more_seeds_are_the_next_step_if_nothing_is_shown(self) -> None:
        gains = {"greedy": NOISE[0], "random_restart": NOISE[2]}
        comparison = with_control("longer", NOISE[3] + 0.05, **gains)
        assert comparison.document().next_step.startswith("plan the seeds that show a gain")
        assert comparison.plan(gain=0.01).seeds > 0

    def test_without_any_they_are_the_next_step(self) -> None:
        comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
        assert 'controls=("longer", "learning_rate")' in comparison.document().next_step


class TestStartUp:
    @pytest.mark.parametrize(("n", "is_said"), [(10, True), (11, False)])
    def test_trials_alone_are_random_search(self, n: int, is_said: bool) -> None:
        arms = {
            sampler: [
                read_record(store_study(f"{sampler}/seed=0", sampler=sampler, values=[0.9] * n))
            ]
            for sampler in ("tpe", "random_restart")
        }
        note = f"tpe: its first 10 trials are random, so with {n} trials it is random search."
        assert (note in Comparison(arms, (0,)).document().notes) == is_said


class TestReplication:
    def test_is_one_estimate_for_each_arm(self) -> None:
        names = ("greedy", "mine", "rates", "random_restart")
        before = store_comparison(dict.fromkeys(names, NOISE[2]))
        assert before.replication == []
        for run in before.results["rates"]:
            changed(run, "adnn:search", sampler="learning_rate")
        gains = {"greedy": NOISE[0], "mine": NOISE[1] * 0, "rates": NOISE[3] + 0.05}
        document = with_replication(before, gains).document()
        lines = {line.label: (line.value, line.remark) for line in document.estimates[2:]}
        assert lines == {
            "greedy, new seeds": ("+0.01 pp", "offsets: not shown to replicate"),
            "mine, new seeds": ("+0.00 pp", "offsets: not shown to replicate"),
            "rates, new seeds": ("+5.24 pp", "learning rate: replicates for most seeds"),
        }
        [note] = [note for note in document.notes if note.startswith("New seeds: ")]
        assert note.endswith("Their 3 CIs have a joint level of 95%.")
        assert document.fields["replication"]["rates"].value == pytest.approx(0.0524, abs=1e-4)

    @pytest.mark.slow
    def test_of_offsets_without_effect_is_seldom_shown(self) -> None:
        rng, n_runs, shown = np.random.default_rng(0), 150, 0
        comparison = store_comparison(dict.fromkeys(("a", "b", "random_restart"), [0.0] * 8))
        for _ in range(n_runs):
            # Best networks gain on their own seed whatever they gain on a new one.
            gains = dict(zip("ab", rng.normal(0, 0.01, (2, 8)), strict=True))
            rows = with_replication(comparison, gains).replication
            shown += any(row.verdict == "better" for row in rows)
        assert shown / n_runs <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / n_runs)


class TestNotes:
    def test_what_is_missing(self) -> None:
        storage, arms = optuna.storages.InMemoryStorage(), ("greedy", "random_restart")
        store_head(storage, "c", declaration(range(3), *arms))
        for seed in range(3):
            for arm in arms:
                study = store_study(f"c/{arm}/{seed=}", sampler=arm, seed=seed, storage=storage)
        assert load_comparison(storage, "c").is_complete
        study.set_user_attr("adnn:stop_reason", "interrupted")
        document = load_comparison(storage, "c").document()
        assert document.title == "Comparison 'c'"
        assert document.notes[0] == "Not complete: 2 of 3 declared seeds are done."
        assert document.next_step.startswith("continue with adnn.compare, or with adnn.resume")

    def test_means_without_runs_that_have_no_value(self) -> None:
        comparison = store_comparison({"greedy": [0.01] * 8, "random_restart": [0.0] * 8})
        omitted = "Means omit runs without a value."
        assert omitted not in comparison.document().notes
        attrs = comparison.results["greedy"][2].attrs
        attrs.pop(next(name for name in attrs if name.startswith("adnn:test/")))
        assert omitted in dataclasses.replace(comparison).document().notes

    def test_other_comparisons_of_the_same_objective(self) -> None:
        comparison = store_comparison({"greedy": [0.02] * 7, "random_restart": [0.0] * 7})
        assert "other comparison" not in str(comparison)
        named = dataclasses.replace(comparison, like=tuple("abcdefg"))
        [note] = [note for note in named.document().notes if "other comparison" in note]
        assert note.startswith("The same objective is part of 7 other comparisons")

    def test_later_evaluations_on_the_test_set(self) -> None:
        comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
        assert "untouched" not in str(comparison)
        run = comparison.results["random_restart"][0]
        store_look(run.study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        # Another trial came between the evaluations.
        run.study.enqueue_trial({})
        run.study.tell(run.study.ask(), 2.0)
        store_look(run.study, "2026-11-25T14:00:00+00:00", 0.9, 0.005)
        [note] = [n for n in read_again(comparison).document().notes if "untouched" in n]
        n = len(read_record(run.study).test_evaluations)
        assert n >= 2
        assert note.startswith(f"The test set was evaluated {n} times by one search.")

    def test_uneven_classes(self) -> None:
        comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
        store_classes(comparison.results["greedy"][0].study, [970, 30])
        notes = read_again(comparison).document().notes
        assert any(
            note == "97% of the test set is class 'a': a network that always predicts it reaches "
            "97%."
            for note in notes
        )

    def test_of_the_test_set_count_repeated_examples_once(self) -> None:
        comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
        run = comparison.results["greedy"][0]
        assert "pp: percentage points. One of 1000 test images is 0.1 pp." in (
            comparison.document().notes
        )
        results = {**comparison.results, "greedy": [changed(run, "adnn:test/", n_groups=800)]}
        again = Comparison(results, (0,))
        assert any(
            note.endswith("They count as 800, as some repeat others.")
            for note in again.document().notes
        )


def with_gains(gains: dict[str, np.ndarray], before: Comparison, **changes: Any) -> Comparison:
    """Return a comparison of some of the arms, with other test values."""
    for label, of_arm in gains.items():
        for run, gain in zip(before.results[label], of_arm, strict=True):
            [name] = [name for name in run.attrs if name.startswith("adnn:test/")]
            run.attrs[name] |= {"baseline": 0.9, "best": 0.9 + float(gain)}
    results = {label: before.results[label] for label in gains}
    return dataclasses.replace(before, results=results, **changes)


class TestInference:
    """Truth is known: how often a claim is false in the worst case that was tried."""

    @pytest.mark.slow
    def test_comparing_again_with_the_best_arm_alone_claims_no_more(self) -> None:
        rng, n_runs = np.random.default_rng(0), 120
        labels = ("a", "b", "c", "d", "random_restart")
        before = store_comparison({label: [0.0] * 8 for label in labels})
        arms = {**dict.fromkeys("abcd", "TPESampler"), "random_restart": "random_restart"}
        declared: Any = {**declaration(range(8)), "arms": arms}
        false = {"declared": 0, "forgotten": 0}
        for _ in range(n_runs):
            gains = dict(zip(labels, rng.normal(0, 0.01, (5, 8)), strict=True))
            best = max("abcd", key=lambda label: gains[label].mean())
            few = {label: gains[label] for label in (best, "random_restart")}
            for name, of in (("declared", declared), ("forgotten", None)):
                [row] = with_gains(few, before, declared=of).over_reference
                false[name] += row.verdict == "better"
        assert false["declared"] / n_runs <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / n_runs)
        assert false["forgotten"] / n_runs > 0.06  # As it would be.

    @pytest.mark.slow
    def test_rare_collapses_are_below_the_share_that_is_named(self) -> None:
        rng, n_runs, unseen = np.random.default_rng(1), 60, 0
        before = store_comparison({"a": [0.0] * 10, "random_restart": [0.0] * 10})
        for _ in range(n_runs):
            # The arms are about equal, except for 5% of seeds that lose 5 points.
            collapses = rng.random(10) < 0.05
            gains = rng.normal(0, 1e-4, 10) - 0.05 * collapses
            document = with_gains({"a": gains, "random_restart": np.zeros(10)}, before).document()
            unseen += document.verdict == "equivalent"
            rare = "An effect on 26% of seeds is missing from 10 seeds in 5% of cases."
            assert rare in document.notes
            assert ("worst seed -" in document.estimates[0].remark.replace("-0.0", "")) == (
                collapses.any()
            )
        assert unseen / n_runs > 0.45


def whole() -> Comparison:
    """Return a comparison of four arms whose best trials were tried on new seeds, too."""
    noise = np.random.default_rng(3).normal(0, 0.004, (3, 10))
    gains = {"greedy": noise[0] + 0.01, "annealing": noise[1], "rates": noise[2] + 0.03}
    comparison = with_replication(four_arms(), gains)
    began = datetime(2026, 11, 25)  # noqa: DTZ001 - as Optuna's
    for i, trial in enumerate(trial for run in comparison.runs for trial in run.trials):
        trial.datetime_start = began + timedelta(seconds=2 * i)
        trial.datetime_complete = began + timedelta(seconds=2 * i + 1)
    return comparison


def test_every_surface() -> None:
    assert_surfaces("comparison", whole())
