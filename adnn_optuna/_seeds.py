"""Functions that derive seeds from a key, and new seeds, on which no trial was selected."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

# For functions, new seeds of at least this number confirm a trial, and smaller ones choose a
# trial.
_FIRST_TO_CONFIRM = 2**30


def derived_seed(*key: int) -> int:
    """Return a seed below 2^31 for ``key``. Different keys give independent seeds."""
    return int(np.random.SeedSequence(key).generate_state(1)[0] >> 1)


# Parts of a key. They distinguish seeds for trials of a search, new seeds of its best trial,
# replicates, and members of an ensemble.
_TRIAL = 0
_NEW_SEED = 1
_REPLICATE = 2
_MEMBER = 0xE


def trial_seed(seed: int, index: int) -> int:
    """Return the seed of a trial of a search."""
    return derived_seed(seed, _TRIAL, index)


def replicate_seed(seed: int, index: int, repetition: int) -> int:
    """Return the seed of a replicate of a trial."""
    return derived_seed(seed, _REPLICATE, index, repetition)


def seeds_of_best_trial(seed: int, count: int) -> list[int]:
    """Return the new seeds on which the best trial of a search is evaluated."""
    return [derived_seed(seed, _NEW_SEED, place) for place in range(count)]


def member_seeds(seed: int, count: int) -> list[int]:
    """Return the seeds of an ensemble's networks: first the seed itself, then derived seeds."""
    return [seed, *(derived_seed(seed, number, _MEMBER) for number in range(count - 1))]


def source_seed(seed: int, source: str) -> int:
    """Return the seed of a source of randomness, which all functions with this source share."""
    return derived_seed(seed, *source.encode())


def new_seeds(of: str, role: str, count: int, *, draws_data: bool) -> tuple[int, ...]:
    """Return new seeds below 2^31. With a larger ``count``, the first seeds stay the same.

    The seeds come from a hash of a text, so they are hardly ever small numbers that people use.
    Each seed either chooses or confirms, see :func:`confirms`.
    """
    data = f"{of} {role}".encode()
    digest = hashlib.shake_128(data).digest(4 * count)
    words = np.frombuffer(digest, dtype="<u4") // 4
    is_to_confirm = role == "confirm"
    if not draws_data:
        return tuple(int(word) * 2 + is_to_confirm for word in words)
    first = _FIRST_TO_CONFIRM if is_to_confirm else 0
    return tuple(int(word) + first for word in words)


def confirms(seed: int, *, draws_data: bool) -> bool:
    """Return whether a new seed confirms a trial. All other new seeds choose a trial.

    For networks, odd seeds confirm. For functions, large seeds confirm instead, because a function
    may use a remainder of its seed, such as ``folds[seed % 10]``.
    """
    if draws_data:
        return seed >= _FIRST_TO_CONFIRM
    return seed % 2 == 1


def confirmation_seeds(
    experiment: Any, params: Mapping[str, Any], count: int, *, draws_data: bool = False
) -> tuple[int, ...]:
    """Return the new seeds that confirm these parameters. ``experiment`` is JSON."""
    subject = json.dumps([experiment, dict(params)], sort_keys=True, default=str)
    return new_seeds(subject, "confirm", count, draws_data=draws_data)


def experiment_fingerprint(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's fingerprint, from its configuration without the dataset's name."""
    return {**config, "dataset": config["dataset"]["fingerprint"]}
