"""Deaths before each write of each verb that stores, and a second worker at each of them."""

from __future__ import annotations

import functools
import signal
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import death_worker as workers
import pytest
from death_worker import EVALUATING, LEARNING, OF_FUNCTIONS, OF_NETWORKS, content, evaluated

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.* can decide nothing"),
]

Verb = workers.Verb


class Undisturbed(NamedTuple):
    """What a verb returns, stores and evaluates if nobody dies, and by how many writes."""

    returned: Any
    content: dict[str, Any]
    n_evaluated: int
    n_writes: int


class Place:
    """Where the databases of the cases are, each a copy of one."""

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
        assert not any(study["unfinished"] for study in stored.values())
        return Undisturbed(returned, stored, len(evaluated(url)), n_writes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("deaths"))


def numbers_of(n_writes: int, n_cases: int) -> list[int]:
    """Return the numbers of so many writes at most, all over those that there are."""
    step = max(1, -(-n_writes // n_cases))
    return [*range(1, n_writes + 1, step)]


def die(verb: Verb, url: str, number: int) -> bool:
    """Return whether a worker died before a write of this number, or ended before."""
    process, _ = workers.begin(workers.work, verb, url, number)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), "It was refused."
    return process.exitcode != 0


def counts(stored: dict[str, Any]) -> dict[str, Any]:
    """Return how many trials count in each study, and all that is said besides."""
    return {
        name: {**of_study, "done": (len(of_study["done"]), len({*of_study["done"]}))}
        for name, of_study in stored.items()
    }


def check_death(verb: Verb, place: Place, case: int, number: int) -> None:
    """Let a worker die before a write; in every third case, one that goes on dies, too."""
    expected, url = place.undisturbed(verb), place.database()
    assert die(verb, url, number)
    n_deaths = 1 + (case % 3 == 2 and die(verb, url, 1 + case))
    assert verb(url) == expected.returned
    assert content(url) == expected.content
    assert len(evaluated(url)) <= expected.n_evaluated + n_deaths


def check_second(verb: Verb, place: Place, _: int, number: int) -> None:
    """Let a second worker begin before a write of the first one, which then waits for it.

    It waits until the second one has ended, or waits itself.
    """
    expected, url = place.undisturbed(verb), place.database()
    process, connection = workers.begin(workers.work_beside, verb, url, number)
    assert connection.recv() == "waiting"
    answers, sleep = [None], time.sleep

    def let_go_on(seconds: float = 0.0) -> None:
        if answers:
            connection.send(answers.pop())
        sleep(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", let_go_on)
        second = verb(url)
    let_go_on()
    assert second == connection.recv()
    process.join()
    if verb in LEARNING:  # What they propose follows from which trials run, but not how much.
        assert counts(content(url)) == counts(expected.content)
    else:
        assert second == expected.returned
        assert content(url) == expected.content
    if verb in EVALUATING:
        assert len(evaluated(url)) == expected.n_evaluated


@pytest.mark.parametrize(
    ("verb", "n_cases"), [(v, 24) for v in OF_FUNCTIONS] + [(v, 6) for v in OF_NETWORKS]
)
def test_deaths_leave_no_trace(verb: Verb, n_cases: int, place: Place) -> None:
    for case, number in enumerate(numbers_of(place.undisturbed(verb).n_writes, n_cases)):
        check_death(verb, place, case, number)


@pytest.mark.parametrize(
    ("verb", "n_cases"), [(v, 6) for v in OF_FUNCTIONS] + [(v, 2) for v in OF_NETWORKS]
)
def test_a_second_worker_that_begins_at_any_write_changes_nothing(
    verb: Verb, n_cases: int, place: Place
) -> None:
    for case, number in enumerate(numbers_of(place.undisturbed(verb).n_writes, n_cases)):
        check_second(verb, place, case, number)
