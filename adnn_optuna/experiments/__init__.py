"""Searches and comparisons of Keras networks, their results on new seeds, and contracts."""
