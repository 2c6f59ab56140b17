"""Names and types of everything a study stores as JSON, and the check of stored values."""

import weakref
from collections.abc import Mapping
from numbers import Real
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from adnn_optuna._checks import TOO_LARGE, Fault, Finder, WrongValueError, finder, finder_of, shown

Attributes = Mapping[str, Any]
"""The attributes of a study or a trial, by their names."""
Params = Mapping[str, Any]
"""A trial's parameters, by their names."""
Json = dict[str, Any]
"""An object as JSON holds it, such as a configuration."""

# User attributes of a study.
CONFIG = "adnn:config"  # The whole objective: model, dataset, training, space, metric, seed.
BASELINE = "adnn:baseline"  # The selection metric of the baseline network, a number.
BASELINE_METRICS = "adnn:baseline_metrics"  # All `Metrics` of the baseline network.
SEARCH = "adnn:search"  # How the study is searched: `SearchSettings`.
RUNS = "adnn:runs"  # A prefix: a `RunRecord` for each run.
TEST = "adnn:test"  # A prefix: a `TestEvaluation` for each test-set evaluation.
TEST_ROWS = "adnn:test_rows"  # The fingerprint of the test samples alone, if there are any.
# Prefixes: the best trial's scores on the test examples, and the groups of these, as texts of
# `engine/example_scores.py`. The trials of a confirmation have scores, too, as system attributes.
SCORES = "adnn:scores"
GROUPS = "adnn:groups"
EXAMPLE_GROUPS = "adnn:example_groups"  # A prefix: the groups of the validation examples.
UNSEEDED = "adnn:unseeded"  # A prefix: true for a best trial that no seed changes.
CONFIRMED = "adnn:confirmed"  # A prefix: `Confirmed`; for each best trial, the first counts.
COMPARISON = "adnn:comparison"  # Of the head of a comparison: `Declaration`.
EVALUATED = "adnn:evaluated"  # The subject of the evaluations that its trials are, any JSON.
# What evaluations were made for, with the settings of the last call that tell how to read them.
RECHECK = "adnn:recheck"  # `RecheckSettings`.
MODELS = "adnn:models"  # `ModelsSettings`.
VARIANCE = "adnn:variance"  # `VarianceSettings`.
LOOP = "adnn:loop"  # Of a loop that keeps changes: `LoopSettings`.
CODE = "adnn:code"  # The fingerprints of the functions that its trials are of, and the Python.
# A prefix, with the trial and its new seeds, by numbers: how many confirm it, `Planned`.
PLANNED = "adnn:planned"
RESAMPLED = "adnn:resampled"  # Training and test examples, if a function's seeds redraw splits.
FAILED = "adnn:failed"  # The value that a function's failed runs count as, as last named.
STOP_REASON = "adnn:stop_reason"  # Why it ended: a limit's name, "exhausted" or "interrupted".

# System attributes of a trial.
PROPOSAL = "adnn:proposal"  # Its sampler, its index and its owner: `Proposal`.
OWNER = "adnn:owner"  # The process that runs it, if its sampler does not store that: `Owner`.
CLAIM = "adnn:claim"  # A prefix, with the run: the process that is to begin it: `Owner`.
REPLICATE = "adnn:replicate"  # Which replicate it is, if it is one: `Replicate`.
VIOLATED = "adnn:violated"  # Of an evaluation on a new seed: true if it violates a constraint.
CANDIDATE = "adnn:candidate"  # Of the first run of a candidate of a loop: `StoredCandidate`.
ENDED = "adnn:ended"  # Why it has no value: `Ended`. If it failed without one, its worker died.

# User attributes of a trial. If model or training are functions of the trial, it also has BASELINE
# and BASELINE_METRICS of its own baseline network, if it was the best trial so far.
MADE = "adnn:made"  # The results of these functions: `Made`.
OUTCOME = "adnn:outcome"  # Stored at its end beside state and value: `StoredOutcome`.

# The scores of validation examples: `ExampleScores`, a part of `OUTCOME` if our loop runs the
# trial. A prefix: the further parts of long ones.
EXAMPLES = "adnn:examples"
EXAMPLE_PARTS = "adnn:example_parts"

# The names of samplers, as studies store them.
GREEDY = "greedy"
GREEDY_IMPROVING = "greedy_improving"
ANNEALING = "annealing"
RANDOM_RESTART = "random_restart"
RANDOM = "random"
# Controls spend the same compute otherwise.
LONGER = "longer"
LEARNING_RATE = "learning_rate"
CONSTANT = "constant"
ENSEMBLE = "ensemble"


def _within(numbers: range) -> Finder:
    rule = f"a whole number from {numbers.start} to {numbers.stop - 1:.3g}"
    return finder(rule, numbers.__contains__)


TOO_MANY = 10**6  # New seeds, or trials at once: arguments are below this.
# Whole numbers: those of trials and processes, seeds, and how often something is done. The trials,
# arms and seeds of evaluations are parameters of trials, which are below 2^31.
Number = Annotated[int, _within(range(2**63))]
Seed = Annotated[int, _within(range(2**256))]
Count = Annotated[int, _within(range(TOO_MANY))]
Size = Annotated[int, _within(range(1, TOO_LARGE))]
Parameter = Annotated[int, _within(range(2**31))]
RunCount = Annotated[int, _within(range(2, 101))]
Resampled = Annotated[list[Size], finder("two numbers", lambda sizes: len(sizes) == 2)] | None
BatchSize = Annotated[int, _within(range(1, TOO_MANY))]

Metrics = dict[str, float]
"""``train_accuracy``, ``train_loss``, ``val_accuracy`` and ``val_loss`` after an epoch."""

Status = Literal["running", "complete", "pruned", "timeout", "stopped", "diverged"]
"""How a training run or a trial ends, unless it is running."""

Ended = Literal["diverged", "error", "interrupted"]
"""Why a trial has no value; one that was interrupted counts for nothing."""


class DataConfig(TypedDict):
    """The data of an objective, with some facts about them."""

    name: str
    fingerprint: str
    source: NotRequired[str]
    path: NotRequired[str]
    task: NotRequired[str]
    duplicates: NotRequired[dict[str, Number]]


class Config(TypedDict):
    """The configuration that determines values; ``behaviour`` sketches the user's own code."""

    model: Json
    dataset: DataConfig
    training: Json
    space: Json
    metric: str
    seed: Seed
    direction: NotRequired[Literal["minimize", "maximize"]]
    behaviour: NotRequired[dict[str, list[float]]]


class Made(TypedDict):
    """A trial's model (of Keras, the hash of its configuration) and training, as functions."""

    model: Json
    training: Json
    behaviour: NotRequired[dict[str, list[float]]]


class Trained(TypedDict):
    """A trial's training: its seconds and its epochs."""

    seconds: float
    epochs: Number


class ExampleScores(TypedDict):
    """The scores of ``n`` examples, in bits or float32 as base64, and their groups' digest."""

    n: Size
    scores: str
    groups: NotRequired[str]


class StoredOutcome(TypedDict):
    """A trial's outcome, which is stored at once.

    ``elapsed`` is the study's working time in seconds: the largest time that the trial saw, plus
    its own duration. ``metrics`` are those after the last epoch.
    """

    elapsed: NotRequired[float]
    trained: NotRequired[Trained]
    metrics: NotRequired[Metrics]
    examples: NotRequired[ExampleScores]


def outcome_of(trial_attrs: Attributes) -> StoredOutcome:
    """Return a trial's outcome from its user attributes; empty if not stored."""
    return trial_attrs.get(OUTCOME, {})


def examples_of(trial_attrs: Attributes) -> ExampleScores | None:
    """Return the scores of single examples, by a trial's user attributes; None if not stored."""
    return outcome_of(trial_attrs).get("examples", trial_attrs.get(EXAMPLES))


class Owner(TypedDict):
    """The process that runs the trial of a number; ``run`` is empty if a user asked for it."""

    trial: Number
    host: str
    process: Number
    start: str
    run: str


StoredStep = tuple[Number | None, float]
"""The index of the trial that a step starts from (:obj:`None` for the origin), and its length."""


class Proposal(TypedDict):
    """A trial's proposal by a sampler, its owner, and the trials from which it follows.

    ``index`` is :obj:`None` for a trial with fixed parameters. The proposal follows from the
    trials that its worker saw finished: all with an id below ``before``, except the ids in
    ``unfinished``. ``n_pending`` others of the sampler were running. Only a walk has a ``step``.
    An enqueued trial whose worker died is done again by a trial that ``retries`` its number.
    """

    sampler: str
    index: Number | None
    owner: Owner
    before: Number
    unfinished: list[Number]
    n_pending: Number
    step: StoredStep | None
    retries: NotRequired[Number]


class Replicate(TypedDict):
    """A replicate: its first trial, that trial's index (if it has one), and its number from 1."""

    trial: Number
    index: Number | None
    repetition: Size


class SearchSettings(TypedDict):
    """How a study is searched; the sampler's schedule was made for ``n_trials``.

    For a function, ``confirm`` is the number of new seeds for its best trial, ``replicate`` the
    share of its trials that are replicates, ``is_seeded`` whether it takes a seed, ``seed`` the
    search's seed, and ``n_jobs`` its threads.
    """

    sampler: str
    n_trials: Size | None
    batch_size: BatchSize
    confirm: NotRequired[Count]
    replicate: NotRequired[float | Literal["auto"]]
    is_seeded: NotRequired[bool]
    seed: NotRequired[Seed]
    n_jobs: NotRequired[BatchSize]


Limits = Annotated[
    dict[str, float | None], finder("max_trial", lambda limits: "max_trial" in limits)
]
"""The limits of a study, by the names of the arguments of their callbacks."""


class Arguments(TypedDict, total=False):
    """The arguments of the last call of :func:`compare`, except seeds and arms."""

    limits: Limits
    batch_size: Size | Literal["auto"]
    stop_when_decided: bool
    margin: float | None
    confirm: Count
    resampled: list[Size] | None
    failed: float | None


class DeclaredArm(TypedDict):
    """An arm of a comparison: its name and its role."""

    name: str
    is_control: bool
    may_replicate: bool


class Declaration(TypedDict):
    """The declaration of a comparison: its seeds in their order, and whether it is sequential.

    It stays sequential if it stops once all is decided, or got further seeds or arms later: then
    these came ``after_fixed``, a fixed design that was seen. ``arms`` are all arms that it ever
    compared, by their labels.
    """

    seeds: list[Seed]
    sequential: bool
    after_fixed: bool
    arms: dict[str, DeclaredArm]
    arguments: Arguments


class RunRecord(TypedDict):
    """One run of a study: when it began, under which limits, and why it ended (if it did)."""

    began: str
    sampler: str
    limits: Limits
    n_trials_before: Number
    stop_reason: str | None
    n_trials: Number | None


class TestEvaluation(TypedDict):
    """One test-set evaluation of the best trial, after ``n_trials`` trials.

    ``baseline`` (NaN if its training diverged) and ``best`` are the metric of the selection on
    ``n_images`` samples, called ``unit``. For accuracy, only the best network predicts ``won`` of
    them correctly, only the baseline ``lost``. Other metrics have the ``standard_error`` of the
    gain. Samples that repeat others or belong together count as ``n_groups``.
    """

    looked: str
    trial: Number
    n_trials: Number
    n_images: Size
    unit: str
    baseline: float
    best: float
    metrics: Metrics
    won: NotRequired[Number]
    lost: NotRequired[Number]
    standard_error: NotRequired[float]
    n_classes: NotRequired[Number]
    largest_class: NotRequired[str]
    n_largest: NotRequired[Number]
    n_groups: NotRequired[float]


class Confirmed(TypedDict):
    """A confirmed best trial, its seeds, its arms, and the studies that confirmed it before."""

    began: str
    trial: Parameter
    seeds: Annotated[list[Parameter], finder("a list of at least one", bool)]
    arms: Annotated[list[Parameter], finder("a list with 0", lambda arms: 0 in arms)]
    earlier: NotRequired[list[str]]


class Baseline(TypedDict):
    """What a rechecked trial is compared with: a trial of the study, or parameters.

    ``number`` is the one of its evaluations: the trial's, or at least 2^30 for parameters.
    """

    label: str
    number: Parameter
    value: float | None
    params: Json


class RecheckSettings(TypedDict):
    """A recheck of a study: its arguments, and the trials that it evaluates.

    ``compared`` has a trial to compare with, or None, for each of the ``candidates``.
    ``resampled`` are the sizes of the splits that the seeds redraw.
    """

    study: str
    top: Size
    choose: Size
    confirm: Count
    against: Parameter | Json | None
    failed: float | None
    resampled: Resampled
    is_deterministic: bool
    is_seeded: bool
    draws_data: bool
    candidates: Annotated[list[Parameter], finder("a list of at least one", bool)]
    compared: list[Baseline | None]


class EvaluatedModels(TypedDict):
    """The subject of a comparison of models: the configurations of models and data."""

    models: dict[str, Json]
    dataset: NotRequired[DataConfig]


class ModelsSettings(TypedDict):
    """A comparison of models, besides its declaration: margin, data, and what seeds redraw."""

    margin: float | None
    failed: float | None
    resampled: Resampled
    sources: list[str]
    score: str
    n_train: Number
    n_test: Number


class VarianceSettings(TypedDict):
    """A variance: the number of runs, the seeds of each, the seed in use, and the value's name."""

    n: Annotated[int, _within(range(5, TOO_MANY))]
    failed: float | None
    sources: Annotated[list[str], finder("a list of at least one", bool)]
    seed: Seed | None
    value_name: str
    not_redrawn: NotRequired[list[str]]
    chance_limit: NotRequired[float]


class LoopSettings(TypedDict):
    """The settings of a loop that keeps changes, see :func:`~adnn_optuna.keep`."""

    level: Annotated[float, finder("from 0.001 to 0.2", lambda level: 0.001 <= level <= 0.2)]
    n0: RunCount
    max_runs: RunCount
    failed: float | None


class Compared(TypedDict):
    """What a candidate of a loop is compared with, as of its first run; higher is better.

    ``candidate`` is the number of the best so far, ``mean``, ``worst`` and ``n`` are of its runs.
    ``sd`` is the standard deviation of a run, with ``degrees`` degrees of freedom.
    """

    candidate: Parameter
    mean: float
    worst: float
    n: Size
    sd: float
    degrees: Size
    threshold: float


class StoredCandidate(TypedDict):
    """A candidate of a loop: its label, the user's note, and its standard, if any."""

    label: str
    note: str
    compared: Compared | None


class Planned(TypedDict):
    """How many new seeds confirm a best trial, and whether that was raised after some were made.

    ``rank`` is the number of best trials that were planned, including this one, just after it was
    planned; 0 until they are counted. So the k-th trial has rank k or more.
    """

    seeds: Count
    sequential: bool
    rank: Count


def planned_numbers(attrs: Attributes) -> set[str]:
    """Return the numbers of all trials for which a study plans new seeds."""
    return {name.split("/")[1] for name in attrs if name.startswith(f"{PLANNED}/")}


def planned_of(attrs: Attributes, number: int) -> Planned | None:
    """Return how many new seeds a study plans for a trial by its number; None if not planned.

    A raised number is stored beside the first one, so workers that plan at once lose nothing.
    """
    prefix = f"{PLANNED}/{number}/"
    plans: list[Planned] = [plan for name, plan in attrs.items() if name.startswith(prefix)]
    if not plans:
        return None
    n_seeds = max(plan["seeds"] for plan in plans)
    ranks = [plan["rank"] for plan in plans if plan["rank"]]
    rank = min(ranks, default=len(planned_numbers(attrs)))
    return {"seeds": n_seeds, "sequential": len(plans) > 1, "rank": rank}


NEW_SEED_NAMES = ("trial", "seed")
"""The numbers of an evaluation of a trial on a new seed."""


def confirmation_name(study_name: str) -> str:
    """Return the name of the study that evaluates best trials on new seeds."""
    return f"{study_name}/confirmation"


def runs_of(attrs: Attributes) -> list[RunRecord]:
    """Return the runs of a study that had something to do, in the order in which they began."""
    runs = [run for name, run in attrs.items() if name.startswith(f"{RUNS}/")]
    return sorted(runs, key=lambda run: run["began"])


def _counts_agree(test: TestEvaluation) -> bool:
    n_changed = test.get("won", 0) + test.get("lost", 0)
    n_groups = test.get("n_groups", 1)
    largest_count = max(n_changed, test.get("n_largest", 0), n_groups)
    are_counts = largest_count <= test["n_images"] and n_groups > 0
    has_gain = "standard_error" in test or {"won", "lost"} <= test.keys()
    has_class = "n_largest" not in test or "largest_class" in test
    return has_gain and has_class and are_counts


# The types by names, for names with a slash by the part before it.
_TYPES: dict[str, Any] = {
    CONFIG: Config,
    BASELINE: float,
    BASELINE_METRICS: Metrics,
    SEARCH: SearchSettings,
    RUNS: RunRecord,
    TEST: Annotated[
        TestEvaluation, finder("a test-set evaluation whose counts agree", _counts_agree)
    ],
    TEST_ROWS: str,
    SCORES: str,
    GROUPS: str,
    EXAMPLE_GROUPS: str,
    EXAMPLES: ExampleScores,
    EXAMPLE_PARTS: str,
    UNSEEDED: bool,
    CONFIRMED: Confirmed,
    COMPARISON: Declaration,
    EVALUATED: Json | str,
    LOOP: LoopSettings,
    CANDIDATE: StoredCandidate,
    CODE: dict[str, str],
    VIOLATED: bool,
    PLANNED: Planned,
    RECHECK: RecheckSettings,
    MODELS: ModelsSettings,
    VARIANCE: VarianceSettings,
    RESAMPLED: Resampled,
    FAILED: float,
    STOP_REASON: str | None,
    PROPOSAL: Proposal,
    REPLICATE: Replicate,
    OWNER: Owner,
    CLAIM: Owner | None,
    ENDED: Ended | None,
    MADE: Made,
    OUTCOME: StoredOutcome,
}


def first_fault(attrs: Attributes) -> tuple[str, Fault] | None:
    """Return the name and the fault of the first attribute that is not of its type, if any is."""
    for name, value in attrs.items():
        kind = name.partition("/")[0]
        find_fault = _FINDERS.get(kind)
        if find_fault is None:
            continue
        fault = find_fault(value)
        if fault is not None:
            return name, fault
    return None


def check(study_name: str, attrs: Attributes) -> None:
    """Raise if an attribute of a study has a wrong type."""
    faulty = first_fault(attrs)
    if faulty is not None:
        name, fault = faulty
        raise malformed(name, f"study {study_name!r}", fault)


# Trials that were checked, by their identities: storages do not change but replace them.
_checked_trials: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def check_trial(trial: Any, study: Any) -> None:
    """Raise if an attribute of a trial has a wrong type, or a value is not a number."""
    if _checked_trials.get(id(trial)) is trial:
        return
    faulty = first_fault(trial.system_attrs) or first_fault(trial.user_attrs)
    if faulty is not None:
        name, fault = faulty
        raise malformed(name, f"trial {trial.number} of study {study.study_name!r}", fault)
    numbers = list(trial.values or ())
    if trial.state.name == "COMPLETE" and not numbers:
        numbers = [None]
    for name, value in trial.params.items():
        if not hasattr(trial.distributions[name], "choices"):
            numbers.append(value)
    wrong = [number for number in numbers if not isinstance(number, Real)]
    if wrong:
        raise WrongValueError(
            f"Trial {trial.number} of study {study.study_name!r} must have numbers as values and "
            f"parameters; got {shown(wrong[0])}. Restore a copy of the storage, or choose another "
            "study_name."
        )
    _checked_trials[id(trial)] = trial


def read_study(study: Any) -> tuple[Attributes, list[Any]]:
    """Return the user attributes and the trials of a study; raise if one has a wrong type.

    The trials are read first: a trial relies on attributes that were stored before it ended.
    """
    trials = study.get_trials(deepcopy=False)
    attrs: Attributes = study.user_attrs
    check(study.study_name, attrs)
    for trial in trials:
        check_trial(trial, study)
    return attrs, trials


def subject_of(study: Any, kind: Any) -> Any:
    """Return the subject of a study's evaluations; raise if its type is wrong."""
    subject = study.user_attrs.get(EVALUATED)
    if (fault := finder_of(kind)(subject)) is not None:
        raise malformed(EVALUATED, f"study {study.study_name!r}", fault)
    return subject


def malformed(name: str, of: str, fault: Fault) -> WrongValueError:
    """Return the error for an attribute of something, such as a study."""
    must = f"be {fault.rule}"
    if fault.part:
        must = f"have {fault.rule} in {shown(fault.part)}"
    return WrongValueError(
        f"Attribute {shown(name)} of {of} must {must}; got {fault.got}. It may be from another "
        "version of adnn_optuna; use another study_name."
    )


_FINDERS: dict[str, Finder] = {name: finder_of(kind) for name, kind in _TYPES.items()}
