"""Estimate the overtuning of any Optuna study on its validation examples."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.study import StudyDirection

from adnn_optuna._attributes import CONFIG
from adnn_optuna._checks import WrongValueError, check_installed, did_you_mean, first_line, shown
from adnn_optuna.api._calls import called_by_users
from adnn_optuna.engine.example_scores import Examples
from adnn_optuna.engine.signals import progress_bar
from adnn_optuna.engine.storages import AnyStudy, opened_study
from adnn_optuna.results.overtuning import Overtuning, overtuning_of
from adnn_optuna.results.sentences import recheck_step
from adnn_optuna.stats.overtuning import Means, Metric

# The reported value may differ from the metric over all examples, because it may be a mean over
# folds.
_TOLERANCE = 0.05


@called_by_users
def overtuning(
    study: AnyStudy,
    *,
    metric: str | Callable[[np.ndarray, np.ndarray], float] | None = None,
    y_true: Any = None,
    show_progress_bar: bool = True,
) -> Overtuning:
    """Estimate the value of a study's best trial on new data, without a training run.

    The validation examples selected the best trial, so its value on them is too good. The estimate
    needs the scores of single examples, see :func:`~adnn_optuna.log_scores`. In each random split,
    two thirds of the examples select a trial, and the last third evaluates it.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            study.optimize(objective, n_trials=200)  # It returns adnn.log_scores(trial, scores).
            print(adnn.overtuning(study))

    Args:
        study: Any Optuna study with one objective, or its storage and its name.
        metric: The metric, if it is not the mean of scores, such as AUC or F1. Pass a function of
            labels and predictions, or the name of a scikit-learn scorer. The stored scores are
            then predictions: classes, numbers, or probabilities of the second class. A metric
            takes longer than a mean.
        y_true: The labels of the validation examples. Pass them if ``metric`` is set.
        show_progress_bar: Whether to show a progress bar after one second.

    Raises:
        TypeError: If an argument has a wrong type.
        FileNotFoundError: If the study's SQLite file does not exist.
        ValueError: If an argument is wrong. If the study has no scores. If a trial's value is not
            the mean of its scores and ``metric`` is omitted.
    """
    study, attrs, trials, _ = opened_study(study)
    if metric is None and y_true is not None:
        raise WrongValueError("y_true must be omitted if metric is omitted; got labels.")
    if metric is not None and y_true is None:
        raise WrongValueError("y_true must be the labels if metric is set; got none.")
    config = attrs.get(CONFIG, {})
    options: Any = {"metric": str(config.get("metric", ""))}
    n_splits = Means.n_splits
    if metric is not None:
        labels = np.asarray(y_true)
        n_splits = Metric.n_splits
        options["metric"] = getattr(metric, "__name__", str(metric))
        function = _scorer(metric, labels) if isinstance(metric, str) else metric
        maximize = study.direction == StudyDirection.MAXIMIZE
        options["measure_of"] = functools.partial(_measure, function, labels, maximize=maximize)
    with progress_bar(n_splits, show=show_progress_bar, unit="split", delay=1) as bar:
        options["after_split"] = bar.update
        result = overtuning_of(study, attrs, trials, **options)
    if result is None:
        raise WrongValueError(
            f"Study {study.study_name!r} must have completed trials with scores of single "
            "examples; got none. Return adnn.log_scores(trial, scores) from the objective."
        )
    if metric is None and (trial := result.most_unlike):
        i = result.trials.index(trial)
        raise WrongValueError(
            f"The values of trials must be the means of their scores; got {trial.values[0]:.6g} "
            f"for trial {trial.number}, whose scores have the mean {result.values[i]:.6g}. If the "
            "scores are predictions, pass metric= and y_true=. Otherwise return the value of "
            "adnn.log_scores from the objective."
        )
    return dataclasses.replace(result, _recheck=recheck_step(study, "study"))


def _measure(
    function: Callable[[np.ndarray, np.ndarray], float],
    labels: np.ndarray,
    examples: Examples,
    *,
    maximize: bool,
) -> Metric:
    """Return the metric of stored predictions, with the sign of the reported values.

    Some scikit-learn scorers negate a loss.
    """
    n = len(examples.scores)
    if labels.shape[:1] != (n,):
        raise WrongValueError(
            f"y_true must have a label for each of the {n} examples; got shape {labels.shape}. "
            "Pass the labels of the validation examples."
        )
    values = [trial.values[0] for trial in examples.trials]
    position = np.argmin(values)
    if maximize:
        position = np.argmax(values)
    best = int(position)
    reported = values[best]
    number = examples.trials[best].number
    try:
        value = float(function(labels, examples.scores[:, best]))
    except Exception as error:  # The metric is the user's function.
        raise WrongValueError(
            "metric must return a number for y_true and the stored scores; got "
            f"{type(error).__name__}: {first_line(error)}. Pass another metric."
        ) from error
    sign = 1
    if abs(value + reported) < abs(value - reported):
        sign = -1
    if not math.isclose(sign * value, reported, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
        raise WrongValueError(
            f"metric must give the values of the trials; got {value:.6g} for trial {number}, "
            f"which reported {reported:.6g}. Pass the study's metric and the labels in the order "
            "of the stored predictions."
        )
    scored_examples = (labels, examples.scores, examples.groups)
    return Metric(lambda y, predicted: sign * function(y, predicted), *scored_examples)


def _scorer(name: str, labels: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return a scorer of scikit-learn as a function of labels and stored predictions."""
    classes = np.unique(labels)
    check_installed("sklearn", "metric by the name of a scorer")
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.metrics import get_scorer, get_scorer_names
    from sklearn.utils.multiclass import type_of_target

    is_regression = type_of_target(labels).startswith("continuous")

    class Stored(RegressorMixin if is_regression else ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """An estimator that predicts its input."""

        classes_ = classes
        is_fitted_ = True

        def predict(self, x: np.ndarray) -> np.ndarray:
            if is_regression or np.isin(x, classes).all():
                return x
            return classes[(x > 0.5).astype(int)]

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return np.column_stack([1 - x, x])

    try:
        scorer = get_scorer(name)
    except ValueError as error:
        raise WrongValueError(
            f"metric must be a function or the name of a scorer of scikit-learn; got "
            f"{shown(name)}.{did_you_mean(name.removesuffix('_score'), get_scorer_names())}"
        ) from error
    return lambda y, predicted: float(scorer(Stored(), predicted, y))
