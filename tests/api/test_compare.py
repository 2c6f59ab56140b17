"""Comparisons: paired seeds, stored studies, table and plot."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from compare_worker import Cluster
from completed_trials import completed
from search_worker import make_objective
from snapshots import without_reuse

import adnn_optuna as adnn
from adnn_optuna.api.stored import load_comparison
from adnn_optuna.samplers._owners import owner_of

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage

    from adnn_optuna import InitOffsetObjective

SEEDS = (0, 5, 2)


@pytest.fixture(scope="module")
def comparison(objective: InitOffsetObjective) -> adnn.Comparison:
    return adnn.compare(objective, max_trial=6, seeds=SEEDS)


def test_each_run_is_the_search_with_its_seed(
    comparison: adnn.Comparison, objective: InitOffsetObjective
) -> None:
    assert list(comparison.results) == ["greedy", "annealing", "random_restart"]
    for sampler, results in comparison.results.items():
        for seed, result in zip(SEEDS, results, strict=True):
            alone = adnn.search(objective.replace(seed=seed), sampler, max_trial=6, batch_size=1)
            assert completed(result.study) == completed(alone.study)
            assert result.test_gain == alone.test_gain


def test_a_stored_comparison_continues(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    settings: dict[str, Any] = {"samplers": ("greedy", "random_restart"), "storage": storage}
    adnn.compare(objective, max_trial=2, seeds=(0, 1), **settings)
    longer = adnn.compare(objective, max_trial=5, seeds=(0, 1, 2), **settings)
    whole = adnn.compare(objective, max_trial=5, seeds=(0, 1, 2), samplers=settings["samplers"])
    for sampler in settings["samplers"]:
        for run, uninterrupted_run in zip(
            longer.results[sampler], whole.results[sampler], strict=True
        ):
            assert completed(run.study) == completed(uninterrupted_run.study)
    names = {f"compare/{s}/seed={i}" for s in settings["samplers"] for i in range(3)}
    # The last studies are runs on new seeds, one for each run of greedy.
    names |= {f"compare/greedy/seed={i}/confirmation" for i in range(3)}
    assert set(optuna.get_all_study_names(storage)) == {"compare", *names}


def test_own_samplers_have_labels(
    objective: InitOffsetObjective, logs: pytest.LogCaptureFixture
) -> None:
    comparison = adnn.compare(
        objective,
        {
            "TPE": lambda seed, n_trials: optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=n_trials
            ),
            "one sampler": optuna.samplers.RandomSampler(seed=0),
            "walk": "greedy",
        },
        max_trial=3,
        seeds=(0, 1),
    )
    assert list(comparison.table().index) == ["TPE", "one sampler", "walk", "random_restart"]
    # Each run has its own copy of the sampler, so it draws the same for each seed. A warning says
    # so.
    assert [r.getMessage() for r in logs.records if "for all seeds" in r.getMessage()]
    first, second = comparison.results["one sampler"]
    assert [t.params for t in first.study.trials] == [t.params for t in second.study.trials]


class TestControl:
    def test_random_restarts_are_always_compared(self, objective: InitOffsetObjective) -> None:
        comparison = adnn.compare(objective, ("greedy",), max_trial=2, seeds=(0,))
        assert list(comparison.results) == ["greedy", "random_restart"]
        assert comparison.numbers.reference == "random_restart"

    def test_random_restarts_under_another_label_are_not_doubled(
        self, objective: InitOffsetObjective
    ) -> None:
        samplers = {"walk": "greedy", "luck": "random_restart"}
        comparison = adnn.compare(objective, samplers, max_trial=2, seeds=(0,))
        assert list(comparison.results) == ["walk", "luck"]
        assert comparison.numbers.reference == "luck"

    def test_random_restarts_are_needed(self) -> None:
        model = adnn.MLP((8,), kernel_initializer="ones")
        objective = adnn.InitOffsetObjective(model, adnn.load_dataset("digits"))
        with pytest.raises(ValueError, match="must start from other weights"):
            adnn.compare(objective, ("greedy",), max_trial=2, seeds=(0,))


class TestDifferences:
    def test_of_real_runs_are_paired_by_seed(self, comparison: adnn.Comparison) -> None:
        differences = comparison.differences()
        assert list(differences.index) == [
            ("greedy", "annealing"),
            ("greedy", "random_restart"),
            ("annealing", "random_restart"),
        ]
        for (sampler, reference), row in differences.iterrows():  # type: ignore[misc]
            paired = [
                a.test_gain - b.test_gain
                for a, b in zip(
                    comparison.results[sampler], comparison.results[reference], strict=True
                )
            ]
            assert row["difference"] == pytest.approx(np.mean(paired), abs=1e-9)
            assert row["pairs"] == 3
            assert row["verdict"] == "inconclusive"

    def test_a_copy_of_an_arm_is_not_better(self, objective: InitOffsetObjective) -> None:
        comparison = adnn.compare(
            objective, {"a": "annealing", "a again": "annealing"}, max_trial=3, seeds=range(6)
        )
        row = comparison.differences().loc[("a", "a again")]
        assert row["difference"] == 0
        # There is no claim on two arms if neither is the reference or the paper's sampler.
        assert row["verdict"] == "no claim"


def test_wrong_arguments_are_refused_before_anything_is_stored(
    objective: InitOffsetObjective, tmp_path: Path
) -> None:
    path = tmp_path / "compare.db"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"samplers": ()}, "empty"),
        ({"samplers": "greedy"}, r"Pass samplers=\["),
        ({"samplers": ("greedy", "greedy")}, "samplers must be different names"),
        ({"samplers": ("genetic",)}, "samplers must be one of"),
        ({"samplers": (optuna.samplers.RandomSampler(),)}, "a mapping from labels"),
        ({"seeds": ()}, "seeds must not be empty"),
        ({"seeds": (1, 1)}, "Remove duplicates"),
        ({"seeds": (0, 2**64), "stop_when_decided": True}, "seed must be below 18,446"),
        (
            {"samplers": {"random_restart": "greedy"}},
            "must be of the sampler that is always compared",
        ),
        ({"samplers": {1: "greedy"}}, "samplers must be different names"),
        ({"samplers": {"": "greedy"}}, "samplers must be different names"),
        ({"seeds": 0}, "seeds must be a whole number of at least 1"),
        ({"seeds": 1.5}, "seeds must be integers, or how many; got 1.5"),
        ({"study_name": 5}, "study_name must be a string"),
        ({"executor": 5}, "executor must be"),
        ({"samplers": {"a/b": "greedy"}}, "no slash"),
        ({"controls": ("longer",), "max_gain": 0.1}, "got both. Omit one of the two"),
        ({"controls": "longer"}, "controls must be a list of names; got 'longer'"),
        ({"controls": {"longer": "constant"}}, "controls must be a list of names"),
        ({"controls": ["longer"] * 2}, "controls must be different names"),
        ({"controls": [len]}, "controls must be one of longer, learning_rate"),
        ({"controls": ("long",)}, "got 'long'. Did you mean 'longer'"),
        (
            {"samplers": {"longer": "greedy"}, "controls": ["longer"]},
            "Labels of samplers and controls must differ; got 'longer' twice",
        ),
    ]
    for arguments, message in wrong:
        with pytest.raises((ValueError, TypeError), match=message):
            adnn.compare(
                objective, **{"max_trial": 3, "storage": f"sqlite:///{path}", **arguments}
            )
        assert not path.exists()
    with pytest.raises(TypeError, match="objective must be an InitOffsetObjective"):
        adnn.compare(adnn.MLP(), max_trial=3, storage=f"sqlite:///{path}")  # type: ignore[arg-type]
    assert not path.exists()


def comparable(comparison: adnn.Comparison) -> list[tuple[str, object, float | None]]:
    return [
        (trial.state.name, trial.params, trial.value)
        for label in comparison.results
        for run in comparison.results[label]
        for trial in run.study.trials
    ]


@pytest.mark.slow
def test_a_cluster_compares_as_one_process_does(url: str) -> None:
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    settings = {"samplers": ("greedy", "annealing"), "max_trial": 3, "seeds": range(2)}
    alone = adnn.compare(make_objective(), **settings)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        together = adnn.compare(
            make_objective(), **settings, storage=url, executor=client.get_executor()
        )
    assert comparable(together) == comparable(alone)
    owners = {
        owner_of(trial)["process"]
        for runs in together.results.values()
        for run in runs
        for trial in run.study.trials
    }
    assert os.getpid() not in owners


def test_a_grid_that_a_worker_exhausted_is_not_repeated(url: str) -> None:
    grid = optuna.samplers.GridSampler({"weight_offset_0": [0.0, 0.1], "bias_offset_0": [0.1]})
    with Cluster() as executor:
        comparison = adnn.compare(
            make_objective(),
            {"grid": grid},
            max_trial=9,
            seeds=[0],
            storage=url,
            executor=executor,
        )
    [run] = comparison.results["grid"]
    assert run.stop_reason == "exhausted"
    assert len(run.study.trials) == 3


def test_processes_that_are_forked_are_refused(url: str) -> None:
    context = multiprocessing.get_context("fork")
    with (
        concurrent.futures.ProcessPoolExecutor(1, context) as executor,
        pytest.raises(ValueError, match=r"forks this process.*get_context\('spawn'\)"),
    ):
        adnn.compare(
            make_objective(),
            max_trial=2,
            seeds=[0],
            storage=url,
            executor=executor,
        )


@pytest.mark.parametrize("storage", [None, "sqlite://"])
def test_an_executor_needs_a_storage_that_other_processes_reach(storage: str | None) -> None:
    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(ValueError, match="storage must be a database, because"),
    ):
        adnn.compare(make_objective(), max_trial=2, seeds=[0], storage=storage, executor=executor)


def interrupting(seed: int, _: int | None) -> optuna.samplers.BaseSampler:
    """Return a sampler that presses Ctrl-C in its third trial."""

    class Interrupting(optuna.samplers.RandomSampler):
        def after_trial(
            self, study: optuna.Study, trial: optuna.trial.FrozenTrial, *_: Any
        ) -> None:
            if trial.number == 2:
                os.kill(os.getpid(), signal.SIGINT)

    return Interrupting(seed=seed)


def test_an_interrupted_comparison_in_memory_is_kept(
    objective: InitOffsetObjective, logs: pytest.LogCaptureFixture
) -> None:
    arguments: dict[str, Any] = {"max_trial": 50, "seeds": (0, 1)}
    with pytest.raises(KeyboardInterrupt):
        adnn.compare(objective, {"mine": interrupting}, **arguments)
    [message] = [record.message for record in logs.records if "Interrupted" in record.message]
    [url] = re.findall(r"all trials are kept in storage='(sqlite:///.*/compare\.db)'", message)
    names = optuna.get_all_study_names(url)
    assert len(names) == 7
    assert sum(len(optuna.load_study(study_name=n, storage=url).trials) for n in names) >= 3


@pytest.mark.slow
def test_an_interrupted_comparison_is_resumed_by_its_name(
    objective: InitOffsetObjective, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, train, calls = f"sqlite:///{tmp_path / 'compare.db'}", objective.trainer.train, []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return train(*args, **kwargs)

    arguments: dict[str, Any] = {
        "samplers": {"walk": "greedy", "random_restart": "random_restart"},
        "controls": ("constant",),
        "seeds": (4, 1),
        "max_trial": 3,
        "margin": 0.02,
    }
    monkeypatch.setattr(objective.trainer, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adnn.compare(objective, **arguments, storage=url)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"must have ended; got \d of 6 ended runs"):
        load_comparison(url, "compare")
    with pytest.raises(ValueError, match="sampler must be omitted for the comparison"):
        adnn.resume(url, "compare", sampler="greedy")
    resumed, whole = adnn.resume(url, "compare"), adnn.compare(objective, **arguments)
    assert resumed.numbers.is_complete
    # Only one of the two comparisons compiles the network, so their times for three trials differ.
    texts = [
        re.sub(r"( 3) +\d+\.\d\d\b.*$", r"\1", without_reuse(each), flags=re.MULTILINE)
        for each in (resumed, whole)
    ]
    assert texts[0] == texts[1]
    ended = [trial for trial in comparable(resumed) if trial[0] != "FAIL"]
    assert ended == comparable(whole)
    longer = adnn.resume(url, "compare", max_trial=4)
    assert {len(run.record.done_trials) for run in longer.results["walk"]} == {4}


def test_a_comparison_of_own_samplers_is_resumed_by_compare(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    tpe = {"TPE": lambda seed, _: optuna.samplers.TPESampler(seed=seed)}
    adnn.compare(objective, tpe, max_trial=1, seeds=[0], storage=storage, study_name="c")
    with pytest.raises(ValueError, match=r"'c' does not store TPE\. Call compare again"):
        adnn.resume(storage, "c")
