"""The command line ``adnn``: a thin layer on `search`, `resume` and `compare`.

Results go to stdout; progress, hints and errors to stderr. Importing this module, and with it
every ``--help``, leaves TensorFlow alone.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import re
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import optuna
import typer

import adnn_optuna as adnn
from adnn_optuna.data import load_dataset
from adnn_optuna.models import ELEMENTWISE_OPTIMIZERS, MLP, Training
from adnn_optuna.objective import InitOffsetObjective, Metric
from adnn_optuna.offsets import OffsetSpace
from adnn_optuna.searchers import ANNEALING, GREEDY, RANDOM_RESTART, SEARCHERS
from adnn_optuna.storages import is_in_memory, masked, open_storage

if TYPE_CHECKING:
    from adnn_optuna.study import SearchResult

WRONG_INPUT = 2
UNEXPECTED = 3
INTERRUPTED = 130

_DEFAULT_STORAGE = "sqlite:///adnn.db"

app = typer.Typer(
    name="adnn",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"adnn_optuna {adnn.__version__}")
        raise typer.Exit


@app.callback()
def _adnn(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Search for the initial weights from which a network trains best.

    Train a network twice and its accuracy differs, because its weights start
    from random values. adnn searches over init offsets (values added to the
    seeded initial weights and biases) within limits of time, trials and gain,
    and says what was gained over the unmoved network. Studies are Optuna
    studies in a database: stop them, resume them, open them in
    optuna-dashboard.

    \b
    [bold]Start here[/bold] (digits needs no download)
    adnn search --max-trial 20
    adnn resume --study-name digits-annealing --max-trial 40
    adnn compare --max-trial 20 --seeds 5 --plot comparison.html

    \b
    [bold]Exit codes[/bold]
    0    done
    1    a verification failed
    2    wrong input: one sentence on stderr says how to mend it, nothing was written
    3    something unexpected: ADNN_DEBUG=1 in the environment shows the traceback
    130  interrupted (Ctrl-C or SIGTERM): all finished trials are kept
    """


def _objective(
    *,
    dataset: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.npz",
            help="digits, mnist, fashion_mnist, or an .npz file with the arrays x and y.",
            rich_help_panel="Data",
        ),
    ] = "digits",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder to look in first, e.g. for mnist/*-ubyte.gz.",
            rich_help_panel="Data",
            show_default="$ADNN_DATA_DIR, then /usr/share/datasets, then a download by Keras",
        ),
    ] = None,
    validation_size: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT|FRACTION",
            help="Held out of the training data to select on: a number of samples, or a fraction "
            "such as 0.1.",
            rich_help_panel="Data",
            show_default="10000 of mnist and fashion_mnist, else 0.2",
        ),
    ] = None,
    hidden: Annotated[
        str,
        typer.Option(
            metavar="UNITS[,UNITS...]",
            help="Units of each hidden layer, e.g. 64 or 256,256.",
            rich_help_panel="Network",
        ),
    ] = ",".join(map(str, MLP.hidden)),
    activation: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Keras activation of the hidden layers.",
            rich_help_panel="Network",
        ),
    ] = MLP.activation,
    kernel_initializer: Annotated[
        str,
        typer.Option(
            metavar="NAME|JSON",
            help="Keras initializer of all kernels: a name such as he_normal, or a configuration "
            """such as '{"class_name": "RandomNormal", "config": {"stddev": 1.0}}'.""",
            rich_help_panel="Network",
        ),
    ] = str(MLP.kernel_initializer),
    bias_initializer: Annotated[
        str,
        typer.Option(
            metavar="NAME|JSON",
            help="The same for all biases.",
            rich_help_panel="Network",
        ),
    ] = str(MLP.bias_initializer),
    optimizer: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"Keras optimizer: {', '.join(sorted(ELEMENTWISE_OPTIMIZERS))}.",
            rich_help_panel="Training",
        ),
    ] = str(Training.optimizer),
    learning_rate: Annotated[
        float,
        typer.Option(help="Learning rate of the optimizer.", rich_help_panel="Training"),
    ] = Training.learning_rate,
    batch_size: Annotated[
        int, typer.Option(help="Examples in a batch.", rich_help_panel="Training")
    ] = Training.batch_size,
    epochs: Annotated[
        int,
        typer.Option(
            help="How often each trial goes through the training data.",
            rich_help_panel="Training",
        ),
    ] = Training.epochs,
    shuffle: Annotated[
        bool,
        typer.Option(
            help="Draw the batches in a new, seeded order in each epoch, or take the data in "
            "their order.",
            rich_help_panel="Training",
        ),
    ] = Training.shuffle,
    metric: Annotated[
        Metric,
        typer.Option(
            help="What the search sees; losses are minimized. The test set is never searched on.",
            rich_help_panel="Training",
        ),
    ] = "val_accuracy",
    seed: Annotated[
        int,
        typer.Option(
            help="Seed of the initial weights, the order of the batches and the sampler.",
            rich_help_panel="Training",
        ),
    ] = 0,
    low: Annotated[
        float,
        typer.Option(help="The smallest offset, at most 0.", rich_help_panel="Offsets"),
    ] = OffsetSpace.low,
    high: Annotated[
        float,
        typer.Option(help="The largest offset, at least 0.", rich_help_panel="Offsets"),
    ] = OffsetSpace.high,
    scope: Annotated[
        Literal["layer", "shared"],
        typer.Option(
            help="layer: two offsets for each layer, of its weights and of its biases; shared: "
            "one for all of them.",
            rich_help_panel="Offsets",
        ),
    ] = OffsetSpace.scope,
    unit: Annotated[
        Literal["absolute", "stddev"],
        typer.Option(
            help="absolute: offsets are added as they are; stddev: in standard deviations of each "
            "initializer.",
            rich_help_panel="Offsets",
        ),
    ] = OffsetSpace.unit,
    include_output: Annotated[
        bool,
        typer.Option(
            "--include-output", help="Move the output layer too.", rich_help_panel="Offsets"
        ),
    ] = OffsetSpace.include_output,
) -> InitOffsetObjective:
    """Return the objective of a command's options; those of Python check them."""
    model = MLP(
        hidden=_whole_numbers("--hidden", hidden),
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
    _load_tensorflow()
    return InitOffsetObjective(
        model, data, training=training, space=space, metric=metric, seed=seed
    )


def _takes_objective(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of :func:`_objective`, and as first argument that objective.

    The argument is a partial object, for a command has things to check before TensorFlow loads.
    """
    options = inspect.signature(_objective, eval_str=True).parameters
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @functools.wraps(command)
    def with_objective(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        command(functools.partial(_objective, **chosen), **given)

    # Typer reads both.
    parameters = [*options.values(), *own]
    with_objective.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_objective.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_objective


_MaxTimeOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Seconds that the trials of a study may take, over all its runs. A training under "
        "way is cut off after its epoch.",
        rich_help_panel="Limits",
        show_default="none; in resume, the stored one",
    ),
]
_MaxTrialOption = Annotated[
    int | None,
    typer.Option(
        metavar="COUNT",
        help="Trials of a study, over all its runs.",
        rich_help_panel="Limits",
        show_default="none; in resume, the stored one",
    ),
]
_MaxGainOption = Annotated[
    float | None,
    typer.Option(
        metavar="GAIN",
        help="Gain over the unmoved network that is enough, in units of the metric: 0.02 is 2 "
        "percentage points of accuracy.",
        rich_help_panel="Limits",
        show_default="none; in resume, the stored one",
    ),
]
_StorageOption = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="Database of the studies: any URL that Optuna takes, such as sqlite:///FILE.db.",
        rich_help_panel="Storage",
    ),
]
_QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Show the results only: no progress bar, no hints. (The bar is shown on terminals.)",
    ),
]


@app.command()
@_takes_objective
def search(
    objective: functools.partial[InitOffsetObjective],
    *,
    context: typer.Context,
    sampler: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="greedy: the paper's walk of equal steps; greedy_improving: keeps only steps "
            "that improve; annealing: adaptive simulated annealing; random_restart: new random "
            "weights instead of offsets, the control.",
            rich_help_panel="Search",
        ),
    ] = ANNEALING,
    stack_size: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Trials that are asked for and trained at once.",
            rich_help_panel="Search",
            show_default="8 for greedy and random_restart, else 1",
        ),
    ] = None,
    max_time: _MaxTimeOption = None,
    max_trial: _MaxTrialOption = None,
    max_gain: _MaxGainOption = None,
    storage: _StorageOption = _DEFAULT_STORAGE,
    study_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the study; one that exists is continued.",
            rich_help_panel="Storage",
            show_default="DATASET-SAMPLER",
        ),
    ] = None,
    quiet: _QuietOption = False,
) -> None:
    """Search for the init offsets that train to the best network, within limits.

    Give at least one limit (the greedy searchers also end by themselves). The
    search selects on the validation set; the test set is used once, for the
    unmoved network and the winner.

    \b
    [bold]Examples[/bold]
    adnn search --max-trial 20
    adnn search --sampler greedy --hidden 256,256 --max-time 600
    adnn search --dataset fashion_mnist --data-dir ~/data --max-gain 0.02 --max-trial 100
    """
    data_dir = objective.keywords["data_dir"]
    name = study_name
    if name is None:
        name = f"{Path(objective.keywords['dataset']).stem}-{sampler}"
    resume_command = _resume_command(storage, name, data_dir)
    with _interruptible(
        lambda: resume_command if _is_stored(storage, name) else _same_command(context, storage)
    ):
        result = adnn.search(
            objective(),
            sampler,
            storage=storage,
            study_name=name,
            max_time=max_time,
            max_trial=max_trial,
            max_gain=max_gain,
            stack_size="auto" if stack_size is None else stack_size,
            show_progress_bar=_wants_progress_bar(quiet),
        )
    _show(result, storage, resume_command, quiet)


@app.command()
def resume(
    *,
    study_name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name of the study, as search showed it.",
            rich_help_panel="Storage",
        ),
    ],
    storage: _StorageOption = _DEFAULT_STORAGE,
    max_time: _MaxTimeOption = None,
    max_trial: _MaxTrialOption = None,
    max_gain: _MaxGainOption = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder to look in for the data first, as in adnn search.",
            rich_help_panel="Data",
        ),
    ] = None,
    quiet: _QuietOption = False,
) -> None:
    """Continue a stored search: one that was interrupted, or with higher limits.

    The study knows its model, data, training, searcher and limits. Limits given
    here replace the stored ones and hold for all runs together: a study of 20
    trials with --max-trial 50 runs 30 more. An interrupted search ends with the
    same trials as one that ran undisturbed.

    \b
    [bold]Examples[/bold]
    adnn resume --study-name digits-annealing
    adnn resume --study-name digits-annealing --max-trial 100
    adnn resume --storage sqlite:///other.db --study-name mine --max-time 3600
    """
    resume_command = _resume_command(storage, study_name, data_dir)
    with _interruptible(lambda: resume_command):
        from adnn_optuna.study import load_study

        opened = open_storage(storage, must_exist=True)
        load_study(opened, study_name)
        _load_tensorflow()
        result = adnn.resume(
            opened,
            study_name,
            max_time=max_time,
            max_trial=max_trial,
            max_gain=max_gain,
            data_dir=data_dir,
            show_progress_bar=_wants_progress_bar(quiet),
        )
    _show(result, storage, resume_command, quiet)


@app.command()
@_takes_objective
def compare(
    objective: functools.partial[InitOffsetObjective],
    *,
    context: typer.Context,
    max_trial: Annotated[
        int, typer.Option(metavar="COUNT", help="Trials of each run.", rich_help_panel="Limits")
    ],
    samplers: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME...",
            help=f"Searchers to compare, of {', '.join(SEARCHERS)}.",
            rich_help_panel="Search",
        ),
    ] = f"{GREEDY},{ANNEALING},{RANDOM_RESTART}",
    seeds: Annotated[
        str,
        typer.Option(
            metavar="COUNT|LIST|RANGE",
            help="Seeds of the runs, which replace --seed: 10 (the seeds 0 to 9), 1,2,5 or 10-19.",
            rich_help_panel="Search",
        ),
    ] = "10",
    stack_size: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            help="Trials that are trained at once, over all runs.",
            rich_help_panel="Search",
        ),
    ] = 16,
    max_time: _MaxTimeOption = None,
    max_gain: _MaxGainOption = None,
    storage: _StorageOption = _DEFAULT_STORAGE,
    study_name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What the studies' names begin with; those that exist are continued.",
            rich_help_panel="Storage",
        ),
    ] = "compare",
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Write the figure of the best gain so far to this file.",
            rich_help_panel="Output",
        ),
    ] = None,
    quiet: _QuietOption = False,
) -> None:
    """Compare searchers on the same networks, with paired seeds and the same budget.

    Every searcher runs once for each seed, from the same initial weights and on
    the same batches. The table gives the mean and the standard deviation over
    the seeds; random_restart shows what luck alone gains.

    \b
    [bold]Examples[/bold]
    adnn compare --max-trial 20 --seeds 5
    adnn compare --max-trial 30 --samplers greedy,annealing --plot comparison.html
    adnn compare --max-trial 50 --seeds 0-19 --hidden 256,256 --storage sqlite:///compare.db
    """
    if plot is not None:
        _check_plot(plot)
    names = samplers.split(",")
    chosen_seeds = _seeds(seeds)
    with _interruptible(lambda: _same_command(context, storage)):
        comparison = adnn.compare(
            objective(),
            names,
            max_trial=max_trial,
            seeds=chosen_seeds,
            storage=storage,
            study_name=study_name,
            max_time=max_time,
            max_gain=max_gain,
            stack_size=stack_size,
            show_progress_bar=_wants_progress_bar(quiet),
        )
    print(comparison)
    if plot is not None:
        comparison.plot().write_html(plot, include_plotlyjs=True)
    if not quiet:
        if plot is not None:
            _say(f"\nThe figure is in {plot}.")
        _say_how_to_look(storage)


def _whole_numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{option} must be whole numbers separated by commas, but it is {text!r}."
        ) from None


def _size(text: str) -> float:
    """Return a number of samples as an int, a fraction as a float."""
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        raise ValueError(
            f"--validation-size must be a number of samples or a fraction, but it is {text!r}."
        ) from None


def _seeds(text: str) -> Sequence[int]:
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


def _check_plot(path: Path) -> None:
    if path.suffix != ".html":
        raise ValueError(f"--plot must be the name of an .html file, but it is {str(path)!r}.")
    if not path.parent.is_dir() or path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"--plot {str(path)!r} cannot be written: name a file in a folder that exists and "
            "that you may write to."
        )


def _load_tensorflow() -> None:
    """Import TensorFlow without its start-up notices.

    It writes some of them before it looks at any log level, straight to file descriptor 2. That
    descriptor is a temporary file for so long, which is shown if the import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # A user's Keras configuration may name another one.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notices:
        stderr = os.dup(2)
        os.dup2(notices.fileno(), 2)
        try:
            import tensorflow as tf

            # Looking for a GPU is what the last notices are about.
            tf.config.list_physical_devices()
        except Exception:
            notices.seek(0)
            os.write(stderr, notices.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _wants_progress_bar(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()


def _say(text: str) -> None:
    print(text, file=sys.stderr)


@contextlib.contextmanager
def _interruptible(how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """Say how to go on where the user interrupts, and end with the exit code for it."""
    try:
        yield
    except KeyboardInterrupt:
        _say(f"Interrupted; all finished trials are kept. Go on with:\n    {how_to_go_on()}")
        raise typer.Exit(INTERRUPTED) from None


def _resume_command(storage: str, study_name: str, data_dir: Path | None) -> str:
    words = ["adnn", "resume", "--storage", masked(storage), "--study-name", study_name]
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    return shlex.join(words)


def _same_command(context: typer.Context, storage: str) -> str:
    words = [word.replace(storage, masked(storage)) for word in context.obj]
    return shlex.join(["adnn", *words])


def _is_stored(storage: str, study_name: str) -> bool:
    """Return whether there is a study that can be resumed."""
    from adnn_optuna.study import SEARCH, load_study

    try:
        study = load_study(open_storage(storage, must_exist=True), study_name)
    except (ValueError, FileNotFoundError):
        return False
    return SEARCH in study.user_attrs


def _show(result: SearchResult, storage: str, resume_command: str, quiet: bool) -> None:
    """Print a result, then how to go on from it."""
    from adnn_optuna.study import SEARCH

    print(result)
    if quiet or is_in_memory(storage):
        return
    reason = result.stop_reason or ""
    limit = result.study.user_attrs[SEARCH].get(reason)
    if limit is not None:
        _say(f"\nGo on:      {resume_command} {_option(reason)} {2 * limit:g}")
    _say_how_to_look(storage)


def _say_how_to_look(storage: str) -> None:
    if not is_in_memory(storage):
        _say(f"Look at it: {shlex.join(['optuna-dashboard', masked(storage)])}")


def _option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"


def _in_words_of_the_command_line(message: str) -> str:
    """Return an error's message in one line, with options for the parameters that it names."""
    commands: Any = typer.main.get_command(app)
    names = {
        parameter.name
        for command in commands.commands.values()
        for parameter in command.params
        if "_" in parameter.name
    }
    # Not where it is a part of a path, a URL or the name of a setting.
    pattern = rf"(?<![\w./'\"-])`?({'|'.join(sorted(names))})`?(?!\w|[./-]\w)"
    return re.sub(pattern, lambda match: _option(match[1]), " ".join(message.split()))


def _is_refusal(error: Exception) -> bool:
    """Return whether this package refused its input, rather than tripped over a bug.

    TensorFlow and Keras leave themselves out of tracebacks: that an error seems to come from here
    is not enough.
    """
    if not isinstance(error, ValueError | TypeError | FileNotFoundError):
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_here = Path(last.filename).is_relative_to(Path(__file__).parent)
    return is_here and (last.line or "").startswith("raise ")


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments:
            What follows ``adnn`` on the command line; without any, the help is shown.

    Returns:
        The exit code.
    """
    arguments = list(arguments) or ["--help"]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        code: int | None = app(arguments, prog_name="adnn", standalone_mode=False, obj=arguments)
    except typer.TyperException as error:
        # Typer's parser puts the kind of an error before its message.
        message = " ".join(error.format_message().replace("Value error, ", "").split())
        _say(f"adnn: {message.rstrip('.')}; see adnn --help.")
        return WRONG_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a traceback is for those who ask for it
        if os.environ.get("ADNN_DEBUG"):
            traceback.print_exc()
        if _is_refusal(error):
            _say(f"adnn: {_in_words_of_the_command_line(str(error))}")
            return WRONG_INPUT
        _say(
            f"adnn: Something unexpected happened, {type(error).__name__}: "
            f"{' '.join(str(error).split())} (ADNN_DEBUG=1 in the environment shows where)."
        )
        return UNEXPECTED
    return code or 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Run the command line of this process and end it with its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(run(sys.argv[1:]))
