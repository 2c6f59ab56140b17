"""Comparisons of searchers: tables and verdicts."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import textwrap
from collections.abc import Mapping, Sequence

import optuna
import pandas as pd
import plotly.graph_objects as go
from optuna.storages import BaseStorage

from adnn_optuna._checks import WrongValueError
from adnn_optuna.engine.records import SearchRecord, record_of
from adnn_optuna.engine.storages import open_storage, storage_url
from adnn_optuna.evidence.claims import claim_of_comparison
from adnn_optuna.evidence.paired_differences import (
    EQUIVALENCE,
    MIN_PAIRS,
    PairedDifference,
    paired_differences,
)
from adnn_optuna.evidence.reports import comparison_page
from adnn_optuna.plots._comparison import plot_best_against_trials


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What searchers came to, each on the same seeds.

    Printed, it is the table of means and, below it, the verdict on each pair of searchers.

    Args:
        results: The results of each searcher, by its label, in the order of ``seeds``.
        seeds: The seeds.
        equivalence: The difference of test accuracies up to which two searchers are equivalent.
    """

    results: Mapping[str, Sequence[SearchRecord]]
    seeds: tuple[int, ...]
    equivalence: float = EQUIVALENCE

    @property
    def control(self) -> str | None:
        """The label of the random restarts, :obj:`None` if a stored comparison has none."""
        return next((label for label, runs in self.results.items() if runs[0].is_restart), None)

    @property
    def any_record(self) -> SearchRecord:
        """One of the results, for what is the same for all of them."""
        return next(iter(self.results.values()))[0]

    def table(self) -> pd.DataFrame:
        """Return one row for each searcher, with means and standard deviations over the seeds.

        ``best`` is what the search selected by, so it is too good to be true; the test set no
        search saw. A gain over a run's own baseline is large where that was unlucky, so each also
        comes over the mean of all seeds' baselines, with the same mean and the winners' spread.

        Returns:
            A data frame with the index ``sampler``, the counts ``seeds`` and ``trials``, and the
            means ``baseline``, ``best``, ``gain`` and ``gain_over_mean_baseline`` of the selection
            metric, ``val_baseline``, ``val_best`` and ``val_gain`` of the validation accuracy,
            ``test_baseline``, ``test_best``, ``test_gain`` and ``test_gain_over_mean_baseline`` of
            the test accuracy, each with its sample standard deviation in a column ``…_std``.
        """
        rows = pd.DataFrame(
            [
                {
                    "sampler": label,
                    "trials": len(run.done_trials),
                    "baseline": run.baseline,
                    "best": run.best_value,
                    "gain": run.gain,
                    "val_baseline": run.val_baseline,
                    "val_best": run.val_value,
                    "test_baseline": run.test_baseline,
                    "test_best": run.test_value,
                    "test_gain": run.test_gain,
                }
                for label, runs in self.results.items()
                for run in runs
            ]
        ).set_index("sampler")
        means = rows.groupby("sampler", sort=False).transform("mean")
        sign = self.any_record.improvement(1.0, 0.0)
        rows["gain_over_mean_baseline"] = sign * (rows["best"] - means["baseline"])
        rows["val_gain"] = rows["val_best"] - rows["val_baseline"]
        rows["test_gain_over_mean_baseline"] = rows["test_best"] - means["test_baseline"]
        arms = rows.groupby("sampler", sort=False)
        table = pd.DataFrame({"seeds": arms.size(), "trials": arms["trials"].mean()})
        for name in rows.columns[1:]:
            table[name] = arms[name].mean()
            table[f"{name}_std"] = arms[name].std()
        return table

    def means_in_words(self) -> list[tuple[str, ...]]:
        """Return each searcher's label and the shown columns of :meth:`table`, as text."""
        scales = dict.fromkeys(("best", "gain"), 100 if self.any_record.has_accuracy else 1)
        accuracies = ("val_best", "test_best", "test_gain", "test_gain_over_mean_baseline")
        scales |= dict.fromkeys(accuracies, 100)
        return [
            (str(label), *(_mean_and_std(row, name, scale) for name, scale in scales.items()))
            for label, row in self.table().iterrows()
        ]

    def differences(self) -> pd.DataFrame:
        """Return one row for each pair of searchers: by how much the first is better on the test.

        Runs of the same seed have the same data, initial weights and batches, so the difference
        of their test accuracies is that of their searchers.

        Returns:
            A data frame with the index ``sampler``, ``other`` and the columns ``pairs`` (of
            runs), ``difference`` (mean accuracy of ``sampler`` minus ``other``, as a fraction),
            ``low``, ``high``, ``p_value``, ``p_holm``, ``superiority`` and ``verdict``, as in
            :class:`~adnn_optuna.evidence.paired_differences.PairedDifference`.
        """
        names = [field.name for field in dataclasses.fields(PairedDifference)]
        table = pd.DataFrame([vars(row) for row in self.paired_differences], columns=names)
        columns = {"arm": "sampler", "n_pairs": "pairs", "mean": "difference"}
        return table.rename(columns=columns).set_index(["sampler", "other"])

    @functools.cached_property
    def paired_differences(self) -> list[PairedDifference]:
        """The statistics behind :meth:`differences`."""
        # The control is last, so that all others are compared with it, not it with them.
        labels = sorted(self.results, key=lambda label: label == self.control)
        return paired_differences(
            {label: [run.test_value for run in self.results[label]] for label in labels},
            equivalence=self.equivalence,
        )

    def plot(self) -> go.Figure:
        """Return the best gain so far against trials, the mean over seeds with its spread."""
        return plot_best_against_trials(self.results)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write a report, one HTML file that opens from disk: claim, evidence, figures, settings.

        Raises:
            FileNotFoundError: If the file's folder does not exist.
        """
        comparison_page(self).save(path)

    def __str__(self) -> str:
        any_record = self.any_record
        unit = "[pp]" if any_record.has_accuracy else "[loss]"
        header = [
            ("", "best", f"gain {unit} over", "test accuracy", "test gain [pp]", "test gain [pp]"),
            ("sampler", any_record.metric, "own baseline", "[%]", "own baseline", "mean baseline"),
        ]
        body = [
            (_shortened(label, 22), best, gain, *of_test)
            for label, best, gain, _, *of_test in self.means_in_words()
        ]
        note = f"mean ± standard deviation over {len(self.seeds)} seeds; pp = percentage points"
        lines = [*_aligned(header, body), note]
        if self.paired_differences:
            claim = textwrap.wrap(claim_of_comparison(self), 98)
            lines += ["", *self._verdict_lines(), "", *claim]
        return "\n".join(lines)

    def _verdict_lines(self) -> list[str]:
        header = [
            ("", "difference", "95 %", "p after", "", ""),
            ("test accuracy of", "[pp]", "interval", "Holm", "superior", "verdict"),
        ]
        body = [
            (
                f"{_shortened(row.arm, 18)} - {_shortened(row.other, 18)}",
                f"{100 * row.mean:+.2f}",
                f"{100 * row.low:+.2f} to {100 * row.high:+.2f}",
                f"{row.p_holm:.4f}",
                f"{100 * row.superiority:.0f} %",
                row.verdict,
            )
            for row in self.paired_differences
        ]
        region = f"equivalent: within ±{100 * self.equivalence:g} pp"
        notes = [f"paired by seed; {region}; superior: share of seeds, ties half"]
        if len(self.seeds) < MIN_PAIRS:
            notes += [f"undecided, as {len(self.seeds)} seeds can prove nothing: give 10 or more"]
        return [*_aligned(header, body), *notes]


def _aligned(header: Sequence[Sequence[str]], body: Sequence[Sequence[str]]) -> list[str]:
    """Return a table's lines, the first column to the left and all others to the right."""
    rows = [*header, *body]
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    cells = [(row[0].ljust(first), *map(str.rjust, row[1:], others)) for row in rows]
    lines = ["  ".join(row).rstrip() for row in cells]
    rule = "-" * max(map(len, lines))
    return [*lines[: len(header)], rule, *lines[len(header) :], rule]


def _shortened(label: str, width: int) -> str:
    return label if len(label) <= width else f"{label[: width - 1]}…"


def _mean_and_std(row: pd.Series[float], name: str, scale: float) -> str:
    sign = "+" if "gain" in name else ""
    # Adding 0 makes a rounded -0.00 a +0.00.
    return f"{round(scale * row[name], 2) + 0.0:{sign}.2f} ± {scale * row[f'{name}_std']:.2f}"


def load_comparison(
    storage: str | BaseStorage, study_name: str, *, equivalence: float = EQUIVALENCE
) -> Comparison:
    """Load what a comparison came to so far, without running anything.

    Args:
        storage: Where its studies are: a database URL or an Optuna storage.
        study_name: What their names begin with.
        equivalence: See :class:`Comparison`.

    Returns:
        The comparison, over the seeds that all of its searchers have.

    Raises:
        ValueError: If there are no such studies, or their searchers have no seed in common.
    """
    opened = open_storage(storage, must_exist=True)
    pattern = re.compile(rf"{re.escape(study_name)}/([^/]*)/seed=(\d+)")
    arms: dict[str, dict[int, str]] = {}
    for name in optuna.get_all_study_names(opened):
        if match := pattern.fullmatch(name):
            arms.setdefault(match[1], {})[int(match[2])] = name
    if not arms:
        raise WrongValueError(
            f"There is no comparison {study_name!r} in {storage_url(opened) or 'the storage'}: "
            f"no study is called '{study_name}/…/seed=…'."
        )
    seeds = tuple(sorted(set.intersection(*map(set, arms.values()))))
    if not seeds:
        raise WrongValueError(
            f"The searchers of the comparison {study_name!r} have no seed in common; go on with "
            "it, with the same seeds for all."
        )
    results = {
        label: [record_of(optuna.load_study(study_name=of_arm[s], storage=opened)) for s in seeds]
        for label, of_arm in arms.items()
    }
    return Comparison(results, seeds, equivalence)
