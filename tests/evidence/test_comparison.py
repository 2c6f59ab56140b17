"""Comparisons: which results may be compared, what is claimed of them, and when."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from stored_studies import store_comparison, store_study

from adnn_optuna._attributes import COMPARISON
from adnn_optuna.engine.records import record_of
from adnn_optuna.evidence.claims import caveat_of_comparison, claim_of_comparison
from adnn_optuna.evidence.comparison import Comparison, load_comparison
from adnn_optuna.evidence.reports import comparison_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adnn_optuna.engine.records import SearchRecord


def runs(sampler: str, seeds: Sequence[int], **options: Any) -> list[SearchRecord]:
    named = [(f"{sampler}/{seed=}/{options}", seed) for seed in seeds]
    return [record_of(store_study(n, sampler=sampler, seed=seed, **options)) for n, seed in named]


def changed(record: SearchRecord, attribute: str, **changes: Any) -> SearchRecord:
    """Change what a record's study stores."""
    attrs = record.study.user_attrs
    name = next(name for name in attrs if name.startswith(attribute))
    record.study.set_user_attr(name, {**attrs[name], **changes})
    return record_of(record.study)


def read_again(comparison: Comparison) -> Comparison:
    results = {
        label: [record_of(record.study) for record in of_arm]
        for label, of_arm in comparison.results.items()
    }
    return dataclasses.replace(comparison, results=results)


class TestWhatCannotBeCompared:
    def test_nothing(self) -> None:
        with pytest.raises(ValueError, match="at least one arm and one seed"):
            Comparison({}, (0,))

    def test_arms_of_unequal_length(self) -> None:
        arms = {"greedy": runs("greedy", [0, 1]), "random_restart": runs("random_restart", [0])}
        with pytest.raises(ValueError, match="'random_restart' has 1 results for 2 seeds"):
            Comparison(arms, (0, 1))

    def test_other_seeds(self) -> None:
        arms = {
            "greedy": runs("greedy", [0, 1]),
            "random_restart": runs("random_restart", [1, 0]),
        }
        with pytest.raises(ValueError, match="'random_restart' for seed 0 is of seed 1"):
            Comparison(arms, (0, 1))

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"dataset": {"name": "digits", "fingerprint": "1" * 64}}, "dataset"),
            ({"training": {"optimizer": "sgd", "epochs": 3}}, "epochs"),
            ({"model": {"type": "MLP", "hidden": [17]}}, "hidden"),
            ({"metric": "train_accuracy"}, "metric"),
        ],
    )
    def test_another_objective(self, change: dict[str, Any], named: str) -> None:
        other = changed(runs("random_restart", [0])[0], "adnn:config", **change)
        with pytest.raises(ValueError, match=f"seed 0 is of another objective.*{named}"):
            Comparison({"greedy": runs("greedy", [0]), "random_restart": [other]}, (0,))

    def test_unequal_budgets(self) -> None:
        arms = {
            "greedy": runs("greedy", [0, 1]),
            "random_restart": [
                *runs("random_restart", [0]),
                changed(runs("random_restart", [1])[0], "adnn:runs/", max_trial=50),
            ],
        }
        with pytest.raises(ValueError, match="'random_restart' with seed 1 has 50"):
            Comparison(arms, (0, 1))

    def test_a_searcher_under_the_name_of_luck(self) -> None:
        with pytest.raises(ValueError, match="'random_restart' is not random restarts"):
            Comparison({"random_restart": runs("greedy", [0])}, (0,))

    @pytest.mark.parametrize("equivalence", [0.0, -0.1, 1.0, math.nan, math.inf, "wide"])
    def test_a_margin_that_tells_nothing(self, equivalence: Any) -> None:
        with pytest.raises((ValueError, TypeError), match="equivalence must be"):
            store_comparison({"greedy": [0.0], "random_restart": [0.0]}, equivalence=equivalence)

    def test_seeds_that_were_chosen_afterwards(self) -> None:
        arms = {"greedy": runs("greedy", [1]), "random_restart": runs("random_restart", [1])}
        for record in (r for of_arm in arms.values() for r in of_arm):
            declared = {"seeds": [0, 1], "looks_again": False}
            record.study.set_user_attr(COMPARISON, declared)
        arms = {label: [record_of(r.study) for r in of_arm] for label, of_arm in arms.items()}
        with pytest.raises(ValueError, match="are not the first ones"):
            Comparison(arms, (1,))


class TestFamilies:
    def test_are_each_searcher_against_luck_and_greedy_against_annealing(self) -> None:
        zeros = [0.0] * 8
        gains = dict.fromkeys(("greedy", "annealing", "mine", "random_restart"), zeros)
        comparison = store_comparison({k: v for k, v in gains.items() if k != "mine"})
        assert comparison.families == (
            [
                ("greedy", "random_restart"),
                ("annealing", "random_restart"),
                ("greedy", "annealing"),
            ],
            [],
        )
        # A second annealing has no rival of its own: it is shown beside the other one only.
        verdicts = store_comparison(gains).differences()["verdict"]
        assert verdicts[("mine", "random_restart")] == "equivalent"
        assert verdicts[("annealing", "mine")] == "no claim"

    def test_with_more_claims_each_interval_is_wider(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.004, (4, 10))
        gains = dict(zip(("a", "b", "c", "random_restart"), noise, strict=True))
        all_rows = store_comparison(gains).differences().loc[("a", "random_restart")]
        alone = {"a": gains["a"], "random_restart": gains["random_restart"]}
        one_row = store_comparison(alone).differences().loc[("a", "random_restart")]
        assert all_rows["low"] < one_row["low"] <= one_row["high"] < all_rows["high"]


class TestControls:
    def with_control(self, control: float, n_seeds: int = 10) -> Comparison:
        noise = np.random.default_rng(1).normal(0, 0.002, (3, n_seeds))
        gains = {
            "greedy": noise[0] + 0.01,
            "random_restart": noise[1],
            "learning_rate": noise[2] + control,
        }
        comparison = store_comparison(gains)
        for record in comparison.results["learning_rate"]:
            changed(record, "adnn:search", sampler="learning_rate")
        return read_again(comparison)

    def test_the_claim_says_what_the_same_compute_gains_otherwise(self) -> None:
        claim = claim_of_comparison(self.with_control(0.2))
        assert claim.startswith("greedy is better than random restarts: +1.")
        assert "The same compute spent on the learning rate gains +19.98 pp over random" in claim

    def test_are_a_family_of_their_own(self) -> None:
        comparison = self.with_control(0.2)
        assert comparison.families[0] == [("greedy", "random_restart")]
        assert comparison.families[1] == [
            ("greedy", "learning_rate"),
            ("random_restart", "learning_rate"),
        ]
        verdicts = comparison.differences()["verdict"]
        assert verdicts[("greedy", "random_restart")] == "better"
        assert verdicts[("greedy", "learning_rate")] == "worse"
        assert "learning_rate" in str(comparison)

    def test_the_strongest_is_that_of_the_best_selection_metric(self) -> None:
        comparison = self.with_control(0.0)
        other = self.with_control(0.5).results["learning_rate"]
        means = {
            label: np.mean([run.best_value for run in of_arm])
            for label, of_arm in (("one", comparison.results["learning_rate"]), ("two", other))
        }
        both = Comparison(
            {
                **comparison.searchers,
                "one": comparison.results["learning_rate"],
                "two": other,
            },
            comparison.seeds,
        )
        assert both.strongest_control == max(means, key=means.__getitem__)


class TestSeeds:
    def test_one_decides_nothing(self) -> None:
        comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
        assert "nan" not in str(comparison)
        assert claim_of_comparison(comparison).startswith("One seed decides nothing")

    def test_planned_ones_decide_when_all_are_done(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.002, (2, 8))
        comparison = store_comparison({"greedy": noise[0] + 0.02, "random_restart": noise[1]})
        assert comparison.differences()["verdict"].tolist() == ["better"]
        for record in (r for of_arm in comparison.results.values() for r in of_arm):
            declared = {"seeds": list(range(10)), "looks_again": False}
            record.study.set_user_attr(COMPARISON, declared)
        early = read_again(comparison)
        assert early.differences()["verdict"].tolist() == ["undecided"]
        assert "2 of 10 planned seeds are missing" in str(early)
        assert "2 of 10 planned seeds are missing" in caveat_of_comparison(early)

    def test_that_are_added_later_cost_all_that_come(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.004, (2, 12))
        comparison = store_comparison({"greedy": noise[0] + 0.01, "random_restart": noise[1]})
        planned = comparison.differences().iloc[0]
        last = comparison.results["greedy"][-1]
        declared = {"seeds": list(range(12)), "looks_again": True}
        last.study.set_user_attr(COMPARISON, declared)
        again = read_again(comparison)
        row = again.differences().iloc[0]
        assert row["high"] - row["low"] > planned["high"] - planned["low"]
        assert "however often one looks" in str(again)
        assert "pay for each look" in caveat_of_comparison(again)

    def test_are_read_in_their_declared_order(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        declared = {"seeds": [5, 2, 9], "looks_again": True}
        for sampler in ("greedy", "random_restart"):
            for seed in (2, 5):
                name = f"c/{sampler}/{seed=}"
                study = store_study(name, sampler=sampler, seed=seed, storage=storage)
                study.set_user_attr(COMPARISON, declared)
        assert load_comparison(storage, "c").seeds == (5, 2)


def test_what_is_missing_is_said() -> None:
    storage = optuna.storages.InMemoryStorage()
    for seed in range(3):
        for arm in ("greedy", "random_restart"):
            study = store_study(f"c/{arm}/{seed=}", sampler=arm, seed=seed, storage=storage)
            study.set_user_attr(COMPARISON, {"seeds": [0, 1, 2], "looks_again": False})
    assert load_comparison(storage, "c").is_complete
    study.set_user_attr("adnn:stop_reason", "interrupted")
    comparison = load_comparison(storage, "c")
    assert comparison.seeds == (0, 1)
    assert not comparison.is_complete
    said = "Not complete: 2 of 3 declared seeds are done; go on by compare, or by resume"
    for text in (str(comparison), caveat_of_comparison(comparison)):
        assert said in text
        assert "nan" not in text


def test_without_any_winner_it_says_why() -> None:
    arms = {
        arm: [record_of(store_study(f"c/{arm}/seed=0", sampler=arm, values=[math.nan] * 3))]
        for arm in ("greedy", "random_restart")
    }
    for record in (run for of_arm in arms.values() for run in of_arm):
        record.study.set_user_attr("adnn:baseline", math.nan)
    comparison = read_again(Comparison(arms, (0,)))
    assert "were pruned, 3 diverged; lower the learning rate." in str(comparison)
    assert "nan" not in str(comparison)
    comparison_page(comparison).render()
