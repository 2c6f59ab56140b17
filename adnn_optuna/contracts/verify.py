"""The verb that checks contracts."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Iterable
from typing import Any

from adnn_optuna._checks import (
    FilePath,
    WrongValueError,
    check_integer,
    check_positive,
    check_type,
    expanded,
)
from adnn_optuna.api._keywords import interrupted_where_called
from adnn_optuna.contracts.child import declared_limits, verified_apart
from adnn_optuna.contracts.verification import shown, verified
from adnn_optuna.experiments.contract_file import RefusedError, read_contract
from adnn_optuna.experiments.contract_seeds import FEWEST_PAIRS
from adnn_optuna.experiments.verdict import Verdict
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import AnyModel
from adnn_optuna.results.declarations import checked_seeds


@interrupted_where_called
def verify(
    path: FilePath,
    data_dir: FilePath | None = None,
    *,
    dataset: Dataset | None = None,
    model: AnyModel | None = None,
    new_seeds: int | None = None,
    seeds: int | Iterable[int] | None = None,
    max_time: float | None = None,
    max_memory: float | None = None,
    show_progress_bar: bool = False,
) -> Verdict:
    """Check a contract: rebuild everything, train its two networks again, and compare.

    In the environment of the contract (versions, processor, threads, oneDNN), all bits are the
    same. In another environment, both networks are trained eight times, from weights that differ
    in their last bits. The claimed gain must then be within the range of these runs, by Student's
    t at 99% or by one test image. Nothing in the file widens that, and nothing in it is executed.

    This reproduces the numbers of one network, whose seed may have been chosen. Only new seeds
    show that its offsets gain, and whether the maker's mean gain replicates. They do not need
    equal bits, so they count in any environment.

    The check runs in a process of its own, which an interrupt ends at once. With ``dataset`` or
    ``model``, which are objects of yours, it runs in this process, without limits.

    Example:

        .. code-block:: python

            verdict = adnn_optuna.verify("fashion.contract.json")
            print(verdict.status, verdict.reasons)

    Args:
        path: The contract's file.
        data_dir: Folder to look in for the dataset first, see :func:`~adnn_optuna.load_dataset`;
            data from a file are looked up here, or else beside the contract, by the file's name.
        dataset: The data, if they came from arrays.
        model: The callable that builds the model (of the trial, if it takes one), if its Keras
            configuration cannot rebuild it.
        new_seeds: The number of new seeds for the best and the baseline network, at least 20. The
            seeds are drawn for each call, so the maker did not have them, and shown.
        seeds: The seeds of an earlier verification, to replay it, in place of ``new_seeds``.
        max_time: The most seconds that the check may take; by default they follow from the rows,
            epochs and weights of the contract, 10 minutes at least.
        max_memory: The most bytes of resident memory that it may take, such as ``8e9``; by default
            4 GB, and 30 times the size of the contract's files. Systems other than Linux do not
            limit it.
        show_progress_bar: Whether to show a progress bar, on a terminal.

    Returns:
        The verdict, which names the claims that no training run shows. For any file, no error is
        raised. A check that runs out of time or memory is ``cannot_check``.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If there are fewer than 20 seeds, or arguments exclude each other.
    """
    check_type("path", path, str | os.PathLike, "the name of a file")
    check_type("dataset", dataset, Dataset | None, "a Dataset")
    if new_seeds is not None:
        check_integer("new_seeds", new_seeds, low=FEWEST_PAIRS)
        if seeds is not None:
            raise WrongValueError("seeds must be omitted with new_seeds; got both. Omit one.")
    used = None if seeds is None else checked_seeds(seeds)
    if used is not None and len(used) < FEWEST_PAIRS:
        raise WrongValueError(
            f"seeds must be at least {FEWEST_PAIRS}, because fewer show little; got {len(used)}. "
            "Pass more."
        )
    for name, limit in (("max_time", max_time), ("max_memory", max_memory)):
        if limit is not None:
            check_positive(name, limit)
            if dataset is not None or model is not None:
                raise WrongValueError(
                    f"{name} must be omitted with dataset or model, which are checked in this "
                    f"process; got {limit!r}. Omit it."
                )
    if new_seeds is not None:
        first = secrets.randbelow(2**32)
        used = tuple(range(first, first + int(new_seeds)))
    file = expanded(path)
    folder = None
    if data_dir is not None:
        folder = str(expanded(data_dir))
    options: dict[str, Any] = {
        "data_dir": folder,
        "seeds": used,
        "show_progress_bar": show_progress_bar,
    }
    try:
        contract = read_contract(file)
        if dataset is not None or model is not None:
            options |= {"dataset": dataset, "model": model}
            verdict = verified(contract, file.parent, **options)
        else:
            n_seeds = len(used or ())
            seconds, n_bytes = declared_limits(contract, file.parent, folder, n_seeds)
            limits = max_time or seconds, max_memory or n_bytes
            verdict = verified_apart(contract, file.parent, limits=limits, **options)
    except RefusedError as error:
        return Verdict(error.status, shown(error.args))
    named = ""
    if data_dir is None and dataset is None and model is None:
        named = str(path)
    return dataclasses.replace(verdict, are_drawn=seeds is None, _file=named)
