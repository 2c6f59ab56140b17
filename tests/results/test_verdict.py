"""Verdicts on contracts claim only what the status and the new seeds show."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import scipy.stats
from snapshots import assert_states, assert_surfaces

from adnn_optuna import Verdict
from adnn_optuna._units import PLAIN, Estimate
from adnn_optuna.experiments.confirmation import Confirmation
from adnn_optuna.experiments.verdict import Claim, Status

if TYPE_CHECKING:
    from pathlib import Path

REPRODUCED: dict[str, Any] = {
    "gain": Estimate(0.02, 0.005, 0.035),
    "claim": Claim("test_accuracy", 0.025, 0.001),
}
STATED = ("study: number of trials, sampler and duration of the search",)


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


def test_surfaces_of_verdicts() -> None:
    assert_surfaces("verdict_exact", Verdict("exact", (), STATED, **REPRODUCED))
    new_seeds_facts = {"confirmation": CLAIMED, "new_seeds": facts(0.005, 0.01, 0.015, 20)}
    other_reasons = ("environment.versions.keras is 3.12.0, here 3.13.1.",)
    assert_surfaces(
        "verdict_new_seeds",
        Verdict(
            "within_tolerance",
            other_reasons,
            STATED,
            half_width=0.005,
            **REPRODUCED,
            **new_seeds_facts,
        ),
    )
    reasons = (
        "files.weights: 'a.npz' is larger than the best network's weights.",
        "best.test_accuracy is 0.9, but trained again 0.8.",
    )
    assert_surfaces("verdict_breached", Verdict("breached", reasons))


def of_new_seeds(status: Any, low: float, high: float) -> Verdict:
    reasons, new_seeds_facts = (
        ("The gain varies too much here.",),
        facts(low, (low + high) / 2, high, 20),
    )
    return Verdict(status, reasons, confirmation=CLAIMED, new_seeds=new_seeds_facts, **REPRODUCED)


def test_surfaces_of_states() -> None:
    seeds = facts(0.005, 0.01, 0.015, 20)
    states = {
        **{status: Verdict(status) for status in get_args(Status)},
        "replicates": of_new_seeds("exact", 0.005, 0.015),
        "not shown": of_new_seeds("within_tolerance", -0.005, 0.025),
        "lost": of_new_seeds("cannot_check", -0.025, -0.005),
        "not known": of_new_seeds("exact", math.nan, math.nan),
        "given seeds": Verdict("exact", new_seeds=seeds, are_drawn=False, **REPRODUCED),
        "R²": Verdict("exact", **REPRODUCED | {"claim": Claim("test_r2", 0.025, 0.0, PLAIN)}),
    }
    assert_states("verdict", states)


@pytest.mark.parametrize(
    ("status", "verdict", "is_reproduced"),
    [
        ("exact", "reproduced", True),
        ("within_tolerance", "reproduced", True),
        ("breached", "breached", False),
        ("cannot_check", "cannot check", False),
    ],
)
def test_without_new_seeds_no_replication_is_claimed(
    status: Any, verdict: str, is_reproduced: bool
) -> None:
    assert Verdict(status).document().verdict == verdict
    assert Verdict(status).is_reproduced == is_reproduced


@pytest.mark.parametrize(
    ("low", "high"), [(0.005, 0.015), (-0.005, 0.025), (-0.025, -0.005), (math.nan, math.nan)]
)
def test_only_a_ci_above_0_replicates(low: float, high: float) -> None:
    for status in ("exact", "within_tolerance", "cannot_check"):
        assert of_new_seeds(status, low, high).replicates == (low > 0)


def test_the_claimed_mean_is_compared_with_that_of_new_seeds() -> None:
    gains = (0.0, 0.02) * 10
    new_seeds_facts = dataclasses.replace(facts(0.005, 0.01, 0.015, 20), gains=gains)
    document = Verdict(
        "exact", confirmation=CLAIMED, new_seeds=new_seeds_facts, **REPRODUCED
    ).document()
    excess = next(line for line in document.estimates if line.label == "claimed minus found")
    half = scipy.stats.t.ppf(0.975, 19) * np.std(gains, ddof=1) * np.sqrt(1 / 20 + 1 / 10)
    assert excess.estimate == pytest.approx((0.02, 0.02 - half, 0.02 + half))


def test_without_offsets_no_gain_can_replicate() -> None:
    none = dataclasses.replace(facts(0.0, 0.0, 0.0, 20), gains=())
    document = Verdict("exact", new_seeds=none, **REPRODUCED).document()
    assert document.verdict == "not shown"
    assert [line.label for line in document.estimates] == [
        "vs new baselines",
        "gain, trained again",
    ]


def test_claimed_numbers_are_in_a_table_and_not_among_estimates() -> None:
    tuned = dataclasses.replace(CLAIMED, hyperparameters=Estimate(0.3, 0.2, 0.4))
    document = Verdict("exact", confirmation=tuned, **REPRODUCED).document()
    assert [line.label for line in document.estimates] == ["gain, trained again"]
    [_, claims] = document.tables
    assert claims.rows[-1] == ("hyperparameters vs first trial's", "+30.00 pp", "+20.00 to +40.00")
    assert "shown" not in str(Verdict("exact", confirmation=tuned, **REPRODUCED))


def test_the_figure_shows_claimed_and_measured_numbers() -> None:
    new_seeds = facts(0.005, 0.01, 0.015, 20)
    verdict = Verdict("exact", confirmation=CLAIMED, new_seeds=new_seeds, **REPRODUCED)
    figure = verdict.plot()
    assert [label.replace("<br>", " ") for label in figure.layout.yaxis.ticktext] == [
        "replication",
        "vs new baselines",
        "claimed minus found",
        "gain, trained again",
        "gain, claimed",
        "replication, claimed",
    ]
    assert [gain.x[0] for gain in figure.data[:6]] == pytest.approx([1.0, 3.0, 2.0, 2.0, 2.5, 3.0])
    # The claim on one seed has no CI.
    assert [gain.error_x.array is None for gain in figure.data[:6]] == [0, 0, 0, 0, 1, 0]
    assert figure.data[2].error_x.array == pytest.approx([0.1])
    with pytest.raises(ValueError, match="There is nothing to draw"):
        Verdict("breached").plot()


def test_a_report_escapes_the_texts_of_a_contract(tmp_path: Path) -> None:
    Verdict("breached", ("best.params is '<script>alert(1)</script>'.",)).report(
        tmp_path / "verdict.html"
    )
    page = (tmp_path / "verdict.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_report_has_the_suffix_html(tmp_path: Path) -> None:
    for name in ("verdict.pdf", "verdict"):
        with pytest.raises(ValueError, match=r"path must be the name of a \.html file; got"):
            Verdict("breached").report(tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_a_verdict_prints_no_control_characters() -> None:
    verdict = Verdict("within_tolerance", ("environment.versions.\x1b[2J\ud800\u202e is None.",))
    assert all(line.isprintable() for line in str(verdict).split("\n"))


def test_the_next_step_checks_new_seeds_of_the_same_file() -> None:
    verdict = Verdict("exact", confirmation=CLAIMED, _file="my own.json", **REPRODUCED)
    step = verdict.document().next_step
    assert step.python == "adnn.verify('my own.json', new_seeds=20)"
    assert step.shell == "adnn verify 'my own.json' --new-seeds 20"
    passed = dataclasses.replace(verdict, new_seeds=facts(0.005, 0.01, 0.015, 20))
    assert not passed.document().next_step.python
