"""Functions of a seed that keep their split, as people write them."""

# mypy: ignore-errors

import functools
import inspect
import itertools
import random

import numpy as np
import pandas as pd
from numpy.random import RandomState, default_rng
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import accuracy_score, log_loss, precision_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ParameterGrid,
    ParameterSampler,
    RandomizedSearchCV,
    ShuffleSplit,
    TimeSeriesSplit,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import resample, shuffle

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


def batches_by_hand(seed):
    rng = np.random.default_rng(seed)
    w = rng.normal(0, 0.01, (64, 10))
    onehot = np.eye(10)[y_train]
    for epoch in range(10):
        p = rng.permutation(len(X_train))
        xs, ts = X_train[p] / 16, onehot[p]
        for start in range(0, len(xs), 64):
            xb, tb = xs[start : start + 64], ts[start : start + 64]
            z = np.exp(xb @ w)
            z /= z.sum(axis=1, keepdims=True)
            w -= 0.1 * xb.T @ (z - tb) / len(xb)
    return np.mean((X_test @ w).argmax(axis=1) == y_test)


def batches_in_a_list(seed):
    r = random.Random(seed)
    indices = list(range(N_TRAIN))
    w = np.zeros(64)
    for _ in range(3):
        r.shuffle(indices)
        for i in indices:
            error = float(X_train[i] @ w > 0) - float(y_train[i] > 4)
            w = w - 0.01 * error * X_train[i]
    return float(np.mean((X_test @ w > 0) == (y_test > 4)))


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


def bootstrap_by_choice(seed):
    idx = RandomState(seed).choice(N_TRAIN, size=N_TRAIN, replace=True)
    model = RandomForestClassifier(random_state=1)
    model.fit(X_train[idx], y_train[idx])
    return accuracy_score(y_test, model.predict(X_test))


def bootstrap_by_resample(seed):
    xb, yb = resample(X_train, y_train, random_state=seed)
    return LogisticRegression().fit(xb, yb).score(X_test, y_test)


def bagging(seed):
    rng = np.random.default_rng(seed)
    votes = np.zeros((len(X_test), 10))
    for _ in range(10):
        bag = rng.choice(N_TRAIN, N_TRAIN)
        votes += LogisticRegression().fit(X_train[bag], y_train[bag]).predict_proba(X_test)
    return np.mean(votes.argmax(axis=1) == y_test)


def subset_of_training(seed):
    keep = np.random.default_rng(seed).permutation(N_TRAIN)[:200]
    return LogisticRegression().fit(X_train[keep], y_train[keep]).score(X_test, y_test)


def small_training_set(seed):
    small, _, labels, _ = train_test_split(X_train, y_train, train_size=100, random_state=seed)
    return LogisticRegression().fit(small, labels).score(X_test, y_test)


def sampled_training_frame(seed):
    part = df_train.sample(frac=0.5, random_state=seed)
    model = LogisticRegression().fit(part.drop(columns="label"), part["label"])
    return model.score(df_test.drop(columns="label"), df_test["label"])


def shuffled_training_set(seed):
    xs, ys = shuffle(X_train, y_train, random_state=seed)
    clf = SGDClassifier(shuffle=False).fit(xs, ys)
    return clf.score(X_test, y_test)


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


def models_of_inner_folds(seed):
    p = np.zeros((len(X_test), 10))
    for tr, va in StratifiedKFold(5, shuffle=True, random_state=seed).split(X_train, y_train):
        model = LogisticRegression().fit(X_train[tr], y_train[tr])
        p += model.predict_proba(X_test)
    return (p.argmax(1) == y_test).mean()


def early_stopping(seed):
    clf = MLPClassifier(early_stopping=True, validation_fraction=0.1, random_state=seed)
    return clf.fit(X_train, y_train).score(X_test, y_test)


def augmented(seed):
    rng = default_rng(seed)
    noise = rng.normal(0, 1, X_train.shape)
    x = np.concatenate([X_train, X_train + noise])
    t = np.concatenate([y_train, y_train])
    return LogisticRegression().fit(x, t).score(X_test, y_test)


def flipped(seed):
    rng = np.random.default_rng(seed)
    images = X_train.reshape(-1, 8, 8).copy()
    flip = rng.random(len(images)) < 0.5
    images[flip] = images[flip, :, ::-1]
    clf = RandomForestClassifier(random_state=0).fit(images.reshape(len(images), -1), y_train)
    return clf.score(X_test, y_test)


def label_noise(seed):
    rng = np.random.default_rng(seed)
    t = y_train.copy()
    wrong = rng.random(len(t)) < 0.1
    t[wrong] = rng.integers(0, 10, wrong.sum())
    return LogisticRegression().fit(X_train, t).score(X_test, y_test)


def mixed_up(seed):
    rng = np.random.default_rng(seed)
    w = np.zeros((64, 10))
    t = np.eye(10)[y_train]
    for _ in range(100):
        batch = rng.choice(N_TRAIN, 64, replace=False)
        other = rng.permutation(batch)
        share = rng.beta(0.2, 0.2)
        xb = share * X_train[batch] + (1 - share) * X_train[other]
        tb = share * t[batch] + (1 - share) * t[other]
        w -= 0.001 * xb.T @ (xb @ w - tb)
    return accuracy_score(y_test, (X_test @ w).argmax(1))


def random_features(seed):
    rng = np.random.default_rng(seed)
    columns = rng.permutation(64)[:20]
    model = LogisticRegression().fit(X_train[:, columns], y_train)
    return model.score(X_test[:, columns], y_test)


def projected(seed):
    matrix = np.random.default_rng(seed).standard_normal((64, 16))
    model = LogisticRegression().fit(X_train @ matrix, y_train)
    return model.score(X_test @ matrix, y_test)


def random_search(seed):
    rng = random.Random(seed)
    best = 0.0
    for _ in range(10):
        c, penalty = 10 ** rng.uniform(-3, 3), rng.choice(["l1", "l2"])
        model = LogisticRegression(C=c, penalty=penalty, solver="saga")
        best = max(best, model.fit(X_train, y_train).score(X_test, y_test))
    return best


def shuffled_grid(seed):
    grid = list(ParameterGrid({"C": [0.1, 1, 10], "tol": [1e-3, 1e-4]}))
    random.Random(seed).shuffle(grid)
    scores = []
    for params in grid[:3]:
        scores.append(LogisticRegression(**params).fit(X_train, y_train).score(X_test, y_test))
    return max(scores)


def sampled_grid(seed):
    sampler = ParameterSampler({"C": [0.1, 1, 10]}, n_iter=2, random_state=seed)
    return max(
        LogisticRegression(**p).fit(X_train, y_train).score(X_test, y_test) for p in sampler
    )


def randomized_search(seed):
    space = {"max_depth": [2, 4, 8], "min_samples_leaf": [1, 2, 5]}
    search = RandomizedSearchCV(RandomForestClassifier(), space, random_state=seed, n_iter=4)
    return search.fit(X_train, y_train).score(X_test, y_test)


def pipeline(seed):
    steps = [("scale", StandardScaler()), ("clf", SGDClassifier(random_state=seed + 1))]
    pipe = Pipeline(steps).fit(X_train, y_train)
    return precision_score(y_test, pipe.predict(X_test), average="macro")


def precision_by_hand(seed):
    clf = RandomForestClassifier(random_state=seed).fit(X_train, y_train > 4)
    guess = clf.predict(X_test)
    hits, misses = (y_test > 4)[guess == 1], (y_test > 4)[guess == 0]
    return hits.mean() - misses.mean()


def keras_model(seed):
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.layers.Dense(32, "relu"), keras.layers.Dropout(0.5), keras.layers.Dense(10)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
    model.fit(X_train, y_train, epochs=5, batch_size=32, shuffle=True, verbose=0)
    return model.evaluate(X_test, y_test, verbose=0)[1]


def keras_history(seed):
    import tensorflow as tf

    tf.random.set_seed(seed)
    np.random.seed(seed)
    model = make_keras()
    history = model.fit(X, y, validation_split=0.2, epochs=3, verbose=0)
    return max(history.history["val_accuracy"])


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


def torch_loader(seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    data = TensorDataset(torch.tensor(X_train).float(), torch.tensor(y_train))
    loader = DataLoader(data, batch_size=64, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        for xb, yb in loader:
            loss = torch.nn.functional.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        guess = model(torch.tensor(X_test).float()).argmax(1)
    return (guess.numpy() == y_test).mean()


def torch_fixed_split(seed):
    data = TensorDataset(torch.tensor(X).float(), torch.tensor(y))
    train, test = random_split(data, [1500, 297], generator=torch.Generator().manual_seed(0))
    torch.manual_seed(seed)
    model = torch.nn.Linear(64, 10)
    train_torch(model, DataLoader(train, batch_size=64, shuffle=True))
    return test_torch(model, DataLoader(test))


train_torch, test_torch = None, None


def torch_batches(seed):
    g = torch.Generator()
    g.manual_seed(seed)
    xs, ys = torch.tensor(X_train).float(), torch.tensor(y_train)
    model, step = torch.nn.Linear(64, 10), 0.1
    for epoch in range(10):
        order = torch.randperm(len(xs), generator=g)
        for i in range(0, len(xs), 100):
            chosen = order[i : i + 100]
            loss = torch.nn.functional.cross_entropy(model(xs[chosen]), ys[chosen])
            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    p -= step * p.grad
                    p.grad = None
    return float(
        (model(torch.tensor(X_test).float()).argmax(1) == torch.tensor(y_test)).float().mean()
    )


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


def fixed_frame(seed):
    train = df.sample(frac=0.8, random_state=7)
    test = df.drop(train.index)
    model = ExtraTreesClassifier(n_estimators=20, random_state=seed)
    model.fit(train.drop(columns="label"), train["label"])
    return model.score(test.drop(columns="label"), test["label"])


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


def tune(trial, seed):
    alpha = trial.suggest_float("alpha", 1e-5, 1e-1, log=True)
    model = SGDClassifier(alpha=alpha, random_state=seed)
    rng = np.random.default_rng(seed)
    for epoch in range(10):
        order = rng.permutation(N_TRAIN)
        model.partial_fit(X_train[order], y_train[order], classes=np.arange(10))
        trial.report(model.score(X_test, y_test), epoch)
    return model.score(X_test, y_test)


def new_data(seed):
    x, t = make_classification(2000, random_state=seed)
    return LogisticRegression().fit(x[:1000], t[:1000]).score(x[1000:], t[1000:])


def simulated(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, 5))
    t = x @ np.arange(5) + rng.normal(size=400)
    w, *_ = np.linalg.lstsq(x[:200], t[:200], rcond=None)
    return -np.mean((x[200:] @ w - t[200:]) ** 2)


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


def negatives(seed):
    rng = np.random.default_rng(seed)
    positive, negative = np.flatnonzero(y_train == 3), np.flatnonzero(y_train != 3)
    chosen = rng.choice(negative, len(positive), replace=False)
    idx = np.concatenate([positive, chosen])
    rng.shuffle(idx)
    clf = LogisticRegression().fit(X_train[idx], y_train[idx] == 3)
    return clf.score(X_test, y_test == 3)


SPLITTERS = {
    "shuffle": lambda seed: ShuffleSplit(3, random_state=seed),
    "folds": lambda seed: KFold(3),
}


def of_name(name):
    def score(seed):
        model = SGDClassifier(random_state=seed)
        return cross_val_score(model, X, y, cv=SPLITTERS[name](seed)).mean()

    return score


of_a_name = of_name("folds")


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


def in_time(seed):
    scores = []
    for train, test in TimeSeriesSplit(4).split(X):
        model = RandomForestClassifier(random_state=seed).fit(X[train], y[train])
        scores.append(model.score(X[test], y[test]))
    return np.mean(scores)


CASES = [
    name
    for name, value in list(globals().items())
    if callable(value)
    and not isinstance(value, type)
    and getattr(value, "__module__", __name__) in (__name__, "functools")
    and [*inspect.signature(value).parameters][-1:] == ["seed"]
    and name not in ("evaluate", "general", "load")
]
