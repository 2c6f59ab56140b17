"""How findings are told: of rechecks and of luck, of variances, of ensembles."""

from __future__ import annotations

import functools
import math
import textwrap

from adnn_optuna._units import ACCURACY, params_in_words, printable, score_in_words, unit_of
from adnn_optuna.plots._estimates import plot_averages as ensemble_figure
from adnn_optuna.plots._estimates import plot_recheck as recheck_figure
from adnn_optuna.plots._estimates import plot_variance as variance_figure
from adnn_optuna.reporting.pages import Page, so_far, told_page
from adnn_optuna.reporting.parts import aligned, listed
from adnn_optuna.results.ensembles import EnsembleFacts
from adnn_optuna.results.recheck import FIRST_OF_PARAMS, UNMOVED, LuckFacts, RecheckFacts
from adnn_optuna.results.variance import ALL, SHARES, VarianceFacts
from adnn_optuna.stats.proportions import unseen_share


def recheck_claim(facts: RecheckFacts) -> str:
    """Return what the recheck shows: what is there of the gain, then of the value."""
    return " ".join(filter(None, (_recheck_gain(facts), _recheck_value(facts))))


def _recheck_gain(facts: RecheckFacts) -> str:
    """Return what is there on fresh seeds of the gain that the study says; empty without one."""
    trial, against, gain = facts.trial, facts.against, facts.gain
    if trial is None or against is None or facts.missing:
        return ""
    over = f"trial {against.number}"
    if UNMOVED in against.user_attrs:
        over = "the unmoved network"
    elif against.number >= FIRST_OF_PARAMS:
        over = params_in_words(against.params)
    if against.number == trial.number:
        return f"Nothing was gained: the chosen trial is {over} itself."
    if math.isnan(gain.value):
        return f"What it gains over {over} is not known, as some evaluations came to no value."
    unit, width = unit_of(facts.metric), (gain.high - gain.low) / 2
    shown = functools.partial(_rounded, unit.scale, width)
    found = f"{shown(gain.value)}{unit.of_gains} ({shown(gain.low)} to {shown(gain.high)})"
    said = f"On fresh seeds, {found} is what trial {trial.number} gains over {over}"
    if facts.said_gain > 0:
        told = f"{shown(facts.said_gain)}{unit.of_gains} that the study says"
        whose = f"{told} trial {trial.number} gained over {over}"
        said = f"Of the {whose}, {found} is there on fresh seeds"
    return f"{said}{', so no gain is shown' * (not gain.low > 0)}."


def _recheck_value(facts: RecheckFacts) -> str:
    """Return what the study said of its best trial, and what fresh seeds say of the chosen one."""
    best, trial, shown = facts.best, facts.trial, functools.partial(_value, facts)
    excess_shown = functools.partial(_value, facts, is_gain=True)
    said = f"The study said {shown(best.values[0])} (trial {best.number})"
    if facts.is_deterministic:
        return (
            f"{said}. By whoever called it the evaluation is deterministic, so nothing was "
            "evaluated and no luck of training measured."
        )
    if trial is None or facts.missing:
        return f"{said}; what it is worth is not known yet, {so_far(facts, 'evaluations')}"
    said = f"{said}; trained afresh, trial {trial.number} gives"
    if math.isnan(facts.value):
        return f"{said} no value."
    excess, verb = (facts.overstated, facts.overstated_low, facts.overstated_high), "overstated"
    if facts.overstated < 0:
        excess, verb = (-excess[0], -excess[2], -excess[1]), "understated"
    found = f"the study {verb} by {excess_shown(*excess)}"
    if not excess[1] > 0:
        found = f"that the study {verb} is not shown: {excess_shown(*excess)}"
    said = (
        f"{said} {shown(facts.value, facts.low, facts.high)}: {found}"
        f"{', on the same validation data' * facts.on_same_data}."
    )
    if facts.next_low < facts.next_high < math.inf:
        ends = shown(facts.value, facts.next_low, facts.next_high).partition("(")[2][:-1]
        ends = ends.replace(" to ", " and ") + unit_of(facts.metric).of_values
        said += f" Expect one more run between {ends} (95 %)."
    # The word luck is for one and the same trial only.
    again = facts.interval(best, "confirm")
    if trial is not best:
        if not facts.confirm_best or math.isnan(again[0]):
            return said
        said += f" Trial {best.number} itself gives {shown(*again)}."
    luck = facts.excess(again)
    if luck[1] > 0:
        return f"{said} Of trial {best.number}'s value, {excess_shown(*luck)} was luck."
    return f"{said} That trial {best.number} was lucky is not shown."


def recheck_caveat(facts: RecheckFacts) -> str:
    """Return what the recheck cannot show, and what came in its way."""
    if facts.is_deterministic:
        return "Whether the value holds on other data, no seed can tell."
    said = "It measures the luck of training on the data that was evaluated on"
    said += (
        "." if facts.on_same_data else "; where the seed redraws these, that of the split, too."
    )
    if n := facts.n_equal:
        said += (
            f" All {n} values of the further seeds are equal, but up to "
            f"{100 * unseen_share(n):.0f} % of seeds may differ; if nothing is random, say so by "
            "deterministic=True."
        )
    if facts.n_lost:
        said += (
            f" {facts.n_lost} of {len(facts.evaluations)} evaluations came to no value (NaN, "
            "infinite or pruned) and are left out, so the value is that of those that succeed."
        )
    if not facts.is_seeded:
        said += " The evaluations take no seed, so they cannot be made again."
    return said


def recheck_text(facts: RecheckFacts) -> str:
    """Return the claim and what to mind of it."""
    return f"{recheck_claim(facts)}\n{recheck_caveat(facts)}"


def recheck_page(facts: RecheckFacts) -> Page:
    """Return the report."""
    name = f"Recheck {facts.study_name}"
    return told_page(name, recheck_claim(facts), recheck_figure(facts), recheck_caveat(facts))


def _value(facts: RecheckFacts, value: float, *interval: float, is_gain: bool = False) -> str:
    """Return a value as text, as exactly as two digits of the interval's width ask for."""
    unit = unit_of(facts.metric)
    rounded = functools.partial(_rounded, unit.scale, (facts.high - facts.low) / 2)
    said = f"{rounded(value)}{unit.of_gains if is_gain else unit.of_values}"
    least = 0.0 if unit is ACCURACY and not is_gain else -unit.largest  # What none can be.
    ends = [rounded(min(max(end, least), unit.largest)) for end in interval]
    return f"{said} ({' to '.join(ends)})" if interval else said


def _rounded(scale: float, width: float, value: float) -> str:
    """Return a value as text, as exactly as two digits of its interval's half width ask for."""
    width, value = scale * width, scale * value
    digits = 1 - math.floor(math.log10(width)) if 0 < width < math.inf else math.inf
    return f"{value:z.{max(digits, 0)}f}" if digits <= 15 else f"{value:z.6g}"


def luck_text(facts: LuckFacts) -> str:
    """Return what luck alone gains, and how likely it makes a gain, over each baseline."""
    draws = f"the best of {facts.n} equally good draws" if facts.n > 1 else "one draw"
    of = f" with a standard deviation of {facts.sd:g}, for normal scores,"
    if facts.values is not None:
        of = f" from {len(facts.values)} observed runs"
    lines = []
    for baseline in facts.baselines:
        over = "the mean" if baseline == "mean" else "one baseline, which is such a draw itself"
        line = (
            f"By luck alone {draws}{of} is expected to be {facts.expected:.4g} better than {over}"
        )
        if facts.claimed is not None:
            chance = f"{facts.chances[baseline]:.2g}"
            line += f", and {facts.claimed:g} or more with probability {chance}"
            if facts.files != 1:
                chance = f"{facts.chances_of_files[baseline]:.2g}"
                line += (
                    f", in at least one of {facts.files} such searches with probability {chance}"
                )
        lines.append(f"{line}.")
    return "\n".join(lines)


def variance_claim(facts: VarianceFacts) -> str:
    """Return how far the value varies, in a sentence or two."""
    name, n = facts.value_name, len(facts.values)
    if math.isnan(facts.total.sd):
        return f"How far {name} varies is not known yet, {so_far(facts, 'runs')}"
    if facts.total.sd == 0:
        share = f"{100 * unseen_share(n):.0f} % of all runs"
        return f"All {n} runs came to the same {name}, but up to {share} may differ."
    said = (
        f"From run to run {name} has a standard deviation of {_spread(facts, *facts.total)}; two "
        f"single runs that differ by less than {_spread(facts, facts.least_difference)} show no "
        "difference."
    )
    if math.isnan(facts.own_luck):
        return said
    unit, luck = unit_of(name), "lucky" if facts.own_luck > 0 else "unlucky"
    own = unit.value(facts.own_value) if unit is ACCURACY else f"{facts.own_value:.4g}"
    return (
        f"{said} Seed {facts.seed}, the one in use, came to {own}: {luck} by "
        f"{abs(facts.own_luck):.1f} standard deviations."
    )


def variance_caveat(facts: VarianceFacts) -> str:
    """Return what to think of it."""
    drawn = "all sources drawn afresh,"
    if facts.not_redrawn:
        drawn = f"{listed(facts.sources)} redrawn, but not {listed(facts.not_redrawn)};"
    said = f"Of {len(facts.values)} runs with {drawn} intervals of 95 %."
    if len(facts.sources) > 1:
        said += " Each source is redrawn alone, with its interactions, so shares need not add up "
        said += "to 100 %."
    if facts.total.sd > 0 and (still := [k for k, part in facts.parts.items() if part.sd == 0]):
        said += (
            f" Where redrawing {listed(still)} changed nothing, it may in up to "
            f"{100 * max(unseen_share(len(facts.differences[k])) for k in still):.0f} % of runs."
        )
    if facts.n_lost:
        said += (
            f" {facts.n_lost} of {len(facts.evaluations)} runs came to no value and are left "
            "out, so it is the variance of those that succeed."
        )
    return said


_VARIANCES = ("source", "standard deviation", "share of the variance")


def variance_text(facts: VarianceFacts) -> str:
    """Return the claim, and a table where there is something to show."""
    said = textwrap.wrap(variance_claim(facts), 98)
    if rows := _variance_rows(facts):
        said += ["", *aligned([_VARIANCES], rows), *textwrap.wrap(variance_caveat(facts), 98)]
    return "\n".join(said)


def _variance_rows(facts: VarianceFacts) -> list[tuple[str, ...]]:
    """Return each source with its standard deviation and share, as text."""
    if math.isnan(facts.total.sd):
        return []
    rows = list[tuple[str, ...]]()
    for source, row in facts.to_dataframe().iterrows():
        share = ""
        if source != ALL and math.isfinite(row["share"]):
            share = "{:.0f} % ({:.0f} to {:.0f})".format(*100 * row[SHARES])
        rows.append((str(source), _spread(facts, row["sd"], row["low"], row["high"]), share))
    return rows


def variance_page(facts: VarianceFacts) -> Page:
    """Return the report."""
    name, rows = f"Variance {facts.study_name}", _variance_rows(facts)
    told = variance_claim(facts), variance_figure(facts), variance_caveat(facts) if rows else ""
    return told_page(name, *told, tables=[("", _VARIANCES, rows)] if rows else ())


def _spread(facts: VarianceFacts, spread: float, *interval: float) -> str:
    """Return a difference or a standard deviation as text."""
    unit = unit_of(facts.value_name)
    said = f"{unit.scale * spread:.3g}{unit.of_gains}" if math.isfinite(spread) else "unknown"
    if not interval or math.isnan(spread):
        return said
    low, high = (f"{unit.scale * end:.3g}" for end in interval)
    return f"{said} ({low} to {high})"


def ensemble_claim(facts: EnsembleFacts) -> str:
    """Return what is gained by averaging, in a sentence or two."""
    n, unit, gain = facts.n_members, unit_of(facts.score_name), facts.gain
    if n < 2:
        return f"What an average comes to is not known yet, {so_far(facts, 'trainings')}"
    shown = "not shown to be better than"
    if gain.low > 0 or gain.high < 0:
        shown = "better than" if gain.low > 0 else "worse than"
    said = (
        f"The average of {n} networks is {shown} one of them alone: {unit.value(facts.score)} "
        f"{score_in_words(facts.score_name)}, {unit.gain(gain.value)} over their mean "
        f"({unit.interval_of(*gain[1:], 0.95)}); predicting costs {n} times as much."
    )
    return f"{said} It is not all yet, {so_far(facts, 'trainings')}" if facts.missing else said


def ensemble_caveat(facts: EnsembleFacts) -> str:
    """Return what to think of it."""
    said = (
        "The interval is for other test examples, and other networks that are trained so. None "
        "was chosen, by anything. Whether one longer training gains more, a comparison tells: "
        "adnn compare --controls ensemble,longer."
    )
    if n := facts.n_diverged:
        said += f" {n} of {facts.n_evaluations} trainings diverged and are left out."
    return said


def ensemble_text(facts: EnsembleFacts) -> str:
    """Return the claim, what the networks come to, and what to think of it."""
    return "\n".join([*textwrap.wrap(ensemble_claim(facts), 98), *_ensemble_details(facts)])


def _ensemble_details(facts: EnsembleFacts) -> list[str]:
    """Return what networks come to alone and averaged, and how far two differ, one a line."""
    if facts.n_members < 2:
        return []
    unit, differ = unit_of(facts.score_name), facts.disagreement
    low, high, sd = map(unit.bare.value, (min(facts.members), max(facts.members), facts.sd))
    said = f"mean squared difference {differ:.3g} of the targets' variance"
    if facts.head.num_classes is not None:
        examples = f"{len(facts.dataset.y_test)} test {printable(facts.dataset.unit)}"
        said = f"other classes for {100 * differ:.1f} % of {examples}"
    return [
        f"  alone:      {unit.value(facts.mean)} ± {sd} (standard deviation; {low} to {high})",
        f"  averaged:   {unit.value(facts.score)}",
        f"  two differ: {said}",
        *textwrap.wrap(ensemble_caveat(facts), 98),
    ]


def ensemble_page(facts: EnsembleFacts) -> Page:
    """Return the report."""
    name, details = f"Networks of {facts.study_name}", "\n".join(_ensemble_details(facts))
    return told_page(name, ensemble_claim(facts), ensemble_figure(facts), text=details)
