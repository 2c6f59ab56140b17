"""Help that is read from docstrings."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import typer

import adnn_optuna as adnn
from adnn_optuna.callbacks import LIMITS
from adnn_optuna.cli import declared
from adnn_optuna.cli import main as cli
from adnn_optuna.cli.options import default_name
from adnn_optuna.engine.arms import ARMS, SAMPLERS


@pytest.mark.parametrize(
    "name", ["search", "compare", "load_dataset", "MLP", "InitOffsetObjective"]
)
def test_of_each_argument_the_first_sentence_is_said(name: str) -> None:
    said, parameters = declared.arguments(name), inspect.signature(getattr(adnn, name)).parameters
    limits = {limit.reason for limit in LIMITS} - {"max_trial"}
    assert {*said} | {"max_trial"} == {*parameters} - limits | {"max_trial"}
    for sentence in said.values():
        assert sentence.endswith(".")
        assert not any(mark in sentence for mark in ("``", ":func:", ":class:", "  ", "\n", ". "))


def test_what_is_no_public_name_says_nothing() -> None:
    assert declared.arguments("audit") == {}


def test_markup_is_left_out() -> None:
    said = declared.arguments("MLP")["scale"]
    assert said.startswith("standard brings each feature")
    assert '({"class_name": ..., ' in declared.arguments("MLP")["kernel_initializer"]


def test_an_option_is_not_said_to_take_more_than_a_shell_gives() -> None:
    said = declared.arguments("Training")
    assert said["optimizer"] == "The Keras name of an optimizer."
    assert said["learning_rate"] == "The learning rate."


def test_every_option_of_every_command_has_a_help() -> None:
    app: Any = typer.main.get_command(cli.app)
    for command in app.commands.values():
        for parameter in command.params:
            assert parameter.help, (command.name, parameter.name)


def test_each_arm_is_named_with_what_it_does() -> None:
    app: Any = typer.main.get_command(cli.app)
    said = {option.name: option.help for option in app.commands["search"].params}["sampler"]
    of_compare = {option.name: option.help for option in app.commands["compare"].params}
    for name, arm in ARMS.items():
        if arm.help:
            assert f"{name} ({arm.help})" in (of_compare["controls"] if arm.is_control else said)
    assert said.count("(") == len(SAMPLERS)


def test_limits_are_those_of_the_callbacks() -> None:
    found = [
        (option.name, option.annotation.__args__[0], option.annotation.__metadata__[0].help)
        for option in declared.limits()
    ]
    assert found == [(limit.reason, limit.kind | None, limit.help) for limit in LIMITS]


def test_tables_of_one_stem_have_different_studies() -> None:
    names = {default_name("s", {"dataset": f"data/t.{kind}"}) for kind in ("csv", "parquet")}
    assert names == {"s-dataset=t.csv", "s-dataset=t.parquet"}
