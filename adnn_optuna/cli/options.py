"""What the commands of ``adnn`` take: their options, and how these become Python objects."""

import contextlib
import copy
import functools
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

import adnn_optuna as adnn
from adnn_optuna._checks import WrongValueError, check_output_file, masked
from adnn_optuna.cli import declared
from adnn_optuna.cli.output import FILES, Answer, finish, load_libraries

DEFAULT_STORAGE = "sqlite:///adnn.db"
# What Python has otherwise, or not at all.
Storage = Annotated[str, "Database of the studies: any URL that Optuna takes."]
StudyName = Annotated[str, "Name of the study or comparison, as it was shown."]
_NEW_NAME = "New or continued; by default one that tells all settings that are not by default."
NewName = Annotated[str | None, _NEW_NAME]
_SEARCHERS, _CONTROLS = (declared.arms(is_control=is_control) for is_control in (False, True))


def _listed(arms: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({does})" for name, does in arms.items())


Sampler = Annotated[str, f"{_listed(_SEARCHERS)}."]
Controls = Annotated[
    str | None,
    f"What the same compute buys otherwise: {_listed(_CONTROLS)}, or none; by default "
    "learning_rate, from 10 trials on.",
]
Seeds = Annotated[str, "The seeds of the runs: 10 (the seeds 0 to 9), 1,2,5 or 10-19."]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show the results only: no progress bar, no hints.")
]
Json = Annotated[bool, typer.Option(help="Show the facts as JSON, and nothing else on stdout.")]
_AT_ONCE = "Trials asked for before any is told; by default 8 or, to learn of each, 1."
AtOnce = Annotated[int | None, typer.Option(min=1, help=_AT_ONCE)]
_DATASET = "digits, mnist, fashion_mnist, or a .csv[.gz] or .parquet table, or an .npz of x and y."


def load_data(
    *,
    dataset: Annotated[str, typer.Option("--dataset", "--data", help=_DATASET)] = "digits",
    data_dir: Path | None = None,
    validation_size: float | None = None,
    test_size: float | None = None,
    target: str | None = None,
    task: Literal["classification", "regression"] = "classification",
    class_weight: Literal["balanced"] | None = None,
    sample_weight: str | None = None,
    groups: str | None = None,
    missing: Literal["refuse", "impute"] = "refuse",
    rare: Literal["refuse", "other"] = "refuse",
    positive: str | None = None,
) -> "adnn.Dataset":
    """Return the data of a command's options; those of Python check them."""
    options: dict[str, Any] = locals()
    for name in ("validation_size", "test_size"):
        size = options[name]
        # A number of samples is a whole one.
        options[name] = int(size) if size is not None and size % 1 == 0 else size
    return adnn.load_dataset(options.pop("dataset"), **options)


def make_training(
    *,
    optimizer: str = "adam",
    learning_rate: float = 0.001,
    batch_size: int = 32,
    epochs: int = 10,
    shuffle: bool = True,
    patience: int | None = None,
    min_delta: float = 0.0,
    restore_best_weights: bool = False,
    **data: Any,
) -> "tuple[adnn.Dataset, adnn.Training]":
    """Return data and training."""
    options: dict[str, Any] = locals()
    del options["data"]
    training = adnn.Training(**options)
    loaded = load_data(**data)
    load_libraries()
    return loaded, training


def make_network(
    *,
    hidden: str = "64",
    activation: str = "relu",
    kernel_initializer: str = "glorot_uniform",
    bias_initializer: str = "zeros",
    metric: str | None = None,
    seed: int = 0,
    **training: Any,
) -> "adnn.InitOffsetObjective":
    """Return the objective of a network that does not move."""
    kernel = _name_or_config("--kernel-initializer", kernel_initializer)
    bias = _name_or_config("--bias-initializer", bias_initializer)
    model = adnn.MLP(integers("--hidden", hidden), activation, kernel, bias)
    data, settings = make_training(**training)
    return adnn.InitOffsetObjective(model, data, training=settings, metric=metric, seed=seed)


def make_objective(
    *,
    low: float = -0.2,
    high: float = 0.2,
    scope: Literal["layer", "shared"] = "layer",
    unit: Literal["absolute", "stddev"] = "absolute",
    include_output: bool = False,
    **network: Any,
) -> "adnn.InitOffsetObjective":
    """Return the objective of a network with its init offsets."""
    space = adnn.OffsetSpace(low, high, scope, include_output=include_output, unit=unit)
    return make_network(**network).replace(space=space)


# What makes the options that a verb passes on by a name, where they are documented, their group.
_MADE_BY: dict[str, tuple[Callable[..., object], tuple[str, ...], str]] = {
    "data": (load_data, ("load_dataset",), "Data"),
    "training": (make_training, ("Training",), "Training"),
    "network": (make_network, ("MLP", "InitOffsetObjective"), "Network"),
    "objective": (make_objective, ("OffsetSpace",), "Offsets"),
}
# The group of what a verb takes itself, where it has one.
_GROUPS = {
    "data_dir": "Data",
    **dict.fromkeys(("max_trial", "max_time"), "Limits"),
    **dict.fromkeys(("output", *FILES, "quiet", "json"), "Output"),
}
# What a verb calls in Python, if not the function of its name.
_IN_PYTHON = {
    "plan": "compare",
    "report": "compare",
    "contract": "resume",
    "luck": "expected_luck",
    "variance": "measure_variance",
}
# As what a shell gives an argument, by its annotation in Python, and what it is by default.
_PASSED: dict[str, tuple[Any, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "int | None": (int | None,),
    "float | None": (float | None,),
    "str | BaseStorage | None": (Storage, DEFAULT_STORAGE),
    "str": (NewName, None),
    "str | None": (NewName, None),
}


def with_help(verb: Callable[..., Answer], files: Sequence[str]) -> Callable[..., None]:
    """Return the command of a verb: its options with their help, also those that it passes on.

    Of a verb's arguments, ``data``, ``training``, ``network``, ``objective`` and ``limits`` stand
    for all options of these, and ``options`` for what else the same verb takes in Python: numbers,
    truth values, and where studies are. What the verb returns is shown, as text or as JSON, and
    the ``files`` are written of it.
    """
    own = {**inspect.signature(verb).parameters}
    taken = [*own]
    for name in files:
        own[name] = _option(name, None, Annotated[Path | None, FILES[name].help])
    own |= {"quiet": _option("quiet", False, Quiet), "json": _option("json", False, Json)}
    in_python = _IN_PYTHON.get(verb.__name__, verb.__name__)
    said, parts = declared.arguments(in_python), _parts(own, in_python)
    parameters: list[inspect.Parameter] = []
    for name, parameter in own.items():
        parameters += parts[name].values() if name in parts else [_explained(parameter, said)]
    verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    has_bar = "options" in parts and "show_progress_bar" in declared.defaults(in_python)

    @functools.wraps(verb)
    def command(**given: Any) -> None:
        asked = {name: given[name] for name in files}
        for name, file in asked.items():  # Before there is what to write.
            if file is not None:
                check_output_file(f"--{name.replace('_', '-')}", file, FILES[name].suffix)
        if asked.get("contract"):
            from adnn_optuna.contracts.contract_file import PAIRS

            if given.get("test") is False:
                raise WrongValueError(
                    "--contract looks at the test set, which --no-test keeps closed; give one."
                )
            if parse_confirm(given.get("confirm", "")) in range(1, PAIRS[0]):
                raise WrongValueError(f"--contract takes a --confirm of {PAIRS[0]} at the least.")
        arguments: dict[str, Any] = {name: given[name] for name in taken if name not in parts}
        for part, of_part in parts.items():
            arguments[part] = {name: given[name] for name in of_part}
        arguments |= arguments.pop("options", {})
        if has_bar:
            arguments["show_progress_bar"] = not given["quiet"]
        # Only results stand there, whatever Keras says of a download or a user's function prints.
        with contextlib.redirect_stdout(sys.stderr):
            answer = verb(**arguments)
        shown = verb.__name__.replace("_", "-")
        finish(shown, answer, in_json=given["json"], quiet=given["quiet"], **asked)

    return command


def _parts(
    own: Mapping[str, inspect.Parameter], in_python: str
) -> dict[str, dict[str, inspect.Parameter]]:
    """Return the options for which some of a verb's arguments stand, by these."""
    parts = {name: _part(name) for name in own if name in _MADE_BY}
    if "limits" in own:
        limits = declared.limits()
        parts["limits"] = {limit.name: limit for limit in limits if limit.name not in own}
    if "options" in own:
        parts["options"] = {}
        said = declared.arguments(in_python)
        for name, (annotation, default) in declared.defaults(in_python).items():
            if annotation in _PASSED and name not in (*own, "show_progress_bar"):
                kind, *of_shell = _PASSED[annotation]
                option = _option(name, of_shell[0] if of_shell else default, kind)
                parts["options"][name] = _explained(option, said)
    return parts


def _option(name: str, default: object, annotation: Any) -> inspect.Parameter:
    kind: Any = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


@functools.cache
def _part(name: str) -> dict[str, inspect.Parameter]:
    """Return the options of which data, training, network or objective is made."""
    make, documented, group = _MADE_BY[name]
    said = {k: text for of in documented for k, text in declared.arguments(of).items()}
    inner, found = {}, {}
    for parameter in inspect.signature(make).parameters.values():
        if parameter.name in _MADE_BY:
            inner = _part(parameter.name)
        else:
            found[parameter.name] = _explained(parameter, said, group)
    return {**inner, **found}


def _explained(
    parameter: inspect.Parameter, said: Mapping[str, str], group: str | None = None
) -> inspect.Parameter:
    """Return a parameter with help, group and what a shell completes."""
    name, annotation = parameter.name, parameter.annotation
    note: Any = said.get(name)
    if get_origin(annotation) is Annotated:
        annotation, note = get_args(annotation)
    if note is None or isinstance(note, str):
        is_option = parameter.kind is parameter.KEYWORD_ONLY
        note = (typer.Option if is_option else typer.Argument)(help=note)
    note = copy.copy(note)
    if annotation is bool and parameter.default is False and not note.param_decls:
        note.param_decls = (f"--{name.replace('_', '-')}",)
    note.autocompletion = _COMPLETED.get(name)
    note.rich_help_panel = _GROUPS.get(name, group)
    return parameter.replace(annotation=Annotated[annotation, note])


def _values(*values: str) -> Callable[[str], Iterable[str]]:
    """Return what completes a value, or the last of several that are separated by commas."""
    return lambda incomplete: (f"{incomplete[: incomplete.rfind(',') + 1]}{v}" for v in values)


# What a shell completes; of other options, it offers files.
_COMPLETED: dict[str, Callable[..., Any]] = {
    "sampler": _values(*_SEARCHERS),
    "samplers": _values(*_SEARCHERS),
    "controls": _values(*_CONTROLS, "none"),
    "dataset": _values("digits", "mnist", "fashion_mnist"),
    "optimizer": _values("adam", "adamw", "nadam", "rmsprop", "sgd"),
    "activation": _values("relu", "tanh", "sigmoid", "elu", "gelu", "selu", "silu"),
    "metric": _values(
        *(f"{part}_{of}" for of in ("accuracy", "loss") for part in ("val", "train")),
        *("val_r2", "val_rmse", "val_mae"),
    ),
}


def default_name(first: str, options: Mapping[str, Any]) -> str:
    """Return a study's name that begins with ``first`` and tells what is not by default."""
    told = {k: v for k, v in not_default(options).items() if k != "data_dir"}
    if "dataset" in told:
        told["dataset"] = Path(told["dataset"]).name
    return "-".join([first, *(f"{k.replace('_', '-')}={v}" for k, v in told.items())])


def named(options: dict[str, Any], first: str, network: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with a name of the study, by default one that tells of the network."""
    name = options["study_name"]
    return {**options, "study_name": default_name(first, network) if name is None else name}


def check_no_network(options: Mapping[str, Any], of: str) -> None:
    """Refuse options of a network where something else is given, which would not heed them."""
    given = [f"--{k.replace('_', '-')} {v}" for k, v in not_default(options).items()]
    if given:
        raise WrongValueError(f"Options of networks ({' '.join(given)}) are not those of {of}.")


def not_default(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the options of a network that are not by default."""
    defaults = {name: option.default for name, option in _part("objective").items()}
    return {k: options[k] for k, value in defaults.items() if options.get(k, value) != value}


def integers(option: str, text: str) -> tuple[int, ...]:
    """Return the whole numbers of a list."""
    if not re.fullmatch(r"\d+(,\d+)*,?", text):
        wanted = "must be whole numbers separated by commas"
        raise WrongValueError(f"{option} {wanted}, but it is {text!r:.100}.")
    return tuple(map(int, text.rstrip(",").split(",")))


def load_function(option: str, text: str) -> Callable[..., Any]:
    """Return a function that is given as ``module:function``, out of this folder first."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    module, _, name = text.replace(".py:", ":").partition(":")  # As a shell completes it.
    if not (module and name):
        raise WrongValueError(f"{option} must be MODULE:FUNCTION, but it is {text!r}.")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except Exception as error:  # Whatever a user's own module raises.
        why = f"{type(error).__name__}: {error}"
        raise WrongValueError(f"{option} {text!r} cannot be loaded ({why}).") from error
    return function


def load_models(texts: Sequence[str]) -> dict[str, Any]:
    """Return the models of a list of ``.keras`` files and ``module:function``, by their labels."""
    from adnn_optuna.networks.keras_files import model_from_file

    models = {}
    for text in texts:
        label, _, where = text.rpartition("=")
        if where.endswith(".keras"):
            build: Any = model_from_file(Path(where))
            name = Path(where).stem
        else:
            build = load_function("MODELS", where)
            name = where.rpartition(":")[2]
        if (label := label or name) in models:
            raise WrongValueError(f"Two models are called {label!r}; write LABEL=MODEL for one.")
        models[label] = build
    return models


def parse_storage(text: str) -> str:
    """Return the URL of a storage that is a URL or the path of an SQLite file."""
    is_path = masked(text) == text and "://" not in text
    return f"sqlite:///{text}" if is_path else text


def parse_controls(text: str | None) -> Sequence[str] | None:
    """Return the controls of a list, if there is one."""
    return [] if text == "none" else None if text is None else text.split(",")


def parse_against(text: str | None) -> Any:
    """Return a trial's number, or parameters that are given as JSON."""
    if text is None or text.isdecimal():
        return text and int(text)
    if not isinstance(params := _name_or_config("--against", text), dict):
        raise WrongValueError(
            f"--against must be a trial's number, or parameters as JSON, but it is {text!r:.100}."
        )
    return params


def parse_confirm(text: str) -> Any:
    """Return a number of seeds, or what is to be refused as none."""
    return int(text) if text.isdecimal() else text


def parse_seeds(text: str) -> Sequence[int]:
    """Return the seeds of a count, a list or a range with both its ends."""
    if ends := re.fullmatch(r"(\d+)-(\d+)", text):
        return range(int(ends[1]), int(ends[2]) + 1)
    return range(int(text)) if text.isdecimal() else integers("--seeds", text)


def _name_or_config(option: str, text: str) -> str | dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return text
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise WrongValueError(f"{option} is no valid JSON ({error}): {text!r:.100}.") from None
