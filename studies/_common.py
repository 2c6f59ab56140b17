"""Code that the studies share: command line, results, tables and the style of figures."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from plotly.subplots import make_subplots

from adnn_optuna.render import figures
from adnn_optuna.stats.paired_differences import MARGIN, paired_differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import plotly.graph_objects as go

    import adnn_optuna as adnn
    from adnn_optuna.stats.paired_differences import PairedDifference

HERE = Path(__file__).parent
# The folder for test runs, apart from the committed results.
TRIED = HERE.parent / "build" / "studies"

Results = dict[str, Any]

COLORS, CONTROL_COLOR = figures.COLORS, figures.CONTROL_COLOR


@dataclasses.dataclass(frozen=True)
class Claim:
    """One row of the table in studies/paper.md.

    Args:
        where: The figure or section of the paper.
        claim: What the paper says.
        ours: What this project found.
        verdict: "Reproduced", "not reproduced" or "explained", with the reason.
    """

    where: str
    claim: str
    ours: str
    verdict: str

    @property
    def short_verdict(self) -> str:
        """The verdict without its reasons."""
        return re.split(r"[:;]|, where", self.verdict)[0]


@dataclasses.dataclass(frozen=True)
class Study:
    """The figures and the summary of a script's results, which are committed with the script.

    Args:
        name: The name of the script and of its figures.
        figures: A function that returns the figures, by the suffixes of their files' names.
        summary: A function that returns the text about the results for a page, in Markdown.
        results_of: The script whose results are used, if it is another script.
    """

    name: str
    figures: Callable[[Results], dict[str, go.Figure]]
    summary: Callable[[Results], str]
    results_of: str | None = dataclasses.field(default=None, kw_only=True)

    @property
    def results_file(self) -> Path:
        """The committed results."""
        return HERE / f"{self.results_of or self.name}.json"

    def load(self) -> Results:
        """Return the committed results."""
        results: Results = json.loads(self.results_file.read_text(encoding="utf-8"))
        return results

    def write_figures(self, results: Results, folder: Path) -> list[Path]:
        """Write the figures as PNG (this needs Chromium or Chrome) and return their paths."""
        paths = []
        for suffix, figure in self.figures(results).items():
            path = folder / f"{self.name}{suffix}.png"
            figure.update_layout(template="plotly_white", font_size=13)
            figure.update_layout(xaxis_exponentformat="e", yaxis_exponentformat="e")
            figure.write_image(path, width=figure.layout.width or 900, scale=1.5)
            paths.append(path)
        return paths


@dataclasses.dataclass(frozen=True)
class Experiment(Study):
    """A study of the paper: the function that runs it, and the claims that it judges.

    Args:
        settings: The amounts of computation by name, including ``full`` and ``quick``.
        run: A function of a setting and the URL of a storage. It continues the stored runs.
            Whenever there are new results, it yields all results so far, as JSON.
        claims: A function that returns the rows for the table of claims.
        committed: The name of the setting whose results are committed.
        models: The models that several processes may share, or empty. Each process runs the models
            of its ``--models``, in the same folder.
    """

    settings: Mapping[str, Any]
    run: Callable[[Any, str], Iterator[Results]]
    claims: Callable[[Results], list[Claim]]
    committed: str = "full"
    models: tuple[str, ...] = ()


def main(experiment: Experiment, description: str) -> None:
    """Run an experiment with the options of its command line."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    others = [name for name in experiment.settings if name != "full"]
    for name in others:
        parser.add_argument(
            f"--{name}", action="store_const", const=name, dest="setting", help=f"the {name} size"
        )
    parser.add_argument("--output", type=Path, help="folder of the database and the results")
    parser.add_argument("--html", action="store_true", help="also write figures to explore")
    if experiment.models:
        only = "run only these models; another process runs the others"
        parser.add_argument("--models", nargs="+", choices=experiment.models, help=only)
    arguments = parser.parse_args()
    setting = arguments.setting or "full"
    folder = arguments.output or (HERE if setting == experiment.committed else TRIED)
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    results: Results = {}
    results_file = folder / experiment.results_file.name
    whole = ran = experiment.settings[setting]
    if experiment.models and arguments.models:
        ran = dataclasses.replace(whole, models=tuple(arguments.models))
    for results in experiment.run(ran, f"sqlite:///{folder}/studies.db"):
        results["setting"] = {"name": setting, **dataclasses.asdict(whole)}
        write_json(results_file, results)
    print(experiment.summary(results))
    if arguments.html:
        for suffix, figure in experiment.figures(results).items():
            figure.write_html(folder / f"{experiment.name}{suffix}.html", include_plotlyjs=True)
    print(f"\nResults: {results_file}; studies: {folder}/studies.db")


def write_json(path: Path, results: Results) -> None:
    """Write results in one step, so that no reader sees an incomplete file."""
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(_rounded(results), indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _rounded(value: Any) -> Any:
    """Round the last bits, so that equal differences of accuracies are equal numbers."""
    if isinstance(value, float):
        return round(value, 12)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def first_rows(dataset: adnn.Dataset, count: int | None) -> adnn.Dataset:
    """Return a dataset with the first ``count`` training images; :obj:`None` means all."""
    if count is None:
        return dataset
    return dataclasses.replace(
        dataset, x_train=dataset.x_train[:count], y_train=dataset.y_train[:count], origin=None
    )


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: bool = True
) -> str:
    """Return a table in Markdown; all columns except the first are aligned to the right."""
    rule = ["---", *["---:" if right else "---"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def panels(titles: Sequence[str], x_title: str, y_title: str, *, columns: int = 3) -> go.Figure:
    """Return a figure with a panel for each title; ``panel_of(i)`` is the place of panel i."""
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=titles,
        x_title=x_title,
        y_title=y_title,
        horizontal_spacing=0.06,
        vertical_spacing=0.28 / rows,
    )
    # Without a shift, the common title of the y axes would touch the axes' numbers.
    figure.update_annotations(selector={"text": y_title}, xshift=-60)
    figure.update_layout(
        height=max(80 + 270 * rows, 430),
        width=900 if columns > 1 else 600,
        margin_l=95,
        legend={"orientation": "h", "y": 1.16, "x": 1, "xanchor": "right"},
    )
    return figure


def panel_of(i: int, *, columns: int = 3) -> dict[str, int]:
    """Return the row and column of panel ``i`` of :func:`panels`."""
    return {"row": i // columns + 1, "col": i % columns + 1}


def claims_on(
    samplers: Iterable[str], *, annealing: str = "annealing"
) -> tuple[tuple[str, str], ...]:
    """Return the claims: annealing against greedy, and each sampler against random restarts."""
    of_restarts = [(label, "random_restart") for label in samplers if label != "random_restart"]
    return ((annealing, "greedy"), *of_restarts)


def judged(
    values: Mapping[str, Sequence[float]], *families: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], PairedDifference]:
    """Judge families of claims. Each family has its own error rate.

    Args:
        values: The test accuracies of each arm, in the order of the seeds.
        families: The claims of each family, as pairs of arms.

    Returns:
        The difference by which the first arm of each pair is better.
    """
    found = {}
    for claims in families:
        arms = dict.fromkeys([*(arm for arm, _ in claims), *(other for _, other in claims)])
        rows = paired_differences({arm: values[arm] for arm in arms}, margin=MARGIN, claims=claims)
        of_pair = {(row.arm, row.other): row for row in rows}
        found |= {pair: of_pair[pair] for pair in claims}
    return found


def interval(difference: PairedDifference) -> str:
    """Return a mean difference and its CI in percentage points as text."""
    d = difference
    if not np.isfinite(d.low):
        return f"{100 * d.mean:+.2f}"
    return f"{100 * d.mean:+.2f} ({100 * d.low:+.2f} to {100 * d.high:+.2f})"


def how_often(verdicts: Iterable[str | None]) -> str:
    """Return the number of each verdict as text; a claim without a verdict counts as open."""
    number_of = collections.Counter(verdict or "open" for verdict in verdicts)
    return ", ".join(f"{verdict} in {n}" for verdict, n in number_of.items())


def differences_table(
    judged_of: Mapping[str, Mapping[tuple[str, str], PairedDifference]],
    claims: Sequence[tuple[str, str]],
) -> str:
    """Return a table with a row for each model and a column for each claim."""
    return markdown_table(
        ["difference [pp]", *(f"{arm} − {other}" for arm, other in claims)],
        [
            [name, *(f"{interval(of[pair])} {of[pair].verdict or 'open'}" for pair in claims)]
            for name, of in judged_of.items()
        ],
    )


def mean_and_std(values: Sequence[float] | np.ndarray) -> str:
    """Return mean and standard deviation of gains (fractions) in percentage points as text."""
    mean = f"{100 * np.mean(values):+.2f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * np.std(values, ddof=1):.2f}"
