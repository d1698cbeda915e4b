"""Access logs of web servers: no token, number or value is in them, without any setting."""

from __future__ import annotations

import io
import json
import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
import uvicorn
from litestar import Litestar, asgi
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount
from webhook_posts import DIGITS, PATH, TOKEN, Request, part

from telecmi_async import ConfigurationError, Flow, Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telecmi_async.events import DigitsEvent

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs_stay_as_they_are")]

CALLER = "919876543210"
BODY = json.dumps(DIGITS).encode()


def webhooks() -> tuple[Receiver, list[DigitsEvent]]:
    """Return a receiver, and what it was asked."""
    receiver = Receiver(TOKEN, secret="a-secret")
    asked: list[DigitsEvent] = []

    @receiver.on_input("menu")
    async def menu(event: DigitsEvent) -> Flow:
        asked.append(event)
        return Flow().hangup()

    return receiver, asked


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve an application by uvicorn as its command does, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, lifespan="off", log_level="trace")
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server._serve, [listener])
            while not server.started:  # noqa: ASYNC110  # uvicorn has no event for that
                await anyio.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


def bare(receiver: Receiver) -> Any:
    """Return the receiver's own application."""
    return receiver.asgi


def starlette(receiver: Receiver) -> Any:
    """Mount a receiver in Starlette, with a middleware that logs."""

    class Timing(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            reply = await call_next(request)
            logging.getLogger("uvicorn.error").warning("took 1 ms: %s", request.url)
            return reply

    return Starlette(
        routes=[Mount("/telecmi", app=receiver.asgi)], middleware=[Middleware(Timing)]
    )


def litestar(receiver: Receiver) -> Any:
    """Mount a receiver in Litestar, which hands on a copy of the scope."""
    return Litestar(
        route_handlers=[asgi("/telecmi", is_mount=True, copy_scope=True)(receiver.asgi)]
    )


@pytest.mark.real_clock
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("mount", [bare, starlette, litestar])
async def test_uvicorn_logs_no_token(mount: Any, anyio_backend: object) -> None:
    """Uvicorn's access log and its trace show neither token nor number, however mounted."""
    receiver, asked = webhooks()
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    async with receiver, served(mount(receiver)) as address, httpx.AsyncClient() as client:
        for name in ("uvicorn", "uvicorn.access", "uvicorn.asgi"):
            logging.getLogger(name).addHandler(handler)
        url = receiver.url(f"{address}/telecmi", "menu", caller=CALLER)
        spelt = f"{address}/telecmi/menu/{TOKEN.replace('~', '%7E')}"
        statuses = [
            (await client.post(each, content=BODY)).status_code
            for each in (url, spelt, f"{spelt}/more", f"{address}/telecmi/{TOKEN}x")
        ]

    assert statuses == [200, 200, 404, 404]
    assert dict(asked[0].query) == {"caller": CALLER}
    lines = text.getvalue()
    assert lines.count('"POST /') >= 4
    for secret in (TOKEN, TOKEN.replace("~", "%7E"), CALLER, CALLER[2:]):
        assert secret not in lines


async def test_what_a_server_logs_of_a_request_has_no_token() -> None:
    """Path, raw path and query are replaced in the scope that servers log from."""
    receiver, asked = webhooks()
    address = receiver.url("https://example.com/telecmi", "menu", caller=CALLER)
    path, _, query = address.removeprefix("https://example.com").partition("?")
    request = Request(part(BODY), path=path, query=query.encode())
    request.scope["raw_path"] = path.encode()
    status, _ = await request.to(receiver.asgi)

    assert status == 200
    assert dict(asked[0].query) == {"caller": CALLER}
    assert request.scope["path"] == "/telecmi/menu/hidden-token"
    assert request.scope["raw_path"] == b"/telecmi/menu/hidden-token"
    assert request.scope["query_string"] == b""


@pytest.mark.parametrize("path", [f"{PATH}/", f"/{TOKEN}", TOKEN])
async def test_the_token_is_replaced_wherever_it_is_the_last_part(path: str) -> None:
    """A trailing slash, or no path before the token, changes nothing."""
    request = Request(part(BODY), path=path)
    await request.to(Receiver(TOKEN).asgi)

    assert request.scope["path"].endswith("hidden-token")
    assert TOKEN not in str(request.scope)
    assert "raw_path" not in request.scope


async def test_another_path_stays_as_it_is() -> None:
    """A request without a valid token is logged as it came."""
    request = Request(part(BODY), path="/telecmi/wrong", query=b"a=1")
    await request.to(Receiver(TOKEN).asgi)

    assert (request.scope["path"], request.scope["query_string"]) == ("/telecmi/wrong", b"a=1")


@pytest.mark.parametrize("attribute", ["taskName", "threadName", "processName"])
async def test_a_name_that_a_program_takes_from_a_request_has_no_token(attribute: str) -> None:
    """Tasks, threads and processes may be named after a request, and formatters show the names."""
    receiver, _ = webhooks()
    record = logging.LogRecord("uvicorn.error", logging.INFO, "a.py", 1, "done", None, None)
    setattr(record, attribute, f"POST {receiver.url('https://a.example', 'menu')}")

    for each in logging.getLogger("uvicorn.error").filters:
        assert each.filter(record)  # type: ignore[union-attr]  # the filter is an object

    assert TOKEN not in getattr(record, attribute)
    assert "POST https://a.example" in getattr(record, attribute)


async def test_what_is_no_name_of_a_logger_is_refused() -> None:
    """``hide_in`` names the argument, and raises no error of the logging module."""
    wrong: Any = 7
    receiver, _ = webhooks()

    with pytest.raises(ConfigurationError, match="names of loggers, each a str, not int"):
        receiver.hide_in(wrong)
