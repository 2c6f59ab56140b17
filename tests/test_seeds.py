"""Seeds depend only on values and fixed keys, so renaming code changes no seed."""

from __future__ import annotations

import numpy as np

import adnn_optuna as adnn
from adnn_optuna import _seeds
from adnn_optuna.networks.offsets import RESTARTS


def test_confirming_seeds_follow_from_the_values_of_the_configuration() -> None:
    x = np.arange(240.0).reshape(60, 4) / 240
    data = adnn.Dataset.from_arrays(x, np.arange(60) % 3, name="mine")
    offsets = adnn.InitOffsetObjective(adnn.MLP((4,)), data)
    expected = {
        offsets: (1063775225, 953861147),
        offsets.replace(space=RESTARTS): (1023911467, 1143559263),
    }
    for objective, seeds in expected.items():
        fingerprint = _seeds.experiment_fingerprint(objective.config)
        assert _seeds.confirmation_seeds(fingerprint, {"x": 0.5}, 2) == seeds


def test_each_purpose_has_its_own_seeds() -> None:
    assert _seeds.trial_seed(3, 5) == 161839443
    assert _seeds.replicate_seed(3, 5, 1) == 1476158323
    assert _seeds.seeds_of_best_trial(3, 2) == [228595140, 1710420758]
    assert _seeds.member_seeds(3, 2) == [3, 857375592]
    assert _seeds.source_seed(3, "split") == 503853125
