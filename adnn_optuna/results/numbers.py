"""The numbers of a search's result: one list, which prints, pages and tables read."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from adnn_optuna._units import COUNT, PLAIN, SECONDS, Unit, unit_of, with_class
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.results.confirmation import confirmation_of
from adnn_optuna.results.curves import seconds_under_way
from adnn_optuna.stats.spread import unit_of_values


class Number(NamedTuple):
    """A number of a result, with all that is to be known of it.

    All are in :meth:`Comparison.table`. The other places are what a search prints (``print``, of
    fresh seeds ``statements``), the scores on its page (``scores``), a comparison's means
    (``means``), those of a comparison of a function (``function``), and the table of every run
    (``runs``).
    """

    name: str  # Its column in data frames; one with ``gain`` in it is shown with its sign.
    metric: str  # The attribute that names the metric that it is a value of; empty of a count.
    part: str  # Which part of the line of its metric it is; empty where it has its own line.
    # Above columns, in one line or two: {metric} is what the search selected by, {score} that of
    # the test set, {unit} the unit.
    heading: str
    shown: Sequence[str]  # Where it is shown.
    # The run's attribute, by default that of its name; or what returns it, of a run and the mean
    # baseline and test_baseline of all runs of its searcher.
    of: str | Callable[[SearchRecord, Mapping[str, float]], float] = ""
    counted: Unit = COUNT  # How it is shown without a metric.

    @property
    def is_gain(self) -> bool:
        """Whether it is a difference."""
        return "gain" in self.name

    def value(self, run: SearchRecord, means: Mapping[str, float]) -> float:
        """Return its value for a run, beside the means of the baselines of all runs."""
        of = self.of or self.name
        value: float = getattr(run, of) if isinstance(of, str) else of(run, means)
        return value

    def metric_of(self, record: SearchRecord) -> str:
        """Return the metric that it is a value of; empty of a count."""
        return str(getattr(record, self.metric)) if self.metric else ""

    def label_of(self, record: SearchRecord) -> str:
        """Return the metric, and the class that it is of; empty of a count."""
        return with_class(self.metric_of(record), record.positive)

    def unit_of(self, record: SearchRecord) -> Unit:
        """Return how it is shown."""
        return unit_of_search(record, self.metric_of(record)) if self.metric else self.counted


_RUN = ["print", "scores", "runs"]
_ALL = [*_RUN, "means"]
_EACH = [*_ALL, "function"]
_OWN, _MEAN = "gain {unit} over\nown baseline", "gain {unit} over\nmean baseline"
_TEST_OWN, _TEST_MEAN = "test gain {unit}\nown baseline", "test gain {unit}\nmean baseline"

NUMBERS = (
    Number("trials", "", "", "trials", ["runs", "function"], lambda run, _: len(run.done_trials)),
    Number("baseline", "metric", "baseline", "baseline", _RUN),
    Number("best", "metric", "best", "best\n{metric}", _EACH, "best_value"),
    Number("gain", "metric", "gain", _OWN, _ALL),
    Number(
        *("gain_over_mean_baseline", "metric", "", _MEAN, ["runs"]),
        lambda run, mean: run.improvement(run.best_value, mean["baseline"]),
    ),
    Number("test_baseline", "test_metric", "baseline", "test\nbaseline", _RUN),
    Number("test_best", "test_metric", "best", "{score}\n{unit}", _EACH, "test_value"),
    Number("test_gain", "test_metric", "gain", _TEST_OWN, _ALL),
    Number(
        *("gain_over_usual", "test_metric", "", "test gain {unit}\nover what is usual"),
        *(["statements"], lambda run, _: _confirmed(run, "usual")),
    ),
    Number(
        *("gain_repeats", "test_metric", "", "test gain {unit}\nthat repeats"),
        *(["statements"], lambda run, _: _confirmed(run, "repeats")),
    ),
    Number(
        *("test_gain_over_mean_baseline", "test_metric", "", _TEST_MEAN, ["means"]),
        lambda run, mean: run.improvement(run.test_value, mean["test_baseline"]),
    ),
    Number(
        *("seconds", "", "", "seconds\nof a run", ["function"]),
        lambda run, _: seconds_under_way(run.done_trials),
        counted=SECONDS,
    ),
)


def numbers_of(runs: Sequence[SearchRecord]) -> list[dict[str, float]]:
    """Return all numbers of each run of a searcher, by their names."""
    means = {}
    for name in ("baseline", "test_baseline"):
        known = [value for run in runs if math.isfinite(value := getattr(run, name))]
        means[name] = fmean(known) if known else math.nan
    return [{number.name: number.value(run, means) for number in NUMBERS} for run in runs]


def unit_of_search(record: SearchRecord, metric: str = "") -> Unit:
    """Return how the metric of a search is shown: in more digits if its values need them."""
    unit, fitted = unit_of(metric or record.metric), unit_of_values([record.values])
    return fitted if unit is PLAIN and fitted.digits > unit.digits else unit


def _confirmed(record: SearchRecord, name: str) -> float:
    facts = confirmation_of(record)
    return math.nan if facts is None else float(getattr(facts, name).value)
