"""What you hold, what is usual, what repeats: three statements, wherever a search is told."""

from __future__ import annotations

import math

from adnn_optuna import _attributes as stored
from adnn_optuna._units import Unit, unit_of
from adnn_optuna.engine.confirmation import SEEDS, n_trainings, own_scores, seconds_of
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.confirmation import (
    ConfirmationFacts,
    Estimate,
    confirmation_of,
    held_score,
)
from adnn_optuna.evidence.paired_differences import ALPHA
from adnn_optuna.reporting.claims import HOLD, REPEATS, USUAL, n_examples, unseen

_NO_SEED = "no seed changes this training"


def statements(record: SearchRecord) -> dict[str, str]:
    """Return the three statements on a search's winner, each by what it answers.

    They are none where there is no winner, or where the objective is none of ours.
    """
    if record.best is None or stored.CONFIG not in record.attrs:
        return {}
    if (facts := confirmation_of(record)) is not None:
        usual = _usual(record, facts)
        repeats = repeats_in_words(facts, unit_of(record.test_metric))
    elif record.is_unseeded:
        usual = repeats = f"not known, as {_NO_SEED}."
    else:
        usual = f"not known yet: {how_to_confirm(record)}."
        repeats = "nothing, it moves nothing." if record.is_restart else "not known yet."
    return {HOLD: _hold(record, facts), USUAL: usual, REPEATS: repeats}


def verdict(record: SearchRecord) -> str:
    """Return what a search shows, in a sentence without a number."""
    if stored.CONFIG not in record.attrs:
        said = "How much of the best value is luck is not known."
    elif record.is_restart:
        said = "Nothing repeats: this control moves nothing."
    elif record.is_unseeded:
        said = f"Whether anything repeats is not known, as {_NO_SEED}."
    elif (facts := confirmation_of(record)) is None:
        said = "Whether anything repeats on fresh seeds is not known."
    elif facts.repeats.low > 0:
        said = "The gain of the offsets repeats on fresh seeds."
    elif facts.repeats.high < 0:
        said = "On fresh seeds the offsets lose."
    else:
        said = "Nothing is shown to repeat."
    if record.stop_reason is None:
        return f"The search has not ended; so far, {said[0].lower()}{said[1:]}"
    return said


def how_to_confirm(record: SearchRecord) -> str:
    """Return how the winner is confirmed, and about how long that takes."""
    count = n_trainings(record)
    seconds = seconds_of(record, count)
    long = f"{seconds / 3600:.1f} hours" if seconds >= 7200 else f"{seconds:.0f} s"
    return (
        f"result.confirm(), or adnn resume --confirm {SEEDS}, trains {count} networks from "
        f"{SEEDS} fresh seeds, in about {long if seconds >= 1 else 'a second'}"
    )


def _hold(record: SearchRecord, facts: ConfirmationFacts | None) -> str:
    look, own, unit = record.test_look, own_scores(record), unit_of(record.test_metric)
    if look is None or own is None or (held := held_score(record)) is None:
        which = "only an earlier winner was tested" if record.test_looks else "it is closed"
        return f"not known before the test set is looked at; {which}."
    level = 1 - ALPHA if facts is None else facts.level
    interval = unit.interval_of(held.low, held.high, level, is_gain=False)
    if record.test_metric == "test_r2":
        got = f"has an R² of {unit.value(held.value)} on {n_examples(look)}"
    else:
        got = f"gets {own.scores.sum()} of {n_examples(look)} right, {unit.value(held.value)}"
    return f"this network {got} ({interval})."


def _usual(record: SearchRecord, facts: ConfirmationFacts) -> str:
    unit, n = unit_of(record.test_metric), len(facts.seeds)
    mean = unit.value(sum(facts.unmoved) / n)
    said = f"{n} fresh unmoved networks come to {mean} in the mean"
    shown = estimate_in_words(facts.usual, facts.level, unit)
    if facts.usual.low > 0:
        return f"{said}, and this one is better: {shown}, be it by its offsets or by luck."
    if facts.usual.high < 0:
        return f"{said}, and this one is worse: {shown}."
    return f"{said}, from which this one is not shown to differ: {shown}."


def repeats_in_words(facts: ConfirmationFacts, unit: Unit) -> str:
    """Return what repeats, by the gains over fresh seeds; it claims nothing of rare seeds."""
    if not facts.gains:
        return "nothing, it moves nothing."
    n, (mean, low, high) = len(facts.seeds), facts.repeats
    if math.isnan(mean):
        return "not known, as a training on fresh seeds came to no number."
    gain = f"{unit.gain(mean)} in the mean of {n} fresh seeds"
    if not math.isfinite(low):
        gain = f"{gain}, too few for an interval{rank(facts)}"
        return f"Nothing is shown to repeat: the offsets gain {gain}."
    interval = unit.interval_of(low, high, facts.level)
    if low <= 0 <= high:
        return f"Nothing is shown to repeat: the offsets gain {gain} ({interval}){rank(facts)}."
    verb = "gain" if low > 0 else "lose: they gain"
    return f"the offsets {verb} {gain} ({interval}){rank(facts)}; {unseen(n)}."


def hyperparameters_in_words(record: SearchRecord) -> str:
    """Return what the winner's hyperparameters gain over the first trial's; empty without any."""
    facts, unit = confirmation_of(record), unit_of(record.test_metric)
    if facts is None or facts.hyperparameters is None:
        return ""
    return (
        "Beside that, on the same fresh seeds, the winner's hyperparameters gain over the first "
        "trial's, both unmoved: "
        f"{estimate_in_words(facts.hyperparameters, facts.level, unit)}."
    )


def estimate_in_words(estimate: Estimate, level: float, unit: Unit) -> str:
    """Return a difference with its interval."""
    if math.isnan(estimate.value):
        return "unknown, as a training came to no number"
    if not math.isfinite(estimate.low):
        return f"{unit.gain(estimate.value)}, without an interval"
    interval = unit.interval_of(estimate.low, estimate.high, level)
    return f"{unit.gain(estimate.value)} ({interval})"


def rank(facts: ConfirmationFacts) -> str:
    """Return which winner of its study this one is; empty for the first."""
    return f"; as winner {facts.rank} of those confirmed" if facts.rank > 1 else ""
