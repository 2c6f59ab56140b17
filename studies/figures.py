"""Draw all figures of the studies from the committed results, and write the tables.

The tables are in ``README.md``, the pages of ``studies/`` and three pages of ``docs/``, between
comments that name the tables. Drawing figures needs Chromium or Chrome; ``--tables`` only writes
tables.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

import baselines
import big_inputs
import depth
import error_rates
import greedy_vs_annealing
import index_protocol
import keep
import motivation
import n_trainings
import overtuning
import paper_size
import regimes
import regimes_controls
import replicates
import rq1_step_size
import rq2_trials
import rq3_time
import sampler_budgets
import sampler_constraints
import sampler_quality
import sampler_quality_many
import sampler_quality_mixed
import sampler_tables
import training_speed
import trial_overhead
from _common import HERE, how_often, interval, markdown_table
from _paper import DELTAS, PAPERS, PUBLISHED

from adnn_optuna.stats.selection_bias import chance_of_luck

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from _common import Experiment, Study

EXPERIMENTS: tuple[Experiment, ...] = (
    motivation.EXPERIMENT,
    baselines.EXPERIMENT,
    rq1_step_size.EXPERIMENT,
    rq2_trials.EXPERIMENT,
    rq3_time.EXPERIMENT,
    greedy_vs_annealing.EXPERIMENT,
    paper_size.EXPERIMENT,
    depth.EXPERIMENT,
    regimes.EXPERIMENT,
    regimes_controls.EXPERIMENT,
    n_trainings.EXPERIMENT,
)
STUDIES: tuple[Study, ...] = (
    *EXPERIMENTS,
    big_inputs.STUDY,
    error_rates.STUDY,
    index_protocol.STUDY,
    keep.STUDY,
    overtuning.STUDY,
    replicates.STUDY,
    sampler_budgets.STUDY,
    sampler_constraints.STUDY,
    sampler_quality.STUDY,
    sampler_quality_many.STUDY,
    sampler_quality_mixed.STUDY,
    sampler_tables.STUDY,
    training_speed.STUDY,
    trial_overhead.STUDY,
)
PAGES = (
    HERE.parent / "README.md",
    *(
        HERE / f"{name}.md"
        for name in (
            "README",
            "error_rates",
            "offsets",
            "paper",
            "samplers",
            "speed",
            "tuned_values",
        )
    ),
    *(
        HERE.parent / "docs" / f"{name}.md"
        for name in ("results", "how/statistics", "how/training")
    ),
)


def blocks() -> dict[str, str]:
    """Return the text of each block by name, computed from the committed results."""
    written = {study.name: study.summary(study.load()) for study in STUDIES}
    claims = [claim for e in EXPERIMENTS for claim in e.claims(e.load())]
    written["claims"] = markdown_table(
        ["section", "the paper", "verdict"],
        [[claim.where, claim.claim, claim.short_verdict] for claim in claims],
        right=False,
    )
    written["claims_in_full"] = markdown_table(
        ["section", "the paper", "here", "verdict"],
        [[claim.where, claim.claim, claim.ours, claim.verdict] for claim in claims],
        right=False,
    )
    written |= headlines()
    written["sure"] = how_sure()
    written["advice"] = n_trainings.advice(n_trainings.EXPERIMENT.load())
    written["rivals"] = sampler_tables.beside_rivals(sampler_tables.STUDY.load())
    written["metrics"] = error_rates.metrics(error_rates.STUDY.load())
    written["overhead"] = trial_overhead.sentence(trial_overhead.STUDY.load())
    return written


def how_sure() -> str:
    """Return the claims on the paper and on offsets as rows, with verdict and number of seeds."""
    draws = baselines.rows(baselines.EXPERIMENT.load())
    within, n_draws = sum(row["is_within"] for row in draws), int(draws[0]["draws"])
    published = max(model.gain for model in PUBLISHED.values())
    rows = [
        [
            "the paper's baseline accuracies agree with ours",
            "consistent" if within == len(draws) else "different",
            f"{n_draws} draws of each",
            "baselines",
        ],
        [
            f"its gains, up to {published:.2f} pp, come from its offsets",
            "no: from choosing among random initial weights",
            f"{n_draws} draws of each",
            "baselines",
        ],
    ]
    short = greedy_vs_annealing.EXPERIMENT.load()
    of_all = greedy_vs_annealing.verdicts(short)[greedy_vs_annealing.ALL]
    [cell] = regimes.cells(regimes.EXPERIMENT.load(), "confirmation")
    of_cell, hardly = regimes.differences(cell), regimes.title(cell)
    where = f"{len(short['models'])} models, short training"
    rows += [
        [f"{name} against random restarts: {what}", row.verdict, row.n_pairs, study]
        for what, study, row, name in (
            (where, "greedy_vs_annealing", of_all["greedy", "random_restart"], "Algorithm 1"),
            (where, "greedy_vs_annealing", of_all["annealing", "random_restart"], "annealing"),
            (hardly, "regimes", of_cell["greedy", "random_restart"], "Algorithm 1"),
            (hardly, "regimes", of_cell["annealing_shared", "random_restart"], "annealing"),
        )
    ]
    papers = paper_size.EXPERIMENT.load()
    n_planned, n_done = len(papers["setting"]["seeds"]), min(paper_size.n_done(papers).values())
    judged = paper_size.differences(papers, paper_size.accuracies, paper_size.OF_RESTARTS)
    of_papers = {name: of["greedy", "random_restart"] for name, of in judged.items()}
    mean = of_papers.pop(paper_size.POOLED, None)
    n_seeds = n_planned if mean else f"{n_done} of {n_planned}"
    for models, verdict in (
        (f"mean over {len(PUBLISHED)} models", mean.verdict if mean else "open"),
        (f"each of {len(PUBLISHED)} models", how_often(d.verdict for d in of_papers.values())),
    ):
        said = f"Algorithm 1 against random restarts: {models}, the paper's training"
        rows.append([said, verdict, n_seeds, "paper_size"])
    of_depth = depth.EXPERIMENT.load()
    said = "Algorithm 1 against random restarts: planned claim on 2 models of 4 layers"
    verdict = depth.finding(of_depth).partition(":")[0]
    rows.append([said, verdict, depth.n_done(of_depth), "depth"])
    pairs = [regimes_controls.differences(c) for c in regimes_controls.EXPERIMENT.load()["cells"]]
    against = zip(
        ("random restarts", "other uses of the same compute"),
        zip(*pairs, strict=True),
        strict=True,
    )
    for other, found in against:
        said = f"the best offsets against {other}: {len(found)} settings of rate and epochs"
        verdicts = how_often(row.verdict for row in found)
        rows.append([said, verdicts, found[0].n_pairs, "regimes_controls"])
    shown = [[*map(str, row[:3]), f"`{row[3]}.py`"] for row in rows]
    return markdown_table(["claim", "verdict", "seeds", "study"], shown, right=False)


def headlines() -> dict[str, str]:
    """Return the findings for the README, and the findings for their own page."""
    draws = baselines.rows(baselines.EXPERIMENT.load())
    within = sum(row["is_within"] for row in draws)
    walks = [
        row for row in rq2_trials.rows(rq2_trials.EXPERIMENT.load()) if row["size"] == PAPERS.name
    ]
    walked = f"{len({row['model'] for row in walks})} models"
    deltas = " and ".join(sorted({str(row["delta"]) for row in walks}))
    published = max(model.gain for model in PUBLISHED.values())
    gain, luck = span(row["gain"] for row in walks), span(row["luck"] for row in draws)
    over = span(row["over_draws"] for row in walks)
    n_draws = walks[0]["draws"]
    short_training = greedy_vs_annealing.EXPERIMENT.load()
    of_short = short_training["setting"]
    papers = paper_size.EXPERIMENT.load()
    otherwise = regimes_controls.EXPERIMENT.load()
    _, better_than_restarts = regimes_controls.worth(otherwise)
    name, model = max(PUBLISHED.items(), key=lambda item: item[1].gain)
    of_model = n_draws, model.log_std, model.gain, "one"
    one, ten = (chance_of_luck(*of_model, files) for files in (1, len(DELTAS)))
    of_short_models = greedy_vs_annealing.verdicts(short_training)
    brief = of_short_models.pop(greedy_vs_annealing.ALL)
    full = paper_size.differences(papers, paper_size.accuracies, paper_size.OF_RESTARTS)
    short_gain = brief["greedy", "random_restart"]
    short_rows = [
        [
            "short",
            f"{name} - random restarts",
            paper_size.cell(brief[arm, "random_restart"]),
            how_often(
                of_model[arm, "random_restart"].verdict for of_model in of_short_models.values()
            ),
        ]
        for arm, name in (("greedy", "Algorithm 1"), ("annealing", "annealing"))
    ]
    paper_rows = [["the paper's", *row] for row in paper_size.findings(papers)]
    of_offsets = markdown_table(
        ["training", "difference [pp]", "mean over 6 models", "models with a clear verdict"],
        [*short_rows, *paper_rows],
        right=False,
    )
    full_gain = full[paper_size.POOLED]["greedy", "random_restart"]
    of_depth = depth.EXPERIMENT.load()
    planned = depth.difference(of_depth)
    assert {full_gain.verdict, planned["verdict"]} == {"inconclusive"}, "rewrite the headline"
    tables, tuned = sampler_tables.STUDY.load(), overtuning.STUDY.load()
    [glorot] = regimes.cells(regimes.EXPERIMENT.load(), "confirmation")
    glorot_gain = regimes.differences(glorot)["greedy", "random_restart"]
    of_glorot = regimes.title(glorot).partition(", ")[2]
    longer = regimes_controls.how_often_longer_is_better(otherwise)
    short = f"""\
- {overtuning.headline(tuned)}
- In {longer} settings of one network on Fashion-MNIST, one longer training run beats the \
best search of offsets.
- Greedy is {short_gain.verdict} than random restarts in short training of the paper's six models \
({100 * short_gain.mean:+.2f} pp), {glorot_gain.verdict} for another network \
({100 * glorot_gain.mean:+.2f} pp), and {full_gain.verdict} in the paper's training.
- The paper's code applied no offsets, so its gains (up to {published:.2f} pp) come from choosing \
among random networks.
- {sampler_tables.headline(tables)}"""
    by_restarts = (
        f"short training: {interval(short_gain)} pp, {short_gain.verdict}; "
        f"the paper's training: {interval(full_gain)} pp; "
        f"another network ({of_glorot}): {interval(glorot_gain)} pp, {glorot_gain.verdict}"
    )
    by_samplers = (
        f"regret, annealing - GP: {sampler_tables.difference(tables, 'GP')}; "
        f"annealing - TPE: {sampler_tables.difference(tables, 'TPE')}"
    )
    at_a_glance = [
        [
            "**The best value of tuned trees is too good on average; `overtuning` corrects it.**",
            overtuning.errors(tuned),
            overtuning.size(tuned),
        ],
        [
            (
                f"**In {longer} settings of one network on Fashion-MNIST, one longer training "
                "run is better than the best search of init offsets.**"
            ),
            regimes_controls.smallest_loss(otherwise),
            f"9 settings, {otherwise['setting']['seeds'][1]} seeds",
        ],
        [
            (
                "**Algorithm 1 is worse than random restarts in short training of the paper's "
                "models, and not shown to differ in the paper's training.**"
            ),
            by_restarts,
            f"{short_gain.n_pairs}, {full_gain.n_pairs} and {glorot_gain.n_pairs} seeds",
        ],
        [
            f"**The paper's gains, up to {published:.2f} pp, come from choosing among networks.**",
            (
                f"its code applied no offsets; the best of {n_draws} networks without offsets "
                f"gains {luck} pp over their mean; the largest gain of the paper is the best of "
                f"{len(DELTAS)} logs against one baseline"
            ),
            f"6 models, {n_draws} networks",
        ],
        [
            "**Our annealing (an earlier version) and Optuna's GP are not shown to differ.**",
            by_samplers,
            sampler_tables.size(tables),
        ],
    ]
    hardly_trained = f"""\
{better_than_restarts} They help if the network has hardly been trained, but other uses help more:

{regimes_controls.example(otherwise)}"""
    findings = markdown_table(["finding", "numbers (95% CI)", "n"], at_a_glance, right=False)
    restarts = f"""\
{of_offsets}

- *Short*: 10,000 images, 1 epoch, {of_short["trials"]} trials, {of_short["seeds"]} seeds. *The
  paper's*: 60,000 images, 10 epochs, 50 trials, {full_gain.n_pairs} seeds.
- *Replication* is the gain of the best network's offsets when they start from a new seed.
- For each model, at most 5% of such studies make a false claim. For all six models together, it
  is up to 26% if the models are independent.

From Glorot weights ({of_glorot}), Algorithm 1 is {glorot_gain.verdict}: {interval(glorot_gain)}
pp, {glorot_gain.n_pairs} seeds (`regimes.py`).
In the paper's training, it looked better with four hidden layers, so we tested this on new
seeds. The result is {depth.finding(of_depth)}."""
    bias = f"""\
- Without offsets, the best of {n_draws} networks gains {luck} pp over their mean.
- With Algorithm 1 ({walked}, δ = {deltas}), the best of 50 trials gains {gain} pp over
  one baseline, and {over} pp over the mean without offsets.
- The paper's largest gain, {published:.2f} pp ({name}), is the best of {len(DELTAS)} logs, each
  against one baseline. Without any effect of offsets, one of {len(DELTAS)} logs gains that much
  with a probability of {ten:.2f}, and a single log with {one:.2f}.
- Our baselines agree with the paper's. In {within} of 6 models, their mean is within one standard
  deviation of the mean in the authors' logs."""
    return {
        "headlines": short,
        "findings": findings,
        "hardly_trained": hardly_trained,
        "restarts": restarts,
        "bias": bias,
    }


def span(values: Iterable[float]) -> str:
    """Return the smallest and the largest of some values as text."""
    low, high = min(found := list(values)), max(found)
    return f"{low:+.2f}" if low == high else f"{low:+.2f} to {high:+.2f}"


def with_blocks(text: str, written: dict[str, str]) -> str:
    """Return a page after its named blocks have been replaced."""

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
        for study in STUDIES:
            written += study.write_figures(study.load(), HERE)
    text_of = blocks()
    for page in PAGES:
        page.write_text(with_blocks(page.read_text(encoding="utf-8"), text_of), encoding="utf-8")
        written.append(page)
    print("\n".join(str(path) for path in written))


if __name__ == "__main__":
    main()
