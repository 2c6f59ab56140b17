"""Best and baseline network trained from the same new seeds, stored beside their study."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Confirmed
from adnn_optuna._checks import Fault, WrongValueError
from adnn_optuna.callbacks import MaxTimeCallback
from adnn_optuna.engine.arms import may_replicate
from adnn_optuna.engine.evaluations import (
    Evaluation,
    Measured,
    Wanted,
    confirmation_seeds,
    make_evaluations,
    open_evaluations,
)
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.records import confirmation_name, confirmation_trials, is_of_trial
from adnn_optuna.engine.scores import scores_as_attributes
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.engine.storages import with_retry
from adnn_optuna.engine.test_set import (
    Record,
    gains_of,
    is_random,
)
from adnn_optuna.networks.retraining import retrain
from adnn_optuna.networks.training import n_cores

SEEDS = 10
"""How many new seeds confirm a best trial by default."""
FEWEST_SEEDS = 6  # Of fewer pairs, no interval by sign flips is finite.

# The arms: the baseline network, with the best trial's hyperparameters; the best network; and the
# baseline network with the first trial's, if hyperparameters were searched, too.
BASELINE, BEST, FIRST = range(3)
NAMES = ("trial", "arm", "seed")


def experiment_fingerprint(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's fingerprint: its configuration, whatever its data are called."""
    return {**config, "dataset": config["dataset"]["fingerprint"]}


def confirm_best_trial(
    record: Record,
    objective: InitOffsetObjective,
    n_seeds: int,
    *,
    stop: threading.Event | None = None,
    show_progress_bar: bool = False,
) -> Record:
    """Train the best and the baseline network of a tested search from new seeds.

    A best trial is confirmed once: with the number of seeds of its first confirmation.
    """
    best = record.best
    assert best is not None, "The search was tested."
    arms = _arms(record, objective, best)
    if not is_random(arms[BASELINE][0]):
        raise WrongValueError(
            "Neither the initial weights nor the order of the batches are random, so no new seed "
            "can confirm the best trial. Pass confirm=0."
        )
    name = f"{stored.CONFIRMED}/{best.number}"
    if name not in with_retry(lambda: record.study.user_attrs):
        experiment = experiment_fingerprint(record.attrs[stored.CONFIG])
        declared: Confirmed = {
            "began": datetime.now(UTC).isoformat(),
            "trial": best.number,
            "seeds": [*confirmation_seeds(experiment, best.params, n_seeds)],
            "arms": [*arms],
        }
        record = record._with_stored({name: declared})
    # As the first worker declared it, and with the earlier best trials.
    record = record._refreshed(stored.CONFIRMED)
    confirmed: Confirmed = record.attrs[name]
    if (confirmed["trial"], confirmed["arms"]) != (best.number, [*arms]):
        fault = Fault(f"of trial {best.number} and its arms {[*arms]}", "others")
        raise stored.malformed(name, f"study {record.study.study_name!r}", fault)
    # Of whatever study had the name before, as the seeds are of the experiment.
    what = "best and baseline networks on new seeds"
    where = record.study._storage, confirmation_name(record.study), StudyDirection.MAXIMIZE
    study = with_retry(open_evaluations, *where, what)

    def evaluate(_: int, arm: int, seed: int) -> Measured:
        experiment, params = arms[arm]
        [run] = retrain(experiment.trainer, [experiment.replace(seed=seed).starts(params)], stop)
        # Also of one that diverged: whoever trains so gets such a network.
        return Measured(run.score, scores_as_attributes(stored.SCORES, run.scores))

    needed = needed_evaluations(confirmed)

    def find(made: Mapping[Evaluation, float]) -> Wanted:
        return Wanted(made, study.study_name, needed)

    n_at_once = arms[BASELINE][0].trainer.n_at_once(least=n_cores())
    options: Any = {"n_jobs": n_at_once, "show_progress_bar": show_progress_bar}
    make_evaluations(find, study, NAMES, evaluate, stop=stop, **options)
    return record._changed(confirming=with_retry(confirmation_trials, record.study))


def needed_evaluations(confirmed: Confirmed) -> list[Evaluation]:
    """Return the training runs that a confirmation needs."""
    return [*itertools.product([confirmed["trial"]], confirmed["arms"], confirmed["seeds"])]


def replicate_best_trial(
    record: SearchRecord, objective: InitOffsetObjective, stop: threading.Event
) -> None:
    """Store what a best trial gains over its baseline network on one new seed.

    Only offsets and a learning rate can be trained from another seed.
    """
    best, is_known = record.best, not math.isnan(record.repeated)
    if best is None or is_known or record.is_restart or not may_replicate(record.sampler):
        return
    experiment = objective.as_trained(best)
    if not is_random(experiment):
        return
    [seed] = confirmation_seeds(
        experiment_fingerprint(record.attrs[stored.CONFIG]), best.params, 1
    )
    experiment = experiment.replace(seed=seed)
    starts = [experiment.baseline_start, experiment.start(best.params)]
    gain = 0.0
    if starts[0] != starts[1]:
        [gain] = gains_of(experiment, [*retrain(experiment.trainer, starts, stop)])
    record._with_stored({f"{stored.REPLICATED}/{best.number}": gain})


def _arms(
    record: SearchRecord, objective: InitOffsetObjective, best: FrozenTrial
) -> dict[int, tuple[InitOffsetObjective, dict[str, Any]]]:
    """Return the experiment of each arm and its offsets; no arm is trained that is another one."""
    of_best, first = objective.as_trained(best), record.done_trials[0]
    arms: dict[int, tuple[InitOffsetObjective, dict[str, Any]]] = {BASELINE: (of_best, {})}
    if of_best.moves(best.params):
        arms[BEST] = (of_best, best.params)
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
    trained = (stored.outcome_of(trial.user_attrs).get("trained") for trial in record.done_trials)
    return count / n_cores() * fmean([one["seconds"] for one in trained if one] or [0.0])


def is_affordable(
    record: SearchRecord, objective: InitOffsetObjective, max_time: float | None
) -> bool:
    """Return whether a confirmation takes no more training runs and time than the search."""
    best, count = record.best, n_training_runs(record)
    if best is None or count > len(record.done_trials) or not is_random(objective.of(best.params)):
        return False
    if max_time is None:
        return True
    return seconds_of(record, count) <= MaxTimeCallback(max_time).seconds_left(record.study)
