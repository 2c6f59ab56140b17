"""Check a contract that somebody else made."""

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
from adnn_optuna.api._calls import called_by_users
from adnn_optuna.contracts.child import declared_limits, verified_apart
from adnn_optuna.contracts.verification import printable_reasons, verified
from adnn_optuna.experiments.contract_file import RefusedError, read_contract
from adnn_optuna.experiments.contract_seeds import FEWEST_PAIRS
from adnn_optuna.experiments.verdict import Verdict
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import AnyModel
from adnn_optuna.results.declarations import checked_seeds


@called_by_users
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
    """Check a contract: train its baseline and best network again, and compare the results.

    In the contract's environment (versions, processor, threads, oneDNN), the results must have the
    same bits. In another environment, both networks are trained eight times, from weights that
    differ in their last bits. The claimed gain must then be within the 99% CI of these runs, or
    differ by at most one test image. Nothing in the file can widen this tolerance. Nothing in the
    file is executed.

    This check reproduces the result of one seed, which the maker may have selected. Only new seeds
    show whether the offsets gain, and whether the maker's mean gain replicates. New seeds do not
    need equal bits, so they count in any environment.

    The check runs in a separate process, which an interrupt ends at once. If you pass ``dataset``
    or ``model``, the check runs in this process and without limits.

    Example:

        .. code-block:: python

            verdict = adnn_optuna.verify("fashion.contract.json")
            print(verdict.status, verdict.reasons)

    Args:
        path: The contract's file.
        data_dir: The folder in which to look for the dataset first, see
            :func:`~adnn_optuna.load_dataset`. A data file is looked for here by its name. Without
            this argument, a data file is looked for beside the contract.
        dataset: The data, if the maker's data came from arrays.
        model: The callable that builds the model, if the contract's Keras configuration cannot
            rebuild it. It takes the trial if the maker's callable did.
        new_seeds: The number of new seeds that train the best and the baseline network, at least
            20. Each call draws and prints its seeds, so the maker did not have them.
        seeds: The seeds of an earlier verification, to repeat it. Pass them instead of
            ``new_seeds``.
        max_time: The seconds that the check may take, by default at least 10 minutes. The default
            follows from the rows, epochs and weights of the contract.
        max_memory: The bytes of memory that the check may use, such as ``8e9``. The default is 4
            GB plus 30 times the size of the contract's files. It limits resident memory, and only
            on Linux.
        show_progress_bar: Whether to show a progress bar on a terminal.

    Returns:
        The verdict. It names the claims that no training run checked. A wrong file raises no
        error. Its verdict is ``cannot_check`` or ``breached``. A check that reaches a limit is
        ``cannot_check``.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If there are fewer than 20 seeds, or if arguments exclude each other.
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
    is_in_this_process = dataset is not None or model is not None
    for name, limit in (("max_time", max_time), ("max_memory", max_memory)):
        if limit is not None:
            check_positive(name, limit)
            if is_in_this_process:
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
        if is_in_this_process:
            options |= {"dataset": dataset, "model": model}
            verdict = verified(contract, file.parent, **options)
        else:
            n_seeds = len(used or ())
            seconds, n_bytes = declared_limits(contract, file.parent, folder, n_seeds)
            limits = max_time or seconds, max_memory or n_bytes
            verdict = verified_apart(contract, file.parent, limits=limits, **options)
    except RefusedError as error:
        return Verdict(error.status, printable_reasons(error.args))
    named = ""
    if data_dir is None and not is_in_this_process:
        named = str(path)
    return dataclasses.replace(verdict, are_drawn=seeds is None, _file=named)
