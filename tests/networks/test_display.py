"""Results as a notebook shows them: nothing but what they say, and nothing of who made them."""

from __future__ import annotations

import html5lib
import optuna
import pytest
from search_worker import make_objective, quick_training
from stored_studies import store_comparison

import adnn_optuna as adnn
from adnn_optuna.engine.records import record_of

EVIL = "<script>alert(1)</script>"


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
        "objective": objective,
    }


def test_are_one_short_line_and_html(shown: dict[str, object]) -> None:
    for one in shown.values():
        check_is_one_short_line_and_html(one)


def check_is_one_short_line_and_html(one: object) -> None:
    assert len(repr(one)) < 250
    assert len(repr(one).splitlines()) == 1
    page = one._repr_html_()  # type: ignore[attr-defined]
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    fragment = parser.parseFragment(page)
    assert not [*fragment.iter("script")]
    for private in ("'host'", "'process'", " at 0x"):
        assert private not in repr(one) + page
    if type(one).__str__ is not object.__str__:
        assert "".join(fragment.itertext()) == str(one)


def test_tells_what_is_asked_first(shown: dict[str, object]) -> None:
    for kind, begin in {
        "result": f"SearchResult({EVIL!r}, trials=3, metric='val_accuracy', baseline=0.",
        "objective": "InitOffsetObjective(model=MLP(hidden=(16,)",
    }.items():
        assert repr(shown[kind]).startswith(begin)
    assert "data='digits', metric='val_accuracy', seed=3)" in repr(shown["objective"])


def test_names_a_model_that_is_a_function() -> None:
    import keras

    dense = [keras.layers.Dense(4), keras.layers.Dense(10)]

    def small() -> keras.Model:
        layers = [keras.Input((8, 8)), keras.layers.Flatten(), *dense]
        return keras.Sequential(layers)

    objective = adnn.InitOffsetObjective(small, adnn.load_dataset("digits"))
    assert repr(objective).startswith("InitOffsetObjective(model='small', data='digits'")


def test_unknown_numbers_are_left_out() -> None:
    study = optuna.create_study(study_name="empty")
    assert repr(record_of(study)) == "SearchRecord('empty', trials=0, metric='value')"
