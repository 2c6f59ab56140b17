"""Model cards: a search's winner in Markdown, under the header that Hugging Face's Hub reads."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError
from adnn_optuna._units import params_in_words, printable
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.confirmation import confirmation_of, held_score
from adnn_optuna.evidence.paired_differences import ALPHA
from adnn_optuna.reporting import searches_claims as claims
from adnn_optuna.reporting.claims import HOLD, REPEATS, USUAL
from adnn_optuna.reporting.confirmations import statements
from adnn_optuna.reporting.origins import shown_contract


def card(record: SearchRecord, contract: Mapping[str, Any] | None = None) -> str:
    """Return the card of a search's winner, with what the file of its contract holds.

    Raises:
        ValueError: If there is no winner, or the contract is that of another result.
    """
    if record.best is None:
        said = claims.why_no_winner(record)
        raise WrongValueError(f"There is no model to write a card of: {said}")
    shown = None if contract is None else shown_contract(record, contract)
    answers = claims.answers_of_search(record, shown["quoted_name"] if shown else None)
    used, n = f"{claims.use_of_test_set(record)}.", len(record.done_trials)
    name, data = record.study.study_name, record.attrs[stored.CONFIG]["dataset"]
    facts = {
        **statements(record),
        "Data": f"{data['name']} (SHA-256 {data['fingerprint']})",
        "Search": f"{record.proposers[record.best.number]}, {n} trial{'s' * (n != 1)}; the "
        f"best one is {record.best.number}: {params_in_words(record.best.params)}",
        "Test set": used,
        "To mind": claims.to_mind([record]).removesuffix(used).rstrip(),
        "How to check it": answers["How to check it?"],
        "The contract's SHA-256": "" if contract is None else contract["sha256"],
    }
    lines = [f"- **{what}:** {_escaped(said)}" for what, said in facts.items() if said]
    header = yaml.safe_dump(_header(record), sort_keys=False, allow_unicode=True)
    text = "\n".join([f"# {_escaped(name)}", "", _escaped(answers["verdict"]), "", *lines])
    return f"---\n{header}---\n\n{text}\n"


def _header(record: SearchRecord) -> dict[str, Any]:
    """Return what the Hub reads: each metric that is known, with its interval."""
    data, look = record.attrs[stored.CONFIG]["dataset"], record.test_look
    score, name = record.test_metric.removeprefix("test_"), printable(data["name"])
    is_of_images = score == "accuracy" and look is not None and look["unit"] == "images"
    task = "image-classification" if is_of_images else "other"
    facts, level = confirmation_of(record), 1 - ALPHA
    known = {HOLD: (score, held_score(record))}
    if facts is not None:
        known[USUAL], level = (f"{score}_over_usual", facts.usual), facts.level
        known[REPEATS] = (f"{score}_gain_that_repeats", facts.repeats if facts.gains else None)
    metrics = [
        {"type": kind, "name": what, "value": of.value, "args": {**of._asdict(), "level": level}}
        for what, (kind, of) in known.items()
        if of is not None and all(map(math.isfinite, of))
    ]
    of_data = {"type": name, "name": name, "split": "test"}
    result = {"task": {"type": task}, "dataset": of_data, "metrics": metrics}
    named = {"name": printable(record.study.study_name), "results": [result]}
    of_task = {"pipeline_tag": task} if is_of_images else {}
    return {"library_name": "keras", "tags": ["adnn_optuna"], **of_task, "model-index": [named]}


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, whatever somebody named so."""
    return re.sub(r"([\\`*_\[\]<>&#|~$@!]|(?<=:)/|(?<=www)\.)", r"\\\1", printable(text))
