"""Studies that are to be searched: what each is, how it is created or found, and how it runs.

A comparison has a study for each arm and seed, and a head of its own name that declares it.
"""

import contextlib
import dataclasses
import functools
import os
import threading
from collections.abc import Collection, Sequence
from concurrent import futures
from typing import Any, Literal, cast

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna import _checks
from adnn_optuna._attributes import SearchSettings
from adnn_optuna._checks import Fault, WrongValueError, as_integer, check_type, first_line
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna._printable import printable
from adnn_optuna._units import unit_of
from adnn_optuna.callbacks import LIMITS, LimitValues, callbacks_of, checked_limits
from adnn_optuna.engine import confirmation
from adnn_optuna.engine.arms import Arm, ArmSpec, arm_of
from adnn_optuna.engine.evaluations import run_jobs
from adnn_optuna.engine.experiment import is_of_trial
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.loop import AfterTell, Loop, Objective
from adnn_optuna.engine.new_seeds import ends_before_new_seeds, evaluate_best_trial
from adnn_optuna.engine.objectives import FunctionObjective, with_seed
from adnn_optuna.engine.records import FunctionRecord, confirmation_name, read_record
from adnn_optuna.engine.signals import Bar, interruptible, progress_bar
from adnn_optuna.engine.storages import check_study_name, open_storage, storage_url
from adnn_optuna.networks._tensorflow import check_not_forked
from adnn_optuna.networks.keras_files import model_from_config
from adnn_optuna.networks.loading import dataset_from_config
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.network import derived_seed
from adnn_optuna.networks.offsets import space_from_config
from adnn_optuna.networks.training import n_cores
from adnn_optuna.samplers import DeltaStepSampler
from adnn_optuna.samplers._owners import end_trial
from adnn_optuna.samplers._replicates import ReplicateSampler, replicate_of
from adnn_optuna.samplers._tally import Tally
from adnn_optuna.samplers._trials import check_one_objective, is_done


@dataclasses.dataclass
class StudySpec:
    """A study that is to be searched; wrong arguments are refused.

    Without a name it gets a new one. If it exists already, its own batch size is kept.
    """

    objective: Objective
    name: str | None
    sampler: ArmSpec
    limits: LimitValues
    batch_size: int | Literal["auto"] = "auto"
    pruner: BasePruner | None = None

    def __post_init__(self) -> None:
        wanted = "an Optuna pruner, such as optuna.pruners.MedianPruner()"
        check_type("pruner", self.pruner, BasePruner | None, wanted)
        if self.name is not None:
            check_study_name(self.name)
        if not callbacks_of(self.limits) and not self.arm.ends_by_itself:
            *names, last = (limit.reason for limit in LIMITS)
            raise WrongValueError(
                f"Set {', '.join(names)} or {last}; otherwise the search never ends."
            )
        n_at_once, is_auto = 1, isinstance(self.batch_size, str) and self.batch_size == "auto"
        if not isinstance(self.objective, FunctionObjective):
            objective = check_objective(self.objective)
            gain = self.limits["max_gain"] or 0.0
            if gain >= 1 and objective.metric.endswith("accuracy"):
                raise WrongValueError(
                    f"max_gain is {gain:g}, but {objective.metric} is a fraction, which "
                    f"cannot gain that: for {gain:g} percentage points give {gain / 100:g}."
                )
            compared = objective
            objective = self.arm.objective(compared, self.limits["max_trial"])
            if self.arm.is_control and not compared.is_of_trial:
                objective = objective.replace(compared=compared)
            self.objective = objective
            if is_auto and self.arm.is_batched and not objective.is_of_trial:
                n_at_once = objective.trainer.n_at_once()
        given = n_at_once if is_auto else self.batch_size
        self.batch_size = as_integer("batch_size", given, below=stored.TOO_MANY)

    @property
    def arm(self) -> Arm:
        """What is known of the sampler."""
        return arm_of(self.sampler)

    @property
    def n_threads(self) -> int | None:
        """How many trials run at once if no proposal learns from values, else :obj:`None`.

        Trials after the one that ends a search early are not to count, and a pruner compares
        trials that run side by side: then they run in rounds.
        """
        ends_early = any(limit.ends_early for limit in callbacks_of(self.limits))
        if not self.arm.is_batched or ends_early or self.pruner:
            return None
        n_at_most = n_cores()
        if isinstance(self.objective, FunctionObjective):
            n_at_most = 1 if self.objective.executor is None else int(self.batch_size)
        return min(int(self.batch_size), n_at_most)

    @property
    def settings(self) -> SearchSettings:
        """What the study stores of how it is searched."""
        settings: SearchSettings = {
            "sampler": self.arm.name,
            "n_trials": self.limits["max_trial"],
            "batch_size": int(self.batch_size),
        }
        if isinstance(self.objective, FunctionObjective):
            if (max_trial := self.limits["max_trial"]) is not None:
                settings["n_trials"] = self.objective.n_searched(max_trial)
            settings["confirm"] = self.objective.confirm
            settings["replicate"] = self.objective.replicate
            settings["is_seeded"] = with_seed(self.objective.function)[1]
            settings["seed"] = self.objective.seed
            settings["n_jobs"] = self.objective.n_jobs
        return settings


def check_objective(
    objective: object,
    wanted: str = "an InitOffsetObjective, or a function (trial) or (trial, seed)",
) -> InitOffsetObjective:
    """Return an objective of ours; refuse others, and those that cannot be trained here."""
    check_type("objective", objective, InitOffsetObjective, wanted)
    check_not_forked()
    return cast("InitOffsetObjective", objective)


def load_study(storage: BaseStorage, study_name: str) -> optuna.Study:
    """Return a stored study, or refuse its name and list those that there are."""
    check_study_name(study_name)
    try:
        study = optuna.load_study(study_name=study_name, storage=storage)
    except KeyError:
        known = optuna.get_all_study_names(storage)
        parts = tuple(f"{name}/" for name in known)  # Of a comparison, which is named itself.
        names = [repr(name) for name in known if not name.startswith(parts)]
        shown = ", ".join([*names[:10], "…"] if len(names) > 10 else names) or "none"
        where = storage_url(storage) or "the storage"
        raise WrongValueError(
            f"Study {study_name!r} not found in {where}. Available: {shown}."
        ) from None
    check_one_objective(study)
    attrs, _ = stored.read_study(study)
    if stored.EVALUATED in attrs:
        raise WrongValueError(
            f"The study {study_name!r} is no search, but holds evaluations, such as of a recheck "
            "or of models: make the call again that began it, or use another study name."
        )
    return study


def opened_study(study: optuna.Study | tuple[str | BaseStorage, str]) -> optuna.Study:
    """Return a user's study, or the study of a storage and a name, in a storage of ours."""
    if isinstance(study, tuple) and len(study) == 2:
        return load_study(open_storage(study[0], must_exist=True), study[1])
    check_type("study", study, optuna.Study, "an Optuna study, or its storage and its name")
    check_one_objective(study)
    return optuna.load_study(study_name=study.study_name, storage=open_storage(study._storage))


def objective_from_study(
    study: optuna.Study, data_dir: str | os.PathLike[str] | None = None
) -> InitOffsetObjective:
    """Rebuild the objective that a study stores, with its dataset out of ``data_dir``."""
    config: dict[str, Any] | None = study.user_attrs.get(stored.CONFIG)
    if "seed" in study.user_attrs.get(stored.SEARCH, {}):
        raise WrongValueError(
            f"Study {study.study_name!r} does not store its function. To continue it, pass the "
            "function as objective, or as the first argument of adnn resume; to recheck it, pass "
            "the function as evaluate."
        )
    if config is None:
        raise WrongValueError(
            f"The study {study.study_name!r} is not one of an InitOffsetObjective; to continue "
            "it, use study.optimize; to recheck it, give evaluate, its objective with a seed."
        )
    if is_of_trial(config):
        raise WrongValueError(
            f"The model or training of the study {study.study_name!r} is a function of the trial, "
            "which a study does not hold: give its objective, in Python."
        )
    try:
        objective = InitOffsetObjective(
            model_from_config(config["model"]),
            dataset_from_config(config["dataset"], data_dir),
            training=Training(**config["training"]),
            space=space_from_config(config["space"]),
            metric=config["metric"],
            direction=config.get("direction"),
            seed=config["seed"],
        )
    except _checks.WrongInputError:
        raise
    except (TypeError, LookupError, AttributeError) as error:
        of, fault = f"study {study.study_name!r}", Fault("as made here", first_line(error))
        raise stored.malformed(stored.CONFIG, of, fault) from error
    if differences := config_differences(config["model"], objective.config["model"], "model"):
        raise WrongValueError(
            f"The model of the study {study.study_name!r} cannot be rebuilt from its "
            f"configuration ({in_words(differences)}); pass the objective again, in Python."
        )
    return objective


def resume_hint(study: optuna.Study, further: str = "") -> str:
    """Return the sentence that tells how to go on with an interrupted study.

    The ``further`` arguments are those of ``resume`` behind storage and name.
    """
    name, url = repr(study.study_name), storage_url(study._storage)
    if isinstance(study._storage, InMemoryStorage):
        return f"Interrupted; the study {name} is in memory and ends with this process."
    where = "storage" if url is None else repr(url)
    call = f"adnn_optuna.resume({where}, {name}{further})"
    return f"Interrupted; all trials are kept. Go on with {call}."


def open_studies(specs: Sequence[StudySpec], storage: BaseStorage) -> list[optuna.Study]:
    """Create or load a study for each spec; none is created if one of them is refused."""
    names = set(optuna.get_all_study_names(storage))
    found = [load_study(storage, p.name) if p.name in names else None for p in specs]
    for spec in specs:
        _check_no_evaluations(spec, names)
    # Whatever may be refused comes before the first study is created.
    samplers = [_sampler(p, study) for p, study in zip(specs, found, strict=True)]
    studies = []
    for spec, existing, sampler in zip(specs, found, samplers, strict=True):
        study = existing or optuna.create_study(
            storage=storage,
            study_name=spec.name,
            direction=spec.objective.direction,
            # Another worker may have created it a moment ago.
            load_if_exists=True,
        )
        study.pruner = NopPruner() if spec.pruner is None else spec.pruner
        study.sampler = sampler
        _prepare(spec, study)
        studies.append(study)
    return studies


def _check_no_evaluations(spec: StudySpec, names: Collection[str]) -> None:
    """Refuse a new study of a function if evaluations of an earlier one of its name are left."""
    evaluations = confirmation_name(str(spec.name))
    is_of_function = isinstance(spec.objective, FunctionObjective)
    if is_of_function and spec.name not in names and evaluations in names:
        raise WrongValueError(
            f"Study {evaluations!r} must be of study {spec.name!r}; got one of an earlier study. "
            "Delete it, or use another study name."
        )


def _sampler(spec: StudySpec, study: optuna.Study | None) -> BaseSampler:
    settings, objective = spec.settings, spec.objective
    attrs = {} if study is None else study.user_attrs
    known: SearchSettings = attrs.get(stored.SEARCH, settings)
    if known["sampler"] != settings["sampler"]:
        raise WrongValueError(
            f"The study {spec.name!r} was searched by {known['sampler']}, not by "
            f"{settings['sampler']}; use another study name."
        )
    if stored.COMPARISON in attrs:
        raise WrongValueError(
            f"Study {spec.name!r} must be a search; got a comparison. Use another study name."
        )
    if study is not None:
        objective.attach(study)
    seed = objective.seed
    if seed >= 2**32:  # Optuna's samplers refuse it.
        seed = derived_seed(seed)
    return spec.arm.sampler(seed, objective.distributions, known["n_trials"])


def _prepare(spec: StudySpec, study: optuna.Study) -> None:
    """Store a new study's kind, and enqueue the baseline if the sampler would not begin there."""
    spec.objective.attach(study)
    if stored.SEARCH not in study.user_attrs:
        study.set_user_attr(stored.SEARCH, spec.settings)
    failed = spec.objective.failed if isinstance(spec.objective, FunctionObjective) else None
    if failed is not None and study.user_attrs.get(stored.FAILED) != failed:
        study.set_user_attr(stored.FAILED, failed)
    begins_there = spec.arm.starts_at_baseline or isinstance(study.sampler, DeltaStepSampler)
    baseline = dict(spec.objective.baseline_params)
    if baseline and not begins_there and not study.get_trials(deepcopy=False):
        study.enqueue_trial(baseline)
        # Others may have done so at the same moment: the first one counts.
        trials = study.get_trials(deepcopy=False)
        same = [t for t in trials if t.system_attrs.get("fixed_params") == baseline]
        for trial in same[1:]:
            if trial.state == TrialState.WAITING:
                end_trial(study, trial)


def is_comparison(study: optuna.Study) -> bool:
    """Return whether a study is the head of a comparison."""
    return stored.COMPARISON in study.user_attrs


def run_studies(
    specs: Sequence[StudySpec],
    opened: Sequence[optuna.Study],
    *,
    stop: threading.Event,
    bar: Bar,
    executor: futures.Executor | None,
    storage: str | BaseStorage | None,
) -> None:
    """Run studies, opened by their specs; if one failed or was interrupted, so are the others.

    The ``bar`` counts the trials that are behind them, in the end all that they might have taken.
    """
    # A user's own function may be no matter of several threads.
    is_own = any(isinstance(spec.objective, FunctionObjective) for spec in specs)
    own = futures.ThreadPoolExecutor(1 if is_own else n_cores(), "run")
    with own if executor is None else contextlib.nullcontext(executor) as workers:
        is_here = isinstance(workers, futures.ThreadPoolExecutor)
        if is_here:
            pairs = zip(specs, opened, strict=True)
            runs = [workers.submit(_run_one, stop, bar, *pair) for pair in pairs]
        else:
            runs = [workers.submit(_run_elsewhere, spec, storage) for spec in specs]
        try:
            run_jobs(runs, (lambda _: None) if is_here else bar.update)
        finally:
            if not all(run.done() for run in runs):
                stop.set()
            if is_here:
                futures.wait(runs)
    if stop.is_set():
        raise KeyboardInterrupt


def _run_elsewhere(spec: StudySpec, storage: str | BaseStorage | None) -> int:
    [study] = open_studies([spec], open_storage(storage))
    with interruptible() as stop:
        return _run_one(stop, progress_bar(show=False), spec, study)


def _run_one(stop: threading.Event, bar: Bar, spec: StudySpec, study: optuna.Study) -> int:
    """Run a study and return how many trials its budget was."""
    bar.update(n_done(study))
    n_run = run_trials(spec, study, stop, functools.partial(_show_trial, bar, spec))
    # Some end by themselves before.
    budget = max(n_run, spec.limits["max_trial"] or 0)
    bar.update(budget - n_run)
    record = read_record(study, others={})
    if isinstance(spec.objective, InitOffsetObjective):
        record = confirmation.evaluate_test_set(record, spec.objective, stop)
        confirmation.replicate_best_trial(record, spec.objective, stop)
    elif isinstance(spec.objective, FunctionObjective) and isinstance(record, FunctionRecord):
        evaluate_best_trial(record, spec.objective, stop)
    return budget


def _show_trial(bar: Bar, spec: StudySpec, tally: Tally, *_: object) -> None:
    """Count a trial that was told, and show its arm and seed, and their best value so far."""
    if tally.best is not None:
        run = "/".join(str(spec.name).split("/")[-2:])
        value = unit_of(getattr(spec.objective, "metric", "value")).value(tally.best.values[0])
        bar.set_description_str(f"{printable(run)}: best {value}", refresh=False)
    bar.update(1)


def run_trials(
    spec: StudySpec,
    study: optuna.Study,
    stop: threading.Event,
    after_tell: AfterTell,
) -> int:
    """Run the trials of a study, then its replicates, if any; return how many trials are done.

    ``after_tell`` is as for :class:`Loop`.
    """
    objective, limits, max_trial = spec.objective, spec.limits, spec.limits["max_trial"] or 0
    share, until, n_to_search, n_new_seeds = 0.0, limits["max_trial"], 0, 0
    if isinstance(objective, FunctionObjective):
        n_new_seeds = objective.confirm
        if max_trial:
            share, n_to_search = objective.share(max_trial), objective.n_searched(max_trial)
    if share:
        # Replicates of an earlier run with lower limits stay, beside all that is to be searched.
        until = min(n_to_search + _counts(study)[0], max_trial)
    ends = ends_before_new_seeds({**limits, "max_trial": until}, n_new_seeds)
    search = Loop(
        study,
        objective,
        limits,
        stop,
        n_threads=spec.n_threads,
        ends=ends,
        after_tell=after_tell,
    )
    n_ended = search.run()
    if not share:
        return n_ended
    # A search that another limit ended has the same share of replicates.
    n_searched = _counts(study)[1]
    n_wanted = max_trial if n_searched >= n_to_search else round(n_searched / (1 - share))
    study.sampler = ReplicateSampler(study.user_attrs.get(stored.FAILED))
    of_replicates = checked_limits(max_trial=n_wanted, max_time=limits["max_time"])
    ends = ends_before_new_seeds(of_replicates, n_new_seeds)
    replicates = Loop(
        study, objective, of_replicates, stop, is_run=False, ends=ends, after_tell=after_tell
    )
    return replicates.run()


def n_done(study: optuna.Study) -> int:
    """Return how many trials of a study were run to an end."""
    return sum(_counts(study))


def _counts(study: optuna.Study) -> tuple[int, int]:
    """Return how many replicates are done, and how many other trials."""
    done = [t for t in study.get_trials(deepcopy=False) if is_done(t)]
    n_replicates = sum(replicate_of(trial) is not None for trial in done)
    return n_replicates, len(done) - n_replicates
