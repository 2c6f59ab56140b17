"""The best trials of any objective's studies, evaluated afresh: by nothing they were chosen by."""

from __future__ import annotations

import contextlib
import copy
import math
import threading

from optuna.exceptions import TrialPruned

from adnn_optuna.engine.outcomes import KeyedObjective, number, with_seed
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.storages import patiently
from adnn_optuna.networks.network import derived_seed


def evaluate_afresh(
    record: SearchRecord, objective: KeyedObjective, stop: threading.Event
) -> None:
    """Evaluate the best trial of a study as often as its objective says, and store the values.

    Their seeds follow from the unit's, so all arms of a unit have the same ones. One that comes to
    no value (NaN, infinite or pruned) is stored as none.

    Raises:
        KeyboardInterrupt: If ``stop`` is set meanwhile.
    """
    evaluate = with_seed(objective.function)[0]
    for name in record.fresh_names:
        if name in record.attrs:
            continue
        if stop.is_set():
            raise KeyboardInterrupt
        value = math.nan
        with contextlib.suppress(TrialPruned):
            seed = derived_seed(objective.seed, 1, int(name.rpartition("/")[2]))
            value = number(evaluate(copy.deepcopy(record.best), seed))
        patiently(record.study.set_user_attr, name, value if math.isfinite(value) else None)
