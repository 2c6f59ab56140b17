"""The text, figure and states of a change loop, the result of ``keep``."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from snapshots import assert_states, assert_surfaces

import adnn_optuna as adnn

if TYPE_CHECKING:
    from adnn_optuna.results.change_loop import ChangeLoop


def accuracy(label: str, gain: float, storage: Any, **options: Any) -> ChangeLoop:
    def version(seed: int) -> float:
        return float(0.9 + gain + 0.01 * np.random.default_rng(seed).standard_normal())

    function = options.pop("f", version)
    return adnn.keep(function, candidate=label, storage=storage, **options)


def loop(n_changes: int = 12) -> ChangeLoop:
    storage = optuna.storages.InMemoryStorage()
    accuracy("baseline", 0, storage)
    for place in range(n_changes):
        gain = 0.04 if place >= 4 else 0.0
        result = accuracy(f"change {place}", gain, storage, note=f"note {place}")
    return result


def test_surfaces_of_a_change_loop_are_its_snapshots() -> None:
    assert_surfaces("change_loop", dataclasses.replace(loop(), label="change 4"))


def test_each_state_is_as_its_snapshot() -> None:
    storage = optuna.storages.InMemoryStorage()
    baseline = accuracy("baseline", 0, storage)
    states = {
        "baseline": baseline,
        "not kept": accuracy("same", 0, storage),
        "failed": accuracy("failing", 0, storage, f=lambda _seed: math.nan),
        "kept": accuracy("better", 0.05, storage),
    }
    without_noise = {"storage": optuna.storages.InMemoryStorage(), "direction": "minimize"}
    accuracy("constant", 0, f=lambda _seed: 0.9, **without_noise)
    states["kept without noise"] = accuracy("less", 0, f=lambda _seed: 0.89999, **without_noise)
    assert_states("change_loop", states)


def test_the_best_so_far_is_a_step_line_and_kept_changes_are_named() -> None:
    result = loop()
    [figure] = result.document().figures()
    assert figure.title == "The loop kept 1 of 12 candidates; best mean: change 4, 0.93740"
    best, *points = figure.series
    assert [*best.x] == [0, 5, 12]
    assert best.y[0] < best.y[1] == best.y[2]
    assert [*best.y[:2]] == [points[0].y[0], points[5].y[0]]
    labels = [point.label for point in points]
    late = [f"{place}: change {place - 1}" for place in range(9, 13)]
    assert labels == ["0: baseline", *[""] * 4, "5: change 4", *[""] * 3, *late]
    not_kept = [point for point in points if point.color is None]
    assert len(not_kept) == 11
    assert all(math.isfinite(point.low[0]) for point in not_kept)
