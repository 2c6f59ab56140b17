"""What a comparison shows, in sentences that claim no more than that."""

from __future__ import annotations

import math

from adnn_optuna._attributes import CONSTANT, LEARNING_RATE
from adnn_optuna._units import score_in_words
from adnn_optuna.engine.arms import ARMS
from adnn_optuna.reporting import parts
from adnn_optuna.reporting.searches_claims import why_no_winner
from adnn_optuna.results.comparison import ComparisonFacts
from adnn_optuna.stats.paired_differences import OPEN, PairedDifference

_REPEATS = {
    "better": "which repeats",
    "worse": "a loss, which repeats",
    "equivalent": "so nothing repeats that matters",
}
_NO_SEARCH = {
    "better": ", and better than",
    "worse": ", but worse than",
    "equivalent": ", but equivalent to",
    "not worse": ", and not worse than",
}


def answers_of_comparison(comparison: ComparisonFacts, url: str | None) -> dict[str, str]:
    """Return what somebody asks of a comparison, whose studies are at ``url``, each answered."""
    n_runs = len(comparison.results) * len(comparison.seeds)
    otherwise, follows = "", ""
    if comparison.is_of_function:
        follows = " as far as the objective follows from its seed"
        otherwise = (
            f"All arms had up to {comparison.any_record.budget['max_trial']} trials a seed: where "
            "a search itself is slow, as many seconds may buy more trials of a faster one."
        )
    elif not comparison.controls:
        otherwise = (
            "Not tried here are one longer training and other learning rates for the same "
            "compute, which may gain as much: adnn compare --controls longer,learning_rate."
        )
    check = (
        f"Each of the {n_runs} searches is in the table at the end of this page"
        f"{f' and stored in {url}' if url else ''}; the same call with the same seeds makes them "
        f"again, with the same numbers{follows}."
    )
    answers = {
        **_scores_in_words(comparison),
        f"{parts.REPEATS}:": repeats_in_words(comparison),
        parts.OTHERWISE: otherwise,
        parts.CHECK: check,
    }
    return {what: said for what, said in answers.items() if said}


def _scores_in_words(comparison: ComparisonFacts) -> dict[str, str]:
    """Return what the best searcher's winners come to, and what luck alone does."""
    if not (rows := against_control(comparison)):
        return {}
    best, look, unit = rows[0], comparison.any_record.test_evaluation, comparison.unit
    scores, runs = comparison.table()["test_best"], comparison.results[best.arm]
    n = sum(math.isfinite(run.test_value) for run in runs)
    record = comparison.any_record
    score = score_in_words(record.test_metric, record.positive)
    of_test = f" on {look['n_images']} test examples, which no search saw" if look else ""
    held = (
        f"{best.arm}'s winners come to a {score} of {unit.value(scores[best.arm])}{of_test}, in "
        f"the mean over {n} seed{'s' * (n > 1)}."
    )
    usual = (
        f"as many trials of {luck_in_words(comparison)} come to {unit.value(scores[best.other])}; "
        f"beyond that, {best.arm} has {unit.gain(best.mean)} "
        f"({parts.with_interval(best, unit)})."
    )
    return {f"{parts.HOLD}:": held, f"{parts.USUAL}:": usual}


def against_control(comparison: ComparisonFacts) -> list[PairedDifference]:
    """Return how much better than random restarts each other searcher is, the best first."""
    rows = comparison.rows_of(comparison.families[0])
    known = [row for row in rows if row.other == comparison.restarts and row.n_pairs]
    # What is shown to be better comes first, whatever the means.
    return sorted(known, key=lambda row: (row.verdict != "better", -row.mean))


def claim_of_comparison(comparison: ComparisonFacts) -> str:
    """Return the verdict, what the same compute gains otherwise, and what no seed has shown."""
    said = [verdict_of_comparison(comparison), _otherwise(comparison)]
    said += [f"{parts.unseen(best.n_pairs)}." for best in against_control(comparison)[:1]]
    return " ".join(filter(None, said))


def verdict_of_comparison(comparison: ComparisonFacts) -> str:
    """Return whether the best searcher is better than random restarts, and than no search."""
    if comparison.restarts is None:
        return "There are no random restarts to compare with, so nothing can be told from luck."
    rows, luck = against_control(comparison), luck_in_words(comparison)
    record, unit = comparison.any_record, comparison.unit
    if not rows:
        said = f"There are no searchers with results to compare with {luck}."
        has_winner = record.best is not None or comparison.is_of_function
        return said if has_winner else f"{said} {why_no_winner(record)}"
    best, verdicts, n = rows[0], {row.verdict for row in rows}, rows[0].n_pairs
    score = score_in_words(record.test_metric, record.positive)
    mean = f"{unit.gain(best.mean)} of {score}"
    if comparison.is_of_function:
        is_higher = (record.study.direction.name == "MAXIMIZE") == (best.mean >= 0)
        mean = f"a {score} {'higher' if is_higher else 'lower'} by {unit.value(abs(best.mean))}"
    size = parts.images(best.mean, record.test_evaluation)
    # Of a function, it is said how much higher or lower: the interval has the same sign.
    shown = best.turned() if comparison.is_of_function and best.mean < 0 else best
    evidence = f"{size and f'{size}; '}{parts.with_interval(shown, unit)}, {n} seed{'s' * (n > 1)}"
    no_search = _against_no_search(comparison, best.arm)
    if best.verdict == "better":
        said = f"{best.arm} is better than {luck} {parts.in_most(best)}{no_search}"
        return f"{said}: {mean} for the same number of trials ({evidence})."
    said = f"No searcher is shown to be better than {luck}"
    if verdicts == {"worse"}:
        are_most = {*map(parts.in_most, rows)} == {"for most seeds"}
        said = (
            f"Every searcher is worse than {luck} {'for most seeds' if are_most else 'on average'}"
        )
    elif not verdicts & {*OPEN}:
        said = f"No searcher is better than {luck}"
    nearest = "comes closest"
    if best.verdict in ("equivalent", "not worse"):
        nearest = f"is {best.verdict}"
    return f"{said}: {best.arm} {nearest}, with {mean} ({evidence}){no_search}."


def _against_no_search(comparison: ComparisonFacts, arm: str) -> str:
    """Return how an arm compares with one offset for all layers; empty if that was not run."""
    controls = comparison.controls.items()
    constant = [label for label, [run, *_] in controls if run.sampler == CONSTANT]
    rows = comparison.rows_of([(arm, label) for label in constant])
    if not rows or not rows[0].n_pairs:
        return ""
    said = _NO_SEARCH.get(str(rows[0].verdict), ", but not shown to be better than")
    unit = comparison.unit
    evidence = f"{unit.gain(rows[0].mean)}, {parts.with_interval(rows[0], unit)}"
    return f"{said} one offset for all layers, which is no search ({evidence})"


def _otherwise(comparison: ComparisonFacts) -> str:
    """Return the sentence on what the same compute gains otherwise, empty without controls."""
    control = comparison.strongest_control
    rows = comparison.rows_of([(str(comparison.restarts), str(control))])
    if control is None or not rows or not rows[0].n_pairs:
        return ""
    turned, unit = rows[0].turned(), comparison.unit
    spent = ARMS[comparison.controls[control][0].sampler].spent or f"on {control}"
    return (
        f"The same compute spent {spent} gains {unit.gain(turned.mean)} over random restarts "
        f"({parts.with_interval(turned, unit)})."
    )


def later_costs(comparison: ComparisonFacts) -> list[str]:
    """Return what the winners of controls cost ever after, a sentence each."""
    return [
        f"{label}: {ARMS[runs[0].sampler].later.format(n=n)}."
        for label, runs in comparison.controls.items()
        if (n := max(run.n_networks for run in runs)) > 1
    ]


def repeats_in_words(comparison: ComparisonFacts) -> str:
    """Return what of each arm's winners repeats on fresh seeds; empty where that is not known."""
    if not (rows := comparison.repeats):
        return ""
    unit, said = comparison.unit, []
    for row in rows:
        is_rate = comparison.results[row.arm][0].sampler == LEARNING_RATE
        said.append(
            f"{row.arm}'s {'rate' if is_rate else 'offsets'} {unit.gain(row.mean)} "
            f"({parts.with_interval(row, unit)}), "
            f"{_REPEATS.get(str(row.verdict), 'which is not shown to repeat')}"
            f"{f' {parts.in_most(row)}' * (row.verdict in ('better', 'worse'))}"
        )
    together = f"; intervals of 95 % for all {len(said)} together" if said[1:] else ""
    return (
        f"trained from one fresh seed more in each of {rows[0].n_pairs} beginnings, winners gain "
        f"over their unmoved networks: {'; '.join(said)}{together}."
    )


def caveat_of_comparison(comparison: ComparisonFacts) -> str:
    """Return what to think of the claim."""
    of = "data set"
    luck = (
        "Random restarts move nothing, they only draw other initial weights: what they gain is "
        "luck, and only what a searcher gains beyond them is its own."
    )
    if comparison.is_of_function:
        of = "objective"
        luck = "What random search finds is what the number of trials alone brings."
        if not comparison.any_record.settings.get("confirm"):
            luck += (
                " The best value told is too good to be true, and the more so the more often a "
                "sampler asks for the same: confirm=5 evaluates the best trials afresh."
            )
    assumed = "differences are symmetric about their centre"
    said = [
        what_is_missing(comparison),
        parts.others_in_words("The same objective is", comparison.like),
        *later_costs(comparison),
        f"{luck} All is said of this {of}, and assumes that {assumed}.",
    ]
    return " ".join(filter(None, said))


def luck_in_words(comparison: ComparisonFacts) -> str:
    """Return what shows what luck alone brings."""
    return "random search" if comparison.is_of_function else "random restarts"


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
    # Families of which nothing is left to be claimed promise nothing; others count as declared.
    n_claims = {what: n for what, n in comparison.n_claims.items() if made[what]}
    how = parts.FOR_NEW_DATA.format(per="seed") if comparison.resampled else ""
    return parts.interval_in_words(n_claims, looks_again=comparison.looks_again, how=how)
