"""How comparisons of models, and of any values, are told: which is best, and is that shown."""

from __future__ import annotations

import textwrap
from typing import Any

import plotly.graph_objects as go

from adnn_optuna._units import ACCURACY
from adnn_optuna.plots._comparison import plot_by_seed
from adnn_optuna.reporting import parts
from adnn_optuna.reporting.pages import Page, so_far, told_page
from adnn_optuna.results.arm_values import VALUE, ArmValues
from adnn_optuna.stats.paired_differences import PairedDifference

_WORDS = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "not worse": "not worse than",
    "inconclusive": "not shown to differ from",
}


def claim(facts: ArmValues) -> str:
    """Return which arm is the best, and whether it is better than each other, in a sentence."""
    if not facts.n_values:
        known: Any = facts
        if hasattr(facts, "used") and not any(facts.values.values()):
            return f"Nothing is known of the {facts.arm}s yet, {so_far(known, 'trainings')}"
        first = f"{facts.per} {facts.names[0]}"
        return f"Nothing is known of all {facts.arm}s together: measure each at {first}."
    best, unit = facts.ranked[0], facts.unit
    judged = []
    for row in facts.paired_differences:
        if best in {row.arm, row.other}:
            shown = row if row.arm == best else row.turned()
            is_of_all = shown.n_pairs == facts.n_values or not facts.is_paired
            of = "" if is_of_all else f" over {shown.n_pairs} {facts.per}s"
            evidence = f"{unit.gain(shown.mean)}{of}, {parts.with_interval(shown, unit)}"
            judged.append(
                f"{_WORDS[str(shown.verdict)]} {shown.other}{_how(facts, shown)} ({evidence})"
            )
    kind = ", for new data of this kind" if facts.is_of_new_data else ""
    scope = parts.scope(facts.paired_differences, facts.per if facts.is_paired else "")
    lower = "" if facts.maximize else ", lower being better"
    mean = unit.value(facts.compared[best].mean())
    leaders = [label for label in facts.ranked if unit.value(facts.compared[label].mean()) == mean]
    have, it = ("have", best) if leaders[1:] else ("has", "it")
    return (
        f"{parts.listed(leaders)} {have} the best mean {facts.score}, {mean} over "
        f"{_size(facts)}{lower}; {it} is {', '.join(judged)}{kind}. "
        f"{scope[:1].upper()}{scope[1:]}."
    )


def _how(facts: ArmValues, row: PairedDifference) -> str:
    """Return whether what is better or worse is so for most seeds, or on average."""
    if row.verdict not in ("better", "worse"):
        return ""
    return f" {parts.in_most(row, facts.per if facts.is_paired else '')}"


def _size(facts: ArmValues) -> str:
    """Return how many values each arm has."""
    if not facts.is_paired:
        return f"{parts.listed([*map(str, map(len, facts.compared.values()))])} values"
    return f"{facts.n_values} {facts.per}{'s' * (facts.n_values > 1)}"


def caveat(facts: ArmValues) -> str:
    """Return what to think of the claim."""
    said = []
    if facts.sources:
        drawn = parts.listed(facts.sources)
        said.append(f"Each seed draws {drawn} afresh, the same for all models.")
    where = "what these values are of" if facts.score == VALUE else "this data set"
    assumed = "differences are symmetric about their centre"
    if not facts.is_paired:
        assumed = "the values are independent of each other and their means about normal"
    scope = f"All is said of {where}, and assumes that {assumed}."
    if facts.is_of_new_data:
        scope = (
            "Splits of one data set overlap, for which intervals for new data allow, but only "
            "about, and as if differences were normal."
        )
    used = (
        f"Whoever picks one of the {facts.arm}s by this test has used it: what it gives is no "
        "longer that of untouched data."
    )
    others = parts.others_in_words("Models of the same data are", facts.like)
    return " ".join(filter(None, [*said, scope, used, others]))


def text(facts: ArmValues) -> str:
    """Return the table of means and, below it, the verdict on each two arms."""
    if not facts.n_values:
        return claim(facts)
    unit = facts.unit
    body = [(parts.shortened(label, 40), mean) for label, mean in _means(facts)]
    notes = [parts.what_is_shown(facts.n_values, facts.per)]
    if not facts.is_paired:
        notes = [f"mean ± standard deviation over {_size(facts)}"]
    if facts.n_test:
        size = f"{facts.n_test} test examples"
        notes.append(f"one of {size}: {100 / facts.n_test:.2g} pp" if unit is ACCURACY else size)
    if not facts.maximize:
        notes.append("lower is better; a difference is by how much the first is better")
    shown: Any = {"unit": unit, "per": facts.per if facts.is_paired else ""}
    lines = [
        *parts.aligned([(facts.arm, unit.heading(facts.score))], body),
        *("; ".join(notes), ""),
        *parts.verdict_lines(
            *(
                facts.paired_differences,
                facts.score,
                facts.margin,
                _intervals_in_words(facts),
            ),
            **shown,
        ),
    ]
    for row in _of_these_rows(facts):
        said = f"{parts.pair(row)} {parts.interval(row, unit)}, {row.verdict}"
        lines.append(f"on these rows alone: {said}")
    lines += ["", *textwrap.wrap(f"{claim(facts)} {caveat(facts)}", 98)]
    return "\n".join(lines)


def _of_these_rows(facts: ArmValues) -> list[PairedDifference]:
    """Return the differences on the data as they are, if their test examples are known."""
    return facts.on_these_rows if facts.is_of_new_data and facts.n_test else []


def _means(facts: ArmValues) -> list[tuple[str, str]]:
    """Return each arm with its mean, as text."""
    return [
        (str(label), parts.mean_and_std(row, facts.column, facts.unit))
        for label, row in facts.table().iterrows()
    ]


def _intervals_in_words(facts: ArmValues) -> str:
    """Return what the intervals promise."""
    how = ""
    if not facts.is_paired:
        how = "Welch's, for the planned numbers of values"
    elif facts.is_of_new_data and not facts.n_test:
        how = parts.FOR_NEW_DATA.format(per=facts.per)
    return parts.interval_in_words(
        {f"{facts.arm}s": len(facts.paired_differences)},
        sequential=facts.sequential,
        of_new_data=facts.is_of_new_data and not how,
        how=how,
    )


def figure(facts: ArmValues) -> go.Figure:
    """Return the values, with a line for each seed."""
    per = facts.per if facts.is_paired else ""
    values = {label: facts.values[label] for label in facts.ranked}
    names = [f"{per} {name}" for name in facts.names]
    return plot_by_seed(values, facts.score, unit=facts.unit, per=per, names=names)


def page(facts: ArmValues) -> Page:
    """Return the report."""
    name = f"{facts.arm.capitalize()}s {getattr(facts, 'study_name', 'by their values')}"
    if not facts.n_values:
        return told_page(name, claim(facts), figure(facts))
    mean = f"{facts.score}, mean ± standard deviation over {_size(facts)}"
    tables: list[Any] = [("", ("", mean), _means(facts))]
    if _of_these_rows(facts):
        ends = [
            (parts.pair(row), str(row.verdict), parts.interval(row, facts.unit))
            for row in _of_these_rows(facts)
        ]
        tables.append(("On these rows alone", ("", "verdict", "interval"), ends))
    shown: Any = {"tables": tables, "models": facts, "intervals": _intervals_in_words(facts)}
    return told_page(name, claim(facts), figure(facts), caveat(facts), **shown)
