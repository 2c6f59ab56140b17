"""The commands of ``adnn``, each a thin layer on what the package offers in Python.

Importing this module, and with it every ``--help``, leaves TensorFlow alone.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import optuna
import typer

import adnn_optuna as adnn
from adnn_optuna._attributes import CONFIG
from adnn_optuna._checks import check_output_file
from adnn_optuna.accountability.audit import as_text, audit_file
from adnn_optuna.accountability.contract_file import check_contract_path
from adnn_optuna.cli._tensorflow import load_tensorflow
from adnn_optuna.cli.options import (
    DEFAULT_STORAGE,
    ContractOption,
    EquivalenceOption,
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
from adnn_optuna.cli.output import (
    BREACHED,
    WRONG_INPUT,
    interruptible,
    is_resumable,
    resume_command,
    same_command,
    say,
    say_how_to_look,
    show,
    show_search,
    wants_progress_bar,
)
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import record_of
from adnn_optuna.engine.searchers import ANNEALING, GREEDY, RANDOM_RESTART, SEARCHERS
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import load_study
from adnn_optuna.evidence.paired_differences import EQUIVALENCE


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
    storage: StorageOption = DEFAULT_STORAGE,
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
    dataset = objective.keywords["dataset"]
    if contract is not None:
        check_contract_path("--contract", contract, dataset)
    if study_name is None:
        study_name = f"{Path(dataset).stem}-{sampler}"
    how_to_resume = resume_command(storage, study_name, objective.keywords["data_dir"])
    with interruptible(
        lambda: (
            how_to_resume
            if is_resumable(storage, study_name)
            else same_command(context.obj, storage)
        )
    ):
        result = adnn.search(
            objective(),
            sampler,
            storage=storage,
            study_name=study_name,
            max_time=max_time,
            max_trial=max_trial,
            max_gain=max_gain,
            stack_size="auto" if stack_size is None else stack_size,
            show_progress_bar=wants_progress_bar(quiet),
        )
    show_search(result, how_to_resume, storage=storage, contract=contract, quiet=quiet)


def resume(
    *,
    study_name: Annotated[
        str, storage_panel(metavar="NAME", help="Name of the study, as search showed it.")
    ],
    storage: StorageOption = DEFAULT_STORAGE,
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
    how_to_resume = resume_command(storage, study_name, data_dir)
    with interruptible(lambda: how_to_resume):
        opened = open_storage(storage, must_exist=True)
        study = load_study(opened, study_name)
        if contract is not None:
            dataset = study.user_attrs.get(CONFIG, {}).get("dataset", {})
            check_contract_path("--contract", contract, dataset.get("path"))
        load_tensorflow()
        result = adnn.resume(
            opened,
            study_name,
            max_time=max_time,
            max_trial=max_trial,
            max_gain=max_gain,
            data_dir=data_dir,
            show_progress_bar=wants_progress_bar(quiet),
        )
    show_search(result, how_to_resume, storage=storage, contract=contract, quiet=quiet)


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
    storage: StorageOption = DEFAULT_STORAGE,
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
    equivalence: EquivalenceOption = EQUIVALENCE,
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
    for option, file in (("--plot", plot), ("--report", report)):
        if file is not None:
            check_output_file(option, file, ".html")
    chosen_seeds = parse_seeds(seeds)
    with interruptible(lambda: same_command(context.obj, storage)):
        comparison = adnn.compare(
            objective(),
            samplers.split(","),
            max_trial=max_trial,
            seeds=chosen_seeds,
            storage=storage,
            study_name=study_name,
            max_time=max_time,
            max_gain=max_gain,
            stack_size=stack_size,
            equivalence=equivalence,
            show_progress_bar=wants_progress_bar(quiet),
        )
    if plot is not None:
        comparison.plot().write_html(plot, include_plotlyjs=True)
    if report is not None:
        comparison.report(report)
    show(comparison)
    if not quiet:
        say("")
        if plot is not None:
            say(f"The figure is in {plot}.")
        if report is not None:
            say(f"The report is in {report}.")
        say_how_to_look(storage)


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
    storage: StorageOption = DEFAULT_STORAGE,
    equivalence: EquivalenceOption = EQUIVALENCE,
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
    from adnn_optuna.evidence.comparison import load_comparison

    check_output_file("--output", output, ".html")
    opened = open_storage(storage, must_exist=True)
    names = optuna.get_all_study_names(opened)
    if study_name in names or not any(name.startswith(f"{study_name}/") for name in names):
        record = record_of(load_study(opened, study_name))
        record.report(output, contract)
        show(record)
    elif contract is not None:
        raise ValueError(f"--contract is that of one study, but {study_name!r} is a comparison.")
    else:
        comparison = load_comparison(opened, study_name, equivalence=equivalence)
        comparison.report(output)
        show(comparison)
    if not quiet:
        say(f"\nThe report is in {output}.")


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
        show(table.to_json(orient="records", indent=1) if as_json else as_text(table))
        return
    found = audit_file(file)
    show(found.to_json() if as_json else found)


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
                         oneDNN), within the contract's tolerance, or the one
                         measured here where that is smaller
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
    show(verdict)
    codes = {"breached": BREACHED, "cannot_check": WRONG_INPUT}
    raise typer.Exit(codes.get(verdict.status, 0))
