"""The numbers of each run of a comparison: one list, from which tables and JSON follow.

A new number is one entry of :data:`FIELDS`; it then stands in :meth:`Comparison.table`, in the
tables of means and of every run, and in JSON.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from adnn_optuna._units import COUNT, SECONDS, Unit
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.results.curves import seconds_under_way


class Baselines(NamedTuple):
    """The mean baselines of all runs of an arm, by what their metric is computed on."""

    selection: float
    test: float


class Field(NamedTuple):
    """A number of a run.

    Attributes:
        key: Its column in data frames and its key in JSON.
        label: What it is called, without its metric; of a gain the baseline.
        metric: Which metric it is a value of; empty if of none.
        get: What returns it for a run, given the mean baselines of the arm's runs.
        is_gain: Whether it is a difference.
        unit: How it is written if it has no metric.
    """

    key: str
    label: str
    metric: Literal["selection", "test", ""]
    get: Callable[[SearchRecord, Baselines], float]
    is_gain: bool = False
    unit: Unit = COUNT

    @property
    def needs_baseline(self) -> bool:
        """Whether functions do not have it, as they have no baseline."""
        return "baseline" in self.label


# Text shows the first four.
FIELDS = (
    Field("test_best", "", "test", lambda run, _: run.test_value),
    Field("test_gain", "own baseline", "test", lambda run, _: run.test_gain, is_gain=True),
    Field("best", "best", "selection", lambda run, _: run.best_value),
    Field("gain", "own baseline", "selection", lambda run, _: run.gain, is_gain=True),
    Field(
        "test_gain_over_mean_baseline",
        "mean baseline",
        "test",
        lambda run, mean: run.improvement(run.test_value, mean.test),
        is_gain=True,
    ),
    Field(
        "gain_over_mean_baseline",
        "mean baseline",
        "selection",
        lambda run, mean: run.improvement(run.best_value, mean.selection),
        is_gain=True,
    ),
    Field("test_baseline", "baseline", "test", lambda run, _: run.test_baseline),
    Field("baseline", "baseline", "selection", lambda run, _: run.baseline),
    Field("trials", "trials", "", lambda run, _: len(run.done_trials)),
    Field(
        "seconds",
        "seconds",
        "",
        lambda run, _: seconds_under_way(run.done_trials),
        unit=SECONDS,
    ),
)


def numbers_of(runs: Sequence[SearchRecord], fields: Sequence[Field]) -> list[dict[str, float]]:
    """Return the numbers of each run of an arm, by their keys."""
    means = Baselines(
        _mean_of_known([run.baseline for run in runs]),
        _mean_of_known([run.test_baseline for run in runs]),
    )
    return [{field.key: field.get(run, means) for field in fields} for run in runs]


def _mean_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return fmean(known) if known else math.nan
