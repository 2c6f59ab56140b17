"""Recheck any Optuna study, to measure how much of its best value is selection bias."""

import dataclasses
import math
import zlib
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Unpack

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
    Call,
    Evaluating,
    as_searched,
    checked_call,
    logged_if_interrupted,
    stored_evaluations,
    verb,
)
from adnn_optuna.api._splits import ResampledArgument
from adnn_optuna.engine.code_fingerprint import UserFunction
from adnn_optuna.engine.evaluations import (
    SEEDS,
    NeededOf,
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
from adnn_optuna.results.recheck import Recheck, RecheckNumbers
from adnn_optuna.results.sentences import reused_note, study_command
from adnn_optuna.samplers._evaluations import Evaluation, evaluation_trials
from adnn_optuna.samplers._trials import may_be_best
from adnn_optuna.samplers._unit_interval import n_choices, to_unit

# Trials are near copies if each parameter differs by less than this share of its range. Annealing
# ends with moves of about 0.001 of the range. The steps of the paper are longer.
_NEAR = 0.005
_FIRST_OF_PARAMS = 2**30  # Larger trial numbers mean parameters without a trial.


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

    First, the ``top`` best trials are evaluated on the same ``choose`` new seeds. Near copies of
    better trials, in which each parameter differs by less than 0.5% of its range, are omitted. The
    trial with the best mean on the new seeds is chosen. Stored values do not count in this choice.

    Then the chosen trial is evaluated on ``confirm`` further seeds. The value of the trial is the
    mean on these seeds. A baseline, see ``against``, is evaluated on the same seeds. The gain is
    the mean difference from the baseline. The CI of the gain inverts a sign-flip test.

    Each evaluation is made once and stored as a trial of the study ``<name>/recheck``. The study
    itself does not change. The same call resumes an interrupted recheck. Several processes share
    the work if they make the same call. If the code of ``evaluate`` changed, the call raises an
    error unless ``reuse`` is true.

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
        evaluate: The objective ``(trial, seed) -> value``. ``trial`` suggests the parameters of
            the stored trial. A function without a seed must be random by itself. You can omit
            ``evaluate`` if the study's :class:`~adnn_optuna.InitOffsetObjective` can be rebuilt.
            ``evaluate`` may return an array, the scores of single validation examples, or call
            :func:`~adnn_optuna.log_scores`. If the study's objective also stored scores, the value
            is for new data and new seeds.
        top: How many of the best trials are evaluated. With 1, the overstatement is the selection
            bias of the study's best trial.
        choose: The number of new seeds that choose among the best trials. A single trial needs no
            choice.
        confirm: The number of further seeds that evaluate the chosen trial, at least 2. The first
            call declares the number. A later call with a larger number makes the CIs sequential
            and thus wider. A later call with a smaller number changes nothing. If you recheck a
            study again after more trials, each further chosen trial halves the error rate of its
            CIs.
        against: The baseline of the gain: a trial's number, or all parameters of another
            configuration, such as the current one. The parameters may be outside the search space.
            For an :class:`~adnn_optuna.InitOffsetObjective`, the default is its baseline network.
            For other studies, it is trial 0 if it was enqueued, or else no baseline.
        deterministic: Whether the evaluation uses no random numbers. Then no trial is evaluated
            again. Two equal values do not prove that an evaluation is deterministic.
        resampled: The numbers of training and test examples of a split, if the seeds redraw the
            split of one data set. The CIs are then for new data of this kind, and wider. If the
            code seems to redraw a split, ``recheck`` raises an error. Pass False if each seed has
            independent data.
        **keywords: Options of the evaluations.

    Returns:
        The findings so far. The value is NaN until all evaluations are made.

    Raises:
        TypeError: If an argument has a wrong type, or a value is not a number.
        FileNotFoundError: If the study's SQLite file does not exist.
        ValueError: If an argument is wrong. If the study has several objectives or no completed
            trial. If ``evaluate`` uses parameters that the study lacks. If the code of
            ``evaluate`` changed and ``reuse`` is false. If it seems to redraw a split and
            ``resampled`` is None.
        KeyboardInterrupt: If you interrupt the call. All finished evaluations are stored.
    """
    top = as_integer("top", top)
    choose = as_integer("choose", choose)
    # A CI needs at least two values.
    confirm = as_integer("confirm", confirm, 2)
    call = checked_call(keywords)
    if deterministic and against is not None:
        raise WrongValueError(
            "against must be omitted if deterministic, because nothing is evaluated; got "
            f"{shown(against)}. Omit deterministic=True to compare with it."
        )
    read = opened_study(study)
    completed = _valued_trials(read)
    searched = _objective_of(read, evaluate, call, resampled, is_random=not deterministic)
    candidates = _best_without_copies(completed, top)
    baselines = _baselines_of(candidates, read, searched, completed, against)
    if isinstance(against, Mapping):
        against = dict(against)
    sizes = searched.split_sizes
    settings: RecheckSettings = {
        "study": read.study.study_name,
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
        "baselines": baselines,
    }
    storage = call.storage
    if storage is None:
        storage = read.study._storage
    recheck_study = open_evaluations(
        storage,
        call.study_name or f"{read.study.study_name}/recheck",
        beginning_of(read.trials),  # Studies with the same name differ in this text.
        direction=read.study.direction,
        functions=searched.functions,
        reuse=call.reuse,
        settings={RECHECK: settings},
    )
    numbers = _numbers_of(read, recheck_study)
    if not deterministic:
        evaluate_trial = TrialEvaluation(searched, numbers.evaluated, read.study)
        needed_of = _needed_of(numbers, recheck_study)
        options = call.evaluation_options()
        with logged_if_interrupted(lambda: _result(read, recheck_study)):
            make_evaluations(needed_of, recheck_study, NEW_SEED_NAMES, evaluate_trial, **options)
    return _result(read, recheck_study, before=frozenset(numbers.evaluations))


def _needed_of(numbers: RecheckNumbers, recheck_study: optuna.Study) -> NeededOf:
    """Return the function that names the needed evaluations.

    At first, these evaluations choose a trial. Later, they also include the evaluations of the
    chosen trial.
    """
    confirming = list[Evaluation]()

    def needed_of(made: Mapping[Evaluation, float]) -> list[Evaluation]:
        if not confirming and made.keys() >= {*numbers.choosing}:
            with_choice = dataclasses.replace(numbers, evaluations=made)
            assert with_choice.trial is not None, "All evaluations that choose are made."
            chosen = with_choice.trial.number
            planned = plan_seeds(recheck_study, chosen, numbers.settings["confirm"])
            with_plan = dataclasses.replace(with_choice, plans={chosen: planned})
            confirming.extend(with_plan.confirming)
        return numbers.choosing + confirming

    return needed_of


def stored_recheck(recheck_study: optuna.Study) -> Recheck:
    """Return the result of a stored recheck, without new evaluations."""
    return _result(_rechecked_study(recheck_study), recheck_study)


def resumed_recheck(
    recheck_study: optuna.Study,
    objective: Any,
    data_dir: FilePath | None,
    **keywords: Any,
) -> Recheck:
    """Make the missing evaluations of a stored recheck, and return its result."""
    settings: Json = recheck_study.user_attrs[RECHECK]
    study, attrs, *_ = _rechecked_study(recheck_study)
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
        resampled=settings["resampled"] or False,  # The first call has checked for splits.
        storage=recheck_study._storage,
        study_name=recheck_study.study_name,
        **keywords,
    )


def _rechecked_study(recheck_study: optuna.Study) -> StudyRead:
    """Read the study of a stored recheck. Raise an error if it is in another storage."""
    name = recheck_study.user_attrs[RECHECK]["study"]
    if name in optuna.get_all_study_names(recheck_study._storage):
        read = StudyRead.of(load_search(recheck_study._storage, name))
        if read.trials and beginning_of(read.trials) == recheck_study.user_attrs[EVALUATED]:
            return read
    raise WrongValueError(
        f"Study {name!r} must be in the storage of its recheck {recheck_study.study_name!r}; got "
        "another study or none. Call recheck again with the study and this storage."
    )


def _numbers_of(read: StudyRead, recheck_study: optuna.Study) -> RecheckNumbers:
    """Return the numbers that follow from the stored evaluations."""
    attrs = recheck_study.user_attrs
    settings: RecheckSettings = attrs[RECHECK]
    completed = _valued_trials(read)
    missing = {*settings["candidates"]}.difference(trial.number for trial in completed)
    if missing:
        raise WrongValueError(
            f"Study {read.study.study_name!r} must have the trials of its recheck; got no trial "
            f"{min(missing)}. Call recheck again."
        )
    plans = {}
    for number in settings["candidates"]:
        planned = planned_of(attrs, number)
        if planned is not None:
            plans[number] = planned
    return RecheckNumbers(
        settings,
        stored_evaluations(recheck_study, NEW_SEED_NAMES),
        completed,
        maximize=read.maximize,
        metric=_metric_of(read),
        experiment=_experiment_of(read),
        plans=plans,
    )


def _metric_of(read: StudyRead) -> str:
    """Return the name of a study's metric, or ``"value"``."""
    config = read.attrs.get(CONFIG)
    if config:
        return with_class(str(config["metric"]), config.get("positive"))
    return (read.study.metric_names or ["value"])[0]


def _experiment_of(read: StudyRead) -> Any:
    """Return the key that determines the new seeds, for example the objective's configuration.

    The key does not contain the study's name, so renaming a study does not change the new seeds.
    """
    config = read.attrs.get(CONFIG)
    if config:
        return experiment_fingerprint(config)
    first = read.trials[0]
    distributions = sorted(first.distributions.items())
    ranges = {name: str(distribution) for name, distribution in distributions}
    return [first.params, ranges]


def _result(
    read: StudyRead,
    recheck_study: optuna.Study,
    *,
    before: frozenset[Evaluation] = frozenset(),
) -> Recheck:
    """Return the result of all stored evaluations.

    ``before`` are the evaluations that were stored before this call.
    """
    numbers = _numbers_of(read, recheck_study)
    scores = {}
    violated = set()
    trials = recheck_study.get_trials(deepcopy=False)
    for evaluation, trial in evaluation_trials(trials, NEW_SEED_NAMES).items():
        if VIOLATED in trial.system_attrs:
            violated.add(evaluation)
        if f"{SCORES}/0" in trial.system_attrs:
            trial_label = f"trial {trial.number} of study {recheck_study.study_name!r}"
            [scores[evaluation]] = from_attributes(trial.system_attrs, SCORES, trial_label)
    overtuned = None
    if scores:
        from adnn_optuna.results.overtuning import overtuning_of

        overtuned = overtuning_of(read.study, read.attrs, read.trials)
    # If a value is not the mean of its scores, the scores may be predictions.
    if overtuned is not None and overtuned.most_unlike:
        overtuned = None
    numbers = dataclasses.replace(
        numbers, violated=frozenset(violated), scores=scores, overtuned=overtuned
    )
    report = study_command("report", recheck_study, "--output", "recheck.html")
    n_before = len(before.intersection(numbers.needed))
    reused = reused_note("evaluation", n_before, numbers.n_made)
    return Recheck(numbers, report, _reused=reused)


def _valued_trials(read: StudyRead) -> list[FrozenTrial]:
    """Return feasible trials with a finite value, best first."""
    candidates = filter(may_be_best, read.trials)
    valid_trials = [trial for trial in candidates if math.isfinite(trial.values[0])]
    if not valid_trials:
        raise WrongValueError(
            f"Study {read.study.study_name!r} must have a completed trial with a finite value; "
            "got none. Run it first."
        )
    # The sort is stable, so of equal values, the earlier trial is first, as in Optuna.
    return sorted(valid_trials, key=lambda trial: trial.values[0], reverse=read.maximize)


def _best_without_copies(completed: Sequence[FrozenTrial], top: int) -> list[FrozenTrial]:
    """Return the ``top`` best trials, or fewer, without near copies of better trials."""
    distinct_trials: list[FrozenTrial] = []
    for trial in completed:
        if len(distinct_trials) == top:
            break
        is_copy = any(_is_near(trial, better) for better in distinct_trials)
        if not is_copy:
            distinct_trials.append(trial)
    return distinct_trials


def _is_near(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Return whether two trials have almost equal parameters; False without parameters."""
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


def _baselines_of(
    candidates: Sequence[FrozenTrial],
    read: StudyRead,
    searched: Searched[Any],
    completed: Sequence[FrozenTrial],
    against: int | Mapping[str, Any] | None,
) -> list[Baseline | None]:
    """Return the baseline of each candidate, or None.

    Raise an error unless the baseline is a completed trial's number or finite parameters.
    """
    n = len(candidates)
    if isinstance(against, Mapping):
        check_parameters("against", against)
        params = dict(against)
        return [_baseline_of_params(params, completed, params_in_words(params))] * n
    by_number = {trial.number: trial for trial in completed}
    if against is not None:
        if not (is_integer(against) and against in by_number):
            raise WrongValueError(
                "against must be the number of a completed trial with a finite value; got "
                f"{shown(against)}. Pass another number, or all parameters."
            )
        return [_as_baseline(by_number[against])] * n
    baselines = [_baseline_network_of(trial, read, searched, completed) for trial in candidates]
    first = by_number.get(0)
    if first is not None and "fixed_params" in first.system_attrs:  # An enqueued trial.
        enqueued: Baseline = {**_as_baseline(first), "label": "enqueued trial 0"}
        return [baseline or enqueued for baseline in baselines]
    return baselines


def _baseline_network_of(
    trial: FrozenTrial,
    read: StudyRead,
    searched: Searched[Any],
    completed: Sequence[FrozenTrial],
) -> Baseline | None:
    """Return the baseline that the objective has for a trial, or None.

    If hyperparameters are searched, each trial has its own baseline.
    """
    params = dict(searched.baseline_of(trial.params))
    if not params:
        return None
    value = None
    if searched.baseline_params:
        value = read.attrs.get(BASELINE)
    if value is not None and not math.isfinite(value):
        value = None
    return _baseline_of_params(params, completed, "the baseline network", value)


def _baseline_of_params(
    params: Json, completed: Sequence[FrozenTrial], label: str, value: float | None = None
) -> Baseline:
    """Return the baseline with these parameters.

    If trials have these parameters, it is the first of them.
    """
    ordered = sorted(completed, key=lambda trial: trial.number)
    alike = [trial for trial in ordered if trial.params.keys() == params.keys()]
    for trial in alike:
        if trial.params == params:
            return _as_baseline(trial)
    if not alike:
        needed = ", ".join(ordered[0].params) or "none"
        raise WrongValueError(
            f"against must have the parameters of a completed trial, such as {needed}; got "
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
    """Return a trial as a baseline that a recheck can store."""
    return {
        "label": f"trial {trial.number}",
        "number": trial.number,
        "value": trial.value,
        "params": trial.params,
    }


def _objective_of(
    read: StudyRead,
    evaluate: Any,
    call: Call,
    resampled: ResampledArgument,
    *,
    is_random: bool,
) -> Searched[Any]:
    """Return the objective that evaluates the trials.

    If the user passes no objective, the study's objective is rebuilt.
    """
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
