"""Compare models, with all randomness redrawn for each seed."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Unpack

import optuna

from adnn_optuna._attributes import (
    COMPARISON,
    EVALUATED,
    MODELS,
    TEST_ROWS,
    EvaluatedModels,
    subject_of,
)
from adnn_optuna._checks import (
    WrongValueError,
    check_positive,
    check_type,
    n_cores,
    shown,
)
from adnn_optuna._seeds import source_seed
from adnn_optuna.api._calls import (
    NO_EXECUTOR,
    Evaluating,
    are_labels,
    checked_call,
    logged_if_interrupted,
    stored_evaluations,
    verb,
    with_tuples,
)
from adnn_optuna.api._splits import ResampledArgument, check_splits
from adnn_optuna.api.stored import like_comparisons
from adnn_optuna.engine.evaluations import MAX_NUMBER, make_evaluations, open_evaluations
from adnn_optuna.engine.functions import seed_parameters
from adnn_optuna.engine.kinds import EVALUATIONS_ELSEWHERE, TRAINED_MODELS, loaded
from adnn_optuna.engine.records import attributes_in
from adnn_optuna.results.arm_comparison import MOST_ARMS, VALUE
from adnn_optuna.results.declarations import (
    checked_seeds,
    continued_declaration,
    store_declaration,
    warn_of_few_seeds,
)
from adnn_optuna.results.models import ModelComparison, ModelRuns
from adnn_optuna.results.sentences import reused_note
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.paired_differences import MARGIN, check_margin

_NAMES = ("model", "seed")  # An evaluation's parameters: a model's number, and the seed.


@verb(Evaluating)
def compare_models(
    models: Mapping[str, Any],
    dataset: Any = None,
    *,
    training: Any = None,
    seeds: int | Iterable[int] = 20,
    stop_when_decided: bool = False,
    margin: float | None = None,
    resampled: ResampledArgument = None,
    folds: bool = False,
    **keywords: Unpack[Evaluating],
) -> ModelComparison:
    """Compare models, or training settings, on the test set.

    Each model is trained once for each seed. The seed redraws all randomness in the same way for
    all models: the initialization and the order of the batches. If the dataset's splits were drawn
    at random, the seed also redraws splits of the same sizes. Verdicts are then for new data of
    this kind, and their CIs are valid only at the declared number of seeds. The score is the
    accuracy after the last epoch. No epoch is selected, so there is no selection bias.

    Each training run is made once and stored as a trial of a study. The same call resumes an
    interrupted comparison. Several processes share the work if they make the same call.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            models = {"small": adnn.MLP((16,)), "wide": adnn.MLP((64,))}
            comparison = adnn.compare_models(models, adnn.load_dataset("digits"))
            print(comparison)

    Args:
        models: Two or more models by their labels. A Keras model is an :class:`~adnn_optuna.MLP`,
            or a callable without arguments that returns a new ``keras.Model``. A model may also be
            a function of a seed that returns a value. Higher values are better. A function may
            take a seed for each source of randomness, such as ``f(split, initialization)``.
            Functions with the same source get the same seed for this source.
        dataset: The data of Keras models.
        training: The training settings of all Keras models, or a mapping from the labels of the
            models to their settings.
        seeds: The seeds in their order, or their number: 20 means the seeds 0 to 19. If you add
            seeds later, the comparison is sequential, and its CIs are wider.
        stop_when_decided: Whether to stop adding seeds as soon as each pair of models has a
            verdict. It also stops if a missing value prevents a verdict. If splits are redrawn,
            the verdicts on the observed seeds decide, not the verdicts for new data.
        margin: The largest difference of two models that does not matter to you. For Keras models,
            it is a difference of test accuracies as fractions, by default 0.001. For functions, it
            is a difference of values. Without a margin, no verdict is *equivalent*.
        resampled: For functions that redraw splits of one data set, the numbers of training and
            test examples of a split, as in :func:`~adnn_optuna.compare`.
        folds: Whether the seeds of functions are the folds of a single k-fold cross-validation.
        **keywords: Options of the evaluations.

    Returns:
        The comparison of all pairs of models, so far as they are evaluated.

    Raises:
        TypeError: If an argument has a wrong type, or a function's value is not a number.
        ValueError: If an argument is wrong, or nothing is random. If the study has other models.
            If the code of a function changed and ``reuse`` is false. If a function seems to redraw
            a split, or has a seed called ``split``, ``fold``, ``cv`` or ``data``. In this case,
            pass ``resampled`` or ``folds``.
        KeyboardInterrupt: If you interrupt the call. All finished training runs are stored.
    """
    _check_models(models)
    call = checked_call(keywords)
    study_name = call.study_name or "models"
    seeds = checked_seeds(seeds, below=MAX_NUMBER + 1)
    compared = _as_evaluated(
        models,
        dataset,
        training,
        executor=call.executor,
        has_splits=folds or resampled is not None,
    )
    functions = compared.functions
    trained = compared.trained
    by_argument = {f"models[{label!r}]": model for label, (model, _) in functions.items()}
    names_of = {f"models[{label!r}]": names for label, (_, names) in functions.items()}
    sizes = check_splits(
        by_argument, names_of, resampled, folds=folds, sequential=stop_when_decided
    )
    evaluated: Any = {"models": compared.configs}
    data_settings: Any = {"score": VALUE, "resampled": sizes, "n_train": 0, "n_test": 0}
    data_identity = {}
    stop = None  # No event can stop a running function.
    if trained is not None:
        data_identity = {TEST_ROWS: trained.test_rows}
        stop = trained.stop
        if margin is None:
            margin = MARGIN
        check_margin(margin)
        evaluated["dataset"] = trained.config
        data_settings = trained.settings
    elif margin is not None:
        check_positive("margin", margin)
    study = open_evaluations(
        call.storage,
        study_name,
        evaluated,
        functions=by_argument,
        reuse=call.reuse,
        settings=data_identity,
    )
    # An evaluation stores a model's number, which is its position in the first call.
    compared = dataclasses.replace(compared, labels=tuple(study.user_attrs[EVALUATED]["models"]))
    declaration = continued_declaration(
        study.user_attrs.get(COMPARISON),
        seeds,
        study_name=study_name,
        sequential=stop_when_decided,
        arms={},
        arguments={},
    )
    warn_of_few_seeds(len(seeds), {"models": math.comb(len(models), 2)}, declaration)
    resampled = data_settings.pop("resampled")
    settings: Any = {
        "margin": None if margin is None else float(margin),
        "failed": call.failed,
        "sources": compared.sources,
        "resampled": resampled and [*resampled],
        **data_settings,
    }
    # The settings come first, because they make the study a comparison of models.
    study.set_user_attr(MODELS, settings)
    store_declaration(study, declaration)
    n_before = len(stored_evaluations(study, _NAMES))
    # By default, functions run one at a time, because they may not be thread-safe.
    options = call.evaluation_options(1 if functions else n_cores())
    runs_of = _runs_of(study)
    with logged_if_interrupted(functools.partial(stored_models, study)):
        make_evaluations(
            lambda made: runs_of(made).needed,
            study,
            _NAMES,
            compared,
            n_at_most=len(models) * len(seeds),
            stop=stop,
            **options,
        )
    return stored_models(study, n_before)


def _runs_of(study: optuna.Study) -> Callable[[Mapping[Evaluation, float]], ModelRuns]:
    """Return a function that makes :class:`ModelRuns` of evaluations with the study's settings."""
    attrs = study.user_attrs
    settings = with_tuples(attrs[MODELS])
    return functools.partial(
        ModelRuns,
        labels=tuple(subject_of(study, EvaluatedModels)["models"]),
        declaration=attrs[COMPARISON],
        margin=settings["margin"],
        resampled=settings["resampled"],
        score=settings["score"],
        failed=settings["failed"],
        n_test=settings["n_test"],
    )


def stored_models(study: optuna.Study, n_before: int = 0) -> ModelComparison:
    """Return the result of a study's stored evaluations.

    ``n_before`` of the evaluations were stored before this call.
    """
    attrs = study.user_attrs
    if COMPARISON not in attrs:
        raise WrongValueError(
            f"Comparison {study.study_name!r} has no runs yet. Call compare_models again."
        )
    runs = _runs_of(study)(stored_evaluations(study, _NAMES))
    like = tuple[str, ...]()
    tests_elsewhere = {}
    if TEST_ROWS in attrs:
        like = like_comparisons(study)
        evaluations_elsewhere = loaded(EVALUATIONS_ELSEWHERE)
        tests_elsewhere = evaluations_elsewhere(study, attrs, attributes_in(study._storage))
    return ModelComparison(
        runs.table,
        runs=runs,
        study_name=study.study_name,
        sources=tuple(attrs[MODELS]["sources"]),
        n_train=attrs[MODELS]["n_train"],
        like=like,
        n_tests_elsewhere=sum(tests_elsewhere.values()),
        _reused=reused_note("evaluation", n_before, len(runs.evaluations)),
    )


def _seed_parameters(model: Any) -> tuple[str, ...]:
    """Return the names of a function's seeds, or () for a model that adnn trains."""
    if callable(model):
        return seed_parameters(model)
    return ()


def _as_evaluated(
    models: Mapping[str, Any],
    dataset: Any,
    training: Any,
    *,
    executor: object,
    has_splits: bool,
) -> _Models:
    """Return the models as functions of seeds and as models that adnn trains.

    Arguments that are only for the other kind of models raise errors.
    """
    functions = {
        label: (model, names)
        for label, model in models.items()
        if (names := _seed_parameters(model))
    }
    to_train = {label: model for label, model in models.items() if label not in functions}
    trained: Any = None
    if to_train:
        if executor is not None:
            raise WrongValueError(NO_EXECUTOR)
        if has_splits:
            raise WrongValueError(
                "resampled and folds must be omitted for Keras models; the dataset tells its "
                "splits."
            )
        trained = loaded(TRAINED_MODELS)(to_train, dataset, training)
    elif not (dataset is None and training is None):
        raise WrongValueError(
            "dataset and training must be omitted if all models are functions of seeds."
        )
    return _Models(tuple(models), functions, trained)


@dataclasses.dataclass(frozen=True)
class _Models:
    """Evaluates a model on a seed. Pools of processes can call it if all models are functions."""

    labels: Sequence[str]
    # Each function and the names of its seeds, which are its sources of randomness.
    functions: Mapping[str, tuple[Any, Sequence[str]]]
    trained: Any

    @property
    def configs(self) -> dict[str, Any]:
        """The configuration of each model, or the sources of randomness of each function."""
        configs: dict[str, Any] = {}
        for label in self.labels:
            if label in self.functions:
                _, names = self.functions[label]
                configs[label] = {"sources": [*names]}
            else:
                configs[label] = self.trained.configs[label]
        return configs

    @property
    def sources(self) -> list[str]:
        """The sources that a seed redraws. The single seed of a function names no source."""
        sources = dict[str, None]()
        if self.trained is not None:
            sources |= self.trained.sources
        for _, names in self.functions.values():
            if len(names) > 1:
                sources |= dict.fromkeys(names)
        return [*sources]

    def __call__(self, number: int, seed: int) -> float:
        label = self.labels[number]
        if label not in self.functions:
            return self.trained.train(label, seed)
        function, names = self.functions[label]
        seeds = {name: source_seed(seed, name) for name in names}
        if len(names) == 1:
            seeds = {names[0]: seed}
        return function(**seeds)


def _check_models(models: Any) -> None:
    """Raise an error for too few or too many models, and for labels that are not text."""
    check_type("models", models, Mapping, "a mapping from labels to models")
    if not are_labels(models):
        raise WrongValueError(
            f"models must have texts as labels, none of them empty; got {shown([*models])}. Pass "
            "models={'label': ..., ...}."
        )
    if len(models) < 2:
        raise WrongValueError(f"models must have at least two entries; got {len(models)}.")
    if len(models) > MOST_ARMS:
        raise WrongValueError(f"models must have at most {MOST_ARMS} entries; got {len(models)}.")
