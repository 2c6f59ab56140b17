"""Check contracts that somebody else made."""
