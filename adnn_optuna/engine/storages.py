"""Optuna storages by URL, for many workers, and patience with databases that are away."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna import _checks
from adnn_optuna._checks import NoSuchFileError, WrongValueError, load, logger
from adnn_optuna.samplers._trials import check_direction, is_done

# SQLAlchemy takes longer to import than Optuna, and no help needs it.
if TYPE_CHECKING:
    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import DBAPIConnection

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
_SQLITE_DAMAGED = (11, 26)  # SQLITE_CORRUPT and SQLITE_NOTADB.

# Errors on opening a database that waiting does not fix.
_REFUSED_AT_OPENING = re.compile(
    "authentication failed|no password|pg_hba|access denied|permission denied|does not exist"
    "|unknown database|name or service not known|resol|unable to open|readonly|disk|invalid",
    re.IGNORECASE,
)

# Servers quote users, among others.
_QUOTED = re.compile(r"""(["'])[^"'\s]+\1""")


_MAX_NAME_LENGTH = 512  # The width of Optuna's database column.


class StorageError(RuntimeError):
    """A storage could not be read or written; what was stored before is kept."""


def open_storage(storage: str | BaseStorage | None, *, must_exist: bool = False) -> BaseStorage:
    """Return the Optuna storage behind a URL, with heartbeats, and write-ahead logging in SQLite.

    :obj:`None` is one in memory. An SQLite file that ``must_exist`` is not created.
    """
    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        _let_lock(storage)
        return storage
    wanted = "a database URL such as 'sqlite:///name.db', an Optuna storage or None"
    _checks.check_type("storage", storage, str, wanted)
    shown = _checks.masked(storage)
    sqlalchemy = load("sqlalchemy")
    url: URL | None = None
    # A port that is no number raises a bare ValueError.
    with contextlib.suppress(sqlalchemy.exc.ArgumentError, ValueError):
        url = sqlalchemy.make_url(storage)
    if url is None or "@" in (url.host or ""):
        raise WrongValueError(
            f"The storage {shown!r} is not a database URL; for a file write 'sqlite:///name.db', "
            "for an @ in a password %40."
        )
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_in_memory(url):  # Each thread would have one of its own.
        return InMemoryStorage()
    if url.drivername == "postgresql+psycopg":
        _checks.check_installed("psycopg", "PostgreSQL")
    # With ``uri``, it is one of SQLite's own URIs.
    file = shown.partition(":///")[2]
    if is_sqlite and "uri" not in url.query:
        if _checks.is_file(url.database or ""):
            _check_file(url, file, must_have_studies=must_exist)
        elif must_exist:
            raise NoSuchFileError(
                f"File {file!r} not found for the storage {shown!r}. Check its path."
            )
    try:
        return _repeated(lambda: _open(storage, is_sqlite=is_sqlite), _passes_at_opening, storage)
    except Exception as error:  # noqa: BLE001 - Optuna, SQLAlchemy and drivers have any.
        refusal = StorageError if _passes_at_opening(error) else WrongValueError
        # Without the cause, which may tell a password.
        raise refusal(
            f"The storage {shown!r} cannot be opened ({_reason(error, storage)}); check that it "
            "is an Optuna database whose folder can be written to, or whose server answers."
        ) from None


def _check_file(url: URL, file: str, *, must_have_studies: bool) -> None:
    """Refuse an SQLite file that is damaged, or has no tables of Optuna, which would add them."""
    sqlalchemy, has_studies = load("sqlalchemy"), False
    try:
        with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar().split("\n")[-1]
            has_studies = sqlalchemy.inspect(connection).has_table("studies")
    except sqlalchemy.exc.DatabaseError as error:
        if _sqlite_code(error.orig) not in _SQLITE_DAMAGED:
            return  # What cannot be read now is refused when it is opened.
        found = _reason(error)
    except UnicodeDecodeError as error:  # The damage is in what SQLite quotes.
        found = str(error)
    if found != "ok":
        raise WrongValueError(
            f"File {file!r} must be an SQLite database; got a damaged one ({found}). Restore a "
            "copy of it, or choose another storage."
        )
    if must_have_studies and not has_studies:
        raise WrongValueError(f"The file {file!r} holds no Optuna studies; check its path.")


def _open(url: str, *, is_sqlite: bool) -> BaseStorage:
    options: dict[str, Any] = {"pool_pre_ping": True}
    if is_sqlite:  # They hold for a copy in another process, too.
        options = {
            "connect_args": {"timeout": _SQLITE_TIMEOUT},
            "pool_events": [(_configure_sqlite, "connect")],
        }
    alembic = logging.getLogger("alembic")
    level = alembic.level
    try:
        storage = RDBStorage(
            url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it.
            engine_kwargs=options,
            heartbeat_stale_trial_callback=enqueue_again,
        )
    finally:
        alembic.setLevel(level)  # Optuna sets it, also for migrations of other databases.
    # In seconds. As attributes, because the arguments warn that they are experimental.
    storage.heartbeat_interval, storage.grace_period = 30, 120
    _let_lock(storage)
    return storage


def _configure_sqlite(connection: DBAPIConnection, _: Any) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        # A transaction costs a third of the time, and survives the death of the process. What can
        # only be read is read as it is.
        with contextlib.suppress(sqlite3.OperationalError):
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")


def _let_lock(storage: BaseStorage) -> None:
    """Let a storage lock SQLite; a copy in another process has forgotten it."""
    backend: Any = getattr(storage, "_backend", storage)
    if isinstance(backend, RDBStorage) and backend.engine.name == "sqlite":
        event = backend.scoped_session, "do_orm_execute", _lock_for_update
        sqlalchemy = load("sqlalchemy")
        if not sqlalchemy.event.contains(*event):
            sqlalchemy.event.listen(*event)


def _lock_for_update(state: Any) -> None:
    """Lock SQLite for SELECT … FOR UPDATE, which it ignores, so that one takes a waiting trial.

    With write-ahead logging, an exclusive transaction still lets others read.
    """
    sqlalchemy = load("sqlalchemy")
    is_select = isinstance(state.statement, sqlalchemy.Select)
    parts = state.statement.get_children() if is_select else ()
    if any(isinstance(part, sqlalchemy.sql.selectable.ForUpdateArg) for part in parts):
        connection = state.session.connection()
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")


def enqueue_again(study: Study, trial: FrozenTrial, *, is_interrupt: bool = False) -> None:
    """Enqueue again what was enqueued, once if its worker died, or whenever it is interrupted."""
    attrs = trial.system_attrs
    # A training that kills its worker, by taking all memory, is not to kill all others, too.
    is_retry = "failed_trial" in attrs and not is_interrupt
    if "fixed_params" not in attrs or is_retry or is_done(trial):
        return
    # As Optuna's own callback notes it.
    history = [*attrs.get("retry_history", ()), trial.number]
    later = (t for t in study.get_trials(deepcopy=False) if t.number >= trial.number)
    if any(other.system_attrs.get("retry_history") == history for other in later):
        return  # Another worker found it dead before, and may have died.
    attrs = {"failed_trial": trial.number, **attrs, "retry_history": history}
    again = optuna.create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={k: v for k, v in trial.user_attrs.items() if not k.startswith("adnn:")},
        system_attrs={k: v for k, v in attrs.items() if not k.startswith("adnn:")},
    )
    study.add_trial(again)


def with_retry(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function, and again for up to five minutes if the database is locked or away.

    If the fault stays, it is a :class:`StorageError`. What is called again may have done a part of
    its work: an ``ask`` leaves a running trial, and a ``tell`` may find that it had told.
    """
    try:
        return _repeated(lambda: function(*args, **kwargs), _passes)
    except storage_errors() as error:
        if not _is_fault(error):
            raise
        raise StorageError(
            f"The storage failed ({_reason(error)}); all that it stored before is kept: mend it, "
            "then resume the study."
        ) from None  # The cause may name a user.


class PatientTrial(optuna.Trial):
    """A trial whose own calls are repeated while its storage is locked or away.

    So a function that suggests need not begin again.
    """

    def suggest_float(self, *args: Any, **options: Any) -> float:
        """Suggest a float."""
        return with_retry(super().suggest_float, *args, **options)

    def suggest_int(self, *args: Any, **options: Any) -> int:
        """Suggest an integer."""
        return with_retry(super().suggest_int, *args, **options)

    def suggest_categorical(self, *args: Any, **options: Any) -> Any:
        """Suggest a choice."""
        return with_retry(super().suggest_categorical, *args, **options)

    def report(self, value: float, step: int) -> None:
        """Report an intermediate value."""
        with_retry(super().report, value, step)

    def should_prune(self) -> bool:
        """Return whether the trial is to be pruned."""
        return with_retry(super().should_prune)

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store a user attribute."""
        with_retry(super().set_user_attr, key, value)

    def set_constraint(self, key: str, value: float) -> None:
        """Store the violation of a constraint."""
        with_retry(super().set_constraint, key, value)


def _repeated(call: Callable[[], _T], passes: Callable[[Exception], bool], url: str = "") -> _T:
    """Call again while it raises what passes, as long as the patience lasts.

    Warnings show nothing of ``url`` that is not shown otherwise.
    """
    began, has_warned = time.monotonic(), False
    while True:
        try:
            return call()
        except (*storage_errors(), AssertionError) as error:
            waited = time.monotonic() - began
            if waited >= _PATIENCE or not passes(error):
                raise
            # That others create tables at the same moment is no fault.
            if waited >= _SECONDS_BEFORE_WARNING and not has_warned and _is_fault(error):
                has_warned = True
                said = "The storage does not answer (%s); trying again for %g s."
                logger.warning(said, _reason(error, url), _PATIENCE)
        time.sleep(_SECONDS_BETWEEN_ATTEMPTS * random.uniform(0.5, 1.5))  # noqa: S311


def storage_errors() -> tuple[type[Exception], type[Exception]]:
    """Return Optuna's errors for a storage that fails or refuses a request."""
    return load("sqlalchemy").exc.SQLAlchemyError, StorageInternalError


def _causes(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Return SQLAlchemy's error, which Optuna's hides, and the driver's, if there is one."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return cause, getattr(cause, "orig", None)


def _reason(error: BaseException, url: str = "") -> str:
    """Return what a driver says, without anything of the URL that is not shown."""
    cause, driver_error = _causes(error)
    said = _checks.first_line(driver_error or cause)
    if driver_error is not None and not isinstance(driver_error, sqlite3.Error):
        said = _QUOTED.sub("***", said)
    return _checks.without_secrets(url, said)


def _is_fault(error: BaseException) -> bool:
    """Return whether the database failed, not the request."""
    exc: Any = load("sqlalchemy").exc
    cause, _ = _causes(error)
    # Optuna tries a query that failed in another form, which a broken connection answers by a
    # PendingRollbackError. SQLite reports a corrupt file by the class of all errors.
    kinds = exc.OperationalError | exc.InterfaceError | exc.PendingRollbackError
    return isinstance(cause, kinds) or type(cause) is exc.DatabaseError


def _sqlite_code(error: BaseException | None) -> int:
    """Return SQLite's result code: the lower byte, the others say more about it."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _passes(error: BaseException) -> bool:
    _, driver_error = _causes(error)
    if isinstance(driver_error, sqlite3.Error):
        return _sqlite_code(driver_error) in _SQLITE_PASSING
    return _is_fault(error)


def _passes_at_opening(error: BaseException) -> bool:
    exc: Any = load("sqlalchemy").exc
    cause, driver_error = _causes(error)
    # Only one of several workers that open a new database at the same moment can create its
    # tables, and Optuna asserts that the version was written, which may be another's next step.
    kinds = exc.OperationalError | exc.InterfaceError | exc.IntegrityError | exc.ProgrammingError
    is_refused = _REFUSED_AT_OPENING.search(str(driver_error))
    return isinstance(error, AssertionError) or (isinstance(cause, kinds) and not is_refused)


def is_in_memory(url: str | URL) -> bool:
    """Return whether a database URL names SQLite's database in memory, which ends with us."""
    parsed = load("sqlalchemy").make_url(url)
    is_named = parsed.host or parsed.database not in (None, "", ":memory:")
    return bool(parsed.get_backend_name() == "sqlite" and not is_named)


def storage_url(storage: BaseStorage) -> str | None:
    """Return the masked URL of a storage, :obj:`None` if it has none."""
    backend: Any = getattr(storage, "_backend", storage)
    return _checks.masked(backend.url) if isinstance(backend, RDBStorage) else None


def check_study_name(study_name: str) -> None:
    """Refuse a name that not every storage can hold."""
    _checks.check_type("study_name", study_name, str, "a string")
    if "://" in study_name:
        raise WrongValueError(
            f"study_name must be a name; got the URL {study_name!r}. Pass a URL as storage."
        )
    if not 0 < len(study_name) <= _MAX_NAME_LENGTH:
        raise WrongValueError(
            f"study_name must be text of 1 to {_MAX_NAME_LENGTH} characters; got "
            f"{study_name[:50]!a} ({len(study_name)} characters)."
        )


def open_declared(
    storage: BaseStorage, name: str, direction: StudyDirection, attribute: str, what: Any
) -> optuna.Study:
    """Create or load a study, and declare its kind unless that was done.

    No storage creates a study with its attributes. A worker may die between the two, and another
    one may begin there, so a study without a declaration is declared by the worker that opens it.
    """
    study = optuna.create_study(
        storage=storage, study_name=name, direction=direction, load_if_exists=True
    )
    is_new = is_undeclared(study)
    if is_new or attribute in study.user_attrs:  # Others are refused by what they are.
        check_direction(study, direction)
    if is_new:
        study.set_user_attr(attribute, what)
    return study


def is_undeclared(study: optuna.Study) -> bool:
    """Return whether a study has no trials, and nothing that says what it is."""
    is_ours = any(name.startswith("adnn:") for name in study.user_attrs)
    return not is_ours and not study.get_trials(deepcopy=False)
