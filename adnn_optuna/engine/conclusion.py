"""The end of a search: a look at the test set, which is recorded."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import optuna

from adnn_optuna import _attributes as stored
from adnn_optuna.engine.storages import patiently
from adnn_optuna.networks.training import is_finite

if TYPE_CHECKING:
    import threading

    from optuna.trial import FrozenTrial

    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.engine.records import SearchRecord

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


def conclude(record: SearchRecord, objective: InitOffsetObjective, stop: threading.Event) -> None:
    """Look at the test set: store what baseline and winner of a study get right of it.

    Both are trained again for it, unless the winner was looked at before; that the selection
    metric comes out the same is checked. Without further trials it is no new look.
    """
    study, best = record.study, record.best
    if best is None:
        return
    n_trials = len(patiently(lambda: record.done_trials))
    look = record.test_look
    if look is None:
        look = _first_look(study, best, objective, stop)
    elif look["n_trials"] == n_trials:
        return
    now = datetime.now(UTC).isoformat()
    look = {**look, "looked": now, "n_trials": n_trials}
    name = f"{stored.TEST}/{now}-{os.getpid()}"
    patiently(study.set_user_attr, name, look)
    record.attrs[name] = look


def _first_look(
    study: optuna.Study, best: FrozenTrial, objective: InitOffsetObjective, stop: threading.Event
) -> stored.TestLook:
    starts = [objective.baseline_start, objective.start(best.params)]
    runs = objective.trainer.train(starts, stop=stop, evaluate_each_epoch=False, keep_weights=True)
    if stop.is_set():
        raise KeyboardInterrupt
    data, weights = objective.dataset, [run.weights or [] for run in runs]
    of_baseline, of_best = (run.history[-1] for run in runs)
    attrs = patiently(lambda: study.user_attrs)
    told = best.user_attrs.get(stored.TRIAL_METRICS), attrs.get(stored.BASELINE_METRICS)
    # As text, for the NaN of a baseline that diverged does not equal itself.
    if json.dumps(told, sort_keys=True) != json.dumps((of_best, of_baseline), sort_keys=True):
        _logger.warning(
            "Trained again for the test, baseline or best trial of study %r came out differently: "
            "its trials were trained on another machine, or with other versions or threads.",
            study.study_name,
        )
    baseline, winner = objective.trainer.evaluate(weights, data.x_test, data.y_test)
    return {
        "looked": "",
        "trial": best.number,
        "n_trials": 0,
        "n_images": len(data.y_test),
        "baseline": float(baseline.mean()) if is_finite(of_baseline) else math.nan,
        "best": float(winner.mean()),
        "won": int((winner & ~baseline).sum()),
        "lost": int((baseline & ~winner).sum()),
    }
