"""The verbs that check contracts and audit models."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import check_integer, check_type, expanded
from adnn_optuna.api._calls import interrupted_where_called
from adnn_optuna.contracts.audit import Audit, audited
from adnn_optuna.contracts.new_seeds import FEWEST_PAIRS
from adnn_optuna.contracts.verification import verified
from adnn_optuna.networks._tensorflow import load_tensorflow
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.keras_files import MAX_PARAMETERS, model_from_file
from adnn_optuna.networks.models import MLP
from adnn_optuna.results.verification import Verdict

if TYPE_CHECKING:
    import keras


@interrupted_where_called
def verify(
    path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    dataset: Dataset | None = None,
    model: MLP | Callable[..., Any] | None = None,
    new_seeds: int | None = None,
    max_parameters: int = MAX_PARAMETERS,
    show_progress_bar: bool = False,
) -> Verdict:
    """Check a contract: rebuild everything, train its two networks again, and compare.

    In the environment of the contract (versions, processor, threads, oneDNN) the same bits come
    out. In another one both networks are trained eight times, from weights that differ in their
    last bits. The claimed gain must then be one that such a training run has, by Student's t at
    99%, or by one test image. Nothing in the file widens that, and nothing in it is executed.

    This reproduces the numbers of one network, whose seed may have been chosen. Only new seeds
    show that its offsets gain, and whether the maker's mean gain replicates.

    Example:

        .. code-block:: python

            verdict = adnn_optuna.verify("fashion.contract.json")
            print(verdict.status, verdict.reasons)

    Args:
        path: The contract's file.
        data_dir: Folder to look in for the dataset first, see :func:`~adnn_optuna.load_dataset`;
            data from a file are looked up here, or else beside the contract, by the file's name.
        dataset: The data, if they came from arrays.
        model: The callable, also one of the trial, if the model cannot be rebuilt from its Keras
            configuration.
        new_seeds: On how many new seeds best network and baseline network are trained, at least
            20. The seeds are drawn for each call, so nobody knew them before.
        max_parameters: The most parameters of a network, and the most values that one of its
            layers or a metric of Keras holds, for which memory is spent; a contract with more is
            not built. (There may be 10,000 layers and their parts.)
        show_progress_bar: Whether to show a progress bar.

    Returns:
        The verdict, which names what no training run shows. Whatever the file holds, no error is
        raised.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If ``new_seeds`` or ``max_parameters`` is too small.
    """
    check_type("dataset", dataset, Dataset | None, "a Dataset")
    check_integer("max_parameters", max_parameters, low=1)
    if new_seeds is not None:
        check_integer("new_seeds", new_seeds, low=FEWEST_PAIRS)
    return verified(
        expanded(path),
        data_dir,
        dataset=dataset,
        model=model,
        new_seeds=new_seeds,
        max_parameters=max_parameters,
        show_progress_bar=show_progress_bar,
    )


def audit_randomness(model: keras.Model) -> Audit:
    """Find all that is random in a Keras model: initial values and layers.

    Nothing of the model is changed, and no random number is drawn from it. It is made again from
    its configuration, without values; only an initializer that is none of Keras's and has no seed
    is called, twice, to compare what it returns. What the code of a layer draws without a
    ``SeedGenerator`` of its own is not found.

    Example:

        .. code-block:: python

            layers = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)]
            print(adnn_optuna.audit_randomness(keras.Sequential(layers)))

    Args:
        model: The model. What layers start from that are not built yet is not known.

    Raises:
        TypeError: If it is not a ``keras.Model``.
    """
    load_tensorflow("An audit")
    import keras

    check_type("model", model, keras.Model, "a keras.Model (build it first)")
    return audited(lambda: model)


def audit_file(path: str | os.PathLike[str]) -> Audit:
    """Find all that is random in the model of a ``.keras`` file, of which nothing is executed."""
    return audited(model_from_file(Path(path)), is_from_file=True)
