"""Samples that are in two splits, or twice in one split, and samples in a common group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adnn_optuna.networks import duplicates
from adnn_optuna.networks.data import Dataset

X = np.random.default_rng(0).random((60, 3))
Y = np.arange(60) % 3


def of_parts(**rows: Any) -> Dataset:
    parts: dict[str, Any] = {
        "train": np.r_[0:30],
        "val": np.r_[30:45],
        "test": np.r_[45:60],
        **rows,
    }
    x_and_y = {f"{kind}_{s}": {"x": X, "y": Y}[kind][parts[s]] for s in parts for kind in "xy"}
    x, y = x_and_y.pop("x_train"), x_and_y.pop("y_train")
    return Dataset.from_arrays(x, y, **x_and_y)


@pytest.mark.parametrize(
    ("rows", "found", "said"),
    [
        ({}, {}, ""),
        (
            {"val": np.r_[25:40]},
            {"val-train": 5},
            "5 validation samples with the inputs of a training sample",
        ),
        (
            {"test": np.r_[27:30, 50:60]},
            {"test-train": 3},
            "3 test samples with the inputs of a training sample",
        ),
        (
            {"test": np.r_[30:45]},
            {"test-val": 15},
            "15 test samples with the inputs of a validation sample",
        ),
        (
            {"test": np.tile(np.r_[45:60], 3)},
            {"test-test": 30},
            "30 test samples that repeat another one, inputs and label",
        ),
        (
            {"test": np.r_[30:45, 29]},
            {"test-train": 1, "test-val": 15},
            "1 test samples with the inputs of a training sample, 15 test samples with",
        ),
    ],
)
def test_are_found_between_all_splits_and_reported(
    rows: dict[str, Any], found: dict[str, int], said: str, logs: pytest.LogCaptureFixture
) -> None:
    data = of_parts(**rows)
    assert data.duplicates == data.config.get("duplicates", {}) == found
    messages = [r.getMessage() for r in logs.records if "drop duplicates" in r.getMessage()]
    assert len(messages) == bool(found)
    assert said in "".join(messages)


def test_zeros_of_both_signs_are_equal_and_different_labels_are_not() -> None:
    x = np.array([[0.0, 1], [-0.0, 1], [0.0, 1], [1.0, 1]])
    np.testing.assert_array_equal(duplicates.groups_of(x), [0, 0, 0, 1])
    np.testing.assert_array_equal(duplicates.groups_of(x, np.array([1, 1, 2, 1])), [0, 0, 1, 2])


def test_groups_of_test_samples_are_known_after_the_split() -> None:
    patients = np.repeat([f"p{i}" for i in range(20)], 3)
    data = Dataset.from_arrays(X, Y, groups=patients)
    names = [patients[np.abs(X - row).sum(axis=1).argmin()] for row in data.x_test]
    pairs = {*zip(names, data.test_groups, strict=True)}
    assert len(pairs) == len(set(names)) == len(set(data.test_groups)) == len(data.y_test) / 3
    alone = Dataset.from_arrays(X, Y)
    np.testing.assert_array_equal(alone.test_groups, np.arange(len(alone.y_test)))
    # Two patients with the same picture are in one group.
    x = X.copy()
    x[np.flatnonzero(np.isin(patients, names))] = 0.5
    same = Dataset.from_arrays(x, np.arange(60) % 2, groups=patients)
    assert len(set(same.test_groups)) < len(set(data.test_groups))
    with pytest.raises(ValueError, match="with weights or groups stay"):
        Dataset("d", X, Y, X, Y, X, Y, 3, groups_test=Y, drawn=("test",))
