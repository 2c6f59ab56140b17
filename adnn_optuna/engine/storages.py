"""Optuna storages by URL, for many workers, and patience with databases that are away."""

import contextlib
import random
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Select, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.selectable import ForUpdateArg

from adnn_optuna import _checks
from adnn_optuna._attributes import EVALUATED, PROPOSAL
from adnn_optuna._checks import NoSuchFileError, WrongValueError, logger
from adnn_optuna.callbacks import is_done

_ERRORS = (exc.SQLAlchemyError, StorageInternalError)

_P = ParamSpec("_P")
_T = TypeVar("_T")

# For how long a database that is locked or away is waited for, in seconds: a server is restarted
# in a minute. What is over in a moment is not worth a warning.
_PATIENCE = 300.0
_SECONDS_BEFORE_WARNING = 5.0
_SECONDS_BETWEEN_ATTEMPTS = 0.1

# How long SQLite itself waits for another process's transaction, in seconds. Not longer, because
# nothing interrupts it meanwhile.
_SQLITE_TIMEOUT = 5.0
# Its result codes for what passes by itself: SQLITE_BUSY, SQLITE_LOCKED, and SQLITE_CANTOPEN of a
# folder that is away.
_SQLITE_PASSING = (5, 6, 14)

# The options of a URL that Python's driver of SQLite takes; with ``uri``, SQLite takes others.
_SQLITE_OPTIONS = {"timeout", "detect_types", "isolation_level", "check_same_thread"}
_SQLITE_OPTIONS |= {"cached_statements"}

# What passes when a database is opened: only one of several workers that open a new one at the
# same moment can create its tables, and a server may be away or busy.
_PASSES_AT_OPENING = re.compile(
    "already exists|unique constraint|duplicate|is locked|deadlock|restarting transaction"
    "|connection refused|is the server running|starting up|shutting down|recovery mode"
    "|not yet accepting|closed the connection|terminating connection|connection (is|was) lost"
    "|lost connection|gone away|connection reset|broken pipe|unexpected eof|eof detected"
    "|timed out|timeout|no route to host|too many (clients|connections)|connection slots",
    re.IGNORECASE,
)
# What a server says that is there, though nothing answered at another address of its host.
_REFUSED_AT_OPENING = re.compile(
    "authentication failed|no password supplied|no pg_hba.conf entry|access denied"
    "|does not exist|unknown database",
    re.IGNORECASE,
)


class StorageError(RuntimeError):
    """A storage could not be read or written; what was stored before is kept."""


def open_storage(storage: str | BaseStorage | None, *, must_exist: bool = False) -> BaseStorage:
    """Return the Optuna storage behind a URL, with heartbeats, and write-ahead logging in SQLite.

    Args:
        storage: A database URL, a storage, or :obj:`None` for one in memory.
        must_exist: Whether to refuse an SQLite file without studies, instead of creating it.

    Raises:
        ValueError: If the URL is not one, or what it names cannot be opened as a database.
        StorageError: If it was locked, or its server away, for five minutes.
    """
    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        _let_lock(storage)
        return storage
    wanted = "a database URL such as 'sqlite:///name.db', an Optuna storage or None"
    _checks.check_type("storage", storage, str, wanted)
    try:
        url = make_url(storage)
    # A port that is no number raises a bare ValueError.
    except (exc.ArgumentError, ValueError):
        raise WrongValueError(
            f"The storage {_checks.masked(storage)!r} is not a database URL; for a file write "
            "'sqlite:///name.db'."
        ) from None
    if "@" in (url.host or ""):
        raise WrongValueError(
            f"The storage {_checks.masked(storage)!r} has an @ in its password or user name; "
            "write it as %40."
        )
    if url.drivername == "postgresql+psycopg":
        _checks.check_installed("psycopg", "PostgreSQL")
    is_sqlite = url.get_backend_name() == "sqlite"
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        _check_options(url, storage)
    if is_sqlite and must_exist:
        _check_holds_studies(url, f"storage {_checks.masked(storage)!r}")
    try:
        return _repeated(lambda: _open(storage, is_sqlite=is_sqlite), _passes_at_opening, storage)
    # Optuna refuses databases of other versions.
    except (*_ERRORS, AssertionError, ImportError, RuntimeError, ValueError, LookupError) as error:
        refusal = StorageError if _passes_at_opening(error) else WrongValueError
        mend = (
            "that the folder exists and can be written to, and that the file is an Optuna database"
            if is_sqlite
            else "the URL, that its server answers, and that its driver is installed"
        )
        # Without the cause, which may tell a password.
        raise refusal(
            f"The storage {_checks.masked(storage)!r} cannot be opened "
            f"({_checks.masked(storage, _reason(error))}); check {mend}."
        ) from None


def _open(url: str, *, is_sqlite: bool) -> BaseStorage:
    if is_in_memory(url):  # Of SQLite, each thread would have one of its own.
        return InMemoryStorage()
    url = url.replace("{", "{{").replace("}", "}}")  # Optuna formats it.
    storage = RDBStorage(
        url,
        # They hold for a copy in another process, too.
        engine_kwargs={
            "connect_args": {"timeout": _SQLITE_TIMEOUT},
            "pool_events": [(_configure_sqlite, "connect")],
        }
        if is_sqlite
        else {"pool_pre_ping": True},
        heartbeat_stale_trial_callback=enqueue_again,
    )
    # In seconds. As attributes, because the arguments warn that they are experimental.
    storage.heartbeat_interval, storage.grace_period = 30, 120
    _let_lock(storage)
    return storage


def _configure_sqlite(connection: DBAPIConnection, _: Any) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        # A transaction costs a third of the time, and survives the death of the process.
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise  # What can only be read is read as it is.
        cursor.execute("PRAGMA synchronous = NORMAL")


def _let_lock(storage: BaseStorage) -> None:
    """Let a storage lock SQLite; a copy in another process has forgotten it."""
    backend: Any = getattr(storage, "_backend", storage)
    if isinstance(backend, RDBStorage) and backend.engine.name == "sqlite":
        event = backend.scoped_session, "do_orm_execute", _lock_for_update
        if not sqlalchemy.event.contains(*event):
            sqlalchemy.event.listen(*event)


def _lock_for_update(state: ORMExecuteState) -> None:
    """Lock SQLite for SELECT … FOR UPDATE, which it ignores, so that one takes a waiting trial.

    With write-ahead logging, an exclusive transaction still lets others read.
    """
    parts = state.statement.get_children() if isinstance(state.statement, Select) else ()
    if any(isinstance(part, ForUpdateArg) for part in parts):
        connection = state.session.connection()
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")


def has_parameters(trial: FrozenTrial) -> bool:
    """Return whether a trial has parameters, or was enqueued with some."""
    return bool(trial.params) or "fixed_params" in trial.system_attrs


def enqueue_again(study: Study, trial: FrozenTrial, *, is_interrupt: bool = False) -> None:
    """Enqueue a trial once more whose worker died or, as often as that comes, was interrupted.

    But not what a sampler of ours proposes again.
    """
    attrs = trial.system_attrs
    is_proposed_again = (attrs.get(PROPOSAL) or {}).get("index") is not None
    # A training that kills its worker, by taking all memory, is not to kill all others, too.
    is_retry = "failed_trial" in attrs and not is_interrupt
    is_evaluation = EVALUATED in study.user_attrs
    is_needless = is_proposed_again or is_retry or is_evaluation or is_done(trial)
    if is_needless or not has_parameters(trial):
        return
    # As Optuna's own callback notes it.
    history = [*attrs.get("retry_history", ()), trial.number]
    attrs = {"failed_trial": trial.number, **attrs, "retry_history": history}
    again = optuna.create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={k: v for k, v in trial.user_attrs.items() if not k.startswith("adnn:")},
        system_attrs={k: v for k, v in attrs.items() if not k.startswith("adnn:")},
    )
    study.add_trial(again)


def is_retried_twice(trials: Sequence[FrozenTrial], number: int) -> bool:
    """Return whether a retry is one too many: several workers may have found the same one dead."""
    # That of a trial that was copied from another study may lie behind it.
    history = trials[number].system_attrs.get("retry_history") or [number]
    if not (before := trials[history[-1] : number]):
        return False
    return is_done(before[0]) or any(
        t.system_attrs.get("retry_history") == history for t in before[1:]
    )


def patiently(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function, and again for up to five minutes where the database is locked or away.

    If the fault stays, it is a :class:`StorageError`. What is called again may have done a part of
    its work: an ``ask`` leaves a running trial, and a ``tell`` may find that it had told.
    """
    try:
        return _repeated(lambda: function(*args, **kwargs), _passes)
    except _ERRORS as error:
        if not _is_fault(error):
            raise
        raise StorageError(
            f"The storage failed ({_reason(error)}); all that it stored before is kept: mend it, "
            "then resume the study."
        ) from error


@contextlib.contextmanager
def kept(study: Study) -> Iterator[Callable[[], None]]:
    """Say at the end, or by what is yielded, that a study was deleted meanwhile, or its file.

    A process that has an SQLite file open writes to it for as long as it likes, but nobody can
    read that any more.
    """
    storage, name, file = study._storage, study.study_name, _file_of(study._storage)
    before = file and _identity(file)

    def check() -> None:
        if file is not None and _identity(file) != before:
            raise StorageError(
                f"The file {str(file)!r} of the study {name!r} was deleted or replaced while it "
                "was in use, and its trials are gone with it; run the study again."
            ) from None

    try:
        yield check
    except (Exception, KeyboardInterrupt) as error:
        check()
        with contextlib.suppress(*_ERRORS):
            try:
                storage.get_study_user_attrs(study._study_id)
            except KeyError:
                raise StorageError(
                    f"The study {name!r} was deleted while it was run, and its trials are gone "
                    "with it; run it again."
                ) from error
        raise
    check()


def _file_of(storage: BaseStorage) -> Path | None:
    url = storage_url(storage)
    is_file_url = url is not None and make_url(url).get_backend_name() == "sqlite"
    path = Path((make_url(url).database if url is not None and is_file_url else None) or "")
    return path if _checks.is_file(path) else None


def _identity(file: Path) -> tuple[int, int] | None:
    with contextlib.suppress(FileNotFoundError):
        return (found := file.stat()).st_dev, found.st_ino
    return None


def _repeated(call: Callable[[], _T], passes: Callable[[Exception], bool], url: str = "") -> _T:
    """Call again while it raises what passes, as long as the patience lasts.

    Warnings have the passwords of ``url`` hidden.
    """
    began, has_warned = time.monotonic(), False
    while True:
        try:
            return call()
        except (*_ERRORS, AssertionError) as error:
            waited = time.monotonic() - began
            if waited >= _PATIENCE or not passes(error):
                raise
            # That others create tables at the same moment is no fault.
            if waited >= _SECONDS_BEFORE_WARNING and not has_warned and _is_fault(error):
                has_warned = True
                said = "The storage does not answer (%s); trying again for %g s."
                logger.warning(said, _checks.masked(url, _reason(error)), _PATIENCE)
        time.sleep(_SECONDS_BETWEEN_ATTEMPTS * random.uniform(0.5, 1.5))  # noqa: S311


def _causes(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Return SQLAlchemy's error, which Optuna's hides, and the driver's, if there is one."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return cause, getattr(cause, "orig", None)


def _reason(error: BaseException) -> str:
    cause, driver_error = _causes(error)
    return _checks.first_line(driver_error or cause)


def _is_fault(error: BaseException) -> bool:
    """Return whether the database failed, not the request."""
    cause, driver_error = _causes(error)
    # SQLite reports a corrupt file as a DatabaseError, which is the class of all others, too.
    if type(driver_error) is sqlite3.DatabaseError:
        return True
    # Optuna tries a query that failed in another form, which a broken connection answers so.
    return isinstance(cause, exc.OperationalError | exc.InterfaceError | exc.PendingRollbackError)


def _passes(error: BaseException) -> bool:
    _, driver_error = _causes(error)
    if isinstance(driver_error, sqlite3.Error):
        # The lower byte is the code, the others say more about it.
        return (getattr(driver_error, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_PASSING
    return _is_fault(error)


def _passes_at_opening(error: BaseException) -> bool:
    said = str(_causes(error)[1])
    passes = _PASSES_AT_OPENING.search(said) and not _REFUSED_AT_OPENING.search(said)
    # Optuna asserts that the version was written, which may be another worker's next step.
    return bool(passes) or isinstance(error, AssertionError)


def _check_options(url: URL, storage: str) -> None:
    """Refuse a file with a ? in its name, which would be another one's with options."""
    name = storage.partition(":///")[2]
    options = name.partition("?")[2].split("&") if "?" in name else []
    if len(options) != len(url.query) or not (
        "uri" in url.query or url.query.keys() <= _SQLITE_OPTIONS
    ):
        quoted = quote(name)
        # Not every SQLAlchemy knows the first one.
        spellings = (f"sqlite:///{quoted}", f"sqlite:///file:{quoted}?uri=true")
        known = next(s for s in spellings if make_url(s).database in (name, f"file:{quoted}"))
        raise WrongValueError(
            f"The storage {_checks.masked(storage)!r} has a ? that begins no options of SQLite; "
            f"of a file of this name write {_checks.masked(storage, known)!r}."
        )


def _check_holds_studies(url: URL, named: str) -> None:
    """Refuse an SQLite file without studies before SQLAlchemy creates it or its tables."""
    if is_in_memory(url):
        raise WrongValueError(
            f"The {named} is in memory and holds no studies; name a file, as in "
            "'sqlite:///name.db'."
        )
    if "uri" in url.query:  # Its path is one of SQLite's own URIs.
        return
    path = Path(url.database or "")
    if not _checks.is_file(path):
        raise NoSuchFileError(f"There is no file {str(path)!r} for the {named}; check its path.")
    # A file that SQLite cannot read is refused, with the reason, when it is opened.
    with contextlib.suppress(exc.SQLAlchemyError):
        engine = sqlalchemy.create_engine(url, poolclass=NullPool)
        if not sqlalchemy.inspect(engine).has_table("studies"):
            raise WrongValueError(
                f"The file {str(path)!r} of the {named} holds no Optuna studies; check its path."
            )


def is_in_memory(url: str | URL) -> bool:
    """Return whether a database URL names SQLite's database in memory, which ends with us."""
    parsed = make_url(url)
    is_named = parsed.host or parsed.database not in (None, "", ":memory:")
    return parsed.get_backend_name() == "sqlite" and not is_named


def storage_url(storage: BaseStorage) -> str | None:
    """Return the masked URL of a storage, :obj:`None` if it has none."""
    backend: Any = getattr(storage, "_backend", storage)
    return _checks.masked(backend.url) if isinstance(backend, RDBStorage) else None
