"""Optuna's own contract test for storages, on the one over DaskStorage and the one under it."""

from __future__ import annotations

import pytest
from optuna.storages import JournalStorage
from optuna.testing.pytest_storages import StorageTestCase

from seedwise.study.journal import SingleWriterJournal
from seedwise.study.storage import close_storage, open_storage

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


class TestSingleWriterJournal(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path):
        journal = SingleWriterJournal(tmp_path / "study.journal")
        yield JournalStorage(journal)
        journal.close()


class TestCachedDaskStorage(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path, client):
        storage = open_storage(client, tmp_path / "study.journal")
        with client.as_current():  # where a DaskStorage that was pickled looks for its client
            yield storage
        close_storage(storage)
