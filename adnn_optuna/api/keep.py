"""Keep a change only if it beats the best version, in loops that try many changes."""

import contextlib
import dataclasses
import functools
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Unpack

import optuna
from optuna.exceptions import TrialPruned
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import (
    CANDIDATE,
    LOOP,
    Compared,
    LoopSettings,
    StoredCandidate,
    read_study,
)
from adnn_optuna._checks import (
    WrongTypeError,
    WrongValueError,
    as_integer,
    check_number,
    check_type,
    shown,
)
from adnn_optuna._seeds import new_seeds
from adnn_optuna.api._calls import Common, checked_call, verb
from adnn_optuna.engine.code_fingerprint import code_fingerprint
from adnn_optuna.engine.evaluations import make_evaluations, open_evaluations
from adnn_optuna.engine.functions import seed_parameters
from adnn_optuna.engine.objectives import Caught, Outcome, as_value, catching, checked_direction
from adnn_optuna.engine.signals import progress_bar
from adnn_optuna.results.change_loop import (
    RUN_NAMES,
    Candidate,
    ChangeLoop,
    change_loop,
    signed_values,
    verdicts_of,
)
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.keeping import FEWEST_RUNS

_LEVELS = (0.001, 0.2)  # With a smaller level, too few simulated candidates would be kept.
_RUNS_BELOW = 101  # With more runs, the simulated runs of all candidates would need much memory.


class _Keywords(Common, total=False):
    """The keywords of :func:`keep` that other functions do not have, or define differently."""

    failed: Annotated[
        float | None,
        "The value of each failed run. By default, the value of a candidate's failed run is the "
        "worst value of the candidate and of the best version.",
    ]
    max_time: Annotated[
        float | None,
        "The seconds that all runs of the loop may take together. No run starts later.",
    ]


@verb(_Keywords)
def keep(
    f: Callable[[int], float],
    *,
    candidate: str | None = None,
    direction: str | StudyDirection = "maximize",
    level: float = 0.01,
    n0: int = 8,
    max_runs: int = 8,
    note: str = "",
    **keywords: Unpack[_Keywords],
) -> ChangeLoop:
    """Judge whether a changed function is better than the best version before it.

    The first call measures the baseline on ``n0`` new seeds. The standard deviation of these runs
    is the noise. Each further call evaluates a candidate, one run on a new seed at a time. The
    evaluation stops when the candidate's mean gain is too small, which is usually after one run.
    If the mean gain is large enough after ``max_runs`` runs, the candidate is kept. Later
    candidates are then compared with this candidate.

    Each run is made once and stored as a trial of a study in ``storage``, which must be set. The
    same call resumes an interrupted evaluation. Several processes may evaluate at the same time. A
    candidate that was judged before is not run again. Candidates that are evaluated at the same
    time are compared with the same version. If two such candidates are kept, the later one is the
    best version.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            def train(seed):
                model = ExtraTreesClassifier(n_estimators=20, random_state=seed)
                return model.fit(x_train, y_train).score(x_val, y_val)
            result = adnn.keep(train, storage="sqlite:///loop.db", study_name="loop")
            print(result)

    Args:
        f: The version to judge: a function of a seed that returns a value.
        candidate: The version's name. The default is a fingerprint of the code of ``f``, so the
            same code is the same candidate.
        direction: Whether a higher value is better (``"maximize"``) or a lower value
            (``"minimize"``).
        level: The maximum probability that a useless candidate is kept, from 0.001 to 0.2. It
            assumes that the noise is normal and equal in all candidates.
        n0: The number of runs of the baseline, from 3 to 100. With more runs, smaller gains are
            kept.
        max_runs: The maximum number of runs of a candidate, from 2 to 100. With more runs, smaller
            gains are kept.
        note: A text about the candidate that the report shows.
        **keywords: Options of the evaluations.

    Returns:
        The verdict on the candidate, and the loop so far.

    Raises:
        TypeError: If an argument has a wrong type, or the value is not a number.
        ValueError: If an argument is wrong. If the stored loop has other settings. If runs of the
            loop's baseline are missing or failed.
        KeyboardInterrupt: If you interrupt the call. All finished runs are stored.
    """
    call = checked_call(keywords)
    if not callable(f) or len(seed_parameters(f)) != 1:
        raise WrongTypeError(f"f must be a function of one seed; got {shown(f)}.")
    if call.storage is None:
        raise WrongValueError(
            "storage must be set, as a loop goes on from call to call; got None. Pass a database "
            "URL such as 'sqlite:///loop.db'."
        )
    check_type("note", note, str, "a text")
    settings = _checked_settings(level, n0, max_runs, call.failed)
    label = _checked_label(candidate, f)
    study = _opened_loop(
        call.storage, call.study_name or "loop", checked_direction(direction), settings
    )
    version = _Version(study, settings, label)
    n_seeds = max(settings["n0"], settings["max_runs"])
    seeds = new_seeds(f"{study.study_name} {label}", "keep", n_seeds, draws_data=True)
    options: Any = {"max_time": call.max_time, "executor": call.executor}
    # The command line passes a function that an event can stop.
    options |= {"n_jobs": call.n_jobs or 1, "stop": getattr(f, "stop", None)}
    _, trials = read_study(study)
    progress = version.progress(trials)
    n_stored = progress.n_made
    with progress_bar(show=call.show_progress_bar, unit="run", desc=label) as bar:
        bar.update(n_stored)
        while not progress.is_judged:
            record: StoredCandidate = {
                "label": label,
                "note": note,
                "compared": progress.compared(),
            }
            run = _Run(f, seeds, record, call.catch)
            needed = functools.partial(version.needed, record)
            make_evaluations(needed, study, RUN_NAMES, run, **options)
            before = progress
            progress = version.progress(study.get_trials(deepcopy=False))
            bar.update(progress.n_made - before.n_made)
            if progress.state == before.state:  # No time is left for a further run.
                break
    return progress.result(n_stored)


def stored_loop(study: optuna.Study) -> ChangeLoop:
    """Return the stored loop of a study, with the verdict on its last candidate."""
    attrs, trials = read_study(study)
    maximize = study.direction == StudyDirection.MAXIMIZE
    loop = change_loop(study.study_name, attrs[LOOP], trials, maximize=maximize)
    if loop is None:
        raise WrongValueError(
            f"Loop {study.study_name!r} must have a run; got none. Run its baseline first."
        )
    return loop


@dataclasses.dataclass(frozen=True)
class _Version:
    """The version to judge, and the study of its loop."""

    study: optuna.Study
    settings: LoopSettings
    label: str

    @functools.cached_property
    def number(self) -> int:
        """The version's number in the study."""
        return zlib.crc32(self.label.encode()) // 2

    def progress(self, trials: Iterable[FrozenTrial]) -> "_Progress":
        """Return the version's runs and its loop, as the study's trials store them."""
        loop = change_loop(self.study.study_name, self.settings, trials, maximize=self._maximize)
        candidates = loop.candidates if loop else ()
        candidate = next((each for each in candidates if each.number == self.number), None)
        if candidate is not None and candidate.label != self.label:
            raise WrongValueError(
                f"candidate must have its own number; got {shown(self.label)}, with the number of "
                f"{shown(candidate.label)}. Pass another label."
            )
        return _Progress(self, loop, candidate)

    @property
    def _maximize(self) -> bool:
        return self.study.direction == StudyDirection.MAXIMIZE

    def needed(
        self, record: StoredCandidate, made: Mapping[Evaluation, float]
    ) -> Sequence[Evaluation]:
        """Return the runs to make next: all runs of the baseline, or one run of a candidate."""
        if record["compared"] is None:
            now = self.progress(self.study.get_trials(deepcopy=False))
            if not now.is_baseline:  # Another worker's version became the baseline.
                return []
            return [(self.number, run) for run in range(self.settings["n0"])]
        values: list[float] = []
        while (value := made.get((self.number, len(values)))) is not None:
            values.append(value)
        counted = signed_values(values, self.settings, maximize=self._maximize)
        [(verdict, _)] = verdicts_of([counted], [record["compared"]], self.settings["max_runs"])
        if verdict == "not judged yet":
            return [(self.number, len(values))]
        return []


@dataclasses.dataclass(frozen=True)
class _Progress:
    """A version's runs and its loop, as they were at one read."""

    version: _Version
    loop: ChangeLoop | None  # None before the loop's first run.
    candidate: Candidate | None  # The version in the loop, or None before its first run.

    @property
    def is_baseline(self) -> bool:
        """Whether the version is the baseline, which is the first version of its loop."""
        return self.loop is None or self.loop.candidates[0] is self.candidate

    @property
    def n_made(self) -> int:
        """The number of finished runs of the version."""
        if self.candidate is None:
            return 0
        return len(self.candidate.values)

    @property
    def state(self) -> tuple[int, bool]:
        """What must change with each round of runs."""
        return self.n_made, self.is_baseline

    @property
    def is_judged(self) -> bool:
        """Whether the version needs no further run."""
        if self.is_baseline:
            return self.n_made == self.version.settings["n0"]
        return self.candidate is not None and self.candidate.verdict in ("kept", "not kept")

    def compared(self) -> Compared | None:
        """Return the stored values to compare the version with, or None for the baseline."""
        loop = self.loop
        if loop is None or self.is_baseline:
            return None
        compared = loop.standard()
        if self.candidate is not None:
            compared = self.candidate.compared
        if compared is None:
            baseline = loop.candidates[0]
            n0 = self.version.settings["n0"]
            n_values = len(baseline.succeeded)
            raise WrongValueError(
                f"The baseline {baseline.label!r} of loop {loop.study_name!r} must have {n0} "
                f"runs, {FEWEST_RUNS} of them with a value; got {len(baseline.values)} and "
                f"{n_values}. Run it first, or use another study_name."
            )
        return compared

    def result(self, n_stored: int) -> ChangeLoop:
        """Return the loop with the verdict on this version, which had ``n_stored`` runs before."""
        version = self.version
        if self.loop is None or not self.n_made:
            raise WrongValueError(
                f"max_time must leave time for a run of {version.label!r}; got less than the runs "
                f"of loop {version.study.study_name!r} took. Pass a longer max_time, or omit it."
            )
        return dataclasses.replace(self.loop, label=version.label, n_stored=n_stored)


@dataclasses.dataclass(frozen=True)
class _Run:
    """Runs a version on a seed. Other processes can call it."""

    function: Callable[[int], float]
    seeds: Sequence[int]
    record: StoredCandidate
    catch: Caught

    def __call__(self, candidate: int, run: int) -> Outcome:
        """Run the version and return the outcome, which also stores the record."""
        del candidate
        value = math.nan
        with contextlib.suppress(TrialPruned), catching(self.catch, f"Run {run}"):
            value = as_value(self.function(self.seeds[run]))
        attrs = {CANDIDATE: self.record}
        if math.isfinite(value):
            return Outcome("complete", value, system_attrs=attrs)
        return Outcome("pruned", system_attrs=attrs)


def _checked_settings(level: Any, n0: Any, max_runs: Any, failed: float | None) -> LoopSettings:
    check_number("level", level)
    lowest, highest = _LEVELS
    if not lowest <= level <= highest:
        raise WrongValueError(f"level must be from {lowest} to {highest}; got {level!r}.")
    return {
        "level": float(level),
        "n0": as_integer("n0", n0, FEWEST_RUNS, _RUNS_BELOW),
        "max_runs": as_integer("max_runs", max_runs, 2, _RUNS_BELOW),
        "failed": failed,
    }


def _checked_label(candidate: Any, f: Callable[[int], float]) -> str:
    if candidate is None:
        return code_fingerprint(f)[:12]
    check_type("candidate", candidate, str, "a text or None")
    label = str(candidate).strip()
    if not label:
        raise WrongValueError("candidate must be a text that is not empty, or None; got ''.")
    return label


def _opened_loop(
    storage: Any, study_name: str, direction: Any, settings: LoopSettings
) -> optuna.Study:
    """Create or load the study of a loop. Raise an error if the stored settings differ."""
    study = open_evaluations(storage, study_name, "loop", direction=direction)
    if LOOP not in study.user_attrs:
        study.set_user_attr(LOOP, settings)
    before: LoopSettings = study.user_attrs[LOOP]
    for name, value in settings.items():
        value_before = before[name]  # type: ignore[literal-required]
        if value_before != value:
            raise WrongValueError(
                f"{name} must be {value_before!r}, as in loop {study_name!r}; got {value!r}. Pass "
                f"{name}={value_before!r}, or use another study_name."
            )
    return study
