"""Sentences that several results share: on evaluations, failures and how to continue a study."""

import math
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from optuna import Study

from adnn_optuna._attributes import CONFIG, SEARCH
from adnn_optuna._units import in_number
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.render.document import FUNCTION, Advice, Caution, Step
from adnn_optuna.stats.intervals import unseen_share

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord

MAKE_THE_REST = Step(
    Advice("Make the same call again, with a larger max_time if you set one."),
    Advice("Run the same command again, with a larger --max-time if you set one."),
)
"""The next step if evaluations are missing."""

NAME_A_VALUE = "Set failed to the value that each failure counts as."
"""The advice if runs failed."""

_LARGEST_UNSEEN_SHARE = 0.5


def made_so_far(n_made: int, n_needed: int, runs: str) -> str:
    """Return the number of finished evaluations. ``runs`` names them, such as "training runs"."""
    few = "" if n_made < n_needed else ", too few of which succeeded"
    return f"{n_made} of {n_needed} {runs} are made{few}"


def reused_note(what: str, n_before: int, n_now: int) -> str:
    """Return the note on reused evaluations or trials, or an empty text."""
    if not n_before:
        return ""
    stored = in_number(n_before, f"stored {what}")
    return Caution(f"{stored} reused, {n_now - n_before} new.")


def value_of_run(value: float | None, failed: float | None) -> float:
    """Return the value of a run, or ``failed`` for a failed run.

    If the run was not made, or ``failed`` is None for a failed run, it is NaN.
    """
    if value is None:
        return math.nan
    if failed is not None and math.isnan(value):
        return failed
    return value


def values_of_runs(values: Iterable[float], failed: float | None) -> list[float]:
    """Return the values of runs, without failed runs if ``failed`` is None."""
    return [value for run in values if not math.isnan(value := value_of_run(run, failed))]


def failures_note(n_failed: int, n: int, runs: str, failed: float | None) -> str:
    """Return the number of failed runs, and the value of each failure; empty without failures."""
    if not n_failed:
        return ""
    sentence = f"{n_failed} of {n} {runs} failed (raised, NaN, infinite or pruned)"
    if failed is not None:
        return Caution(f"{sentence}; each counts as {failed:g}.")
    return Caution(f"{sentence}. {NAME_A_VALUE}")


def not_drawn(n_far: int) -> str:
    """Return a caption's sentence on trials that are too far away to be drawn, if any."""
    if not n_far:
        return ""
    return f" Not drawn: {in_number(n_far, 'trial')} far worse."


def differing_share(n: int, per: str) -> str:
    """Return the note that other values are possible although ``n`` seeds give the same value."""
    share = f"{100 * unseen_share(n):.0f}%"
    return f"At 95% confidence, at most {share} of {per}s give another value."


def unseen_notes(n: int, per: str = "seed") -> list[str]:
    """Return the note on collapses that occur only on a small share of seeds.

    In 5% of cases, ``n`` seeds miss a collapse on this share of seeds. If ``n`` is so small that
    the share is large, there is no note.
    """
    share = unseen_share(n)
    if share > _LARGEST_UNSEEN_SHARE:
        return []
    return [
        f"{n} {per}s may miss a collapse on up to {100 * share:.0f}% of {per}s (95% confidence)."
    ]


def settings_fields(record: "SearchRecord") -> dict[str, Any]:
    """Return the settings, the calls and the storage of a search for JSON."""
    storage = record.study._storage
    return {
        "config": record.attrs.get(CONFIG),
        "search": record.attrs.get(SEARCH),
        "runs": record.runs,
        "storage": storage_url(storage) or type(storage).__name__,
    }


def is_named(study_name: str) -> bool:
    """Return whether the user named the study. If not, its name begins with "no-name-"."""
    return not study_name.startswith("no-name-")


def study_in_words(study_name: str) -> str:
    """Return how titles name a study."""
    if is_named(study_name):
        return f"study {study_name!r}"
    return "a study without a name"


def study_command(verb: str, study: Study, *options: str) -> str:
    """Return the shell command ``verb`` for a study, such as recheck.

    For a study in memory, it is empty.
    """
    if url := storage_url(study._storage):
        names = ["--storage", url, "--study-name", study.study_name]
        return shlex.join(["adnn", verb, *names, *options])
    return ""


def recheck_step(study: Study, variable: str, function: str = "", catch: str = "") -> Step:
    """Return the command for rechecking a study.

    ``variable`` names the study in Python code, ``function`` its objective, and ``catch`` the
    errors to catch. A study of networks stores its objective.
    """
    in_python: str = Advice(
        f"Call adnn.recheck({variable}, evaluate), with your objective (trial, seed) as evaluate."
    )
    has_objective = CONFIG in study.user_attrs
    if function or has_objective:
        arguments = [*filter(None, [variable, function])]
        if catch:
            arguments.append(f"catch={catch}")
        in_python = f"adnn.recheck({', '.join(arguments)})"
    in_shell = ""
    if url := storage_url(study._storage):
        command = ["adnn", "recheck", url, study.study_name]
        if not has_objective:
            command += ["--evaluate", FUNCTION]
        in_shell = shlex.join(command)
    return Step(in_python, in_shell)
