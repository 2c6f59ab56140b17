"""What is the best use of the compute of ten training runs?

The data are digits, Fashion-MNIST (2,000 images for training, 2,000 for validation) and two tables
of scikit-learn. The name of a case describes its training. For each seed, all uses start from the
same network and have the same data and compute. They are compared on the test set:

- ``random_restart``: the best of ten networks by validation score
- ``annealing``: a search of init offsets
- ``learning_rate``: ten learning rates, by TPE
- ``longer``: one training run with ten times the epochs, stopped at its best epoch
- ``ensemble``: the average of ten networks
- ``larger``: one network with ten times the weights (arXiv:2202.06985)

The results are written case by case, and an interrupted run continues.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import (
    Experiment,
    Results,
    differences_table,
    first_rows,
    judged,
    main,
    markdown_table,
)

import adnn_optuna as adnn
from adnn_optuna.networks.retraining import retrain

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLERS = ("annealing", "random_restart")
CONTROLS = ("learning_rate", "longer", "ensemble")
USES = ("random_restart", "annealing", "learning_rate", "longer", "ensemble", "larger")
# Each use against a single network, and averaging against each other use of all ten runs.
FAMILIES = (
    tuple((use, "single") for use in USES),
    tuple(
        ("ensemble", other) for other in ("random_restart", "learning_rate", "longer", "larger")
    ),
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The numbers of training runs, seeds and images.

    Args:
        trials: The number of training runs.
        seeds: The number of seeds.
        training_rows: The number of Fashion-MNIST's training images.
    """

    trials: int
    seeds: int
    training_rows: int


SETTINGS = {"full": Settings(10, 10, 2000), "quick": Settings(2, 2, 200)}


def fashion(rows: int) -> adnn.Dataset:
    dataset = first_rows(adnn.load_dataset("fashion_mnist"), rows)
    return dataclasses.replace(
        dataset, x_val=dataset.x_val[:rows], y_val=dataset.y_val[:rows], origin=None
    )


def digits(_: int) -> adnn.Dataset:
    return adnn.load_dataset("digits")


def breast_cancer(_: int) -> adnn.Dataset:
    from sklearn.datasets import load_breast_cancer

    return adnn.Dataset.from_arrays(*load_breast_cancer(return_X_y=True))


def diabetes(_: int) -> adnn.Dataset:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    # The learning rate suits standardised targets.
    return adnn.Dataset.from_arrays(x, (y - y.mean()) / y.std(), task="regression")


SGD = adnn.Training(optimizer="sgd", learning_rate=0.05, epochs=5)
ADAM = adnn.Training(optimizer="adam", learning_rate=0.001, epochs=20)
WIDE = dataclasses.replace(ADAM, batch_size=100)
# The data, hidden layers and training of each case.
CASES = {
    "digits, SGD, 5 epochs": (digits, (64, 64), SGD),
    "digits, Adam, 20 epochs": (digits, (64, 64), ADAM),
    "breast cancer, Adam, 20 epochs": (breast_cancer, (32,), ADAM),
    "diabetes (R²), Adam, 20 epochs": (diabetes, (32,), ADAM),
    "Fashion-MNIST, Adam, 5 epochs": (fashion, (128,), dataclasses.replace(WIDE, epochs=5)),
    "Fashion-MNIST, Adam, 20 epochs": (fashion, (128, 128), WIDE),
}


def larger(dataset: adnn.Dataset, hidden: tuple[int, ...], times: int) -> tuple[int, ...]:
    """Return hidden layers with about ``times`` as many weights, all wider by the same factor."""

    def n_weights(factor: float) -> float:
        ends = math.prod(dataset.x_train.shape[1:]), dataset.num_classes or 1
        sizes = [ends[0], *(factor * size for size in hidden), ends[1]]
        return sum((n + 1) * m for n, m in itertools.pairwise(sizes))

    factors = np.linspace(1, times, 1000)
    nearest = np.abs([n_weights(factor) - times * n_weights(1) for factor in factors]).argmin()
    return tuple(round(factors[nearest] * size) for size in hidden)


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Compare the uses in one case after another."""
    found: Results = {}
    for name, (load, hidden, training) in CASES.items():
        dataset = load(settings.training_rows)
        objective = adnn.InitOffsetObjective(adnn.MLP(hidden), dataset, training=training)
        with warnings.catch_warnings():
            # This study judges its own families of claims below.
            warnings.filterwarnings("ignore", ".* can decide nothing about")
            comparison = adnn.compare(
                objective,
                SAMPLERS,
                max_trial=settings.trials,
                seeds=range(settings.seeds),
                controls=CONTROLS,
                storage=storage,
                study_name=f"n_trainings/{name}",
                show_progress_bar=True,
            )
        wide = larger(dataset, hidden, settings.trials)
        other = adnn.InitOffsetObjective(adnn.MLP(wide), dataset, training=training)
        starts = [[other.replace(seed=seed).baseline_start] for seed in range(settings.seeds)]
        test = {
            "single": [one.test_baseline for one in comparison.results["ensemble"]],
            **{use: [one.test_value for one in of] for use, of in comparison.results.items()},
            "larger": [one.score for one in retrain(other.trainer, starts)],
        }
        found[name] = {"larger": wide, "test": test}
        yield {"cases": found}


def differences(results: Results) -> dict[str, Any]:
    """Return the judged differences of each case."""
    return {name: judged(case["test"], *FAMILIES) for name, case in results["cases"].items()}


def summary(results: Results) -> str:
    of_cases, rows = differences(results), []
    for name, case in results["cases"].items():
        means = [f"{100 * np.mean(case['test'][use]):.1f}" for use in ("single", *USES)]
        rows.append([name, *means])
    parts = [
        markdown_table(["test score [%]", "single", *USES], rows),
        differences_table(of_cases, FAMILIES[0]),
        differences_table(of_cases, FAMILIES[1]),
    ]
    if left := [name for name in CASES if name not in results["cases"]]:
        parts.append(f"Not run yet: {'; '.join(left)}.")
    return "\n\n".join(parts)


NAMES = {
    "longer": "one longer training run",
    "learning_rate": "another learning rate",
    "larger": "a larger network",
    "ensemble": "averaging",
    "annealing": "a search of init offsets",
    "random_restart": "the best of ten networks",
}


def advice(results: Results) -> str:
    """Return the numbers of cases in which each use gains, or averaging is better or worse."""
    of_cases = differences(results).values()
    head = [
        "use",
        "better than one network",
        "averaging is better",
        "averaging is worse",
    ]
    rows = []
    for use, name in NAMES.items():
        gains = [of_case[use, "single"].verdict for of_case in of_cases]
        averaged = [of_case.get(("ensemble", use)) for of_case in of_cases]
        verdicts = [difference.verdict for difference in averaged if difference]
        counts = [_share("better", gains), _share("better", verdicts), _share("worse", verdicts)]
        rows.append([name, *counts])
    return markdown_table(head, rows)


def _share(verdict: str, verdicts: list[str | None]) -> str:
    if not verdicts:
        return "not compared"
    return f"{verdicts.count(verdict)} of {len(verdicts)}"


EXPERIMENT = Experiment(
    *("n_trainings", lambda _: {}, summary, SETTINGS, run), claims=lambda _: []
)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
