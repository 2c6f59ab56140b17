"""RQ2, figures 5 and 6: the gain in each of 50 trials of Algorithm 1, for the six models.

As in the paper, gains are over the baseline of the same seed, in accuracy on the training images.
The accuracies of the baseline and of the best trial on the test images are shown beside them.
These walks have one seed, so no test is possible. ``rq1_step_size.py`` tests over seeds whether
the gain depends on the trial's number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import baselines
import numpy as np
import rq1_step_size
from _common import COLORS, Claim, Experiment, Results, main, markdown_table, panel_of, panels
from _paper import (
    CHOSEN_DELTAS,
    PAPERS,
    PUBLISHED,
    SHORT,
    TINY,
    TITLES,
    TRIALS,
    Published,
    WalkSettings,
    by_model,
    gains,
    run_walks,
)
from scipy import stats

if TYPE_CHECKING:
    import plotly.graph_objects as go

SETTINGS = {
    "full": WalkSettings((SHORT, PAPERS), CHOSEN_DELTAS, TRIALS),
    "quick": WalkSettings((TINY,), CHOSEN_DELTAS, trials=2),
}


def figures(results: Results) -> dict[str, go.Figure]:
    names = {SHORT.name: "short", PAPERS.name: "paper", TINY.name: "quick"}
    return {
        f"_{names[size]}": figure(size, by_model(found))
        for size, found in results["walks"].items()
    }


def figure(size: str, walks: dict[str, dict[float, Results]]) -> go.Figure:
    shown = panels(list(walks), "Trial", "Gain in training accuracy [pp]")
    for i, walk_at in enumerate(walks.values()):
        for j, (delta, walk) in enumerate(walk_at.items()):
            gain = gains(walk)
            trials = np.arange(1, len(gain) + 1)
            shown.add_scatter(
                x=trials,
                y=gain,
                mode="lines+markers",
                marker={"size": 4, "color": COLORS[j]},
                name=f"δ = {delta}",
                showlegend=i == 0,
                **panel_of(i),
            )
            shown.add_scatter(
                x=[trials[gain.argmax()]],
                y=[gain.max()],
                mode="markers",
                marker={"symbol": "triangle-up", "size": 13, "color": COLORS[j]},
                name="best",
                showlegend=False,
                **panel_of(i),
            )
        shown.add_hline(y=0, line={"color": "gray", "width": 1}, **panel_of(i))
    shown.update_layout(title=f"Algorithm 1, {TITLES[size]}")
    return shown


def rows(results: Results) -> list[Results]:
    """Return the gains of each walk, in percentage points."""
    draws = {row["model"]: row for row in baselines.rows(baselines.EXPERIMENT.load())}
    table = []
    for size, found in results["walks"].items():
        for name, walk_at in by_model(found).items():
            for delta, walk in walk_at.items():
                gain = gains(walk)
                table.append(
                    {
                        "size": size,
                        "model": name,
                        "delta": delta,
                        "trials": len(gain),
                        "gain": max(gain.max(), 0.0),
                        "best_trial": int(gain.argmax()) + 1,
                        "mean": gain.mean(),
                        # The draws have the paper's training settings, so only walks with these
                        # settings are compared.
                        "over_draws": 100 * max(walk["accuracy"]) - draws[name]["mean"]
                        if size == PAPERS.name
                        else np.nan,
                        "draws": draws[name]["draws"],
                        "luck": draws[name]["luck"],
                        "test_gain": 100 * (walk["test_best"] - walk["test_baseline"]),
                        "trend": stats.spearmanr(np.arange(len(gain)), gain).statistic,
                    }
                )
    return table


def claims(results: Results) -> list[Claim]:
    table = rows(results)
    found = []
    for name, published in PUBLISHED.items():
        of_model = [row for row in table if row["model"] == name]
        ours = [
            f"{TITLES[row['size']].split(':')[0]}, δ = {row['delta']}: {row['gain']:+.2f} pp "
            f"(on test images {row['test_gain']:+.2f} pp"
            + (
                f"; {row['over_draws']:+.2f} pp over the mean of {row['draws']} random draws)"
                if row["size"] == PAPERS.name
                else ")"
            )
            for row in of_model
        ]
        best = max(row["gain"] for row in of_model if row["size"] == size_judged(of_model))
        claim = f"{name}: a gain of {published.gain:.2f}%"
        found.append(
            Claim(
                "Fig. 5 and 6, RQ2",
                claim,
                "; ".join(ours),
                verdict(published, best, size_judged(of_model)),
            )
        )
    found.append(trend_claim(table))
    return found


def trend_claim(table: list[Results]) -> Claim:
    """Judge from the seeds of RQ1 whether the gains of trials follow a trend."""
    many = rq1_step_size.EXPERIMENT.load()
    trends = rq1_step_size.trends(many)
    mean = np.array([row["correlations"].mean() for row in trends])
    is_tested = np.array([row["p"] for row in trends]) < 0.05 / len(trends)
    falling, rising = (is_tested & (mean < 0)).sum(), (is_tested & (mean > 0)).sum()
    ours = (
        f"Spearman's ρ of gain and trial, short training ({rq1_step_size.training(many)}): mean "
        f"over the seeds {mean.min():+.2f} to {mean.max():+.2f}; below 0 in {falling} and above 0 "
        f"in {rising} of {len(trends)} cases (sign flips of the seeds, p < 0.05 after Bonferroni)"
    )
    one = [row["trend"] for row in table if row["size"] == PAPERS.name]
    if one:
        ours += f"; the paper's training: {min(one):+.2f} to {max(one):+.2f}, one seed each"
    return Claim(
        "Fig. 5 and 6, RQ2",
        "the trials follow no trend",
        ours,
        ("not reproduced" if falling or rising else "no trend was found")
        + " in short training"
        + (", where larger offsets are worse" if falling > rising else "")
        + "; no verdict for the paper's training, which has one walk",
    )


def size_judged(of_model: list[Results]) -> str:
    """Return the paper's size if the model has results in it."""
    sizes = {row["size"] for row in of_model}
    return PAPERS.name if PAPERS.name in sizes else next(iter(sizes))


def verdict(published: Published, best: float, size: str) -> str:
    """Compare the gain that the paper reports with the best gain of this study."""
    training = TITLES[size].split(":")[0]
    if size != PAPERS.name:
        training += " (the paper's was not run)"
    if published.gain < 1:
        # The paper prints the fraction 0.038 as a percentage.
        return (
            f"explained: a slip, the paper means 3.80 pp; not reproduced in {training}; see below"
        )
    if best >= published.gain:
        return f"reproduced in size in {training}, on the training images and from one baseline"
    return f"not reproduced in {training}; explained: see below"


def summary(results: Results) -> str:
    table = rows(results)
    many = rq1_step_size.EXPERIMENT.load()
    walked = markdown_table(
        [
            "training",
            "model",
            "δ",
            "trials",
            "best gain",
            "in trial",
            f"over the mean of {table[0]['draws']} random draws",
            "best draw over this mean",
            "mean gain of all trials",
            "test gain of the best",
            "Spearman's ρ of gain and trial",
        ],
        [
            [
                TITLES[row["size"]].split(":")[0],
                row["model"],
                str(row["delta"]),
                str(row["trials"]),
                f"{row['gain']:+.2f}",
                str(row["best_trial"]),
                f"{row['over_draws']:+.2f}" if row["size"] == PAPERS.name else "",
                f"{row['luck']:+.2f}" if row["size"] == PAPERS.name else "",
                f"{row['mean']:+.2f}",
                f"{row['test_gain']:+.2f}",
                f"{row['trend']:+.2f}",
            ]
            for row in table
        ],
    )
    between = markdown_table(
        ["model", "δ", "seeds", "ρ of gain and trial: mean", "range", "p (sign flips)"],
        [
            [
                row["model"],
                str(row["delta"]),
                str(len(row["correlations"])),
                f"{row['correlations'].mean():+.2f}",
                f"{row['correlations'].min():+.2f} to {row['correlations'].max():+.2f}",
                f"{row['p']:.2g}",
            ]
            for row in rq1_step_size.trends(many)
        ],
    )
    return f"{walked}\n\nBetween seeds: {rq1_step_size.training(many)}.\n\n{between}"


EXPERIMENT = Experiment("rq2_trials", figures, summary, SETTINGS, run_walks, claims)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
