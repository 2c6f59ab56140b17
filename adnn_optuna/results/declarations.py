"""What a comparison is declared to be before its first seed: its seeds, and if it looks again."""

import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import optuna

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Arguments, Declaration
from adnn_optuna._checks import WrongTypeError, WrongValueError, as_integer, logger
from adnn_optuna.engine.arms import ARMS
from adnn_optuna.engine.storages import with_retry
from adnn_optuna.stats.paired_differences import fewest_pairs

MAX_SEEDS = 10_000  # A mistyped range would fill the storage.


def checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Return the seeds of a comparison as Python's integers; refuse what are none."""
    if not isinstance(seeds, Iterable):
        raise WrongTypeError(f"seeds must be a sequence of whole numbers, but it is {seeds!r}.")
    first = itertools.islice(seeds, MAX_SEEDS + 1)
    checked = tuple(as_integer("seed", seed, low=0) for seed in first)
    if len(checked) > MAX_SEEDS:
        raise WrongValueError(
            f"seeds has more than {MAX_SEEDS:,}, but each is a study: take fewer."
        )
    if not checked:
        raise WrongValueError("seeds is empty, but a comparison needs at least one.")
    if len(set(checked)) < len(checked):
        raise WrongValueError(
            f"seeds has duplicates, but each run needs its own: {list(checked)}."
        )
    return checked


def planned(seeds: Sequence[int]) -> Declaration:
    """Return what a comparison of nothing but planned seeds is declared to be."""
    return {"seeds": [*seeds], "looks_again": False, "arms": {}, "arguments": {}}


def n_claims_of(arms: Mapping[str, str]) -> dict[str, int]:
    """Return how many claims of each family can be made of arms, given by their names."""
    names = [*arms.values()]
    is_of_function = stored.RANDOM in names and stored.RANDOM_RESTART not in names
    n_controls = sum(name in ARMS and ARMS[name].is_control for name in names)
    n_searchers = len(names) - n_controls
    n_beside_luck = n_searchers - (stored.RANDOM_RESTART in names or is_of_function)
    of_rivals = stored.GREEDY in names and stored.ANNEALING in names and not is_of_function
    return {"searchers": n_beside_luck + of_rivals, "controls": n_controls * n_searchers}


def declared(
    before: Declaration | None,
    seeds: Sequence[int],
    *,
    study_name: str,
    looks_again: bool,
    n_claims: Mapping[str, int],
    arms: Mapping[str, str],
    arguments: Mapping[str, Any],
) -> Declaration:
    """Return what a comparison is declared to be, with what it was declared to be before.

    Warn where its seeds cannot decide anything. ``n_claims`` are the numbers of claims of each
    family, by what they are about, and ``arms`` the names of what it compares, by their labels.
    """
    before = before or planned(())
    known, has_more_arms = before["seeds"], not arms.keys() <= before["arms"].keys()
    is_shorter = len(seeds) < len(known) and not before["looks_again"]
    if is_shorter or any(a != b for a, b in zip(seeds, known, strict=False)):
        first = ", ".join(map(str, known[:10])) + ", …" * (len(known) > 10)
        raise WrongValueError(
            f"The comparison {study_name!r} was declared with the {len(known)} seeds {first}; "
            "give these in this order, or these and more."
        )
    has_more = bool(known) and (len(known) < len(seeds) or has_more_arms)
    looks_again = looks_again or before["looks_again"] or has_more
    if known and looks_again and not before["looks_again"]:
        logger.warning(
            "The comparison %r was planned with %d seeds; with more, or with more arms, all its "
            "claims pay for having been looked at, for good: about half of those that were just "
            "decided become undecided.",
            study_name,
            len(known),
        )
    for what, n in n_claims.items():
        needed = fewest_pairs(n, looks_again=looks_again)
        if len(seeds) < needed:
            warnings.warn(
                f"{len(seeds)} seed{'s' * (len(seeds) > 1)} can decide nothing about the {what}: "
                f"with {n} claim{'s' * (n > 1)} it takes at least {needed}.",
                stacklevel=4,  # Whose line it is that called a verb.
            )
    return {
        "seeds": [*max(seeds, known, key=len)],
        "looks_again": looks_again,
        "arms": {**before["arms"], **arms},
        "arguments": cast("Arguments", dict(arguments)),
    }


def store_declaration(head: optuna.Study, declaration: Declaration) -> None:
    """Store in its study what a comparison is declared to be."""
    if with_retry(lambda: head.user_attrs).get(stored.COMPARISON) != declaration:
        with_retry(head.set_user_attr, stored.COMPARISON, declaration)
