"""Write values and texts for people, such as an accuracy in percent."""

import math
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from adnn_optuna._checks import printable


class Estimate(NamedTuple):
    """A value with the ends of its confidence interval. Unknown ends are NaN."""

    value: float
    low: float = math.nan
    high: float = math.nan


def score_sign(*, maximize: bool) -> int:
    """Return the sign that makes higher values better when values are multiplied by it."""
    return 1 if maximize else -1


def excess_over(estimate: Estimate, reported: float, *, maximize: bool) -> Estimate:
    """Return how much better a reported value is than an estimate, with a CI."""
    sign = score_sign(maximize=maximize)
    value, *ends = (sign * (reported - end) for end in estimate)
    return Estimate(value, min(ends), max(ends))


def estimate_around(value: float, half: float) -> Estimate:
    """Return a value with a symmetric CI of this half width."""
    return Estimate(value, value - half, value + half)


UNKNOWN = Estimate(math.nan)
# If an end of a CI is still 0 with this number of additional digits, it is written as 0.
_DIGITS_OF_ERRORS = 6
_LONGEST = 20  # Longer numbers have exponents.
_MOST_DECIMALS = 5  # If a number needs more decimals, it has an exponent.


class Unit(NamedTuple):
    """The unit in which a metric's values are written."""

    scale: float  # Written values are multiplied by this factor, such as 100 for percent.
    digits: int  # The number of digits after the point.
    of_values: str  # The suffix of a value.
    of_gains: str  # The suffix of the difference of two values.
    largest: float = math.inf  # The largest possible difference of two values.

    @property
    def bare(self) -> Self:
        """The unit without suffixes, for columns whose heading has the unit."""
        return self._replace(of_values="", of_gains="")

    def fitted(self, spreads: Sequence[float], largest: float) -> Self:
        """Return the unit with enough digits for values of this spread and size."""
        if not 0 < largest < math.inf:
            return self
        size = math.floor(math.log10(largest))
        digits = min(max(4, 2 - size), 4 - size)
        # Write three digits of the smallest spread, but at most nine digits of the largest value.
        varying = [spread for spread in spreads if spread > 1e-12 * largest]
        if varying:
            size_of_spread = math.floor(math.log10(min(varying)))
            digits = min(2 - size_of_spread, 8 - size)
        return self._replace(digits=max(digits, 0))

    def rounded_to(self, ends: Estimate) -> Self:
        """Return the unit with as many decimals as two digits of a CI's half width need."""
        width = self.scale * (ends.high - ends.low) / 2
        if not 0 < width < math.inf:
            return self
        size = math.floor(math.log10(width))
        digits = min(max(1 - size, 0), 15)
        return self._replace(digits=digits)

    def value(self, value: float) -> str:
        """Return a value as text."""
        if math.isnan(value):
            return "unknown"
        text = self._number(value)
        if value and not float(text):
            text = f"{self.scale * value:.2g}"
        return f"{text}{self.of_values}"

    def difference(self, value: float, other: float) -> float:
        """Return the difference of two rounded values, to agree with the written values."""
        shown, other_shown = (round(self.scale * each, self.digits) for each in (value, other))
        return (shown - other_shown) / self.scale

    def _number(self, value: float, sign: str = "") -> str:
        scaled = self.scale * value
        text = f"{scaled:{sign}.{self.digits}f}"
        if self.digits > _MOST_DECIMALS and abs(scaled) < 1e-4:
            rounded = float(text)
            if not rounded:
                return f"{rounded:{sign}.0f}"
            size = math.floor(math.log10(abs(rounded)))
            return f"{rounded:{sign}.{self.digits + size}e}"
        if len(text) <= _LONGEST:
            return text
        return f"{scaled:{sign}.3g}"

    def gain(self, gain: float) -> str:
        """Return a difference as text with its sign. If it is rounded to 0, it has no sign."""
        if math.isnan(gain):
            return "unknown"
        text = self._number(gain, "+")
        if not float(text):
            text = text[1:]
        return f"{text}{self.of_gains}"

    def size(self, difference: float) -> str:
        """Return a difference as text without its sign."""
        return self.gain(abs(difference)).lstrip("+")

    def interval(self, low: float, high: float) -> str:
        """Return the CI of a difference as text, clipped to possible values.

        If an end is not 0, it keeps its sign, such as ``+0.00``.
        """
        ends = []
        for end in (low, high):
            size = self.scale * math.copysign(min(abs(end), self.largest), end)
            text = self._number(size / self.scale, "+")
            if abs(size) <= 10.0 ** -(self.digits + _DIGITS_OF_ERRORS):
                text = text[1:]
            ends.append(text)
        return f"{' to '.join(ends)}{self.of_gains}"

    def margin(self, margin: float) -> str:
        """Return a margin as text, such as ``"±0.1 pp"``."""
        return f"±{self.scale * margin:g}{self.of_gains}"

    def heading(self, of: str, *, is_gain: bool = False) -> str:
        """Return the heading of an axis or a column, with the unit of its values or gains."""
        unit = self.of_values
        if is_gain:
            unit = self.of_gains
        if unit.strip():
            return f"{of} [{unit.strip()}]".strip()
        return of


ACCURACY = Unit(100, 2, "%", " pp", largest=1.0)
PLAIN = Unit(1, 4, "", "")
SHARE = Unit(1, 4, "", "", largest=1.0)
R2 = Unit(1, 4, "", "")
COUNT = Unit(1, 0, "", "")
SECONDS = Unit(1, 2, "", "")


# These metrics of classes are within [0, 1], but are not a share of correct examples.
_SHARES = re.compile(r"(^|_)(auc|f1|f_?beta|precision|recall|sensitivity|specificity|iou)(_| |$)")
_SHORT = {name: name.upper() for name in ("auc", "f1", "rmse", "mae", "mse")} | {"r2": "R²"}


def columns(character: str) -> int:
    """Return the number of terminal columns of a character: two if it is wide (East Asian)."""
    if unicodedata.east_asian_width(character) in ("F", "W"):
        return 2
    return 1


def in_list(names: Sequence[str]) -> str:
    """Return names as a list in a sentence, such as ``"a, b and c"``."""
    first = ", ".join(names[:-1])
    return " and ".join(filter(None, [first, *names[-1:]]))


def capitalized(text: str) -> str:
    """Return a text with a capital as its first letter."""
    return text[:1].upper() + text[1:]


def in_number(n: int, what: str) -> str:
    """Return a count with its noun, such as ``"1 trial"`` or ``"3 trials"``."""
    if n == 1:
        return f"{n} {what}"
    return f"{n} {what}s"


def all_of(n: int, things: str) -> str:
    """Return the beginning of a sentence on two or more things, such as ``"All 3 runs"``."""
    if n == 2:
        return f"Both {things}"
    return f"All {n} {things}"


def in_probability(probability: float) -> str:
    """Return a probability with two decimals, or as ``"<0.01"`` or ``">0.99"``."""
    if probability < 0.01:
        return "<0.01"
    if probability > 0.99:
        return ">0.99"
    return f"{probability:.2f}"


def percent(level: float) -> str:
    """Return the level of a CI in percent, such as ``"95%"``."""
    return f"{100 * level:.9g}%"


def as_argument(file: str) -> str:
    """Return a file's name as an argument.

    The name is quoted for a shell, and never looks like an option.
    """
    if file.startswith("-"):
        file = f"./{file}"
    return shlex.quote(file)


def unit_of(metric: str) -> Unit:
    """Return the unit of a metric with this name."""
    if metric.endswith("accuracy"):
        return ACCURACY
    if metric.endswith("r2"):
        return R2
    if _SHARES.search(metric):
        return SHARE
    return PLAIN


def with_class(metric: str, positive: object) -> str:
    """Return a metric's name, with the positive class if the metric has one."""
    if positive is not None:
        metric = f"{metric} of class {positive!r}"
    return printable(metric)


def score_in_words(metric: str, positive: object = None) -> str:
    """Return a metric's name for sentences, with the positive class if the metric has one."""
    words = " ".join(_SHORT.get(word, word) for word in metric.split("_"))
    return with_class(words, positive)


def params_in_words(params: Mapping[str, Any]) -> str:
    """Return a trial's parameters as text. Parameters may be numbers or other values."""
    texts = []
    for name, value in params.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        texts.append(printable(f"{name}={text}"))
    return ", ".join(texts)


def duration(seconds: float) -> str:
    """Return a duration as text, in seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    if seconds < 3600:
        return f"{seconds / 60:.2g} min"
    hours = seconds / 3600
    if hours < 10:
        return f"{hours:.2g} h"
    return f"{hours:.0f} h"
