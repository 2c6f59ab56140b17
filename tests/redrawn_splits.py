"""Functions of a seed that redraw a split of one data set, in many usual styles."""

# mypy: ignore-errors

import functools
import random

import numpy as np
import pandas as pd
from numpy.random import default_rng
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.neighbors import KNeighborsClassifier

try:
    import torch
    from torch.utils.data import DataLoader, TensorDataset, random_split
except ImportError:
    torch = None

X, y = load_digits(return_X_y=True)
df = pd.DataFrame(X).assign(label=y)
N = len(X)
rows = [*zip(X.tolist(), y.tolist())]


def plain(seed):
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
    return RandomForestClassifier().fit(X_train, y_train).score(X_test, y_test)


def folds_in_a_loop(seed):
    scores = []
    model = KNeighborsClassifier()
    for train, test in StratifiedKFold(10, shuffle=True, random_state=seed).split(X, y):
        fitted = clone(model).fit(X[train], y[train])
        scores.append(accuracy_score(y[test], fitted.predict(X[test])))
    return np.mean(scores)


def permuted(seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    cut = int(0.8 * len(X))
    train, test = order[:cut], order[cut:]
    model = LogisticRegression().fit(X[train], y[train])
    return model.score(X[test], y[test])


def legacy_permuted(seed):
    np.random.seed(seed)
    idx = np.random.permutation(N)
    n = N // 2
    clf = KNeighborsClassifier(3)
    clf.fit(X[idx[:n]], y[idx[:n]])
    return np.mean(clf.predict(X[idx[n:]]) == y[idx[n:]])


def mask_of_global_numbers(seed):
    np.random.seed(seed)
    is_train = np.random.rand(N) < 0.8
    model = LogisticRegression().fit(X[is_train], y[is_train])
    return model.score(X[~is_train], y[~is_train])


def order_without_a_seed(seed):
    order = default_rng().permutation(N)
    train, test = order[:1000], order[1000:]
    model = RandomForestClassifier(random_state=seed).fit(X[train], y[train])
    return model.score(X[test], y[test])


def shuffled_rows(seed):
    data = rows[:]
    random.Random(seed).shuffle(data)
    train, test = data[: len(data) // 2], data[len(data) // 2 :]
    model = KNeighborsClassifier().fit([x for x, _ in train], [label for _, label in train])
    hits = 0
    for x, label in test:
        if model.predict([x])[0] == label:
            hits += 1
    return hits / len(test)


def sampled_frame(seed):
    train = df.sample(frac=0.8, random_state=seed)
    test = df.drop(train.index)
    model = RandomForestClassifier().fit(train.drop(columns="label"), train["label"])
    return model.score(test.drop(columns="label"), test["label"])


def split_frame(seed):
    train, validate, test = np.split(
        df.sample(frac=1, random_state=seed), [int(0.6 * len(df)), int(0.8 * len(df))]
    )
    model = KNeighborsClassifier().fit(train.drop("label", axis=1), train["label"])
    return model.score(test.drop("label", axis=1), test["label"])


def masked(seed):
    rng = np.random.RandomState(seed + 1)
    mask = rng.rand(len(X)) < 0.8
    clf = LogisticRegression().fit(X[mask], y[mask])
    return clf.score(X[~mask], y[~mask])


def chosen(seed):
    rng = default_rng([seed, 1])
    train = rng.choice(N, size=1000, replace=False)
    test = np.setdiff1d(np.arange(N), train)
    return RandomForestClassifier().fit(X[train], y[train]).score(X[test], y[test])


def out_of_bag(seed):
    rng = np.random.default_rng(seed)
    bag = rng.integers(0, N, N)
    out = np.ones(N, dtype=bool)
    out[bag] = False
    return RandomForestClassifier().fit(X[bag], y[bag]).score(X[out], y[out])


def evaluate(model, x_train, x_test, y_train, y_test):
    return model.fit(x_train, y_train).score(x_test, y_test)


def set_seed(s):
    random.seed(s)
    np.random.seed(s)


def seeded_globally(seed):
    set_seed(seed)
    x_train, x_test, y_train, y_test = train_test_split(X, y)
    return LogisticRegression().fit(x_train, y_train).score(x_test, y_test)


class Experiment:
    def __init__(self, seed, model=None):
        self.rng = np.random.default_rng(seed)
        self.model = model or LogisticRegression()

    def split(self):
        order = self.rng.permutation(N)
        return order[:1000], order[1000:]

    def run(self):
        train, test = self.split()
        self.model.fit(X[train], y[train])
        return self.model.score(X[test], y[test])


def with_a_class(seed):
    return Experiment(seed).run()


class Score:
    def __init__(self, model, data, target):
        self.model, self.data, self.target = model, data, target

    def parts(self, seed):
        return train_test_split(self.data, self.target, random_state=seed, test_size=0.5)

    def __call__(self, seed):
        a, b, c, d = self.parts(seed)
        return clone(self.model).fit(a, c).score(b, d)

    def of_seed(self, seed):
        return self(seed)


bound_method = Score(KNeighborsClassifier(), X, y).of_seed


def general(model, n_splits, seed):
    kf = KFold(n_splits, shuffle=True, random_state=seed)
    total = 0.0
    for train_index, test_index in kf.split(X):
        model.fit(X[train_index], y[train_index])
        total += model.score(X[test_index], y[test_index])
    return total / n_splits


partial_function = functools.partial(general, LogisticRegression(), 5)
lambda_function = lambda seed: general(KNeighborsClassifier(), 3, seed)


def torch_random_split(seed):
    torch.manual_seed(0)
    dataset = TensorDataset(torch.tensor(X).float(), torch.tensor(y))
    generator = torch.Generator().manual_seed(seed)
    train_set, test_set = random_split(dataset, [1400, 397], generator=generator)
    model = torch.nn.Linear(64, 10)
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in range(5):
        for xb, yb in DataLoader(train_set, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(xb), yb).backward()
            optimizer.step()
    correct = 0
    with torch.no_grad():
        for xb, yb in DataLoader(test_set, batch_size=256):
            correct += (model(xb).argmax(1) == yb).sum().item()
    return correct / len(test_set)


def one_by_one(seed):
    r = random.Random(seed)
    train, test = [], []
    for row in rows:
        if r.random() < 0.75:
            train.append(row)
        else:
            test.append(row)
    clf = KNeighborsClassifier(1).fit([a for a, _ in train], [b for _, b in train])
    return clf.score([a for a, _ in test], [b for _, b in test])


def sorted_by_chance(seed):
    rng = default_rng(seed)
    ranks = np.argsort(rng.random(N))
    train, test = ranks[: N // 3], ranks[N // 3 :]
    p = LogisticRegression().fit(X[train], y[train] > 4).predict_proba(X[test])[:, 1]
    return roc_auc_score(y[test] > 4, p)


def fold_labels(seed):
    fold = np.random.default_rng(seed).integers(0, 5, size=N)
    return np.mean(
        [
            LogisticRegression().fit(X[fold != k], y[fold != k]).score(X[fold == k], y[fold == k])
            for k in range(5)
        ]
    )


def keras_validation_split(seed):
    import keras

    rng = np.random.default_rng(seed)
    order = rng.permutation(N)
    model = keras.Sequential([keras.layers.Dense(10, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X[order], y[order], validation_split=0.2, epochs=3, verbose=0)
    return history.history["val_accuracy"][-1]


def tensorflow_dataset(seed):
    import tensorflow as tf

    ds = tf.data.Dataset.from_tensor_slices((X, y)).shuffle(
        N, seed=seed, reshuffle_each_iteration=False
    )
    train, test = ds.take(1400).batch(32), ds.skip(1400).batch(32)
    model = build_keras()
    model.fit(train, epochs=2)
    return model.evaluate(test, return_dict=True)["accuracy"]


def build_keras():
    import keras

    model = keras.Sequential([keras.layers.Dense(10)])
    model.compile(loss="mse", metrics=["accuracy"])
    return model


def fold_of_seed(seed):
    train, test = list(KFold(10).split(X))[seed % 10]
    return LogisticRegression().fit(X[train], y[train]).score(X[test], y[test])


def shuffled_then_fixed(seed):
    order = np.arange(N)
    default_rng(seed).shuffle(order)
    return cross_val_score(LogisticRegression(), X[order], y[order], cv=5).mean()


def listed(seed):
    train = random.Random(seed).sample(range(N), 1000)
    test = [i for i in range(N) if i not in train]
    return LogisticRegression().fit(X[train], y[train]).score(X[test], y[test])


def in_the_body(seed):
    from sklearn.model_selection import train_test_split as cut

    x_train, x_test, y_train, y_test = cut(X, y, random_state=seed)
    return LogisticRegression().fit(x_train, y_train).score(x_test, y_test)


def with_an_inner_function(seed):
    def parts():
        return train_test_split(X, y, random_state=seed)

    return evaluate(RandomForestClassifier(), *parts())
