"""Compare samplers with paired seeds and equal budgets."""

from __future__ import annotations

import copy
import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection

from adnn_optuna._attributes import COMPARISON, Declaration
from adnn_optuna._checks import (
    WrongTypeError,
    WrongValueError,
    as_integer,
    check_choice,
    check_type,
    checked_failed,
    logger,
    shown,
)
from adnn_optuna._units import unit_of
from adnn_optuna.api._calls import (
    Common,
    are_labels,
    as_searched,
    checked_call,
    checked_share,
    for_functions_only,
    verb,
)
from adnn_optuna.api._splits import ResampledArgument
from adnn_optuna.api.stored import (
    head_if_declared,
    like_comparisons,
    limits_of_runs,
    run_name,
)
from adnn_optuna.callbacks import LimitValues, OtherLimits, callbacks_of
from adnn_optuna.engine.arms import Arms, ArmSpec, arm_of, check_sampler
from adnn_optuna.engine.code_fingerprint import check_code
from adnn_optuna.engine.evaluations import check_is_reached
from adnn_optuna.engine.objectives import Searched
from adnn_optuna.engine.records import attributes_in, read_record
from adnn_optuna.engine.signals import Bar, interruptible, progress_bar
from adnn_optuna.engine.storages import open_declared, open_storage
from adnn_optuna.engine.studies import StudySpec, n_done, open_studies, run_studies
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.declarations import (
    checked_seeds,
    continued_declaration,
    declared_arm,
    n_claims_of,
    store_declaration,
    warn_of_few_seeds,
)
from adnn_optuna.results.sentences import reused_note
from adnn_optuna.results.study import StudyResult, result_of
from adnn_optuna.stats.paired_differences import check_margin

Samplers = Iterable[str] | Mapping[str, ArmSpec] | None
Controls = Iterable[str] | None

_TRIALS_FOR_CONTROL = 10  # By default, shorter searches have no controls.


class CompareKeywords(Common, OtherLimits, total=False):
    """The keywords that a comparison shares with other functions of the API."""


@verb(CompareKeywords)
def compare(
    objective: Searched[Any] | Callable[..., float],
    samplers: Samplers = None,
    *,
    max_trial: int,
    seeds: int | Iterable[int] = 10,
    direction: str | StudyDirection | None = None,
    confirm: int | None = None,
    pruner: BasePruner | None = None,
    failed: float | None = None,
    controls: Controls = None,
    stop_when_decided: bool = False,
    reuse: bool = False,
    batch_size: int | Literal["auto"] = "auto",
    margin: float | None = None,
    resampled: ResampledArgument = None,
    folds: bool = False,
    **keywords: Unpack[CompareKeywords],
) -> Comparison:
    """Compare samplers on a network or on any Optuna objective, with paired seeds.

    Each sampler is an arm, and runs once for each seed. All runs of a seed begin with the same
    initial weights, and have the same batches and budget. Random restarts are always an arm,
    because the choice among random initial weights alone brings a gain. Controls are arms that use
    the same compute in other ways.

    For functions, random search (``random``) is always an arm. Seed and trial number determine all
    random numbers. So arms with the same parameters have the same noise. An arm's score is the
    value of its best trial on new seeds.

    Each run is a study ``<study_name>/<sampler>/seed=<seed>``. The study
    ``<study_name>/<sampler>/seed=<seed>/confirmation`` holds the evaluations of the run's best
    trial on new seeds. The study ``<study_name>`` declares the comparison. The same call continues
    stored runs.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            comparison = adnn.compare(objective, max_trial=30, seeds=range(10))
            print(comparison)

    Args:
        objective: The objective, whose seed is replaced by each of ``seeds``. It may also be any
            Optuna objective: a function ``(trial)``, or ``(trial, seed)`` with a seed for each
            trial.
        samplers: The names of samplers, or a mapping from labels to samplers. A sampler may be
            anything that :func:`~adnn_optuna.search` takes. The default is ``"greedy"``,
            ``"annealing"`` and ``"random_restart"``. For functions, it is ``"tpe"`` and
            ``"annealing"``. For functions ``(trial, seed)``, a sampler may also be a pair of a
            sampler and its share of replicates, such as ``("annealing", 0.2)``.
        max_trial: The number of trials of each run. You can raise it later. A lower limit is
            refused, unless all runs have ended. Their results are then reported.
        seeds: The seeds of the runs in their order, or their number: 10 means the seeds 0 to 9. If
            you add seeds or arms later, the comparison is sequential, with 99% CIs. A call with
            fewer arms keeps the stored arms.
        direction: For functions, ``"minimize"`` (the default) or ``"maximize"``.
        confirm: For functions, the number of new seeds that evaluate the best trial of each run,
            by default 5. ``max_time`` leaves time for these evaluations. With 0, arms are compared
            by their best reported values. This favors samplers that repeat similar trials.
        pruner: For functions, the pruner of each run. The default is Optuna's pruner.
        failed: For functions, the value of each failed run on a new seed, and of each run without
            a completed trial. If :obj:`None`, only seeds before the first failure count.
        controls: For networks, the names of arms that spend the same compute in other ways, such
            as ``"longer"`` (one training run for the epochs of all trials), ``"learning_rate"``
            (tunes the rate by TPE), ``"ensemble"`` (averages predictions) and ``"constant"`` (the
            same offsets in all layers). The default is ``"learning_rate"`` from 10 trials on.
            There is no control if a limit such as ``max_gain`` may end searches early.
        stop_when_decided: Whether to stop adding seeds as soon as each claim on samplers is
            decided. With this option, the comparison also stops if a run has no value, because
            further seeds cannot decide its claims. In addition, ``max_time`` limits all runs
            together, and no seed begins after it.
        reuse: For functions, whether stored trials count although the function's code changed. See
            :func:`~adnn_optuna.recheck`.
        batch_size: How many trials of a run are proposed before any of them has a result.
        margin: The largest difference of two samplers that does not matter to you. For networks,
            it is a difference of the metric on the test set, with accuracies as fractions. For
            functions, it is a difference of values. The default is 0.001 for network metrics that
            are maximized. Otherwise there is no margin, and no verdict is *equivalent*.
        resampled: For functions, the numbers of training and test examples of a split, if the
            seeds redraw the split of one data set. Splits overlap, so the CIs are wider. If the
            code seems to redraw a split, ``compare`` raises an error. Pass False if each seed has
            independent data.
        folds: Whether the seeds of a function are the folds of a single k-fold cross-validation.
        **keywords: Options of the runs, and their limits.

    Returns:
        The comparison of all arms over all finished seeds.

    Raises:
        TypeError: If an argument has a wrong type, or a function's value is not a number.
        ValueError: If an argument is wrong. If a stored study has another objective or sampler. If
            the code of a function changed and ``reuse`` is false.
        KeyboardInterrupt: If you interrupt the call. All finished trials are stored. If you passed
            no ``storage``, they are copied to a temporary database, and its URL is logged.
    """
    call = checked_call({**keywords, "max_trial": as_integer("max_trial", max_trial)})
    study_name = call.study_name or "compare"
    limits = call.limits
    searched = as_searched(
        objective,
        call,
        direction=direction,
        confirm=confirm,
        failed=checked_failed(failed),
        resampled=resampled,
        folds=folds or None,
        sequential=stop_when_decided,
    )
    pruner = _checked_pruner(pruner, searched)
    margin = _checked_margin(margin, searched)
    arms = _compared_arms(searched, samplers, controls, limits)
    seeds = checked_seeds(seeds)
    run_limits = limits
    if stop_when_decided:  # max_time limits all runs together, instead of each run.
        run_limits = {**limits, "max_time": None}
    runs = _SpecMaker(searched, study_name, arms, run_limits, batch_size, pruner)
    # Wrong arguments raise errors before anything is stored.
    first_specs = {label: runs.spec(label, seeds[0]) for label in arms}
    n_trials = max_trial * len(arms) * len(seeds)
    bar = progress_bar(n_trials, show=call.show_progress_bar, unit="trial")
    with interruptible() as stop, bar:
        opened = open_storage(call.storage)
        check_is_reached(opened, call.executor)
        stored_head = head_if_declared(opened, study_name)
        before: Declaration | None = None
        if stored_head is not None:
            before = stored_head.user_attrs[COMPARISON]
            run_limits = limits_of_runs(stored_head, run_limits, arms, seeds)
            runs = dataclasses.replace(runs, limits=run_limits)
        declaration = _declaration(
            before,
            seeds,
            study_name,
            first_specs,
            limits=limits if stop_when_decided else run_limits,
            batch_size=batch_size if isinstance(batch_size, str) else int(batch_size),
            stop_when_decided=bool(stop_when_decided),
            margin=margin,
        )
        warn_of_few_seeds(len(seeds), n_claims_of(declaration["arms"]), declaration)
        n_jobs = call.n_jobs or searched.n_studies_at_once
        n_seeds_at_once = n_jobs if stop_when_decided else len(seeds)
        results: dict[str, list[StudyResult]] = {label: [] for label in arms}
        head = None
        n_before = 0
        n_compared = 0
        while True:
            next_seeds = seeds[n_compared : n_compared + n_seeds_at_once]
            specs = {
                (label, seed): runs.spec(label, seed) for label in arms for seed in next_seeds
            }
            studies = open_studies([*specs.values()], opened)
            check_code(studies, searched.functions, reuse=reuse)
            n_before += sum(map(n_done, studies))
            # The declaration is stored once, because a second declaration could overwrite a later
            # declaration of another worker.
            head = head or _declared_head(opened, study_name, searched, declaration)
            next_results = _run(
                [*specs.values()],
                studies,
                opened,
                stop=stop,
                bar=bar,
                n_jobs=n_jobs,
                executor=call.executor,
                storage=call.storage,
            )
            for (label, _), result in zip(specs, next_results, strict=True):
                results[label].append(result)
            n_compared += len(next_seeds)
            comparison = Comparison(results, seeds[:n_compared], margin, declaration)
            is_over = stop_when_decided and _is_over(comparison, limits["max_time"], bar)
            if is_over or n_compared == len(seeds):
                return _noted(comparison, head, n_before)


@dataclasses.dataclass(frozen=True)
class _SpecMaker:
    """Makes the specification of each run of a comparison."""

    searched: Searched[Any]
    study_name: str
    arms: Mapping[str, ArmSpec]
    limits: LimitValues
    batch_size: int | Literal["auto"]
    pruner: BasePruner | None

    def spec(self, label: str, seed: int) -> StudySpec:
        """Return the specification of the study of an arm and a seed."""
        # Samplers and pruners keep state, so each run needs separate copies.
        sampler, pruner = copy.deepcopy((self.arms[label], self.pruner))
        objective = self.searched.replace(seed=seed)
        name = run_name(self.study_name, label, seed)
        return StudySpec(objective, name, sampler, self.limits, self.batch_size, pruner)


def _run(
    specs: Sequence[StudySpec], studies: Sequence[optuna.Study], opened: BaseStorage, **how: Any
) -> list[StudyResult]:
    """Run studies and return their results. After an interrupt, store all trials.

    ``how`` is passed to :func:`run_studies`.
    """
    try:
        run_studies(specs, studies, **how)
    except KeyboardInterrupt:
        _save_interrupted(opened)
        raise
    attrs_of_studies = attributes_in(opened)
    results = []
    for spec, study in zip(specs, studies, strict=True):
        record = read_record(study, others=attrs_of_studies)
        results.append(result_of(record, spec.plan.objective))
    return results


def _compared_arms(
    searched: Searched[Any], samplers: Samplers, controls: Controls, limits: LimitValues
) -> dict[str, ArmSpec]:
    """Return the arms of a comparison by their labels.

    The arms are the samplers, the reference (such as random restarts), and the controls.
    """
    arms = searched.arms
    if samplers is None:
        samplers = arms.defaults
    chosen = _checked_samplers(samplers, searched)
    if arms.reference not in chosen.values():
        chosen = _with_reference(chosen, arms.reference)
    control_arms = _checked_controls(controls, arms, limits)
    if twice := [*(chosen.keys() & {*control_arms})]:
        raise WrongValueError(
            f"Labels of samplers and controls must differ; got {twice[0]!r} twice. Rename one."
        )
    return {**chosen, **dict(zip(control_arms, control_arms, strict=True))}


def _by_label(samplers: Any) -> dict[str, Any]:
    """Return samplers by label. A sampler without a label gets its name as label."""
    check_type("samplers", samplers, Iterable, "names, or a mapping from labels")
    labels = [*samplers]
    # A slash separates the parts of a study's name.
    are_names = are_labels(labels) and "/" not in "".join(labels)
    if isinstance(samplers, str) or not are_names or len(set(labels)) < len(labels):
        raise WrongValueError(
            "samplers must be different names, or a mapping from labels that are not empty and "
            f"have no slash; got {shown(samplers)}. Pass samplers=[..., ...] or "
            "samplers={'label': ..., ...}."
        )
    if isinstance(samplers, Mapping):
        return dict(samplers)
    return dict(zip(labels, labels, strict=True))


def _with_reference(samplers: Mapping[str, ArmSpec], reference: str) -> dict[str, ArmSpec]:
    """Return the samplers, and the reference with its name as the label."""
    if samplers.get(reference, reference) != reference:
        raise WrongValueError(
            f"Label {reference!r} must be of the sampler that is always compared; got it for "
            f"{samplers[reference]!r}. Use another label."
        )
    return {**samplers, reference: reference}


def _checked_samplers(
    given: Iterable[str] | Mapping[str, ArmSpec], searched: Searched[Any]
) -> dict[str, ArmSpec]:
    """Return samplers by label, or raise an error.

    A pair of a sampler and a share of replicates is only for functions with a seed.
    """
    if not (samplers := _by_label(given)):
        raise WrongValueError("samplers must not be empty; got none. Pass at least one.")
    names = searched.arms.samplers
    may_replicate = searched.functions and searched.is_seeded
    for label, sampler in samplers.items():
        if isinstance(sampler, tuple) and len(sampler) == 2 and may_replicate:
            share = checked_share(sampler[1], f"samplers[{label!r}][1]")
            check_sampler("samplers", sampler[0], names)
            samplers[label] = sampler[0], share
        else:
            check_sampler("samplers", sampler, names)
        is_same = isinstance(sampler, BaseSampler)
        if is_same and not arm_of(sampler).ends_by_itself:
            logger.warning(
                "samplers has one sampler as %r for all seeds, so runs may be dependent. Pass a "
                "function (seed, n_trials) that returns a sampler.",
                label,
            )
    return samplers


def _checked_controls(controls: Controls, arms: Arms, limits: LimitValues) -> list[str]:
    """Return the controls, or raise an error. The default depends on the searches' length."""
    early = [limit.name for limit in callbacks_of(limits) if limit.ends_early]
    if controls is None:
        is_long = (limits["max_trial"] or 0) >= _TRIALS_FOR_CONTROL
        if is_long and not early:
            return [*arms.default_controls]
        return []
    check_type("controls", controls, Iterable, "names of controls")
    chosen = [*controls]
    if chosen and not arms.controls:
        raise WrongValueError(
            f"controls must be omitted for a function; got {controls!r}. They are for networks."
        )
    if chosen and early:
        raise WrongValueError(
            f"controls must be omitted with {early[0]}, which ends searches before their compute "
            f"is spent; got both. Omit one of the two."
        )
    if isinstance(controls, str | Mapping):
        raise WrongTypeError(
            f"controls must be a list of names; got {shown(controls)}. Choose from "
            f"{', '.join(arms.controls)}."
        )
    for control in chosen:
        check_choice("controls", control, arms.controls)
    if len({*chosen}) < len(chosen):
        raise WrongValueError(
            f"controls must be different names; got {shown(controls)}. Remove duplicates."
        )
    return chosen


def _checked_pruner(pruner: BasePruner | None, searched: Searched[Any]) -> BasePruner | None:
    """Return each run's pruner, or raise an error. The default is the objective's pruner."""
    if pruner is None:
        return searched.arms.pruner
    if searched.arms.pruner is None:
        raise for_functions_only("pruner", pruner)
    return pruner


def _checked_margin(margin: Any, searched: Searched[Any]) -> float | None:
    """Return the margin, or raise an error. The default is the objective's margin."""
    if margin is None:
        return searched.arms.margin
    check_margin(margin, unit_of(searched.metric).largest)
    return float(margin)


def _declaration(
    before: Declaration | None,
    seeds: Sequence[int],
    study_name: str,
    first_specs: Mapping[str, StudySpec],
    **arguments: Any,
) -> Declaration:
    """Return the declaration of a comparison. Raise an error if the objective's kind changed.

    ``first_specs`` are the arms' runs of the first seed. ``arguments`` are the arguments of the
    call.
    """
    first_spec, *_ = first_specs.values()
    confirm = first_spec.plan.n_new_seeds
    if before is not None and before["arguments"].get("confirm") != confirm:
        raise WrongValueError(
            f"Comparison {study_name!r} must be of the same kind of objective, with confirm="
            f"{before['arguments'].get('confirm')!r} as before; got confirm={confirm!r}. Use "
            "another study name."
        )
    return continued_declaration(
        before,
        seeds,
        study_name=study_name,
        sequential=arguments["stop_when_decided"],
        arms={label: declared_arm(spec.arm) for label, spec in first_specs.items()},
        arguments={**arguments, "confirm": confirm, **first_spec.searched.stored_arguments},
    )


def _declared_head(
    storage: BaseStorage, name: str, searched: Searched[Any], declaration: Declaration
) -> optuna.Study:
    """Store the declaration of a comparison, and return the study that holds it."""
    head = open_declared(storage, name, searched.direction, COMPARISON, declaration)
    store_declaration(head, declaration)
    return head


def _noted(comparison: Comparison, head: optuna.Study, n_before: int) -> Comparison:
    """Return a comparison with notes on similar comparisons and on reused trials."""
    runs = comparison.numbers.runs
    n_now = sum(len(run.done_trials) for run in runs)
    reused = reused_note("trial", n_before, n_now)
    return dataclasses.replace(comparison, like=like_comparisons(head), _reused=reused)


def _save_interrupted(storage: BaseStorage) -> None:
    """Log how to continue after an interrupt. Studies in memory are first copied to a database."""
    message = "Interrupted; all trials are kept%s. Compare again with the same arguments."
    if not isinstance(storage, InMemoryStorage):
        logger.info(message, "")
        return
    url = f"sqlite:///{(Path(tempfile.mkdtemp(prefix='adnn-')) / 'compare.db').as_posix()}"
    to = open_storage(url)
    for name in optuna.get_all_study_names(storage):
        optuna.copy_study(from_study_name=name, from_storage=storage, to_storage=to)
    logger.warning(message, f" in storage={url!r}")


def _is_over(comparison: Comparison, max_time: float | None, bar: Bar) -> bool:
    """Log the progress, and return whether to stop.

    A comparison stops if no further claim can be decided, or if no time is left.
    """
    n_claims = len(comparison.numbers.families["samplers"])
    n_decided = n_claims - comparison.numbers.n_inconclusive
    progress = f"{len(comparison.seeds)} seeds, {n_decided} of {n_claims} claims decided"
    bar.set_postfix_str(progress)
    logger.info("%s: %s.", comparison.study_name, progress)
    return not comparison.numbers.may_decide_more or comparison.numbers.seconds >= (
        max_time or math.inf
    )
