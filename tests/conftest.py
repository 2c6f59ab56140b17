"""What tests of several modules share."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import alembic.util
import hypothesis
import optuna
import pytest
import quick_sqlite  # noqa: F401 - it changes how SQLite writes.
from optuna.storages import InMemoryStorage
from postgresql import Server, find_binaries

from adnn_optuna._checks import is_installed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from adnn_optuna import InitOffsetObjective


_load = alembic.util.load_python_file
_load_once = functools.cache(_load)


def _load_migration(folder: str, file: str) -> ModuleType:
    """Spare each of the hundreds of databases most of the time in which Optuna opens it."""
    return _load(folder, file) if file == "env.py" else _load_once(folder, file)


alembic.util.load_python_file = _load_migration

# How long an example takes is up to the machine's other work.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("tensorflow") and not is_installed("tensorflow"):
        pytest.skip("TensorFlow is not installed")


@pytest.fixture(autouse=True)
def optuna_warns_only() -> Iterator[None]:
    """Thousands of trials are logged otherwise. What a test sets is not left to the next one."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of an SQLite file that nobody has made yet."""
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def storage() -> InMemoryStorage:
    """Return a storage for what is the same in any: a database takes ten times as long."""
    return InMemoryStorage()


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return what captures Optuna's logs, which are kept from others' handlers otherwise."""
    optuna.logging.enable_propagation()
    yield caplog
    optuna.logging.disable_propagation()


@pytest.fixture(scope="session")
def objective() -> InitOffsetObjective:
    """Return a small network, which is compiled once for all tests."""
    from search_worker import make_objective

    return make_objective()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    with Server() as server:
        yield server
