"""Documents that the tests of surfaces render."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from adnn_optuna._units import ACCURACY, PLAIN, UNKNOWN, Estimate
from adnn_optuna.render.document import Advice, Document, Figure, Line, Series, Step, Table

LONG = "simulated annealing, cooled slowly, from the origin of the plain network"
EVIL = "<script>alert(1)</script>"


def figures(label: str = "arm") -> list[Figure]:
    """Return figures that together use all marks."""
    rows = [f"{i}: {label}" for i in range(4)]
    x = [0.0, 1.0, 2.0, 3.0]
    ends: dict[str, Any] = {"low": [v - 0.5 for v in x], "high": [v + 0.5 for v in x]}
    return [
        Figure(
            key="rows",
            title="Differences",
            x_label="Difference [pp]",
            y_label="",
            series=[
                Series("", x, range(4), "points", text=["+1.00"] * 4, hover=rows, **ends),
                Series("", x, [0.2, 1.2, 2.2, 3.2], "squares", color=None),
                Series("+0.00 pp, equivalent", [0.0], [0], "hollow squares", color=2),
                Series("-29.07 pp, inconclusive", [3.0], [3], "squares", color=1),
            ],
            rows=rows,
            margin=0.1,
            caption=f"How to read {label}.",
        ),
        Figure(
            key="lines",
            title="Best value so far",
            x_label="Trial",
            y_label="Value",
            series=[
                Series(label, x, x, "line", **ends),
                Series("steps", x, x, "steps", color=1),
                Series("grey", x, x, color=None),
            ],
            target=2.0,
        ),
        Figure(
            key="places",
            title="Places",
            x_label="x",
            y_label="y",
            series=[
                Series("", x, x, "points", values=x, hover=rows),
                Series("", [1.0], [1.0], "rings", color=1),
            ],
            value_label="value",
        ),
        Figure("empty", "Nothing", "Value", "Runs", [Series(label, [], [])]),
    ]


def document(label: str = "annealing", **changes: Any) -> Document:
    """Return a document that has every part and contains the given name in each of its texts."""
    parts: dict[str, Any] = {
        "title": f"{label}: shown",
        "verdict": "better",
        "conclusion": f"The arm {label} is better.",
        "scope": "30 trials, 10 new seeds",
        "estimates": [
            Line("test score", Estimate(0.8273, 0.7841, 0.865), ACCURACY, remark=f"of {label}"),
            Line("gain", Estimate(0.0836, 0.0364, 0.1307), ACCURACY, is_difference=True),
            Line("loss", UNKNOWN, PLAIN),
        ],
        "tables": [
            Table(
                ("arm", "verdict", "difference"),
                [(label, "better", "+1.00 pp"), ("b", "worse", "-1.00 pp")],
                f"Differences of {label}",
            ),
            Table(("run", "value"), [(f"run of {label}", "1.0")], "Every run", is_detail=True),
        ],
        "draw": lambda: figures(label),
        "subject": f"Best trial 3 of {label}",
        "notes": [f"A note on {label}."],
        "next_step": Step(Advice(f"Compare {label}."), Advice(f"Run {label}.")),
        "fields": {"value": math.nan, "label": label, "gain": Estimate(1.0, -math.inf, 2.0)},
    }
    return Document(**parts | changes)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)
estimates = st.builds(
    Line,
    texts,
    st.builds(Estimate, *[st.floats(width=32)] * 3),
    st.sampled_from([ACCURACY, PLAIN]),
    st.booleans(),
    texts,
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Generate tables of arbitrary texts."""
    n = draw(st.integers(1, 7))
    rows = st.lists(st.lists(texts, min_size=n, max_size=n), max_size=4)
    headings = draw(st.lists(texts, min_size=n, max_size=n))
    return Table(headings, draw(rows), draw(texts), is_detail=draw(st.booleans()))


documents = st.builds(
    Document,
    title=texts,
    verdict=st.sampled_from(["better", "inconclusive"]),
    conclusion=texts,
    scope=st.text(max_size=30),
    estimates=st.lists(estimates, max_size=4),
    tables=st.lists(tables(), max_size=2),
    notes=st.lists(texts, max_size=3),
    subject=texts,
    next_step=st.builds(Step, texts, texts),
)
