"""The simulator within the process: an httpx transport that opens no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import httpx

from telecmi_async.simulator.fault import Breach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.simulator.simulator import Simulator

__all__ = ["SimulatorTransport"]


_BREAKS: Final[Mapping[Breach, tuple[type[httpx.TransportError], str]]] = {
    Breach.RESET: (httpx.ReadError, "the simulator reset the connection"),
    Breach.CLOSE: (httpx.RemoteProtocolError, "the simulator closed without a reply"),
    Breach.CUT: (httpx.RemoteProtocolError, "the simulator closed amid its reply"),
}


class SimulatorTransport(httpx.AsyncBaseTransport):
    """Hands every request to a simulator, whatever host it is for.

    The latency passes on the event loop's own clock, so that it costs nothing on a virtual
    one. A read time-out that is shorter ends the request as it would over a network: the
    call was placed, and nobody learnt of it. A connection that breaks raises what it would
    raise.

    Args:
        simulator: Who answers.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        body = await request.aread()
        decision = self._simulator.receive(
            request.method,
            request.url.path,
            request.headers,
            body,
            at=anyio.current_time(),
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
            answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body)
        )
