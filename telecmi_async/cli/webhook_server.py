"""Webhook server: a receiver on a port of this machine."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from telecmi_async import Receiver
from telecmi_async.cli.account import secret_variable, token_hint
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.http_request import Unreachable, send_request
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.payload import MAX_PAYLOAD
from telecmi_async.http_server import ConnectionLimits, serve_http

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async._internal.secrets import Secret
    from telecmi_async.cli.options import WebhookOptions
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.http_server import HttpConnection, HttpRequest
    from telecmi_async.observer import Observer

_PING: Final = b'{"type": "ping"}'


@asynccontextmanager
async def serve_webhooks(receiver: Receiver, *, host: str, port: int) -> AsyncGenerator[int]:
    """Serve a receiver on a port while the context is open; yields the port.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """

    async def answer(request: HttpRequest, connection: HttpConnection) -> None:
        reply = await receiver.handle(
            request.method, request.target, request.headers, request.body
        )
        await connection.send(reply)

    # A receiver refuses a longer body, so none is kept in memory.
    limits = ConnectionLimits(body_bytes=MAX_PAYLOAD)
    async with receiver, serve_http(answer, host=host, port=port, limits=limits) as found:
        yield found


async def check_reachable(receiver: Receiver, token: Secret, url: str) -> None:
    """Check that a request to the public address, without token, arrives at a receiver here.

    Raises:
        ConfigurationError: The address is malformed, or contains the token.
        Stop: The request does not arrive.
    """
    if token.reveal() in url:
        raise ConfigurationError(
            "give --webhook-url without its token: all users of this machine see arguments"
        )
    before = receiver.counts.accepted
    try:
        came = await anyio.to_thread.run_sync(
            partial(send_request, "POST", receiver.url(url), _PING)
        )
    except Unreachable as error:
        raise Stop(Exit.UNAVAILABLE, f"no server answers at {url}: {error}") from None
    if receiver.counts.accepted == before:
        raise Stop(
            Exit.UNAVAILABLE,
            f"what is sent to {url} does not arrive here: it was answered with {came.status}",
        )


def webhook_token(terminal: Terminal) -> Secret:
    """Return the token at the end of the webhook address; require that it is set."""
    try:
        return secret_variable(terminal.environ, "TELECMI_WEBHOOK_TOKEN")
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}: {token_hint()}") from None


@asynccontextmanager
async def receiving(
    terminal: Terminal, webhooks: WebhookOptions, observer: Observer | None = None
) -> AsyncGenerator[Receiver | None]:
    """Receive webhooks as the options say, if they do; ``observer`` is the receiver's.

    A request to the public address without the token must arrive here.

    Raises:
        ConfigurationError: The token is missing, or the port cannot be opened.
        Stop: A request to the public address does not arrive here.
    """
    if not webhooks.receives:
        yield None
        return
    host, url = webhooks.webhook_host, webhooks.webhook_url
    token = webhook_token(terminal)
    receiver = Receiver(token.reveal(), observer=observer)
    async with serve_webhooks(receiver, host=host, port=webhooks.port) as port:
        terminal.say(f"Listening for webhooks on {host} port {port}.")
        if url is not None:
            await check_reachable(receiver, token, url)
            terminal.say(f"What is sent to {url} arrives here.")
        yield receiver
