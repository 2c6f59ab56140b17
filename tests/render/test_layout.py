"""Reports in a browser: all is drawn and nothing is cut, on a phone as on a wide screen."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from render_documents import LONG, document

from adnn_optuna.render.document import Table
from adnn_optuna.render.html import to_page

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (360, 768, 1440)

FAULTS = frozenset(
    ["resources", "wide", "outside", "cut", "slanted", "overlapping", "small", "unreadable"]
)

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
    outside: all("figcaption *, .conclusion, .tile *, .notes li, td, th, caption").filter((e) =>
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


NO_SPACES = "a_name_without_any_space_that_is_longer_than_a_phone_is_wide_"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
@pytest.mark.parametrize("label", [LONG, pytest.param(NO_SPACES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_browser_draws_all_figures_whole_and_asks_nobody(
    label: str, scheme: str, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(to_page(document(label)), encoding="utf-8")
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
    rows = [(f"run {i}", f"{i / 7}") for i in range(200)]
    runs = Table(("run", "value"), rows, "Every run", is_detail=True)
    (tmp_path / "a.html").write_text(to_page(document(tables=[runs])), encoding="utf-8")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    (tmp_path / "b.html").write_text(page.replace("<details>", "<details open>"), encoding="utf-8")
    (tmp_path / "c.html").write_text(page.replace('"beforeprint"', '"never"'), encoding="utf-8")
    sizes = []
    for name in "abc":
        chromium(tmp_path, tmp_path / f"{name}.html", f"--print-to-pdf={tmp_path / name}.pdf")
        sizes.append((tmp_path / f"{name}.pdf").stat().st_size)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    assert sizes[2] < 0.9 * sizes[0]
