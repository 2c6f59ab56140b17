"""Readers of a growing study's trials. Each finished trial is read once."""

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import ENDED, check_trial
from adnn_optuna._checks import WrongValueError

Kept = TypeVar("Kept")

# These storages cannot delete trials, so a trial's number is its position in the list.
_KEEPING_ALL = (InMemoryStorage, JournalStorage)
# For a storage, listing this number of trials takes about as long as reading one trial by id.
_LISTED_MEANWHILE = 2_500


class TrialReader:
    """The trials of a study at the last read.

    Trials are looked up by their ids, which increase in the order of creation. Numbers are not
    unique: if a user deletes rows of a database, Optuna assigns numbers again.
    """

    def __init__(self) -> None:
        self._forget()
        # Whether the last list did not continue the earlier list. This happens if trials were
        # deleted, or if the id belonged to a deleted study.
        self.was_reset: bool = False

    def _forget(self) -> None:
        self.trials: dict[int, FrozenTrial] = {}  # All trials, by id.
        self.ids: list[int] = []  # The ids of all trials, in ascending order.
        self.unfinished: dict[int, FrozenTrial] = {}  # Trials that had not finished, by id.
        self.listed: list[FrozenTrial] = []  # All trials, in the storage's order.
        self._places: dict[int, int] = {}  # Positions of unfinished trials in `listed`, by id.

    @property
    def first(self) -> FrozenTrial:
        """The oldest trial."""
        return self.trials[self.ids[0]]

    @property
    def next_number(self) -> int:
        """The number that the next trial probably gets: the newest trial's number plus 1."""
        if self.ids:
            return self.trials[self.ids[-1]].number + 1
        return 0

    def add(self, trial: FrozenTrial) -> None:
        """Add a stored trial that was created after all others."""
        self.ids.append(trial._trial_id)
        self.trials[trial._trial_id] = self.unfinished[trial._trial_id] = trial
        self._places[trial._trial_id] = len(self.listed)
        self.listed.append(trial)

    def is_all_before(self, trial: FrozenTrial) -> bool:
        """Return whether all trials before a new one are known and finished.

        This is so if no trial was unfinished at the last read and the new trial has the next
        number.
        """
        return not self.unfinished and trial.number == len(self.ids)

    def has_listed(self, study: Study) -> bool:
        """Return whether a storage reads a list in one transaction, so readers can share it."""
        return not isinstance(study._storage, _KEEPING_ALL)

    def read(self, study: Study, other: "TrialReader | None" = None) -> list[FrozenTrial]:
        """Read all trials, and return the trials that are new or were unfinished.

        If ``other`` is a reader that has just listed the trials, the storage is not read again.
        """
        # Some pruners hide trials from samplers, so this asks the storage directly. See
        # https://github.com/optuna/optuna/issues/2327.
        self.was_reset = False
        news = self._read_few(study) if other is None else None
        if news is None:
            news = self._read_all(study, other)
        for place, trial in news.items():
            check_trial(trial, study)
            if trial._trial_id not in self.trials:
                self.ids.append(trial._trial_id)
            self.trials[trial._trial_id] = trial
            if trial.state.is_finished():
                self._places.pop(trial._trial_id, None)
            else:
                self._places[trial._trial_id] = place
        self.unfinished = {trial_id: self.trials[trial_id] for trial_id in self._places}
        return [*news.values()]

    def _read_all(self, study: Study, other: "TrialReader | None") -> dict[int, FrozenTrial]:
        """Return the trials that are new or were unfinished, by their positions in the list."""
        if other is None:
            listed = study._storage.get_all_trials(study._study_id, deepcopy=False)
        else:
            listed = other.listed
        if not self._is_continued_by(listed):
            self.was_reset = bool(self.listed)
            self._forget()
        before, self.listed = self.listed, [*listed]
        news = {place: listed[place] for place in self._places.values()}
        if other is not None:
            for trial_id in self._places.keys() - other.trials.keys():
                del news[self._places[trial_id]]
                self._remove(trial_id)
        elif not isinstance(study._storage, _KEEPING_ALL):
            for place, trial in [*news.items()]:
                # Optuna's caches keep deleted unfinished trials, unless a new trial of the same
                # study gets the same id. So this asks the storage.
                if trial is before[place]:
                    try:
                        news[place] = study._storage.get_trial(trial._trial_id)
                    except KeyError:
                        self._remove(trial._trial_id)
                        del news[place]
        new_places = range(len(before), len(listed))
        for place in sorted(new_places, key=lambda place: listed[place]._trial_id):
            if other is None or listed[place]._trial_id in other.trials:
                news[place] = listed[place]
        return news

    def _is_continued_by(self, listed: Sequence[FrozenTrial]) -> bool:
        """Return whether a list begins with the known trials and continues with newer trials."""
        n_known = len(self.listed)
        start = 0
        # Finished trials are the same objects in both lists, so comparing slices is fast.
        for place in sorted(self._places.values()):
            if self.listed[start:place] != listed[start:place]:
                return False
            if place >= len(listed) or not _is_same(self.listed[place], listed[place]):
                return False
            start = place + 1
        if self.listed[start:] != listed[start:n_known]:
            return False
        return all(trial._trial_id > self.ids[-1] for trial in listed[n_known:] if self.ids)

    def _remove(self, trial_id: int) -> None:
        self.ids.remove(trial_id)
        del self.trials[trial_id], self._places[trial_id]

    def _read_few(self, study: Study) -> dict[int, FrozenTrial] | None:
        """Read only trials that may have changed; return :obj:`None` if all must be listed."""
        n_known = len(self.ids)
        storage = study._storage
        n_few = n_known // _LISTED_MEANWHILE
        if not n_few or len(self._places) > n_few or self.has_listed(study):
            return None
        news = {}
        with contextlib.suppress(KeyError):  # A trial with the next number may not exist yet.
            for trial_id, place in self._places.items():
                news[place] = storage.get_trial(trial_id)
            for number in itertools.count(n_known):
                trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
                news[number] = storage.get_trial(trial_id)
        for place, trial in news.items():
            self.listed[place : place + 1] = [trial]
        return news


def _is_same(old: FrozenTrial, new: FrozenTrial) -> bool:
    """Return whether an unfinished trial is the same trial in two reads."""
    # SQLite gives the ids of deleted trials to new trials, and these start later. A waiting trial
    # may have started since the first read.
    began = old.datetime_start
    return old._trial_id == new._trial_id and began in (None, new.datetime_start)


class PerStudy(Generic[Kept]):
    """A cache for each study, which is kept as long as the study's storage exists.

    A copy of the cache is empty, including copies in other processes. Threads lock the cache while
    they use it.
    """

    def __init__(self, create: Callable[[Study], Kept]) -> None:
        self.lock = threading.RLock()
        self._create = create
        self._kept: weakref.WeakKeyDictionary[BaseStorage, dict[int, Kept]]
        self._kept = weakref.WeakKeyDictionary()

    def __getitem__(self, study: Study) -> Kept:
        of_storage = self._kept.setdefault(study._storage, {})
        if study._study_id not in of_storage:
            of_storage[study._study_id] = self._create(study)
        return of_storage[study._study_id]

    def forget(self, study: Study) -> None:
        """Delete everything about a study."""
        self._kept[study._storage].pop(study._study_id, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._create,)


def beginning(trial: FrozenTrial) -> str:
    """Return the second at which a trial began, because hours and minutes depend on time zones."""
    if began := trial.datetime_start:
        return f"{began:%S.%f s}"
    return ""


def constraints_of(trial: FrozenTrial) -> list[float]:
    """Return a trial's constraints, sorted by name. In Optuna 4, constraints have no names."""
    constraints: dict[str, float] | None = getattr(trial, "constraints", None)
    if constraints is None:
        return list(trial.system_attrs.get("constraints") or ())
    return [constraints[name] for name in sorted(constraints)]


def is_done(trial: FrozenTrial) -> bool:
    """Return whether a trial ran to its end, with or without a value."""
    ended = trial.system_attrs.get(ENDED)
    if trial.state == TrialState.FAIL:
        return ended == "diverged"
    return trial.state.is_finished() and ended != "interrupted"


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether a trial violates no constraint."""
    return all(violation <= 0 for violation in constraints_of(trial))


def cost_sign(direction: StudyDirection) -> int:
    """Return the sign that makes lower values better when values are multiplied by it."""
    return -1 if direction == StudyDirection.MAXIMIZE else 1


def may_be_best(trial: FrozenTrial) -> bool:
    """Return whether a trial has a value and violates no constraint."""
    return trial.state == TrialState.COMPLETE and is_feasible(trial)


def best_trial(trials: Iterable[FrozenTrial], direction: StudyDirection) -> FrozenTrial | None:
    """Return the feasible completed trial with the best value (the first of equals), or None."""
    candidates = filter(may_be_best, trials)
    sign = cost_sign(direction)
    return min(candidates, key=lambda trial: sign * trial.values[0], default=None)


def check_one_objective(study: Study) -> None:
    """Refuse a study with several objectives."""
    if (n := len(study.directions)) > 1:
        raise WrongValueError(
            f"Study {study.study_name!r} must have one objective; got {n}. Choose another study."
        )


def check_direction(study: Study, direction: StudyDirection) -> None:
    """Refuse a study with several objectives or with another direction."""
    check_one_objective(study)
    if study.direction != direction:
        raise WrongValueError(
            f"direction must be {study.direction.name.lower()}, as in study "
            f"{study.study_name!r}; got {direction.name.lower()}. Change one of the two, or use "
            "another study name."
        )
