"""How it is told what luck alone brings."""

from __future__ import annotations

from adnn_optuna.evidence.draws import chance_of_luck, expected_luck


def luck_in_words(n: int, sd: float, claimed: float | None = None) -> str:
    """Return what luck alone gains, and how likely it makes a gain over the mean draw."""
    draws = f"the best of {n} equally good draws" if n > 1 else "one draw"
    sentence = (
        f"By luck alone {draws} with a standard deviation of {sd:g} "
        f"is expected to be {expected_luck(n, sd):.4g} better than the mean"
    )
    if claimed is None:
        return f"{sentence}."
    chance = chance_of_luck(n, sd, claimed)
    return f"{sentence}, and {claimed:g} or more with probability {chance:.2g}."
