"""Audio of conversations on the page: which is kept, and the part that a player asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from telecmi_async.simulator.page.layout import PageModel
    from telecmi_async.simulator.voice.conversation import Conversation

#: Where a player finds it.
TALK_PATH: Final = "/talk.wav"
_RANGE: Final = re.compile(r"bytes=([0-9]{1,12})-([0-9]{0,12})", re.ASCII)


def kept_talk(page: PageModel, request_id: str) -> Conversation | None:
    """Return the conversation of a call if it is over and its audio is kept.

    A file that grows while it is played cannot be played to its end.
    """
    call = page.world.find(request_id)
    if call is None or not call.heard.keeps_audio:
        return None
    return call.heard if is_over(call.heard) else None


def is_over(talk: Conversation) -> bool:
    """Return whether a conversation was held, and is over."""
    return any(event.what == "closed" for event in talk.timeline[-1:])


def wav_part(wav: bytes, wanted: str) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    """Return status, body and headers for a file, or for a range of it (RFC 9110, section 14).

    Players ask for ranges to begin in the middle. What is no single range of bytes from a first
    one on gets the whole file, as the RFC permits.
    """
    ranges, size = ("Accept-Ranges", "bytes"), len(wav)
    found = _RANGE.fullmatch(wanted)
    first, last = (int(found[1]), int(found[2] or size)) if found else (1, 0)
    if last < first:
        return 200, wav, (ranges,)
    if first >= size:
        return 416, b"", (ranges, ("Content-Range", f"bytes */{size}"))
    part = wav[first : last + 1]
    return (
        206,
        part,
        (ranges, ("Content-Range", f"bytes {first}-{first + len(part) - 1}/{size}")),
    )
