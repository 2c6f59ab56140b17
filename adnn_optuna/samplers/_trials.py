"""Reading the trials of a growing study, a finished one only once."""

import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import malformed
from adnn_optuna._checks import WrongValueError

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
        self.was_reset = not self._is_beginning_of(trials)
        if self.was_reset:
            self.trials, self.unfinished = [], {}
        news = [trials[number] for number in self.unfinished] + trials[len(self.trials) :]
        for trial in news:
            check_attributes(study, trial)
        self.trials = trials
        self.unfinished = {t.number: t for t in news if not t.state.is_finished()}
        return news

    def _is_beginning_of(self, trials: list[FrozenTrial]) -> bool:
        if not self.trials:
            return True
        if len(trials) < len(self.trials):
            return False
        old, new = self.trials[-1], trials[len(self.trials) - 1]
        if old._trial_id != new._trial_id:
            return False
        # SQLite gives the ids of deleted trials to new ones, but those start later. One that was
        # waiting may have started since.
        before, now = old.datetime_start, new.datetime_start
        if before is None or before == now:
            return True
        # A trial just begun is known to the microsecond, and later read as what MySQL keeps of it.
        if now is None or now.microsecond:
            return False
        return abs(now.timestamp() - before.timestamp()) < 1


class PerStudy(Generic[Kept]):
    """What is kept in memory of the study that was asked for last, only to save time.

    One place, and not one for each study: an object that is used for many studies keeps nothing
    of those before. A copy, also one in another process, begins with nothing. Threads that share
    it hold its lock meanwhile.
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


def check_attributes(study: Study, trial: FrozenTrial | None = None) -> None:
    """Refuse a trial, or a study, whose attributes of ours are not as they are stored."""
    if trial is None:
        name, where = malformed(study.user_attrs), ""
    else:
        name = malformed(trial.system_attrs) or malformed(trial.user_attrs)
        where = f"trial {trial.number} of "
    if name is not None:
        raise WrongValueError(
            f"The attribute {name!r} of {where}the study {study.study_name!r} is not what "
            "adnn_optuna stores there: another program wrote it, so use another study name."
        )


def constraints_of(trial: FrozenTrial) -> list[float]:
    """Return the violations of a trial's constraints, which Optuna 4 keeps elsewhere than 5."""
    constraints: dict[str, float] | None = getattr(trial, "constraints", None)
    if constraints is None:
        return list(trial.system_attrs.get("constraints") or ())
    return list(constraints.values())


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether a trial violates no constraint."""
    return all(violation <= 0 for violation in constraints_of(trial))
