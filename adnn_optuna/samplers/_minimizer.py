"""The method of Broyden, Fletcher, Goldfarb and Shanno (BFGS), as in [1].

For 50 points, the overhead of SciPy's implementation takes as much time as the likelihood.

References:
    [1] J. Nocedal and S. J. Wright. Numerical optimization. Springer, 2006. Chapter 6.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_GRADIENT_TOLERANCE = 0.1
_LONGEST_STEP = 2.0
_N_HALVINGS = 8
_SUFFICIENT_DECREASE = 1e-4  # As a share of the decrease that the gradient predicts.

Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""A function of a point that returns its value and its gradient."""


class Minimum(NamedTuple):
    """The lowest point that a search reached."""

    x: np.ndarray
    value: float
    inverse_hessian: np.ndarray  # The estimate at the lowest point.


def minimize(
    loss: Loss, x: np.ndarray, n_steps: int, inverse_hessian: np.ndarray | None = None
) -> Minimum:
    """Search for a minimum from a point, for a number of steps."""
    value, gradient = loss(x)
    is_unscaled = inverse_hessian is None
    if inverse_hessian is None:  # The first step has length 1.
        inverse_hessian = np.eye(len(x)) / max(float(np.sqrt(gradient @ gradient)), 1e-12)
    for _ in range(n_steps):
        if np.abs(gradient).max() < _GRADIENT_TOLERANCE:
            break
        step = -inverse_hessian @ gradient
        step *= min(1.0, _LONGEST_STEP / float(np.abs(step).max()))
        promised = _SUFFICIENT_DECREASE * float(gradient @ step)
        new_value, new_gradient = loss(x + step)
        for _halving in range(_N_HALVINGS):
            if new_value <= value + promised:
                break
            step, promised = step / 2, promised / 2
            new_value, new_gradient = loss(x + step)
        else:
            break
        change = new_gradient - gradient  # [1] calls the change y and the step s.
        curvature = change @ step
        if is_unscaled and curvature > 0:
            inverse_hessian = np.eye(len(x)) * curvature / (change @ change)  # (6.20)
            is_unscaled = False
        if curvature > 0:  # (6.17)
            changed = inverse_hessian @ change
            crossed = np.outer(changed, step)
            weight = 1 + change @ changed / curvature
            rise = weight * np.outer(step, step) - crossed - crossed.T
            inverse_hessian = inverse_hessian + rise / curvature
        x, value, gradient = x + step, new_value, new_gradient
    return Minimum(x, value, inverse_hessian)
