"""Make the options of the commands of ``adnn`` from the arguments of Python functions.

Importing this module loads nothing but Typer. A command's options are made when it is called.
"""

import contextlib
import copy
import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

import adnn_optuna as adnn
from adnn_optuna._checks import WrongValueError
from adnn_optuna._files import check_output_file
from adnn_optuna.cli import docstrings
from adnn_optuna.cli.output import FILES, Answer, finish, load_libraries
from adnn_optuna.cli.parsing import integers, load_function, name_or_config, number_or_text, parsed

DEFAULT_STORAGE = "sqlite:///adnn.db"
Options = dict[str, Any]
"""The values of a command's options, by the names of Python's arguments."""
# These options differ from Python's arguments, or exist only in a shell.
_FUNCTION = "An Optuna objective, MODULE:FUNCTION (this folder first); omit it for a network."
Function = Annotated[str | None, _FUNCTION]
Storage = Annotated[str, "Database of the studies: an SQLite file, or any URL that Optuna takes."]
StudyName = Annotated[str, "Name of the study or comparison, as it was shown."]
_NEW_NAME = "A new or a stored study; its default name lists the settings that are not defaults."
NewName = Annotated[str | None, _NEW_NAME]
_AGAINST = (
    "The baseline of the gain: a trial's number, or all parameters as JSON; by default the "
    "baseline network, or trial 0 if it was enqueued."
)
_GROUPS_OF_ROWS = "The column with the group of each row, whose rows are not independent."
_SAMPLERS = (
    "Samplers, separated by commas; by default greedy,annealing,random_restart, for functions "
    "tpe,annealing."
)


def _arms(*, are_controls: bool) -> dict[str, str]:
    """Return the help of each sampler, or of each control, by its name."""
    from adnn_optuna.experiments.controls import ARMS

    arms = ARMS.values()
    return {arm.name: arm.help for arm in arms if arm.help and arm.is_control == are_controls}


def _listed(*, are_controls: bool) -> str:
    arms = _arms(are_controls=are_controls)
    return ", ".join(f"{name} ({does})" for name, does in arms.items())


Sampler = Annotated[str, lambda: f"{_listed(are_controls=False)}."]
_Controls = Annotated[
    str | None,
    lambda: (
        f"Other uses of the same compute: {_listed(are_controls=True)}, or none; by default "
        "learning_rate, from 10 trials on."
    ),
]
_Seeds = Annotated[str, "The seeds of the runs: 10 (the seeds 0 to 9), 1,2,5 or 10-19."]
_Resampled = Annotated[
    str | None,
    "If rows or seeds are splits of one data set, the numbers of training and test examples of a "
    "split, such as 800,200. Pass False if they are independent.",
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show results only: no progress bar.")]
Json = Annotated[bool, typer.Option(help="Show the result as JSON, and nothing else on stdout.")]
_AT_ONCE = "Trials proposed before any is reported; by default 8, or 1 to learn from each trial."
AtOnce = Annotated[int | None, typer.Option(min=1, help=_AT_ONCE)]
_DATASET = "digits, mnist, fashion_mnist, or a .csv[.gz] or .parquet table, or an .npz of x and y."
Dataset = Annotated[str, typer.Option("--dataset", "--data", help=_DATASET)]

# These public functions and classes make a network, in this order. Each has the name of its group
# in the help, and the names of the arguments that a shell can pass.
_SOURCES = {
    "load_dataset": (
        "Data",
        """data_dir validation_size test_size target task class_weight sample_weight groups missing
        rare positive""",
    ),
    "Training": (
        "Training",
        """optimizer learning_rate batch_size epochs shuffle patience min_delta
        restore_best_weights""",
    ),
    "MLP": ("Network", "hidden activation kernel_initializer bias_initializer"),
    "InitOffsetObjective": ("Network", "metric seed"),
    "OffsetSpace": ("Offsets", "low high scope unit include_output"),
}
# A command's function has arguments such as ``training``. The options of the first functions and
# classes above replace such an argument; the value says how many.
_LEVELS = {"data": 1, "training": 2, "network": 4, "objective": 5}
# In Python, these arguments have no defaults, because a compiled model has its own values.
_DEFAULTS = {"optimizer": "adam", "learning_rate": 0.001}
# The groups in the help for options that are not in `_SOURCES`.
_GROUPS = {
    "data_dir": "Data",
    **dict.fromkeys(("max_trial", "max_time", "max_memory"), "Limits"),
    **dict.fromkeys(("output", *FILES, "quiet", "json"), "Output"),
}
# The Python function behind a command, if the names differ.
_IN_PYTHON = {
    "contract": "resume",
    "luck": "expected_luck",
    "variance": "measure_variance",
}
# The types of options for the annotations of Python's arguments, for all commands.
_PASSED: dict[str, Any] = {
    "bool": bool,
    "int": int,
    "int | None": int | None,
    "float": float,
    "float | None": float | None,
    "str": str,
    "str | None": str | None,
}
# Some arguments are texts in a shell. These are the types of their options, by name.
_AS_TEXT: dict[str, Any] = {
    "against": Annotated[str | None, _AGAINST],
    "baseline_file": Path | None,
    "confirm": str,
    "controls": _Controls,
    "data_dir": Path | None,
    "direction": Literal["minimize", "maximize"] | None,
    "groups": Annotated[str | None, _GROUPS_OF_ROWS],
    "replicate": str,
    "resampled": _Resampled,
    "samplers": Annotated[str | None, _SAMPLERS],
    "seeds": _Seeds,
}


def with_options(verb: Callable[..., Answer], files: Sequence[str]) -> Callable[..., None]:
    """Return a command that calls ``verb``, such as a function of :mod:`adnn_optuna.cli.commands`.

    Its arguments ``data``, ``training``, ``network``, ``objective`` and ``limits`` are each
    replaced by a group of options. ``options`` is replaced by the other arguments of the Python
    function that a shell can pass, such as numbers, flags and the storage. The command shows the
    returned result as text or as JSON, and writes the ``files``.
    """
    own_parameters = {**inspect.signature(verb).parameters}
    parameter_names = [*own_parameters]
    for name in files:
        own_parameters[name] = _option(name, None, Annotated[Path | None, FILES[name].help])
    own_parameters |= {
        "quiet": _option("quiet", False, Quiet),
        "json": _option("json", False, Json),
    }
    # If the Python API has no function for the command, the help comes from ``verb`` itself.
    in_python = getattr(adnn, _IN_PYTHON.get(verb.__name__, verb.__name__), verb)
    parts = _parts(own_parameters, in_python)
    docs = docstrings.arguments(in_python)
    parameters: list[inspect.Parameter] = []
    for name, parameter in own_parameters.items():
        parameters += parts[name].values() if name in parts else [_explained(parameter, docs)]
    has_bar = "options" in parts and "show_progress_bar" in inspect.signature(in_python).parameters

    def command(**given: Any) -> None:
        files_by_option = {name: given[name] for name in files}
        # A wrong file raises an error before the work begins.
        for name, file in files_by_option.items():
            if file is not None:
                check_output_file(as_option(name), file, FILES[name].suffix)
        if files_by_option.get("contract"):
            if given.get("function"):
                raise WrongValueError("--contract must be omitted for a function.")
            _check_contract(given)
        arguments: dict[str, Any] = {
            name: given[name] for name in parameter_names if name not in parts
        }
        for part, of_part in parts.items():
            arguments[part] = {name: given[name] for name in of_part}
        arguments |= arguments.pop("options", {})
        arguments = {name: parsed(name, value) for name, value in arguments.items()}
        if arguments.get("failed") is not None:  # In a shell, `failed` also counts raised errors.
            arguments["catch"] = Exception
        if has_bar:
            arguments["show_progress_bar"] = not given["quiet"]
        # Stdout is only for results, so notices of Keras and prints of functions go to stderr.
        with contextlib.redirect_stdout(sys.stderr):
            answer = verb(**arguments)
        command_name = verb.__name__.replace("_", "-")
        finish(
            command_name, answer, in_json=given["json"], quiet=given["quiet"], **files_by_option
        )

    command.__doc__ = verb.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _check_contract(given: Options) -> None:
    """Raise an error for options of a search that make a contract impossible."""
    from adnn_optuna.experiments.contract_file import PAIRS

    if given.get("test") is False:
        raise WrongValueError(
            "--contract needs a test-set evaluation, which --no-test prevents. Omit one of them."
        )
    if number_or_text(given.get("confirm", "")) in range(1, PAIRS[0]):
        raise WrongValueError(
            f"--confirm must be at least {PAIRS[0]} with --contract; got {given['confirm']}."
        )


def as_option(name: str) -> str:
    """Return the name of the option for an argument of Python."""
    return f"--{name.replace('_', '-')}"


def _parts(
    own: Mapping[str, inspect.Parameter], in_python: Callable[..., Any]
) -> dict[str, dict[str, inspect.Parameter]]:
    """For each argument that options replace, such as ``limits``, return these options."""
    parts = {name: _part(name) for name in own if name in _LEVELS}
    if "limits" in own:
        from adnn_optuna.callbacks import LIMITS

        parts["limits"] = {}
        for limit in LIMITS:
            name = limit.name
            if name not in own:
                option = _option(name, None, limit.kind | None)
                parts["limits"][name] = _explained(option, {name: limit.help}, "Limits")
    if "options" in own:
        offered = {*own, *itertools.chain(*parts.values()), "show_progress_bar"}
        parts["options"] = {}
        docs = docstrings.arguments(in_python)
        for name, parameter in inspect.signature(in_python).parameters.items():
            passed = _passed(parameter)
            if passed and name not in offered:
                parts["options"][name] = _explained(passed, docs)
    return parts


def _passed(parameter: inspect.Parameter) -> inspect.Parameter | None:
    """Return the option for an argument of Python, or :obj:`None` if a shell cannot pass it."""
    name = parameter.name
    kind = parameter.annotation
    if name == "storage":
        return _option(name, DEFAULT_STORAGE, Storage)
    if name == "study_name":
        return _option(name, None, NewName)
    text = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    if text in _PASSED:
        return _option(name, parameter.default, _PASSED[text])
    if name not in _AS_TEXT:
        return None
    default = parameter.default
    if default is not None:
        default = str(default)
    return _option(name, default, _AS_TEXT[name])


def _option(name: str, default: object, annotation: Any) -> inspect.Parameter:
    kind: Any = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


@functools.cache
def _part(level: str) -> dict[str, inspect.Parameter]:
    """Return the options of data, training, network or objective."""
    options = {"dataset": _explained(_option("dataset", "digits", Dataset), {}, "Data")}
    for source in [*_SOURCES][: _LEVELS[level]]:
        group, names = _SOURCES[source]
        documented = getattr(adnn, source)
        docs = docstrings.arguments(documented)
        parameters = inspect.signature(documented, eval_str=True).parameters
        for name in names.split():
            default = _DEFAULTS.get(name, parameters[name].default)
            if isinstance(default, tuple):
                default = ",".join(map(str, default))
            option = _option(name, default, _kind_in_shell(parameters[name].annotation))
            options[name] = _explained(option, docs, group)
    return options


def _kind_in_shell(annotation: Any) -> Any:
    """Return the type of an option, which is text for lists and configurations."""
    kinds = {*(get_args(annotation) or (annotation,))}
    if get_origin(annotation) is Literal or any(get_origin(kind) is Literal for kind in kinds):
        return annotation
    simple: Any = next((kind for kind in (bool, int, float) if kind in kinds), str)
    if any("PathLike" in str(kind) for kind in kinds):
        simple = Path
    if get_origin(annotation) is tuple:
        return str
    if NoneType in kinds or annotation is Any:
        return simple | None
    return simple


def _explained(
    parameter: inspect.Parameter, said: Mapping[str, str], group: str | None = None
) -> inspect.Parameter:
    """Return the option with its help, its group and the values that a shell completes."""
    name = parameter.name
    annotation = parameter.annotation
    note: Any = said.get(name)
    if get_origin(annotation) is Annotated:
        annotation, note = get_args(annotation)
    if inspect.isfunction(note):
        note = note()
    if note is None or isinstance(note, str):
        is_option = parameter.kind is parameter.KEYWORD_ONLY
        note = (typer.Option if is_option else typer.Argument)(help=note)
    note = copy.copy(note)
    if annotation is bool and parameter.default is False and not note.param_decls:
        note.param_decls = (as_option(name),)
    note.autocompletion = _COMPLETED.get(name)
    note.rich_help_panel = _GROUPS.get(name, group)
    return parameter.replace(annotation=Annotated[annotation, note])


def _values(values: Callable[[], Iterable[str]]) -> Callable[[str], Iterable[str]]:
    """Return a function that completes a value.

    In a list with commas, it completes the last value.
    """
    return lambda incomplete: (f"{incomplete[: incomplete.rfind(',') + 1]}{v}" for v in values())


# The values that a shell completes. For all other options, a shell offers files.
_COMPLETED: dict[str, Callable[..., Any]] = {
    "sampler": _values(lambda: _arms(are_controls=False)),
    "samplers": _values(lambda: _arms(are_controls=False)),
    "controls": _values(lambda: [*_arms(are_controls=True), "none"]),
}


def _options_of(source: str, options: Options) -> Options:
    """Return the values of the options that belong to this function or class."""
    _, names = _SOURCES[source]
    return {name: options[name] for name in names.split() if name in options}


def load_data(options: Options) -> "adnn.Dataset":
    """Return the dataset that the options describe."""
    of_data = _options_of("load_dataset", options)
    for name in ("validation_size", "test_size"):
        size = of_data.get(name)
        # A whole number is a number of examples. Any other number is a share.
        if size is not None and size % 1 == 0:
            of_data[name] = int(size)
    return adnn.load_dataset(options.get("dataset", "digits"), **of_data)


def make_training(options: Options) -> "tuple[adnn.Dataset, adnn.Training]":
    """Return the dataset and the training settings that the options describe."""
    of_training: Options = _DEFAULTS | _options_of("Training", options)
    loaded = load_data(options)
    load_libraries()
    return loaded, adnn.Training(**of_training)


def make_network(options: Options) -> "adnn.InitOffsetObjective":
    """Return the objective of the network that the options describe. Its space is the default."""
    of_model = _options_of("MLP", options)
    for name in {"kernel_initializer", "bias_initializer"} & {*of_model}:
        of_model[name] = name_or_config(as_option(name), of_model[name])
    if "hidden" in of_model:
        of_model["hidden"] = integers("--hidden", of_model["hidden"])
    model, (data, training) = adnn.MLP(**of_model), make_training(options)
    of_objective = _options_of("InitOffsetObjective", options)
    return adnn.InitOffsetObjective(model, data, training=training, **of_objective)


def searched(function: str | None, options: Options) -> Any:
    """Return the user's function, or an objective over a network's init offsets."""
    if function is not None:
        check_no_network(options, "a function")
        return load_function("FUNCTION", function)
    space = adnn.OffsetSpace(**_options_of("OffsetSpace", options))
    return make_network(options).replace(space=space)


def default_name(first: str, options: Options) -> str:
    """Return a study's name.

    It contains ``first`` and each option that differs from its default.
    """
    set_options = {k: v for k, v in not_default(options).items() if k != "data_dir"}
    if "dataset" in set_options:
        set_options["dataset"] = Path(set_options["dataset"]).name
    parts = [first]
    for name, value in set_options.items():
        option = name.replace("_", "-")
        parts.append(f"{option}={value}")
    return "-".join(parts)


def named(options: Options, first: str, network: Options) -> Options:
    """Return the options with the study's name. By default, the name describes the network."""
    name = options["study_name"]
    if name is None:
        name = default_name(first, network)
    return {**options, "study_name": name}


def check_no_network(options: Options, of: str) -> None:
    """Raise an error for options of networks in a command about ``of``, such as a function."""
    network_options = [
        f"{as_option(name)} {value}" for name, value in not_default(options).items()
    ]
    if network_options:
        raise WrongValueError(
            f"Options of networks ({' '.join(network_options)}) must be omitted for {of}."
        )


def not_default(options: Options) -> Options:
    """Return the options of a network that differ from the defaults."""
    defaults = {name: option.default for name, option in _part("objective").items()}
    return {k: options[k] for k, value in defaults.items() if options.get(k, value) != value}
