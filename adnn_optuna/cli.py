"""The command line ``adnn``: a thin layer on what the package offers in Python.

Results go to stdout; progress, hints and errors to stderr. Importing this module, and with it
every ``--help``, leaves TensorFlow alone.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import optuna
import typer

import adnn_optuna as adnn
from adnn_optuna._cli_options import (
    ContractOption,
    MaxGainOption,
    MaxTimeOption,
    MaxTrialOption,
    QuietOption,
    StorageOption,
    data_panel,
    limits_panel,
    output_panel,
    parse_seeds,
    search_panel,
    storage_panel,
    takes_objective,
)
from adnn_optuna._cli_tensorflow import load_tensorflow
from adnn_optuna._paths import is_folder
from adnn_optuna.objective import InitOffsetObjective
from adnn_optuna.paired_differences import EQUIVALENCE
from adnn_optuna.randomness import as_text, audit_file
from adnn_optuna.searchers import ANNEALING, GREEDY, RANDOM_RESTART, SEARCHERS
from adnn_optuna.storages import StorageError, is_in_memory, masked, open_storage

if TYPE_CHECKING:
    from adnn_optuna.results import SearchResult

BREACHED = 1
WRONG_INPUT = 2
UNEXPECTED = 3
FAILED = 4
INTERRUPTED = 130

# File systems take names of 255 bytes, and the files beside it have longer ones.
_MAX_FILE_NAME = 200

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
    adnn compare --max-trial 20 --seeds 10 --report comparison.html
    adnn verify digits.contract.json

    \b
    [bold]Exit codes[/bold]
    0    done
    1    adnn verify: the contract is breached
    2    wrong input: one sentence on stderr says how to mend it, nothing was written;
         adnn verify: the contract cannot be checked
    3    something unexpected: ADNN_DEBUG=1 in the environment shows the traceback
    4    the storage or the memory failed: all finished trials are kept
    130  interrupted (Ctrl-C or SIGTERM): all finished trials are kept
    """


@app.command()
@takes_objective
def search(
    objective: functools.partial[InitOffsetObjective],
    *,
    context: typer.Context,
    sampler: Annotated[
        str,
        search_panel(
            metavar="NAME",
            help="greedy: the paper's walk of equal steps; greedy_improving: keeps only steps "
            "that improve; annealing: adaptive simulated annealing; random_restart: new random "
            "weights instead of offsets, the control.",
        ),
    ] = ANNEALING,
    stack_size: Annotated[
        int | None,
        search_panel(
            metavar="COUNT",
            help="Trials that are asked for and trained at once.",
            show_default="8 for greedy and random_restart, else 1",
        ),
    ] = None,
    max_time: MaxTimeOption = None,
    max_trial: MaxTrialOption = None,
    max_gain: MaxGainOption = None,
    storage: StorageOption = _DEFAULT_STORAGE,
    study_name: Annotated[
        str | None,
        storage_panel(
            metavar="NAME",
            help="Name of the study; one that exists is continued.",
            show_default="DATASET-SAMPLER",
        ),
    ] = None,
    contract: ContractOption = None,
    quiet: QuietOption = False,
) -> None:
    """Search for the init offsets that train to the best network, within limits.

    Give at least one limit (the greedy searchers also end by themselves). The
    search selects on the validation set; the test set is used once, for the
    unmoved network and the winner.

    \b
    [bold]Examples[/bold]
    adnn search --max-trial 20 --contract digits.contract.json
    adnn search --sampler greedy --hidden 256,256 --max-time 600
    adnn search --dataset fashion_mnist --data-dir ~/data --max-gain 0.02 --max-trial 100
    """
    if contract is not None:
        _check_output("--contract", contract, ".json")
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
    _save_contract(result, contract, quiet)


@app.command()
def resume(
    *,
    study_name: Annotated[
        str, storage_panel(metavar="NAME", help="Name of the study, as search showed it.")
    ],
    storage: StorageOption = _DEFAULT_STORAGE,
    max_time: MaxTimeOption = None,
    max_trial: MaxTrialOption = None,
    max_gain: MaxGainOption = None,
    data_dir: Annotated[
        Path | None, data_panel(help="Folder to look in for the data first, as in adnn search.")
    ] = None,
    contract: ContractOption = None,
    quiet: QuietOption = False,
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
    if contract is not None:
        _check_output("--contract", contract, ".json")
    resume_command = _resume_command(storage, study_name, data_dir)
    with _interruptible(lambda: resume_command):
        from adnn_optuna.study import load_study

        opened = open_storage(storage, must_exist=True)
        load_study(opened, study_name)
        load_tensorflow()
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
    _save_contract(result, contract, quiet)


_EquivalenceOption = Annotated[
    float,
    output_panel(
        metavar="ACCURACY",
        help="Difference of test accuracies up to which two searchers are equivalent; 0.001 is "
        "0.1 percentage points.",
    ),
]


@app.command()
@takes_objective
def compare(
    objective: functools.partial[InitOffsetObjective],
    *,
    context: typer.Context,
    max_trial: Annotated[int, limits_panel(metavar="COUNT", help="Trials of each run.")],
    samplers: Annotated[
        str,
        search_panel(
            metavar="NAME,NAME...", help=f"Searchers to compare, of {', '.join(SEARCHERS)}."
        ),
    ] = f"{GREEDY},{ANNEALING},{RANDOM_RESTART}",
    seeds: Annotated[
        str,
        search_panel(
            metavar="COUNT|LIST|RANGE",
            help="Seeds of the runs, which replace --seed: 10 (the seeds 0 to 9), 1,2,5 or 10-19.",
        ),
    ] = "10",
    stack_size: Annotated[
        int, search_panel(metavar="COUNT", help="Trials that are trained at once, over all runs.")
    ] = 16,
    max_time: MaxTimeOption = None,
    max_gain: MaxGainOption = None,
    storage: StorageOption = _DEFAULT_STORAGE,
    study_name: Annotated[
        str,
        storage_panel(
            metavar="NAME",
            help="What the studies' names begin with; those that exist are continued.",
        ),
    ] = "compare",
    plot: Annotated[
        Path | None,
        output_panel(
            metavar="FILE.html", help="Write the figure of the best gain so far to this file."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        output_panel(
            metavar="FILE.html",
            help="Write a report with claim, evidence, figures and settings to this file.",
        ),
    ] = None,
    equivalence: _EquivalenceOption = EQUIVALENCE,
    quiet: QuietOption = False,
) -> None:
    """Compare searchers on the same networks, with paired seeds and the same budget.

    Every searcher runs once for each seed, from the same initial weights and on
    the same batches. The first table gives the mean and the standard deviation
    over the seeds; random_restart, which is always compared, shows what luck
    alone gains. The second says for each two searchers by how much their test
    accuracies differ, and whether one is better, worse, equivalent or whether
    that is undecided.

    \b
    [bold]Examples[/bold]
    adnn compare --max-trial 20 --seeds 5
    adnn compare --max-trial 30 --samplers greedy --report comparison.html
    adnn compare --max-trial 50 --seeds 0-19 --hidden 256,256 --storage sqlite:///compare.db
    """
    for option, path in (("--plot", plot), ("--report", report)):
        if path is not None:
            _check_output(option, path, ".html")
    names = samplers.split(",")
    chosen_seeds = parse_seeds(seeds)
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
            equivalence=equivalence,
            show_progress_bar=_wants_progress_bar(quiet),
        )
    print(comparison)
    if plot is not None:
        comparison.plot().write_html(plot, include_plotlyjs=True)
    if report is not None:
        comparison.report(report)
    if not quiet:
        _say("")
        if plot is not None:
            _say(f"The figure is in {plot}.")
        if report is not None:
            _say(f"The report is in {report}.")
        _say_how_to_look(storage)


@app.command()
def report(
    *,
    study_name: Annotated[
        str,
        storage_panel(
            metavar="NAME",
            help="Name of a study, or what the names of a comparison's studies begin with.",
        ),
    ],
    output: Annotated[Path, output_panel(metavar="FILE.html", help="The file to write.")] = Path(
        "report.html"
    ),
    contract: Annotated[
        Path | None,
        output_panel(
            metavar="FILE.json",
            help="The contract of the study, as search wrote it, to be shown in the report.",
        ),
    ] = None,
    storage: StorageOption = _DEFAULT_STORAGE,
    equivalence: _EquivalenceOption = EQUIVALENCE,
    quiet: QuietOption = False,
) -> None:
    """Write a report of a search or a comparison: one HTML file that opens from disk.

    It holds the claim in one sentence, the evidence, the figures and the
    settings, needs no network, and trains nothing: all is read from the studies.

    \b
    [bold]Examples[/bold]
    adnn report --study-name compare
    adnn report --study-name digits-annealing --output digits.html
    adnn report --study-name mine --contract mine.contract.json
    adnn report --storage sqlite:///demo.db --study-name demo --output demo-report.html
    """
    from adnn_optuna.comparison import load_comparison
    from adnn_optuna.results import record_of
    from adnn_optuna.study import load_study

    _check_output("--output", output, ".html")
    opened = open_storage(storage, must_exist=True)
    names = optuna.get_all_study_names(opened)
    if study_name in names or not any(name.startswith(f"{study_name}/") for name in names):
        record = record_of(load_study(opened, study_name))
        record.report(output, contract)
        print(record)
    elif contract is not None:
        raise ValueError(f"--contract is that of one study, but {study_name!r} is a comparison.")
    else:
        comparison = load_comparison(opened, study_name, equivalence=equivalence)
        comparison.report(output)
        print(comparison)
    if not quiet:
        _say(f"\nThe report is in {output}.")


def _check_output(option: str, path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise ValueError(f"{option} must be the name of a {suffix} file, but it is {str(path)!r}.")
    is_too_long = len(os.fsencode(path.name)) > _MAX_FILE_NAME
    is_writable = is_folder(path.parent) and os.access(path.parent, os.W_OK)
    if is_too_long or is_folder(path) or not is_writable:
        raise ValueError(
            f"{option} {str(path)!r} cannot be written: name a file in a folder that exists and "
            "that you may write to."
        )


def _save_contract(result: SearchResult, path: Path | None, quiet: bool) -> None:
    if path is None:
        return
    result.contract().save(path)
    if not quiet:
        _say(f"Check it:   {shlex.join(['adnn', 'verify', str(path)])}")


@app.command()
def audit(
    *,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL.keras]", help="A model as model.save of Keras wrote it."),
    ] = None,
    initializers: Annotated[
        bool,
        typer.Option(
            "--initializers", help="Show the initializers of the installed Keras instead."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Show JSON instead of a table.")] = False,
) -> None:
    """Show what is random in a Keras model: initial values, layers, and their seeds.

    Nothing in the file is executed: models with lambda layers or with classes that
    are not Keras's own are refused.

    \b
    [bold]Examples[/bold]
    adnn audit model.keras
    adnn audit model.keras --json
    adnn audit --initializers
    """
    if (file is None) != initializers:
        raise ValueError("Give either the file of a model or --initializers.")
    load_tensorflow()
    if file is None:
        table = adnn.initializers_table()
        print(table.to_json(orient="records", indent=1) if as_json else as_text(table))
        return
    found = audit_file(file)
    print(found.to_json() if as_json else found)


@app.command()
def verify(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The contract, as adnn search wrote it.")
    ],
    data_dir: Annotated[
        Path | None,
        data_panel(
            help="Folder to look in for the data first, as in adnn search.",
            show_default="as in adnn search; for data from an .npz file, the contract's folder",
        ),
    ] = None,
) -> None:
    """Check a contract: train its baseline and its winner again, and compare.

    Nothing in the file is executed, and nothing outside its folder is read
    because it says so.

    \b
    [bold]Verdicts and exit codes[/bold]
    exact             0  the same bits, in the same environment
    within_tolerance  0  in another environment (versions, processor, threads,
                         oneDNN), within the contract's tolerance
    breached          1  something differs, or the file was changed
    cannot_check      2  the file, the data or the model is missing, not readable
                         or not the contract's

    \b
    [bold]Examples[/bold]
    adnn search --max-trial 20 --contract digits.contract.json
    adnn verify digits.contract.json
    adnn verify fashion.contract.json --data-dir ~/data
    """
    load_tensorflow()
    verdict = adnn.verify(file, data_dir)
    print(verdict)
    codes = {"breached": BREACHED, "cannot_check": WRONG_INPUT}
    raise typer.Exit(codes.get(verdict.status, 0))


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
    from adnn_optuna.results import SEARCH
    from adnn_optuna.study import load_study

    try:
        study = load_study(open_storage(storage, must_exist=True), study_name)
    except (ValueError, FileNotFoundError):
        return False
    return SEARCH in study.user_attrs


def _show(result: SearchResult, storage: str, resume_command: str, quiet: bool) -> None:
    """Print a result, then how to go on from it."""
    from adnn_optuna.results import SEARCH

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
    # An interrupt that meets a connection on its way back to the pool would be shown as an error.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        code: int | None = app(arguments, prog_name="adnn", standalone_mode=False, obj=arguments)
    except typer.TyperException as error:
        # Typer's parser puts the kind of an error before its message.
        message = " ".join(error.format_message().replace("Value error, ", "").split())
        _say(f"adnn: {message.rstrip('.')}; see adnn --help.")
        return WRONG_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (StorageError, MemoryError) as error:
        _say(f"adnn: {error}")
        return FAILED
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
