"""What a search or a comparison shows, in a sentence that claims no more than that."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.paired_differences import MIN_PAIRS, PairedDifference

if TYPE_CHECKING:
    from adnn_optuna.evidence.comparison import Comparison


def points(gain: float, *, percent: bool = True) -> str:
    """Return a gain with its sign: in percentage points that of an accuracy."""
    if math.isnan(gain):
        return "unknown"
    # Adding 0 makes a rounded -0.00 a +0.00.
    return f"{round(100 * gain, 2) + 0.0:+.2f} pp" if percent else f"{gain:+.4f}"


def interval(difference: PairedDifference) -> str:
    """Return the interval of a difference in percentage points."""
    if math.isnan(difference.low):
        return "no interval"
    return f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f} pp"


def claim_of_search(record: SearchRecord) -> str:
    """Return what a search came to, on the test set."""
    if record.best is None:
        return "The search has no completed trial yet."
    if math.isnan(record.test_value):
        return "The search is not concluded: its winner was not evaluated on the test set yet."
    return (
        f"The search's winner reaches {100 * record.test_value:.2f} % on the test set, "
        f"{points(record.test_gain)} against the unmoved network with the same seed."
    )


def caveat_of_search(record: SearchRecord) -> str:
    """Return what a search cannot show."""
    if record.is_restart:
        return (
            "This is the control: it only drew other random weights, so all that it gains is luck."
        )
    return (
        "This is one run against one baseline, which may have been an unlucky one: it cannot tell "
        "what the search gained from what as many random restarts would have brought. "
        "A comparison over several seeds can: adnn compare."
    )


def against_control(comparison: Comparison) -> list[PairedDifference]:
    """Return how much better than random restarts each other searcher is, the best first.

    Those that are shown to be better come before all others, whatever their means.
    """
    rows = [row for row in comparison.paired_differences if row.other == comparison.control]
    known = [row for row in rows if row.n_pairs]
    return sorted(known, key=lambda row: (row.verdict != "better", -row.mean))


def claim_of_comparison(comparison: Comparison) -> str:
    """Return whether the best searcher is better than random restarts, on the test set."""
    if comparison.control is None:
        return "There are no random restarts to compare with, so nothing can be told from luck."
    rows = against_control(comparison)
    if not rows:
        return "There are no searchers with results to compare with random restarts."
    best, verdicts = rows[0], {row.verdict for row in rows}
    evidence = f"(95 % interval {interval(best)}, {best.n_pairs} seeds)"
    mean = f"{points(best.mean)} of test accuracy"
    if best.verdict == "better":
        others = [row.arm for row in rows[1:] if row.verdict == "better"]
        names = " and ".join(filter(None, [", ".join(others[:-1]), *others[-1:]]))
        also = f"; so {'is' if len(others) == 1 else 'are'} {names}" if others else ""
        claim = f"{best.arm} is better than random restarts: {mean} for the same number of trials"
        return f"{claim} {evidence}{also}."
    if verdicts == {"worse"}:
        claim = f"Every searcher is worse than random restarts; {best.arm} comes closest"
    elif "undecided" not in verdicts:
        claim = f"No searcher is better than random restarts: {best.arm} is equivalent"
    else:
        claim = f"No searcher is shown to be better than random restarts: {best.arm} comes closest"
    return f"{claim}, with {mean} {evidence}."


def caveat_of_comparison(comparison: Comparison) -> str:
    """Return what to think of the claim."""
    n_seeds = len(comparison.seeds)
    if n_seeds < MIN_PAIRS:
        return (
            f"{n_seeds} seeds are too few to show any difference: compare with 10 or more before "
            "you decide anything by this."
        )
    if any(row.verdict == "undecided" for row in against_control(comparison)):
        return (
            "Undecided means that these seeds show neither a difference nor that there is none. "
            "What random restarts gain is luck, and comes for free with any searcher."
        )
    return (
        "Random restarts move nothing, they only draw other initial weights: what they gain is "
        "luck, and only what a searcher gains beyond them is its own."
    )
