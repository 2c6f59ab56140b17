"""The objective over init offsets, as it is searched, compared, rechecked and rebuilt."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna import _attributes as stored
from adnn_optuna import _checks
from adnn_optuna._attributes import Params
from adnn_optuna._checks import (
    Fault,
    FilePath,
    WrongValueError,
    as_integer,
    first_line,
    is_integer,
    n_cores,
    shown,
)
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna.callbacks import LimitValues
from adnn_optuna.engine.arms import Arm, Arms
from adnn_optuna.engine.evaluations import SEEDS
from adnn_optuna.engine.kinds import NETWORKS, Kind
from adnn_optuna.engine.objectives import Ending, RunPlan
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.experiments.confirmation import (
    FEWEST_SEEDS,
    confirm_best_trial,
    evaluate_test_set,
    is_affordable,
    note_randomness,
    replicate_best_trial,
)
from adnn_optuna.experiments.controls import ARMS, NetworkArm
from adnn_optuna.experiments.experiment import is_of_trial
from adnn_optuna.experiments.network_objective import NetworkObjective
from adnn_optuna.experiments.records import NetworkRecord
from adnn_optuna.networks._tensorflow import check_not_forked
from adnn_optuna.networks.keras_files import model_from_config, policy_of_caller
from adnn_optuna.networks.loading import dataset_from_config
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.offsets import space_from_config
from adnn_optuna.stats.paired_differences import MARGIN

if TYPE_CHECKING:
    from adnn_optuna.experiments.search import SearchResult

_COMPARED = (stored.GREEDY, stored.ANNEALING, stored.RANDOM_RESTART)


class InitOffsetObjective(NetworkObjective):
    """Trains a network from offset initial weights and returns how good it became.

    It is an objective for :meth:`optuna.study.Study.optimize`, with any sampler. The first trial
    of a study also trains the *baseline network*, all offsets 0, and stores its value (user
    attribute ``adnn:baseline``). If model or training is a function of the trial, each new best
    trial also trains a baseline network with its own hyperparameters. The study's pruner sees the
    metric after each epoch. Optuna's default :class:`~optuna.pruners.MedianPruner` is ignored: to
    use one, pass it an argument, such as ``MedianPruner(n_startup_trials=4)``.

    The same parameters give the same value, bit for bit, on the same machine. A training that
    diverges (a loss that is not finite) returns NaN, which Optuna notes as a failed trial.

    Example:

        .. code-block:: python

            import optuna
            from adnn_optuna import DeltaStepSampler, InitOffsetObjective, MLP, load_dataset
            objective = InitOffsetObjective(MLP(hidden=(64,)), load_dataset("digits"), seed=0)
            study = optuna.create_study(direction="maximize", sampler=DeltaStepSampler())
            study.optimize(objective, n_trials=10)

    Args:
        model: An :class:`~adnn_optuna.MLP`, or a callable without arguments that returns a new
            ``keras.Model`` with one output for each class (or a single one for two classes), or
            for each target of a regression. Or a function of the trial that returns one of these,
            whose suggestions are searched together with the offsets.
        dataset: The data.
        training: How the network is trained; or a function of the trial that returns it.
        space: Which initial values move, and how far.
        metric: The score of the validation or the training split: ``"val_accuracy"``
            (the default; of a regression ``"val_r2"``), ``"train_accuracy"`` (the paper's),
            ``"val_loss"``, of a regression ``"val_rmse"`` or ``"val_mae"``, or any Keras metric by
            name, such as ``"val_auc"``. Losses and errors are minimized.
        direction: ``"minimize"`` or ``"maximize"``, if the metric's name does not tell it.
        seed: The seed of the initial weights and of the order of the batches.
        catch: The errors that end only their trial, not the search.
        store_scores: Whether each trial stores the scores of the validation examples, from which
            :func:`~adnn_optuna.overtuning` estimates the best trial's value on new data. It
            does if the metric is a mean over single examples, and if they take at most 10 kB.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument's value is wrong, or the model does not fit the data.
    """

    kind: ClassVar[Kind["SearchResult"]] = NETWORKS
    n_studies_at_once: int = n_cores()
    is_seeded: ClassVar[bool] = True
    draws_data: ClassVar[bool] = False
    functions: ClassVar[Mapping[str, Any]] = {}
    declared: ClassVar[Mapping[str, Any]] = {}
    split_sizes: ClassVar[None] = None

    @property
    def arms(self) -> Arms:
        """The samplers and controls, and which of them are compared by default."""
        controls: tuple[str, ...] = ()
        if self.fixed_learning_rate is not None:
            controls = (stored.LEARNING_RATE,)
        margin = None  # Losses and errors have units of their own.
        if self.direction == StudyDirection.MAXIMIZE:
            margin = MARGIN
        return Arms(ARMS, _COMPARED, stored.RANDOM_RESTART, controls, margin)

    def plan(
        self, arm: Arm, limits: LimitValues, batch_size: int | Literal["auto"], ending: Ending
    ) -> RunPlan:
        """Return how an arm is searched: what its trials train, and how many at once."""
        check_not_forked()
        _check_confirm(ending.confirm)
        gain = limits["max_gain"] or 0.0
        if gain >= 1 and self.metric.endswith("accuracy"):
            raise WrongValueError(
                f"max_gain is {gain:g}, but {self.metric} is a fraction, which cannot gain that: "
                f"for {gain:g} percentage points give {gain / 100:g}."
            )
        objective: NetworkObjective = self
        if isinstance(arm, NetworkArm):
            objective = arm.objective(self, limits["max_trial"])
        if arm.is_control and not self.is_of_trial:
            objective = objective.as_control_of(self)
        has_one_network = not objective.is_of_trial
        n_at_once: Any = batch_size
        if batch_size == "auto":
            n_at_once = 1
            if arm.is_batched and has_one_network:
                n_at_once = objective.trainer.n_at_once()
        n_at_once = as_integer("batch_size", n_at_once, below=stored.TOO_MANY)
        is_compiled = not has_one_network or objective.trainer.is_compiled
        return RunPlan(
            objective,
            n_at_once,
            # While one trial is told and the next one begun, no core is idle.
            n_threads=n_cores() + 1,
            ending=ending,
            first_step="" if is_compiled else "compiling",
            prepare_threads=policy_of_caller,
        )

    def baseline_of(self, params: Params) -> Params:
        """Return the parameters of the baseline network with a trial's hyperparameters."""
        return {**params, **self.of(params).baseline_params}

    def evaluate(self, trial: FrozenTrial, seed: int) -> float:
        """Return the metric of a finished trial's network, trained from another seed."""
        return self.replace(seed=seed)(trial)

    def conclude(self, record: SearchRecord, plan: RunPlan, stop: threading.Event) -> SearchRecord:
        """Evaluate the test set; train best and baseline network from new seeds."""
        assert isinstance(record, NetworkRecord), "Its study has an objective's configuration."
        ending = plan.ending
        objective = cast("NetworkObjective", plan.objective)
        if ending.is_compared:
            record = evaluate_test_set(record, objective, stop)
            replicate_best_trial(record, objective, stop)
            return record
        record = note_randomness(record, objective)
        if not ending.test or record.best is None:
            return record
        record = evaluate_test_set(record, objective, stop)
        confirm = ending.confirm
        if confirm == "auto":
            confirm = 0
            if is_affordable(record, objective, ending.max_time):
                confirm = SEEDS
        if not confirm:
            return record
        return confirm_best_trial(
            record,
            objective,
            confirm,
            stop=stop,
            show_progress_bar=ending.show_progress_bar,
        )


def _check_confirm(confirm: Any) -> None:
    """Refuse a number of new seeds that cannot confirm a best trial."""
    is_number = is_integer(confirm) and (confirm == 0 or confirm >= FEWEST_SEEDS)
    if not is_number and confirm != "auto":
        raise WrongValueError(
            f"confirm must be 'auto', 0, or at least {FEWEST_SEEDS}, because fewer new seeds can "
            f"show nothing; got {shown(confirm)}."
        )


def objective_from_study(
    study: optuna.Study, data_dir: FilePath | None = None
) -> InitOffsetObjective:
    """Rebuild the objective that a study stores, with its dataset out of ``data_dir``."""
    config: Any = study.user_attrs.get(stored.CONFIG)
    if config is None:
        config = stored.subject_of(study, stored.Config)
    if is_of_trial(config):
        raise WrongValueError(
            f"The model or training of the study {study.study_name!r} is a function of the trial, "
            "which a study does not hold: give its objective, in Python."
        )
    try:
        model = model_from_config(config["model"])
        dataset = dataset_from_config(config["dataset"], data_dir)
        training = Training(**config["training"])
        space = space_from_config(config["space"])
        objective = InitOffsetObjective(
            model,
            dataset,
            training=training,
            space=space,
            metric=config["metric"],
            direction=config.get("direction"),
            seed=config["seed"],
        )
    except _checks.WrongInputError:
        raise
    except (TypeError, LookupError, AttributeError) as error:
        study_label = f"study {study.study_name!r}"
        fault = Fault("as made here", first_line(error))
        raise stored.malformed(stored.CONFIG, study_label, fault) from error
    differences = config_differences(config["model"], objective.config["model"], "model")
    if differences:
        raise WrongValueError(
            f"The model of the study {study.study_name!r} cannot be rebuilt from its "
            f"configuration ({in_words(differences)}); pass the objective again, in Python."
        )
    return objective
