"""Arrays in, numbers out: intervals, tests, power and spreads."""
