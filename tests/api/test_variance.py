"""Variances of networks and of functions, measured by training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.cli.main import run
from adnn_optuna.results.variance import AS_GIVEN


def objective(**changes: Any) -> adnn.InitOffsetObjective:
    settings: dict[str, Any] = {"training": quick_training(epochs=1, batch_size=64), "seed": 3}
    dataset = changes.pop("dataset", None) or adnn.load_dataset("digits")
    return adnn.InitOffsetObjective(adnn.MLP((8,)), dataset, **{**settings, **changes})


def test_each_source_is_redrawn_by_its_own_seed() -> None:
    of_digits = objective()
    variance = adnn.measure_variance(of_digits, n=5)
    assert variance.numbers.sources == ("initialisation", "order", "split")
    assert variance.numbers.seed_value == of_digits(
        optuna.trial.FixedTrial(dict.fromkeys(OFFSETS, 0.0))
    )
    dataset = of_digits.dataset
    for (initialisation, order, split), value in [*variance.numbers.evaluations.items()][1:6]:
        data = dataset if split == AS_GIVEN else dataset.redrawn(split)
        moved = objective(dataset=data, seed=initialisation)
        # An objective cannot redraw the order of batches alone, so the test calls the trainer.
        start = moved.baseline_start
        start = type(start)(start.seed, 0, start.offsets, order_seed=order)
        assert moved.trainer.train([start])[0].history[-1]["val_accuracy"] == value
    assert len({*variance.numbers.evaluations.values()}) > 10


OFFSETS = ("weight_offset_0", "bias_offset_0")


def test_sources_that_are_not_random_are_omitted() -> None:
    digits = adnn.load_dataset("digits")
    x, y = (np.concatenate([getattr(digits, f"{k}_{s}") for s in ("train", "val")]) for k in "xy")
    dataset = adnn.Dataset.from_arrays(
        x[:900], y[:900], x_val=x[900:], y_val=y[900:], x_test=digits.x_test, y_test=digits.y_test
    )
    training = quick_training(epochs=1, batch_size=64, shuffle=False)
    variance = adnn.measure_variance(objective(dataset=dataset, training=training), n=5)
    assert variance.numbers.sources == ("initialisation",)
    assert variance.sd_by_source["initialisation"] == variance.sd
    assert len(variance.numbers.evaluations) == 6
    text = " ".join(str(variance).split())
    stays = "the order of the batches, the validation split and the test split"
    assert f"Not redrawn: {stays}." in text
    constant = adnn.InitOffsetObjective(
        adnn.MLP((8,), kernel_initializer="ones"), dataset, training=training
    )
    with pytest.raises(
        ValueError, match="objective must have parameters that are seeds, and no others; got"
    ):
        adnn.measure_variance(constant)
    with pytest.raises(ValueError, match="got trial"):
        adnn.measure_variance(lambda trial: 1.0)


def test_variance_resumes_and_adds_runs(url: str, logs: pytest.LogCaptureFixture) -> None:
    storage, calls = url, []

    def value(data: int, *, model: int) -> float:
        calls.append((data, model))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return data % 5 + model % 7

    optuna.logging.set_verbosity(optuna.logging.INFO)
    with pytest.raises(KeyboardInterrupt):
        adnn.measure_variance(value, 6, storage=storage)
    assert [record.message for record in logs.records if "Interrupted" in record.message]
    variance = adnn.measure_variance(value, 6, storage=storage)
    assert len(calls) == 6 * 3 + 1
    assert variance == adnn.measure_variance(value, 6, study_name="variance")
    more = adnn.measure_variance(value, 8, storage=storage)
    assert {*variance.numbers.evaluations} < {*more.numbers.evaluations}
    with pytest.raises(ValueError, match="must hold the same evaluations"):
        adnn.measure_variance(lambda data: 1.0, storage=storage)


def test_time_limit_ends_the_variance_and_finished_runs_are_reported() -> None:
    variance = adnn.measure_variance(lambda *, seed: seed % 7, max_time=1e-9)
    assert variance.numbers.missing
    assert math.isnan(variance.sd.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n": 4}, "n must be a whole number of at least 5"),
        (
            {"objective": 3},
            "^objective must be an InitOffsetObjective, or a function .*; got 3 of type int.$",
        ),
        ({"objective": lambda: 1.0}, "got no parameter"),
        ({"objective": lambda seed: "much"}, "must return a number"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"max_time": -1}, "max_time"),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        adnn.measure_variance(**{"objective": lambda seed: seed, **wrong})


@pytest.mark.slow
def test_command_line_writes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["variance", "--n", "5", "--hidden", "8", "--epochs", "1", "--seed", "3"]
    assert run([*arguments, "--report", "v.html"]) == 0
    assert "all sources" in Path("v.html").read_text()
