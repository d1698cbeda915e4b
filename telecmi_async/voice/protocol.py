"""Stream protocol: the frames of TeleCMI's ``stream`` WebSocket, without any input or output.

TeleCMI is the client. It sends the call's audio in binary frames: mono, signed 16-bit samples,
little-endian, at the rate of the action's ``voice_quality``, without header. A frame may have any
size. Text frames are not documented; the first may be metadata.

Back go text frames with JSON. Nothing acknowledges them, and what cannot be played is dropped
silently. Source: TeleCMI's SDKs for Python and Node.js, doc.telecmi.com/piopiy/docs/ai-streaming.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async._internal.json_text import encode_json
from telecmi_async.calls.encoding import address_streams
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo.actions import Input, PlayGetInput
from telecmi_async.pcmo.codec import dump_pcmo, parse_pcmo

if TYPE_CHECKING:
    from telecmi_async.pcmo.flow import FlowLike

#: Sample rates in Hz. The SDKs refuse others in ``streamAudio``.
RATES: Final = (8_000, 16_000)
#: Bytes of one sample.
SAMPLE: Final = 2
#: Text frames are cut at so many characters.
LONGEST_TEXT: Final = 4_096

#: Drops the audio that is queued at the far end or being played. The call goes on.
BREAK: Final = '{"action":"break"}'
PAUSE: Final = '{"action":"pause"}'
RESUME: Final = '{"action":"resume"}'
#: Ends the stream. The call flow goes on after its ``stream`` action.
STOP: Final = '{"action":"stop"}'


@frozen
class Audio:
    """A frame of the call's audio.

    Args:
        pcm: Its bytes. A frame may end within a sample.
    """

    pcm: bytes


@frozen
class Text:
    """A text frame, whatever it says.

    Args:
        text: Its first 4,096 characters.
    """

    text: str


def parse_frame(frame: bytes | str) -> Audio | Text:
    """Return what a frame from TeleCMI is; any frame is something."""
    if isinstance(frame, str):
        return Text(frame[:LONGEST_TEXT])
    return Audio(bytes(frame))


def audio_message(pcm: bytes, rate: int) -> str:
    """Return the message that plays raw audio, whole samples at 8,000 or 16,000 Hz."""
    # Nothing in it needs escapes, and ten of them are made in a second of each call.
    return (
        f'{{"type":"streamAudio","data":{{"audioDataType":"raw","sampleRate":{rate},'
        f'"audioData":"{b64encode(pcm).decode("ascii")}"}}}}'
    )


def flow_message(actions: FlowLike, *, streamed_as: str = "") -> str:
    """Return the message that runs actions in the middle of the call.

    Args:
        actions: The call flow.
        streamed_as: The call's signed reference, for the addresses of streams among them.

    Raises:
        InvalidCall: They are no call flow, or one of them waits for pressed keys, which TeleCMI
            does not offer within a stream.
    """
    flow = parse_pcmo(actions)
    for i, action in enumerate(flow):
        if isinstance(action, Input | PlayGetInput):
            raise InvalidCall(
                f'TeleCMI does not run "{action.action}" within a stream: put it after the '
                "stream in the call's flow",
                path=f"pcmo[{i}]",
            )
    pcmo = dump_pcmo(flow)
    if streamed_as:
        address_streams(pcmo, streamed_as)
    return encode_json(pcmo)
