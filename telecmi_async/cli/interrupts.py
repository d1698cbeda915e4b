"""Ctrl-C: once stops starting calls and waits for those that were sent, twice leaves at once."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from telecmi_async.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from telecmi_async.cli.output.terminal import Terminal

_SIGNALS: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    # Of a terminal that is gone. Windows has none.
    *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []),
)
# `timeout` and others send a signal to a process, and at once to its group. No user
# presses keys as fast.
_TOGETHER: Final = 0.05
# A terminal that takes nothing does not keep a process that shall end.
_PARTING: Final = 0.5


class Interrupts:
    """How often the user asked to stop.

    A signal may come between any two steps of the program, so all that its handler does the
    first time is to count. The second time the process ends there and then, as if it was
    killed: what was sent is in the ledger, and becomes ``unknown`` when its lease is over.
    """

    def __init__(
        self,
        terminal: Terminal,
        end: Callable[[int], Any] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count = 0
        self._terminal = terminal
        self._end = end
        self._clock = clock
        self._last = -math.inf

    def receive(self, *_: object) -> None:
        """Take a signal; one that comes together with another is the same."""
        last, self._last = self._last, self._clock()
        if self._last - last < _TOGETHER:
            return
        self.count += 1
        if self.count > 1:
            with suppress(Exception):  # whatever else is being written
                self._terminal.say()
                self._terminal.say(
                    "Gone. Requests that were under way may ring: the ledger has them, and takes "
                    "them for unknown two minutes from now."
                )
                self._terminal.wait_for_words(_PARTING)
            self._end(Exit.INTERRUPTED)


@contextmanager
def interrupts(terminal: Terminal) -> Generator[Interrupts]:
    """Count Ctrl-C, SIGTERM and SIGHUP instead of ending; in the main thread, where signals go.

    Under ``nohup`` SIGHUP is ignored, and stays so.
    """
    found = Interrupts(terminal)
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    ignored = {each for each in _SIGNALS[2:] if signal.getsignal(each) is signal.SIG_IGN}
    before = {
        number: signal.signal(number, found.receive)
        for number in _SIGNALS
        if number not in ignored
    }
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
