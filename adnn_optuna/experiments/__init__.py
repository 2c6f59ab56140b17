"""Searches and comparisons of Keras networks: what is trained, tested, confirmed, contracted."""
