"""Printed text fits the terminal, shows each part once, and escapes every name."""

from __future__ import annotations

import os
import pty
import sys
import unicodedata

import pytest
from hypothesis import given
from render_documents import LONG, document, documents

from adnn_optuna._units import columns
from adnn_optuna.render.document import Advice, Caution, Detail, Document, Step, Table, shortened
from adnn_optuna.render.markdown import to_markdown
from adnn_optuna.render.text import to_text, width_of_output


@pytest.mark.parametrize("width", [60, 80, 100])
@given(made=documents)
def test_no_line_is_wider_than_the_given_width(made: Document, width: int) -> None:
    for details in (False, True):
        lines = to_text(made, width, details=details).split("\n")
        assert [line for line in lines if sum(map(columns, line)) > width] == []


def test_wide_characters_take_two_columns() -> None:
    table = Table(("arm", "n"), [("日本語", "1"), ("abc", "2")])
    assert "日本語  1\nabc     2" in to_text(document(tables=[table]))
    long = "日" * 90
    document_made = document(
        conclusion=f"a{long}", label=long, tables=[Table(("arm",), [(long,)])]
    )
    lines = to_text(document_made).split("\n")
    assert max(sum(map(columns, line)) for line in lines) in (79, 80)
    assert f"a{long}" in "".join(lines)
    assert all(map(str.strip, to_text(Document("a", "better", long * 9)).split("\n")))
    assert shortened(long, 14) == f"{'日' * 6}…"
    assert shortened(long[:7], 14) == long[:7]


@given(made=documents)
def test_printed_names_contain_no_control_characters(made: Document) -> None:
    text = to_text(made, details=True).replace("\n", "")
    assert {unicodedata.category(c) for c in text}.isdisjoint({"Cc", "Cf", "Zl", "Zp"})


def test_a_conclusion_precedes_estimates_tables_notes_and_the_next_step() -> None:
    text = to_text(document())
    parts = ("annealing: shown", "is better.", "test score", "Differences of", "Note:", "Advice:")
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert text.split("\n")[0] == f"annealing: shown{'30 trials, 10 new seeds':>64}"


def test_estimates_are_aligned_in_columns() -> None:
    _, _, score, gain, loss, *_ = to_text(document()).split("\n")
    assert score == "  test score  82.73%    (95% CI 78.41 to 86.50)  of annealing"
    assert gain == "  gain        +8.36 pp  (+3.64 to +13.07)"
    assert loss == "  loss        unknown"


def test_a_remark_without_room_stands_on_the_next_line() -> None:
    lines = to_text(document(label=LONG)).split("\n")
    [place] = [i for i, line in enumerate(lines) if line.startswith("  test score")]
    assert lines[place] == "  test score  82.73%    (95% CI 78.41 to 86.50)"
    assert lines[place + 1].startswith("    of simulated annealing")


def test_details_show_every_table_with_every_column() -> None:
    wide = Table(["arm", *"bcdefg"], [["one", *"123456"]], "Wide")
    document_made = document(
        tables=[wide, Table(("run", "x"), [("first", "1")], "All", is_detail=True)]
    )
    assert "arm  b  c  d  e\n" in to_text(document_made)
    assert "first" not in to_text(document_made)
    assert "arm  b  c  d  e  f  g\n" in to_text(document_made, details=True)
    assert "first  1" in to_text(document_made, details=True)


def test_print_shows_cautions_first_and_at_most_three_notes_without_details() -> None:
    notes = ["one", Detail("how it was made"), "two", "three", Caution("beware")]
    document_made = document(notes=notes)
    printed = [line for line in to_text(document_made).split("\n") if "ote" in line]
    assert printed[:-1] == ["Note: beware", "Note: one", "Note: two"]
    assert printed[-1] == '1 more table and 2 more notes: print(format(result, "details"))'
    assert document_made.notes == ("beware", "one", "two", "three", "how it was made")
    assert to_text(document_made, details=True).count("Note: ") == 5


def test_the_next_command_is_one_shell_command() -> None:
    command = f"adnn recheck sqlite:///{'a' * 30}.db 'a study' --evaluate module:{'f' * 20}"
    document_made = document(next_step=Step("adnn.recheck(study, f)", command))
    assert to_text(document_made).endswith("\nNext: adnn.recheck(study, f)")
    assert to_text(document_made, in_shell=True).endswith(f"\nNext: {command}")


def test_a_next_step_that_is_a_sentence_is_printed_as_advice() -> None:
    document_made = document(next_step=Step(Advice("Undo the change."), "adnn keep"))
    assert to_text(document_made).endswith("\nAdvice: Undo the change.")
    assert "\nAdvice: Undo the change.\n\nNext, in a shell: adnn keep" in to_markdown(
        document_made
    )


def test_a_table_without_room_is_printed_as_a_list() -> None:
    document_made = document(tables=[Table(("arm", "verdict", "n"), [(LONG, "better", "8")])])
    assert f"{LONG}\n  verdict better; n 8" in to_text(document_made)


@pytest.mark.parametrize(("columns", "expected"), [(40, 60), (72, 72), (200, 100)])
def test_the_width_is_that_of_the_terminal_within_bounds(
    columns: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = pty.openpty()
    monkeypatch.setenv("COLUMNS", str(columns))
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert width_of_output() == expected
    os.close(leader)


def test_the_width_is_80_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert width_of_output() == 80
