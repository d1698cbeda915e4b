"""Voice: the audio of calls over TeleCMI's ``stream`` action, for voice bots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

__all__ = [
    "Admission",
    "Heard",
    "Recording",
    "Resampler",
    "StreamCounts",
    "StreamHandler",
    "StreamSession",
    "StreamSocket",
    "Streams",
    "decode",
    "serve_streams",
]

_MODULES: Final = {
    "media": "decode",
    "playout": "Heard",
    "reception": "StreamCounts",
    "recording": "Recording",
    "resampling": "Resampler",
    "session": "StreamSession",
    "socket": "Admission StreamSocket",
    "streams": "StreamHandler Streams",
    "websockets_server": "serve_streams",
}

if TYPE_CHECKING:
    from telecmi_async.voice.media import decode
    from telecmi_async.voice.playout import Heard
    from telecmi_async.voice.reception import StreamCounts
    from telecmi_async.voice.recording import Recording
    from telecmi_async.voice.resampling import Resampler
    from telecmi_async.voice.session import StreamSession
    from telecmi_async.voice.socket import Admission, StreamSocket
    from telecmi_async.voice.streams import StreamHandler, Streams
    from telecmi_async.voice.websockets_server import serve_streams
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
