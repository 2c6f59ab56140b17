"""What the evaluations of a study show: a claim, what to mind of it, and a report."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from adnn_optuna.networks.display import Shown

if TYPE_CHECKING:
    from adnn_optuna.engine.evaluations import Evaluation


@dataclasses.dataclass(repr=False)
class Evaluated(Shown):
    """What is known by the evaluations that were made so far; it has a claim and a caveat."""

    evaluations: Mapping[Evaluation, float]
    study_name: str

    kind: ClassVar[str]  # The name of its template, and of itself there.
    made: ClassVar[str]  # What its evaluations are called.

    def _so_far(self: Any) -> str:
        of = f"{len(self.evaluations)} of {self.n_evaluations}"
        return f"with {of} {self.made} made. The same call goes on."

    def report(self: Any, path: str | os.PathLike[str]) -> None:
        """Write a report: one HTML file, which needs no network.

        Raises:
            ValueError: If the file cannot be written.
        """
        from adnn_optuna.reporting.pages import Figure, Page

        content = {"name": self.study_name, "dates": f"{len(self.evaluations)} {self.made}"}
        content |= {self.kind: self, "figures": [Figure(self.kind, self.plot())]}
        Page(f"{self.kind}.html.jinja", self.claim, self.caveat, content).save(path)
