"""Reading the trials of a growing study, a finished one only once."""

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import check_trial

Kept = TypeVar("Kept")

# Databases list about so many trials, which Optuna sorts each time, while they read a single one.
_LISTED_MEANWHILE = 2_500


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
        self.was_reset = False
        if (news := self._read_few(study)) is None:
            trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
            n_known, last = len(self.trials), self.trials[-1:]
            is_known = len(trials) >= n_known and all(map(_is_same, last, trials[n_known - 1 :]))
            self.was_reset = not is_known
            if self.was_reset:
                self.trials, self.unfinished = [], {}
            news = [trials[number] for number in self.unfinished] + trials[len(self.trials) :]
        for trial in news:
            check_trial(trial, study)
            self.trials[trial.number : trial.number + 1] = [trial]
        self.unfinished = {t.number: t for t in news if not t.state.is_finished()}
        return news

    def _read_few(self, study: Study) -> list[FrozenTrial] | None:
        """Read one by one what may have changed, :obj:`None` where listing all is faster.

        Storages list the trials anew each time, which takes the longer the more of them there are.
        """
        n_known, storage = len(self.trials), study._storage
        ids = [trial._trial_id for trial in self.unfinished.values()]
        n_few = n_known // _LISTED_MEANWHILE
        if len(ids) > n_few or not n_few:
            return None
        id_of = functools.partial(storage.get_trial_id_from_study_id_trial_number, study._study_id)
        try:
            if not _is_same(self.trials[-1], storage.get_trial(id_of(n_known - 1))):
                return None
            with contextlib.suppress(KeyError):  # That of a number which is not given yet.
                while len(ids) <= n_few:
                    ids.append(id_of(n_known + len(ids) - len(self.unfinished)))
            if len(ids) > n_few:
                return None
            return [storage.get_trial(trial_id) for trial_id in ids]
        except KeyError:  # The study was deleted.
            return None


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
