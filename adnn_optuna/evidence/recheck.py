"""How much of a study's best value is luck: what a recheck shows, in numbers and in words.

A study's best value is too high, because it is the best of many noisy ones. A few evaluations with
fresh seeds show by how much: some choose among the best trials, others, by which nothing was
chosen, tell what the chosen one is worth.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev, variance
from typing import TYPE_CHECKING

import numpy as np
from optuna.trial import FrozenTrial
from scipy import stats

from adnn_optuna.evidence.evaluated import Evaluated

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from adnn_optuna.engine.evaluations import Evaluation

Estimate = tuple[float, float, float]
"""A value with the ends of its interval."""

# This many equal values show that nothing is random. There are as many seeds to choose by.
N_EQUAL = 5
_LEVEL = 0.95
_ROUNDING = 1e-12  # Values that differ by less are equal.


def fresh_seeds(study_name: str, role: str, count: int) -> tuple[int, ...]:
    """Return seeds below 2^31 for a study; a larger count only adds some.

    They follow from its name, so they are none of the small ones that people use. Those to choose
    by are even and those to confirm by odd, so no seed does both.
    """
    data = f"{study_name} {role}".encode()
    words = np.frombuffer(hashlib.shake_128(data).digest(4 * count), dtype="<u4")
    return tuple(int(word) // 4 * 2 + (role == "confirm") for word in words)


@dataclasses.dataclass(repr=False)
class Recheck(Evaluated):
    """What a recheck of a study shows; printed, it is a sentence.

    Args:
        evaluations: The values of those that were made. NaN: it came to no value.
        study_name: The study.
        maximize: Whether higher values are better.
        candidates: Its best trials, the best first.
        study_values: The values of all its completed trials.
        seeds: How many seeds choose among the candidates.
        confirm: How many further seeds tell what the chosen one is worth.
        confirm_best: Whether they are used for the study's best trial, too.
        is_seeded: Whether the evaluations take their seeds.

    Attributes:
        best: The study's best trial.
        trial: The chosen one: of the best mean, in which the stored value counts once. Those that
            came to a value with more seeds come first. :obj:`None` until all are known.
        value: What the chosen one is worth; NaN where that is not known yet.
        low, high: The ends of the value's interval of 95 %.
        overstated: By how much the study's best value is too good; below 0, it is too bad.
        overstated_low, overstated_high: The ends of its interval.
        noise: The standard deviation of the confirming values; NaN with fewer than two.
        noise_share: The noise's part of the variance of all values in the study, at most 1.
        is_deterministic: Whether five fresh seeds give exactly the best trial's stored value.
        missing: The evaluations to be made next, all independent of each other; none at the end.
        n_evaluations: How many evaluations a recheck takes, where anything is random.
    """

    kind = "recheck"
    made = "evaluations"

    maximize: bool
    candidates: Sequence[FrozenTrial]
    study_values: Sequence[float]
    seeds: int
    confirm: int
    confirm_best: bool
    is_seeded: bool
    trial: FrozenTrial | None = dataclasses.field(default=None, init=False)
    is_deterministic: bool = dataclasses.field(default=False, init=False)

    def __post_init__(self) -> None:
        choosing = fresh_seeds(self.study_name, "choose", max(self.seeds, N_EQUAL))
        confirming = fresh_seeds(self.study_name, "confirm", self.confirm)
        self._seeds = {"choose": choosing[: self.seeds], "confirm": confirming}
        self.best: FrozenTrial = self.candidates[0]
        # The study may have had other best trials before it went on.
        numbers = {trial.number for trial in self.candidates}
        known = {e: value for e, value in self.evaluations.items() if e[0] in numbers}
        self.evaluations = known
        stages = self._stages([(self.best.number, seed) for seed in choosing[:N_EQUAL]])
        missing = ([e for e in stage if e not in self.evaluations] for stage in stages)
        self.missing: list[Evaluation] = next(filter(None, missing), [])
        n_confirmed = 2 if self.confirm_best and self.trial is not self.best else 1
        self.n_evaluations: int = len(self.candidates) * self.seeds + n_confirmed * self.confirm

        # The least difference of values: of accuracies, one image or more.
        gaps = np.diff(np.unique([*self.study_values, *self.evaluations.values()]))
        self._resolution = float(min(gaps[gaps > _ROUNDING], default=0.0))
        confirmed = self.values(self.trial, "confirm") if self.trial and not self.missing else []
        estimate = mean_interval(confirmed, self._resolution)
        if self.is_deterministic:
            estimate = (_stored(self.best),) * 3
        self.value: float
        self.low: float
        self.high: float
        self.value, self.low, self.high = estimate
        self.overstated: float
        self.overstated_low: float
        self.overstated_high: float
        self.overstated, self.overstated_low, self.overstated_high = self._excess(estimate)
        self.noise: float = stdev(confirmed) if len(confirmed) > 1 else math.nan
        of_study = variance(self.study_values) if len(self.study_values) > 1 else 0.0
        self.noise_share: float = min(self.noise**2 / of_study, 1.0) if of_study else math.nan

    def _stages(self, equal: Sequence[Evaluation]) -> Iterator[Sequence[Evaluation]]:
        """Yield what is evaluated, and conclude from each part once it is known."""
        first = equal[: self.seeds]
        yield first
        if all(self.evaluations[e] == self.best.value for e in first):
            yield equal
            if all(self.evaluations[e] == self.best.value for e in equal):
                self.is_deterministic, self.trial = True, self.best
                return
        yield [(t.number, seed) for t in self.candidates for seed in self._seeds["choose"]]

        def rank(trial: FrozenTrial) -> tuple[int, float]:
            values = [_stored(trial), *self.values(trial, "choose")]
            return len(values), fmean(values) * (1 if self.maximize else -1)

        self.trial = max(self.candidates, key=rank)  # The first of equals, as the study's best is.
        with_best = self.confirm_best and self.trial is not self.best
        confirmed = [self.trial, self.best] if with_best else [self.trial]
        yield [(t.number, seed) for t in confirmed for seed in self._seeds["confirm"]]

    def values(self, trial: FrozenTrial, role: str) -> list[float]:
        """Return the values that a trial came to with the seeds of a role, in their order."""
        made = [(trial.number, seed) for seed in self._seeds[role]]
        found = (self.evaluations.get(evaluation, math.nan) for evaluation in made)
        return [value for value in found if not math.isnan(value)]

    def _excess(self, estimate: Estimate) -> Estimate:
        """Return how much better the study's best value is, with the interval."""
        sign = 1 if self.maximize else -1
        value, *ends = (sign * (_stored(self.best) - bound) for bound in estimate)
        return value, min(ends), max(ends)

    def in_words(self, value: float, *interval: float) -> str:
        """Return a value as text, as exactly as two digits of the interval's width ask for."""
        if interval:
            return f"{self.in_words(value)} ({' to '.join(map(self.in_words, interval))})"
        if not 0 < (width := (self.high - self.low) / 2) < math.inf:
            return f"{value:.6g}"
        return f"{value:z.{min(max(1 - math.floor(math.log10(width)), 0), 15)}f}"

    @property
    def claim(self) -> str:
        """What the recheck shows, in a sentence."""
        best, trial, shown = self.best, self.trial, self.in_words
        said = f"The study said {shown(_stored(best))} (trial {best.number})"
        if self.is_deterministic:
            return (
                f"{said}, and {N_EQUAL} fresh seeds give exactly that: the evaluation is "
                "deterministic, so there is no luck of training to measure."
            )
        if trial is None or self.missing:
            return f"{said}; what it is worth is not known yet, {self._so_far()}"
        said = f"{said}; trained afresh, trial {trial.number} gives"
        if math.isnan(self.value):
            return f"{said} no value."
        excess, verb = (self.overstated, self.overstated_low, self.overstated_high), "overstated"
        if self.overstated < 0:
            excess, verb = (-excess[0], -excess[2], -excess[1]), "understated"
        claim = (
            f"{said} {shown(self.value, self.low, self.high)}: the study {verb} by "
            f"{shown(*excess)}, on the same validation data."
        )
        # The word luck is for one and the same trial only.
        again = mean_interval(self.values(best, "confirm"), self._resolution)
        if trial is not best:
            if not self.confirm_best or math.isnan(again[0]):
                return claim
            claim += f" Trial {best.number} itself gives {shown(*again)}."
        luck = self._excess(again)
        if luck[1] > 0:
            return f"{claim} Of trial {best.number}'s value, {shown(*luck)} was luck."
        return f"{claim} That trial {best.number} was lucky is not shown."

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

    def _facts(self) -> dict[str, object]:
        chosen = None if self.trial is None else self.trial.number
        return {
            "name": self.study_name,
            "best": _stored(self.best),
            "trial": chosen,
            "value": self.value,
            "overstated": self.overstated,
        }

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
        from adnn_optuna.plots._luck import plot_recheck

        stored = {
            f"trial {t.number}{', chosen' if t is self.trial else ''}": _stored(t)
            for t in self.candidates
        }
        choosing, confirming = (
            [(v, mean_interval(v, self._resolution)) for v in found]
            for found in ([self.values(t, role) for t in self.candidates] for role in self._seeds)
        )
        noise = f"noise: sd {self.noise:.2g}, {self.noise_share:.0%} of the study's variance"
        noise = "" if math.isnan(self.noise_share) else noise
        return plot_recheck(stored, choosing, confirming, noise)


def _stored(trial: FrozenTrial) -> float:
    assert trial.value is not None  # It was completed.
    return trial.value


def mean_interval(values: Sequence[float], resolution: float) -> Estimate:
    """Return the mean with Student's t interval of 95 %, infinite for one value, NaN for none.

    Where all values are tied, it is as wide as the least difference that values can have.
    """
    if (n := len(values)) < 2:
        return (values[0], -math.inf, math.inf) if n else (math.nan,) * 3
    mean = fmean(values)
    half = stats.t.ppf((1 + _LEVEL) / 2, n - 1) * stdev(values) / math.sqrt(n)
    half = float(half) or resolution / 2
    return mean, mean - half, mean + half
