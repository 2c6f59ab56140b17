"""What plans tell their readers."""

from __future__ import annotations

import pytest
from known_facts import pilot, planned

from adnn_optuna._units import ACCURACY
from adnn_optuna.reporting import comparisons
from adnn_optuna.stats.power import plan_seeds


def test_whole_text() -> None:
    plan = planned({"claim": pilot(6)}, 0.01)
    assert comparisons.plan_text(plan) == (
        "To show a gain of 1 pp with a power of 80%:\n"
        "  planned, fresh seeds: 14 seeds, 7 hours\n"
        "  going on and looking again: 25 seeds in all, 9.5 hours more, or fewer if all is "
        "decided before\n"
        "The standard deviation of 1 pp is that of 6 pilot seeds: it may take 7 to 27 planned "
        "seeds."
    )
    assert comparisons.plan_text(planned({"a": pilot(10), "b": pilot(10)}, 0.0003)) == (
        "To show a gain of 0.03 pp with a power of 80%, for each of 2 claims:\n"
        "  planned, fresh seeds: 12940 seeds, 6470 hours\n"
        "  going on and looking again: far more seeds than planned: do not\n"
        "The standard deviation of 1 pp is that of 10 pilot seeds, pooled over the claims: it may "
        "take 6476 to 22807 planned seeds."
    )
    assert comparisons.plan_figure(plan).layout.title.text == "Power to show +1 pp"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "0.23 minutes"), (257, "60 minutes"), (3600, "14 hours"), (400, "1.6 hours")],
)
def test_hours_are_told_as_one_would(seconds: float, said: str) -> None:
    plan = plan_seeds({"claim": pilot(6)}, gain=0.01, seconds_per_seed=seconds, unit=ACCURACY)
    assert f"fresh seeds: 14 seeds, {said}\n" in comparisons.plan_text(plan)


def test_few_pilot_pairs_are_told() -> None:
    few = planned({"claim": pilot(5)}, 0.01)
    text = comparisons.plan_text(few)
    assert "5 pilot seeds" in text
    assert f"{few.seeds_low} to {few.seeds_high} planned seeds" in text
    assert f"planned, fresh seeds: {few.seeds} seeds" in text
    assert f"{few.seeds_sequential} seeds in all" in text


def test_a_gain_far_below_the_spread_is_told_as_such() -> None:
    assert "far more seeds" in comparisons.plan_text(planned({"claim": pilot(10)}, 0.0003))


def test_the_figure_shows_both_ways() -> None:
    plan = planned({"claim": pilot(6)}, 0.01)
    figure = comparisons.plan_figure(plan)
    assert [trace.name for trace in figure.data] == ["planned", "looking again"]
    assert dict(zip(figure.data[0].x, figure.data[0].y, strict=True))[plan.seeds] >= 80


def test_page_tells_what_is_printed() -> None:
    plan = planned({"claim": pilot(6)}, 0.01)
    page = comparisons.plan_page(plan).render()
    for line in comparisons.plan_text(plan).splitlines():
        assert line in page
    assert f"power of 80%: {plan.seeds} planned seeds.</h1>" in page
    assert "Power to show +1 pp" in page
