"""Contracts: what they say, that they hold, and that no change of one goes unnoticed."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
import json
import os
import pickle
import platform
import random
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import optuna
import pytest
import scipy.stats
import tensorflow as tf
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna import Contract
from adnn_optuna.contracts import contract as contracts
from adnn_optuna.contracts.contract import (
    BreachedError,
    CannotCheckError,
    _threads,
    claim_of,
    contract_sha256,
    describe_environment,
    read_contract,
)
from adnn_optuna.contracts.verification import _train_elsewhere, check_weights
from adnn_optuna.engine.test_set import gains_of
from adnn_optuna.networks.network import hash_weights
from adnn_optuna.stats.proportions import gain_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adnn_optuna import SearchResult

CONTRACT = "digits.contract.json"
DATA = "few digits.npz"


def few_digits() -> tuple[np.ndarray, np.ndarray]:
    digits = adnn.load_dataset("digits")
    # So many that one test image is no more than half a percentage point.
    return digits.x_train[:1050], digits.y_train[:1050]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    x, y = few_digits()
    np.savez(folder / DATA, x=x, y=y)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> SearchResult:
    objective = adnn.InitOffsetObjective(
        adnn.MLP((8,)),
        adnn.load_dataset(folder / DATA),
        training=quick_training(optimizer="sgd", learning_rate=0.2, batch_size=210, epochs=2),
        space=adnn.OffsetSpace(low=-0.2, high=0.25),
        seed=3,
    )
    return adnn.search(
        objective,
        "annealing",
        storage=f"sqlite:///{folder / 'secret.db'}",
        study_name="a study",
        max_trial=3,
    )


@pytest.fixture(scope="module")
def contract(result: SearchResult) -> Contract:
    return result.contract()


@pytest.fixture(scope="module")
def path(contract: Contract, folder: Path) -> Path:
    contract.save(folder / CONTRACT)
    return folder / CONTRACT


@pytest.fixture
def content(path: Path) -> Any:
    return json.loads(path.read_text())


def weights_of(path: Path) -> Path:
    """Return the file of the weights that a contract names."""
    return path.with_name(json.loads(path.read_text())["files"]["weights"]["name"])


def write(content: dict[str, Any], path: Path) -> Path:
    path.write_text(json.dumps(content))
    return path


def forged(content: dict[str, Any], path: Path) -> Path:
    """Write a contract with a new SHA-256, as who knows how would."""
    return write({**content, "sha256": contract_sha256(content)}, path)


def get(node: Any, path: str) -> Any:
    for key in path.split("."):
        node = node[int(key) if isinstance(node, list) else key]
    return node


def put(node: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    node[int(last) if isinstance(node, list) else last] = value


def leaves(node: Any, path: str = "") -> list[str]:
    children = node.items() if isinstance(node, dict) else enumerate(node)
    found = []
    for key, child in children:
        here = f"{path}.{key}" if path else str(key)
        found += leaves(child, here) if isinstance(child, dict | list) else [here]
    return found


# What it says


def test_says_what_the_search_found(contract: Contract, result: SearchResult) -> None:
    says = contract.content
    objective = json.loads(json.dumps(result.objective.config))
    objective["dataset"]["path"] = DATA
    assert says["objective"] == objective
    assert says["baseline"]["val_accuracy"] == result.baseline
    assert says["winner"]["val_accuracy"] == result.best_value
    assert says["baseline"]["test_accuracy"] == result.test_baseline
    assert says["winner"]["test_accuracy"] == result.test_value
    assert result.best is not None
    assert says["winner"]["params"] == result.best.params
    assert says["study"] == {
        "name": "a study",
        "sampler": "annealing",
        "trials": 3,
        "completed_trials": 3,
        "best_trial": result.best.number,
        "stop_reason": "max_trial",
        "direction": "maximize",
    }
    assert says["split"] == SPLIT
    trainer = result.objective.trainer
    for role, start in (
        ("baseline", result.objective.baseline_start),
        ("winner", result.objective.start(result.best.params)),
    ):
        initial = hash_weights(trainer.initial_weights(start))
        assert says[role]["initial_weights_sha256"] == initial
    assert {key: says[key] for key in ("format", "format_version")} == {
        "format": "adnn_optuna contract",
        "format_version": 1,
    }


def test_of_trainings_that_diverge_there_is_none(result: SearchResult) -> None:
    training = dataclasses.replace(result.objective.training, learning_rate=1e30)
    with pytest.raises(ValueError, match=r"diverge") as refusal:
        Contract.from_search(result, result.objective.replace(training=training), None)
    assert str(refusal.value) == (
        "The baseline's training diverged, so there is nothing to make a contract of."
    )


def test_saves_the_winner_trained(contract: Contract, path: Path, result: SearchResult) -> None:
    test = adnn.load_dataset(path.with_name(DATA))
    with np.load(weights_of(path), allow_pickle=False) as arrays:
        weights = [arrays[name] for name in arrays.files]
        assert arrays.files == [
            "hidden_0/kernel",
            "hidden_0/bias",
            "output/kernel",
            "output/bias",
        ]
    assert hash_weights(weights) == contract.content["winner"]["trained_weights_sha256"]
    model = result.objective.trainer.architecture.build(0, 0)
    model.set_weights(weights)
    hits = np.argmax(model(test.x_test), axis=-1) == test.y_test
    assert np.mean(hits) == contract.content["winner"]["test_accuracy"]


def test_needs_a_completed_trial(result: SearchResult) -> None:
    with pytest.raises(ValueError, match="has no winner: No trial was completed"):
        dataclasses.replace(result, best=None).contract()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("contract.npz", ValueError, "must be the name of a .json file"),
        ("missing/contract.json", FileNotFoundError, "no folder"),
    ],
)
def test_refuses_a_wrong_path(
    name: str, error: type[Exception], message: str, contract: Contract, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        contract.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_is_not_written_where_a_folder_is(contract: Contract, tmp_path: Path) -> None:
    (folder := tmp_path / "mine.json").mkdir()
    with pytest.raises(ValueError, match="it is a folder") as refusal:
        contract.save(folder)
    said = f"path {str(folder)!r} cannot be written: it is a folder; name another file."
    assert str(refusal.value) == said
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
@pytest.mark.parametrize("of_json", [False, True])
def test_one_that_cannot_be_written_leaves_the_one_that_was_there(
    of_json: bool, contract: Contract, tmp_path: Path
) -> None:
    import resource

    contract.save(tmp_path / CONTRACT)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    weights = {"kernel": np.zeros(1 if of_json else 9_999)}
    other = Contract(contract.content | {"more": "x" * 99_999}, weights)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    # As when the disk is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            other.save(tmp_path / CONTRACT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_another_contract_of_the_name_leaves_the_weights_of_a_copy(
    contract: Contract, folder: Path, tmp_path: Path
) -> None:
    contract.save(tmp_path / CONTRACT)
    shutil.copy(tmp_path / CONTRACT, copy := tmp_path / "copy.json")
    Contract(contract.content, {"kernel": np.zeros(1)}).save(tmp_path / CONTRACT)
    assert weights_of(copy) != weights_of(tmp_path / CONTRACT)
    assert is_exact(adnn.verify(copy, folder))


def test_says_neither_where_the_study_is_nor_the_data(path: Path) -> None:
    text = path.read_text()
    assert "secret" not in text
    assert str(path.parent) not in text


# That it holds


def is_exact(verdict: adnn.Verdict) -> bool:
    return (verdict.status, verdict.reasons, verdict.not_checked) == ("exact", (), NEVER_CHECKED)


NEVER_CHECKED = (
    "study: how many trials were searched, by which sampler, how long",
    "objective: how data and classes were made and are called, its metric and space",
    "the choice of the seed, of the data, of the moment",
    "confirmation: what its maker's fresh seeds show, how sure; ask for others (fresh=20)",
)


def verify_in_new_process(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adnn_optuna", "verify", str(path)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_is_exact_in_a_new_process(path: Path) -> None:
    process = verify_in_new_process(path)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("exact:")


@pytest.mark.slow
def test_goes_on_where_other_bits_come_of_what_no_environment_tells(path: Path) -> None:
    process = verify_in_new_process(path, ONEDNN_MAX_CPU_ISA="SSE41")
    assert (process.returncode, process.stderr) == (0, "")
    # Other processors may have no better instructions anyhow.
    if not process.stdout.startswith("exact:"):
        assert process.stdout.startswith("within_tolerance: reproduced;")
        assert "in an environment that looks the same other bits come out" in process.stdout


@pytest.mark.slow
def test_is_within_tolerance_in_another_environment(path: Path, content: Any) -> None:
    threads = str(content["environment"]["intra_op_threads"] + 1)
    process = verify_in_new_process(
        path, TF_NUM_INTRAOP_THREADS=threads, TF_ENABLE_ONEDNN_OPTS="0"
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("within_tolerance:")
    assert "environment.intra_op_threads" in process.stdout
    assert "environment.onednn" in process.stdout


def test_holds_elsewhere_in_another_format_of_json(
    content: Any, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(dict(sorted(content.items())), indent=8))
    shutil.copy(weights_of(path), tmp_path)
    verdict = adnn.verify(other)
    assert verdict.status == "cannot_check"
    said = f"there is no file 'few digits.npz' in {str(tmp_path)!r}; give data_dir."
    assert verdict.reasons == (f"objective.dataset.path: {said}",)
    verdict = adnn.verify(other, path.parent)
    assert verdict.status == "exact"
    verdict = adnn.verify(other, "~no-such-user")
    assert verdict.status == "cannot_check"
    assert "in '~no-such-user'; give data_dir" in verdict.reasons[0]


def test_cannot_be_checked_without_its_weights(
    contract: Contract, folder: Path, tmp_path: Path
) -> None:
    contract.save(path := tmp_path / CONTRACT)
    (weights := weights_of(path)).unlink()
    said = f"there is no file {weights.name!r} in {str(tmp_path)!r}; copy it there."
    assert adnn.verify(path, folder) == adnn.Verdict(
        "cannot_check", (f"files.weights.name: {said}",)
    )


@pytest.mark.parametrize("kind", ["npz", "csv", "parquet"])
def test_looks_for_data_files_beside_the_contract(kind: str, content: Any, path: Path) -> None:
    content["objective"]["dataset"] |= {"source": kind, "path": f"mine.{kind}"}
    verdict = adnn.verify(forged(content, path.with_name("forged.json")))
    said = f"there is no file 'mine.{kind}' in {str(path.parent)!r}; give data_dir."
    assert verdict == adnn.Verdict("cannot_check", (f"objective.dataset.path: {said}",))


def test_finds_the_gain_and_its_interval(result: SearchResult, path: Path) -> None:
    verdict = adnn.verify(path)
    assert verdict.interval == pytest.approx(
        gain_interval(result.test_evaluation, result.test_gain)
    )
    assert (verdict.gain, verdict.half_width) == (pytest.approx(result.test_gain), 0)
    assert verdict.promised[:3] == ("test_accuracy", result.test_gain, 1 / 210)
    assert verdict.examples == "images"


@pytest.mark.parametrize(
    "name", ["run-2025-05-01T12:30:00.json", ".digits.json", "back\\slash.json"]
)
def test_holds_by_any_name(name: str, contract: Contract, path: Path, tmp_path: Path) -> None:
    contract.save(tmp_path / name)
    content = json.loads((tmp_path / name).read_text())
    data = "2025-05-01T12:00.npz"
    (tmp_path / data).write_bytes(path.with_name(DATA).read_bytes())
    content["objective"]["dataset"]["path"] = data
    assert is_exact(adnn.verify(forged(content, tmp_path / name)))


# That no change goes unnoticed


def changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case float():
            return float(np.nextafter(value, 2))
        case int():
            return value + 1
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
    return 1


def test_a_contract_holds_that_was_trained_again_and_came_out_alike() -> None:
    statuses: tuple[Any, ...] = ("exact", "within_tolerance", "breached", "cannot_check")
    assert [adnn.Verdict(status).holds for status in statuses] == [True, True, False, False]


def test_neither_floods_a_terminal_nor_commands_it() -> None:
    reasons = adnn.Verdict("cannot_check", ("\x1b[2J" * 1000,) * 1000).reasons
    assert (len(reasons), len(reasons[0])) == (100, 1000)
    assert reasons[0].startswith(r"\x1b[2J")


EDITED = adnn.Verdict("breached", ("The contract was edited after it was written.",))


def test_notices_every_field_that_was_changed(content: Any, path: Path) -> None:
    fields = leaves(content)
    assert len(fields) > 70
    for field in fields:
        edited = copy.deepcopy(content)
        put(edited, field, changed(get(content, field)))
        verdict = adnn.verify(write(edited, path.with_name("edited.json")))
        # A few are not what such a field may hold any more.
        assert verdict == EDITED or verdict.status == "cannot_check", field
        if verdict.status == "cannot_check":
            assert field in verdict.reasons[0] or field == "format"


def test_notices_every_field_that_was_removed_or_added(content: Any, path: Path) -> None:
    for field in leaves(content):
        if field.split(".")[-1].isdigit():
            continue
        edited = copy.deepcopy(content)
        parent, _, key = field.rpartition(".")
        del (get(edited, parent) if parent else edited)[key]
        verdict = adnn.verify(write(edited, path.with_name("edited.json")))
        assert verdict == EDITED or verdict.status == "cannot_check", field
        if verdict.status == "cannot_check":
            assert field in verdict.reasons[0]
    for field in ("mine", "study.mine", "study.name.mine", "winner.params.mine"):
        edited = copy.deepcopy(content)
        parent, _, key = field.rpartition(".")
        if isinstance(get(edited, parent) if parent else edited, dict):
            put(edited, field, 1)
        else:
            put(edited, parent, {key: 1})
        verdict = adnn.verify(write(edited, path.with_name("edited.json")))
        assert verdict == EDITED or parent in verdict.reasons[0]
    content["study.name"] = "another study"
    verdict = adnn.verify(forged(content, path.with_name("edited.json")))
    assert verdict.reasons == ("A contract has no field study.name.",)


SPLIT = {"train": 630, "val": 210, "test": 210}
UNCHECKABLE = [
    ("objective.dataset.fingerprint", "0" * 64, "dataset: Dataset 'few digits' has changed"),
    ("objective.dataset.source", "built-in", "dataset.name: there is no data set 'few digits'."),
    ("objective.dataset.source", "arrays", "dataset: 'few digits' was made of arrays, which"),
    ("objective.dataset.seed", 1, "objective.dataset"),
    (
        "objective.dataset.duplicates",
        {"test-train": 7},
        "objective.dataset.duplicates is {'test-train': 7}, but that of the data is {}.",
    ),
    ("objective.training.optimizer", "sdg", "optimizer"),
    ("objective.metric", "accuracy", "metric"),
    (
        "split.test",
        209,
        f"split is {SPLIT | {'test': 209}}, but that of the data is {SPLIT}.",
    ),
    ("split.test", 0, "split.test must be a whole number from 1 to inf, but it is 0."),
    ("tolerance", {"accuracy": 0.25}, "A contract has no field tolerance."),
    ("confirmation", {"rank": 1}, "The field confirmation.test_score is missing."),
    ("confirmation", [0.1] * 10, "A contract has no field confirmation."),
    ("confirmation.gains", {"0.1": 0.1}, "confirmation.gains must be 10 to 10000 numbers"),
    (
        "winner.params.weight_offset_0",
        0.3,
        "winner.params.weight_offset_0 is 0.3, which is not in objective.space.",
    ),
    (
        "winner.params.weight_offset_0",
        True,
        "winner.params.weight_offset_0 is True, which is not in objective.space.",
    ),
]


@pytest.mark.parametrize(("field", "value", "named"), UNCHECKABLE, ids=[f[0] for f in UNCHECKABLE])
def test_cannot_check_what_is_not_consistent(
    field: str, value: Any, named: str, content: Any, path: Path
) -> None:
    put(content, field, value)
    verdict = adnn.verify(forged(content, path.with_name("forged.json")))
    assert verdict.status == "cannot_check"
    assert named in verdict.reasons[0]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("format", 1, "{file} {is_none}"),
        ("format_version", 2, "{file} {is_none}"),
        ("study.name", None, "{field} must be a JSON value of type str, but it is None."),
        ("study.sampler", 1, "{field} must be a JSON value of type str | None, but it is 1."),
        ("study.trials", -1, "{field} must be a whole number from 0 to inf, but it is -1."),
        ("winner.params", [1], "{field} must be a JSON value of type dict, but it is [1]."),
        ("winner.test_accuracy", 1.5, "{field} must be a number from 0 to 1, but it is 1.5."),
        ("baseline.test_accuracy", -0.5, "{field} must be a number from 0 to 1, but it is -0.5."),
        ("winner.val_own", True, "{field} must be a number from -1e+30 to 1e+30, but it is True."),
        ("winner.own", 0.5, "A contract has no field {field}."),
        ("own", 0.5, "A contract has no field own."),
        ("confirmation.own", 0.5, "A contract has no field {field}."),
        ("confirmation.rank", 100, "{field} must be a whole number from 1 to 99, but it is 100."),
        ("confirmation.rank", 1.5, "{field} must be a whole number from 1 to 99, but it is 1.5."),
        (
            "confirmation.test_score",
            [0.5, 0.5],
            "{field} must be 3 numbers, but it is [0.5, 0.5].",
        ),
        ("confirmation.vs_baselines", 0.5, "{field} must be 3 numbers, but it is 0.5."),
        *(
            (f"confirmation.{name}", values, "{field} must be {many}, but it is {value:.80}.")
            for name in ("seeds", "baselines", "gains")
            for values in ([2e30] * 10, [0.5] * 9, [0.5] * 10_001, ["0.5"] * 10, 0.5)
        ),
        (
            "objective.training.epochs",
            100_001,
            "{field} must be a whole number from 1 to 100000, but it is 100001.",
        ),
    ],
)
def test_says_in_a_sentence_which_field_no_contract_has(
    field: str, value: Any, said: str, content: Any, path: Path
) -> None:
    put(content, field, value)
    file = forged(content, path.with_name("forged.json"))
    with pytest.raises(CannotCheckError) as refusal:
        read_contract(file)
    named = {"file": f"The file {str(file)!r}", "field": field, "value": str(value)}
    named["many"] = "10 to 10000 numbers"
    named["is_none"] = (
        "is not a contract of format_version 1, which this version of adnn_optuna reads."
    )
    assert str(refusal.value) == said.format(**named)


def test_reads_what_is_just_within_bounds(content: Any, path: Path) -> None:
    file = path.with_name("forged.json")
    for n, epochs, accuracy, own in ((10, 1, 0, -1e30), (10_000, 100_000, 1, 1e30)):
        content["objective"]["training"]["epochs"] = epochs
        content["winner"] |= {"test_accuracy": accuracy, "val_own": own, "train_loss": own}
        content["confirmation"] |= dict.fromkeys(("gains", "seeds", "baselines"), [own] * n)
        content["study"]["best_trial"] = accuracy
        assert read_contract(forged(content, file)) == json.loads(file.read_text())
    # Of 32 MiB at most.
    text = json.dumps({**content, "sha256": contract_sha256(content)}).encode()
    file.write_bytes(text.rjust(2**25))
    assert read_contract(file) == json.loads(text)
    file.write_bytes(text.rjust(2**25 + 1))
    with pytest.raises(CannotCheckError, match="is not the JSON of a contract"):
        read_contract(file)
    for field in ("winner.test_accuracy", "files.weights.name", "study"):
        less = copy.deepcopy(content)
        parent, _, key = field.rpartition(".")
        del (get(less, parent) if parent else less)[key]
        with pytest.raises(CannotCheckError) as refusal:
            read_contract(forged(less, file))
        missing = "study.name" if field == "study" else field
        assert str(refusal.value).startswith(f"The field {missing} is missing")


def test_finds_all_forged_results_by_training(content: Any, path: Path) -> None:
    file, before = path.with_name("forged.json"), copy.deepcopy(content)
    content["baseline"]["initial_weights_sha256"] = "0" * 64
    said = (
        f"baseline.initial_weights_sha256 is {'0' * 64}, but trained again "
        f"{before['baseline']['initial_weights_sha256']} "
        "(from objective.model, objective.seed and winner.params)."
    )
    assert adnn.verify(forged(content, file)) == adnn.Verdict("breached", (said,))
    content = copy.deepcopy(before)
    content["baseline"] |= {"val_accuracy": 0.975, "trained_weights_sha256": "0" * 64}
    content["winner"]["test_accuracy"] = 1.0
    verdict = adnn.verify(forged(content, file))
    assert verdict.status == "breached"
    *reasons, bits = verdict.reasons
    named = (
        "The claimed gain of",
        "baseline.val_accuracy is 0.975,",
        "winner.test_accuracy is 1.0,",
    )
    for begins, reason in zip(named, reasons, strict=True):
        assert reason.startswith(begins)
        assert "not reproduced: " in reason
    assert f"baseline.trained_weights_sha256 is {'0' * 64}, but trained again" in bits


def test_of_other_bits_in_the_same_environment_it_says_which(content: Any, path: Path) -> None:
    loss = content["winner"]["train_loss"]
    content["winner"]["train_loss"] = other = loss * (1 - 1e-9)
    verdict = adnn.verify(forged(content, path.with_name("forged.json")))
    assert verdict.status == "within_tolerance"
    [reason] = verdict.reasons
    assert reason == (
        "objective.training: in an environment that looks the same other bits come out, so what "
        "that does not tell, or the file, is another "
        f"(winner.train_loss is {other}, but trained again {loss})."
    )
    said = "environment, all bits, losses, other metrics: that they came out there"
    assert said in verdict.not_checked


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("winner.params.weight_offset_0", 0.1, "winner.params"),
        ("objective.seed", 4, "objective.seed"),
        ("objective.model.hidden", [9], "objective.model"),
        ("objective.training.epochs", 1, "objective.training"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_finds_forged_settings_by_training(  # noqa: PLR0917
    field: str, value: Any, named: str, content: Any, tmp_path: Path, path: Path
) -> None:
    put(content, field, value)
    shutil.copy(weights_of(path), tmp_path)
    verdict = adnn.verify(forged(content, tmp_path / CONTRACT), path.parent)
    assert verdict.status == "breached"
    assert any(named in reason for reason in verdict.reasons), verdict


# That no other environment makes it say more than is true


def elsewhere(content: Any) -> Any:
    """Return a contract that says to come from another environment, as a forger would."""
    content = copy.deepcopy(content)
    content["environment"]["processor"]["model"] = "Another processor"
    return content


def with_more_gain(content: Any, gain: float) -> Any:
    content = copy.deepcopy(content)
    content["winner"]["test_accuracy"] += gain / 2
    content["baseline"]["test_accuracy"] -= gain / 2
    return content


def test_holds_elsewhere_where_trainings_there_have_its_gain(content: Any, path: Path) -> None:
    content = elsewhere(content)
    content["winner"]["test_accuracy"] += 1 / content["split"]["test"]
    verdict = adnn.verify(forged(content, path.with_name("forged.json")))
    assert verdict.status == "within_tolerance"
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith("environment.processor.model is")
    elsewhere_only = "environment, all bits, losses, other metrics: that they came out there"
    assert set(verdict.not_checked) == {elsewhere_only, *NEVER_CHECKED}
    assert verdict.half_width == 1 / content["split"]["test"]
    assert verdict.gain is not None
    gain = f"{100 * verdict.gain:+.2f} ± {100 * verdict.half_width:.2f} pp, reproduced"
    assert f"\n  - gain of this one winner on the test set: {gain} (" in str(verdict)


@pytest.mark.parametrize("gain", [0.008, 0.01, 0.0125, 0.017])
def test_does_not_hold_elsewhere_with_a_gain_that_was_added(
    gain: float, content: Any, result: SearchResult
) -> None:
    with pytest.raises(BreachedError, match="is not reproduced: trained 8 times"):
        _train_elsewhere(with_more_gain(content, gain), result.objective, None)
    _train_elsewhere(content, result.objective, None)


def test_does_not_hold_elsewhere_with_accuracies_that_were_added(
    content: Any, result: SearchResult
) -> None:
    names = ("train_accuracy", "val_accuracy", "test_accuracy")
    for role, name in itertools.product(("baseline", "winner"), names):
        content[role][name] += 0.01
    with pytest.raises(BreachedError) as caught:
        _train_elsewhere(content, result.objective, None)
    assert {reason.split()[0] for reason in caught.value.args} == {
        f"{role}.{name}" for role in ("baseline", "winner") for name in names
    }


def test_cannot_be_checked_where_a_training_forgets_its_gain(
    content: Any, result: SearchResult
) -> None:
    chaotic = adnn.InitOffsetObjective(
        adnn.MLP((32, 32), activation="relu"),
        result.objective.dataset,
        training=quick_training("adam", learning_rate=0.1, batch_size=10, epochs=2),
    )
    content["winner"]["params"] = {}
    with pytest.raises(CannotCheckError, match="Here this training forgets its gain"):
        _train_elsewhere(content, chaotic, None)


def test_cannot_be_checked_with_few_test_images(content: Any, result: SearchResult) -> None:
    x, y = few_digits()
    few = adnn.Dataset.from_arrays(x[:200], y[:200])
    training = dataclasses.replace(result.objective.training, jit_compile=False)
    objective = adnn.InitOffsetObjective(adnn.MLP((8,)), few, training=training, seed=3)
    content["split"] = {"train": 120, "val": 40, "test": 40}
    with pytest.raises(CannotCheckError) as refusal:
        _train_elsewhere(content, objective, None)
    assert re.fullmatch(
        r"Here this training forgets its gain: trained 8 times from weights moved in their last "
        r"bits, it is [+-]\d+\.\d\d ± 2\.50 pp with 40 test images, but it must be known to "
        r"±0\.5 pp\.",
        str(refusal.value),
    )


def test_no_number_of_examples_makes_an_r2_less_sure(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 4))
    data = adnn.Dataset.from_arrays(x, x[:, 0] - x[:, 1], task="regression")
    training = quick_training("sgd", learning_rate=0.02, batch_size=40, epochs=2)
    objective = adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=training)
    path = tmp_path / CONTRACT
    adnn.search(objective, "annealing", max_trial=3).contract().save(path)
    content = elsewhere(json.loads(path.read_text()))
    said, sure = content["confirmation"], copy.deepcopy(content)
    sure["confirmation"]["test_score"] = [said["test_score"][0] + end for end in (0, -1e-3, 1e-3)]
    verdict = adnn.verify(forged(sure, path), dataset=data)
    breach = "confirmation.test_score is surer than the test examples make it."
    assert verdict == adnn.Verdict("breached", (breach,))
    # Of what explodes, sums differ by rounding.
    said |= {"baselines": [-1e12] * 10, "vs_baselines": [1e12, 0, 2e12]}
    verdict = adnn.verify(forged(content, path), dataset=data)
    assert (verdict.status, verdict.holds) == ("within_tolerance", True)
    # One of 40 images would be 0.025 of an accuracy. It is where one more training is at 99%.
    gains = gains_of(objective, _train_elsewhere(content, objective, None)[1])
    student = scipy.stats.t.ppf(0.995, 7) * np.std(gains, ddof=1) * np.sqrt(1 + 1 / 8)
    assert len(gains) == 8
    assert 0 < verdict.half_width == pytest.approx(student)
    assert verdict.gain == pytest.approx(np.mean(gains))
    gain = claim_of(content).gain
    # Processors make an R² differ by half a percentage point, but not the gain.
    for added, n_reasons in ((0.004, 1), (0.006, 2)):
        more = copy.deepcopy(content)
        more["winner"]["test_r2"] += added
        verdict = adnn.verify(forged(more, path), dataset=data)
        assert [reason.split(":")[0] for reason in verdict.reasons] == [
            f"The claimed gain of {gain + added:+.4f} on the test set is not reproduced",
            f"winner.test_r2 is {more['winner']['test_r2']}, but is not reproduced",
        ][:n_reasons]


def contracts_of_digits(folder: Path) -> Iterator[tuple[Path, adnn.InitOffsetObjective]]:
    """Write 20 contracts of small searches, half of them of trainings that move far."""
    digits = adnn.load_dataset("digits")
    for optimizer, learning_rate in (("sgd", 0.1), ("adam", 0.003)):
        training = adnn.Training(optimizer, learning_rate, batch_size=50, epochs=4)
        objective = adnn.InitOffsetObjective(adnn.MLP((32,)), digits, training=training)
        for seed in range(10):
            result = adnn.search(objective.replace(seed=seed), "annealing", max_trial=3)
            path = folder / f"{optimizer}-{seed}.json"
            result.contract().save(path)
            yield path, result.objective


@pytest.mark.slow
def test_of_forged_gains_at_most_one_in_twenty_holds(tmp_path: Path) -> None:
    statuses = []
    gains = np.linspace(0.008, 0.017, 20)
    for gain, (path, objective) in zip(gains, contracts_of_digits(tmp_path), strict=True):
        try:
            _train_elsewhere(with_more_gain(json.loads(path.read_text()), gain), objective, None)
            statuses.append("holds")
        except (BreachedError, CannotCheckError) as error:
            statuses.append(type(error).__name__)
    assert statuses.count("holds") <= 1
    assert statuses.count("BreachedError") >= 10, statuses


VERIFY_ALL = """
import sys, adnn_optuna
for path in sys.argv[1:]:
    print(adnn_optuna.verify(path).status)
"""
ENVIRONMENTS: list[dict[str, str]] = [
    {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    {"TF_NUM_INTRAOP_THREADS": "3", "TF_ENABLE_ONEDNN_OPTS": "0"},
    {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2", "TF_NUM_INTEROP_THREADS": "2"},
]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_honest_ones_are_never_breached_in_another_environment(tmp_path: Path) -> None:
    digits, paths = adnn.load_dataset("digits"), []
    for optimizer, hidden, jit_compile, batch_size in itertools.product(
        (("sgd", 0.1), ("adam", 0.003)),
        ((32,), (16, 16)),
        (False, True),
        (20, 100),
    ):
        settings: Any = {"jit_compile": jit_compile, "batch_size": batch_size, "epochs": 4}
        training = adnn.Training(*optimizer, **settings)
        objective = adnn.InitOffsetObjective(adnn.MLP(hidden), digits, training=training)
        paths.append(str(tmp_path / f"{len(paths)}.json"))
        adnn.search(objective, "annealing", max_trial=3).contract().save(paths[-1])
    for changed in ENVIRONMENTS:
        statuses = subprocess.run(
            [sys.executable, "-c", VERIFY_ALL, *paths],
            env={**os.environ, **changed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert len(statuses) == 16
        assert "breached" not in statuses, changed
        assert statuses.count("cannot_check") <= 12


# That no change of the files beside it goes unnoticed


def test_notices_other_files_beside_it(contract: Contract, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / CONTRACT
    contract.save(path)
    sha256 = json.loads(path.read_text())["files"]["weights"]["sha256"]
    weights = tmp_path / f"digits.contract.{sha256[:16]}.npz"
    assert set(tmp_path.iterdir()) == {path, weights}
    with weights.open("ab") as file:
        file.write(b"\0")
    assert adnn.verify(path, folder) == adnn.Verdict(
        "breached", (f"files.weights: {weights.name!r} is not the file that was written.",)
    )


@pytest.mark.parametrize("kind", ["other values", "pickle", "huge", "no array", "no archive"])
def test_notices_other_weights_than_it_states(
    kind: str, content: Any, contract: Contract, path: Path, tmp_path: Path
) -> None:
    file = tmp_path / content["files"]["weights"]["name"]
    match kind:
        case "other values":
            np.savez(file, **{k: v + 1 for k, v in contract.weights.items()})
        case "pickle":
            np.savez(file, a=np.array([Explosive()], dtype=object))
        case "huge":
            np.savez_compressed(file, a=np.zeros(10**6))
        case "no array":
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("hidden_0/kernel", b"no array")
        case _:
            file.write_bytes(b"PK nothing")
    verdict = adnn.verify(beside(content, file, tmp_path / CONTRACT), path.parent)
    assert verdict.status == "breached"
    said = "does not hold the weights of winner.trained_weights_sha256."
    assert verdict.reasons == (f"files.weights: {file.name!r} {said}",)


def test_another_processor_may_take_two_images_for_another_class(
    content: Any, contract: Contract, path: Path, result: SearchResult
) -> None:
    file, trained = weights_of(path), [*contract.weights.values()]
    accuracy, n = content["winner"]["test_accuracy"], content["split"]["test"]
    for images in range(-2, 3):
        content["winner"]["test_accuracy"] = round(accuracy * n + images) / n
        check_weights(content, result.objective, file, trained)
    for images in (-3, 3):
        content["winner"]["test_accuracy"] = claimed = round(accuracy * n + images) / n
        with pytest.raises(BreachedError) as breach:
            check_weights(content, result.objective, file, trained)
        assert str(breach.value) == (
            f"winner.test_accuracy is {claimed}, but that of the weights in {file.name!r} is "
            f"{accuracy}."
        )


def test_reads_no_file_that_is_larger_than_any_weights(
    content: Any, path: Path, tmp_path: Path
) -> None:
    # Whatever its archive says.
    np.savez(weights := tmp_path / content["files"]["weights"]["name"], a=np.zeros(1))
    with weights.open("r+b") as file:
        file.truncate(2**40)
    verdict = adnn.verify(write(content, tmp_path / CONTRACT), path.parent)
    said = f"files.weights: {weights.name!r} is larger than the winner's weights."
    assert verdict == adnn.Verdict("breached", (said,))


def beside(content: dict[str, Any], file: Path, path: Path) -> Path:
    """Write a contract with another file of weights beside it, as who knows how would."""
    weights = {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    content["files"]["weights"] = weights
    return forged(content, path)


def test_evaluates_weights_that_come_from_elsewhere(content: Any, path: Path) -> None:
    content["environment"]["versions"]["python"] = "3.11.0"
    file = path.with_name("forged.npz")
    with np.load(weights_of(path)) as arrays:
        weights = {name: np.zeros_like(arrays[name]) for name in arrays.files}
    np.savez(file, **weights)
    content["winner"]["trained_weights_sha256"] = hash_weights([*weights.values()])
    verdict = adnn.verify(beside(content, file, path.with_name("forged.json")))
    assert verdict.status == "breached"
    [reason] = verdict.reasons
    assert "but that of the weights in 'forged.npz' is" in reason


# That nothing in it is executed


class Explosive:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps(Explosive()), "not the JSON of a contract"),
        (b"", "not the JSON of a contract"),
        (b"[]", "not a contract"),
        (b"{" * 100_000, "not the JSON of a contract"),
        (b"[" * 100_000, "not the JSON of a contract"),
        (b'{"format": NaN}', "not a contract"),
        (b'{"format": ' + b"9" * 5000 + b"}", "not the JSON of a contract"),
        (
            b'{"format": "adnn_optuna contract", "format_version": 1}',
            r"The field [\w.]+ is missing",
        ),
        (b'{"format": "adnn_optuna contract", "format_version": true}', "format_version must be"),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, bytes) else "",
)
def test_says_in_a_sentence_what_is_no_contract(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / CONTRACT
    path.write_bytes(data)
    verdict = adnn.verify(path)
    assert verdict.status == "cannot_check"
    [reason] = verdict.reasons
    assert re.search(message, reason)


def test_checks_a_missing_file_or_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for path, said in (
        ("~/missing.json", "/missing.json' cannot be read (No such file or directory)."),
        (tmp_path / "missing.json", "json' cannot be read (No such file or directory)."),
        (tmp_path, "' cannot be read (Is a directory)."),
        ("", "The file '.' cannot be read (Is a directory)."),
    ):
        verdict = adnn.verify(path)
        assert verdict.status == "cannot_check"
        [reason] = verdict.reasons
        assert reason.endswith(said)


def keras_config(*layers: keras.layers.Layer) -> Any:
    model = keras.Sequential([keras.Input((8, 8)), keras.layers.Flatten(), *layers])
    return json.loads(json.dumps(keras.saving.serialize_keras_object(model)))


def malicious() -> dict[str, Any]:
    dense = keras.layers.Dense
    plain = keras_config(dense(8), dense(10))
    configs = {"lambda": keras_config(keras.layers.Lambda(lambda x: x * 2), dense(10))}
    for name, change in {
        "function": {"module": "os", "class_name": "function", "config": "system"},
        "keras function": {
            "module": "keras.utils",
            "class_name": "function",
            "config": "get_file",
            "registered_name": "get_file",
        },
        "module": {"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}},
        "custom": {"module": None, "class_name": "Mine", "registered_name": "pack>Mine"},
        "registered": {"module": "keras.layers", "registered_name": "pack>Dense"},
        "saved model": {"module": "keras.layers", "class_name": "TFSMLayer"},
        "vocabulary": {
            "module": "keras.layers",
            "class_name": "StringLookup",
            "config": {"vocabulary": "/etc/passwd"},
        },
        "bytecode": {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}},
    }.items():
        configs[name] = copy.deepcopy(plain)
        configs[name]["config"]["layers"][2].update(change)
    for name, units in (("wide", 10**12), ("wide enough", 10**8)):
        configs[name] = copy.deepcopy(plain)
        configs[name]["config"]["layers"][2]["config"]["units"] = units
    configs["long"] = keras_config(keras.layers.RepeatVector(10**9), keras.layers.Flatten())
    configs["no model"] = plain["config"]["layers"][2]
    return configs


MALICIOUS = (
    "lambda",
    "function",
    "keras function",
    "module",
    "custom",
    "registered",
    "saved model",
    "vocabulary",
    "bytecode",
    "wide",
    "wide enough",
    "long",
    "no model",
)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "long")) for kind in MALICIOUS],
)
def test_builds_no_model_that_could_do_harm(kind: str, content: Any, path: Path) -> None:
    content["objective"]["model"] = {"type": "keras.Model", "model": malicious()[kind]}
    verdict = adnn.verify(forged(content, path.with_name("forged.json")))
    assert verdict.status == "cannot_check"
    assert "objective" in verdict.reasons[0]
    assert len(verdict.reasons[0]) < 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("files.weights.name", "../digits.npz"),
        ("files.weights.name", "/etc/passwd"),
        ("objective.dataset.path", "../few digits.npz"),
        ("objective.model.hidden", [10**12]),
        ("objective.model.hidden", [10**6, 10**6]),
        ("objective.training.epochs", 10**12),
        ("objective.training.learning_rate", 10**400),
        ("winner.test_accuracy", 10**400),
        ("objective.dataset.validation_size", 10**12),
        ("objective.model.activation", "os.system"),
        ("winner.params", {"offset": 0.1}),
        ("winner.params.weight_offset_0", "0.1"),
        ("objective.training.unknown", 1),
        ("objective.training.loss", "mse" * 10_000),
        ("objective.training.batch_size", True),
        ("objective.dataset.source", "elsewhere"),
        ("objective.dataset.path", ".."),
        ("objective.model.kernel_initializer", {"class_name": "Lambda", "config": {}}),
        ("objective.space.type", "Other"),
    ],
)
def test_cannot_check_what_it_must_not_follow(
    field: str, value: Any, content: Any, path: Path
) -> None:
    put(content, field, value)
    verdict = adnn.verify(forged(content, path.with_name("forged.json")))
    assert verdict.status == "cannot_check"
    assert any(name in verdict.reasons[0] for name in field.split(".")[1:]), verdict


def test_makes_no_optimizer_that_could_do_harm(content: Any, path: Path) -> None:
    rate = {"module": "os", "class_name": "function", "config": "system"}
    optimizer = {"class_name": "SGD", "config": {"learning_rate": rate}}
    content["objective"]["training"]["optimizer"] = optimizer
    [reason] = adnn.verify(forged(content, path.with_name("forged.json"))).reasons
    assert "(objective.training.optimizer.config.learning_rate is os.function, but only" in reason


@pytest.mark.parametrize(
    ("field", "settings", "said"),
    [
        ("loss", {"class_name": "Popen", "config": {}}, "is keras.losses.Popen, but only"),
        (
            "loss",
            {"class_name": "Poisson", "config": {"a": 10**9}},
            "a asks for 1,000,000,000, more",
        ),
        ("metrics", {"class_name": "Lambda", "config": {}}, "[0] is keras.metrics.Lambda, but"),
        (
            "metrics",
            {"class_name": "AUC", "config": {"num_thresholds": 10**8}},
            "asks for 100,000,000",
        ),
        (
            "metrics",
            {"class_name": "AUC", "config": {"thresholds": [0.5] * 10**5}},
            "asks for 100,000",
        ),
        (
            "metrics",
            {"class_name": "MeanIoU", "config": {"num_classes": 10**4, "name": "a"}},
            "[0].config.num_classes asks for 10,000, more than 1,000",
        ),
        (
            "metrics",
            {
                "class_name": "MeanMetricWrapper",
                "config": {"fn": {"module": "os", "class_name": "function", "config": "system"}},
            },
            "[0].config.fn is os.function, but only",
        ),
        ("learning_rate", {"class_name": "Popen", "config": {}}, "schedules.Popen, but only"),
    ],
)
def test_makes_no_loss_or_metric_that_could_do_harm(
    field: str, settings: Any, said: str, content: Any, path: Path
) -> None:
    content["objective"]["training"][field] = [settings] if field == "metrics" else settings
    file = forged(content, path.with_name("forged.json"))
    [reason] = adnn.verify(file, max_parameters=1000).reasons
    assert f"objective.training.{field}" in reason
    assert said in reason


def test_takes_as_many_metrics_and_layers_as_can_be_trained(content: Any, path: Path) -> None:
    file = path.with_name("forged.json")
    content["objective"]["training"]["metrics"] = ["auc"] * 101
    [reason] = adnn.verify(forged(content, file)).reasons
    assert "objective.training.metrics has more than 100 entries" in reason
    content["objective"]["training"]["metrics"] = []
    content["objective"]["model"]["hidden"] = [1] * 10_001
    [reason] = adnn.verify(forged(content, file)).reasons
    assert "objective.model.hidden has 10,001 layers and parts of such, more than" in reason
    layers = keras_config(keras.layers.Dense(1))
    layers["config"]["layers"] += layers["config"]["layers"][-1:] * 10_000
    content["objective"]["model"] = {"type": "keras.Model", "model": layers}
    [reason] = adnn.verify(forged(content, file)).reasons
    assert "layers and parts of such, more than the 10,000" in reason
    with pytest.raises(ValueError, match="`max_parameters` must be at least 1"):
        adnn.verify(path, max_parameters=0)


def test_trains_again_with_metrics_of_keras_and_a_limit(
    result: SearchResult, tmp_path: Path
) -> None:
    training = quick_training(
        "sgd",
        epochs=1,
        metrics=[keras.metrics.TopKCategoricalAccuracy(2), "poisson"],
        loss=keras.losses.SparseCategoricalCrossentropy(),
    )
    data = result.objective.dataset
    objective = adnn.InitOffsetObjective(adnn.MLP((4,)), data, training=training)
    adnn.search(objective, "greedy", max_trial=1).contract().save(tmp_path / CONTRACT)
    shutil.copy(data.config["path"], tmp_path)
    assert is_exact(adnn.verify(tmp_path / CONTRACT, max_parameters=1000))
    [reason] = adnn.verify(tmp_path / CONTRACT, max_parameters=100).reasons
    assert "objective.model.hidden has 310 parameters, more than the 100 that" in reason


def test_counts_the_parameters_before_it_builds_them(content: Any, path: Path) -> None:
    content["objective"]["model"]["hidden"] = [10**6, 10**5]
    n = 65 * 10**6 + (10**6 + 1) * 10**5 + (10**5 + 1) * 10
    [reason] = adnn.verify(forged(content, path.with_name("forged.json"))).reasons
    why = f"{n:,} parameters, more than the 100,000,000 that are rebuilt from a file"
    assert reason == (
        "objective: the contract's cannot be rebuilt or trained (objective.model.hidden has "
        f"{why})."
    )


@pytest.mark.parametrize("field", ["files.weights.name", "objective.dataset.path"])
def test_follows_no_link_out_of_its_folder(
    field: str, content: Any, path: Path, tmp_path: Path
) -> None:
    shutil.copy(weights_of(path), tmp_path)
    link = get(content, field)
    (tmp_path / link).unlink(missing_ok=True)
    (tmp_path / link).symlink_to(path.with_name(link))
    verdict = adnn.verify(write(content, tmp_path / CONTRACT))
    assert verdict.status == "cannot_check"
    assert verdict.reasons == (f"{field}: '{link}' leads out of {str(tmp_path)!r}.",)


# Data and models of one's own


def convolutional() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            keras.layers.Reshape((8, 8, 1)),
            keras.layers.Conv2D(2, 3, activation="relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def sharing() -> keras.Model:
    """One initializer for two layers, which no configuration holds."""
    same = keras.initializers.GlorotUniform()
    dense = keras.layers.Dense
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            keras.layers.Flatten(),
            dense(64, kernel_initializer=same),
            dense(64, kernel_initializer=same),
            dense(10),
        ]
    )


@pytest.fixture(scope="module")
def dataset() -> adnn.Dataset:
    return adnn.Dataset.from_arrays(*few_digits(), name="mine", validation_size=0)


def contract_of(model: Callable[[], keras.Model], dataset: adnn.Dataset, path: Path) -> Any:
    training = quick_training("sgd", epochs=1, batch_size=40)
    # A seed may be of any size, as SeedSequence().entropy is.
    objective = adnn.InitOffsetObjective(
        model, dataset, training=training, metric="train_accuracy", seed=2**127
    )
    adnn.search(objective, "greedy", max_trial=1).contract().save(path)
    return json.loads(path.read_text())


def compiled() -> keras.Model:
    model = convolutional()
    model.compile("adam", "mse")
    return model


def test_data_from_arrays_are_given_again(dataset: adnn.Dataset, tmp_path: Path) -> None:
    path = tmp_path / CONTRACT
    before = random.getstate()
    contract_of(compiled, dataset, path)
    verdict = adnn.verify(path)
    assert verdict.status == "cannot_check"
    assert " ".join(verdict.reasons) == (
        "objective.dataset: 'mine' was made of arrays, which no contract holds; verify it in "
        "Python, and give them as dataset."
    )
    x, y = few_digits()
    verdict = adnn.verify(path, dataset=adnn.Dataset.from_arrays(x[1:], y[1:]))
    assert verdict.status == "cannot_check"
    assert "objective.dataset.fingerprint" in verdict.reasons[0]
    with pytest.raises(TypeError, match=r"^dataset must be a Dataset, but it is a ndarray\.$"):
        adnn.verify(path, dataset=x)  # type: ignore[arg-type]
    # The model is rebuilt from its configuration.
    assert is_exact(adnn.verify(path, dataset=dataset))
    assert random.getstate() == before


def test_models_that_no_configuration_holds_are_given_again(
    dataset: adnn.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / CONTRACT
    contract_of(sharing, dataset, path)
    verdict = adnn.verify(path, dataset=dataset)
    assert verdict.status == "cannot_check"
    [reason] = verdict.reasons
    assert reason.startswith("The contract does not describe itself: objective.model")
    assert reason.endswith(
        "; where the model's configuration does not hold all, give the callable that builds it as "
        "model."
    )
    verdict = adnn.verify(path, dataset=dataset, model=convolutional)
    assert verdict.status == "cannot_check"
    assert "objective.model" in verdict.reasons[0]
    assert is_exact(adnn.verify(path, dataset=dataset, model=sharing))


def test_a_function_of_the_trial_is_given_again(dataset: adnn.Dataset, tmp_path: Path) -> None:
    def of_trial(trial: optuna.Trial) -> keras.Model:
        same = keras.initializers.GlorotUniform()
        units = trial.suggest_categorical("units", [8, 9])
        dense = [keras.layers.Dense(units, kernel_initializer=same) for _ in range(2)]
        layers = [keras.Input((8, 8)), keras.layers.Flatten(), *dense, keras.layers.Dense(10)]
        return keras.Sequential(layers)

    path = tmp_path / CONTRACT
    content = contract_of(of_trial, dataset, path)
    assert content["winner"]["hyperparameters"]["units"] in {8, 9}
    assert "units" not in content["winner"]["params"]
    assert adnn.verify(path, dataset=dataset).status == "cannot_check"
    verdict = adnn.verify(path, dataset=dataset, model=of_trial)
    assert verdict.status == "exact"
    # All that is rebuilt has its training from the file.
    assert [what for what in verdict.not_checked if what not in NEVER_CHECKED] == [
        "winner.hyperparameters: that training, and network without model, follow from them"
    ]


@keras.saving.register_keras_serializable("tests")
class Residual(keras.layers.Layer):
    def __init__(self, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = units
        self.inner = keras.layers.Dense(units, name=f"{self.name}_inner")

    def call(self, x: Any) -> Any:
        return x + self.inner(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def functional() -> keras.Model:
    """A nested model, states that train otherwise, and names that are words of Keras's, too."""
    layers = keras.layers
    inputs = keras.Input((8, 8))
    x = layers.Flatten()(layers.TimeDistributed(layers.Dense(3))(inputs))
    x = layers.BatchNormalization()(x)
    x = keras.Sequential([keras.Input((24,)), layers.Dense(6, activation="softmax")])(x)
    x = layers.Softmax()(layers.Dropout(0.1)(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def custom() -> keras.Model:
    layers = [keras.layers.Flatten(), Residual(64), Residual(64), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((8, 8)), *layers])


def branches() -> keras.Model:
    """Two layers of one name."""
    flat = keras.layers.Flatten()(inputs := keras.Input((8, 8)))
    outputs = []
    for name in ("a", "b"):
        hidden = keras.layers.Dense(3, name="hidden")(branch := keras.Input((64,)))
        outputs.append(keras.Model(branch, hidden, name=name)(flat))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Concatenate()(outputs)))


@pytest.mark.slow
@pytest.mark.parametrize("model", [functional, custom, branches], ids=lambda model: model.__name__)
def test_of_a_model_of_ones_own_is_exact_with_its_callable_and_without(
    model: Callable[[], keras.Model], dataset: adnn.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / CONTRACT
    contract_of(model, dataset, path)
    assert is_exact(adnn.verify(path, dataset=dataset, model=model))
    if model is not custom:
        assert is_exact(adnn.verify(path, dataset=dataset))


# What it says of the machine, the versions and the threads that it was made with


X86 = """processor\t: 0
model name\t: Swift: 3 GHz
flags\t\t: fpu sse ssse3 avx2 avx512f fma f16c amx_tile vme my_sse

processor\t: 1
model name\t: Slow
flags\t\t: sse4_1
"""
ARM = """processor\t: 0
Features\t: fp asimd sve2 fphp bf16 i8mm aes
"""


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [(X86, "Swift: 3 GHz"), (ARM, platform.processor()), (None, platform.processor())],
    ids=["x86", "ARM", "no Linux"],
)
def test_tells_the_processor(
    cpuinfo: str | None, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    monkeypatch.setattr(contracts, "Path", {"/proc/cpuinfo": file}.__getitem__)
    assert describe_environment()["processor"] == {
        "machine": os.uname().machine,
        "model": model,
    }


def test_tells_versions_and_devices() -> None:
    found = describe_environment()
    assert found["versions"] == {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "optuna": optuna.__version__,
        "adnn_optuna": adnn.__version__,
    }
    assert found["system"] == os.uname().sysname
    assert found["devices"] == ["CPU"]


@pytest.mark.parametrize(
    ("value", "is_used"),
    [(None, True), ("1", True), ("0", False), ("false", False), ("FALSE", False)],
)
def test_tells_what_the_shell_says(
    value: str | None, is_used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("XLA_FLAGS", "TF_XLA_FLAGS")
    for name in ("TF_ENABLE_ONEDNN_OPTS", *names):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    found = describe_environment()
    assert found["onednn"] == is_used
    assert found["flags"] == dict.fromkeys(names, value or "")


def test_tells_as_many_threads_as_tensorflow_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    n_cpus = len(os.sched_getaffinity(0))
    for kind in ("INTRA", "INTER"):
        for value, expected in (("7", 7), ("0", n_cpus), ("many", n_cpus), (None, n_cpus)):
            monkeypatch.delenv(f"TF_NUM_{kind}OP_THREADS", raising=False)
            if value is not None:
                monkeypatch.setenv(f"TF_NUM_{kind}OP_THREADS", value)
            assert describe_environment()[f"{kind.lower()}_op_threads"] == expected
            # What Python says comes first.
            assert _threads(3, f"{kind}OP") == 3
