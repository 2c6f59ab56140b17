"""What the commands of ``adnn`` take: their shared options, and how these become Python objects.

Importing this module leaves TensorFlow alone.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from adnn_optuna.cli._tensorflow import load_tensorflow
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.networks.data import load_dataset
from adnn_optuna.networks.metrics import Metric
from adnn_optuna.networks.models import ELEMENTWISE_OPTIMIZERS, MLP, Training
from adnn_optuna.networks.offsets import OffsetSpace

# Each makes an option that is shown in one panel of the help.
search_panel = functools.partial(typer.Option, rich_help_panel="Search")
data_panel = functools.partial(typer.Option, rich_help_panel="Data")
network_panel = functools.partial(typer.Option, rich_help_panel="Network")
training_panel = functools.partial(typer.Option, rich_help_panel="Training")
offsets_panel = functools.partial(typer.Option, rich_help_panel="Offsets")
limits_panel = functools.partial(typer.Option, rich_help_panel="Limits")
storage_panel = functools.partial(typer.Option, rich_help_panel="Storage")
output_panel = functools.partial(typer.Option, rich_help_panel="Output")


def _objective(
    *,
    dataset: Annotated[
        str,
        data_panel(
            metavar="NAME|FILE.npz",
            help="digits, mnist, fashion_mnist, or an .npz file with the arrays x and y.",
        ),
    ] = "digits",
    data_dir: Annotated[
        Path | None,
        data_panel(
            help="Folder to look in first, e.g. for mnist/*-ubyte.gz.",
            show_default="$ADNN_DATA_DIR, then /usr/share/datasets, then a download by Keras",
        ),
    ] = None,
    validation_size: Annotated[
        str | None,
        data_panel(
            metavar="COUNT|FRACTION",
            help="Held out of the training data to select on: a number of samples, or a fraction "
            "such as 0.1.",
            show_default="10000 of mnist and fashion_mnist, else 0.2",
        ),
    ] = None,
    hidden: Annotated[
        str,
        network_panel(
            metavar="UNITS[,UNITS...]", help="Units of each hidden layer, e.g. 64 or 256,256."
        ),
    ] = ",".join(map(str, MLP.hidden)),
    activation: Annotated[
        str, network_panel(metavar="NAME", help="Keras activation of the hidden layers.")
    ] = MLP.activation,
    kernel_initializer: Annotated[
        str,
        network_panel(
            metavar="NAME|JSON",
            help="Keras initializer of all kernels: a name such as he_normal, or a configuration "
            """such as '{"class_name": "RandomNormal", "config": {"stddev": 1.0}}'.""",
        ),
    ] = str(MLP.kernel_initializer),
    bias_initializer: Annotated[
        str, network_panel(metavar="NAME|JSON", help="The same for all biases.")
    ] = str(MLP.bias_initializer),
    optimizer: Annotated[
        str,
        training_panel(
            metavar="NAME", help=f"Keras optimizer: {', '.join(sorted(ELEMENTWISE_OPTIMIZERS))}."
        ),
    ] = str(Training.optimizer),
    learning_rate: Annotated[
        float, training_panel(help="Learning rate of the optimizer.")
    ] = Training.learning_rate,
    batch_size: Annotated[int, training_panel(help="Examples in a batch.")] = Training.batch_size,
    epochs: Annotated[
        int, training_panel(help="How often each trial goes through the training data.")
    ] = Training.epochs,
    shuffle: Annotated[
        bool,
        training_panel(
            help="Draw the batches in a new, seeded order in each epoch, or take the data in "
            "their order."
        ),
    ] = Training.shuffle,
    metric: Annotated[
        Metric,
        training_panel(
            help="What the search sees; losses are minimized. The test set is never searched on."
        ),
    ] = "val_accuracy",
    seed: Annotated[
        int,
        training_panel(
            help="Seed of the initial weights, the order of the batches and the sampler."
        ),
    ] = 0,
    low: Annotated[float, offsets_panel(help="The smallest offset, at most 0.")] = OffsetSpace.low,
    high: Annotated[
        float, offsets_panel(help="The largest offset, at least 0.")
    ] = OffsetSpace.high,
    scope: Annotated[
        Literal["layer", "shared"],
        offsets_panel(
            help="layer: two offsets for each layer, of its weights and of its biases; shared: "
            "one for all of them."
        ),
    ] = OffsetSpace.scope,
    unit: Annotated[
        Literal["absolute", "stddev"],
        offsets_panel(
            help="absolute: offsets are added as they are; stddev: in standard deviations of each "
            "initializer."
        ),
    ] = OffsetSpace.unit,
    include_output: Annotated[
        bool, offsets_panel("--include-output", help="Move the output layer too.")
    ] = OffsetSpace.include_output,
) -> InitOffsetObjective:
    """Return the objective of a command's options; those of Python check them."""
    model = MLP(
        hidden=_units(hidden),
        activation=activation,
        kernel_initializer=_name_or_config("--kernel-initializer", kernel_initializer),
        bias_initializer=_name_or_config("--bias-initializer", bias_initializer),
    )
    training = Training(
        optimizer=optimizer,
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        shuffle=shuffle,
    )
    space = OffsetSpace(low=low, high=high, scope=scope, unit=unit, include_output=include_output)
    data = load_dataset(
        dataset,
        data_dir,
        validation_size=None if validation_size is None else _size(validation_size),
    )
    load_tensorflow()
    return InitOffsetObjective(
        model, data, training=training, space=space, metric=metric, seed=seed
    )


def takes_objective(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of :func:`_objective`, and as first argument that objective.

    The argument is a partial object, for a command has things to check before TensorFlow loads.
    """
    options = inspect.signature(_objective, eval_str=True).parameters
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @functools.wraps(command)
    def with_objective(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        command(functools.partial(_objective, **chosen), **given)

    signature = inspect.Signature([*options.values(), *own])
    with_objective.__signature__ = signature  # type: ignore[attr-defined]
    return with_objective


_stored_limit = functools.partial(limits_panel, show_default="none; in resume, the stored one")
MaxTimeOption = Annotated[
    float | None,
    _stored_limit(
        metavar="SECONDS",
        help="Seconds that the trials of a study may take, over all its runs. A training under "
        "way is cut off after its epoch.",
    ),
]
MaxTrialOption = Annotated[
    int | None, _stored_limit(metavar="COUNT", help="Trials of a study, over all its runs.")
]
MaxGainOption = Annotated[
    float | None,
    _stored_limit(
        metavar="GAIN",
        help="Gain over the unmoved network that is enough, in units of the metric: 0.02 is 2 "
        "percentage points of accuracy.",
    ),
]
DEFAULT_STORAGE = "sqlite:///adnn.db"
StorageOption = Annotated[
    str,
    storage_panel(
        metavar="URL",
        help="Database of the studies: any URL that Optuna takes, such as sqlite:///FILE.db.",
    ),
]
ContractOption = Annotated[
    Path | None,
    output_panel(
        metavar="FILE.json",
        help="Write the result as a contract, which adnn verify checks, and beside it the "
        "winner's trained weights (.npz) and model (.keras).",
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Show the results only: no progress bar, no hints. (The bar is shown on terminals.)",
    ),
]
EquivalenceOption = Annotated[
    float,
    output_panel(
        metavar="ACCURACY",
        help="Difference of test accuracies up to which two searchers are equivalent; 0.001 is "
        "0.1 percentage points.",
    ),
]


def _units(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--hidden must be whole numbers separated by commas, but it is {text!r}."
        ) from None


def _size(text: str) -> float:
    """Return a number of samples as an int, a fraction as a float."""
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        raise ValueError(
            f"--validation-size must be a number of samples or a fraction, but it is {text!r}."
        ) from None


def parse_seeds(text: str) -> Sequence[int]:
    """Return the seeds of a count, a list or a range with both its ends."""
    ends = re.fullmatch(r"(\d+)-(\d+)", text)
    if ends:
        return range(int(ends[1]), int(ends[2]) + 1)
    if re.fullmatch(r"\d+", text):
        return range(int(text))
    if re.fullmatch(r"\d+(,\d+)*,?", text):
        return [int(part) for part in text.rstrip(",").split(",")]
    raise ValueError(
        f"--seeds must be a count such as 10, a list such as 1,2,5 or a range such as 10-19, but "
        f"it is {text!r}."
    )


def _name_or_config(option: str, text: str) -> str | dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return text
    try:
        config: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{option} is no valid JSON ({error}): {text!r}.") from None
    return config
