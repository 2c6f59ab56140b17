"""Training many initialisations of one network by one compiled graph.

Threads, one for each core, take one training after the other. Not all of them as one array: XLA
chooses the order of sums by the shapes of arrays, so the last bits of a network would depend on
how many are trained beside it. It is also faster: a small network stays in a core's cache.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adnn_optuna._attributes import Metrics
from adnn_optuna._checks import WrongValueError, say_once
from adnn_optuna._differences import BEHAVIOUR
from adnn_optuna.networks._arrays import as_tensor
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import Training, completed
from adnn_optuna.networks.network import EVALUATION_ROWS, Architecture
from adnn_optuna.networks.offsets import Start

if TYPE_CHECKING:
    import tensorflow as tf

    from adnn_optuna.networks._program import Data, Program
    from adnn_optuna.networks._scores import Score

# No call of a compiled function takes much longer, unless one batch does: Ctrl-C, the stop event
# and a deadline must wait for its end.
_SECONDS_BETWEEN_LOOKS = 0.5
# How many rows are scored in the time in which one is trained.
_WORK = 3
# How many row numbers the orders for one call hold at the most, unless one epoch has more: 1 MB.
_ROWS_IN_ORDERS = 2**18
# Of how many trainings the states are held at once, and how much memory they may take.
_AT_ONCE = 8
_BYTES_AT_ONCE = 2**30

Status = Literal["running", "complete", "pruned", "timeout", "stopped", "diverged"]


@dataclasses.dataclass
class Run:
    """What came of one training."""

    history: list[Metrics] = dataclasses.field(default_factory=list)
    """The metrics after each epoch that was evaluated."""
    status: Status = "running"
    """``"pruned"`` where ``after_epoch`` said so, ``"diverged"`` where a loss was not finite."""
    weights: list[np.ndarray] | None = None
    """The variables of the network that came of it, if they were asked for."""
    epochs: int = 0
    """How many epochs were trained to their end."""
    metrics: Metrics = dataclasses.field(default_factory=dict)
    """Those of the network that came of it: of the last epoch, or of that which was restored."""
    seconds: float = 0.0
    """How long it was trained and scored, without the compilation or waiting for others."""


@dataclasses.dataclass
class _UnderWay:
    """A training under way: what came of it so far, and its steps in the next epoch.

    A step trains one batch, or scores a thousand rows once all are trained; the totals are their
    scores, and the state is the values of all variables.
    """

    start: Start
    last_epoch: int
    run: Run = dataclasses.field(default_factory=Run)
    step: int = 0
    totals: list[Score] = dataclasses.field(default_factory=list)
    state: list[tf.Tensor] = dataclasses.field(default_factory=list)
    best_state: list[tf.Tensor] = dataclasses.field(default_factory=list)


class Trainer:
    """Trains initialisations of one network on one dataset, several at a time.

    A training gives the same bits alone and beside any others. The graph is compiled for the first
    one, once in a process for all trainers of the same on data of the same sizes, and uses data in
    place. Several threads may train at once.

    Args:
        architecture: The network.
        training: The training settings.
        dataset: The data, of which a model may take features as they were given: then the
            attribute of this name has them so. Its test set is only for :meth:`evaluate`.

    Raises:
        ValueError: If Keras does not know the optimizer or the loss.
    """

    def __init__(self, architecture: Architecture, training: Training, dataset: Dataset) -> None:
        from adnn_optuna.networks._scores import Scores

        self.architecture = architecture
        training = completed(training, architecture.compiled, architecture.head.default_loss)
        if training.jit_compile == "auto":
            training = dataclasses.replace(training, jit_compile=architecture.suits_xla)
        self.training = training
        is_scaled = dataset.preprocessing.factor != 1
        self.dataset: Dataset = dataset.as_taken(architecture.as_given()) if is_scaled else dataset
        self._orders_epochs = min(max(_ROWS_IN_ORDERS // len(dataset.y_train), 1), training.epochs)
        size = min(training.batch_size, len(dataset.y_train))
        self._n_batches = math.ceil(len(dataset.y_train) / size)
        # The labels of the splits that are scored.
        self._y = {"train": dataset.y_train}
        self._y |= {"val": dataset.y_val} if len(dataset.y_val) else {}
        scored = [math.ceil(len(y) / EVALUATION_ROWS) for y in self._y.values()]
        # The steps of an epoch: of its training, and of scoring each split.
        self._n_steps = np.array([self._n_batches, *scored])
        of_steps = np.repeat([_WORK * size, EVALUATION_ROWS], [self._n_batches, sum(scored)])
        self._work = np.cumsum([0, *of_steps])  # Behind each step, in rows.
        # The least that any call took, as a row's part of it; before the first one, unknown.
        self._seconds_per_row = math.inf
        # Names are checked here, before any training.
        training.build_optimizer()
        scores = Scores(architecture.head, training.loss or "", training.metrics)
        scaling = self.dataset.preprocessing
        has_units = scaling.target_mean and scores.suits_all_units()
        if scaling.target_mean and not (has_units and architecture.gives_any_numbers()):
            say_once(
                "Dataset %r: the targets are learned in your units, as the network's last layers "
                "bound or scale its outputs, or its loss would have another minimum in others.",
                dataset.name,
            )
            scaling = dataclasses.replace(scaling, target_mean=(), target_std=())
            self.dataset = dataclasses.replace(self.dataset, preprocessing=scaling)
        of_test = {} if dataset.num_classes else {"test": dataset.y_test}
        scores.check(self._y | of_test, dataset.classes)
        self.metrics: tuple[str, ...] = tuple(
            f"{split}_{name}" for split in self._y for name in scores.names
        )
        if training.patience is not None and training.monitor not in self.metrics:
            raise WrongValueError(
                f"monitor is {training.monitor!r}, but must be one of {', '.join(self.metrics)}."
            )

    @property
    def config(self) -> dict[str, Any]:
        """Network and training, and what code of the user's in them computes, as JSON holds it."""
        from adnn_optuna.networks.behaviour import behaviour

        found = behaviour(self.architecture, self.training, self.dataset.x_train.shape[1:])
        own = {BEHAVIOUR: found} if found else {}
        return {"model": self.architecture.config, "training": self.training.config, **own}

    @property
    def is_compiled(self) -> bool:
        """Whether the graph is compiled; if not, the first training waits for it."""
        return "_program" in vars(self)

    @property
    def seconds(self) -> float:
        """About how long one training takes, by the fastest part of one; infinite before any."""
        of_epoch, rest = self._work[self._n_batches], self._work[-1] - self._work[self._n_batches]
        return float(self._seconds_per_row * (self.training.epochs * of_epoch + rest))

    @functools.cached_property
    def _program(self) -> Program:
        from adnn_optuna.networks._program import compiled

        return compiled(self.architecture, self.training, self._data[0], self._orders_epochs)

    @functools.cached_property
    def _data(self) -> tuple[list[Data], tf.Tensor]:
        """The splits that it trains on and scores, and the units of the targets."""
        data = self.dataset
        splits = (data.x_train, data.y_train, data.weight_train), (data.x_val, data.y_val)
        units = data.preprocessing.target_units(self.architecture.head.size)
        tensors = [
            tuple(as_tensor(a) for a in split if a is not None)
            for split in splits
            if len(split[0])
        ]
        return tensors, as_tensor(units)

    def train(
        self,
        starts: Sequence[Start],
        *,
        after_epoch: Callable[[int, int, Metrics], bool] | None = None,
        evaluate_each_epoch: bool = True,
        keep_weights: bool = False,
        **limits: Any,
    ) -> list[Run]:
        """Train from each of ``starts``, and return what came of each.

        Args:
            starts: What to train from.
            after_epoch: Called with (index in ``starts``, epoch from 0, metrics) for all trainings
                before any goes on; where it returns :obj:`True`, one that would go on is pruned.
            evaluate_each_epoch: Whether to evaluate not only after the last epoch.
                ``after_epoch`` implies it.
            keep_weights: Whether to return the trained weights.
            **limits: Those of :meth:`train_in_turn`.
        """
        options = {**limits, "after_epoch": after_epoch, "keep_weights": keep_weights}
        runs = dict(self._trained(starts, len(starts), **options, evaluate=evaluate_each_epoch))
        return [runs[i] for i in range(len(starts))]

    def n_at_once(self, *, least: int = 1) -> int:
        """Return how many trainings are best begun at once, as far as the memory allows.

        Fewer would leave cores idle as often as others wait for the last one.
        """
        weights = self.architecture.initial_weights(0, 0)
        # Weights and up to two moments of each, before and after an epoch.
        bytes_of_one = 6 * sum(array.nbytes for array in weights)
        return max(min(_AT_ONCE, _BYTES_AT_ONCE // bytes_of_one), least)

    def train_in_turn(self, starts: Sequence[Start], **limits: Any) -> Iterator[Run]:
        """Train to the end from each of ``starts``, to save memory only some at a time.

        While the caller looks at one, others go on. The ``limits`` are ``stop``, an event, after
        which trainings end within about half a second; ``deadline``, of :func:`time.monotonic`, at
        which they end as soon; ``meanwhile``, called about twice a second of a long training, by
        any thread, with the epochs that it has behind it.
        """
        at_once = self.n_at_once(least=n_cores())
        return (run for _, run in self._trained(starts, at_once, **limits))

    def _trained(
        self,
        starts: Sequence[Start],
        n_at_once: int,
        *,
        stop: threading.Event | None = None,
        deadline: float = math.inf,
        after_epoch: Callable[[int, int, Metrics], bool] | None = None,
        meanwhile: Callable[[float], object] | None = None,
        evaluate: bool = False,
        keep_weights: bool = True,
    ) -> Iterator[tuple[int, Run]]:
        """Train, and yield what came of each as it ends, with its index in ``starts``."""
        self._program  # noqa: B018 - compiled here, where its errors are the caller's.
        # Those that have not ended: no memory is to be held for the others.
        trainings = dict(enumerate(_UnderWay(s, s.epochs or self.training.epochs) for s in starts))
        epochs = max((training.last_epoch for training in trainings.values()), default=0)
        evaluate |= after_epoch is not None or self.training.patience is not None
        abandoned = threading.Event()
        futures: list[Future[None]] = []

        def advance(training: _UnderWay, look: int) -> None:
            began = time.monotonic()
            while training.run.status == "running" and training.run.epochs < look:
                if abandoned.is_set() or (stop is not None and stop.is_set()):
                    training.run.status = "stopped"
                elif (left := deadline - time.monotonic()) <= 0:
                    training.run.status = "timeout"
                else:
                    seconds = min(_SECONDS_BETWEEN_LOOKS, left)
                    self._advance(training, seconds, evaluate=evaluate)
                    if meanwhile is not None and training.step:
                        meanwhile(training.run.epochs + min(training.step / self._n_batches, 1))
            training.run.seconds += time.monotonic() - began

        try:
            for look in (epochs,) if after_epoch is None else range(1, epochs + 1):
                running, futures = [*trainings], []
                for k, i in enumerate(running):
                    for one in map(trainings.__getitem__, running[len(futures) : k + n_at_once]):
                        # In this thread: Keras's settings, such as its policy, are a thread's.
                        one.state = one.state or self._first_state(one.start)
                        futures.append(_threads().submit(advance, one, look))
                    futures[k].result()
                    run = trainings[i].run
                    if (
                        after_epoch is not None
                        and run.status in {"running", "complete"}
                        and after_epoch(i, look - 1, run.history[-1])
                        and run.status == "running"
                    ):
                        run.status = "pruned"
                    if run.status != "running":
                        if keep_weights:
                            weights = self._program.weights(trainings[i].state)
                            run.weights = [values.numpy() for values in weights]
                        del trainings[i]
                        yield i, run
        finally:
            # Where this thread was interrupted, those that train were not. Where memory ran out,
            # the others' is free before the caller tries again.
            abandoned.set()
            wait(futures)

    def _advance(self, training: _UnderWay, seconds: float, *, evaluate: bool) -> None:
        """Train and score by one call of about so many seconds; score if asked to or at the end.

        The call is for whole epochs, a part of one, or a part of its scores.
        """
        from adnn_optuna.networks._program import orders_of

        run, step, budget = training.run, training.step, int(seconds / self._seconds_per_row)
        begin, of_epoch = run.epochs % self._orders_epochs, int(self._work[self._n_batches])
        count = 1
        if step == 0 and not evaluate:
            left = min(self._orders_epochs - begin, training.last_epoch - run.epochs)
            count = min(max(budget // of_epoch, 1), left)
        is_scored = evaluate or run.epochs + count == training.last_epoch
        end = len(self._work) - 1 if is_scored else self._n_batches
        more = (count - 1) * of_epoch
        fits = np.searchsorted(self._work, self._work[step] + budget - more, side="right") - 1
        to = min(max(int(fits), step + 1), end)
        before = np.cumsum(self._n_steps) - self._n_steps
        in_parts = np.clip(np.array([[step], [to]]) - before, 0, self._n_steps)
        bounds = np.array([begin, begin + count, *in_parts.T.ravel()], np.int32)
        start = training.start
        order_seed = start.seed if start.order_seed is None else start.order_seed
        orders = orders_of(
            len(self.dataset.y_train),
            order_seed if self.training.shuffle else None,
            run.epochs - begin,
            self._orders_epochs,
        )
        began = time.monotonic()
        totals = training.totals or [self._program.scores.nothing] * len(self._y)
        training.state, totals = self._program.train(
            *(training.state, self._data, orders, as_tensor(bounds), totals)
        )
        work = more + self._work[to] - self._work[step]
        self._seconds_per_row = min(self._seconds_per_row, (time.monotonic() - began) / work)
        run.epochs += count - (to < end)
        training.step, training.totals = (to, totals) if to < end else (0, [])
        if is_scored and to == end:
            self._note(training, totals)

    def _note(self, training: _UnderWay, totals: Sequence[Score]) -> None:
        """Note what an epoch came to, and whether it was the last one."""
        metrics: Metrics = {}
        for (split, y), of_split in zip(self._y.items(), totals, strict=True):
            metrics |= self._program.scores.results(split, of_split, y)
        run, settings = training.run, self.training
        run.metrics = metrics
        run.history.append(metrics)
        if not is_finite(metrics):
            run.status = "diverged"
        elif run.epochs == training.last_epoch:
            run.status = "complete"
        if settings.patience is None:
            return
        best = settings.best_epoch(run.history)
        n_waited = len(run.history) - 1 - best
        if n_waited == 0:
            training.best_state = training.state
        elif run.status == "running" and n_waited >= settings.patience:
            run.status = "complete"
        if settings.restore_best_weights and run.status == "complete":
            run.metrics, training.state = run.history[best], training.best_state

    def _first_state(self, start: Start) -> list[tf.Tensor]:
        rate = start.learning_rate or self.training.fixed_learning_rate
        return self._program.first_state(self.initial_weights(start), rate)

    def initial_weights(self, start: Start) -> list[np.ndarray]:
        """Return what a training starts from, the offsets added in float32."""
        weights = self.architecture.initial_weights(start.seed, start.restart)
        return [
            (w + np.float32(offset)).astype(w.dtype) if offset else w
            for w, offset in zip(weights, start.offsets, strict=True)
        ]

    def evaluate(self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the scores of a trained network on (x, y): of classes, which it gets right."""
        return self.architecture.head.scores(self.outputs(weights, x), y)

    def outputs(self, weights: Sequence[np.ndarray], x: np.ndarray) -> np.ndarray:
        """Return the outputs of a trained network for x, float32 of shape (n, outputs).

        Those of a regression are in the user's units.
        """
        mean, std = self.dataset.preprocessing.target_units(self.architecture.head.size)
        outputs = self._program.outputs([*map(as_tensor, weights)], as_tensor(x))
        return np.asarray(outputs * std + mean)


def is_finite(metrics: Metrics) -> bool:
    """Return whether a training has not diverged: even then it has accuracies."""
    return all(math.isfinite(value) for value in metrics.values())


def n_cores() -> int:
    """Return how many cores this process may use."""
    of_machine = os.cpu_count() or 1  # macOS and Windows do not tell of the process.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else of_machine


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_cores(), thread_name_prefix="training")
