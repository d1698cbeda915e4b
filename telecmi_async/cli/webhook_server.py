"""Webhook server: a receiver on a port, for commands that receive events."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from telecmi_async.cli.account import secret_variable
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.http_request import Unreachable, send_request
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.receiver import new_token
from telecmi_async.http_server import serve_http

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async._internal.secrets import Secret
    from telecmi_async.cli.terminal import Terminal
    from telecmi_async.events.receiver import Receiver
    from telecmi_async.http_server import HttpConnection, HttpRequest

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

    async with receiver, serve_http(answer, host=host, port=port) as found:
        yield found


async def check_reachable(receiver: Receiver, token: Secret, url: str) -> None:
    """Check that a request to the public address arrives at a receiver here.

    Args:
        receiver: The receiver; it is listening.
        token: Its token.
        url: The address, without the token.

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
        raise Stop(Exit.UNAVAILABLE, f"nobody answers at {url}: {error}") from None
    if receiver.counts.accepted == before:
        raise Stop(
            Exit.UNAVAILABLE,
            f"what is sent to {url} does not arrive here: it was answered with {came.status}",
        )


def webhook_token(terminal: Terminal) -> Secret:
    """Return the token at the end of the webhook address.

    Raises:
        ConfigurationError: None is set; the message suggests a new one.
    """
    try:
        return secret_variable(terminal.environ, "TELECMI_WEBHOOK_TOKEN")
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error}: the address of webhooks must end in a word that nobody else knows, such "
            f"as {new_token()}"
        ) from None
