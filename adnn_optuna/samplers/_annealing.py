"""Adaptive simulated annealing as an Optuna sampler."""

import copy
import dataclasses
import functools
import math
import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import Proposal
from adnn_optuna._checks import (
    WrongValueError,
    check_integer,
    check_parameters,
    check_positive,
    check_type,
)
from adnn_optuna.samplers._asa import AdaptiveSimulatedAnnealing, Options
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._indices import Indices, ParameterSource
from adnn_optuna.samplers._ingber import PublishedAnnealing
from adnn_optuna.samplers._random_numbers import check_seed, draw_key, seed_of
from adnn_optuna.samplers._trials import constraints_of, cost_sign
from adnn_optuna.samplers._unit_interval import (
    can_rescale,
    from_unit,
    hull,
    levels,
    n_choices,
    nearest_value,
    rescale,
    to_unit,
)


class AdaptiveSimulatedAnnealingSampler(IndexedSampler):
    """Sampler using Ingber's adaptive simulated annealing (ASA).

    Each trial changes all parameters of the current point at once. Most changes are small and some
    are large. All changes become smaller as the annealing cools. A better point is always
    accepted. A worse point is sometimes accepted, but less often as the annealing cools. All
    changes are on a scale from 0 to 1, which is logarithmic for ``log=True``.

    With categories or integers, a Gaussian process proposes at least half of the points. With
    constraints but without categories and integers, it proposes a little less than half. See the
    note for details.

    Use it for ten to a few hundred expensive evaluations, with or without noise. It helps most if
    you know a good point (``x0``). Workers may start and end at any time: the study contains the
    annealing's state, so a new worker continues exactly where another one was stopped or killed.
    With many thousands of evaluations, use :class:`~optuna.samplers.CmaEsSampler`.

    Example:

        .. testcode::

            import optuna
            from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler


            def objective(trial):
                x = trial.suggest_float("x", -5, 5)
                y = trial.suggest_float("y", -5, 5)
                return (x - 1) ** 2 + (y + 2) ** 2


            sampler = AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=40, x0={"x": 0, "y": 0})
            study = optuna.create_study(sampler=sampler)
            study.optimize(objective, n_trials=40)
            assert study.trials[0].params == {"x": 0, "y": 0}
            assert study.best_value < 0.1

    Note:
        The algorithm follows [1] and [2] with eleven changes for searches with few evaluations.
        ``studies/sampler_quality.py`` measures their effects.

        - The schedule ends with the budget: after N = ``n_trials`` trials, the temperature is T_0
          N^-3.
        - The initial cost temperature is a tenth of the standard deviation of the first 5 values.
        - The first 8 trials cover the whole space: each takes a different eighth of each
          parameter's range. This change does not apply if ``initial_temperature`` is below 1.
        - A model chooses every other trial. The model is a cubic radial basis function, fitted to
          the nearby trials. It chooses the most promising of ``n_candidates`` moves. In the last
          fifth of ``n_trials``, the model chooses all trials, and is also fitted to the latest
          trials. As long as most values equal the first value and no value is better, trials are
          drawn from the whole space.
        - With constraints, a Gaussian process chooses the other trials. It is fitted to the 100
          nearest trials, and chooses the point with the largest expected improvement, among moves
          and in the whole space. The process has a Matern kernel with a length for each parameter.
        - With categories or integers, the Gaussian process replaces the radial basis function. It
          chooses all trials up to the 40th, and then every other trial. Without constraints,
          values far worse than the median are limited: their distance from the median counts as at
          most twice the best value's distance. Moves are rounded to possible values of parameters.
          No point is evaluated twice, unless there is noise.
        - All trials that have the same set of parameters are a branch. A decision tree predicts
          the branch from the values of categories, integers and floats. A trial's branch is drawn
          at random. The probability depends on the rank of the branch's best value, and the best
          branches become more probable during the search. Branches with few trials have an
          optimistic rank. A parameter cools only in trials that have it, and D is the number of
          parameters in the branch.
        - For the models, a pruned trial has a guessed final value. The guess has the rank that the
          trial's last report has among all reports at the same step. A guess counts as noisy,
          changes with further trials, and is never the best value.
        - With more than 8 parameters, the annealing cools as fast as with 4.
        - Re-annealing is optional and damped by a square root.
        - The sensitivities are estimated from the trials so far.

    Note:
        Any number of threads and processes can share a study, with the same arguments for each.
        With four workers, no difference in regret from one worker is shown. After 200 trials, the
        regret is 1.09 times as large on average, and 0.67 to 1.50 times in five groups of
        functions.

        A trial that failed, or was pruned without a report, counts as a rejected move. So does a
        trial of your own objective that Ctrl-C interrupted in ``study.optimize``. If another
        sampler's trial is better than the current point, it becomes the current point. A trial
        that a time limit of adnn cut off has no effect, because it is repeated.

        Constraints (``trial.set_constraint``) are honoured. An infeasible point never replaces a
        feasible point. Of two infeasible points, the annealing keeps the point with the smaller
        total violation [3]. A Gaussian process of all constraints learns where points are feasible
        [4]. Models of the objective omit infeasible points.

    References:
        [1] L. Ingber. Very fast simulated re-annealing. Mathematical and Computer Modelling
        12(8):967-973, 1989.

        [2] L. Ingber. Adaptive simulated annealing (ASA): Lessons learned. Control and Cybernetics
        25(1):33-54, 1996. https://arxiv.org/abs/cs/0001018

        [3] K. Deb. An efficient constraint handling method for genetic algorithms. Computer
        Methods in Applied Mechanics and Engineering 186(2-4):311-338, 2000.

        [4] J. R. Gardner, M. J. Kusner, Z. Xu, K. Q. Weinberger and J. P. Cunningham. Bayesian
        optimization with inequality constraints. ICML 2014.

    Args:
        seed: Seed of the random numbers. If :obj:`None`, the seed follows from the study.
        n_trials: The number of trials over which the annealing cools. If :obj:`None`, the number
            is 100, and grows with the study. If the study continues beyond this number, the
            temperature stays about the same.
        x0: The parameters of the first trial, by name. Missing parameters start at random. A value
            out of range is clipped, with a warning. A name that the objective does not suggest
            raises an error in the second trial.
        initial_temperature: The temperature at the start, at most 1. At 1, moves reach the whole
            space. The default is 1. With ``x0``, the default is 0.1, so the walk stays near a good
            point.
        quench: Ingber's parameter Q. With D parameters, the exponent of the annealing time is Q/D.
            With a Q above 1, the annealing cools later but more suddenly, and may miss the
            optimum. A Q above 20 D has the same effect as 20 D.
        n_candidates: The number of moves among which a model chooses. With 1, no model is used.
        reannealing: Whether parameters with little effect are moved more than others. This can
            help without the model, if the parameters have different scales and do not interact.
        ingber: Whether to run the published algorithm, with the defaults of Ingber's code ASA
            30.53. Of the changes above, only the last one remains. After 100 trials, temperatures
            are 1e-5 of the first temperatures. After every 100 accepted trials, all parameters are
            re-annealed without damping. ``n_trials`` and ``n_candidates`` then have no effect.
    """

    def __init__(
        self,
        seed: int | None = None,
        n_trials: int | None = None,
        x0: Mapping[str, Any] | None = None,
        *,
        initial_temperature: float | None = None,
        quench: float = 1.0,
        n_candidates: int = 256,
        reannealing: bool = False,
        ingber: bool = False,
    ) -> None:
        check_seed(seed)
        if n_trials is not None:
            check_integer("n_trials", n_trials, low=1)
        check_type("x0", x0, Mapping | None, "a mapping from names to values")
        check_parameters("x0", x0 or {})
        if initial_temperature is None:
            initial_temperature = 0.1 if x0 and not ingber else 1.0
        check_positive("initial_temperature", initial_temperature)
        if initial_temperature > 1:
            raise WrongValueError(
                f"initial_temperature must be at most 1; got {initial_temperature!r}."
            )
        check_positive("quench", quench)
        check_integer("n_candidates", n_candidates, low=1)
        check_type("reannealing", reannealing, bool, "True or False")
        check_type("ingber", ingber, bool, "True or False")
        super().__init__("annealing")
        self._seed = seed
        self._x0 = dict(x0 or {})
        self._options = Options(
            n_trials, float(initial_temperature), float(quench), int(n_candidates), reannealing
        )
        self._is_published = ingber

    def __repr__(self) -> str:
        options = self._options
        return (
            f"{type(self).__name__}(seed={self._seed}, n_trials={options.n_trials}, "
            f"x0={self._x0 or None}, initial_temperature={options.initial_temperature}, "
            f"quench={options.quench}, n_candidates={options.n_candidates}, "
            f"reannealing={options.has_reannealing}, ingber={self._is_published})"
        )

    def _propose(self, study: Study, indices: Indices, proposal: Proposal) -> ParameterSource:
        def start() -> _Chain:
            seed = seed_of(study, indices.reader.first, self._seed)
            make = PublishedAnnealing if self._is_published else AdaptiveSimulatedAnnealing
            sign = cost_sign(study.direction)
            return _Chain(make(seed, self._options), sign, self._x0)

        chain = indices.state(proposal, start)
        index = proposal["index"]
        key = draw_key(proposal)
        if index is None:
            index = next(indices.unfinished_indices())
        units = chain.annealing.ask(index, key, proposal["n_pending"])
        point = dict(zip(chain.distributions, map(float, units), strict=True))
        return functools.partial(chain.value, index, key, point)


@dataclasses.dataclass
class _Chain:
    """An annealing that learns from trials and knows the parameter of each coordinate."""

    annealing: AdaptiveSimulatedAnnealing
    sign: int
    x0: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution] = dataclasses.field(default_factory=dict)
    names: frozenset[str] = frozenset()  # All parameters, including those with one value.

    def __copy__(self) -> Self:
        return dataclasses.replace(self, annealing=copy.copy(self.annealing))

    def tell(self, index: int | None, trial: FrozenTrial) -> None:
        # For Optuna, a pruned trial's value is its last report, which is not a final value.
        value = math.nan
        if trial.state == TrialState.COMPLETE:
            value = self.sign * trial.values[0]
        reports = {step: self.sign * v for step, v in trial.intermediate_values.items()}
        if math.isnan(value) and not (reports and trial.state == TrialState.PRUNED):
            return
        self.names |= trial.distributions.keys()
        units = {}
        for name, distribution in trial.distributions.items():
            scale = self.distributions.get(name)
            if distribution.single():
                continue
            if scale is None:
                scale = distribution
                self.annealing.add_coordinate(name, n_choices(distribution), levels(distribution))
            elif not can_rescale(scale, distribution):
                continue
            # A coordinate's scale includes all ranges that its parameter has had.
            elif (wider := hull(scale, distribution)) != scale:
                start, end = (rescale(place, scale, wider) for place in (0.0, 1.0))
                self.annealing.rescale(name, start, end, levels(wider))
                scale = wider
            self.distributions = {**self.distributions, name: scale}
            units[name] = to_unit(trial.params[name], scale)
        x = np.array([units.get(name, math.nan) for name in self.distributions])
        self.annealing.tell(index, x, value, constraints_of(trial), reports)

    def value(
        self,
        index: int,
        key: int,
        point: Mapping[str, float],
        name: str,
        distribution: BaseDistribution,
    ) -> Any:
        """Return the value of a parameter at a point of the annealing."""
        if self.distributions and (unknown := sorted(self.x0.keys() - self.names)):
            raise WrongValueError(
                f"x0 has a value for {unknown[0]!r}, a parameter that no trial has: "
                f"correct it, or leave it out (they have {', '.join(sorted(self.names))})."
            )
        if key == 0 and name in self.x0:
            return _start(name, self.x0[name], distribution)
        center = math.nan
        scale = self.distributions.get(name)
        if scale is None and name in self.x0:
            center = to_unit(self.x0[name], distribution)
        # The range may have changed since the point was proposed. Optuna allows no other change.
        elif scale is not None and can_rescale(scale, distribution):
            unit = point[name]
            if scale != distribution:
                unit = rescale(unit, scale, distribution)
            if scale == distribution or 0 <= unit <= 1:
                return from_unit(unit, distribution)
            x = float(self.annealing.x[list(point).index(name)])
            center = rescale(x, scale, distribution)
        n_dims = self.annealing.n_dims if self.distributions else max(len(self.x0), 1)
        unit = self.annealing.draw(
            name, n_choices(distribution), center, index=index, key=key, n_dims=n_dims
        )
        return from_unit(unit, distribution)


def _start(name: str, value: Any, distribution: BaseDistribution) -> Any:
    """Return the possible value of a parameter that is nearest to its value in ``x0``."""
    # `to_internal_repr` raises an error for an unknown choice.
    if n_choices(distribution) or distribution._contains(value):
        return distribution.to_external_repr(distribution.to_internal_repr(value))
    nearest = nearest_value(value, distribution)
    warnings.warn(
        f"x0[{name!r}] is {value!r}, which is none of the values of "
        f"{distribution}: the first trial has {nearest!r} instead.",
        stacklevel=2,
    )
    return nearest
