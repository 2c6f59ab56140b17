"""Going through a growing study without looking at a finished trial twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.trial import FrozenTrial

    # A list that is sorted by number will do.
    TrialsByNumber = Sequence[FrozenTrial] | Mapping[int, FrozenTrial]


class TrialCursor:
    """A place in the list of a study's trials, with those before it that may still change.

    Attributes:
        unfinished: The trials that had not finished when last seen, by number.
    """

    def __init__(self) -> None:
        self.unfinished: dict[int, FrozenTrial] = {}
        self.n_seen = 0
        self._last: FrozenTrial | None = None

    def is_in(self, trials: TrialsByNumber) -> bool:
        """Return whether what was seen so far is the beginning of these trials.

        It is not if the study was deleted and its id is in use again.
        """
        return self._last is None or (
            len(trials) >= self.n_seen and _is_same(self._last, trials[self.n_seen - 1])
        )

    def advance(self, trials: TrialsByNumber) -> list[FrozenTrial]:
        """Return the trials that are new or were unfinished, in the order of their numbers.

        Args:
            trials: All trials of the study.
        """
        news = [trials[number] for number in self.unfinished]
        news += [trials[number] for number in range(self.n_seen, len(trials))]
        if news:
            self.n_seen = len(trials)
            self._last = trials[self.n_seen - 1]
            self.unfinished = {
                trial.number: trial for trial in news if not trial.state.is_finished()
            }
        return news


def _is_same(old: FrozenTrial, new: FrozenTrial) -> bool:
    """Return whether a trial is one that was seen before."""
    if old._trial_id != new._trial_id:
        return False
    # SQLite gives the ids of deleted trials to new ones, but those start later.
    start, new_start = old.datetime_start, new.datetime_start
    if start is None or start == new_start:
        return True  # One that was waiting may have started since.
    # A trial just begun is known to the microsecond, and later read as what MySQL keeps of it.
    return (
        new_start is not None
        and new_start.microsecond == 0
        and abs(new_start.timestamp() - start.timestamp()) < 1
    )
