"""Webhook server: a receiver on a port, for commands that receive events."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from anyio.abc import SocketAttribute
from attrs import frozen

from telecmi_async._internal.tasks import background_task_group
from telecmi_async.cli.account import secret_variable
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.http_request import Unreachable, send_request
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.receiver import new_token
from telecmi_async.simulator.connection import ConnectionLimits
from telecmi_async.simulator.server import HttpServer, open_listener

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from telecmi_async._internal.secrets import Secret
    from telecmi_async.cli.terminal import Terminal
    from telecmi_async.events.receiver import Receiver

__all__ = ["check_reachable", "serve_webhooks", "webhook_token"]

_PING: Final = b'{"type": "ping"}'


@frozen
class _Answer:
    """A receiver's reply in the form that a connection sends."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]


@frozen
class _Decision:
    """A reply that is sent at once."""

    answer: _Answer
    delay: float = 0.0
    breach: None = None


class _WebhookApp:
    """Passes a port's requests to a receiver."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def receive(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        at: float,
        local: bool,
    ) -> _Decision:
        """Take one request."""
        del at, local
        reply = await self._receiver.handle(method, path, headers, body)
        return _Decision(_answer(reply.status, reply.body, *reply.headers))

    def leave(self) -> None:
        """Do nothing: disconnections are not counted."""


def _answer(status: int, body: bytes, *headers: tuple[str, str]) -> _Answer:
    answered = list(headers)
    if status != 204:  # which has no body and no length
        answered.append(("Content-Length", str(len(body))))
    return _Answer(status, body, answered)


def _refused(status: int, _: str) -> _Answer:
    """Answer a malformed request without a body, as a receiver answers unknown senders."""
    return _answer(status, b"")


@asynccontextmanager
async def serve_webhooks(receiver: Receiver, *, host: str, port: int) -> AsyncGenerator[int]:
    """Serve a receiver on a port while the context is open; yields the port.

    Raises:
        ConfigurationError: The port cannot be opened.
    """
    async with (
        receiver,
        await open_listener(host, port) as listener,
        background_task_group() as tasks,
    ):
        server = HttpServer(_WebhookApp(receiver), ConnectionLimits(), refuse=_refused)
        tasks.start_soon(server.accept, listener)
        try:
            yield listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's, no database
        finally:
            await server.stop()


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
    before = receiver.counts.taken
    try:
        came = await anyio.to_thread.run_sync(
            partial(send_request, "POST", receiver.url(url), _PING)
        )
    except Unreachable as error:
        raise Stop(Exit.UNAVAILABLE, f"nobody answers at {url}: {error}") from None
    if receiver.counts.taken == before:
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
