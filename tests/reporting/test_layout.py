"""Reports in a browser: all is drawn and nothing is cut, on a phone as on a wide screen."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from stored_studies import store_classes, store_comparison, store_study

from adnn_optuna.api.compare_models import ModelComparison
from adnn_optuna.engine.records import read_record
from adnn_optuna.reporting import searches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (360, 768, 1440)
LONG = "simulated annealing, cooled slowly, from the origin of the plain network"

FAULTS = ("resources", "wide", "outside", "cut", "slanted", "overlapping", "small")
FAULTS += ("unreadable",)

# What a frame shows, as far as it can be wrong.
LOOK = """
function look(frame) {
  const page = frame.contentDocument, view = frame.contentWindow, width = frame.clientWidth;
  const all = (selector, from = page) => [...from.querySelectorAll(selector)];
  const rect = (element) => element.getBoundingClientRect();
  const name = (element) => element.tagName + ": " + element.textContent.trim().slice(0, 40);
  const scrolls = (box) => box.scrollWidth > box.clientWidth;
  const overlap = (labels) => labels.some((one, i) => labels.slice(i + 1).some((other) => {
    const a = rect(one), b = rect(other);
    return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
  }));
  return {
    width,
    plots: all(".plot").length,
    drawn: all(".plot").filter((p) => p.querySelector(".main-svg")).length,
    resources: view.performance.getEntriesByType("resource").map((r) => r.name),
    wide: all("body *").filter((e) => rect(e).right > width + 1 && !e.closest(".scroll, script"))
      .map(name),
    outside: all("figcaption *, .panel > p, td, th, .said *").filter((e) =>
      e.scrollWidth > e.clientWidth + 1 && view.getComputedStyle(e).display !== "inline"
      ).map(name),
    scrolling: all(".scroll").filter(scrolls).map(name),
    cut: all(".plot").flatMap((p) => all("svg text", p).filter((t) => {
      const inner = rect(t), outer = rect(p);
      return inner.width && (inner.left < outer.left - 2 || inner.right > outer.right + 2
        || inner.top < outer.top - 2 || inner.bottom > outer.bottom + 2);
    }).map((t) => p.getAttribute("aria-label") + ": " + name(t))),
    slanted: all(".xtick text, .x2tick text, .ytick text, .y2tick text").filter((t) => {
      const angle = /rotate\\(([-\\d.]+)/.exec(t.getAttribute("transform") || "");
      return angle && ![0, -90].includes(Number(angle[1]));
    }).map(name),
    overlapping: all(".plot").filter((p) => ["xtick", "x2tick", "ytick", "y2tick"].some((axis) =>
      overlap(all(`.${axis} text, .${axis.replace("tick", "title")}`, p)))
      ).map((p) => p.getAttribute("aria-label")),
    small: all(".plot").filter((p) => all(".nsewdrag", p).some((d) =>
      rect(d).width < 0.3 * rect(p).width || rect(d).height < 60)
      ).map((p) => p.getAttribute("aria-label")),
    unreadable: all(".xtick text, .ytick text, .legendtext, .annotation text").filter((t) =>
      view.getComputedStyle(t).fill !== view.getComputedStyle(page.body).color).map(name),
  };
}
onload = () => setTimeout(() => {
  document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
}, 3000);
"""


def chromium(folder: Path, page: Path, *options: str) -> str:
    """Return what a browser says that opens a page."""
    assert CHROMIUM is not None
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000")
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [CHROMIUM, *flags, profile, *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def looks(path: Path, *, scheme: str) -> list[dict[str, Any]]:
    """Return what a browser makes of ``page.html`` in a folder at each of the widths."""
    page = (path / "page.html").read_text(encoding="utf-8")
    opened = page.replace("<details>", "<details open>")
    (path / "page.html").write_text(opened, encoding="utf-8")
    # Frames, as no window is as narrow as a phone.
    frames = "".join(
        f'<iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe>'
        for width in WIDTHS
    )
    outer = path / "outer.html"
    outer.write_text(f"<!DOCTYPE html>{frames}<script>{LOOK}</script>", encoding="utf-8")
    options = ("--dump-dom", "--allow-file-access-from-files", "--window-size=2700,1000")
    theme = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    shown = chromium(path, outer, *options, theme)
    found = re.search(r"<title>(.*?)</title>", shown)
    assert found, shown
    state: list[dict[str, Any]] = json.loads(found[1].replace("&gt;", ">").replace("&amp;", "&"))
    return state


def long_comparison(path: Path) -> None:
    labels = {f"{i}: {LONG}": (i - 3) / 100 for i in range(6)} | {"random_restart": 0.0}
    gains = {label: [gain + i / 2000 for i in range(8)] for label, gain in labels.items()}
    store_comparison(gains).report(path)


def classified_search(path: Path) -> None:
    study = store_study("a_name_without_any_space_that_is_longer_than_a_phone_is_wide")
    store_classes(study, [90, *[3] * 11])
    searches.page(read_record(study)).save(path)


def long_models(path: Path) -> None:
    comparison = ModelComparison(
        {(i, seed): 0.8 + i / 10 + seed / 100 for i in range(3) for seed in range(3)},
        "models",
        ("deep_network_of_three_hidden_layers_each_of_256_units", LONG, "0.1"),
        tuple(range(3)),
        looks_again=False,
        equivalence=0.001,
        sources=("split",),
        resampled=(100, 50),
        n_train=100,
        n_test=50,
    )
    comparison.report(path)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
@pytest.mark.parametrize(
    "make",
    [
        long_comparison,
        *(pytest.param(make, marks=pytest.mark.slow) for make in (classified_search, long_models)),
    ],
)
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_browser_draws_all_figures_whole_and_asks_nobody(
    make: Callable[[Path], None], scheme: str, tmp_path: Path
) -> None:
    make(tmp_path / "page.html")
    states = looks(tmp_path, scheme=scheme)
    assert [state["width"] for state in states] == [*WIDTHS]
    for state in states:
        assert state["drawn"] == state["plots"] > 0
        assert {name: found for name, found in state.items() if name in FAULTS and found} == {}
    # On a phone no table hides a column.
    assert states[0]["scrolling"] == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
def test_paper_shows_what_is_folded(tmp_path: Path) -> None:
    store_comparison({"greedy": [0.01] * 8, "random_restart": [0.0] * 8}).report(
        tmp_path / "a.html"
    )
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    (tmp_path / "b.html").write_text(page.replace("<details>", "<details open>"), encoding="utf-8")
    (tmp_path / "c.html").write_text(page.replace('"beforeprint"', '"never"'), encoding="utf-8")
    sizes = []
    for name in "abc":
        chromium(tmp_path, tmp_path / f"{name}.html", f"--print-to-pdf={tmp_path / name}.pdf")
        sizes.append((tmp_path / f"{name}.pdf").stat().st_size)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    assert sizes[2] < 0.9 * sizes[0]
