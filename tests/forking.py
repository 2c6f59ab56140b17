"""A server that has imported what workers need, and forks them: a kill then costs no start-up."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing import forkserver
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext


def forking(*modules: str) -> ForkServerContext:
    """Return the context of processes that begin with these modules."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*modules])
    with pytest.MonkeyPatch.context() as patch:
        # The server finds modules by its environment alone, and passes over those it does not.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context
