"""How many seeds it takes, as a comparison plans it."""

from __future__ import annotations

from adnn_optuna.api._told import Told
from adnn_optuna.evidence.power import SeedPlanFacts


class SeedPlan(Told, SeedPlanFacts):
    """How many seeds show a gain with a power of 80 %; printed, it is a few lines.

    Args:
        gain: The true difference that is to be shown.
        n_claims: The number of claims that share the error rate.
        n_pilot: The number of pilot pairs.
        sd: The standard deviation of their differences, of the claim with the largest.
        seeds: How many fresh seeds a planned comparison needs, in the mean over what the pilot
            leaves possible.
        seeds_low: How many if the standard deviation is at the lower end of its 80 % interval.
        seeds_high: How many if it is at its upper end.
        seeds_looking_again: How many a comparison needs that looks again after each seed, those
            of the pilot included; :obj:`None` if neither 1000 nor ten times ``seeds`` suffice.
        hours: How long the fresh seeds take.
        hours_looking_again: How long the further seeds take when looking again, or :obj:`None`.
        power: The power of a planned comparison by its number of seeds.
        power_looking_again: The probability to have decided by a number of seeds, looking again.
        unit: How differences are shown.
    """

    _telling = "seed_plans"
