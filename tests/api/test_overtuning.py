"""The estimate of a best trial's value on new data, called in each way that users call it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from scipy.special import ndtr
from search_worker import make_objective

import adnn_optuna as adnn
from adnn_optuna.cli.main import run
from adnn_optuna.cli.output import as_text

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage, InMemoryStorage

N = 200
RNG = np.random.default_rng(0)
DIFFICULTY = RNG.standard_normal(N)


def latent(trial: Any, seed: int) -> np.ndarray:
    depth = trial.suggest_float("depth", 0, 1)
    noise = np.random.default_rng([seed, int(1e6 * depth)]).standard_normal(N)
    return 1.2 - (depth - 0.5) ** 2 + 0.8 * DIFFICULTY + 0.6 * noise


def objective(trial: optuna.Trial) -> float:
    if trial.number == 3:
        raise optuna.TrialPruned
    if trial.number == 5:
        return 0.1
    return adnn.log_scores(trial, latent(trial, 0) > 0)


def make_study(storage: Any, n_trials: int = 40) -> optuna.Study:
    study = optuna.create_study(
        direction="maximize",
        storage=storage,
        study_name="mine",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    study.optimize(objective, n_trials=n_trials)
    return study


@pytest.fixture
def study(storage: InMemoryStorage) -> optuna.Study:
    return make_study(storage)


# Optuna 5 stores the first form, Optuna 4 the second.
VIOLATED = {"constraints:c": 1.0, "constraints": [1.0]}


class TestOvertuning:
    def test_a_report_says_the_value_of_the_best_trial_on_new_data(
        self, study: optuna.Study
    ) -> None:
        result = adnn.overtuning(study)
        value, low, high = result.new_data
        assert result.reported == study.best_value
        assert low < value < high < 1
        expected = (result.reported - end for end in (value, high, low))
        np.testing.assert_allclose(result.optimism, [*expected])
        assert "unknown" not in format(result, "details")

    @pytest.mark.parametrize(
        ("direction", "first_seed", "verb"),
        [("maximize", 80, "adds"), ("minimize", 40, "subtracts")],
    )
    def test_the_printed_optimism_is_the_difference_of_the_printed_values(
        self, direction: str, first_seed: int, verb: str
    ) -> None:
        """The difference of exact values would be different by one hundredth."""
        study = optuna.create_study(direction=direction)
        for seed in range(first_seed, first_seed + 20):
            scores = np.random.default_rng(seed).normal(size=60)
            study.optimize(lambda trial, scores=scores: adnn.log_scores(trial, scores), n_trials=1)
        text = str(adnn.overtuning(study))
        labelled = re.findall(r"^  (?:new data|reported|optimism) +([-+.\d]+)", text, re.MULTILINE)
        new, reported, optimism = map(float, labelled)
        sign = 1 if direction == "maximize" else -1
        assert optimism == pytest.approx(sign * (reported - new), abs=1e-9)
        assert ("new data - reported" in text) == (direction == "minimize")
        assert f"these examples {verb} " in " ".join(text.split())

    def test_infeasible_trials_are_omitted(self, study: optuna.Study) -> None:
        study.add_trial(optuna.create_trial(value=1.0, system_attrs=VIOLATED))
        text = str(adnn.overtuning(study))
        assert "1 trial omitted: infeasible." in text
        assert "1 trial omitted: pruned, failed" in text

    def test_a_single_trial_was_not_selected(self) -> None:
        study = optuna.create_study(direction="maximize")
        study.optimize(lambda t: adnn.log_scores(t, latent(t, 0) > 0), n_trials=1)
        result = adnn.overtuning(study)
        assert result.new_data.low < result.new_data.value < result.new_data.high
        assert result.optimism.value == pytest.approx(0, abs=1e-7)

    def test_a_killed_study_can_be_estimated(self, storage: BaseStorage) -> None:
        make_study(storage, n_trials=10).ask()  # The trial's worker died.
        again = optuna.load_study(study_name="mine", storage=storage)
        again.optimize(objective, n_trials=5)
        assert adnn.overtuning((storage, "mine")).n_examples == N
        assert len(adnn.overtuning(again).trials) == 13

    def test_the_command_line_says_the_same(
        self, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        study = make_study(url, n_trials=20)
        page = tmp_path / "page.html"
        assert run(["overtuning", str(tmp_path / "study.db"), "mine", "--report", str(page)]) == 0
        in_shell = as_text(adnn.overtuning(study), writes_report=True)
        assert capsys.readouterr().out == f"{in_shell}\n"
        printed = str(adnn.overtuning(study))
        assert in_shell.partition(" more table")[0] == printed.partition(" more table")[0]

    def test_without_scores_the_error_says_how_to_store_them(self) -> None:
        study = optuna.create_study(study_name="none")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        with pytest.raises(ValueError, match=r"Return adnn.log_scores\(trial, scores\) from"):
            adnn.overtuning(study)

    def test_values_that_are_not_means_of_the_scores_are_refused(self) -> None:
        study = optuna.create_study(direction="maximize")
        study.optimize(lambda t: adnn.log_scores(t, latent(t, 0) > 0) - 0.1, n_trials=5)
        with pytest.raises(ValueError, match=r"If the scores are predictions, pass metric= and"):
            adnn.overtuning(study)

    def test_equal_scores_have_no_interval(self) -> None:
        study = optuna.create_study()
        study.optimize(lambda t: adnn.log_scores(t, [0.5] * 20), n_trials=3)
        result = adnn.overtuning(study)
        assert result.new_data.value == 0.5
        assert np.isnan(result.new_data[1:]).all()

    def test_a_function_search_says_it_below_its_best_value(self) -> None:
        result = adnn.search(
            lambda trial: adnn.log_scores(trial, latent(trial, 0) > 0),
            "random",
            direction="maximize",
            max_trial=12,
        )
        value, low, high = adnn.overtuning(result.study).new_data
        text = " ".join(str(result).split())
        assert f"on new data {value:.4f} (95% CI {low:.4f} to {high:.4f})" in text


class TestMetrics:
    LABELS = (DIFFICULTY + RNG.standard_normal(N) > 0).astype(int)

    def studied(self, metric: Any, direction: str) -> optuna.Study:
        def predict(trial: optuna.Trial) -> float:
            noise = np.random.default_rng(trial.number).standard_normal(N)
            predicted = 1 / (1 + np.exp(-DIFFICULTY - 0.5 * noise))
            adnn.log_scores(trial, predicted)
            return float(metric(self.LABELS, predicted))

        study = optuna.create_study(direction=direction)
        study.optimize(predict, n_trials=3)
        return study

    @pytest.mark.parametrize(
        ("name", "direction"),
        [
            pytest.param("roc_auc", "maximize", marks=pytest.mark.slow),
            ("neg_brier_score", "minimize"),
            pytest.param("f1", "maximize", marks=pytest.mark.slow),
        ],
    )
    def test_the_name_of_a_scorer_means_its_function(self, name: str, direction: str) -> None:
        metrics = pytest.importorskip("sklearn.metrics")
        function = {
            "roc_auc": metrics.roc_auc_score,
            "neg_brier_score": metrics.brier_score_loss,
            "f1": lambda y, predicted: metrics.f1_score(y, predicted > 0.5),
        }[name]
        study = self.studied(function, direction)
        by_name = adnn.overtuning(study, metric=name, y_true=self.LABELS)
        by_function = adnn.overtuning(study, metric=function, y_true=self.LABELS)
        np.testing.assert_allclose(by_name.new_data, by_function.new_data, rtol=1e-3)
        assert by_name.optimism.value > -0.01

    def test_another_metric_or_other_labels_are_refused(self) -> None:
        pytest.importorskip("sklearn")
        study = self.studied(
            lambda y, predicted: float(np.mean(y == (predicted > 0.5))), "maximize"
        )
        with pytest.raises(ValueError, match="metric must give the values of the trials; got"):
            adnn.overtuning(study, metric=lambda *_: 5.0, y_true=self.LABELS)
        with pytest.raises(ValueError, match="the name of a scorer of scikit-learn; got 'luck'"):
            adnn.overtuning(study, metric="luck", y_true=self.LABELS)
        with pytest.raises(ValueError, match="y_true must be the labels"):
            adnn.overtuning(study, metric="f1")


class TestRecheck:
    @pytest.mark.slow
    def test_with_scores_its_value_is_for_new_data(self, study: optuna.Study) -> None:
        both = [
            adnn.recheck(study, evaluate, top=2, choose=2, storage="sqlite://")
            for evaluate in (
                lambda trial, seed: latent(trial, seed) > 0,
                lambda trial, seed: adnn.log_scores(trial, latent(trial, seed) > 0),
                lambda trial, seed: float((latent(trial, seed) > 0).mean()),
            )
        ]
        assert both[0].value == both[1].value < both[2].value
        assert both[0].high - both[0].low > 1.5 * (both[2].high - both[2].low)

    def test_scores_show_an_overstatement_even_if_no_seed_changes_the_value(
        self, study: optuna.Study
    ) -> None:
        result = adnn.recheck(
            study,
            lambda trial, _seed: adnn.log_scores(trial, latent(trial, 0) > 0),
            top=1,
            confirm=3,
            storage="sqlite://",
        )
        assert result.numbers.confirmed.n_equal == 3
        assert result.overstatement.low > 0
        printed = result.document()
        assert printed.verdict == "overstated"
        assert printed.conclusion.endswith("is overstated.")


@pytest.mark.tensorflow
class TestNetworks:
    @pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
    def test_a_search_says_it_before_the_test_score(self, metric: str) -> None:
        result = adnn.search(make_objective(metric=metric), max_trial=3, test=False, confirm=0)
        assert "on new data" in str(result)
        other_result = adnn.overtuning(result.study)
        np.testing.assert_allclose(other_result.values, result.record.values, rtol=1e-4)
        tested = result.test()
        assert "on new data" not in str(tested)
        assert "on new data" in format(tested, "markdown")

    def test_scores_are_not_stored_unless_wanted(self) -> None:
        result = adnn.search(
            make_objective(metric="val_loss", store_scores=False),
            max_trial=2,
            test=False,
            confirm=0,
        )
        with pytest.raises(ValueError, match="with scores of single"):
            adnn.overtuning(result.study)


def roc_auc(labels: np.ndarray, predictions: np.ndarray) -> float:
    positives, negatives = predictions[labels == 1], predictions[labels == 0]
    if not len(positives) or not len(negatives):
        raise ValueError("one class")
    above = np.subtract.outer(positives, negatives)
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def rmse(labels: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.sqrt(np.mean((labels - predictions) ** 2)))


class TestRareClasses:
    """Few examples are positive and the problem is easy, so most trials rank all examples
    correctly.
    """

    @staticmethod
    def studied(metric: Any, seed: int, n_positive: int = 4) -> tuple[Any, float]:
        """Return the estimate for a study, and the AUC of its best trial on new data."""
        rng = np.random.default_rng(seed)
        labels = (np.arange(50) < n_positive).astype(int)
        shifts, noise = 2.4 + 0.2 * rng.random(6), rng.standard_normal((6, 50))
        predictions = ndtr(shifts[:, None] * labels + noise - 1.5)
        study = optuna.create_study(direction="maximize")

        def objective(trial: optuna.Trial) -> float:
            adnn.log_scores(trial, predictions[trial.number])
            return float(metric(labels, predictions[trial.number]))

        study.optimize(objective, n_trials=6)
        overtuned = adnn.overtuning(study, metric=metric, y_true=labels)
        return overtuned, float(ndtr(shifts[study.best_trial.number] / np.sqrt(2)))

    @pytest.mark.slow
    def test_have_possible_intervals_that_cover(self) -> None:
        results = [self.studied(roc_auc, seed) for seed in range(40)]
        for overtuned, _ in results:
            value, low, high = overtuned.new_data
            assert 0 <= low <= value <= high <= 1
            assert high - low > 0.02
            assert overtuned.optimism.low >= overtuned.reported - 1
        covered = [
            overtuned.new_data.low <= truth <= overtuned.new_data.high
            for overtuned, truth in results
        ]
        # If only the variance of splits counted, coverage would be 70%.
        assert np.mean(covered) >= 0.9

    def test_no_estimated_loss_is_below_0(self) -> None:
        rng = np.random.default_rng(0)
        labels = rng.normal(size=30)
        errors = 0.1 * rng.standard_t(2, (4, 30))
        study = optuna.create_study()

        def objective(trial: optuna.Trial) -> float:
            adnn.log_scores(trial, labels + errors[trial.number])
            return rmse(labels, labels + errors[trial.number])

        study.optimize(objective, n_trials=4)
        overtuned = adnn.overtuning(study, metric=rmse, y_true=labels)
        assert 0 <= overtuned.new_data.low < overtuned.new_data.value < overtuned.new_data.high


def test_the_value_of_close_predictions_is_computed_from_the_stored_ones() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    study = optuna.create_study(direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        # In float16, nearly all of these predictions would be tied.
        predictions = 0.999 + 1e-4 * (labels + rng.standard_normal(400))
        adnn.log_scores(trial, predictions)
        return roc_auc(labels, predictions)

    study.optimize(objective, n_trials=3)
    result = adnn.overtuning(study, metric=roc_auc, y_true=labels)
    np.testing.assert_allclose(result.values, result.reported_values, atol=1e-4)


def test_a_search_shows_no_value_on_new_data_for_stored_predictions() -> None:
    labels = np.arange(40) % 2

    def objective(trial: optuna.Trial) -> float:
        predictions = latent(trial, 0)[:40] + labels
        adnn.log_scores(trial, predictions)
        return roc_auc(labels, predictions)

    result = adnn.search(objective, "random", direction="maximize", max_trial=6)
    assert "on new data" not in str(result)
