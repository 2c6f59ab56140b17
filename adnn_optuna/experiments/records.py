"""The record of a network's search: stored facts of a study, and numbers computed from them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Attributes, Confirmed, Json, Metrics, TestEvaluation
from adnn_optuna._seeds import confirmation_seeds, experiment_fingerprint
from adnn_optuna._units import with_class
from adnn_optuna.engine.arms import Arm
from adnn_optuna.engine.records import SearchRecord, beginnings_of_runs
from adnn_optuna.engine.storages import StudyRead
from adnn_optuna.experiments.controls import ARMS
from adnn_optuna.networks.offsets import RESTARTS, OffsetSpace
from adnn_optuna.samplers._evaluations import made_evaluations

CONFIRMATION_NAMES = ("trial", "arm", "seed")
"""The parameters that identify a training run on a new seed."""
# The networks of a confirmation: the baseline network with the best trial's hyperparameters, the
# best network, and the baseline network with the first trial's hyperparameters.
BASELINE_ARM, BEST_ARM, FIRST_ARM = range(3)


@dataclasses.dataclass(frozen=True)
class NetworkRecord(SearchRecord):
    """A snapshot of a network's search, with its test-set evaluations and confirmations."""

    # For each other study in the storage, the number of times that it evaluated the same test set.
    # All studies of a comparison count as one study.
    test_evaluations_elsewhere: Mapping[str, int] = dataclasses.field(default_factory=dict)

    arms: ClassVar[Mapping[str, Arm]] = ARMS

    @classmethod
    def of(cls, read: StudyRead) -> Self:
        """Return the record of a study, with the best trial's own baseline if it is stored."""
        record = super().of(read)
        attrs = read.attrs
        baseline = attrs.get(stored.BASELINE, math.nan)
        if record.best is not None:
            baseline = record.best.user_attrs.get(stored.BASELINE, baseline)
        config = attrs[stored.CONFIG]
        elsewhere = evaluations_elsewhere(read.study, attrs, read.others)
        return dataclasses.replace(
            record,
            metric=config["metric"],
            baseline=baseline,
            test_evaluations_elsewhere=elsewhere,
        )

    @property
    def config(self) -> Json:
        """The configuration of the objective."""
        return self.attrs[stored.CONFIG]

    @property
    def is_restart(self) -> bool:
        """Whether the search only draws new initial weights, without offsets."""
        return self.config["space"] == RESTARTS.config

    @property
    def is_as_passed(self) -> bool:
        """Whether the search uses the user's space. Some arms have another space."""
        return self.config["space"]["type"] == OffsetSpace.__name__

    @property
    def n_networks(self) -> int:
        """The number of networks that the best trial averages, or 1 without an ensemble."""
        if self.best is None or not self.arm.later:
            return 1
        return max(self.best.intermediate_values, default=1)

    @property
    def later_cost(self) -> str:
        """The extra cost of the best network, such as "prediction costs 3 times as much".

        If the network is not an average, the text is empty.
        """
        if self.n_networks > 1:
            return self.arm.later.format(n=self.n_networks)
        return ""

    @property
    def is_unseeded(self) -> bool:
        """Whether the study stores that no seed changes the training of the best trial."""
        if self.best is None:
            return False
        return self.attrs.get(f"{stored.UNSEEDED}/{self.best.number}", False)

    @property
    def hyperparameter_gain(self) -> float:
        """The gain of the best hyperparameters over the first trial's hyperparameters.

        If no hyperparameters are searched, it is NaN.
        """
        if self.best is None or stored.BASELINE not in self.best.user_attrs:
            return math.nan
        return self.improvement(self.baseline, self.attrs.get(stored.BASELINE, math.nan))

    @property
    def positive(self) -> Any:
        """The positive class of the metric, or :obj:`None`."""
        return self.config.get("positive")

    @property
    def metric_label(self) -> str:
        """The name of the selection metric, with its positive class if it has one."""
        return with_class(self.metric, self.positive)

    @property
    def test_metric(self) -> str:
        """The name of the selection metric on the test set."""
        return test_metric(self.metric)

    @property
    def test_metrics(self) -> Metrics:
        """The best network's test metrics by name; empty before the test-set evaluation."""
        if self.test_evaluation:
            return self.test_evaluation["metrics"]
        return {}

    @property
    def test_evaluations(self) -> list[TestEvaluation]:
        """All test-set evaluations of this study, by time."""
        return test_evaluations_of(self.attrs)

    @property
    def test_evaluation(self) -> TestEvaluation | None:
        """The last test-set evaluation of the best trial, or :obj:`None`."""
        if self.best is None:
            return None
        for evaluation in reversed(self.test_evaluations):
            if evaluation["trial"] == self.best.number:
                return evaluation
        return None

    @property
    def n_test_evaluations(self) -> float:
        """The number of test-set evaluations, including those of other studies in the storage."""
        return len(self.test_evaluations) + sum(self.test_evaluations_elsewhere.values())

    @property
    def n_test_examples(self) -> int:
        """The number of test examples, or 0 before the test-set evaluation."""
        if self.test_evaluation:
            return self.test_evaluation["n_images"]
        return 0

    @property
    def test_baseline(self) -> float:
        """The baseline network's metric on the test set.

        Before the test-set evaluation, or if the training diverged, it is NaN.
        """
        if self.test_evaluation:
            return self.test_evaluation["baseline"]
        return math.nan

    @property
    def test_value(self) -> float:
        """The best trial's metric on the test set, or NaN before the test-set evaluation."""
        if self.test_evaluation:
            return self.test_evaluation["best"]
        return math.nan

    @property
    def confirmations(self) -> dict[int, Confirmed]:
        """The first declared confirmation of each best trial, by the trial's number."""
        prefix = f"{stored.CONFIRMED}/"
        declared = [value for name, value in self.attrs.items() if name.startswith(prefix)]
        first = dict[int, Confirmed]()
        for confirmed in sorted(declared, key=lambda of: (of["began"], of["trial"])):
            first.setdefault(confirmed["trial"], confirmed)
        return first

    @property
    def gain_on_new_seed(self) -> float:
        """The best trial's gain over its baseline network on a new seed.

        If the two networks were not trained on a new seed, it is NaN.
        """
        if self.best is None:
            return math.nan
        scores = made_evaluations(self.confirming, CONFIRMATION_NAMES)
        experiment = experiment_fingerprint(self.config)
        [seed] = confirmation_seeds(experiment, self.best.params, 1)
        baseline = scores.get((self.best.number, BASELINE_ARM, seed), math.nan)
        best = scores.get((self.best.number, BEST_ARM, seed), math.nan)
        return self.improvement(best, baseline)


def test_metric(metric: str) -> str:
    """Return the name of a selection metric, such as ``val_auc``, on the test set."""
    return f"test_{metric.partition('_')[2]}"


def test_evaluations_of(attrs: Attributes) -> list[TestEvaluation]:
    """Return the test-set evaluations that a study stores, by time."""
    evaluations = [value for name, value in attrs.items() if name.startswith(f"{stored.TEST}/")]
    evaluations.sort(key=lambda evaluation: evaluation["evaluated_at"])
    # Workers that end at the same time may store the same evaluation.
    different = {
        (evaluation["trial"], evaluation["n_trials"]): evaluation for evaluation in evaluations
    }
    return [*different.values()]


def evaluations_elsewhere(
    own: optuna.Study, attrs: Attributes, others: Mapping[str, Attributes]
) -> dict[str, int]:
    """Return how often each other study evaluated the same test samples, by study name."""
    own_name = own.study_name
    rows = attrs.get(stored.TEST_ROWS)
    if not rows:
        return {}
    siblings = tuple(filter(own_name.startswith, beginnings_of_runs(others)))
    counts = {}
    for name, attrs_of_study in others.items():
        is_own = name == own_name or name.startswith(siblings)
        if is_own or attrs_of_study.get(stored.TEST_ROWS) != rows:
            continue
        n = _n_evaluations(own._storage, name, attrs_of_study)
        if n:
            counts[name] = n
    return counts


def _n_evaluations(storage: BaseStorage, name: str, attrs: Attributes) -> int:
    """Return how often a study evaluated its test set. Each value of a network counts once."""
    evaluated = attrs.get(stored.EVALUATED)
    if evaluated is None:
        return len(test_evaluations_of(attrs))
    models: Any = {}
    if isinstance(evaluated, dict):
        models = evaluated.get("models")
    functions = set()
    if isinstance(models, dict):
        for number, model in enumerate(models.values()):
            # A model with "sources" is a function, which may or may not evaluate a test set.
            if isinstance(model, dict) and "sources" in model:
                functions.add(number)
    study_id = storage.get_study_id_from_name(name)
    trials = storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
    return sum(trial.params.get("model") not in functions for trial in trials)
