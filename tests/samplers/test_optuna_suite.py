"""Optuna's own tests of samplers, which every sampler has to pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    RandomRestartSampler,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.samplers import BaseSampler


class _SamplerTestCase(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    pass


class TestAdaptiveSimulatedAnnealingSampler(_SamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return AdaptiveSimulatedAnnealingSampler


class TestDeltaStepSampler(_SamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return DeltaStepSampler


# This test is slow and repeats most of the code of the sampler above.
@pytest.mark.slow
class TestDeltaStepSamplerImproving(_SamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: DeltaStepSampler(accept="improving")


class TestRandomRestartSampler(_SamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return RandomRestartSampler
