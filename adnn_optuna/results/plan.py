"""How many seeds a comparison needs to show a gain, in sentences, a table and a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adnn_optuna._units import COUNT, Estimate, Unit, duration
from adnn_optuna.render.document import Document, Figure, Line, Series
from adnn_optuna.render.printed import Printed
from adnn_optuna.stats.power import POWER, RequiredSeeds, required_seeds

_FIXED, _SEQUENTIAL = "fixed design", "sequential design"
_FIELDS = (
    "gain n_claims n_pilot sd seeds seeds_low seeds_high hours seeds_by_claim seeds_sequential "
    "hours_sequential"
)


@dataclass(frozen=True)
class Plan(RequiredSeeds, Printed):
    """How many seeds show a gain with a power of 80%.

    Attributes:
        gain: The difference to show.
        n_claims: How many claims share the error rate.
        n_pilot: The number of pilot seeds.
        sd: The standard deviation of the pilot's differences, pooled over the claims; the largest
            one, if they differ.
        seeds: How many new seeds a fixed design needs, on average over the standard deviations
            that the pilot leaves possible.
        seeds_low, seeds_high: How many at the ends of the 80% CI of ``sd``.
        seeds_sequential: How many a sequential design needs, those of the pilot included, with
            CIs at 99% if that was a fixed design;
            :obj:`None` if neither 1000 nor ten times ``seeds`` suffice.
        hours: How long the new seeds of a fixed design take.
        hours_sequential: How long the further seeds of a sequential design take, or :obj:`None`.
        power: The power of a fixed design by its number of seeds.
        power_sequential: The probability that a sequential design has decided by a number of
            seeds.
        seeds_by_claim: How many seeds each claim needs; the largest number is ``seeds``.
        first_seed: The first seed after all that the pilot has.
    """

    seconds_per_seed: float = field(repr=False)
    first_seed: int = field(repr=False)
    unit: Unit = field(repr=False)

    @property
    def hours(self) -> float:
        """How long the new seeds of a fixed design take."""
        return self.seeds * self.seconds_per_seed / 3600

    @property
    def hours_sequential(self) -> float | None:
        """How long the further seeds of a sequential design take."""
        if self.seeds_sequential is None:
            return None
        return (self.seeds_sequential - self.n_pilot) * self.seconds_per_seed / 3600

    def document(self) -> Document:
        """Return everything that the result says."""
        gain = f"{self.unit.scale * self.gain:.4g}{self.unit.of_gains}"
        each = ""
        if self.n_claims > 1:
            each = f" for each of {self.n_claims} claims"
        power = f"a power of {POWER:.0%}{each}"
        first = self.first_seed
        end = first + self.seeds
        call = f"adnn.compare(..., seeds=range({first}, {end}), study_name=...)"
        command = f"adnn compare --seeds {first}-{end - 1} --study-name NAME"
        return Document(
            title=f"Plan: seeds to show a gain of {gain}",
            verdict="no claim",
            conclusion=f"{self.seeds} new seeds show a gain of {gain} with {power}.",
            scope=f"{self.n_pilot} pilot seeds",
            estimates=self._designs(),
            level=0.8,
            figures=[self._figure(gain)],
            notes=self._notes(),
            next_step=(
                "compare with the pilot's other arguments on new seeds, in another study: "
                f"{call}, or {command}"
            ),
            fields={name: getattr(self, name) for name in _FIELDS.split()},
        )

    def _designs(self) -> list[Line]:
        needed = Estimate(self.seeds, self.seeds_low, self.seeds_high)
        lines = [Line(_FIXED, needed, COUNT, remark=f"new seeds, {duration(3600 * self.hours)}")]
        if self.seeds_sequential is not None and self.hours_sequential is not None:
            remark = f"seeds with the pilot's, {duration(3600 * self.hours_sequential)} more"
            lines.append(Line(_SEQUENTIAL, Estimate(self.seeds_sequential), COUNT, remark=remark))
        return lines

    def _notes(self) -> list[str]:
        sd = f"{self.unit.scale * self.sd:.2g}{self.unit.of_gains}"
        needs = {*self.seeds_by_claim.values()}
        pooled = ""
        if self.n_claims > 1:
            pooled = (
                ", pooled over the claims" if len(needs) == 1 else ", the largest of all claims"
            )
        notes = [
            (
                f"The differences have a standard deviation of {sd} ({self.n_pilot} pilot seeds"
                f"{pooled}). The CI of the number of seeds follows from its CI."
            )
        ]
        if len(needs) > 1:
            each = ", ".join(f"{claim} {n}" for claim, n in self.seeds_by_claim.items())
            notes.append(f"The claims vary unequally and need unequal numbers of seeds: {each}.")
        if self.seeds_sequential is None:
            notes.append("A sequential design needs far more seeds than a fixed one.")
        else:
            notes.append("A sequential design may end earlier, once every claim is decided.")
        return notes

    def _figure(self, gain: str) -> Figure:
        """Return the power of both designs against the number of seeds."""
        series = [
            Series(_FIXED, [*self.power], _in_percent(self.power), color=0),
            Series(
                _SEQUENTIAL, [*self.power_sequential], _in_percent(self.power_sequential), color=1
            ),
        ]
        needed = {}
        if self.seeds in self.power:
            needed[self.seeds] = self.power[self.seeds]
        if self.seeds_sequential in self.power_sequential:
            needed[self.seeds_sequential] = self.power_sequential[self.seeds_sequential]
        label = f"seeds to plan for: {', '.join(map(str, needed))}"
        series.append(Series(label, [*needed], _in_percent(needed), "rings", color=None))
        return Figure(
            key="power",
            title=f"Power to show a gain of {gain}",
            x_label="Seeds",
            y_label="Power [%]",
            series=series,
            caption=(
                f"The dotted line is the power of {POWER:.0%} that is planned for. Rings mark the "
                "seeds that each design needs."
            ),
            target=100 * POWER,
        )


def _in_percent(curve: Mapping[int, float]) -> list[float]:
    return [round(100 * power, 2) for power in curve.values()]


def plan_seeds(
    differences: Mapping[str, Sequence[float]],
    *,
    gain: float,
    after_fixed: bool,
    seconds_per_seed: float,
    first_seed: int,
    unit: Unit,
) -> Plan:
    """Return how many seeds show a gain, from the paired differences of each claim of a pilot."""
    required = required_seeds(differences, gain, after_fixed=after_fixed)
    return Plan(
        **vars(required), seconds_per_seed=seconds_per_seed, first_seed=first_seed, unit=unit
    )
