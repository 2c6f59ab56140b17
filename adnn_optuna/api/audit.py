"""Audits: what is random in a Keras model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from adnn_optuna._checks import WrongTypeError, check_installed
from adnn_optuna.accountability.audit import AuditFacts, audited
from adnn_optuna.api._told import Printed
from adnn_optuna.networks.keras_files import model_from_file
from adnn_optuna.reporting import audits

if TYPE_CHECKING:
    import keras


class Audit(Printed, AuditFacts):
    """What is random in a model; see :func:`audit_randomness`. It prints as a table.

    It has the weights of the model (``variables``, in its order), the ``layers`` with a source of
    random numbers, and ``warnings``: a sentence on each thing that is not reproducible or not
    independent.
    """

    _telling: ClassVar = audits


def audit_randomness(model: keras.Model) -> Audit:
    """Find all that is random in a Keras model: initial values and layers.

    Nothing of the model is changed, and no random number is drawn from it. It is made again from
    its configuration, without values; only an initializer that is none of Keras's is called, with
    two seeds if it has one, to compare what it returns.

    Example:

        .. code-block:: python

            layers = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)]
            print(adnn_optuna.audit_randomness(keras.Sequential(layers)))

    Args:
        model: The model, built or not.

    Raises:
        TypeError: If it is not a ``keras.Model``.
    """
    check_installed("tensorflow", "An audit")
    import keras

    if not isinstance(model, keras.Model):
        kind = type(model).__name__
        raise WrongTypeError(f"model must be a keras.Model, but it is a {kind}; build it first.")
    return Audit(**vars(audited(lambda: model)))


def audit_file(path: str | os.PathLike[str]) -> Audit:
    """Find all that is random in the model of a ``.keras`` file, see :func:`audit_randomness`.

    Nothing in the file is executed. It does not know what an initializer without a seed drew.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is not a ``.keras`` file, if Keras cannot make a model of it, or if it
            has a layer that is not Keras's own or that runs code.
    """
    return Audit(**vars(audited(model_from_file(Path(path)), is_from_file=True)))
