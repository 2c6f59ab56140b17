"""The picture of README and of the front page: the share of luck in a best score.

The script rechecks the study in README, and draws the result on white and on black. This takes
about ten seconds, and needs kaleido and Chromium.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import optuna
import plotly.io
from sklearn import datasets, ensemble, model_selection

import adnn_optuna as adnn
from adnn_optuna.render.figures import COLORS, DARK_COLORS

if TYPE_CHECKING:
    import plotly.graph_objects as go

FOLDER = Path(__file__).parents[1] / "docs" / "_static"
WINE = datasets.load_wine(return_X_y=True)


def evaluate(trial: optuna.Trial, seed: int) -> float:
    """Return a forest's accuracy in cross-validation."""
    trees = trial.suggest_int("trees", 2, 30)
    forest = ensemble.ExtraTreesClassifier(trees, random_state=seed)
    accuracy: float = model_selection.cross_val_score(forest, *WINE).mean()
    return accuracy


def recheck() -> adnn.Recheck:
    """Return the recheck of 30 trials."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler, direction="maximize", study_name="forest")
    study.set_metric_names(["accuracy"])
    study.optimize(lambda trial: evaluate(trial, seed=trial.number), n_trials=30)
    return adnn.recheck(study, evaluate)


class Size(NamedTuple):
    """The size of a picture and of its texts, in pixels."""

    width: int
    height: int
    title: int
    caption: int
    text: int
    axis: int


SIZES = {
    "luck": Size(720, 380, title=23, caption=15, text=19, axis=17),
    "luck-small": Size(360, 340, title=17, caption=12, text=14, axis=13),
}
"""The pictures by name; the small picture is for phones."""


def hero(figure: go.Figure, size: Size, text_color: str) -> go.Figure:
    """Return a figure of this size that suits pages of any color."""
    figure.update_layout(paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)")
    font = {"size": size.axis, "color": text_color, "family": "sans-serif"}
    title = {"text": f"<b>{figure.layout.title.text}</b>", "font": {"size": size.title}}
    figure.update_layout(font=font, title=title, width=size.width, height=size.height)
    caption = figure.layout.title.subtitle.text.replace("<br>", " ")
    if size == SIZES["luck-small"]:
        caption = caption.replace(". ", ".<br>")
    figure.update_layout(title_subtitle={"text": caption, "font": {"size": size.caption}})
    figure.update_xaxes(title_font_size=size.axis)
    return figure.update_traces(textfont_size=size.text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the pictures")
    folder = parser.parse_args().output
    found = recheck()
    print(found)
    for name, size in SIZES.items():
        hero(found.plot(), size, "#1f2328").write_image(folder / f"{name}.svg")
        text = hero(found.plot(), size, "#e6edf3").to_json()
        for color, dark_color in zip(COLORS, DARK_COLORS, strict=True):
            text = text.replace(color, dark_color)
        plotly.io.from_json(text).write_image(folder / f"{name}-dark.svg")


if __name__ == "__main__":
    main()
