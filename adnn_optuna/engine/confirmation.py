"""The best trial of a search judged: on the test set, and on new seeds, beside its study."""

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from threading import Event
from typing import Any, TypeVar

import optuna
from optuna.trial import FrozenTrial

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Confirmed
from adnn_optuna._checks import Fault, WrongValueError, logger
from adnn_optuna._seeds import confirmation_seeds, experiment_fingerprint
from adnn_optuna.callbacks import MaxTimeCallback
from adnn_optuna.engine import records
from adnn_optuna.engine.arms import EnsembleObjective, may_replicate
from adnn_optuna.engine.evaluations import make_needed, open_evaluations, plan_seeds
from adnn_optuna.engine.example_scores import as_attributes, scores_as_attributes
from adnn_optuna.engine.experiment import is_of_trial
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.objectives import Outcome
from adnn_optuna.engine.records import BASELINE, BEST, CONFIRMATION_NAMES, FIRST, SearchRecord
from adnn_optuna.engine.test_evaluations import attributes_in
from adnn_optuna.networks import retraining
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.training import n_cores
from adnn_optuna.samplers._evaluations import Evaluation, evaluation_of
from adnn_optuna.samplers._trials import is_done

Record = TypeVar("Record", bound=SearchRecord)

SEEDS = 10
"""How many new seeds confirm a best trial by default."""
FEWEST_SEEDS = 6  # Of fewer pairs, no interval by sign flips is finite.


def evaluate_test_set(record: Record, objective: InitOffsetObjective, stop: Event) -> Record:
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
        compared = retraining.compared_on_test_set(of_best.trainer, *runs)
        evaluation = {**compared, "trial": best.number}
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
    record: SearchRecord, objective: InitOffsetObjective, stop: Event | None = None
) -> tuple[InitOffsetObjective, list[list[Start]], list[retraining.Retrained]]:
    """Train baseline and best network of a search again; warn if they come out differently.

    Return the best trial's objective, what both were trained from, and what came of them.
    """
    assert record.best is not None, "There is a best trial."
    objective, params = objective.as_trained(record.best), record.best.params
    unsearched, trainer = objective.unsearched, objective.trainer
    starts = [unsearched.starts({}), objective.starts(params)]
    known = objective.take_tested(params) if isinstance(objective, EnsembleObjective) else None
    if known is not None:
        runs = [retraining.tested(trainer, one) for one in known]
    elif unsearched is objective:
        runs = [*retraining.retrain(trainer, starts, stop)]
    else:
        runs = [*retraining.retrain(unsearched.trainer, starts[:1], stop)]
        runs += retraining.retrain(trainer, starts[1:], stop)
    attrs = record.best.user_attrs
    of_baseline = {**record.attrs, **attrs}.get(stored.BASELINE_METRICS, {})
    of_best = stored.outcome_of(attrs).get("metrics", {})
    before = [{**runs[0].metrics, **of_baseline}, {**runs[1].metrics, **of_best}]
    # As text, for the NaN of a baseline that diverged does not equal itself.
    if json.dumps(before) != json.dumps([run.metrics for run in runs]):
        logger.warning(
            "Trained again, baseline or best trial of study %r came out differently: its trials "
            "were trained on another machine, or with other versions or threads.",
            record.study.study_name,
        )
    return objective, starts, runs


def gains_of(objective: InitOffsetObjective, runs: Sequence[retraining.Retrained]) -> list[float]:
    """Return the test gains by the training runs of baseline and best network by turns."""
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [objective.improvement(best.score, baseline.score) for baseline, best in pairs]


def is_random(objective: InitOffsetObjective) -> bool:
    """Return whether another seed gives another network."""
    return not {"initialisation", "order"}.isdisjoint(retraining.random_sources(objective.trainer))


def note_randomness(record: Record, objective: InitOffsetObjective) -> Record:
    """Store it if no seed changes the training of the best trial."""
    if record.best is not None and not is_random(objective.of(record.best.params)):
        return record._with_stored({f"{stored.UNSEEDED}/{record.best.number}": True})
    return record


def confirm_best_trial(
    record: Record,
    objective: InitOffsetObjective,
    n_seeds: int,
    *,
    stop: Event | None = None,
    show_progress_bar: bool = False,
) -> Record:
    """Train the best and the baseline network of a tested search from new seeds.

    A best trial is confirmed once: with the number of seeds of its first confirmation. If another
    study of the storage confirmed the same parameters, its training runs count.
    """
    best = record.best
    assert best is not None, "The search was tested."
    arms = _arms(record, objective, best)
    if not is_random(arms[BASELINE][0]):
        raise WrongValueError(
            "Neither the initial weights nor the order of the batches are random, so no new seed "
            "can confirm the best trial. Pass confirm=0."
        )
    record = record._refreshed(stored.CONFIRMED)
    if best.number not in record.confirmations:
        experiment = experiment_fingerprint(record.attrs[stored.CONFIG])
        declared: Confirmed = {
            "began": datetime.now(UTC).isoformat(),
            "trial": best.number,
            "seeds": [*confirmation_seeds(experiment, best.params, n_seeds)],
            "arms": [*arms],
        }
        if others := _earlier(record, declared["seeds"]):
            declared["earlier"] = [study_name for study_name, _ in others]
            declared["seeds"] = others[0][1]["seeds"]
        name = f"{stored.CONFIRMED}/{declared['began']}-{os.getpid()}"
        # Others may have declared it at the same moment: the first one counts.
        record = record._with_stored({name: declared})._refreshed(stored.CONFIRMED)
    confirmed = record.confirmations[best.number]
    if confirmed["arms"] != [*arms]:
        fault = Fault(f"of trial {best.number} and its arms {[*arms]}", "others")
        raise stored.malformed(stored.CONFIRMED, f"study {record.study.study_name!r}", fault)
    plan_seeds(record.study, best.number, len(confirmed["seeds"]))
    record = record._refreshed(stored.PLANNED)
    evaluate = _NetworkEvaluation(arms, stop, _earlier_runs(record, confirmed))
    n_at_once = arms[BASELINE][0].trainer.n_at_once(least=n_cores())
    make_needed(
        needed_evaluations(confirmed),
        _open(record),
        CONFIRMATION_NAMES,
        evaluate,
        n_jobs=n_at_once,
        stop=stop,
        show_progress_bar=show_progress_bar,
    )
    made = records.confirmation_trials(record.study._storage, record.study.study_name)
    return dataclasses.replace(record, confirming=made)


def _open(record: SearchRecord) -> optuna.Study:
    """Return the study of the evaluations, of whatever study had the name before.

    Their seeds are of the experiment.
    """
    name = records.confirmation_name(record.study.study_name)
    what = "best and baseline networks on new seeds"
    return open_evaluations(record.study._storage, name, what)


@dataclasses.dataclass(frozen=True)
class _NetworkEvaluation:
    """Trains the network of an arm from a new seed, unless an earlier confirmation did."""

    arms: Mapping[int, tuple[InitOffsetObjective, dict[str, Any]]]
    stop: Event | None
    earlier: Mapping[tuple[int, int], Outcome] = dataclasses.field(default_factory=dict)

    def __call__(self, _: int, arm: int, seed: int) -> Outcome:
        if (known := self.earlier.get((arm, seed))) is not None:
            return known
        experiment, params = self.arms[arm]
        starts = experiment.replace(seed=seed).starts(params)
        [run] = retraining.retrain(experiment.trainer, [starts], self.stop)
        # Also of a run that diverged: these settings lead to such networks.
        scores = scores_as_attributes(stored.SCORES, run.scores)
        return Outcome("complete", run.score, system_attrs=scores)


def _earlier(record: SearchRecord, seeds: list[int]) -> list[tuple[str, Confirmed]]:
    """Return confirmations of the same experiment and parameters by other studies, in order.

    The seeds follow from both, and those of a smaller number are the first of a larger one.
    """
    found: list[tuple[str, Confirmed]] = []
    for name, attrs in attributes_in(record.study._storage).items():
        for attribute, confirmed in attrs.items():
            is_other = (
                attribute.startswith(f"{stored.CONFIRMED}/") and name != record.study.study_name
            )
            if is_other and all(a == b for a, b in zip(confirmed["seeds"], seeds, strict=False)):
                found.append((name, confirmed))
    return sorted(found, key=lambda one: one[1]["began"])


def _earlier_runs(record: SearchRecord, confirmed: Confirmed) -> dict[tuple[int, int], Outcome]:
    """Return the training runs of an earlier confirmation, by arm and seed."""
    found: dict[tuple[int, int], Outcome] = {}
    others = _earlier(record, confirmed["seeds"]) if "earlier" in confirmed else []
    for name, earlier in others[:1]:
        for trial in filter(is_done, records.confirmation_trials(record.study._storage, name)):
            of, arm, seed = evaluation_of(trial, CONFIRMATION_NAMES)
            # The first trial's hyperparameters may be others.
            if of == earlier["trial"] and arm != FIRST:
                value = math.nan if trial.value is None else trial.value
                attrs = trial.system_attrs
                scores = {k: v for k, v in attrs.items() if k.startswith(stored.SCORES)}
                found.setdefault((arm, seed), Outcome("complete", value, system_attrs=scores))
    return found


def needed_evaluations(confirmed: Confirmed) -> list[Evaluation]:
    """Return the training runs that a confirmation needs."""
    return [*itertools.product([confirmed["trial"]], confirmed["arms"], confirmed["seeds"])]


def replicate_best_trial(
    record: SearchRecord, objective: InitOffsetObjective, stop: Event
) -> None:
    """Train a best trial's network and its baseline network from one new seed.

    Only offsets and a learning rate can be trained from another seed.
    """
    best = record.best
    if best is None or record.is_restart or not may_replicate(record.sampler):
        return
    experiment = objective.as_trained(best)
    if not is_random(experiment):
        return
    arms = {BASELINE: (experiment.unsearched, dict[str, Any]()), BEST: (experiment, best.params)}
    fingerprint = experiment_fingerprint(record.attrs[stored.CONFIG])
    [seed] = confirmation_seeds(fingerprint, best.params, 1)
    make_needed(
        [(best.number, arm, seed) for arm in arms],
        _open(record),
        CONFIRMATION_NAMES,
        _NetworkEvaluation(arms, stop),
        stop=stop,
        show_progress_bar=False,
    )


def _arms(
    record: SearchRecord, objective: InitOffsetObjective, best: FrozenTrial
) -> dict[int, tuple[InitOffsetObjective, dict[str, Any]]]:
    """Return the experiment of each arm and its offsets; no arm is trained that is another one."""
    of_best, first = objective.as_trained(best), record.done_trials[0]
    unsearched = of_best.unsearched
    arms: dict[int, tuple[InitOffsetObjective, dict[str, Any]]] = {BASELINE: (unsearched, {})}
    if of_best.moves(best.params) or unsearched is not of_best:
        arms[BEST] = (of_best, best.params)
    if objective.compared is not None:
        return arms
    others, of_first = (
        {k: v for k, v in trial.params.items() if k not in of_best.distributions}
        for trial in (best, first)
    )
    if others != of_first:
        arms[FIRST] = (objective.as_trained(first), {})
    return arms


def n_training_runs(record: SearchRecord) -> int:
    """Return the number of training runs that confirm a best trial, at most."""
    return SEEDS * (1 + (not record.is_restart) + is_of_trial(record.attrs[stored.CONFIG]))


def seconds_of(record: SearchRecord, count: int) -> float:
    """Return about how long so many training runs take on this machine, by the trials."""
    outcomes = (stored.outcome_of(trial.user_attrs) for trial in record.done_trials)
    seconds = [outcome["trained"]["seconds"] for outcome in outcomes if "trained" in outcome]
    return count / n_cores() * fmean(seconds or [0.0])


def is_affordable(
    record: SearchRecord, objective: InitOffsetObjective, max_time: float | None
) -> bool:
    """Return whether a confirmation takes no more training runs and time than the search."""
    best, count = record.best, n_training_runs(record)
    if best is None or count > len(record.done_trials) or not is_random(objective.of(best.params)):
        return False
    left = math.inf if max_time is None else MaxTimeCallback(max_time).seconds_left(record.study)
    return seconds_of(record, count) <= left
