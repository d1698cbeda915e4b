"""A PgBouncer in front of a PostgreSQL server for tests: the program that Debian packages."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg
from pg_server import NOBODY, WATCHED

if TYPE_CHECKING:
    from pg_server import PgServer

__all__ = ["PgBouncer"]

CONFIG = """
[databases]
* = host=127.0.0.1 port={server.port} user=postgres password='{server.password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_round_robin = {turns}
# By default it waits for 15 seconds before it tries a server again that was restarted.
server_login_retry = 1
ignore_startup_parameters = extra_float_digits
"""


class PgBouncer:
    """Starts a pooler with a port of its own, and kills it at the end.

    Args:
        server: The server behind it.
        mode: ``session``, ``transaction`` or ``statement``.
        size: The number of connections to the server.
        turns: Whether each transaction takes another one of them.
    """

    def __init__(
        self, server: PgServer, *, mode: str = "transaction", size: int = 3, turns: bool = True
    ) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, "PgBouncer is missing: apt-get install pgbouncer"
        self._program = program
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._config = CONFIG.format(
            server=server, port=self.port, mode=mode, size=size, turns=int(turns)
        )
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the URL for a client."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def client(self) -> psycopg.Connection[tuple[object, ...]]:
        """Return a plain client, as another program of the same pooler."""
        return psycopg.connect(self.url(), autocommit=True, prepare_threshold=None)

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        user: dict[str, Any] = {"user": NOBODY} if os.geteuid() == 0 else {}
        self._process = subprocess.Popen(
            ["sh", "-c", WATCHED.replace("QUIT", "KILL"), "sh", self._program, "-q", str(self._folder / "ini")],
            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, **user,
        )  # fmt: skip
        until = time.monotonic() + 20
        while True:
            try:
                self.client().close()
            except psycopg.OperationalError:
                assert time.monotonic() < until
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """Kill it, as a crash would."""
        assert self._process is not None
        self._process.communicate()

    def __enter__(self) -> Self:
        # Not in pytest's folders, which the user `nobody` cannot read.
        self._folder = Path(tempfile.mkdtemp(prefix="tcm-pgb-"))
        self._folder.chmod(0o755)
        (self._folder / "ini").write_text(self._config)
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)
