"""Comparisons: several searchers on the same networks, with paired seeds and the same budget."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pandas as pd
from optuna.samplers import BaseSampler
from tqdm.auto import tqdm

from adnn_optuna.engine import Limits, run_lanes
from adnn_optuna.results import result_of
from adnn_optuna.searchers import check_searcher, objective_for, searcher_label
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
    from collections.abc import Iterable, Sequence

    import plotly.graph_objects as go
    from optuna.storages import BaseStorage

    from adnn_optuna.engine import Lane
    from adnn_optuna.objective import InitOffsetObjective, Outcome
    from adnn_optuna.results import SearchResult
    from adnn_optuna.searchers import Searcher

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What searchers came to, each on the same seeds.

    Args:
        objective:
            The objective, of which each run has another seed.
        results:
            The results of each searcher, by its label, in the order of ``seeds``.
        seeds:
            The seeds.
    """

    objective: InitOffsetObjective
    results: Mapping[str, Sequence[SearchResult]]
    seeds: tuple[int, ...]

    def table(self) -> pd.DataFrame:
        """Return one row for each searcher, with means and standard deviations over the seeds.

        Returns:
            A data frame with the index ``sampler`` and the columns ``seeds`` and ``trials``
            (counts), and ``baseline``, ``best``, ``gain`` (selection metric), ``test_baseline``,
            ``test_best`` and ``test_gain`` (accuracy on the test set), each a mean, with the
            standard deviation (of a sample) in a second column ``…_std``.
        """
        rows = []
        for label, results in self.results.items():
            row: dict[str, object] = {
                "sampler": label,
                "seeds": len(results),
                "trials": float(np.mean([len(result.gains_so_far()) for result in results])),
            }
            for name, values in (
                ("baseline", [result.baseline for result in results]),
                ("best", [result.best_value for result in results]),
                ("gain", [result.gain for result in results]),
                ("test_baseline", [result.test_baseline for result in results]),
                ("test_best", [result.test_value for result in results]),
                ("test_gain", [result.test_gain for result in results]),
            ):
                row[name] = float(np.mean(values))
                row[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
            rows.append(row)
        return pd.DataFrame(rows).set_index("sampler")

    def plot(self) -> go.Figure:
        """Return the best gain so far against trials, the mean over seeds with its spread."""
        from adnn_optuna.plots import plot_gain_so_far

        return plot_gain_so_far(
            {
                label: [result.gains_so_far() for result in results]
                for label, results in self.results.items()
            },
            metric=self.objective.metric,
        )

    def __str__(self) -> str:
        percent = "accuracy" in self.objective.metric
        header = (
            "sampler",
            f"best {self.objective.metric}",
            f"gain [{'pp' if percent else 'loss'}]",
            "test accuracy [%]",
            "test gain [pp]",
        )
        rows = [
            (
                str(label),
                _mean_and_std(row, "best", 100 if percent else 1, sign=""),
                _mean_and_std(row, "gain", 100 if percent else 1, sign="+"),
                _mean_and_std(row, "test_best", 100, sign=""),
                _mean_and_std(row, "test_gain", 100, sign="+"),
            )
            for label, row in self.table().iterrows()
        ]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in [header, *rows]
        ]
        rule = "-" * len(lines[0])
        return "\n".join(
            [
                lines[0],
                rule,
                *lines[1:],
                rule,
                (
                    f"mean ± standard deviation over {len(self.seeds)} seeds; gains over each "
                    "seed's own baseline; pp = percentage points"
                ),
            ]
        )


def _mean_and_std(row: pd.Series[float], name: str, scale: float, *, sign: str) -> str:
    return f"{scale * row[name]:{sign}.2f} ± {scale * row[f'{name}_std']:.2f}"


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
    show_progress_bar: bool = False,
) -> Comparison:
    """Compare searchers on the same networks: paired seeds, the same budget for each.

    All runs of one seed start from the same initial weights and see the same batches. The runs
    advance in lockstep, so that one stack trains a trial of each, and no searcher has to propose
    several trials before it learns from the first. Each run is a study of its own, called
    ``<study_name>/<sampler>/seed=<seed>``; those that are stored already are continued.

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
            name, an Optuna sampler or a factory ``(seed, n_trials) -> sampler``.
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
        objective,
        {
            label: [result_of(lane.study, lane.objective) for lane in lanes_of[label]]
            for label in searchers
        },
        seeds,
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
    return searchers


def _checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    checked = tuple(seeds)
    if not checked:
        raise ValueError("seeds is empty, but a comparison needs at least one.")
    if len(set(checked)) < len(checked):
        raise ValueError(f"seeds has duplicates, but each run needs its own: {list(checked)}.")
    return checked
