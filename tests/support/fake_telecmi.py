"""A scripted TeleCMI as an httpx transport, for tests of a service."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import httpx

from telecmi_async import CallService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Answer: TypeAlias = httpx.Response | Exception
Script: TypeAlias = Callable[[int], Answer]

TO = 19170000001
FROM = 19170000000
FLOW = [{"action": "hangup"}]


def accepted(number: int = 0) -> httpx.Response:
    """Return TeleCMI's reply to an accepted call, as its pages show it."""
    request_id = f"{number:043d}"
    return httpx.Response(
        200,
        json={
            "data": {"status": "progress", "request_id": request_id},
            "status": "progress",
            "request_id": request_id,
            "code": 200,
        },
    )


def refused(code: int, **extra: Any) -> httpx.Response:
    """Return a refusal as TeleCMI words it."""
    headers = {"Retry-After": extra.pop("retry_after")} if "retry_after" in extra else {}
    return httpx.Response(code, json={"code": code, "msg": f"refused {code}"}, headers=headers)


def gateway(status: int = 502) -> httpx.Response:
    """Return a gateway's reply when the server behind it did not answer."""
    return httpx.Response(status, html="<html><h1>Bad Gateway</h1></html>")


def always(answer: Callable[[], Answer]) -> Script:
    """Return a script that gives the same reply every time."""
    return lambda _: answer()


def in_turn(*answers: Callable[[], Answer]) -> Script:
    """Return a script that gives replies one after another, and repeats the last one."""
    return lambda number: answers[min(number, len(answers) - 1)]()


# With one of these a script says that no connection was made, so that nothing was read.
_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class FakeTelecmi(httpx.AsyncBaseTransport):
    """Answers by script, ``delay`` seconds after a request arrived, and counts requests.

    An attempt to place a call that makes no connection is in `starts` and `urls`, and not in
    `requests`.
    """

    def __init__(self, script: Script = accepted, *, delay: float = 0.0) -> None:
        self.script = script
        self.delay = delay
        self.requests: list[dict[str, Any]] = []
        self.urls: list[str] = []
        self.starts: list[float] = []
        self.finished = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Count, wait, answer."""
        number = len(self.starts)
        self.urls.append(str(request.url))
        self.starts.append(anyio.current_time())
        places_a_call = request.url.path.endswith("pcmo_make_call")
        if not places_a_call:
            self.requests.append(json.loads(await request.aread()))
        answer = self.script(number)
        if places_a_call and not isinstance(answer, _NO_CONNECTION):
            self.requests.append(json.loads(await request.aread()))
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await anyio.sleep(self.delay)
        finally:
            self.in_flight -= 1
        self.finished += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        """Record that it was closed."""
        self.closed = True

    @asynccontextmanager
    async def service(self, **options: Any) -> AsyncIterator[CallService]:
        """Yield a service that uses this transport."""
        options = {"from_": FROM, "seed": 1} | options
        async with (
            httpx.AsyncClient(transport=self) as client,
            CallService(2222226, "a-secret", http_client=client, **options) as service,
        ):
            yield service
