"""Statistics: functions that turn arrays into intervals, tests, power and spreads."""
