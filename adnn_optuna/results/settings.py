"""The settings of a study for JSON, and commands that continue a stored study."""

import shlex
from typing import TYPE_CHECKING, Any

from optuna import Study

from adnn_optuna._attributes import CONFIG, SEARCH
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.render.document import FUNCTION, Step

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord


def settings_fields(record: "SearchRecord") -> dict[str, Any]:
    """Return the settings, the calls and the storage of a search, as JSON."""
    storage = record.study._storage
    return {
        "config": record.attrs.get(CONFIG),
        "search": record.attrs.get(SEARCH),
        "runs": record.runs,
        "storage": storage_url(storage) or type(storage).__name__,
    }


def is_named(study_name: str) -> bool:
    """Return whether the user named the study. Otherwise its name begins with "no-name-"."""
    return not study_name.startswith("no-name-")


def study_in_words(study_name: str) -> str:
    """Return a title's words for a study."""
    if is_named(study_name):
        return f"study {study_name!r}"
    return "a study without a name"


def study_command(verb: str, study: Study, *options: str) -> str:
    """Return the shell command ``verb`` for a study, such as recheck; empty for one in memory."""
    if url := storage_url(study._storage):
        names = ["--storage", url, "--study-name", study.study_name]
        return shlex.join(["adnn", verb, *names, *options])
    return ""


def recheck_step(
    study: Study, variable: str, function: str = "", *, has_failures: bool = False
) -> Step:
    """Return how to recheck a study.

    ``variable`` is the study in Python code, and ``function`` the name of its objective.
    ``has_failures`` says whether the objective raised errors.
    """
    in_python = (
        f"Call adnn.recheck({variable}, evaluate), with your objective (trial, seed) as evaluate."
    )
    if function:
        arguments = [variable, function]
        if has_failures:
            arguments.append("catch=Exception")
        in_python = f"adnn.recheck({', '.join(arguments)})"
    in_shell = ""
    if url := storage_url(study._storage):
        command = ["adnn", "recheck", url, study.study_name, "--evaluate", FUNCTION]
        in_shell = shlex.join(command)
    return Step(in_python, in_shell)
