"""Figures 1 and 2: accuracies of repeated runs, and initial weights of three sizes.

Both figures use scikit-learn's 8 × 8 digits, scored on the validation split. Figure 1 repeats a
training on the same data, and with a new split in each run. In figure 2, the initial weights of an
MLP are too small, suitable or too large.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import optuna
import plotly.graph_objects as go
from _common import COLORS, Claim, Experiment, Results, main, markdown_table
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

import adnn_optuna as adnn
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

CLASSIFIERS = {
    "k-nearest neighbours": KNeighborsClassifier,
    "naive Bayes": GaussianNB,
    "logistic regression": lambda: LogisticRegression(max_iter=1000),
}
MLP = "MLP"
SAME, NEW = "the same data", "a new split"

INITIALIZERS = {
    "too small: N(0, 0.01²)": {"class_name": "RandomNormal", "config": {"stddev": 0.01}},
    "fitting: Glorot": "glorot_uniform",
    "too large: N(0, 3²)": {"class_name": "RandomNormal", "config": {"stddev": 3.0}},
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The numbers of runs.

    Args:
        runs: The runs of each classifier.
        draws: The initializations of each size.
        epochs: The epochs of each training run in figure 2.
    """

    runs: int
    draws: int
    epochs: int


SETTINGS = {"full": Settings(30, 10, 30), "quick": Settings(2, 1, 3)}


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Repeat the classifiers' runs, then train from initial weights of each size."""
    results: Results = {"runs": {}, "initial_weights": {}}
    for data in (SAME, NEW):
        results["runs"][data] = {
            name: repeat(name, data, settings.runs, storage) for name in CLASSIFIERS
        }
    results["runs"][SAME][MLP] = restarts(settings.runs, storage)
    yield results
    for name in INITIALIZERS:
        results["initial_weights"][name] = learning_curves(name, settings, storage)
        yield results


def repeat(name: str, data: str, runs: int, storage: str) -> list[float]:
    """Return the accuracy of each run of a classifier without initial weights."""

    def accuracy(trial: optuna.Trial) -> float:
        number = trial.suggest_int("run", 0, runs - 1)
        split = adnn.load_dataset("digits", seed=number if data == NEW else 0)
        model = CLASSIFIERS[name]()
        model.fit(split.x_train.reshape(len(split.x_train), -1), split.y_train)
        return float(model.score(split.x_val.reshape(len(split.x_val), -1), split.y_val))

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.GridSampler({"run": list(range(runs))}, seed=0),
        storage=open_storage(storage),
        study_name=f"motivation/{name}/{data}/runs={runs}",
        load_if_exists=True,
    )
    completed = (optuna.trial.TrialState.COMPLETE,)
    left = runs - len(study.get_trials(states=completed))
    if left > 0:
        study.optimize(accuracy, n_trials=left, show_progress_bar=True)
    values = {t.params["run"]: t.value for t in study.get_trials(states=completed)}
    return [values[number] for number in range(runs)]


def restarts(runs: int, storage: str) -> list[float]:
    """Return the accuracies of an MLP from several initializations, on the same data."""
    result = adnn.search(
        adnn.InitOffsetObjective(adnn.MLP(hidden=(64,)), adnn.load_dataset("digits")),
        "random_restart",
        storage=storage,
        study_name="motivation/MLP/the same data",
        max_trial=runs,
        show_progress_bar=True,
    )
    return [trial.value for trial in result.record.done_trials[:runs]]


def learning_curves(name: str, settings: Settings, storage: str) -> list[list[float]]:
    """Return the validation loss of each initialization after each epoch."""
    result = adnn.search(
        adnn.InitOffsetObjective(
            adnn.MLP(hidden=(64, 64), kernel_initializer=INITIALIZERS[name]),
            adnn.load_dataset("digits"),
            training=adnn.Training(
                optimizer="sgd", learning_rate=0.1, batch_size=32, epochs=settings.epochs
            ),
            metric="val_loss",
        ),
        "random_restart",
        storage=storage,
        study_name=f"motivation/{name}/epochs={settings.epochs}",
        max_trial=settings.draws,
        # With a pruner, each epoch's loss is stored. This pruner never prunes.
        pruner=optuna.pruners.ThresholdPruner(lower=-1.0),
        show_progress_bar=True,
    )
    return [
        [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
        for trial in result.record.done_trials
    ]


def figures(results: Results) -> dict[str, go.Figure]:
    return {"_runs": runs_figure(results), "_initial_weights": initial_weights_figure(results)}


def runs_figure(results: Results) -> go.Figure:
    figure = go.Figure()
    for i, (data, by_name) in enumerate(results["runs"].items()):
        for name, accuracies in by_name.items():
            figure.add_box(
                x=[name] * len(accuracies),
                y=[100 * accuracy for accuracy in accuracies],
                name=data,
                boxpoints="all",
                marker_color=COLORS[i],
                offsetgroup=data,
                legendgroup=data,
                showlegend=name == next(iter(by_name)),
            )
    spreads = [np.ptp(values) for runs in results["runs"].values() for values in runs.values()]
    n_runs = len(results["runs"][SAME][MLP])
    figure.update_layout(
        title=f"{n_runs} runs with the same settings differ by up to {100 * max(spreads):.1f} pp",
        yaxis_title="Accuracy on the validation images [%]",
        boxmode="group",
        legend={"orientation": "h", "y": -0.12},
    )
    return figure


def initial_weights_figure(results: Results) -> go.Figure:
    figure = go.Figure()
    for i, (name, curves) in enumerate(results["initial_weights"].items()):
        for j, curve in enumerate(curves):
            figure.add_scatter(
                x=np.arange(1, len(curve) + 1),
                y=curve,
                mode="lines",
                line={"color": COLORS[i], "width": 1.5},
                opacity=0.7,
                name=name,
                legendgroup=name,
                showlegend=j == 0,
            )
    figure.update_layout(
        title="Networks learn in time only from initial weights of a fitting size",
        xaxis_title="Epoch",
        yaxis={"title": "Loss on the validation images", "type": "log", "dtick": 1},
        legend={"orientation": "h", "y": -0.18},
    )
    return figure


def claims(results: Results) -> list[Claim]:
    spreads = {
        data: {name: 100 * np.ptp(accuracies) for name, accuracies in by_name.items()}
        for data, by_name in results["runs"].items()
    }
    n_runs = len(results["runs"][SAME][MLP])
    losses = {
        name: [np.median([curve[epoch] for curve in curves]) for epoch in (0, -1)]
        for name, curves in results["initial_weights"].items()
    }
    small, fitting, large = losses.values()
    epochs = results["setting"]["epochs"]
    return [
        Claim(
            "Fig. 1",
            "k-nearest neighbours, naive Bayes and logistic regression: the accuracy differs "
            "between runs with the same settings",
            f"range over {n_runs} runs on the same data: "
            + ", ".join(f"{spreads[SAME][name]:.2f} pp" for name in CLASSIFIERS)
            + "; a new split each time: "
            + ", ".join(f"{spreads[NEW][name]:.2f} pp" for name in CLASSIFIERS)
            + f"; an MLP on the same data: {spreads[SAME][MLP]:.2f} pp",
            "explained: these three are deterministic, but the paper's source draws a new random "
            "split in each run; only the MLP depends on initial weights",
        ),
        Claim(
            "Fig. 2a",
            "too small initial weights take a long time to converge",
            f"median loss {small[0]:.2f} after 1 epoch, {small[1]:.2f} after {epochs} "
            f"(fitting: {fitting[0]:.2f}, {fitting[1]:.2f})",
            _verdict(is_so=fitting[1] < small[1] < small[0]),
        ),
        Claim(
            "Fig. 2c",
            "too large initial weights never converge",
            f"median loss {large[0]:.2f} after 1 epoch, {large[1]:.2f} after {epochs}",
            _verdict(is_so=large[1] > small[1]),
        ),
    ]


def _verdict(*, is_so: bool) -> str:
    return "reproduced" if is_so else "not reproduced"


def summary(results: Results) -> str:
    rows = [
        [
            name,
            data,
            str(len(accuracies)),
            f"{100 * np.mean(accuracies):.2f}",
            f"{100 * np.min(accuracies):.2f} to {100 * np.max(accuracies):.2f}",
        ]
        for data, by_name in results["runs"].items()
        for name, accuracies in by_name.items()
    ]
    losses = [
        [
            name,
            str(len(curves)),
            *(
                f"{np.median([curve[epoch] for curve in curves]):.3g}"
                for epoch in (0, len(curves[0]) // 3 - 1, -1)
            ),
        ]
        for name, curves in results["initial_weights"].items()
    ]
    epochs = results["setting"]["epochs"]
    return "\n\n".join(
        [
            markdown_table(["classifier", "data", "runs", "mean accuracy [%]", "range"], rows),
            markdown_table(
                [
                    "initial weights",
                    "initializations",
                    "median loss after 1 epoch",
                    f"after {epochs // 3}",
                    f"after {epochs}",
                ],
                losses,
            ),
        ]
    )


EXPERIMENT = Experiment("motivation", figures, summary, SETTINGS, run, claims)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
