"""Data sets by their names, from files, and of stored studies."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adnn_optuna._checks import (
    NoSuchFileError,
    WrongValueError,
    check_installed,
    check_type,
    expanded,
    is_folder,
)
from adnn_optuna.networks import _sources
from adnn_optuna.networks._splits import DEFAULT_FRACTION
from adnn_optuna.networks.data import Dataset, Scale, Task
from adnn_optuna.networks.preprocessing import Preprocessing

# Of the 60,000 images in the official training sets of MNIST and its likes.
_MNIST_VALIDATION_SIZE = 10_000
_SUFFIXES = (".npz", ".csv", ".parquet")
# Of the arguments, those that are for files only.
_OF_FILES = ("target", "task", "scale", "class_weight", "sample_weight", "groups")


def load_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    validation_size: float | None = None,
    test_size: float | None = None,
    seed: int = 0,
    target: str | None = None,
    task: Task = "classification",
    scale: Scale = "auto",
    class_weight: Literal["balanced"] | None = None,
    sample_weight: str | None = None,
    groups: str | None = None,
) -> Dataset:
    """Load a known data set, or your own from a file.

    Example:
        >>> load_dataset("digits")
        Dataset('digits', train=1079, val=359, test=359, shape=(8, 8), num_classes=10)

    - ``"digits"``: scikit-learn's 1,797 images of 8 × 8 pixels. It needs no download.
    - ``"mnist"`` and ``"fashion_mnist"``: 60,000 + 10,000 images of 28 × 28 pixels, from the IDX
      files (``*-ubyte``, plain or ``.gz``) in ``<folder>/mnist`` and ``<folder>/fashion-mnist``.
      The folder is ``data_dir``, else ``$ADNN_DATA_DIR``, else ``/usr/share/datasets``; where
      none has them, ``keras.datasets`` is asked, which may download them.
    - a path that ends in ``.npz``, in the working folder or in ``data_dir``: of the arguments of
      :meth:`Dataset.from_arrays`, the arrays ``x`` and ``y`` (or ``x_train`` and ``y_train``) and,
      if they are split already, ``x_val``, ``y_val``, ``x_test`` and ``y_test``.
    - a path that ends in ``.csv``, with a header, or in ``.parquet``: a table of a row for each
      sample. A first column of row numbers without a name, as pandas writes it, is left out.

    Args:
        name: Name of the data set, or path of the file.
        data_dir: Folder to look in first.
        validation_size: As for :meth:`Dataset.from_arrays`, but by default 10,000 of ``mnist`` and
            ``fashion_mnist``. With 0 a search must select on the training split.
        test_size: As for :meth:`Dataset.from_arrays`; ``mnist`` and ``fashion_mnist`` come with
            their own test set.
        seed: Seed of the draw of the splits, 0 or more.
        target: Of a table, the column of the labels, or numbers to predict. Default: the last.
        task: Of a file, as for :meth:`Dataset.from_arrays`.
        scale: Likewise.
        class_weight: Likewise.
        sample_weight: Of a file, the column, or the array in an ``.npz`` file, of the weights.
        groups: Of a file, the column, or the array in an ``.npz`` file, of the groups.

    Raises:
        TypeError: If the name or ``data_dir`` is no path.
        FileNotFoundError: If the data are nowhere to be found.
        ValueError: If the name is unknown, a file is corrupt, or its data or a setting are wrong.
    """
    check_type("name", name, str | os.PathLike, "that of a data set or a file")
    check_type("data_dir", data_dir, str | os.PathLike | None, "the path of a folder")
    folder = None if data_dir is None else expanded(data_dir)
    if folder is not None and not is_folder(folder):
        raise NoSuchFileError(f"data_dir {str(data_dir)!r} is not a folder: mend or omit it.")
    name = os.fspath(name)
    splits = {"validation_size": validation_size, "test_size": test_size, "seed": seed}
    named = {"target": target, "sample_weight": sample_weight, "groups": groups}
    columns = {role: column for role, column in named.items() if column is not None}
    for role, column in columns.items():
        check_type(role, column, str, "the name of a column")
    if target is not None and name.endswith(".npz"):
        raise WrongValueError(f"{name!r} has no columns: omit target, and call the labels y.")
    settings = {"task": task, "scale": scale, "class_weight": class_weight}
    if not name.endswith(_SUFFIXES):
        defaults = {"task": "classification", "scale": "auto", "class_weight": "None"}
        if given := {*columns} | {k for k, v in settings.items() if str(v) != defaults[k]}:
            said = f"{name!r} does not take {', '.join(sorted(given))}"
            raise WrongValueError(f"{said}: omit it, or name a .npz, .csv or .parquet file.")
        return _load_known(name, folder, splits)
    path = _sources.find_file(expanded(name), folder)
    read = _sources.read_npz if path.suffix == ".npz" else _sources.read_table
    arrays: Any = {**read(path, columns), **splits, **settings}
    dataset = Dataset.from_arrays(**arrays, name=path.stem)
    stored = {key: value for key, value in settings.items() if value is not None}
    origin = {"source": path.suffix[1:], "path": str(path.absolute()), **stored, **columns}
    return replace(dataset, origin=origin | _plain(splits))


def _load_known(name: str, folder: Path | None, splits: dict[str, Any]) -> Dataset:
    """Load a data set of images whose pixels are scaled while they are read."""
    if name in _sources.MNIST_LIKE:
        if splits["test_size"] is not None:
            raise WrongValueError(f"{name} comes with its own test set: omit test_size.")
        arrays = _sources.read_mnist_like(name, folder)
        defaults: dict[str, float] = {"validation_size": _MNIST_VALIDATION_SIZE}
    elif name == "digits":
        check_installed("sklearn", "The data set digits")
        from sklearn.datasets import load_digits

        digits = load_digits()
        arrays = {"x": digits.images / 16, "y": digits.target}
        defaults = {"validation_size": DEFAULT_FRACTION, "test_size": DEFAULT_FRACTION}
    else:
        known = ", ".join(("digits", *_sources.MNIST_LIKE))
        files = "or a file that ends in .npz, .csv or .parquet"
        raise WrongValueError(f"There is no data set {name!r}: use {known} {files}.")
    # Written out, for the configuration must not depend on what is the default one day.
    given = {key: value for key, value in splits.items() if value is not None}
    splits = {**splits, **defaults, **given}
    dataset = Dataset.from_arrays(**arrays, **splits, name=name, num_classes=10)
    origin = {"source": "built-in", **_plain(splits)}
    return replace(dataset, origin=origin, preprocessing=Preprocessing())


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    # NumPy's scalars are no JSON.
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}


def dataset_from_config(
    config: Mapping[str, Any], data_dir: str | os.PathLike[str] | None = None
) -> Dataset:
    """Load the data set of a stored study again, as :func:`load_dataset` does.

    Raises:
        ValueError: If the data were made of arrays, are not the same any more, or ``config`` is
            not :attr:`Dataset.config` of a data set.
    """
    try:
        name, source, fingerprint = config["name"], config["source"], config["fingerprint"]
        if source == "arrays":
            raise WrongValueError(
                f"Dataset {name!r} was made of arrays, which a study does not hold: pass the "
                "objective with its dataset again."
            )
        # No other source: a verification looks at the paths of these.
        wanted = config[
            {"built-in": "name", "npz": "path", "csv": "path", "parquet": "path"}[source]
        ]
        arguments = {key: config[key] for key in ("validation_size", "test_size", "seed")}
        arguments |= {key: config[key] for key in _OF_FILES if key in config}
    except (KeyError, TypeError) as error:
        raise WrongValueError(
            f"This is not the configuration of a data set: {config!r}; use Dataset.config."
        ) from error
    dataset = load_dataset(wanted, data_dir, **arguments)
    if dataset.fingerprint != fingerprint:
        raise WrongValueError(
            f"Dataset {name!r} has changed: its fingerprint is {dataset.fingerprint}, where the "
            f"study's is {fingerprint}; put the former data back, or start a new study."
        )
    return dataset
