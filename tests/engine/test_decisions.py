"""The next step of a worker in a table of snapshots, each of which a kill or a race once
caused.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from adnn_optuna.engine.decisions import (
    SECONDS_OF_BELIEF,
    Begin,
    End,
    GiveBack,
    Snapshot,
    Unfinished,
    Wait,
    after,
    before,
)

EXHAUSTED = End("exhausted")


def trial(number: int, **options: Any) -> Unfinished:
    """Return a trial of another live worker; its id is 100 + its number."""
    return Unfinished(100 + number, number, **{"is_alive": True, "is_owned": True, **options})


def own(number: int, **options: Any) -> Unfinished:
    """Return a trial that this worker runs."""
    return trial(number, is_open=True, is_ours=True, **options)


def waiting(number: int, **options: Any) -> Unfinished:
    options = {"is_alive": None, "is_owned": False, **options}
    return trial(number, is_waiting=True, **options)


def unknown(number: int, **options: Any) -> Unfinished:
    """Return a trial whose worker is unknown."""
    return trial(number, **{"is_alive": None, "is_owned": False, **options})


def study(*unfinished: Unfinished, **options: Any) -> Snapshot:
    return Snapshot(unfinished, **options)


BEFORE = {
    "a new study": (study(), Begin(1)),
    "a limit is reached": (study(limit="max_time"), End("max_time")),
    "a limit is reached, though others still run": (study(trial(0), limit="a"), End("a")),
    "the sampler has nothing left": (study(n_free=0), EXHAUSTED),
    "nothing left, but others run the rest: one may die": (study(trial(0), n_free=0), Wait()),
    "nothing left, but something is enqueued": (study(waiting(0), n_free=0), Begin(1)),
    "all wanted evaluations are made": (study(n_wanted=0), EXHAUSTED),
    "all are made, though another worker runs one that nobody needs": (
        study(trial(0), n_wanted=0),
        EXHAUSTED,
    ),
    "others make the evaluations that are missing": (
        study(trial(0), n_wanted=1, n_free=0),
        Wait(),
    ),
    # Trials in rounds.
    "a round is a batch": (study(batch_size=4), Begin(4)),
    "a round ends with the batch that was begun before a kill": (
        study(batch_size=4, n_done=6),
        Begin(2),
    ),
    "a round is no longer than the limit": (study(batch_size=4, max_trial=3), Begin(3)),
    "a round is no longer than the proposals": (study(batch_size=4, n_free=3), Begin(3)),
    "what is enqueued comes first, alone": (study(waiting(0), batch_size=4), Begin(1)),
    "others' trials leave room for the last one": (
        study(trial(3), n_done=2, max_trial=4),
        Begin(1),
    ),
    "others run the last ones": (study(trial(3), n_done=3, max_trial=4), Wait()),
    "a batch is not split: others run a part of it": (
        study(trial(3), n_done=2, max_trial=4, batch_size=2),
        Wait(),
    ),
    "a dead worker's trial is no live one": (
        study(trial(3, is_alive=False), n_done=3, max_trial=4),
        Begin(1),
    ),
    "a worker elsewhere is believed for a while": (
        study(unknown(3), n_done=3, max_trial=4),
        Wait(),
    ),
    "nobody waits for ever for it": (
        study(unknown(3, seconds_known=SECONDS_OF_BELIEF), n_done=3, max_trial=4),
        Begin(1),
    ),
    "its heart beats, or the storage would have ended it": (
        study(
            unknown(3, is_owned=True, seconds_known=math.inf),
            n_done=3,
            max_trial=4,
            has_heartbeats=True,
        ),
        Wait(),
    ),
    "without an owner, no heart beats": (
        study(
            unknown(3, seconds_known=math.inf),
            n_done=3,
            max_trial=4,
            has_heartbeats=True,
        ),
        Begin(1),
    ),
    # Trials that begin as soon as another one ends.
    "every slot is filled": (study(batch_size=4, is_refilled=True), Begin(4)),
    "a slot is refilled as soon as it is free": (
        study(own(0), own(1), own(3), batch_size=4, is_refilled=True, n_done=1),
        Begin(1),
    ),
    "all slots are full": (study(own(0), own(1), batch_size=2, is_refilled=True), Wait()),
    "no slot is filled beyond the limit": (
        study(own(3), trial(4), n_done=3, batch_size=4, is_refilled=True, max_trial=6),
        Begin(1),
    ),
    "nor if others and this worker run the last ones": (
        study(own(3), trial(4), n_done=3, batch_size=4, is_refilled=True, max_trial=5),
        Wait(),
    ),
}


@pytest.mark.parametrize("case", BEFORE)
def test_before_returns_the_next_step(case: str) -> None:
    snapshot, decision = BEFORE[case]
    assert before(snapshot) == decision


AFTER = {
    "alone": (study(own(0)), []),
    "others leave room": (study(own(4), trial(3), n_done=3, max_trial=5), []),
    "others came first, and theirs are the last ones": (
        study(own(4), trial(3), n_done=3, max_trial=4),
        [4],
    ),
    "others came later: they give theirs back": (
        study(own(4), trial(5), n_done=3, max_trial=4),
        [],
    ),
    "of several, only those that are too many": (
        study(own(4), own(5), trial(3), n_done=3, max_trial=5),
        [5],
    ),
    "a dead worker's trial takes no room": (
        study(own(4), trial(3, is_alive=False), n_done=3, max_trial=4),
        [],
    ),
    "one that seems to wait has begun: its state was read first": (
        study(own(1), waiting(0, is_owned=True), max_trial=1),
        [1],
    ),
    "one that seems to wait is claimed by a dead worker": (
        study(own(1), waiting(0, is_owned=True, is_alive=False), max_trial=1),
        [],
    ),
    "one that waits for anybody": (study(own(1), waiting(0), max_trial=1), []),
    "what was enqueued counts before it has its parameters": (
        study(own(1, place=0, n_unfinished_before=0), trial(0), max_trial=1),
        [1],
    ),
    "the last trial is of the smallest index, not of the first one": (
        study(own(1, place=0, n_unfinished_before=0), trial(0, place=1), max_trial=1),
        [],
    ),
    "so the other one, which gave way, is given back": (
        study(own(0, place=1, n_unfinished_before=1), trial(1, place=0), max_trial=1),
        [0],
    ),
    "an index that is not taken yet: trials go by their numbers": (
        study(own(1, place=1, n_unfinished_before=1), trial(2, is_given=False), max_trial=2),
        [],
    ),
    "two workers took one index: both give way": (
        study(own(1, place=3, n_unfinished_before=0), trial(0, place=3)),
        [1],
    ),
    "also if the other one came later, which may not have seen this one": (
        study(own(0, place=3, n_unfinished_before=0), trial(1, place=3)),
        [0],
    ),
    "two workers begin one evaluation": (study(own(1, place=(2, 7)), trial(0, place=(2, 7))), [1]),
    "two evaluations": (study(own(1, place=(2, 7)), trial(0, place=(2, 8))), []),
    "the index has got a result meanwhile": (study(own(1, place=3, is_taken=True)), [1]),
    "others took the last proposal": (
        study(own(1, place=3, n_unfinished_before=0), last_place=2),
        [1],
    ),
    "a retry that another worker has enqueued, too": (study(own(4, repeats_retry=True)), [4]),
    "what began earlier is not asked about": (
        study(own(3), own(4), trial(2), n_done=3, max_trial=4),
        [4],
    ),
}


@pytest.mark.parametrize("case", AFTER)
def test_after_returns_surplus_trials(case: str) -> None:
    snapshot, given_back = AFTER[case]
    last = [t for t in snapshot.unfinished if t.is_open and t.number != 3]
    begun = frozenset(t.trial_id for t in last)
    assert after(snapshot, begun) == GiveBack(tuple(100 + number for number in given_back))


ABANDONED = {
    "a live worker's": (trial(0), False),
    "a dead worker's": (trial(0, is_alive=False), True),
    "of which nobody can tell": (unknown(0, seconds_known=math.inf), False),
    "under way here": (own(0), False),
    "begun here in vain, as the storage failed": (trial(0, is_ours=True), True),
    "waiting, claimed by a dead worker": (waiting(0, is_owned=True, is_alive=False), False),
}


@pytest.mark.parametrize("case", ABANDONED)
def test_only_trials_without_a_worker_are_ended(case: str) -> None:
    trial, is_abandoned = ABANDONED[case]
    assert study(trial).abandoned == [trial] * is_abandoned


def test_all_workers_together_fill_the_last_places_once() -> None:
    """Workers keep as many trials as there are places, for any order of their reads."""
    for n_workers in range(1, 6):
        begun = [
            trial(number, place=number, n_unfinished_before=number) for number in range(n_workers)
        ]
        for max_trial in range(1, 6):
            n_kept = 0
            for begun_trial in begun:
                mine = dataclasses.replace(begun_trial, is_open=True)
                seen = tuple(
                    mine if any_trial is begun_trial else any_trial for any_trial in begun
                )
                snapshot = Snapshot(seen, max_trial=max_trial)
                n_kept += not after(snapshot, frozenset({begun_trial.trial_id})).ids
            assert n_kept == min(n_workers, max_trial)
