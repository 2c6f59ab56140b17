"""The numbers of a search: one list, which text, pages and JSON show.

A new number is one entry of :data:`FIELDS`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from adnn_optuna._units import COUNT, PLAIN, Unit, unit_of
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.stats.spread import unit_of_values


class Field(NamedTuple):
    """A number of a search.

    Attributes:
        key: Its key in JSON.
        label: What it is called.
        unit: How it is written, by the search.
        get: What returns it for a search; NaN if it is not known.
        is_difference: Whether it is written with its sign.
    """

    key: str
    label: str
    unit: Callable[[SearchRecord], Unit]
    get: Callable[[SearchRecord], float]
    is_difference: bool = False

    def text(self, record: SearchRecord) -> str:
        """Return the number of a search as text; empty if it is not known."""
        number, unit = self.get(record), self.unit(record)
        if math.isnan(number):
            return ""
        return unit.gain(number) if self.is_difference else unit.value(number)


def selection_unit(record: SearchRecord) -> Unit:
    """Return how values of the metric of the selection are written."""
    return _fitted(unit_of(record.metric), record)


def test_unit(record: SearchRecord) -> Unit:
    """Return how values of this metric on the test set are written."""
    return _fitted(unit_of(record.test_metric), record)


def _fitted(unit: Unit, record: SearchRecord) -> Unit:
    """Return a unit with more digits if the values of the search need them."""
    fitted = unit_of_values([record.values])
    return fitted if unit is PLAIN and fitted.digits > unit.digits else unit


def count(_: SearchRecord) -> Unit:
    """Return how numbers of trials and of evaluations are written."""
    return COUNT


FIELDS = (
    Field("n_trials", "trials", count, lambda record: len(record.done_trials)),
    Field("baseline", "baseline", selection_unit, lambda record: record.baseline),
    Field("best_value", "best value", selection_unit, lambda record: record.best_value),
    Field("gain", "gain", selection_unit, lambda record: record.gain, is_difference=True),
    Field(
        "hyperparameter_gain",
        "gain of hyperparameters",
        selection_unit,
        lambda record: record.hyperparameter_gain,
        is_difference=True,
    ),
    Field("test_baseline", "test baseline", test_unit, lambda record: record.test_baseline),
    Field("test_value", "test score", test_unit, lambda record: record.test_value),
    Field(
        "test_gain", "test gain", test_unit, lambda record: record.test_gain, is_difference=True
    ),
    Field(
        "n_test_evaluations",
        "test-set evaluations",
        count,
        lambda record: (
            len(record.test_evaluations) + sum(record.test_evaluations_elsewhere.values())
        ),
    ),
)
"""All numbers of a search, in the order in which they are shown."""
