"""Comparisons: several searchers on the same networks, with paired seeds and the same budget."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pandas as pd
from optuna.samplers import BaseSampler
from tqdm.auto import tqdm

from adnn_optuna.engine import Limits, run_lanes
from adnn_optuna.paired_differences import (
    EQUIVALENCE,
    MIN_PAIRS,
    PairedDifference,
    paired_differences,
)
from adnn_optuna.results import result_of
from adnn_optuna.samplers._checks import check_positive
from adnn_optuna.searchers import RANDOM_RESTART, check_searcher, objective_for, searcher_label
from adnn_optuna.storages import open_storage
from adnn_optuna.study import (
    SearchSettings,
    check_stack_size,
    check_study_name,
    conclude,
    open_lanes,
    resume_hint,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    import plotly.graph_objects as go
    from optuna.storages import BaseStorage

    from adnn_optuna.engine import Lane
    from adnn_optuna.objective import InitOffsetObjective, Outcome
    from adnn_optuna.results import SearchRecord
    from adnn_optuna.searchers import Searcher

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What searchers came to, each on the same seeds.

    Printed, it is the table of means and, below it, the verdict on each pair of searchers.

    Args:
        results:
            The results of each searcher, by its label, in the order of ``seeds``.
        seeds:
            The seeds.
        equivalence:
            The difference of test accuracies up to which two searchers are as good as each other.
    """

    results: Mapping[str, Sequence[SearchRecord]]
    seeds: tuple[int, ...]
    equivalence: float = EQUIVALENCE

    @property
    def metric(self) -> str:
        """The name of the selection metric."""
        return self.any_record.metric

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

        Selection, validation and test are kept apart: ``best`` is what the search maximized or
        minimized, and is too good to be true for that; ``val_best`` is the winner's accuracy on
        the validation set, the same if the search selected by it; ``test_best`` is its accuracy
        on the test set, which no search saw.

        A gain over the run's own baseline is large where that baseline was unlucky. So each gain
        also comes over the mean of all seeds' baselines: its mean over the runs is the same, its
        spread is that of the winners alone.

        Returns:
            A data frame with the index ``sampler`` and the columns ``seeds`` and ``trials``
            (counts), and ``baseline``, ``best``, ``gain`` and ``gain_over_mean_baseline``
            (selection metric), ``val_baseline``, ``val_best`` and ``val_gain`` (accuracy on the
            validation set), ``test_baseline``, ``test_best``, ``test_gain`` and
            ``test_gain_over_mean_baseline`` (accuracy on the test set), each a mean, with the
            standard deviation (of a sample) in a second column ``…_std``. Runs without a value
            are left out.
        """
        rows = []
        for label, runs in self.results.items():
            columns = pd.DataFrame(
                {
                    "baseline": [run.baseline for run in runs],
                    "best": [run.best_value for run in runs],
                    "gain": [run.gain for run in runs],
                    "val_baseline": [run.val_baseline for run in runs],
                    "val_best": [run.val_value for run in runs],
                    "test_baseline": [run.test_baseline for run in runs],
                    "test_best": [run.test_value for run in runs],
                    "test_gain": [run.test_gain for run in runs],
                }
            )
            columns["gain_over_mean_baseline"] = [
                run.improvement(run.best_value, columns["baseline"].mean()) for run in runs
            ]
            columns["val_gain"] = columns["val_best"] - columns["val_baseline"]
            columns["test_gain_over_mean_baseline"] = (
                columns["test_best"] - columns["test_baseline"].mean()
            )
            row: dict[str, object] = {
                "sampler": label,
                "seeds": len(runs),
                "trials": float(np.mean([len(run.done_trials) for run in runs])),
            }
            for name in columns:
                row[str(name)] = columns[name].mean()
                row[f"{name}_std"] = columns[name].std(ddof=1)
            rows.append(row)
        return pd.DataFrame(rows).set_index("sampler")

    def differences(self) -> pd.DataFrame:
        """Return one row for each pair of searchers: by how much the first is better on the test.

        The unit is the seed: runs of the same seed have the same data, initial weights and
        batches, so the difference of their test accuracies is that of their searchers (and, as
        the baseline is the same, the difference of their test gains). The statistics are those
        of :class:`~adnn_optuna.paired_differences.PairedDifference`, which says when a verdict is
        ``"better"``, ``"worse"``, ``"equivalent"`` or ``"undecided"``.

        Returns:
            A data frame with the index ``sampler``, ``other`` and the columns ``pairs`` (of
            runs), ``difference`` (mean accuracy of ``sampler`` minus ``other``, as a fraction),
            ``low`` and ``high`` (its 95 % BCa bootstrap interval), ``p_value`` (sign-flip test),
            ``p_holm`` (the same after Holm's correction for all rows), ``superiority`` (the
            probability that ``sampler`` has the higher accuracy for a seed) and ``verdict``.
        """
        columns = {"arm": "sampler", "n_pairs": "pairs", "mean": "difference"}
        rows = self.paired_differences
        names = [field.name for field in dataclasses.fields(PairedDifference)]
        table = pd.DataFrame([dataclasses.asdict(row) for row in rows], columns=names)
        return table.rename(columns=columns).set_index(["sampler", "other"])

    @functools.cached_property
    def paired_differences(self) -> list[PairedDifference]:
        """The statistics behind :meth:`differences`."""
        return paired_differences(
            {label: [run.test_value for run in runs] for label, runs in self.results.items()},
            equivalence=self.equivalence,
        )

    def plot(self) -> go.Figure:
        """Return the best gain so far against trials, the mean over seeds with its spread."""
        from adnn_optuna.plots import plot_best_against_trials

        return plot_best_against_trials(self.studies)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write a report: one HTML file with claim, evidence, figures and settings.

        It needs no server and no network, and opens from disk.

        Args:
            path:
                The file to write.

        Raises:
            FileNotFoundError: If the file's folder does not exist.
        """
        from adnn_optuna.report import comparison_page

        comparison_page(self).save(path)

    @property
    def studies(self) -> dict[str, list[optuna.Study]]:
        """The studies of each searcher, as the functions of ``adnn_optuna.plots`` take them."""
        return {label: [run.study for run in runs] for label, runs in self.results.items()}

    def __str__(self) -> str:
        unit, scale = ("[pp]", 100) if self.any_record.has_accuracy else ("[loss]", 1)
        means = [
            ("", "best", f"gain {unit} over", "test accuracy", "test gain [pp]", "test gain [pp]"),
            ("sampler", self.metric, "own baseline", "[%]", "own baseline", "mean baseline"),
        ]
        body = [
            (
                _shortened(str(label), 22),
                _mean_and_std(row, "best", scale, sign=""),
                _mean_and_std(row, "gain", scale, sign="+"),
                _mean_and_std(row, "test_best", 100, sign=""),
                _mean_and_std(row, "test_gain", 100, sign="+"),
                _mean_and_std(row, "test_gain_over_mean_baseline", 100, sign="+"),
            )
            for label, row in self.table().iterrows()
        ]
        lines = [
            *_aligned(means, body),
            f"mean ± standard deviation over {len(self.seeds)} seeds; pp = percentage points",
        ]
        if self.paired_differences:
            lines += ["", *self._verdict_lines()]
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
        region = f"±{100 * self.equivalence:g} pp"
        notes = [
            f"paired by seed; equivalent: within {region}; superior: share of seeds, ties half",
        ]
        if len(self.seeds) < MIN_PAIRS:
            notes.append(
                f"undecided, as {len(self.seeds)} seeds can prove nothing: give 10 or more"
            )
        return [*_aligned(header, body), *notes]


def _aligned(header: Sequence[Sequence[str]], body: Sequence[Sequence[str]]) -> list[str]:
    """Return a table's lines, the first column to the left and all others to the right."""
    rows = [*header, *body]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return [*lines[: len(header)], rule, *lines[len(header) :], rule]


def _shortened(label: str, width: int) -> str:
    return label if len(label) <= width else f"{label[: width - 1]}…"


def _mean_and_std(row: pd.Series[float], name: str, scale: float, *, sign: str) -> str:
    # Adding 0 makes a rounded -0.00 a +0.00.
    return f"{round(scale * row[name], 2) + 0.0:{sign}.2f} ± {scale * row[f'{name}_std']:.2f}"


def compare(
    objective: InitOffsetObjective,
    samplers: Sequence[str] | Mapping[str, Searcher] = ("greedy", "annealing", "random_restart"),
    *,
    max_trial: int,
    seeds: Iterable[int] = range(10),
    storage: str | BaseStorage | None = None,
    study_name: str = "compare",
    max_time: float | None = None,
    max_gain: float | None = None,
    stack_size: int = 16,
    equivalence: float = EQUIVALENCE,
    show_progress_bar: bool = False,
) -> Comparison:
    """Compare searchers on the same networks: paired seeds, the same budget for each.

    All runs of one seed start from the same initial weights and see the same batches. The runs
    advance in lockstep, so that one stack trains a trial of each, and no searcher has to propose
    several trials before it learns from the first. Each run is a study of its own, called
    ``<study_name>/<sampler>/seed=<seed>``; those that are stored already are continued.

    Random restarts are always compared, also where they are not named: what they gain is what
    luck alone brings, and only what a searcher gains beyond that is worth its name.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn

            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            comparison = adnn.compare(objective, max_trial=30, seeds=range(10))
            print(comparison)
            comparison.plot().show()

    Args:
        objective:
            What is searched; its seed is replaced by each of ``seeds``.
        samplers:
            Names of searchers, see :func:`~adnn_optuna.search`, or a mapping from a label to a
            name, an Optuna sampler or a factory ``(seed, n_trials) -> sampler``. Without random
            restarts among them, they are added as ``"random_restart"``.
        max_trial:
            The number of trials of each run.
        seeds:
            The seeds of the runs.
        storage:
            A database URL, an Optuna storage, or :obj:`None` to keep the studies in memory.
        study_name:
            What the studies' names begin with.
        max_time:
            The seconds that each run's trials may take.
        max_gain:
            The gain over its baseline at which a run ends.
        stack_size:
            How many trials are trained at once, at the most.
        equivalence:
            The difference of test accuracies up to which two searchers are as good as each other,
            as a fraction: 0.001 is 0.1 percentage points.
        show_progress_bar:
            Whether to show a progress bar.

    Returns:
        The comparison.

    Raises:
        ValueError: If an argument is wrong, or a study that exists is of another objective or
            searcher.
        KeyboardInterrupt: If the user interrupts; all that was computed is stored.
    """
    searchers = _labelled(samplers)
    seeds = _checked_seeds(seeds)
    check_stack_size(stack_size)
    check_positive("equivalence", equivalence)
    limits = Limits(max_time, max_trial, max_gain)
    runs = {
        label: [
            (
                objective_for(searcher, objective).replace(seed=seed),
                f"{study_name}/{label}/{seed=}",
            )
            for seed in seeds
        ]
        for label, searcher in searchers.items()
    }
    for _, name in itertools.chain.from_iterable(runs.values()):
        check_study_name(name)
    opened = open_storage(storage)
    lanes_of = {
        label: open_lanes(
            runs[label],
            _one_for_each_run(searcher),
            SearchSettings(
                searcher_label(searcher),
                n_trials=max_trial,
                stack_size=1,
                max_time=limits.max_time,
                max_trial=limits.max_trial,
                max_gain=limits.max_gain,
            ),
            opened,
        )
        for label, searcher in searchers.items()
    }
    # Neighbours have the same seed, hence the same baseline, which a stack trains once.
    lanes = list(itertools.chain.from_iterable(zip(*lanes_of.values(), strict=True)))
    done = sum(lane.n_done for lane in lanes)
    with tqdm(
        total=max_trial * len(lanes), initial=done, unit="trial", disable=not show_progress_bar
    ) as bar:

        def after_tell(_: Lane, trials: Sequence[optuna.Trial], __: Sequence[Outcome]) -> None:
            bar.update(len(trials))

        try:
            run_lanes(lanes, stack_size, after_tell)
        except KeyboardInterrupt:
            _logger.info(resume_hint(lanes[0].study))
            raise
    conclude(lanes, stack_size)
    return Comparison(
        {
            label: [result_of(lane.study, lane.objective) for lane in lanes_of[label]]
            for label in searchers
        },
        seeds,
        equivalence,
    )


def _one_for_each_run(searcher: Searcher) -> Searcher:
    """Return a searcher that gives each run a sampler of its own: samplers keep random state."""
    if not isinstance(searcher, BaseSampler):
        return searcher

    def copied(seed: int, n_trials: int | None) -> BaseSampler:  # noqa: ARG001
        return copy.deepcopy(searcher)

    return copied


def _labelled(samplers: Sequence[str] | Mapping[str, Searcher]) -> dict[str, Searcher]:
    if isinstance(samplers, str):
        raise TypeError(f"samplers must be a sequence of names: write samplers=({samplers!r},).")
    if not isinstance(samplers, Mapping):
        for sampler in samplers:
            if not isinstance(sampler, str):
                raise TypeError(
                    f"samplers holds {sampler!r}, which has no name: write samplers={{'label': "
                    "sampler, ...}."
                )
        if len(set(samplers)) < len(samplers):
            raise ValueError(f"samplers names a searcher twice: {', '.join(samplers)}.")
        searchers: dict[str, Searcher] = {name: name for name in samplers}
    else:
        searchers = dict(samplers)
    if not searchers:
        raise ValueError("samplers is empty, but there must be at least one to compare.")
    for searcher in searchers.values():
        check_searcher(searcher)
    if RANDOM_RESTART not in searchers.values():
        if RANDOM_RESTART in searchers:
            raise ValueError(
                f"The label {RANDOM_RESTART!r} is that of the control, which is added to every "
                f"comparison: call {searchers[RANDOM_RESTART]!r} otherwise."
            )
        searchers[RANDOM_RESTART] = RANDOM_RESTART
    return searchers


def _checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    checked = tuple(seeds)
    if not checked:
        raise ValueError("seeds is empty, but a comparison needs at least one.")
    if len(set(checked)) < len(checked):
        raise ValueError(f"seeds has duplicates, but each run needs its own: {list(checked)}.")
    return checked
