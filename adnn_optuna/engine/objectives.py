"""The protocols of objectives, and the outcomes of their trials."""

import contextlib
import dataclasses
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import OptunaError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import (
    ENDED,
    OUTCOME,
    Attributes,
    Ended,
    Metrics,
    Params,
    Status,
    StoredOutcome,
    Trained,
)
from adnn_optuna._checks import (
    WrongInputError,
    WrongParametersError,
    WrongTypeError,
    WrongValueError,
    logger,
    shown,
)
from adnn_optuna.callbacks import LimitValues
from adnn_optuna.engine.arms import Arm, Arms
from adnn_optuna.engine.code_fingerprint import UserFunction
from adnn_optuna.engine.example_scores import Scored
from adnn_optuna.engine.kinds import Kind, R_co
from adnn_optuna.engine.repeating import StorageError

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord

Catch = Iterable[type[Exception]] | type[Exception]
"""The errors that end only their own trial, as in :meth:`optuna.study.Study.optimize`."""
Caught = tuple[type[Exception], ...]
"""The checked errors of ``catch``."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a trial.

    The status ``"timeout"`` means that any limit ended the trial. The status ``"stopped"`` means
    that the user stopped it. A stopped trial is not told. A timed-out trial is told as pruned and
    then enqueued again, so that a resumed study repeats it.
    """

    status: Status
    value: float | None = None
    metrics: Metrics | None = None
    trained: Trained | None = None
    system_attrs: Attributes = dataclasses.field(default_factory=dict)
    examples: Scored | None = None
    stops_study: bool = False  # The objective called `study.stop`.

    @property
    def state(self) -> TrialState:
        """The state that is told to Optuna."""
        states = {"complete": TrialState.COMPLETE, "diverged": TrialState.FAIL}
        return states.get(self.status, TrialState.PRUNED)

    def store(self, trial: optuna.Trial, elapsed: float) -> None:
        """Store everything except state and value in a trial, before the trial is told."""
        for name, value in self.system_attrs.items():
            trial.study._storage.set_trial_system_attr(trial._trial_id, name, value)
        outcome: StoredOutcome = {"elapsed": elapsed}
        if self.trained is not None:
            outcome["trained"] = self.trained
        if self.metrics is not None:
            outcome["metrics"] = self.metrics
        if self.examples is not None:
            outcome["examples"], parts = self.examples.attributes
            for name, text in parts.items():
                trial.set_user_attr(name, text)
        trial.set_user_attr(OUTCOME, outcome)
        if self.status == "timeout":
            mark(trial, "interrupted")
        elif self.status == "diverged":
            mark(trial, "diverged")


class Trainable(Protocol):
    """What the loop evaluates in the trials of one study."""

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """The parameters that are known before a trial suggests them."""

    @property
    def baseline_params(self) -> Params:
        """The parameters of the baseline, which the first trials evaluate; empty without one."""

    def suggest(self, trial: optuna.Trial) -> object:
        """Let a trial suggest the parameters that are known before it is evaluated."""

    def train(
        self, trials: Sequence[optuna.Trial], *, stop: threading.Event, deadline: float
    ) -> list[Outcome]:
        """Evaluate trials of one study until ``stop`` is set or the deadline has passed."""


class Attachable(Trainable, Protocol):
    """What the trials of a search evaluate."""

    @property
    def seed(self) -> int:
        """The seed of the study."""

    def attach(self, study: optuna.Study) -> None:
        """Store the configuration in a study. Raise an error for a study of another objective."""


class Ending(NamedTuple):
    """The steps after the trials of a study."""

    test: bool = True  # Whether to evaluate the test set, if there is one.
    confirm: int | Literal["auto"] = "auto"  # The number of new seeds for the best trial.
    is_compared: bool = False  # The study is a run of a comparison.
    max_time: float | None = None  # The time limit of the trials and all later steps together.
    show_progress_bar: bool = False


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """The plan for running one sampler or control on an objective in one study."""

    objective: Attachable  # The objective that trials evaluate.
    batch_size: int
    n_threads: int  # The maximum number of trials that run at once.
    ending: Ending
    # Further settings for the study to store.
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    replicate_share: float = 0.0  # The share of the trials that are replicates.
    n_new_seeds: int = 0  # The number of evaluations on new seeds that ``max_time`` includes.
    first_step: str = ""  # One word for what the first trial waits for, for the progress bar.
    # Returns the function that each thread of trials calls first. It is called in the process that
    # runs the study.
    initializer_of_threads: Callable[[], Callable[[], None]] | None = None


class Searched(Attachable, Protocol[R_co]):
    """The subject of searches, comparisons and rechecks, such as a user's function or networks."""

    @property
    def kind(self) -> Kind[R_co]:
        """The kind of the objective's studies."""

    @property
    def direction(self) -> StudyDirection:
        """Whether higher or lower values are better."""

    @property
    def metric(self) -> str:
        """The name of the value."""

    @property
    def n_studies_at_once(self) -> int:
        """The number of studies of a comparison that run at once in one process."""

    @property
    def is_seeded(self) -> bool:
        """Whether the value may depend on the seed."""

    @property
    def draws_data(self) -> bool:
        """Whether a seed may redraw the data. If not, all seeds use the data of the search."""

    @property
    def arms(self) -> Arms:
        """The samplers and controls, and which of them a comparison has by default."""

    @property
    def functions(self) -> Mapping[str, UserFunction]:
        """The user's functions by the user's names. Changes of their code are detected."""

    @property
    def split_sizes(self) -> tuple[int, int] | None:
        """The numbers of training and test examples, if seeds redraw the split of the data."""

    @property
    def stored_arguments(self) -> Mapping[str, Any]:
        """The objective's settings that a comparison stores in addition to its own arguments."""

    def replace(self, **parts: Any) -> Self:
        """Return a copy with other parts, such as ``seed`` and ``catch``."""

    def plan(
        self, arm: Arm, limits: LimitValues, batch_size: int | Literal["auto"], ending: Ending
    ) -> RunPlan:
        """Return the plan of an arm's search. Raise an error for unsuitable arguments."""

    def check(self, study: optuna.Study) -> None:
        """Raise an error for a study of another objective."""

    def baseline_of(self, params: Params) -> Params:
        """Return the parameters of a trial's baseline; empty if no baseline is known."""

    def evaluate(self, trial: FrozenTrial, seed: int) -> Any:
        """Evaluate a finished trial on a new seed.

        Return the value, or the scores of the examples.
        """

    def conclude(
        self, record: "SearchRecord", plan: RunPlan, stop: threading.Event
    ) -> "SearchRecord":
        """Evaluate the test set and new seeds after the trials of a study, and store the results.

        Return the record with the results.
        """


class ObjectiveStudy(optuna.Study):
    """The study as an objective sees it during a search, in any thread.

    Samplers stop a study only while a trial is told. At other times, its objective stops it.
    """

    is_stopped_by_objective: bool = False

    def ask(self, *_: Any, **__: Any) -> optuna.Trial:
        """Raise an error, because the search would wait for this trial."""
        raise WrongValueError(
            "An objective must not ask its own study for trials; got study.ask(). Suggest all "
            "parameters from the trial, or ask another study."
        )

    def stop(self) -> None:
        """Let no further trial begin."""
        self._stop_flag = True
        if not getattr(self._thread_local, "is_telling", False):
            self.is_stopped_by_objective = True

    def tell(
        self,
        trial: optuna.Trial | int,
        values: float | Sequence[float] | None = None,
        state: TrialState | None = None,
        skip_if_finished: bool = False,  # noqa: FBT001, FBT002 - as Optuna has it.
    ) -> FrozenTrial:
        """Tell a trial. A trial that is told as failed counts."""
        is_nan = isinstance(values, float) and math.isnan(values)
        if state == TrialState.FAIL or is_nan:
            number = trial
            if not isinstance(number, int):
                number = number.number
            storage = self._storage
            trial_id = storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
            storage.set_trial_system_attr(trial_id, ENDED, "diverged")
        self._thread_local.is_telling = True
        try:
            return super().tell(trial, values, state, skip_if_finished)
        finally:
            self._thread_local.is_telling = False


def mark(trial: optuna.Trial, ended: Ended) -> None:
    """Store why a trial has no value, before the trial is told."""
    trial.study._storage.set_trial_system_attr(trial._trial_id, ENDED, ended)


def has_ended(trial: optuna.Trial) -> bool:
    """Return whether any worker told a trial."""
    return trial.study._storage.get_trial(trial._trial_id).state.is_finished()


def checked_direction(direction: str | StudyDirection | None) -> StudyDirection | None:
    """Return Optuna's direction for a direction or its name. :obj:`None` stays :obj:`None`."""
    named = direction
    if isinstance(direction, StudyDirection):
        named = direction.name.lower()
    if named not in (None, "minimize", "maximize"):
        raise WrongValueError(f"direction must be 'minimize' or 'maximize'; got {direction!r}.")
    if named is None:
        return None
    return StudyDirection[named.upper()]


def checked_catch(catch: Catch) -> Caught:
    """Return the errors to be caught. Raise an error for other types."""
    error_types: tuple[Any, ...] = (catch,)
    if isinstance(catch, Iterable) and not isinstance(catch, str):
        error_types = tuple(catch)
    for error in error_types:
        if not (isinstance(error, type) and issubclass(error, Exception)):
            raise WrongTypeError(
                f"catch must be classes of exceptions; got {shown(error)}. Pass one such as "
                "ValueError."
            )
    return error_types


GO_ON = "To go on after such errors, pass catch="
"""The advice in the note on a function's error. The class of the error follows it."""


@contextlib.contextmanager
def catching(catch: Caught, what: str) -> Iterator[None]:
    """Log errors of types in ``catch`` and continue. Add to other errors what failed.

    Errors of the storage and of wrong parameters are always raised.
    """
    try:
        yield
    except (OptunaError, StorageError, WrongParametersError):
        raise
    except catch as error:
        logger.warning("%s failed: %r", what, error)
    except (MemoryError, WrongInputError):  # The messages of these errors say what to do.
        raise
    except Exception as error:
        error.add_note(f"{what} failed. {GO_ON}{type(error).__name__}.")
        raise


def as_value(value: Any) -> float:
    """Return an objective's value as a number. Raise an error for other values."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise WrongTypeError(
            f"An objective must return a number; got {shown(value)}. Return the score."
        ) from None
