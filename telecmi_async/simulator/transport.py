"""The simulator within the process: an httpx transport that opens no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import httpx

from telecmi_async.simulator.fault import Breach

if TYPE_CHECKING:
    from telecmi_async.simulator.simulator import Simulator

__all__ = ["SimulatorTransport"]


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
            match decision.breach:
                case Breach.RESET:
                    raise httpx.ReadError("the simulator reset the connection", request=request)
                case Breach.CLOSE:
                    raise httpx.RemoteProtocolError(
                        "the simulator closed the connection without a reply", request=request
                    )
                case Breach.CUT:
                    raise httpx.RemoteProtocolError(
                        "the simulator closed the connection amid its reply", request=request
                    )
                case Breach.DRIP:
                    await anyio.sleep(len(decision.answer.body))
                case None:
                    pass
        finally:
            self._simulator.leave()
        answer = decision.answer
        return httpx.Response(
            answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body)
        )
