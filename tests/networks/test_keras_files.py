"""Configurations of Keras objects, and building models without side effects."""

from __future__ import annotations

import functools
import random
import threading
import time
from typing import Any

import keras
import numpy as np
import pytest

from adnn_optuna.networks.keras_files import (
    check_keras_config,
    check_model_config,
    in_fresh_thread,
    undisturbed,
    without_compilation,
)

without_values = functools.partial(in_fresh_thread, with_values=False)


def net(units: int = 3) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])


def test_models_without_values_never_get_values_later() -> None:
    # The weights would take 4 TB. Keras would allocate them at the end of another scope.
    huge = without_values(net, 2**38)
    assert [tuple(v.shape) for v in huge.variables] == [(4, 2**38), (2**38,)]
    with keras.StatelessScope():
        pass
    assert net().count_params() == 15


def test_results_and_errors_of_a_call_in_another_thread_are_passed_on() -> None:
    assert without_values(lambda a, *, b: (a, b), 1, b=2) == (1, 2)

    def fail() -> None:
        raise KeyError("mine")

    for call in (in_fresh_thread, without_values):
        with pytest.raises(KeyError, match="mine"):
            call(fail)


def test_nested_calls_within_the_random_state_do_not_wait_for_each_other() -> None:
    def inner() -> float:
        with undisturbed(3):
            return random.random()

    before = random.getstate()
    with undisturbed(5):
        number = in_fresh_thread(without_values, inner)
    assert number == random.Random(3).random()
    assert random.getstate() == before


def test_only_one_thread_at_a_time_seeds_the_random_state() -> None:
    draws: dict[int, list[float]] = {}

    def draw(seed: int) -> None:
        with undisturbed(seed):
            draws[seed] = []
            for _ in range(5):
                draws[seed].append(random.random())
                time.sleep(0.002)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, numbers in draws.items():
        expected = random.Random(seed)
        assert numbers == [expected.random() for _ in range(5)]


def test_a_new_thread_has_the_dtype_policy_of_its_caller() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        policy = in_fresh_thread(lambda: keras.config.dtype_policy().name)
    finally:
        keras.config.set_dtype_policy(before)
    assert policy == "float64"


def test_in_a_new_thread_keras_numbers_names_from_the_start() -> None:
    net(), net()
    model = in_fresh_thread(net)
    assert [model.name, model.layers[0].name] == ["sequential", "dense"]


def test_rebuilt_models_are_equal_even_if_layers_share_an_object() -> None:
    config = keras.saving.serialize_keras_object(in_fresh_thread(net))
    shared = {**config, "shared_object_id": 12345}
    assert without_compilation(shared) == without_compilation(config)
    other_config = keras.saving.serialize_keras_object(in_fresh_thread(net, 5))
    assert without_compilation(other_config) != without_compilation(config)


def test_compilation_is_removed_at_all_depths() -> None:
    config = {"a": [{"compile_config": {}, "b": 1}], "compile_config": 2}
    assert without_compilation(config) == {"a": [{"b": 1}]}


@pytest.mark.parametrize(
    ("node", "error"),
    [
        ({"class_name": "__lambda__", "config": {}}, r"only Keras's own"),
        ({"class_name": "Lambda", "module": "keras.layers"}, r"model is keras.layers.Lambda"),
        ({"class_name": "TextVectorization", "module": "keras.layers"}, "reads files"),
        ({"class_name": "StringLookup", "module": "keras.layers"}, "reads files"),
        ({"class_name": "TFSMLayer", "module": "keras.layers"}, "reads files"),
        ({"class_name": "Mine", "registered_name": "pack>Mine"}, "None.Mine"),
        ({"class_name": "function", "module": "keras.utils", "config": "get_file"}, "utils.func"),
        ({"class_name": "Popen", "module": "subprocess"}, "subprocess.Popen"),
        ({"class_name": "function", "module": "builtins", "config": "eval"}, "builtins.function"),
        ({"a": [{"class_name": "Dense", "module": "keras.lay"}]}, r"model.a\[0\] is keras.lay"),
        (
            {"class_name": "Dense", "module": "keras.layers", "registered_name": "mine>Dense"},
            "keras.layers.Dense",
        ),
    ],
)
def test_classes_that_are_not_keras_own_are_refused(node: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        check_keras_config(node, "model")


def test_too_large_models_are_refused_without_being_built() -> None:
    config = keras.saving.serialize_keras_object(without_values(net, 2**30))
    with pytest.raises(ValueError, match=r"model has 5,368,709,120 parameters"):
        check_model_config(config, "model")
    check_model_config(keras.saving.serialize_keras_object(net()), "model")
    x = keras.Input((4,))
    for wide in (
        keras.Sequential([x, keras.layers.RepeatVector(10**8)]),
        keras.Model(x, keras.layers.RepeatVector(10**8)(x)),
    ):
        with pytest.raises(ValueError, match=r"layer .* has 400,000,000 outputs, more than"):
            check_model_config(keras.saving.serialize_keras_object(wide), "model")
    assert np.isfinite(net().get_weights()[0]).all()
