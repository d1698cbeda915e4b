"""HTTP server: accepts connections on a port and stops them gracefully.

No client can stop it or use up the process's file descriptors: the number of connections is
limited, and an idle one is closed to make room for a new one.
"""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, cast

import anyio
from anyio.abc import SocketAttribute

from telecmi_async._internal.tasks import background_task_group
from telecmi_async.errors import ConfigurationError
from telecmi_async.http_server.connection import ConnectionLimits, HttpConnection
from telecmi_async.http_server.messages import HttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from anyio.abc import ByteStream, Listener, SocketListener, TaskGroup

    from telecmi_async.http_server.connection import HttpApplication

logger = logging.getLogger("telecmi_async")

_LARGEST_PORT = 65_535
# Seconds until the next attempt when no connection can be accepted, or none has to wait.
_PAUSE: Final = 0.1
# Seconds between two warnings of the same kind.
_QUIET: Final = 600.0


def _bare_refusal(status: int, _: str) -> HttpResponse:
    return HttpResponse(status)


class HttpServer:
    """Serves the connections of a listener until it is stopped.

    ``refuse`` returns the response to an unreadable request, from a status and a reason.
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
        # The oldest first.
        self._connections: dict[HttpConnection, None] = {}
        # When a warning may be logged again, by its words.
        self._quiet: dict[str, float] = {}
        self._empty = anyio.Event()
        self._stopping = False

    async def accept(self, listener: Listener[ByteStream]) -> None:
        """Serve every connection of ``listener`` until `stop`."""
        # An address may have several sockets, one for each version of IP.
        sockets = getattr(listener, "listeners", [listener])
        async with anyio.create_task_group() as tasks:
            with self._accepting:
                async with anyio.create_task_group() as accepting:
                    for each in cast("Sequence[SocketListener]", sockets):
                        accepting.start_soon(self._accept, each, tasks)

    async def _accept(self, listener: SocketListener, tasks: TaskGroup) -> None:
        """Accept one connection after another; an error of one does not stop the others."""
        while True:
            try:
                stream = await listener.accept()
            except (OSError, anyio.BrokenResourceError) as error:  # the latter is trio's
                cause = error if isinstance(error, OSError) else error.__cause__
                why = getattr(cause, "strerror", None) or type(error).__name__
                self._warn("connections cannot be accepted now, and wait: %s", why)
                self._make_room()
                await anyio.sleep(_PAUSE)
                continue
            tasks.start_soon(self._serve, self._admit(stream))
            while len(self._connections) > self._limits.connections:
                self._warn(
                    "%d connections are open, the most there may be: the one that waits longest "
                    "is closed for each new one",
                    self._limits.connections,
                )
                if not self._make_room():
                    await anyio.sleep(_PAUSE)

    def _make_room(self) -> bool:
        """Close the connection that waits longest for a request; return False if none does.

        Those that never sent a whole request come first. The newest had no time to.
        """
        waiting = [each for each in list(self._connections)[:-1] if not each.answering]
        victim = next((each for each in waiting if not each.served), None)
        victim = victim or next(iter(waiting), None)
        if victim is None:
            return False
        del self._connections[victim]
        victim.drop()
        return True

    def _warn(self, words: str, *values: object) -> None:
        """Log a warning, but not one that was logged a moment ago."""
        now = anyio.current_time()
        if now >= self._quiet.get(words, -math.inf):
            self._quiet[words] = now + _QUIET
            logger.warning(words, *values)

    async def handle(self, stream: ByteStream) -> None:
        """Serve one connection to its end."""
        await self._serve(self._admit(stream))

    def _admit(self, stream: ByteStream) -> HttpConnection:
        connection = HttpConnection(stream, self._application, self._limits, self._refuse)
        self._connections[connection] = None
        return connection

    async def _serve(self, connection: HttpConnection) -> None:
        try:
            if not self._stopping:
                await connection.run()
        finally:
            self._connections.pop(connection, None)
            if self._stopping and not self._connections:
                self._empty.set()
            await anyio.aclose_forcefully(connection.stream)

    async def stop(self) -> None:
        """Accept nothing more, and give requests under way ``limits.grace`` seconds to end."""
        self._stopping = True
        self._accepting.cancel()
        for connection in tuple(self._connections):
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
