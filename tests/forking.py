"""A server that has imported the workers' modules and forks them, so a kill costs no start-up."""

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
    """Return the context of processes that have imported these modules."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*modules])
    with pytest.MonkeyPatch.context() as patch:
        # The server finds modules only by its environment, and ignores modules that it does not
        # find.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context
