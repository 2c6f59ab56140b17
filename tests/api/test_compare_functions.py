"""Comparisons of samplers on any Optuna objective."""

from __future__ import annotations

import functools
import itertools
import math
import os
import signal
import sys
import time
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from completed_trials import completed, kill_after
from optuna.trial import TrialState
from scipy import stats

import adnn_optuna as adnn
from adnn_optuna.api.stored import load_comparison
from adnn_optuna.cli.main import run

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

HERE = str(Path(__file__).parent)
PATHS = [HERE, str(Path(__file__).parents[1])]


def smooth(trial: Any, seed: int) -> float:
    """Return a noisy distance. The noise depends on the trial and its seed."""
    x = [trial.suggest_float(name, -5, 5) for name in "xyz"]
    return sum((value - 1) ** 2 for value in x) + 0.1 * float(np.random.default_rng(seed).normal())


def noise(trial: Any, seed: int) -> float:
    x = trial.suggest_float("x", 0, 1)
    return float(np.random.default_rng([seed, int(1e9 * x)]).normal())


def compare(function: Any = smooth, samplers: Any = ("annealing",), **changes: Any) -> Any:
    settings: dict[str, Any] = {"max_trial": 8, "seeds": range(6), **changes}
    return adnn.compare(function, samplers, **settings)


@functools.cache
def of_smooth() -> adnn.Comparison:
    return compare(seeds=range(8), max_trial=20)


class TestArms:
    def test_random_search_is_always_an_arm_and_the_reference(self) -> None:
        comparison = compare(samplers=("annealing", "greedy"), seeds=range(2), max_trial=3)
        assert [*comparison.results] == ["annealing", "greedy", "random"]
        table = comparison.differences()
        assert [*table.index] == [
            ("annealing", "random"),
            ("greedy", "random"),
            ("annealing", "greedy"),
        ]
        assert [*table["verdict"]] == ["inconclusive", "inconclusive", "no claim"]
        assert [*adnn.compare(smooth, max_trial=1, seeds=[0]).results] == [
            *("tpe", "annealing", "random")
        ]

    def test_a_sampler_that_learns_is_better_on_a_smooth_function(self) -> None:
        comparison = of_smooth()
        assert comparison.differences()["verdict"].loc[("annealing", "random")] == "better"
        text = " ".join(str(comparison).split())
        assert "quivalent" not in text
        assert "accuracy" not in text
        assert "restarts" not in text

    def test_a_difference_is_decided_within_twelve_seeds(self) -> None:
        comparison = compare(seeds=range(12), max_trial=20, stop_when_decided=True)
        assert 7 <= len(comparison.seeds) <= 12
        assert [*comparison.differences()["verdict"]] == ["better"]
        assert comparison.numbers.is_complete

    def test_factories_have_labels(self) -> None:
        def tpe(seed: int, n_trials: int | None) -> optuna.samplers.BaseSampler:
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=(n_trials or 0) // 2)

        comparison = compare(samplers={"mine": tpe, "luck": "random"}, max_trial=3, seeds=range(2))
        assert [*comparison.results] == ["mine", "luck"]
        assert comparison.numbers.reference == "luck"

    def test_maximizing_reverses_every_sign(self) -> None:
        whole = compare(seeds=range(3))
        turned = compare(
            lambda trial, seed: -smooth(trial, seed), seeds=range(3), direction="maximize"
        )
        assert turned.differences()["difference"].iloc[0] == pytest.approx(
            whole.differences()["difference"].iloc[0]
        )


class TestScores:
    def test_the_best_trial_is_evaluated_on_other_seeds(self) -> None:
        evaluations: list[tuple[bool, float, int]] = []

        def counted(trial: Any, seed: int) -> float:
            value = smooth(trial, seed)
            evaluations.append((isinstance(trial, optuna.Trial), value, seed))
            return value

        comparison = compare(counted, samplers=("random",), max_trial=4, seeds=[3], confirm=2)
        searched = [seed for is_searched, _, seed in evaluations if is_searched]
        fresh = [(value, seed) for is_searched, value, seed in evaluations if not is_searched]
        assert (len(set(searched)), len(fresh), len({seed for _, seed in fresh})) == (4, 2, 2)
        assert not {seed for _, seed in fresh} & {*searched}
        assert comparison.numbers.any_record.test_value == pytest.approx(
            np.mean([v for v, _ in fresh])
        )
        assert comparison.table()["best"].iloc[0] == comparison.numbers.any_record.study.best_value

    def test_arms_of_a_seed_have_the_same_noise(self) -> None:
        seeds: dict[int, list[int]] = {}

        def counted(trial: Any, seed: int) -> float:
            of_trial = trial.number if isinstance(trial, optuna.Trial) else -1
            seeds.setdefault(of_trial, []).append(seed)
            return smooth(trial, seed)

        compare(counted, samplers=("annealing",), max_trial=3, seeds=[5], confirm=1)
        assert all(len(values) == 2 and values[0] == values[1] for values in seeds.values())
        assert len(seeds) == 4

    def test_best_reported_value_is_called_so(self) -> None:
        comparison = compare(noise, confirm=0, max_trial=5)
        assert comparison.numbers.any_record.test_value == comparison.numbers.any_record.best_value

    def test_an_objective_without_a_seed_is_called_again(self) -> None:
        n_calls = [0]

        def unseeded(trial: Any) -> float:
            n_calls[0] += 1
            return trial.suggest_float("x", 0, 1) + n_calls[0]

        comparison = compare(unseeded, samplers=("random",), max_trial=2, seeds=[0], confirm=3)
        assert n_calls == [5]
        assert comparison.numbers.any_record.test_value > comparison.numbers.any_record.best_value

    def test_equivalent_is_said_only_with_a_margin(self) -> None:
        def again(seed: int, n_trials: int | None) -> optuna.samplers.BaseSampler:
            return optuna.samplers.RandomSampler(seed)

        same: dict[str, Any] = {"function": noise, "samplers": {"again": again}, "max_trial": 2}
        assert [*compare(**same).differences()["verdict"]] == ["inconclusive"]
        comparison = compare(**same, margin=0.1)
        assert [*comparison.differences()["verdict"]] == ["equivalent"]


class TestObjectives:
    def test_conditional_spaces_pruned_and_failed_trials(self) -> None:
        def objective(trial: Any) -> float:
            kind = trial.suggest_categorical("kind", ["a", "b"])
            x = trial.suggest_float(f"x_{kind}", 1e-3, 1, log=True)
            for step in range(3):
                trial.report(x + step, step)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return math.nan if x < 0.01 else x

        comparison = compare(
            objective,
            ("tpe", "annealing"),
            max_trial=12,
            seeds=range(3),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=1),
        )
        states = {
            t.state
            for runs in comparison.results.values()
            for r in runs
            for t in r.record.done_trials
        }
        assert states == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
        assert [*comparison.table()["trials"]] == [12, 12, 12]
        assert (comparison.table()["seconds"] > 0).all()
        assert math.isfinite(comparison.differences()["difference"].iloc[0])

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_an_infinite_penalty_is_told_to_the_sampler_as_in_optimize(
        self, direction: str
    ) -> None:
        sign = 1 if direction == "minimize" else -1

        def objective(trial: Any) -> float:
            x = trial.suggest_float("x", -1, 1)
            return sign * math.inf if x > 0 else -sign * math.inf if x < -0.9 else x

        comparison = compare(objective, ("tpe",), max_trial=12, seeds=[0], direction=direction)
        for [record] in comparison.results.values():
            plain = optuna.create_study(direction=direction)
            for trial in record.record.done_trials:
                value = objective(optuna.trial.FixedTrial(trial.params))
                is_told = value != -sign * math.inf
                assert (trial.value == value) is (trial.state == TrialState.COMPLETE) is is_told
                if is_told:
                    plain.add_trial(trial)
            assert record.best_value == plain.best_value

    @pytest.mark.parametrize(("value", "confirm"), [(math.nan, 5), (math.inf, 5), (math.inf, 0)])
    def test_seeds_after_a_run_without_a_value_do_not_count(
        self, value: float, confirm: int
    ) -> None:
        def objective(trial: Any) -> float:
            x = trial.suggest_float("x", 0, 1)
            return value if x < 2 else x

        comparison = compare(objective, max_trial=2, confirm=confirm)
        assert comparison.numbers.is_complete
        assert [*comparison.differences()["pairs"]] == [0]

    def test_failures_count_as_the_users_value(self) -> None:
        def objective(trial: Any, seed: int) -> float:
            fails = not isinstance(trial, optuna.Trial) and seed % 2 == 0
            return math.nan if fails else smooth(trial, seed)

        storage = optuna.storages.InMemoryStorage()
        options: Any = {"storage": storage, "confirm": 4, "max_trial": 3}
        gap = compare(objective, **options)
        assert gap.differences()["pairs"].iloc[0] < 6
        comparison = compare(objective, **options, failed=100.0)
        assert [*comparison.differences()["pairs"]] == [6]
        for search in comparison.numbers.runs:
            values = [100.0 if math.isnan(value) else value for value in search.new_values]
            assert search.test_value == pytest.approx(np.mean(values))
        again = adnn.resume(storage, "compare", objective=objective)
        assert again.differences().equals(comparison.differences())
        # The value that the user passes also counts for a run in which all trials failed.
        nothing = compare(lambda _: math.nan, max_trial=2, failed=100.0)
        assert [*nothing.differences()["pairs"]] == [6]
        assert {search.test_value for search in nothing.numbers.runs} == {100.0}

    def test_only_samplers_without_a_value_at_the_first_missing_seed_are_named(self) -> None:
        lost: list[float] = []

        def objective(trial: Any) -> float:
            x = trial.suggest_float("x", 0, 1)
            return math.inf if x in lost else x

        settings: Any = {"samplers": {"grid": optuna.samplers.GridSampler({"x": [0.1]})}}
        first, *_ = compare(objective, **settings, max_trial=1).results["random"]
        lost.append(first.best_value)
        comparison = compare(objective, **settings, max_trial=1)
        assert math.isfinite(comparison.table()["test_best"]["random"])
        assert "grid" not in comparison.document().conclusion

    @pytest.mark.filterwarnings("error")
    def test_huge_values_have_a_standard_deviation(self) -> None:
        def objective(trial: Any) -> float:
            return 1e300 * float(trial.suggest_float("x", 0, 1))

        settings: dict[str, Any] = {"max_trial": 1, "confirm": 0}
        sds = compare(objective, **settings).table()["test_best_std"]
        assert all(1e299 < sd < 1e300 for sd in sds)

    def test_no_seed_is_added_that_cannot_count(self) -> None:
        def objective(trial: Any, seed: int) -> float:
            return math.inf if trial.suggest_float("x", 0, 1) < 2 else seed

        comparison = compare(objective, max_trial=1, seeds=range(20), stop_when_decided=True)
        assert comparison.seeds == (0,)
        assert comparison.numbers.is_complete

    def test_no_sentence_is_about_every_sampler_if_one_has_no_value(self) -> None:
        def objective(trial: Any) -> float:
            x = trial.suggest_float("x", 0, 3)
            return math.inf if x == 3 else x

        worse, lost = (optuna.samplers.GridSampler({"x": [x]}) for x in (2.99, 3))
        settings: Any = {"max_trial": 1, "seeds": range(8)}
        assert compare(objective, {"a": worse}, **settings).document().verdict == "worse"
        document = compare(objective, {"a": worse, "b": lost}, **settings).document()
        assert document.verdict == "inconclusive"

    def test_an_error_ends_the_comparison_and_finished_trials_are_kept(
        self, storage: BaseStorage
    ) -> None:
        has_failed: list[int] = []

        def objective(trial: Any, seed: int) -> float:
            if not has_failed and trial.number == 2:
                has_failed.append(1)
                raise RuntimeError("no")
            return smooth(trial, seed)

        # CMA-ES draws by trial numbers, which change if a trial is lost.
        settings: dict[str, Any] = {"samplers": ("cmaes",), "max_trial": 4, "seeds": [0]}
        with pytest.raises(RuntimeError, match="no"):
            compare(objective, storage=storage, **settings)
        again = compare(objective, storage=storage, **settings)
        assert values_of(again) == values_of(compare(**settings))


def values_of(comparison: adnn.Comparison) -> dict[str, list[Any]]:
    return {
        label: [(completed(run.study), run.record.test_value) for run in runs]
        for label, runs in comparison.results.items()
    }


class TestGoingOn:
    def test_a_comparison_says_the_same_after_interrupts(self, url: str) -> None:
        n_calls = [0]

        def interrupted(trial: Any, seed: int) -> float:
            n_calls[0] += 1
            if n_calls[0] % 5 == 0:
                os.kill(os.getpid(), signal.SIGINT)
            return smooth(trial, seed)

        settings: dict[str, Any] = {"max_trial": 4, "seeds": range(2), "confirm": 2}
        n_interrupts = 0
        while True:
            try:
                comparison = compare(interrupted, storage=url, **settings)
                break
            except KeyboardInterrupt:
                n_interrupts += 1
        assert n_interrupts >= 4
        whole = compare(**settings)
        assert values_of(comparison) == values_of(whole)
        assert differences_of(comparison) == differences_of(whole)

    @pytest.mark.slow
    def test_a_comparison_of_a_function_is_resumed_by_name_with_its_function(
        self, url: str
    ) -> None:
        settings: dict[str, Any] = {"seeds": range(2), "max_trial": 2, "storage": url}
        first = compare(**settings, confirm=1, margin=0.5)
        loaded = load_comparison(url, "compare")
        assert differences_of(loaded) == differences_of(first)
        assert loaded.margin == 0.5
        longer = adnn.resume(url, "compare", objective=smooth, max_trial=3)
        assert [*longer.table()["trials"]] == [3, 3]
        with pytest.raises(ValueError, match=r"Comparison .* does not store its function"):
            adnn.resume(url, "compare")
        with pytest.raises(ValueError, match="with confirm=1 as before; got confirm=2"):
            compare(**settings, confirm=2)

    def test_the_threads_of_an_executor_are_interrupted(self, url: str) -> None:
        def interrupted(trial: Any) -> float:
            if trial.number == 2:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
            return float(trial.suggest_float("x", 0, 1))

        with futures.ThreadPoolExecutor(1) as threads, pytest.raises(KeyboardInterrupt):
            compare(interrupted, storage=url, executor=threads, max_trial=40, seeds=range(2))
        studies = optuna.get_all_study_summaries(url)
        assert sum(study.n_trials for study in studies) < 10

    @pytest.mark.slow
    def test_killed_ten_times_a_comparison_says_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "c.db"
        url = f"sqlite:///{path}"
        code = (
            f"import sys, time; sys.path[:0] = {PATHS!r}; import test_compare_functions as t\n"
            "def slow(trial, seed):\n"
            "    time.sleep(0.02)\n"
            "    return t.smooth(trial, seed)\n"
            f"t.compare(slow, ('annealing', 'tpe'), max_trial=10, storage={url!r})"
        )
        kill_after(code, path, range(10, 160, 15))  # All runs together have 180 trials.
        comparison = compare(samplers=("annealing", "tpe"), max_trial=10, storage=url, reuse=True)
        whole = compare(samplers=("annealing", "tpe"), max_trial=10)
        assert values_of(comparison) == values_of(whole)
        assert differences_of(comparison) == differences_of(whole)


def differences_of(comparison: adnn.Comparison) -> str:
    return comparison.differences().to_csv()


def test_a_warning_of_few_seeds_names_the_calling_line() -> None:
    with pytest.warns(UserWarning, match="1 seed can decide nothing about the samplers") as warned:
        compare(seeds=range(1), max_trial=1, confirm=0)
    assert {warning.filename for warning in warned} == {__file__}


def test_page_figure_and_plan_of_functions(tmp_path: Path) -> None:
    comparison = of_smooth()
    comparison.report(tmp_path / "c.html")
    page = format(comparison, "markdown")
    for sentence in ("annealing vs random", "on new seeds", "Budgets are equal in trials"):
        assert sentence in page
    for not_said in ("network", "restarts", "unknown", "accuracy"):
        assert not_said not in page
    figure = comparison.plot("trials")
    bests = [run.best_value for run in comparison.results["annealing"]]
    [line] = [trace for trace in figure.data if trace.name == "annealing"]
    assert line.y[-1] == pytest.approx(np.mean(bests), abs=1e-5)
    assert comparison.plan(1.0).seeds >= 6


def test_equal_samplers_are_seldom_said_to_differ() -> None:
    """The worst case is computed by the slow test below."""
    comparison = compare(noise, samplers=seeded(3), max_trial=3, seeds=range(8))
    assert {*comparison.differences()["verdict"]} <= {"inconclusive", "no claim"}


def seeded(n: int) -> dict[str, Any]:
    """Return random search under several names; each name has its own proposals."""

    def factory(i: int) -> Any:
        return lambda seed, _: optuna.samplers.RandomSampler(seed=seed + i)

    return {f"r{i}": factory(i + 1) for i in range(n)}


@pytest.mark.slow
@pytest.mark.parametrize("stop_when_decided", [False, True])
def test_random_search_under_six_names(*, stop_when_decided: bool) -> None:
    n, wrong = 200, 0
    for i in range(n):
        settings: Any = {"max_trial": 2, "confirm": 1, "stop_when_decided": stop_when_decided}
        comparison = compare(noise, seeded(6), seeds=range(100 * i, 100 * i + 10), **settings)
        wrong += bool(comparison.differences()["verdict"].isin(["better", "worse"]).any())
    assert wrong <= n * 0.05 + 2 * math.sqrt(n * 0.05 * 0.95)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"samplers": ("random_restart",)}, "samplers must be"),
        (
            {"samplers": {"random": "tpe"}},
            "Label 'random' must be of the sampler that is always compared",
        ),
        ({"samplers": ("none",)}, "samplers must be one of"),
        ({"samplers": ()}, "samplers must not be empty"),
        ({"controls": ("longer",)}, "controls must be omitted for a function"),
        ({"direction": "up"}, "direction must be"),
        ({"pruner": 3}, "pruner must be"),
        ({"function": lambda: 1.0}, r"must take \(trial\)"),
        ({"function": lambda trial: "x"}, r"must return a number; got 'x'\. Return the score"),
    ],
)
def test_wrong_arguments_of_functions_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        compare(**{"max_trial": 2, "seeds": range(2), **wrong})


def test_command_line_compares_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [HERE, *sys.path])
    arguments = ["compare", "test_compare_functions:smooth", "--samplers", "annealing,tpe"]
    arguments += ["--max-trial", "2", "--seeds", "2", "--quiet"]
    assert run([*arguments, "--report", "c.html", "--confirm", "1"]) == 0
    assert Path("c.html").exists()
    assert run(["plan", "adnn.db", "compare-test_compare_functions:smooth", "--gain", "1"]) == 0
    assert run([*arguments, "--direction", "maximize"]) == 2
    assert run([*arguments, "--hidden", "3"]) == 2
    assert run(["compare", "test_compare_functions", "--max-trial", "3"]) == 2


def test_whether_seeds_redraw_splits_must_be_set() -> None:
    def objective(trial: Any, split: int) -> float:
        noise = np.random.default_rng([split, trial.number]).normal(0, 0.1)
        return float(trial.suggest_float("x", 0, 1) ** 2 + noise)

    options: Any = {"samplers": ["annealing"], "max_trial": 4, "confirm": 1, "seeds": range(8)}
    with pytest.raises(ValueError, match=r"got 'split'.*resampled=.*folds=True.*resampled=False"):
        adnn.compare(objective, **options)
    [alone] = adnn.compare(objective, folds=True, **options).numbers.paired_differences
    comparison = adnn.compare(objective, resampled=(50, 50), **options)
    [row] = comparison.numbers.paired_differences
    assert row.mean == alone.mean
    assert row.high - row.low > alone.high - alone.low
    # Each value is a mean over three splits, but any two splits overlap as much as before.
    comparison = adnn.compare(objective, resampled=(80, 20), **{**options, "confirm": 3})
    [row] = comparison.numbers.paired_differences
    by_arm = {
        label: np.array([run.record.new_values for run in runs])
        for label, runs in comparison.results.items()
    }
    differences = by_arm[row.arm] - by_arm[row.other]
    variance = differences.mean(axis=1).var(ddof=1) / 8
    variance += differences.var(axis=1, ddof=1).mean() * 20 / 80
    assert row.high - row.mean == pytest.approx(stats.t.isf(0.025, 7) * variance**0.5)


def of_split(trial: Any, split: int) -> float:
    return float(trial.suggest_float("x", 0, 1) + split % 10 / 100)


def test_split_sizes_are_set_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [HERE, *sys.path])
    arguments = ["compare", "test_compare_functions:of_split", "--samplers", "annealing"]
    arguments += ["--max-trial", "2", "--seeds", "6", "--confirm", "1", "--quiet"]
    arguments += ["--storage", "sqlite://"]
    assert run(arguments) == 2
    for resampled, is_corrected in (("800,200", True), ("False", False)):
        assert run([*arguments, "--resampled", resampled]) == 0
        assert ("new data" in capsys.readouterr().out) == is_corrected
    assert run([*arguments, "--resampled", "0.2"]) == 2


@pytest.mark.tensorflow
def test_networks_have_no_folds() -> None:
    network = adnn.InitOffsetObjective(adnn.MLP((2,)), adnn.load_dataset("digits"))
    with pytest.raises(ValueError, match="folds must be omitted for a network"):
        adnn.compare(network, max_trial=1, folds=True)


class TestErrors:
    def test_caught_errors_end_their_own_trial_which_counts(self) -> None:
        def fails(trial: Any) -> float:
            if (x := trial.suggest_float("x", 0, 1)) > 0.5:
                raise ValueError
            return float(x)

        options: Any = {"function": fails, "max_trial": 6, "seeds": range(2)}
        comparison = compare(**options, catch=ValueError)
        for searched in itertools.chain(*comparison.results.values()):
            trials = searched.study.trials
            assert len(trials) == 6
            assert searched.stop_reason == "max_trial"
            ended = [trial.params["x"] <= 0.5 for trial in trials]
            assert [trial.state == TrialState.COMPLETE for trial in trials] == ended
        with pytest.raises(ValueError):  # noqa: PT011 - it says nothing.
            compare(**options, catch=[KeyError])

    def test_errors_of_the_storage_and_wrong_values_are_raised(self) -> None:
        with pytest.raises(TypeError, match="must return a number"):
            compare(lambda _: "good", catch=Exception)

        def is_locked(_: Any) -> float:
            raise optuna.exceptions.StorageInternalError("disk I/O error")

        with pytest.raises(optuna.exceptions.StorageInternalError):
            compare(is_locked, catch=Exception)


@pytest.mark.parametrize("attributes", [{}, {"mine": 1}])
def test_a_head_that_says_nothing_is_declared(attributes: Any) -> None:
    """A worker may die after it created the study and before it declares the study's kind."""
    storage = optuna.storages.InMemoryStorage()
    head = optuna.create_study(storage=storage, study_name="compare")
    for name, value in attributes.items():
        head.set_user_attr(name, value)
    comparison = compare(storage=storage, max_trial=2, seeds=range(2))
    assert "adnn:comparison" in head.user_attrs
    assert (
        comparison.differences().shape == compare(max_trial=2, seeds=range(2)).differences().shape
    )


def test_a_study_of_another_kind_is_not_taken_for_the_comparison() -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="to maximize", direction="maximize")
    optuna.create_study(storage=storage, study_name="of two", directions=["minimize"] * 2)
    optuna.create_study(storage=storage, study_name="begun").optimize(lambda _: 0.0, n_trials=1)
    for name, sentence in (
        ("to maximize", "direction must be maximize, as in study"),
        ("of two", "must have one objective; got 2"),
        ("begun", "must be a comparison"),
    ):
        with pytest.raises(ValueError, match=sentence):
            compare(storage=storage, study_name=name, max_trial=2, seeds=range(2))
        assert not optuna.load_study(study_name=name, storage=storage).user_attrs


def test_a_comparison_is_not_taken_for_a_single_study() -> None:
    storage = optuna.storages.InMemoryStorage()
    compare(storage=storage, study_name="compared", max_trial=2, seeds=range(2))
    study = optuna.load_study(study_name="compared", storage=storage)
    for call in (
        lambda: adnn.recheck(study, lambda trial, seed: 0.0),
        lambda: adnn.overtuning(study),
    ):
        with pytest.raises(ValueError, match="single study; got the comparison 'compared'"):
            call()
