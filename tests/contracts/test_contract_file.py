"""The file of a contract: every changed field is detected, and every wrong field is refused."""

from __future__ import annotations

import copy
import json
import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from contract_files import (
    CONTRACT,
    EDITED,
    SPLIT,
    Explosive,
    forged,
    get,
    leaves,
    put,
    verify_here,
    write,
)

import adnn_optuna as adnn
from adnn_optuna.experiments.contract_file import (
    CannotCheckError,
    contract_sha256,
    read_contract,
)

if TYPE_CHECKING:
    from pathlib import Path


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


def test_every_changed_field_is_noticed(content: Any, path: Path) -> None:
    fields = leaves(content)
    assert len(fields) > 70
    for field in fields:
        edited = copy.deepcopy(content)
        put(edited, field, changed(get(content, field)))
        verdict = verify_here(write(edited, path.with_name("edited.json")))
        # Some changed values are invalid for their field.
        assert verdict == EDITED or verdict.status == "cannot_check", field
        if verdict.status == "cannot_check":
            assert field in verdict.reasons[0] or field == "format"


def test_every_removed_or_added_field_is_noticed(content: Any, path: Path) -> None:
    for field in leaves(content):
        if field.split(".")[-1].isdigit():
            continue
        edited = copy.deepcopy(content)
        parent, _, key = field.rpartition(".")
        del (get(edited, parent) if parent else edited)[key]
        verdict = verify_here(write(edited, path.with_name("edited.json")))
        assert verdict == EDITED or verdict.status == "cannot_check", field
        if verdict.status == "cannot_check":
            assert field in verdict.reasons[0]
    for field in ("mine", "study.mine", "study.name.mine", "best.params.mine"):
        edited = copy.deepcopy(content)
        parent, _, key = field.rpartition(".")
        if isinstance(get(edited, parent) if parent else edited, dict):
            put(edited, field, 1)
        else:
            put(edited, parent, {key: 1})
        verdict = verify_here(write(edited, path.with_name("edited.json")))
        assert verdict == EDITED or parent in verdict.reasons[0]
    content["study.name"] = "another study"
    verdict = verify_here(forged(content, path.with_name("edited.json")))
    assert verdict.reasons == ("A contract has no field study.name.",)


UNCHECKABLE = [
    ("objective.dataset.fingerprint", "0" * 64, "dataset: Dataset 'few digits' has changed"),
    (
        "objective.dataset.source",
        "built-in",
        "dataset.name: 'few digits' is not a built-in data set.",
    ),
    ("objective.dataset.source", "arrays", "dataset: 'few digits' was made of arrays, which are"),
    ("objective.dataset.seed", 1, "objective.dataset"),
    (
        "objective.dataset.duplicates",
        {"test-train": 7},
        "objective.dataset.duplicates is {'test-train': 7}, but the data have {}.",
    ),
    ("objective.training.optimizer", "sdg", "optimizer"),
    ("objective.metric", "accuracy", "metric"),
    (
        "split.test",
        209,
        f"split is {SPLIT | {'test': 209}}, but the data have {SPLIT}.",
    ),
    ("split.test", 0, "split.test must be a whole number from 1 to inf; got 0."),
    ("tolerance", {"accuracy": 0.25}, "A contract has no field tolerance."),
    ("confirmation", {"rank": 1}, "The field confirmation.test_score is missing."),
    ("confirmation", [0.1] * 10, "A contract has no field confirmation."),
    ("confirmation.gains", {"0.1": 0.1}, "confirmation.gains must be 10 to 10000 numbers"),
    (
        "best.params.weight_offset_0",
        0.3,
        "best.params.weight_offset_0 must be in objective.space; got 0.3.",
    ),
    (
        "best.params.weight_offset_0",
        True,
        "best.params.weight_offset_0 must be in objective.space; got True.",
    ),
]


@pytest.mark.parametrize(("field", "value", "named"), UNCHECKABLE, ids=[f[0] for f in UNCHECKABLE])
def test_inconsistent_fields_cannot_be_checked(
    field: str, value: Any, named: str, content: Any, path: Path
) -> None:
    put(content, field, value)
    verdict = verify_here(forged(content, path.with_name("forged.json")))
    assert verdict.status == "cannot_check"
    assert named in verdict.reasons[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 1),
        ("format_version", 2),
        ("study.name", None),
        ("study.sampler", 1),
        ("study.trials", -1),
        ("best.params", [1]),
        ("best.test_accuracy", 1.5),
        ("baseline.test_accuracy", -0.5),
        ("best.val_own", True),
        ("own", 0.5),
        ("confirmation.own", 0.5),
        ("confirmation.rank", 100),
        ("confirmation.test_score", [0.5, 0.5]),
        ("confirmation.vs_baselines", 0.5),
        *(
            (f"confirmation.{name}", values)
            for name in ("seeds", "baselines", "gains")
            for values in ([2e30] * 10, [0.5] * 9, [0.5] * 10_001, ["0.5"] * 10, 0.5)
        ),
        ("objective.training.epochs", 100_001),
    ],
)
def test_an_unknown_field_is_named(field: str, value: Any, content: Any, path: Path) -> None:
    put(content, field, value)
    with pytest.raises(CannotCheckError, match=field) as refusal:
        read_contract(forged(content, path.with_name("forged.json")))
    assert re.fullmatch(r".{1,400}\.", str(refusal.value))


def test_values_just_within_bounds_are_read(content: Any, path: Path) -> None:
    file = path.with_name("forged.json")
    for n, epochs, accuracy, own_metric in ((10, 1, 0, -1e30), (10_000, 100_000, 1, 1e30)):
        content["objective"]["training"]["epochs"] = epochs
        content["best"] |= {
            "test_accuracy": accuracy,
            "val_own": own_metric,
            "train_loss": own_metric,
        }
        content["confirmation"] |= dict.fromkeys(("gains", "seeds", "baselines"), [own_metric] * n)
        content["study"]["best_trial"] = accuracy
        assert read_contract(forged(content, file)) == json.loads(file.read_text())
    # The file may have at most 32 MiB.
    text = json.dumps({**content, "sha256": contract_sha256(content)}).encode()
    file.write_bytes(text.rjust(2**25))
    assert read_contract(file) == json.loads(text)
    file.write_bytes(text.rjust(2**25 + 1))
    with pytest.raises(CannotCheckError, match="is not the JSON of a contract"):
        read_contract(file)
    for field in ("best.test_accuracy", "files.weights.name", "study"):
        less = copy.deepcopy(content)
        parent, _, key = field.rpartition(".")
        del (get(less, parent) if parent else less)[key]
        with pytest.raises(CannotCheckError) as refusal:
            read_contract(forged(less, file))
        missing = "study.name" if field == "study" else field
        assert str(refusal.value).startswith(f"The field {missing} is missing")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps(Explosive()), "not the JSON of a contract"),
        (b"", "not the JSON of a contract"),
        (b"[]", "not a contract"),
        (b"{" * 100_000, "not the JSON of a contract"),
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
def test_files_that_are_not_contracts_are_refused_in_a_sentence(
    data: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / CONTRACT
    path.write_bytes(data)
    verdict = verify_here(path)
    assert verdict.status == "cannot_check"
    [reason] = verdict.reasons
    assert re.search(message, reason)


def test_a_missing_file_and_a_folder_cannot_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for path, sentence in (
        ("~/missing.json", "/missing.json' cannot be read (No such file or directory)."),
        (tmp_path / "missing.json", "json' cannot be read (No such file or directory)."),
        (tmp_path, "' cannot be read (Is a directory)."),
        ("", "The file '.' cannot be read (Is a directory)."),
    ):
        verdict = adnn.verify(path)
        assert verdict.status == "cannot_check"
        [reason] = verdict.reasons
        assert reason.endswith(sentence)
