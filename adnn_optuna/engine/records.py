"""What searches came to, read from what their studies store: no model, data or TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optuna.study import StudyDirection
from optuna.trial import TrialState

from adnn_optuna._attributes import (
    BASELINE,
    BASELINE_METRICS,
    CONFIG,
    RUNS,
    STOP_REASON,
    TEST,
    TRIAL_METRICS,
    RunRecord,
)
from adnn_optuna._checks import WrongValueError
from adnn_optuna.callbacks import is_done
from adnn_optuna.networks.offsets import RestartSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

    import optuna
    from optuna.trial import FrozenTrial


@dataclasses.dataclass(frozen=True)
class SearchRecord:
    """What a study tells of its search, without the objective that it was searched with.

    Args:
        study:
            The study.
        metric:
            The name of the selection metric.
        baseline:
            The selection metric of the unmoved network; NaN where its training was cut off.
        best:
            The best trial, :obj:`None` where none was completed.
        test_baseline:
            The baseline's accuracy on the test set, which the search never saw.
        test_value:
            The best trial's accuracy on the test set.
    """

    study: optuna.Study
    metric: str
    baseline: float
    best: FrozenTrial | None
    test_baseline: float
    test_value: float

    @property
    def best_value(self) -> float:
        """The selection metric of the best trial; NaN where there is none."""
        return math.nan if self.best is None or self.best.value is None else self.best.value

    @property
    def gain(self) -> float:
        """By how much the best trial is better than the baseline, never below 0.

        The baseline itself is a candidate: where no trial is better, nothing is gained.
        """
        gain = self.improvement(self.best_value, self.baseline)
        return gain if math.isnan(gain) else max(gain, 0.0)

    @property
    def val_baseline(self) -> float:
        """The baseline's accuracy on the validation set; NaN where there is none."""
        return _val_accuracy(self.study.user_attrs.get(BASELINE_METRICS))

    @property
    def val_value(self) -> float:
        """The best trial's accuracy on the validation set; NaN where there is none."""
        return _val_accuracy(self.best.user_attrs.get(TRIAL_METRICS) if self.best else None)

    @property
    def test_gain(self) -> float:
        """The best trial's test accuracy minus the baseline's; it may be negative."""
        return self.test_value - self.test_baseline

    @property
    def done_trials(self) -> list[FrozenTrial]:
        """The trials that were run to an end, whatever came of them, by number."""
        return done_trials(self.study)

    @property
    def stop_reason(self) -> str | None:
        """Which limit ended the study, or ``"exhausted"`` (no step left), ``"interrupted"``."""
        reason: str | None = self.study.user_attrs.get(STOP_REASON)
        return reason

    @property
    def runs(self) -> list[RunRecord]:
        """The runs that had something to do, in the order in which they began."""
        return runs_of(self.study)

    @property
    def has_accuracy(self) -> bool:
        """Whether the selection metric is an accuracy, which is shown in percent."""
        return self.metric.endswith("accuracy")

    @property
    def is_restart(self) -> bool:
        """Whether the search is the control, which draws new initial weights for each trial."""
        config = self.study.user_attrs.get(CONFIG, {})
        return bool(config.get("space", {}).get("type") == RestartSpace.__name__)

    def improvement(self, value: float, baseline: float) -> float:
        """Return by how much ``value`` is better than ``baseline``, in units of the metric."""
        is_loss = self.study.direction == StudyDirection.MINIMIZE
        return baseline - value if is_loss else value - baseline

    @functools.cached_property
    def values(self) -> list[float]:
        """The finite values of the completed trials, by number."""
        return list(self._value_of.values())

    @functools.cached_property
    def gains(self) -> dict[int, float]:
        """The gain of each completed trial with a finite value, by number; it may be negative."""
        gains = {n: self.improvement(value, self.baseline) for n, value in self._value_of.items()}
        return {number: gain for number, gain in gains.items() if math.isfinite(gain)}

    @functools.cached_property
    def _value_of(self) -> dict[int, float]:
        return {
            trial.number: trial.value
            for trial in self.done_trials
            if trial.state == TrialState.COMPLETE and trial.value is not None
            if math.isfinite(trial.value)
        }

    def gains_so_far(self) -> list[float]:
        """Return the best gain after each trial that was run to an end, never below 0."""
        gains = (self.gains.get(trial.number, 0.0) for trial in self.done_trials)
        return list(itertools.accumulate(gains, max, initial=0.0))[1:]

    def __str__(self) -> str:
        n_trials, reason = len(self.done_trials), self.stop_reason
        end = "not ended" if reason is None else f"ended by {reason}"
        lines = [f"Study {self.study.study_name!r}: {n_trials} trials, {end}"]
        for name, is_percent, baseline, best, gain in (
            (self.metric, self.has_accuracy, self.baseline, self.best_value, self.gain),
            ("test_accuracy", True, self.test_baseline, self.test_value, self.test_gain),
        ):
            lines.append(
                f"  {name:<15}  baseline {_number(baseline, percent=is_percent)}  "
                f"best {_number(best, percent=is_percent)}  "
                f"gain {_gain(gain, percent=is_percent)}"
            )
        if self.best is not None:
            lines.append(f"  best trial {self.best.number}: {params_in_words(self.best.params)}")
        return "\n".join(lines)


def record_of(study: optuna.Study) -> SearchRecord:
    """Return what a study that was searched, concluded or not, tells of it.

    Raises:
        ValueError: If the study has several objectives.
    """
    if len(study.directions) > 1:
        raise WrongValueError(
            f"The study {study.study_name!r} has {len(study.directions)} objectives, but reports "
            "and figures are of one; give a study with one objective."
        )
    attrs: dict[str, Any] = study.user_attrs
    test = attrs.get(TEST, {})
    baseline = attrs.get(BASELINE, math.nan)
    if CONFIG not in attrs:
        # Of another objective: as for MaxGainCallback, the first completed trial is the baseline.
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        baseline = completed[0].value if completed else math.nan
    return SearchRecord(
        study=study,
        metric=attrs.get(CONFIG, {}).get("metric", "value"),
        baseline=baseline,
        best=best_trial(study),
        test_baseline=test.get("baseline", math.nan),
        test_value=test.get("best", math.nan),
    )


def done_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were run to an end, whatever came of them, by number."""
    return [trial for trial in study.get_trials(deepcopy=False) if is_done(trial)]


def runs_of(study: optuna.Study) -> list[RunRecord]:
    """Return the runs of a study that had something to do, in the order in which they began."""
    attrs = study.user_attrs.items()
    runs: list[RunRecord] = [value for name, value in attrs if name.startswith(f"{RUNS}/")]
    return sorted(runs, key=lambda run: run["began"])


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """Return the best completed trial, the first of equals; :obj:`None` if none was completed."""
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    return min(
        completed,
        key=lambda trial: (sign * trial.value, trial.number) if trial.value is not None else (),
        default=None,
    )


def records_of(
    studies: optuna.Study | SearchRecord | Sequence[optuna.Study | SearchRecord],
) -> list[SearchRecord]:
    """Return what one or several studies tell, which may be records already."""
    several = studies if isinstance(studies, Sequence) else [studies]
    return [one if isinstance(one, SearchRecord) else record_of(one) for one in several]


def params_in_words(params: Mapping[str, Any]) -> str:
    """Return a trial's parameters as text; those of other objectives may be no numbers."""
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, int | float) else f"{name}={value}"
        for name, value in params.items()
    )


def _val_accuracy(metrics: Mapping[str, float] | None) -> float:
    return (metrics or {}).get("val_accuracy", math.nan)


def _number(value: float, *, percent: bool) -> str:
    return f"{100 * value:6.2f} %" if percent else f"{value:8.4f}"


def _gain(value: float, *, percent: bool) -> str:
    return f"{100 * value:+.2f} pp" if percent else f"{value:+.4f}"
