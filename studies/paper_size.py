"""The paper's size at last: does a search beat luck, and what does the same compute buy otherwise?

The six models in the paper's training (60,000 images, of which 10,000 are for validation; 10
epochs). Each arm of a seed has the same initial weights, batches and compute: Algorithm 1,
simulated annealing, random restarts, a search of the learning rate with nothing moved, and one
training for the epochs of all trials. What is compared is the accuracy of each arm's choice on the
10,000 test images.

The results are written seed by seed, and a run goes on after the seeds that are committed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
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
    interval,
    judged,
    main,
    markdown_table,
    mean_and_std,
    panel_of,
    panels,
)
from _paper import PAPERS, PUBLISHED, TINY, Size

import adnn_optuna as adnn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import plotly.graph_objects as go

    from adnn_optuna.evidence.paired_differences import PairedDifference

SEARCHERS = ("greedy", "annealing", "random_restart")
CONTROLS = ("learning_rate", "longer")
ARMS = (*SEARCHERS, *CONTROLS)
OF_SEARCHERS = claims_on(SEARCHERS)
OF_CONTROLS = tuple((control, arm) for control in CONTROLS for arm in SEARCHERS)
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
    "quick": Settings(TINY, trials=2, seeds=2, models=MODELS[:1]),
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


def accuracies(results: Results, name: str) -> dict[str, list[float]]:
    """Return the test accuracies of each arm on a model, over the first seeds that are done."""
    found, planned = results["models"].get(name, {}), range(results["setting"]["seeds"])
    known = [found[str(s)] for s in itertools.takewhile(lambda s: str(s) in found, planned)]
    unmoved = [of_seed["greedy"]["test_baseline"] for of_seed in known]
    return {"unmoved": unmoved, **{arm: [of[arm]["test"] for of in known] for arm in ARMS}}


def begun(results: Results) -> dict[str, dict[str, list[float]]]:
    """Return the accuracies of each model of which there is any, in the paper's order."""
    of_all = {name: accuracies(results, name) for name in PUBLISHED}
    return {name: of_model for name, of_model in of_all.items() if of_model["unmoved"]}


def differences(results: Results) -> dict[str, dict[tuple[str, str], PairedDifference]]:
    """Judge the claims on each model that is done, and on the mean over them.

    Of a model that is not done there are differences without intervals and verdicts.
    """
    n_planned, found = results["setting"]["seeds"], begun(results)
    done = {name: of for name, of in found.items() if len(of["unmoved"]) == n_planned}
    if len(done) > 1:
        means = {arm: np.mean([of[arm] for of in done.values()], axis=0).tolist() for arm in ARMS}
        found[f"mean of {', '.join(done)}"] = means
    rows = {name: judged(of, OF_SEARCHERS, OF_CONTROLS) for name, of in found.items()}
    for name in begun(results).keys() - done.keys():
        rows[name] = {
            pair: dataclasses.replace(d, low=-math.inf, high=math.inf, verdict=None)
            for pair, d in rows[name].items()
        }
    return rows


def figures(results: Results) -> dict[str, go.Figure]:
    found = begun(results)
    n_planned = results["setting"]["seeds"]
    titles = [f"{name}, {len(of['unmoved'])} of {n_planned} seeds" for name, of in found.items()]
    shown = panels(titles, "", "Gain in test accuracy [pp]", columns=2)
    for i, of_model in enumerate(found.values()):
        for j, arm in enumerate(ARMS):
            shown.add_box(
                y=100 * np.subtract(of_model[arm], of_model["unmoved"]),
                name=arm,
                boxpoints="all",
                boxmean=True,
                marker={"color": COLORS[j], "size": 5},
                showlegend=False,
                **panel_of(i, columns=2),
            )
        shown.add_hline(y=0, line={"color": "gray", "width": 1}, **panel_of(i, columns=2))
    shown.update_layout(
        title=f"What the compute of {results['setting']['trials']} trainings gains on the test "
        "images, in the paper's training",
        margin_b=130,
    )
    return {"": shown}


def sentences(results: Results) -> dict[str, str]:
    """Return how the arms of each model differ from luck, or that this is open."""
    names = {
        "greedy": "Algorithm 1",
        "learning_rate": "another learning rate",
        "longer": "one longer training",
    }
    found = {}
    for name, of_model in begun(results).items():
        rows = [d for d in differences(results)[name].values() if d.other == "random_restart"]
        shown = [f"{names.get(d.arm, d.arm)} {interval(d)} pp ({d.verdict})" for d in rows]
        seeds = f"{len(of_model['unmoved'])} of {results['setting']['seeds']} planned seeds"
        is_done = None not in {d.verdict for d in rows}
        found[name] = (
            f"{name}, against random restarts: {', '.join(shown)}"
            if is_done
            else f"{name} is open ({seeds} are done)"
        )
    return found


def claims(results: Results) -> list[Claim]:
    rows = []
    for name, sentence in sentences(results).items():
        verdict = differences(results)[name]["greedy", "random_restart"].verdict
        judged_as = "reproduced" if verdict == "better" else "not reproduced"
        rows.append(
            Claim(
                "RQ2",
                f"the search raises the accuracy of {name}",
                f"the paper's training, the same compute for all, on test images: {sentence}",
                f"{judged_as}: against random restarts, Algorithm 1 is {verdict}"
                if verdict
                else "open",
            )
        )
    return rows


def summary(results: Results) -> str:
    found, n_planned = begun(results), results["setting"]["seeds"]
    gains = [
        [
            name,
            f"{len(of['unmoved'])} of {n_planned}",
            f"{100 * np.mean(of['unmoved']):.2f}",
            *(mean_and_std(np.subtract(of[arm], of["unmoved"])) for arm in ARMS),
        ]
        for name, of in found.items()
    ]
    parts = [
        markdown_table(["model: test gain [pp]", "planned seeds", "unmoved [%]", *ARMS], gains),
        differences_table(differences(results), OF_SEARCHERS),
        differences_table(differences(results), OF_CONTROLS),
    ]
    if missing := [name for name in PUBLISHED if name not in found]:
        parts.append(f"Not run yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


EXPERIMENT = Experiment("paper_size", figures, summary, SETTINGS, run, claims)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
