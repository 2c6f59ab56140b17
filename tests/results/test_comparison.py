"""Comparisons: which results may be compared, which claims exist, and when they are decided."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from stored_studies import (
    changed,
    declaration,
    four_arms,
    read_again,
    read_result,
    store_comparison,
    store_head,
    store_study,
)

from adnn_optuna.api.stored import load_comparison
from adnn_optuna.experiments.controls import ARMS
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.declarations import declared_arm
from adnn_optuna.results.fields import RUN_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence


def runs(sampler: str, seeds: Sequence[int], **options: Any) -> list[Any]:
    named = [(f"{sampler}/{seed=}/{options}", seed) for seed in seeds]
    return [
        read_result(store_study(n, sampler=sampler, seed=seed, **options)) for n, seed in named
    ]


class TestWhatCannotBeCompared:
    def test_unequal_budgets_are_refused(self) -> None:
        restarts = runs("random_restart", [0, 1])
        restarts[1] = changed(restarts[1], "adnn:runs/", limits={"max_trial": 50})
        sentence = r"budgets; got max_trial 12 of study 'greedy/.*and 50 of 'random_restart/seed=1"
        with pytest.raises(ValueError, match=sentence):
            Comparison({"greedy": runs("greedy", [0, 1]), "random_restart": restarts}, (0, 1))

    def test_a_sampler_labelled_random_restart_is_no_reference(self) -> None:
        assert Comparison({"random_restart": runs("greedy", [0])}, (0,)).numbers.reference is None

    @pytest.mark.parametrize("margin", [0.0, -0.1, 1.0, math.nan, math.inf, "wide"])
    def test_a_margin_that_is_not_between_0_and_1_is_refused(self, margin: Any) -> None:
        with pytest.raises((ValueError, TypeError), match="margin must be"):
            store_comparison({"greedy": [0.0], "random_restart": [0.0]}, margin=margin)

    def test_sampler_seed_and_space_may_differ(self) -> None:
        arms = {"a": runs("annealing", [3, 1]), "random_restart": runs("random_restart", [3, 1])}
        assert Comparison(arms, (3, 1)).numbers.reference == "random_restart"
        assert Comparison({"luck": arms["random_restart"]}, (3, 1)).numbers.reference == "luck"
        assert Comparison({"a": arms["a"]}, (3, 1)).numbers.reference is None
        assert list(Comparison(arms, (3, 1)).numbers.samplers) == ["a", "random_restart"]


class TestFamilies:
    def test_are_each_sampler_against_restarts_and_greedy_against_annealing(self) -> None:
        zeros = [0.0] * 8
        gains = dict.fromkeys(("greedy", "annealing", "mine", "random_restart"), zeros)
        comparison = store_comparison({k: v for k, v in gains.items() if k != "mine"})
        assert comparison.numbers.families == {
            "samplers": [
                ("greedy", "random_restart"),
                ("annealing", "random_restart"),
                ("greedy", "annealing"),
            ],
            "controls": [],
        }
        # For the second annealing arm, the only claim is against random restarts, not against
        # greedy.
        verdicts = store_comparison(gains).differences()["verdict"]
        assert verdicts[("mine", "random_restart")] == "equivalent"
        assert verdicts[("annealing", "mine")] == "no claim"

    def test_have_one_reference_even_if_two_arms_draw_initial_weights(self) -> None:
        arms = {"greedy": runs("greedy", [0]), "luck": runs("random_restart", [0])}
        comparison = Comparison({**arms, "random_restart": runs("random_restart", [0])}, (0,))
        assert comparison.numbers.reference == "luck"
        claims = [("greedy", "luck"), ("random_restart", "luck")]
        assert comparison.numbers.families == {"samplers": claims, "controls": []}

    def test_keep_their_largest_declared_size_when_fewer_arms_are_compared(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.004, (4, 10))
        gains = dict(zip(("greedy", "mine", "control", "random_restart"), noise, strict=True))
        every = store_comparison(gains)
        changed_runs = [
            changed(r, "adnn:search", sampler="longer") for r in every.results["control"]
        ]
        names = {
            "greedy": "greedy",
            "mine": "annealing",
            "control": "longer",
            "luck": "random_restart",
        }
        arms = {label: declared_arm(ARMS[name]) for label, name in names.items()}
        declared: Any = {**declaration(range(10)), "arms": arms}
        every = Comparison(
            {**every.results, "control": changed_runs}, every.seeds, 0.001, declared
        )
        assert every.numbers.n_claims == {"samplers": 3, "controls": 3}
        few = {label: every.results[label] for label in ("greedy", "random_restart")}
        again = Comparison(few, every.seeds, 0.001, declared)
        pair = ("greedy", "random_restart")
        assert again.differences().loc[pair].equals(every.differences().loc[pair])


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

    def test_are_a_family_of_their_own(self) -> None:
        comparison = self.with_control(0.2)
        assert comparison.numbers.families["samplers"] == [("greedy", "random_restart")]
        assert comparison.numbers.families["controls"] == [
            ("greedy", "learning_rate"),
            ("random_restart", "learning_rate"),
        ]
        verdicts = comparison.differences()["verdict"]
        assert verdicts[("greedy", "random_restart")] == "better"
        assert verdicts[("greedy", "learning_rate")] == "worse"
        assert "learning_rate" in str(comparison)

    def test_the_strongest_one_has_the_best_mean_selection_metric(self) -> None:
        comparison = self.with_control(0.0)
        other_control = self.with_control(0.5).results["learning_rate"]
        means = {
            label: np.mean([run.best_value for run in of_arm])
            for label, of_arm in (
                ("one", comparison.results["learning_rate"]),
                ("two", other_control),
            )
        }
        samplers = {k: comparison.results[k] for k in comparison.numbers.samplers}
        both = Comparison(
            {
                **samplers,
                "one": comparison.results["learning_rate"],
                "two": other_control,
            },
            comparison.seeds,
        )
        assert both.numbers.strongest_control == max(means, key=means.__getitem__)

    def test_have_means_of_their_own_if_all_samplers_have_the_same_mean(self) -> None:
        comparison = store_comparison(
            {"greedy": [0.0] * 3, "random_restart": [0.0] * 3, "learning_rate": [0.01] * 3}
        )
        for record in comparison.results["learning_rate"]:
            changed(record, "adnn:search", sampler="learning_rate")
        conclusion = read_again(comparison).document().conclusion
        assert "; all means of the samplers are equal" in conclusion

    def test_one_that_is_better_is_named_before_the_strongest(self) -> None:
        better = self.with_control(0.2)
        flat = self.with_control(0.0).results["learning_rate"]
        for run in flat:  # Its validation value is the highest, but its test gain is about 0.
            run.record.best.values[0] = 0.999
        samplers = {label: better.results[label] for label in better.numbers.samplers}
        controls = {"flat": flat, "better": better.results["learning_rate"]}
        both = Comparison({**samplers, **controls}, better.seeds)
        assert both.numbers.strongest_control == "flat"
        compared = [line.label.split()[0] for line in both.document().estimates]
        assert ("better" in compared, "flat" in compared) == (True, False)


class TestSeeds:
    def test_planned_seeds_decide_only_when_all_are_done(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.002, (2, 8))
        comparison = store_comparison({"greedy": noise[0] + 0.02, "random_restart": noise[1]})
        assert comparison.differences()["verdict"].tolist() == ["better"]
        early = dataclasses.replace(comparison, declared=declaration(range(10)))
        assert early.differences()["verdict"].tolist() == ["inconclusive"]

    def test_seeds_added_later_widen_all_intervals(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.004, (2, 12))
        comparison = store_comparison({"greedy": noise[0] + 0.01, "random_restart": noise[1]})
        planned = comparison.differences().iloc[0]
        declared = declaration(range(12), sequential=True)
        again = dataclasses.replace(comparison, declared=declared)
        row = again.differences().iloc[0]
        assert row["high"] - row["low"] > planned["high"] - planned["low"]

    def test_are_read_in_their_declared_order(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        arms = ("greedy", "random_restart")
        store_head(storage, "c", declaration([5, 2, 9], *arms, sequential=True))
        for sampler in arms:
            for seed in (2, 5):
                store_study(f"c/{sampler}/{seed=}", sampler=sampler, seed=seed, storage=storage)
        assert load_comparison(storage, "c").seeds == (5, 2)


@pytest.fixture(scope="module")
def printed() -> Comparison:
    return four_arms()


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_table_shows_means_and_deviations_over_runs(metric: str) -> None:
    gains = {"greedy": [0.01, 0.02, 0.0], "random_restart": [0.0, 0.03, 0.01]}
    comparison = store_comparison(gains, metric=metric)
    sign = -1 if metric == "val_loss" else 1
    table = comparison.table()
    of_metrics = [field.key for field in RUN_FIELDS if field.metric]
    assert {*table.columns} == {
        *(column for key in of_metrics for column in (key, f"{key}_std")),
        *("seeds", "trials", "seconds"),
    }
    for label, of_arm in comparison.results.items():
        row = table.loc[label]
        assert (row["seeds"], row["trials"]) == (3, 12)
        best, base = (
            np.array([getattr(run, name) for run in of_arm]) for name in ("best_value", "baseline")
        )
        test = np.array([[run.test_value, run.test_baseline] for run in of_arm])
        for name, values in (
            ("baseline", base),
            ("gain", sign * (best - base)),
            ("gain_over_mean_baseline", sign * (best - base.mean())),
            ("test_gain", gains[label]),
            ("test_gain_over_mean_baseline", sign * (test[:, 0] - test[:, 1].mean())),
        ):
            assert row[name] == pytest.approx(np.mean(values))
            assert row[f"{name}_std"] == pytest.approx(np.std(values, ddof=1))


def test_plan_is_computed_from_all_claims_on_samplers(printed: Comparison) -> None:
    comparison = printed
    plan = comparison.plan(0.005)
    values = {
        label: np.array([run.test_value for run in of_arm])
        for label, of_arm in comparison.results.items()
    }
    sds = [(values[a] - values[b]).std(ddof=1) for a, b in comparison.numbers.families["samplers"]]
    pilot = plan.numbers
    assert (pilot.n_claims, pilot.n_pilot, pilot.gain) == (3, 10, 0.005)
    assert pilot.sd == pytest.approx(math.sqrt(np.mean(np.square(sds))))
    # The seconds of 10 seeds include the control's seconds.
    assert plan.hours == pytest.approx(plan.seeds * comparison.numbers.seconds / 10 / 3600)
    trials = [
        trial
        for of_arm in comparison.results.values()
        for run in of_arm
        for trial in run.record.done_trials
    ]
    lasted = sum(trial.duration.total_seconds() for trial in trials if trial.duration)
    # No two trials ran at the same time.
    assert comparison.numbers.seconds == pytest.approx(lasted, rel=0.01)
    with pytest.raises(ValueError, match=r"^A plan must have a sampler and random"):
        store_comparison({"random_restart": [0.0] * 3}).plan(0.005)


def test_the_strongest_control_needs_a_known_value(printed: Comparison) -> None:
    assert printed.numbers.strongest_control == "rates"
    assert store_comparison({"greedy": [0.0]}).numbers.strongest_control is None
    failed = store_study("failed", values=[math.nan] * 3)
    failed.set_user_attr("adnn:baseline", math.nan)
    changed(read_result(failed), "adnn:runs/", limits={"max_trial": 12})
    results = {"failed": [changed(read_result(failed), "adnn:search", sampler="longer")]}
    results |= {label: [*of_arm[:1]] for label, of_arm in printed.results.items()}
    assert Comparison(results, (0,)).numbers.strongest_control == "rates"


def test_of_losses_the_strongest_control_has_the_lowest() -> None:
    comparison = store_comparison({"a": [0.0], "b": [0.0]}, metric="val_loss")
    for of_arm in comparison.results.values():
        changed(of_arm[0], "adnn:search", sampler="longer")
    stored = read_again(comparison)
    bests = {label: of_arm[0].best_value for label, of_arm in stored.results.items()}
    assert stored.numbers.strongest_control == min(bests, key=lambda label: bests[label])


def test_a_sequential_comparison_is_complete_once_all_claims_are_decided() -> None:
    for gain, is_complete in ((0.05, True), (0.0005, False)):
        noise = np.random.default_rng(0).normal(0, 0.002, (2, 9))
        comparison = store_comparison({"greedy": noise[0] + gain, "random_restart": noise[1]})
        declared = declaration(range(12), sequential=True)
        changed = dataclasses.replace(comparison, declared=declared)
        assert (changed.numbers.sequential, changed.numbers.n_done) == (True, 9)
        assert (changed.numbers.n_inconclusive, changed.numbers.is_complete) == (
            not is_complete,
            is_complete,
        )
        assert any("Not complete" in note for note in changed.document().notes) != is_complete
