"""Fingerprints of functions: equal for equal source, different for other computations."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import optuna
import pytest

import adnn_optuna as adnn
from adnn_optuna import _attributes as stored
from adnn_optuna.engine.code_fingerprint import code_fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage

SOURCE = """
import functools

def helper(x):
    return x + 1

class Model:
    def __init__(self, rate):
        self.rate, self.n_calls = rate, 0

    def __call__(self, seed):
        self.n_calls += 1
        return helper(seed) * self.rate

def made(factor):
    n_calls = 0

    def function(seed):
        nonlocal n_calls
        n_calls += 1
        return helper(seed) * factor if seed not in {"a", "b", "c"} else None

    return function

def plain(seed, low=0, *, rate=0.1):
    return [helper(i) * rate for i in range(low, seed)]

@functools.cache
def cached(seed):
    return helper(seed)

SCALE = 3
N_CALLS = 0

class Slotted:
    __slots__ = ("rate",)
    offset = 5

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, seed):
        return self.rate + self.offset

class Shifted(Model):
    @functools.cached_property
    def shift(self):
        return 7

    def __call__(self, seed):
        return super().__call__(seed) + self.shift

def count():
    global N_CALLS
    N_CALLS += 1

def scaled(seed):
    count()
    return dict(seed=SCALE * N_CALLS)

FUNCTIONS = {
    "slotted": Slotted(8),
    "shifted": Shifted(9),
    "scaled": scaled,
    "plain": plain,
    "partial": functools.partial(plain, rate=0.5),
    "instance": Model(2),
    "method": Model(3).__call__,
    "closure": made(2),
    "cached": cached,
}
"""


EVERY = {
    *("slotted", "shifted", "scaled", "plain", "partial"),
    *("instance", "method", "closure", "cached"),
}


def loaded(folder: Path, source: str) -> Any:
    path = folder / f"own_{abs(hash(source))}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("own", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fingerprints(folder: Path, source: str = SOURCE) -> dict[str, str]:
    functions = loaded(folder, source).FUNCTIONS
    return {name: code_fingerprint(function) for name, function in functions.items()}


def test_lines_comments_and_docstrings_do_not_change_a_fingerprint(tmp_path: Path) -> None:
    moved = "\n\n# A comment.\n" + SOURCE.replace(
        "def helper(x):", 'def helper(x):\n    """Return more."""\n    # Why.'
    ).replace("rate=0.1):", 'rate=0.1):\n    """Return numbers."""')
    assert fingerprints(tmp_path, moved) == fingerprints(tmp_path)
    assert len({*fingerprints(tmp_path).values()}) == len(EVERY)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("x + 1", "x + 100", EVERY - {"slotted", "scaled"}),
        ("low=0", "low=1", {"plain", "partial"}),
        ("rate=0.5", "rate=0.6", {"partial"}),
        ("Model(2)", "Model(4)", {"instance"}),
        ("made(2)", "made(3)", {"closure"}),
        ('{"a", "b", "c"}', '{"a", "b"}', {"closure"}),
        ("Slotted(8)", "Slotted(4)", {"slotted"}),
        ("offset = 5", "offset = 6", {"slotted"}),
        ("return 7", "return 8", {"shifted"}),
        ("SCALE = 3", "SCALE = 4", {"scaled"}),
        ("dict(seed=", "dict(seeds=", {"scaled"}),
    ],
)
def test_each_part_of_a_function_changes_its_fingerprint(
    tmp_path: Path, old: str, new: str, changed: set[str]
) -> None:
    before, after = fingerprints(tmp_path), fingerprints(tmp_path, SOURCE.replace(old, new))
    assert {name for name in before if before[name] != after[name]} == changed


def test_state_that_calls_change_does_not_change_a_fingerprint(tmp_path: Path) -> None:
    functions = loaded(tmp_path, SOURCE).FUNCTIONS
    before = {name: code_fingerprint(function) for name, function in functions.items()}
    for function in functions.values():
        function(3)
    assert {name: code_fingerprint(function) for name, function in functions.items()} == before


def test_another_process_computes_the_same_fingerprint(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import own\n"
        "from adnn_optuna.engine.code_fingerprint import code_fingerprint\n"
        "print([code_fingerprint(f) for f in own.FUNCTIONS.values()])"
    )
    (tmp_path / "own.py").write_text(SOURCE)
    outputs = {
        subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, text=True
        )
        for seed in ("1", "2")
    }
    assert outputs == {f"{[*fingerprints(tmp_path).values()]}\n"}


def function_of(added: float) -> Any:
    def evaluate(trial: optuna.Trial, seed: int) -> float:
        return trial.suggest_float("x", 0, 1) + seed % 7 + added

    return evaluate


class TestVerbs:
    """After a function changed, its stored evaluations are reused only on request."""

    def of_verb(self, verb: str, storage: Any, added: float, **options: Any) -> Any:
        function = function_of(added)

        def of_seed(seed: int) -> float:
            return seed % 7 + added

        options["storage"] = storage
        if verb == "recheck":
            study = optuna.load_study(study_name="mine", storage=storage)
            return adnn.recheck(study, function, top=1, choose=1, confirm=2, **options)
        if verb == "models":
            models = {"one": of_seed, "two": lambda seed: seed % 5}
            return adnn.compare_models(models, seeds=range(7), **options)
        if verb == "variance":
            return adnn.measure_variance(of_seed, 5, **options)
        if verb == "search":
            return adnn.search(function, "random", max_trial=4, study_name="s", **options)
        return adnn.compare(function, ("tpe",), max_trial=2, seeds=range(2), **options)

    @pytest.mark.parametrize(
        ("verb", "name", "n"),
        [
            ("recheck", "evaluate", 2),
            ("models", r"models\['one'\]", 14),
            ("variance", "objective", 5),
            ("search", "objective", 4),
            ("compare", "objective", 8),
        ],
    )
    def test_a_changed_function_is_refused(
        self, storage: BaseStorage, verb: str, name: str, n: int
    ) -> None:
        study = optuna.create_study(study_name="mine", storage=storage)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        self.of_verb(verb, storage, 0.0)
        again = self.of_verb(verb, storage, 0.0)
        what = "trials" if verb in ("search", "compare") else "evaluations"
        assert f"{n} stored {what} reused, 0 new" in " ".join(format(again, "details").split())
        with pytest.raises(
            ValueError, match=f"{name} must have the code of {n} stored evaluations"
        ):
            self.of_verb(verb, storage, 100.0)
        result = self.of_verb(verb, storage, 100.0, reuse=True)
        assert f"{n} stored {what} reused, 0 new" in " ".join(format(result, "details").split())
        self.of_verb(verb, storage, 100.0)  # The stored fingerprint is the new function's.

    def test_another_python_is_reported_once(
        self, url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage = optuna.storages.RDBStorage(url)
        self.of_verb("variance", storage, 0.0)
        study = optuna.load_study(study_name="variance", storage=storage)
        study.set_user_attr(stored.CODE, {"python": "cpython-310", "objective": "0"})
        for n_said in (1, 1):
            self.of_verb("variance", storage, 1.0)
            messages = [r for r in caplog.records if "another version of Python" in r.getMessage()]
            assert len(messages) == n_said


def test_a_partial_of_a_builtin_has_a_fingerprint() -> None:
    assert code_fingerprint(functools.partial(max, 1)) != code_fingerprint(
        functools.partial(max, 2)
    )
