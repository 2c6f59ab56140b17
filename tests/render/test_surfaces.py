"""Every surface shows the whole document, and escapes every name in it."""

from __future__ import annotations

import base64
import functools
import gzip
import html
import importlib
import json
import re
from importlib import resources
from typing import TYPE_CHECKING

import html5lib
import pytest
from render_documents import EVIL, document

from adnn_optuna.render.document import Figure
from adnn_optuna.render.html import plotly_js, to_fragment, to_page
from adnn_optuna.render.json import to_json
from adnn_optuna.render.markdown import to_markdown
from adnn_optuna.render.printed import FORMATS
from adnn_optuna.render.text import to_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

    from adnn_optuna.render.document import Document


def parsed(page: str) -> Element:
    """Parse a page, which must be valid HTML."""
    page = page.replace(plotly_js(), "")
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    element: Element = parser.parse(page)
    return element


def text_of(page: str) -> str:
    return " ".join(" ".join(parsed(page).itertext()).split())


def as_text(made: Document) -> str:
    return to_text(made, 1000, details=True)


def in_format(form: str, made: Document) -> str:
    """Return a document in a format of :data:`FORMATS`, with its escapes removed."""
    module = importlib.import_module(f"adnn_optuna.render.{form}")
    return re.sub(r"\\(.)", r"\1", getattr(module, f"to_{form}")(made))


def as_page(made: Document) -> str:
    return html.unescape(text_of(to_page(made)))


SURFACES = [as_text, as_page, *(functools.partial(in_format, form) for form in FORMATS)]


@pytest.mark.parametrize("surface", SURFACES)
def test_every_surface_shows_every_part(surface: Callable[[Document], str]) -> None:
    made_document = document("the arm")
    printed = surface(made_document)
    texts = [
        made_document.title,
        made_document.conclusion,
        made_document.scope,
        made_document.subject,
        *made_document.notes,
    ]
    texts.append(made_document.next_step.python)
    for line in made_document.estimates:
        texts += [line.label, line.value, line.ends, line.remark]
    for table in made_document.tables:
        texts += [table.title, *table.headings, *(cell for row in table.rows for cell in row)]
    assert [text for text in texts if text not in printed] == []


def test_a_notebook_shows_all_but_details_and_figures() -> None:
    made_document = document("the arm")
    printed = text_of(f"<!DOCTYPE html><html><title>a</title>{to_fragment(made_document)}</html>")
    texts = [
        made_document.title,
        made_document.conclusion,
        made_document.subject,
        made_document.notes[0],
        made_document.estimates[0].remark,
    ]
    assert [text for text in texts if text not in printed] == []
    assert "Every run" not in printed


def test_json_holds_fields_and_null_for_numbers_that_are_not_finite() -> None:
    content = json.loads(to_json(document("the arm"), verb="test"))
    assert [*content][:4] == ["verb", "title", "verdict", "conclusion"]
    assert content["value"] is None
    assert content["gain"] == {"value": 1.0, "low": None, "high": 2.0}
    assert content["notes"] == ["A note on the arm."]


class TestHostileNames:
    def test_are_escaped_in_html(self) -> None:
        page, fragment = to_page(document(EVIL)), to_fragment(document(EVIL))
        assert EVIL not in page
        assert EVIL not in fragment
        assert EVIL in text_of(page)

    def test_cannot_end_the_script_of_a_figure(self) -> None:
        scripts = parsed(to_page(document(EVIL))).findall(".//script[@type='application/json']")
        assert len(scripts) == len(document(EVIL).figures())
        for script in scripts:
            assert {"data", "layout"} <= json.loads(script.text or "").keys()

    def test_are_escaped_in_markdown(self) -> None:
        text = to_markdown(document("[a](b) | `c` <img> http://d"))
        assert "[a](b)" not in text
        assert "<img>" not in text
        assert "http://d" not in text

    @pytest.mark.parametrize("character", ["\x1b", "\u202e", "\u200b", "\ufeff", "\U000e0041"])
    def test_are_printed_without_invisible_characters(self, character: str) -> None:
        made_document = document(f"a{character}b")
        for text in (
            as_text(made_document),
            to_markdown(made_document),
            to_page(made_document),
            to_fragment(made_document),
        ):
            assert f"a{character}b" not in text.replace(plotly_js(), "")


def test_the_plotly_js_bundle_is_named_by_its_version_and_has_its_licence() -> None:
    folder = resources.files("adnn_optuna.render") / "plotly_js"
    [file] = [file for file in folder.iterdir() if file.name.endswith(".gz")]
    begin = gzip.decompress(base64.b64decode(plotly_js()))[:200].decode()
    version = re.search(r"cartesian - minified\) v([\d.]+)", begin)
    assert version
    assert file.name == f"plotly-cartesian-{version[1]}.min.js.gz"
    assert "MIT License" in (folder / "LICENSE").read_text()


def test_a_long_title_is_cut() -> None:
    assert document("x" * 100).title == "x" * 59 + "…"


@pytest.mark.parametrize("surface", [*SURFACES, to_fragment])
def test_intervals_have_the_level_of_the_document(surface: Callable[[Document], str]) -> None:
    text = surface(document(level=0.975))
    assert "97.5% CI" in text
    assert "95% CI" not in text


def test_late_figures_are_drawn_only_for_pages() -> None:
    drawn_figures = []

    def draw() -> list[Figure]:
        drawn_figures.append("drawn")
        return [Figure("late", "A late figure", "x", "y", [])]

    late = document(draw=draw)
    for surface in (to_text, to_markdown, to_json, to_fragment):
        assert "A late figure" not in surface(late)
    assert drawn_figures == []
    assert "A late figure" in to_page(late)


def test_a_name_cannot_begin_a_line() -> None:
    text = to_text(document("an arm\nNote: forged"), details=True)
    assert r"an arm\nNote: forged" in text
    assert "\nNote: forged" not in text
