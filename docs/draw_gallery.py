"""Draw each picture of the gallery by the code above it on the page: ``draw_gallery.py``.

Drawing needs Chromium or Chrome.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import Any

import optuna

import adnn_optuna as adnn

HERE = Path(__file__).resolve().parent


def pictures() -> list[tuple[str, Path | None]]:
    """Return each block of code on the page, and the file of the picture below it, if any."""
    text = (HERE / "gallery.md").read_text(encoding="utf-8")
    found = re.findall(r"```{testcode}\n(.*?)```\n(?:\n!\[[^]]*\]\((.*?)\))?", text, re.DOTALL)
    return [(code, HERE / file if file else None) for code, file in found]


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    names: dict[str, Any] = {"adnn": adnn, "optuna": optuna}
    # The code on the page writes files, so it runs in a temporary folder.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for code, file in pictures():
            exec(code, names)  # noqa: S102 - it is the code of our own page
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                names["figure"].write_image(file, width=720, scale=1.25)
                print(file.relative_to(HERE))


if __name__ == "__main__":
    main()
