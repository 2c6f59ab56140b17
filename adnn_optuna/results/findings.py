"""Sentences about evaluations: how many are made, reused or failed, and what they can miss."""

import math
from collections.abc import Iterable

from adnn_optuna._units import in_number
from adnn_optuna.render.document import Caution, Step
from adnn_optuna.stats.proportions import unseen_share

MAKE_THE_REST = Step(
    "Make the same call again, with a larger max_time if you set one.",
    "Run the same command again, with a larger --max-time if you set one.",
)
"""The next step if evaluations are missing."""

NAME_A_VALUE = "Pass failed=VALUE, in a shell --failed VALUE, to count each failure as this value."
"""The advice if runs failed."""

_LARGEST_UNSEEN_SHARE = 0.5


def made_so_far(n_made: int, n_needed: int, runs: str) -> str:
    """Return how many evaluations are made. ``runs`` names them, such as "training runs"."""
    few = "" if n_made < n_needed else ", too few of which succeeded"
    return f"{n_made} of {n_needed} {runs} are made{few}"


def reused_note(what: str, n_before: int, n_now: int) -> str:
    """Return how many evaluations or trials of a call were stored before; empty if none was."""
    if not n_before:
        return ""
    stored = in_number(n_before, f"stored {what}")
    return Caution(f"{stored} reused, {n_now - n_before} new.")


def counted(value: float | None, failed: float | None) -> float:
    """Return the value of a run; for a failed run, the value ``failed``.

    NaN if the run was not made, or if it failed and ``failed`` is None.
    """
    if value is None:
        return math.nan
    if failed is not None and math.isnan(value):
        return failed
    return value


def counted_values(values: Iterable[float], failed: float | None) -> list[float]:
    """Return the values of runs. Failed runs are left out if ``failed`` is None."""
    return [value for run in values if not math.isnan(value := counted(run, failed))]


def failures_note(n_failed: int, n: int, runs: str, failed: float | None) -> str:
    """Return how many runs failed, and the value of each failure; empty if none failed."""
    if not n_failed:
        return ""
    sentence = f"{n_failed} of {n} {runs} failed (raised, NaN, infinite or pruned)"
    if failed is not None:
        return Caution(f"{sentence}; each counts as {failed:g}.")
    return Caution(f"{sentence}. {NAME_A_VALUE}")


def differing_share(n: int, per: str) -> str:
    """Return the note that other values are possible, although ``n`` seeds give the same value."""
    share = f"{100 * unseen_share(n):.0f}%"
    return f"At 95% confidence, at most {share} of {per}s give another value."


def unseen_notes(n: int, per: str = "seed") -> list[str]:
    """Return the note on effects that occur only on a small share of seeds.

    ``n`` seeds miss an effect on this share of seeds in 5% of cases. If ``n`` is so small that the
    share is large, there is no note.
    """
    share = unseen_share(n)
    if share > _LARGEST_UNSEEN_SHARE:
        return []
    return [
        f"If an effect occurs on {100 * share:.0f}% of {per}s, {n} {per}s miss it in 5% of cases."
    ]
