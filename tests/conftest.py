"""What tests of several modules share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
import pytest
from postgresql import Server, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def optuna_warns_only() -> Iterator[None]:
    """Thousands of trials are logged otherwise. What a test sets is not left to the next one."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return what captures Optuna's logs, which are kept from others' handlers otherwise."""
    optuna.logging.enable_propagation()
    yield caplog
    optuna.logging.disable_propagation()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    with Server() as server:
        yield server
