"""A database of studies that many workers share, some of which die, and that may be away."""

from __future__ import annotations

import contextlib
import copy
import functools
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import optuna
import sqlalchemy
from optuna.distributions import check_distribution_compatibility, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)

from adnn_optuna._checks import first_line
from adnn_optuna.samplers._trial_rows import (
    PARAMETERS,
    SYSTEM_ATTRIBUTES,
    USER_ATTRIBUTES,
    attribute_row,
    insert_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna._typing import JSONSerializable
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy.engine.interfaces import DBAPIConnection

_logger = optuna.logging.get_logger("optuna.adnn_optuna")

# For how long a database that is locked or away is waited for, in seconds: a server is restarted
# in a minute.
_PATIENCE = 300.0

# How long SQLite itself waits for another process's transaction, in seconds. Not longer, because
# nothing interrupts it meanwhile.
_SQLITE_TIMEOUT = 5.0
_SECONDS_BETWEEN_ATTEMPTS = 0.1

# Signs of life of a running trial, and without how many of them it is taken for dead, in seconds.
_HEARTBEAT_INTERVAL = 30
_GRACE_PERIOD = 120

# Result codes of SQLite for what passes by itself: SQLITE_BUSY, SQLITE_LOCKED, and SQLITE_CANTOPEN
# of a folder that is away.
_SQLITE_PASSING = (5, 6, 14)


class StorageError(RuntimeError):
    """A storage could not be read or written; what was stored before is kept."""


class _Parameter(NamedTuple):
    """The arguments of ``RDBStorage._set_trial_param``."""

    trial_id: int
    name: str
    internal_value: float
    distribution: BaseDistribution
    previous_distribution: BaseDistribution | None


class _OfThread(threading.local):
    """What a thread that begins a trial does not need to read, or does not write yet.

    Attributes:
        begins_trial: Whether it begins one.
        created: The trial that it has just created.
        parameters: Those of the trial, if they are written all at once.
    """

    begins_trial: bool = False
    created: FrozenTrial | None = None
    parameters: list[_Parameter] | None = None


class Database(RDBStorage):
    """Optuna's database storage, for many workers.

    An operation waits while the database is locked by another process or its server is away. An
    error that does not pass is one sentence. Trials have heartbeats, so that those of dead
    workers are noticed. A state changes in one transaction also on SQLite, so that no two workers
    take the same trial from the queue. And SQLite files get write-ahead logging with
    ``synchronous = NORMAL``: a transaction then costs a third of the time, and what is committed
    survives the death of the process.

    Args:
        url:
            The database's URL.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: If it cannot be opened.
        ImportError: If there is no driver for it.
        RuntimeError: If it was made by another version of Optuna.
    """

    def __init__(self, url: str) -> None:
        is_sqlite = sqlalchemy.engine.make_url(url).get_backend_name() == "sqlite"
        super().__init__(
            url,
            engine_kwargs={"connect_args": {"timeout": _SQLITE_TIMEOUT}}
            if is_sqlite
            else {"pool_pre_ping": True},
        )
        # As attributes, because the arguments warn that they are experimental.
        self.heartbeat_interval = _HEARTBEAT_INTERVAL
        self.grace_period = _GRACE_PERIOD
        self._configure()

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        del state["_of_thread"]
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._configure()

    def _configure(self) -> None:
        self._of_thread = _OfThread()
        if self._is_sqlite:
            sqlalchemy.event.listen(self.engine, "connect", _configure_sqlite)
            # Connections made before the listener was there.
            self.engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        trial = super()._create_new_trial(study_id, template_trial)
        if self._of_thread.begins_trial:
            self._of_thread.created = copy.deepcopy(trial)
        return trial

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; one that this thread begins and has just created is not read back."""
        created = self._of_thread.created
        if created is not None and created._trial_id == trial_id:
            return created
        return super().get_trial(trial_id)

    def forget_created(self) -> None:
        """Read from now on what was created: it may change."""
        self._of_thread.created = None

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a trial."""
        if not insert_rows(self, USER_ATTRIBUTES, trial_id, [attribute_row(key, value)]):
            super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: JSONSerializable) -> None:
        """Set a system attribute of a trial."""
        if not insert_rows(self, SYSTEM_ATTRIBUTES, trial_id, [attribute_row(key, value)]):
            super().set_trial_system_attr(trial_id, key, value)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Change a trial's state, which one of several workers succeeds in."""
        if self._is_sqlite:
            # SQLite has no SELECT … FOR UPDATE, with which other databases lock the trial.
            session = self.scoped_session()
            try:
                session.execute(sqlalchemy.text("BEGIN IMMEDIATE"))
            except SQLAlchemyError:
                session.close()
                raise
        return super().set_trial_state_values(trial_id, state, values)

    @contextlib.contextmanager
    def begins_trial(self, *, writes_at_once: bool) -> Iterator[None]:
        """Read and write less while this thread begins a trial.

        Args:
            writes_at_once: Whether its parameters are all written in one transaction, at the end.
                Meanwhile they cannot be read.
        """
        thread = self._of_thread
        parameters: list[_Parameter] = []
        thread.begins_trial = True
        thread.parameters = parameters if writes_at_once else None
        try:
            yield
        finally:
            thread.begins_trial, thread.created, thread.parameters = False, None, None
        if parameters:
            self._write_parameters(parameters)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        parameter = _Parameter(
            trial_id, param_name, param_value_internal, distribution, previous_distribution
        )
        # Without a previous distribution, that of the study's first such parameter is to be read.
        if self._of_thread.parameters is None or previous_distribution is None:
            super()._set_trial_param(*parameter)
        else:
            check_distribution_compatibility(previous_distribution, distribution)
            self._of_thread.parameters.append(parameter)

    def _write_parameters(self, parameters: Sequence[_Parameter]) -> None:
        rows = [
            {
                "param_name": parameter.name,
                "param_value": parameter.internal_value,
                "distribution_json": distribution_to_json(parameter.distribution),
            }
            for parameter in parameters
        ]
        if not insert_rows(self, PARAMETERS, parameters[0].trial_id, rows):
            for parameter in parameters:
                super()._set_trial_param(*parameter)


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of :class:`Database` wait while the database is locked or away."""

    @functools.wraps(method)
    def call(self: Database, *args: Any, **kwargs: Any) -> Any:
        if method.__name__ != "get_trial":
            self.forget_created()
        give_up_at: float | None = None
        while True:
            try:
                return method(self, *args, **kwargs)
            except (StorageInternalError, SQLAlchemyError) as error:
                cause = error.__cause__ if isinstance(error, StorageInternalError) else error
                # Anything else, such as a text too long for its column, is no fault of the
                # database.
                if not _is_fault(cause):
                    raise
                reason = first_line(getattr(cause, "orig", cause))
                now = time.monotonic()
                if give_up_at is None:
                    give_up_at = now + _PATIENCE
                    if _passes(cause):
                        _logger.warning(
                            "The storage does not answer (%s); trying again for %g s.",
                            reason,
                            _PATIENCE,
                        )
                if now >= give_up_at or not _passes(cause):
                    raise StorageError(
                        f"The storage failed ({reason}); all that it stored "
                        "before is kept: mend it, then resume the study."
                    ) from error
            time.sleep(_SECONDS_BETWEEN_ATTEMPTS)

    return call


# What `_CachedStorage` calls; none of these calls another of them.
for _name in (
    "create_new_study",
    "delete_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "_create_new_trial",
    "_set_trial_param",
    "_write_parameters",
    "get_trial_id_from_study_id_trial_number",
    "_get_best_trial_id",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    "_get_trials",
    "record_heartbeat",
    "_get_stale_trial_ids",
):
    setattr(Database, _name, _patient(getattr(Database, _name)))


def _is_fault(error: BaseException | None) -> bool:
    """Return whether the database failed, not the request."""
    # Optuna tries a query that failed in another form, which a broken connection answers so.
    if isinstance(error, OperationalError | InterfaceError | PendingRollbackError):
        return True
    # SQLite reports a corrupt file as a DatabaseError, which is the class of all others, too.
    return isinstance(error, DBAPIError) and type(error.orig) is sqlite3.DatabaseError


def _passes(error: BaseException | None) -> bool:
    """Return whether waiting may help."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
        # The lower byte is the code, the others say more about it.
        return (getattr(error.orig, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_PASSING
    return True


def _configure_sqlite(connection: DBAPIConnection, _: Any) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
    finally:
        cursor.close()


def begins_trial(
    storage: BaseStorage, *, writes_at_once: bool
) -> contextlib.AbstractContextManager[None]:
    """Return :meth:`Database.begins_trial` of a storage that has it, else an empty context."""
    backend = getattr(storage, "_backend", storage)
    if isinstance(backend, Database):
        return backend.begins_trial(writes_at_once=writes_at_once)
    return contextlib.nullcontext()
