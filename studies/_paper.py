"""The paper's six models, its Algorithm 1 on them, and the numbers that were published."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
from _common import Results, first_rows

import adnn_optuna as adnn
from adnn_optuna.samplers import DeltaStepSampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclasses.dataclass(frozen=True)
class Published:
    """The published numbers of one model: accuracies in %, gains in percentage points.

    Args:
        baseline: The accuracy of the baseline network in the paper's section 6.1.
        gain: The gain in the paper's section 6.2, RQ2.
        log_mean: The mean of the 10 baselines in the authors' logs.
        log_std: The standard deviation of these 10 baselines.
        log_gain: The mean of the best trials of the 10 logs, minus the mean of all 510 trials. A
            log has 51 trials.
    """

    baseline: float
    gain: float
    log_mean: float
    log_std: float
    log_gain: float


# The baselines and gains are the paper's. The other numbers were read from the authors' logs:
# github.com/rangeetpan/641, commit 6d1e2584dae0f52c42fe712a191483d57ab66e20 of 17 December 2019
# (no later commit changes them), Code and Results/Result/<MNIST or FMNIST>/<hidden layers>/
# Output_<mnist or fmnist>_Layer<hidden layers>_<δ>.txt. There are 60 files, one for each model and
# δ. A file's line "Actual Accuracy: …" is a baseline. Its lines "Trial 0 …" to "Trial 50 ADNN
# Accuracy: …" are the trials, as fractions. Standard deviations divide by n - 1.
PUBLISHED = {
    "MNIST-1": Published(88.6, 0.04, 88.60, 1.17, 1.28),
    "MNIST-2": Published(88.5, 4.02, 88.50, 1.27, 1.80),
    "MNIST-4": Published(87.2, 3.17, 87.22, 0.72, 1.53),
    "FMNIST-1": Published(81.5, 2.56, 81.53, 0.88, 1.35),
    "FMNIST-2": Published(81.6, 3.55, 81.65, 0.93, 1.77),
    "FMNIST-4": Published(80.2, 3.33, 80.26, 0.77, 1.63),
}

# Section 6.2, RQ1 and RQ2.
DELTAS = (0.002, 0.0025, 0.003, 0.0035, 0.004, 0.0045, 0.005, 0.0055, 0.006, 0.0065)
CHOSEN_DELTAS = (0.0025, 0.003)
TRIALS = 50


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of a training run of one of the six models.

    Args:
        rows: The number of training images, counted from the first one; :obj:`None` means all
            60,000.
        epochs: The number of epochs; 10 in the paper.
    """

    rows: int | None = None
    epochs: int = 10

    @property
    def name(self) -> str:
        """The part of a study's name that identifies the size."""
        return f"rows={self.rows or 'all'}/epochs={self.epochs}"

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are trained; for :data:`TINY`, only the first model."""
        return (*PUBLISHED,)[: 1 if self == TINY else None]


PAPERS = Size()
# A sixth of the images and a fifth of the epochs, if the paper's size takes too long.
SHORT = Size(rows=10_000, epochs=2)
# This size is only for test runs.
TINY = Size(rows=1_000, epochs=1)
TITLES = {
    PAPERS.name: "the paper's training: 60,000 images, 10 epochs",
    SHORT.name: "short training: 10,000 images, 2 epochs",
    TINY.name: "one to try it out: 1,000 images, 1 epoch",
}


def paper_objective(name: str, size: Size, *, seed: int = 0) -> adnn.InitOffsetObjective:
    """Return the objective of one of the six models, as in the paper except for its size."""
    model = adnn.PAPER_MODELS[name]
    return adnn.InitOffsetObjective(
        model,
        first_rows(adnn.load_dataset(model.dataset, validation_size=0), size.rows),
        training=dataclasses.replace(model.training, epochs=size.epochs),
        # Algorithm 1 has one offset for all layers. After 50 steps of the largest δ, it is 0.325.
        space=adnn.OffsetSpace(low=0.0, high=0.4, scope="shared"),
        metric=model.metric,
        seed=seed,
    )


@dataclasses.dataclass(frozen=True)
class WalkSettings:
    """The walks of Algorithm 1 that are computed.

    Args:
        sizes: The sizes of the training runs.
        deltas: The lengths of a step.
        trials: The steps of each walk.
    """

    sizes: Sequence[Size]
    deltas: Sequence[float]
    trials: int


def run_walks(settings: WalkSettings, storage: str) -> Iterator[Results]:
    """Walk by Algorithm 1 with each δ, from the same seeded network of each model.

    All scripts use the same studies, so each walk is computed once.

    Yields:
        ``{"walks": {size: {δ: {model: walk}}}}``. Each walk has ``baseline``, ``test_baseline``,
        ``test_best``, and the ``accuracy`` and ``seconds`` of each trial from step 1. Accuracies
        are fractions.
    """
    walks: Results = {}
    # The shallow models come first, because they take the least time.
    models = sorted(PUBLISHED, key=lambda name: len(adnn.PAPER_MODELS[name].hidden))
    for size, delta, name in itertools.product(settings.sizes, settings.deltas, models):
        if name not in size.models:
            continue
        result = adnn.search(
            paper_objective(name, size),
            DeltaStepSampler(deltas=(delta,), max_steps=settings.trials),
            storage=storage,
            study_name=f"{name}/{size.name}/delta={delta}",
            # The walk's first trial is the baseline.
            max_trial=settings.trials + 1,
            # The trials run one at a time, so they do not slow each other down.
            batch_size=1,
            show_progress_bar=True,
        )
        steps = result.record.done_trials[1:]
        found = walks.setdefault(size.name, {}).setdefault(str(delta), {})
        found[name] = {
            "baseline": result.baseline,
            "accuracy": [step.value for step in steps],
            "seconds": [step.duration.total_seconds() for step in steps],
            "test_baseline": result.test_baseline,
            "test_best": result.test_value,
        }
        yield {"walks": walks}


def by_model(found: Results) -> dict[str, dict[float, Results]]:
    """Return the walks of one size by model and δ, in the order of the paper and by size."""
    deltas = sorted(found, key=float)
    walks = {
        name: {float(delta): found[delta][name] for delta in deltas if name in found[delta]}
        for name in PUBLISHED
    }
    return {name: walk_at for name, walk_at in walks.items() if walk_at}


def gains(walk: Results) -> np.ndarray:
    """Return the gain of each step over the baseline, in percentage points."""
    return 100 * (np.array(walk["accuracy"]) - walk["baseline"])
