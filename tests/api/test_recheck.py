"""Rechecks of studies whose true values are known."""

from __future__ import annotations

import html
import math
import random
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
import recheck_worker
from optuna.trial import TrialState, create_trial
from recheck_worker import NOISE, evaluate, make_recheck, make_study, truth
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna._seeds import confirmation_seeds, derived_seed, experiment_fingerprint
from adnn_optuna.cli.main import run
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.storages import BaseStorage


SQLITE = "sqlite:///{}"


def stored_study(values: Sequence[float], *, direction: str = "maximize") -> optuna.Study:
    study = optuna.create_study(direction=direction, study_name="stored")
    for value in values:
        study.add_trial(create_trial(value=value))
    return study


def simulated(number: int) -> tuple[float, float, float, bool]:
    """Recheck a study with known true values. Return the error, two regrets, and CI coverage."""
    rng = np.random.default_rng(number)
    sign = 1 if number % 2 else -1
    worth = rng.normal(0, 1, 50)
    study = stored_study(
        [*(sign * (worth + rng.normal(0, 1, 50)))],
        direction="maximize" if sign == 1 else "minimize",
    )

    def again(trial: Any, seed: int) -> float:
        noise = np.random.default_rng([number, trial.number, seed]).normal()
        return float(sign * (worth[trial.number] + noise))

    report = adnn.recheck(study, again)
    chosen = worth[report.trial.number]
    regrets = worth.max() - chosen, worth.max() - worth[study.best_trial.number]
    covers = report.low <= sign * chosen <= report.high
    assert report.overstatement.value == pytest.approx(sign * (study.best_value - report.value))
    return sign * report.value - chosen, *regrets, covers


def check_simulations(count: int) -> None:
    errors, regrets, trusting, covered = map(
        np.array, zip(*map(simulated, range(count)), strict=True)
    )
    assert abs(errors.mean()) < 0.1 + 2 * errors.std() / math.sqrt(count)
    assert covered.mean() >= 0.88
    assert regrets.mean() < 0.75 * trusting.mean()


def test_value_is_unbiased_and_covered_and_its_choice_better_than_the_study_s() -> None:
    check_simulations(30)


@pytest.mark.slow
def test_value_is_unbiased_and_covered_in_many_studies() -> None:
    check_simulations(300)


@pytest.mark.parametrize("sampler", [optuna.samplers.TPESampler, optuna.samplers.CmaEsSampler])
def test_parameters_of_all_kinds_are_suggested_again(sampler: Any) -> None:
    study = make_study(sampler=sampler(seed=1))
    before = study.get_trials()
    report = make_recheck(study)
    assert report.trial is not None
    assert abs(report.value - truth(report.trial)) < 4 * NOISE
    assert study.get_trials() == before


def test_trials_keep_user_attributes_and_constants() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 3}, user_attrs={"fold": 2})
    study.optimize(lambda trial: trial.suggest_int("x", 3, 3), n_trials=1)

    def again(trial: Any, seed: int) -> float:
        assert trial.user_attrs == {"fold": 2}
        trial.set_user_attr("seen", seed)
        return float(trial.suggest_int("x", 3, 3) + seed)

    adnn.recheck(study, again)
    assert study.trials[0].user_attrs == {"fold": 2}


def objective_of_study(trial: Any, seed: int) -> float:
    """Read a trial's study and its constraints, and stop the study; a search allows all of
    this.
    """
    x: float = trial.suggest_float("x", 0, 1)
    trial.set_constraint("c", x - 0.9)
    trial.report(x, step=0)
    done = trial.study.get_trials(states=(TrialState.COMPLETE,))
    if len(done) == 4 or trial.study.user_attrs["adnn:search"] is None:
        trial.study.stop()
    return x + seed % 7


has_constraints = pytest.mark.skipif(
    not hasattr(optuna.Trial, "set_constraint"), reason="Optuna 4 has no Trial.set_constraint"
)


@has_constraints
@pytest.mark.filterwarnings("error")
def test_new_seeds_offer_study_and_constraints_as_a_search_does() -> None:
    result = adnn.search(objective_of_study, "random", max_trial=20)
    assert (len(result.study.trials), len(result.record.new_values)) == (5, 10)
    assert adnn.recheck(result.study, objective_of_study, n_jobs=2).numbers.n_lost == 0


@has_constraints
def test_violated_constraints_on_new_seeds_are_counted() -> None:
    def uncertain(trial: Any, seed: int) -> float:
        x: float = trial.suggest_float("x", 0, 1)
        trial.set_constraint("c", 0.5 - random.Random(seed).random())
        return x

    def is_violated(seed: int) -> bool:
        return random.Random(seed).random() < 0.5

    result = adnn.search(uncertain, "random", max_trial=12)
    n = sum(is_violated(derived_seed(0, 1, place)) for place in range(10))
    assert 0 < n < 10
    note = "A constraint is violated on {} of 10 new seeds; these values count, too."
    assert note.format(n) in str(result)
    report = adnn.recheck(result.study, uncertain, top=1)
    table = report.to_dataframe()
    n = sum(map(is_violated, table[table["role"] == "confirm"]["seed"]))
    assert 0 < n < 10
    assert note.format(n) in str(report)
    assert str(adnn.recheck(result.study, uncertain, top=1)).count("violated") == 1


def test_trials_without_a_value_and_fewer_trials_than_top() -> None:
    study = stored_study([1.0, 2.0, math.inf])
    study.add_trial(create_trial(state=TrialState.FAIL))
    study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={0: 9.0}))
    report = adnn.recheck(study, lambda trial, seed: trial.number + seed % 7)
    assert [trial.number for trial in report.numbers.candidates] == [1, 0]
    assert len(report.to_dataframe()) == 2 * 4 + 10


def test_nearly_equal_trials_count_as_one() -> None:
    study = optuna.create_study(direction="maximize")
    rate = optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)
    kind = optuna.distributions.CategoricalDistribution(["a", "b"])
    narrower = optuna.distributions.FloatDistribution(1e-3, 1.0, log=True)
    for value, params, of_rate in (
        # The logarithms differ by about 1/180 of the range.
        (0.80, {"rate": 0.0105, "kind": "a"}, rate),
        (0.95, {"rate": 0.0102, "kind": "a"}, rate),
        (0.99, {"rate": 0.01, "kind": "a"}, rate),
        (0.98, {"rate": 0.01, "kind": "a"}, narrower),
        (0.97, {"rate": 0.01, "kind": "b"}, rate),
        (0.96, {"rate": 0.01}, rate),
        (0.70, {"rate": 0.5, "kind": "b"}, rate),
    ):
        distributions = {"rate": of_rate, "kind": kind} if len(params) > 1 else {"rate": of_rate}
        study.add_trial(create_trial(value=value, params=params, distributions=distributions))
    report = adnn.recheck(study, lambda trial, seed: trial.value + seed % 7, top=4)
    assert [trial.number for trial in report.numbers.candidates] == [2, 4, 5, 0]


@pytest.mark.parametrize("takes_seed", [True, False])
def test_equal_values_do_not_show_that_nothing_is_random(takes_seed: bool) -> None:
    study = stored_study([0.3, 0.1, 0.2], direction="minimize")
    calls = []

    def with_seed(trial: Any, seed: int) -> float:
        calls.append(trial.number)
        return float(trial.value)

    def without(trial: Any) -> float:
        return with_seed(trial, 0)

    evaluate = with_seed if takes_seed else without
    report = adnn.recheck(study, evaluate)
    assert sorted(calls) == [0] * 4 + [1] * 14 + [2] * 4
    assert (report.value, report.overstatement.value) == (0.1, 0.0)
    # Only the user can say that nothing is random. In that case, no evaluation is needed.
    calls.clear()
    result = adnn.recheck(study, evaluate, deterministic=True)
    assert not calls
    assert "deterministic" in str(result)
    with pytest.raises(ValueError, match=r"^against must be omitted if deterministic.* got 0\."):
        adnn.recheck(study, evaluate, against=0, deterministic=True)
    assert (result.value, result.low, result.high, result.overstatement.value) == (
        0.1,
        0.1,
        0.1,
        0.0,
    )


def test_objective_without_a_seed_is_evaluated_again_each_time() -> None:
    values = iter(np.random.default_rng(0).normal(size=100).tolist())
    report = adnn.recheck(stored_study([1.0, 2.0]), lambda _: next(values))
    assert math.isfinite(report.value)


def test_seed_may_be_passed_by_name() -> None:
    def again(trial: Any, *, verbose: bool = False, seed: int = 0) -> float:
        assert not verbose
        return float(seed)

    report = adnn.recheck(stored_study([1.0]), again)
    assert {*report.to_dataframe()["value"]} == {*report.to_dataframe()["seed"].astype(float)}


def test_choosing_seeds_are_common_to_all_trials_and_never_confirm() -> None:
    table = make_recheck(make_study()).to_dataframe()
    choosing = table[table["role"] == "choose"].groupby("trial")["seed"].agg(set)
    assert len(choosing) == 3
    assert len({*map(frozenset, choosing)}) == 1
    confirming = {*table[table["role"] == "confirm"]["seed"]}
    assert not confirming & choosing.iloc[0]
    assert len(confirming) == 5


def test_failed_values_are_counted_and_not_omitted() -> None:
    def again(trial: Any, seed: int) -> float:
        if trial.number == 1 and seed % 4 < 2:
            raise optuna.TrialPruned
        return math.nan if trial.number == 2 else trial.number + seed % 7

    study = stored_study([1.0, 9.0, 8.0])
    report = adnn.recheck(study, again)
    assert report.trial.number == 0  # The other trials have fewer values.
    assert "evaluations failed" in str(report)
    n_trials = len(open_recheck(study).trials)
    assert adnn.recheck(study, again).value == report.value
    assert len(open_recheck(study).trials) == n_trials
    never = adnn.recheck(stored_study([1.0]), lambda trial, seed: math.nan)
    assert math.isnan(never.value)


def open_recheck(study: optuna.Study) -> optuna.Study:
    name = f"{study.study_name}/recheck"
    return optuna.load_study(study_name=name, storage=study._storage)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_recheck_resumes_after_an_error_and_repeats_nothing(error: type[BaseException]) -> None:
    study, calls = make_study(), []

    def again(trial: Any, seed: int) -> float:
        calls.append((trial.number, seed))
        if len(calls) == 7:
            raise error
        return evaluate(trial, seed)

    with pytest.raises(error):
        adnn.recheck(study, again)
    report = adnn.recheck(study, again)
    failed = calls.pop(6)
    assert len({*calls}) == len(calls)
    assert failed in calls
    assert report == adnn.recheck(study, evaluate, storage=open_storage(None))


def test_threads_give_the_same_result(tmp_path: Path) -> None:
    study = make_study(storage=open_storage(SQLITE.format(tmp_path / "a.db")))
    calls = []

    def again(trial: Any, seed: int) -> float:
        calls.append((trial.number, seed, threading.current_thread().name))
        return recheck_worker.evaluate(trial, seed)

    report = adnn.recheck(study, again, n_jobs=3)
    assert len({call[:2] for call in calls}) == len(calls) == len(report.numbers.evaluations)
    assert report == adnn.recheck(study, evaluate, storage=open_storage(None))
    with pytest.raises(ZeroDivisionError):
        adnn.recheck(study, lambda trial, seed: 1 / 0, n_jobs=3, storage=open_storage(None))


def killed(url: str, after: float, *, seconds: float) -> None:
    """Kill a worker ``after`` seconds into an evaluation, which takes ``seconds``."""
    storage, name = open_storage(url), "study/recheck"
    n_before = len(open_recheck_of(storage).trials) if name in names(storage) else 0
    arguments = [sys.executable, recheck_worker.__file__, url, str(seconds)]
    with subprocess.Popen(arguments) as process:
        began = time.monotonic()
        while name not in names(storage) or len(open_recheck_of(storage).trials) == n_before:
            if process.poll() is not None:
                return  # All evaluations have begun.
            assert time.monotonic() - began < 60
            time.sleep(0.01)
        time.sleep(after)
        process.kill()


def names(storage: BaseStorage) -> list[str]:
    return optuna.get_all_study_names(storage)


def open_recheck_of(storage: BaseStorage) -> optuna.Study:
    return optuna.load_study(study_name="study/recheck", storage=storage)


def check_killed(tmp_path: Path, moments: Sequence[tuple[float, float]]) -> None:
    url = SQLITE.format(tmp_path / "killed.db")
    study = make_study(storage=open_storage(url))
    for after, seconds in moments:
        killed(url, after, seconds=seconds)
    report = make_recheck(study)
    assert report == make_recheck(study, storage=open_storage(None))
    trials = open_recheck(study).trials
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    assert len(done) == len({(t.params["trial"], t.params["seed"]) for t in done})
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.FAIL}


def test_killed_and_resumed_recheck_equals_an_undisturbed_one(tmp_path: Path) -> None:
    check_killed(tmp_path, [(0.2, 60.0)])


@pytest.mark.slow
def test_killed_at_ten_moments_and_resumed_recheck_equals_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    moments = np.random.default_rng(0).uniform(0, 0.15, 10)
    check_killed(tmp_path, [(after, 0.03) for after in moments])


@pytest.mark.slow
def test_processes_share_the_work_without_keras(tmp_path: Path) -> None:
    url = SQLITE.format(tmp_path / "shared.db")
    study = make_study(storage=open_storage(url))
    arguments = [sys.executable, recheck_worker.__file__, url, "0.02"]
    workers = [subprocess.Popen(arguments) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    done = [t for t in open_recheck(study).trials if t.state == TrialState.COMPLETE]
    report = make_recheck(study)
    assert len(done) == len(report.numbers.evaluations)
    assert report == make_recheck(study, storage=open_storage(None))


def test_time_limit_is_valid_over_all_runs_and_finished_evaluations_are_reported() -> None:
    study = make_study()

    def slow(trial: Any, seed: int) -> float:
        time.sleep(0.05)
        return evaluate(trial, seed)

    report = adnn.recheck(study, slow, max_time=0.2)
    assert 0 < len(report.numbers.evaluations) < 6
    assert math.isnan(report.value)
    assert math.isnan(report.overstatement.value)
    assert adnn.recheck(study, slow, max_time=0.2) == report
    assert adnn.recheck(study, evaluate, reuse=True).value > 0


@pytest.mark.tensorflow
def test_a_study_of_an_init_offset_objective_needs_no_evaluate() -> None:
    dataset = adnn.load_dataset("digits")
    training = quick_training(optimizer="sgd", learning_rate=0.05, epochs=1)
    objective = adnn.InitOffsetObjective(adnn.MLP(hidden=(8,)), dataset, training=training)
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=3)
    report = adnn.recheck(study, top=2, choose=1, confirm=2)
    assert {*report.to_dataframe()["value"]} - {trial.value for trial in study.trials}
    [first, *_], value = report.numbers.evaluations.items(), None
    (number, seed), value = first
    assert value == objective.replace(seed=seed)(study.trials[number])
    again = adnn.recheck(study, objective, top=2, choose=1, confirm=2, storage=open_storage(None))
    assert again == report
    longer = objective.replace(training=quick_training(optimizer="sgd", learning_rate=0.1))
    with pytest.raises(ValueError, match="belongs to another objective"):
        adnn.recheck(study, longer, storage=open_storage(None))


class TestMoreSeeds:
    """If seeds are added after an evaluation, all later CIs are sequential."""

    def test_added_seeds_stay_sequential(self) -> None:
        study = make_study()
        planned = make_recheck(study)
        assert not planned.numbers.planned["is_raised"]
        more = make_recheck(study, confirm=20)
        assert more.numbers.planned["is_raised"]
        at_once = make_recheck(study, confirm=20, storage=open_storage(None))
        assert not at_once.numbers.planned["is_raised"]
        assert more.value == at_once.value
        assert more.high - more.low > at_once.high - at_once.low
        assert make_recheck(study, confirm=20).numbers.planned["is_raised"]
        fewer = make_recheck(study, confirm=10)
        assert (fewer.numbers.planned["seeds"], fewer.value) == (20, more.value)

    def test_a_smaller_number_changes_no_note(self) -> None:
        study = make_study()
        planned = make_recheck(study, confirm=10, against=0)
        fewer = make_recheck(study, confirm=3, against=0)
        assert {*fewer.document().notes} >= {*planned.document().notes}
        assert "The CI of the gain is Student's" not in format(fewer, "details")

    def test_the_planned_number_is_stored_before_the_first_seed(self) -> None:
        study = make_study()

        def fails(trial: Any, seed: int) -> float:
            if seed >= 2**30:  # Only seeds that confirm are this large.
                raise RuntimeError
            return evaluate(trial, seed)

        with pytest.raises(RuntimeError):
            adnn.recheck(study, fails, top=3, choose=3)
        assert make_recheck(study, confirm=20, reuse=True).numbers.planned["is_raised"]


class TestGoingOn:
    """Each further recommended trial of a study halves the error rate of its CIs."""

    def test_an_equal_choice_is_not_a_further_recommendation(self) -> None:
        study = make_study()
        first = make_recheck(study)
        study.add_trial(optuna.trial.create_trial(value=-1.0))
        assert make_recheck(study).numbers.estimate == first.numbers.estimate


class TestFailed:
    """A failed evaluation counts as the value that the user passes. The value is not stored."""

    def test_evaluations_have_no_ci_without_a_value(self) -> None:
        study = make_study()

        def fails(trial: Any, seed: int) -> float:
            return math.nan if seed % 3 == 0 else evaluate(trial, seed)

        options: Any = {"top": 1, "choose": 1, "confirm": 10}
        lost = adnn.recheck(study, fails, **options)
        n = lost.numbers.confirmed.n_failed
        assert 0 < n < 10
        assert math.isnan(lost.low)
        for failed in (0.0, -1):
            report = adnn.recheck(study, fails, failed=failed, **options)
            table = report.to_dataframe().query("role == 'confirm'")
            assert table["value"].isna().sum() == n
            assert report.value == pytest.approx(table["value"].fillna(failed).mean())
            assert report.low < report.value < report.high
        assert math.isnan(adnn.recheck(study, fails, **options).low)

    @pytest.mark.parametrize("wrong", [math.nan, math.inf, "0", True])
    def test_the_value_must_be_a_number(self, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"must be a (finite )?number"):
            adnn.recheck(make_study(), evaluate, failed=wrong)


class TestAgainst:
    """The difference of two trials on new seeds, with a known true value."""

    def truth_of(self, params: dict[str, Any]) -> float:
        return truth(optuna.trial.FixedTrial(params))

    def test_a_trial_and_its_parameters_mean_the_same(self) -> None:
        study = make_study()
        worst = min(study.trials, key=lambda trial: trial.value)
        options: dict[str, Any] = {"top": 3, "choose": 2, "confirm": 10}
        report = adnn.recheck(study, evaluate, against=worst.number, **options)
        assert report.against == worst
        expected = self.truth_of(report.trial.params) - self.truth_of(worst.params)
        # As in the worker, each trial has its own noise.
        assert report.gain.low <= expected <= report.gain.high
        assert report.gain.value == pytest.approx(
            report.value - np.mean(report.numbers.values(worst, "confirm"))
        )
        again = adnn.recheck(study, evaluate, against=worst.params, **options)
        assert again.gain == report.gain
        assert f"over trial {worst.number}, paired" in str(report)

    def test_by_default_it_is_the_enqueued_trial(self) -> None:
        assert adnn.recheck(make_study(), evaluate, top=1, choose=1).against is None
        study = optuna.create_study(direction="maximize")
        study.enqueue_trial({"x": 0.5, "kind": "flat"})
        study.optimize(lambda trial: evaluate(trial, trial.number), n_trials=5)
        report = adnn.recheck(study, evaluate, top=1, choose=1, confirm=6)
        assert report.against == study.trials[0]

    @pytest.mark.tensorflow
    def test_for_networks_it_is_the_baseline_network_on_the_confirming_seeds(self) -> None:
        training = quick_training(optimizer="sgd", learning_rate=0.05, epochs=1)
        objective = adnn.InitOffsetObjective(
            adnn.MLP(hidden=(8,)), adnn.load_dataset("digits"), training=training
        )
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
        study.optimize(objective, n_trials=3)
        report = adnn.recheck(study, top=1, choose=1, confirm=6)
        assert {*report.against.params.values()} == {0.0}
        assert report.against.value == study.user_attrs["adnn:baseline"]
        config, params = study.user_attrs["adnn:config"], study.best_params
        seeds = confirmation_seeds(experiment_fingerprint(config), params, 6)
        gains = [
            fresh(study.best_trial) - fresh(report.against)
            for seed in seeds
            for fresh in (objective.replace(seed=seed),)
        ]
        assert report.gain.value == pytest.approx(np.mean(gains))

    @pytest.mark.parametrize(
        ("against", "said"),
        [
            (99, "must be the number of a completed trial .*; got 99"),
            ({"y": 1}, "must have the parameters of a completed trial, such as x, kind; got y"),
            ({"x": "7", "kind": "flat"}, r"against\['x'\] must be a number; got '7'"),
            ({"x": 10**400, "kind": "flat"}, r"against\['x'\] must be a finite number"),
            ("first", "must be the number of a completed trial .*; got 'first'"),
            (1.0, "must be the number of a completed trial .*; got 1.0"),
        ],
    )
    def test_values_that_no_trial_of_the_study_can_have_are_refused(
        self, against: Any, said: str
    ) -> None:
        with pytest.raises((ValueError, TypeError), match=said):
            adnn.recheck(make_study(), evaluate, against=against)

    def test_parameters_may_lie_outside_the_searched_space(self) -> None:
        study, seen = make_study(), set()

        def evaluated(trial: Any, seed: int) -> float:
            value = evaluate(trial, seed)
            seen.add((trial.params["x"], trial.params["kind"]))
            return value

        against = {"x": 7.0, "kind": "of the user's own"}
        report = adnn.recheck(study, evaluated, top=1, choose=2, confirm=6, against=against)
        assert tuple(against.values()) in seen
        assert report.gain.value == pytest.approx(0.005 * 49, abs=0.02)

    def test_a_trial_with_the_same_parameters_differs_by_chance(self) -> None:
        study = optuna.create_study(direction="maximize")
        for _ in range(2):
            study.enqueue_trial({"x": 0.5})
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.number, n_trials=2)
        report = adnn.recheck(study, lambda trial, seed: float(seed % 3), against=0)
        sentence = "have the same parameters: their difference in the study is chance."
        assert sentence in " ".join(str(report).split())


class TestCatch:
    def test_an_error_counts_as_no_value_and_is_not_repeated(self) -> None:
        study, calls = make_study(), []

        def fails(trial: Any, seed: int) -> float:
            calls.append((trial.number, seed))
            if seed >= 2**30:  # Only seeds that confirm are this large.
                raise ZeroDivisionError
            return evaluate(trial, seed)

        options: Any = {"top": 2, "choose": 2, "confirm": 3}
        for _ in range(2):
            report = adnn.recheck(study, fails, catch=(ZeroDivisionError,), **options)
        assert len(calls) == len(set(calls)) == report.numbers.n_made
        assert report.numbers.n_lost == 3
        assert math.isnan(report.value)
        in_memory: Any = {"storage": open_storage(None), **options}
        with pytest.raises(ZeroDivisionError) as raised:
            adnn.recheck(study, fails, catch=KeyError, **in_memory)
        [note] = raised.value.__notes__
        assert re.fullmatch(
            r"The evaluation of trial \d+, seed \d+ failed\. To go on after such errors, pass "
            r"catch=ZeroDivisionError\.",
            note,
        )

    @pytest.mark.parametrize("wrong", [KeyboardInterrupt, [3], "ValueError"])
    def test_values_that_are_not_errors_are_refused(self, wrong: Any) -> None:
        with pytest.raises(
            TypeError,
            match=r"^catch must be classes of exceptions; got ('ValueError'|3|<class 'K)",
        ):
            adnn.recheck(make_study(), evaluate, catch=wrong)


class TestWrongInput:
    def test_wrong_input_is_refused(self) -> None:
        study = make_study()
        for wrong, sentence in [
            ({"evaluate": 3}, r"^evaluate must be .* or \(trial, seed\); got 3 of type int.$"),
            ({"evaluate": lambda seed: 1.0}, r"must take \(trial\) or .* but it takes \(seed\)\."),
            ({"evaluate": None}, r"recheck, with evaluate=FUNCTION, a function \(trial, seed\)"),
            ({"top": 0}, "top must be a whole number"),
            ({"confirm": 1}, "confirm must be a whole number of at least 2"),
            ({"max_time": -1}, "max_time"),
            ({"evaluate": lambda trial, seed: "good"}, "must return a number"),
            ({"evaluate": lambda trial, seed: (0.5, 0.9)}, "must return a number"),
            ({"evaluate": lambda trial, seed: 10**400}, "must return a number"),
        ]:
            with pytest.raises((ValueError, TypeError), match=sentence):
                adnn.recheck(study, **{"evaluate": evaluate, **wrong})  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("use", "said"),
        [
            (lambda trial: trial.suggest_float("y", 0, 1), "'y' of FloatDistribution"),
            (lambda trial: trial.suggest_categorical("kind", ["a", "b"]), "'kind' of Categorical"),
            (lambda trial: trial.params["y"], "'y'"),
        ],
    )
    def test_a_function_with_parameters_of_another_study_is_refused(
        self, use: Any, said: str
    ) -> None:
        study = make_study()
        refusal = rf"^The function must use the parameters .* of study 'study'; got {said}"
        with pytest.raises(ValueError, match=refusal):
            adnn.recheck(study, lambda trial, seed: 0.0 * bool(use(trial)), catch=Exception)
        assert make_recheck(study).value > 0  # The refused call stored nothing.

    def test_a_function_may_ask_whether_a_parameter_is_missing(self) -> None:
        def looks(trial: Any, seed: int) -> float:
            try:
                trial.params["y"]
            except KeyError:
                return evaluate(trial, seed) + trial.params.get("y", 0.0)
            raise AssertionError

        assert adnn.recheck(make_study(), looks, top=1, choose=1, confirm=2).value > 0

    def test_studies_without_a_best_value_are_refused(self) -> None:
        sampler = optuna.samplers.NSGAIISampler(seed=0)
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 0.0), n_trials=2)
        with pytest.raises(ValueError, match=r"must have one objective; got 2\. Choose another"):
            adnn.recheck(study, evaluate)
        with pytest.raises(ValueError, match="must have a completed trial"):
            adnn.recheck(optuna.create_study(), evaluate)
        with pytest.raises(TypeError, match="must be an Optuna study"):
            adnn.recheck("study", evaluate)  # type: ignore[arg-type]

    def test_a_recheck_resumes_in_another_time_zone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
        study = make_study(storage=optuna.storages.JournalStorage(file))
        result = make_recheck(study)
        try:
            monkeypatch.setenv("TZ", "ELSE-5:30")
            time.tzset()
            storage = optuna.storages.JournalStorage(file)
            study = optuna.load_study(study_name="study", storage=storage)
            assert make_recheck(study).value == result.value
        finally:
            monkeypatch.undo()
            time.tzset()

    def test_evaluations_of_an_earlier_study_with_the_same_name_are_not_reused(self) -> None:
        storage = open_storage(None)
        make_recheck(make_study(storage=storage))
        optuna.delete_study(study_name="study", storage=storage)
        with pytest.raises(ValueError, match="study that began"):
            make_recheck(make_study(storage=storage))


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [*sys.path])
        made = make_study()._storage  # A storage in memory is faster than a database.
        to_storage = open_storage("sqlite:///s.db")
        optuna.copy_study(from_study_name="study", from_storage=made, to_storage=to_storage)

    def test_a_failed_evaluation_is_named_in_the_error(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("failing.py").write_text("def evaluate(trial, seed):\n    raise OSError('no data')\n")
        assert run(["recheck", "s.db", "study", "--evaluate", "failing:evaluate"]) == 2
        output = capsys.readouterr().err
        assert re.search(
            r"adnn: The evaluation of trial \d+, seed \d+ failed: OSError: no data \(", output
        )

    def test_rechecks_a_study_of_any_function(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("own.py").write_text("from recheck_worker import evaluate\n")
        arguments = ["recheck", "s.db", "study", "--evaluate", "own:evaluate", "--top", "2"]
        assert run([*arguments, "--report", "report.html"]) == 0
        output = capsys.readouterr().out
        assert "\nNext: " not in output  # The report is already written.
        assert run(["recheck", "sqlite:///s.db", *arguments[2:], "--quiet"]) == 0
        again = capsys.readouterr().out
        _, _, command = again.strip().partition("\nNext: adnn ")
        Path("recheck.html").unlink(missing_ok=True)
        assert run(shlex.split(command)) == 0
        assert Path("recheck.html").exists()
        capsys.readouterr()
        assert "Note: 18 stored evaluations reused, 0 new.\n" in again
        assert again.partition("Note: ")[0] == output.partition("Note: ")[0]
        for against, over in (
            ("3", "trial 3"),
            ('{"x": 0.5, "kind": "flat"}', "x=0.5, kind=flat"),
        ):
            assert run([*arguments, "--against", against]) == 0
            assert f"over {over}, paired" in " ".join(capsys.readouterr().out.split())
        Path("changed.py").write_text("def evaluate(trial, seed):\n    return 1.0\n")
        assert run([*arguments, "--evaluate", "changed:evaluate"]) == 2
        fix = "Pass the function that made them, --reuse to keep them, or another --study-name."
        assert fix in " ".join(capsys.readouterr().err.split())

    def test_a_function_of_another_study_is_wrong_input(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("other.py").write_text(
            "def evaluate(trial, seed):\n    return trial.suggest_float('y', 0, 1)\n"
        )
        assert run(["recheck", "s.db", "study", "--evaluate", "other:evaluate"]) == 2
        text = " ".join(capsys.readouterr().err.split())
        assert text.startswith("adnn: The function must use the parameters {'x': ")
        assert text.endswith("Pass the function of this study.")

    def test_wrong_arguments_are_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        for arguments, sentence in (
            (["none.db", "study"], "File 'none.db' not found"),
            (["s.db", "other"], "Study 'other' not found"),
            (["s.db", "study", "--evaluate", "evaluate"], "must be MODULE:FUNCTION"),
            (["s.db", "study", "--against", "x=1"], "--against must be a trial's number, or par"),
            (["s.db", "study", "--evaluate", "no_such:evaluate"], "cannot be loaded"),
            (["s.db", "study", "--evaluate", "recheck_worker:evaluat"], "Did you mean 'evaluate'"),
        ):
            assert run(["recheck", *arguments]) == 2
            error = capsys.readouterr().err
            assert sentence in error
            assert len(error.splitlines()) == 1


def test_the_command_luck_prints_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["luck", "--n", "51", "--sd", "0.0096", "--claimed", "0.04"]) == 0
    output = capsys.readouterr().out
    assert "<0.01" in output
    assert run(["luck", "--n", "0", "--sd", "1"]) == 2


@pytest.mark.parametrize("kind", ["whole", "cut off", "equal", "deterministic", "without values"])
def test_every_recheck_has_a_page_and_a_figure(kind: str, tmp_path: Path) -> None:
    functions = {"equal": lambda trial: trial.value, "without values": lambda _: math.nan}
    report = adnn.recheck(
        stored_study([0.9, 0.91, 0.9]),
        functions.get(kind, lambda trial, seed: 0.9 + seed % 7 / 100),
        deterministic=kind == "deterministic",
        max_time=1e-9 if kind == "cut off" else None,
    )
    report.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert report.document().conclusion in html.unescape(page)
    assert "nan" not in page.partition("<script")[0]
