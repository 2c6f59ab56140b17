"""A document: everything that a result says, as plain data that each surface renders."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from adnn_optuna._units import PLAIN, Estimate, Unit, printable

Verdict = Literal[
    "replicates",
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
    "claimed",
    "exact",
    "within tolerance",
    "breached",
    "cannot check",
]
"""What a result concludes, in a word by which a page can colour it."""

TONES: Mapping[str, str] = {
    **dict.fromkeys(("replicates", "better", "shown", "exact", "within tolerance"), "good"),
    **dict.fromkeys(("worse", "overstated", "breached"), "bad"),
    **dict.fromkeys(("equivalent", "not worse"), "even"),
}
"""The color of a verdict; all others are quiet."""

Mark = Literal[
    "line",
    "steps",
    "dashes",
    "thin",
    "points",
    "triangles",
    "squares",
    "diamonds",
    "rings",
    "box",
    "bars",
]
"""How a series is drawn. ``bars`` is a histogram of ``x``, ``box`` a box plot of ``x``."""

MAX_TITLE = 60
"""The most characters of a title."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A labelled estimate, with a short remark on what it is of."""

    label: str
    estimate: Estimate
    unit: Unit
    is_difference: bool = False
    remark: str = ""

    @property
    def value(self) -> str:
        """The value as text."""
        write = self.unit.gain if self.is_difference else self.unit.value
        return write(self.estimate.value)

    @property
    def ends(self) -> str:
        """The ends of the confidence interval as text; empty without any."""
        low, high = self.estimate[1:]
        if math.isnan(low) or (math.isinf(low) and math.isinf(high)):
            return ""
        if self.is_difference:
            return self.unit.bare.interval(low, high)
        return f"{self.unit.bare.value(low)} to {self.unit.bare.value(high)}"


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of texts below headings.

    Attributes:
        headings: The headings of the columns, the first of which names the rows.
        rows: The rows, as texts.
        title: What the table is of.
        n_shown: How many of its columns text shows; pages show all.
        is_detail: Whether only pages, and texts with details, show it.
        verdict_column: The column that holds verdicts, which pages colour.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    n_shown: int = 5
    is_detail: bool = False
    verdict_column: int | None = None


@dataclasses.dataclass(frozen=True)
class Series:
    """Numbers that are drawn alike.

    Attributes:
        label: What the legend says; empty if nothing.
        x, y: The places; :obj:`None` leaves a gap.
        mark: How they are drawn.
        low, high: The ends of intervals: a band along a line, error bars of points (along x if the
            figure has rows, else along y).
        hover: What each point says.
        color: The number of its color; :obj:`None` is the grey of controls.
        values: What the color of each point shows, on a scale from worse to better.
        text: What stands above each point.
    """

    label: str
    x: Sequence[Any]
    y: Sequence[Any]
    mark: Mark = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    hover: Sequence[str] = ()
    color: int | None = 0
    values: Sequence[float] = ()
    text: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Figure:
    """Series of numbers with labels.

    Attributes:
        key: A name of letters and hyphens that is unique in the document.
        title: What it shows.
        x_label, y_label: What the axes show, with units.
        series: What is drawn, the first one at the back.
        caption: How to read it, in a sentence or two.
        rows: The labels of y = 0, 1, …, from the top, if these are rows.
        margin: Half the width of the grey band around x = 0; NaN without that line.
        target: A y that a line marks; NaN without.
        value_label: What the color scale shows.
        lower_is_better: Whether low values are the better ones on this scale.
        log: Which axes are logarithmic: "", "x", "y" or "xy".
        if_empty: What it says without anything to draw.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    caption: str = ""
    rows: Sequence[str] = ()
    margin: float = math.nan
    target: float = math.nan
    value_label: str = ""
    lower_is_better: bool = False
    log: str = ""
    if_empty: str = "There is nothing to draw yet."


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image with a caption.

    Attributes:
        pixels: An array of numbers from 0 to 1, of shape (height, width[, 3]).
        caption: What it shows.
    """

    pixels: Any
    caption: str


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures below a title, which pages show."""

    title: str
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Document:
    """Everything that a result says. Every surface shows all of it.

    Attributes:
        title: What the result is of and what it shows, at most 60 characters.
        verdict: The conclusion in a word.
        conclusion: The conclusion in one or a few sentences.
        scope: What it rests on, such as ``"30 trials, 10 new seeds"``.
        estimates: The numbers that carry the conclusion.
        level: The level of their confidence intervals.
        subject: What was selected, such as a trial with its parameters.
        tables: Further numbers.
        figures: The first one is the most important.
        draw: What returns further figures that take long to compute, so that only surfaces with
            figures compute them, see :meth:`all_figures`.
        galleries: Pictures of examples.
        notes: What a reader must know to judge it; each is said once.
        next_step: What to run next.
        fields: All numbers by keys, as JSON holds them.
    """

    title: str
    verdict: Verdict
    conclusion: str = ""
    scope: str = ""
    estimates: Sequence[Line] = ()
    level: float = 0.95
    subject: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    draw: Callable[[], Sequence[Figure]] = tuple
    galleries: Sequence[Gallery] = ()
    notes: Sequence[str] = ()
    next_step: str = ""
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.verdict in get_args(Verdict), self.verdict
        # Whatever a study or a contract holds, no surface is to obey it.
        for field in dataclasses.fields(self):
            if field.name != "fields":  # JSON escapes by itself.
                object.__setattr__(self, field.name, _printable(getattr(self, field.name)))
        object.__setattr__(self, "title", shortened(self.title, MAX_TITLE))

    def all_figures(self) -> list[Figure]:
        """Return all figures."""
        return [*self.figures, *_printable(self.draw())]

    @property
    def interval_name(self) -> str:
        """What the intervals of the estimates are, such as ``"95% CI"``."""
        return f"{100 * self.level:.9g}% CI"


def estimates_figure(key: str, title: str, lines: Sequence[Line], caption: str = "") -> Figure:
    """Return a figure of estimates with their confidence intervals, one in each row."""
    unit = lines[0].unit if lines else PLAIN
    values, low, high = ([unit.scale * line.estimate[i] for line in lines] for i in range(3))
    hover = [f"{line.label}: {line.value} {line.ends}".strip() for line in lines]
    squares = Series("", values, range(len(lines)), "squares", low=low, high=high, hover=hover)
    is_difference = all(line.is_difference for line in lines)
    return Figure(
        key=key,
        title=title,
        x_label=unit.heading("difference" if is_difference else "value", is_gain=is_difference),
        y_label="",
        series=[squares],
        caption=caption or "Squares: estimates with their CI.",
        rows=[line.label for line in lines],
        margin=0.0 if is_difference else math.nan,
    )


def shortened(text: str, width: int) -> str:
    """Return a text that has at most so many characters."""
    text = printable(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _printable(value: Any, keep: str = "") -> Any:
    """Return a part of a document with all of its texts printable; only headings have lines."""
    if isinstance(value, str):
        return printable(value, keep)
    if isinstance(value, Unit | Estimate) or not isinstance(value, Sequence):
        if not dataclasses.is_dataclass(value):
            return value
        changed = {
            field.name: _printable(
                getattr(value, field.name), "\n" if field.name == "headings" else keep
            )
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **changed)  # type: ignore[type-var]
    return tuple(_printable(part, keep) for part in value)
