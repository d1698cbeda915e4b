"""Call request: one call as a value, with the number to dial and the call flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, cast

import attrs
from attrs import field, frozen

from telecmi_async._internal.frozen_json import JsonObject, freeze_object
from telecmi_async._internal.messages import did_you_mean, shown, step
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo import fields as is_
from telecmi_async.pcmo.actions import Action
from telecmi_async.pcmo.codec import parse_pcmo
from telecmi_async.phone import Region, parse_number, parse_region

if TYPE_CHECKING:
    from telecmi_async.pcmo.flow import FlowLike

# As long as an index of every database allows.
_LONGEST_KEY: Final = 255


def _to(value: SupportsIndex | str) -> int:
    return parse_number(value, "to")


def _pcmo(value: FlowLike) -> tuple[Action, ...]:
    return parse_pcmo(value)


def _extra_params(value: Mapping[str, object] | None) -> JsonObject | None:
    return None if value is None else freeze_object(value, "extra_params")


def _region(value: Region | str | None) -> Region | None:
    return None if value is None else parse_region(value)


def _key(key: str | None) -> str | None:
    if key is None:
        return None
    if (
        not isinstance(cast("object", key), str)
        or not 0 < len(key) <= _LONGEST_KEY
        or not key.isprintable()
    ):
        raise InvalidCall(
            f"must be a text of 1 to {_LONGEST_KEY} characters without control characters, not "
            f"{shown(key)}",
            path="idempotency_key",
        )
    return key


@frozen(kw_only=True)
class CallRequest:
    """A call to place: validated and normalised when it is made, and immutable.

    Example:
        Check a number and a flow before anything is sent::

            try:
                CallRequest(to="0170 5550", pcmo=[Hangup()])
            except InvalidCall as error:
                print(error.path, error.message)

    Args:
        to: The number to dial, with country code; an integer or a str.
        pcmo: What happens once it is answered: a `Flow`, or a sequence of actions, of plain
            dicts, or of both. It becomes a tuple of actions.
        from_: The caller id, a number of yours. The service's if ``None``.
        extra_params: Data that TeleCMI echoes on the call's events: a mapping with str keys
            and JSON values. It echoes them as one string, so flat strings are the safe choice.
            Copied in full.
        duration: The longest the whole call may last, in seconds or as a `timedelta`; not on
            TeleCMI's page, but its SDKs send it. Not sent if ``None``.
        region: Which endpoint takes the call: ``"auto"``, ``"india"`` or ``"global"``. The
            service's if ``None``.
        idempotency_key: A text of yours, such as ``"order-42"``: at most one call is placed for
            each key, by all processes on the service's ledger. It is not sent.

    Raises:
        InvalidCall: A value cannot be sent; the path names it.
    """

    to: int = field(converter=_to)
    pcmo: tuple[Action, ...] = field(converter=_pcmo)
    from_: int | None = field(default=None, converter=is_.optional_from)
    extra_params: JsonObject | None = field(default=None, converter=_extra_params)
    duration: int | None = field(default=None, converter=is_.optional_duration)
    region: Region | None = field(default=None, converter=_region)
    idempotency_key: str | None = field(default=None, converter=_key)

    __repr__ = is_.given_repr

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> CallRequest:
        """Return the call that a mapping describes, such as a row of a table.

        Args:
            data: The fields by name. ``from`` may be written ``from_`` as well.

        Raises:
            InvalidCall: A key is unknown or missing, or a value cannot be sent.
        """
        if not isinstance(cast("object", data), Mapping):
            raise InvalidCall(f"a call must be a CallRequest or a mapping, not {shown(data)}")
        names = {is_.wire_name(known): known.name for known in attrs.fields(cls)}
        fields: dict[str, Any] = {}
        for key, value in data.items():
            name = names.get("from" if key == "from_" else key)
            if name is None:
                hint = did_you_mean(key, names)
                if key in {"appid", "app_id", "secret"}:
                    hint = "the service adds it to every call"
                raise InvalidCall(
                    f"a call has no field {shown(key)}: {hint}", path=step("", key)
                )
            if name in fields:
                raise InvalidCall('is given twice, as "from" and as "from_"', path="from")
            fields[name] = value
        for name in ("to", "pcmo"):
            if name not in fields:
                raise InvalidCall("is missing", path=name)
        return cls(**fields)
