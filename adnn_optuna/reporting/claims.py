"""Parts of sentences, which searches, comparisons and models have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from adnn_optuna._attributes import TestLook
from adnn_optuna._units import Unit, printable
from adnn_optuna.evidence.paired_differences import PairedDifference
from adnn_optuna.evidence.proportions import n_counted, unseen_share

HOLD, USUAL, REPEATS = "What you hold", "What is usual", "What repeats"
GAINED = "What was gained?"
OTHERWISE, CHECK = NEXT = ("What else could be done?", "How to check it?")
"""What somebody asks who knows what was found."""


def n_examples(look: TestLook) -> str:
    """Return how many examples a test set has, as how many they count, and what they are."""
    said = f"{look['n_images']} test {printable(look['unit'])}"
    return f"{said} that count as {n_counted(look):.0f}" if "n_groups" in look else said


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


def interval_in_words(
    n_claims: Mapping[str, int], *, looks_again: bool, of_new_data: bool = False, how: str = ""
) -> str:
    """Return what the intervals of so many claims of each family promise, and at what price."""
    which = " and ".join(
        f"the {n} claims on {what} together" if n > 1 else f"the claim on {what}"
        for what, n in n_claims.items()
        if n
    )
    how = how or (
        "from an e-process: holds however often one looks and adds seeds"
        if looks_again
        else "from inverted sign flips, for the planned seeds"
    )
    if of_new_data:
        how = (
            "for new data of this kind, after Nadeau and Bengio, read once, at the planned seeds; "
            f"on these rows alone {how}"
        )
    return f"interval: 95 % for {which}, {how}"


def with_interval(difference: PairedDifference, unit: Unit) -> str:
    """Return the interval of a difference as a part of a sentence."""
    shown = interval(difference, unit)
    # More pairs bring none back where they contradict each other.
    yet = "" if math.isnan(difference.low) else " yet"
    said = f"no interval{yet}" if shown == "none" else f"interval {shown}"
    if difference.n_pairs < 2 or math.isnan(difference.smallest):
        return said
    return f"{said}, smallest {unit.gain(difference.smallest)}"


def unseen(n: int, per: str = "seed") -> str:
    """Return how rare that may be which no verdict on so many seeds can tell of."""
    return (
        f"{n} {per}{'s' * (n != 1)}: what befalls fewer than "
        f"{100 * unseen_share(n):.0f} % of {per}s may not have been seen"
    )


def scope(rows: Sequence[PairedDifference], per: str = "seed") -> str:
    """Return what verdicts are on, by what their values are paired by, if they are."""
    on = f"for most {per}s" if per else "on means"
    return f"each verdict is one {on}; {unseen(min(row.n_pairs for row in rows), per or 'value')}"


def others_in_words(what: str, names: Sequence[str]) -> str:
    """Return in which other comparisons something is compared, too; empty if there are none."""
    if not names:
        return ""
    more = [f"{len(names) - 5} more"] if names[5:] else []
    return (
        f"{what} compared in {listed([*map(repr, names[:5]), *more])}, too, in the same storage: "
        "each comparison is wrong in 5 % for itself, so the best of several is wrong more often."
    )


def listed(names: Sequence[str]) -> str:
    """Return names as a part of a sentence: one, one and another, or more."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def in_full(gain: float, unit: Unit) -> str:
    """Return a gain for somebody who does not know what pp is."""
    return unit.gain(gain).replace("pp", "percentage points")
