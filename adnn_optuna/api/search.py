"""Searches: one call that runs, stores and sums up a study of init offsets."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError, check_output_file
from adnn_optuna.accountability.contract import read_contract
from adnn_optuna.api._told import Told
from adnn_optuna.api.accountability import Contract
from adnn_optuna.callbacks import LimitValues, checked_limits, shows_limits
from adnn_optuna.engine import studies
from adnn_optuna.engine.arms import Searcher, check_searcher
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.outcomes import Outcome
from adnn_optuna.engine.progress import SearchProgress, progress_bar
from adnn_optuna.engine.records import SearchRecord, record_of
from adnn_optuna.engine.retraining import look_at_test_set
from adnn_optuna.engine.signals import interrupted_where_called, interruptible
from adnn_optuna.engine.storages import kept, open_storage, patiently
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.training import Trainer
from adnn_optuna.reporting.dashboard import save_notes
from adnn_optuna.reporting.searches_claims import unowned_in_words

if TYPE_CHECKING:
    import keras

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


@dataclasses.dataclass(frozen=True)
class SearchResult(Told, SearchRecord):
    """What a search came to: a :class:`SearchRecord` with the study's objective."""

    _telling = "searches"

    objective: InitOffsetObjective = dataclasses.field(repr=False)

    def model(self, *, trained: bool = True) -> keras.Model:
        """Return the best trial's network, trained again, as a compiled ``keras.Model``.

        It takes inputs as the dataset was made of (of a table the numbers that
        ``dataset.preprocessing.encoded`` makes of it), which it scales itself, and ends in
        probabilities. Its variables have the same bits as in a contract.

        Args:
            trained: Whether it is trained; else it has its initial weights, offsets included.

        Raises:
            ValueError: If no trial was completed.
        """
        trainer, start = self._winner()
        weights = _trained(trainer, start) if trained else trainer.initial_weights(start)
        return trainer.model(weights)

    def predict(self, x: Any) -> np.ndarray:
        """Return what the best trial's network, trained again, predicts.

        Args:
            x: Inputs as the dataset was made of, also a table: n of them.

        Returns:
            The labels of the user's own, of shape (n,); of a regression numbers, (n,) or
            (n, targets).

        Raises:
            ValueError: If no trial was completed, or the inputs are not such as the dataset's.
        """
        trainer, start = self._winner()
        dataset, head = trainer.dataset, trainer.architecture.head
        inputs = dataset.preprocessing.transform(x)
        outputs = trainer.outputs(_trained(trainer, start), inputs)
        if head.num_classes is None:
            return outputs.reshape(-1, *dataset.y_train.shape[1:])
        numbers = head.predicted(outputs)
        return numbers if dataset.classes is None else np.asarray(dataset.classes)[numbers]

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return how probable each class is to the best trial's network, trained again.

        Args:
            x: As for :meth:`predict`.

        Returns:
            Probabilities of shape (n, classes), in the order of ``dataset.classes``.

        Raises:
            ValueError: If it is a regression, or as of :meth:`predict`.
        """
        dataset = self.objective.dataset
        if dataset.num_classes is None:
            raise WrongValueError("A regression has no probabilities of classes; call predict.")
        chances = self.model().predict(dataset.preprocessing.encoded(x), verbose=0)
        # A single output is the second of two classes.
        chances = np.hstack([1 - chances, chances]) if chances.shape[1] == 1 else chances
        return np.asarray(chances)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`model` to a ``.keras`` file.

        Raises:
            ValueError: If no trial was completed, the file cannot be written, or Keras cannot
                save the model.
        """
        check_output_file("path", Path(path), ".keras")
        try:
            self.model().save(path)
        except NotImplementedError:
            raise WrongValueError(
                "Keras cannot save the winner's model, as one of its classes has arguments that "
                "no configuration can hold; give that class a get_config method."
            ) from None

    def _winner(self) -> tuple[Trainer, Start]:
        """Return what the best trial was trained by, and from; refuse where there is none."""
        if self.best is None:
            raise WrongValueError(
                f"The study {self.study.study_name!r} has no completed trial, so it has no "
                "winner; resume it."
            )
        objective = self.objective.of(self.best.params)
        return objective.trainer, objective.start(self.best.params)

    @interrupted_where_called
    def test(self) -> SearchResult:
        """Look at the test set, if it was kept closed, and return this result.

        Its ``test_value``, ``test_baseline`` and what follows from them are known then.

        Raises:
            ValueError: If no trial was completed.
        """
        self._winner()  # Where there is none, there is nothing to test.
        with interruptible() as stop:
            look_at_test_set(self, self.objective, stop)
        save_notes([self])
        return self

    @interrupted_where_called
    def contract(self, certify: int | None = None) -> Contract:
        """Return the result as a contract that anyone can check, see :func:`~adnn_optuna.verify`.

        It trains baseline and winner again. It tells the test accuracy, so it looks as
        :meth:`test`.

        Args:
            certify: With how many fresh orders of the batches, and as many fresh initialisations,
                both are trained besides, at least 5: the gain that transfers to them, with its
                interval (Student's t, 95 %), is what a reader should quote.

        Raises:
            ValueError: If no trial was completed, a training diverges, or ``certify`` is wrong.
        """
        self.test()
        return Contract.from_search(self, self.objective, certify)

    def report(
        self, path: str | os.PathLike[str], contract: str | os.PathLike[str] | None = None
    ) -> None:
        """Write a report: one HTML file, which needs no network, with claim, evidence, figures.

        Args:
            path: The file to write.
            contract: The file of the search's contract, to be shown in the report.

        Raises:
            ValueError: If the contract cannot be read, or is that of another result.
        """
        content = None if contract is None else read_contract(Path(contract))
        self._tell("page", content).save(path)


def _trained(trainer: Trainer, start: Start) -> list[np.ndarray]:
    [run] = trainer.train([start], evaluate_each_epoch=False, keep_weights=True)
    return run.weights or []


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
    test: bool = True,
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
            instead of offsets: the control). Or an Optuna sampler, or a factory
            ``(seed, n_trials) -> sampler``.
        storage: A database URL such as ``"sqlite:///adnn.db"``, an Optuna storage, or :obj:`None`
            to keep the study in memory.
        study_name: The name of the study; a new one if :obj:`None`.
        batch_size:
            How many trials are proposed before any of them is told. ``"auto"``: 8 for ``"greedy"``
            and ``"random_restart"`` (fewer for more than 5 million weights), 1 for all others.
        pruner: An Optuna pruner; no trial is pruned if :obj:`None`.
        test: Whether to look at the test set at the end. Each look is recorded, and those after
            the first are no longer of untouched data; :meth:`SearchResult.test` looks later.
        show_progress_bar: Whether to show a progress bar, instead of a log line for each trial.
        **limits: Where it ends, each by the name of its callback's argument.

    Returns:
        What the search came to.

    Raises:
        ValueError: If an argument is wrong, or a study of another objective or searcher exists.
        KeyboardInterrupt: If the user interrupts; all that was computed is stored.
    """
    check_searcher(sampler)
    checked = checked_limits(**limits)
    plan = studies.Plan(objective, study_name, sampler, checked, batch_size, pruner)
    with interruptible() as stop:
        opened = open_storage(storage)
        return run_search(plan, opened, stop, test=test, show_progress_bar=show_progress_bar)


def run_search(
    plan: studies.Plan,
    storage: BaseStorage,
    stop: threading.Event,
    *,
    test: bool,
    show_progress_bar: bool,
) -> SearchResult:
    """Run a study that is planned, and return what it came to."""
    [study] = studies.open_studies([plan], storage)
    objective = studies.check_objective(plan.objective)
    try:
        with kept(study), progress_bar(show=show_progress_bar, bar_format="{desc} |{bar}|") as bar:
            shown = None if bar is None else SearchProgress(bar, study, objective, plan.limits)
            update, show_epochs = (shown.update, shown.show_epochs) if shown else (_log, None)
            loop = Loop(plan, study, stop, update, show_epochs)
            n_before = loop.n_done
            loop.run()
            if n_before and loop.n_done == n_before:
                said = "Nothing was left to do in study %r: it had ended by %s already."
                _logger.info(said, study.study_name, study.user_attrs.get(stored.STOP_REASON))
            result = SearchResult(**vars(patiently(record_of, study)), objective=objective)
            if test:
                look_at_test_set(result, objective, stop)
    except KeyboardInterrupt:
        unowned = unowned_in_words(patiently(record_of, study))
        _logger.info(f"{studies.resume_hint(study)} {unowned}".rstrip())
        raise
    save_notes([result])
    return result


def _log(trial: optuna.Trial, outcome: Outcome) -> None:
    """Log a trial that was told as Optuna does."""
    best = patiently(record_of, trial.study).best
    if outcome.value is not None and best is not None:
        said = (
            "Trial %d finished with value: %s and parameters: %s. Best is trial %d with value: %s."
        )
        _logger.info(said, trial.number, outcome.value, trial.params, best.number, best.value)
