"""The result of planning: the number of seeds that a comparison needs to show a gain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adnn_optuna._units import COUNT, Estimate, Unit, duration
from adnn_optuna.render.document import Advice, Figure, Line, Series, Step
from adnn_optuna.render.printed import Printed, number_fields
from adnn_optuna.stats.power import POWER, RequiredSeeds

_FIXED, _SEQUENTIAL = "fixed design", "sequential design"


@dataclass(frozen=True)
class Plan(Printed):
    """The number of seeds that a comparison needs to show a gain with a power of 80%.

    Attributes:
        numbers: The numbers of the pilot, and the seeds and power of both designs.
        first_seed: The first seed after the seeds of the pilot.
    """

    numbers: RequiredSeeds
    first_seed: int
    _seconds_per_seed: float = field(repr=False)
    _unit: Unit = field(repr=False)
    _max_trial: int = field(repr=False)  # The number of trials of each run.

    @property
    def seeds(self) -> int:
        """The number of new seeds that a fixed design needs."""
        return self.numbers.seeds

    @property
    def seeds_sequential(self) -> int | None:
        """The number of new seeds that a sequential design needs after the pilot's seeds.

        If the pilot was a fixed design, the CIs are at 99%. If more than 1000 seeds, or more than
        ten times :attr:`seeds`, are needed, the number is None.
        """
        if self.numbers.pairs_sequential is None:
            return None
        return self.numbers.pairs_sequential - self.numbers.n_pilot

    @property
    def hours(self) -> float:
        """The hours that the new seeds of a fixed design take."""
        return self.seeds * self._seconds_per_seed / 3600

    @property
    def hours_sequential(self) -> float | None:
        """The hours for the new seeds of a sequential design, or None if there are too many."""
        if self.seeds_sequential is None:
            return None
        return self.seeds_sequential * self._seconds_per_seed / 3600

    @property
    def _level(self) -> float:
        return 0.8

    @property
    def _gain(self) -> str:
        return f"{self._unit.scale * self.numbers.gain:.4g}{self._unit.of_gains}"

    def _title(self) -> str:
        return f"Plan: seeds to show a gain of {self._gain}"

    def _conclusion(self) -> str:
        numbers = self.numbers
        each = ""
        if len(numbers.seeds_by_claim) > 1:
            each = f" for each of {len(numbers.seeds_by_claim)} claims"
        return (
            f"If the true gain is {self._gain}, {self.seeds} new seeds show a gain with a power "
            f"of {POWER:.0%}{each}, averaged over the standard deviations that the pilot allows."
        )

    def _scope(self) -> str:
        return f"{self.numbers.n_pilot} pilot seeds"

    def _next_step(self) -> Step:
        first = self.first_seed
        end = first + self.seeds
        arguments = f"max_trial={self._max_trial}, seeds=range({first}, {end})"
        options = f"--max-trial {self._max_trial}, --seeds {first}-{end - 1}"
        others = "with the pilot's other"
        return Step(
            Advice(f"Call adnn.compare {others} arguments, {arguments} and another name."),
            Advice(f"Run adnn compare {others} options, {options} and another name."),
        )

    def _estimates(self) -> list[Line]:
        needed = Estimate(self.seeds, self.numbers.seeds_low, self.numbers.seeds_high)
        lines = [Line(_FIXED, needed, COUNT, remark=f"new seeds, {duration(3600 * self.hours)}")]
        if self.seeds_sequential is not None and self.hours_sequential is not None:
            added = Estimate(self.seeds_sequential)
            time = duration(3600 * self.hours_sequential)
            remark = f"new seeds after the pilot's {self.numbers.n_pilot}, {time}"
            lines.append(Line(_SEQUENTIAL, added, COUNT, remark=remark))
        return lines

    def _notes(self) -> list[str]:
        numbers = self.numbers
        sd = f"{self._unit.scale * numbers.sd:.2g}{self._unit.of_gains}"
        needs = {*numbers.seeds_by_claim.values()}
        pooled = ""
        if len(numbers.seeds_by_claim) > 1:
            pooled = (
                ", pooled over the claims" if len(needs) == 1 else ", the largest of all claims"
            )
        notes = [
            (
                f"The differences have a standard deviation of {sd} ({numbers.n_pilot} pilot seeds"
                f"{pooled}). Its CI determines the CI of the number of seeds."
            )
        ]
        why = f"is omitted: its {numbers.n_pilot} differences are equal."
        notes += [f"{claim} {why}" for claim in numbers.omitted]
        if len(needs) > 1:
            each = ", ".join(f"{claim} {n}" for claim, n in numbers.seeds_by_claim.items())
            notes.append(f"The claims vary unequally and need unequal numbers of seeds: {each}.")
        if self.seeds_sequential is None:
            notes.append("A sequential design needs far more seeds than a fixed one.")
        else:
            notes.append("A sequential design may end earlier, once every claim is decided.")
        return notes

    def _figures(self) -> list[Figure]:
        """Return a figure of the power of each possible design against the number of seeds."""
        numbers = self.numbers
        series = []
        needed = {}
        designs = (
            (_FIXED, numbers.power, self.seeds),
            (_SEQUENTIAL, numbers.power_sequential, numbers.pairs_sequential),
        )
        for color, (design, power, seeds) in enumerate(designs):
            if seeds is None:
                continue
            label = f"{design}: {seeds} seeds"
            series.append(Series(label, [*power], _in_percent(power), color=color))
            needed[seeds] = power[seeds]
        series.append(Series("", [*needed], _in_percent(needed), "rings", color=None))
        caption = f"Each ring: the seeds for a power of {POWER:.0%}."
        if self.seeds_sequential is not None:
            caption = f"{caption} Sequential: with the pilot's {numbers.n_pilot}."
        figure = Figure(
            key="power",
            title=f"{self.seeds} seeds show a gain of {self._gain} with a power of {POWER:.0%}",
            x_label="Seeds",
            y_label="Power [%]",
            series=series,
            caption=caption,
            target=100 * POWER,
        )
        return [figure]

    def _fields(self) -> dict[str, Any]:
        fixed = "gain n_claims n_pilot sd seeds seeds_low seeds_high"
        return {
            **number_fields(self.numbers, fixed),
            "hours": self.hours,
            **number_fields(self.numbers, "seeds_by_claim omitted"),
            **number_fields(self, "seeds_sequential hours_sequential"),
        }


def _in_percent(curve: Mapping[int, float]) -> list[float]:
    return [round(100 * power, 2) for power in curve.values()]
