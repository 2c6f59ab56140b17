"""The reference has an example of each public name, and guides quote real output."""

from __future__ import annotations

import inspect
import json
import re
import runpy
import tomllib
import zlib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import adnn_optuna as adnn
from adnn_optuna.cli.main import app
from adnn_optuna.experiments.contract_file import _FIELDS

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
README = (REFERENCE.parents[1] / "README.md").read_text(encoding="utf-8")
PAGES = [page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md")]

SITE = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE.parent.glob("**/*.md"))


def text_of(guide: str) -> str:
    """Return the text of a guide."""
    return (REFERENCE.parent / "guides" / f"{guide}.md").read_text(encoding="utf-8")


def test_the_project_describes_itself_in_the_same_words_everywhere() -> None:
    root = REFERENCE.parents[1]
    metadata = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    description = metadata["project"]["description"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    command = app.registered_callback
    assert command is not None
    texts = [
        README,
        (root / "docs" / "index.md").read_text(encoding="utf-8"),
        str(adnn.__doc__),
        str(citation["abstract"]),
        str(command.callback.__doc__),
    ]
    assert description.startswith("Part of your best score is luck.")
    assert all(description in " ".join(text.split()) for text in texts)


@pytest.mark.parametrize("name", adnn.__all__)
def test_public_name_has_an_example_beside_its_documentation(name: str) -> None:
    [page] = [page for page in PAGES if f":: adnn_optuna.{name}\n" in page]
    examples = "".join(re.findall(r"```\{testcode\}\n(.*?)```", page, re.DOTALL))
    assert re.search(rf"\b(adnn\.)?{re.escape(name)}\b", examples)


@pytest.mark.parametrize(
    ("page", "n_examples"),
    [
        ("own_sampler", 1),
        pytest.param("contracts", 1, marks=pytest.mark.slow),
        pytest.param("real", 2, marks=pytest.mark.slow),
        pytest.param("functions", 1, marks=pytest.mark.slow),
        pytest.param("search", 1, marks=pytest.mark.slow),
    ],
)
def test_the_examples_of_a_guide_print_the_quoted_output(
    page: str,
    n_examples: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guide = text_of(page)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n((?:(?!```).)*)```\n\n```text", guide, re.DOTALL)
    assert len(examples) == n_examples
    for number, code in enumerate(examples):
        Path(f"example_{number}.py").write_text(code)
        runpy.run_path(f"example_{number}.py")
        assert f"```text\n{capsys.readouterr().out}```" in guide


@pytest.mark.slow
def test_the_guide_to_loops_quotes_the_output_of_a_changed_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = text_of("loops")
    code = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[0]
    quoted = re.findall(r"```text\n(forest: .*?)```", guide, re.DOTALL)
    assert len(quoted) == 1
    monkeypatch.chdir(tmp_path)
    for number, arguments in enumerate(("5", "10")):
        version = code.replace("n_estimators=5", f"n_estimators={arguments}")
        Path(f"version_{number}.py").write_text(version)
        runpy.run_path(f"version_{number}.py")
    printed = capsys.readouterr().out
    assert all(f"\n{lines}" in printed for lines in quoted)


@pytest.mark.slow
def test_the_example_replicates_for_as_many_seeds_as_the_readme_states() -> None:
    [code] = re.findall(r"```python\n((?:(?!```).)*?)\nstorage, name = ", README, re.DOTALL)
    [counts] = re.findall(r"replicates in (\d) or (\d) of 10 such searches", README)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    results = [
        adnn.search(namespace["objective"].replace(seed=seed), "annealing", max_trial=30)
        for seed in range(10)
    ]
    confirmations = [result.confirmation for result in results]
    n_replicated = sum(c is not None and c.replication.low > 0 for c in confirmations)
    assert str(n_replicated) in counts


def test_calls_and_commands_in_the_text_have_existing_arguments() -> None:
    calls = re.findall(r"verify\((path[^)]*)\)", text_of("contracts"))
    assert len(calls) >= 3
    parameters = inspect.signature(adnn.verify).parameters
    for call in calls:
        for argument in call.split(", ")[1:]:
            name, equals, _ = argument.partition("=")
            assert name in parameters, call
            assert equals, call
    [rate] = re.findall(r"learning_rate=([\d.]+)", README)
    rates = re.findall(r"--learning-rate ([\d.]+)", text_of("search"))
    assert rates == [rate]  # README and the guide run the same search.


def test_each_comparison_command_in_the_text_has_max_trial() -> None:
    commands = re.findall(r"(?:^|`)adnn compare (.*?)(?:`|$)", SITE, re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        assert "--max-trial" in command, command


def test_each_resumed_search_in_the_text_is_given_its_name() -> None:
    root, gone_on_with = REFERENCE.parents[1], []
    notebooks = [json.loads(file.read_text("utf-8")) for file in root.glob("notebooks/*.ipynb")]
    texts = ["".join(cell["source"]) for notebook in notebooks for cell in notebook["cells"]]
    text = "\n".join([*texts, README, SITE])
    for block in re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        searches = re.findall(r"^adnn search (.*)", block, re.MULTILINE)
        names = re.findall(r"^adnn (?:resume|contract) --study-name (\S+)", block, re.MULTILINE)
        gone_on_with += names if searches else []
        for name in names if searches else []:
            # A search with default settings has a default name. Any other search must have a name.
            assert f"--study-name {name}" in searches[0] or "--hidden" not in searches[0], block
    assert len(gone_on_with) >= 3


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_the_manifest_for_kubernetes_is_valid(version: str) -> None:
    guide = text_of("machines")
    [manifest] = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    job = yaml.safe_load(manifest)
    kubernetes_validate.validate(job, version, strict=True)
    [worker] = job["spec"]["template"]["spec"]["containers"]
    [password] = [entry for entry in worker["env"] if entry["name"] == "PGPASSWORD"]
    assert "value" not in password
    job["spec"]["paralelism"] = 4
    with pytest.raises(kubernetes_validate.ValidationError, match="paralelism"):
        kubernetes_validate.validate(job, version, strict=True)


def test_the_table_of_initializers_knows_each_distribution() -> None:
    script = runpy.run_path(str(REFERENCE.parent / "initializer_table.py"))
    table = script["initializer_table"]()
    assert "| GlorotUniform | random | uniform |" in table
    assert "unknown" not in table


def test_each_field_of_a_contract_has_a_row_with_its_meaning() -> None:
    fields = runpy.run_path(str(REFERENCE.parent / "contract_fields.py"))
    rows = fields["table"]().splitlines()[2:]
    named = [row.split("`")[1] for row in rows]
    assert sorted(named) == sorted(".".join(path) for path in _FIELDS)
    [epochs] = [row for row in rows if "`objective.training.epochs`" in row]
    assert epochs.startswith("| `objective.training.epochs` | whole number, 1 to 100,000 |  | ")
    assert "passes" in epochs
    assert all(row.split(" | ")[-1].endswith(". |") for row in rows)
    # Each explanation belongs to a field, or to a metric that only some contracts have.
    without_row = set(fields["MEANINGS"]) - set(named)
    assert all(re.fullmatch(r"(baseline|best)\.\w+_(loss|r2)", name) for name in without_row)


def test_each_plot_has_its_picture_and_code_in_the_gallery() -> None:
    pictures = runpy.run_path(str(REFERENCE.parent / "draw_gallery.py"))["pictures"]()
    code_by_file = {file: code for code, file in pictures if file is not None}
    assert all(file.is_file() for file in code_by_file)
    assert set(code_by_file) == set((REFERENCE.parent / "_static" / "gallery").glob("*.png"))


def test_inventories_contain_all_linked_names() -> None:
    written = runpy.run_path(str(REFERENCE.parent / "write_inventories.py"))
    for project in written["NAMES"]:
        file = REFERENCE.parent / "inventories" / f"{project}.inv"
        head, _, names = file.read_bytes().partition(b"zlib.\n")
        expected_head, _, of_names = written["inventory"](project).partition(b"zlib.\n")
        assert (head, zlib.decompress(names)) == (expected_head, zlib.decompress(of_names))


def test_each_picture_of_a_notebook_has_an_alternative_text() -> None:
    for file in REFERENCE.parents[1].glob("notebooks/*.ipynb"):
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
                assert cell["metadata"]["mystnb"]["image"]["alt"], file
