"""The result of any Optuna study: its best trial and its gain, which may be selection bias."""

import dataclasses
import functools
import logging
import math
import threading
import warnings
from collections.abc import Sequence
from types import FunctionType
from typing import Any, ClassVar, NamedTuple

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import CONFIG, SEARCH
from adnn_optuna._units import Estimate, in_list, in_number, params_in_words
from adnn_optuna.engine.kinds import kind_of
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.render.document import (
    MAX_TITLE,
    Caution,
    Detail,
    Figure,
    Line,
    Series,
    Step,
    Table,
    Verdict,
    difference,
    shortened,
)
from adnn_optuna.render.printed import TRIAL, Printed, number_fields
from adnn_optuna.results.fields import FIELDS, numbers_of, units_of
from adnn_optuna.results.overtuning import overtuning_of
from adnn_optuna.results.sentences import is_named, not_drawn, recheck_step, settings_fields
from adnn_optuna.samplers._owners import owner_of
from adnn_optuna.samplers._trials import is_feasible
from adnn_optuna.stats.spread import floor_of

_ENDS = {
    "interrupted": "The search was interrupted.",
    "exhausted": "The sampler has proposed all of its trials.",
    "stopped": "The objective stopped the search.",
}
_ENDED_WITHOUT_VALUE = (TrialState.PRUNED, TrialState.FAIL)
_FEWEST_TRIALS = 10  # With fewer trials, it is unknown which parameters matter.


class NotesOnRuns(NamedTuple):
    """A comparison's notes on the data and values of its runs."""

    most_important: Sequence[str] = ()
    others: Sequence[str] = ()
    scope: str = "All results are for this objective."


def notes_on_runs(_: Sequence[SearchRecord]) -> NotesOnRuns:
    """Return a comparison's notes on its runs."""
    return NotesOnRuns()


@dataclasses.dataclass(frozen=True, repr=False)
class StudyResult(Printed):
    """The result of any Optuna study: its best trial and its gain, which may be selection bias.

    Attributes:
        record: The facts that were read from the study.
    """

    record: SearchRecord
    _objective: Any = None  # The objective, or None if it is unknown.

    _baseline: ClassVar[str] = "the first trial"

    @property
    def study(self) -> optuna.Study:
        """The Optuna study."""
        return self.record.study

    @property
    def best(self) -> FrozenTrial | None:
        """The best trial, or :obj:`None` if no trial is completed."""
        return self.record.best

    @property
    def best_value(self) -> float:
        """The best trial's value.

        Without a best trial, or if its value is infinite, it is NaN.
        """
        return self.record.best_value

    @property
    def baseline(self) -> float:
        """The baseline's value, by the metric that selects the best trial."""
        return self.record.baseline

    @property
    def gain(self) -> float:
        """The best trial's improvement over the baseline; negative if no trial is better."""
        return self.record.gain

    @property
    def stop_reason(self) -> str | None:
        """The name of the limit that ended the study, or another reason.

        It is ``"exhausted"`` if the sampler has no proposal left, ``"stopped"`` if the objective
        called ``study.stop``, and ``"interrupted"`` after Ctrl-C. It is None if the study has not
        ended.
        """
        return self.record.stop_reason

    @functools.cached_property
    def _on_new_data(self) -> list[Line]:
        """The best trial's value on new data, or empty unless scores of examples are stored."""
        overtuned = overtuning_of(
            self.study, self.record.attrs, self.record.trials, metric=self.record.metric
        )
        if overtuned is None or overtuned.most_unlike:  # The scores may be predictions.
            return []
        remark = f"selection corrected, {overtuned.n_examples} examples"
        return [
            Line("on new data", overtuned.new_data, units_of(self.record).selection, remark=remark)
        ]

    def _title(self) -> str:
        _, finding = self._finding()
        name = self.study.study_name
        if not is_named(name):
            name = "search"
        return f"{shortened(name, MAX_TITLE - len(finding) - 2)}: {finding}"

    def _verdict(self) -> Verdict:
        verdict, _ = self._finding()
        return verdict

    def _finding(self) -> tuple[Verdict, str]:
        """Return the verdict, and the conclusion in a few words."""
        if self.best is None:
            return "not known", "no best trial"
        value = units_of(self.record).selection.value(self.best_value)
        best = f"best value {value} (trial {self.best.number})"
        return "not known", f"{best}, not measured again"

    def _scope(self) -> str:
        n_trials = in_number(len(self.record.done_trials), "trial")
        return ", ".join([n_trials, *self._further_scope()])

    def _conclusion(self) -> str:
        """Return the conclusion in sentences, or an empty text if the title says everything."""
        if self.best is None:
            return why_no_best_trial(self.record)
        return ""

    def _further_scope(self) -> list[str]:
        """Return the basis of the result in addition to the trials."""
        return []

    def _subject(self) -> str:
        if self.best is None:
            return ""
        params = params_in_words(self.best.params)
        subject = f"Best trial {self.best.number}"
        if params:
            return f"{subject}: {params}"
        return subject

    def _estimates(self) -> list[Line]:
        if self.best is None:
            return []
        unit = units_of(self.record).selection
        best = Estimate(self.best_value)
        bias = selection_bias(self.record)
        if self.record.is_minimized:
            bias = bias.replace("upward", "downward")
        return [
            Line("best value", best, unit, remark=bias),
            difference("gain", Estimate(self.gain), unit, "over the first trial"),
            *self._on_new_data,
        ]

    def _notes(self) -> list[str]:
        return study_notes(self.record)

    def _next_step(self) -> Step:
        if self.best is None:
            return Step()
        return recheck_step(self.study, "result.study", self._function, self._catch)

    @property
    def _function(self) -> str:
        """The name of the searched function; empty if unknown."""
        function = getattr(self._objective, "function", None)
        if isinstance(function, FunctionType) and function.__name__.isidentifier():
            return function.__name__
        return ""

    @property
    def _catch(self) -> str:
        """The errors that the search caught, in Python; empty if there are none or unknown."""
        names = [error.__name__ for error in getattr(self._objective, "catch", ())]
        if len(names) > 1:
            return f"({', '.join(names)})"
        return "".join(names)

    def _figures(self) -> list[Figure]:
        return [gain_figure(self.record), *places_figure(self.record)]

    @property
    def _numbers(self) -> dict[str, float]:
        [numbers] = numbers_of([self.record], FIELDS)
        return numbers

    def _tables(self) -> list[Table]:
        return [self._number_table()]

    def _number_table(self) -> Table:
        """Return the table of all known numbers. A study without a test set has no test score."""
        numbers = self._numbers
        units = units_of(self.record)
        metrics = {"selection": f", {self.record.metric_label}"}
        rows = []
        for field in FIELDS:
            number = numbers[field.key]
            if not math.isnan(number):
                label = field.label + metrics.get(field.metric, "")
                rows.append((label, field.text(number, field.unit_in(units))))
        rows += [
            (f"expected {line.label}", f"{line.value} (95% CI {line.ends})")
            for line in self._on_new_data
        ]
        title = f"Numbers; the baseline is {self._baseline}"
        return Table(("number", "value"), rows, title, is_detail=True)

    def _fields(self) -> dict[str, Any]:
        return {
            "study_name": self.study.study_name,
            **number_fields(self.record, "metric positive test_metric sampler stop_reason budget"),
            "best": self.best and number_fields(self.best, TRIAL),
            "best_is_added": self.record.best_is_added,
            **self._numbers,
            "new_data": next((line.estimate for line in self._on_new_data), None),
            "values": self.record.values,
            "settings": settings_fields(self.record),
        }


def result_of(record: SearchRecord, objective: Any = None) -> StudyResult:
    """Return the result of a search from its record. ``objective`` may be None if unknown."""
    return kind_of(record.attrs).load("result")(record, objective)


def selection_bias(record: SearchRecord) -> str:
    """Return the remark that a gain was selected, or an empty text for a single trial."""
    if len(record.done_trials) == 1:
        return ""
    return "selected: biased upward"


def why_no_best_trial(record: SearchRecord) -> str:
    """Return why a search has no best trial, and how to get one."""
    n = sum(not is_feasible(trial) for trial in record.trials)
    if n:
        return (
            f"No trial is feasible: {n} violate a constraint. Run more trials, or relax the "
            "constraints."
        )
    trials = [trial for trial in record.trials if trial.state in _ENDED_WITHOUT_VALUE]
    fix = "Look at the log."
    if CONFIG in record.attrs:
        trials = record.done_trials
        fix = "Look at the log; if training runs diverge, lower the learning rate."
    if not trials:
        return (
            "No trial is finished yet. Continue the search, with a longer max_time if it is set."
        )
    n_failed = sum(trial.state == TrialState.FAIL for trial in trials)
    return (
        f"No trial was completed: {len(trials) - n_failed} were pruned, {n_failed} failed or "
        f"diverged. {fix}"
    )


def unowned_notes(record: SearchRecord) -> list[str]:
    """Return a note on trials that may have lost their worker, and how to end these trials."""
    # Trials of Optuna's samplers in `study.optimize` do not store their worker.
    running = [trial for trial in record.trials if trial.state == TrialState.RUNNING]
    numbers = [str(trial.number) for trial in running if owner_of(trial) is None]
    if not numbers:
        return []
    subject = f"Trial {numbers[0]} is"
    each = "it"
    if len(numbers) > 1:
        subject = f"Trials {in_list(numbers)} are"
        each = "each"
    end = f"study.tell({numbers[0]}, state=optuna.trial.TrialState.FAIL)"
    sentence = f"{subject} RUNNING without a known worker."
    return [f"{sentence} If none is alive, end {each} by {end}."]


def study_notes(record: SearchRecord) -> list[str]:
    """Return the notes on the best trial's source, on lost workers, and on the study's end."""
    notes = unowned_notes(record)
    if record.best_is_added:
        sentence = "The best trial was added by study.add_trial, not evaluated by this search."
        notes.insert(0, Caution(sentence))
    reason = record.stop_reason
    if reason is None and SEARCH in record.attrs:
        notes.append(Caution("The search has not ended."))
    elif reason not in (None, "max_trial"):  # After max_trial, the number of trials says enough.
        notes.append(Detail(_ENDS.get(reason, f"The search was ended by {reason}.")))
    return notes


def gain_figure(record: SearchRecord) -> Figure:
    """Return a figure of each trial's gain over the baseline, and the best gain so far."""
    unit = units_of(record).selection
    gains = {number: unit.scale * gain for number, gain in record.gains.items()}
    floor = floor_of([*gains.values()])
    near = {number: gain for number, gain in gains.items() if gain >= floor}
    hover = [f"trial {number}: {unit.gain(record.gains[number])}" for number in near]
    series = [Series("", [*near], [*near.values()], "points", hover=hover)]
    if gains:
        best = [unit.scale * gain for gain in gains_so_far(record)]
        done = [trial.number for trial in record.done_trials]
        series.append(Series("best so far", done, best, "steps", color=1))
    over = "first complete trial"
    if record.has_baseline:
        over = "baseline of one seed"
    title = "Gains of the trials"
    if gains:
        # For functions, the recommended trial may be a different trial.
        best_number = max(record.gains, key=record.gains.__getitem__)
        best_gain = unit.gain(record.gains[best_number])
        title = f"Largest single gain: trial {best_number}, {best_gain}"
        if bias := selection_bias(record):
            title = f"{title} ({bias})"
    return Figure(
        "gain",
        title,
        "Trial",
        unit.heading(f"Gain in {record.metric_label}", is_gain=True),
        series,
        f"Dots: gains over the {over}.{not_drawn(len(gains) - len(near))}",
        if_empty="No trial was completed.",
    )


def places_figure(record: SearchRecord) -> list[Figure]:
    """Return a figure of trials and their values over one or two parameters.

    If no parameter varies, the list is empty.
    """
    title = "Parameters of the trials"
    varied, trials = places_of(record)
    if not varied:
        return []
    names = varied[:2]
    unit = units_of(record).selection
    metric = unit.heading(record.metric_label)
    x_label, y_label = [*names, metric][:2]
    values = []
    hover = []
    rings: tuple[list[Any], list[Any]] = ([], [])
    columns: tuple[list[Any], list[Any]] = ([], [])
    for trial, value in zip(trials, record.values, strict=True):
        params = {name: trial.params[name] for name in names}
        values.append(unit.scale * value)
        where = params_in_words(params)
        hover.append(f"trial {trial.number}: {unit.value(value)} at {where}")
        place = [*params.values(), unit.scale * value][:2]
        is_best = record.best is not None and trial.number == record.best.number
        if is_best:
            # For functions, this is the recommended trial, although another trial may have a
            # better single value.
            title = f"Trial {trial.number}: {record.metric_label} {unit.value(value)} at {where}"
        for axis, coordinate in enumerate(place):
            columns[axis].append(coordinate)
            if is_best:
                rings[axis].append(coordinate)
    distributions = [trials[0].distributions[name] for name in names]
    axes = zip("xy", distributions, strict=False)
    logs = [axis for axis, distribution in axes if getattr(distribution, "log", False)]
    points = Series("", *columns, "points", hover=hover, values=values)
    caption = ""
    if record.best is not None:
        caption = f"Ring: trial {record.best.number}."
    if _are_ranked(varied, trials):
        ranking = "Of the parameters, these two matter most for the best trials."
        caption = f"{caption} {ranking}".lstrip()
    return [
        Figure(
            "places",
            title,
            x_label,
            y_label,
            [points, Series("", *rings, "rings", color=1)],
            caption,
            value_label=metric,
            lower_is_better=record.is_minimized,
            log="".join(logs),
        )
    ]


def gains_so_far(record: SearchRecord) -> list[float]:
    """Return the best gain after each finished trial, or 0 before the first gain."""
    gains = (record.improvement(best, record.baseline) for best in bests_so_far(record))
    return [gain if math.isfinite(gain) else 0.0 for gain in gains]


def bests_so_far(record: SearchRecord) -> list[float]:
    """Return the best value after each finished trial, or NaN before the first value."""
    values = dict(record.numbered_values)
    bests = []
    best = math.nan
    for trial in record.done_trials:
        value = values.get(trial.number, math.nan)
        if record.improvement(value, best) > 0 or math.isnan(best):
            best = value
        bests.append(best)
    return bests


def places_of(record: SearchRecord) -> tuple[list[str], list[FrozenTrial]]:
    """Return the parameters that have several values, and the trials with a finite value.

    Three or more parameters are sorted by their importance, if there are enough trials. The
    importance of a parameter is its effect on being among the best 10% of trials, by PED-ANOVA
    (Watanabe et al. 2023, IJCAI).
    """
    values = dict(record.numbered_values)
    trials = [trial for trial in record.done_trials if trial.number in values]
    names = _varied(trials)
    if _are_ranked(names, trials):
        # This import is here, because it loads scikit-learn, which is slow.
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            evaluator = PedAnovaImportanceEvaluator()
            study = _study_of(record, trials)
            names = [*get_param_importances(study, evaluator=evaluator, params=names)]
    return names, trials


def _varied(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the parameters that all trials have and that take several values."""
    if not trials:
        return []
    names = sorted(set.intersection(*(set(trial.params) for trial in trials)))
    return [name for name in names if len({str(trial.params[name]) for trial in trials}) > 1]


def _are_ranked(names: Sequence[str], trials: Sequence[FrozenTrial]) -> bool:
    """Return whether parameters are sorted by importance."""
    return len(names) > 2 and len(trials) >= _FEWEST_TRIALS


def _study_of(record: SearchRecord, trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a copy in memory of a study with ``trials``. Results must not read a database."""
    logger = logging.getLogger("optuna.storages._in_memory")
    own_thread = threading.get_ident()

    def is_of_others(_: logging.LogRecord) -> bool:
        return threading.get_ident() != own_thread

    logger.addFilter(is_of_others)
    try:
        study = optuna.create_study(direction=record.study.direction)
    finally:
        logger.removeFilter(is_of_others)
    study.add_trials(trials)
    return study
