"""The searchers by name, and how an Optuna sampler or a factory stands for one."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna import samplers
from adnn_optuna._checks import WrongTypeError, WrongValueError
from adnn_optuna.callbacks import is_done
from adnn_optuna.networks.offsets import EpochsSpace, LearningRateSpace, RestartSpace
from adnn_optuna.samplers._owners import is_alive

if TYPE_CHECKING:
    from adnn_optuna.engine.objective import InitOffsetObjective

Searcher = str | BaseSampler | Callable[[int, int | None], BaseSampler]
"""A name, a sampler, or a factory ``(seed, n_trials) -> sampler``."""

SEARCHERS = (stored.GREEDY, stored.GREEDY_IMPROVING, stored.ANNEALING, stored.RANDOM_RESTART)

# Trials asked for at once, where what is proposed does not depend on what came of the others.
_BATCH_SIZE = 8
_BATCH_BYTES = 2**30  # What the state of a batch may take by default.


def check_searcher(searcher: object) -> None:
    """Refuse what is neither a searcher's name nor a sampler nor a factory of one."""
    if isinstance(searcher, str) and searcher not in SEARCHERS:
        raise WrongValueError(
            f"sampler is {searcher!r}, but the searchers are called {', '.join(SEARCHERS)}; "
            "for any other give an Optuna sampler."
        )
    if isinstance(searcher, str | BaseSampler):
        return
    if not callable(searcher) or isinstance(searcher, type):
        raise WrongTypeError(
            "sampler must be a name, an Optuna sampler or a function (seed, n_trials) -> sampler, "
            f"but it is {searcher!r}."
        )
    # Not every function of an extension module tells what it takes.
    with contextlib.suppress(ValueError):
        try:
            inspect.signature(searcher).bind(0, None)
        except TypeError as error:
            raise WrongTypeError(
                f"The factory {searcher_label(searcher)} must take (seed, n_trials), but it does "
                f"not ({error})."
            ) from None


def searcher_label(searcher: Searcher) -> str:
    """Return the name under which a study stores its searcher."""
    if isinstance(searcher, str):
        return searcher
    if isinstance(searcher, BaseSampler):
        return type(searcher).__name__
    # Not to be taken for a searcher of ours that has the same name.
    return f"{getattr(searcher, '__qualname__', type(searcher).__qualname__)}()"


# The settings of samplers when they were first seen: their random state changes as they are used.
_settings: weakref.WeakKeyDictionary[BaseSampler, dict[str, Any]] = weakref.WeakKeyDictionary()
_MAX_SETTING = 1000  # Characters; a grid may have any number of points.


def settings_of(sampler: BaseSampler) -> dict[str, Any]:
    """Return the arguments that a sampler kept under their names, as far as JSON holds them.

    Of a seed it is a digest of the random state that it made, if it keeps one.
    """
    if type(sampler).__hash__ is None:  # Such as of a dataclass, whose use cannot be noted.
        return {}
    if sampler not in _settings:
        kept = {name.removeprefix("_"): value for name, value in vars(sampler).items()}
        arguments = inspect.signature(type(sampler)).parameters
        settings: dict[str, Any] = {name: kept[name] for name in arguments if name in kept}
        for value in kept.values():
            # Optuna's samplers make it at once from a seed, and without one in their first draw.
            for state in vars(value).values() if hasattr(type(value), "rng") else ():
                if isinstance(state, np.random.RandomState):
                    words: Any = state.get_state()
                    digest = hashlib.sha256(words[1].tobytes())
                    settings["random state of its seed"] = digest.hexdigest()[:8]
        known = _settings[sampler] = {}
        for name, value in settings.items():
            with contextlib.suppress(TypeError, ValueError):  # What JSON cannot hold.
                if len(text := json.dumps(value)) < _MAX_SETTING:
                    known[name] = json.loads(text)
    return _settings[sampler]


def objective_for(
    searcher: Searcher, objective: InitOffsetObjective, n_trials: int | None
) -> InitOffsetObjective:
    """Return the objective that a searcher or a control searches; few controls move offsets."""
    match searcher:
        case "random_restart":
            return objective.replace(space=RestartSpace())
        case "learning_rate":
            if (rate := objective.training.fixed_learning_rate) is None:
                raise WrongValueError(
                    "The control 'learning_rate' needs one rate to search around, but the "
                    "optimizer has none: give it a number, or leave out this control."
                )
            return objective.replace(space=LearningRateSpace(rate))
        case "longer":
            epochs = objective.training.epochs
            return objective.replace(space=EpochsSpace(epochs, epochs * (n_trials or 1)))
        case "constant":
            # One parameter then moves all that the searchers move.
            space: Any = objective.space
            return objective.replace(space=dataclasses.replace(space, scope="shared"))
    return objective


def default_batch_size(searcher: Searcher, objective: InitOffsetObjective) -> int:
    """Return how many trials a searcher is best asked for at once.

    A walk and random restarts lose nothing by batches, as far as the memory for weights and
    moments allows. A searcher that learns from each trial gets them one by one.
    """
    if searcher not in (stored.GREEDY, stored.RANDOM_RESTART) or objective.is_of_trial:
        return 1
    weights = objective.trainer.architecture.initial_weights(objective.seed, 0)
    # Weights and up to two moments of each, before and after an epoch.
    bytes_of_trial = 6 * sum(array.nbytes for array in weights)
    return max(min(_BATCH_SIZE, _BATCH_BYTES // bytes_of_trial), 1)


def build_sampler(
    searcher: Searcher,
    *,
    seed: int,
    parameters: Mapping[str, BaseDistribution],
    n_trials: int | None,
) -> BaseSampler:
    """Return the sampler of a searcher or control, for an objective's seed and parameters."""
    sampler: Any
    match searcher:
        case BaseSampler():
            sampler = searcher
        case "greedy":
            sampler = samplers.DeltaStepSampler()
        case "greedy_improving":
            sampler = samplers.DeltaStepSampler(accept="improving")
        case "annealing":
            x0 = dict.fromkeys(parameters, 0.0)
            options: Any = {"seed": seed, "n_trials": n_trials, "x0": x0}
            sampler = samplers.AdaptiveSimulatedAnnealingSampler(**options)
        case "random_restart":
            sampler = samplers.RandomRestartSampler(seed=seed)
        # Of the epochs of "longer", one training tells all.
        case "learning_rate" | "longer" | "objective":
            sampler = KeyedSampler(seed)
        case "constant":
            sampler = KeyedSampler(seed, _grid(parameters, n_trials or 1))
        case str():
            raise AssertionError(searcher)
        case _:
            sampler = searcher(seed, n_trials)
    if not isinstance(sampler, BaseSampler):
        raise WrongTypeError(
            f"The factory {searcher_label(searcher)} must return an Optuna sampler, but it "
            f"returned {sampler!r}."
        )
    return sampler


class KeyedSampler(TPESampler):
    """TPE whose random numbers follow from how many trials came before.

    Optuna's are drawn one after the other, so a study that was killed and goes on would begin
    again with the same ones.

    Args:
        seed: What the random numbers are keyed on, beside the number of trials.
        grid: The values of the first trials after the unmoved network, by parameter.
    """

    def __init__(self, seed: int, grid: Mapping[str, Sequence[float]] | None = None) -> None:
        super().__init__(seed=seed)
        self._key, self._grid, self._n_before = seed, grid or {}, 0

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin anew, with the random numbers of this trial."""
        trials = study.get_trials(deepcopy=False)
        others = [t for t in trials if t.state == TrialState.RUNNING and t.number != trial.number]
        self._n_before = sum(map(is_done, trials)) + sum(is_alive(t) is True for t in others)
        [seed] = np.random.SeedSequence([self._key, self._n_before]).generate_state(1)
        super().__init__(seed=int(seed))
        super().before_trial(study, trial)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Take a value of the grid, or sample one."""
        values = self._grid.get(param_name, ())
        if 0 < self._n_before <= len(values):
            return values[self._n_before - 1]
        return super().sample_independent(study, trial, param_name, param_distribution)


def _grid(parameters: Mapping[str, Any], n_trials: int) -> dict[str, list[float]]:
    """Return values all over the one offset's range; the unmoved network takes one's place."""
    grid = {}
    for name, distribution in parameters.items():
        # At least one on each side of it.
        values = np.linspace(distribution.low, distribution.high, max(n_trials, 3))
        grid[name] = np.delete(values, np.abs(values).argmin()).tolist()
    return grid


def sampler_of(study: optuna.Study) -> BaseSampler:
    """Return a search's sampler, one of ours as search built it: a loaded study has another."""
    attrs = study.user_attrs
    settings: stored.SearchSettings | None = attrs.get(stored.SEARCH)
    if settings is None or settings["sampler"] not in SEARCHERS:
        return study.sampler
    trials = study.get_trials(deepcopy=False)
    return build_sampler(
        settings["sampler"],
        seed=attrs[stored.CONFIG]["seed"],
        # A trial that died at once has none.
        parameters=next((t.distributions for t in trials if t.distributions), {}),
        n_trials=settings["n_trials"],
    )


def ends_by_itself(searcher: Searcher) -> bool:
    """Return whether a searcher has proposed all that it can at some time."""
    enumerating = samplers.DeltaStepSampler | GridSampler | BruteForceSampler
    is_walk = searcher in (stored.GREEDY, stored.GREEDY_IMPROVING)
    return is_walk or isinstance(searcher, enumerating)


def starts_at_baseline(searcher: Searcher, sampler: BaseSampler) -> bool:
    """Return whether a sampler by itself begins with the unmoved network."""
    is_ours = searcher in (*SEARCHERS, stored.LONGER, stored.OBJECTIVE)
    return is_ours or isinstance(sampler, samplers.DeltaStepSampler)
