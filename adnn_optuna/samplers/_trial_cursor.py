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
        self._last_trial_id: int | None = None

    def is_in(self, trials: TrialsByNumber) -> bool:
        """Return whether what was seen so far is the beginning of these trials.

        It is not if the study was deleted and its id is in use again.
        """
        return self.n_seen == 0 or (
            len(trials) >= self.n_seen and trials[self.n_seen - 1]._trial_id == self._last_trial_id
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
            self._last_trial_id = trials[self.n_seen - 1]._trial_id
            self.unfinished = {
                trial.number: trial for trial in news if not trial.state.is_finished()
            }
        return news
