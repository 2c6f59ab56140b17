"""The declaration that a comparison stores before its first seed: seeds, arms and design."""

import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import optuna

from adnn_optuna._attributes import (
    ANNEALING,
    COMPARISON,
    GREEDY,
    RANDOM,
    RANDOM_RESTART,
    Arguments,
    Declaration,
    DeclaredArm,
    Resampled,
)
from adnn_optuna._checks import (
    TOO_LARGE,
    WrongTypeError,
    WrongValueError,
    as_integer,
    is_integer,
    logger,
    shown,
)
from adnn_optuna._units import in_number
from adnn_optuna.engine.arms import Arm
from adnn_optuna.stats.paired_differences import Claim, PairedDesign, fewest_pairs

_RIVALS = (GREEDY, ANNEALING)
MAX_SEEDS = 10_000  # A mistyped range of seeds could fill the storage, so there is a limit.


def checked_seeds(seeds: int | Iterable[int], below: int = TOO_LARGE) -> tuple[int, ...]:
    """Return seeds as Python integers. A number n means the seeds 0 to n - 1."""
    if is_integer(seeds):
        seeds = range(as_integer("seeds", seeds))
    if not isinstance(seeds, Iterable) or isinstance(seeds, str):
        raise WrongTypeError(
            f"seeds must be integers, or how many; got {shown(seeds)}. Pass a number or a list."
        )
    first = itertools.islice(seeds, MAX_SEEDS + 1)
    checked = tuple(as_integer("seed", seed, 0, below) for seed in first)
    if len(checked) > MAX_SEEDS:
        raise WrongValueError(
            f"seeds must be at most {MAX_SEEDS:,}, as each is a study; got more. Pass fewer."
        )
    if not checked:
        raise WrongValueError("seeds must not be empty; got none. Pass at least one.")
    if len(set(checked)) < len(checked):
        raise WrongValueError(
            f"seeds must be different from each other; got {list(checked)}. Remove duplicates."
        )
    return checked


def fixed_declaration(seeds: Sequence[int]) -> Declaration:
    """Return the declaration of a fixed design with these seeds."""
    return {
        "seeds": [*seeds],
        "sequential": False,
        "after_fixed": False,
        "arms": {},
        "arguments": {},
    }


def design_of(
    declaration: Declaration, n_done: int, *, margin: float | None, resampled: Resampled | None
) -> PairedDesign:
    """Return the design of the declared seeds, of which ``n_done`` are done."""
    seeds = declaration["seeds"]
    n_planned = len(seeds)
    return PairedDesign(
        names=[f"seed {seed}" for seed in seeds],
        n_planned=n_planned,
        n_missing=n_planned - n_done,
        margin=margin,
        sequential=declaration["sequential"],
        after_fixed=declaration["after_fixed"],
        resampled=resampled,
    )


def declared_arm(arm: Arm, name: str = "") -> DeclaredArm:
    """Return what a comparison stores about an arm, such as the name of a user's sampler."""
    return {
        "name": name or arm.name,
        "is_control": arm.is_control,
        "may_replicate": bool(arm.copied_settings),
    }


def reference_of(arms: Mapping[str, DeclaredArm]) -> str | None:
    """Return the label of the reference, or None if it is not among the arms.

    The reference is random restarts for networks, and random search for functions.
    """
    names = {label: arm["name"] for label, arm in arms.items()}
    reference = RANDOM
    if RANDOM_RESTART in names.values():
        reference = RANDOM_RESTART
    labels = [label for label, name in names.items() if name == reference]
    if RANDOM in labels:
        return RANDOM
    return next(iter(labels), None)


def claims_of(arms: Mapping[str, DeclaredArm]) -> dict[str, list[Claim]]:
    """Return the two families of claims: on samplers, and on controls.

    In the first family, each sampler is compared with the reference, and greedy with annealing. In
    the second family, each sampler and the reference are compared with each control.
    """
    reference = reference_of(arms)
    controls = [label for label, arm in arms.items() if arm["is_control"]]
    samplers = [label for label in arms if label not in (*controls, reference)]
    of_samplers = []
    searched = samplers
    if reference is not None:
        of_samplers = [(label, reference) for label in samplers]
        searched = [*samplers, reference]
    if reference is None or arms[reference]["name"] != RANDOM:
        rivals = [label for label in samplers if arms[label]["name"] in _RIVALS]
        for label, rival in itertools.combinations(rivals, 2):
            if arms[label]["name"] != arms[rival]["name"]:
                of_samplers.append((label, rival))
    return {"samplers": of_samplers, "controls": [*itertools.product(searched, controls)]}


def n_claims_of(arms: Mapping[str, DeclaredArm]) -> dict[str, int]:
    """Return the number of claims of each family."""
    return {what: len(claims) for what, claims in claims_of(arms).items()}


def continued_declaration(
    before: Declaration | None,
    seeds: Sequence[int],
    *,
    study_name: str,
    sequential: bool,
    arms: Mapping[str, DeclaredArm],
    arguments: Mapping[str, Any],
) -> Declaration:
    """Return the declaration of a comparison, merged with its earlier declaration ``before``."""
    before = before or fixed_declaration(())
    planned_seeds = before["seeds"]
    _check_seeds_go_on(seeds, before, study_name)
    has_more_seeds = len(seeds) > len(planned_seeds)
    has_more_arms = not arms.keys() <= before["arms"].keys()
    has_more = has_more_seeds or has_more_arms
    is_raised = False
    if planned_seeds and not before["sequential"]:
        is_raised = sequential or has_more
    if is_raised:
        logger.warning(
            "The comparison %r was planned with %d seeds. With more seeds or arms it is "
            "sequential from now on, with wider CIs: about half of the claims that were just "
            "decided become inconclusive.",
            study_name,
            len(planned_seeds),
        )
    return {
        "seeds": [*max(seeds, planned_seeds, key=len)],
        "sequential": sequential or before["sequential"] or is_raised,
        "after_fixed": before["after_fixed"] or is_raised,
        "arms": {**before["arms"], **arms},
        "arguments": cast("Arguments", dict(arguments)),
    }


def warn_of_few_seeds(n_seeds: int, n_claims: Mapping[str, int], declaration: Declaration) -> None:
    """Warn if a call's seeds are too few to decide any claim of a family.

    ``n_claims`` is the number of claims of each family.
    """
    for what, n in n_claims.items():
        needed = fewest_pairs(
            n, sequential=declaration["sequential"], after_fixed=declaration["after_fixed"]
        )
        if n_seeds < needed:
            few = in_number(n_seeds, "seed")
            claims = in_number(n, "claim")
            warnings.warn(
                f"{few} can decide nothing about the {what}: at least {needed} are needed for "
                f"{claims}.",
                stacklevel=4,  # The warning names the line that called the public function.
            )


def _check_seeds_go_on(seeds: Sequence[int], before: Declaration, study_name: str) -> None:
    """Raise an error for seeds that do not begin with the declared seeds."""
    planned_seeds = before["seeds"]
    is_shorter = len(seeds) < len(planned_seeds) and not before["sequential"]
    n_common = min(len(seeds), len(planned_seeds))
    if not is_shorter and [*seeds[:n_common]] == planned_seeds[:n_common]:
        return
    n_planned = len(planned_seeds)
    first = ", ".join(map(str, planned_seeds[:10]))
    if n_planned > 10:
        first = f"{first}, …"
    passed = ", ".join(map(str, seeds[:10]))
    raise WrongValueError(
        f"seeds must begin with the {n_planned} declared seeds of {study_name!r}, "
        f"{first}; got {passed}. Pass the declared seeds in their order, or these and more."
    )


def store_declaration(head: optuna.Study, declaration: Declaration) -> None:
    """Store the declaration of a comparison in its study, if the declaration changed."""
    if head.user_attrs.get(COMPARISON) != declaration:
        head.set_user_attr(COMPARISON, declaration)
