"""Comparisons of searchers: tables and verdicts."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from optuna.storages import BaseStorage

from adnn_optuna._attributes import (
    ANNEALING,
    COMPARISON,
    CONFIG,
    GREEDY,
    RANDOM_RESTART,
    Declaration,
)
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna._units import ACCURACY
from adnn_optuna.engine.classes import n_examples
from adnn_optuna.engine.comparisons import load_head, records_of_comparison
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.evidence.declarations import seeds_in_words
from adnn_optuna.evidence.paired_differences import (
    EQUIVALENCE,
    PairedDifference,
    check_equivalence,
    differences_table,
    paired_differences,
    undecided,
)
from adnn_optuna.evidence.power import plan_seeds
from adnn_optuna.networks.display import Shown
from adnn_optuna.plots._comparison import plot_best_against_trials, seconds_until_done
from adnn_optuna.reporting import claims, tables
from adnn_optuna.reporting.pages import comparison_page


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """What searchers came to, each on the same seeds.

    Printed, it is the table of means and, below it, the verdict on each claim. There are two
    families of claims, each wrong in at most 5 % of all comparisons: each searcher against random
    restarts, and greedy against annealing; and all of these against the controls, what the same
    compute buys otherwise. Where a comparison stops once all is decided, or got further seeds
    later, the intervals pay for each look.

    Args:
        results: The results of each arm, by its label, in the order of ``seeds``.
        seeds: The seeds, in their declared order.
        equivalence: The difference of test accuracies up to which two arms are equivalent.
        declared: What the comparison was declared to be; if :obj:`None`, these seeds, planned.

    Raises:
        ValueError: If there is no arm or seed, or the arms differ in more than how they search:
            in seeds, data, model, training, metric or budget.
    """

    results: Mapping[str, Sequence[SearchRecord]]
    seeds: tuple[int, ...]
    equivalence: float = EQUIVALENCE
    declared: Declaration | None = None

    def __post_init__(self) -> None:
        check_equivalence(self.equivalence)
        if not self.results or not self.seeds:
            raise WrongValueError("A comparison needs at least one arm and one seed.")
        for label, runs in self.results.items():
            if len(runs) != len(self.seeds):
                raise WrongValueError(
                    f"The arm {label!r} has {len(runs)} results for {len(self.seeds)} seeds; give "
                    "one for each seed, in their order."
                )
            if label == RANDOM_RESTART and not all(run.is_restart for run in runs):
                raise WrongValueError(
                    f"The arm {label!r} is not random restarts, but was searched by "
                    f"{runs[0].searcher or 'another sampler'}; give it another label."
                )
        self._check_arms_are_alike()
        declared = tuple(self.declaration["seeds"])
        if declared[: len(self.seeds)] != self.seeds:
            raise WrongValueError(
                f"The seeds {seeds_in_words(self.seeds)} are not the first ones of those that the "
                f"comparison was declared with, {seeds_in_words(declared)}; seeds that are chosen "
                "afterwards prove nothing: give all, in that order."
            )

    def _check_arms_are_alike(self) -> None:
        """Refuse results that differ in more than how they were searched for."""
        first_label, [first, *_] = next(iter(self.results.items()))
        of_first: dict[str, object] = {}
        for label, runs in self.results.items():
            for seed, run in zip(self.seeds, runs, strict=True):
                where = f"The result of {label!r} for seed {seed}"
                if config := run.attrs.get(CONFIG):
                    if config["seed"] != seed:
                        raise WrongValueError(
                            f"{where} is of seed {config['seed']}; give all arms' results in the "
                            "order of the seeds."
                        )
                    compared = {k: v for k, v in config.items() if k not in ("seed", "space")}
                    of_first = of_first or compared
                    if differences := config_differences(of_first, compared):
                        raise WrongValueError(
                            f"{where} is of another objective than the first one "
                            f"({in_words(differences)}); compare what was trained alike."
                        )
                for name, limit in first.budget.items():
                    if run.budget.get(name, limit) != limit:
                        raise WrongValueError(
                            f"The arms have unequal budgets: {first_label!r} has {name} {limit}, "
                            f"but {label!r} with seed {seed} has {run.budget[name]}; go on with "
                            "compare until all have the same."
                        )

    @functools.cached_property
    def declaration(self) -> Declaration:
        """The seeds that were declared, and whether the comparison looks again at what it has."""
        planned: Declaration = {"seeds": [*self.seeds], "looks_again": False, "arms": {}}
        return self.declared or planned

    @property
    def control(self) -> str | None:
        """The label of the random restarts, :obj:`None` if a stored comparison has none."""
        return next((label for label, runs in self.results.items() if runs[0].is_restart), None)

    @property
    def searchers(self) -> dict[str, Sequence[SearchRecord]]:
        """The results of the searchers, random restarts among them."""
        return {label: runs for label, runs in self.results.items() if not runs[0].is_control}

    @property
    def controls(self) -> dict[str, Sequence[SearchRecord]]:
        """The results of what spends the same compute otherwise."""
        return {label: runs for label, runs in self.results.items() if runs[0].is_control}

    @property
    def any_record(self) -> SearchRecord:
        """One of the results, for what is the same for all of them."""
        return next(iter(self.results.values()))[0]

    @property
    def looks_again(self) -> bool:
        """Whether the intervals pay for looking again after each seed."""
        return self.declaration["looks_again"]

    @functools.cached_property
    def n_done(self) -> int:
        """The number of seeds whose runs have all ended and were tested."""
        return sum(
            all(runs[i].is_over for runs in self.results.values()) for i in range(len(self.seeds))
        )

    @property
    def is_complete(self) -> bool:
        """Whether all declared seeds are done, or all is decided where it stops then."""
        is_decided = self.looks_again and not self.n_undecided
        return is_decided or self.n_done == len(self.declaration["seeds"])

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
            the test accuracy (of a regression R²), each with its sample standard deviation in a
            column ``…_std``.
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
        means = rows.groupby("sampler").transform("mean")
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

    def differences(self) -> pd.DataFrame:
        """Return one row for each pair of arms: by how much the first is better on the test.

        Runs of the same seed have the same data, initial weights and batches, so the difference
        of their test accuracies is that of their searchers.

        Returns:
            A data frame with the index ``sampler``, ``other`` and the columns ``pairs`` (of
            runs), ``difference`` (mean accuracy of ``sampler`` minus ``other``, as a fraction),
            ``low``, ``high``, ``superiority`` with its own ``superiority_low`` and ``_high``,
            ``verdict`` and ``reason``, as in
            :class:`~adnn_optuna.evidence.paired_differences.PairedDifference`.
        """
        return differences_table(self.paired_differences, "sampler")

    @property
    def families(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """The claims: each searcher against luck and greedy against annealing; all on controls."""
        restarts = [label for label, runs in self.searchers.items() if runs[0].is_restart][:1]
        arms = [label for label in self.searchers if label not in restarts]
        rivals = [arm for arm in arms if self.results[arm][0].searcher in (GREEDY, ANNEALING)]
        of_searchers = [(arm, restart) for arm in arms for restart in restarts]
        if len({self.results[arm][0].searcher for arm in rivals}) == len(rivals) == 2:
            of_searchers.append((rivals[0], rivals[1]))
        return of_searchers, [(arm, c) for arm in (*arms, *restarts) for c in self.controls]

    @functools.cached_property
    def paired_differences(self) -> list[PairedDifference]:
        """The statistics behind :meth:`differences`: from these come all tables and sentences."""
        of_searchers, of_controls = self.families
        # Restarts and controls come last: all others are compared with them.
        labels = sorted(self.searchers, key=lambda label: label == self.control)
        values = {
            label: [run.test_value for run in self.results[label]]
            for label in (*labels, *self.controls)
        }
        compared = functools.partial(
            paired_differences, equivalence=self.equivalence, looks_again=self.looks_again
        )
        rows = compared({label: values[label] for label in labels}, claims=of_searchers)
        if of_controls:
            rows += [r for r in compared(values, claims=of_controls) if r.verdict is not None]
        n_seeds = len(self.declaration["seeds"])
        if not self.looks_again and (missing := n_seeds - self.n_done):
            rows = undecided(rows, f"{missing} of {n_seeds} planned seeds are missing")
        return rows

    @property
    def n_undecided(self) -> int:
        """How many of the claims about searchers are not decided."""
        return sum(row.verdict == "undecided" for row in self.rows_of(self.families[0]))

    @property
    def intervals(self) -> str:
        """What the intervals promise, in words."""
        families = zip(("searchers", "controls"), map(len, self.families), strict=True)
        return claims.interval_in_words(dict(families), looks_again=self.looks_again)

    def rows_of(self, family: Sequence[tuple[str, str]]) -> list[PairedDifference]:
        """Return the differences behind some claims."""
        return [row for row in self.paired_differences if (row.arm, row.other) in family]

    @property
    def strongest_control(self) -> str | None:
        """The control that is best by what was selected by, :obj:`None` if there is none.

        One that were chosen by the test accuracy would be too good by chance.
        """

        def mean(label: str) -> tuple[bool, float]:
            """Return what is best where it is largest; one that is not known is below all."""
            best = fmean(run.best_value for run in self.results[label])
            return math.isfinite(best), self.any_record.improvement(best, 0.0)

        return max(self.controls, key=mean, default=None)

    def plan(self, gain: float) -> Any:
        """Return how many seeds it takes to show a gain, from these seeds as a pilot.

        Args:
            gain: The difference of test accuracies, as a fraction, that is to be shown for every
                searcher against random restarts, and for greedy against annealing.

        Raises:
            ValueError: If there are less than two seeds, or the gain is not positive.
        """
        pairs = [
            [
                difference
                for one, two in zip(self.results[arm], self.results[other], strict=True)
                if math.isfinite(difference := one.test_value - two.test_value)
            ]
            for arm, other in self.families[0]
        ]
        if not pairs:
            raise WrongValueError("There is no searcher to compare with random restarts.")
        seconds, unit = self.seconds / len(self.seeds), self.any_record.test_unit
        from adnn_optuna.api.seed_plan import SeedPlan

        return SeedPlan(**vars(plan_seeds(pairs, gain=gain, seconds_per_seed=seconds, unit=unit)))

    @property
    def seconds(self) -> float:
        """The seconds in which any trial ran."""
        runs = [run.done_trials for of_arm in self.results.values() for run in of_arm]
        return sum(ends[-1] for ends in seconds_until_done(runs) if ends)

    def plot(self) -> go.Figure:
        """Return the best gain so far against trials, the mean over seeds with its spread."""
        return plot_best_against_trials(self.searchers)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write a report, one HTML file that opens from disk: claim, evidence, figures, settings.

        Raises:
            FileNotFoundError: If the file's folder does not exist.
        """
        comparison_page(self).save(path)

    def rows(self) -> list[tuple[str, ...]]:
        """Return each arm with the shown columns of :meth:`table`, as text."""
        units = dict.fromkeys(("best", "gain"), self.any_record.unit)
        scores = ("val_best", "test_best", "test_gain", "test_gain_over_mean_baseline")
        units |= dict.fromkeys(scores, self.any_record.test_unit)
        return [
            (str(arm), *(tables.mean_and_std(row, name, unit) for name, unit in units.items()))
            for arm, row in self.table().iterrows()
        ]

    def _facts(self) -> dict[str, object]:
        return {"arms": [*self.results], "seeds": self.seeds, "undecided": self.n_undecided}

    def __str__(self) -> str:
        record = self.any_record
        look, score, unit = record.test_look, record.test_score, record.test_unit
        gain, of_test = (u.heading("gain", is_gain=True) for u in (record.unit, unit))
        bases, percent = ("own baseline", "mean baseline"), unit.heading("")
        header = [
            ("", "best", f"{gain} over", score, *[f"test {of_test}"] * 2),
            ("sampler", record.metric, bases[0], percent, *bases),
        ]
        body = [
            (tables.shortened(label, 22), best, gain, *tested)
            for label, best, gain, _, *tested in self.rows()
        ]
        notes = tables.what_is_shown(len(self.seeds))
        if unit is ACCURACY:
            notes += "; pp = percentage points"
            if look:
                notes += f"; one of {n_examples(look)}: {100 / look['n_images']:.2g} pp"
        lines = [*tables.aligned(header, body), notes, ""]
        if missing := claims.what_is_missing(self):
            lines += [missing, ""]
        if rows := self.paired_differences:
            lines += [*tables.verdict_lines(rows, score, self.equivalence, self.intervals), ""]
        return "\n".join([*lines, *textwrap.wrap(claims.claim_of_comparison(self), 98)])


def load_comparison(
    storage: str | BaseStorage, study_name: str, *, equivalence: float = EQUIVALENCE
) -> Comparison:
    """Load what a comparison came to so far, without running anything.

    Args:
        storage: Where its studies are: a database URL or an Optuna storage.
        study_name: What their names begin with.
        equivalence: See :class:`Comparison`.

    Returns:
        The comparison, over the first seeds, in their declared order, whose runs have all ended.

    Raises:
        ValueError: If there are no such studies, or the runs of the first seed have not all ended.
    """
    head = load_head(open_storage(storage, must_exist=True), study_name)
    arms = records_of_comparison(head)
    declaration: Declaration = head.user_attrs[COMPARISON]
    declared = declaration["seeds"]
    everything = [record for of_arm in arms.values() for record in of_arm.values()]
    is_done = [
        all(s in of_arm and of_arm[s].is_over for of_arm in arms.values()) for s in declared
    ]
    seeds = tuple(declared[: [*is_done, False].index(False)])
    if not seeds:
        raise WrongValueError(
            f"The comparison {study_name!r} has nothing to show yet: "
            f"{sum(r.is_over for r in everything)} of its {len(arms) * len(declared)} runs have "
            f"ended, but not all of its first seed, {declared[0]}; go on by resume or compare."
        )
    results = {label: [of_arm[seed] for seed in seeds] for label, of_arm in arms.items()}
    return Comparison(results, seeds, equivalence, declaration)
