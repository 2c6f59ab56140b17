"""The names and types of all attributes that a study stores as JSON, and their checks."""

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
"""An object in JSON, such as a configuration."""

# User attributes of a study.
CONFIG = "adnn:config"  # The objective: model, dataset, training, space, metric and seed.
BASELINE = "adnn:baseline"  # The selection metric of the baseline network, a number.
BASELINE_METRICS = "adnn:baseline_metrics"  # All `Metrics` of the baseline network.
SEARCH = "adnn:search"  # The settings of the search: `SearchSettings`.
RUNS = "adnn:runs"  # A prefix: a `RunRecord` for each run.
TEST = "adnn:test"  # A prefix: a `TestEvaluation` for each test-set evaluation.
TEST_ROWS = "adnn:test_rows"  # The fingerprint of the test samples, if there are any.
# Prefixes: the best trial's scores on the test examples, and the examples' groups, in the text
# form of `engine/example_scores.py`. The trials of a confirmation have scores as system
# attributes.
SCORES = "adnn:scores"
GROUPS = "adnn:groups"
EXAMPLE_GROUPS = "adnn:example_groups"  # A prefix: the groups of the validation examples.
UNSEEDED = "adnn:unseeded"  # A prefix: true if no seed changes the training of a best trial.
CONFIRMED = "adnn:confirmed"  # A prefix: `Confirmed`. The first one for each best trial counts.
COMPARISON = "adnn:comparison"  # `Declaration`, in the head of a comparison.
EVALUATED = "adnn:evaluated"  # The subject of the study's trials, any JSON.
# The name shows the kind of evaluations. The value has the settings of the last call, which are
# needed to read the evaluations.
RECHECK = "adnn:recheck"  # `RecheckSettings`.
MODELS = "adnn:models"  # `ModelsSettings`.
VARIANCE = "adnn:variance"  # `VarianceSettings`.
LOOP = "adnn:loop"  # `LoopSettings`, in a loop that keeps changes.
CODE = "adnn:code"  # The fingerprints of the evaluated functions, and the Python version.
# A prefix with a trial's number and a number of new seeds: `Planned`, the plan to confirm the
# trial.
PLANNED = "adnn:planned"
RESAMPLED = "adnn:resampled"  # The sizes of a split, if a function's seeds redraw splits.
FAILED = "adnn:failed"  # The value of a function's failed runs, from the last call.
STOP_REASON = "adnn:stop_reason"  # A limit's name, "exhausted", "stopped" or "interrupted".

# System attributes of a trial.
PROPOSAL = "adnn:proposal"  # The trial's sampler, index and owner: `Proposal`.
OWNER = "adnn:owner"  # The process that runs the trial, unless PROPOSAL has it: `Owner`.
CLAIM = "adnn:claim"  # A prefix with a run's name: `Owner`, a process that may begin the trial.
REPLICATE = "adnn:replicate"  # `Replicate`, if the trial is a replicate.
VIOLATED = "adnn:violated"  # True if an evaluation on a new seed violates a constraint.
CANDIDATE = "adnn:candidate"  # `StoredCandidate`, in each run of a loop's candidate.
# The reason why the trial has no value: `Ended`. If a failed trial has no reason, its worker may
# have died.
ENDED = "adnn:ended"

# If model or training is a function of the trial, each new best trial also has its own baseline
# network. The metrics of this network are stored as BASELINE and BASELINE_METRICS.
MADE = "adnn:made"  # The model and training that these functions returned: `Made`.
OUTCOME = "adnn:outcome"  # Stored at the trial's end, with state and value: `StoredOutcome`.

# The scores of validation examples: `ExampleScores`. If our loop runs the trial, they are in
# `OUTCOME`. The second name is a prefix for the remaining parts of long scores.
EXAMPLES = "adnn:examples"
EXAMPLE_PARTS = "adnn:example_parts"

# Names of samplers and of a control, as studies store them. Several modules use them.
GREEDY = "greedy"
GREEDY_IMPROVING = "greedy_improving"
ANNEALING = "annealing"
RANDOM_RESTART = "random_restart"
RANDOM = "random"
LEARNING_RATE = "learning_rate"


def _within(numbers: range) -> Finder:
    rule = f"a whole number from {numbers.start} to {numbers.stop - 1:.3g}"
    return finder(rule, numbers.__contains__)


TOO_MANY = 10**6  # Arguments such as numbers of new seeds must be below this.
# Whole numbers: numbers of trials and processes, seeds, and counts. The trials, arms and seeds of
# evaluations are parameters of Optuna trials, which must be below 2^31.
Number = Annotated[int, _within(range(2**63))]
Seed = Annotated[int, _within(range(2**256))]
Count = Annotated[int, _within(range(TOO_MANY))]
Size = Annotated[int, _within(range(1, TOO_LARGE))]
Parameter = Annotated[int, _within(range(2**31))]
RunCount = Annotated[int, _within(range(2, 101))]
StoredSizes = Annotated[list[Size], finder("two numbers", lambda sizes: len(sizes) == 2)] | None
BatchSize = Annotated[int, _within(range(1, TOO_MANY))]

Resampled = tuple[int, int]
"""The numbers of training and test examples of each split."""

Metrics = dict[str, float]
"""Metrics after an epoch, such as ``train_accuracy`` and ``val_loss``."""

Status = Literal["running", "complete", "pruned", "timeout", "stopped", "diverged"]
"""How a training run or a trial ended, or ``"running"``."""

Ended = Literal["diverged", "error", "interrupted"]
"""The reason why a trial has no value. An interrupted trial does not count as done."""


class DataConfig(TypedDict):
    """The dataset of an objective: its name, its fingerprint and its source."""

    name: str
    fingerprint: str
    source: NotRequired[str]
    path: NotRequired[str]
    task: NotRequired[str]
    duplicates: NotRequired[dict[str, Number]]


class Config(TypedDict):
    """The configuration of an objective, which determines the values of trials.

    ``behaviour`` has some numbers that the user's own code computes. They show whether this code
    has changed.
    """

    model: Json
    dataset: DataConfig
    training: Json
    space: Json
    metric: str
    seed: Seed
    direction: NotRequired[Literal["minimize", "maximize"]]
    behaviour: NotRequired[dict[str, list[float]]]


class Made(TypedDict):
    """The model and the training that the user's functions returned for a trial.

    Instead of a Keras model, the hash of its configuration is stored.
    """

    model: Json
    training: Json
    behaviour: NotRequired[dict[str, list[float]]]


class Trained(TypedDict):
    """The duration of a trial's training run in seconds, and its number of epochs."""

    seconds: float
    epochs: Number


class ExampleScores(TypedDict):
    """The scores of ``n`` examples, and a digest of their groups.

    ``scores`` is base64 of bits or of float32 numbers.
    """

    n: Size
    scores: str
    groups: NotRequired[str]


class StoredOutcome(TypedDict):
    """A trial's outcome, which is stored in one step.

    ``elapsed`` is the study's working time in seconds. It is the trial's duration plus the largest
    ``elapsed`` of trials that ended before this trial began. ``metrics`` are the metrics after the
    last epoch.
    """

    elapsed: NotRequired[float]
    trained: NotRequired[Trained]
    metrics: NotRequired[Metrics]
    examples: NotRequired[ExampleScores]


def outcome_of(trial_attrs: Attributes) -> StoredOutcome:
    """Return a trial's outcome from its user attributes, or {} if the trial has none."""
    return trial_attrs.get(OUTCOME, {})


def examples_of(trial_attrs: Attributes) -> ExampleScores | None:
    """Return a trial's scores of single examples from its user attributes, or None."""
    return outcome_of(trial_attrs).get("examples", trial_attrs.get(EXAMPLES))


class Owner(TypedDict):
    """The process that runs a trial. If the user called the sampler directly, ``run`` is empty."""

    trial: Number
    host: str
    process: Number
    start: str
    run: str


StoredStep = tuple[Number | None, float]
"""The index of the trial that a step starts from (:obj:`None` for the origin), and its length."""


class Proposal(TypedDict):
    """A sampler's proposal of a trial, the trial's owner, and the basis of the proposal.

    ``index`` is :obj:`None` for a trial with fixed parameters. The proposal is based on the trials
    that its worker saw as finished: all trials with an id below ``before``, except the ids in
    ``unfinished``. ``n_pending`` is the number of the sampler's other running trials. Only a walk
    has a ``step``. If this trial repeats an enqueued trial whose worker died, ``retries`` is that
    trial's number.
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
    """A replicate of a trial of the search.

    ``trial`` and ``index`` are the original trial's number and index. ``repetition`` counts its
    replicates from 1.
    """

    trial: Number
    index: Number | None
    repetition: Size


class SearchSettings(TypedDict):
    """The settings of a search. The sampler's schedule is for ``n_trials`` trials.

    The other keys are for functions. ``confirm`` is the number of new seeds for the best trial.
    ``replicate`` is the share of trials that are replicates. ``is_seeded`` says whether the
    function takes a seed. ``seed`` is the seed of the search, and ``n_jobs`` its number of
    threads.
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
"""The limits of a study. A key is the argument's name in the limit's callback, such as
``max_trial``.
"""


class Arguments(TypedDict, total=False):
    """The arguments of the last call of :func:`compare`, without seeds and arms."""

    limits: Limits
    batch_size: Size | Literal["auto"]
    stop_when_decided: bool
    margin: float | None
    confirm: Count
    resampled: list[Size] | None
    failed: float | None


class DeclaredArm(TypedDict):
    """An arm of a comparison: its name, and whether it is a control or may replicate."""

    name: str
    is_control: bool
    may_replicate: bool


class Declaration(TypedDict):
    """The declaration of a comparison: its seeds in their order, its arms and its design.

    A comparison is ``sequential`` if it stops once all claims are decided, or if it got further
    seeds or arms later. It stays sequential from then on. ``after_fixed`` says whether a
    sequential design continues a fixed design whose result was seen. ``arms`` maps labels to all
    arms that the comparison ever had.
    """

    seeds: list[Seed]
    sequential: bool
    after_fixed: bool
    arms: dict[str, DeclaredArm]
    arguments: Arguments


class RunRecord(TypedDict):
    """A run of a study: when it began, its limits, and why it ended.

    If a run has not ended, its ``stop_reason`` and ``n_trials`` are None.
    """

    began: str
    sampler: str
    limits: Limits
    stop_reason: str | None
    n_trials: Number | None


class TestComparison(TypedDict):
    """The comparison of the best network with its baseline network on the test set.

    ``baseline`` and ``best`` are the selection metric on ``n_images`` test samples. ``baseline``
    is NaN if its training diverged. ``unit`` is the word for a sample. For accuracy, ``won``
    counts the samples that only the best network classifies correctly, and ``lost`` those that
    only the baseline network does. Other metrics have the ``standard_error`` of the gain.
    ``n_groups`` is the number of independent samples, if some are equal or belong together.
    """

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


class TestEvaluation(TestComparison):
    """A test-set evaluation of the best trial ``trial``, after ``n_trials`` trials."""

    evaluated_at: str
    trial: Number
    n_trials: Number


class Confirmed(TypedDict):
    """A confirmation of a best trial: its seeds, its arms, and studies that made it earlier."""

    began: str
    trial: Parameter
    seeds: Annotated[list[Parameter], finder("a list of at least one", bool)]
    arms: Annotated[list[Parameter], finder("a list with 0", lambda arms: 0 in arms)]
    earlier: NotRequired[list[str]]


class Baseline(TypedDict):
    """The baseline of a rechecked trial: a trial of the study, or parameters.

    ``number`` identifies its evaluations. For a trial, it is the trial's number. For parameters,
    it is at least 2^30.
    """

    label: str
    number: Parameter
    value: float | None
    params: Json


class RecheckSettings(TypedDict):
    """A recheck of a study: its arguments, and the trials that it evaluates.

    ``baselines`` has the baseline (or None) for each of the ``candidates``. ``resampled`` has the
    numbers of training and test examples, if seeds redraw splits.
    """

    study: str
    top: Size
    choose: Size
    confirm: Count
    against: Parameter | Json | None
    failed: float | None
    resampled: StoredSizes
    is_deterministic: bool
    is_seeded: bool
    draws_data: bool
    candidates: Annotated[list[Parameter], finder("a list of at least one", bool)]
    baselines: list[Baseline | None]


class EvaluatedModels(TypedDict):
    """The configurations of the models and the data of a comparison of models."""

    models: dict[str, Json]
    dataset: NotRequired[DataConfig]


class ModelsSettings(TypedDict):
    """Settings of a comparison of models that its declaration does not contain."""

    margin: float | None
    failed: float | None
    resampled: StoredSizes
    sources: list[str]
    score: str
    n_train: Number
    n_test: Number


class VarianceSettings(TypedDict):
    """The settings of a measured variance.

    ``n`` is the number of runs, ``sources`` are the names of their seeds, and ``seed`` is the
    objective's seed.
    """

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
    """The numbers with which a loop's candidate is compared, stored by its runs.

    ``candidate`` is the number of the best version at that time. ``mean``, ``worst`` and ``n`` are
    of the best version's runs. Higher values are better. ``sd`` is the standard deviation of a
    run, with ``degrees`` degrees of freedom. To be kept, a candidate must gain a multiple of
    ``threshold`` times ``sd``.
    """

    candidate: Parameter
    mean: float
    worst: float
    n: Size
    sd: float
    degrees: Size
    threshold: float


class StoredCandidate(TypedDict):
    """A candidate of a loop: its label, the user's note, and the numbers it is compared with."""

    label: str
    note: str
    compared: Compared | None


class Planned(TypedDict):
    """The plan to confirm a best trial: the number of new seeds, and the trial's rank.

    ``is_raised`` says whether a later call increased the number of seeds. ``rank`` is the number
    of planned best trials directly after this trial was planned, including this trial. So the k-th
    planned trial has at least rank k. Before the trials are counted, ``rank`` is 0.
    """

    seeds: Count
    is_raised: bool
    rank: Count


def as_sizes(stored: list[int] | None) -> Resampled | None:
    """Return the sizes of splits as a tuple, which JSON does not have, or None without sizes."""
    if stored is None:
        return None
    n_train, n_test = stored
    return n_train, n_test


def planned_numbers(attrs: Attributes) -> set[str]:
    """Return the numbers of all trials for which a study plans new seeds."""
    return {name.split("/")[1] for name in attrs if name.startswith(f"{PLANNED}/")}


def planned_of(attrs: Attributes, number: int) -> Planned | None:
    """Return the plan of new seeds for a trial, by its number, or None without a plan.

    If the number of seeds is increased, the new plan is stored in addition to the first plan. So
    workers that plan at the same time do not overwrite each other's plans.
    """
    prefix = f"{PLANNED}/{number}/"
    plans: list[Planned] = [plan for name, plan in attrs.items() if name.startswith(prefix)]
    if not plans:
        return None
    n_seeds = max(plan["seeds"] for plan in plans)
    ranks = [plan["rank"] for plan in plans if plan["rank"]]
    rank = min(ranks, default=len(planned_numbers(attrs)))
    return {"seeds": n_seeds, "is_raised": len(plans) > 1, "rank": rank}


NEW_SEED_NAMES = ("trial", "seed")
"""The names of the two numbers that identify an evaluation on a new seed."""


def confirmation_name(study_name: str) -> str:
    """Return the name of the study that evaluates best trials on new seeds."""
    return f"{study_name}/confirmation"


def runs_of(attrs: Attributes) -> list[RunRecord]:
    """Return the stored runs of a study in chronological order."""
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


# The types of attributes by name. If a name has a slash, only the part before it is used.
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
    RESAMPLED: StoredSizes,
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
    """Return the name and the fault of the first attribute with a wrong type, or None."""
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
    """Raise an error if an attribute of a study has a wrong type."""
    faulty = first_fault(attrs)
    if faulty is not None:
        name, fault = faulty
        raise malformed(name, f"study {study_name!r}", fault)


# Trials that have been checked, by the ids of their objects in Python. Storages replace these
# objects and never change them.
_checked_trials: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def check_trial(trial: Any, study: Any) -> None:
    """Raise an error if an attribute of a trial has a wrong type, or a value is not a number."""
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
    """Return the user attributes and the trials of a study. Raise an error for a wrong type.

    The trials are read before the attributes, because trials need attributes that were stored
    before they ended.
    """
    trials = study.get_trials(deepcopy=False)
    attrs: Attributes = study.user_attrs
    check(study.study_name, attrs)
    for trial in trials:
        check_trial(trial, study)
    return attrs, trials


def subject_of(study: Any, kind: Any) -> Any:
    """Return the subject of a study's trials. Raise an error if its type is wrong."""
    subject = study.user_attrs.get(EVALUATED)
    if (fault := finder_of(kind)(subject)) is not None:
        raise malformed(EVALUATED, f"study {study.study_name!r}", fault)
    return subject


def malformed(name: str, of: str, fault: Fault) -> WrongValueError:
    """Return the error for an attribute with a fault. ``of`` names the study or trial."""
    must = f"be {fault.rule}"
    if fault.part:
        must = f"have {fault.rule} in {shown(fault.part)}"
    return WrongValueError(
        f"Attribute {shown(name)} of {of} must {must}; got {fault.got}. It may be from another "
        "version of adnn_optuna; use another study_name."
    )


_FINDERS: dict[str, Finder] = {name: finder_of(kind) for name, kind in _TYPES.items()}
