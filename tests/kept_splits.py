"""Functions of a seed that keep their split, as users write them."""

# mypy: ignore-errors

import dataclasses
import random

import numpy as np
from numpy.random import default_rng
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    TimeSeriesSplit,
    cross_val_score,
    train_test_split,
)

try:
    import torch
    from torch.utils.data import DataLoader, TensorDataset, random_split
except ImportError:
    torch = None

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
N_TRAIN = len(X_train)


def of_the_model(seed):
    return RandomForestClassifier(random_state=seed).fit(X_train, y_train).score(X_test, y_test)


def plain_folds(seed):
    total = []
    for train, test in KFold(5).split(X):
        model = SGDClassifier(random_state=seed).fit(X[train], y[train])
        total.append(model.score(X[test], y[test]))
    return np.mean(total)


def with_biases(seed):
    rng = np.random.default_rng(seed)
    w, b = rng.normal(0, 0.01, (64, 10)), np.zeros(10)
    for batch in np.array_split(rng.permutation(N_TRAIN), 20):
        error = X_train[batch] @ w + b - np.eye(10)[y_train[batch]]
        w -= 0.01 * X_train[batch].T @ error
        b -= 0.01 * error.sum(axis=0)
    return np.mean((X_test @ w + b).argmax(axis=1) == y_test)


def inner_validation(seed):
    a, b, c, d = train_test_split(X_train, y_train, test_size=0.1, random_state=seed)
    best, best_score = None, -1
    for alpha in (1e-4, 1e-3, 1e-2):
        model = SGDClassifier(alpha=alpha, random_state=seed).fit(a, c)
        if (score := model.score(b, d)) > best_score:
            best, best_score = model, score
    return best.score(X_test, y_test)


def inner_folds(seed):
    inner = KFold(5, shuffle=True, random_state=seed)
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=inner)
    search.fit(X_train, y_train)
    return search.score(X_test, y_test)


def keras_model(seed):
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.layers.Dense(32, "relu"), keras.layers.Dropout(0.5), keras.layers.Dense(10)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
    model.fit(X_train, y_train, epochs=5, batch_size=32, shuffle=True, verbose=0)
    return model.evaluate(X_test, y_test, verbose=0)[1]


def torch_fixed_split(seed):
    data = TensorDataset(torch.tensor(X).float(), torch.tensor(y))
    train, test = random_split(data, [1500, 297], generator=torch.Generator().manual_seed(0))
    torch.manual_seed(seed)
    model = torch.nn.Linear(64, 10)
    train_torch(model, DataLoader(train, batch_size=64, shuffle=True))
    return test_torch(model, DataLoader(test))


train_torch, test_torch = None, None


def fixed_legacy_seed(seed):
    np.random.seed(0)
    idx = np.random.permutation(len(X))
    train, test = idx[:1200], idx[1200:]
    clf = RandomForestClassifier(random_state=seed)
    return clf.fit(X[train], y[train]).score(X[test], y[test])


def fixed_generator(seed):
    order = default_rng(1234).permutation(len(X))
    a, b = order[:1200], order[1200:]
    rng = default_rng(seed)
    start = rng.normal(size=64)
    return fit_by_hand(X[a], y[a] > 4, start, rng)(X[b], y[b] > 4)


def fit_by_hand(data, target, w, rng):
    for _ in range(50):
        i = rng.integers(len(data))
        w = w + 0.01 * (float(target[i]) - float(data[i] @ w > 0)) * data[i]
    return lambda xs, t: np.mean((xs @ w > 0) == t)


class Task:
    def __init__(self, split_seed):
        self.parts = train_test_split(X, y, random_state=split_seed)
        self.split_seed = split_seed

    def split(self):
        return train_test_split(X, y, random_state=self.split_seed)

    def __call__(self, seed):
        a, b, c, d = self.split()
        return RandomForestClassifier(random_state=seed).fit(a, c).score(b, d)

    def score(self, seed):
        a, b, c, d = self.parts
        return SGDClassifier(random_state=seed).fit(a, c).score(b, d)


callable_object = Task(3)
bound_method = Task(4).score


def general(model_class, seed, split=0):
    a, b, c, d = train_test_split(X, y, random_state=split)
    return model_class(random_state=seed).fit(a, c).score(b, d)


lambda_function = lambda seed: general(SGDClassifier, seed, split=5)


def new_data(seed):
    x, t = make_classification(2000, random_state=seed)
    return LogisticRegression().fit(x[:1000], t[:1000]).score(x[1000:], t[1000:])


def bandit(seed):
    r = random.Random(seed)
    counts, total = [1] * 5, 0.0
    for t in range(100):
        arm = r.randrange(5) if r.random() < 0.1 else max(range(5), key=lambda a: 1 / counts[a])
        counts[arm] += 1
        total += r.gauss(arm, 1)
    return total


def evolved(seed):
    """Run a genetic algorithm on the training set."""
    rng = np.random.default_rng(seed)
    pop = [rng.normal(size=64) for _ in range(10)]

    def fitness(w):
        return np.mean((X_train @ w > 0) == (y_train > 4))

    for _ in range(20):
        pop.sort(key=fitness, reverse=True)
        children = []
        for _ in range(5):
            i, j = rng.choice(5, 2, replace=False)
            cut = rng.integers(1, 63)
            children.append(np.r_[pop[i][:cut], pop[j][cut:]] + rng.normal(0, 0.1, 64))
        pop = pop[:5] + children
    return np.mean((X_test @ max(pop, key=fitness) > 0) == (y_test > 4))


@dataclasses.dataclass
class Config:
    seed: int
    split_seed: int = 0


def scored(config):
    a, b, c, d = train_test_split(X, y, random_state=config.split_seed)
    return SGDClassifier(random_state=config.seed).fit(a, c).score(b, d)


def with_a_config(seed):
    return scored(Config(seed=seed))


def time_series(seed):
    return cross_val_score(SGDClassifier(random_state=seed), X, y, cv=TimeSeriesSplit(5)).mean()
