"""Metrics for two classes equal scikit-learn's, for every form of outputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import sklearn.metrics
from baseline_runs import train_baseline
from search_worker import quick_training

from adnn_optuna._checks import WrongValueError
from adnn_optuna.experiments.init_offset_objective import InitOffsetObjective
from adnn_optuna.networks._losses import loss_function
from adnn_optuna.networks._scores import Scores
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import Head, build_architecture
from adnn_optuna.networks.training import Trainer

N = 200
RNG = np.random.default_rng(1)
X = RNG.normal(size=(N, 3))
Y = np.where(X[:, 0] + RNG.normal(size=N) > 1, "sick", "healthy")
metrics = keras.metrics


def trainer_of(
    outputs: int,
    activation: str | None,
    y: Any = Y,
    *,
    positive: Any = "sick",
    **training: Any,
) -> Trainer:
    def build() -> keras.Model:
        last = keras.layers.Dense(outputs, activation)
        return keras.Sequential([keras.Input((3,)), last])

    data = Dataset.from_arrays(X, y, positive=positive if y is Y else None)
    architecture = build_architecture(build, (3,), data.num_classes)
    settings = quick_training(epochs=2, learning_rate=0.1, **training)
    return Trainer(architecture, settings, data)


@pytest.mark.parametrize(
    ("outputs", "activation", "positive"),
    [
        (2, None, 0),
        pytest.param(2, "softmax", 1, marks=pytest.mark.slow),
        pytest.param(1, None, 0, marks=pytest.mark.slow),
        pytest.param(1, "sigmoid", 1, marks=pytest.mark.slow),
    ],
)
def test_metrics_of_two_classes_equal_scikit_learn(
    outputs: int, activation: str | None, positive: int
) -> None:
    asked_metrics = [
        *("recall", "precision", metrics.AUC(2000), metrics.F1Score(name="f1")),
        *(metrics.FBetaScore(beta=2.0, name="f2"), "false_positives"),
        *(metrics.F1Score("macro", name="macro"), metrics.F1Score("weighted", name="weighted")),
    ]
    label = ("healthy", "sick")[positive]
    trainer = trainer_of(outputs, activation, positive=label, metrics=tuple(asked_metrics))
    run, data = train_baseline(trainer), trainer.dataset
    raw = trainer.outputs(run.weights, data.x_val)
    y, head = data.y_val, trainer.architecture.head
    predicted, scores = head.predicted(raw), raw[:, -1] - (0 if outputs == 1 else raw[:, 0])
    sklearn_metrics, options = sklearn.metrics, {"pos_label": positive}
    expected = {
        "recall": sklearn_metrics.recall_score(y, predicted, **options),
        "precision": sklearn_metrics.precision_score(y, predicted, **options),
        "auc": sklearn_metrics.roc_auc_score(y, scores),  # The AUC is the same for both classes.
        "f1": sklearn_metrics.f1_score(y, predicted, **options),
        "f2": sklearn_metrics.fbeta_score(y, predicted, beta=2, **options),
        "false_positives": ((predicted == positive) & (y != positive)).sum(),
        "macro": sklearn_metrics.f1_score(y, predicted, average="macro"),
        "weighted": sklearn_metrics.f1_score(y, predicted, average="weighted"),
    }
    assert 0 < expected["recall"] < 1
    scores_by_name = {name: run.metrics[f"val_{name}"] for name in expected}
    assert scores_by_name == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("from_logits", [False, True])
def test_the_loss_of_a_regression_keeps_its_own_setting_of_logits(*, from_logits: bool) -> None:
    loss = keras.losses.BinaryCrossentropy(from_logits=from_logits)
    targets, outputs = np.eye(3, dtype=np.float32), np.full((3, 3), 0.9, np.float32)
    for loss_given in (loss, "binary_crossentropy")[: 1 if from_logits else 2]:
        function, _ = loss_function(Training(loss=loss_given).loss or "", Head(None, 3))
        losses = function(targets, outputs)
        assert np.mean(losses) == pytest.approx(float(loss(targets, outputs)), rel=1e-6)


@pytest.mark.parametrize("metric", ["val_auc", "val_f1", "val_precision", "val_recall"])
def test_without_a_positive_class_metrics_are_refused_and_both_labels_are_named(
    metric: str,
) -> None:
    data = Dataset.from_arrays(X, Y)
    with pytest.raises(WrongValueError, match=r"'healthy' and 'sick'\. Pass positive='healthy'"):
        InitOffsetObjective(MLP((4,)), data, metric=metric)
    InitOffsetObjective(MLP((4,)), data, metric="val_accuracy")


@pytest.mark.parametrize(
    ("labels", "given", "positive"),
    [([0, 1], None, 1), ([False, True], None, True), ([0, 1], 0, 0), ([1, 2], None, None)],
)
def test_the_positive_class_is_1_or_true_by_default(
    labels: list[Any], given: Any, positive: Any
) -> None:
    data = Dataset.from_arrays(X, np.array(labels)[(Y == "sick").astype(int)], positive=given)
    assert data.positive == positive
    assert type(data.positive) is type(positive)


@pytest.mark.parametrize("positive", ["ill", 1])
def test_a_positive_class_that_is_not_a_label_is_refused(positive: Any) -> None:
    with pytest.raises(WrongValueError, match=r"one of two classes; got .* 'healthy', 'sick'"):
        Dataset.from_arrays(X, Y, positive=positive)


_METRICS: dict[str, Any] = {
    "auc": "auc",
    "f1": "f1",
    "pr": metrics.AUC(curve="PR", name="pr"),
    "binary_accuracy": "binary_accuracy",
}


@pytest.mark.parametrize("name", [*_METRICS, "loss", "accuracy"])
def test_scores_of_examples_average_to_the_metric_and_are_its_derivatives(name: str) -> None:
    rng, n = np.random.default_rng(0), 400
    y = (rng.random(n) < 0.2).astype(np.int32)
    outputs = rng.normal(1.5 * y, 1)[:, np.newaxis].astype(np.float32)
    asked_metrics = Training(metrics=tuple(_METRICS.values())).metrics
    scores = Scores(Head(2, 1, positive=1), "binary_crossentropy", asked_metrics)

    def found(rows: Any, own_loss: float = 0.0) -> tuple[float, np.ndarray]:
        values, of_examples = scores.tested(name, outputs[rows], y[rows], own_loss)
        return values[f"test_{name}"], of_examples

    value, of_examples = found(slice(None))
    assert of_examples.mean() == pytest.approx(value, abs=1e-6)
    # If one of n examples occurs twice, the metric changes by 1 / n of its derivative.
    for i in (*np.flatnonzero(y)[:5], *np.flatnonzero(y == 0)[:5]):
        moved, _ = found([*range(n), i])
        assert (n + 1) * (moved - value) == pytest.approx(of_examples[i] - value, 0.05, 0.05)
    if name == "loss":
        with_own, of_examples = found(slice(None), 0.5)
        assert with_own == pytest.approx(value + 0.5)
        assert of_examples.mean() == pytest.approx(with_own)


@pytest.mark.parametrize("name", ["r2", "rmse", "mae", "root_mean_squared_error", "loss"])
def test_scores_of_regression_examples_average_to_the_metric_and_are_its_derivatives(
    name: str,
) -> None:
    rng, n = np.random.default_rng(0), 400
    y = rng.normal(2, 3, (n, 2)).astype(np.float32)
    outputs = (y + rng.normal(0, (1, 2), (n, 2))).astype(np.float32)
    scores = Scores(Head(None, 2), "mean_squared_error", ("root_mean_squared_error",))
    values, of_examples = scores.tested(name, outputs, y, 0.0)
    value = values[f"test_{name}"]
    assert of_examples.mean() == pytest.approx(value, rel=1e-6)
    for i in range(8):
        rows = [*range(n), i]
        moved = scores.tested(name, outputs[rows], y[rows], 0.0)[0][f"test_{name}"]
        expected = of_examples[i] - value
        assert (n + 1) * (moved - value) == pytest.approx(expected, abs=0.02 * (1 + abs(expected)))


@pytest.mark.parametrize(("mean", "sd"), [(1.7e9, 1), (0, 1e-9), (1e12, 1e3), (0, 1e-25)])
def test_metrics_of_a_regression_equal_scikit_learn_in_all_units(mean: float, sd: float) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(mean, sd, (300, 2))
    outputs = y + rng.normal(0, sd / 3, y.shape)
    own_training = Training(metrics=("mean_squared_error", metrics.MeanAbsoluteError()))
    all_metrics = (*own_training.metrics, "root_mean_squared_error")
    values, _ = Scores(Head(None, 2), "mean_squared_error", all_metrics).tested(
        "r2", outputs, y, 0.0
    )
    mse = sklearn.metrics.mean_squared_error(y, outputs)
    mae = sklearn.metrics.mean_absolute_error(y, outputs)
    assert values["test_mean_squared_error"] == pytest.approx(mse, rel=1e-6, abs=0)
    assert values["test_mean_absolute_error"] == pytest.approx(mae, rel=1e-6, abs=0)
    assert values["test_root_mean_squared_error"] == pytest.approx(mse**0.5, rel=1e-6, abs=0)


def test_scores_of_a_metric_without_a_derivative_are_nan() -> None:
    scores = Scores(Head(2, 1, positive=1), "binary_crossentropy", ("binary_io_u",))
    y, outputs = np.array([0, 1, 1], np.int32), np.array([[-1.0], [2.0], [-1.0]])
    values, of_examples = scores.tested("binary_io_u", outputs, y, 0.0)
    assert 0 < values["test_binary_io_u"] < 1
    assert np.isnan(of_examples).all()


def test_a_metric_with_a_class_id_keeps_its_class() -> None:
    trainer = trainer_of(2, None, metrics=(metrics.Recall(class_id=0, name="specificity"),))
    run, data = train_baseline(trainer), trainer.dataset
    predicted = trainer.architecture.head.predicted(trainer.outputs(run.weights, data.x_val))
    expected = sklearn.metrics.recall_score(data.y_val, predicted, pos_label=0)
    assert run.metrics["val_specificity"] == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["auc", "recall", metrics.F1Score(name="f1")])
def test_metrics_of_a_split_with_one_class_are_refused(metric: Any) -> None:
    data = Dataset.from_arrays(X, Y)
    healthy = np.flatnonzero(data.y_val == 0)
    one_class = Dataset(
        *("one", data.x_train, data.y_train, data.x_val[healthy], data.y_val[healthy]),
        *(data.x_test, data.y_test, 2),
        classes=("healthy", "sick"),
        positive="sick",
    )
    architecture = trainer_of(2, None).architecture
    message = f"means nothing if all {len(healthy)} labels of the split are 'healthy'"
    with pytest.raises(WrongValueError, match=message):
        Trainer(architecture, Training(metrics=(metric,)), one_class)
    Trainer(architecture, Training(), one_class)


@pytest.mark.parametrize(("split", "size"), [("val", "validation_size"), ("test", "test_size")])
def test_a_regression_of_one_value_in_a_split_is_refused(split: str, size: str) -> None:
    options: Any = {size: 1}
    data = Dataset.from_arrays(X, X[:, 0], task="regression", **options)
    architecture = build_architecture(MLP(), (3,), None)
    with pytest.raises(WrongValueError, match=f"{split}_r2 means nothing if all 1 labels"):
        Trainer(architecture, Training(), data)


@pytest.mark.parametrize("metric", ["auc", "categorical_accuracy", metrics.Recall()])
def test_a_metric_of_classes_is_refused_for_a_regression(metric: Any) -> None:
    data = Dataset.from_arrays(X, X[:, 0], task="regression")
    with pytest.raises(WrongValueError, match="is of classes, which a regression has none of"):
        Trainer(build_architecture(MLP(), (3,), None), Training(metrics=(metric,)), data)


@pytest.mark.parametrize(
    "metric", ["binary_accuracy", metrics.AUC(multi_label=True, num_labels=2)]
)
def test_metrics_of_several_labels_equal_keras(metric: Any) -> None:
    labels = (X[:, :2] > 0).astype(np.float32)
    outputs = np.clip(labels * 0.4 + RNG.random(labels.shape), 0, 1).astype(np.float32)
    own_metrics = Training(metrics=(metric,)).metrics
    scores = Scores(Head(None, 2), "binary_crossentropy", own_metrics)
    totals = scores.add(labels, outputs, [], scores.empty_totals)
    [*_, value] = scores.results("val", totals, labels).values()
    expected = keras.metrics.get(metric)
    expected.update_state(labels, outputs)
    assert value == pytest.approx(float(expected.result()), rel=1e-6)


def test_r2_of_keras_is_exact_for_large_targets() -> None:
    targets = 1.7e9 + RNG.normal(size=(800, 2))
    outputs = targets + RNG.normal(0, [0.3, 0.5], size=(800, 2))
    own_metrics = Training(metrics=(metrics.R2Score(name="mine"),)).metrics
    scores = Scores(Head(None, 2), "mean_squared_error", own_metrics)
    values, of_examples = scores.tested("mine", outputs, targets, 0.0)
    expected = 1 - (np.square(targets - outputs).mean(axis=0) / targets.var(axis=0)).mean()
    assert values["test_mine"] == values["test_r2"] == pytest.approx(expected, abs=1e-7)
    assert of_examples.mean() == pytest.approx(expected, abs=1e-7)
    adjusted = Training(metrics=(metrics.R2Score(num_regressors=2),)).metrics
    with pytest.raises(WrongValueError, match="'r2_score' must have its default arguments"):
        Scores(Head(None, 2), "mean_squared_error", adjusted)


def test_two_metrics_of_the_same_name_need_different_names() -> None:
    own_metrics = (
        "accuracy",
        metrics.SparseCategoricalAccuracy("accuracy"),
        "auc",
        metrics.Recall(),
    )
    names = [n for n in trainer_of(2, None, metrics=own_metrics).metrics if n.startswith("val_")]
    assert names == ["val_accuracy", "val_loss", "val_auc", "val_recall"]
    with pytest.raises(WrongValueError, match="must have different names; got 'recall' twice"):
        trainer_of(2, None, metrics=(metrics.Recall(0.1), metrics.Recall(0.9)))


@keras.saving.register_keras_serializable("own")
def focal(y: Any, outputs: Any) -> Any:
    """A loss of integer labels whose name does not say so."""
    chances = keras.ops.softmax(outputs)
    one_hot = keras.ops.one_hot(keras.ops.cast(y, "int32"), 3)
    chance = keras.ops.sum(one_hot * chances, axis=-1)
    return -((1 - chance) ** 2) * keras.ops.log(chance)


@keras.saving.register_keras_serializable("own")
def sparse_looking(y: Any, outputs: Any) -> Any:
    """A loss of one-hot labels whose name, misleadingly, begins with sparse."""
    return keras.losses.categorical_crossentropy(y, outputs, from_logits=True)


@keras.saving.register_keras_serializable("own")
def of_either(y: Any, outputs: Any) -> Any:
    """A loss whose value shows the form of its labels."""
    kind = 1.0 if len(y.shape) == 1 else 2.0
    return kind + 0 * keras.ops.sum(outputs, axis=-1)


@pytest.mark.parametrize(
    ("loss", "takes_integers"), [(focal, True), (sparse_looking, False), (of_either, True)]
)
def test_the_form_of_labels_of_a_users_loss_is_found_by_a_trial_batch(
    loss: Any, *, takes_integers: bool
) -> None:
    settings = Training(loss=loss).loss or ""
    function, is_of_integers = loss_function(settings, Head(3, 3))
    assert is_of_integers == takes_integers
    labels = np.array([0, 1, 2, 2], np.int32)
    outputs = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    expected = loss(labels if takes_integers else np.eye(3, dtype=np.float32)[labels], outputs)
    np.testing.assert_allclose(function(labels, outputs), expected, rtol=1e-6)
