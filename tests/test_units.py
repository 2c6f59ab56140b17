"""How values and texts are written."""

from __future__ import annotations

from adnn_optuna._units import in_list, params_in_words


def test_parameters_that_are_whole_or_no_numbers_are_written_as_they_are() -> None:
    params = {"units": 12345, "rate": 0.0123456, "bias": True, "kind": "a"}
    assert params_in_words(params) == "units=12345, rate=0.01235, bias=True, kind=a"


def test_names_are_a_list_in_a_sentence() -> None:
    assert [in_list("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
