"""Networks that predict together: trained afresh, none chosen, averaged."""

import dataclasses
import functools
import math
import threading

from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError, as_integer
from adnn_optuna.api._predicting import Predicting
from adnn_optuna.api._told import Told, found_by_evaluating
from adnn_optuna.api.accountability import Contract
from adnn_optuna.api.search import run_search
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine import studies
from adnn_optuna.engine.ensembles import seeds_of_members
from adnn_optuna.engine.evaluations import open_evaluations
from adnn_optuna.engine.members import NAMES, Members
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.retraining import is_random
from adnn_optuna.engine.signals import interrupted_where_called, interruptible
from adnn_optuna.engine.storages import patiently
from adnn_optuna.evidence.ensembles import EnsembleFacts
from adnn_optuna.networks.predictors import Predictor
from adnn_optuna.networks.training import n_cores


@dataclasses.dataclass
class Ensemble(Told, Predicting, EnsembleFacts):
    """Networks that predict together, by the mean of their predictions; printed, what that gains.

    Args:
        evaluations: The test scores of the networks that were trained, by the seed.
        study_name: The study of the trainings.
        seeds: The seeds of the networks, which follow from the objective's.
        head: The outputs of a network.
        dataset: The data.
        predicted: What each network predicts on the test set.
        trained: The networks.
        objective: What was trained.

    Attributes:
        missing: The networks that are still to be trained; none at the end.
        n_evaluations: How many there are to be.
    """

    _telling = "findings.ensemble"

    trained: Members = dataclasses.field(repr=False)
    objective: InitOffsetObjective = dataclasses.field(repr=False)

    def _predictor(self) -> Predictor:
        weights = [self.trained.weights[seed] for seed in self.seeds if seed in self.predicted]
        if not weights:
            raise WrongValueError(
                f"The ensemble {self.study_name!r} has no network that was trained to its end, so "
                "it predicts nothing; make the same call again."
            )
        return Predictor(self.objective.trainer, lambda: weights)

    def contract(self) -> Contract:
        """Return it as a contract that anyone can check, see :func:`~adnn_optuna.verify`.

        All is trained again: the average and its first network alone, which is the baseline, and
        both from fresh seeds, see :meth:`SearchResult.confirm <adnn_optuna.SearchResult.confirm>`.

        Raises:
            ValueError: If trainings are missing, or all diverge.
        """
        if self.missing:
            raise WrongValueError(
                f"{len(self.missing)} of the {len(self.seeds)} networks of {self.study_name!r} "
                "are not trained yet; make the same call again."
            )
        first = self.objective.replace(seed=self.seeds[0])
        limits = checked_limits(max_trial=len(self.seeds))
        plan = studies.Plan(first, self.study_name, stored.ENSEMBLE, limits)
        with interruptible() as stop:
            result = run_search(
                plan, InMemoryStorage(), stop, test=True, confirm=0, show_progress_bar=False
            )
        return result.contract()


@interrupted_where_called
def ensemble(
    objective: InitOffsetObjective,
    n: int = 5,
    *,
    storage: str | BaseStorage | None = None,
    study_name: str = "ensemble",
    max_time: float | None = None,
    show_progress_bar: bool = False,
) -> Ensemble:
    """Train fresh networks, nothing moved and none chosen, and average what they predict.

    Of classes the probabilities are averaged (Lakshminarayanan et al. 2017, Simple and Scalable
    Predictive Uncertainty Estimation using Deep Ensembles). Each network has random initial
    weights and an order of the batches of its own.

    The trainings are trials of a study, which also keeps the weights (of networks up to 32 MB),
    and are never made twice: the same call goes on where one ended, one with a larger ``n`` trains
    some more, and any number of processes may work together.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            result = adnn.ensemble(objective, n=5)
            print(result)
            result.save("ensemble.keras")

    Args:
        objective: What is trained. The seeds of the networks follow from its own, which is none
            of them; its space and its metric do not matter.
        n: The number of networks, at least 2.
        storage: Where the trainings are, see :func:`~adnn_optuna.search`.
        study_name: The name of their study.
        max_time: The seconds that they may take, over all calls; those under way are cut off then.
        show_progress_bar: Whether to show a progress bar.

    Returns:
        What is known then.

    Raises:
        TypeError: If the objective is none.
        ValueError: If an argument is wrong, nothing is random, or the study has other trainings.
        KeyboardInterrupt: If the user interrupts; all finished trainings are stored.
    """
    trainer = studies.check_objective(objective).trainer
    if as_integer("n", n) < 2:
        raise WrongValueError(
            f"n must be at least 2, for one network is no ensemble, but it is {n}."
        )
    checked_limits(max_time=max_time)
    if not is_random(objective):
        raise WrongValueError(
            "Neither the initial weights nor the order of the batches are random, so all networks "
            "would be the same."
        )
    evaluated = {key: v for key, v in objective.config.items() if key not in ("space", "metric")}
    study = patiently(open_evaluations, storage, study_name, StudyDirection.MAXIMIZE, evaluated)
    stop = threading.Event()
    members = Members(objective, study, stop, max_time)
    # Fresh, and the same as those of the control of this seed.
    [_, first] = seeds_of_members(objective.seed, 2)
    found = found_by_evaluating(
        functools.partial(
            Ensemble,
            study_name=study_name,
            seeds=tuple(seeds_of_members(first, int(n))),
            head=trainer.architecture.head,
            dataset=trainer.dataset,
            predicted={},
            trained=members,
            objective=objective,
        ),
        study,
        NAMES,
        members.train,
        stop=stop,
        n_jobs=trainer.n_at_once(least=n_cores()),
        max_time=max_time,
        show_progress_bar=show_progress_bar,
    )
    values = {seed: found.evaluations.get((seed,), math.nan) for seed in found.seeds}
    members.load([seed for seed, value in values.items() if math.isfinite(value)])
    return dataclasses.replace(found, predicted=members.predicted)
