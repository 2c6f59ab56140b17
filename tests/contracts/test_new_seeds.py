"""The maker's gains on new seeds are claims; only the verifier's seeds show a gain."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from contract_files import STATED, elsewhere
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna._units import Estimate
from adnn_optuna.experiments.confirmation import Confirmation
from adnn_optuna.experiments.contract_file import contract_sha256
from adnn_optuna.experiments.contract_seeds import (
    claimed_confirmation,
    confirmation_content,
    contradiction,
)
from adnn_optuna.networks.retraining import retrain
from adnn_optuna.stats.example_scores import mean_gain

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna import SearchResult

DIGITS = adnn.load_dataset("digits")
FEW = adnn.Dataset.from_arrays(DIGITS.x_train[:1050], DIGITS.y_train[:1050])


def objective_of(model: adnn.MLP | None = None, **training: Any) -> adnn.InitOffsetObjective:
    settings = {"optimizer": "sgd", "learning_rate": 0.2, "batch_size": 210, "epochs": 2}
    of_training = quick_training(**settings | training)
    return adnn.InitOffsetObjective(model or adnn.MLP((8,)), FEW, training=of_training, seed=3)


@pytest.fixture(scope="module")
def result() -> SearchResult:
    return adnn.search(objective_of(), "annealing", max_trial=3, confirm=0)


@pytest.fixture(scope="module")
def path(result: SearchResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fresh") / "c.json"
    assert result.confirmation is None
    result.contract().save(path)
    return path


@pytest.fixture
def content(path: Path) -> Any:
    return json.loads(path.read_text())


def verified(content: dict[str, Any], path: Path, **options: Any) -> adnn.Verdict:
    """Verify a contract with a matching SHA-256, as a forger would write it."""
    file = path.with_name("forged.json")
    file.write_text(json.dumps({**content, "sha256": contract_sha256(content)}))
    return adnn.verify(file, dataset=FEW, **options)


def with_gains(content: dict[str, Any], gains: list[float]) -> dict[str, Any]:
    """Return a contract whose confirmation has these gains and matching numbers."""
    confirmation = {**content["confirmation"], "gains": gains, "replication": mean_gain(gains)}
    return {**content, "confirmation": confirmation}


# Contents of a contract


def test_a_contract_holds_the_confirmation_which_is_made_first(
    result: SearchResult, content: Any
) -> None:
    confirmation = result.confirm().confirmation
    assert len(confirmation.seeds) == len(confirmation.gains) == 10
    claimed = claimed_confirmation(content)
    assert claimed == dataclasses.replace(confirmation, hyperparameters=None)
    assert content["confirmation"]["replication"] == [*confirmation.replication]
    assert result.contract().content["confirmation"] == content["confirmation"]
    assert claimed_confirmation({}) is None


def test_no_contract_holds_fewer_than_ten_pairs() -> None:
    few = adnn.search(objective_of(), "annealing", max_trial=2, confirm=6)
    with pytest.raises(ValueError, match="confirm=10"):
        few.contract()


def test_no_contract_holds_results_of_another_machine(result: SearchResult) -> None:
    confirmation = confirmation_content(result.confirm().confirmation)
    confirmation["test_score"] = [value + 0.02 for value in confirmation["test_score"]]
    with pytest.raises(ValueError, match=r"on the machine where it was tested\.$") as refusal:
        adnn.Contract.from_search(result.record, result._objective, confirmation, {})
    held, score_here = confirmation["test_score"][0], result.test_value
    begin = (
        f"The best network's test_accuracy is {held}, but {score_here} when it is trained again"
    )
    assert str(refusal.value).startswith(begin)


def test_without_an_effect_of_seeds_there_is_no_confirmation(tmp_path: Path) -> None:
    fixed = objective_of(adnn.MLP((8,), kernel_initializer="ones"), shuffle=False)
    path = tmp_path / "c.json"
    contract = adnn.search(fixed, "annealing", max_trial=2).contract()
    contract.save(path)
    assert "confirmation" not in contract.content
    verdict = adnn.verify(path, dataset=FEW)
    assert verdict.status == "exact"
    assert not any("confirmation" in what for what in verdict.stated)
    sentence = "new_seeds: no seed changes this training, so none can show a gain. Omit it."
    assert adnn.verify(path, dataset=FEW, new_seeds=20) == adnn.Verdict(
        "cannot_check", (sentence,)
    )


def test_a_missing_confirmation_cannot_be_checked(content: Any, path: Path) -> None:
    del content["confirmation"]
    verdict = verified(content, path)
    assert verdict == adnn.Verdict("cannot_check", ("The field confirmation is missing.",))


@pytest.mark.parametrize(
    ("field", "change", "said"),
    [
        (
            "replication",
            lambda old: [old[0], 0.001, old[2]],
            "replication is 0.001, but",
        ),
        ("replication", lambda old: [0.5, 0.4, 0.6], "confirmation.replication is 0.5, but"),
        ("gains", lambda old: [*old, 0.9], "confirmation.gains must have 10 entries; got 11."),
        ("gains", lambda old: [0.25] * 10, "confirmation.replication is"),
        ("baselines", lambda old: old * 2, "confirmation.baselines must have 10 entries; got 20."),
        ("baselines", lambda old: [0.1] * 10, "confirmation.vs_baselines is"),
        ("test_score", lambda old: [0.99, 0.98, 1.0], "confirmation.test_score is 0.99, but"),
        (
            "test_score",
            lambda old: [old[0], old[0] - 1e-3, old[0] + 1e-3],
            "has a CI too narrow",
        ),
        ("rank", lambda _: 6, "confirmation.replication is"),
        (
            "seeds",
            lambda old: [*old[:9], old[0]],
            "must be 10 different seeds; some are",
        ),
    ],
)
def test_a_confirmation_that_contradicts_itself_is_breached(
    field: str, change: Any, said: str, content: Any, path: Path
) -> None:
    content["confirmation"][field] = change(content["confirmation"][field])
    verdict = verified(content, path)
    assert verdict.status == "breached"
    [reason] = verdict.reasons
    assert said in reason


def test_a_classification_cannot_be_declared_a_regression(content: Any, path: Path) -> None:
    # The claimed R² is impossible, but its gain equals the accuracy's gain.
    content["objective"]["dataset"]["task"] = "regression"
    for role in ("baseline", "best"):
        content[role]["test_r2"] = content[role]["test_accuracy"] + 0.25
    sentence = "objective.dataset.task is regression, but the data have classification."
    assert verified(content, path) == adnn.Verdict("cannot_check", (sentence,))


def test_parameters_without_an_effect_must_have_no_gains(content: Any, path: Path) -> None:
    content["best"] = {**content["baseline"], "params": {}}
    content["best"]["params"] = dict.fromkeys(("weight_offset_0", "bias_offset_0"), 0.0)
    objective = objective_of()
    [run] = objective.trainer.train_in_turn([objective.baseline_start])
    weights = {str(i): values for i, values in enumerate(run.weights)}
    adnn.Contract(content, weights).save(unmoved := path.with_name("unmoved.json"))
    verdict = adnn.verify(unmoved, dataset=FEW)
    assert verdict.reasons == ("confirmation.gains must have 0 entries; got 10.",)


# A replay shows nothing


def test_an_exact_replay_is_reproduced_and_never_shown(path: Path, tmp_path: Path) -> None:
    verdict = adnn.verify(path, dataset=FEW)
    assert (verdict.status, verdict.new_seeds, verdict.replicates) == ("exact", None, False)
    verdict.report(tmp_path / "verdict.html")
    page = (tmp_path / "verdict.html").read_text().partition("<script")[0]
    for sentence in (str(verdict), page):
        assert "reproduced" in sentence
        assert "shown" not in sentence
    assert len(verdict.document().tables[1].rows) == 3
    assert verdict.stated == STATED


def test_new_seeds_do_not_show_a_lucky_restart(tmp_path: Path) -> None:
    unlucky = objective_of().replace(seed=6)
    lucky = adnn.search(unlucky, "random_restart", max_trial=4)
    lucky.contract().save(path := tmp_path / "c.json")
    assert lucky.test_gain > 0.1
    verdict = adnn.verify(path, dataset=FEW, new_seeds=20)
    assert (verdict.status, verdict.replicates) == ("exact", False)
    document = verdict.document()
    assert "replication" not in [line.label for line in document.estimates]


# Results on a verifier's own seeds


def test_new_pairs_have_seeds_that_nobody_knew(content: Any, path: Path) -> None:
    verdicts = [adnn.verify(path, dataset=FEW, new_seeds=20) for _ in range(2)]
    seeds = [*content["confirmation"]["seeds"]]
    for verdict in verdicts:
        fresh = verdict.new_seeds
        assert verdict.status == "exact"
        details = format(verdict, "details")
        assert all(str(seed) in details for seed in fresh.seeds)
        seeds += fresh.seeds
    assert len(set(seeds)) == 50
    objective, params = objective_of(), content["best"]["params"]
    fresh = verdicts[0].new_seeds
    for seed, gain in [*zip(fresh.seeds, fresh.gains, strict=True)][:2]:
        again = objective.replace(seed=seed)
        baseline, best = retrain(again.trainer, [[again.baseline_start], [again.start(params)]])
        assert gain == pytest.approx(best.score - baseline.score, abs=1e-12)
    assert fresh.replication == pytest.approx(mean_gain(fresh.gains), abs=1e-9)
    assert verdicts[0].replicates == (fresh.replication.low > 0)


def test_only_the_mean_of_the_new_pairs_is_an_estimate(content: Any, path: Path) -> None:
    # The new pairs do not contradict this claim, so there is no breach. There is no result,
    # either.
    claimed = np.add(content["confirmation"]["gains"], 0.001).round(6).tolist()
    verdict = verified(with_gains(content, claimed), path, new_seeds=20)
    lines = {line.label: line for line in verdict.document().estimates}
    assert lines["replication"].estimate == verdict.new_seeds.replication
    assert f"{100 * np.mean(claimed):+.2f} pp" not in [line.value for line in lines.values()]


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_gains_that_do_not_replicate_are_breached_whatever_the_file_claims(
    spread: float, content: Any, path: Path
) -> None:
    mean = np.mean(content["confirmation"]["gains"])
    # With a wide spread, any mean would be consistent with a claim.
    gains = (mean + 0.2 + spread * np.linspace(-1, 1, 10)).round(9).tolist()
    forged = with_gains(content, gains)
    verdict = verified(forged, path, new_seeds=20)
    assert verdict.status == "breached"
    assert verdict.new_seeds is not None
    assert str(verdict).startswith("Breached: the claimed gain is contradicted")
    assert "gain of the offsets replicates" not in str(verdict)
    # Without new seeds, the claims on the best network are still reproduced.
    assert verified(forged, path).status == "exact"


def test_seeds_of_an_earlier_verification_are_replayed(content: Any, path: Path) -> None:
    first_verdict = adnn.verify(path, dataset=FEW, new_seeds=20)
    replayed = adnn.verify(path, dataset=FEW, seeds=first_verdict.new_seeds.seeds)
    assert replayed.new_seeds == first_verdict.new_seeds
    assert (first_verdict.are_drawn, replayed.are_drawn) == (True, False)
    # The maker's own seeds show nothing new.
    used = content["confirmation"]["seeds"][0]
    verdict = adnn.verify(path, dataset=FEW, seeds=[used, *range(100, 119)])
    assert verdict.status == "cannot_check"
    assert verdict.reasons[0].startswith(f"seeds: the contract's maker trained with {used}")
    with pytest.raises(ValueError, match=r"^seeds must be omitted with new_seeds"):
        adnn.verify(path, new_seeds=20, seeds=range(20))
    with pytest.raises(ValueError, match=r"^seeds must be at least 20"):
        adnn.verify(path, seeds=range(19))


@pytest.mark.slow
def test_new_seeds_count_if_the_gain_varies_too_much_to_reproduce(tmp_path: Path) -> None:
    chaotic = objective_of(adnn.MLP((32, 32)), optimizer="adam", learning_rate=0.1, batch_size=10)
    path = tmp_path / "c.json"
    adnn.search(chaotic, "annealing", max_trial=2).contract().save(path)
    content = elsewhere(json.loads(path.read_text()))
    content["environment"] |= {"intra_op_threads": 7, "onednn": False}
    verdict = verified(content, path)
    assert (verdict.status, verdict.gain) == ("cannot_check", None)
    assert verdict.reasons[0].startswith("The gain varies too much here")
    verdict = verified(content, path, new_seeds=20)
    assert verdict.status == "cannot_check"
    assert verdict.new_seeds is not None
    # A claim that the new seeds contradict is a breach in any environment.
    gains = (0.9 + 0.001 * np.arange(10)).tolist()
    assert verified(with_gains(content, gains), path, new_seeds=20).status == "breached"


@pytest.mark.parametrize("count", [0, 19, -20])
def test_fewer_than_20_new_pairs_are_refused(count: int, path: Path) -> None:
    with pytest.raises(ValueError, match=r"new_seeds.* must be at least 20"):
        adnn.verify(path, dataset=FEW, new_seeds=count)


def pairs(gains: np.ndarray) -> Confirmation:
    """Return a confirmation with these gains. Its other numbers do not affect a breach."""
    mean = float(gains.mean())
    estimates = dict.fromkeys(
        ("test_score", "vs_baselines", "replication"), Estimate(mean, mean, mean)
    )
    seeds, no_baselines = tuple(range(len(gains))), {"hyperparameters": None, "baselines": ()}
    numbers: Any = {"trial": 0, "rank": 1, "level": 0.95}
    return Confirmation(**numbers, **estimates, **no_baselines, seeds=seeds, gains=tuple(gains))


def claimed_of(gains: np.ndarray) -> dict[str, Any]:
    confirmation = {name: [0.0] * 3 for name in ("test_score", "vs_baselines", "replication")}
    confirmation |= {"gains": gains.tolist(), "seeds": [], "baselines": [], "rank": 1}
    scores = {"baseline": {"test_accuracy": 0.5}, "best": {"test_accuracy": 0.6}}
    study = {"best_trial": 0, "direction": "maximize"}
    objective = {"metric": "val_accuracy"}
    data = {"objective": objective, "split": {"test": 1000}, "study": study}
    return {"confirmation": confirmation, **scores, **data}


@pytest.mark.parametrize(
    ("n", "overstated", "share"), [(10, 1.3, 0.94), (100, 1.3, 0.35), (100, 2.0, 0.003)]
)
def test_a_forged_mean_passes_as_often_as_the_guide_says(
    n: int, overstated: float, share: float
) -> None:
    rng, n_passed, times = np.random.default_rng(n), 0, 400
    for _ in range(times):
        fresh = pairs(rng.standard_normal(20))
        # A forger writes the claimed mean as every value, without noise.
        n_passed += not contradiction(claimed_of(np.full(n, overstated)), fresh)
    assert n_passed / times == pytest.approx(share, abs=0.005 + 3 * (share / times) ** 0.5)


@pytest.mark.parametrize("n", [10, 20, 100])
def test_an_honest_confirmation_is_not_breached_and_a_forged_one_is(n: int) -> None:
    rng, n_breached, n_found, times = np.random.default_rng(n), 0, 0, 400
    for _ in range(times):
        # The tails are heavy, as if some training runs collapse.
        fresh = pairs(0.01 * rng.standard_t(5, 20))
        claimed = 0.01 * rng.standard_t(5, n)
        n_breached += bool([*contradiction(claimed_of(claimed), fresh)])
        n_found += bool([*contradiction(claimed_of(claimed + 0.05), fresh)])
    assert n_breached == 0
    assert n_found >= 0.99 * times
