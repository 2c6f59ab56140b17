"""Verdicts as they print, are drawn and are shown on a page."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import pytest

from adnn_optuna import Verdict
from adnn_optuna.accountability.contract import Claim

if TYPE_CHECKING:
    from pathlib import Path

GAINS = [0.01, 0.02, 0.03, 0.02, 0.02]
HOLDS: dict[str, Any] = {
    "gain": 0.02,
    "interval": (0.005, 0.035),
    "examples": "images",
    "promised": Claim("test_accuracy", 0.025, 0.001),
}


def test_prints_what_each_status_means() -> None:
    statuses: tuple[Any, ...] = ("exact", "within_tolerance", "breached", "cannot_check")
    assert [str(Verdict(status)) for status in statuses] == [
        "exact: trained again, baseline and winner have the same bits.",
        "within_tolerance: trained again in another environment, all is within the tolerance.",
        "breached: the contract does not hold.",
        "cannot_check: the contract cannot be checked.",
    ]


def test_prints_reasons_findings_and_what_was_not_checked() -> None:
    shown = "(95 % interval from the test images +0.50 to +3.50 pp)"
    verdict = Verdict("exact", not_checked=("study: how many trials",), **HOLDS)
    lines = [
        "exact: trained again, baseline and winner have the same bits.",
        f"  - gain on the test set: +2.00 pp, shown in this environment {shown}",
        "  - not checked: study: how many trials",
    ]
    assert str(verdict).split("\n") == lines
    verdict = Verdict("within_tolerance", ("environment.system is another.",), (), **HOLDS)
    assert str(verdict).split("\n")[1:] == ["  - environment.system is another.", lines[1]]


@pytest.mark.parametrize(
    ("gain", "half_width", "said"),
    [
        (0.02, 0.0, "+2.00 pp, shown in"),
        (0.0, 0.0, "+0.00 pp, not shown in"),
        (-0.01, 0.0, "-1.00 pp, not shown in"),
        (0.02, 0.005, "+2.00 ± 0.50 pp, shown in"),
        (0.005, 0.005, "+0.50 ± 0.50 pp, not shown in"),
    ],
)
def test_calls_a_gain_shown_that_is_more_than_what_it_may_be_off(
    gain: float, half_width: float, said: str
) -> None:
    verdict = Verdict("exact", **HOLDS | {"gain": gain, "half_width": half_width})
    assert f"  - gain on the test set: {said} this environment (" in str(verdict)


def test_says_what_fresh_random_numbers_make_of_the_gain() -> None:
    verdict = Verdict("exact", certified={"orders": GAINS}, fresh={"orders": GAINS}, **HOLDS)
    assert "\n  - with 5 fresh orders of the batches the gain is +2.00 pp" in str(verdict)
    assert str(verdict).endswith("\n  - the gain transfers")
    # Of a gain of R² there is no percentage.
    r2 = HOLDS | {"promised": Claim("test_r2", 0.025, 0.0)}
    assert "gain on the test set: +0.0200, shown" in str(Verdict("exact", **r2))


def test_draws_what_is_promised_and_what_comes_out() -> None:
    verdict = Verdict("exact", certified={"orders": GAINS}, fresh={"orders": GAINS}, **HOLDS)
    figure = verdict.plot()
    assert [label.replace("<br>", " ") for label in figure.layout.yaxis.ticktext] == [
        "promised",
        "trained again",
        "promised with fresh orders of the batches",
        "trained with fresh orders of the batches",
    ]
    assert [trace.x[0] for trace in figure.data] == pytest.approx([2.5, 2.0, 2.0, 2.0])
    assert figure.data[0].error_x.array is None
    assert figure.data[1].error_x.array == pytest.approx((1.5,))
    assert not Verdict("breached").plot().data


def test_reports_what_it_prints(tmp_path: Path) -> None:
    reason = "winner.params is '<script>alert(1)</script>'."
    for verdict in (Verdict("breached", (reason,)), Verdict("exact", **HOLDS)):
        verdict.report(tmp_path / "verdict.html")
        page = (tmp_path / "verdict.html").read_text()
        assert html.escape(str(verdict), quote=False) in page.replace("&#39;", "'")
        assert f"<h1>{str(verdict).splitlines()[0]}</h1>" in page
        assert ('class="plot"' in page) == verdict.holds


def test_prints_no_commands_for_terminals() -> None:
    verdict = Verdict("within_tolerance", ("environment.versions.\x1b[2J\ud800\u202e is None.",))
    assert all(line.isprintable() for line in str(verdict).split("\n"))
    assert r"  - environment.versions.\x1b[2J\ud800\u202e is None." in str(verdict)
