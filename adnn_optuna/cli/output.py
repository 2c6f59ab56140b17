"""What the commands show: results on stdout, on stderr how to go on from them, and exit codes."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import typer

from adnn_optuna._checks import is_installed, without_passwords
from adnn_optuna._files import write_text
from adnn_optuna._units import as_argument, printable
from adnn_optuna.render.json import to_json
from adnn_optuna.render.printed import Printed as DocumentedResult

NOT_MET, WRONG_INPUT, UNEXPECTED, FAILED, INTERRUPTED = 1, 2, 3, 4, 130


class File(NamedTuple):
    """A file that a command may write of what it found: its suffix, what it is, what it is for."""

    suffix: str
    help: str
    use: str


FILES = {
    "contract": File(
        ".json",
        "Write the result as a contract (.json), which adnn verify checks, and beside it the "
        "winner's trained weights (.npz).",
        "Check it",
    ),
    "save": File(".keras", "The .keras file for the average, one model of raw inputs.", "Load it"),
    "plot": File(".html", "The .html file for the figure.", "See it"),
    "report": File(".html", "The .html file for a report, all figures included.", "Read it"),
    "model_card": File(
        ".md", "The .md file for a model card that Hugging Face reads.", "Publish it"
    ),
}


def load_libraries() -> None:
    """Import Optuna, which then logs warnings only, and TensorFlow, if it is there, as quietly."""
    import optuna

    from adnn_optuna.networks._tensorflow import LOG_LEVEL, load_tensorflow

    os.environ["KERAS_BACKEND"] = "tensorflow"  # A user's configuration may name another one.
    os.environ.setdefault(LOG_LEVEL, "2")
    if is_installed("tensorflow"):
        load_tensorflow("The command line")
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def show(result: object, stream: TextIO | None = None) -> None:
    """Write a result to stdout."""
    print(printable(str(result), keep="\n"), file=stream, flush=True)


def say(text: str) -> None:
    """Write to stderr, so that stdout holds results alone; of URLs only what is shown of them."""
    show(without_passwords(text), sys.stderr)


class Answer(NamedTuple):
    """What a command found: facts that print, how to go on from them by what for, an exit code."""

    facts: Any
    more: dict[str, str] = {}  # noqa: RUF012 - nobody changes it.
    code: int = 0


def finish(verb: str, answer: Answer, *, in_json: bool, quiet: bool, **files: Path | None) -> None:
    """Write the files that are asked for, and show what was found and how to go on from it."""
    facts, more, code = answer
    asked = {what: file for what, file in files.items() if file is not None}
    more = more | {FILES[what].use: str(file) for what, file in asked.items()}
    if "report" in asked:
        more.pop("Report it", None)
    made = []
    try:
        if contract := asked.get("contract"):
            facts = facts.confirmed() if verb != "ensemble" else facts
            facts.contract().save(contract)
            more["Check it"] = f"adnn verify {as_argument(str(contract))}"
            made = [contract] if verb != "ensemble" else []
    finally:
        # Also of a search that no contract can be made of.
        following = {what.lower().replace(" ", "_"): how for what, how in more.items()}
        show(as_json(verb, facts, next=following) if in_json else facts)
        if "plot" in asked:
            write_text(asked["plot"], facts.plot().to_html(include_plotlyjs=True))
        if "save" in asked:
            facts.save(asked["save"])
        if "report" in asked:
            facts.report(asked["report"], *made)
    if "model_card" in asked:
        facts.model_card(asked["model_card"], *made)
    if more and not quiet:
        say("\n" + "\n".join(f"{f'{what}:':11} {how}" for what, how in more.items()))
    if code:
        raise typer.Exit(code)


SHOWN = {
    "SearchRecord": "study metric positive test_metric searcher stop_reason budget values "
    "baseline best best_is_added best_value gain test_baseline test_value test_gain test_metrics "
    "confirmation",
    "ComparisonFacts": "study_name seeds margin is_complete table differences results",
    "SeedPlanFacts": "gain n_claims n_pilot sd seeds seeds_low seeds_high seeds_sequential "
    "hours hours_sequential seeds_by_claim",
    "ContractFacts": "content",
    "VerdictFacts": "status reasons not_checked gain half_width interval examples promised "
    "confirmation fresh",
    "AuditFacts": "variables layers warnings not_moved",
}
"""What is shown of each kind of facts, by its class: attributes, or what methods return.

After a colon stands what it is in Python, where that has another name.
"""


def as_json(verb: str, facts: object, **more: Any) -> str:
    """Return what a command found as JSON; of numbers what is not finite is null."""
    if isinstance(facts, DocumentedResult):
        return to_json(facts.document(), verb=verb, **more)
    return json.dumps({"verb": verb, **_plain(facts), **_plain(more)}, indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(of_key) for key, of_key in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_asdict"):
        return [_plain(part) for part in value]
    return _plain(_parts(value))


def _parts(value: Any) -> Any:
    """Return what a value consists of; what has no parts that can be told, as text."""
    known = SHOWN | {"FrozenTrial": "number value params"}
    kind = next((of.__name__ for of in type(value).__mro__ if of.__name__ in known), None)
    if kind is not None:
        parted = (name.partition(":") for name in known[kind].split())
        return {name: getattr(value, of or name, None) for name, _, of in parted}
    if hasattr(value, "study_name"):
        return value.study_name
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "reset_index"):  # A data frame.
        return value.reset_index().to_dict("records")
    # Of named tuples, and of what NumPy has.
    for method in ("_asdict", "tolist", "__call__"):
        if hasattr(value, method):
            return getattr(value, method)()
    return str(value)
