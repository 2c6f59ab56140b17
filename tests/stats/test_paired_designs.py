"""Comparisons on random splits of one data set, simulated with equally good models."""

from __future__ import annotations

import numpy as np
import pytest

from adnn_optuna.stats.paired_differences import PairedDesign

N_EXAMPLES, N_TEST, N_ROWS = 150, 30, 10


def has_claim(seed: int, n_splits: int) -> bool:
    """Return whether two equally good models seem to differ, by their means over random splits."""
    rng = np.random.default_rng(seed)
    difficulty = rng.standard_normal((N_EXAMPLES, 1))
    is_right = difficulty + rng.standard_normal((N_EXAMPLES, 2)) > -1
    accuracies = np.empty((N_ROWS, n_splits, 2))
    for split in np.ndindex(N_ROWS, n_splits):
        accuracies[split] = is_right[rng.permutation(N_EXAMPLES)[:N_TEST]].mean(axis=0)
    splits = {"a": accuracies[..., 0].tolist(), "b": accuracies[..., 1].tolist()}
    means = {label: np.mean(of_arm, axis=1).tolist() for label, of_arm in splits.items()}
    design = PairedDesign([], N_ROWS, resampled=(N_EXAMPLES - N_TEST, N_TEST))
    rows = design.differences(means)
    [row] = design.for_new_data(rows, means, n_claims=1, splits=splits if n_splits > 1 else None)
    return row.verdict in ("better", "worse")


@pytest.mark.parametrize("n_splits", [1, 5])
def test_equal_models_seldom_seem_to_differ_with_one_or_more_splits_per_row(
    n_splits: int,
) -> None:
    share = np.mean([has_claim(seed, n_splits) for seed in range(300)])
    # If each row of five splits counted as one split, 29% of claims would be false.
    assert share <= 0.08
