"""Fresh seeds: what a contract's maker says of them, and what a verifier's own show."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

import numpy as np

from adnn_optuna._checks import WrongValueError
from adnn_optuna.accountability.contract import PAIRS, BreachedError, CannotCheckError, claim_of
from adnn_optuna.engine.confirmation import MOVED, UNMOVED, Confirmation
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.progress import Bar
from adnn_optuna.engine.retraining import is_random, retrain
from adnn_optuna.evidence.confirmation import (
    ConfirmationFacts,
    Estimate,
    facts_of,
    mean_gain,
    own_score,
)
from adnn_optuna.evidence.paired_differences import ALPHA, share_interval
from adnn_optuna.evidence.proportions import student_half_width

FEWEST_FRESH = 20  # Pairs of a verifier: of fewer, forged gains of some points pass.
# Of ten thousand honest confirmations one is called another than fresh pairs: many are verified.
_LEVEL = 0.9999


def confirmation_content(facts: ConfirmationFacts | None) -> dict[str, Any] | None:
    """Return what a contract says of a confirmation; nothing without one.

    Raises:
        ValueError: If it is by too few or too many seeds, or has numbers that no JSON holds.
    """
    if facts is None:
        return None
    if len(facts.seeds) not in PAIRS:
        raise WrongValueError(
            f"A contract holds {PAIRS[0]} to {PAIRS[-1]} fresh seeds, but the winner was "
            f"confirmed by {len(facts.seeds)}, and what was seen is not added to; search again "
            f"with confirm={PAIRS[0]}."
        )
    said = {key: v for key, v in dataclasses.asdict(facts).items() if v not in ((), None)}
    del said["trial"], said["level"]
    estimates = (facts.usual, facts.repeats, facts.hyperparameters or ())
    if not all(map(math.isfinite, itertools.chain(facts.unmoved, *estimates))):
        raise WrongValueError(
            "The winner's confirmation has no finite numbers, as a training diverged or so late a "
            "winner has no interval by so few seeds; no contract can hold it."
        )
    return said


def said_confirmation(contract: Mapping[str, Any]) -> ConfirmationFacts | None:
    """Return the confirmation that a contract holds; :obj:`None` without one."""
    if (said := contract.get("confirmation")) is None:
        return None
    known: dict[str, Any] = {"hyperparameters": None, "gains": ()}
    for name in said.keys() - {"rank"}:  # What has three numbers is an estimate.
        known[name] = Estimate(*said[name]) if len(said[name]) == 3 else tuple(said[name])
    rank, trial = said["rank"], contract["study"]["best_trial"]
    return ConfirmationFacts(trial, rank, 1 - ALPHA / 2 ** (rank - 1), **known)


def check_confirmation(
    contract: dict[str, Any], objective: InitOffsetObjective, own: np.ndarray
) -> bool:
    """Return whether fresh seeds can show anything; refuse a confirmation that denies itself.

    ``own`` are the scores of the winner's own network on the test examples, of shape (n,).
    """
    said, where, has_seeds = said_confirmation(contract), "confirmation", is_random(objective)
    if said is None and has_seeds:
        raise CannotCheckError("The field confirmation is missing.")
    if said is None:
        return False
    if not has_seeds:
        raise BreachedError(f"{where}: no seed changes this training, so none can confirm it.")
    n_seeds = len(said.seeds)
    # Of thousands that follow from an experiment, two may be the same.
    if len({seed for seed in said.seeds if type(seed) is int and seed >= 0}) < 0.99 * n_seeds:
        raise BreachedError(f"{where}.seeds are not {n_seeds} different whole numbers.")
    n_gains = n_seeds if objective.moves(contract["winner"]["params"]) else 0
    for name, n in (("gains", n_gains), ("unmoved", n_seeds)):
        values = getattr(said, name)
        if len(values) != n:
            raise BreachedError(f"{where}.{name} has {len(values)} entries, but {n} belong to it.")
    claim = claim_of(contract)
    of_winner, n_claims = contract["winner"][claim.metric], 2 ** (said.rank - 1)
    repeats = mean_gain(said.gains, n_claims) if n_gains else Estimate(0.0, 0.0, 0.0)
    for name, value, expected, tolerance in (
        *(("repeats", *pair, 1e-9) for pair in zip(said.repeats, repeats, strict=True)),
        # The winner was tested where it was searched, which may have been another machine.
        ("holds", said.holds.value, of_winner, claim.tolerance),
        ("usual", said.usual.value, said.holds.value - fmean(said.unmoved), 1e-6),
    ):
        if not math.isclose(value, expected, rel_tol=1e-6, abs_tol=tolerance):
            what = f"{where}.{name} is {value}, but by the rest of the contract {expected}"
            raise BreachedError(f"{what}.")
    for name in ("holds", "usual"):
        value, low, high = getattr(said, name)
        if not low <= value <= high:
            raise BreachedError(f"{where}.{name} is {value}, out of its own interval.")
    if said.holds.high - said.holds.low < _least_width(said, own, objective.dataset.test_groups):
        raise BreachedError(f"{where}.holds is surer than the test examples make it.")
    return True


def _least_width(said: ConfirmationFacts, own: np.ndarray, groups: np.ndarray) -> float:
    """Return how wide the interval of what you hold is at least, by the test examples."""
    if own.dtype == bool and groups.max() + 1 == len(own):  # Then it follows from the share.
        low, high = share_interval(said.holds.value, len(own), said.level)
        return 0.99 * (high - low)
    # On another machine other examples may be right, or nearer to their targets.
    _, low, high = own_score(own, groups, said.level)
    return 0.5 * (high - low)


def fresh_pairs(
    contract: dict[str, Any],
    objective: InitOffsetObjective,
    own: np.ndarray,
    count: int,
    bar: Bar | None,
) -> ConfirmationFacts:
    """Train so many pairs of winner and unmoved network from seeds that nobody knew before.

    ``own`` are the scores of the winner's own network on the test examples, of shape (n,),
    and the ``bar`` counts the trainings, if one is shown.
    """
    if not is_random(objective):
        raise CannotCheckError(
            "fresh: no seed changes this training, so none can show a gain; leave it out."
        )
    # Of the system's randomness.
    seeds = np.random.SeedSequence().generate_state(count).tolist()
    arms: dict[int, dict[str, Any]] = {UNMOVED: {}}
    if objective.moves(contract["winner"]["params"]):
        arms[MOVED] = contract["winner"]["params"]
    starts = [objective.replace(seed=seed).starts(arm) for arm in arms.values() for seed in seeds]
    scores = np.stack([run.scores for run in retrain(objective.trainer, starts, bar=bar)])
    of_arms = dict(zip(arms, scores.reshape(len(arms), count, -1), strict=True))
    winner, groups = contract["study"]["best_trial"], objective.trainer.dataset.test_groups
    return facts_of(Confirmation(winner, 1, tuple(seeds), own, of_arms, groups))


def not_repeated(contract: dict[str, Any], fresh: ConfirmationFacts) -> Iterator[str]:
    """Yield in a sentence that fresh pairs do not have the mean gain that a contract says.

    How far both may be apart follows from the fresh pairs, and from the fewest that a contract may
    hold: nothing in the file widens it.
    """
    said, claim = said_confirmation(contract), claim_of(contract)
    if said is None or not fresh.gains or math.isnan(fresh.repeats.value):
        return
    half = student_half_width(fresh.gains, claim.resolution, _LEVEL, PAIRS[0])
    mean, (found, low, high) = fmean(said.gains), fresh.repeats
    if not abs(mean - found) <= half + 1e-9:
        unit = claim.unit
        here = f"on {len(fresh.seeds)} fresh seeds it is {unit.gain(found)}"
        yield (
            f"confirmation: the mean gain of {unit.gain(mean)} that it says does not repeat: "
            f"{here} ({unit.interval_of(low, high, fresh.level)})."
        )
