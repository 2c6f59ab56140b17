"""In which coordinates the trials of a search are seen best."""

import warnings

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from adnn_optuna.engine.records import SearchRecord

_FEWEST_TRIALS = 10  # Of fewer, nothing tells which parameters matter.


def places_of(record: SearchRecord) -> tuple[list[str], list[FrozenTrial]]:
    """Return one or two parameters of which the trials have several values, and these trials.

    Of more, it returns the two that matter most for being among the best tenth, by PED-ANOVA
    (Watanabe et al. 2023, IJCAI). Trials without a finite value are left out.
    """
    values = dict(record.valued)
    trials = [trial for trial in record.done_trials if trial.number in values]
    names = sorted(set.intersection(*(set(t.params) for t in trials)) if trials else ())
    names = [n for n in names if len({str(trial.params[n]) for trial in trials}) > 1]
    if len(names) > 2 and len(trials) >= _FEWEST_TRIALS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            evaluator = PedAnovaImportanceEvaluator()
            names = [*get_param_importances(record.study, evaluator=evaluator, params=names)]
    return names[:2], trials
