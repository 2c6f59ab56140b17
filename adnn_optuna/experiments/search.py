"""The result of a network's search: its scores, its confirmation, and the best network."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from adnn_optuna._attributes import BASELINE, Metrics, TestEvaluation
from adnn_optuna._checks import WrongValueError, as_integer, logger, shown
from adnn_optuna._units import (
    ACCURACY,
    Estimate,
    capitalized,
    duration,
    in_list,
    score_in_words,
)
from adnn_optuna.api._calls import called_by_users
from adnn_optuna.engine.evaluations import SEEDS
from adnn_optuna.engine.kinds import NETWORK_KIND
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.signals import interruptible
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.experiments.confirmation import (
    FEWEST_SEEDS,
    Confirmation,
    confirm_best_trial,
    evaluate_test_set,
    is_random,
    n_training_runs,
    own_estimate,
    own_scores,
    read_confirmation,
    seconds_of,
)
from adnn_optuna.experiments.contract import Contract, embedded
from adnn_optuna.experiments.contract_seeds import confirmation_content
from adnn_optuna.experiments.network_objective import NetworkObjective
from adnn_optuna.experiments.records import NetworkRecord
from adnn_optuna.networks import duplicates
from adnn_optuna.networks.offsets import OffsetSpace
from adnn_optuna.networks.predictors import Predictor
from adnn_optuna.render.document import (
    Advice,
    Caution,
    Detail,
    Figure,
    Line,
    Step,
    Verdict,
    difference,
)
from adnn_optuna.results.confirmed_value import rank_notes
from adnn_optuna.results.difference_words import test_set_note, times
from adnn_optuna.results.fields import units_of
from adnn_optuna.results.sentences import study_command, unseen_notes
from adnn_optuna.results.study import (
    NotesOnRuns,
    StudyResult,
    gain_figure,
    places_figure,
    selection_bias,
    why_no_best_trial,
)
from adnn_optuna.results.value_figures import NewValues, selection_figure
from adnn_optuna.stats.intervals import chance_limit, n_counted
from adnn_optuna.stats.paired_differences import NORMAL, fewest_pairs, is_by_t
from adnn_optuna.stats.sequential import n_claims_of_rank

if TYPE_CHECKING:
    import keras
    from optuna.trial import FrozenTrial

_N_NAMED = 5  # The number of variables without offsets that a note lists by name.
# A test set is uneven if its largest class is at least this many times as frequent as the average
# of all other classes.
_UNEVEN = 1.5


@dataclasses.dataclass(frozen=True, repr=False)
class SearchResult(StudyResult):
    """The result of a search of a network.

    Without a best trial, methods that need the best network raise :exc:`ValueError`.

    Attributes:
        record: The study's content at the time of the result: trials, baseline, test scores and
            confirmations.
    """

    record: NetworkRecord
    _objective: NetworkObjective | None = None

    _baseline: ClassVar[str] = "the network without offsets"

    @property
    def test_baseline(self) -> float:
        """The baseline network's metric on the test set.

        Before the test-set evaluation, or if the training diverged, it is NaN.
        """
        return self.record.test_baseline

    @property
    def test_value(self) -> float:
        """The best trial's metric on the test set, or NaN before the test-set evaluation."""
        return self.record.test_value

    @property
    def test_gain(self) -> float:
        """The improvement of the best network over the baseline network on the test set.

        Before the test-set evaluation, it is NaN.
        """
        return self.record.test_gain

    @property
    def test_metrics(self) -> Metrics:
        """The best network's metrics on the test set by name, such as ``accuracy``.

        Before the test-set evaluation, it is empty.
        """
        return self.record.test_metrics

    @functools.cached_property
    def confirmation(self) -> Confirmation | None:
        """The best trial's results on new seeds, or None before :meth:`confirm`."""
        return read_confirmation(self.record)

    @functools.cached_property
    def _trained(self) -> NetworkObjective:
        """The objective, which is rebuilt from the study if necessary."""
        if self._objective is None:
            return NETWORK_KIND.rebuilt(self.study, None)
        return self._objective

    def _predictor(self) -> Predictor:
        if self.best is None:
            raise WrongValueError(
                f"Study {self.study.study_name!r} has no best trial. "
                f"{why_no_best_trial(self.record)}"
            )
        objective = self._trained.as_trained(self.best)
        trainer = objective.trainer
        starts = objective.starts(self.best.params)
        return Predictor(trainer, lambda: [r.weights for r in trainer.train_in_turn(starts)])

    def model(self) -> keras.Model:
        """Train the best network again, and return it as a Keras model.

        For the control ``"ensemble"``, the model averages all networks. The model takes inputs in
        the form of ``dataset.x_test``. To convert a new table to this form, call
        ``dataset.preprocessing.encoded(table)``. The model returns probabilities, or numbers in
        your units for a regression. Its variables have the same bits as in a contract.
        """
        return self._predictor().model()

    def predict(self, x: Any, *, probabilities: bool = False) -> np.ndarray:
        """Return the predictions of :meth:`model`.

        Args:
            x: n inputs in the form of ``dataset.x_test``, or a table with the same columns as the
                dataset's table.
            probabilities: Whether to return the probability of each class.

        Returns:
            Your labels, of shape (n,). For a regression, the predictions are numbers of shape
            (n,) or (n, targets). Probabilities have the shape (n, classes), in the order of
            ``dataset.classes``.

        Raises:
            ValueError: If the inputs are not in the form of the dataset's inputs. If
                ``probabilities`` is set for a regression.
        """
        predictor = self._predictor()
        if probabilities:
            return predictor.predict_proba(x)
        return predictor.predict(x)

    @called_by_users
    def test(self) -> SearchResult:
        """Evaluate the test set, and return a new result with the test scores.

        If the best trial was tested before, no network is trained. The old result does not change.
        """
        self._predictor()  # Without a best trial, there is nothing to test.
        with interruptible() as stop:
            record = evaluate_test_set(self.record, self._trained, stop)
        return dataclasses.replace(self, record=record)

    @called_by_users
    def confirm(self, n: int = SEEDS, *, show_progress_bar: bool = False) -> SearchResult:
        """Train the best and the baseline network on new seeds, and return a new result.

        The new result has a ``confirmation``, and test scores as from :meth:`test`. The old result
        does not change.

        The experiment and the best trial's parameters determine the new seeds. A best trial is
        confirmed only once, so a later call with another ``n`` has no effect. If another study in
        the storage confirmed the same parameters of the same experiment, its training runs are
        used. Studies in other storages or in memory are not found.

        Args:
            n: The number of new seeds, at least 6.
            show_progress_bar: Whether to show a progress bar.

        Raises:
            ValueError: If nothing in the training is random, or if ``n`` is too small.
        """
        n = as_integer("n", n, low=FEWEST_SEEDS)
        tested = self.test()
        with interruptible() as stop:
            record = confirm_best_trial(
                tested.record,
                self._trained,
                n,
                stop=stop,
                show_progress_bar=show_progress_bar,
            )
        return dataclasses.replace(tested, record=record)

    @called_by_users
    def contract(self, *, data: Literal["embed"] | None = None) -> Contract:
        """Return the result as a contract that others can check by :func:`~adnn_optuna.verify`.

        A contract contains the estimates on new seeds. If the best trial is not confirmed, it is
        confirmed first. Then the baseline and the best network are trained again. This result
        object does not change. To get the confirmed result, call :meth:`confirm` afterwards, which
        trains nothing.

        Args:
            data: ``"embed"`` writes the data, at most 50 MB, beside the contract, so that anyone
                can check it. With :obj:`None`, others need their own copy of the data.

        Raises:
            ValueError: If a training run diverges, or differs from the tested run. If the best
                trial was confirmed on fewer than 10 seeds. If the data to embed are too large.
        """
        if data not in (None, "embed"):
            raise WrongValueError(f"data must be 'embed' or None; got {shown(data)}.")
        self._check_contract()
        arrays = {}
        if data:
            arrays = embedded(self._trained.dataset)
        confirmed = self._confirmed()
        if self.confirmation is None and confirmed.confirmation is not None:
            logger.info(
                "The best trial was confirmed for the contract. result.confirm() returns the "
                "result with this confirmation, and trains nothing."
            )
        content = confirmation_content(confirmed.confirmation)
        return Contract.from_search(confirmed.record, self._trained, content, arrays)

    def _check_contract(self) -> None:
        """Raise an error for a control that trains its two networks differently."""
        if self.best is None:
            return
        objective = self._trained.as_trained(self.best)
        if objective.baseline_experiment is not objective:
            raise WrongValueError(
                "A contract must be of a network that is trained as its baseline network; got "
                f"the control {self.record.sampler!r}, which changes the training. Make the "
                "contract of a search that is trained in this way."
            )

    def _confirmed(self) -> SearchResult:
        """Return the result with test scores and, if training is random, with a confirmation."""
        tested = self.test()
        assert tested.best is not None, "It was tested."
        if is_random(self._trained.of(tested.best.params)):
            return tested.confirm()
        return tested

    @property
    def _level(self) -> float:
        """The level of the CIs, such as 0.95."""
        if self.confirmation is None:
            return super()._level
        return self.confirmation.level

    def _finding(self) -> tuple[Verdict, str]:
        if self.best is None:
            return super()._finding()
        if self.record.is_restart:
            return "no claim", "random restarts, no offsets to replicate"
        if self._is_baseline:
            is_only_trial = len(self.record.done_trials) == 1
            beat = "were tried yet" if is_only_trial else "beat the baseline network"
            return "no claim", f"no offsets {beat}"
        if self.confirmation is None:
            return "not known", "replication not known"
        if not self.confirmation.gains:
            return "no claim", "the best network has no offsets"
        return _verdict_on(self.confirmation)

    @property
    def _is_baseline(self) -> bool:
        """Whether the best trial is the baseline network, whose offsets are all 0."""
        return self.best is not None and {*self.best.params.values()} == {OffsetSpace.unmoved}

    def _further_scope(self) -> list[str]:
        if self.confirmation is None:
            return []
        return [f"{len(self.confirmation.seeds)} new seeds"]

    def _estimates(self) -> list[Line]:
        if self.best is None:
            return []
        unit = units_of(self.record).test
        confirmation = self.confirmation
        lines = self._score_lines()
        if confirmation is not None:
            estimate = confirmation.vs_baselines
            mean = sum(confirmation.baselines) / len(confirmation.baselines)
            remark = f"their mean is {unit.rounded_to(estimate).value(mean)}"
            lines.append(difference("vs new baselines", estimate, unit, remark))
            if confirmation.gains:
                remark = "offsets on new seeds"
                lines.append(difference("replication", confirmation.replication, unit, remark))
            hyperparameters = confirmation.hyperparameters
            if hyperparameters is not None:
                remark = "without offsets"
                lines.append(difference("hyperparameters", hyperparameters, unit, remark))
        lines += self._selection_lines()
        if not math.isnan(self.record.test_gain):
            gain = Estimate(self.record.test_gain)
            lines.append(difference("vs own baseline", gain, unit, "one seed, test data"))
        if self.record.test_evaluation is None:
            lines += self._on_new_data
        return lines

    def _score_lines(self) -> list[Line]:
        """Return lines with the test score and, if the metric is another, with the accuracy."""
        evaluation = self.record.test_evaluation
        scores = own_scores(self.record)
        if evaluation is None or scores is None:
            return []
        estimate = own_estimate(scores)
        if self.confirmation is not None:
            estimate = self.confirmation.test_score
        examples = f"{evaluation['n_images']} {evaluation['unit']}"
        if self.record.test_metric == "test_accuracy":
            remark = f"{scores.scores.sum()} of {examples}"
            return [Line("test score", estimate, ACCURACY.rounded_to(estimate), remark=remark)]
        label = score_in_words(self.record.test_metric, self.record.positive)
        unit = units_of(self.record).test.rounded_to(estimate)
        lines = [Line(label, estimate, unit, remark=examples)]
        if "accuracy" in self.record.test_metrics:
            accuracy = Estimate(self.record.test_metrics["accuracy"])
            lines.append(Line("test accuracy", accuracy, ACCURACY))
        return lines

    def _selection_lines(self) -> list[Line]:
        """Return lines with gains in the selection metric: of offsets and of hyperparameters."""
        unit = units_of(self.record).selection
        label = "gain"
        if data := _selection_data(self.record):
            label = f"{data} gain"
        bias = selection_bias(self.record)
        lines = [difference(label, Estimate(self.gain), unit, bias)]
        is_confirmed = self.confirmation is not None and self.confirmation.hyperparameters
        gain = self.record.hyperparameter_gain
        if not math.isnan(gain) and not is_confirmed:
            lines.append(difference("hyperparameters", Estimate(gain), unit, bias))
        return lines

    def _notes(self) -> list[str]:
        if self.best is None:
            return super()._notes()
        notes = [*chance_notes([self.record]), *test_set_notes(self.record)]
        if self.confirmation is not None:
            notes += confirmation_notes(self.record, self.confirmation)
        elif self.record.is_unseeded:
            notes.append("No seed changes this training, so replication cannot be tested.")
        if self.record.is_minimized:
            notes.append("Lower values of the metric are better; a positive gain is a decrease.")
        if not math.isnan(self.record.hyperparameter_gain):
            first = units_of(self.record).selection.value(self.record.attrs[BASELINE])
            notes.append(
                "Each baseline has the best trial's hyperparameters and no offsets. Their gain is "
                f"over the first trial's hyperparameters, whose baseline is {first}."
            )
        return [
            *notes,
            *data_notes([self.record]),
            *unchanged_notes(self.record),
            *super()._notes(),
        ]

    def _next_step(self) -> Step:
        if self.best is None:
            return Step()
        if self.record.test_evaluation is None:
            return Step("result = result.test()", study_command("resume", self.study))
        if self._is_baseline:
            n_trials = 2 * len(self.record.done_trials)
            url = storage_url(self.study._storage)
            if not url:  # A study in memory cannot be resumed.
                return Step(Advice(f"Call adnn.search with max_trial={n_trials}."))
            in_shell = study_command("resume", self.study, "--max-trial", str(n_trials))
            names = f"{url!r}, {self.study.study_name!r}"
            return Step(f"result = adnn.resume({names}, max_trial={n_trials})", in_shell)
        if self.confirmation is not None or self.record.is_unseeded:
            return _compare_step(self.record)
        n = n_training_runs(self.record)
        time = duration(max(seconds_of(self.record, n), 1.0))
        in_shell = study_command("resume", self.study, "--confirm", str(SEEDS))
        return Step(f"result = result.confirm()  # {n} training runs, about {time}", in_shell)

    def _figures(self) -> list[Figure]:
        figures = [gain_figure(self.record)]
        if self.best is not None and self.confirmation is not None and self.confirmation.gains:
            figures.insert(0, replication_figure(self.record, self.best, self.confirmation))
        # Restart numbers are only names of seeds, so a figure of values by number would show
        # nothing.
        if self.record.is_restart:
            return figures
        return [*figures, *places_figure(self.record)]

    def _fields(self) -> dict[str, Any]:
        return {
            **super()._fields(),
            "test_metrics": self.test_metrics,
            "confirmation": self.confirmation,
        }


def notes_on_runs(runs: Sequence[NetworkRecord]) -> NotesOnRuns:
    """Return a comparison's notes on its networks and data."""
    return NotesOnRuns(
        most_important=chance_notes(runs),
        others=[*_notes_on_examples(runs[0]), *data_notes(runs)],
        scope="All results are for this data set and this training.",
    )


def _compare_step(record: SearchRecord) -> Step:
    """Return the command for comparing the search with other samplers, with as many trials."""
    n_trials = len(record.done_trials)
    in_shell = f"Run adnn compare --max-trial {n_trials} with the other options of this search."
    return Step(f"adnn.compare(objective, max_trial={n_trials})", Advice(in_shell))


def _notes_on_examples(record: NetworkRecord) -> list[str]:
    """Return the notes on the number of test examples behind a comparison's scores."""
    tested = record.test_evaluation
    is_accuracy = units_of(record).test is ACCURACY
    sentences = []
    if is_accuracy:
        sentences.append("pp: percentage points.")
    if tested is not None:
        n = tested["n_images"]
        counted = n_counted(tested)
        examples = f"{n} test {tested['unit']}"
        if not is_accuracy:
            return [Detail(f"Test scores are of {examples}.")]
        sentences.append(f"One of {examples} is {100 / n:.2g} pp.")
        if counted < n:
            sentences.append(f"They count as {counted:.0f}, as some repeat others.")
    if not sentences:
        return []
    return [Detail(" ".join(sentences))]


def _verdict_on(confirmation: Confirmation) -> tuple[Verdict, str]:
    """Return the verdict on the replication, as one word and as a short sentence."""
    replication = confirmation.replication
    if math.isnan(replication.value):
        return "not known", "replication not known"
    if replication.low > 0:
        if confirmation.vs_baselines.high < 0:
            return "replicates", "offsets gain on new seeds, but this network is worse"
        return "replicates", "the gain replicates on new seeds"
    if replication.high < 0:
        return "worse", "the offsets lose on new seeds"
    return "not shown", "the gain is not shown to replicate"


def confirmation_notes(record: NetworkRecord, confirmation: Confirmation) -> list[str]:
    """Return the notes that limit the estimates on new seeds."""
    score = score_in_words(record.test_metric, record.positive)
    versus = confirmation.vs_baselines
    replication = confirmation.replication
    notes = []
    if versus.low > 0:
        better = f"The {score} is better than the baseline mean."
        if not confirmation.gains:
            notes.append(f"{better} Without offsets, the cause is seed variance.")
        elif not replication.low > 0:
            notes.append(
                f"{better} Seed variance may be the cause: the gain is not shown to replicate."
            )
    elif versus.high < 0:
        notes.append(f"The {score} is worse than the baseline mean.")
    elif not math.isnan(versus.value):
        notes.append(f"The {score} is not shown to differ from the baseline mean.")
    if math.isnan(replication.value):
        notes.append(Caution("A training run on new seeds has no finite metric."))
    elif math.isnan(replication.low):
        n_needed = fewest_pairs(1)
        notes.append(Caution(f"No CI of the replication: {n_needed} new seeds are needed."))
    elif confirmation.gains and not replication.low <= 0 <= replication.high:
        notes += unseen_notes(len(confirmation.seeds))
    n_claims = n_claims_of_rank(confirmation.rank)
    if math.isfinite(replication.low) and is_by_t(len(confirmation.seeds), n_claims):
        notes.append(f"The CI of the replication is Student's t, assuming {NORMAL}.")
    n_earlier = len(confirmation.earlier)
    if n_earlier:
        sentence = (
            f"Confirmations on these data in this storage: {n_earlier + 1}. The training runs are "
            f"from study {confirmation.earlier[0]!r}, with its number of seeds."
        )
        notes.append(Detail(sentence))
    return notes + rank_notes(confirmation.rank, confirmation.level)


def test_set_notes(record: NetworkRecord) -> list[str]:
    """Return the notes on a missing test-set evaluation, related examples and divergence."""
    evaluation = record.test_evaluation
    if evaluation is None:
        if record.test_evaluations:
            return [Caution("The test set was evaluated only for an earlier best trial.")]
        return [Caution("The test set is not evaluated yet.")]
    notes = []
    if "n_groups" in evaluation:
        examples = f"{evaluation['n_images']} test {evaluation['unit']}"
        notes.append(
            f"The {examples} count as {n_counted(evaluation):.0f}, because some repeat others or "
            "belong together."
        )
    if math.isnan(evaluation["baseline"]):
        notes.append(Caution("The training run of the baseline network diverged."))
    return notes


def unchanged_notes(record: NetworkRecord) -> list[str]:
    """Return the note on variables that no offset changes, or an empty list."""
    config = record.config
    if config.get("space", {}).get("type") != "OffsetSpace":
        return []
    names: Sequence[str] = config.get("model", {}).get("not_moved", [])
    if not names:
        return []
    listed = ", ".join(names[:_N_NAMED])
    if len(names) > _N_NAMED:
        listed += f" and {len(names) - _N_NAMED} more"
    which = "only variables named kernel, embeddings or bias have offsets"
    return [Detail(f"No offset changes {listed}: {which}.")]


def chance_notes(runs: Sequence[NetworkRecord]) -> list[str]:
    """Return notes on runs whose networks are not shown to have learned anything."""
    evaluations = [evaluation for run in runs if (evaluation := run.test_evaluation)]
    # Only the accuracy shows whether a network learned. Other metrics may not show it.
    evaluations = [e for e in evaluations if "won" in e and "n_largest" in e]
    if not evaluations:
        return []
    accuracies = {
        "baseline": [evaluation["baseline"] for evaluation in evaluations],
        "best": [evaluation["best"] for evaluation in evaluations],
    }
    limits = [chance_limit(e["n_largest"], e["n_images"]) for e in evaluations]
    at_chance = []
    for name, values in accuracies.items():
        pairs = zip(values, limits, strict=True)
        if all(value <= limit for value, limit in pairs):
            at_chance.append(name)
    if not at_chance:
        return []
    first = evaluations[0]
    share = f"{100 * first['n_largest'] / first['n_images']:.3g}%"
    are = "network is"
    if at_chance[1:]:
        are = "networks are"
    score = f"{share}, the share of class {first['largest_class']!r}"
    subject = f"The {in_list(at_chance)} {are} at chance"
    return [Caution(f"{subject}: the test accuracy is not distinguishable from {score}.")]


def data_notes(runs: Sequence[NetworkRecord]) -> list[str]:
    """Return the notes on the data that all searches share."""
    first = runs[0]
    notes = []
    evaluations = [evaluation for run in runs if (evaluation := run.test_evaluation)]
    if evaluations:
        notes.append(_uneven_note(evaluations[0]))
    counts = first.config["dataset"].get("duplicates", {})
    repeated = duplicates.in_words(counts)
    if repeated:
        notes.append(f"The data have {repeated}.")
    several = [run for run in runs if len(run.test_evaluations) > 1]
    if first.test_evaluations and first.test_evaluations_elsewhere:
        several.append(first)
    notes += [_several_evaluations_note(run) for run in several[:1]]
    return [note for note in notes if note]


def _uneven_note(evaluation: TestEvaluation) -> str:
    """Return a note with the score of always predicting the largest class.

    If the classes are even, it is empty.
    """
    n = evaluation.get("n_classes", 1)
    largest = evaluation.get("n_largest", 0)
    total = evaluation["n_images"]
    if n < 2 or largest * (n - 1) < _UNEVEN * (total - largest):
        return ""
    share = f"{100 * largest / total:.3g}%"
    return Caution(
        f"{share} of the test set is class {evaluation['largest_class']!r}: a network that always "
        f"predicts it reaches {share}."
    )


def _several_evaluations_note(record: NetworkRecord) -> str:
    """Return the note on repeated test-set evaluations and their consequence."""
    n = len(record.test_evaluations)
    n_others = sum(record.test_evaluations_elsewhere.values())
    if n == 1:
        return test_set_note(n_others)
    elsewhere = ""
    if n_others:
        elsewhere = f", and {times(n_others)} by other studies of this storage"
    return Caution(
        f"The test set was evaluated {times(n)} by one search{elsewhere}. Only the first "
        "evaluation is on untouched test data."
    )


def _selection_data(record: NetworkRecord) -> str:
    """Return a word for the data of the selection metric, or an empty text."""
    split = record.metric.partition("_")[0]
    return {"val": "validation", "train": "training"}.get(split, "")


def replication_figure(
    record: NetworkRecord, best: FrozenTrial, confirmation: Confirmation
) -> Figure:
    """Return a figure of the trials' gains in the search, and of the gains on new seeds."""
    units = units_of(record)
    _, title = _verdict_on(confirmation)
    data = _selection_data(record) or "selection"
    gains = [*record.gains.values()]
    gain = Estimate(record.gain)
    selected = Line(f"trial {best.number}, best", gain, units.selection, is_difference=True)
    replicated = difference("new seeds", confirmation.replication, units.test, "")
    return selection_figure(
        "selection",
        capitalized(title),
        units.selection.heading("gain over the baseline network", is_gain=True),
        trials=gains,
        best=selected,
        chosen=NewValues(
            f"test data, {len(confirmation.gains)} new seeds", replicated, confirmation.gains
        ),
        level=confirmation.level,
        of_trials=f"{data} data, ",
    )
