"""Audits: every variable with its distribution, every random layer, and what is not seeded."""

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
from adnn_optuna.api.contracts import audit_file
from adnn_optuna.contracts.audit import describe

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna.contracts.audit import Distribution

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


UNIFORM, ZEROS, ONES = "uniform", "constant(value=0)", "constant(value=1)"
# Put together of zeros and, for the forget gate, ones.
LSTM_BIAS = "bias_initializer(min=0, max=1)"
EXPECTED = {
    "conv/kernel": "truncated_normal",
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
            ("bias", LSTM_BIAS),
        )
    },
    "spectral/dense/kernel": UNIFORM,
    "spectral/vector_u": "truncated_normal(mean=0, stddev=0.02)",
    "spectral/dense/bias": ZEROS,
}


def test_finds_every_variable(audit: adnn.Audit, model: keras.Model) -> None:
    assert [v.path for v in audit.variables] == [v.path for v in model.weights]
    found = {v.path: str(v.distribution) for v in audit.variables}
    assert found.keys() == EXPECTED.keys()
    assert len(found) == 23
    for path, start in EXPECTED.items():
        assert found[path].startswith(start), path
    shapes = {v.path: v.shape for v in audit.variables}
    assert shapes["both/forward_lstm/lstm_cell/kernel"] == (4, 20)


def test_tells_the_seeds_that_were_drawn(audit: adnn.Audit, model: keras.Model) -> None:
    found = {v.path: v for v in audit.variables}
    assert found["conv/kernel"].seed == model.get_layer("conv").kernel_initializer.seed
    assert not found["conv/kernel"].is_seeded
    lstm = model.get_layer("both").forward_layer.cell
    recurrent = found["both/forward_lstm/lstm_cell/recurrent_kernel"]
    assert recurrent.seed == lstm.recurrent_initializer.seed
    query = model.get_layer("attention")._query_dense.kernel_initializer
    assert found["attention/query/kernel"].seed == query.seed
    assert not found["attention/query/kernel"].is_seeded
    # Its layer did not keep the initializer.
    assert found["spectral/vector_u"].seed is None


def test_finds_the_random_layers(audit: adnn.Audit) -> None:
    found = {layer.path: layer for layer in audit.layers}
    # Keras numbers the layer within attention by the layers of that kind that were made before.
    others = {re.sub(r"_\d+$", "", path) for path in found if "lstm" not in path}
    assert others == {"attention/dropout", "dropout"}
    assert (found["dropout"].seed, found["dropout"].is_seeded) == (1, True)
    assert sum("lstm_cell" in path for path in found) == 2


def test_leaves_model_and_random_states_alone(model: keras.Model) -> None:
    before = [v.numpy().copy() for v in model.variables]
    random.seed(3)
    state = random.getstate()
    adnn.audit_randomness(model)
    assert random.getstate() == state
    for values, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(values, variable.numpy())
    # A variable that is made now has its values at once.
    assert L.Dense(2).name
    dense = L.Dense(2)
    dense.build((None, 2))
    assert dense.kernel.numpy().shape == (2, 2)


def cdf(distribution: Distribution, shape: tuple[int, ...]) -> Any:
    p = distribution.parameters
    match distribution.name:
        case "uniform":
            return scipy.stats.uniform(p["minval"], p["maxval"] - p["minval"]).cdf
        case "normal":
            return scipy.stats.norm(p["mean"], p["stddev"]).cdf
        case "truncated_normal":
            return scipy.stats.truncnorm(-2, 2, p["mean"], p["stddev"]).cdf
        case "Orthogonal":
            n = max(np.prod(shape[:-1]), shape[-1])
            # One entry of a random unit vector.
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
def test_states_the_distribution_that_samples_have(cls: type, shape: tuple[int, ...]) -> None:
    initializer = cls(seed=5)
    values = np.asarray(initializer(shape)).ravel()
    distribution = describe(initializer, shape)
    assert distribution.kind == "random"
    assert scipy.stats.kstest(values, cdf(distribution, shape)).pvalue > 0.001


@keras.saving.register_keras_serializable("tests")
class Drawing(keras.Initializer):
    """Draws with a seed that its configuration holds."""

    def __init__(self, seed: int | None = None, share: float = 1.0) -> None:
        self.seed = seed
        self.share = share

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return self.share * keras.random.normal(shape, dtype=dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "share": self.share}


class Hidden(keras.Initializer):
    """Its configuration leaves out the seed."""

    def __init__(self) -> None:
        self.seed = 3

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.random.normal(shape, dtype=dtype, seed=self.seed)


class Normal(keras.initializers.RandomNormal):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return 2 * super().__call__(shape, dtype)


def ones(shape: Any, dtype: Any = None) -> Any:
    return np.ones(shape, dtype)


def steps(shape: Any, dtype: Any = None) -> Any:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def unseeded(shape: Any, dtype: Any = None) -> Any:
    return keras.random.normal(shape, dtype=dtype)


def failing(shape: Any, dtype: Any = None) -> Any:
    raise RuntimeError


@pytest.mark.parametrize(
    ("initializer", "said"),
    [
        (Drawing(7), "random Drawing(share=1)"),
        (Drawing(), "random Drawing(share=1)"),
        (Normal(seed=3), "random Normal(mean=0, stddev=0.05)"),
        (Hidden(), "random Hidden()"),
        (unseeded, "random unseeded()"),
        (ones, "fixed constant(value=1)"),
        (steps, "fixed steps(min=0, max=5)"),
        (failing, "unknown failing()"),
        (None, "unknown unknown()"),
    ],
    ids=range(9),
)
def test_finds_what_others_draw_by_what_they_return(initializer: Any, said: str) -> None:
    distribution = describe(initializer, (2, 3))
    assert f"{distribution.kind} {distribution}" == said


def test_tells_what_a_layer_makes_of_a_seeded_initializer() -> None:
    lstm = L.LSTM(2, kernel_initializer=Drawing(5))
    audit = adnn.audit_randomness(keras.Sequential([keras.Input((4, 4)), lstm]))
    kernel = audit.variables[0]
    assert (kernel.distribution.kind, kernel.seed, kernel.is_seeded) == ("random", 5, True)


def dense_model(**settings: Any) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), L.Dense(4, **settings), L.Dense(4, **settings)])


def test_warns_of_initializers_without_a_seed() -> None:
    [warning] = adnn.audit_randomness(dense_model()).warnings
    assert "seed: None" in warning
    assert "from_config" in warning
    seeded = [
        keras.Input((4,)),
        *(L.Dense(4, kernel_initializer=keras.initializers.HeNormal(seed=i)) for i in range(2)),
    ]
    audit = adnn.audit_randomness(keras.Sequential(seeded))
    assert audit.warnings == ()
    assert [v.seed for v in audit.variables] == [0, None, 1, None]


def test_warns_of_equal_weights() -> None:
    same = keras.initializers.GlorotUniform()
    model = dense_model(kernel_initializer=same)
    first, _, second, _ = model.get_weights()
    np.testing.assert_array_equal(first, second)
    _, warning = adnn.audit_randomness(model).warnings
    assert "share one initializer object" in warning
    for variable in model.weights[::2]:
        assert variable.path in warning


def test_resolves_the_layers_of_a_subclassed_model() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = L.Dense(3)
            self.weight = self.add_weight(shape=(2,), initializer=lambda shape, dtype: np.ones(2))

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Own()
    [warning] = adnn.audit_randomness(model).warnings
    assert warning.endswith(f", {model.dense.name} (not built).")
    model(np.zeros((1, 4), np.float32))
    audit = adnn.audit_randomness(model)
    found = {v.path.split("/")[-1]: v for v in audit.variables}
    assert str(found["kernel"].distribution) == "uniform(minval=-0.92582, maxval=0.92582)"
    assert str(found["bias"].distribution) == ZEROS
    assert sum(v.distribution.kind == "unknown" for v in audit.variables) == 1
    [unknown] = [v.path for v in audit.variables if v.distribution.kind == "unknown"]
    assert audit.warnings[-1] == f"Not resolved, so perhaps random: {unknown}."


@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
def test_resolves_layers_that_only_a_call_of_the_model_builds() -> None:
    class Own(L.Layer):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.inner = L.Dense(3)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    inputs = keras.Input((4,))
    audit = adnn.audit_randomness(keras.Model(inputs, L.Dense(2)(Own()(inputs))))
    assert [v.initializer for v in audit.variables] == ["GlorotUniform", "Zeros"] * 2


def test_leaves_out_no_layer_that_has_the_name_of_another() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (L.Dropout(rate, name="same") for rate in (0.25, 0.5))

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    layers = adnn.audit_randomness(Own()).layers
    assert [layer.path for layer in layers] == ["same", "same"]


def test_names_only_layers_that_draw() -> None:
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
    given = [keras.Input((4, 4)) for _ in range(2)]
    x = Always()(L.Add()(given))
    for layer in layers:
        x = layer(x)
    audit = adnn.audit_randomness(keras.Model(given, x))
    assert [layer.path for layer in audit.layers] == ["always", "one/lstm_cell"]
    assert not any("has no seed: each run" in warning for warning in audit.warnings)


def test_takes_no_variables_for_equal_that_one_generator_seeds() -> None:
    drawing = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(3))
    audit = adnn.audit_randomness(dense_model(kernel_initializer=drawing))
    assert [v.seed for v in audit.variables] == [3, None, 3, None]
    assert audit.warnings == ()


def test_warns_of_equal_seeds_only_where_shapes_are_equal() -> None:
    warnings = []
    for units in (3, 4):
        layers = [
            L.Dense(n, kernel_initializer=Drawing(5), bias_initializer=Drawing(i), name=f"d{i}")
            for i, n in enumerate((units, 4))
        ]
        model = keras.Sequential([keras.Input((4,)), *layers], name="net")
        warnings.append(adnn.audit_randomness(model).warnings)
    said = (
        "net/d0/kernel, net/d1/kernel share one initializer object or its seed, and one shape, so "
        "they start from equal values. Give each layer an initializer of its own, with "
        "its own seed."
    )
    assert warnings == [(), (said,)]


def test_refuses_what_is_no_model() -> None:
    said = r"^model must be a keras\.Model \(build it first\); got MLP\(.* of type MLP\.$"
    with pytest.raises(TypeError, match=said):
        adnn.audit_randomness(adnn.MLP())  # type: ignore[arg-type]


def test_reads_a_file_without_its_weights(model: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    model.save(path)
    audit = audit_file(path)
    assert len(audit.variables) == 23
    assert all(v.distribution.kind != "unknown" for v in audit.variables)
    # What was drawn is not in the file.
    assert {v.seed for v in audit.variables} == {None}


def test_reads_a_file_of_a_compiled_model(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a"), L.Dense(2, name="b")])
    model.save(tmp_path / "plain.keras")
    model.compile("adam", "mse", metrics=["accuracy"])
    model.save(tmp_path / "compiled.keras")
    assert audit_file(tmp_path / "compiled.keras") == audit_file(tmp_path / "plain.keras")


def test_executes_nothing_in_a_file(tmp_path: Path) -> None:
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
    """Change a field of both headers of a zip file's only member."""
    content = bytearray(path.read_bytes())
    # The second header has one field of two bytes more before those that both have.
    for begin in (offset, content.index(b"PK\x01\x02") + offset + 2):
        content[begin : begin + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    "kind", ["no JSON", "no object", "no UTF-8", "damaged", "encrypted", "unknown compression"]
)
def test_says_in_a_sentence_that_a_file_is_damaged(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    contents = {"no JSON": b"{", "no object": b"[]", "no UTF-8": b'{"name": "\xff"}'}
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
def test_says_in_a_sentence_what_keras_cannot_make(
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


def test_names_what_no_offset_moves() -> None:
    hidden = [keras.layers.Dense(3), keras.layers.BatchNormalization(name="norm")]
    model = keras.Sequential([keras.Input((4,)), *hidden])
    found = adnn.audit_randomness(model)
    assert found.not_moved == ("norm/gamma", "norm/beta")
    [*_, note] = found.document().notes
    assert note.startswith("No offset changes norm/gamma, norm/beta: ")
    plain = adnn.audit_randomness(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
    assert not plain.not_moved
    assert "No offset changes" not in str(plain)


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


def test_prints_as_the_snapshots(tmp_path: Path) -> None:
    # What was drawn is not in the file, so each audit of one says the same.
    seeded_model().save(tmp_path / "net.keras")
    audit = audit_file(tmp_path / "net.keras")
    assert_surfaces("audit", audit)
    assert repr(audit) == f"Audit(warnings={audit.warnings!r})"


def test_names_the_seeds_that_were_drawn_and_says_that_they_are_not_kept() -> None:
    model = seeded_model()
    kernel = model.get_layer("free").kernel_initializer.seed
    drawn, _ = model.get_layer("drop").seed_generator.state.numpy()
    variables, layers = adnn.audit_randomness(model).document().tables
    uniform = "uniform(minval=-0.92582, maxval=0.92582)"
    assert variables.rows[0][:3] == ("net/free/kernel", uniform, f"unseeded, drew {kernel}")
    assert variables.rows[2][2] == "3"
    assert layers.rows[0][-1] == f"unseeded, drew {drawn}"
    frame = adnn.audit_randomness(model).to_dataframe()
    assert frame["seed"].to_list() == [row[2] for row in variables.rows]


def test_names_a_layer_that_is_not_built_yet() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = L.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=9))
            self.drop = L.Dropout(0.5, name="drop", seed=2)

        def call(self, x: Any) -> Any:
            return self.drop(self.dense(x))

    document = adnn.audit_randomness(model := Own()).document()
    assert document.conclusion.startswith("0 variables: 0 random, 0 fixed, 0 unknown.")
    [layers] = document.tables
    assert layers.rows == (("drop", "Dropout", "2"),)
    assert document.notes == (f"Not resolved, so perhaps random: {model.dense.name} (not built).",)
