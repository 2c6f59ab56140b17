"""What a verb returns: its facts, which can tell themselves."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import optuna

from adnn_optuna._checks import load, logger
from adnn_optuna._units import printable
from adnn_optuna.engine.evaluations import (
    Evaluation,
    Findings,
    Measured,
    made_evaluations,
    make_evaluations,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

F = TypeVar("F", bound=Findings)


class Printed:
    """Facts that print themselves.

    A module of :mod:`adnn_optuna.reporting` tells them by its functions ``text``, ``figure`` and
    ``page``, or ``verdict_text`` and so on. It loads plotly, which few calls need.
    """

    _telling: ClassVar[str]  # The module, and after a dot the kind.

    def _tell(self, what: str, *args: object) -> Any:
        """Return what the module's function of this name returns for the facts."""
        module, _, kind = self._telling.partition(".")
        telling = load(f"adnn_optuna.reporting.{module}")
        return getattr(telling, f"{kind}_{what}".lstrip("_"))(self, *args)

    def __str__(self) -> str:
        # Whatever a study or a contract holds, no terminal is to take it for a command.
        return printable(self._tell("text"), keep="\n")

    def to_markdown(self, **_: object) -> str:
        """Return what is printed, indented, so that Markdown shows it as it is."""
        return "    " + str(self).replace("\n", "\n    ")

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what is printed."""
        return f'<pre style="overflow-x: auto">{html.escape(str(self))}</pre>'


class Told(Printed):
    """Facts that draw and report themselves, too."""

    def plot(self) -> go.Figure:
        """Return the figure that shows the most of it."""
        return self._tell("figure")

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write a report: one HTML file, which needs no network.

        Raises:
            ValueError: If the file cannot be written.
        """
        self._tell("page").save(path)


def found_by_evaluating(
    known: Callable[[Mapping[Evaluation, float]], F],
    study: optuna.Study,
    names: Sequence[str],
    evaluate: Callable[..., float | Measured],
    **options: Any,
) -> F:
    """Make evaluations, see :func:`make_evaluations`; log what is known if the user interrupts."""
    try:
        return make_evaluations(known, study, names, evaluate, **options)
    except KeyboardInterrupt:
        facts: Any = known(made_evaluations(study.get_trials(deepcopy=False), names))
        known_so_far = (
            facts.document().conclusion if hasattr(facts, "document") else facts._tell("claim")
        )
        logger.info("Interrupted. %s", known_so_far)
        raise
