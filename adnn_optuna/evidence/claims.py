"""What a search or a comparison shows, in a sentence that claims no more than that."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adnn_optuna.engine import paired_proportions
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.paired_differences import PairedDifference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adnn_optuna._attributes import TestLook
    from adnn_optuna.evidence.comparison import Comparison


def points(gain: float, *, percent: bool = True) -> str:
    """Return a gain with its sign: in percentage points that of an accuracy."""
    if math.isnan(gain):
        return "unknown"
    return paired_proportions.points(gain) if percent else f"{gain:+.4f}"


def images(gain: float, n_images: int) -> str:
    """Return how many test images a gain of accuracy is, such as a mean over seeds."""
    if math.isnan(gain):
        return f"an unknown number of {n_images} test images"
    # A difference of accuracies is a whole number of images but for its last bits.
    n_gained = round(abs(gain) * n_images, 6)
    count = f"about {n_gained:.0f}" if n_gained >= 1 else "less than one"
    return f"{count} of {n_images} test images"


def interval(difference: PairedDifference, unit: str = " pp") -> str:
    """Return the interval of a difference in percentage points."""
    low, high = 100 * difference.low, 100 * difference.high
    if not (math.isfinite(low) or math.isfinite(high)):
        return "none"
    return f"{low:+.2f} to {high:+.2f}{unit}"


def superiority(difference: PairedDifference) -> str:
    """Return in how many of all seeds the arm is better, with the interval if there is one."""
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


def claim_of_search(record: SearchRecord) -> str:
    """Return what a search came to, on the test set."""
    if record.best is None:
        return "The search has no completed trial yet."
    gain = f"its gain over the unmoved network with the same seed is {record.test_gain_in_words}"
    if record.test_look is None:
        return f"The search's winner was not tested yet, so {gain}."
    return f"The search's winner reaches {100 * record.test_value:.2f} % on the test set; {gain}."


def caveat_of_search(record: SearchRecord) -> str:
    """Return what a search cannot show."""
    looks = record.test_looks
    again = f" {use_of_test_set(looks)}." if len(looks) > 1 else ""
    if record.is_restart:
        caveat = "it only drew other random weights, so all that it gains is luck."
        return f"This is the control: {caveat}{again}"
    return (
        "This is one run against one baseline, which may have been an unlucky one: it cannot tell "
        "what the search gained from what as many random restarts would have brought. "
        f"A comparison over several seeds can: adnn compare.{again}"
    )


def use_of_test_set(looks: Sequence[TestLook]) -> str:
    """Return how often the test set of a search was looked at, and what that means."""
    if not looks:
        return "The test set is closed; result.test() or resume opens it"
    numbers = [str(look["n_trials"]) for look in looks]
    if len(looks) == 1:
        return f"The test set was used once, after {numbers[0]} trials"
    after = f"{', '.join(numbers[:-1])} and {numbers[-1]} trials"
    return (
        f"The test set was looked at {len(looks)} times, after {after}: the later gains are no "
        "longer of untouched test data"
    )


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
        return "There are no searchers with results to compare with random restarts."
    best, verdicts = rows[0], {row.verdict for row in rows}
    mean = f"{points(best.mean)} of test accuracy"
    if best.n_pairs == 1:
        claim = (
            f"One seed decides nothing: with it, {best.arm} has {mean} against random restarts, "
            "and another seed may say the opposite"
        )
        return f"{claim}.{_otherwise(comparison)}"
    look = comparison.any_record.test_look
    size = f"{images(best.mean, look['n_images'])}; " if look else ""
    evidence = f"({size}{with_interval(best)}, {best.n_pairs} seeds)"
    if best.verdict == "better":
        also = _so_are([row.arm for row in rows[1:] if row.verdict == "better"])
        claim = f"{best.arm} is better than random restarts: {mean} for the same number of trials"
        return f"{claim} {evidence}{also}.{_otherwise(comparison)}"
    if verdicts == {"worse"}:
        claim = f"Every searcher is worse than random restarts; {best.arm} comes closest"
    elif "undecided" not in verdicts:
        claim = f"No searcher is better than random restarts: {best.arm} is equivalent"
    else:
        claim = f"No searcher is shown to be better than random restarts: {best.arm} comes closest"
    return f"{claim}, with {mean} {evidence}.{_otherwise(comparison)}"


def with_interval(difference: PairedDifference) -> str:
    """Return the interval of a difference as a part of a sentence."""
    shown = interval(difference)
    return "no interval yet" if shown == "none" else f"interval {shown}"


def listed(names: Sequence[str]) -> str:
    """Return names as a part of a sentence: one, one and another, or more."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _so_are(others: Sequence[str]) -> str:
    verb = "is" if len(others) == 1 else "are"
    return f"; so {verb} {listed(others)}" if others else ""


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
    turned = row.turned()
    evidence = f"({with_interval(turned)})" if row.n_pairs > 1 else "(one seed)"
    searcher = comparison.controls[control][0].searcher
    spent = _SPENT.get(searcher, f"on {control}")
    return (
        f" The same compute spent {spent} gains {points(turned.mean)} over random restarts "
        f"{evidence}."
    )


def caveat_of_comparison(comparison: Comparison) -> str:
    """Return what to think of the claim."""
    rows = against_control(comparison)
    parts = list(dict.fromkeys(f"{row.arm}: {row.reason}." for row in rows if row.reason))
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
