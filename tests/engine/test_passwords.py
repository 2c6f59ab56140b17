"""The password of a storage's URL is in nothing that this package writes, prints or raises."""

from __future__ import annotations

import json
import logging
import pickle
import string
import time
import traceback
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from postgresql import PASSWORD
from search_worker import make_objective

import adnn_optuna as adnn
from adnn_optuna._checks import masked, without_passwords
from adnn_optuna.cli import main as cli
from adnn_optuna.cli import output
from adnn_optuna.engine import storages
from adnn_optuna.engine.storages import StorageError, open_storage, storage_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postgresql import Server

# As it is, and as URLs write it.
SECRETS = (PASSWORD, "p%40ss", "p@ss", "geheim")
UNREACHABLE = "postgresql+psycopg://user:geheim@127.0.0.1:1/db"


def assert_no_secret(text: str) -> None:
    assert not [secret for secret in SECRETS if secret in text]


@pytest.fixture
def run_adnn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a command, with tracebacks, and returns code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADNN_DEBUG", "1")

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = cli.run(arguments)
        shown = "".join(capsys.readouterr())
        assert_no_secret(shown)
        return code, shown

    return run


@pytest.mark.slow
def test_commands_on_a_server(
    postgresql: Server, tmp_path: Path, run_adnn: Callable[..., tuple[int, str]]
) -> None:
    storage = ["--storage", postgresql.url]
    name = ["--study-name", "secret"]
    search = ["search", "--hidden", "4", "--epochs", "1", "--max-trial", "2", *storage, *name]
    code, shown = run_adnn(*search, "--contract", "secret.contract.json")
    assert code == 0
    assert "postgresql+psycopg://postgres:***@127.0.0.1" in shown
    # Another objective, and no study of the name.
    assert run_adnn(*search, "--seed", "1")[0] == output.WRONG_INPUT
    assert run_adnn("resume", *storage, "--study-name", "none")[0] == output.WRONG_INPUT
    assert run_adnn("report", *storage, *name, "--contract", "secret.contract.json")[0] == 0
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written.keys() >= {"secret.contract.json", "report.html"}
    for content in written.values():
        assert_no_secret(content.decode("latin-1"))


def test_what_a_search_stores_logs_and_raises(
    postgresql: Server, logs: pytest.LogCaptureFixture
) -> None:
    objective = make_objective()

    class Interrupter(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            raise KeyboardInterrupt

    search = {"storage": postgresql.url, "study_name": "logged", "max_trial": 2}
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    with logs.at_level(logging.INFO), pytest.raises(KeyboardInterrupt):
        adnn.search(objective, "annealing", pruner=Interrupter(), **search)
    result = adnn.search(objective, "annealing", **search)
    assert "Go on with adnn_optuna.resume('postgresql+psycopg://postgres:***@" in logs.text
    assert_no_secret(logs.text)
    assert_no_secret(str(result) + repr(result) + repr(result.study._storage))
    study = result.study
    attrs = [study.user_attrs, study._storage.get_study_system_attrs(study._study_id)]
    for trial in study.trials:
        attrs += [trial.user_attrs, trial.system_attrs]
    assert_no_secret(json.dumps(attrs))
    with pytest.raises(ValueError, match=r"no study 'none' in .*\*\*\*") as caught:
        adnn.resume(postgresql.url, "none")
    assert_no_secret("".join(traceback.format_exception(caught.value)))


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a moment only for servers that are away."""
    monkeypatch.setattr(storages, "_PATIENCE", 0.2)
    monkeypatch.setattr(storages, "_SECONDS_BEFORE_WARNING", 0.0)


@pytest.mark.usefixtures("impatience")
def test_a_server_that_does_not_answer(
    run_adnn: Callable[..., tuple[int, str]], logs: pytest.LogCaptureFixture
) -> None:
    for call in (
        lambda: open_storage(UNREACHABLE),
        lambda: adnn.resume(UNREACHABLE, "s"),
        lambda: adnn.search(make_objective(), "greedy", storage=UNREACHABLE),
    ):
        with pytest.raises(StorageError, match=r"'postgresql\+psycopg://user:\*\*\*@") as caught:
            call()
        # With all causes.
        assert_no_secret("".join(traceback.format_exception(caught.value)))
    code, shown = run_adnn("resume", "--study-name=s", "--storage", UNREACHABLE)
    assert code == output.FAILED
    assert "Traceback" in shown
    assert "The storage does not answer" in logs.text
    assert_no_secret(logs.text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://u:p@geheim@127.0.0.1:1/db", r"//u:\*\*\*@127.0.0.1:1/db'.*%40"),
        ("postgresql+psycopg://u:ge/heim@127.0.0.1:x/db", r"//u:\*\*\*@127.0.0.1:x/db'"),
        ("postgresql+psycopg://u:ge:heim@127.0.0.1:1/db", r"//u:\*\*\*@127.0.0.1:1/db'"),
        (
            "postgresql+psycopg://127.0.0.1:1/db?user=u&password=geheim&connect_timeout=1",
            r"user=u&password=\*\*\*&connect_timeout=1'",
        ),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dgeheim", r"odbc_connect=\*\*\*'"),
        ("sqlite+pysqlcipher://:geheim@/no.db", r"//:\*\*\*@/no.db'"),
    ],
)
@pytest.mark.usefixtures("impatience")
def test_a_password_that_is_not_where_urls_have_it(url: str, shown: str) -> None:
    for must_exist in (False, True):
        refusals = (ValueError, FileNotFoundError, StorageError)
        with pytest.raises(refusals, match=shown) as caught:
            open_storage(url, must_exist=must_exist)
        message = str(caught.value)
        assert not [part for part in ("geheim", "heim", "ge/", "ge:") if part in message]


@pytest.mark.parametrize("character", string.punctuation)
@pytest.mark.usefixtures("impatience")
def test_any_character_in_any_part(
    character: str, logs: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "_PATIENCE", 0.0)
    c = character
    for url in (
        f"postgre{c}sql+psycopg://user:geheim@127.0.0.1:1/db",
        f"postgresql+psycopg://us{c}er:geheim@127.0.0.1:1/db",
        f"postgresql+psycopg://user:geh{c}eim@127.0.0.1:1/db",
        f"postgresql+psycopg://user:{c}geheim{c}@127.0.0.1:1/db",
        f"postgresql+psycopg://user:{{geheim{c}}}@127.0.0.1:1/db",
        f"postgresql+psycopg://user:ge@h{c}eim@127.0.0.1:1/db",
        f"postgresql+psycopg://user:geheim@127.0{c}.0.1:1/db",
        f"postgresql+psycopg://user:geheim@127.0.0.1:1{c}/db",
        f"postgresql+psycopg://user:geheim@127.0.0.1:1/d{c}b",
        f"postgresql+psycopg://127.0.0.1:1/db?pass{c}word=geheim",
        f"postgresql+psycopg://127.0.0.1:1/db?password{c}=geheim",
        f"postgresql+psycopg://127.0.0.1:1/db?user=u&password=geh{c}eim&connect_timeout=1",
        f"postgresql+psycopg://127.0.0.1:1/db?password={{geheim{c}}}&connect_timeout=1",
        f"sqlite+pysqlcipher://:geh{c}eim@/no.db",
        f"postgresql{c}//user:geheim@127.0.0.1:1/db",
    ):
        with pytest.raises((ValueError, ImportError, StorageError)) as caught:
            open_storage(url)
        said = "".join(traceback.format_exception(caught.value)) + masked(url) + logs.text
        said = said[said.index(type(caught.value).__name__) :]
        assert not [part for part in ("geheim", "geh", "eim") if part in said], url


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text", ["a" * 10**5, f"ab://x?{'&pass' * 10**4}", f"a:/{'?pwd' * 10**4}"]
)
def test_a_long_text_is_read_in_no_time(text: str) -> None:
    said = f"{text} ab://u:geheim@h"
    assert without_passwords(said) == said.replace("geheim", "***")


def test_braces_are_no_format(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/{{0}}{{SCHEMA_VERSION}}.db"
    assert storage_url(open_storage(url)) == url
    assert (tmp_path / "{0}{SCHEMA_VERSION}.db").is_file()


def test_a_file_has_no_password(tmp_path: Path) -> None:
    for name in ("a:b@c.db", "study.db"):
        url = f"sqlite:///{tmp_path / name}"
        assert storage_url(open_storage(url)) == url


def test_an_url_in_the_place_of_something_else() -> None:
    url, study = "postgresql://user:geheim@127.0.0.1:1/db?password=geheim", optuna.create_study()
    function: Any = abs
    wrong: dict[str, Callable[[], object]] = {
        "study": lambda: adnn.recheck(url, function),  # type: ignore[arg-type]
        "evaluate": lambda: adnn.recheck((url, "name", url), function),  # type: ignore[arg-type]
        "samplers": lambda: adnn.compare(lambda trial: 1.0, url, max_trial=1),
        "sampler": lambda: adnn.search(make_objective(), url),
        "n": lambda: adnn.measure_variance(lambda seed: 1.0, url),  # type: ignore[arg-type]
        "file": lambda: adnn.compare_values(url),
        "data": lambda: adnn.load_dataset(url),
        "storage": lambda: adnn.resume(study._storage, url),
    }
    for what, call in wrong.items():
        with pytest.raises((ValueError, TypeError, FileNotFoundError)) as caught:
            call()
        assert_no_secret("".join(traceback.format_exception(caught.value)))
        assert ":***@127.0.0.1:1/db?password=***" in str(caught.value), what
    assert_no_secret(str(pickle.loads(pickle.dumps(caught.value))))


def test_a_wrong_password(postgresql: Server) -> None:
    wrong = postgresql.url.replace(":p%40ss", ":geheim")
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"postgres:\*\*\*@.*password authentication") as caught:
        open_storage(wrong)
    assert time.monotonic() - began < 5  # It is not waited for.
    assert_no_secret("".join(traceback.format_exception(caught.value)))
