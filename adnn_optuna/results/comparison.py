"""Comparisons of searchers: means, differences and verdicts, as numbers."""

import dataclasses
import functools
import math
import operator
from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Declaration
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna._units import ACCURACY, PLAIN, Unit, unit_of
from adnn_optuna.engine.arms import may_repeat
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.results.curves import seconds_under_way
from adnn_optuna.results.declarations import n_claims_of, planned
from adnn_optuna.results.differences import differences_frame
from adnn_optuna.results.numbers import NUMBERS, numbers_of
from adnn_optuna.stats import paired_differences as paired
from adnn_optuna.stats.paired_differences import PairedDifference
from adnn_optuna.stats.power import SeedPlanFacts, plan_seeds
from adnn_optuna.stats.resampling import Resampled, for_new_data, read_once
from adnn_optuna.stats.spread import unit_of_values

UNMOVED = "unmoved networks"  # What the winners of an arm are compared with on fresh seeds.


@dataclasses.dataclass(frozen=True)
class ComparisonFacts:
    """The numbers of an :class:`adnn_optuna.Comparison`, whose docstring says what they are."""

    results: Mapping[str, Sequence[SearchRecord]] = dataclasses.field(repr=False)
    seeds: tuple[int, ...]
    margin: float | None = paired.MARGIN
    declared: Declaration | None = None
    like: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.seeds or {*map(len, self.results.values())} != {len(self.seeds)}:
            raise WrongValueError(
                "A comparison needs at least one arm and one seed, and of each arm a result for "
                "each seed, in their order."
            )
        if not self.is_of_function and self.margin is not None:
            paired.check_margin(self.margin, self.unit.largest)
        for label, runs in self.results.items():
            for seed, run in zip(self.seeds, runs, strict=True):
                self._check_is_alike(label, seed, run)

    def _check_is_alike(self, label: str, seed: int, run: SearchRecord) -> None:
        """Refuse a result that differs from the first in more than how it was searched for."""
        first = self.any_record
        # A control that is the user's own objective has no configuration.
        if config := run.attrs.get(stored.CONFIG):
            alike = {**first.attrs[stored.CONFIG], "seed": seed, "space": config["space"]}
            if differences := config_differences(alike, config):
                raise WrongValueError(
                    f"The result of {label!r} for seed {seed} is of another objective or seed "
                    f"than the first one ({in_words(differences)}); compare what was trained "
                    "alike, with all results in the order of the seeds."
                )
        for name, limit in first.budget.items():
            if run.budget.get(name, limit) != limit:
                raise WrongValueError(
                    f"The arms have unequal budgets: {next(iter(self.results))!r} has {name} "
                    f"{limit}, but {label!r} with seed {seed} has {run.budget[name]}; go on with "
                    "compare until all have the same."
                )

    @functools.cached_property
    def declaration(self) -> Declaration:
        """The seeds that were declared, and whether the comparison looks again at what it has."""
        return self.declared or planned(self.seeds)

    @property
    def restarts(self) -> str | None:
        """The label of the random restarts, of a function of random search; if there are any."""
        found = [label for label, runs in self.results.items() if runs[0].is_restart]
        return stored.RANDOM if stored.RANDOM in found else next(iter(found), None)

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
    def study_name(self) -> str:
        """What the names of its studies begin with."""
        suffix = f"/{next(iter(self.results))}/seed={self.seeds[0]}"
        return self.any_record.study.study_name.removesuffix(suffix)

    @property
    def is_of_function(self) -> bool:
        """Whether any Optuna objective is compared, and no searches of networks."""
        return self.any_record.is_of_function

    @property
    def unit(self) -> Unit:
        """How the scores are shown that arms are compared by."""
        unit = PLAIN if self.is_of_function else unit_of(self.any_record.test_metric)
        values = ([run.test_value for run in runs] for runs in self.results.values())
        return unit_of_values(values, are_paired=True) if unit is PLAIN else unit

    @property
    def sequential(self) -> bool:
        """Whether the intervals pay for looking again after each seed."""
        return self.declaration["sequential"]

    @functools.cached_property
    def n_done(self) -> int:
        """The number of seeds whose runs have all ended and were tested."""
        of_seeds = zip(*self.results.values(), strict=True)
        return sum(all(run.is_over for run in of_seed) for of_seed in of_seeds)

    @property
    def is_complete(self) -> bool:
        """Whether all declared seeds are done, or all is decided where it stops then."""
        is_decided = self.sequential and not self.n_undecided
        return is_decided or self.n_done == len(self.declaration["seeds"])

    def table(self) -> pd.DataFrame:
        """Return one row for each searcher, with means and standard deviations over the seeds.

        ``best`` is what the search selected by, so it is too good to be true; the test set no
        search saw. A gain over a run's own baseline is large where that was unlucky, so each also
        comes over the mean of all seeds' baselines, with the same mean and the winners' spread.

        Returns:
            A data frame with the index ``sampler``, the counts ``seeds`` and ``trials``, and the
            means of ``baseline``, ``best``, ``gain`` and ``gain_over_mean_baseline`` of the
            selection metric, of those that begin with ``test_`` of the same metric on the test
            set, each with its sample standard deviation in a column ``…_std``; and the mean
            ``seconds`` of a run. Of a function,
            ``test_best`` is what the best trial comes to afresh, and there are no baselines.
        """
        rows = [
            {"sampler": label, **numbers}
            for label, runs in self.results.items()
            for numbers in numbers_of(runs)
        ]
        arms = pd.DataFrame(rows).groupby("sampler", sort=False)
        table = pd.DataFrame({"seeds": arms.size()})
        for number in NUMBERS:
            if self.is_of_function and "function" not in number.shown:
                continue
            table[number.name] = arms[number.name].mean()
            if number.metric:
                table[f"{number.name}_std"] = arms[number.name].std()
        return table

    def differences(self) -> pd.DataFrame:
        """Return one row for each pair of arms: by how much the first is better on the test.

        Runs of the same seed have the same data, initial weights and batches, so the difference
        of their test values is that of their samplers. The test values are the metric of the
        selection. A difference is above 0 if the first is better, also if lower values are.

        Returns:
            A data frame with the index ``sampler``, ``other`` and the columns ``pairs`` (of
            runs), ``difference`` (by how much ``sampler`` is better than ``other`` on average),
            ``low``, ``high``, ``win_rate`` (the share of pairs in which the first is better)
            with its own ``win_rate_low`` and ``_high``, ``verdict`` and ``reason``.
        """
        return differences_frame(self.paired_differences, "sampler")

    @property
    def families(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """The claims: each searcher against luck and greedy against annealing; all on controls."""
        restarts = [self.restarts] if self.restarts is not None else []
        arms = [label for label in self.searchers if label not in restarts]
        of_searchers = [(arm, restart) for arm in arms for restart in restarts]
        if self.is_of_function:
            return of_searchers, []
        names = {arm: self.results[arm][0].searcher for arm in arms}
        rivals = [arm for arm in arms if names[arm] in (stored.GREEDY, stored.ANNEALING)]
        if len({names[arm] for arm in rivals}) == len(rivals) == 2:
            of_searchers.append((rivals[0], rivals[1]))
        return of_searchers, [(arm, c) for arm in (*arms, *restarts) for c in self.controls]

    @property
    def n_claims(self) -> dict[str, int]:
        """How many claims of each family share an error rate: all that were ever declared."""
        # A family that shrinks after it was seen would be a choice by what was seen.
        declared = n_claims_of(self.declaration["arms"]).items()
        made = map(len, self.families)
        return {what: max(n, m) for (what, n), m in zip(declared, made, strict=True)}

    @functools.cached_property
    def paired_differences(self) -> list[PairedDifference]:
        """The statistics behind :meth:`differences`: from these come all tables and sentences."""
        of_searchers, of_controls = self.families
        # Restarts and controls come last: all others are compared with them.
        labels = sorted(self.searchers, key=lambda label: label == self.restarts)
        values = {
            label: [run.score for run in self.results[label]]
            for label in (*labels, *self.controls)
        }
        searched = {label: values[label] for label in labels}
        rows = self._compared(searched, self.n_claims["searchers"], claims=of_searchers)
        if of_controls:
            others = self._compared(values, self.n_claims["controls"], claims=of_controls)
            rows += [row for row in others if row.verdict is not None]
        return rows

    @functools.cached_property
    def repeats(self) -> list[PairedDifference]:
        """What each arm's winners gain over their unmoved networks, if that was tried."""
        gains = {label: [run.repeated for run in runs] for label, runs in self.results.items()}
        asked = {label: of_arm for label, of_arm in gains.items() if math.isfinite(of_arm[0])}
        # A family of claims of their own, of all arms that were ever declared.
        n_claims = max(len(asked), sum(map(may_repeat, self.declaration["arms"].values())))
        pairs = ({arm: values, UNMOVED: [0.0] * len(values)} for arm, values in asked.items())
        return [row for pair in pairs for row in self._compared(pair, n_claims)]

    def _compared(
        self,
        values: Mapping[str, Sequence[float]],
        n_claims: int,
        claims: Sequence[tuple[str, str]] | None = None,
    ) -> list[PairedDifference]:
        """Return differences; inconclusive where planned seeds are missing."""
        look = self.any_record.test_look
        rows = paired.paired_differences(
            values,
            margin=self.margin,
            claims=claims,
            n_claims=n_claims,
            sequential=self.sequential,
            names=[f"seed {seed}" for seed in self.seeds],
            n_examples=look["n_images"] if look and self.unit is ACCURACY else 0,
        )
        n_seeds = len(self.declaration["seeds"])
        if not self.sequential and (missing := n_seeds - self.n_done):
            return paired.inconclusive(rows, f"{missing} of {n_seeds} planned seeds are missing")
        if self.resampled is None:
            return rows
        if self.sequential:
            return read_once(rows)
        return for_new_data(rows, values, self.resampled, n_planned=n_seeds, n_claims=n_claims)

    @property
    def resampled(self) -> Resampled | None:
        """The numbers of training and test examples, if seeds redraw splits of one data set."""
        numbers = self.declaration["arguments"].get("resampled")
        if numbers is None:
            return None
        n_train, n_test = numbers
        return n_train, n_test

    @property
    def n_undecided(self) -> int:
        """How many of the claims about searchers are not decided."""
        return sum(row.verdict in paired.OPEN for row in self.rows_of(self.families[0]))

    def rows_of(self, family: Sequence[tuple[str, str]]) -> list[PairedDifference]:
        """Return the differences behind some claims."""
        return [row for row in self.paired_differences if (row.arm, row.other) in family]

    @property
    def strongest_control(self) -> str | None:
        """The control that is best by what was selected by; by the test it would be by chance."""

        def rank(label: str) -> tuple[bool, float]:
            mean = fmean(run.best_value for run in self.results[label])
            # One that is not known is below all.
            return math.isfinite(mean), self.any_record.improvement(mean, 0.0)

        return max(self.controls, key=rank, default=None)

    def seed_plan(self, gain: float) -> SeedPlanFacts:
        """Return how many seeds it takes to show a gain, from these seeds as a pilot."""
        scores = {label: [run.score for run in runs] for label, runs in self.results.items()}
        pairs = {
            f"{arm} - {other}": [
                d for d in map(operator.sub, scores[arm], scores[other]) if math.isfinite(d)
            ]
            for arm, other in self.families[0]
        }
        if not pairs:
            raise WrongValueError("There is no searcher to compare with random restarts.")
        seconds = self.seconds / len(self.seeds)
        return plan_seeds(pairs, gain=gain, seconds_per_seed=seconds, unit=self.unit)

    @property
    def seconds(self) -> float:
        """The seconds in which any trial ran."""
        runs = [run for of_arm in self.results.values() for run in of_arm]
        return seconds_under_way(trial for run in runs for trial in run.done_trials)
