"""Any data of users: numbers, tables, labels, weights and groups."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from adnn_optuna._checks import WrongInputError
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.loading import OF_FILES, dataset_from_config, load_dataset

if TYPE_CHECKING:
    from pathlib import Path

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(50, 20, (N, 3))
Y = np.arange(N) % 3
FRAME = pd.DataFrame(
    {
        "age": np.arange(N) + 18,
        "city": np.array(["Rome", "Oslo", "Bern"])[RNG.permutation(Y)],
        "member": np.arange(N) % 2 == 0,
        "size": pd.Categorical(np.where(Y == 0, "S", "M"), categories=["S", "M", "L"]),
    }
)
SPLITS = ("train", "val", "test")


def given_label(dataset: Dataset, split: str) -> list[Any]:
    """Return the labels of a split in the user's form."""
    y = getattr(dataset, f"y_{split}").tolist()
    return y if dataset.classes is None else [dataset.classes[label] for label in y]


class TestInputs:
    @pytest.mark.parametrize(
        ("dtype", "kept"),
        [
            ("uint8", "uint8"),
            ("int64", "int64"),
            ("bool", "bool"),
            ("float16", "float32"),
            ("float32", "float32"),
            (">f8", "float32"),
            ("object", "float32"),
        ],
    )
    def test_are_kept_as_passed(self, dtype: Any, kept: str) -> None:
        x = np.rint(X).clip(0, 200).astype(dtype) if dtype != "object" else X.astype(object)
        data = Dataset.from_arrays(x, Y)
        rows = Dataset.from_arrays(np.arange(N)[:, None], Y)
        for part, of_rows in ((data, rows), (data.redrawn(3), rows.redrawn(3))):
            for split in SPLITS:
                inputs = getattr(part, f"x_{split}")
                given_rows = getattr(of_rows, f"x_{split}")[:, 0]
                assert inputs.dtype == kept
                assert not inputs.flags.writeable
                np.testing.assert_array_equal(inputs, x[given_rows].astype(kept))
                np.testing.assert_array_equal(getattr(part, f"y_{split}"), Y[given_rows])

    @pytest.mark.parametrize(
        ("column", "name"),
        [
            (1.7e9 + np.arange(N), "2"),
            (1e-50 * np.arange(N), "2"),
            (pd.Series(1.7e9 + np.arange(N)), "'seen'"),
        ],
    )
    def test_features_whose_values_float32_merges_are_named_once(
        self, column: Any, name: str, logs: pytest.LogCaptureFixture
    ) -> None:
        columns = {"a": X[:, 0], "b": X[:, 1] * 1e6, "seen": column}
        x: Any = pd.DataFrame(columns)
        Dataset.from_arrays(x if name == "'seen'" else x.to_numpy(), Y).redrawn(1)
        [record] = [r for r in logs.records if "float32" in r.getMessage()]
        assert f"float32 merges values of feature {name}" in record.getMessage()

    def test_features_that_float32_keeps_distinct_need_no_warning(
        self, logs: pytest.LogCaptureFixture
    ) -> None:
        x = np.random.default_rng(0).normal(1e3, 1, (20_000, 3))
        x[:, 2] = 16_777_216 - np.arange(20_000)
        Dataset.from_arrays(x, np.arange(20_000) % 2)
        assert not [record for record in logs.records if "float32" in record.getMessage()]

    def test_of_several_integer_dtypes_get_a_dtype_that_holds_all(self) -> None:
        x = X.astype(np.int32)
        data = Dataset.from_arrays(x, Y, x_test=x.astype(np.int64), y_test=Y)
        assert data.x_train.dtype == data.x_test.dtype == np.int64

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"x": np.where(X > 60, np.nan, X)}, r"x\[\d+, \d\] is nan"),
            ({"x": np.full((N, 3), "a")}, "x must be numbers; got the dtype <U.*DataFrame"),
            ({"x": X * 1j}, "x must be numbers; got the dtype complex128"),
            ({"x": np.where(X > 60, None, X)}, "only strings; got NoneType, float"),
            ({"x_test": X[:, :2], "y_test": Y}, r"A sample of x_test has the shape \(2,\)"),
            ({"x": X.astype(np.uint8), "x_test": X, "y_test": Y}, "one dtype; got float64, uint8"),
        ],
    )
    def test_unsuitable_inputs_are_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(**{"x": X, "y": Y, **changes})


class TestLabels:
    @settings(deadline=None, max_examples=30)
    @given(
        classes=st.lists(st.text(), min_size=2, max_size=5, unique=True)
        | st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=5, unique=True)
        | st.just([True, False]),
        seed=st.integers(0, 100),
        as_column=st.booleans(),
    )
    def test_are_mapped_back_to_the_users_labels(
        self, classes: list[Any], seed: int, as_column: bool
    ) -> None:
        # NumPy drops trailing nulls of strings.
        classes = [c.replace("\0", "-") + "!" if isinstance(c, str) else c for c in classes]
        rng = np.random.default_rng(seed)
        labels = [classes[i] for i in rng.permutation(np.arange(N) % len(classes))]
        y = np.array(labels)[:, None] if as_column else labels
        data = Dataset.from_arrays(np.arange(N)[:, None], y, seed=seed)
        assert data.num_classes == len(set(labels))
        assert data.classes is None or list(data.classes) == sorted(data.classes)
        for split in SPLITS:
            rows = getattr(data, f"x_{split}")[:, 0].astype(int)
            assert given_label(data, split) == [labels[row] for row in rows]
        assert json.loads(json.dumps(data.config)).get("classes") == (
            None if data.classes is None else list(data.classes)
        )

    @pytest.mark.parametrize("dtype", [float, int])
    def test_masked_labels_are_missing(self, dtype: Any) -> None:
        masked = np.ma.masked_array(X.astype(int).astype(dtype), np.zeros(X.shape, bool))
        assert len(Dataset.from_arrays(masked, Y).y_train)
        masked[5, 1] = np.ma.masked
        with pytest.raises(ValueError, match=r"x\[5, 1\] is nan|x .*Replace missing"):
            Dataset.from_arrays(masked, Y)
        with pytest.raises(ValueError, match="Replace missing"):
            Dataset.from_arrays(X, masked[:, 1])
        assert Dataset.from_arrays(masked, Y, missing="impute").preprocessing.fill

    @pytest.mark.parametrize(
        ("y", "classes"),
        [
            (Y, None),
            (Y.astype(np.float32), None),
            (Y + 1, (1, 2, 3)),
            (np.eye(3)[Y], None),
            (np.eye(4, dtype=bool)[Y + 1], (1, 2, 3)),
            (pd.get_dummies(FRAME["city"]), None),
            (FRAME["city"], ("Bern", "Oslo", "Rome")),
            (FRAME["size"], ("M", "S")),
            (FRAME[["member"]], (False, True)),
        ],
    )
    def test_of_any_kind_are_accepted(self, y: Any, classes: tuple[Any, ...] | None) -> None:
        data = Dataset.from_arrays(X, y)
        assert data.classes == classes
        assert (data.num_classes, data.task) == (len(classes or "012"), "classification")

    def test_are_not_mapped_if_num_classes_is_passed(self) -> None:
        data = Dataset.from_arrays(X, Y + 1, num_classes=5)
        assert (data.num_classes, data.classes) == (5, None)
        assert set(data.y_train) == {1, 2, 3}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"x_test": X[:2], "y_test": [0, 6]}, r"y_test\[1\] is 6, .* learn are 0, 1, 2"),
            ({"x_val": X[:2], "y_val": ["a", "b"]}, r"y_val\[0\] is 'a', .* are 0, 1, 2"),
            ({"y": [*"abc"] * 20, "x_val": X[:1], "y_val": ["d"]}, "is 'd', .* 'a', 'b', 'c'"),
            (
                {"y": [0] * (N - 1) + [1], "validation_size": 0.5},
                "training part has no sample of 1",
            ),
            ({"y": X[:, 0]}, 'y has the dtype float64 .*task="regression"'),
            ({"y": X}, r"y has .* the shape \(60, 3\), .* one-hot rows"),
            ({"y": [None, "a"] * (N // 2)}, "only strings; got NoneType, str"),
            (
                {"y": np.where(Y == 0, np.nan, Y)},
                "y has .* Replace missing values",
            ),
            ({"y": FRAME["city"], "num_classes": 4}, "is 'Bern', but the labels to learn are 0"),
            ({"task": "ranking"}, "task must be .* got 'ranking'"),
        ],
    )
    def test_unsuitable_labels_are_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(**{"x": X, "y": Y, **changes})


class TestRegression:
    @pytest.mark.parametrize("n_targets", [1, 2])
    def test_keeps_numbers_and_draws_splits_at_random(self, n_targets: int) -> None:
        y = np.column_stack([np.arange(N) * 1.5, -np.arange(N)])[:, :n_targets]
        data = Dataset.from_arrays(np.arange(N)[:, None], y, task="regression")
        assert (data.task, data.num_classes, data.n_outputs) == ("regression", None, n_targets)
        assert data.y_train.dtype == np.float64
        whole = (y * 2).astype(int)
        twice = Dataset.from_arrays(np.arange(N)[:, None], whole, task="regression")
        np.testing.assert_array_equal(twice.y_test, data.y_test * 2)
        for part in (data, data.redrawn(3)):
            for split in SPLITS:
                rows = getattr(part, f"x_{split}")[:, 0].astype(int)
                targets = getattr(part, f"y_{split}").reshape(len(rows), n_targets)
                np.testing.assert_array_equal(targets, y[rows])
        assert data.redrawn(3).fingerprint != data.fingerprint
        assert data.config["task"] == "regression"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"y": np.where(Y == 0, np.nan, Y)}, r"y\[0\] is nan, but must be finite"),
            ({"y": FRAME["city"]}, "targets of a regression are numbers"),
            ({"num_classes": 3}, "has no num_classes"),
            ({"class_weight": "balanced"}, "has no .* class_weight"),
            ({"y": X, "x_test": X, "y_test": Y}, "A sample of y_test has the shape"),
        ],
    )
    def test_unsuitable_targets_and_settings_are_refused(
        self, changes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(**{"x": X, "y": Y, "task": "regression", **changes})


class TestWeights:
    def test_of_classes_and_samples_are_multiplied(self) -> None:
        labels, weights = np.array(["a", "b", "c"])[Y], np.arange(N) + 1.0
        data = Dataset.from_arrays(
            np.arange(N)[:, None],
            labels,
            class_weight={"b": 3},
            sample_weight=weights,
        )
        rows = data.x_train[:, 0].astype(int)
        expected = weights[rows] * np.where(labels[rows] == "b", 3, 1)
        np.testing.assert_array_equal(data.weight_train, expected.astype(np.float32))
        # Each weight stays with its sample.
        redrawn = data.redrawn(5)
        rows = redrawn.x_train[:, 0].astype(int)
        assert set(rows) != set(data.x_train[:, 0].astype(int))
        expected = weights[rows] * np.where(labels[rows] == "b", 3, 1)
        np.testing.assert_array_equal(redrawn.weight_train, expected.astype(np.float32))
        with pytest.raises(ValueError, match="with weights or groups stay in their splits"):
            dataclasses.replace(data, draw=None)

    def test_balanced_weights_are_those_of_scikit_learn(self) -> None:
        y = np.array(["no"] * 47 + ["yes"] * 13)
        data = Dataset.from_arrays(X, y, class_weight="balanced")
        for part in (data, data.redrawn(1)):
            expected = compute_class_weight("balanced", classes=np.arange(2), y=part.y_train)
            np.testing.assert_allclose(part.weight_train, expected[part.y_train], rtol=1e-6)

    def test_weights_other_than_1_change_the_fingerprint(self) -> None:
        plain = Dataset.from_arrays(X, Y)
        assert plain.weight_train is None
        weighted_by_1 = Dataset.from_arrays(X, Y, sample_weight=np.ones(N), class_weight={0: 1})
        assert weighted_by_1.weight_train is None
        assert weighted_by_1.fingerprint == plain.fingerprint
        weighted = Dataset.from_arrays(X, Y, class_weight={0: 2})
        assert weighted.fingerprint != plain.fingerprint

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"class_weight": {3: 1}}, "class_weight names 3, but the labels are 0, 1, 2"),
            ({"class_weight": {0: -1}}, "class_weight, of .* a finite number of at least 0"),
            ({"class_weight": "equal"}, "class_weight must be .* got 'equal'"),
            ({"sample_weight": [1.0]}, r"sample_weight, of .* the shape \(1,\)"),
            ({"sample_weight": np.full(N, np.nan)}, "a finite number of at least 0"),
        ],
    )
    def test_wrong_weights_are_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises((ValueError, TypeError), match=message):
            Dataset.from_arrays(X, Y, **changes)


class TestGroups:
    @settings(deadline=None)
    @given(
        sizes=st.lists(st.integers(2, 12), min_size=3, max_size=12),
        fractions=st.tuples(st.floats(0, 0.45), st.floats(0.05, 0.45)),
        seed=st.integers(0, 100),
    )
    @example([1, 1, 8], (0.2, 0.2), 0)  # The test split must not take both small groups.
    def test_are_never_in_two_splits(
        self, sizes: list[int], fractions: tuple[float, float], seed: int
    ) -> None:
        groups = np.repeat([f"group {i}" for i in range(len(sizes))], sizes)
        n = len(groups)
        # Some groups must remain for training.
        assume(sum(round(n * fraction) for fraction in fractions) < n)
        rows = np.random.default_rng(seed).permutation(n)
        data = Dataset.from_arrays(
            rows[:, None],
            rows * 1.5,
            task="regression",
            groups=groups[rows],
            validation_size=fractions[0],
            test_size=fractions[1],
            seed=seed,
        )
        parts = [getattr(data, f"x_{split}")[:, 0].astype(int) for split in SPLITS]
        assert sorted(np.concatenate(parts)) == list(range(n))
        group_sets = [set(groups[part]) for part in parts]
        assert sum(map(len, group_sets)) == len(sizes)
        assert len(parts[0])
        assert len(parts[2])
        assert bool(len(parts[1])) == (fractions[0] > 0)
        assert data.drawn == ("val", "test")

    def test_split_sizes_are_near_the_requested_sizes(self) -> None:
        data = Dataset.from_arrays(X, Y, groups=np.arange(N) // 3, test_size=0.3)
        assert [len(getattr(data, f"y_{split}")) for split in SPLITS] == [30, 12, 18]

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            (np.arange(N) % 2, "2 groups are too few for 3 splits"),
            (np.arange(N - 1), r"got the shape \(59,\)"),
            (np.full(N, np.nan), "one for each of 60 samples; .* Replace missing"),
        ],
    )
    def test_wrong_groups_are_refused(self, groups: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(X, Y, groups=groups)


class TestTables:
    def test_categories_become_features_of_zero_and_one(self) -> None:
        data = Dataset.from_arrays(FRAME, Y)
        cities, sizes = ("Bern", "Oslo", "Rome"), ("S", "M", "L")
        columns = ("age", None), ("city", cities), ("member", None), ("size", sizes)
        assert data.preprocessing.columns == columns
        assert set(np.unique(data.x_train[:, [1, 2, 3, 5, 6, 7]])) == {0, 1}
        encoded = data.preprocessing.encoded(FRAME[reversed(FRAME.columns)]).astype(np.float32)
        np.testing.assert_array_equal(encoded[:, 0], FRAME["age"])
        np.testing.assert_array_equal(encoded[:, 3], FRAME["city"] == "Rome")
        rows = {row.tobytes() for row in encoded}
        assert all(row.tobytes() in rows for row in data.x_test)
        for part in (data, data.redrawn(2)):
            assert set(np.unique(part.x_test[:, [1, 2, 3]])) == {0, 1}

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (FRAME.drop(columns="age"), "each once, but differs in 'age'. Rename"),
            (FRAME.assign(city="Paris"), "'city' of inputs has the categories 'Paris', .* 'Bern'"),
            (FRAME.assign(age=np.where(FRAME.age > 70, np.nan, 1)), r"lacks .* 'age' \(7 rows\)"),
            (X.tolist(), "inputs must be a table of the data set's columns"),
        ],
    )
    def test_tables_with_other_columns_are_refused(self, raw: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(FRAME, Y).preprocessing.encoded(raw)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"when": pd.Timestamp("2020-01-01")},
                "column 'when' must .* got the dtype datetime64",
            ),
            ({"city": FRAME["city"].where(Y > 0)}, r"x lacks values in 'city' \(20 rows\)"),
            ({"age": ["?", *map(str, range(N - 1))]}, r"'age' holds numbers, but in 1 rows '\?'"),
        ],
    )
    def test_unsuitable_columns_are_refused_by_name(
        self, changes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(FRAME.assign(**changes), Y)

    def test_two_columns_of_the_same_name_are_refused(self) -> None:
        table = pd.DataFrame(np.zeros((N, 3)), columns=["a", "b", "a"])
        with pytest.raises(ValueError, match=r"different names .* got 'a' more than once"):
            Dataset.from_arrays(table, Y)

    def test_columns_with_too_many_categories_are_refused(self) -> None:
        table = pd.DataFrame({"name": [f"n{i % 1001}" for i in range(1100)]})
        with pytest.raises(ValueError, match="'name' has 1001 categories, more than 1000"):
            Dataset.from_arrays(table, np.arange(1100) % 2)

    def test_numeric_strings_are_numbers_if_all_of_the_column_are(self) -> None:
        table = pd.DataFrame({"a": [f"{v:.3f}" for v in X[:, 0]], "b": [*"xy"] * (N // 2)})
        data = Dataset.from_arrays(table, Y)
        assert data.preprocessing.columns == (("a", None), ("b", ("x", "y")))
        numbers = Dataset.from_arrays(table.astype({"a": float}), Y)
        np.testing.assert_array_equal(data.x_test, numbers.x_test)
        # A table in later use may have numbers or strings.
        for raw in (table, table.astype({"a": float})):
            transformed = data.preprocessing.encoded(raw)
            np.testing.assert_array_equal(transformed, numbers.preprocessing.encoded(table))
        with pytest.raises(ValueError, match="Unable to parse string"):
            data.preprocessing.encoded(table.replace({"a": {table["a"][0]: "?"}}))


class TestFiles:
    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        groups, weights = np.arange(N) // 4, np.arange(N) + 1.0
        table = FRAME.assign(patient=groups, weight=weights, buys=np.array(["no", "yes"])[Y % 2])
        table.to_csv(tmp_path / "table.csv")
        return tmp_path / "table.csv"

    def test_of_a_table_are_loaded_again(self, table: Path) -> None:
        options: Any = {"groups": "patient", "sample_weight": "weight", "seed": 3}
        data = load_dataset(table, **options)
        assert data.classes == ("no", "yes")
        assert [name for name, _ in data.preprocessing.columns or ()] == list(FRAME)
        stored = json.loads(json.dumps(data.config))
        again = dataset_from_config(stored, table.parent)
        assert again.config == data.config
        # The unnamed column of row numbers is dropped, and the last column is the target.
        arrays = pd.read_csv(table)
        same = Dataset.from_arrays(
            arrays[list(FRAME)],
            arrays["buys"],
            groups=arrays["patient"],
            sample_weight=arrays["weight"],
            seed=3,
        )
        assert data.fingerprint == same.fingerprint

    @pytest.mark.parametrize("name", ["OTHER.CSV", "Other.Csv.GZ"])
    def test_may_be_compressed_and_have_suffixes_in_any_case(self, table: Path, name: str) -> None:
        pd.read_csv(table, index_col=0).to_csv(table.with_name(name))
        data = load_dataset(table.with_name(name))
        assert data.fingerprint == load_dataset(table).fingerprint
        assert (data.name.lower(), data.config["source"]) == ("other", "csv")
        assert dataset_from_config(json.loads(json.dumps(data.config))).config == data.config

    def test_of_arrays_may_have_labels_groups_and_weights(self, tmp_path: Path) -> None:
        path, labels = tmp_path / "mine.npz", np.array(["a", "b", "c"])[Y]
        np.savez(path, x=X, y=labels, day=np.arange(N) // 4, w=np.arange(N))
        data = load_dataset(path, groups="day", sample_weight="w", class_weight="balanced")
        assert (data.classes, data.drawn) == (("a", "b", "c"), ("val", "test"))
        assert data.weight_train is not None
        assert dataset_from_config(data.config).fingerprint == data.fingerprint

    def test_have_a_positive_class_by_label_or_text(self, tmp_path: Path) -> None:
        for labels, positive_label, positive in (
            ("ab", "a", "a"),
            ([3, 4], "3", 3),
            ([3, 4], 4, 4),
        ):
            path = tmp_path / "two.csv"
            pd.DataFrame({"x": np.arange(N), "y": np.array([*labels])[Y % 2]}).to_csv(path)
            data = load_dataset(path, positive=positive_label)
            assert data.positive == positive
            again = dataset_from_config(json.loads(json.dumps(data.config)))
            assert again.positive == positive
            assert load_dataset(path).positive is None

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"target": "age"}, 'holds 18|The training part has no sample of|task="regression"'),
            ({"groups": "days"}, "no column 'days' for groups"),
        ],
    )
    def test_without_the_named_columns_are_refused(
        self, table: Path, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            load_dataset(table, **options)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", r"must be a valid CSV file"),
            ("a,b\n", "Of 0 samples"),
            ("a;b\n1;2\n3;4\n", "no inputs beside 'a;b'"),
            ("a,b\n1,x\n,y\n2,\n", "y must .* Replace missing values"),
        ],
    )
    def test_that_are_not_tables_are_refused(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        (tmp_path / "wrong.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            load_dataset(tmp_path / "wrong.csv")

    def test_a_parquet_file_needs_a_package_which_is_named(
        self, table: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = table.with_suffix(".parquet")
        path.write_bytes(b"")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ImportError, match=r"pip install pyarrow"):
            load_dataset(path)

    def test_known_data_sets_take_no_settings_of_files(self) -> None:
        with pytest.raises(ValueError, match=r"'digits' does not take groups, task. Omit it"):
            load_dataset("digits", task="regression", groups="x")
        with pytest.raises(ValueError, match=r"'mine\.npz' does not take target"):
            load_dataset("mine.npz", target="y")

    @pytest.mark.parametrize("name", ["digits", "mine.npz", "mine.csv"])
    @pytest.mark.parametrize("option", OF_FILES)
    def test_arrays_are_refused_as_settings(self, tmp_path: Path, name: str, option: str) -> None:
        x, y = np.zeros((20, 2)), np.arange(20) % 2
        np.savez(tmp_path / "mine.npz", x=x, y=y)
        pd.DataFrame({"a": y, "y": y}).to_csv(tmp_path / "mine.csv", index=False)
        with pytest.raises(WrongInputError, match=option):
            load_dataset(name, tmp_path, **{option: np.zeros(20)})


class TestRedrawn:
    def test_groups_stay_in_one_split(self) -> None:
        patients = np.repeat(np.arange(N // 4), 4)
        data = Dataset.from_arrays(np.arange(N)[:, None], Y, groups=patients)
        splits = [data, *map(data.redrawn, range(1, 4))]
        for split in splits:
            inputs = split.x_train, split.x_val, split.x_test
            train, val, test = (set(patients[x[:, 0].astype(int)]) for x in inputs)
            assert not train & val | train & test | val & test
            np.testing.assert_array_equal(
                split.groups_test, patients[split.x_test[:, 0].astype(int)]
            )
        assert len({split.fingerprint for split in splits}) == 4

    def test_missing_values_are_imputed_by_the_new_training_part(self) -> None:
        x = np.random.default_rng(0).normal(size=(N, 2))
        x[::3, 0] = np.nan
        data = Dataset.from_arrays(x, Y, missing="impute")
        medians = []
        for seed in range(3):
            redrawn = data.redrawn(seed)
            numbers = {value: i for i, value in enumerate(x[:, 1].astype(np.float32))}
            rows = np.array([numbers[value] for value in redrawn.x_train[:, 1]])
            medians.append(np.nanmedian(x[rows, 0]))
            filled = redrawn.x_train[np.isnan(x[rows, 0]), 0]
            np.testing.assert_allclose(filled, medians[-1], rtol=1e-6)
        assert len(set(medians)) == 3

    @pytest.mark.parametrize("missing", ["refuse", "impute"])
    def test_categories_that_are_rare_in_the_new_training_part_are_merged(
        self, missing: Literal["refuse", "impute"]
    ) -> None:
        # The training part has 0 to 4 rows of each town except the last two; 2 rows are enough.
        towns = [f"town {i:02}" for i in range(20) for _ in range(4)]
        towns += ["Rome", "Oslo"] * ((200 - len(towns)) // 2)
        table = pd.DataFrame({"row": np.arange(200), "town": towns})
        data = Dataset.from_arrays(table, np.arange(200) % 2, rare="other", missing=missing)
        frequent = set()
        for seed in range(8):
            redrawn = data.redrawn(seed)
            assert redrawn.x_train.shape == data.x_train.shape
            assert redrawn.fingerprint == data.redrawn(3).redrawn(seed).fingerprint
            counts = table.town[redrawn.x_train[:, 0].astype(int)].value_counts()
            categories, is_other = redrawn.preprocessing.columns[1][1], redrawn.x_train[:, -1]
            expected = counts[counts >= 2].nlargest(len(categories)).sum()
            assert redrawn.x_train[:, 1:-1].sum() == expected == len(is_other) - is_other.sum()
            assert not set(categories) & {*counts[counts < 2].index}
            assert (redrawn.x_train[:, 1:].sum(axis=1) == 1).all()
            # The encoding of the whole table equals the encoding of the rows of the splits.
            rows = redrawn.x_test[:, 0].astype(int)
            np.testing.assert_array_equal(
                redrawn.preprocessing.encoded(table)[rows], redrawn.x_test
            )
            frequent.add(categories)
        assert len(frequent) == 8

    @pytest.mark.parametrize("kind", ["array", "list", "table"])
    def test_later_changes_of_the_users_data_have_no_effect(self, kind: str) -> None:
        x = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
        inputs = {"array": x, "list": x.tolist(), "table": pd.DataFrame(x)}[kind]
        data = Dataset.from_arrays(inputs, Y, class_weight="balanced")
        before = data.redrawn(1).fingerprint
        for row in range(N):
            if kind == "table":
                inputs.iloc[row] = 0
            else:
                inputs[row][0] = 0
        assert data.redrawn(1).fingerprint == before


class TestOrderOfRows:
    @pytest.mark.parametrize("argument", ["y", "sample_weight", "groups"])
    def test_columns_in_another_order_than_the_inputs_are_refused(self, argument: str) -> None:
        # With groups of one row each, the training part has every class.
        columns = {argument: pd.Series(np.arange(N) + 1), "y": pd.Series(Y)}
        Dataset.from_arrays(FRAME, **columns)
        columns[argument] = columns[argument].sample(frac=1, random_state=0)
        message = rf"{argument} must have the rows of x in the same order.*{argument}\.loc\["
        with pytest.raises(ValueError, match=message):
            Dataset.from_arrays(FRAME, **columns)
        columns[argument] = columns[argument].loc[FRAME.index]
        Dataset.from_arrays(FRAME, **columns)

    def test_columns_with_another_index_are_taken_by_position(self) -> None:
        data = Dataset.from_arrays(FRAME.iloc[3:], pd.Series(Y[3:]), validation_size=0.5)
        assert len(data.y_train) + len(data.y_val) + len(data.y_test) == N - 3


@pytest.mark.parametrize("rare", ["refuse", "other"])
def test_a_column_of_identifiers_is_refused_by_name(rare: Any) -> None:
    table = FRAME.assign(patient=[f"p{i}" for i in range(N)])
    with pytest.raises(ValueError, match=r"column 'patient' must have texts that repeat"):
        Dataset.from_arrays(table, Y, rare=rare)
    table["patient"] = [f"p{i // 2}" for i in range(N)]
    Dataset.from_arrays(table, Y, rare=rare)
