"""RQ3, figure 7: the best gain over time, and how many cases reach it in 2/3 of the time.

The paper ran each model for an hour, and evaluated it every 10 minutes. Here, a search has 100
trials, 50 with each of the two values of δ, and takes minutes. It is evaluated after each sixth of
its time. The trials, their seconds and the committed results come from ``rq2_trials.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from _common import COLORS, Claim, Experiment, Results, main, markdown_table, panel_of, panels
from _paper import CHOSEN_DELTAS, PAPERS, TITLES, by_model, gains, run_walks
from rq2_trials import SETTINGS

if TYPE_CHECKING:
    import plotly.graph_objects as go

# The paper evaluates every 10 minutes of an hour; its 40 minutes are the fourth evaluation.
LOOKS = 6
PAPERS_LOOK = 4


def searches(found: Results) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return each model's seconds since the start and its best gain so far, by trial.

    Models are omitted if walks with some chosen δ are missing.
    """
    searched = {}
    for name, walk_at in by_model(found).items():
        if len(walk_at) == len(CHOSEN_DELTAS):
            seconds = np.concatenate([walk["seconds"] for walk in walk_at.values()])
            gain = np.concatenate([gains(walk) for walk in walk_at.values()])
            searched[name] = np.cumsum(seconds), np.maximum.accumulate(np.maximum(gain, 0))
    return searched


def at_looks(seconds: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return the best gain so far at each sixth of the time; 0 before the first trial ended."""
    times = seconds[-1] * np.arange(1, LOOKS + 1) / LOOKS
    done = np.searchsorted(seconds, times * (1 + 1e-9), side="right")
    return np.concatenate([[0.0], best])[done]


def rows(results: Results) -> list[Results]:
    """Return the gain of each search at each evaluation, in percentage points."""
    table = []
    for size, found in results["walks"].items():
        for name, (seconds, best) in searches(found).items():
            looks = at_looks(seconds, best)
            table.append(
                {
                    "training": TITLES[size].split(":")[0],
                    "model": name,
                    "trials": len(best),
                    "minutes": seconds[-1] / 60,
                    "looks": looks.tolist(),
                    "is_at_best": bool(looks[PAPERS_LOOK - 1] == best[-1]),
                }
            )
    return table


def figures(results: Results) -> dict[str, go.Figure]:
    # The figure shows the size for which most models have results.
    searched = {size: searches(found) for size, found in results["walks"].items()}
    size = max(searched, key=lambda s: (len(searched[s]), s == PAPERS.name))
    shown = panels(
        list(searched[size]),
        "Minutes",
        "Best gain so far [pp]",
    )
    for i, (seconds, best) in enumerate(searched[size].values()):
        minutes = seconds / 60
        shown.add_scatter(
            x=[0, *minutes],
            y=[0, *best],
            mode="lines",
            line={"shape": "hv", "color": COLORS[0]},
            name="best gain so far",
            showlegend=i == 0,
            **panel_of(i),
        )
        shown.add_scatter(
            x=minutes[-1] * np.arange(1, LOOKS + 1) / LOOKS,
            y=at_looks(seconds, best),
            mode="markers",
            marker={"size": 8, "color": COLORS[1]},
            name="each sixth of the time",
            showlegend=i == 0,
            **panel_of(i),
        )
    shown.update_yaxes(rangemode="tozero")
    shown.update_layout(title=f"δ = 0.0025, then 0.003, {TITLES[size].split(':')[0]}")
    return {"": shown}


def claims(results: Results) -> list[Claim]:
    counts: dict[str, list[bool]] = {}
    for row in rows(results):
        counts.setdefault(row["training"], []).append(row["is_at_best"])
    return [
        Claim(
            "Fig. 7, RQ3",
            "within 40 of 60 minutes the maximum is reached in 4 of 6 cases (~66%)",
            "within two thirds of the time: "
            + "; ".join(
                f"{training}, in {sum(at_best)} of {len(at_best)} cases"
                for training, at_best in counts.items()
            ),
            "explained: if all trials are equally good, the best is among the first two thirds "
            "with probability 2/3",
        )
    ]


def summary(results: Results) -> str:
    return markdown_table(
        ["training", "model", "trials", "minutes", *(f"{i}/{LOOKS}" for i in range(1, LOOKS + 1))],
        [
            [
                row["training"],
                row["model"],
                str(row["trials"]),
                f"{row['minutes']:.1f}",
                *(f"{gain:+.2f}" for gain in row["looks"]),
            ]
            for row in rows(results)
        ],
    )


EXPERIMENT = Experiment(
    "rq3_time", figures, summary, SETTINGS, run_walks, claims, results_of="rq2_trials"
)

if __name__ == "__main__":
    main(EXPERIMENT, __doc__)
