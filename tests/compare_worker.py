"""A comparison in a separate process, which can be killed. Arguments: storage URL, controls."""

from __future__ import annotations

import functools
import pickle
import sys
from concurrent import futures
from typing import Any

from search_worker import make_objective, quick_training

import adnn_optuna as adnn

# The seeds are not in ascending order: they count in the declared order.
SEEDS = (7, *range(7), *range(8, 40))


@functools.cache
def tiny_objective() -> adnn.InitOffsetObjective:
    return make_objective(training=quick_training(epochs=1, batch_size=400))


class Cluster(futures.Executor):
    """An executor like Dask's: jobs run in other processes, on copies, and signals do not reach
    them.
    """

    def __init__(self) -> None:
        self._workers = futures.ThreadPoolExecutor(2)

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        copies = pickle.loads(pickle.dumps((args, kwargs)))
        return self._workers.submit(function, *copies[0], **copies[1])

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        self._workers.shutdown(*args, **kwargs)


def compare(**changes: Any) -> adnn.Comparison:
    """Compare until all claims are decided, with a margin of half of the range."""
    settings: dict[str, Any] = {
        "samplers": ("greedy",),
        "max_trial": 3,
        "seeds": SEEDS,
        "controls": (),
        "stop_when_decided": True,
        "margin": 0.5,
    }
    return adnn.compare(tiny_objective(), **{**settings, **changes})


if __name__ == "__main__":
    url, controls = sys.argv[1:]
    compare(storage=url, controls=controls.split(","))
