"""Help texts that are read from docstrings."""

from __future__ import annotations

import inspect

import pytest

import adnn_optuna as adnn
from adnn_optuna.cli import docstrings, options
from adnn_optuna.cli import main as cli
from adnn_optuna.cli.options import default_name
from adnn_optuna.experiments.controls import ARMS


@pytest.mark.parametrize(
    "name", ["search", "compare", "load_dataset", "MLP", "InitOffsetObjective"]
)
def test_help_of_an_argument_is_its_first_sentence(name: str) -> None:
    documented = getattr(adnn, name)
    helps, parameters = docstrings.arguments(documented), inspect.signature(documented).parameters
    assert {*helps} == {*parameters}
    for sentence in helps.values():
        assert sentence.endswith(".")
        assert not any(mark in sentence for mark in ("``", ":func:", ":class:", "  ", "\n", ". "))


def test_an_argument_without_documentation_has_no_help() -> None:
    assert docstrings.arguments(lambda x: x) == {}


def test_markup_is_removed() -> None:
    assert '({"class_name": ..., ' in docstrings.arguments(adnn.MLP)["kernel_initializer"]


def test_a_help_names_only_values_that_a_shell_can_pass() -> None:
    helps = docstrings.arguments(adnn.Training)
    assert helps["optimizer"] == "The Keras name of an optimizer."
    assert helps["learning_rate"] == "The learning rate."


def test_every_option_of_every_command_has_a_help() -> None:
    for name in cli._COMMANDS:
        for parameter in cli.command_with_options(name).params:
            assert parameter.help, (name, parameter.name)


def test_each_arm_is_named_with_its_description() -> None:
    search, compare = map(cli.command_with_options, ("search", "compare"))
    help_text = {option.name: option.help for option in search.params}["sampler"]
    of_compare = {option.name: option.help for option in compare.params}
    for name, arm in ARMS.items():
        if arm.help:
            assert f"{name} ({arm.help})" in (
                of_compare["controls"] if arm.is_control else help_text
            )
    assert help_text.count("(") == sum(not arm.is_control for arm in ARMS.values())


def test_default_values_are_those_of_python() -> None:
    defaults = {name: option.default for name, option in options._part("objective").items()}
    objective = options.searched(None, defaults)
    python = adnn.InitOffsetObjective(
        adnn.MLP(), adnn.load_dataset("digits"), training=adnn.Training()
    )
    assert objective.config == python.config


def test_tables_whose_names_differ_in_the_suffix_have_different_studies() -> None:
    names = {default_name("s", {"dataset": f"data/t.{kind}"}) for kind in ("csv", "parquet")}
    assert names == {"s-dataset=t.csv", "s-dataset=t.parquet"}
