"""Background output: a thread writes, so that a terminal that takes nothing stops no call.

Ctrl-S and a paused pager make a write wait for as long as they like. In the event loop of a
campaign that would be a freeze while requests are under way.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

from telecmi_async.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable


# So many texts wait at most: then words are left out, and results hold the program up.
_MOST: Final = 10_000
_LOOK: Final = 0.1


class BackgroundWriter:
    """Writes texts to their streams, in their order, in a thread of its own."""

    def __init__(self) -> None:
        self.left_out = 0
        # A signal's handler may write while the program does: the lock is re-entrant.
        self._changed = threading.Condition()
        self._texts: deque[tuple[TextIO, str]] = deque()
        self._ends = False
        # A thread that is stuck in a write must not keep the process.
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, stream: TextIO, text: str, *, words: bool) -> None:
        """Have a text written; words are left out if too many texts wait."""
        with self._changed:
            while len(self._texts) >= _MOST:
                if words:
                    self.left_out += 1
                    return
                self._changed.wait()
            self._texts.append((stream, text))
            self._changed.notify_all()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all is written, and return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._texts, seconds)

    def finish(self, interrupts: Callable[[], int]) -> None:
        """Wait until all is written; an interrupt ends the process: all else is done.

        ``interrupts`` returns how many there were.
        """
        before = interrupts()
        while not self.wait(_LOOK):
            if interrupts() > before:
                os._exit(Exit.INTERRUPTED)

    def end(self) -> None:
        """End the thread, once all is written."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._texts or self._ends)
                if not self._texts:
                    return
                stream, text = self._texts[0]
            with suppress(OSError, ValueError):  # a closed stream, where a `Screen` is not used
                stream.write(text)
                stream.flush()
            with self._changed:
                self._texts.popleft()
                self._changed.notify_all()


class BackgroundStream:
    """A stream whose texts are written by a thread, each when it is flushed."""

    def __init__(self, stream: TextIO, writer: BackgroundWriter, *, words: bool) -> None:
        self._stream = stream
        self._writer = writer
        self._words = words
        self._parts: list[str] = []

    def write(self, text: str) -> int:
        """Keep a text until it is flushed."""
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        """Have it written."""
        parts, self._parts = self._parts, []
        if text := "".join(parts):
            self._writer.put(self._stream, text, words=self._words)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all is written, and return whether it is."""
        return self._writer.wait(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
