"""Results have few public names, and cannot be changed."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING

import pytest

import adnn_optuna
from adnn_optuna.render.printed import Printed

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 20


def kinds_of_results() -> dict[str, type]:
    """Return all classes of results that users can get, by name."""
    for name in adnn_optuna.__all__:
        getattr(adnn_optuna, name)  # This loads the module of each result.
    for name in ("luck", "plan"):
        importlib.import_module(f"adnn_optuna.results.{name}")
    other_kinds = [adnn_optuna.experiments.confirmation.Confirmation]
    return {kind.__name__: kind for kind in [*subclasses(Printed), *other_kinds]}


def subclasses(kind: type) -> Iterator[type]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


@pytest.mark.parametrize("name", sorted(kinds_of_results()))
def test_a_result_has_at_most_20_public_names_and_is_frozen(name: str) -> None:
    kind = kinds_of_results()[name]
    fields = [field.name for field in dataclasses.fields(kind)]
    names = {name for name in [*dir(kind), *fields] if not name.startswith("_")}
    assert len(names) <= MOST, sorted(names)
    assert kind.__dataclass_params__.frozen


def test_all_kinds_of_results_are_checked() -> None:
    expected = "SearchResult FunctionSearch StudyResult Comparison ModelComparison ValueComparison"
    expected += " Recheck Variance Overtuning Plan Luck Contract Verdict Audit Confirmation"
    assert {*expected.split()} <= {*kinds_of_results()}
