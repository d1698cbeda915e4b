"""Campaign service: the `CallService` of a command and, on a port, its webhook receiver."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from telecmi_async import CallService, Receiver
from telecmi_async.cli.shared_arguments import WEBHOOK_PORT
from telecmi_async.cli.webhook_server import check_reachable, serve_webhooks, webhook_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async.cli.account import Account
    from telecmi_async.cli.terminal import Terminal


@asynccontextmanager
async def campaign_service(
    terminal: Terminal, account: Account, *, host: str, port: int | None, url: str | None
) -> AsyncGenerator[tuple[CallService, Receiver | None]]:
    """Open a service of an account and, on a port, the webhook receiver that it uses.

    Requests always carry a reference: by it a receiver can find, days later, the outcome of a
    request whose answer was lost.

    Args:
        terminal: Its environment has the webhooks' token.
        account: The account.
        host: The address to listen on.
        port: The port; ``None`` for no receiver, unless there is a ``url``.
        url: The public address of that port, without the token.

    Raises:
        ConfigurationError: The token is missing, or the port cannot be opened.
        Stop: A request to the public address does not arrive here.
    """
    async with AsyncExitStack() as stack:
        receiver = None
        if port is not None or url is not None:
            token = webhook_token(terminal)
            receiver = Receiver(token.reveal())
            port = WEBHOOK_PORT if port is None else port
            port = await stack.enter_async_context(
                serve_webhooks(receiver, host=host, port=port)
            )
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
