"""Notes by which a reader can judge searches, a sentence or two each."""

import math
from collections.abc import Sequence

from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import TestEvaluation
from adnn_optuna._units import in_list, score_in_words
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.networks.duplicates import in_words
from adnn_optuna.results.confirmation import Confirmation
from adnn_optuna.results.confirmed_value import rank_notes
from adnn_optuna.results.differences import times, unseen_notes
from adnn_optuna.samplers._owners import owner_of
from adnn_optuna.samplers._trials import is_feasible
from adnn_optuna.stats.paired_differences import NORMAL, fewest_pairs, is_by_t
from adnn_optuna.stats.proportions import chance_limit, n_counted

_ENDS = {
    "interrupted": "The search was interrupted.",
    "exhausted": "The sampler has proposed all of its trials.",
}
_N_NAMED = 5  # Of variables that no offset changes.
_ENDED_WITHOUT_VALUE = (TrialState.PRUNED, TrialState.FAIL)
# A test set is uneven if its largest class is so many times as frequent as the others on average:
# always predicting this class is then right as many times as often as predicting another one.
_UNEVEN = 1.5


def why_no_best_trial(record: SearchRecord) -> str:
    """Return why a search has no best trial, and how to get one."""
    n = sum(not is_feasible(trial) for trial in record.trials)
    if n:
        return (
            f"No trial is feasible: {n} violate a constraint. Run more trials, or relax the "
            "constraints."
        )
    trials = [trial for trial in record.trials if trial.state in _ENDED_WITHOUT_VALUE]
    fix = "Look at the log."
    if stored.CONFIG in record.attrs:
        trials = record.done_trials
        fix = "Look at the log; if training runs diverge, lower the learning rate."
    if not trials:
        return (
            "No trial is finished yet. Continue the search, with a longer max_time if it is set."
        )
    n_failed = sum(trial.state == TrialState.FAIL for trial in trials)
    return (
        f"No trial was completed: {len(trials) - n_failed} were pruned, {n_failed} failed or "
        f"diverged. {fix}"
    )


def confirmation_notes(record: SearchRecord, confirmation: Confirmation) -> list[str]:
    """Return the limits of the estimates on new seeds."""
    score = score_in_words(record.test_metric, record.positive)
    versus, replication, notes = confirmation.vs_baselines, confirmation.replication, []
    if versus.low > 0:
        better = f"The {score} is better than the baseline mean."
        if not confirmation.gains:
            notes.append(f"{better} Without offsets, the cause is seed variance.")
        elif not replication.low > 0:
            notes.append(
                f"{better} Seed variance may be the cause: the gain is not shown to replicate."
            )
    elif versus.high < 0:
        notes.append(f"The {score} is worse than the baseline mean.")
    elif not math.isnan(versus.value):
        notes.append(f"The {score} is not shown to differ from the baseline mean.")
    if math.isnan(replication.value):
        notes.append("A training run on new seeds has no finite metric.")
    elif math.isnan(replication.low):
        n_needed = fewest_pairs(1)
        notes.append(f"No CI of the replication: {n_needed} new seeds are needed.")
    elif confirmation.gains and not replication.low <= 0 <= replication.high:
        notes += unseen_notes(len(confirmation.seeds))
    n_claims = 2 ** (confirmation.rank - 1)
    if math.isfinite(replication.low) and is_by_t(len(confirmation.seeds), n_claims):
        notes.append(f"The CI of the replication is Student's t, assuming {NORMAL}.")
    if n_earlier := len(confirmation.earlier):
        notes.append(
            f"Confirmations on these data in this storage: {n_earlier + 1}. The training runs are "
            f"those of study {confirmation.earlier[0]!r}, with its number of seeds."
        )
    return notes + rank_notes(confirmation.rank, confirmation.level)


def test_set_notes(record: SearchRecord) -> list[str]:
    """Return whether the test set was evaluated for the best trial, and how its examples count."""
    evaluation = record.test_evaluation
    if evaluation is None:
        earlier = "The test set was evaluated only for an earlier best trial."
        return [earlier if record.test_evaluations else "The test set is not evaluated yet."]
    notes = []
    if "n_groups" in evaluation:
        examples = f"{evaluation['n_images']} test {evaluation['unit']}"
        notes.append(
            f"The {examples} count as {n_counted(evaluation):.0f}, because some repeat others or "
            "belong together."
        )
    if math.isnan(evaluation["baseline"]):
        notes.append("The training run of the baseline network diverged.")
    return notes


def unowned_notes(record: SearchRecord) -> list[str]:
    """Return which trials may have lost their worker, and how to end them."""
    # Those of Optuna's samplers in `study.optimize` tell nothing.
    running = (trial for trial in record.trials if trial.state == TrialState.RUNNING)
    numbers = [str(trial.number) for trial in running if owner_of(trial) is None]
    if not numbers:
        return []
    trials, are, each = ("Trials", "are", "each") if numbers[1:] else ("Trial", "is", "it")
    end = f"study.tell({numbers[0]}, state=optuna.trial.TrialState.FAIL)"
    said = f"{trials} {in_list(numbers)} {are} RUNNING without a known worker."
    return [f"{said} If none is alive, end {each} by {end}."]


def study_notes(record: SearchRecord) -> list[str]:
    """Return the source of the best trial, lost workers, and the reason for the end."""
    notes = unowned_notes(record)
    if record.best_is_added:
        notes.insert(
            0, "The best trial was added by study.add_trial, not evaluated by this search."
        )
    notes.append(record.reused)
    reason = record.stop_reason
    if reason is None and stored.SEARCH in record.attrs:
        notes.append("The search has not ended.")
    elif reason not in (None, "max_trial"):  # The number of trials says the latter.
        notes.append(_ENDS.get(reason, f"The search was ended by {reason}."))
    return notes


def unchanged_notes(record: SearchRecord) -> list[str]:
    """Return which variables no offset changes; nothing if each one may change."""
    config = record.attrs.get(stored.CONFIG, {})
    if config.get("space", {}).get("type") != "OffsetSpace":
        return []
    names: Sequence[str] = config.get("model", {}).get("not_moved", [])
    if not names:
        return []
    more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
    return [
        (
            f"No offset changes {', '.join(names[:_N_NAMED])}{more}: only variables named kernel, "
            "embeddings or bias have offsets."
        )
    ]


def chance_notes(runs: Sequence[SearchRecord]) -> list[str]:
    """Return which networks of all runs are not shown to have learned anything."""
    evaluations = [evaluation for run in runs if (evaluation := run.test_evaluation)]
    # By other metrics than the accuracy, a network may have learned what it does not show.
    evaluations = [e for e in evaluations if "won" in e and "n_largest" in e]
    if not evaluations:
        return []
    accuracies = {
        "baseline": [evaluation["baseline"] for evaluation in evaluations],
        "best": [evaluation["best"] for evaluation in evaluations],
    }
    limits = [chance_limit(e["n_largest"], e["n_images"]) for e in evaluations]
    at_chance = [
        name
        for name, values in accuracies.items()
        if all(value <= limit for value, limit in zip(values, limits, strict=True))
    ]
    if not at_chance:
        return []
    share = f"{100 * evaluations[0]['n_largest'] / evaluations[0]['n_images']:.3g}%"
    are = "networks are" if at_chance[1:] else "network is"
    return [
        (
            f"The {in_list(at_chance)} {are} at chance: the test accuracy is not distinguishable "
            f"from {share}, the share of class {evaluations[0]['largest_class']!r}."
        )
    ]


def data_notes(runs: Sequence[SearchRecord]) -> list[str]:
    """Return notes on the data, which all of the searches share."""
    first, tested = runs[0], [look for run in runs if (look := run.test_evaluation)]
    notes = [_uneven_note(tested[0])] if tested else []
    if found := in_words(
        first.attrs.get(stored.CONFIG, {}).get("dataset", {}).get("duplicates", {})
    ):
        notes.append(f"The data have {found}.")
    several = [run for run in runs if len(run.test_evaluations) > 1]
    if first.test_evaluations and first.test_evaluations_elsewhere:
        several.append(first)
    notes += [_several_evaluations_note(run) for run in several[:1]]
    return [note for note in notes if note]


def _uneven_note(look: TestEvaluation) -> str:
    """Return the score of always predicting the largest class; empty if the classes are even."""
    n, largest, total = look.get("n_classes", 1), look.get("n_largest", 0), look["n_images"]
    if n < 2 or largest * (n - 1) < _UNEVEN * (total - largest):
        return ""
    share = f"{100 * largest / total:.3g}%"
    return (
        f"{share} of the test set is class {look['largest_class']!r}: a network that always "
        f"predicts it reaches {share}."
    )


def _several_evaluations_note(record: SearchRecord) -> str:
    """Return how often the test set was evaluated, and what that means."""
    n, n_others = len(record.test_evaluations), sum(record.test_evaluations_elsewhere.values())
    others = f", and {times(n_others)} by other studies of this storage" if n_others else ""
    return (
        f"The test set was evaluated {times(n)} by one search{others}. Only the first evaluation "
        "is on untouched test data."
    )
