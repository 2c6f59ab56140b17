"""The evaluation of a search's best trial on the test set and on new seeds.

A search's gain over its own baseline may have three causes: the baseline had a bad seed, the best
network is good by chance, or the offsets help. To distinguish these causes, the best trial's
network and the baseline network are trained on the same new seeds.
"""

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from threading import Event
from typing import Any, NamedTuple, Self

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import (
    BASELINE_METRICS,
    CONFIRMED,
    GROUPS,
    SCORES,
    TEST,
    UNSEEDED,
    Confirmed,
    Json,
    TestComparison,
    confirmation_name,
    malformed,
    outcome_of,
    planned_of,
)
from adnn_optuna._checks import Fault, WrongValueError, logger, n_cores
from adnn_optuna._seeds import confirmation_seeds, experiment_fingerprint
from adnn_optuna._units import Estimate, score_sign, unit_of
from adnn_optuna.callbacks import working_time
from adnn_optuna.engine.evaluations import (
    SEEDS,
    make_evaluations,
    open_evaluations,
    plan_seeds,
)
from adnn_optuna.engine.example_scores import as_attributes, from_attributes, scores_as_attributes
from adnn_optuna.engine.objectives import Outcome
from adnn_optuna.engine.records import attributes_in, confirmation_trials
from adnn_optuna.experiments.experiment import is_of_trial
from adnn_optuna.experiments.network_objective import NetworkObjective
from adnn_optuna.experiments.records import (
    BASELINE_ARM,
    BEST_ARM,
    CONFIRMATION_NAMES,
    FIRST_ARM,
    NetworkRecord,
)
from adnn_optuna.networks import retraining
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.training import Trainer, is_finite
from adnn_optuna.samplers._evaluations import Evaluation, evaluation_trials, value_of
from adnn_optuna.stats.example_scores import (
    difference_from_mean,
    effective_number,
    mean_gain,
    score_estimate,
    variance_of_mean,
)
from adnn_optuna.stats.sequential import ALPHA, n_claims_of_rank

FEWEST_SEEDS = 6  # With fewer pairs, no CI by sign flips is finite.


def evaluate_test_set(
    record: NetworkRecord, objective: NetworkObjective, stop: Event
) -> NetworkRecord:
    """Train the baseline and the best network again, and store their test-set evaluation.

    If the best trial was tested before, no network is trained. If no trial was added since then,
    nothing is stored, either.
    """
    best = record.best
    if best is None:
        return record
    # Another worker may have evaluated the test set since this record was read.
    record = record.refreshed(TEST, SCORES, GROUPS)
    n_trials = len(record.done_trials)
    evaluation: Any = record.test_evaluation
    attrs: Json = {}
    if evaluation is None:
        best_objective, _, runs = retrain_best_trial(record, objective, stop)
        compared = compared_on_test_set(best_objective.trainer, *runs)
        evaluation = {"trial": best.number, **compared}
        attrs |= scores_as_attributes(f"{SCORES}/{best.number}", runs[1].scores)
        if "n_groups" in evaluation:
            attrs |= as_attributes(GROUPS, best_objective.dataset.test_groups)
    elif evaluation["n_trials"] == n_trials:
        return record
    now = datetime.now(UTC).isoformat()
    evaluation = {**evaluation, "evaluated_at": now, "n_trials": n_trials}
    # The evaluation is stored last, so its presence shows that the scores are stored.
    return record.with_stored({**attrs, f"{TEST}/{now}-{os.getpid()}": evaluation})


def retrain_best_trial(
    record: NetworkRecord, objective: NetworkObjective, stop: Event | None = None
) -> tuple[NetworkObjective, list[list[Start]], list[retraining.Retrained]]:
    """Train a search's baseline and best network again. Warn if the results have changed.

    Return the best trial's objective, the starts of both networks, and both results.
    """
    assert record.best is not None, "There is a best trial."
    objective = objective.as_trained(record.best)
    params = record.best.params
    baseline_experiment = objective.baseline_experiment
    trainer = objective.trainer
    starts = [baseline_experiment.starts({}), objective.starts(params)]
    tested_networks = objective.take_tested(params)
    if tested_networks is not None:
        runs = [retraining.tested(trainer, networks) for networks in tested_networks]
    elif baseline_experiment is objective:
        runs = [*retraining.retrain(trainer, starts, stop)]
    else:
        runs = [*retraining.retrain(baseline_experiment.trainer, starts[:1], stop)]
        runs += retraining.retrain(trainer, starts[1:], stop)
    attrs = record.best.user_attrs
    metrics_of_baseline = {**record.attrs, **attrs}.get(BASELINE_METRICS, {})
    metrics_of_best = outcome_of(attrs).get("metrics", {})
    metrics = [run.metrics for run in runs]
    before = [{**metrics[0], **metrics_of_baseline}, {**metrics[1], **metrics_of_best}]
    # The comparison is of texts, because the NaN of a diverged baseline does not equal itself.
    if json.dumps(before) != json.dumps(metrics):
        logger.warning(
            "Trained again, the baseline or the best trial of study %r has other results. Its "
            "trials were trained on another machine, or with other versions or threads.",
            record.study.study_name,
        )
    return objective, starts, runs


def compared_on_test_set(
    trainer: Trainer, baseline: retraining.Retrained, best: retraining.Retrained
) -> TestComparison:
    """Compare a baseline and a best network on the test set."""
    n_classes = trainer.architecture.head.num_classes
    data = trainer.dataset
    differences = best.scores.astype(float) - baseline.scores
    metrics = {}
    for name, value in best.metrics.items():
        if name.startswith("test_"):
            metrics[name.removeprefix("test_")] = value
    baseline_score = math.nan
    if is_finite(baseline.metrics):
        baseline_score = baseline.score
    comparison: TestComparison = {
        "n_images": len(differences),
        "unit": data.unit,
        "baseline": baseline_score,
        "best": best.score,
        "metrics": metrics,
    }
    if data.test_groups.max() + 1 < len(differences):
        comparison["n_groups"] = effective_number(data.test_groups)
    if trainer.judge == "accuracy":
        comparison["won"] = int((differences > 0).sum())
        comparison["lost"] = int((differences < 0).sum())
    else:
        variance, _ = variance_of_mean(differences, data.test_groups, are_alike=True)
        comparison["standard_error"] = variance**0.5
    if n_classes is not None:
        sizes = np.bincount(data.y_test, minlength=n_classes)
        largest = int(sizes.argmax())
        labels = data.classes or range(n_classes)
        comparison["n_classes"] = n_classes
        comparison["largest_class"] = str(labels[largest])
        comparison["n_largest"] = int(sizes[largest])
    return comparison


def gains_of(objective: NetworkObjective, runs: Sequence[retraining.Retrained]) -> list[float]:
    """Return the test gain of each pair of runs.

    The runs alternate: a baseline network, a best network, and so on.
    """
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [objective.improvement(best.score, baseline.score) for baseline, best in pairs]


def is_random(objective: NetworkObjective) -> bool:
    """Return whether another seed trains a different network."""
    return not {"initialisation", "order"}.isdisjoint(retraining.random_sources(objective.trainer))


def note_randomness(record: NetworkRecord, objective: NetworkObjective) -> NetworkRecord:
    """If no seed changes the training of the best trial, store a note."""
    if record.best is not None and not is_random(objective.of(record.best.params)):
        return record.with_stored({f"{UNSEEDED}/{record.best.number}": True})
    return record


def confirm_best_trial(
    record: NetworkRecord,
    objective: NetworkObjective,
    n_seeds: int,
    *,
    stop: Event | None = None,
    show_progress_bar: bool = False,
) -> NetworkRecord:
    """Train the best and the baseline network of a tested search on new seeds.

    A best trial is confirmed only once, with the number of seeds of its first confirmation. If
    another study in the storage confirmed the same parameters, its training runs are reused.
    """
    best = record.best
    assert best is not None, "The search was tested."
    arms = _arms(record, objective, best)
    if not is_random(arms[BASELINE_ARM][0]):
        raise WrongValueError(
            "Neither the initial weights nor the order of the batches are random, so no new seed "
            "can confirm the best trial. Pass confirm=0."
        )
    record = record.refreshed(CONFIRMED)
    if best.number not in record.confirmations:
        declared = _declaration(record, best, n_seeds, [*arms])
        name = f"{CONFIRMED}/{declared['began']}-{os.getpid()}"
        # Another worker may have declared a confirmation at the same time. The first declaration
        # counts.
        record = record.with_stored({name: declared}).refreshed(CONFIRMED)
    confirmed = record.confirmations[best.number]
    if confirmed["arms"] != [*arms]:
        fault = Fault(f"of trial {best.number} and its arms {[*arms]}", "others")
        raise malformed(CONFIRMED, f"study {record.study.study_name!r}", fault)
    plan_seeds(record.study, best.number, len(confirmed["seeds"]))
    evaluate = _NetworkEvaluation(arms, stop, _earlier_runs(record, confirmed))
    needed = needed_evaluations(confirmed)
    n_at_once = arms[BASELINE_ARM][0].trainer.n_at_once(least=n_cores())
    make_evaluations(
        lambda _: needed,
        _open(record),
        CONFIRMATION_NAMES,
        evaluate,
        n_jobs=n_at_once,
        stop=stop,
        show_progress_bar=show_progress_bar,
    )
    return record.with_new_seeds()


def _declaration(
    record: NetworkRecord, best: FrozenTrial, n_seeds: int, arms: list[int]
) -> Confirmed:
    """Return the plan of a confirmation, with the seeds of an earlier confirmation, if any."""
    experiment = experiment_fingerprint(record.config)
    declared: Confirmed = {
        "began": datetime.now(UTC).isoformat(),
        "trial": best.number,
        "seeds": [*confirmation_seeds(experiment, best.params, n_seeds)],
        "arms": arms,
    }
    earlier_confirmations = _earlier(record, declared["seeds"])
    if earlier_confirmations:
        declared["earlier"] = [study_name for study_name, _ in earlier_confirmations]
        declared["seeds"] = earlier_confirmations[0][1]["seeds"]
    return declared


def _open(record: NetworkRecord) -> optuna.Study:
    """Create or load the study that stores the evaluations on new seeds.

    The seeds depend on the experiment, not on the study.
    """
    name = confirmation_name(record.study.study_name)
    what = "best and baseline networks on new seeds"
    return open_evaluations(record.study._storage, name, what)


@dataclasses.dataclass(frozen=True)
class _NetworkEvaluation:
    """Trains one of a confirmation's networks on a new seed, or returns an earlier result.

    The number ``arm`` says which network is trained, such as :data:`BASELINE_ARM`.
    """

    arms: Mapping[int, tuple[NetworkObjective, Json]]
    stop: Event | None
    earlier: Mapping[tuple[int, int], Outcome] = dataclasses.field(default_factory=dict)

    def __call__(self, _: int, arm: int, seed: int) -> Outcome:
        earlier_outcome = self.earlier.get((arm, seed))
        if earlier_outcome is not None:
            return earlier_outcome
        experiment, params = self.arms[arm]
        starts = experiment.replace(seed=seed).starts(params)
        [run] = retraining.retrain(experiment.trainer, [starts], self.stop)
        # A diverged run is also a result, because the parameters may cause the divergence.
        scores = scores_as_attributes(SCORES, run.scores)
        return Outcome("complete", run.score, system_attrs=scores)


def _earlier(record: NetworkRecord, seeds: list[int]) -> list[tuple[str, Confirmed]]:
    """Return confirmations of the same parameters and experiment in other studies, by time.

    Equal seeds identify them, because parameters and experiment determine the seeds. If two
    confirmations differ in the number of seeds, their first seeds are equal.
    """
    earlier = []
    attributes_of_others = attributes_in(record.study._storage)
    attributes_of_others.pop(record.study.study_name, None)
    for name, attrs in attributes_of_others.items():
        for attribute, confirmed in attrs.items():
            if not attribute.startswith(f"{CONFIRMED}/"):
                continue
            n = min(len(confirmed["seeds"]), len(seeds))
            if confirmed["seeds"][:n] == seeds[:n]:
                earlier.append((name, confirmed))
    return sorted(earlier, key=lambda of_study: of_study[1]["began"])


def _earlier_runs(record: NetworkRecord, confirmed: Confirmed) -> dict[tuple[int, int], Outcome]:
    """Return the training runs of an earlier confirmation, by arm and seed."""
    outcomes: dict[tuple[int, int], Outcome] = {}
    confirmations = []
    if "earlier" in confirmed:
        confirmations = _earlier(record, confirmed["seeds"])
    if not confirmations:
        return outcomes
    name, earlier = confirmations[0]
    trials = confirmation_trials(record.study._storage, name)
    for evaluation, trial in evaluation_trials(trials, CONFIRMATION_NAMES).items():
        trial_number, arm, seed = evaluation
        # The first trial of the other study may have other hyperparameters.
        if trial_number == earlier["trial"] and arm != FIRST_ARM:
            attrs = trial.system_attrs
            scores = {k: v for k, v in attrs.items() if k.startswith(SCORES)}
            outcomes[arm, seed] = Outcome("complete", value_of(trial), system_attrs=scores)
    return outcomes


def needed_evaluations(confirmed: Confirmed) -> list[Evaluation]:
    """Return the training runs that a confirmation needs."""
    return [*itertools.product([confirmed["trial"]], confirmed["arms"], confirmed["seeds"])]


def replicate_best_trial(record: NetworkRecord, objective: NetworkObjective, stop: Event) -> None:
    """Train the best trial's network and its baseline network on one new seed.

    A control without offsets, or without a learning rate to try on another seed, trains nothing.
    """
    best = record.best
    if best is None or record.is_restart or not record.arm.copied_settings:
        return
    experiment = objective.as_trained(best)
    if not is_random(experiment):
        return
    arms = {
        BASELINE_ARM: (experiment.baseline_experiment, dict[str, Any]()),
        BEST_ARM: (experiment, best.params),
    }
    fingerprint = experiment_fingerprint(record.config)
    [seed] = confirmation_seeds(fingerprint, best.params, 1)
    needed = [(best.number, arm, seed) for arm in arms]
    make_evaluations(
        lambda _: needed,
        _open(record),
        CONFIRMATION_NAMES,
        _NetworkEvaluation(arms, stop),
        stop=stop,
    )


def _arms(
    record: NetworkRecord, objective: NetworkObjective, best: FrozenTrial
) -> dict[int, tuple[NetworkObjective, Json]]:
    """Map each network of a confirmation to its experiment and its offsets.

    Keys are :data:`BASELINE_ARM`, :data:`BEST_ARM` and :data:`FIRST_ARM`. The last two keys are
    omitted if their network would equal the baseline network.
    """
    best_objective = objective.as_trained(best)
    first = record.done_trials[0]
    baseline_experiment = best_objective.baseline_experiment
    arms: dict[int, tuple[NetworkObjective, Json]] = {BASELINE_ARM: (baseline_experiment, {})}
    if (
        best_objective.has_offsets_or_ensemble(best.params)
        or baseline_experiment is not best_objective
    ):
        arms[BEST_ARM] = (best_objective, best.params)
    if objective.compared is not None:
        return arms
    searched = best_objective.distributions
    hyperparameters = {k: v for k, v in best.params.items() if k not in searched}
    first_hyperparameters = {k: v for k, v in first.params.items() if k not in searched}
    if hyperparameters != first_hyperparameters:
        arms[FIRST_ARM] = (objective.as_trained(first), {})
    return arms


def n_training_runs(record: NetworkRecord) -> int:
    """Return the maximum number of training runs that a confirmation needs."""
    return SEEDS * (1 + (not record.is_restart) + is_of_trial(record.config))


def seconds_of(record: NetworkRecord, count: int) -> float:
    """Return the expected seconds of ``count`` training runs, from the durations of trials."""
    outcomes = (outcome_of(trial.user_attrs) for trial in record.done_trials)
    seconds = [outcome["trained"]["seconds"] for outcome in outcomes if "trained" in outcome]
    return count / n_cores() * fmean(seconds or [0.0])


def is_affordable(
    record: NetworkRecord, objective: NetworkObjective, max_time: float | None
) -> bool:
    """Return whether a confirmation is short enough.

    It needs at most as many training runs as the search had trials, and it must fit in the rest of
    ``max_time``. Also, something in the training must be random.
    """
    best = record.best
    count = n_training_runs(record)
    if best is None or count > len(record.done_trials) or not is_random(objective.of(best.params)):
        return False
    seconds_left = math.inf
    if max_time is not None:
        seconds_left = max_time - working_time(record.study)
    return seconds_of(record, count) <= seconds_left


class OwnScores(NamedTuple):
    """The scores of the best network on the n test examples, and the examples' groups."""

    scores: np.ndarray
    groups: np.ndarray | None = None
    # The number of examples outside the largest class, for metrics such as AUC.
    n_rare: int | None = None
    most: float = math.inf  # The largest possible value of the metric.

    @classmethod
    def of(
        cls, scores: np.ndarray, groups: np.ndarray | None, metric: str, comparison: TestComparison
    ) -> Self:
        """Return the scores with the facts on their metric from a test-set comparison."""
        is_share = unit_of(metric).largest < math.inf and scores.dtype != bool
        n_rare = None
        if is_share:
            n_rare = comparison["n_images"] - comparison.get("n_largest", 0)
        most = math.inf
        if metric == "test_r2":
            most = 1.0
        return cls(scores, groups, n_rare, most)


@dataclasses.dataclass(frozen=True)
class ConfirmationRuns:
    """All training runs that confirm a best trial."""

    trial: int
    rank: int  # The trial's rank, from 1, among the study's confirmed best trials.
    seeds: tuple[int, ...]  # The K new seeds.
    own: OwnScores
    values: Mapping[int, np.ndarray]  # The test metric of each arm's networks, of shape (K,).
    # The baseline networks' scores of the test examples, of shape (K, n).
    baseline_scores: np.ndarray
    is_loss: bool = False
    earlier: tuple[str, ...] = ()  # The studies that confirmed the same parameters earlier.


def read_runs(record: NetworkRecord) -> ConfirmationRuns | None:
    """Return the training runs that confirm the best trial, or :obj:`None` if some are missing."""
    best = record.best
    tested = own_scores(record)
    planned = None
    if best is not None:
        planned = planned_of(record.attrs, best.number)
    if best is None or tested is None or planned is None:
        return None
    confirmed = record.confirmations[best.number]
    trials = evaluation_trials(record.confirming, CONFIRMATION_NAMES)
    if not trials.keys() >= {*needed_evaluations(confirmed)}:
        return None
    seeds = confirmed["seeds"]
    values = {}
    for arm in confirmed["arms"]:
        values[arm] = np.array([value_of(trials[best.number, arm, seed]) for seed in seeds])
    baseline_scores = []
    name = confirmation_name(record.study.study_name)
    for seed in seeds:
        trial = trials[best.number, BASELINE_ARM, seed]
        trial_label = f"trial {trial.number} of study {name!r}"
        shapes = [tested.scores.shape]
        baseline_scores += from_attributes(trial.system_attrs, SCORES, trial_label, shapes)
    earlier = confirmed.get("earlier", ())
    return ConfirmationRuns(
        trial=best.number,
        rank=planned["rank"],
        seeds=tuple(seeds),
        own=tested,
        values=values,
        baseline_scores=np.stack(baseline_scores),
        is_loss=record.is_minimized,
        earlier=tuple(earlier),
    )


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """The results of a best trial on new seeds, by the selection metric on the test set.

    Attributes:
        trial: The number of the best trial.
        rank: The rank, from 1, of the best trial among the study's confirmed best trials.
        level: The level of each CI. It is 0.95 for the first confirmed best trial. Each further
            confirmed best trial has half the error rate of the previous one.
        test_score: The test score of the best network of the search.
        vs_baselines: The test score minus the mean score of baseline networks on the new seeds. A
            positive difference means that the best network is better.
        replication: The mean gain of the best trial's offsets on the new seeds, or 0 without
            offsets.
        hyperparameters: The mean gain of the best trial's hyperparameters over the first trial's,
            on the new seeds and without offsets. :obj:`None` if no hyperparameters were searched.
        seeds: The new seeds.
        gains: The gain of the offsets on each new seed; empty without offsets.
        baselines: The score of the baseline network on each new seed.
        earlier: The names of other studies in the storage that confirmed the same parameters
            before. The training runs are from the first of these studies.
    """

    trial: int
    rank: int
    level: float
    test_score: Estimate
    vs_baselines: Estimate
    replication: Estimate
    hyperparameters: Estimate | None
    seeds: tuple[int, ...]
    gains: tuple[float, ...]
    baselines: tuple[float, ...]
    earlier: tuple[str, ...] = ()


def read_confirmation(record: NetworkRecord) -> Confirmation | None:
    """Return the confirmation of the best trial, or :obj:`None` without one."""
    runs = read_runs(record)
    if runs is None:
        return None
    return confirmation_of(runs)


def own_estimate(own: OwnScores, level: float = 1 - ALPHA) -> Estimate:
    """Return the test score of the best network, with its CI."""
    return score_estimate(own.scores, own.groups, own.n_rare, own.most, level=level)


def confirmation_of(runs: ConfirmationRuns) -> Confirmation:
    """Return the confirmation that follows from its training runs."""
    n_claims = n_claims_of_rank(runs.rank)
    values = runs.values
    n_examples = runs.baseline_scores.shape[1]
    level = 1 - ALPHA / n_claims
    sign = score_sign(maximize=not runs.is_loss)
    gains = np.zeros(0)
    replication = Estimate(0.0, 0.0, 0.0)
    hyperparameters = None
    if BEST_ARM in values:
        gains = sign * (values[BEST_ARM] - values[BASELINE_ARM])
        replication = mean_gain(gains, n_claims, n_examples)
    if FIRST_ARM in values:
        of_seeds = sign * (values[BASELINE_ARM] - values[FIRST_ARM])
        hyperparameters = mean_gain(of_seeds, n_claims, n_examples)
    tested = runs.own
    higher = difference_from_mean(
        tested.scores, runs.baseline_scores, tested.groups, tested.n_rare, level=level
    )
    lower = Estimate(-higher.value, -higher.high, -higher.low)
    vs_baselines = lower
    if sign > 0:
        vs_baselines = higher
    test_score = own_estimate(tested, level)
    baseline_scores = values[BASELINE_ARM].tolist()
    return Confirmation(
        trial=runs.trial,
        rank=runs.rank,
        level=level,
        test_score=test_score,
        vs_baselines=vs_baselines,
        replication=replication,
        hyperparameters=hyperparameters,
        seeds=runs.seeds,
        gains=tuple(gains.tolist()),
        baselines=tuple(baseline_scores),
        earlier=runs.earlier,
    )


def own_scores(record: NetworkRecord) -> OwnScores | None:
    """Return the test scores of the best network, or :obj:`None` before the test."""
    evaluation = record.test_evaluation
    if evaluation is None:
        return None
    attrs = record.attrs
    study_label = f"study {record.study.study_name!r}"
    name = f"{SCORES}/{evaluation['trial']}"
    [scores] = from_attributes(attrs, name, study_label)
    groups = None
    if f"{GROUPS}/0" in attrs:
        [groups] = from_attributes(attrs, GROUPS, study_label, [scores.shape])
        numbers = {*groups.tolist()}
        if groups.dtype.kind not in "iu" or not numbers <= {*range(len(groups))}:
            fault = Fault("numbers of groups", "others")
            raise malformed(GROUPS, study_label, fault)
    return OwnScores.of(scores, groups, record.test_metric, evaluation)
