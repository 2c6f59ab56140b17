"""How much of a study's best value is luck: what a recheck shows, in numbers and in words.

A study's best value is too high, because it is the best of many noisy ones. A few evaluations with
fresh seeds show by how much: some choose among the best trials, others, by which nothing was
chosen, tell what the chosen one is worth.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev, variance
from typing import TYPE_CHECKING, Literal

import numpy as np
from optuna.trial import FrozenTrial
from scipy import integrate, special, stats

from adnn_optuna._checks import as_positive_int, check_number, check_positive

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Role = Literal["choose", "confirm"]
Evaluation = tuple[int, int]
"""Which trial is evaluated, by its number, with which seed."""

# This many equal values show that nothing is random. There are as many seeds to choose by.
N_EQUAL = 5
_LEVEL = 0.95
_ROUNDING = 1e-12  # Values that differ by less are equal.


def fresh_seeds(study_name: str, role: Role, count: int) -> tuple[int, ...]:
    """Return seeds below 2^31 for a study; a larger count only adds some.

    They follow from its name, so they are none of the small ones that people use. Those to choose
    by are even and those to confirm by odd, so no seed does both.
    """
    data = f"{study_name} {role}".encode()
    words = np.frombuffer(hashlib.shake_128(data).digest(4 * count), dtype="<u4")
    return tuple(int(word) // 4 * 2 + (role == "confirm") for word in words)


@dataclasses.dataclass(frozen=True)
class Recheck:
    """What a recheck of a study shows; printed, it is a sentence.

    Args:
        study_name: The study.
        maximize: Whether higher values are better.
        candidates: Its best trials, the best first.
        study_values: The values of all its completed trials.
        seeds: How many seeds choose among the candidates.
        confirm: How many further seeds tell what the chosen one is worth.
        confirm_best: Whether they are used for the study's best trial, too.
        is_seeded: Whether the evaluations take their seeds.
        evaluations: The values of those that were made. NaN: it came to no value.
    """

    study_name: str
    maximize: bool
    candidates: Sequence[FrozenTrial]
    study_values: Sequence[float]
    seeds: int
    confirm: int
    confirm_best: bool
    is_seeded: bool
    evaluations: Mapping[Evaluation, float] = dataclasses.field(default_factory=dict)

    @property
    def best(self) -> FrozenTrial:
        """The study's best trial."""
        return self.candidates[0]

    @property
    def missing(self) -> list[Evaluation]:
        """The evaluations to be made next, all independent of each other; none at the end."""
        to_choose = fresh_seeds(self.study_name, "choose", max(self.seeds, N_EQUAL))
        to_confirm = fresh_seeds(self.study_name, "confirm", self.confirm)
        equal = [(self.best.number, seed) for seed in to_choose[:N_EQUAL]]
        stages = [equal[: self.seeds]]
        if self._are_as_stored(equal[: self.seeds]):
            stages.append(equal)
        if not self.is_deterministic:
            others = [t.number for t in self.candidates]
            stages.append([(n, seed) for n in others for seed in to_choose[: self.seeds]])
            if self.trial is not None:
                chosen = [self.trial.number, *[self.best.number] * self.confirm_best]
                stages.append([(n, seed) for n in dict.fromkeys(chosen) for seed in to_confirm])
        missing = ([e for e in stage if e not in self.evaluations] for stage in stages)
        return next(filter(None, missing), [])

    @property
    def n_evaluations(self) -> int:
        """How many evaluations a recheck takes, where anything is random."""
        n_confirmed = 2 if self.confirm_best and self.trial is not self.best else 1
        return len(self.candidates) * self.seeds + n_confirmed * self.confirm

    def values(self, trial: FrozenTrial, role: Role) -> list[float]:
        """Return the values that a trial came to with the seeds of a role, in their order."""
        seeds = fresh_seeds(self.study_name, role, getattr(self, _COUNTS[role]))
        made = [(trial.number, s) for s in seeds if (trial.number, s) in self.evaluations]
        return [self.evaluations[evaluation] for evaluation in made]

    @property
    def is_deterministic(self) -> bool:
        """Whether five fresh seeds give the best trial's stored value, to the last bit."""
        seeds = fresh_seeds(self.study_name, "choose", N_EQUAL)
        return self._are_as_stored([(self.best.number, seed) for seed in seeds])

    def _are_as_stored(self, evaluations: Sequence[Evaluation]) -> bool:
        return all(self.evaluations.get(e) == self.best.value for e in evaluations)

    @property
    def trial(self) -> FrozenTrial | None:
        """The chosen one: of the best mean, in which the stored value counts once.

        Those that came to a value with more seeds come first. :obj:`None` until all are known.
        """
        if self.is_deterministic:
            return self.best
        found = [(trial, self.values(trial, "choose")) for trial in self.candidates]
        if any(len(values) < self.seeds for _, values in found):
            return None

        def rank(pair: tuple[FrozenTrial, list[float]]) -> tuple[int, float]:
            known = _known([_stored(pair[0]), *pair[1]])
            return len(known), fmean(known) * (1 if self.maximize else -1)

        return max(found, key=rank)[0]  # The first of equals, as the study's best is.

    def estimate(self, trial: FrozenTrial | None) -> tuple[float, float, float]:
        """Return the mean of a trial's confirming values, with Student's t interval of 95 %.

        All are NaN until every one was evaluated, and where none came to a value.
        """
        if trial is not None and self.is_deterministic:
            return (_stored(trial),) * 3
        values = [] if trial is None else self.values(trial, "confirm")
        if len(values) < self.confirm or not (known := _known(values)):
            return (math.nan,) * 3
        everything = sorted({*_known([*self.evaluations.values(), *self.study_values])})
        # The least difference of values: of accuracies, one image or more.
        gaps = (b - a for a, b in itertools.pairwise(everything))
        return mean_interval(known, min((gap for gap in gaps if gap > _ROUNDING), default=0.0))

    @property
    def value(self) -> float:
        """What the chosen trial is worth; NaN where that is not known yet."""
        return self.estimate(self.trial)[0]

    @property
    def low(self) -> float:
        """The lower end of the value's interval of 95 %."""
        return self.estimate(self.trial)[1]

    @property
    def high(self) -> float:
        """The higher end of the value's interval."""
        return self.estimate(self.trial)[2]

    @property
    def overstated(self) -> float:
        """By how much the study's best value is too good; below 0, it is too bad."""
        return self.excess(self.trial)[0]

    @property
    def overstated_low(self) -> float:
        """The lower end of its interval."""
        return self.excess(self.trial)[1]

    @property
    def overstated_high(self) -> float:
        """The higher end of its interval."""
        return self.excess(self.trial)[2]

    def excess(self, trial: FrozenTrial | None) -> tuple[float, float, float]:
        """Return how much better the study's best value is than a trial, with the interval."""
        value, low, high = (_stored(self.best) - bound for bound in self.estimate(trial))
        return (value, high, low) if self.maximize else (-value, -low, -high)

    @property
    def noise(self) -> float:
        """The standard deviation of the confirming values; NaN with fewer than two."""
        known = [] if self.trial is None else _known(self.values(self.trial, "confirm"))
        return stdev(known) if len(known) > 1 else math.nan

    @property
    def noise_share(self) -> float:
        """The noise's part of the variance of all values in the study, at most 1."""
        of_study = variance(self.study_values) if len(self.study_values) > 1 else 0.0
        return min(self.noise**2 / of_study, 1.0) if of_study else math.nan

    def in_words(self, *values: float) -> list[str]:
        """Return values as text, with four significant digits, or as many as the interval asks."""
        sizes = [abs(v) for v in (_stored(self.best), self.value) if math.isfinite(v) and v]
        decimals = 4 - math.ceil(math.log10(max(sizes, default=1.0)))
        if 0 < (width := (self.high - self.low) / 2) < math.inf:
            decimals = max(decimals, -math.floor(math.log10(width)))
        return [f"{value:.{min(max(decimals, 0), 15)}f}" for value in values]

    @property
    def claim(self) -> str:
        """What the recheck shows, in a sentence."""
        best, trial = self.best, self.trial
        [stored] = self.in_words(_stored(best))
        said = f"The study said {stored} (trial {best.number})"
        if self.is_deterministic:
            return (
                f"{said}, and {N_EQUAL} fresh seeds give exactly that: the evaluation is "
                "deterministic, so there is no luck of training to measure."
            )
        if trial is None or math.isnan(self.value):
            if not self.missing:
                return f"{said}; trained afresh, trial {trial and trial.number} gives no value."
            return (
                f"{said}; what it is worth is not known yet, with {len(self.evaluations)} of "
                f"{self.n_evaluations} evaluations made. The same call goes on."
            )
        excess, verb = self.excess(trial), "overstated"
        if excess[0] < 0:
            excess, verb = (-excess[0], -excess[2], -excess[1]), "understated"
        gives = self._shown(self.estimate(trial))
        claim = (
            f"{said}; trained afresh, trial {trial.number} gives {gives}: the study {verb} by "
            f"{self._shown(excess)}, on the same validation data."
        )
        if trial is not best:
            # The word luck is for one and the same trial only.
            if not self.confirm_best or math.isnan(self.estimate(best)[0]):
                return claim
            claim += f" Trial {best.number} itself gives {self._shown(self.estimate(best))}."
        if self.excess(best)[1] > 0:
            luck = self._shown(self.excess(best))
            return f"{claim} Of trial {best.number}'s value, {luck} was luck."
        return f"{claim} That trial {best.number} was lucky is not shown."

    def _shown(self, bounds: tuple[float, float, float]) -> str:
        return "{} ({} to {})".format(*self.in_words(*(bound + 0.0 for bound in bounds)))

    @property
    def caveat(self) -> str:
        """What the recheck cannot show, and what came in its way."""
        if self.is_deterministic:
            return "Whether the value holds on other data, no seed can tell."
        caveat = (
            "It measures the luck of training on the data that was evaluated on; where the seed "
            "redraws these, too, the luck of the split is included."
        )
        if n_lost := sum(map(math.isnan, self.evaluations.values())):
            caveat += (
                f" {n_lost} of {len(self.evaluations)} evaluations came to no value (NaN, "
                "infinite or pruned) and are left out, so the value is that of those that succeed."
            )
        if not self.is_seeded:
            caveat += " The evaluations take no seed, so they cannot be made again."
        return caveat

    def __str__(self) -> str:
        return f"{self.claim}\n{self.caveat}"

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for each evaluation; ``stored`` is what the study said of the trial."""
        import pandas as pd

        # First the seeds to choose by, which are even.
        ordered = sorted(self.evaluations.items(), key=lambda item: (item[0][1] % 2, item[0][1]))
        rows = [
            (trial.number, trial.value, "confirm" if seed % 2 else "choose", seed, value)
            for trial in self.candidates
            for (number, seed), value in ordered
            if number == trial.number
        ]
        return pd.DataFrame(rows, columns=["trial", "stored", "role", "seed", "value"])

    def plot(self) -> go.Figure:
        """Plot the stored values of the best trials beside their new ones."""
        from adnn_optuna.plots._luck import Points, plot_recheck

        points = []
        for trial in self.candidates:
            choosing, confirming = (_known(self.values(trial, role)) for role in _COUNTS)
            interval = mean_interval(choosing, 0.0) if choosing else (math.nan,) * 3
            label = f"trial {trial.number}{', chosen' if trial is self.trial else ''}"
            estimate = self.estimate(trial)
            points.append(Points(label, _stored(trial), choosing, interval, confirming, estimate))
        noise = ""
        if not math.isnan(self.noise_share):
            share = f"{100 * self.noise_share:.0f} %"
            noise = f"noise: sd {self.noise:.2g}, {share} of the study's variance"
        return plot_recheck(points, noise)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write a report: one HTML file, which needs no network.

        Raises:
            ValueError: If the file cannot be written.
        """
        from adnn_optuna.evidence.reports import Figure, Page

        figure = Figure("recheck", self.plot())
        content = {"name": self.study_name, "recheck": self, "figures": [figure], "known": _known}
        content["dates"] = f"{len(self.evaluations)} evaluations"
        Page("recheck.html.jinja", self.claim, self.caveat, content).save(path)


_COUNTS: dict[Role, str] = {"choose": "seeds", "confirm": "confirm"}


def _stored(trial: FrozenTrial) -> float:
    assert trial.value is not None  # It was completed.
    return trial.value


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def mean_interval(values: Sequence[float], resolution: float) -> tuple[float, float, float]:
    """Return the mean with Student's t interval of 95 %, infinite for a single value.

    Where all values are tied, it is as wide as the least difference that values can have.
    """
    mean, n = fmean(values), len(values)
    if n < 2:
        return mean, -math.inf, math.inf
    half = stats.t.ppf((1 + _LEVEL) / 2, n - 1) * stdev(values) / math.sqrt(n)
    half = float(half) or resolution / 2
    return mean, mean - half, mean + half


def expected_luck(n: int, sd: float) -> float:
    """Return what the best of n equally good draws gains over their mean, by luck alone.

    That is the mean of the largest of n independent normal values with mean 0: with X the largest,
    the integral of P(X > x) over x > 0 minus that of P(X < x) over x < 0.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            adnn.expected_luck(50, sd=0.0096)  # 0.0216: 2.25 standard deviations

    Args:
        n: The number of draws.
        sd: Their standard deviation.

    Raises:
        TypeError: If ``sd`` is no number.
        ValueError: If ``n`` is not a whole number of at least 1, or ``sd`` not above 0.
    """
    n = as_positive_int("n", n)
    check_positive("sd", sd)

    # In pieces, as for many draws the first integrand is a step. Beyond 40 all are 0.
    above = [
        integrate.quad(lambda x: -math.expm1(n * special.log_ndtr(x)), low, low + 5)[0]
        for low in range(0, 40, 5)
    ]
    below, _ = integrate.quad(lambda x: math.exp(n * special.log_ndtr(x)), -40, 0)
    return float(sd) * float(sum(above) - below)


def luck_in_words(n: int, sd: float, claimed: float | None = None) -> str:
    """Return what luck alone gains, and how likely it makes a gain over the mean draw."""
    draws = f"the best of {n} equally good draws" if n > 1 else "one draw"
    sentence = (
        f"By luck alone {draws} with a standard deviation of {sd:g} "
        f"is expected to be {expected_luck(n, sd):.4g} better than the mean"
    )
    if claimed is None:
        return f"{sentence}."
    check_number("claimed", claimed)
    chance = -math.expm1(n * special.log_ndtr(claimed / sd))
    return f"{sentence}, and {claimed:g} or more with probability {chance:.2g}."
