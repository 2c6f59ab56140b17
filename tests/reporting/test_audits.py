"""Audits as they print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

import adnn_optuna as adnn
from adnn_optuna.api.accountability import audit_file

if TYPE_CHECKING:
    from pathlib import Path

L = keras.layers


def lines_of(audit: adnn.Audit) -> list[str]:
    """Return what it prints, without the blanks that make columns."""
    return [" ".join(line.split()) for line in str(audit).splitlines()]


def test_prints_all_that_it_found(tmp_path: Path) -> None:
    seeded = keras.initializers.HeNormal(seed=3)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(3, name="free"),
            L.Dropout(0.5, name="drop"),
            L.Dense(2, kernel_initializer=seeded, bias_initializer="ones", name="seeded"),
            L.GaussianNoise(0.25, seed=7, name="noise"),
        ],
        name="net",
    )
    kernel = model.get_layer("free").kernel_initializer.seed
    drawn, _ = model.get_layer("drop").seed_generator.state.numpy()
    audit = adnn.audit_randomness(model)
    uniform = "GlorotUniform uniform(minval=-0.92582, maxval=0.92582)"
    unseeded = (
        "! The initializers of net/free/kernel have no seed: their configuration says seed: None, "
        "so a model made from it (from_config, clone_model) starts from other weights. Give each "
        "a seed."
    )
    drop = "! drop (Dropout) has no seed: each run of the program draws other numbers. Give it "
    assert lines_of(audit) == [
        "4 variables: 2 random, 2 fixed, 0 unknown",
        "variable shape initializer starts from seed",
        f"net/free/kernel (4, 3) {uniform} unseeded (drew {kernel})",
        "net/free/bias (3,) Zeros constant(value=0) -",
        "net/seeded/kernel (3, 2) HeNormal truncated_normal(mean=0, stddev=0.928232) 3",
        "net/seeded/bias (2,) Ones constant(value=1) -",
        "",
        "2 layers with random states",
        "layer class draws with seed",
        f"drop Dropout training rate=0.5 unseeded (drew {drawn})",
        "noise GaussianNoise training stddev=0.25 7",
        "",
        unseeded,
        f"{drop}seed=.",
    ]
    assert repr(audit) == f"Audit(warnings={audit.warnings!r})"
    model.save(tmp_path / "net.keras")
    assert lines_of(audit_file(tmp_path / "net.keras")) == [
        "4 variables: 2 random, 2 fixed, 0 unknown",
        "variable shape initializer starts from seed",
        f"free/kernel (4, 3) {uniform} unseeded",
        "free/bias (3,) Zeros constant(value=0) -",
        "seeded/kernel (3, 2) HeNormal truncated_normal(mean=0, stddev=0.928232) 3",
        "seeded/bias (2,) Ones constant(value=1) -",
        "",
        "2 layers with random states",
        "layer class draws with seed",
        "drop Dropout training rate=0.5 unseeded",
        "noise GaussianNoise training stddev=0.25 7",
        "",
        unseeded.replace("net/", ""),
        f"{drop}seed=.",
    ]


def test_prints_what_is_not_built_yet_and_cannot_be_called() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = L.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=9))
            self.drop = L.Dropout(0.5, name="drop", seed=2)

        def call(self, x: Any) -> Any:
            return self.drop(self.dense(x))

    name = (model := Own()).dense.name
    assert lines_of(adnn.audit_randomness(model)) == [
        "2 variables: 1 random, 1 fixed, 0 unknown",
        "variable shape initializer starts from seed",
        f"{name}/kernel not built RandomNormal RandomNormal(mean=0, stddev=0.05) 9",
        f"{name}/bias not built Zeros Zeros() -",
        "",
        "1 layers with random states",
        "layer class draws with seed",
        "drop Dropout unknown rate=0.5 2",
    ]
