"""What optuna-dashboard shows of searches and comparisons, in a real browser."""

from __future__ import annotations

import hashlib
import shutil
import socketserver
import subprocess
import threading
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
import pytest
from search_worker import make_objective
from stored_studies import store_classes, store_look, store_study

import adnn_optuna as adnn
from adnn_optuna.api import _notes
from adnn_optuna.api.comparisons import load_comparison
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.results.function_search import stored_result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna.storages import BaseStorage

optuna_dashboard = pytest.importorskip("optuna_dashboard")

EVIL = "<img src=x onerror=document.title='evil'> *one* `two`"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a search and a comparison."""
    url = f"sqlite:///{tmp_path_factory.mktemp('dashboard') / 'adnn.db'}"
    adnn.search(make_objective(), "annealing", max_trial=4, storage=url, study_name=EVIL)
    adnn.compare(make_objective(), ("greedy",), max_trial=2, seeds=(0, 1), storage=url)
    return url


@pytest.fixture(scope="module")
def address(url: str) -> Iterator[str]:
    server = make_server(
        "127.0.0.1", 0, optuna_dashboard.wsgi(url), server_class=Server, handler_class=Quiet
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/dashboard/studies"
    server.shutdown()
    server.server_close()


def study_of(url: str, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=url)


def shown(address: str, study: optuna.Study, page: str, tmp_path: Path) -> str:
    """Return the page's text as a browser has drawn it."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1400,2000",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"{address}/{study._study_id}{page}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "<title>evil" not in done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
class TestBrowser:
    def test_shows_its_note(self, url: str, address: str, tmp_path: Path) -> None:
        study = study_of(url, EVIL)
        page = shown(address, study, "/note", tmp_path)
        assert f"{100 * read_record(study).test_value:.2f}%" in page
        assert "&lt;img src=x onerror=document.title='evil'&gt; *one* `two`" in page

    def test_shows_a_comparison(self, url: str, address: str, tmp_path: Path) -> None:
        study = study_of(url, "compare")
        note = shown(address, study, "/note", tmp_path)
        assert "random restarts" in note
        assert "inconclusive" in note


class TestNote:
    def test_is_in_every_study(self, url: str) -> None:
        for name in optuna.get_all_study_names(url):
            note = optuna_dashboard.get_note(study_of(url, name))
            assert note

    def test_of_a_user_is_left_alone(self, url: str) -> None:
        study = study_of(url, EVIL)
        first = optuna_dashboard.get_note(study)
        adnn.resume(url, EVIL, max_trial=5)
        second = optuna_dashboard.get_note(study)
        assert "4 trials" in first
        assert "5 trials" in second
        optuna_dashboard.save_note(study, f"{second}\n\nMine.")
        adnn.resume(url, EVIL, max_trial=6)
        assert optuna_dashboard.get_note(study) == f"{second}\n\nMine."


@pytest.fixture
def storage(tmp_path: Path) -> BaseStorage:
    """One that other processes can read."""
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    return optuna.storages.JournalStorage(backend)


def save(study: optuna.Study) -> None:
    """Save what a search says, as a verb does."""
    _notes.save_notes({study: stored_result(read_record(study))})


def test_note_of_a_search_is_its_document_as_markdown(storage: BaseStorage) -> None:
    study = store_study("one\\ `two` <b>*[3]*</b> ~|_&", gain=0.003, storage=storage)
    store_classes(study, [97, 3])
    save(study)
    note = optuna_dashboard.get_note(study)
    assert note == stored_result(read_record(study)).to_markdown(details=False)
    assert study.user_attrs["adnn:note"] == hashlib.sha256(note.encode()).hexdigest()


def test_comparison_is_noted_in_its_head(url: str) -> None:
    comparison = load_comparison(url, "compare")
    note = optuna_dashboard.get_note(study_of(url, "compare"))
    title, *_ = comparison.to_markdown().split("\n")
    assert note.startswith(f"{title}\n")


def test_note_that_a_user_changed_is_left_alone_and_one_of_ours_is_renewed(
    storage: BaseStorage,
) -> None:
    study = store_study("one", gain=0.003, storage=storage)
    save(study)
    first = optuna_dashboard.get_note(study)
    store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
    save(study)
    second = optuna_dashboard.get_note(study)
    assert "905 of 1000 images" in second
    assert second != first
    optuna_dashboard.save_note(study, "Mine.")
    save(study)
    assert optuna_dashboard.get_note(study) == "Mine."


def test_note_of_a_worker_that_was_killed_beside_it_is_renewed(
    storage: BaseStorage, tmp_path: Path
) -> None:
    undisturbed = store_study("one", gain=0.003, storage=storage)
    save(undisturbed)
    other = open_storage(f"sqlite:///{tmp_path}/other.db")
    study = store_study("one", gain=0.003, storage=other)
    # Its worker was killed before it saved the digest.
    optuna_dashboard.save_note(study, optuna_dashboard.get_note(undisturbed))
    save(study)
    store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
    save(study)
    assert "905 of 1000 images" in optuna_dashboard.get_note(study)


def test_studies_in_memory_are_left_alone() -> None:
    study = store_study("one")
    before = study._storage.get_study_system_attrs(study._study_id)
    save(study)
    assert study._storage.get_study_system_attrs(study._study_id) == before


def test_a_search_ends_well_without_it(
    storage: BaseStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = store_study("one", storage=storage)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(optuna_dashboard, "save_note", refuse)
    monkeypatch.setattr(_notes.logger, "propagate", True)
    save(study)
    said = "Nothing was saved for optuna-dashboard: the disk is full"
    assert [record.getMessage() for record in caplog.records] == [said]

    monkeypatch.setattr(_notes.importlib.util, "find_spec", lambda name: None)
    caplog.clear()
    save(study)
    assert not caplog.text
