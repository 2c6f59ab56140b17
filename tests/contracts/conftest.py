"""A contract of a small search, which tests in this folder share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from contract_files import (
    CONTRACT,
    DATA,
    few_digits,
)
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna import Contract

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna import SearchResult


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    x, y = few_digits()
    np.savez(folder / DATA, x=x, y=y)
    return folder


@pytest.fixture(scope="session")
def result(folder: Path) -> SearchResult:
    objective = adnn.InitOffsetObjective(
        adnn.MLP((8,)),
        adnn.load_dataset(folder / DATA),
        training=quick_training(optimizer="sgd", learning_rate=0.2, batch_size=210, epochs=2),
        space=adnn.OffsetSpace(low=-0.2, high=0.25),
        seed=3,
    )
    return adnn.search(
        objective,
        "annealing",
        storage=f"sqlite:///{folder / 'secret.db'}",
        study_name="a study",
        max_trial=3,
    )


@pytest.fixture(scope="session")
def contract(result: SearchResult) -> Contract:
    return result.contract()


@pytest.fixture(scope="session")
def path(contract: Contract, folder: Path) -> Path:
    contract.save(folder / CONTRACT)
    return folder / CONTRACT


@pytest.fixture
def content(path: Path) -> Any:
    return json.loads(path.read_text())
