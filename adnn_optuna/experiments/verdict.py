"""The result of verifying a contract."""

import dataclasses
import math
from statistics import fmean
from typing import Any, Literal, NamedTuple

from adnn_optuna._units import (
    ACCURACY,
    Estimate,
    Unit,
    as_argument,
    estimate_around,
    percent,
    score_in_words,
)
from adnn_optuna.experiments.confirmation import Confirmation
from adnn_optuna.render.document import Figure, Line, Step, Table, shortened
from adnn_optuna.render.document import Verdict as VerdictWord
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.difference_words import interval_figure
from adnn_optuna.results.sentences import unseen_notes
from adnn_optuna.stats.intervals import student_half_width

Status = Literal["exact", "within_tolerance", "breached", "cannot_check"]

# In ordinary training runs, the accuracies on two processors with different bits differ by at most
# this number. The tolerance of a metric that is not within [0, 1] is relative.
TOLERANCE = 0.005

_NOT_CHECKED = (
    "whether the baseline was trained well: a gain over a poor one may be worth nothing",
    "whether data, metric, seed or the time to stop were chosen after seeing results",
)


class Claim(NamedTuple):
    """The test gain that a contract claims.

    Attributes:
        metric: The metric on the test set.
        gain: The gain of the best network over its baseline network.
        resolution: The change of the metric by one test example, or 0 if examples differ in it.
        unit: The unit of the metric.
        sign: -1 if lower values are better, otherwise 1.
        positive: The positive class of the metric, or None.
    """

    metric: str
    gain: float
    resolution: float
    unit: Unit = ACCURACY
    sign: int = 1
    positive: Any = None

    @property
    def score(self) -> str:
        """The name of the metric in sentences."""
        return shortened(score_in_words(self.metric, self.positive), 40)

    def tolerance(self, found: float) -> float:
        """Return the allowed difference of a network's metric between two processors.

        Args:
            found: The metric on this machine. For a metric that is not within [0, 1], the
                tolerance is a share of this value.
        """
        scale = self.scale(found)
        return max(scale * TOLERANCE, 2 * self.resolution) + 1e-9 * scale

    def scale(self, found: float) -> float:
        """Return the value to which a difference of the metric is relative, or 1.

        It is 1 if differences are absolute.
        """
        is_relative = self.unit.largest == math.inf and not self.metric.endswith("_r2")
        if is_relative:
            return abs(found)
        return 1.0


@dataclasses.dataclass(frozen=True, repr=False)
class Verdict(Printed):
    """The result of :func:`verify`.

    Attributes:
        status: One of four words. ``"exact"``: training again gave the same bits.
            ``"within_tolerance"``: training again gave the claimed gain within the tolerance.
            ``"breached"``: a result was not reproduced, or the file was changed.
            ``"cannot_check"``: something is missing or unreadable, or training runs here vary too
            much to check the gain.
        reasons: A sentence for each fault, with the name of the contract's field.
        stated: The maker's statements that were not checked.
        gain: The test gain that was measured here, with its 95% CI for other test examples. With
            several training runs, ``gain`` is their mean. If the contract was not reproduced,
            ``gain`` is :obj:`None`.
        half_width: The maximum distance of a single training run's gain from ``gain``, at 99%. It
            is 0 if all bits are the same.
        claim: The gain that the contract claims, or None if the contract was not read.
        confirmation: The maker's claims on new seeds, or None.
        new_seeds: The results on the new seeds of this verification, or None.
        are_drawn: Whether the new seeds were drawn at random, instead of passed as ``seeds``.
    """

    status: Status
    reasons: tuple[str, ...] = ()
    stated: tuple[str, ...] = ()
    gain: Estimate | None = None
    half_width: float = 0.0
    claim: Claim | None = None
    confirmation: Confirmation | None = None
    new_seeds: Confirmation | None = None
    are_drawn: bool = True
    # The file of the contract, if a command with this file name can verify it.
    _file: str = dataclasses.field(default="", compare=False)

    @property
    def is_reproduced(self) -> bool:
        """Whether retraining gave the claimed results, exactly or within the tolerance."""
        return self.status in {"exact", "within_tolerance"}

    @property
    def replicates(self) -> bool:
        """Whether this verification's new seeds show that the offsets gain."""
        return self.new_seeds is not None and self.new_seeds.replication.low > 0

    def _title(self) -> str:
        titles = [self._about_the_bits()]
        if self.status != "breached":
            titles.append(self._on_replication.title)
        return "; ".join(filter(None, titles))

    def _verdict(self) -> VerdictWord:
        if self.status == "breached":
            return "breached"
        if self.new_seeds is not None:
            return self._on_replication.verdict
        return "reproduced" if self.is_reproduced else "cannot check"

    def _conclusion(self) -> str:
        return f"{self._on_replication.sentence} {self._about_the_file()}".strip()

    def _scope(self) -> str:
        return "" if self.claim is None else self.claim.score

    def _fields(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    @property
    def _on_replication(self) -> "_Replication":
        """What the new seeds show about the offsets."""
        new_seeds = self.new_seeds
        if new_seeds is None:
            return _Replication()
        n = len(new_seeds.seeds)
        value, low, high = new_seeds.replication
        on = f"on {n} seeds that were passed"
        if self.are_drawn:
            on = f"on {n} new seeds, drawn here"
        if not new_seeds.gains:
            sentence = "The best network has no offsets, so no gain can replicate."
            return _Replication("not shown", "no offsets", sentence)
        if math.isnan(value):
            sentence = f"Replication is not known: a training run {on}, diverged."
            return _Replication("not known", f"gain not known ({n} seeds)", sentence)
        if low > 0:
            sentence = f"The gain of the offsets replicates {on}."
            if self.status == "breached":
                sentence = f"The offsets gain {on}, but not the claimed gain."
            return _Replication("replicates", f"replicates ({n} seeds)", sentence)
        if high < 0:
            return _Replication("worse", f"offsets lose ({n} seeds)", f"The offsets lose {on}.")
        sentence = f"No gain of the offsets is shown {on}."
        return _Replication("not shown", f"gain not shown ({n} seeds)", sentence)

    def _about_the_bits(self) -> str:
        """Return a title that says whether both networks were reproduced."""
        has_seeds = self.new_seeds is not None
        if self.status == "breached":
            if has_seeds:
                return "Breached: the claimed gain is contradicted"
            return "Breached"
        if self.status == "cannot_check":
            subject = "Cannot"
            if has_seeds:
                subject = "Bits cannot"
            return f"{subject} be checked"
        if self.status == "exact":
            return "Reproduced bit for bit"
        return "Reproduced within tolerance"

    def _about_the_file(self) -> str:
        if self.status == "exact":
            return "Both networks, trained again, match the contract bit for bit."
        if self.status == "within_tolerance":
            return "Trained again here, the gain and all scores are within the tolerance."
        return " ".join(self.reasons[:1])  # Further reasons are notes.

    def _estimates(self) -> list[Line]:
        if self.claim is None:
            return []
        lines = []
        new_seeds = self.new_seeds
        if new_seeds is not None:
            seeds = f"{len(new_seeds.seeds)} new seeds"
            if new_seeds.gains:
                lines.append(self._line("replication", new_seeds.replication, seeds))
            lines.append(self._line("vs new baselines", new_seeds.vs_baselines, seeds))
            lines += self._excess()
        if self.gain is not None:
            lines.append(self._line("gain, trained again", self.gain, "CI for other examples"))
        return lines

    def _excess(self) -> list[Line]:
        """Return a line with the claimed minus the measured mean gain, or an empty line."""
        claimed = self.confirmation
        new_seeds = self.new_seeds
        if self.claim is None or claimed is None or new_seeds is None or not new_seeds.gains:
            return []
        if math.isnan(new_seeds.replication.value):
            return []
        more = fmean(claimed.gains) - new_seeds.replication.value
        n = len(claimed.gains)
        remark = f"their {n} seeds, your {len(new_seeds.gains)}"
        half = student_half_width(new_seeds.gains, self.claim.resolution, 0.95, n)
        estimate = estimate_around(more, half)
        return [self._line("claimed minus found", estimate, remark)]

    def _line(self, label: str, gain: Estimate, remark: str) -> Line:
        assert self.claim is not None
        return Line(label, gain, self.claim.unit, is_difference=True, remark=remark)

    def _tables(self) -> list[Table]:
        if self.claim is None:
            return []
        tables = [self._checks(), *claims_tables(self.confirmation, self.claim.unit)]
        if self.new_seeds is not None:
            unit = self.claim.unit
            pairs = zip(self.new_seeds.seeds, self.new_seeds.gains, strict=False)
            rows = [(str(seed), unit.gain(gain)) for seed, gain in pairs]
            title = "Every new seed of this verification"
            tables.append(Table(("seed", "gain"), rows, title, is_detail=True))
        return tables

    def _checks(self) -> Table:
        """Return a table of what was checked and what was not."""
        checked = []
        if self.is_reproduced:
            what = "the bits of both networks, trained again"
            if self.status == "within_tolerance":
                what = "the gain and the scores of both networks, trained again"
            checked.append(what)
        if self.new_seeds is not None:
            checked.append(f"the gain on {len(self.new_seeds.seeds)} new seeds")
        groups = {
            "checked": checked,
            "stated by its maker": self.stated,
            "not checked": _NOT_CHECKED,
        }
        rows = [(name, f"{'; '.join(items)}.") for name, items in groups.items() if items]
        return Table(("", ""), rows, "What this verification checked")

    def _notes(self) -> list[str]:
        notes = [*self.reasons]
        if not self.is_reproduced:
            notes = notes[1:]
        if self.gain is not None and self.new_seeds is None:
            notes.append(
                "Only this network is reproduced, and its seed may have been chosen. New seeds "
                "show whether its offsets gain."
            )
        if self.claim is not None and self.gain is not None and self.half_width:
            half = self.claim.unit.size(self.half_width)
            notes.append(
                f"A single training run here may differ from this gain by up to {half} (99%)."
            )
        if self.new_seeds is not None:
            seeds = self.new_seeds.seeds
            notes += unseen_notes(len(seeds))
            if self.are_drawn:  # Drawn seeds are a range.
                first = seeds[0]
                last = seeds[-1]
                notes.append(f"To check the same seeds again, pass the seeds {first} to {last}.")
            else:
                notes.append("These seeds were passed, so they may have been chosen.")
        return notes

    def _next_step(self) -> Step:
        if self.confirmation is None or self.new_seeds is not None or not self._file:
            return Step()
        return Step(
            f"adnn.verify({self._file!r}, new_seeds=20)",
            f"adnn verify {as_argument(self._file)} --new-seeds 20",
        )

    def _figures(self) -> list[Figure]:
        """Return a figure of the claimed gains and the measured gains."""
        if self.claim is None:
            return []
        unit = self.claim.unit
        claims = {"gain, claimed": Estimate(self.claim.gain)}
        if self.confirmation is not None:
            claims["replication, claimed"] = self.confirmation.replication
        lines = [dataclasses.replace(line, remark="") for line in self._estimates()]
        lines += [Line(what, claim, unit, is_difference=True) for what, claim in claims.items()]
        title = f"The contract claims a gain of {unit.gain(self.claim.gain)}"
        new_seeds = self.new_seeds
        if new_seeds is not None and new_seeds.gains:
            if self.confirmation is not None:
                claimed = unit.gain(self.confirmation.replication.value)
                title = f"The contract claims a replication of {claimed}"
            found = unit.gain(new_seeds.replication.value)
            title = f"{title}; {len(new_seeds.seeds)} new seeds show {found}"
        elif self.gain is not None:
            title = f"{title}; trained again, it is {unit.gain(self.gain.value)}"
        metric = self.claim.metric.replace("_", " ")
        x_label = unit.heading(f"difference in {metric}", is_gain=True)
        return [interval_figure("gains", title, x_label, lines)]


class _Replication(NamedTuple):
    """The conclusion of new seeds about the offsets: a word, a title and a sentence."""

    verdict: VerdictWord = "not known"
    title: str = ""
    sentence: str = ""


def claims_tables(confirmation: Confirmation | None, unit: Unit) -> list[Table]:
    """Return a table of the maker's claims on new seeds, or an empty list."""
    if confirmation is None:
        return []
    lines = [
        Line("test score", confirmation.test_score, unit),
        Line("vs new baselines", confirmation.vs_baselines, unit, is_difference=True),
    ]
    if confirmation.gains:
        lines.append(Line("replication", confirmation.replication, unit, is_difference=True))
    gain = confirmation.hyperparameters
    if gain is not None:
        lines.append(Line("hyperparameters vs first trial's", gain, unit, is_difference=True))
    title = f"Claimed by the maker, on {len(confirmation.seeds)} new seeds"
    headings = ("", "value", f"{percent(confirmation.level)} CI")
    rows = [(line.label, line.value, line.ends) for line in lines]
    return [Table(headings, rows, title)]
