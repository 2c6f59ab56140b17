"""Public functions and commands either accept an input, or refuse it in one sentence.

A refusal comes before any training, and nothing is stored.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from search_worker import make_objective

import adnn_optuna as adnn
from adnn_optuna._checks import WrongInputError
from adnn_optuna.cli import main as cli
from adnn_optuna.cli import output
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from adnn_optuna import InitOffsetObjective

# Each run of the suite has the same examples. Without `derandomize`, each run has new ones.
often = settings(
    deadline=None,
    max_examples=50,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from(
        [0, -1, 1, 2, 3, 10**400, -(10**400), 2**31, 2**63, 5e-324, 1e308, True, False, 1 + 2j]
    ),
    st.sampled_from([np.int64(3), np.float32(0.5), np.float64("nan"), np.bool_(True)]),
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            'it\'s "quoted"',
            "two\nlines",
            "📈",
            "a" * 10_000,
            "\udcff",
            "\0",
            "../..",
            "'; --",
            "%",
        ]
    ),
)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    NUMBERS,
    TEXTS,
    st.lists(st.one_of(NUMBERS, TEXTS, st.none()), max_size=3),
    st.dictionaries(TEXTS, NUMBERS, max_size=2),
    st.sampled_from([b"", b"bytes", object(), int, lambda: None, {1, 2}, range(0), np.zeros(3)]),
)
NAMES = st.sampled_from(["relu", "adam", "sgd", "zeros", "greedy", "annealing", "layer", "digits"])


class Accepted(KeyboardInterrupt):
    """Raised instead of the first training run, when all arguments have been accepted."""


@pytest.fixture(scope="module", autouse=True)
def no_training() -> Any:
    def train(*_: Any, **__: Any) -> None:
        raise Accepted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train", train)
        yield


@pytest.fixture(scope="module")
def objective(no_training: None) -> InitOffsetObjective:
    return make_objective()


def outcome(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or the class of an error, whose message must be one
    sentence.
    """
    try:
        return call()
    except Accepted:
        return Accepted
    except WrongInputError as error:
        message = str(error)
        assert message.endswith("."), message
        assert "\n" not in message, message
        return WrongInputError


def few(names: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return some of a function's arguments."""
    return st.fixed_dictionaries({}, optional=names)


def odd(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return few(dict.fromkeys(names, st.one_of(ODD, NAMES)))


@often
@given(arguments=odd("low", "high", "scope", "include_output", "unit"))
def test_offset_space(arguments: dict[str, Any]) -> None:
    space = outcome(lambda: adnn.OffsetSpace(**arguments))
    if isinstance(space, adnn.OffsetSpace):
        assert -np.inf < space.low <= 0 <= space.high < np.inf


@often
@given(arguments=odd("hidden", "activation", "kernel_initializer", "bias_initializer"))
def test_mlp(arguments: dict[str, Any]) -> None:
    model = outcome(lambda: adnn.MLP(**arguments))
    if isinstance(model, adnn.MLP) and sum(model.hidden) < 1000:
        outcome(lambda: adnn.InitOffsetObjective(model, adnn.load_dataset("digits")))


@often
@given(arguments=odd("optimizer", "learning_rate", "batch_size", "epochs", "shuffle", "loss"))
def test_training(arguments: dict[str, Any]) -> None:
    training = outcome(lambda: adnn.Training(**arguments))
    if isinstance(training, adnn.Training):
        outcome(lambda: make_objective(training=training))


@often
@given(value=ODD, baseline=ODD)
def test_limits(value: Any, baseline: Any) -> None:
    outcome(lambda: adnn.MaxTimeCallback(value))
    outcome(lambda: adnn.MaxTrialCallback(value))
    outcome(lambda: adnn.MaxGainCallback(value, baseline))


@often
@given(
    walk=odd("deltas", "max_steps", "accept", "origin"),
    annealing=odd(
        "seed",
        "n_trials",
        "x0",
        "initial_temperature",
        "quench",
        "n_candidates",
        "reannealing",
        "ingber",
    ),
)
def test_samplers(walk: dict[str, Any], annealing: dict[str, Any]) -> None:
    outcome(lambda: adnn.DeltaStepSampler(**walk))
    outcome(lambda: adnn.AdaptiveSimulatedAnnealingSampler(**annealing))


@often
@given(arguments=odd("model", "dataset", "training", "space", "metric", "seed"))
def test_objective(arguments: dict[str, Any]) -> None:
    right = {"model": adnn.MLP(hidden=(4,)), "dataset": adnn.load_dataset("digits")}
    outcome(lambda: adnn.InitOffsetObjective(**{**right, **arguments}))


def test_a_late_refusal_of_a_comparison_leaves_no_study(objective: InitOffsetObjective) -> None:
    storage = optuna.storages.InMemoryStorage()
    compare = functools.partial(adnn.compare, objective, storage=storage, max_trial=2)
    with pytest.raises(ValueError, match="seed must be below 18,446"):
        compare(seeds=[0, 2**64])
    with pytest.raises(TypeError, match="must return an Optuna sampler"):
        compare({"greedy": "greedy", "own": lambda seed, _: seed}, seeds=[0])
    assert not optuna.get_all_study_names(storage)


def test_refused_evaluations_leave_no_study(
    objective: InitOffsetObjective, tmp_path: Path
) -> None:
    def one(seed: int) -> float:
        return seed % 7

    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    models = {"a": one, "b": one}
    verbs: list[Callable[..., Any]] = [
        functools.partial(adnn.measure_variance, one),
        functools.partial(adnn.compare_models, models, seeds=range(50)),
        functools.partial(adnn.recheck, study, lambda trial, seed: 1.0),
    ]
    wrong: list[dict[str, Any]] = [{"max_time": -1}, {"study_name": ""}]
    calls = [functools.partial(verb, **options) for verb in verbs[:2] for options in wrong]
    calls += [functools.partial(verbs[0], n_jobs=0), functools.partial(verbs[2], max_time=0)]
    for call in calls:
        assert outcome(lambda: call(storage=f"sqlite:///{tmp_path}/e.db")) is WrongInputError  # noqa: B023
    assert not [*tmp_path.iterdir()]


ARRAYS = st.one_of(
    ODD,
    st_numpy.arrays(
        dtype=st.one_of(st_numpy.scalar_dtypes(), st.sampled_from([np.dtype(object)])),
        shape=st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
    ),
)


@often
@given(
    x=ARRAYS,
    y=ARRAYS,
    more=few(dict.fromkeys(("x_test", "y_test", "groups", "sample_weight"), ARRAYS)),
    options=odd(
        *("validation_size", "test_size", "seed", "name", "num_classes"),
        *("task", "class_weight"),
    ),
)
def test_dataset_from_arrays(
    x: Any, y: Any, more: dict[str, Any], options: dict[str, Any]
) -> None:
    data = outcome(lambda: adnn.Dataset.from_arrays(x, y, **more, **options))
    if isinstance(data, adnn.Dataset):
        assert np.isfinite(data.x_train).all()
        assert data.num_classes is not None
        assert 0 <= data.y_train.min() <= data.y_train.max() < data.num_classes


@often
@given(name=ODD, options=odd("data_dir", "test_size", "seed", "target", "task", "groups"))
def test_load_dataset(name: Any, options: dict[str, Any]) -> None:
    outcome(lambda: adnn.load_dataset(name, **options))
    outcome(lambda: adnn.load_dataset("digits", **options))


@often
@given(
    sampler=st.one_of(ODD, NAMES, st.builds(optuna.samplers.RandomSampler)),
    arguments=odd("study_name", "max_time", "max_trial", "max_gain", "batch_size", "pruner"),
)
def test_search(objective: InitOffsetObjective, sampler: Any, arguments: dict[str, Any]) -> None:
    storage = optuna.storages.InMemoryStorage()
    result = outcome(lambda: adnn.search(objective, sampler, storage=storage, **arguments))
    assert (result is Accepted) == bool(optuna.get_all_study_names(storage))


@often
@given(
    arguments=few(
        {
            **dict.fromkeys(("study_name", "max_time", "max_gain", "batch_size", "margin"), ODD),
            "samplers": st.one_of(
                ODD, st.lists(NAMES, max_size=3), st.dictionaries(TEXTS, NAMES, max_size=2)
            ),
            "seeds": st.one_of(ODD, st.lists(st.sampled_from([0, 1, 2**64]), max_size=2)),
            "max_trial": ODD,
            "executor": st.one_of(st.none(), ODD),
        }
    )
)
def test_compare(objective: InitOffsetObjective, arguments: dict[str, Any]) -> None:
    storage = optuna.storages.InMemoryStorage()
    given_ = {"max_trial": 2, "seeds": range(2), **arguments}
    result = outcome(lambda: adnn.compare(objective, storage=storage, **given_))
    assert (result is Accepted) == bool(optuna.get_all_study_names(storage))


@often
@given(
    url=TEXTS.map(lambda text: text.replace("/", "")),
    name=ODD,
    limits=odd("max_time", "max_trial", "max_gain"),
)
def test_resume(
    objective: InitOffsetObjective, url: str, name: Any, limits: dict[str, Any]
) -> None:
    outcome(lambda: open_storage(url))
    outcome(lambda: adnn.resume(url, name))
    storage = optuna.storages.InMemoryStorage()
    with contextlib.suppress(Accepted):
        adnn.search(objective, "greedy", storage=storage, study_name="s", max_trial=2)
    study = optuna.load_study(study_name="s", storage=storage)
    before = study.user_attrs
    outcome(lambda: adnn.resume(storage, name))
    if outcome(lambda: adnn.resume(storage, "s", **limits)) is WrongInputError:
        assert study.user_attrs == before
        assert len(optuna.get_all_study_names(storage)) == 1


@often
@given(thing=ODD)
def test_files_and_models(thing: Any) -> None:
    outcome(lambda: adnn.audit_randomness(thing))
    verdict = outcome(lambda: adnn.verify(thing))
    assert verdict is WrongInputError or verdict.status == "cannot_check"


def option(name: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[list[str]]:
    return st.one_of(st.just([]), value.map(lambda v: [f"--{name}={v}"]))


WORDS = st.one_of(TEXTS, st.floats().map(str), st.integers().map(str), NAMES)


def command(name: str, *required: str) -> st.SearchStrategy[list[str]]:
    options = {
        "search": "sampler dataset activation kernel-initializer optimizer learning-rate "
        "batch-size epochs validation-size seed low high scope metric max-time max-trial "
        "max-gain trials-at-once study-name contract",
        "compare": "samplers seeds max-trial max-time trials-at-once study-name margin "
        "report plot",
        "resume": "study-name max-trial max-gain data-dir contract",
        "report": "study-name output",
    }[name].split()
    chosen = st.lists(st.sampled_from(options), max_size=3, unique=True)
    words = chosen.flatmap(lambda names: st.tuples(*(option(n, WORDS) for n in names)))
    return words.map(lambda parts: [name, *required, *(word for part in parts for word in part)])


@often
@given(
    arguments=st.one_of(
        command("search", "--max-trial=2"),
        command("search"),
        command("compare", "--max-trial=2"),
        command("resume", "--study-name=s"),
        command("report", "--study-name=s"),
        st.lists(WORDS, max_size=3),
        WORDS.map(lambda word: ["verify", "--", word]),
        WORDS.map(lambda word: ["audit", "--", word]),
    )
)
def test_command_line(arguments: list[str]) -> None:
    before = Path.cwd()
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.run(arguments)
        finally:
            os.chdir(before)
        assert code in (0, output.WRONG_INPUT, output.INTERRUPTED), err.getvalue()
        if code == output.WRONG_INPUT:
            assert not list(Path(folder).iterdir())
            # A verdict is printed to stdout.
            assert err.getvalue().count("\n") == 1 or arguments[0] == "verify"
