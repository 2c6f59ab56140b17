"""Check contracts from others."""
