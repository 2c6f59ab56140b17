"""A new random initialization for each trial."""

from typing import Any

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.study import Study

from adnn_optuna._attributes import Proposal
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._indices import Indices, ParameterSource
from adnn_optuna.samplers._random_numbers import GENERATE, check_seed, draw_key, seed_of, uniforms
from adnn_optuna.samplers._unit_interval import from_unit

RESTART = "restart"


class RandomRestartSampler(IndexedSampler):
    """Sampler that counts: the integer parameter ``restart`` is 0, 1, 2, ….

    It is for objectives with random initial values whose seed is ``restart``. The best of n such
    trials gains by selection alone. So a search over initial weights must beat this sampler with
    the same number of trials. Other parameters are sampled uniformly at random (in the logarithm
    with ``log=True``).

    Don't use it to search: it does not learn from values. If the seed is not a parameter, use
    :class:`~optuna.samplers.RandomSampler`.

    Example:

        .. testcode::

            import optuna
            from adnn_optuna.samplers import RandomRestartSampler


            def objective(trial):
                restart = trial.suggest_int("restart", 0, 1_000_000)
                return (restart * 7919 % 101) / 101


            study = optuna.create_study(sampler=RandomRestartSampler())
            study.optimize(objective, n_trials=10)
            assert [trial.params["restart"] for trial in study.trials] == list(range(10))

    Note:
        A new sampler continues where the study stopped. No two workers get the same restart. If a
        worker dies, its restart is repeated. With your own objective, a restart that Ctrl-C
        interrupted in ``study.optimize`` is not repeated.

        If the range of ``restart`` begins above 0 or has a step, its values come in order, and
        then the last value is repeated. An enqueued trial without ``restart`` gets a random value.

    Args:
        seed: Seed for the other parameters. If :obj:`None`, the seed follows from the study.
    """

    def __init__(self, seed: int | None = None) -> None:
        check_seed(seed)
        super().__init__("random_restart")
        self._seed = seed

    def __repr__(self) -> str:
        return f"{type(self).__name__}(seed={self._seed})"

    def _propose(self, study: Study, indices: Indices, proposal: Proposal) -> ParameterSource:
        index = proposal["index"]
        key = draw_key(proposal)
        seed = seed_of(study, indices.reader.first, self._seed)

        def value(name: str, distribution: BaseDistribution) -> Any:
            if index is not None and name == RESTART and isinstance(distribution, IntDistribution):
                return min(distribution.low + index * distribution.step, distribution.high)
            return from_unit(float(uniforms(seed, key, GENERATE, name, 1)[0]), distribution)

        return value
