"""Workers die, or a second worker begins, before each write of each storing function."""

from __future__ import annotations

import collections
import contextlib
import functools
import inspect
import signal
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import death_worker as workers
import pytest
from death_worker import AT_ONCE, LEARNING, OF_FUNCTIONS, OF_NETWORKS, content, evaluated

import adnn_optuna as adnn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.* can decide nothing"),
]

Verb = workers.Verb


class Undisturbed(NamedTuple):
    """The result, contents, evaluations and number of writes of an undisturbed call."""

    returned: Any
    content: dict[str, Any]
    evaluated: list[str]
    n_writes: int


class Place:
    """The folder of the cases' databases, which are copies of one database."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._n_databases = folder, 0
        self._first = workers.make_database(folder / "first.db")
        self.undisturbed = functools.cache(self._undisturbed)

    def database(self) -> str:
        self._n_databases += 1
        return workers.copy_database(self._first, self._folder / f"{self._n_databases}.db")

    def _undisturbed(self, verb: Verb) -> Undisturbed:
        url = self.database()
        process, connection = workers.begin(workers.work, verb, url, 0)
        returned, n_writes = connection.recv()
        process.join()
        stored = content(url)
        # The first database has the study with enqueued trials.
        assert not any(
            stored_study["unfinished"]
            for name, stored_study in stored.items()
            if name != "enqueued"
        )
        keys = [what for _, what in evaluated(url)]
        assert len({*keys}) == len(keys)
        return Undisturbed(returned, stored, sorted(keys), n_writes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("deaths"))


def numbers_of(n_writes: int, n_cases: int) -> list[int]:
    """Return at most ``n_cases`` numbers of writes, spread over all writes."""
    step = max(1, -(-n_writes // n_cases))
    return [*range(1, n_writes + 1, step)]


def die(verb: Verb, url: str, number: int) -> list[int]:
    """Return the id of the worker that died before this write; empty if the worker ended."""
    process, _ = workers.begin(workers.work, verb, url, number)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), "It was refused."
    return [process.pid] * (process.exitcode != 0)


def counts(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the contents, in which two numbers (all, distinct) replace the trials that count."""
    return {
        name: {**of_study, "done": (len(of_study["done"]), len({*of_study["done"]}))}
        for name, of_study in stored.items()
    }


def check_evaluated(verb: Verb, url: str, expected: list[str], dead: list[int]) -> None:
    """Check that the only repeated evaluations are those that dead workers left unfinished."""
    processes = collections.defaultdict[str, list[int]](list)
    for process, what in evaluated(url):
        processes[what].append(process)
    assert sorted(processes) == expected
    lost = collections.Counter[int]()
    for of_key in processes.values():
        lost.update(of_key[:-1])
    assert {*lost} <= {*dead}
    assert max(lost.values(), default=0) <= AT_ONCE.get(verb, 1)


def check_death(verb: Verb, place: Place, case: int, number: int) -> None:
    """Let a worker die before a write. In every third case, the worker that resumes dies, too."""
    expected, url = place.undisturbed(verb), place.database()
    dead = die(verb, url, number)
    assert dead
    if case % 3 == 2:
        dead += die(verb, url, 1 + case)
    assert verb(url) == expected.returned
    assert content(url) == expected.content
    check_evaluated(verb, url, expected.evaluated, dead)


def check_second(verb: Verb, place: Place, _: int, number: int) -> None:
    """Let a second worker begin before a write of the first worker, which waits for it.

    The first worker continues when the second worker ends or waits.
    """
    expected, url = place.undisturbed(verb), place.database()
    process, connection = workers.begin(workers.work_beside, verb, url, number)
    assert connection.recv() == "waiting"
    answers, sleep = [None], time.sleep

    def let_go_on(seconds: float = 0.0) -> None:
        # If there are several threads, the first thread lets the second worker begin.
        with contextlib.suppress(IndexError):
            connection.send(answers.pop())
        sleep(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", let_go_on)
        second = verb(url)
    let_go_on()
    assert second == connection.recv()
    process.join()
    # The proposals of these calls depend on which trials run, but the number of trials does not.
    if verb in LEARNING:
        assert counts(content(url)) == counts(expected.content)
    else:
        assert second == expected.returned
        assert content(url) == expected.content
    keys = [what for _, what in evaluated(url)]
    assert len(keys) == len({*keys}) == len(expected.evaluated)


def cases(of_functions: int, of_networks: int) -> list[tuple[Verb, int]]:
    """Return all calls, each with its number of cases."""

    def verbs(by_name: Mapping[str, tuple[Verb, ...]], n_cases: int) -> list[tuple[Verb, int]]:
        return [(verb, n_cases) for verbs in by_name.values() for verb in verbs]

    return verbs(OF_FUNCTIONS, of_functions) + verbs(OF_NETWORKS, of_networks)


def test_each_public_function_that_stores_is_tested_here() -> None:
    functions = {name: getattr(adnn, name) for name in adnn.__all__}
    stores = {
        name
        for name, verb in functions.items()
        if inspect.isfunction(verb) and "storage" in inspect.signature(verb).parameters
    }
    assert OF_FUNCTIONS.keys() | OF_NETWORKS.keys() == stores


@pytest.mark.parametrize(("verb", "n_cases"), cases(of_functions=12, of_networks=6))
def test_deaths_leave_no_trace(verb: Verb, n_cases: int, place: Place) -> None:
    for case, number in enumerate(numbers_of(place.undisturbed(verb).n_writes, n_cases)):
        check_death(verb, place, case, number)


@pytest.mark.parametrize(("verb", "n_cases"), cases(of_functions=4, of_networks=2))
def test_a_second_worker_that_begins_at_any_write_changes_nothing(
    verb: Verb, n_cases: int, place: Place
) -> None:
    for case, number in enumerate(numbers_of(place.undisturbed(verb).n_writes, n_cases)):
        check_second(verb, place, case, number)
