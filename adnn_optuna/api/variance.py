"""Measure how far a value varies from run to run, with all randomness redrawn."""

import functools
import math
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import numpy as np
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from adnn_optuna._checks import WrongTypeError, WrongValueError, as_integer, checked_failed
from adnn_optuna._units import with_class
from adnn_optuna.api._calls import (
    NO_EXECUTOR,
    check_executor,
    found_by_evaluating,
    interrupted_where_called,
)
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine.code_fingerprint import check_code
from adnn_optuna.engine.evaluations import open_evaluations
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.objectives import seeds_of
from adnn_optuna.networks.retraining import Redrawing, not_redrawn, random_sources
from adnn_optuna.networks.training import n_cores
from adnn_optuna.results.variance import AS_GIVEN, Variance
from adnn_optuna.stats.proportions import chance_limit
from adnn_optuna.stats.spread import FEWEST


@interrupted_where_called
def measure_variance(
    objective: InitOffsetObjective | Callable[..., float],
    n: int = 20,
    *,
    storage: str | BaseStorage | None = None,
    study_name: str = "variance",
    reuse: bool = False,
    failed: float | None = None,
    n_jobs: int | None = None,
    max_time: float | None = None,
    executor: futures.Executor | None = None,
    show_progress_bar: bool = False,
) -> Variance:
    """Measure how far a value varies from run to run, and from which source of randomness.

    The baseline network is trained ``n`` times with all sources of randomness redrawn: the
    initialization (with the seeds of layers such as dropout), the order of the batches and, if the
    dataset's splits were drawn at random, splits of the same sizes (see :meth:`Dataset.redrawn`).
    The result names the sources that it did not redraw. For each source, each run is made once
    more with that source alone redrawn.

    The runs are trials of a study and are never made twice. The same call resumes, and any number
    of processes may work together.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"), seed=0)
            print(adnn.measure_variance(objective))

    Args:
        objective: The objective to train, with the metric that is measured. Or any function whose
            parameters are the seeds of its sources of randomness, such as
            ``f(split, initialisation)``. It returns the value; higher is better.
        n: The number of runs with all sources redrawn, at least 5. For normal values, the CI of
            the standard deviation is about 0.75 to 1.5 times its value with 20 runs, and 0.83 to
            1.25 times with 50 runs.
        storage: Where the runs are stored, see :func:`~adnn_optuna.search`.
        study_name: The name of their study, from which the seeds follow.
        reuse: For a function, whether stored runs count although it changed since, as in
            :func:`~adnn_optuna.recheck`.
        failed: The value that each failed run counts as, see :func:`~adnn_optuna.recheck`.
        n_jobs: The number of threads. If :obj:`None`, one for each core; for a function, one.
        max_time: The seconds that the runs may take, over all calls. Then no more begin.
        executor: For a function, runs it, one job for each run, as in
            :func:`~adnn_optuna.compare`.
        show_progress_bar: Whether to show a progress bar.

    Raises:
        TypeError: If ``objective`` is neither, or its value is no number.
        ValueError: If an argument is wrong, nothing is random, or the study has other runs
            or runs of a function that changed, without ``reuse``.
        KeyboardInterrupt: If the user interrupts; all finished runs are stored.
    """
    n = as_integer("n", n, low=FEWEST)
    checked_limits(max_time=max_time)
    check_executor(executor)
    stop: threading.Event | None = None
    evaluate: Callable[..., float]
    if isinstance(objective, InitOffsetObjective):
        if executor is not None:
            raise WrongValueError(NO_EXECUTOR)
        of_network, redrawing, stop = objective, Redrawing(objective.dataset), threading.Event()
        names = random_sources(of_network.trainer)
        evaluated, direction = of_network.config, of_network.direction
        label = with_class(of_network.metric, of_network.positive)
        settings: dict[str, Any] = {"value_name": label, "seed": of_network.seed}
        settings["not_redrawn"] = not_redrawn(of_network.trainer)
        settings["chance_limit"] = _chance_limit(of_network)
        n_jobs = n_cores() if n_jobs is None else n_jobs

        def train(*seeds: int) -> float:
            given = {k: s for k, s in zip(names, seeds, strict=True) if s != AS_GIVEN}
            run = redrawing.train(of_network.trainer, of_network.seed, stop=stop, **given)
            return of_network.value(run.metrics)

        evaluate = train
    else:
        if not callable(objective):
            raise WrongTypeError(
                "objective must be an InitOffsetObjective, or a function whose parameters are "
                f"seeds; got {objective!r:.100}."
            )
        names = seeds_of(objective)
        evaluate = functools.partial(_with_seeds, objective, names)
        evaluated, direction = {"sources": [*names]}, StudyDirection.MAXIMIZE
        settings = {"value_name": "value", "seed": None}
        n_jobs = 1 if n_jobs is None else n_jobs
    if not names:
        raise WrongValueError(
            "Nothing in the objective's training is random, or it takes no seed: give a function "
            "whose parameters are the seeds of its sources, such as f(split, initialisation)."
        )
    settings |= {"study_name": study_name, "sources": names, "n": n}
    settings["failed"] = checked_failed(failed)
    n_jobs = as_integer("n_jobs", n_jobs)
    study = open_evaluations(storage, study_name, evaluated, direction=direction)
    if not isinstance(objective, InitOffsetObjective):
        check_code([study], {"objective": objective}, reuse=reuse)
    known = functools.partial(Variance, maximize=direction == StudyDirection.MAXIMIZE, **settings)
    return found_by_evaluating(
        known,
        study,
        names,
        evaluate,
        stop=stop,
        n_jobs=n_jobs,
        max_time=max_time,
        executor=executor,
        show_progress_bar=show_progress_bar,
    )


def _chance_limit(objective: InitOffsetObjective) -> float:
    """Return the accuracy that is not distinguishable from chance; NaN for other metrics."""
    split, _, name = objective.metric.partition("_")
    if name != "accuracy":
        return math.nan
    counts = np.bincount(getattr(objective.dataset, f"y_{split}"))
    return chance_limit(counts.max(), counts.sum())


def _with_seeds(function: Callable[..., float], names: Sequence[str], *seeds: int) -> float:
    """Return a function's value with a seed for each of its sources; any process can call this."""
    return function(**dict(zip(names, seeds, strict=True)))
