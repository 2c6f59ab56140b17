"""Fixtures that tests of several modules share."""

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
    """Load each migration once, because hundreds of databases would spend most of their time on
    it.
    """
    return _load(folder, file) if file == "env.py" else _load_once(folder, file)


alembic.util.load_python_file = _load_migration

# The time of an example depends on the other work of the machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("tensorflow") and not is_installed("tensorflow"):
        pytest.skip("TensorFlow is not installed")


@pytest.fixture(autouse=True)
def optuna_warns_only() -> Iterator[None]:
    """Silence Optuna's logs below warnings, and reset the level after each test."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def storage() -> InMemoryStorage:
    """Return a storage in memory, which is ten times as fast as a database."""
    return InMemoryStorage()


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return a capture of Optuna's logs, which pytest does not capture by default."""
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
