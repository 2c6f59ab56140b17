"""The number of seeds that show a gain, estimated from a pilot of a few seeds."""

import bisect
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from adnn_optuna._checks import WrongValueError, check_positive
from adnn_optuna.stats import paired_differences as paired
from adnn_optuna.stats.intervals import t_quantile
from adnn_optuna.stats.sequential import AFTER_FIXED, ALPHA, DECIMALS, e_process

POWER = 0.8
_N_QUANTILES = 200
# Quantiles of the standard deviations that are possible after a pilot, and the ends of the 80% CI.
_QUANTILES = (np.arange(_N_QUANTILES) + 0.5) / _N_QUANTILES
_ENDS_OF_SD = np.array([[0.9], [0.1]])
_MOST_SEEDS = 1_000_000
_MOST_LOOKS = 1000


@dataclasses.dataclass(frozen=True)
class RequiredSeeds:
    """The number of seeds that show a gain with a power of 80%.

    Attributes:
        gain: The difference to show.
        n_claims: The number of claims that share the error rate.
        n_pilot: The number of pilot seeds.
        sd: The standard deviation of the pilot's differences, pooled over the claims in
            ``seeds_by_claim``. If the claims' standard deviations differ, ``sd`` is the largest.
        seeds: The number of new seeds that a fixed design needs, averaged over the standard
            deviations that are possible after the pilot.
        seeds_low, seeds_high: The number of new seeds at the ends of the 80% CI of ``sd``.
        pairs_sequential: The number of seeds that a sequential design needs, including the pilot's
            seeds. If the pilot was a fixed design, CIs are at 99%. :obj:`None` if neither 1000 nor
            ten times ``seeds`` are enough.
        power: The power of a fixed design by its number of seeds.
        power_sequential: The probability that a sequential design has decided by each number of
            seeds.
        seeds_by_claim: The number of seeds that each claim needs. The largest number is ``seeds``.
        omitted: The claims whose pilot differences are all equal.
    """

    gain: float
    n_claims: int
    n_pilot: int
    sd: float
    seeds: int
    seeds_low: int
    seeds_high: int
    pairs_sequential: int | None
    power: dict[int, float] = dataclasses.field(repr=False)
    power_sequential: dict[int, float] = dataclasses.field(repr=False)
    seeds_by_claim: dict[str, int] = dataclasses.field(repr=False)
    omitted: list[str]


def required_seeds(
    differences: Mapping[str, Sequence[float]], gain: float, *, after_fixed: bool
) -> RequiredSeeds:
    """Return the number of seeds that show each of several claims with a power of 80%.

    A pilot of k pairs has the standard deviation s, but the true standard deviation σ is unknown.
    The plan assumes σ = s·sqrt((k - 1) / χ²) with a random χ² of k - 1 degrees of freedom. So the
    power is a mean over quantiles of χ². s is pooled over the claims. Claims share arms, so the
    pooled s is treated as if it came from one claim. If Bartlett's test at 5% shows different
    variances, each claim has its own s, and the claim with the largest s decides. If a claim's
    differences are all equal, it is omitted, because its arms may be the same by construction. It
    still shares the error rate. ``after_fixed`` says whether a sequential design continues a fixed
    design whose result was seen. CIs are then at 99%.
    """
    check_positive("gain", gain)
    k = min(map(len, differences.values()))
    m = len(differences)
    if k < 2:
        raise WrongValueError(
            f"The pilot must have at least two seeds for each claim; got {k}. Run more seeds."
        )
    rounded = {claim: _rounded(np.asarray(of_claim)) for claim, of_claim in differences.items()}
    varying = {claim: of_claim for claim, of_claim in rounded.items() if np.ptp(of_claim)}
    if not varying:
        raise WrongValueError(
            f"The pilot's differences must vary; got {k} equal ones. Run more seeds, or test on "
            "more data."
        )
    variances = _variances([*varying.values()])
    sd = math.sqrt(max(variances))
    seeds_by_variance = {}
    for variance in {*variances}:
        effects_of_claim = gain / _possible_sds(math.sqrt(variance), k, _QUANTILES)
        seeds_by_variance[variance] = _fewest_seeds(effects_of_claim, m)
    seeds_of_claims = [seeds_by_variance[variance] for variance in variances]
    seeds = max(seeds_of_claims)
    seeds_low, seeds_high = (
        _fewest_seeds(gain / _possible_sds(sd, k, end), m) for end in _ENDS_OF_SD
    )
    # A fixed design whose result was seen has used most of the error rate.
    threshold = m / ALPHA
    if after_fixed:
        threshold *= AFTER_FIXED
    effects = gain / _possible_sds(sd, k, _QUANTILES)
    decided = _sequential_power(effects, min(10 * seeds, _MOST_LOOKS), threshold)
    pairs_sequential = None
    last = 2 * seeds
    if decided[-1] >= POWER:
        first = int(np.argmax(decided >= POWER))
        pairs_sequential = max(first + 1, k)
        last = max(last, min(2 * pairs_sequential, 8 * seeds))
    spaced = np.geomspace(paired.fewest_pairs(m), last, 24).round().astype(int)
    numbers = np.unique([*spaced, seeds, pairs_sequential or seeds]).tolist()
    return RequiredSeeds(
        gain=gain,
        n_claims=m,
        n_pilot=k,
        sd=sd,
        seeds=seeds,
        seeds_low=seeds_low,
        seeds_high=seeds_high,
        pairs_sequential=pairs_sequential,
        power={n: _fixed_power(effects, n, m) for n in numbers},
        power_sequential={n: float(decided[n - 1]) for n in numbers if n <= len(decided)},
        seeds_by_claim=dict(zip(varying, seeds_of_claims, strict=True)),
        omitted=[claim for claim in rounded if claim not in varying],
    )


def _rounded(differences: np.ndarray) -> np.ndarray:
    """Return differences without rounding errors, so that equal differences are equal."""
    size = paired.size_of(differences)
    return (differences / size).round(DECIMALS) * size


def _variances(differences: Sequence[np.ndarray]) -> list[float]:
    """Return the variance of each claim's differences.

    The variances are pooled, unless Bartlett's test at 5% shows that they differ.
    """
    variances = [of_claim.var(ddof=1) for of_claim in differences]
    if len(differences) > 1 and scipy.stats.bartlett(*differences).pvalue < ALPHA:
        return variances
    pooled = np.average(variances, weights=[len(of_claim) - 1 for of_claim in differences])
    return [pooled] * len(differences)


def _possible_sds(sd: float, n_pilot: int, shares: np.ndarray) -> np.ndarray:
    return sd * np.sqrt((n_pilot - 1) / scipy.stats.chi2.ppf(shares, n_pilot - 1))


def _fixed_power(effects: np.ndarray, n: int, n_claims: int) -> float:
    """Return the power of ``n`` planned pairs, as a mean over effects in standard deviations."""
    critical = -t_quantile(n - 1, ALPHA / (2 * n_claims))
    return float(scipy.stats.nct.sf(critical, n - 1, effects * math.sqrt(n)).mean())


def _fewest_seeds(effects: np.ndarray, n_claims: int) -> int:
    power_of = functools.partial(_fixed_power, effects, n_claims=n_claims)
    low = high = paired.fewest_pairs(n_claims)
    while power_of(high) < POWER:
        low, high = high + 1, 2 * high
        if low > _MOST_SEEDS:
            raise WrongValueError(
                f"gain must be large enough for at most {_MOST_SEEDS:,} seeds. Pass a larger one."
            )
    return bisect.bisect_left(range(high), POWER, low, key=power_of)


def _sequential_power(effects: np.ndarray, n_looks: int, threshold: float) -> np.ndarray:
    """Return the share of simulated CIs that exclude a centre of 0 by pair 1, 2, …."""
    rng = np.random.default_rng(0)
    n_repeats = 5  # Running the repeats one after another needs less memory.
    is_decided = np.zeros(n_looks)
    for _ in range(n_repeats):
        noise = rng.standard_normal((len(effects), n_looks))
        e_values = e_process(noise + effects[:, np.newaxis])
        is_decided += (np.maximum.accumulate(e_values, axis=1) >= threshold).mean(axis=0)
    return is_decided / n_repeats
