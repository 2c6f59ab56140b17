"""RQ1, figure 4: the best gain of Algorithm 1 against its step size δ, for the six models.

The unit of the tests is the seed, because the steps of one walk start from the same weights and
are not independent. Each seed has its own network, and a walk from it with each δ. Two questions
are tested between seeds. First, do best gains differ between the values of δ? This is Friedman's
test, with seeds as blocks. Second, does the gain depend on the trial's number? This is a sign-flip
test of Spearman's ρ of each seed's walk.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from _common import COLORS, Claim, Experiment, Results, main, markdown_table, panel_of, panels
from _paper import CHOSEN_DELTAS, DELTAS, TINY, Size, paper_objective
from scipy import stats

import adnn_optuna as adnn
from adnn_optuna.samplers import DeltaStepSampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import plotly.graph_objects as go


@dataclasses.dataclass(frozen=True)
class Settings:
    """The walks that are computed.

    Args:
        size: The size of the training runs.
        deltas: The lengths of a step.
        trials: The steps of each walk.
        seeds: The number of seeds, from 0 on.
    """

    size: Size
    deltas: Sequence[float]
    trials: int
    seeds: int


SETTINGS = {
    "full": Settings(Size(rows=10_000, epochs=1), DELTAS, trials=20, seeds=10),
    "quick": Settings(TINY, (0.0025, 0.003, 0.0065), trials=2, seeds=2),
}


def run(settings: Settings, storage: str) -> Iterator[Results]:
    """Train each seed's network once for each offset that a walk with any δ reaches.

    Yields:
        ``{"models": {model: {"offsets": …, "accuracy": …}}}``. The offsets begin with 0 for the
        baseline. For each seed, ``accuracy`` has a list with the accuracy (a fraction) for each
        offset.
    """
    offsets = sorted({offset_of(d, t) for d in settings.deltas for t in steps(settings.trials)})
    names = settings.size.models
    models: Results = {name: {"offsets": [0.0, *offsets], "accuracy": []} for name in names}
    for seed in range(settings.seeds):
        for name in names:
            result = adnn.search(
                paper_objective(name, settings.size, seed=seed),
                # Each offset is a separate walk of one step, because walks with different δ share
                # most offsets.
                DeltaStepSampler(deltas=offsets, max_steps=1),
                storage=storage,
                study_name=f"{name}/{settings.size.name}/seed={seed}/offsets={len(offsets)}",
                max_trial=len(offsets) + 1,
                batch_size=8,
                show_progress_bar=True,
            )
            trials = sorted(result.record.done_trials, key=lambda trial: trial.params["offset"])
            models[name]["accuracy"].append([trial.value for trial in trials])
        yield {"models": models}


def steps(trials: int) -> range:
    return range(1, trials + 1)


def offset_of(delta: float, step: int) -> float:
    return round(delta * step, 6)


def best_gains(results: Results, name: str) -> np.ndarray:
    """Return the best gain in percentage points by seed (rows) and δ (columns)."""
    setting = results["setting"]
    walked = [walks(results["models"][name], d, setting["trials"]) for d in setting["deltas"]]
    # The baseline is a candidate, too, so no best gain is below 0.
    return np.maximum(np.stack([gain.max(axis=1) for gain in walked], axis=1), 0.0)


def walks(found: Results, delta: float, trials: int) -> np.ndarray:
    """Return the gain in percentage points by seed (rows) and trial (columns)."""
    accuracy = np.array(found["accuracy"])
    columns = [found["offsets"].index(offset_of(delta, step)) for step in steps(trials)]
    return 100 * (accuracy[:, columns] - accuracy[:, :1])


def training(results: Results) -> str:
    """Return the size of the training runs, the trials and the seeds as text."""
    setting = results["setting"]
    size = Size(**setting["size"])
    return (
        f"{size.rows:,} images, {size.epochs} epoch{'s' * (size.epochs > 1)}, "
        f"{setting['trials']} trials, {setting['seeds']} seeds"
    )


def figures(results: Results) -> dict[str, go.Figure]:
    deltas = results["setting"]["deltas"]
    shown = panels(list(results["models"]), "Step size δ", "Best gain in training accuracy [pp]")
    for i, name in enumerate(results["models"]):
        gain = best_gains(results, name)
        for j, of_seed in enumerate(gain):
            shown.add_scatter(
                x=deltas,
                y=of_seed,
                mode="lines",
                line={"color": "lightgray", "width": 1},
                name="one seed",
                showlegend=i == j == 0,
                **panel_of(i),
            )
        mean = gain.mean(axis=0)
        shown.add_scatter(
            x=deltas,
            y=mean,
            mode="lines+markers",
            marker_color=COLORS[0],
            name="mean",
            showlegend=i == 0,
            **panel_of(i),
        )
        shown.add_scatter(
            x=[deltas[mean.argmax()]],
            y=[mean.max()],
            mode="markers",
            marker={"symbol": "triangle-up", "size": 13, "color": COLORS[1]},
            name="best δ",
            showlegend=i == 0,
            **panel_of(i),
        )
    shown.update_yaxes(rangemode="tozero")
    setting = results["setting"]
    shown.update_layout(title=f"{setting['seeds']} seeds, {setting['trials']} trials with each δ")
    return {"": shown}


def rows(results: Results) -> list[Results]:
    """Return the best δ over the seeds for each model, and whether the seeds' gains differ."""
    deltas = np.array(results["setting"]["deltas"])
    is_chosen = np.isin(deltas, CHOSEN_DELTAS)
    table = []
    for name in results["models"]:
        gain = best_gains(results, name)
        mean = gain.mean(axis=0)
        table.append(
            {
                "model": name,
                "best_delta": deltas[mean.argmax()],
                "gain": mean.max(),
                "least": mean.min(),
                # Other values of δ may have the same gain.
                "is_chosen_best": mean[is_chosen].max() == mean.max(),
                "seeds_chosen_best": int(
                    (gain[:, is_chosen].max(axis=1) == gain.max(axis=1)).sum()
                ),
                "p": stats.friedmanchisquare(*gain.T).pvalue,
            }
        )
    return table


def trends(results: Results) -> list[Results]:
    """Return tests between seeds of whether the gain depends on the trial's number.

    Each seed has one number, Spearman's ρ of its walk. The test flips the signs of these numbers
    (in all 2ⁿ ways up to 13 seeds); the null hypothesis is that their mean is 0.
    """
    trials = results["setting"]["trials"]
    table = []
    for name, found in results["models"].items():
        for delta in CHOSEN_DELTAS:
            correlations = np.array(
                [
                    stats.spearmanr(steps(trials), gain).statistic
                    for gain in walks(found, delta, trials)
                ]
            )
            test = stats.permutation_test((correlations,), np.mean, permutation_type="samples")
            table.append(
                {"model": name, "delta": delta, "correlations": correlations, "p": test.pvalue}
            )
    return table


def claims(results: Results) -> list[Claim]:
    table, n_deltas = rows(results), len(results["setting"]["deltas"])
    chosen = [row for row in table if row["is_chosen_best"]]
    different = [row for row in table if row["p"] < 0.05 / len(table)]
    gain = [row["gain"] for row in table]
    return [
        Claim(
            "Fig. 4, RQ1",
            "in 5 of 6 cases the gain is largest with δ = 0.0025 or 0.003",
            f"short training ({training(results)}), {n_deltas} values of δ, by the mean over "
            f"the seeds: in {len(chosen)} of {len(table)} cases; the mean gains of the best δ are "
            f"{min(gain):+.2f} to {max(gain):+.2f} pp",
            (
                "reproduced in short training"
                if len(chosen) >= 5
                else "not shown in short training, where the best δ differs from seed to seed"
            )
            + "; no verdict for the paper's training, which has one seed and two values of δ",
        ),
        Claim(
            "Fig. 4, RQ1",
            "the gain depends on δ",
            "short training: the seeds' best gains differ between the values of δ (Friedman's "
            f"test, p < 0.05 after Bonferroni) in {len(different)} of {len(table)} cases",
            (
                f"reproduced in {len(different)} of {len(table)} models with the offsets applied"
                if different
                else "not reproduced"
            )
            + ", in short training; in the authors' logs δ has no effect, as their code never "
            "added it (Kruskal-Wallis over their trials, which are independent draws: p from "
            "0.09 to 0.80)",
        ),
    ]


def summary(results: Results) -> str:
    return f"Short training: {training(results)}.\n\n" + markdown_table(
        [
            "model",
            "values of δ",
            "best δ, by the mean",
            "its mean gain",
            "mean gain of the worst δ",
            "seeds whose best δ is 0.0025 or 0.003",
            "Friedman's p",
        ],
        [
            [
                row["model"],
                str(len(results["setting"]["deltas"])),
                str(row["best_delta"]),
                f"{row['gain']:+.2f}",
                f"{row['least']:+.2f}",
                f"{row['seeds_chosen_best']} of {results['setting']['seeds']}",
                f"{row['p']:.2g}",
            ]
            for row in rows(results)
        ],
    )


EXPERIMENT = Experiment("rq1_step_size", figures, summary, SETTINGS, run, claims)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
