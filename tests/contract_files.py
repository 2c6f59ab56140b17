"""Contracts of small searches, and functions that change the contracts."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import TYPE_CHECKING, Any

import adnn_optuna as adnn
from adnn_optuna.contracts.verification import printable_reasons, verified
from adnn_optuna.experiments.contract_file import RefusedError, contract_sha256, read_contract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import pytest


CONTRACT = "digits.contract.json"
DATA = "few digits.npz"


def few_digits() -> tuple[np.ndarray, np.ndarray]:
    digits = adnn.load_dataset("digits")
    # With this many images, one test image counts at most half a percentage point.
    return digits.x_train[:1050], digits.y_train[:1050]


def weights_of(path: Path) -> Path:
    """Return the path of a contract's weights file."""
    return path.with_name(json.loads(path.read_text())["files"]["weights"]["name"])


def write(content: dict[str, Any], path: Path) -> Path:
    path.write_text(json.dumps(content))
    return path


def forged(content: dict[str, Any], path: Path) -> Path:
    """Write a contract with a matching SHA-256, as a forger would."""
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
    places = []
    for key, child in children:
        here = f"{path}.{key}" if path else str(key)
        places += leaves(child, here) if isinstance(child, dict | list) else [here]
    return places


def verify_here(path: Path, data_dir: Path | str | None = None) -> adnn.Verdict:
    """Check a contract in this process, which is faster than the separate process of `verify`."""
    try:
        contract = read_contract(path)
    except RefusedError as error:
        return adnn.Verdict(error.status, printable_reasons(error.args))
    options: Any = {"seeds": None, "show_progress_bar": False}
    return verified(contract, path.parent, data_dir, **options)


def check_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check contracts in this process, because the test has replaced the compiler here."""
    apart: Any = lambda contract, folder, limits, **o: verified(contract, folder, **o)  # noqa: E731
    monkeypatch.setattr("adnn_optuna.contracts.verify.verified_apart", apart)


def is_exact(verdict: adnn.Verdict) -> bool:
    return (verdict.status, verdict.reasons, verdict.stated) == ("exact", (), STATED)


STATED = (
    "study: number of trials, sampler and duration of the search",
    "objective: how data and classes were made and named, its metric and space",
    "confirmation: results on new seeds and their CIs",
)

EDITED = adnn.Verdict(
    "breached", ("The content does not match its sha256: it was changed after it was written.",)
)

SPLIT = {"train": 630, "val": 210, "test": 210}


def elsewhere(content: Any) -> Any:
    """Return a contract that claims another environment, as a forger would."""
    content = copy.deepcopy(content)
    content["environment"]["processor"]["model"] = "Another processor"
    return content


def with_more_gain(content: Any, gain: float) -> Any:
    content = copy.deepcopy(content)
    content["best"]["test_accuracy"] += gain / 2
    content["baseline"]["test_accuracy"] -= gain / 2
    return content


def beside(content: dict[str, Any], file: Path, path: Path) -> Path:
    """Write a contract with another weights file, as a forger would."""
    weights = {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    content["files"]["weights"] = weights
    return forged(content, path)


def with_file(path: Path, kind: str, file: Path) -> Path:
    """Write a contract again with another file, as a forger would."""
    content = json.loads(path.read_text())
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    content["files"][kind] = {"name": file.name, "sha256": sha256}
    return forged(content, path)


class Explosive:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise SystemExit('executed')",)
