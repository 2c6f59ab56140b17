"""The packages for OptunaHub load, and behave like the modules that they are built from."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import optunahub
import pytest

from adnn_optuna.callbacks import MaxTrialCallback
from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    KeyedSampler,
)

if TYPE_CHECKING:
    from types import ModuleType

STUDIES = Path(__file__).parents[1] / "studies"
CATEGORIES = {"samplers": "sampler", "callbacks": "callback"}


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "build_optunahub", STUDIES / "optunahub" / "build.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry = tmp_path_factory.mktemp("registry")
    build = load_build()
    for package in build.PACKAGES:
        build.build(package, registry)
    return registry


def run_python(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2 + trial.suggest_int("k", 0, 9)


def run(sampler: Any, *callbacks: Any) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=20, callbacks=callbacks)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize(
    ("package", "ours", "arguments"),
    [
        (
            "samplers/adaptive_simulated_annealing",
            AdaptiveSimulatedAnnealingSampler,
            {"seed": 1, "n_trials": 20, "x0": {"x": 0.5}},
        ),
        ("samplers/delta_step", DeltaStepSampler, {"deltas": (0.01,), "accept": "improving"}),
        (
            "samplers/keyed",
            KeyedSampler,
            {"factory": lambda seed, _: optuna.samplers.RandomSampler(seed=seed), "seed": 3},
        ),
    ],
)
def test_samplers_propose_as_those_of_the_package(
    package: str, ours: type, arguments: dict[str, Any], registry: Path
) -> None:
    module = optunahub.load_local_module(package, registry_root=str(registry))
    sampler = getattr(module, ours.__name__)(**arguments)
    assert not type(sampler).__module__.startswith("adnn_optuna")
    assert run(sampler) == run(ours(**arguments))


def test_callbacks_stop_as_those_of_the_package(registry: Path) -> None:
    module = optunahub.load_local_module("callbacks/study_limits", registry_root=str(registry))
    random = optuna.samplers.RandomSampler(seed=0)
    limits = [module.MaxTrialCallback(7), module.MaxTimeCallback(60), module.MaxGainCallback(1e9)]
    assert len(run(random, *limits)) == len(run(random, MaxTrialCallback(7))) == 7


@pytest.mark.slow
def test_the_tests_and_examples_of_the_packages_pass(registry: Path) -> None:
    tests = [str(folder) for folder in registry.glob("*/*/tests")]
    assert len(tests) == 4
    run_python("-m", "pytest", "--quiet", "-p", "no:cacheprovider", *tests)
    # Examples load the local build, as the hub may have another version or none.
    local = f"optunahub.load_local_module(registry_root={str(registry)!r}, package="
    codes = [
        example.read_text().replace("optunahub.load_module(", local)
        for example in registry.glob("*/*/example.py")
    ]
    assert len(codes) == 4
    run_python("-c", f"for code in {codes}: exec(code, {{}})")


@pytest.mark.slow
def test_packages_pass_the_registrys_own_checks(registry: Path) -> None:
    load_build().check(registry)
    readme = registry / "samplers" / "keyed" / "README.md"
    for before, after in (("title: Keyed Sampler\n", ""), ("\n## APIs", "\n\n\n## APIs")):
        text = readme.read_text()
        readme.write_text(text.replace(before, after, 1))
        with pytest.raises((ValueError, subprocess.CalledProcessError)):
            load_build().check(registry)
        readme.write_text(text)


def test_requirements_list_all_imported_packages(registry: Path) -> None:
    expected = {
        "samplers/adaptive_simulated_annealing": ["numpy", "psutil", "scipy"],
        "samplers/delta_step": ["numpy", "psutil"],
        "samplers/keyed": ["numpy", "psutil"],
        "callbacks/study_limits": ["psutil"],
    }
    for package, names in expected.items():
        lines = (registry / package / "requirements.txt").read_text().splitlines()
        assert [line.partition(">=")[0] for line in lines] == names
        assert all(">=" in line for line in lines)


def test_folders_have_the_files_and_texts_of_the_registry(registry: Path) -> None:
    for folder in registry.glob("*/*"):
        assert {"LICENSE", "README.md", "__init__.py", "example.py", "tests"} <= {
            file.name for file in folder.iterdir()
        }
        _, header, text = (folder / "README.md").read_text().split("---\n", 2)
        fields = dict(line.split(": ", 1) for line in header.splitlines())
        assert list(fields) == [
            "author",
            "title",
            "description",
            "tags",
            "optuna_versions",
            "license",
        ]
        assert CATEGORIES[folder.parent.name] in fields["tags"].strip("[]").split(", ")
        package = f"{folder.parent.name}/{folder.name}"
        assert f'load_module("{package}")' in text
        assert f'load_module("{package}")' in (folder / "example.py").read_text()
        for heading in ("Abstract", "APIs", "Example"):
            assert re.search(rf"^## {heading}$", text, re.MULTILINE)
        for image in re.findall(r"\]\((images/[^)]*)\)", text):
            assert (folder / image).exists()
        # No module imports the package itself, which may not be installed.
        for module in folder.glob("*.py"):
            assert "adnn_optuna." not in re.sub(r"`~?adnn_optuna[.\w]*`", "", module.read_text())
