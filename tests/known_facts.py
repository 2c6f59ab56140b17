"""Facts that follow from values which are given."""

from __future__ import annotations

import numpy as np

<<<<<<< HEAD
from adnn_optuna.engine.evaluations import confirmation_seeds, new_seeds
from adnn_optuna.results.arm_values import ModelComparisonFacts
from adnn_optuna.results.recheck import RecheckFacts
from adnn_optuna.results.variance import VarianceFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SOURCES = ("initialisation", "order", "split")
ACCURACIES = {
    "narrow": [0.80, 0.81, 0.82, 0.79, 0.80, 0.83, 0.81, 0.82],
    "wide": [0.90, 0.92, 0.91, 0.90, 0.93, 0.92, 0.91, 0.92],
    "deep": [0.901, 0.919, 0.911, 0.901, 0.928, 0.921, 0.909, 0.921],
}
KNOWN = {
    (i, seed): values[seed] for i, values in enumerate(ACCURACIES.values()) for seed in range(8)
}


def choosing(count: int) -> tuple[int, ...]:
    """Return the seeds by which these facts choose."""
    return new_seeds("null", "choose", count)


def confirming(count: int) -> tuple[int, ...]:
    """Return the seeds by which they confirm a trial without parameters."""
    return confirmation_seeds(None, {}, count)


def trial(number: int, value: float) -> FrozenTrial:
    made = create_trial(value=value)
    made.number = number
    return made


def recheck(chosen: int, values: list[float], *, confirm_best: bool = False) -> RecheckFacts:
    """Return a recheck in which trial 31 is the study's best, and 17 the other one."""
    candidates = [trial(31, 0.9123), trial(17, 0.9100)]
    [seed_to_choose] = choosing(1)
    evaluations = {(n, seed_to_choose): 0.95 if n == chosen else 0.85 for n in (31, 17)}
    for seed, value in zip(confirming(3), values, strict=True):
        evaluations[chosen, seed] = value
        evaluations[31, seed] = value
    of_study = [0.9123, 0.91, 0.9]
    return RecheckFacts(evaluations, "study", True, candidates, of_study, 1, 3, confirm_best, True)


def compared(
    gains: Sequence[float], against: FrozenTrial | None, *, maximize: bool = True
) -> RecheckFacts:
    """Return a recheck of trial 23, which came to 0.916 in its study, and of another trial."""
    known: dict[tuple[int, ...], float] = {(23, choosing(1)[0]): 0.9}
    for i, (seed, gain) in enumerate(zip(confirming(len(gains)), gains, strict=True)):
        base = 0.87 + 0.01 * (i % 3)
        known[23, seed] = base + (gain if maximize else -gain)
        if against is not None and against.number != 23:
            known[against.number, seed] = base
    return RecheckFacts(
        *(known, "study", maximize, [trial(23, 0.916)], [0.916, 0.888], 1, len(gains)),
        *(False, True),
        against_of=lambda _: against,
    )


def changed(report: RecheckFacts, known: dict[tuple[int, ...], float]) -> RecheckFacts:
    values = vars(report)
    settings = [values[f.name] for f in dataclasses.fields(report) if f.init]
    return RecheckFacts(known, *settings[1:])


def of_equals(values: list[float], *, confirm: int = 2) -> RecheckFacts:
    """Return a recheck of a trial with 0.5, by the values of five seeds to choose, and further."""
    seeds = (*choosing(5), *confirming(confirm))
    known = dict(zip([(3, s) for s in seeds], values, strict=False))
    return RecheckFacts(known, "s", False, [trial(3, 0.5)], [0.5], 5, confirm, False, True)


def minimizing() -> RecheckFacts:
    """Return a recheck where lower values are better, and fresh ones far worse."""
    [seed] = choosing(1)
    known = {(1, seed): 0.3, (2, seed): 0.2}
    known |= {(2, s): v for s, v in zip(confirming(3), (4, 5, 6), strict=True)}
    candidates = [trial(1, 0.1), trial(2, 0.15)]
    return RecheckFacts(known, "s", False, candidates, [0.1, 0.15], 1, 3, False, True)


def with_a_lost_one() -> RecheckFacts:
    """Return a recheck of three evaluations without seeds, the last of which came to no value."""
    made = [*choosing(1), *confirming(2)]
    known = {(1, s): v for s, v in zip(made, (0.3, 0.2, math.nan), strict=True)}
    return RecheckFacts(known, "s", True, [trial(1, 0.4)], [0.4], 1, 2, False, False)


def measured(
    f: Callable[..., float], n: int = 20, name: str = "study", value_name: str = "value"
) -> VarianceFacts:
    """Return the variance of a function of one seed for each source."""
    arguments = (name, value_name, SOURCES, n, None, True)
    wanted = VarianceFacts({}, *arguments).missing
    return VarianceFacts({e: f(*e) for e in wanted}, *arguments)


def draw(seed: int, source: int) -> float:
    return float(np.random.default_rng([seed, source]).standard_normal())


def of_accuracies(value_name: str = "val_accuracy") -> VarianceFacts:
    """Return the variance of values from two of three sources; 0.92 is that of seed 7."""
    arguments = ("study", value_name, SOURCES, 20, 7, True)
    wanted = VarianceFacts({}, *arguments).missing
    values = {e: 0.9 + 0.01 * draw(e[0], 0) + 0.002 * draw(e[1], 1) for e in wanted}
    return VarianceFacts({**values, wanted[0]: 0.92}, *arguments)


def with_seed_in_use(*, maximize: bool) -> VarianceFacts:
    """Return the variance of ten runs; the value of seed 3, which is none of them, is high."""
    arguments = ("study", "val_accuracy", SOURCES, 10, 3, maximize)
    wanted = VarianceFacts({}, *arguments).missing
    evaluations = {e: 0.9 + 0.01 * draw(sum(e) % 1000, 0) for e in wanted}
    return VarianceFacts({**evaluations, wanted[0]: 0.95}, *arguments)


def models(
    known: dict[tuple[int, ...], float] | None = None, **changes: Any
) -> ModelComparisonFacts:
    """Return a comparison of three models."""
    settings: dict[str, Any] = {
        "evaluations": KNOWN if known is None else known,
        "study_name": "models",
        "labels": tuple(ACCURACIES),
        "seeds": tuple(range(8)),
        "sequential": False,
        "margin": 0.004,
        "sources": ("initialisation", "order", "split"),
        "resampled": (100, 50),
        "n_train": 100,
        "n_test": 50,
    }
    return ModelComparisonFacts(**{**settings, **changes})
=======
from adnn_optuna._units import ACCURACY
from adnn_optuna.stats.power import SeedPlanFacts, plan_seeds


def pilot(n_pairs: int, sd: float = 0.01) -> list[float]:
    """Return differences with exactly this standard deviation."""
    noise = np.random.default_rng(n_pairs).standard_normal(n_pairs)
    return (sd * (noise - noise.mean()) / noise.std(ddof=1)).tolist()


def planned(differences: dict[str, list[float]], gain: float) -> SeedPlanFacts:
    """Return the plan of pilots by the claim, of half an hour a seed."""
    return plan_seeds(differences, gain=gain, seconds_per_seed=1800, unit=ACCURACY)
>>>>>>> models
