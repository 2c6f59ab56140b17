"""Ensembles: trainings that are kept, averaged, and handed over as one model."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import optuna
import pytest
from contract_files import check_here
from optuna.trial import TrialState
from search_worker import make_objective, quick_training

import adnn_optuna as adnn
from adnn_optuna.api import ensemble as members

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna import InitOffsetObjective


@pytest.fixture(scope="module")
def objective() -> InitOffsetObjective:
    return make_objective(training=quick_training(learning_rate=0.01, epochs=2, batch_size=100))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('ensemble')}/ensemble.db"


@pytest.fixture(scope="module")
def result(objective: InitOffsetObjective, url: str) -> adnn.Ensemble:
    return adnn.ensemble(objective, 3, storage=url)


def test_it_is_the_average_of_fresh_networks(
    result: adnn.Ensemble, objective: InitOffsetObjective
) -> None:
    assert objective.seed not in result.seeds
    raw, y = objective.dataset.x_test, objective.dataset.y_test
    alone = [
        adnn.search(objective.replace(seed=seed), "greedy", max_trial=1, test=False).model()
        for seed in result.seeds
    ]
    of_each = [one.predict(raw, verbose=0) for one in alone]
    mean = np.mean(of_each, axis=0)
    model = result.model()
    np.testing.assert_allclose(model.predict(raw, verbose=0), mean, atol=1e-5)
    np.testing.assert_allclose(result.predict_proba(raw), mean, atol=1e-5)
    assert (result.predict(raw) == mean.argmax(axis=1)).all()
    # The networks can be taken out of it again.
    parts = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    np.testing.assert_allclose(parts[1].predict(raw, verbose=0), of_each[1], atol=1e-5)
    right = [(one.argmax(axis=1) == y).mean() for one in (*of_each, mean)]
    assert [*result.members, result.score] == pytest.approx(right)
    assert result.gain.value == pytest.approx(right[-1] - np.mean(right[:-1]))
    assert result.gain.low < result.gain.value < result.gain.high
    assert dict(zip(result.seeds, result.members, strict=True)) == pytest.approx(
        {seed: value for (seed,), value in result.evaluations.items()}
    )


def test_no_training_is_made_twice(
    result: adnn.Ensemble, objective: InitOffsetObjective, url: str
) -> None:
    more = adnn.ensemble(objective, 4, storage=url)
    assert more.members[:3] == result.members
    again = adnn.ensemble(objective, 4, storage=url)
    assert "4 stored evaluations reused, 0 new." in str(again)
    assert (again.score, again.gain) == (more.score, more.gain)
    fewer = adnn.ensemble(objective, 3, storage=url)
    assert (fewer.score, fewer.gain) == (result.score, result.gain)
    raw = objective.dataset.x_test
    np.testing.assert_array_equal(again.predict_proba(raw), more.predict_proba(raw))
    study = optuna.load_study(study_name="ensemble", storage=url)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
    other = objective.replace(training=dataclasses.replace(objective.training, epochs=3))
    with pytest.raises(ValueError, match="holds evaluations of something else"):
        adnn.ensemble(other, 3, storage=url)


def test_a_network_that_is_too_large_to_keep_is_trained_again(
    result: adnn.Ensemble, objective: InitOffsetObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "_MOST_BYTES", 0)
    storage = optuna.storages.InMemoryStorage()
    first = adnn.ensemble(objective, 3, storage=storage)
    [kept] = {len(trial.system_attrs) for trial in storage.get_all_trials(0)}
    assert kept == 1  # Who trained it.
    again = adnn.ensemble(objective, 3, storage=storage)
    assert str(first) == str(result)
    assert (again.score, again.gain) == (first.score, first.gain)
    assert len(storage.get_all_trials(0)) == 3


@pytest.mark.slow
def test_a_saved_one_predicts_without_the_package(
    result: adnn.Ensemble, objective: InitOffsetObjective, tmp_path: Path
) -> None:
    raw = objective.dataset.x_test
    np.save(tmp_path / "x.npy", raw)
    result.save(tmp_path / "ensemble.keras")
    script = (
        "import sys; sys.modules['adnn_optuna'] = None\n"
        "import keras, numpy as np\n"
        "model = keras.models.load_model('ensemble.keras')\n"
        "np.save('y.npy', model.predict(np.load('x.npy'), verbose=0))\n"
        "model.evaluate(np.load('x.npy'), np.zeros(len(np.load('x.npy')), int), verbose=0)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), result.predict_proba(raw), atol=1e-5)


def test_prints_draws_and_reports(result: adnn.Ensemble, tmp_path: Path) -> None:
    said = " ".join(str(result).split())
    shown = "" if result.gain.low > 0 else "not shown to be "
    claim = f"The average of 3 networks is {shown}better than the mean single network."
    assert claim in said
    assert f"average {100 * result.score:.2f}% test accuracy" in said
    assert f"mean network {100 * np.mean(result.members):.2f}%" in said
    assert "Predicting costs 3 times as much" in said
    result.report(tmp_path / "ensemble.html")
    page = (tmp_path / "ensemble.html").read_text()
    assert claim in page
    assert f"{100 * np.mean(result.members):.2f}%" in page
    dots, line = result.plot().data
    assert list(dots.y) == pytest.approx([100 * member for member in result.members])
    assert line.y[0] == pytest.approx(100 * np.mean(result.members))
    assert line.y[-1] == pytest.approx(100 * result.score)
    assert len(repr(result)) < 400


def test_time_cuts_trainings_off_that_are_made_by_the_next_call(
    objective: InitOffsetObjective, tmp_path: Path
) -> None:
    training = dataclasses.replace(objective.training, epochs=300)
    slow, url = objective.replace(training=training), f"sqlite:///{tmp_path}/slow.db"
    settings: Any = {"storage": url, "study_name": "slow"}
    result = adnn.ensemble(slow, 2, max_time=0.2, **settings)
    assert result.members == ()
    assert "not known yet: 0 of 2 training runs are made." in " ".join(str(result).split())
    with pytest.raises(ValueError, match="must have a trained network to predict"):
        result.predict(objective.dataset.x_test)
    [*cut] = optuna.load_study(study_name="slow", storage=url).trials
    assert {trial.state for trial in cut} == {TrialState.PRUNED}
    assert adnn.ensemble(slow, 2, max_time=0.2, **settings).members == ()
    assert len(optuna.load_study(study_name="slow", storage=url).trials) == len(cut)
    assert len(adnn.ensemble(slow, 2, **settings).members) == 2


def test_what_is_no_ensemble_is_refused(objective: InitOffsetObjective) -> None:
    with pytest.raises(ValueError, match="n must be a whole number of at least 2"):
        adnn.ensemble(objective, 1)
    with pytest.raises(TypeError, match="objective must be an InitOffsetObjective"):
        adnn.ensemble(adnn.MLP(), 2)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:. seeds? can decide nothing")
def test_that_of_a_comparison_predicts_together(
    objective: InitOffsetObjective,
) -> None:
    arms: Any = {"max_trial": 2, "seeds": (3,), "controls": ("ensemble",)}
    comparison = adnn.compare(objective, ("greedy",), **arms)
    [averaged] = comparison.results["ensemble"]
    assert isinstance(averaged, adnn.SearchResult)
    raw, y = objective.dataset.x_test, objective.dataset.y_test
    assert (averaged.predict(raw) == y).mean() == pytest.approx(averaged.test_value)
    assert len(averaged.model().layers) == 4  # The inputs, two networks and their average.


def test_its_contract_is_interrupted_at_once(
    result: adnn.Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on = []

    def interrupted(_: adnn.SearchResult, **options: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        went_on.append(True)

    monkeypatch.setattr(adnn.SearchResult, "contract", interrupted)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A background job ignores it.
    with pytest.raises(KeyboardInterrupt):
        result.contract()
    assert not went_on


def test_its_contract_is_verified_as_that_of_a_search(
    result: adnn.Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_here(monkeypatch)
    file = tmp_path / "ensemble.contract.json"
    contract = result.contract()
    contract.save(file)
    content = contract.content
    assert content["best"]["test_accuracy"] == pytest.approx(result.score)
    assert content["baseline"]["test_accuracy"] == pytest.approx(result.members[0])
    assert "Networks: members=3." in contract.document().notes
    n_arrays = len(result.model().variables)
    assert len(contract.weights) == n_arrays
    verdict = adnn.verify(file)
    assert verdict.status == "exact", verdict
    assert verdict.gain is not None
    assert verdict.gain.value == pytest.approx(result.score - result.members[0])
    # What a file claims of an average is what its trainings come to.
    content["best"]["params"]["members"] = 2
    content["objective"]["space"]["high"] = 2
    contract.save(file)
    assert adnn.verify(file).status == "breached"
    content["best"]["params"]["members"] = content["objective"]["space"]["high"] = 10**7
    contract.save(file)
    verdict = adnn.verify(file)
    assert verdict.status == "cannot_check"
    assert "more than the" in verdict.reasons[0]
