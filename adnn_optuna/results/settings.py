"""Settings and runs as JSON has them, and commands that continue a stored study."""

import shlex
from typing import TYPE_CHECKING, Any

from optuna import Study

from adnn_optuna._attributes import CONFIG, SEARCH
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.render.document import FUNCTION, Step

if TYPE_CHECKING:
    from adnn_optuna.engine.records import FunctionRecord, SearchRecord


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


def compare_step(record: "SearchRecord") -> Step:
    """Return how to compare a search with others that have the same number of trials."""
    n_trials = len(record.done_trials)
    in_shell = f"Run adnn compare --max-trial {n_trials} with the other options of this search."
    return Step(f"adnn.compare(objective, max_trial={n_trials})", in_shell)


def compare_function_step(record: "FunctionRecord", function: str) -> Step:
    """Return how to compare the search of a function with others of the same values.

    ``function`` is the function's name; empty if it is not known.
    """
    n_trials = len(record.done_trials)
    arguments = [f"max_trial={n_trials}"]
    options = ["--max-trial", str(n_trials)]
    if not record.is_minimized:
        arguments.insert(0, 'direction="maximize"')
        options += ["--direction", "maximize"]
    if record.resampled is not None:
        arguments.append(f"resampled={record.resampled}")
        options += ["--resampled", ",".join(map(str, record.resampled))]
    if record.failed is not None:
        arguments.append(f"failed={record.failed}")
        options += ["--failed", str(record.failed)]
    if url := storage_url(record.study._storage):
        options += ["--storage", url]
    in_shell = shlex.join(["adnn", "compare", FUNCTION, *options])
    in_python = f"Call adnn.compare with your objective, {', '.join(arguments)}."
    if function:
        in_python = f"adnn.compare({function}, {', '.join(arguments)})"
    return Step(in_python, in_shell)
