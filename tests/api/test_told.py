"""Facts as a notebook shows them: what they print, as HTML in which nothing is executed."""

from __future__ import annotations

from typing import Any

import html5lib
import keras
import numpy as np
import pytest
from search_worker import make_objective, quick_training
from stored_studies import store_comparison

import adnn_optuna as adnn

EVIL = "<script>alert(1)</script>"


def test_is_what_it_prints_as_html() -> None:
    values = {"trained_weights_sha256": "", "test_accuracy": 0.5}
    study = {"name": EVIL, "sampler": "annealing", "best_trial": 1, "trials": 2}
    content = {
        "study": study,
        "objective": {"dataset": {"name": "digits"}},
        "split": {"test": 16},
        "baseline": values,
        "winner": {"params": {}, **values},
    }
    layers = [keras.Input((4,)), keras.layers.Dense(2)]
    told = (
        adnn.Contract(content, {"kernel": np.zeros(2)}),
        adnn.Verdict("breached", (EVIL,), gain=0.1),
        adnn.audit_randomness(keras.Sequential(layers)),
    )
    for one in told:
        check_is_harmless_html(one)
    assert repr(told[0]) == f"Contract(content={content!r})"
    assert repr(told[1]).startswith("Verdict(status='breached', reasons=('<script>alert(1)<")


def check_is_harmless_html(one: Any) -> None:
    page = one._repr_html_()
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    fragment = parser.parseFragment(page)
    assert not [*fragment.iter("script")]
    assert "".join(fragment.itertext()) == str(one)
    for private in ("'host'", "'process'", " at 0x"):
        assert private not in repr(one) + page


@pytest.fixture(scope="module")
def shown() -> dict[str, object]:
    """Return one of all that is shown."""
    objective = make_objective()
    result = adnn.search(objective, "annealing", max_trial=3, study_name=EVIL)
    recheck = adnn.recheck(result.study, lambda _, seed: seed % 7 / 7, top=2, seeds=2, confirm=2)
    small = objective.dataset
    return {
        "result": result,
        "comparison": store_comparison({EVIL: [0.0, 0.1], "random_restart": [0.0, 0.0]}),
        "recheck": recheck,
        "variance": adnn.measure_variance(lambda seed: seed % 7 / 7, n=5, study_name=EVIL),
        "models": adnn.compare_models(
            {"a": adnn.MLP((4,)), EVIL: adnn.MLP((5,))},
            small,
            training=quick_training(epochs=1),
            seeds=range(2),
        ),
    }


def test_results_are_one_short_line_and_html(shown: dict[str, object]) -> None:
    for one in shown.values():
        assert len(repr(one)) < 400
        assert len(repr(one).splitlines()) == 1
        check_is_harmless_html(one)


def test_an_objective_names_a_model_that_is_a_function() -> None:
    def small() -> keras.Model:
        dense = [keras.layers.Dense(4), keras.layers.Dense(10)]
        layers = [keras.Input((8, 8)), keras.layers.Flatten(), *dense]
        return keras.Sequential(layers)

    objective = repr(adnn.InitOffsetObjective(small, adnn.load_dataset("digits"), seed=3))
    assert objective.startswith("InitOffsetObjective(")
    assert objective.endswith("small, 'digits', metric='val_accuracy', seed=3)")
    assert " at 0x" not in objective
