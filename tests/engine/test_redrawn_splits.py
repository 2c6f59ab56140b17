"""Functions that redraw a split are recognized, and functions that keep the split are not."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import kept_splits
import numpy as np
import pytest
import redrawn_splits
from sklearn.model_selection import train_test_split

import adnn_optuna as adnn
from adnn_optuna.engine.redrawn_splits import redrawn_split

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from optuna.storages import BaseStorage

X, Y = np.arange(40).reshape(20, 2), np.arange(20) % 2
ASKED = r"must not redraw the split .*; got train_test_split in line \d+\. Pass resampled="


def cases_of(module: ModuleType) -> list[str]:
    """Return the names of a module's functions of a seed, except its helpers."""
    names = []
    for name, value in vars(module).items():
        is_own = getattr(value, "__module__", module.__name__) in (module.__name__, "functools")
        if not callable(value) or isinstance(value, type) or not is_own:
            continue
        parameters = [*inspect.signature(value).parameters]
        if parameters[-1:] == ["seed"] and name not in ("evaluate", "general", "load"):
            names.append(name)
    return names


REDRAWN, KEPT = cases_of(redrawn_splits), cases_of(kept_splits)


def redrawn(function: Callable[..., float]) -> str:
    seeds = [name for name in inspect.signature(function).parameters if "seed" in name]
    return redrawn_split(function, seeds)


@pytest.mark.parametrize("name", REDRAWN)
def test_a_redrawn_split_is_recognized(name: str) -> None:
    assert redrawn(getattr(redrawn_splits, name))


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_split_is_recognized(name: str) -> None:
    assert not redrawn(getattr(kept_splits, name))


def value(seed: int) -> float:
    return float(np.mean(train_test_split(Y, random_state=seed)[1]))


def value_of_trial(trial: Any, seed: int) -> float:
    return trial.suggest_float("x", 0, 1) + value(seed)


def kept(seed: int) -> float:
    return float(np.random.default_rng(seed).normal())


def asked_without_source(module: Any) -> set[str]:
    """Return the functions of a module for which the user is asked if only bytecode is known."""
    names: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(inspect.getsource(module), "<stdin>", "exec"), names)
    asked = {name: call for name in cases_of(module) if (call := redrawn(names[name]))}
    assert all(call.endswith("(save a def in a file)") for call in asked.values())
    return {*asked}


def test_without_source_a_function_that_names_a_draw_or_a_split_is_asked_about() -> None:
    assert asked_without_source(redrawn_splits) == {*REDRAWN}
    names_asked = asked_without_source(kept_splits)
    assert names_asked < {*KEPT}
    assert not names_asked & {"of_the_model", "new_data"}


class TestIsAskedBeforeAnythingIsEvaluated:
    def test_redrawn_splits_are_asked_about_in_comparisons_of_models(self) -> None:
        models = {"kept": kept, "redrawn": value}
        with pytest.raises(ValueError, match=r"models\['redrawn'\] " + ASKED):
            adnn.compare_models(models, seeds=range(8))
        adnn.compare_models(models, seeds=range(8), resampled=False)

    def test_redrawn_splits_are_asked_about_in_searches_and_rechecks(
        self, storage: BaseStorage
    ) -> None:
        options: Any = {
            "sampler": "random",
            "max_trial": 10,
            "storage": storage,
            "study_name": "s",
        }
        with pytest.raises(ValueError, match="objective " + ASKED):
            adnn.search(value_of_trial, **options)
        alone = adnn.search(value_of_trial, **options, resampled=False)
        for_new_data = adnn.search(value_of_trial, **options, resampled=(15, 5))
        # If the study stores the answer, the question is not asked again.
        resumed = adnn.resume(storage, "s", objective=value_of_trial)
        assert resumed.value == for_new_data.value
        study = alone.study
        with pytest.raises(ValueError, match="evaluate " + ASKED):
            adnn.recheck(study, value_of_trial)
        rechecks = [
            adnn.recheck(study, value_of_trial, top=1, against=0, resampled=resampled)
            for resampled in (False, (15, 5))
        ]
        for narrow, wide in (
            (alone.value, for_new_data.value),
            (rechecks[0].numbers.estimate, rechecks[1].numbers.estimate),
        ):
            # By Nadeau and Bengio, 1 / n + n_test / n_train replaces 1 / n.
            assert wide.value == narrow.value
            ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
            assert ratio == pytest.approx((1 + 10 * 5 / 15) ** 0.5)

    def test_redrawn_splits_are_asked_about_in_comparisons_of_samplers(
        self, storage: BaseStorage
    ) -> None:
        options: Any = {"max_trial": 2, "seeds": range(2), "confirm": 1}
        with pytest.raises(ValueError, match="objective " + ASKED):
            adnn.compare(value_of_trial, ["annealing"], **options)
        adnn.compare(value_of_trial, ["annealing"], **options, resampled=False, storage=storage)
        # If a comparison stores the answer, resuming it asks no question.
        adnn.resume(storage, "compare", objective=value_of_trial, max_trial=3)


class Raising:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


RAISING = Raising()


def of_raising(seed: int) -> float:
    return RAISING.value + value(seed)


def of_many_calls(seed: int, n: int = 20) -> float:
    return of_many_calls(seed, n - 1) + of_many_calls(seed + 1, n - 2) + value(seed)


@pytest.mark.parametrize("function", [of_raising, of_many_calls])
def test_code_that_cannot_be_followed_counts_by_the_names_in_it(
    function: Callable[..., float],
) -> None:
    assert redrawn(function)
