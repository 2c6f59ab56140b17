"""How far a model's value varies from run to run, and from what.

All sources of randomness are drawn afresh in each of n runs; each source is redrawn alone in a run
more. Half the mean squared difference is what that source does with all its interactions (Jansen
1999, Computer Physics Communications 117:35), so the parts need not add up to the whole. Intervals
of standard deviations are Bonett's, which hold for values that are not normal, too (2006,
Computational Statistics & Data Analysis 50:775).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from adnn_optuna.engine.evaluations import Evaluation, fresh_seeds
from adnn_optuna.stats.spread import FEWEST, Spread, spread_of

if TYPE_CHECKING:
    import pandas as pd

AS_GIVEN = 2**31 - 1  # In place of a seed: as the objective is without redrawing.
ALL = "all together"
SHARES = ["share", "share_low", "share_high"]


@dataclasses.dataclass
class VarianceFacts:
    """How far a value varies from run to run, see :class:`~adnn_optuna.Variance`."""

    evaluations: Mapping[Evaluation, float] = dataclasses.field(repr=False)
    study_name: str
    value_name: str
    sources: tuple[str, ...]
    n: int
    seed: int | None
    maximize: bool
    not_redrawn: tuple[str, ...] = ()  # What is the same in all runs, in words.

    @property
    def used(self) -> Mapping[Evaluation, float]:
        """The values that count."""
        return self.evaluations

    def __post_init__(self) -> None:
        # A single source is all sources.
        redrawn_alone = self.sources if len(self.sources) > 1 else ()
        drawn, again = (
            [fresh_seeds(self.study_name, source + suffix, self.n) for source in self.sources]
            for suffix in ("", " again")
        )
        runs: list[list[Evaluation]] = [
            [run, *((*run[:k], again[k][i], *run[k + 1 :]) for k in range(len(redrawn_alone)))]
            for i, run in enumerate(zip(*drawn, strict=True))
        ]
        own = (AS_GIVEN,) * len(self.sources)
        wanted = [own] * (self.seed is not None) + [e for of_run in runs for e in of_run]
        self.missing: list[Evaluation] = [e for e in wanted if e not in self.evaluations]
        self.n_evaluations: int = len(wanted)
        self.n_lost: int = sum(math.isnan(self.evaluations.get(e, 0.0)) for e in wanted)
        table = np.array([[self.evaluations.get(e, math.nan) for e in of_run] for of_run in runs])
        values, differences = table[:, 0], (table[:, 1:] - table[:, :1]).T
        self.values: NDArray[np.float64] = values[~np.isnan(values)]
        n = len(self.values)
        self.mean: float = float(self.values.mean()) if n else math.nan
        self.total: Spread = spread_of(self.values)
        self.differences: dict[str, NDArray[np.float64]] = {
            source: row[~np.isnan(row)]
            for source, row in zip(redrawn_alone, differences, strict=True)
        }
        self.parts: dict[str, Spread] = dict.fromkeys(self.sources, self.total)
        for source, row in self.differences.items():
            self.parts[source] = spread_of(row, are_differences=True)
        self.least_difference: float = math.nan
        if n >= FEWEST:
            self.least_difference = float(stats.t.ppf(0.975, n - 1)) * math.sqrt(2) * self.total.sd
        self.own_value: float = self.evaluations.get(own, math.nan)
        better = (self.own_value - self.mean) * (1 if self.maximize else -1)
        self.own_luck: float = better / self.total.sd if self.total.sd > 0 else math.nan

    @property
    def spreads(self) -> dict[str, Spread]:
        """The standard deviation of each source, and of all together."""
        return {**self.parts, ALL: self.total}

    @property
    def deviations(self) -> dict[str, NDArray[np.float64]]:
        """What each source that was redrawn, and all together, did to single runs."""
        of_sources = {s: row / math.sqrt(2) for s, row in self.differences.items() if len(row)}
        return {**of_sources, ALL: self.values - self.mean}

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row for each source, and one for all together.

        Returns:
            A data frame with the index ``source`` and the columns ``sd``, ``low``, ``high`` (the
            interval of 95%) and ``share`` (of the variance of all together, at most 1),
            ``share_low`` and ``share_high``; NaN where nothing varies.
        """
        import pandas as pd

        rows = [
            {"source": source, **spread._asdict(), **self._share(spread)}
            for source, spread in self.spreads.items()
        ]
        return pd.DataFrame(rows).set_index("source")

    def _share(self, part: Spread) -> dict[str, float]:
        if part is self.total or not self.total.sd > 0:
            return dict.fromkeys(SHARES, 1.0 if self.total.sd > 0 else math.nan)
        share, width = (part.sd / self.total.sd) ** 2, 0.0
        if part.sd > 0:
            # As if both were independent, which makes it too wide.
            width = math.hypot(*(math.log(s.high / s.low) for s in (part, self.total)))
        shares = (share, share * math.exp(-width), share * math.exp(width))
        return {name: min(value, 1.0) for name, value in zip(SHARES, shares, strict=True)}
