"""Evaluations that a report asks for; tests/api has those of each report."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

from optuna.study import StudyDirection

from adnn_optuna.engine.evaluations import make_evaluations, open_evaluations
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adnn_optuna.engine.evaluations import Evaluation


@dataclasses.dataclass
class Numbers:
    """A report of ten numbers."""

    evaluations: Mapping[Evaluation, float]
    n_evaluations = 10
    claim = "numbers"

    @property
    def missing(self) -> list[Evaluation]:
        return [(i,) for i in range(10) if (i,) not in self.evaluations]


def test_what_was_begun_when_time_was_up_is_made() -> None:
    study = open_evaluations(open_storage(None), "numbers", StudyDirection.MAXIMIZE, {})
    stop, both, is_first = threading.Event(), threading.Barrier(2), threading.Lock()

    def evaluate(number: int) -> float:
        both.wait(timeout=60)
        if is_first.acquire(blocking=False):
            return number  # After which the time is up.
        return 100 + number if not stop.wait(0.5) else -1

    report = make_evaluations(
        Numbers, study, ("number",), evaluate, stop=stop, n_jobs=2, max_time=1e-9
    )
    assert len(report.evaluations) == 2
    assert 100 <= max(report.evaluations.values()) < 110
    assert report.missing
