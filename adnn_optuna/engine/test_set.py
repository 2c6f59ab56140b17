"""The test-set evaluation of a search: baseline and best network, trained again."""

import json
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import logger
from adnn_optuna.engine.controls import EnsembleObjective
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.scores import as_attributes, scores_as_attributes
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.retraining import (
    Retrained,
    compared_on_test_set,
    random_sources,
    retrain,
    tested,
)

Record = TypeVar("Record", bound=SearchRecord)


def evaluate_test_set(
    record: Record, objective: InitOffsetObjective, stop: threading.Event
) -> Record:
    """Store the test-set evaluation of baseline and best network, trained again for it.

    One that was evaluated before is not trained again; without further trials nothing is stored.
    """
    best = record.best
    if best is None:
        return record
    # Others may have done so since the record was read.
    record = record._refreshed(stored.TEST, stored.SCORES, stored.GROUPS)
    n_trials = len(record.done_trials)
    evaluation: Any = record.test_evaluation
    attrs: dict[str, Any] = {}
    if evaluation is None:
        of_best, _, runs = retrain_best_trial(record, objective, stop)
        evaluation = {**compared_on_test_set(of_best.trainer, *runs), "trial": best.number}
        attrs |= scores_as_attributes(f"{stored.SCORES}/{best.number}", runs[1].scores)
        if "n_groups" in evaluation:
            attrs |= as_attributes(stored.GROUPS, of_best.dataset.test_groups)
    elif evaluation["n_trials"] == n_trials:
        return record
    now = datetime.now(UTC).isoformat()
    evaluation = {**evaluation, "looked": now, "n_trials": n_trials}
    # The evaluation is last: with it, all is known.
    return record._with_stored({**attrs, f"{stored.TEST}/{now}-{os.getpid()}": evaluation})


def retrain_best_trial(
    record: SearchRecord, objective: InitOffsetObjective, stop: threading.Event | None = None
) -> tuple[InitOffsetObjective, list[list[Start]], list[Retrained]]:
    """Train baseline and best network of a search again; warn if they come out differently.

    Return the best trial's objective, what both were trained from, and what came of them.
    """
    assert record.best is not None, "There is a best trial."
    objective, params = objective.as_trained(record.best), record.best.params
    starts, trainer = [objective.starts({}), objective.starts(params)], objective.trainer
    known = objective.take_tested(params) if isinstance(objective, EnsembleObjective) else None
    if known is not None:
        runs = [tested(trainer, one) for one in known]
    else:
        runs = [*retrain(trainer, starts, stop)]
    outcome = stored.outcome_of(record.best.user_attrs)
    stored_metrics = record.baseline_metrics, outcome.get("metrics", {})
    before = [
        {**run.metrics, **metrics} for run, metrics in zip(runs, stored_metrics, strict=True)
    ]
    # As text, for the NaN of a baseline that diverged does not equal itself.
    if json.dumps(before) != json.dumps([run.metrics for run in runs]):
        logger.warning(
            "Trained again, baseline or best trial of study %r came out differently: its trials "
            "were trained on another machine, or with other versions or threads.",
            record.study.study_name,
        )
    return objective, starts, runs


def gains_of(objective: InitOffsetObjective, runs: Sequence[Retrained]) -> list[float]:
    """Return the test gains by the training runs of baseline and best network by turns."""
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [objective.improvement(best.score, baseline.score) for baseline, best in pairs]


def is_random(objective: InitOffsetObjective) -> bool:
    """Return whether another seed gives another network."""
    return not {"initialisation", "order"}.isdisjoint(random_sources(objective.trainer))


def note_randomness(record: Record, objective: InitOffsetObjective) -> Record:
    """Store it if no seed changes the training of the best trial."""
    if record.best is not None and not is_random(objective.of(record.best.params)):
        return record._with_stored({f"{stored.UNSEEDED}/{record.best.number}": True})
    return record
