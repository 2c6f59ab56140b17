"""The notation of values and texts."""

from __future__ import annotations

from adnn_optuna._units import ACCURACY, PLAIN, in_list, params_in_words


def test_whole_numbers_and_texts_among_parameters_are_not_rounded() -> None:
    params = {"units": 12345, "rate": 0.0123456, "bias": True, "kind": "a"}
    assert params_in_words(params) == "units=12345, rate=0.01235, bias=True, kind=a"


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [in_list("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_small_values_are_not_printed_as_0_and_huge_ones_are_short() -> None:
    assert PLAIN.value(1.6e-5) == "1.6e-05"
    assert PLAIN.value(-2e300) == "-2e+300"
    assert PLAIN.gain(2e300) == "+2e+300"
    assert PLAIN.interval(-2e300, 2.5e300) == "-2e+300 to +2.5e+300"
    assert PLAIN.gain(-1.6e-5) == PLAIN.gain(-0.0) == "0.0000"
    assert PLAIN.interval(1e-17, 1.6e-5) == "0.0000 to +0.0000"
    assert ACCURACY.interval(-0.0, 3e-5) == "0.00 to +0.00 pp"
    assert [PLAIN.value(value) for value in (0.0, 0.00016, 1e6)] == [
        "0.0000",
        "0.0002",
        "1000000.0000",
    ]


def test_tiny_values_have_exponents_and_the_digits_of_their_unit() -> None:
    unit = PLAIN._replace(digits=11)
    assert unit.value(2.75e-9) == "2.75e-09"
    assert unit.gain(-7e-11) == "-7e-11"
    assert unit.interval(0.0, 1.234e-9) == "0 to +1.23e-09"
    assert PLAIN._replace(digits=9).value(0.900000012) == "0.900000012"
