"""The commands of ``adnn``, each a thin layer on the Python API.

``options`` are the arguments that a command passes on to the Python function.
Importing this module loads nothing but Typer.
"""

from pathlib import Path
from typing import Annotated, Any

import adnn_optuna as adnn
from adnn_optuna._checks import WrongValueError
from adnn_optuna._files import check_output_file
from adnn_optuna.cli import options as opt
from adnn_optuna.cli import output as out
from adnn_optuna.cli import parsing


def search(
    function: opt.Function = None,
    *,
    sampler: opt.Sampler = "annealing",
    limits: opt.Options,
    trials_at_once: opt.AtOnce = None,
    objective: opt.Options,
    **options: Any,
) -> out.Answer:
    """Search for the best init offsets of a network, or the best parameters of a function.

    Set at least one limit (the greedy samplers also end by themselves). The
    search selects on the validation set. The test set is evaluated once, for the
    baseline and the best network.

    \b
    Examples:
      adnn search --max-trial 20 --contract digits.contract.json
      adnn search --sampler greedy --max-time 600 --hidden 256,256
      adnn search module:objective --direction maximize --max-trial 100
    """
    options["batch_size"] = trials_at_once or "auto"
    if function is not None:
        options["seed"] = objective.pop("seed") or None  # 0 is the default.
    first = f"{function or Path(objective['dataset']).stem}-{sampler}"
    names = {key: value for key, value in objective.items() if key != "dataset"}
    options = opt.named(options, first, names)
    searched = opt.searched(function, objective)
    result: Any = adnn.search(searched, sampler, **options, **limits)
    return out.Answer(result, function=function)


def resume(
    function: opt.Function = None,
    *,
    study_name: opt.StudyName,
    limits: opt.Options,
    storage: opt.Storage = opt.DEFAULT_STORAGE,
    contract: Path | None = None,
    **options: Any,
) -> out.Answer:
    """Continue a stored search, comparison, recheck or variance.

    The study stores its model, data, training, samplers and limits. It does not
    store a function, so name the function again. Limits that you set here replace
    the stored limits, and apply to all calls together.

    \b
    Examples:
      adnn resume --study-name digits-annealing
      adnn resume --storage sqlite:///other.db --study-name mine --max-time 3600
      adnn resume module:objective --study-name module:objective-annealing
    """
    from adnn_optuna.engine import kinds, storages

    objective = None
    if function:
        objective = parsing.load_function("FUNCTION", function)
    if objective is None:
        out.load_libraries()
    opened = storages.open_storage(storage, must_exist=True)
    study = storages.load_study(opened, study_name)
    if contract and kinds.kind_of(study.user_attrs) is not kinds.NETWORK_KIND:
        raise WrongValueError(
            f"--study-name must be a search of a network for --contract; got {study_name!r}."
        )
    result = adnn.resume(opened, study_name, objective=objective, **options, **limits)
    return out.Answer(result, function=function)


def compare(
    function: opt.Function = None,
    *,
    max_trial: int,
    limits: opt.Options,
    trials_at_once: opt.AtOnce = None,
    objective: opt.Options,
    **options: Any,
) -> out.Answer:
    """Compare samplers, on networks or any function, with paired seeds and equal budgets.

    Every sampler runs once for each seed, from the same initial weights and on
    the same batches. The arm random_restart (for functions, random) is always
    compared, because it gains by chance alone.

    \b
    Examples:
      adnn compare --max-trial 30 --samplers greedy --report comparison.html
      adnn compare --max-trial 30 --controls longer --stop-when-decided
      adnn compare module:objective --samplers tpe,annealing --max-trial 50
    """
    first = f"compare-{function}" if function else "compare"
    options = opt.named(options, first, objective)
    options["batch_size"] = trials_at_once or "auto"
    searched = opt.searched(function, objective)
    return out.Answer(adnn.compare(searched, max_trial=max_trial, **options, **limits))


def plan(
    file: Annotated[str, "A comparison's SQLite file, or any URL."],
    name: Annotated[str, "The comparison's --study-name."],
    *,
    gain: Annotated[float, "The gain to show: 0.003 is 0.3 points of accuracy."],
) -> out.Answer:
    """Show how many seeds and hours are needed to show a gain with 80% power.

    A stored comparison, such as a pilot of five seeds, gives the standard deviation
    of the differences.

    \b
    Examples:
      adnn plan adnn.db compare --gain 0.003
      adnn plan adnn.db compare --gain 0.003 --plot power.html
    """
    from adnn_optuna.api.stored import load_comparison

    return out.Answer(load_comparison(file, name).plan(gain))


def report(
    *,
    study_name: Annotated[str, "Name of any stored study, or of a comparison."],
    output: Annotated[Path, "The .html file to write."] = Path("report.html"),
    storage: opt.Storage = opt.DEFAULT_STORAGE,
) -> out.Answer:
    """Write a report of any stored result: one HTML file that opens from disk.

    Everything is read from the studies. Nothing is trained.

    \b
    Examples:
      adnn report --study-name compare
      adnn report --storage sqlite:///optuna.db --study-name mine/recheck
      adnn report --study-name mine --output mine.html
    """
    from adnn_optuna.api.stored import load_result

    check_output_file("--output", output, ".html")
    result = load_result(storage, study_name)
    result.report(output)
    return out.Answer(result, {"report": output})


def contract(
    *,
    study_name: opt.StudyName,
    output: Annotated[Path | None, "The .json file; by default, it has the study's name."] = None,
    storage: opt.Storage = opt.DEFAULT_STORAGE,
    data_dir: Path | None = None,
    embed_data: Annotated[bool, "Write the data, at most 50 MB, beside the contract."] = False,
) -> out.Answer:
    """Write the contract of a stored search, and the best network's weights.

    The baseline and the best network are trained again. If the best trial was not
    confirmed on new seeds, it is confirmed now.

    \b
    Examples:
      adnn contract --study-name digits-annealing
      adnn contract --study-name mine --output mine.contract.json
    """
    from adnn_optuna.engine import kinds, records, storages
    from adnn_optuna.results.study import result_of

    out.load_libraries()
    study = storages.load_search(storages.open_storage(storage, must_exist=True), study_name)
    if output is None:
        output = Path(f"{study_name.replace('/', '-')}.contract.json")
    check_output_file("--output", output, ".json")
    kind = kinds.kind_of(study.user_attrs)
    if kind is not kinds.NETWORK_KIND:
        raise WrongValueError(
            f"Study {study_name!r} must be a search of a network; got another study. Pass the "
            "name of such a search."
        )
    objective = kind.rebuilt(study, data_dir)
    result: Any = result_of(records.read_record(study), objective)
    written = result.contract(data="embed" if embed_data else None)
    written.save(output)
    return out.Answer(written, {"contract": output})


def audit(file: Annotated[Path, "A .keras file that model.save wrote."]) -> out.Answer:
    """Show the random sources of a Keras model: initial values, layers, and their seeds.

    Nothing in the file is executed. Lambda layers and custom classes are refused.

    \b
    Examples:
      adnn audit model.keras --json
    """
    from adnn_optuna.experiments.audit import audit_file

    out.load_libraries()
    return out.Answer(audit_file(file))


def verify(
    file: Annotated[Path, "The contract file."],
    *,
    data_dir: Path | None = None,
    seeds: Annotated[
        str | None, "The seeds of an earlier verification, to repeat it: 1,2,5 or 10-29."
    ] = None,
    **options: Any,
) -> out.Answer:
    """Check a contract: train its two networks again, and compare the results.

    Nothing in the file is executed. Files outside its folder are not read, even if
    the contract names them. Ctrl-C ends the check at once.

    \b
    The file's status and exit codes:
      exact             0  the same environment reproduced the same bits
      within_tolerance  0  another environment (versions, processor, threads)
                           reproduced the gain, within the spread of eight runs
      breached          1  a result was not reproduced, the file was changed, or
                           new seeds contradict the claimed gain
      cannot_check      2  the file, data or model is missing, unreadable or
                           wrong, runs vary too much, or a limit was reached

    \b
    Examples:
      adnn verify digits.contract.json --new-seeds 20
      adnn verify fashion.contract.json --data-dir ~/data
    """
    replayed: Any = seeds  # The text was parsed to a number or to numbers.
    verdict = adnn.verify(file, data_dir, seeds=replayed, **options)
    codes = {"breached": out.NOT_MET, "cannot_check": out.WRONG_INPUT}
    return out.Answer(verdict, code=codes.get(verdict.status, 0))
