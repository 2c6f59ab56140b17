"""Ingber's moves on the unit cube. Numbers in parentheses are equations of ``_asa.py``."""

from collections.abc import Callable

import numpy as np

# A search has a round for each temperature. In a round, there are 48 moves from each of the 5 best
# points.
_SEARCH_TEMPERATURES = 0.1, 0.01, 0.001
_N_STARTS, _N_MOVES = 5, 48
N_SEARCH_UNIFORMS = 2 * len(_SEARCH_TEMPERATURES) * _N_MOVES


def generating_cdf(y: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Return the probability that a move is at most ``y``, which is the integral of (1)."""
    # 1/2 + sgn(y)/2 ln(1 + |y|/T) / ln(1 + 1/T)
    ratio = np.log1p(np.abs(y) / temperature) / np.log1p(1 / temperature)
    return 0.5 + 0.5 * np.copysign(ratio, y)


def generating_quantile(u: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Return the quantile ``u`` of the moves (2)."""
    y = temperature * np.expm1(np.abs(2 * u - 1) * np.log1p(1 / temperature))
    return np.copysign(y, u - 0.5)


def generate(x: np.ndarray, u: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Move coordinates by (1), truncated to [0, 1]. Ingber instead repeats moves that leave it."""
    lower = generating_cdf(-x, temperature)
    upper = generating_cdf(1 - x, temperature)
    y = generating_quantile(lower + u * (upper - lower), temperature)
    return np.clip(x + y, 0.0, 1.0)


def generate_choice(
    x: np.ndarray, u: np.ndarray, temperature: np.ndarray, n_choices: np.ndarray
) -> np.ndarray:
    """Move categorical coordinates. Each choice has 1/n_choices of [0, 1].

    The probability of another choice equals the probability that a numerical coordinate moves by
    more than half of such an interval. All other choices are equally likely, because categories
    have no order.
    """
    p_stay = 2 * generating_cdf(0.5 / n_choices, temperature) - 1
    n_others = n_choices - 1
    share = (u - p_stay) / (1 - p_stay)
    shift = np.minimum(1 + np.floor(share * n_others), n_others)
    choice = np.floor(x * n_choices)
    new_choice = (choice + shift) % n_choices
    return np.where(u < p_stay, x, (new_choice + 0.5) / n_choices)


def move(
    x: np.ndarray, u: np.ndarray, temperature: np.ndarray, n_choices: np.ndarray
) -> np.ndarray:
    """Move numerical and categorical coordinates. Draw unknown ones from their whole range."""
    moved = generate(x, u, temperature)
    columns = n_choices > 0
    if columns.any():
        moved[..., columns] = generate_choice(
            x[..., columns], u[..., columns], temperature[columns], n_choices[columns]
        )
    return np.where(np.isnan(x), u, moved)


def search(
    points: np.ndarray,
    placed: Callable[[np.ndarray], np.ndarray],
    merits: Callable[[np.ndarray], np.ndarray],
    us: np.ndarray,
    n_choices: np.ndarray,
) -> np.ndarray:
    """Return the point with the largest merit among moves from the best points."""
    n_dims = points.shape[1]
    points = placed(points)
    point_merits = merits(points)
    us = us.reshape(len(_SEARCH_TEMPERATURES), 2, _N_MOVES, n_dims)
    for temperature, (u_move, u_stay) in zip(_SEARCH_TEMPERATURES, us, strict=True):
        # On average, a move changes 1.5 coordinates, or 35% of the coordinates if this is more.
        stays = u_stay > max(1.5 / n_dims, 0.35)
        temperatures = np.full(n_dims, temperature)
        starts = points[np.argsort(-point_merits)[:_N_STARTS], None]
        moved = np.where(stays, starts, move(starts, u_move, temperatures, n_choices))
        points = np.vstack([points, placed(moved.reshape(-1, n_dims))])
        point_merits = np.append(point_merits, merits(points[len(point_merits) :]))
    return points[np.argmax(point_merits)]
