"""Fronts of the simulator: an httpx transport, and a port.

Each passes requests to `RequestHandler.receive`, waits for the delay of the decision, and sends
the reply, or breaks the connection if a fault requires it.
"""

from __future__ import annotations

import socket
import struct
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

import anyio
import httpx
from anyio.abc import SocketAttribute

from telecmi_async.simulator.fault import Breach

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from telecmi_async.http_server import HttpConnection, HttpRequest, HttpResponse
    from telecmi_async.service.service import CallService
    from telecmi_async.simulator.replies import Decision

_BREAKS: Final[Mapping[Breach, tuple[type[httpx.TransportError], str]]] = {
    Breach.RESET: (httpx.ReadError, "the simulator reset the connection"),
    Breach.CLOSE: (httpx.RemoteProtocolError, "the simulator closed without a reply"),
    Breach.CUT: (httpx.RemoteProtocolError, "the simulator closed amid its reply"),
}
# The pause between two bytes of a dripping answer.
_DRIP_SECONDS: Final = 1.0


class RequestHandler(Protocol):
    """Decides about requests; `Simulator` does."""

    def receive(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        at: float,
        local: bool = True,
    ) -> Decision:
        """Return the decision about one request; the caller must call `leave` once."""
        ...

    def leave(self) -> None:
        """Note that a request that was received is no longer under way."""
        ...


class SimulatorTransport(httpx.AsyncBaseTransport):
    """Hands every request of an httpx client to a simulator, for any host.

    The latency passes on the event loop's own clock, so that it costs nothing on a virtual
    one. A read time-out that is shorter ends the request as it would over a network: the
    call was placed, and the caller never learns its id. A connection that breaks raises what
    it would raise over a network. Requests are handed over inside a context of ``placing``.
    ``context`` lives as long as the transport does.
    """

    def __init__(
        self,
        simulator: RequestHandler,
        placing: Callable[[], AbstractContextManager[object]] = nullcontext,
        context: object = None,
    ) -> None:
        self._simulator = simulator
        self._placing = placing
        self._context = context

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        body = await request.aread()
        with self._placing():
            decision = self._simulator.receive(
                request.method, request.url.path, request.headers, body, at=anyio.current_time()
            )
        timeout: float | None = request.extensions.get("timeout", {}).get("read")
        try:
            if timeout is not None and timeout < decision.delay:
                await anyio.sleep(timeout)
                raise httpx.ReadTimeout("the simulator was slower", request=request)
            await anyio.sleep(decision.delay)
            if decision.breach is Breach.DRIP:
                await anyio.sleep(len(decision.answer.body))
            elif decision.breach is not None:
                kind, message = _BREAKS[decision.breach]
                raise kind(message, request=request)
        finally:
            self._simulator.leave()
        answer = decision.answer
        return httpx.Response(
            answer.status, headers=answer.all_headers(), stream=httpx.ByteStream(answer.body)
        )


class ServiceContext:
    """Opens a service of a simulator, and closes it.

    The service keeps it: else one that is entered by hand would be closed at once.
    """

    opened: AbstractAsyncContextManager[CallService]

    async def __aenter__(self) -> CallService:
        return await self.opened.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self.opened.__aexit__(kind, error, trace)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{name!r} needs a service that is open: async with simulator.service(…) as service, "
            "or service = await stack.enter_async_context(simulator.service(…)) with an "
            "AsyncExitStack"
        )


async def answer_on_port(
    simulator: RequestHandler, request: HttpRequest, connection: HttpConnection
) -> None:
    """Answer one request on a port, and break the connection where a fault demands it."""
    decision = simulator.receive(
        request.method,
        request.target,
        request.headers,
        request.body,
        at=anyio.current_time(),
        local=request.local,
    )
    try:
        await anyio.sleep(decision.delay)
        if decision.breach is None:
            await connection.send(decision.answer)
        else:
            await _break(connection, decision.answer, decision.breach)
    finally:
        simulator.leave()


async def _break(connection: HttpConnection, answer: HttpResponse, breach: Breach) -> None:
    """Send the part of a reply that arrives before the connection breaks; returning closes it."""
    connection.stop()
    if breach is Breach.RESET:
        # A socket that is closed with this set is reset.
        raw = connection.stream.extra(SocketAttribute.raw_socket)  # noqa: S610  # anyio's, no database
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if breach in {Breach.RESET, Breach.CLOSE}:
        return
    await connection.send_head(answer)
    if breach is Breach.CUT:
        await connection.send_data(answer.body[: len(answer.body) // 2])
        return
    for byte in answer.body:
        await connection.send_data(bytes([byte]))
        await anyio.sleep(_DRIP_SECONDS)
    await connection.finish()
