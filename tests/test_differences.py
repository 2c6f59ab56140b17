"""The sentences about differences between two configurations."""

from __future__ import annotations

import numpy as np
import pytest

from adnn_optuna._differences import (
    config_differences,
    in_words,
    sketch_weights,
)


def test_differences_between_configurations_are_readable() -> None:
    stored = {"a": {"b": 1, "c": [1, 2]}, "d": None}
    assert config_differences(stored, {"a": {"b": 1, "c": (1, 2)}, "d": None}) == []
    assert config_differences(stored, {"a": {"b": 2, "c": [1]}, "d": None, "e": "x"}) == [
        "e is new",
        "a.b is 2, was 1",
        "a.c is [1], was [1, 2]",
    ]


def test_differences_in_lists_of_settings_have_a_path() -> None:
    stored = {"layers": [{"units": 8}, {"units": 10}]}
    assert config_differences(stored, {"layers": [{"units": 16}, {"units": 10}]}) == [
        "layers[0].units is 16, was 8"
    ]
    assert config_differences(stored, {"layers": [{"units": 8}]}) == [
        "layers has 1 entries, had 2"
    ]


def test_objects_of_two_classes_are_not_compared_further() -> None:
    stored = {"class_name": "Dense", "config": {"units": 8}}
    assert config_differences(stored, {"class_name": "LSTM", "config": {"units": 9}}) == [
        "class_name is 'LSTM', was 'Dense'"
    ]


def test_long_differences_are_cut() -> None:
    [difference] = config_differences({"a": "x" * 1000}, {"a": None})
    assert len(difference) < 130
    assert in_words(["a", "b", "c"]) == "a; b; c"
    assert in_words(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"


WEIGHTS = [np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), np.zeros(4, np.float32)]


@pytest.mark.parametrize(
    ("weights", "is_same"),
    [
        (WEIGHTS, True),
        # Another processor may cause this rounding.
        ([w * np.float32(1 + 2e-7) for w in WEIGHTS], True),
        ([w * np.float32(1.01) for w in WEIGHTS], False),
        ([WEIGHTS[0][::-1], WEIGHTS[1]], False),
        ([WEIGHTS[0], WEIGHTS[1] + np.float32(0.1)], False),
        (WEIGHTS[:1], False),
    ],
)
def test_initial_weights_are_compared_except_for_rounding(
    weights: list[np.ndarray], is_same: bool
) -> None:
    stored, new = (
        {"type": "keras.Model", "initial_weights": sketch_weights(w)} for w in (WEIGHTS, weights)
    )
    expected = [] if is_same else ["model starts from other initial weights"]
    assert config_differences(stored, new, "model") == expected
    assert "initial_weights" in stored
