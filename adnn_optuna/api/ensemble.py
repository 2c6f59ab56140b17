"""Networks that predict together: trained on new seeds, none selected, averaged."""

import dataclasses
import functools
import math
import threading
import time
from typing import Any, Literal

import numpy as np
from optuna.storages import BaseStorage

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError, as_integer
from adnn_optuna.api._calls import found_by_evaluating, interrupted_where_called
from adnn_optuna.api.predicting import Predicting
from adnn_optuna.api.search import run_search
from adnn_optuna.callbacks import MaxTimeCallback, checked_limits
from adnn_optuna.contracts.contract import Contract
from adnn_optuna.engine import studies
from adnn_optuna.engine.arms import seeds_of_members
from adnn_optuna.engine.evaluations import open_evaluations
from adnn_optuna.engine.example_scores import as_attributes, from_attributes
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.objectives import Outcome
from adnn_optuna.engine.storages import with_retry
from adnn_optuna.engine.test_evaluations import n_evaluations_elsewhere
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.predictors import Predictor, predictions
from adnn_optuna.networks.training import is_finite, n_cores
from adnn_optuna.results.ensemble import EnsembleScores
from adnn_optuna.samplers._evaluations import evaluation_of
from adnn_optuna.samplers._trials import is_done

_NAMES = ("seed",)
_MOST_BYTES = 2**25  # Larger networks are not stored, but trained again when they are needed.


@dataclasses.dataclass(frozen=True)
class Ensemble(Predicting, EnsembleScores):
    """Networks that predict together, by the mean of their predictions.

    Attributes:
        evaluations: The test scores of the networks that were trained, by the seed.
        study_name: The name of their study.
        seeds: The seeds of the networks, which follow from the objective's.
        predicted: The predictions of each network on the test set, by the seed.
        objective: The objective that was trained.
    """

    weights: dict[int, list[np.ndarray]] = dataclasses.field(repr=False)
    objective: InitOffsetObjective = dataclasses.field(repr=False)

    def _predictor(self) -> Predictor:
        weights = [self.weights[seed] for seed in self.seeds if seed in self.predicted]
        if not weights:
            raise WrongValueError(
                f"An ensemble must have a trained network to predict; got none in "
                f"{self.study_name!r}. Make the same call again."
            )
        return Predictor(self.objective.trainer, lambda: weights)

    def contract(self, *, data: Literal["embed"] | None = None) -> Contract:
        """Return the average as a contract that others can check, see :func:`~adnn_optuna.verify`.

        All networks are trained again. The baseline is the first network alone. Both are also
        trained on new seeds, see :meth:`SearchResult.confirm <adnn_optuna.SearchResult.confirm>`.

        Args:
            data: As for :meth:`SearchResult.contract <adnn_optuna.SearchResult.contract>`.

        Raises:
            ValueError: If all training runs diverge, or the data to embed are too large.
        """
        first = self.objective.replace(seed=self.seeds[0])
        limits = checked_limits(max_trial=len(self.seeds))
        plan = studies.StudySpec(first, self.study_name, stored.ENSEMBLE, limits)
        found = run_search(plan, None, test=True, confirm=0, show_progress_bar=False)
        return found.contract(data=data)


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
    """Train new networks without offsets, select none, and average their predictions.

    For classes, probabilities are averaged (Lakshminarayanan et al. 2017, Simple and Scalable
    Predictive Uncertainty Estimation using Deep Ensembles). Each network has its own random
    initial weights and its own order of the batches.

    The training runs are trials of a study, which also stores the weights (of networks up to
    32 MB). None is made twice: the same call resumes, and a call with a larger ``n`` trains more
    networks. Any number of processes may work together.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            result = adnn.ensemble(objective, n=5)
            print(result)
            result.save("ensemble.keras")

    Args:
        objective: The objective. The seeds of the networks follow from its own seed, which is
            none of them. Its space and its metric do not matter.
        n: The number of networks, at least 2.
        storage: Where the training runs are stored, see :func:`~adnn_optuna.search`.
        study_name: The name of their study.
        max_time: The seconds that training may take, over all calls. Then it is cut off.
        show_progress_bar: Whether to show a progress bar.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If an argument is wrong, or the study has other training runs.
        KeyboardInterrupt: If the user interrupts; all finished training runs are stored.
    """
    trainer = studies.check_objective(objective, "an InitOffsetObjective").trainer
    n = as_integer("n", n, low=2)
    checked_limits(max_time=max_time)
    data, head = trainer.dataset, trainer.architecture.head
    evaluated = {key: v for key, v in objective.config.items() if key not in ("space", "metric")}
    test_rows = data.test_fingerprint
    study = open_evaluations(storage, study_name, evaluated, test_rows=test_rows)
    stop = threading.Event()
    weights: dict[int, list[np.ndarray]] = {}

    def start(seed: int) -> Start:
        return dataclasses.replace(objective.baseline_start, seed=seed)

    def train(seed: int) -> Outcome:
        """Return the test score of a network, and its weights as they are kept."""
        left = math.inf if max_time is None else MaxTimeCallback(max_time).seconds_left(study)
        limits: Any = {"stop": stop, "deadline": time.monotonic() + left}
        [run] = trainer.train_in_turn([start(seed)], **limits)
        if run.status == "stopped":
            raise KeyboardInterrupt
        if run.status == "timeout":
            return Outcome("timeout")
        if not is_finite(run.metrics):
            return Outcome("pruned")
        weights[seed] = trained = run.weights or []
        score = trainer.tested(trained)[0][f"test_{head.score}"]
        is_kept = sum(array.nbytes for array in trained) <= _MOST_BYTES
        kept = as_attributes(stored.WEIGHTS, *trained) if is_kept else {}
        return Outcome("complete", score, system_attrs=kept)

    # The same seeds as those of the control of this seed.
    [_, first] = seeds_of_members(objective.seed, 2)
    found = found_by_evaluating(
        functools.partial(
            Ensemble,
            study_name=study_name,
            seeds=tuple(seeds_of_members(first, n)),
            head=head,
            dataset=data,
            predicted={},
            weights=weights,
            objective=objective,
            n_test_evaluations_elsewhere=with_retry(n_evaluations_elsewhere, study),
        ),
        study,
        _NAMES,
        train,
        stop=stop,
        n_jobs=trainer.n_at_once(least=n_cores()),
        max_time=max_time,
        show_progress_bar=show_progress_bar,
    )
    ended = [s for s in found.seeds if math.isfinite(found.evaluations.get((s,), math.nan))]
    # Runs of other processes or earlier calls.
    shapes = [array.shape for array in trainer.initial_weights(objective.baseline_start)]
    for trial in filter(is_done, study.get_trials(deepcopy=False)):
        [seed] = evaluation_of(trial, _NAMES)
        if seed in ended and seed not in weights and f"{stored.WEIGHTS}/0" in trial.system_attrs:
            of = f"trial {trial.number} of study {study_name!r}"
            weights[seed] = from_attributes(trial.system_attrs, stored.WEIGHTS, of, shapes)
    missing = [seed for seed in ended if seed not in weights]
    for seed, run in zip(missing, trainer.train_in_turn([*map(start, missing)]), strict=True):
        weights[seed] = run.weights or []
    outputs = {seed: trainer.outputs(weights[seed], data.x_test) for seed in ended}
    predicted = {seed: predictions(head, of_one) for seed, of_one in outputs.items()}
    return dataclasses.replace(found, predicted=predicted)
