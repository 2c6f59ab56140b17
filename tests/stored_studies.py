"""Studies as searches store them: by the same samplers, but without a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from adnn_optuna.engine.arms import arm_of
from adnn_optuna.engine.records import record_of
from adnn_optuna.evidence.comparison import Comparison
from adnn_optuna.networks.offsets import RESTARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

N_TRIALS = 12


def store_study(
    name: str,
    *,
    sampler: str = "annealing",
    seed: int = 0,
    metric: str = "val_accuracy",
    gain: float = 0.0,
    values: Sequence[float] | None = None,
    storage: BaseStorage | None = None,
) -> optuna.Study:
    """Return a concluded study whose winner's test accuracy is ``gain`` above its baseline's."""
    rng = np.random.default_rng([seed, *name.encode()])
    # The baseline is that of the seed, whatever the arm.
    baseline = float(np.random.default_rng(seed).normal(0.9, 0.01))
    is_loss = metric.endswith("loss")
    if values is None:
        values = [baseline, *(baseline + rng.normal(0, 0.01, N_TRIALS - 1))]
    is_restart = sampler == "random_restart"
    study = optuna.create_study(
        study_name=name,
        direction="minimize" if is_loss else "maximize",
        storage=storage,
    )
    space = RESTARTS.config
    if not is_restart:
        space = {"type": "OffsetSpace", "low": -0.2, "high": 0.2, "scope": "layer"}
    study.set_user_attr(
        "adnn:config",
        {
            "model": {"type": "MLP", "hidden": [16]},
            "dataset": {"name": "digits", "source": "built-in", "fingerprint": "0" * 64},
            "training": {"optimizer": "sgd", "epochs": 2},
            "space": space,
            "metric": metric,
            "seed": seed,
        },
    )
    settings = {"sampler": sampler, "n_trials": len(values), "batch_size": 1}
    study.set_user_attr("adnn:search", settings)
    study.set_user_attr(
        "adnn:runs/2026-11-25T12:00:00+00:00-1",
        {
            "began": "2026-11-25T12:00:00+00:00",
            "sampler": sampler,
            "limits": {"max_time": None, "max_trial": len(values), "max_gain": None},
            "n_trials_before": 0,
            "stop_reason": "max_trial",
            "n_trials": len(values),
        },
    )
    study.set_user_attr("adnn:baseline", baseline)
    study.set_user_attr("adnn:baseline_metrics", {"val_accuracy": baseline})
    names = ("restart",) if is_restart else ("weight_offset_0", "bias_offset_0")
    study.sampler = arm_of(sampler).sampler(seed, names, len(values))
    distribution: BaseDistribution = FloatDistribution(-0.2, 0.2)
    if is_restart:
        distribution = IntDistribution(0, 2**31 - 1)
    for value in values:
        trial = study.ask(dict.fromkeys(names, distribution))
        if math.isnan(value):
            study._storage.set_trial_system_attr(trial._trial_id, "adnn:ended", "diverged")
            study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_user_attr("adnn:metrics", {"val_accuracy": value})
            study.tell(trial, value)
    if not all(map(math.isnan, values)):
        store_look(study, "2026-11-25T12:00:01+00:00", baseline - 0.01, gain)
    study.set_user_attr("adnn:stop_reason", "max_trial")
    return study


def store_look(study: optuna.Study, looked: str, baseline: float, gain: float) -> None:
    """Store a look at the test set that shows the best of all trials so far."""
    n_gained = round(1000 * gain)
    look = {
        "looked": looked,
        "trial": study.best_trial.number,
        "n_trials": len(study.trials),
        "n_images": 1000,
        "unit": "images",
        "baseline": baseline,
        "best": baseline + gain,
        "won": 20 + max(n_gained, 0),
        "lost": 20 + max(-n_gained, 0),
    }
    study.set_user_attr(f"adnn:test/{looked}-1", look)


def store_confusions(
    study: optuna.Study, baseline: list[list[int]], best: list[list[int]]
) -> None:
    """Store a look at the test set with the confusions of classes a, b, …, true ones by row."""
    matrices = {"baseline": np.array(baseline), "best": np.array(best)}
    n = int(matrices["best"].sum())
    right = {role: int(np.trace(matrix)) for role, matrix in matrices.items()}
    bins = [[0, 0.0, 0.0]] * 8 + [[n // 2, 0.85, 0.75], [n - n // 2, 0.95, 0.95]]
    look = {
        "looked": "2026-11-25T14:00:00+00:00",
        "trial": study.best_trial.number,
        "n_trials": len(study.trials),
        "n_images": n,
        "unit": "images",
        **{role: count / n for role, count in right.items()},
        "won": max(right["best"] - right["baseline"], 0) + 2,
        "lost": max(right["baseline"] - right["best"], 0) + 2,
        "classes": [chr(ord("a") + i) for i in range(len(best))],
        "confusion": {"baseline": baseline, "best": best},
        "calibration": {"baseline": bins, "best": bins},
    }
    study.set_user_attr("adnn:test/2026-11-25T14:00:00+00:00-1", look)


def store_comparison(
    gains: Mapping[str, Sequence[float]], *, metric: str = "val_accuracy", **options: Any
) -> Comparison:
    """Return a comparison of arms by the test gain of each seed's run."""
    results = {
        label: [
            record_of(
                store_study(
                    f"{label}/{seed=}",
                    sampler=label if label in ("greedy", "random_restart") else "annealing",
                    seed=seed,
                    metric=metric,
                    gain=gain,
                )
            )
            for seed, gain in enumerate(of_arm)
        ]
        for label, of_arm in gains.items()
    }
    seeds = tuple(range(len(next(iter(gains.values())))))
    return Comparison(results, seeds, **options)
