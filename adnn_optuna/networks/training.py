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
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adnn_optuna._attributes import Metrics
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import BEHAVIOUR
from adnn_optuna.networks import scaling
from adnn_optuna.networks._arrays import as_tensor
from adnn_optuna.networks._tensorflow import check_not_forked
from adnn_optuna.networks._threads import THREADS
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import Training, completed
from adnn_optuna.networks.network import EVALUATION_ROWS, Architecture
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.scaling import Scaling

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
class TrainingRun:
    """What came of one training."""

    history: list[Metrics] = dataclasses.field(default_factory=list)  # Of epochs that were scored.
    status: Status = "running"
    weights: list[np.ndarray] | None = None  # The network's variables, if they were asked for.
    epochs: int = 0  # How many were trained to their end.
    # Those of the network that came of it: of the last epoch, or of that which was restored.
    metrics: Metrics = dataclasses.field(default_factory=dict)
    seconds: float = 0.0  # Trained and scored, without the compilation or waiting for others.


@dataclasses.dataclass
class TrainingState:
    """A training under way: what came of it so far, and its steps in the next epoch.

    A step trains one batch, or scores a thousand rows once all are trained; the totals are their
    scores, and the state is the values of all variables.
    """

    start: Start
    last_epoch: int
    is_scored: bool  # After each epoch, not only after the last one.
    keeps_weights: bool
    run: TrainingRun = dataclasses.field(default_factory=TrainingRun)
    step: int = 0
    totals: Sequence[Score] = ()
    state: Sequence[tf.Tensor] = ()
    best_state: Sequence[tf.Tensor] = ()


class Trainer:
    """Trains initialisations of one network on one dataset, several at a time.

    A training gives the same bits alone and beside any others. The graph is compiled for the first
    one, once in a process for all trainers of the same on data of the same sizes, and uses data in
    place. Several threads may train at once. The test set is only for :meth:`tested`, which judges
    a network by the metric ``judge``: by default the accuracy, or R².
    """

    def __init__(
        self,
        architecture: Architecture,
        training: Training,
        dataset: Dataset,
        judge: str | None = None,
    ) -> None:
        from adnn_optuna.networks._scores import Scores

        head = dataclasses.replace(architecture.head, positive=dataset.positive_number)
        architecture = dataclasses.replace(architecture, head=head)
        self.architecture: Architecture = architecture
        self.judge: str = judge or head.score
        training = completed(training, architecture.compiled, architecture.head.default_loss)
        if training.jit_compile == "auto":
            training = dataclasses.replace(training, jit_compile=architecture.suits_xla)
        self.training = training
        self.dataset: Dataset = dataset
        self.scaling: Scaling = scaling.fitted(dataset, architecture.scale)
        self._orders_epochs = min(max(_ROWS_IN_ORDERS // len(dataset.y_train), 1), training.epochs)
        size = min(training.batch_size, len(dataset.y_train))
        self._n_batches = math.ceil(len(dataset.y_train) / size)
        # The labels of the splits that are scored.
        splits = {"train": dataset.y_train, "val": dataset.y_val}
        self._y = {split: y for split, y in splits.items() if len(y)}
        scored = [math.ceil(len(y) / EVALUATION_ROWS) for y in self._y.values()]
        # The steps of an epoch: of its training, and of scoring each split.
        self._n_steps = np.array([self._n_batches, *scored])
        of_steps = np.repeat([_WORK * size, EVALUATION_ROWS], [self._n_batches, sum(scored)])
        self._work = np.cumsum([0, *of_steps])  # Behind each step, in rows.
        self._seconds_per_row = math.inf  # Of the fastest call; before the first one, unknown.
        training.build_optimizer()  # Names are checked here, before any training.
        scores = Scores(architecture.head, training.loss or "", training.metrics)
        self.scores: Scores = scores
        scores.check(self._y | {"test": dataset.y_test}, dataset.classes)
        # Whether the metric by which networks are judged is of one of two classes.
        self.is_of_positive: bool = self.judge in scores.of_positive
        metrics = (f"{split}_{name}" for split in self._y for name in scores.names)
        self.metrics: tuple[str, ...] = (*metrics,)
        if training.patience is not None and training.monitor not in self.metrics:
            raise WrongValueError(
                f"monitor is {training.monitor!r}, but must be one of {', '.join(self.metrics)}."
            )

    @property
    def config(self) -> dict[str, Any]:
        """Network and training, and what code of the user's in them computes, as JSON holds it."""
        from adnn_optuna.networks.behaviour import behaviour

        found = behaviour(self.architecture, self.training)
        config = {"model": self.architecture.config, "training": self.training.config}
        return {**config, BEHAVIOUR: found} if found else config

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
        tensors = []
        for split, y in self._y.items():
            arrays = [scaling.scaled_inputs(data, split, self.scaling), y]
            if split == "train" and data.weight_train is not None:
                arrays.append(data.weight_train)
            tensors.append((*map(as_tensor, arrays),))
        return tensors, as_tensor(self.scaling.target_units)

    def train(self, starts: Sequence[Start], **options: Any) -> list[TrainingRun]:
        """Train from each of ``starts``, and return what came of each; see :meth:`train_in_turn`.

        Each epoch is evaluated, and the weights are left out, unless ``options`` say otherwise.
        """
        options = {"evaluate_each_epoch": True, "keep_weights": False, **options}
        return [*self.train_in_turn(starts, **options)]

    def n_at_once(self, *, least: int = 1) -> int:
        """Return how many trainings are best begun at once, as far as the memory allows.

        Fewer would leave cores idle as often as others wait for the last one.
        """
        weights = self.architecture.initial_weights(0, 0)
        # Weights and up to two moments of each, before and after an epoch.
        bytes_of_one = 6 * sum(array.nbytes for array in weights)
        return max(min(_AT_ONCE, _BYTES_AT_ONCE // bytes_of_one), least)

    def train_in_turn(
        self,
        starts: Sequence[Start],
        *,
        stop: threading.Event | None = None,
        deadline: float = math.inf,
        meanwhile: Callable[[float], object] | None = None,
        after_epoch: Callable[[int, int, Metrics], bool] | None = None,
        evaluate_each_epoch: bool = False,
        keep_weights: bool = True,
    ) -> Iterator[TrainingRun]:
        """Yield what came of a training from each of ``starts``, in their order.

        Only some train at a time, to save memory; while the caller looks at one, others go on.
        After ``stop`` is set, or at the ``deadline`` of :func:`time.monotonic`, trainings end
        within about half a second. ``meanwhile`` is called about twice a second of a long
        training, by any thread, with the epochs that it has behind it. ``after_epoch`` is called
        with (index in ``starts``, epoch from 0, metrics) for all trainings before any goes on;
        where it returns :obj:`True`, one that would go on is pruned.
        """
        check_not_forked()
        self._program  # noqa: B018 - compiled here, where its errors are the caller's.
        settings, n_at_once = self.training, self.n_at_once(least=n_cores())
        is_each = evaluate_each_epoch or after_epoch is not None or settings.patience is not None
        trainings = {
            i: TrainingState(start, start.epochs or settings.epochs, is_each, keep_weights)
            for i, start in enumerate(starts)
        }
        epochs = max((training.last_epoch for training in trainings.values()), default=0)
        abandoned, futures = threading.Event(), list[Future[None]]()
        stops = [abandoned] if stop is None else [abandoned, stop]
        go_on = functools.partial(self._go_on, stops, deadline, meanwhile)
        threads = THREADS.begin_use(n_cores())
        try:
            for look in (epochs,) if after_epoch is None else range(1, epochs + 1):
                futures = []
                for i in range(len(starts)):
                    for k in range(len(futures), min(i + n_at_once, len(starts))):
                        if trainings[k].run.status == "running":
                            # In this thread: Keras's settings, such as its policy, are a thread's.
                            trainings[k].state = trainings[k].state or self._first_state(starts[k])
                        futures.append(threads.submit(go_on, trainings[k], look))
                    futures[i].result()
                    run = trainings[i].run
                    if after_epoch is not None and run.epochs == look and run.status != "diverged":
                        is_enough = after_epoch(i, look - 1, run.history[-1])
                        if is_enough and run.status == "running":
                            run.status = "pruned"
                    if look == epochs:
                        del trainings[i]
                        yield run
        finally:
            # Where this thread was interrupted, those that train were not. Where memory ran out,
            # the others' is free before the caller tries again.
            abandoned.set()
            wait(futures)
            THREADS.end_use()

    def _go_on(
        self,
        stops: Sequence[threading.Event],
        deadline: float,
        meanwhile: Callable[[float], object] | None,
        training: TrainingState,
        epochs: int,
    ) -> None:
        """Train until there are so many epochs; free the memory of a training that has ended."""
        began, run = time.monotonic(), training.run
        while run.status == "running" and run.epochs < epochs:
            if any(stop.is_set() for stop in stops):
                run.status = "stopped"
            elif (left := deadline - time.monotonic()) <= 0:
                run.status = "timeout"
            else:
                self._advance(training, min(_SECONDS_BETWEEN_LOOKS, left))
                if meanwhile is not None and training.step:
                    meanwhile(run.epochs + min(training.step / self._n_batches, 1))
        run.seconds += time.monotonic() - began
        if run.status != "running" and training.state:
            if training.keeps_weights:
                run.weights = [values.numpy() for values in self._program.weights(training.state)]
            training.state = training.best_state = ()

    def _advance(self, training: TrainingState, seconds: float) -> None:
        """Train or score by one call of about so many seconds.

        The call is for whole epochs, a part of one, or a part of its scores.
        """
        from adnn_optuna.networks._program import orders_of

        run, step, budget = training.run, training.step, int(seconds / self._seconds_per_row)
        begin, of_epoch = run.epochs % self._orders_epochs, int(self._work[self._n_batches])
        count = 1
        if step == 0 and not training.is_scored:
            left = min(self._orders_epochs - begin, training.last_epoch - run.epochs)
            count = min(max(budget // of_epoch, 1), left)
        is_scored = training.is_scored or run.epochs + count == training.last_epoch
        end = len(self._work) - 1 if is_scored else self._n_batches
        more = (count - 1) * of_epoch
        fits = np.searchsorted(self._work, self._work[step] + budget - more, side="right") - 1
        to = min(max(int(fits), step + 1), end)
        before = np.cumsum(self._n_steps) - self._n_steps
        in_parts = np.clip(np.array([[step], [to]]) - before, 0, self._n_steps)
        bounds = np.array([begin, begin + count, *in_parts.T.ravel()], np.int32)
        start = training.start
        seed = start.seed if start.order_seed is None else start.order_seed
        seed_or_none = seed if self.training.shuffle else None
        n_rows, first = len(self.dataset.y_train), run.epochs - begin
        orders = orders_of(n_rows, seed_or_none, first, self._orders_epochs)
        began = time.monotonic()
        totals = training.totals or [self._program.scores.nothing] * len(self._y)
        training.state, totals = self._program.train(
            *(training.state, self._data, orders, as_tensor(bounds), totals)
        )
        work = more + self._work[to] - self._work[step]
        self._seconds_per_row = min(self._seconds_per_row, (time.monotonic() - began) / work)
        run.epochs += count - (to < end)
        training.step, training.totals = (to, totals) if to < end else (0, ())
        if is_scored and to == end:
            self._note(training, totals)

    def _note(self, training: TrainingState, totals: Sequence[Score]) -> None:
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

    def tested(
        self, weights: Sequence[np.ndarray], split: Literal["val", "test"] = "test"
    ) -> tuple[Metrics, np.ndarray]:
        """Return the metrics of a trained network on a split, by default the test set.

        Return the scores of its examples, too.
        """
        x, y = (getattr(self.dataset, f"{kind}_{split}") for kind in "xy")
        outputs, own_loss = self.outputs_and_loss(weights, x)
        return self.scores.tested(self.judge, outputs, y, own_loss)

    def outputs(self, weights: Sequence[np.ndarray], x: np.ndarray) -> np.ndarray:
        """Return the outputs of a trained network for x, of shape (n, outputs).

        They are float32; of a network that scales targets float64, in the user's units.
        """
        return self.outputs_and_loss(weights, x)[0]

    def outputs_and_loss(
        self, weights: Sequence[np.ndarray], x: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return the outputs for x, and the mean of what the network's layers add to the loss."""
        check_not_forked()
        scaled = as_tensor(self.scaling.inputs(x))
        outputs, own_loss = self._program.outputs([*map(as_tensor, weights)], scaled)
        if not self.scaling.target_mean:
            return outputs, own_loss
        mean, std = self.scaling.target_units
        return np.asarray(outputs * std + mean), own_loss


def is_finite(metrics: Metrics) -> bool:
    """Return whether a training has not diverged: even then it has accuracies."""
    return all(math.isfinite(value) for value in metrics.values())


def n_cores() -> int:
    """Return how many cores this process may use."""
    of_machine = os.cpu_count() or 1  # macOS and Windows do not tell of the process.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else of_machine
