"""Reports: a search or a comparison as one HTML file that opens from disk."""

from __future__ import annotations

import json
import math
import shlex
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna import plots
from adnn_optuna._contract_file import read_contract
from adnn_optuna.claims import (
    against_control,
    caveat_of_comparison,
    caveat_of_search,
    claim_of_comparison,
    claim_of_search,
    interval,
    points,
)
from adnn_optuna.objective import CONFIG
from adnn_optuna.page import Attachment, Card, Figure, Page, Section, Table
from adnn_optuna.results import SEARCH
from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler, DeltaStepSampler
from adnn_optuna.storages import storage_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from adnn_optuna.comparison import Comparison
    from adnn_optuna.results import SearchRecord


_ANNEALING = "Temperature 1 moves a parameter everywhere; green is the way that it went."


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
        _settings_section([record]),
    ]
    if contract is not None:
        sections.append(_contract_section(study.study_name, contract))
    return Page(
        title=f"{study.study_name} - adnn_optuna",
        kind=f"Search {study.study_name} · {_dates([record])}",
        claim=claim_of_search(record),
        lead=caveat_of_search(record),
        cards=[
            Card(
                "Test accuracy of the winner",
                _percent(record.test_value),
                f"unmoved network {_percent(record.test_baseline)}",
            ),
            Card(
                "Gain on the test set",
                points(record.test_gain),
                "accuracy that the search never saw",
            ),
            Card(
                f"Gain in {record.metric}",
                _gain(record, record.gain),
                "what the search selected by; part of it is luck",
            ),
            Card(
                "Trials",
                str(len(record.done_trials)),
                f"ended by {record.stop_reason or 'nothing yet'}",
            ),
        ],
        sections=sections,
        footer=_footer(),
    )


def comparison_page(comparison: Comparison) -> Page:
    """Return the report of a comparison."""
    everything = [run for runs in comparison.results.values() for run in runs]
    name = everything[0].study.study_name.removesuffix(f"/seed={comparison.seeds[0]}")
    name = name.removesuffix(f"/{next(iter(comparison.results))}")
    return Page(
        title=f"{name} - adnn_optuna",
        kind=f"Comparison {name} · {len(comparison.seeds)} seeds · {_dates(everything)}",
        claim=claim_of_comparison(comparison),
        lead=caveat_of_comparison(comparison),
        cards=list(_cards_of_comparison(comparison)),
        sections=[
            _evidence_section(comparison),
            Section("Figures", figures=_figures_of_comparison(comparison)),
            _settings_section([runs[0] for runs in comparison.results.values()]),
            Section(
                "Every run",
                "So that each number above can be checked.",
                tables=[_runs_table(comparison)],
            ),
        ],
        footer=_footer(),
    )


def _cards_of_comparison(comparison: Comparison) -> Iterator[Card]:
    test_gain = comparison.table()["test_gain"].to_dict()
    rows = against_control(comparison)
    lucky_label, lucky = max(
        ((label, run) for label, runs in comparison.results.items() for run in runs),
        key=lambda pair: -math.inf if math.isnan(pair[1].gain) else pair[1].gain,
    )
    yield Card(
        "What one lucky run would claim",
        _gain(lucky, lucky.gain),
        f"the largest gain of all runs, of {lucky_label}, in {lucky.metric}, by which it was "
        "selected, over its own baseline",
    )
    if rows:
        arm = rows[0].arm
        yield Card(
            f"What {arm} gains",
            points(test_gain[arm]),
            f"test accuracy over the unmoved networks, mean of {rows[0].n_pairs} seeds",
        )
    if comparison.control is not None:
        yield Card(
            "What luck gains by itself",
            points(test_gain[comparison.control]),
            "the same for random restarts, which move nothing",
        )
    if rows:
        yield Card(
            f"What {rows[0].arm} is worth",
            points(rows[0].mean),
            f"the difference; 95 % interval {interval(rows[0])}: {rows[0].verdict}",
        )


def _evidence_section(comparison: Comparison) -> Section:
    region = f"±{100 * comparison.equivalence:g}\u00a0pp"
    verdicts = Table(
        f"Differences of test accuracy between runs of the same seed. The interval is a 95 % BCa "
        f"bootstrap; p is that of a sign-flip test, after Holm. Equivalent: within {region}.",
        ("", "verdict", "difference", "95 % interval", "p", "superior in"),
        [
            (
                f"{row.arm} against {row.other}",
                row.verdict,
                points(row.mean),
                interval(row),
                f"{row.p_holm:.4f}",
                f"{100 * row.superiority:.0f} %",
            )
            for row in comparison.paired_differences
        ],
    )
    accuracy = comparison.any_record.has_accuracy
    scale = 100 if accuracy else 1
    table = comparison.table()
    header = (
        "",
        f"{comparison.metric}, best",
        "gain" if not accuracy else "gain [pp]",
        "validation [%]",
        "test [%]",
        "test gain [pp]",
        "over mean baseline [pp]",
    )
    means = Table(
        "Means ± standard deviations over the seeds, and the trials' own selection metric first. "
        "A run's gain is over its own baseline; over the mean of all seeds' baselines, an unlucky "
        "baseline no longer looks like a gain.",
        header,
        [
            (
                str(label),
                _mean_and_std(row, "best", scale),
                _mean_and_std(row, "gain", scale, sign="+"),
                _mean_and_std(row, "val_best", 100),
                _mean_and_std(row, "test_best", 100),
                _mean_and_std(row, "test_gain", 100, sign="+"),
                _mean_and_std(row, "test_gain_over_mean_baseline", 100, sign="+"),
            )
            for label, row in table.iterrows()
        ],
    )
    return Section(
        "Evidence",
        "Runs of the same seed have the same data split, initial weights and batches, so their "
        "differences are the searchers' own. Better needs both a test and an interval beyond "
        f"{region}; undecided is what the seeds leave open.",
        figures=[
            Figure(
                "test-accuracy",
                "Each point is a network, each line a seed; dashed, the mean.",
                plots.plot_test_accuracy(comparison.studies),
            ),
            Figure(
                "price-of-luck",
                "Dashed, what the searchers' winners reached, on the data they selected by. Where "
                "a dashed line meets the curve, as many random draws do as well.",
                plots.plot_price_of_luck(comparison.studies),
            ),
        ],
        tables=[verdicts, means] if verdicts.rows else [means],
    )


def _figures_of_comparison(comparison: Comparison) -> list[Figure]:
    studies = comparison.studies
    draws = [s for label, runs in studies.items() for s in runs if label == comparison.control]
    figures = [
        Figure(
            "trials",
            "On the data that is selected by. The band is one standard deviation.",
            plots.plot_best_against_trials(studies),
        ),
        Figure(
            "seconds",
            "The same against time. Runs that were trained in one stack share its seconds.",
            plots.plot_best_against_seconds(studies),
        ),
        Figure(
            "target",
            "The target is what random restarts come to in the mean.",
            plots.plot_target_share(studies),
        ),
        Figure(
            "distribution",
            "How far random numbers alone move this model, before any search.",
            plots.plot_accuracy_distribution(
                draws or [s for runs in studies.values() for s in runs]
            ),
        ),
    ]
    for i, (label, runs) in enumerate(comparison.results.items()):
        of_arm = studies[label]
        sampler = runs[0].sampler
        if isinstance(sampler, DeltaStepSampler):
            caption = "Each faint line is a seed; every offset is the same."
            figures.append(Figure(f"walk-{i}", caption, plots.plot_walk(of_arm), label))
        if isinstance(sampler, AdaptiveSimulatedAnnealingSampler):
            caption = f"The run of seed {comparison.seeds[0]}. {_ANNEALING}"
            figures.append(
                Figure(f"annealing-{i}", caption, plots.plot_annealing(of_arm[0]), label)
            )
        if not runs[0].is_restart:
            caption = "Where the trials of all seeds went."
            figures.append(Figure(f"offsets-{i}", caption, plots.plot_offsets(of_arm), label))
    return figures


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
        figures.append(Figure("annealing", _ANNEALING, plots.plot_annealing(study)))
    caption = "Where the trials went, and which one won."
    figures.append(Figure("offsets", caption, plots.plot_offsets(study)))
    return figures


def _accuracy_table(record: SearchRecord) -> Table:
    selected = (record.baseline, record.best_value)
    rows = [
        (
            f"{record.metric}, selected by",
            *(_value(value, percent=record.has_accuracy) for value in selected),
            _gain(record, record.gain),
        )
    ]
    if record.metric != "val_accuracy":
        rows.append(
            (
                "val_accuracy",
                _percent(record.val_baseline),
                _percent(record.val_value),
                points(record.val_value - record.val_baseline),
            )
        )
    rows.append(
        (
            "test accuracy, never seen",
            _percent(record.test_baseline),
            _percent(record.test_value),
            points(record.test_gain),
        )
    )
    return Table("", ("", "unmoved", "winner", "gain"), rows)


def _runs_table(comparison: Comparison) -> Table:
    percent = comparison.any_record.has_accuracy
    mean_baseline = float(
        np.nanmean([r.baseline for runs in comparison.results.values() for r in runs])
    )
    rows = [
        (
            run.study.study_name,
            str(len(run.done_trials)),
            run.stop_reason or "",
            _value(run.baseline, percent=percent),
            _value(run.best_value, percent=percent),
            _gain(run, run.gain),
            _gain(run, run.improvement(run.best_value, mean_baseline)),
            _percent(run.test_baseline),
            _percent(run.test_value),
            points(run.test_gain),
        )
        for runs in comparison.results.values()
        for run in runs
    ]
    header = (
        "study",
        "trials",
        "ended by",
        "baseline",
        f"best {comparison.metric}",
        "gain",
        "over mean baseline",
        "test baseline",
        "test",
        "test gain",
    )
    return Table(f"{len(rows)} runs", header, rows, is_folded=True)


def _settings_section(records: Sequence[SearchRecord]) -> Section:
    shown = next((record for record in records if not record.is_restart), records[0])
    config = dict(shown.study.user_attrs.get(CONFIG, {}))
    if len(records) > 1:
        config.pop("seed", None)
    rows = [(key, value) for key, value in _flattened(config)]
    for record in records:
        stored = record.study.user_attrs.get(SEARCH, {})
        text = ", ".join(f"{key} {value}" for key, value in stored.items() if value is not None)
        label = "search" if len(records) == 1 else f"search, {stored.get('sampler', '')}"
        rows.append((label, text))
    url = storage_url(shown.study._storage)  # noqa: SLF001
    rows.append(("storage", url or "in memory"))
    codes = []
    if url is not None:
        codes.append(f"optuna-dashboard {url}")
    return Section(
        "Settings",
        "All that determines the trials' values; the studies hold the same.",
        tables=[Table("", (), rows, is_text=True)],
        codes=codes,
    )


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
        tables=[Table("", (), [*_flattened(promised)], is_text=True)],
        codes=[f"adnn verify {shlex.quote(path.name)}"],
        attachment=Attachment(path.name, path.read_text(encoding="utf-8")),
    )


def _flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flattened(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _dates(records: Sequence[SearchRecord]) -> str:
    days = {
        day
        for record in records
        for trial in record.done_trials
        for moment in (trial.datetime_start, trial.datetime_complete)
        if moment is not None and (day := f"{moment:%Y-%m-%d}")
    }
    return "no trials" if not days else f"trained {' to '.join(sorted({min(days), max(days)}))}"


def _footer() -> str:
    packages = ("adnn_optuna", "optuna", "keras", "tensorflow", "numpy", "scipy")
    return "Report by " + ", ".join(f"{name} {version(name)}" for name in packages)


def _number(value: float, form: str) -> str:
    return "unknown" if math.isnan(value) else format(value, form)


def _percent(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{100 * value:.2f} %"


def _value(value: float, *, percent: bool) -> str:
    return _percent(value) if percent else _number(value, ".4f")


def _gain(record: SearchRecord, gain: float) -> str:
    return points(gain) if record.has_accuracy else _number(gain, "+.4f")


def _mean_and_std(row: pd.Series[float], name: str, scale: float, *, sign: str = "") -> str:
    mean = round(scale * row[name], 2) + 0.0
    return f"{mean:{sign}.2f} ± {scale * row[f'{name}_std']:.2f}"
