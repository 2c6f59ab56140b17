"""Speed of training several networks at once, against Keras, PyTorch, JAX and hardware.

The study measures the seconds per trial: training, and evaluation of the data on which the search
selects. The contenders are

- ``keras``: the usual Optuna objective, which builds, compiles, fits and evaluates a model;
- ``keras reused``: the same objective with one compiled model, whose weights are reset for each
  trial;
- ``torch``: a plain loop over batches (if PyTorch is installed);
- ``jax``: a ``scan`` over all batches, with ``vmap`` over the stack (if JAX is installed);
- ``adnn_optuna``: :class:`~adnn_optuna.networks.training.Trainer`.

A stack is a number of networks that are trained at once. The limit is the time of the necessary
matrix products at the speed of one large product. Networks that are not dense are built by Keras,
and have no contenders in PyTorch and JAX. Their limit is ``passes``: TensorFlow's forward and
backward passes of the network alone, for the same number of batches of the same shapes.

In each repetition, every contender trains once, so disturbances affect all contenders. Compilation
that happens once is done before, and its time is reported separately. Finally, a search of 100
trials alternates with 100 training runs of the trainer alone. An interrupted study continues. To
install PyTorch and JAX, run ``pip install .[benchmarks]``.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import json
import math
import multiprocessing
import platform
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import plotly.graph_objects as go
from _common import COLORS, HERE, TRIED, Results, Study, first_rows, markdown_table, write_json
from tqdm import tqdm

import adnn_optuna as adnn
from adnn_optuna._checks import n_cores
from adnn_optuna.networks.models import PAPER_MODELS
from adnn_optuna.networks.network import EVALUATION_ROWS, build_architecture
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, its data and training, and the sizes of stacks.

    Args:
        model: The network.
        dataset: The name of the data.
        training: The training settings.
        stacks: The sizes of stacks, that is, the numbers of networks that are trained at once.
        validation_size: The size of the validation split, on which the search selects; if 0, it
            selects on the training set.
        rows: The number of training images; None means all.
        is_long: Whether training is so long that compilation may be part of the first repetition.
    """

    model: adnn.MLP | Callable[[], keras.Model]
    dataset: str
    training: adnn.Training
    stacks: tuple[int, ...] = (1, 4, 16)
    validation_size: int | None = 0
    rows: int | None = None
    is_long: bool = False

    @functools.cached_property
    def data(self) -> adnn.Dataset:
        """The data set, with the first ``rows`` training images."""
        return first_rows(load(self.dataset, self.validation_size), self.rows)

    @functools.cached_property
    def selection(self) -> tuple[np.ndarray, np.ndarray]:
        """The inputs and labels on which the search selects."""
        data = self.data
        return (data.x_val, data.y_val) if len(data.y_val) else (data.x_train, data.y_train)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of inputs, of units of each hidden layer, and of outputs."""
        hidden = self.model.hidden if isinstance(self.model, adnn.MLP) else ()
        return (math.prod(self.data.x_train.shape[1:]), *hidden, 10)

    @property
    def flop(self) -> float:
        """The floating-point operations of the matrix products that one trial needs.

        In training, each layer has a product for its outputs, a product for its kernel's gradient
        and, except the first layer, a product for its inputs' gradient. In evaluation, each layer
        has a product for its outputs. (The trainer always evaluates the training set, too.) The
        result is NaN for networks that are not dense.
        """
        if not isinstance(self.model, adnn.MLP):
            return math.nan
        products = [a * b for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True)]
        rows = len(self.data.y_train)
        training = rows * self.training.epochs * (3 * sum(products) - products[0])
        return 2.0 * (training + (rows + len(self.data.y_val)) * sum(products))


@functools.cache
def load(name: str, validation_size: int | None) -> adnn.Dataset:
    return adnn.load_dataset(name, validation_size=validation_size)


def cases(*, quick: bool) -> dict[str, Case]:
    digits = Case(
        adnn.MLP(hidden=(64, 64)),
        "digits",
        adnn.Training("adam", 0.001, batch_size=32, epochs=2 if quick else 20),
        stacks=(1, 4, 8, 10, 16),
        validation_size=None,
    )
    if quick:
        return {"digits": dataclasses.replace(digits, stacks=(1, 4))}
    sgd = adnn.Training(optimizer="sgd", learning_rate=0.1, batch_size=128, epochs=1)
    all_cases = {
        "digits": digits,
        "MNIST-1, SGD": Case(adnn.MLP(hidden=(256,)), "mnist", sgd, stacks=(1, 4, 8, 16)),
    }
    for name, model in PAPER_MODELS.items():
        training = dataclasses.replace(model.training, epochs=1)
        stacks = (1, 4, 8, 16) if name == "MNIST-1" else (1, 4, 16)
        all_cases[name] = Case(model, model.dataset, training, stacks=stacks)
    for name in ("MNIST-1", "MNIST-4"):
        model = PAPER_MODELS[name]
        all_cases[f"{name}, 10 epochs"] = Case(
            model, "mnist", model.training, stacks=(8,), is_long=True
        )
    # This import loads Keras, which tables and figures do not need.
    from _networks import NETWORKS

    adam = adnn.Training("adam", 0.001, batch_size=128, epochs=4)
    for name, network in NETWORKS.items():
        all_cases[name] = Case(
            network, "fashion_mnist", adam, stacks=(1, 4), validation_size=1000, rows=3000
        )
    return all_cases


def ours(case: Case, stack: int) -> Callable[[], Any]:
    data = case.data
    architecture = build_architecture(case.model, data.x_train.shape[1:], data.num_classes)
    trainer = Trainer(architecture, case.training, data)
    starts = [
        Start(0, 0, tuple(0.0 if v.is_output else 0.01 * i for v in architecture.variables))
        for i in range(stack)
    ]
    return lambda: trainer.train(starts)


def compiled_keras(case: Case) -> Any:
    import keras

    architecture = build_architecture(case.model, case.data.x_train.shape[1:], 10)
    model = architecture.build(0, 0)
    model.compile(
        case.training.build_optimizer(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def fit_and_evaluate(case: Case, model: Any) -> float:
    model.fit(
        case.data.x_train,
        case.data.y_train,
        batch_size=case.training.batch_size,
        epochs=case.training.epochs,
        shuffle=case.training.shuffle,
        verbose=0,
    )
    return model.evaluate(*case.selection, verbose=0)[1]


def keras_objective(case: Case, _: int) -> Callable[[], Any]:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))

    def objective(trial: optuna.Trial) -> float:
        import keras

        keras.utils.clear_session()  # Keras recommends this against growing memory.
        model = compiled_keras(case)
        for layer in model.layers[1:-1]:
            for variable in layer.trainable_variables:
                variable.assign_add(
                    np.full(
                        variable.shape, trial.suggest_float(variable.path, -0.2, 0.2), np.float32
                    )
                )
        return fit_and_evaluate(case, model)

    return lambda: study.optimize(objective, n_trials=1)


def keras_reused(case: Case, _: int) -> Callable[[], Any]:
    model = compiled_keras(case)
    variables = [*model.variables, *model.optimizer.variables]
    values = [v.numpy() for v in variables]

    def run() -> float:
        for variable, value in zip(variables, values, strict=False):
            variable.assign(value)
        return fit_and_evaluate(case, model)

    return run


def torch_loop(case: Case, _: int) -> Callable[[], Any]:
    import torch

    data, training = case.data, case.training
    # On a small network, waiting costs several threads more time than they save.
    torch.set_num_threads(1 if len(data.y_train) < 10_000 else n_cores())
    x = torch.from_numpy(data.x_train.reshape(len(data.x_train), -1).copy())
    y = torch.from_numpy(data.y_train.astype(np.int64))
    x_eval, y_eval = case.selection
    x_eval = torch.from_numpy(x_eval.reshape(len(x_eval), -1).copy())
    y_eval = torch.from_numpy(y_eval.astype(np.int64))
    pairs = list(zip(case.sizes[:-1], case.sizes[1:], strict=True))

    def run() -> float:
        layers: list[Any] = []
        for n, m in pairs:
            layers.append(torch.nn.Linear(n, m))
            if case.model.activation == "relu":
                layers.append(torch.nn.ReLU())
        model = torch.nn.Sequential(*(layers[:-1] if case.model.activation == "relu" else layers))
        optimizer = (
            torch.optim.SGD(model.parameters(), training.learning_rate)
            if training.optimizer == "sgd"
            else torch.optim.Adam(model.parameters(), training.learning_rate, eps=1e-7)
        )
        loss = torch.nn.CrossEntropyLoss()
        for _ in range(training.epochs):
            order = torch.randperm(len(y)) if training.shuffle else torch.arange(len(y))
            for rows in order.split(training.batch_size):
                optimizer.zero_grad()
                loss(model(x[rows]), y[rows]).backward()
                optimizer.step()
        with torch.no_grad():
            hits = [
                (model(xs).argmax(dim=-1) == ys).sum()
                for xs, ys in zip(x_eval.split(1000), y_eval.split(1000), strict=True)
            ]
        return int(sum(hits)) / len(y_eval)

    return run


def jax_vmap_scan(case: Case, stack: int) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    data, training = case.data, case.training
    x = jnp.asarray(data.x_train.reshape(len(data.x_train), -1))
    y = jnp.asarray(data.y_train)
    x_eval, y_eval = case.selection
    x_eval = jnp.asarray(x_eval.reshape(len(x_eval), -1))
    y_eval = jnp.asarray(y_eval)
    size, rows = training.batch_size, len(y)
    activation = {"relu": jax.nn.relu, "linear": lambda z: z}[case.model.activation]

    def outputs(weights: list[Any], z: Any) -> Any:
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            z = activation(z @ kernel + bias)
        return z @ weights[-2] + weights[-1]

    def loss(weights: list[Any], batch: Any) -> Any:
        logs = jax.nn.log_softmax(outputs(weights, x[batch]))
        return -jnp.take_along_axis(logs, y[batch][:, None], axis=1).mean()

    def step(state: Any, batch: Any) -> Any:
        weights, m, v, t = state
        gradients = jax.grad(loss)(weights, batch)
        rate = training.learning_rate
        if training.optimizer == "sgd":
            new = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
            return (new, m, v, t), None
        t += 1
        rate = rate * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        m = [a + (g - a) * 0.1 for a, g in zip(m, gradients, strict=True)]
        v = [a + (g * g - a) * 0.001 for a, g in zip(v, gradients, strict=True)]
        new = [w - rate * a / (jnp.sqrt(b) + 1e-7) for w, a, b in zip(weights, m, v, strict=True)]
        return (new, m, v, t), None

    def hits(weights: list[Any], z: Any, labels: Any) -> Any:
        return (outputs(weights, z).argmax(-1) == labels).sum()

    def train(weights: list[Any], orders: Any) -> Any:
        def epoch(state: Any, order: Any) -> Any:
            whole = rows - rows % size
            state, _ = jax.lax.scan(step, state, order[:whole].reshape(-1, size))
            if rows % size:
                state, _ = step(state, order[whole:])
            return state, None

        zeros = [jnp.zeros_like(w) for w in weights]
        (weights, *_), _ = jax.lax.scan(epoch, (weights, zeros, zeros, 0.0), orders)
        whole = len(y_eval) - len(y_eval) % 1000
        correct = jax.lax.map(
            lambda chunk: hits(weights, *chunk),
            (x_eval[:whole].reshape(-1, 1000, x_eval.shape[1]), y_eval[:whole].reshape(-1, 1000)),
        ).sum()
        return correct + hits(weights, x_eval[whole:], y_eval[whole:])

    shape = data.x_train.shape[1:]
    initial = build_architecture(case.model, shape, 10).initial_weights(0, 0)
    offsets = 0.01 * np.arange(stack, dtype=np.float32)
    moved = [w + offsets.reshape(-1, *[1] * w.ndim) for w in initial]
    generator = np.random.default_rng(0)
    # The whole stack has one order of the rows, like trials with equal seeds.
    together = jax.jit(jax.vmap(train, in_axes=(0, None)))

    def run() -> None:
        orders = np.stack(
            [
                generator.permutation(rows) if training.shuffle else np.arange(rows)
                for _ in range(training.epochs)
            ]
        )
        together(moved, orders.astype(np.int32)).block_until_ready()

    return run


def passes(case: Case, stack: int) -> Callable[[], Any]:
    """Return the forward and backward passes of a stack, without loss, optimizer and metrics."""
    import tensorflow as tf

    data, training = case.data, case.training
    architecture = build_architecture(case.model, data.x_train.shape[1:], data.num_classes)
    model = architecture.build(0, 0)
    x = tf.convert_to_tensor(data.x_train)
    size = training.batch_size

    def backward(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(batch(i, size), training=True) ** 2)
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        return i + 1, total + tf.add_n([tf.reduce_sum(gradient) for gradient in gradients])

    def forward(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = model(batch(i, EVALUATION_ROWS), training=False)
        return i + 1, total + tf.reduce_sum(outputs)

    def batch(i: tf.Tensor, n: int) -> tf.Tensor:
        first = i % (len(x) // n) * n
        return tf.slice(x, [first, *[0] * (x.ndim - 1)], [n, *x.shape[1:]])

    def trial() -> tf.Tensor:
        rounds = training.epochs * math.ceil(len(x) / size)
        _, total = tf.while_loop(
            lambda i, _: i < rounds, backward, (0, 0.0), parallel_iterations=1
        )
        rounds = (len(x) + len(data.x_val)) // EVALUATION_ROWS  # Both splits are scored.
        start = (0, total)
        return tf.while_loop(lambda i, _: i < rounds, forward, start, parallel_iterations=1)[1]

    options = {"autograph": False, "jit_compile": architecture.suits_xla}
    compiled = tf.function(trial, **options).get_concrete_function()
    threads = ThreadPoolExecutor(n_cores())
    return lambda: [run.result() for run in [threads.submit(compiled) for _ in range(stack)]]


# For each contender: its name, the function that makes it, the module that it needs, and whether
# one call trains a whole stack.
CONTENDERS: tuple[tuple[str, Callable[[Case, int], Callable[[], Any]], str, bool], ...] = (
    ("keras", keras_objective, "keras", False),
    ("keras reused", keras_reused, "keras", False),
    ("torch", torch_loop, "torch", False),
    ("jax", jax_vmap_scan, "jax", True),
    ("adnn_optuna", ours, "tensorflow", True),
)
# The contenders for networks that are not dense.
OF_KERAS = (*CONTENDERS[:2], CONTENDERS[-1], ("passes", passes, "tensorflow", True))


def product_speed() -> float:
    """Return the floating-point operations per second of one large matrix product."""
    import tensorflow as tf

    n = 2048
    a = tf.random.stateless_uniform((n, n), seed=(0, 0))
    times = []
    for _ in range(5):
        began = time.perf_counter()
        (a @ a)[0, 0].numpy()
        times.append(time.perf_counter() - began)
    return 2.0 * n**3 / min(times)


def peak_memory(case_name: str, stack: int, *, quick: bool) -> dict[str, float]:
    """Return a process's memory before training and its maximum afterwards, in MB."""
    import tensorflow as tf

    tf.zeros(())
    case = cases(quick=quick)[case_name]
    data = sum(a.nbytes for a in (case.data.x_train, case.data.x_val, case.data.x_test))
    before = highest_resident_size()
    ours(case, stack)()
    return {"data": data / 2**20, "before": before, "peak": highest_resident_size()}


def highest_resident_size() -> float:
    """Return the maximum memory of this process so far, in MB (on Linux)."""
    # `getrusage` is not suitable: its value begins with the memory of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**10


def measure(results: Results, save: Callable[[], None], args: argparse.Namespace) -> None:
    """Add missing measurements to ``results``: {case: {contender: {stack: [seconds a trial]}}}."""
    chosen = {
        name: case
        for name, case in cases(quick=args.quick).items()
        if not args.cases or name in args.cases
    }
    for name, case in chosen.items():
        of_case = results["seconds"].setdefault(name, {})
        of_kind = CONTENDERS if isinstance(case.model, adnn.MLP) else OF_KERAS
        contenders = [
            (contender, make, stack, whole)
            for contender, make, module, whole in of_kind
            if contender in args.contenders and importlib.util.find_spec(module) is not None
            for stack in (case.stacks if whole else (1,))
        ]
        todo = [
            (r, *c)
            for r in range(args.repetitions)
            for c in contenders
            if len(of_case.get(c[0], {}).get(str(c[2]), [])) <= r
        ]
        ready: dict[tuple[str, int], Callable[[], Any]] = {}
        results["flop"][name] = case.flop
        speeds = results["flop_per_second"].setdefault(name, [])
        for _, contender, make, stack, whole in tqdm(todo, desc=name, disable=not todo):
            if (contender, stack) not in ready:
                began = time.perf_counter()
                ready[contender, stack] = make(case, stack)
                # The contender keras compiles in each trial, so it needs no compilation before.
                if contender != "keras" and not case.is_long:
                    ready[contender, stack]()
                of_first = results["first_seconds"].setdefault(name, {})
                of_first.setdefault(contender, {})[str(stack)] = time.perf_counter() - began
            if len(speeds) < args.repetitions or contender == "adnn_optuna":
                speeds.append(product_speed())
            cpu, began = time.process_time(), time.perf_counter()
            ready[contender, stack]()
            n_trials = stack if whole else 1
            seconds = (time.perf_counter() - began) / n_trials
            of_case.setdefault(contender, {}).setdefault(str(stack), []).append(seconds)
            cpu = (time.process_time() - cpu) / n_trials
            of_cpu = results.setdefault("cpu", {}).setdefault(name, {})
            of_cpu.setdefault(contender, {}).setdefault(str(stack), []).append(cpu)
            save()
        for stack in (case.stacks[0], case.stacks[-1]) if args.memory else ():
            of_memory = results["peak_memory_mb"].setdefault(name, {})
            if str(stack) not in of_memory:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    of_memory[str(stack)] = pool.apply(
                        peak_memory, (name, stack), {"quick": args.quick}
                    )
                save()


def measure_search(results: Results, save: Callable[[], None], *, quick: bool) -> None:
    """Measure the CPU time and the seconds per trial, in a search and in training alone."""
    count, repetitions = (10, 1) if quick else (100, 10)
    training = adnn.Training("adam", 0.001, batch_size=32, epochs=20)
    data = load("digits", None)
    objective = adnn.InitOffsetObjective(adnn.MLP(hidden=(64,)), data, training=training)
    moved = [dict.fromkeys(objective.distributions, 0.001 * i) for i in range(count)]
    starts = [objective.start(params) for params in moved]

    def search() -> None:
        limits = {"max_trial": count, "confirm": 0, "test": False}
        adnn.search(objective, "greedy", batch_size=10, **limits)

    def train() -> None:
        objective.trainer.train(starts)

    contenders = {"search": search, "trainer": train}
    measured = results.setdefault("search", {name: [] for name in contenders})
    if len(measured["trainer"]) < repetitions:
        train()  # This run compiles.
    while len(measured["trainer"]) < repetitions:
        for name, run in contenders.items():
            cpu, began = time.process_time(), time.perf_counter()
            run()
            seconds = time.perf_counter() - began
            cpu = time.process_time() - cpu
            measured[name].append({"cpu": cpu / count, "seconds": seconds / count})
        save()


def search_table(results: Results) -> str:
    """Return a table of CPU time and seconds per trial, in a search and in training alone."""
    table = []
    for key, label in (("cpu", "CPU"), ("seconds", "time")):
        of_search, of_trainer = (
            [run[key] for run in results["search"][name]] for name in ("search", "trainer")
        )
        ratios = [a / b for a, b in zip(of_search, of_trainer, strict=True)]
        medians = [1000 * statistics.median(values) for values in (of_search, of_trainer)]
        texts = [f"{median:.1f} ms" for median in medians]
        table.append([f"{label} ({len(ratios)})", *texts, f"{statistics.median(ratios):.2f}"])
    header = ["of a trial on digits (repetitions)", "search", "trainer alone", "ratio"]
    return markdown_table(header, table)


def rows(results: Results) -> list[Results]:
    """Return, for each case, contender and stack, the medians and the ratios."""
    table = []
    for name, of_case in results["seconds"].items():
        limit = limit_of(results, name)
        usual = statistics.median(of_case["keras"]["1"])
        for contender, of_stacks in of_case.items():
            for stack, times in of_stacks.items():
                seconds = statistics.median(times)
                table.append(
                    {
                        "case": name,
                        "contender": contender,
                        "stack": int(stack),
                        "repetitions": len(times),
                        "seconds": seconds,
                        "ratio": usual / seconds,
                        "share": limit / seconds,
                    }
                )
    return table


def limit_of(results: Results, name: str) -> float:
    """Return the seconds of one trial's products at the speed of one large product."""
    speed: float = statistics.median(results["flop_per_second"][name])
    return results["flop"][name] / speed


def is_dense(results: Results, name: str) -> bool:
    """Return whether a case is a dense network, so that its products are known."""
    return not math.isnan(results["flop"][name])


def best_rows(results: Results) -> dict[str, dict[str, Results]]:
    """Return, for each case and contender, the row of the fastest stack size."""
    best: dict[str, dict[str, Results]] = {}
    for row in sorted(rows(results), key=lambda row: -row["seconds"]):
        best.setdefault(row["case"], {})[row["contender"]] = row
    return {name: best[name] for name in results["seconds"]}


def times_table(results: Results) -> str:
    """Return the seconds per trial of each contender with its fastest stack size."""
    best_of_all = best_rows(results)
    dense = {case: best for case, best in best_of_all.items() if is_dense(results, case)}
    networks = []
    for case, best in best_of_all.items():
        if case in dense:
            continue
        of_ours = best["adnn_optuna"]["seconds"]
        of_reused = best["keras reused"]["seconds"]
        row = [f"{case} ({min(row['repetitions'] for row in best.values())})"]
        row += [f"{best[name]['seconds']:.3g} s" for name in ("keras", "keras reused")]
        row += [f"{of_ours:.3g} s", f"{best['adnn_optuna']['ratio']:.3g}"]
        row += [f"{of_reused / of_ours:.3g}"]
        networks.append([*row, share_of_passes(results, case)])
    header = ["network (repetitions)", "keras", "keras reused", "adnn_optuna"]
    header += ["× keras", "× keras reused", "of the limit (CPU)"]
    tables = [dense_table(dense)] * bool(dense)
    return "\n\n".join(tables + [markdown_table(header, networks)] * bool(networks))


def share_of_passes(results: Results, case: str) -> str:
    """Return the CPU time of the passes alone, as a share of the training runs' CPU time."""
    of_case = results.get("cpu", {}).get(case, {})
    if "passes" not in of_case:
        return "–"
    of_passes, of_ours = (
        min(statistics.median(times) for times in of_case[name].values())
        for name in ("passes", "adnn_optuna")
    )
    return f"{of_passes / of_ours:.0%}"


def dense_table(of_cases: dict[str, dict[str, Results]]) -> str:
    """Return the times of dense networks in all contenders, and as shares of the limit."""
    names = [name for name, *_ in CONTENDERS]
    times = []
    for case, best in of_cases.items():
        ours = best["adnn_optuna"]
        times.append(
            [
                f"{case} ({min(row['repetitions'] for row in best.values())})",
                *(
                    f"{row['seconds']:.3g} s"
                    + (f" ({row['stack']})" if name in ("jax", "adnn_optuna") else "")
                    if (row := best.get(name))
                    else "–"
                    for name in names
                ),
                f"{ours['ratio']:.3g}",
                f"{best['jax']['seconds'] / ours['seconds']:.2f}" if "jax" in best else "–",
                f"{ours['share']:.0%}",
            ]
        )
    return markdown_table(
        ["case (repetitions)", *names, "× keras", "× jax", "of the limit"], times
    )


def summary(results: Results) -> str:
    """Return the times and the peak memory as tables."""
    memory = [
        [name, stack, *(f"{mb[key]:.0f}" for key in ("data", "before", "peak"))]
        for name, of_stacks in results["peak_memory_mb"].items()
        for stack, mb in of_stacks.items()
    ]
    memory_table = markdown_table(
        ["peak memory [MB]", "at once", "data", "before the first training", "peak"], memory
    )
    return "\n\n".join([times_table(results), search_table(results), memory_table])


def figures(results: Results) -> dict[str, go.Figure]:
    best = best_rows(results)
    names = [name for name in best if is_dense(results, name)]
    labels = [name.replace(",", "").replace(" ", "<br>") for name in names]
    bars = go.Figure()
    for contender, *_ in CONTENDERS:
        times = [best[name].get(contender, {}).get("seconds") for name in names]
        bars.add_bar(x=labels, y=times, name=contender)
    bars.add_scatter(
        x=labels,
        y=[limit_of(results, name) for name in names],
        mode="markers",
        marker={"symbol": "line-ew-open", "size": 40, "color": "black"},
        name="limit: the products alone",
    )
    bars.update_layout(
        title="Seconds a trial, each contender at its best size of a stack (lower is better)",
        yaxis={"type": "log", "dtick": 1, "title": "seconds a trial (median)"},
        xaxis_tickangle=0,
        legend={"orientation": "h", "y": 1.12},
        # Ours is the last contender and has the first color.
        colorway=COLORS[len(CONTENDERS) - 1 :: -1],
        height=500,
    )
    return {"": bars}


STUDY = Study("training_speed", figures, summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5, help="number of repetitions")
    parser.add_argument("--cases", nargs="*", help="some of the cases, by name (default: all)")
    names = [*dict.fromkeys(name for name, *_ in (*CONTENDERS, *OF_KERAS))]
    parser.add_argument(
        "--contenders", nargs="*", default=names, choices=names, help="only these contenders"
    )
    parser.add_argument("--quick", action="store_true", help="digits only, two epochs")
    parser.add_argument(
        "--memory", action="store_true", help="also measure the peak memory, in other processes"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="file of the results (default: beside the study, with --quick in build/studies)",
    )
    args = parser.parse_args()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    output = args.output or (TRIED if args.quick else HERE) / STUDY.results_file.name
    output.parent.mkdir(parents=True, exist_ok=True)
    results: Results = {
        "command": "python studies/training_speed.py",
        "quick": args.quick,
        "machine": f"{platform.machine()}, {n_cores()} cores",
        "seconds": {},
        "first_seconds": {},
        "flop": {},
        "flop_per_second": {},
        "peak_memory_mb": {},
    }
    if output.exists():
        results = json.loads(output.read_text())

    try:
        save = functools.partial(write_json, output, results)
        measure(results, save, args)
        measure_search(results, save, quick=args.quick)
    except KeyboardInterrupt:
        print(f"\nInterrupted; the same command goes on with what is missing in {output}.")
    # Ratios need the times of both of these contenders.
    needed = {"keras", "adnn_optuna"}
    results["seconds"] = {k: v for k, v in results["seconds"].items() if needed <= v.keys()}
    if results["seconds"]:
        print(summary(results))


if __name__ == "__main__":
    main()
