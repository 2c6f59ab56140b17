"""Optuna's own tests of storages, which the storages that we open must pass."""

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


# The tests omit only the checks of Optuna's connections. With SQLite, our storage locks by itself.
@pytest.mark.slow
class TestPostgreSQL(StorageTestCase):
    @pytest.fixture
    def storage(self, postgresql: Server) -> BaseStorage:
        storage = open_storage(postgresql.url)
        for study in storage.get_all_studies():
            storage.delete_study(study._study_id)
        return storage
