"""Draw trials of the greedy and the annealing sampler on a landscape: ``draw_samplers.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna

import adnn_optuna as adnn

FILE = Path(__file__).resolve().parent / "_static" / "samplers.svg"
N_TRIALS = 60
BEST_X, BEST_Y = 0.5, -0.35
NOISE = 0.15
SIDE = 340  # The width of a panel in pixels.

STYLE = """
text { fill: #1f2328; text-anchor: middle; }
.title { font-weight: bold; }
.panel { fill: #fff; stroke: #57606a; }
.level { fill: #0969da; fill-opacity: 0.07; stroke: #0969da; stroke-opacity: 0.25; }
.trial { stroke: #fff; stroke-width: 0.7; }
.best { fill: none; stroke: #1f2328; stroke-width: 2; }
"""


def landscape(trial: optuna.Trial) -> float:
    """Return the value of a trial: highest at one point, with random noise."""
    x = trial.suggest_float("weight offset", -1, 1)
    y = trial.suggest_float("bias offset", -1, 1)
    noise = NOISE * np.random.default_rng(trial.number).normal()
    return float(noise - (x - BEST_X) ** 2 - (y - BEST_Y) ** 2)


def points(sampler: optuna.samplers.BaseSampler) -> list[tuple[float, float]]:
    """Return the coordinates in pixels of the sampler's trials, in their order."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(landscape, n_trials=N_TRIALS)
    places = [tuple(trial.params.values()) for trial in study.trials]
    return [((1 + x) / 2 * SIDE, (1 - y) / 2 * SIDE) for x, y in places]


def color(share: float) -> str:
    """Return the colour of a trial: orange for the first (0) to dark violet for the last (1)."""
    first, last = (245, 158, 66), (76, 29, 149)
    mixed = (round(a + share * (b - a)) for a, b in zip(first, last, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def panel(left: int, title: str, trials: list[tuple[float, float]]) -> str:
    """Return a panel with the landscape and the trials of a sampler."""
    best_x, best_y = (1 + BEST_X) / 2 * SIDE, (1 - BEST_Y) / 2 * SIDE
    name, _, text = title.partition(": ")
    levels = [
        f'<circle class="level" cx="{best_x}" cy="{best_y}" r="{radius}"/>'
        for radius in range(30, 400, 40)
    ]
    dots = [
        f'<circle class="trial" cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color(share)}"/>'
        for (x, y), share in zip(trials, np.linspace(0, 1, len(trials)), strict=True)
    ]
    return "\n".join(
        [
            f'<g transform="translate({left} 66)">',
            f'<text class="title" x="{SIDE / 2}" y="-38">{name}</text>',
            f'<text x="{SIDE / 2}" y="-16">{text}</text>',
            f'<rect class="panel" width="{SIDE}" height="{SIDE}"/>',
            f'<g clip-path="url(#panel)">{"".join(levels)}</g>',
            *dots,
            f'<path class="best" d="M{best_x - 9} {best_y}h18m-9 -9v18"/></g>',
        ]
    )


def legend() -> str:
    """Return the legend: the colours of first to last trials, and the sign of the best point."""
    dots = [
        f'<circle class="trial" cx="{150 + 14 * i}" cy="430" r="5" fill="{color(i / 9)}"/>'
        for i in range(10)
    ]
    return "\n".join(
        [
            '<text x="102" y="435">first trial</text>',
            *dots,
            '<text x="326" y="435">last trial</text>',
            '<path class="best" d="M451 430h18m-9 -9v18"/>',
            '<text x="530" y="435">the best point</text>',
        ]
    )


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    greedy = points(adnn.DeltaStepSampler(deltas=(0.05,)))
    start = {"weight offset": 0.0, "bias offset": 0.0}
    annealing = points(adnn.AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=N_TRIALS, x0=start))
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 450" role="img" '
        'aria-label="Greedy and annealing on one landscape" font-family="sans-serif" '
        'font-size="15">'
    )
    parts = [
        head,
        f"<style>{STYLE}</style>",
        f'<clipPath id="panel"><rect width="{SIDE}" height="{SIDE}"/></clipPath>',
        '<rect width="760" height="450" rx="8" fill="#f6f8fa"/>',
        panel(30, "greedy: equal steps, whatever the results", greedy),
        panel(390, "annealing: smaller and smaller moves near the best", annealing),
        legend(),
        "</svg>",
    ]
    FILE.write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
