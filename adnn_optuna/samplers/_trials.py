"""Reading the trials of a growing study, a finished one only once."""

import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial

Kept = TypeVar("Kept")


class TrialReader:
    """A place in the list of a study's trials, with those before it that may still change."""

    def __init__(self) -> None:
        self.trials: list[FrozenTrial] = []  # All as of the last read, by number.
        self.unfinished: dict[int, FrozenTrial] = {}  # Those of them that had not finished.
        # Whether that read found another study: one was deleted, its id is used again.
        self.was_reset: bool = False

    def read(self, study: Study) -> list[FrozenTrial]:
        """Read all trials and return those that are new or were unfinished, by number."""
        # The storage is asked directly, because some pruners hide trials from samplers. See
        # https://github.com/optuna/optuna/issues/2327.
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        n_known, last = len(self.trials), self.trials[-1:]
        is_known = len(trials) >= n_known and all(map(_is_same, last, trials[n_known - 1 :]))
        self.was_reset = not is_known
        if self.was_reset:
            n_known, self.unfinished = 0, {}
        news = [trials[number] for number in self.unfinished] + trials[n_known:]
        self.trials = trials
        self.unfinished = {t.number: t for t in news if not t.state.is_finished()}
        return news


def _is_same(old: FrozenTrial, new: FrozenTrial) -> bool:
    """Return whether a trial was read again, and not one of another study in its place."""
    # SQLite gives the ids of deleted trials to new ones, but those start later. One that was
    # waiting may have started since.
    began = old.datetime_start
    return old._trial_id == new._trial_id and began in (None, new.datetime_start)


class PerStudy(Generic[Kept]):
    """What is kept in memory of the study that was asked for last, only to save time.

    A copy, also one in another process, begins with nothing. Threads hold its lock meanwhile.
    """

    def __init__(self, create: Callable[[Study], Kept]) -> None:
        self.lock = threading.RLock()
        self._create = create
        self._place: tuple[tuple[weakref.ref[Any], int], Kept] | None = None

    def __getitem__(self, study: Study) -> Kept:
        # What was read goes with the storage, however long its reader lives.
        key = weakref.ref(study._storage, self.forget), study._study_id
        if self._place is None or self._place[0] != key:
            self._place = key, self._create(study)
        return self._place[1]

    def forget(self, _: object = None) -> None:
        """Keep nothing."""
        self._place = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._create,)


def beginning(trial: FrozenTrial) -> str:
    """Return when a trial began, within a minute: a journal tells hours by its reader's zone."""
    return f"{began:%S.%f s}" if (began := trial.datetime_start) else ""


def constraints_of(trial: FrozenTrial) -> list[float]:
    """Return the violations of a trial's constraints, which Optuna 4 keeps elsewhere than 5."""
    constraints: dict[str, float] | None = getattr(trial, "constraints", None)
    if constraints is None:
        return list(trial.system_attrs.get("constraints") or ())
    return list(constraints.values())


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether a trial violates no constraint."""
    return all(violation <= 0 for violation in constraints_of(trial))
