"""Audits of models list each variable, its distribution and seed, and each random layer."""

from __future__ import annotations

import json
import random
import re
import zipfile
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import scipy.stats
from snapshots import assert_surfaces

import adnn_optuna as adnn
from adnn_optuna.experiments.audit import audit_file, distribution_of

if TYPE_CHECKING:
    from pathlib import Path

L = keras.layers


def make_model() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = L.Conv2D(4, 3, kernel_initializer="he_normal", name="conv")(inputs)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Reshape((36, 4))(x)
    x = L.MultiHeadAttention(2, 3, dropout=0.1, name="attention")(x, x)
    x = L.Bidirectional(L.LSTM(5, dropout=0.2, name="lstm"), name="both")(x)
    x = L.Dropout(0.3, seed=1, name="dropout")(x)
    x = L.Dropout(0.0, name="off")(x)
    outputs = L.SpectralNormalization(L.Dense(10, name="dense"), name="spectral")(x)
    return keras.Model(inputs, outputs)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return make_model()


@pytest.fixture(scope="module")
def audit(model: keras.Model) -> adnn.Audit:
    return adnn.audit_randomness(model)


UNIFORM, ZEROS, ONES = "uniform(minval=-", "Zeros()", "Ones()"
EXPECTED = {
    "conv/kernel": "truncated_normal(mean=0, stddev=",
    "conv/bias": ZEROS,
    "norm/gamma": ONES,
    "norm/beta": ZEROS,
    "norm/moving_mean": ZEROS,
    "norm/moving_variance": ONES,
    **{
        f"attention/{part}/{name}": start
        for part in ("query", "key", "value", "attention_output")
        for name, start in (("kernel", UNIFORM), ("bias", ZEROS))
    },
    **{
        f"both/{way}_lstm/lstm_cell/{name}": start
        for way in ("forward", "backward")
        for name, start in (
            ("kernel", UNIFORM),
            ("recurrent_kernel", "Orthogonal(gain=1)"),
            ("bias", ZEROS),
        )
    },
    "spectral/dense/kernel": UNIFORM,
    "spectral/vector_u": "unknown",
    "spectral/dense/bias": ZEROS,
}


def test_an_audit_lists_every_variable(audit: adnn.Audit, model: keras.Model) -> None:
    assert [v.path for v in audit.variables] == [v.path for v in model.weights]
    assert [v.shape for v in audit.variables] == [v.shape for v in model.weights]
    distributions = {v.path: v.distribution for v in audit.variables}
    assert distributions.keys() == EXPECTED.keys()
    for path, start in EXPECTED.items():
        assert distributions[path].startswith(start), path


def test_an_audit_lists_the_random_layers(audit: adnn.Audit) -> None:
    layers = {layer.path: layer for layer in audit.layers}
    # The number in this inner layer's name depends on the layers that Keras created before.
    other_layers = {re.sub(r"_\d+$", "", path) for path in layers if "lstm" not in path}
    assert other_layers == {"attention/dropout", "dropout"}
    dropout = layers["dropout"]
    assert (dropout.shape, dropout.distribution, dropout.seed) == (None, "Dropout", 1)
    assert sum("lstm_cell" in path for path in layers) == 2


def test_an_audit_does_not_change_model_and_random_states(model: keras.Model) -> None:
    before = [v.numpy().copy() for v in model.variables]
    random.seed(3)
    state = random.getstate()
    adnn.audit_randomness(model)
    assert random.getstate() == state
    for values, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(values, variable.numpy())


def cdf(distribution: str, shape: tuple[int, ...]) -> Any:
    name, _, arguments = distribution.removesuffix(")").partition("(")
    p = {key: float(value) for key, value in re.findall(r"(\w+)=([^,]+)", arguments)}
    match name:
        case "uniform":
            return scipy.stats.uniform(p["minval"], p["maxval"] - p["minval"]).cdf
        case "normal":
            return scipy.stats.norm(p["mean"], p["stddev"]).cdf
        case "truncated_normal":
            return scipy.stats.truncnorm(-2, 2, p["mean"], p["stddev"]).cdf
        case "Orthogonal":
            n = max(np.prod(shape[:-1]), shape[-1])
            # One coordinate of a random unit vector.
            return scipy.stats.beta((n - 1) / 2, (n - 1) / 2, -p["gain"], 2 * p["gain"]).cdf
    raise AssertionError(distribution)


INITIALIZERS = [
    *(
        getattr(keras.initializers, name)
        for name in (
            "GlorotNormal",
            "GlorotUniform",
            "HeNormal",
            "HeUniform",
            "LecunNormal",
            "LecunUniform",
            "Orthogonal",
            "RandomNormal",
            "RandomUniform",
            "TruncatedNormal",
            "VarianceScaling",
        )
    ),
]


@pytest.mark.parametrize("cls", INITIALIZERS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("shape", [(40, 60), (3, 3, 8, 30)], ids=str)
def test_the_stated_distribution_is_the_distribution_of_samples(
    cls: type, shape: tuple[int, ...]
) -> None:
    initializer = cls(seed=5)
    values = np.asarray(initializer(shape)).ravel()
    distribution = distribution_of(initializer, shape)
    assert scipy.stats.kstest(values, cdf(distribution, shape)).pvalue > 0.001


class Drawing(keras.Initializer):
    """An initializer with a seed in its configuration."""

    def __init__(self, seed: int | None = None, share: float = 1.0) -> None:
        self.seed = seed
        self.share = share

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return self.share * keras.random.normal(shape, dtype=dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "share": self.share}


class RandomNormal(keras.initializers.RandomNormal):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return 2 * super().__call__(shape, dtype)


def ones(shape: Any, dtype: Any = None) -> Any:
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("initializer", "said"),
    [
        (Drawing(7), "Drawing(share=1)"),
        (RandomNormal(seed=3), "RandomNormal(mean=0, stddev=0.05)"),
        (ones, "ones()"),
        (None, "unknown"),
    ],
    ids=range(4),
)
def test_initializers_of_other_packages_are_named_by_their_class(
    initializer: Any, said: str
) -> None:
    assert distribution_of(initializer, (2, 3)) == said


def dense_model(**settings: Any) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), L.Dense(4, **settings), L.Dense(4, **settings)])


def test_seeds_come_from_configurations() -> None:
    assert [v.seed for v in adnn.audit_randomness(dense_model()).variables] == [None] * 4
    generator = keras.random.SeedGenerator(3)
    for seed, expected in ((5, 5), (generator, 3)):
        model = dense_model(kernel_initializer=keras.initializers.HeNormal(seed=seed))
        seeds = [v.seed for v in adnn.audit_randomness(model).variables]
        assert seeds == [expected, None, expected, None]


def test_an_audit_lists_the_variables_of_a_subclassed_model() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = L.Dense(3)
            self.weight = self.add_weight(shape=(2,), initializer=lambda shape, dtype: np.ones(2))

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Own()
    model(np.zeros((1, 4), np.float32))
    distributions = {
        v.path.split("/")[-1]: v.distribution for v in adnn.audit_randomness(model).variables
    }
    assert distributions.pop("kernel") == "uniform(minval=-0.92582, maxval=0.92582)"
    assert distributions.pop("bias") == ZEROS
    assert [*distributions.values()] == ["unknown"]


def test_layers_with_the_same_name_are_all_listed() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (L.Dropout(rate, name="same") for rate in (0.25, 0.5))

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    layers = adnn.audit_randomness(Own()).layers
    assert [layer.path for layer in layers] == ["same", "same"]


def test_only_layers_that_draw_are_named_as_random() -> None:
    class Always(L.Layer):
        def __init__(self) -> None:
            super().__init__(name="always")
            self.generator = keras.random.SeedGenerator(5)

        def call(self, x: Any) -> Any:
            return x + keras.random.normal((1, 4, 4), seed=self.generator)

    layers = [
        L.LSTM(2, return_sequences=True, seed=1, name="none"),
        L.LSTM(2, dropout=0.25, recurrent_dropout=0.0, seed=1, name="one"),
    ]
    inputs = [keras.Input((4, 4)) for _ in range(2)]
    x = Always()(L.Add()(inputs))
    for layer in layers:
        x = layer(x)
    audit = adnn.audit_randomness(keras.Model(inputs, x))
    assert [layer.path for layer in audit.layers] == ["always", "one/lstm_cell"]


def test_values_that_are_not_models_are_refused() -> None:
    sentence = r"^model must be a keras\.Model \(build it first\); got MLP\(.* of type MLP\.$"
    with pytest.raises(TypeError, match=sentence):
        adnn.audit_randomness(adnn.MLP())  # type: ignore[arg-type]


def test_a_file_is_read_without_its_weights(model: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    model.save(path)
    audit = audit_file(path)
    assert len(audit.variables) == 23
    # The file does not contain the seeds that were drawn.
    assert {v.seed for v in audit.variables} == {None}


def test_a_file_of_a_compiled_model_is_read(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a"), L.Dense(2, name="b")])
    model.save(tmp_path / "plain.keras")
    model.compile("adam", "mse", metrics=["accuracy"])
    model.save(tmp_path / "compiled.keras")
    assert audit_file(tmp_path / "compiled.keras") == audit_file(tmp_path / "plain.keras")


def test_no_code_in_a_file_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "lambda.keras"
    keras.Sequential([keras.Input((4,)), L.Lambda(lambda x: x + 1)]).save(path)
    with pytest.raises(ValueError, match="none that runs code"):
        audit_file(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"not a \.keras file"):
        audit_file(path)
    with pytest.raises(FileNotFoundError):
        audit_file(tmp_path / "missing.keras")


def write_config(path: Path, config: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("config.json", config)


def put_in_headers(path: Path, offset: int, value: int) -> None:
    """Change a field in both headers of the only member of a zip file."""
    content = bytearray(path.read_bytes())
    # The second header has one more field of two bytes before the fields that both headers share.
    for begin in (offset, content.index(b"PK\x01\x02") + offset + 2):
        content[begin : begin + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    "kind", ["no object", "no UTF-8", "damaged", "encrypted", "unknown compression"]
)
def test_a_damaged_file_is_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    contents = {"no object": b"[]", "no UTF-8": b'{"name": "\xff"}'}
    write_config(path, contents.get(kind, b"{}"))
    match kind:
        case "damaged":
            write_config(path, b"{}" * 1000, zipfile.ZIP_DEFLATED)
            content = path.read_bytes()
            path.write_bytes(content[:41] + b"\xff" * 10 + content[51:])
        case "encrypted":
            put_in_headers(path, 6, 1)
        case "unknown compression":
            put_in_headers(path, 8, 99)
    with pytest.raises(ValueError, match=r"'.*model\.keras' is not a \.keras file\. Save .*\.$"):
        audit_file(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"units": 2, "activation": "nope"}}, r"model is refused by Keras \("),
        ({"config": {}}, r"model is refused by Keras \("),
        ({"class_name": ["Dense"]}, r"model\.config\.layers\[1\] is keras\.layers\.\['Dense'\]"),
        ({"registered_name": ["Dense"]}, r"model\.config\.layers\[1\] is keras\.layers\.Dense"),
    ],
    ids=["unknown activation", "missing argument", "no class", "no name"],
)
def test_a_configuration_that_keras_refuses_is_refused_in_a_sentence(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    config["config"]["layers"][1].update(change)
    write_config(path, json.dumps(config).encode())
    with pytest.raises(ValueError, match=rf"^{said}.*\.$") as refusal:
        audit_file(path)
    assert "\n" not in str(refusal.value)


def seeded_model() -> keras.Model:
    seeded = keras.initializers.HeNormal(seed=3)
    layers = [
        keras.Input((4,)),
        L.Dense(3, name="free"),
        L.Dropout(0.5, name="drop"),
        L.Dense(2, kernel_initializer=seeded, bias_initializer="ones", name="seeded"),
        L.GaussianNoise(0.25, seed=7, name="noise"),
    ]
    return keras.Sequential(layers, name="net")


def test_an_audit_prints_as_the_snapshots() -> None:
    assert_surfaces("audit", adnn.audit_randomness(seeded_model()))


def test_is_one_table_of_variables_and_random_layers() -> None:
    audit = adnn.audit_randomness(seeded_model())
    [table] = audit.document().tables
    frame = audit.to_dataframe()
    assert tuple(frame.columns) == table.headings
    assert frame["seed"].to_list() == [row[-1] for row in table.rows]
