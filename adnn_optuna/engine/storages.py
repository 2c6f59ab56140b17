"""Open Optuna storages by URL for many workers, and open the studies in storages."""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna import _checks
from adnn_optuna._attributes import COMPARISON, EVALUATED, Attributes, Json, read_study
from adnn_optuna._checks import NoSuchFileError, WrongInputError, WrongValueError, load
from adnn_optuna.engine.repeating import (
    StorageError,
    causes,
    reason,
    repeated,
    repeating,
    sqlite_code,
)
from adnn_optuna.samplers._trials import check_direction, check_one_objective, is_done

# Importing SQLAlchemy takes longer than importing Optuna, and help texts do not need it.
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import DBAPIConnection

# The seconds that SQLite itself waits for another process's transaction. The wait is short,
# because nothing can interrupt it.
_SQLITE_TIMEOUT = 5.0
_SQLITE_FAILED = (10, 13)  # SQLITE_IOERR, and SQLITE_FULL for a full disk.
_SQLITE_DAMAGED = (11, 26)  # SQLITE_CORRUPT and SQLITE_NOTADB.

# Errors on opening a database that do not disappear with time.
_REFUSED_AT_OPENING = re.compile(
    "authentication failed|no password|pg_hba|access denied|permission denied|does not exist"
    "|unknown database|name or service not known|resol|unable to open|readonly|disk|invalid"
    "|no such (access|cache) mode|no such vfs",
    re.IGNORECASE,
)

# The URL arguments that Python's SQLite driver accepts. The driver ignores all others.
_SQLITE_ARGUMENTS = (
    "cached_statements",
    "check_same_thread",
    "detect_types",
    "isolation_level",
    "timeout",
    "uri",
)

_quiet = threading.Lock()  # A thread holds this lock while it changes Optuna's log level.
_MAX_NAME_LENGTH = 512  # The width of Optuna's database column.

AnyStorage = str | BaseStorage
"""The URL of a database, the path of an SQLite file, or an Optuna storage."""
AnyStudy = Study | tuple[AnyStorage, str]
"""A study, or its storage and its name."""


def open_storage(storage: AnyStorage | None, *, must_exist: bool = False) -> BaseStorage:
    """Return the Optuna storage at a URL, with heartbeats and, for SQLite, write-ahead log.

    :obj:`None` opens a storage in memory. With ``must_exist``, a missing SQLite file is an error.
    """
    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        return repeating(storage)
    _checks.check_type(
        "storage",
        storage,
        str,
        "a URL or path of a database as a string, an Optuna storage or None",
    )
    shown_url = _checks.masked(storage)
    is_path = shown_url == storage and "://" not in storage
    if is_path and (_checks.is_file(storage) or storage.endswith(".db")):
        shown_url = storage = f"sqlite:///{storage}"
    sqlalchemy = load("sqlalchemy")
    url: URL | None = None
    # For a port that is not a number, the error has no explanation.
    with contextlib.suppress(sqlalchemy.exc.ArgumentError, ValueError):
        url = sqlalchemy.make_url(storage)
    if url is None or "@" in (url.host or ""):
        raise WrongValueError(
            "storage must be a database URL, or an SQLite file that exists or ends in .db; got "
            f"{shown_url!r}. Pass 'sqlite:///name.db', and %40 for an @ in a password."
        )
    is_sqlite = url.get_backend_name() == "sqlite"
    is_named = url.host or url.database not in (None, "", ":memory:")
    if is_sqlite and not is_named:  # Each thread would have a separate database in memory.
        return InMemoryStorage()
    if url.drivername == "postgresql+psycopg":
        _checks.check_installed("psycopg", "PostgreSQL")
    try:
        if is_sqlite:
            _check_sqlite(url, shown_url, must_exist=must_exist)
        opened = repeated(lambda: _open(storage, is_sqlite=is_sqlite), _passes_at_opening, storage)
    except WrongInputError:
        raise
    except Exception as error:  # noqa: BLE001 - any error of Optuna, SQLAlchemy or drivers.
        _, driver_error = causes(error)
        has_failed = sqlite_code(driver_error) in _SQLITE_FAILED or _passes_at_opening(error)
        refusal = StorageError if has_failed else WrongValueError
        # The cause may contain a password, so it is omitted.
        raise refusal(
            f"The storage {shown_url!r} cannot be opened ({reason(error, storage)}); check that "
            "it is an Optuna database whose folder can be written to, or whose server answers."
        ) from None
    return repeating(opened)


def _check_sqlite(url: URL, shown: str, *, must_exist: bool) -> None:
    """Raise an error if SQLite ignores a URL's arguments, or if the file is not a database."""
    database = url.database or ""
    if "uri" in url.query:
        if not database.startswith("file:"):
            raise WrongValueError(
                f"The storage {shown!r} must have a path that begins with file: if it has the "
                "argument uri; got another one. Write 'sqlite:///file:name.db', or omit uri."
            )
        return
    if url.get_driver_name() == "pysqlite" and url.query.keys() - _SQLITE_ARGUMENTS:
        raise WrongValueError(
            f"The arguments of the storage {shown!r} must be among "
            f"{', '.join(_SQLITE_ARGUMENTS)}; got another one. Omit it, or, for SQLite's "
            "own, add uri=true and write 'sqlite:///file:name.db'."
        )
    file = shown.partition(":///")[2]
    if _checks.is_file(database):
        _check_file(url, file, must_have_studies=must_exist)
    elif must_exist:
        raise NoSuchFileError(
            f"File {file!r} not found for the storage {shown!r}. Check its path."
        )


def _check_file(url: URL, file: str, *, must_have_studies: bool) -> None:
    """Raise an error if a file is damaged, or if it must have studies and has no tables."""
    sqlalchemy = load("sqlalchemy")
    has_studies = False
    try:
        with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect() as connection:
            answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            fault = answer.split("\n")[-1]
            has_studies = sqlalchemy.inspect(connection).has_table("studies")
    except sqlalchemy.exc.DatabaseError as error:
        if sqlite_code(error.orig) not in _SQLITE_DAMAGED:
            return  # If a file is not readable, opening the storage raises the error.
        fault = reason(error)
    except UnicodeDecodeError as error:  # SQLite's message quotes damaged text.
        fault = str(error)
    if fault != "ok":
        raise WrongValueError(
            f"File {file!r} must be an undamaged SQLite database; got {fault!r}. Choose another "
            "storage, or restore a copy of it."
        )
    if must_have_studies and not has_studies:
        raise WrongValueError(f"The file {file!r} holds no Optuna studies; check its path.")


def _open(url: str, *, is_sqlite: bool) -> BaseStorage:
    options: Any = {"pool_pre_ping": True}
    if is_sqlite:  # A copy in another process has these options, too.
        options = {
            "connect_args": {"timeout": _SQLITE_TIMEOUT},
            "pool_events": [(_configure_sqlite, "connect")],
        }
    alembic = logging.getLogger("alembic")
    level = alembic.level
    try:
        storage = RDBStorage(
            url.replace("{", "{{").replace("}", "}}"),  # Optuna formats URLs.
            engine_kwargs=options,
            heartbeat_stale_trial_callback=enqueue_again,
        )
    finally:
        alembic.setLevel(level)  # Optuna changes this level for all users of alembic.
    # These seconds are set as attributes, because RDBStorage's arguments for them cause warnings
    # that they are experimental.
    storage.heartbeat_interval = 30
    storage.grace_period = 120
    return storage


def _configure_sqlite(connection: DBAPIConnection, _: Any) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        # With a write-ahead log, a transaction takes a third of the time, and survives if the
        # process dies. A read-only database keeps its mode.
        with contextlib.suppress(sqlite3.OperationalError):
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")


def enqueue_again(study: Study, trial: FrozenTrial) -> None:
    """If a trial without a result was enqueued, enqueue its parameters again."""
    attrs = trial.system_attrs
    if "fixed_params" not in attrs or is_done(trial):
        return
    stored_trials = study.get_trials(deepcopy=False)
    if repeats_retry(trial, stored_trials):
        return
    # Optuna's own callback uses the same format.
    history = [*attrs.get("retry_history", ()), trial.number]
    for later in stored_trials:
        has_history = later.system_attrs.get("retry_history") == history
        if has_history and later.number >= trial.number:
            return  # Another worker has already enqueued the trial again.
    attrs = {"failed_trial": trial.number, **attrs, "retry_history": history}
    again = optuna.create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=_of_others(trial.user_attrs),
        system_attrs=_of_others(attrs),
    )
    study.add_trial(again)


def _of_others(attrs: Attributes) -> Json:
    """Return the attributes that adnn did not store."""
    return {name: value for name, value in attrs.items() if not name.startswith("adnn:")}


def repeats_retry(trial: FrozenTrial, stored_trials: Iterable[FrozenTrial]) -> bool:
    """Return whether an earlier trial retries the same trial.

    Several workers may retry the same trial.
    """
    history = trial.system_attrs.get("retry_history")
    if not history:
        return False
    for stored_trial in stored_trials:
        # The history of a trial that was copied from another study may name later trials.
        is_between = history[-1] < stored_trial.number and stored_trial._trial_id < trial._trial_id
        if is_between and stored_trial.system_attrs.get("retry_history") == history:
            return True
    return False


def _passes_at_opening(error: BaseException) -> bool:
    exc: Any = load("sqlalchemy").exc
    cause, driver_error = causes(error)
    # If several workers open a new database at the same moment, only one worker can create its
    # tables. Optuna asserts that the version is stored, but another worker may be about to store
    # it.
    kinds = exc.OperationalError | exc.InterfaceError | exc.IntegrityError | exc.ProgrammingError
    is_refused = _REFUSED_AT_OPENING.search(str(driver_error))
    return isinstance(error, AssertionError) or (isinstance(cause, kinds) and not is_refused)


def storage_url(storage: BaseStorage) -> str | None:
    """Return the masked URL of a storage, or :obj:`None` without URL."""
    backend: Any = getattr(storage, "_backend", storage)
    if isinstance(backend, RDBStorage):
        return _checks.masked(backend.url)
    return None


def check_study_name(study_name: str) -> None:
    """Raise an error for a name that some storages cannot hold."""
    _checks.check_type("study_name", study_name, str, "a string")
    if "://" in study_name:
        raise WrongValueError(
            f"study_name must be a name; got the URL {study_name!r}. Pass a URL as storage."
        )
    # A lone surrogate, which is half a character, cannot be stored.
    is_whole = study_name == study_name.encode(errors="replace").decode()
    if not is_whole or not 0 < len(study_name) <= _MAX_NAME_LENGTH:
        raise WrongValueError(
            f"study_name must be text of 1 to {_MAX_NAME_LENGTH} whole characters; got "
            f"{study_name[:50]!a} ({len(study_name)} characters)."
        )


def created_study(
    storage: BaseStorage, name: str | None, direction: StudyDirection
) -> optuna.Study:
    """Create or load a study without Optuna's log line, because comparisons have many studies."""
    with _quiet:
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))
        try:
            return optuna.create_study(
                storage=storage, study_name=name, direction=direction, load_if_exists=True
            )
        finally:
            optuna.logging.set_verbosity(verbosity)


def load_study(storage: BaseStorage, study_name: str) -> Study:
    """Return a stored study. If the name is unknown, the error lists the available studies."""
    check_study_name(study_name)
    try:
        study = optuna.load_study(study_name=study_name, storage=storage)
    except KeyError:
        stored_names = optuna.get_all_study_names(storage)
        # Of a comparison, only the comparison itself is listed, not its studies.
        parts = tuple(f"{name}/" for name in stored_names)
        names = [repr(name) for name in stored_names if not name.startswith(parts)]
        listed = names
        if len(names) > 10:
            listed = [*names[:10], "…"]
        available = ", ".join(listed) or "none"
        where = storage_url(storage) or "the storage"
        raise WrongValueError(
            f"Study {study_name!r} not found in {where}. Available: {available}."
        ) from None
    check_one_objective(study)
    read_study(study)
    return study


def load_search(storage: BaseStorage, study_name: str) -> Study:
    """Return a stored search, a study that declares a comparison, or any study of a user."""
    study = load_study(storage, study_name)
    check_no_evaluations(study)
    return study


def check_no_evaluations(study: Study) -> None:
    """Raise an error for a study of evaluations, such as the study of a recheck."""
    if EVALUATED in study.user_attrs:
        raise WrongValueError(
            f"Study {study.study_name!r} must be a search or a comparison of samplers; got "
            "evaluations, such as of a recheck. Pass the study that they evaluate."
        )


class StudyRead(NamedTuple):
    """A study as it was at one read."""

    study: Study
    attrs: Attributes  # The study's user attributes.
    trials: Sequence[FrozenTrial]
    others: Mapping[str, Attributes] = {}

    @classmethod
    def of(cls, study: Study) -> Self:
        """Read a study. Raise an error if a stored attribute has a wrong type."""
        return cls(study, *read_study(study))

    @property
    def maximize(self) -> bool:
        """Whether higher values are better."""
        return self.study.direction == StudyDirection.MAXIMIZE


def opened_study(study: AnyStudy) -> StudyRead:
    """Read a study, passed as an object or as (storage, name), through a repeating storage."""
    if isinstance(study, tuple) and len(study) == 2:
        opened = load_search(open_storage(study[0], must_exist=True), study[1])
    else:
        _checks.check_type("study", study, Study, "an Optuna study, or its storage and its name")
        check_one_objective(study)
        storage = open_storage(study._storage)
        opened = optuna.load_study(study_name=study.study_name, storage=storage)
    if is_comparison(opened):
        raise WrongValueError(
            f"study must be a single study; got the comparison {opened.study_name!r}, whose best "
            "trials are evaluated on new seeds already. Pass one of its runs."
        )
    return StudyRead.of(opened)


def is_comparison(study: Study) -> bool:
    """Return whether a study declares a comparison."""
    return COMPARISON in study.user_attrs


def open_declared(
    storage: BaseStorage, name: str, direction: StudyDirection, attribute: str, what: Any
) -> Study:
    """Create or load a study. Declare its kind if it has neither a kind nor trials.

    A storage creates a study before it stores attributes. If a worker dies in between, the next
    worker that opens the study declares its kind.
    """
    study = created_study(storage, name, direction)
    is_new = is_undeclared(study)
    if is_new or attribute in study.user_attrs:  # The caller refuses other kinds.
        check_direction(study, direction)
    if is_new:
        study.set_user_attr(attribute, what)
    return study


def is_undeclared(study: Study) -> bool:
    """Return whether a study has neither trials nor a declared kind."""
    is_ours = any(name.startswith("adnn:") for name in study.user_attrs)
    return not is_ours and not study.get_trials(deepcopy=False)
