"""Targets: the phones and SIP endpoints that a bridge or connect action rings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, SupportsIndex, cast

from attrs import field, frozen

from telecmi_async._internal.frozen_json import LARGEST_INT
from telecmi_async._internal.messages import shown
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo import fields as is_


@frozen
class Pstn:
    """A phone that `Bridge` rings.

    Example:
        A phone, and the same number as people write it::

            Bridge([Pstn(19170000002), Pstn("+1 917 000 0003")])

    Args:
        number: Its number with country code, an integer or a str.

    Raises:
        InvalidCall: It is not a phone number.
    """

    type: ClassVar[Literal["pstn"]] = "pstn"

    number: int = field(converter=is_.required_number)

    __repr__ = is_.given_repr


def _sip_user(action: object, attribute: is_.CallField, value: object) -> None:
    """Require a name or a positive int."""
    if isinstance(value, str):
        is_.token(action, attribute, value)
    elif isinstance(value, bool) or not isinstance(value, int):
        raise InvalidCall(f"must be a str or an int, not {shown(value)}", path="user")
    elif not 0 < value <= LARGEST_INT:
        raise InvalidCall("must be a positive int, or a str if it is long", path="user")


@frozen
class Sip:
    """A SIP endpoint of the account that `Connect` rings.

    Example:
        A user of the account's SIP endpoints::

            Connect([Sip("reception")])

    Args:
        user: Its user name; an int where the name is a number.

    Raises:
        InvalidCall: It is neither a name nor a positive int.
    """

    type: ClassVar[Literal["sip"]] = "sip"

    user: str | int = field(validator=_sip_user)

    __repr__ = is_.given_repr


def phones(value: Sequence[Pstn | SupportsIndex | str]) -> tuple[Pstn, ...]:
    """Return the phones of a bridge; a plain number stands for its `Pstn`."""
    phones: list[Pstn] = []
    for i, item in enumerate(_items(value, "[Pstn(…)]")):
        match item:
            case Pstn():
                phones.append(item)
            case Sip():
                raise InvalidCall("a SIP endpoint goes into Connect", path=f"connect[{i}]")
            case int() | str() | SupportsIndex():
                try:
                    phones.append(Pstn(item))
                except InvalidCall as error:
                    raise error.inside(f"connect[{i}]") from None
            case _:
                raise InvalidCall(
                    f"must be a Pstn or a phone number, not {shown(item)}", path=f"connect[{i}]"
                )
    return tuple(phones)


def endpoints(value: Sequence[Sip]) -> tuple[Sip, ...]:
    """Return the endpoints of a connect action."""
    for i, item in enumerate(_items(value, '[Sip("user")]')):
        if not isinstance(item, Sip):
            hint = "a phone goes into Bridge" if isinstance(item, Pstn) else "write Sip(user)"
            raise InvalidCall(f"must be a Sip: {hint}", path=f"connect[{i}]")
    return tuple(value)


def _items(value: object, example: str) -> Sequence[object]:
    """Require a sequence that is not empty and not a string."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        raise InvalidCall(
            f"must be a list such as {example}, not {shown(value)}", path="connect"
        )
    if not value:
        raise InvalidCall(f"must not be empty: give it one such as {example}", path="connect")
    return cast("Sequence[object]", value)
