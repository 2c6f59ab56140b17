"""What is told alike of all that is known by evaluations."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from adnn_optuna.engine.evaluations import Findings
from adnn_optuna.reporting.pages import Figure


def so_far(facts: Findings, made: str) -> str:
    """Return how many evaluations were made, by what they are called, and how to make the rest."""
    of = f"{len(facts.evaluations)} of {facts.n_evaluations}"
    return f"with {of} {made} made. The same call goes on."


def content_of(kind: str, made: str, facts: Findings, figure: go.Figure) -> dict[str, Any]:
    """Return what the template of a kind shows, which knows the facts by that name."""
    dates, figures = f"{len(facts.evaluations)} {made}", [Figure(kind, figure)]
    return {"name": facts.study_name, "dates": dates, kind: facts, "figures": figures}
