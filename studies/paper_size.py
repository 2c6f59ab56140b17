"""The paper's size at last: does a search beat luck, and what does the same compute buy otherwise?

The six models in the paper's training (60,000 images, of which 10,000 are for validation; 10
epochs). Each arm of a seed has the same initial weights, batches and compute: Algorithm 1,
simulated annealing, random restarts, a search of the learning rate with nothing moved, and one
training for the epochs of all trials. What is compared is the accuracy of each arm's choice on
the 10,000 test
images.

The results are written seed by seed, and a run goes on after the seeds that are committed.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING

import numpy as np
from _common import (
    COLORS,
    Claim,
    Experiment,
    Results,
    first_rows,
    interval,
    main,
    markdown_table,
    mean_and_std,
    panel_of,
    panels,
)
from _paper import PAPERS, PUBLISHED, Size

import adnn_optuna as adnn
from adnn_optuna.evidence.paired_differences import EQUIVALENCE, paired_differences

if TYPE_CHECKING:
    from collections.abc import Iterator

    import plotly.graph_objects as go

    from adnn_optuna.evidence.paired_differences import PairedDifference

SEARCHERS = ("greedy", "annealing", "random_restart")
CONTROLS = ("learning_rate", "longer")
# The claims: both families of a comparison, see `Comparison.families`.
OF_SEARCHERS = (
    ("greedy", "random_restart"),
    ("annealing", "random_restart"),
    ("greedy", "annealing"),
)
OF_CONTROLS = tuple((arm, control) for arm in SEARCHERS for control in CONTROLS)
# Those with four hidden layers first, as the paper claims most of them.
MODELS = ("MNIST-4", "FMNIST-4", "MNIST-1", "FMNIST-1", "MNIST-2", "FMNIST-2")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is computed.

    Args:
        size: The size of the trainings.
        trials: The trials of each search.
        seeds: The number of seeds that are planned.
        models: The models, in the order in which they are computed.
    """

    size: Size
    trials: int
    seeds: int
    models: tuple[str, ...] = MODELS


SETTINGS = {
    "full": Settings(PAPERS, trials=20, seeds=10),
    "quick": Settings(Size(rows=2_000, epochs=1), trials=4, seeds=2, models=MODELS[:2]),
}


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Compare on one model after the other, seed by seed."""
    is_full = settings == SETTINGS["full"]
    models: Results = EXPERIMENT.load()["models"] if is_full else {}
    for name in settings.models:
        model = adnn.PAPER_MODELS[name]
        objective = adnn.InitOffsetObjective(
            model,
            first_rows(adnn.load_dataset(model.dataset), settings.size.rows),
            training=dataclasses.replace(model.training, epochs=settings.size.epochs),
        )
        found = models.setdefault(name, {})
        for seed in range(settings.seeds):
            if str(seed) in found:
                continue
            with warnings.catch_warnings():
                # The seeds are judged together, not one by one.
                warnings.filterwarnings("ignore", message=".* can decide nothing")
                comparison = adnn.compare(
                    objective,
                    SEARCHERS,
                    max_trial=settings.trials,
                    seeds=[seed],
                    controls=CONTROLS,
                    storage=storage,
                    study_name=f"paper_size/{name}/{settings.size.name}/{seed}",
                    show_progress_bar=True,
                )
            found[str(seed)] = {
                label: {
                    "best": result.best_value,
                    "test": result.test_value,
                    "test_baseline": result.test_baseline,
                    "params": result.best.params if result.best else {},
                }
                for label, [result] in comparison.results.items()
            }
            yield {"models": models}


def values(results: Results, name: str) -> dict[str, list[float]]:
    """Return the test accuracies of each arm, and of the unmoved network, by seed."""
    found = results["models"][name]
    # Only the unbroken row of seeds from the first one on counts.
    seeds = [str(seed) for seed in range(results["setting"]["seeds"])]
    known = seeds[: [*(seed in found for seed in seeds), False].index(False)]
    of_arm = {a: [found[s][a]["test"] for s in known] for a in (*SEARCHERS, *CONTROLS)}
    return {"unmoved": [found[s]["greedy"]["test_baseline"] for s in known], **of_arm}


def judged(results: Results, name: str) -> dict[tuple[str, str], PairedDifference]:
    """Return the differences of both families; they are claims once all seeds are done."""
    found = values(results, name)
    arms = {label: found[label] for label in ("greedy", "annealing", "random_restart", *CONTROLS)}
    rows = []
    for claims_ in (OF_SEARCHERS, OF_CONTROLS):
        rows += paired_differences(arms, equivalence=EQUIVALENCE, claims=claims_)
    return {(row.arm, row.other): row for row in rows if row.verdict is not None}


def is_done(results: Results, name: str) -> bool:
    """Return whether all planned seeds of a model are there."""
    return len(values(results, name)["unmoved"]) == results["setting"]["seeds"]


def models_of(results: Results) -> list[str]:
    """Return the models of which there is anything, in the paper's order."""
    return [name for name in PUBLISHED if values_or_none(results, name)]


def values_or_none(results: Results, name: str) -> list[float]:
    """Return the unmoved network's accuracies of a model, which may not have been begun."""
    return values(results, name)["unmoved"] if name in results["models"] else []


def figures(results: Results) -> dict[str, go.Figure]:
    names = models_of(results)
    shown = panels(names, "", "Gain in test accuracy [pp]", columns=2)
    for i, name in enumerate(names):
        found = values(results, name)
        for j, label in enumerate((*SEARCHERS, *CONTROLS)):
            shown.add_box(
                y=100 * (np.array(found[label]) - found["unmoved"]),
                name=label,
                boxpoints="all",
                boxmean=True,
                marker={"color": COLORS[j], "size": 5},
                showlegend=False,
                **panel_of(i, columns=2),
            )
        shown.add_hline(y=0, line={"color": "gray", "width": 1}, **panel_of(i, columns=2))
    shown.update_layout(
        title="What the same compute gains on the test images, in the paper's training",
        margin_b=130,
    )
    return {"": shown}


def pooled(results: Results) -> dict[tuple[str, str], PairedDifference]:
    """Compare the means over all models, paired by seed: one statement for all of them."""
    names = [name for name in models_of(results) if is_done(results, name)]
    if not names:
        return {}
    of_models = [values(results, name) for name in names]
    means = {a: np.mean([v[a] for v in of_models], axis=0).tolist() for a in SEARCHERS}
    rows = paired_differences(means, equivalence=EQUIVALENCE, claims=OF_SEARCHERS)
    return {(row.arm, row.other): row for row in rows if row.verdict is not None}


def claims(results: Results) -> list[Claim]:
    rows = []
    for name in models_of(results):
        of_pair, n_seeds = judged(results, name), len(values(results, name)["unmoved"])
        greedy, annealing, _ = (of_pair[pair] for pair in OF_SEARCHERS)
        rate = of_pair["random_restart", "learning_rate"]
        planned = results["setting"]["seeds"]
        rows.append(
            Claim(
                "RQ2",
                f"the search raises the accuracy of {name}",
                f"the paper's training, {n_seeds} paired seeds, test images: Algorithm 1 "
                f"{100 * greedy.mean:+.2f} pp and annealing {100 * annealing.mean:+.2f} pp over "
                "random restarts; the learning rate, for the same compute, "
                f"{-100 * rate.mean:+.2f} pp",
                f"Algorithm 1 is {greedy.verdict}, annealing {annealing.verdict}"
                if is_done(results, name)
                else f"open: {n_seeds} of {planned} planned seeds are done",
            )
        )
    return rows


def summary(results: Results) -> str:
    names, setting = models_of(results), results["setting"]
    arms = (*SEARCHERS, *CONTROLS)
    gains, differences = [], []
    for name in names:
        found, of_pair = values(results, name), judged(results, name)
        unmoved = np.array(found["unmoved"])
        several = len(unmoved) > 1
        gains.append(
            [
                name,
                f"{len(unmoved)} of {setting['seeds']}",
                f"{100 * unmoved.mean():.2f}",
                *(
                    mean_and_std(found[arm] - unmoved)
                    if several
                    else f"{100 * (found[arm] - unmoved)[0]:+.2f}"
                    for arm in arms
                ),
            ]
        )
        differences += [
            [
                f"{name}: {arm} − {other}",
                interval(d) if is_done(results, name) else f"{100 * d.mean:+.2f}",
                d.verdict if is_done(results, name) else "open",
            ]
            for (arm, other), d in of_pair.items()
        ]
    missing = [name for name in PUBLISHED if name not in names]
    parts = [
        markdown_table(["model: test gain [pp]", "seeds", "unmoved [%]", *arms], gains),
        markdown_table(
            ["difference in test accuracy [pp]", "mean (interval)", "verdict"], differences
        ),
    ]
    if of_all := pooled(results):
        parts.append(
            markdown_table(
                ["mean over the models that are done [pp]", "mean (interval)", "verdict"],
                [[f"{a} − {b}", interval(d), str(d.verdict)] for (a, b), d in of_all.items()],
            )
        )
    if missing:
        parts.append(f"Not run yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


EXPERIMENT = Experiment("paper_size", figures, summary, SETTINGS, run, claims)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
