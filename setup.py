"""The build of the package, whose settings are in ``pyproject.toml``."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildAgain(build_py):
    """Copies the package without files of earlier builds, which would get into the wheel."""

    def run(self) -> None:
        """Remove the copy of an earlier build, and copy."""
        shutil.rmtree(Path(self.build_lib) / "adnn_optuna", ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": BuildAgain})
