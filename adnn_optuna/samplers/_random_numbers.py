"""Random numbers that depend on their purpose, not on earlier draws."""

import hashlib
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import Proposal
from adnn_optuna._checks import check_integer
from adnn_optuna.samplers._trials import beginning

# The purposes of random numbers. Numbers for different purposes are independent.
GENERATE, ACCEPT, REFINE, BRANCH, SEARCH, FIRST = range(6)


def uniforms(seed: int, key: int, purpose: int, name: str, size: int) -> np.ndarray:
    """Return numbers in [0, 1).

    Equal arguments give equal numbers, and a larger size adds numbers.

    A key, such as a trial's :func:`draw_key`, determines the numbers. No draw depends on earlier
    draws, so a study can be resumed, and workers can share it.
    """
    # A hash of any length works as a counter-based generator. Setting up `numpy.random.Philox`
    # for each parameter would take three times as long.
    data = b"%d %d %d %s" % (seed, key, purpose, name.encode())
    words = np.frombuffer(hashlib.shake_128(data).digest(8 * size), dtype="<u8")
    return (words >> np.uint64(11)) * 2.0**-53


def draw_key(proposal: Proposal) -> int:
    """Return the key of a trial's random numbers.

    It is the index. Without an index, it is the trial's number.
    """
    number = proposal.get("retries", proposal["owner"]["trial"])
    if proposal["index"] is None:
        return 2**63 + number
    return proposal["index"]


def check_seed(seed: Any) -> None:
    """Raise an error unless the seed is :obj:`None` or an integer of 64 bits."""
    if seed is not None:
        check_integer("seed", seed, low=0)


def seed_of(study: Study, first_trial: FrozenTrial, seed: int | None) -> int:
    """Return the seed. If it is :obj:`None`, derive it from the study's name and beginning.

    A study's name and beginning never change, so all workers and resumed runs have the same seed.
    """
    if seed is not None:
        return int(seed)
    data = f"{study.study_name} {beginning(first_trial)}"
    return int.from_bytes(hashlib.sha256(data.encode()).digest()[:7], "little")
