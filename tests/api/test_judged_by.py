"""The metric of the selection also evaluates the test set, for any metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.cli.output import as_json

RNG = np.random.default_rng(0)
X = RNG.random((800, 5)).astype(np.float32)  # All values are within [0, 1], so nothing is scaled.
SUM = X @ [4, 4, 2, 0, 0] + RNG.normal(size=800)
FRAUD = np.where(np.quantile(SUM, 0.9) < SUM, "fraud", "ok")


def objective_of(metric: str, **training: Any) -> adnn.InitOffsetObjective:
    if metric.endswith(("r2", "rmse")):
        data = adnn.Dataset.from_arrays(X, 1e6 * SUM, task="regression")
    else:
        data = adnn.Dataset.from_arrays(X, FRAUD, positive="fraud")
    settings = quick_training(learning_rate=0.01, epochs=2, **training)
    return adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=settings, metric=metric)


@pytest.fixture(scope="module", params=["val_auc", "val_loss"])
def result(request: pytest.FixtureRequest) -> adnn.SearchResult:
    return adnn.search(objective_of(request.param), "random", max_trial=5, confirm=10)


def known_value(result: adnn.SearchResult) -> float:
    data = result._objective.dataset
    chances = result.predict(data.x_test, probabilities=True)
    if result.record.metric == "val_auc":
        return float(sklearn.metrics.roc_auc_score(data.y_test == 0, chances[:, 0]))
    return float(sklearn.metrics.log_loss(data.y_test, chances))


def test_value_gain_and_confirmation_have_the_metric(result: adnn.SearchResult) -> None:
    sign = 1 if result.record.metric == "val_auc" else -1
    # Keras computes the AUC with 200 thresholds.
    tolerance = 0.01 if sign > 0 else 1e-5
    assert result.test_value == pytest.approx(known_value(result), abs=tolerance)
    assert result.test_gain == sign * (result.test_value - result.test_baseline)
    data, facts = result._objective.dataset, result.confirmation
    right = (result.predict(data.x_test) == np.asarray(data.classes)[data.y_test]).mean()
    assert result.test_metrics["accuracy"] == right
    assert facts.test_score.value == pytest.approx(result.test_value)
    assert facts.test_score.low < facts.test_score.value < facts.test_score.high
    better = sign * (result.test_value - np.mean(facts.baselines))
    assert facts.vs_baselines.value == pytest.approx(better, abs=1e-6)
    # One new seed is computed by hand.
    fresh = result._objective.replace(seed=facts.seeds[2])
    starts = [fresh.baseline_start, fresh.start(result.best.params)]  # type: ignore[union-attr]
    runs = [*fresh.trainer.train_in_turn(starts)]
    values = [fresh.trainer.tested(run.weights)[0][result.record.test_metric] for run in runs]
    assert facts.gains[2] == pytest.approx(sign * (values[1] - values[0]))
    assert facts.replication.value == pytest.approx(np.mean(facts.gains))


def test_printed_results_name_the_metric_and_its_class_without_percentage_points(
    result: adnn.SearchResult, tmp_path: Any
) -> None:
    score = "test AUC of class 'fraud'" if result.record.metric == "val_auc" else "test loss"
    report = tmp_path / "report.html"
    result.report(report)
    for text in (str(result), report.read_text()):
        plain = text.replace("&#39;", "'").replace("\\_", "_")
        for number in (score, f"{result.test_value:.2f}", "10 new seeds", "test accuracy"):
            assert number in plain
    assert " pp" not in str(result)
    content = as_json("search", result)
    assert f'"test_metric": "{result.record.test_metric}"' in content
    assert ('"positive": "fraud"' in content) == (result.record.metric == "val_auc")


def test_a_contract_states_the_metric_and_is_valid(
    result: adnn.SearchResult, tmp_path: Any
) -> None:
    contract = result.contract()
    contract.save(tmp_path / "c.json")
    verdict = adnn.verify(tmp_path / "c.json", dataset=result._objective.dataset, new_seeds=20)
    assert verdict.status == "exact", verdict.reasons
    assert verdict.gain.value == pytest.approx(result.test_gain)
    name = "AUC of class 'fraud'" if result.record.metric == "val_auc" else "loss"
    assert f" in test {name} over" in contract.document().conclusion
    assert verdict.document().scope == f"test {name}"


@pytest.mark.parametrize("metric", ["val_auc", "val_rmse"])
def test_arms_are_compared_by_the_metric(metric: str) -> None:
    with pytest.warns(UserWarning, match="can decide nothing"):
        comparison = adnn.compare(
            objective_of(metric), ["random"], max_trial=2, seeds=range(2), controls=()
        )
    sign = 1 if metric == "val_auc" else -1
    runs = comparison.results
    table = comparison.differences()
    by_hand = np.mean(
        [
            sign * (a.test_value - b.test_value)
            for a, b in zip(runs["random"], runs["random_restart"], strict=True)
        ]
    )
    assert table.loc[("random", "random_restart"), "difference"] == pytest.approx(by_hand)
    # The units of an error are the user's, so only the user can set the margin.
    assert comparison.margin == (0.001 if sign > 0 else None)
    score = "test AUC of class 'fraud'" if sign > 0 else "test RMSE"
    assert score.removeprefix("test ") in str(comparison)
    assert " pp" not in str(comparison)


def test_a_margin_of_errors_is_in_the_users_units() -> None:
    options: Any = {"max_trial": 1, "seeds": [0], "controls": ()}
    with pytest.warns(UserWarning, match="can decide nothing"):
        comparison = adnn.compare(objective_of("val_rmse"), ["random"], margin=2e4, **options)
    assert comparison.margin == 2e4
    with pytest.raises(ValueError, match="above 0 and below 1"):
        adnn.compare(objective_of("val_auc"), ["random"], margin=2, **options)


def test_an_ensembles_average_is_tested_by_its_loss_with_its_regularizers() -> None:
    import keras

    def build() -> Any:
        layers = keras.layers
        penalty = keras.regularizers.L2(0.1)
        return keras.Sequential(
            [keras.Input((5,)), layers.Dense(4, kernel_regularizer=penalty), layers.Dense(2)]
        )

    data = adnn.Dataset.from_arrays(X, FRAUD)
    objective = adnn.InitOffsetObjective(
        build, data, training=quick_training(epochs=1), metric="val_loss"
    )
    result = adnn.search(objective, "random", max_trial=2, confirm=0)
    model = result.model()
    assert result.test_value == pytest.approx(
        model.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)["loss"], rel=1e-5
    )
