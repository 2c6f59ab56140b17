"""The result of a loop that keeps a change only if the change beats the best version so far."""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

import numpy as np
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import (
    CANDIDATE,
    Compared,
    LoopSettings,
    StoredCandidate,
)
from adnn_optuna._units import UNKNOWN, Estimate, Unit, estimate_around, in_number, score_sign
from adnn_optuna.render.document import (
    Advice,
    Caution,
    Detail,
    Figure,
    Line,
    Mark,
    Series,
    Step,
    Table,
    Verdict,
    shortened,
)
from adnn_optuna.render.printed import Printed, number_fields
from adnn_optuna.results.sentences import MAKE_THE_REST, reused_note, value_of_run
from adnn_optuna.samplers._evaluations import evaluation_trials, value_of
from adnn_optuna.stats.intervals import t_quantile
from adnn_optuna.stats.keeping import FEWEST_RUNS, Standard, judged, needed_gain, pooled, threshold
from adnn_optuna.stats.spread import unit_of_values

RUN_NAMES = ("candidate", "run")
"""The number of the candidate and the number of its run identify an evaluation."""

CandidateVerdict = Literal["baseline", "kept", "not kept", "not judged yet"]

_N_NAMED = 4  # The figure names this number of last candidates.

_VERDICTS: Mapping[CandidateVerdict, Verdict] = {
    "baseline": "no claim",
    "kept": "kept",
    "not kept": "not kept",
    "not judged yet": "not known",
}
_NEXT_STEPS: Mapping[CandidateVerdict, Step] = {
    "baseline": Step(
        Advice(
            "Change what is evaluated, and make the same call again (if you set candidate, with "
            "another name)."
        ),
        Advice(
            "Change what is evaluated, and run the same command again (if you set --candidate, "
            "with another name)."
        ),
    ),
    "kept": Step(Advice("Keep the change, and try another one.")),
    "not kept": Step(Advice("Undo the change, and try another one.")),
    "not judged yet": MAKE_THE_REST,
}
_ANOTHER_BASELINE = Step(
    Advice("Correct the function, and pass another study_name."),
    Advice("Correct the script, and pass another --study-name."),
)


@dataclass(frozen=True)
class Candidate:
    """A candidate of a loop, and the runs that judge it.

    Attributes:
        number: The candidate's number in the study.
        label: The candidate's name.
        note: The user's note about the candidate.
        values: The value of each run; a failed run has NaN.
        counted: The values, negated if lower values are better. A failed run has the value that
            the user set for failures, or NaN.
        verdict: ``"baseline"``, ``"kept"``, ``"not kept"`` or ``"not judged yet"``.
        against: The label of the best version before the candidate; empty for the baseline.
        compared: The numbers with which the candidate is compared, or None for the baseline.
    """

    number: int
    label: str
    note: str
    values: tuple[float, ...]
    counted: tuple[float, ...] = field(repr=False)
    verdict: CandidateVerdict
    against: str = ""
    compared: Compared | None = field(default=None, repr=False)

    @functools.cached_property
    def gain(self) -> Estimate:
        """The candidate's mean gain over the best version before it, with its 95% CI.

        The CI's standard deviation is pooled over the runs of the candidate and of kept versions.
        """
        values = self.succeeded
        n = len(values)
        if self.compared is None or not n:
            return UNKNOWN
        mean = fmean(values)
        gain = mean - self.compared["mean"]
        degrees = self.compared["degrees"] + n - 1
        squares = self.compared["degrees"] * self.compared["sd"] ** 2
        squares += sum((value - mean) ** 2 for value in values)
        if not squares:
            return Estimate(gain)
        error = math.sqrt(squares / degrees * (1 / n + 1 / self.compared["n"]))
        half = t_quantile(degrees, 0.975) * error
        return estimate_around(gain, half)

    @property
    def succeeded(self) -> list[float]:
        """The values of :attr:`counted` without failed runs."""
        return [value for value in self.counted if not math.isnan(value)]

    @property
    def is_kept(self) -> bool:
        """Whether the candidate became the best version. For the baseline, it is True."""
        return self.verdict in ("baseline", "kept")

    @property
    def n_failed(self) -> int:
        """The number of the candidate's failed runs."""
        return sum(map(math.isnan, self.values))


@dataclass(frozen=True, repr=False)
class ChangeLoop(Printed):
    """A loop that keeps changes, and the verdict on one of its candidates.

    Attributes:
        study_name: The name of the loop's study.
        maximize: Whether higher values are better.
        settings: The arguments ``level``, ``n0``, ``max_runs`` and ``failed`` of
            :func:`~adnn_optuna.keep`.
        candidates: The baseline and all candidates, in the order in which they first ended a run.
        label: The name of the candidate that was judged.
        n_stored: The number of the candidate's runs that were stored before the call.
    """

    study_name: str
    maximize: bool
    settings: LoopSettings
    candidates: tuple[Candidate, ...]
    label: str
    n_stored: int = field(default=0, compare=False)

    @functools.cached_property
    def candidate(self) -> Candidate:
        """The candidate that was judged."""
        return next(each for each in self.candidates if each.label == self.label)

    @property
    def verdict(self) -> CandidateVerdict:
        """The verdict on the candidate.

        It is ``"baseline"``, ``"kept"``, ``"not kept"`` or ``"not judged yet"``.
        """
        return self.candidate.verdict

    @property
    def kept(self) -> bool:
        """Whether the candidate became the best version. For the baseline, it is True."""
        return self.candidate.is_kept

    @property
    def gain(self) -> Estimate:
        """The candidate's mean gain over the best version before it, with its 95% CI."""
        return self.candidate.gain

    @property
    def n_runs(self) -> int:
        """The number of the candidate's runs."""
        return len(self.candidate.values)

    @property
    def n_judged(self) -> int:
        """The number of candidates with a verdict, kept or not."""
        return sum(each.verdict in ("kept", "not kept") for each in self.candidates)

    @property
    def n_kept(self) -> int:
        """The number of kept candidates."""
        return sum(each.verdict == "kept" for each in self.candidates)

    @property
    def n_false_expected(self) -> float:
        """The maximum expected number of useless candidates that are kept by chance."""
        return self.settings["level"] * self.n_judged

    @property
    def best(self) -> Candidate:
        """The best version so far: the last kept candidate, or the baseline."""
        return next(each for each in reversed(self.candidates) if each.is_kept)

    @functools.cached_property
    def noise(self) -> tuple[float, int]:
        """The standard deviation of the runs of a kept version, with its degrees of freedom."""
        return pooled(each.succeeded for each in self.candidates if each.is_kept)

    def standard(self) -> Compared | None:
        """Return the numbers with which the next candidate is compared.

        Until the baseline has all its runs and the best version has enough values, they are None.
        """
        sd, degrees = self.noise
        values = self.best.succeeded
        if not self._has_baseline or len(values) < FEWEST_RUNS:
            return None
        level = self.settings["level"]
        max_runs = self.settings["max_runs"]
        return {
            "candidate": self.best.number,
            "mean": fmean(values),
            "worst": min(values),
            "n": len(values),
            "sd": sd,
            "degrees": degrees,
            "threshold": threshold(level, max_runs, len(values), degrees),
        }

    @property
    def _has_baseline(self) -> bool:
        return len(self.candidates[0].values) >= self.settings["n0"]

    @property
    def _lacks_values(self) -> bool:
        """Whether the baseline has all its runs, but too few of them have a value."""
        return self._has_baseline and len(self.candidates[0].succeeded) < FEWEST_RUNS

    def _mean(self, candidate: Candidate) -> float:
        """Return the mean of the successful runs, with the sign of the user's values."""
        mean = fmean(candidate.succeeded)
        if self.maximize:
            return mean
        return 0.0 - mean  # The negation of 0.0 would be written as -0.0.

    @property
    def _printed_verdict(self) -> CandidateVerdict:
        """The printed verdict.

        Until enough runs of the baseline have values, it is "not judged yet".
        """
        if self._has_baseline and not self._lacks_values:
            return self.verdict
        return "not judged yet"

    def _title(self) -> str:
        return f"{self.study_name}: {self._finding}"

    @property
    def _finding(self) -> str:
        in_words = "the baseline" if self._printed_verdict == "baseline" else self._printed_verdict
        return f"{_short(self.label)} is {in_words}"

    def _verdict(self) -> Verdict:
        return _VERDICTS[self._printed_verdict]

    def _scope(self) -> str:
        return in_number(self.n_runs, "run")

    def _next_step(self) -> Step:
        if self._lacks_values:
            return _ANOTHER_BASELINE
        return _NEXT_STEPS[self._printed_verdict]

    def _conclusion(self) -> str:
        if self._lacks_values:
            n_values = len(self.candidates[0].succeeded)
            return f"The baseline must have {FEWEST_RUNS} runs with a value; it has {n_values}."
        if not self.n_judged:
            n0 = self.settings["n0"]
            n_made = min(len(self.candidates[0].values), n0)
            return f"{n_made} of {n0} runs of the baseline are made; no candidate is judged yet."
        sentences = [
            self._why_given_up(),
            f"{self._n_kept_in_words}.",
        ]
        if self._is_noisy:
            sentences.append(
                "If the noise is normal, a change without effect is kept with a probability of at "
                f"most {self.settings['level']:g}."
            )
        return " ".join(filter(None, sentences))

    def _why_given_up(self) -> str:
        """Return why the candidate was not kept, or an empty text if it was kept."""
        candidate = self.candidate
        if candidate.verdict != "not kept" or candidate.compared is None:
            return ""
        if candidate.n_failed > len(candidate.succeeded):
            return "More than half of its runs failed."
        standard = Standard(*map(candidate.compared.get, Standard._fields))
        needed = self._gain_unit.gain(float(needed_gain(standard, self.n_runs)))
        runs = in_number(self.n_runs, "run")
        if len(candidate.succeeded) < len(candidate.values):
            runs = f"{runs}, with failed runs counted as the worst"
        return f"After {runs}, the gain had to exceed {needed}."

    @property
    def _n_kept_in_words(self) -> str:
        return f"The loop kept {self.n_kept} of {in_number(self.n_judged, 'candidate')}"

    @property
    def _is_noisy(self) -> bool:
        sd, _ = self.noise
        return sd > 0

    @functools.cached_property
    def _unit(self) -> Unit:
        groups = [each.succeeded for each in self.candidates]
        if not self._is_noisy:  # All runs of a candidate have the same value.
            groups = [[value for group in groups for value in group]]
        return unit_of_values(groups)

    @property
    def _gain_unit(self) -> Unit:
        return self._unit.rounded_to(self.gain)

    def _estimates(self) -> list[Line]:
        lines = []
        unit = self._unit
        if not math.isnan(self.gain.value):
            remark = f"over {_short(self.candidate.against)}"
            if self._is_noisy:
                bias = "upward" if self.kept else "downward"
                remark = f"{remark}, selected: biased {bias}"
            lines.append(
                Line("gain", self.gain, self._gain_unit, is_difference=True, remark=remark)
            )
        if self.best.succeeded:
            mean = Estimate(self._mean(self.best))
            lines.append(
                Line("best so far", mean, unit, remark=f"mean of {_short(self.best.label)}")
            )
        sd, degrees = self.noise
        if degrees:
            remark = "standard deviation of one run"
            unit = unit.rounded_to(estimate_around(sd, sd))
            lines.append(Line("noise floor", Estimate(sd), unit, remark=remark))
        return lines

    def _notes(self) -> list[str]:
        notes = [reused_note("run", self.n_stored, self.n_runs)]
        n_failed = self.candidate.n_failed
        if n_failed and not self._lacks_values:
            fate = (
                "The verdict counts each as the worst run of the candidate and of the best before "
                "it. Gains and means are of the other runs."
            )
            if self.settings["failed"] is not None:
                fate = f"Each counts as {self.settings['failed']:g}."
            notes.append(Caution(f"{n_failed} of {self.n_runs} runs failed. {fate}"))
        if not self.maximize:
            notes.append("Lower values are better; a gain above 0 is an improvement.")
        _, degrees = self.noise
        if degrees and not self._is_noisy:
            notes.append(
                "All runs of the baseline are equal, so any better value is kept. Check that "
                "the runs use the seed."
            )
        if self.n_kept:
            sentence = "adnn.compare_models shows on new seeds what the whole loop gained."
            notes.append(Detail(sentence))
        return notes

    def _tables(self) -> list[Table]:
        unit = self._unit.bare
        rows = []
        for each in self.candidates:
            cells = [each.label, each.verdict, str(len(each.values))]
            value, low, high = each.gain
            cells.append("" if math.isnan(value) else unit.gain(value))
            cells.append("" if math.isnan(low) else unit.interval(low, high))
            rows.append((*cells, each.note))
        headings = ("candidate", "verdict", "runs", "gain", "95% CI", "note")
        return [Table(headings, rows, "Candidates", is_detail=True)]

    def _figures(self) -> list[Figure]:
        """Return a figure of all candidates' means with their CIs, and the best version so far."""
        title = self._finding
        if self.n_judged:
            best = f"{_short(self.best.label)}, {self._unit.value(self._mean(self.best))}"
            title = f"{self._n_kept_in_words}; best mean: {best}"
        figure = Figure(
            "loop",
            title,
            "candidate (0: the baseline)",
            self._unit.heading("value"),
            [self._best_so_far(), *self._points()],
            caption=(
                "Squares: kept changes. Dots: others. Line: the best so far. Bars: 95% CIs of the "
                "difference from the best before."
            ),
            lower_is_better=not self.maximize,
            if_empty="No run has a value yet.",
        )
        return [figure]

    def _best_so_far(self) -> Series:
        """Return the mean of the best version so far, as steps."""
        places = []
        means = []
        for place, each in enumerate(self.candidates):
            if each.is_kept and each.succeeded:
                places.append(place)
                means.append(self._unit.scale * self._mean(each))
        if means:
            places.append(len(self.candidates) - 1)
            means.append(means[-1])
        return Series("", places, means, "steps")

    def _points(self) -> list[Series]:
        """Return the mean of each candidate with its CI, and the names of some candidates."""
        scale = self._unit.scale
        points = []
        for place, each in enumerate(self.candidates):
            if not each.succeeded:
                continue
            mean = self._mean(each)
            low, high = self._ends(each, mean)
            n_runs = in_number(len(each.values), "run")
            hover = f"{each.label}: {self._unit.value(mean)}, {n_runs}. {each.note}".strip()
            label = ""
            mark: Mark = "points"
            color = None
            if each.is_kept or len(self.candidates) - place <= _N_NAMED:
                label = f"{place}: {each.label}"
            if each.is_kept:
                mark = "squares"
                color = 0
            x, y = [place], [scale * mean]
            point = Series(label, x, y, mark, [scale * low], [scale * high], [hover], color)
            points.append(point)
        return points

    def _ends(self, candidate: Candidate, mean: float) -> tuple[float, float]:
        """Return the ends of a candidate's CI around its mean, or NaN without a CI."""
        value, low, high = candidate.gain
        if self.maximize:
            return mean + low - value, mean + high - value
        return mean + value - high, mean + value - low

    def _fields(self) -> dict[str, Any]:
        names = "study_name label verdict kept gain n_runs n_judged n_kept n_false_expected"
        names_of_each = "label note verdict values gain against"
        return {
            **number_fields(self, names),
            **self.settings,
            "best": self.best.label,
            "noise": self.noise[0],
            "candidates": [number_fields(each, names_of_each) for each in self.candidates],
        }


def change_loop(
    study_name: str, settings: LoopSettings, trials: Iterable[FrozenTrial], *, maximize: bool
) -> ChangeLoop | None:
    """Return the stored loop, with the verdict on its last candidate, or None without a run.

    A candidate's first run stores the numbers with which the candidate is compared, so a verdict
    never changes later.
    """
    trial_of_run: Mapping[Any, Any] = evaluation_trials(trials, RUN_NAMES)
    # The baseline is the first version that ended a run, so no later end changes it.
    by_end = sorted(trial_of_run.items(), key=lambda item: item[1].datetime_complete)
    trials_by_number: dict[int, dict[int, FrozenTrial]] = {}
    for (number, run), trial in by_end:
        trials_by_number.setdefault(number, {})[run] = trial
    if not trials_by_number:
        return None
    runs = [_runs_of(number, by_run) for number, by_run in trials_by_number.items()]
    counted_runs = [signed_values(values, settings, maximize=maximize) for _, _, values in runs]
    number, record, values = runs[0]
    n0 = settings["n0"]
    labels = record["label"], record["note"]
    baseline = Candidate(number, *labels, values[:n0], counted_runs[0][:n0], "baseline")
    loop = ChangeLoop(study_name, maximize, settings, (baseline,), baseline.label)
    # If a candidate's first run began before the baseline was measured, the candidate is compared
    # with the baseline.
    by_default = loop.standard()
    standards = [record["compared"] or by_default for _, record, _ in runs[1:]]
    verdicts = verdicts_of(counted_runs[1:], standards, settings["max_runs"])
    label_of = {number: record["label"] for number, record, _ in runs}
    candidates = [baseline]
    judged_runs = zip(runs[1:], counted_runs[1:], standards, verdicts, strict=True)
    for (number, record, values), counted_run, compared, (verdict, n_runs) in judged_runs:
        against = ""
        if compared is not None:
            against = label_of.get(compared["candidate"], baseline.label)
        labels = record["label"], record["note"]
        used = values[:n_runs], counted_run[:n_runs]
        candidates.append(Candidate(number, *labels, *used, verdict, against, compared))
    last = candidates[-1].label
    return ChangeLoop(study_name, maximize, settings, tuple(candidates), last)


def signed_values(
    values: Iterable[float], settings: LoopSettings, *, maximize: bool
) -> tuple[float, ...]:
    """Return the values of runs, negated if lower values are better."""
    sign = score_sign(maximize=maximize)
    failed = settings["failed"]
    return tuple(sign * value_of_run(value, failed) for value in values)


def verdicts_of(
    counted_runs: Sequence[Sequence[float]], standards: Sequence[Compared | None], max_runs: int
) -> list[tuple[CandidateVerdict, int]]:
    """Return each candidate's verdict, and the number of runs that decided it.

    Args:
        counted_runs: The values of each candidate. Higher values are better.
        standards: The numbers with which each candidate is compared. A candidate with None is not
            judged yet.
        max_runs: The maximum number of runs of a candidate.
    """
    values = np.full((len(counted_runs), max_runs), math.nan)
    n_made = np.zeros(len(counted_runs), dtype=int)
    rows = np.full((4, len(counted_runs)), math.nan)
    for place, (counted_run, compared) in enumerate(zip(counted_runs, standards, strict=True)):
        if compared is not None:
            n_made[place] = min(len(counted_run), max_runs)
            values[place, : n_made[place]] = counted_run[:max_runs]
            rows[:, place] = [*map(compared.get, Standard._fields)]
    is_kept, is_given_up, n_runs = judged(values, n_made, Standard(*rows))
    verdicts = []
    for place, n in enumerate(n_runs.tolist()):
        verdict: CandidateVerdict = "not judged yet"
        if is_kept[place]:
            verdict = "kept"
        elif is_given_up[place]:
            verdict = "not kept"
        verdicts.append((verdict, n))
    return verdicts


def _runs_of(
    number: int, trials_by_run: Mapping[int, FrozenTrial]
) -> tuple[int, StoredCandidate, tuple[float, ...]]:
    """Return a candidate's number, its stored record, and its values before a missing run."""
    first_trial = next(iter(trials_by_run.values()))
    unknown: StoredCandidate = {"label": str(number), "note": "", "compared": None}
    record = first_trial.system_attrs.get(CANDIDATE, unknown)
    return number, record, tuple(_values(trials_by_run))


def _values(trials_by_run: Mapping[int, FrozenTrial]) -> list[float]:
    """Return the values of runs before the first missing run. A failed run has the value NaN."""
    values: list[float] = []
    while (trial := trials_by_run.get(len(values))) is not None:
        values.append(value_of(trial))
    return values


def _short(label: str) -> str:
    return shortened(label, 24)
