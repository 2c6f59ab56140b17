"""Results on new seeds: the claims of a contract's maker, and the results of the verifier."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from optuna.study import StudyDirection

from adnn_optuna._attributes import Json
from adnn_optuna._checks import WrongValueError
from adnn_optuna._units import Estimate
from adnn_optuna.engine.signals import Bar
from adnn_optuna.experiments.confirmation import (
    Confirmation,
    ConfirmationRuns,
    OwnScores,
    confirmation_of,
    is_random,
    own_estimate,
)
from adnn_optuna.experiments.contract_file import (
    PAIRS,
    BreachedError,
    CannotCheckError,
    claim_of,
)
from adnn_optuna.experiments.network_objective import NetworkObjective
from adnn_optuna.experiments.records import BASELINE_ARM, BEST_ARM
from adnn_optuna.networks.retraining import retrain
from adnn_optuna.stats.example_scores import mean_gain
from adnn_optuna.stats.intervals import student_half_width
from adnn_optuna.stats.sequential import ALPHA, n_claims_of_rank

FEWEST_PAIRS = 20
"""The minimum number of pairs that a verifier trains. Fewer pairs would not reveal large forged
gains.
"""

# The level is high because many contracts are verified: 1 of 10,000 honest claims is rejected.
_LEVEL = 0.9999


def confirmation_content(facts: Confirmation | None) -> Json | None:
    """Return a confirmation as entries of a contract, or :obj:`None` without a confirmation."""
    if facts is None:
        return None
    if len(facts.seeds) not in PAIRS:
        raise WrongValueError(
            f"A contract must hold {PAIRS[0]} to {PAIRS[-1]} new seeds; got {len(facts.seeds)}, "
            "and seeds cannot be added once their results are known. Search again with "
            f"confirm={PAIRS[0]}."
        )
    numbers = (*facts.test_score, *facts.vs_baselines, *facts.replication)
    are_known = all(map(math.isfinite, numbers))
    if not are_known:
        raise WrongValueError(
            "All estimates of a contract must be known; some are not, because a training run "
            "diverged or the metric has no derivative. Search by another metric."
        )
    entries = dataclasses.asdict(facts)
    del entries["trial"], entries["level"], entries["earlier"]
    return {key: value for key, value in entries.items() if value not in ((), None)}


def as_confirmation(entries: Json) -> Confirmation:
    """Return a confirmation from JSON. In JSON, an estimate is a list of three numbers."""
    fields: dict[str, Any] = {"hyperparameters": None, "gains": (), **entries}
    for name, numbers in fields.items():
        if not isinstance(numbers, list):
            continue
        fields[name] = tuple(numbers)
        if len(numbers) == 3:
            fields[name] = Estimate(*numbers)
    return Confirmation(**fields)


def claimed_confirmation(contract: Json) -> Confirmation | None:
    """Return the confirmation in a contract, or :obj:`None`."""
    entries = contract.get("confirmation")
    if entries is None:
        return None
    level = 1 - ALPHA / n_claims_of_rank(entries["rank"])
    return as_confirmation({**entries, "trial": contract["study"]["best_trial"], "level": level})


def check_confirmation(contract: Json, objective: NetworkObjective, own: OwnScores) -> None:
    """Refuse a missing or contradictory confirmation. ``own`` are the best network's scores."""
    claimed = claimed_confirmation(contract)
    where = "confirmation"
    if claimed is None and is_random(objective):
        raise CannotCheckError("The field confirmation is missing.")
    if claimed is None:
        return
    if not is_random(objective):
        raise BreachedError(f"{where}: no seed changes this training, so none can confirm it.")
    n_seeds = len(claimed.seeds)
    # Two of thousands of derived seeds may be equal by chance.
    if len({*claimed.seeds}) < 0.99 * n_seeds:
        raise BreachedError(f"{where}.seeds must be {n_seeds} different seeds; some are equal.")
    best = contract["best"]
    n_gains = 0
    if objective.has_offsets_or_ensemble(best["params"]):
        n_gains = n_seeds
    for name, values, n in (
        ("gains", claimed.gains, n_gains),
        ("baselines", claimed.baselines, n_seeds),
    ):
        if len(values) != n:
            raise BreachedError(f"{where}.{name} must have {n} entries; got {len(values)}.")
    claim = claim_of(contract)
    score = best[claim.metric]
    tested = claimed.test_score.value
    vs_baselines = objective.improvement(tested, fmean(claimed.baselines))
    expectations = [
        # The maker may have tested the best network on another machine.
        ("test_score", tested, score, claim.tolerance(score)),
        ("vs_baselines", claimed.vs_baselines.value, vs_baselines, 1e-6 * claim.scale(score)),
    ]
    replication = Estimate(0.0, 0.0, 0.0)
    if n_gains:
        replication = mean_gain(claimed.gains, n_claims_of_rank(claimed.rank))
    pairs = zip(claimed.replication, replication, strict=True)
    expectations += [("replication", *pair, 1e-9) for pair in pairs]
    for name, value, expected, tolerance in expectations:
        if not math.isclose(value, expected, rel_tol=1e-6, abs_tol=tolerance):
            raise BreachedError(
                f"{where}.{name} is {value}, but {expected} follows from the rest of the contract."
            )
    # Another machine may predict other examples correctly, so the CIs may differ.
    _, low, high = own_estimate(own, claimed.level)
    if claimed.test_score.high - claimed.test_score.low < 0.5 * (high - low):
        raise BreachedError(f"{where}.test_score has a CI too narrow for the test examples.")


def new_pairs(
    contract: Json,
    objective: NetworkObjective,
    own: OwnScores,
    seeds: Sequence[int],
    bar: Bar,
) -> Confirmation:
    """Train best and baseline networks on seeds that the maker did not have."""
    if not is_random(objective):
        raise CannotCheckError(
            "new_seeds: no seed changes this training, so none can show a gain. Omit it."
        )
    used_seeds = {*contract["confirmation"]["seeds"], contract["objective"]["seed"]}
    used = sorted(used_seeds.intersection(seeds))
    if used:
        raise CannotCheckError(
            f"seeds: the contract's maker trained with {used[0]}, so it shows nothing new. Pass "
            "other seeds."
        )
    params = contract["best"]["params"]
    arms: dict[int, Json] = {BASELINE_ARM: {}}
    if objective.has_offsets_or_ensemble(params):
        arms[BEST_ARM] = params
    seeded = [objective.replace(seed=seed) for seed in seeds]
    starts = [each.starts(arm) for arm in arms.values() for each in seeded]
    runs = retrain(objective.trainer, starts, bar=bar)
    values = {}
    scores = []
    for arm in arms:
        runs_of_arm = [*itertools.islice(runs, len(seeds))]
        values[arm] = np.array([run.score for run in runs_of_arm])
        scores += [run.scores for run in runs_of_arm]
    pairs = ConfirmationRuns(
        trial=contract["study"]["best_trial"],
        rank=1,
        seeds=tuple(seeds),
        own=own,
        values=values,
        baseline_scores=np.stack(scores[: len(seeds)]),  # Baselines are the first arm.
        is_loss=objective.direction == StudyDirection.MINIMIZE,
    )
    return confirmation_of(pairs)


def contradiction(contract: Json, found: Confirmation) -> str:
    """Return a sentence if new pairs contradict the claimed mean gain, or an empty text.

    The allowed difference of the two means is smaller if the maker declared more seeds. No other
    field of the contract affects it.
    """
    claimed = claimed_confirmation(contract)
    claim = claim_of(contract)
    if claimed is None or not found.gains or math.isnan(found.replication.value):
        return ""
    half = student_half_width(found.gains, claim.resolution, _LEVEL, len(claimed.gains))
    mean = fmean(claimed.gains)
    value, low, high = found.replication
    if abs(mean - value) <= half + 1e-9:
        return ""
    unit = claim.unit
    ends = unit.bare.interval(low, high)
    return (
        f"confirmation: the claimed mean gain of {unit.gain(mean)} is contradicted: on "
        f"{len(found.seeds)} new seeds it is {unit.gain(value)} (95% CI {ends})."
    )
