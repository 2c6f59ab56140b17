"""How a search is told: what it prints, its figure, its report and its winner's model card."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import yaml

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError
from adnn_optuna._units import params_in_words, printable, score_in_words
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.plots import plot_accuracy_distribution, plot_best_of_n
from adnn_optuna.plots import plot_gain as figure
from adnn_optuna.plots._comparison import plot_learning, png
from adnn_optuna.plots._estimates import plot_gains
from adnn_optuna.plots._places import plot_places
from adnn_optuna.reporting import searches_claims as claims
from adnn_optuna.reporting.origins import origin, shown_contract
from adnn_optuna.reporting.pages import Figure, Page
from adnn_optuna.reporting.parts import HOLD, REPEATS, USUAL, filled, n_examples, numbers_at, told
from adnn_optuna.results.confirmation import confirmation_of, held_score
from adnn_optuna.results.examples import WinnerFacts
from adnn_optuna.results.numbers import numbers_of, unit_of_search
from adnn_optuna.stats.sequential import ALPHA


def text(record: SearchRecord) -> str:
    """Return what a search came to, as it prints."""
    n_trials, end = len(record.done_trials), claims.end_in_words(record.stop_reason)
    lines = [f"Study {record.study.study_name!r}: {n_trials} trial{'s' * (n_trials != 1)}, {end}"]
    if record.best is None:
        why = (claims.why_no_winner(record), claims.unowned_in_words(record))
        return "\n".join([*lines, *(f"  {said}" for said in why if said)])
    lines += [f"  {what}: {said}" for what, said in claims.statements(record).items()]
    lines += [f"  {said}" for said in [*_numbers(record, "print"), *_besides(record)]]
    return "\n".join(lines)


def _numbers(record: SearchRecord, place: str) -> list[str]:
    """Return the numbers that a place shows: those of a metric in one line, all others alone."""
    [values] = numbers_of([record])
    is_of_networks, rows = stored.CONFIG in record.attrs, dict[str, list[str]]()
    for number in numbers_at(place):
        if not is_of_networks and math.isnan(values[number.name]):
            continue  # Another's objective has no other metrics.
        said = told(number, values[number.name], record)
        if not number.is_gain:
            said = f"{said:>8}"
        elif number.name == "test_gain" and (note := claims.about_test_gain(record)):
            said = f"{said}: {note}"
        line = number.label_of(record)
        if not number.part:
            line = filled(number.heading, number, record, with_unit=False)
        rows.setdefault(line.replace("\n", " "), []).append(f"{number.part} {said}".lstrip())
    lines = [f"{line:<15}  {'  '.join(parts)}" for line, parts in rows.items()]
    if is_of_networks:
        lines.insert(0, "Over the search's own baseline, which is one network of one seed:")
    return lines


def _besides(record: SearchRecord) -> list[str]:
    """Return what is to be known of a search besides its numbers, a sentence each."""
    assert record.best is not None
    config = record.attrs.get(stored.CONFIG, {})
    is_of_offsets = config.get("space", {}).get("type") == "OffsetSpace"
    not_moved = config.get("model", {}).get("not_moved", []) if is_of_offsets else []
    added = "It was added by study.add_trial: this search did not evaluate it."
    said = (
        f"best trial {record.best.number}: {params_in_words(record.best.params)}",
        added * record.best_is_added,
        claims.to_mind([record]),
        claims.hyperparameters_in_words(record),
        claims.not_moved_in_words(not_moved),
        claims.unowned_in_words(record),
    )
    return [*filter(None, said)]


def page(
    record: SearchRecord,
    contract: Mapping[str, Any] | None = None,
    winner: WinnerFacts | None = None,
) -> Page:
    """Return the report, with the contract and what winner and unmoved network say, if given."""
    shown = None if contract is None else shown_contract(record, contract)
    answers = claims.answers_of_search(record, shown["quoted_name"] if shown else None)
    claim, mind = answers.pop("verdict"), claims.to_mind([record])
    on_fresh_seeds = {f"{what}:": said for what, said in claims.statements(record).items()}
    figures = [Figure("gain", figure(record))] if record.best else []
    if not record.is_restart and (places := plot_places(record)).data:
        figures.append(Figure("places", places))
    if winner is not None:
        metric = record.test_metric.removeprefix("test_")
        figures.append(Figure("learning", plot_learning(winner, metric)))
    if record.is_restart:
        figures.append(Figure("distribution", plot_accuracy_distribution(record)))
        figures.append(Figure("best-of-n", plot_best_of_n(record)))
    used, n = f"{claims.use_of_test_set(record)}.", len(record.done_trials)
    is_used = stored.CONFIG in record.attrs and used not in mind
    evidence = [*_numbers(record, "scores"), *_besides(record)] if record.best else []
    content = {
        "name": record.study.study_name,
        "answers": {**on_fresh_seeds, **answers},
        "picture": Figure("gains", _picture(record)),
        "trials": f"{n} trial{'s' * (n != 1)}, {claims.end_in_words(record.stop_reason)}",
        "said": used if is_used else "",
        "text": "\n".join(said for said in evidence if said != mind),
        "figures": figures,
        "changed": _changed(record, winner),
        "png": png,
        "contract": shown,
        **origin([[record]]),
    }
    return Page("search.html.jinja", claim, content, mind=mind)


def _picture(record: SearchRecord) -> go.Figure:
    """Return what is usual and what repeats, beside the gain over the search's own baseline."""
    gains: dict[str, tuple[float, ...]] = {}
    if facts := confirmation_of(record):
        gains = {"better than usual": facts.usual, "repeats": facts.repeats}
    gains["over its own baseline"] = (record.test_gain, math.nan, math.nan)
    title = "What is usual, what repeats, and how far it may be off"
    known = {label: gain for label, gain in gains.items() if math.isfinite(gain[0])}
    unit = unit_of_search(record, record.test_metric)
    return plot_gains(known, title, unit, of=score_in_words(record.test_metric, record.positive))


def _changed(record: SearchRecord, winner: WinnerFacts | None) -> list[tuple[str, Any]]:
    """Return the test examples that changed, for the worse and for the better."""
    if winner is None or (look := record.test_evaluation) is None:
        return []
    worse, better = "Right before and wrong now", "Wrong before and right now"
    if record.attrs[stored.CONFIG]["dataset"].get("task") == "regression":
        worse, better = "Farther from the target now", "Nearer to the target now"
    shown = []
    for title, examples, n in (
        (worse, winner.lost, winner.n_lost),
        (better, winner.won, winner.n_won),
    ):
        of = f"{len(examples)} of {n}" if len(examples) < n else f"{n}"
        shown.append((f"{title}: {of} of {n_examples(look)}", examples))
    return shown


def card(record: SearchRecord, contract: Mapping[str, Any] | None = None) -> str:
    """Return the model card of the winner, with what the file of its contract holds."""
    if record.best is None:
        said = claims.why_no_winner(record)
        raise WrongValueError(f"There is no model to write a card of: {said}")
    shown = None if contract is None else shown_contract(record, contract)
    answers = claims.answers_of_search(record, shown["quoted_name"] if shown else None)
    used, n = f"{claims.use_of_test_set(record)}.", len(record.done_trials)
    name, data = record.study.study_name, record.attrs[stored.CONFIG]["dataset"]
    facts = {
        **claims.statements(record),
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
    data, look = record.attrs[stored.CONFIG]["dataset"], record.test_evaluation
    score, name = record.test_metric.removeprefix("test_"), printable(data["name"])
    is_of_images = look is not None and look["unit"] == "images" and "task" not in data
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
    if score != "accuracy" and "accuracy" in record.test_metrics:
        metrics.append({"type": "accuracy", "value": record.test_metrics["accuracy"]})
    of_data = {"type": name, "name": name, "split": "test"}
    result = {"task": {"type": task}, "dataset": of_data, "metrics": metrics}
    named = {"name": printable(record.study.study_name), "results": [result]}
    of_task = {"pipeline_tag": task} if is_of_images else {}
    return {"library_name": "keras", "tags": ["adnn_optuna"], **of_task, "model-index": [named]}


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, whatever somebody named so."""
    return re.sub(r"([\\`*_\[\]<>&#|~$@!]|(?<=:)/|(?<=www)\.)", r"\\\1", printable(text))
