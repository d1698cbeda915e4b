"""Request validation: make-call requests, as strictly as TeleCMI documents them, and call flows.

TeleCMI documents the properties, their types, and the codes for a missing property. It does not
document what a wrong type leads to. The simulator refuses it like a missing property.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, TypeAlias, TypeVar, cast

from attrs import field, frozen

#: An action of a call flow, as JSON has it.
FlowAction: TypeAlias = Mapping[str, object]

_T = TypeVar("_T")

_LONGEST_NUMBER: Final = 15  # digits, as E.164 has it
_TYPE_NAMES: Final[Mapping[type, str]] = {
    bool: "a boolean",
    dict: "an object",
    float: "a number with a fraction",
    int: "a number",
    list: "an array",
    str: "a string",
    type(None): "null",
}


class BadRequest(Exception):  # it becomes an answer
    """The request is invalid, for the reason in its reply; ``missing`` if it lacks a property."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.missing = missing


@frozen
class MakeCallRequest:
    """A complete make-call request, whose credentials are not checked yet."""

    appid: int
    secret: str = field(repr=False)
    from_: int = field(repr=False)
    to: int = field(repr=False)
    pcmo: tuple[Mapping[str, object], ...]
    extra_params: Mapping[str, object] | str | None
    duration: float | None

    def file_names(self) -> list[str]:
        """Return the names of uploaded files that its actions play."""
        return [
            str(action["file_name"])
            for action in self.pcmo
            if action["action"] in {"play", "play_get_input"}
            and "file_name" in action
            and "file_url" not in action
        ]


def read_make_call(content_type: str, body: bytes) -> MakeCallRequest:
    """Read a make-call request; raise `BadRequest` if it is invalid."""
    fields = read_fields(content_type, body)
    return MakeCallRequest(
        appid=_required(fields, "appid", int, "a number"),
        secret=_required(fields, "secret", str, "a string"),
        from_=_phone_number(fields, "from"),
        to=_phone_number(fields, "to"),
        pcmo=_actions(fields),
        extra_params=_extra_params(fields),
        duration=_duration(fields),
    )


def read_fields(content_type: str, body: bytes) -> Mapping[str, object]:
    """Return a request's properties without checking them.

    A body without the content type of JSON counts as empty: users report that forms do not work.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return {}
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(decoded, dict):
        raise BadRequest(f"the body must be an object, not {_name(decoded)}")
    return cast("dict[str, object]", decoded)  # keys of a JSON object are strings


def _name(value: object) -> str:
    return _TYPE_NAMES[type(value)]


def _required(fields: Mapping[str, object], name: str, kind: type[_T], wanted: str) -> _T:
    try:
        value = fields[name]
    except KeyError:
        raise BadRequest(f"the property {name} is required", missing=True) from None
    if isinstance(value, bool) or not isinstance(value, kind):
        raise BadRequest(f"{name} must be {wanted}, not {_name(value)}")
    return value


def _phone_number(fields: Mapping[str, object], name: str) -> int:
    value = _required(fields, name, int, "a number")
    if not 0 < value < 10**_LONGEST_NUMBER:
        raise BadRequest(f"{name} must be a phone number of up to {_LONGEST_NUMBER} digits")
    return value


def _actions(fields: Mapping[str, object]) -> tuple[FlowAction, ...]:
    value = cast("list[object]", _required(fields, "pcmo", list, "an array"))
    if not value:
        raise BadRequest("pcmo must hold at least one action")
    for index, item in enumerate(value):
        if not _is_action(item):
            raise BadRequest(f"pcmo[{index}] must be an object with a string action")
    return tuple(cast("list[FlowAction]", value))


def _extra_params(fields: Mapping[str, object]) -> Mapping[str, object] | str | None:
    # An object in every sample of the documentation, a string in its tables.
    value = fields.get("extra_params")
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise BadRequest(f"extra_params must be an object, not {_name(value)}")
    return cast("dict[str, object]", value)


def _duration(fields: Mapping[str, object]) -> float | None:
    value = fields.get("duration")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"duration must be a number, not {_name(value)}")
    if not value > 0:
        raise BadRequest("duration must be above 0")
    return value


def flow_actions(flow: object) -> list[FlowAction] | None:
    """Return a call flow's actions; ``None`` if it is not an array of actions."""
    if not isinstance(flow, list):
        return None
    actions = cast("list[object]", flow)
    return cast("list[FlowAction]", actions) if all(map(_is_action, actions)) else None


def _is_action(item: object) -> bool:
    return isinstance(item, dict) and isinstance(
        cast("dict[str, object]", item).get("action"), str
    )


def flow_number(action: FlowAction, name: str, default: float) -> float:
    """Return a number from an action, or the default if the value is not a positive number."""
    value = action.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value if 0 < value < 10**15 else default


def flow_targets(action: FlowAction) -> list[int | str]:
    """Return the numbers and SIP users that an action connects to."""
    # TeleCMI's page on `connect` has both names for the array.
    lists = [action[name] for name in ("connect", "call") if isinstance(action.get(name), list)]
    found: list[int | str] = []
    for item in cast("list[list[object]]", lists)[0] if lists else ():
        fields = cast("dict[str, object]", item) if isinstance(item, dict) else {}
        target = fields.get("number", fields.get("user"))
        if isinstance(target, int | str) and not isinstance(target, bool):
            found.append(target)
    return found
