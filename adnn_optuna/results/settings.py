"""Settings and runs as JSON has them, and commands that continue a stored study."""

import shlex
from typing import TYPE_CHECKING, Any

from optuna import Study

from adnn_optuna._attributes import CONFIG, SEARCH
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.render.document import FUNCTION, Step

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord


def settings_fields(record: "SearchRecord") -> dict[str, Any]:
    """Return the settings of a search, the runs that made its trials, and their storage."""
    storage = record.study._storage
    return {
        "config": record.attrs.get(CONFIG),
        "search": record.attrs.get(SEARCH),
        "runs": record.runs,
        "storage": storage_url(storage) or type(storage).__name__,
    }


def is_named(study_name: str) -> bool:
    """Return whether the user named a study; otherwise Optuna did, by a random number."""
    return not study_name.startswith("no-name-")


def study_in_words(study_name: str) -> str:
    """Return a study as a part of a title."""
    if is_named(study_name):
        return f"study {study_name!r}"
    return "a study without a name"


def study_command(verb: str, study: Study, *options: str) -> str:
    """Return the command of a verb on a stored study; empty if it is in memory only."""
    if url := storage_url(study._storage):
        names = ["--storage", url, "--study-name", study.study_name]
        return shlex.join(["adnn", verb, *names, *options])
    return ""


def recheck_step(study: Study, variable: str, function: str = "") -> Step:
    """Return how to recheck a study; ``variable`` names it, ``function`` its objective."""
    in_python = (
        f"Call adnn.recheck({variable}, evaluate), with your objective (trial, seed) as evaluate."
    )
    if function:
        in_python = f"adnn.recheck({variable}, {function})"
    in_shell = ""
    if url := storage_url(study._storage):
        command = ["adnn", "recheck", url, study.study_name, "--evaluate", FUNCTION]
        in_shell = shlex.join(command)
    return Step(in_python, in_shell)
