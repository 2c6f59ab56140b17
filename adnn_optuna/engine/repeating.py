"""Storages that repeat calls while their database is locked or unreachable.

All calls of a study go through such a storage, so any call can be repeated.
"""

from __future__ import annotations

import functools
import inspect
import json
import pickle
import random
import re
import sqlite3
import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna import _checks
from adnn_optuna._checks import (
    WrongInputError,
    WrongParametersError,
    WrongValueError,
    first_line,
    load,
    shown,
)
from adnn_optuna.samplers import _owners

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna.distributions import BaseDistribution

_T = TypeVar("_T")

# The seconds to wait for a database that is locked or unreachable. A server restarts in about a
# minute. Short faults need no warning.
_PATIENCE = 300.0
_SECONDS_BEFORE_WARNING = 5.0
_SECONDS_BETWEEN_ATTEMPTS = 0.1

# SQLite's result codes of temporary faults: SQLITE_BUSY, SQLITE_LOCKED, and SQLITE_CANTOPEN for a
# missing folder.
_SQLITE_PASSING = (5, 6, 14)

# The gRPC codes and Redis errors of temporary faults.
_SERVER_PASSING = {"UNAVAILABLE", "CANCELLED", "ConnectionError", "TimeoutError"}

# Messages of servers may contain secrets, such as user names.
_QUOTED = re.compile(r"""(["'])[^"'\s]+\1""")


# Whether this thread is within a call of a repeating storage.
_is_patient: ContextVar[bool] = ContextVar("_is_patient", default=False)

# The storages with handlers. SQLAlchemy's `event.contains` compares memory addresses, so it may
# mistake a new storage for one that is deleted.
_listening: WeakSet[RDBStorage] = WeakSet()


class StorageError(RuntimeError):
    """A storage could not be read or written. Everything that was stored before is kept."""


def repeating(storage: BaseStorage) -> BaseStorage:
    """Return a view of a storage. Its calls are repeated while the database cannot be used.

    The database may be locked or unreachable for a while. The view's class derives from the
    storage's class, and both objects share their attributes. If a fault lasts for five minutes,
    :class:`StorageError` is raised. A storage in memory is returned unchanged.
    """
    if isinstance(storage, InMemoryStorage | _Repeating):
        return storage
    # If a storage needs a cache, Optuna adds one. The view is around the cache.
    storage = optuna.storages.get_storage(storage)
    _listen(storage)
    return sharing_attributes(_repeating_class(type(storage)), storage)


class _Repeating:
    """The base class of repeating storages, which can be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the data for pickling. An unpickled copy reads the database."""
        plain = sharing_attributes(type(self).__bases__[1], self)
        return _unpickled, (pickle.dumps(plain),)


def sharing_attributes(kind: type, of: object) -> Any:
    """Return an object of another class that shares all attributes, also after changes."""
    view: Any = object.__new__(kind)
    view.__dict__ = vars(of)
    return view


def _unpickled(data: bytes) -> BaseStorage:
    return repeating(_patiently(lambda: pickle.loads(data)))  # noqa: S301 - pickled above.


def _listen(storage: BaseStorage) -> None:
    """Register the handlers of a database's events. Unpickled copies of a storage have none."""
    backend: Any = getattr(storage, "_backend", storage)
    if not isinstance(backend, RDBStorage) or backend in _listening:
        return
    event = load("sqlalchemy").event
    event.listen(backend.engine, "handle_error", _hand_on)
    if backend.engine.name == "sqlite":
        event.listen(backend.scoped_session, "do_orm_execute", _lock_for_update)
    _listening.add(backend)


class _FaultError(Exception):
    """A fault of the database, with SQLAlchemy's error as argument."""


def _hand_on(context: Any) -> None:
    """Hide a fault from Optuna, which would create a trial again although it may exist."""
    error = context.sqlalchemy_exception
    if _is_patient.get() and not context.is_pre_ping and error is not None and is_fault(error):
        raise _FaultError(error)


def _lock_for_update(state: Any) -> None:
    """Lock SQLite at SELECT … FOR UPDATE, so that a single worker takes a waiting trial.

    SQLite itself ignores FOR UPDATE. With write-ahead logging, other workers can still read.
    """
    sqlalchemy = load("sqlalchemy")
    is_select = isinstance(state.statement, sqlalchemy.Select)
    parts = state.statement.get_children() if is_select else ()
    if any(isinstance(part, sqlalchemy.sql.selectable.ForUpdateArg) for part in parts):
        connection = state.session.connection()
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")


@functools.cache
def _repeating_class(base: type[BaseStorage]) -> Any:
    # The methods of all storages, and the methods that Optuna calls for heartbeats.
    names = {name for name, member in vars(BaseStorage).items() if inspect.isfunction(member)}
    names.update(*(getattr(kind, "__abstractmethods__", ()) for kind in base.__mro__))
    methods = {name: _repeating_method(getattr(base, name)) for name in names}
    methods["create_new_trial"] = _creating_method(base.create_new_trial)
    methods["set_trial_param"] = _suggesting_method(methods["set_trial_param"])
    return type(f"Repeating{base.__name__}", (_Repeating, base), methods)


def _repeating_method(function: Callable[..., Any]) -> Callable[..., Any]:
    name = function.__name__
    is_reading = name.startswith("get_") and name != "get_best_trial"
    find = _FINDS.get(name)
    if find is None and name.startswith("set_"):
        getter = f"get_{name.removeprefix('set_')}s"
        find = functools.partial(_has_attribute, getter)

    @functools.wraps(function)
    def method(*args: Any, **options: Any) -> Any:
        def find_written() -> Any:
            if find is None:
                return None
            return find(*inspect.signature(function).bind(*args, **options).args)

        try:
            return _patiently(lambda: function(*args, **options), find_written)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            # Optuna itself explains these errors: a missing study, trial or best trial.
            if not is_reading or isinstance(error, KeyError | WrongInputError):
                raise
            raise WrongValueError(
                f"The storage must hold studies as Optuna writes them; got {first_line(error)}. "
                "Restore a copy of it, or choose another storage or study_name."
            ) from error

    return method


def _creating_method(create: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(create)
    def create_new_trial(
        self: BaseStorage, study_id: int, template_trial: FrozenTrial | None = None
    ) -> int:
        created_here = vars(self).setdefault("_created_here", set())

        def find_created() -> int | None:
            for trial in self.get_all_trials(study_id, deepcopy=False):
                is_new = trial._trial_id not in created_here
                if is_new and template_trial and _is_of_template(trial, template_trial):
                    return trial._trial_id
            return None

        trial_id = _patiently(lambda: create(self, study_id, template_trial), find_created)
        created_here.add(trial_id)
        return trial_id

    return create_new_trial


def _suggesting_method(set_trial_param: Callable[..., None]) -> Callable[..., None]:
    def method(
        self: BaseStorage, trial_id: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        try:
            set_trial_param(self, trial_id, name, value, distribution)
        except KeyError:
            # Optuna's proxy knows only trials that it created or listed since its start.
            for study in self.get_all_studies():
                self.get_all_trials(study._study_id)
            set_trial_param(self, trial_id, name, value, distribution)
        except ValueError:
            raise WrongParametersError(
                "The function must suggest a parameter from the same kind of distribution in "
                f"all trials; got {name!r} of {shown(distribution)}. Rename the parameter, "
                "or use another study name."
            ) from None

    return method


def _is_of_template(trial: FrozenTrial, template: FrozenTrial) -> bool:
    """Return whether a trial has the attributes and parameters of a template."""
    attrs = json.loads(json.dumps(template.system_attrs))  # In their stored form.
    has_attrs = attrs.items() <= trial.system_attrs.items()
    return has_attrs and template.params.items() <= trial.params.items()


def _has_attribute(
    getter: str, storage: BaseStorage, of: int, key: Any, value: Any, *_: Any
) -> bool | None:
    if getter == "get_trial_intermediate_values":
        attributes = storage.get_trial(of).intermediate_values
    else:
        attributes = getattr(storage, getter)(of)
    return {key: value}.items() <= attributes.items() or None


def _has_state(
    storage: BaseStorage, trial_id: int, state: TrialState, values: Sequence[float] | None = None
) -> bool | None:
    trial = storage.get_trial(trial_id)
    if state == TrialState.RUNNING:  # Another worker may run the trial.
        has_arrived = _owners.is_own(trial)
    else:
        has_arrived = list(trial.values or ()) == list(values or ())
    return (trial.state == state and has_arrived) or None


def _study_of_name(storage: BaseStorage, _: Any, study_name: str | None = None) -> int | None:
    ids = {study.study_name: study._study_id for study in storage.get_all_studies()}
    return ids.get(study_name or "")


# Each function looks for the effect of a write whose answer was lost. It returns None if there is
# no effect, so that the write is repeated.
_FINDS: dict[str, Callable[..., Any]] = {
    "create_new_study": _study_of_name,
    "set_trial_state_values": _has_state,
}


def _patiently(call: Callable[[], _T], find: Callable[[], _T | None] = lambda: None) -> _T:
    """Call a function, and repeat the call for up to five minutes while the database fails.

    An earlier call may have had its effect. So before each repetition, ``find`` looks for the
    result.
    """

    def call_again() -> _T:
        result = find()
        if result is None:
            return call()
        return result

    before = _is_patient.set(True)
    try:
        return repeated(call, passes, call_again=call_again)
    except Exception as error:
        if not is_fault(error):
            raise
        raise StorageError(
            f"The storage failed ({reason(error)}). All that it stored before is kept. Repair it, "
            "then resume the study."
        ) from None  # The cause may contain a user name.
    finally:
        _is_patient.reset(before)


def repeated(
    call: Callable[[], _T],
    may_pass: Callable[[Exception], bool],
    url: str = "",
    call_again: Callable[[], _T] | None = None,
) -> _T:
    """Repeat a call until it succeeds, its error is permanent, or five minutes are over.

    Warnings do not show the password in ``url``.
    """
    began = time.monotonic()
    has_warned = False
    while True:
        try:
            return call()
        except Exception as error:
            waited = time.monotonic() - began
            if waited >= _PATIENCE or not may_pass(error):
                raise
            # Errors while other processes create the same tables need no warning.
            if waited >= _SECONDS_BEFORE_WARNING and not has_warned and passes(error):
                has_warned = True
                message = "The storage does not answer (%s); trying again for %g s."
                _checks.logger.warning(message, reason(error, url), _PATIENCE)
        call = call_again or call
        time.sleep(_SECONDS_BETWEEN_ATTEMPTS * random.uniform(0.5, 1.5))  # noqa: S311


def storage_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a database that fails or refuses a request."""
    return load("sqlalchemy").exc.SQLAlchemyError, StorageInternalError


def _server_errors() -> tuple[type[Exception], ...]:
    """Return the errors of Optuna's proxy and of Redis, if their packages are in use."""
    names = {"grpc": "RpcError", "redis": "RedisError"}
    kinds = []
    for module, name in names.items():
        if module in sys.modules:
            kinds.append(getattr(sys.modules[module], name))
    return tuple(kinds)


def causes(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Return the causes of Optuna's error: SQLAlchemy's error and the driver's error, if any."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(error, _FaultError):
        cause = error.args[0]
    return cause, getattr(cause, "orig", None)


def reason(error: BaseException, url: str = "") -> str:
    """Return a driver's message without the secrets of the URL."""
    cause, driver_error = causes(error)
    message = _checks.first_line(driver_error or cause)
    if isinstance(cause, _server_errors()) and hasattr(cause, "details"):
        message = cause.details()  # A gRPC error as text would be a table of many lines.
    if driver_error is not None and not isinstance(driver_error, sqlite3.Error):
        message = _QUOTED.sub("***", message)
    return _checks.without_secrets(url, message)


def is_fault(error: BaseException) -> bool:
    """Return whether the error is a fault of the database, not of the request."""
    exc: Any = load("sqlalchemy").exc
    cause, _ = causes(error)
    # Optuna repeats a failed query in another form. On a broken connection, this raises
    # PendingRollbackError. For a corrupt file, SQLite raises DatabaseError itself, the base of all
    # errors.
    kinds = exc.OperationalError, exc.InterfaceError, exc.PendingRollbackError, *_server_errors()
    return isinstance(cause, kinds) or type(cause) is exc.DatabaseError


def sqlite_code(error: BaseException | None) -> int:
    """Return SQLite's primary result code, the lowest byte of the extended code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def passes(error: BaseException) -> bool:
    """Return whether a fault of the database may be temporary."""
    cause, driver_error = causes(error)
    if isinstance(driver_error, sqlite3.Error):
        return sqlite_code(driver_error) in _SQLITE_PASSING
    if isinstance(cause, _server_errors()):
        names = {kind.__name__ for kind in type(cause).__mro__}
        if hasattr(cause, "code"):
            names.add(getattr(cause.code(), "name", ""))
        return bool(names & _SERVER_PASSING)
    return is_fault(error)
