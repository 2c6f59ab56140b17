"""The index protocol as an executable specification: up to 1,000 workers, slow calls and failures.

Workers share a list of trials, as ``docs/how/indices.md`` describes. Each call of the storage
takes a random time, half of it before its effect and half of it after, so a worker may read an old
state. With failures, a fifth of the workers die and are replaced. Another fifth are suspended
until other workers take them for dead, and the storage is away for a minute. The simulation takes
ten minutes. If it is stopped, the next run continues it.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import itertools
import json
import random
import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

from _common import TRIED, Results, Study, markdown_table, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

Wait = float  # The seconds until a worker continues.

TRIALS_OF_EACH = 5
SECONDS_OF_TRAINING = 30.0
# After this time without a heartbeat, the next worker that reads takes a worker for dead.
SECONDS_UNTIL_MISSED = 120.0
SECONDS_AWAY = 60.0
WORKERS = (10, 100, 1000)
LATENCIES = (0.002, 0.05, 0.5)  # Mean latencies, in seconds.
REPETITIONS = 20
SEEDS_OF = {1000: 3}  # Other numbers of workers have REPETITIONS seeds.
# Two rules of the protocol; some runs omit one of them to show its effect. The rules are to read
# the trials again after writing an index, and to end a dead worker's trial before taking its
# index.
RULES = ("look again", "end the dead")


class Trial(NamedTuple):
    """A running trial."""

    number: int
    owner: int
    index: int | None = None


@dataclasses.dataclass
class World:
    """The storage, the clock and the counters of one simulation."""

    rng: random.Random
    rules: frozenset[str]
    latency: float
    fails: bool
    n_trials: int
    now: float = 0.0
    away: tuple[float, float] = (0.0, 0.0)
    n_begun: int = 0
    running: dict[int, Trial] = dataclasses.field(default_factory=dict)
    results: set[int | None] = dataclasses.field(default_factory=set)
    results_of: dict[int, int | None] = dataclasses.field(default_factory=dict)
    last_sign: dict[int, float] = dataclasses.field(default_factory=dict)
    reads: int = 0
    given_back: int = 0
    seconds_to_begin: list[float] = dataclasses.field(default_factory=list)

    def half_a_call(self) -> Wait:
        """Return the seconds of a request or of its answer, including the time without storage."""
        began, ended = self.away
        waiting = max(ended - self.now, 0.0) if self.now >= began else 0.0
        return waiting + self.rng.expovariate(2 / self.latency)

    def write(self, number: int, index: int | None) -> bool:
        """Give a trial an index if it is running; return whether it was running."""
        if is_running := number in self.running:
            self.running[number] = self.running[number]._replace(index=index)
        return is_running

    def end(self, number: int, state: str) -> bool:
        """End a trial in one transaction if it is running; return whether it was running."""
        trial = self.running.pop(number, None)
        if trial is not None and state == "COMPLETE":
            self.results.add(trial.index)
            self.results_of[number] = trial.index
        return trial is not None

    def is_missed(self, worker: int) -> bool:
        """Return whether a worker's last heartbeat is so old that the worker is taken for dead."""
        return self.now - self.last_sign[worker] > SECONDS_UNTIL_MISSED


@dataclasses.dataclass
class Found:
    """The trials that a worker has read: the indices of all results, and live trials by number."""

    results: set[int | None] = dataclasses.field(default_factory=set)
    live: dict[int, Trial] = dataclasses.field(default_factory=dict)

    def taken(self, own: int) -> set[int | None]:
        """Return the indices of results and of other live trials."""
        return self.results.union(t.index for t in self.live.values() if t.number != own)

    def without_index(self, own: int) -> int:
        """Return the number of other live trials without an index."""
        return sum(t.index is None for t in self.live.values() if t.number != own)


def read(world: World, found: Found) -> Iterator[Wait]:
    """Read all trials and end those of dead workers.

    A trial may have ended after the read, so the storage decides whether it is still running.
    """
    yield world.half_a_call()
    world.reads += 1
    found.results, found.live = set(world.results), dict(world.running)
    yield world.half_a_call()
    for trial in [t for t in found.live.values() if world.is_missed(t.owner)]:
        del found.live[trial.number]
        if "end the dead" in world.rules:
            yield world.half_a_call()
            if not world.end(trial.number, "FAIL") and trial.number in world.results_of:
                found.results.add(world.results_of[trial.number])
            yield world.half_a_call()


def take_an_index(world: World, own: int) -> Iterator[Wait]:
    """Choose a free index, write it, and read again. Repeat if another trial has the index."""
    found = Found()
    has_given_way = False
    while True:
        yield from read(world, found)
        taken, without_index = found.taken(own), found.without_index(own)
        free = (index for index in itertools.count() if index not in taken)
        first = [*itertools.islice(free, without_index + 1 if has_given_way else 1)]
        index = world.rng.choice(first)
        yield world.half_a_call()
        if not world.write(own, index):
            return  # Another worker took this worker for dead and ended its trial.
        yield world.half_a_call()
        if "look again" not in world.rules:
            return
        yield from read(world, found)
        if index not in found.taken(own):
            return
        has_given_way = True
        world.given_back += 1
        yield world.half_a_call()
        world.write(own, None)
        yield world.half_a_call()


def worker(world: World, name: int) -> Iterator[Wait]:
    """Run trials until there are enough results."""
    while len(world.results_of) < world.n_trials:
        began = world.now
        yield world.half_a_call()
        own = world.n_begun
        world.n_begun += 1
        world.running[own] = Trial(own, name)
        yield world.half_a_call()
        yield from take_an_index(world, own)
        world.seconds_to_begin.append(world.now - began)
        yield world.rng.expovariate(1 / SECONDS_OF_TRAINING)
        yield world.half_a_call()
        world.end(own, "COMPLETE")
        yield world.half_a_call()


def run(n_workers: int, latency: float, seed: int, *, fails: bool, rules: frozenset[str]) -> World:
    """Simulate workers that all start in one second."""
    rng = random.Random(f"{n_workers} {latency} {fails} {seed}")  # noqa: S311
    world = World(rng, rules, latency, fails, n_workers * TRIALS_OF_EACH)
    end = SECONDS_OF_TRAINING * TRIALS_OF_EACH
    if fails:
        began = rng.uniform(0, end / 2)
        world.away = began, began + SECONDS_AWAY
    jobs: dict[int, Iterator[Wait]] = {}
    queue: list[tuple[float, int]] = []
    fates: dict[int, tuple[str, float]] = {}

    def start(name: int, moment: float) -> None:
        jobs[name] = worker(world, name)
        heapq.heappush(queue, (moment, name))
        if fails and name < n_workers and (fate := rng.choice(("die", "sleep", "", "", ""))):
            fates[name] = fate, rng.uniform(0, end / 2)

    for name in range(n_workers):
        start(name, rng.random())
    n_started = n_workers
    while queue:
        world.now, name = heapq.heappop(queue)
        fate, moment = fates.get(name, ("", 0.0))
        if fate and world.now >= moment:
            del fates[name]
            if fate == "die":
                del jobs[name]
                start(n_started, world.now)
                n_started += 1
            else:  # The worker wakes up after other workers took it for dead.
                heapq.heappush(queue, (world.now + 2 * SECONDS_UNTIL_MISSED, name))
            continue
        wait = next(jobs[name], None)
        if wait is not None:
            # A waiting worker sends heartbeats during each kind of wait.
            world.last_sign[name] = world.now + wait
            heapq.heappush(queue, (world.now + wait, name))
    return world


def summary_of(worlds: list[World]) -> Results:
    """Return the counters, summed up over all repetitions."""
    seconds = sorted(itertools.chain(*(world.seconds_to_begin for world in worlds)))
    n_trials = sum(world.n_begun for world in worlds)
    return {
        "repetitions": len(worlds),
        "results": sum(len(world.results_of) for world in worlds),
        "twice": sum(len(world.results_of) - len(world.results) for world in worlds),
        "given_back": sum(world.given_back for world in worlds) / n_trials,
        "reads": sum(world.reads for world in worlds) / n_trials,
        "seconds_to_begin": {
            "median": statistics.median(seconds),
            "p95": seconds[int(0.95 * len(seconds))],
            "max": seconds[-1],
        },
    }


def cell(
    workers: int, latency: float, *, fails: bool, without: str = "", repetitions: int = 0
) -> Results:
    """Return the results of one setting."""
    rules = frozenset(RULES) - {without}
    seeds = range(repetitions or SEEDS_OF.get(workers, REPETITIONS))
    worlds = [run(workers, latency, seed, fails=fails, rules=rules) for seed in seeds]
    setting = {"workers": workers, "latency": latency, "fails": fails, "without": without}
    return {**setting, **summary_of(worlds)}


def summary(results: Results) -> str:
    """Return the table."""
    rows = []
    omitted = {
        "": "",
        "look again": ", without reading again",
        "end the dead": ", without setting dead trials to FAIL",
    }
    for row in results["cells"]:
        seconds = row["seconds_to_begin"]
        n_done = f"{row['results'] // row['repetitions']:,}"
        what = "yes" if row["fails"] else "no"
        rows.append(
            [
                f"{row['workers']:,}{omitted[row['without']]}",
                f"{1000 * row['latency']:g} ms",
                what,
                f"{row['repetitions']} × {n_done}",
                f"{row['twice']:,}",
                f"{row['given_back']:.2f}",
                f"{row['reads']:.1f}",
                *(f"{seconds[name]:.2f}" for name in ("median", "p95", "max")),
            ]
        )
    head = ["workers", "latency", "failures", "runs × results", "held twice", "released"]
    return markdown_table([*head, "reads", "median [s]", "95% quantile [s]", "maximum [s]"], rows)


STUDY = Study("index_protocol", lambda _: {}, summary)


def known_after(results: Results, known: list[Results]) -> list[Results]:
    """Return the known cells that are missing in the results."""
    return [found for found in known if found not in results["cells"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few workers, in build/studies")
    quick = parser.parse_args().quick
    TRIED.mkdir(parents=True, exist_ok=True)
    few = 3 if quick else 0
    settings: list[dict[str, Any]] = [
        {"workers": n_workers, "latency": latency, "fails": fails, "without": ""}
        for n_workers in (WORKERS[:1] if quick else WORKERS)
        for latency in LATENCIES
        for fails in (False, True)
    ]
    of_rules = {"workers": WORKERS[0 if quick else 1], "latency": LATENCIES[1], "fails": True}
    settings += [{**of_rules, "without": rule} for rule in RULES]
    file = TRIED / "index_protocol.json" if quick else STUDY.results_file
    known = json.loads(file.read_text("utf-8"))["cells"] if file.exists() else []
    results: Results = {"command": "python studies/index_protocol.py", "cells": []}
    for setting in settings:
        same = [found for found in known if setting.items() <= found.items()]
        results["cells"] += same or [cell(**setting, repetitions=few)]
        write_json(file, {**results, "cells": results["cells"] + known_after(results, known)})
    print(summary(results))


if __name__ == "__main__":
    main()
