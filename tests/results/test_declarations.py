"""The declaration of a comparison: its seeds and design, and changes that are refused."""

from __future__ import annotations

import itertools
import re
import warnings
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from stored_studies import arm_named

from adnn_optuna._attributes import COMPARISON
from adnn_optuna.results.declarations import (
    checked_seeds,
    continued_declaration,
    fixed_declaration,
    n_claims_of,
    store_declaration,
    warn_of_few_seeds,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adnn_optuna._attributes import Declaration

PLANNED: Declaration = fixed_declaration([4, 2, 7])
LOOKING: Declaration = {**PLANNED, "sequential": True}
RAISED: Declaration = {**LOOKING, "after_fixed": True}
NAMED: Any = {"study_name": "mine", "arms": {}, "arguments": {}}


def after(before: Declaration | None, seeds: Sequence[int], *, sequential: bool) -> Declaration:
    """Return the declaration after an earlier declaration, when these seeds are requested."""
    return continued_declaration(before, seeds, sequential=sequential, **NAMED)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (0.5, "seeds must be integers, or how many; got 0.5. Pass a number or a list."),
        ([], "seeds must not be empty; got none. Pass at least one."),
        ([0, 2**64], f"seed must be below {2**64:,}; got {2**64}. Pass a smaller number."),
        (
            [2, 1, 2],
            "seeds must be different from each other; got [2, 1, 2]. Remove duplicates.",
        ),
        (
            itertools.count(),
            "seeds must be at most 10,000, as each is a study; got more. Pass fewer.",
        ),
    ],
)
def test_invalid_seeds_are_refused(seeds: Any, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(said) + "$"):
        checked_seeds(seeds)


def test_seeds_below_the_limit_are_accepted() -> None:
    assert checked_seeds([0, 2**64 - 1]) == (0, 2**64 - 1)


def test_ten_thousand_seeds_are_accepted() -> None:
    assert checked_seeds(iter(range(10_000))) == tuple(range(10_000))


class TestDeclared:
    @pytest.mark.parametrize("sequential", [False, True])
    def test_first_takes_the_arguments(self, sequential: bool) -> None:
        declaration = after(None, (4, 2), sequential=sequential)
        assert declaration == {**fixed_declaration([4, 2]), "sequential": sequential}

    def test_stays_the_same_or_gains_seeds(self, logs: pytest.LogCaptureFixture) -> None:
        assert after(PLANNED, (4, 2, 7), sequential=False) == PLANNED
        # A request for fewer seeds than a sequential comparison has is allowed.
        assert after(LOOKING, (4, 2), sequential=False) == LOOKING
        assert after(LOOKING, (4, 2, 7, 1), sequential=False) == {**LOOKING, "seeds": [4, 2, 7, 1]}
        # A comparison that began with a fixed design keeps that record.
        assert after(RAISED, (4, 2, 7, 1), sequential=True) == {**RAISED, "seeds": [4, 2, 7, 1]}
        assert not logs.records

    @pytest.mark.parametrize(("seeds", "sequential"), [((4, 2, 7, 1), False), ((4, 2, 7), True)])
    def test_with_further_seeds_becomes_sequential_and_warns_first(
        self, seeds: tuple[int, ...], sequential: bool, logs: pytest.LogCaptureFixture
    ) -> None:
        assert after(PLANNED, seeds, sequential=sequential) == {**RAISED, "seeds": [*seeds]}
        [record] = logs.records
        assert record.getMessage() == (
            "The comparison 'mine' was planned with 3 seeds. With more seeds or arms it is "
            "sequential from now on, with wider CIs: about half of the claims that were just "
            "decided become inconclusive."
        )

    @pytest.mark.parametrize("seeds", [(4, 2), (2, 4, 7), (4, 2, 8, 7), (1,)])
    def test_with_other_seeds_is_refused(self, seeds: tuple[int, ...]) -> None:
        sentence = (
            f"seeds must begin with the 3 declared seeds of 'mine', 4, 2, 7; got "
            f"{', '.join(map(str, seeds))}. Pass the declared seeds in their order, or these and "
            "more."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            after(PLANNED, seeds, sequential=False)

    @pytest.mark.parametrize(
        ("n_seeds", "n_claims", "sequential", "said"),
        [
            (
                1,
                1,
                False,
                "1 seed can decide nothing about the {}: at least 4 are needed for 1 claim.",
            ),
            (
                3,
                3,
                False,
                "3 seeds can decide nothing about the {}: at least 4 are needed for 3 claims.",
            ),
            (
                8,
                2,
                True,
                "8 seeds can decide nothing about the {}: at least 9 are needed for 2 claims.",
            ),
        ],
    )
    def test_with_too_few_seeds_warns(
        self, n_seeds: int, n_claims: int, sequential: bool, said: str
    ) -> None:
        declaration: Declaration = {**PLANNED, "sequential": sequential}
        with pytest.warns(UserWarning, match="can decide nothing") as caught:
            warn_of_few_seeds(n_seeds, {"samplers": n_claims, "controls": 0}, declaration)
        assert [str(warning.message) for warning in caught] == [said.format("samplers")]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            enough = n_seeds + (5 if n_seeds == 1 else 1)
            warn_of_few_seeds(enough, {"samplers": n_claims}, declaration)

    def test_keeps_all_arms_and_the_latest_arguments(self) -> None:
        before: Declaration = {
            **PLANNED,
            "arms": {"greedy": "greedy", "mine": "TPESampler"},
            "arguments": {"max_trial": 3},
        }
        arms = {"annealing": "annealing", "greedy": "greedy"}
        now: Any = {**NAMED, "arms": arms, "arguments": {"max_trial": 5}}
        declaration = continued_declaration(before, (4, 2, 7), sequential=False, **now)
        assert declaration == {
            **RAISED,  # The arm annealing was added later.
            "arms": {**before["arms"], **arms},
            "arguments": {"max_trial": 5},
        }

    def test_with_fewer_arms_stays_planned(self) -> None:
        before: Declaration = {**PLANNED, "arms": {"greedy": "greedy", "mine": "TPESampler"}}
        now: Any = {**NAMED, "arms": {"mine": "TPESampler"}}
        assert continued_declaration(before, (4, 2, 7), sequential=False, **now) == before


def test_claims_are_counted_over_all_arms() -> None:
    counted = {
        ("greedy", "random_restart"): (1, 0),
        ("greedy", "annealing", "random_restart"): (3, 0),
        # Each greedy arm is compared with annealing.
        ("greedy", "greedy", "annealing", "random_restart"): (5, 0),
        ("tpe", "annealing", "greedy", "random"): (3, 0),  # These arms search a function.
        ("greedy", "TPESampler", "random_restart", "longer", "ensemble"): (2, 6),
        ("greedy",): (0, 0),
        ("random_restart",): (0, 0),
    }
    for names, numbers in counted.items():
        n_claims = n_claims_of(
            {label: arm_named(name) for label, name in zip("abcde", names, strict=False)}
        )
        assert n_claims == dict(zip(("samplers", "controls"), numbers, strict=True))


def test_an_equal_declaration_is_stored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    study, calls = optuna.create_study(), []
    store = study.set_user_attr

    def counting(name: str, value: Any) -> None:
        calls.append(name)
        store(name, value)

    monkeypatch.setattr(study, "set_user_attr", counting)
    for declaration in (PLANNED, PLANNED, LOOKING):
        store_declaration(study, declaration)
        assert study.user_attrs[COMPARISON] == declaration
    assert len(calls) == 2
