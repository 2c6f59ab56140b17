"""Differences of arms in sentences, tables and figures, for all kinds of comparisons.

In all functions, ``per`` names what the values of a pair share, such as "seed". If values are not
paired, it is empty.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from adnn_optuna._units import Unit, all_of, capitalized, in_list, in_number, percent
from adnn_optuna.render.document import (
    TONES,
    Caution,
    Detail,
    Figure,
    Line,
    Mark,
    Series,
    Table,
    difference,
    shortened,
)
from adnn_optuna.results.sentences import unseen_notes
from adnn_optuna.stats.paired_differences import NORMAL, PairedDifference, Validity
from adnn_optuna.stats.sequential import AFTER_FIXED, ALPHA

if TYPE_CHECKING:
    import pandas as pd

_VALIDITY: Mapping[Validity, str] = {
    "fixed": Detail(
        "CIs invert sign-flip tests, for symmetric differences and the planned {per}s."
    ),
    "few": (
        "CIs of so few {per}s are Student's t, for normal differences and the planned {per}s."
    ),
    "sequential": (
        "CIs come from an e-process, for symmetric differences. They are valid after each {per}, "
        "however often you evaluate."
    ),
    "added": (
        "Seeds or arms were added to a fixed design. To allow for it, CIs come from an e-process "
        "at 99%, for symmetric differences. They are valid after each {per}, however often you "
        "evaluate."
    ),
    "unpaired": Detail(
        "CIs cover those of a studentized permutation test and Welch's, for planned numbers of "
        "independent values, and for arms that differ in their means only."
    ),
    "new data": (
        "CIs are for new data of this kind (Nadeau and Bengio), at the planned {per}s. The "
        "correction for overlapping splits is approximate."
    ),
}

_RELATIONS = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "not worse": "not worse than",
    "inconclusive": "not shown to differ from",
    None: "not compared with",
}
LABEL_WIDTH = 14  # A row with two such labels, a CI and a verdict fits into 80 columns.
_N_NAMED = 3  # The number of arms that a sentence lists by name.
_FEW_TIES = 0.2  # A note is shown if more than this share of all pairs are ties.
_VISIBLE = 0.01  # If a band is narrower than this share of the figure, its text is omitted.


def short_labels(labels: Collection[str]) -> dict[str, str]:
    """Return unique short labels, which fit into tables and figures, by their long labels.

    A long label keeps its beginning and end. Short labels that are not unique are numbered.
    """
    short = {label: _without_middle(label) for label in labels}
    if len({*short.values()}) == len(short):
        return short
    return {
        label: f"{shortened(label, LABEL_WIDTH - 4)} #{i}" for i, label in enumerate(labels, 1)
    }


def _without_middle(text: str) -> str:
    """Return a text without its middle if it is longer than the maximum width of a label."""
    if shortened(text, LABEL_WIDTH) == text:
        return text
    end = shortened(text[::-1], LABEL_WIDTH // 2)[::-1]
    return shortened(text, LABEL_WIDTH // 2 + 1) + end.removeprefix("…")


def with_short_labels(
    rows: Iterable[PairedDifference], labels: Collection[str]
) -> list[PairedDifference]:
    """Return the differences with short labels. ``labels`` are the labels of all arms."""
    short = short_labels(labels)
    return [dataclasses.replace(row, arm=short[row.arm], other=short[row.other]) for row in rows]


def pair(row: PairedDifference) -> str:
    """Return the names of the two arms of a difference, such as "a vs b"."""
    return f"{row.arm} vs {row.other}"


def named(labels: Sequence[str]) -> str:
    """Return labels as a part of a sentence, which lists only the first of many labels."""
    if len(labels) > _N_NAMED + 1:
        return f"{', '.join(labels[:_N_NAMED])} and {len(labels) - _N_NAMED} others"
    return in_list(labels)


def named_are(labels: Sequence[str]) -> str:
    """Return labels and "is" or "are", such as ``"a is"`` or ``"a and b are"``."""
    return f"{named(labels)} {'are' if labels[1:] else 'is'}"


def first_gap(labels: Sequence[str], first: str, per: str = "seed") -> str:
    """Return the sentence that these arms' first value is missing, so no pair counts."""
    have = "has" if len(labels) == 1 else "have"
    return (
        f"{named(labels)} {have} no finite value at {first}, and only {per}s before such a gap "
        "count."
    )


def relation(row: PairedDifference, labels: str) -> str:
    """Return the verdict and the labels in words, such as ``"better than b on average"``."""
    verdict = f"{_RELATIONS[row.verdict]} {labels}"
    if row.verdict in ("better", "worse"):
        return f"{verdict} on average"
    return verdict


def with_assumption(claims: Sequence[str], rows: Iterable[PairedDifference]) -> Sequence[str]:
    """Return claims with the assumptions of the verdicts of ``rows``, without final periods."""
    assumed = in_list([*dict.fromkeys(filter(None, map(_assumed, rows)))])
    if not assumed:
        return claims
    if len(claims) == 1:
        return [f"{claims[0]}, assuming {assumed}"]
    return [*claims, f"All claims assume {assumed}"]


def _assumed(row: PairedDifference) -> str:
    """Return what a verdict assumes, or an empty text for an inconclusive verdict."""
    if row.verdict in ("inconclusive", None):
        return ""
    return row.assumption


def difference_line(row: PairedDifference, unit: Unit) -> Line:
    """Return a line with the mean difference, its CI, its verdict and the win rate."""
    line = difference(pair(row), row.estimate, unit, row.verdict or "no claim")
    remark = line.remark
    if row.verdict == "not worse":
        remark = f"{remark} (one-sided 95% bound: {unit.gain(row.at_least)})"
    if row.n_pairs > 1:
        remark = f"{remark}, win rate {_percent(row.win_rate)}"
    return dataclasses.replace(line, remark=remark)


def differences_table(
    rows: Sequence[PairedDifference],
    unit: Unit,
    validity: Validity,
    *,
    per: str = "seed",
    title: str = "",
    is_detail: bool = False,
) -> Table:
    """Return a table with the CI, win rate and verdict of each difference."""
    in_unit = f"\n{unit.heading('', is_gain=True)}".rstrip()
    body = []
    for row in rows:
        line = difference_line(row, unit.bare)
        cells = [pair(row), line.value, line.ends or "none", _percent(row.win_rate)]
        cells += [row.verdict or "no claim", line.unit.gain(row.worst)]
        cells.append(str(row.n_pairs))
        body.append(cells)
    interval = f"{100 * level_of(validity):.0f}% CI"
    headings = ["", f"difference{in_unit}", f"{interval}{in_unit}", "win\nrate", "verdict"]
    headings += [f"worst\n{per}", f"{per or 'value'}s"]
    return Table(headings, body, title, is_detail=is_detail)


def _percent(share: float) -> str:
    if math.isnan(share):
        return "unknown"
    return f"{100 * share:.0f}%"


def gains_axis(text: str, unit: Unit, *, maximize: bool) -> str:
    """Return the heading of an axis of gains, which says what is better for minimized values."""
    if not maximize:
        text = f"{text}, positive is better"
    return unit.heading(text, is_gain=True)


def difference_notes(
    rows: Sequence[PairedDifference],
    unit: Unit,
    validity: Validity,
    *,
    per: str = "seed",
    n_claims: Mapping[str, int],
    maximize: bool = True,
) -> list[str]:
    """Return the notes on differences, without duplicates.

    ``n_claims`` maps each family of claims, such as "samplers", to its number of claims.
    """
    notes = []
    if not maximize:
        notes.append("Lower values are better; above 0, the first of the two is better.")
    verdicts = {row.verdict for row in rows}
    margin = next((row.margin for row in rows if row.margin is not None), None)
    if margin is not None:
        within = unit.margin(margin)
        equivalent = f"Equivalent: the whole CI is within {within}."
        notes.append(equivalent if "equivalent" in verdicts else Detail(equivalent))
        if "not worse" in verdicts:
            bound = "one-sided bound, at the same level,"
            if validity in ("sequential", "added"):
                bound = "CI"
            notes.append(f"Not worse: the {bound} is above {within.replace('±', '-')}.")
    families = [f"the {n} claims on {what}" for what, n in n_claims.items() if n > 1]
    if families and any(math.isfinite(row.low) for row in rows):
        level = f"{100 * level_of(validity):.0f}%"
        notes.append(f"CIs have a joint level of {level} for {' and for '.join(families)}.")
    notes += validity_notes(rows, validity, per)
    n_pairs = min((row.n_pairs for row in rows), default=0)
    unseen = unseen_notes(n_pairs, per or "value")
    if verdicts <= {"worse", "inconclusive", None}:
        unseen = [*map(Detail, unseen)]
    notes += unseen
    on_equal = filter(None, [_ties_note(rows), _equal_note(rows)])
    return [*_reasons(rows), *on_equal, *notes, *_reading_notes(per)]


def _ties_note(rows: Sequence[PairedDifference]) -> str:
    """Return the note on pairs with equal values, or an empty text if there are few."""
    claims = [row for row in rows if row.verdict]
    n_ties = sum(row.n_ties for row in claims)
    n_pairs = sum(row.n_pairs for row in claims)
    if n_ties <= max(1, _FEW_TIES * n_pairs):
        return ""
    if n_ties == n_pairs:
        names = named([pair(row) for row in claims if row.n_pairs])
        return Caution(f"{all_of(n_pairs, 'differences')} are 0 ({names}).")
    return Caution(
        f"{n_ties} of {n_pairs} pairs have equal values, which count half in win rates."
    )


def _equal_note(rows: Sequence[PairedDifference]) -> str:
    """Return the note on CIs of equal differences, or an empty text."""
    claims = [row for row in rows if math.isfinite(row.low) and row.n_pairs > 1]
    names = [pair(row) for row in claims if row.is_constant]
    if not names:
        return ""
    return (
        f"{named(names)}: all differences are equal. So the CI is widened by the smallest gap "
        "between two values."
    )


def level_of(validity: Validity) -> float:
    """Return the joint level of all CIs of a design, such as 0.95."""
    if validity == "added":
        return 1 - ALPHA / AFTER_FIXED
    return 1 - ALPHA


def validity_notes(rows: Sequence[PairedDifference], validity: Validity, per: str) -> list[str]:
    """Return notes on the validity of a design's CIs and on their assumptions.

    Without a CI, the list is empty. If seeds were added, there is still a note, because they make
    later CIs wider.
    """
    pairs = dict[Validity, list[str]]()
    for row in rows:
        if math.isfinite(row.low) or validity == "added":
            is_by_t = validity == "fixed" and row.assumption == NORMAL
            pairs.setdefault("few" if is_by_t else validity, []).append(pair(row))
    notes = []
    for of_pairs, names in sorted(pairs.items()):
        note = _VALIDITY[of_pairs]
        which = f"{named(names)}: " if pairs.keys() != {of_pairs} else ""
        notes.append(type(note)(which + note.format(per=per or "value")))
    return notes


def _reading_notes(per: str) -> list[Detail]:
    """Return the notes on how to read differences and win rates."""
    differences = (
        "Verdicts are on the difference of means; above 0, the first of the two is better."
    )
    compared = "all pairs of values"
    if per:
        differences = (
            f"Differences are paired by {per}; above 0, the first of the two is better. Verdicts "
            "are on the mean difference."
        )
        compared = f"{per}s"
    win_rate = (
        f"Win rate: share of {compared} in which the first of the two is better; ties count half."
    )
    return [Detail(differences), Detail(win_rate)]


def why_no_interval(rows: Sequence[PairedDifference]) -> str:
    """Return the reason why differences have no CI, if all have the same reason."""
    reasons = {row.reason for row in rows if row.reason}
    if len(reasons) == 1:
        return f"{capitalized(reasons.pop())}."
    return "No CI."


def _reasons(rows: Sequence[PairedDifference]) -> list[str]:
    """Return the notes on why verdicts are inconclusive, or why values do not count."""
    notes = list[str]()
    for reason in dict.fromkeys(row.reason for row in rows if row.reason):
        pairs = [pair(row) for row in rows if row.reason == reason]
        if len(pairs) < len(rows):
            notes.append(Caution(f"{', '.join(pairs)}: {reason}."))
        else:
            notes.append(Caution(f"{capitalized(reason)}."))
    return notes


def sources_in_words(sources: Iterable[str]) -> list[str]:
    """Return the printed names of sources of randomness.

    The stored names stay the same, because seeds depend on them.
    """
    return ["initialization" if name == "initialisation" else name for name in sources]


def test_set_note(n_elsewhere: int) -> str:
    """Return the note on other studies that evaluated the same test set, if any."""
    if not n_elsewhere:
        return ""
    return Caution(
        f"Other studies of this storage evaluated the test set {times(n_elsewhere)}. Only the "
        "first evaluation is on untouched test data."
    )


def times(n: int) -> str:
    """Return a count of actions in words, such as "once" or "2 times"."""
    if n == 1:
        return "once"
    return f"{n} times"


def other_comparisons_note(what: str, names: Sequence[str]) -> list[str]:
    """Return the note on other comparisons of the same subject in the storage, if any.

    ``what`` begins the sentence, such as "The same objective is".
    """
    if not names:
        return []
    more = in_number(len(names), "other comparison")
    overlap = f"{what} part of {more} in this storage, such as {names[0]!r}."
    why = "Each is wrong in 5% of cases, so the best of several is wrong more often."
    return [Caution(f"{overlap} {why}")]


def differences_frame(rows: Sequence[PairedDifference], arm: str) -> "pd.DataFrame":
    """Return a data frame with a row for each difference.

    Its index has two levels, which are named ``arm`` and ``other``.
    """
    import pandas as pd

    names = (
        "arm other n_pairs mean low high win_rate win_rate_low win_rate_high worst verdict reason"
    )
    records = []
    for row in rows:
        reason = row.reason
        if not reason and (assumed := _assumed(row)):
            reason = f"assuming {assumed}"
        records.append(vars(row) | {"reason": reason})
    table = pd.DataFrame(records, columns=names.split())
    table["verdict"] = table["verdict"].fillna("no claim")
    columns = {"arm": arm, "n_pairs": "pairs", "mean": "difference"}
    return table.rename(columns=columns).set_index([arm, "other"])


def interval_figure(
    key: str,
    title: str,
    x_label: str,
    lines: Sequence[Line],
    *,
    margin: float = 0.0,
    level: float = 0.95,
    hollow: Collection[str] = (),
    no_interval: str = "No CI.",
    if_empty: str = "There is nothing to draw yet.",
) -> Figure:
    """Return a figure with a row for each difference, its CI and its remark, and a line at 0.

    The band between -``margin`` and ``margin`` is shaded. Arms in ``hollow`` are drawn as rings.
    ``no_interval`` is the sentence for differences without a CI.
    """
    ci = f"{percent(level)} CI"
    series = []
    bars = no_interval
    rings = ""
    scale = 1.0
    band = ""
    for i, line in enumerate(lines):
        mark: Mark = "points"
        if line.label in hollow:
            mark = "rings"
            rings = " Rings: other uses of the same compute."
        if math.isfinite(line.estimate.low):
            bars = f"Bars: their {ci}s."
        if not math.isnan(line.estimate.value):
            series.append(_interval(i, line, ci, mark))
        scale = line.unit.scale
        if margin:
            band = f" Shaded band: differences up to {line.unit.margin(margin).lstrip('±')}."
    ends = [end for each in series for end in (*each.x, *each.low, *each.high)]
    ends = [*filter(math.isfinite, ends)]
    if ends and 2 * scale * margin < _VISIBLE * (max(ends) - min(ends)):
        band = ""
    return Figure(
        key,
        title,
        x_label,
        "",
        series,
        caption=f"Points: differences. {bars}{rings}{band}",
        rows=[line.label for line in lines],
        margin=scale * margin,
        if_empty=if_empty,
    )


def _interval(row: int, line: Line, ci: str, mark: Mark) -> Series:
    """Return a difference as a point, with a bar for its CI."""
    estimate = line.estimate
    x, low, high = ([line.unit.scale * end] for end in estimate)
    hover = f"{line.label}: {line.value}"
    if line.ends:
        hover = f"{hover}, {ci} {line.ends}"
    color = None
    if TONES.get(line.remark) == "even":
        color = 0
    elif estimate.low > 0:
        color = 2
    elif estimate.high < 0:
        color = 4
    label = ", ".join(filter(None, [line.value, line.remark]))
    return Series(label, x, [row], mark, low, high, hover=[hover], color=color)
