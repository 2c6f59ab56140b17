"""The arms of comparisons, of networks or of a function, and the objectives of their runs."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError, as_integer, check_positive, check_type, logger
from adnn_optuna._units import unit_of
from adnn_optuna.api._calls import are_labels, check_for_networks
from adnn_optuna.api._resampling import check_splits
from adnn_optuna.api.function_search import checked_share
from adnn_optuna.callbacks import LimitValues, callbacks_of
from adnn_optuna.engine.arms import CONTROLS, ArmSpec, arm_of, check_sampler
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.loop import Objective
from adnn_optuna.engine.objectives import (
    FunctionObjective,
    checked_direction,
    seeds_of_trials,
    with_seed,
)
from adnn_optuna.engine.records import test_metric
from adnn_optuna.engine.studies import check_objective
from adnn_optuna.networks.training import n_cores
from adnn_optuna.stats.paired_differences import MARGIN, check_margin
from adnn_optuna.stats.resampling import ResampledArgument

Samplers = Iterable[str] | Mapping[str, ArmSpec] | None
Controls = Iterable[str] | None

_TRIALS_FOR_CONTROL = 10  # Fewer are no search of the learning rate.
_CONFIRM = 5

Run = tuple[Objective, ArmSpec, BasePruner | None]
"""The objective, the sampler and the pruner of a run."""


class Compared(NamedTuple):
    """Arms by their labels, and the objective of a run of an arm with a seed."""

    arms: Mapping[str, Any]
    run: Callable[[str, int], Run]
    margin: float | None
    n_at_once: int  # The number of seeds that a sequential comparison adds at once.
    arguments: Mapping[str, Any]  # What it stores in addition to other comparisons.


def of_networks(
    objective: object,
    samplers: Samplers,
    controls: Controls,
    margin: float | None,
    limits: LimitValues,
    *,
    catch: tuple[type[Exception], ...],
    **of_functions: object,
) -> Compared:
    """Return the arms of a comparison of searches over networks' initial values."""
    network = check_objective(objective).replace(catch=catch)
    check_for_networks(of_functions)
    metric = test_metric(network.metric)
    if margin is None and network.direction == StudyDirection.MAXIMIZE:
        margin = MARGIN  # Losses and errors have units of their own.
    if margin is not None:
        check_margin(margin, unit_of(metric).largest)
        margin = float(margin)
    default = (stored.GREEDY, stored.ANNEALING, stored.RANDOM_RESTART)
    chosen = _checked_samplers(default if samplers is None else samplers)
    if stored.RANDOM_RESTART not in chosen.values():
        chosen = _with_reference(chosen, stored.RANDOM_RESTART)
    beside = _checked_controls(controls, network, limits)
    if twice := [*(chosen.keys() & {*beside})]:
        raise WrongValueError(
            f"Labels of samplers and controls must differ; got {twice[0]!r} twice. Rename one."
        )
    arms = {**chosen, **dict(zip(beside, beside, strict=True))}

    def run(label: str, seed: int) -> Run:
        # Samplers keep random state.
        return network.replace(seed=seed), copy.deepcopy(arms[label]), None

    return Compared(arms, run, margin, n_cores(), {})


def of_function(
    function: Callable[..., float],
    samplers: Samplers,
    controls: Controls,
    margin: float | None,
    *,
    catch: tuple[type[Exception], ...],
    direction: str | StudyDirection | None,
    confirm: int | None,
    pruner: BasePruner | None,
    failed: float | None,
    resampled: ResampledArgument,
    folds: bool | None,
    sequential: bool,
) -> Compared:
    """Return the arms of a comparison of searches of any Optuna objective."""
    overlap = check_splits(
        {"objective": function},
        {"objective": seeds_of_trials(function)},
        resampled,
        folds=bool(folds),
        sequential=sequential,
    )
    if controls:
        raise WrongValueError(
            f"controls must be omitted for a function; got {controls!r}. They are for networks."
        )
    towards = checked_direction(direction) or StudyDirection.MINIMIZE
    if margin is not None:
        check_positive("margin", margin)
        margin = float(margin)
    times = as_integer("confirm", _CONFIRM if confirm is None else confirm, 0, stored.TOO_MANY)
    default = ("tpe", stored.ANNEALING)
    chosen = _checked_samplers(
        default if samplers is None else samplers, is_seeded=with_seed(function)[1]
    )
    if stored.RANDOM_RESTART in chosen.values():
        raise WrongValueError(
            f"samplers must be for functions; got {stored.RANDOM_RESTART!r}, which draws new "
            f"initial weights. Omit it: {stored.RANDOM!r} is always compared."
        )
    arms = _with_reference(chosen, stored.RANDOM)
    pruner = MedianPruner() if pruner is None else pruner

    def run(label: str, seed: int) -> Run:
        share = arm_of(arms[label]).replicate
        objective = FunctionObjective(
            *(function, towards, seed),
            confirm=times,
            replicate=share,
            failed=failed,
            catch=catch,
        )
        return objective, copy.deepcopy(arms[label]), copy.deepcopy(pruner)

    arguments = {"confirm": times, "resampled": overlap and [*overlap], "failed": failed}
    return Compared(arms, run, margin, 1, arguments)


def _by_label(argument: str, given: Any) -> dict[str, Any]:
    """Return samplers or controls by their labels, by default their names."""
    check_type(argument, given, Iterable, "names, or a mapping from labels")
    labels = [*given]
    # A slash separates the parts of a study's name.
    are_names = are_labels(labels) and "/" not in "".join(labels)
    if isinstance(given, str) or not are_names or len(set(labels)) < len(labels):
        raise WrongValueError(
            f"{argument} must be different names, or a mapping from labels that are not empty and "
            f"have no slash; got {given!r:.200}. Pass {argument}=(..., ...) or "
            f"{argument}={{'label': ..., ...}}."
        )
    return dict(given) if isinstance(given, Mapping) else dict(zip(labels, labels, strict=True))


def _with_reference(samplers: Mapping[str, ArmSpec], reference: str) -> dict[str, ArmSpec]:
    """Return samplers with the reference, which has its own name as its label."""
    if samplers.get(reference, reference) != reference:
        raise WrongValueError(
            f"Label {reference!r} must be of the sampler that is always compared; got it for "
            f"{samplers[reference]!r}. Use another label."
        )
    return {**samplers, reference: reference}


def _checked_samplers(
    given: Iterable[str] | Mapping[str, ArmSpec], *, is_seeded: bool = False
) -> dict[str, ArmSpec]:
    """Return samplers by their labels; only functions with a seed have replicates."""
    if not (samplers := _by_label("samplers", given)):
        raise WrongValueError("samplers must not be empty; got none. Pass at least one.")
    for label, sampler in samplers.items():
        if isinstance(sampler, tuple) and len(sampler) == 2:
            share = checked_share(f"samplers[{label!r}][1]", sampler[1], is_seeded=is_seeded)
            check_sampler(sampler[0])
            samplers[label] = sampler[0], share
        else:
            check_sampler(sampler)
        if isinstance(sampler, BaseSampler) and not arm_of(sampler).ends_by_itself:
            logger.warning(
                "samplers has one sampler as %r for all seeds, so runs may be dependent. Pass a "
                "function (seed, n_trials) that returns a sampler.",
                label,
            )
    return samplers


def _checked_controls(
    controls: Controls, objective: InitOffsetObjective, limits: LimitValues
) -> Sequence[str]:
    """Return the controls, by default the learning rate, if it is a number."""
    early = [limit.reason for limit in callbacks_of(limits) if limit.ends_early]
    if controls is None:
        is_long = (limits["max_trial"] or 0) >= _TRIALS_FOR_CONTROL
        has_rate = objective.fixed_learning_rate is not None
        is_default = is_long and has_rate and not early
        return [stored.LEARNING_RATE] if is_default else []
    found = [*_by_label("controls", controls)]
    if found and early:
        raise WrongValueError(
            f"controls must be omitted with {early[0]}, which ends searches before their compute "
            f"is spent; got both. Omit one of the two."
        )
    if unknown := [control for control in found if control not in CONTROLS]:
        raise WrongValueError(
            f"controls must be names of controls; got {unknown[0]!r}. Choose from "
            f"{', '.join(map(repr, CONTROLS))}."
        )
    return found
