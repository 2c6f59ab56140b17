"""Notes on the data of searches: uneven classes, duplicates, test-set evaluations."""

from collections.abc import Sequence

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import TestEvaluation
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.networks.duplicates import in_words

# A test set is uneven if its largest class is so many times as frequent as the others on average:
# always predicting this class is then right as many times as often as predicting another one.
_UNEVEN = 1.5


def data_notes(runs: Sequence[SearchRecord]) -> list[str]:
    """Return what a reader must know of the data, which all of the searches share."""
    first, tested = runs[0], [look for run in runs if (look := run.test_evaluation)]
    notes = [_uneven_note(tested[0])] if tested else []
    if found := in_words(
        first.attrs.get(stored.CONFIG, {}).get("dataset", {}).get("duplicates", {})
    ):
        notes.append(f"The data have {found}.")
    several = [run for run in runs if len(run.test_evaluations) > 1]
    if first.test_evaluations and first.test_evaluations_elsewhere:
        several.append(first)
    notes += [_several_evaluations_note(run) for run in several[:1]]
    return [note for note in notes if note]


def _uneven_note(look: TestEvaluation) -> str:
    """Return what always predicting the largest class reaches; empty if the classes are even."""
    n, largest, total = look.get("n_classes", 1), look.get("n_largest", 0), look["n_images"]
    if n < 2 or largest * (n - 1) < _UNEVEN * (total - largest):
        return ""
    share = f"{100 * largest / total:.3g}%"
    return (
        f"{share} of the test set is class {look['largest_class']!r}: a network that always "
        f"predicts it reaches {share}."
    )


def _several_evaluations_note(record: SearchRecord) -> str:
    """Return how often the test set was evaluated, and what that means."""
    n, n_others = len(record.test_evaluations), sum(record.test_evaluations_elsewhere.values())
    counted = f"{n} times" if n > 1 else "once"
    others = f", and {n_others} more by other studies of this storage" if n_others else ""
    return (
        f"The test set was evaluated {counted} by one search{others}. Only the first evaluation "
        "is on untouched test data."
    )
