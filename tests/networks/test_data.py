"""Data sets: their readers, checks, splits and fingerprints."""

from __future__ import annotations

import doctest
import gzip
import json
import os
import sys
import tracemalloc
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import adnn_optuna.networks.data
from adnn_optuna.networks import loading
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.loading import dataset_from_config, load_dataset, read_idx

_FOLDERS = {"mnist": "mnist", "fashion_mnist": "fashion-mnist"}
_FILES = {
    "train-images-idx3-ubyte": "x_train",
    "train-labels-idx1-ubyte": "y_train",
    "t10k-images-idx3-ubyte": "x_test",
    "t10k-labels-idx1-ubyte": "y_test",
}
_SPLITS = ("train", "val", "test")


def _idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def _arrays(n: int = 60, n_test: int = 20) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (n, 4, 3), dtype=np.uint8),
        "y_train": np.arange(n, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (n_test, 4, 3), dtype=np.uint8),
        "y_test": np.arange(n_test, dtype=np.uint8) % 10,
    }


def _write_idx_files(folder: Path, arrays: dict[str, np.ndarray], *, gz: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, key in _FILES.items():
        content = _idx(arrays[key])
        if gz:
            (folder / f"{stem}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / stem).write_bytes(content)


@pytest.fixture(autouse=True)
def _nowhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test find or download data unless the test says so."""
    if "real_data" in request.fixturenames:
        return
    monkeypatch.delenv("ADNN_DATA_DIR", raising=False)
    monkeypatch.setattr(loading, "_SYSTEM_DATA_DIR", Path("no-such-folder"))
    monkeypatch.setitem(sys.modules, "keras", None)


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("ADNN_DATA_DIR")
    if not folder:
        pytest.skip("ADNN_DATA_DIR is unset, so there is no MNIST and Fashion-MNIST to read")
    for name in _FOLDERS.values():
        if not (Path(folder) / name).is_dir():
            pytest.skip(f"ADNN_DATA_DIR has no folder {name}")
    return Path(folder)


def _valid(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "name": "mine",
        "x_train": np.full((4, 2), 0.5),
        "y_train": [0, 1, 2, 0],
        "x_val": np.full((2, 2), 0.5),
        "y_val": [0, 1],
        "x_test": np.full((3, 2), 0.5),
        "y_test": [0, 1, 2],
        "num_classes": 3,
    }
    return arguments | changes


# The class Dataset


def test_inputs_are_held_in_memory_once() -> None:
    # A few samples are enough, as each sample is large.
    x = np.random.default_rng(0).integers(0, 256, (120, 512, 512), np.uint8)
    Dataset.from_arrays(x[:30], np.arange(30) % 3)  # Imports all needed modules.
    tracemalloc.start()
    dataset = Dataset.from_arrays(x, np.arange(120) % 3)
    kept_bytes, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 1.1 * x.nbytes
    # At the peak, memory also holds the splits.
    assert peak < 2.2 * x.nbytes
    assert not dataset.x_train.flags.writeable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.full((4, 2), np.nan)}, r"x_train\[0, 0\] is nan"),
        ({"x_val": np.full((2, 2), 1e300)}, r"x_val\[0, 0\] is 1e\+300"),
        ({"x_train": np.zeros(4)}, r"x_train has the shape \(4,\)"),
        ({"x_train": np.zeros((4, 1, 1, 1, 1))}, r"x_train has the shape \(4, 1, 1, 1, 1\)"),
        ({"x_train": np.zeros((4, 0))}, r"x_train has the shape \(4, 0\)"),
        ({"x_train": np.zeros((0, 2)), "y_train": np.zeros(0, int)}, "x_train is empty"),
        ({"x_test": np.zeros((0, 2)), "y_test": np.zeros(0, int)}, "x_test is empty"),
        ({"x_train": np.zeros((3, 2))}, "x_train has 3 samples and y_train 4"),
        ({"x_val": np.zeros((2, 3))}, r"x_val has the shape \(3,\), one of x_train \(2,\)"),
        ({"y_val": [0, -1]}, r"y_val\[1\] is -1"),
        ({"y_val": np.array([0, 2**40])}, r"y_val\[1\] is 1099511627776"),
        ({"y_val": [0.0, 0.5]}, "y_val has the dtype float64"),
        ({"num_classes": 1}, "num_classes must be .* got 1"),
        ({"num_classes": True}, "num_classes must be .* got True"),
    ],
)
def test_wrong_data_are_refused(changes: dict[str, Any], message: str) -> None:
    Dataset(**_valid())
    with pytest.raises(ValueError, match=message):
        Dataset(**_valid(**changes))


def test_fingerprint_is_pinned() -> None:
    # Stored studies contain the fingerprint. If it changes, they cannot be resumed.
    assert Dataset(**_valid()).fingerprint == (
        "6909bd5ae8d5bcada89d60274e5f605a9c687660fcbc7e4d4d0974a7e49bccbf"
    )


def test_fingerprint_of_the_test_samples_depends_only_on_them() -> None:
    before = Dataset(**_valid())
    other_inputs = {"x_train": before.x_train + 1, "x_val": before.x_val + 1}
    assert Dataset(**_valid(**other_inputs)).test_fingerprint == before.test_fingerprint
    tested = {"x_test": before.x_test + 1}, {"y_test": before.y_test[::-1]}
    for changes in tested:
        assert Dataset(**_valid(**changes)).test_fingerprint != before.test_fingerprint


def test_fingerprint_differs_for_different_contents() -> None:
    x = np.array([[0, 0.5], [0.5, 0], [0, 0], [1, 1]])
    base = _valid(x_train=x)
    variants = [
        base,
        base | {"x_train": x[::-1]},
        base | {"x_train": x + np.array([[0, 0], [0, 0], [0, 0], [0, -1e-6]])},
        base | {"y_train": [0, 1, 0, 2]},
        base | {"num_classes": 4},
        base | {"x_val": base["x_test"], "y_val": base["y_test"]},
        base | {f"x_{split}": np.reshape(base[f"x_{split}"], (-1, 2, 1)) for split in _SPLITS},
        base | {"x_val": np.zeros((0, 2)), "y_val": np.zeros(0, int)},
    ]
    fingerprints = [Dataset(**variant).fingerprint for variant in variants]
    assert len(set(fingerprints)) == len(variants)
    assert Dataset(**(base | {"name": "yours"})).fingerprint == fingerprints[0]
    assert Dataset(**(base | {"x_train": x.astype(np.float32)})).fingerprint == fingerprints[0]


# Splits


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=5, max_size=60)
    # If most labels have a single sample, shares are hardest to keep.
    | st.integers(5, 50).map(lambda n: [0] * n + [1, 2, 3, 4]),
    fractions=st.tuples(st.floats(0, 0.5), st.floats(0.01, 0.45)),
    seed=st.integers(0, 2**70),
)
def test_splits_are_disjoint_ordered_balanced_and_complete(
    labels: list[int], fractions: tuple[float, float], seed: int
) -> None:
    n = len(labels)
    assume(len(set(labels)) > 1)
    x = np.linspace(0, 1, n, dtype=np.float32)[:, None]
    n_val, n_test = (int(fraction * n) for fraction in fractions)
    n_test = max(n_test, 1)
    dataset = Dataset.from_arrays(
        x, labels, validation_size=n_val, test_size=n_test, seed=seed, num_classes=5
    )
    parts = [getattr(dataset, f"x_{split}")[:, 0] for split in _SPLITS]
    assert [len(part) for part in parts] == [n - n_val - n_test, n_val, n_test]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), x[:, 0])
    counts = np.bincount(labels, minlength=5)
    for split, part in zip(_SPLITS, parts, strict=True):
        index = np.searchsorted(x[:, 0], part)
        assert (np.diff(index) > 0).all()
        y = getattr(dataset, f"y_{split}")
        np.testing.assert_array_equal(y, np.array(labels, dtype=int)[index])
        # In each split, a label's count may be off by half a sample at both ends. In addition, the
        # errors of all labels shift the ends, in proportion to a label's size.
        bound = 1 + counts * np.count_nonzero(counts) / n
        assert (np.abs(np.bincount(y, minlength=5) - counts * len(part) / n) <= bound + 1e-9).all()


def test_splits_are_pinned() -> None:
    # Stored studies contain only the seed. If the draw changes, they cannot be resumed.
    x = np.linspace(0, 1, 21)[:, None]
    dataset = Dataset.from_arrays(x, np.arange(21) % 3, seed=7)
    assert np.rint(dataset.x_val[:, 0] * 20).tolist() == [2, 3, 4, 14]
    assert np.rint(dataset.x_test[:, 0] * 20).tolist() == [8, 12, 13, 15]


def test_the_test_split_ignores_the_validation_size() -> None:
    x, y = np.linspace(0, 1, 100)[:, None], np.arange(100) % 4
    first = Dataset.from_arrays(x, y, seed=1)
    wider = Dataset.from_arrays(x, y, seed=1, validation_size=50)
    np.testing.assert_array_equal(wider.x_test, first.x_test)


def test_a_fraction_gives_at_least_one_sample() -> None:
    dataset = Dataset.from_arrays(
        np.zeros((4, 3)), [0, 1, 0, 1], validation_size=0.01, test_size=0.01
    )
    assert (len(dataset.x_val), len(dataset.x_test)) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_size": 10}, "validation_size must be .* got 10"),
        ({"validation_size": -1}, "validation_size must be .* got -1"),
        ({"validation_size": 1.0}, r"validation_size must be .* got 1\.0"),
        ({"test_size": True}, "test_size must be .* got True"),
        ({"test_size": "0.2"}, r"test_size must be .* got '0\.2'"),
        ({"test_size": 0}, "x_test is empty"),
        ({"validation_size": 5, "test_size": 5}, "none for training"),
        ({"seed": -1}, "seed must be .* got -1"),
        ({"seed": 1.5}, r"seed must be .* got 1\.5"),
        ({"x_val": np.zeros((1, 2))}, "both x_val and y_val"),
        ({"y_test": [0]}, "both x_test and y_test"),
        ({"x_test": np.zeros((1, 2)), "y_test": [0], "test_size": 1}, "either test_size or"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0, int)}, "Of 0 samples"),
        ({"y": [0] * 9}, "x has 10 samples and y 9"),
        ({"y": [0] * 10}, "two different labels; got 0 only"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"x": np.zeros((10, 2)), "y": [0, 1] * 5}
    Dataset.from_arrays(**arguments)
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(**(arguments | changes))


# Known data sets


def test_digits() -> None:
    dataset = load_dataset("digits")
    assert repr(dataset) == "Dataset(name='digits', num_classes=10, drawn=('val', 'test'))"
    assert (dataset.x_train.shape, dataset.x_val.shape) == ((1079, 8, 8), (359, 8, 8))
    assert dataset.x_train.max() == 1
    assert load_dataset("digits", validation_size=0.1, seed=3).x_val.shape == (180, 8, 8)


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("name", _FOLDERS)
def test_idx_files(tmp_path: Path, name: str, gz: bool) -> None:
    arrays = _arrays()
    _write_idx_files(tmp_path / _FOLDERS[name], arrays, gz=gz)
    dataset = load_dataset(name, tmp_path, validation_size=0)
    assert (dataset.name, dataset.num_classes) == (name, 10)
    for key, array in arrays.items():
        scaled = array / np.float32(255) if key.startswith("x") else array
        np.testing.assert_array_equal(getattr(dataset, key), scaled)
    held_out = load_dataset(name, str(tmp_path), validation_size=10, seed=1)
    assert (len(held_out.x_train), len(held_out.x_val)) == (50, 10)
    np.testing.assert_array_equal(held_out.x_test, dataset.x_test)


def test_folders_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"given": 11, "environment": 12, "system": 13}
    for folder, n in sizes.items():
        _write_idx_files(tmp_path / folder / "mnist", _arrays(n))
    monkeypatch.setenv("ADNN_DATA_DIR", str(tmp_path / "environment"))
    monkeypatch.setattr(loading, "_SYSTEM_DATA_DIR", tmp_path / "system")

    def n_found(data_dir: Path | None = None) -> int:
        return len(load_dataset("mnist", data_dir, validation_size=0).x_train)

    assert n_found(tmp_path / "given") == 11
    # The folder exists, but contains other data.
    assert n_found(tmp_path) == 12
    assert n_found() == 12
    monkeypatch.setenv("ADNN_DATA_DIR", str(tmp_path / "missing"))
    assert n_found() == 13
    # An empty variable counts as unset, not as the working folder.
    monkeypatch.setenv("ADNN_DATA_DIR", "")
    monkeypatch.chdir(tmp_path / "given")
    assert n_found() == 13


def test_keras_downloads_only_if_no_folder_has_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = _arrays()
    pairs = ((arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"]))
    datasets = types.SimpleNamespace(fashion_mnist=types.SimpleNamespace(load_data=lambda: pairs))
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(datasets=datasets))
    dataset = load_dataset("fashion_mnist", validation_size=0)
    np.testing.assert_array_equal(dataset.y_train, arrays["y_train"])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"mnist is in none of .*ADNN_DATA_DIR") as error:
        load_dataset("mnist", tmp_path)
    assert str(tmp_path / "mnist") in str(error.value)
    assert str(Path("no-such-folder", "mnist")) in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"data_dir '.*nope' is not a folder"):
        load_dataset("mnist", tmp_path / "nope")
    _write_idx_files(tmp_path / "mnist", _arrays())
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"is in none of .* its four IDX files"):
        load_dataset("mnist", tmp_path)


def test_a_failing_download_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_data() -> None:
        raise Exception("no network")  # noqa: TRY002 (as Keras does)

    datasets = types.SimpleNamespace(mnist=types.SimpleNamespace(load_data=load_data))
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(datasets=datasets))
    with pytest.raises(FileNotFoundError, match=r"cannot get it \(no network\)"):
        load_dataset("mnist")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_test": np.zeros((0, 4, 3)), "y_test": np.zeros(0)},
            "t10k-images-idx3-ubyte is not a whole IDX file",
        ),
        ({"y_test": np.full(20, 10)}, r"y_test\[0\] is 10"),
        ({"x_train": np.zeros(60)}, "not a whole IDX file of bytes in 3 dimensions"),
    ],
)
def test_idx_files_that_do_not_match_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], message: str
) -> None:
    _write_idx_files(tmp_path / "mnist", _arrays() | changes)
    with pytest.raises(ValueError, match=message):
        load_dataset("mnist", tmp_path, validation_size=0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08\x01",
        b"\x00\x00\x0d\x01\x00\x00\x00\x00",
        b"\x00\x00\x08\x01\x00\x00\x00\x03ab",
        b"\x00\x00\x08\x01\x00\x00\x00\x03abcd",
    ],
)
@pytest.mark.parametrize("gz", [False, True])
def test_broken_idx_files_are_refused(tmp_path: Path, content: bytes, gz: bool) -> None:
    path = tmp_path / ("labels.gz" if gz else "labels")
    path.write_bytes(gzip.compress(content) if gz else content)
    with pytest.raises(ValueError, match="is not a whole IDX file") as error:
        read_idx(path, ndim=1)
    assert str(path) in str(error.value)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    images, arrays = tmp_path / "images.gz", tmp_path / "arrays.npz"
    images.write_bytes(gzip.compress(bytes(2**26 + 1)))
    sentence = "must unpack to at most 67,108,864 bytes"
    with pytest.raises(ValueError, match=sentence):
        read_idx(images, ndim=3)
    large = {"x": np.zeros((2**12, 2**14), np.uint8), "y": np.zeros(2**12, np.uint8)}
    np.savez_compressed(arrays, **large)
    with pytest.raises(ValueError, match=sentence):
        load_dataset(str(arrays))


def test_a_header_of_more_than_64_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(b"\x00\x00\x08\x03" + b"\xff" * 12)
    with pytest.raises(ValueError, match="not a whole IDX file"):
        read_idx(path, ndim=3)


def _damaged(data: st.DataObject, whole: bytes) -> bytes:
    """Return a file that was cut off or overwritten at some position."""
    content = bytearray(whole)
    start = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[start:]
    else:
        damage = data.draw(st.binary(min_size=1, max_size=len(content) - start))
        content[start : start + len(damage)] = damage
    return bytes(content)


@settings(deadline=None)
@given(st.data())
def test_any_damage_to_a_gzip_file_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    original = np.arange(24).reshape(2, 3, 4)
    path = tmp_path_factory.getbasetemp() / "damaged.gz"
    path.write_bytes(_damaged(data, gzip.compress(_idx(original), mtime=0)))
    try:
        array = read_idx(path, ndim=3)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize("name", ["", "digits.txt"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Choose digits, mnist, fashion_mnist or"):
        load_dataset(name)


# Files of arrays


def test_npz_with_all_splits_is_loaded(tmp_path: Path) -> None:
    arrays = {key: value for key, value in _valid().items() if key.startswith(("x", "y"))}
    np.savez_compressed(tmp_path / "mine.npz", **arrays, extra=np.zeros(3))
    dataset = load_dataset(tmp_path / "mine.npz")
    assert dataset.name == "mine"
    assert dataset.fingerprint == Dataset(**_valid()).fingerprint


@pytest.mark.parametrize("suffix", ["", "_train"])
def test_npz_without_splits_is_split(tmp_path: Path, suffix: str) -> None:
    x, y = np.random.default_rng(0).random((50, 3)), np.arange(50) % 5
    np.savez(tmp_path / "mine.npz", **{f"x{suffix}": x, f"y{suffix}": y})
    dataset = load_dataset("mine.npz", tmp_path, validation_size=10, test_size=0.4, seed=2)
    same = Dataset.from_arrays(x, y, validation_size=10, test_size=0.4, seed=2)
    assert dataset.fingerprint == same.fingerprint


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((9, 2))}, "either y or y_train; got x"),
        ({"a": np.zeros(3)}, "got no known array"),
        ({"x": np.zeros((9, 2)), "x_train": np.zeros((9, 2))}, "either x or x_train"),
        ({"x": np.array([{}]), "y": np.zeros(1, int)}, "not a valid .npz file of plain arrays"),
    ],
)
def test_wrong_npz_files_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_dataset(tmp_path / "mine.npz")


@settings(deadline=None)
@given(st.data())
def test_any_damage_to_an_npz_file_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    np.savez_compressed(path, x=np.linspace(0, 1, 40).reshape(20, 2), y=np.arange(20) % 2)
    original = load_dataset(path).fingerprint
    path.write_bytes(_damaged(data, path.read_bytes()))
    try:
        dataset = load_dataset(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert dataset.fingerprint == original


def test_a_missing_npz_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"File 'nope\.npz' or '.*nope\.npz' not found"):
        load_dataset("nope.npz", tmp_path)


# Loading by configuration


def test_the_home_of_an_unknown_user_is_not_a_folder() -> None:
    with pytest.raises(FileNotFoundError, match="not found"):
        load_dataset("~no-such-user/mine.npz")
    with pytest.raises(FileNotFoundError, match="not a folder"):
        load_dataset("digits", "~no-such-user")


def test_configuration_of_digits() -> None:
    dataset = load_dataset("digits", validation_size=np.int64(100), seed=np.int64(4))
    config = json.loads(json.dumps(dataset.config))
    assert config == {
        "name": "digits",
        "source": "built-in",
        "validation_size": 100,
        "test_size": 0.2,
        "seed": 4,
        "fingerprint": dataset.fingerprint,
    }
    again = dataset_from_config(config)
    assert again.config == dataset.config
    assert again.fingerprint == dataset.fingerprint


def test_configuration_spells_out_the_defaults(tmp_path: Path) -> None:
    config = load_dataset("digits").config
    assert (config["validation_size"], config["test_size"], config["seed"]) == (0.2, 0.2, 0)
    _write_idx_files(tmp_path / "mnist", _arrays(20_000))
    assert load_dataset("mnist", tmp_path).config["validation_size"] == 10_000


def test_changed_data_are_refused(tmp_path: Path) -> None:
    arrays = _arrays()
    _write_idx_files(tmp_path / "mnist", arrays)
    config = load_dataset("mnist", tmp_path, validation_size=6).config
    assert dataset_from_config(config, tmp_path).config == config
    arrays["x_test"][3, 2, 1] ^= 1
    _write_idx_files(tmp_path / "mnist", arrays)
    with pytest.raises(ValueError, match="Dataset 'mnist' has changed"):
        dataset_from_config(config, tmp_path)


def test_npz_files_are_loaded_again_by_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    np.savez("mine.npz", x=np.zeros((20, 2)), y=np.arange(20) % 2)
    config = json.loads(json.dumps(load_dataset("mine.npz", seed=5).config))
    monkeypatch.chdir(tmp_path)
    assert dataset_from_config(config).config == config
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "mine.npz").rename(tmp_path / "there" / "mine.npz")
    with pytest.raises(FileNotFoundError, match=r"mine\.npz"):
        dataset_from_config(config)
    moved = dataset_from_config(config, tmp_path / "there")
    assert moved.fingerprint == config["fingerprint"]


def test_arrays_cannot_be_loaded_again_by_configuration() -> None:
    dataset = Dataset(**_valid())
    assert dataset.config == {
        "name": "mine",
        "source": "arrays",
        "duplicates": {"val-train": 2, "test-train": 3, "test-val": 3},
        "fingerprint": dataset.fingerprint,
    }
    with pytest.raises(ValueError, match="'mine' was made of arrays"):
        dataset_from_config(dataset.config)


@pytest.mark.parametrize(
    "config",
    [
        {"name": "d", "source": "moon", "fingerprint": ""},
        {"name": "d", "source": "npz", "fingerprint": ""},
    ],
)
def test_wrong_configurations_are_refused(config: Any) -> None:
    with pytest.raises(ValueError, match="The source of dataset 'd' is unknown"):
        dataset_from_config(config)


# Real data


@pytest.mark.slow
@pytest.mark.parametrize("name", _FOLDERS)
def test_real_data_are_loaded(real_data: Path, name: str) -> None:
    dataset = load_dataset(name)
    assert repr(dataset) == f"Dataset(name={name!r}, num_classes=10, drawn=('val',))"
    assert [len(getattr(dataset, f"x_{split}")) for split in _SPLITS] == [50000, 10000, 10000]
    everything = load_dataset(name, real_data, validation_size=0)
    assert everything.x_train.shape == (60000, 28, 28)
    assert everything.x_val.shape == (0, 28, 28)
    first = {"mnist": [5, 0, 4, 1, 9], "fashion_mnist": [9, 0, 0, 3, 0]}[name]
    assert everything.y_train[:5].tolist() == first
    assert dataset_from_config(dataset.config).fingerprint == dataset.fingerprint


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(adnn_optuna.networks.data).failed == 0


class TestRedrawnSplits:
    def test_hold_the_same_samples_in_equal_and_stratified_sizes(self) -> None:
        digits = load_dataset("digits")
        redrawn = digits.redrawn(1)
        for split in _SPLITS:
            shapes = (getattr(data, f"x_{split}").shape for data in (digits, redrawn))
            assert len({*shapes}) == 1
        assert redrawn.fingerprint != digits.fingerprint
        assert (
            redrawn.fingerprint == digits.redrawn(1).fingerprint != digits.redrawn(2).fingerprint
        )

        def samples(dataset: Dataset) -> list[bytes]:
            return sorted(x.tobytes() for s in _SPLITS for x in getattr(dataset, f"x_{s}"))

        assert samples(redrawn) == samples(digits)
        for split in _SPLITS:
            labels = getattr(redrawn, f"y_{split}")
            assert np.bincount(labels).max() - np.bincount(labels).min() <= len(labels) * 0.05

    def test_keep_a_split_that_the_user_passed(self) -> None:
        rng = np.random.default_rng(0)
        x, y = rng.random((60, 3)), np.arange(60) % 3
        dataset = Dataset.from_arrays(x, y, x_test=x[:6], y_test=y[:6])
        assert dataset.drawn == ("val",)
        redrawn = dataset.redrawn(5)
        assert np.array_equal(redrawn.x_test, dataset.x_test)
        assert not np.array_equal(redrawn.x_val, dataset.x_val)
        all_given = Dataset.from_arrays(x, y, x_test=x, y_test=y, x_val=x, y_val=y)
        assert all_given.drawn == ()


@pytest.mark.parametrize(
    ("shape", "dtype", "unit"),
    [
        ((4,), np.float32, "examples"),
        ((20, 3), np.float32, "examples"),
        ((8, 8), np.float32, "images"),
        ((5, 6), np.uint8, "images"),
        ((5, 6, 3), np.float32, "images"),
    ],
)
def test_only_images_are_called_images(shape: tuple[int, ...], dtype: Any, unit: str) -> None:
    x = np.resize(np.arange(251), (40, *shape))
    data = Dataset.from_arrays(x.astype(dtype), np.arange(40) % 2)
    assert data.unit == unit


@pytest.mark.tensorflow
def test_values_that_are_not_arrays_are_refused_with_the_fix() -> None:
    import tensorflow as tf

    x, y = np.eye(10, 3), np.arange(10) % 2
    pipeline = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    rows = ((row, label) for row, label in zip(x, y, strict=True))
    cases: list[tuple[Any, Any, str]] = [
        (pipeline, None, r"got tensorflow\._BatchDataset\. Pass all its batches as arrays, x and"),
        (rows, None, "got generator"),
        (scipy.sparse.csr_matrix(x), y, r"got scipy\.csr_matrix\. Pass x\.toarray\(\)\.$"),
        (x, iter(y), "y must be an array or a pandas table; got "),
        ({"a": x, "b": x}, y, r"got dict\. Pass one array, as models must have one input"),
    ]
    for inputs, labels, message in cases:
        with pytest.raises(TypeError, match=message):
            Dataset.from_arrays(inputs, labels)
    assert Dataset.from_arrays(scipy.sparse.csr_matrix(x).toarray(), y).num_classes == 2


class Table:
    """A table like polars' or Hugging Face's."""

    columns = ("a", "b")

    def to_pandas(self) -> pd.DataFrame:
        return pd.DataFrame(np.eye(10, 2), columns=list(self.columns))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.eye(10, 2)


class LazyTable:
    columns = ("a", "b")

    def collect(self) -> Table:
        return Table()


@pytest.mark.parametrize(
    ("kind", "how"),
    [(Table, r"Pass x\.to_pandas\(\)"), (LazyTable, r"Pass x\.collect\(\)\.to_pandas\(\)")],
)
def test_tables_of_other_packages_are_refused_with_the_fix(
    kind: type, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "__module__", "polars.dataframe.frame")
    with pytest.raises(TypeError, match=rf"got polars\.{kind.__name__}\. {how}\.$"):
        Dataset.from_arrays(kind(), np.arange(10) % 2)
    Dataset.from_arrays(Table().to_pandas(), np.arange(10) % 2)


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_inputs_or_outputs_are_refused(kind: Any) -> None:
    x, y = np.eye(10, 3), np.arange(10) % 2
    message = rf"must be one array, .* got a {kind.__name__} of 2 arrays"
    for arguments in ((kind([x, x]), y), (x, kind([y, y])), (kind([x, x]), kind([y, y]))):
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(*arguments)
    Dataset.from_arrays(kind(x), kind(y))


@pytest.mark.parametrize(
    ("x", "got"),
    [
        ([[1, 2], [3]], "the lengths 1, 2"),
        ([[1, 2], 3], "lists of several lengths within rows"),
        ([np.zeros((3, 2)), np.zeros((4, 2))], "the lengths 3, 4"),
    ],
)
def test_ragged_inputs_are_refused(x: Any, got: str) -> None:
    with pytest.raises(ValueError, match=f"^x must have rows of one shape; got {got}"):
        Dataset.from_arrays(x, [0, 1])
