"""A temporary PostgreSQL server for tests and demonstrations, from the installed package."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

USER = "postgres"
# A password with characters that a URL must escape.
PASSWORD = "p@ss:word/1"  # noqa: S105 - of a server that lives for minutes


def find_binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs; None if PostgreSQL is not installed."""
    on_path = shutil.which("pg_ctl")
    if on_path is not None:
        return Path(on_path).parent
    # Debian has a folder for each version, and the folders are not on the path.
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    return found[-1] if found else None


class Server:
    """A server with an empty database, for this host only; its context removes it at the end.

    The data survive if a process dies, but not if the machine loses power.
    """

    def __init__(self) -> None:
        binaries = find_binaries()
        if binaries is None:
            raise FileNotFoundError(
                "PostgreSQL is not installed; on Debian: apt-get install postgresql."
            )
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="adnn-postgresql-"))
        self._data = self._folder / "data"
        # The server refuses to run as root, so root runs it as another user.
        self._as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
        password_file = self._folder / "password"
        password_file.write_text(PASSWORD)
        if self._as_user:
            for path in (self._folder, password_file):
                shutil.chown(path, USER)
        self._call(
            "initdb",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--no-sync",
        )
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        """The database's URL, with its password."""
        password = PASSWORD.replace("@", "%40").replace(":", "%3A").replace("/", "%2F")
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = (
            f"-p {self._port} -c listen_addresses=127.0.0.1 -c fsync=off "
            f"-c unix_socket_directories={self._folder}"
        )
        self._call("pg_ctl", "--wait", "-o", options, "-l", str(self._folder / "log"), "start")

    def stop(self) -> None:
        """Stop the server at once, in the middle of its work, as in a crash."""
        self._call("pg_ctl", "--wait", "--mode=immediate", "stop")

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._as_user, self._binaries / program, f"--pgdata={self._data}", *arguments],
            check=True,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
