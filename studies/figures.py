"""Draw all figures of the studies again from the committed results, and write their tables.

The tables stand in ``README.md`` and ``studies/README.md``, between comments that name them.
Drawing needs Chromium or Chrome; ``--tables`` leaves it out.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

import baselines
import greedy_vs_annealing
import motivation
import regimes
import rq1_step_size
import rq2_trials
import rq3_time
from _common import HERE, markdown_table

if TYPE_CHECKING:
    from pathlib import Path

    from _common import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    motivation.EXPERIMENT,
    baselines.EXPERIMENT,
    rq1_step_size.EXPERIMENT,
    rq2_trials.EXPERIMENT,
    rq3_time.EXPERIMENT,
    greedy_vs_annealing.EXPERIMENT,
    regimes.EXPERIMENT,
)
PAGES = (HERE.parent / "README.md", HERE / "README.md")


def blocks() -> dict[str, str]:
    """Return what stands between the comments, by name, from the committed results."""
    written = {e.name: e.summary(e.load()) for e in EXPERIMENTS}
    claims = [claim for e in EXPERIMENTS for claim in e.claims(e.load())]
    written["claims"] = markdown_table(
        ["where", "the paper", "here", "verdict"],
        [[claim.where, claim.claim, claim.ours, claim.verdict] for claim in claims],
        right=False,
    )
    return written


def with_blocks(text: str, written: dict[str, str]) -> str:
    """Return a page with its blocks replaced."""

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin: {name} -->\n{written[name]}\n<!-- end: {name} -->"

    return re.sub(
        r"<!-- begin: (?P<name>\w+) -->\n.*?<!-- end: (?P=name) -->",
        replaced,
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", action="store_true", help="only the tables, no figures")
    arguments = parser.parse_args()
    written: list[Path] = []
    if not arguments.tables:
        for experiment in EXPERIMENTS:
            written += experiment.write_figures(experiment.load(), HERE)
    text_of = blocks()
    for page in PAGES:
        page.write_text(with_blocks(page.read_text(encoding="utf-8"), text_of), encoding="utf-8")
        written.append(page)
    print("\n".join(str(path) for path in written))


if __name__ == "__main__":
    main()
