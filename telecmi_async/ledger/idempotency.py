"""Idempotency keys: the record of calls that must be placed at most once for each key.

TeleCMI has no idempotency key. So a key is claimed in a transaction before the first byte of
its request leaves, and settled when the outcome is known. A process that dies in between leaves
a key whose call may have rung: it is ``unknown``, and never sent again under its key. One that
was certainly not placed (``absent``) may be claimed again. An event makes any of them
``placed``.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import field, fields, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence


@unique
class KeyState(StrEnum):
    """What is known of the call of an idempotency key."""

    #: Its request is about to leave, or has left, and its process works on it.
    SENDING = "sending"
    #: TeleCMI has the call.
    PLACED = "placed"
    #: A phone may have rung: no outcome is on record, and its process had the time for one.
    UNKNOWN = "unknown"
    #: It was certainly not placed: the key may be used again.
    ABSENT = "absent"


#: The states that an outcome leads to.
KEY_OUTCOMES: Final = (KeyState.PLACED, KeyState.UNKNOWN, KeyState.ABSENT)


@frozen(kw_only=True)
class KeyedCall:
    """The call of an idempotency key.

    Args:
        token: The reference of the call that was sent under the key.
        state: What is known of it.
        fingerprint: A digest of the request that the key was first used for.
        region: The endpoint it was sent to: ``india`` or ``global``.
        request_id: TeleCMI's id, if TeleCMI accepted it.
        detail: The reason, in a few words without a number.
    """

    token: str
    state: KeyState = field(converter=KeyState)
    fingerprint: str
    region: str
    request_id: str | None = None
    detail: str = ""


#: What is selected for a `KeyedCall`, in the order of its fields; a lease that is over means unknown.
KEY_COLUMNS: Final = (
    "token, CASE WHEN state = 'sending' AND lease_until <= {now} THEN 'unknown' ELSE state END, "
    "fingerprint, region, request_id, detail"
)


def keyed_call_from(row: Sequence[Any]) -> KeyedCall:
    """Return the call of a row of `KEY_COLUMNS`."""
    names = (each.name for each in fields(KeyedCall))
    return KeyedCall(**dict(zip(names, row, strict=True)))


class IdempotencyKeys(Protocol):
    """Keeps the calls of idempotency keys, for one process or many.

    An implementer must make each change in one transaction that is durable before the method
    returns, so that of several processes that claim a key one gets it; and must map every
    failure to a `StoreError`.
    """

    async def claim_key(
        self,
        key: str,
        fingerprint: str,
        token: str,
        *,
        region: str,
        lease: float,
        lifetime: float,
    ) -> KeyedCall:
        """Claim a key for a call, if it is free, and return the call that has it.

        A key is free if it is new, if its lifetime is over, or if its call was certainly not
        placed and the request is the same. A call that has the key already keeps it.

        Args:
            key: The key.
            fingerprint: A digest of the request.
            token: The reference of the call. If the call that is returned has it, it may be sent.
            region: The endpoint.
            lease: For how many seconds the outcome may take; after that it is unknown.
            lifetime: For how many seconds from now the key is remembered.

        Raises:
            StoreError: The claim may not be on record: nothing may be sent.
        """
        ...

    async def settle_key(
        self, token: str, state: KeyState, *, request_id: str | None = None, detail: str = ""
    ) -> bool:
        """Put the outcome of a keyed call on record; return False if no key has the call.

        ``PLACED`` counts in every state, anything else only while the call is being sent or
        unknown.
        """
        ...

    async def find_key(
        self, *, key: str | None = None, token: str | None = None
    ) -> KeyedCall | None:
        """Return the call of a key, or the one with a reference; ``None`` if there is none."""
        ...
