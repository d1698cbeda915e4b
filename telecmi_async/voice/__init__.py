"""Voice: the audio of calls over TeleCMI's ``stream`` action, for voice bots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

__all__ = [
    "Admission",
    "Heard",
    "StreamCounts",
    "StreamHandler",
    "StreamSession",
    "StreamSocket",
    "Streams",
]

_MODULES: Final = {
    "playout": "Heard",
    "reception": "Admission StreamCounts",
    "session": "StreamSession",
    "socket": "StreamSocket",
    "streams": "StreamHandler Streams",
}

if TYPE_CHECKING:
    from telecmi_async.voice.playout import Heard
    from telecmi_async.voice.reception import Admission, StreamCounts
    from telecmi_async.voice.session import StreamSession
    from telecmi_async.voice.socket import StreamSocket
    from telecmi_async.voice.streams import StreamHandler, Streams
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
