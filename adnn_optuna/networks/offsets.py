"""The spaces of init offsets: a trial's parameters and their effects on initial values."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from adnn_optuna._attributes import Json
from adnn_optuna._checks import WrongValueError, check_choice, check_number, check_type
from adnn_optuna.networks.initializers import VariableInfo


@dataclasses.dataclass(frozen=True)
class Start:
    """The start of a training run: its initial weights and the order of its batches."""

    seed: int  # The seed of the initial weights and, without an order_seed, of the batches.
    restart: int  # The number of the seed's initialization. The baseline network has 0.
    # The number that is added to each variable, in the order of the variables.
    offsets: tuple[float, ...]
    learning_rate: float | None = None
    epochs: int | None = None
    order_seed: int | None = None  # The seed of the order of the batches.


SHARED = "offset"  # The parameter's name if all weights and biases have one common offset.


@dataclasses.dataclass(frozen=True)
class OffsetSpace:
    """The space of init offsets: values added to the initial weights and biases of layers.

    Args:
        low: The smallest offset, at most 0, so that the space contains the baseline network.
        high: The largest offset, at least 0.
        scope: The variables with a common offset: the weights or the biases of a ``"layer"``, or
            all variables (``"shared"``). Hidden layer i, from 0, has the parameters
            ``weight_offset_i`` and ``bias_offset_i``. The output layer has
            ``weight_offset_output`` and ``bias_offset_output``. A shared offset has one parameter,
            ``offset``, as in the paper.
        include_output: Whether the output layer also has offsets.
        unit: The unit of offsets: ``"absolute"``, or ``"stddev"`` for standard deviations of the
            variable's initializer. If a bias's initializer is constant, such as zeros, the
            kernel's initializer is used.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the bounds are not finite or do not enclose 0, or an option is unknown.
    """

    unmoved: ClassVar[float] = 0.0  # The value of each parameter for the baseline network.
    low: float = -0.2
    high: float = 0.2
    scope: Literal["layer", "shared"] = "layer"
    include_output: bool = False
    unit: Literal["absolute", "stddev"] = "absolute"

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            bound = getattr(self, name)
            check_number(name, bound)
            object.__setattr__(self, name, float(bound))
        if not self.low <= 0 <= self.high or self.low == self.high:
            raise WrongValueError(
                f"low and high must enclose 0, the baseline network; got low={self.low!r} and "
                f"high={self.high!r}. Choose low <= 0 <= high, low < high."
            )
        check_choice("scope", self.scope, ("layer", "shared"))
        check_choice("unit", self.unit, ("absolute", "stddev"))
        check_type("include_output", self.include_output, bool, "True or False")

    @property
    def config(self) -> Json:
        """The settings as JSON. New seeds depend on these keys, so do not rename them."""
        return {"type": "OffsetSpace", **vars(self)}

    def distributions(self, variables: Sequence[VariableInfo]) -> dict[str, BaseDistribution]:
        """Return the parameters of a trial. Raise ValueError if a parameter changes nothing."""
        parameters = map(self._parameter, variables)
        names = [*dict.fromkeys(filter(None, parameters))]
        if not names:
            raise WrongValueError(
                "No hidden layer has a kernel or bias that is trained. Pass "
                "OffsetSpace(include_output=True)."
            )
        starts = {name: self.start({name: 1.0}, variables, 0) for name in names}
        still = [name for name, start in starts.items() if not any(start.offsets)]
        if still:
            raise WrongValueError(
                f"In standard deviations {', '.join(still)} would move nothing, as these kernels "
                "start constant. Pass OffsetSpace(unit='absolute')."
            )
        return dict.fromkeys(names, FloatDistribution(self.low, self.high))

    def start(
        self, params: Mapping[str, float], variables: Sequence[VariableInfo], seed: int
    ) -> Start:
        """Return the start of a trial with these parameters. Missing parameters are 0."""
        kernel_stddev = {v.layer: v.stddev for v in variables if v.kind == "weight"}
        offsets = []
        for variable in variables:
            parameter = self._parameter(variable)
            offset = float(params.get(parameter or "", 0.0))
            if self.unit == "stddev":
                offset *= variable.stddev or kernel_stddev.get(variable.layer, 0.0)
            offsets.append(offset)
        return Start(seed, 0, tuple(offsets))

    def _parameter(self, variable: VariableInfo) -> str | None:
        if variable.kind == "other" or (variable.is_output and not self.include_output):
            return None
        if self.scope == "shared":
            return SHARED
        if variable.is_output:
            return f"{variable.kind}_offset_output"
        return f"{variable.kind}_offset_{variable.layer}"


@dataclasses.dataclass(frozen=True)
class ControlSpace:
    """The space of a control, which has one parameter.

    The parameter ``"members"`` is a number of networks, which are averaged. Any other parameter is
    the field of :class:`Start` that has its name.
    """

    parameter: Literal["restart", "epochs", "learning_rate", "members"]
    unmoved: float  # The parameter's value for the baseline network.
    low: float
    high: float

    @property
    def config(self) -> Json:
        """The settings as JSON. New seeds depend on these keys, so do not rename them."""
        return {"type": "ControlSpace", **vars(self)}

    def distributions(self, variables: Sequence[VariableInfo]) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """See :class:`OffsetSpace`."""
        if self.parameter == "learning_rate":
            return {self.parameter: FloatDistribution(self.low, self.high, log=True)}
        return {self.parameter: IntDistribution(int(self.low), int(self.high))}

    def start(
        self, params: Mapping[str, float], variables: Sequence[VariableInfo], seed: int
    ) -> Start:
        """See :class:`OffsetSpace`."""
        start = Start(seed, 0, (0.0,) * len(variables))
        if self.parameter == "members":  # The first averaged network starts like the baseline.
            return start
        distribution = self.distributions(variables)[self.parameter]
        value = float(params.get(self.parameter, self.unmoved))
        field: Any = {self.parameter: distribution.to_external_repr(value)}
        return dataclasses.replace(start, **field)


# Each trial has a new initialization.
RESTARTS = ControlSpace("restart", 0, 0, 2**31 - 1)

Space = OffsetSpace | ControlSpace


def space_from_config(config: Json) -> Space:
    """Return the space that a ``config`` describes."""
    settings = {key: value for key, value in config.items() if key != "type"}
    kinds = {space.__name__: space for space in get_args(Space)}
    check_choice("space.type", config["type"], [*kinds])
    return kinds[config["type"]](**settings)
