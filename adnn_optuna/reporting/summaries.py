"""What a search came to, in sentences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._units import ACCURACY, unit_of
from adnn_optuna.engine.classes import ROLES, balanced_accuracy, uneven_classes_in_words
from adnn_optuna.networks.display import inputs_in_words

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord


def summary(record: SearchRecord) -> str:
    """Return what a search came to, as it prints."""
    n_trials = len(record.done_trials)
    lines = [f"Study {record.study.study_name!r}: {n_trials} trials, {record.end_in_words}"]
    if record.best is None:
        return "\n".join([*lines, f"  {why_no_winner(record)}"])
    gain, of_test = record.unit.gain(record.gain), record.test_gain_in_words
    for name, *values, gained in (
        (record.metric, record.baseline, record.best_value, gain),
        (record.test_metric, record.test_baseline, record.test_value, of_test),
    ):
        before, best = map(unit_of(name).value, values)
        lines.append(f"  {name:<15}  baseline {before:>8}  best {best:>8}  gain {gained}")
    if (look := record.test_look) and (uneven := uneven_classes_in_words(look)):
        before, after = (ACCURACY.value(balanced_accuracy(look, role)) for role in ROLES)
        lines.append(f"  {uneven}")
        lines.append(
            f"  balanced accuracy  baseline {before}  best {after}  (mean over the classes)"
        )
    lines.append(f"  best trial {record.best.number}: {params_in_words(record.best.params)}")
    if scaling := record.attrs.get(stored.CONFIG, {}).get("dataset", {}).get("preprocessing"):
        lines.append(f"  inputs {inputs_in_words(scaling)}")
    lines += [
        f"  {said}" for said in (offset_gain_in_words(record), proposers_in_words(record)) if said
    ]
    return "\n".join(lines)


def why_no_winner(record: SearchRecord) -> str:
    """Return why there is no best trial, and how to get one."""
    states = [trial.state for trial in record.done_trials]
    n_diverged = states.count(TrialState.FAIL)
    if states:
        mend = "lower the learning rate" if n_diverged else "let the pruner wait for longer"
        return (
            f"No trial was completed: {len(states) - n_diverged} were pruned, {n_diverged} "
            f"diverged; {mend}."
        )
    cut_off = [
        t for t in record.study.get_trials(deepcopy=False) if stored.ELAPSED in t.user_attrs
    ]
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


def proposers_in_words(record: SearchRecord) -> str:
    """Return who proposed which trials and the best one, where several did; else empty."""
    proposers = record.proposers
    if record.best is None or len(set(proposers.values())) < 2:
        return ""
    groups = itertools.groupby(proposers, key=lambda number: proposers[number])
    runs = [(who, [*of_run]) for who, of_run in groups]
    listed = ", ".join(f"{n[0]}–{n[-1]} by {who}" for who, n in runs)
    best = record.best.number
    return f"Proposed were trials {listed}; the best one, {best}, by {proposers[best]}."


def offset_gain_in_words(record: SearchRecord) -> str:
    """Return which part of the gain is from the offsets, a sentence; empty where all of it is."""
    look, gain = record.test_look, record.offset_gain
    if look is None or math.isnan(gain):
        return ""
    unmoved = record.unit.value(look["unmoved"])
    source, without = "the offsets", "every offset 0"
    if record.is_restart:
        source, without = "other initial weights", "those of the seed"
    return (
        f"Of the gain in {record.metric}, {record.unit.gain(gain)} is from {source}: with "
        f"{without}, the winner's model and training reach {unmoved}, and the test gain "
        "is over these."
    )


def _in_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def params_in_words(params: Mapping[str, Any]) -> str:
    """Return a trial's parameters as text; those of other objectives may be no numbers."""
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, int | float) else f"{name}={value}"
        for name, value in params.items()
    )
