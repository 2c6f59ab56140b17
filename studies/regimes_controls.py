"""When do init offsets help, and when are other uses of the same compute better?

The data are Fashion-MNIST with 12,800 training images. Networks have four hidden layers of 128
units and Glorot initial weights, and SGD has batches of 128. Learning rates and lengths of
training vary. Arms select on 10,000 validation images and are compared on the 10,000 test images.
All arms have the same seeds and compute:

- ``greedy`` (Algorithm 1, δ = 0.0025) and ``annealing``: one offset for all hidden layers, within
  ±0.025
- ``random_restart``: new initial weights for each trial
- ``longer``: one training run of the baseline network, for the total epochs of all trials
- ``learning_rate``: the baseline network at other learning rates, by TPE
- ``constant``: one offset for all hidden layers, on a grid
- ``ensemble``: an average of baseline networks, one for each trial

The results are written cell by cell. A run trains only missing cells, and arms that are missing in
committed cells.
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
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import StudySpec, open_studies, run_studies
from adnn_optuna.samplers import DeltaStepSampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import plotly.graph_objects as go

    from adnn_optuna.engine.arms import SamplerSpec
    from adnn_optuna.engine.records import SearchRecord
    from adnn_optuna.stats.paired_differences import PairedDifference

# Algorithm 1 reaches this offset in 10 trials, so all arms search offsets of this size.
SPACE = adnn.OffsetSpace(low=-0.025, high=0.025, scope="shared")
SAMPLERS: dict[str, SamplerSpec] = {
    "greedy": DeltaStepSampler(deltas=(0.0025,)),
    "annealing": "annealing",
    "random_restart": "random_restart",
}
CONTROLS = ("longer", "learning_rate", "constant", "ensemble")
OFFSETS = ("greedy", "annealing")

# The colour shows the better arm: offsets (blue), neither (white) or the other arm (orange).
# Beyond ±10 pp, the colour does not change.
COLOR_SCALE = [[0, COLORS[1]], [0.5, "#f7f7f7"], [1, COLORS[0]]]
LIMIT = 10


@dataclasses.dataclass(frozen=True)
class Settings:
    """The cells that are computed.

    Args:
        learning_rates: The learning rates.
        epochs: The lengths of training.
        seeds: The first seed and the number of seeds.
        trials: The trials of each arm.
        training_rows: The number of training images.
    """

    learning_rates: tuple[float, ...]
    epochs: tuple[int, ...]
    seeds: tuple[int, int]
    trials: int
    training_rows: int = 12_800


SETTINGS = {
    # The seeds of `regimes.py` are not used again.
    "full": Settings((0.01, 0.05, 0.2), (1, 3, 10), (200, 10), 10),
    "quick": Settings((0.05,), (1,), (200, 2), 2, training_rows=640),
}


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Compare the arms in one cell after another, with short training first."""
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
                    "baseline": [run.test_baseline for run in comparison.results["greedy"]],
                    "arms": {label: values_of(runs) for label, runs in comparison.results.items()},
                }
            )
            yield {"cells": cells}


def averaged(
    objective: adnn.InitOffsetObjective, seeds: range, trials: int, storage: str, name: str
) -> list[SearchRecord]:
    """Return the ensembles for a comparison that already has all other arms."""
    limits, name = checked_limits(max_trial=trials), f"{name}/ensemble"
    plans = [
        StudySpec(objective.replace(seed=seed), f"{name}/{seed=}", "ensemble", limits)
        for seed in seeds
    ]
    studies, stop = open_studies(plans, open_storage(storage)), threading.Event()
    n_jobs = objective.n_studies_at_once
    run_studies(plans, studies, stop=stop, bar=None, n_jobs=n_jobs, executor=None, storage=storage)
    return [read_record(study) for study in studies]


def values_of(runs: Sequence[SearchRecord]) -> Results:
    """Return the stored values of the runs of an arm."""
    return {
        "selected_by": [run.best_value for run in runs],
        "test": [run.test_value for run in runs],
    }


def controls_of(cell: Results) -> tuple[str, ...]:
    """Return the controls that a cell has."""
    return tuple(control for control in CONTROLS if control in cell["arms"])


def chosen(cell: Results, labels: tuple[str, ...]) -> str:
    """Return the best arm by the selection metric; selection by test would add a bias."""
    return max(labels, key=lambda label: float(np.mean(cell["arms"][label]["selected_by"])))


def differences(cell: Results) -> tuple[PairedDifference, PairedDifference]:
    """Return the differences of offsets from random restarts and from the best other use."""
    values = {label: found["test"] for label, found in cell["arms"].items()}
    of_controls = [(arm, control) for arm in SAMPLERS for control in controls_of(cell)]
    arm, found = chosen(cell, OFFSETS), judged(values, claims_on(SAMPLERS), of_controls)
    return found[arm, "random_restart"], found[arm, chosen(cell, controls_of(cell))]


def figures(results: Results) -> dict[str, go.Figure]:
    setting = results["setting"]
    # The labels are text, so all cells have the same width.
    epochs, rates = [[str(v) for v in setting[name]] for name in ("epochs", "learning_rates")]
    shown = panels(
        ["… minus random restarts", "… minus the best other use of the same compute"],
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
            colorscale=COLOR_SCALE,
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
        title="Test accuracy with init offsets …<br><sup>blue: offsets are better; orange: worse; "
        f"white: inconclusive{'; empty: not run yet' if n_open(results) else ''}; "
        f"{setting['trials']} trials, {setting['seeds'][1]} seeds</sup>",
        height=460,
        margin_t=120,
    )
    return {"": shown}


def label_of(difference: PairedDifference, cell: Results) -> str:
    """Return the text in a cell of the figure."""
    is_of_restarts = difference.other == "random_restart"
    baseline = f"baseline: {100 * np.mean(cell['baseline']):.0f}%"
    below = baseline if is_of_restarts else difference.other.replace("_", " ")
    # Adding 0 makes a rounded -0.0 a +0.0.
    return f"<b>{round(100 * difference.mean, 1) + 0.0:+.1f}</b><br>{below}"


def worth(results: Results) -> tuple[str, str]:
    """Return in how many settings offsets beat all others, and a sentence on random restarts."""
    pairs = [differences(cell) for cell in results["cells"]]
    better = sum(restarts.verdict == "better" for restarts, _ in pairs)
    best = sum(restarts.verdict == other.verdict == "better" for restarts, other in pairs)
    of_all = f"{len(pairs)} settings" + (" so far" if n_open(results) else "")
    compared = f"Offsets are better than random restarts in {better} of {of_all}."
    return f"in {best or 'none'} of {of_all}", compared


def smallest_loss(results: Results) -> str:
    """Return the smallest loss of offsets against the best other use of the same compute."""
    others = (other for _, other in map(differences, results["cells"]))
    closest = max(others, key=lambda difference: difference.mean)
    mean, low, high = (-100 * end for end in (closest.mean, closest.high, closest.low))
    loss = f"{mean:.2f} ({low:.2f} to {high:.2f}) pp"
    return f"in the closest setting, offsets are {loss} below the best other use"


def how_often_longer_is_better(results: Results) -> str:
    """Return the number of settings in which one longer training run is better than offsets."""
    verdicts = [(d.other, d.verdict) for _, d in map(differences, results["cells"])]
    return f"{verdicts.count(('longer', 'worse'))} of {len(verdicts)}"


def n_open(results: Results) -> int:
    """Return the number of planned settings that have not run yet."""
    setting = results["setting"]
    return len(setting["learning_rates"]) * len(setting["epochs"]) - len(results["cells"])


def example(results: Results) -> str:
    """Return the accuracies in the setting for which regimes.py confirmed that offsets help."""
    cell = next(c for c in results["cells"] if (c["learning_rate"], c["epochs"]) == (0.01, 1))
    tests = {label: of["test"] for label, of in cell["arms"].items()}
    accuracies = [
        ("baseline network", cell["baseline"]),
        ("random restarts", tests["random_restart"]),
        ("Algorithm 1", tests["greedy"]),
        ("annealing", tests["annealing"]),
        ("another learning rate", tests["learning_rate"]),
        ("one longer training run", tests["longer"]),
    ]
    rows = [[name, f"{100 * np.mean(values):.1f}%"] for name, values in accuracies]
    return markdown_table(["1 epoch at learning rate 0.01", "test accuracy"], rows)


def claims(results: Results) -> list[Claim]:
    in_how_many, compared = worth(results)
    n_seeds = results["setting"]["seeds"][1]
    return [
        Claim(
            "RQ2",
            "initial weights are worth a search",
            f"Glorot, 4 hidden layers, test images, {n_seeds} seeds. {compared} One longer "
            f"training run is better in {how_often_longer_is_better(results)} "
            f"({smallest_loss(results)}).",
            f"offsets are the best use of the same compute {in_how_many}",
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
                    cell["baseline"],
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
        markdown_table(["learning rate × epochs: test [%]", "baseline", *labels], accuracies),
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
