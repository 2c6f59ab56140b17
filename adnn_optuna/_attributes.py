"""The names and shapes of all that a study stores, beside what Optuna stores itself.

Everything is JSON. Nothing that a study stores is rewritten by a later run; what grows is a list.
"""

from __future__ import annotations

from typing import TypedDict

# User attributes of a study.
CONFIG = "adnn:config"
"""The objective's whole configuration: model, dataset, training, space, metric, seed."""
BASELINE = "adnn:baseline"
"""The selection metric of the unmoved network, a number."""
BASELINE_METRICS = "adnn:baseline_metrics"
"""All :data:`Metrics` of the unmoved network."""
SEARCH = "adnn:search"
"""How the study is searched: :class:`SearchSettings`."""
RUNS = "adnn:runs"
"""The list of its runs: :class:`RunRecord`."""
TEST = "adnn:test"
"""What the test set said: :class:`TestRecord`."""
STOP_REASON = "adnn:stop_reason"
"""Why the study ended: the name of a limit, ``"exhausted"`` or ``"interrupted"``."""
NOTE = "adnn:note"
"""The SHA-256 of the note for optuna-dashboard that was saved, to tell a user's own from it."""

# System attributes of a trial.
PROPOSAL = "adnn:proposal"
"""Which proposal of which sampler it is, and who runs it: :class:`Proposal`."""
OWNER = "adnn:owner"
"""Who runs it, where its sampler does not say so: :class:`Owner`."""
FAILED = "adnn:failed"
"""True where it failed by itself. Without it, a failed trial's worker died."""
INTERRUPTED = "adnn:interrupted"
"""True where it counts for nothing, whatever state it ended in: it was cut off, or repeated
another one. Its index is free again."""

# User attributes of a trial.
TRIAL_METRICS = "adnn:metrics"
"""All :data:`Metrics` at its end."""
DIVERGED = "adnn:diverged"
"""True where the training diverged: it failed, but it is a trial that was made."""
ELAPSED = "adnn:elapsed"
"""The study's working time in seconds when it ended: the largest such time that it saw when it
began, plus its own duration by its own clock."""

Metrics = dict[str, float]
"""``train_accuracy``, ``train_loss``, ``val_accuracy`` and ``val_loss`` after an epoch."""


class Owner(TypedDict):
    """Who runs a trial: a process, by its id and the time when it started.

    ``trial`` is the number of the trial that this was written for.
    """

    trial: int
    host: str
    process: int
    start: str


class Proposal(TypedDict):
    """Which proposal of which sampler a trial is, who runs it, and what it follows from.

    ``index`` is :obj:`None` for a trial with fixed parameters. The proposal follows from the
    trials that its worker saw finished: the first ``n_trials`` but for the ``unfinished`` ones.
    ``n_pending`` others of the sampler were under way. ``step`` is what a walk keeps of it: the
    number of the trial that it starts from (:obj:`None` for the origin) and its length.
    """

    sampler: str
    index: int | None
    owner: Owner
    n_trials: int
    unfinished: list[int]
    n_pending: int
    step: tuple[int | None, float] | None


class SearchSettings(TypedDict):
    """How a study is searched; it is written once.

    ``n_trials`` is the number of trials that the searcher's schedule was made for.
    """

    sampler: str
    n_trials: int | None
    batch_size: int


class RunRecord(TypedDict):
    """One run of a study: when it began, under which limits, and why it ended (if it did)."""

    began: str
    sampler: str
    max_time: float | None
    max_trial: int | None
    max_gain: float | None
    n_trials_before: int
    stop_reason: str | None
    n_trials: int | None


class TestRecord(TypedDict):
    """The test accuracies of baseline and winner."""

    trial: int
    baseline: float
    best: float
