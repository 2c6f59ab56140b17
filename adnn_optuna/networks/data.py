"""Data sets: checked, split for training, validation and test, and told apart by a fingerprint."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adnn_optuna._checks import NoSuchFileError, WrongValueError, check_type, expanded, is_folder
from adnn_optuna.networks import _sources
from adnn_optuna.networks._arrays import checked_labels, checked_pair, read_only

_SPLITS = ("train", "val", "test")
_DEFAULT_FRACTION = 0.2
# Of the 60,000 images in the official training sets of MNIST and its likes.
_MNIST_VALIDATION_SIZE = 10_000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images or feature vectors with integer labels, in three splits that cannot be written to.

    A search selects on the validation or the training split; the test split is for the report.
    The constructor takes data that are split already; see also :meth:`from_arrays`.

    Example:
        >>> dataset = load_dataset("digits")
        >>> dataset
        Dataset('digits', train=1079, val=359, test=359, shape=(8, 8), num_classes=10)

    Args:
        name: What reports and plots call the data.
        x_train: Training inputs, shape (n, features), (n, height, width) or (n, height, width,
            channels): floats in [0, 1], or uint8 pixels, which are divided by 255.
        y_train: Training labels, integers in 0 … num_classes - 1, shape (n,).
        x_val, y_val: The same for validation. May be empty: then only metrics on the training
            split can steer a search.
        x_test, y_test: The same for the test.
        num_classes: Number of classes, at least 2.
        origin: How :func:`dataset_from_config` finds the data again, JSON-able; None for arrays.
        drawn: Which of the splits ``val`` and ``test`` were drawn at random from the same samples
            as the training split, so that :meth:`redrawn` may draw others.

    Raises:
        ValueError: If dtypes, shapes, lengths, pixels or labels are wrong.
    """

    name: str
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int32]
    x_val: NDArray[np.float32]
    y_val: NDArray[np.int32]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int32]
    num_classes: int
    origin: Mapping[str, Any] | None = None
    drawn: tuple[Literal["val", "test"], ...] = ()

    def __post_init__(self) -> None:
        where, n = f"Dataset {self.name!r}", self.num_classes
        if not _is_integer(n) or n < 2:
            raise WrongValueError(f"{where}: num_classes is {n!r}, not an integer from 2.")
        object.__setattr__(self, "num_classes", int(n))
        for split in _SPLITS:
            x_name, y_name = f"x_{split}", f"y_{split}"
            x, y = getattr(self, x_name), getattr(self, y_name)
            x, y = checked_pair(where, f"_{split}", x, y, self.num_classes)
            if len(y) == 0 and split != "val":
                raise WrongValueError(f"{where}: {x_name} is empty: give at least one sample.")
            object.__setattr__(self, x_name, read_only(x, np.float32))
            object.__setattr__(self, y_name, read_only(y, np.int32))
            if x.shape[1:] != self.x_train.shape[1:]:
                raise WrongValueError(
                    f"{where}: a sample of {x_name} has the shape {x.shape[1:]}, one of x_train "
                    f"{self.x_train.shape[1:]}: all splits need the same."
                )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split}={len(getattr(self, f'y_{split}'))}" for split in _SPLITS)
        return (
            f"Dataset({self.name!r}, {sizes}, shape={self.x_train.shape[1:]}, "
            f"num_classes={self.num_classes})"
        )

    def __reduce__(self) -> tuple[type[Dataset], tuple[Any, ...]]:
        # By way of the constructor, since unpickled and deep-copied arrays can be written to.
        return type(self), tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all splits and the number of classes, not the name, as 64 hex digits."""
        digest = hashlib.sha256(f"num_classes={self.num_classes}".encode())
        for split in _SPLITS:
            for field in (f"x_{split}", f"y_{split}"):
                array = getattr(self, field)
                digest.update(f";{field},{array.dtype.str},{array.shape}:".encode())
                digest.update(array.reshape(-1))
        return digest.hexdigest()

    @property
    def config(self) -> dict[str, Any]:
        """What a study stores about its data, JSON-able, for :func:`dataset_from_config`."""
        origin = {"source": "arrays"} if self.origin is None else self.origin
        return {"name": self.name, **origin, "fingerprint": self.fingerprint}

    @classmethod
    def from_arrays(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        *,
        x_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        x_test: ArrayLike | None = None,
        y_test: ArrayLike | None = None,
        name: str = "arrays",
        validation_size: float | None = None,
        test_size: float | None = None,
        seed: int = 0,
        num_classes: int | None = None,
    ) -> Dataset:
        """Make a data set of your own arrays, splitting off what is not given.

        The splits are drawn at random, stratified by label, and keep the order of ``x``. The test
        split does not depend on ``validation_size``.

        Example:
            >>> x, y = np.random.default_rng(0).random((100, 4)), np.arange(100) % 2
            >>> Dataset.from_arrays(x, y, name="mine", validation_size=10, test_size=0.3)
            Dataset('mine', train=60, val=10, test=30, shape=(4,), num_classes=2)

        Args:
            x: Inputs, as :class:`Dataset` takes them.
            y: Labels, likewise.
            x_val: Validation inputs, instead of a part of ``x``.
            y_val: Validation labels.
            x_test: Test inputs, instead of a part of ``x``.
            y_test: Test labels.
            name: What reports and plots call the data.
            validation_size: How much of ``x`` becomes the validation split: a number of samples
                (an int, 0 for none) or a fraction of ``x`` (a float below 1). Default: 0.2.
            test_size: How much of ``x`` becomes the test split, likewise. Default: 0.2.
            seed: Seed of the draw, 0 or more.
            num_classes: Number of classes. Default: the largest label plus one.

        Raises:
            ValueError: If dtypes, shapes, lengths, pixels, labels, sizes or the seed are wrong.
        """
        where = f"Dataset {name!r}"
        x, y = checked_pair(where, "", x, y)
        n = len(y)
        n_test = _split_size(where, "test", x_test, y_test, size=test_size, n=n)
        n_val = _split_size(where, "val", x_val, y_val, size=validation_size, n=n)
        if n_test + n_val >= n:
            parts = f"of {n} samples, {n_val} for validation and {n_test} for the test"
            raise WrongValueError(f"{where}: {parts} leave none for training: give smaller sizes.")
        if not _is_integer(seed) or seed < 0:
            raise WrongValueError(f"{where}: seed is {seed!r}, not an integer of 0 or more.")
        splits = np.split(_stratified_order(y, int(seed)), [n_test, n_test + n_val])
        drawn = [(x[rows], y[rows]) for rows in map(np.sort, splits)]
        # The constructor checks and converts whatever arrays it is given.
        test: Any = drawn[0] if x_test is None else (x_test, y_test)
        val: Any = drawn[1] if x_val is None else (x_val, y_val)
        if num_classes is None:
            others = (("y_val", val), ("y_test", test))
            labels = [y, *(checked_labels(where, key, pair[1]) for key, pair in others)]
            num_classes = 1 + max(int(part.max(initial=0)) for part in labels)
        given = (("val", x_val), ("test", x_test))
        was_drawn: Any = tuple(split for split, arrays in given if arrays is None)
        splits_ = (*drawn[2], val[0], val[1], test[0], test[1])
        return cls(name, *splits_, num_classes, drawn=was_drawn)

    def redrawn(self, seed: int) -> Dataset:
        """Return the same samples in other splits of the same sizes, stratified by label.

        Only splits that were drawn at random are drawn anew: those that somebody made stay.

        Args:
            seed: Seed of the draw, 0 or more.
        """
        splits = ("train", *self.drawn)
        sizes = [len(getattr(self, f"y_{split}")) for split in splits]
        x, y = (np.concatenate([getattr(self, f"{k}_{s}") for s in splits]) for k in "xy")
        parts = np.split(_stratified_order(y, seed), np.cumsum(sizes)[:-1])
        changed: dict[str, Any] = {"origin": None}
        for split, rows in zip(splits, map(np.sort, parts), strict=True):
            changed |= {f"x_{split}": x[rows], f"y_{split}": y[rows]}
        return dataclasses.replace(self, **changed)


def load_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    validation_size: float | None = None,
    test_size: float | None = None,
    seed: int = 0,
) -> Dataset:
    """Load a known data set, or your own from an ``.npz`` file.

    - ``"digits"``: scikit-learn's 1,797 images of 8 × 8 pixels. It needs no download.
    - ``"mnist"`` and ``"fashion_mnist"``: 60,000 + 10,000 images of 28 × 28 pixels, from the IDX
      files (``*-ubyte``, plain or ``.gz``) in ``<folder>/mnist`` and ``<folder>/fashion-mnist``.
      The folder is ``data_dir``, else ``$ADNN_DATA_DIR``, else ``/usr/share/datasets``; where
      none has them, ``keras.datasets`` is asked, which may download them.
    - a path that ends in ``.npz``, in the working folder or in ``data_dir``: of the arguments of
      :meth:`Dataset.from_arrays`, the arrays ``x`` and ``y`` (or ``x_train`` and ``y_train``) and,
      if they are split already, ``x_val``, ``y_val``, ``x_test`` and ``y_test``.

    Args:
        name: Name of the data set, or path of the ``.npz`` file.
        data_dir: Folder to look in first.
        validation_size: As for :meth:`Dataset.from_arrays`, but by default 10,000 of ``mnist`` and
            ``fashion_mnist``. With 0 a search must select on the training split.
        test_size: As for :meth:`Dataset.from_arrays`; ``mnist`` and ``fashion_mnist`` come with
            their own test set.
        seed: Seed of the draw of the splits, 0 or more.

    Raises:
        TypeError: If the name or ``data_dir`` is no path.
        FileNotFoundError: If the data are nowhere to be found.
        ValueError: If the name is unknown, a file is corrupt, or its data or a setting are wrong.
    """
    check_type("name", name, str | os.PathLike, "that of a data set or an .npz file")
    check_type("data_dir", data_dir, str | os.PathLike | None, "the path of a folder")
    folder = None if data_dir is None else expanded(data_dir)
    if folder is not None and not is_folder(folder):
        raise NoSuchFileError(f"data_dir {str(data_dir)!r} is not a folder: mend or omit it.")
    name = os.fspath(name)
    origin: dict[str, Any] = {"source": "built-in"}
    num_classes: int | None = 10
    if name.endswith(".npz"):
        path = _sources.find_npz(expanded(name), folder)
        arrays, name, num_classes = _sources.read_npz(path), path.stem, None
        origin = {"source": "npz", "path": str(path.absolute())}
    elif name in _sources.MNIST_LIKE:
        if test_size is not None:
            raise WrongValueError(f"{name} comes with its own test set: omit test_size.")
        arrays = _sources.read_mnist_like(name, folder)
        validation_size = _MNIST_VALIDATION_SIZE if validation_size is None else validation_size
    elif name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        arrays = {"x": digits.images / 16, "y": digits.target}
        # Written out, for the configuration must not depend on what is the default one day.
        validation_size = _DEFAULT_FRACTION if validation_size is None else validation_size
        test_size = _DEFAULT_FRACTION if test_size is None else test_size
    else:
        known = ", ".join(("digits", *_sources.MNIST_LIKE))
        raise WrongValueError(f"There is no data set {name!r}: use {known} or an .npz file.")
    settings: Any = {"validation_size": validation_size, "test_size": test_size, "seed": seed}
    dataset = Dataset.from_arrays(**arrays, **settings, name=name, num_classes=num_classes)
    for key, value in settings.items():
        # NumPy's scalars are no JSON.
        origin[key] = value.item() if isinstance(value, np.generic) else value
    return dataclasses.replace(dataset, origin=origin)


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
        wanted = config[{"built-in": "name", "npz": "path"}[source]]
        arguments = {key: config[key] for key in ("validation_size", "test_size", "seed")}
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


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _split_size(
    where: str, split: str, x: ArrayLike | None, y: ArrayLike | None, *, size: float | None, n: int
) -> int:
    """Return how many of n samples are drawn for a split: none if its arrays are given."""
    size_name = {"val": "validation_size", "test": "test_size"}[split]
    arrays = f"x_{split} and y_{split}"
    if (x is None) != (y is None):
        raise WrongValueError(f"{where}: give both {arrays}, or neither.")
    if x is not None and size is not None:
        raise WrongValueError(f"{where}: give either {size_name} or {arrays}, not both.")
    if x is not None:
        return 0
    size = _DEFAULT_FRACTION if size is None else size
    if _is_integer(size) and 0 <= size < n:
        return int(size)
    if isinstance(size, Real) and not isinstance(size, Integral) and 0 <= size < 1:
        # A fraction above 0 asks for a split, so it gets one.
        return max(round(size * n), 1) if size > 0 else 0
    raise WrongValueError(
        f"{where}: {size_name} is {size!r}, but must be a number of samples (an int from 0 to "
        f"{n - 1}) or a fraction (a float of 0 or more and below 1)."
    )


def _stratified_order(y: NDArray[Any], seed: int) -> NDArray[np.intp]:
    """Return a random order in which every stretch has nearly the same share of each label."""
    # The raw words of a bit generator stay the same in all versions of NumPy, which Generator's
    # permutations need not: a study must find its splits again after an upgrade.
    shuffled = np.argsort(np.random.Philox(seed).random_raw(len(y)), kind="stable")
    _, label, counts = np.unique(y[shuffled], return_inverse=True, return_counts=True)
    # Where each sample comes among those of its label, from 0 (the first) to 1 (the last).
    rank = np.empty(len(y), dtype=np.intp)
    first = np.cumsum(counts) - counts
    rank[np.argsort(label, kind="stable")] = np.arange(len(y)) - np.repeat(first, counts)
    return shuffled[np.argsort((rank + 0.5) / counts[label], kind="stable")]
