"""The text and figure of a plan."""

from __future__ import annotations

import pytest
from pilots import pilot, planned
from snapshots import assert_surfaces

from adnn_optuna._units import ACCURACY
from adnn_optuna.results.plan import Plan
from adnn_optuna.stats.power import required_seeds


def test_surfaces_of_a_plan() -> None:
    assert_surfaces("plan", planned({"a": pilot(6), "b": pilot(6)}, 0.01))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.1, "1.4 s"), (10, "2.3 min"), (257, "60 min"), (400, "1.6 h"), (3600, "14 h")],
)
def test_durations_have_a_readable_unit(seconds: float, said: str) -> None:
    required = required_seeds({"claim": pilot(6)}, 0.01, after_fixed=True)
    plan = Plan(required, 9, seconds, ACCURACY, 30)
    line = plan.document().estimates[0]
    assert (line.label, line.value, line.remark) == ("fixed design", "14", f"new seeds, {said}")


def test_a_sequential_design_that_needs_far_more_seeds_is_not_offered() -> None:
    plan = planned({"claim": pilot(10)}, 0.0003)
    assert [line.label for line in plan.document().estimates] == ["fixed design"]
    assert "A sequential design needs far more seeds than a fixed one." in plan.document().notes
    assert len(plan.plot().data) == 3


def test_claims_with_unequal_variance_are_named_with_their_seeds() -> None:
    plan = planned({"narrow": pilot(20, 0.005), "wide": pilot(20, 0.02)}, 0.01)
    narrow, wide = plan.numbers.seeds_by_claim.values()
    assert f"narrow {narrow}, wide {wide}" in plan.document().notes[1]
    assert "largest of all claims" in plan.document().notes[0]


def test_a_claim_whose_differences_are_equal_is_omitted() -> None:
    document = planned({"tpe vs random": [0.0] * 6, "other": pilot(6)}, 0.01).document()
    assert "each of" not in document.conclusion
    assert "tpe vs random is omitted: its 6 differences are equal." in document.notes


def test_the_figure_shows_both_designs() -> None:
    plan = planned({"claim": pilot(6)}, 0.01)
    figure = plan.plot()
    assert [trace.name for trace in figure.data] == [
        f"fixed design: {plan.seeds} seeds",
        f"sequential design: {plan.numbers.pairs_sequential} seeds",
        None,
        None,
    ]
    assert figure.data[2].x == (plan.seeds, plan.numbers.pairs_sequential)
    assert dict(zip(figure.data[0].x, figure.data[0].y, strict=True))[plan.seeds] >= 80
    title = figure.layout.title.text.replace("<br>", " ")
    assert title == "14 seeds show a gain of 1\N{NO-BREAK SPACE}pp with a power of 80%"
