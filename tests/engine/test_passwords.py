"""Texts, files and errors show only scheme, host, port and database of a storage's URL."""

from __future__ import annotations

import json
import logging
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
from adnn_optuna.engine import repeating, studies
from adnn_optuna.engine.repeating import StorageError
from adnn_optuna.engine.storages import open_storage, storage_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postgresql import Server

# The password itself, and its escaped form in URLs.
SECRETS = (PASSWORD, "p%40ss", "p@ss", "geheim")
UNREACHABLE = "postgresql+psycopg://user:geheim@127.0.0.1:1/db"


def assert_no_secret(text: str) -> None:
    assert not [secret for secret in SECRETS if secret in text]


@pytest.fixture
def run_adnn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a command with tracebacks and returns its exit code and
    output.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADNN_DEBUG", "1")

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = cli.run(arguments)
        text = "".join(capsys.readouterr())
        assert_no_secret(text)
        return code, text

    return run


def test_no_password_is_stored_logged_or_raised_by_a_search(
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
    assert "***@127.0.0.1" in logs.text
    assert_no_secret(logs.text)
    assert_no_secret(str(result) + repr(result) + repr(result.study._storage))
    study = result.study
    attrs = [study.user_attrs, study._storage.get_study_system_attrs(study._study_id)]
    for trial in study.trials:
        attrs += [trial.user_attrs, trial.system_attrs]
    assert_no_secret(json.dumps(attrs))
    with pytest.raises(ValueError, match=r"Study 'none' not found in .*\*\*\*") as caught:
        adnn.resume(postgresql.url, "none")
    assert_no_secret("".join(traceback.format_exception(caught.value)))


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait for servers that do not answer."""
    monkeypatch.setattr(repeating, "_PATIENCE", 0.2)
    monkeypatch.setattr(repeating, "_SECONDS_BEFORE_WARNING", 0.0)


@pytest.mark.usefixtures("impatience")
def test_no_password_is_shown_of_a_server_that_does_not_answer(
    run_adnn: Callable[..., tuple[int, str]], logs: pytest.LogCaptureFixture
) -> None:
    for call in (
        lambda: open_storage(UNREACHABLE),
        lambda: adnn.resume(UNREACHABLE, "s"),
        lambda: adnn.search(make_objective(), "greedy", storage=UNREACHABLE),
    ):
        with pytest.raises(StorageError, match=r"'postgresql\+psycopg://\*\*\*@") as caught:
            call()
        # The text includes the causes of the error.
        assert_no_secret("".join(traceback.format_exception(caught.value)))
    code, text = run_adnn("resume", "--study-name=s", "--storage", UNREACHABLE)
    assert code == output.FAILED
    assert "Traceback" in text
    assert "The storage does not answer" in logs.text
    assert_no_secret(logs.text)


SERVER = "postgresql+psycopg://127.0.0.1:1/db"
HOSTILE = [
    # The user part of the URL, plain and with characters that must be escaped.
    "postgresql+psycopg://mallory@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:geheim@127.0.0.1:1/db",
    "postgresql+psycopg://:geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:geheim%40x@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:x@geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:geheim@x@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:ge/heim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:12/34geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:?geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:a?b=geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:#geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:&a=geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:[geheim]@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:x geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:x'geheim@127.0.0.1:1/db",
    'postgresql+psycopg://mallory:x"geheim@127.0.0.1:1/db',
    "postgresql+psycopg://mallory:x\\geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mallory:x://geheim@127.0.0.1:1/db",
    "postgresql+psycopg://geheim@127.0.0.1:1/db",
    "postgresql+psycopg://mal@lory:geheim@127.0.0.1:1/db",
    # Options that contain secrets, under any name.
    *(
        f"{SERVER}?{name}=geheim"
        for name in (
            "password",
            "PassWord",
            "user",
            "key",
            "private_key",
            "api_key",
            "credential",
            "auth",
            "token",
            "passfile",
            "service",
            "sslpassword",
            "sslkey",
            "application_name",
            "nobody_knows_it",
        )
    ),
    f"{SERVER}?options=-c password=geheim",
    f"{SERVER}?options=-c%20password%3Dgeheim",
    f"{SERVER}?geheim",
    f"{SERVER}?=geheim",
    f"{SERVER}?connect_timeout=geheim",
    f"{SERVER}?connect_timeout=1&password=x@geheim",
    f"{SERVER}?connect_timeout=1;password=geheim",
    f"{SERVER}?a?password=geheim",
    f"{SERVER}&password=geheim",
    f"{SERVER};password=geheim",
    f"{SERVER} password=geheim",
    # The secret is in another part of the URL.
    "postgresql+psycopg://127.0.0.1:geheim/db",
    "postgresql+psycopg://127.0.0.1:geheim",
    "postgresql+psycopg:///mallory:geheim@127.0.0.1/db",
    "postgresql+psycopg:/mallory:geheim@127.0.0.1/db",
    "postgresql+psycopg//mallory:geheim@127.0.0.1/db",
    "postgresql+psycopg:mallory:geheim@127.0.0.1/db",
    "postgre sql://mallory:geheim@127.0.0.1/db",
    "mallory:geheim@postgresql://127.0.0.1/db",
    "mallory:geheim@127.0.0.1/db",
    "host=127.0.0.1 port=1 user=mallory password=geheim dbname=db",
    "host = 127.0.0.1 password = 'ge heim' user='mallory'",
    "user=mallory password=geheim",
    "service=geheim",
    "Driver={x};Server=127.0.0.1;UID=mallory;PWD=geheim",
    # Other databases, including one without an installed driver.
    "mysql+pymysql://mallory:geheim@127.0.0.1:1/db?ssl_key=geheim",
    "mssql+pyodbc:///?odbc_connect=PWD%3Dgeheim",
    "oracle://mallory:geheim@127.0.0.1:1/?service_name=geheim",
    "sqlite+pysqlcipher://:geheim@/no.db?cipher=aes-256-cfb",
    "sqlite:///no/such.db?key=geheim",
    "sqlite:///no/such.db?timeout=geheim",
    "sqlite:///no/such.db&key=geheim",
    "sqlite:///file:no/such.db?uri=true&mode=ro&key=geheim",
    "redis://:geheim@127.0.0.1:1/0",
]


@pytest.mark.parametrize(
    "url", [*HOSTILE[::4], *(pytest.param(url, marks=pytest.mark.slow) for url in HOSTILE)]
)
@pytest.mark.usefixtures("impatience")
@pytest.mark.filterwarnings("ignore")
def test_no_password_of_a_hostile_url_is_shown_anywhere(
    url: str,
    run_adnn: Callable[..., tuple[int, str]],
    logs: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeating, "_PATIENCE", 0.0)
    objective, storage = make_objective(), optuna.storages.InMemoryStorage()

    def quadratic(trial: optuna.Trial, seed: int = 0) -> float:
        return trial.suggest_float("x", -1, 1) ** 2 + seed

    calls: list[Callable[[], object]] = [
        lambda: open_storage(url),
        lambda: open_storage(url, must_exist=True),
        lambda: adnn.search(objective, "greedy", storage=url, max_trial=1),
        lambda: adnn.resume(url, "s"),
        lambda: adnn.compare(quadratic, storage=url, max_trial=1, seeds=2),
        lambda: adnn.recheck((url, "s"), quadratic),
        lambda: adnn.measure_variance(float, storage=url),
        # Another argument contains the URL.
        lambda: adnn.resume(storage, url),
        lambda: adnn.recheck(url, quadratic),  # type: ignore[arg-type]
        lambda: adnn.search(objective, url),
        lambda: adnn.load_dataset(url),
        lambda: adnn.compare_values(url),
    ]
    texts = [masked(url)]
    for call in calls:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it says nothing
            call()
        assert isinstance(
            caught.value, ValueError | TypeError | OSError | ImportError | StorageError
        )
        texts += [str(caught.value), *traceback.format_exception_only(caught.value)]
        cause = caught.value.__cause__
        texts += [] if cause is None else traceback.format_exception_only(cause)
    for arguments in (
        ("resume", "--study-name=s", f"--storage={url}"),
        ("search", "--max-trial=1", "--storage", url),
        ("report", "--study-name", "s", "--storage", url),
        ("recheck", url, "s"),
        ("plan", url, "s", "--gain=0.01"),
        ("search", url),
        ("resume", "--max-trial", url, "--study-name=s"),
    ):
        code, printed = run_adnn(*arguments)
        assert code in (output.WRONG_INPUT, output.FAILED), printed
        texts.append(printed)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupt)
    for arguments in (("resume", f"--storage={url}"), ("resume", "--storage", url), ("plan", url)):
        texts.append(run_adnn(*arguments)[1])
    for text in (*texts, logs.text):
        assert not [secret for secret in ("geheim", "heim", "mallory") if secret in text], text
    if url.startswith(SERVER) and "@" not in url:
        assert all(text.count("postgresql+psycopg://127.0.0.1:1/") for text in texts[:8]), texts[
            :8
        ]


def test_only_public_parts_of_a_url_are_shown() -> None:
    for url, expected in {
        "postgresql+psycopg://u:p@db.example.org:5432/adnn-1?sslmode=require": (
            "postgresql+psycopg://***@db.example.org:5432/adnn-1?***"
        ),
        "postgresql+psycopg://u:ge/heim@127.0.0.1:x/db": "postgresql+psycopg://***@127.0.0.1:***/db",
        "mssql+pyodbc:///?odbc_connect=PWD%3Dgeheim": "mssql+pyodbc:///?***",
        "postgresql://[::1]:5432/adnn": "postgresql://[::1]:5432/adnn",
        "mysql://host/db": "mysql://host/db",
        "sqlite:///relative/my studies.db": "sqlite:///relative/my studies.db",
        "sqlite:////home/me@work/a:b.db": "sqlite:////home/me@work/a:b.db",
        "sqlite:///C:\\Users\\me\\adnn.db": "sqlite:///C:\\Users\\me\\adnn.db",
        "adnn.db": "adnn.db",
    }.items():
        assert masked(url) == expected
        assert masked(expected) == expected
        assert without_passwords(f"See {url!r}.") == f"See {expected!r}."


@pytest.mark.parametrize(
    ("is_object", "commands"), [(False, ("resume", "report", "contract")), (True, ())]
)
def test_a_secret_option_of_a_search_is_not_shown(
    tmp_path: Path,
    run_adnn: Callable[..., tuple[int, str]],
    logs: pytest.LogCaptureFixture,
    commands: tuple[str, ...],
    *,
    is_object: bool,
) -> None:
    path = tmp_path / "studies.db"
    url = f"sqlite:///file:{path}?uri=true&key=geheim"
    storage: Any = optuna.storages.RDBStorage(url) if is_object else url
    with logs.at_level(logging.INFO):
        result = adnn.search(
            make_objective(), "greedy", storage=storage, study_name="s", max_trial=2
        )
        texts = [str(result), repr(result), result._repr_html_(), str(vars(result))]
        with pytest.raises(
            ValueError, match=r"Study 'none' not found in sqlite:///file:.*\?\*\*\*"
        ):
            adnn.resume(storage, "none")
    hint = studies.resume_hint(result.study)
    assert f"resume('sqlite:///file:{path}?***', 's')" in hint
    result.report(tmp_path / "report.html")
    result.contract().save(tmp_path / "s.contract.json")
    attrs = result.study._storage.get_study_user_attrs(result.study._study_id)
    for text in (*texts, hint, logs.text, json.dumps([attrs, *map(str, result.study.trials)])):
        assert_no_secret(text)
    for written in (tmp_path / name for name in ("report.html", "s.contract.json")):
        assert_no_secret(written.read_text())
    for command in commands:
        for option in ((), ("--json",)):
            assert run_adnn(command, "--study-name=s", "--storage", url, *option)[0] == 0


@pytest.mark.parametrize("character", string.punctuation)
@pytest.mark.usefixtures("impatience")
def test_any_character_in_any_part_is_masked(
    character: str, logs: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeating, "_PATIENCE", 0.0)
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
        assert "user" not in str(caught.value)
        text = "".join(traceback.format_exception(caught.value)) + masked(url) + logs.text
        text = text[text.index(type(caught.value).__name__) :]
        assert not [part for part in ("geheim", "geh", "eim") if part in text], url


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text", ["a" * 10**5, f"ab://x?{'&pass' * 10**4}", f"a:/{'?pwd' * 10**4}"]
)
def test_a_long_text_is_masked_quickly(text: str) -> None:
    sentence = f"{text} ab://u:geheim@h"
    assert without_passwords(sentence).endswith(" ab://***@h")


def test_braces_in_a_url_are_not_formatted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/{{0}}{{SCHEMA_VERSION}}.db"
    assert storage_url(open_storage(url)) == url
    assert (tmp_path / "{0}{SCHEMA_VERSION}.db").is_file()


def test_a_wrong_password_is_refused_at_once(postgresql: Server) -> None:
    wrong = postgresql.url.replace(":p%40ss", ":geheim")
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"//\*\*\*@.*password authentication") as caught:
        open_storage(wrong)
    assert time.monotonic() - began < 5  # After a wrong password, the call does not wait.
    assert_no_secret("".join(traceback.format_exception(caught.value)))
