"""Samples that are in two splits, or twice in one, and those that belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adnn_optuna.networks import duplicates
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.near_copies import count_near_copies

RNG = np.random.default_rng(0)
X = RNG.random((60, 3))
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
def test_are_found_between_all_splits_and_told(
    rows: dict[str, Any], found: dict[str, int], said: str, logs: pytest.LogCaptureFixture
) -> None:
    data = of_parts(**rows)
    assert data.duplicates == data.config.get("duplicates", {}) == found
    told = [r.getMessage() for r in logs.records if "drop duplicates" in r.getMessage()]
    assert len(told) == bool(found)
    assert said in "".join(told)


def noisy(x: np.ndarray, noise: float = 0.01) -> np.ndarray:
    return x + noise * x.std(axis=0 if x.ndim == 2 else None) * RNG.standard_normal(x.shape)


SAMPLES = {
    "rows": RNG.standard_normal((200, 5)),
    "one feature in another unit": RNG.standard_normal((200, 5)) * [1e9, 1, 1, 1e-9, 1],
    "a constant and categories": np.c_[
        np.ones(200), RNG.integers(0, 2, (200, 4)), RNG.standard_normal((200, 3))
    ],
    "images": RNG.random((200, 8, 8)),
    "each thrice": np.repeat(RNG.standard_normal((70, 5)), 3, axis=0)[:200],
    "nearly each thrice": noisy(np.repeat(RNG.standard_normal((70, 5)), 3, axis=0)[:200], 1e-4),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_near_copies_are_told_if_they_are_between_the_splits_and_not_everywhere(kind: str) -> None:
    x = RNG.permutation(SAMPLES[kind]).astype(np.float32)
    assert count_near_copies(x[:100], x[100:]) == 0
    assert count_near_copies(x[:0], x) == count_near_copies(x[:1], x[1:2]) == 0
    assert count_near_copies(x[:100], x[:100]) == 0  # These are copies.
    if "thrice" not in kind:
        assert count_near_copies(RNG.permutation(noisy(x[:100])), x[:100]) >= 90
        half = np.concatenate([noisy(x[:50]), x[100:150]])
        assert 45 <= count_near_copies(half, x[:100]) <= 55


def test_near_copies_in_large_splits_are_together_and_named() -> None:
    test = RNG.standard_normal((20_000, 5))
    val = RNG.permutation(noisy(test, 1e-4))
    y = np.arange(20_000) % 2
    data = Dataset.from_arrays(test + 9, y, x_val=val, y_val=y, x_test=test, y_test=y)
    assert 18_000 < data.duplicates["test-near-val"] <= 20_000
    said = duplicates.in_words(data.duplicates)
    assert said.endswith("test samples that nearly equal a validation sample")


def test_zeros_of_either_sign_are_the_same_and_other_labels_are_not() -> None:
    x = np.array([[0.0, 1], [-0.0, 1], [0.0, 1], [1.0, 1]])
    np.testing.assert_array_equal(duplicates.groups_of(x), [0, 0, 0, 1])
    np.testing.assert_array_equal(duplicates.groups_of(x, np.array([1, 1, 2, 1])), [0, 0, 1, 2])


def test_groups_are_known_after_the_split() -> None:
    patients = np.repeat([f"p{i}" for i in range(20)], 3)
    data = Dataset.from_arrays(X, Y, groups=patients)
    names = [patients[np.abs(X - row).sum(axis=1).argmin()] for row in data.x_test]
    pairs = {*zip(names, data.test_groups, strict=True)}
    assert len(pairs) == len(set(names)) == len(set(data.test_groups)) == len(data.y_test) / 3
    alone = Dataset.from_arrays(X, Y)
    np.testing.assert_array_equal(alone.test_groups, np.arange(len(alone.y_test)))
    # Two patients with one picture are no two.
    x = X.copy()
    x[np.flatnonzero(np.isin(patients, names))] = 0.5
    same = Dataset.from_arrays(x, np.arange(60) % 2, groups=patients)
    assert len(set(same.test_groups)) < len(set(data.test_groups))
    with pytest.raises(ValueError, match="with weights or groups stay"):
        Dataset("d", X, Y, X, Y, X, Y, 3, groups_test=Y, drawn=("test",))
