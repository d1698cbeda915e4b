"""The simulator on a port: a small HTTP/1.1 server of its own.

anyio knows the sockets and `telecmi_async.simulator.connection` the protocol; no web framework
is needed to answer two paths.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute

from telecmi_async._internal.tasks import background_task_group
from telecmi_async.errors import ConfigurationError
from telecmi_async.simulator.answer import refused
from telecmi_async.simulator.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.abc import ByteStream, Listener

    from telecmi_async.simulator.connection import Answerer, ConnectionLimits, Said
    from telecmi_async.simulator.simulator import Simulator

__all__ = ["HttpServer", "open_listener", "serve"]

_LARGEST_PORT = 65_535


class HttpServer:
    """Serves the connections of a listener until it is told to stop.

    Args:
        answerer: Who answers.
        limits: What clients are held to.
        refuse: What is said to what is no request: a function of the status and of a message.
    """

    def __init__(
        self,
        answerer: Answerer,
        limits: ConnectionLimits,
        *,
        refuse: Callable[[int, str], Said] = refused,
    ) -> None:
        self._answerer = answerer
        self._limits = limits
        self._refuse = refuse
        self._accepting = anyio.CancelScope()
        self._connections: set[Connection] = set()
        self._empty = anyio.Event()
        self._stopping = False

    async def accept(self, listener: Listener[ByteStream]) -> None:
        """Serve every connection of ``listener`` until `stop`."""
        async with anyio.create_task_group() as tasks:
            with self._accepting:
                await listener.serve(self.handle, tasks)

    async def handle(self, stream: ByteStream) -> None:
        """Serve one connection to its end."""
        connection = Connection(stream, self._answerer, self._limits, self._refuse)
        self._connections.add(connection)
        try:
            if not self._stopping:
                await connection.run()
        finally:
            self._connections.discard(connection)
            if self._stopping and not self._connections:
                self._empty.set()
            await anyio.aclose_forcefully(stream)

    async def stop(self) -> None:
        """Accept nothing more, and give what is under way ``limits.grace`` seconds to end."""
        self._stopping = True
        self._accepting.cancel()
        for connection in self._connections:
            connection.stop()
        with anyio.move_on_after(self._limits.grace, shield=True):
            if self._connections:
                await self._empty.wait()


@asynccontextmanager
async def serve(
    simulator: Simulator, *, host: str, port: int, limits: ConnectionLimits
) -> AsyncGenerator[str]:
    """Serve a simulator on a port for as long as the context is open.

    Args:
        simulator: Who answers.
        host: The address to listen on.
        port: The port, or 0 for any free one.
        limits: What clients are held to.

    Returns:
        The ``base_url`` under which it is reached.

    Raises:
        ConfigurationError: Nothing can listen there.
    """
    listener = await open_listener(host, port)
    async with listener, simulator.running(), background_task_group() as tasks:
        server = HttpServer(simulator, limits)
        tasks.start_soon(server.accept, listener)
        try:
            yield _base_url(host, listener.extra(SocketAttribute.local_port))  # noqa: S610  # anyio's, no database
        finally:
            await server.stop()


async def open_listener(host: str, port: int) -> Listener[ByteStream]:
    """Return a listener on a port.

    Raises:
        ConfigurationError: Nothing can listen there.
    """
    if not 0 <= port <= _LARGEST_PORT:
        raise ConfigurationError(f"port must be from 0 to {_LARGEST_PORT}, not {port}")
    try:
        return await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another port, "
            "or 0 for any free one"
        ) from None


def _base_url(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/v2"
