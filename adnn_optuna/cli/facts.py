"""What ``--json`` shows: the facts that a verb returns, by the names that they have in Python."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

SHOWN = {
    "SearchRecord": "study metric test_metric searcher stop_reason budget values baseline best "
    "best_value gain test_baseline test_value test_gain confirmation",
    "ComparisonFacts": "study_name seeds equivalence is_complete table differences results",
    "SeedPlanFacts": "gain n_claims n_pilot sd seeds seeds_low seeds_high seeds_looking_again "
    "hours hours_looking_again",
    "RecheckFacts": "study_name maximize best trial value low high overstated overstated_low "
    "overstated_high against gain said_gain is_deterministic n_lost evaluations:to_dataframe",
    "VarianceFacts": "study_name value_name sources n seed values mean total parts "
    "least_difference own_value own_luck n_lost",
    "ModelComparisonFacts": "study_name labels seeds sources score equivalence n_train n_test "
    "values table differences",
    "ValueComparisonFacts": "names per maximize equivalence is_paired values table differences",
    "EnsembleFacts": "study_name seeds score_name members mean sd score gain disagreement "
    "n_diverged",
    "LuckFacts": "n sd expected claimed files chances chances_of_files",
    "ContractFacts": "content",
    "VerdictFacts": "status reasons not_checked gain half_width interval examples promised "
    "confirmation fresh",
    "AuditFacts": "variables layers warnings not_moved",
}
"""What is shown of each kind of facts, by its class: attributes, or what methods return.

After a colon stands what it is in Python, where that has another name.
"""


def as_json(verb: str, facts: object, **more: Any) -> str:
    """Return what a command found as JSON; of numbers what is not finite is null."""
    return json.dumps({"verb": verb, **_plain(facts), **_plain(more)}, indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(of_key) for key, of_key in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_asdict"):
        return [_plain(part) for part in value]
    return _plain(_parts(value))


def _parts(value: Any) -> Any:
    """Return what a value consists of; what has no parts that can be told, as text."""
    import optuna

    kinds = [SHOWN[of.__name__] for of in type(value).__mro__ if of.__name__ in SHOWN]
    if kinds or isinstance(value, optuna.trial.FrozenTrial):
        names = (kinds or ["number value params"])[0].split()
        parted = (name.partition(":") for name in names)
        return {name: getattr(value, of or name, None) for name, _, of in parted}
    if isinstance(value, optuna.Study):
        return value.study_name
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "reset_index"):  # A data frame.
        return value.reset_index().to_dict("records")
    # Of named tuples, and of what NumPy has.
    for method in ("_asdict", "tolist", "__call__"):
        if hasattr(value, method):
            return getattr(value, method)()
    return str(value)
