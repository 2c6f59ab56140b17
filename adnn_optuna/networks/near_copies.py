"""Test samples that nearly equal a validation sample.

Two samples are near copies if they are far closer to each other than to any other sample. Data may
have such pairs by nature, but then as many within a split as between splits: if splits are random,
each pair has the same chance to be between them. Only more pairs between them are told.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NEAR = 1 / 3  # Of the distance to any other sample.
_CHANCE = 1e-4  # The probability of a false alarm if splits are random.
_MOST_SAMPLES = 2000  # Of both splits; fewer if they are large.
_MOST_FEATURES = 4096  # Others are left out, so that large images take no memory.
_MOST_PRODUCTS = 2 * 10**9


def count_near_copies(x_val: NDArray[Any], x_test: NDArray[Any]) -> int:
    """Return about how many test samples nearly equal a validation sample; 0 if it may be chance.

    Samples that are next to each other in one direction are compared, so that those of large
    splits are together with their near copies.
    """
    if len(x_val) == 0:
        return 0
    # Not above, as importing the package's data is to stay light.
    from scipy.special import bdtrc

    rng = np.random.default_rng(0)
    val, test = (x.reshape(len(x), -1) for x in (x_val, x_test))
    if val.shape[1] > _MOST_FEATURES:
        features = rng.integers(val.shape[1], size=_MOST_FEATURES)
        val, test = val[:, features], test[:, features]
    n_features = val.shape[1]
    n = min(_MOST_SAMPLES, math.isqrt(_MOST_PRODUCTS // n_features), len(val) + len(test))
    weights = np.ones(n_features)
    if x_val.ndim == 2:
        weights = _weights(*(x[rng.permutation(len(x))[:n]].astype(float) for x in (val, test)))
    direction = weights * rng.standard_normal(n_features)
    # In parts, as the product needs a copy of each of them as floats.
    parts = [part for x in (val, test) for part in np.array_split(x, 1 + x.size // 10**6)]
    order = np.argsort(np.concatenate([part @ direction for part in parts]), kind="stable")
    middle = order[(len(order) - n) // 2 :][:n]
    of_val, of_test = middle[middle < len(val)], middle[middle >= len(val)] - len(val)
    rows = np.concatenate([val[of_val], test[of_test]]).astype(float)
    pairs = _near_pairs((rows - rows.mean(axis=0)) * weights)
    pairs = pairs[(rows[pairs[:, 0]] != rows[pairs[:, 1]]).any(axis=1)]  # Others are copies.
    n_between = int(np.count_nonzero((pairs < len(of_val)).sum(axis=1) == 1))
    chance = 2 * len(of_val) * len(of_test) / (n * (n - 1)) if n > 1 else 1.0
    is_chance = bdtrc(n_between - 1, len(pairs), chance) > _CHANCE
    if n_between == 0 or is_chance:
        return 0
    return round(n_between / len(of_test) * len(test))


def _weights(val: NDArray[np.float64], test: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the features of tables, which may have any units."""
    if min(val.min(), test.min()) >= 0 and max(val.max(), test.max()) <= 1:
        return np.ones(val.shape[1])  # Pixels in rows, shares or categories.
    sd = np.minimum(val.std(axis=0), test.std(axis=0))
    # What a constant feature has in the other split may be noise.
    weights = np.zeros(len(sd))
    weights[sd > 0] = 1 / sd[sd > 0]
    return weights


def _near_pairs(rows: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the pairs of rows that are near copies, with their smaller number first."""
    squares = np.einsum("ij,ij->i", rows, rows)
    distances = squares[:, None] + squares - 2 * (rows @ rows.T)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    one = np.flatnonzero(nearest[nearest] == np.arange(len(rows)))
    one = one[one < nearest[one]]
    pairs = np.stack([one, nearest[one]], axis=1)
    # The product of rows is not exact, most of all for near copies.
    own = np.square(rows[pairs[:, 0]] - rows[pairs[:, 1]]).sum(axis=1)
    distances[pairs, pairs[:, ::-1]] = np.inf
    others = distances[pairs].min(axis=(1, 2), initial=np.inf)
    return np.asarray(pairs[own < _NEAR**2 * others])
