"""The scores of single validation examples: trials store them, and results read them."""

import contextlib
import hashlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import optuna
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import ExampleScores, examples_of
from adnn_optuna._checks import Fault, WrongTypeError, WrongValueError
from adnn_optuna.engine.scores import as_attributes, from_attributes
from adnn_optuna.engine.storages import with_retry

_ROUNDING = 1e-3  # Of the standard deviation of scores: so much rounding changes no estimate.


class Scored(NamedTuple):
    """The scores of n examples, bool if all are 0 or 1, and the numbers of their groups."""

    scores: np.ndarray
    groups: np.ndarray | None = None

    @classmethod
    def checked(cls, scores: Any, groups: Any = None) -> Self:
        """Return scores and groups that a user passed; refuse what are none."""
        array = np.asarray(scores)
        if array.dtype.kind not in "biuf" or array.ndim != 1 or not len(array):
            raise WrongTypeError(
                "scores must be a list of numbers, one for each validation example; got "
                f"{array.dtype} of shape {array.shape}. Pass such as model.predict(x) == y."
            )
        if wrong := int(np.count_nonzero(~np.isfinite(array.astype(np.float32)))):
            raise WrongValueError(
                f"scores must be finite; got {wrong} of {len(array)} that are NaN or infinite. "
                "Prune the trial, or score these examples by a number."
            )
        is_right = np.isin(array, (0, 1)).all()
        return cls(array.astype(bool if is_right else np.float64), _numbered(groups, len(array)))

    @property
    def mean(self) -> float:
        """The mean of the scores."""
        return float(self.scores.mean(dtype=np.float64))

    @property
    def digest(self) -> str | None:
        """What tells the groups from others."""
        if self.groups is None:
            return None
        return hashlib.sha256(self.groups.tobytes()).hexdigest()[:16]

    def attributes(self) -> tuple[ExampleScores, dict[str, str]]:
        """Return what a trial stores in one attribute, and in others if that would be too long."""
        examples: ExampleScores = {"n": len(self.scores)}
        if self.digest is not None:
            examples["groups"] = self.digest
        parts = as_attributes(stored.EXAMPLE_PARTS, _packed(self.scores))
        if len(parts) > 1:
            return examples, parts
        [examples["npz"]] = parts.values()
        return examples, {}


def _numbered(groups: Any, n: int) -> np.ndarray | None:
    """Return the numbers of groups, from 0 in the order of their first examples."""
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise WrongValueError(
            f"groups must have a label for each of the {n} scores; got shape {labels.shape}."
        )
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(first.argsort().argsort()[inverse], dtype="<i4")


def _packed(scores: np.ndarray) -> np.ndarray:
    """Return scores in as few bits as they need."""
    if scores.dtype == bool:
        return np.packbits(scores)
    with np.errstate(over="ignore"):
        short = scores.astype(np.float16)
        error = np.sqrt(np.mean(np.square(short - scores)))
    return short if error <= _ROUNDING * scores.std() else scores.astype(np.float32)


# Where a trial's scores are collected, by its id in Python, as whoever runs it stores them.
_COLLECTED: dict[int, list[Scored]] = {}


@contextlib.contextmanager
def collecting(trial: BaseTrial) -> Iterator[list[Scored]]:
    """Let :func:`log_scores` append to a list in place of storing in this trial."""
    _COLLECTED[id(trial)] = found = []
    try:
        yield found
    finally:
        del _COLLECTED[id(trial)]


def log_scores(trial: BaseTrial, scores: Any, *, groups: Any = None) -> float:
    """Store the scores of single validation examples with a trial, and return their mean.

    From them, :func:`~adnn_optuna.overtuning` estimates what the tuned configuration is worth on
    new data.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            def objective(trial):
                model = ExtraTreesClassifier(max_depth=trial.suggest_int("depth", 2, 12))
                predicted = model.fit(x_train, y_train).predict(x_val)
                return adnn.log_scores(trial, predicted == y_val)

    Args:
        trial: The trial that an objective got.
        scores: A number for each of the n validation examples, in the same order in each trial:
            whether the prediction is right, or its loss. With cross-validation, the scores of all
            examples, each by the model that was not trained on it. For
            ``overtuning(…, metric=…)``, these are the predictions.
        groups: For each example, what it belongs to, such as a patient; of shape (n,).

    Returns:
        The mean of the scores as passed.

    Raises:
        TypeError: If the scores are no numbers.
        ValueError: If a score is not finite, or the first completed trial of the study had another
            number of examples or other groups.
    """
    scored = Scored.checked(scores, groups)
    if isinstance(trial, optuna.Trial):
        _check_alike(trial, scored)
    if (found := _COLLECTED.get(id(trial))) is not None:
        found.append(scored)
    elif isinstance(trial, optuna.Trial):
        examples, parts = scored.attributes()
        for name, value in {**parts, stored.EXAMPLES: examples}.items():
            trial.set_user_attr(name, value)
    return scored.mean


# The first completed trial with scores of each study of this process.
_FIRST: weakref.WeakKeyDictionary[optuna.Study, tuple[int, ExampleScores]] = (
    weakref.WeakKeyDictionary()
)


def _check_alike(trial: optuna.Trial, scored: Scored) -> None:
    """Refuse scores of other examples than the first trial's; store the groups of the first."""
    study = trial.study
    if study not in _FIRST:
        for other in with_retry(study.get_trials, deepcopy=False, states=(TrialState.COMPLETE,)):
            if (examples := examples_of(other.user_attrs)) is not None:
                _FIRST[study] = other.number, examples
                break
        else:  # Whichever trial is the first one, its groups must be there.
            if scored.groups is not None:
                groups = as_attributes(stored.EXAMPLE_GROUPS, scored.groups)
                for name, text in groups.items():
                    with_retry(study.set_user_attr, name, text)
            return
    number, first = _FIRST[study]
    here: ExampleScores = {"n": len(scored.scores)}
    if scored.digest is not None:
        here["groups"] = scored.digest
    _compare(number, first, trial.number, here)


def _compare(first: int, of_first: ExampleScores, number: int, of_trial: ExampleScores) -> None:
    if of_first["n"] != of_trial["n"]:
        raise WrongValueError(
            f"scores of trial {number} must be of the examples of trial {first}; got "
            f"{of_trial['n']} scores, not {of_first['n']}. Keep the validation examples, or use "
            "another study."
        )
    if of_first.get("groups") != of_trial.get("groups"):
        said = ["other groups" if "groups" in of else "no groups" for of in (of_first, of_trial)]
        raise WrongValueError(
            f"groups of trial {number} must be those of trial {first}; got {said[1]}, where trial "
            f"{first} has {said[0]}. Pass the same groups in each trial, or use another study."
        )


class Examples(NamedTuple):
    """The scores that the completed trials of a study store.

    ``scores`` has the shape (n examples, trials); ``groups`` are numbers, from 0.
    """

    trials: list[FrozenTrial]
    scores: np.ndarray
    groups: np.ndarray | None
    are_right: bool


def read_examples(
    study_name: str, attrs: Mapping[str, Any], completed: Sequence[FrozenTrial]
) -> Examples | None:
    """Return the scores of a study's completed trials; None if none stores any.

    Raises:
        ValueError: If the trials are of different examples, or what is stored is malformed.
    """
    found = [(t, examples) for t in completed if (examples := examples_of(t.user_attrs))]
    if not found:
        return None
    first, of_first = found[0]
    for trial, examples in found:
        _compare(first.number, of_first, trial.number, examples)
    n = of_first["n"]
    scores = np.empty((n, len(found)), np.float32)
    are_right = True
    for column, (trial, examples) in enumerate(found):
        array = _unpacked(trial, examples, f"trial {trial.number} of study {study_name!r}")
        are_right &= array.dtype == bool
        scores[:, column] = array
    groups = None
    if "groups" in of_first:
        of = f"study {study_name!r}"
        [groups] = from_attributes(attrs, stored.EXAMPLE_GROUPS, of, [(n,)])
        if Scored(scores[:, 0], groups).digest != of_first["groups"]:
            raise stored.malformed(
                stored.EXAMPLE_GROUPS, of, Fault("the trials' groups", "others")
            )
    return Examples([trial for trial, _ in found], scores, groups, are_right)


def _unpacked(trial: FrozenTrial, examples: ExampleScores, of: str) -> np.ndarray:
    """Return stored scores, bool if they are bits."""
    attrs, n = trial.user_attrs, examples["n"]
    if "npz" in examples:
        attrs = {f"{stored.EXAMPLES}/0": examples["npz"]}
    name = stored.EXAMPLES if "npz" in examples else stored.EXAMPLE_PARTS
    [array] = from_attributes(attrs, name, of)
    if array.dtype == np.uint8 and len(array) == (n + 7) // 8:
        return np.unpackbits(array, count=n).astype(bool)
    if array.dtype.kind != "f" or len(array) != n or not np.isfinite(array).all():
        raise stored.malformed(name, of, Fault(f"{n} finite scores", "others"))
    return array
