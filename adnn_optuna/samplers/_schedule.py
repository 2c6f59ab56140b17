"""What an annealing cools by: its options, and the limits of its exponents."""

import dataclasses

# The largest Q/D. With it nothing cools before three quarters of the budget, and beyond it the
# powers of annealing times overflow.
MAX_EXPONENT = 20.0
_UNKNOWN_N_TRIALS = 100  # The budget that the schedule is made for if it is unknown.
# With more dimensions, an exponent of Q/D would freeze the walk after its first points: it cools
# as with 4.
_MAX_COOLING_DIMS = 8
_MANY_COOL_AS = 4


@dataclasses.dataclass(frozen=True)
class Options:
    """The definition of an annealing except its seed: the arguments of the sampler."""

    n_trials: int | None = None  # N
    initial_temperature: float = 1.0  # T_0
    quench: float = 1.0  # Q
    n_candidates: int = 256
    has_reannealing: bool = False

    def budget(self, n_generated: int) -> float:
        """Return N, which grows with the generated points where these outgrow it."""
        return float(max(self.n_trials or _UNKNOWN_N_TRIALS, n_generated, 2))


def cooling_dims(n_dims: int) -> int:
    """Return the number of dimensions as which ``n_dims`` parameters cool."""
    if n_dims <= _MAX_COOLING_DIMS:
        return n_dims
    return _MANY_COOL_AS
