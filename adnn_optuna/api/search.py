"""Searches: one call that runs, stores and sums up a study of init offsets."""

from __future__ import annotations

import abc
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import (
    WrongValueError,
    check_integer,
    check_output_file,
    is_integer,
    logger,
)
from adnn_optuna._files import replacing, write_text
from adnn_optuna.api._told import Told
from adnn_optuna.callbacks import LimitValues, checked_limits, shows_limits
from adnn_optuna.contracts.contract import Contract
from adnn_optuna.contracts.contract_file import read_contract
from adnn_optuna.contracts.new_seeds import confirmation_content
from adnn_optuna.engine import studies
from adnn_optuna.engine.arms import Searcher, check_searcher
from adnn_optuna.engine.confirmation import (
    FEWEST_SEEDS,
    SEEDS,
    confirm_winner,
    is_affordable,
)
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.outcomes import Catch, Outcome, best_trial
from adnn_optuna.engine.progress import SearchProgress, progress_bar
from adnn_optuna.engine.records import SearchRecord, record_of
from adnn_optuna.engine.retraining import is_random, look_at_test_set, note_randomness
from adnn_optuna.engine.signals import interrupted_where_called, interruptible
from adnn_optuna.engine.storages import open_storage, patiently
from adnn_optuna.networks.predictors import Predictor
from adnn_optuna.reporting.dashboard import save_notes
from adnn_optuna.reporting.searches_claims import unowned_in_words, why_no_winner
from adnn_optuna.results.confirmation import ConfirmationFacts, confirmation_of
from adnn_optuna.results.examples import WinnerFacts, winner_facts

if TYPE_CHECKING:
    import keras


class StoredSearch(Told, SearchRecord):
    """What a study tells of its search, without the objective that it was searched with."""

    _telling = "searches"

    @property
    def confirmation(self) -> ConfirmationFacts | None:
        """What fresh seeds show of the winner, see :meth:`confirm`; :obj:`None` before."""
        return confirmation_of(self)

    @interrupted_where_called
    def report(
        self, path: str | os.PathLike[str], contract: str | os.PathLike[str] | None = None
    ) -> None:
        """Write a report: one HTML file, which needs no network, with claim, evidence, figures.

        Where the objective is known, it trains winner and unmoved network once more, to show how
        they learned and, where the test set was looked at, which of its examples changed.

        Args:
            path: The file to write.
            contract: The file of the search's contract, to be shown in the report.

        Raises:
            ValueError: If the contract cannot be read, or is that of another result.
        """
        check_output_file("The report", Path(path))
        content = None if contract is None else read_contract(Path(contract))
        self._tell("page", content, self._winner()).save(path)

    def _winner(self) -> WinnerFacts | None:
        return None


class Predicting(abc.ABC):
    """A result that predicts as one trained network, or as the average of several."""

    @abc.abstractmethod
    def _predictor(self) -> Predictor:
        """Return what predicts; refuse where there is nothing."""

    def model(self) -> keras.Model:
        """Return what predicts, a winner trained again, as one compiled ``keras.Model``.

        It takes inputs as the dataset holds them, such as ``dataset.x_test``; for a new table
        these are ``dataset.preprocessing.encoded(table)``. It returns probabilities, or the
        numbers of a regression in your units. Its variables have the same bits as in a contract.
        """
        return self._predictor().model()

    def predict(self, x: Any) -> np.ndarray:
        """Return what :meth:`model` predicts.

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
        check_output_file("path", Path(path), ".keras")
        model = self.model()
        with replacing(path) as temporary:
            model.save(temporary)


@dataclasses.dataclass(frozen=True)
class SearchResult(StoredSearch, Predicting):
    """What a search came to: a :class:`SearchRecord` with the study's objective.

    Where no trial was completed, all that is of a winner raises :exc:`ValueError`.
    """

    objective: InitOffsetObjective = dataclasses.field(repr=False)

    def _winner(self) -> WinnerFacts | None:
        with interruptible() as stop:
            return winner_facts(self, self.objective, stop)

    def _predictor(self) -> Predictor:
        if self.best is None:
            why = why_no_winner(self)
            raise WrongValueError(f"The study {self.study.study_name!r} has no winner: {why}")
        objective = self.objective.as_trained(self.best)
        trainer, starts = objective.trainer, objective.starts(self.best.params)
        return Predictor(trainer, lambda: [r.weights or [] for r in trainer.train_in_turn(starts)])

    @interrupted_where_called
    def test(self) -> SearchResult:
        """Look at the test set, if it was kept closed, and return a result that knows it.

        This result stays as it is.
        """
        self._predictor()  # Where there is none, there is nothing to test.
        with interruptible() as stop:
            tested = look_at_test_set(self, self.objective, stop)
        save_notes([tested])
        return tested

    @interrupted_where_called
    def confirm(self, seeds: int = SEEDS, *, show_progress_bar: bool = False) -> SearchResult:
        """Confirm the winner, if that was not done before, and return a result that knows it.

        The winner and the unmoved network are trained from the same fresh seeds, which follow from
        the experiment and the winner's parameters. A winner is confirmed once: with other
        ``seeds``, nothing is added to what was seen. It looks at the test set, as :meth:`test`.
        This result stays as it is.

        Args:
            seeds: With how many fresh seeds, at least 6.
            show_progress_bar: Whether to show a progress bar.

        Raises:
            ValueError: If nothing in the training is random, or ``seeds`` are too few.
        """
        check_integer("seeds", seeds, low=FEWEST_SEEDS)
        shown = {"show_progress_bar": show_progress_bar}
        tested = self.test()
        with interruptible() as stop:
            confirmed = confirm_winner(tested, self.objective, int(seeds), stop=stop, **shown)
        save_notes([confirmed])
        return confirmed

    @interrupted_where_called
    def contract(self) -> Contract:
        """Return the result as a contract that anyone can check, see :func:`~adnn_optuna.verify`.

        It trains baseline and winner again. It holds what fresh seeds show, so it confirms the
        winner first, see :meth:`confirm`.

        Raises:
            ValueError: If a training diverges or comes out otherwise than it was tested, or the
                winner was confirmed by fewer than 10 seeds.
        """
        found = self.confirmed()
        content = confirmation_content(found.confirmation)
        return Contract.from_search(found, self.objective, content)

    def confirmed(self) -> SearchResult:
        """Return a result that a contract can be made of: tested, and confirmed if that can be."""
        found = self.test()
        assert found.best is not None, "It was tested."
        return found.confirm() if is_random(self.objective.of(found.best.params)) else found

    def model_card(
        self, path: str | os.PathLike[str], contract: str | os.PathLike[str] | None = None
    ) -> None:
        """Write a model card: Markdown, with the header that Hugging Face's Hub reads.

        It has what you hold, what is usual and what repeats, each with its interval as far as that
        is known, see :meth:`test` and :meth:`confirm`, and how anyone can check them.

        Args:
            path: The file to write, which the Hub wants to be ``README.md``.
            contract: The file of the search's contract, to be named in the card.

        Raises:
            ValueError: If the contract cannot be read, or is that of another result.
        """
        from adnn_optuna.reporting import searches

        check_output_file("The model card", Path(path))
        content = None if contract is None else read_contract(Path(contract))
        write_text(path, searches.card(self, content))


@interrupted_where_called
@shows_limits
def search(
    objective: InitOffsetObjective,
    sampler: Searcher = "annealing",
    *,
    storage: str | BaseStorage | None = None,
    study_name: str | None = None,
    batch_size: int | Literal["auto"] = "auto",
    pruner: BasePruner | None = None,
    catch: Catch = (),
    test: bool = True,
    confirm: int | Literal["auto"] = "auto",
    show_progress_bar: bool = False,
    **limits: Unpack[LimitValues],
) -> SearchResult:
    """Search for the init offsets that train to the best network, within limits.

    The study is an ordinary one of Optuna. One that exists is continued: the limits hold for all
    runs together, and a search that was killed ends with the same trials as one that was not.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            result = adnn.search(objective, "annealing", max_trial=30)
            print(result)

    Args:
        objective: What is searched.
        sampler: ``"greedy"`` (the paper's Algorithm 1), ``"greedy_improving"`` (keeps only steps
            that improve), ``"annealing"`` or ``"random_restart"`` (new random initialisations
            instead of offsets: the control). Optuna's by name: ``"random"``, ``"qmc"``,
            ``"tpe"``, ``"cmaes"``, ``"gp"``. Or an Optuna sampler, or a factory
            ``(seed, n_trials) -> sampler``.
        storage: A database URL such as ``"sqlite:///adnn.db"``, an Optuna storage, or :obj:`None`
            to keep the study in memory.
        study_name: The name of the study; a new one if :obj:`None`.
        batch_size: How many trials are proposed before any of them is told. ``"auto"``: 8 for
            ``"greedy"``, ``"random_restart"``, ``"random"`` and ``"qmc"`` (fewer for more than 5
            million weights), 1 for all others.
        pruner: An Optuna pruner; no trial is pruned if :obj:`None`.
        catch: Errors that end their own trial and not the search, as in
            :meth:`optuna.study.Study.optimize`. Such a trial counts, as one that has no value.
        test: Whether to look at the test set at the end. Each look is recorded, and those after
            the first are no longer of untouched data; :meth:`SearchResult.test` looks later.
        confirm: With how many fresh seeds winner and unmoved network are trained at the end, at
            least 6 or 0 for none. ``"auto"``: 10, where these trainings are no more than the
            trials and fit in what is left of max_time. They count for no limit. Without a look at
            the test set nothing is confirmed.
        show_progress_bar: Whether to show a progress bar, instead of a log line for each trial.
        **limits: Where it ends, each by the name of its callback's argument.

    Returns:
        What the search came to; a :exc:`KeyboardInterrupt` leaves all of it stored.

    Raises:
        ValueError: If an argument is wrong, or a study of another objective or searcher exists.
    """
    check_searcher(sampler)
    check_confirm(confirm)
    limits = checked_limits(**limits)
    if catch != ():
        objective = studies.check_objective(objective).catching(catch)
    plan = studies.Plan(objective, study_name, sampler, limits, batch_size, pruner)
    ending: Any = {"test": test, "confirm": confirm}
    return run_search(plan, storage, **ending, show_progress_bar=show_progress_bar)


def check_confirm(confirm: Any) -> None:
    """Refuse what is no number of fresh seeds by which a winner could be confirmed."""
    is_number = is_integer(confirm) and (confirm == 0 or confirm >= FEWEST_SEEDS)
    if not is_number and confirm != "auto":
        raise WrongValueError(
            f"confirm must be 'auto', 0 for none, or at least {FEWEST_SEEDS}, for fewer fresh "
            f"seeds can show nothing, but it is {confirm!r:.100}."
        )


def run_search(
    plan: studies.Plan,
    storage: str | BaseStorage | None,
    *,
    test: bool,
    confirm: int | Literal["auto"],
    show_progress_bar: bool,
) -> SearchResult:
    """Run a study that is planned, and return what it came to."""
    with interruptible() as stop:
        [study] = studies.open_studies([plan], open_storage(storage))
        objective = studies.check_objective(plan.objective)
        try:
            bar_options: Any = {"show": show_progress_bar, "bar_format": "{desc} |{bar}|"}
            with progress_bar(**bar_options) as bar:
                shown = None if bar is None else SearchProgress(bar, study, objective, plan.limits)
                update, show_epochs = (shown.update, shown.show_epochs) if shown else (_log, None)
                loop = Loop(plan, study, stop, update, show_epochs)
                n_before = loop.n_done
                loop.run()
                if n_before and loop.n_done == n_before:
                    # Without a reason, a run that was killed came further than these limits.
                    reason = study.user_attrs.get(stored.STOP_REASON) or "these limits"
                    said = "Nothing was left to do in study %r: it had ended by %s already."
                    logger.info(said, study.study_name, reason)
                result = SearchResult(**vars(patiently(record_of, study)), objective=objective)
                result = note_randomness(result, objective)
                if test:
                    result = look_at_test_set(result, objective, stop)
            if confirm == "auto":
                confirm = SEEDS if is_affordable(result, objective, plan.limits["max_time"]) else 0
            if confirm and test and result.best is not None:
                options: Any = {"stop": stop, "show_progress_bar": show_progress_bar}
                result = confirm_winner(result, objective, confirm, **options)
        except KeyboardInterrupt:
            unowned = unowned_in_words(patiently(record_of, study, others={}))
            logger.info(f"{studies.resume_hint(study, test=test)} {unowned}".rstrip())
            raise
        save_notes([result])
    return result


def _log(trial: optuna.Trial, outcome: Outcome) -> None:
    """Log a trial that was told as Optuna does."""
    best = patiently(best_trial, trial.study)
    if outcome.value is not None and best is not None:
        said = "Trial %d finished with value: %s and parameters: %s. Best is trial %d with %s."
        logger.info(said, trial.number, outcome.value, trial.params, best.number, best.value)
