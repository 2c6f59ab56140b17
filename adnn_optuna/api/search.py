"""Searches: one call that runs, stores and summarizes a study."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar, Unpack, overload

import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import checked_failed, logger
from adnn_optuna._units import Unit, unit_of
from adnn_optuna.api._calls import as_searched
from adnn_optuna.api._keywords import Searching, checked_call, verb
from adnn_optuna.callbacks import LimitValues, callbacks_of
from adnn_optuna.engine.arms import SamplerSpec, check_sampler
from adnn_optuna.engine.code_fingerprint import check_code
from adnn_optuna.engine.objectives import Ending, Outcome, Searched
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.signals import Bar, interruptible, progress_bar
from adnn_optuna.engine.storages import AnyStorage, open_storage
from adnn_optuna.engine.studies import StudySpec, n_done, open_studies, resume_hint, run_trials
from adnn_optuna.results.findings import reused_note
from adnn_optuna.results.function_search import FunctionSearch
from adnn_optuna.results.study import StudyResult, result_of, unowned_notes
from adnn_optuna.samplers._tally import Tally
from adnn_optuna.stats.resampling import ResampledArgument

_R = TypeVar("_R")


class _AllKeywords(Searching, total=False):
    """All keywords of a search."""

    direction: str | StudyDirection | None
    seed: int | None
    replicate: float | Literal["auto"]
    reuse: bool
    batch_size: int | Literal["auto"]
    pruner: BasePruner | None
    failed: float | None
    test: bool
    confirm: int | Literal["auto"]
    resampled: ResampledArgument


@overload
def search(
    objective: Searched[_R], sampler: SamplerSpec = ..., **keywords: Unpack[_AllKeywords]
) -> _R: ...


@overload
def search(
    objective: Callable[..., Any], sampler: SamplerSpec = ..., **keywords: Unpack[_AllKeywords]
) -> FunctionSearch: ...


@verb(Searching)
def search(
    objective: Any,
    sampler: SamplerSpec = "annealing",
    *,
    direction: str | StudyDirection | None = None,
    seed: int | None = None,
    replicate: float | Literal["auto"] = "auto",
    reuse: bool = False,
    batch_size: int | Literal["auto"] = "auto",
    pruner: BasePruner | None = None,
    failed: float | None = None,
    test: bool = True,
    confirm: int | Literal["auto"] = "auto",
    resampled: ResampledArgument = None,
    **keywords: Unpack[Searching],
) -> Any:
    """Search for the init offsets that train to the best network, or over any Optuna objective.

    The study is an ordinary Optuna study. The call continues a stored study. The limits are for
    all runs together, and a killed search ends with the same trials as a search that never
    stopped.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            result = adnn.search(objective, "annealing", max_trial=30)
            print(result)

    The best of many noisy values is too good. So a search of a function that takes a seed spends a
    part of its trials on *replicates*: they evaluate its leading configurations on new seeds. Of
    the two configurations with the best means, a replicate evaluates the configuration with fewer
    values. The search recommends the configuration with the best mean of at least two values. It
    estimates its value on ``confirm`` further seeds, which selected nothing.

    Args:
        objective: The objective to search: init offsets, or any Optuna objective ``(trial)`` or
            ``(trial, seed)``. Each trial gets a seed of its own.
        sampler: ``"greedy"`` (the paper's Algorithm 1), ``"greedy_improving"`` (keeps only steps
            that improve), ``"annealing"`` or ``"random_restart"`` (new random initial
            weights instead of offsets). Optuna's by name: ``"random"``,
            ``"qmc"``, ``"tpe"``, ``"cmaes"``, ``"gp"``. Or an Optuna sampler, or a factory
            ``(seed, n_trials) -> sampler``.
        direction: For functions, ``"minimize"`` (the default) or ``"maximize"``.
        seed: For functions, the seed of sampler and trials; 0 if :obj:`None`.
        replicate: For functions, the share of ``max_trial`` that are replicates. ``"auto"``: 0.2
            for ``(trial, seed)`` from 50 trials on, else 0.
        reuse: For functions, whether stored trials count although the function changed since, as
            in :func:`~adnn_optuna.recheck`.
        batch_size: How many trials are proposed before any of them has a result. ``"auto"``: 8 for
            ``"greedy"``, ``"random_restart"``, ``"random"`` and ``"qmc"`` (fewer for more than 5
            million weights), 1 for all others.
        pruner: An Optuna pruner; no trial is pruned if :obj:`None`.
        failed: For functions, the value that counts for each failed replicate or failed run on a
            new seed, see :func:`~adnn_optuna.recheck`. The study stores it. If :obj:`None`, a
            value has no CI if some of its runs failed.
        test: Whether to evaluate the test set at the end, as ``result.test()`` does it later.
            Each evaluation is recorded, and only the first one is on untouched data.
        confirm: The number of new seeds for the best and the baseline network at the end, at least
            6, or 0 for none. ``"auto"``: 10, if these training runs are no more than the trials
            and fit in the rest of max_time. No limit counts them. They need a test-set evaluation.
            A function's recommended parameters are evaluated on them, by default if it takes a
            seed and ``max_trial`` is at least 10. ``max_time`` then covers trials and these
            evaluations: at least half of it is for trials.
        resampled: For functions whose seeds redraw the split of one data set, the numbers of
            training and test examples, as in :func:`~adnn_optuna.compare`. The CI of the value is
            then for new data of this kind.
        **keywords: How it evaluates, and when it ends.

    Returns:
        A :class:`~adnn_optuna.SearchResult`, for functions a
        :class:`~adnn_optuna.FunctionSearch`; a :exc:`KeyboardInterrupt` leaves everything stored.

    Raises:
        TypeError: If an argument has a wrong type, or a function's value is not a number.
        ValueError: If an argument is wrong. If the stored study has another objective, sampler or
            seed. If the function changed and ``reuse`` is false. If it seems to redraw a split:
            pass ``resampled``.
    """
    call = checked_call(search, keywords)
    limits = call.limits
    searched = as_searched(
        objective,
        call,
        direction=direction,
        seed=seed,
        replicate=None if replicate == "auto" else replicate,
        failed=checked_failed(failed),
        n_jobs=call.n_jobs,
        executor=call.executor,
        resampled=resampled,
    )
    ending = Ending(
        test, confirm, max_time=call.max_time, show_progress_bar=call.show_progress_bar
    )
    check_sampler(sampler, searched.arms.samplers)
    spec = StudySpec(searched, call.study_name, sampler, limits, batch_size, pruner, ending)
    return run_search(spec, call.storage, reuse=reuse)


def run_search(spec: StudySpec, storage: AnyStorage | None, *, reuse: bool) -> StudyResult:
    """Run a study and what follows it, and return its result."""
    searched = spec.objective
    plan = spec.plan
    with interruptible() as stop:
        [study] = open_studies([spec], open_storage(storage))
        check_code([study], searched.functions, reuse=reuse)
        n_before = n_done(study)
        is_shown = plan.ending.show_progress_bar
        try:
            with progress_bar(show=is_shown, bar_format="{desc} |{bar}|") as bar:
                after_tell: Any = functools.partial(_log_trial, unit_of(searched.metric))
                if not bar.disable:
                    after_tell = _SearchProgress(bar, study, plan.first_step, spec.limits).update
                n_now = run_trials(spec, study, stop, after_tell)
            if n_before and n_now == n_before:
                # Without a reason, a run that was killed came further than these limits.
                reason = study.user_attrs.get(stored.STOP_REASON) or "these limits"
                message = "Nothing was left to do in study %r: it had ended by %s already."
                logger.info(message, study.study_name, reason)
            record = searched.conclude(read_record(study), plan, stop)
        except KeyboardInterrupt:
            further = ", objective=..." if searched.functions else ""
            if not plan.ending.test:
                further += ", test=False"
            unowned = unowned_notes(read_record(study, others={}))
            logger.info(" ".join([resume_hint(study, further), *unowned]))
            raise
    reused = reused_note("trial", n_before, len(record.done_trials))
    return dataclasses.replace(result_of(record, plan.objective), _reused=reused)


class _SearchProgress:
    """The bar of a search: trial, best value, gain, and the time to the next limit."""

    def __init__(
        self, bar: Bar, study: optuna.Study, first_step: str, limits: LimitValues
    ) -> None:
        self._bar = bar
        self._study = study
        self._limits = callbacks_of(limits)
        self._max_trial = limits["max_trial"]
        self._best = -1
        self._of_best = ""
        before = Tally(study)
        before.update(study)
        self.update(before)
        if first_step:
            bar.set_description_str(f"{self._text}; {first_step}")

    def update(self, tally: Tally, *_: object) -> None:
        """Show the told trials."""
        n_done = tally.n_done
        best = tally.best
        if best is not None and best.number != self._best:
            # All trials are read only for a new best one, so that a trial's time stays flat.
            record = read_record(self._study)
            self._best = best.number
            unit = unit_of(record.metric)
            self._of_best = (
                f": best {unit.value(record.best_value)}, gain {unit.gain(record.gain)}"
            )
        text = f"trial {n_done}"
        if self._max_trial:
            text = f"trial {n_done}/{self._max_trial}"
        text += self._of_best
        seconds = math.inf
        until_limit = ""
        for limit in self._limits:
            seconds_left = limit._seconds_left(self._study, tally)
            if seconds_left < seconds:
                seconds = seconds_left
                until_limit = f"{limit.reason} {limit.value:g}{limit.unit}"
        if until_limit:
            text += f"; {max(seconds, 0.0):.0f} s left of {until_limit}"
        for limit in self._limits:
            if limit.ends_early:
                text += f"; until {limit.reason} {limit.value:g}{limit.unit}"
        self._text = text
        self._bar.n = n_done
        self._bar.total = self._max_trial
        self._bar.set_description_str(text)


def _log_trial(unit: Unit, tally: Tally, trial: optuna.Trial, outcome: Outcome) -> None:
    """Log a finished trial, and the best trial unless it is a later trial of the same batch."""
    if outcome.value is None:
        return
    line = f"Trial {trial.number}: {unit.value(outcome.value)}"
    best = tally.best
    if best is not None and best.number <= trial.number:
        line = f"{line} (best: trial {best.number}, {unit.value(best.values[0])})"
    logger.info(line)
