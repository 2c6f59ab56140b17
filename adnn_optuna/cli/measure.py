"""The commands of ``adnn`` about seed variance and selection bias.

Importing this module loads nothing but Typer.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import adnn_optuna as adnn
from adnn_optuna._checks import WrongValueError
from adnn_optuna.cli import options as opt
from adnn_optuna.cli import output as out
from adnn_optuna.cli import parsing

_EVALUATE = (
    "The objective with a seed, (trial, seed) -> value, as MODULE:FUNCTION, looked for here "
    "first; a study of adnn search needs none."
)
Require = Annotated[
    Literal["not-worse", "better"] | None,
    "The verdicts that pass: only better; or, with not-worse, also equivalent and not worse. Any "
    "other ends with exit code 1, and a missing value with exit code 2.",
]


def recheck(
    storage: Annotated[str, "The study's SQLite file, or any URL."],
    name: Annotated[str, "The study's name."],
    *,
    evaluate: Annotated[str | None, _EVALUATE] = None,
    **options: Any,
) -> out.Answer:
    """Measure by how much the best value of any Optuna study is overstated.

    The best trials are evaluated again on new seeds. The study NAME/recheck stores
    the evaluations. The same command resumes them.

    \b
    Examples:
      adnn recheck optuna.db mine --evaluate train:objective --report recheck.html
    """
    function = None
    if evaluate is None:
        out.load_libraries()
    else:
        function = parsing.load_function("--evaluate", evaluate)
    return out.Answer(adnn.recheck((storage, name), function, **options))


def overtuning(
    storage: Annotated[str, "The study's SQLite file, or any URL."],
    name: Annotated[str, "The study's name."],
    *,
    metric: str | None = None,
    y_true: Annotated[Path | None, "A CSV file with one column: the labels, for --metric."] = None,
) -> out.Answer:
    """Estimate the value of a study's best trial on new data.

    The estimate needs the scores of single examples, which adnn.log_scores stores.
    Nothing is trained.

    \b
    Examples:
      adnn overtuning optuna.db mine --report overtuning.html
    """
    from adnn_optuna.api._tables import runs_of

    labels = None if y_true is None else runs_of(y_true)
    return out.Answer(adnn.overtuning((storage, name), metric=metric, y_true=labels))


def luck(
    *,
    n: int,
    sd: float | None = None,
    values: Annotated[
        Path | None, "A CSV file with one column: observed runs, in place of --sd."
    ] = None,
    claimed: Annotated[float | None, "A claimed gain, whose probability is computed."] = None,
    files: Annotated[int, "The number of searches, of which the best is reported."] = 1,
) -> out.Answer:
    """Compute the gain by selection alone, if all runs are equally good.

    \b
    Examples:
      adnn luck --n 51 --sd 0.0127 --claimed 0.0402 --files 10
    """
    from adnn_optuna.api._tables import runs_of
    from adnn_optuna.results.luck import Luck

    runs = None if values is None else runs_of(values)
    return out.Answer(Luck(n, sd, claimed, files, runs))


def variance(
    function: Annotated[
        str | None, "A function of seeds, MODULE:FUNCTION; omit it for a network."
    ] = None,
    *,
    network: opt.Options,
    **options: Any,
) -> out.Answer:
    """Measure how far a value varies from run to run, by source of randomness.

    A network's initialization, order of the batches and split of the data are
    redrawn, together and one at a time. The value with your seed is compared with
    the mean.

    \b
    Examples:
      adnn variance --dataset fashion_mnist --hidden 256,256 --n 50
      adnn variance train:accuracy
    """
    first = f"variance-{function}" if function else "variance"
    options = opt.named(options, first, network)
    return out.Answer(adnn.measure_variance(opt.searched(function, network), **options))


def compare_models(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more models. A model is a .keras file, whose weights are redrawn, or "
            "MODULE:FUNCTION, which returns a model, or a value for a seed. LABEL=MODEL names a "
            "model."
        ),
    ],
    *,
    require: Require = None,
    training: opt.Options,
    **options: Any,
) -> out.Answer:
    """Compare models, with all randomness redrawn for each seed.

    Nothing in a file is executed. A function is looked for in this folder first.
    With --require, the exit code says whether the first of two models is better
    than the second, or not worse.

    \b
    Examples:
      adnn compare-models a=nets:small b=nets:wide --seeds 50 --stop-when-decided
    """
    from adnn_optuna.engine.functions import seed_parameters

    loaded = parsing.load_models(models)
    if require and len(loaded) != 2:
        raise WrongValueError(f"--require must be used with two models; got {len(loaded)}.")
    data = None
    settings = None
    if all(map(seed_parameters, loaded.values())):
        opt.check_no_network(training, "functions of a seed")
        _check_margin(require, options["margin"])
    else:
        data, settings = opt.make_training(training)
    options = opt.named(options, "models", training)
    result = adnn.compare_models(loaded, data, training=settings, **options)
    return out.Answer(result, code=_code(result, require))


def compare_values(
    file: Annotated[Path, "A CSV file, whose columns are arms and whose rows are seeds."],
    *,
    require: Require = None,
    **options: Any,
) -> out.Answer:
    """Compare arms by values that were measured elsewhere.

    A first column of words, or a column such as seed, names the rows. With
    --require, the exit code says whether each arm is better than the baseline, or
    not worse.

    \b
    Examples:
      adnn compare-values losses.csv --minimize --margin 0.005
      adnn compare-values new.csv --baseline-file old.csv --margin 0.005 \\
          --require not-worse
    """
    _check_margin(require, options["margin"])
    if require and options["baseline"] is None and options["baseline_file"] is None:
        raise WrongValueError("--require must be used with --baseline or --baseline-file.")
    result = adnn.compare_values(file, **options)
    return out.Answer(result, code=_code(result, require))


def _check_margin(require: str | None, margin: float | None) -> None:
    if require == "not-worse" and margin is None:
        raise WrongValueError(
            "--require not-worse must be used with --margin, the difference that is not worse."
        )


def _code(found: Any, require: str | None) -> int:
    """Return the exit code, and print which claims do not meet the requirement."""
    if require is None:
        return 0
    enough = ["better", "equivalent", "not worse"]
    if require == "better":
        enough = ["better"]
    code = 0
    numbers = found.numbers
    for row in numbers.differences:
        pair = f"{require.replace('-', ' ')} than {row.other}"
        if numbers.is_paired and row.n_pairs < len(numbers.arms[row.arm]):
            out.say(f"adnn: {row.arm} cannot be checked to be {pair}: {row.reason}.")
            return out.WRONG_INPUT
        if row.verdict not in enough:
            out.say(f"adnn: {row.arm} is not shown to be {pair}: {row.verdict}.")
            code = out.NOT_MET
    return code
