"""The line between a callee and a bot: 20 ms frames on a socket, for as long as it is open.

A frame is sent when it is complete. What the bot sent before a frame began counts for it, what it
sent in the same moment for the next: so a conversation on a virtual clock is the same in each run.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async.simulator.voice.conversation import Conversation
from telecmi_async.simulator.voice.far_end import FarEnd
from telecmi_async.simulator.voice.line_fault import (
    GARBAGE_FRAMES,
    FaultyLine,
    LineFaultKind,
)
from telecmi_async.simulator.voice.socket import Arrivals, Closed, NotConnected, loop_time
from telecmi_async.simulator.voice.speech import FRAME_SECONDS, mix

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from telecmi_async.simulator.callee import Callee
    from telecmi_async.simulator.requests import FlowAction
    from telecmi_async.simulator.voice.caller import CallVoice
    from telecmi_async.simulator.voice.socket import FarSocket, OpenSocket

_CONNECT_SECONDS: Final = 10.0
# So long an app may go on after its socket was closed.
_GRACE_SECONDS: Final = 5.0
# Less than any frame, and more than clocks round.
_MOMENT: Final = 1e-6


class StreamLine:
    """A streamed conversation, from the connection to its end.

    Args:
        url: The address to connect to.
        open_socket: Connects to it.
        voice: The callee's voice and ears.
        callee: How the callee behaves.
        rate: Samples in a second.
        both: Whether the bot is sent what it says, too (``listen_mode="both"``).
        limit: Seconds after which the line is closed, and who closes it.
        seed: Decides what faults draw.
        speed: Seconds of the conversation in one of the event loop's.
        keep_audio: Whether the audio is kept.
    """

    def __init__(
        self,
        url: str,
        open_socket: OpenSocket,
        voice: CallVoice,
        callee: Callee,
        *,
        rate: int,
        both: bool,
        limit: tuple[float, str],
        seed: int | str,
        speed: float,
        keep_audio: bool,
    ) -> None:
        self.heard: Final = Conversation(rate, keep_audio=keep_audio)
        #: Called when the line is connected or closed, and when an array arrives.
        self.on_change: Callable[[], object] = lambda: None
        #: Whether the callee hears something that is not the bot's audio.
        self.busy = False
        self.connected = False
        self.closed = False
        #: Why there was no connection.
        self.refusal = ""
        #: Who ended the call on this line, if it was not the bot or the flow.
        self.ended_by = ""
        self._url = url
        self._open_socket = open_socket
        self._voice = voice
        self._callee = callee
        self._both = both
        self._limit, self._limit_by = limit
        self._speed = speed
        self._far_end = FarEnd(self.heard)
        self._faults = FaultyLine(callee.line_faults, seed)
        #: The connections: one, unless there is a fault.
        self._links: list[tuple[FarSocket, Arrivals]] = []
        self._unsent: list[bytes | str] = []
        self._leave_at = math.inf
        self._left_for = ""

    @property
    def arrays(self) -> deque[list[FlowAction]]:
        """The arrays of actions that the bot sent, and that are still to be run."""
        return self._far_end.arrays

    def leave(self, why: str) -> None:
        """Close the line, at the end of the frame."""
        self._left_for = self._left_for or why
        self._leave_at = min(self._leave_at, loop_time())

    def refuse(self, why: str) -> None:
        """Note that there will be no connection."""
        self.closed, self.refusal = True, why
        self._voice.end(why)

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
            socket = await self._open_socket(self._url, tasks, arrivals)
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
        self._voice.begin(
            self.heard,
            says=self._callee.says,
            talks_over_after=self._callee.talks_over_after,
            speed=self._speed,
        )
        start = anyio.current_time()
        self.on_change()
        code = 1000
        for frame in itertools.count():
            due = start + frame * FRAME_SECONDS / self._speed
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
        reason = ""
        if not self._faults.on(
            LineFaultKind.STALL, LineFaultKind.SLOW_READER, now=self.heard.length
        ):
            reason = self._take(before)
        if self._leave_at < before:
            return self._left_for
        if self.heard.length >= self._limit:
            self.ended_by = self._limit_by
        elif self._voice.hangs_up(before):
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
        said = self._voice.speak(before, busy=self.busy)
        # The far end plays one thing at a time.
        heard = b"" if self.busy else self._far_end.play()
        self.heard.add(heard, said)
        if not self._far_end.paused:
            captured = mix(said, heard) if self._both else said
            captured = captured.ljust(self.heard.frame_bytes, b"\0")
            self._unsent += self._faults.frames(captured, self.heard.rate, now)
        self._voice.passed()

    def _end(self, reason: str) -> None:
        self.closed = True
        for _, arrivals in self._links:
            arrivals.end()
        self.heard.note("closed", f"{reason}; {self._far_end.clear():.2f} s unheard")
        self._voice.end()
        self.on_change()
