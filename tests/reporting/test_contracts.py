"""Contracts, verdicts and audits as they print, are drawn and are shown on a page."""

from __future__ import annotations

import dataclasses
import html
from typing import TYPE_CHECKING, Any

import pytest

import adnn_optuna as adnn
from adnn_optuna import Contract, Verdict
from adnn_optuna._units import PLAIN, Estimate
from adnn_optuna.api.contracts import audit_file
from adnn_optuna.contracts.contract import Claim
from adnn_optuna.results.confirmation import Confirmation

if TYPE_CHECKING:
    from pathlib import Path

keras = pytest.importorskip("keras")


def test_prints_what_a_contract_says() -> None:
    values = {"train_accuracy": 0.75, "val_accuracy": 0.5, "test_accuracy": 0.25, "loss": 1.5}
    params = {"weight_offset_0": 0.125, "bias_offset_0": -0.0625}
    content: dict[str, Any] = {
        "study": {
            "name": "a study",
            "sampler": "annealing",
            "best_trial": 7,
            "trials": 12,
            "direction": "maximize",
        },
        "objective": {"dataset": {"name": "digits"}, "metric": "val_accuracy"},
        "split": {"test": 16},
        "baseline": {"trained_weights_sha256": "0123", **values},
        "winner": {
            "params": params,
            "trained_weights_sha256": "4567",
            **values,
            "test_accuracy": 0.375,
        },
        "confirmation": {
            "rank": 2,
            "test_score": [0.375, 0.125, 0.75],
            "vs_baselines": [0.125, -0.25, 0.5],
            "replication": [0.0625, 0.03125, 0.125],
            "seeds": [*range(10)],
            "baselines": [0.25] * 10,
            "gains": [0.0625] * 10,
        },
    }
    contract = Contract(content, {})
    usual = "+12.50 pp (97.5% interval -25.00 to +50.00 pp)"
    repeats = "+6.25 pp (97.5% interval +3.12 to +12.50 pp) in the mean of 10 fresh seeds"
    lines = [
        "Contract of study 'a study' on digits, annealing: trial 7 of 12",
        "  train_accuracy  baseline 75.00%  winner 75.00%  gain +0.00 pp",
        "  val_accuracy    baseline 50.00%  winner 50.00%  gain +0.00 pp",
        "  test_accuracy   baseline 25.00%  winner 37.50%  gain +12.50 pp",
        "  offsets: weight_offset_0=0.125, bias_offset_0=-0.0625",
        "  judged by: test accuracy",
        "  by its maker, what you hold: 37.50 % (97.5% interval 12.50 to 75.00%)",
        f"  by its maker, what is usual: {usual} over the mean of 10 fresh unmoved networks",
        f"  by its maker, what repeats: {repeats}",
        "  trained weights: SHA-256 4567",
    ]
    assert str(contract).split("\n") == lines
    del content["confirmation"]["gains"]
    moves_nothing = "  by its maker, what repeats: nothing, it moves nothing\n"
    assert moves_nothing in str(contract)
    del content["confirmation"]
    content["objective"]["metric"] = "val_r2"
    for role, r2 in (("baseline", -0.5), ("winner", 0.25)):
        content[role] = {"params": params, "trained_weights_sha256": "4567", "test_r2": r2}
    assert str(contract).split("\n") == [
        lines[0],
        "  test_r2         baseline -0.5000  winner 0.2500  gain +0.7500",
        lines[4],
        "  judged by: test R²",
        lines[-1],
    ]


HOLDS: dict[str, Any] = {
    "gain": 0.02,
    "interval": (0.005, 0.035),
    "examples": "images",
    "promised": Claim("test_accuracy", 0.025, 0.001),
}


def test_prints_what_each_status_means() -> None:
    statuses: tuple[Any, ...] = ("exact", "within_tolerance", "breached", "cannot_check")
    elsewhere = "trained again in another environment, all is within the tolerance."
    assert [str(Verdict(status)) for status in statuses] == [
        "exact: reproduced; trained again, baseline and winner have the same bits.",
        f"within_tolerance: reproduced; {elsewhere}",
        "breached: the contract does not hold.",
        "cannot_check: the contract cannot be checked.",
    ]


def test_prints_reasons_findings_and_what_was_not_checked() -> None:
    interval = "(95% interval from the test images +0.50 to +3.50 pp)"
    verdict = Verdict("exact", not_checked=("study: how many trials",), **HOLDS)
    lines = [
        "exact: reproduced; trained again, baseline and winner have the same bits.",
        f"  - gain of this one winner on the test set: +2.00 pp, reproduced {interval}",
        "  - not checked: study: how many trials",
    ]
    assert str(verdict).split("\n") == lines
    verdict = Verdict("within_tolerance", ("environment.system is another.",), (), **HOLDS)
    assert str(verdict).split("\n")[1:] == ["  - environment.system is another.", lines[1]]


def test_tells_a_gain_with_how_far_it_may_be_off_and_in_its_unit() -> None:
    verdict = Verdict("within_tolerance", **HOLDS | {"gain": -0.01, "half_width": 0.005})
    assert "on the test set: -1.00 ± 0.50 pp, reproduced (" in str(verdict)
    # Of a gain of R² there is no percentage.
    r2 = HOLDS | {"promised": Claim("test_r2", 0.025, 0.0, PLAIN)}
    assert "on the test set: +0.0200 in test R², reproduced (" in str(Verdict("exact", **r2))


def facts(low: float, gain: float, high: float, n: int) -> Confirmation:
    repeats, usual = Estimate(gain, low, high), Estimate(0.03, 0.01, 0.05)
    numbers: Any = {"trial": 0, "rank": 1, "level": 0.95}
    values: Any = {"hyperparameters": None, "baselines": (0.9,) * n, "gains": (gain,) * n}
    estimates = {
        "test_score": Estimate(0.93, 0.91, 0.95),
        "vs_baselines": usual,
        "replication": repeats,
    }
    return Confirmation(**numbers, **values, **estimates, seeds=tuple(range(n)))


def test_tells_what_fresh_seeds_show_beside_what_the_maker_says() -> None:
    said = facts(0.02, 0.03, 0.04, 10)
    verdict = Verdict("exact", confirmation=said, fresh=facts(0.005, 0.01, 0.015, 20), **HOLDS)
    lines = str(verdict).split("\n")
    assert lines[1].startswith("  - what repeats, shown by 20 seeds drawn here: ")
    assert "+1.00 pp in the mean of 20 fresh seeds (95% interval +0.50 to +1.50 pp)" in lines[1]
    usual = "+3.00 pp (95% interval +1.00 to +5.00 pp) over the mean of fresh unmoved networks"
    assert lines[2:4] == [
        f"  - what is usual, by these seeds: {usual}",
        f"  - the seeds drawn here: {', '.join(map(str, range(20)))}",
    ]
    assert lines[4].startswith("  - gain of this one winner on the test set: +2.00 pp, reprod")
    claim = "+3.00 pp (95% interval +2.00 to +4.00 pp) in the mean of 10 fresh seeds"
    assert lines[-1] == f"  - by its maker, what repeats: {claim}"
    nothing = Verdict("exact", confirmation=said, fresh=facts(-0.005, 0.01, 0.025, 20), **HOLDS)
    [line] = [line for line in str(nothing).split("\n") if "what repeats, by 20 seeds" in line]
    assert "Nothing is shown to repeat" in line
    # With a winner's own hyperparameters, what these gain stands beside, as such.
    tuned = dataclasses.replace(said, hyperparameters=Estimate(0.3, 0.2, 0.4))
    claim = "+30.00 pp (95% interval +20.00 to +40.00 pp)"
    assert str(Verdict("exact", confirmation=tuned, **HOLDS)).split("\n")[-1] == (
        f"  - by its maker, the winner's hyperparameters over the first trial's, unmoved: {claim}"
    )
    # What the maker says is called shown by no replay.
    assert "shown" not in str(Verdict("exact", confirmation=said, **HOLDS))


def test_draws_what_is_promised_and_what_comes_out() -> None:
    said, fresh = facts(0.02, 0.03, 0.04, 10), facts(0.005, 0.01, 0.015, 20)
    verdict = Verdict("exact", confirmation=said, fresh=fresh, **HOLDS)
    figure = verdict.plot()
    assert [label.replace("<br>", " ") for label in figure.layout.yaxis.ticktext] == [
        "promised",
        "trained again",
        "promised to repeat",
        "on fresh seeds here",
    ]
    assert [trace.x[0] for trace in figure.data] == pytest.approx([2.5, 2.0, 3.0, 1.0])
    assert figure.data[0].error_x.array is None
    assert figure.data[1].error_x.array == pytest.approx((1.5,))
    assert not Verdict("breached").plot().data


def test_reports_what_it_prints(tmp_path: Path) -> None:
    reason = "winner.params is '<script>alert(1)</script>'."
    for verdict in (Verdict("breached", (reason,)), Verdict("exact", **HOLDS)):
        verdict.report(tmp_path / "verdict.html")
        page = (tmp_path / "verdict.html").read_text()
        _, findings = str(verdict).split("\n", 1)
        assert html.escape(findings, quote=False) in page.replace("&#39;", "'")
        assert f"<h1>{str(verdict).splitlines()[0]}</h1>" in page
        assert ('class="plot"' in page) == verdict.holds


def test_prints_no_commands_for_terminals() -> None:
    verdict = Verdict("within_tolerance", ("environment.versions.\x1b[2J\ud800\u202e is None.",))
    assert all(line.isprintable() for line in str(verdict).split("\n"))
    assert r"  - environment.versions.\x1b[2J\ud800\u202e is None." in str(verdict)


L = keras.layers


def lines_of(audit: adnn.Audit) -> list[str]:
    """Return what it prints, without the blanks that make columns."""
    return [" ".join(line.split()) for line in str(audit).splitlines()]


def test_prints_all_that_an_audit_found(tmp_path: Path) -> None:
    seeded = keras.initializers.HeNormal(seed=3)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(3, name="free"),
            L.Dropout(0.5, name="drop"),
            L.Dense(2, kernel_initializer=seeded, bias_initializer="ones", name="seeded"),
            L.GaussianNoise(0.25, seed=7, name="noise"),
        ],
        name="net",
    )
    kernel = model.get_layer("free").kernel_initializer.seed
    drawn, _ = model.get_layer("drop").seed_generator.state.numpy()
    audit = adnn.audit_randomness(model)
    uniform = "GlorotUniform uniform(minval=-0.92582, maxval=0.92582)"
    unseeded = (
        "! The initializers of net/free/kernel have no seed: their configuration says seed: None, "
        "so a model made from it (from_config, clone_model) starts from other weights. Give each "
        "a seed."
    )
    drop = "! drop (Dropout) has no seed: each run of the program draws other numbers. Give it "
    assert lines_of(audit) == [
        "4 variables: 2 random, 2 fixed, 0 unknown",
        "variable shape initializer starts from seed",
        f"net/free/kernel (4, 3) {uniform} unseeded (drew {kernel})",
        "net/free/bias (3,) Zeros constant(value=0) -",
        "net/seeded/kernel (3, 2) HeNormal truncated_normal(mean=0, stddev=0.928232) 3",
        "net/seeded/bias (2,) Ones constant(value=1) -",
        "",
        "2 layers with random states",
        "layer class draws with seed",
        f"drop Dropout training rate=0.5 unseeded (drew {drawn})",
        "noise GaussianNoise training stddev=0.25 7",
        "",
        unseeded,
        f"{drop}seed=.",
    ]
    assert repr(audit) == f"Audit(warnings={audit.warnings!r})"
    model.save(tmp_path / "net.keras")
    assert lines_of(audit_file(tmp_path / "net.keras")) == [
        "4 variables: 2 random, 2 fixed, 0 unknown",
        "variable shape initializer starts from seed",
        f"free/kernel (4, 3) {uniform} unseeded",
        "free/bias (3,) Zeros constant(value=0) -",
        "seeded/kernel (3, 2) HeNormal truncated_normal(mean=0, stddev=0.928232) 3",
        "seeded/bias (2,) Ones constant(value=1) -",
        "",
        "2 layers with random states",
        "layer class draws with seed",
        "drop Dropout training rate=0.5 unseeded",
        "noise GaussianNoise training stddev=0.25 7",
        "",
        unseeded.replace("net/", ""),
        f"{drop}seed=.",
    ]


def test_prints_what_is_not_built_yet_and_cannot_be_called() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = L.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=9))
            self.drop = L.Dropout(0.5, name="drop", seed=2)

        def call(self, x: Any) -> Any:
            return self.drop(self.dense(x))

    name = (model := Own()).dense.name
    assert lines_of(adnn.audit_randomness(model)) == [
        "0 variables: 0 random, 0 fixed, 0 unknown",
        "",
        "1 layers with random states",
        "layer class draws with seed",
        "drop Dropout training rate=0.5 2",
        "",
        f"! Not resolved, so perhaps random: {name} (not built).",
    ]
