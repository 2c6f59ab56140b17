"""What initial values are drawn from, found out of Keras's initializers themselves.

Nothing here is a list of Keras's initializers. Each one is run, symbolically, and what it draws
with from ``keras.random`` is observed. So those of any version of Keras are covered, and those of
the user's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import sys
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna.networks._random_state import undisturbed

if TYPE_CHECKING:
    import types

    import pandas as pd

Kind = Literal["random", "fixed", "unknown"]


@dataclasses.dataclass(frozen=True)
class Distribution:
    """What initial values are drawn from.

    Args:
        kind:
            ``"random"``, ``"fixed"`` or ``"unknown"``.
        name:
            ``"uniform"``, ``"normal"``, ``"truncated_normal"`` (cut off at two standard deviations
            ``stddev``, which is that before the cut), as the functions of ``keras.random``;
            ``"constant"``; else the class of the initializer.
        parameters:
            Its parameters for the variable's shape.
        parts:
            Of a variable that is put together of several draws, each part with its size.
    """

    kind: Kind
    name: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    parts: tuple[tuple[int, Distribution], ...] = ()

    def __str__(self) -> str:
        if self.parts:
            return " + ".join(f"{size} of {part}" for size, part in self.parts)
        values = ", ".join(f"{key}={short(value)}" for key, value in self.parameters.items())
        return f"{self.name}({values})"


def describe(initializer: Any, shape: tuple[int, ...]) -> Distribution:
    """Return what an initializer draws values of a shape from.

    It is run symbolically, and the functions of ``keras.random`` that it calls are observed.

    Args:
        initializer:
            A Keras initializer, or a function like one.
        shape:
            The shape.
    """
    from keras.src.backend import compute_output_spec

    unknown = Distribution("unknown", class_name(initializer), settings(initializer))
    if initializer is None:
        return unknown
    observer = _Observer(initializer)

    def run() -> Any:
        with observer:
            observer.result = initializer(shape, dtype="float32")
        return observer.result

    try:
        compute_output_spec(run)
    except Exception:  # noqa: BLE001 - an initializer of the user's may fail in any way.
        return unknown
    if observer.parts:
        parts = [(math.prod(part), describe(inner, part)) for inner, part in observer.parts]
        kinds = {part.kind for _, part in parts}
        kind: Kind = next(k for k in ("unknown", "random", "fixed") if k in kinds)
        return Distribution(kind, "concatenation", parts=tuple(parts))
    if observer.draws:
        name, parameters, drawn = observer.draws[0]
        if len(observer.draws) == 1 and drawn is observer.result:
            return Distribution("random", name, parameters)
        # What it draws is worked on, as the matrix of an orthogonal initializer is.
        return dataclasses.replace(unknown, kind="random")
    # One of the user's may draw from another source than Keras.
    return _fixed(initializer) if type(initializer).__module__.startswith("keras.") else unknown


def settings(initializer: Any) -> dict[str, Any]:
    """Return the configuration of an initializer without its seed."""
    config = initializer.get_config() if hasattr(initializer, "get_config") else {}
    return {key: value for key, value in config.items() if key != "seed"}


def _fixed(initializer: Any) -> Distribution:
    """Return what an initializer that draws nothing starts a variable from."""
    # Those that need a matrix are not of one value.
    with contextlib.suppress(Exception):
        return Distribution("fixed", "constant", {"value": float(initializer((), "float32"))})
    return Distribution("fixed", class_name(initializer), settings(initializer))


class _Observer:
    """Observes, in this thread only, what an initializer calls while it makes values."""

    def __init__(self, initializer: Any) -> None:
        self._initializer = initializer
        self._inside: list[types.FrameType] = []
        self._parameters: dict[str, Any] = {}
        self.draws: list[tuple[str, dict[str, Any], Any]] = []
        self.parts: list[tuple[Any, tuple[int, ...]]] = []
        self.result: Any = None

    def __enter__(self) -> None:
        self._before = sys.getprofile()
        sys.setprofile(self._profile)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def _profile(self, frame: types.FrameType, event: str, arg: Any) -> None:
        if event == "return" and self._inside and self._inside[-1] is frame:
            self._inside.pop()
            if _is_draw(frame):
                self.draws.append((frame.f_code.co_name, self._parameters, arg))
        elif event == "call" and not self._inside:
            if _is_draw(frame):
                # Before the function assigns to its arguments.
                self._parameters = {
                    name: _plain(frame.f_locals[name])
                    for name in inspect.getargs(frame.f_code).args
                    if name not in {"shape", "dtype", "seed"}
                }
                self._inside.append(frame)
            elif self._is_other_initializer(frame):
                self.parts.append((frame.f_locals["self"], tuple(frame.f_locals["shape"])))
                self._inside.append(frame)

    def _is_other_initializer(self, frame: types.FrameType) -> bool:
        import keras

        other = frame.f_locals.get("self")
        return (
            frame.f_code.co_name == "__call__"
            and isinstance(other, keras.Initializer)
            and other is not self._initializer
            and "shape" in frame.f_locals
        )


def _is_draw(frame: types.FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    is_random = module.startswith("keras.src.backend.") and module.endswith(".random")
    return is_random and not frame.f_code.co_name.startswith(("_", "<"))


def _plain(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def initializers_table() -> pd.DataFrame:
    """Return all of Keras's public initializers with what they draw from.

    The table is made from the installed Keras: its columns are ``initializer``, ``kind``
    (``"random"`` or ``"fixed"``), ``distribution``, ``parameters`` (those of the constructor, with
    their defaults) and ``formula``, where the distribution follows from a variable's shape.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn

            print(adnn.initializers_table().to_string(index=False))
    """
    import keras
    import pandas as pd

    classes = {
        value
        for value in vars(keras.initializers).values()
        if isinstance(value, type) and issubclass(value, keras.Initializer)
    } - {keras.Initializer}
    rows = []
    with undisturbed():
        for cls in sorted(classes, key=lambda cls: cls.__name__):
            initializer = cls()
            # Square, so that a matrix such as the identity can be made; not of one value.
            distribution = describe(initializer, (8, 8))
            if distribution.kind == "unknown":
                distribution = describe(initializer, (8, 1, 8))
            config = initializer.get_config()
            rows.append(
                {
                    "initializer": cls.__name__,
                    "kind": distribution.kind,
                    "distribution": distribution.name,
                    "parameters": ", ".join(
                        f"{name}={getattr(parameter, 'default', None)}"
                        for name, parameter in inspect.signature(cls).parameters.items()
                    ),
                    "formula": _formula(initializer) if "seed" in config else "",
                }
            )
    return pd.DataFrame(rows)


def _formula(initializer: Any) -> str:
    """Return how the distribution of a variance scaling initializer follows from the shape."""
    import keras

    if not isinstance(initializer, keras.initializers.VarianceScaling):
        return ""
    is_average = initializer.mode == "fan_avg"
    fan = "(fan_in + fan_out)" if is_average else initializer.mode
    factor = initializer.scale * (2 if is_average else 1)
    if initializer.distribution == "uniform":
        return f"maxval = -minval = sqrt({3 * factor:g} / {fan})"
    # Keras widens the normal so that this holds after the cut.
    cut = " after the cut" if initializer.distribution == "truncated_normal" else ""
    return f"mean = 0, stddev = sqrt({factor:g} / {fan}){cut}"


def class_name(initializer: Any) -> str:
    """Return the name of an initializer's class, or of a function's."""
    if initializer is None:
        return "unknown"
    return str(getattr(initializer, "__name__", type(initializer).__name__))


def given_seed(initializer: Any) -> int | None:
    """Return the seed that an initializer's or seed generator's configuration holds."""
    if not hasattr(initializer, "get_config"):
        return None
    seed = initializer.get_config().get("seed")
    if isinstance(seed, dict):
        # A SeedGenerator, as Keras serializes it.
        seed = seed.get("config", {}).get("seed")
    return seed if isinstance(seed, int) else None


def drawn_seed(initializer: Any) -> int | None:
    """Return the seed that an initializer draws with, given or not."""
    seed = getattr(initializer, "seed", None)
    return seed if isinstance(seed, int) else given_seed(initializer)


def short(value: Any) -> str:
    """Return a setting as text."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
