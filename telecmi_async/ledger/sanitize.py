"""Sanitising: checks values, and brings them into a form that a database can keep.

Texts for people, and ids that a server sent, lose the characters that a database cannot keep: a
result that could not be put on record would become an unknown call. Contacts and settings that
cannot be kept are rejected instead.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import evolve

from telecmi_async._internal.messages import listed, shown
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.records import NewContact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telecmi_async.ledger.send_records import CallEvidence

#: The largest whole numbers that columns hold.
INT_32: Final = 2**31 - 1
INT_64: Final = 2**63 - 1
# TeleCMI's ids have 36 characters.
_LONGEST_ID: Final = 255
# Three years: sums of it still fit.
_LONGEST_TALK: Final = 100_000_000
#: What the workers of a campaign may be asked to do.
STATUSES: Final = ("running", "paused", "stopped")
#: What may happen to unknown contacts.
UNKNOWN_POLICIES: Final = ("hold", "retry_after_proof", "give_up")
#: States of contacts that can be reopened.
REOPENED: Final = ("rejected", "failed", "blocked")
_encode: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def clean(text: str) -> str:
    """Return a text without NUL characters and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def clean_id(given: str | None) -> str | None:
    """Return an id of TeleCMI's, always cut and cleaned in the same way."""
    return None if given is None else clean(given[:_LONGEST_ID])


def clean_event(event: CallEvidence) -> CallEvidence:
    """Return the evidence of an event with values that can be kept."""
    talk = event.talk_seconds
    return evolve(
        event,
        request_id=clean_id(event.request_id),
        talk_seconds=None if talk is None else min(talk, _LONGEST_TALK),
        detail=clean(event.detail),
        leg=clean_id(event.leg),
    )


def to_json(given: Mapping[str, object], what: str) -> str:
    """Return a mapping as JSON, if JSON can hold its values."""
    try:
        return _encode(dict(given))
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(
            f"{what} must hold what JSON can: strings, numbers, booleans, None, lists and "
            "mappings of such"
        ) from None


def contact_row(contact: object) -> tuple[int, str, float, float | None]:
    """Return the values of a contact's row: number, columns, not before, not after."""
    if not isinstance(contact, NewContact):
        raise ConfigurationError(f"contacts must be NewContact, not {shown(contact)}")
    columns = to_json(contact.columns, "columns")
    return contact.number, columns, contact.not_before, contact.not_after


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Require one of the values that a method takes."""
    if value not in choices:
        raise ConfigurationError(f"{name} must be {listed(choices)}, not {shown(value)}")
