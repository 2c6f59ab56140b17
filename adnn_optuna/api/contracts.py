"""Contracts, verdicts and audits as users hold them, and the verbs that check and audit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import check_type
from adnn_optuna.api._calls import interrupted_where_called
from adnn_optuna.api._told import Printed, Told
from adnn_optuna.contracts.audit import AuditFacts, audited
from adnn_optuna.contracts.contract import ContractFacts
from adnn_optuna.contracts.verification import VerdictFacts, verified
from adnn_optuna.networks._tensorflow import load_tensorflow
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.keras_files import MAX_PARAMETERS, model_from_file
from adnn_optuna.networks.models import MLP

if TYPE_CHECKING:
    import keras


class Contract(Printed, ContractFacts):
    """What a search promises: all that is needed to train its baseline and its winner again.

    Attributes:
        content: What the file holds, as JSON does; the reference says what each field is.
        weights: The winner's trained weights by their paths in the model, in the model's order.
    """

    _telling = "contracts.contract"


class Verdict(Told, VerdictFacts):
    """What :func:`verify` found.

    Attributes:
        status: ``"exact"``, ``"within_tolerance"``, ``"breached"``; or ``"cannot_check"``: the
            contract, its weights, the data or the model is missing, unreadable or another one, or
            trainings here tell nothing of the gain. Then nothing is known but the reasons.
        reasons: A sentence for each thing that differs, with its field.
        not_checked: What no training shows, and what was not there to be checked.
        gain: The winner's test gain as trained again here; the mean where it was several times.
        half_width: How far one training here is from it, at 99%; 0 where all bits are the same.
        interval: The 95% interval of the gain, as far as the choice of the test examples goes.
        promised: The claimed gain, its metric, and one test example's part of it.
        confirmation: What the maker says that fresh seeds show.
        fresh: What those of this verification show, where they were asked for.
    """

    _telling = "contracts.verdict"


@interrupted_where_called
def verify(
    path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    dataset: Dataset | None = None,
    model: MLP | Callable[..., Any] | None = None,
    fresh: int | None = None,
    max_parameters: int = MAX_PARAMETERS,
    show_progress_bar: bool = False,
) -> Verdict:
    """Check a contract: rebuild everything, train baseline and winner again, and compare.

    In the environment of the contract (versions, processor, threads, oneDNN) the same bits come
    out. In another one both are trained eight times, from weights moved in their last bits: the
    claimed gain must be one that such a training has, by Student's t at 99%, or by one test
    image. Nothing in the file widens that, and nothing in it is executed.

    So the numbers of one network are reproduced, whose seed may have been chosen: only ``fresh``
    seeds show that its offsets gain, and whether the maker's mean gain repeats.

    Example:

        .. code-block:: python

            verdict = adnn_optuna.verify("fashion.contract.json")
            print(verdict.status, verdict.reasons)

    Args:
        path: The contract's file.
        data_dir: Folder to look in for the dataset first, see :func:`~adnn_optuna.load_dataset`;
            data from a file are looked up here, or else beside the contract, by the file's name.
        dataset: The data, where they came from arrays.
        model: The callable, also one of the trial, where the model cannot be rebuilt from its
            Keras configuration.
        fresh: With how many fresh seeds winner and unmoved network are trained besides, at least
            20. They are drawn anew each time, so nobody knew them before.
        max_parameters: The most parameters of a network, and the most values that one of its
            layers or a metric of Keras holds, for which memory is spent; a contract with more is
            not built. (Of layers and the parts of such there may be 10,000.)
        show_progress_bar: Whether to show a progress bar.

    Returns:
        The verdict, which names what no training shows. Whatever the file holds, no error is
        raised.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If ``fresh`` or ``max_parameters`` is too small.
    """
    options: Any = {"max_parameters": max_parameters, "show_progress_bar": show_progress_bar}
    facts = verified(path, data_dir, dataset=dataset, model=model, fresh=fresh, **options)
    return Verdict(**vars(facts))


class Audit(Printed, AuditFacts):
    """What is random in a model; see :func:`audit_randomness`. It prints as a table.

    It has the weights of the model (``variables``), the ``layers`` with a source of random
    numbers, and ``warnings``: a sentence on each thing that is not reproducible or independent.
    """

    _telling = "contracts.audit"


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
    return Audit(**vars(audited(lambda: model)))


def audit_file(path: str | os.PathLike[str]) -> Audit:
    """Find all that is random in the model of a ``.keras`` file, of which nothing is executed."""
    return Audit(**vars(audited(model_from_file(Path(path)), is_from_file=True)))
