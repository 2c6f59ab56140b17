"""The gain by selection alone, and the probability that it reaches a claimed gain."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from adnn_optuna._units import PLAIN, in_probability
from adnn_optuna.render.document import Table
from adnn_optuna.render.printed import Printed, number_fields
from adnn_optuna.stats.selection_bias import Baseline, chance_of_luck, expected_luck

_RESAMPLED = (
    "No draw is above the best observed run, so these numbers are too small, unless there are far "
    "more runs than draws."
)
_OVER: Mapping[Baseline, str] = {"mean": "over the mean", "one": "over one baseline run"}


@dataclasses.dataclass(frozen=True)
class Luck(Printed):
    """The gain by selection alone, because the best of equally good runs is high by chance.

    Attributes:
        n: The number of runs. The best run is selected.
        sd: The standard deviation of a run, for normal values, or None if ``values`` are set.
        claimed: A claimed gain, whose probability is computed, or None.
        files: The number of searches. The best search is reported.
        values: The values of observed runs, instead of ``sd``.
    """

    n: int
    sd: float | None
    claimed: float | None = None
    files: int = 1
    values: Sequence[float] | None = None

    @property
    def expected(self) -> float:
        """The expected gain of the best of ``n`` runs."""
        return expected_luck(self.n, self.sd, values=self.values)

    @property
    def chances(self) -> dict[Baseline, float]:
        """The probability that one search reaches the claimed gain, for each baseline."""
        return self._chances(n_searches=1)

    @property
    def chances_of_files(self) -> dict[Baseline, float]:
        """The probability that at least one search reaches the claimed gain, for each baseline."""
        return self._chances(n_searches=self.files)

    def _chances(self, n_searches: int) -> dict[Baseline, float]:
        if self.claimed is None:
            return {}
        draws = (self.n, self.sd, self.claimed)
        return {
            baseline: chance_of_luck(*draws, baseline, n_searches, values=self.values)
            for baseline in _OVER
        }

    def _title(self) -> str:
        return "Gain by luck alone"

    def _conclusion(self) -> str:
        draws = "One draw"
        if self.n > 1:
            draws = f"The best of {self.n} equally good draws"
        unit = PLAIN.fitted([], abs(self.expected))
        return f"{draws} is expected to gain {unit.value(self.expected)} over the mean."

    def _scope(self) -> str:
        if self.values is not None:
            return f"draws from {len(self.values)} observed runs"
        scope = f"normal scores with a standard deviation of {self.sd:g}"
        return scope if len(scope) < 58 else ""

    def _notes(self) -> list[str]:
        return [] if self.values is None else [_RESAMPLED]

    def _fields(self) -> dict[str, Any]:
        return number_fields(self, "n sd expected claimed files chances chances_of_files")

    def _tables(self) -> list[Table]:
        """Return a table with the probability of the claimed gain, or an empty list."""
        if self.claimed is None:
            return []
        chances_by_number = {"in one search": self.chances}
        if self.files > 1:
            chances_by_number[f"in at least one of {self.files}"] = self.chances_of_files
        rows = []
        for baseline, over in _OVER.items():
            chances = [in_probability(chances[baseline]) for chances in chances_by_number.values()]
            rows.append((over, *chances))
        return [Table((f"chance of {self.claimed:g} or more", *chances_by_number), rows)]
