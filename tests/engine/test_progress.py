"""Progress bars: when they appear, their text, and interrupts during drawing."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
import termios
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from search_worker import make_objective
from tqdm.notebook import tqdm as tqdm_notebook
from tqdm.std import tqdm

import adnn_optuna as adnn
from adnn_optuna.engine.signals import Bar, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def in_a_thread(function: Callable[[], object]) -> bool:
    """Return whether a function ends when it runs in another thread."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(timeout=10)
    return not thread.is_alive()


@pytest.fixture
def locked() -> Any:
    """Hold the lock of all bars, as an interrupted thread does."""
    lock, is_over = tqdm.get_lock(), threading.Event()

    def hold() -> None:
        with lock:
            is_over.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    yield
    is_over.set()
    holder.join()


@pytest.mark.slow
def test_bars_are_shown_in_notebooks_only_and_not_in_programs_that_import_ipython() -> None:
    code = """
        import ipykernel
        from adnn_optuna.engine.signals import progress_bar
        with progress_bar(3, show=True) as bar:
            print(not bar.disable)
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(code))])
    [cell] = NotebookClient(notebook).execute().cells
    assert "True" in [output.get("text", "").strip() for output in cell.outputs]
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == ("False\n", "")


def test_a_notebook_shows_the_total_that_is_known_later() -> None:
    class NotebookBar(Bar, tqdm_notebook):
        """A progress bar as notebooks show it."""

    bar: Any = NotebookBar(total=None, display=False)
    bar.total, bar.n = 5, 2
    bar.refresh()
    _, progress, _ = bar.container.children
    assert (progress.value, progress.max, progress.bar_style, progress.layout.width) == (
        2,
        5,
        "",
        None,
    )
    bar.close()


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize(("stream", "show"), [(io.StringIO, True), (Terminal, False)])
def test_without_a_terminal_or_notebook_there_is_no_bar(
    stream: type[io.StringIO], show: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    is_disabled = []

    def work() -> None:
        with progress_bar(show=show) as bar:
            bar.update()
            is_disabled.append(bar.disable)

    assert in_a_thread(work)
    assert is_disabled == [True]
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_an_interrupt_while_a_bar_is_drawn_locks_no_other_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupting(Terminal):
        def write(self, _: str) -> int:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stderr", Interrupting())
    with pytest.raises(KeyboardInterrupt):
        progress_bar(show=True)
    monkeypatch.setattr(sys, "stderr", Terminal())

    def work() -> None:
        with progress_bar(show=True) as bar:
            bar.update()

    assert in_a_thread(work)


def search() -> None:
    adnn.search(make_objective(), "annealing", max_trial=3, max_time=1000, show_progress_bar=True)


def in_a_terminal(function: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return the output of a function on a terminal."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 120))
    parts: list[bytes] = []

    def read() -> None:
        # If no writer is left, Linux ends a pseudo-terminal in this way.
        with contextlib.suppress(OSError):
            while part := os.read(terminal, 4096):
                parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    with monkeypatch.context() as patch, os.fdopen(end, "w") as stderr:
        patch.setattr(sys, "stderr", stderr)
        function()
    reader.join()
    os.close(terminal)
    return b"".join(parts)


def test_a_search_shows_its_progress_and_its_limits_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = in_a_terminal(search, monkeypatch)
    assert b"trial 0/3; 1000 s left of max_time 1000 s" in output
    for sentence in (b"trial 3/3: best ", b"%, gain +", b" pp; 0 s left of max_trial 3"):
        assert sentence in output
    search()
    assert "left of" not in capsys.readouterr().err


def test_a_comparison_shows_the_running_arm_and_its_best_value_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compare() -> None:
        options: Any = {"max_trial": 3, "seeds": [4, 5], "confirm": 0}
        adnn.compare(lambda trial: trial.suggest_int("x", 1, 1), **options, show_progress_bar=True)

    output = in_a_terminal(compare, monkeypatch)
    assert re.search(rb"\r(tpe|annealing|random)/seed=[45]: best 1[.0]*: 100%.* 18/18 ", output)
