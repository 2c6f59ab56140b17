"""Comparisons of values that were measured elsewhere."""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import adnn_optuna as adnn
from adnn_optuna.cli.main import run

COLUMNS = [
    "pairs",
    "difference",
    "low",
    "high",
    "superiority",
    "superiority_low",
    "superiority_high",
    "verdict",
    "reason",
]


def arms(n: int = 10, seed: int = 0) -> dict[str, list[float]]:
    """Return two equal arms and one that is better than both by 0.3, paired."""
    rng = np.random.default_rng(seed)
    of_unit, noise = rng.normal(size=n), rng.normal(0, 0.1, (3, n))
    a, b, c = (of_unit + noise[0], of_unit + noise[1] + 0.3, of_unit + noise[2])
    return {"a": a.tolist(), "b": b.tolist(), "c": c.tolist()}


class TestVerdicts:
    def test_each_two_arms_are_judged_by_their_pairs(self) -> None:
        values = arms()
        table = adnn.compare_values(values, margin=0.25).differences()
        assert [*table.columns] == COLUMNS
        assert [*table.index] == [("a", "b"), ("a", "c"), ("b", "c")]
        assert [*table["verdict"]] == ["worse", "equivalent", "better"]
        pairs = np.subtract(values["b"], values["c"])
        row = table.loc[("b", "c")]
        assert (row["pairs"], row["difference"]) == (10, pytest.approx(pairs.mean()))
        assert row["low"] < row["difference"] < row["high"]
        assert (row["superiority"], row["superiority_high"]) == ((pairs > 0).mean(), 1.0)

    def test_without_a_margin_nothing_is_equivalent(self) -> None:
        found = adnn.compare_values({"a": [1.0] * 12, "b": [1.0] * 12})
        assert [*found.differences()["verdict"]] == ["undecided"]
        assert "quivalent" not in str(found)

    def test_the_lower_is_better_if_that_is_said(self) -> None:
        values = arms()
        found = adnn.compare_values(values, minimize=True)
        negated = {label: np.negative(v) for label, v in values.items()}
        pd.testing.assert_frame_equal(
            found.differences(), adnn.compare_values(negated).differences()
        )
        assert [*found.differences()["verdict"]][::2] == ["better", "worse"]
        said = " ".join(str(found).split())
        assert re.search(
            r"(a|c) has the best mean value, .* over 10 seeds, lower being bett", said
        )
        assert "lower is better; a difference is by how much the first is better" in said

    def test_looking_again_is_paid_for(self) -> None:
        planned, looked = (adnn.compare_values(arms(12), sequential=s) for s in (False, True))
        widths = [row.high - row.low for row in planned.paired_differences]
        for row, width in zip(looked.paired_differences, widths, strict=True):
            assert row.high - row.low > width
        assert "e-process" in str(looked)
        assert "e-process" not in str(planned)

    def test_those_of_other_seeds_are_judged_by_welch(self) -> None:
        values: dict[str, list[float]] = {"a": [1.0, 2.0, 3.0], "b": [5.0, 6.5, 6.0, 5.5]}
        values["c"] = [5.0, 6.0, 7.0, 5.0, 6.0]
        found = adnn.compare_values(values, paired=False)
        for row in found.paired_differences:
            one, two = values[row.arm], values[row.other]
            parts = [np.var(v, ddof=1) / len(v) for v in (one, two)]
            df = sum(parts) ** 2 / sum(
                p**2 / (len(v) - 1) for p, v in zip(parts, (one, two), strict=True)
            )
            half = stats.t.isf(0.05 / 6, df) * math.sqrt(sum(parts))
            difference = np.mean(one) - np.mean(two)
            assert (row.low, row.high) == pytest.approx((difference - half, difference + half))
        assert [row.verdict for row in found.paired_differences] == ["worse", "worse", "undecided"]
        assert found.paired_differences[2].superiority == 10 / 20
        assert "Welch's" in str(found)
        assert "not paired" in str(found)
        assert "mean ± standard deviation over 3, 4 and 5 values" in str(found)

    def test_one_value_or_values_that_never_vary_decide_nothing(self) -> None:
        for one, said in (([1.0], "with one value"), ([1.0, 1.0], "neither arm's values vary")):
            found = adnn.compare_values({"a": one, "b": [2.0, 2.0]}, paired=False)
            assert said in found.differences()["reason"].iloc[0]
            assert found.differences()["verdict"].iloc[0] == "undecided"

    def test_an_arm_without_the_first_value_is_named(self) -> None:
        found = adnn.compare_values({**arms(), "d": [math.nan, *[1.0] * 9]})
        assert str(found) == ("Nothing is known of all arms together: measure each at seed 0.")
        assert found.differences()["verdict"]["a", "b"] == "worse"

    def test_what_is_missing_ends_the_evidence_and_is_named(self) -> None:
        frame = pd.DataFrame(arms(), index=[f"d{i}" for i in range(10)]).rename_axis("dataset")
        frame.loc["d8", "c"] = math.nan
        found = adnn.compare_values(frame)
        table = found.differences()
        assert [*table["pairs"]] == [10, 8, 8]
        said = "the evidence ends before dataset d8, which lacks a finite value"
        assert [*table["reason"]] == ["", said, said]
        assert [*found.table()["datasets"]] == [8, 8, 8]
        nothing = adnn.compare_values({"a": [math.nan, 1.0], "b": [2.0, 1.0]})
        assert str(nothing).startswith("Nothing is known of all arms together: measure each")
        told = " ".join(str(found).split())
        assert f"a - c, b - c: {said}" in told
        assert re.search(
            r"b has the best mean .* over 8 datasets; it is better than a \(\S+ over 10", told
        )
        assert nothing.plot().data


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"sequential": True}, {"paired": False}])
def test_equal_arms_are_seldom_said_to_differ(options: dict[str, Any]) -> None:
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(400):
        values = dict(zip("abc", rng.normal(0, 3, (3, 12)), strict=True))
        rows = adnn.compare_values(values, margin=1e-6, **options).paired_differences
        wrong += any(row.verdict != "undecided" for row in rows)
    assert wrong <= 400 * 0.05 + 2 * math.sqrt(400 * 0.05 * 0.95)


class TestBaseline:
    @pytest.mark.parametrize("options", [{}, {"sequential": True}, {"paired": False}])
    def test_is_all_that_the_other_arms_are_compared_with(self, options: dict[str, Any]) -> None:
        values = arms(12)
        rows = adnn.compare_values(values, baseline="b", **options).paired_differences
        assert [(row.arm, row.other) for row in rows] == [("a", "b"), ("c", "b")]
        assert options == {"paired": False} or {row.verdict for row in rows} == {"worse"}
        all_pairs = adnn.compare_values(values, **options).paired_differences
        # Two claims share the error rate, not three.
        assert rows[0].high - rows[0].low < all_pairs[0].high - all_pairs[0].low
        two = {label: values[label] for label in "ab"}
        [alone] = adnn.compare_values(two, baseline="b", **options).paired_differences
        [same] = adnn.compare_values(two, **options).paired_differences
        assert vars(alone) == vars(same)

    def test_makes_eight_arms_of_nine_pairs_decidable(self) -> None:
        rng = np.random.default_rng(0)
        values = {f"v{i}": (rng.normal(0, 0.01, 9) - i / 10).tolist() for i in range(8)}
        found = adnn.compare_values(values, baseline="v0")
        assert {*found.differences()["verdict"]} == {"worse"}
        assert {*adnn.compare_values(values).differences()["verdict"]} == {"undecided"}


class TestTelling:
    def test_values_of_any_size_are_told_apart(self) -> None:
        for scale in (1e-5, 1.0, 1e7):
            values = {label: np.multiply(v, scale) for label, v in arms().items()}
            found = adnn.compare_values(values)
            means = [
                float(m) for m in re.findall(r"^[abc] +(-?[\d.]+) ±", str(found), re.MULTILINE)
            ]
            assert means == pytest.approx([v.mean() for v in values.values()], abs=scale / 100)

    def test_page_and_figure(self, tmp_path: Path) -> None:
        for options in ({}, {"paired": False}, {"margin": 0.1, "minimize": True}):
            found = adnn.compare_values({"<i>": arms()["a"], "b": arms()["b"]}, **options)
            found.report(tmp_path / "v.html")
            page = (tmp_path / "v.html").read_text()
            assert "&lt;i&gt; against b" in page
            assert ("Equivalent: within ±0.1" in page) == ("margin" in options)
            lines = [trace for trace in found.plot().data if trace.type == "scatter"]
            assert len(lines) == (0 if "paired" in options else 10)


class TestTables:
    FRAME = pd.DataFrame(arms())

    @pytest.mark.parametrize(
        ("frame", "options", "named"),
        [
            (FRAME, {"index": False}, ("seed", "3")),
            (FRAME, {}, ("seed", "3")),
            (FRAME.rename_axis("seed"), {}, ("seed", "3")),
            (FRAME.set_axis([*"klmnopqrst"]).rename_axis("data set"), {}, ("data_set", "n")),
            (FRAME.set_axis([*"klmnopqrst"]).rename_axis("what"), {}, ("what", "n")),
        ],
    )
    def test_of_all_kinds_are_read(
        self, frame: pd.DataFrame, options: dict[str, Any], named: tuple[str, str], tmp_path: Path
    ) -> None:
        frame.to_csv(tmp_path / "r.csv", **options)
        found = adnn.compare_values(tmp_path / "r.csv")
        assert (found.per, found.names[3]) == named
        expected = adnn.compare_values(arms()).differences()
        pd.testing.assert_frame_equal(found.differences(), expected)
        pd.testing.assert_frame_equal(adnn.compare_values(frame).differences(), expected)
        found = adnn.compare_values(pd.read_csv(tmp_path / "r.csv"))
        assert (found.per, found.names[3]) == named
        pd.testing.assert_frame_equal(found.differences(), expected)

    @pytest.mark.parametrize("first", ["trial", "run_id", "Replicates", "#"])
    def test_that_count_their_rows_or_part_columns_otherwise_are_read(
        self, first: str, tmp_path: Path
    ) -> None:
        expected = adnn.compare_values(arms()).differences()
        for separator in ";", "\t":
            self.FRAME.to_csv(tmp_path / "r.csv", sep=separator, index_label=first)
            found = adnn.compare_values(tmp_path / "r.csv")
            pd.testing.assert_frame_equal(found.differences(), expected)
        text = self.FRAME.to_csv(index_label=first).replace("\n", ",\n")  # As spreadsheets do.
        (tmp_path / "r.csv").write_text(text, encoding="utf-8-sig")
        pd.testing.assert_frame_equal(
            adnn.compare_values(tmp_path / "r.csv").differences(), expected
        )
        (tmp_path / "r.csv").write_text("my accuracy\n0.9\n0.8\n")
        with pytest.raises(ValueError, match="1 arms and 2 rows"):
            adnn.compare_values(tmp_path / "r.csv")

    def test_of_mappings_by_seed_are_of_their_values(self) -> None:
        found = adnn.compare_values({a: dict(enumerate(v, 7)) for a, v in arms().items()})
        assert found.differences()["difference"].iloc[0] == pytest.approx(
            np.subtract(arms()["a"], arms()["b"]).mean()
        )
        assert found.names[0] == "7"
        turned = {"a": {1: 0.9, 2: 0.8}, "b": {2: 0.7, 1: 0.6}}
        assert vars(adnn.compare_values(turned))["values"] == {"a": [0.9, 0.8], "b": [0.6, 0.7]}

    def test_columns_of_unpaired_arms_may_end_early(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text("a,b\n1,3\n2,4\n3,\n")
        found = adnn.compare_values(tmp_path / "r.csv", paired=False)
        assert [*found.table()["seeds"]] == [3, 2]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("seed,a,b\n3,1,2\n3,1,2\n", "seed 3 twice"),
            ("a,b\n1,x\n", "'b' has 'x'"),
            ("1,2\n1,2\n", "has no header"),
            ("a,b\n1,2,3\n", "has no header"),
            ("", "no table of comma-separated values"),
            ("a,b\n", "0 rows"),
            ("seed,a\n1,2\n", "1 arms"),
        ],
    )
    def test_that_are_wrong_are_refused(self, text: str, said: str, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text(text)
        (tmp_path / "r.csv.gz").write_bytes(gzip.compress(text.encode())[:12])
        with pytest.raises(ValueError, match="no table of comma-separated values"):
            adnn.compare_values(tmp_path / "r.csv.gz")
        with pytest.raises((ValueError, TypeError), match=said):
            adnn.compare_values(tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        ({"a": [1.0], "b": [1.0, 2.0]}, {}, "'a' has 1, 'b' has 2 values"),
        ({"a": [1.0]}, {}, "1 arms"),
        ({}, {}, "0 arms"),
        ({"a": [], "b": []}, {}, "0 rows"),
        ({"a": [1.0, "x"], "b": [1.0, 2.0]}, {}, "'a' has 'x'"),
        ({"a": [1j], "b": [1.0]}, {}, "'a' has"),
        ({"a": pd.to_datetime(["2026-11-27"]), "b": [1.0]}, {}, "'a' has Timestamp"),
        ([[1.0], [2.0]], {}, "values must be a mapping"),
        ({"a": [1.0, math.nan], "b": [1.0, 2.0]}, {"paired": False}, "'a' lacks a finite value"),
        ({"a": [math.inf], "b": [1.0]}, {"paired": False}, "'a' lacks a finite value"),
        (pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), {}, "two arms of one name"),
        ({"a": [1.0], "b": [1.0]}, {"margin": 0}, "margin"),
        (
            {"a": [1.0], "b": [1.0]},
            {"paired": False, "sequential": True},
            "sequential must be False",
        ),
        ({f"a{i}": [1.0] for i in range(101)}, {}, "at most 100 arms; got 101"),
        ({"a": [1.0], "b": [1.0]}, {"baseline": "main"}, "Available: 'a', 'b'"),
        ("none.csv", {}, "no file 'none.csv'"),
    ],
)
def test_refuses_what_is_wrong(values: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=said):
        adnn.compare_values(values, **options)


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(arms()).to_csv("r.csv")
    arguments = ["compare-values", "r.csv", "--margin", "0.25"]
    assert run([*arguments, "--report", "r.html", "--plot", "p.html"]) == 0
    shown = capsys.readouterr().out
    assert shown.rstrip("\n") == str(adnn.compare_values(arms(), margin=0.25))
    assert "equivalent" in Path("r.html").read_text()
    assert Path("p.html").exists()
    assert run([*arguments, "--minimize", "--sequential"]) == 0
    assert "e-process" in capsys.readouterr().out
    assert run([*arguments, "--baseline", "c"]) == 0
    assert "b against c" not in (shown := capsys.readouterr().out)
    assert "a - c" in shown
    assert "a - b" not in shown
    assert run([*arguments, "--no-paired"]) == 0
    assert "Welch" in capsys.readouterr().out
    assert run(["compare-values", "none.csv"]) == 2
    assert run([*arguments, "--no-paired", "--sequential"]) == 2
