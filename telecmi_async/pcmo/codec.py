"""PCMO codec: call flows to JSON and back.

cattrs generates the functions that rename and collect an action's fields. Actions validate
themselves when they are made, so parsing adds only the path of a wrong value, and the right
spelling of a wrong name.

cattrs is imported, and functions are generated, when an action of a class is first met: short
programs start faster. A service calls `load_cattrs` when it is made, so that it imports nothing later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import attrs

from telecmi_async._internal.frozen_json import thaw
from telecmi_async._internal.json_text import encode_json
from telecmi_async._internal.messages import did_you_mean, load_spelling, shown, step
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo.actions import ACTIONS, Action, Bridge, Connect, Raw
from telecmi_async.pcmo.fields import wire_name
from telecmi_async.pcmo.targets import Pstn, Sip

if TYPE_CHECKING:
    from cattrs import Converter


JsonDict: TypeAlias = dict[str, object]

# Wrong names that users try, too different from the right ones for a spelling check.
_MEANT = {
    "call": "bridge",
    "dial": "bridge",
    "forward": "bridge",
    "say": "speak",
    "tts": "speak",
}

_KINDS = frozenset({*ACTIONS.values(), Raw})
_TARGETS: dict[type[Any], type[Any]] = {Bridge: Pstn, Connect: Sip}


def load_cattrs() -> None:
    """Import what encoding, parsing and the errors of both need."""
    import_module("cattrs.fns")
    import_module("cattrs.gen")
    load_spelling()


# --- encoding ---------------------------------------------------------------------------


def dump_pcmo(actions: Iterable[Action]) -> list[JsonDict]:
    """Return actions as the array of plain dicts that goes on the wire.

    TeleCMI expects the same array as the answer to a webhook.

    Example:
        What a webhook of yours answers::

            dump_pcmo([Speak("Goodbye."), Hangup()])
    """
    return [
        cast("JsonDict", thaw(action.data)) if isinstance(action, Raw) else _dump(action)
        for action in actions
    ]


def encode_pcmo(actions: Iterable[Action]) -> bytes:
    """Return actions as the JSON array that answers a webhook, UTF-8."""
    return encode_json(dump_pcmo(actions)).encode()


def _dump(instance: Action | Pstn | Sip) -> JsonDict:
    kind: type[Any] = type(instance)
    return _dumper(kind)(instance)  # type: ignore[arg-type]  # mypy takes a class for unhashable


@cache
def _dumper(kind: type[Any]) -> Callable[[Any], JsonDict]:
    """Return the function that makes a dict of an action or a target, its tag first."""
    tag = "type" if kind in _TARGETS.values() else "action"
    name = getattr(kind, tag)
    from cattrs.gen import make_dict_unstructure_fn  # noqa: PLC0415  # see the module's docstring

    # cattrs could leave defaults out, but would then change the order of the keys.
    collect = make_dict_unstructure_fn(kind, _converter(), **_overrides(kind))

    def dump(instance: Any) -> JsonDict:
        array = getattr(instance, "array_key", "connect")
        return {tag: name} | {
            array if key == "connect" else key: value
            for key, value in collect(instance).items()
            if value is not None
        }

    return dump


@cache
def _converter() -> Converter:
    from cattrs import Converter  # noqa: PLC0415  # see the module's docstring

    return Converter(detailed_validation=False)


def _overrides(kind: type[Any]) -> dict[str, Any]:
    """Return the cattrs options of a class: names on the wire, and no conversion of values."""
    from cattrs.fns import identity  # noqa: PLC0415  # see the module's docstring
    from cattrs.gen import override  # noqa: PLC0415  # see the module's docstring

    return {
        field.name: override(
            rename=wire_name(field),
            omit=field.name == "array_key",
            unstruct_hook=_dump_targets if field.name == "connect" else identity,
            # All other values are taken unchanged: the class checks them.
            struct_hook=partial(_parse_targets, kind)
            if field.name == "connect"
            else lambda value, _: value,
        )
        for field in attrs.fields(kind)
    }


def _dump_targets(targets: Iterable[Pstn | Sip]) -> list[JsonDict]:
    return [_dump(target) for target in targets]


# --- parsing ----------------------------------------------------------------------------


def parse_pcmo(data: object, *, raw: bool = False) -> tuple[Action, ...]:
    """Return a call flow as actions.

    Example:
        Actions from plain dicts::

            (play, hangup) = parse_pcmo(
                [{"action": "play", "file_name": "welcome.wav"}, {"action": "hangup"}]
            )

    Args:
        data: A sequence of actions, of plain dicts as they go on the wire, or of both.
        raw: Whether an action whose name is not known becomes a `Raw`.

    Raises:
        InvalidCall: It holds no action, or a value that cannot be sent, at the path.
    """
    actions = parse_actions(data, raw=raw)
    if not actions:
        raise InvalidCall("must hold at least one action", path="pcmo")
    return actions


def parse_actions(data: object, *, raw: bool = False) -> tuple[Action, ...]:
    """Return actions as `parse_pcmo` does; there may be none."""
    if isinstance(data, str | bytes | bytearray):
        raise InvalidCall(
            "must be a list of actions, not JSON text: parse it first, with Flow.parse(text)",
            path="pcmo",
        )
    if isinstance(data, Mapping) and "pcmo" in data:
        raise InvalidCall(
            'must be the array itself, without {"pcmo": …} around it', path="pcmo"
        )
    if isinstance(data, Mapping) or type(data) in _KINDS:
        raise InvalidCall("must be a list: put [ ] around the action", path="pcmo")
    if not isinstance(data, Sequence):
        raise InvalidCall(f"must be a list of actions, not {shown(data)}", path="pcmo")
    items = cast("Sequence[object]", data)
    return tuple(_parse_action(item, f"pcmo[{i}]", raw=raw) for i, item in enumerate(items))


def _parse_action(item: object, path: str, *, raw: bool) -> Action:
    if isinstance(item, Pstn | Sip):
        where = "Bridge([…])" if isinstance(item, Pstn) else "Connect([…])"
        raise InvalidCall(
            f"must be an action: put the {type(item).__name__} into {where}", path=path
        )
    if type(item) in _KINDS:
        return cast("Action", item)
    if not isinstance(item, Mapping):
        raise InvalidCall(f"must be an action or a dict, not {shown(item)}", path=path)
    data = cast("Mapping[object, object]", item)
    try:
        action: Action = _parser(_kind(data, raw=raw))(data)  # type: ignore[arg-type]  # as in _dump
    except InvalidCall as error:
        raise error.inside(path) from None
    return action


def _kind(data: Mapping[object, object], *, raw: bool) -> type[Any]:
    """Return the class of the action that ``action`` names."""
    if "action" not in data:
        raise InvalidCall(
            'is missing: name the action, as in {"action": "hangup"}', path="action"
        )
    name = data["action"]
    if isinstance(name, str) and name in ACTIONS:
        return ACTIONS[name]
    if raw:
        return Raw
    if isinstance(name, str) and name in _MEANT:
        hint = f'did you mean "{_MEANT[name]}"?'
    else:
        hint = did_you_mean(name, ACTIONS)
    raise InvalidCall(
        f"no action is named {shown(name)} (Raw(…) sends any other): {hint}", path="action"
    )


@cache
def _parser(kind: type[Any]) -> Callable[[Any], Any]:
    """Return the function that checks a dict's keys and makes an action or a target of it."""
    if kind is Raw:
        return Raw
    from cattrs.gen import make_dict_structure_fn  # noqa: PLC0415  # see the module's docstring

    build = make_dict_structure_fn(kind, _converter(), **_overrides(kind))
    check = _checker(kind)  # type: ignore[arg-type]  # as in _dump

    def parse(data: Mapping[object, object]) -> Any:
        check(data)
        return build(cast("Mapping[str, object]", data), kind)

    return partial(_parse_connect, parse) if kind is Connect else parse


@cache
def _checker(kind: type[Any]) -> Callable[[Mapping[object, object]], None]:
    """Return the function that checks the keys of an action's or a target's dict."""
    fields = attrs.fields(kind)
    tag = "type" if kind in _TARGETS.values() else "action"
    names = [wire_name(field) for field in fields if field.name != "array_key"]
    required = [wire_name(field) for field in fields if field.default is attrs.NOTHING]

    def check(data: Mapping[object, object]) -> None:
        for key, value in data.items():
            if key not in names and key != tag:
                raise _unknown_key(key, names, kind)
            if value is None:
                raise InvalidCall("must not be null: leave the key out", path=str(key))
        for name in required:
            if name not in data:
                raise InvalidCall("is missing", path=name)

    return check


def check_names(item: Mapping[object, object], path: str) -> None:
    """Check the names in an action, and in its targets, whose values are not known yet."""
    try:
        kind = _kind(item, raw=False)
        array = "call" if kind is Connect and "call" in item else "connect"
        _checker(kind)({"connect" if key == array else key: item[key] for key in item})  # type: ignore[arg-type]  # as in _dump
        targets = item.get(array)
        if isinstance(targets, list):  # only a bridge or a connect may have them
            wanted = _TARGETS[kind]
            _each_target(wanted, cast("list[object]", targets), _checker(wanted), array)  # type: ignore[arg-type]  # as in _dump
    except InvalidCall as error:
        raise error.inside(path) from None


def _unknown_key(key: object, names: Sequence[str], kind: type) -> InvalidCall:
    """Return the error for a key that an action or a target does not have."""
    what = getattr(kind, "action", None) or getattr(kind, "type", "")
    if key == "from_" and "from" in names:
        hint = 'on the wire it is "from"'
    elif key == "record" and kind is Bridge:
        hint = 'TeleCMI ignores it there: put {"action": "record"} before this action'
    else:
        hint = did_you_mean(key, names)
    return InvalidCall(f'"{what}" has no key {shown(key)}: {hint}', path=step("", key))


def _parse_targets(kind: type[Any], value: object, _: object) -> object:
    """Make targets of the dicts in ``connect``; the class checks all other values."""
    if not isinstance(value, list | tuple):
        return value
    wanted = _TARGETS[kind]
    return _each_target(wanted, cast("Sequence[object]", value), _parser(wanted), "connect")  # type: ignore[arg-type]  # as in _dump


def _each_target(
    wanted: type[Any],
    targets: Sequence[object],
    handle: Callable[[Mapping[object, object]], object],
    array: str,
) -> list[object]:
    """Return the targets, a function's results in place of dicts; its errors get the path."""
    found: list[object] = []
    for i, item in enumerate(targets):
        if not isinstance(item, Mapping):
            found.append(item)
            continue
        target = cast("Mapping[object, object]", item)
        try:
            _check_type(target, wanted.type)
            found.append(handle(target))
        except InvalidCall as error:
            raise error.inside(f"{array}[{i}]") from None
    return found


def _check_type(target: Mapping[object, object], wanted: str) -> None:
    if "type" not in target:
        raise InvalidCall(f'is missing: write "{wanted}"', path="type")
    if target["type"] != wanted:
        raise InvalidCall(f'must be "{wanted}" here, not {shown(target["type"])}', path="type")


def _parse_connect(
    parse: Callable[[Mapping[object, object]], Connect], data: Mapping[object, object]
) -> Connect:
    """Parse a connect action; the vendor's sample names its array ``call``."""
    if "call" not in data:
        return parse(data)
    if "connect" in data:
        raise InvalidCall('excludes "connect": give one of them', path="call")
    renamed = {"connect" if key == "call" else key: value for key, value in data.items()}
    try:
        return attrs.evolve(parse(renamed), array_key="call")
    except InvalidCall as error:
        if not error.path.startswith("connect"):
            raise
        raise InvalidCall(
            error.message, path=error.path.replace("connect", "call", 1)
        ) from None
