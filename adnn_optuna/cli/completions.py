"""Which values a shell completes; where there are none, it offers files."""

from collections.abc import Callable, Iterable
from typing import Any

import typer

from adnn_optuna._checks import WrongInputError
from adnn_optuna.cli import declared
from adnn_optuna.cli.options import DEFAULT_STORAGE, parse_storage

_SEARCHERS = [*declared.arms(is_control=False)]
_CONTROLS = [*declared.arms(is_control=True), "none"]
_METRICS = [*(f"{part}_{of}" for of in ("accuracy", "loss") for part in ("val", "train"))]


def _values(*values: str) -> Callable[[], Iterable[str]]:
    return lambda: values


def _list(*values: str) -> Callable[[str], Iterable[str]]:
    """Return what completes the last of several values that are separated by commas."""
    return lambda incomplete: (f"{incomplete[: incomplete.rfind(',') + 1]}{v}" for v in values)


def _studies(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Return the names of the studies, and comparisons, in the storage of a command."""
    from adnn_optuna.engine import storages, studies

    given = ctx.params.get("storage") or ctx.params.get("file") or DEFAULT_STORAGE
    try:
        names = studies.study_names(storages.open_storage(parse_storage(given), must_exist=True))
    except (WrongInputError, storages.StorageError):
        return []
    return (name for name in names if name.startswith(incomplete))


COMPLETED: dict[str, Callable[..., Any]] = {
    "sampler": _values(*_SEARCHERS),
    "samplers": _list(*_SEARCHERS),
    "controls": _list(*_CONTROLS),
    "dataset": _values("digits", "mnist", "fashion_mnist"),
    "optimizer": _values("adam", "adamw", "nadam", "rmsprop", "sgd"),
    "activation": _values("relu", "tanh", "sigmoid", "elu", "gelu", "selu", "silu"),
    "metric": _values(*_METRICS, "val_r2", "val_rmse", "val_mae"),
    "study_name": _studies,
    "name": _studies,
}
"""What completes an option's value, by its name in Python."""
