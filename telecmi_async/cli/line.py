"""What a campaign's calls go out on: a service, and perhaps a receiver that hears of them."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from telecmi_async import CallService, Receiver
from telecmi_async.cli.hearing import check_reachable, hearing, webhook_token
from telecmi_async.cli.shared_arguments import WEBHOOK_PORT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async.cli.account import Account
    from telecmi_async.cli.terminal import Terminal

__all__ = ["line"]


@asynccontextmanager
async def line(
    terminal: Terminal, account: Account, *, host: str, port: int | None, url: str | None
) -> AsyncGenerator[tuple[CallService, Receiver | None]]:
    """Open a service of an account and, on a port, a receiver that it hears from.

    Requests carry a reference, receiver or not: it is by that a receiver finds, days later, what
    became of a request whose answer was lost.

    Args:
        terminal: Whose environment has the webhooks' token.
        account: The account.
        host: The address to listen on.
        port: The port; ``None`` to hear of nothing, unless there is a ``url``.
        url: The address, without its token, at which TeleCMI reaches that port.

    Raises:
        ConfigurationError: The token is missing, or nothing can listen there.
        Stop: What is sent to the address does not arrive.
    """
    async with AsyncExitStack() as stack:
        receiver = None
        if port is not None or url is not None:
            token = webhook_token(terminal)
            receiver = Receiver(token.reveal())
            port = WEBHOOK_PORT if port is None else port
            port = await stack.enter_async_context(hearing(receiver, host=host, port=port))
            terminal.say(f"Listening for webhooks on {host} port {port}.")
            if url is not None:
                await check_reachable(receiver, token, url)
                terminal.say(f"What is sent to {url} arrives here.")
        service = CallService(
            account.credentials.app_id,
            account.credentials.secret,
            from_=account.from_,
            base_url=account.base_url,
            events=receiver,
            reference=True,
        )
        yield await stack.enter_async_context(service), receiver
