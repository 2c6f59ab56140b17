"""Functions of several tests of reports: the parsing of pages, and stored examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import html5lib
import numpy as np

from adnn_optuna.engine.example_scores import as_attributes
from adnn_optuna.engine.records import read_record
from adnn_optuna.render.html import plotly_js

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    import optuna

    from adnn_optuna.engine.records import SearchRecord


EVIL = "<script>alert(1)</script>"


def noise(n_arms: int, n_seeds: int = 12) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.004, (n_arms, n_seeds))


def parsed(html: str, *, with_plotly: bool = False) -> Element:
    """Parse a page, which must be valid HTML."""
    if not with_plotly:  # One test of the bundled plotly.js is enough.
        html = html.replace(plotly_js(), "")
    document: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)
    return document


def text_of(html: str) -> str:
    document = parsed(html)
    for script in [*document.iter("script"), *document.iter("style")]:
        script.text = ""
    return " ".join(" ".join(document.itertext()).split())


def of_a_regression(study: optuna.Study) -> SearchRecord:
    config = study.user_attrs["adnn:config"]
    config["dataset"]["task"] = "regression"
    study.set_user_attr("adnn:config", config)
    [name] = [name for name in study.user_attrs if name.startswith("adnn:test/")]
    look = {**study.user_attrs[name], "standard_error": 0.001, "unit": "examples"}
    study.set_user_attr(name, look)
    scores = 1 - np.linspace(0, 2 * (1 - look["best"]), 1000)
    for name, text in as_attributes(f"adnn:scores/{look['trial']}", scores).items():
        study.set_user_attr(name, text)
    return read_record(study)
