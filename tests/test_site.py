"""The scripts of the site, run in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import adnn_optuna as adnn

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DOCS = Path(__file__).parents[1] / "docs"
SETTINGS = [(2, 0.1), (50, 1.0), (137, 2.5), (500, 5.0)]

MOVE = """
const shown = [document.querySelector("output").textContent];
for (const [n, sd] of SETTINGS) {
  const form = document.querySelector("form");
  form.trials.value = n;
  form.spread.value = sd;
  form.spread.dispatchEvent(new Event("input", { bubbles: true }));
  shown.push(form.luck.textContent);
}
document.title = JSON.stringify(shown);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
def test_the_slider_shows_the_luck_that_python_computes(tmp_path: Path) -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    [slider] = re.findall(r"```\{raw\} html\n(<form class=\"luck\".*?</form>)", text, re.DOTALL)
    script = (DOCS / "_static" / "luck.js").read_text(encoding="utf-8")
    move = f"const SETTINGS = {json.dumps(SETTINGS)};{MOVE}"
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html>{slider}<script>{script}{move}</script>", encoding="utf-8")

    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'p'}"]
    command = [str(CHROMIUM), *flags, "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    [title] = re.findall(r"<title>(.*?)</title>", dom)
    without_script = re.findall(r"<output.*?>(.*?)</output>", slider)
    expected = [f"{100 * adnn.expected_luck(n, sd / 100):.2f} pp" for n, sd in SETTINGS]
    assert json.loads(title) == [expected[1], *expected]
    assert without_script == [expected[1]]
