"""Every public name stands in the reference, with an example that ``make docs`` runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import adnn_optuna as adnn
from adnn_optuna import plots

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PAGES = [page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md")]


@pytest.mark.parametrize("name", [*adnn.__all__, *(f"plots.{name}" for name in plots.__all__)])
def test_public_name_has_an_example_beside_its_documentation(name: str) -> None:
    documented = "automodule:: adnn_optuna.plots" if "." in name else f":: adnn_optuna.{name}\n"
    [page] = [page for page in PAGES if documented in page]
    examples = "".join(re.findall(r"```\{testcode\}\n(.*?)```", page, re.DOTALL))
    assert re.search(rf"\b(adnn\.)?{re.escape(name)}\b", examples)
