"""The simulator as a bare ASGI application, to be mounted, or served by any ASGI server."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async.events.receiver.asgi import read_body, send_reply
from telecmi_async.simulator.connection import is_loopback
from telecmi_async.simulator.fault import Breach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telecmi_async.events.receiver.asgi import ASGIReceive, ASGIScope, ASGISend
    from telecmi_async.simulator.simulator import Simulator

__all__ = ["SimulatorApp"]

_LARGEST: Final = 1_048_576


class SimulatorApp:
    """Serves one simulator.

    Time passes in its calls while the server's lifespan lasts. A framework that mounts it has a
    lifespan of its own: there, open `Simulator.running`. ASGI knows no way to reset a
    connection: where one should break, `ConnectionError` is raised, and a server closes it or
    answers 500.

    Args:
        simulator: Who answers.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Serve one request, or the lifespan of a server that runs nothing else."""
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case _:
                await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        body = await read_body(receive, most=_LARGEST)
        if body is None or len(body) > _LARGEST:
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        query = scope.get("query_string", b"").decode("latin-1")
        decision = self._simulator.receive(
            scope["method"],
            f"{path}?{query}" if query else path,
            headers,
            bytes(body),
            at=anyio.current_time(),
            local=_is_local(scope.get("client")),
        )
        try:
            await anyio.sleep(decision.delay)
            if decision.breach not in {None, Breach.DRIP}:
                raise ConnectionError(f"the simulator breaks the connection: {decision.breach}")
            if decision.breach is Breach.DRIP:
                await anyio.sleep(len(decision.answer.body))
            answer = decision.answer
            await send_reply(send, answer.status, answer.headers, answer.body)
        finally:
            self._simulator.leave()

    async def _lifespan(self, receive: ASGIReceive, send: ASGISend) -> None:
        async with AsyncExitStack() as stack:
            while True:
                message = await receive()
                if message["type"] == "lifespan.startup":
                    await stack.enter_async_context(self._simulator.running())
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return


def _is_local(client: Sequence[object] | None) -> bool:
    """Tell whether a client is on this machine; one without an address has a local socket."""
    return client is None or is_loopback(str(client[0]))
