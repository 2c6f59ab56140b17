"""The reports of a search and of a comparison: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import plotly.graph_objects as go
from optuna.trial import TrialState
from plotly.offline import get_plotlyjs

import adnn_optuna.plots._comparison as several
import adnn_optuna.plots._search as single
from adnn_optuna import __version__
from adnn_optuna._attributes import CONFIG, SEARCH, RunRecord
from adnn_optuna._checks import WrongValueError, check_output_file, is_installed
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna.accountability.contract import claim_of
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.plots._luck import plot_gains
from adnn_optuna.reporting import claims, summaries, tables
from adnn_optuna.reporting.contracts import transfer_in_words

if TYPE_CHECKING:
    from adnn_optuna.evidence.comparison import Comparison

_PACKAGES = ("optuna", "keras", "tensorflow", "numpy", "scipy")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure: its kind, by which the template knows how to read it, and whose it is."""

    kind: str
    figure: go.Figure
    label: str = ""

    @property
    def title(self) -> str:
        """The heading of the figure, which needs no title of its own then."""
        title = str(self.figure.layout.title.text)
        return f"{title}: {self.label}" if self.label else title


@dataclasses.dataclass(frozen=True)
class Page:
    """A page: its template, what it claims, what to mind of it, and all that is shown besides."""

    template: str
    claim: str
    lead: str
    content: Mapping[str, Any]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file; refuse one that cannot be written, or that has no folder."""
        file = Path(path)
        check_output_file("The report", file)
        # Names of files may have bytes that are no text.
        file.write_text(self.render(), encoding="utf-8", errors="backslashreplace")

    def render(self) -> str:
        """Return the page as HTML. All texts are escaped."""
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("adnn_optuna.reporting"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.policies["json.dumps_function"] = lambda figure, **_: figure.to_json()
        environment.globals.update(claims=claims, tables=tables, summaries=summaries)
        return environment.get_template(self.template).render(
            **self.content,
            page=self,
            versions={"adnn_optuna": __version__}
            | {name: version(name) for name in _PACKAGES if is_installed(name)},
            plotly_js=_plotly_js(),
        )


def _plotly_js() -> str:
    """Return plotly.js, with escapes for control characters that HTML forbids in a script."""
    return re.sub(r"[\x00-\x08\x0b\x0e-\x1f]", lambda c: f"\\x{ord(c[0]):02x}", get_plotlyjs())


def search_page(record: SearchRecord, contract: Mapping[str, Any] | None = None) -> Page:
    """Return the report of a search, with what the file of its contract holds.

    Raises:
        ValueError: If the contract is that of another result.
    """
    shown = None if contract is None else _shown_contract(record, contract)
    answers = claims.answers_of_search(record, shown["quoted_name"] if shown else None)
    content = {
        "name": record.study.study_name,
        "record": record,
        "answers": answers,
        "picture": Figure("gains", _picture_of_search(record)),
        "figures": figures_of_search(record),
        "figures_of_test": _drawn(
            Figure("confusion", single.plot_confusion_matrix(record)),
            Figure("calibration", single.plot_calibration(record)),
        ),
        "contract": shown,
        **_origin([[record]]),
    }
    gained = answers.pop("What was gained?")
    return Page("search.html.jinja", gained, claims.to_mind([record]), content)


def _picture_of_search(record: SearchRecord) -> go.Figure:
    """Return what the search gained where it chose, and on the test examples, with luck's part."""
    gains = {"test examples": (record.test_gain, *record.test_interval)}
    if record.metric.endswith(record.test_metric.removeprefix("test_")):
        gains["what it was chosen by"] = (record.gain, math.nan, math.nan)
    title = "What was gained, and how far it may be off"
    known = {label: gain for label, gain in gains.items() if math.isfinite(gain[0])}
    return plot_gains(known, title, record.test_unit)


def _picture_of_comparison(comparison: Comparison) -> go.Figure:
    """Return what each searcher gains beyond luck, where that is known."""
    rows = claims.against_control(comparison)
    gains = {row.arm: (row.mean, row.low, row.high) for row in rows}
    title = "What is gained beyond luck, and how far it may be off"
    unit, region = comparison.any_record.test_unit, comparison.equivalence
    return plot_gains(gains, title, unit, over=" over random restarts", region=region)


def _drawn(*figures: Figure) -> list[Figure]:
    """Return the figures that have something to show."""
    return [figure for figure in figures if figure.figure.data]


def comparison_page(comparison: Comparison) -> Page:
    """Return the report of a comparison."""
    results = comparison.searchers
    everything = [(label, run) for label, runs in results.items() for run in runs]
    label, first = everything[0]
    best = next(iter(claims.against_control(comparison)), None)
    origin = _origin([*comparison.results.values()])
    answers = claims.answers_of_comparison(comparison, origin["url"])
    known = [run.baseline for _, run in everything if math.isfinite(run.baseline)]
    lucky = max(everything, key=lambda pair: np.nan_to_num(pair[1].gain, nan=-math.inf))
    return Page(
        "comparison.html.jinja",
        answers.pop("What was gained?"),
        claims.to_mind(results[best.arm] if best else [first]),
        {
            "name": first.study.study_name.removesuffix(f"/{label}/seed={comparison.seeds[0]}"),
            "comparison": comparison,
            "answers": answers,
            "picture": Figure("gains", _picture_of_comparison(comparison)),
            "lucky": lucky,
            "best": best,
            "mean_baseline": float(np.mean(known)) if known else math.nan,
            "figures": [*figures_of_comparison(comparison), *_further_figures(comparison)],
            **origin,
        },
    )


def figures_of_search(record: SearchRecord) -> list[Figure]:
    """Return the figures of a search."""
    gain = Figure("gain", single.plot_gain(record))
    if not record.is_restart:
        return [gain, *_figures_of_searcher([record])]
    distribution, best = several.plot_accuracy_distribution(record), several.plot_best_of_n(record)
    return [gain, Figure("distribution", distribution), Figure("best-of-n", best)]


def figures_of_comparison(comparison: Comparison) -> list[Figure]:
    """Return the figures of a comparison that bear its claim."""
    return [
        Figure("test-accuracy", several.plot_test_accuracy(comparison.results)),
        Figure("compute", several.plot_best_against_compute(comparison.results)),
        Figure("price-of-luck", several.plot_price_of_luck(comparison.searchers)),
        Figure("trials", several.plot_best_against_trials(comparison.searchers)),
    ]


def _further_figures(comparison: Comparison) -> Iterator[Figure]:
    results = comparison.searchers
    yield Figure("seconds", several.plot_best_against_seconds(results))
    yield Figure("target", several.plot_target_share(results))
    everything = [run for runs in results.values() for run in runs]
    yield Figure("distribution", several.plot_accuracy_distribution(everything))
    for label, runs in results.items():
        if not runs[0].is_restart:
            yield from _figures_of_searcher(runs, label)


def _figures_of_searcher(runs: Sequence[SearchRecord], label: str = "") -> list[Figure]:
    """Return the figures of what one searcher did, in one or several runs."""
    return _drawn(
        Figure("walk", single.plot_walk(runs), label),
        Figure("annealing", single.plot_annealing(runs[0]), label),
        Figure("offsets", single.plot_offsets(runs), label),
    )


def _origin(arms: Sequence[Sequence[SearchRecord]]) -> dict[str, Any]:
    """Return what determined the trials' values, where they are stored, and when they were run."""
    firsts = [runs[0] for runs in arms]
    shown = next((record for record in firsts if not record.is_restart), firsts[0])
    study, config = shown.study, dict(shown.attrs.get(CONFIG, {}))
    if len(arms) > 1:
        config.pop("seed", None)
    settings = [*_flattened(config)]
    for record in firsts:
        search = record.attrs.get(SEARCH, {})
        of_arm = f", {search.get('sampler', '')}" if len(arms) > 1 else ""
        settings.append((f"search{of_arm}", _listed(search)))
        settings += [(f"run{of_arm}", _run_in_words(run)) for run in record.runs]
    url = storage_url(study._storage)
    trials = [trial for runs in arms for record in runs for trial in record.done_trials]
    moments = [m for trial in trials for m in (trial.datetime_start, trial.datetime_complete) if m]
    days = sorted({f"{moment:%Y-%m-%d}" for moment in moments})
    return {
        "settings": [*settings, ("storage", url or "in memory")],
        "url": url,
        "dates": f"trained {' to '.join(sorted({days[0], days[-1]}))}" if days else "no trials",
    }


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _run_in_words(run: RunRecord) -> str:
    """Return when a run of a study began, under which limits, and why it ended."""
    before, after = run["n_trials_before"], run["n_trials"]
    counts = f"from {before} trials on" if after is None else f"from {before} to {after} trials"
    end = "not ended" if run["stop_reason"] is None else f"ended by {run['stop_reason']}"
    began = f"{run['began'][:16].replace('T', ' ')} UTC"
    return ", ".join([began, _listed(run["limits"]) or "no limits", counts, end])


def _flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested dictionaries, each with its path, as text."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flattened(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown_contract(record: SearchRecord, contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of a contract, if it is of this result: study, trials, winner."""
    states, config = [trial.state for trial in record.done_trials], record.attrs.get(CONFIG, {})
    this: dict[str, dict[str, Any]] = {
        "study": {
            "name": record.study.study_name,
            "trials": len(states),
            "completed_trials": states.count(TrialState.COMPLETE),
            "best_trial": record.best and record.best.number,
        },
        "winner": {"params": record.best and record.best.params},
        "objective": {key: config.get(key) for key in ("seed", "metric", "training", "space")},
    }
    differing = [
        difference
        for part, of_part in this.items()
        for difference in config_differences(
            {key: contract[part][key] for key in of_part}, of_part, part
        )
    ]
    if differing:
        said = f"The contract is of another result ({in_words(differing)})"
        raise WrongValueError(f"{said}; make one of this result.")
    # The files of a contract bear its name.
    name = Path(contract["files"]["weights"]["name"]).with_suffix(".json").name
    claim = claim_of(contract)
    promised = {key: contract[key] for key in ("winner", "baseline", "environment")}
    text = json.dumps(contract, indent=1) + "\n"
    return {
        "name": name,
        "quoted_name": shlex.quote(name),
        "promised": [*_flattened(promised)],
        "transfer": transfer_in_words(claim, contract.get("certified", {})),
        "is_an_image": claim.gain < 1.5 * claim.resolution,
        "text": text,
        "base64": base64.b64encode(text.encode()).decode(),
    }
