"""Where data sets come from: arrays as they are found, unchecked and not yet split."""

import gzip
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._checks import (
    NoSuchFileError,
    WrongValueError,
    check_installed,
    first_line,
    is_file,
)
from adnn_optuna.networks._arrays import named
from adnn_optuna.networks.preprocessing import check_present

# The folder of each data set's IDX files, as Debian's packages name them.
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


def read_mnist_like(name: str, data_dir: Path | None) -> dict[str, Any]:
    """Return x, y, x_test and y_test, uint8, from the first folder that has them, else Keras's."""
    places = data_dir, os.environ.get("ADNN_DATA_DIR"), _SYSTEM_DATA_DIR
    folders = [Path(place) / MNIST_LIKE[name] for place in places if place]
    for folder in folders:
        found = {
            key: path
            for key, (stem, _) in _IDX_FILES.items()
            for path in (folder / f"{stem}.gz", folder / stem)
            if is_file(path)
        }
        if found:
            return _read_idx_files(name, folder, found)
    try:
        check_installed("keras", "The download")
        import keras

        (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        raise NoSuchFileError(
            f"{name} is in none of {', '.join(map(str, folders))}, and keras.datasets cannot get "
            f"it ({error}): put its four IDX files (*-ubyte, plain or .gz) into the folder "
            f"{MNIST_LIKE[name]} in a folder that you name by data_dir or ADNN_DATA_DIR."
        ) from error
    return {"x": x, "y": y, "x_test": x_test, "y_test": y_test}


def _read_idx_files(name: str, folder: Path, found: dict[str, Path]) -> dict[str, Any]:
    if missing := [stem for key, (stem, _) in _IDX_FILES.items() if key not in found]:
        raise NoSuchFileError(
            f"{folder} holds a part of {name} only: add {', '.join(missing)} (plain or .gz)."
        )
    arrays = {key: read_idx(found[key], ndim) for key, (_, ndim) in _IDX_FILES.items()}
    for x, y in (("x", "y"), ("x_test", "y_test")):
        if len(arrays[x]) != len(arrays[y]):
            raise WrongValueError(
                f"{found[x]} holds {len(arrays[x])} images and {found[y]} {len(arrays[y])} "
                "labels: fetch or copy them again, together."
            )
        if not len(arrays[x]):
            raise WrongValueError(f"{found[x]} holds no images: fetch or copy it again.")
    return arrays


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Return an IDX file of unsigned bytes, of 3 dimensions for images and of 1 for labels."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise WrongValueError(
                f"{path} is no sound gzip file ({error}): fetch or copy it again."
            ) from error
    magic = bytes([0, 0, _UNSIGNED_BYTES, ndim])
    if content[:4] != magic:
        raise WrongValueError(
            f"{path} starts with the bytes {content[:4].hex()!r} where an IDX file of bytes in "
            f"{ndim} dimensions has {magic.hex()!r}: check that it is the right file."
        )
    n_header = 4 + 4 * ndim
    if len(content) < n_header:
        raise WrongValueError(f"{path} is truncated within its header: fetch or copy it again.")
    # In Python's integers: a corrupt header may announce more bytes than 64 bits can count.
    shape = np.frombuffer(content, ">u4", ndim, offset=4).tolist()
    n_announced, n_found = math.prod(shape), len(content) - n_header
    if n_announced != n_found:
        raise WrongValueError(
            f"{path} holds {n_found} bytes of data where its header announces {n_announced} "
            f"(shape {shape}): it is truncated or corrupt, fetch or copy it again."
        )
    return np.frombuffer(content, np.uint8, offset=n_header).reshape(shape)


def find_file(path: Path, data_dir: Path | None) -> Path:
    """Return the path if it is a file, else where ``data_dir`` has it."""
    paths = [path] if data_dir is None else [path, data_dir / path, data_dir / path.name]
    if found := next(filter(is_file, paths), None):
        return found
    raise NoSuchFileError(
        f"There is no file {' or '.join(map(str, dict.fromkeys(paths)))}: mend the path, or name "
        "its folder by data_dir."
    )


def read_npz(path: Path, roles: Mapping[str, str]) -> dict[str, Any]:
    """Return x, y, those of the splits, and others by their names of an ``.npz`` file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if key in _NPZ_KEYS | {*roles.values()}}
    # A broken archive can raise anything that zipfile, zlib and NumPy's header parser know.
    except Exception as error:
        raise WrongValueError(
            f"{path} is no sound .npz file of plain arrays ({error}): write it with numpy.savez, "
            "without objects."
        ) from error
    for kind in "xy":
        if (kind in arrays) == (f"{kind}_train" in arrays):
            raise WrongValueError(
                f"{path} must hold either {kind} or {kind}_train, but holds "
                f"{', '.join(arrays) or 'no known array'}: name its arrays x, y, x_val, y_val, "
                "x_test, y_test."
            )
        arrays.setdefault(kind, arrays.pop(f"{kind}_train", None))
    for role, name in roles.items():
        if name not in arrays:
            raise WrongValueError(f"{path} has no array {name!r} for {role}: mend the name.")
        arrays[role] = arrays.pop(name)
    return arrays


def read_table(path: Path, roles: Mapping[str, str]) -> dict[str, Any]:
    """Return x, y and other columns by their names of a ``.csv`` or ``.parquet`` file."""
    import pandas as pd

    read = pd.read_csv if path.suffix == ".csv" else pd.read_parquet
    try:
        table: pd.DataFrame = read(path)
    except ImportError:
        said = f"{path} cannot be read without pyarrow: install it (pip install pyarrow), or"
        raise WrongValueError(f"{said} write the data as .csv.") from None
    # Readers of files raise anything.
    except Exception as error:
        raise WrongValueError(
            f"{path} is no sound {path.suffix} file ({first_line(error)}): write it again."
        ) from error
    # What pandas calls the row numbers that it wrote itself.
    if (
        len(table)
        and table.columns[0] == "Unnamed: 0"
        and table.iloc[:, 0].equals(pd.Series(range(len(table))))
    ):
        table = table.iloc[:, 1:]
    for role, name in roles.items():
        if name not in table.columns:
            found = named(table.columns)
            raise WrongValueError(f"{path} has no column {name!r} for {role}: it has {found}.")
    check_present(str(path), table)
    x = table.drop(columns=[*roles.values()])
    # By default the last column is what to predict.
    columns = {"target": next(reversed(x.columns), ""), **roles}
    x = x.drop(columns=columns["target"], errors="ignore")
    if not x.shape[1]:
        raise WrongValueError(
            f"{path} has no inputs beside {named(table.columns)}: add columns, or separate them "
            "by commas."
        )
    return {"x": x, "y": table[columns.pop("target")], **{r: table[c] for r, c in columns.items()}}
