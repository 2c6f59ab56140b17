"""How audits are told: as tables of variables and layers, and what to mind of them."""

from __future__ import annotations

from adnn_optuna.accountability.audit import AuditFacts, in_words, seed_in_words


def text(facts: AuditFacts) -> str:
    """Return the table of the variables, that of the layers that draw, and the warnings."""
    import pandas as pd

    kinds = [variable.distribution.kind for variable in facts.variables]
    counts = ", ".join(f"{kinds.count(k)} {k}" for k in ("random", "fixed", "unknown"))
    parts = [f"{len(kinds)} variables: {counts}", facts.to_dataframe().to_string(index=False)]
    rows = [
        {
            "layer": layer.path,
            "class": layer.layer,
            "draws": layer.when,
            "with": in_words(layer.parameters),
            "seed": seed_in_words(layer),
        }
        for layer in facts.layers
    ]
    if rows:
        table = pd.DataFrame(rows).to_string(index=False)
        parts += [f"\n{len(rows)} layers with random states", table]
    return "\n".join([*parts, "", *(f"! {warning}" for warning in facts.warnings)]).rstrip()
