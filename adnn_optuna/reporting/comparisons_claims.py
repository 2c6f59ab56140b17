"""What a comparison shows, in sentences that claim no more than that."""

from __future__ import annotations

import math

from optuna.study import StudyDirection

from adnn_optuna._attributes import CONSTANT, LEARNING_RATE
from adnn_optuna._units import SECONDS, score_in_words
from adnn_optuna.engine.arms import ARMS
from adnn_optuna.evidence.comparison import ComparisonFacts
from adnn_optuna.evidence.paired_differences import PairedDifference
from adnn_optuna.reporting.claims import (
    CHECK,
    HOLD,
    OTHERWISE,
    REPEATS,
    USUAL,
    images,
    in_full,
    interval_in_words,
    listed,
    others_in_words,
    unseen,
    with_interval,
)
from adnn_optuna.reporting.searches_claims import why_no_winner

_LUCK = {
    "better": "so for most seeds it is more than luck",
    "worse": "so for most seeds it is less than luck brings",
    "equivalent": "so for most seeds it is no more than luck",
}


def answers_of_comparison(comparison: ComparisonFacts, url: str | None) -> dict[str, str]:
    """Return the same of a comparison, whose studies are at ``url``."""
    told = _told_of_function if comparison.is_of_function else _told_of_networks
    by_what = (f"{HOLD}:", f"{USUAL}:", f"{REPEATS}:", OTHERWISE, CHECK)
    answers = (*told(comparison), _how_to_check(comparison, url))
    return dict(zip(by_what, answers, strict=True))


def _told_of_networks(comparison: ComparisonFacts) -> tuple[str, str, str, str]:
    """Return what the winners are, what luck brings, what repeats, and what else could be done."""
    look, table, unit = comparison.any_record.test_look, comparison.table(), comparison.unit
    best = next(iter(against_control(comparison)), None)
    arm = best.arm if best else next(iter(comparison.searchers), table.index[0])
    gain, n_seeds = table["test_gain"][arm], n_known(comparison, arm)
    held = "nothing is known yet: the searches' winners were not tested."
    if look and math.isfinite(gain):
        held = (
            f"on {look['n_images']} test examples, which no search saw, {arm}'s winners come to "
            f"{unit.value(table['test_best'][arm])}, {in_full(gain, unit)} over the network as it "
            f"was ({images(gain, look)}), in the mean of {n_seeds} random "
            f"beginning{'s' * (n_seeds > 1)}."
        )
    usual = "that is not known: without random restarts, nothing shows what luck alone brings."
    if best:
        what = _LUCK.get(str(best.verdict), "so it is not shown to be more than luck")
        usual = (
            "nothing but other random beginnings, as often, gain "
            f"{in_full(table['test_gain'][best.other], unit)}; beyond that, {arm} has "
            f"{in_full(best.mean, unit)} ({with_interval(best, unit)}), {what}. "
            f"{unseen(best.n_pairs)}."
        )
    repeats = repeats_in_words(comparison).partition(": ")[2] or "not known, it was not tried."
    otherwise = _otherwise(comparison) or (
        "Not tried here are one longer training and other learning rates for the same compute, "
        "which may gain as much: adnn compare --controls longer,learning_rate."
    )
    return held, usual, repeats, otherwise


def _told_of_function(comparison: ComparisonFacts) -> tuple[str, str, str, str]:
    """Return the same of a comparison of any objective."""
    best, unit = next(iter(against_control(comparison)), None), comparison.unit
    table, n_fresh = comparison.table(), comparison.any_record.n_fresh
    held = usual = "nothing is known yet: no seed has a value of all arms."
    if best:
        score = score_in_words(comparison.any_record.test_metric)
        n_seeds = n_known(comparison, best.arm)
        held = (
            f"the best trial that {best.arm} finds comes to a {score} of "
            f"{unit.value(table['test_best'][best.arm])}, in the mean of {n_seeds} "
            f"seed{'s' * (n_seeds > 1)}."
        )
        what = _LUCK.get(str(best.verdict), "so it is not shown to be more than luck")
        by_luck = unit.value(table["test_best"][best.other])
        usual = (
            f"as many trials of random search come to {by_luck}; "
            f"beyond that, {best.arm} is better by {unit.gain(best.mean)} "
            f"({with_interval(best, unit)}), {what}. {unseen(best.n_pairs)}."
        )
    repeats = (
        f"a fresh value, the mean of {n_fresh} evaluation{'s' * (n_fresh > 1)} of a run's best "
        "trial, by which nothing was chosen."
        if n_fresh
        else "not known, as no best trial was evaluated afresh."
    )
    trials, seconds = comparison.any_record.budget["max_trial"], table["seconds"]
    took = listed([f"{arm} {SECONDS.value(s)} seconds" for arm, s in seconds.items()])
    otherwise = (
        f"All arms had up to {trials} trials a seed. A run took {took}: where a search itself is "
        "slow, as many seconds may buy more trials of a faster one."
    )
    return held, usual, repeats, otherwise


def _how_to_check(comparison: ComparisonFacts, url: str | None) -> str:
    n_runs = len(comparison.results) * len(comparison.seeds)
    follows = " as far as the objective follows from its seed" if comparison.is_of_function else ""
    return (
        f"Each of the {n_runs} searches is in the table at the end of this page"
        f"{f' and stored in {url}' if url else ''}; the same call with the same seeds makes them "
        f"again, with the same numbers{follows}."
    )


def n_known(comparison: ComparisonFacts, arm: str) -> int:
    """Return how many runs of an arm came to a test score, which its means are of."""
    return sum(math.isfinite(run.test_value) for run in comparison.results[arm])


def against_control(comparison: ComparisonFacts) -> list[PairedDifference]:
    """Return how much better than random restarts each other searcher is, the best first.

    Those that are shown to be better come before all others, whatever their means.
    """
    rows = comparison.rows_of(comparison.families[0])
    known = [row for row in rows if row.other == comparison.restarts and row.n_pairs]
    return sorted(known, key=lambda row: (row.verdict != "better", -row.mean))


def controls_against_luck(comparison: ComparisonFacts) -> list[PairedDifference]:
    """Return how much better than random restarts each control is, in their order."""
    luck = str(comparison.restarts)
    rows = comparison.rows_of([(luck, label) for label in comparison.controls])
    return [row.turned() for row in rows if row.n_pairs]


def claim_of_comparison(comparison: ComparisonFacts) -> str:
    """Return the verdict, what the same compute gains otherwise, and what no seed has shown."""
    best = next(iter(against_control(comparison)), None)
    parts = [verdict_of_comparison(comparison), _otherwise(comparison)]
    if best and best.n_pairs > 1:
        parts.append(f"{unseen(best.n_pairs)}.")
    return " ".join(filter(None, parts))


def verdict_of_comparison(comparison: ComparisonFacts, *, in_short: bool = False) -> str:
    """Return whether the best searcher is better than random restarts, on the test set.

    And than no search at all, where one offset for all layers was tried: a search has to beat it.
    In short it leaves out the numbers of the first.
    """
    said, evidence, more = _verdict(comparison)
    return f"{said}{'' if in_short else evidence}{more}."


def _verdict(comparison: ComparisonFacts) -> tuple[str, str, str]:
    """Return the verdict, its numbers, and what is to be said besides."""
    if comparison.restarts is None:
        said = "There are no random restarts to compare with, so nothing can be told from luck"
        return said, "", ""
    rows, luck = against_control(comparison), luck_in_words(comparison)
    if not rows:
        said = f"There are no searchers with results to compare with {luck}"
        run = comparison.any_record
        has_winner = run.best is not None or comparison.is_of_function
        return said, "", "" if has_winner else f". {why_no_winner(run)[:-1]}"
    best, verdicts = rows[0], {row.verdict for row in rows}
    unit = comparison.unit
    mean = f"{unit.gain(best.mean)} of {score_in_words(comparison.any_record.test_metric)}"
    if comparison.is_of_function:
        # What is better, as in the interval, so that what is worse has a minus.
        than = "lower" if direction_in_words(comparison) == "minimized" else "higher"
        score = comparison.any_record.test_metric
        by = f"a {score} {than} by {unit.value(best.mean)}"
        mean = by if best.mean else f"the same {score}"
    if best.n_pairs == 1:
        evidence = (
            f": with it, {best.arm} has {mean} against {luck}, and another seed may say the "
            "opposite"
        )
        return "One seed decides nothing", evidence, ""
    size = images(best.mean, comparison.any_record.test_look)
    evidence = f"({size and f'{size}; '}{with_interval(best, unit)}, {best.n_pairs} seeds)"
    no_search = _against_no_search(comparison, best.arm)
    if best.verdict == "better":
        others = [row.arm for row in rows[1:] if row.verdict == "better"]
        also = f"; so {'are' if others[1:] else 'is'} {listed(others)}" if others else ""
        said = f"{best.arm} is better than {luck} for most seeds{no_search}"
        return said, f": {mean} for the same number of trials {evidence}", also
    said = f"No searcher is shown to be better than {luck}"
    if verdicts == {"worse"}:
        said = f"Every searcher is worse than {luck} for most seeds"
    elif "undecided" not in verdicts:
        said = f"No searcher is better than {luck} for most seeds"
    nearest = "is equivalent" if best.verdict == "equivalent" else "comes closest"
    return f"{said}: {best.arm} {nearest}", f", with {mean} {evidence}", no_search


def _against_no_search(comparison: ComparisonFacts, arm: str) -> str:
    """Return how an arm compares with one offset for all layers; empty if that was not run."""
    controls = comparison.controls.items()
    constant = [label for label, [run, *_] in controls if run.searcher == CONSTANT]
    rows = comparison.rows_of([(arm, label) for label in constant])
    if not rows or not rows[0].n_pairs:
        return ""
    unit = comparison.unit
    words = {
        "better": ", and better than",
        "worse": ", but worse than",
        "equivalent": ", but equivalent to",
    }
    said = words.get(str(rows[0].verdict), ", but not shown to be better than")
    evidence = f"{unit.gain(rows[0].mean)}, {with_interval(rows[0], unit)}"
    return f"{said} one offset for all layers, which is no search ({evidence})"


def _otherwise(comparison: ComparisonFacts) -> str:
    """Return the sentence on what the same compute gains otherwise, empty without controls."""
    control = comparison.strongest_control
    rows = comparison.rows_of([(str(comparison.restarts), str(control))])
    if control is None or not rows or not rows[0].n_pairs:
        return ""
    [row] = rows
    turned, unit = row.turned(), comparison.unit
    evidence = f"({with_interval(turned, unit)})" if row.n_pairs > 1 else "(one seed)"
    spent = ARMS[comparison.controls[control][0].searcher].spent or f"on {control}"
    later = later_costs(comparison).get(control, "")
    return (
        f"The same compute spent {spent} gains {unit.gain(turned.mean)} over random restarts "
        f"{evidence}{f'; {later}' if later else ''}."
    )


def later_costs(comparison: ComparisonFacts) -> dict[str, str]:
    """Return what the winners of controls cost ever after, as parts of sentences."""
    return {
        label: ARMS[runs[0].searcher].later.format(n=n)
        for label, runs in comparison.controls.items()
        if (n := max(run.n_networks for run in runs)) > 1
    }


def repeats_in_words(comparison: ComparisonFacts) -> str:
    """Return what of each arm's winners repeats on fresh seeds; empty where that is not known."""
    unit, said = comparison.unit, []
    for row in comparison.repeats:
        is_rate = comparison.results[row.arm][0].searcher == LEARNING_RATE
        what = {
            "better": "which repeats for most seeds",
            "worse": "a loss, which repeats for most seeds",
            "equivalent": "so for most seeds nothing repeats that matters",
        }.get(str(row.verdict), "which is not shown to repeat")
        said.append(
            f"{row.arm}'s {'rate' if is_rate else 'offsets'} {unit.gain(row.mean)} "
            f"({with_interval(row, unit)}), {what}"
        )
    if not said:
        return ""
    together = f"; intervals of 95 % for all {len(said)} together" if said[1:] else ""
    return (
        f"What repeats: trained from one fresh seed more in each of "
        f"{comparison.repeats[0].n_pairs} beginnings, winners gain over their unmoved networks: "
        f"{'; '.join(said)}{together}."
    )


def caveat_of_comparison(comparison: ComparisonFacts) -> str:
    """Return what to think of the claim."""
    rows = against_control(comparison)
    parts = list(dict.fromkeys(f"{row.arm}: {row.reason}." for row in rows if row.reason))
    others = others_in_words("The same objective is", comparison.like)
    parts += filter(None, [what_is_missing(comparison), others])
    if comparison.looks_again:
        parts.append(
            "Seeds were added until all was decided, or seeds or arms later, and the intervals "
            "pay for each look."
        )
    n_looks = max(len(run.test_looks) for runs in comparison.results.values() for run in runs)
    if n_looks > 1:
        parts.append(
            f"The test set was looked at up to {n_looks} times in one run, so the later gains are "
            "no longer of untouched test data."
        )
    parts += [f"{label}: {later}." for label, later in later_costs(comparison).items()]
    if any(row.verdict == "undecided" for row in rows):
        parts.append(
            "Undecided means that these seeds show neither a difference nor that there is none."
        )
    of = "data set"
    luck = (
        "Random restarts move nothing, they only draw other initial weights: what they gain is "
        "luck, and only what a searcher gains beyond them is its own."
    )
    if comparison.is_of_function:
        of = "objective"
        luck = "What random search finds is what the number of trials alone brings."
        if not comparison.any_record.n_fresh:
            luck += (
                " The best value told is too good to be true, and the more so the more often a "
                "sampler asks for the same: confirm=5 evaluates the best trials afresh."
            )
    parts.append(
        f"{luck} All is said of this {of}, and assumes that differences are symmetric about their "
        "centre."
    )
    return " ".join(parts)


def luck_in_words(comparison: ComparisonFacts) -> str:
    """Return what shows what luck alone brings."""
    return "random search" if comparison.is_of_function else "random restarts"


def direction_in_words(comparison: ComparisonFacts) -> str:
    """Return whether the values of a function are minimized or maximized."""
    is_loss = comparison.any_record.study.direction == StudyDirection.MINIMIZE
    return "minimized" if is_loss else "maximized"


def what_is_missing(comparison: ComparisonFacts) -> str:
    """Return what is missing and how to go on; empty if nothing is."""
    if comparison.is_complete:
        return ""
    return (
        f"Not complete: {comparison.n_done} of {len(comparison.declaration['seeds'])} declared "
        "seeds are done; go on by compare, or by resume with the comparison's name."
    )


def intervals_in_words(comparison: ComparisonFacts) -> str:
    """Return what the intervals promise."""
    made = dict(zip(comparison.n_claims, map(len, comparison.families), strict=True))
    # Families of which nothing is left to be claimed promise nothing.
    n_claims = {what: n for what, n in comparison.n_claims.items() if made[what]}
    said = interval_in_words(n_claims, looks_again=comparison.looks_again)
    if any(made[what] < n for what, n in n_claims.items()):
        said += "; claims of arms that were declared before count, too"
    return said
