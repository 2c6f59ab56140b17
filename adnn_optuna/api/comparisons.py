"""What comparisons came to: as they ran, or as they are stored."""

from optuna.storages import BaseStorage

from adnn_optuna._attributes import COMPARISON, Declaration
from adnn_optuna._checks import WrongValueError
from adnn_optuna.api._stored_comparisons import like_comparisons, load_head, records_of_comparison
from adnn_optuna.api._told import Told
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.results.comparison import ComparisonFacts
from adnn_optuna.stats.paired_differences import EQUIVALENCE
from adnn_optuna.stats.power import SeedPlanFacts


class SeedPlan(Told, SeedPlanFacts):
    """How many seeds show a gain with a power of 80 %; printed, it is a few lines.

    Attributes:
        sd: The standard deviation of the pilot's differences, pooled over the claims; the largest
            one, if they differ.
        seeds_by_claim: How many seeds each claim needs; the largest number is ``seeds``.
        seeds: How many fresh seeds a planned comparison needs, in the mean over what the pilot
            leaves possible.
        seeds_low, seeds_high: How many at the ends of the 80 % interval of ``sd``.
        seeds_looking_again: How many a comparison needs that looks again after each seed, those
            of the pilot included; :obj:`None` if neither 1000 nor ten times ``seeds`` suffice.
        hours: How long the fresh seeds take.
        hours_looking_again: How long the further seeds take when looking again, or :obj:`None`.
        power: The power of a planned comparison by its number of seeds.
        power_looking_again: The probability to have decided by a number of seeds, looking again.
    """

    _telling = "comparisons.plan"


class Comparison(Told, ComparisonFacts):
    """What searchers came to, each on the same seeds.

    Printed, it is the table of means and, below it, the verdict on each claim. There are two
    families of claims, each wrong in at most 5 % of all comparisons: each searcher against random
    restarts, and greedy against annealing; and all of these against the controls, what the same
    compute buys otherwise. A third one says what of each arm's winners repeats on a fresh seed
    each, beside their unmoved networks. Of a function there is one: each sampler against random
    search. Where a comparison stops once all is decided, or got further seeds or arms later, the
    intervals pay for each look, and all claims that were ever declared count.

    Attributes:
        results: The results of each arm, by its label, in the order of ``seeds``.
        seeds: The seeds, in their declared order.
        equivalence: The difference of the metric of the selection on the test set, or of a
            function's values, up to which two arms are equivalent; if :obj:`None`, none are.
        like: The names of other comparisons of the same objective in the same storage.
    """

    _telling = "comparisons"

    def plan(self, gain: float) -> SeedPlan:
        """Return how many seeds it takes to show a gain, from these seeds as a pilot.

        Args:
            gain: The difference of the metric on the test set, of accuracies as a fraction, that
                is to be shown for every sampler against random restarts, and for greedy against
                annealing.

        Raises:
            ValueError: If there are less than two seeds, or the gain is not positive.
        """
        return SeedPlan(**vars(self.seed_plan(gain)))


def load_comparison(
    storage: str | BaseStorage, study_name: str, *, equivalence: float | None = None
) -> Comparison:
    """Return a stored comparison, over the first seeds whose runs have all ended.

    Raises:
        ValueError: If there are no such studies, or the runs of the first seed have not all ended.
    """
    head = load_head(open_storage(storage, must_exist=True), study_name)
    arms = records_of_comparison(head)
    declaration: Declaration = head.user_attrs[COMPARISON]
    declared = declaration["seeds"]
    is_done = [
        all(s in of_arm and of_arm[s].is_over for of_arm in arms.values()) for s in declared
    ]
    seeds = tuple(declared[: [*is_done, False].index(False)])
    if not seeds:
        n_over = sum(run.is_over for of_arm in arms.values() for run in of_arm.values())
        raise WrongValueError(
            f"The comparison {study_name!r} has nothing to show yet: {n_over} of its "
            f"{len(arms) * len(declared)} runs have ended, but not all of its first seed, "
            f"{declared[0]}; go on by resume or compare."
        )
    results = {label: [of_arm[seed] for seed in seeds] for label, of_arm in arms.items()}
    if equivalence is None:
        equivalence = declaration["arguments"].get("equivalence", EQUIVALENCE)
    return Comparison(results, seeds, equivalence, declaration, like_comparisons(head))
