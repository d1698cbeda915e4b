"""A program whose imports all fail once its service is open, as in a process without free files.

It prints, as JSON, what its calls came to and what was asked for.

    python import_blocker.py asyncio|trio inside|outside|own

The service is made inside or outside the event loop and has sources of events. With ``own`` it has
none, and sends over its own client, with TLS, to a server in a thread.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import sys
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import trio
from fake_store import record
from fake_telecmi import FROM, TO, accepted, gateway, refused
from fault_server import reply, tls_contexts
from webhook_posts import TOKEN, post

from telecmi_async import (
    CallService,
    CdrPoller,
    Hangup,
    InvalidCall,
    Play,
    Receiver,
    RetryPolicy,
    TelecmiError,
)
from telecmi_async._internal.telecmi import BASE_URL

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

#: By a number's last digit.
ANSWERS: dict[int, Callable[[], httpx.Response | Exception]] = {
    1: accepted,
    2: lambda: refused(502),
    3: gateway,
    4: lambda: refused(420),
    5: lambda: refused(429, retry_after="Mon, 23 Nov 2020 12:00:30 GMT"),
    6: lambda: httpx.ReadTimeout(""),
    7: lambda: httpx.ConnectError(""),
    8: lambda: httpx.Response(200, content=b"\xff{"),
    0: lambda: httpx.Response(200, content=accepted().text.encode("utf-16")),
    9: lambda: httpx.Response(200, content=b"\0", headers={"Content-Encoding": "gzip"}),
}
EVERY_ACTION: list[dict[str, object]] = [
    {"action": "play", "file_name": "a.wav"},
    {"action": "bridge", "connect": [{"type": "pstn", "number": TO}]},
    {"action": "connect", "call": [{"type": "sip", "user": "anna"}]},
    {"action": "input", "action_url": "https://example.com/"},
    {"action": "play_get_input", "action_url": "https://example.com/", "file_name": "a.wav"},
    {"action": "record"},
    {"action": "speak", "text": "Hello"},
    {"action": "stream", "ws_url": "wss://example.com/"},
    {"action": "hangup"},
]


class Blocker:
    """Lets every import fail, and notes its name."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, *_: object) -> None:
        """Fail as Python does where no file can be opened."""
        self.asked.append(name)
        raise OSError(errno.EMFILE, "Too many open files")


def answer(request: httpx.Request) -> httpx.Response:
    """Answer a call by its number, and a look-up with nothing."""
    body = json.loads(request.content)
    if "to" not in body:
        return refused(404)
    answer = ANSWERS[body["to"] % 10]()
    if isinstance(answer, Exception):
        raise answer
    return answer


class Line(httpx.MockTransport):
    """The line to TeleCMI; while it is cut, a request is not even read."""

    cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("")
        return await super().handle_async_request(request)


LINE = Line(answer)


def make_service(receiver: Receiver) -> CallService:
    """Make a service whose requests are answered here."""
    return CallService(
        1,
        "a-secret",
        from_=FROM,
        base_url=BASE_URL,
        http_client=httpx.AsyncClient(transport=LINE),
        retry=RetryPolicy(attempts=3, wait_initial=0.001),
        events=[receiver, CdrPoller(first=0.001)],
    )


async def use(service: CallService, receiver: Receiver) -> dict[str, Any]:
    """Use most of what a service can do, and return what came of it."""
    found: dict[str, Any] = {}
    for last in ANSWERS:
        LINE.cut = last == 7
        handle = service.make_call(to=FROM + last, pcmo=EVERY_ACTION)
        try:
            await handle
        except TelecmiError as error:
            found[str(last)] = [type(error).__name__, len(error.attempts)]
        else:
            found[str(last)] = [str(handle.status), len(handle.attempts)]
    LINE.cut = False
    call = await service.make_call(to=TO, pcmo=[Play("a.wav"), Hangup()])
    await post(receiver, record(call.request_id))
    found["answered"] = await call.answered(timeout=5)
    try:
        service.make_call(to=TO, pcmo=[{"action": "hangupp"}])
    except InvalidCall as error:
        found["spelling"] = str(error)
    rows = [{"to": FROM + last, "pcmo": EVERY_ACTION} for last in (1, 4, 7)]
    async with service.make_calls(rows) as calls:
        found["stream"] = sorted([str(row.status) async for row in calls])
    try:
        await service.channels()
    except TelecmiError as error:
        found["channels"] = type(error).__name__
    queued = service.make_call(to=TO, pcmo=EVERY_ACTION)
    queued.cancel()
    found["cancelled"] = str(queued.status)
    return found


def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Accept every call of one connection after another; neither asyncio nor anyio is used."""
    while True:
        sock, _ = listener.accept()
        with context.wrap_socket(sock, server_side=True) as tls:
            while tls.recv(1 << 16):  # a request is written at once
                tls.sendall(reply())


def make_own_service() -> CallService:
    """Make a service without events, whose own client sends to a server in a thread."""
    server, client = tls_contexts()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, server), daemon=True).start()
    return CallService(
        1,
        "a-secret",
        from_=FROM,
        base_url=f"https://localhost:{listener.getsockname()[1]}/v2",
        ssl_context=client,
    )


async def use_own(service: CallService) -> dict[str, Any]:
    """Use what a service without events can do, and return what came of it."""
    call = await service.make_call(to=TO, pcmo=EVERY_ACTION, extra_params={"order": "42"})
    found: dict[str, Any] = {"placed": str(call.status), "stage": str(call.result.stage)}
    async with service.make_calls([{"to": TO, "pcmo": EVERY_ACTION}]) as calls:
        found["stream"] = [str(row.status) async for row in calls]
    found["hangup"] = bool(await service.hangup("leg", region="india"))
    for name, wait in (("answered", call.answered), ("channels", service.channels)):
        try:
            await wait()
        except TelecmiError as error:
            found[name] = type(error).__name__
    return found


async def main(receiver: Receiver | None, outside: CallService | None) -> None:
    """Open a service that was made ``outside`` the event loop, or make one here, and use it."""
    blocker = Blocker()
    async with AsyncExitStack() as stack:
        if receiver is not None:
            await stack.enter_async_context(receiver)
            service = outside or make_service(receiver)
        else:
            service = make_own_service()
        await stack.enter_async_context(service)
        sys.meta_path.insert(0, blocker)
        found = await (use_own(service) if receiver is None else use(service, receiver))
    sys.stdout.write(json.dumps(found | {"imported": blocker.asked}))


if __name__ == "__main__":
    backend, where = sys.argv[1:]
    receiver = None if where == "own" else Receiver(TOKEN)
    outside = make_service(receiver) if receiver is not None and where == "outside" else None
    if backend == "trio":
        trio.run(main, receiver, outside)
    else:
        asyncio.run(main(receiver, outside))
