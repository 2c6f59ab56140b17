"""What a search shows, in sentences that claim no more than that."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import TestLook
from adnn_optuna._units import printable
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.numbers import unit_of_search
from adnn_optuna.networks.duplicates import in_words
from adnn_optuna.reporting.claims import CHECK, OTHERWISE, in_full, listed, n_examples
from adnn_optuna.reporting.confirmations import verdict

# So many times as frequent as the others in their mean is a class that makes a test set uneven:
# always naming it is then right as many times as often as always naming another one.
_UNEVEN = 1.5
# Of variables that do not move, and of other studies.
_NAMED = 5


def answers_of_search(record: SearchRecord, contract: str | None) -> dict[str, str]:
    """Return what somebody asks first, each with one sentence; the first one is the verdict."""
    if record.best is None:
        return {"verdict": why_no_winner(record)}
    answers = {"verdict": verdict(record)}
    if stored.CONFIG not in record.attrs:
        n_trials, gain = len(record.done_trials), in_full(record.gain, unit_of_search(record))
        again = "adnn recheck evaluates the best ones again, with fresh random numbers"
        answers["What was gained?"] = (
            f"{gain} over the first trial, by which the best of {n_trials} was chosen: it looks "
            f"better than it is; {again}."
        )
        return answers
    n = len(record.done_trials)
    otherwise = (
        f"The same {n} training{'s' * (n != 1)} could go into other random beginnings, one longer "
        "training or other learning rates, which may gain as much: adnn compare tries them all."
    )
    if record.is_restart:
        otherwise = "A real search, which has to gain more than this: adnn compare runs both."
    check = (
        "Write its contract, by result.contract().save(FILE) or adnn resume --contract FILE: "
        "with it anyone can train both networks again, by adnn verify FILE."
    )
    if contract:
        again = f"adnn verify {contract} trains both networks again and names what differs"
        check = f"Anyone can: {again}."
    return {**answers, OTHERWISE: otherwise, CHECK: check}


def to_mind(runs: Sequence[SearchRecord]) -> str:
    """Return what to mind of a search, or of a searcher's runs; empty if there is nothing."""
    looks, parts = [look for run in runs if (look := run.test_look)], []
    if looks and (uneven := uneven_classes_in_words(looks[0])):
        parts.append(f"Mind that {uneven}.")
    if twice := duplicates_in_words(runs[0].attrs.get(stored.CONFIG, {}).get("dataset", {})):
        parts.append(twice)
    # The runs of a comparison have the same data.
    others = runs[0].looks_elsewhere if runs[0].test_looks else {}
    used = [*(run for run in runs if len(run.test_looks) > 1), *(runs[:1] if others else ())]
    parts += [f"{use_of_test_set(run)}." for run in used[:1]]
    return " ".join(parts)


def uneven_classes_in_words(look: TestLook) -> str:
    """Return what always naming the largest class reaches; empty where the classes are even."""
    n, largest, total = look.get("n_classes", 1), look.get("n_largest", 0), look["n_images"]
    if n < 2 or largest * (n - 1) < _UNEVEN * (total - largest):
        return ""
    share, name = f"{100 * largest / total:.3g} %", look["largest_class"]
    return (
        f"{share} of the test set is class {name!r}: a network that always says so reaches {share}"
    )


def duplicates_in_words(dataset: Mapping[str, Any]) -> str:
    """Return which samples of data are there twice, by their configuration; empty if none is."""
    found = in_words(dataset.get("duplicates", {}))
    return printable(f"Mind that the data have {found}.") if found else ""


def use_of_test_set(record: SearchRecord) -> str:
    """Return how often the test set of a search was looked at, and what that means."""
    looks, elsewhere = record.test_looks, record.looks_elsewhere
    numbers = [str(look["n_trials"]) for look in looks]
    after = f"after {listed(numbers)} trial{'s' * (numbers != ['1'])}" if looks else ""
    if record.test_look is None:
        after += ", for an earlier winner than the present one"
    whose = "no longer of untouched test data"
    n = len(looks) + sum(elsewhere.values())
    if not looks:
        said = "The test set is closed; result.test() or resume opens it"
    elif n == 1:
        return f"The test set was used once, {after}"
    else:
        times = f"{len(looks)} times" if len(looks) > 1 else "once"
        said = f"The test set was looked at {times}, {after}"
    if not elsewhere:
        return said if not looks else f"{said}: the later gains are {whose}"
    names = [repr(printable(name)) for name in elsewhere]
    who = ", ".join([*names[:_NAMED], "…"] if len(names) > _NAMED else names)
    times = f"{n - len(looks)} time{'s' * (n - len(looks) > 1)}"
    others = f"other studies of this storage ({who}) looked at the same data {times}"
    return f"{said}, and {others}: of these {n} looks, all but the first are {whose}"


def about_test_gain(record: SearchRecord) -> str:
    """Return the size in images of the test gain, or why it is not known."""
    if (look := record.test_look) is None:
        if record.best is None or stored.CONFIG not in record.attrs:
            return ""
        which = "the test set is closed"
        if record.test_looks:
            which = "only an earlier winner was tested"
        return f"{which}; result.test() or resume opens it"
    if math.isnan(look["baseline"]):
        return "the training of the unmoved network diverged"
    if record.test_metric == "test_r2":
        return f"nearer to {look['won']} of {look['n_images']} test targets"
    if n_gained := abs(look["won"] - look["lost"]):
        return f"{n_gained} of {n_examples(look)}"
    return f"no {printable(look['unit'])[:-1]}"


def end_in_words(stop_reason: str | None) -> str:
    """Return what ended a search or one of its runs, if anything has."""
    return "not ended" if stop_reason is None else f"ended by {printable(stop_reason)}"


def why_no_winner(record: SearchRecord) -> str:
    """Return why there is no best trial, and how to get one."""
    trials, failed, mend = record.done_trials, "diverged", "lower the learning rate"
    if stored.CONFIG not in record.attrs:
        ended = (TrialState.PRUNED, TrialState.FAIL)
        trials = record.study.get_trials(deepcopy=False, states=ended)
        failed, mend = "failed", "look at the objective"
    if trials:
        n_failed = sum(trial.state == TrialState.FAIL for trial in trials)
        mend = mend if n_failed else "let the pruner wait for longer"
        return (
            f"No trial was completed: {len(trials) - n_failed} were pruned, {n_failed} {failed}; "
            f"{mend}."
        )
    trials = record.study.get_trials(deepcopy=False)
    cut_off = [t for t in trials if stored.ELAPSED in t.user_attrs]
    if not cut_off or record.stop_reason != "max_time":
        return "No trial was finished yet."
    attrs = cut_off[-1].user_attrs
    why = "while the network was compiled"
    if seconds := attrs.get(stored.TRAINED, {}).get("whole"):
        why = f"but one training takes about {_in_seconds(seconds)}"
    elapsed = _in_seconds(attrs[stored.ELAPSED])
    return (
        f"No trial was finished: max_time ended the search after {elapsed}, {why}; resume it "
        "with a longer max_time."
    )


def _in_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def proposers_in_words(record: SearchRecord) -> str:
    """Return who proposed which trials and the best one, where several did; else empty."""
    proposers = record.proposers
    if record.best is None or len(set(proposers.values())) < 2:
        return ""
    groups = itertools.groupby(proposers, key=lambda number: proposers[number])
    runs = [(printable(who), [*of_run]) for who, of_run in groups]
    spans = ((who, f"{n[0]}–{n[-1]}" if n[1:] else str(n[0])) for who, n in runs)
    listed = ", ".join(f"{span} by {who}" for who, span in spans)
    best = record.best.number
    return f"Proposed were trials {listed}; the best one, {best}, by {printable(proposers[best])}."


def unowned_in_words(record: SearchRecord) -> str:
    """Return which trials may be left behind by a kill, and how to end them; empty without any."""
    if not (numbers := [str(number) for number in record.unowned_trials]):
        return ""
    trials, are, it = ("Trial", "is", "it") if len(numbers) == 1 else ("Trials", "are", "each")
    return (
        f"{trials} {listed(numbers)} {are} RUNNING, but nothing tells who runs {it}: if nobody "
        f"does, end {it} by study.tell({numbers[0]}, state=optuna.trial.TrialState.FAIL)."
    )


def not_moved_in_words(variables: Sequence[str]) -> str:
    """Return which variables no offset moves, a sentence; empty where each one may move."""
    if not variables:
        return ""
    more = f" and {len(variables) - _NAMED} more" if len(variables) > _NAMED else ""
    some = f"{', '.join(variables[:_NAMED])}{more}"
    return f"No offset moves {some}: only what is called kernel, embeddings or bias moves."


def hyperparameter_gain_in_words(record: SearchRecord) -> str:
    """Return what the best trial's own hyperparameters gain, beside the offsets; or empty."""
    if math.isnan(gain := record.hyperparameter_gain):
        return ""
    unit, first = unit_of_search(record), record.attrs[stored.BASELINE]
    return (
        "The baseline has the winner's own hyperparameters, unmoved: from the search's one seed "
        f"these alone gain {unit.gain(gain)} in {printable(record.metric)} over the first "
        f"trial's, which reach {unit.value(first)}, and that is no part of the gain."
    )
