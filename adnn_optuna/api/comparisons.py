"""Comparisons that are stored."""

from optuna.storages import BaseStorage

from adnn_optuna._attributes import COMPARISON, Declaration
from adnn_optuna._checks import WrongValueError
from adnn_optuna.api._stored_comparisons import like_comparisons, load_head, records_of_comparison
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.stats.paired_differences import MARGIN


def load_comparison(
    storage: str | BaseStorage, study_name: str, *, margin: float | None = None
) -> Comparison:
    """Return a stored comparison, over the first seeds whose runs have all ended.

    Raises:
        ValueError: If there are no such studies, or the runs of the first seed have not all ended.
    """
    head = load_head(open_storage(storage, must_exist=True), study_name)
    arms = records_of_comparison(head)
    declaration: Declaration = head.user_attrs[COMPARISON]
    declared = declaration["seeds"]
    is_done = [
        all(s in of_arm and of_arm[s].is_over for of_arm in arms.values()) for s in declared
    ]
    seeds = tuple(declared[: [*is_done, False].index(False)])
    if not seeds:
        n_over = sum(run.is_over for of_arm in arms.values() for run in of_arm.values())
        raise WrongValueError(
            f"All runs of the first seed ({declared[0]}) of comparison {study_name!r} must have "
            f"ended; got {n_over} of {len(arms) * len(declared)} ended runs, but not all of this "
            "seed. Continue with resume or compare."
        )
    results = {label: [of_arm[seed] for seed in seeds] for label, of_arm in arms.items()}
    if margin is None:
        margin = declaration["arguments"].get("margin", MARGIN)
    return Comparison(results, seeds, margin, declaration, like_comparisons(head))
