"""What a search shows, in sentences that claim no more than that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import TestLook
from adnn_optuna._units import ACCURACY, Unit, in_metric, printable, score_in_words
from adnn_optuna.engine.confirmation import SEEDS, n_trainings, own_scores, seconds_of
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.networks.duplicates import in_words
from adnn_optuna.reporting import parts
from adnn_optuna.results.confirmation import (
    ConfirmationFacts,
    Estimate,
    confirmation_of,
    held_score,
)
from adnn_optuna.results.numbers import unit_of_search
from adnn_optuna.stats.sequential import ALPHA

# So many times as frequent as the others in their mean is a class that makes a test set uneven:
# always naming it is then right as many times as often as always naming another one.
_UNEVEN = 1.5
_NAMED = 5  # Of variables that do not move.


def statements(record: SearchRecord) -> dict[str, str]:
    """Return the three statements on the winner of our objective, each by what it answers."""
    if record.best is None or stored.CONFIG not in record.attrs:
        return {}
    facts, unit = confirmation_of(record), unit_of_search(record, record.test_metric)
    of = in_metric(record.test_metric, record.positive)
    if facts is not None:
        usual, repeats = _usual(record, facts), repeats_in_words(facts, unit, of)
    elif record.is_unseeded:
        usual = repeats = "not known, as no seed changes this training."
    else:
        count = n_trainings(record)
        seconds = seconds_of(record, count)
        long = f"{seconds:.0f} s" if seconds >= 1 else "a second"
        usual = (
            f"not known yet: result.confirm(), or adnn resume --confirm {SEEDS}, trains {count} "
            f"networks from {SEEDS} fresh seeds, in about {long}."
        )
        repeats = "nothing, it moves nothing." if record.is_restart else "not known yet."
    return {parts.HOLD: _hold(record, facts), parts.USUAL: usual, parts.REPEATS: repeats}


def verdict(record: SearchRecord) -> str:
    """Return what a search shows, in a sentence without a number."""
    if stored.CONFIG not in record.attrs:
        return "How much of the best value is luck is not known."
    if record.is_restart:
        return "Nothing repeats: this control moves nothing."
    if (facts := confirmation_of(record)) is None:
        return "Whether anything repeats on fresh seeds is not known."
    if facts.repeats.low > 0:
        return "The gain of the offsets repeats on fresh seeds."
    shown = facts.repeats.high < 0
    return "On fresh seeds the offsets lose." if shown else "Nothing is shown to repeat."


def _hold(record: SearchRecord, facts: ConfirmationFacts | None) -> str:
    look, own, held = record.test_look, own_scores(record), held_score(record)
    if look is None or own is None or held is None:
        which = "only an earlier winner was tested" if record.test_looks else "it is closed"
        return f"not known before the test set is looked at; {which}."
    unit = unit_of_search(record, record.test_metric)
    level = 1 - ALPHA if facts is None else facts.level
    interval = unit.interval_of(held.low, held.high, level, is_gain=False)
    if record.test_metric == "test_accuracy":
        got = f"gets {own.scores.sum()} of {parts.n_examples(look)} right"
        return f"this network {got}, {unit.value(held.value)} ({interval})."
    score, accuracy = score_in_words(record.test_metric, record.positive), ""
    if "accuracy" in record.test_metrics:
        accuracy = f"; its accuracy is {ACCURACY.value(record.test_metrics['accuracy'])}"
    got = f"reaches a {score} of {unit.value(record.test_value)} on {parts.n_examples(look)}"
    lower = "; lower is better" * (record.study.direction == StudyDirection.MINIMIZE)
    return f"this network {got} ({interval}{lower}){accuracy}."


def _usual(record: SearchRecord, facts: ConfirmationFacts) -> str:
    n, unit = len(facts.seeds), unit_of_search(record, record.test_metric)
    mean, of = unit.value(sum(facts.unmoved) / n), in_metric(record.test_metric, record.positive)
    if of:
        mean = f"a {score_in_words(record.test_metric, record.positive)} of {mean}"
    said = f"{n} fresh unmoved networks come to {mean} in the mean"
    shown = estimate_in_words(facts.usual, facts.level, unit, of)
    if facts.usual.low > 0:
        return f"{said}, and this one is better: {shown}, be it by its offsets or by luck."
    if facts.usual.high < 0:
        return f"{said}, and this one is worse: {shown}."
    return f"{said}, from which this one is not shown to differ: {shown}."


def repeats_in_words(facts: ConfirmationFacts, unit: Unit, of: str) -> str:
    """Return what repeats, by the gains over fresh seeds; it claims nothing of rare seeds.

    ``of`` are the words behind a gain that say what it is in, see :func:`in_metric`.
    """
    if not facts.gains:
        return "nothing, it moves nothing."
    n, (mean, low, high) = len(facts.seeds), facts.repeats
    if math.isnan(mean):
        return "not known, as a training on fresh seeds came to no number."
    gain = f"{unit.gain(mean)}{of} in the mean of {n} fresh seeds"
    gain += f" ({unit.interval_of(low, high, facts.level)})"
    if low <= 0 <= high:
        return f"Nothing is shown to repeat: the offsets gain {gain}."
    return f"the offsets {'gain' if low > 0 else 'lose: they gain'} {gain}; {parts.unseen(n)}."


def hyperparameters_in_words(record: SearchRecord) -> str:
    """Return what the winner's hyperparameters gain over the first trial's; empty without any."""
    facts, unit = confirmation_of(record), unit_of_search(record, record.test_metric)
    of = in_metric(record.test_metric, record.positive)
    if facts is not None and facts.hyperparameters is not None:
        return (
            "Beside that, on the same fresh seeds, the winner's hyperparameters gain over the "
            "first trial's, both unmoved: "
            f"{estimate_in_words(facts.hyperparameters, facts.level, unit, of)}."
        )
    if math.isnan(gain := record.hyperparameter_gain):
        return ""
    unit, first = unit_of_search(record), record.attrs[stored.BASELINE]
    return (
        "The baseline has the winner's own hyperparameters, unmoved: from the search's one seed "
        f"these alone gain {unit.gain(gain)} in {record.metric_label} over the first "
        f"trial's, which reach {unit.value(first)}, and that is no part of the gain."
    )


def estimate_in_words(estimate: Estimate, level: float, unit: Unit, of: str) -> str:
    """Return a difference with what it is in and its interval."""
    if math.isnan(estimate.value):
        return "unknown, as a training came to no number"
    return f"{unit.gain(estimate.value)}{of} ({unit.interval_of(*estimate[1:], level)})"


def answers_of_search(record: SearchRecord, contract: str | None) -> dict[str, str]:
    """Return what somebody asks first, each with one sentence; the first one is the verdict."""
    if record.best is None:
        return {"verdict": why_no_winner(record)}
    answers, n = {"verdict": verdict(record)}, len(record.done_trials)
    if stored.CONFIG not in record.attrs:
        gain = unit_of_search(record).gain(record.gain)
        answers["What was gained?"] = (
            f"{gain} over the first trial, by which the best of {n} was chosen: it looks better "
            "than it is; adnn recheck evaluates the best ones again, with fresh random numbers."
        )
        return answers
    answers[parts.OTHERWISE] = (
        f"The same {n} training{'s' * (n != 1)} could go into other random beginnings, one longer "
        "training or other learning rates, which may gain as much: adnn compare tries them all."
    )
    again = f"adnn verify {contract or 'FILE'} trains both networks again and names what differs"
    how = "Write its contract, by result.contract().save(FILE) or adnn resume --contract FILE"
    answers[parts.CHECK] = f"Anyone can: {again}." if contract else f"{how}; {again}."
    return answers


def to_mind(runs: Sequence[SearchRecord]) -> str:
    """Return what to mind of a search, or of a searcher's runs; empty if there is nothing."""
    first, looks = runs[0], [look for run in runs if (look := run.test_look)]
    said = [
        uneven_classes_in_words(looks[0]) if looks else "",
        duplicates_in_words(first.attrs.get(stored.CONFIG, {}).get("dataset", {})),
    ]
    # The runs of a comparison have the same data.
    used = [run for run in runs if len(run.test_looks) > 1]
    if first.test_looks and first.looks_elsewhere:
        used.append(first)
    said += [f"{use_of_test_set(run)}." for run in used[:1]]
    return " ".join(filter(None, said))


def uneven_classes_in_words(look: TestLook) -> str:
    """Return what always naming the largest class reaches; empty where the classes are even."""
    n, largest, total = look.get("n_classes", 1), look.get("n_largest", 0), look["n_images"]
    if n < 2 or largest * (n - 1) < _UNEVEN * (total - largest):
        return ""
    share, name = f"{100 * largest / total:.3g} %", look["largest_class"]
    return (
        f"Mind that {share} of the test set is class {name!r}: a network that always says so "
        f"reaches {share}."
    )


def duplicates_in_words(dataset: Mapping[str, Any]) -> str:
    """Return which samples of data are there twice, by their configuration; empty if none is."""
    found = in_words(dataset.get("duplicates", {}))
    return printable(f"Mind that the data have {found}.") if found else ""


def use_of_test_set(record: SearchRecord) -> str:
    """Return how often the test set of a search was looked at, and what that means."""
    looks, n_others = record.test_looks, sum(record.looks_elsewhere.values())
    if not looks:
        return "The test set is closed; result.test() or resume opens it"
    numbers = [str(look["n_trials"]) for look in looks]
    after = f"after {parts.listed(numbers)} trial{'s' * (numbers != ['1'])}"
    if len(looks) + n_others == 1:
        return f"The test set was used once, {after}"
    times = f"{len(looks)} times" if len(looks) > 1 else "once"
    said = f"The test set was looked at {times}, {after}"
    if n_others:
        said += f", and {n_others} more by other studies of this storage"
    return f"{said}: all looks but the first are no longer of untouched test data"


def about_test_gain(record: SearchRecord) -> str:
    """Return the size in images of the test gain, or why it is not known."""
    if (look := record.test_look) is None:
        earlier = "only an earlier winner was tested" if record.test_looks else ""
        return f"{earlier or 'the test set is closed'}; result.test() or resume opens it"
    if math.isnan(look["baseline"]):
        return "the training of the unmoved network diverged"
    if "won" not in look:
        return f"on {parts.n_examples(look)}"
    if n_gained := abs(look["won"] - look["lost"]):
        return f"{n_gained} of {parts.n_examples(look)}"
    return f"no {printable(look['unit'])[:-1]}"


def end_in_words(stop_reason: str | None) -> str:
    """Return what ended a search or one of its runs, if anything has."""
    return "not ended" if stop_reason is None else f"ended by {printable(stop_reason)}"


def why_no_winner(record: SearchRecord) -> str:
    """Return why there is no best trial, and how to get one."""
    trials, failed, mend = record.done_trials, "diverged", "lower the learning rate"
    if stored.CONFIG not in record.attrs:
        states = (TrialState.PRUNED, TrialState.FAIL)
        trials = [trial for trial in record.trials if trial.state in states]
        failed, mend = "failed", "look at the objective"
    elif any(
        t.state == TrialState.FAIL and stored.trained_of(t.user_attrs) is None for t in trials
    ):
        failed, mend = "diverged or raised an error", "look at what was logged"
    if not trials:
        mend = "; max_time ended the search, resume it with a longer max_time"
        return f"No trial was finished yet{mend * (record.stop_reason == 'max_time')}."
    n_failed = sum(trial.state == TrialState.FAIL for trial in trials)
    ended = f"{len(trials) - n_failed} were pruned, {n_failed} {failed}"
    mend = mend if n_failed else "let the pruner wait for longer"
    return f"No trial was completed: {ended}; {mend}."


def unowned_in_words(record: SearchRecord) -> str:
    """Return which trials may be left behind by a kill, and how to end them; empty without any."""
    if not (numbers := [str(number) for number in record.unowned_trials]):
        return ""
    trials, are, it = ("Trials", "are", "each") if numbers[1:] else ("Trial", "is", "it")
    return (
        f"{trials} {parts.listed(numbers)} {are} RUNNING, but nothing tells who runs {it}: if "
        f"nobody does, end {it} by study.tell({numbers[0]}, state=optuna.trial.TrialState.FAIL)."
    )


def not_moved_in_words(variables: Sequence[str]) -> str:
    """Return which variables no offset moves, a sentence; empty where each one may move."""
    if not variables:
        return ""
    more = f" and {len(variables) - _NAMED} more" if len(variables) > _NAMED else ""
    some = f"{', '.join(variables[:_NAMED])}{more}"
    return f"No offset moves {some}: only what is called kernel, embeddings or bias moves."
