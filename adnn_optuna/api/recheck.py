"""Recheck any Optuna study: how much of its best value is selection bias."""

import dataclasses
import functools
import math
import zlib
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Unpack

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import (
    BASELINE,
    CONFIG,
    EVALUATED,
    NEW_SEED_NAMES,
    RECHECK,
    SCORES,
    VIOLATED,
    Baseline,
    Json,
    RecheckSettings,
    planned_of,
)
from adnn_optuna._checks import (
    FilePath,
    WrongValueError,
    as_integer,
    check_parameters,
    is_integer,
    shown,
)
from adnn_optuna._seeds import experiment_fingerprint
from adnn_optuna._units import params_in_words, with_class
from adnn_optuna.api._calls import (
    as_searched,
    logged_if_interrupted,
    stored_evaluations,
)
from adnn_optuna.api._keywords import Call, Evaluating, checked_call, verb
from adnn_optuna.engine.code_fingerprint import UserFunction
from adnn_optuna.engine.evaluations import (
    SEEDS,
    Needed,
    TrialEvaluation,
    beginning_of,
    make_evaluations,
    open_evaluations,
    plan_seeds,
)
from adnn_optuna.engine.example_scores import from_attributes
from adnn_optuna.engine.kinds import kind_of
from adnn_optuna.engine.objectives import Searched
from adnn_optuna.engine.storages import AnyStudy, StudyRead, load_search, opened_study
from adnn_optuna.results.findings import reused_note
from adnn_optuna.results.recheck import Recheck, RecheckNumbers
from adnn_optuna.results.settings import study_command
from adnn_optuna.samplers._evaluations import Evaluation, evaluation_trials
from adnn_optuna.samplers._trials import may_be_best
from adnn_optuna.samplers._unit_interval import n_choices, to_unit
from adnn_optuna.stats.resampling import ResampledArgument

# Annealing ends with moves of about a thousandth of the range; steps of the paper are longer.
_NEAR = 0.005
_FIRST_OF_PARAMS = 2**30  # From here on, evaluations are of parameters that no trial has.


@verb(Evaluating)
def recheck(
    study: AnyStudy,
    evaluate: UserFunction | None = None,
    *,
    top: int = 5,
    choose: int = 4,
    confirm: int = SEEDS,
    against: int | Mapping[str, Any] | None = None,
    deterministic: bool = False,
    resampled: ResampledArgument = None,
    **keywords: Unpack[Evaluating],
) -> Recheck:
    """Evaluate a study's best trials again, to correct its best value for selection bias.

    The ``top`` best trials are evaluated on ``choose`` new seeds, the same for all. Of near
    copies, which differ by at most 0.5% of each parameter's range, only the best is evaluated. The
    trial with the best mean on these seeds is chosen; its stored value does not count. Its value
    is the mean on ``confirm`` further seeds, which selected nothing. The parameters ``against``
    are evaluated on the same seeds. The gain is the mean of the paired differences; its CI inverts
    a sign-flip test.

    The evaluations are trials of the study ``<name>/recheck``, and none is repeated; the study
    itself does not change. The same call resumes, and any number of processes may work together.
    If ``evaluate`` changed, the call is refused, see ``reuse``.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            def evaluate(trial, seed):
                depth = trial.suggest_int("depth", 2, 12)
                model = ExtraTreesClassifier(max_depth=depth, random_state=seed)
                return model.fit(x_train, y_train).score(x_val, y_val)
            study.optimize(lambda trial: evaluate(trial, seed=0), n_trials=50)
            print(adnn.recheck(study, evaluate))

    Args:
        study: Any Optuna study with one objective, or its storage and its name.
        evaluate: The objective ``(trial, seed) -> value``. ``trial`` is a copy of the stored one,
            which suggests its parameters. If it takes no seed, it must be random by itself. A
            study of an :class:`~adnn_optuna.InitOffsetObjective` needs none if it can be rebuilt.
            If it returns the scores of single validation examples, an array, or calls
            :func:`~adnn_optuna.log_scores`, as the study's objective did, the value is for new
            data and new seeds.
        top: How many of the best trials are evaluated. With 1 the overstatement is the selection
            bias of the study's best trial.
        choose: The number of new seeds that choose among these, if there are several.
        confirm: The number of further seeds that evaluate the chosen trial, at least 2. The number
            is declared by the first call. A larger one later makes the CIs sequential, which are
            wider; a smaller one changes nothing. If a study that goes on is rechecked again, each
            further chosen trial halves the error rate of its CIs.
        against: The baseline of the gain: a trial's number, or all parameters of another
            configuration, such as the current one. These may lie outside the search space. By
            default it is the baseline network of an :class:`~adnn_optuna.InitOffsetObjective`; in
            any other study, trial 0 if it was enqueued.
        deterministic: Whether nothing in the evaluation is random, so that it is not repeated.
            Equal values do not show that nothing is random.
        resampled: If the seeds redraw the split of one data set, the numbers of training and test
            examples of a split. The CIs are then for new data of this kind, and wider. If the
            code seems to redraw a split, ``recheck`` raises an error. Pass False if each seed has
            independent data.
        **keywords: How it evaluates.

    Returns:
        The findings so far. The value is NaN until all evaluations are made.

    Raises:
        TypeError: If an argument has a wrong type, or a value is not a number.
        FileNotFoundError: If the study's SQLite file does not exist.
        ValueError: If an argument is wrong, the study has several objectives, or it has no
            completed trial. If ``evaluate`` uses parameters that the study lacks, or changed and
            ``reuse`` is false. If it seems to redraw a split: pass ``resampled``.
        KeyboardInterrupt: If the user interrupts; all finished evaluations are stored.
    """
    top = as_integer("top", top)
    choose = as_integer("choose", choose)
    # One value has no interval.
    confirm = as_integer("confirm", confirm, 2)
    call = checked_call(recheck, keywords)
    read = opened_study(study)
    study = read.study
    completed = _completed(read)
    searched = _searched(read, evaluate, call, resampled, is_random=not deterministic)
    candidates = _best_without_copies(completed, top)
    if deterministic and against is not None:
        raise WrongValueError(
            "against must be omitted if deterministic, because nothing is evaluated; got "
            f"{shown(against)}. Omit deterministic=True to compare with it."
        )
    _check_against(against, completed)
    compared = [
        _baseline_of_trial(trial, read, searched, completed, against) for trial in candidates
    ]
    storage = call.storage
    if storage is None:
        storage = study._storage
    name = call.study_name or f"{study.study_name}/recheck"
    sizes = searched.split_sizes
    if isinstance(against, Mapping):
        against = dict(against)
    settings: RecheckSettings = {
        "study": study.study_name,
        "top": top,
        "choose": choose,
        "confirm": confirm,
        "against": against,
        "failed": call.failed,
        "resampled": sizes and [*sizes],
        "is_deterministic": deterministic,
        "is_seeded": searched.is_seeded,
        "draws_data": searched.draws_data,
        "candidates": [trial.number for trial in candidates],
        "compared": compared,
    }
    opened = open_evaluations(
        storage,
        name,
        beginning_of(read.trials),  # An earlier study of the name had other trials.
        direction=study.direction,
        functions=searched.functions,
        reuse=call.reuse,
        settings={RECHECK: settings},
    )
    settings = opened.user_attrs[RECHECK]  # As JSON returns it, and as others read it.
    numbers = _numbers_of(read, opened, settings)
    if deterministic:
        return _result(read, opened, settings)
    before = frozenset(numbers.evaluations)
    trials = (*numbers.candidates, *numbers.baselines_by_candidate.values())
    evaluate_trial = TrialEvaluation(searched, {trial.number: trial for trial in trials}, study)

    def make(needed: list[Evaluation]) -> None:
        make_evaluations(
            functools.partial(Needed, needed),
            opened,
            NEW_SEED_NAMES,
            evaluate_trial,
            **call.evaluation_options(),
        )

    with logged_if_interrupted(lambda: _result(read, opened, settings)):
        make(numbers.choosing)
        numbers = _numbers_of(read, opened, settings)
        if numbers.trial is not None:
            planned = plan_seeds(opened, numbers.trial.number, confirm)
            make(dataclasses.replace(numbers, planned=planned).confirming)
    return _result(read, opened, settings, before)


def stored_recheck(opened: optuna.Study) -> Recheck:
    """Return the result of stored evaluations."""
    return _result(_rechecked_study(opened), opened, opened.user_attrs[RECHECK])


def resumed_recheck(
    opened: optuna.Study,
    objective: Any,
    data_dir: FilePath | None,
    **keywords: Any,
) -> Recheck:
    """Make the evaluations of a stored recheck that are missing, and return its result."""
    settings: Json = opened.user_attrs[RECHECK]
    study, attrs, *_ = _rechecked_study(opened)
    if objective is None:
        objective = kind_of(attrs).rebuilt(study, data_dir)
    return recheck(
        study,
        objective,
        top=settings["top"],
        choose=settings["choose"],
        confirm=settings["confirm"],
        against=settings["against"],
        failed=settings["failed"],
        deterministic=settings["is_deterministic"],
        resampled=settings["resampled"] or False,  # The first call has asked.
        storage=opened._storage,
        study_name=opened.study_name,
        **keywords,
    )


def _rechecked_study(opened: optuna.Study) -> StudyRead:
    """Read the study of a stored recheck, if it is in the same storage."""
    name = opened.user_attrs[RECHECK]["study"]
    if name in optuna.get_all_study_names(opened._storage):
        read = StudyRead.of(load_search(opened._storage, name))
        if read.trials and beginning_of(read.trials) == opened.user_attrs[EVALUATED]:
            return read
    raise WrongValueError(
        f"Study {name!r} must be in the storage of its recheck {opened.study_name!r}; got none "
        "that it is of. Call recheck again with the study and this storage."
    )


def _numbers_of(
    read: StudyRead, opened: optuna.Study, settings: RecheckSettings
) -> RecheckNumbers:
    """Return the findings of the evaluations that are stored."""
    completed = _completed(read)
    missing = {*settings["candidates"]}.difference(trial.number for trial in completed)
    if missing:
        raise WrongValueError(
            f"Study {read.study.study_name!r} must have the trials of its recheck; got no trial "
            f"{min(missing)}. Call recheck again."
        )
    numbers = RecheckNumbers(
        settings,
        stored_evaluations(opened, NEW_SEED_NAMES),
        completed,
        maximize=read.maximize,
        metric=_metric_of(read),
        experiment=_experiment_of(read),
        planned={"seeds": settings["confirm"], "sequential": False, "rank": 1},
    )
    if numbers.trial is None:
        return numbers
    planned = planned_of(opened.user_attrs, numbers.trial.number)
    return dataclasses.replace(numbers, planned=planned or numbers.planned)


def _metric_of(read: StudyRead) -> str:
    """Return the name of a study's values; ``"value"`` if the study does not say."""
    config = read.attrs.get(CONFIG)
    if config:
        return with_class(str(config["metric"]), config.get("positive"))
    return (read.study.metric_names or ["value"])[0]


def _experiment_of(read: StudyRead) -> Any:
    """Return what the new seeds follow from, by a configuration or the first trial; no name."""
    config = read.attrs.get(CONFIG)
    if config:
        return experiment_fingerprint(config)
    first = read.trials[0]
    distributions = sorted(first.distributions.items())
    ranges = {name: str(distribution) for name, distribution in distributions}
    return [first.params, ranges]


def _result(
    read: StudyRead,
    opened: optuna.Study,
    settings: RecheckSettings,
    before: frozenset[Evaluation] = frozenset(),
) -> Recheck:
    """Return the result of the evaluations that are stored, some ``before`` this call."""
    numbers = _numbers_of(read, opened, settings)
    scores = dict[Evaluation, np.ndarray]()
    violated = set[Evaluation]()
    trials = opened.get_trials(deepcopy=False)
    for evaluation, trial in evaluation_trials(trials, NEW_SEED_NAMES).items():
        if VIOLATED in trial.system_attrs:
            violated.add(evaluation)
        if f"{SCORES}/0" in trial.system_attrs:
            trial_label = f"trial {trial.number} of study {opened.study_name!r}"
            [scores[evaluation]] = from_attributes(trial.system_attrs, SCORES, trial_label)
    overtuned = None
    if scores:
        from adnn_optuna.results.overtuning import overtuning_of

        overtuned = overtuning_of(read.study, read.attrs, read.trials)
    if overtuned is not None and overtuned.most_unlike:  # The scores may be predictions.
        overtuned = None
    numbers = dataclasses.replace(
        numbers, violated=frozenset(violated), scores=scores, overtuned=overtuned
    )
    report = study_command("report", opened, "--output", "recheck.html")
    needed = {*numbers.choosing, *numbers.confirming}
    n_made = len(needed & numbers.evaluations.keys())
    reused = reused_note("evaluation", len(needed & before), n_made)
    return Recheck(numbers, report, _reused=reused)


def _completed(read: StudyRead) -> list[FrozenTrial]:
    """Return the trials that have a finite value and violate no constraint, the best first."""
    candidates = filter(may_be_best, read.trials)
    valid_trials = [trial for trial in candidates if math.isfinite(trial.values[0])]
    if not valid_trials:
        raise WrongValueError(
            f"Study {read.study.study_name!r} must have a completed trial with a finite value; "
            "got none. Run it first."
        )
    # The first of equals is the better one, as for Optuna.
    return sorted(valid_trials, key=lambda trial: trial.values[0], reverse=read.maximize)


def _best_without_copies(completed: Sequence[FrozenTrial], top: int) -> list[FrozenTrial]:
    """Return at most ``top`` of the best trials, without near copies of better trials."""
    distinct_trials: list[FrozenTrial] = []
    for trial in completed:
        if len(distinct_trials) == top:
            break
        is_copy = any(_is_near(trial, better) for better in distinct_trials)
        if not is_copy:
            distinct_trials.append(trial)
    return distinct_trials


def _is_near(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Return whether two trials have about the same parameters, if they have any."""
    if not one.params or one.params.keys() != other.params.keys():
        return False
    for name, distribution in one.distributions.items():
        value = one.params[name]
        other_value = other.params[name]
        if value == other_value:
            continue
        distance = to_unit(value, distribution) - to_unit(other_value, distribution)
        if n_choices(distribution) or abs(distance) >= _NEAR:
            return False
    return True


def _check_against(
    against: int | Mapping[str, Any] | None, completed: Sequence[FrozenTrial]
) -> None:
    """Refuse a baseline that is neither a completed trial's number nor finite parameters."""
    if isinstance(against, Mapping):
        check_parameters("against", against)
        return
    numbers = [trial.number for trial in completed]
    if against is not None and not (is_integer(against) and against in numbers):
        raise WrongValueError(
            "against must be the number of a completed trial with a finite value; got "
            f"{shown(against)}. Pass another number, or all parameters."
        )


def _baseline_of_trial(
    trial: FrozenTrial,
    read: StudyRead,
    searched: Searched[Any],
    completed: Sequence[FrozenTrial],
    against: int | Mapping[str, Any] | None,
) -> Baseline | None:
    """Describe what a trial is compared with; None if there is nothing."""
    if isinstance(against, Mapping):
        params = dict(against)
        return _baseline_of_params(params, completed, params_in_words(params))
    by_number = {trial.number: trial for trial in completed}
    if against is not None:
        return _as_baseline(by_number[against])
    params = dict(searched.baseline_of(trial.params))
    if params:
        # Where hyperparameters are searched, each trial has a baseline of its own.
        value = None
        if searched.baseline_params:
            value = read.attrs.get(BASELINE)
        if value is not None and not math.isfinite(value):
            value = None
        return _baseline_of_params(params, completed, "the baseline network", value)
    first = by_number.get(0)
    if first is not None and "fixed_params" in first.system_attrs:  # It was enqueued.
        return _as_baseline(first)
    return None


def _baseline_of_params(
    params: Json, completed: Sequence[FrozenTrial], label: str, value: float | None = None
) -> Baseline:
    """Describe the first trial with these parameters, or these if no trial has them."""
    ordered = sorted(completed, key=lambda trial: trial.number)
    alike = [trial for trial in ordered if trial.params.keys() == params.keys()]
    for trial in alike:
        if trial.params == params:
            return _as_baseline(trial)
    if not alike:
        raise WrongValueError(
            "against must have the parameters of a completed trial; got "
            f"{', '.join(map(str, params)) or 'none'}. Pass all parameters, or a trial's number."
        )
    distributions = alike[0].distributions
    for name, parameter in params.items():
        is_choice = isinstance(distributions[name], CategoricalDistribution)
        if not is_choice and not isinstance(parameter, Real):
            raise WrongValueError(
                f"against[{name!r}] must be a number; got {shown(parameter)}. Pass all parameters."
            )
    text = repr(sorted(params.items())).encode()
    number = _FIRST_OF_PARAMS + zlib.crc32(text) % _FIRST_OF_PARAMS
    return {"label": label, "number": number, "value": value, "params": params}


def _as_baseline(trial: FrozenTrial) -> Baseline:
    """Return what a study stores of a trial with which others are compared."""
    return {
        "label": f"trial {trial.number}",
        "number": trial.number,
        "value": trial.value,
        "params": trial.params,
    }


def _searched(
    read: StudyRead,
    evaluate: Any,
    call: Call,
    resampled: ResampledArgument,
    *,
    is_random: bool,
) -> Searched[Any]:
    """Return the objective that evaluates a study's trials: the user's or the stored one."""
    objective = evaluate
    if objective is None:
        objective = kind_of(read.attrs).rebuilt(read.study, None)
    searched = as_searched(
        objective, call, name="evaluate", is_random=is_random, resampled=resampled
    )
    seed = read.attrs.get(CONFIG, {}).get("seed", searched.seed)
    if not searched.functions:
        searched.replace(seed=seed).check(read.study)
    return searched
