"""Searches: one call that runs, stores and summarizes a study of init offsets."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import (
    WrongValueError,
    check_integer,
    is_integer,
    logger,
)
from adnn_optuna._files import check_output_file, replacing
from adnn_optuna.api._calls import check_for_networks, interrupted_where_called
from adnn_optuna.api._progress import SearchProgress, log_trial
from adnn_optuna.api.function_search import Replicate, search_function
from adnn_optuna.callbacks import LimitValues, checked_limits, shows_limits
from adnn_optuna.contracts.contract import Contract, embedded
from adnn_optuna.contracts.new_seeds import confirmation_content
from adnn_optuna.engine import studies
from adnn_optuna.engine.arms import SamplerSpec, check_sampler
from adnn_optuna.engine.confirmation import (
    FEWEST_SEEDS,
    SEEDS,
    confirm_best_trial,
    evaluate_test_set,
    is_affordable,
    is_random,
    note_randomness,
)
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.objectives import Catch
from adnn_optuna.engine.records import SearchRecord, read_record
from adnn_optuna.engine.signals import interruptible, progress_bar
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.networks.predictors import Predictor
from adnn_optuna.results.findings import reused_note
from adnn_optuna.results.function_search import FunctionSearch
from adnn_optuna.results.search import NetworkSearch, parts_of
from adnn_optuna.results.search_notes import unowned_notes, why_no_best_trial
from adnn_optuna.stats.resampling import ResampledArgument

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, repr=False)
class SearchResult(NetworkSearch):
    """The result of a search, with its objective.

    Without a best trial, everything that needs the best network raises :exc:`ValueError`.
    """

    objective: InitOffsetObjective = dataclasses.field(repr=False)

    def _predictor(self) -> Predictor:
        if self.best is None:
            raise WrongValueError(
                f"Study {self.study.study_name!r} has no best trial. {why_no_best_trial(self)}"
            )
        objective = self.objective.as_trained(self.best)
        trainer, starts = objective.trainer, objective.starts(self.best.params)
        return Predictor(trainer, lambda: [r.weights or [] for r in trainer.train_in_turn(starts)])

    def model(self) -> keras.Model:
        """Return the best network, trained again, as a model; of ``"ensemble"``, the average.

        It takes inputs as the dataset holds them, such as ``dataset.x_test``; for a new table
        these are ``dataset.preprocessing.encoded(table)``. It returns probabilities, or the
        numbers of a regression in your units. Its variables have the same bits as in a contract.
        """
        return self._predictor().model()

    def predict(self, x: Any) -> np.ndarray:
        """Return the predictions of :meth:`model`.

        Args:
            x: n inputs as the dataset holds them, such as ``dataset.x_test``; or a table of the
                same columns.

        Returns:
            The labels of the user's own, of shape (n,); of a regression numbers, (n,) or
            (n, targets).

        Raises:
            ValueError: If the inputs are not such as the dataset's.
        """
        return self._predictor().predict(x)

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return how probable each class is by :meth:`model`.

        Args:
            x: As for :meth:`predict`.

        Returns:
            Probabilities of shape (n, classes), in the order of ``dataset.classes``.

        Raises:
            ValueError: If it is a regression.
        """
        return self._predictor().predict_proba(x)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`model` to a ``.keras`` file."""
        check_output_file("path", path, ".keras")
        model = self.model()
        with replacing(path) as temporary:
            model.save(temporary)

    @interrupted_where_called
    def test(self) -> SearchResult:
        """Evaluate the test set, if it was not, and return a result with the test scores.

        This result does not change.
        """
        self._predictor()  # Without a best trial, there is nothing to test.
        with interruptible() as stop:
            return evaluate_test_set(self, self.objective, stop)

    @interrupted_where_called
    def confirm(self, seeds: int = SEEDS, *, show_progress_bar: bool = False) -> SearchResult:
        """Confirm the best trial, if it was not, and return a result with its ``confirmation``.

        The best and the baseline network are trained on the same new seeds, which follow from the
        experiment and the best trial's parameters. A best trial is confirmed once: another number
        of ``seeds`` adds nothing. If another study of the storage confirmed the same parameters of
        the same experiment, its training runs count, and none is made. Other storages and studies
        in memory cannot be known. The test set is evaluated, as by :meth:`test`. This result does
        not change.

        Args:
            seeds: The number of new seeds, at least 6.
            show_progress_bar: Whether to show a progress bar.

        Raises:
            ValueError: If nothing in the training is random, or ``seeds`` are too few.
        """
        check_integer("seeds", seeds, low=FEWEST_SEEDS)
        tested = self.test()
        with interruptible() as stop:
            return confirm_best_trial(
                tested,
                self.objective,
                int(seeds),
                stop=stop,
                show_progress_bar=show_progress_bar,
            )

    @interrupted_where_called
    def contract(self, *, data: Literal["embed"] | None = None) -> Contract:
        """Return the result as a contract that others can check, see :func:`~adnn_optuna.verify`.

        It trains the baseline and the best network again. It holds the estimates on new seeds, so
        it confirms the best trial first. This result does not change; :meth:`confirm` then returns
        the confirmed one, and trains nothing.

        Args:
            data: ``"embed"`` writes the data beside the contract, at most 50 MB, so that anyone
                can check it. :obj:`None`: others need the same data.

        Raises:
            ValueError: If a training run diverges or differs from the tested one, the best trial
                was confirmed on fewer than 10 seeds, or the data to embed are too large.
        """
        if data not in (None, "embed"):
            raise WrongValueError(f"data must be 'embed' or None; got {data!r:.100}.")
        self._check_contract()
        arrays = embedded(self.objective.dataset) if data else {}
        found = self.confirmed()
        if self.confirmation is None and found.confirmation is not None:
            logger.info(
                "The best trial was confirmed for the contract. result.confirm() returns the "
                "result with this confirmation, and trains nothing."
            )
        content = confirmation_content(found.confirmation)
        return Contract.from_search(found, self.objective, content, arrays)

    def _check_contract(self) -> None:
        """Refuse a control whose baseline network is trained otherwise than its best network."""
        if self.best is None:
            return
        objective = self.objective.as_trained(self.best)
        if objective.unsearched is not objective:
            raise WrongValueError(
                "A contract must be of a network that is trained as its baseline network; got "
                f"the control {self.sampler!r}, which changes the training. Make the contract of "
                "a search that is trained in this way."
            )

    def confirmed(self) -> SearchResult:
        """Return a result that a contract can be made of: tested, and confirmed if that can be."""
        found = self.test()
        assert found.best is not None, "It was tested."
        return found.confirm() if is_random(self.objective.of(found.best.params)) else found


def search_result(record: SearchRecord, objective: InitOffsetObjective) -> SearchResult:
    """Return a record with the objective of its study."""
    return SearchResult(**parts_of(record), objective=objective)


@interrupted_where_called
@shows_limits
def search(
    objective: InitOffsetObjective | Callable[..., float],
    sampler: SamplerSpec = "annealing",
    *,
    direction: str | StudyDirection | None = None,
    seed: int | None = None,
    replicate: Replicate = "auto",
    storage: str | BaseStorage | None = None,
    study_name: str | None = None,
    reuse: bool = False,
    batch_size: int | Literal["auto"] = "auto",
    pruner: BasePruner | None = None,
    catch: Catch = (),
    failed: float | None = None,
    test: bool = True,
    confirm: int | Literal["auto"] = "auto",
    n_jobs: int | None = None,
    executor: futures.Executor | None = None,
    resampled: ResampledArgument = None,
    show_progress_bar: bool = False,
    **limits: Unpack[LimitValues],
) -> SearchResult | FunctionSearch:
    """Search for the init offsets that train to the best network, or over any Optuna objective.

    The study is an ordinary one of Optuna. One that exists is continued: the limits hold for all
    runs together, and a search that was killed ends with the same trials as one that was not.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            result = adnn.search(objective, "annealing", max_trial=30)
            print(result)

    The best of many noisy values is too good to be true. So a search of a function that takes a
    seed spends a part of its trials on *replicates*: evaluations of its leading configurations
    with new seeds. Each replicate evaluates one of the two configurations with the best means: the
    one with fewer values so far. The search recommends the configuration with the best mean of at
    least two values. Its value is estimated on ``confirm`` further seeds, which selected nothing.

    Args:
        objective: The objective to search: init offsets, or any Optuna objective ``(trial)`` or
            ``(trial, seed)``, each of whose trials gets a seed of its own.
        sampler: ``"greedy"`` (the paper's Algorithm 1), ``"greedy_improving"`` (keeps only steps
            that improve), ``"annealing"`` or ``"random_restart"`` (new random initializations
            instead of offsets: their gain is selection bias). Optuna's by name: ``"random"``,
            ``"qmc"``, ``"tpe"``, ``"cmaes"``, ``"gp"``. Or an Optuna sampler, or a factory
            ``(seed, n_trials) -> sampler``.
        direction: For functions, ``"minimize"`` (the default) or ``"maximize"``.
        seed: For functions, the seed of sampler and trials; 0 if :obj:`None`.
        replicate: For functions, the share of ``max_trial`` that are replicates. ``"auto"``: 0.2
            for ``(trial, seed)`` from 50 trials on, else 0.
        storage: A database URL such as ``"sqlite:///adnn.db"``, an Optuna storage, or :obj:`None`
            to keep the study in memory.
        study_name: The name of the study; a new one if :obj:`None`.
        reuse: For functions, whether stored trials count although the function changed since, as
            in :func:`~adnn_optuna.recheck`.
        batch_size: How many trials are proposed before any of them is told. ``"auto"``: 8 for
            ``"greedy"``, ``"random_restart"``, ``"random"`` and ``"qmc"`` (fewer for more than 5
            million weights), 1 for all others.
        pruner: An Optuna pruner; no trial is pruned if :obj:`None`.
        catch: Errors that end their own trial and not the search, as in
            :meth:`optuna.study.Study.optimize`. Such a trial counts, as one that has no value.
        failed: For functions, the value that each failed run on a new seed, or failed replicate,
            counts as, see :func:`~adnn_optuna.recheck`. The study stores it. If :obj:`None`, a
            value some of whose runs failed has no CI.
        test: Whether to evaluate the test set at the end; :meth:`SearchResult.test` does it later.
            Each evaluation is recorded, and only the first one is on untouched data.
        confirm: The number of new seeds on which the best and the baseline network are trained at
            the end, at least 6, or 0 for none. ``"auto"``: 10, if these training runs are no more
            than the trials and fit in the rest of max_time. They count for no limit. Without a
            test-set evaluation nothing is confirmed.
            A function's recommended parameters are evaluated on them, by default if it takes a
            seed and ``max_trial`` is at least 10. ``max_time`` is then that of trials and these
            evaluations: at least half of it is for trials.
        n_jobs: For functions, how many trials run at once; by default 1.
        executor: For functions, runs the trials, in place of threads: any
            ``concurrent.futures.Executor`` whose workers reach ``storage``.
        resampled: For functions whose seeds redraw the split of one data set, the numbers of
            training and test examples, as in :func:`~adnn_optuna.compare`. The CI of the value is
            then for new data of this kind.
        show_progress_bar: Whether to show a progress bar, instead of a log line for each trial.
        **limits: When it ends, each by the name of its callback's argument.

    Returns:
        The result; a :exc:`KeyboardInterrupt` leaves everything stored.

    Raises:
        TypeError: If an argument has a wrong type, or a function's value is no number.
        ValueError: If an argument is wrong, or a study of another objective, sampler or seed
            exists, or of a function that changed, without ``reuse``. Also if a function redraws a
            split, and ``resampled`` does not say so.
    """
    check_sampler(sampler)
    limits = checked_limits(**limits)
    if callable(objective) and not isinstance(objective, InitOffsetObjective):
        return search_function(
            objective,
            sampler,
            limits,
            storage=storage,
            study_name=study_name,
            reuse=reuse,
            direction=direction,
            seed=0 if seed is None else seed,
            replicate=replicate,
            confirm=confirm,
            batch_size=batch_size,
            pruner=pruner,
            catch=catch,
            failed=failed,
            n_jobs=1 if n_jobs is None else n_jobs,
            executor=executor,
            resampled=resampled,
            show_progress_bar=show_progress_bar,
        )
    check_for_networks(
        {
            "direction": direction,
            "seed": seed,
            "replicate": None if replicate == "auto" else replicate,
            "failed": failed,
            "n_jobs": n_jobs,
            "executor": executor,
            "resampled": resampled,
        }
    )
    check_confirm(confirm)
    if catch != ():
        objective = studies.check_objective(objective).replace(catch=catch)
    plan = studies.StudySpec(objective, study_name, sampler, limits, batch_size, pruner)
    return run_search(
        plan, storage, test=test, confirm=confirm, show_progress_bar=show_progress_bar
    )


def check_confirm(confirm: Any) -> None:
    """Refuse a number of new seeds that cannot confirm a best trial."""
    is_number = is_integer(confirm) and (confirm == 0 or confirm >= FEWEST_SEEDS)
    if not is_number and confirm != "auto":
        raise WrongValueError(
            f"confirm must be 'auto', 0, or at least {FEWEST_SEEDS}, because fewer new seeds can "
            f"show nothing; got {confirm!r:.100}."
        )


def run_search(
    plan: studies.StudySpec,
    storage: str | BaseStorage | None,
    *,
    test: bool,
    confirm: int | Literal["auto"],
    show_progress_bar: bool,
) -> SearchResult:
    """Run a study and return its result."""
    with interruptible() as stop:
        [study] = studies.open_studies([plan], open_storage(storage))
        objective = studies.check_objective(plan.objective)
        try:
            with progress_bar(show=show_progress_bar, bar_format="{desc} |{bar}|") as bar:
                shown = None
                if not bar.disable:
                    shown = SearchProgress(bar, study, objective, plan.limits)
                after_tell = log_trial if shown is None else shown.update
                n_before = studies.n_done(study)
                n_done = studies.run_trials(plan, study, stop, after_tell)
                if n_before and n_done == n_before:
                    # Without a reason, a run that was killed came further than these limits.
                    reason = study.user_attrs.get(stored.STOP_REASON) or "these limits"
                    said = "Nothing was left to do in study %r: it had ended by %s already."
                    logger.info(said, study.study_name, reason)
                result = search_result(read_record(study), objective)
                result = note_randomness(result, objective)
                if test:
                    result = evaluate_test_set(result, objective, stop)
            if confirm == "auto":
                confirm = SEEDS if is_affordable(result, objective, plan.limits["max_time"]) else 0
            if confirm and test and result.best is not None:
                result = confirm_best_trial(
                    result, objective, confirm, stop=stop, show_progress_bar=show_progress_bar
                )
        except KeyboardInterrupt:
            unowned = unowned_notes(read_record(study, others={}))
            hint = studies.resume_hint(study, "" if test else ", test=False")
            logger.info(" ".join([hint, *unowned]))
            raise
    said = reused_note("trial", n_before, len(result.done_trials))
    return dataclasses.replace(result, reused=said)
