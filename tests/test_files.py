"""Replacing a file is complete or has no effect, even if the writer dies or fails."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from search_worker import make_objective

import adnn_optuna as adnn
from adnn_optuna import Contract
from adnn_optuna._files import NotWrittenError, check_output_file, replacing, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WRITE = """
import sys
from adnn_optuna._files import write_text
for _ in range(200):
    write_text(sys.argv[1], sys.argv[2] * 100_000)
"""
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def outcomes_of_deaths(what: str, folder: Path) -> list[str]:
    worker = Path(__file__).with_name("files_worker.py")
    command = [sys.executable, str(worker), what, str(folder)]
    return subprocess.check_output(command, text=True).splitlines()


@needs_posix
def test_a_killed_writer_leaves_the_old_text_or_the_new_one(tmp_path: Path) -> None:
    *deaths, end = outcomes_of_deaths("text", tmp_path)
    assert len(deaths) > 4
    assert set(deaths) == {"old, 0 more files", "newer, 0 more files"}
    assert end == "newer, 0 more files"


@needs_posix
def test_a_contract_names_its_own_weights_after_any_death(tmp_path: Path) -> None:
    *deaths, end = outcomes_of_deaths("contract", tmp_path)
    assert len(deaths) > 8
    # The folder may contain new weights that no contract names yet.
    whole = {f"{version}, whole: True, {n} more files" for version, n in (("old", 0), ("old", 1))}
    assert set(deaths) - {end} == whole
    assert end == "newer, whole: True, 1 more files"


@needs_posix
def test_two_simultaneous_writers_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "a" * 100_000)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(file), letter]) for letter in "ab"
    ]
    while any(writer.poll() is None for writer in writers):
        assert file.read_text() in {"a" * 100_000, "b" * 100_000}
    assert [writer.returncode for writer in writers] == [0, 0]
    assert names(tmp_path) == ["a.txt"]


def test_an_error_during_writing_replaces_nothing(tmp_path: Path) -> None:
    (file := tmp_path / "a.txt").write_text("old")

    def write_half() -> None:
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@needs_posix
def test_a_full_disk_is_reported_in_a_sentence(tmp_path: Path) -> None:
    (file := tmp_path / "a.txt").write_text("old")
    with full_disk(), pytest.raises(NotWrittenError) as refusal:
        write_text(file, "new" * 1000)
    assert str(refusal.value).startswith(f"{str(file)!r} cannot be written (File too large)")
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_missing_folder_is_reported_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotWrittenError, match="cannot be written"):
        write_text(tmp_path / "gone" / "a.txt", "new")


@needs_posix
def test_a_name_with_a_null_character_is_refused() -> None:
    message = r"must have no null character; got 'a\\x00b'"
    with pytest.raises(ValueError, match=message), replacing("a\0b"):
        pass


def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    write_text(file := tmp_path / "a.txt", "old")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask
    file.chmod(0o640)
    (link := tmp_path / "link.txt").symlink_to(file)
    write_text(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@needs_posix
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(ValueError, match="it is a device or a pipe"):
        check_output_file("path", Path("/dev/null"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write to any")
def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    (file := tmp_path / "a.txt").touch(0o444)
    with pytest.raises(ValueError, match="it is read-only"):
        check_output_file("path", file)


@needs_posix
@pytest.mark.tensorflow
def test_all_files_of_a_result_are_replaced_as_a_whole(tmp_path: Path) -> None:
    result = adnn.search(make_objective(), max_trial=1, confirm=0)
    contract = Contract({"objective": {}}, {"kernel": np.zeros(1000)})
    writers: dict[str, Callable[[Path], None]] = {
        "report.html": result.report,
        "c.json": contract.save,
    }
    for name, write in writers.items():
        write(file := tmp_path / name)
        before = file.read_bytes(), names(tmp_path)
        with full_disk(), pytest.raises(NotWrittenError) as refusal:
            write(file)
        written = str(tmp_path / ("c." if name == "c.json" else name))
        assert str(refusal.value).startswith(f"'{written}")
        assert "cannot be written (File too large)" in str(refusal.value)
        assert (file.read_bytes(), names(tmp_path)) == before
