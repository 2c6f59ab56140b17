"""Facts as a notebook shows them: what they print, as HTML in which nothing is executed."""

from __future__ import annotations

from typing import Any

import html5lib
import keras
import numpy as np
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


def test_results_of_searches_and_evaluations_are_html() -> None:
    objective = make_objective()
    result = adnn.search(objective, "annealing", max_trial=3, study_name=EVIL)
    two = {"a": adnn.MLP((4,)), EVIL: adnn.MLP((5,))}
    training = quick_training(epochs=1)
    for one in (
        result,
        store_comparison({EVIL: [0.0, 0.1], "random_restart": [0.0, 0.0]}),
        adnn.recheck(result.study, lambda _, seed: seed % 7 / 7, top=2, seeds=2, confirm=2),
        adnn.measure_variance(lambda seed: seed % 7 / 7, n=5, study_name=EVIL),
        adnn.compare_models(two, objective.dataset, training=training, seeds=range(2)),
    ):
        check_is_harmless_html(one)


def check_is_harmless_html(one: Any) -> None:
    page = one._repr_html_()
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    fragment = parser.parseFragment(page)
    assert not [*fragment.iter("script")]
    assert "".join(fragment.itertext()) == str(one)
    for private in ("'host'", "'process'", " at 0x"):
        assert private not in repr(one) + page


def test_objectives_name_model_data_and_metric() -> None:
    objective = make_objective()
    assert repr(objective).startswith("InitOffsetObjective(MLP(hidden=(16,)")
    assert repr(objective).endswith("'digits', metric='val_accuracy', seed=3)")

    def small() -> keras.Model:
        layers = [keras.Input((8, 8)), keras.layers.Flatten()]
        return keras.Sequential([*layers, keras.layers.Dense(4), keras.layers.Dense(10)])

    of_function = adnn.InitOffsetObjective(small, objective.dataset)
    assert repr(of_function).endswith("small, 'digits', metric='val_accuracy', seed=0)")
