"""Build the packages for OptunaHub from the sources of adnn_optuna.

Each folder beside this file has the README, the example and the test of a package. A built package
is a folder in the form of https://github.com/optuna/optunahub-registry, with all modules that it
needs. You can copy it there, or load it with ``optunahub.load_local_module``. The script formats
the code by the registry's own rules (``registry/pyproject.toml``). Then it runs the registry's
checks (ruff, mypy, mdformat, headers) and the packages' tests.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import frontmatter

import adnn_optuna
from adnn_optuna import callbacks, samplers

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).parent
RULES = HERE / "registry" / "pyproject.toml"
SOURCES = Path(adnn_optuna.__file__).parent

# The category and name of each package, the module that it imports, and the imported names.
PACKAGES: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "samplers/adaptive_simulated_annealing": (samplers, ("AdaptiveSimulatedAnnealingSampler",)),
    "samplers/delta_step": (samplers, ("DeltaStepSampler",)),
    "samplers/keyed": (samplers, ("KeyedSampler",)),
    "callbacks/study_limits": (
        callbacks,
        ("MaxGainCallback", "MaxTimeCallback", "MaxTrialCallback"),
    ),
}

# The entries that the registry's workflow requires in the header of each README.
HEADER = ("author", "title", "description", "tags", "optuna_versions", "license")


def build(package: str, registry: Path) -> Path:
    """Build a package.

    Args:
        package: The package's category and name.
        registry: The folder ``package`` of the registry.
    """
    public_module, names = PACKAGES[package]
    folder = registry / package
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    texts = HERE / package.split("/")[1]
    classes = {name: getattr(public_module, name) for name in names}

    modules = _needed({cls.__module__ for cls in classes.values()})
    for module in modules:
        source = _file(module).read_text()
        (folder / _file(module).name).write_text(_adapted(source, package))
    imports = [
        f"from .{cls.__module__.rpartition('.')[2]} import {name}" for name, cls in classes.items()
    ]
    exports = "".join(f'    "{name}",\n' for name in names)
    (folder / "__init__.py").write_text("\n".join(imports) + f"\n\n\n__all__ = [\n{exports}]\n")
    api = "\n".join(_api(name, cls) for name, cls in classes.items())
    readme = Template((texts / "README.md").read_text())
    (folder / "README.md").write_text(readme.substitute(api=api))
    shutil.copy(texts / "example.py", folder)
    shutil.copy(SOURCES.parent / "LICENSE", folder)
    (folder / "requirements.txt").write_text("\n".join(_requirements(modules)) + "\n")
    (folder / "tests").mkdir()
    shutil.copy(texts / f"test_{texts.name}.py", folder / "tests")
    if (texts / "images").exists():
        shutil.copytree(texts / "images", folder / "images")
    ruff = ["ruff", "--config", str(RULES), "--quiet"]
    _run(*ruff, "check", "--fix", "--no-cache", str(folder))
    _run(*ruff, "format", "--no-cache", str(folder))
    _run("mdformat", str(folder / "README.md"))
    return folder


def check(registry: Path) -> None:
    """Run the checks that the registry's pre-commit hooks and workflows run on packages."""
    where, readmes = str(registry), [*registry.rglob("README.md")]
    ruff = ["ruff", "--config", str(RULES), "--quiet"]
    _run(*ruff, "check", "--no-cache", where)
    _run(*ruff, "format", "--check", "--no-cache", where)
    _run("mdformat", "--check", *map(str, readmes))
    # The registry's mypy runs in an environment without Optuna.
    mypy = ["mypy", "--no-site-packages", "--scripts-are-modules", "--config-file", str(RULES)]
    _run(*mypy, "--cache-dir", str(registry.parent / ".mypy_cache"), where)
    for readme in readmes:
        header = frontmatter.load(str(readme))
        if missing := [name for name in HEADER if not header.get(name)]:
            raise ValueError(f"{readme} lacks {', '.join(missing)} in its header.")


def _run(*command: str) -> None:
    subprocess.run([sys.executable, "-m", *command], check=True)


def _file(module: str) -> Path:
    return SOURCES.joinpath(*module.split(".")[1:]).with_suffix(".py")


def _needed(modules: set[str]) -> list[str]:
    """Return modules and all modules of adnn_optuna that they import."""
    needed: set[str] = set()
    while modules:
        module = modules.pop()
        needed.add(module)
        for node in ast.walk(ast.parse(_file(module).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adnn_optuna"):
                of_root = node.module == "adnn_optuna"
                names = [f"adnn_optuna.{alias.name}" for alias in node.names]
                modules |= set(names if of_root else [str(node.module)])
        modules -= needed
    return sorted(needed)


def _requirements(modules: list[str]) -> list[str]:
    """Return the requirements of modules, except Optuna, with our lowest versions."""
    names: set[str] = set()
    for module in modules:
        for node in ast.walk(ast.parse(_file(module).read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).split(".")[0])
    ours = [text for text in requires("adnn_optuna") or () if "extra ==" not in text]
    named = {re.split(r"[^\w-]", text)[0]: text for text in ours}
    return sorted(named[name] for name in names & {*named} - {"optuna"})


def _adapted(source: str, package: str) -> str:
    """Return a module's source with imports for a package that has all modules in one folder."""
    # The examples in docstrings contain imports, too, which are indented.
    source = re.sub(
        r"^( +)from adnn_optuna\.(?:samplers|callbacks) import (\w+)$",
        rf'\1import optunahub\n\n\1\2 = optunahub.load_module("{package}").\2',
        source,
        flags=re.MULTILINE,
    )
    source = source.replace("from adnn_optuna import", "from . import")
    return re.sub(r"from adnn_optuna(?:\.samplers)?\.(\w+) import", r"from .\1 import", source)


def _api(name: str, cls: type) -> str:
    """Return a class and its arguments as a list, from the class docstring."""
    documentation = inspect.cleandoc(cls.__doc__ or "")
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(cls)))
    signature = re.sub(r"collections\.abc\.|typing\.|optuna\.samplers\._base\.", "", signature)
    lines = [f"- `{name}{signature.removesuffix(' -> None')}`"]
    arguments = documentation.partition("\nArgs:\n")[2].partition("\nRaises:\n")[0]
    for entry in re.split(r"\n(?=    \w)", "\n" + arguments.strip("\n"))[1:]:
        argument, _, text = entry.strip().partition(":")
        lines.append(f"  - `{argument}`: {' '.join(text.split())}")
    # Convert reStructuredText to Markdown.
    return re.sub(r":(?:\w+:)+`~?([^`]*)`", r"`\1`", "\n".join(lines)).replace("``", "`")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--registry",
        type=Path,
        default=Path("build/optunahub/package"),
        help="the folder `package` of the registry",
    )
    registry = parser.parse_args().registry
    folders = [build(package, registry) for package in PACKAGES]
    print("\n".join(map(str, folders)))
    tests = [str(folder / "tests") for folder in folders]
    check(registry)
    _run("pytest", "--quiet", "-p", "no:cacheprovider", *tests)


if __name__ == "__main__":
    main()
