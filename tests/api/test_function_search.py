"""Searches of any Optuna objective, with replicates of their best configurations."""

from __future__ import annotations

import collections
import functools
import math
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from completed_trials import kill_after
from optuna.trial import TrialState

import adnn_optuna as adnn
from adnn_optuna._attributes import REPLICATE
from adnn_optuna.engine.storages import open_storage

PATHS = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


def noisy(trial: Any, seed: int) -> float:
    """Return a loss with noise; the best configuration is x = 0.3, kind = b."""
    x = trial.suggest_float("x", 0, 1)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    noise = np.random.default_rng([seed, int(1e6 * x)]).normal()
    return float((x - 0.3) ** 2 + 0.2 * (kind == "a") + 0.1 * noise)


def search(objective: Any = noisy, sampler: Any = "random", **options: Any) -> Any:
    return adnn.search(objective, sampler, **{"max_trial": 30, "replicate": 0.2, **options})


def outcomes_of(result: Any) -> list[Any]:
    """Return the finished trials in a form without their numbers."""
    return [
        (trial.params, trial.values, bool(trial.system_attrs.get(REPLICATE)))
        for trial in result.record.done_trials
    ]


class TestSearch:
    def test_replicates_have_their_share_and_never_exceed_max_trial(self) -> None:
        calls = collections.Counter[bool]()

        def counted(trial: Any, seed: int) -> float:
            calls[isinstance(trial, optuna.Trial)] += 1
            return noisy(trial, seed)

        result = search(counted)
        replicates = [t for t in result.study.trials if REPLICATE in t.system_attrs]
        assert len(replicates) == 6
        # Evaluations of the recommended parameters on new seeds are additional.
        assert calls == {True: 30, False: 10}
        assert [t.number for t in replicates] == [*range(24, 30)]

    def test_recommends_the_best_mean_of_two_values_and_evaluates_it_on_new_seeds(self) -> None:
        result = search(max_trial=60)
        means = {n: np.mean(values) for n, values in result.replicates.items()}
        assert all(len(values) >= 2 for values in result.replicates.values())
        best = min(means, key=lambda n: float(means[n]))
        assert result.best.number == best
        assert result.best_params == result.study.trials[best].params
        assert sorted(result.replicates[best]) == sorted(
            t.value for t in result.study.trials if t.params == result.best_params
        )
        value, low, high = result.value
        assert low < value < high
        assert result.record.new_values
        assert value == pytest.approx(np.mean(result.record.new_values))
        title = result.document().title
        assert title == f"search: trial {best} averages {value:.3f} on 10 new seeds"
        assert str(result).count("new seeds (lower is better)") == 1

    def test_its_value_is_unbiased_where_the_best_value_is_not(self) -> None:
        """All configurations are equal, so every gain is selection bias."""

        def nothing(trial: Any, seed: int) -> float:
            trial.suggest_float("x", 0, 1)
            return float(np.random.default_rng(seed).normal())

        results = [search(nothing, "random", seed=seed) for seed in range(30)]
        values = np.array([result.value.value for result in results])
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(30)
        assert np.mean([result.study.best_value for result in results]) < -1.5
        covered = [result.value.low <= 0 <= result.value.high for result in results]
        assert sum(covered) >= 25

    def test_repeated_proposals_of_the_sampler_count_as_replicates(self) -> None:
        def coin(trial: Any, seed: int) -> float:
            trial.suggest_categorical("kind", ["a"])
            return float(np.random.default_rng(seed).normal())

        result = search(coin, "random")
        assert result.replicates == {0: [trial.value for trial in result.record.done_trials]}
        # Trial 0, the recommended trial, has the same parameters as the best value's trial.

    def test_without_a_seed_there_are_no_replicates(self) -> None:
        result = adnn.search(lambda trial: trial.suggest_float("x", 0, 1) ** 2, max_trial=60)
        assert result.replicates == {}
        assert result.best == result.study.best_trial
        assert result.value.value == result.study.best_value
        assert math.isnan(result.value.low)

    @pytest.mark.parametrize(("max_trial", "n_replicates"), [(49, 0), (50, 10)])
    def test_long_searches_have_replicates_by_default(
        self, max_trial: int, n_replicates: int
    ) -> None:
        result = search(max_trial=max_trial, replicate="auto", sampler="random", confirm=0)
        replicates = [t for t in result.study.trials if REPLICATE in t.system_attrs]
        assert len(replicates) == n_replicates

    def test_a_search_maximizes(self) -> None:
        result = search(lambda trial, seed: -noisy(trial, seed), direction="maximize")
        assert abs(result.best_params["x"] - 0.3) < 0.5
        assert result.best.number in result.replicates

    def test_the_next_step_compares_values_of_the_same_meaning(self) -> None:
        options = {"direction": "maximize", "resampled": (80, 20), "failed": 0.5}
        step = search(max_trial=8, confirm=2, **options).document().next_step
        arguments = 'direction="maximize", max_trial=8, resampled=(80, 20), failed=0.5'
        assert step.python == f"adnn.compare(noisy, {arguments})"
        shell_options = "--max-trial 8 --direction maximize --resampled 80,20 --failed 0.5"
        assert step.shell == f"adnn compare MODULE:FUNCTION {shell_options}"
        minimized = search(max_trial=8, confirm=2).document().next_step
        assert minimized.python == "adnn.compare(noisy, max_trial=8)"

    @pytest.mark.parametrize("sampler", ["tpe", "annealing", "random", "cmaes"])
    def test_the_next_step_compares_any_named_sampler(self, sampler: str) -> None:
        result = search(sampler=sampler, max_trial=4, confirm=2, replicate=0.0)
        next_step = result.document().next_step
        comparison = eval(next_step.python, {"adnn": adnn, "noisy": noisy})
        assert {sampler, "random"} <= comparison.results.keys()

    def test_the_next_step_with_an_own_sampler_is_advice(self) -> None:
        sampler = optuna.samplers.RandomSampler(seed=0)
        step = search(sampler=sampler, max_trial=4, confirm=2).document().next_step
        assert step.label(step.python) == "Advice"
        assert "your sampler" in step.python
        assert step.in_shell == step.python

    def test_the_next_step_compares_in_the_same_storage(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'a.db'}"
        step = search(max_trial=8, confirm=2, storage=url).document().next_step
        assert step.shell == f"adnn compare MODULE:FUNCTION --max-trial 8 --storage {url}"

    @pytest.mark.parametrize("confirm", [0, 2])
    def test_the_next_step_is_a_command_only_if_the_function_has_a_name(
        self, confirm: int, tmp_path: Path
    ) -> None:
        url = f"sqlite:///{tmp_path / 'a.db'}"
        unnamed = search(functools.partial(noisy), max_trial=8, confirm=confirm, storage=url)
        named = search(max_trial=8, confirm=confirm).document().next_step
        assert eval(named.python, {"adnn": adnn, "noisy": noisy, "result": unnamed})
        step = unnamed.document().next_step
        assert [step.label(text) for text in (step.python, step.in_shell)] == ["Advice", "Advice"]

    def test_a_search_that_is_stale_ends_with_its_share_of_replicates(self) -> None:
        result = search(max_trial=200, max_stale=10, confirm=0)
        n_replicates = sum(REPLICATE in t.system_attrs for t in result.study.trials)
        n_searched = len(result.record.done_trials) - n_replicates
        assert result.stop_reason == "max_stale"
        assert n_replicates == round(n_searched / 4)
        values = [t.value for t in result.record.done_trials if REPLICATE not in t.system_attrs]
        assert min(values[:-10]) <= min(values[-10:])

    def test_means_of_the_largest_values_do_not_overflow(self) -> None:
        def huge(trial: Any, seed: int) -> float:
            return float((trial.suggest_float("x", 0, 1) + seed % 2) * 8e307)

        result = search(huge, "random", max_trial=20, replicate=0.5)
        assert any(len(values) > 2 for values in result.replicates.values())
        assert 0 < result.value.value < 1.6e308

    def test_failed_and_pruned_trials_count_and_are_not_recommended(self) -> None:
        def often_fails(trial: Any, seed: int) -> float:
            value = noisy(trial, seed)
            if trial.params["x"] < 0.5:
                raise ValueError("no")
            return value

        result = search(often_fails, "random", catch=ValueError)
        assert len(result.record.done_trials) == 30
        assert result.best_params["x"] >= 0.5
        n_failed = sum(trial.value is None for trial in result.record.done_trials)
        assert f"{n_failed} of 24 proposed trials failed: they have no value." in str(result)
        assert "catch=ValueError)" in str(result)  # The advice runs as printed.

    def test_a_failed_replicate_says_why_a_good_mean_is_not_recommended(self) -> None:
        def fails_again(trial: Any, seed: int) -> float:
            value = noisy(trial, seed)
            n_calls[trial.params["x"]] += 1
            if n_calls[trial.params["x"]] == 3:
                raise ValueError("no")
            return value

        n_calls = collections.Counter[float]()
        result = search(fails_again, catch=ValueError, confirm=0)
        assert "a replicate failed" in format(result, "details")

    def test_only_infinite_values_are_not_called_equal(self) -> None:
        def penalized(trial: Any) -> float:
            return math.inf + trial.suggest_float("x", 0, 1)

        result = search(penalized, max_trial=3, replicate="auto")
        assert "same value" not in format(result, "details")

    def test_after_an_interrupt_the_printed_call_continues(
        self, tmp_path: Path, logs: pytest.LogCaptureFixture
    ) -> None:
        def interrupted(trial: Any) -> float:
            if trial.number == 2:
                raise KeyboardInterrupt
            return float(trial.suggest_float("x", 0, 1))

        def whole(trial: Any) -> float:
            return float(trial.suggest_float("x", 0, 1))

        optuna.logging.set_verbosity(optuna.logging.INFO)
        url = f"sqlite:///{tmp_path / 's.db'}"
        options: Any = {"max_trial": 5, "pruner": optuna.pruners.MedianPruner()}
        with pytest.raises(KeyboardInterrupt):
            adnn.search(
                interrupted,
                optuna.samplers.RandomSampler(),
                storage=url,
                study_name="s",
                **options,
            )
        [call] = re.findall(r"adnn_optuna\.resume\(.*\)", logs.text)
        assert call.endswith("'s', objective=..., sampler=..., pruner=...)")
        resumed = adnn.resume(
            url,
            "s",
            objective=whole,
            sampler=optuna.samplers.RandomSampler(),
            pruner=options["pruner"],
            reuse=True,
        )
        assert len(resumed.record.done_trials) == 5

    def test_an_infeasible_trial_has_no_best_value(self) -> None:
        def constrained(trial: Any, seed: int) -> float:
            x = trial.suggest_float("x", 0, 1)
            trial.set_constraint("at least a half", 0.5 - x)
            return float(x)

        result = search(constrained, "random")
        assert min(trial.value for trial in result.record.trials) < 0.5
        assert min(result.record.values) >= 0.5
        number = result.study.best_trial.number
        [best] = [line for line in str(result).splitlines() if "best value" in line]
        assert best.endswith(f"trial {number}, selected")

    def test_a_title_says_search_unless_there_is_a_study_name(self) -> None:
        title = str(search(max_trial=2, confirm=0)).partition("  ")[0]
        assert re.fullmatch(r"search: best value \S+, not measured on new seeds", title)
        assert str(search(max_trial=2, confirm=0, study_name="s")).startswith("s: ")

    def test_failed_new_seeds_are_said_and_not_replaced(self) -> None:
        def failing(share: float) -> Any:
            def loss(trial: Any, seed: int) -> float:
                value = noisy(trial, seed)
                is_new = not isinstance(trial, optuna.Trial)
                return (
                    math.nan if is_new and np.random.default_rng(seed).random() < share else value
                )

            return search(loss, "random", max_trial=12)

        result = failing(0.5)
        n_failed = sum(map(math.isnan, result.record.new_values))
        assert 0 < n_failed < 10
        finite_values = [value for value in result.record.new_values if not math.isnan(value)]
        assert result.value.value == pytest.approx(np.mean(finite_values))
        assert math.isnan(result.value.low)

        result = failing(1.0)
        assert math.isnan(result.value.value)
        assert str(result).startswith("search: no value on 10 new seeds ")

    def test_failures_keep_the_users_value_in_later_calls(self) -> None:
        def loss(trial: Any, seed: int) -> float:
            fails = np.random.default_rng(seed).random() < 0.3
            return math.nan if fails else noisy(trial, seed)

        storage = open_storage("sqlite://")
        options: Any = {"storage": storage, "study_name": "s", "max_trial": 40, "replicate": 0.4}
        lost = search(loss, "random", **options)
        assert math.isnan(lost.value.low)
        for failed in (9.0, 5.0):
            result = search(loss, "random", **options, failed=failed)
            values = [failed if math.isnan(value) else value for value in result.record.new_values]
            assert result.value.value == pytest.approx(np.mean(values))
            assert result.value.low < result.value.value < result.value.high
            assert any(failed in values for values in result.replicates.values())
        # The study stores the value.
        assert adnn.resume(storage, "s", objective=loss).value == result.value
        network: Any = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
        with pytest.raises(ValueError, match="failed must be omitted for a network"):
            adnn.search(network, max_trial=1, failed=0.0)

    def test_best_value_is_the_value_of_the_study_and_of_a_recheck(self) -> None:
        for seed in range(4):
            result = search(max_trial=60, replicate=0.5, seed=seed)
            best = result.study.best_trial
            report = adnn.recheck(result.study, noisy, top=1, choose=1, confirm=2)
            assert report.numbers.best.number == best.number
            assert result.best_value == best.value
            assert f"{best.value:.4f}" in format(result, "details")
            note = f"Trial {best.number} has the study's best single value"
            assert (note in str(result)) == (best.params != result.best_params)

    def test_equal_values_on_new_seeds_do_not_show_that_all_seeds_agree(self) -> None:
        result = search(
            lambda trial, seed: trial.suggest_int("n", 0, 10) / 10 + 0 * seed, "random"
        )
        assert math.isnan(result.value.low)
        note = "At 95% confidence, at most 26% of seeds give another value."
        assert note in " ".join(str(result).split())

    def test_a_function_that_always_fails_has_no_learning_rate(self) -> None:
        def failing(trial: Any) -> float:
            raise ZeroDivisionError

        result = search(failing, "random", catch=ZeroDivisionError, max_trial=3, replicate=0)
        assert result.best is None
        assert "learning rate" not in str(result)


class TestLooks:
    def test_other_searches_of_the_function_are_counted(self) -> None:
        storage = open_storage("sqlite://")
        options: Any = {"storage": storage, "max_trial": 10, "sampler": "random"}
        search(**options, study_name="a")
        search(lambda trial, seed: noisy(trial, seed + 1), **options, study_name="other")
        adnn.compare(noisy, ["annealing"], max_trial=3, seeds=range(2), storage=storage)
        for n, name in ((2, "b"), (3, "c"), (3, "a")):
            result = search(**options, study_name=name)
            note = f"holds {n} searches of this function. If you choose one by its value"
            assert note in " ".join(str(result).split())


class TestResume:
    def test_a_higher_limit_continues_the_search_and_adds_replicates(self) -> None:
        storage = open_storage("sqlite://")
        search(storage=storage, study_name="s", confirm=0)
        result = adnn.resume(storage, "s", objective=noisy, max_trial=60, confirm=3)
        assert len(result.record.new_values) == 3
        n_replicates = sum(REPLICATE in t.system_attrs for t in result.study.trials)
        assert (len(result.record.done_trials), n_replicates) == (60, 12)

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_resuming_uses_as_many_threads_as_the_search(self, n_jobs: int) -> None:
        threads = set[str]()

        def counted(trial: Any, seed: int) -> float:
            threads.add(threading.current_thread().name)
            time.sleep(0.01)
            return noisy(trial, seed)

        storage = open_storage("sqlite://")
        options: Any = {"storage": storage, "study_name": "s", "batch_size": 4, "confirm": 0}
        search(counted, "random", **options, n_jobs=n_jobs, max_trial=4, replicate=0)
        threads.clear()
        adnn.resume(storage, "s", objective=counted, max_trial=12)
        assert len(threads) == n_jobs

    def test_resuming_without_the_function_says_where_to_pass_it(self) -> None:
        storage = open_storage("sqlite://")
        search(storage=storage, study_name="s", max_trial=2, confirm=0)
        with pytest.raises(
            ValueError,
            match=r"'s' does not store its function\. .* pass the function to resume, or run",
        ):
            adnn.resume(storage, "s")
        optuna.create_study(storage=storage, study_name="own").optimize(lambda _: 1.0, n_trials=1)
        with pytest.raises(ValueError, match=r"To continue it, use study\.optimize"):
            adnn.resume(storage, "own", sampler="random")

    @pytest.mark.parametrize("replicate", [0, 0.2])
    def test_earlier_replicates_never_exceed_max_trial(self, replicate: float) -> None:
        options: Any = {"storage": open_storage("sqlite://"), "study_name": "s", "confirm": 0}
        search(replicate=0.5, max_trial=20, **options)
        result = search(replicate=replicate, max_trial=22, **options)
        assert len(result.record.done_trials) == 22

    @pytest.mark.slow
    def test_killed_and_resumed_search_equals_an_undisturbed_one(self, tmp_path: Path) -> None:
        path = tmp_path / "kills.db"
        url = f"sqlite:///{path}"
        code = (
            f"import sys, time; sys.path[:0] = {PATHS!r}; import test_function_search as t\n"
            "def slow(trial, seed):\n"
            "    time.sleep(0.05)\n"
            "    return t.noisy(trial, seed)\n"
            f"t.search(slow, 'annealing', storage={url!r}, study_name='s')"
        )
        kill_after(code, path, (5, 20, 25, 28))
        result = search(sampler="annealing", storage=url, study_name="s", reuse=True)
        whole = search(sampler="annealing")
        assert outcomes_of(result) == outcomes_of(whole)
        assert result.value == whole.value

    @pytest.mark.parametrize(
        ("objective", "said"),
        [
            (
                lambda trial, seed: trial.suggest_float("y", 0, 1),
                "must use the parameters .*; got 'y' of Float",
            ),
            (
                lambda trial, seed: trial.suggest_int("x", 0, 1),
                "must suggest a parameter from the same kind .*; got 'x' of Int",
            ),
        ],
    )
    def test_a_function_with_other_parameters_is_refused(
        self, objective: Any, said: str, url: str
    ) -> None:
        options: Any = {"storage": url, "study_name": "s"}
        search(max_trial=10, confirm=0, **options)
        with pytest.raises(ValueError, match=f"^The function {said}"):
            search(objective, max_trial=15, reuse=True, catch=Exception, **options)

    @pytest.mark.slow
    def test_workers_repeat_no_replicate(self, tmp_path: Path) -> None:
        path = tmp_path / "workers.db"
        url = f"sqlite:///{path}"
        code = (
            f"import sys; sys.path[:0] = {PATHS!r}; import test_function_search as t\n"
            f"t.search(t.noisy, 'annealing', max_trial=60, replicate=0.5, storage={url!r}, "
            "study_name='s')"
        )
        workers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
        assert [worker.wait() for worker in workers] == [0, 0, 0]
        options: Any = {"max_trial": 60, "replicate": 0.5, "study_name": "s"}
        result = search(sampler="annealing", storage=url, **options)
        replicates = [
            t.system_attrs[REPLICATE]
            for t in result.record.done_trials
            if REPLICATE in t.system_attrs
        ]
        places = [(replicate["trial"], replicate["repetition"]) for replicate in replicates]
        assert (len(result.record.done_trials), len(places), len({*places})) == (60, 30, 30)


class TestExecutors:
    def test_threads_propose_the_same_at_any_timing(self) -> None:
        def uneven(trial: Any, seed: int) -> float:
            time.sleep(0.001 * (seed % 7))
            return noisy(trial, seed)

        first, second = (search(f, "annealing", n_jobs=3) for f in (uneven, noisy))
        assert outcomes_of(first) == outcomes_of(second)


class TestCompare:
    def test_an_arm_may_have_replicates_at_an_equal_budget(self) -> None:
        samplers = {"plain": "random", "replicates": ("random", 0.3)}
        comparison = adnn.compare(noisy, samplers, max_trial=20, seeds=range(3))
        for label, n_replicates in (("plain", 0), ("replicates", 6)):
            for record in comparison.results[label]:
                replicates = [t for t in record.record.done_trials if REPLICATE in t.system_attrs]
                assert (len(record.record.done_trials), len(replicates)) == (20, n_replicates)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"replicate": 1.0}, ValueError, "replicate must be at least 0 and below 1; got 1.0"),
        ({"replicate": "often"}, TypeError, "replicate must be a number; got 'often'"),
        ({"sampler": "random_restart"}, ValueError, "sampler must be one of"),
        ({"direction": "up"}, ValueError, "direction must be 'minimize' or 'maximize'"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"max_trial": 2**64}, ValueError, "max_trial must be below"),
        ({"confirm": -1}, ValueError, "confirm must be a whole number of at least 0; got -1"),
        ({"confirm": 10**6}, ValueError, "confirm must be below 1,000,000; got 1000000"),
        ({"confirm": "x"}, ValueError, "confirm must be a whole number"),
        ({"batch_size": 10**6}, ValueError, "batch_size must be below 1,000,000"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be"),
    ],
)
def test_wrong_input_leaves_no_study(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    storage = open_storage("sqlite://")
    with pytest.raises(error, match=said):
        search(storage=storage, study_name="s", **options)
    assert not optuna.get_all_study_names(storage)


@pytest.mark.parametrize("path", [3, None])
def test_a_report_needs_a_file_name(path: Any) -> None:
    result = search(max_trial=2, confirm=0)
    with pytest.raises(TypeError, match="path must be the name of a file; got"):
        result.report(path)


def test_values_that_are_not_objectives_are_refused() -> None:
    sentence = (
        r"objective must be an InitOffsetObjective, or a function \(trial\) or \(trial, seed\)"
    )
    for verb in (adnn.search, adnn.compare):
        with pytest.raises(TypeError, match=sentence):
            verb(3, max_trial=2)  # type: ignore[operator]


def test_a_share_of_replicates_may_be_a_numpy_number() -> None:
    share = np.float32(0.25)
    result = search(replicate=share, max_trial=8, confirm=0)
    assert sum(REPLICATE in t.system_attrs for t in result.study.trials) == 2
    samplers = {"a": ("random", share)}
    comparison = adnn.compare(noisy, samplers, max_trial=8, seeds=range(1), confirm=0)
    [record] = comparison.results["a"]
    assert sum(REPLICATE in t.system_attrs for t in record.record.trials) == 2


def test_replicates_are_a_share_of_max_trial() -> None:
    with pytest.raises(ValueError, match=r"replicate must be omitted without max_trial.*got 0\.5"):
        adnn.search(noisy, max_stale=2, replicate=0.5)
    for replicate in ("auto", 0):
        result = adnn.search(noisy, max_stale=2, replicate=replicate, confirm=0)
        assert result.stop_reason == "max_stale"


def test_a_study_has_one_seed() -> None:
    storage = open_storage("sqlite://")
    options: Any = {"storage": storage, "study_name": "s", "confirm": 0}
    search(**options, max_trial=2, seed=3)
    with pytest.raises(ValueError, match="seed must be 3, as in study 's'; got 5"):
        search(**options, max_trial=4, seed=5)
    assert len(search(**options, max_trial=4, seed=3).record.done_trials) == 4
    assert len(adnn.resume(storage, "s", objective=noisy, max_trial=5).record.done_trials) == 5


def test_replicates_need_a_seed() -> None:
    with pytest.raises(ValueError, match="replicate must be 0 unless"):
        search(lambda trial: trial.suggest_float("x", 0, 1))


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "cmaes", "annealing"])
def test_all_samplers_take_the_same_seeds(sampler: str) -> None:
    seeds = 2**32, 2**64 - 1
    results = [search(sampler=sampler, seed=seed, max_trial=4, confirm=0) for seed in seeds]
    first, second = ([trial.params for trial in result.record.done_trials] for result in results)
    assert first != second


def test_every_trial_has_its_own_seed() -> None:
    seeds = list[int]()

    def keep(trial: Any, seed: int) -> float:
        seeds.append(seed)
        return noisy(trial, seed)

    result = search(keep)
    assert len({*seeds}) == len(seeds) == 40
    assert all(t.state == TrialState.COMPLETE for t in result.study.trials)


def test_values_of_different_distributions_have_no_ci() -> None:
    def loss(shift: float) -> Any:
        return lambda trial, seed: shift + 1e-3 * noisy(trial, seed)

    storage = open_storage("sqlite://")
    options: Any = {"storage": storage, "study_name": "shifted", "max_trial": 12}
    search(loss(0.0), "random", **options)
    result = search(loss(1.0), "random", **options, confirm=40, reuse=True)
    assert len(result.record.new_values) == 40
    assert math.isnan(result.value.low)


def test_one_new_seed_has_no_ci() -> None:
    result = search(max_trial=20, confirm=1)
    assert re.match(r"search: trial \d+ reaches \S+ on 1 new seed ", str(result))
    assert "No CI of the value: 2 values on new seeds are needed." in str(result)


def test_more_new_seeds_stay_sequential() -> None:
    storage = open_storage("sqlite://")
    options: Any = {"storage": storage, "study_name": "s", "max_trial": 20}
    widths = []
    for confirm in (10, 20, 20, 10):
        result = search(**options, confirm=confirm)
        widths.append(result.value.high - result.value.low)
        details = " ".join(format(result, "details").split())
        is_raised = "more new seeds were planned later" in details
        assert is_raised == (len(widths) > 1)
        level = 99 if is_raised else 95
        assert f"({level}% CI " in str(result)
    assert len(result.record.new_values) == 20
    whole = search(max_trial=20, confirm=20)
    assert whole.value.value == result.value.value
    assert whole.value.high - whole.value.low < widths[1] == widths[2] == widths[3]
