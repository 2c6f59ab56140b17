"""When do init offsets help? Gains by initializer, depth and length of training.

The data are Fashion-MNIST with 12,800 training images. Networks have 128 ReLU units in each hidden
layer, and SGD has learning rate 0.01 and batches of 128. Samplers select on 10,000 validation
images, and gains are measured on the 10,000 test images. In each regime, all samplers have the
same budget and the same seeds:

- ``greedy``: Algorithm 1, δ = 0.0025, one offset for all hidden layers
- ``annealing``: an offset for each hidden layer's weights and biases, within ±0.1
- ``annealing_stddev``: like ``annealing``, in units of the initializer's standard deviation,
  within ±1
- ``annealing_shared``: one offset for all hidden layers, within ±0.1
- ``random_restart``: the control, new initial weights for each trial
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from _common import (
    COLORS,
    CONTROL_COLOR,
    Claim,
    Experiment,
    Results,
    claims_on,
    first_rows,
    interval,
    judged,
    main,
    markdown_table,
    mean_and_std,
    panel_of,
    panels,
)

import adnn_optuna as adnn
from adnn_optuna.samplers import DeltaStepSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    import plotly.graph_objects as go

    from adnn_optuna.engine.arms import SamplerSpec
    from adnn_optuna.stats.paired_differences import PairedDifference

INITIALIZERS = {
    "N(0, 1)": {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1.0}},
    "Glorot": "glorot_uniform",
    "He": "he_normal",
}

# The samplers, with their search spaces.
WALK = adnn.OffsetSpace(low=-0.2, high=0.2, scope="shared")
SAMPLERS: dict[str, tuple[SamplerSpec, adnn.OffsetSpace]] = {
    "greedy": (DeltaStepSampler(deltas=(0.0025,), max_steps=50), WALK),
    "annealing": ("annealing", adnn.OffsetSpace(low=-0.1, high=0.1)),
    "annealing_stddev": ("annealing", adnn.OffsetSpace(low=-1.0, high=1.0, unit="stddev")),
    "annealing_shared": ("annealing", adnn.OffsetSpace(low=-0.1, high=0.1, scope="shared")),
    "random_restart": ("random_restart", WALK),
}


@dataclasses.dataclass(frozen=True)
class Regime:
    """A setting in which the samplers are compared.

    Args:
        initializer: A key of ``INITIALIZERS``.
        layers: The number of hidden layers.
        epochs: The length of training.
        seeds: The first seed and the number of seeds.
        trials: The trials of each search.
        samplers: Keys of ``SAMPLERS``.
        part: ``"grid"``, ``"prototype"``, ``"choice"`` or ``"confirmation"``.
    """

    initializer: str
    layers: int
    epochs: int
    seeds: tuple[int, int]
    trials: int = 50
    samplers: tuple[str, ...] = ("greedy", "annealing", "random_restart")
    part: str = "grid"

    @property
    def name(self) -> str:
        """The beginning of the names of the regime's studies."""
        return (
            f"regimes/{self.initializer}/layers={self.layers}/epochs={self.epochs}"
            f"/trials={self.trials}"
        )


@dataclasses.dataclass(frozen=True)
class Settings:
    """The regimes that are computed.

    Args:
        regimes: The regimes, in the order in which they are computed.
        training_rows: The number of training images.
    """

    regimes: tuple[Regime, ...]
    training_rows: int = 12_800


# The regime and the sampler to confirm were chosen with seeds 1000 and above, before seeds 0 and
# above were run. They are Glorot, four hidden layers and one epoch, and annealing_shared.
_WITH_SHARED = ("greedy", "annealing_shared", "random_restart", "annealing")
CHOICE = Regime(
    "Glorot", 4, 1, (1000, 4), 50, ("greedy", "annealing_shared", "random_restart"), "choice"
)
CONFIRMATION = Regime("Glorot", 4, 1, (0, 20), 50, _WITH_SHARED, "confirmation")
PROTOTYPE = Regime("Glorot", 1, 1, (0, 20), 50, _WITH_SHARED, "prototype")


def grid(seeds: int, trials: int, epochs: tuple[int, ...]) -> tuple[Regime, ...]:
    """Return the grid over initializer, depth and length of training; short training is first."""
    samplers = ("greedy", "annealing", "annealing_stddev", "random_restart")
    return tuple(
        Regime(initializer, layers, length, (100, seeds), trials, samplers)
        for length in epochs
        for layers in (1, 4)
        for initializer in INITIALIZERS
    )


SETTINGS = {
    "full": Settings((CONFIRMATION, PROTOTYPE, CHOICE, *grid(20, 50, (1, 5, 20)))),
    "reduced": Settings(
        (CONFIRMATION, PROTOTYPE, CHOICE, *grid(5, 20, (1,)), *grid(3, 20, (5, 20)))
    ),
    "quick": Settings(
        (Regime("Glorot", 1, 1, (0, 2), 2), Regime("Glorot", 4, 1, (0, 2), 2)), training_rows=640
    ),
}


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Compare the samplers in one regime after another."""
    dataset = first_rows(adnn.load_dataset("fashion_mnist"), settings.training_rows)
    done: list[Results] = []
    for regime in settings.regimes:
        objective = adnn.InitOffsetObjective(
            adnn.MLP(
                hidden=(128,) * regime.layers,
                kernel_initializer=INITIALIZERS[regime.initializer],
            ),
            dataset,
            training=adnn.Training(
                optimizer="sgd", learning_rate=0.01, batch_size=128, epochs=regime.epochs
            ),
        )
        first, count = regime.seeds
        cell: Results = {**dataclasses.asdict(regime), "searches": {}}
        for label in regime.samplers:
            sampler, space = SAMPLERS[label]
            comparison = adnn.compare(
                objective.replace(space=space),
                {label: sampler},
                max_trial=regime.trials,
                seeds=range(first, first + count),
                # `regimes_controls.py` compares with other uses of the same compute.
                controls=(),
                storage=storage,
                study_name=regime.name,
                show_progress_bar=True,
            )
            results = comparison.results[label]
            cell["test_baseline"] = [result.test_baseline for result in results]
            cell["searches"][label] = {
                "gain": [result.gain for result in results],
                "test_gain": [result.test_gain for result in results],
            }
        done.append(cell)
        yield {"regimes": done}


def test_values(cell: Results) -> dict[str, np.ndarray]:
    """Return the test accuracy of each search's best trial."""
    baseline = np.array(cell["test_baseline"])
    return {label: baseline + found["test_gain"] for label, found in cell["searches"].items()}


def title(cell: Results) -> str:
    """Return the name of a regime for figures and tables."""
    layers, epochs = cell["layers"], cell["epochs"]
    return (
        f"{cell['initializer']}, {layers} hidden layer{'s' * (layers > 1)}, "
        f"{epochs} epoch{'s' * (epochs > 1)}"
    )


def finite_gains(cell: Results, label: str) -> np.ndarray:
    """Return the test gains, without seeds whose training runs diverged."""
    gains = np.array(cell["searches"][label]["test_gain"])
    return gains[np.isfinite(gains)]


def gain_text(cell: Results, label: str) -> str:
    """Return the gains' mean and standard deviation as text, with the number of finite gains."""
    gains, n_seeds = finite_gains(cell, label), len(cell["test_baseline"])
    if len(gains) < 2:
        return "diverges"
    return mean_and_std(gains) + (f" ({len(gains)} of {n_seeds})" if len(gains) < n_seeds else "")


def differences(cell: Results) -> dict[tuple[str, str], PairedDifference]:
    """Judge the claims on a regime's samplers, with annealing_shared against greedy."""
    values = {label: of_arm.tolist() for label, of_arm in test_values(cell).items()}
    return judged(values, claims_on(values, annealing="annealing_shared"))


def cells(results: Results, *parts: str) -> list[Results]:
    """Return the results of the regimes in the given parts of the study."""
    return [cell for cell in results["regimes"] if cell["part"] in parts]


def figures(results: Results) -> dict[str, go.Figure]:
    shown = {"_paired": paired_figure(cells(results, "confirmation", "prototype"))}
    of_grid = cells(results, "grid")
    if of_grid:
        shown["_grid"] = grid_figure(of_grid)
    return shown


def paired_figure(shown_cells: list[Results]) -> go.Figure:
    """Return a figure with the differences between two samplers, seed by seed."""
    figure = panels(
        [title(cell) for cell in shown_cells], "", "Difference in test accuracy [pp]", columns=2
    )
    for i, cell in enumerate(shown_cells):
        values = test_values(cell)
        for j, ((arm, other), d) in enumerate(differences(cell).items()):
            pairs = 100 * (values[arm] - values[other])
            name = f"{arm}<br>− {other}".replace("_", "<br>")
            figure.add_scatter(
                x=[name] * len(pairs),
                y=pairs,
                mode="markers",
                marker={"color": COLORS[0], "size": 6, "opacity": 0.5},
                name="one seed",
                showlegend=i == j == 0,
                **panel_of(i, columns=2),
            )
            figure.add_scatter(
                x=[name],
                y=[100 * d.mean],
                error_y={
                    "array": [100 * (d.high - d.mean)],
                    "arrayminus": [100 * (d.mean - d.low)],
                    "width": 10,
                    "thickness": 2.5,
                },
                mode="markers",
                marker={"color": COLORS[1], "size": 11, "symbol": "diamond"},
                name="mean, 95% CI",
                showlegend=i == j == 0,
                **panel_of(i, columns=2),
            )
        figure.add_hline(y=0, line={"color": "gray", "width": 1}, **panel_of(i, columns=2))
    figure.update_xaxes(tickangle=0)
    figure.update_layout(title="Paired by seed: which sampler is better?", height=480)
    return figure


def grid_figure(of_grid: list[Results]) -> go.Figure:
    """Return a figure with the mean gain of each sampler by the length of training."""
    kinds = list(dict.fromkeys((cell["layers"], cell["initializer"]) for cell in of_grid))
    named = {
        "greedy": "greedy (Algorithm 1)",
        "annealing": "annealing",
        "annealing_stddev": "annealing in standard deviations",
        "random_restart": "random restarts (no offsets)",
    }
    figure = panels(
        [
            f"{initializer} initial weights, {layers} hidden layer{'s' * (layers > 1)}"
            for layers, initializer in kinds
        ],
        "Epochs that each network was trained",
        "Gain in test accuracy over the baseline network [pp]",
    )
    for i, kind in enumerate(kinds):
        of_kind = [cell for cell in of_grid if (cell["layers"], cell["initializer"]) == kind]
        for label, color in zip(of_kind[0]["searches"], COLORS, strict=False):
            gains = {
                str(cell["epochs"]): 100 * finite
                for cell in of_kind
                if len(finite := finite_gains(cell, label)) > 1
            }
            figure.add_bar(
                x=list(gains),
                y=[gain.mean() for gain in gains.values()],
                error_y={"array": [gain.std(ddof=1) for gain in gains.values()], "thickness": 1},
                name=named.get(label, label),
                marker_color=CONTROL_COLOR if label == "random_restart" else color,
                showlegend=i == 0,
                **panel_of(i),
            )
    counts = {len(cell["test_baseline"]) for cell in of_grid}
    n_seeds = " or ".join(map(str, sorted(counts)))
    figure.update_xaxes(type="category")
    title = (
        f"Gain of the best of a search: mean and standard deviation of {n_seeds} seeds<br>"
        "(without a bar: these training runs diverge)"
    )
    figure.update_layout(title=title, barmode="group", height=780, width=1100, margin_b=130)
    figure.update_layout(margin_t=140)
    figure.update_layout(legend={"y": -0.2, "x": 0.5, "xanchor": "center"})
    return figure


def claims(results: Results) -> list[Claim]:
    [cell] = cells(results, "confirmation")
    of_pair = differences(cell)
    gains = {label: mean_and_std(found["test_gain"]) for label, found in cell["searches"].items()}
    greedy = of_pair["greedy", "random_restart"]
    over_greedy = of_pair["annealing_shared", "greedy"]
    annealing = of_pair["annealing_shared", "random_restart"]
    return [
        Claim(
            "RQ2",
            "the search raises the accuracy",
            f"{title(cell)}, on test images over {greedy.n_pairs} seeds: Algorithm 1 "
            f"{gains['greedy']} pp, random restarts {gains['random_restart']} pp; the difference "
            f"is {interval(greedy)} pp",
            f"Algorithm 1 is {greedy.verdict} than random restarts ({title(cell)}); "
            "see the table of regimes for others, and below for other uses of the same compute",
        ),
        Claim(
            "5.1",
            "adaptive simulated annealing finds better initial weights",
            f"the same: annealing {gains['annealing_shared']} pp; {interval(over_greedy)} pp over "
            f"Algorithm 1, {interval(annealing)} pp over random restarts",
            f"annealing is {annealing.verdict} than random restarts (the same setting); against "
            "Algorithm 1 it is inconclusive, because these seeds were evaluated before",
        ),
    ]


def summary(results: Results) -> str:
    labels = list(
        dict.fromkeys(label for cell in results["regimes"] for label in cell["searches"])
    )
    gains = [
        [
            title(cell),
            cell["part"],
            f"{len(cell['test_baseline'])} × {cell['trials']}",
            "diverges"
            if np.isnan(cell["test_baseline"]).all()
            else f"{100 * np.nanmean(cell['test_baseline']):.1f}",
            *(gain_text(cell, label) if label in cell["searches"] else "" for label in labels),
        ]
        for cell in results["regimes"]
    ]
    return (
        markdown_table(["regime", "part", "seeds × trials", "baseline [%]", *labels], gains)
        + "\n\n"
        + markdown_table(
            [
                "regime",
                "sampler",
                "other",
                "difference in test accuracy [pp] (95% CI)",
                "verdict",
            ],
            [
                [title(cell), d.arm, d.other, interval(d), str(d.verdict)]
                for cell in cells(results, "confirmation", "prototype")
                for d in differences(cell).values()
            ],
        )
    )


EXPERIMENT = Experiment("regimes", figures, summary, SETTINGS, run, claims, committed="reduced")

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
