"""``telecmi-async hook``: see what TeleCMI sends, put it on record, and send it on."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import anyio.to_thread
from cyclopts import App

from telecmi_async import Receiver
from telecmi_async._internal.frozen_json import thaw
from telecmi_async.campaigns.evidence import record_call_event
from telecmi_async.cli.event_lines import event_line, masked_payload
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.http_request import Unreachable, parse_address, send_request
from telecmi_async.cli.interrupts import interrupts
from telecmi_async.cli.ledgers import is_named, opened
from telecmi_async.cli.options import (
    FILE_OR_STDIN,
    LOCALHOST,
    PORT,
    WEBHOOK_PORT,
    Here,
    Host,
    JsonFlag,
    LedgerOption,
    command,
    value,
)
from telecmi_async.cli.webhook_server import serve_webhooks, webhook_token
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.cli.interrupts import Interrupts
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.events import Event
    from telecmi_async.events.store import Listener, StoredEvent
    from telecmi_async.ledger import Ledger

_LOOK = 0.1
_PLACE = "{token}"


hook = App(name="hook", help="Print webhooks as they arrive, or send them again.")


@command(
    "listen",
    "hook listen --ledger people.db",
    "hook listen --reveal > events.jsonl",
    "hook listen --forward-to http://127.0.0.1:8000/{token}",
    into=hook,
)
def listen(
    *,
    port: Annotated[int, value("PORT", converter=PORT)] = WEBHOOK_PORT,
    host: Host = LOCALHOST,
    reveal: bool = False,
    ledger: LedgerOption = None,
    forward_to: Annotated[str | None, value("URL")] = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Print each event that arrives, until Ctrl-C: a line on a terminal, else JSON.

    With a ledger each event is put on record there before TeleCMI gets its answer: so campaigns
    learn how their calls went, on any machine.

    Args:
        port: 0 for any free one.
        reveal: Print numbers in full; masked events cannot be replayed.
        forward_to: Send each event on to this address, too; {token} in it stands for
            TELECMI_WEBHOOK_TOKEN.
    """
    as_json = as_json or not terminal.stdout.isatty()
    token = webhook_token(terminal).reveal()
    target = None if forward_to is None else _target(terminal, forward_to)

    async def serve(terminal: Terminal, pressed: Interrupts) -> Exit:
        async with AsyncExitStack() as stack:
            store = None
            if is_named(terminal, ledger):
                store = LedgerStore(await stack.enter_async_context(opened(terminal, ledger)))
            receiver = Receiver(token, store=store)
            receiver.on_event(partial(_show, terminal, reveal=reveal, as_json=as_json))
            if target is not None:
                receiver.on_event(_Forward(terminal, target).send)
            found = await stack.enter_async_context(
                serve_webhooks(receiver, host=host, port=port)
            )
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
        return Exit.INTERRUPTED

    with terminal.in_background() as (shown, writer), interrupts(shown) as pressed:
        code = anyio.run(serve, shown, pressed)
        writer.finish(lambda: pressed.count)
    return code


def _show(terminal: Terminal, event: Event, *, reveal: bool, as_json: bool) -> None:
    if as_json:
        terminal.write(_line(thaw(event.raw) if reveal else masked_payload(event)))
    else:
        terminal.put(event_line(event, reveal=reveal))


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


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


class _Forward:
    """Sends events on, in the order of their arrival, and says what could not be."""

    def __init__(self, terminal: Terminal, url: str) -> None:
        self._terminal = terminal
        self._url = url
        self._lock = anyio.Lock()

    async def send(self, event: Event) -> None:
        """Send one."""
        async with self._lock:
            try:
                came = await anyio.to_thread.run_sync(
                    send_request, "POST", self._url, _line(thaw(event.raw)).encode()
                )
            except Unreachable as error:
                self._terminal.say(f"an event was not sent on: {error}")
                return
        if not 200 <= came.status < 300:
            self._terminal.say(f"an event that was sent on was answered with {came.status}")


def _target(terminal: Terminal, url: str) -> str:
    """Return an address with the token in place of ``{token}``."""
    parse_address(url)
    return url.replace(_PLACE, webhook_token(terminal).reveal()) if _PLACE in url else url


@command("replay", "hook replay events.jsonl --forward-to http://127.0.0.1:8000", into=hook)
def replay(
    events: Annotated[str, FILE_OR_STDIN],
    /,
    *,
    forward_to: Annotated[str, value("URL")],
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Send events that `hook listen --reveal` printed to an address, in their order.

    Args:
        events: The file, an event a line; - for stdin.
        forward_to: The address; {token} in it stands for TELECMI_WEBHOOK_TOKEN.
    """
    del as_json
    target = _target(terminal, forward_to)
    taken = other = 0
    for number, line in enumerate(_lines(terminal, events), 1):
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
        yield from (line for line in terminal.stdin if line.strip())
        return
    try:
        with Path(name).open(encoding="utf-8") as file:
            yield from (line for line in file if line.strip())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"cannot read {name}: {why}") from None
