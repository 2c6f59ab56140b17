"""A document contains everything that a result says.

Renderers convert it to text, HTML, JSON and other forms.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from adnn_optuna._checks import printable
from adnn_optuna._units import Estimate, Unit, columns, percent

Verdict = Literal[
    "replicates",
    "kept",
    "not kept",
    "better",
    "equivalent",
    "not worse",
    "worse",
    "inconclusive",
    "no claim",
    "shown",
    "not shown",
    "not known",
    "overstated",
    "understated",
    "mixed",
    "claimed",
    "reproduced",
    "breached",
    "cannot check",
]
"""A result's conclusion in fixed words. It determines the colour of the title."""

TONES: Mapping[str, str] = {
    **dict.fromkeys(("replicates", "kept", "better", "shown", "reproduced"), "good"),
    **dict.fromkeys(("worse", "overstated", "breached"), "bad"),
    **dict.fromkeys(("equivalent", "not worse"), "even"),
}
"""The colors of verdicts. All other verdicts have no color."""

Mark = Literal[
    "line",
    "steps",
    "points",
    "squares",
    "hollow squares",
    "rings",
]
"""The possible ways to draw a series."""

FUNCTION = "MODULE:FUNCTION"
"""This stands for a user's function in a command. Only the command line knows the function's
name.
"""

MAX_TITLE = 60
"""The maximum number of columns of a title."""


class Caution(str):
    """A note that limits what the numbers show. Cautions come before other notes."""

    __slots__ = ()


class Detail(str):
    """A note that does not change how a number is read. Printed results omit it."""

    __slots__ = ()


class Advice(str):
    """A next step in a sentence. All other steps are commands that run as they stand."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Step:
    """The next step for the user: a command, or an :class:`Advice`.

    If ``shell`` is empty, the Python text is also valid in a shell.
    """

    python: str = ""
    shell: str = ""
    writes_report: bool = False  # Whether the step writes a report. Reports omit such a step.

    def of(self, function: str) -> "Step":
        """Return the step with the name of the user's function in a shell."""
        if FUNCTION not in self.shell:
            return self
        return dataclasses.replace(self, shell=self.shell.replace(FUNCTION, function))

    @property
    def in_shell(self) -> str:
        """The step as a shell command or, if the function's name is unknown, as a sentence."""
        step = self.shell or self.python
        if FUNCTION in step:
            return Advice(f"With your own {FUNCTION}, run {step}")
        return step

    @staticmethod
    def label(step: str) -> str:
        """Return *Advice*, or else *Next* for a command."""
        if isinstance(step, Advice):
            return "Advice"
        return "Next"


@dataclasses.dataclass(frozen=True)
class Line:
    """An estimate with a label and a short remark, such as its basis."""

    label: str
    estimate: Estimate
    unit: Unit
    is_difference: bool = False
    remark: str = ""

    @property
    def value(self) -> str:
        """The estimate's value as text."""
        write = self.unit.gain if self.is_difference else self.unit.value
        return write(self.estimate.value)

    @property
    def ends(self) -> str:
        """The ends of the CI as text, clipped to possible values; empty without a CI."""
        _, low, high = self.estimate
        if not math.isfinite(high - low):
            return ""
        unit = self.unit.bare
        most = self.unit.largest
        if self.is_difference:
            return unit.interval(low, high)
        least = 0.0 if most == 1 else -most
        return f"{unit.value(max(low, least))} to {unit.value(min(high, most))}"


def difference(label: str, estimate: Estimate, unit: Unit, remark: str) -> Line:
    """Return the line of a difference, with the decimals that its CI supports."""
    return Line(label, estimate, unit.rounded_to(estimate), is_difference=True, remark=remark)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of texts below headings. The first column names the rows."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    is_detail: bool = False  # Only pages, and texts with details, show the table.


@dataclasses.dataclass(frozen=True)
class Series:
    """Numbers that are drawn in one style.

    ``low`` and ``high`` are the ends of intervals, drawn as a band around a line or as error bars
    at points. If the figure has rows, error bars are parallel to x, otherwise to y.
    """

    label: str  # The label is to the right of the last point. An empty text means no label.
    x: Sequence[Any]
    y: Sequence[Any]  # None leaves a gap.
    mark: Mark = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    hover: Sequence[str] = ()  # A text for each point.
    color: int | None = 0  # The number of the series' color, or None for the grey of controls.
    # Each point's number on the color scale, which runs from worst to best.
    values: Sequence[float] = ()
    text: Sequence[str] = ()  # A label of each point.
    text_at: Sequence[str] = ()  # A position such as "bottom left". The default is above.


@dataclasses.dataclass(frozen=True)
class Figure:
    """Series of numbers. Axis labels name the units. The first series is drawn first."""

    key: str  # A name of letters and hyphens that is unique in the document.
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    caption: str = ""  # One or two sentences that say how to read the figure.
    # The labels of the rows y = 0, 1, … from the top. If empty, y has a usual axis.
    rows: Sequence[str] = ()
    # Half the width of a grey band around x = 0, or NaN for no band.
    margin: float = math.nan
    target: float = math.nan  # The height of a horizontal line, or NaN for no line.
    value_label: str = ""  # The name of the color scale.
    # Whether lower values are better, also on the color scale.
    lower_is_better: bool = False
    from_zero: bool = False  # Whether the axis of x begins at 0.
    log: str = ""  # The logarithmic axes: "", "x", "y" or "xy".
    if_empty: str = "There is nothing to draw yet."

    @property
    def guide(self) -> str:
        """The caption, which says so if lower values are better."""
        if self.lower_is_better:
            return f"{self.caption} Lower is better.".lstrip()
        return self.caption


@dataclasses.dataclass(frozen=True)
class Document:
    """Everything that a result says.

    All forms, such as HTML, show the whole document, except text without details. Text without
    details has only the first estimates and notes.
    """

    title: str  # The document's subject, shortened to 60 characters.
    verdict: Verdict = "not known"
    conclusion: str = ""  # One or a few sentences.
    scope: str = ""  # The basis of the result, such as "30 trials, 10 new seeds".
    estimates: Sequence[Line] = ()  # The most important estimates come first.
    level: float = 0.95  # The level of the CIs.
    subject: str = ""  # The selected trial with its parameters, or another selection.
    tables: Sequence[Table] = ()
    # This makes the figures, the most important one first.
    draw: Callable[[], Sequence[Figure]] = tuple
    notes: Sequence[str] = ()  # Cautions come first and details last. Empty notes are removed.
    next_step: Step = Step()
    # The keys are the same as in JSON.
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.verdict in get_args(Verdict), self.verdict
        # Texts from a study or a contract must not control a terminal or a page.
        for field in dataclasses.fields(self):
            if field.name != "fields":  # JSON escapes such texts itself.
                value = getattr(self, field.name)
                object.__setattr__(self, field.name, _printable(value))
        object.__setattr__(self, "title", shortened(self.title, MAX_TITLE))
        notes = sorted(filter(None, self.notes), key=_rank)
        object.__setattr__(self, "notes", tuple(notes))

    def figures(self) -> list[Figure]:
        """Make and return the figures. No other method makes them, because some take long."""
        return [*_printable(self.draw())]

    @property
    def interval_name(self) -> str:
        """The name of the intervals, such as ``"95% CI"``."""
        return f"{percent(self.level)} CI"


def _rank(note: str) -> int:
    """Return the sorting key of a note, which puts cautions first and details last."""
    return isinstance(note, Detail) - isinstance(note, Caution)


def shortened(text: str, width: int) -> str:
    """Return a text that takes at most this many columns."""
    text = printable(text)
    ends = [*itertools.accumulate(map(columns, text))]
    if not ends or ends[-1] <= width:
        return text
    n_kept = sum(end < width for end in ends)
    return f"{text[:n_kept]}…"


def _printable(value: Any, keep: str = "") -> Any:
    """Return a part of a document with all its texts printable. Only headings keep line breaks."""
    if isinstance(value, str):
        return type(value)(printable(value, keep))
    if isinstance(value, Unit | Estimate) or not isinstance(value, Sequence):
        if not dataclasses.is_dataclass(value):
            return value
        changed = {}
        for field in dataclasses.fields(value):
            keep_in_field = keep
            if field.name == "headings":
                keep_in_field = "\n"
            changed[field.name] = _printable(getattr(value, field.name), keep_in_field)
        return dataclasses.replace(value, **changed)  # type: ignore[type-var]
    return tuple(_printable(part, keep) for part in value)
