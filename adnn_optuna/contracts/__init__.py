"""How others check a result."""
