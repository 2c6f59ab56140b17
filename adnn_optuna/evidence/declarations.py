"""What a comparison is declared to be before its first seed: its seeds, and if it looks again."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage

from adnn_optuna._attributes import COMPARISON, Declaration
from adnn_optuna._checks import WrongTypeError, WrongValueError, checked_seed
from adnn_optuna.engine.records import SearchRecord, record_of
from adnn_optuna.engine.storages import patiently
from adnn_optuna.evidence.paired_differences import fewest_pairs

_MAX_SEEDS = 10_000  # A mistyped range would fill the storage.

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


def checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Return the seeds of a comparison as Python's integers; refuse what are none."""
    try:
        first = itertools.islice(seeds, _MAX_SEEDS + 1)
    except TypeError:
        raise WrongTypeError(
            f"seeds must be a sequence of whole numbers, but it is {seeds!r}."
        ) from None
    checked = tuple(map(checked_seed, first))
    if len(checked) > _MAX_SEEDS:
        raise WrongValueError(
            f"seeds has more than {_MAX_SEEDS:,}, but each is a study: take fewer."
        )
    if not checked:
        raise WrongValueError("seeds is empty, but a comparison needs at least one.")
    if len(set(checked)) < len(checked):
        raise WrongValueError(
            f"seeds has duplicates, but each run needs its own: {list(checked)}."
        )
    return checked


def declaration_of(attrs: Iterable[Mapping[str, Any]], seeds: Sequence[int]) -> Declaration:
    """Return what the studies of a comparison store of it; without anything, these seeds."""
    found: list[Declaration | None] = [of_study.get(COMPARISON) for of_study in attrs]
    known = [declaration for declaration in found if declaration is not None]
    return {
        # Some may have been stored before further seeds were added.
        "seeds": max((d["seeds"] for d in known), key=len, default=[*seeds]),
        "looks_again": any(d["looks_again"] for d in known),
    }


def declared(
    attrs: Iterable[Mapping[str, Any]],
    seeds: Sequence[int],
    *,
    looks_again: bool,
    study_name: str,
    n_claims: Mapping[str, int],
) -> Declaration:
    """Return what a comparison is declared to be, with what its studies say of it already.

    Warn where its seeds cannot decide anything, whatever comes of them.

    Args:
        attrs: The user attributes of its studies that there are.
        seeds: The seeds that it is to have.
        looks_again: Whether it is to stop once all is decided.
        study_name: The name of the comparison.
        n_claims: The number of claims of each family, by what they are about.

    Raises:
        ValueError: If it was declared with other seeds.
    """
    before = declaration_of(attrs, ())
    known = tuple(before["seeds"])
    is_shorter = len(seeds) < len(known) and not before["looks_again"]
    if is_shorter or any(a != b for a, b in zip(seeds, known, strict=False)):
        raise WrongValueError(
            f"The comparison {study_name!r} was declared with the {len(known)} seeds "
            f"{seeds_in_words(known)}; give these in this order, or these and more."
        )
    looks_again = looks_again or before["looks_again"] or 0 < len(known) < len(seeds)
    if known and looks_again and not before["looks_again"]:
        _logger.warning(
            "The comparison %r was planned with %d seeds; with more, all its claims pay for "
            "having been looked at, for good: about half of those that were just decided become "
            "undecided.",
            study_name,
            len(known),
        )
    for what, n in n_claims.items():
        needed = fewest_pairs(n, looks_again=looks_again)
        if len(seeds) < needed:
            warnings.warn(
                f"{len(seeds)} seed{'s' * (len(seeds) > 1)} can decide nothing about the {what}: "
                f"with {n} claim{'s' * (n > 1)} it takes at least {needed}.",
                stacklevel=3,
            )
    return {"seeds": [*max(seeds, known, key=len)], "looks_again": looks_again}


def store_declaration(study: optuna.Study, declaration: Declaration) -> None:
    """Store in a study what the comparison that it belongs to is declared to be."""
    if patiently(lambda: study.user_attrs).get(COMPARISON) != declaration:
        patiently(study.set_user_attr, COMPARISON, declaration)


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Return the first few seeds as text."""
    return ", ".join(map(str, seeds[:10])) + (", …" if len(seeds) > 10 else "")


def records_of_comparison(
    storage: BaseStorage, study_name: str
) -> dict[str, dict[int, SearchRecord]]:
    """Return what the stored studies of a comparison came to, by arm and seed."""
    pattern = re.compile(rf"{re.escape(study_name)}/([^/]*)/seed=(\d+)")
    arms: dict[str, dict[int, SearchRecord]] = {}
    for name in optuna.get_all_study_names(storage):
        if match := pattern.fullmatch(name):
            study = optuna.load_study(study_name=name, storage=storage)
            arms.setdefault(match[1], {})[int(match[2])] = record_of(study)
    return arms
