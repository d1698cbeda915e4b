"""``telecmi-async hook``: see what TeleCMI sends, put it on record, and send it on."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from telecmi_async import Receiver
from telecmi_async._internal.frozen_json import thaw
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.http_request import Unreachable, parse_address, send_request
from telecmi_async.cli.interrupts import interrupts
from telecmi_async.cli.ledger_store import LedgerStore
from telecmi_async.cli.ledgers import is_named, opened
from telecmi_async.cli.masking import masked
from telecmi_async.cli.webhook_server import serve_webhooks, webhook_token
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.cli.interrupts import Interrupts
    from telecmi_async.cli.terminal import Terminal
    from telecmi_async.events import Event

_LOOK = 0.1
_PLACE = "{token}"


def listen(
    terminal: Terminal,
    *,
    host: str,
    port: int,
    reveal: bool,
    ledger: str | None,
    forward_to: str | None,
    as_json: bool,
) -> int:
    """Print each event that arrives as a line of JSON, until Ctrl-C.

    Args:
        terminal: What to write to.
        host: The address to listen on.
        port: The port, or 0 for any free one.
        reveal: Whether numbers are printed in full; what is masked cannot be replayed.
        ledger: The ledger whose campaigns hear of it, if one is named here or in the
            environment.
        forward_to: Where each event is sent on to.
        as_json: It is JSON anyway.

    Returns:
        `Exit.INTERRUPTED`, since there is no other end.

    Raises:
        ConfigurationError: There is no token, or nothing can listen there.
        Stop: There is no such ledger.
        StoreError: It does not answer.
    """
    del as_json
    token = webhook_token(terminal).reveal()
    target = None if forward_to is None else _target(terminal, forward_to)

    async def serve(pressed: Interrupts) -> Exit:
        async with AsyncExitStack() as stack:
            store = None
            if is_named(terminal, ledger):
                store = LedgerStore(await stack.enter_async_context(opened(terminal, ledger)))
            receiver = Receiver(token, store=store)
            receiver.on_event(partial(_show, terminal, reveal=reveal))
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
        _sum_up(terminal, receiver, store)
        return Exit.INTERRUPTED

    with interrupts(terminal) as pressed:
        return anyio.run(serve, pressed)


def _sum_up(terminal: Terminal, receiver: Receiver, store: LedgerStore | None) -> None:
    counts = receiver.counts
    known = "" if store is None else f", of calls in the ledger: {store.known}"
    terminal.say(
        f"accepted: {counts.accepted}{known}, duplicates: {counts.duplicates}, refused: {counts.refused}"
    )


def _show(terminal: Terminal, event: Event, *, reveal: bool) -> None:
    raw = thaw(event.raw)
    terminal.put(_line(raw if reveal else masked(raw)))


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


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
    """Return an address with the token in its place.

    Raises:
        ConfigurationError: There is no token, or it is no address.
    """
    parse_address(url)
    return url.replace(_PLACE, webhook_token(terminal).reveal()) if _PLACE in url else url


def replay(terminal: Terminal, *, events: str, forward_to: str, as_json: bool) -> int:
    """Send events of a file, one a line, to an address, in their order.

    Args:
        terminal: What to read from and write to.
        events: The file; ``-`` for stdin.
        forward_to: The address; ``{token}`` in it stands for the token.
        as_json: It is JSON anyway.

    Returns:
        `Exit.OK`, or `Exit.PARTLY` if some were not taken.

    Raises:
        ConfigurationError: The file cannot be read, or the address is malformed.
        Stop: No server answers there.
    """
    del as_json
    target = _target(terminal, forward_to)
    taken = other = 0
    for number, line in enumerate(_lines(terminal, events), 1):
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
