"""Missing values and rare or unknown categories in tables are treated as in scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from contract_files import verify_here
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import adnn_optuna as adnn
from adnn_optuna.cli.options import load_data
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.loading import dataset_from_config, load_dataset

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(0)
N = 300
Y = np.arange(N) % 2
WITH_GAPS = pd.DataFrame(
    {
        "age": np.where(RNG.random(N) < 0.2, np.nan, RNG.normal(40, 9, N) + 20 * Y),
        "city": RNG.choice(["Rome", "Oslo", "Bern", "Nice"], N, p=[0.5, 0.3, 0.195, 0.005]),
        "size": pd.Categorical(RNG.choice(["M", "S"], N), categories=["M", "S", "XL"]),
        "rooms": pd.array(RNG.integers(1, 9, N), dtype="Int64"),
    }
)
WITH_GAPS.loc[RNG.random(N) < 0.1, "city"] = None
WITH_GAPS.loc[RNG.random(N) < 0.1, ["size", "rooms"]] = None
WITH_GAPS.loc[:2, "city"] = ["Graz", "Kyiv", "Nice"]
TEST = WITH_GAPS.iloc[:60].copy()
TEST.loc[3:5, "city"] = "Lima"


def test_missing_values_and_rare_categories_are_treated_as_in_scikit_learn() -> None:
    test_split: dict[str, Any] = {"x_test": TEST, "y_test": Y[:60], "validation_size": 0}
    options: dict[str, Any] = {"missing": "impute", "rare": "other"}
    x = WITH_GAPS.iloc[60:]
    data = Dataset.from_arrays(x, Y[60:], **test_split, **options)
    categories = make_pipeline(
        SimpleImputer(strategy="most_frequent", missing_values=None),
        OneHotEncoder(min_frequency=3, handle_unknown="infrequent_if_exist", sparse_output=False),
    )
    expected = make_column_transformer(
        (SimpleImputer(strategy="median"), ["age"]),
        (categories, ["city", "size"]),
        (SimpleImputer(strategy="median"), ["rooms"]),
    )

    def plain(table: pd.DataFrame) -> pd.DataFrame:
        texts = table[["city", "size"]].astype(object)
        rooms = table["rooms"].astype(float)
        return table.assign(**texts.where(texts.notna(), None), rooms=rooms)

    np.testing.assert_allclose(data.x_train, expected.fit_transform(plain(x)), rtol=1e-6)
    assert data.preprocessing.others == ("city",)
    np.testing.assert_allclose(data.x_test, expected.transform(plain(TEST)), rtol=1e-6)


@pytest.mark.slow
def test_the_best_network_accepts_missing_values_and_unknown_categories(tmp_path: Path) -> None:
    table = WITH_GAPS.assign(buys=np.array(["no", "yes"])[Y])
    path = tmp_path / "people.csv"
    table.to_csv(path, index=False)
    data = load_dataset(path, missing="impute", rare="other")
    assert dataset_from_config(data.config).config == data.config
    assert data.config["missing"] == "impute"
    training = adnn.Training("adam", 0.05, epochs=3)
    result = adnn.search(
        adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=training), max_trial=1
    )
    assert set(result.predict(TEST)) <= {"no", "yes"}
    chances = result.predict(TEST, probabilities=True)
    model = result.model()
    encoded = data.preprocessing.encoded(TEST)
    assert np.isfinite(encoded).all()
    np.testing.assert_array_equal(result.predict(encoded, probabilities=True), chances)
    np.testing.assert_allclose(model.predict(encoded, verbose=0), chances, rtol=1e-5)
    result.contract().save(tmp_path / "c.json")
    assert verify_here(tmp_path / "c.json").status == "exact"
    again = load_data({"dataset": str(path), "missing": "impute", "rare": "other"})
    assert again.fingerprint == data.fingerprint
    with pytest.raises(ValueError, match="lacks values in 'age'"):
        load_data({"dataset": str(path)})


@pytest.mark.slow
def test_a_network_of_redrawn_splits_predicts_tables() -> None:
    data = Dataset.from_arrays(WITH_GAPS, Y, missing="impute", rare="other").redrawn(1)
    # Nice is a frequent category in the whole table, but rare in this training part.
    assert None in dict(data.preprocessing.columns)["city"]
    objective = adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=adnn.Training(epochs=1))
    result = adnn.search(objective, max_trial=1)
    encoded = data.preprocessing.encoded(TEST)
    chances = result.predict(TEST, probabilities=True)
    np.testing.assert_array_equal(result.predict(encoded, probabilities=True), chances)
    np.testing.assert_allclose(result.model().predict(encoded, verbose=0), chances, rtol=1e-5)
    other_result = adnn.measure_variance(objective, n=5)
    assert "Not redrawn" not in str(other_result)


def test_missing_values_are_refused_unless_imputation_is_requested() -> None:
    with pytest.raises(ValueError, match="lacks values in 'age'"):
        Dataset.from_arrays(WITH_GAPS, Y, rare="other")
    full = WITH_GAPS.dropna()
    with pytest.raises(ValueError, match="has the categories 'Lima'"):
        Dataset.from_arrays(full, Y[full.index]).preprocessing.encoded(TEST.dropna())
    with pytest.raises(ValueError, match="missing must be one of refuse, impute; got 'drop'"):
        Dataset.from_arrays(full, Y[full.index], missing="drop")  # type: ignore[arg-type]


def test_missing_values_of_arrays_become_medians_of_the_training_part() -> None:
    x = RNG.normal((0, 100), size=(N, 5, 2))
    x[RNG.random(x.shape) < 0.1] = np.nan
    data = Dataset.from_arrays(x, Y, missing="impute")
    rows = Dataset.from_arrays(np.arange(N)[:, None], Y).x_train[:, 0].astype(int)
    np.testing.assert_allclose(data.preprocessing.fill, np.nanmedian(x[rows], axis=(0, 1)))
    np.testing.assert_allclose(
        data.preprocessing.encoded(x),
        np.where(np.isnan(x), data.preprocessing.fill, x),
        rtol=1e-6,
    )
    x[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match=r"x\[0, 0, 0\] is inf, but must be finite"):
        Dataset.from_arrays(x, Y, missing="impute")
    x[:, :, 1] = np.nan
    x[0, 0, 0] = 1
    with pytest.raises(ValueError, match=r"x_train\[0, 0, 1\] is nan.* omit the sample"):
        Dataset.from_arrays(x, Y, missing="impute")


@pytest.mark.parametrize("rare", ["refuse", "other"])
def test_numeric_categories_are_recognized_beside_missing_values(rare: Any) -> None:
    table = pd.DataFrame({"ward": pd.Categorical([1, 2] * 30)})
    data = Dataset.from_arrays(table, [0, 1, 2] * 20, missing="impute", rare=rare)
    encoded = data.preprocessing.encoded(pd.DataFrame({"ward": [1.0, np.nan, 2.0]}))
    assert encoded[[0, 2]].tolist() == [[1, 0], [0, 1]]
    assert encoded[1].sum() == 1
