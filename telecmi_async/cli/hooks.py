"""Webhooks of `hook`: printed as they arrive, put on record, sent on, and sent again."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from telecmi_async import Receiver
from telecmi_async._internal.frozen_json import thaw
from telecmi_async.campaigns.evidence import record_call_event
from telecmi_async.cli.event_lines import event_line, masked_payload
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.http_request import Unreachable, parse_address, send_request
from telecmi_async.cli.interrupts import interrupts
from telecmi_async.cli.ledgers import is_named, opened
from telecmi_async.cli.log_lines import log_shown
from telecmi_async.cli.metrics import metrics_served
from telecmi_async.cli.webhook_server import serve_webhooks, webhook_token
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.cli.interrupts import Interrupts
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.events import Event
    from telecmi_async.events.store import Listener, StoredEvent
    from telecmi_async.ledger import Ledger

_LOOK = 0.1
_PLACE = "{token}"


def listen_for_events(
    terminal: Terminal,
    ledger: str | None,
    forward_to: str | None,
    *,
    host: str,
    port: int,
    reveal: bool,
    metrics: str | None,
    as_json: bool,
) -> Exit:
    """Print each event that arrives, until Ctrl-C."""
    token = webhook_token(terminal).reveal()
    target = None if forward_to is None else _target(terminal, forward_to)

    async def serve(terminal: Terminal, pressed: Interrupts) -> None:
        def show(event: Event) -> None:
            if as_json:
                terminal.write(_line(thaw(event.raw) if reveal else masked_payload(event)))
            else:
                terminal.put(event_line(event, reveal=reveal))

        async with AsyncExitStack() as stack:
            store = None
            if is_named(terminal, ledger):
                store = LedgerStore(await stack.enter_async_context(opened(terminal, ledger)))
            observer = await stack.enter_async_context(metrics_served(terminal, metrics))
            receiver = Receiver(token, store=store, observer=observer)
            receiver.on_event(show)
            if target is not None:
                receiver.on_event(_sending_to(target, terminal))
            server = serve_webhooks(receiver, host=host, port=port)
            found = await stack.enter_async_context(server)
            terminal.say(
                f"Listening on {host} port {found}; Ctrl-C ends it. The address ends in"
            )
            terminal.say("the token of TELECMI_WEBHOOK_TOKEN: /<token>")
            if forward_to is not None:
                terminal.say(f"Events are sent on to {forward_to}")
            while not pressed.count:  # noqa: ASYNC110  # a signal may set no event
                await anyio.sleep(_LOOK)
        counts = receiver.counts
        known = "" if store is None else f", of calls in the ledger: {store.known}"
        terminal.say(
            f"accepted: {counts.accepted}{known}, duplicates: {counts.duplicates}, "
            f"refused: {counts.refused}"
        )

    with (
        terminal.in_background() as (shown, writer),
        interrupts(shown) as pressed,
        log_shown(shown.environ, shown.say),
    ):
        anyio.run(serve, shown, pressed)
        writer.finish(lambda: pressed.count)
    return Exit.INTERRUPTED


def _sending_to(url: str, terminal: Terminal) -> Callable[[Event], Awaitable[None]]:
    """Return what sends events on, in the order of their arrival, and says what could not be."""
    one_by_one = anyio.Lock()

    async def send_on(event: Event) -> None:
        body = _line(thaw(event.raw)).encode()
        async with one_by_one:
            try:
                came = await anyio.to_thread.run_sync(send_request, "POST", url, body)
            except Unreachable as error:
                terminal.say(f"an event was not sent on: {error}")
                return
        if not 200 <= came.status < 300:
            terminal.say(f"an event that was sent on was answered with {came.status}")

    return send_on


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _target(terminal: Terminal, url: str) -> str:
    """Return an address with the token in place of ``{token}``."""
    parse_address(url)
    return url.replace(_PLACE, webhook_token(terminal).reveal()) if _PLACE in url else url


class LedgerStore:
    """Records each event in a ledger before TeleCMI gets its answer.

    So campaigns that dial from other machines learn how their calls went. While the ledger
    fails, the answer makes TeleCMI send the event again.
    """

    shared = False

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._memory = MemoryStore()
        #: The number of events of calls in the ledger.
        self.known = 0

    async def put(self, stored: StoredEvent) -> bool:
        """Record an event, also a repeat: the first time may have failed half-way."""
        campaign = await record_call_event(self._ledger, stored.event)
        fresh = await self._memory.put(stored)
        self.known += campaign is not None and fresh
        return fresh

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        """Return recent events."""
        return await self._memory.get(ids)

    async def claim(self, key: str) -> bool:
        """Return whether an event was not claimed before."""
        return await self._memory.claim(key)

    def follow(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Give new events to a listener."""
        return self._memory.follow(listener)


def replay_events(terminal: Terminal, name: str, forward_to: str) -> Exit:
    """Send the events in a file to an address, in their order."""
    target = _target(terminal, forward_to)
    taken = other = 0
    for number, line in enumerate(_lines(terminal, name), 1):
        if why := _unfit(line):
            raise Stop(
                Exit.PARTLY if taken or other else Exit.USAGE,
                f"event {number} {why}: `hook listen --json --reveal` prints events that can be "
                "sent again",
            )
        try:
            status = send_request("POST", target, line.encode()).status
        except Unreachable as error:
            raise Stop(Exit.UNAVAILABLE, f"event {number}: {error}") from None
        if 200 <= status < 300:
            taken += 1
        else:
            other += 1
            terminal.say(f"event {number} was answered with {status}")
    terminal.put(json.dumps({"taken": taken, "not_taken": other}))
    return Exit.PARTLY if other else Exit.OK


def _unfit(line: str) -> str:
    """Return why a line cannot be sent again; empty if it can."""
    try:
        json.loads(line)
    except ValueError:
        return "is no JSON"
    return "has its numbers masked" if "•" in line or "\\u2022" in line else ""


def _lines(terminal: Terminal, name: str) -> Iterator[str]:
    if name == "-":
        yield from filter(str.strip, terminal.stdin)
        return
    try:
        with Path(name).open(encoding="utf-8") as file:
            yield from filter(str.strip, file)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"cannot read {name}: {why}") from None
