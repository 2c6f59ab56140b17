"""The report of a search: one HTML file that opens from disk."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from adnn_optuna import plots
from adnn_optuna.accountability.contract_file import read_contract
from adnn_optuna.evidence._report_parts import (
    ANNEALING,
    dates,
    flattened,
    footer,
    metric_gain,
    metric_value,
    percentage,
    settings_section,
)
from adnn_optuna.evidence.claims import caveat_of_search, claim_of_search, points
from adnn_optuna.evidence.page import Attachment, Card, Figure, Page, Section, Table
from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler, DeltaStepSampler

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna.engine.records import SearchRecord


def search_page(record: SearchRecord, contract: Path | None = None) -> Page:
    """Return the report of a search.

    Args:
        record:
            What the search came to.
        contract:
            The file of its contract.

    Raises:
        ValueError: If the contract cannot be read, or is that of another study.
    """
    study = record.study
    sections = [
        Section(
            "Evidence",
            "The search selected its winner by the selection metric, so that value is too good to "
            "be true; the test set was used once, after the search.",
            tables=[_accuracy_table(record)],
            figures=figures_of_search(record),
        ),
        settings_section([record]),
    ]
    if contract is not None:
        sections.append(_contract_section(study.study_name, contract))
    return Page(
        title=f"{study.study_name} - adnn_optuna",
        kind=f"Search {study.study_name} · {dates([record])}",
        claim=claim_of_search(record),
        lead=caveat_of_search(record),
        cards=[
            Card(
                "Test accuracy of the winner",
                percentage(record.test_value),
                f"unmoved network {percentage(record.test_baseline)}",
            ),
            Card(
                "Gain on the test set",
                points(record.test_gain),
                "accuracy that the search never saw",
            ),
            Card(
                f"Gain in {record.metric}",
                metric_gain(record, record.gain),
                "what the search selected by; part of it is luck",
            ),
            Card(
                "Trials",
                str(len(record.done_trials)),
                f"ended by {record.stop_reason or 'nothing yet'}",
            ),
        ],
        sections=sections,
        footer=footer(),
    )


def figures_of_search(record: SearchRecord) -> list[Figure]:
    """Return the figures of a search, each with how to read it."""
    study = record.study
    figures = [Figure("gain", "On the data that is selected by.", plots.plot_gain(study))]
    if record.is_restart:
        figures += [
            Figure(
                "distribution",
                "How far random numbers alone move this model.",
                plots.plot_accuracy_distribution(study),
            ),
            Figure(
                "best-of-n",
                "The mean over all ways to draw n of these initialisations.",
                plots.plot_best_of_n(study),
            ),
        ]
        return figures
    if isinstance(record.sampler, DeltaStepSampler):
        figures.append(Figure("walk", "Every offset is the same.", plots.plot_walk(study)))
    if isinstance(record.sampler, AdaptiveSimulatedAnnealingSampler):
        figures.append(Figure("annealing", ANNEALING, plots.plot_annealing(study)))
    caption = "Where the trials went, and which one won."
    figures.append(Figure("offsets", caption, plots.plot_offsets(study)))
    return figures


def _accuracy_table(record: SearchRecord) -> Table:
    selected = (record.baseline, record.best_value)
    rows = [
        (
            f"{record.metric}, selected by",
            *(metric_value(value, percent=record.has_accuracy) for value in selected),
            metric_gain(record, record.gain),
        )
    ]
    if record.metric != "val_accuracy":
        rows.append(
            (
                "val_accuracy",
                percentage(record.val_baseline),
                percentage(record.val_value),
                points(record.val_value - record.val_baseline),
            )
        )
    rows.append(
        (
            "test accuracy, never seen",
            percentage(record.test_baseline),
            percentage(record.test_value),
            points(record.test_gain),
        )
    )
    return Table("", ("", "unmoved", "winner", "gain"), rows)


def _contract_section(study_name: str, path: Path) -> Section:
    content = read_contract(path)
    if content["study"]["name"] != study_name:
        raise ValueError(
            f"The contract {str(path)!r} is that of study {content['study']['name']!r}, not of "
            f"{study_name!r}; give that study's own."
        )
    promised = {
        "winner": content["winner"],
        "baseline": content["baseline"],
        "tolerance": content["tolerance"],
        "environment": content["environment"],
    }
    return Section(
        "Contract",
        "What this report promises, to be checked by anyone who has the data and the contract's "
        "files: the command trains the unmoved network and the winner again, compares them to the "
        "last bit, and names what differs.",
        tables=[Table("", (), [*flattened(promised)], is_text=True)],
        codes=[f"adnn verify {shlex.quote(path.name)}"],
        attachment=Attachment(path.name, path.read_text(encoding="utf-8")),
    )
