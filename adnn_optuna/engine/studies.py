"""Functions that describe, create and run the studies of searches.

A comparison has a study for each arm and seed. One more study, named like the comparison, declares
it.
"""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Collection, Sequence
from concurrent import futures
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

import adnn_optuna.samplers
from adnn_optuna._attributes import COMPARISON, FAILED, SEARCH, SearchSettings, confirmation_name
from adnn_optuna._checks import WrongValueError, check_type, logger, printable
from adnn_optuna._seeds import derived_seed
from adnn_optuna._units import in_number, unit_of
from adnn_optuna.callbacks import (
    LIMITS,
    Limit,
    LimitValues,
    MaxTimeCallback,
    Tally,
    callbacks_of,
    checked_limits,
)
from adnn_optuna.engine.arms import Arm, ArmSpec, arm_of
from adnn_optuna.engine.evaluations import run_jobs
from adnn_optuna.engine.loop import AfterTell, Loop
from adnn_optuna.engine.objectives import Ending, RunPlan, Searched
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.signals import Bar, interruptible, progress_bar
from adnn_optuna.engine.storages import (
    AnyStorage,
    check_study_name,
    created_study,
    load_search,
    open_storage,
    storage_url,
)
from adnn_optuna.samplers._owners import end_trial
from adnn_optuna.samplers._replicates import ReplicateSampler, replicate_of
from adnn_optuna.samplers._trials import is_done

_AS_COMPARED = Ending(is_compared=True)


@dataclasses.dataclass
class StudySpec:
    """A study to search. If ``name`` is None, the study gets a new name.

    Wrong arguments raise errors. If trials run in rounds, an existing study keeps its batch size.
    """

    # The user's objective. A control's trials evaluate a different objective, which is in `plan`.
    searched: Searched[Any]
    name: str | None
    sampler: ArmSpec
    limits: LimitValues
    batch_size: int | Literal["auto"] = "auto"
    pruner: BasePruner | None = None
    ending: dataclasses.InitVar[Ending] = _AS_COMPARED
    plan: RunPlan = dataclasses.field(init=False)

    def __post_init__(self, ending: Ending) -> None:
        pruner_rule = "an Optuna pruner, such as optuna.pruners.MedianPruner()"
        check_type("pruner", self.pruner, BasePruner | None, pruner_rule)
        if self.name is not None:
            check_study_name(self.name)
        if not callbacks_of(self.limits) and not self.arm.ends_by_itself:
            *names, last = (limit.name for limit in LIMITS)
            raise WrongValueError(
                f"Set {', '.join(names)} or {last}; otherwise the search never ends."
            )
        self.plan = self.searched.plan(self.arm, self.limits, self.batch_size, ending)

    @property
    def arm(self) -> Arm:
        """The known facts about the sampler."""
        return arm_of(self.sampler, self.searched.arms.named)

    @property
    def n_threads(self) -> int | None:
        """The number of trials that run at once, or :obj:`None` if trials run in rounds.

        Trials run in rounds if proposals depend on values, or if a pruner compares trials that run
        side by side. They also run in rounds if a limit may end the search early, because later
        trials must not count.
        """
        ends_early = any(limit.ends_early for limit in callbacks_of(self.limits))
        if not self.arm.ignores_values or ends_early or self.pruner:
            return None
        return min(self.plan.batch_size, self.plan.n_threads)

    @property
    def settings(self) -> SearchSettings:
        """The settings of the search as the study stores them."""
        settings: Any = {
            "sampler": self.arm.name,
            "n_trials": self.limits["max_trial"],
            "batch_size": self.plan.batch_size,
            **self.plan.settings,
        }
        return settings


def resume_hint(study: optuna.Study, further: str = "") -> str:
    """Return the sentence that says how to resume an interrupted study.

    ``further`` are the arguments of ``resume`` after storage and name.
    """
    name = repr(study.study_name)
    url = storage_url(study._storage)
    if isinstance(study._storage, InMemoryStorage):
        return f"Interrupted; the study {name} is in memory and ends with this process."
    where = "storage" if url is None else repr(url)
    call = f"adnn_optuna.resume({where}, {name}{further})"
    return f"Interrupted; all trials are kept. Go on with {call}."


def open_studies(specs: Sequence[StudySpec], storage: BaseStorage) -> list[optuna.Study]:
    """Create or load a study for each spec. If one of them is wrong, create no study."""
    names = set(optuna.get_all_study_names(storage))
    stored_studies = [load_search(storage, p.name) if p.name in names else None for p in specs]
    for spec in specs:
        _check_no_leftovers(spec, names)
    # All checks come before the first study is created.
    samplers = [_sampler(p, study) for p, study in zip(specs, stored_studies, strict=True)]
    studies = []
    for spec, existing, sampler in zip(specs, stored_studies, samplers, strict=True):
        # Another worker may have just created the study.
        study = existing or created_study(storage, spec.name, spec.searched.direction)
        study.pruner = spec.pruner or NopPruner()
        study.sampler = sampler
        _prepare(spec, study)
        studies.append(study)
    return studies


def _check_no_leftovers(spec: StudySpec, names: Collection[str]) -> None:
    """Raise an error for a new study if evaluations of an earlier study of the name exist."""
    evaluations = confirmation_name(str(spec.name))
    if spec.plan.n_new_seeds and spec.name not in names and evaluations in names:
        raise WrongValueError(
            f"Study {evaluations!r} must be of study {spec.name!r}; got one of an earlier study. "
            "Delete it, or use another study name."
        )


def _sampler(spec: StudySpec, study: optuna.Study | None) -> BaseSampler:
    settings = spec.settings
    objective = spec.plan.objective
    attrs = {} if study is None else study.user_attrs
    stored_settings: SearchSettings = attrs.get(SEARCH, settings)
    if stored_settings["sampler"] != settings["sampler"]:
        raise WrongValueError(
            f"The study {spec.name!r} was searched by {stored_settings['sampler']}, not by "
            f"{settings['sampler']}; use another study name."
        )
    if COMPARISON in attrs:
        raise WrongValueError(
            f"Study {spec.name!r} must be a search; got a comparison. Use another study name."
        )
    if study is not None:
        objective.attach(study)
    seed = objective.seed
    if seed >= 2**32:  # Optuna's samplers do not accept such seeds.
        seed = derived_seed(seed)
    return spec.arm.sampler(seed, objective.distributions, stored_settings["n_trials"])


def _prepare(spec: StudySpec, study: optuna.Study) -> None:
    """Store a new study's settings. Enqueue the baseline, unless the sampler begins with it."""
    spec.plan.objective.attach(study)
    if SEARCH not in study.user_attrs:
        study.set_user_attr(SEARCH, spec.settings)
    baseline = dict(spec.plan.objective.baseline_params)
    if not baseline or spec.arm.starts_at_baseline or study.get_trials(deepcopy=False):
        return
    if isinstance(study.sampler, adnn_optuna.samplers.DeltaStepSampler):
        return
    study.enqueue_trial(baseline)
    # Other workers may have enqueued the baseline at the same moment. Only the first of these
    # trials is kept.
    trials = study.get_trials(deepcopy=False)
    same = [t for t in trials if t.system_attrs.get("fixed_params") == baseline]
    for trial in same[1:]:
        if trial.state == TrialState.WAITING:
            end_trial(study, trial)


def run_studies(
    specs: Sequence[StudySpec],
    opened: Sequence[optuna.Study],
    *,
    stop: threading.Event,
    bar: Bar,
    n_jobs: int,
    executor: futures.Executor | None,
    storage: AnyStorage | None,
) -> None:
    """Run opened studies. If one study fails or is interrupted, interrupt all others.

    The ``bar`` counts the studies' trials. If a study ends early, its missing trials are added to
    the count.
    """
    with contextlib.ExitStack() as own_workers:
        if executor is None:
            executor = own_workers.enter_context(futures.ThreadPoolExecutor(n_jobs, "run"))
        is_here = isinstance(executor, futures.ThreadPoolExecutor)
        if is_here:
            pairs = zip(specs, opened, strict=True)
            runs = [executor.submit(_run_one, stop, bar, *pair) for pair in pairs]
        else:
            runs = [executor.submit(_run_elsewhere, spec, storage) for spec in specs]
        try:
            run_jobs(runs, (lambda _: None) if is_here else bar.update)
        finally:
            if not all(run.done() for run in runs):
                stop.set()
            if is_here:
                futures.wait(runs)
    if stop.is_set():
        raise KeyboardInterrupt


def _run_elsewhere(spec: StudySpec, storage: AnyStorage | None) -> int:
    [study] = open_studies([spec], open_storage(storage))
    with interruptible() as stop:
        return _run_one(stop, progress_bar(show=False), spec, study)


def _run_one(stop: threading.Event, bar: Bar, spec: StudySpec, study: optuna.Study) -> int:
    """Run a study and return its budget, in trials."""
    bar.update(n_done(study))
    n_run = run_trials(spec, study, stop, functools.partial(_show_trial, bar, spec))
    # Some samplers end before they have used the budget.
    budget = max(n_run, spec.limits["max_trial"] or 0)
    bar.update(budget - n_run)
    spec.searched.conclude(read_record(study, others={}), spec.plan, stop)
    logger.info("%s: %s done.", _run_name(spec), in_number(n_run, "trial"))
    return budget


def _run_name(spec: StudySpec) -> str:
    """Return the arm and the seed of a run as text."""
    return printable("/".join(str(spec.name).split("/")[-2:]))


def _show_trial(bar: Bar, spec: StudySpec, tally: Tally, *_: object) -> None:
    """Count a finished trial, and show the best value so far of its arm and seed."""
    if tally.best is not None:
        value = unit_of(spec.searched.metric).value(tally.best.values[0])
        bar.set_description_str(f"{_run_name(spec)}: best {value}", refresh=False)
    bar.update(1)


def run_trials(
    spec: StudySpec,
    study: optuna.Study,
    stop: threading.Event,
    after_tell: AfterTell,
) -> int:
    """Run a study's trials and then its replicates; return the number of finished trials.

    For ``after_tell``, see :class:`Loop`.
    """
    plan = spec.plan
    limits = spec.limits
    until = spec.settings["n_trials"]
    if until is not None:
        # Replicates of an earlier run with lower limits do not count, so that the search may run
        # all its trials.
        until = min(until + _counts(study)[0], limits["max_trial"] or 0)
    initializer = None
    if plan.initializer_of_threads is not None:
        initializer = plan.initializer_of_threads()
    search = Loop(
        study,
        plan.objective,
        limits,
        stop,
        n_threads=spec.n_threads,
        initializer=initializer,
        ends=ends_before_new_seeds({**limits, "max_trial": until}, plan.n_new_seeds),
        after_tell=after_tell,
    )
    n_ended = search.run()
    if plan.replicate_share:
        n_ended = _run_replicates(spec, study, stop, after_tell)
    return n_ended


def _run_replicates(
    spec: StudySpec,
    study: optuna.Study,
    stop: threading.Event,
    after_tell: AfterTell,
) -> int:
    """Run the replicates of a search, and return the number of finished trials."""
    plan = spec.plan
    n_trials = spec.limits["max_trial"]
    n_searched = _counts(study)[1]
    n_to_search = spec.settings["n_trials"]
    if n_to_search is not None and n_searched < n_to_search:
        # Another limit ended the search earlier. Replicates keep their share of all trials.
        n_trials = round(n_searched / (1 - plan.replicate_share))
    limits = checked_limits(max_trial=n_trials, max_time=spec.limits["max_time"])
    sampler = study.sampler
    study.sampler = ReplicateSampler(study.user_attrs.get(FAILED))
    replicates = Loop(
        study,
        plan.objective,
        limits,
        stop,
        is_run=False,
        ends=ends_before_new_seeds(limits, plan.n_new_seeds),
        after_tell=after_tell,
    )
    try:
        return replicates.run()
    finally:
        study.sampler = sampler


def n_done(study: optuna.Study) -> int:
    """Return the number of trials that ran to their end."""
    return sum(_counts(study))


def _counts(study: optuna.Study) -> tuple[int, int]:
    """Return the number of finished replicates, and the number of other finished trials."""
    done = [t for t in study.get_trials(deepcopy=False) if is_done(t)]
    n_replicates = sum(replicate_of(trial) is not None for trial in done)
    return n_replicates, len(done) - n_replicates


class _SearchTimeCallback(MaxTimeCallback):
    """Ends the trials of a search early enough for evaluations on new seeds.

    The assumption is that each evaluation takes as long as an average trial. Trials get at least
    half of the time.
    """

    def __init__(self, max_time: float, n_new_seeds: int) -> None:
        super().__init__(max_time)
        self._n_new_seeds = n_new_seeds

    def _used(self, study: optuna.Study, tally: Tally) -> float:
        seconds = super()._used(study, tally)
        seconds_a_trial = seconds / max(tally.n_done, 1)
        return seconds + min(self._n_new_seeds * seconds_a_trial, self.value / 2)


def ends_before_new_seeds(limits: LimitValues, n_new_seeds: int) -> list[Limit]:
    """Return callbacks that end a search at its limits, and reserve time for new seeds."""
    ends = callbacks_of(limits)
    for place, limit in enumerate(ends):
        if isinstance(limit, MaxTimeCallback):
            ends[place] = _SearchTimeCallback(limit.value, n_new_seeds)
    return ends
