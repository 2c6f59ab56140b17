"""The verbs that a user calls, and their results."""
