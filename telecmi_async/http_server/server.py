"""HTTP server: accepts connections on a port and stops them gracefully."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute

from telecmi_async._internal.tasks import background_task_group
from telecmi_async.errors import ConfigurationError
from telecmi_async.http_server.connection import ConnectionLimits, HttpConnection
from telecmi_async.http_server.messages import HttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.abc import ByteStream, Listener

    from telecmi_async.http_server.connection import HttpApplication

_LARGEST_PORT = 65_535


def _bare_refusal(status: int, _: str) -> HttpResponse:
    return HttpResponse(status)


class HttpServer:
    """Serves the connections of a listener until it is stopped.

    Args:
        application: Answers requests.
        limits: The limits for clients.
        refuse: Returns the response to an unreadable request, from a status and a reason.
    """

    def __init__(
        self,
        application: HttpApplication,
        limits: ConnectionLimits,
        *,
        refuse: Callable[[int, str], HttpResponse] = _bare_refusal,
    ) -> None:
        self._application = application
        self._limits = limits
        self._refuse = refuse
        self._accepting = anyio.CancelScope()
        self._connections: set[HttpConnection] = set()
        self._empty = anyio.Event()
        self._stopping = False

    async def accept(self, listener: Listener[ByteStream]) -> None:
        """Serve every connection of ``listener`` until `stop`."""
        async with anyio.create_task_group() as tasks:
            with self._accepting:
                await listener.serve(self.handle, tasks)

    async def handle(self, stream: ByteStream) -> None:
        """Serve one connection to its end."""
        connection = HttpConnection(stream, self._application, self._limits, self._refuse)
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
        """Accept nothing more, and give requests under way ``limits.grace`` seconds to end."""
        self._stopping = True
        self._accepting.cancel()
        for connection in self._connections:
            connection.stop()
        with anyio.move_on_after(self._limits.grace, shield=True):
            if self._connections:
                await self._empty.wait()


@asynccontextmanager
async def serve_http(
    application: HttpApplication,
    *,
    host: str,
    port: int,
    limits: ConnectionLimits | None = None,
    refuse: Callable[[int, str], HttpResponse] = _bare_refusal,
) -> AsyncGenerator[int]:
    """Serve an application on a port for as long as the context is open; give the port.

    The port 0 stands for any free one. The other arguments are explained at `HttpServer`.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    async with await _listen(host, port) as listener, background_task_group() as tasks:
        server = HttpServer(application, limits or ConnectionLimits(), refuse=refuse)
        tasks.start_soon(server.accept, listener)
        try:
            yield listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's, no database
        finally:
            await server.stop()


async def _listen(host: str, port: int) -> Listener[ByteStream]:
    if not 0 <= port <= _LARGEST_PORT:
        raise ConfigurationError(f"port must be from 0 to {_LARGEST_PORT}, not {port}")
    try:
        return await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another port, "
            "or 0 for any free one"
        ) from None
