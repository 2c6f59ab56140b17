"""Run studies and read them back."""
