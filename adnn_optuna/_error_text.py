"""What errors of others say, to be quoted in a sentence."""

from __future__ import annotations


def first_line(error: object) -> str:
    """Return an error's first line without its full stop; its class if it says nothing."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
