"""Studies: running them and reading them back."""
