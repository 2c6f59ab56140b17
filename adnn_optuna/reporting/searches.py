"""How a search is told: what it prints, its figure and its report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from adnn_optuna import _attributes as stored
from adnn_optuna._units import params_in_words, score_in_words, unit_of
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.confirmation import confirmation_of
from adnn_optuna.evidence.examples import WinnerFacts
from adnn_optuna.evidence.numbers import numbers_of
from adnn_optuna.plots import plot_accuracy_distribution, plot_best_of_n
from adnn_optuna.plots import plot_gain as figure
from adnn_optuna.plots._comparison import plot_learning, png
from adnn_optuna.plots._estimates import plot_gains
from adnn_optuna.reporting import searches_claims as claims
from adnn_optuna.reporting.claims import n_examples
from adnn_optuna.reporting.confirmations import hyperparameters_in_words, statements
from adnn_optuna.reporting.origins import origin, shown_contract
from adnn_optuna.reporting.pages import Figure, Page
from adnn_optuna.reporting.tables import filled, numbers_at, told


def text(record: SearchRecord) -> str:
    """Return what a search came to, as it prints."""
    n_trials, end = len(record.done_trials), claims.end_in_words(record.stop_reason)
    lines = [f"Study {record.study.study_name!r}: {n_trials} trial{'s' * (n_trials != 1)}, {end}"]
    if record.best is None:
        why = (claims.why_no_winner(record), claims.unowned_in_words(record))
        return "\n".join([*lines, *(f"  {said}" for said in why if said)])
    lines += [f"  {what}: {said}" for what, said in statements(record).items()]
    if said := hyperparameters_in_words(record):
        lines.append(f"  {said}")
    if stored.CONFIG in record.attrs:
        lines.append("  Over the search's own baseline, which is one network of one seed:")
    lines += _number_lines(record)
    if (look := record.test_look) and (uneven := claims.uneven_classes_in_words(look)):
        lines.append(f"  {uneven}")
    params = params_in_words(record.best.params)
    lines.append(f"  best trial {record.best.number}: {params}")
    if record.test_looks and record.looks_elsewhere:
        lines.append(f"  {claims.use_of_test_set(record)}")
    dataset = record.attrs.get(stored.CONFIG, {}).get("dataset", {})
    if twice := claims.duplicates_in_words(dataset):
        lines.append(f"  {twice}")
    if scaling := dataset.get("preprocessing"):
        lines.append(f"  inputs {_inputs_in_words(scaling)}")
    return "\n".join([*lines, *(f"  {said}" for said in _besides(record))])


def _besides(record: SearchRecord) -> list[str]:
    """Return what is to be known of a search besides its numbers, a sentence each."""
    config = record.attrs.get(stored.CONFIG, {})
    is_of_offsets = config.get("space", {}).get("type") == "OffsetSpace"
    not_moved = config.get("model", {}).get("not_moved", []) if is_of_offsets else []
    said = (
        claims.hyperparameter_gain_in_words(record),
        claims.proposers_in_words(record),
        claims.not_moved_in_words(not_moved),
        claims.unowned_in_words(record),
    )
    return [*filter(None, said)]


def _inputs_in_words(preprocessing: Mapping[str, Any]) -> str:
    """Return what was done to raw inputs, by the configuration of the preprocessing."""
    has_categories = any(categories for _, categories in preprocessing["columns"] or ())
    done = ["with categories as 0 and 1"] if has_categories else []
    if isinstance(preprocessing["factor"], Sequence):
        done.append("standardised by the training part")
        if left := preprocessing.get("as_given"):
            done.append(f"{len(left)} of them as they are")
    elif preprocessing["factor"] != 1:
        done.append("divided by 255")
    said = " and ".join(done) or "as they are"
    if preprocessing.get("fill"):
        said += "; what is missing is filled in"
    if preprocessing.get("target_mean"):
        said += "; targets standardised while they are learned, and scores in your units"
    return said


def _number_lines(record: SearchRecord) -> list[str]:
    """Return the numbers that are printed: those of a metric in one line, all others alone."""
    [values] = numbers_of([record])
    lines: dict[str, list[str]] = {}
    for number in numbers_at("print"):
        if math.isnan(values[number.name]) and stored.CONFIG not in record.attrs:
            continue  # It has no other metrics.
        said = told(number, values[number.name], record)
        if not number.is_gain:
            said = f"{said:>8}"
        elif number.name == "test_gain" and (note := claims.about_test_gain(record)):
            said = f"{said}: {note}"
        line = number.metric_of(record)
        if not number.part:
            line = filled(number.heading, number, record, with_unit=False)
        lines.setdefault(line.replace("\n", " "), []).append(f"{number.part} {said}".lstrip())
    return [f"  {line:<15}  {'  '.join(parts)}" for line, parts in lines.items()]


def page(
    record: SearchRecord,
    contract: Mapping[str, Any] | None = None,
    winner: WinnerFacts | None = None,
) -> Page:
    """Return the report of a search, with what the file of its contract holds.

    Where winner and unmoved network were trained once more, it shows both.

    Raises:
        ValueError: If the contract is that of another result.
    """
    shown = None if contract is None else shown_contract(record, contract)
    answers = claims.answers_of_search(record, shown["quoted_name"] if shown else None)
    claim, mind = answers.pop("verdict"), claims.to_mind([record])
    on_fresh_seeds = {f"{what}:": said for what, said in statements(record).items()}
    figures = [Figure("gain", figure(record))] if record.best else []
    if winner is not None:
        metric = record.test_metric.removeprefix("test_")
        figures.append(Figure("learning", plot_learning(winner, metric)))
    if record.is_restart:
        figures.append(Figure("distribution", plot_accuracy_distribution(record)))
        figures.append(Figure("best-of-n", plot_best_of_n(record)))
    used, n = f"{claims.use_of_test_set(record)}.", len(record.done_trials)
    said = (
        "The winner was selected by the selection metric, so that value is too good to be true."
        * (record.best is not None),
        "" if used in mind or stored.CONFIG not in record.attrs else used,
        hyperparameters_in_words(record),
        *_besides(record),
    )
    content = {
        "name": record.study.study_name,
        "answers": {**on_fresh_seeds, **answers},
        "picture": Figure("gains", _picture(record)),
        "trials": f"{n} trial{'s' * (n != 1)}, {claims.end_in_words(record.stop_reason)}",
        "said": " ".join(filter(None, said)),
        "figures": figures,
        "changed": _changed(record, winner),
        "scores": _score_rows(record) if record.best else [],
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
    return plot_gains(known, title, unit_of(record.test_metric))


def _changed(record: SearchRecord, winner: WinnerFacts | None) -> list[tuple[str, list[Any]]]:
    """Return the test examples that changed, for the worse and for the better, as shown."""
    if winner is None or (look := record.test_look) is None:
        return []
    worse, better = "Right before and wrong now", "Wrong before and right now"
    if record.test_metric == "test_r2":
        worse, better = "Farther from the target now", "Nearer to the target now"

    def as_text(values: Mapping[str, Any]) -> dict[str, str]:
        return {k: f"{v:.4g}" if isinstance(v, float) else str(v) for k, v in values.items()}

    shown = []
    for title, examples, n in (
        (worse, winner.lost, look["lost"]),
        (better, winner.won, look["won"]),
    ):
        some = [
            {
                "says": as_text({"is": e.truth, "unmoved": e.unmoved, "winner": e.winner}),
                "columns": as_text(e.columns),
                "number": str(e.number),
                "png": None if e.pixels is None else png(e.pixels),
            }
            for e in examples
        ]
        of = f"{len(some)} of {n}" if len(some) < n else f"{n}"
        shown.append((f"{title}: {of} of {n_examples(look)}", some))
    return shown


def _score_rows(record: SearchRecord) -> list[list[str]]:
    """Return unmoved network, winner and gain by each metric, as text."""
    [values] = numbers_of([record])
    titles = {
        record.test_metric: f"{score_in_words(record.test_metric)}, not selected by",
        record.metric: f"{record.metric}, selected by",
    }
    rows: dict[str, dict[str, str]] = {}
    for number in numbers_at("scores"):
        if math.isnan(values[number.name]) and stored.CONFIG not in record.attrs:
            continue  # It has no other metrics.
        row = rows.setdefault(number.metric_of(record), {})
        said = told(number, values[number.name], record)
        if number.name == "test_gain" and (note := claims.about_test_gain(record)):
            said = f"{said} ({note})"
        row.setdefault(number.part, said)
    return [[titles.get(metric, metric), *row.values()] for metric, row in rows.items()]
