"""Reading a make-call request as strictly as TeleCMI documents it.

The documentation names the properties and their types, and the codes for a missing one.
What the server does about a wrong type it does not say; the simulator refuses that as it
refuses a missing property, since a program that relies on more relies on luck.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast

from attrs import field, frozen

__all__ = ["Incoming", "Unacceptable", "read_fields", "read_incoming"]

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


class Unacceptable(Exception):  # no error of ours: it becomes an answer
    """The request cannot be acted on.

    Args:
        message: Why, for the answer.
        missing: Whether it is for a property that is not there.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.missing = missing


@frozen
class Incoming:
    """A make-call request with all it needs; nobody looked at its credentials yet."""

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


def read_incoming(content_type: str, body: bytes) -> Incoming:
    """Return what a request asks for.

    Args:
        content_type: Its ``Content-Type``. Users found that forms do not work: what is not
            announced as JSON counts as empty.
        body: Its body.

    Raises:
        Unacceptable: A property is missing or of the wrong type, or the JSON is broken.
    """
    fields = read_fields(content_type, body)
    return Incoming(
        appid=_integer(fields, "appid"),
        secret=_string(fields, "secret"),
        from_=_number(fields, "from"),
        to=_number(fields, "to"),
        pcmo=_actions(fields),
        extra_params=_extra_params(fields),
        duration=_duration(fields),
    )


def read_fields(content_type: str, body: bytes) -> Mapping[str, object]:
    """Return a request's properties, whatever they are.

    Args:
        content_type: Its ``Content-Type``. What is not announced as JSON counts as empty.
        body: Its body.

    Raises:
        Unacceptable: The body is no JSON object.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return {}
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        raise Unacceptable("the body is no JSON") from None
    if not isinstance(decoded, dict):
        raise Unacceptable(f"the body must be an object, not {_name(decoded)}")
    return cast("dict[str, object]", decoded)  # keys of a JSON object are strings


def _name(value: object) -> str:
    return _TYPE_NAMES[type(value)]


def _required(fields: Mapping[str, object], name: str) -> object:
    try:
        return fields[name]
    except KeyError:
        raise Unacceptable(f"the property {name} is required", missing=True) from None


def _integer(fields: Mapping[str, object], name: str) -> int:
    value = _required(fields, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unacceptable(f"{name} must be a number, not {_name(value)}")
    return value


def _number(fields: Mapping[str, object], name: str) -> int:
    value = _integer(fields, name)
    if not 0 < value < 10**_LONGEST_NUMBER:
        raise Unacceptable(f"{name} must be a phone number of up to {_LONGEST_NUMBER} digits")
    return value


def _string(fields: Mapping[str, object], name: str) -> str:
    value = _required(fields, name)
    if not isinstance(value, str):
        raise Unacceptable(f"{name} must be a string, not {_name(value)}")
    return value


def _actions(fields: Mapping[str, object]) -> tuple[Mapping[str, object], ...]:
    value = _required(fields, "pcmo")
    if not isinstance(value, list):
        raise Unacceptable(f"pcmo must be an array, not {_name(value)}")
    if not value:
        raise Unacceptable("pcmo must hold at least one action")
    return tuple(_action(item, index) for index, item in enumerate(cast("list[object]", value)))


def _action(value: object, index: int) -> Mapping[str, object]:
    if isinstance(value, dict):
        action = cast("dict[str, object]", value)
        if isinstance(action.get("action"), str):
            return action
    raise Unacceptable(f"pcmo[{index}] must be an object with a string action")


def _extra_params(fields: Mapping[str, object]) -> Mapping[str, object] | str | None:
    # An object in every sample of the documentation, a string in its tables.
    value = fields.get("extra_params")
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise Unacceptable(f"extra_params must be an object, not {_name(value)}")
    return cast("dict[str, object]", value)


def _duration(fields: Mapping[str, object]) -> float | None:
    value = fields.get("duration")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unacceptable(f"duration must be a number, not {_name(value)}")
    if not value > 0:
        raise Unacceptable("duration must be above 0")
    return value
