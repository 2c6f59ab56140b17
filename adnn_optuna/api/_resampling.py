"""Ask what the seeds of functions are, if they redraw the split of one data set."""

from collections.abc import Mapping, Sequence

from adnn_optuna._checks import WrongValueError
from adnn_optuna.engine.code_fingerprint import UserFunction
from adnn_optuna.engine.redrawn_splits import redrawn_split
from adnn_optuna.stats.resampling import Resampled, ResampledArgument, checked_resampling


def check_splits(
    functions: Mapping[str, UserFunction],
    seeds: Mapping[str, Sequence[str]],
    resampled: ResampledArgument,
    *,
    folds: bool = False,
    sequential: bool = False,
) -> Resampled | None:
    """Return how many examples splits have; refuse functions that redraw them if that is unknown.

    ``functions`` are given by what a user calls them, with the parameters that are seeds.
    """
    names = [name for of_function in seeds.values() for name in of_function]
    sizes = checked_resampling(
        f"The seeds of {', '.join(functions)}",
        names,
        resampled,
        folds=folds,
        sequential=sequential,
    )
    if resampled is None and not folds:
        for name, function in functions.items():
            if call := redrawn_split(function, seeds[name]):
                raise WrongValueError(
                    f"{name} must not redraw the split of one data set, unless you say so; got "
                    f"{call}. Pass resampled=(n_train, n_test), the sizes of a split, or "
                    "resampled=False if each seed has data of its own."
                )
    return sizes
