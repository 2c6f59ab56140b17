"""The names and shapes of all that a study stores: JSON, which no later run rewrites."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

# User attributes of a study.
CONFIG = "adnn:config"  # The whole objective: model, dataset, training, space, metric, seed.
BASELINE = "adnn:baseline"  # The selection metric of the unmoved network, a number.
BASELINE_METRICS = "adnn:baseline_metrics"  # All `Metrics` of the unmoved network.
SEARCH = "adnn:search"  # How the study is searched: `SearchSettings`.
RUNS = "adnn:runs"  # What the names of its runs begin with, each a `RunRecord`.
TEST = "adnn:test"  # What the names of its looks at the test set begin with, each a `TestLook`.
# What the names of a winner's scores on the test examples begin with, and of what these belong to:
# texts of `engine/scores.py`. The trials of a confirmation have scores, too, as system attributes.
SCORES = "adnn:scores"
# In a comparison, what its winners' names begin with: what one gains on the test set over its
# unmoved network, both from one fresh seed.
REPEATED = "adnn:repeated"
GROUPS = "adnn:groups"
UNSEEDED = "adnn:unseeded"  # What the names of its winners begin with that no seed changes: true.
CONFIRMED = "adnn:confirmed"  # What the names of its confirmed winners begin with: `Confirmed`.
WEIGHTS = "adnn:weights"  # Of an ensemble's trials, the variables: system attributes, as `SCORES`.
COMPARISON = "adnn:comparison"  # Of the head of a comparison, what that is: `Declaration`.
EVALUATED = "adnn:evaluated"  # What the evaluations are of that its trials are, any JSON.
# Of any objective, what its best trial's number begins with, behind it how often it was evaluated
# afresh before: the value, if it came to one.
FRESH = "adnn:fresh"
STOP_REASON = "adnn:stop_reason"  # Why it ended: a limit's name, "exhausted" or "interrupted".
# The SHA-256 of the note for optuna-dashboard that was saved, to tell a user's own from it.
NOTE = "adnn:note"

# System attributes of a trial.
PROPOSAL = "adnn:proposal"  # Which of which sampler it is, and who runs it: `Proposal`.
OWNER = "adnn:owner"  # Who runs it, where its sampler does not say so: `Owner`.
CLAIM = "adnn:claim"  # /<run>: who was to begin it, while nobody has said more: `Owner`.
ENDED = "adnn:ended"  # Why it came to no value: `Ended`. Where it failed without, its worker died.

# User attributes of a trial, and of one whose model or training is a function of it BASELINE and
# BASELINE_METRICS, those of its own network unmoved, where it was the best one so far.
MADE = "adnn:made"  # What these functions made for it: `Made`.
OUTCOME = "adnn:outcome"  # What is known at its end beside state and value: `StoredOutcome`.

# The names of searchers, as studies store them.
GREEDY = "greedy"
GREEDY_IMPROVING = "greedy_improving"
ANNEALING = "annealing"
RANDOM_RESTART = "random_restart"
RANDOM = "random"
# The same compute, spent otherwise: what a comparison runs beside its searchers. The last is an
# objective of a user's own.
LONGER = "longer"
LEARNING_RATE = "learning_rate"
CONSTANT = "constant"
ENSEMBLE = "ensemble"
OBJECTIVE = "objective"

Metrics = dict[str, float]
"""``train_accuracy``, ``train_loss``, ``val_accuracy`` and ``val_loss`` after an epoch."""


Ended = Literal["diverged", "error", "interrupted"]
"""A trial failed as its training diverged, which was made even so, or by an error of its own.

Or it counts for nothing and its index is free, whatever its state: it was cut off, or repeats
another.
"""


class Config(TypedDict):
    """All that determines the values of an objective's trials.

    The ``behaviour`` is a sketch of what classes and functions of the user's compute, by parts.
    """

    model: dict[str, Any]
    dataset: dict[str, Any]
    training: dict[str, Any]
    space: dict[str, Any]
    metric: str
    seed: int
    direction: NotRequired[Literal["minimize", "maximize"]]
    behaviour: NotRequired[dict[str, list[float]]]


class Made(TypedDict):
    """What the user's functions made for a trial: of a Keras model the hash of its configuration.

    The ``behaviour`` is as in :class:`Config`.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    behaviour: NotRequired[dict[str, list[float]]]


class Trained(TypedDict):
    """The seconds of a trial's own training, and its epochs.

    Where a limit cut it off, ``whole`` is about how many seconds it would have taken, if known.
    """

    seconds: float
    epochs: int
    whole: NotRequired[float]


class StoredOutcome(TypedDict):
    """What a trial stores when it ends, all at once.

    ``elapsed`` is the study's working time in seconds: the largest time that the trial saw, plus
    its own duration. ``metrics`` are those after the last epoch.
    """

    elapsed: float
    trained: NotRequired[Trained]
    metrics: NotRequired[Metrics]


def elapsed_of(trial_attrs: Mapping[str, Any]) -> float | None:
    """Return the working time at a trial's end, by its user attributes; None if not stored."""
    elapsed: float | None = trial_attrs.get(OUTCOME, {}).get("elapsed")
    return elapsed


def trained_of(trial_attrs: Mapping[str, Any]) -> Trained | None:
    """Return how a trial was trained, by its user attributes; None if it was not."""
    trained: Trained | None = trial_attrs.get(OUTCOME, {}).get("trained")
    return trained


def metrics_of(trial_attrs: Mapping[str, Any]) -> Metrics:
    """Return the metrics at a trial's end, by its user attributes; empty if not stored."""
    metrics: Metrics = trial_attrs.get(OUTCOME, {}).get("metrics", {})
    return metrics


class Owner(TypedDict):
    """Which process runs a trial; ``trial`` is the number of that which this was written for.

    ``run`` is which run of that process, empty for trials that a user asks for.
    """

    trial: int
    host: str
    process: int
    start: str
    run: str


StoredStep = tuple[int | None, float]
"""The index of the trial that a step starts from (:obj:`None` for the origin), and its length."""


class Proposal(TypedDict):
    """Which proposal of which sampler a trial is, who runs it, and what it follows from.

    ``index`` is :obj:`None` for a trial with fixed parameters. The proposal follows from the
    trials that its worker saw finished: all with an id below ``before``, except the ids in
    ``unfinished``.
    ``n_pending`` others of the sampler were under way. ``step`` is only a walk's.
    """

    sampler: str
    index: int | None
    owner: Owner
    before: int
    unfinished: list[int]
    n_pending: int
    step: StoredStep | None


class SearchSettings(TypedDict):
    """How a study is searched; ``n_trials`` is what the searcher's schedule was made for.

    ``settings`` are those of a sampler that is none of ours by name, as far as it tells them.
    ``confirm`` is how often the best trial of a function is evaluated afresh. ``told`` is the user
    attribute in which the trials of a user's control say how good they are on the test set.
    """

    sampler: str
    n_trials: int | None
    batch_size: int
    settings: NotRequired[dict[str, Any]]
    confirm: NotRequired[int]
    told: NotRequired[str]


class Declaration(TypedDict):
    """What a comparison was declared to be: its seeds in their order, and whether it looks again.

    It looks again, and for good, where it stops once all is decided or got further seeds or arms
    later.
    ``arms`` are the names of all that it ever compared, by their labels; ``arguments`` the others
    that it was called with last.
    """

    seeds: list[int]
    looks_again: bool
    arms: dict[str, str]
    arguments: dict[str, Any]


class RunRecord(TypedDict):
    """One run of a study: when it began, under which limits, and why it ended (if it did)."""

    began: str
    sampler: str
    limits: dict[str, float | None]
    n_trials_before: int
    stop_reason: str | None
    n_trials: int | None


class TestLook(TypedDict):
    """One look at the test set: when, at which winner, after how many trials, what it showed.

    ``trial`` is the winner's number. ``baseline``, NaN where its training diverged, and ``best``
    are the metric of the selection on ``n_images`` samples, which are called ``unit``; ``metrics``
    are all metrics of the winner. If it is the accuracy, the winner alone gets ``won`` of them
    right, the unmoved network alone ``lost``; else ``standard_error`` is that of the gain.

    Of ``n_classes`` classes, the test set has the most samples, ``n_largest``, of the
    ``largest_class``. Where some repeat others or belong together, they count as ``n_groups``.
    """

    looked: str
    trial: int
    n_trials: int
    n_images: int
    unit: str
    baseline: float
    best: float
    metrics: Metrics
    won: NotRequired[int]
    lost: NotRequired[int]
    standard_error: NotRequired[float]
    n_classes: NotRequired[int]
    largest_class: NotRequired[str]
    n_largest: NotRequired[int]
    n_groups: NotRequired[float]


class Confirmed(TypedDict):
    """A winner that is confirmed: when that began, its trial, with which seeds, and which arms."""

    began: str
    trial: int
    seeds: list[int]
    arms: list[int]
