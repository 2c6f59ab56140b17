"""Verbs that store, called by workers that die, or wait for others, before a write of theirs.

A worker is forked by a server that has imported TensorFlow and not used it: that takes no time,
and in a copy of a process that has trained, TensorFlow waits for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import quick_sqlite  # noqa: F401 - it changes how SQLite writes.
import sqlalchemy
from search_worker import make_objective, quick_training

import adnn_optuna as adnn
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.samplers._trials import is_done

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Verb = Callable[[str], Any]
"""A verb by the URL of the database that it stores in; it returns plain data, to be compared."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tensorflow", "keras", "death_worker"])

WRITES = ("INSERT", "UPDATE", "DELETE", "BEGIN")

# What the workers need is imported before they are forked.
optuna.storages.RDBStorage("sqlite://")
_IMPORTED = adnn.compare, adnn.compare_models, adnn.measure_variance, adnn.recheck


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def evaluated(url: str) -> list[str]:
    """Return what was evaluated for a database, in all processes."""
    log = path_of(url).with_suffix(".log")
    return log.read_text().splitlines() if log.exists() else []


def valued(url: str, *key: object) -> float:
    """Return a number for a key, the same in each process, and note that it was evaluated."""
    with path_of(url).with_suffix(".log").open("a") as log:
        log.write(f"{key}\n")
    return sum(map(hash, key)) % 97 / 97


def polynomial(trial: Any) -> float:
    x, y = trial.suggest_float("x", -1, 1), trial.suggest_float("y", -1, 1)
    return float((x - 0.3) ** 2 + y**2)


def compare_functions(url: str) -> Any:
    def function(trial: Any, seed: int) -> float:
        return polynomial(trial) + 0.1 * valued(url, trial.params["x"], seed)

    samplers = ("annealing", "tpe")
    compared = adnn.compare(
        function, samplers, max_trial=3, seeds=(5, 2), confirm=2, storage=url, study_name="c"
    )
    return compared.differences().to_csv()


def compare_functions_until_decided(url: str) -> Any:
    def function(trial: Any, seed: int) -> float:
        return polynomial(trial) + 0.1 * valued(url, trial.params["x"], seed)

    options: Any = {"max_trial": 2, "seeds": range(3), "confirm": 1, "stop_when_decided": True}
    compared = adnn.compare(function, ("random",), **options, storage=url, study_name="c")
    return compared.differences().to_csv()


def compare_models_of_functions(url: str) -> Any:
    models = {
        "one": lambda noise, order: valued(url, 1, noise, order),
        "other": lambda noise, order: valued(url, 2, noise, order),
    }
    compared = adnn.compare_models(models, seeds=range(4), storage=url, study_name="m")
    return compared.evaluations, compared.differences().to_csv()


def recheck(url: str) -> Any:
    study = optuna.load_study(study_name="given", storage=open_storage(url))
    found = adnn.recheck(
        study,
        lambda trial, seed: polynomial(trial) + valued(url, trial.number, seed),
        top=2,
        seeds=2,
        confirm=3,
        against=0,
    )
    return found.evaluations, found.value, found.gain.value


def measure_variance(url: str) -> Any:
    def function(noise: int, order: int) -> float:
        return valued(url, noise, order)

    found = adnn.measure_variance(function, n=5, storage=url, study_name="v")
    return found.evaluations, found.sd, found.sd_by_source


def objective(**changes: Any) -> adnn.InitOffsetObjective:
    return make_objective(training=quick_training(epochs=1, batch_size=200), **changes)


def told(result: adnn.SearchResult) -> Any:
    """Return what is told of a search, but for times."""
    assert result.confirmation is not None
    return (
        result.best_value,
        result.gain,
        result.test_value,
        result.test_gain,
        result.stop_reason,
        result.confirmation.seeds,
        result.confirmation.gains,
    )


def search(url: str) -> Any:
    """Search, test and confirm."""
    options: Any = {"max_trial": 3, "confirm": 6, "storage": url, "study_name": "s"}
    return told(adnn.search(objective(), "annealing", **options))


def search_by_rounds(url: str) -> Any:
    options: Any = {"max_trial": 4, "batch_size": 2, "confirm": 6}
    return told(adnn.search(objective(), "tpe", **options, storage=url, study_name="s"))


def compare(url: str) -> Any:
    options: Any = {"max_trial": 2, "seeds": (5, 2), "controls": ("longer", "ensemble")}
    compared = adnn.compare(objective(), ("greedy",), **options, storage=url, study_name="c")
    return compared.differences().to_csv()


def compare_models(url: str) -> Any:
    training = quick_training(epochs=1, batch_size=200)
    compared = adnn.compare_models(
        {"small": adnn.MLP((4,)), "wide": adnn.MLP((8,))},
        adnn.load_dataset("digits"),
        training=training,
        seeds=range(3),
        storage=url,
        study_name="m",
    )
    return compared.evaluations, compared.differences().to_csv()


def variance_of_networks(url: str) -> Any:
    found = adnn.measure_variance(objective(), n=5, storage=url, study_name="v", n_jobs=1)
    return found.evaluations, found.sd


OF_FUNCTIONS: tuple[Verb, ...] = (
    compare_functions,
    compare_functions_until_decided,
    compare_models_of_functions,
    recheck,
    measure_variance,
)
OF_NETWORKS: tuple[Verb, ...] = (
    search,
    search_by_rounds,
    compare,
    compare_models,
    variance_of_networks,
)
# Their samplers see which trials run.
LEARNING = compare_functions, search, search_by_rounds
# All that they evaluate is a trial, so workers know of each other's.
EVALUATING = compare_models_of_functions, recheck, measure_variance


def make_database(path: Path) -> str:
    """Make a database with a study of somebody's own in it; copies of it are opened soon."""
    url = f"sqlite:///{path}"
    # Without our write-ahead logging, all of it is in the one file that is copied.
    sampler = optuna.samplers.RandomSampler(0)
    study = optuna.create_study(storage=url, study_name="given", sampler=sampler)
    study.enqueue_trial({"x": 0.5, "y": 0.5})
    study.optimize(polynomial, n_trials=4)
    return url


def copy_database(url: str, to: Path) -> str:
    shutil.copy(path_of(url), to)
    return f"sqlite:///{to}"


def at_write(number: int, then: Callable[[], object]) -> list[int]:
    """Do something before a write of this process, the first of which is number 1; count them."""
    n_writes = [0]

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
    def before(connection: Any, _: Any, statement: str, *__: Any) -> None:
        driver = connection.connection.driver_connection
        # The first statement of a transaction: nothing is locked yet.
        if not driver.in_transaction and statement.startswith(WRITES):
            n_writes[0] += 1
            if n_writes[0] == number:
                then()

    return n_writes


def work(verb: Verb, url: str, number: int, to: Connection) -> None:
    """Call a verb and send what it returns, and how often it wrote; die before a write."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    n_writes = at_write(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
    returned = verb(url)
    to.send((returned, n_writes[0]))


def work_beside(verb: Verb, url: str, number: int, to: Connection) -> None:
    """Call a verb and send what it returns; before a write, wait until the other side sends."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def wait() -> None:
        to.send("waiting")
        to.recv()

    at_write(number, wait)
    returned = verb(url)
    to.send(returned)


def begin(work: Callable[..., None], *args: Any) -> tuple[Any, Connection]:
    """Begin work in a process of its own, and return that with the other end of its connection."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=work, args=(*args, there))
    process.start()
    there.close()
    return process, here


def content(url: str) -> dict[str, Any]:
    """Return what a database holds of each study: its trials that count, and attributes' names.

    Numbers of trials are left out, as the dead have some; and what tells times.
    """
    found: dict[str, Any] = {}
    storage = open_storage(url)
    for name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        left_out = {"trial"} if name.endswith("/confirmation") else set()
        done = [
            (t.state.name, t.values, {n: v for n, v in t.params.items() if n not in left_out})
            for t in filter(is_done, study.trials)
        ]
        attributes = {re.sub(r"/\d+", "/", name) for name in study.user_attrs}
        found[name] = {
            "done": sorted(map(repr, done)),
            "unfinished": [t.number for t in study.trials if not t.state.is_finished()],
            "attributes": {a for a in attributes if not a.startswith(("adnn:runs", "adnn:test"))},
        }
    return found
