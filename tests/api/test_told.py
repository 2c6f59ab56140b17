"""Results in a notebook: the HTML shows the printed text, and executes nothing."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import html5lib
import keras
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from search_worker import make_objective, quick_training
from stored_studies import store_classes, store_study

import adnn_optuna as adnn
from adnn_optuna.cli import output
from adnn_optuna.engine.records import read_record
from adnn_optuna.render.html import plotly_js
from adnn_optuna.results.study import result_of

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "<script>alert(1)</script>"


def test_html_of_a_notebook_escapes_names() -> None:
    values = {"trained_weights_sha256": "", "test_accuracy": 0.5}
    study = {"name": EVIL, "sampler": "annealing", "best_trial": 1, "trials": 2}
    study["direction"] = "maximize"
    content = {
        "study": study,
        "objective": {"dataset": {"name": "digits"}, "metric": "val_accuracy"},
        "split": {"test": 16},
        "baseline": values,
        "best": {"params": {}, **values},
    }
    layers = [keras.Input((4,)), keras.layers.Dense(2)]
    printed_objects = (
        adnn.Contract(content, {"kernel": np.zeros(2)}),
        adnn.Verdict("breached", (EVIL,), gain=None),
        adnn.audit_randomness(keras.Sequential(layers)),
    )
    for printable in printed_objects:
        assert EVIL not in printable._repr_html_()
    assert repr(printed_objects[0]) == f"Contract(content={content!r})"
    assert repr(printed_objects[1]) == "Verdict('Breached')"


def check_is_harmless_html(one: Any) -> None:
    page = one._repr_html_()
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    fragment = parser.parseFragment(page)
    assert not [*fragment.iter("script")]
    for private in ("'host'", "'process'", " at 0x"):
        assert private not in repr(one) + page


@pytest.fixture(scope="module")
def shown() -> dict[str, object]:
    """Return one object of each kind that is shown."""
    objective = make_objective()
    result = adnn.search(objective, "annealing", max_trial=3, study_name=EVIL)
    recheck = adnn.recheck(result.study, lambda _, seed: seed % 7 / 7, top=2, choose=2, confirm=2)
    small = objective.dataset
    return {
        "result": result,
        "recheck": recheck,
        "variance": adnn.measure_variance(lambda seed: seed % 7 / 7, n=5, study_name=EVIL),
        "models": adnn.compare_models(
            {"a": adnn.MLP((4,)), EVIL: adnn.MLP((5,))},
            small,
            training=quick_training(epochs=1),
            seeds=range(2),
        ),
    }


def test_results_have_a_short_repr_and_harmless_html(shown: dict[str, object]) -> None:
    for printable in shown.values():
        assert len(repr(printable)) < 400
        assert len(repr(printable).splitlines()) == 1
        check_is_harmless_html(printable)


def without_line_breaks(figure: str) -> str:
    """Return the JSON of a figure with all line breaks removed from its labels."""
    return figure.replace(r"\u003cbr\u003e", "").replace("<br>", "")


COMMANDS = "\x1b[2J\x9b\nFOR\u200bGED\u202e\ufeff\xad\U000e0041\u200d\u2028"


FORGED = r"FOR\u200bGED\u202e\ufeff\xad\U000e0041\u200d\u2028"


def test_stored_names_control_neither_terminal_nor_page(tmp_path: Path) -> None:
    study = store_study(f"s{COMMANDS}", sampler="greedy", metric="val_loss")
    store_classes(study, [90, 10])
    attrs = study.user_attrs
    [look] = [name for name in attrs if name.startswith("adnn:test/")]
    [run] = [name for name in attrs if name.startswith("adnn:runs/")]
    changes: dict[str, dict[str, Any]] = {
        look: {"unit": f"rows{COMMANDS}", "largest_class": COMMANDS},
        run: {
            "stop_reason": COMMANDS,
            "sampler": COMMANDS,
            "limits": {"max_trial": 3, COMMANDS: 3},
        },
        "adnn:config": {"metric": f"val_loss{COMMANDS}", COMMANDS: COMMANDS},
        "adnn:search": {"sampler": COMMANDS},
    }
    for name, changed in changes.items():
        study.set_user_attr(name, {**attrs[name], **changed})
    study.set_user_attr("adnn:stop_reason", COMMANDS)
    proposal = study.trials[0].system_attrs["adnn:proposal"]
    study.add_trial(
        optuna.create_trial(
            value=9.0,
            params={COMMANDS: COMMANDS},
            distributions={COMMANDS: CategoricalDistribution([COMMANDS])},
            system_attrs={"adnn:proposal": {**proposal, "sampler": COMMANDS}},
        )
    )
    record = read_record(study)
    result = result_of(record)
    result.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8").replace(plotly_js(), "")
    figures = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert r"val_loss\\x1b[2J" in without_line_breaks("".join(figures))
    for figure in figures:
        escapes = re.findall(r"(?<!\\)(?:\\\\)*((?:\\u[0-9a-f]{4})+)", figure)
        assert not [c for e in escapes for c in json.loads(f'"{e}"') if not c.isprintable()]
    stdout = io.StringIO()
    output.show(str(result), stdout)
    assert r"val_loss\\x1b[2J" in without_line_breaks(result.plot().to_json())
    for text in (page, stdout.getvalue(), str(result)):
        assert FORGED in text
        assert all(c.isprintable() or c == "\n" for c in text)
        # A page ignores the end of a line.
        assert text == page or "\nFOR" not in text


def test_an_objective_names_a_model_that_is_a_function() -> None:
    def small() -> keras.Model:
        dense = [keras.layers.Dense(4), keras.layers.Dense(10)]
        layers = [keras.Input((8, 8)), keras.layers.Flatten(), *dense]
        return keras.Sequential(layers)

    objective = repr(adnn.InitOffsetObjective(small, adnn.load_dataset("digits"), seed=3))
    assert objective.startswith("InitOffsetObjective(")
    assert " at 0x" not in objective
