"""Architectures: the way from a model to its initial weights."""

from __future__ import annotations

import json
import random
import tracemalloc
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from adnn_optuna._checks import WrongValueError
from adnn_optuna.networks.initializers import initializer_stddev
from adnn_optuna.networks.keras_files import model_from_config
from adnn_optuna.networks.models import MLP
from adnn_optuna.networks.network import build_architecture, hash_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from adnn_optuna.networks.network import Architecture

SHAPE = (8, 8)
CLASSES = 10


def conv_net(activation: str | None = None) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Reshape((*SHAPE, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(),
            keras.layers.Dropout(0.25),
            keras.layers.Flatten(),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.Dense(CLASSES, activation=activation),
        ]
    )


def functional_net() -> keras.Model:
    inputs = keras.Input(SHAPE)
    h = keras.layers.Flatten()(inputs)
    h = keras.layers.Concatenate()(
        [keras.layers.Dense(3)(h), keras.layers.Dense(4, use_bias=False)(h)]
    )
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(h))


class SubclassedNet(keras.Model):
    """A model that creates variables in its first call and ends with a softmax operation, not a
    layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(5)
        self.out = keras.layers.Dense(CLASSES)

    def call(self, x: Any) -> Any:
        return keras.ops.softmax(self.out(self.hidden(self.flatten(x))))


def lazy_net() -> keras.Model:
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(CLASSES)])


MODELS: dict[str, MLP | Callable[[], keras.Model]] = {
    "MLP": MLP((3, 5)),
    "convolutional": conv_net,
    "functional": functional_net,
    "subclassed": SubclassedNet,
}


@pytest.fixture(scope="module", params=MODELS)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return build_architecture(MODELS[request.param], SHAPE, CLASSES)


def mlp(**settings: Any) -> Architecture:
    return build_architecture(MLP(**settings), SHAPE, CLASSES)


class OwnNames(keras.layers.Layer):
    """A layer with a weight that the user named."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.w = self.add_weight(name="w", shape=(shape[-1], 10))

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(x, self.w)


def test_variables_that_get_no_offset_are_named() -> None:
    def beside() -> keras.Model:
        layers_before = [
            keras.layers.Flatten(),
            keras.layers.Dense(64),
            keras.layers.BatchNormalization(),
        ]
        return keras.Sequential([keras.Input((8, 8)), *layers_before, OwnNames()])

    config = build_architecture(beside, (8, 8), 10).config
    assert config["not_moved"] == [
        *("batch_normalization/gamma", "batch_normalization/beta", "own_names/w")
    ]
    assert "not_moved" not in mlp().config

    def alone() -> keras.Model:
        return keras.Sequential([keras.Input((8, 8)), keras.layers.Flatten(), OwnNames()])

    with pytest.raises(ValueError, match=r"no trainable kernel or bias.*'own_names/w'"):
        build_architecture(alone, (8, 8), 10)


def random_values(weights: list[np.ndarray]) -> list[bytes]:
    return [w.tobytes() for w in weights if w.dtype == np.float32 and np.ptp(w)]


def test_initial_weights_follow_from_seed_and_restart(architecture: Architecture) -> None:
    keys = [(0, 0), (1, 0), (0, 1), (2**40, 0)]
    hashes = {key: hash_weights(architecture.initial_weights(*key)) for key in keys}
    assert len(set(hashes.values())) == len(keys)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    keras.layers.Dense(3)
    assert {
        key: hash_weights(architecture.initial_weights(*key)) for key in reversed(keys)
    } == hashes


def test_no_two_variables_share_their_draws() -> None:
    weights = mlp(hidden=(64, 64, 64), bias_initializer="random_normal").initial_weights(0, 0)
    other_weights = mlp(hidden=(64, 64, 64), bias_initializer="random_normal").initial_weights(
        0, 1
    )
    values = random_values(weights + other_weights)
    assert len(values) == len(set(values)) == 16


def test_the_built_model_starts_from_the_initial_weights(architecture: Architecture) -> None:
    model = architecture.build(2**40, 1)
    built = [np.array(v.numpy()) for v in model.variables]
    assert hash_weights(built) == hash_weights(architecture.initial_weights(2**40, 1))
    assert len(built) == len(architecture.variables)
    assert model(np.zeros((2, *SHAPE), np.float32)).shape == (2, CLASSES)


def test_an_mlp_does_not_depend_on_keras_global_policy() -> None:
    architecture = mlp()
    expected = hash_weights(architecture.initial_weights(0, 0))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = architecture.build(0, 0)
    finally:
        keras.config.set_dtype_policy(before)
    assert hash_weights([v.numpy() for v in model.variables]) == expected
    assert model(np.zeros((2, *SHAPE), np.float32)).dtype == "float32"


@pytest.mark.parametrize(
    "initializer",
    [
        "glorot_uniform",
        "he_normal",
        "random_normal",
        "orthogonal",
        keras.initializers.LecunNormal(seed=4),
    ],
    # An object's text contains its address, which differs between processes of a test run.
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_any_keras_initializer_makes_the_kernels(initializer: Any) -> None:
    kernel = mlp(hidden=(300,), kernel_initializer=initializer).initial_weights(0, 0)[0]
    reference = keras.initializers.get(initializer)((64, 300))
    assert kernel.shape == (64, 300)
    assert kernel.std() == pytest.approx(np.std(reference), rel=0.05)
    assert kernel.mean() == pytest.approx(np.mean(reference), abs=0.05)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"activation": "rleu"}, "activation.*rleu.* mean 'relu'.*from keras.activations"),
        ({"activation": "threshold"}, "threshold"),
        (
            {"bias_initializer": {"class_name": "Constant", "config": {"value": "x"}}},
            "Constant",
        ),
        ({"kernel_initializer": "glorot"}, "initializer.*glorot"),
        ({"bias_initializer": "orthogonal"}, "bias_initializer='orthogonal'"),
        (
            {"kernel_initializer": {"class_name": "HeNormal", "config": {"gain": 2}}},
            "gain",
        ),
    ],
)
def test_settings_that_keras_refuses_are_refused(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        mlp(**settings)


# fan_in 60, fan_out 40
@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("GlorotUniform", {}, (1 / 50) ** 0.5),
        ("GlorotNormal", {}, (1 / 50) ** 0.5),
        ("HeUniform", {}, (2 / 60) ** 0.5),
        ("HeNormal", {}, (2 / 60) ** 0.5),
        ("LecunUniform", {}, (1 / 60) ** 0.5),
        ("LecunNormal", {}, (1 / 60) ** 0.5),
        ("VarianceScaling", {"scale": 3.0, "mode": "fan_out"}, (3 / 40) ** 0.5),
        (
            "VarianceScaling",
            {"scale": 3.0, "mode": "fan_avg", "distribution": "untruncated_normal"},
            (3 / 50) ** 0.5,
        ),
        ("RandomNormal", {"mean": 3.0, "stddev": 0.5}, 0.5),
        ("TruncatedNormal", {"stddev": 0.5}, 0.5 * 0.87962566),
        ("RandomUniform", {"minval": -1.0, "maxval": 2.0}, 3 / 12**0.5),
        ("Zeros", {}, 0),
        ("Constant", {"value": 0.1}, 0),
    ],
)
@pytest.mark.parametrize("shape", [(60, 40), (2, 5, 6, 4)], ids=str)
def test_standard_deviation_of_an_initializer(
    name: str, config: dict[str, Any], expected: float, shape: tuple[int, ...]
) -> None:
    seed = {} if name in ("Zeros", "Constant") else {"seed": 0}
    initializer = keras.initializers.get({"class_name": name, "config": {**config, **seed}})
    values = np.array(initializer(shape))
    # Values that Keras draws agree with the standard deviation, for both shapes.
    deviation = initializer_stddev(initializer, values)
    assert float(values.std()) == pytest.approx(deviation, rel=0.1, abs=1e-7)
    # The standard deviation comes from the formula, not from the drawn values.
    if shape == (60, 40):
        assert deviation == pytest.approx(expected, rel=1e-6)


def test_variables_that_can_get_offsets() -> None:
    def movable(name: str) -> list[tuple[str, int, bool]]:
        variables = build_architecture(MODELS[name], SHAPE, CLASSES).variables
        return [(v.kind, v.layer, v.is_output) for v in variables if v.kind != "other"]

    assert movable("MLP") == [
        (kind, layer, layer == 2) for layer in range(3) for kind in ("weight", "bias")
    ]
    assert movable("convolutional") == movable("MLP")
    assert movable("functional") == [
        ("weight", 0, False),
        ("bias", 0, False),
        ("weight", 1, False),
        ("weight", 2, True),
        ("bias", 2, True),
    ]
    assert movable("subclassed") == [
        (kind, layer, layer == 1) for layer in range(2) for kind in ("weight", "bias")
    ]


class OutputFirst(keras.Model):
    """A model that creates its layers in a different order from the order of their calls."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.out = keras.layers.Dense(CLASSES, name="out")
        self.hidden = keras.layers.Dense(5, name="hidden")

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(self.flatten(x)))


def test_layers_are_numbered_in_the_order_of_their_calls() -> None:
    variables = build_architecture(OutputFirst, SHAPE, CLASSES).variables
    assert [(v.path.split("/")[-2], v.layer, v.is_output) for v in variables] == [
        ("out", 1, True),
        ("out", 1, True),
        ("hidden", 0, False),
        ("hidden", 0, False),
    ]


def test_initializers_may_be_functions_or_names() -> None:
    def draw(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return keras.random.normal(shape, dtype=dtype, stddev=0.5, seed=1)

    class Named(keras.layers.Dense):
        def build(self, input_shape: Any) -> None:
            super().build(input_shape)
            self.kernel_initializer = "glorot_uniform"

    def build() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(SHAPE),
                keras.layers.Flatten(),
                keras.layers.Dense(50, kernel_initializer=draw),
                Named(CLASSES),
            ]
        )

    architecture = build_architecture(build, SHAPE, CLASSES)
    weights = architecture.initial_weights(0, 0)
    for i in (0, 2):
        deviation = weights[i].std(dtype=np.float64)
        assert architecture.variables[i].stddev == pytest.approx(deviation)


def test_paths_of_layers_with_the_same_name_differ() -> None:
    def build() -> keras.Model:
        flat = keras.layers.Flatten()(inputs := keras.Input(SHAPE))
        branches = [
            keras.Model(flat_input := keras.Input(flat.shape[1:]), hidden(flat_input), name=name)
            for name, hidden in (
                ("a", keras.layers.Dense(3, name="hidden")),
                ("b", keras.layers.Dense(3, name="hidden")),
            )
        ]
        both = keras.layers.Concatenate()([branch(flat) for branch in branches])
        return keras.Model(inputs, keras.layers.Dense(CLASSES, name="out")(both))

    paths = [v.path for v in build_architecture(build, SHAPE, CLASSES).variables]
    assert paths == [
        "hidden/kernel",
        "hidden/bias",
        "hidden/kernel#1",
        "hidden/bias#1",
        "out/kernel",
        "out/bias",
    ]


def test_frozen_layers_get_no_offsets() -> None:
    def build() -> keras.Model:
        model = functional_net()
        model.layers[2].trainable = False
        return model

    variables = build_architecture(build, SHAPE, CLASSES).variables
    assert [v.kind for v in variables].count("other") == 2


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (conv_net, False),
        (lambda: conv_net("softmax"), True),
        (SubclassedNet, True),
        (lambda: keras.Sequential([conv_net(), keras.layers.Softmax()]), True),
        (MLP(), False),
    ],
    ids=["logits", "activation", "call", "layer", "MLP"],
)
def test_probabilities_are_distinguished_from_logits(build: Any, expected: bool) -> None:
    assert build_architecture(build, SHAPE, CLASSES).head.are_probabilities is expected


def test_a_model_without_input_shape_is_built_for_the_data() -> None:
    architecture = build_architecture(lazy_net, SHAPE, CLASSES)
    assert [w.shape for w in architecture.initial_weights(0, 0)] == [(64, 10), (10,)]


def unseeded_net() -> keras.Model:
    def draw(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return np.random.default_rng().random(shape)

    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_initializer=draw),
        ]
    )


SAME = lazy_net()


class OwnTraining(keras.Sequential):
    """A model with its own training step."""

    def train_step(self, data: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (SAME, "Pass the function, not what it returns"),
        (3, "model must be an MLP or a callable.*got int"),
        (lambda: 3, "must return a keras.Model, not int"),
        (lambda: SAME, "the same model twice"),
        (lambda: keras.Sequential([keras.Input(SHAPE), *SAME.layers]), "or the same layers"),
        (unseeded_net, "must return equal models in all calls"),
        (
            lambda: keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(7)]),
            r"must have shape \(3, 10\) for data with 10 classes; got shape \(3, 7\)",
        ),
        (
            lambda: keras.Sequential([keras.Input((9,)), keras.layers.Dense(10)]),
            r"shape \(8, 8\) \(its input_shape is \(None, 9\)\)",
        ),
        (
            lambda: keras.Sequential(
                [keras.layers.Flatten(), keras.layers.Lambda(lambda x: x[:, :10])]
            ),
            "no trainable kernel or bias",
        ),
        (
            lambda: OwnTraining([keras.layers.Flatten(), keras.layers.Dense(10)]),
            "OwnTraining has a train_step of its own",
        ),
    ],
)
def test_wrong_models_are_refused(model: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        build_architecture(model, SHAPE, CLASSES)


@pytest.mark.parametrize("later", ["tanh", "float64"])
def test_a_callable_that_returns_another_model_later_is_refused(later: str) -> None:
    dense_options = ["relu", "float32"]

    # A function that is made in a loop reads the loop's variable in the same way.
    def build() -> keras.Model:
        dense = keras.layers.Dense(10, dense_options[0], dtype=dense_options[1])
        return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), dense])

    architecture = build_architecture(build, SHAPE, CLASSES)
    architecture.build(0, 0)
    dense_options[later == "float64"] = later
    with pytest.raises(WrongValueError, match="must return equal models in all calls"):
        architecture.build(0, 0)


@pytest.mark.parametrize("name", ["MLP", "convolutional", "functional"])
def test_a_model_is_equal_after_storage_as_json(name: str) -> None:
    architecture = build_architecture(MODELS[name], SHAPE, CLASSES)
    stored = json.loads(json.dumps(architecture.config, allow_nan=False))
    again = build_architecture(model_from_config(stored), SHAPE, CLASSES)
    assert hash_weights(again.initial_weights(5, 2)) == hash_weights(
        architecture.initial_weights(5, 2)
    )
    assert again.variables[:2] == architecture.variables[:2] or name != "MLP"
    # Keras has used the numbers of some layer names since then.
    assert again.config == stored
    assert build_architecture(MODELS[name], SHAPE, CLASSES).config == stored


class LSTM2(keras.layers.LSTM):
    """A layer that Keras automatically names ``lstm2``."""


class ResNet50Block(keras.layers.Dense):
    """A layer that Keras automatically names ``res_net50_block``."""


def sequential(*layers: keras.layers.Layer) -> keras.Model:
    flat = keras.layers.Flatten()
    return keras.Sequential([keras.Input(SHAPE), *layers, flat, keras.layers.Dense(CLASSES)])


def cleared_net() -> keras.Model:
    keras.utils.clear_session()
    return functional_net()


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(
            lambda: sequential(keras.layers.Bidirectional(keras.layers.LSTM(3))),
            marks=pytest.mark.slow,
        ),
        lambda: sequential(keras.layers.Reshape((2, 4, 8)), keras.layers.ConvLSTM1D(2, 2)),
        lambda: sequential(keras.layers.TimeDistributed(ResNet50Block(3))),
        lambda: sequential(LSTM2(3)),
        lambda: sequential(keras.layers.Softmax(), keras.layers.Dense(3, "softmax")),
        cleared_net,
    ],
)
def test_equal_models_have_equal_configurations(build: Callable[[], keras.Model]) -> None:
    first = build_architecture(build, SHAPE, CLASSES).config
    assert build_architecture(build, SHAPE, CLASSES).config == first
    assert len(first["model"]["config"]["layers"]) >= 4


def test_paths_do_not_depend_on_what_was_built_before(
    architecture: Architecture,
) -> None:
    for _ in range(3):
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dropout(0.5)])
    model = architecture.build(0, 0)
    # An MLP has our own paths, which omit the name of the model.
    paths = [v.path.removeprefix("mlp/") for v in model.variables]
    assert paths == [v.path for v in architecture.variables]


def alike_names_net() -> keras.Model:
    """Return a model whose layers are named like an activation and like our own layers."""
    return sequential(
        keras.layers.Dense(4, "softmax", name="dense_0"),
        keras.layers.Dense(4, "softmax"),
        keras.layers.Softmax(name="softmax"),
    )


def test_names_that_keras_or_we_use_are_kept_after_storage() -> None:
    architecture = build_architecture(alike_names_net, SHAPE, CLASSES)
    stored = json.loads(json.dumps(architecture.config))
    again = build_architecture(model_from_config(stored), SHAPE, CLASSES)
    assert hash_weights(again.initial_weights(5, 2)) == hash_weights(
        architecture.initial_weights(5, 2)
    )
    layers = stored["model"]["config"]["layers"]
    assert [layer["config"]["name"] for layer in layers if "units" in layer["config"]] == [
        "dense_0",
        "dense",
        "dense_1",
    ]
    assert [layer["config"].get("activation") for layer in layers].count("softmax") == 2


class Scaled(keras.layers.Layer):
    """A model with an argument that some configurations cannot represent."""

    def __init__(self, scale: Any) -> None:
        super().__init__()
        self.scale = scale
        self.built = True

    def call(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    "argument", [np.tanh, keras.layers.Flatten(), np.zeros(2), {"a": np.zeros(2)}, {1, 2}]
)
def test_a_model_that_no_configuration_holds_can_be_used(argument: Any) -> None:
    architecture = build_architecture(lambda: sequential(Scaled(argument)), SHAPE, CLASSES)
    stored = json.loads(json.dumps(architecture.config))
    assert stored["model"] == {"class_name": "Sequential"}
    with pytest.raises(ValueError, match=r"the arguments of Sequential.*pass the objective again"):
        model_from_config(stored)()  # type: ignore[operator]


def test_a_stored_lambda_is_refused_not_executed() -> None:
    def build() -> keras.Model:
        layers = [keras.layers.Flatten(), keras.layers.Lambda(lambda x: x * 2)]
        return keras.Sequential([keras.Input(SHAPE), *layers, keras.layers.Dense(CLASSES)])

    stored = json.loads(json.dumps(build_architecture(build, SHAPE, CLASSES).config))
    with pytest.raises(ValueError, match="cannot be rebuilt from its configuration"):
        model_from_config(stored)()  # type: ignore[operator]


def test_a_stored_model_of_an_unknown_class_is_refused() -> None:
    stored = build_architecture(conv_net, SHAPE, CLASSES).config
    stored["model"]["class_name"] = "Mystery"
    stored["model"]["module"] = "os"
    stored["model"]["registered_name"] = "Mystery"
    with pytest.raises(ValueError, match=r"cannot be rebuilt.*pass the objective again"):
        model_from_config(stored)()  # type: ignore[operator]


def test_the_cache_of_initial_weights_of_large_networks_is_small() -> None:
    large = mlp(hidden=(1000, 4000))
    tracemalloc.start()
    for restart in range(12):
        large.initial_weights(0, restart)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 2**27  # Twelve sets of weights would take 192 MB.
    assert large.initial_weights(0, 11)[2] is large.initial_weights(0, 11)[2]
