"""The paper's size: does Algorithm 1 gain more than random restarts, also on new seeds?

The six models have the paper's training: all 60,000 images and 10 epochs. The best networks are
selected by the paper's metric, the accuracy on the training images. The claims are on their
accuracy on the 10,000 test images. There are three arms: Algorithm 1, simulated annealing and
random restarts. Each arm has the same baseline network and 50 more trials. As in the paper, a walk
is 50 steps of one δ; seeds take the paper's two values of δ in turn. Finally, the best network of
each search is trained once more from one new seed, and so is its baseline network.

The results are written seed by seed, and the same command continues them, trial by trial.
Two processes may share the work: one process has ``--models MNIST-4 MNIST-1 MNIST-2``, and the
other process has the other models.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from concurrent import futures
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from _common import (
    COLORS,
    CONTROL_COLOR,
    Claim,
    Experiment,
    Results,
    claims_on,
    differences_table,
    interval,
    judged,
    main,
    markdown_table,
    mean_and_std,
    panel_of,
    panels,
)
from _paper import CHOSEN_DELTAS, PAPERS, PUBLISHED, TINY, TRIALS, Size, paper_objective

import adnn_optuna as adnn
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.samplers import DeltaStepSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import plotly.graph_objects as go
    from optuna.storages import BaseStorage

    from adnn_optuna.networks.offsets import Start
    from adnn_optuna.networks.training import Trainer, TrainingRun
    from adnn_optuna.stats.paired_differences import PairedDifference

ARMS = ("greedy", "annealing", "random_restart")
NAMES = {"greedy": "Algorithm 1"}
OF_RESTARTS = claims_on(ARMS)
BASELINE = "baseline"
OFFSETS = adnn.OffsetSpace(low=-0.2, high=0.2)  # 50 steps of the larger δ end at 0.15.
# These arms have best networks that can be trained from another seed. Random restarts already
# differ by their seeds.
SEARCHES = ("greedy", "annealing")
OF_REPLICATION = (("annealing", "greedy"), ("greedy", BASELINE), ("annealing", BASELINE))
POOLED = "mean over the models"
# The arms of an earlier setting. Results of some of its seeds have been seen.
EARLIER = (*ARMS, "learning_rate", "longer")
# Models with four hidden layers come first, because the paper's largest claims are about them.
FIRST = ("MNIST-4", "FMNIST-4")
MODELS = (*FIRST, "MNIST-1", "FMNIST-1", "MNIST-2", "FMNIST-2")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The comparisons that are computed.

    Args:
        size: The size of the training runs.
        trials: The trials of each arm, in addition to the baseline network.
        seeds: The planned seeds.
        models: The models.
    """

    size: Size
    trials: int
    seeds: tuple[int, ...]
    models: tuple[str, ...] = MODELS


SETTINGS = {
    # These are new seeds, because the means of some seeds below 10 have been seen.
    "full": Settings(PAPERS, TRIALS, tuple(range(10, 18))),
    "quick": Settings(TINY, trials=2, seeds=(10, 11), models=MODELS[:1]),
}


def remember_runs(trainer: Trainer) -> None:
    """Make a trainer train once from each start, because arms share their baseline network.

    A trained network is also reused for its test.
    """
    known: dict[Start, TrainingRun] = {}
    train = trainer.train_in_turn

    def train_in_turn(starts: Sequence[Start], **options: Any) -> Iterator[TrainingRun]:
        options["keep_weights"] = True
        for start in starts:
            if (run := known.get(start)) is None:
                [run] = train([start], **options)
                if run.status != "stopped":
                    known[start] = run
            yield run

    vars(trainer)["train_in_turn"] = train_in_turn


def planned(settings: Settings) -> Iterator[tuple[str, int]]:
    """Yield models and seeds in the order of their runs."""
    last = [name for name in settings.models if name not in FIRST]
    for names in ([name for name in settings.models if name in FIRST], last):
        yield from ((name, seed) for seed in settings.seeds for name in names)


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Compare the arms on one model and seed after another."""
    known: Results = EXPERIMENT.load() if settings.size == PAPERS else {"models": {}}
    yield from run_units(EXPERIMENT.name, ARMS, settings, storage, known)


def run_units(
    study: str, arms: Sequence[str], settings: Settings, storage: str, known: Results
) -> Iterator[Results]:
    """Compare the arms on one model and seed after another, without the known units."""
    opened = open_storage(storage)
    prefix = f"{study}/{settings.size.name}/trials={settings.trials}/"
    for name, seed in planned(settings):
        if str(seed) not in done(opened, prefix, known)["models"].get(name, {}):
            study_name = f"{prefix}{name}/{seed}"
            found = compared(arms, settings, name, seed, storage=opened, study_name=study_name)
            head = optuna.load_study(study_name=study_name, storage=opened)
            head.set_user_attr("unit", {"model": name, "seed": seed, "found": found})
        yield done(opened, prefix, known)


def done(storage: BaseStorage, prefix: str, known: Results) -> Results:
    """Return all complete units (a model and a seed), including those of other processes."""
    models: Results = {name: dict(known["models"].get(name, {})) for name in MODELS}
    for study in storage.get_all_studies():
        if "unit" in study.user_attrs and study.study_name.startswith(prefix):
            unit = study.user_attrs["unit"]
            models[unit["model"]][str(unit["seed"])] = unit["found"]
    begun = {name: of for name, of in models.items() if of}
    return {**known, "models": {name: dict(sorted(of.items())) for name, of in begun.items()}}


def compared(
    arms: Sequence[str],
    settings: Settings,
    name: str,
    seed: int,
    *,
    storage: BaseStorage,
    study_name: str,
) -> Results:
    """Run the arms of one seed, one training run at a time."""
    objective = paper_objective(name, settings.size).replace(space=OFFSETS)
    remember_runs(objective.trainer)
    delta = CHOSEN_DELTAS[seed % len(CHOSEN_DELTAS)]
    walk = DeltaStepSampler(deltas=(delta,), max_steps=settings.trials)
    with warnings.catch_warnings(), futures.ThreadPoolExecutor(1) as executor:
        # The warning says that one seed decides nothing. This study judges all seeds together.
        warnings.filterwarnings("ignore", message=".* can decide nothing")
        comparison = adnn.compare(
            objective,
            {arm: walk if arm == "greedy" else arm for arm in arms},
            # The first trial of each arm is the baseline network.
            max_trial=settings.trials + 1,
            seeds=[seed],
            # `regimes_controls.py` compares with other uses of the same compute.
            controls=(),
            storage=storage,
            study_name=study_name,
            batch_size=1,
            executor=executor,
            show_progress_bar=True,
        )
    found: Results = {"delta": delta}
    for arm, [result] in comparison.results.items():
        assert result.best is not None, "The baseline network at least is trained to its end."
        found[BASELINE] = {"train": result.baseline, "test": result.test_baseline}
        trials = [
            trial.value for trial in result.record.done_trials[1:] if trial.value is not None
        ]
        found[arm] = {
            "train": result.best_value,
            "mean": float(np.mean(trials)),
            "test": result.test_value,
            "params": result.best.params,
        }
        if arm in SEARCHES:
            found[arm]["replication"] = result.record.gain_on_new_seed
    return found


def of_units(results: Results, name: str) -> list[Results]:
    """Return the units of a model, up to the first incomplete seed of the plan."""
    found, planned = results["models"].get(name, {}), map(str, results["setting"]["seeds"])
    return [found[seed] for seed in itertools.takewhile(found.__contains__, planned)]


def n_done(results: Results) -> dict[str, int]:
    """Return the number of complete planned seeds of each model."""
    return {name: len(of_units(results, name)) for name in PUBLISHED}


def accuracies(units: Sequence[Results]) -> dict[str, list[float]]:
    """Return the test accuracies of each arm."""
    return {arm: [unit[arm]["test"] for unit in units] for arm in ARMS}


def replication(units: Sequence[Results]) -> dict[str, list[float]]:
    """Return the test gains of each search's best network, on one new seed per search."""
    gains = {arm: [unit[arm]["replication"] for unit in units] for arm in SEARCHES}
    return {**gains, BASELINE: [0.0] * len(units)}


def differences(
    results: Results,
    values: Callable[[Sequence[Results]], dict[str, list[float]]],
    claims: Sequence[tuple[str, str]],
) -> dict[str, dict[tuple[str, str], PairedDifference]]:
    """Judge claims on each model that has any seed, and on the mean over all models.

    A model that is not complete has differences without CIs and verdicts. The mean is omitted
    until all models are complete.
    """
    of_all = {name: units for name in PUBLISHED if (units := of_units(results, name))}
    n_planned, setting = len(results["setting"]["seeds"]), results["setting"]
    found = {name: values(units) for name, units in of_all.items()}
    is_done = {name: len(units) == n_planned for name, units in of_all.items()}
    if all(is_done.get(name) for name in setting["models"]):
        arms = dict.fromkeys(itertools.chain(*claims))
        found[POOLED] = {
            arm: np.mean([of[arm] for of in found.values()], axis=0).tolist() for arm in arms
        }
    rows = {name: judged(of, claims) for name, of in found.items()}
    for name, is_judged in is_done.items():
        if not is_judged:
            rows[name] = {
                pair: dataclasses.replace(d, low=math.nan, high=math.nan, verdict=None)
                for pair, d in rows[name].items()
            }
    return rows


def figures(results: Results) -> dict[str, go.Figure]:
    n_planned = len(results["setting"]["seeds"])
    of_all = {name: units for name in PUBLISHED if (units := of_units(results, name))}
    titles = [f"{name}, {len(units)} of {n_planned} seeds" for name, units in of_all.items()]
    shown = panels(titles or [""], "", "Gain in test accuracy [pp]", columns=2)
    for i, units in enumerate(of_all.values()):
        baseline = [unit[BASELINE]["test"] for unit in units]
        for j, (arm, found) in enumerate(accuracies(units).items()):
            shown.add_box(
                y=100 * np.subtract(found, baseline),
                name=arm,
                boxpoints="all",
                boxmean=True,
                marker={
                    "color": CONTROL_COLOR if arm == "random_restart" else COLORS[j],
                    "size": 5,
                },
                showlegend=False,
                **panel_of(i, columns=2),
            )
        shown.add_hline(y=0, line={"color": "gray", "width": 1}, **panel_of(i, columns=2))
    shown.update_layout(
        title=f"Gain of the best of {results['setting']['trials']} trials on the test images, "
        "in the paper's training",
    )
    return {"": shown}


def findings(results: Results) -> list[list[str]]:
    """Return a row for each arm and question: the mean over models, and the conclusive models."""
    of_restarts = differences(results, accuracies, OF_RESTARTS)
    of_replication = differences(results, replication, OF_REPLICATION)
    asked = (
        (" - random restarts", of_restarts, "random_restart"),
        (", replication", of_replication, BASELINE),
    )
    rows = []
    for (question, judged_of, other), arm in itertools.product(asked, SEARCHES):
        by_model = {name: of[arm, other] for name, of in judged_of.items()}
        mean = by_model.pop(POOLED)
        decided = [
            f"{name} {cell(difference)}"
            for name, difference in by_model.items()
            if difference.verdict not in {"inconclusive", ""}
        ]
        name = f"{NAMES.get(arm, arm)}{question}"
        rows.append([name, cell(mean), "; ".join(decided) or "none"])
    return rows


def cell(difference: PairedDifference) -> str:
    return f"{interval(difference)}, {difference.verdict}"


def told(difference: PairedDifference) -> str:
    return f"{interval(difference)} pp ({difference.verdict})"


def claims(results: Results) -> list[Claim]:
    judged_of = differences(results, accuracies, OF_RESTARTS)
    of_replication = differences(results, replication, OF_REPLICATION)
    of_models, n_planned = n_done(results), len(results["setting"]["seeds"])
    rows = []
    for name, n in {**of_models, POOLED: min(of_models.values())}.items():
        verdict, said = "open", f"{n} of {n_planned} planned seeds are complete"
        if n == n_planned:
            of_restarts = {arm: judged_of[name][arm, "random_restart"] for arm in SEARCHES}
            rows_said = [f"{NAMES.get(arm, arm)} {told(d)}" for arm, d in of_restarts.items()]
            said = f"against random restarts, {', '.join(rows_said)}"
            found = of_restarts["greedy"].verdict
            again = of_replication[name]["greedy", BASELINE].verdict
            shown = {
                "better": f"better than random restarts (replication {again})",
                "inconclusive": "not shown",
            }
            verdict = (
                f"{shown.get(str(found), 'not reproduced')}: against random restarts, Algorithm 1 "
                f"is {found}; the replication of its best networks is {again}"
            )
        rows.append(
            Claim(
                "RQ2",
                f"the search raises the accuracy{': ' if name == POOLED else ' of '}{name}, the "
                "paper's training",
                f"the paper's training, equal compute, on test images: {said}",
                verdict,
            )
        )
    return rows


def summary(results: Results) -> str:
    n_planned = len(results["setting"]["seeds"])
    gains = []
    for name in PUBLISHED:
        units = of_units(results, name)
        row = [name, f"{len(units)} of {n_planned}"]
        for split in ("train", "test") if units else ():
            baseline = [unit[BASELINE][split] for unit in units]
            found = {arm: np.subtract([u[arm][split] for u in units], baseline) for arm in ARMS}
            row += [f"{100 * np.mean(baseline):.2f}", *map(mean_and_std, found.values())]
        gains.append(row + [""] * (2 + 2 * (1 + len(ARMS)) - len(row)))
    of_splits = [(f"{split}: baseline [%]", *ARMS) for split in ("train", "test")]
    parts = [
        markdown_table(["gain [pp]", "planned seeds", *itertools.chain(*of_splits)], gains),
        "On test images:",
        differences_table(differences(results, accuracies, OF_RESTARTS), OF_RESTARTS),
        "Replication: the best networks minus their baseline networks, on one new seed each:",
        differences_table(differences(results, replication, OF_REPLICATION), OF_REPLICATION),
    ]
    if earlier := results.get("earlier"):
        parts.append(
            "The next table has gains on test images in an earlier setting (50,000 images, "
            f"{earlier['setting']['trials']} trials, selection on 10,000 validation images). They "
            "are not in any claim, because we saw them before we planned the other seeds."
        )
        parts.append(
            markdown_table(
                ["earlier: gain [pp]", "seeds", "baseline [%]", *EARLIER],
                [earlier_row(name, of) for name, of in earlier["models"].items()],
            )
        )
    return "\n\n".join(parts)


def earlier_row(name: str, of_seeds: Results) -> list[str]:
    baseline = [of["greedy"]["test_baseline"] for of in of_seeds.values()]
    gains = [
        np.subtract([of[arm]["test"] for of in of_seeds.values()], baseline) for arm in EARLIER
    ]
    mean = f"{100 * np.mean(baseline):.2f}"
    return [name, str(len(baseline)), mean, *map(mean_and_std, gains)]


EXPERIMENT = Experiment("paper_size", figures, summary, SETTINGS, run, claims, models=MODELS)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
