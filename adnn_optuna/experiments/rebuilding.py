"""The objective of a stored search of a network, rebuilt from its configuration."""

from typing import Any

import optuna

from adnn_optuna import _attributes as stored
from adnn_optuna import _checks
from adnn_optuna._checks import Fault, FilePath, WrongValueError, first_line
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna.experiments.experiment import is_of_trial
from adnn_optuna.experiments.init_offset_objective import InitOffsetObjective
from adnn_optuna.networks.keras_files import model_from_config
from adnn_optuna.networks.loading import dataset_from_config
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.offsets import space_from_config


def objective_from_study(
    study: optuna.Study, data_dir: FilePath | None = None
) -> InitOffsetObjective:
    """Rebuild the objective that a study stores, with its dataset out of ``data_dir``."""
    config: Any = study.user_attrs.get(stored.CONFIG)
    if config is None:
        config = stored.subject_of(study, stored.Config)
    if is_of_trial(config):
        raise WrongValueError(
            f"The model or training of the study {study.study_name!r} is a function of the trial, "
            "which a study does not hold: give its objective, in Python."
        )
    try:
        model = model_from_config(config["model"])
        dataset = dataset_from_config(config["dataset"], data_dir)
        training = Training(**config["training"])
        space = space_from_config(config["space"])
        objective = InitOffsetObjective(
            model,
            dataset,
            training=training,
            space=space,
            metric=config["metric"],
            direction=config.get("direction"),
            seed=config["seed"],
        )
    except _checks.WrongInputError:
        raise
    except (TypeError, LookupError, AttributeError) as error:
        study_label = f"study {study.study_name!r}"
        fault = Fault("as made here", first_line(error))
        raise stored.malformed(stored.CONFIG, study_label, fault) from error
    differences = config_differences(config["model"], objective.config["model"], "model")
    if differences:
        raise WrongValueError(
            f"The model of the study {study.study_name!r} cannot be rebuilt from its "
            f"configuration ({in_words(differences)}); pass the objective again, in Python."
        )
    return objective
