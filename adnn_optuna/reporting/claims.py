"""What a search or a comparison shows, in a sentence that claims no more than that."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from adnn_optuna import _attributes as stored
from adnn_optuna._units import ACCURACY, Unit
from adnn_optuna.engine.classes import (
    ROLES,
    balanced_accuracy,
    n_examples,
    uneven_classes_in_words,
)
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.paired_differences import PairedDifference
from adnn_optuna.evidence.sequential import ALPHA
from adnn_optuna.reporting.summaries import why_no_winner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adnn_optuna._attributes import TestLook
    from adnn_optuna.evidence.comparison import Comparison

_QUESTIONS = ("What was gained?", "Is it luck?", "What else could be done?", "How to check it?")


def images(gain: float, look: TestLook | None) -> str:
    """Return how many test images a gain of accuracy is, such as a mean over seeds."""
    if look is None:
        return ""
    if "standard_error" in look:
        return f"R² on {n_examples(look)}"
    of = f"of {n_examples(look)}"
    if math.isnan(gain):
        return f"an unknown number {of}"
    # A difference of accuracies is a whole number of images but for its last bits.
    n_gained = round(abs(gain) * look["n_images"], 6)
    return f"about {n_gained:.0f} {of}" if n_gained >= 1 else f"less than one {of}"


def interval(difference: PairedDifference, unit: Unit) -> str:
    """Return the interval of a difference of values that are shown so."""
    low, high = difference.low, difference.high
    return unit.interval(low, high) if math.isfinite(low) or math.isfinite(high) else "none"


def superiority(difference: PairedDifference) -> str:
    """Return in how many of all seeds the arm is better, with the interval if there is one."""
    if not difference.n_pairs:
        return "unknown"
    share, low = f"{100 * difference.superiority:.0f} %", difference.superiority_low
    if math.isnan(low):
        return share
    return f"{share} ({100 * low:.0f} to {100 * difference.superiority_high:.0f})"


def interval_in_words(n_claims: Mapping[str, int], *, looks_again: bool) -> str:
    """Return what the intervals promise, and at what price.

    Args:
        n_claims: The number of claims of each family, by what they are about.
        looks_again: Whether the comparison looks again after each seed.
    """
    which = " and ".join(
        f"the {n} claims on {what} together" if n > 1 else f"the claim on {what}"
        for what, n in n_claims.items()
        if n
    )
    how = (
        "from an e-process: holds however often one looks and adds seeds"
        if looks_again
        else "from inverted sign flips, for the planned seeds"
    )
    return f"interval: 95 % for {which}, {how}"


def use_of_test_set(record: SearchRecord) -> str:
    """Return how often the test set of a search was looked at, and what that means."""
    looks = record.test_looks
    if not looks:
        return "The test set is closed; result.test() or resume opens it"
    numbers = [str(look["n_trials"]) for look in looks]
    is_old = ", for an earlier winner than the present one" if record.test_look is None else ""
    if len(looks) == 1:
        return f"The test set was used once, after {numbers[0]} trials{is_old}"
    return (
        f"The test set was looked at {len(looks)} times, after {listed(numbers)} trials{is_old}: "
        "the later gains are no longer of untouched test data"
    )


def answers_of_search(record: SearchRecord, contract: str | None) -> dict[str, str]:
    """Return what somebody asks first who knows nothing of seeds, each with one sentence.

    Args:
        record: The search.
        contract: The name of its contract's file, if it has one.
    """
    answers = [_gained(record)]
    if record.best is not None and stored.CONFIG not in record.attrs:
        again = "adnn recheck evaluates the best ones again, with fresh random numbers"
        answers.append(
            f"That is not known: the best of several tries looks better than it is; {again}."
        )
    elif record.best is not None:
        otherwise = (
            f"The same {len(record.done_trials)} trainings could go into other random beginnings, "
            "one longer training or other learning rates, which may gain as much: adnn compare "
            "tries them all."
        )
        if record.is_restart:
            otherwise = "A real search, which has to gain more than this: adnn compare runs both."
        check = (
            "Write its contract, by result.contract().save(FILE) or adnn resume --contract FILE: "
            "with it anyone can train both networks again, by adnn verify FILE."
        )
        if contract:
            again = f"adnn verify {contract} trains both networks again and names what differs"
            check = f"Anyone can: {again}."
        answers += [_is_luck(record), otherwise, check]
    return dict(zip(_QUESTIONS, answers, strict=False))


def _gained(record: SearchRecord) -> str:
    if record.best is None:
        return why_no_winner(record)
    look, n_trials = record.test_look, len(record.done_trials)
    if look is None:
        gain = _in_full(record.gain, record.unit)
        said = f"{gain} in {record.metric}, by which the best of {n_trials} trials was chosen"
        if stored.CONFIG in record.attrs:
            said += ", and on data that the search never saw it was not tested yet"
    else:
        unit, values = record.test_unit, (record.test_value, record.test_baseline)
        gain, of, gets = _in_full(record.test_gain, unit), "of", "gets"
        if record.test_metric == "test_accuracy":
            scores = [f"{v * look['n_images']:.0f} right ({unit.value(v)})" for v in values]
        else:
            scores = [f"an R² of {unit.value(v)}" for v in values]
            gain, of, gets = f"{gain} (1 is always right)", "on", "comes to"
        if math.isnan(record.test_baseline):
            gain, scores[1] = "unknown", "nothing, as its training failed"
        said = (
            f"{of} {look['n_images']} test examples, which the search never saw, the network that "
            f"it found {gets} {scores[0]}, and the network as it was {scores[1]}: {gain}"
        )
    if record.stop_reason is None:
        return f"The search has not ended; so far, {said}."
    return f"{said[0].upper()}{said[1:]}."


def _in_full(gain: float, unit: Unit) -> str:
    """Return a gain for somebody who does not know what pp is."""
    return unit.gain(gain).replace("pp", "percentage points")


def to_mind(runs: Sequence[SearchRecord]) -> str:
    """Return what to mind of a search, or of a searcher's runs; empty if there is nothing."""
    looks, parts = [look for run in runs if (look := run.test_look)], []
    if looks and (uneven := uneven_classes_in_words(looks[0])):
        shares = (fmean(balanced_accuracy(look, role) for look in looks) for role in ROLES)
        before, after = map(ACCURACY.value, shares)
        parts.append(
            f"Mind that {uneven}; in the mean over the classes (balanced accuracy), {before} is "
            f"right before and {after} after the search."
        )
    parts += [f"{use_of_test_set(run)}." for run in runs if len(run.test_looks) > 1][:1]
    return " ".join(parts)


def _is_luck(record: SearchRecord) -> str:
    if record.is_restart:
        return "All of it: this control does nothing but draw other random beginnings."
    p_value = record.test_p_value
    if math.isnan(p_value):
        return (
            "That is not known: the best of several tries looks better than it is on the data "
            "that it was chosen by, and only test examples can tell."
        )
    if record.test_gain <= 0:
        return "There is no gain on the test examples that could be luck."
    chance = f"{100 * p_value:.0f}" if p_value >= 0.01 else "less than one"
    said = f"of 100 pairs of networks that are equally good, {chance} would differ so much"
    if p_value >= ALPHA:
        return f"It may well be: by the choice of the test examples alone, {said}."
    return (
        f"Not by the choice of the test examples ({said}), but training begins with random "
        "numbers, and this is one beginning, which may have been an unlucky one."
    )


def answers_of_comparison(comparison: Comparison, url: str | None) -> dict[str, str]:
    """Return the same of a comparison, whose studies are at ``url``."""
    n_runs = len(comparison.results) * len(comparison.seeds)
    look, n_seeds = comparison.any_record.test_look, len(comparison.seeds)
    gains, unit = comparison.table()["test_gain"], comparison.any_record.test_unit
    best = next(iter(against_control(comparison)), None)
    arm = best.arm if best else next(iter(comparison.searchers), gains.index[0])
    gained = "Nothing is known yet: the searches' winners were not tested."
    if look and math.isfinite(gains[arm]):
        gained = (
            f"On {look['n_images']} test examples, which no search saw, {arm} gains "
            f"{_in_full(gains[arm], unit)} over the network as it was "
            f"({images(gains[arm], look)}), in the mean of {n_seeds} random "
            f"beginning{'s' * (n_seeds > 1)}."
        )
    luck = "That is not known: without random restarts, nothing shows what luck alone brings."
    if best:
        what = {
            "better": "so it is more than luck",
            "worse": "so it is less than luck brings",
            "equivalent": "so it is no more than luck",
        }.get(str(best.verdict), "so it is not shown to be more than luck")
        luck = (
            "Nothing but other random beginnings, as often, gain "
            f"{_in_full(gains[best.other], unit)}; beyond that, {arm} has "
            f"{_in_full(best.mean, unit)} ({with_interval(best, unit)}), {what}."
        )
    otherwise = _otherwise(comparison).strip() or (
        "Not tried here are one longer training and other learning rates for the same compute, "
        "which may gain as much: adnn compare --controls longer,learning_rate."
    )
    check = (
        f"Each of the {n_runs} searches is in the table at the end of this page"
        f"{f' and stored in {url}' if url else ''}; the same call with the same seeds makes them "
        "again, with the same numbers."
    )
    return dict(zip(_QUESTIONS, (gained, luck, otherwise, check), strict=True))


def against_control(comparison: Comparison) -> list[PairedDifference]:
    """Return how much better than random restarts each other searcher is, the best first.

    Those that are shown to be better come before all others, whatever their means.
    """
    rows = comparison.rows_of(comparison.families[0])
    known = [row for row in rows if row.other == comparison.control and row.n_pairs]
    return sorted(known, key=lambda row: (row.verdict != "better", -row.mean))


def claim_of_comparison(comparison: Comparison) -> str:
    """Return whether the best searcher is better than random restarts, on the test set.

    Beside it stands what the same compute gains otherwise, where a control was run.
    """
    if comparison.control is None:
        return "There are no random restarts to compare with, so nothing can be told from luck."
    rows = against_control(comparison)
    if not rows:
        said = "There are no searchers with results to compare with random restarts."
        run = comparison.any_record
        return said if run.best is not None else f"{said} {why_no_winner(run)}"
    best, verdicts = rows[0], {row.verdict for row in rows}
    unit = comparison.any_record.test_unit
    mean = f"{unit.gain(best.mean)} of {comparison.any_record.test_score}"
    if best.n_pairs == 1:
        claim = (
            f"One seed decides nothing: with it, {best.arm} has {mean} against random restarts, "
            "and another seed may say the opposite"
        )
        return f"{claim}.{_otherwise(comparison)}"
    size = images(best.mean, comparison.any_record.test_look)
    evidence = f"({size and f'{size}; '}{with_interval(best, unit)}, {best.n_pairs} seeds)"
    if best.verdict == "better":
        others = [row.arm for row in rows[1:] if row.verdict == "better"]
        also = f"; so {'are' if others[1:] else 'is'} {listed(others)}" if others else ""
        claim = f"{best.arm} is better than random restarts: {mean} for the same number of trials"
        return f"{claim} {evidence}{also}.{_otherwise(comparison)}"
    if verdicts == {"worse"}:
        claim = f"Every searcher is worse than random restarts; {best.arm} comes closest"
    elif "undecided" not in verdicts:
        claim = f"No searcher is better than random restarts: {best.arm} is equivalent"
    else:
        claim = f"No searcher is shown to be better than random restarts: {best.arm} comes closest"
    return f"{claim}, with {mean} {evidence}.{_otherwise(comparison)}"


def with_interval(difference: PairedDifference, unit: Unit) -> str:
    """Return the interval of a difference as a part of a sentence."""
    shown = interval(difference, unit)
    return "no interval yet" if shown == "none" else f"interval {shown}"


def listed(names: Sequence[str]) -> str:
    """Return names as a part of a sentence: one, one and another, or more."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


_SPENT = {
    "longer": "on one longer training",
    "learning_rate": "on the learning rate",
    "constant": "on one offset for all layers",
}


def _otherwise(comparison: Comparison) -> str:
    """Return the sentence on what the same compute gains otherwise, empty without controls."""
    control = comparison.strongest_control
    rows = comparison.rows_of([(str(comparison.control), str(control))])
    if control is None or not rows or not rows[0].n_pairs:
        return ""
    [row] = rows
    turned, unit = row.turned(), comparison.any_record.test_unit
    evidence = f"({with_interval(turned, unit)})" if row.n_pairs > 1 else "(one seed)"
    searcher = comparison.controls[control][0].searcher
    spent = _SPENT.get(searcher, f"on {control}")
    return (
        f" The same compute spent {spent} gains {unit.gain(turned.mean)} over random restarts "
        f"{evidence}."
    )


def caveat_of_comparison(comparison: Comparison) -> str:
    """Return what to think of the claim."""
    rows = against_control(comparison)
    parts = list(dict.fromkeys(f"{row.arm}: {row.reason}." for row in rows if row.reason))
    parts += filter(None, [what_is_missing(comparison)])
    if comparison.looks_again:
        parts.append(
            "Seeds were added until all was decided or later, and the intervals pay for each look."
        )
    n_looks = max(len(run.test_looks) for runs in comparison.results.values() for run in runs)
    if n_looks > 1:
        parts.append(
            f"The test set was looked at up to {n_looks} times in one run, so the later gains are "
            "no longer of untouched test data."
        )
    if any(row.verdict == "undecided" for row in rows):
        parts.append(
            "Undecided means that these seeds show neither a difference nor that there is none."
        )
    parts.append(
        "Random restarts move nothing, they only draw other initial weights: what they gain is "
        "luck, and only what a searcher gains beyond them is its own. All is said of this data "
        "set, and assumes that differences are symmetric about their centre."
    )
    return " ".join(parts)


def what_is_missing(comparison: Comparison) -> str:
    """Return what is missing and how to go on; empty if nothing is."""
    if comparison.is_complete:
        return ""
    return (
        f"Not complete: {comparison.n_done} of {len(comparison.declaration['seeds'])} declared "
        "seeds are done; go on by compare, or by resume with the comparison's name."
    )
