"""Checks of `doctor`: the account, the server, the clock, time zones, ledger and webhooks."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from attrs import asdict, frozen

from telecmi_async import CallService, Receiver
from telecmi_async._internal.time_zones import zone_named
from telecmi_async.cli.account import account_of
from telecmi_async.cli.exits import Exit, Stop, exit_of
from telecmi_async.cli.http_request import HttpAnswer, Unreachable, send_request
from telecmi_async.cli.ledgers import clock_words, is_named, opened
from telecmi_async.cli.messages import error_words
from telecmi_async.cli.webhook_server import check_reachable, serve_webhooks, webhook_token
from telecmi_async.errors import TelecmiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from telecmi_async.cli.account import Account
    from telecmi_async.cli.options import WebhookOptions
    from telecmi_async.cli.output.terminal import Terminal

# Signed requests elsewhere tolerate minutes; a calling window is wrong by as much as the clock.
_MOST_SKEW: Final = 30.0
_CERTIFICATE_DAYS: Final = 14
_STYLES: Final = {"ok": "green", "skipped": "yellow", "wrong": "red"}
_SIMULATED: Final = "a simulator answers"


@frozen
class _Finding:
    """What was found out about one thing; ``skipped`` means that it could not be looked at."""

    what: str
    exit: Exit
    words: str
    skipped: bool = False

    @property
    def state(self) -> str:
        """``ok``, ``skipped`` or ``wrong``."""
        return "skipped" if self.skipped else "ok" if self.exit is Exit.OK else "wrong"


def _skipped(what: str, why: str) -> _Finding:
    return _Finding(what, Exit.PARTLY, why, skipped=True)


def check_all(
    terminal: Terminal,
    ledger: str | None,
    webhooks: WebhookOptions,
    *,
    secret_stdin: bool,
    as_json: bool,
) -> Exit:
    """Check everything, show what was found, and return the exit code."""

    async def examine() -> list[_Finding]:
        found = [each async for each in _account(terminal, secret_stdin=secret_stdin)]
        if zone_named("Asia/Kolkata") is None:
            words = "this machine has no time zone database: pip install tzdata"
            found.append(_Finding("time zones", Exit.FAILED, words))
        else:
            found.append(_Finding("time zones", Exit.OK, "calling windows can be kept"))
        if is_named(terminal, ledger):
            found.append(await _checked("ledger", _ledger(terminal, ledger)))
        if (url := webhooks.webhook_url) is not None:
            found.append(await _checked("webhooks", _webhooks(terminal, url, webhooks)))
        return found

    found = anyio.run(examine)
    for each in found:
        if as_json:
            more = {"state": each.state, "ok": each.state == "ok"}
            terminal.put(json.dumps({**asdict(each), **more}))
        else:
            mark = (f"{each.state:<7}", _STYLES[each.state])
            terminal.put(mark, f"  {each.what:<11}  {each.words}")
    codes = [each.exit for each in found if each.state == "wrong"]
    codes += [each.exit for each in found if each.skipped]
    return next(iter(codes), Exit.OK)


async def _checked(what: str, check: Awaitable[_Finding]) -> _Finding:
    """Return what a check finds; an error is what it found."""
    try:
        return await check
    except (Stop, TelecmiError) as error:
        return _Finding(what, exit_of(error), error_words(error))


async def _account(terminal: Terminal, *, secret_stdin: bool) -> AsyncIterator[_Finding]:
    """Check the account, and what can be seen of the server without it."""
    try:
        account = account_of(terminal, secret_stdin=secret_stdin)
    except Stop as stop:
        yield _Finding("credentials", stop.code, error_words(stop))
        for what in ("TLS", "clock"):
            yield _skipped(what, "TeleCMI is not asked without credentials")
        return
    try:
        came = await anyio.to_thread.run_sync(send_request, "HEAD", account.base_url)
    except Unreachable as error:
        yield _Finding("connection", Exit.UNAVAILABLE, error_words(error))
        for what in ("credentials", "TLS", "clock"):
            yield _skipped(what, "TeleCMI cannot be reached")
        return
    simulated = "x-telecmi-simulator" in came.headers
    yield await _checked("credentials", _credentials(account, simulated=simulated))
    yield _certificate(came.tls)
    yield (
        _skipped("clock", f"{_SIMULATED}, with the clock of its own machine")
        if simulated
        else _clock(came)
    )


async def _credentials(account: Account, *, simulated: bool) -> _Finding:
    app_id, secret = account.credentials.app_id, account.credentials.secret
    async with CallService(app_id, secret, base_url=account.base_url) as service:
        live = await service.channels()
    if simulated:
        why = f"{_SIMULATED}, which takes them; whether TeleCMI does is not known"
        return _skipped("credentials", why)
    return _Finding("credentials", Exit.OK, f"TeleCMI takes them; {live} calls are live")


def _certificate(tls: tuple[str, str] | None) -> _Finding:
    if tls is None:
        return _skipped("TLS", "the address is http, on this machine alone")
    version, ends = tls
    days = int((ssl.cert_time_to_seconds(ends) - time()) // 86_400)
    code = Exit.UNAVAILABLE if days < _CERTIFICATE_DAYS else Exit.OK
    return _Finding("TLS", code, f"{version}, a certificate for {days} days more")


def _clock(came: HttpAnswer) -> _Finding:
    try:
        theirs = parsedate_to_datetime(came.headers["date"])
        skew = (datetime.now(UTC) - theirs).total_seconds()
    except (KeyError, ValueError, TypeError):
        return _skipped("clock", "TeleCMI's answer has no date to compare it with")
    if abs(skew) > _MOST_SKEW:
        way = "ahead of" if skew > 0 else "behind"
        words = f"this machine is {abs(skew):.0f} s {way} TeleCMI: set its clock"
        return _Finding("clock", Exit.FAILED, words)
    return _Finding("clock", Exit.OK, "this machine's and TeleCMI's agree")


async def _ledger(terminal: Terminal, ledger: str | None) -> _Finding:
    async with opened(terminal, ledger, reads=True) as book:
        names = await book.campaigns()
        pooled = getattr(book, "through_pooler", False)
        held_up = [
            f"{each}: {words}" for each in names if (words := await clock_words(book, each))
        ]
    if held_up:
        return _Finding("ledger", Exit.FAILED, "; ".join(held_up))
    words = f"it answers, and has {len(names)} campaign{'' if len(names) == 1 else 's'}"
    if pooled:
        words += "; it is behind a connection pooler: the server's own address is faster"
    return _Finding("ledger", Exit.OK, words)


async def _webhooks(terminal: Terminal, url: str, options: WebhookOptions) -> _Finding:
    """Listen, and send a request to the address that TeleCMI has: it must arrive here."""
    token = webhook_token(terminal)
    receiver = Receiver(token.reveal())
    async with serve_webhooks(receiver, host=options.webhook_host, port=options.port):
        await check_reachable(receiver, token, url)
    return _Finding("webhooks", Exit.OK, f"what is sent to {url} arrives here")
