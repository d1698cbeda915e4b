"""Webhook events: what TeleCMI sends about a call, as values.

Six kinds arrive at webhooks, and `Event` is their union. All of them have the same ids, of
which any may be missing: no field of a webhook is guaranteed, and their names differ between
editions of TeleCMI's pages. A field that was not sent, or makes no sense, is ``None``; ``raw``
keeps everything as it came.

Field names are the vendor's (``from_`` is ``from``). Its types are not:

- Phone numbers are text. They arrive as integers, as text, and as ``"04471000000"``, which
  an integer would cut to another number. To compare one with a number you dialled:
  ``event.to == str(request.to)``.
- Times are aware, in UTC, although some arrive in milliseconds and some in seconds.
- Money is `Decimal`, in a currency TeleCMI does not name.

A parsed event has its payload and its ids. Its other fields are read on first use, because most
of them never are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum, unique
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import attrs
from attrs import frozen

from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async._internal.messages import is_long_id, mask, mask_in, shown
from telecmi_async._internal.telecmi import REFERENCE_PREFIX
from telecmi_async.events.fields import FIELD_NAMES, read_field, read_word

#: The statuses of a record of an unanswered leg. The first is TeleCMI's; programs that work
#: with TeleCMI handle the others. A mailbox is not the person who was called.
NOT_ANSWERED = frozenset([
    "missed", "busy", "failed", "no_answer", "noanswer", "not_answered", "unanswered", "cancel",
    "cancelled", "canceled", "rejected", "declined", "unreachable", "voicemail",
])  # fmt: skip

_NUMBERS = frozenset({"from_", "to", "callerid", "vn"})
# These distinguish an event from others, and match it with its call.
_ALWAYS_USED = ("cmiuuid", "leg", "request_id", "conversation_uuid")
_IDS = frozenset({"cmiuuid", "request_id", "conversation_uuid"})
_HIDDEN = frozenset({"raw", "dtmf", "query"})
_LONGEST_PARAMS = 100
NO_QUERY = cast("Mapping[str, str]", JsonObject())
# The code proves that a call's own reference is genuine; see `telecmi_async.events.reference`.
_CODE = re.compile(rf"({REFERENCE_PREFIX}[a-z2-7]{{26}})\.[a-z2-7]+")


_E = TypeVar("_E", bound="_Payload")


@unique
class Direction(StrEnum):
    """The direction of a leg, seen from TeleCMI.

    An inbound call that is bridged has an inbound leg a and an outbound leg b.
    """

    INBOUND = "inbound"
    OUTBOUND = "outbound"


_DIRECTIONS = {direction.value: direction for direction in Direction}


@unique
class LiveStatus(StrEnum):
    """The status of a live event; ``out_answered`` is ``ANSWERED`` and ``OUTBOUND``."""

    STARTED = "started"
    RINGING = "ringing"
    ANSWERED = "answered"
    #: Answered, and connected with the first leg.
    BRIDGED = "bridged"
    HANGUP = "hangup"


@unique
class StreamStatus(StrEnum):
    """Whether TeleCMI is connected to a stream's WebSocket."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


@frozen(kw_only=True, repr=False)
class _Payload:
    """The fields that every kind may have.

    Args:
        raw: The payload as it was received, read-only.
        appid: The account's app id.
        from_: The caller's number: digits, or the text that was sent instead.
        to: The number dialled, likewise.
        time: When it happened.
        cmiuuid: TeleCMI's id for the leg.
        leg: ``"a"`` for the first leg of a call, ``"b"`` for those it is bridged to.
        direction: The direction of the leg.
        request_id: The id in the reply to a make-call request.
        conversation_uuid: The id that the legs of a call share.
        extra_params: What the call was placed with. TeleCMI returns it as text: an object if
            the text is JSON, else the text, as samples show ``"{key: value}"``.
    """

    raw: JsonObject
    appid: int | None = None
    from_: str | None = None
    to: str | None = None
    time: datetime | None = None
    cmiuuid: str | None = None
    leg: str | None = None
    direction: Direction | None = None
    request_id: str | None = None
    conversation_uuid: str | None = None
    extra_params: JsonObject | str | None = None

    if not TYPE_CHECKING:  # pragma: no branch  # type checkers would accept any name

        def __getattr__(self, name: str) -> object:
            """Read a field of the payload when it is first used."""
            if name in FIELD_NAMES:
                value = read_field(self.raw, name)
            elif name == "direction":
                value = _direction(self.raw)
            else:
                return object.__getattribute__(self, name)
            object.__setattr__(self, name, value)
            return value

    def __repr__(self) -> str:
        """Show what a log may hold: numbers masked, pressed keys left out."""
        named = (
            f"{field.name}={_repr_of(field.name, value)}"
            for field in attrs.fields(type(self))
            if (value := getattr(self, field.name)) is not None and field.name not in _HIDDEN
        )
        return f"{type(self).__name__}({', '.join(named)})"


def event_of(kind: type[_E], raw: JsonObject, given: dict[str, object]) -> _E:
    """Return an event that has some fields, and reads the others from its payload on first use.

    Given are those that a payload does not hold as they are, all but ``direction``.
    """
    event = object.__new__(kind)
    put = object.__setattr__
    put(event, "raw", raw)
    for name, value in given.items():
        put(event, name, value)
    for name in _ALWAYS_USED:
        put(event, name, read_field(raw, name))
    return event


def _direction(raw: JsonObject) -> Direction | None:
    """Return the direction: the field's, or else that of the status."""
    named = _DIRECTIONS.get(read_word(raw.get("direction")) or "")
    status = read_word(raw.get("status"))
    if named is None and status is not None:
        if status.startswith("in_"):
            return Direction.INBOUND
        if status.startswith("out_"):
            return Direction.OUTBOUND
    return named


def without_code(text: str) -> str:
    """Return a text without the code that proves a call's reference genuine."""
    return _CODE.sub(r"\1", text)


def _repr_of(name: str, value: object) -> str:
    if name in _NUMBERS:
        text = str(value)
        return mask(text) if text.isdecimal() else shown(text)
    if name in _IDS and is_long_id(str(value)):
        return str(value)
    match value:
        case JsonObject():
            text = mask_in(without_code(repr(value)))
            return text if len(text) <= _LONGEST_PARAMS else f"{text[:_LONGEST_PARAMS]}…"
        case datetime() | Decimal():
            return value.isoformat() if isinstance(value, datetime) else str(value)
        case _:
            return shown(without_code(value) if isinstance(value, str) else value)


@frozen(kw_only=True, repr=False)
class LiveEvent(_Payload):
    """Something happened to a leg just now.

    TeleCMI documents no repeated delivery: it may be lost, late, or overtake others.

    Args:
        status: What happened.
        callerid: The number that was shown.
        vn: The virtual number, yours at TeleCMI.
    """

    status: LiveStatus
    callerid: str | None = None
    vn: str | None = None


@frozen(kw_only=True, repr=False)
class CallRecord(_Payload):
    """A call detail record: what became of a leg that is over.

    It comes up to four times within 30 minutes (doc.telecmi.com, webhooks overview).

    Args:
        status: ``answered`` or ``missed``; ``busy``, ``failed``, ``no_answer``, ``cancel``,
            ``rejected``, ``voicemail`` and others were reported as well. In lower case, without
            ``in_`` or ``out_``.
        callerid: The number that was shown.
        vn: The virtual number, yours at TeleCMI.
        start_time: When it started.
        answer_time: When it was answered. Samples have it on missed legs, too.
        end_time: When it ended.
        duration: In seconds. By TeleCMI's page of the whole leg, by its sample of the
            conversation; see `talk_seconds`.
        call_rate: What the leg cost.
        balance: What the account held afterwards.
        hangup_reason: Who ended it, if sent.
        filename: The recording's file, if there is one.
    """

    status: str | None = None
    callerid: str | None = None
    vn: str | None = None
    start_time: datetime | None = None
    answer_time: datetime | None = None
    end_time: datetime | None = None
    duration: int | None = None
    call_rate: Decimal | None = None
    balance: Decimal | None = None
    hangup_reason: str | None = None
    filename: str | None = None

    @property
    def answered(self) -> bool | None:
        """Whether it was answered; ``None`` if the record does not say. A mailbox is no answer."""
        if self.status == "answered":
            return True
        if self.status in NOT_ANSWERED:
            return False
        return True if self.duration else None

    @property
    def talk_seconds(self) -> int | None:
        """How long the conversation was; 0 if it was not answered, ``None`` if unknown.

        From answer to end, if both were sent: TeleCMI's page and samples disagree on what
        ``duration`` means.
        """
        if not self.answered:
            return None if self.answered is None else 0
        if self.answer_time and self.end_time and self.answer_time <= self.end_time:
            return int((self.end_time - self.answer_time).total_seconds())
        return self.duration


@frozen(kw_only=True, repr=False)
class DigitsEvent(_Payload):
    """DTMF: keys were pressed; TeleCMI waits for how the call goes on.

    Args:
        dtmf: The keys, ``"0"`` to ``"9"``, ``"*"`` and ``"#"``; empty if none was pressed.
            Not in the repr: they may be a PIN.
        query: The query of the webhook's address; see `telecmi_async.Receiver.url`.
    """

    dtmf: str
    query: Mapping[str, str] = NO_QUERY


@frozen(kw_only=True, repr=False)
class InboundRequest(_Payload):
    """An inbound call to one of your numbers; TeleCMI waits for how to answer it.

    Its ``cmiuuid`` is the ``conversation_uuid`` of the events that follow.

    Args:
        query: The query of the webhook's address.
    """

    query: Mapping[str, str] = NO_QUERY


@frozen(kw_only=True, repr=False)
class StreamEvent(_Payload):
    """The connection to a stream's WebSocket was opened or closed.

    It has a leg's ``cmiuuid`` but no id of the call.

    Args:
        status: Which of the two.
        code: The WebSocket's close code.
        reason: Why, in TeleCMI's words.
    """

    status: StreamStatus
    code: int | None = None
    reason: str | None = None


@frozen(kw_only=True, repr=False)
class UnknownEvent(_Payload):
    """A payload of an unknown kind; ``raw`` has all of it.

    Args:
        status: Its status in lower case, if it has one.
    """

    status: str | None = None


Event: TypeAlias = (
    LiveEvent | CallRecord | DigitsEvent | InboundRequest | StreamEvent | UnknownEvent
)
