"""Fresh seeds: what a contract's maker says of them, and what a verifier's own show."""

import dataclasses
import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from optuna.study import StudyDirection

from adnn_optuna._checks import WrongValueError
from adnn_optuna._units import Estimate
from adnn_optuna.contracts.contract import PAIRS, BreachedError, CannotCheckError, claim_of
from adnn_optuna.engine.confirmation import BASELINE, BEST
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.progress import Bar
from adnn_optuna.engine.test_set import is_random
from adnn_optuna.networks.retraining import retrain
from adnn_optuna.results import confirmation_runs
from adnn_optuna.results.confirmation import Confirmation, confirmation_of, own_estimate
from adnn_optuna.results.confirmation_runs import OwnScores
from adnn_optuna.stats.example_scores import mean_gain
from adnn_optuna.stats.proportions import student_half_width
from adnn_optuna.stats.sequential import ALPHA

FEWEST_FRESH = 20  # Pairs of a verifier: of fewer, forged gains of some points pass.
# Of ten thousand honest confirmations one is called another than fresh pairs: many are verified.
_LEVEL = 0.9999


def confirmation_content(facts: Confirmation | None) -> dict[str, Any] | None:
    """Return what a contract says of a confirmation; nothing without one."""
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
    if not all(map(math.isfinite, (*facts.test_score, *facts.vs_baselines, *facts.replication))):
        raise WrongValueError(
            "A contract holds what is known of the winner on the test set, but some of it is not: "
            "a training run diverged, or the metric has no derivative; search by another metric."
        )
    return said


def said_confirmation(contract: Mapping[str, Any]) -> Confirmation | None:
    """Return the confirmation that a contract holds; :obj:`None` without one."""
    if (said := contract.get("confirmation")) is None:
        return None
    known: dict[str, Any] = {"hyperparameters": None, "gains": ()}
    for name in said.keys() - {"rank"}:  # What has three numbers is an estimate.
        known[name] = Estimate(*said[name]) if len(said[name]) == 3 else tuple(said[name])
    rank, trial = said["rank"], contract["study"]["best_trial"]
    return Confirmation(trial, rank, 1 - ALPHA / 2 ** (rank - 1), **known)


def check_confirmation(
    contract: dict[str, Any], objective: InitOffsetObjective, own: OwnScores
) -> None:
    """Refuse a confirmation that is missing or denies itself; ``own`` is of the winner."""
    said, where, has_seeds = said_confirmation(contract), "confirmation", is_random(objective)
    if said is None:
        if has_seeds:
            raise CannotCheckError("The field confirmation is missing.")
        return
    if not has_seeds:
        raise BreachedError(f"{where}: no seed changes this training, so none can confirm it.")
    n_seeds = len(said.seeds)
    # Of thousands that follow from an experiment, two may be the same.
    if len({*said.seeds}) < 0.99 * n_seeds:
        raise BreachedError(f"{where}.seeds are not {n_seeds} different ones.")
    n_gains = n_seeds if objective.moves(contract["winner"]["params"]) else 0
    for name, values, n in (
        ("gains", said.gains, n_gains),
        ("baselines", said.baselines, n_seeds),
    ):
        if len(values) != n:
            raise BreachedError(f"{where}.{name} has {len(values)} entries, but {n} belong to it.")
    claim = claim_of(contract)
    repeats, found = Estimate(0.0, 0.0, 0.0), contract["winner"][claim.metric]
    usual = objective.improvement(said.test_score.value, fmean(said.baselines))
    if n_gains:
        repeats = mean_gain(said.gains, 2 ** (said.rank - 1))
    for name, value, expected, tolerance in (
        *(("replication", *pair, 1e-9) for pair in zip(said.replication, repeats, strict=True)),
        # The winner was tested where it was searched, which may have been another machine.
        ("test_score", said.test_score.value, found, claim.tolerance(found)),
        ("vs_baselines", said.vs_baselines.value, usual, 1e-6 * claim.scale(found)),
    ):
        if not math.isclose(value, expected, rel_tol=1e-6, abs_tol=tolerance):
            what = f"{where}.{name} is {value}, but by the rest of the contract {expected}"
            raise BreachedError(f"{what}.")
    # On another machine other examples may be right, or nearer to their targets.
    _, low, high = own_estimate(own, said.level)
    if said.test_score.high - said.test_score.low < 0.5 * (high - low):
        raise BreachedError(f"{where}.test_score is surer than the test examples make it.")


def fresh_pairs(
    contract: dict[str, Any],
    objective: InitOffsetObjective,
    own: OwnScores,
    count: int,
    bar: Bar | None,
) -> Confirmation:
    """Train so many pairs of winner and unmoved network from seeds that nobody knew before."""
    if not is_random(objective):
        raise CannotCheckError(
            "fresh: no seed changes this training, so none can show a gain; leave it out."
        )
    # Of the system's randomness.
    seeds = np.random.SeedSequence().generate_state(count).tolist()
    arms: dict[int, dict[str, Any]] = {BASELINE: {}}
    if objective.moves(contract["winner"]["params"]):
        arms[BEST] = contract["winner"]["params"]
    starts = [objective.replace(seed=seed).starts(arm) for arm in arms.values() for seed in seeds]
    runs = [*retrain(objective.trainer, starts, bar=bar)]
    of_arms = {arm: runs[i * count : (i + 1) * count] for i, arm in enumerate(arms)}
    return confirmation_of(
        confirmation_runs.Confirmation(
            contract["study"]["best_trial"],
            1,
            tuple(seeds),
            own,
            {arm: np.array([run.score for run in of_arm]) for arm, of_arm in of_arms.items()},
            {arm: np.stack([run.scores for run in of_arm]) for arm, of_arm in of_arms.items()},
            objective.direction == StudyDirection.MINIMIZE,
        )
    )


def not_repeated(contract: dict[str, Any], fresh: Confirmation) -> str:
    """Return a sentence where fresh pairs do not have the mean gain that a contract says."""
    said, claim = said_confirmation(contract), claim_of(contract)
    if said is None or not fresh.gains or math.isnan(fresh.replication.value):
        return ""
    # Of what the contract holds nothing widens it.
    half = student_half_width(fresh.gains, claim.resolution, _LEVEL, PAIRS[0])
    mean, (found, low, high), unit = fmean(said.gains), fresh.replication, claim.unit
    if abs(mean - found) <= half + 1e-9:
        return ""
    return (
        f"confirmation: the mean gain of {unit.gain(mean)} that it says does not repeat: on "
        f"{len(fresh.seeds)} fresh seeds it is {unit.gain(found)} "
        f"({unit.interval_of(low, high, fresh.level)})."
    )
