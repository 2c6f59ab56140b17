"""What the commands of ``adnn`` take: their options, and how these become Python objects."""

import functools
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from adnn_optuna._checks import WrongValueError, check_output_file
from adnn_optuna.cli import declared
from adnn_optuna.cli.output import load_libraries

if TYPE_CHECKING:
    import keras

    from adnn_optuna import Dataset, InitOffsetObjective, Training

DEFAULT_STORAGE = "sqlite:///adnn.db"
# What Python has otherwise, or not at all.
Storage = Annotated[str, "Database of the studies: any URL that Optuna takes."]
StudyName = Annotated[str, "Name of the study or comparison, as it was shown."]
_NEW_NAME = "New or continued; by default one that tells all settings that are not by default."
NewName = Annotated[str | None, _NEW_NAME]
Contract = Annotated[
    Path | None,
    "Write the result as a contract (.json), which adnn verify checks, and beside it the winner's "
    "trained weights (.npz).",
]
Report = Annotated[Path | None, "The .html file for a report, all figures included."]
ModelCard = Annotated[Path | None, "The .md file for a model card that Hugging Face reads."]
Plot = Annotated[Path | None, "The .html file for the figure."]
Sampler = Annotated[str, f"{declared.arms(is_control=False)}."]
_CONTROLS = (
    f"{declared.arms(is_control=True)}, or none; by default learning_rate, from 10 trials on."
)
Controls = Annotated[str | None, f"What the same compute buys otherwise: {_CONTROLS}"]
Seeds = Annotated[str, "The seeds of the runs: 10 (the seeds 0 to 9), 1,2,5 or 10-19."]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show the results only: no progress bar, no hints.")
]
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
    scale: Literal["auto", "none", "standard"] = "auto",
    class_weight: Literal["balanced"] | None = None,
    sample_weight: str | None = None,
    groups: str | None = None,
    missing: Literal["refuse", "impute"] = "refuse",
    rare: Literal["refuse", "other"] = "refuse",
) -> "Dataset":
    """Return the data of a command's options; those of Python check them."""
    options: dict[str, Any] = locals()
    from adnn_optuna import load_dataset

    for name in ("validation_size", "test_size"):
        size = options[name]
        # A number of samples is a whole one.
        options[name] = int(size) if size is not None and size.is_integer() else size
    return load_dataset(options.pop("dataset"), **options)


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
) -> "tuple[Dataset, Training]":
    """Return data and training."""
    options: dict[str, Any] = locals()
    from adnn_optuna import Training

    del options["data"]
    training = Training(**options)
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
) -> "InitOffsetObjective":
    """Return the objective of a network that does not move."""
    from adnn_optuna import MLP, InitOffsetObjective

    kernel = _name_or_config("--kernel-initializer", kernel_initializer)
    bias = _name_or_config("--bias-initializer", bias_initializer)
    model = MLP(_integers("--hidden", hidden), activation, kernel, bias)
    data, settings = make_training(**training)
    return InitOffsetObjective(model, data, training=settings, metric=metric, seed=seed)


def make_objective(
    *,
    low: float = -0.2,
    high: float = 0.2,
    scope: Literal["layer", "shared"] = "layer",
    unit: Literal["absolute", "stddev"] = "absolute",
    include_output: bool = False,
    **network: Any,
) -> "InitOffsetObjective":
    """Return the objective of a network with its init offsets."""
    from adnn_optuna import OffsetSpace

    space = OffsetSpace(low, high, scope, include_output=include_output, unit=unit)
    return make_network(**network).replace(space=space)


# What makes the options that a verb passes on by a name, and where they are documented.
_MADE_BY: dict[str, tuple[Callable[..., object], tuple[str, ...]]] = {
    "data": (load_data, ("load_dataset",)),
    "training": (make_training, ("Training",)),
    "network": (make_network, ("MLP", "InitOffsetObjective")),
    "objective": (make_objective, ("OffsetSpace",)),
}
# Where a verb's own options are, if not in the function of its name.
_DOCUMENTED = {
    "plan": "compare",
    "report": "compare",
    "luck": "expected_luck",
    "variance": "measure_variance",
}


def with_help(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb's arguments and options their help, also those that it passes on.

    Its argument ``limits`` stands for an option for each.
    """
    name = verb.__name__
    own = inspect.signature(verb)
    given = _explained(own, (_DOCUMENTED.get(name, name),))
    limits = [limit for limit in declared.limits() if limit.name not in given]
    parameters: list[inspect.Parameter] = []
    for parameter in sorted(given.values(), key=lambda p: p.name not in own.parameters):
        parameters += limits if parameter.name == "limits" else [parameter]
    verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    if "limits" not in given:
        return verb

    @functools.wraps(verb)
    def with_limits(**options: Any) -> None:
        verb(limits={limit.name: options.pop(limit.name) for limit in limits}, **options)

    return with_limits


def _explained(
    signature: inspect.Signature, documented: Iterable[str]
) -> dict[str, inspect.Parameter]:
    """Return parameters with their help, those of the data first among what is passed on."""
    said = {k: text for name in documented for k, text in declared.arguments(name).items()}
    passed_on, own = {}, {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            make, where = _MADE_BY[name]
            passed_on = _explained(inspect.signature(make), where)
            continue
        annotation, note = parameter.annotation, said.get(name)
        if get_origin(annotation) is Annotated:
            annotation, note = get_args(annotation)
        if isinstance(note, str):
            is_option = parameter.kind is parameter.KEYWORD_ONLY
            check = _check_page if name in ("output", "plot", "report", "model_card") else None
            note = (typer.Option if is_option else typer.Argument)(help=note, callback=check)
        own[name] = parameter.replace(annotation=Annotated[annotation, note])
    return {**passed_on, **own}


def _check_page(option: typer.CallbackParam, file: Path | None) -> Path | None:
    """Refuse a file that cannot be written, before there is what to write."""
    if file is not None:
        check_output_file(option.opts[0], file, ".md" if option.name == "model_card" else ".html")
    return file


def default_name(first: str, verb: Callable[..., None], options: Mapping[str, Any]) -> str:
    """Return a study's name that begins with ``first`` and tells what is not by default."""
    defaults = inspect.signature(verb).parameters
    told = {k: v for k, v in options.items() if v != defaults[k].default and k != "data_dir"}
    if "dataset" in told:
        told["dataset"] = Path(told["dataset"]).name
    return "-".join([first, *(f"{k.replace('_', '-')}={v}" for k, v in told.items())])


def _integers(option: str, text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(,\d+)*,?", text):
        wanted = "must be whole numbers separated by commas"
        raise WrongValueError(f"{option} {wanted}, but it is {text!r}.")
    return tuple(map(int, text.rstrip(",").split(",")))


def load_function(option: str, text: str) -> Callable[..., Any]:
    """Return a function that is given as ``module:function``, out of this folder first."""
    module, _, name = text.partition(":")
    if not (module and name):
        raise WrongValueError(f"{option} must be MODULE:FUNCTION, but it is {text!r}.")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise WrongValueError(f"{option} {text!r} cannot be loaded: {error}.") from None
    return function


def load_models(texts: Sequence[str]) -> "dict[str, Callable[[], keras.Model]]":
    """Return the models of a list of ``.keras`` files and ``module:function``, by their labels."""
    from adnn_optuna.networks.keras_files import model_from_file

    models = {}
    for text in texts:
        label, is_labelled, where = text.rpartition("=")
        if where.endswith(".keras"):
            build: Any = model_from_file(Path(where))
            name = Path(where).stem
        else:
            build = load_function("MODELS", where)
            name = where.rpartition(":")[2]
        if (label := label if is_labelled else name) in models:
            raise WrongValueError(f"Two models are called {label!r}; write LABEL=MODEL for one.")
        models[label] = build
    return models


def parse_storage(text: str) -> str:
    """Return the URL of a storage that is a URL or the path of an SQLite file."""
    return text if "://" in text else f"sqlite:///{text}"


def parse_controls(text: str | None) -> Sequence[str] | None:
    """Return the controls of a list, if there is one."""
    return [] if text == "none" else None if text is None else text.split(",")


def parse_against(text: str | None) -> Any:
    """Return a trial's number, or parameters that are given as JSON."""
    if text is None or re.fullmatch(r"\d+", text):
        return text and int(text)
    if not isinstance(params := _name_or_config("--against", text), dict):
        raise WrongValueError(
            f"--against must be a trial's number, or parameters as JSON, but it is {text!r}."
        )
    return params


def parse_confirm(text: str) -> Any:
    """Return a number of seeds, or what is to be refused as none."""
    return int(text) if re.fullmatch(r"\d+", text) else text


def parse_seeds(text: str) -> Sequence[int]:
    """Return the seeds of a count, a list or a range with both its ends."""
    if ends := re.fullmatch(r"(\d+)-(\d+)", text):
        return range(int(ends[1]), int(ends[2]) + 1)
    return range(int(text)) if re.fullmatch(r"\d+", text) else _integers("--seeds", text)


def _name_or_config(option: str, text: str) -> str | dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return text
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise WrongValueError(f"{option} is no valid JSON ({error}): {text!r}.") from None
