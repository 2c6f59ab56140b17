"""Contracts as they print, and what is said of a gain with fresh random numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from adnn_optuna import Contract
from adnn_optuna.accountability.contract import Claim
from adnn_optuna.reporting.contracts import transfer_in_words

LUCKY = "a lucky draw: the gain of"


def test_prints_what_it_says() -> None:
    values = {"train_accuracy": 0.75, "val_accuracy": 0.5, "test_accuracy": 0.25, "loss": 1.5}
    params = {"weight_offset_0": 0.125, "bias_offset_0": -0.0625}
    content: dict[str, Any] = {
        "study": {"name": "a study", "sampler": "annealing", "best_trial": 7, "trials": 12},
        "objective": {"dataset": {"name": "digits"}},
        "split": {"test": 16},
        "baseline": {"trained_weights_sha256": "0123", **values},
        "winner": {
            "params": params,
            "trained_weights_sha256": "4567",
            **values,
            "test_accuracy": 0.375,
        },
        "certified": {"orders": [0.125] * 5},
    }
    contract = Contract(content, {})
    interval = "95 % interval +6.25 to +18.75 pp"  # One of 16 images, as all gains are equal.
    lines = [
        "Contract of study 'a study' on digits, annealing: trial 7 of 12",
        "  train_accuracy  baseline 75.00%  winner 75.00%  gain +0.00 pp",
        "  val_accuracy    baseline 50.00%  winner 50.00%  gain +0.00 pp",
        "  test_accuracy   baseline 25.00%  winner 37.50%  gain +12.50 pp",
        "  offsets: weight_offset_0=0.125, bias_offset_0=-0.0625",
        f"  with 5 fresh orders of the batches the gain is +12.50 pp ({interval})",
        "  the gain transfers",
        "  trained weights: SHA-256 4567",
    ]
    assert str(contract).split("\n") == lines
    del content["certified"]
    assert str(contract).split("\n") == lines[:5] + lines[7:]
    content["objective"]["dataset"]["task"] = "regression"
    for role, r2 in (("baseline", -0.5), ("winner", 0.25)):
        content[role] = {"params": params, "trained_weights_sha256": "4567", "test_r2": r2}
    assert str(contract).split("\n") == [
        lines[0],
        "  test_r2         baseline -0.5000  winner 0.2500  gain +0.7500",
        lines[4],
        *lines[7:],
    ]


@pytest.mark.parametrize(
    ("gain", "initialisations", "orders", "words"),
    [
        (0.02, 0.02, 0.02, "the gain transfers"),
        (
            0.012,
            0.0,
            0.0,
            f"{LUCKY} 1.2 pp belongs to this one initialisation and order of batches",
        ),
        (0.02, 0.0, 0.02, f"{LUCKY} 2.0 pp belongs to this one initialisation"),
        (0.02, 0.02, 0.0, f"{LUCKY} 2.0 pp belongs to this one order of batches"),
        # Below its own gain, but not shown to be.
        (0.001, 0.0, 0.0, "it is not shown that the gain transfers"),
        (-0.01, -0.02, 0.0, "it is not shown that the gain transfers"),
    ],
)
def test_a_gain_is_called_what_it_is(
    gain: float, initialisations: float, orders: float, words: str
) -> None:
    spread = np.linspace(-0.006, 0.006, 20)
    found = transfer_in_words(
        Claim("test_accuracy", gain, 0.001),
        {"initialisations": [*(initialisations + spread)], "orders": [*(orders + spread)]},
    )
    assert found[0].startswith(
        f"with 20 fresh initialisations the gain is {100 * initialisations:+.2f} pp (95 % interval"
    )
    assert re.search(r"interval [+-]\d\.\d\d to [+-]\d\.\d\d pp\)$", found[1])
    assert found[-1] == words


def test_says_nothing_where_nothing_was_drawn() -> None:
    assert transfer_in_words(Claim("test_accuracy", 0.01, 0.001), {}) == []
