"""Functions of a seed that keep their split, as people write them."""

# mypy: ignore-errors

import dataclasses
import functools
import random

import numpy as np
import pandas as pd
from numpy.random import default_rng
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import accuracy_score, precision_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ParameterGrid,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
    train_test_split,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

try:
    import torch
    from torch.utils.data import DataLoader, TensorDataset, random_split
except ImportError:
    torch = None

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
N_TRAIN = len(X_train)
SPLIT_SEED = 42
df = pd.DataFrame(X).assign(label=y)
df_train, df_test = df.iloc[:1300], df.iloc[1300:]


def of_the_model(seed):
    return RandomForestClassifier(random_state=seed).fit(X_train, y_train).score(X_test, y_test)


def split_with_a_constant(seed):
    a, b, c, d = train_test_split(X, y, test_size=0.2, random_state=SPLIT_SEED)
    clf = MLPClassifier(hidden_layer_sizes=(32,), random_state=seed, shuffle=True)
    return clf.fit(a, c).score(b, d)


def folds_with_a_constant(seed):
    cv = StratifiedKFold(n_splits=5, shuffle=True, random_state=1)
    return cross_val_score(ExtraTreesClassifier(random_state=seed), X, y, cv=cv).mean()


def plain_folds(seed):
    total = []
    for train, test in KFold(5).split(X):
        model = SGDClassifier(random_state=seed).fit(X[train], y[train])
        total.append(model.score(X[test], y[test]))
    return np.mean(total)


def default_folds(seed):
    return cross_val_score(RandomForestClassifier(random_state=seed), X, y, cv=5).mean()


def batches(seed):
    rng = np.random.default_rng(seed)
    model = SGDClassifier(loss="log_loss")
    for epoch in range(5):
        order = rng.permutation(N_TRAIN)
        for i in range(0, N_TRAIN, 32):
            batch = order[i : i + 32]
            model.partial_fit(X_train[batch], y_train[batch], classes=range(10))
    return model.score(X_test, y_test)


def network_by_hand(seed):
    """Two layers with dropout, an own Adam, and an order of batches for each epoch."""
    np.random.seed(seed)
    sizes = (64, 32, 10)
    params = [np.random.randn(a, b) * np.sqrt(2 / a) for a, b in zip(sizes, sizes[1:])]
    m = [np.zeros_like(p) for p in params]
    for epoch in range(20):
        perm = np.random.permutation(N_TRAIN)
        for batch in np.array_split(perm, 20):
            x, t = X_train[batch], np.eye(10)[y_train[batch]]
            h = np.maximum(x @ params[0], 0)
            keep = np.random.rand(*h.shape) > 0.5
            h = h * keep / 0.5
            logits = h @ params[1]
            e = np.exp(logits - logits.max(1, keepdims=True))
            d = (e / e.sum(1, keepdims=True) - t) / len(x)
            grads = [x.T @ ((d @ params[1].T) * (h > 0)), h.T @ d]
            for i, g in enumerate(grads):
                m[i] = 0.9 * m[i] + g
                params[i] -= 0.1 * m[i]
    hidden = np.maximum(X_test @ params[0], 0)
    return accuracy_score(y_test, (hidden @ params[1]).argmax(1))


def bootstrap(seed):
    rng = np.random.default_rng(seed)
    idx = rng.integers(0, len(X_train), len(X_train))
    return LogisticRegression().fit(X_train[idx], y_train[idx]).score(X_test, y_test)


def subset_of_training(seed):
    keep = np.random.default_rng(seed).permutation(N_TRAIN)[:200]
    return LogisticRegression().fit(X_train[keep], y_train[keep]).score(X_test, y_test)


def sampled_training_frame(seed):
    part = df_train.sample(frac=0.5, random_state=seed)
    model = LogisticRegression().fit(part.drop(columns="label"), part["label"])
    return model.score(df_test.drop(columns="label"), df_test["label"])


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


def early_stopping(seed):
    clf = MLPClassifier(early_stopping=True, validation_fraction=0.1, random_state=seed)
    return clf.fit(X_train, y_train).score(X_test, y_test)


def random_features(seed):
    rng = np.random.default_rng(seed)
    columns = rng.permutation(64)[:20]
    model = LogisticRegression().fit(X_train[:, columns], y_train)
    return model.score(X_test[:, columns], y_test)


def projected(seed):
    matrix = np.random.default_rng(seed).standard_normal((64, 16))
    model = LogisticRegression().fit(X_train @ matrix, y_train)
    return model.score(X_test @ matrix, y_test)


def shuffled_grid(seed):
    grid = list(ParameterGrid({"C": [0.1, 1, 10], "tol": [1e-3, 1e-4]}))
    random.Random(seed).shuffle(grid)
    scores = []
    for params in grid[:3]:
        scores.append(LogisticRegression(**params).fit(X_train, y_train).score(X_test, y_test))
    return max(scores)


def randomized_search(seed):
    space = {"max_depth": [2, 4, 8], "min_samples_leaf": [1, 2, 5]}
    search = RandomizedSearchCV(RandomForestClassifier(), space, random_state=seed, n_iter=4)
    return search.fit(X_train, y_train).score(X_test, y_test)


def pipeline(seed):
    steps = [("scale", StandardScaler()), ("clf", SGDClassifier(random_state=seed + 1))]
    pipe = Pipeline(steps).fit(X_train, y_train)
    return precision_score(y_test, pipe.predict(X_test), average="macro")


def keras_model(seed):
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.layers.Dense(32, "relu"), keras.layers.Dropout(0.5), keras.layers.Dense(10)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
    model.fit(X_train, y_train, epochs=5, batch_size=32, shuffle=True, verbose=0)
    return model.evaluate(X_test, y_test, verbose=0)[1]


def make_keras():
    import keras

    model = keras.Sequential([keras.layers.Dense(10)])
    model.compile(loss="mse", metrics=["accuracy"])
    return model


def tensorflow_batches(seed):
    import tensorflow as tf

    train = tf.data.Dataset.from_tensor_slices((X_train, y_train))
    train = train.shuffle(1000, seed=seed).batch(32).prefetch(2)
    test = tf.data.Dataset.from_tensor_slices((X_test, y_test)).batch(256)
    model = make_keras()
    model.fit(train, epochs=3)
    return model.evaluate(test)[1]


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


class Trainer:
    def __init__(self, hidden, seed):
        self.rng = np.random.default_rng(seed)
        self.w = self.rng.normal(size=(64, hidden))
        self.v = self.rng.normal(size=(hidden, 10))

    def epoch(self, data, target):
        for i in self.rng.permutation(len(data)):
            h = np.tanh(data[i] @ self.w)
            error = h @ self.v - np.eye(10)[target[i]]
            self.v -= 0.01 * np.outer(h, error)

    def accuracy(self, data, target):
        return np.mean((np.tanh(data @ self.w) @ self.v).argmax(1) == target)


def with_a_class(seed):
    trainer = Trainer(16, seed)
    for _ in range(3):
        trainer.epoch(X_train, y_train)
    return trainer.accuracy(X_test, y_test)


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


partial_function = functools.partial(general, ExtraTreesClassifier)
lambda_function = lambda seed: general(SGDClassifier, seed, split=5)


def of_data(data, target, random_state=0):
    parts = train_test_split(data, target, random_state=random_state)

    def score(seed):
        return MLPClassifier(random_state=seed).fit(parts[0], parts[2]).score(parts[1], parts[3])

    return score


closure = of_data(X, y)


def new_data(seed):
    x, t = make_classification(2000, random_state=seed)
    return LogisticRegression().fit(x[:1000], t[:1000]).score(x[1000:], t[1000:])


def with_biases(seed):
    rng = np.random.default_rng(seed)
    w, b = rng.normal(0, 0.01, (64, 10)), np.zeros(10)
    for batch in np.array_split(rng.permutation(N_TRAIN), 20):
        error = X_train[batch] @ w + b - np.eye(10)[y_train[batch]]
        w -= 0.01 * X_train[batch].T @ error
        b -= 0.01 * error.sum(axis=0)
    return np.mean((X_test @ w + b).argmax(axis=1) == y_test)


def bandit(seed):
    r = random.Random(seed)
    counts, total = [1] * 5, 0.0
    for t in range(100):
        arm = r.randrange(5) if r.random() < 0.1 else max(range(5), key=lambda a: 1 / counts[a])
        counts[arm] += 1
        total += r.gauss(arm, 1)
    return total


def dispatched(seed, how="fixed"):
    if how == "fixed":
        a, b, c, d = train_test_split(X, y, random_state=SPLIT_SEED)
    else:
        a, b, c, d = train_test_split(X, y, random_state=seed)
    return SGDClassifier(random_state=seed).fit(a, c).score(b, d)


of_a_default = functools.partial(dispatched)


def evolved(seed):
    """A genetic algorithm on the training set."""
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


def validated(seed):
    import keras

    model = keras.Sequential([keras.layers.Dense(10, "softmax")])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    keras.utils.set_random_seed(seed)
    history = model.fit(X_train, y_train, validation_data=(X_test, y_test), verbose=0)
    return max(history.history["val_accuracy"])
