"""Verification accepts honest contracts, and detects forged results by training."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from contract_files import (
    CONTRACT,
    DATA,
    elsewhere,
    forged,
    is_exact,
    put,
    verify_here,
    weights_of,
)

import adnn_optuna as adnn
from adnn_optuna import Contract
from adnn_optuna.stats.intervals import gain_interval

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna import SearchResult


def verify_in_new_process(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adnn_optuna", "verify", str(path)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_continues_if_other_bits_have_a_cause_that_no_environment_states(path: Path) -> None:
    process = verify_in_new_process(path, ONEDNN_MAX_CPU_ISA="SSE41")
    assert (process.returncode, process.stderr) == (0, "")
    # The processor may lack better instructions, so the bits may be equal.
    if not process.stdout.startswith("Reproduced bit for bit"):
        assert process.stdout.startswith("Reproduced within tolerance")
        assert "other bits come out in an environment that seems the same" in " ".join(
            process.stdout.split()
        )


@pytest.mark.slow
def test_is_within_tolerance_in_another_environment(path: Path, content: Any) -> None:
    threads = str(content["environment"]["intra_op_threads"] + 1)
    process = verify_in_new_process(
        path, TF_NUM_INTRAOP_THREADS=threads, TF_ENABLE_ONEDNN_OPTS="0"
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("Reproduced within tolerance")
    assert "environment.intra_op_threads" in process.stdout
    assert "environment.onednn" in process.stdout


def test_is_valid_elsewhere_in_another_format_of_json(
    content: Any, path: Path, tmp_path: Path
) -> None:
    reformatted = tmp_path / "other.json"
    reformatted.write_text(json.dumps(dict(sorted(content.items())), indent=8))
    shutil.copy(weights_of(path), tmp_path)
    verdict = verify_here(reformatted)
    assert verdict.status == "cannot_check"
    sentence = f"'few digits.npz' not found in {str(tmp_path)!r}; pass data_dir."
    assert verdict.reasons == (f"objective.dataset.path: {sentence}",)
    verdict = verify_here(reformatted, path.parent)
    assert verdict.status == "exact"
    verdict = verify_here(reformatted, "~no-such-user")
    assert verdict.status == "cannot_check"
    assert "in '~no-such-user'; pass data_dir" in verdict.reasons[0]


def test_cannot_be_checked_without_its_weights(
    contract: Contract, folder: Path, tmp_path: Path
) -> None:
    contract.save(path := tmp_path / CONTRACT)
    (weights := weights_of(path)).unlink()
    sentence = f"{weights.name!r} not found in {str(tmp_path)!r}; copy it there."
    assert verify_here(path, folder) == adnn.Verdict(
        "cannot_check", (f"files.weights.name: {sentence}",)
    )


@pytest.mark.parametrize("kind", ["npz", "csv", "parquet"])
def test_looks_for_data_files_beside_the_contract(kind: str, content: Any, path: Path) -> None:
    content["objective"]["dataset"] |= {"source": kind, "path": f"mine.{kind}"}
    verdict = verify_here(forged(content, path.with_name("forged.json")))
    sentence = f"'mine.{kind}' not found in {str(path.parent)!r}; pass data_dir."
    assert verdict == adnn.Verdict("cannot_check", (f"objective.dataset.path: {sentence}",))


def test_computes_the_gain_and_its_ci(result: SearchResult, path: Path) -> None:
    verdict = verify_here(path)
    interval = gain_interval(result.record.test_evaluation, result.test_gain)
    assert (*verdict.gain, verdict.half_width) == pytest.approx((result.test_gain, *interval, 0))
    assert verdict.claim[:3] == ("test_accuracy", result.test_gain, 1 / 210)


@pytest.mark.parametrize(
    "name", ["run-2025-05-01T12:30:00.json", ".digits.json", "back\\slash.json"]
)
def test_is_valid_under_any_name(
    name: str, contract: Contract, path: Path, tmp_path: Path
) -> None:
    contract.save(tmp_path / name)
    content = json.loads((tmp_path / name).read_text())
    data = "2025-05-01T12:00.npz"
    (tmp_path / data).write_bytes(path.with_name(DATA).read_bytes())
    content["objective"]["dataset"]["path"] = data
    assert is_exact(verify_here(forged(content, tmp_path / name)))


def test_finds_all_forged_results_by_training(content: Any, path: Path) -> None:
    file, before = path.with_name("forged.json"), copy.deepcopy(content)
    content["baseline"]["initial_weights_sha256"] = "0" * 64
    sentence = (
        f"baseline.initial_weights_sha256 is {'0' * 64}, but trained again "
        f"{before['baseline']['initial_weights_sha256']} "
        "(from objective.model, objective.seed and best.params)."
    )
    assert verify_here(forged(content, file)) == adnn.Verdict("breached", (sentence,))
    content = elsewhere(before)
    content["baseline"]["val_accuracy"] = 0.975
    content["best"]["test_accuracy"] = 1.0
    verdict = verify_here(forged(content, file))
    assert verdict.status == "breached"
    named = (
        "The claimed gain of",
        "baseline.val_accuracy is 0.975,",
        "best.test_accuracy is 1.0,",
    )
    for begins, reason in zip(named, verdict.reasons, strict=True):
        assert reason.startswith(begins)
        assert "not reproduced: " in reason


@pytest.mark.parametrize(
    ("role", "metric", "by"),
    [
        ("best", "test_accuracy", 1 / 210),
        ("baseline", "test_accuracy", -1 / 210),
        ("best", "train_loss", -1e-9),
    ],
)
def test_tolerates_nothing_if_the_trained_weights_are_equal(
    role: str, metric: str, by: float, content: Any, path: Path
) -> None:
    before = content[role][metric]
    content[role][metric] = raised = before + by
    verdict = verify_here(forged(content, path.with_name("forged.json")))
    differs = f"{role}.{metric} is {raised}, but trained again {before}"
    sentence = f"{differs}, with the same trained weights."
    assert verdict == adnn.Verdict("breached", (sentence,))


def test_other_bits_in_the_same_environment_are_named(content: Any, path: Path) -> None:
    bits = content["baseline"]["trained_weights_sha256"]
    content["baseline"]["trained_weights_sha256"] = other_sha256 = "0" * 64
    verdict = verify_here(forged(content, path.with_name("forged.json")))
    assert verdict.status == "within_tolerance"
    [reason] = verdict.reasons
    assert f"is {other_sha256}, but trained again {bits}" in reason
    sentence = "environment: that all bits, losses and other metrics came out there"
    assert sentence in verdict.stated


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("best.params.weight_offset_0", 0.1, "best.params"),
        ("objective.seed", 4, "objective.seed"),
        ("objective.training.epochs", 1, "objective.training"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_finds_forged_settings_by_training(  # noqa: PLR0917
    field: str, value: Any, named: str, content: Any, tmp_path: Path, path: Path
) -> None:
    put(content, field, value)
    shutil.copy(weights_of(path), tmp_path)
    verdict = verify_here(forged(content, tmp_path / CONTRACT), path.parent)
    assert verdict.status == "breached"
    assert any(named in reason for reason in verdict.reasons), verdict
