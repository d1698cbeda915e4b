"""A receiver of webhooks on a port, for commands that hear of calls."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute
from attrs import frozen

from telecmi_async._eventloop import OwnError
from telecmi_async.cli.account import secret_variable
from telecmi_async.errors import ConfigurationError
from telecmi_async.receiver import new_token
from telecmi_async.simulator.connection import Limits
from telecmi_async.simulator.server import Server, listen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from telecmi_async.cli.terminal import Terminal
    from telecmi_async.credentials import Secret
    from telecmi_async.receiver import Receiver

__all__ = ["hearing", "webhook_token"]


@frozen
class _Answer:
    """A receiver's reply, as a connection sends it."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]


@frozen
class _Decision:
    """That it is sent at once."""

    answer: _Answer
    delay: float = 0.0
    breach: None = None


class _Door:
    """Answers a port's requests as a receiver does."""

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
        answered = list(reply.headers)
        if reply.status != 204:  # which has no body, and may not say how long it is
            answered.append(("Content-Length", str(len(reply.body))))
        return _Decision(_Answer(reply.status, reply.body, answered))

    def leave(self) -> None:
        """There is nothing to be noted."""


@asynccontextmanager
async def hearing(receiver: Receiver, *, host: str, port: int) -> AsyncGenerator[int]:
    """Serve a receiver on a port for as long as the context is open; give the port.

    Raises:
        ConfigurationError: Nothing can listen there.
    """
    own = OwnError()
    async with (
        receiver,
        await listen(host, port) as listener,
        anyio.create_task_group() as tasks,
    ):
        server = Server(_Door(receiver), Limits())
        tasks.start_soon(server.accept, listener)
        try:
            with own:
                yield listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's, no database
        finally:
            await server.stop()
            tasks.cancel_scope.cancel()
    own.raise_it()


def webhook_token(terminal: Terminal) -> Secret:
    """Return the token that the webhooks' address ends in.

    Raises:
        ConfigurationError: None is set; the message holds a new one.
    """
    try:
        return secret_variable(terminal.environ, "TELECMI_WEBHOOK_TOKEN")
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error}: the address of webhooks must end in a word that nobody else knows, such "
            f"as {new_token()}"
        ) from None
