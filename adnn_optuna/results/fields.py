"""The numbers of a search: lists from which tables, pages and JSON follow.

A new number of a search is one entry of :data:`FIELDS`, a new number of each run of a comparison
one of :data:`RUN_FIELDS`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from typing import Literal, NamedTuple

from optuna.trial import FrozenTrial

from adnn_optuna._units import COUNT, SECONDS, Unit
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.stats.spread import fitted


class Units(NamedTuple):
    """The units of the selection metric and of the test metric."""

    selection: Unit
    test: Unit


class Baselines(NamedTuple):
    """The mean baselines of an arm's runs, by the data of their metric."""

    selection: float
    test: float


class Field(NamedTuple):
    """A number of a search."""

    key: str  # In JSON and data frames.
    label: str  # In comparisons without its metric, of a gain the baseline.
    metric: Literal["selection", "test", ""]  # Which metric it is a value of, if of any.
    get: Callable[[SearchRecord, Baselines], float]  # NaN if it is not known.
    is_gain: bool = False
    unit: Unit = COUNT  # Without a metric.

    @property
    def needs_baseline(self) -> bool:
        """Whether functions do not have it, as they have no baseline."""
        return "baseline" in self.label

    @property
    def is_detail(self) -> bool:
        """Whether it is of baselines, which differ from other columns little."""
        return self.label in ("vs mean baseline", "baseline")

    def unit_in(self, units: Units) -> Unit:
        """Return its unit."""
        return getattr(units, self.metric) if self.metric else self.unit

    def text(self, number: float, unit: Unit) -> str:
        """Return it as text."""
        if self.is_gain:
            return unit.gain(number)
        return unit.value(number)


def _if_tested(get: Callable[[SearchRecord], float]) -> Callable[[SearchRecord, Baselines], float]:
    """Return what gets a number of the test set; NaN without a test-set evaluation."""
    return lambda run, _: get(run) if run.n_test_evaluations > 0 else math.nan


FIELDS = (
    Field("n_trials", "trials", "", lambda run, _: len(run.done_trials)),
    Field("baseline", "baseline", "selection", lambda run, _: run.baseline),
    Field("best_value", "best value", "selection", lambda run, _: run.best_value),
    Field("gain", "gain", "selection", lambda run, _: run.gain, is_gain=True),
    Field(
        "hyperparameter_gain",
        "gain of hyperparameters",
        "selection",
        lambda run, _: run.hyperparameter_gain,
        is_gain=True,
    ),
    Field("test_baseline", "test baseline", "test", _if_tested(lambda run: run.test_baseline)),
    Field("test_value", "test score", "test", _if_tested(lambda run: run.test_value)),
    Field("test_gain", "test gain", "test", _if_tested(lambda run: run.test_gain), is_gain=True),
    Field("n_test_evaluations", "test-set evaluations", "", lambda run, _: run.n_test_evaluations),
)
"""All numbers of a search, in the order in which they are shown."""

RUN_FIELDS = (
    Field("test_best", "", "test", lambda run, _: run.test_value),
    Field("test_gain", "vs own baseline", "test", lambda run, _: run.test_gain, is_gain=True),
    Field("best", "best", "selection", lambda run, _: run.best_value),
    Field("gain", "vs own baseline", "selection", lambda run, _: run.gain, is_gain=True),
    Field(
        "test_gain_over_mean_baseline",
        "vs mean baseline",
        "test",
        lambda run, mean: run.improvement(run.test_value, mean.test),
        is_gain=True,
    ),
    Field(
        "gain_over_mean_baseline",
        "vs mean baseline",
        "selection",
        lambda run, mean: run.improvement(run.best_value, mean.selection),
        is_gain=True,
    ),
    Field("test_baseline", "baseline", "test", lambda run, _: run.test_baseline),
    Field("baseline", "baseline", "selection", lambda run, _: run.baseline),
    Field("trials", "trials", "", lambda run, _: len(run.done_trials)),
    Field(
        "seconds", "seconds", "", lambda run, _: seconds_under_way(run.done_trials), unit=SECONDS
    ),
)
"""All numbers of each run of a comparison; text shows the first four."""


def numbers_of(runs: Sequence[SearchRecord], fields: Sequence[Field]) -> list[dict[str, float]]:
    """Return the numbers of each run of an arm, by their keys."""
    means = Baselines(
        _mean_of_known([run.baseline for run in runs]),
        _mean_of_known([run.test_baseline for run in runs]),
    )
    return [{field.key: field.get(run, means) for field in fields} for run in runs]


def _mean_of_known(values: Sequence[float]) -> float:
    finite_values = [value for value in values if math.isfinite(value)]
    if finite_values:
        return mean(finite_values)
    return math.nan


def units_of(record: SearchRecord) -> Units:
    """Return how the metrics of a search are written, with the digits that its values need."""
    values = record.values
    return Units(fitted(record.metric, values), fitted(record.test_metric, values))


def seconds_under_way(trials: Iterable[FrozenTrial]) -> float:
    """Return the seconds in which any trial ran; trials at the same time count once."""
    seconds = 0.0
    last = -math.inf
    dates = ((trial.datetime_start, trial.datetime_complete) for trial in trials)
    spans = [(begun.timestamp(), end.timestamp()) for begun, end in dates if begun and end]
    for start, end in sorted(spans):
        seconds += max(end - max(start, last), 0.0)
        last = max(last, end)
    return seconds
