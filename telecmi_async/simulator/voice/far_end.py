"""The far end of a stream: what it makes of a bot's messages, and its queue of clips.

It knows neither a socket nor a clock. It behaves as mod_audio_stream for FreeSWITCH does, which
TeleCMI's protocol equals message by message: nothing is acknowledged, and what it cannot use it
ignores.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from telecmi_async.simulator.requests import flow_actions
from telecmi_async.simulator.voice.speech import convert_rate, parse_wav

if TYPE_CHECKING:
    from telecmi_async.simulator.requests import FlowAction
    from telecmi_async.simulator.voice.conversation import Conversation

_RATES: Final = frozenset({8_000, 16_000})
# The queue's limit; the far end's is unknown.
_LONGEST_QUEUE: Final = 600
_LONGEST_DETAIL: Final = 200
_MOST_ARRAYS: Final = 1_000


class FarEnd:
    """One socket's messages and its queue."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._queue = bytearray()
        #: Arrays of actions that wait for the call to run them.
        self.arrays: deque[list[FlowAction]] = deque()
        #: Whether the bot said ``stop``.
        self.stopped = False
        #: Whether the callee's audio is not sent for now: playing goes on.
        self.paused = False

    def take(self, message: str | bytes) -> None:
        """Obey a message, or ignore it."""
        if isinstance(message, bytes):
            self._ignore("a binary message")
            return
        try:
            found: Any = json.loads(message)
        except (ValueError, RecursionError):
            self._ignore("no JSON")
            return
        if isinstance(found, list):
            self._take_array(cast("list[object]", found))
        elif not isinstance(found, dict):
            self._ignore("neither an object nor an array")
        elif "action" in (fields := cast("dict[str, object]", found)):
            self._obey(fields["action"])
        elif fields.get("type") == "streamAudio":
            try:
                self._queue_clip(fields.get("data"))
            except ValueError as error:
                self._ignore(f"a clip: {error}")
        else:
            self._ignore("an unknown type of message")

    def play(self) -> bytes:
        """Return what is played in the next 20 ms: less, or nothing, if no more is there."""
        size = self._conversation.frame_bytes
        played = bytes(self._queue[:size])
        del self._queue[:size]
        return played

    def clear(self) -> float:
        """Empty the queue, and return how many seconds of it are never heard."""
        unheard = len(self._queue) / (2 * self._conversation.rate)
        self._queue.clear()
        self._conversation.cut()
        return unheard

    def _obey(self, action: object) -> None:
        detail = ""
        match action:
            case "break":
                detail = f"{self.clear():.2f} s unheard"
            case "pause" | "resume":
                self.paused = action == "pause"
            case "stop":
                self.stopped = True
            case _:
                return self._ignore("an unknown action")
        return self._conversation.note(str(action), detail)

    def _take_array(self, found: list[object]) -> None:
        actions = flow_actions(found)
        if actions is None or len(self.arrays) >= _MOST_ARRAYS:
            self._ignore(
                "an array that is no call flow" if actions is None else "an array too many"
            )
            return
        self._conversation.note(
            "array", ", ".join(str(each["action"]) for each in actions)[:_LONGEST_DETAIL]
        )
        self.arrays.append(actions)

    def _queue_clip(self, data: object) -> None:
        fields = cast("dict[str, object]", data) if isinstance(data, dict) else {}
        kind, rate, text = (
            fields.get(key) for key in ("audioDataType", "sampleRate", "audioData")
        )
        if not isinstance(text, str):
            raise ValueError("no audioData")  # noqa: TRY004  # all of them are caught as one
        pcm = b64decode(text, validate=True)
        if kind == "wav":
            pcm, rate = parse_wav(pcm)
        elif kind != "raw":
            raise ValueError("the simulator plays raw and wav")
        elif not isinstance(rate, int) or rate not in _RATES:
            raise ValueError("sampleRate is neither 8000 nor 16000")
        if len(pcm) % 2:
            self._ignore("half a sample at the end of a clip")
            pcm = pcm[:-1]
        queued = len(self._queue) / 2 / self._conversation.rate
        if queued + len(pcm) / 2 / rate > _LONGEST_QUEUE:
            raise ValueError("ten minutes are queued already")
        self._queue += convert_rate(pcm, rate, self._conversation.rate)

    def _ignore(self, what: str) -> None:
        self._conversation.note("ignored", what)
