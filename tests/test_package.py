"""What a wheel of the package holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_files_of_earlier_builds_do_not_get_into_a_wheel(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "adnn_optuna", tmp_path / "adnn_optuna", ignore=ignored)
    stale = tmp_path / "build" / "lib" / "adnn_optuna" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    code = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = tmp_path / "adnn_optuna"
    wanted = {
        file.relative_to(tmp_path).as_posix() for file in package.rglob("*") if file.is_file()
    }
    assert held == wanted
