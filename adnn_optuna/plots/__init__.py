"""Figures of studies, in the style of ``optuna.visualization``.

Each function returns a plotly figure. ``study`` is a study or its record or, where a function says
so, those of one searcher with several seeds; ``runs`` are those of several searchers, by their
labels. Figures read what the studies store: they need no model, no data and no TensorFlow.
"""

from adnn_optuna.plots._comparison import (
    plot_accuracy_distribution,
    plot_best_against_compute,
    plot_best_against_trials,
    plot_best_of_n,
    plot_gain,
    plot_gain_against_members,
    plot_price_of_luck,
    plot_test_accuracy,
)

__all__ = [
    "plot_accuracy_distribution",
    "plot_best_against_compute",
    "plot_best_against_trials",
    "plot_best_of_n",
    "plot_gain",
    "plot_gain_against_members",
    "plot_price_of_luck",
    "plot_test_accuracy",
]
