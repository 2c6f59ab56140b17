"""The methods of a trial's study that an objective may use, in any thread or process."""

from __future__ import annotations

import math
import pickle
from concurrent import futures
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.engine.arms import SAMPLERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXCEPT_NETWORKS = [name for name in SAMPLERS if name not in ("random_restart", "gp", "cmaes")]


class Pickling(futures.ThreadPoolExecutor):
    """An executor that pickles its jobs, like executors of other processes."""

    def submit(self, *work: Any, **options: Any) -> futures.Future[Any]:
        def run(sent: bytes) -> Any:
            function, *arguments = pickle.loads(sent)
            return function(*arguments, **options)

        return super().submit(run, pickle.dumps(work))


@pytest.fixture
def executor() -> Iterator[futures.Executor]:
    with Pickling(2) as executor:
        yield executor


def quadratic(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2


def stopping(trial: optuna.Trial) -> float:
    if trial.number == 2:
        trial.study.stop()
    return quadratic(trial)


def asking(trial: optuna.Trial) -> float:
    trial.study.ask()
    return quadratic(trial)


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


@pytest.mark.parametrize("sampler", EXCEPT_NETWORKS)
def test_each_sampler_can_be_pickled(sampler: str, url: str, executor: futures.Executor) -> None:
    sent = adnn.search(quadratic, sampler, max_trial=3, storage=url, executor=executor)
    alone = adnn.search(quadratic, sampler, max_trial=3)
    values = [sorted(t.values for t in result.study.trials) for result in (sent, alone)]
    assert values[0] == values[1]


@pytest.mark.parametrize("sampler", ["random", "annealing"])
def test_an_objective_stops_its_search_from_any_thread(sampler: str) -> None:
    result = adnn.search(stopping, sampler, max_trial=9, n_jobs=2)
    assert 3 <= len(result.study.trials) <= 4
    assert set(states(result.study)) == {"COMPLETE"}
    assert result.stop_reason == "stopped"


def test_an_objective_stops_its_search_from_another_process(
    url: str, executor: futures.Executor
) -> None:
    result = adnn.search(stopping, "random", max_trial=9, storage=url, executor=executor)
    assert len(result.study.trials) == 3
    assert result.stop_reason == "stopped"


def test_a_stopped_search_goes_on_only_with_another_limit(url: str) -> None:
    for max_trial, n_trials in ((9, 3), (9, 3), (12, 12)):
        result = adnn.search(stopping, "tpe", max_trial=max_trial, storage=url, study_name="s")
        assert len(result.study.trials) == n_trials
    assert result.stop_reason == "max_trial"


def test_a_study_keeps_its_sampler_after_its_replicates() -> None:
    def noisy(trial: optuna.Trial, seed: int) -> float:
        return quadratic(trial) + seed % 7

    study = adnn.search(noisy, "tpe", max_trial=60).study
    assert any("adnn:replicate" in trial.system_attrs for trial in study.trials)
    study.optimize(quadratic, n_trials=2)
    assert len(study.trials) == 62


def test_a_sampler_that_stops_the_study_is_exhausted() -> None:
    sampler = optuna.samplers.GridSampler({"x": [-0.5, 0.0, 0.5]})
    result = adnn.search(quadratic, sampler, max_trial=9, n_jobs=2)
    assert result.stop_reason == "exhausted"


@pytest.mark.parametrize("sampler", ["tpe", optuna.samplers.RandomSampler(), "annealing"])
def test_an_objective_that_asks_its_own_study_is_refused(sampler: Any) -> None:
    with pytest.raises(ValueError, match=r"^An objective must not ask .*study.ask\(\)\. .*\.$"):
        adnn.search(asking, sampler, max_trial=2)


@pytest.mark.parametrize("sampler", ["tpe", "annealing"])
@pytest.mark.parametrize(
    ("state", "tell"),
    [
        ("COMPLETE", lambda trial: trial.study.tell(trial, 0.5)),
        ("PRUNED", lambda trial: trial.study.tell(trial, state=TrialState.PRUNED)),
        ("FAIL", lambda trial: trial.study.tell(trial, state=TrialState.FAIL)),
        ("FAIL", lambda trial: trial.study.tell(trial.number, state=TrialState.FAIL)),
        ("FAIL", lambda trial: trial.study.tell(trial, math.nan)),
    ],
)
def test_a_trial_that_its_objective_told_stays_as_told(
    sampler: str, state: str, tell: Callable[[optuna.Trial], object]
) -> None:
    def telling(trial: optuna.Trial) -> float:
        value = quadratic(trial)
        if trial.number < 2:
            tell(trial)
        return value

    result = adnn.search(telling, sampler, max_trial=4)
    assert states(result.study) == [state] * 2 + ["COMPLETE"] * 2
    assert result.stop_reason == "max_trial"


@pytest.mark.parametrize(
    "write",
    [
        quadratic,
        lambda trial: trial.report(1.0, 0),
        lambda trial: trial.set_user_attr("a", 1),
    ],
    ids=["suggest", "report", "set_user_attr"],
)
def test_a_trial_that_another_worker_ended_is_repeated(
    write: Callable[[optuna.Trial], object],
) -> None:
    def ended(trial: optuna.Trial) -> float:
        # Another worker that takes this worker for dead ends the trial in the same way.
        if trial.number == 1:
            trial.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            write(trial)
        return quadratic(trial)

    result = adnn.search(ended, "annealing", max_trial=4)
    assert states(result.study) == ["COMPLETE", "FAIL", *["COMPLETE"] * 3]
    whole = adnn.search(quadratic, "annealing", max_trial=4).study
    completed = result.study.get_trials(states=(TrialState.COMPLETE,))
    assert [trial.params for trial in completed] == [trial.params for trial in whole.trials]


class Ending(optuna.pruners.BasePruner):
    """Ends trial 0, like a worker that wrongly takes the trial's worker for dead."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        if trial.number == 0:
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return False


def test_a_network_of_a_trial_that_another_worker_ended_is_trained_again() -> None:
    objective = adnn.InitOffsetObjective(
        lambda trial: adnn.MLP(hidden=(trial.suggest_int("width", 16, 17),)),
        adnn.load_dataset("digits"),
        training=quick_training(optimizer="sgd", learning_rate=0.05, epochs=2),
        seed=3,
    )
    result = adnn.search(objective, "random", max_trial=2, pruner=Ending())
    assert states(result.study) == ["FAIL", "COMPLETE", "COMPLETE"]


def test_an_error_about_a_trial_of_another_study_is_raised() -> None:
    def elsewhere(trial: optuna.Trial) -> float:
        trial_elsewhere = optuna.create_study().ask()
        trial_elsewhere.study.tell(trial_elsewhere, 1.0)
        trial_elsewhere.report(1.0, 0)
        return quadratic(trial)

    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        adnn.search(elsewhere, "random", max_trial=2)
