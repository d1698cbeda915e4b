"""The line between a callee and a bot: 20 ms frames on a socket, for as long as it is open.

A frame is sent when it is complete. What the bot sent before a frame began counts for it, what it
sent in the same moment for the next: so a conversation on a virtual clock is the same in each run.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from telecmi_async.simulator.callee import Callee
from telecmi_async.simulator.voice.caller import CallVoice
from telecmi_async.simulator.voice.conversation import Conversation
from telecmi_async.simulator.voice.far_end import FarEnd
from telecmi_async.simulator.voice.line_fault import GARBAGE_FRAMES, FaultyLine, LineFaultKind
from telecmi_async.simulator.voice.socket import (
    Arrivals,
    Closed,
    FarSocket,
    NotConnected,
    OpenSocket,
    time_or_before,
)
from telecmi_async.simulator.voice.speech import FRAME_SECONDS, mix

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from telecmi_async.simulator.requests import FlowAction

_CONNECT_SECONDS: Final = 10.0
# So long an app may go on after its socket was closed.
_GRACE_SECONDS: Final = 5.0
# Less than any frame, and more than clocks round.
_MOMENT: Final = 1e-6


@define(kw_only=True, eq=False, repr=False)
class StreamLine:
    """A streamed conversation, from the connection to its end."""

    url: str
    open_socket: OpenSocket
    voice: CallVoice
    callee: Callee
    heard: Conversation
    #: Whether the bot is sent its own words, too (``listen_mode="both"``).
    both: bool
    #: Seconds after which the line is closed, and who closes it.
    limit: tuple[float, str]
    #: Decides what faults draw.
    seed: int | str
    #: Seconds of the conversation in one of the event loop's.
    speed: float
    #: Called when the line is connected or closed, and when an array arrives.
    on_change: Callable[[], object] = field(init=False, default=lambda: None)
    connected: bool = field(init=False, default=False)
    closed: bool = field(init=False, default=False)
    #: Why there was no connection.
    refusal: str = field(init=False, default="")
    #: Who ended the call on this line, if it was not the bot or the flow.
    ended_by: str = field(init=False, default="")
    _far_end: FarEnd = field(init=False)
    _faults: FaultyLine = field(init=False)
    # The connections: one, unless there is a fault.
    _links: list[tuple[FarSocket, Arrivals]] = field(init=False)
    _unsent: list[bytes | str] = field(init=False)
    _busy: bool = field(init=False, default=False)
    _changes: deque[tuple[float, bool]] = field(init=False)
    _leave_at: float = field(init=False, default=math.inf)
    _left_for: str = field(init=False, default="")

    def __attrs_post_init__(self) -> None:
        self._links, self._unsent, self._changes = [], [], deque()
        self._far_end = FarEnd(self.heard)
        self._faults = FaultyLine(self.callee.line_faults, self.seed)

    @property
    def arrays(self) -> deque[list[FlowAction]]:
        """The arrays of actions that the bot sent, and that are still to be run."""
        return self._far_end.arrays

    def occupy(self, *, busy: bool) -> None:
        """Note whether the callee hears something else than the bot from the next frame on."""
        self._changes.append((time_or_before(), busy))

    def leave(self, why: str) -> None:
        """Close the line, at the end of the frame."""
        self._left_for = self._left_for or why
        self._leave_at = min(self._leave_at, time_or_before())

    def refuse(self, why: str) -> None:
        """Note that there will be no connection."""
        self.closed, self.refusal = True, why
        self.voice.end(why)

    async def run(self) -> None:
        """Connect, and let the two talk until one of them closes the socket."""
        try:
            async with anyio.create_task_group() as tasks:
                try:
                    await self._connect(tasks)
                except NotConnected as error:
                    self.refuse(str(error))
                    self.on_change()
                else:
                    await self._talk(tasks)
                # An app may go on for a moment after its socket was closed.
                tasks.cancel_scope.deadline = anyio.current_time() + _GRACE_SECONDS
        finally:
            if not self.closed:  # it was cancelled
                self._end("the simulator was stopped")

    async def _connect(self, tasks: TaskGroup) -> None:
        arrivals = Arrivals()
        with anyio.move_on_after(_CONNECT_SECONDS):
            socket = await self.open_socket(self.url, tasks, arrivals)
            self._links.append((socket, arrivals))
            return
        raise NotConnected(f"no connection within {_CONNECT_SECONDS:.0f} seconds")

    async def _connect_again(self, tasks: TaskGroup) -> None:
        try:
            await self._connect(tasks)
        except NotConnected as error:
            self.heard.note("fault", f"second_connection: {error}")

    async def _talk(self, tasks: TaskGroup) -> None:
        self.connected = True
        self.voice.begin(self.heard, self.callee, self.speed)
        start = anyio.current_time()
        self.on_change()
        code = 1000
        while True:
            due = start + self.heard.frames * FRAME_SECONDS / self.speed
            await anyio.sleep_until(due)
            if self._begin_faults(tasks):
                code, reason = 1006, "the connection broke"
                break
            await self._send()
            if reason := self._listen(due - _MOMENT):
                break
            self._pass_frame(due - _MOMENT)
        self._end(reason)
        for socket, _ in self._links:
            await socket.close(code)

    def _begin_faults(self, tasks: TaskGroup) -> bool:
        """Let faults begin, and return whether the connection breaks."""
        found = self._faults.begin(self.heard.length)
        for kind in found:
            self.heard.note("fault", kind)
            if kind is LineFaultKind.GARBAGE:
                self._unsent += GARBAGE_FRAMES
            elif kind is LineFaultKind.SECOND_CONNECTION:
                tasks.start_soon(self._connect_again, tasks)
        return LineFaultKind.DROP in found

    async def _send(self) -> None:
        if not self._faults.on(LineFaultKind.STALL, now=self.heard.length):
            unsent, self._unsent = self._unsent, []
            for data in unsent:
                await self._links[-1][0].send(data)

    def _listen(self, before: float) -> str:
        """Take what arrived before a time, and return why the line ends now, if it does."""
        while self._changes and self._changes[0][0] < before:
            self._busy = self._changes.popleft()[1]
        reason = ""
        if not self._faults.on(
            LineFaultKind.STALL, LineFaultKind.SLOW_READER, now=self.heard.length
        ):
            reason = self._take(before)
        if self._leave_at < before:
            return self._left_for
        longest, who = self.limit
        if self.heard.length >= longest:
            self.ended_by = who
        elif self.voice.hangs_up(before):
            self.ended_by = "the callee"
        return self.ended_by or reason

    def _take(self, before: float) -> str:
        for link in tuple(self._links):
            for item in link[1].take(before):
                if isinstance(item, Closed):
                    link[1].end()
                    self._links.remove(link)
                    if not self._links:
                        return f"by the bot, code {item.code}"
                    break
                waiting = len(self.arrays)
                self._far_end.take(item)
                if len(self.arrays) > waiting:
                    self.on_change()
        return "by the bot, by stop" if self._far_end.stopped else ""

    def _pass_frame(self, before: float) -> None:
        """Let a frame pass: both speak, both hear."""
        now = self.heard.length
        said = self.voice.speak(before, busy=self._busy)
        # The far end plays one thing at a time.
        heard = b"" if self._busy else self._far_end.play()
        self.heard.add(heard, said)
        if not self._far_end.paused:
            captured = mix(said, heard) if self.both else said
            captured = captured.ljust(self.heard.frame_bytes, b"\0")
            self._unsent += self._faults.frames(captured, self.heard.rate, now)
        self.voice.passed()

    def _end(self, reason: str) -> None:
        self.closed = True
        for _, arrivals in self._links:
            arrivals.end()
        self.heard.note("closed", f"{reason}; {self._far_end.clear():.2f} s unheard")
        self.voice.end()
        self.on_change()
