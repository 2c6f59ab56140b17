"""Run, store and summarize a search in one call."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar, Unpack, overload

import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection

from adnn_optuna._attributes import STOP_REASON
from adnn_optuna._checks import checked_failed, logger
from adnn_optuna._units import Unit, unit_of
from adnn_optuna.api._calls import Searching, as_searched, checked_call, verb
from adnn_optuna.api._splits import ResampledArgument
from adnn_optuna.callbacks import LimitValues, Tally, callbacks_of
from adnn_optuna.engine.arms import SamplerSpec, check_sampler
from adnn_optuna.engine.code_fingerprint import check_code
from adnn_optuna.engine.objectives import Ending, Outcome, Searched
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.signals import Bar, interruptible, progress_bar
from adnn_optuna.engine.storages import AnyStorage, open_storage
from adnn_optuna.engine.studies import StudySpec, n_done, open_studies, resume_hint, run_trials
from adnn_optuna.results.function_search import FunctionSearch
from adnn_optuna.results.sentences import reused_note
from adnn_optuna.results.study import StudyResult, result_of, unowned_notes

_R = TypeVar("_R")


class _AllKeywords(Searching, total=False):
    """The keywords of :func:`search`, for type checkers."""

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
    """Search for the best init offsets of a network, or for the best parameters of a function.

    Each trial is stored in an ordinary Optuna study. The same call continues a stored study. The
    limits are for all calls together. A search that was killed and continued ends with the same
    trials as a search without an interrupt.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            result = adnn.search(objective, "annealing", max_trial=30)
            print(result)

    The best of many noisy values is too good. If a function takes a seed, the search therefore
    spends some of its trials on *replicates*, which evaluate leading configurations on new seeds.
    Of the two configurations with the best means, the configuration with fewer values gets the
    next replicate. The search recommends the configuration with the best mean among those with at
    least two values. It estimates the value of this configuration on ``confirm`` further seeds.

    Args:
        objective: The objective: an :class:`~adnn_optuna.InitOffsetObjective`, or any Optuna
            objective ``(trial)`` or ``(trial, seed)``. Each trial gets its own seed.
        sampler: A name such as ``"annealing"``, ``"greedy"`` (the paper's Algorithm 1) or
            ``"random_restart"`` (new random initial weights instead of offsets). Optuna's samplers
            have names such as ``"tpe"``, ``"cmaes"``, ``"gp"``, ``"qmc"`` and ``"random"``. You
            can also pass any Optuna sampler, or a factory ``(seed, n_trials) -> sampler``.
        direction: For functions, ``"minimize"`` (the default) or ``"maximize"``.
        seed: For functions, the seed of the sampler and the trials. The default is 0.
        replicate: For functions, the share of trials that are replicates; ``"auto"`` is 0.2 for
            functions ``(trial, seed)`` and at least 50 trials, and 0 otherwise.
        reuse: For functions, whether stored trials count although the function's code changed. See
            :func:`~adnn_optuna.recheck`.
        batch_size: How many trials are proposed before any of them has a result. ``"auto"`` is 1
            for samplers that learn from results. For other samplers, such as ``"greedy"``, it is
            8, or fewer for more than 5 million weights.
        pruner: An Optuna pruner. If :obj:`None`, no trial is pruned.
        failed: For functions, the value of each failed replicate and each failed run on a new
            seed. The study stores it. If :obj:`None`, a mean with failed runs has no CI.
        test: Whether to evaluate the test set at the end. ``result.test()`` evaluates it later.
            Each evaluation is recorded, because only the first evaluation is on untouched data.
        confirm: The number of new seeds that evaluate the result after the search: 0 for none, or
            ``"auto"`` for 10 if they fit into the limits. For networks, at least 6 seeds each
            train the best and the baseline network, if the test set is evaluated. ``"auto"`` is 10
            if there are at most as many of these training runs as trials, and if they fit in the
            rest of ``max_time``. Otherwise, or if training is not random, it is 0. No limit counts
            these training runs. For functions, the recommended parameters are evaluated on each
            seed. ``"auto"`` is then 10 if the function takes a seed, unless ``max_trial`` is below
            10. At least half of ``max_time`` is for the trials, and the rest for these
            evaluations.
        resampled: For functions, the numbers of training and test examples of a split, if the
            seeds redraw the split of one data set. The CI of the value is then for new data of
            this kind, see :func:`~adnn_optuna.compare`.
        **keywords: Options of the evaluations, and limits of the search.

    Returns:
        A :class:`~adnn_optuna.SearchResult`, or a :class:`~adnn_optuna.FunctionSearch` for
        functions.

    Raises:
        TypeError: If an argument has a wrong type, or a function's value is not a number.
        ValueError: If an argument is wrong. If the stored study has another objective, sampler or
            seed. If the function's code changed and ``reuse`` is false. If the function seems to
            redraw a split and ``resampled`` is None.
        KeyboardInterrupt: If you interrupt the call. All finished trials are stored.
    """
    call = checked_call(keywords)
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
    check_sampler("sampler", sampler, searched.arms.samplers)
    spec = StudySpec(searched, call.study_name, sampler, limits, batch_size, pruner, ending)
    return run_search(spec, call.storage, reuse=reuse)


def run_search(spec: StudySpec, storage: AnyStorage | None, *, reuse: bool) -> StudyResult:
    """Run a study, evaluate its best trial as planned, and return the result."""
    searched = spec.searched
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
                # A run that was killed after it passed these limits stored no reason.
                reason = study.user_attrs.get(STOP_REASON) or "these limits"
                message = "Nothing was left to do in study %r: it had ended by %s already."
                logger.info(message, study.study_name, reason)
            record = searched.conclude(read_record(study), plan, stop)
        except KeyboardInterrupt:
            further = ""
            if searched.functions:
                further += ", objective=..."
            if not isinstance(spec.sampler, str):
                further += ", sampler=..."
            if spec.pruner is not None:
                further += ", pruner=..."
            if not plan.ending.test:
                further += ", test=False"
            unowned = unowned_notes(read_record(study, others={}))
            logger.info(" ".join([resume_hint(study, further), *unowned]))
            raise
    reused = reused_note("trial", n_before, len(record.done_trials))
    return dataclasses.replace(result_of(record, plan.objective), _reused=reused)


class _SearchProgress:
    """The progress bar of a search.

    It shows the trial, the best value, the gain, and the seconds to the next limit.
    """

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
        """Show the state of the finished trials."""
        n_done = tally.n_done
        best = tally.best
        if best is not None and best.number != self._best:
            # Reading all trials is slow, so it is done only for a new best trial.
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
                until_limit = f"{limit.name} {limit.value:g}{limit.unit}"
        if until_limit:
            text += f"; {max(seconds, 0.0):.0f} s left of {until_limit}"
        for limit in self._limits:
            if limit.ends_early:
                text += f"; until {limit.name} {limit.value:g}{limit.unit}"
        self._text = text
        self._bar.n = n_done
        self._bar.total = self._max_trial
        self._bar.set_description_str(text)


def _log_trial(unit: Unit, tally: Tally, trial: optuna.Trial, outcome: Outcome) -> None:
    """Log a finished trial and the best trial so far.

    If the best trial is a later trial of the same batch, the log does not mention it yet.
    """
    if outcome.value is None:
        return
    line = f"Trial {trial.number}: {unit.value(outcome.value)}"
    best = tally.best
    if best is not None and best.number <= trial.number:
        line = f"{line} (best: trial {best.number}, {unit.value(best.values[0])})"
    logger.info(line)
