"""A call's own id: what ties an event to a call when TeleCMI's id for it is not known.

TeleCMI gives a call its ``request_id`` in the reply, and a reply can be lost. So a call may
carry an id of its own in ``extra_params``, which TeleCMI gives back with every event. It is
sent together with a code that only who knows the account's secret can compute
(HMAC-SHA-256, RFC 2104, cut to 128 bits), since TeleCMI signs nothing: an event that brings it
back is about a call that this account placed, whichever process it reaches and however often
that was started anew.

The id alone stands in logs; the code never does.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from telecmi_async._internal.telecmi import (
    REFERENCE_FIELD,
    REFERENCE_PATTERN,
    REFERENCE_PREFIX,
    REFERENCE_PURPOSE,
)

if TYPE_CHECKING:
    from telecmi_async._internal.secrets import Secret
    from telecmi_async.events import Event

__all__ = ["References", "brings_reference", "new_reference", "reference_in"]

_BYTES = 16
_SIGNED = re.compile(REFERENCE_PATTERN)


def new_reference() -> str:
    """Return a fresh id for a call: 128 random bits, easy to find in any text."""
    return REFERENCE_PREFIX + _spelt(secrets.token_bytes(_BYTES))


def _spelt(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def _text_of(event: Event) -> str:
    params = event.extra_params
    text = params.get(REFERENCE_FIELD) if isinstance(params, Mapping) else params
    return text if isinstance(text, str) else ""


def brings_reference(event: Event) -> bool:
    """Tell whether an event brings a reference back, with a code that is right or wrong."""
    return event.extra_params is not None and _SIGNED.search(_text_of(event)) is not None


def reference_in(event: Event) -> str | None:
    """Return the reference that an event brings back, whose code was looked at before."""
    found = _SIGNED.search(_text_of(event))
    return found[1] if found else None


class References:
    """Signs the references of one account, and finds them again in its events.

    Args:
        secret: The account's secret, the same in every process that works for it.
    """

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
        raise TypeError("References are not pickled: it would show their key")

    def sign(self, reference: str) -> str:
        """Return a reference with its code, as it is sent."""
        return f"{reference}.{self._code(reference)}"

    def find(self, event: Event) -> str | None:
        """Return the reference that an event brings back; ``None`` if its code is not right.

        It is found as well where TeleCMI made no JSON of ``extra_params`` but a text.
        """
        for found in _SIGNED.finditer(_text_of(event)):
            reference, code = found.groups()
            if hmac.compare_digest(code, self._code(reference)):
                return reference
        return None

    def _code(self, reference: str) -> str:
        return _spelt(hmac.digest(self._key, reference.encode(), "sha256")[:_BYTES])
