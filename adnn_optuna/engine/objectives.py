"""The objectives of searches, a user's function or another, and how their trials end."""

import contextlib
import dataclasses
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import OptunaError, TrialPruned, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Ended, Metrics, StoredOutcome, Trained
from adnn_optuna._checks import WrongParametersError, WrongTypeError, WrongValueError, logger
from adnn_optuna.engine.example_scores import Scored, collecting
from adnn_optuna.engine.repeating import StorageError
from adnn_optuna.networks.network import derived_seed
from adnn_optuna.networks.training import Status
from adnn_optuna.samplers._trials import check_direction, is_feasible

# The share of replicates, and the fewest trials with any: see studies/replicates.py.
_REPLICATES, _FEWEST_TO_REPLICATE = 0.2, 50

Catch = Iterable[type[Exception]] | type[Exception]
"""The errors that end their own trial, as of :meth:`optuna.study.Study.optimize`."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ends: ``"timeout"`` by any limit; ``"stopped"``, by the user, is not told."""

    status: Status
    value: float | None = None
    metrics: Metrics | None = None
    trained: Trained | None = None
    system_attrs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    examples: Scored | None = None
    stops_study: bool = False  # Its objective asked for no further trials.

    @property
    def state(self) -> TrialState:
        """The value that Optuna is told."""
        states = {"complete": TrialState.COMPLETE, "diverged": TrialState.FAIL}
        return states.get(self.status, TrialState.PRUNED)

    def store(self, trial: optuna.Trial, elapsed: float) -> None:
        """Store in a trial, before it is told, what is known beside state and value."""
        for name, value in self.system_attrs.items():
            trial.study._storage.set_trial_system_attr(trial._trial_id, name, value)
        outcome: StoredOutcome = {"elapsed": elapsed}
        if self.trained is not None:
            outcome["trained"] = self.trained
        if self.metrics is not None:
            outcome["metrics"] = self.metrics
        if self.examples is not None:
            outcome["examples"], parts = self.examples.attributes()
            for name, text in parts.items():
                trial.set_user_attr(name, text)
        trial.set_user_attr(stored.OUTCOME, outcome)
        if self.status in ("timeout", "diverged"):
            mark(trial, "interrupted" if self.status == "timeout" else "diverged")


class ObjectiveStudy(optuna.Study):
    """The study of a search as its objectives see it, in any thread."""

    def ask(self, *_: Any, **__: Any) -> optuna.Trial:
        """Refuse: the search would wait for the trial."""
        raise WrongValueError(
            "An objective must not ask its own study for trials; got study.ask(). Suggest all "
            "parameters from the trial, or ask another study."
        )

    def stop(self) -> None:
        """Let no further trial begin."""
        self._stop_flag = True

    def tell(
        self,
        trial: optuna.Trial | int,
        values: float | Sequence[float] | None = None,
        state: TrialState | None = None,
        skip_if_finished: bool = False,  # noqa: FBT001, FBT002 - as Optuna has it.
    ) -> FrozenTrial:
        """Tell a trial; one that failed by itself counts, too."""
        is_nan = isinstance(values, float) and math.isnan(values)
        if state == TrialState.FAIL or is_nan:
            number = trial if isinstance(trial, int) else trial.number
            id_of = self._storage.get_trial_id_from_study_id_trial_number
            trial_id = id_of(self._study_id, number)
            self._storage.set_trial_system_attr(trial_id, stored.ENDED, "diverged")
        return super().tell(trial, values, state, skip_if_finished)


def best_trial(trials: Iterable[FrozenTrial], direction: StudyDirection) -> FrozenTrial | None:
    """Return the completed trial with the best value, the first of equals, if one is feasible."""
    completed = (t for t in trials if t.state == TrialState.COMPLETE and is_feasible(t))
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    return min(completed, key=lambda trial: sign * (trial.value or 0.0), default=None)


def mark(trial: optuna.Trial, ended: Ended) -> None:
    """Note why a trial has no value, before it is told."""
    trial.study._storage.set_trial_system_attr(trial._trial_id, stored.ENDED, ended)


def has_ended(trial: optuna.Trial) -> bool:
    """Return whether a trial was told, by whomever."""
    return trial.study._storage.get_trial(trial._trial_id).state.is_finished()


def checked_direction(direction: str | StudyDirection | None) -> StudyDirection | None:
    """Return a direction that may be given by its name, as of Optuna; :obj:`None` stays."""
    named = direction.name.lower() if isinstance(direction, StudyDirection) else direction
    if named not in (None, "minimize", "maximize"):
        raise WrongValueError(f"direction must be 'minimize' or 'maximize'; got {direction!r}.")
    return None if named is None else StudyDirection[named.upper()]


def checked_catch(catch: Catch) -> tuple[type[Exception], ...]:
    """Return the errors that are to be caught; refuse other types."""
    given = tuple(catch) if isinstance(catch, Iterable) else (catch,)
    for error in given:
        if not (isinstance(error, type) and issubclass(error, Exception)):
            raise WrongTypeError(
                f"catch must be classes of exceptions; got {error!r:.100}. Pass one such as "
                "ValueError."
            )
    return given


@contextlib.contextmanager
def catching(catch: tuple[type[Exception], ...], what: str) -> Iterator[None]:
    """Log an error that is to be caught and go on.

    A fault of the storage is always raised, and that the function is of another study.
    """
    try:
        yield
    except (OptunaError, StorageError, WrongParametersError):
        raise
    except catch as error:
        logger.warning("%s failed, which counts as no value: %r", what, error)


def with_seed(objective: Callable[..., float]) -> tuple[Callable[[Any, int], float], bool]:
    """Return an objective as a function of trial and seed, and whether it uses the seed."""
    signature = inspect.signature(objective)
    if "seed" in signature.parameters:
        return lambda trial, seed: objective(trial, seed=seed), True
    for function, n_arguments in ((lambda trial, _: objective(trial), 1), (objective, 2)):
        with contextlib.suppress(TypeError):
            signature.bind(*range(n_arguments))
            return function, n_arguments == 2
    raise WrongTypeError(
        f"The objective {getattr(objective, '__qualname__', objective)!s} must take (trial) or "
        f"(trial, seed), but it takes {signature}."
    )


def seeds_of_trials(objective: Callable[..., float]) -> tuple[str, ...]:
    """Return the parameters of an objective that are seeds: the one besides the trial, if any."""
    if not with_seed(objective)[1]:
        return ()
    names = [*inspect.signature(objective).parameters]
    return ("seed",) if "seed" in names else tuple(names[1:2])


def seeds_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the parameters of a function that it must be given, each a source of randomness."""
    parameters: Iterable[inspect.Parameter] = ()
    with contextlib.suppress(ValueError):  # Some functions that are written in C tell none.
        parameters = inspect.signature(function).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(p.name for p in parameters if p.kind in named and p.default is p.empty)


def number(value: Any) -> float:
    """Return an objective's value as a number, or refuse it; one too large is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        raise WrongTypeError(f"An objective must return a number; got {value!r:.100}.") from None


@dataclasses.dataclass(frozen=True)
class FunctionObjective:
    """Any Optuna objective, a function of a trial, or of that and a seed, in place of ours.

    All is keyed by seed and trial, so arms that ask the same see the same. An error of ``catch``
    ends its trial as one without a value. ``failed`` is the value that failed runs on new seeds
    count as. An ``executor`` runs trials side by side: that of the
    user, or one of ``n_jobs`` threads. The best trial is evaluated on ``confirm`` new seeds. Of
    the trials, a share of ``replicate`` are replicates.
    """

    function: Callable[..., Any]
    direction: StudyDirection
    seed: int
    _: dataclasses.KW_ONLY
    catch: tuple[type[Exception], ...] = ()
    executor: futures.Executor | None = None
    n_jobs: int = 1
    confirm: int = 0
    replicate: float | Literal["auto"] = 0.0
    failed: float | None = None

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """None are known."""
        return {}

    baseline_params = distributions

    def suggest(self, trial: optuna.Trial) -> None:
        """Do nothing: the function suggests by itself, as it runs."""

    def attach(self, study: optuna.Study) -> None:
        """Check direction and seed: nothing is known of the function that a study could store."""
        check_direction(study, self.direction)
        seed = study.user_attrs.get(stored.SEARCH, {}).get("seed", self.seed)
        if seed != self.seed:
            raise WrongValueError(
                f"seed must be {seed}, as in study {study.study_name!r}; got {self.seed}. Use "
                "another study name."
            )

    def n_searched(self, max_trial: int) -> int:
        """Return how many of the trials a sampler proposes; the others are replicates."""
        return max_trial - round(max_trial * self.share(max_trial))

    def share(self, max_trial: int) -> float:
        """Return which share of so many trials are replicates."""
        if self.replicate != "auto":
            return self.replicate
        is_seeded = with_seed(self.function)[1]
        return _REPLICATES if is_seeded and max_trial >= _FEWEST_TO_REPLICATE else 0.0

    def _seed_of(self, trial: optuna.Trial) -> int:
        """Return a seed of its own for each trial, which no death of a worker shifts."""
        attrs = trial.study._storage.get_trial_system_attrs(trial._trial_id)
        if (replicate := attrs.get(stored.REPLICATE)) is not None:
            index = replicate["index"]
            key = 2**63 + replicate["trial"] if index is None else index
            return derived_seed(self.seed, 2, key, replicate["repetition"])
        # What a kill frees is done again under the same index, or retried under another number.
        number, proposal = attrs.get("failed_trial", trial.number), attrs.get(stored.PROPOSAL)
        if proposal is None:
            return derived_seed(self.seed, 0, number)
        index = proposal["index"]  # None where it was enqueued, and is none of the sampler's.
        return derived_seed(self.seed, 0, 2**63 + number if index is None else index)

    def train(self, trials: Sequence[optuna.Trial], **_: object) -> list[Outcome]:
        """Run trials to their ends, whatever the limits: one after the other, or by executor."""
        if self.executor is None:
            return [self._run(trial) for trial in trials]
        elsewhere = dataclasses.replace(self, executor=None)
        return [*self.executor.map(elsewhere._run, trials)]

    def _run(self, trial: optuna.Trial) -> Outcome:
        outcome = self._outcome(trial)
        return dataclasses.replace(outcome, stops_study=trial.study._stop_flag)

    def _outcome(self, trial: optuna.Trial) -> Outcome:
        returned: Any = math.nan
        seed = self._seed_of(trial)
        try:
            with catching(self.catch, f"Trial {trial.number}"), collecting(trial) as logged:
                returned = with_seed(self.function)[0](trial, seed)
        except TrialPruned:
            return Outcome("pruned")
        except UpdateFinishedTrialError:
            if not has_ended(trial):
                raise
            return Outcome("pruned")  # Another worker told its end.
        value = number(returned)
        # As a penalty, it is for samplers to learn from, as in `Study.optimize`.
        penalty = math.inf if self.direction == StudyDirection.MINIMIZE else -math.inf
        if not math.isfinite(value) and value != penalty:
            return Outcome("diverged")
        return Outcome("complete", value, examples=logged[-1] if logged else None)
