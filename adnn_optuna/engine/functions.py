"""Searches of any Optuna objective: a function of a trial, or of a trial and a seed."""

import contextlib
import dataclasses
import inspect
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.pruners import MedianPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import (
    ANNEALING,
    FAILED,
    NEW_SEED_NAMES,
    PROPOSAL,
    RANDOM,
    REPLICATE,
    RESAMPLED,
    SEARCH,
    TOO_MANY,
    Params,
    confirmation_name,
)
from adnn_optuna._checks import WrongTypeError, WrongValueError, as_integer
from adnn_optuna._seeds import replicate_seed, seeds_of_best_trial, trial_seed
from adnn_optuna.callbacks import LimitValues, working_time
from adnn_optuna.engine.arms import SAMPLERS, Arm, Arms
from adnn_optuna.engine.code_fingerprint import UserFunction
from adnn_optuna.engine.evaluations import (
    SEEDS,
    TrialEvaluation,
    beginning_of,
    check_is_reached,
    make_evaluations,
    open_evaluations,
    plan_seeds,
)
from adnn_optuna.engine.example_scores import collecting
from adnn_optuna.engine.kinds import FUNCTION_KIND, Kind
from adnn_optuna.engine.objectives import (
    Caught,
    Ending,
    Outcome,
    RunPlan,
    as_value,
    catching,
    has_ended,
)
from adnn_optuna.samplers._trials import check_direction

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord

# The default share of trials that are replicates, for searches with at least this number of
# trials. studies/replicates.py has the reasons.
_REPLICATES = 0.2
_FEWEST_TO_REPLICATE = 50
_NEW_SEEDS_OF_COMPARED = 5
ARMS = Arms(SAMPLERS, ("tpe", ANNEALING), RANDOM, pruner=MedianPruner())
"""The samplers with which a function's search can be compared."""


def with_seed(objective: Callable[..., float]) -> tuple[Callable[[Any, int], float], bool]:
    """Return an objective as a function of a trial and a seed, and whether it uses the seed."""
    signature = inspect.signature(objective)
    has_seed = "seed" in signature.parameters
    if has_seed and _takes(signature, "trial", seed=0):
        return lambda trial, seed: objective(trial, seed=seed), True
    if not has_seed and _takes(signature, "trial"):
        return lambda trial, _: objective(trial), False
    if _takes(signature, "trial", 0):
        return objective, True
    name = getattr(objective, "__qualname__", objective)
    raise WrongTypeError(
        f"The objective {name} must take (trial) or (trial, seed), but it takes {signature}."
    )


def _takes(signature: inspect.Signature, *arguments: object, **named: object) -> bool:
    """Return whether a function can be called with these arguments."""
    try:
        signature.bind(*arguments, **named)
    except TypeError:
        return False
    return True


def seeds_of_trials(objective: Callable[..., float]) -> tuple[str, ...]:
    """Return the names of an objective's parameters that are seeds."""
    if not with_seed(objective)[1]:
        return ()
    names = [*inspect.signature(objective).parameters]
    if "seed" in names:
        return ("seed",)
    return tuple(names[1:2])


def seed_parameters(function: UserFunction) -> tuple[str, ...]:
    """Return the names of a function's required parameters.

    Each parameter is the seed of a random source.
    """
    parameters: Iterable[inspect.Parameter] = ()
    with contextlib.suppress(ValueError):  # Some functions written in C have no signature.
        parameters = inspect.signature(function).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(p.name for p in parameters if p.kind in named and p.default is p.empty)


@dataclasses.dataclass(frozen=True)
class FunctionObjective:
    """Any Optuna objective: a function of a trial, or of a trial and a seed.

    Random numbers depend on the seed and the trial, so arms with equal parameters get equal
    values. A trial that raises an error in ``catch`` ends without a value. ``failed`` is the value
    of failed runs on new seeds. Several trials run at once, in an ``executor`` or in ``n_jobs``
    threads. ``replicate`` is the share of trials that are replicates. ``resampled`` has the
    numbers of training and test examples if the function's seeds redraw a split. It is False if
    the seeds do not redraw a split, and None if the user did not say.
    """

    function: UserFunction
    direction: StudyDirection = StudyDirection.MINIMIZE
    seed: int = 0
    _: dataclasses.KW_ONLY
    name: str = "objective"  # The user's name for the function.
    catch: Caught = ()
    executor: futures.Executor | None = None
    n_jobs: int = 1
    replicate: float | Literal["auto"] = "auto"
    # The number of new seeds on which the best trial of each run in a comparison is evaluated.
    confirm: int = _NEW_SEEDS_OF_COMPARED
    failed: float | None = None
    resampled: tuple[int, int] | Literal[False] | None = None

    kind: ClassVar[Kind[Any]] = FUNCTION_KIND
    metric: ClassVar[str] = "value"
    arms: ClassVar[Arms] = ARMS
    # A user's function may not be safe in several threads.
    n_studies_at_once: ClassVar[int] = 1
    draws_data: ClassVar[bool] = True
    distributions: ClassVar[Mapping[str, BaseDistribution]] = {}
    baseline_params: ClassVar[Mapping[str, Any]] = {}

    @property
    def is_seeded(self) -> bool:
        """Whether the function takes a seed."""
        return with_seed(self.function)[1]

    @property
    def functions(self) -> Mapping[str, UserFunction]:
        """The function by the user's name for it."""
        return {self.name: self.function}

    @property
    def stored_arguments(self) -> Mapping[str, Any]:
        """The objective's arguments that a comparison stores."""
        sizes = self.split_sizes
        return {"resampled": sizes and [*sizes], "failed": self.failed}

    @property
    def split_sizes(self) -> tuple[int, int] | None:
        """The numbers of training and test examples, if seeds redraw the split of the data."""
        return self.resampled or None

    def replace(self, **parts: Any) -> Self:
        """Return a copy with other parts."""
        return dataclasses.replace(self, **parts)

    def plan(
        self, arm: Arm, limits: LimitValues, batch_size: int | Literal["auto"], ending: Ending
    ) -> RunPlan:
        """Return the plan of an arm's search."""
        max_trial = limits["max_trial"]
        replicate = self.replicate
        if ending.is_compared:  # In a comparison, each arm has its own share.
            replicate = arm.replicate_share
        elif replicate not in ("auto", 0.0) and max_trial is None:
            raise WrongValueError(
                f"replicate must be omitted without max_trial, of which it is a share; got "
                f"{replicate!r}. Set max_trial, too."
            )
        share = self._share(replicate, max_trial or 0)
        confirm = self._n_new_seeds(ending, max_trial)
        settings = {
            "confirm": confirm,
            "replicate": replicate,
            "is_seeded": self.is_seeded,
            "seed": self.seed,
            "n_jobs": self.n_jobs,
        }
        if max_trial is not None:
            settings["n_trials"] = max_trial - round(max_trial * share)
        n_at_once: Any = batch_size
        if batch_size == "auto":
            n_at_once = self.n_jobs
        n_at_once = as_integer("batch_size", n_at_once, below=TOO_MANY)
        n_threads = n_at_once  # An executor limits its number of jobs at once itself.
        if self.executor is None:
            n_threads = self.n_jobs
        return RunPlan(
            self,
            n_at_once,
            n_threads=n_threads,
            ending=ending,
            settings=settings,
            replicate_share=share,
            n_new_seeds=confirm,
        )

    def _share(self, replicate: float | Literal["auto"], max_trial: int) -> float:
        """Return the share of trials that are replicates."""
        if replicate != "auto":
            if max_trial:
                return replicate
            return 0.0
        is_long = max_trial >= _FEWEST_TO_REPLICATE
        if self.is_seeded and is_long:
            return _REPLICATES
        return 0.0

    def _n_new_seeds(self, ending: Ending, max_trial: int | None) -> int:
        """Return the number of new seeds for the best trial."""
        if ending.is_compared:
            return self.confirm
        if ending.confirm != "auto":
            return as_integer("confirm", ending.confirm, 0, TOO_MANY)
        is_long = max_trial is None or max_trial >= SEEDS
        if self.is_seeded and is_long:
            return SEEDS
        return 0

    def check(self, study: optuna.Study) -> None:
        """Raise an error for a study with another direction or seed."""
        check_direction(study, self.direction)
        seed = study.user_attrs.get(SEARCH, {}).get("seed", self.seed)
        if seed != self.seed:
            raise WrongValueError(
                f"seed must be {seed}, as in study {study.study_name!r}; got {self.seed}. Use "
                "another study name."
            )

    def attach(self, study: optuna.Study) -> None:
        """Store the user's arguments ``failed`` and ``resampled`` in a study."""
        self.check(study)
        check_is_reached(study._storage, self.executor)
        attrs = study.user_attrs
        if self.failed is not None and attrs.get(FAILED) != self.failed:
            study.set_user_attr(FAILED, self.failed)
        sizes = self.stored_arguments["resampled"]
        if self.resampled is not None and attrs.get(RESAMPLED) != sizes:
            study.set_user_attr(RESAMPLED, sizes)

    def suggest(self, trial: optuna.Trial) -> None:
        """Do nothing, because the function suggests parameters while it runs."""

    def baseline_of(self, params: Params) -> Params:  # noqa: ARG002
        """Return an empty mapping, because no baseline is known."""
        return {}

    def evaluate(self, trial: FrozenTrial, seed: int) -> Any:
        """Return what the function returns for a finished trial and a new seed."""
        return with_seed(self.function)[0](trial, seed)

    def conclude(
        self, record: "SearchRecord", plan: RunPlan, stop: threading.Event
    ) -> "SearchRecord":
        """Evaluate the best trial on the planned number of new seeds.

        The time limit includes trials and evaluations.
        """
        study = record.study
        best = record.best
        max_time = plan.ending.max_time
        if best is None or not plan.n_new_seeds:
            return record
        evaluations = open_evaluations(
            study._storage,
            confirmation_name(study.study_name),
            beginning_of(record.trials),
            direction=study.direction,
        )
        planned = plan_seeds(study, best.number, plan.n_new_seeds)
        if max_time is not None:
            max_time -= working_time(study)
            if max_time <= 0:
                return record.with_new_seeds()
        own_study = optuna.load_study(study_name=study.study_name, storage=study._storage)
        elsewhere = self.replace(executor=None)
        new_seeds = seeds_of_best_trial(self.seed, planned["seeds"])
        needed = [(best.number, seed) for seed in new_seeds]
        make_evaluations(
            lambda _: needed,
            evaluations,
            NEW_SEED_NAMES,
            TrialEvaluation(elsewhere, {best.number: best}, own_study),
            stop=stop,
            max_time=max_time,
            n_jobs=self.n_jobs,
            executor=self.executor,
            catch=self.catch,
            show_progress_bar=plan.ending.show_progress_bar,
        )
        return record.with_new_seeds()

    def _seed_of(self, trial: optuna.Trial) -> int:
        """Return a trial's seed. A retry after a worker's death has the same seed."""
        attrs = trial.study._storage.get_trial_system_attrs(trial._trial_id)
        replicate = attrs.get(REPLICATE)
        if replicate is not None:
            index = replicate["index"]
            key = index
            if index is None:
                key = 2**63 + replicate["trial"]
            return replicate_seed(self.seed, key, replicate["repetition"])
        # After a worker's death, another trial has the same index or is a retry. The seed does not
        # depend on that trial's number, so it stays the same.
        number = attrs.get("failed_trial", trial.number)
        proposal = attrs.get(PROPOSAL)
        if proposal is None:
            return trial_seed(self.seed, number)
        # The index is None if the trial was enqueued instead of proposed.
        index = proposal["index"]
        if index is None:
            index = 2**63 + number
        return trial_seed(self.seed, index)

    def train(self, trials: Sequence[optuna.Trial], **_: object) -> list[Outcome]:
        """Run several trials at once, to their ends. Limits are ignored."""
        run = self.replace(executor=None)._run
        if self.executor is not None:
            return [*self.executor.map(run, trials)]
        if min(self.n_jobs, len(trials)) == 1:
            return [*map(run, trials)]
        with futures.ThreadPoolExecutor(self.n_jobs, "trials") as threads:
            return [*threads.map(run, trials)]

    def _run(self, trial: optuna.Trial) -> Outcome:
        outcome = self._outcome(trial)
        study: Any = trial.study
        return dataclasses.replace(outcome, stops_study=study.is_stopped_by_objective)

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
            return Outcome("pruned")  # This has no effect, because another worker told the trial.
        value = as_value(returned)
        # As in `Study.optimize`, samplers learn from an infinite value, which is a penalty.
        penalty = math.inf
        if self.direction != StudyDirection.MINIMIZE:
            penalty = -math.inf
        if not math.isfinite(value) and value != penalty:
            return Outcome("diverged")
        examples = None
        if logged:
            examples = logged[-1]
        return Outcome("complete", value, examples=examples)
