"""``telecmi-async hook``: see what TeleCMI sends, and send it to a program once more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from telecmi_async import Receiver
from telecmi_async._json import thaw
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.hearing import hearing, webhook_token
from telecmi_async.cli.interrupts import interrupts
from telecmi_async.cli.wire import Unreachable, send
from telecmi_async.errors import ConfigurationError
from telecmi_async.phone import mask_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.cli.interrupts import Interrupts
    from telecmi_async.cli.terminal import Terminal
    from telecmi_async.events import Event

__all__ = ["listen", "replay"]

_LOOK = 0.1


def listen(terminal: Terminal, *, host: str, port: int, reveal: bool) -> int:
    """Print each event that arrives as a line of JSON, until Ctrl-C.

    Args:
        terminal: What to write to.
        host: The address to listen on.
        port: The port, or 0 for any free one.
        reveal: Whether numbers are printed in full; what is masked cannot be replayed.

    Returns:
        `Exit.INTERRUPTED`, since there is no other end.

    Raises:
        ConfigurationError: There is no token, or nothing can listen there.
    """
    receiver = Receiver(webhook_token(terminal).reveal())

    @receiver.on_event
    def show(event: Event) -> None:
        text = json.dumps(thaw(event.raw), ensure_ascii=False)
        terminal.put(text if reveal else mask_in(text))

    async def serve(pressed: Interrupts) -> None:
        async with hearing(receiver, host=host, port=port) as found:
            terminal.say(
                f"Listening on {host} port {found}; Ctrl-C ends it. The address ends in"
            )
            terminal.say("the token of TELECMI_WEBHOOK_TOKEN: /<token>")
            while not pressed.count:  # noqa: ASYNC110  # a signal may set no event
                await anyio.sleep(_LOOK)

    with interrupts(terminal) as pressed:
        return _sum_up(terminal, receiver, anyio.run(serve, pressed))


def _sum_up(terminal: Terminal, receiver: Receiver, _: None) -> int:
    """Say what came in while it listened."""
    counts = receiver.counts
    terminal.say(
        f"taken: {counts.taken}, repeated: {counts.repeated}, refused: {counts.refused}"
    )
    return Exit.INTERRUPTED


def replay(terminal: Terminal, *, events: str, to: str) -> int:
    """Send events of a file, one a line, to an address, in their order.

    Args:
        terminal: What to read from and write to.
        events: The file; ``-`` for stdin.
        to: The address, token and all.

    Returns:
        `Exit.OK`, or `Exit.PARTLY` if some were not taken.

    Raises:
        ConfigurationError: The file cannot be read, or the address is none.
        Stop: Nobody answers there.
    """
    taken = other = 0
    for number, line in enumerate(_lines(terminal, events), 1):
        try:
            status = send("POST", to, line.encode()).status
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
