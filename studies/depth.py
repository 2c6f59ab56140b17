"""One planned claim on depth: does Algorithm 1 help the paper's models of four hidden layers?

In `paper_size.py`, Algorithm 1 was better than random restarts in the two models with four hidden
layers, and worse in the shallower models. This was noticed after the runs, so it is not evidence.
This study makes one planned claim on new seeds. ``DECLARATION`` was committed before the first
training run.

The setting is the same as in `paper_size.py`. The results are written seed by seed, and the same
command continues them, trial by trial. Two processes may share the work: one has ``--models
MNIST-4``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import plotly.graph_objects as go
from _common import COLORS, Claim, Experiment, Results, main, markdown_table, mean_and_std
from _paper import PAPERS, TINY, TRIALS
from paper_size import BASELINE, FIRST, Settings, of_units, run_units

import adnn_optuna as adnn
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

DECLARATION = """\
Declared on 2026-11-30, before the first training run.
Models: MNIST-4 and FMNIST-4, trained as in the paper (60,000 images, 10 epochs).
Arms: Algorithm 1 and random restarts, 50 trials each beside the shared baseline network, as in \
paper_size.py: selection by the accuracy on the training images, one step δ for each seed, 0.0025 \
for even seeds and 0.003 for odd ones.
Seeds: 30 to 37, all of them new.
One claim: the accuracy of the best networks on the 10,000 test images, averaged over both \
models, is higher with Algorithm 1 than with random restarts. Fixed design of eight pairs, 95% CI \
by adnn_optuna.compare_values; the claim holds if the verdict is "better".
Without a claim: the gain of Algorithm 1's best trials over their baseline networks from one new \
seed each; and, if the claim holds, the same compute spent on the learning rate (TPE, 50 trials, \
the same seeds).
Nothing is evaluated before all seeds are complete, and no seed is left out."""

ARMS = ("greedy", "random_restart")
LABELS = {"greedy": "Algorithm 1", "random_restart": "random restarts"}
SETTINGS = {
    "full": Settings(PAPERS, TRIALS, tuple(range(30, 38)), FIRST),
    "quick": Settings(TINY, trials=2, seeds=(30, 31), models=FIRST),
}


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Declare the claim in the storage, then run seed after seed."""
    name = f"{EXPERIMENT.name}/declaration"
    declared = optuna.create_study(
        storage=open_storage(storage), study_name=name, load_if_exists=True
    )
    declared.set_user_attr("declaration", DECLARATION)
    is_known = settings.size == PAPERS and EXPERIMENT.results_file.exists()
    known: Results = EXPERIMENT.load() if is_known else {"models": {}}
    for results in run_units(EXPERIMENT.name, ARMS, settings, storage, known):
        yield {**results, "declaration": DECLARATION, "test": test_accuracies(results["models"])}


def test_accuracies(models: Results) -> dict[str, dict[str, float]]:
    """Return the test accuracy of each arm, averaged over both models, by seed.

    Only seeds that are complete in both models are included. :func:`adnn_optuna.compare_values`
    accepts the result.
    """
    of_models = [models.get(name, {}) for name in FIRST]
    seeds = [seed for seed in of_models[0] if all(seed in of for of in of_models)]
    return {
        label: {
            seed: float(np.mean([of[seed][arm]["test"] for of in of_models])) for seed in seeds
        }
        for arm, label in LABELS.items()
    }


def is_done(results: Results) -> bool:
    """Return whether all planned seeds are complete."""
    return n_done(results) == len(results["setting"]["seeds"])


def n_done(results: Results) -> int:
    """Return the number of seeds that are complete in both models."""
    return len(results["test"][LABELS["greedy"]])


def difference(results: Results) -> dict[str, Any]:
    """Return the claim's difference, with its CI and verdict."""
    [row] = adnn.compare_values(results["test"]).differences().to_dict("records")
    return row


def finding(results: Results) -> str:
    """Return the verdict on the claim with its numbers, or the number of complete seeds so far."""
    planned = len(results["setting"]["seeds"])
    if not is_done(results):
        return f"open: {n_done(results)} of {planned} planned seeds are complete"
    row = difference(results)
    low, high = 100 * row["low"], 100 * row["high"]
    numbers = f"{100 * row['difference']:+.2f} ({low:+.2f} to {high:+.2f})"
    return f"{row['verdict']}: {numbers} pp, {planned} seeds"


def gains(results: Results, name: str) -> dict[str, np.ndarray]:
    """Return the gain of each arm's best network over the baseline, by seed."""
    units = of_units(results, name)
    return {
        arm: np.array([unit[arm]["test"] - unit[BASELINE]["test"] for unit in units])
        for arm in ARMS
    }


def figures(results: Results) -> dict[str, go.Figure]:
    if not is_done(results):
        return {}
    pairs = {}
    for name in FIRST:
        of_arms = gains(results, name)
        pairs[name] = of_arms["greedy"] - of_arms["random_restart"]
    pairs["mean of both"] = np.mean([*pairs.values()], axis=0)
    shown = go.Figure()
    for label, found in pairs.items():
        shown.add_scatter(
            x=100 * found,
            y=[label] * len(found),
            mode="markers",
            marker={"color": COLORS[0], "size": 9, "opacity": 0.7},
            showlegend=False,
        )
    row = difference(results)
    shown.add_scatter(
        x=[100 * row["difference"]],
        y=["the claim: their mean"],
        error_x={
            "array": [100 * (row["high"] - row["difference"])],
            "arrayminus": [100 * (row["difference"] - row["low"])],
            "symmetric": False,
        },
        marker={"color": "black", "symbol": "diamond", "size": 10},
        name="mean with its 95% CI",
    )
    shown.add_vline(x=0, line={"color": "gray", "width": 1})
    mean, low, high = (f"{100 * row[key]:+.2f}" for key in ("difference", "low", "high"))
    shown.update_layout(
        title=f"Algorithm 1 minus random restarts: {mean} pp (95% CI {low} to {high})",
        xaxis_title="difference in test accuracy [pp] (higher is better)",
        yaxis_autorange="reversed",
        legend={"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"},
        height=400,
    )
    return {"": shown}


def summary(results: Results) -> str:
    said = f"Algorithm 1 against random restarts, mean over both models: {finding(results)}."
    if not is_done(results):
        return said
    rows = []
    for name in FIRST:
        units = of_units(results, name)
        baseline = np.mean([unit[BASELINE]["test"] for unit in units])
        of_arms = gains(results, name)
        replication = [unit["greedy"]["replication"] for unit in units]
        shown = (*of_arms.values(), of_arms["greedy"] - of_arms["random_restart"], replication)
        rows.append([name, f"{100 * baseline:.2f}", *map(mean_and_std, shown)])
    header = ["on test images [pp]", "baseline [%]", *LABELS.values(), "difference"]
    table = markdown_table([*header, "Algorithm 1 on a new seed"], rows)
    return f"{table}\n\n{said}"


def claims(results: Results) -> list[Claim]:
    found = finding(results)
    return [
        Claim(
            "RQ2",
            "the search raises the accuracy of models of four hidden layers",
            "one planned claim on new seeds, the paper's training, on test images: Algorithm 1 "
            f"against random restarts, mean over MNIST-4 and FMNIST-4: {found}",
            found.partition(":")[0],
        )
    ]


EXPERIMENT = Experiment("depth", figures, summary, SETTINGS, run, claims, models=FIRST)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
