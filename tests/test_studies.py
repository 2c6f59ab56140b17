"""The committed results of studies, and the texts and figures that use them."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest

import adnn_optuna as adnn

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "studies"


@pytest.fixture(scope="module")
def figures() -> Iterator[Any]:
    sys.path.insert(0, str(STUDIES))
    try:
        yield importlib.import_module("figures")
    finally:
        sys.path.remove(str(STUDIES))


def make_case(*arguments: Any, **options: Any) -> Any:
    """Return a case of the sampler benchmarks."""
    return sys.modules["_case"].Case(*arguments, **options)


def test_tables_agree_with_the_committed_results(figures: Any) -> None:
    written = figures.blocks()
    for page in figures.PAGES:
        text = page.read_text(encoding="utf-8")
        assert "<!-- begin: " in text
        assert figures.with_blocks(text, written) == text


def test_the_figures_on_pages_are_those_that_studies_draw(figures: Any) -> None:
    figure_files = {
        f"{study.name}{suffix}.png"
        for study in figures.STUDIES
        if study.results_file.exists()
        for suffix in study.figures(study.load())
    }
    text = "".join(page.read_text(encoding="utf-8") for page in STUDIES.glob("*.md"))
    assert figure_files == set(re.findall(r"!\[[^]]*\]\((.+?)\)", text))
    assert all((STUDIES / name).is_file() for name in figure_files)


@pytest.mark.slow
def test_a_resumed_study_reuses_its_trials(figures: Any, url: str) -> None:
    motivation = figures.motivation
    settings = motivation.Settings(runs=3, draws=2, epochs=2)

    # The first run stops in the middle, like a killed process. The second run completes the rest.
    first = next(motivation.run(settings, url))
    *_, results = motivation.run(settings, url)
    *_, again = motivation.run(settings, url)

    assert results == again
    assert results["runs"] == first["runs"]
    same = results["runs"][motivation.SAME]
    assert all(len(set(same[name])) == 1 for name in motivation.CLASSIFIERS)
    assert len(set(same[motivation.MLP])) > 1
    assert all(
        [len(curve) for curve in curves] == [2, 2]
        for curves in results["initial_weights"].values()
    )
    results["setting"] = {"name": "tiny", "runs": 3, "draws": 2, "epochs": 2}
    assert set(motivation.figures(results)) == {"_runs", "_initial_weights"}
    assert "| MLP | the same data | 3 |" in motivation.summary(results)


def walks_of_seeds(rq1: Any, gain: Any, *, trials: int = 20, seeds: int = 10) -> dict[str, Any]:
    """Return results of one model in which ``gain(seed, offsets)`` was added to a baseline."""
    steps = np.outer((0.0025, 0.003, 0.006), range(trials + 1))
    offsets = sorted({round(offset, 6) for offset in steps.flat})
    accuracy = [(0.5 + gain(seed, np.array(offsets))).tolist() for seed in range(seeds)]
    return {
        "setting": {"deltas": [0.0025, 0.003, 0.006], "trials": trials, "seeds": seeds},
        "models": {"MNIST-1": {"offsets": offsets, "accuracy": accuracy}},
    }


def test_all_steps_of_one_seed_count_as_one_case(figures: Any) -> None:
    rq1 = figures.rq1_step_size
    # Each seed's walk has the same direction in all its steps.
    either_way = walks_of_seeds(rq1, lambda seed, offsets: (-1) ** seed * offsets)
    # All walks go down; the walk of the last seed goes down least.
    down = walks_of_seeds(rq1, lambda seed, offsets: (seed - 10) * offsets)

    [trend, _] = rq1.trends(either_way)
    assert sorted(set(trend["correlations"].round(6))) == [-1, 1]
    assert trend["p"] > 0.5
    [trend, _] = rq1.trends(down)
    assert trend["p"] == pytest.approx(2 / 2**10)


def test_values_of_delta_are_compared_between_seeds(figures: Any) -> None:
    rq1 = figures.rq1_step_size
    # The best offset is 0.12. In 20 trials, only the delta 0.006 reaches it.
    peak = walks_of_seeds(rq1, lambda seed, offsets: -abs(offsets - 0.12) / 2**seed)
    # The gain of each seed with each offset is random.
    luck = walks_of_seeds(
        rq1, lambda seed, offsets: np.random.default_rng(seed).normal(0, 0.01, len(offsets))
    )

    [row] = rq1.rows(peak)
    assert row["p"] < 0.001
    assert row["best_delta"] == 0.006
    assert row["gain"] == pytest.approx(12 * np.mean(0.5 ** np.arange(10)))
    assert (row["is_chosen_best"], row["seeds_chosen_best"]) == (False, 0)
    [row] = rq1.rows(luck)
    assert row["p"] > 0.05


def test_models_are_pooled_seed_by_seed(figures: Any) -> None:
    study = figures.greedy_vs_annealing
    # Within a model, the seeds' deviations are large, but those of both models cancel.
    noise = np.linspace(-0.1, 0.1, 10)
    gain = {"annealing": 0.005}
    models = {
        name: {
            arm: {
                "test": (
                    0.8
                    + gain.get(arm, 0.0)
                    + (arm == "annealing") * (sign * noise + noise**2 / 10)
                ).tolist()
            }
            for arm in study.SAMPLERS
        }
        for name, sign in (("MNIST-1", 1), ("MNIST-2", -1))
    }

    verdicts = study.verdicts({"models": models})

    luck = ("annealing", "random_restart")
    assert [verdicts[name][luck].verdict for name in models] == ["inconclusive", "inconclusive"]
    assert verdicts[study.ALL][luck].verdict == "better"
    assert verdicts[study.ALL][luck].low == pytest.approx(0.005, abs=0.001)


def paper_size_of(figures: Any, seeds: dict[str, list[int]]) -> dict[str, Any]:
    """Return results in which Algorithm 1 is 1 pp worse than all others and does not replicate."""

    def unit(seed: int) -> dict[str, Any]:
        luck = 0.001 * seed
        of_arm = {arm: {"test": 0.8 + luck, "train": 0.8} for arm in figures.paper_size.ARMS}
        of_arm["greedy"] = {"test": 0.79, "train": 0.81, "replication": 0.01 * (-1) ** seed}
        of_arm["annealing"]["test"] += 1e-5 * (-1) ** seed
        of_arm["annealing"]["replication"] = 0.02 + luck
        return {**of_arm, "baseline": {"test": 0.7, "train": 0.7}}

    models = {name: {str(seed): unit(seed) for seed in of_name} for name, of_name in seeds.items()}
    setting = {"seeds": [*range(10, 18)], "trials": 50, "models": ["MNIST-4", "FMNIST-4"]}
    return {"setting": setting, "models": models}


def test_a_model_with_missing_planned_seeds_has_no_verdict(figures: Any) -> None:
    study, planned = figures.paper_size, [*range(10, 18)]
    # The sixth seed is missing, so later seeds do not count.
    open_ = paper_size_of(figures, {"MNIST-4": [10, 11, 12, 13, 14, 16, 17]})
    done = paper_size_of(figures, {"MNIST-4": planned, "FMNIST-4": planned[:-1]})

    assert "| MNIST-4 | 5 of 8 |" in study.summary(open_)
    assert {claim.verdict for claim in study.claims(open_)} == {"open"}
    assert study.POOLED not in study.summary(done)
    verdicts = {
        re.search(r"[F]?MNIST-\d|models", claim.claim)[0]: claim.verdict
        for claim in study.claims(done)
    }
    assert verdicts["MNIST-4"].startswith("not reproduced")
    assert verdicts["FMNIST-4"] == "open"


def test_verdicts_of_the_paper_size_are_those_of_compare_values(figures: Any) -> None:
    study, planned = figures.paper_size, [*range(10, 18)]
    results = paper_size_of(figures, {"MNIST-4": planned, "FMNIST-4": planned})

    for values, claims in (
        (study.accuracies, study.OF_RESTARTS),
        (study.replication, study.OF_REPLICATION),
    ):
        judged = study.differences(results, values, claims)
        assert set(judged) == {"MNIST-4", "FMNIST-4", study.POOLED}
        for name in ("MNIST-4", study.POOLED):
            # POOLED is the mean of two equal units, so it equals each of them.
            units = study.of_units(results, "MNIST-4")
            comparison = adnn.compare_values(values(units), margin=0.001).differences()
            for (arm, reference), difference in judged[name].items():
                by_us = difference if (arm, reference) in comparison.index else difference.turned()
                theirs = comparison.loc[by_us.arm, by_us.other]
                assert by_us.verdict == theirs["verdict"]
                numbers = (by_us.mean, by_us.low, by_us.high)
                assert numbers == pytest.approx((*theirs[["difference", "low", "high"]],))
    replication = study.differences(results, study.replication, study.OF_REPLICATION)[study.POOLED]
    assert replication["annealing", study.BASELINE].verdict == "better"
    assert replication["greedy", study.BASELINE].verdict == "inconclusive"


def test_the_claim_on_depth_is_judged_once_all_planned_seeds_are_done(figures: Any) -> None:
    study, planned = figures.depth, [*range(10, 18)]
    for of_last_model, expected, n_figures in (
        (planned[:-1], "open: 7 of 8 planned seeds are complete", 0),
        (planned, "worse: -2.35 (", 1),
    ):
        results = paper_size_of(figures, {"MNIST-4": planned, "FMNIST-4": of_last_model})
        results["test"] = study.test_accuracies(results["models"])
        assert study.finding(results).startswith(expected)
        drawings = study.figures(results)
        assert len(drawings) == n_figures
    *_, mean = drawings[""].data
    assert mean.x == pytest.approx([-2.35])


def test_samplers_and_controls_are_chosen_by_the_selection_metric(figures: Any) -> None:
    study = figures.regimes_controls

    def values_of(selected: float, test: float) -> dict[str, list[float]]:
        """Return values of ten seeds, with equal differences between arms."""
        return {"selected_by": [selected] * 10, "test": [test + 1e-4 * i for i in range(10)]}

    # By the selection metric, annealing is the best sampler, and learning_rate is the best
    # control.
    of_arm = {
        "greedy": (0.70, 0.79),
        "annealing": (0.71, 0.72),
        "random_restart": (0.70, 0.70),
        "longer": (0.72, 0.80),
        "learning_rate": (0.73, 0.75),
        "constant": (0.70, 0.90),
    }
    cell = {
        "learning_rate": 0.01,
        "epochs": 1,
        "baseline": [0.6] * 10,
        "arms": {arm: values_of(*means) for arm, means in of_arm.items()},
    }
    results = {
        "setting": {"learning_rates": [0.01], "epochs": [1], "seeds": [0, 10], "trials": 10},
        "cells": [cell],
    }

    luck, otherwise = study.differences(cell)
    assert (luck.arm, luck.other, luck.verdict) == ("annealing", "random_restart", "better")
    assert (otherwise.arm, otherwise.other) == ("annealing", "learning_rate")
    assert otherwise.mean == pytest.approx(-0.03)
    [claim] = study.claims(results)
    assert claim.verdict.endswith("in none of 1 settings")
    # Other cells have no arm ensemble.
    ensemble = values_of(0.74, 0.77)
    _, otherwise = study.differences({**cell, "arms": {**cell["arms"], "ensemble": ensemble}})
    assert (otherwise.other, otherwise.mean) == ("ensemble", pytest.approx(-0.05))
    cell["arms"]["annealing"]["test"] = values_of(0.71, 0.76)["test"]
    [claim] = study.claims(results)
    assert claim.verdict.endswith("in 1 of 1 settings")


# Published optima: Gramacy et al. 2016, CEC 2006 (g04 to g24), and Coello and Mezura 2002.
OPTIMA = {
    "Gramacy": 0.5998,
    "g04": -30665.539,
    "g08": -0.095825,
    "g09": 680.6301,
    "g24": -5.508013,
    "spring": 0.012665,
    "beam": 1.724852,
    "vessel": 6059.7143,
}


def test_functions_with_constraints_have_the_published_optima(figures: Any) -> None:
    problems = figures.sampler_constraints.PROBLEMS
    assert problems.keys() == OPTIMA.keys()
    for name, problem in problems.items():
        value, margins = problem.function(*problem.best)
        assert value == pytest.approx(OPTIMA[name], rel=1e-4)
        # The beam's stresses and loads are in thousands.
        assert max(margins) < 0.01


def test_a_benchmark_of_samplers_resumes_and_uses_true_values(
    figures: Any, tmp_path: Path
) -> None:
    samplers, calls = sys.modules[figures.sampler_tables.main.__module__], []

    def objective(trial: Any, seed: int) -> float:
        x, is_running = trial.suggest_float("x", 0, 1), isinstance(trial, optuna.Trial)
        calls.append((is_running, x))
        return -float(seed) if is_running else x

    def run(*names: str) -> list[dict[str, Any]]:
        cases = [make_case("", name, 0, 3, objective, {"x": 0.25}) for name in ("p", "q")]
        samplers.run(path, cases, {name: samplers.METHODS[name] for name in names})
        rows: list[dict[str, Any]] = samplers.read(path)
        return rows

    path = tmp_path / "cells.jsonl"
    first = run("annealing")
    assert calls[0] == (True, 0.25)
    assert {cell["regret"] for cell in first} <= {x for is_running, x in calls if not is_running}
    path.write_text(path.read_text() + '{"group": "cut o')
    calls.clear()
    assert run("annealing") == first
    assert not calls
    cells = [*run("annealing", "QMC"), {**first[0], "method": "TPE", "regret": 2.0}]
    rows = {row["method"]: row for row in samplers.rows_of(cells)}
    assert rows["TPE"]["ours_over_it"][0] == pytest.approx(first[0]["regret"] / 2)
    # Some problems have no runs of TPE.
    assert (rows["TPE"]["mean_rank"], rows["TPE"]["regrets"]) == (None, {"p": 2.0})
    ranks = [rows[name]["mean_rank"][0] for name in ("annealing", "QMC")]
    assert sum(ranks) == 3
    regrets = [cell["regret"] for cell in cells if cell["method"] == "QMC"]
    assert rows["QMC"]["regret"] == pytest.approx(np.mean(regrets))
    ours = np.mean([cell["regret"] for cell in first])
    assert rows["QMC"]["ours_minus_it"] == [pytest.approx(ours - np.mean(regrets)), None]
    assert 0 < rows["QMC"]["seconds"] < 1


def test_a_rival_knows_the_parameters_and_their_conditions(figures: Any) -> None:
    rivals = importlib.import_module("_rivals")

    def objective(trial: Any, _: int) -> float:
        n = trial.suggest_int("n", 2, 8, step=2)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        x = trial.suggest_float("x", 1e-3, 1, log=True)
        if n > 4:
            x += trial.suggest_float("if n", -1, 0, step=0.25)
        if kind == "b":
            x += trial.suggest_int("if kind", 1, 9, log=True)
        return float(x)

    case = make_case("", "", 0, 1, objective, is_conditional=True)
    space = rivals.Space.of(case)
    # Conditions use positions: steps and choices count from 0.
    assert space.conditions == {"if n": ("n", [2, 3]), "if kind": ("kind", [1])}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: objective(trial, 0), 20)
    for trial in study.trials:
        for name, value in trial.params.items():
            axis = space.axes[name]
            assert axis.value(axis.place(value)) == value
            assert axis.low <= axis.place(value) <= axis.high


def test_simulated_rates_have_standard_errors_and_are_read_again(
    figures: Any, tmp_path: Path
) -> None:
    study, sizes = figures.error_rates, []

    def simulate(_: np.random.Generator, worlds: int) -> dict[str, Any]:
        sizes.append(worlds)
        return {"false": np.arange(worlds) % 4 == 0, "error": np.linspace(0, 1, worlds)}

    cases = (study.Case("one", "", simulate, 100),)
    [first] = study.run(tmp_path / "cases.jsonl", cases)
    assert [study.rate(row) for row in first["rates"]] == ["25 ± 4%", "0.50 ± 0.03"]
    assert [*study.run(tmp_path / "cases.jsonl", cases)] == [first]
    [*study.run(tmp_path / "cases.jsonl", cases, 8)]
    assert sizes == [100, 8]


def test_equal_models_of_overlapping_splits_seem_to_differ_by_sign_flips(figures: Any) -> None:
    rates = figures.error_rates.redrawn_splits(np.random.default_rng(0), 60)
    by_sign_flips, corrected, read_often = (of_name.mean() for of_name in rates.values())
    assert corrected <= read_often < by_sign_flips
    assert by_sign_flips > 0.4


def test_the_help_of_a_script_describes_it() -> None:
    done = subprocess.run(
        [sys.executable, STUDIES / "rq2_trials.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--quick" in done.stdout
    assert "RQ2" in done.stdout


# If JAX is installed, training_speed measures it, too.
QUICK = ("sampler_quality", "sampler_quality_many", "sampler_quality_mixed", "sampler_tables")
QUICK += ("training_speed", "trial_overhead", "motivation", "overtuning", "index_protocol")
QUICK += ("replicates", "sampler_budgets", "sampler_constraints", "keep", "big_inputs")
QUICK += ("error_rates",)
OF_IMAGES = ("baselines", "rq1_step_size", "rq2_trials", "rq3_time", "greedy_vs_annealing")
OF_IMAGES += ("paper_size", "depth", "regimes", "regimes_controls", "n_trainings")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, *OF_IMAGES])
def test_a_quick_study_writes_only_to_its_build_folder(name: str, tmp_path: Path) -> None:
    if name in OF_IMAGES and not os.environ.get("ADNN_DATA_DIR"):
        pytest.skip("ADNN_DATA_DIR is unset, so there is no MNIST and Fashion-MNIST to read")
    shutil.copytree(STUDIES, tmp_path / "studies", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "elsewhere").mkdir()
    before = files_in(tmp_path)
    options = ["--repetitions", "1"] * (name == "training_speed")
    subprocess.run(
        [sys.executable, "-B", tmp_path / "studies" / f"{name}.py", "--quick", *options],
        cwd=tmp_path / "elsewhere",
        check=True,
        capture_output=True,
        timeout=600,
    )
    after = files_in(tmp_path)
    assert {path for path in after if before.get(path) != after[path]} == {
        path for path in after if path.is_relative_to(tmp_path / "build" / "studies")
    }
    assert len(after) > len(before)


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_study_has_a_quick_test(figures: Any) -> None:
    assert {study.name for study in figures.STUDIES} == {*QUICK, *OF_IMAGES}
