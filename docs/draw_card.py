"""Draw the preview picture of shared links from README's recheck: ``draw_card.py``.

Drawing needs Chromium or Chrome.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adnn_optuna as adnn

if TYPE_CHECKING:
    from adnn_optuna import Recheck

HERE = Path(__file__).resolve().parent
LEFT, RIGHT = 100, 1100

STYLE = """
text { fill: #e6edf7; font-family: sans-serif; font-size: 34px; }
.title { font-size: 58px; font-weight: bold; }
.trial { fill: #8aa4d6; fill-opacity: 0.75; }
text.best, .best { fill: #f59e42; }
text.real, .real { fill: #56c596; }
path.real { stroke: #56c596; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.axis { stroke: #8aa4d6; stroke-width: 2; }
.luck { stroke: #e6edf7; stroke-width: 3; }
"""


def example() -> tuple[list[float], Recheck]:
    """Return the values of the trials in README's example, and the recheck."""
    readme = (HERE.parent / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(import optuna.*?)print\(", readme, re.DOTALL)
    names: dict[str, Any] = {"adnn": adnn}
    exec(code, names)  # noqa: S102 - it is the code of our own page
    study = names["study"]
    return [trial.value for trial in study.trials], names["result"]


def text(content: str, x: float, y: int, classes: str = "") -> str:
    """Return a line of text."""
    return f'<text class="{classes}" x="{x:.1f}" y="{y}">{content}</text>'


def svg(values: list[float], recheck: Recheck) -> str:
    """Return the trials as dots on one axis, with the best value and the value on new seeds."""
    low, best = min(values), max(values)

    def x(value: float) -> float:
        return LEFT + (value - low) / (best - low) * (RIGHT - LEFT)

    new_seeds = x(recheck.value)
    ci = f"M{x(recheck.low):.1f} 420H{x(recheck.high):.1f}"
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="630">',
            f'<style>{STYLE}</style><rect width="1200" height="630" fill="#1f2d4d"/>',
            text("Part of your best score is luck", LEFT, 140, "title"),
            text("adnn_optuna measures how much, for any Optuna study", LEFT, 205),
            f'<path class="axis" d="M{LEFT - 20} 420H{RIGHT + 20}"/>',
            *(f'<circle class="trial" cx="{x(value):.1f}" cy="420" r="11"/>' for value in values),
            f'<path class="real" stroke-width="12" d="{ci}"/>',
            f'<circle class="real" cx="{new_seeds:.1f}" cy="420" r="18"/>',
            f'<circle class="best" cx="{x(best):.1f}" cy="420" r="18"/>',
            f'<path class="luck" d="M{new_seeds:.1f} 356v18m0 -9H{x(best):.1f}m0 -9v18"/>',
            text(
                f"luck: {100 * (best - recheck.value):.2f} pp",
                (new_seeds + x(best)) / 2,
                340,
                "middle",
            ),
            text(f"{recheck.value:.2%} on new seeds", new_seeds, 490, "real middle"),
            text(f"{best:.2%}, the best of {len(values)} trials", RIGHT + 30, 550, "best end"),
            "</svg>",
        ]
    )


def main() -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "card.svg"
        page.write_text(svg(*example()), encoding="utf-8")
        subprocess.run(
            [
                str(browser), "--headless", "--no-sandbox", "--window-size=1200,630",
                f"--user-data-dir={folder}/profile",
                f"--screenshot={HERE / '_static' / 'card.png'}", page.as_uri(),
            ],
            check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
