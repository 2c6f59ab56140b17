"""Measure the variation of a value from run to run, with all randomness redrawn."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import optuna
from optuna.study import StudyDirection

from adnn_optuna._attributes import VARIANCE, VarianceSettings
from adnn_optuna._checks import FilePath, WrongValueError, as_integer, check_type
from adnn_optuna.api._calls import (
    NO_EXECUTOR,
    Evaluating,
    checked_call,
    logged_if_interrupted,
    stored_evaluations,
    verb,
    with_tuples,
)
from adnn_optuna.engine.evaluations import make_evaluations, open_evaluations
from adnn_optuna.engine.functions import seed_parameters
from adnn_optuna.engine.kinds import FUNCTION_KIND, VARIANCE_KIND, Kind
from adnn_optuna.engine.objectives import Searched
from adnn_optuna.results.sentences import reused_note
from adnn_optuna.results.variance import Variance, VarianceNumbers
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.spread import FEWEST


@verb(Evaluating)
def measure_variance(
    objective: Searched[Any] | Callable[..., float],
    n: int = 20,
    **keywords: Unpack[Evaluating],
) -> Variance:
    """Measure how far a value varies from run to run, and from which source of randomness.

    The baseline network is trained ``n`` times with all sources of randomness redrawn. The sources
    are the initialization (with the seeds of layers such as dropout) and the order of the batches.
    If the dataset's splits were drawn at random, splits of the same sizes are redrawn, too (see
    :meth:`Dataset.redrawn`). The result names the sources that it did not redraw. In addition,
    each run is repeated once for each source, and only this source is redrawn.

    Each run is made once and stored as a trial of a study. The same call resumes an interrupted
    measurement. Several processes share the work if they make the same call.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"), seed=0)
            print(adnn.measure_variance(objective))

    Args:
        objective: The objective to train, with the metric to measure. It may also be a function
            whose parameters are the seeds of its sources of randomness, such as ``f(split,
            initialization)``. The function returns a value. Higher values are better.
        n: The number of runs with all sources redrawn, at least 5. For normal values and 20 runs,
            the CI of the standard deviation is 0.75 to 1.5 times the estimate. With 50 runs, it is
            0.83 to 1.25 times the estimate.
        **keywords: Options of the evaluations. The study's name determines the seeds.

    Returns:
        The standard deviation between runs, and each source's share of the variance.

    Raises:
        TypeError: If ``objective`` has a wrong type, or its value is not a number.
        ValueError: If an argument is wrong, or nothing is random. If the study has other runs. If
            the function's code changed and ``reuse`` is false.
        KeyboardInterrupt: If you interrupt the call. All finished runs are stored.
    """
    n = as_integer("n", n, low=FEWEST)
    call = checked_call(keywords)
    study_name = call.study_name or "variance"
    measured: Any
    if isinstance(kind := getattr(objective, "kind", None), Kind):
        if call.executor is not None:
            raise WrongValueError(NO_EXECUTOR)
        measured = kind.load("variance")(objective)
    else:
        objective_rule = "an InitOffsetObjective, or a function whose parameters are seeds"
        check_type("objective", objective, Callable, objective_rule)  # type: ignore[arg-type]
        measured = _SeededFunction(objective)  # type: ignore[arg-type]
    if not measured.sources or "trial" in measured.sources:
        raise WrongValueError(
            "objective must have parameters that are seeds, and no others; got "
            f"{', '.join(measured.sources) or 'no parameter'}. Pass a function such as f(seed) or "
            "f(split, initialization)."
        )
    settings: Any = {
        "n": n,
        "failed": call.failed,
        "sources": [*measured.sources],
        **measured.settings,
    }
    study = open_evaluations(
        call.storage,
        study_name,
        measured.evaluated,
        direction=measured.direction,
        functions=measured.functions,
        reuse=call.reuse,
        settings={VARIANCE: settings},
    )
    n_before = len(stored_evaluations(study, measured.sources))
    options = call.evaluation_options(measured.n_at_once)
    with logged_if_interrupted(functools.partial(stored_variance, study)):
        needed = _numbers_of(study)({}).needed
        make_evaluations(
            lambda _: needed, study, measured.sources, measured, stop=measured.stop, **options
        )
    return stored_variance(study, n_before)


def _numbers_of(study: optuna.Study) -> Callable[[Mapping[Evaluation, float]], VarianceNumbers]:
    """Return a function that computes the numbers from evaluations and the study's settings."""
    settings: VarianceSettings = study.user_attrs[VARIANCE]
    return functools.partial(
        VarianceNumbers,
        study_name=study.study_name,
        maximize=study.direction == StudyDirection.MAXIMIZE,
        **with_tuples(settings),
    )


def stored_variance(study: optuna.Study, n_before: int = 0) -> Variance:
    """Return the result of a study's stored evaluations.

    ``n_before`` of the evaluations were stored before this call.
    """
    settings: VarianceSettings = study.user_attrs[VARIANCE]
    numbers = _numbers_of(study)(stored_evaluations(study, settings["sources"]))
    reused = reused_note("evaluation", n_before, len(numbers.evaluations))
    return Variance(numbers, _reused=reused)


def resumed_variance(
    study: optuna.Study,
    objective: Any,
    data_dir: FilePath | None,
    **keywords: Any,
) -> Variance:
    """Make the missing evaluations of a stored variance, and return its result."""
    settings: VarianceSettings = study.user_attrs[VARIANCE]
    if objective is None:
        kind = FUNCTION_KIND if settings["seed"] is None else VARIANCE_KIND
        objective = kind.rebuilt(study, data_dir)
    return measure_variance(
        objective,
        settings["n"],
        storage=study._storage,
        study_name=study.study_name,
        failed=settings["failed"],
        **keywords,
    )


@dataclasses.dataclass(frozen=True)
class _SeededFunction:
    """A function with a seed for each source of randomness. Other processes can call it."""

    function: Callable[..., float]
    direction: ClassVar[StudyDirection] = StudyDirection.MAXIMIZE
    n_at_once: ClassVar[int] = 1
    settings: ClassVar[Mapping[str, Any]] = {"value_name": "value", "seed": None}
    stop: ClassVar[None] = None  # No event can stop a running function.

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the function's seeds."""
        return seed_parameters(self.function)

    @property
    def evaluated(self) -> Mapping[str, Any]:
        """The subject of the runs, as the study stores it."""
        return {"sources": [*self.sources]}

    @property
    def functions(self) -> Mapping[str, Callable[..., float]]:
        """The function, by the name of the argument that the user passed."""
        return {"objective": self.function}

    def __call__(self, *seeds: int) -> float:
        """Return the value with a seed for each source."""
        return self.function(**dict(zip(self.sources, seeds, strict=True)))
