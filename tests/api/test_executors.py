"""With any executor, results equal those of a single process."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import re
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from executor_worker import noisy, one_seed, sources
from search_worker import make_objective
from snapshots import without_reuse

import adnn_optuna as adnn
from adnn_optuna.samplers._owners import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def threads() -> Iterator[futures.Executor]:
    with futures.ThreadPoolExecutor(2) as executor:
        yield executor


@contextlib.contextmanager
def processes() -> Iterator[futures.Executor]:
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        yield executor


@contextlib.contextmanager
def loky() -> Iterator[futures.Executor]:
    package = pytest.importorskip("loky", reason="loky is not installed")
    executor = package.get_reusable_executor(max_workers=2)
    yield executor
    executor.shutdown(wait=True)


@contextlib.contextmanager
def dask() -> Iterator[futures.Executor]:
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client.get_executor()


@contextlib.contextmanager
def ray() -> Iterator[futures.Executor]:
    """Start the executor that the guide on machines shows."""
    package = pytest.importorskip("ray", reason="ray is not installed")
    tests = Path(__file__).parents[1]
    guide = (tests.parent / "docs" / "guides" / "machines.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(from concurrent import futures\n.*?)```", guide, re.DOTALL)
    assert len(code.splitlines()) <= 40
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    environment = {"PYTHONPATH": str(tests), "RAY_AUTH_MODE": "disabled"}
    with pytest.MonkeyPatch.context() as patch:
        # Otherwise, Ray writes a token into the home folder.
        patch.setenv("RAY_AUTH_MODE", "disabled")
        options = {"include_dashboard": False, "log_to_driver": False, "num_cpus": 2}
        package.init(runtime_env={"env_vars": environment}, **options)
        try:
            with namespace["RayExecutor"](num_cpus=1) as executor:
                yield executor
        finally:
            package.shutdown()


@functools.cache
def searched() -> optuna.Study:
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0), study_name="s"
    )
    study.optimize(lambda trial: noisy(trial, 0), n_trials=6)
    return study


VERBS: dict[str, Callable[..., Any]] = {
    "recheck": lambda **options: adnn.recheck(
        searched(), noisy, top=2, choose=2, confirm=2, **options
    ),
    "models": lambda **options: adnn.compare_models(
        {"a": one_seed, "b": sources}, seeds=range(4), **options
    ),
    "variance": lambda **options: adnn.measure_variance(sources, n=5, **options),
}


def evaluations(found: Any) -> dict[tuple[int, ...], float]:
    return dict(getattr(found, "runs", found.numbers).evaluations)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "executor",
    [
        threads,
        pytest.param(processes, marks=pytest.mark.slow),
        pytest.param(loky, marks=pytest.mark.slow),
        pytest.param(dask, marks=pytest.mark.slow),
        pytest.param(ray, marks=pytest.mark.slow),
    ],
)
def test_results_are_the_same_with_any_executor(
    verb: str, executor: Callable[[], Any], url: str
) -> None:
    alone = VERBS[verb]()
    with executor() as workers:
        call = functools.partial(VERBS[verb], storage=url, executor=workers)
        together = call()
        assert without_reuse(call()) == without_reuse(together)
    assert evaluations(together) == evaluations(alone)
    assert str(without_reuse(together)) == str(without_reuse(alone))
    [name] = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=name, storage=url).trials
    # Each evaluation ran once, in a job of the executor.
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * len(evaluations(alone))
    made_here = {owner_of(trial)["process"] == os.getpid() for trial in trials}
    assert made_here == {executor is threads}


def test_no_job_begins_after_max_time(url: str) -> None:
    with threads() as executor:
        result = VERBS["variance"](storage=url, executor=executor, max_time=1e-9)
    assert 0 < len(evaluations(result)) <= 2
    assert result.numbers.missing


@pytest.mark.parametrize("verb", VERBS)
def test_workers_of_an_executor_must_reach_the_storage(verb: str) -> None:
    with threads() as executor, pytest.raises(ValueError, match="Pass the URL of a database"):
        VERBS[verb](executor=executor)


def test_keras_models_train_in_an_executor(url: str) -> None:
    models = {"a": adnn.MLP((2,)), "b": adnn.MLP((3,))}
    objective = make_objective()
    with threads() as executor:
        options: dict[str, Any] = {"storage": url, "executor": executor}
        with pytest.raises(ValueError, match=r"^executor must be None for Keras models"):
            adnn.compare_models(models, objective.dataset, **options)
        with pytest.raises(ValueError, match=r"^executor must be None for Keras models"):
            adnn.measure_variance(objective, **options)
