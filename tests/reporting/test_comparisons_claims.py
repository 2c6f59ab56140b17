"""What is said of a comparison, word for word."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from shown_pages import noise, text_of
from stored_studies import declaration, store_comparison, store_look, store_study, with_repeats

from adnn_optuna.api.comparisons import Comparison
from adnn_optuna.engine.records import read_record
from adnn_optuna.reporting import comparisons, comparisons_claims

if TYPE_CHECKING:
    from adnn_optuna.engine.search_record import SearchRecord


NOISE = np.random.default_rng(0).normal(0, 0.004, (4, 12))


OTHERWISE, CHECK = (
    "What else could be done?",
    "How to check it?",
)


CAVEAT = (
    "Random restarts move nothing, they only draw other initial weights: what they gain is luck, "
    "and only what a searcher gains beyond them is its own. All is said of this data set, and "
    "assumes that differences are symmetric about their centre."
)


UNSEEN = "12 seeds: what befalls fewer than 22 % of seeds may not have been seen."


class TestComparison:
    @pytest.mark.parametrize(
        ("gains", "claim"),
        [
            (
                {"a": NOISE[0] + 0.02, "b": NOISE[1] + 0.03, "c": NOISE[3] + 0.01},
                (
                    "b is better than random restarts for most seeds: +2.94 pp of test accuracy "
                    "for the same number of trials (about 29 of 1000 test images; interval +2.53 "
                    "to +3.28 pp, smallest +1.71 pp, 12 seeds)."
                ),
            ),
            (
                {"a": NOISE[0] - 0.02, "b": NOISE[1] - 0.03},
                (
                    "Every searcher is worse than random restarts for most seeds: a comes "
                    "closest, with -1.95 pp of test accuracy (about 20 of 1000 test images; "
                    "interval -2.30 to -1.59 pp, smallest -2.72 pp, 12 seeds)."
                ),
            ),
            (
                {"a": NOISE[2], "b": NOISE[2] - 0.01},
                (
                    "No searcher is better than random restarts: a is equivalent, "
                    "with +0.00 pp of test accuracy (less than one of 1000 test images; interval "
                    "+0.00 to +0.00 pp, smallest +0.00 pp, 12 seeds)."
                ),
            ),
            (
                {"a": NOISE[0]},
                (
                    "No searcher is shown to be better than random restarts: a comes closest, "
                    "with +0.05 pp of test accuracy (less than one of 1000 test images; interval "
                    "-0.25 to +0.34 pp, smallest -0.72 pp, 12 seeds)."
                ),
            ),
        ],
    )
    def test_by_its_verdicts(self, gains: dict[str, np.ndarray], claim: str) -> None:
        comparison = store_comparison({**gains, "random_restart": NOISE[2]})
        assert comparisons_claims.claim_of_comparison(comparison) == f"{claim} {UNSEEN}"
        assert comparisons_claims.caveat_of_comparison(comparison) == CAVEAT
        said = comparisons_claims.answers_of_comparison(comparison, "sqlite:///x.db")
        assert said[CHECK] == (
            f"Each of the {12 * len(comparison.results)} searches is in the table at the end of "
            "this page and stored in sqlite:///x.db; the same call with the same seeds makes them "
            "again, with the same numbers."
        )

    def test_of_one_seed(self) -> None:
        comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
        claim = comparisons_claims.claim_of_comparison(comparison)
        assert claim == (
            "No searcher is shown to be better than random restarts: greedy comes closest, with "
            "+2.00 pp of test accuracy (about 20 of 1000 test images; no interval yet, 1 seed). 1 "
            "seed: what befalls fewer than 95 % of seeds may not have been seen."
        )
        assert comparisons_claims.caveat_of_comparison(comparison) == CAVEAT
        assert comparisons_claims.answers_of_comparison(comparison, None) == {
            "What you hold:": (
                "greedy's winners come to a test accuracy of 91.13 % on 1000 test examples, which "
                "no search saw, in the mean over 1 seed."
            ),
            "What is usual:": (
                "as many trials of random restarts come to 89.13 %; beyond that, greedy has "
                "+2.00 pp (no interval yet)."
            ),
            OTHERWISE: (
                "Not tried here are one longer training and other learning rates for the same "
                "compute, which may gain as much: adnn compare --controls longer,learning_rate."
            ),
            CHECK: (
                "Each of the 2 searches is in the table at the end of this page; the same call "
                "with the same seeds makes them again, with the same numbers."
            ),
        }

    def test_without_random_restarts_or_anything_else(self) -> None:
        alone = store_comparison({"greedy": [0.01] * 2})
        assert comparisons_claims.claim_of_comparison(alone) == (
            "There are no random restarts to compare with, so nothing can be told from luck."
        )
        luck = store_comparison({"random_restart": [0.01] * 2})
        assert comparisons_claims.claim_of_comparison(luck) == (
            "There are no searchers with results to compare with random restarts."
        )

    def test_says_what_an_ensemble_costs_later(self) -> None:
        gains = {"greedy": [0.02] * 8, "random_restart": [0.01] * 8}
        averages = [
            store_study(f"mine/{seed=}", sampler="ensemble", seed=seed, gain=0.07, steps=(1, 2, 3))
            for seed in range(8)
        ]
        results = {**store_comparison(gains).results, "mine": [*map(read_record, averages)]}
        comparison = Comparison(results, tuple(range(8)))
        told = "mine: predicting costs 3 times as much."
        assert f"\n{told}\n" in str(comparison)
        assert told in comparisons_claims.caveat_of_comparison(comparison)

    @pytest.mark.parametrize(
        ("searcher", "spent"),
        [
            ("longer", "on one longer training"),
            ("learning_rate", "on the learning rate"),
            ("constant", "on one offset for all layers"),
        ],
    )
    def test_says_what_the_same_compute_gains(self, searcher: str, spent: str) -> None:
        for n, evidence in (
            (1, "(no interval yet)"),
            (8, "(interval +6.00 to +6.00 pp, smallest +6.00 pp)"),
        ):
            gains = {"greedy": [0.02] * n, "random_restart": [0.01] * n, "mine": [0.07] * n}
            results = {**store_comparison(gains).results}
            results["mine"] = [searched_by(run, searcher) for run in results["mine"]]
            comparison = Comparison(results, tuple(range(n)))
            said = (
                f"The same compute spent {spent} gains +6.00 pp over random restarts {evidence}."
            )
            assert f". {said}" in comparisons_claims.claim_of_comparison(comparison)
            assert OTHERWISE not in comparisons_claims.answers_of_comparison(comparison, None)

    @pytest.mark.parametrize(
        ("constant", "said"),
        [
            (0.03, ", but worse than one offset for all layers, which is no search (-1."),
            (0.02, ", but not shown to be better than one offset for all layers, which is no"),
            (0.00, ", and better than one offset for all layers, which is no search (+"),
        ],
    )
    def test_a_search_has_to_beat_no_search(self, constant: float, said: str) -> None:
        gains = {"greedy": NOISE[0] + 0.02, "random_restart": NOISE[2], "one": NOISE[3] + constant}
        results = {**store_comparison(gains).results}
        results["one"] = [searched_by(run, "constant") for run in results["one"]]
        comparison = Comparison(results, tuple(range(12)))
        verdict = comparisons_claims.verdict_of_comparison(comparison)
        assert f"greedy is better than random restarts for most seeds{said}" in verdict
        # The largest letters of the report are that verdict.
        assert comparisons.page(comparison).headline == verdict
        assert comparisons_claims.claim_of_comparison(comparison).startswith(verdict)
        # So it is where nothing is better than random restarts.
        luck = {**results, "greedy": results["random_restart"]}
        equal = comparisons_claims.verdict_of_comparison(Comparison(luck, tuple(range(12))))
        assert "one offset for all layers, which is no search" in equal

    def test_what_repeats_is_told_of_each_searcher(self) -> None:
        names = ("greedy", "mine", "rates", "random_restart")
        before = store_comparison(dict.fromkeys(names, NOISE[2]))
        assert comparisons_claims.repeats_in_words(before) == ""
        runs = {**before.results, "rates": [*before.results["rates"]]}
        runs["rates"] = [searched_by(run, "learning_rate") for run in runs["rates"]]
        gains = {"greedy": NOISE[0], "mine": NOISE[1] * 0, "rates": NOISE[3] + 0.05}
        comparison = with_repeats(Comparison(runs, before.seeds), gains)
        said = comparisons_claims.repeats_in_words(comparison)
        assert said == (
            "trained from one fresh seed more in each of 12 beginnings, winners gain over their "
            "unmoved networks: greedy's offsets +0.01 pp (interval -0.24 to +0.25 pp, smallest "
            "-0.51 pp), which is not shown to repeat; mine's offsets +0.00 pp "
            "(interval +0.00 to +0.00 pp, smallest +0.00 pp), so nothing repeats "
            "that matters; rates's rate +5.24 pp (interval +4.91 to +5.57 pp, smallest +4.50 pp), "
            "which repeats for most seeds; intervals of 95 % for all 3 together."
        )
        assert f"What repeats: {said}" in " ".join(str(comparison).split())
        shown = text_of(comparisons.page(comparison).render())
        assert f"What repeats: {said}" in shown[: shown.index("Evidence")]

    def test_of_offsets_that_do_nothing_little_is_told_to_repeat(self) -> None:
        rng, n_runs, told = np.random.default_rng(0), 150, 0
        zeros = dict.fromkeys(("a", "b", "random_restart"), [0.0] * 8)
        comparison = store_comparison(zeros)
        for _ in range(n_runs):
            # Lucky winners gain on their own seed whatever they gain on a fresh one.
            gains = dict(zip("ab", rng.normal(0, 0.01, (2, 8)), strict=True))
            again = with_repeats(comparison, gains)
            told += "), which repeats" in comparisons_claims.repeats_in_words(again)
        assert told / n_runs <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / n_runs)

    def test_other_comparisons_of_the_same_objective_are_named(self) -> None:
        comparison = store_comparison({"greedy": [0.02] * 7, "random_restart": [0.0] * 7})
        assert "more of this storage" not in str(comparison)
        named = dataclasses.replace(comparison, like=tuple("abcdefg"))
        said = (
            "The same objective is compared in 7 more of this storage, such as 'a': each is wrong "
            "in 5 % for itself, so the best of several is wrong more often."
        )
        assert said in " ".join(str(named).split())
        assert said in text_of(comparisons.page(named).render())

    def test_later_looks_at_the_test_set_are_told(self) -> None:
        comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
        run = comparison.results["random_restart"][0]
        store_look(run.study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        # Trial 12 came between the looks.
        run.study.enqueue_trial({})
        run.study.tell(run.study.ask(), 2.0)
        store_look(run.study, "2026-11-25T14:00:00+00:00", 0.9, 0.005)
        results = {
            k: [read_record(r.study) for r in runs] for k, runs in comparison.results.items()
        }
        said = comparisons.page(Comparison(results, (0,))).mind
        n_looks = len(read_record(run.study).test_evaluations)
        assert n_looks >= 2
        assert f"The test set was looked at {n_looks} times, after 12" in said
        assert "all looks but the first are no longer of untouched test data" in said


def searched_by(record: SearchRecord, searcher: str) -> SearchRecord:
    settings = record.study.user_attrs["adnn:search"]
    record.study.set_user_attr("adnn:search", {**settings, "sampler": searcher})
    return read_record(record.study)


def claim_of(gains: dict[str, np.ndarray], before: Comparison, **changes: Any) -> str:
    """Return the claim of a comparison with other test values, by the arms that it has then."""
    for label, of_arm in gains.items():
        for run, gain in zip(before.results[label], of_arm, strict=True):
            [name] = [name for name in run.attrs if name.startswith("adnn:test/")]
            run.attrs[name] |= {"baseline": 0.9, "best": 0.9 + float(gain)}
    results = {label: before.results[label] for label in gains}
    return comparisons_claims.claim_of_comparison(
        dataclasses.replace(before, results=results, **changes)
    )


class TestInference:
    """Truth is known: how often a claim is false in the worst case that was tried."""

    def test_calling_again_with_the_best_arm_alone_claims_no_more(self) -> None:
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
                claim = claim_of(few, before, declared=of)
                false[name] += "is better than random restarts" in claim
        assert false["declared"] / n_runs <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / n_runs)
        assert false["forgotten"] / n_runs > 0.06  # As it would be.

    def test_rare_collapses_are_below_the_share_that_is_named(self) -> None:
        rng, n_runs, unseen = np.random.default_rng(1), 60, 0
        before = store_comparison({"a": [0.0] * 10, "random_restart": [0.0] * 10})
        for _ in range(n_runs):
            # Near-ties, but for 5 % of seeds that lose 5 points.
            collapses = rng.random(10) < 0.05
            gains = rng.normal(0, 1e-4, 10) - 0.05 * collapses
            claim = claim_of({"a": gains, "random_restart": np.zeros(10)}, before)
            is_equal = "a is equivalent" in claim
            unseen += is_equal
            assert "10 seeds: what befalls fewer than 26 % of seeds may not have been" in claim
            assert ("smallest -5" in claim or "smallest -4.9" in claim) == collapses.any()
        assert unseen / n_runs > 0.45


class TestClaim:
    @pytest.mark.parametrize(
        ("gain", "n_seeds", "claim", "verdict"),
        [
            (0.02, 12, "greedy is better than random restarts for most seeds: +", "better"),
            (-0.02, 12, "Every searcher is worse than random restarts", "worse"),
            (0.001, 12, "No searcher is shown to be better than random restarts", "undecided"),
            (0.02, 3, "No searcher is shown to be better than random restarts", "undecided"),
        ],
    )
    def test_is_no_more_than_the_verdict(
        self, gain: float, n_seeds: int, claim: str, verdict: str
    ) -> None:
        greedy, restarts = noise(2, n_seeds)
        for gains in (
            {"greedy": greedy + gain, "random_restart": restarts},
            {"random_restart": restarts, "greedy": greedy + gain},
        ):
            comparison = store_comparison(gains)
            assert comparisons_claims.claim_of_comparison(comparison).startswith(claim)
            assert [row.verdict for row in comparisons_claims.against_control(comparison)] == [
                verdict
            ]

    def test_of_a_copy_is_that_it_is_equivalent(self) -> None:
        comparison = store_comparison({"greedy": [0.01] * 8, "random_restart": [0.01] * 8})
        assert comparisons_claims.claim_of_comparison(comparison).startswith(
            "No searcher is better"
        )
        assert "equivalent" in comparisons_claims.claim_of_comparison(comparison)

    def test_is_of_one_that_is_better_whatever_the_mean_of_one_that_may_not_be(self) -> None:
        steady, noisy, restarts = noise(3)
        gains = {
            "steady": steady + 0.008,
            "noisy": 30 * noisy + 0.05,
            "random_restart": restarts,
        }
        comparison = store_comparison(gains)
        verdicts = {row.arm: row.verdict for row in comparisons_claims.against_control(comparison)}
        assert verdicts == {"steady": "better", "noisy": "undecided"}
        assert comparisons_claims.claim_of_comparison(comparison).startswith(
            "steady is better than random restarts"
        )
        assert comparisons.page(comparison).headline.startswith(
            "steady is better than random restarts for most seeds: "
        )

    def test_is_not_of_every_searcher_while_one_is_undecided(self) -> None:
        worse, noisy, restarts = noise(3)
        gains = {
            "worse": worse - 0.01,
            "noisy": 30 * noisy - 0.03,
            "random_restart": restarts,
        }
        comparison = store_comparison(gains)
        verdicts = {row.arm: row.verdict for row in comparisons_claims.against_control(comparison)}
        assert verdicts == {"worse": "worse", "noisy": "undecided"}
        claim = comparisons_claims.claim_of_comparison(comparison)
        assert claim.startswith("No searcher is shown to be better than random restarts: worse")
