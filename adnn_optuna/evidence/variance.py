"""How far a model's value varies from run to run, and from what.

All sources of randomness are drawn afresh in each of n runs; each source is redrawn alone in a run
more. Half the mean squared difference is what that source does with all its interactions (Jansen
[1]), so the parts need not add up to the whole. Intervals of standard deviations are Bonett's [2],
which hold for values that are not normal, too.

[1] M. J. W. Jansen. Analysis of variance designs for model output. Computer Physics Communications
117(1-2):35-43, 1999.

[2] D. G. Bonett. Approximate confidence interval for standard deviation of nonnormal
distributions. Computational Statistics & Data Analysis 50(3):775-782, 2006.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from adnn_optuna._units import ACCURACY, Unit, unit_of
from adnn_optuna.evidence.evaluated import Evaluated
from adnn_optuna.evidence.proportions import Z
from adnn_optuna.evidence.recheck import fresh_seeds
from adnn_optuna.reporting.tables import aligned

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from adnn_optuna.engine.evaluations import Evaluation

AS_GIVEN = 2**31 - 1  # In place of a seed: as the objective is without redrawing.
FEWEST = 5  # Runs that say anything of a standard deviation.
ALL = "all together"
_SHARES = ["share", "share_low", "share_high"]


class Spread(NamedTuple):
    """A standard deviation with its interval of 95 %; NaN where there are less than five runs."""

    sd: float
    low: float
    high: float


def spread_of(values: np.ndarray, *, are_differences: bool = False) -> Spread:
    """Return the standard deviation of values by Bonett (2006), equation 2.

    Args:
        values: Independent values; or differences of two such each, whose mean is 0.
        are_differences: Whether they are differences.
    """
    n = len(values)
    if n < FEWEST:
        return Spread(math.nan, math.nan, math.nan)
    if (values == values[0]).all() and not (are_differences and values[0]):
        return Spread(0.0, 0.0, 0.0)
    mean, center, degrees, scale = 0.0, 0.0, n, 0.5
    if not are_differences:
        mean, degrees, scale = float(values.mean()), n - 1, 1.0
        center = float(stats.trim_mean(values, 1 / (2 * math.sqrt(n - 4))))
    size = float(np.abs(values - mean).max())  # By which squares do not underflow.
    squares = float((((values - mean) / size) ** 2).sum())
    kurtosis = n * float((((values - center) / size) ** 4).sum()) / squares**2
    c = n / (n - Z)
    error = c * math.sqrt((kurtosis - (n - 3) / n) / degrees)  # A kurtosis is at least 1.
    sd = size * math.sqrt(scale * squares / degrees)
    low, high = (sd * math.sqrt(c * math.exp(sign * Z * error)) for sign in (-1, 1))
    return Spread(sd, low, high)


@dataclasses.dataclass(repr=False)
class Variance(Evaluated):
    """How far a value varies from run to run; printed, it is a sentence and a table.

    Args:
        evaluations: The values of the runs that were made, by the seed of each source.
        study_name: The study of the runs; from its name follow the seeds.
        value_name: What varies, such as ``"val_accuracy"``.
        sources: The sources of randomness.
        n: In how many runs all of them are drawn afresh.
        seed: The seed in use, whose luck is told; it is none of the n. :obj:`None` without any.
        maximize: Whether higher values are better.

    Attributes:
        values: The values of the runs with all sources drawn afresh, a float array of shape (n,).
        differences: For each source, by how much redrawing it alone changed the value of a run.
        total: The standard deviation of the values.
        parts: That of each source alone.
        least_difference: What the difference of two single runs must exceed to mean anything: both
            runs' noise exceeds it in 5 % of cases.
        own_value: What the seed in use came to; NaN without one.
        own_luck: By how many standard deviations that is better than the mean.
        missing: The evaluations to be made next; none at the end.
        n_evaluations: How many evaluations it takes in all.
    """

    kind = "variance"
    made = "runs"

    value_name: str
    sources: tuple[str, ...]
    n: int
    seed: int | None
    maximize: bool

    def __post_init__(self) -> None:
        drawn = [fresh_seeds(self.study_name, source, self.n) for source in self.sources]
        again = [fresh_seeds(self.study_name, f"{s} again", self.n) for s in self.sources]
        own = (AS_GIVEN,) * len(self.sources)
        wanted = [] if self.seed is None else [own]
        values, differences = [], np.full((len(self.sources), self.n), math.nan)
        for i, run in enumerate(zip(*drawn, strict=True)):
            # A single source is all sources.
            redrawn = [
                (*run[:k], other[i], *run[k + 1 :])
                for k, other in enumerate(again)
                if len(self.sources) > 1
            ]
            wanted += [run, *redrawn]
            values.append(self.evaluations.get(run, math.nan))
            for k, evaluation in enumerate(redrawn):
                differences[k, i] = self.evaluations.get(evaluation, math.nan) - values[-1]
        self.missing: list[Evaluation] = [e for e in wanted if e not in self.evaluations]
        self.n_evaluations: int = len(wanted)
        self.n_lost: int = sum(math.isnan(self.evaluations.get(e, 0.0)) for e in wanted)

        self.values: NDArray[np.float64] = np.array([v for v in values if not math.isnan(v)])
        self.total: Spread = spread_of(self.values)
        n = len(self.values)
        self.differences: dict[str, NDArray[np.float64]] = {
            source: row[~np.isnan(row)]
            for source, row in zip(self.sources, differences, strict=True)
        }
        self.parts: dict[str, Spread] = {
            source: spread_of(row, are_differences=True) if len(self.sources) > 1 else self.total
            for source, row in self.differences.items()
        }
        self.least_difference: float = math.nan
        if n >= FEWEST:
            self.least_difference = float(stats.t.ppf(0.975, n - 1)) * math.sqrt(2) * self.total.sd
        self.own_value: float = self.evaluations.get(own, math.nan)
        better = (self.own_value - self.values.mean()) * (1 if self.maximize else -1) if n else 0
        self.own_luck: float = float(better / self.total.sd) if self.total.sd > 0 else math.nan

    @property
    def unit(self) -> Unit:
        """How the values are shown."""
        return unit_of(self.value_name)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for each source, and one for all together.

        Returns:
            A data frame with the index ``source`` and the columns ``sd``, ``low``, ``high`` (the
            interval of 95 %) and ``share`` (of the variance of all together, at most 1),
            ``share_low`` and ``share_high``.
        """
        import pandas as pd

        rows = [
            {"source": source, **spread._asdict(), **self._share(spread)}
            for source, spread in {**self.parts, ALL: self.total}.items()
        ]
        return pd.DataFrame(rows).set_index("source")

    def _share(self, part: Spread) -> dict[str, float]:
        if part is self.total:
            return dict.fromkeys(_SHARES, 1.0)
        share = low = high = math.nan
        if self.total.sd > 0:
            share = low = high = (part.sd / self.total.sd) ** 2
            if part.sd > 0:
                # As if both were independent, which makes it too wide.
                width = math.hypot(*(math.log(s.high / s.low) for s in (part, self.total)))
                low, high = share * math.exp(-width), share * math.exp(width)
        shares = {"share": share, "share_low": low, "share_high": high}
        return {name: min(value, 1.0) for name, value in shares.items()}

    def in_words(self, spread: float, *interval: float) -> str:
        """Return a difference or a standard deviation as text."""
        said = f"{self.unit.scale * spread:.3g}{self.unit.of_gains}"
        if not interval:
            return said
        low, high = (f"{self.unit.scale * end:.3g}" for end in interval)
        return f"{said} ({low} to {high})"

    @property
    def claim(self) -> str:
        """How far the value varies, in a sentence or two."""
        if math.isnan(self.total.sd):
            return f"How far {self.value_name} varies is not known yet, {self._so_far()}"
        if self.total.sd == 0:
            return (
                f"All {len(self.values)} runs came to the same {self.value_name}: nothing that "
                "was redrawn changes it."
            )
        claim = (
            f"From run to run {self.value_name} has a standard deviation of "
            f"{self.in_words(*self.total)}; two single runs that differ by less than "
            f"{self.in_words(self.least_difference)} show no difference."
        )
        if math.isnan(self.own_luck):
            return claim
        is_accuracy, luck = self.unit is ACCURACY, "lucky" if self.own_luck > 0 else "unlucky"
        own = self.unit.value(self.own_value) if is_accuracy else f"{self.own_value:.4g}"
        return (
            f"{claim} Seed {self.seed}, the one in use, came to {own}: {luck} by "
            f"{abs(self.own_luck):.1f} standard deviations."
        )

    @property
    def caveat(self) -> str:
        """What to think of it."""
        said = (
            f"Of {len(self.values)} runs with all sources drawn afresh, intervals of 95 %. Each "
            "source is redrawn alone, with its interactions, so shares need not add up to 100 %."
        )
        if self.n_lost:
            said += (
                f" {self.n_lost} of {len(self.evaluations)} runs came to no value and are left "
                "out, so it is the variance of those that succeed."
            )
        return said

    def rows(self) -> list[tuple[str, str, str]]:
        """Return each source with its standard deviation and share, as text."""
        return [
            (
                str(source),
                self.in_words(row["sd"], row["low"], row["high"]),
                "{:.0f} % ({:.0f} to {:.0f})".format(*100 * row[_SHARES]) if source != ALL else "",
            )
            for source, row in self.to_dataframe().iterrows()
        ]

    def _facts(self) -> dict[str, object]:
        return {
            "name": self.study_name,
            "value_name": self.value_name,
            "runs": len(self.values),
            "sd": self.total.sd,
            "own_luck": self.own_luck,
        }

    def __str__(self) -> str:
        if math.isnan(self.total.sd):
            return self.claim
        header = [("source", "standard deviation", "share of the variance")]
        said, notes = (textwrap.wrap(text, 98) for text in (self.claim, self.caveat))
        return "\n".join([*said, "", *aligned(header, self.rows()), *notes])

    def plot(self) -> go.Figure:
        """Plot what each source does to the value, and how lucky the seed in use is."""
        from adnn_optuna.plots._luck import plot_variance

        points = {source: row / math.sqrt(2) for source, row in self.differences.items()}
        points = {source: row for source, row in points.items() if len(row)}
        mean = self.values.mean() if len(self.values) else math.nan
        points[ALL] = self.values - mean
        return plot_variance(
            points, {**self.parts, ALL: self.total}, self.own_value - mean, self.value_name
        )
