"""Load data sets by name, from files, or from the configuration that a study stores."""

import gzip
import inspect
import math
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from adnn_optuna import _checks
from adnn_optuna._attributes import Json
from adnn_optuna._checks import FilePath, NoSuchFileError, WrongValueError
from adnn_optuna._files import check_npz, read_csv, read_unpacked
from adnn_optuna.networks._arrays import named
from adnn_optuna.networks._splits import DEFAULT_FRACTION
from adnn_optuna.networks._tensorflow import load_tensorflow
from adnn_optuna.networks.data import Dataset, Missing, Rare, Task
from adnn_optuna.networks.scaling import PIXELS

if TYPE_CHECKING:
    import pandas as pd

# The folders of the data sets' IDX files, named as in Debian's packages.
MNIST_LIKE = {"mnist": "mnist", "fashion_mnist": "fashion-mnist"}
_SYSTEM_DATA_DIR = Path("/usr/share/datasets")
_IDX_FILES = {
    "x": ("train-images-idx3-ubyte", 3),
    "y": ("train-labels-idx1-ubyte", 1),
    "x_test": ("t10k-images-idx3-ubyte", 3),
    "y_test": ("t10k-labels-idx1-ubyte", 1),
}
_UNSIGNED_BYTES = 0x08
_NPZ_KEYS = {"x", "y"} | {f"{kind}_{split}" for kind in "xy" for split in ("train", "val", "test")}
# The validation images among the 60,000 official training images of (Fashion-)MNIST.
_MNIST_VALIDATION_SIZE = 10_000
_SUFFIXES = (".npz", ".csv", ".csv.gz", ".parquet")
# The arguments that name a column or an array.
_ROLES = ("target", "sample_weight", "groups")
_SPLITS = ("validation_size", "test_size", "seed")


def load_dataset(
    name: FilePath,
    data_dir: FilePath | None = None,
    *,
    validation_size: float | None = None,
    test_size: float | None = None,
    seed: int = 0,
    target: str | None = None,
    task: Task = "classification",
    class_weight: Literal["balanced"] | None = None,
    sample_weight: str | None = None,
    groups: str | None = None,
    missing: Missing = "refuse",
    rare: Rare = "refuse",
    positive: Any = None,
) -> Dataset:
    """Load a known data set with images as floats in [0, 1], or your own data from a file.

    Example:
        >>> load_dataset("digits")
        Dataset(name='digits', num_classes=10, drawn=('val', 'test'))

    - ``"digits"``: scikit-learn's 1,797 images of 8 × 8 pixels. It needs no download.
    - ``"mnist"`` and ``"fashion_mnist"``: 60,000 + 10,000 images of 28 × 28 pixels, from the IDX
      files (``*-ubyte``, plain or ``.gz``) in ``<folder>/mnist`` and ``<folder>/fashion-mnist``.
      The folder is ``data_dir``, ``$ADNN_DATA_DIR`` or ``/usr/share/datasets``. Otherwise, the
      data come from ``keras.datasets``, which may download them.
    - a path that ends in ``.npz``: the arrays ``x`` and ``y`` (or ``x_train`` and ``y_train``) of
      :meth:`Dataset.from_arrays` and, if you pass the splits, ``x_val``, ``y_val``, ``x_test`` and
      ``y_test``.
    - a path that ends in ``.csv`` or ``.csv.gz``, with a header, or in ``.parquet``: a table with
      a row for each sample. A first column of row numbers, as pandas writes it, is omitted.

    Args:
        name: Name of the data set, or path of the file.
        data_dir: Folder to look in, before ``$ADNN_DATA_DIR`` and ``/usr/share/datasets``.
        validation_size: The size of the validation split, as a number or a fraction of samples; by
            default 0.2, or 10,000 for ``mnist`` and ``fashion_mnist``. If the data have their own
            test set, the fraction is of the other samples. With 0, a search must select on the
            training split.
        test_size: The size of the test split, as a number or a fraction of samples; by default
            0.2. ``mnist`` and ``fashion_mnist`` have their own test set.
        seed: Seed of the draw of the splits, 0 or more.
        target: The column of a table with the labels or numbers to predict; by default the last
            column.
        task: Whether a file is for a ``"classification"`` or a ``"regression"``.
        class_weight: ``"balanced"`` weighs each class of a file inversely to its number of
            samples.
        sample_weight: The column, or the array in an ``.npz`` file, that holds the samples'
            weights.
        groups: The column, or the array in an ``.npz`` file, with groups that must stay in one
            split, such as patients.
        missing: ``"impute"`` replaces missing inputs of a file by the median or the most frequent
            category of the training part; otherwise, missing inputs raise an error.
        rare: ``"other"`` merges categories that are unknown, or rare in the training part, into
            one category. Otherwise, unknown categories raise an error.
        positive: The label of the positive class of two classes, such as ``"fraud"``, for AUC,
            F-scores, precision and recall. See :meth:`Dataset.from_arrays`.

    Raises:
        TypeError: If the name or ``data_dir`` is not a path.
        FileNotFoundError: If the data are not found.
        ValueError: If the name is unknown, a file is corrupt, or its data or a setting are wrong.
    """
    options: dict[str, Any] = locals()
    _checks.check_type("name", name, str | os.PathLike, "that of a data set or a file")
    _checks.check_type("data_dir", data_dir, str | os.PathLike | None, "the path of a folder")
    folder = None
    if data_dir is not None:
        folder = _checks.expanded(data_dir)
        if not _checks.is_folder(folder):
            raise NoSuchFileError(f"data_dir {str(data_dir)!r} is not a folder. Fix or omit it.")
    name = os.fspath(name)
    splits = {}
    for key in _SPLITS:
        value = options[key]
        if isinstance(value, np.generic):  # JSON has no NumPy scalars.
            value = value.item()
        splits[key] = value
    for role in _ROLES:
        _checks.check_type(role, options[role], str | None, "the name of a column or array")
    set_options = {
        key: options[key] for key, default in OF_FILES.items() if _differs(options[key], default)
    }
    suffixes = [s for s in _SUFFIXES if name.lower().endswith(s)]
    suffix = next(iter(suffixes), "")
    refused = set()
    if not suffix:
        refused = {*set_options}
    elif suffix == ".npz" and "target" in set_options:
        refused = {"target"}
    if refused:
        raise WrongValueError(
            f"{name!r} does not take {', '.join(sorted(refused))}. Omit it, or name a .npz, .csv "
            "or .parquet file."
        )
    if not suffix:
        return _load_known(name, folder, splits)
    path = _path_of(name, folder)
    roles = {role: set_options[role] for role in _ROLES if role in set_options}
    read = _read_table
    if suffix == ".npz":
        read = _read_npz
    arrays = read(path, roles)
    settings = {key: value for key, value in set_options.items() if key not in _ROLES}
    stem = path.name[: -len(suffix)]
    dataset = Dataset.from_arrays(**arrays, **splits, **settings, name=stem)
    origin = {"source": suffix.split(".")[1], "path": str(path.absolute())}
    return replace(dataset, origin={**origin, **set_options, **splits})


OF_FILES: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(load_dataset).parameters.items()
    if name not in ("name", "data_dir", *_SPLITS)
}
"""The arguments of :func:`load_dataset` that are only for files, with their defaults."""


def _path_of(name: str, folder: Path | None) -> Path:
    """Return the path of a file that may be in a folder."""
    path_as_passed = _checks.expanded(name)
    paths = [path_as_passed]
    if folder is not None:
        paths += [folder / path_as_passed, folder / path_as_passed.name]
    for path in paths:
        if _checks.is_file(path):
            return path
    texts = [repr(str(path)) for path in dict.fromkeys(paths)]
    tried = " or ".join(texts)
    raise NoSuchFileError(f"File {tried} not found. Fix the path, or pass data_dir.")


def _differs(value: object, default: object) -> bool:
    # Comparing an array with a default would give an array instead of a truth value.
    return not isinstance(value, type(default)) or value != default


def _load_known(name: str, folder: Path | None, splits: dict[str, Any]) -> Dataset:
    """Load a data set of images with pixels in [0, 1]."""
    if name in MNIST_LIKE:
        arrays = _read_mnist_like(name, folder)
        defaults: dict[str, float] = {"validation_size": _MNIST_VALIDATION_SIZE}
    elif name == "digits":
        _checks.check_installed("sklearn", "The data set digits")
        digits = _checks.load("sklearn.datasets").load_digits()
        arrays = {"x": digits.images / 16, "y": digits.target}
        defaults = {"validation_size": DEFAULT_FRACTION, "test_size": DEFAULT_FRACTION}
    else:
        known_names = ", ".join(("digits", *MNIST_LIKE))
        raise WrongValueError(
            f"Data set {name!r} not found. Choose {known_names} or a file that ends in .npz, .csv "
            f"or .parquet.{_checks.did_you_mean(name, ('digits', *MNIST_LIKE))}"
        )
    # The configuration contains the sizes themselves, because the defaults may change.
    for key, value in splits.items():
        if value is None:
            splits[key] = defaults.get(key)
    dataset = Dataset.from_arrays(**arrays, **splits, name=name, num_classes=10)
    del arrays  # The floats need this memory.
    fields: dict[str, Any] = {"origin": {"source": "built-in", **splits}}
    if dataset.x_train.dtype == np.uint8:
        for key in ("x_train", "x_val", "x_test"):
            fields[key] = PIXELS.inputs(getattr(dataset, key))
    return replace(dataset, **fields)


def dataset_from_config(config: Json, data_dir: FilePath | None = None) -> Dataset:
    """Load the data set that a :attr:`Dataset.config` describes.

    If the data set has changed, raise an error.
    """
    name = config["name"]
    source = config["source"]
    fingerprint = config["fingerprint"]
    if source == "arrays":
        raise WrongValueError(
            f"Dataset {name!r} was made of arrays, which a study does not hold. Pass the "
            "objective with its dataset again, in Python."
        )
    # No other source is loaded, because a verification checks paths of these sources only.
    places = {"built-in": "name", "npz": "path", "csv": "path", "parquet": "path"}
    where = places.get(source, "")
    if where not in config:
        raise WrongValueError(f"The source of dataset {name!r} is unknown: {source!r}.")
    keys = [key for key in (*_SPLITS, *OF_FILES) if key in config]
    arguments = {key: config[key] for key in keys}
    dataset = load_dataset(config[where], data_dir, **arguments)
    if dataset.fingerprint != fingerprint:
        raise WrongValueError(
            f"Dataset {name!r} has changed: its fingerprint is {dataset.fingerprint}, the study's "
            f"{fingerprint}. Restore the former data, or start a new study."
        )
    return dataset


def _read_mnist_like(name: str, data_dir: Path | None) -> dict[str, Any]:
    """Return x, y, x_test and y_test as uint8, from the first folder with files or from Keras."""
    places = data_dir, os.environ.get("ADNN_DATA_DIR"), _SYSTEM_DATA_DIR
    folders = [Path(place) / MNIST_LIKE[name] for place in places if place]
    for folder in folders:
        idx_paths = {}
        for key, (stem, _) in _IDX_FILES.items():
            for path in (folder / f"{stem}.gz", folder / stem):
                if _checks.is_file(path):
                    idx_paths[key] = path
        if len(idx_paths) == len(_IDX_FILES):
            return {key: read_idx(idx_paths[key], ndim) for key, (_, ndim) in _IDX_FILES.items()}
    try:
        load_tensorflow("The download")
        import keras

        (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        raise NoSuchFileError(
            f"{name} is in none of {', '.join(map(str, folders))}, and keras.datasets cannot get "
            f"it ({error}). Put its four IDX files (*-ubyte, plain or .gz) into "
            f"<folder>/{MNIST_LIKE[name]}, and pass the folder as data_dir or ADNN_DATA_DIR."
        ) from error
    return {"x": x, "y": y, "x_test": x_test, "y_test": y_test}


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes.

    Images have 3 dimensions, and labels 1.
    """
    n_header = 4 + 4 * ndim
    try:
        content = read_unpacked(path)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        content = b""
    # Python's integers do not overflow, even if a corrupt header claims more than 2**64 bytes.
    shape = [int.from_bytes(content[i : i + 4]) for i in range(4, n_header, 4)]
    n_values = len(content) - n_header
    magic = bytes([0, 0, _UNSIGNED_BYTES, ndim])
    is_whole = n_values > 0 and math.prod(shape) == n_values
    if content[:4] != magic or not is_whole:
        raise WrongValueError(
            f"{path} is not a whole IDX file of bytes in {ndim} dimensions. Check its name, and "
            "fetch or copy it again."
        )
    values = np.frombuffer(content, np.uint8, offset=n_header)
    return values.reshape(shape)


def _read_npz(path: Path, roles: Mapping[str, Any]) -> dict[str, Any]:
    """Return x, y, the arrays of passed splits, and an array for each role, such as groups."""
    known_names = _NPZ_KEYS | {*roles.values()}
    try:
        check_npz(path)
        with np.load(path, allow_pickle=False) as file:
            names = [key for key in file.files if key in known_names]
            arrays: dict[str, Any] = {name: np.asarray(file[name]) for name in names}
    except WrongValueError:
        raise
    # For a broken archive, zipfile, zlib and NumPy's header parser may raise any error.
    except Exception as error:
        raise WrongValueError(
            f"{path} is not a valid .npz file of plain arrays ({error}). Write it with "
            "numpy.savez."
        ) from error
    for kind in "xy":
        if (kind in arrays) == (f"{kind}_train" in arrays):
            raise WrongValueError(
                f"{path} must hold either {kind} or {kind}_train; got "
                f"{', '.join(arrays) or 'no known array'}. Name its arrays x, y, x_val, y_val, "
                "x_test, y_test."
            )
        arrays.setdefault(kind, arrays.pop(f"{kind}_train", None))
    _check_roles(f"{path} has no array", roles, arrays)
    of_roles = {role: arrays.pop(name) for role, name in roles.items()}
    return arrays | of_roles


def _read_table(path: Path, roles: Mapping[str, Any]) -> dict[str, Any]:
    """Return x, y and each role's column from a ``.csv`` or ``.parquet`` file."""
    import pandas as pd

    is_parquet = path.suffix.lower() == ".parquet"
    table = _read_parquet(path) if is_parquet else read_csv(path)
    # pandas gives this name to unnamed row numbers that it wrote.
    if table.columns[0] == "Unnamed: 0":
        row_numbers = pd.Series(range(len(table)))
        if row_numbers.equals(table.iloc[:, 0]):
            table = table.iloc[:, 1:]
    _check_roles(f"{path} has no column", roles, table.columns)
    x = table.drop(columns=[*roles.values()])
    # By default the last column is the target.
    last_column = next(reversed(x.columns), "")
    target = roles.get("target", last_column)
    x = x.drop(columns=target, errors="ignore")
    if not x.shape[1]:
        raise WrongValueError(
            f"{path} has no inputs beside {named(table.columns)}. Add columns, or separate them "
            "by commas."
        )
    data = {role: table[column] for role, column in roles.items() if role != "target"}
    return {"x": x, "y": table[target], **data}


def _read_parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd

    _checks.check_installed("pyarrow", "A .parquet file")
    try:
        return pd.read_parquet(path)
    # The Parquet library may raise any error.
    except Exception as error:
        raise WrongValueError(
            f"{path} is not a valid .parquet file ({_checks.first_line(error)}). Write it again."
        ) from error


def _check_roles(said: str, roles: Mapping[str, Any], found: Iterable[Any]) -> None:
    for role, name in roles.items():
        if name not in found:
            raise WrongValueError(f"{said} {name!r} for {role}; it has {named(found)}.")
