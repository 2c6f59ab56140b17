"""Evaluations of a search's best trial on new seeds: when they happen, how many, and
resumption.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
import search_worker
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.callbacks import MaxTimeCallback
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.experiments.confirmation import is_affordable
from adnn_optuna.stats.example_scores import mean_gain

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from adnn_optuna import InitOffsetObjective, SearchResult


@pytest.fixture(scope="module")
def confirmed(objective: InitOffsetObjective) -> SearchResult:
    return adnn.search(objective, "greedy", max_trial=20)


def names(result: SearchResult) -> list[str]:
    return optuna.get_all_study_names(result.study._storage)


class TestAutomatically:
    def test_if_it_costs_no_more_than_the_search(self, confirmed: SearchResult) -> None:
        facts = confirmed.confirmation
        # The code that writes a sentence asks for the facts, which are read once.
        assert facts is confirmed.confirmation
        assert (len(facts.seeds), len(facts.gains), len(facts.baselines)) == (10, 10, 10)
        assert facts.test_score.value == confirmed.test_value
        assert facts.test_score.low < facts.test_score.value < facts.test_score.high
        mean = sum(facts.baselines) / 10
        assert facts.vs_baselines.value == pytest.approx(confirmed.test_value - mean)
        assert facts.replication.value == pytest.approx(sum(facts.gains) / 10)
        # Evaluations on new seeds do not count towards any limit.
        assert len(confirmed.record.done_trials) == 20
        assert confirmed.stop_reason == "max_trial"

    def test_otherwise_the_result_says_how_to_confirm(
        self, objective: InitOffsetObjective
    ) -> None:
        result = adnn.search(objective, "greedy", max_trial=19)
        assert result.confirmation is None
        assert len(names(result)) == 1

    def test_not_if_no_seed_changes_the_training(self) -> None:
        settings: Any = {"training": quick_training(shuffle=False, epochs=1)}
        data = adnn.load_dataset("digits")
        model = adnn.MLP(hidden=(4,), kernel_initializer="ones")
        objective = adnn.InitOffsetObjective(model, data, **settings)
        for test in (True, False):
            text = str(adnn.search(objective, "greedy", max_trial=20, test=test))
            assert "result.confirm()" not in text

    def test_half_as_many_seeds_are_enough_for_a_control(
        self, objective: InitOffsetObjective
    ) -> None:
        result = adnn.search(objective, "random_restart", max_trial=10)
        assert result.confirmation.gains == ()
        assert result.confirmation.replication == (0, 0, 0)

    def test_not_longer_than_the_time_of_the_search(self, confirmed: SearchResult) -> None:
        used = MaxTimeCallback(1).used(confirmed.study)
        for max_time, is_enough in ((None, True), (used + 3600, True), (used + 1e-6, False)):
            assert is_affordable(confirmed.record, confirmed._objective, max_time) == is_enough


class TestAsAsked:
    def test_with_this_number_of_seeds_and_only_once(self, objective: InitOffsetObjective) -> None:
        result = adnn.search(objective, "greedy", max_trial=2, confirm=6)
        first = result.confirmation
        assert len(first.seeds) == 6
        assert result.confirm(n=10).confirmation == first
        again = adnn.resume(
            result.study._storage,
            result.study.study_name,
            objective=objective,
            max_trial=2,
            confirm=12,
        )
        assert first == result.confirmation == again.confirmation
        study = optuna.load_study(
            storage=result.study._storage, study_name=f"{result.study.study_name}/confirmation"
        )
        assert len(study.trials) == 12

    def test_nothing_is_evaluated_without_the_test_set(
        self, objective: InitOffsetObjective
    ) -> None:
        result = adnn.search(objective, "greedy", max_trial=2, test=False, confirm=6)
        assert result.confirmation is None
        assert result.record.test_evaluations == []
        assert len(names(result)) == 1
        confirmed = result.confirm(n=6)
        assert confirmed.confirmation.test_score.value == confirmed.test_value
        assert result.record.test_evaluations == []

    def test_nothing_is_evaluated_with_test_false_if_the_best_trial_was_tested(
        self, objective: InitOffsetObjective
    ) -> None:
        storage = optuna.storages.InMemoryStorage()
        where: Any = {"storage": storage, "study_name": "tested", "max_trial": 2}
        adnn.search(objective, "greedy", **where, confirm=0)
        again = adnn.search(objective, "greedy", **where, test=False, confirm=6)
        assert again.confirmation is None
        assert len(names(again)) == 1

    @pytest.mark.parametrize("confirm", [5, -1, True, "yes", 10.0, None, [10]])
    def test_wrong_values_of_confirm_are_refused(
        self, confirm: Any, objective: InitOffsetObjective
    ) -> None:
        sentence = "confirm must be 'auto', 0, or at least 6, because fewer new seeds can show"
        with pytest.raises(ValueError, match=sentence):
            adnn.search(objective, "greedy", max_trial=2, confirm=confirm)


@pytest.mark.slow
def test_a_killed_confirmation_resumes(confirmed: SearchResult, url: str) -> None:
    command = [sys.executable, search_worker.__file__, url, "greedy", "20", "8"]
    storage = open_storage(url)
    with subprocess.Popen(command) as worker:
        deadline = time.monotonic() + 120
        n_trials = 0
        while n_trials < 5 and time.monotonic() < deadline:
            if "killed/confirmation" in optuna.get_all_study_names(storage):
                study = optuna.load_study(study_name="killed/confirmation", storage=storage)
                n_trials = len(study.trials)
            time.sleep(0.01)
        worker.kill()
    assert 5 <= n_trials < 20
    result = adnn.resume(url, "killed")
    # The same experiment and best trial have the same seeds, whatever the study's name.
    assert result.confirmation == confirmed.confirmation


def small_objective(bound: float) -> InitOffsetObjective:
    """Return an objective whose trainings take some milliseconds, and whose seeds matter."""
    digits = adnn.load_dataset("digits")
    x, y = (np.concatenate([digits.x_train, digits.x_val]), [*digits.y_train, *digits.y_val])
    data = adnn.Dataset.from_arrays(x[:700], y[:700], test_size=300, validation_size=100)
    training = quick_training(optimizer="sgd", learning_rate=0.2, batch_size=50, epochs=2)
    space = adnn.OffsetSpace(-bound, bound)
    return adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=training, space=space)


@pytest.mark.slow
def test_offsets_too_small_to_matter_are_said_to_repeat_in_2_5_percent() -> None:
    """The offsets improve as many networks as they worsen, by small amounts."""
    n, above, differing = 200, 0, 0
    objective = small_objective(1e-3)
    for seed in range(n):
        result = adnn.search(objective.replace(seed=seed), max_trial=4, confirm=8)
        facts = result.confirmation
        above += facts.replication.low > 0
        differing += len({*facts.gains}) > 1
    assert differing > n / 4
    assert above / n <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / n)


@pytest.mark.slow
def test_a_real_offset_s_gain_is_covered_and_found() -> None:
    params = {"weight_offset_0": 0.1, "bias_offset_0": 0.1}
    result = adnn.search(small_objective(0.2), max_trial=1, confirm=0)
    result.study.add_trial(
        optuna.create_trial(
            value=1.0, params=params, distributions=result._objective.distributions
        )
    )
    record = adnn.resume(
        *(result.study._storage, result.study.study_name),
        objective=result._objective,
        max_trial=2,
        confirm=0,
    )
    facts = record.confirm(n=400).confirmation
    gains, rng = np.array(facts.gains), np.random.default_rng(0)
    few = [mean_gain(rng.choice(gains, 10, replace=False)) for _ in range(1000)]
    assert np.mean([e.low <= gains.mean() <= e.high for e in few]) >= 0.93
    assert facts.replication.low <= gains.mean() <= facts.replication.high


class TestInOneStorage:
    """If another study in the storage confirmed the same best trial, the new seeds are the
    same.
    """

    def test_another_study_name_has_the_same_numbers(
        self,
        objective: InitOffsetObjective,
        storage: BaseStorage,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        options: Any = {"max_trial": 3, "storage": storage}
        first = adnn.search(objective, "greedy", study_name="first", confirm=6, **options)
        again = adnn.search(objective, "greedy", study_name="again", confirm=0, **options)

        def train(*_: object, **__: object) -> None:
            raise AssertionError("No network is trained.")

        monkeypatch.setattr("adnn_optuna.networks.retraining.retrain", train)
        confirmed = again.confirm(20)  # The confirmation keeps its planned number of seeds.
        first_confirmation, two = first.confirmation, confirmed.confirmation
        assert first_confirmation.gains == two.gains
        assert first_confirmation.seeds == two.seeds
        assert first_confirmation.vs_baselines == two.vs_baselines
        assert (first_confirmation.earlier, two.earlier) == ((), ("first",))

    def test_other_parameters_are_confirmed_separately(
        self, objective: InitOffsetObjective, storage: BaseStorage
    ) -> None:
        options: Any = {"max_trial": 3, "storage": storage, "confirm": 6}
        adnn.search(objective, "greedy", study_name="first", **options)
        result = adnn.search(objective.replace(seed=1), "greedy", study_name="other", **options)
        assert result.confirmation.earlier == ()
