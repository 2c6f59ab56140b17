"""Verdicts on contracts: what each status and the new seeds show, and nothing more."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from snapshots import assert_surfaces

from adnn_optuna import Verdict
from adnn_optuna._units import PLAIN, Estimate
from adnn_optuna.results.confirmation import Confirmation
from adnn_optuna.results.verification import Claim

if TYPE_CHECKING:
    from pathlib import Path

REPRODUCED: dict[str, Any] = {
    "gain": Estimate(0.02, 0.005, 0.035),
    "examples": "images",
    "claim": Claim("test_accuracy", 0.025, 0.001),
}
NOT_CHECKED = ("study: number of trials, sampler and duration of the search",)


def facts(low: float, gain: float, high: float, n: int) -> Confirmation:
    return Confirmation(
        trial=0,
        rank=1,
        level=0.95,
        test_score=Estimate(0.93, 0.91, 0.95),
        vs_baselines=Estimate(0.03, 0.01, 0.05),
        replication=Estimate(gain, low, high),
        hyperparameters=None,
        seeds=tuple(range(n)),
        gains=(gain,) * n,
        baselines=(0.9,) * n,
    )


CLAIMED = facts(0.02, 0.03, 0.04, 10)


def test_prints_as_the_snapshots() -> None:
    assert_surfaces("verdict_exact", Verdict("exact", (), NOT_CHECKED, **REPRODUCED))
    found = {"confirmation": CLAIMED, "new_seeds": facts(0.005, 0.01, 0.015, 20)}
    others = ("environment.versions.keras is 3.12.0, here 3.13.1.",)
    assert_surfaces(
        "verdict_new_seeds",
        Verdict("within_tolerance", others, NOT_CHECKED, half_width=0.005, **REPRODUCED, **found),
    )
    reasons = ("files.weights: 'a.npz' is larger than the best network's weights.",) * 2
    assert_surfaces("verdict_breached", Verdict("breached", reasons))


@pytest.mark.parametrize(
    ("status", "verdict", "is_reproduced"),
    [
        ("exact", "exact", True),
        ("within_tolerance", "within tolerance", True),
        ("breached", "breached", False),
        ("cannot_check", "cannot check", False),
    ],
)
def test_the_title_begins_with_the_status(status: Any, verdict: str, is_reproduced: bool) -> None:
    found = Verdict(status)
    assert found.document().title.startswith(f"{status}: ")
    assert found.document().verdict == verdict
    assert found.is_reproduced == is_reproduced


@pytest.mark.parametrize(
    ("ends", "conclusion"),
    [
        ((0.005, 0.015), "The gain of the offsets replicates on 20 new seeds, drawn here."),
        ((-0.005, 0.025), "No gain of the offsets is shown on 20 new seeds, drawn here."),
        ((-0.025, -0.005), "The offsets lose on 20 new seeds, drawn here."),
        ((float("nan"), float("nan")), "Replication is not known: a training run on 20 new"),
    ],
)
def test_only_a_ci_above_0_replicates(ends: tuple[float, float], conclusion: str) -> None:
    new_seeds = facts(ends[0], sum(ends) / 2, ends[1], 20)
    verdict = Verdict("exact", confirmation=CLAIMED, new_seeds=new_seeds, **REPRODUCED)
    assert conclusion in verdict.document().conclusion
    assert verdict.replicates == (ends[0] > 0)


def test_without_offsets_nothing_can_replicate() -> None:
    none = dataclasses.replace(facts(0.0, 0.0, 0.0, 20), gains=())
    document = Verdict("exact", new_seeds=none, **REPRODUCED).document()
    assert document.conclusion.endswith("has no offsets, so no gain can replicate.")
    assert [line.label for line in document.estimates] == [
        "vs new baselines",
        "gain, trained again",
    ]


def test_the_makers_numbers_are_claims_in_a_table_and_no_estimates() -> None:
    tuned = dataclasses.replace(CLAIMED, hyperparameters=Estimate(0.3, 0.2, 0.4))
    document = Verdict("exact", confirmation=tuned, **REPRODUCED).document()
    assert [line.label for line in document.estimates] == ["gain, trained again"]
    [claims] = document.tables
    assert claims.title == "Claimed by the maker, on 10 new seeds"
    assert claims.rows[-1] == ("hyperparameters vs first trial's", "+30.00 pp", "+20.00 to +40.00")
    assert "shown" not in str(Verdict("exact", confirmation=tuned, **REPRODUCED))


def test_a_gain_of_another_metric_has_no_percentage_points() -> None:
    of_r2 = REPRODUCED | {"claim": Claim("test_r2", 0.025, 0.0, PLAIN)}
    document = Verdict("exact", **of_r2).document()
    assert document.estimates[0].value == "+0.0200"
    assert document.scope == "test R²"


def test_draws_what_is_claimed_and_what_was_measured() -> None:
    new_seeds = facts(0.005, 0.01, 0.015, 20)
    verdict = Verdict("exact", confirmation=CLAIMED, new_seeds=new_seeds, **REPRODUCED)
    figure = verdict.plot()
    assert [label.replace("<br>", " ") for label in figure.layout.yaxis.ticktext] == [
        "replication",
        "vs new baselines",
        "gain, trained again",
        "gain, claimed",
        "replication, claimed",
    ]
    assert [gain.x[0] for gain in figure.data] == pytest.approx([1.0, 3.0, 2.0, 2.5, 3.0])
    # What is claimed of one seed has no CI.
    assert [gain.error_x.array is None for gain in figure.data] == [0, 0, 0, 1, 0]
    assert figure.data[0].error_x.array == pytest.approx([0.5])
    assert not Verdict("breached").plot().data


def test_a_report_escapes_what_a_contract_holds(tmp_path: Path) -> None:
    Verdict("breached", ("best.params is '<script>alert(1)</script>'.",)).report(
        tmp_path / "verdict.html"
    )
    page = (tmp_path / "verdict.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_prints_no_commands_for_terminals() -> None:
    verdict = Verdict("within_tolerance", ("environment.versions.\x1b[2J\ud800\u202e is None.",))
    assert all(line.isprintable() for line in str(verdict).split("\n"))
    assert r"environment.versions.\x1b[2J\ud800\u202e is None." in str(verdict)
