"""The verbs that a user calls, and what they return."""
