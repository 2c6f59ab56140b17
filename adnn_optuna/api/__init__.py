"""The functions that a user calls, such as ``search``, and their results."""
