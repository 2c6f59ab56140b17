"""How others check the contract of a result."""
