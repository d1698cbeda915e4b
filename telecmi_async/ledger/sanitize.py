"""What ledgers are given, as a database can keep it.

Texts for people, and ids that a server sent, lose what a database cannot hold: an outcome that
could not be put on record would be an unknown call. What somebody loads is refused instead.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import evolve

from telecmi_async._internal.messages import shown
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.contact import NewContact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.ledger.base import CallEvidence

__all__ = ["INT_32", "INT_64", "clean", "contact_row", "heard_of", "id_of", "json_of"]

#: The largest whole numbers that columns hold.
INT_32: Final = 2**31 - 1
INT_64: Final = 2**63 - 1
# TeleCMI's ids have 36 characters.
_LONGEST_ID: Final = 255
# Three years: sums of it still fit.
_LONGEST_TALK: Final = 100_000_000
_encode: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def clean(text: str) -> str:
    """Return a text without zeros and half characters."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def id_of(given: str | None) -> str | None:
    """Return an id of TeleCMI's, the same whenever it comes."""
    return None if given is None else clean(given[:_LONGEST_ID])


def heard_of(event: CallEvidence) -> CallEvidence:
    """Return what was heard of a call, as it can be kept."""
    talk = event.talk_seconds
    return evolve(
        event,
        request_id=id_of(event.request_id),
        talk_seconds=None if talk is None else min(talk, _LONGEST_TALK),
        detail=clean(event.detail),
    )


def json_of(given: Mapping[str, object], what: str) -> str:
    """Return a mapping as JSON.

    Raises:
        ConfigurationError: It is none of JSON's.
    """
    try:
        return _encode(dict(given))
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(
            f"{what} must hold what JSON can: strings, numbers, booleans, None, lists and "
            "mappings of such"
        ) from None


def contact_row(contact: object) -> tuple[int, str, float, float | None]:
    """Return what is loaded of a contact: number, columns, from when and until when.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(contact, NewContact):
        raise ConfigurationError(f"contacts must be NewContact, not {shown(contact)}")
    columns = json_of(contact.columns, "columns")
    return contact.number, columns, contact.not_before, contact.not_after
