"""The arms of comparisons, by their labels, as the user chose them."""

from collections.abc import Iterable, Mapping
from typing import Any

from optuna.samplers import BaseSampler

from adnn_optuna._checks import WrongValueError, check_type, logger
from adnn_optuna.api._calls import are_labels, checked_share
from adnn_optuna.callbacks import LimitValues, callbacks_of
from adnn_optuna.engine.arms import Arms, ArmSpec, arm_of, check_sampler
from adnn_optuna.engine.objectives import Searched

Samplers = Iterable[str] | Mapping[str, ArmSpec] | None
Controls = Iterable[str] | None

_TRIALS_FOR_CONTROL = 10  # Fewer are no search of a control.


def compared_arms(
    searched: Searched[Any], samplers: Samplers, controls: Controls, limits: LimitValues
) -> dict[str, ArmSpec]:
    """Return the arms of a comparison by their labels: samplers, the reference, and controls."""
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
    if isinstance(given, Mapping):
        return dict(given)
    return dict(zip(labels, labels, strict=True))


def _with_reference(samplers: Mapping[str, ArmSpec], reference: str) -> dict[str, ArmSpec]:
    """Return samplers with the reference, which has its own name as its label."""
    if samplers.get(reference, reference) != reference:
        raise WrongValueError(
            f"Label {reference!r} must be of the sampler that is always compared; got it for "
            f"{samplers[reference]!r}. Use another label."
        )
    return {**samplers, reference: reference}


def _checked_samplers(
    given: Iterable[str] | Mapping[str, ArmSpec], searched: Searched[Any]
) -> dict[str, ArmSpec]:
    """Return samplers by their labels; only functions with a seed have replicates."""
    if not (samplers := _by_label("samplers", given)):
        raise WrongValueError("samplers must not be empty; got none. Pass at least one.")
    names = searched.arms.samplers
    for label, sampler in samplers.items():
        if isinstance(sampler, tuple) and len(sampler) == 2 and searched.may_replicate:
            share = checked_share(sampler[1], f"samplers[{label!r}][1]")
            check_sampler(sampler[0], names)
            samplers[label] = sampler[0], share
        else:
            check_sampler(sampler, names)
        is_same = isinstance(sampler, BaseSampler)
        if is_same and not arm_of(sampler).ends_by_itself:
            logger.warning(
                "samplers has one sampler as %r for all seeds, so runs may be dependent. Pass a "
                "function (seed, n_trials) that returns a sampler.",
                label,
            )
    return samplers


def _checked_controls(controls: Controls, arms: Arms, limits: LimitValues) -> list[str]:
    """Return the controls, by default those that searches of this length are compared with."""
    early = [limit.reason for limit in callbacks_of(limits) if limit.ends_early]
    if controls is None:
        is_long = (limits["max_trial"] or 0) >= _TRIALS_FOR_CONTROL
        if is_long and not early:
            return [*arms.default_controls]
        return []
    chosen = [*_by_label("controls", controls)]
    if chosen and not arms.controls:
        raise WrongValueError(
            f"controls must be omitted for a function; got {controls!r}. They are for networks."
        )
    if chosen and early:
        raise WrongValueError(
            f"controls must be omitted with {early[0]}, which ends searches before their compute "
            f"is spent; got both. Omit one of the two."
        )
    if unknown := [control for control in chosen if control not in arms.controls]:
        raise WrongValueError(
            f"controls must be names of controls; got {unknown[0]!r}. Choose from "
            f"{', '.join(map(repr, arms.controls))}."
        )
    return chosen
