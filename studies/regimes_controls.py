"""Where do init offsets help, and where does the same compute do better otherwise?

Fashion-MNIST, 12,800 training images, four hidden layers of 128 units, Glorot, SGD with batches of
128, over learning rates and lengths of training; selection on 10,000 validation images, what is
compared is the accuracy on the 10,000 test images. All arms have the same seeds and compute:

- ``greedy`` (Algorithm 1, δ = 0.0025) and ``annealing``: one offset for all hidden layers, within
  ±0.025
- ``random_restart``: new initial weights for each trial
- ``longer``: one training of the unmoved network for the epochs of all trials
- ``learning_rate``: the unmoved network at other learning rates, by TPE
- ``constant``: the same one offset, on a grid
- ``ensemble``: as many unmoved networks, averaged

The results are written cell by cell, and a run goes on after the cells that are committed, of
which it trains the arms that are missing alone.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

import numpy as np
from _common import (
    COLORS,
    Claim,
    Experiment,
    Results,
    claims_on,
    first_rows,
    interval,
    judged,
    main,
    markdown_table,
    panel_of,
    panels,
)

import adnn_optuna as adnn
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine.execution import run_studies
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import StudySpec, open_studies
from adnn_optuna.samplers import DeltaStepSampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import plotly.graph_objects as go

    from adnn_optuna.engine.arms import SamplerSpec
    from adnn_optuna.engine.search_record import SearchRecord
    from adnn_optuna.stats.paired_differences import PairedDifference

# As far as Algorithm 1 comes in 10 trials, so that each arm's offsets are as fine as its.
SPACE = adnn.OffsetSpace(low=-0.025, high=0.025, scope="shared")
SAMPLERS: dict[str, SamplerSpec] = {
    "greedy": DeltaStepSampler(deltas=(0.0025,)),
    "annealing": "annealing",
    "random_restart": "random_restart",
}
CONTROLS = ("longer", "learning_rate", "constant", "ensemble")
OFFSETS = ("greedy", "annealing")

# Who wins, by colour: offsets (blue), neither, the other (orange); beyond ±10 pp alike.
WINNERS = [[0, COLORS[1]], [0.5, "#f7f7f7"], [1, COLORS[0]]]
LIMIT = 10


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is computed.

    Args:
        learning_rates: The learning rates.
        epochs: The lengths of training.
        seeds: The first seed and their number.
        trials: The trials of each arm.
        training_rows: The number of training images.
    """

    learning_rates: tuple[float, ...]
    epochs: tuple[int, ...]
    seeds: tuple[int, int]
    trials: int
    training_rows: int = 12_800


SETTINGS = {
    # No seed of theirs is one of `regimes.py`.
    "full": Settings((0.01, 0.05, 0.2), (1, 3, 10), (200, 10), 10),
    "quick": Settings((0.05,), (1,), (200, 2), 2, training_rows=640),
}


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Compare in one cell after the other, short trainings first."""
    dataset = first_rows(adnn.load_dataset("fashion_mnist"), settings.training_rows)
    first, count = settings.seeds
    is_full = settings == SETTINGS["full"]
    cells: list[Results] = EXPERIMENT.load()["cells"] if is_full else []
    known = {(cell["learning_rate"], cell["epochs"]): cell for cell in cells}
    for epochs in settings.epochs:
        for rate in settings.learning_rates:
            objective = adnn.InitOffsetObjective(
                adnn.MLP(hidden=(128,) * 4),
                dataset,
                training=adnn.Training(
                    optimizer="sgd", learning_rate=rate, batch_size=128, epochs=epochs
                ),
                space=SPACE,
            )
            name = f"regimes_controls/learning_rate={rate}/epochs={epochs}"
            seeds = range(first, first + count)
            if (cell := known.get((rate, epochs))) is not None:
                if "ensemble" in cell["arms"]:
                    continue
                runs = averaged(objective, seeds, settings.trials, storage, name)
                cell["arms"]["ensemble"] = values_of(runs)
                yield {"cells": cells}
                continue
            comparison = adnn.compare(
                objective,
                SAMPLERS,
                max_trial=settings.trials,
                seeds=seeds,
                controls=CONTROLS,
                storage=storage,
                study_name=name,
                show_progress_bar=True,
            )
            cells.append(
                {
                    "learning_rate": rate,
                    "epochs": epochs,
                    "unmoved": [run.test_baseline for run in comparison.results["greedy"]],
                    "arms": {label: values_of(runs) for label, runs in comparison.results.items()},
                }
            )
            yield {"cells": cells}


def averaged(
    objective: adnn.InitOffsetObjective, seeds: range, trials: int, storage: str, name: str
) -> list[SearchRecord]:
    """Return the ensembles of a comparison that has all other arms already."""
    limits, name = checked_limits(max_trial=trials), f"{name}/ensemble"
    plans = [
        StudySpec(objective.replace(seed=seed), f"{name}/{seed=}", "ensemble", limits)
        for seed in seeds
    ]
    studies, stop = open_studies(plans, open_storage(storage)), threading.Event()
    run_studies(plans, studies, stop=stop, bar=None, executor=None, storage=storage)
    return [read_record(study) for study in studies]


def values_of(runs: Sequence[SearchRecord]) -> Results:
    """Return what is kept of the runs of an arm."""
    return {
        "selected_by": [run.best_value for run in runs],
        "test": [run.test_value for run in runs],
    }


def controls_of(cell: Results) -> tuple[str, ...]:
    """Return the controls that were run in a cell."""
    return tuple(control for control in CONTROLS if control in cell["arms"])


def chosen(cell: Results, labels: tuple[str, ...]) -> str:
    """Return the arm that is best by what was selected by: by the test it would be luck."""
    return max(labels, key=lambda label: float(np.mean(cell["arms"][label]["selected_by"])))


def differences(cell: Results) -> tuple[PairedDifference, PairedDifference]:
    """Return by how much offsets beat random restarts, and the best other use of the compute."""
    values = {label: found["test"] for label, found in cell["arms"].items()}
    of_controls = [(arm, control) for arm in SAMPLERS for control in controls_of(cell)]
    arm, found = chosen(cell, OFFSETS), judged(values, claims_on(SAMPLERS), of_controls)
    return found[arm, "random_restart"], found[arm, chosen(cell, controls_of(cell))]


def figures(results: Results) -> dict[str, go.Figure]:
    setting = results["setting"]
    # As text, so that all cells are as wide.
    epochs, rates = [[str(v) for v in setting[name]] for name in ("epochs", "learning_rates")]
    shown = panels(
        ["… minus random restarts: luck", "… minus the same compute spent otherwise"],
        "Epochs",
        "Learning rate",
        columns=2,
    )
    of_cells = [(cell, differences(cell)) for cell in results["cells"]]
    for i in range(2):
        shown.add_heatmap(
            x=[str(cell["epochs"]) for cell, _ in of_cells],
            y=[str(cell["learning_rate"]) for cell, _ in of_cells],
            z=[100 * (pair[i].verdict != "inconclusive") * pair[i].mean for _, pair in of_cells],
            text=[label_of(pair[i], cell) for cell, pair in of_cells],
            texttemplate="%{text}",
            colorscale=WINNERS,
            zmid=0,
            zmin=-LIMIT,
            zmax=LIMIT,
            xgap=3,
            ygap=3,
            colorbar={"title": "[pp]", "ticksuffix": " "},
            showscale=i == 1,
            **panel_of(i, columns=2),
        )
    shown.update_xaxes(type="category", categoryarray=epochs, showgrid=False)
    shown.update_yaxes(type="category", categoryarray=rates, showgrid=False)
    shown.update_layout(
        title="Test accuracy with init offsets …<br><sup>blue: offsets win; orange: they lose; "
        f"white: inconclusive{'; empty: not run yet' if n_open(results) else ''}; "
        f"{setting['trials']} trials, {setting['seeds'][1]} seeds</sup>",
        height=460,
        margin_t=120,
    )
    return {"": shown}


def label_of(difference: PairedDifference, cell: Results) -> str:
    """Return what stands in a cell of the figure."""
    of_luck = difference.other == "random_restart"
    unmoved = f"unmoved: {100 * np.mean(cell['unmoved']):.0f}%"
    below = unmoved if of_luck else difference.other.replace("_", " ")
    # Adding 0 makes a rounded -0.0 a +0.0.
    return f"<b>{round(100 * difference.mean, 1) + 0.0:+.1f}</b><br>{below}"


def verdict(results: Results) -> tuple[str, str]:
    """Return in how many settings offsets are worth it, and what that is counted from."""
    pairs = [differences(cell) for cell in results["cells"]]
    better = sum(luck.verdict == "better" for luck, _ in pairs)
    worth = sum(luck.verdict == otherwise.verdict == "better" for luck, otherwise in pairs)
    worse = sum(otherwise.verdict == "worse" for _, otherwise in pairs)
    lost = [-100 * otherwise.mean for _, otherwise in pairs]
    counted = (
        f"they are better than random restarts in {better} of {len(pairs)} settings of learning "
        "rate and epochs; the strongest other use of the same compute is better than they are in "
        f"{worse} (differences of {min(lost):+.1f} to {max(lost):+.1f} pp)"
    )
    of_all = f"{len(pairs)} settings" + (" so far" if n_open(results) else "")
    return f"in {worth or 'none'} of {of_all}", counted


def n_open(results: Results) -> int:
    """Return how many settings are planned and not run yet."""
    setting = results["setting"]
    return len(setting["learning_rates"]) * len(setting["epochs"]) - len(results["cells"])


def example(results: Results) -> str:
    """Return what all arms come to where regimes.py confirmed that offsets help."""
    cell, longer = (
        next(c for c in results["cells"] if (c["learning_rate"], c["epochs"]) == (0.01, epochs))
        for epochs in (1, 3)
    )
    shown = {label: f"{100 * np.mean(of['test']):.1f}%" for label, of in cell["arms"].items()}
    return (
        f"of 1 epoch at learning rate 0.01 the unmoved network comes to "
        f"{100 * np.mean(cell['unmoved']):.1f}%, random restarts to {shown['random_restart']}, "
        f"Algorithm 1 to {shown['greedy']} and annealing to {shown['annealing']}; but one "
        f"constant offset comes to {shown['constant']}, 3 epochs to "
        f"{100 * np.mean(longer['unmoved']):.1f}%, another learning rate to "
        f"{shown['learning_rate']}, and the same compute in epochs to {shown['longer']}"
    )


def claims(results: Results) -> list[Claim]:
    worth, counted = verdict(results)
    n_seeds = results["setting"]["seeds"][1]
    return [
        Claim(
            "RQ2",
            "initial weights are worth a search",
            f"Glorot, 4 hidden layers, init offsets on test images over {n_seeds} seeds: "
            f"{counted}",
            f"{worth} they are better than both luck and the same compute spent otherwise",
        )
    ]


def summary(results: Results) -> str:
    known = {label for cell in results["cells"] for label in cell["arms"]}
    labels = [label for label in (*SAMPLERS, *CONTROLS) if label in known]
    names = [f"{cell['learning_rate']} × {cell['epochs']}" for cell in results["cells"]]
    accuracies = [
        [
            name,
            *(
                f"{100 * np.mean(values):.1f}" if values else "not run"
                for values in (
                    cell["unmoved"],
                    *(cell["arms"].get(label, {}).get("test") for label in labels),
                )
            ),
        ]
        for name, cell in zip(names, results["cells"], strict=True)
    ]
    rows = [
        [name, d.arm, d.other, interval(d), str(d.verdict)]
        for name, cell in zip(names, results["cells"], strict=True)
        for d in differences(cell)
    ]
    parts = [
        markdown_table(["learning rate × epochs: test [%]", "unmoved", *labels], accuracies),
        markdown_table(
            ["learning rate × epochs", "best offsets", "other", "difference [pp]", "verdict"], rows
        ),
    ]
    if open_ := n_open(results):
        parts.append(f"Open: {open_} of {open_ + len(names)} planned settings are not run yet.")
    return "\n\n".join(parts)


EXPERIMENT = Experiment("regimes_controls", figures, summary, SETTINGS, run, claims)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
