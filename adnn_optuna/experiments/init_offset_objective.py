"""The Optuna objective over init offsets."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna import _checks
from adnn_optuna._attributes import (
    ANNEALING,
    CONFIG,
    GREEDY,
    LEARNING_RATE,
    RANDOM_RESTART,
    TOO_MANY,
    Config,
    Params,
    malformed,
    subject_of,
)
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
from adnn_optuna.engine.kinds import NETWORK_KIND, Kind
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

_COMPARED = (GREEDY, ANNEALING, RANDOM_RESTART)


class InitOffsetObjective(NetworkObjective):
    """Adds offsets to the initial weights of a network, trains it, and returns its metric.

    Pass it to :meth:`optuna.study.Study.optimize`, with any sampler. The first trial of a study
    also trains the *baseline network*, whose offsets are all 0. It stores this network's value as
    the user attribute ``adnn:baseline``. If the model or training is a function of the trial, each
    new best trial also trains a baseline network with its own hyperparameters.

    The study's pruner gets the metric after each epoch. Optuna's default
    :class:`~optuna.pruners.MedianPruner` is ignored. To use a median pruner, pass it an argument,
    such as ``MedianPruner(n_startup_trials=4)``.

    On the same machine, the same parameters give the same value, bit for bit. If the loss is not
    finite, the training run diverged. The objective then returns NaN, and Optuna marks the trial
    as failed.

    Example:

        .. code-block:: python

            import optuna
            from adnn_optuna import DeltaStepSampler, InitOffsetObjective, MLP, load_dataset
            objective = InitOffsetObjective(MLP(hidden=(64,)), load_dataset("digits"), seed=0)
            study = optuna.create_study(direction="maximize", sampler=DeltaStepSampler())
            study.optimize(objective, n_trials=10)

    Args:
        model: An :class:`~adnn_optuna.MLP`, or a callable without arguments that returns a new
            ``keras.Model``. A Keras model has an output for each class, a single output for two
            classes, or an output for each target of a regression. ``model`` may also be a function
            of the trial that returns one of these. The trial's suggestions are then searched
            together with the offsets.
        dataset: The dataset on which the network is trained.
        training: The training settings, or a function of the trial that returns them.
        space: The space of the offsets: which initial values change, and by how much.
        metric: The metric that selects the best trial, such as ``"val_accuracy"`` (the default;
            for regressions ``"val_r2"``), ``"val_loss"``, ``"train_accuracy"`` (as in the paper),
            or any Keras metric by name, such as ``"val_auc"``. ``val`` stands for the validation
            data, and ``train`` for the training data. For regressions, there are also
            ``"val_rmse"`` and ``"val_mae"``. Losses and errors are minimized.
        direction: ``"minimize"`` or ``"maximize"``. By default, the metric's name determines the
            direction.
        seed: The seed of the initial weights and of the order of the batches.
        catch: The errors that end only a trial, not the search.
        store_scores: Whether each trial stores the scores of the validation examples, for
            :func:`~adnn_optuna.overtuning`. Scores are stored only if the metric is a mean over
            single examples, and if they take at most 10 kB.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If an argument is wrong, or the model does not fit the data.
    """

    kind: ClassVar[Kind["SearchResult"]] = NETWORK_KIND
    n_studies_at_once: int = n_cores()
    is_seeded: ClassVar[bool] = True
    draws_data: ClassVar[bool] = False
    functions: ClassVar[Mapping[str, Any]] = {}
    stored_arguments: ClassVar[Mapping[str, Any]] = {}
    split_sizes: ClassVar[None] = None

    @property
    def arms(self) -> Arms:
        """All samplers and controls, and the default choice for a comparison."""
        controls: tuple[str, ...] = ()
        if self.fixed_learning_rate is not None:
            controls = (LEARNING_RATE,)
        margin = None  # Losses and errors have various units, so they have no default margin.
        if self.direction == StudyDirection.MAXIMIZE:
            margin = MARGIN
        return Arms(ARMS, _COMPARED, RANDOM_RESTART, controls, margin)

    def plan(
        self, arm: Arm, limits: LimitValues, batch_size: int | Literal["auto"], ending: Ending
    ) -> RunPlan:
        """Return the plan of an arm's search: its objective, and the number of trials at once."""
        check_not_forked()
        _check_confirm(ending.confirm)
        gain = limits["max_gain"] or 0.0
        if gain >= 1 and self.metric.endswith("accuracy"):
            raise WrongValueError(
                f"max_gain must be below 1, because {self.metric} is a fraction; got {gain:g}. "
                f"For {gain:g} percentage points, pass {gain / 100:g}."
            )
        objective: NetworkObjective = self
        if isinstance(arm, NetworkArm):
            objective = arm.objective(self, limits["max_trial"])
        if arm.is_control and not self.is_of_trial:
            objective = objective.replace()
            objective.compared = self
        has_one_network = not objective.is_of_trial
        n_at_once: Any = batch_size
        if batch_size == "auto":
            n_at_once = 1
            if arm.ignores_values and has_one_network:
                n_at_once = objective.trainer.n_at_once()
        n_at_once = as_integer("batch_size", n_at_once, below=TOO_MANY)
        is_compiled = not has_one_network or objective.trainer.is_compiled
        return RunPlan(
            objective,
            n_at_once,
            # One additional thread keeps all cores busy while a trial is stored and the next trial
            # begins.
            n_threads=n_cores() + 1,
            ending=ending,
            first_step="" if is_compiled else "compiling",
            initializer_of_threads=policy_of_caller,
        )

    def baseline_of(self, params: Params) -> Params:
        """Return the parameters of the baseline network with a trial's hyperparameters."""
        return {**params, **self.of(params).baseline_params}

    def evaluate(self, trial: FrozenTrial, seed: int) -> float:
        """Train a finished trial's network on another seed, and return its metric."""
        return self.replace(seed=seed)(trial)

    def conclude(self, record: SearchRecord, plan: RunPlan, stop: threading.Event) -> SearchRecord:
        """Evaluate the test set, and confirm the best trial on new seeds, as planned."""
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
    """Raise an error if a number of new seeds is too small to confirm a best trial."""
    is_number = is_integer(confirm) and (confirm == 0 or confirm >= FEWEST_SEEDS)
    if not is_number and confirm != "auto":
        raise WrongValueError(
            f"confirm must be 'auto', 0, or at least {FEWEST_SEEDS}, because fewer new seeds can "
            f"show nothing; got {shown(confirm)}."
        )


def objective_from_study(
    study: optuna.Study, data_dir: FilePath | None = None
) -> InitOffsetObjective:
    """Rebuild the objective that a study stores, with its dataset from ``data_dir``."""
    config: Any = study.user_attrs.get(CONFIG)
    if config is None:
        config = subject_of(study, Config)
    if is_of_trial(config):
        raise WrongValueError(
            f"The model or training of study {study.study_name!r} is a function of the trial, "
            "which a study does not store. Pass its objective in Python."
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
        raise malformed(CONFIG, study_label, fault) from error
    differences = config_differences(config["model"], objective.config["model"], "model")
    if differences:
        raise WrongValueError(
            f"The model of study {study.study_name!r} cannot be rebuilt from its "
            f"configuration ({in_words(differences)}). Pass the objective in Python."
        )
    return objective
