"""Call reference: an id of our own that ties an event to a call without TeleCMI's id.

TeleCMI gives a call its ``request_id`` in the reply, and a reply can be lost. So a call may
carry the package's own id in ``extra_params``, which TeleCMI returns with every event. As TeleCMI
signs nothing, the id is sent with a code that only the holder of the account's secret can
compute (HMAC-SHA-256, RFC 2104, truncated to 128 bits). An event that returns both is about a
call that this account placed, in whichever process, and across restarts.

Logs may show the id, but never the code.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, NoReturn

from telecmi_async._internal.telecmi import (
    REFERENCE_FIELD,
    REFERENCE_PATTERN,
    REFERENCE_PREFIX,
    REFERENCE_PURPOSE,
    TRACE_FIELD,
    TRACE_PATTERN,
)
from telecmi_async.errors import InvalidCall

if TYPE_CHECKING:
    from telecmi_async._internal.secrets import Secret
    from telecmi_async.events import Event

_BYTES = 16
_SALT = 8
_BLOCK = 64
_SIGNED = re.compile(REFERENCE_PATTERN)
_TRACE = re.compile(TRACE_PATTERN)
_REFERENCE = re.compile(rf"{REFERENCE_PREFIX}[a-z2-7]{{26}}")


def new_reference() -> str:
    """Return a new id for a call: 128 random bits, easy to find in any text."""
    return REFERENCE_PREFIX + _base32(secrets.token_bytes(_BYTES))


def check_reference(reference: object) -> None:
    """Require the reference of a call.

    Raises:
        InvalidCall: It is something else.
    """
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        raise InvalidCall(
            f"must be the reference of a call, which begins with {REFERENCE_PREFIX}",
            path="reference",
        )


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def _text_of(event: Event) -> str:
    params = event.extra_params
    text = params.get(REFERENCE_FIELD) if isinstance(params, Mapping) else params
    return text if isinstance(text, str) else ""


def carries_reference(event: Event) -> bool:
    """Return whether an event carries a reference, whether or not its code is right."""
    sent = event.raw.get("extra_params")
    # A text without the prefix carries none, unless it is JSON that spells it with escapes.
    if isinstance(sent, str) and REFERENCE_PREFIX not in sent and "\\" not in sent:
        return False
    return event.extra_params is not None and _SIGNED.search(_text_of(event)) is not None


def reference_in(event: Event) -> str | None:
    """Return the reference that an event carries, if its code was checked before."""
    found = _SIGNED.search(_text_of(event))
    return found[1] if found else None


def trace_in(event: Event) -> str | None:
    """Return the trace context that an event carries, if its reference was checked before."""
    params = event.extra_params
    text = params.get(TRACE_FIELD) if isinstance(params, Mapping) else params
    found = _TRACE.search(text) if isinstance(text, str) else None
    return found[0] if found else None


class References:
    """Signs the references of one account, and finds them in its events."""

    __slots__ = ("_key",)

    def __init__(self, secret: Secret) -> None:
        self._key = hmac.digest(secret.reveal().encode(), REFERENCE_PURPOSE, "sha256")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, References) and hmac.compare_digest(self._key, other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return "References()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("References are not pickled: that would reveal their key")

    def sign(self, reference: str) -> str:
        """Return a reference with its code, as it is sent."""
        return f"{reference}.{self._code(reference)}"

    def find(self, event: Event) -> str | None:
        """Return the reference that an event carries; ``None`` if its code is wrong.

        It is found as well where TeleCMI returns ``extra_params`` as text instead of JSON.
        """
        for found in _SIGNED.finditer(_text_of(event)):
            if self.is_signed(found[0]):
                return found[1]
        return None

    def is_signed(self, signed: str) -> bool:
        """Return whether a reference with a code has the code that belongs to it."""
        reference, _, code = signed.partition(".")
        return hmac.compare_digest(code.encode(), self._code(reference).encode())

    def _code(self, reference: str) -> str:
        return _base32(hmac.digest(self._key, reference.encode(), "sha256")[:_BYTES])

    def encrypt(self, text: str) -> str:
        """Return a text as letters, digits, ``-`` and ``_`` that only this account can read.

        A keyed BLAKE2b of a salt and the text is both the proof that nothing was changed and
        the start of the key stream: a synthetic initialisation vector, as in RFC 5297. The salt
        makes two equal texts look different.
        """
        plain = secrets.token_bytes(_SALT) + text.encode()
        tag = self._keyed(b"tag", plain, _BYTES)
        packed = tag + self._mixed(tag, plain)
        return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")

    def decrypt(self, given: str) -> str | None:
        """Return what `encrypt` was given; ``None`` if this account did not encrypt it."""
        try:
            packed = base64.b64decode(given + "=" * (-len(given) % 4), b"-_", validate=True)
        except ValueError:
            return None
        tag, mixed = packed[:_BYTES], packed[_BYTES:]
        plain = self._mixed(tag, mixed)
        if not hmac.compare_digest(tag, self._keyed(b"tag", plain, _BYTES)):
            return None
        return plain[_SALT:].decode()

    def _mixed(self, tag: bytes, data: bytes) -> bytes:
        """Return data XOR the key stream that belongs to a tag."""
        blocks = range(-(-len(data) // _BLOCK))
        stream = b"".join(
            self._keyed(b"stream", tag + block.to_bytes(4), _BLOCK) for block in blocks
        )
        return bytes(a ^ b for a, b in zip(data, stream, strict=False))

    def _keyed(self, use: bytes, data: bytes, size: int) -> bytes:
        return blake2b(data, digest_size=size, key=self._key, person=use).digest()
