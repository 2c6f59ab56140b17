"""The result of a recheck, in sentences, tables and a figure."""

import math
from dataclasses import dataclass
from typing import Any

from adnn_optuna._units import Unit, in_list, params_in_words, unit_of
from adnn_optuna.render.document import Document, Figure, Line, Series, Verdict
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.findings import NEXT_STEP, failures_note
from adnn_optuna.results.recheck_numbers import (
    BASELINE_NETWORK,
    FIRST_OF_PARAMS,
    RecheckNumbers,
    Role,
    stored_value,
)
from adnn_optuna.results.settings import trial_fields
from adnn_optuna.stats.paired_differences import NO_SPREAD, NORMAL, is_by_t
from adnn_optuna.stats.sequential import ALPHA
from adnn_optuna.stats.spread import collapses


@dataclass(frozen=True)
class Recheck(RecheckNumbers, Printed):
    """How much of a study's best value, and of its gain, is there on new seeds.

    Attributes:
        study_name: The study's name.
        evaluations: The value of each evaluation, by trial number and seed. NaN: it failed.
        candidates: The study's best trials, the best first.
        best: The study's best trial.
        trial: The chosen trial, :obj:`None` until all values to choose by are known. It has the
            best mean on the new seeds that choose.
        against: The trial that it is compared with, if any.
        value, low, high: The chosen trial's mean on the further seeds and the ends of its 95% CI;
            on new data, too, if study and evaluations have the scores of single examples. If
            the number of further seeds was raised, all CIs but that of ``next_run`` are at 99%.
            For each trial of the study that was chosen before, the error rate is halved.
        gain: Its mean paired gain over ``against`` on these, an estimate with its 95% CI.
        reported_gain: The same gain by the study's own values.
        overstatement: How much better the study's best value is than ``value``.
        next_run: The chosen trial's value with a 95% prediction interval of one more run.
        missing: The evaluations to make next; none at the end.
        n_evaluations: How many evaluations the recheck takes in all.
        n_lost: How many evaluations failed.
    """

    def document(self) -> Document:
        """Return everything that the result says."""
        scope = f"{len(self.candidates)} trial{'s' * (len(self.candidates) > 1)}"
        if not self.is_deterministic:
            scope += f", {self.seeds} + {self.planned['seeds']} {self.confirmed.where}"
        return Document(
            title=f"Recheck of study {self.study_name!r}",
            verdict=self._verdict(),
            conclusion=self._conclusion(),
            scope=scope,
            estimates=self._estimates(),
            level=self.confirmed.level,
            figures=[self._figure()],
            notes=self._notes(),
            next_step=self._next_step(),
            fields=self._fields(),
        )

    def _verdict(self) -> Verdict:
        if self.is_deterministic or self.missing or math.isnan(self.value):
            return "not known"
        if math.isnan(self.gain.value):
            return "overstated" if self.overstatement.low > 0 else "not shown"
        if self.gain.high < 0:
            return "worse"
        return "replicates" if self.gain.low > 0 else "not shown"

    def _conclusion(self) -> str:
        value = self._unit.value(stored_value(self.best))
        best = f"The study reported {value} (trial {self.best.number})"
        if self.is_deterministic:
            return f"{best}. You declared the evaluation deterministic, so nothing was evaluated."
        if self.trial is None or self.missing:
            made = f"{len(self.used)} of {self.n_evaluations} evaluations are made"
            return f"{best}. Its value on {self.confirmed.where} is not known yet: {made}."
        why_no_interval = self.confirmed.why_no_interval()
        if math.isnan(self.value):
            return f"{best}. {why_no_interval}"
        sentences = [
            self._about_gain(),
            why_no_interval or self._about_overstatement(),
            self._about_collapses(),
            self.confirmed.no_seed,
        ]
        return " ".join(filter(None, sentences))

    def _about_gain(self) -> str:
        """Return the findings on the gain; empty without anything to compare with."""
        if self.trial is None or self.against is None:
            return ""
        chosen, other = f"trial {self.trial.number}", self._other
        where = self.confirmed.where
        if self.against.number == self.trial.number:
            return f"The chosen trial is {other} itself: nothing was gained."
        if math.isnan(self.gain.value):
            return f"The gain over {other} is not known, because some evaluations failed."
        reported = ""
        if self.reported_gain > 0:
            reported = f"; the study reported {self._unit.gain(self.reported_gain)}"
        if self.gain.low > 0:
            return f"On {where} {chosen} beats {other}{reported}."
        if self.gain.high < 0:
            return f"On {where} {chosen} loses to {other}{reported}."
        return f"On {where} no gain of {chosen} over {other} is shown{reported}."

    @property
    def _other(self) -> str:
        """The baseline of the chosen trial, in words."""
        against = self.against
        assert against is not None
        if BASELINE_NETWORK in against.user_attrs:
            return "the baseline network"
        if against.number >= FIRST_OF_PARAMS:
            return params_in_words(against.params)
        return f"trial {against.number}"

    def _about_overstatement(self) -> str:
        excess = self.overstatement
        best = f"The study's best value ({self._unit.value(stored_value(self.best))})"
        if excess.low > 0:
            return f"{best} is overstated."
        if excess.high < 0:
            return f"{best} is understated."
        return f"{best} is not shown to be overstated."

    def _about_collapses(self) -> str:
        """Return with which seeds the chosen trial's value is far worse; empty without any."""
        assert self.trial is not None
        by_seed = self.by_seed(self.trial, "confirm")
        seeds = [*by_seed]
        found = collapses([*by_seed.values()], maximize=self.maximize)
        if not found:
            return ""
        which = in_list([str(seeds[i]) for i in found])
        said = f"Trial {self.trial.number} reaches its value on average, with rare collapses"
        return f"{said} (seed{'s' * (len(found) > 1)} {which})."

    @property
    def _unit(self) -> Unit:
        return unit_of(self.metric).rounded_to((self.high - self.low) / 2)

    def _estimates(self) -> list[Line]:
        if self.trial is None or self.missing or self.is_deterministic or math.isnan(self.value):
            return []
        unit, chosen = self._unit, f"trial {self.trial.number}"
        where = f"{self.confirmed.where}{' and data' if self.on_new_data else ''}"
        lines = [Line("value", self.estimate, unit, remark=f"{chosen}, {where}")]
        if not math.isnan(self.gain.value):
            of_gain = unit.rounded_to((self.gain.high - self.gain.low) / 2)
            remark = f"over {self._other}, paired"
            lines.append(Line("gain", self.gain, of_gain, is_difference=True, remark=remark))
        reported = f"study's best: {unit.value(stored_value(self.best))}, trial {self.best.number}"
        excess = self.overstatement
        lines.append(Line("overstatement", excess, unit, is_difference=True, remark=reported))
        return lines

    def _notes(self) -> list[str]:
        if self.is_deterministic:
            return ["No seed can tell whether the value is the same on other data."]
        notes, confirmed = list[str](), self.confirmed
        if self.trial is not None and confirmed.values:
            n, where = len(confirmed.values), confirmed.where
            others = self.seeds if self.seeds > 1 else "one"
            notes.append(
                f"Values are means of {n} {where if n > 1 else where[:-1]}, which selected "
                f"nothing. Another {others} chose the trial."
            )
            notes += confirmed.notes(
                self.trial.number,
                self._unit,
                self._about_data(),
                on_same_examples=self.on_new_data is not None,
            )
            if confirmed.n_equal:
                notes.append("If nothing is random, pass deterministic=True.")
        if not math.isnan(self.gain.value):
            notes.append(self._about_gain_interval())
        if self.n_lost > confirmed.n_failed:
            notes.append(failures_note(self.n_lost, len(self.used), "evaluations", self.failed))
        return [*notes, self.reused]

    def _about_gain_interval(self) -> str:
        """Return why the gain has no CI, or what its CI assumes; empty for sign flips."""
        n = self.confirm
        if math.isfinite(self.gain.low):
            few = not self.sequential and is_by_t(n, self.confirmed.n_claims)
            return few * f"The CI of the gain is Student's t, assuming {NORMAL}."
        if n < self.n_needed:
            return f"No CI of the gain: {self.n_needed} {self.confirmed.where} are needed."
        return f"{NO_SPREAD[0].upper()}{NO_SPREAD[1:]}."

    def _about_data(self) -> str:
        """Return which variances the CI of the value contains; empty if only those of runs."""
        if self.on_new_data:
            return (
                "The CI of the value contains the variance of seeds, of examples, and of the "
                "selection on these examples. The gain is that on the same examples."
            )
        if self.on_same_data:
            return (
                "Only training randomness was redrawn; the validation data are the same. The CI "
                "does not contain the variance of examples."
            )
        return ""

    def _next_step(self) -> str:
        if self.missing:
            return NEXT_STEP
        is_of_new_data = self.on_new_data or self.resampled
        if is_of_new_data or self.on_same_data or self.is_deterministic:
            return ""
        return "estimate the value on new data: return adnn.log_scores(trial, scores)"

    def _figure(self) -> Figure:
        """Return the stored values of the best trials beside those on new seeds."""
        unit = unit_of(self.metric)
        series = []
        roles: tuple[tuple[Role, str, float, int | None], ...] = (
            ("choose", "new seeds that choose", -0.17, None),
            ("confirm", "further seeds", 0.12, 0),
        )
        for role, label, shift, color in roles:
            points = [
                (unit.scale * value, row + shift, f"trial {trial.number}, seed {seed}")
                for row, trial in enumerate(self.candidates)
                for seed, value in self.by_seed(trial, role).items()
            ]
            if points:
                x, y, hover = zip(*points, strict=True)
                series.append(Series(label, x, y, "points", hover=hover, color=color))
                level = self.confirmed.level if role == "confirm" else 1 - ALPHA
                means = f"{label}: mean, {100 * level:.9g}% CI"
                series.append(self._means(role, means, shift + 0.07, color))
        stored = [unit.scale * stored_value(trial) for trial in self.candidates]
        rows = range(len(stored))
        series.append(Series("value in the study", stored, rows, "diamonds", color=1))
        return Figure(
            key="recheck",
            title="Values in the study and on new seeds",
            x_label=unit.heading(self.metric),
            y_label="",
            series=series,
            caption="Diamonds: stored values. Squares: means on new seeds with their CI.",
            lower_is_better=self._sign < 0,
            rows=[
                f"trial {trial.number}{', chosen' * (trial is self.trial)}"
                for trial in self.candidates
            ],
        )

    def _means(self, role: Role, label: str, shift: float, color: int | None) -> Series:
        scale = unit_of(self.metric).scale
        known = [(row, self.interval(trial, role)) for row, trial in enumerate(self.candidates)]
        # The mean of a single value is that value, which is a point already.
        known = [(row, estimate) for row, estimate in known if math.isfinite(estimate.low)]
        return Series(
            label,
            x=[scale * estimate.value for _, estimate in known],
            y=[row + shift for row, _ in known],
            mark="squares",
            low=[scale * estimate.low for _, estimate in known],
            high=[scale * estimate.high for _, estimate in known],
            color=color,
        )

    def _fields(self) -> dict[str, Any]:
        fields = self._attributes(
            "study_name metric maximize best trial against value low high gain reported_gain "
            "overstatement next_run is_deterministic sequential failed n_lost"
        )
        for name in ("best", "trial", "against"):
            fields[name] = trial_fields(fields[name])
        return {**fields, "evaluations": self.rows()}
