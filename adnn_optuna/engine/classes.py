"""What a look at the test set shows of each class, and how sure the networks were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from adnn_optuna._attributes import TestLook

Role = Literal["baseline", "best"]
ROLES: tuple[Role, Role] = ("baseline", "best")

# So many times as frequent as the others in their mean is a class that makes a test set uneven:
# always naming it is then right as many times as often as always naming another one.
_UNEVEN = 1.5


def class_sizes(look: TestLook) -> list[int]:
    """Return the number of test examples of each class; none where that was not stored."""
    return [sum(row) for row in look.get("confusion", {}).get("best", [])]


def recalls(look: TestLook, role: Role) -> list[float]:
    """Return the share of each class's test examples that is right; NaN where there are none.

    A baseline whose training diverged has none either.
    """
    if math.isnan(look[role]):
        return [math.nan] * len(class_sizes(look))
    rows = enumerate(look.get("confusion", {}).get(role, []))
    return [row[i] / sum(row) if any(row) else math.nan for i, row in rows]


def balanced_accuracy(look: TestLook, role: Role) -> float:
    """Return the mean of the recalls of all classes that the test set has; NaN without any."""
    known = [recall for recall in recalls(look, role) if not math.isnan(recall)]
    return fmean(known) if known else math.nan


def uneven_classes_in_words(look: TestLook) -> str:
    """Return what always naming the largest class reaches; empty where the classes are even."""
    sizes, total = class_sizes(look), look["n_images"]
    if len(sizes) < 2 or (largest := max(sizes)) * (len(sizes) - 1) < _UNEVEN * (total - largest):
        return ""
    share = f"{100 * largest / total:.3g} %"
    name = look["classes"][sizes.index(largest)]
    return (
        f"{share} of the test set is class {name!r}: a network that always says so reaches {share}"
    )


def calibration_error(bins: Sequence[Sequence[float]]) -> float:
    """Return the expected calibration error: how far confidence is from the share that is right.

    It is the mean over all examples, by bins of confidence (Guo et al. 2017, ICML, eq. 3): of each
    the number of examples, their mean confidence and the share of them that is right.
    """
    total = sum(n for n, _, _ in bins)
    return sum(n * abs(right - sure) for n, sure, right in bins if n) / total


def n_examples(look: TestLook) -> str:
    """Return how many examples a test set has, and what they are called."""
    return f"{look['n_images']} test {look['unit']}"
