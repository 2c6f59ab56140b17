"""Comparisons: several searchers on the same networks, with paired seeds and the same budget."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import optuna
from optuna.pruners import MedianPruner
from optuna.storages import BaseStorage, InMemoryStorage

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import RANDOM_RESTART
from adnn_optuna._checks import WrongTypeError, WrongValueError, as_positive_int
from adnn_optuna.api.comparisons import Comparison
from adnn_optuna.api.search import SearchResult
from adnn_optuna.callbacks import (
    LimitValues,
    OtherLimits,
    callbacks_of,
    checked_limits,
    shows_limits,
)
from adnn_optuna.engine import studies
from adnn_optuna.engine.arms import CONTROLS, Searcher, check_searcher
from adnn_optuna.engine.execution import check_executor, run_studies
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.outcomes import FunctionObjective, with_seed
from adnn_optuna.engine.progress import progress_bar
from adnn_optuna.engine.records import SearchRecord, record_of
from adnn_optuna.engine.signals import interrupted_where_called, interruptible
from adnn_optuna.engine.storages import is_in_memory, open_storage, patiently, storage_url
from adnn_optuna.engine.studies import declaration_of, study_name_of
from adnn_optuna.evidence.declarations import (
    checked_seeds,
    declared,
    n_claims_of,
    store_declaration,
)
from adnn_optuna.evidence.paired_differences import EQUIVALENCE, check_equivalence
from adnn_optuna.networks.training import n_cores
from adnn_optuna.reporting.dashboard import save_notes

if TYPE_CHECKING:
    from tqdm.auto import tqdm

Control = str | Callable[..., float]
"""A name, or a user's own Optuna objective of a trial, or of a trial and the seed."""

_TRIALS_FOR_CONTROL = 10  # With fewer, a search of the learning rate is none.

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


@interrupted_where_called
@shows_limits
def compare(
    objective: InitOffsetObjective,
    samplers: Iterable[str] | Mapping[str, Searcher] = ("greedy", "annealing", "random_restart"),
    *,
    max_trial: int,
    seeds: Iterable[int] = range(10),
    controls: Iterable[str] | Mapping[str, Control] | None = None,
    stop_when_decided: bool = False,
    storage: str | BaseStorage | None = None,
    study_name: str = "compare",
    batch_size: int | Literal["auto"] = "auto",
    executor: futures.Executor | None = None,
    equivalence: float = EQUIVALENCE,
    show_progress_bar: bool = False,
    **limits: Unpack[OtherLimits],
) -> Comparison:
    """Compare searchers on the same networks: paired seeds, the same budget for each.

    All runs of one seed start from the same initial weights and see the same batches. Each is a
    study of its own, called ``<study_name>/<sampler>/seed=<seed>``; the study ``<study_name>``
    tells what is compared. Those that are stored already are continued. Random restarts are always
    compared: what they gain is what luck alone brings.
    Controls spend the same compute otherwise.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            comparison = adnn.compare(objective, max_trial=30, seeds=range(10))
            print(comparison)
            comparison.plot().show()

    Args:
        objective: What is searched; its seed is replaced by each of ``seeds``.
        samplers: Names of searchers, as those of search. Or a mapping from labels to what
            :func:`~adnn_optuna.search` takes.
        max_trial: The number of trials of each run.
        seeds: The seeds of the runs, in the order in which they count. A comparison that gets
            further ones, or further arms, later pays for having been looked at, with wider
            intervals; one that is called with fewer arms keeps those that it had.
        controls: What the same compute buys otherwise: ``"longer"`` (one training for the epochs
            of all trials, its best epoch), ``"learning_rate"`` (TPE over four decades around the
            given one, nothing moved), ``"constant"`` (one offset for all layers, on a grid),
            ``"ensemble"`` (``max_trial`` networks, nothing moved, their predictions averaged), or
            a mapping from labels to these or to Optuna objectives ``(trial)`` or ``(trial, seed)``
            that return the selection metric and set the trial's user attribute
            ``test_accuracy``. If :obj:`None`, the learning rate from 10 trials on, without
            ``max_gain``, which ends searches before their compute is spent.
        stop_when_decided: Whether to add seed after seed, as many at once as there are cores,
            only until every claim on the searchers is decided. ``max_time`` is then that of all
            runs, after which no seed is begun.
        storage: Where the studies are, see :func:`~adnn_optuna.search`.
        study_name: What the studies' names begin with.
        batch_size: How many trials of a run are proposed before any of them is told, as in search.
        executor: Who runs the comparison, one job for each run, such as a Dask cluster's
            ``client.get_executor()``, or a pool of spawned processes; its workers have to reach
            ``storage``. If :obj:`None`, it is this process, on all cores.
        equivalence: The difference of test accuracies, as a fraction, up to which two searchers
            are as good as each other.
        show_progress_bar: Whether to show a progress bar.
        **limits: Other limits of each run, each by the name of its callback's argument.

    Returns:
        The comparison.

    Raises:
        ValueError: If an argument is wrong, or a study of another objective or searcher exists.
        KeyboardInterrupt: If the user interrupts; all that was computed is stored, without a
            ``storage`` in a database in a temporary folder, whose URL is logged.
    """
    studies.check_objective(objective)
    studies.check_study_name(study_name)
    max_trial = as_positive_int("max_trial", max_trial)
    searchers = _labelled(samplers)
    # All are checked, whichever holds for a single run.
    given = checked_limits(max_trial=max_trial, **limits)
    others: dict[str, Any] = _checked_controls(controls, searchers, objective, given)
    arms: dict[str, Any] = {**searchers, **others}
    seeds = checked_seeds(seeds)
    check_equivalence(equivalence)
    of_run: LimitValues = {**given, "max_time": None} if stop_when_decided else given
    check_executor(executor, storage)

    def plan(label: str, seed: int) -> studies.Plan:
        of_seed, name = objective.replace(seed=seed), study_name_of(study_name, label, seed)
        # Samplers keep random state.
        arm = copy.deepcopy(arms[label])
        if label in others and callable(arm):
            own = FunctionObjective(arm, of_seed.direction, seed, told=("test_accuracy",))
            return studies.Plan(own, name, stored.OBJECTIVE, of_run, pruner=MedianPruner())
        return studies.Plan(of_seed, name, arm, of_run, batch_size)

    # What may be refused is, before anything is stored.
    names = {label: plan(label, seeds[0]).arm.name for label in arms}
    arguments = {
        **given,
        "batch_size": batch_size if isinstance(batch_size, str) else int(batch_size),
        "stop_when_decided": bool(stop_when_decided),
        "equivalence": float(equivalence),
    }
    n_trials = max_trial * len(arms) * len(seeds)
    with (
        interruptible() as stop,
        progress_bar(n_trials, show=show_progress_bar, unit="trial") as bar,
    ):
        opened = open_storage(storage)
        before = patiently(declaration_of, opened, study_name)
        declaration = declared(
            before,
            seeds,
            study_name=study_name,
            looks_again=stop_when_decided,
            n_claims=n_claims_of({**(before["arms"] if before else {}), **names}),
            arms=names,
            arguments=arguments,
        )
        at_once = n_cores() if stop_when_decided else len(seeds)
        results: dict[str, list[SearchRecord]] = {label: [] for label in arms}
        end = 0
        while True:
            part = seeds[end : end + at_once]
            end += len(part)
            plans = [plan(label, seed) for label in arms for seed in part]
            found = studies.open_studies(plans, opened)
            head = patiently(
                optuna.create_study,
                storage=opened,
                study_name=study_name,
                direction=objective.direction,
                load_if_exists=True,
            )
            store_declaration(head, declaration)
            try:
                run_studies(plans, found, stop=stop, bar=bar, executor=executor, storage=storage)
            except KeyboardInterrupt:
                _keep(opened, study_name)
                raise
            labels = [label for label in arms for _ in part]
            for label, planned, study in zip(labels, plans, found, strict=True):
                record, searched = record_of(study), planned.objective
                if isinstance(searched, InitOffsetObjective):
                    record = SearchResult(**vars(record), objective=searched)
                results[label].append(record)
            comparison = Comparison(results, seeds[:end], float(equivalence), declaration)
            if end == len(seeds) or (
                stop_when_decided and _is_over(comparison, study_name, given["max_time"], bar)
            ):
                break
    comparison = dataclasses.replace(comparison, like=studies.like_comparisons(head))
    save_notes([run for runs in results.values() for run in runs], comparison, head)
    return comparison


def _keep(storage: BaseStorage, study_name: str) -> None:
    """Copy what is in memory to a database, and say how to go on after an interrupt."""
    level, where, url = logging.INFO, "", storage_url(storage)
    if isinstance(storage, InMemoryStorage) or (url and is_in_memory(url)):
        url = f"sqlite:///{(Path(tempfile.mkdtemp(prefix='adnn-')) / 'compare.db').as_posix()}"
        level, where, to = logging.WARNING, f" in storage={url!r}", open_storage(url)
        for name in optuna.get_all_study_names(storage):
            if name == study_name or name.startswith(f"{study_name}/"):
                optuna.copy_study(from_study_name=name, from_storage=storage, to_storage=to)
    said = "Interrupted; all trials are kept%s. Compare again, with the same arguments, or resume."
    _logger.log(level, said, where)


def _is_over(
    comparison: Comparison, study_name: str, max_time: float | None, bar: tqdm[Any] | None
) -> bool:
    """Return whether all is decided or no time is left, and say how far it is."""
    n_claims = len(comparison.families[0])
    n_decided = n_claims - comparison.n_undecided
    said = f"{len(comparison.seeds)} seeds, {n_decided} of {n_claims} claims decided"
    if bar is not None:
        bar.set_postfix_str(said)
    _logger.info("%s: %s.", study_name, said)
    return n_decided == n_claims or comparison.seconds >= (max_time or math.inf)


def _checked_controls(
    controls: Iterable[str] | Mapping[str, Control] | None,
    searchers: Mapping[str, Searcher],
    objective: InitOffsetObjective,
    limits: LimitValues,
) -> dict[str, Control]:
    """Return the controls by their labels, by default the learning rate, where it is a number."""
    rate = stored.LEARNING_RATE
    early = [limit.reason for limit in callbacks_of(limits) if limit.ends_early]
    if controls is None:
        is_default = (limits["max_trial"] or 0) >= _TRIALS_FOR_CONTROL and not early
        has_rate = objective.fixed_learning_rate is not None
        return {rate: rate} if is_default and has_rate and rate not in searchers else {}
    found = _by_label("controls", controls)
    if found and early:
        raise WrongValueError(
            f"controls spend the compute of all trials, but {early[0]} ends searches before that; "
            "give one of the two."
        )
    for label, control in found.items():
        if label in searchers:
            raise WrongValueError(
                f"{label!r} is a label of samplers and of controls; use another."
            )
        if callable(control):
            with_seed(control)
        elif control not in CONTROLS:
            raise WrongValueError(
                f"controls has {control!r}, but it must be one of "
                f"{', '.join(map(repr, CONTROLS))}, or an Optuna objective by its label: "
                "controls={'label': objective}."
            )
    return found


def _labelled(samplers: Iterable[str] | Mapping[str, Searcher]) -> dict[str, Searcher]:
    searchers = _by_label("samplers", samplers)
    if not searchers:
        raise WrongValueError("samplers is empty, but there must be at least one to compare.")
    for searcher in searchers.values():
        check_searcher(searcher)
    has_control = RANDOM_RESTART in searchers.values()
    if RANDOM_RESTART in searchers and not has_control:
        raise WrongValueError(
            f"The label {RANDOM_RESTART!r} is that of the control, which is added to every "
            f"comparison: call {searchers[RANDOM_RESTART]!r} otherwise."
        )
    return searchers if has_control else {**searchers, RANDOM_RESTART: RANDOM_RESTART}


def _by_label(argument: str, given: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return searchers or controls by their labels, which are their names without others."""
    labels = None
    if not isinstance(given, str):
        with contextlib.suppress(TypeError):
            labels = [*given]
    if labels is None:
        raise WrongTypeError(
            f"{argument} must be a sequence of names or a mapping from labels, but it is "
            f"{given!r}: write {argument}=(..., ...)."
        )
    for label in labels:
        if not isinstance(label, str) or not label:
            raise WrongTypeError(
                f"{argument} holds {label!r}, which has no name: write {argument}={{'label': ..., "
                "...}, with labels that are strings and not empty."
            )
        if "/" in label:
            raise WrongValueError(
                f"The label {label!r} of {argument} has a slash, which parts the names of "
                "studies: use another character."
            )
    if len(set(labels)) < len(labels):
        raise WrongValueError(f"{argument} names one twice: {', '.join(labels)}.")
    return dict(given) if isinstance(given, Mapping) else dict(zip(labels, labels, strict=True))
