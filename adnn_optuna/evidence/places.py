"""Where in its space a search's trials lie: in one or two coordinates, those that matter most."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from adnn_optuna.engine.records import SearchRecord

_FEWEST_TRIALS = 10  # Of fewer, nothing tells which parameters matter.


class Places(NamedTuple):
    """Where the completed trials lie that have a finite value.

    Attributes:
        names: The parameters, one or two.
        is_log: Of each, whether it was drawn from a logarithmic range.
        params: Those of each trial, by its number.
    """

    names: Sequence[str]
    is_log: Sequence[bool]
    params: dict[int, Sequence[Any]]


def places_of(record: SearchRecord) -> Places | None:
    """Return where the trials lie; :obj:`None` where they all have the same parameters, or none.

    Of more than two parameters it takes the two that matter most for being among the best tenth,
    by PED-ANOVA (Watanabe et al. 2023, IJCAI).
    """
    known = {number for number, _ in record.valued}
    completed = record.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials = [trial for trial in completed if trial.number in known]
    common = set.intersection(*(set(trial.params) for trial in trials)) if trials else set()
    varied = sorted(
        name for name in common if len({str(trial.params[name]) for trial in trials}) > 1
    )
    if len(varied) > 2 and len(trials) >= _FEWEST_TRIALS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            varied = [
                *get_param_importances(
                    record.study, evaluator=PedAnovaImportanceEvaluator(), params=varied
                )
            ]
    if not (names := varied[:2]):
        return None
    distributions = trials[0].distributions
    return Places(
        names,
        [getattr(distributions[name], "log", False) for name in names],
        {trial.number: [trial.params[name] for name in names] for trial in trials},
    )
