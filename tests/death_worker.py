"""Functions that store, called by workers that die or wait before one of their writes.

A server that has imported TensorFlow, but not used it, forks the workers. So a worker starts at
once. In a fork of a process that has trained, TensorFlow would wait forever.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import quick_sqlite  # noqa: F401 - it changes how SQLite writes.
import sqlalchemy
from forking import forking
from search_worker import make_objective, quick_training

import adnn_optuna as adnn
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.samplers._trials import is_done

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Verb = Callable[[str], Any]
"""A function of a database's URL. It calls a public function and returns plain data."""

WRITES = ("INSERT", "UPDATE", "DELETE", "BEGIN")

# The modules that workers need are imported before workers are forked.
optuna.storages.RDBStorage("sqlite://")
_IMPORTED = adnn.compare, adnn.compare_models, adnn.keep, adnn.measure_variance, adnn.recheck


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def evaluated(url: str) -> list[tuple[int, str]]:
    """Return the process and the subject of each evaluation for a database, in chronological
    order.
    """
    log = path_of(url).with_suffix(".log")
    lines = log.read_text().splitlines() if log.exists() else []
    pairs = (line.split(" ", 1) for line in lines)
    return [(int(process), what) for process, what in pairs]


def valued(url: str, *key: float, of: str = "") -> float:
    """Log the evaluation, and return a number that depends only on the key."""
    with path_of(url).with_suffix(".log").open("a") as log:
        log.write(f"{os.getpid()} {of} {key}\n")
    return sum(map(hash, key)) % 97 / 97


def polynomial(trial: Any) -> float:
    x, y = trial.suggest_float("x", -1, 1), trial.suggest_float("y", -1, 1)
    return float((x - 0.3) ** 2 + y**2)


def function_of(url: str) -> Callable[[Any, int], float]:
    def function(trial: Any, seed: int) -> float:
        # Arms of a comparison may evaluate the same key.
        study_name = trial.study.study_name
        return polynomial(trial) + 0.1 * valued(url, trial.params["x"], seed, of=study_name)

    return function


def told_of_function(result: Any) -> str:
    # The text is compared, because the NaN of a CI does not equal itself.
    replicates = [*result.replicates.values()]
    return repr((result.best_params, result.value, result.record.new_values, replicates))


def search_function(url: str) -> Any:
    """Search with replicates, scores of examples, and new seeds."""

    def scored(trial: Any, seed: int) -> float:
        value = function_of(url)(trial, seed)
        return adnn.log_scores(trial, [value, value + 1])

    options: Any = {"max_trial": 5, "replicate": 0.4, "confirm": 2}
    result = adnn.search(scored, "annealing", **options, storage=url, study_name="s")
    return told_of_function(result)


def search_in_threads(url: str) -> Any:
    options: Any = {"max_trial": 4, "confirm": 3, "n_jobs": 2, "storage": url, "study_name": "s"}
    return told_of_function(adnn.search(function_of(url), "annealing", **options))


def search_by_executor(url: str) -> Any:
    options: Any = {"max_trial": 4, "confirm": 3, "n_jobs": 2, "storage": url, "study_name": "s"}
    with futures.ThreadPoolExecutor(2) as executor:
        result = adnn.search(function_of(url), "annealing", **options, executor=executor)
    return told_of_function(result)


def search_enqueued(url: str) -> Any:
    """Search a study in which a user enqueued two trials."""
    options: Any = {"max_trial": 4, "confirm": 1, "storage": url, "study_name": "enqueued"}
    return told_of_function(adnn.search(function_of(url), "random", **options))


def confirm_twice(url: str) -> Any:
    """Search and confirm, and later confirm on more new seeds."""
    options: Any = {"max_trial": 2, "storage": url, "study_name": "s"}
    for confirm in (1, 3):
        result = adnn.search(function_of(url), "random", **options, confirm=confirm)
    return told_of_function(result)


def reuse_trials(url: str) -> Any:
    """Continue a search with a function that changed."""

    def changed(trial: Any, seed: int) -> float:
        return function_of(url)(trial, seed)

    options: Any = {"reuse": True, "storage": url, "study_name": "s"}
    adnn.search(function_of(url), "random", **options, max_trial=2, confirm=0)
    return told_of_function(adnn.search(changed, "random", **options, max_trial=4, confirm=2))


def resume_function(url: str) -> Any:
    function = function_of(url)
    options: Any = {"max_trial": 2, "confirm": 0, "storage": url, "study_name": "s"}
    adnn.search(function, "random", **options)
    return told_of_function(adnn.resume(url, "s", objective=function, max_trial=4, confirm=2))


def compare_functions(url: str) -> Any:
    options: Any = {"max_trial": 3, "seeds": (5, 2), "confirm": 2}
    samplers = ("annealing", "tpe")
    compared = adnn.compare(function_of(url), samplers, **options, storage=url, study_name="c")
    return compared.differences().to_csv()


def compare_functions_by_executor(url: str) -> Any:
    options: Any = {"max_trial": 2, "seeds": (5, 2), "confirm": 1, "storage": url}
    with futures.ThreadPoolExecutor(2) as executor:
        compared = adnn.compare(function_of(url), ("random",), **options, executor=executor)
    return compared.differences().to_csv()


def compare_functions_until_decided(url: str) -> Any:
    options: Any = {"max_trial": 2, "seeds": range(3), "confirm": 1, "stop_when_decided": True}
    compared = adnn.compare(function_of(url), ("random",), **options, storage=url, study_name="c")
    return compared.differences().to_csv()


def resume_comparison(url: str) -> Any:
    """Compare, or resume a declared comparison."""
    function = function_of(url)
    options: Any = {"max_trial": 2, "seeds": range(2), "confirm": 1}
    attrs_by_study = {
        study.study_name: study.user_attrs for study in open_storage(url).get_all_studies()
    }
    if "adnn:comparison" in attrs_by_study.get("c", {}):
        result: Any = adnn.resume(url, "c", objective=function)
    else:
        where: Any = {"storage": url, "study_name": "c"}
        result = adnn.compare(function, ("annealing",), **options, **where)
    return result.differences().to_csv()


def compare_models_of_functions(url: str) -> Any:
    models = {
        "one": lambda noise, order: valued(url, 1, noise, order),
        "other": lambda noise, order: valued(url, 2, noise, order),
    }
    compared = adnn.compare_models(models, seeds=range(4), storage=url, study_name="m")
    return compared.runs.evaluations, compared.differences().to_csv()


def recheck(url: str) -> Any:
    study = optuna.load_study(study_name="given", storage=open_storage(url))
    result = adnn.recheck(
        study,
        lambda trial, seed: polynomial(trial) + valued(url, trial.number, seed),
        top=2,
        choose=2,
        confirm=3,
        against=0,
    )
    return result.numbers.evaluations, result.value, result.gain.value


def measure_variance(url: str) -> Any:
    def function(noise: int, order: int) -> float:
        return valued(url, noise, order)

    result = adnn.measure_variance(function, n=5, storage=url, study_name="v")
    return result.numbers.evaluations, result.sd, result.sd_by_source


def measure_variance_by_executor(url: str) -> Any:
    def function(noise: int) -> float:
        return valued(url, noise)

    with futures.ThreadPoolExecutor(2) as executor:
        options: Any = {"storage": url, "study_name": "v", "executor": executor}
        result = adnn.measure_variance(function, n=5, **options)
    return result.numbers.evaluations, result.sd


def keep(url: str) -> Any:
    """Judge a baseline, a candidate without a gain, a better candidate, and another candidate."""
    returned = []
    for label, gain in {"first": 0, "same": 0, "better": 2, "later": 1.9}.items():

        def version(seed: int, label: str = label, gain: float = gain) -> float:
            return gain + valued(url, seed, of=label)

        options: Any = {"storage": url, "study_name": "k", "candidate": label, "n0": 4}
        result = adnn.keep(version, max_runs=4, **options)
        returned.append((result.verdict, repr(result.gain), result.n_runs))
    return returned


def objective(**changes: Any) -> adnn.InitOffsetObjective:
    return make_objective(training=quick_training(epochs=1, batch_size=200), **changes)


def told(result: adnn.SearchResult) -> Any:
    """Return the results of a search in comparable form, without times."""
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
    return compared.runs.evaluations, compared.differences().to_csv()


def variance_of_networks(url: str) -> Any:
    result = adnn.measure_variance(objective(), n=5, storage=url, study_name="v", n_jobs=1)
    return result.numbers.evaluations, result.sd


OF_FUNCTIONS: dict[str, tuple[Verb, ...]] = {
    "search": (
        search_function,
        search_in_threads,
        search_by_executor,
        search_enqueued,
        confirm_twice,
        reuse_trials,
    ),
    "resume": (resume_function, resume_comparison),
    "compare": (
        compare_functions,
        compare_functions_by_executor,
        compare_functions_until_decided,
    ),
    "compare_models": (compare_models_of_functions,),
    "recheck": (recheck,),
    "measure_variance": (measure_variance, measure_variance_by_executor),
    "keep": (keep,),
}
"""The functions of this module that call a public function, by the public function's name."""
OF_NETWORKS: dict[str, tuple[Verb, ...]] = {
    "search": (search, search_by_rounds),
    "compare": (compare,),
    "compare_models": (compare_models,),
    "measure_variance": (variance_of_networks,),
}
# The samplers' proposals depend on which trials run.
LEARNING = (
    search_function,
    search_in_threads,
    search_by_executor,
    resume_comparison,
    compare_functions,
    search,
    search_by_rounds,
)
# The numbers of evaluations that run at once, if more than one.
AT_ONCE = {
    search_in_threads: 2,
    search_by_executor: 2,
    compare_functions_by_executor: 2,
    measure_variance_by_executor: 2,
}


def make_database(path: Path) -> str:
    """Make a database with two studies of a user. Tests open copies of it, because that is
    faster.
    """
    url = f"sqlite:///{path}"
    # Without our write-ahead logging, the copied file contains the whole database.
    sampler = optuna.samplers.RandomSampler(0)
    study = optuna.create_study(storage=url, study_name="given", sampler=sampler)
    study.enqueue_trial({"x": 0.5, "y": 0.5})
    study.optimize(polynomial, n_trials=4)
    enqueued = optuna.create_study(storage=url, study_name="enqueued")
    for x in (0.1, 0.2):
        enqueued.enqueue_trial({"x": x, "y": 0.5})
    return url


def copy_database(url: str, to: Path) -> str:
    shutil.copy(path_of(url), to)
    return f"sqlite:///{to}"


def at_write(number: int, then: Callable[[], object]) -> list[int]:
    """Call ``then`` before the write with this number, from 1 on. Return the number of writes."""
    n_writes = [0]

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
    def before(connection: Any, _: Any, statement: str, *__: Any) -> None:
        driver = connection.connection.driver_connection
        # At the first statement of a transaction, no lock is held yet.
        if not driver.in_transaction and statement.startswith(WRITES):
            n_writes[0] += 1
            if n_writes[0] == number:
                then()

    return n_writes


def work(verb: Verb, url: str, number: int, to: Connection) -> None:
    """Call a function; send its result and its number of writes; die before a write."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    n_writes = at_write(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
    returned = verb(url)
    to.send((returned, n_writes[0]))


def work_beside(verb: Verb, url: str, number: int, to: Connection) -> None:
    """Call a function and send its result; before a write, wait until the other side sends."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def wait() -> None:
        to.send("waiting")
        to.recv()

    at_write(number, wait)
    returned = verb(url)
    to.send(returned)


def begin(work: Callable[..., None], *args: Any) -> tuple[Any, Connection]:
    """Begin work in another process; return the process and this end of its connection."""
    context = forking("tensorflow", "keras", "death_worker")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(*args, there))
    process.start()
    there.close()
    return process, here


def content(url: str) -> dict[str, Any]:
    """Return the contents of a database by study: trials that count, and names of attributes.

    Trial numbers and times are omitted, as trials of dead workers have numbers, too.
    """
    contents: dict[str, Any] = {}
    storage = open_storage(url)
    for name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        left_out = {"trial"} if name.endswith("/confirmation") else set()
        done = [
            (t.state.name, t.values, {n: v for n, v in t.params.items() if n not in left_out})
            for t in filter(is_done, study.trials)
        ]
        attributes = {re.sub(r"/\d[^/]*", "/", name) for name in study.user_attrs}
        contents[name] = {
            "done": sorted(map(repr, done)),
            "unfinished": [t.number for t in study.trials if not t.state.is_finished()],
            "attributes": attributes,
        }
    return contents
