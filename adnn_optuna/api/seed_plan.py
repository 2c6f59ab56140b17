"""How many seeds it takes, as a comparison plans it."""

from __future__ import annotations

from typing import ClassVar

from adnn_optuna.api._told import Told
from adnn_optuna.evidence.power import SeedPlanFacts
from adnn_optuna.reporting import seed_plans


class SeedPlan(Told, SeedPlanFacts):
    """How many seeds show a gain: facts, which print as a few lines."""

    _telling: ClassVar = seed_plans
