"""Train many initializations of one network with one compiled graph.

There is one thread for each core, and each thread trains one network at a time. If one array
contained all networks, XLA would choose the order of sums by the number of networks, so the last
bits would depend on this number. Threads are also faster, because a small network stays in a
core's cache.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adnn_optuna._attributes import Json, Metrics, Status
from adnn_optuna._checks import check_choice, n_cores
from adnn_optuna._differences import BEHAVIOUR
from adnn_optuna.networks import scaling
from adnn_optuna.networks._arrays import as_tensor
from adnn_optuna.networks._tensorflow import check_not_forked
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import Training, completed
from adnn_optuna.networks.network import EVALUATION_ROWS, Architecture, Weights
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.scaling import Scaling

if TYPE_CHECKING:
    import tensorflow as tf

    from adnn_optuna.networks._program import Data, Program
    from adnn_optuna.networks._scores import Score

# A call of a compiled function takes about these seconds, unless one batch takes longer. Ctrl-C,
# the stop event and a deadline wait for the end of the call.
_SECONDS_BETWEEN_LOOKS = 0.5
# Scoring this number of rows takes as long as training on one row.
_WORK = 3
# The orders of rows for one call have at most this many row numbers (1 MB), unless one epoch has
# more.
_ROWS_IN_ORDERS = 2**18
# At most this number of training runs are in memory at once, and their states have at most this
# number of bytes.
_AT_ONCE = 8
_BYTES_AT_ONCE = 2**30


@dataclasses.dataclass
class TrainingRun:
    """The result of one training run."""

    # The metrics of each epoch that was scored.
    history: list[Metrics] = dataclasses.field(default_factory=list)
    status: Status = "running"
    # The values of the network's variables, or empty unless they were requested.
    weights: list[np.ndarray] = dataclasses.field(default_factory=list)
    epochs: int = 0  # The number of completed epochs.
    # The metrics of the last epoch, or of the epoch whose weights were restored.
    metrics: Metrics = dataclasses.field(default_factory=dict)
    # The scores of the validation examples in the same epoch, if the judging metric is their mean.
    examples: np.ndarray | None = None
    seconds: float = 0.0  # The time of training and scoring, without compilation and waiting.


@dataclasses.dataclass
class TrainingState:
    """An unfinished training run: its result so far, and its steps in the next epoch.

    A step trains on one batch or, after all batches, scores a thousand rows.
    """

    start: Start
    last_epoch: int
    is_scored: bool  # Whether each epoch is scored, instead of the last epoch only.
    keeps_weights: bool
    run: TrainingRun = dataclasses.field(default_factory=TrainingRun)
    step: int = 0
    totals: Sequence[Score] = ()  # The scores of the rows so far.
    variables: Sequence[tf.Tensor] = ()  # The values of all variables.
    best_variables: Sequence[tf.Tensor] = ()
    best_examples: np.ndarray | None = None


class _Part(NamedTuple):
    """The part of a training run that one call makes: some epochs, or some steps of an epoch."""

    first_epoch: int  # Counted from the first epoch of the orders.
    n_epochs: int
    first_step: int  # In the first epoch.
    end_step: int  # In the last epoch.
    ends_epoch: bool  # Whether no step of the last epoch is left.


class Trainer:
    """Trains many initializations of one network on one dataset, several at a time.

    A training run has the same bits alone and beside other runs. In a process, trainers of equal
    networks on data of equal sizes share one compiled graph. Several threads may train at once.
    Only :meth:`tested` uses the test set. It judges a network by the metric ``judge``, by default
    the accuracy or R².
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
        training = completed(training, architecture.compiled, head.default_loss)
        if training.jit_compile == "auto":
            training = dataclasses.replace(training, jit_compile=architecture.suits_xla)
        self.training = training
        self.dataset: Dataset = dataset
        self.scaling: Scaling = scaling.fitted(dataset, architecture.scale)
        # The labels of the splits that are scored.
        splits = {"train": dataset.y_train, "val": dataset.y_val}
        self._y = {split: y for split, y in splits.items() if len(y)}
        self.scores: Scores = Scores(head, training.loss, training.metrics)
        self.scores.check(self._y | {"test": dataset.y_test}, dataset.classes)
        # Whether the judging metric is about the positive class of two classes.
        self.is_of_positive: bool = self.judge in self.scores.of_positive
        names = (f"{split}_{name}" for split in self._y for name in self.scores.names)
        self.metrics: tuple[str, ...] = tuple(names)
        if training.patience is not None:
            check_choice("monitor", training.monitor, self.metrics)

        n_rows = len(dataset.y_train)
        self._epochs_in_orders = min(max(_ROWS_IN_ORDERS // n_rows, 1), training.epochs)
        batch_size = min(training.batch_size, n_rows)
        self._n_batches = math.ceil(n_rows / batch_size)
        n_scored = [math.ceil(len(y) / EVALUATION_ROWS) for y in self._y.values()]
        # The numbers of steps in an epoch: for training, then for scoring each split.
        self._n_steps = np.array([self._n_batches, *n_scored])
        work_of_step = [_WORK * batch_size, EVALUATION_ROWS]
        work_of_steps = np.repeat(work_of_step, [self._n_batches, sum(n_scored)])
        # The work of an epoch before each step and after the last. The unit is a scored row.
        self._work = np.cumsum([0, *work_of_steps])
        # The work of an epoch that is not scored.
        self._work_of_epoch = int(self._work[self._n_batches])
        # The seconds of a unit of work in the fastest call, or infinity before the first call.
        self._seconds_of_unit = math.inf

    @property
    def config(self) -> Json:
        """The network, the training, and sketches of their user-defined code, as JSON."""
        from adnn_optuna.networks.behaviour import behaviour

        sketches = behaviour(self.architecture, self.training)
        config = {"model": self.architecture.config, "training": self.training.config}
        if sketches:
            return {**config, BEHAVIOUR: sketches}
        return config

    @property
    def is_compiled(self) -> bool:
        """Whether the graph is compiled. If not, the first training run waits for it."""
        return "_program" in vars(self)

    @functools.cached_property
    def _program(self) -> Program:
        from adnn_optuna.networks._program import compiled

        splits, _ = self._data
        program = compiled(
            self.architecture, self.training, splits, self._epochs_in_orders, self.judge
        )
        # The outputs are compiled now, so that the time limit includes their compilation.
        program.compile_outputs(len(self.dataset.y_test), splits[0][0])
        return program

    @functools.cached_property
    def _data(self) -> tuple[list[Data], tf.Tensor]:
        data = self.dataset
        tensors = []
        for split, y in self._y.items():
            arrays = [scaling.scaled_inputs(data, split, self.scaling), y]
            if split == "train" and data.weight_train is not None:
                arrays.append(data.weight_train)
            tensors.append((*map(as_tensor, arrays),))
        return tensors, as_tensor(self.scaling.target_units)

    def train(self, starts: Sequence[Start], **options: Any) -> list[TrainingRun]:
        """Train from each of ``starts``, without keeping weights. See :meth:`train_in_turn`."""
        return [*self.train_in_turn(starts, **{"keep_weights": False, **options})]

    def n_at_once(self, *, least: int = 1) -> int:
        """Return the number of training runs to begin at once, limited by memory.

        Results are used in order. With fewer runs, some cores would be idle while the next result
        is missing.
        """
        weights = self.architecture.initial_weights(0, 0)
        # The weights and up to two moments of each weight, before and after an epoch.
        bytes_of_one = 6 * sum(array.nbytes for array in weights)
        return max(min(_AT_ONCE, _BYTES_AT_ONCE // bytes_of_one), least)

    def train_in_turn(
        self,
        starts: Sequence[Start],
        *,
        stop: threading.Event | None = None,
        deadline: float = math.inf,
        after_epoch: Callable[[int, int, Metrics], bool] | None = None,
        evaluate_each_epoch: bool = False,
        keep_weights: bool = True,
    ) -> Iterator[TrainingRun]:
        """Yield the result of a training run for each of ``starts``, in their order.

        To save memory, only some runs train at a time. They continue while the caller uses a
        result. After ``stop`` is set, or at the ``deadline`` of :func:`time.monotonic`, all runs
        end within about half a second. After each epoch, ``after_epoch`` is called with (index in
        ``starts``, epoch from 0, metrics) for all runs, before the next epoch of any run begins.
        If it returns :obj:`True`, the run is pruned.
        """
        check_not_forked()
        self._program  # noqa: B018 - compiled here, so that the caller gets its errors.
        settings = self.training
        n_at_once = self.n_at_once(least=n_cores())
        is_scored = evaluate_each_epoch or after_epoch is not None or settings.patience is not None
        states = {
            i: TrainingState(start, start.epochs or settings.epochs, is_scored, keep_weights)
            for i, start in enumerate(starts)
        }
        last_epoch = max((state.last_epoch for state in states.values()), default=0)
        checkpoints: Sequence[int] = [last_epoch]
        if after_epoch is not None:
            checkpoints = range(1, last_epoch + 1)
        abandoned = threading.Event()
        futures = list[Future[None]]()
        stops = [abandoned] if stop is None else [abandoned, stop]
        go_on = functools.partial(self._go_on, stops, deadline)
        try:
            for checkpoint in checkpoints:
                futures = []
                for i in range(len(starts)):
                    while len(futures) < min(i + n_at_once, len(starts)):
                        state = states[len(futures)]
                        if state.run.status == "running" and not state.variables:
                            # This thread has the user's Keras dtype policy, so the variables are
                            # made here.
                            state.variables = self._first_variables(state.start)
                        futures.append(_threads().submit(go_on, state, checkpoint))
                    futures[i].result()
                    run = states[i].run
                    is_new = run.epochs == checkpoint and run.status != "diverged"
                    if after_epoch is not None and is_new:
                        is_enough = after_epoch(i, checkpoint - 1, run.history[-1])
                        if is_enough and run.status == "running":
                            run.status = "pruned"
                    if checkpoint == last_epoch:
                        del states[i]
                        yield run
        finally:
            # An interrupt stops only this thread, so the others are stopped here. If memory was
            # too small, this also frees their memory before the caller tries again.
            abandoned.set()
            wait(futures)

    def _go_on(
        self,
        stops: Sequence[threading.Event],
        deadline: float,
        training: TrainingState,
        epochs: int,
    ) -> None:
        """Train until the run has this number of epochs. If the run has ended, free its memory."""
        began = time.monotonic()
        run = training.run
        while run.status == "running" and run.epochs < epochs:
            if any(stop.is_set() for stop in stops):
                run.status = "stopped"
            elif (seconds_left := deadline - time.monotonic()) <= 0:
                run.status = "timeout"
            else:
                self._advance(training, min(_SECONDS_BETWEEN_LOOKS, seconds_left))
        run.seconds += time.monotonic() - began
        if run.status != "running" and training.variables:
            if training.keeps_weights:
                weights = self._program.weights(training.variables)
                run.weights = [values.numpy() for values in weights]
            training.variables = training.best_variables = ()

    def _advance(self, training: TrainingState, seconds: float) -> None:
        """Train or score whole epochs, or a part of an epoch, in one call of about ``seconds``."""
        run = training.run
        part = self._next_part(training, int(seconds / self._seconds_of_unit))
        orders = self._orders(training.start, run.epochs - part.first_epoch)
        bounds = as_tensor(self._bounds(part))
        totals = training.totals or self._program.empty_totals
        began = time.monotonic()
        training.variables, totals = self._program.train(
            training.variables, self._data, orders, bounds, totals
        )
        work = (part.n_epochs - 1) * self._work_of_epoch
        work += self._work[part.end_step] - self._work[part.first_step]
        seconds_of_unit = (time.monotonic() - began) / work
        self._seconds_of_unit = min(self._seconds_of_unit, seconds_of_unit)
        run.epochs += part.n_epochs
        if not part.ends_epoch:
            run.epochs -= 1
            training.step = part.end_step
            training.totals = totals
            return
        training.step = 0
        training.totals = ()
        if part.end_step > self._n_batches:
            self._note(training, totals)

    def _next_part(self, training: TrainingState, work: int) -> _Part:
        """Return the part of a training run that comes next and takes about this work."""
        n_done = training.run.epochs
        first_epoch = n_done % self._epochs_in_orders
        n_epochs = 1
        if training.step == 0 and not training.is_scored:
            most = min(self._epochs_in_orders - first_epoch, training.last_epoch - n_done)
            n_epochs = min(max(work // self._work_of_epoch, 1), most)
        is_scored = training.is_scored or n_done + n_epochs == training.last_epoch
        n_steps = len(self._work) - 1 if is_scored else self._n_batches
        work_left = self._work[training.step] + work - (n_epochs - 1) * self._work_of_epoch
        n_fitting = int(np.searchsorted(self._work, work_left, side="right")) - 1
        end_step = min(max(n_fitting, training.step + 1), n_steps)
        return _Part(first_epoch, n_epochs, training.step, end_step, end_step == n_steps)

    def _orders(self, start: Start, first_epoch: int) -> tf.Tensor:
        """Return the orders of the training rows in the epochs from ``first_epoch`` on."""
        from adnn_optuna.networks._program import orders_of

        seed = start.seed if start.order_seed is None else start.order_seed
        seed_or_none = seed if self.training.shuffle else None
        n_rows = len(self.dataset.y_train)
        return orders_of(n_rows, seed_or_none, first_epoch, self._epochs_in_orders)

    def _bounds(self, part: _Part) -> np.ndarray:
        """Return a part's bounds: of its epochs, its batches and each split's scored batches."""
        n_before = np.cumsum(self._n_steps) - self._n_steps
        steps = np.array([[part.first_step], [part.end_step]])
        bounds_of_steps = np.clip(steps - n_before, 0, self._n_steps).T.ravel()
        end_epoch = part.first_epoch + part.n_epochs
        return np.array([part.first_epoch, end_epoch, *bounds_of_steps], np.int32)

    def _note(self, training: TrainingState, totals: Sequence[Score]) -> None:
        """Store the metrics of an epoch, and set the status if it was the last epoch."""
        metrics: Metrics = {}
        for (split, y), of_split in zip(self._y.items(), totals, strict=True):
            metrics |= self._program.scores.results(split, of_split, y)
        run = training.run
        settings = self.training
        run.metrics = metrics
        run.examples = self._examples(metrics, totals)
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
            training.best_variables = training.variables
            training.best_examples = run.examples
        elif run.status == "running" and n_waited >= settings.patience:
            run.status = "complete"
        if settings.restore_best_weights and run.status == "complete":
            run.metrics = run.history[best]
            run.examples = training.best_examples
            training.variables = training.best_variables

    def _examples(self, metrics: Metrics, totals: Sequence[Score]) -> np.ndarray | None:
        """Return the scores of the validation examples, whose mean is the judging metric."""
        if len(totals[-1]) == len(self._program.scores.empty_totals):
            return None
        *_, terms = totals[-1]
        scores: np.ndarray = terms.numpy().ravel()[: len(self.dataset.y_val)]
        if scores.dtype != bool:
            # The losses that layers add are a part of each example's loss.
            scores += metrics[f"val_{self.judge}"] - scores.mean()
        return scores

    def _first_variables(self, start: Start) -> list[tf.Tensor]:
        rate = start.learning_rate or self.training.fixed_learning_rate
        return self._program.first_variables(self.initial_weights(start), rate)

    def initial_weights(self, start: Start) -> list[np.ndarray]:
        """Return a training run's initial weights, with the offsets added in float32."""
        weights = self.architecture.initial_weights(start.seed, start.restart)
        return [
            (w + np.float32(offset)).astype(w.dtype) if offset else w
            for w, offset in zip(weights, start.offsets, strict=True)
        ]

    def tested(self, weights: Weights) -> tuple[Metrics, np.ndarray]:
        """Return the metrics of a trained network on the test set, and its examples' scores."""
        y = self.dataset.y_test
        outputs, own_loss = self.outputs_and_loss(weights, self.dataset.x_test)
        return self.scores.tested(self.judge, outputs, y, own_loss)

    def outputs(self, weights: Weights, x: np.ndarray) -> np.ndarray:
        """Return the outputs of a trained network for x, of shape (n, outputs).

        They are float32. If the network scales targets, they are float64 in the user's units.
        """
        return self.outputs_and_loss(weights, x)[0]

    def outputs_and_loss(self, weights: Weights, x: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the outputs for x, and the mean loss of the network's own layers."""
        check_not_forked()
        scaled = as_tensor(self.scaling.inputs(x))
        outputs, own_loss = self._program.outputs([*map(as_tensor, weights)], scaled)
        if not self.scaling.target_mean:
            return outputs, own_loss
        mean, std = self.scaling.target_units
        return outputs * std + mean, own_loss


def is_finite(metrics: Metrics) -> bool:
    """Return whether no metric is infinite or NaN. Even a diverged run has an accuracy."""
    return all(math.isfinite(value) for value in metrics.values())


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads of all trainers. A thread keeps its variables between trials."""
    return ThreadPoolExecutor(n_cores(), thread_name_prefix="training")
