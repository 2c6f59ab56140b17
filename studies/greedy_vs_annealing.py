"""Six samplers on the paper's six models, with the same seeds and budget: gains on test images.

Unlike in the paper's experiments, a search selects on 10,000 validation images. Arms are compared
by the accuracy of their best trials on the 10,000 test images. Each hidden layer has one offset
for its weights and one for its biases, within ±0.2. Algorithm 1 sets all offsets to the same
value.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from _common import (
    COLORS,
    Claim,
    Experiment,
    Results,
    claims_on,
    differences_table,
    first_rows,
    how_often,
    interval,
    judged,
    main,
    markdown_table,
    mean_and_std,
    panel_of,
    panels,
)
from _paper import PUBLISHED, TINY, Size
from optuna.samplers import CmaEsSampler, TPESampler

import adnn_optuna as adnn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import plotly.graph_objects as go
    from optuna.samplers import BaseSampler

    from adnn_optuna.engine.arms import SamplerSpec
    from adnn_optuna.stats.paired_differences import PairedDifference


def tpe(seed: int, _: int | None) -> BaseSampler:
    return TPESampler(seed=seed)


def cma_es(seed: int, _: int | None) -> BaseSampler:
    # The first mean of CMA-ES is the centre of the space, which is the baseline network.
    return CmaEsSampler(seed=seed)


SAMPLERS: dict[str, SamplerSpec] = {
    "greedy": "greedy",
    "greedy_improving": "greedy_improving",
    "annealing": "annealing",
    "random_restart": "random_restart",
    "tpe": tpe,
    "cma_es": cma_es,
}
CLAIMS = claims_on(SAMPLERS)
ALL = "mean over the models"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The searches that are computed.

    Args:
        size: The size of the training runs; 10,000 of the 60,000 images are for validation.
        trials: The trials of each search.
        seeds: The number of seeds.
    """

    size: Size
    trials: int
    seeds: int


SETTINGS = {
    "full": Settings(Size(), trials=50, seeds=20),
    "reduced": Settings(Size(rows=10_000, epochs=1), trials=20, seeds=10),
    "quick": Settings(TINY, trials=2, seeds=2),
}


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Compare the samplers on one model after another, the shallow models first."""
    models: Results = {}
    for name in sorted(settings.size.models, key=lambda name: len(adnn.PAPER_MODELS[name].hidden)):
        model = adnn.PAPER_MODELS[name]
        comparison = adnn.compare(
            adnn.InitOffsetObjective(
                model,
                first_rows(adnn.load_dataset(model.dataset), settings.size.rows),
                training=dataclasses.replace(model.training, epochs=settings.size.epochs),
            ),
            SAMPLERS,
            max_trial=settings.trials,
            seeds=range(settings.seeds),
            storage=storage,
            study_name=f"greedy_vs_annealing/{name}/{settings.size.name}",
            # `paper_size.py` compares with other uses of the same compute.
            controls=(),
            show_progress_bar=True,
        )
        models[name] = {
            label: {
                "gain": [result.gain for result in results],
                "test": [result.test_value for result in results],
                "test_gain": [result.test_gain for result in results],
            }
            for label, results in comparison.results.items()
        }
        yield {"models": {name: models[name] for name in PUBLISHED if name in models}}


def figures(results: Results) -> dict[str, go.Figure]:
    models = results["models"]
    shown = panels(list(models), "Gain in test accuracy [pp]", "")
    n_first = 0
    for i, by_sampler in enumerate(models.values()):
        medians = {label: np.median(found["test_gain"]) for label, found in by_sampler.items()}
        n_first += max(medians, key=medians.__getitem__) == "random_restart"
        for j, (label, found) in enumerate(by_sampler.items()):
            shown.add_box(
                x=100 * np.array(found["test_gain"]),
                name=label,
                boxmean=True,
                marker={"color": COLORS[j], "size": 4},
                showlegend=False,
                **panel_of(i),
            )
        shown.add_vline(x=0, line={"color": "gray", "width": 1}, **panel_of(i))
        # Each row shows the samplers' names once, beside its first panel.
        shown.update_yaxes(showticklabels=i % 3 == 0, autorange="reversed", **panel_of(i))
    setting = results["setting"]
    shown.update_layout(
        title=f"Random restarts have the best median gain on {n_first} of {len(models)} models "
        f"({setting['trials']} trials, {setting['seeds']} seeds)",
        margin_l=140,
    )
    return {"": shown}


def verdicts(results: Results) -> dict[str, dict[tuple[str, str], PairedDifference]]:
    """Judge the claims on each model and on the mean over all models, paired by seed."""
    values = {
        name: {label: found["test"] for label, found in by_sampler.items()}
        for name, by_sampler in results["models"].items()
    }
    of_all = {
        label: np.mean([of_model[label] for of_model in values.values()], axis=0).tolist()
        for label in SAMPLERS
    }
    return {name: judged(v, CLAIMS) for name, v in {**values, ALL: of_all}.items()}


def pooled(results: Results) -> str:
    """Return the differences of the samplers from random restarts, over all models."""
    of_all, setting = verdicts(results)[ALL], results["setting"]
    greedy, annealing = (of_all[arm, "random_restart"] for arm in ("greedy", "annealing"))
    return (
        f"against random restarts, Algorithm 1 {interval(greedy)} pp ({greedy.verdict}), "
        f"annealing {interval(annealing)} pp ({annealing.verdict}); mean over "
        f"{len(results['models'])} models, {setting['seeds']} seeds, {setting['trials']} trials"
    )


def claims(results: Results) -> list[Claim]:
    by_model = verdicts(results)
    del by_model[ALL]
    found = {
        arm: [of_pair[arm, "random_restart"].verdict for of_pair in by_model.values()]
        for arm in ("greedy", "annealing")
    }
    greedy, annealing = map(how_often, found.values())
    return [
        Claim(
            "RQ2",
            "the search raises the accuracy of its models, in short training",
            f"short training, on test images: {pooled(results)}; model by model, Algorithm 1 is "
            f"{greedy} of them, annealing {annealing}",
            "not reproduced: no model is better than with random restarts"
            if "better" not in found["greedy"]
            else f"reproduced in {found['greedy'].count('better')} models",
        )
    ]


def summary(results: Results) -> str:
    gains = [
        [name, *(mean_and_std(found["test_gain"]) for found in by_sampler.values())]
        for name, by_sampler in results["models"].items()
    ]
    return (
        markdown_table(["model: test gain [pp]", *SAMPLERS], gains)
        + "\n\n"
        + differences_table(verdicts(results), CLAIMS)
    )


EXPERIMENT = Experiment(
    "greedy_vs_annealing", figures, summary, SETTINGS, run, claims, committed="reduced"
)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
