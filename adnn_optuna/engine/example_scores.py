"""Scores of single validation examples. Trials store the scores, and results read them."""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import io
import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from adnn_optuna._attributes import (
    EXAMPLE_GROUPS,
    EXAMPLE_PARTS,
    EXAMPLES,
    ExampleScores,
    examples_of,
    malformed,
)
from adnn_optuna._checks import Fault, WrongTypeError, WrongValueError, shown
from adnn_optuna._files import check_npz

# Some databases hold no more than 65,535 characters in an attribute.
_LONGEST = 55_000
_FIRST_PART = f"{EXAMPLE_PARTS}/0"
# For a running trial's id() in Python, the list that collects the trial's scores. A trial has a
# list if the surrounding code stores the scores instead of `log_scores`.
_COLLECTED: dict[int, list["Scored"]] = {}
# For each study of this process, the first completed trial with scores.
_FIRST: weakref.WeakKeyDictionary[optuna.Study, tuple[int, ExampleScores]] = (
    weakref.WeakKeyDictionary()
)


def as_attributes(name: str, *arrays: np.ndarray) -> dict[str, str]:
    """Return arrays as an ``.npz`` file in attributes ``name/0``, ``name/1`` and so on."""
    file = io.BytesIO()
    np.savez_compressed(file, *arrays)
    return _in_parts(name, file.getvalue())


def _in_parts(name: str, content: bytes) -> dict[str, str]:
    text = base64.b64encode(content).decode()
    parts = {}
    for i, begin in enumerate(range(0, len(text), _LONGEST)):
        parts[f"{name}/{i}"] = text[begin : begin + _LONGEST]
    return parts


def _joined(attrs: Mapping[str, Any], name: str) -> bytes:
    texts = list[str]()
    while f"{name}/{len(texts)}" in attrs:
        texts.append(attrs[f"{name}/{len(texts)}"])
    return base64.b64decode("".join(texts))


def scores_as_attributes(name: str, scores: np.ndarray) -> dict[str, str]:
    """Return scores of test examples as attributes: as truth values, or as float32."""
    if scores.dtype != bool:
        scores = scores.astype(np.float32)
    return as_attributes(name, scores)


def from_attributes(
    attrs: Mapping[str, Any], name: str, of: str, shapes: Sequence[tuple[int, ...]] | None = None
) -> list[np.ndarray]:
    """Return the arrays in a text of ``attrs``, or raise an error if the text is malformed.

    ``of`` names the text's source, such as a study. The arrays must have these ``shapes``. If
    ``shapes`` is :obj:`None`, there must be one array with one dimension.
    """
    arrays = []
    # For a wrong text, zipfile and NumPy may raise any error.
    with contextlib.suppress(Exception):
        file = io.BytesIO(_joined(attrs, name))
        check_npz(file)
        arrays = [*np.load(file).values()]
    are_numbers = all(array.dtype.kind in "biuf" for array in arrays)
    current_shapes = [array.shape for array in arrays]
    if shapes is None:
        have_shapes = [*map(len, current_shapes)] == [1]
    else:
        have_shapes = current_shapes == [*shapes]
    if not (are_numbers and have_shapes):
        fault = Fault("an .npz file of its arrays as base64", "another text")
        raise malformed(name, of, fault)
    return arrays


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """The scores of n examples and, if there are groups, the number of each example's group."""

    scores: np.ndarray
    groups: np.ndarray | None

    @functools.cached_property
    def attributes(self) -> tuple[ExampleScores, dict[str, str]]:
        """The scores as a trial's attributes: a record and, for many scores, further texts."""
        parts = _in_parts(EXAMPLE_PARTS, _packed(self.scores))
        examples: ExampleScores = {"n": len(self.scores), "scores": parts.pop(_FIRST_PART)}
        if self.groups is not None:
            examples["groups"] = _digest(self.groups)
        return examples, parts


def log_scores(trial: BaseTrial, scores: Any, *, groups: Any = None) -> float:
    """Store the scores of single validation examples with a trial, and return their mean.

    :func:`~adnn_optuna.overtuning` uses the scores to estimate the value of the tuned
    configuration on new data.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            def objective(trial):
                model = ExtraTreesClassifier(max_depth=trial.suggest_int("depth", 2, 12))
                predicted = model.fit(x_train, y_train).predict(x_val)
                return adnn.log_scores(trial, predicted == y_val)

    Args:
        trial: The trial that was passed to the objective.
        scores: A number for each of n validation examples, in the same order in each trial: the
            loss of the prediction, or whether it is right. With cross-validation, pass the scores
            of all examples; each score is from the model that was not trained on the example. To
            use ``overtuning(…, metric=…)``, pass the predictions.
        groups: The group of each example, such as a patient. The shape is (n,).

    Raises:
        TypeError: If the scores are not numbers.
        ValueError: If a score is not finite, or if the study's first completed trial has another
            number of examples or other groups.
    """
    array = np.asarray(scores)
    if array.dtype.kind not in "biuf" or array.ndim != 1 or not len(array):
        raise WrongTypeError(
            "scores must be a list of numbers, one for each of one or more validation examples; "
            f"got {shown(scores)} of shape {array.shape}. Pass, for example, "
            "model.predict(x) == y."
        )
    with np.errstate(over="ignore"):
        in_float32 = array.astype(np.float32)
    n_wrong = len(array) - int(np.isfinite(in_float32).sum())
    if n_wrong:
        raise WrongValueError(
            f"scores must be finite and at most {np.finfo(np.float32).max:.2g} in size; got "
            f"{n_wrong} of {len(array)} that are not. Prune the trial, or score these examples by "
            "such a number."
        )
    if array.dtype != bool and np.isin(array, (0, 1)).all():
        array = array.astype(bool)
    scored = Scored(array, _numbered(groups, len(array)))
    if isinstance(trial, optuna.Trial):
        _check_first(trial, scored)
    collected = _COLLECTED.get(id(trial))
    if collected is not None:
        collected.append(scored)
    elif isinstance(trial, optuna.Trial):
        examples, parts = scored.attributes
        for name, text in parts.items():
            trial.set_user_attr(name, text)
        trial.set_user_attr(EXAMPLES, examples)
    return float(array.mean(dtype=np.float64))


@contextlib.contextmanager
def collecting(trial: BaseTrial) -> Iterator[list[Scored]]:
    """Append scores to the list in this context, instead of storing them by :func:`log_scores`."""
    collected: list[Scored] = []
    _COLLECTED[id(trial)] = collected
    try:
        yield collected
    finally:
        del _COLLECTED[id(trial)]


def _numbered(groups: Any, n: int) -> np.ndarray | None:
    """Return the number of each example's group, from 0 in the order of sorted labels."""
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise WrongValueError(
            f"groups must have a label for each of the {n} scores; got shape {labels.shape}."
        )
    return np.unique(labels, return_inverse=True)[1]


def _digest(groups: np.ndarray) -> str:
    return hashlib.sha256(groups.astype("<i4").tobytes()).hexdigest()[:16]


def _packed(scores: np.ndarray) -> bytes:
    """Return scores as bits or as float32. Coarser numbers would make different scores equal."""
    if scores.dtype == bool:
        return np.packbits(scores).tobytes()
    return scores.astype("<f4").tobytes()


def _check_first(trial: optuna.Trial, scored: Scored) -> None:
    """Raise an error unless the first completed trial with scores has the same examples.

    If there is no such trial yet, store the groups in the study.
    """
    study = trial.study
    if study not in _FIRST:
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        for completed_trial in completed:
            examples = examples_of(completed_trial.user_attrs)
            if examples is not None:
                _FIRST[study] = completed_trial.number, examples
                break
    if study in _FIRST:
        _check_alike(*_FIRST[study], trial.number, scored.attributes[0])
    elif scored.groups is not None:  # This trial may become the first completed trial.
        groups = as_attributes(EXAMPLE_GROUPS, scored.groups.astype("<i4"))
        for name, text in groups.items():
            study.set_user_attr(name, text)


def _check_alike(first: int, of_first: ExampleScores, number: int, of: ExampleScores) -> None:
    for what, expected, current in (
        ("number of examples", of_first["n"], of["n"]),
        ("groups", of_first.get("groups"), of.get("groups")),
    ):
        if expected != current:
            raise WrongValueError(
                f"scores must have the same {what} in all trials of a study; got {current} in "
                f"trial {number} and {expected} in trial {first}. Score the same examples in each "
                "trial, or use another study."
            )


class Examples(NamedTuple):
    """The scores that the completed trials of a study store.

    ``scores`` has the shape (n examples, trials). ``groups`` are numbers from 0.
    """

    trials: list[FrozenTrial]
    scores: np.ndarray
    groups: np.ndarray | None
    are_right: bool


def read_examples(
    study_name: str, attrs: Mapping[str, Any], completed: Sequence[FrozenTrial]
) -> Examples | None:
    """Return the scores of completed trials, or None if no trial stores scores.

    Raises:
        ValueError: If the trials have scores of different examples, or if the stored scores are
            malformed.
    """
    scored_trials = [(t, examples) for t in completed if (examples := examples_of(t.user_attrs))]
    if not scored_trials:
        return None
    columns = []
    first, of_first = scored_trials[0]
    for trial, examples in scored_trials:
        _check_alike(first.number, of_first, trial.number, examples)
        trial_label = f"trial {trial.number} of study {study_name!r}"
        columns.append(_unpacked(trial, examples, trial_label))
    groups = None
    if "groups" in of_first:
        study_label = f"study {study_name!r}"
        shapes = [(of_first["n"],)]
        [groups] = from_attributes(attrs, EXAMPLE_GROUPS, study_label, shapes)
        if _digest(groups) != of_first["groups"]:
            fault = Fault("the trials' groups", "others")
            raise malformed(EXAMPLE_GROUPS, study_label, fault)
    are_right = all(column.dtype == bool for column in columns)
    scores = np.stack(columns, axis=1).astype(np.float32)
    return Examples([trial for trial, _ in scored_trials], scores, groups, are_right)


def _unpacked(trial: FrozenTrial, examples: ExampleScores, of: str) -> np.ndarray:
    """Return stored scores. Bits become bool."""
    n = examples["n"]
    attrs = {**trial.user_attrs, _FIRST_PART: examples["scores"]}
    content = b""
    with contextlib.suppress(ValueError):
        content = _joined(attrs, EXAMPLE_PARTS)
    if len(content) == math.ceil(n / 8):
        bits = np.unpackbits(np.frombuffer(content, np.uint8), count=n)
        return bits.astype(bool)
    if len(content) == 4 * n:
        scores = np.frombuffer(content, "<f4")
        if np.isfinite(scores).all():
            return scores
    fault = Fault(f"{n} finite scores, in bits or in float32, as base64", "another text")
    raise malformed(EXAMPLES, of, fault)
