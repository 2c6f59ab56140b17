"""Fresh seeds: what a contract's maker says of them, and what a verifier's own show."""

import itertools
import math
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

import numpy as np

from adnn_optuna._checks import WrongValueError
from adnn_optuna.accountability.contract import (
    LEAST_ACCURACY,
    PAIRS,
    BreachedError,
    CannotCheckError,
    claim_of,
)
from adnn_optuna.engine.confirmation import MOVED, UNMOVED, Confirmation
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.progress import Bar
from adnn_optuna.engine.retraining import is_random, retrain
from adnn_optuna.evidence.confirmation import ConfirmationFacts, Estimate, facts_of, mean_gain
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
    names = ("rank", "holds", "usual", "repeats", "seeds", "unmoved")
    said = {name: getattr(facts, name) for name in names}
    if facts.gains:
        said["gains"] = facts.gains
    if facts.hyperparameters is not None:
        said["hyperparameters"] = facts.hyperparameters
    if not all(map(math.isfinite, itertools.chain(facts.usual, facts.repeats, facts.unmoved))):
        raise WrongValueError(
            "The winner's confirmation has no finite numbers, as a training diverged or so late a "
            "winner has no interval by so few seeds; no contract can hold it."
        )
    return said


def said_confirmation(contract: Mapping[str, Any]) -> ConfirmationFacts | None:
    """Return the confirmation that a contract holds; :obj:`None` without one."""
    if (said := contract.get("confirmation")) is None:
        return None
    names = ("holds", "usual", "repeats")
    of_hyperparameters = said.get("hyperparameters")
    return ConfirmationFacts(
        trial=contract["study"]["best_trial"],
        rank=said["rank"],
        level=1 - ALPHA / 2 ** (said["rank"] - 1),
        **{name: Estimate(*said[name]) for name in names},
        hyperparameters=of_hyperparameters and Estimate(*of_hyperparameters),
        seeds=tuple(said["seeds"]),
        gains=tuple(said.get("gains", ())),
        unmoved=tuple(said["unmoved"]),
    )


def check_confirmation(contract: dict[str, Any], objective: InitOffsetObjective) -> bool:
    """Return whether fresh seeds can show anything; refuse a confirmation that denies itself."""
    said = said_confirmation(contract)
    if said is None:
        if is_random(objective):
            raise CannotCheckError("The field confirmation is missing.")
        return False
    where = "confirmation"
    if not is_random(objective):
        raise BreachedError(f"{where}: no seed changes this training, so none can confirm it.")
    n_gains = len(said.seeds) if objective.moves(contract["winner"]["params"]) else 0
    needed = {"gains": n_gains, "unmoved": len(said.seeds)}
    for name, n in needed.items():
        values = getattr(said, name)
        if len(values) != n:
            raise BreachedError(f"{where}.{name} has {len(values)} entries, but {n} belong to it.")
    claim = claim_of(contract)
    of_winner, n_claims = contract["winner"][claim.metric], 2 ** (said.rank - 1)
    repeats = mean_gain(said.gains, n_claims) if n_gains else Estimate(0.0, 0.0, 0.0)
    # The winner was tested where it was searched, which may have been another machine.
    apart = max(LEAST_ACCURACY, 2 * claim.resolution)
    for name, value, expected, tolerance in (
        *(("repeats", *pair, 1e-9) for pair in zip(said.repeats, repeats, strict=True)),
        ("holds", said.holds.value, of_winner, apart + 1e-9),
        ("usual", said.usual.value, said.holds.value - fmean(said.unmoved), 1e-6),
    ):
        if not abs(value - expected) <= tolerance:
            what = f"{where}.{name} is {value}, but by the rest of the contract {expected}"
            raise BreachedError(f"{what}.")
    for name in ("holds", "usual"):
        value, low, high = getattr(said, name)
        if not low <= value <= high:
            raise BreachedError(f"{where}.{name} is {value}, out of its own interval.")
    n, groups = contract["split"]["test"], objective.trainer.dataset.test_groups
    low, high = share_interval(said.holds.value, n, said.level)
    is_alone = claim.resolution and groups.max() + 1 == n  # Then it follows from the share.
    if is_alone and said.holds.high - said.holds.low < 0.99 * (high - low):
        raise BreachedError(f"{where}.holds is surer than the test examples make it.")
    return True


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

    Raises:
        CannotCheckError: If no seed changes the training.
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
