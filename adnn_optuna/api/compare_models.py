"""Compare models, with all randomness redrawn for each seed."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, cast

from optuna.storages import BaseStorage

from adnn_optuna._attributes import COMPARISON, EVALUATED
from adnn_optuna._checks import WrongValueError, check_positive, check_type, checked_failed
from adnn_optuna.api._calls import (
    NO_EXECUTOR,
    are_labels,
    check_executor,
    found_by_evaluating,
    interrupted_where_called,
)
from adnn_optuna.api._resampling import check_splits
from adnn_optuna.api.comparisons import like_comparisons
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine.code_fingerprint import check_code
from adnn_optuna.engine.evaluations import MAX_NUMBER, open_evaluations
from adnn_optuna.engine.objectives import seeds_of
from adnn_optuna.engine.test_evaluations import n_evaluations_elsewhere
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import build_architecture, derived_seed
from adnn_optuna.networks.retraining import Redrawing, random_sources
from adnn_optuna.networks.scaling import warn_of_large_numbers
from adnn_optuna.networks.training import Trainer, n_cores
from adnn_optuna.results.arm_comparison import MOST_ARMS, VALUE
from adnn_optuna.results.declarations import checked_seeds, declared, store_declaration
from adnn_optuna.results.models import ModelComparison
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.paired_differences import MARGIN, check_margin
from adnn_optuna.stats.resampling import ResampledArgument

if TYPE_CHECKING:
    import keras


@interrupted_where_called
def compare_models(
    models: Mapping[str, MLP | Callable[[], keras.Model] | Callable[..., float]],
    dataset: Dataset | None = None,
    *,
    training: Training | Mapping[str, Training] | None = None,
    seeds: Iterable[int] = range(20),
    stop_when_decided: bool = False,
    storage: str | BaseStorage | None = None,
    study_name: str = "models",
    reuse: bool = False,
    failed: float | None = None,
    max_time: float | None = None,
    executor: futures.Executor | None = None,
    margin: float | None = None,
    resampled: ResampledArgument = None,
    folds: bool = False,
    show_progress_bar: bool = False,
) -> ModelComparison:
    """Compare models, or training settings, on the test set.

    Each model is trained once for each seed, which redraws all randomness, alike for all models:
    initialization, order of the batches and, if the dataset's splits were drawn at random, splits
    of the same sizes. Nothing is selected: a network's accuracy is that after its last epoch. If
    splits are redrawn, verdicts are for new data of this kind. Their CIs are valid at the declared
    number of seeds only.

    The training runs are trials of a study and are never made twice. The same call resumes, and
    any number of processes may work together.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            models = {"small": adnn.MLP((16,)), "wide": adnn.MLP((64,))}
            comparison = adnn.compare_models(models, adnn.load_dataset("digits"))
            print(comparison)

    Args:
        models: Two or more models by their labels: each an :class:`~adnn_optuna.MLP`, or a
            callable without arguments that returns a new ``keras.Model``. Or a function of a seed
            that returns a value; higher is better. Or a function of the seeds of its sources of
            randomness, such as ``f(split, initialisation)``. Functions that have the same source
            get the same seed for it.
        dataset: The data of Keras models.
        training: How they are trained; or a mapping from the same labels, if that differs.
        seeds: The seeds, in the order in which they count. If you add seeds to a comparison later,
            its design is sequential, and its CIs are wider to allow for that.
        stop_when_decided: Whether to train seed after seed only until every two models have a
            verdict, or lack a value. If splits are redrawn, verdicts on these rows alone decide.
        storage: Where the training runs are stored, see :func:`~adnn_optuna.search`.
        study_name: The name of their study.
        reuse: For functions, whether stored values count although one of them changed since, as in
            :func:`~adnn_optuna.recheck`.
        failed: The value that each failed run counts as, see :func:`~adnn_optuna.recheck`. If
            :obj:`None`, only seeds before the first failure count.
        max_time: The seconds that training may take, over all calls. Then no run begins.
        executor: Runs functions, one job for each value, as in :func:`~adnn_optuna.compare`.
        margin: The difference of test accuracies, as a fraction, or of values, up to which two
            models are as good as each other. If :obj:`None`, 0.001 for Keras models. For functions
            there is none then, and no verdict is *equivalent*.
        resampled: For functions that redraw splits, as in :func:`~adnn_optuna.compare`.
        folds: Whether the seeds of functions are the folds of a single k-fold cross-validation.
        show_progress_bar: Whether to show a progress bar.

    Raises:
        TypeError: If an argument has a wrong type, or a function's value is no number.
        ValueError: If an argument is wrong, nothing is random, the study has other models, or a
            function changed without ``reuse``. Also if a function has a seed called ``split``,
            ``fold``, ``cv`` or ``data``, or redraws a split of its data, without ``resampled`` or
            ``folds``.
        KeyboardInterrupt: If the user interrupts; all finished training runs are stored.
    """
    _check_models(models)
    checked_limits(max_time=max_time)
    check_executor(executor)
    failed = checked_failed(failed)
    seeds, labels = checked_seeds(seeds, below=MAX_NUMBER + 1), tuple(models)
    named = {
        label: names
        for label, model in models.items()
        if not isinstance(model, MLP) and callable(model) and (names := seeds_of(model))
    }
    rest: Any = {label: model for label, model in models.items() if label not in named}
    if rest and executor is not None:
        raise WrongValueError(NO_EXECUTOR)
    if not rest and not (dataset is None and training is None):
        raise WrongValueError(
            "dataset and training must be omitted if all models are functions of seeds."
        )
    if rest and (folds or resampled is not None):
        raise WrongValueError(
            "resampled and folds must be omitted for Keras models; the dataset tells its splits."
        )
    own: Any = {f"models[{label!r}]": models[label] for label in named}
    of_functions = check_splits(
        own,
        dict(zip(own, named.values(), strict=True)),
        resampled,
        folds=folds,
        sequential=stop_when_decided,
    )
    trainers = _trainers(rest, dataset, training) if rest else {}
    sources = dict.fromkeys(name for t in trainers.values() for name in random_sources(t))
    if trainers and not sources:
        raise WrongValueError(
            "models must be trained with randomness; got training runs without any. Compare one "
            "run of each."
        )
    # If a function has a single seed, it is the seed of all of its randomness.
    sources |= dict.fromkeys(name for names in named.values() if names[1:] for name in names)
    evaluated: dict[str, Any] = {
        "models": {
            label: {"sources": [*named[label]]} if label in named else trainers[label].config
            for label in labels
        }
    }
    of_data: dict[str, Any] = {"score": VALUE, "resampled": of_functions}
    redrawing, stop, test_rows = None, None, None
    if dataset is not None:
        margin = MARGIN if margin is None else margin
        check_margin(margin)
        evaluated["dataset"] = dataset.config
        sizes = len(dataset.y_train), len(dataset.y_test)
        of_data = {
            "resampled": sizes if "test" in dataset.drawn else None,
            "n_train": sizes[0],
            "n_test": sizes[1],
            "score": "test R²" if dataset.task == "regression" else "test accuracy",
        }
        redrawing, stop = Redrawing(dataset), threading.Event()
        test_rows = dataset.test_fingerprint
    elif margin is not None:
        check_positive("margin", margin)
    study = open_evaluations(storage, study_name, evaluated, test_rows=test_rows)
    # Evaluations are of numbers of models: those in the order of the first call.
    labels = tuple(study.user_attrs[EVALUATED]["models"])
    check_code([study], own, reuse=reuse)
    declaration = declared(
        study.user_attrs.get(COMPARISON),
        seeds,
        study_name=study_name,
        sequential=stop_when_decided,
        n_claims={"models": math.comb(len(labels), 2)},
        arms={},
        arguments={},
    )
    store_declaration(study, declaration)

    functions = _Functions(
        {
            number: (cast("Callable[..., float]", models[label]), named[label])
            for number, label in enumerate(labels)
            if label in named
        }
    )

    def evaluate(model: int, seed: int) -> float:
        trainer = trainers.get(labels[model])
        if trainer is None or redrawing is None:
            return functions(model, seed)
        split = seed if trainer.dataset.drawn else None
        return redrawing.train(trainer, seed, split=split, stop=stop).score

    like = like_comparisons(study) if trainers else ()
    n_elsewhere = n_evaluations_elsewhere(study)

    def known(evaluations: Mapping[Evaluation, float]) -> ModelComparison:
        return ModelComparison(
            evaluations=evaluations,
            study_name=study_name,
            labels=labels,
            declared_seeds=tuple(declaration["seeds"]),
            sequential=declaration["sequential"],
            after_fixed=declaration["after_fixed"],
            margin=None if margin is None else float(margin),
            sources=tuple(sources),
            failed=failed,
            **of_data,
            like=like,
            n_test_evaluations_elsewhere=n_elsewhere,
        )

    return found_by_evaluating(
        known,
        study,
        ("model", "seed"),
        evaluate if trainers else functions,
        # A function sees no event, and may not be safe in several threads.
        stop=stop,
        n_jobs=1 if named else n_cores(),
        max_time=max_time,
        executor=executor,
        show_progress_bar=show_progress_bar,
    )


@dataclasses.dataclass(frozen=True)
class _Functions:
    """The functions among the models, by the number of the model; any process can call them."""

    functions: Mapping[int, tuple[Callable[..., float], Sequence[str]]]  # With their sources.

    def __call__(self, model: int, seed: int) -> float:
        function, names = self.functions[model]
        if len(names) == 1:
            return function(**{names[0]: seed})
        return function(**{name: derived_seed(seed, *name.encode()) for name in names})


def _check_models(models: Any) -> None:
    """Refuse too few or too many models, and labels that are empty or no texts."""
    check_type("models", models, Mapping, "a mapping from labels to models")
    if not are_labels(models):
        raise WrongValueError(
            f"models must have texts as labels, none of them empty; got {[*models]!r:.200}. Pass "
            "models={'label': ..., ...}."
        )
    if len(models) < 2:
        raise WrongValueError(f"models must have at least two entries; got {len(models)}.")
    if len(models) > MOST_ARMS:
        raise WrongValueError(f"models must have at most {MOST_ARMS} entries; got {len(models)}.")


def _trainers(
    models: Mapping[str, Any],
    dataset: Dataset | None,
    training: Training | Mapping[str, Training] | None,
) -> dict[str, Trainer]:
    """Return the trainer of each Keras model, by its label."""
    what = f"models[{next(iter(models))!r}] is no function with a seed"
    wanted = f"a Dataset, as {what} (a parameter with a name and without a default)"
    check_type("dataset", dataset, Dataset, wanted)
    data = cast("Dataset", dataset)
    trainings = training if isinstance(training, Mapping) else dict.fromkeys(models, training)
    if trainings.keys() != models.keys():
        raise WrongValueError(
            f"training must have the labels {[*models]}; got {[*trainings]}. Pass one Training "
            "for each model, or one for all."
        )
    trainers = {}
    for label, model in models.items():
        settings: Any = Training() if trainings[label] is None else trainings[label]
        check_type(f"training of {label!r}", settings, Training, "a Training")
        architecture = build_architecture(
            *(model, data.x_train.shape[1:], data.num_classes, data.n_outputs),
            data.x_train.dtype.name,
        )
        warn_of_large_numbers(
            data, inputs=not architecture.scales_inputs, targets=not architecture.scales_outputs
        )
        trainers[label] = Trainer(architecture, settings, data)
    return trainers
