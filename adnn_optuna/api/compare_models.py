"""Which model is better, with everything random drawn afresh."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from adnn_optuna._attributes import COMPARISON
from adnn_optuna._checks import WrongTypeError, WrongValueError, check_type
from adnn_optuna.api._told import Told, found_by_evaluating
from adnn_optuna.engine.evaluations import open_evaluations
from adnn_optuna.engine.retraining import Redrawing, random_sources
from adnn_optuna.engine.signals import interrupted_where_called
from adnn_optuna.engine.storages import open_storage, patiently
from adnn_optuna.evidence.comparison import ModelComparisonFacts
from adnn_optuna.evidence.declarations import checked_seeds, declared, store_declaration
from adnn_optuna.evidence.paired_differences import EQUIVALENCE, check_equivalence
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.training import Trainer, n_cores

if TYPE_CHECKING:
    import keras


class ModelComparison(Told, ModelComparisonFacts):
    """What models come to on the test set, each with the same seeds.

    Printed, it is the table of means and, below it, the verdict on each two models. All claims
    together are wrong in at most 5 % of all comparisons.

    Args:
        evaluations: The test accuracies that are known, by the number of the model and the seed.
        study_name: The study of the trainings.
        labels: The models.
        seeds: The seeds, in their declared order.
        looks_again: Whether seeds are added only until all is decided; the intervals pay for it.
        equivalence: The difference of test accuracies up to which two models are equivalent.
        sources: What a seed draws afresh.
        draws_test_set: Whether that is the test set, too.
        n_train: The number of training examples.
        n_test: The number of test examples.
        score: What the accuracies are: those of a regression are R².

    Attributes:
        accuracies: The test accuracies of each model, up to the first seed that is not done.
        paired_differences: The statistics from which all tables and sentences come.
        missing: The evaluations to be made next; none at the end.
        n_evaluations: How many there are at the most.
    """

    _telling = "model_comparisons"


@interrupted_where_called
def compare_models(
    models: Mapping[str, MLP | Callable[[], keras.Model]],
    dataset: Dataset,
    *,
    training: Training | Mapping[str, Training] | None = None,
    seeds: Iterable[int] = range(20),
    stop_when_decided: bool = False,
    storage: str | BaseStorage | None = None,
    study_name: str = "models",
    max_time: float | None = None,
    equivalence: float = EQUIVALENCE,
    show_progress_bar: bool = False,
) -> ModelComparison:
    """Tell which of several models, or trainings, is better, on the test set.

    Each is trained once for each seed, which draws everything random afresh, the same for all of
    them: initialisation, order of the batches and, where the dataset's were drawn at random, the
    splits of the same sizes. Nothing is selected: a network's accuracy is that after its last
    epoch.

    The trainings are trials of a study and are never made twice: the same call goes on where one
    ended, and any number of processes may work together.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            models = {"small": adnn.MLP((16,)), "wide": adnn.MLP((64,))}
            comparison = adnn.compare_models(models, adnn.load_dataset("digits"))
            print(comparison)

    Args:
        models: Two or more models by their labels: each an :class:`~adnn_optuna.MLP`, or a
            callable without arguments that returns a fresh ``keras.Model``.
        dataset: The data.
        training: How they are trained; or a mapping from the same labels, where that differs.
        seeds: The seeds, in the order in which they count. A comparison that gets further ones
            later pays for having been looked at, with wider intervals.
        stop_when_decided: Whether to train seed after seed only until every two models are judged.
        storage: Where the trainings are, see :func:`~adnn_optuna.search`.
        study_name: The name of their study.
        max_time: The seconds that they may take, over all calls; then none begins.
        equivalence: The difference of test accuracies, as a fraction, up to which two models are
            as good as each other.
        show_progress_bar: Whether to show a progress bar.

    Returns:
        What is known then.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is wrong, nothing is random, or the study has other models.
        KeyboardInterrupt: If the user interrupts; all finished trainings are stored.
    """
    trainers = _trainers(models, dataset, training)
    seeds, labels = checked_seeds(seeds), tuple(trainers)
    check_equivalence(equivalence)
    sources = dict.fromkeys(s for trainer in trainers.values() for s in random_sources(trainer))
    if not sources:
        raise WrongValueError("Nothing in these trainings is random, so one of each says it all.")
    study = patiently(
        open_evaluations,
        open_storage(storage),
        study_name,
        StudyDirection.MAXIMIZE,
        {
            "models": {
                label: {"model": trainer.architecture.config, "training": trainer.training.config}
                for label, trainer in trainers.items()
            },
            "dataset": dataset.config,
        },
    )
    declaration = declared(
        patiently(lambda: study.user_attrs).get(COMPARISON),
        seeds,
        study_name=study_name,
        looks_again=stop_when_decided,
        n_claims={"models": math.comb(len(labels), 2)},
        arms={},
        arguments={},
    )
    store_declaration(study, declaration)
    stop, redrawing = threading.Event(), Redrawing(dataset)

    def evaluate(model: int, seed: int) -> float:
        split = seed if dataset.drawn else None
        return redrawing.train(trainers[labels[model]], seed, split=split, stop=stop).score

    known = functools.partial(
        ModelComparison,
        study_name=study_name,
        labels=labels,
        seeds=tuple(declaration["seeds"]),
        looks_again=declaration["looks_again"],
        equivalence=float(equivalence),
        sources=tuple(sources),
        draws_test_set="test" in dataset.drawn,
        n_train=len(dataset.y_train),
        n_test=len(dataset.y_test),
        score="test R²" if dataset.task == "regression" else "test accuracy",
    )
    return found_by_evaluating(
        known,
        study,
        ("model", "seed"),
        evaluate,
        stop=stop,
        n_jobs=n_cores(),
        max_time=max_time,
        show_progress_bar=show_progress_bar,
    )


def _trainers(
    models: Mapping[str, MLP | Callable[[], keras.Model]],
    dataset: Dataset,
    training: Training | Mapping[str, Training] | None,
) -> dict[str, Trainer]:
    """Return what trains each model, by its label."""
    check_type("models", models, Mapping, "a mapping from labels to models")
    check_type("dataset", dataset, Dataset, "a Dataset")
    if len(models) < 2:
        raise WrongValueError(f"models has {len(models)} entries, but it takes two to compare.")
    trainings = training if isinstance(training, Mapping) else dict.fromkeys(models, training)
    if trainings.keys() != models.keys():
        raise WrongValueError(
            f"training has the labels {[*trainings]}, but models has {[*models]}; give each model "
            "a training, or one for all."
        )
    trainers = {}
    for label, model in models.items():
        check_type("The label of a model", label, str, "a string")
        settings: Any = Training() if trainings[label] is None else trainings[label]
        check_type(f"training of {label!r}", settings, Training, "a Training")
        try:
            architecture = build_architecture(
                model, dataset.x_train.shape[1:], dataset.num_classes, dataset.n_outputs
            )
        except (WrongValueError, WrongTypeError) as error:
            raise type(error)(f"The model {label!r}: {error}") from None
        trainers[label] = Trainer(architecture, settings, dataset)
    return trainers
