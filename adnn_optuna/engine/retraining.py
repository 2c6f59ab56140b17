"""Baseline and winner trained again, and tested."""

import dataclasses
import functools
import itertools
import json
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import numpy as np

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Metrics
from adnn_optuna._checks import logger
from adnn_optuna.engine.controls import EnsembleObjective
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.progress import Bar
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.scores import as_attributes, effective_number, variance_of_mean
from adnn_optuna.engine.storages import with_retry
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.predictors import Average
from adnn_optuna.networks.training import Trainer, TrainingRun, is_finite


class Retrained(NamedTuple):
    """A training run's metrics, those of the test set included, its weights and test scores.

    The scores are those of the test examples, see :meth:`Scores.tested`; ``judge`` is the metric
    that they are of, without a split.
    """

    metrics: Metrics
    weights: list[np.ndarray]
    scores: np.ndarray
    judge: str

    @property
    def score(self) -> float:
        """The metric of the test set that the network is judged by."""
        return self.metrics[f"test_{self.judge}"]

    def as_attributes(self, name: str) -> dict[str, str]:
        """Return the scores as attributes of this name, but for the accuracy's in float32."""
        is_right = self.scores.dtype == bool
        return as_attributes(name, self.scores if is_right else self.scores.astype(np.float32))


Record = TypeVar("Record", bound=SearchRecord)


def with_stored(record: Record, values: Mapping[str, Any]) -> Record:
    """Store attributes in the study of a record, and return the record with them."""
    for name, value in values.items():
        with_retry(record.study.set_user_attr, name, value)
    return changed(record, attrs={**record.attrs, **values})


def refreshed(record: Record, *kinds: str) -> Record:
    """Return a record with what its study tells now in attributes of these kinds."""
    attrs, _ = with_retry(stored.read_study, record.study)
    news = {name: value for name, value in attrs.items() if name.partition("/")[0] in kinds}
    return changed(record, attrs={**record.attrs, **news})


def changed(record: Record, **parts: Any) -> Record:
    """Return a record with other parts."""
    return dataclasses.replace(record, **parts, known={})


def evaluate_test_set(
    record: Record, objective: InitOffsetObjective, stop: threading.Event
) -> Record:
    """Look at the test set: store how good baseline and winner of a study are on it.

    Both are trained again for it, unless the winner was looked at before. Without further trials
    it is no new look.
    """
    best = record.best
    if best is None:
        return record
    # Others may have looked since the record was read.
    record = refreshed(record, stored.TEST, stored.SCORES, stored.GROUPS)
    n_trials = len(record.done_trials)
    look: Any = record.test_evaluation
    attrs: dict[str, Any] = {}
    if look is None:
        of_winner, _, runs = retrain_best_trial(record, objective, stop)
        look = {**compared_on_test_set(of_winner, *runs), "trial": best.number}
        attrs |= runs[1].as_attributes(f"{stored.SCORES}/{best.number}")
        if "n_groups" in look:
            attrs |= as_attributes(stored.GROUPS, of_winner.dataset.test_groups)
    elif look["n_trials"] == n_trials:
        return record
    now = datetime.now(UTC).isoformat()
    look = {**look, "looked": now, "n_trials": n_trials}
    # The look is last: with it, all is known.
    return with_stored(record, {**attrs, f"{stored.TEST}/{now}-{os.getpid()}": look})


def retrain_best_trial(
    record: SearchRecord, objective: InitOffsetObjective, stop: threading.Event | None = None
) -> tuple[InitOffsetObjective, list[list[Start]], list[Retrained]]:
    """Train baseline and winner of a search again; warn where they come out differently.

    Return the winner's objective, what both were trained from, and what came of them.
    """
    assert record.best is not None, "There is a winner."
    objective, params = objective.as_trained(record.best), record.best.params
    starts, trainer = [objective.starts({}), objective.starts(params)], objective.trainer
    known = objective.take_tested(params) if isinstance(objective, EnsembleObjective) else None
    if known is not None:
        runs = [_tested(trainer, one) for one in known]
    else:
        runs = [*retrain(trainer, starts, stop)]
    told = record.baseline_metrics, stored.metrics_of(record.best.user_attrs)
    before = [{**run.metrics, **metrics} for run, metrics in zip(runs, told, strict=True)]
    # As text, for the NaN of a baseline that diverged does not equal itself.
    if json.dumps(before) != json.dumps([run.metrics for run in runs]):
        logger.warning(
            "Trained again, baseline or best trial of study %r came out differently: its trials "
            "were trained on another machine, or with other versions or threads.",
            record.study.study_name,
        )
    return objective, starts, runs


def compared_on_test_set(
    objective: InitOffsetObjective, baseline: Retrained, winner: Retrained
) -> stored.TestEvaluation:
    """Return what a look at the test set shows of two trainings."""
    n_classes, data = objective.trainer.architecture.head.num_classes, objective.dataset
    differences, prefix = winner.scores.astype(float) - baseline.scores, "test_"
    of_test = {n.removeprefix(prefix): v for n, v in winner.metrics.items() if prefix in n[:5]}
    look: stored.TestEvaluation = {
        "looked": "",
        "trial": 0,
        "n_trials": 0,
        "n_images": len(differences),
        "unit": data.unit,
        "baseline": baseline.score if is_finite(baseline.metrics) else math.nan,
        "best": winner.score,
        "metrics": of_test,
    }
    if data.test_groups.max() + 1 < len(differences):
        look["n_groups"] = effective_number(data.test_groups)
    if winner.judge == "accuracy":
        look["won"] = int((differences > 0).sum())
        look["lost"] = int((differences < 0).sum())
    else:
        look["standard_error"] = math.sqrt(variance_of_mean(differences, data.test_groups))
    if n_classes is not None:
        sizes = np.bincount(data.y_test, minlength=n_classes)
        largest = int(sizes.argmax())
        look["n_classes"] = n_classes
        look["largest_class"] = str((data.classes or range(n_classes))[largest])
        look["n_largest"] = int(sizes[largest])
    return look


def retrain(
    trainer: Trainer,
    starts: Sequence[Start | Sequence[Start]],
    stop: threading.Event | None = None,
    bar: Bar | None = None,
) -> Iterator[Retrained]:
    """Train from each of ``starts``, to save memory only one on each core at a time.

    Several in the place of one are averaged: the metrics are those of their average, without those
    that diverged, and the weights those of all others, one network's after the other's. A ``bar``
    gets so many more to do, and counts them. Where ``stop`` is set, it raises KeyboardInterrupt.
    """
    groups = [[one] if isinstance(one, Start) else one for one in starts]
    runs = trainer.train_in_turn([*itertools.chain(*groups)], stop=stop)
    splits = ["train", "val"] if len(trainer.dataset.y_val) else ["train"]
    if bar is not None:
        bar.total = (bar.total or 0) + len(groups)
    for group in groups:
        of_group = [next(runs) for _ in group]
        if bar is not None:
            bar.update()
        if not all(run.history for run in of_group):
            raise KeyboardInterrupt
        kept = [run for run in of_group if is_finite(run.metrics)]
        if len(group) == 1 or not kept:
            yield _tested(trainer, of_group[0])
            continue
        average = Average(trainer, splits)
        for run in kept:
            average.add(run.weights or [])
        weights = [array for run in kept for array in run.weights or []]
        yield _tested(trainer, average)._replace(weights=weights)


def _tested(trainer: Trainer, of: TrainingRun | Average) -> Retrained:
    """Return what a training run, or an average of several, reaches, also on the test set."""
    if isinstance(of, Average):
        weights, (metrics, scores) = [], of.tested()
    else:
        weights = of.weights or []
        metrics, scores = trainer.tested(weights)
    return Retrained(of.metrics | metrics, weights, scores, trainer.judge)


def gains_of(objective: InitOffsetObjective, runs: Sequence[Retrained]) -> list[float]:
    """Return the test gains by the training runs of baseline and winner by turns."""
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [objective.improvement(winner.score, baseline.score) for baseline, winner in pairs]


def random_sources(trainer: Trainer) -> tuple[str, ...]:
    """Return what is random in a training: initialisation, order of the batches, split."""
    sources = {
        "initialisation": trainer.architecture.depends_on_seed,
        "order": trainer.training.shuffle,
        "split": bool(trainer.dataset.drawn),
    }
    return tuple(source for source, is_source in sources.items() if is_source)


def not_redrawn(trainer: Trainer) -> tuple[str, ...]:
    """Return what stays the same in all runs, though it could be random, in words."""
    data, random = trainer.dataset, random_sources(trainer)
    names = {"initialisation": "the initial weights", "order": "the order of the batches"}
    splits = {"val": "the validation split", "test": "the test split"}
    stay = [name for source, name in names.items() if source not in random]
    stay += [name for split, name in splits.items() if split not in data.drawn]
    if data.drawn and data.preprocessing.others is not None:
        stay.append("the categories that count as rare")
    return tuple(stay)


def is_random(objective: InitOffsetObjective) -> bool:
    """Return whether another seed gives another network."""
    return not {"initialisation", "order"}.isdisjoint(random_sources(objective.trainer))


def note_randomness(record: Record, objective: InitOffsetObjective) -> Record:
    """Store that no seed changes the winner's training, where that is so."""
    if record.best is not None and not is_random(objective.of(record.best.params)):
        return with_stored(record, {f"{stored.UNSEEDED}/{record.best.number}": True})
    return record


class Redrawing:
    """Trains unmoved networks with their sources of randomness drawn afresh, each by a seed."""

    def __init__(self, dataset: Dataset) -> None:
        # A split serves several runs; more of them would hold the data as many times.
        self._split = functools.lru_cache(maxsize=2)(dataset.redrawn)

    def train(
        self,
        trainer: Trainer,
        seed: int,
        *,
        initialisation: int | None = None,
        order: int | None = None,
        split: int | None = None,
        stop: threading.Event | None = None,
    ) -> Retrained:
        """Train once; what has no seed of its own is as of ``seed``, or as the data are split."""
        offsets = (0.0,) * len(trainer.architecture.variables)
        initialisation = seed if initialisation is None else initialisation
        start = Start(initialisation, 0, offsets, order_seed=seed if order is None else order)
        if split is not None:
            data = self._split(split)
            trainer = Trainer(trainer.architecture, trainer.training, data, trainer.judge)
        [run] = retrain(trainer, [start], stop)
        return run
