"""Webhook server: a receiver on a port, and the `CallService` of commands that use it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from telecmi_async import CallService, RateLimit, Receiver
from telecmi_async.cli.account import is_set, secret_variable
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.http_request import Unreachable, send_request
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.payload import MAX_PAYLOAD
from telecmi_async.events.receiver import new_token
from telecmi_async.http_server import ConnectionLimits, serve_http

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async._internal.secrets import Secret
    from telecmi_async.campaigns import CampaignSettings
    from telecmi_async.cli.account import Account
    from telecmi_async.cli.options import RunOptions, WebhookOptions
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.http_server import HttpConnection, HttpRequest

#: How many requests a command's service lets be under way; its campaign has a number of its own.
MOST_IN_FLIGHT: Final = 1_000
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
        raise ConfigurationError(f"{error}: {_token_words()}") from None


def _token_words() -> str:
    return f"the webhook address must end in a word that no one else knows, as {new_token()}"


def check_token(terminal: Terminal, webhooks: WebhookOptions, lacking: dict[str, str]) -> None:
    """Say that the token is lacking if webhooks are received."""
    if webhooks.receives and not is_set(terminal.environ, "TELECMI_WEBHOOK_TOKEN"):
        lacking["TELECMI_WEBHOOK_TOKEN"] = _token_words()


def check_caps(settings: CampaignSettings, name: str, running: RunOptions) -> None:
    """Require that a campaign's caps can be measured, unless that was given up aloud.

    Raises:
        ConfigurationError: They cannot.
    """
    caps = settings.measured_by_events
    if running.webhooks.receives and running.without_webhooks:
        raise ConfigurationError("--without-webhooks excludes --webhook-url and --webhook-port")
    if caps and not running.webhooks.receives and not running.without_webhooks:
        raise ConfigurationError(
            f"campaign {name!r} has {' and '.join(caps)}, which only webhooks can measure: give "
            "--webhook-url, or --webhook-port. --without-webhooks dials all the same: the cap "
            "then holds only if `hook listen` records events in the ledger elsewhere"
        )


@asynccontextmanager
async def receiving(
    terminal: Terminal, webhooks: WebhookOptions
) -> AsyncGenerator[Receiver | None]:
    """Receive webhooks as the options say, if they do.

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
    receiver = Receiver(token.reveal())
    async with serve_webhooks(receiver, host=host, port=webhooks.port) as port:
        terminal.say(f"Listening for webhooks on {host} port {port}.")
        if url is not None:
            await check_reachable(receiver, token, url)
            terminal.say(f"What is sent to {url} arrives here.")
        yield receiver


@asynccontextmanager
async def campaign_service(
    terminal: Terminal, account: Account, running: RunOptions
) -> AsyncGenerator[tuple[CallService, Receiver | None]]:
    """Open a service of an account and, if webhooks arrive here, their receiver.

    Requests always carry a reference: with it, a receiver can find the outcome of a request
    whose reply was lost, even days later.

    Raises:
        TelecmiError: As for `receiving`.
        Stop: Likewise.
    """
    async with (
        receiving(terminal, running.webhooks) as receiver,
        CallService(
            account.credentials.app_id,
            account.credentials.secret,
            from_=account.from_,
            base_url=account.base_url,
            events=receiver,
            reference=True,
            rate=RateLimit(max_in_flight=MOST_IN_FLIGHT),  # the campaign's own is smaller
        ) as service,
    ):
        yield service, receiver
