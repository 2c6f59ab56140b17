"""What the verbs have in common that make evaluations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import optuna

from adnn_optuna.api._told import Told
from adnn_optuna.engine.evaluations import Evaluation, made_evaluations

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


class Evaluated(Told):
    """Facts of evaluations, which come to a claim and a caveat."""

    @property
    def claim(self) -> str:
        """What is shown, in a sentence or two."""
        return str(self._tell("claim"))

    @property
    def caveat(self) -> str:
        """What to think of the claim."""
        return str(self._tell("caveat"))


@contextlib.contextmanager
def saying_if_interrupted(
    known: Callable[[Mapping[Evaluation, float]], Evaluated],
    study: optuna.Study,
    names: Sequence[str],
) -> Iterator[None]:
    """Log what is known by the evaluations of a study, where the user interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        _logger.info("Interrupted. %s", known(made_evaluations(study, names)).claim)
        raise
