"""In a browser, reports draw every figure and hide no text, on phones and on wide screens."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from render_documents import LONG, document, figures

from adnn_optuna.render.document import Table
from adnn_optuna.render.figures import COLORS, DARK_COLORS, standalone
from adnn_optuna.render.html import to_page

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (360, 768, 1440)

FAULTS = frozenset(
    [
        "resources",
        "undrawn",
        "wide",
        "outside",
        "cut",
        "nameless",
        "slanted",
        "overlapping",
        "small",
        "unreadable",
    ]
)

# The script lists the faults of a page in a frame (FAULTS), and further values that tests check.
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
    undrawn: all(".plot").filter((p) => {
      const figure = JSON.parse(page.getElementById(p.dataset.figure).textContent);
      return !p.querySelector(".main-svg") || all(".trace", p).length != figure.data.length;
    }).map((p) => p.getAttribute("aria-label")),
    colors: all(".plot .lines path").map((e) => e.style.stroke),
    resources: view.performance.getEntriesByType("resource").map((r) => r.name),
    wide: all("body *").filter((e) => rect(e).right > width + 1 && !e.closest(".scroll, script"))
      .map(name),
    outside: all("figcaption *, .conclusion, .tile *, .notes li, td, th, caption").filter((e) =>
      e.scrollWidth > e.clientWidth + 1 && view.getComputedStyle(e).display !== "inline"
      ).map(name),
    nameless: all("thead").flatMap((h) => {
      if (view.getComputedStyle(h).display !== "none") return [];
      const columns = all("th", h).map((cell) => cell.textContent);
      const rows = all("tr", h.nextElementSibling);
      const isNameless = (cell, i) =>
        !view.getComputedStyle(cell, "::before").content.includes(columns[i]);
      return rows.flatMap((row) => [...row.children].filter(isNameless).map(name));
    }),
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
    unreadable: all(".xtick text, .ytick text, .y2tick text, .annotation text").filter((t) =>
      view.getComputedStyle(t).fill !== view.getComputedStyle(page.body).color).map(name),
  };
}
function drawn(frame) {
  return [...frame.contentDocument.querySelectorAll(".plot")].every((p) => p._fullLayout);
}
// The clock of this browser runs ahead while the script is unpacked, so each look takes real time.
function wait(n_looks) {
  const frames = [...document.querySelectorAll("iframe")];
  for (let i = 0, sum = 0; i < 1e7; i++) sum += i;
  if (frames.every(drawn) || !n_looks) {
    setTimeout(() => { document.title = JSON.stringify(frames.map(look)); }, 3000);
  } else setTimeout(() => wait(n_looks - 1), 1);
}
onload = () => wait(5000);
"""

FIND_HIDDEN = """
const box = document.querySelector(".plotly-graph-div").getBoundingClientRect();
const buttons = document.querySelector(".modebar").getBoundingClientRect();
const texts = [...document.querySelectorAll("svg text")].filter((text) => {
  const { width, left, right, top } = text.getBoundingClientRect();
  return width && (left < box.left || right > box.right || top < buttons.bottom);
});
document.title = JSON.stringify(texts.map((text) => text.textContent));
"""


def chromium(folder: Path, page: Path, *options: str) -> str:
    """Open a page in a browser and return the browser's output."""
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
    """Return the state of ``page.html``, opened in a browser, at each of the widths."""
    page = (path / "page.html").read_text(encoding="utf-8")
    opened = page.replace("<details>", "<details open>")
    (path / "page.html").write_text(opened, encoding="utf-8")
    # A window cannot be as narrow as a phone, but a frame can.
    frames = "".join(
        f'<iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe>'
        for width in WIDTHS
    )
    outer = path / "outer.html"
    outer.write_text(f"<!DOCTYPE html>{frames}<script>{LOOK}</script>", encoding="utf-8")
    options = ("--dump-dom", "--allow-file-access-from-files", "--window-size=2700,1000")
    theme = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    page_source = chromium(path, outer, *options, theme)
    match = re.search(r"<title>(.*?)</title>", page_source)
    assert match, page_source
    state: list[dict[str, Any]] = json.loads(match[1].replace("&gt;", ">").replace("&amp;", "&"))
    return state


def as_rgb(color: str) -> str:
    """Return a color in the notation of browsers."""
    return f"rgb({', '.join(map(str, bytes.fromhex(color[1:])))})"


NO_SPACES = "a_name_without_any_space_that_is_longer_than_a_phone_is_wide_"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
@pytest.mark.parametrize("label", [LONG, pytest.param(NO_SPACES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_a_browser_draws_all_figures_whole_and_loads_no_resource(
    label: str, scheme: str, tmp_path: Path
) -> None:
    numbers = ["90.01 ± 1.26"] * 11
    wide = Table(["", *["test accuracy [%]"] * 11], [("an arm", *numbers)], "As a comparison has")
    wide_document = document(label, tables=[*document(label).tables, wide])
    (tmp_path / "page.html").write_text(to_page(wide_document), encoding="utf-8")
    states = looks(tmp_path, scheme=scheme)
    assert [state["width"] for state in states] == [*WIDTHS]
    for state in states:
        assert state["plots"] > 0
        drawn_in = DARK_COLORS if scheme == "dark" else COLORS
        assert {*map(as_rgb, drawn_in[:2])} <= {*state["colors"]}
        assert {
            name: state_value
            for name, state_value in state.items()
            if name in FAULTS and state_value
        } == {}
    # On phones and on wide screens, every table shows all of its columns without scrolling.
    assert states[0]["scrolling"] == states[-1]["scrolling"] == []


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
def test_a_standalone_figure_fits_a_phone_and_its_buttons_cover_no_text(tmp_path: Path) -> None:
    figure = dataclasses.replace(figures(LONG)[0], title="a word " * 20, caption="read " * 50)
    page = tmp_path / "page.html"
    drawing = standalone(figure)
    drawing.write_html(page, default_width="360px", post_script=FIND_HIDDEN)
    assert "<title>[]</title>" in chromium(tmp_path, page, "--dump-dom")
    title = drawing.layout.title
    assert "…" not in title.text + title.subtitle.text


def test_a_page_has_less_than_a_megabyte() -> None:
    assert len(to_page(document("arm")).encode()) < 1_000_000


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
def test_print_shows_folded_parts_except_long_cells(tmp_path: Path) -> None:
    rows = [(f"run {i}", f"{i / 7}") for i in range(200)]
    rows.append(("contract", '{"field": 12345}' * 10_000))
    runs = Table(("run", "value"), rows, "Every run", is_detail=True)
    page = to_page(document(tables=[runs]))
    pages = {
        "printed": page,
        "open": page.replace("<details>", "<details open>"),
        "closed": page.replace("details:not(.long)", "never"),
        "all": page.replace("<details", "<details open"),
    }
    sizes = {}
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        chromium(tmp_path, tmp_path / f"{name}.html", f"--print-to-pdf={tmp_path / name}.pdf")
        sizes[name] = (tmp_path / f"{name}.pdf").stat().st_size
    assert sizes["printed"] == pytest.approx(sizes["open"], rel=0.01)
    assert sizes["closed"] < 0.9 * sizes["printed"] < 0.8 * sizes["all"]
