"""Optuna's own tests of storages, run on the storages that our functions open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from optuna.testing.pytest_storages import StorageTestCase

from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage
    from postgresql import Server


class TestSQLite(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> BaseStorage:
        return open_storage(f"sqlite:///{tmp_path / 'study.db'}")


# Only tests of Optuna's connections are omitted. With SQLite, our storage does the locking.
@pytest.mark.slow
class TestPostgreSQL(StorageTestCase):
    @pytest.fixture
    def storage(self, postgresql: Server) -> BaseStorage:
        storage = open_storage(postgresql.url)
        for study in storage.get_all_studies():
            storage.delete_study(study._study_id)
        return storage
