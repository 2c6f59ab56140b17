"""Studies without training, stored like searches, with the same samplers."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from adnn_optuna._attributes import COMPARISON
from adnn_optuna._seeds import confirmation_seeds, experiment_fingerprint
from adnn_optuna.engine.arms import arm_of
from adnn_optuna.engine.example_scores import as_attributes
from adnn_optuna.engine.records import read_record
from adnn_optuna.experiments.confirmation import ConfirmationRuns, OwnScores
from adnn_optuna.experiments.controls import ARMS
from adnn_optuna.experiments.records import BASELINE_ARM, BEST_ARM
from adnn_optuna.networks.offsets import RESTARTS
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.declarations import declared_arm, fixed_declaration
from adnn_optuna.results.study import result_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

    from adnn_optuna._attributes import Declaration, DeclaredArm
    from adnn_optuna.engine.records import SearchRecord

N_TRIALS = 12


def store_study(
    name: str,
    *,
    sampler: str = "annealing",
    seed: int = 0,
    metric: str = "val_accuracy",
    gain: float = 0.0,
    values: Sequence[float] | None = None,
    steps: Sequence[int] = (),
    storage: BaseStorage | None = None,
) -> optuna.Study:
    """Return a finished study whose best trial gains ``gain`` over the baseline on the test
    set.

    Each trial reports an intermediate value at each of ``steps``.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    # The baseline depends on the seed alone, not on the arm.
    baseline = float(np.random.default_rng(seed).normal(0.9, 0.01))
    is_loss, name_of_metric = metric.endswith("loss"), metric.partition("_")[2]
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
    study.set_user_attr("adnn:test_rows", "0" * 64)
    settings = {"sampler": sampler, "n_trials": len(values), "batch_size": 1}
    study.set_user_attr("adnn:search", settings)
    study.set_user_attr(
        "adnn:runs/2026-11-25T12:00:00+00:00-1",
        {
            "began": "2026-11-25T12:00:00+00:00",
            "sampler": sampler,
            "limits": {"max_time": None, "max_trial": len(values), "max_gain": None},
            "stop_reason": "max_trial",
            "n_trials": len(values),
        },
    )
    study.set_user_attr("adnn:baseline", baseline)
    study.set_user_attr("adnn:baseline_metrics", {f"val_{name_of_metric}": baseline})
    names = ("restart",) if is_restart else ("weight_offset_0", "bias_offset_0")
    distribution: BaseDistribution = FloatDistribution(-0.2, 0.2)
    if is_restart:
        distribution = IntDistribution(0, 2**31 - 1)
    parameters = dict.fromkeys(names, distribution)
    study.sampler = arm_of(sampler, ARMS).sampler(seed, parameters, len(values))
    for value in values:
        trial = study.ask(parameters)
        for step in steps:
            trial.report(0.5, step)
        if math.isnan(value):
            study._storage.set_trial_system_attr(trial._trial_id, "adnn:ended", "diverged")
            trained = {"seconds": 1.0, "epochs": 1}
            trial.set_user_attr("adnn:outcome", {"trained": trained})
            study.tell(trial, state=TrialState.FAIL)
        else:
            metrics = {f"val_{name_of_metric}": value}
            trial.set_user_attr("adnn:outcome", {"metrics": metrics})
            study.tell(trial, value)
    if not all(map(math.isnan, values)):
        store_test_evaluation(study, "2026-11-25T12:00:01+00:00", baseline - 0.01, gain)
    study.set_user_attr("adnn:stop_reason", "max_trial")
    return study


def store_test_evaluation(
    study: optuna.Study, evaluated_at: str, baseline: float, gain: float
) -> None:
    """Store a test-set evaluation of the best trial so far."""
    n_gained, metric = round(1000 * gain), study.user_attrs["adnn:config"]["metric"]
    name = metric.partition("_")[2]
    best = baseline - gain if name == "loss" else baseline + gain
    evaluation = {
        "evaluated_at": evaluated_at,
        "trial": study.best_trial.number,
        "n_trials": len(study.trials),
        "n_images": 1000,
        "unit": "images",
        "baseline": baseline,
        "best": best,
        "metrics": {name: best},
    }
    if name == "accuracy":
        evaluation |= {"won": 20 + max(n_gained, 0), "lost": 20 + max(-n_gained, 0)}
    else:
        evaluation["standard_error"] = 0.001
    study.set_user_attr(f"adnn:test/{evaluated_at}-1", evaluation)
    scores = scores_of(name, best)
    for name, text in as_attributes(f"adnn:scores/{evaluation['trial']}", scores).items():
        study.set_user_attr(name, text)


def scores_of(name: str, value: float) -> np.ndarray:
    """Return scores of 1000 test examples whose mean is the given metric."""
    if name == "accuracy":
        return np.arange(1000) < round(1000 * value)
    return value + np.linspace(-0.1, 0.1, 1000)


def confirmation(
    own: np.ndarray, scores: Mapping[int, np.ndarray], *, trial: int = 3, rank: int = 1
) -> ConfirmationRuns:
    """Return a confirmation from the test scores of the search's own network and of each arm."""
    values = {arm: of_arm.mean(axis=1, dtype=float) for arm, of_arm in scores.items()}
    seeds = tuple(range(len(scores[0])))
    return ConfirmationRuns(trial, rank, seeds, OwnScores(own), values, scores[0])


def store_confirmation(
    study: optuna.Study,
    gains: Sequence[float],
    *,
    baseline: float = 0.88,
    first: float | None = None,
    n_earlier: int = 0,
) -> SearchRecord:
    """Store a confirmation of the best trial, and return the study's record.

    Args:
        study: The study.
        gains: The gain on each new seed; if empty, only 10 baseline networks are stored.
        baseline: The mean accuracy of the baseline networks, which alternate by ± 0.01.
        first: The accuracy on each seed with the first trial's hyperparameters.
        n_earlier: The number of other trials of the study that were confirmed before.
    """
    number, n = study.best_trial.number, len(gains) or 10
    name = study.user_attrs["adnn:config"]["metric"].partition("_")[2]
    seeds = list(range(101, 101 + n))
    accuracies = {0: baseline + np.where(np.arange(n) % 2, 0.01, -0.01)}
    if len(gains):
        accuracies[1] = accuracies[0] + (-1 if name == "loss" else 1) * np.asarray(gains)
    if first is not None:
        accuracies[2] = np.full(n, first)
    for i in range(n_earlier + 1):
        trial = number if i == n_earlier else 1000 + i
        began = f"2026-11-25T14:{i:02}:00+00:00"
        declared = {"began": began, "trial": trial, "seeds": seeds, "arms": [*accuracies]}
        study.set_user_attr(f"adnn:confirmed/{trial}", declared)
        planned = {"seeds": n, "is_raised": False, "rank": i + 1}
        study.set_user_attr(f"adnn:planned/{trial}/{n}", planned)
    for arm, values in accuracies.items():
        for seed, value in zip(seeds, values, strict=True):
            scores = scores_of(name, value)
            system_attrs = as_attributes("adnn:scores", scores)
            store_evaluation(study, arm, seed, float(scores.mean()), system_attrs)
    return read_record(study)


def store_evaluation(
    study: optuna.Study,
    arm: int,
    seed: int,
    value: float,
    system_attrs: Mapping[str, Any] | None = None,
) -> None:
    """Store the value of an arm's network in the study that holds a search's evaluations."""
    other_study = optuna.create_study(
        storage=study._storage,
        study_name=f"{study.study_name}/confirmation",
        direction="maximize",
        load_if_exists=True,
    )
    other_study.set_user_attr("adnn:evaluated", "best and baseline networks on new seeds")
    params = {"trial": study.best_trial.number, "arm": arm, "seed": seed}
    distributions = dict.fromkeys(params, IntDistribution(0, 2**31 - 1))
    other_study.add_trial(
        optuna.create_trial(
            value=value, params=params, distributions=distributions, system_attrs=system_attrs
        )
    )


def store_classes(study: optuna.Study, sizes: Sequence[int]) -> None:
    """Add the sizes of classes to a stored test-set evaluation; the classes are a, b, …."""
    [name] = [name for name in study.user_attrs if name.startswith("adnn:test/")]
    evaluation = {**study.user_attrs[name], "n_images": sum(sizes), "n_classes": len(sizes)}
    evaluation |= {
        "largest_class": chr(ord("a") + sizes.index(max(sizes))),
        "n_largest": max(sizes),
    }
    study.set_user_attr(name, evaluation)


def store_comparison(
    gains: Mapping[str, Sequence[float]], *, metric: str = "val_accuracy", **options: Any
) -> Comparison:
    """Return a comparison of arms, given the test gain of each run."""
    results = {
        label: [
            read_result(
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


def with_replication(comparison: Comparison, gains: Mapping[str, Sequence[float]]) -> Comparison:
    """For each run, store the evaluation of one new seed with the given gain, and read it
    again.
    """
    for label, of_arm in gains.items():
        for run, gain in zip(comparison.results[label], of_arm, strict=True):
            experiment = experiment_fingerprint(run.record.attrs["adnn:config"])
            [seed] = confirmation_seeds(experiment, run.study.best_trial.params, 1)
            store_evaluation(run.study, BASELINE_ARM, seed, 0.0)
            value = run.record.improvement(gain, 0.0)
            store_evaluation(run.study, BEST_ARM, seed, value)
    return read_again(comparison)


def arm_named(name: str) -> DeclaredArm:
    """Return the declaration of an arm as comparisons store it."""
    return declared_arm(ARMS.get(name, arm_of(RandomSampler())), name)


def declaration(seeds: Sequence[int], *arms: str, sequential: bool = False) -> Declaration:
    """Return the declaration of a comparison of these arms, whose labels are their names."""
    named = {arm: arm_named(arm) for arm in arms}
    return {**fixed_declaration(seeds), "sequential": sequential, "arms": named}


def store_head(
    storage: optuna.storages.BaseStorage, name: str, declared: Declaration
) -> optuna.Study:
    """Store the head study of a comparison, which holds the comparison's declaration."""
    head = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    head.set_user_attr(COMPARISON, declared)
    return head


def read_result(study: optuna.Study) -> Any:
    """Return the result of a study, as read from its storage."""
    return result_of(read_record(study))


def changed(result: Any, attribute: str, **changes: Any) -> Any:
    """Change one stored attribute of a result's study, and read the result again."""
    attrs = result.study.user_attrs
    name = next(name for name in attrs if name.startswith(attribute))
    result.study.set_user_attr(name, {**attrs[name], **changes})
    return read_result(result.study)


def read_again(comparison: Comparison) -> Comparison:
    results = {
        label: [read_result(run.study) for run in of_arm]
        for label, of_arm in comparison.results.items()
    }
    return dataclasses.replace(comparison, results=results)


def four_arms() -> Comparison:
    noise = np.random.default_rng(0).normal(0, 0.004, (4, 10))
    names = ("greedy", "annealing", "random_restart", "rates")
    gains = {n: d + more for n, d, more in zip(names, noise, (0.01, 0, 0, 0.05), strict=True)}
    comparison = store_comparison(gains)
    for record in comparison.results["rates"]:
        changed(record, "adnn:search", sampler="learning_rate")
    return read_again(comparison)
