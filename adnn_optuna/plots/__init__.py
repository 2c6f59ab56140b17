"""Figures of studies, in the style of ``optuna.visualization``.

Each function takes a study or its record (or those of one searcher with several seeds, or those of
several searchers by label) and returns a plotly figure. They read only what the studies store, so
they work wherever the storage can be opened, without the model, the data and TensorFlow.
"""

from adnn_optuna.plots._comparison import plot_accuracy_distribution as plot_accuracy_distribution
from adnn_optuna.plots._comparison import plot_best_against_compute as plot_best_against_compute
from adnn_optuna.plots._comparison import plot_best_against_seconds as plot_best_against_seconds
from adnn_optuna.plots._comparison import plot_best_against_trials as plot_best_against_trials
from adnn_optuna.plots._comparison import plot_best_of_n as plot_best_of_n
from adnn_optuna.plots._comparison import plot_price_of_luck as plot_price_of_luck
from adnn_optuna.plots._comparison import plot_target_share as plot_target_share
from adnn_optuna.plots._comparison import plot_test_accuracy as plot_test_accuracy
from adnn_optuna.plots._search import plot_annealing as plot_annealing
from adnn_optuna.plots._search import plot_gain as plot_gain
from adnn_optuna.plots._search import plot_offsets as plot_offsets
from adnn_optuna.plots._search import plot_walk as plot_walk
from adnn_optuna.plots._test_set import plot_calibration as plot_calibration
from adnn_optuna.plots._test_set import plot_confusion_matrix as plot_confusion_matrix
