"""Objectives on realistic spaces, for sampler_quality_mixed.

Each problem is a function of a seed. The seed determines the split of the data, or the optimum.
The function returns an objective of a trial and a repetition's number. With noise, each repetition
has another value. If the repetition is :obj:`None`, the value is the true value or a mean. All
objectives are minimised.

If a fit takes more than some milliseconds, the space is a grid. Each grid value is computed once
and kept in ``build/studies``.
"""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import TRIED
from sklearn import datasets
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

if TYPE_CHECKING:
    from collections.abc import Callable

    Trial = Any  # A trial of a study, or a FixedTrial.
    Objective = Callable[[Trial, int | None], float]

N_REPETITIONS = 16  # The true value of a noisy training is the mean of this many repetitions.


@functools.cache
def _classes(name: str, n_train: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return scaled inputs and labels, for training and for validation."""
    loaded = {
        "digits": datasets.load_digits,
        "cancer": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
    }[name]()
    order = np.random.default_rng([seed, 7]).permutation(len(loaded.data))[: 2 * n_train]
    x, y = loaded.data[order], loaded.target[order]
    x = (x - x[:n_train].mean(axis=0)) / (x[:n_train].std(axis=0) + 1e-9)
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


@functools.cache
def _regression(n_train: int, seed: int) -> tuple[np.ndarray, ...]:
    loaded = datasets.load_diabetes()
    order = np.random.default_rng([seed, 7]).permutation(len(loaded.data))
    x, y = loaded.data[order] / loaded.data.std(axis=0), loaded.target[order]
    y = (y - y.mean()) / y.std()
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


def support_vector_machine(seed: int) -> Objective:
    """An SVM with two logarithmic parameters; most of the space is one plateau."""
    x, y, x_val, y_val = _classes("digits", 150, seed)

    def objective(trial: Trial, _: int | None) -> float:
        c = trial.suggest_float("C", 1e-3, 1e4, log=True)
        gamma = trial.suggest_float("gamma", 1e-6, 1e1, log=True)
        return 1 - float(SVC(C=c, gamma=gamma).fit(x, y).score(x_val, y_val))

    return objective


def _ridge(
    kernel: np.ndarray, y: np.ndarray, kernel_val: np.ndarray, y_val: np.ndarray, alpha: float
) -> float:
    weights = np.linalg.solve(kernel + alpha * np.eye(len(y)), y)
    error = float(((kernel_val @ weights - y_val) ** 2).mean())
    return min(error, 10.0)


def kernel_ridge(seed: int) -> Objective:
    """Kernel ridge regression with two logarithmic parameters and a category."""
    x, y, x_val, y_val = _regression(120, seed)

    def objective(trial: Trial, _: int | None) -> float:
        alpha = trial.suggest_float("alpha", 1e-4, 1e3, log=True)
        gamma = trial.suggest_float("gamma", 1e-4, 1e1, log=True)
        name = trial.suggest_categorical("kernel", ["rbf", "laplacian", "poly", "sigmoid"])
        kernels = [pairwise_kernels(a, x, name, gamma=gamma) for a in (x, x_val)]
        return _ridge(kernels[0], y, kernels[1], y_val, alpha)

    return objective


def _table(
    name: str, axes: dict[str, list[Any]], losses: Callable[[dict[str, Any]], list[float]]
) -> np.ndarray:
    """Return a value for each point of a grid; one fit gives all values along the last axis."""
    path = TRIED / f"mixed_{name}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        *names, _ = axes
        points = itertools.product(*(axes[axis] for axis in names))
        rows = [losses(dict(zip(names, point, strict=True))) for point in points]
        np.save(path, np.array(rows).reshape([len(values) for values in axes.values()]))
    return np.asarray(np.load(path))


_BOOSTING_A: dict[str, list[Any]] = {
    "log2_rate": [-7 + 0.5 * i for i in range(15)],
    "depth": [1, 2, 3, 4, 5],
    "subsample": [0.25, 0.5, 0.75, 1.0],
    "max_features": ["sqrt", "log2", None],
    "n_trees": [*range(1, 61)],
}
_BOOSTING_B: dict[str, list[Any]] = {
    "log2_rate": [*range(-7, 1)],
    "leaves": [*range(2, 17)],
    "min_leaf": [*range(1, 9)],
    "loss": ["squared_error", "huber"],
    "n_trees": [*range(1, 33)],
}


def _boosting_a() -> np.ndarray:
    x, y, x_val, y_val = _classes("digits", 150, 0)

    def losses(p: dict[str, Any]) -> list[float]:
        model = GradientBoostingClassifier(
            learning_rate=2.0 ** p["log2_rate"],
            max_depth=p["depth"],
            subsample=p["subsample"],
            max_features=p["max_features"],
            n_estimators=60,
            random_state=0,
        ).fit(x[:, ::2], np.minimum(y, 3))
        staged = model.staged_predict_proba(x_val[:, ::2])
        truth = np.minimum(y_val, 3)
        rows = np.arange(len(truth))
        return [float(-np.log(np.maximum(p[rows, truth], 1e-9)).mean()) for p in staged]

    return _table("boosting_a", _BOOSTING_A, losses)


def _boosting_b() -> np.ndarray:
    x, y, x_val, y_val = _regression(100, 0)

    def losses(p: dict[str, Any]) -> list[float]:
        model = GradientBoostingRegressor(
            learning_rate=2.0 ** p["log2_rate"],
            max_leaf_nodes=p["leaves"],
            max_depth=None,
            min_samples_leaf=p["min_leaf"],
            loss=p["loss"],
            n_estimators=32,
            random_state=0,
        ).fit(x, y)
        staged = model.staged_predict(x_val)
        return [float(((prediction - y_val) ** 2).mean()) for prediction in staged]

    return _table("boosting_b", _BOOSTING_B, losses)


def boosting_a(_: int) -> Objective:
    """Boosting with five mixed parameters, from a table."""
    table = _boosting_a()

    def objective(trial: Trial, _: int | None) -> float:
        rate = trial.suggest_float("log2_rate", -7, 0, step=0.5)
        depth = trial.suggest_int("depth", 1, 5)
        subsample = trial.suggest_float("subsample", 0.25, 1, step=0.25)
        features = trial.suggest_categorical("max_features", _BOOSTING_A["max_features"])
        n_trees = trial.suggest_int("n_trees", 1, 60)
        i_features = _BOOSTING_A["max_features"].index(features)
        place = round(2 * rate + 14), depth - 1, round(4 * subsample) - 1, i_features
        return float(table[*place, n_trees - 1])

    return objective


def boosting_b(_: int) -> Objective:
    """Boosting with five mixed parameters (three logarithmic integers), from a table."""
    table = _boosting_b()

    def objective(trial: Trial, _: int | None) -> float:
        rate = trial.suggest_int("log2_rate", -7, 0)
        leaves = trial.suggest_int("leaves", 2, 16, log=True)
        min_leaf = trial.suggest_int("min_leaf", 1, 8, log=True)
        loss = trial.suggest_categorical("loss", _BOOSTING_B["loss"])
        n_trees = trial.suggest_int("n_trees", 1, 32, log=True)
        place = rate + 7, leaves - 2, min_leaf - 1, _BOOSTING_B["loss"].index(loss)
        return float(table[*place, n_trees - 1])

    return objective


def perceptron(seed: int) -> Objective:
    """A network that SGD trains for three epochs, with five mixed parameters and noise."""
    x, y, x_val, y_val = _classes("digits", 200, seed)
    targets = np.eye(10)[y]

    def error(p: dict[str, Any], repetition: int) -> float:
        random = np.random.default_rng([seed, repetition, 11])
        hidden, rate, relu = p["hidden"], p["rate"], p["activation"] == "relu"
        w = random.standard_normal((64, hidden)) * p["scale"] / 8
        v = random.standard_normal((hidden, 10)) * p["scale"] / math.sqrt(hidden)
        dw, dv = np.zeros_like(w), np.zeros_like(v)
        for _ in range(3):
            order = random.permutation(len(x))
            for rows in np.array_split(order, 12):
                h = x[rows] @ w
                h = np.maximum(h, 0) if relu else np.tanh(h)
                scores = h @ v
                scores = np.exp(scores - scores.max(axis=1, keepdims=True))
                delta = scores / scores.sum(axis=1, keepdims=True) - targets[rows]
                back = delta @ v.T * ((h > 0) if relu else 1 - h * h)
                dv = p["momentum"] * dv - rate / len(rows) * (h.T @ delta)
                dw = p["momentum"] * dw - rate / len(rows) * (x[rows].T @ back)
                v, w = v + dv, w + dw
        h = x_val @ w
        scores = (np.maximum(h, 0) if relu else np.tanh(h)) @ v
        return float((scores.argmax(axis=1) != y_val).mean())

    def objective(trial: Trial, repetition: int | None) -> float:
        p = {
            "rate": trial.suggest_float("rate", 1e-4, 10, log=True),
            "momentum": trial.suggest_float("momentum", 0, 0.99),
            "hidden": trial.suggest_int("hidden", 4, 64, log=True),
            "scale": trial.suggest_float("scale", 1e-2, 10, log=True),
            "activation": trial.suggest_categorical("activation", ["relu", "tanh"]),
        }
        with np.errstate(all="ignore"):
            if repetition is not None:
                return error(p, repetition)
            return float(np.mean([error(p, -i % 2**32) for i in range(1, 1 + N_REPETITIONS)]))

    return objective


def classifiers(seed: int) -> Objective:
    """A choice of classifiers, each with its own parameters."""
    x, y, x_val, y_val = _classes("digits", 120, seed)

    def objective(trial: Trial, _: int | None) -> float:
        kinds = ["svm", "neighbours", "tree", "logistic", "bayes"]
        kind = trial.suggest_categorical("classifier", kinds)
        model: Any
        if kind == "svm":
            c = trial.suggest_float("C", 1e-3, 1e3, log=True)
            model = SVC(C=c, gamma=trial.suggest_float("gamma", 1e-5, 1, log=True))
        elif kind == "neighbours":
            k, p = trial.suggest_int("k", 1, 30), trial.suggest_float("p", 1, 5)
            model = KNeighborsClassifier(k, p=p)
        elif kind == "tree":
            depth = trial.suggest_int("depth", 1, 12)
            min_leaf = trial.suggest_int("min_leaf", 1, 20, log=True)
            model = DecisionTreeClassifier(
                max_depth=depth, min_samples_leaf=min_leaf, random_state=0
            )
        elif kind == "logistic":
            c = trial.suggest_float("logistic_C", 1e-4, 1e2, log=True)
            model = LogisticRegression(C=c, max_iter=20)
        else:
            model = GaussianNB(var_smoothing=trial.suggest_float("smoothing", 1e-9, 10, log=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return 1 - float(model.fit(x, y).score(x_val, y_val))

    return objective


def pipeline(seed: int) -> Objective:
    """Two choices, data preparation and model, each with its own parameters."""
    x, y, x_val, y_val = _regression(120, seed)
    random = np.random.default_rng([seed, 5])
    # Some features contain no information, so the preparation matters.
    x, x_val = (np.hstack([a, random.standard_normal((len(a), 20))]) for a in (x, x_val))
    ranking = np.argsort(-np.abs((x * y[:, None]).mean(axis=0)))
    axes = np.linalg.svd(x, full_matrices=False)[2]

    def objective(trial: Trial, _: int | None) -> float:
        a, b = x, x_val
        prepare = trial.suggest_categorical("prepare", ["nothing", "select", "pca"])
        if prepare == "select":
            columns = ranking[: trial.suggest_int("n_features", 1, 30)]
            a, b = a[:, columns], b[:, columns]
        elif prepare == "pca":
            directions = axes[: trial.suggest_int("n_components", 1, 30)].T
            a, b = a @ directions, b @ directions
        model = trial.suggest_categorical("model", ["ridge", "kernel ridge", "neighbours", "tree"])
        if model == "ridge":
            alpha = trial.suggest_float("alpha", 1e-3, 1e4, log=True)
            return _ridge(a @ a.T, y, b @ a.T, y_val, alpha)
        if model == "kernel ridge":
            alpha = trial.suggest_float("kernel_alpha", 1e-3, 1e2, log=True)
            gamma = trial.suggest_float("gamma", 1e-4, 1, log=True)
            kernels = [pairwise_kernels(z, a, "rbf", gamma=gamma) for z in (a, b)]
            return _ridge(kernels[0], y, kernels[1], y_val, alpha)
        if model == "neighbours":
            k = trial.suggest_int("k", 1, 60, log=True)
            distances = ((b[:, None] - a) ** 2).sum(axis=-1)
            nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
            return float(((y[nearest].mean(axis=1) - y_val) ** 2).mean())
        depth = trial.suggest_int("depth", 1, 10)
        tree = DecisionTreeRegressor(max_depth=depth, random_state=0).fit(a, y)
        return float(((tree.predict(b) - y_val) ** 2).mean())

    return objective


def tree(seed: int) -> Objective:
    """A tree with four integers and a category, which has many plateaus."""
    x, y, x_val, y_val = _classes("cancer", 150, seed)

    def objective(trial: Trial, _: int | None) -> float:
        model = DecisionTreeClassifier(
            max_depth=trial.suggest_int("depth", 1, 16),
            min_samples_leaf=trial.suggest_int("min_leaf", 1, 64, log=True),
            min_samples_split=trial.suggest_int("min_split", 2, 40),
            max_features=trial.suggest_int("max_features", 1, 30),
            criterion=trial.suggest_categorical("criterion", ["gini", "entropy"]),
            random_state=0,
        ).fit(x, y)
        return float(((model.predict_proba(x_val)[:, 1] - y_val) ** 2).mean())

    return objective


def integers(seed: int) -> Objective:
    """Four integers with local optima; two of them interact."""
    best = np.random.default_rng([seed, 1]).integers(0, 12, 4)

    def objective(trial: Trial, _: int | None) -> float:
        z = np.array([trial.suggest_int(f"i{k}", 0, 11) for k in range(4)]) - best
        value = (z**2 * [1, 2, 3, 1]).sum() + 1.5 * z[0] * z[3] + 12 * (z % 3 != 0).sum()
        return float(value) / 100

    return objective


def categories(seed: int) -> Objective:
    """Five categories and two numbers; neighbouring categories interact."""
    random = np.random.default_rng([seed, 2])
    alone, pairs = random.random((5, 5)), random.random((4, 5, 5))
    shape = np.indices((5,) * 5)
    values = sum(alone[i][shape[i]] for i in range(5))
    values = values + sum(pairs[i][shape[i], shape[i + 1]] for i in range(4))
    lowest, optimum = float(values.min()), random.random(2)

    def objective(trial: Trial, _: int | None) -> float:
        c = [trial.suggest_categorical(f"c{i}", [*"abcde"]) for i in range(5)]
        x = np.array([trial.suggest_float(f"x{i}", 0, 1) for i in range(2)])
        place = tuple("abcde".index(choice) for choice in c)
        return float(values[place]) - lowest + float(((x - optimum) ** 2).sum())

    return objective


def branches(seed: int) -> Objective:
    """A choice between three functions with different parameters; one of them has the optimum."""
    random = np.random.default_rng([seed, 3])
    base, o = random.permutation([0, 0.15, 0.3]), random.random(5)

    def objective(trial: Trial, _: int | None) -> float:
        kind = trial.suggest_categorical("kind", ["a", "b", "c"])
        if kind == "a":
            return float(base[0] + (trial.suggest_float("x", 0, 1) - o[0]) ** 2)
        if kind == "b":
            y, z = trial.suggest_float("y", 0, 1), trial.suggest_float("z", 0, 1)
            return float(base[1] + 2 * (y - o[1]) ** 2 + 2 * (z - o[2]) ** 2)
        return float(base[2] + abs(trial.suggest_int("n", 1, 30) - 1 - 29 * o[3]) / 30)

    return objective


def layers(seed: int) -> Objective:
    """A number of layers, a width for each layer, and parameters that all layers share."""
    random = np.random.default_rng([seed, 4])
    widths, best_n, o = random.uniform(1, 7, 4), int(random.integers(1, 5)), random.random(2)

    def objective(trial: Trial, _: int | None) -> float:
        n = trial.suggest_int("n_layers", 1, 4)
        value = 0.3 * abs(n - best_n)
        for i in range(n):
            width = trial.suggest_int(f"width{i}", 2, 128, log=True)
            value += 0.1 * (math.log2(width) - widths[i]) ** 2 / n
        rate = trial.suggest_float("rate", 1e-5, 1, log=True)
        dropout = trial.suggest_float("dropout", 0, 0.9)
        value += 0.2 * (math.log10(rate) + 5 * o[0]) ** 2
        return float(value + (dropout - 0.9 * o[1]) ** 2)

    return objective


def noisy(seed: int) -> Objective:
    """Six parameters of all kinds; near the optimum, noise is as large as differences."""
    random = np.random.default_rng([seed, 6])
    effects, o = random.random(4), random.random(5)
    effects -= effects.min()

    def objective(trial: Trial, repetition: int | None) -> float:
        choice = trial.suggest_categorical("choice", [0, 1, 2, 3])
        n = trial.suggest_int("n", 1, 20)
        rate = math.log10(trial.suggest_float("rate", 1e-5, 1, log=True)) / 5 + 1
        x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(2)]
        step = trial.suggest_float("step", 0, 1, step=0.1)
        z = np.array([(n - 1) / 19, rate, *x, step]) - o
        value = effects[choice] + float((z**2 * [1, 3, 2, 1, 1]).sum())
        if repetition is not None:
            value += 0.15 * np.random.default_rng([seed, repetition, 13]).standard_normal()
        return float(value)

    return objective


PROBLEMS: dict[str, Callable[[int], Objective]] = {
    "support vector machine": support_vector_machine,
    "kernel ridge": kernel_ridge,
    "boosting A": boosting_a,
    "boosting B": boosting_b,
    "perceptron, noisy": perceptron,
    "classifiers": classifiers,
    "pipeline": pipeline,
    "tree": tree,
    "integers": integers,
    "categories": categories,
    "branches": branches,
    "layers": layers,
    "mixed, noisy": noisy,
}
# The problems with parameters that exist only for some values of another parameter.
CONDITIONAL = ("classifiers", "pipeline", "branches", "layers")
