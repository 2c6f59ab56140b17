from __future__ import annotations

import contextlib
import errno
import inspect
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np
import optuna
import pytest
from completed_trials import n_completed
from contract_files import check_here
from snapshots import REUSED
from stored_studies import declaration, store_head, store_study

import adnn_optuna as adnn
from adnn_optuna._checks import printable
from adnn_optuna._units import as_argument
from adnn_optuna.callbacks import LIMITS, Limit, LimitValues
from adnn_optuna.cli import main as cli
from adnn_optuna.cli.parsing import load_function, parse_controls, parse_seeds
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.signals import interruptible
from adnn_optuna.networks._program import Program
from adnn_optuna.results.declarations import checked_seeds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# A small network whose training takes long enough to be interrupted.
NETWORK = ["--hidden", "16", "--epochs", "4"]
LIMIT = ["--max-trial", "2"]
# The default names of studies with this network.
MADE = "epochs=4-hidden=16"
NAME = f"digits-annealing-{MADE}"
COMPILE = Program._compile


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def without_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off XLA, which compiles four times as long as TensorFlow alone.

    Tests in ``tests/networks``, tests of a contract, and the processes started here train with
    XLA.
    """

    def compiled(program: Program, example: tuple[Any, ...], **_: bool) -> None:
        COMPILE(program, example, jit_compile=False)

    monkeypatch.setattr(Program, "_compile", compiled)


def program(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "adnn_optuna", *arguments]


def run_program(arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program(arguments), capture_output=True, text=True, timeout=120, check=False, **options
    )


def completed(
    database: str = "adnn.db", study_name: str = NAME
) -> list[tuple[dict[str, Any], float]]:
    study = optuna.load_study(study_name=study_name, storage=f"sqlite:///{database}")
    return [(trial.params, trial.value) for trial in study.trials if trial.value is not None]


FEWER = {
    "--max-trial 20": "--max-trial 2",
    "--max-trial 40": "--max-trial 4",
    "--seeds 10": "--seeds 1",
}


class TestHelp:
    def test_is_printed_to_stdout(self, folder: Path) -> None:
        for arguments, sentence in (
            (["--help"], "130  interrupted"),
            ([], "Exit codes"),
            (["--version"], adnn.__version__),
            (["search", "--help"], "adnn search --sampler greedy"),
        ):
            done = run_program(arguments)
            assert done.returncode == 0, done.stderr
            assert sentence in done.stdout
            assert not done.stderr

    @pytest.mark.slow
    def test_of_all_commands_begins_with_commands_that_work(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run(["--help"]) == 0
        output = capsys.readouterr().out
        lines = re.findall(r"^    adnn (.*)$", output.replace("\\\n", ""), re.MULTILINE)
        assert len(lines) >= 5
        assert "--install-completion" in output
        # One example is about a user's study.
        for line in [line for line in lines if "STUDY" not in line]:
            # The same commands with fewer trials and seeds.
            few = line
            if not line.startswith("search"):
                few = re.sub(r"--max-trial \d+|--seeds 10", lambda m: FEWER[m[0]], line)
            assert cli.run(shlex.split(few)) == 0, line
            if line.startswith("search"):
                printed = capsys.readouterr().out
                [gain] = re.findall(r"validation gain +\+(\d\.\d\d) pp", printed)
                assert gain != "0.00"
        for file in ("first.contract.json", "search.html", "comparison.html"):
            assert (folder / file).is_file()
            assert file in output

    @pytest.mark.parametrize("command", ["search", "resume", "compare", "plan", "report"])
    def test_explains_every_option_and_shows_examples(
        self,
        command: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert cli.run([command, "--help"]) == 0
        output = capsys.readouterr().out
        assert len(re.findall(rf"^    adnn {command} ", output, re.MULTILINE)) >= 2
        for parameter in cli.command_with_options(command).params:
            assert parameter.help
            assert parameter.opts[0] in output


class TestSearch:
    @pytest.mark.slow
    def test_interrupted_at_any_time_and_resumed_it_ends_like_an_undisturbed_one(
        self, folder: Path
    ) -> None:
        # A shell's background job, and each process that it starts, ignores SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # With this many trials, no interrupted run ends before its signal arrives.
        search = ["search", *NETWORK, "--max-trial", "80"]
        whole = run_program([*search, "--storage", "sqlite:///whole.db"])
        assert whole.returncode == 0, whole.stderr
        assert re.search(r"\b80 trials\b", whole.stdout)
        assert "test score" in whole.stdout
        # TensorFlow prints no notices, and Optuna logs nothing.
        assert not whole.stderr
        assert len(completed("whole.db")) == 80

        resume = ["resume", "--study-name", NAME]
        hint = search
        for number, counted, next_one in ((signal.SIGINT, 3, None), (signal.SIGTERM, 9, resume)):
            process = subprocess.Popen(
                program(hint), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            deadline = time.monotonic() + 60
            while n_completed(folder / "adnn.db") < counted and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=60)
            assert process.returncode == 130, stderr
            assert not stdout
            message, command = stderr.splitlines()
            assert message == "Interrupted; all stored results are kept. Go on with:"
            assert shlex.split(command) == ["adnn", *hint]
            hint = next_one or shlex.split(command)[1:]
        assert len(completed()) < 80

        # In the last run, stderr is a terminal, so there is a progress bar.
        terminal, end = pty.openpty()
        termios.tcsetwinsize(end, (24, 80))
        with subprocess.Popen(program(hint), stdout=subprocess.PIPE, stderr=end) as process:
            os.close(end)
            output = b""
            # If no writer is left, Linux ends a pseudo-terminal with an error.
            with contextlib.suppress(OSError):
                while part := os.read(terminal, 4096):
                    output += part
            result = process.stdout.read().decode()
        os.close(terminal)
        assert process.returncode == 0, output
        assert b"trial 80/80" in output
        assert completed() == completed("whole.db")
        # The number of an interrupted trial is not fixed, so numbers are removed.
        number_of_best = re.compile(r"(?<=Best trial )\d+")
        ended = number_of_best.sub("", REUSED.sub("", result).strip())
        assert ended == number_of_best.sub("", whole.stdout.strip())

    @pytest.mark.parametrize("name", ['it\'s "quoted",\ntwo lines; größer 📈', "--quiet"])
    def test_takes_any_name(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["search", *NETWORK, *LIMIT, f"--study-name={name}"]) == 0
        capsys.readouterr()
        assert cli.run(["resume", f"--study-name={name}", "--max-trial", "3"]) == 0
        assert capsys.readouterr().out.startswith(printable(name) + ": ")
        assert len(completed(study_name=name)) == 3

    def test_finds_data_in_a_folder_and_quiet_shows_the_result_alone(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        numbers = np.random.default_rng(0)
        (folder / "my data").mkdir()
        np.savez(folder / "my data" / "own.npz", x=numbers.random((60, 3)), y=np.arange(60) % 2)
        search = ["search", "--dataset", "own.npz", "--data-dir", "my data", *NETWORK, *LIMIT]
        assert cli.run([*search, "--quiet"]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("own-annealing-epochs=…: ")
        assert f"--study-name own-annealing-{MADE} " in out
        assert not err

    def test_takes_a_table_that_resume_and_verify_find_again(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        check_here(monkeypatch)
        rows = (
            f"{i},{'north' if i % 3 else 'south'},{'yes' if i % 2 else 'no'}" for i in range(60)
        )
        (folder / "people.csv").write_text("\n".join(["age,home,buys", *rows]))
        search = ["search", "--data", "people.csv", "--class-weight", "balanced", *NETWORK, *LIMIT]
        name = f"people-annealing-class-weight=balanced-{MADE}"
        assert cli.run([*search, "--contract", "mine.json"]) == 0
        assert cli.run(["resume", "--study-name", name, "--max-trial", "3"]) == 0
        assert cli.run(["verify", "mine.json"]) == 0
        assert "Reproduced bit for bit" in capsys.readouterr().out
        assert cli.run([*search, "--target", "bought"]) == 2
        assert "no column 'bought' for target" in capsys.readouterr().err
        by_recall = [*search, "--metric", "val_recall"]
        assert cli.run(by_recall) == 2
        assert "Pass positive='no' or positive='yes'" in capsys.readouterr().err
        assert cli.run([*by_recall, "--positive", "no", "--contract", "other.json"]) == 0
        assert "test recall of class 'no'" in capsys.readouterr().out
        assert cli.run(["verify", "other.json"]) == 0
        assert "Reproduced bit for bit" in capsys.readouterr().out

    def test_confirms_on_the_passed_number_of_seeds(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        # One of eight trials beats the baseline network, so there is a gain to confirm.
        search = ["search", "--sampler", "greedy", *NETWORK, "--max-trial", "8"]
        name = NAME.replace("annealing", "greedy")
        for command in (search, ["resume", "--study-name", name]):
            assert cli.run([*command, "--confirm", "0"]) == 0
            assert "--confirm 10\n" in capsys.readouterr().out
        assert cli.run(["resume", "--study-name", name, "--confirm", "6"]) == 0
        assert "6 new seeds" in capsys.readouterr().out

    def test_other_settings_are_another_study(self, capsys: pytest.CaptureFixture[str]) -> None:
        for changes in ([], ["--low", "-0.1"], ["--seed", "1"], []):
            assert cli.run(["search", *NETWORK, "--max-trial", "1", *changes]) == 0
            assert re.search(r" 1 trial(,|\n)", capsys.readouterr().out)
        names = optuna.get_all_study_names("sqlite:///adnn.db")
        ends = ("", "-low=-0.1", "-seed=1")
        assert names == [f"{NAME}{end}" for end in ends]

    def test_too_short_for_a_contract_says_that_there_is_a_study(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        search = ["search", *NETWORK, "--max-time", "1e-9", "--study-name", "short"]
        assert cli.run([*search, "--contract", "c.json", "--report", "r.html"]) == 2
        out, err = capsys.readouterr()
        assert "No trial is finished yet" in out
        assert re.search("(?s)'short' has no best trial.*with a longer --max-time", err)
        assert optuna.get_all_study_names("sqlite:///adnn.db") == ["short"]
        assert (folder / "r.html").is_file()

    def test_in_memory_leaves_no_file(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run(["search", *NETWORK, *LIMIT, "--storage", "sqlite://"]) == 0
        assert not capsys.readouterr().err
        assert not list(folder.iterdir())

    def test_takes_all_settings(self) -> None:
        initializer = '{"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.5}}'
        options = {
            "--validation-size": "0.25",
            "--hidden": "8,4",
            "--activation": "tanh",
            "--kernel-initializer": initializer,
            "--bias-initializer": "ones",
            "--optimizer": "sgd",
            "--learning-rate": "0.5",
            "--batch-size": "100",
            "--epochs": "2",
            "--metric": "val_loss",
            "--seed": "3",
            "--low": "-0.5",
            "--high": "1",
            "--scope": "shared",
            "--unit": "stddev",
            "--sampler": "greedy",
            "--max-trial": "3",
            "--max-time": "100",
            "--max-gain": "5",
            "--trials-at-once": "2",
            "--study-name": "all",
            "--storage": "sqlite:///all.db",
        }
        flags = ["--no-shuffle", "--include-output"]
        assert (
            cli.run(["search", *flags, *(word for pair in options.items() for word in pair)]) == 0
        )
        study = optuna.load_study(study_name="all", storage="sqlite:///all.db")
        config = study.user_attrs["adnn:config"]
        assert config["seed"] == 3
        assert config["metric"] == "val_loss"
        assert config["model"] == adnn.MLP(
            (8, 4), "tanh", {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.5}},
            "ones",
        ).config  # fmt: skip
        training = adnn.Training("sgd", 0.5, 100, 2, shuffle=False, jit_compile=True)
        settings = {name: value for name, value in training.config.items() if value is not None}
        assert settings.items() <= config["training"].items()
        assert config["space"] == adnn.OffsetSpace(
            -0.5, 1.0, "shared", include_output=True, unit="stddev"
        ).config  # fmt: skip
        assert config["dataset"] == adnn.load_dataset("digits", validation_size=0.25).config
        assert study.user_attrs["adnn:search"] == {
            "sampler": "greedy",
            "n_trials": 3,
            "batch_size": 2,
        }
        [run] = read_record(study).runs
        assert run["limits"] == {
            "max_time": 100.0,
            "max_trial": 3,
            "max_gain": 5.0,
            "max_stale": None,
        }


@pytest.mark.slow
class TestLimits:
    @pytest.mark.parametrize("limit", LIMITS)
    def test_each_is_an_option_that_is_stored_and_shown_everywhere(
        self,
        limit: type[Limit],
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        option, value = f"--{limit.name.replace('_', '-')}", 2 if limit.kind is int else 1e-9
        bound = {"max_trial": 20} | {limit.name: value}  # With max_trial, every search ends.
        arguments = [option, f"{value}", "--max-trial", f"{bound['max_trial']}"]
        assert cli.run(["search", *NETWORK, *arguments]) == 0
        output = capfd.readouterr().err
        # The progress bar shows the limit.
        assert f"{limit.name} {value:g}{limit.unit}" in output
        record = read_record(optuna.load_study(study_name=NAME, storage="sqlite:///adnn.db"))
        assert record.stop_reason == limit.name
        nothing = dict.fromkeys(limit_class.name for limit_class in LIMITS)
        assert record.budget == nothing | bound
        assert record.runs[0]["limits"][limit.name] == value

    def test_are_those_of_python(self) -> None:
        by_name = {limit.name: limit for limit in LIMITS}
        types: dict[str, Any] = get_type_hints(LimitValues)
        assert types == {name: limit.kind | None for name, limit in by_name.items()}
        for verb in (adnn.search, adnn.resume, adnn.compare):
            params = cli.command_with_options(verb.__name__).params
            options = {option.name: option.help for option in params}
            parameters = inspect.signature(verb).parameters
            for name, limit in by_name.items():
                assert parameters[name].kind == inspect.Parameter.KEYWORD_ONLY
                # adnn.compare requires max_trial.
                if verb is adnn.compare and name == "max_trial":
                    continue
                assert f"\n        {name}: {limit.help}\n" in str(verb.__doc__)
                assert options[name] == limit.help

    @pytest.mark.parametrize("verb", [adnn.search, adnn.resume, adnn.compare])
    def test_an_unknown_one_is_refused(self, verb: Any) -> None:
        some: tuple[Any, ...] = ("x", "x") if verb is adnn.resume else (lambda trial: 0.0,)
        with pytest.raises(TypeError, match="max_trials"):
            verb(*some, max_trial=2, max_trials=3)


class TestCompare:
    def test_prints_the_table_writes_the_pages_and_resumes(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["compare", *NETWORK, *LIMIT, "--seeds", "3-4", "--plot", "figure.html"]
        arguments += ["--study-name", "compare"]
        with pytest.warns(UserWarning, match="2 seeds can decide nothing about the samplers: "):
            assert cli.run([*arguments, "--report", "whole.html"]) == 0
        compared = capsys.readouterr()
        for name in ("greedy", "annealing", "random_restart", "2 seeds"):
            assert name in compared.out
        _, figure, report = compared.err.splitlines()
        assert figure == "To see the figure, open figure.html"
        assert report == "To read the report, open whole.html"
        assert "plotly" in (folder / "figure.html").read_text()
        names = optuna.get_all_study_names("sqlite:///adnn.db")
        assert "compare/annealing/seed=4" in names
        # The comparison's own study, the runs, and the new seeds of each run of greedy and
        # annealing.
        assert len(names) == 1 + 6 + 4
        assert len(completed(study_name="compare/annealing/seed=4")) == 2

        # The stored studies alone give the same result.
        assert cli.run(["report", "--study-name", "compare"]) == 0
        output = capsys.readouterr()
        assert output.out == compared.out
        assert output.err == "\nTo read the report, open report.html\n"
        assert (folder / "report.html").read_text() == (folder / "whole.html").read_text()
        name = "compare/greedy/seed=3"
        assert cli.run(["report", "--study-name", name, "--output", "one.html", "--quiet"]) == 0
        assert capsys.readouterr().out.startswith(f"{name}: ")
        assert name in (folder / "one.html").read_text()
        assert cli.run(["report", "--study-name", "comp"]) == 2
        assert "Study 'comp' not found" in capsys.readouterr().err


TINY = ["--hidden", "16", "--epochs", "1", "--batch-size", "400", "--samplers", "greedy", "-q"]


class TestFiles:
    def test_a_file_is_not_taken_for_an_option(self) -> None:
        assert as_argument("-x.json") == "./-x.json"


class TestControlsAndPlans:
    @pytest.mark.slow
    def test_of_the_command_line_are_those_of_python(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        compare = ["compare", *TINY, "--max-trial", "3", "--seeds", "4,1,2"]
        compare += ["--study-name", "compare"]
        stop = ["--stop-when-decided", "--controls", "longer,constant"]
        with pytest.warns(UserWarning, match="3 seeds can decide nothing about the controls: "):
            assert cli.run([*compare, *stop]) == 0
        names = optuna.get_all_study_names("sqlite:///adnn.db")
        arms = ("constant", "greedy", "longer", "random_restart")
        assert sorted(name for name in names if not name.endswith("/confirmation")) == [
            "compare",
            *(f"compare/{arm}/seed={seed}" for arm in arms for seed in (1, 2, 4)),
        ]
        head = optuna.load_study(study_name="compare", storage="sqlite:///adnn.db")
        declared = head.user_attrs["adnn:comparison"]
        assert (declared["seeds"], declared["sequential"]) == ([4, 1, 2], True)
        assert declared["arms"].keys() == {*arms}
        assert all(declared["arms"][arm]["name"] == arm for arm in arms)
        assert "random_restart vs longer" in capsys.readouterr().out
        assert cli.run(["plan", "adnn.db", "compare", "--gain", "0.2"]) == 0
        out, err = capsys.readouterr()
        assert not err
        assert out.startswith("Plan: seeds to show a gain of 20 pp")
        assert re.search(r"If the true gain is 20 pp, \d+ new\s+seeds", out)

    def test_none_means_no_control(self) -> None:
        assert parse_controls("none") == []
        assert parse_controls("longer,learning_rate") == ["longer", "learning_rate"]


class TestReport:
    @pytest.mark.slow
    def test_an_interrupted_comparison_is_reported_as_such_and_resumed(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        compare = ["compare", *TINY, "--max-trial", "1", "--seeds", "1", "--study-name", "c"]
        assert cli.run(compare) == 0
        study = optuna.load_study(study_name="c/greedy/seed=0", storage="sqlite:///adnn.db")
        study.set_user_attr("adnn:stop_reason", "interrupted")
        capsys.readouterr()
        assert cli.run(["report", "--study-name", "c"]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert "must have ended; got 1 of 2 ended runs" in err
        assert cli.run(["contract", "--study-name", "c"]) == 2
        assert "'c' must be a search of a network" in capsys.readouterr().err
        assert not (folder / "report.html").exists()
        resume = ["resume", "--study-name", "c", "--max-trial", "2", "--report", "r.html"]
        assert cli.run([*resume, "--contract", "c.json"]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.endswith("must be a search of a network for --contract; got 'c'.\n")
        assert len(completed(study_name="c/greedy/seed=0")) == 1
        assert cli.run(resume) == 0
        assert capsys.readouterr().out.startswith("Comparison 'c'")
        assert (folder / "r.html").is_file()
        assert len(completed(study_name="c/greedy/seed=0")) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "--study-name", "two"],
        ["resume", "--study-name", "two"],
        ["contract", "--study-name", "two"],
        ["search", *NETWORK, *LIMIT, "--study-name", "two"],
        ["compare", *NETWORK, *LIMIT, "--study-name", "two"],
        ["variance", *NETWORK, "--study-name", "two"],
        ["recheck", "adnn.db", "two"],
        ["plan", "adnn.db", "two", "--gain", "0.01"],
    ],
)
def test_a_study_of_several_objectives_is_refused_in_a_sentence(
    arguments: Sequence[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = optuna.create_study(
        storage="sqlite:///adnn.db", study_name="two", directions=["minimize", "maximize"]
    )
    assert cli.run(arguments) == 2
    [message] = capsys.readouterr().err.splitlines()
    assert "'two' must have one objective; got 2" in message
    assert not study.user_attrs
    assert all(file.name.startswith("adnn.db") for file in folder.iterdir())


class TestSeeds:
    @pytest.mark.parametrize(
        ("text", "seeds"),
        [("3", [0, 1, 2]), ("1,5,2", [1, 5, 2]), ("7,", [7]), ("3-5", [3, 4, 5]), ("4-4", [4])],
    )
    def test_are_a_count_a_list_or_a_range(self, text: str, seeds: list[int]) -> None:
        assert checked_seeds(parse_seeds(text)) == (*seeds,)


WRONG = {
    "no activation": (
        ["search", *LIMIT, "--activation", "reluu"],
        r"got activation='reluu', .* Did you mean 'relu'\?",
    ),
    "no runs": (["luck", "--n", "2"], "^adnn: --values must be .* if --sd is omitted"),
    "no number": (["luck", "--n", "2", "--sd", "nan"], "^adnn: --sd must be a finite"),
    "no command": (["nope"], "nope"),
    "no such option": (["search", "--nope", *LIMIT], "--nope .* See adnn search --help"),
    "option without value": (["search", "--hidden"], "--hidden"),
    "no limit": (["search"], "--max-time, --max-trial, --max-gain or --max-stale"),
    "sampler": (["search", "--sampler", "nope", *LIMIT], "greedy_improving.*got 'nope'"),
    "confirm": (["search", "--confirm", "3", *LIMIT], "confirm must be .*at least 6"),
    "dataset": (["search", "--dataset", "nope", *LIMIT], "'nope'.*fashion_mnist"),
    "no file": (["search", "--dataset", "no.npz", *LIMIT], "no.npz.*--data-dir"),
    "data dir": (["search", "--data-dir", "no", *LIMIT], "--data-dir 'no'"),
    "validation size": (["search", "--validation-size", "x", *LIMIT], "--validation-size.*number"),
    "JSON": (
        ["search", "--bias-initializer", "{", *LIMIT],
        "--bias-initializer must be valid JSON",
    ),
    "scope": (["search", "--scope", "nope", *LIMIT], "--scope.*'nope'"),
    "hidden 0": (["search", "--hidden", "0", *LIMIT], r"hidden\[0\] must"),
    "hidden abc": (["search", "--hidden", "abc", *LIMIT], "--hidden.*'abc'"),
    "learning rate": (
        ["search", "--learning-rate", "nan", *LIMIT],
        "--learning-rate must be .*nan",
    ),
    "bounds": (["search", "--low", "0.1", *LIMIT], "--low 0.1 and"),
    "at once": (["search", "--trials-at-once", "0", *LIMIT], "--trials-at-once.*1"),
    **{
        f"{limit} {value}": (
            ["search", limit, value],
            rf"max.{limit[6:]}\b",
        )
        for limit in ("--max-time", "--max-trial", "--max-gain", "--max-stale")
        for value in ("0", "nan", "many")
    },
    "no page of a search": (["search", *LIMIT, "--report", "a.pdf"], "--report.*html"),
    "storage": (["search", "--storage", "adnn", *LIMIT], "must be a database URL.*got 'adnn'"),
    "no folder": (
        ["search", "--storage", "sqlite:///no/a.db", *LIMIT],
        "can be written to",
    ),
    "no server": (
        ["search", "--storage", "nope://me:secret@host/a", *LIMIT],
        r"nope://\*\*\*@host",
    ),
    "no URL": (["search", "--storage", "nope//me:secret@host/a", *LIMIT], r"got '\*\*\*'"),
    "empty name": (["search", "--study-name", "", *LIMIT], "--study-name must"),
    "long number": (["search", "--hidden", "9" * 5000, *LIMIT], "--hidden must be whole numbers"),
    "long name": (["search", "--study-name", "a" * 513, *LIMIT], "--study-name.*512"),
    "resume what": (["resume"], "--study-name"),
    "resume from nowhere": (["resume", "--study-name", "a"], "File 'adnn.db' not found"),
    "compare how far": (["compare"], "--max-trial"),
    "compare seeds": (
        ["compare", *LIMIT, "--seeds", "few"],
        "--seeds.*, or a range such as 10-19; got 'few'",
    ),
    "no report": (["compare", *LIMIT, "--report", "report.pdf"], "--report.*html"),
    "URL elsewhere": (["search", *LIMIT, "nope://me:secret@host/a"], r"nope://\*\*\*@host"),
    "URL for a command": (["nope://me:secret@host/a"], r"nope://\*\*\*@host"),
    "URL for a number": (["search", "--max-trial=nope://me:secret@host/a"], "valid integer"),
    "too few for it": (
        ["search", *LIMIT, "--confirm", "9", "--contract", "a.json"],
        "--confirm must be at least 10",
    ),
    "closed for it": (
        ["search", *LIMIT, "--no-test", "--contract", "a.json"],
        "--no-test prevents",
    ),
    "path of a module": (["compare", "./nets.py:f", *LIMIT], "FUNCTION must be MODULE:FUNCTION"),
    "compare no name": (["compare", *LIMIT, "--study-name", ""], "--study-name must be"),
    "empty control": (["compare", *LIMIT, "--controls", ""], "--controls must be one of longer"),
    "plan for what": (["plan", "adnn.db", "c"], "--gain"),
    "half a plan": (
        ["plan", "adnn.db", "--gain", "0.1"],
        r"Missing argument 'name'\. An example is adnn plan ",
    ),
    "nothing to report": (["report", "--study-name", "mine"], "adnn.db"),
    "no page": (["compare", *LIMIT, "--plot", "figure.png"], "--plot.*html"),
    "no folder for it": (["compare", *LIMIT, "--plot", "no/figure.html"], "--plot.*folder"),
}


class TestWrongInput:
    @staticmethod
    def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
        assert cli.run(arguments) == 2
        out, err = capsys.readouterr()
        assert not out
        assert "secret" not in err
        assert re.fullmatch(r"adnn: .+\.\n", err), err
        return err

    @pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
    def test_is_refused_in_one_sentence_and_nothing_is_written(
        self,
        arguments: list[str],
        said: str,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert re.search(said, self.refused(arguments, capsys))
        assert not list(folder.iterdir())

    def test_ends_the_program_with_code_2(self, folder: Path) -> None:
        done = run_program(["luck", "--n", "many", "--sd", "1"])
        assert done.returncode == 2
        assert not done.stdout
        assert "--n must be a valid integer; got 'many'" in done.stderr
        assert not list(folder.iterdir())

    @pytest.mark.parametrize(
        ("content", "said"), [(b"no database", "not a database"), (b"", "no Optuna studies")]
    )
    def test_resume_does_not_change_other_files(
        self, content: bytes, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "adnn.db").write_bytes(content)
        assert said in self.refused(["resume", "--study-name", "a"], capsys)
        assert (folder / "adnn.db").read_bytes() == content
        assert len(list(folder.iterdir())) == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            ["report", "--study-name", "mine"],
            ["recheck", "adnn.db", "mine"],
            ["search", *NETWORK, *LIMIT],
        ],
    )
    def test_a_damaged_database_is_named(
        self, arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        optuna.create_study(storage="sqlite:///adnn.db", study_name="mine")
        content = bytearray((folder / "adnn.db").read_bytes())
        content[-4096:] = bytes(4096)
        (folder / "adnn.db").write_bytes(content)
        message = self.refused(arguments, capsys)
        assert "'adnn.db'" in message

    def test_another_study_of_the_same_name_is_not_changed(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        search = ["search", *NETWORK, *LIMIT, "--study-name", "mine"]
        assert cli.run(search) == 0
        capsys.readouterr()
        before = completed(study_name="mine")
        for arguments, sentence in (
            ([*search, "--epochs", "5"], "training.epochs is 5, was 4"),
            ([*search, "--seed", "1"], "seed is 1, was 0"),
            ([*search, "--sampler", "greedy"], "was searched by annealing"),
            (["resume", "--study-name", "yours"], "Available: 'mine'"),
            (["resume", "--study-name", "mine", "--max-trial", "0"], "--max-trial must be"),
        ):
            assert sentence in self.refused(arguments, capsys)
        assert completed(study_name="mine") == before
        optuna.create_study(storage="sqlite:///adnn.db", study_name="theirs")
        refused = self.refused(["resume", "--study-name", "theirs"], capsys)
        assert "'theirs'" in refused

    def test_commands_that_compare_functions_switch_optunas_log_off(self, folder: Path) -> None:
        (folder / "own_pair.py").write_text("def f(seed): return seed\ndef g(seed): return 1\n")
        optuna.logging.set_verbosity(optuna.logging.INFO)
        assert cli.run(["compare-models", "own_pair:f", "own_pair:g", "--seeds", "2"]) == 0
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING

    def test_variance_takes_a_function(self, folder: Path) -> None:
        (folder / "own_seeded.py").write_text("def f(seed): return seed % 7\n")
        assert cli.run(["variance", "own_seeded:f", "--n", "5"]) == 0
        assert optuna.get_all_study_names("sqlite:///adnn.db") == ["variance-own_seeded:f"]
        assert cli.run(["variance", "own_seeded:f", "--n", "5", "--hidden", "8"]) == 2

    def test_failed_counts_raised_errors(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code = "def f(seed):\n    if seed % 2: raise ValueError(seed)\n    return seed % 7\n"
        (folder / "own_failing.py").write_text(code)
        assert cli.run(["variance", "own_failing:f", "--n", "9"]) == 2
        assert "pass --failed VALUE to adnn search" in capsys.readouterr().err
        assert cli.run(["variance", "own_failing:f", "--n", "9", "--failed", "0"]) == 0
        assert "failed (raised, NaN, infinite or pruned); each counts as 0." in " ".join(
            capsys.readouterr().out.split()
        )

    def test_a_warning_is_one_sentence(self, folder: Path) -> None:
        (folder / "own_pair.py").write_text("def f(seed): return seed\ndef g(seed): return 1\n")
        models = ["own_pair:f", "own_pair:g", "--seeds", "2"]
        done = run_program(["compare-models", *models])
        assert done.returncode == 0
        sentence = (
            "2 seeds can decide nothing about the models: at least 4 are needed for 1 claim."
        )
        assert done.stderr == f"adnn: {sentence}\n"

    def test_a_module_that_cannot_be_imported_is_an_error_of_the_user(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "own_broken.py").write_text("def f(:\n")
        (folder / "own_dying.py").write_text("1 / 0\n")
        (folder / "own_path.py").write_text("def f(trial): ...\n")
        for name, sentence in (("own_broken", "SyntaxError"), ("own_dying", "division by zero")):
            error = self.refused(["compare", f"{name}:f", *LIMIT], capsys)
            assert re.search(f"'{name}:f' cannot be loaded .*{sentence}", error)
        # The form of the argument after completion by a shell.
        assert load_function("FUNCTION", "own_path.py:f").__name__ == "f"
        refused = self.refused(["search", "executor_worker:__name__", *LIMIT], capsys)
        assert "'executor_worker:__name__'" in refused


class TestTrouble:
    """Errors of libraries, and interrupts by the user, during a search."""

    @staticmethod
    def search_raises(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        def raising(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(adnn, "search", raising)

    @pytest.mark.parametrize("error", [RuntimeError("a\nb"), ValueError("a\nb"), OSError("a\nb")])
    def test_prints_a_sentence_and_a_traceback_on_request(
        self,
        error: Exception,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("ADNN_DEBUG", raising=False)
        self.search_raises(error, monkeypatch)
        assert cli.run(["search", *LIMIT]) == 3
        out, err = capsys.readouterr()
        assert not out
        assert err == (
            f"adnn: Something unexpected happened, {type(error).__name__}: a b "
            "(ADNN_DEBUG=1 in the environment shows where).\n"
        )
        monkeypatch.setenv("ADNN_DEBUG", "1")
        assert cli.run(["search", *LIMIT]) == 3
        assert "Traceback" in capsys.readouterr().err

    @pytest.mark.slow  # TensorFlow waits for ten seconds.
    def test_a_network_too_large_for_memory_ends_with_code_4(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        # The network needs more bytes than the address space has.
        assert cli.run(["search", "--hidden", "100000000000000", *LIMIT]) == 4
        out, err = capsys.readouterr()
        assert not out
        assert re.fullmatch(r"adnn: There is too little memory .* batch_size .*\.\n", err)
        assert not list(folder.iterdir())

    def test_before_anything_is_stored_the_same_command_continues(
        self,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.search_raises(KeyboardInterrupt(), monkeypatch)
        for url, text in (
            ("sqlite:///my own.db", "'sqlite:///my own.db'"),
            ("nope://me:secret@host/a", "'nope://***@host/a'"),
        ):
            assert cli.run(["search", *LIMIT, "--storage", url]) == 130
            assert capsys.readouterr().err == (
                "Interrupted; all stored results are kept. Go on with:\n"
                f"    adnn search --max-trial 2 --storage {text}\n"
            )
        assert not list(folder.iterdir())

    def test_sigterm_is_noted_and_not_lost_as_an_exception(self) -> None:
        # `main` installs the same handler.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with contextlib.suppress(KeyboardInterrupt), interruptible() as stop:
                os.kill(os.getpid(), signal.SIGTERM)
                went_on = stop.is_set()
            assert went_on
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        finally:
            signal.signal(signal.SIGTERM, before)

    def test_an_interrupt_during_an_import_is_reported_like_any_other(self) -> None:
        code = """if True:
            import sys
            from adnn_optuna.cli.main import main

            class Interrupter:
                @staticmethod
                def find_spec(name, *_):
                    if name == "sqlalchemy":
                        raise KeyboardInterrupt

            sys.meta_path.insert(0, Interrupter)
            sys.argv = "adnn recheck a.db s --evaluate math:sqrt".split()
            main()
        """
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.stderr == (
            "Interrupted; all stored results are kept. Go on with:\n"
            "    adnn recheck a.db s --evaluate math:sqrt\n"
        )


class TestVerify:
    def test_prints_a_verdict_and_has_an_exit_code(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        contract = tmp_path / "digits.contract.json"
        storage = f"sqlite:///{tmp_path / 'adnn.db'}"
        search = ["search", *NETWORK, "--max-trial", "1", "--storage", storage]
        assert cli.run([*search, "--contract", str(contract)]) == 0
        assert f"adnn verify {contract}" in capsys.readouterr().err
        assert len(list(tmp_path.glob("digits.contract.*.npz"))) == 1
        assert cli.run(["verify", str(contract), "--new-seeds", "19"]) == 2
        assert "must be at least 20" in capsys.readouterr().err
        with monkeypatch.context() as patch:
            check_here(patch)
            assert cli.run(["verify", str(contract), "--seeds", "7-26"]) == 0
        out, err = capsys.readouterr()
        assert not err
        assert "no offsets" in out.splitlines()[0]  # The only trial is the baseline network.
        assert cli.run(["verify", str(contract), "--max-time", "0.01"]) == 2
        assert "0.01 seconds" in capsys.readouterr().out
        contract.write_text(contract.read_text().replace('"epochs": 4', '"epochs": 5'))
        assert cli.run(["verify", str(contract)]) == 1
        assert re.search("Breached.*was changed", capsys.readouterr().out, re.DOTALL)
        assert cli.run(["verify", str(tmp_path / "missing.json")]) == 2
        assert capsys.readouterr().out.startswith("Cannot be checked")

    def test_refuses_a_wrong_name_before_the_search(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        x, y = np.random.default_rng(0).random((60, 3)), np.arange(60) % 2
        np.savez(folder / "mine.npz", x=x, y=y)
        before = {path.name for path in folder.iterdir()}
        search = ["search", "--dataset", "mine.npz", *NETWORK, *LIMIT]
        wrong = {
            "contract.txt": "--contract must be the name of a .json file",
            "no/contract.json": "there is no folder",
        }
        for name, sentence in wrong.items():
            assert cli.run([*search, "--contract", name]) == 2
            out, err = capsys.readouterr()
            assert not out
            assert sentence in err
        assert {path.name for path in folder.iterdir()} == before


class TestStreams:
    """The terminal cannot show a character, or the disk is full."""

    @staticmethod
    def store_comparison() -> None:
        storage = optuna.storages.RDBStorage("sqlite:///adnn.db")
        store_head(storage, "c", declaration(range(2), "greedy", "random_restart"))
        for label in ("greedy", "random_restart"):
            for seed in range(2):
                store_study(f"c/{label}/{seed=}", sampler=label, seed=seed, storage=storage)

    def test_if_a_file_cannot_be_written_the_result_is_on_stdout(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(adnn.ValueComparison, "report", full)
        (folder / "values.csv").write_text("a,b\n1,2\n2,4\n1,3\n3,4\n")
        assert cli.run(["compare-values", "values.csv", "--report", "r.html"]) == 4
        out, err = capsys.readouterr()
        assert "b has the best mean value" in " ".join(out.split())
        assert err.startswith("adnn: A file cannot be read or written ([Errno 28] No space left")

    def test_results_on_a_full_disk_end_with_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Full(io.StringIO):
            def flush(self) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(sys, "stdout", Full())
        assert cli.run(["luck", "--n", "2", "--sd", "1"]) == 4

    @pytest.mark.slow
    def test_characters_outside_of_the_encoding_are_escaped(self, folder: Path) -> None:
        self.store_comparison()
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = run_program(["report", "--study-name", "c"], env=environment)
        assert (done.returncode, done.stderr) == (0, "\nTo read the report, open report.html\n")
        assert r"Mean \xb1 standard deviation" in done.stdout
        assert (folder / "report.html").is_file()


class TestAudit:
    def test_prints_the_variables_of_a_model(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import keras

        path = tmp_path / "model.keras"
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
        assert cli.run(["audit", str(path)]) == 0
        assert "uniform(minval=-1, maxval=1)" in capsys.readouterr().out
        assert cli.run(["audit", str(path), "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["variables"]) == 2


class TestSearchOfAFunction:
    def test_recommends_parameters_and_resumes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "own_search.py").write_text(
            "def f(trial, seed):\n    return trial.suggest_float('x', 0, 1) + seed % 10 / 100\n"
        )
        command = ["search", "own_search:f", "--sampler", "random", "--replicate", "0.5"]
        assert cli.run([*command, "--max-trial", "10", "--json", "-q"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content["n_trials"] == 10
        assert content["best_params"]["x"] < 0.5
        assert len(content["new_values"]) == 10
        assert str(content["best"]["number"]) in content["replicates"]
        assert cli.run([*command, "--max-trial", "14", "-q"]) == 0
        assert "14 trials, 7 replicates" in capsys.readouterr().out

    def test_is_resumed_with_its_stored_settings(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["search", "executor_worker:noisy", "--study-name", "s", "--confirm", "0"]
        changes = ["--direction", "maximize", "--seed", "3", "--storage", "sqlite:///b.db"]
        changes += ["--sampler", "random", "--replicate", "0.5"]
        assert cli.run([*command, *changes, "--max-trial", "2", "--json"]) == 0
        capsys.readouterr()
        resumption = ["--study-name", "s", "--storage", "sqlite:///b.db", "--max-trial", "4"]
        assert cli.run(["resume", *resumption]) == 2
        assert "pass the function to resume" in capsys.readouterr().err
        assert cli.run(["resume", "executor_worker:noisy", *resumption, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["n_trials"] == 4

    def test_the_next_command_runs_as_it_stands(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["search", "executor_worker:noisy", "--study-name", "s", "--confirm", "0"]
        assert cli.run([*command, "--sampler", "random", "--max-trial", "3", "-q"]) == 0
        _, _, following = capsys.readouterr().out.partition("\nNext: adnn ")
        assert following.startswith("recheck ")
        assert cli.run([*shlex.split(following), "-q"]) == 0
        assert "overstate" in capsys.readouterr().out

    def test_has_no_contract(self, capsys: pytest.CaptureFixture[str]) -> None:
        search = ["search", "own_search:f", "--max-trial", "2", "--contract", "a.json"]
        assert cli.run(search) == 2
        assert "must be omitted for a function" in capsys.readouterr().err
