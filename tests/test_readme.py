"""The examples of README run one after the other in one process, and print the quoted output."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adnn_optuna._checks import is_installed

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def examples() -> Iterator[tuple[str, str]]:
    """Yield each example with its quoted output."""
    yield from re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.skipif(not is_installed("tensorflow"), reason="needs TensorFlow")
def test_each_example_prints_the_quoted_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code, quoted in examples():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == quoted


def test_the_readme_is_short() -> None:
    assert len([*examples()]) == 2
    for code, quoted in examples():
        assert len([line for line in code.split("\n") if line]) <= 11
        assert max(map(len, quoted.split("\n"))) <= 80
        assert quoted.count("\n") <= 10
    prose = re.sub(r"```.*?```|<picture>.*?</picture>", "", TEXT, flags=re.DOTALL)
    assert len(prose.split()) <= 450


def test_the_guide_to_searches_quotes_the_example_of_a_search() -> None:
    guide = README.parent / "docs" / "guides" / "search.md"
    [_, (code, quoted)] = examples()
    example = f"```python\n{code}```\n\n```text\n{quoted}```"
    assert example in guide.read_text(encoding="utf-8")


def test_the_front_page_has_the_example_of_a_recheck_with_its_output() -> None:
    front_page = (README.parent / "docs" / "index.md").read_text(encoding="utf-8")
    [(code, quoted), _] = examples()
    [front_code] = re.findall(r"```python\n(.*?)```", front_page, re.DOTALL)
    assert ast.dump(ast.parse(front_code)) == ast.dump(ast.parse(code))
    assert f"```\n\n```text\n{quoted}```" in front_page
