"""The list of a search's numbers, which tables, pages and JSON use.

To add a number of a search, add an entry to :data:`FIELDS`. To add a number of each run of a
comparison, add an entry to :data:`RUN_FIELDS`.
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
    """The mean baselines of an arm's runs: by the selection metric, and on the test set."""

    selection: float
    test: float


class Field(NamedTuple):
    """A number of a search, with its labels and its notation."""

    key: str  # The number's name in JSON and data frames.
    label: str  # The name in tables. For a gain, it is the name of the baseline.
    # The metric of the number, or an empty text for counts.
    metric: Literal["selection", "test", ""]
    get: Callable[[SearchRecord, Baselines], float]  # This returns NaN if the number is unknown.
    is_gain: bool = False
    unit: Unit = COUNT  # The unit of a number without a metric.
    is_tabled: bool = True  # Whether tables show the number, in addition to data frames and JSON.
    of_baseline: str = ""  # The key of the same number of baseline networks, or an empty text.
    needs_baseline: bool = False  # Whether only searches with a baseline network have the number.

    def unit_in(self, units: Units) -> Unit:
        """Return the unit of the number."""
        return getattr(units, self.metric) if self.metric else self.unit

    def text(self, number: float, unit: Unit) -> str:
        """Return the number as text."""
        if self.is_gain:
            return unit.gain(number)
        return unit.value(number)


def _if_tested(get: Callable[[SearchRecord], float]) -> Callable[[SearchRecord, Baselines], float]:
    """Return ``get`` as a function that returns NaN before the test-set evaluation."""
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
    Field("test_best", "", "test", lambda run, _: run.test_value, of_baseline="test_baseline"),
    Field(
        "test_gain",
        "vs own baseline",
        "test",
        lambda run, _: run.test_gain,
        is_gain=True,
        needs_baseline=True,
    ),
    Field("best", "best", "selection", lambda run, _: run.best_value, of_baseline="baseline"),
    Field(
        "gain",
        "vs own baseline",
        "selection",
        lambda run, _: run.gain,
        is_gain=True,
        needs_baseline=True,
    ),
    Field(
        "test_gain_over_mean_baseline",
        "vs mean baseline",
        "test",
        lambda run, mean: run.improvement(run.test_value, mean.test),
        is_gain=True,
        is_tabled=False,
        needs_baseline=True,
    ),
    Field(
        "gain_over_mean_baseline",
        "vs mean baseline",
        "selection",
        lambda run, mean: run.improvement(run.best_value, mean.selection),
        is_gain=True,
        is_tabled=False,
        needs_baseline=True,
    ),
    Field(
        "test_baseline",
        "baseline",
        "test",
        lambda run, _: run.test_baseline,
        is_tabled=False,
        needs_baseline=True,
    ),
    Field(
        "baseline",
        "baseline",
        "selection",
        lambda run, _: run.baseline,
        is_tabled=False,
        needs_baseline=True,
    ),
    Field("trials", "trials", "", lambda run, _: len(run.done_trials)),
    Field(
        "seconds", "seconds", "", lambda run, _: seconds_under_way(run.done_trials), unit=SECONDS
    ),
)
"""All numbers of each run of a comparison. Text shows the first four."""


def numbers_of(runs: Sequence[SearchRecord], fields: Sequence[Field]) -> list[dict[str, float]]:
    """Return the numbers of each run of an arm, by the keys of ``fields``."""
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
    """Return the units of a search's metrics, with as many digits as its values need."""
    values = record.values
    return Units(fitted(record.metric, values), fitted(record.test_metric, values))


def seconds_under_way(trials: Iterable[FrozenTrial]) -> float:
    """Return the seconds in which at least one trial ran, so parallel trials count once."""
    seconds = 0.0
    last = -math.inf
    dates = ((trial.datetime_start, trial.datetime_complete) for trial in trials)
    spans = [(begun.timestamp(), end.timestamp()) for begun, end in dates if begun and end]
    for start, end in sorted(spans):
        seconds += max(end - max(start, last), 0.0)
        last = max(last, end)
    return seconds
