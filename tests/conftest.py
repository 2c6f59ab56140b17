"""What tests of several modules share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from postgresql import Server, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    with Server() as server:
        yield server
