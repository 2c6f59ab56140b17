"""Comparisons of values that were measured elsewhere."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import adnn_optuna as adnn
from adnn_optuna.cli.main import run
from adnn_optuna.cli.output import as_text

COLUMNS = [
    "pairs",
    "difference",
    "low",
    "high",
    "win_rate",
    "win_rate_low",
    "win_rate_high",
    "worst",
    "verdict",
    "reason",
]


def arms(n: int = 10, seed: int = 0) -> dict[str, list[float]]:
    """Return paired values: two equal arms, and one arm that is better than both by 0.3."""
    rng = np.random.default_rng(seed)
    of_unit, noise = rng.normal(size=n), rng.normal(0, 0.1, (3, n))
    a, b, c = (of_unit + noise[0], of_unit + noise[1] + 0.3, of_unit + noise[2])
    return {"a": a.tolist(), "b": b.tolist(), "c": c.tolist()}


class TestVerdicts:
    def test_arms_without_counted_values_leave_the_others_compared(self) -> None:
        values = arms()
        complete = adnn.compare_values(values).differences()["difference"]
        values["c"][0] = math.nan
        comparison = adnn.compare_values(values)
        assert comparison.numbers.ranked == ["b", "a", "c"]
        assert comparison.numbers.n_values == 10
        assert math.isnan(comparison.numbers.means["c"])
        assert comparison.differences()["difference"]["a", "b"] == complete["a", "b"]
        assert "c has no finite value at" not in (printed := format(comparison, "details"))
        assert "row 0 lacks a finite value" in printed
        values["b"][0] = math.nan  # No pair is left.
        comparison = adnn.compare_values(values)
        assert comparison.numbers.n_values == 0
        assert "b and c have no finite value at row 0" in str(comparison)

    def test_all_pairs_of_arms_are_judged_by_paired_values(self) -> None:
        values = arms()
        table = adnn.compare_values(values, margin=0.25).differences()
        assert [*table.columns] == COLUMNS
        assert [*table.index] == [("a", "b"), ("a", "c"), ("b", "c")]
        assert [*table["verdict"]] == ["worse", "equivalent", "better"]
        pairs = np.subtract(values["b"], values["c"])
        row = table.loc[("b", "c")]
        assert (row["pairs"], row["difference"]) == (10, pytest.approx(pairs.mean()))
        assert row["low"] < row["difference"] < row["high"]
        assert (row["win_rate"], row["win_rate_high"]) == ((pairs > 0).mean(), 1.0)

    def test_a_table_with_one_value_per_row_must_be_pivoted(self) -> None:
        table = pd.DataFrame({"seed": [0, 1] * 2, "arm": ["a", "a", "b", "b"], "value": 1.0})
        with pytest.raises(TypeError, match=r"column of its own.*table\.pivot\(index='seed'"):
            adnn.compare_values(table)

    def test_without_a_margin_nothing_is_equivalent(self) -> None:
        comparison = adnn.compare_values({"a": [1.0, 2.0] * 6, "b": [1.0, 2.0] * 6})
        assert [*comparison.differences()["verdict"]] == ["inconclusive"]

    def test_lower_is_better_if_the_user_says_so(self) -> None:
        values = arms()
        comparison = adnn.compare_values(values, minimize=True)
        negated = {label: np.negative(v) for label, v in values.items()}
        pd.testing.assert_frame_equal(
            comparison.differences(), adnn.compare_values(negated).differences()
        )
        assert [*comparison.differences()["verdict"]][::2] == ["better", "worse"]

    def test_sequential_intervals_are_wider(self) -> None:
        planned, sequential = (adnn.compare_values(arms(12), sequential=s) for s in (False, True))
        widths = [row.high - row.low for row in planned.numbers.differences]
        for row, width in zip(sequential.numbers.differences, widths, strict=True):
            assert row.high - row.low > width

    def test_unpaired_values_have_cis_at_least_as_wide_as_welch_s(self) -> None:
        values: dict[str, list[float]] = {
            "a": [1.0, 2.0, 3.0, 2.5],
            "b": [5.0, 6.5, 6.0, 5.5, 5.9],
        }
        values["c"] = [5.0, 6.0, 7.0, 5.0, 6.0]
        comparison = adnn.compare_values(values, paired=False)
        for row in comparison.numbers.differences:
            first, second = values[row.arm], values[row.other]
            parts = [np.var(v, ddof=1) / len(v) for v in (first, second)]
            df = sum(parts) ** 2 / sum(
                p**2 / (len(v) - 1) for p, v in zip(parts, (first, second), strict=True)
            )
            half = stats.t.isf(0.05 / 6, df) * math.sqrt(sum(parts))
            difference = np.mean(first) - np.mean(second)
            assert row.low <= difference - half + 1e-9
            assert row.high >= difference + half - 1e-9
        assert [row.verdict for row in comparison.numbers.differences] == [
            "worse",
            "worse",
            "inconclusive",
        ]
        assert comparison.numbers.differences[2].win_rate == 12 / 25

    def test_one_value_or_values_that_never_vary_decide_nothing(self) -> None:
        for values in ([1.0], [1.0, 1.0]):
            comparison = adnn.compare_values({"a": values, "b": [2.0, 2.0]}, paired=False)
            assert comparison.differences()["verdict"].iloc[0] == "inconclusive"

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("scale", [1e-300, 1e300])
    def test_tiny_and_huge_values_have_a_standard_deviation(self, scale: float) -> None:
        scaled = {label: [scale * value for value in of_arm] for label, of_arm in arms().items()}
        comparison, usual = adnn.compare_values(scaled), adnn.compare_values(arms()).table()
        assert [*comparison.table()["value_std"] / scale] == pytest.approx([*usual["value_std"]])
        assert "inf" not in str(comparison)
        assert max(map(len, str(comparison).split())) <= 80

    def test_an_arm_with_a_short_name_is_not_taken_for_row_names(self) -> None:
        comparison = adnn.compare_values({"s": [1.0], "S": [2.0], "b": [3.0]})
        assert comparison.numbers.ranked == ["b", "S", "s"]

    def test_an_arm_without_the_first_value_is_named(self) -> None:
        comparison = adnn.compare_values({**arms(), "d": [math.nan, *[1.0] * 9]})
        assert comparison.differences()["verdict"]["a", "b"] == "worse"

    def test_values_after_a_missing_one_do_not_count_and_it_is_named(self) -> None:
        frame = pd.DataFrame(arms(), index=[f"d{i}" for i in range(10)]).rename_axis("dataset")
        frame.loc["d8", "c"] = math.nan
        comparison = adnn.compare_values(frame)
        table = comparison.differences()
        assert [*table["pairs"]] == [10, 8, 8]
        sentence = "dataset d8 lacks a finite value, and only pairs before it count"
        assumed = "assuming symmetric differences"
        assert [*table["reason"]] == [assumed, sentence, sentence]
        assert [*comparison.table()["datasets"]] == [10, 10, 8]
        nothing = adnn.compare_values({"a": [math.nan, 1.0], "b": [2.0, 1.0]})
        assert [row[-1] for row in comparison.document().tables[1].rows] == ["10", "8", "8"]
        against = adnn.compare_values(frame, baseline="a").document()
        assert [row[-1] for row in against.tables[1].rows] == ["10", "8"]
        assert "nothing to draw" in nothing.plot().layout.annotations[0].text


class TestBaseline:
    @pytest.mark.parametrize("options", [{}, {"sequential": True}, {"paired": False}])
    def test_is_the_only_arm_with_which_others_are_compared(self, options: dict[str, Any]) -> None:
        values = arms(12)
        rows = adnn.compare_values(values, baseline="b", **options).numbers.differences
        assert [(row.arm, row.other) for row in rows] == [("a", "b"), ("c", "b")]
        assert options == {"paired": False} or {row.verdict for row in rows} == {"worse"}
        all_pairs = adnn.compare_values(values, **options).numbers.differences
        # With a baseline, two claims share the error rate; without a baseline, three claims do.
        assert rows[0].high - rows[0].low < all_pairs[0].high - all_pairs[0].low
        two = {label: values[label] for label in "ab"}
        [alone] = adnn.compare_values(two, baseline="b", **options).numbers.differences
        [same] = adnn.compare_values(two, **options).numbers.differences
        assert vars(alone) == vars(same)

    def test_makes_nine_pairs_of_eight_arms_decidable_without_normality(self) -> None:
        rng = np.random.default_rng(0)
        values = {f"v{i}": (rng.normal(0, 0.01, 9) - i / 10).tolist() for i in range(8)}
        with_baseline, of_all_pairs = (
            adnn.compare_values(values, baseline="v0"),
            adnn.compare_values(values),
        )
        assert {*with_baseline.differences()["verdict"]} == {"worse"}
        assert {row.assumption for row in with_baseline.numbers.differences} == {
            "symmetric differences"
        }
        assert {row.assumption for row in of_all_pairs.numbers.differences} == {
            "normal differences"
        }


class TestTelling:
    def test_report_page_and_figure(self, tmp_path: Path) -> None:
        for options in ({}, {"paired": False}, {"margin": 0.1, "minimize": True}):
            comparison = adnn.compare_values({"<i>": arms()["a"], "b": arms()["b"]}, **options)
            comparison.report(tmp_path / "v.html")
            page = (tmp_path / "v.html").read_text()
            assert "b vs &lt;i&gt;" in page or "&lt;i&gt; vs b" in page
            assert ("is within ±0.1." in page) == ("margin" in options)
            assert len(comparison.plot().layout.yaxis2.ticktext) == 1  # There is one difference.
            assert (
                len(comparison.plot("values").data) == 4
            )  # The figure has the values and the means of the arms.


class TestTables:
    FRAME = pd.DataFrame(arms())

    @pytest.mark.parametrize(
        ("frame", "options", "named"),
        [
            (FRAME, {"index": False}, ("row", "3")),
            (FRAME, {}, ("row", "3")),
            (FRAME.rename_axis("seed"), {}, ("seed", "3")),
            (FRAME.set_axis([*"klmnopqrst"]).rename_axis("data set"), {}, ("data_set", "n")),
            (FRAME.set_axis([*"klmnopqrst"]).rename_axis("what"), {}, ("what", "n")),
        ],
    )
    def test_of_all_formats_are_read(
        self, frame: pd.DataFrame, options: dict[str, Any], named: tuple[str, str], tmp_path: Path
    ) -> None:
        frame.to_csv(tmp_path / "r.csv", **options)
        comparison = adnn.compare_values(tmp_path / "r.csv")
        assert (comparison.numbers.per, comparison.names[3]) == named
        expected = adnn.compare_values(arms()).differences()
        pd.testing.assert_frame_equal(comparison.differences(), expected)
        pd.testing.assert_frame_equal(adnn.compare_values(frame).differences(), expected)
        comparison = adnn.compare_values(pd.read_csv(tmp_path / "r.csv"))
        assert (comparison.numbers.per, comparison.names[3]) == named
        pd.testing.assert_frame_equal(comparison.differences(), expected)

    @pytest.mark.parametrize("first", ["trial", "run_id", "Replicates", "#"])
    def test_with_row_numbers_or_other_separators_are_read(
        self, first: str, tmp_path: Path
    ) -> None:
        expected = adnn.compare_values(arms()).differences()
        for separator in ";", "\t":
            self.FRAME.to_csv(tmp_path / "r.csv", sep=separator, index_label=first)
            comparison = adnn.compare_values(tmp_path / "r.csv")
            pd.testing.assert_frame_equal(comparison.differences(), expected)
        # Some spreadsheets end lines with a separator and begin a file with a byte-order mark.
        text = self.FRAME.to_csv(index_label=first).replace("\n", ",\n")
        (tmp_path / "r.csv").write_text(text, encoding="utf-8-sig")
        pd.testing.assert_frame_equal(
            adnn.compare_values(tmp_path / "r.csv").differences(), expected
        )
        (tmp_path / "r.csv").write_text("my accuracy\n0.9\n0.8\n")
        with pytest.raises(ValueError, match=r"got 1 arm and 2 rows\. .* pass baseline_file=FILE"):
            adnn.compare_values(tmp_path / "r.csv")

    def test_as_mappings_of_seeds_are_compared_by_their_values(self) -> None:
        comparison = adnn.compare_values({a: dict(enumerate(v, 7)) for a, v in arms().items()})
        assert comparison.differences()["difference"].iloc[0] == pytest.approx(
            np.subtract(arms()["a"], arms()["b"]).mean()
        )
        assert comparison.names[0] == "7"
        turned = {"a": {1: 0.9, 2: 0.8}, "b": {2: 0.7, 1: 0.6}}
        assert adnn.compare_values(turned).numbers.arms == {"a": [0.9, 0.8], "b": [0.6, 0.7]}

    def test_truth_values_of_a_file_are_numbers(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text("a,b\nTrue,False\nFalse,False\nTrue,True\n")
        arms_read = adnn.compare_values(tmp_path / "r.csv").numbers.arms
        assert arms_read == {"a": [1, 0, 1], "b": [0, 0, 1]}

    def test_columns_of_unpaired_arms_may_have_different_lengths(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text("a,b\n1,3\n2,4\n3,\n")
        comparison = adnn.compare_values(tmp_path / "r.csv", paired=False)
        assert [*comparison.table()["rows"]] == [3, 2]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("seed,a,b\n3,1,2\n3,1,2\n", "got two rows of seed 3"),
            ("a,b\n1,x\n", "got 'x' in 'b'"),
            ("a,b\n80%,81%\n82%,81%\n", "such as 0.81; got '81%' in 'b'"),
            ("1,2\n1,2\n", "must have a header"),
            ("", "must be a valid CSV file .No columns"),
            ("a,b\n", "0 rows"),
            ("a,b,a\n1,2,3\n", "got 'a' more than once"),
            (",".join(map(str, range(201))), "at most 200 columns; got 201"),
        ],
    )
    def test_wrong_tables_are_refused(self, text: str, said: str, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text(text)
        (tmp_path / "r.csv.gz").write_bytes(gzip.compress(text.encode())[:12])
        with pytest.raises(ValueError, match="must be a valid CSV file"):
            adnn.compare_values(tmp_path / "r.csv.gz")
        with pytest.raises((ValueError, TypeError), match=said):
            adnn.compare_values(tmp_path / "r.csv")

    def test_a_file_is_not_compared_with_itself(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text("a\n1\n2\n")
        (tmp_path / "same.csv").hardlink_to(tmp_path / "r.csv")
        for file_name in ("r.csv", "same.csv"):
            with pytest.raises(ValueError, match="baseline_file must be another file than values"):
                adnn.compare_values(tmp_path / "r.csv", baseline_file=tmp_path / file_name)

    def test_files_are_read_unless_they_are_unusually_large(self, tmp_path: Path) -> None:
        file = tmp_path / "r.csv.gz"
        file.write_bytes(gzip.compress(b"a,b\n1,3\n2,4\n"))
        assert adnn.compare_values(file).names == ("0", "1")
        file.write_bytes(gzip.compress(b"a,b\n1,3\n" + b" " * 2**26))
        with pytest.raises(ValueError, match=r"must unpack to at most 67,108,864 bytes"):
            adnn.compare_values(file)


@pytest.mark.parametrize("character", ["\x1b[31m", "\u202e", "\udc80"])
def test_names_in_messages_do_not_control_the_terminal(character: str) -> None:
    table = pd.DataFrame({f"a{character}b": [1.0], "c": [2.0]})
    with pytest.raises(ValueError, match="Available: a") as raised:
        adnn.compare_values(table, sequential=True, order="day")
    assert str(raised.value).isprintable()
    assert f"Available: a{ascii(character)[1:-1]}b, c." in str(raised.value)


def test_values_after_an_infinite_one_do_not_count() -> None:
    for value in (math.inf, 10**400, -(10**400)):
        comparison = adnn.compare_values({"a": [1.0, 2.0, value], "b": [0.0, 0.5, 1.0]})
        assert comparison.differences()["pairs"].item() == 2


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        ({"a": [1.0], "b": [1.0, 2.0]}, {}, "got 'a' has 1, 'b' has 2"),
        ({"a": [1.0, "x"], "b": [1.0, 2.0]}, {}, "got 'x' in 'a'"),
        ({"a": np.ones((1, 2)), "b": [1.0]}, {}, r"values\['a'\] .*of shape \(1, 2\)\. Pass"),
        ({"a": [1.0], "b": pd.DataFrame([1.0])}, {}, r"values\['b'\] .*got DataFrame of shape"),
        ({"a": 1.0, "b": 2.0}, {}, "got float. Pass a list"),
        ({"a": pd.to_datetime(["2026-11-27"]), "b": [1.0]}, {}, "got Timestamp"),
        ([[1.0], [2.0]], {}, "values must be a mapping"),
        ({"a": [1.0, math.nan], "b": [1.0, 2.0]}, {"paired": False}, "infinite one in 'a'"),
        ({"": [1.0], "b": [1.0], "c": [1.0]}, {}, "none of them empty; got '', 'b', 'c'"),
        ({"a": [1.0], "b": [1.0]}, {"margin": 0}, "margin"),
        (
            {"a": [1.0], "b": [1.0]},
            {"paired": False, "sequential": True},
            "sequential must be omitted",
        ),
        ({f"a{i}": [1.0] for i in range(101)}, {}, "at most 100 arms; got 101"),
        ({"a": [1.0], "b": [1.0]}, {"baseline": "main"}, "Available: 'a', 'b'"),
        ("none.csv", {}, "'none.csv' must be a file that exists"),
    ],
)
def test_wrong_arguments_of_values_are_refused(
    values: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=said):
        adnn.compare_values(values, **options)


def test_command_line_compares_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(arms()).to_csv("r.csv")
    arguments = ["compare-values", "r.csv", "--margin", "0.25"]
    assert run([*arguments, "--report", "r.html", "--plot", "p.html"]) == 0
    output = capsys.readouterr().out
    comparison = adnn.compare_values(arms(), margin=0.25)
    assert output.rstrip("\n") == as_text(comparison, writes_report=True)
    assert "equivalent" in Path("r.html").read_text()
    assert Path("p.html").exists()
    assert run([*arguments, "--minimize", "--sequential", "--json"]) == 0
    assert "e-process" in capsys.readouterr().out
    assert run([*arguments, "--baseline", "c"]) == 0
    assert "a vs c" in (output := capsys.readouterr().out)
    assert run([*arguments, "--no-paired", "--json"]) == 0
    assert "Welch" in capsys.readouterr().out
    assert run(["compare-values", "none.csv"]) == 2
    assert run([*arguments, "--no-paired", "--sequential"]) == 2


class TestSplitsAndFolds:
    @staticmethod
    def table(n_repeats: int = 3, n_folds: int = 5) -> pd.DataFrame:
        """Return accuracies of two rules that are equally good, by repeated cross-validation."""
        rng, rows = np.random.default_rng(0), []
        for repeat in range(n_repeats):
            rows += [(repeat, fold, *rng.normal(0.8, 0.05, 2)) for fold in range(n_folds)]
        return pd.DataFrame(rows, columns=["repeat", "fold", "a", "b"])

    def test_overlapping_splits_have_the_interval_of_nadeau_and_bengio(self) -> None:
        table = self.table()
        comparison = adnn.compare_values(table, resampled=(80, 20))
        [row] = comparison.numbers.differences
        d = (table["a"] - table["b"]).to_numpy()
        half = stats.t.isf(0.025, 14) * d.std(ddof=1) * math.sqrt(1 / 15 + 20 / 80)
        assert (row.low, row.high) == pytest.approx((d.mean() - half, d.mean() + half))
        assert comparison.names[7] == "2 of repeat 1"
        assert comparison.numbers.per == "fold"
        by_index = adnn.compare_values(table.set_index(["repeat", "fold"]), resampled=(80, 20))
        assert by_index.numbers.differences == comparison.numbers.differences

    @pytest.mark.parametrize("row", [0, 9])
    def test_a_gap_in_one_arm_leaves_the_intervals_of_other_arms_for_new_data(
        self, row: int
    ) -> None:
        table = self.table()
        table["c"] = table["a"] + np.linspace(-0.01, 0.02, 15)
        complete = adnn.compare_values(table, resampled=(80, 20)).differences()
        table.loc[row, "c"] = math.nan
        comparison = adnn.compare_values(table, resampled=(80, 20))
        ends = ["low", "high", "verdict"]
        with_gap = comparison.differences()[ends]
        assert with_gap.loc["a", "b"].equals(complete[ends].loc["a", "b"])
        of_c = with_gap.drop(("a", "b"))
        assert of_c[["low", "high"]].isna().all(axis=None)
        assert {*of_c["verdict"]} == {"inconclusive"}
        assert "for new data" in format(comparison, "details")

    def test_cross_validations_of_scikit_learn_are_compared_by_test_scores(self) -> None:
        linear, tree = np.random.default_rng(0).normal(0.8, 0.05, (2, 10))
        values = {
            label: {"fit_time": np.ones(10), "score_time": np.ones(10), "test_score": scores}
            for label, scores in (("linear", linear), ("tree", tree))
        }
        with pytest.raises(ValueError, match="got 'fold'"):
            adnn.compare_values(values)
        comparison = adnn.compare_values(values, folds=True)
        expected = adnn.compare_values({"linear": linear, "tree": tree})
        assert comparison.numbers.differences == expected.numbers.differences

    def test_folds_are_recognized_in_columns_keys_and_index(self) -> None:
        table = self.table(1, 8)[["a", "b", "fold"]]
        in_text = {
            arm: {f"fold {i}": values for i, values in enumerate(table[arm])} for arm in "ab"
        }
        of_folds = table.set_index("fold")["a"]
        for values in (table, in_text, {"a": of_folds, "b": table["b"].tolist()}):
            with pytest.raises(ValueError, match="must be of independent seeds"):
                adnn.compare_values(values)
        assert adnn.compare_values(table, folds=True).numbers.ranked in (["a", "b"], ["b", "a"])
        with pytest.raises(ValueError, match="must be of independent seeds"):
            adnn.compare_values({"a": of_folds, "b": of_folds[:6]}, paired=False)

    @pytest.mark.parametrize("name", ["Fold", "cv", "data", "fold_id", "split1"])
    def test_values_of_splits_or_folds_are_refused_without_resampled_or_folds(
        self, name: str
    ) -> None:
        ways_out = r"resampled=\(n_train, n_test\), folds=True .*, or resampled=False"
        for table in (
            pd.DataFrame({name: range(10), **arms()}),
            pd.DataFrame(arms(), index=pd.Index(range(10), name=name)),
        ):
            with pytest.raises(ValueError, match=ways_out):
                adnn.compare_values(table)
            adnn.compare_values(table, resampled=False)
        adnn.compare_values(pd.DataFrame({"dataset": range(10), **arms()}))

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"resampled": (80, 20), "folds": True}, "folds must be omitted"),
            ({"resampled": (80, 20), "sequential": True}, "14% of comparisons"),
            ({"folds": True, "sequential": True}, "folds must be omitted in a sequential"),
            ({"resampled": (80, 20), "paired": False}, "resampled must be omitted"),
            ({"resampled": 0.2}, "must be .*two numbers of examples"),
            ({"resampled": (80, 0)}, r"two numbers of examples; got \(80, 0\)"),
            ({"folds": True}, "For a repeated cross-validation, pass resampled"),
        ],
    )
    def test_wrong_settings_of_splits_are_refused(
        self, options: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ValueError, match=said):
            adnn.compare_values(self.table(), **options)

    @pytest.mark.slow
    def test_equal_rules_seldom_differ(self) -> None:
        rng, false = np.random.default_rng(11), {"corrected": 0, "as seeds": 0}
        for _ in range(100):
            x = rng.normal(size=(300, 6))
            y = x.sum(axis=1) + rng.normal(0, 3, 300) > 0
            accuracies: dict[str, list[float]] = {"a": [], "b": []}
            for _ in range(20):
                order = rng.permutation(300)
                train, test = order[60:], order[:60]
                for label, columns in (("a", slice(0, 3)), ("b", slice(3, 6))):
                    weights = x[train, columns].T @ (2 * y[train] - 1)
                    right = (x[test, columns] @ weights > 0) == y[test]
                    accuracies[label].append(float(right.mean()))
            for name, options in (("corrected", {"resampled": (240, 60)}), ("as seeds", {})):
                verdict = adnn.compare_values(accuracies, **options).numbers.differences[0].verdict
                false[name] += verdict in ("better", "worse")
        assert false["corrected"] <= 10
        assert false["as seeds"] >= 20


class TestGroups:
    """Rows that belong together, such as questions about one passage."""

    TABLE = pd.DataFrame(
        {
            "passage": [f"p{i % 8}" for i in range(24)],
            "question": range(24),
            "a": np.random.default_rng(0).integers(0, 2, 24),
            "b": np.random.default_rng(1).integers(0, 2, 24),
        }
    )

    def test_are_compared_by_their_means_whatever_their_names(self, tmp_path: Path) -> None:
        table = self.TABLE
        means = {arm: [table[arm][i::8].mean() for i in range(8)] for arm in "ab"}
        expected = adnn.compare_values(means).differences()
        table.to_csv(tmp_path / "items.csv", index=False)
        for values, groups in (
            (tmp_path / "items.csv", "passage"),
            (table, "passage"),
            (table.set_index(["passage", "question"]), "passage"),
            (table[["a", "b"]], table["passage"]),
            ({arm: table[arm].tolist() for arm in "ab"}, table["passage"].tolist()),
            ({arm: table[arm].tolist() for arm in ("passage", "a", "b")}, "passage"),
        ):
            comparison = adnn.compare_values(values, groups=groups)
            pd.testing.assert_frame_equal(comparison.differences(), expected)
            assert comparison.names[3] == "p3"
        assert adnn.compare_values(table, groups="passage").numbers.per == "passage"
        with pytest.raises(ValueError, match="pass groups='passage'"):
            adnn.compare_values(table[["passage", "a", "b"]])
        cities = table.rename(columns={"passage": "city"})
        assert adnn.compare_values(cities, groups="city").numbers.per == "group"

    def test_of_unequal_sizes_count_once_each_until_a_value_is_missing(self) -> None:
        values = {"a": [1.0, 2.0, 3.0, 4.0], "b": [0.0, 0.0, 0.0, math.nan]}
        [row] = adnn.compare_values(values, groups=[*"xxyz"]).numbers.differences
        assert (row.n_pairs, row.mean) == (2, (1.5 + 3.0) / 2)

    def test_in_two_files_are_paired_by_rows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for arm, rows in (("a", self.TABLE), ("b", self.TABLE.iloc[::-1])):
            rows[["passage", "question", arm]].to_csv(f"{arm}.csv", index=False)
        gate = ["compare-values", "a.csv", "--baseline-file", "b.csv", "--groups"]
        assert run([*gate, "passage"]) == 0
        output = capsys.readouterr().out.rstrip("\n")
        comparison = adnn.compare_values(self.TABLE, groups="passage", baseline="b")
        assert output == as_text(comparison)
        assert run([*gate, "patient"]) == 2
        self.TABLE[["passage", "a"]].to_csv("a.csv", index=False)
        assert run([*gate, "passage"]) == 2

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"groups": [1, 2]}, "one label for each of the 24 rows.*; got 2 labels"),
            ({"groups": "patient"}, "Available: passage, question, a, b"),
            ({"groups": "passage", "paired": False}, "groups must be omitted with paired=False"),
            ({"groups": "passage", "folds": True}, "groups must be omitted if folds is set"),
            ({"groups": ["p"] * 23 + [math.nan]}, "must label each row; got gaps in 'group'"),
        ],
    )
    def test_wrong_groups_are_refused(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            adnn.compare_values(self.TABLE, **options)

    def test_do_not_hide_that_rows_are_folds(self) -> None:
        table = self.TABLE.rename(columns={"question": "fold"})
        with pytest.raises(ValueError, match="must be of independent seeds; got 'fold'"):
            adnn.compare_values(table, groups="passage")

    @pytest.mark.slow
    def test_of_equal_arms_seldom_differ(self) -> None:
        rng, n_worlds, claims = np.random.default_rng(5), 150, {"rows": 0, "groups": 0}
        groups = np.repeat(np.arange(20), 5)
        for _ in range(n_worlds):
            of_passage = rng.normal(0, 1, (2, 20))[:, groups]
            right = of_passage + rng.normal(size=(2, 100)) > 0
            values = dict(zip("ab", right.astype(float), strict=True))
            for name, options in (("rows", {}), ("groups", {"groups": groups})):
                [row] = adnn.compare_values(values, **options).numbers.differences
                claims[name] += row.verdict != "inconclusive"
        assert claims["groups"] <= 0.09 * n_worlds
        assert claims["rows"] >= 0.13 * n_worlds


class TestOrder:
    VALUES = pd.DataFrame(arms(20, seed=3))[["a", "c"]]

    def test_must_be_set_if_rows_look_sorted(self) -> None:
        table = self.VALUES.sort_values("a").assign(time=range(20, 0, -1))
        with pytest.raises(ValueError, match="seem sorted by 'a'"):
            adnn.compare_values(table[["a", "c"]], sequential=True)
        shared = np.random.default_rng(0).normal(0, 9, 20)
        by_difference = {"a": shared + np.arange(20), "b": shared}
        with pytest.raises(ValueError, match="seem sorted by 'a - b'"):
            adnn.compare_values(by_difference, sequential=True)
        adnn.compare_values(table[["a", "c"]])  # In a fixed design, the order does not matter.
        as_they_are = adnn.compare_values(table[["a", "c"]], sequential=True, order="rows")
        ordered = adnn.compare_values(table, sequential=True, order="time")
        reverse = table[["a", "c"]].iloc[::-1]
        same = adnn.compare_values(reverse, sequential=True, order="rows")
        assert ordered.numbers.differences == same.numbers.differences
        assert as_they_are.numbers.differences != same.numbers.differences

    def test_may_be_a_time_or_the_index(self) -> None:
        times = pd.date_range("2026-01-01", periods=20)[::-1].astype(str)
        expected = adnn.compare_values(self.VALUES.iloc[::-1], sequential=True)
        for table in (
            self.VALUES.assign(when=times),
            self.VALUES.set_axis(pd.Index(times, name="when")),
        ):
            comparison = adnn.compare_values(table, sequential=True, order="when")
            assert comparison.numbers.differences == expected.numbers.differences

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"order": "rows"}, "order must be omitted in a fixed design"),
            ({"sequential": True, "order": "when"}, "Available: a, c"),
        ],
    )
    def test_a_wrong_order_is_refused(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            adnn.compare_values(self.VALUES, **options)


def test_a_tie_that_only_rounding_breaks_decides_nothing() -> None:
    # For 359 images, rounding to 1e-12 turned an upper end of 0 into -3e-13, and the verdict into
    # worse.
    counts = np.array([-3, -3, -3, 0, -1, 1, -1, 1, -2, -2]) * 1.0
    for n in (359, 7, 1797):
        for base in (0.0, 100 / n):
            values = {"a": base + counts / n, "b": np.full(10, base)}
            exact = adnn.compare_values({"a": counts, "b": np.zeros(10)}).numbers.differences[0]
            row = adnn.compare_values(values).numbers.differences[0]
            assert row.verdict == exact.verdict == "inconclusive"
            assert exact.high == row.high == 0
            assert row.low == pytest.approx(exact.low / n)


class TestGate:
    """``--require`` with two files, as continuous integration uses it."""

    @pytest.fixture
    def noise(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
        monkeypatch.chdir(tmp_path)
        noise = np.random.default_rng(0).normal(0, 0.003, (2, 12))
        self.write("old", noise[0])
        return noise[1]

    @staticmethod
    def write(name: str, scores: np.ndarray, **columns: Any) -> None:
        seeds = {"seed": np.arange(len(scores)), **columns}
        pd.DataFrame({**seeds, "score": scores}).to_csv(f"{name}.csv", index=False)

    @staticmethod
    def code(*options: str, require: str = "not-worse") -> int:
        files = ["compare-values", "new.csv", "--baseline-file", "old.csv"]
        return run([*files, "--margin", "0.005", "--require", require, *options])

    def test_passes_only_better_values_if_better_is_required(self, noise: np.ndarray) -> None:
        codes = {}
        for shift in (0.02, 0.0, -0.02):
            self.write("new", noise + shift)
            codes[shift] = self.code(), self.code(require="better")
        assert codes == {0.02: (0, 0), 0.0: (0, 1), -0.02: (1, 1)}
        gate = ["compare-values", "new.csv", "--baseline-file", "old.csv", "--require", "better"]
        assert run(gate) == 1  # This gate needs no margin.

    @pytest.mark.parametrize("gap", ["", "inf"])
    def test_ends_with_2_if_a_value_is_missing(
        self, noise: np.ndarray, gap: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.write("new", noise + 0.02)
        text = Path("new.csv").read_text().splitlines()
        text[10] = f"9,{gap}"
        Path("new.csv").write_text("\n".join(text))
        assert (self.code(), self.code(require="better")) == (2, 2)
        self.write("new", noise, seed=[*range(11), 12])  # The new file has no seed 11.
        assert self.code() == 2

    def test_takes_files_of_different_lengths_that_are_not_paired(
        self, noise: np.ndarray, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.write("new", noise[:9] + 0.02)
        assert self.code() == 2
        assert self.code("--no-paired") == 0
        output = capsys.readouterr().out.rstrip("\n")
        scores = {name: pd.read_csv(f"{name}.csv")["score"] for name in ("new", "old")}
        same = adnn.compare_values(scores, paired=False, margin=0.005, baseline="old")
        assert output.split("Note:")[0] == str(same).split("Note:")[0]

    @pytest.mark.usefixtures("noise")
    def test_fails_if_both_models_ignore_the_seed(self) -> None:
        self.write("old", np.full(12, 0.8))
        self.write("new", np.full(12, 0.9))
        assert self.code() == 1


class TestNotWorse:
    def test_has_its_own_one_sided_bound(self) -> None:
        d = np.random.default_rng(3).normal(-0.1, 1, 12)
        [row] = adnn.compare_values({"new": d, "old": d * 0}, margin=1.1).numbers.differences
        assert row.low < -1.1 < row.at_least < 0 < row.high
        is_in = np.arange(1, 2**12)[:, np.newaxis] >> np.arange(12) & 1
        means = np.sort(is_in @ d / is_in.sum(axis=1))
        assert row.at_least == pytest.approx(means[math.floor(0.05 * 2**12) - 1])

    def test_passes_equal_models_as_often_as_one_sided_sign_flips(self) -> None:
        rng, n_worlds = np.random.default_rng(8), 150
        passes = {0.0: 0, -1.0: 0}
        for shift in passes:
            for _ in range(n_worlds):
                d = rng.normal(shift, 1, 10)
                comparison = adnn.compare_values({"new": d, "old": d * 0}, margin=1.0)
                verdict = comparison.numbers.differences[0].verdict
                passes[shift] += verdict in ("not worse", "better", "equivalent")
        assert passes[0.0] >= 0.83 * n_worlds
        assert passes[-1.0] <= 0.085 * n_worlds

    def test_files_of_the_same_name_get_different_labels_and_pair_by_position(
        self, tmp_path: Path
    ) -> None:
        for folder, values in (("new", [3, 1, 2]), ("old", [1, 2, 3])):
            (tmp_path / folder).mkdir()
            text = "score\n" + "\n".join(map(str, values))
            (tmp_path / folder / "s.csv").write_text(text)
        files = [tmp_path / folder / "s.csv" for folder in ("new", "old")]
        comparison = adnn.compare_values(files[0], baseline_file=files[1])
        assert comparison.numbers.ranked == [str(file) for file in files]
        assert comparison.numbers.differences[0].largest == 2.0
        files[0].write_text("seed,score\n7,1\n")
        files[1].write_text("seed,score\n8,1\n")
        with pytest.raises(ValueError, match=r"common rows; got \['7'\] and \['8'\]"):
            adnn.compare_values(files[0], baseline_file=files[1])


def test_a_rare_effect_is_named_unless_it_may_affect_most_seeds() -> None:
    values = [0.91, 0.95, 0.92, 0.97, 0.93]
    of_five, of_four = (
        adnn.compare_values({"a": values[:n], "b": [0.9] * n}, margin=0.01) for n in (5, 4)
    )
    rare = "5 rows may miss a collapse on up to 45% of rows (95% confidence)."
    assert rare in " ".join(of_five.document().notes)
    assert "If an effect occurs" not in " ".join(of_four.document().notes)
