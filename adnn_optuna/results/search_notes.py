"""What a reader must know to judge a search, a sentence or two each."""

import math
from collections.abc import Sequence

from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._units import in_list, score_in_words
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.results.confirmation import Confirmation
from adnn_optuna.stats.proportions import n_counted, unseen_share

_ENDS = {
    "interrupted": "The search was interrupted.",
    "exhausted": "The sampler has proposed all of its trials.",
}
_N_NAMED = 5  # Of variables that no offset changes.


def why_no_best_trial(record: SearchRecord) -> str:
    """Return why a search has no best trial, and how to get one."""
    trials = [trial for trial in record.trials if trial.state in _ENDED_WITHOUT_VALUE]
    failed, fix = "failed", "Look at the objective."
    if stored.CONFIG in record.attrs:
        trials = record.done_trials
        has_error = any(
            trial.state == TrialState.FAIL and "trained" not in stored.outcome_of(trial.user_attrs)
            for trial in trials
        )
        failed, fix = "diverged", "Lower the learning rate."
        if has_error:
            failed, fix = "diverged or raised an error", "Look at the log."
    if not trials:
        fix = " Resume the search with a longer max_time."
        return f"No trial is finished yet.{fix * (record.stop_reason == 'max_time')}"
    n_failed = sum(trial.state == TrialState.FAIL for trial in trials)
    counts = f"{len(trials) - n_failed} were pruned, {n_failed} {failed}"
    return (
        f"No trial was completed: {counts}. {fix if n_failed else 'Let the pruner wait longer.'}"
    )


_ENDED_WITHOUT_VALUE = (TrialState.PRUNED, TrialState.FAIL)


def confirmation_notes(record: SearchRecord, confirmation: Confirmation) -> list[str]:
    """Return what the estimates on new seeds do not show."""
    score = score_in_words(record.test_metric, record.positive)
    notes = []
    if confirmation.vs_baselines.low > 0:
        cause = "Without offsets, the cause is seed variance."
        if confirmation.gains:
            cause = "Offsets may be the cause, or seed variance; only replication tells."
        notes.append(f"The {score} is better than the baseline mean. {cause}")
    elif confirmation.vs_baselines.high < 0:
        notes.append(f"The {score} is worse than the baseline mean.")
    elif not math.isnan(confirmation.vs_baselines.value):
        notes.append(f"The {score} is not shown to differ from the baseline mean.")
    if math.isnan(confirmation.replication.value):
        notes.append("A training run on new seeds has no finite metric.")
    elif math.isinf(confirmation.replication.low):
        notes.append(f"{len(confirmation.seeds)} seeds are too few for a CI of the replication.")
    elif confirmation.gains and not _contains_zero(confirmation):
        n = len(confirmation.seeds)
        share = 100 * unseen_share(n)
        notes.append(f"With {n} seeds, effects on fewer than {share:.0f}% of seeds may be unseen.")
    if confirmation.rank > 1:
        notes.append(
            f"This is best trial number {confirmation.rank} of the study to be confirmed: each CI "
            f"is at {100 * confirmation.level:.9g}% to allow for the earlier ones."
        )
    return notes


def _contains_zero(confirmation: Confirmation) -> bool:
    return confirmation.replication.low <= 0 <= confirmation.replication.high


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


def added_notes(record: SearchRecord) -> list[str]:
    """Return whether the best trial was not evaluated by the search."""
    if not record.best_is_added:
        return []
    return ["The best trial was added by study.add_trial, not evaluated by this search."]


def unowned_notes(record: SearchRecord) -> list[str]:
    """Return which trials may have lost their worker, and how to end them."""
    numbers = [str(number) for number in record.unowned_trials]
    if not numbers:
        return []
    trials, are, each = ("Trials", "are", "each") if numbers[1:] else ("Trial", "is", "it")
    end = f"study.tell({numbers[0]}, state=optuna.trial.TrialState.FAIL)"
    running = f"{trials} {in_list(numbers)} {are} RUNNING without a known worker."
    return [f"{running} If none is alive, end {each} by {end}."]


def end_notes(record: SearchRecord) -> list[str]:
    """Return what ended the search, unless its number of trials says so."""
    if record.stop_reason is None:
        return ["The search has not ended."] if stored.SEARCH in record.attrs else []
    if record.stop_reason == "max_trial":
        return []
    return [_ENDS.get(record.stop_reason, f"The search was ended by {record.stop_reason}.")]


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
