"""The examples in docstrings run."""

from __future__ import annotations

import inspect
import textwrap

import pytest

from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    RandomRestartSampler,
)


@pytest.mark.parametrize(
    "documented",
    [
        AdaptiveSimulatedAnnealingSampler,
        DeltaStepSampler,
        RandomRestartSampler,
    ],
)
def test_example_in_a_docstring_runs(documented: type) -> None:
    lines = inspect.cleandoc(documented.__doc__ or "").splitlines()
    begin = lines.index("    .. testcode::") + 1
    end = next(
        (i for i in range(begin, len(lines)) if lines[i] and not lines[i].startswith(" " * 8)),
        len(lines),
    )
    exec(textwrap.dedent("\n".join(lines[begin:end])), {})
