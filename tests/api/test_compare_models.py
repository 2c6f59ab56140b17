"""Comparisons of models by real trainings."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import optuna
import pytest
from scipy import stats
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.api.stored import load_result
from adnn_optuna.cli.main import run
from adnn_optuna.results.declarations import fixed_declaration
from adnn_optuna.results.models import ModelComparison, ModelRuns

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

TRAINING = quick_training(epochs=2, batch_size=64)
MODELS = {"small": adnn.MLP((8,)), "wide": adnn.MLP((64,))}


def compare(models: Any = None, **changes: Any) -> ModelComparison:
    settings: dict[str, Any] = {"training": TRAINING, "seeds": range(6), **changes}
    return adnn.compare_models(models or MODELS, adnn.load_dataset("digits"), **settings)


def linear() -> keras.Model:
    return keras.Sequential(
        [keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10, name="only")]
    )


def test_each_seed_redraws_everything_equally_for_all_models() -> None:
    comparison = compare({"mlp": adnn.MLP((8,)), "again": adnn.MLP((8,)), "linear": linear})
    assert comparison.numbers.arms["mlp"] == comparison.numbers.arms["again"]
    assert len({*comparison.numbers.arms["mlp"]}) > 1
    data = adnn.load_dataset("digits").redrawn(4)
    objective = adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=TRAINING, seed=4)
    [run] = objective.trainer.train([objective.baseline_start], keep_weights=True)
    outputs = objective.trainer.outputs(run.weights, data.x_test)
    hits = objective.trainer.architecture.head.predicted(outputs) == data.y_test
    assert comparison.numbers.arms["mlp"][4] == hits.mean()


def test_models_in_another_order_keep_their_values() -> None:
    options: Any = {"seeds": range(6), "storage": optuna.storages.InMemoryStorage()}
    models = {"a": lambda seed: 1 + seed / 9, "b": lambda seed: 2 + seed / 8}
    first = adnn.compare_models(models, **options)
    again = adnn.compare_models(dict(reversed(models.items())), **options)
    assert again.numbers.arms == first.numbers.arms


def test_better_models_have_intervals_and_a_win_rate() -> None:
    comparison = compare()
    [row] = comparison.numbers.differences
    assert row.verdict == "worse"
    pairs = np.subtract(*comparison.numbers.arms.values())
    table = comparison.differences().loc[("small", "wide")]
    assert table["difference"] == pytest.approx(pairs.mean())
    # The upper end of the CI for 0 of 6 wins is 1 - .025 ** (1 / 6).
    assert table["win_rate_low"] == 0
    assert table["win_rate_high"] == pytest.approx(0.4593, abs=1e-4)
    half = 2.5706 * pairs.std(ddof=1) * math.sqrt(1 / 6 + 359 / 1079)
    assert table["high"] == pytest.approx(pairs.mean() + half, abs=1e-4)


@pytest.mark.slow
def test_training_settings_are_compared_too() -> None:
    trainings = {"one": quick_training(epochs=1), "ten": quick_training(epochs=10)}
    comparison = compare(dict.fromkeys(trainings, adnn.MLP((16,))), training=trainings)
    assert comparison.numbers.ranked[0] == "ten"
    with pytest.raises(
        ValueError, match=r"training must have the labels .*; got \['one', 'ten'\]"
    ):
        compare(training=trainings)


def test_stopping_once_decided_makes_the_comparison_sequential(storage: BaseStorage) -> None:
    comparison = compare(seeds=range(30), stop_when_decided=True, storage=storage)
    assert 7 <= len(comparison.runs.seeds) < 12
    assert "e-process" in format(comparison, "details")
    assert math.isnan(comparison.differences()["win_rate_low"].iloc[0])
    n_trials = len(optuna.load_study(study_name="models", storage=storage).trials)
    assert n_trials == 2 * len(comparison.runs.seeds)
    assert compare(seeds=range(30), stop_when_decided=True, storage=storage) == comparison


def test_a_comparison_resumes_and_further_seeds_make_it_sequential(storage: BaseStorage) -> None:
    nothing = compare(storage=storage, max_time=1e-9)
    assert nothing.runs.missing
    assert {row.verdict for row in nothing.numbers.differences} == {"inconclusive"}
    first = compare(storage=storage)
    assert first == compare()
    more = compare(storage=storage, seeds=range(8))
    assert more.runs.declaration["sequential"]
    assert "99% CI" in format(more, "details")
    assert more.numbers.arms["wide"][:6] == first.numbers.arms["wide"]
    with pytest.raises(ValueError, match="must begin with the 8 declared seeds"):
        compare(storage=storage, seeds=[5, 3])
    with pytest.raises(ValueError, match="must hold the same evaluations"):
        compare({**MODELS, "wide": adnn.MLP((65,))}, storage=storage)


def test_missing_planned_seeds_decide_nothing() -> None:
    whole = compare()
    evaluations = {e: v for e, v in whole.runs.evaluations.items() if e[1] != 3}
    runs = dataclasses.replace(whole.runs, evaluations=evaluations)
    assert {row.verdict for row in runs.table.differences} == {"inconclusive"}
    assert runs.missing == [(0, 3), (1, 3)]


@pytest.mark.slow
def test_an_edited_model_of_the_same_name_is_refused(url: str) -> None:
    def net(activation: str) -> type[keras.Model]:
        class Net(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.parts = keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Dense(10)

            def call(self, x: Any) -> Any:
                flatten, hidden, last = self.parts
                return last(getattr(keras.ops, activation)(hidden(flatten(x))))

        return Net

    compare({"a": net("relu"), "b": adnn.MLP((4,))}, storage=url, max_time=1e-9)
    with pytest.raises(ValueError, match="your code of the network computes something else"):
        compare({"a": net("tanh"), "b": adnn.MLP((4,))}, storage=url, max_time=1e-9)


@pytest.mark.slow
def test_equal_models_are_seldom_said_to_differ() -> None:
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(300):
        values = rng.normal(0.9, 0.01, (3, 10))
        evaluations = {(i, s): float(values[i, s]) for i in range(3) for s in range(10)}
        runs = ModelRuns(
            evaluations=evaluations,
            labels=("a", "b", "c"),
            declaration=fixed_declaration(range(10)),
            margin=1e-6,
            n_test=50,
            score="test accuracy",
        )
        verdicts = {row.verdict for row in runs.table.differences}
        wrong += not verdicts.isdisjoint({"better", "worse"})
    assert wrong <= 300 * 0.05 + 2 * math.sqrt(300 * 0.05 * 0.95)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"models": {"one": adnn.MLP()}}, "at least two entries"),
        ({"models": ["a", "b"]}, "a mapping from labels to models"),
        ({"models": {"a": adnn.MLP(), "b": 3}}, "model must be an MLP"),
        ({"models": {1: adnn.MLP(), 2: adnn.MLP()}}, r"texts as labels.*got \[1, 2\]\. Pass"),
        ({"models": {"": adnn.MLP(), "b": adnn.MLP()}}, "none of them empty; got"),
        ({"seeds": []}, "seeds must not be empty"),
        ({"margin": 2}, "margin must be"),
        ({"training": 3}, "must be a Training"),
    ],
)
def test_wrong_arguments_of_models_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        compare(**wrong)


@pytest.mark.slow
def test_command_line_takes_files_and_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    linear().save("one.keras")
    Path("nets.py").write_text("from test_compare_models import linear\n")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    arguments = ["compare-models", "one.keras", "<b>=nets:linear", "--seeds", "6", "--epochs", "1"]
    assert run([*arguments, "--report", "m.html"]) == 0
    output = capsys.readouterr().out
    assert "equivalent" in output
    assert run(["compare-models", "one.keras", "nets:linear", "a.keras"]) == 2
    assert run(["compare-models", "one.keras", "one.keras"]) == 2


@pytest.mark.slow
def test_models_of_a_regression_are_compared_by_r2() -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    data = adnn.Dataset.from_arrays(x, x.sum(axis=1), task="regression")
    training = quick_training(epochs=1)
    models = {"narrow": adnn.MLP((2,)), "wide": adnn.MLP((8,))}
    objective = adnn.InitOffsetObjective(models["narrow"], data, training=training)
    with pytest.warns(UserWarning, match="can decide nothing"):
        of_models = adnn.compare_models(models, data, training=training, seeds=range(2))
    with pytest.warns(UserWarning, match="can decide nothing"):
        of_samplers = adnn.compare(objective, ["greedy"], max_trial=2, seeds=range(2))
    for comparison in (of_models, of_samplers):
        text = format(comparison, "details").lower()
        assert "test r²" in text
        assert "accuracy" not in text


def small(seed: int) -> float:
    return float(np.random.default_rng([seed, 1]).normal(0.5, 0.01))


def wide(order: int, initialisation: int) -> float:
    return 0.1 * np.random.default_rng(order).random() + 0.01 * (initialisation % 7)


def wider(initialisation: int, *, order: int) -> float:
    return wide(order, initialisation) + 0.5


class TestFunctionsOfSeeds:
    def test_are_compared_by_their_returned_values(self) -> None:
        comparison = adnn.compare_models({"small": small, "wider": wider}, seeds=range(8))
        assert comparison.numbers.arms["small"] == [small(seed) for seed in range(8)]
        assert len(set(comparison.numbers.arms["wider"])) == 8
        assert comparison.differences()["verdict"].iloc[0] == "worse"
        assert [*comparison.differences().columns[-2:]] == ["verdict", "reason"]

    def test_share_seeds_of_sources_with_the_same_name(self) -> None:
        comparison = adnn.compare_models(
            {"wide": wide, "wider": wider}, seeds=range(6), margin=1.0
        )
        assert np.subtract(*[*comparison.numbers.arms.values()][::-1]) == pytest.approx([0.5] * 6)
        assert comparison.differences()["verdict"].iloc[0] == "equivalent"

    def test_later_seeds_do_not_count_after_a_failure_without_a_value(self) -> None:
        storage = optuna.storages.InMemoryStorage()

        def wide(seed: int) -> float:
            return math.nan if seed in (3, 7) else 0.9 + seed / 1000

        def small(seed: int) -> float:
            return 0.8 + seed / 1000

        def compared(**options: Any) -> ModelComparison:
            models = {"wide": wide, "small": small}
            return adnn.compare_models(models, seeds=range(12), storage=storage, **options)

        gap = compared()
        assert [*gap.differences()["pairs"]] == [3]
        for failed in (0.0, 0.5):
            comparison = compared(failed=failed)
            row = comparison.differences().iloc[0]
            expected = 0.1 + (2 * failed - 0.9 - 0.9 - 0.01) / 12
            assert (row["pairs"], row["difference"]) == (12, pytest.approx(expected))

    def test_resume_where_they_ended(self, storage: BaseStorage) -> None:
        seeds_of_calls: list[int] = []

        def counted(seed: int) -> float:
            seeds_of_calls.append(seed)
            if len(seeds_of_calls) == 4:
                raise KeyboardInterrupt
            return small(seed)

        settings: dict[str, Any] = {"seeds": range(6), "storage": storage}
        with pytest.raises(KeyboardInterrupt):
            adnn.compare_models({"a": counted, "b": small}, **settings)
        comparison = adnn.compare_models({"a": counted, "b": small}, **settings)
        assert len(seeds_of_calls) == 7
        assert comparison.numbers.arms["a"] == comparison.numbers.arms["b"]
        with pytest.raises(ValueError, match="must hold the same evaluations"):
            adnn.compare_models({"a": wide, "b": small}, **settings)

    def test_continue_after_a_death_between_any_two_attributes(self) -> None:
        functions = {"a": lambda seed: seed % 7, "b": lambda seed: seed % 5}
        options: Any = {"seeds": range(6), "storage": optuna.storages.InMemoryStorage()}
        whole = adnn.compare_models(functions, study_name="whole", **options)
        study = optuna.load_study(study_name="whole", storage=options["storage"])
        attrs = [*study.user_attrs.items()]
        for n in range(1, len(attrs)):
            name = f"first {n}"
            begun = optuna.create_study(
                study_name=name, storage=options["storage"], direction="maximize"
            )
            for attribute in attrs[:n]:
                begun.set_user_attr(*attribute)
            with pytest.raises(ValueError, match=rf"'{name}'"):
                load_result(options["storage"], name)
            continued = adnn.compare_models(functions, study_name=name, **options)
            assert continued.numbers.arms.keys() == whole.numbers.arms.keys()

    def test_are_compared_with_networks(self) -> None:
        models = {"network": adnn.MLP((8,)), "own": lambda seed: 0.5 + seed / 1000}
        comparison = compare(models)
        assert comparison.numbers.arms["own"] == [0.5 + seed / 1000 for seed in range(6)]
        assert comparison.numbers.arms["network"] == compare().numbers.arms["small"]
        assert "own" in str(comparison)

    def test_seeds_that_cannot_be_stored_are_refused_before_anything_is_stored(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        models = {"a": small, "b": wide}
        with pytest.raises(ValueError, match="seed must be below 2,147,483,648; got"):
            adnn.compare_models(models, seeds=[2**31, *range(6)], storage=storage)
        assert not optuna.get_all_study_names(storage)
        seeds = [2**31 - 1, *range(6)]
        assert adnn.compare_models(models, seeds=seeds, storage=storage).runs.seeds == (*seeds,)

    def test_settings_of_networks_and_wrong_models_are_refused(self) -> None:
        with pytest.raises(ValueError, match="must be omitted if all models are functions"):
            compare({"a": small, "b": wide})
        with pytest.raises(ValueError, match="training must be omitted"):
            adnn.compare_models({"a": small, "b": wide}, training=TRAINING)
        for model in (adnn.MLP(), lambda seed=0: seed, abs, max, lambda: 1.0):
            with pytest.raises(TypeError, match=r"models\['b'\] must have a parameter for a seed"):
                adnn.compare_models({"a": small, "b": model})
        with pytest.raises(ValueError, match="margin"):
            adnn.compare_models({"a": small, "b": wide}, margin=-1)


class TestSplits:
    @staticmethod
    def models() -> dict[str, Any]:
        def scored(split: int, start: int) -> float:
            return float(np.random.default_rng([split, start]).normal(0.8, 0.01))

        return {"a": scored, "b": lambda split, start: scored(split, start + 1)}

    def test_whether_they_are_redrawn_must_be_set(self) -> None:
        with pytest.raises(
            ValueError, match=r"got 'split'.*resampled=.*folds=True.*resampled=False"
        ):
            adnn.compare_models(self.models(), seeds=range(8))
        for options in ({"folds": True}, {"resampled": (80, 20)}):
            with pytest.raises(ValueError, match="must be omitted in a sequential design"):
                adnn.compare_models(self.models(), stop_when_decided=True, **options)
        networks = {"a": adnn.MLP((2,)), "b": adnn.MLP((3,))}
        with pytest.raises(ValueError, match="omitted for Keras models"):
            adnn.compare_models(networks, adnn.load_dataset("digits"), folds=True)
        adnn.measure_variance(self.models()["a"], 5)

    def test_that_overlap_have_wider_intervals(self) -> None:
        comparison = adnn.compare_models(self.models(), seeds=range(10), resampled=(80, 20))
        [row] = comparison.numbers.differences
        d = np.subtract(comparison.numbers.arms["a"], comparison.numbers.arms["b"])
        half = stats.t.isf(0.025, 9) * d.std(ddof=1) * math.sqrt(1 / 10 + 20 / 80)
        assert (row.low, row.high) == pytest.approx((d.mean() - half, d.mean() + half))
