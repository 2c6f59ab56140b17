"""Audits: which variables of a Keras model start from random values, and which layers are random.

Nothing here is a list of Keras's initializers or layers. Each initializer is run, symbolically,
and what it draws with from ``keras.random`` is observed; each layer is called, symbolically, and
which random states it advances is observed. So the initializers and layers of any version of
Keras are covered, and those of the user's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import math
import random
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna._keras_config import check_model_config, uninitialized_variables

if TYPE_CHECKING:
    import os
    import types
    from collections.abc import Iterator, Sequence

    import keras
    import pandas as pd

_MAX_CONFIG_BYTES = 32 * 2**20

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
        values = ", ".join(f"{key}={_short(value)}" for key, value in self.parameters.items())
        return f"{self.name}({values})"


@dataclasses.dataclass(frozen=True)
class InitializedVariable:
    """A variable and what it starts from.

    Args:
        path:
            Its path in the model.
        shape:
            Its shape; :obj:`None` where its layer is not built yet.
        initializer:
            The class of its initializer; ``"unknown"`` where it could not be found.
        distribution:
            What its values are drawn from.
        seed:
            The seed that its initializer draws with; :obj:`None` where nothing is drawn, or the
            layer did not keep it.
        is_seeded:
            Whether that seed was given, so that a configuration holds it.
    """

    path: str
    shape: tuple[int, ...] | None
    initializer: str
    distribution: Distribution
    seed: int | None
    is_seeded: bool


@dataclasses.dataclass(frozen=True)
class RandomLayer:
    """A layer with a source of random numbers.

    Args:
        path:
            Its path in the model.
        layer:
            Its class.
        when:
            When it draws: in ``"training"``; ``"always"``, in inference too (Keras's recurrent
            layers draw their dropout masks there, but do not use them); ``"never"``, as with a
            rate of 0; ``"unknown"`` where the model cannot be called symbolically.
        parameters:
            Its settings that are fractions and not 0, such as ``rate``.
        seed:
            The seed of its source.
        is_seeded:
            Whether that seed was given, so that a configuration holds it.
    """

    path: str
    layer: str
    when: Literal["training", "always", "never", "unknown"]
    parameters: dict[str, Any]
    seed: int | None
    is_seeded: bool


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is random in a model; see :func:`audit_randomness`. It prints as a table.

    Args:
        variables:
            All weights of the model, in its order.
        layers:
            All layers with a source of random numbers.
        warnings:
            Sentences on what is not reproducible or not independent.
    """

    variables: tuple[InitializedVariable, ...]
    layers: tuple[RandomLayer, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as JSON holds it."""
        variables = [
            {**dataclasses.asdict(v), "distribution": _as_json(v.distribution)}
            for v in self.variables
        ]
        layers = [dataclasses.asdict(layer) for layer in self.layers]
        return {"variables": variables, "layers": layers, "warnings": list(self.warnings)}

    def to_json(self, indent: int | None = 1) -> str:
        """Return the audit as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, default=str)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the variables, one in each row."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "variable": v.path,
                    "shape": "not built" if v.shape is None else str(v.shape),
                    "initializer": v.initializer,
                    "starts from": str(v.distribution),
                    "seed": _seed_in_words(v.seed, v.is_seeded, v.distribution.kind),
                }
                for v in self.variables
            ],
            columns=["variable", "shape", "initializer", "starts from", "seed"],
        )

    def __str__(self) -> str:
        counts = dict.fromkeys(("random", "fixed", "unknown"), 0)
        for variable in self.variables:
            counts[variable.distribution.kind] += 1
        parts = [
            f"{len(self.variables)} variables: "
            + ", ".join(f"{count} {kind}" for kind, count in counts.items()),
            as_text(self.to_dataframe()),
        ]
        if self.layers:
            rows = [
                {
                    "layer": layer.path,
                    "class": layer.layer,
                    "draws": layer.when,
                    "with": ", ".join(f"{k}={_short(v)}" for k, v in layer.parameters.items()),
                    "seed": _seed_in_words(layer.seed, layer.is_seeded, "random"),
                }
                for layer in self.layers
            ]
            import pandas as pd

            parts += [f"\n{len(rows)} layers with random states", as_text(pd.DataFrame(rows))]
        if self.warnings:
            parts += ["", *(f"! {warning}" for warning in self.warnings)]
        return "\n".join(parts)


def as_text(frame: pd.DataFrame) -> str:
    """Return a table as aligned text, one line for each row."""
    rows = [list(frame.columns), *frame.astype(str).to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _seed_in_words(seed: int | None, is_seeded: bool, kind: Kind) -> str:  # noqa: FBT001
    if kind != "random":
        return "-"
    if is_seeded:
        return str(seed)
    return "unseeded" if seed is None else f"unseeded (drew {seed})"


def _as_json(distribution: Distribution) -> dict[str, Any]:
    return {
        "kind": distribution.kind,
        "name": distribution.name,
        "parameters": distribution.parameters,
        "parts": [{"size": n, **_as_json(part)} for n, part in distribution.parts],
    }


def audit_randomness(model: keras.Model) -> Audit:
    """Find all that is random in a Keras model: initial values and layers.

    Nothing of the model is changed, no random number is drawn from it, and no values are
    computed. Of a model that is not built yet, the initializers are reported without shapes.

    Example:

        .. code-block:: python

            import keras
            import adnn_optuna as adnn

            model = keras.Sequential(
                [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)]
            )
            print(adnn.audit_randomness(model))

    Args:
        model:
            The model.

    Raises:
        TypeError: If it is not a ``keras.Model``.
    """
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a keras.Model, but it is a {type(model).__name__}; build it first."
        )
    with _undisturbed():
        return _audit(model)


def _audit(model: keras.Model) -> Audit:
    variables, sources = [], []
    for variable, twins, kept in _weights(model):
        used, other = twins
        distribution = describe(used, tuple(variable.shape))
        # A seed that is given is in the configuration, so it is the same whenever that is read.
        given = _given_seed(used)
        is_seeded = given is not None and given == _given_seed(other)
        is_random = distribution.kind == "random"
        drawn = given if is_seeded else _drawn_seed(kept)
        variables.append(
            InitializedVariable(
                path=variable.path,
                shape=tuple(variable.shape),
                initializer=_class_name(used),
                distribution=distribution,
                seed=drawn if is_random else None,
                is_seeded=is_random and is_seeded,
            )
        )
        sources.append(used if kept is None else kept)
    warnings = [*_unseeded(variables), *_equal(variables, sources)]
    variables += _unbuilt(model)
    layers, draws_globally = _random_layers(model)
    warnings += [
        f"{layer.path} ({layer.layer}) has no seed: each run of the program draws other numbers. "
        "Give it seed=."
        for layer in layers
        if not layer.is_seeded and layer.when != "never"
    ]
    if draws_globally:
        warnings.append(
            "The model draws from Keras's global random state (a function of keras.random without "
            "a seed), which every other use of it advances. Give the call a SeedGenerator."
        )
    unknown = [v.path for v in variables if v.distribution.kind == "unknown"]
    if unknown:
        warnings.append(f"Not resolved, so perhaps random: {', '.join(unknown)}.")
    return Audit(tuple(variables), tuple(layers), tuple(warnings))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put Python's random state back, from which Keras draws the seeds that are not given."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def _weights(model: keras.Model) -> list[tuple[Any, tuple[Any, Any], Any]]:
    """Return each weight, two initializers like the one it starts from, and that one if kept.

    Keras forgets which initializer a variable was made with. So the model is made more than once
    from its configuration, without values; there, each variable still has its initializer.
    """
    twins = _initializers_of_twin(model), _initializers_of_twin(model)
    owners = {
        id(variable): layer
        for layer in model._flatten_layers()  # noqa: SLF001 - Keras has no public walk.
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables)  # noqa: SLF001
    }
    found = []
    for variable in model.weights:
        used, other = (twin.get(id(variable)) for twin in twins)
        # From a file: what it drew there is not what was drawn when the model was trained.
        is_from_file = variable._value is None  # noqa: SLF001
        kept = None if is_from_file else _kept(owners.get(id(variable)), variable.name, used)
        found.append((variable, (used, other), kept))
    return found


def _initializers_of_twin(model: keras.Model) -> dict[int, Any]:
    """Return the initializer of each variable that can be found, by the variable's id."""
    import keras

    def remade(layer: Any) -> Any:
        if layer is model:
            return keras.models.clone_model(model)
        twin = type(layer).from_config(layer.get_config())
        if not twin.built and layer.built:
            twin.build_from_config(layer.get_build_config())
        return twin

    found: dict[int, Any] = {}
    # The layers by themselves, where the model as a whole cannot be made from a configuration.
    for layer in [model, *model.layers]:
        if all(id(v) in found for v in layer.weights):
            continue
        # Whatever a class of the user's does when it is made without its arguments.
        with contextlib.suppress(Exception), uninitialized_variables():
            twin = remade(layer).weights
            if [v.shape for v in twin] == [v.shape for v in layer.weights]:
                for variable, other in zip(layer.weights, twin, strict=True):
                    if other._initializer is not None:  # noqa: SLF001
                        found[id(variable)] = other._initializer  # noqa: SLF001
    return found


def _kept(layer: Any, name: str, used: Any) -> Any:
    """Return the initializer that a layer keeps and made a variable with, if it can be told."""
    if layer is None or not hasattr(used, "get_config"):
        return None
    # By name even where the settings differ: EinsumDense adds the axes of its inputs.
    by_name = vars(layer).get(f"{name}_initializer")
    if type(by_name) is type(used):
        return by_name
    same = [
        value
        for value in vars(layer).values()
        if type(value) is type(used) and _settings(value) == _settings(used)
    ]
    return same[0] if len(same) == 1 else None


def _class_name(initializer: Any) -> str:
    if initializer is None:
        return "unknown"
    return str(getattr(initializer, "__name__", type(initializer).__name__))


def _given_seed(initializer: Any) -> int | None:
    """Return the seed that an initializer's or seed generator's configuration holds."""
    if not hasattr(initializer, "get_config"):
        return None
    seed = initializer.get_config().get("seed")
    if isinstance(seed, dict):
        # A SeedGenerator, as Keras serializes it.
        seed = seed.get("config", {}).get("seed")
    return seed if isinstance(seed, int) else None


def _drawn_seed(initializer: Any) -> int | None:
    seed = getattr(initializer, "seed", None)
    return seed if isinstance(seed, int) else _given_seed(initializer)


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

    unknown = Distribution("unknown", _class_name(initializer), _settings(initializer))
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


def _settings(initializer: Any) -> dict[str, Any]:
    config = initializer.get_config() if hasattr(initializer, "get_config") else {}
    return {key: value for key, value in config.items() if key != "seed"}


def _fixed(initializer: Any) -> Distribution:
    """Return what an initializer that draws nothing starts a variable from."""
    # Those that need a matrix are not of one value.
    with contextlib.suppress(Exception):
        return Distribution("fixed", "constant", {"value": float(initializer((), "float32"))})
    return Distribution("fixed", _class_name(initializer), _settings(initializer))


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


def _unbuilt(model: keras.Model) -> list[InitializedVariable]:
    """Return the initializers of layers that have no variables yet."""
    import keras

    return [
        InitializedVariable(
            path=f"{path}/{name.removesuffix('_initializer')}",
            shape=None,
            initializer=_class_name(initializer),
            distribution=Distribution(
                "random" if "seed" in initializer.get_config() else "fixed",
                _class_name(initializer),
                _settings(initializer),
            ),
            seed=_drawn_seed(initializer),
            is_seeded=_given_seed(initializer) is not None,
        )
        for path, layer in _walk(model)
        if not layer.built
        for name, initializer in vars(layer).items()
        if isinstance(initializer, keras.Initializer)
    ]


def _random_layers(model: keras.Model) -> tuple[list[RandomLayer], bool]:
    """Return the layers with random states, and whether the model draws from the global one."""
    layers = [
        (path, layer, generator)
        for path, layer in _walk(model)
        for generator in getattr(layer, "_seed_generators", ())
    ]
    generators = [generator for _, _, generator in layers]
    in_training, globally = _advanced(model, generators, training=True)
    in_inference, globally_too = _advanced(model, generators, training=False)
    found = []
    for path, layer, generator in layers:
        when: Literal["training", "always", "never", "unknown"]
        if in_training is None or in_inference is None:
            when = "unknown"
        elif id(generator) in in_inference:
            when = "always"
        else:
            when = "training" if id(generator) in in_training else "never"
        given = _given_seed(generator)
        found.append(
            RandomLayer(
                path=path,
                layer=type(layer).__name__,
                when=when,
                parameters=_fractions(layer),
                seed=_first_state(generator) if given is None else given,
                is_seeded=given is not None,
            )
        )
    return found, globally or globally_too


def _walk(layer: Any, parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each layer below one with its path."""
    for child in layer._layers:  # noqa: SLF001 - Keras has no public walk.
        path = f"{parents}{child.name}"
        yield path, child
        yield from _walk(child, f"{path}/")


def _advanced(
    model: keras.Model, generators: Sequence[Any], *, training: bool
) -> tuple[set[int] | None, bool]:
    """Return the generators that a call of the model advances, and whether the global one is.

    The call is symbolic. It is :obj:`None` where the model has no inputs to be called with.
    """
    import keras
    from keras.src.backend import compute_output_spec
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    if not getattr(model, "inputs", None):
        return None, False
    before = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    in_place = keras.random.SeedGenerator(0)
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, in_place)
    advanced: set[int] = set()

    def call(inputs: Any) -> Any:
        with keras.StatelessScope() as scope:
            outputs = model(inputs, training=training)
            for generator in (*generators, in_place):
                if scope.get_current_value(generator.state) is not None:
                    advanced.add(id(generator))
        return outputs

    try:
        inputs = model.inputs
        compute_output_spec(call, inputs[0] if len(inputs) == 1 else inputs)
    except Exception:  # noqa: BLE001 - a layer of the user's may fail in any way.
        return None, False
    finally:
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, before)
    return advanced, id(in_place) in advanced


def _first_state(generator: Any) -> int | None:
    """Return the seed that a generator drew for itself; a file does not hold it."""
    value = generator.state._value  # noqa: SLF001
    return None if value is None else int(value[0])


def _fractions(layer: Any) -> dict[str, Any]:
    """Return the settings of a layer that are fractions, or pairs of them, and not 0."""
    try:
        config = layer.get_config()
    except Exception:  # noqa: BLE001 - as above
        return {}
    return {
        name: value
        for name, value in config.items()
        if (isinstance(value, float) and value)
        or (
            isinstance(value, list | tuple)
            and value
            and all(isinstance(item, float) for item in value)
            and any(value)
        )
    }


def _unseeded(variables: Sequence[InitializedVariable]) -> Iterator[str]:
    paths = [v.path for v in variables if v.distribution.kind == "random" and not v.is_seeded]
    if paths:
        yield (
            f"The initializers of {', '.join(paths)} have no seed: their configuration says "
            "seed: None, so a model made from it (from_config, clone_model) starts from other "
            "weights. Give each a seed."
        )


def _equal(variables: Sequence[InitializedVariable], sources: Sequence[Any]) -> Iterator[str]:
    """Yield a warning for each group of variables that start from equal values."""
    groups: dict[Any, list[int]] = {}
    for i, (variable, source) in enumerate(zip(variables, sources, strict=True)):
        # A SeedGenerator gives each variable other values.
        if variable.distribution.kind == "random" and isinstance(
            getattr(source, "seed", None), int
        ):
            if variable.seed is None:
                continue
            key = (variable.initializer, str(variable.distribution), variable.shape, variable.seed)
            groups.setdefault(key, []).append(i)
    for group in groups.values():
        if len(group) > 1:
            is_one = len({id(sources[i]) for i in group}) == 1
            cause = "share one initializer object" if is_one else "have initializers of one seed"
            yield (
                f"{', '.join(variables[i].path for i in group)} {cause} and one shape, so they "
                "start from equal values. Give each layer an initializer of its own, with its own "
                "seed."
            )


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
    with _undisturbed():
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


def _load_config(path: Path) -> keras.Model:
    """Return the model of a ``.keras`` file without its weights; nothing in it is executed.

    Call it, and use the model, in :func:`audit_file` only: its variables have no values.
    """
    import keras

    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                raise ValueError(f"The model in {str(path)!r} is too large to be audited.")
            config = json.loads(archive.read("config.json"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {str(path)!r}; check its path.") from None
    except (OSError, KeyError, zipfile.BadZipFile, json.JSONDecodeError, RecursionError):
        raise ValueError(
            f"{str(path)!r} is not a .keras file; save the model with model.save('name.keras')."
        ) from None
    check_model_config(config, "model")
    return keras.saving.deserialize_keras_object(config, safe_mode=True)


def audit_file(path: str | os.PathLike[str]) -> Audit:
    """Find all that is random in the model of a ``.keras`` file, see :func:`audit_randomness`.

    The file is data: nothing in it is executed, and its weights are not read. Of an initializer
    without a seed, the file does not know what it drew.

    Args:
        path:
            The file.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is not a ``.keras`` file, or has a layer that is not Keras's own or that
            runs code.
    """
    with _undisturbed(), uninitialized_variables():
        return _audit(_load_config(Path(path)))
