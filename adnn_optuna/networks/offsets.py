"""Which initial values move, and how a trial's parameters become offsets."""

from __future__ import annotations

import dataclasses
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from adnn_optuna._checks import WrongTypeError, WrongValueError, is_finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution

    from adnn_optuna.networks._variables import VariableInfo


@dataclasses.dataclass(frozen=True)
class Start:
    """What one training starts from."""

    seed: int
    """The seed of the initial weights and of the order of the batches."""
    restart: int
    """Which of that seed's initialisations, 0 the baseline's; the batches do not depend on it."""
    offsets: tuple[float, ...]
    """What is added to the values of each variable of the network, in the network's order."""


@dataclasses.dataclass(frozen=True)
class OffsetSpace:
    """The space of init offsets: values added to the initial weights and biases of layers.

    With ``scope="layer"`` hidden layer i has the parameters ``weight_offset_i`` and
    ``bias_offset_i`` (i from 0), the output layer, on request, ``weight_offset_output`` and
    ``bias_offset_output``. With ``scope="shared"``, the paper's, the one parameter ``offset``
    moves them all.

    Args:
        low: The smallest offset; at most 0, so that the unmoved network belongs to the space.
        high: The largest offset; at least 0.
        scope: ``"layer"`` or ``"shared"``.
        include_output: Whether the output layer moves too.
        unit: ``"absolute"``: offsets are added as they are. ``"stddev"``: they are multiples of
            the standard deviation of the variable's initializer; for a variable that starts
            constant (a bias of zeros), of its layer's kernel.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the bounds are not finite, reversed or do not enclose 0, or if an option is
            unknown.
    """

    low: float = -0.2
    high: float = 0.2
    scope: Literal["layer", "shared"] = "layer"
    include_output: bool = False
    unit: Literal["absolute", "stddev"] = "absolute"

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real):
                raise WrongTypeError(f"{name} must be a number, but it is {value!r}.")
            if not is_finite(value) or abs(float(value)) > float(np.finfo(np.float32).max):
                raise WrongValueError(
                    f"{name} must be finite, also in float32, but it is {value!r}."
                )
            object.__setattr__(self, name, float(value))
        if not self.low <= 0 <= self.high or self.low == self.high:
            raise WrongValueError(
                f"The offsets' bounds are low={self.low!r} and high={self.high!r}, but they must "
                "enclose 0, where the unmoved network is: low <= 0 <= high, low < high."
            )
        for name, known in (("scope", ("layer", "shared")), ("unit", ("absolute", "stddev"))):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise WrongValueError(f"{name} is {value!r}, but it must be one of {known}.")
        if not isinstance(self.include_output, bool):
            raise WrongTypeError(
                f"include_output must be True or False, but it is {self.include_output!r}."
            )

    @property
    def config(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return {"type": "OffsetSpace", **dataclasses.asdict(self)}

    def distributions(self, variables: Sequence[VariableInfo]) -> dict[str, BaseDistribution]:
        """Return the parameters of a trial, for a network of these variables.

        Raises:
            ValueError: If no variable of the network moves in this space.
        """
        names = [name for v in variables if (name := self._parameter(v)) is not None]
        if not names:
            raise WrongValueError(
                "The network has no hidden layer with a kernel or bias; use "
                "OffsetSpace(include_output=True) to move its output layer."
            )
        return dict.fromkeys(names, FloatDistribution(self.low, self.high))

    def start(
        self, params: Mapping[str, float], variables: Sequence[VariableInfo], seed: int
    ) -> Start:
        """Return what a trial with these parameters starts from; one that is missing is 0."""
        kernel_stddev = {v.layer: v.stddev for v in variables if v.kind == "weight"}
        offsets = []
        for variable in variables:
            name = self._parameter(variable)
            offset = 0.0 if name is None else float(params.get(name, 0.0))
            if self.unit == "stddev":
                offset *= variable.stddev or kernel_stddev.get(variable.layer, 0.0)
            offsets.append(offset)
        return Start(seed, 0, tuple(offsets))

    def _parameter(self, variable: VariableInfo) -> str | None:
        if variable.kind == "other" or (variable.is_output and not self.include_output):
            return None
        if self.scope == "shared":
            return "offset"
        return f"{variable.kind}_offset_{'output' if variable.is_output else variable.layer}"


@dataclasses.dataclass(frozen=True)
class RestartSpace:
    """The control arm's space: a new random initialisation for each trial, no offsets.

    Its one parameter ``restart`` counts a seed's initialisations; 0 is the baseline's.
    """

    @property
    def config(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return {"type": "RestartSpace"}

    def distributions(self, variables: Sequence[VariableInfo]) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Return the parameters of a trial."""
        return {"restart": IntDistribution(0, 2**31 - 1)}

    def start(
        self, params: Mapping[str, float], variables: Sequence[VariableInfo], seed: int
    ) -> Start:
        """Return what a trial with these parameters starts from."""
        return Start(seed, int(params.get("restart", 0)), (0.0,) * len(variables))


def space_from_config(config: Mapping[str, Any]) -> OffsetSpace | RestartSpace:
    """Return the space that a ``config`` describes."""
    if config["type"] == "RestartSpace":
        return RestartSpace()
    return OffsetSpace(**{key: value for key, value in config.items() if key != "type"})
