"""Which initial values receive offsets, and how large the offsets are."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution

from adnn_optuna.networks.network import VariableInfo
from adnn_optuna.networks.offsets import RESTARTS, ControlSpace, OffsetSpace, space_from_config

# Two hidden layers with a normalization between them, and the output layer.
VARIABLES = (
    VariableInfo("a/kernel", "weight", 0, is_output=False, stddev=0.5),
    VariableInfo("a/bias", "bias", 0, is_output=False, stddev=0.0),
    VariableInfo("norm/gamma", "other", -1, is_output=False, stddev=0.0),
    VariableInfo("b/kernel", "weight", 1, is_output=False, stddev=0.25),
    VariableInfo("b/bias", "bias", 1, is_output=False, stddev=2.0),
    VariableInfo("out/kernel", "weight", 2, is_output=True, stddev=1.0),
    VariableInfo("out/bias", "bias", 2, is_output=True, stddev=0.0),
)
HIDDEN = ("weight_offset_0", "bias_offset_0", "weight_offset_1", "bias_offset_1")
OUTPUT = ("weight_offset_output", "bias_offset_output")


@pytest.mark.parametrize(
    ("space", "names"),
    [
        (OffsetSpace(), HIDDEN),
        (OffsetSpace(include_output=True), HIDDEN + OUTPUT),
        (OffsetSpace(scope="shared"), ("offset",)),
        (OffsetSpace(scope="shared", include_output=True), ("offset",)),
    ],
)
def test_names_of_parameters(space: OffsetSpace, names: tuple[str, ...]) -> None:
    assert space.distributions(VARIABLES) == dict.fromkeys(names, FloatDistribution(-0.2, 0.2))


offsets = st.floats(-0.2, 0.2)


@given(st.lists(offsets, min_size=4, max_size=4))
def test_each_parameter_changes_its_own_variable(values: list[float]) -> None:
    start = OffsetSpace().start(dict(zip(HIDDEN, values, strict=True)), VARIABLES, seed=3)
    assert (start.seed, start.restart) == (3, 0)
    assert start.offsets == (values[0], values[1], 0.0, values[2], values[3], 0.0, 0.0)


@given(offsets)
def test_a_shared_offset_changes_all_hidden_layers(value: float) -> None:
    start = OffsetSpace(scope="shared").start({"offset": value}, VARIABLES, seed=0)
    assert start.offsets == (value, value, 0.0, value, value, 0.0, 0.0)
    space = OffsetSpace(scope="shared", include_output=True)
    start = space.start({"offset": value}, VARIABLES, seed=0)
    assert start.offsets == (value, value, 0.0, value, value, value, value)


def test_offsets_may_be_in_units_of_the_standard_deviation() -> None:
    space = OffsetSpace(-1, 1, scope="shared", unit="stddev", include_output=True)
    start = space.start({"offset": 0.5}, VARIABLES, seed=0)
    # A bias with constant initial values has the unit of its kernel.
    assert start.offsets == (0.25, 0.25, 0.0, 0.125, 1.0, 0.5, 0.5)


def test_units_of_the_standard_deviation_are_refused_for_constant_kernels() -> None:
    kernel = VariableInfo("zero/kernel", "weight", 3, is_output=False, stddev=0.0)
    shared, space = (OffsetSpace(scope=s, unit="stddev") for s in ("shared", "layer"))
    assert tuple(shared.distributions((*VARIABLES, kernel))) == ("offset",)
    with pytest.raises(ValueError, match=r"deviations weight_offset_3 would move nothing"):
        space.distributions((*VARIABLES, kernel))


@pytest.mark.parametrize("space", [OffsetSpace(), OffsetSpace(unit="stddev"), RESTARTS])
def test_a_start_without_parameters_is_the_baseline(space: OffsetSpace | ControlSpace) -> None:
    start = space.start({}, VARIABLES, seed=7)
    assert (start.seed, start.restart, start.offsets) == (7, 0, (0.0,) * 7)


def test_a_network_without_hidden_layers_needs_offsets_of_its_output_layer() -> None:
    with pytest.raises(ValueError, match="include_output=True"):
        OffsetSpace().distributions(VARIABLES[-2:])
    assert tuple(OffsetSpace(include_output=True).distributions(VARIABLES[-2:])) == OUTPUT


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"low": 0.1, "high": 0.2}, "enclose 0"),
        ({"low": 0, "high": 0}, "enclose 0"),
        ({"low": math.nan}, "low must be a finite number"),
        ({"high": math.inf}, "high must be a finite number"),
        ({"low": "-1"}, "low must be a number"),
        ({"scope": "layers"}, "scope must be .* got 'layers'"),
        ({"unit": "std"}, "unit must be .* got 'std'"),
        ({"include_output": 1}, "include_output must be True or False"),
    ],
)
def test_wrong_spaces_are_refused(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        OffsetSpace(**wrong)


@pytest.mark.parametrize("low", [-1, -0.5, 0, np.float32(-0.5)])
def test_bounds_that_enclose_0_are_accepted(low: float) -> None:
    assert OffsetSpace(low=low, high=1).distributions(VARIABLES)["bias_offset_1"] == (
        FloatDistribution(low, 1)
    )


def test_each_restart_is_another_initialization_without_offsets() -> None:
    assert RESTARTS.distributions(VARIABLES) == {"restart": IntDistribution(0, 2**31 - 1)}
    start = RESTARTS.start({"restart": 5}, VARIABLES, seed=7)
    assert (start.seed, start.restart, start.offsets) == (7, 5, (0.0,) * 7)


@pytest.mark.parametrize(
    "space",
    [OffsetSpace(-1, 2, "shared", include_output=True, unit="stddev"), RESTARTS],
)
def test_a_space_is_equal_after_storage_as_json(space: OffsetSpace | ControlSpace) -> None:
    assert space_from_config(json.loads(json.dumps(space.config))) == space


def test_stored_names_do_not_change_as_new_seeds_follow_from_them() -> None:
    space = ControlSpace("learning_rate", 0.05, 0.0005, 5.0)
    assert space.config == {
        "type": "ControlSpace",
        "parameter": "learning_rate",
        "unmoved": 0.05,
        "low": 0.0005,
        "high": 5.0,
    }
