"""What a study tells of its search."""

from __future__ import annotations

import optuna
from search_worker import make_objective

from adnn_optuna.engine.records import record_of
from adnn_optuna.evidence.curves import gains_so_far
from adnn_optuna.reporting import searches


def test_a_gain_below_the_baseline_is_negative() -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"weight_offset_0": -0.2, "bias_offset_0": -0.2})
    study.enqueue_trial({"weight_offset_0": -0.1, "bias_offset_0": -0.2})
    study.optimize(make_objective(), n_trials=2)
    record = record_of(study)
    assert record.gain == record.best_value - record.baseline < 0
    assert f"gain {100 * record.gain:+.2f} pp" in searches.text(record)
    assert gains_so_far(record)[-1] == record.gain
